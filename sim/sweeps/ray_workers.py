"""Workers on a Ray cluster. Each node's object store holds a trace once, for all of its workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agents.user_code import enter_folder
from sim.sweeps.batches import Batch, Twins, run_batch
from traces.errors import InputError

RETRIES = 3
"""How often a batch is retried when its worker died."""


class Runner:
    """A Ray actor, which keeps the traces and the work that its batches share.

    It finds users' code, which `specs` name, in the `folder` of the command (`agents.user_code.enter_folder`).
    """

    def __init__(self, twins: Twins, folder: Path, specs: Sequence[str]) -> None:
        self._twins, self._problem = twins, ""
        try:
            enter_folder(folder, specs)
        except InputError as error:
            self._problem = str(error)

    def problem(self) -> str:
        """Why users' code can't be found, or ""."""
        return self._problem

    def run(self, batch: Batch) -> list[dict[str, Any]]:
        """The rows of a batch."""
        return list(run_batch(batch, self._twins))


def run_on_ray(batches: Sequence[Batch], twins: Twins, address: str) -> Iterator[list[dict[str, Any]]]:
    """Run all batches on the cluster at `address` (`auto`, `ray://HOST:PORT`, or `local` to start one here).

    Yields rows as batches are finished, in no certain order. There is a worker for every core of the cluster; where one
    dies, Ray starts another and gives it the batch again. Nodes need this package installed, but no trace; a policy or
    cache in a user's file needs the folder of the command on every node. Raises `InputError` where Ray is not installed
    or does not answer, and where a node lacks that folder; a batch whose worker died every time has failed.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise InputError("--ray needs Ray: pip install 'rudder-twin[ray]'") from None
    from sim.sweeps.pool import failure

    try:
        ray.init(
            address=address,  # without "local", Ray would join the cluster that RAY_ADDRESS names
            log_to_driver=False,
            ignore_reinit_error=True,
            include_dashboard=False if address == "local" else None,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"--ray {address}: no Ray cluster answers ({str(error).splitlines()[0]})") from None
    stored = ray.put(dict(twins))
    actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=RETRIES)(Runner)
    cores = int(ray.cluster_resources().get("CPU", 1))
    specs = sorted({spec for batch in batches for config in batch for spec in config.user_code})
    idle = [actor.remote(stored, Path.cwd(), specs) for _ in range(min(cores, len(batches)))]
    if specs and (problems := [one for one in ray.get([runner.problem.remote() for runner in idle]) if one]):
        ray.shutdown()
        raise InputError(f"--ray {address}: {problems[0]}")
    waiting = list(reversed(batches))
    running: dict[Any, tuple[Any, Batch]] = {}
    while waiting or running:
        while waiting and idle:
            batch, runner = waiting.pop(), idle.pop()
            running[runner.run.remote(batch)] = runner, batch
        for result in ray.wait(list(running))[0]:
            runner, batch = running.pop(result)
            idle.append(runner)
            try:
                yield ray.get(result)
            except ray.exceptions.RayError as error:
                yield [failure(config, f"its Ray worker failed: {str(error).splitlines()[0]}") for config in batch]
    ray.shutdown()
