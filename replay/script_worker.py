"""A user's script as the program of every process of a cluster, with a policy's buffer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.registry import UNASKED
from agents.user_code import enter_folder
from replay.agent_process import Address, RemotePolicy
from replay.prefetch import ReplayRun
from replay.prefetcher import Replay
from sim.config import RunConfig
from traces.job.merge import Provenance
from traces.job.run import JobRecording
from traces.job.worker import run_recorded


def main(arguments: dict[str, Any]) -> None:
    """Run and record the script; its captured loader is prepared ahead."""

    def make_run() -> JobRecording:
        config = RunConfig.model_validate_json(arguments["config"])
        enter_folder(Path(arguments["command_folder"]), config.user_code)
        replay = Replay.read(config, arguments["trace"], arguments["epochs"], arguments["check"], UNASKED)
        if (agents := arguments["agents"]) is not None:  # a process asks the model, which trainers may not reach
            address, timeout_s = Address.from_json(agents), arguments["timeout_s"]
            plan = replace(replay.plan, factory=lambda: RemotePolicy(config.agent, address, timeout_s))
            replay = replace(replay, plan=plan)
        return ReplayRun(replay, Path(arguments["folder"]), Provenance.model_validate(arguments["provenance"]))

    run_recorded(make_run, arguments)


main.serves = True  # type: ignore[attr-defined]  # as `traces.job.worker.main`
