"""DistDGL clusters: METIS partitions of a graph (`partition`), and a whole cluster on one machine (`local`).

Importing this package, or any module in it, imports neither torch nor dgl.
"""
