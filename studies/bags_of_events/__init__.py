"""Bags of events, and what they are made of."""
