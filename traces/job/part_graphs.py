"""The graph of one partition out of its file, in DGL's own format or in GraphBolt's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError

Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.integer[Any]] | None]
"""Source and destination of every edge, as ids of the graph with all node types taken as one, and the numbers of the
edges' types; None where there is one type. Shape (edges,) each. Edges into other partitions' nodes are among them."""


def read_dgl(path: Path) -> Edges:
    """A file that `dgl.save_graphs` wrote."""
    import dgl
    from dgl.base import ETYPE, NID

    graph = dgl.load_graphs(str(path))[0][0]
    (src, dst), ids, types = graph.edges(), graph.ndata[NID].numpy(), graph.edata.get(ETYPE)
    return ids[src.numpy()], ids[dst.numpy()], None if types is None else types.numpy()


def read_graphbolt(path: Path) -> Edges:
    """A file with a `FusedCSCSamplingGraph`. Raises `InputError` where the installed dgl has no GraphBolt."""
    import torch
    from dgl.base import NID

    try:
        import dgl.graphbolt  # noqa: F401  which registers the class of what is in the file
    except ImportError as error:
        raise InputError(
            f"{path}: is in GraphBolt's format, and the installed dgl has no GraphBolt ({error}); partition without "
            "use_graphbolt, or keep DGL's own format beside it"
        ) from None
    graph = torch.load(path, weights_only=False)  # a whole object: partitions are as trusted as the job itself
    ids = graph.node_attributes[NID].numpy().astype(np.int64)
    into = np.repeat(ids, np.diff(graph.csc_indptr.numpy()))
    types = graph.type_per_edge
    return ids[graph.indices.numpy()], into, None if types is None else types.numpy()


FORMATS: dict[str, Callable[[Path], Edges]] = {"part_graph": read_dgl, "part_graph_graphbolt": read_graphbolt}
"""How to read the graph of a partition, by the name that DGL's configuration has for its file; DGL's own first."""
