"""Traces of a sweep that are sampled offline: one a combination of machines, trainers, batch size and fanout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from traces.capture.options import parse_fanout
from traces.cores import usable_cores
from traces.errors import InputError
from traces.output import writing
from traces.sampling.folder import Partitioned
from traces.sampling.sources import from_graph, from_part_config
from traces.sampling.write import Settings, sample

FOLDER = "sampled"
"""In a sweep's folder: its sampled traces."""

VERSION = 1
"""To be raised when the sampler draws otherwise, so that traces of before are not taken for today's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samplings:
    """All combinations of lists, over a graph of `traces.graphs` or a partition that DGL's tools made."""

    graph: Path | None
    part_config: Path | None
    parts: Sequence[int]
    trainers: Sequence[int]
    batches: Sequence[int]
    fanouts: Sequence[str]
    epochs: int
    seed: int

    def __iter__(self) -> Iterator[tuple[int | None, Settings]]:
        """Machines and settings of every one; those of a partition that is given have no number of machines."""
        parts: Sequence[int | None] = self.parts or (None,)
        for machines, trainers, batch, fanout in product(parts, self.trainers, self.batches, self.fanouts):
            settings = Settings(
                fanout=parse_fanout(fanout), batch_size=batch, trainers_per_host=trainers, epochs=self.epochs,
                seed=self.seed,
            )  # fmt: skip
            yield machines, settings

    def __len__(self) -> int:
        return max(len(self.parts), 1) * len(self.trainers) * len(self.batches) * len(self.fanouts)


def samplings(
    graph: Path | None, part_config: Path | None, lists: dict[str, Sequence[str | int]], epochs: int, seed: int
) -> Samplings:
    """What the lists of a sweep mean. Raises `InputError` for values that can't be, and for options that contradict
    each other."""
    if graph is not None and part_config is not None:
        raise InputError("give either --graph or --part-config")
    if part_config is not None and lists.get("parts"):
        raise InputError("--parts and --part-config: the partition says that; leave it out")
    if graph is not None and not lists.get("parts"):
        raise InputError("--graph needs --parts: the numbers of machines")
    numbers = {name: [_number(name, text) for text in lists.get(name, ())] for name in ("parts", "trainers", "batches")}
    return Samplings(
        graph=graph,
        part_config=part_config,
        parts=numbers["parts"],
        trainers=numbers["trainers"] or (1,),
        batches=numbers["batches"] or (500,),
        fanouts=[str(one) for one in lists.get("fanouts", ())] or ("10,25",),
        epochs=epochs,
        seed=seed,
    )


def _number(name: str, text: str | int) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--{name} {text}: must be whole numbers") from None


def sampled_traces(wanted: Samplings, folder: Path, on_progress: Callable[[int], None] = lambda _: None) -> list[Path]:
    """The traces of all combinations, in `folder`; what it has is not sampled again. `on_progress` hears how many are
    there. A trace's name says its settings, and the checksum of these and of the parted graph.

    Raises `InputError` for what can't be sampled, and a folder that can't be written.
    """
    paths, parted = [], dict[int | None, Partitioned]()
    for done, (machines, settings) in enumerate(wanted, 1):
        if machines not in parted:
            parted = {machines: _parted(wanted, machines)}  # one at a time; machines vary slowest
        path = folder / _name(parted[machines], settings)
        if not path.exists():
            with writing(path):
                sample(parted[machines], settings, path, usable_cores())
        paths.append(path)
        on_progress(done)
    return paths


def _parted(wanted: Samplings, machines: int | None) -> Partitioned:
    if wanted.part_config is not None:
        return from_part_config(wanted.part_config, None, "unstated", "")
    assert wanted.graph is not None
    assert machines is not None
    return from_graph(wanted.graph, machines, None, None)


def _name(parted: Partitioned, settings: Settings) -> str:
    """A file name that no other settings and no other graph have."""
    about = [VERSION, parted.info.model_dump(), parted.partition.model_dump(), parted.graph.checksum]
    key = hashlib.sha256(json.dumps([*about, repr(settings)]).encode()).hexdigest()[:12]
    fanout = "_".join(map(str, settings.fanout))
    size = f"{parted.partition.parts}x{settings.trainers_per_host}"
    return f"{parted.info.name}-{size}-batch{settings.batch_size}-fanout{fanout}-{key}.parquet"
