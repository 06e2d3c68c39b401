"""The version of milinfer."""

__version__ = "0.1.0"
