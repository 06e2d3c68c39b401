"""Figures and tables of the papers behind milinfer.

A study runs as ``python -m studies.PACKAGE.NAME`` in the root of the repository.
"""
