"""A captured run as arrays: dense ids, epochs, sizes; it knows no cache and no time."""

__all__ = ["capacity", "load", "stream"]
