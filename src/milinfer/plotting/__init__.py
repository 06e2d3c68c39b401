"""Figures of all results; every function returns a matplotlib figure."""
