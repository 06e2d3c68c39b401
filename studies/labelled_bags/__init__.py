"""Bags with a label of their own: pooling rules, and searches for their settings."""
