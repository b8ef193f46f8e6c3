"""Every test that the page of invariants names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "invariants.md").read_text())


def test_every_invariant_has_its_test() -> None:
    assert len(NAMED) >= 15
    for path, name in NAMED:
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path} has no {name}"
