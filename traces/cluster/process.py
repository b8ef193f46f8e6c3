"""The program of each server and trainer; everything comes from the environment variables of `Job.environment`."""

from __future__ import annotations

import atexit
import faulthandler
import importlib
import json
import os
import random
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traces.errors import InputError
from traces.user_code import load_file


@dataclass(frozen=True)
class Connection:
    """A trainer's place in the cluster.

    With several trainers a machine, DGL numbers those of one machine in no fixed order. Pass `rank` to
    `dgl.distributed.node_split`, so that the same seed means the same split.
    """

    graph: Any
    """The `dgl.distributed.DistGraph`, node data feat, label, train_mask, val_mask and test_mask."""
    rank: int
    world_size: int
    machine: int
    """This machine, which is also the number of its partition."""


def connect() -> Connection:
    """Join the cluster: DGL's servers, gloo, and the distributed graph. Call it once, in a trainer's entry."""
    import dgl
    import torch.distributed

    dgl.distributed.initialize(os.environ["DGL_IP_CONFIG"])
    torch.distributed.init_process_group("gloo")
    graph_name = json.loads(Path(os.environ["DGL_CONF_PATH"]).read_text())["graph_name"]
    return Connection(
        graph=dgl.distributed.DistGraph(graph_name),
        rank=torch.distributed.get_rank(),
        world_size=torch.distributed.get_world_size(),
        machine=int(os.environ["RUDDER_MACHINE"]),
    )


def split_entry(entry: str) -> tuple[str, str]:
    """Module or file, and function. Raises `InputError` for another form, and for a file that isn't there."""
    source, _, name = entry.rpartition(":")
    if not source or not name:
        raise InputError(f"entry {entry!r}: write module:function or path/to/file.py:function")
    if source.endswith(".py") and not Path(source).is_file():
        raise InputError(f"entry {entry!r}: there is no file {source}")
    return source, name


def load_entry(entry: str) -> Callable[[dict[str, Any]], Any]:
    """The function that `module:function` or `path/to/file.py:function` names.

    The folder of a file comes first on `sys.path`, as if the file were run as a script. Raises `InputError` as
    `split_entry` does, and for a name that isn't in the module.
    """
    source, name = split_entry(entry)
    if source.endswith(".py"):
        path = Path(source).resolve()
        sys.path.insert(0, str(path.parent))
        module = load_file(path)
    else:
        module = importlib.import_module(source)
    if not callable(function := getattr(module, name, None)):
        raise InputError(f"entry {entry!r}: {source} has no function {name}")
    return function


def main() -> int:
    """Run the process that the environment describes; returns the exit code.

    A server loads the entry's module (which may register services) and serves until the trainers are done. If the entry
    function has an attribute `serves`, a server calls it instead, and the function serves. A trainer calls the entry
    function with the arguments, writes its return value as JSON, and only then disconnects from the servers. A job
    whose trainers all wrote a value has succeeded, even if DGL hangs at its exit.
    """
    faulthandler.enable()
    try:
        is_server = os.environ["DGL_ROLE"] == "server"
        _seed(int(os.environ["RUDDER_SEED"]), is_server)
        function = load_entry(os.environ["RUDDER_ENTRY"])
        if is_server and not getattr(function, "serves", False):
            import dgl

            dgl.distributed.initialize(os.environ["DGL_IP_CONFIG"])  # serves, then ends in SystemExit
        _leave_value(function(json.loads(os.environ["RUDDER_ARGUMENTS"])))
        atexit._run_exitfuncs()
    except SystemExit as exit:
        if exit.code is None or isinstance(exit.code, int):
            return exit.code or 0
        print(exit.code, file=sys.stderr)
        return 1
    except BaseException:
        # Skips the exit functions: DGL's waits for all trainers, which wait for this one.
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _seed(seed: int, is_server: bool) -> None:
    """Seed all generators, differently in each process: servers draw samples too."""
    import dgl
    import numpy as np
    import torch

    number = int(os.environ["DGL_SERVER_ID" if is_server else "RANK"])
    own_seed = int(np.random.SeedSequence([seed, is_server, number]).generate_state(1)[0]) >> 1
    random.seed(own_seed)
    np.random.seed(own_seed)  # noqa: NPY002  the legacy generator is the one that libraries draw from
    torch.manual_seed(own_seed)
    dgl.seed(own_seed)


def _leave_value(value: Any) -> None:
    path = Path(os.environ["RUDDER_VALUE_PATH"])
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(value))
    unfinished.replace(path)


if __name__ == "__main__":
    os._exit(main())
