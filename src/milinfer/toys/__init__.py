"""Pseudo-experiments: event pools, draws and ensembles of toys."""
