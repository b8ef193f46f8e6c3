"""Spec strings to plans: the grammar, the ranges, the flags, and that asking costs little."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.policy import Policy
from agents.registry import POLICIES, ModelOptions, resolve
from traces.errors import InputError

EXAMPLES = [
    "none", "pipeline", "never", "every:16", "always", "partial:0.05", "random:0.2", "threshold:0.4",
    "hysteresis:0.2,0.4", "hill-climb:16,16", "bandit:16", "cost-benefit:32", "oracle:32", "ollama:llama3.2:3b",
    "massivegnn:32", "rudder-every:32",
]  # fmt: skip
NEEDS_A_FILE = ["recorded", "classifier", "local", "scripted"]
NEEDS_AN_ADDRESS = ["openai"]


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_policy_is_made_from_its_name(text):
    plan = resolve(text)
    assert isinstance(plan.make(), Policy)
    assert plan.make() is not plan.make()
    assert plan.make().name == plan.name == text
    assert resolve(plan.name) == plan


@pytest.mark.parametrize(
    ("former", "name"), [("trickle", "partial"), ("climb", "hill-climb"), ("benefit", "cost-benefit")]
)
def test_former_names_are_understood_and_todays_are_told(former, name):
    assert resolve(former) == resolve(name)
    assert resolve(f" {former} : 1 ").name.startswith(f"{name}:1")
    with pytest.raises(InputError, match=f"^'{name}:1,2,3': '.' is one option too many; write {name}:"):
        resolve(f"{former}:1,2,3")


def test_the_examples_cover_the_listing():
    listed = {text.partition(":")[0] for text in EXAMPLES} | {*NEEDS_A_FILE, *NEEDS_AN_ADDRESS}
    assert listed == set(POLICIES)


@pytest.mark.parametrize(
    ("text", "pipelined", "buffered", "calls_model"),
    [
        ("none", False, False, False),
        ("pipeline", True, False, False),
        ("never", True, True, False),
        ("every:4", True, True, False),
        ("ollama:llama3", True, True, True),
    ],
)
def test_flags(text, pipelined, buffered, calls_model):
    plan = resolve(text)
    assert (plan.pipelined, plan.buffered, plan.calls_model) == (pipelined, buffered, calls_model)


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_plan_reaches_another_process(text):
    plan = pickle.loads(pickle.dumps(resolve(text)))
    assert plan == resolve(text)
    assert plan.make().name == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no name"),
        (":16", "no name"),
        ("sometimes", "there is no policy 'sometimes'; there are none, pipeline, never, every:N"),
        ("never:3", "never takes no options"),
        ("every", "'minibatches' is missing"),
        ("every:", "'minibatches' is missing"),
        ("every:0", "at least 1"),
        ("every:-4", "at least 1"),
        ("every:1.5", "not of type int"),
        ("every:16,32", "one option too many"),
        ("every:16,minibatches=16", "given twice"),
        ("every:n=16", "no option 'n'"),
        ("random:1.5", "from 0 to 1"),
        ("random:-0.1", "from 0 to 1"),
        ("random:nan", "finite"),
        ("threshold:nan", "finite"),
        ("threshold:inf", "finite"),
        ("threshold:40%", "not of type float"),
        ("threshold:40", "from 0 to 1"),
    ],
)
def test_wrong_specs_say_what_is_wrong(text, message):
    with pytest.raises(InputError, match=message):
        resolve(text)


@given(st.integers(1, 10**9))
def test_every_count_has_a_canonical_name(n):
    assert resolve(f" every:minibatches={n} ") == resolve(f"every:{n:012d}") == resolve(f"every:{n}")
    assert resolve(f"every:{n:012d}").name == f"every:{n}"


@given(st.sampled_from(["random", "threshold"]), st.floats(0, 1))
def test_every_number_survives_its_name(name, value):
    plan = resolve(f"{name}:{value}")
    assert resolve(plan.name) == plan


@given(st.text(max_size=30) | st.builds("{}:{}".format, st.sampled_from(list(POLICIES)), st.text(max_size=30)))
def test_any_text_is_a_plan_or_an_input_error(text):
    try:
        plan = resolve(text)
    except InputError:
        return
    assert resolve(plan.name) == plan


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_out_is_finite_and_positive(timeout_s):
    with pytest.raises(InputError, match="time-out"):
        ModelOptions(timeout_s=timeout_s)


def test_a_policy_that_calls_no_model_ignores_how_to_reach_one():
    assert resolve("never", ModelOptions(host="http://elsewhere:1")) == resolve("never")


def test_the_listing_imports_no_library():
    heavy = {"numpy", "pydantic", "ollama", "httpx", "torch", "dgl", "simpy"}
    code = f"import sys, agents.registry; print(*sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
