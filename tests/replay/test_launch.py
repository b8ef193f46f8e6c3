"""What is left of a live run that is ended, and of options that can't be."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from replay.comparison import compare
from replay.launch import trace_file
from traces.capture.launch import fragments_of
from traces.cluster.errors import ClusterError
from traces.reader import Trace


def running(graph_dir: Path, part_config: Path, folder: Path) -> subprocess.Popen[str]:
    """A live run that would take long."""
    cluster = ["--graph", str(graph_dir), "--local", "2", "--partitions", str(part_config.parent)]
    training = ["--fanout", "4,4", "--batch", "60", "--epochs", "500", "--cache", "lru", "--init", "empty"]
    command = [sys.executable, "-m", "replay.live", *cluster, *training, "--out", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def first_epoch_is_recorded(folder: Path) -> bool:
    fragments = fragments_of(trace_file(folder))
    return all((fragments / f"rank{rank}-epoch0.parquet").exists() for rank in range(2))


def test_an_ended_run_keeps_its_whole_epochs_and_says_so(graph_dir, part_config, tmp_path, wait_until) -> None:
    folder = tmp_path / "run"
    with running(graph_dir, part_config, folder) as ended:
        wait_until(lambda: first_epoch_is_recorded(folder))
        ended.terminate()
        _, err = ended.communicate(timeout=600)
    assert ended.returncode == 143, err
    assert "terminated" in err
    assert "whole epochs are kept in" in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    header = Trace(folder / "trace.parquet").header
    assert header.epochs >= 1
    assert not header.complete
    assert len(pl.read_parquet(folder / "epochs.parquet")) == header.epochs
    assert compare(folder).differences == []


def test_a_killed_run_can_be_recovered(graph_dir, part_config, tmp_path, run_cli, wait_until) -> None:
    folder = tmp_path / "run"
    with running(graph_dir, part_config, folder) as killed:
        wait_until(lambda: first_epoch_is_recorded(folder))
        os.kill(killed.pid, signal.SIGKILL)
    assert not folder.exists()
    code, _, err = run_cli("replay.live", "--recover", "--out", str(folder))
    assert code == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not Trace(folder / "trace.parquet").header.complete
    assert compare(folder).differences == []


DYING = """
from sim.caches.lookahead import LookAhead

class Dying(LookAhead):
    def foresee(self, ids):
        if self.foreseen == 2 * self.epoch + 7:
            raise RuntimeError("the trainer's disk caught fire")
        super().foresee(ids)
"""


def test_trainers_that_die_while_they_sample_ahead_leave_the_whole_epochs(live_run, tmp_path) -> None:
    code, folder = tmp_path / "dying.py", tmp_path / "run"
    code.write_text(DYING)
    with pytest.raises(ClusterError, match="the trainer's disk caught fire"):
        live_run(folder, "never", cache=f"{code}:Dying:4", buffer="30%", universe="remote", capture={"epochs": 4})
    header = Trace(folder / "trace.parquet").header
    assert header.epochs == 2
    assert not header.complete
    assert compare(folder, trust=True).differences == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dying.py", "run"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--graph is missing"),
        (["--graph", "GRAPH", "--cache", "min"], "min must know the future"),
        (["--graph", "GRAPH", "--cache", "lookahead:4,epochs=across"], "no live loader knows the next epoch's order"),
        (["--graph", "GRAPH", "--agent", "oracle:8"], "not for a live run"),
        (["--graph", "GRAPH", "--buffer", "200%"], "--buffer '200%'"),
        (["--graph", "GRAPH", "--agent", "pipeline", "--cache", "lru"], "has no buffer"),
        (["--graph", "GRAPH", "--agent", "pipeline", "--check"], "--check holds rows of a buffer"),
        (["--graph", "GRAPH", "--policy", "nowhere.json"], "--policy nowhere.json"),
        (["--graph", "GRAPH", "--model", "GCN"], "model 'GCN'"),
        (["--graph", "GRAPH", "--model", "GAT", "--hidden", "30"], "heads"),
        (["--graph", "GRAPH", "--out", "GRAPH"], "exists already"),
        (["--graph", "GRAPH", "--hosts", "hosts.txt", "--link", "1gbit"], "--link 1gbit"),
    ],
)
def test_options_that_cannot_be(options, message, graph_dir, part_config, tmp_path, run_cli) -> None:
    given = [str(graph_dir) if option == "GRAPH" else option for option in options]
    where = [] if "--out" in options else ["--out", str(tmp_path / "run")]
    local = [] if "--hosts" in options else ["--local", "2"]
    code, _, err = run_cli("replay.live", *local, "--partitions", str(part_config.parent), *given, *where)
    assert code == 2
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fitted_on", [[], ["--fitted-on", "traces/debian.parquet"]])
def test_folders_that_hold_no_live_run(fitted_on, tmp_path: Path, run_cli) -> None:
    code, _, err = run_cli("replay.compare", str(tmp_path), *fitted_on)
    assert code == 2
    assert "holds no live run" in err
