"""Likelihood ratios and regressions of many events at once."""
