"""How kernels are compiled."""

from numba import njit

kernel = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
"""Compiled once and cached on disk, without the interpreter's lock, and without numba's memory manager: such a function
cannot allocate, and does not count references, which would cost more than the work on a row itself."""
