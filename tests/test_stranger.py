"""Somebody who has only the installed package writes a policy and a cache: simulated, swept, checked and run live.

The wheel is installed into a fresh environment, which finds the dependencies of the running one; no network is needed.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[1]

POLICY = '''
from agents.policy import Decision


class Warmup:
    """Replace while the buffer learns, then let it be."""

    name, timed = "warmup", False

    def __init__(self, minibatches: int = 8):
        self.minibatches = minibatches

    def reset(self, run, seed):
        pass

    def decide(self, observation):
        return Decision(replace=observation.minibatch < self.minibatches)
'''
CACHE = '''
import numpy as np

from sim.caches.cache import Access, Cache, initial_ids


class Counted(Cache):
    """Keeps, from a replacement on, the rows that were asked for most often."""

    managed = True

    def __init__(self, *, setup):
        super().__init__(setup)
        self.slots = np.full(self.capacity_rows, -1, np.int32)
        self.slot_of = np.full(setup.universe.rows, -1, np.int32)
        self.counts = np.zeros(setup.universe.rows, np.int64)
        self._put(initial_ids(setup), np.arange(len(initial_ids(setup)), dtype=np.int32))

    def access(self, ids, decision=None):
        hit_slots = self.slot_of[ids]
        missed, nothing = ids[hit_slots < 0], ids[:0]
        self.counts[ids] += 1
        if decision is None or not decision.replace:
            return Access(hit_slots, len(ids) - len(missed), nothing, nothing, 0)
        best = np.argsort(-self.counts, kind="stable")[: self.capacity_rows].astype(np.int32)
        inserted = best[self.slot_of[best] < 0]
        into = np.flatnonzero(~np.isin(self.slots, best))[: len(inserted)].astype(np.int32)
        self._put(inserted, into)
        return Access(hit_slots, len(ids) - len(missed), inserted, into, len(np.setdiff1d(inserted, missed)))

    def contents(self):
        return self.slots.copy()

    def _put(self, rows, slots):
        gone = self.slots[slots]
        self.slot_of[gone[gone >= 0]] = -1
        self.slots[slots], self.slot_of[rows] = rows, slots
'''
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "strangers-policies"
version = "1.0"
[project.entry-points."rudder_twin.policies"]
warmup = "strangers.policies:Warmup"
[project.entry-points."rudder_twin.caches"]
counted = "strangers.caches:Counted"
[tool.hatch.build.targets.wheel]
packages = ["strangers"]
"""
BY_FILE, BY_NAME = ("mine.py:Warmup", "my_cache.py:Counted"), ("warmup", "counted")


def done(*command, cwd, check=True):
    """Run a command to its end, without this checkout on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0 or not check, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment with the wheels of this project and of the stranger's package."""
    folder = tmp_path_factory.mktemp("installed")
    package = folder / "package"
    (package / "strangers").mkdir(parents=True)
    (package / "pyproject.toml").write_text(PROJECT)
    for name, text in (("__init__", ""), ("policies", POLICY), ("caches", CACHE)):
        (package / "strangers" / f"{name}.py").write_text(text)
    for source in (ROOT, package):
        done(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "wheels"), cwd=source)
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    wheels = sorted(map(str, (folder / "wheels").glob("*.whl")))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python))
    done(*pip, "install", "--quiet", "--no-deps", "--no-index", *wheels, cwd=folder)
    [site] = (folder / "venv").glob("lib/python*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(others) + "\n")
    where = done(str(python), "-c", "import sim; print(sim.__file__)", cwd=folder).stdout.strip()
    assert where == str(site / "sim" / "__init__.py")
    return str(python)


@pytest.fixture
def folder(tmp_path):
    """The stranger's folder."""
    (tmp_path / "mine.py").write_text(POLICY)
    (tmp_path / "my_cache.py").write_text(CACHE)
    return tmp_path


@pytest.mark.parametrize(("policy", "cache"), [BY_FILE, BY_NAME])
def test_checked_simulated_and_swept(python, folder, policy, cache):
    trace = ("--trace", str(ROOT / "traces" / "debian.parquet"))
    done(python, "-m", "agents.check", f"{policy}:3", cwd=folder)
    done(python, "-m", "sim.caches.check", cache, cwd=folder)
    one = ("--agent", f"{policy}:6", "--cache", cache, "--buffer", "10%", "--out", "one")
    done(python, "-m", "sim.run", *trace, *one, cwd=folder)
    run = {row["policy"]: row for row in pl.read_parquet(folder / "one" / "runs.parquet").to_dicts()}
    own = run[f"{policy}:minibatches=6"]
    assert own["replacements"] == 4 * 6
    assert own["fetched_rows"] >= run["MIN"]["fetched_rows"]
    assert own["hit_rows"] != run["never"]["hit_rows"]
    lists = ("--agents", f"pipeline {policy}:6 {policy}:12", "--caches", f"score {cache}", "--buffers", "10%")
    done(python, "-m", "sim.sweep", *trace, *lists, "--workers", "2", "--out", "all", cwd=folder)
    rows = pl.read_parquet(folder / "all" / "runs.parquet")
    assert rows["error"].to_list() == [None] * 5
    again = rows.filter(agent=f"{policy}:minibatches=6", cache=cache).to_dicts()[0]
    assert {name: again[name] for name in ("run", "hit_rows", "fetched_rows")} == {
        name: own[name] for name in ("run", "hit_rows", "fetched_rows")
    }
    shown = json.loads(done(python, "-m", "sim.report", "all", "--json", cwd=folder).stdout)
    assert cache in {row["cache"] for row in shown["rows"]}
    again = done(python, "-m", "sim.run", *trace, "--policy", "one/config.json", cwd=folder, check=False)
    assert (again.returncode, "names code that would run here" in again.stderr) == (2, True)
    done(python, "-m", "sim.run", *trace, "--policy", "one/config.json", "--trust", "--out", "two", cwd=folder)
    assert (folder / "two" / "runs.parquet").read_bytes() == (folder / "one" / "runs.parquet").read_bytes()


@pytest.mark.parametrize(("policy", "cache"), [BY_FILE, BY_NAME])
def test_run_live(python, folder, policy, cache, graph_dir, part_config):
    cluster = ("--graph", str(graph_dir), "--local", "2", "--partitions", str(part_config.parent))
    training = ("--fanout", "4,4", "--batch", "60", "--epochs", "2", "--evaluate-every", "0")
    own = ("--agent", f"{policy}:3", "--cache", cache, "--buffer", "20%", "--out", "live")
    done(python, "-m", "replay.live", *cluster, *training, *own, cwd=folder)
    compared = done(python, "-m", "replay.compare", "live", "--trust", "--json", cwd=folder)
    found = json.loads(compared.stdout)
    assert (found["differences"], found["decided_again"]) == ([], True)
    assert found["live_hits"] == found["simulated_hits"] > 0
    summary = json.loads((folder / "live" / "summary.json").read_text())["runs"][0]
    assert summary["replacements"] == 2 * 3
    refused = done(python, "-m", "replay.compare", "live", cwd=folder, check=False)
    assert (refused.returncode, "names code that would run here" in refused.stderr) == (2, True)
