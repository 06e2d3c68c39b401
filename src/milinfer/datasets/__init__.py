"""Embedded data with exact truth."""
