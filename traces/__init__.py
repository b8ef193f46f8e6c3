"""Traces of DistDGL runs: schema, reading and writing, capture, and the graphs they are captured from."""
