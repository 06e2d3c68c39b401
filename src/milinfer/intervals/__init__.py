"""Calibration, confidence belts, coverage and information, measured with toys."""
