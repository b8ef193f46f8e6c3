"""Any homogeneous single-label `ogbn-*` data set, through ogb's own loader."""

from __future__ import annotations

import csv
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.graphs.graph import Graph, Report

NETWORK_TIMEOUT_S = 30.0


def build(*, name: str, root: Path = Path("dataset"), report: Report) -> Graph:
    """The data set `name` out of ogb's folder `root`, where ogb keeps it or downloads it to.

    Edges are the ones ogb gives: for a citation graph from the citing to the cited paper, with inverse edges only
    where OGB's own description of the data set asks for them. A label that is missing (NaN) becomes -1.
    A download that ogb asks to confirm (over 1 GB) is refused: the message has the command to start it by hand.

    Raises `InputError` when the data set is unknown, heterogeneous, without features or with several labels a
    node, and when it is neither in `root` nor can be downloaded.
    """
    report("loading ogb", 0.0)
    nodeproppred = _import_ogb()
    description = _describe(nodeproppred, name)
    folder = root / name.replace("-", "_")
    by_hand = (
        f"download it with `python -c \"from ogb.nodeproppred import NodePropPredDataset as D; D('{name}', '{root}')\"`"
        f" where there is a network, and pass the folder that has {folder.name}/ as --root"
    )
    try:
        with _unattended() as said:
            if not (folder / "raw").is_dir():
                report("downloading", 0.1)
                nodeproppred.NodePropPredDataset(name, root=str(root))
            report("reading", 0.3)
            content, labels, split = _read(nodeproppred, folder, description)
    except (Exception, SystemExit) as error:  # ogb lets through whatever its many readers raise, and exits
        asked = isinstance(error, EOFError)
        reason = said.getvalue().strip().rpartition("\n")[2] if asked else str(error).partition("\n")[0]
        raise InputError(f"{folder}: ogb can't load {name} ({reason}); {by_hand}") from error
    if content["node_feat"] is None:
        raise InputError(f"{name}: its nodes have no features; choose another data set")
    report("converting", 0.9)
    masks = np.zeros((3, len(labels)), dtype=bool)
    for mask, part in zip(masks, ("train", "valid", "test"), strict=True):
        mask[split[part]] = True
    return Graph(
        name=name,
        kind="real",
        src=content["edge_index"][0].astype(np.int64, copy=False),
        dst=content["edge_index"][1].astype(np.int64, copy=False),
        features=content["node_feat"].astype(np.float32, copy=False),
        labels=np.where(np.isnan(labels), -1, labels)[:, 0].astype(np.int64),
        train_mask=masks[0],
        valid_mask=masks[1],
        test_mask=masks[2],
        classes=int(description["num classes"]),
        provenance={
            "source": description["url"],
            "ogb_version": version("ogb"),
            "data_set_version": int(description["version"]),
            "inverse_edges_added": description["add_inverse_edge"] == "True",
            "split": description["split"],
            "unlabelled_nodes": int(np.isnan(labels).sum()),
        },
    )


def _import_ogb() -> Any:
    """`ogb.nodeproppred`, or an `InputError` that says how to install it."""
    os.environ.setdefault("DGLBACKEND", "pytorch")  # ogb imports dgl, which otherwise writes a config file
    # Importing ogb starts a thread that asks PyPI for a newer ogb, with no time-out; without this module it doesn't.
    sys.modules.setdefault("outdated", None)  # type: ignore[arg-type]
    try:
        import ogb.nodeproppred
    except ImportError as error:
        raise InputError(f'ogb: can\'t be imported ({error}); run "pip install ogb"') from error
    return ogb.nodeproppred


def _describe(nodeproppred: ModuleType, name: str) -> dict[str, str]:
    """What ogb's own table of data sets says of `name`."""
    with Path(nodeproppred.__path__[0], "master.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.reader(table))
    names = rows[0][1:]
    if name not in names:
        raise InputError(f"{name}: ogb has no such data set; choose one of {', '.join(names)}")
    description = {row[0]: row[1 + names.index(name)] for row in rows[1:]}
    if description["is hetero"] == "True" or description["num tasks"] != "1":
        raise InputError(f"{name}: only graphs with one node type and one label a node can be used; choose another")
    return description


def _read(
    nodeproppred: Any, folder: Path, description: dict[str, str]
) -> tuple[dict[str, Any], NDArray[np.float64], dict[str, NDArray[np.int64]]]:
    """Graph, labels (n, 1) and split as ogb's loader returns them.

    ogb caches what it read in a format that torch 2.6 and later refuse to load, so it is shown a folder that
    has everything of the data set except that cache, and its new one is dropped.
    """
    with tempfile.TemporaryDirectory(prefix=".reading.", dir=folder.parent) as view:
        for entry in folder.iterdir():
            if entry.name != "processed":
                Path(view, entry.name).symlink_to(entry.resolve())
        Path(view, "processed").mkdir()
        dataset = nodeproppred.NodePropPredDataset(
            description["download_name"], meta_dict=description | {"dir_path": view}
        )
        with _numpy_allowed():
            split = dataset.get_idx_split()
        return dataset.graph, dataset.labels, split


def _numpy_allowed() -> Any:
    """Lets `torch.load`, which since 2.6 makes no object that isn't on a list, make the arrays in a split."""
    import torch

    reconstruct: Any = np.empty(0).__reduce__()[0]  # numpy's own maker of arrays, private and renamed in numpy 2
    return torch.serialization.safe_globals(
        [
            np.ndarray,
            np.dtype,
            type(np.dtype(np.int64)),
            reconstruct,
            (reconstruct, "numpy.core.multiarray._reconstruct"),  # as files written with numpy 1 call it
        ]
    )


@contextmanager
def _unattended() -> Iterator[StringIO]:
    """Answers no question (`input` raises EOFError), waits for no dead server, and yields what ogb prints."""
    stdin, timeout = sys.stdin, socket.getdefaulttimeout()
    sys.stdin = StringIO()
    socket.setdefaulttimeout(NETWORK_TIMEOUT_S)
    try:
        with redirect_stdout(StringIO()) as said:
            yield said
    finally:
        sys.stdin = stdin
        socket.setdefaulttimeout(timeout)
