"""Where the seconds of a step go, whenever a script pulls its rows."""

import pytest

from traces.capture.fetch import FetchTimes
from traces.job.timeline import Timeline


def step(**changes: float) -> Timeline:
    """Sampled from 10 to 12, forward 17 to 20, gradients ready at 24, update from 25."""
    at = {"start_s": 10.0, "sampled_s": 12.0, "forward_start_s": 17.0, "forward_end_s": 20.0}
    at |= {"gradients_ready_s": 24.0, "update_start_s": 25.0}
    return Timeline(**{name: value for name, value in (at | changes).items() if value is not None})


def test_pulls_before_the_model() -> None:
    timeline = step(forward_start_s=None, forward_end_s=None, gradients_ready_s=None, update_start_s=None)
    timeline.pulled_features(3.0, FetchTimes(local_gather_s=1.0, owner_done_s=[0.0, 2.5]))
    timeline.pulled_others(1.0)
    for name, value in (
        ("forward_start_s", 17.0),
        ("forward_end_s", 20.0),
        ("gradients_ready_s", 24.0),
        ("update_start_s", 25.0),
    ):
        setattr(timeline, name, value)
    times = timeline.times(end=28.0)
    expected = {
        "sample_s": 2.0, "fetch_s": 3.0, "label_s": 1.0, "copy_s": 1.0, "stall_s": 7.0, "forward_s": 3.0,
        "backward_s": 4.0, "allreduce_s": 1.0, "update_s": 3.0, "step_s": 18.0, "local_gather_s": 1.0,
    }  # fmt: skip
    assert {name: times[name] for name in expected} == pytest.approx(expected)


def test_labels_pulled_between_model_and_loss_are_not_computing() -> None:
    timeline = step()
    timeline.update_start_s = None
    timeline.pulled_others(1.5)
    timeline.update_start_s = 25.0
    times = timeline.times(end=28.0)
    assert times["backward_s"] == pytest.approx(2.5)
    assert times["label_s"] == pytest.approx(1.5)
    parts = ("stall_s", "forward_s", "backward_s", "allreduce_s", "update_s")
    assert sum(times[name] or 0.0 for name in parts) == pytest.approx(times["step_s"])


def test_what_a_job_does_not_tell_is_left_out() -> None:
    without_gradients = step(gradients_ready_s=None).times(end=28.0)
    assert "backward_s" not in without_gradients
    assert "allreduce_s" not in without_gradients
    assert "forward_s" not in step(forward_start_s=None, forward_end_s=None).times(end=28.0)
    timeline = step()
    timeline.update_start_s = None
    timeline.pulled_features(1.0, FetchTimes(local_gather_s=float("nan")))
    assert timeline.times(end=28.0)["local_gather_s"] is None
