import subprocess
import sys

import pytest

from traces.cluster.process import load_entry
from traces.errors import InputError


def test_entry_of_a_module():
    from traces.cluster.link import parse_link

    assert load_entry("traces.cluster.link:parse_link") is parse_link


def test_entry_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_it.py").write_text("NUMBER = 7\n")
    (tmp_path / "script.py").write_text("from beside_it import NUMBER\ndef main(arguments):\n    return NUMBER\n")
    monkeypatch.chdir(tmp_path)
    assert load_entry("script.py:main")({}) == 7
    function = load_entry(f"{tmp_path}/script.py:main")
    assert sys.modules[function.__module__].main is function  # so it can be pickled


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("traces.cluster.link", "write module:function"),
        (":main", "write module:function"),
        ("traces.cluster.link:", "write module:function"),
        ("nowhere/script.py:main", "there is no file"),
        ("traces.cluster.link:nothing", "has no function nothing"),
    ],
)
def test_bad_entries(entry, message):
    with pytest.raises(InputError, match=message):
        load_entry(entry)


def test_import_is_cheap():
    modules = "local, partition, process, zygote, link"
    code = f"import sys; from traces.cluster import {modules}; print({{'torch', 'dgl', 'polars'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
