"""Capturing a user's script on a cluster that `traces.cluster` starts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from traces.capture import clock
from traces.capture.assemble import complete_epochs
from traces.capture.launch import Keep, fragments_of
from traces.cluster.errors import ClusterError
from traces.cluster.launcher import Cluster
from traces.cluster.link import parse_link
from traces.cluster.local import LocalCluster
from traces.cores import usable_cores
from traces.errors import InputError, Terminated
from traces.job.merge import Provenance, merge
from traces.job.partition_files import PartitionFiles

ENTRY = "traces.job.worker:main"


def capture_job(
    cluster: Cluster,
    part_config: Path,
    script: list[str],
    out: Path,
    provenance: Provenance,
    seed: int = 0,
    entry: str = ENTRY,
    arguments: dict[str, Any] | None = None,
    keep: Keep = lambda fragments, header: None,
) -> None:
    """Run `script` with its arguments on every machine, and record it to `out`.

    `{ip_config}`, `{part_config}` and `{graph_name}` in the arguments stand for this job's. Raises `ClusterError` for a
    job that died, whose whole epochs are then kept, marked incomplete (`keep`: see `traces.capture.launch.capture`);
    `InputError` for what can't be.
    """
    PartitionFiles.read(part_config)
    if not Path(script[0]).is_file():
        raise InputError(f"{script[0]}: there is no such script")
    fragments, logs = fragments_of(out).resolve(), out.with_name(out.name + ".logs").resolve()
    if fragments.exists():
        raise InputError(f"{fragments}: left by a capture that was killed; run traces.record with --recover to keep it")
    local = isinstance(cluster, LocalCluster)
    provenance = provenance.model_copy(
        update={
            "form": cluster.form_here if isinstance(cluster, LocalCluster) else cluster.form,
            "hosts": list(cluster.hosts),
            "cores": usable_cores() if local else None,  # each host reports its own
            "link_bytes_per_s": parse_link(cluster.link) if cluster.link else provenance.link_bytes_per_s,
            "servers_per_host": cluster.servers_per_machine,
            "clock": clock.ONE_HOST if cluster.shared_clock else clock.SEVERAL_HOSTS,
        }
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    given = {
        "script": str(Path(script[0]).resolve()),
        "arguments": script[1:],
        "out": str(out.resolve()),
        "provenance": provenance.model_dump(),
    }
    try:
        cluster.run(part_config, entry, given | (arguments or {}), logs, seed)
    except (ClusterError, KeyboardInterrupt, Terminated):
        trainers = cluster.parts * cluster.trainers_per_machine
        if complete_epochs(fragments, trainers):
            keep(fragments, merge(out, fragments, trainers))
        shutil.rmtree(fragments, ignore_errors=True)
        raise
    shutil.rmtree(logs)
