"""Thousands of configurations over traces: a grid, processes that share the traces, one data set of results."""
