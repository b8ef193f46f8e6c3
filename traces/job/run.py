"""Recording one process of a job, from its first DGL object to the trace that rank 0 writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traces.capture.launch import fragments_of
from traces.errors import InputError
from traces.header import Header
from traces.job.facts import TrainerFacts
from traces.job.merge import Provenance, merge
from traces.job.observe import observe
from traces.job.partition_files import PartitionFiles
from traces.job.ranks import Ranks
from traces.job.source import Source


@dataclass(eq=False)
class JobRecording:
    """An observer that waits until the job has its graph and its process group, and then records.

    `out` is the trace to write, `part_config` DGL's configuration of the partition where the job itself doesn't name
    one, `watched` the loaders to record (empty: all of them). `finish` must be called in the end, on every rank.
    """

    out: Path
    provenance: Provenance
    part_config: Path | None = None
    watched: list[Any] = field(default_factory=list)
    ranks: Ranks | None = None
    recorder: Any = None
    _graph: Any = None
    _models: list[Any] = field(default_factory=list)

    def opened(self, graph: Any, part_config: str | None) -> None:
        """Keep the graph, and the path of its partition."""
        self._graph = graph
        named = part_config or os.environ.get("DGL_CONF_PATH")
        if self.part_config is None and named:
            self.part_config = Path(named)

    def joined(self) -> None:
        """Meet the other ranks, and find out whether they see the same folder."""
        self.ranks = Ranks.meet(fragments_of(self.out).resolve())

    def _start(self) -> Any:
        """Make the recorder, at the first minibatch."""
        from traces.job.recorder import JobRecorder

        if self._graph is None:
            raise InputError("a loader runs, but the job has made no DistGraph: there is nothing to record")
        if self.part_config is None:
            raise InputError("the partition's configuration isn't known: name it with --part-config")
        self.ranks = self.ranks or Ranks.alone(fragments_of(self.out).resolve())
        files = PartitionFiles.read(self.part_config)
        facts = TrainerFacts(rank=self.ranks.rank, partition=self._graph.get_partition_book().partid)
        fragments = self.ranks.fragments
        if self.ranks.rank == 0 or not self.ranks.shared:
            self.provenance.with_config(self.part_config).save(fragments)
        self.recorder = JobRecorder(files, facts, fragments, self.ranks.clock_offset_s, self.make_source)
        for model in self._models:
            self.recorder.wrapped(model)
        return self.recorder

    def make_source(self, loader: Any) -> Source | None:
        """No source: the loader's minibatches are not prepared ahead."""

    def keep(self, fragments: Path, header: Header) -> None:
        """Called on rank 0 once the trace is written, before the fragments go."""

    def next_minibatch(self, loader: Any, original: Callable[[], Any]) -> Any:
        """To the recorder, which is made if need be."""
        if self.watched and not any(one is loader for one in self.watched):
            if self.recorder is not None:
                self.recorder.end_minibatch()
            return original()
        return (self.recorder or self._start()).next_minibatch(loader, original)

    def iterate(self, loader: Any, original: Callable[[], Any]) -> Any:
        """To the recorder, which is made if need be."""
        if self.watched and not any(one is loader for one in self.watched):
            return original()
        return (self.recorder or self._start()).iterate(loader, original)

    def pull(self, client: Any, name: str, ids: Any, original: Callable[[], Any]) -> Any:
        """To the recorder."""
        return original() if self.recorder is None else self.recorder.pull(client, name, ids, original)

    def pushed(self, name: str) -> None:
        """To the recorder."""
        if self.recorder is not None:
            self.recorder.pushed(name)

    def wrapped(self, model: Any) -> None:
        """To the recorder, or kept for it."""
        if self.recorder is not None:
            self.recorder.wrapped(model)
        else:
            self._models.append(model)

    def forward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """To the recorder."""
        if self.recorder is None:
            return original(*args, **kwargs)
        return self.recorder.forward(original, *args, **kwargs)

    def update(self, original: Callable[[], Any] | None) -> Any:
        """To the recorder."""
        if self.recorder is not None:
            return self.recorder.update(original)
        return None if original is None else original()

    def leaving(self) -> None:
        """Training is over when the process group is destroyed."""
        self.finish()

    def finish(self) -> None:
        """Write the rest, gather everything at rank 0, and write the trace there. Every rank must call this; further
        calls do nothing. Raises `InputError` on rank 0 where nothing was recorded."""
        observe(None)
        if self.ranks is None and self.recorder is None:
            raise InputError(f"{self.out}: the job ran no loader of DGL's, so there is nothing to record")
        ranks, self.ranks = self.ranks, None
        if ranks is None:
            return
        if self.recorder is not None:
            self.recorder.end_minibatch()
            self.recorder.end_epoch()
            self.recorder.facts.finished = True
            self.recorder.facts.save(ranks.fragments)
        ranks.gather()
        if ranks.rank == 0:
            self.keep(ranks.fragments, merge(self.out, ranks.fragments, ranks.world_size))
        if ranks.rank == 0 or not ranks.shared:
            shutil.rmtree(ranks.fragments)
