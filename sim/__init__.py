"""The simulator: exact caches, and a SimPy model of the time around them."""
