"""LHE files."""
