"""The page of configurations names every field, with its default, and its files can be read."""

import re
from pathlib import Path

import pytest
from blocks import blocks
from pydantic import BaseModel

from sim.cluster.clusterfile import ClusterFile, HostPart, LinkPart, RackPart, read_cluster
from sim.cluster.scenario import Congestion, Scenario, SlowHost, read_scenario
from sim.config import RunConfig

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def rows() -> dict[str, str]:
    """Defaults by field, as the page's table has them."""
    found = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `"):
            names, default = line.split("|")[1:3]
            found |= {name: default.strip() for name in re.findall(r"`(\w+)`", names)}
    return found


def test_every_field_is_there_with_its_default() -> None:
    said = rows()
    assert list(said) == list(RunConfig.model_fields)
    for name, field in RunConfig.model_fields.items():
        if field.default not in (None, "") and not field.is_required():
            assert said[name].strip("`") == str(field.default), name


@pytest.mark.parametrize(
    ("name", "read", "models"),
    [
        ("cluster.toml", read_cluster, (ClusterFile, LinkPart, HostPart, RackPart)),
        ("scenario.toml", read_scenario, (Scenario, Congestion, SlowHost)),
    ],
)
def test_files_have_every_key(name, read, models: tuple[type[BaseModel], ...], tmp_path: Path) -> None:
    [text] = [block.text for block in blocks(PAGE) if block.text.startswith(f"# results/{name}")]
    path = tmp_path / name
    path.write_text(text)
    assert read(path)
    for key in {key for model in models for key in model.model_fields} - {"shared_cores"}:
        assert re.search(rf"^(\[+{key}\]|{key} =)", text, re.M), f"{name}: {key}"
