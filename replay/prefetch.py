"""A policy in a user's own script: minibatches are prepared ahead with rows from a buffer; the loop stays as it is.

    loader = prefetch(loader, graph, policy="best.json", trace="t.parquet")

The loader still returns DGL's minibatches, and `graph.ndata[...][input_nodes]` or
`graph.nodes[...].data[...][input_nodes]` returns rows that have already been fetched.
"""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from replay.launch import keep_results, trace_file
from replay.prefetcher import Prefetcher, Replay
from replay.results import read_recorded
from sim.config import RunConfig
from traces.errors import InputError
from traces.header import Header
from traces.job.merge import Provenance
from traces.job.observe import observe, observer
from traces.job.run import JobRecording


class ReplayRun(JobRecording):
    """A recorder whose results go into `folder`, with the policy's buffer between `loaders` and their script.

    Without `loaders`, it serves the loader that was captured, or one like it in every epoch, with the same buffer.
    """

    def __init__(
        self,
        replay: Replay,
        folder: Path,
        provenance: Provenance,
        part_config: Path | None = None,
        loaders: list[Any] | None = None,
    ) -> None:
        if folder.exists():
            raise InputError(f"{folder}: exists already; choose another folder for the results, or remove it")
        graph, cluster = replay.trace.header.graph, replay.trace.header.cluster
        known = {
            "scale_note": graph.scale_note if graph.kind == "synthetic" else None,
            "real": graph.kind == "real",
            "link_bytes_per_s": provenance.link_bytes_per_s or cluster.link_bytes_per_s,
            "policy": replay.plan.name,
            "depth": replay.depth,
            "nodes_of": str(replay.trace.path.resolve()),
        }
        super().__init__(trace_file(folder), provenance.model_copy(update=known), part_config)
        self.replay, self.folder, self.loaders = replay, folder, loaders
        self._prefetcher: Prefetcher | None = None

    def make_source(self, loader: Any) -> Prefetcher | None:
        """Prepare the loader's minibatches, if it is one of those."""
        loaders = self.loaders
        if not (self.replay.is_captured(loader) if loaders is None else any(one is loader for one in loaders)):
            return None
        if self._prefetcher is None:
            self._prefetcher = Prefetcher(self.replay, loader, self)
        self._prefetcher.loader = loader
        return self._prefetcher

    def keep(self, fragments: Path, header: Header) -> None:
        """Write the folder of results. Raises `InputError` where no loader was the captured one."""
        recorded = read_recorded(fragments, header)
        keep_results(self.replay.config, self.replay.plan, self.replay.check, self.folder, recorded)

    def finish(self) -> None:
        """As `JobRecording`. Raises `InputError` where the policy was never at work."""
        if self._prefetcher is not None:
            self._prefetcher.close()
        elif self.recorder is not None:
            observe(None)
            header = self.replay.trace.header
            captured = f"batches of {header.training.batch_size}, {header.minibatches_per_epoch} of them, shuffled"
            raise InputError(f"no loader of the script is like the captured one ({captured}): nothing was replayed")
        super().finish()


def prefetch(
    loader: Any,
    graph: Any,
    *,
    policy: str | Path | RunConfig,
    trace: str | Path,
    out: str | Path | None = None,
    epochs: int | None = None,
    part_config: str | Path | None = None,
    check: bool = False,
    trust: bool = False,
) -> Any:
    """Prepare the loader's minibatches ahead from now on, with rows from a policy's buffer. Returns the loader.

    `policy` is a configuration as `sim.tune` and `sim.run` write it, `trace` the captured run of this script on these
    partitions. Every trainer calls this, after torch's process group. The run records itself: when the process group is
    destroyed or the script ends, rank 0 writes the folder `out` (by default results/live-DATE-TIME), which
    `replay.compare` judges. `epochs` is how many the script trains, where that isn't as many as were captured. `check`
    holds every row against its owner's; `trust` lets it run code of your own that the file `policy` names. Raises
    `InputError` for what can't be replayed.
    """
    import atexit

    before = observer()
    if isinstance(before, ReplayRun) and before.loaders is not None:  # a script that makes a new loader every epoch
        before.loaders.append(loader)
        return loader
    folder = Path(out) if out is not None else Path("results") / f"live-{datetime.now():%Y%m%d-%H%M%S}"
    replay = Replay.read(policy, trace, epochs, check, trust=trust)
    config = None if part_config is None else Path(part_config)
    run = ReplayRun(replay, folder, Provenance(command=shlex.join(sys.argv)), config, [loader])
    run.opened(graph, None)
    observe(run)
    if torch.distributed.is_initialized():
        run.joined()
    atexit.register(run.finish)
    return loader
