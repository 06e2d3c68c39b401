"""Check whether a learned ratio can be trusted and how well it separates."""
