"""What tests of several folders share: a small graph in two parts, hand-made traces, and command lines."""

import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.llm.answers import CACHE_FOLDER
from agents.llm.provider import MODEL_CALLS
from traces.cluster.local import LocalCluster
from traces.cluster.partition import partition
from traces.errors import run_command
from traces.graphs.graph import Graph, random_split
from traces.header import ClusterInfo, GraphInfo, Header, PartitionInfo, TrainingInfo
from traces.job.launch import capture_job
from traces.job.merge import Provenance
from traces.nodes import Nodes
from traces.schema import COUNTS, TIMES
from traces.writer import TraceWriter, minibatch_table

NODES, EDGES, COMMUNITIES = 4000, 40_000, 8


KINDS = {
    "cluster": "trains with processes of a real cluster",
    "model": "asks a server of language models",
    "browser": "looks at pages in a browser",
    "slow": "takes long: pages, notebooks, fresh environments, many processes, long searches for counterexamples",
}
PLACES = {
    "cluster": (
        "replay/test_agent_process",
        "replay/test_launch",
        "replay/test_live",
        "replay/test_scripted",
        "traces/cluster/",
        "traces/job/",
        "traces/test_capture",
    ),
    "model": ("agents/llm/", "sim/test_credit"),
    "browser": ("sim/reports/test_page",),
    "slow": (
        "docs/test_commands",
        "notebooks/",
        "test_stranger",
        "test_processes",
        "sim/sweeps/",
        "sim/test_tune",
        "sim/test_compiled",
        "sim/caches/test_libcachesim",
        "sim/caches/test_twins",
        "sim/engine/test_reference",
        "traces/graphs/test_ogbn",
        "traces/test_synthetic",
        "replay/test_validation",
        "replay/test_winner",
    ),
}
"""Where tests of a kind stand, below tests/."""

ROOT = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "model_calls: may ask a model server, which the test itself started")
    for name, what in KINDS.items():
        config.addinivalue_line("markers", f"{name}: {what}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make quick` leaves out, by where a test stands and what it uses, so that nobody has to remember it."""
    for item in items:
        path = item.path.relative_to(ROOT).as_posix()
        for kind, places in PLACES.items():
            if any(path.startswith(place) for place in places):
                item.add_marker(kind)
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & {"part_config", "live_run"}:
            item.add_marker("cluster")
        if item.get_closest_marker("model_calls") is not None:
            item.add_marker("model")


@pytest.fixture(autouse=True)
def _no_model_calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test asks whatever model server happens to run on the machine, or reads answers kept there."""
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv(CACHE_FOLDER, str(tmp_path / "cache"))
    if request.node.get_closest_marker("model_calls") is None:
        monkeypatch.setenv(MODEL_CALLS, "forbid")


@pytest.fixture(scope="session")
def graph_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random graph of communities, most edges inside them; node i's features start with i."""
    rng = np.random.default_rng(0)
    community = np.sort(rng.integers(0, COMMUNITIES, NODES))
    start = np.searchsorted(community, np.arange(COMMUNITIES + 1))
    dst = rng.integers(0, NODES, EDGES)
    low, high = start[community[dst]], start[community[dst] + 1]
    src = np.where(rng.random(EDGES) < 0.9, rng.integers(low, high), rng.integers(0, NODES, EDGES))
    features = rng.standard_normal((NODES, 100), dtype=np.float32)
    features[:, 0] = np.arange(NODES)
    train, valid, test = random_split(NODES, rng)
    order = rng.permutation(NODES)  # node ids say nothing of the communities
    folder = tmp_path_factory.mktemp("graph") / "communities"
    Graph(
        name="communities",
        kind="synthetic",
        src=order[src],
        dst=order[dst],
        features=features,
        labels=community[np.argsort(order)].astype(np.int64),
        train_mask=train,
        valid_mask=valid,
        test_mask=test,
        classes=COMMUNITIES,
    ).save(folder)
    return folder


@pytest.fixture(scope="session")
def part_config(graph_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph in two parts."""
    return partition(graph_dir, 2, tmp_path_factory.mktemp("parts") / "two")


JOBS = Path(__file__).parent / "traces" / "job" / "scripts"
JOB_ARGUMENTS = ["--ip_config", "{ip_config}", "--part_config", "{part_config}", "--graph_name", "{graph_name}"]


@pytest.fixture(scope="session")
def scripts() -> Path:
    """The folder of training scripts as users have them."""
    return JOBS


@pytest.fixture(scope="session")
def job_arguments() -> list[str]:
    """What these scripts are told of the cluster that they run on."""
    return JOB_ARGUMENTS


def users_partition(kind: str, folder: Path) -> Path:
    command = [sys.executable, str(JOBS / "make_partition.py"), kind, str(folder), "2"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder.parent)  # METIS leaves files there
    return folder / "mine.json"


@pytest.fixture(scope="session")
def homogeneous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DGL's configuration of a user's graph with one node type, in two parts."""
    return users_partition("homogeneous", tmp_path_factory.mktemp("homogeneous") / "parts")


@pytest.fixture(scope="session")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a graph with three node types."""
    return users_partition("typed", tmp_path_factory.mktemp("typed") / "parts")


@pytest.fixture(scope="session")
def recorded_job(homogeneous: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trace of a script in the shape of DGL's train_dist.py, every process of which ran behind the prefix."""
    folder = tmp_path_factory.mktemp("recorded_job")
    out, script = folder / "t.parquet", str(JOBS / "node_classification.py")
    words = ["traces.record", "--out", str(out), "--synthetic", "made for a test", "--", script, *JOB_ARGUMENTS]
    run = LocalCluster(parts=2, timeout_s=600).run(
        homogeneous, f"{JOBS / 'prefix.py'}:main", {"words": words}, folder / "logs"
    )
    assert run.values == ["client", "client"]
    return out


@pytest.fixture(scope="session")
def recorded_types(typed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What our launcher captured of an RGCN with an embedding, sampled by processes of their own."""
    out = tmp_path_factory.mktemp("recorded_types") / "t.parquet"
    script = [str(JOBS / "typed_nodes.py"), *JOB_ARGUMENTS]
    cluster = LocalCluster(parts=2, timeout_s=600, link="200mbit", samplers_per_trainer=1)
    capture_job(cluster, typed, script, out, Provenance(command="a test"))
    return out


@dataclass
class Minibatch:
    """One minibatch of a hand-made trace: the remote ids it asks for, and its measured times (all others are 0)."""

    remote_ids: list[int]
    times: dict[str, float] = field(default_factory=dict)
    local_nodes: int = 10


@pytest.fixture
def minibatch() -> type[Minibatch]:
    """`Minibatch`, for tests that can't import this file."""
    return Minibatch


@pytest.fixture
def write_trace(tmp_path: Path) -> Callable[..., Path]:
    """Writes a trace by hand: `minibatches[rank][epoch]` is a list of `Minibatch`; one trainer a partition.

    Partition p owns `nodes_per_partition` ids; `halo[p]` are the remote ids of local degree 1, all others of its
    remote nodes have local degree 0. `changes` go into the header.
    """

    def write(
        minibatches: list[list[list[Minibatch]]],
        nodes_per_partition: int = 10,
        halo: list[list[int]] | None = None,
        name: str = "hand.parquet",
        **changes: Any,
    ) -> Path:
        parts = len(minibatches)
        nodes = parts * nodes_per_partition
        header = Header(
            graph=GraphInfo(
                name="hand-made",
                kind="synthetic",
                scale_note="made by hand for a test",
                nodes=nodes,
                edges=0,
                feature_dim=25,
                feature_dtype="float32",
                feature_bytes=100,
                classes=2,
            ),
            partition=PartitionInfo(
                parts=parts, method="by hand", offsets=tuple(range(0, nodes + 1, nodes_per_partition))
            ),
            cluster=ClusterInfo(
                form="none",
                hosts=tuple(f"machine{number}" for number in range(parts)),
                trainers_per_host=1,
                servers_per_host=1,
                cores=2,
                link_bytes_per_s=1e6,
            ),
            training=TrainingInfo(model="none", hidden=1, gradient_bytes=0, fanout=(10, 25), batch_size=10, seed=0),
            epochs=len(minibatches[0]),
            minibatches_per_epoch=len(minibatches[0][0]) if minibatches[0] else 1,
            complete=True,
            versions={},
            date="2026-01-01T00:00:00+00:00",
            command="by hand",
            clock="by hand",
        )
        path = tmp_path / name
        with TraceWriter(path, header.model_copy(update=changes)) as writer:
            for partition in range(parts):
                own = range(partition * nodes_per_partition, (partition + 1) * nodes_per_partition)
                remote = np.array([node for node in range(nodes) if node not in own])
                in_halo = np.isin(remote, halo[partition]) if halo else np.ones(len(remote), bool)
                writer.write_nodes(
                    partition,
                    Nodes(remote, np.ones(len(remote), np.int32), in_halo.astype(np.int32), None),
                )
            for epoch in range(len(minibatches[0])):
                for rank, epochs in enumerate(minibatches):
                    rows = epochs[epoch]
                    columns: dict[str, Any] = {
                        "remote_ids": [np.array(one.remote_ids, np.int64) for one in rows],
                        "local_nodes": [one.local_nodes for one in rows],
                        "input_nodes": [one.local_nodes + len(one.remote_ids) for one in rows],
                        "owner_done_s": [[0.0] * parts for _ in rows],
                    }
                    columns |= {name: [0] * len(rows) for name in COUNTS if name not in columns}
                    columns |= {name: [one.times.get(name, 0.0) for one in rows] for name in TIMES}
                    writer.write_epoch(minibatch_table(rank, rank, epoch, columns))
        return path

    return write


HANGS_S = 600
"""What takes so long hangs, however busy the machine is."""


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Waits until something holds; a test whose event never comes fails."""

    def wait(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + HANGS_S
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    return wait


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process: `run_cli("sim.run", "--trace", "x")` gives exit code, stdout and stderr."""

    def run(module: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        app = importlib.import_module(module).app
        with pytest.raises(SystemExit) as ended:
            run_command(app)
        printed = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else int(code is not None)), printed.out, printed.err

    return run
