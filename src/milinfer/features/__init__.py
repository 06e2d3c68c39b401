"""Compute kinematic columns from events, alone or in a coffea processor."""
