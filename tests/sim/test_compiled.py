"""What compiling costs: once after an install, and never again."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "caches"
USE = """
import time
begin = time.process_time()
import numpy as np
from streams import REPLACE, setup, skewed
from sim.caches.registry import make_cache
trace = skewed(4, 20, 100)
for name in {names}:
    cache = make_cache(name, setup(10, trace))
    for m in range(4):
        cache.access(trace.minibatch(m), REPLACE)
print(time.process_time() - begin)
"""


def seconds(names, folder):
    """Processor time to import and use some caches in a new process, which keeps its kernels in `folder`."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", USE.format(names=names)]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def test_kernels_of_a_run_compile_once_in_ten_seconds_and_then_load_in_less_than_one(tmp_path):
    first, numba = seconds(["score", "min"], tmp_path), seconds([], tmp_path)
    assert first < 10
    assert seconds(["score", "min"], tmp_path) - numba < 1
    assert first - numba > 1  # it did compile


def test_processes_take_turns_at_the_kernels_on_disk(tmp_path):
    """Without turns, one that compiled at the same time as another sometimes found the other's kernel as its own."""
    seconds(["min"], tmp_path)
    [lock] = tmp_path.rglob("lock")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(HERE)}
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = subprocess.Popen([sys.executable, "-c", USE.format(names=["min"])], env=environment)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(4)
    assert waiting.wait(60) == 0
