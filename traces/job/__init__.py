"""Any DistDGL job, seen from below its script: its minibatches, pulls and steps, recorded while it runs.

Importing this package, or any module in it, imports neither torch nor dgl.
"""

__all__ = ["lock", "record", "script"]
