"""The Debian package graph out of a dump small enough to work out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from traces.errors import InputError
from traces.graphs import debian
from traces.graphs.graph import Graph

DUMP = """\
Package: zsh
Section: shells
Depends: libc6 (>= 2.36), libcap2:any (>= 1:2.10) [amd64] | libc6
Recommends: editor, www-browser
Suggests: not-in-debian | vim
Description: Shell with lots of features
Description-md5: 0123
Tag: Depends: not a field,
 Depends: a continuation line is not a field either

Package: libc6
Section: libs
Depends: libc6
Description: GNU C Library

Package: libcap2
Section: libs
Pre-Depends: libc6
Description: POSIX 1003.1e capabilities

Package: vim
Section: contrib/editors
Provides: editor, vi (= 9)
Enhances: zsh
Description: Vi IMproved

Package: nano
Section: editors
Provides: editor
Depends: libc6
Suggests: vi
Description: GNU nano, the editor nano
""" + "".join(f"\nPackage: browser{number}\nSection: web\nProvides: www-browser\n" for number in range(9))


def build(dump: Path, text: str, seed: int = 0) -> Graph:
    dump.write_text(text, encoding="utf-8")
    return debian.build(dump=dump, seed=seed, report=lambda *_: None)


def test_edges_lead_from_a_package_to_each_that_names_it(tmp_path: Path) -> None:
    graph = build(tmp_path / "dump", DUMP)
    names = [*(f"browser{number}" for number in range(9)), "libc6", "libcap2", "nano", "vim", "zsh"]
    assert graph.num_nodes == len(names)
    edges = {(names[src], names[dst]) for src, dst in zip(graph.src, graph.dst, strict=True)}
    assert edges == {
        ("libc6", "zsh"),  # named twice, drawn once; that libc6 names itself counts for nothing
        ("libcap2", "zsh"),  # an architecture, a version with an epoch, and an alternative
        ("vim", "zsh"),  # both as an alternative and as a provider of `editor`
        ("nano", "zsh"),  # through `editor`
        ("libc6", "libcap2"),
        ("zsh", "vim"),
        ("libc6", "nano"),
        ("vim", "nano"),  # through `vi`, which it provides in a version
    }
    assert graph.num_edges == len(edges)
    assert graph.provenance["unresolved_references"] == 1  # not-in-debian
    assert graph.provenance["references_with_too_many_providers"] == 1  # www-browser
    assert graph.kind == "real"
    assert graph.scale_note == ""


def test_labels_are_sections_and_features_descriptions(tmp_path: Path) -> None:
    graph = build(tmp_path / "dump", DUMP)
    sections = [graph.provenance["labels"][label] for label in graph.labels]
    assert sections == [*["web"] * 9, "libs", "libs", "editors", "editors", "shells"]
    assert graph.classes == 4
    assert graph.features.shape == (14, 128)
    length = np.linalg.norm(graph.features, axis=1)
    np.testing.assert_allclose(length, [*[0] * 9, *[1] * 5], rtol=1e-6)  # the browsers describe nothing
    libc6, nano = graph.features[9], graph.features[11]
    # "gnu c library" and "gnu nano the editor nano" share one word: 1 / (sqrt(3) * sqrt(1 + 4 + 1 + 1))
    assert libc6 @ nano == pytest.approx(21**-0.5, rel=1e-5)


def test_wider_features_are_of_the_same_graph(tmp_path: Path) -> None:
    graph = build(tmp_path / "dump", DUMP)
    wide = debian.build(dump=tmp_path / "dump", width=768, report=lambda *_: None)
    assert wide.features.shape == (14, 768)
    assert np.count_nonzero(wide.features[11]) == 4  # gnu, nano, the, editor: none collide
    for name in ("src", "dst", "labels", "train_mask"):
        np.testing.assert_array_equal(getattr(wide, name), getattr(graph, name))


def test_the_graph_is_a_function_of_dump_and_seed(tmp_path: Path) -> None:
    graph = build(tmp_path / "one", DUMP)
    assert build(tmp_path / "two", DUMP).checksum() == graph.checksum()
    paragraphs = DUMP.strip("\n").split("\n\n")
    reordered = build(tmp_path / "three", "\n\n".join(reversed(paragraphs)))
    assert reordered.checksum() == graph.checksum()
    assert reordered.provenance["dump_sha256"] != graph.provenance["dump_sha256"]
    other = build(tmp_path / "four", DUMP, seed=1)
    assert not np.array_equal(other.train_mask, graph.train_mask)
    np.testing.assert_array_equal(other.src, graph.src)
    masks = (graph.train_mask, graph.valid_mask, graph.test_mask)
    assert [int(mask.sum()) for mask in masks] == [8, 3, 3]


def test_apt_cache_that_is_missing_fails_or_knows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"apt-cache: not found.*--dump"):
        debian.build(report=lambda *_: None)
    for script, message in (
        ("exit 0", 'lists no packages; run "apt-get update"'),
        ("echo broken cache >&2; exit 100", 'failed .broken cache.; run "apt-get update"'),
    ):
        (tmp_path / "apt-cache").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "apt-cache").chmod(0o755)
        with pytest.raises(InputError, match=message):
            debian.build(report=lambda *_: None)


def test_a_dump_without_packages(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dump: lists no packages; save one with"):
        build(tmp_path / "dump", "Dear diary,\n\nnothing happened.\n")
