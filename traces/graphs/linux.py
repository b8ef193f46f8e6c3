"""The call graph of the Linux kernel: its functions, the functions they call, and each one's subsystem."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from traces.checksum import sha256_of
from traces.cores import usable_cores
from traces.errors import InputError
from traces.graphs.c_functions import Function, functions
from traces.graphs.features import FEATURE_WIDTH, hashed_words
from traces.graphs.graph import Graph, Report, random_split

PACKAGE = "linux-source-6.1"
SMALLEST_SUBSYSTEM = 1000
FILES_A_TASK = 200
WORD = re.compile(r"[a-z]+|[A-Z][a-z]*|[0-9]+")


def build(*, seed: int = 0, source: Path | None = None, width: int = FEATURE_WIDTH, report: Report) -> Graph:
    """The call graph of the kernel in `source` (.deb or tarball), by default of Debian's package `PACKAGE`.

    Nodes are the functions that `.c` and `.h` files define, sorted by file and name. An edge leads from a function
    to each that calls it: a function learns from what it calls. A call is resolved in its own file first, else
    to the definition, among those visible elsewhere (not static, or in a header), whose path has most in common
    with its own. What isn't resolved (mostly macros) is counted in the provenance. The label is the subsystem: the
    first two folders (`drivers/net`), or only the first where those have fewer than `SMALLEST_SUBSYSTEM` functions.
    Features are the hashed words of the name, in `width` columns. A random 60/20/20 split depends on `seed`, the rest
    on the source.

    Takes 1 to 2 min on 2 cores, and 2 GB. Raises `InputError` when the source can't be downloaded or read.
    """
    source = _download(report) if source is None else source
    found, version = _parse(source, report)
    if not found:
        raise InputError(f"{source}: has no C functions; pass a kernel source as .deb or tarball with --source")
    report("linking functions", 0.85)
    nodes = sorted((path, function) for path, defined in found.items() for function in defined)
    edges, unresolved = _edges(nodes)
    report("naming functions", 0.95)
    classes, labels = np.unique(_subsystems([path for path, _ in nodes]), return_inverse=True)
    train, valid, test = random_split(len(nodes), np.random.default_rng(seed))
    return Graph(
        name="linux",
        kind="real",
        src=np.ascontiguousarray(edges[:, 0]),
        dst=np.ascontiguousarray(edges[:, 1]),
        features=hashed_words([WORD.findall(function.name) for _, function in nodes], width),
        labels=labels.astype(np.int64),
        train_mask=train,
        valid_mask=valid,
        test_mask=test,
        classes=len(classes),
        provenance={
            "source": source.name,
            "source_sha256": sha256_of(source),
            "linux_version": version,
            "files_with_functions": len(found),
            "edges": "to a function from each it calls",
            "references": sum(len(function.calls) for _, function in nodes),
            "unresolved_references": unresolved,
            "labels": [str(subsystem) for subsystem in classes],
            "split": "random, 60/20/20",
            "seed": seed,
        },
    )


def _download(report: Report) -> Path:
    """The kernel's source package in the user's cache folder, fetched by apt-get if it isn't there yet."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rudder-twin"
    packages = list(folder.glob(f"{PACKAGE}_*.deb"))
    if not packages:
        report("downloading 140 MB", 0.0)
        by_hand = "or pass a kernel source, a .deb or a tarball, with --source"
        if shutil.which("apt-get") is None:
            raise InputError(f"apt-get: not found; run this on Debian, {by_hand}")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as partial:  # an interrupted download must not look like one
            command = ["apt-get", "download", PACKAGE]
            done = subprocess.run(command, cwd=partial, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if done.returncode != 0:
                message = done.stderr.decode(errors="replace").strip()
                raise InputError(f'{" ".join(command)}: failed ({message}); run "apt-get update" first, {by_hand}')
            packages = [package.rename(folder / package.name) for package in Path(partial).glob("*.deb")]
    return max(packages, key=lambda package: package.stat().st_mtime)


@contextmanager
def _tarball(source: Path) -> Iterator[tuple[IO[bytes], int]]:
    """The source's compressed tarball, which in a .deb is a file in another archive, and its size in bytes."""
    if not source.is_file():
        raise InputError(f"{source}: no such file; pass a kernel source, a .deb or a tarball, with --source")
    if source.suffix != ".deb":
        with source.open("rb") as file:
            yield file, source.stat().st_size
        return
    if shutil.which("dpkg-deb") is None:
        raise InputError(f"{source}: dpkg-deb, which opens a .deb, isn't installed; pass a tarball with --source")
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", source], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as package:
                for member in package:
                    if member.isfile() and ".tar" in PurePosixPath(member.name).suffixes:
                        inner = package.extractfile(member)
                        assert inner is not None  # only None for what is no file
                        yield inner, member.size
                        return
        finally:
            process.kill()  # what follows the tarball isn't needed
    raise InputError(f"{source}: has no tarball in it; pass the package {PACKAGE} or a kernel tarball")


def _parse(source: Path, report: Report) -> tuple[dict[str, list[Function]], str]:
    """The functions of each file that has any, by its path in the kernel's tree, and the kernel's version."""
    found: dict[str, list[Function]] = {}
    version = "unknown"
    tasks: deque[Future[dict[str, list[Function]]]] = deque()
    batch: dict[str, bytes] = {}
    workers = usable_cores()
    try:
        with (
            _tarball(source) as (stream, size),
            tarfile.open(fileobj=stream, mode="r|*") as tree,
            ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        ):
            for member in tree:
                path = "/".join(PurePosixPath(member.name).parts[1:])
                if not member.isfile() or not (path == "Makefile" or path.endswith((".c", ".h"))):
                    continue
                content = tree.extractfile(member)
                assert content is not None
                if path == "Makefile":
                    version = _version(content.read().decode())
                    continue
                batch[path] = content.read()
                if len(batch) == FILES_A_TASK:
                    tasks.append(pool.submit(_functions_of_files, batch))
                    batch = {}
                    report("reading functions", 0.85 * stream.tell() / size)
                if len(tasks) > 4 * workers:  # no more than this is unpacked ahead of the parsers
                    found |= tasks.popleft().result()
            found |= _functions_of_files(batch)
            for task in tasks:
                found |= task.result()
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
        raise InputError(f"{source}: can't be read ({error}); pass a kernel source, a .deb or a tarball") from error
    return found, version


def _version(makefile: str) -> str:
    parts = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$", makefile, re.MULTILINE))
    return ".".join(parts.get(key, "?") for key in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))


def _functions_of_files(files: dict[str, bytes]) -> dict[str, list[Function]]:
    parsed = {path: functions(content.decode(errors="replace")) for path, content in files.items()}
    return {path: defined for path, defined in parsed.items() if defined}


def _edges(nodes: list[tuple[str, Function]]) -> tuple[NDArray[np.int64], int]:
    """Edges as int64 (e, 2) of callee and caller, sorted, and the number of calls that nothing answers to."""
    in_file = {(path, function.name): number for number, (path, function) in enumerate(nodes)}
    visible: dict[str, list[int]] = defaultdict(list)
    for number, (path, function) in enumerate(nodes):
        if not function.is_static or path.endswith(".h"):
            visible[function.name].append(number)
    folders = [path.split("/")[:-1] for path, _ in nodes]
    edges = []
    unresolved = 0
    for caller, (path, function) in enumerate(nodes):
        for name in function.calls:
            callee = in_file.get((path, name))
            if callee is None:
                callee = max(visible[name], key=lambda one: _shared(folders[one], folders[caller]), default=None)
            if callee is None:
                unresolved += 1
            elif callee != caller:
                edges.append((callee, caller))
    return np.array(sorted(edges), dtype=np.int64).reshape(-1, 2), unresolved


def _shared(folders: list[str], others: list[str]) -> int:
    """How many folders two paths share from the top."""
    depth = 0
    for one, other in zip(folders, others, strict=False):
        if one != other:
            break
        depth += 1
    return depth


def _subsystems(paths: list[str]) -> list[str]:
    """The subsystem of each function, given the file of each."""
    folders = ["/".join(path.split("/")[:-1][:2]) for path in paths]
    sizes = Counter(folders)
    return [name if sizes[name] >= SMALLEST_SUBSYSTEM else name.split("/")[0] for name in folders]
