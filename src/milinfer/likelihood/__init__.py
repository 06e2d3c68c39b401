"""The log-likelihood ratio of a dataset, its surface, cost functions and fits."""
