"""What a candidate's process can't do, each with what comes of it."""

import os

import numpy as np
import pytest

from sim.verifier.confinement import Limits
from sim.verifier.process import Pair, Refused, Templates
from sim.verifier.remote import RemotePolicy

HONEST = """
from agents.policy import Decision

class Mine:
    name = "mine"
    def reset(self, run, seed):
        pass
    def decide(self, observation):
        return Decision(replace=True)
"""

RAW = """
import ctypes
libc = ctypes.CDLL(None)
done = {
    "fork": libc.fork(), "socket": libc.socket(2, 1, 0), "open": libc.open(b"/etc/passwd", 0),
    "pipe": libc.pipe(b"........"),
    "kill": libc.kill(1, 0), "ptrace": libc.ptrace(0, 0, 0, 0), "unlink": libc.unlink(b"/nowhere"),
    "execv": libc.execv(b"/bin/true", None), "usleep": libc.usleep(1), "setrlimit": libc.setrlimit(7, b"." * 16),
    "prctl": libc.prctl(38, 1, 0, 0, 0), "signal": libc.sigaction(24, None, None),
}
raise SystemError(sorted(name for name, result in done.items() if result != -1))
"""


@pytest.fixture(scope="module")
def templates():
    return Templates()


def refusal(templates, source, limits=None):
    """Why a candidate is refused that is loaded, started and asked once."""
    pair = None
    try:
        pair = Pair(templates, HONEST + source, "candidate.py", "Mine", limits or Limits())
        policy = RemotePolicy("mine", pair)
        policy.reset(None, 0)
        policy.decide(None)
    except Refused as refused:
        return refused.reason, str(refused)
    finally:
        if pair is not None:
            pair.close()
    return None


def test_one_that_does_no_harm_is_not_refused(templates):
    assert (
        refusal(
            templates, "import math, random, numpy as np\nnp.random.default_rng(3).random(9)\nrandom.Random(3).random()"
        )
        is None
    )


@pytest.mark.parametrize(
    ("does", "reason", "said"),
    [
        ("import time\ntime.sleep(1000)", "raised", "PermissionError"),
        ("while True: pass", "time", "2 s of processor time"),
        ("bytearray(1 << 40)", "memory", "MemoryError"),
        ("kept = []\nwhile True: kept.append(bytearray(1 << 24))", "memory", "MemoryError"),
        ("import socket\nsocket.socket()", "raised", "PermissionError"),
        ("import sqlite3", "raised", "No module named 'sqlite3'"),
        ("import os\nos.fork()", "raised", "PermissionError"),
        ("import _thread\n_thread.start_new_thread(print, ())", "raised", "can't start new thread"),
        ("import os\nos.kill(1, 9)", "raised", "PermissionError"),
        ("import os\nos.listdir('/')", "raised", "PermissionError"),
        ("import os\nos.urandom(8)", "raised", "PermissionError"),
        ("raise SystemExit(0)", "raised", "SystemExit"),
        ("import os\nos._exit(0)", "ended", "exit code 0"),
        ("print('x' * 100_000)", "raised", "File too large"),
        ("import os\nos.write(3, b'\\x02\\x00\\x00\\x00\\x00{')", "contract", "answers load with {, which"),
        ("import os\nos.write(3, b'\\x51\\x00\\x00\\x00\\x00' + b'[' * 80)", "contract", "which is no answer"),
        ("import os\nos.write(3, b'\\xff' * 9)", "contract", "a reply of 4294967295 bytes is none"),
        ("import os\nos.write(3, b'\\x02\\x00\\x00\\x00\\x02x')", "contract", "a reply that begins with 2"),
        ("Mine.decide = lambda self, seen: Decision(replace=1)", "contract", "answers decide with [1, 1.0"),
        ("Mine.decide = lambda self, seen: Decision(replace=bool(id(object()) >> 12 & 1))\nMine.decide(0, 0)\n"
         "Mine.decide = lambda self, seen: Decision(replace=True, share=(1 + hash('x') % 9999) / 10000)",
         "differs", "answers differently"),
        ("Mine.decide = lambda self, seen: 1 / 0", "raised", "ZeroDivisionError: division by zero (line 10)"),
        ("Mine.decide = lambda self, seen: 'replace'", "raised", "AttributeError"),
        ("del Mine.reset", "raised", "is no policy"),
        ("def broken(:", "raised", "SyntaxError: invalid syntax (line 10)"),
    ],
)  # fmt: skip
def test_what_it_must_not_do_has_a_clear_outcome(templates, does, reason, said):
    found = refusal(templates, does, Limits(cpu_s=2))
    assert found is not None
    assert found[0] == reason, found
    assert said in found[1]


def test_one_that_waits_for_ever(templates):
    waits = "import _thread\nlock = _thread.allocate_lock()\nlock.acquire()\nlock.acquire()"
    assert refusal(templates, waits, Limits(wait_s=2.0)) == ("time", "its answers took longer than 2 s")


def test_the_kernel_holds_it_to_that_whatever_python_says(templates):
    assert refusal(templates, RAW) == ("raised", "SystemError: [] (line 20)")


def test_it_neither_reads_nor_writes_files(templates, tmp_path):
    (tmp_path / "hidden.parquet").write_text("secret")
    read = refusal(templates, f"open({str(tmp_path / 'hidden.parquet')!r})")
    assert read is not None
    assert "PermissionError" in read[1]
    assert refusal(templates, f"open({str(tmp_path / 'mine.txt')!r}, 'w')") is not None
    assert os.listdir(tmp_path) == ["hidden.parquet"]


def test_it_inherits_nothing_of_its_parent(templates, tmp_path):
    secret = (tmp_path / "secret").open("w+")
    os.set_inheritable(secret.fileno(), True)
    os.environ["RUDDER_SECRET"] = "1"
    try:
        said = refusal(
            templates,
            "import os\nfound = []\nfor fd in range(4, 99):\n    try: os.read(fd, 1); found.append(fd)\n"
            "    except OSError as error: found += [fd] * (error.errno != 9)\n"
            "raise SystemError(found, 'RUDDER_SECRET' in os.environ)",
        )
    finally:
        del os.environ["RUDDER_SECRET"]
    assert said is not None
    assert said[1].startswith("SystemError: ([], False)")


def test_what_it_prints_is_kept_and_its_answers_are_not_that(templates):
    pair = Pair(templates, HONEST + "print('combined_score: 99')", "candidate.py", "", Limits())
    try:
        pair.ask("reset", None, 0)
        assert pair.ask("decide", None) == b'[true, 1.0, "misses"]'
        assert pair.shown() == "combined_score: 99\n"
    finally:
        pair.close()
    assert all(one.pid is None for one in pair.processes)


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        ("x = 1", "", "there is none"),
        (HONEST + "class Other(Mine): pass\nclass Third(Mine): pass", "", "there is Mine, Other, Third"),
        (HONEST, "Theirs", "there is Mine"),
    ],
)
def test_a_file_in_which_it_is_not_clear_what_is_meant(templates, source, name, said):
    with pytest.raises(Refused, match=said):
        Pair(templates, source, "candidate.py", name, Limits())


def test_the_last_class_of_a_family_is_meant(templates):
    pair = Pair(templates, HONEST + "class Other(Mine): timed = False", "candidate.py", "", Limits())
    pair.close()
    assert (pair.name, pair.is_cache, pair.timed) == ("Other", False, False)
    assert np.isfinite(pair.processes[0].waited_s)
