"""Commands as they are kept: without what nobody else may read."""

import sys

import pytest

from traces.terminal import command_line


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--trace", "a b.parquet"], "--trace 'a b.parquet'"),
        (["--model-host", "http://me:pass@gpu0:11434"], "--model-host 'http://***@gpu0:11434'"),
        (["--ollama-host=me:p@ss@gpu0,key@gpu1/x"], "'--ollama-host=***@gpu0,***@gpu1/x'"),
        (["--model-host", "gpu0", "--ssh", "ssh -l me me@gpu0"], "--model-host gpu0 --ssh 'ssh -l me me@gpu0'"),
    ],
)
def test_a_command_is_kept_without_passwords(given, kept, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sim.judge", *given])
    assert command_line("sim.judge") == f"python -m sim.judge {kept}"
