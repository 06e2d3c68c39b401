"""Classify and regress labelled bags of instances with scikit-learn's interface."""
