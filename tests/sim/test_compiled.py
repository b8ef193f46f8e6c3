"""What compiling costs: once after an install, and never again. And where it can't be kept, or isn't wanted."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock
from numba import njit

from sim import compiled

HERE = Path(__file__).parent / "caches"
USE = """
from numba.core import event
from sim.caches.registry import make_cache
from streams import REPLACE, setup, skewed
trace = skewed(4, 20, 100)
with event.install_recorder("numba:compile") as compiled:
    for name in {names}:
        cache = make_cache(name, setup(10, trace))
        for m in range(4):
            cache.access(trace.minibatch(m), REPLACE)
print(len(compiled.buffer))
"""


ASKS = """
from filelock import BaseFileLock
acquire = BaseFileLock.acquire

def say_and_acquire(lock, *arguments, **options):
    print("asks", flush=True)
    return acquire(lock, *arguments, **options)

BaseFileLock.acquire = say_and_acquire
"""


def use(names, folder, before=""):
    """A new process that uses some caches, and keeps their kernels in `folder`; `before` is done first."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", before + USE.format(names=names)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def compilations(names, folder):
    """How often numba began or ended to compile something in such a process."""
    process = use(names, folder)
    printed, _ = process.communicate()
    assert process.returncode == 0
    return int(printed)


def test_kernels_compile_once_and_then_come_from_disk(tmp_path):
    assert compilations(["score", "min"], tmp_path) > 0
    assert compilations(["score", "min"], tmp_path) == 0


def test_processes_take_turns_at_the_kernels_on_disk(tmp_path):
    """Without turns, one that compiled at the same time as another sometimes found the other's kernel as its own."""
    compilations(["min"], tmp_path)
    [lock] = tmp_path.rglob("lock")
    with FileLock(lock):
        waiting = use(["min"], tmp_path, before=ASKS)
        assert waiting.stdout.readline() == "asks\n"
        for kernel in tmp_path.rglob("*.nb?"):
            kernel.unlink()  # a process that did not wait would have loaded it
    *_, count = waiting.communicate()[0].splitlines()
    assert waiting.returncode == 0
    assert int(count) > 0


SIMULATE = """
import json, sys
from sim import Twin
from sim.caches.registry import CACHES, may_ask_policy
twin, found = Twin.open(sys.argv[1]), {}
for cache in sorted(set(CACHES) - {"vip", "vip-demand"}):  # they need a column that small traces lack
    policy = "every:2" if may_ask_policy(cache) else "never"
    run = twin.simulate(policy, cache=cache, buffer="20%", cluster=sys.argv[2], scenario=sys.argv[3])
    found[cache] = run.summary
print(json.dumps(found, default=str))
"""
"""A small run of every cache, on a cluster and in a scenario in which much happens."""


@pytest.fixture
def small(write_trace, minibatch, tmp_path):
    """Arguments of `SIMULATE`: three hosts, six minibatches in two epochs."""
    rng = np.random.default_rng(0)
    times = {"sample_s": 0.004, "local_gather_s": 0.001, "forward_s": 0.004, "allreduce_s": 0.002}

    def rows(host):
        others = np.delete(np.arange(90), np.s_[host * 30 : host * 30 + 30])
        return np.sort(rng.choice(others, 20, replace=False)).tolist()

    ranks = [[[minibatch(rows(host), times) for _ in range(3)] for _ in range(2)] for host in range(3)]
    trace = write_trace(ranks, nodes_per_partition=30)
    (cluster := tmp_path / "cluster.toml").write_text('shared_cores = 2\n[link]\nrate = "1mbit"\nlatency_s = 1e-3\n')
    (scenario := tmp_path / "scenario.toml").write_text("[[congestion]]\nfactor = 0.3\nstart_s = 0.02\nend_s = 0.1\n")
    return [str(trace), str(cluster), str(scenario)]


def simulated(arguments, **environment):
    command = [sys.executable, "-c", SIMULATE, *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_plain_python_gives_what_compiled_code_gives(small):
    plain, _ = simulated(small, NUMBA_DISABLE_JIT="1")
    assert plain == simulated(small)[0]
    assert len({found["fetched_rows"] for found in plain.values()}) > 5


def test_where_nothing_can_be_kept_kernels_are_compiled_and_it_is_said_in_one_line(tmp_path):
    """An install and a home that nobody can write to, not even root: files stand where folders would have to be."""
    for package in ("sim", "agents", "traces"):
        only_sources = shutil.ignore_patterns("__pycache__", "*.parquet")
        shutil.copytree(Path(compiled.__file__).parents[1] / package, tmp_path / package, ignore=only_sources)
    for folder in [tmp_path / "sim", *(path.parent for path in (tmp_path / "sim").rglob("__init__.py"))]:
        (folder / "__pycache__").touch()
    (home := tmp_path / "home").touch()
    environment = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    environment |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(HERE)]), "HOME": str(home)}
    command = [sys.executable, "-c", USE.format(names=["fifo"])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [told] = done.stderr.splitlines()
    assert told.startswith(f"warning: kernels are compiled anew in every run, as neither {tmp_path / 'sim'} nor a home")
    assert "set NUMBA_CACHE_DIR" in told


def test_without_locks_of_posix_kernels_are_compiled_and_kept(tmp_path):
    code = "import sys; sys.modules['fcntl'] = None" + USE.format(names=["fifo"])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(HERE)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*.nbi"))


@pytest.mark.parametrize("missing", ["_cache", "_cache_file", "_source_stamp", "_load_index"])
def test_another_numba_is_an_error_that_names_what_it_lacks(missing):
    """All that is numba's own and not documented is there in the installed version, and missed where it is not."""
    thing = njit(cache=True)(test_another_numba_is_an_error_that_names_what_it_lacks)
    for name in ("_cache", "_cache_file", missing):
        if name == missing:
            break
        thing = getattr(thing, name)
    assert hasattr(thing, missing)
    lacks = SimpleNamespace()
    with pytest.raises(ImportError, match=rf"^numba .* is none that sim\.compiled knows: SimpleNamespace\.{missing}"):
        compiled._of_numba(lacks, missing)
