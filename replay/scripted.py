"""`python -m replay.live ... -- SCRIPT`: a user's script with a policy's buffer, under its own launcher or ours."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.registry import ModelOptions
from replay.launch import agents_of, keep_results, refuse_early, trace_file
from replay.prefetch import ReplayRun
from replay.prefetcher import Replay
from replay.results import read_recorded
from sim.config import RunConfig
from sim.runs.choose import choose, refuse_model_options
from traces.cluster.options import choose_cluster
from traces.errors import InputError
from traces.header import Header
from traces.job.launch import capture_job
from traces.job.merge import Provenance
from traces.job.observe import install, observe
from traces.job.partition_files import PartitionFiles
from traces.job.script import is_server, run_script, with_launchers_words

CHOICE = ("policy", "agent", "cache", "buffer", "init", "universe", "window", "mode", "depth", "trust")


def live_script(options: dict[str, Any], given: set[str]) -> Path | None:
    """Run the script that the command's `options` name; the names in `given` were set by the user. Returns the folder
    of results.

    Returns None if this is one of the processes of the user's own launcher. Raises `InputError` and `ClusterError`.
    """
    clustered = given & {"local", "hosts", "slurm"}
    path, *words = with_launchers_words(options["script"])
    if not clustered and is_server():
        install()
        run_script(Path(path), words)
        return None
    model = ModelOptions(host=options["model_host"], timeout_s=options["timeout_s"], keep_answers=False)
    plan, chosen = choose(**{name: options[name] for name in CHOICE}, seed=None, model=model)
    refuse_model_options(plan, model, live=True)
    if options["seed"] is not None and plan.buffered:
        chosen["seed"] = options["seed"]
    config = RunConfig(trace="", trace_sha256="", agent=plan.name, agent_sha256=plan.sha256, **chosen)
    epochs = options["epochs"] if "epochs" in given else None
    replay = Replay.read(config, options["trace"], epochs, options["check"], model)
    folder = options["out"] or Path("results") / f"live-{datetime.now():%Y%m%d-%H%M%S}"
    provenance = Provenance(
        command=shlex.join(["python", "-m", "replay.live", *sys.argv[1:]]),
        servers_per_host=int(os.environ.get("DGL_NUM_SERVER", "1")),
    )
    if clustered:
        _launch(options, replay, folder, provenance)
        return folder
    if "link" in given:
        raise InputError("--link: only links of --local machines can be shaped; leave it out")
    run = ReplayRun(replay, folder, provenance, options["part_config"])
    observe(run)
    try:
        run_script(Path(path), words)
    except SystemExit as end:
        if end.code:
            raise
    run.finish()
    return None


def _launch(options: dict[str, Any], replay: Replay, folder: Path, provenance: Provenance) -> None:
    config, local = options["part_config"], options["local"]
    if config is None:
        raise InputError("--part-config is missing: the configuration of the partition that the script runs on")
    if folder.exists():
        raise InputError(f"--out {folder}: exists already; choose another, or remove it")
    machines = local if local is not None else None if options["hosts"] else PartitionFiles.read(config).parts
    same = ("hosts", "slurm", "trainers", "servers", "samplers", "link", "form", "python", "ssh")
    cluster = choose_cluster(parts=machines, timeout_s=options["limit_s"], **{name: options[name] for name in same})
    cluster.check()
    if replay.plan.buffered:
        refuse_early(replay.plan, replay.config, replay.trace.header, replay.trace.nodes)
    arguments = {
        "config": replay.config.model_dump_json(),
        "trace": str(replay.trace.path.resolve()),
        "epochs": replay.epochs,
        "check": replay.check,
        "folder": str(folder.resolve()),
        "command_folder": os.getcwd(),
    }

    def keep(fragments: Path, header: Header) -> None:
        recorded = read_recorded(fragments, header)
        keep_results(replay.config, replay.plan, replay.check, folder, recorded)

    out, entry = trace_file(folder), "replay.script_worker:main"
    with ExitStack() as running:
        arguments |= agents_of(replay.plan, cluster, running)
        capture_job(cluster, config, options["script"], out, provenance, options["seed"] or 0, entry, arguments, keep)
