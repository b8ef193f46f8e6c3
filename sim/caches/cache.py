"""The protocol of all caches. One file an algorithm sits beside this one; `python -m sim.run --list` shows them.

A cache holds feature rows of remote nodes in numbered slots. For each minibatch it gets the rows that a trainer needs,
and returns the hits and the rows that it inserts; it moves no features itself. The simulator counts them; the live
loader copies rows to and from the slots. Both run the same code.

All caches are batch-atomic: the rows of a minibatch arrive together, so a minibatch's look-up comes before all its
insertions, and the rows of one minibatch never evict each other.

Two families:

- *demand caches* (`managed = False`) take in what was missed, on their own rule; they ignore no decision silently:
  a run refuses to pair them with a policy that decides.
- *managed buffers* (`managed = True`) change only when a policy says "replace" (`agents.policy.Decision`), in bulk.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.policy import Decision
from sim.workload.stream import Stream, Universe
from traces.errors import InputError

Init = Literal["degree", "degree-global", "empty", "random"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setup:
    """The keyword argument of every cache's constructor, besides the options of its spec string.

    `init` says what a managed or demand cache holds at first: the rows of highest local degree (`degree`), those of
    highest degree in the whole graph (`degree-global`), nothing (`empty`), or random rows. The published code of
    MassiveGNN and Rudder fills its buffer by in-degree in the whole graph; a trace holds out-degrees, which in an
    undirected graph are the same. `future` is the stream to come, for bounds only (MIN, static-opt): None on a live
    cluster. `block_bytes` is the largest size of a minibatch's sampled blocks; None where it is not known.
    """

    capacity_rows: int
    universe: Universe
    init: Init
    seed: tuple[int, ...]
    minibatches_per_epoch: int
    future: Stream | None
    block_bytes: int | None = None


class Access(NamedTuple):
    """What one minibatch did to a cache. The arrays are views that the next access overwrites.

    `hit_slots[i]` is the slot that holds `ids[i]`, or -1 for a miss. Row `inserted_ids[j]` goes into slot
    `inserted_slots[j]` once the hits have been copied out. `replacement_rows` counts the inserted rows that were not
    among the misses and must be fetched beside them.
    """

    hit_slots: NDArray[np.int32]
    hit_rows: int
    inserted_ids: NDArray[np.int32]
    inserted_slots: NDArray[np.int32]
    replacement_rows: int

    def beside(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """The inserted rows to be fetched beside the misses of minibatch `ids`, ascending: shape (replacement_rows,).

        That is all of them where there are as many (`score-public` fetches again what was missed), else those that the
        minibatch didn't ask for.
        """
        inserted = np.sort(self.inserted_ids)
        if self.replacement_rows == len(inserted):
            return inserted
        return np.setdiff1d(inserted, ids, assume_unique=True)


class Cache(ABC):
    """One trainer's cache. Subclasses take the options of their spec string, then `setup` as a keyword.

    Everything that changes is held in numpy arrays and numbers directly on the object, so that `fork` is cheap; tables
    that never change are made read-only with `constant`.
    """

    summary: ClassVar[str]
    """One line: what is kept."""
    source: ClassVar[str]
    """The paper or system that the algorithm is from."""
    managed: ClassVar[bool]
    live: ClassVar[bool] = True
    """Whether a live run can have it: it knows what such a run knows, and keeps to its capacity."""
    takes_init: ClassVar[bool] = True
    """Whether `Setup.init` says what it holds at first. Otherwise it chooses that itself."""
    foreseen: int = 0
    """Minibatches from the first of the run on that it was told of. Only caches that look ahead count them."""

    def __init__(self, setup: Setup) -> None:
        self.capacity_rows = setup.capacity_rows

    @abstractmethod
    def access(self, ids: NDArray[np.int32], decision: Decision | None = None) -> Access:
        """Serve one minibatch: look up `ids` (dense, ascending, distinct), then insert what the cache's rule says.

        `decision` is the policy's answer that applies from this minibatch on; None where there is none.
        """

    @property
    def looks_further(self) -> bool:
        """Whether it wants to know one more minibatch than it foresees, before it serves the next one."""
        return False

    def foresee(self, ids: NDArray[np.int32]) -> None:
        """Take note of what the next minibatch that was sampled will ask for: dense ids, ascending, distinct. Called
        only while `looks_further`. Minibatches are served in the order in which they were foreseen."""
        raise NotImplementedError

    def forget(self) -> None:  # noqa: B027
        """Drop what was foreseen and not served: a loader was broken off."""

    def look_ahead(self, stream: Stream) -> None:
        """Foresee what a run of `stream` has sampled by now."""
        while self.foreseen < stream.minibatches and self.looks_further:
            self.foresee(stream.minibatch(self.foreseen))

    @abstractmethod
    def contents(self) -> NDArray[np.int32]:
        """The dense id in every slot, -1 where it is empty: shape (capacity_rows,), a copy."""

    @property
    def occupied_rows(self) -> int:
        """Slots that hold a row."""
        return int(np.count_nonzero(self.contents() >= 0))

    @property
    def stale_rows(self) -> int:
        """Rows that a replacement could evict now; 0 for demand caches."""
        return 0

    @property
    def candidate_rows(self) -> int:
        """Nodes that a replacement could take in now; 0 for demand caches."""
        return 0

    def fork(self) -> Cache:
        """An independent copy of the whole state. Arrays that are read-only (`constant`) are shared, not copied."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                if value.flags.writeable:
                    setattr(twin, name, value.copy())
            elif isinstance(value, np.random.Generator):
                setattr(twin, name, copy.deepcopy(value))
        return twin


def constant(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view of `array`: a table that never changes, which forks share."""
    view = array.view()
    view.flags.writeable = False
    return view


def known_future(setup: Setup, name: str) -> Stream:
    """The stream to come, for the bound called `name`. Raises `InputError` where it is not known."""
    if setup.future is None:
        raise InputError(f"{name} must know the future: it is a bound for the simulator, not a cache for a live run")
    return setup.future


def degree_order(universe: Universe) -> NDArray[np.int32]:
    """All dense ids by local degree, then by degree, highest first; ties by id. Shape (universe.rows,), int32."""
    return universe.degree_order


def initial_ids(setup: Setup) -> NDArray[np.int32]:
    """The dense ids that a cache holds before the first minibatch, the best first: shape (rows,), int32.

    They are fetched before training starts, and count as fetched rows.
    """
    if setup.init == "empty":
        return np.empty(0, np.int32)
    if setup.init == "random":
        order = np.random.default_rng(setup.seed).permutation(setup.universe.rows).astype(np.int32)
    elif setup.init == "degree-global":
        order = setup.universe.global_degree_order
    else:
        order = degree_order(setup.universe)
    return order[: setup.capacity_rows]
