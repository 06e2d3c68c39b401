"""Represent the event record, which is common to all file formats."""
