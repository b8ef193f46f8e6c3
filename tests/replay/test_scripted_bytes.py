"""An RGCN over three node types of different widths: bytes by type are the kernel's, losses those without us."""

from pathlib import Path

import pytest

from replay.comparison import compare
from sim.config import RunConfig
from traces.cluster import namespaces
from traces.cluster.local import LocalCluster
from traces.reader import Trace

HEADERS = 14 + 20 + 32
"""Ethernet, IP, and TCP with time stamps: what each packet has beside its payload."""


@pytest.fixture(scope="session")
def typed_ways(typed: Path, scripts: Path, tmp_path_factory: pytest.TempPathFactory):
    """The folder of what `scripts/typed_bytes.py` left, and what each trainer returned."""
    if reason := namespaces.refusal("namespaces", shaped=False):
        pytest.skip(f"a machine's own interface is needed: {reason}")
    folder = tmp_path_factory.mktemp("typed_ways")
    config = RunConfig(trace="", trace_sha256="", agent="every:2", cache="lru", buffer="20kB", universe="remote")
    (folder / "best.json").write_text(config.model_dump_json())
    given = {"out": str(folder), "policy": str(folder / "best.json")}
    cluster = LocalCluster(parts=2, timeout_s=600, form="namespaces")
    return folder, cluster.run(typed, f"{scripts / 'typed_bytes.py'}:main", given, folder / "logs").values


def test_bytes_by_type_are_those_that_the_kernel_counted(typed_ways) -> None:
    """The kernel counts headers of packets, and the frame of each of DGL's responses, too.

    A frame is as long as what a response of one row has beside the row: names and shapes of tensors, and no more for
    more rows. What is left once headers and frames are off is rows.
    """
    folder, values = typed_ways
    header = Trace(folder / "t.parquet").header
    assert [sum(f.row_bytes for f in one.features) for one in header.node_types] == [48, 16, 128]
    for one in header.node_types:
        row_bytes = sum(feature.row_bytes for feature in one.features)
        told, kernel = one.remote_rows * row_bytes, 0
        for value in values:
            counted, frame = value["kernel"][one.name], value["one_row"][one.name] - row_bytes
            assert 0 < frame < 4096
            kernel += counted["bytes"] - HEADERS * counted["packets"] - frame * counted["pulls"]
        assert kernel == pytest.approx(told, rel=0.01), one.name
        assert told > 5_000


def test_losses_are_those_without_a_hook_though_training_writes_rows(typed_ways) -> None:
    """But for the order in which floats are added up. An embedding that stayed as it was would change them by more."""
    for losses in (value["losses"] for value in typed_ways[1]):
        assert len(set(losses["plain"])) == 8
        assert losses["recorded"] == pytest.approx(losses["plain"], rel=1e-4)
        assert losses["prefetched"] == pytest.approx(losses["plain"], rel=1e-4)


def test_rows_that_training_writes_are_never_served_from_the_buffer(typed_ways) -> None:
    """All that the buffer could serve was fetched or hit; authors' rows are neither."""
    live = typed_ways[0] / "live"
    compared = compare(live)
    assert compared.differences == []
    assert compared.live_hits == compared.simulated_hits > 0
    types = {one.name: one for one in Trace(live / "trace.parquet").header.node_types}
    assert [name for name, one in types.items() if any(f.trainable for f in one.features)] == ["author"]
    buffered = sum(one.remote_rows for name, one in types.items() if name != "author")
    assert compared.live_hits < buffered
    assert types["author"].remote_rows > 0
