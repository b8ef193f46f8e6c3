"""A real run with a live buffer, recorded, then simulated from its own recording: every count must agree."""

from pathlib import Path

import numpy as np
import pytest

from agents.registry import resolve
from sim.config import RunConfig
from sim.cost import CostModel
from sim.load import load
from sim.simulate import simulate
from sim.topology import from_header
from traces.capture.launch import Capture, capture
from traces.cluster.local import LocalCluster
from traces.reader import Trace

WORKER = Path(__file__).with_name("checked_worker.py")


@pytest.mark.parametrize(
    "options",
    [
        {"agent": "every:2", "cache": "score:alpha=.2,period=2", "buffer": "20%", "init": "degree"},
        {"agent": "random:.5", "cache": "score:period=1", "buffer": "10%", "init": "empty", "window": 2},
        {"agent": "never", "cache": "lru", "buffer": "60%", "init": "empty", "universe": "remote"},
    ],
    ids=lambda options: options["agent"],
)
def test_hits_of_every_minibatch_are_those_of_the_live_buffer(
    graph_dir: Path, part_config: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    config = RunConfig(trace="live", trace_sha256="", **options)
    plan = Capture(
        graph_dir=graph_dir,
        part_config=part_config,
        cluster=LocalCluster(parts=2, trainers_per_machine=2, timeout_s=120),
        fanout=(4, 4),
        batch_size=60,
        epochs=2,
        policy=config.agent,
        depth=1,
        entry=f"{WORKER}:main",
    )
    capture(plan, tmp_path / "live.parquet", {"config": config.model_dump_json()})
    trace = Trace(tmp_path / "live.parquet")
    live = trace.steps()
    inputs = load(trace, config.universe)
    cost = CostModel(request_s=1e-3, server_s_per_row=1e-6, scatter_s_per_row=1e-6)
    simulated = simulate(inputs, trace.header, resolve(config.agent), config, cost, from_header(trace.header, None))
    assert trace.header.complete
    assert trace.header.trainers == 4
    assert live["hit_rows"].sum() > 0
    assert np.array_equal(simulated.counts["hit_rows"].ravel(), live["hit_rows"].to_numpy())
    assert np.array_equal(simulated.counts["replacement_rows"].ravel(), live["replacement_rows"].to_numpy())
    if options["agent"] != "never":
        assert live["replacement_rows"].sum() > 0
