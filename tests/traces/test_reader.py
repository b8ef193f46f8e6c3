"""Traces: what is written is read again, and what can't be right is refused by file, row group and column."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from traces.errors import InputError
from traces.header import FORMAT_VERSION
from traces.reader import Trace
from traces.schema import HEADER_KEY


@pytest.fixture
def path(write_trace, minibatch):
    first = [[minibatch([12, 15], {"step_s": 0.5}), minibatch([15])], [minibatch([11, 19]), minibatch([])]]
    second = [[minibatch([0, 3]), minibatch([3, 9])], [minibatch([1]), minibatch([2, 3, 4])]]
    return write_trace([first, second], halo=[[12, 15], [3]])


def rewrite(path, change_table=lambda table: table, change_header=lambda text: text, drop=None):
    """The trace again, row group by row group, with something changed; returns the path."""
    file = pq.ParquetFile(path)
    header = change_header(file.metadata.metadata[HEADER_KEY].decode())
    tables = [change_table(file.read_row_group(number)) for number in range(file.num_row_groups)]
    tables = [table.drop_columns([drop]) if drop else table for table in tables]
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
        writer.add_key_value_metadata({HEADER_KEY: header})
    return path


def set_column(table, name, values):
    """`table` with a column replaced, if it holds minibatches."""
    if table["record"][0].as_py() != "minibatch":
        return table
    position = table.column_names.index(name)
    return table.set_column(position, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def test_reads_what_was_written(path):
    trace = Trace(path)
    epoch = trace.epoch(0, 0)
    assert epoch.ids.tolist() == [12, 15, 15]
    assert epoch.offsets.tolist() == [0, 2, 3]
    assert epoch.columns["step_s"].tolist() == [0.5, 0.0]
    assert epoch.columns["input_nodes"].tolist() == [12, 11]
    assert trace.epoch(1, 1).ids.tolist() == [1, 2, 3, 4]
    nodes = trace.nodes(1)
    assert nodes.node_ids.tolist() == list(range(10))
    assert nodes.node_ids[nodes.local_degrees > 0].tolist() == [3]
    assert nodes.vip is None
    steps = trace.steps()
    assert steps.select("rank", "epoch", "minibatch").rows()[:3] == [(0, 0, 0), (0, 0, 1), (0, 1, 0)]
    assert steps["remote_rows"].to_list() == [2, 1, 2, 0, 2, 2, 1, 3]


def test_a_row_group_holds_one_epoch_of_one_trainer(path):
    file = pq.ParquetFile(path)
    shapes = [file.read_row_group(g, columns=["record", "rank", "epoch"]).to_pylist()[0] for g in range(6)]
    assert [shape["record"] for shape in shapes] == ["nodes"] * 2 + ["minibatch"] * 4
    assert [(shape["rank"], shape["epoch"]) for shape in shapes[2:]] == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_a_writer_that_fails_leaves_nothing(path, tmp_path):
    from traces.writer import TraceWriter

    header = Trace(path).header
    with pytest.raises(RuntimeError, match="half-way"), TraceWriter(tmp_path / "new.parquet", header):
        raise RuntimeError("half-way")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("remote_ids", [[15, 12], [15]], "row group 2, column remote_ids: not strictly ascending"),
        ("remote_ids", [[12, 12], [15]], "row group 2, column remote_ids: not strictly ascending"),
        ("remote_ids", [[5, 12], [15]], "row group 2, column remote_ids: an id that partition 0 owns"),
        ("remote_ids", [[12, 20], [15]], "row group 2, column remote_ids: an id outside 0 to 19"),
        ("input_nodes", [13, 11], "row group 2, column input_nodes: not the sum"),
        ("seeds", [-1, 0], "row group 2, column seeds: below 0"),
        ("fetch_s", [float("nan"), 0.0], "row group 2, column fetch_s: a time that is negative or not a finite"),
        ("wait_s", [0.0, -1e-9], "row group 2, column wait_s: a time that is negative or not a finite"),
        ("step_s", [None, 0.0], "row group 2, column step_s: has nulls"),
        ("remote_ids", [[12, None], [15]], "row group 2, column remote_ids: has nulls"),
        ("minibatch", [0, 2], "row group 2, column minibatch: not 0 to 1 in order"),
        ("owner_done_s", [[0.0], [0.0]], "row group 2, column owner_done_s: not 2 values"),
    ],
)
def test_values_that_cannot_be_are_named(path, name, values, message):
    trace = Trace(rewrite(path, lambda table: set_column(table, name, values)))
    with pytest.raises(InputError, match=message) as error:
        trace.epoch(0, 0)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda path: path.write_text("a,b\n1,2\n"), "not a parquet file, or cut short"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a parquet file, or cut short"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: rewrite(path, drop="remote_ids"), "column remote_ids is missing"),
        (lambda path: pq.write_table(pa.table({"a": [1]}), path), "not a trace"),
        (
            lambda path: rewrite(path, change_header=lambda t: t.replace('"format_version":2', '"format_version":7')),
            f"trace format version 7; this program reads versions 1 and {FORMAT_VERSION}",
        ),
        (
            lambda path: rewrite(path, change_header=lambda t: t.replace('"batch_size":10', '"batch_size":0')),
            "header field training.batch_size",
        ),
        (
            lambda path: rewrite(path, lambda t: set_column(t, "rank", [0, 0])),
            "row groups 2 and 3 both hold rank 0, epoch 0",
        ),
        (
            lambda path: rewrite(path, lambda t: set_column(t, "rank", [0, 1])),
            "row group 2, column rank: must hold one",
        ),
    ],
)
def test_files_that_are_no_traces_are_refused(path, break_it, message):
    break_it(path)
    with pytest.raises(InputError, match=message) as error:
        Trace(path)
    assert str(path) in str(error.value)


def test_damage_in_the_middle_names_the_row_group(path):
    metadata = pq.ParquetFile(path).metadata
    column = metadata.row_group(3).column(metadata.schema.names.index("record"))
    damaged = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    damaged[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    for number in range(metadata.num_columns):
        chunk = metadata.row_group(3).column(number)
        damaged[chunk.data_page_offset : chunk.data_page_offset + 20] = b"\xff" * 20
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="row group 3 can't be read"):
        Trace(path).epoch(1, 0)


def test_a_trace_without_an_epoch_is_empty(path):
    def only_nodes(text):
        return text.replace('"epochs":2', '"epochs":0')

    with pytest.raises(InputError, match="an empty trace"):
        Trace(rewrite(path, change_header=only_nodes))


def test_reading_one_trainer_reads_only_its_row_groups(path, tmp_path):
    """Damage in one trainer's rows doesn't stop another's from being read."""
    metadata = pq.ParquetFile(path).metadata
    damaged = bytearray(path.read_bytes())
    for number in range(metadata.num_columns):
        chunk = metadata.row_group(3).column(number)
        damaged[chunk.data_page_offset : chunk.data_page_offset + 20] = b"\xff" * 20
    copy = tmp_path / "copy.parquet"
    shutil.copy(path, copy)
    copy.write_bytes(damaged)
    assert [len(epoch.ids) for epoch in Trace(copy).epochs(0)] == [3, 2]


def test_info_prints_provenance_and_shape(path, run_cli):
    code, out, _ = run_cli("traces.info", str(path))
    assert code == 0
    assert out.startswith("SYNTHETIC graph: made by hand for a test")
    assert "2 epochs of 2 minibatches a trainer" in out
    assert "on cpu" in out


def test_info_says_that_trainers_computed_on_gpus(path, run_cli):
    on_gpus = rewrite(path, change_header=lambda text: text.replace('"device":"cpu"', '"device":"cuda"'))
    assert "on cuda" in run_cli("traces.info", str(on_gpus))[1]


def test_info_of_something_else_is_a_clear_error(tmp_path, run_cli):
    (tmp_path / "x.parquet").write_text("no")
    code, _, err = run_cli("traces.info", str(tmp_path / "x.parquet"))
    assert code == 2
    assert err.startswith("error: ")
    assert "x.parquet: not a parquet file" in err


def test_shape_counts_reuse(path):
    from traces.info import shape

    one = shape(Trace(path), 1)
    assert (one.rows_a_minibatch, one.distinct_rows) == (2.0, 6)
    assert one.reuse_share == pytest.approx(2 / 8)
    assert one.median_reuse_minibatches == 1
    assert one.halo_share == pytest.approx(3 / 8)
    assert np.isclose(one.remote_share, 8 / 48)
