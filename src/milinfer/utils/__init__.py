"""General helpers, not specific to physics: files, threads, progress bars, tables, polynomials."""
