"""Where the time went: the timeline for trace viewers, the use of links and servers, and the printed breakdown."""

import json
from itertools import groupby, pairwise
from pathlib import Path

import polars as pl
import pytest

TRACE = Path(__file__).parents[3] / "traces/debian.parquet"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder for one run that all tests share."""
    return tmp_path_factory.mktemp("breakdown") / "run"


@pytest.fixture
def printed(run, run_cli):
    if not run.exists():
        options = ["--agent", "every:16", "--timeline", "--breakdown", "--out", str(run)]
        code, out, err = run_cli("sim.run", "--trace", str(TRACE), *options)
        assert (code, err) == (0, "")
        (run / "printed").write_text(out)
    return (run / "printed").read_text()


def test_a_viewer_can_draw_every_part(run, printed):
    """Viewers take whole microseconds, and drop what begins before the part before it in its row has ended."""
    events = json.loads((run / "timeline.json").read_text())["traceEvents"]
    parts = sorted((one for one in events if one["ph"] == "X"), key=lambda one: (one["pid"], one["tid"], one["ts"]))
    assert {type(one[name]) for one in parts for name in ("ts", "dur")} == {int}
    rows = 0
    for _, row in groupby(parts, key=lambda one: (one["pid"], one["tid"])):
        rows += 1
        assert all(one["ts"] + one["dur"] <= following["ts"] for one, following in pairwise(row))
    assert rows == len({one["tid"] for one in parts}) == 2 * 4  # four trainers prepare and train
    named = {one["args"]["name"] for one in events if one["name"] == "process_name"}
    assert named == {f"trainer {rank} on machine{rank}" for rank in range(4)}


def test_the_parts_of_training_add_up_to_the_steps(run, printed):
    parts = json.loads((run / "timeline.json").read_text())["traceEvents"]
    trained_s = sum(one["dur"] for one in parts if one["ph"] == "X" and (one["pid"], one["tid"]) == (3, 6)) / 1e6
    steps = pl.read_parquet(run / "minibatches.parquet").filter(policy="every:16", rank=2)
    assert trained_s == pytest.approx(steps["step_s"].sum(), rel=1e-3)
    shown = f"{steps['step_s'].mean() * 1e3:.1f}"
    assert any(shown in line for line in printed.partition("a minibatch of each trainer")[2].splitlines())


def test_links_and_servers_are_never_busier_than_they_can_be(run, printed):
    used = pl.read_parquet(run / "utilisation.parquet")
    assert set(used["what"]) == {"link", "servers"}
    means = used.group_by("name").agg(pl.col("busy_share").mean())["busy_share"]  # single intervals may hold bursts
    assert 0.05 < means.max() < 1
    assert used["busy_share"].min() >= 0
