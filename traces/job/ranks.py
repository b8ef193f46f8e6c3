"""The trainers of a job among themselves: one clock, one folder or several, and rank 0 gets what all recorded."""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traces.errors import InputError


@dataclass(eq=False)
class Ranks:
    """A trainer's place among all. `fragments` is the folder that it writes to, `shared` whether all write to the same
    one. `clock_offset_s` makes rank 0's `perf_counter` of this trainer's."""

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
        """The process group that has just been made. Every rank must call it. Raises `InputError` on all of them for
        leftovers of a run that was killed."""
        import torch.distributed as dist

        from traces.capture.clock import offset_s

        # gloo, as the job's own group may be one of GPUs; and a group of our own, as the job uses its own meanwhile
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
        """Everybody's value, by rank. Every rank must call this."""
        import torch.distributed as dist

        if self.group is None:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def gather(self) -> None:
        """Wait until all are done, and see to it that rank 0's folder has everybody's files."""
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
