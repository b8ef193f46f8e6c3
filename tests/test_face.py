"""What all commands have in common: help with examples, JSON for machines, exit codes, short names to complete."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from replay.scripts import COMMANDS, SHELLS

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sys.executable).parent
COMMAND_OF = {"sim.sweeps.command": "sim.sweep"}
"""What people type for modules of another name."""

WRAPS = ("traces.record",)
"""Commands whose output is that of the script that they run."""

PRINTS_ONLY = ("traces.info",)
"""Commands that do nothing but print."""


SLOW = (
    "polars", "pyarrow", "numba", "scipy", "networkx", "simpy", "pydantic", "matplotlib", "jinja2", "torch", "dgl",
    "ogb", "sklearn", "xgboost", "optuna", "ray", "ollama", "httpx", "xllamacpp",
)  # fmt: skip
"""Libraries that are imported where they are used."""


def run(*words, **environment):
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | environment, timeout=600, cwd=ROOT)


@pytest.mark.parametrize("module", COMMANDS.values())
def test_help_has_examples_and_the_common_options(module, run_cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run_cli(module, "--help")
    assert code == 0
    assert "Example" in out
    assert f"python -m {COMMAND_OF.get(module, module).removesuffix('.__main__')} " in out
    if module not in WRAPS:
        assert "--json" in out
        assert "--quiet" in out or module in PRINTS_ONLY


def test_help_imports_no_library_that_takes_long():
    """`python -m benchmarks.help` says how long it takes."""
    code = f"""
import sys
from importlib import import_module
for module in {list(COMMANDS.values())}:
    try:
        import_module(module).app(["--help"])
    except SystemExit:
        pass
sys.exit(repr(sorted(name for name in {SLOW} if name in sys.modules)))
"""
    assert run(sys.executable, "-c", code).stderr.strip() == "[]"


@pytest.mark.parametrize("module", COMMANDS.values())
def test_what_cannot_be_is_exit_code_2(module, run_cli):
    code, _, err = run_cli(module, "--no-such-option")
    assert code == 2
    assert "No such option" in err


def test_json_is_all_that_stdout_holds():
    done = run(sys.executable, "-m", "traces.info", "traces/debian.parquet", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["rows"]) == 4


def test_a_row_is_a_line_in_a_pipe():
    done = run(sys.executable, "-m", "traces.info", "traces/debian.parquet")
    lines = done.stdout.splitlines()
    assert any(line.count("minibatches") == 1 and line.count(" ms") == 2 for line in lines)
    assert "\x1b" not in done.stdout


def test_every_command_has_a_script():
    scripts = {one.name for one in entry_points(group="console_scripts") if one.name.startswith("rudder-")}
    assert scripts == {*COMMANDS, "rudder-completion"}
    for name in scripts:
        assert (SCRIPTS / name).exists(), f"{name}: install the project again"


def test_options_and_their_values_are_completed():
    asked = {"_RUDDER_RUN_COMPLETE": "complete_bash", "COMP_CWORD": "2", "COMP_WORDS": "rudder-run --universe "}
    assert run(str(SCRIPTS / "rudder-run"), **asked).stdout.split() == ["halo", "remote"]


def test_a_shell_is_told_of_all_commands():
    script = run(str(SCRIPTS / "rudder-completion"), "bash").stdout
    for name in COMMANDS:
        assert f"complete -o default -F _{name.replace('-', '_')}_completion {name}" in script
    assert run("bash", "-n", "-c", script).returncode == 0
    refused = run(str(SCRIPTS / "rudder-completion"), "tcsh")
    assert refused.returncode == 2
    assert ", ".join(SHELLS) in refused.stderr
