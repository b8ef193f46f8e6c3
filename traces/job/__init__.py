"""Recording any DistDGL job by hooks in DGL and torch, below its script: minibatches, pulls and steps.

Importing this package, or any module in it, imports neither torch nor dgl.
"""

__all__ = ["lock", "record", "script"]
