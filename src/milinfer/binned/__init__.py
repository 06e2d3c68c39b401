"""Histogram templates and pyhf workspaces."""
