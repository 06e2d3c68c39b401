"""Files, threads, progress, tables and polynomials: helpers without any physics."""
