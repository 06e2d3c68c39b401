"""Run a whole analysis from one configuration file to a report."""
