"""The kernel's call graph out of a handful of files whose calls can be listed by hand."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from traces.errors import InputError
from traces.graphs import linux
from traces.graphs.c_functions import functions
from traces.graphs.graph import Graph

FILES = {
    "Makefile": "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 7\nEXTRAVERSION =\n",
    "include/linux/list.h": """\
static inline int list_empty(const struct list_head *head)
{
	return READ_ONCE(head->next) == head;
}
""",
    "kernel/sched.c": """\
/* schedule() is called by nobody in here: it's a comment */
struct rq
{
	int (*pick)(void);
};

static void update(struct rq *rq)
{
	if (list_empty(&rq->queue)) {
		printk("update(%d) /* no comment");
	}
}

__printf(1, 2)
int printk(const char *format, ...)
{
	return printk(format);
}

#define CALLS_NOBODY(x) \\
	schedule(x)

void __sched schedule(void) __releases(lock)
{
	update(this_rq());	// update() once more
	update('(');
}

SYSCALL_DEFINE1(nice, int, increment)
{
	schedule();
}

EXPORT_SYMBOL(nothing)

#ifdef CONFIG_SMP
void both(void)
{
	schedule();
}
#else
void both(void)
{
	update(NULL);
}
#endif
""",
    "drivers/net/a/main.c": """\
static void update(void)
{
	sizeof(int);
}

int reset(void)
{
	update();
}

int probe(void)
{
	reset();
	schedule();
}
""",
    "drivers/net/b/main.c": """\
int reset(void)
{
	both();
}
""",
    "drivers/net/b/probe.c": """\
int start(void)
{
	reset();
	update();
}
""",
}


def pack(path: Path, files: dict[str, str], mode: str = "w:xz") -> Path:
    with tarfile.open(path, mode) as tree:
        for name, content in files.items():
            member = tarfile.TarInfo(f"linux-source-6.1/{name}")
            member.size = len(content)
            tree.addfile(member, io.BytesIO(content.encode()))
    return path


def build(source: Path, seed: int = 0) -> Graph:
    return linux.build(source=source, seed=seed, report=lambda *_: None)


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("source") / "linux.tar.xz", FILES)


def test_functions_and_their_calls() -> None:
    found = {function.name: function for function in functions(FILES["kernel/sched.c"])}
    assert {name: function.calls for name, function in found.items()} == {
        "update": ("list_empty", "printk"),
        "printk": ("printk",),
        "schedule": ("this_rq", "update"),
        "SYSCALL_DEFINE1_nice": ("schedule",),
        "both": ("schedule", "update"),
    }
    assert [name for name, function in found.items() if function.is_static] == ["update"]


def test_edges_lead_from_a_function_to_its_callers(tarball: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux, "FILES_A_TASK", 2)  # so that other processes parse some of the files
    monkeypatch.setattr(linux, "SMALLEST_SUBSYSTEM", 3)
    graph = build(tarball)
    nodes = [
        "a/probe", "a/reset", "a/update", "b/reset", "b/start", "list_empty",
        "nice", "both", "printk", "schedule", "update",
    ]  # fmt: skip
    assert graph.num_nodes == len(nodes)
    assert {(nodes[src], nodes[dst]) for src, dst in zip(graph.src, graph.dst, strict=True)} == {
        ("list_empty", "update"),  # static, but in a header
        ("printk", "update"),
        ("update", "schedule"),
        ("schedule", "nice"),
        ("schedule", "both"),
        ("update", "both"),
        ("a/update", "a/reset"),  # its own file's, not the kernel's
        ("a/reset", "a/probe"),  # its own file's, not the other driver's
        ("schedule", "a/probe"),  # not static, so visible everywhere
        ("both", "b/reset"),
        ("b/reset", "b/start"),  # the one in its own folder
    }
    assert graph.provenance["references"] == 15  # 11 edges, printk calling itself, and these:
    assert graph.provenance["unresolved_references"] == 3  # READ_ONCE, this_rq, and b/start's static update
    assert graph.provenance["linux_version"] == "6.1.7"
    subsystems = [graph.provenance["labels"][label] for label in graph.labels]
    assert subsystems == [*["drivers/net"] * 5, "include", *["kernel"] * 5]
    schedule, nice = graph.features[9], graph.features[6]
    assert np.linalg.norm(schedule) == pytest.approx(1)
    assert np.linalg.norm(nice) == pytest.approx(1)
    assert linux.build(source=tarball, width=7, report=lambda *_: None).features.shape == (11, 7)


def test_the_package_holds_the_same_graph_as_its_tarball(tarball: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: linux-source-6.1\nVersion: 6.1.7-1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: kernel\n"
    )
    (tree / "usr" / "src").mkdir(parents=True)
    (tree / "usr" / "src" / "linux-source-6.1.tar.xz").write_bytes(tarball.read_bytes())
    package = tmp_path / "linux-source-6.1_6.1.7-1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, package], check=True, capture_output=True)
    graph = build(package)
    assert graph.checksum() == build(tarball).checksum()
    assert graph.provenance["source"] == package.name
    assert graph.provenance["source_sha256"] != build(tarball).provenance["source_sha256"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not an archive", r"linux\.tar\.xz: can't be read"),
        (b"", r"linux\.tar\.xz: can't be read"),
    ],
)
def test_a_source_that_is_no_archive(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "linux.tar.xz").write_bytes(content)
    with pytest.raises(InputError, match=message):
        build(tmp_path / "linux.tar.xz")
    (tmp_path / "linux.deb").write_bytes(content)
    with pytest.raises(InputError, match=r"linux\.deb: can't be read"):
        build(tmp_path / "linux.deb")


def test_a_source_that_is_cut_short(tarball: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.tar.xz").write_bytes(tarball.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"cut\.tar\.xz: can't be read"):
        build(tmp_path / "cut.tar.xz")


def test_a_source_without_c(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no C functions"):
        build(pack(tmp_path / "rust.tar.gz", {"lib.rs": "fn main()\n{\n}\n"}, "w:gz"))


def test_a_download_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    apt_get = tmp_path / "bin" / "apt-get"
    apt_get.parent.mkdir()
    apt_get.write_text('#!/bin/sh\n: > "$2_half.deb"\necho no route to host >&2\nexit 100\n')
    apt_get.chmod(0o755)
    monkeypatch.setenv("PATH", str(apt_get.parent))
    with pytest.raises(InputError, match=r'no route to host.*"apt-get update".*--source'):
        linux.build(report=lambda *_: None)
    assert list((tmp_path / "cache" / "rudder-twin").iterdir()) == []
    apt_get.unlink()
    with pytest.raises(InputError, match="apt-get: not found"):
        linux.build(report=lambda *_: None)
