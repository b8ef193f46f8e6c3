"""Minibatches as DistDGL would sample them, without a cluster: `python -m traces.sample --help`."""
