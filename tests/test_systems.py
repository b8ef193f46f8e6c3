"""Systems that the project was not written on: without Linux' own modules, and with other packages of its names."""

import json
import os
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
TRACE = ROOT / "traces" / "debian.parquet"

ELSEWHERE = """
import builtins, os, runpy, signal, sys
importing = builtins.__import__
OWN = {"traces", "agents", "sim", "replay"}

def without(name, scope=None, *rest, **named):
    importer = (scope or {}).get("__name__", "").partition(".")[0]
    if name in {"fcntl", "resource", "pwd", "grp", "termios"} and importer in OWN:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return importing(name, scope, *rest, **named)

builtins.__import__ = without
del os.sched_getaffinity, os.getloadavg, os.fork, signal.pthread_sigmask
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs a module without what there is on Linux and not on Windows."""


def elsewhere(*words):
    return subprocess.run([sys.executable, "-c", ELSEWHERE, *map(str, words)], capture_output=True, text=True, cwd=ROOT)


def test_a_policy_is_simulated(tmp_path):
    done = elsewhere("sim.run", "--trace", TRACE, "--agent", "never", "--cache", "lru", "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert [row["policy"] for row in json.loads(done.stdout)["rows"]] == ["none", "pipeline", "never", "MIN"]


def test_a_sweep_is_simulated(tmp_path):
    done = elsewhere("sim.sweep", "--trace", TRACE, "--agents", "none never", "--caches", "lru", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 runs done; of all 2, 0 failed" in done.stderr


@pytest.mark.parametrize(
    "module", ["sim.tune", "sim.judge", "sim.report", "sim.calibrate", "traces.info", "agents.check"]
)
def test_other_commands_can_be_asked_for_help(module):
    done = elsewhere(module, "--help")
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout


@pytest.fixture
def foreign(tmp_path):
    """A folder with another package `agents`, as openai-agents is one."""
    (package := tmp_path / "agents").mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('the other one was imported')\n")
    return tmp_path


@pytest.mark.parametrize("module", ["sim.run", "sim.sweep", "replay.live"])
def test_another_package_of_the_name_agents_is_named_in_one_line(foreign, module):
    path = os.pathsep.join([str(foreign), str(ROOT)])
    command = [sys.executable, "-m", module, "--trace", str(TRACE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=foreign, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: Python's package `agents` is {foreign / 'agents' / '__init__.py'}")
    assert "openai-agents" in line


def test_a_folder_without_an_init_is_no_package_that_stands_in_the_way(foreign):
    (foreign / "agents" / "__init__.py").unlink()
    code = "import sim, replay, agents.policy"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=foreign, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("torch", "dgl"), [("2.1.0", "1.1.3"), ("2.3.0", "2.3.0"), ("2.4.1", "2.4.0"), ("2.13.0", "1.1.3")]
)
def test_the_torch_and_dgl_of_a_cluster_are_not_replaced(torch, dgl):
    """pip leaves what is installed where it fits: `pip install 'rudder-twin[live]'`."""
    every = [Requirement(line) for line in requires("rudder-twin")]
    live = {one.name: one.specifier for one in every if one.marker and one.marker.evaluate({"extra": "live"})}
    assert live["torch"].contains(torch)
    assert live["dgl"].contains(dgl)
