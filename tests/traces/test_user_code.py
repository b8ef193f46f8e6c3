"""Code named by its place: loaded once, found without being run, and errors that say where."""

import os
import pickle
import subprocess
import sys

import pytest

from traces.errors import InputError
from traces.user_code import UserCode, load_file


@pytest.fixture(autouse=True)
def _modules_as_before(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_run_once_until_it_changes(folder):
    path = folder / "mine.py"
    path.write_text("class Mine: pass\nnumber = 1\n")
    first = load_file(path)
    assert load_file(path) is first
    path.write_text("class Mine: pass\nnumber = 2\n")
    assert (first.number, load_file(path).number) == (1, 2)
    assert UserCode("mine.py", "Mine").load() is load_file(path).Mine


def test_what_stands_beside_a_file_can_be_imported_and_takes_nobodys_place(folder):
    (folder / "beside_mine.py").write_text("number = 3\n")
    (folder / "json.py").write_text("raise RuntimeError('in the place of the real one')\n")
    (folder / "mine.py").write_text("import json\nfrom beside_mine import number\njson.dumps(number)\n")
    assert UserCode("mine.py", "number").load() == 3


def test_objects_of_a_files_classes_reach_another_process_that_loaded_it(folder):
    (folder / "mine.py").write_text("class Mine:\n    number = 5\n")
    (folder / "made").write_bytes(pickle.dumps(load_file(folder / "mine.py").Mine()))
    code = (
        "import pickle; from pathlib import Path; from traces.user_code import load_file; load_file(Path('mine.py')); "
        "print(pickle.loads(Path('made').read_bytes()).number)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "5\n"


def test_a_module_is_found_without_importing_its_package(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    (folder / "their_package").mkdir()
    (folder / "their_package" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / "their_package" / "policies.py").write_text("class Mine: pass\n")
    code = UserCode("their_package.policies", "Mine")
    assert code.is_there
    assert code.file == folder / "their_package" / "policies.py"
    assert len(code.sha256) == 64
    assert "their_package" not in sys.modules
    with pytest.raises(InputError, match=r"their_package.policies:Mine: can't be loaded: RuntimeError: imported"):
        code.load()


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "Mine", "mine.py:Mine: there is no file mine.py in "),
        ("class Other: pass\n", "Mine", "mine.py:Mine: mine.py has no Mine"),
        ("class Mine: pass\n", "Mine.inner", "mine.py:Mine.inner: mine.py has no inner"),
        ("\nimport no_such_thing\n", "Mine", r"can't be loaded: ModuleNotFoundError: No module .* \(mine.py, line 2\)"),
        ("class Mine:\n", "Mine", r"can't be loaded: IndentationError: expected .* \(mine.py, line 1\)"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(folder, content, name, message):
    if content is not None:
        (folder / "mine.py").write_text(content)
    modules = set(sys.modules)
    with pytest.raises(InputError, match=message) as error:
        UserCode("mine.py", name).load()
    assert "\n" not in str(error.value)
    if content is not None and "class Other" not in content and "pass" not in content:
        assert set(sys.modules) == modules


PROMPT = """
from traces.user_code import UserCode, source_sha256
class Mine:
    def decide(self): pass
print(repr(UserCode("__main__", "Mine").sha256), UserCode("__main__", "Mine").is_in_a_file)
"""


def test_what_is_defined_at_a_prompt_has_no_file(folder):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}
    options = {"env": environment, "capture_output": True, "text": True, "check": True}
    for command in ([sys.executable, "-c", PROMPT], [sys.executable]):
        done = subprocess.run(command, input=PROMPT, **options)
        assert done.stdout == "'' False\n"
    (folder / "script.py").write_text(PROMPT)
    done = subprocess.run([sys.executable, "script.py"], **options)
    assert done.stdout == f"{UserCode('script.py', 'Mine').sha256!r} True\n"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("no_such_package.policies", "there is no module no_such_package"),
        ("json.no_such_module", "there is no module json.no_such_module"),
        ("sys", "sys:Mine: there is no file built-in"),
    ],
)
def test_modules_that_are_not_there(module, message):
    with pytest.raises(InputError, match=message):
        _ = UserCode(module, "Mine").file
    assert not UserCode(module, "Mine").is_there
