"""Helpers without physics: files, threads, progress bars, tables and polynomials."""
