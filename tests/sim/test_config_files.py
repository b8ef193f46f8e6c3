"""Files of options that are none: the error names option and file."""

from pathlib import Path

import pytest

TRACE = ["--trace", "traces/debian.parquet"]
OPTIONS = [
    ("sim.run", TRACE, "--policy"),
    ("sim.run", TRACE, "--cluster"),
    ("sim.run", TRACE, "--scenario"),
    ("sim.run", TRACE, "--cost"),
    ("sim.sweeps.command", TRACE, "--config"),
    ("replay.validate", [], "--grid"),
]


@pytest.mark.parametrize(("module", "others", "option"), OPTIONS)
def test_what_is_no_such_file_is_said(module, others, option, tmp_path: Path, run_cli) -> None:
    (binary := tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (text := tmp_path / "text").write_text("neither TOML nor JSON")
    (other := tmp_path / "other").write_text("" if option in ("--policy", "--cost") else "nobody_knows = 1\n")
    for path, reason in (
        (binary, ""),
        (text, ""),
        (other, ""),
        (tmp_path, "can't be read (Is a directory)"),
        (tmp_path / "missing", "can't be read (No such file or directory)"),
    ):
        code, _, err = run_cli(module, *others, option, str(path), "--out", str(tmp_path / "out"))
        assert code == 2
        assert f"error: {option} {path}: {reason}" in err
        assert not (tmp_path / "out").exists()
