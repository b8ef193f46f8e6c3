"""Live runs of the small graph on two machines."""

from pathlib import Path
from typing import Any

import pytest

from agents.registry import ModelOptions, resolve
from replay.launch import LivePlan, LiveResult, run_live
from sim.config import RunConfig
from traces.capture.launch import Capture
from traces.cluster.local import LocalCluster


@pytest.fixture(scope="session")
def live_run(graph_dir: Path, part_config: Path):
    """Runs a policy live: `live_run(folder, agent="every:2", cache="lru", capture={"seed": 1})`."""

    def run(
        folder: Path,
        agent: str,
        *,
        check: bool = False,
        model: ModelOptions | None = None,
        cluster: dict[str, Any] | None = None,
        capture: dict[str, Any] | None = None,
        **config: Any,
    ) -> LiveResult:
        plan = resolve(agent, model)
        options = {
            "graph_dir": graph_dir,
            "part_config": part_config,
            "cluster": LocalCluster(**{"parts": 2, "timeout_s": 600} | (cluster or {})),
            "fanout": (4, 4),
            "batch_size": 60,
            "epochs": 2,
        }
        live = LivePlan(
            capture=Capture(**options | (capture or {})),
            config=RunConfig(trace="", trace_sha256="", agent=plan.name, **config),
            plan=plan,
            check=check,
        )
        return run_live(live, folder)

    return run
