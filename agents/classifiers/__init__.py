"""Trained classifiers as policies: one set of features, models as data, and training that service has no part in."""
