"""How many cores this process may use: those that it may run on, and no more than its containers are allowed."""

from __future__ import annotations

import math
import os
from pathlib import Path


def usable_cores() -> int:
    """The cores of this process: as many as are busy when so many processes of one thread each are started."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, quota_cores())))


def quota_cores(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> float:
    """The processor time a second that control groups allow this process, in cores; infinity where they don't limit it.

    `docker run --cpus`, Kubernetes and Slurm set it. A group's limit is that of all groups inside of it. `groups` lists
    those of the process, of version 2 (`0::/path`) or 1 (`4:cpu,cpuacct:/path`), which are folders in `mounted`.
    """
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return math.inf
    least = math.inf
    for _, controllers, path in lines:
        if controllers == "" or "cpu" in controllers.split(","):
            root = mounted / controllers
            group = root / path.lstrip("/")  # which a container that doesn't see its host's groups doesn't have
            least = min(least, *(_quota(folder) for folder in (group, *group.parents) if folder.is_relative_to(root)))
    return least


def _quota(group: Path) -> float:
    """The limit in one group's folder."""
    try:
        if (limit := group / "cpu.max").exists():
            quota, period = limit.read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(quota) / float(period) if float(quota) > 0 else math.inf  # -1: no limit
    except (OSError, ValueError):  # the root group has no such files, and "max" is no number
        return math.inf
