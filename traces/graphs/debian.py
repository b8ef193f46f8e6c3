"""The Debian package graph: packages, what they declare they need, and the section each belongs to."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from traces.errors import InputError
from traces.graphs.features import FEATURE_WIDTH, hashed_words
from traces.graphs.graph import Graph, Report, random_split

RELATIONS = ("Depends", "Pre-Depends", "Recommends", "Suggests", "Enhances")
FIELDS = {"Package", "Section", "Description", "Description-en", "Provides", *RELATIONS}
MOST_PROVIDERS = 8
"""A virtual package with more providers (a dictionary, a window manager) says nothing about any one of them."""
PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")
WORD = re.compile(r"[a-z0-9]+")


def build(*, seed: int = 0, dump: Path | None = None, width: int = FEATURE_WIDTH, report: Report) -> Graph:
    """The graph of all packages that apt knows, or that a saved `apt-cache dumpavail` (`dump`) lists.

    An edge leads from a package to each one that refers to it in Depends, Pre-Depends, Recommends, Suggests or
    Enhances: a package learns from what it needs. All alternatives count, versions and architectures don't, and
    no edge is drawn twice. A virtual package stands for its providers, if they are at most `MOST_PROVIDERS`.
    Labels are the sections (`net` for `contrib/net`), features the hashed words of the one-line description, in
    `width` columns. A random 60/20/20 split depends on `seed`, everything else on the dump alone: packages are sorted
    by name.

    Raises `InputError` when apt-cache is missing or knows no packages, or the dump can't be used.
    """
    report("reading packages", 0.0)
    text = _run_apt_cache() if dump is None else _read_dump(dump)
    where = "apt-cache dumpavail" if dump is None else str(dump)
    packages = {record["Package"]: record for record in _records(text) if "Package" in record}
    if not packages:
        remedy = 'run "apt-get update" first' if dump is None else "save one with `apt-cache dumpavail > FILE`"
        raise InputError(f"{where}: lists no packages; {remedy}")
    names = sorted(packages)
    report("linking packages", 0.4)
    edges, unresolved, ambiguous = _edges(packages, names)
    report("describing packages", 0.7)
    sections = [packages[name].get("Section", "unknown").rpartition("/")[2] for name in names]
    classes, labels = np.unique(sections, return_inverse=True)
    descriptions = [packages[name].get("Description") or packages[name].get("Description-en", "") for name in names]
    train, valid, test = random_split(len(names), np.random.default_rng(seed))
    graph = Graph(
        name="debian",
        kind="real",
        src=np.ascontiguousarray(edges[:, 0]),
        dst=np.ascontiguousarray(edges[:, 1]),
        features=hashed_words([WORD.findall(description.lower()) for description in descriptions], width),
        labels=labels.astype(np.int64),
        train_mask=train,
        valid_mask=valid,
        test_mask=test,
        classes=len(classes),
        provenance={
            "source": "apt-cache dumpavail",
            "dump_sha256": hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest(),
            "edges": f"to a package from each it names in {', '.join(RELATIONS)}",
            "unresolved_references": unresolved,
            "references_with_too_many_providers": ambiguous,
            "most_providers": MOST_PROVIDERS,
            "labels": [str(section) for section in classes],
            "split": "random, 60/20/20",
            "seed": seed,
        },
    )
    report("describing packages", 1.0)
    return graph


def _run_apt_cache() -> str:
    if shutil.which("apt-cache") is None:
        raise InputError(
            "apt-cache: not found; run this on Debian or Ubuntu, or pass a saved `apt-cache dumpavail` with --dump"
        )
    done = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=False)
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip()
        raise InputError(f'apt-cache dumpavail: failed ({message}); run "apt-get update" first')
    return done.stdout.decode(errors="surrogateescape")


def _read_dump(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror}); pass a saved `apt-cache dumpavail`") from error


def _records(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a control file (deb822), only the first line of each field in `FIELDS`."""
    for paragraph in text.split("\n\n"):
        record = {}
        for line in paragraph.splitlines():
            key, _, value = line.partition(":")  # a continuation line starts with a space, so it is no field
            if key in FIELDS:
                record[key] = value.strip()
        yield record


def _referred(relation: str) -> Iterator[str]:
    """Package names in a field such as `a (>= 1.0) [amd64], b:any | c`."""
    for alternative in re.split(r"[,|]", relation):
        if match := PACKAGE_NAME.match(alternative.strip()):
            yield match.group()


def _edges(packages: dict[str, dict[str, str]], names: list[str]) -> tuple[np.ndarray, int, int]:
    """Edges as int64 (e, 2) of source and destination, sorted; references to nothing; references to too many."""
    number = {name: index for index, name in enumerate(names)}
    providers: dict[str, set[int]] = defaultdict(set)
    for name, record in packages.items():
        for virtual in _referred(record.get("Provides", "")):
            providers[virtual].add(number[name])
    edges: set[tuple[int, int]] = set()
    unresolved = ambiguous = 0
    for name in names:
        node = number[name]
        for relation in RELATIONS:
            for referred in _referred(packages[name].get(relation, "")):
                sources = {number[referred]} if referred in number else providers.get(referred, set())
                if not sources:
                    unresolved += 1
                elif len(sources) > MOST_PROVIDERS:
                    ambiguous += 1
                else:
                    edges.update((source, node) for source in sources if source != node)
    return np.array(sorted(edges), dtype=np.int64).reshape(-1, 2), unresolved, ambiguous
