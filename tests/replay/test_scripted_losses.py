"""Scripts' losses with and without what is put below them: equal, whatever their loaders return."""

import json
from pathlib import Path

import pytest

from replay.comparison import compare
from sim.config import RunConfig
from traces.cluster.local import LocalCluster
from traces.reader import Trace

JOBS = ("frameworks", "moved", "links", "edges")
NOISE = 1e-4
"""Relative. Sums over neighbours are taken in another order from run to run, so the losses of equal runs differ in
float32's last bits, without a hook, too."""


@pytest.fixture(scope="session")
def three_ways(homogeneous: Path, scripts: Path, tmp_path_factory: pytest.TempPathFactory):
    """The folder of what `scripts/three_ways.py` left, and each trainer's losses."""
    folder = tmp_path_factory.mktemp("three_ways")
    config = RunConfig(trace="", trace_sha256="", agent="every:2", cache="score", buffer="25%")
    (folder / "best.json").write_text(config.model_dump_json())
    given = {"out": str(folder), "policy": str(folder / "best.json")}
    run = LocalCluster(parts=2, timeout_s=600).run(
        homogeneous, f"{scripts / 'three_ways.py'}:main", given, folder / "logs"
    )
    return folder, run.values


@pytest.mark.parametrize("job", JOBS)
def test_losses_are_those_without_a_hook(three_ways, job: str) -> None:
    for losses in three_ways[1]:
        assert len(set(losses["plain"][job])) == 8
        assert losses["recorded"][job] == pytest.approx(losses["plain"][job], rel=NOISE)
        assert losses["prefetched"][job] == pytest.approx(losses["plain"][job], rel=NOISE)


def test_equal_runs_without_a_hook_differ_by_no_less(three_ways) -> None:
    """Two loaders that do the same, before any hook was there; and other jobs are far apart."""
    for losses in three_ways[1]:
        assert losses["plain"]["moved"] == pytest.approx(losses["plain"]["frameworks"], rel=NOISE)
        assert losses["plain"]["edges"] != pytest.approx(losses["plain"]["links"], rel=0.01)


@pytest.mark.parametrize("job", JOBS)
def test_rows_are_their_owners_and_counts_the_simulators(three_ways, job: str) -> None:
    live = three_ways[0] / f"{job}-live"
    compared = compare(live)
    assert compared.differences == []
    assert compared.minibatches == 2 * 8
    assert compared.live_hits == compared.simulated_hits > 0
    summary = json.loads((live / "summary.json").read_text())
    assert summary["wrong_rows"] == 0
    assert summary["checked_rows"] == Trace(live / "trace.parquet").steps()["input_nodes"].sum() > 0


def test_several_features_of_other_types_lie_side_by_side_in_a_slot(three_ways) -> None:
    [nodes] = Trace(three_ways[0] / "frameworks-live" / "trace.parquet").header.node_types
    assert [(one.dtype, one.row_bytes) for one in nodes.features] == [("int64", 24), ("float32", 96), ("float16", 6)]


def test_what_a_script_that_failed_had_recorded_is_recovered(three_ways, run_cli) -> None:
    out = three_ways[0] / "broken.parquet"
    assert not out.exists()
    code, _, err = run_cli("traces.record", "--recover", "--out", str(out))
    assert code == 0, err
    header = Trace(out).header
    assert (header.epochs, header.minibatches_per_epoch, header.complete) == (2, 4, False)
    assert not out.with_name("broken.parquet.fragments").exists()
