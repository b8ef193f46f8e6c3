"""Every command in the pages of the project is run, as it stands there or with a change that stands there too."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import blocks

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "traces/README.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
]
PYTHON = (ROOT / "docs/python.md",)
"""Pages whose ```python blocks are run as well, each by itself."""

FOLDERS = ("agents", "benchmarks", "docs", "notebooks", "replay", "sim", "tests", "traces")
FILES = ("README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")
COMMAND = re.compile(r"^\s*(python -m|make) ", re.M)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the project to run commands in. Compiled code comes along, as times of files are kept."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in FILES:
        shutil.copy2(ROOT / name, tmp_path)
    os.utime(tmp_path / "pyproject.toml", (0, 0))  # or make would install this copy into the environment
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_are_not_run_say_why(page):
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        if block.language == "bash":
            assert block.reason is None or len(block.reason) > 10, f"{where}: why is it not run?"
        else:
            assert not COMMAND.search(block.text), f"{where}: commands belong into a block of ```bash"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_work(page, checkout):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}
    for block in blocks(page):
        if block.write(checkout) or block.reason is not None:
            continue
        if block.language == "python" and page in PYTHON:
            done = subprocess.run(
                [sys.executable, "-c", block.text], cwd=checkout, env=environment, capture_output=True, text=True,
                timeout=300, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{page.name}, line {block.line}:\n{block.text}\n{done.stderr[-2000:]}"
        if block.language != "bash":
            continue
        script = block.text
        if change := block.note.partition("run with:")[2].strip():
            script = subprocess.run(
                ["sed", "-E", change], input=script, capture_output=True, text=True, check=True
            ).stdout
            assert script != block.text, f"{page.name}, line {block.line}: the change changes nothing"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=checkout, env=environment, capture_output=True, text=True,
            timeout=1200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (
            f"{page.name}, line {block.line}:\n{script}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
