"""DGL's remote calls one at a time, whoever makes them."""

import subprocess
import sys

CHECK = """
import threading, time
import dgl
from dgl.distributed import DistGraph, graph_services, kvstore, sample_neighbors
from traces.job import lock

busy, overlaps = [], []

def slow(*args, **kwargs):
    overlaps.append(len(busy))
    busy.append(1)
    time.sleep(0.05)
    busy.pop()

kvstore.KVClient.pull = slow
graph_services.sample_neighbors = slow
slow.__module__ = graph_services.__name__
dgl.distributed.sample_neighbors = slow
lock.lock_rpc()
before = kvstore.KVClient.pull
lock.lock_rpc()
assert kvstore.KVClient.pull is before                       # once a process
assert dgl.distributed.sample_neighbors is graph_services.sample_neighbors is not slow  # wherever it was imported to
client = object.__new__(kvstore.KVClient)
calls = [lambda: client.pull("x", None), lambda: dgl.distributed.sample_neighbors(None, None, 1)] * 3
threads = [threading.Thread(target=call) for call in calls]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert overlaps == [0] * 6, overlaps
with lock.RPC:                                               # a call inside a call
    client.pull("x", None)
"""


def test_calls_of_several_threads_take_turns() -> None:
    """In a process of its own, as it changes DGL."""
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
