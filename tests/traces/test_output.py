"""Where commands write: places that can't be are refused before the work, and files are whole or not there."""

import errno
import os
from pathlib import Path

import pytest

from traces.errors import InputError, run_command
from traces.output import atomic_write, file_to_write, folder_to_write

TRACE = "traces/debian.parquet"
POLICY = ["--trace", TRACE, "--agent", "never", "--cache", "lru"]
FILES = {
    "agents.train": ["missing.parquet", "--out"],
    "benchmarks.winner": ["--docs"],
    "replay.validate": ["--docs"],
    "sim.calibrate": [TRACE, "--out"],
    "sim.report": ["results", "--html"],
    "traces.capture.__main__": ["--graph", "missing", "--out"],
    "traces.synthetic": ["--like", TRACE, "--out"],
}
FOLDERS = {
    "replay.live": ["--graph", "missing", "--agent", "never", "--out"],
    "replay.validate": ["--out"],
    "sim.judge": [*POLICY, "--out"],
    "sim.report": ["results", "--figures"],
    "sim.run": [*POLICY, "--out"],
    "sim.sweeps.command": ["--trace", TRACE, "--out"],
    "sim.tune": ["--trace", TRACE, "--out"],
    "traces.graphs.__main__": ["debian", "--out"],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file where a folder should be."""
    (folder := tmp_path / "place").mkdir()
    (path := folder / "file").write_text("kept")
    return path


def refused(run_cli, module: str, options: list[str], path: Path) -> str:
    code, _, err = run_cli(module, *options, str(path))
    assert code == 2, err
    assert "Traceback" not in err
    return " ".join(err.split())


@pytest.mark.parametrize("module", FILES)
def test_files_that_cannot_be_written_are_refused_first(module, file: Path, run_cli) -> None:
    assert f"{file} is a file, not a folder" in refused(run_cli, module, FILES[module], file / "x.json")
    assert f"{file.parent}: is a folder" in refused(run_cli, module, FILES[module], file.parent)
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("module", FOLDERS)
def test_folders_that_cannot_be_made_are_refused_first(module, file: Path, run_cli) -> None:
    for path in (file, file / "x"):
        assert f"{path}: {file} is a file, not a folder" in refused(run_cli, module, FOLDERS[module], path)
    assert file.read_text() == "kept"
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_that_nobody_may_write_to_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    for check, path in ((file_to_write, tmp_path / "x.json"), (folder_to_write, tmp_path / "new" / "x")):
        with pytest.raises(InputError, match=f"{path}: nothing can be written to {tmp_path}"):
            check(path)
    assert file_to_write(None) is folder_to_write(None) is None


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    with atomic_write(path) as partial:
        partial.write_text("old")
        assert not path.exists()
    with pytest.raises(UnicodeEncodeError), atomic_write(path) as partial:
        partial.write_text("half \udc00")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_later_is_said_too(file: Path) -> None:
    with pytest.raises(InputError, match=r"file/x: can't be written \(File exists\)"), atomic_write(file / "x"):
        pass


def test_residuals_in_a_format_that_nobody_knows_are_refused_first(tmp_path: Path, run_cli) -> None:
    code, _, err = run_cli("sim.calibrate", TRACE, "--out", str(tmp_path / "cost.json"), "--plot", "residuals.xyz")
    assert code == 2
    assert "--plot residuals.xyz: give it one of the endings" in err
    assert not (tmp_path / "cost.json").exists()


def test_a_full_disk_is_no_traceback_and_leaves_nothing(run_cli, tmp_path: Path, monkeypatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    (place := tmp_path / "place").mkdir()
    code, _, err = run_cli("sim.run", *POLICY, "--out", str(place / "run"))
    assert code == 2
    assert err.splitlines()[-1] == f"error: {place / 'run'}: can't be written (No space left on device)"
    assert not list(place.iterdir())


def test_a_file_that_cannot_be_read_is_named_wherever_that_comes_up(capsys) -> None:
    def read() -> None:
        Path("nowhere").read_text()

    with pytest.raises(SystemExit) as ended:
        run_command(read)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: nowhere: No such file or directory\n"
