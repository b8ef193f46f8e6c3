"""Partitions as users have them, and jobs of theirs on two machines."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture(scope="session")
def scripts() -> Path:
    """The folder of the users' scripts."""
    return SCRIPTS


def make_partition(kind: str, folder: Path, parts: int = 2) -> Path:
    command = [sys.executable, str(SCRIPTS / "make_partition.py"), kind, str(folder), str(parts)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder.parent)  # METIS leaves files there
    return folder / "mine.json"


@pytest.fixture(scope="session")
def homogeneous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DGL's configuration of a graph with one node type in two parts."""
    return make_partition("homogeneous", tmp_path_factory.mktemp("homogeneous") / "parts")


@pytest.fixture(scope="session")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a graph with three."""
    return make_partition("typed", tmp_path_factory.mktemp("typed") / "parts")
