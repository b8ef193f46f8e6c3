"""Capturing a real DistDGL run: `python -m traces.capture --help`."""
