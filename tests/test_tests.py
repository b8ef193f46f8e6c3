"""Rules for tests: they stand at their module's path, or their package's, and read no clocks."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ACROSS = {
    "agents/llm/test_servers": "model servers as users report them, with every policy that asks one",
    "replay/test_winner": "the live runs of benchmarks.winner",
    "sim/caches/test_golden": "counts of all caches on a small stream",
    "sim/caches/test_libcachesim": "demand caches against libCacheSim",
    "sim/caches/test_twins": "all caches against naive twins",
    "sim/verifier/test_benchmark": "the command sim.benchmark, with the candidates of its neighbours",
    "sim/verifier/test_openevolve": "the example evaluator under OpenEvolve's own package",
    "sim/test_credit": "who is credited with what, in every command",
    "traces/job/test_record": "jobs recorded in every way",
    "test_face": "what all commands have in common",
    "test_processes": "how processes are started, in all packages",
    "test_rooms": "who imports whom, in all packages",
    "test_stranger": "the installed package, with code of one's own",
    "test_systems": "systems other than Linux",
    "test_tests": "this file",
    "test_trust": "code that files name, in all commands",
}
"""Tests of what no module does alone."""


def names():
    for path in (ROOT / "tests").rglob("test_*.py"):
        name = path.relative_to(ROOT / "tests").with_suffix("").as_posix()
        if name.partition("/")[0] not in ("docs", "notebooks") and name not in ACROSS:
            yield name


@pytest.mark.parametrize("name", list(names()))
def test_a_test_is_named_after_its_module_or_package(name):
    folder, _, stem = name.rpartition("test_")
    here = ROOT / folder
    package = stem.rstrip("s") == here.name.rstrip("s")  # `caches/test_caches` tests the whole package
    modules = {one.stem for one in here.glob("*.py")} | {one.parent.name for one in here.glob("*/__init__.py")}
    assert package or any(stem.startswith(module) for module in modules)


def test_what_stands_across_modules_is_there():
    assert all((ROOT / "tests" / f"{name}.py").is_file() for name in ACROSS)


CLOCK = re.compile(r"\b(perf_counter|process_time|thread_time|monotonic|time\.time|getrusage|cpu_times)\(")
"""Reads a clock. What waits for something to happen uses the fixture `wait_until`."""


def test_no_test_reads_a_clock():
    """The fault: a compilation and `--help` had to take less than so many seconds, and failed on a busy machine."""
    readers = [path.name for path in (ROOT / "tests").rglob("test_*.py") if CLOCK.search(path.read_text())]
    assert readers == []
