"""What was ever run in the benchmark: a file a subject, in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sim.runs.twin import Twin
from sim.verifier.candidate import Ours, Subject
from sim.verifier.cells import cells
from sim.verifier.evaluate import Measured, measure
from sim.verifier.process import Refused
from traces.checksum import sha256_of
from traces.errors import InputError
from traces.output import atomic_write


@dataclass(frozen=True, slots=True)
class Record:
    """What a subject came to. `sha256` is the checksum of a candidate's file, "" for what is ours; `traces` are
    checksums by name. A refused candidate has a reason, and no cells."""

    label: str
    sha256: str
    traces: dict[str, str]
    cells: tuple[Measured, ...]
    refused: str = ""


RECORD = TypeAdapter(Record)
OPEN: dict[Path, Twin] = {}
"""The traces that a worker process has in memory."""


class Records:
    """The records in a folder that are of the same traces; others stay where they are."""

    def __init__(self, folder: Path, traces: Sequence[Path]) -> None:
        self.folder, self.paths = folder, tuple(traces)
        self.traces = {path.stem: sha256_of(path) for path in traces}

    def place(self, subject: Subject) -> Path:
        """The file of a subject. Its name is a checksum of the traces and of what the subject is: for a candidate, the
        checksum of its source, its class, and the buffer that it decides for."""
        what = subject.label if isinstance(subject, Ours) else [subject.sha256, subject.name, subject.over]
        return self.folder / f"{hashlib.sha256(json.dumps([what, self.traces]).encode()).hexdigest()[:16]}.json"

    def read(self) -> list[Record]:
        """All records of these traces. Raises `InputError` for a file that is none."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                record = RECORD.validate_json(path.read_bytes())
            except ValidationError as error:
                raise InputError(
                    f"{path}: is no record of the benchmark ({error.errors()[0]['msg']}); remove it"
                ) from None
            if record.traces == self.traces:
                found.append(record)
        return found

    def run(self, subjects: Iterable[Subject], workers: int) -> Iterator[Record]:
        """Run what has no record yet, and write it down; yields records as they come."""
        missing = [subject for subject in subjects if not self.place(subject).is_file()]
        if not missing:
            return
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for subject, record in zip(
                missing, pool.map(partial(record_of, paths=self.paths, traces=self.traces), missing), strict=True
            ):
                with atomic_write(self.place(subject)) as partial_file:
                    partial_file.write_text(json.dumps(asdict(record), indent=1) + "\n")
                yield record


def record_of(subject: Subject, paths: Sequence[Path], traces: dict[str, str]) -> Record:
    """Run a subject in all cells, in this process. Raises `InputError` for what can't be run."""
    measured: list[Measured] = []
    label, sha256 = subject.label, "" if isinstance(subject, Ours) else subject.sha256
    try:
        for path in paths:
            if path not in OPEN:
                OPEN[path] = Twin.open(path, {"remote"})
            measured += [measure(subject, OPEN[path], cell) for cell in cells((path.stem,))]
    except Refused as why:
        return Record(label, sha256, traces, (), f"{why.reason}: {why}")
    return Record(label, sha256, traces, tuple(measured))
