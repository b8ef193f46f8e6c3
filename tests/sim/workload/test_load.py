"""From a trace to dense ids: nothing is lost, nothing is renamed on the way."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents.registry import resolve
from sim.cluster.topology import from_header
from sim.config import RunConfig
from sim.cost.model import CostModel
from sim.counts.policy_runs import make_caches, run_facts
from sim.simulation.simulate import simulate
from sim.workload.capacity import capacity_rows
from sim.workload.load import load
from traces.errors import InputError
from traces.reader import Trace
from traces.schema import HEADER_KEY, TIMES


@pytest.fixture
def trace(write_trace, minibatch):
    first = [[minibatch([10, 12, 25]), minibatch([12, 29])], [minibatch([10]), minibatch([])]]
    second = [[minibatch([0, 21]), minibatch([0, 1, 2])], [minibatch([29]), minibatch([5, 21])]]
    third = [[minibatch([]), minibatch([0, 10])], [minibatch([11, 12]), minibatch([1])]]
    return Trace(write_trace([first, second, third], halo=[[10, 12, 29], [0, 21], [0, 1]]))


def test_halo_universe(trace):
    one = load(trace, "halo")[0]
    assert one.stream.universe.node_ids.tolist() == [10, 12, 29]
    assert [one.stream.minibatch(m).tolist() for m in range(4)] == [[0, 1], [1, 2], [0], []]
    assert one.stream.remote_rows.tolist() == [3, 2, 1, 0]
    assert one.stream.halo_rows.tolist() == [2, 2, 1, 0]
    assert one.owner_rows.tolist() == [[0, 2, 1], [0, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert one.owner_of.tolist() == [1, 1, 2]


def test_remote_universe_holds_all_listed_nodes(trace):
    one = load(trace, "remote")[1]
    assert one.stream.universe.rows == 20
    assert one.stream.universe.halo_rows == 2
    assert one.stream.universe.node_ids[one.stream.ids].tolist() == [0, 21, 0, 1, 2, 29, 5, 21]
    assert one.stream.halo_rows.tolist() == [2, 1, 0, 1]


def test_head_is_the_beginning(trace):
    one = load(trace, "halo")[0].head(2)
    assert one.stream.minibatches == 2
    assert one.stream.ids.tolist() == [0, 1, 1, 2]
    assert len(one.times["step_s"]) == len(one.owner_rows) == 2


@pytest.mark.parametrize(
    ("text", "rows"), [("100%", 3), ("67%", 2), ("2", 2), ("2e0", 2), ("0.2KB", 2), ("0.1KiB", 1), (" 50 % ", 1)]
)
def test_sizes(trace, text, rows):
    assert capacity_rows(text, load(trace, "halo")[0].stream.universe, 100) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "holds 0 rows"),
        ("0%", "holds 0 rows"),
        ("10%", "holds 0 rows"),
        ("99B", "is not a size"),
        ("-1", "holds 0 rows"),
        ("-25%", "holds 0 rows"),
        ("nan", "is not a size"),
        ("nan%", "is not a size"),
        ("inf", "is not a size"),
        ("a lot", "is not a size"),
        ("", "is not a size"),
        ("0.25", r"did you mean 25%\?"),
        ("4", "4 rows, but only 3 nodes are cacheable"),
        ("101%", "holds"),
        ("1GB", "only 3 nodes are cacheable"),
    ],
)
def test_sizes_that_cannot_be(trace, text, message):
    universe = load(trace, "halo")[0].stream.universe
    if text == "101%":
        assert capacity_rows(text, universe, 100) == 3  # rounded down to whole rows
        return
    with pytest.raises(InputError, match=message):
        capacity_rows(text, universe, 100)


def test_run_facts_speak_of_the_trainers_own_partition(trace):
    inputs = load(trace, "halo")
    config = RunConfig(trace="x", trace_sha256="", agent="always", buffer="1", window=2)
    cache = make_caches(inputs, trace.header, config)[1]
    facts = run_facts(trace.header, 1, inputs[1].stream.universe, 4, config, cache.capacity_rows)
    assert (facts.rank, facts.local_nodes, facts.halo_nodes, facts.capacity_rows) == (1, 10, 2, 1)
    assert (facts.minibatches, facts.window, facts.feature_bytes) == (4, 2, 100)
    resolve("always").make().reset(facts, 0)


def test_the_id_of_a_run_depends_on_every_field():
    base = RunConfig(trace="x", trace_sha256="0", agent="never")
    changes = {
        "trace": "y",
        "trace_sha256": "1",
        "agent": "always",
        "cache": "lru",
        "buffer": "5%",
        "init": "empty",
        "universe": "remote",
        "window": 2,
        "mode": "sync",
        "link_bytes_per_s": 1.0,
        "seed": 1,
    }
    assert set(changes) <= set(RunConfig.model_fields)
    ids = {base.model_copy(update={name: value}).id for name, value in changes.items()}
    assert len(ids | {base.id}) == len(changes) + 1
    assert RunConfig.model_validate_json(base.model_dump_json()).id == base.id


def test_owner_rows_add_up(trace):
    for one in load(trace, "halo"):
        assert np.array_equal(one.owner_rows.sum(1), one.stream.remote_rows)
        assert not one.owner_rows[:, one.partition].any()


def unequal(write_trace, minibatch, **changes):
    """Trainer 0 has a minibatch an epoch less."""
    times = dict.fromkeys(TIMES, 1.0) | {"start_s": 0.0, "prepare_start_s": 0.0}
    later = times | {"start_s": 1.0, "prepare_start_s": 1.0}
    first = [[minibatch([10, 12], times)], [minibatch([10], times)]]
    second = [[minibatch([0], times), minibatch([0, 1], later)], [minibatch([5], times), minibatch([], later)]]
    changes |= {"minibatches_per_epoch": 2, "trainer_minibatches": (1, 2)}
    return Trace(write_trace([first, second], **changes))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_trainer_with_fewer_minibatches_waits_empty_handed(write_trace, minibatch, streamed):
    short, long = load(unequal(write_trace, minibatch), "remote", streamed=streamed)
    ids = short.stream.universe.node_ids
    assert [ids[short.stream.minibatch(m)].tolist() for m in range(4)] == [[10, 12], [], [10], []]
    assert short.stream.remote_rows.tolist() == [2, 0, 1, 0]
    assert long.stream.remote_rows.tolist() == [1, 2, 1, 0]
    assert short.local_rows.tolist() == [10, 0, 10, 0]
    assert short.times["forward_s"].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert short.times["start_s"].tolist() == [0.0, 1.0, 0.0, 1.0]  # from where its last step ended


def test_unequal_trainers_are_simulated_to_the_last_step_of_the_longest(write_trace, minibatch):
    trace = unequal(write_trace, minibatch)
    inputs = load(trace, "remote")
    config = RunConfig(trace="", trace_sha256="", agent="none")
    cost = CostModel(request_s=1e-3, server_s_per_row=1e-5, scatter_s_per_row=2e-5)
    ends = simulate(inputs, trace.header, resolve("none"), config, cost, from_header(trace.header, None)).times
    step_s = ends["step_s"]
    assert step_s.shape == (2, 4)
    assert (step_s[1] > step_s[0] - 1e-9)[[1, 3]].all()  # it only waits there for the other's gradients
    assert (ends["wait_s"][0, [1, 3]] > 0).all()
    assert (ends["wait_s"][1, [1, 3]] == 0).all()


def simulated(trace):
    cost = CostModel(request_s=1e-3, server_s_per_row=1e-5, scatter_s_per_row=2e-5)
    config = RunConfig(trace="", trace_sha256="", agent="none")
    cluster = from_header(trace.header, None)
    return simulate(load(trace, "remote"), trace.header, resolve("none"), config, cost, cluster)


def test_times_that_a_run_did_not_tell_are_null_and_refused_where_seconds_would_be_shown(write_trace, minibatch):
    path = write_trace([[[minibatch([10])]], [[minibatch([0])]]])
    table, header = pq.read_table(path), Trace(path).header
    at = table.column_names.index("backward_s")
    unrecorded = table.set_column(at, table.schema.field(at), pa.nulls(len(table), pa.float64()))
    groups = [unrecorded.slice(row, 1) for row in range(len(unrecorded))]
    with pq.ParquetWriter(path, unrecorded.schema) as writer:
        for group in groups:
            writer.write_table(group)
        writer.add_key_value_metadata({HEADER_KEY: header.model_dump_json()})
    trace = Trace(path)
    assert np.isnan(trace.epoch(0, 0).columns["backward_s"]).all()
    assert load(trace, "remote")[0].stream.remote_rows.tolist() == [1]  # counted all the same
    with pytest.raises(InputError, match="has no backward_s: its rows can be counted, but no time"):
        simulated(trace)


def test_another_link_for_hosts_of_unknown_links_is_refused(write_trace, minibatch):
    cluster = {"form": "ssh", "link_bytes_per_s": None}
    header = Trace(write_trace([[[minibatch([10])]], [[minibatch([0])]]])).header
    header = header.model_copy(update={"cluster": header.cluster.model_copy(update=cluster)})
    assert from_header(header, None).graph["cores"] == [2.0, 2.0]
    with pytest.raises(InputError, match="would count twice"):
        from_header(header, 1e6)
