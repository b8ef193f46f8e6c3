"""Behind a launcher that is not ours: machines behind ssh, DGL's servers beside torchrun's trainers."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from traces.job.script import with_launchers_words
from traces.reader import Trace

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("hosts_here", HERE.parent / "cluster" / "hosts_here.py")
hosts_here = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hosts_here)


def test_torchrun_over_ssh_records_a_script(homogeneous: Path, scripts: Path, tmp_path: Path) -> None:
    if reason := hosts_here.refusal("ssh"):
        pytest.skip(reason)
    daemons, logs, out = tmp_path / "daemons", tmp_path / "logs", tmp_path / "t.parquet"
    daemons.mkdir()
    logs.mkdir()
    record = ["-m", "traces.record", "--out", str(out), "--synthetic", "made for a test", "--link", "10gbit", "--"]
    script = [str(scripts / "node_classification.py"), "--graph_name", "mine", "--ip_config", "{ip_config}"]
    launch = [sys.executable, str(HERE / "launch_by_ssh.py"), hosts_here.ssh(daemons), str(logs), str(homogeneous)]
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    done = subprocess.run(
        hosts_here.here("ssh", 2, daemons, [*launch, *record, *script]),
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    told = "\n".join(log.read_text(errors="replace")[-2000:] for log in sorted(logs.glob("*.log")))
    assert done.returncode == 0, done.stderr + told
    header = Trace(out).header
    assert header.complete
    assert header.trainer_minibatches == (12, 13)
    assert header.cluster.link_bytes_per_s == 1.25e9
    assert not list(tmp_path.glob("*.fragments*"))


@pytest.mark.parametrize("word", ["--local-rank=1", "--local_rank=1"])
def test_torchs_older_launcher_tells_the_script_its_rank(run_cli, monkeypatch, tmp_path: Path, word: str) -> None:
    """It puts the word before the prefix' own, as before those of a script."""
    code, _, err = run_cli("traces.record", word, "--out", str(tmp_path / "t.parquet"))
    assert code == 2
    assert "no script" in err
    monkeypatch.setattr(sys, "argv", ["traces.record", word, "--out", "t.parquet", "--", "train.py", "--batch", "5"])
    assert with_launchers_words(["train.py", "--batch", "5"]) == ["train.py", word, "--batch", "5"]
    monkeypatch.setattr(sys, "argv", ["traces.record", "--out", "t.parquet", "train.py", word])
    assert with_launchers_words(["train.py", word]) == ["train.py", word]
