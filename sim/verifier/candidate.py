"""What is scored: a candidate's file, which is read and never run here, or a policy and a cache of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.registry import PolicyPlan
from sim.counts.cache_replay import FetchCounts, replay_cache
from sim.counts.policy_runs import setup_of_trainer
from sim.runs.run import Run
from sim.runs.twin import Twin
from sim.verifier.cells import Cell
from sim.verifier.confinement import Limits
from sim.verifier.process import Pair, Templates
from sim.verifier.remote import RemoteCache, RemotePolicy
from traces.checksum import sha256_of
from traces.errors import InputError

STAND_IN = "static"
"""The cache that stands in the configuration of a candidate's: like it, it asks no policy, and it is never made."""


@dataclass(frozen=True, slots=True)
class Ours:
    """A cache of ours, and the policy of ours that decides for it: `never` for a cache that asks none."""

    cache: str
    agent: str = "never"

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.cache if self.agent == "never" else f"{self.agent} over {self.cache}"

    def run(self, twin: Twin, cell: Cell) -> Run:
        """One run."""
        return twin.simulate(self.agent, ahead=True, cache=self.cache, **cell.options)


class Candidate:
    """A class in a file that nobody needs to trust: `FILE.py`, or `FILE.py:CLASS` where there are several.

    A policy decides over a buffer of ours, `over`. `sha256` is the file's checksum, `printed` what the candidate
    printed last.
    """

    def __init__(
        self,
        path: Path | str,
        over: str = "score",
        limits: Limits | None = None,
        templates: Templates | None = None,
    ) -> None:
        """`templates` are kept by whoever runs many. Raises `InputError` for a file that can't be read."""
        file, _, self.name = str(path).partition(".py:")
        self.path = Path(file + ".py" if self.name else file)
        if not self.path.is_file():
            raise InputError(f"{path}: there is no file {self.path}; name a candidate as FILE.py or FILE.py:CLASS")
        try:
            self.source = self.path.read_text()
        except UnicodeDecodeError:
            raise InputError(f"{path}: is no text in UTF-8, and so no Python") from None
        self.sha256, self.over, self.limits = sha256_of(self.path), over, limits or Limits()
        self.printed, self._templates = "", templates
        self._counts: dict[tuple[str, int, str], list[FetchCounts]] = {}

    @property
    def label(self) -> str:
        """Its name in tables."""
        return f"{self.path.name}:{self.name}" if self.name else self.path.name

    def run(self, twin: Twin, cell: Cell) -> Run:
        """One run. Raises `sim.verifier.process.Refused` for a candidate that does what it must not, or fails, and
        `InputError` where this system can't confine it."""
        counted = (twin.sha256, twin.header.epochs, cell.buffer)
        pairs: list[Pair] = []
        try:
            if counted not in self._counts:
                pairs.append(self._start())
                if not pairs[0].is_cache:
                    return twin.simulate(self._plan(pairs), ahead=True, cache=self.over, **cell.options)
                self._counts[counted] = self._count(twin, cell, pairs)
        finally:
            for pair in pairs:
                self.printed = pair.shown() or self.printed
                pair.close()
        config = twin.config("never", cache=STAND_IN, **cell.options)
        return twin.simulate(config, fetch_counts=self._counts[counted])

    def _start(self) -> Pair:
        self._templates = self._templates or Templates()
        return Pair(self._templates, self.source, self.label, self.name, self.limits)

    def _plan(self, pairs: list[Pair]) -> PolicyPlan:
        """The plan of a policy, which starts a pair for every trainer; the first is there already."""
        first = iter(pairs[:1])

        def policy() -> RemotePolicy:
            if (pair := next(first, None)) is None:
                pairs.append(pair := self._start())
            return RemotePolicy(pair.name, pair)

        return PolicyPlan(
            name=f"object:{pairs[0].name}",
            pipelined=True,
            buffered=True,
            calls_model=False,
            timed=pairs[0].timed,
            model=None,
            sha256=self.sha256,
            factory=policy,
        )

    def _count(self, twin: Twin, cell: Cell, pairs: list[Pair]) -> list[FetchCounts]:
        """What every trainer fetches under a cache; scenarios don't change it. The first pair is there already."""
        config = twin.config("never", cache=STAND_IN, **cell.options)
        counts: list[FetchCounts] = []
        for one in twin.inputs[cell.universe]:
            if counts:
                pairs.append(self._start())
            setup = setup_of_trainer(twin.header, one.rank, one.stream.universe, config, None)
            counts.append(replay_cache(one, RemoteCache(pairs[-1], setup=setup)))
        return counts


Subject = Ours | Candidate
"""What can be run in a cell."""
