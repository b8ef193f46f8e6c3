"""The same sweep on a real Ray, started here, with workers of which one is killed."""

import os
import signal

import pytest

from sim.runs.twin import Twin
from sim.sweeps.batches import batches
from sim.sweeps.grid import Grid, expand
from sim.sweeps.pool import run_local
from sim.sweeps.ray_workers import Runner, run_on_ray
from traces.errors import InputError

ray = pytest.importorskip("ray")

MINE = """
from agents.heuristics.fixed import Always
from sim.caches.score import Score

class Mine(Always):
    name = "mine"

class Cache(Score):
    pass
"""


class DiesOnce(Twin):
    """Kills the process that first runs `always`; `marker` is the file that remembers it."""

    def simulate(self, config, **options):
        if config.agent == "always" and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().simulate(config, **options)


def by_run(results):
    return sorted((row for rows in results for row in rows), key=lambda row: row["run"])


def test_local_starts_a_ray_of_its_own_where_a_killed_worker_is_replaced_and_all_rows_come(
    repeated, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    agents = ["none", "pipeline", "never", "always", "every:2", "random:.5", "mine.py:Mine"]
    caches = ["score", "lru", "mine.py:Cache"]
    plan = expand(Grid(trace=[str(repeated)], agents=agents, caches=caches, buffers=["10%", "50%", "70%"]))
    twin = Twin.open(repeated, {"halo"})
    mortal = DiesOnce.open(repeated)
    mortal.marker = tmp_path / "died"
    (sha256,) = plan.files
    work = batches(list(plan.configs.values()))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # somebody else's, and gone
    on_ray = by_run(run_on_ray(work, {sha256: mortal}, "local"))
    assert mortal.marker.exists()
    assert not ray.is_initialized()
    assert on_ray == by_run(run_local(work, lambda: {sha256: twin}, 2))
    assert all(row["error"] is None for row in on_ray)
    fetched = {(row["agent"], row["cache"], row["buffer"]): row["fetched_rows"] for row in on_ray}
    assert fetched["mine.py:Mine", "mine.py:Cache", "50%"] == fetched["always", "score", "50%"]


def test_a_node_without_the_folder_of_users_code_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = tmp_path / "missing"
    assert f"has no folder {missing}; share it among the hosts" in Runner({}, missing, ["mine.py:Mine"]).problem()
    for folder, specs in ((missing, []), (missing, ["my_package.policies:Mine"]), (tmp_path, ["mine.py:Mine"])):
        assert Runner({}, folder, specs).problem() == ""


def test_no_cluster_is_one_clear_error():
    with pytest.raises(InputError, match="no Ray cluster answers"):
        next(iter(run_on_ray([], {}, "auto")))
