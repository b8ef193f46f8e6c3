"""Coordination of a job's trainers: a common clock, and fragments gathered at rank 0."""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traces.errors import InputError


@dataclass(eq=False)
class Ranks:
    """A trainer's rank and folder. `fragments` is the folder that it writes to, `shared` whether all write to the same
    one. `clock_offset_s` is added to this trainer's `perf_counter` to get rank 0's."""

    rank: int
    world_size: int
    fragments: Path
    shared: bool
    clock_offset_s: float
    group: Any = None

    @classmethod
    def alone(cls, fragments: Path) -> Ranks:
        """The one trainer of a job without a process group."""
        _make(fragments)
        return cls(0, 1, fragments, True, 0.0)

    @classmethod
    def meet(cls, fragments: Path) -> Ranks:
        """Meet all other ranks of the new process group; every rank must call this. Raises `InputError` on all of them
        where a killed run left fragments."""
        import torch.distributed as dist

        from traces.capture.clock import offset_s

        # a gloo group of our own: the job's may be for GPUs, and is in use meanwhile
        rank, world_size, group = dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo")
        left = [fragments.exists()]
        gathered: list[Any] = [None] * world_size
        dist.all_gather_object(gathered, left[0], group=group)
        if any(gathered):
            raise InputError(f"{fragments}: left by a run that was killed; run again with --recover to keep it")
        token = [uuid.uuid4().hex, str(fragments)]
        dist.broadcast_object_list(token, src=0, group=group)
        fragments = Path(token[1])
        if rank == 0:
            _make(fragments)
            (fragments / token[0]).touch()
        dist.barrier(group=group)
        sees = (fragments / token[0]).exists()
        dist.all_gather_object(gathered, sees, group=group)
        shared = all(gathered)
        if not shared and rank:
            fragments = fragments.with_name(f"{fragments.name}.rank{rank}")
            _make(fragments)
        return cls(rank, world_size, fragments, shared, offset_s(rank, world_size, group), group)

    def share(self, value: Any) -> list[Any]:
        """All ranks' values, by rank. Every rank must call this."""
        import torch.distributed as dist

        if self.group is None:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def gather(self) -> None:
        """Wait until all are done, and copy all files to rank 0's folder."""
        import torch.distributed as dist

        if self.group is None:
            return
        mine = {} if self.shared or self.rank == 0 else {one.name: one.read_bytes() for one in self.fragments.iterdir()}
        everyone: list[dict[str, bytes]] | None = [{}] * self.world_size if self.rank == 0 else None
        try:
            dist.gather_object(mine, everyone, group=self.group)
        except RuntimeError as error:
            print(f"a trainer has gone before the trace was written: {error}", file=sys.stderr)
        for files in everyone or ():
            for name, content in files.items():
                (self.fragments / name).write_bytes(content)


def _make(fragments: Path) -> None:
    try:
        fragments.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise InputError(f"{fragments}: left by a run that was killed; run again with --recover to keep it") from None
    except OSError as error:
        raise InputError(f"{fragments}: can't be made ({error.strerror})") from None
