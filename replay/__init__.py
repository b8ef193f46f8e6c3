"""Live runs on a real DistDGL cluster with the very same policies and buffers."""
