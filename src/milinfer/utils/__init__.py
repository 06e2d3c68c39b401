"""Files, threads, progress, tables and polynomials: helpers that know nothing of physics."""
