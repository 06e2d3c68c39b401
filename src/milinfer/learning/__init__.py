"""Models that learn log-likelihood ratios from events."""
