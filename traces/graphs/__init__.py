"""Graphs to capture a run on."""
