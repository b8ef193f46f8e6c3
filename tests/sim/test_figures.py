"""Every figure shows the numbers that it was given, on the axis that it was given, with units."""

import io
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_rgb

from sim import figures
from sim.figures.style import FIXED, OTHERS
from sim.figures.sweep import name_of
from traces import accesses
from traces.errors import InputError
from traces.reader import Trace


@pytest.fixture
def axis():
    with plt.style.context(figures.STYLE):
        figure, axis = plt.subplots()
    yield axis
    figures.caption(figure, "SYNTHETIC: by hand; " * 20)
    figure.savefig(io.BytesIO())  # whatever was put on it can be drawn
    plt.close(figure)


def lines(axis):
    """What was drawn as lines and marks, by label."""
    return {line.get_label(): np.asarray(line.get_ydata(), float).tolist() for line in axis.lines}


MINIBATCHES = pl.DataFrame(
    {
        "policy": ["pipeline"] * 4 + ["every:2"] * 4,
        "rank": [0, 0, 1, 1] * 2,
        "epoch": [0, 1, 0, 1] * 2,
        "minibatch": [0] * 8,
        "remote_rows": [10, 20, 30, 40] * 2,
        "hit_rows": [0] * 4 + [5, 10, 15, 50],
        "fetched_rows": [10, 20, 30, 40, 6, 10, 15, 1],
        "stall_s": [0.004] * 4 + [0.001] * 4,
        "compute_s": [0.002] * 8,
        "wait_s": [0.001] * 8,
        "step_s": [0.010] * 4 + [0.006] * 4,
        "sample_s": [0.003] * 8,
        "fetch_s": [0.002] * 8,
    }
)


def test_hit_rate_sums_trainers_and_leaves_out_what_has_no_buffer(axis):
    assert figures.hit_rate(MINIBATCHES, axis) is axis
    assert lines(axis)["every:2"] == [20 / 40, 60 / 60]
    assert "no buffer (pipeline)" not in lines(axis)
    assert axis.get_xlabel() == "minibatch of the run (2 epochs of 1)"


def test_fetched_rows_and_decisions(axis):
    figures.fetched_rows(MINIBATCHES, axis)
    assert lines(axis)["every:2"] == [21, 11]
    assert lines(axis)["no buffer (pipeline)"] == [40, 60]
    decisions = pl.DataFrame({"applied_minibatch": [0, 1, 1, None], "replace": [False, True, True, True]})
    assert figures.mark_decisions(decisions, axis) is axis
    marks = {line.get_label(): line.get_xdata().tolist() for line in axis.lines[-2:]}
    assert marks == {"skipped": [0], "replaced": [1]}


def test_the_breakdown_adds_up_to_the_step(axis):
    figures.step_breakdown(MINIBATCHES, axis)
    assert [text.get_text().strip() for text in axis.texts] == ["10.0", "6.0"]
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axis.containers}
    assert widths["all-reduce and update"] == pytest.approx([3, 2])
    assert widths["fetch"] == pytest.approx([2, 2])
    assert "ms" in axis.get_xlabel()


BOARD = pl.DataFrame(
    {
        "agent": ["none", "pipeline", "never", "never", "every:4", "every:4", "never"],
        "cache": ["score", "score", "lru", "lru", "score", "score", "min"],
        "buffer": ["25%", "25%", "10%", "20%", "10%", "20%", "20%"],
        "buffer_rows": [0, 0, 10, 20, 10, 20, 20],
        "buffer_bytes": [0.0, 0.0, 1e6, 2e6, 1e6, 2e6, 2e6],
        "hit_rate_remote": [0.0, 0.0, 0.2, 0.4, 0.3, 0.35, 0.5],
        "remote_rows": [100] * 7,
        "min_hit_rows": [None, None, 40, 50, 40, 50, 50],
        "epoch_s_mean": [10.0, 8.0, 6.0, 7.0, 7.0, 5.0, 4.0],
        "vs_pipeline": [0.25, 0.0, -0.25, -0.125, -0.125, -0.375, -0.5],
        "bound": [False] * 6 + [True],
    }
)


def test_configurations_are_named_after_what_decides():
    named = ["none", "pipeline", "lru", "lru", "score, every:4", "score, every:4", "min"]
    assert name_of(BOARD).to_list() == named


def test_hit_rates_lie_under_the_bound(axis):
    figures.hit_rates(BOARD, axis)
    drawn = lines(axis)
    assert drawn == {"MIN (bound)": [0.4, 0.5], "lru": [0.2, 0.4], "score, every:4": [0.3, 0.35]}
    assert list(drawn) == ["MIN (bound)", "lru", "score, every:4"]  # in the order of their ends
    assert "MB" in axis.get_xlabel()


def test_runs_without_the_bound_are_refused(axis):
    with pytest.raises(InputError, match="min_hit_rows"):
        figures.hit_rates(BOARD.drop("min_hit_rows"), axis)


def test_the_front_has_what_no_other_betters(axis):
    figures.epoch_times(BOARD, axis)
    assert lines(axis)["Pareto front"] == [6, 5]
    assert lines(axis)["no buffer (pipeline)"] == [8, 8]
    assert [text.get_text() for text in axis.texts] == ["lru", "score, every:4"]
    assert "(simulated, s)" in axis.get_ylabel()


def test_the_heat_map_marks_the_best_of_every_scenario(axis):
    table = BOARD.filter(pl.col("buffer_rows") > 0, ~pl.col("bound"))
    figures.heat_map(table.with_columns(name_of(table), pl.col("buffer").alias("scenario")), axis)
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["score, every:4", "lru"]
    bold = [text.get_text() for text in axis.texts if text.get_weight() == "bold"]
    assert sorted(bold) == ["-25.0%", "-37.5%"]


def test_regret_is_a_mean_beside_its_control(axis):
    judged = pl.DataFrame(
        {
            "agent": ["a", "a", "b", "a"],
            "control": [False, False, False, True],
            "regret_rows": [0, 10, 2, 7],
            "right": [True, False, False, True],
        }
    )
    figures.regret(judged, axis)
    assert [bar.get_width() for bar in axis.containers[0]] == [2, 5]
    assert [text.get_text() for text in axis.texts] == ["pass@1 0%", "pass@1 50%"]
    assert axis.lines[0].get_xdata() == [7]


def test_latency_shows_every_answer_and_the_median(axis):
    decisions = pl.DataFrame(
        {
            "agent": ["m"] * 3 + ["rule"],
            "latency_s": [1.0, 2.0, 9.0, 0.0],
            "outcome": ["valid", "valid", "late", "valid"],
        }
    )
    figures.latency(decisions, axis)
    found = {line.get_label(): np.asarray(line.get_xdata()).tolist() for line in axis.lines}
    assert found == {"valid answer": [1, 2], "late, invalid or failed": [9], "median": [2, 2]}
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["m"]


def test_predictions_are_held_against_what_was_measured(axis):
    table = pl.DataFrame({"policy": ["none", "x"], "measured_s": [2.0, 1.0], "predicted_s": [2.2, 0.95]})
    figures.predicted(table, axis, band=0.1)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["within 10%", "none (+10.0%)", "x (-5.0%)"]


def test_popularity_and_reuse_of_a_trace(axis, write_trace, minibatch):
    asked = [[minibatch([10, 11]), minibatch([10]), minibatch([11, 12]), minibatch([10])]]
    trace = Trace(write_trace([asked, [[minibatch([0])] * 4]]))
    popular = accesses.popularity(trace).filter(rank=0)
    assert popular.select("node_id", "accesses").rows() == [(10, 3), (11, 2), (12, 1)]
    distances = accesses.reuse(trace).filter(rank=0)
    assert distances.select("distance_minibatches", "rows").rows() == [(1, 1), (2, 2), (None, 3)]
    figures.popularity(popular, axis)
    assert lines(axis)["trainer 0"] == [3 / 6, 5 / 6, 1]
    axis.clear()
    figures.reuse(distances, axis, minibatches_per_epoch=4)
    assert lines(axis)["trainer 0"] == [1 / 6, 3 / 6]


@pytest.mark.parametrize("weak", ["red", "green"])
def test_colour_blind_readers_can_tell_the_colours_apart(weak):
    # full protanopia and deuteranopia: Machado, Oliveira and Fernandes, IEEE TVCG 2009, on linear RGB
    matrix = {
        "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }[weak]
    seen = {colour: np.array(matrix) @ np.array(to_rgb(colour)) ** 2.2 for colour in (*FIXED.values(), *OTHERS)}
    nearest = min(float(np.linalg.norm(seen[a] - seen[b])) for a, b in combinations(seen, 2))
    assert nearest > 0.15
