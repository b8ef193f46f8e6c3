"""How many cores are counted: those of the affinity, and no more than control groups allow."""

import math
import os

import pytest

from traces.cores import quota_cores, usable_cores


@pytest.fixture
def groups(tmp_path):
    """Writes the groups of a process, and files of groups."""

    def write(listed, files):
        (listing := tmp_path / "cgroup").write_text(listed)
        for name, text in files.items():
            (path := tmp_path / "mounted" / name).parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return quota_cores(listing, tmp_path / "mounted")

    return write


@pytest.mark.parametrize(
    ("listed", "files", "cores"),
    [
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5, id="a container"),
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, math.inf, id="without a limit"),
        pytest.param("0::/\n", {"cgroup.procs": "1\n"}, math.inf, id="the root group"),
        pytest.param(
            "0::/pod/job/step\n",
            {"pod/cpu.max": "400000 100000", "pod/job/cpu.max": "100000 50000", "pod/job/step/cpu.max": "max 100000"},
            2.0,
            id="a group in a limited group",
        ),
        pytest.param(
            "5:memory:/x\n4:cpu,cpuacct:/docker/1\n0::/\n",
            {
                "cpu,cpuacct/docker/1/cpu.cfs_quota_us": "300000\n",
                "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n",
                "memory/cpu.max": "1 100",
            },
            3.0,
            id="version 1",
        ),
        pytest.param(
            "4:cpu,cpuacct:/docker/unseen\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            0.5,
            id="version 1 inside of a container",
        ),
        pytest.param(
            "4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf, id="-1"
        ),
    ],
)
def test_quotas(groups, listed, files, cores):
    assert groups(listed, files) == cores


def test_where_there_are_no_groups(tmp_path):
    assert quota_cores(tmp_path / "none") == math.inf


@pytest.mark.parametrize(("quota", "cores"), [(math.inf, 6), (2.5, 3), (0.1, 1), (64.0, 6)])
def test_the_smaller_of_both_counts(monkeypatch, quota, cores):
    monkeypatch.setattr("traces.cores.quota_cores", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    assert usable_cores() == cores


def test_systems_without_affinity(monkeypatch):
    monkeypatch.setattr("traces.cores.quota_cores", lambda: math.inf)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert usable_cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
