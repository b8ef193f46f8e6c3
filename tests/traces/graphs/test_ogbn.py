"""ogbn data sets, written in OGB's own format by its `DatasetSaver` and read back through its real loader."""

from __future__ import annotations

import io
import shutil
import sys
import urllib.request
import zipfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from traces.errors import InputError
from traces.graphs import ogbn
from traces.graphs.graph import Graph

pytest.importorskip("ogb")
NAME = "ogbn-papers100M"  # the one that OGB publishes in the binary format that its saver writes
NUM_NODES, NUM_EDGES, LABELLED = 40, 150, 25


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.full((NUM_NODES, 1), np.nan, dtype=np.float32)
    labels[:LABELLED, 0] = rng.integers(0, 172, LABELLED)
    return {
        "edge_index": rng.integers(0, NUM_NODES, (2, NUM_EDGES)),
        "node_feat": rng.standard_normal((NUM_NODES, 8), dtype=np.float32),
        "labels": labels,
        "train": np.arange(15),
        "valid": np.arange(15, 20),
        "test": np.arange(20, LABELLED),
    }


@pytest.fixture(scope="module")
def written(arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set's folder as `DatasetSaver` writes it."""
    from ogb.io import DatasetSaver

    folder = tmp_path_factory.mktemp("saver")
    (folder / "mapping").mkdir()
    (folder / "mapping" / "README.md").write_text("no mapping")
    saver = DatasetSaver(NAME, is_hetero=False, version=1, root=str(folder / "made"))
    graph = {"edge_index": arrays["edge_index"], "num_nodes": NUM_NODES, "node_feat": arrays["node_feat"]}
    saver.save_graph_list([graph | {"edge_feat": None}])
    saver.save_target_labels(arrays["labels"])
    saver.save_split({part: arrays[part] for part in ("train", "valid", "test")}, "time")
    saver.copy_mapping_dir(str(folder / "mapping"))
    return folder / "made_ogbn_papers100M" / "papers100M"


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """ogb's folder, with the data set in it."""
    shutil.copytree(written, tmp_path / "dataset" / "ogbn_papers100M")
    return tmp_path / "dataset"


def build(root: Path, name: str = NAME) -> Graph:
    return ogbn.build(name=name, root=root, report=lambda *_: None)


def answer(monkeypatch: pytest.MonkeyPatch, content: bytes, claimed_bytes: int) -> None:
    """Lets every download get `content`."""

    class Response(io.BytesIO):
        def info(self) -> dict[str, str]:
            return {"Content-Length": str(claimed_bytes)}

    monkeypatch.setattr(urllib.request, "urlopen", lambda _url: Response(content))


def assert_same(graph: Graph, arrays: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal([graph.src, graph.dst], arrays["edge_index"])
    np.testing.assert_array_equal(graph.features, arrays["node_feat"])
    np.testing.assert_array_equal(graph.labels[:LABELLED], arrays["labels"][:LABELLED, 0])
    np.testing.assert_array_equal(graph.labels[LABELLED:], -1)
    for part in ("train", "valid", "test"):
        np.testing.assert_array_equal(np.flatnonzero(getattr(graph, f"{part}_mask")), arrays[part])


def test_a_data_set_is_read_through_ogbs_loader(root: Path, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    files = sorted(path for path in root.rglob("*"))
    graph = build(root)
    assert_same(graph, arrays)
    assert (graph.name, graph.kind, graph.scale_note, graph.classes) == (NAME, "real", "", 172)
    assert graph.provenance["unlabelled_nodes"] == NUM_NODES - LABELLED
    assert graph.provenance["inverse_edges_added"] is False
    assert sorted(path for path in root.rglob("*")) == files  # ogb's folder stays as it was
    graph.save(tmp_path / "graph")
    assert Graph.load(tmp_path / "graph", verify=True).checksum() == graph.checksum()


def test_a_cache_that_torch_refuses_to_load_does_not_matter(root: Path, arrays: dict[str, np.ndarray]) -> None:
    from ogb.nodeproppred import NodePropPredDataset

    NodePropPredDataset(NAME, root=str(root))
    with pytest.raises(Exception, match="Weights only load failed"):
        NodePropPredDataset(NAME, root=str(root))  # ogb's own second run
    assert_same(build(root), arrays)


def test_a_split_written_with_numpy_1(root: Path, arrays: dict[str, np.ndarray]) -> None:
    split = root / "ogbn_papers100M" / "split" / "time" / "split_dict.pt"
    with zipfile.ZipFile(split) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(split, "w") as archive:
        for name, old in content.items():
            archive.writestr(name, old.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy.core.multiarray" in split.read_bytes()
    assert_same(build(root), arrays)


def test_a_split_with_anything_but_arrays_is_refused(root: Path) -> None:
    import torch

    torch.save({"train": Path("anything")}, root / "ogbn_papers100M" / "split" / "time" / "split_dict.pt")
    with pytest.raises(InputError, match="Weights only load failed"):
        build(root)


def test_a_missing_data_set_is_downloaded(
    written: Path, arrays: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in written.rglob("*"):
            archive.write(path, Path("papers100M-bin", path.relative_to(written)))
    answer(monkeypatch, packed.getvalue(), len(packed.getvalue()))
    assert_same(build(tmp_path / "dataset"), arrays)
    monkeypatch.setattr(urllib.request, "urlopen", pytest.fail)
    assert_same(build(tmp_path / "dataset"), arrays)


def test_a_large_download_is_not_started_and_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, b"", 60 << 30)
    stdin = io.StringIO("y\n")
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(InputError, match=r"This will download 60\.00GB.*python -c .*--root"):
        build(tmp_path)
    assert stdin.read() == "y\n"
    assert sys.stdin is stdin


def test_an_outdated_data_set_asks_nothing(root: Path) -> None:
    (root / "ogbn_papers100M" / "RELEASE_v1.txt").unlink()
    with pytest.raises(InputError, match="Will you update the dataset now"):
        build(root)
    assert (root / "ogbn_papers100M" / "raw").is_dir()


def test_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(_url: str) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(InputError, match=r"ogbn_arxiv: ogb can't load ogbn-arxiv .*Name or service.*download it with"):
        build(tmp_path, "ogbn-arxiv")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ogbn-nonsense", "choose one of ogbn-proteins, ogbn-products, ogbn-arxiv, ogbn-mag, ogbn-papers100M"),
        ("ogbn-mag", "one node type and one label"),
        ("ogbn-proteins", "one node type and one label"),
    ],
)
def test_data_sets_that_cannot_be_used(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(tmp_path, name)
