"""The graph folder and the command line; each source has its own test file."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from traces.errors import InputError
from traces.graphs.features import hashed_words
from traces.graphs.graph import ARRAYS, Graph, random_split


@pytest.fixture
def triangle() -> Graph:
    """Three nodes, one of each part of the split, and a fourth without label."""
    return Graph(
        name="triangle",
        kind="synthetic",
        scale_note="synthetic, by hand",
        src=np.array([0, 1, 2, 3]),
        dst=np.array([1, 2, 0, 0]),
        features=np.arange(8, dtype=np.float32).reshape(4, 2),
        labels=np.array([0, 1, 1, -1]),
        train_mask=np.array([True, False, False, False]),
        valid_mask=np.array([False, True, False, False]),
        test_mask=np.array([False, False, True, False]),
        classes=2,
        provenance={"source": "by hand"},
    )


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "traces.graphs", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_a_saved_graph_is_read_back_memory_mapped(triangle: Graph, tmp_path: Path) -> None:
    checksum = triangle.save(tmp_path / "deep" / "graph")
    loaded = Graph.load(tmp_path / "deep" / "graph", verify=True)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(triangle, name))
    assert isinstance(loaded.features, np.memmap)
    assert not loaded.features.flags.writeable
    assert (loaded.name, loaded.kind, loaded.scale_note) == ("triangle", "synthetic", "synthetic, by hand")
    assert loaded.provenance == {"source": "by hand"}
    assert loaded.checksum() == checksum == triangle.checksum()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["graph"]  # no temporary folder stays


def test_the_checksum_depends_on_every_array(triangle: Graph) -> None:
    checksums = {triangle.checksum()}
    for name in ARRAYS:
        changed = getattr(triangle, name).copy()
        changed.flat[-1] = not changed.flat[-1]
        checksums.add(dataclasses.replace(triangle, **{name: changed}).checksum())
    assert len(checksums) == 1 + len(ARRAYS)


def test_verify_finds_a_changed_byte(triangle: Graph, tmp_path: Path) -> None:
    triangle.save(tmp_path / "graph")
    np.save(tmp_path / "graph" / "features.npy", triangle.features + 1)
    Graph.load(tmp_path / "graph")
    with pytest.raises(InputError, match="checksum"):
        Graph.load(tmp_path / "graph", verify=True)


def test_a_failed_save_leaves_the_old_graph(triangle: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checksum = triangle.save(tmp_path / "graph")

    def disk_full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "save", disk_full)
    with pytest.raises(InputError, match="No space left"):
        triangle.save(tmp_path / "graph")
    assert Graph.load(tmp_path / "graph").checksum() == checksum
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("src", np.array([0, 1, 2, 4]), "src has node ids outside 0 to 3"),
        ("dst", np.array([0, 1, 2, -1]), "dst has node ids outside 0 to 3"),
        ("dst", np.array([0, 1, 2]), "dst has 3 rows, not 4"),
        ("dst", np.array([0, 1, 2, 3], dtype=np.int32), "dst is int32, not int64"),
        ("features", np.zeros((3, 2), dtype=np.float32), "features has 3 rows, not 4"),
        ("features", np.zeros(4, dtype=np.float32), "features has 1 dimensions, not 2"),
        ("labels", np.array([0, 1, 2, 0]), "labels has classes outside -1 to 1"),
        ("labels", np.array([0, 1, -1, 0]), "labels misses the class of a node of the split"),
        ("test_mask", np.array([True, False, False, False]), "overlap"),
    ],
)
def test_arrays_that_contradict_each_other(
    triangle: Graph, tmp_path: Path, name: str, array: np.ndarray, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(triangle, **{name: array}).save(tmp_path / "other")
    triangle.save(tmp_path / "graph")
    np.save(tmp_path / "graph" / f"{name}.npy", array)
    with pytest.raises(InputError, match=message):
        Graph.load(tmp_path / "graph")


def test_features_have_to_be_finite(triangle: Graph, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finite"):
        dataclasses.replace(triangle, features=np.full((4, 2), np.nan, dtype=np.float32)).save(tmp_path / "graph")


def test_a_damaged_folder_names_the_file(triangle: Graph, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"graph\.json: no such file"):
        Graph.load(tmp_path)
    triangle.save(tmp_path / "graph")
    head = json.loads((tmp_path / "graph" / "graph.json").read_text())
    for changed, message in (
        ({**head, "format_version": 2}, "format_version is 2, this release reads 1"),
        ({**head, "num_edges": 5}, "num_edges is 5, the arrays have 4"),
        ({key: head[key] for key in head if key != "checksum"}, "has no 'checksum'"),
        ([], "format_version is None"),
    ):
        (tmp_path / "graph" / "graph.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match=message):
            Graph.load(tmp_path / "graph")
    (tmp_path / "graph" / "graph.json").write_text(json.dumps(head))
    content = (tmp_path / "graph" / "src.npy").read_bytes()
    (tmp_path / "graph" / "src.npy").write_bytes(content[:-8])
    with pytest.raises(InputError, match=r"src\.npy: not a whole"):
        Graph.load(tmp_path / "graph")
    (tmp_path / "graph" / "src.npy").unlink()
    with pytest.raises(InputError, match=r"src\.npy: no such file"):
        Graph.load(tmp_path / "graph")


def test_undirected_adds_each_reverse_edge_once(triangle: Graph) -> None:
    looped = dataclasses.replace(triangle, src=np.array([0, 1, 2, 0, 3, 0]), dst=np.array([1, 0, 0, 1, 3, 2]))
    both = looped.undirected()
    assert list(zip(both.src.tolist(), both.dst.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 0), (2, 0)]
    assert both.name == "triangle-undirected"
    assert both.provenance == {"source": "by hand", "reverse_edges": "added"}


def test_hashed_words_are_the_same_everywhere() -> None:
    # CRC-32 of "link" is 0x36ac99f1: column 1 of 16, sign -; of "rate" 0xdfec3f39: column 9, sign +
    features = hashed_words([["link"], ["link", "rate", "link", "rate"], []], width=16)
    expected = np.zeros((3, 16), dtype=np.float32)
    expected[0, 1] = -1
    expected[1, [1, 9]] = -(0.5**0.5), 0.5**0.5
    np.testing.assert_allclose(features, expected, rtol=1e-6)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(hashed_words([["link", "rate"]], width=8), 0)  # both in column 1: they cancel


def test_a_random_split_shares_out_all_nodes() -> None:
    parts = random_split(1001, np.random.default_rng(1))
    assert [int(part.sum()) for part in parts] == [601, 200, 200]
    np.testing.assert_array_equal(np.sum(parts, axis=0), 1)
    again = random_split(1001, np.random.default_rng(1))
    other = random_split(1001, np.random.default_rng(2))
    np.testing.assert_array_equal(parts, again)
    assert not np.array_equal(parts, other)


def test_the_command_writes_a_graph_once(tmp_path: Path) -> None:
    out = tmp_path / "papers"
    arguments = ["papers100m-synthetic", "--scale", "50000", "--seed", "3", "--out", out]
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    graph = Graph.load(out, verify=True)
    assert graph.provenance["seed"] == 3
    assert graph.provenance["command"].startswith("python -m traces.graphs papers100m-synthetic --scale 50000")
    printed = "".join(line.rpartition("│")[0].rpartition("│")[2].strip() for line in done.stdout.splitlines())
    assert graph.checksum() in printed
    assert "2,22132,314128172" in printed
    assert "1/50000 of ogbn-papers100M's" in printed

    refused = run(*arguments)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "holds a graph" in refused.stderr
    assert run(*arguments, "--force").returncode == 0
    assert Graph.load(out).checksum() == graph.checksum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "choose one of debian, linux, papers100m-synthetic, ogbn-*"),
        (["debian", "--scale", "10"], "--scale: debian doesn't take it; it takes --dump, --seed, --width"),
        (["ogbn-arxiv", "--seed", "1"], "--seed: ogbn-arxiv doesn't take it; it takes --root"),
        (["papers100m-synthetic", "--scale", "0"], "--scale 0: give the divisor, 1 to 50000"),
        (["papers100m-synthetic", "--scale", "50001"], "--scale 50001: give the divisor, 1 to 50000"),
        (["debian", "--dump", "no-such-file"], "no-such-file: can't be read"),
        (["linux", "--source", "no-such-file.tar.xz"], "no-such-file.tar.xz: no such file"),
    ],
)
def test_bad_options_end_with_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run(*arguments, "--out", tmp_path / "graph")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (tmp_path / "graph").exists()


def test_force_replaces_nothing_but_graphs(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    done = run("papers100m-synthetic", "--scale", "50000", "--out", tmp_path, "--force")
    assert done.returncode == 2
    assert "has files that are no graph" in done.stderr
    assert (tmp_path / "thesis.txt").exists()


def test_help_shows_examples_without_importing_what_is_heavy() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "python -m traces.graphs papers100m-synthetic --scale 1000" in done.stdout
    heavy = "import sys, traces.graphs.__main__; print({'numpy', 'torch', 'dgl', 'ogb', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
