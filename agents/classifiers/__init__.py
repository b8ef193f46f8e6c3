"""Trained classifiers as policies: one set of features for training and inference, and models stored as data."""
