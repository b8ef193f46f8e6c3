"""Notebooks run from top to bottom, import what is public only, and are kept without their outputs."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def test_there_are_the_six():
    named = ["01_first_look", "02_caches", "03_agents", "04_what_if", "05_sim_vs_live", "06_papers100m"]
    assert [path.stem for path in NOTEBOOKS] == named


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped_and_imports_are_public(path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells), f"strip the outputs of {path}"
    for cell in cells:
        for node in ast.walk(ast.parse(cell.source)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.attr] if isinstance(node, ast.Attribute) else []
            assert not [name for name in names if name.startswith("_")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_imports_the_face_and_little_else(path):
    """What is imported is `sim`'s face, its figures, and no more than three names from elsewhere."""
    elsewhere = set()
    for cell in (cell for cell in read(path).cells if cell.cell_type == "code"):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Import):
                elsewhere |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module not in ("sim", "sim.figures"):
                assert not node.module.startswith("sim."), f"{path.name} imports {node.module}"
                elsewhere |= {alias.name for alias in node.names}
    assert len(elsewhere) <= 3, f"{path.name} imports {elsewhere}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_whole(path):
    notebook = read(path)
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(FOLDER)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any("text/html" in output.get("data", {}) for output in outputs)  # a table
    printed = "".join(output.get("text", "") for output in outputs)
    if "papers100m" in "".join(cell.source for cell in notebook.cells if cell.cell_type == "code"):
        assert "SYNTHETIC" in printed
