"""How many cores this process may use, by its affinity and by the quotas of its control groups."""

from __future__ import annotations

import math
import os
from pathlib import Path


def usable_cores() -> int:
    """The number of cores that this process may use, rounded up: as many single-threaded workers as are worth
    starting."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, quota_cores())))


def quota_cores(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> float:
    """The quota of processor time by control groups, in cores; infinity without a limit.

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
            group = root / path.lstrip("/")  # missing in a container that doesn't see its host's groups
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
    except (OSError, ValueError):  # the root group has no such files, and "max" is not a number
        return math.inf
