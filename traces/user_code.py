"""Users' code, named by file (`path/to/file.py`) or module (`package.module`): found, identified by a checksum, loaded.

Nothing of it runs before `load` is called.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from traces.checksum import sha256_of
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class UserCode:
    """An object in a file or module: `source` is `path/to/file.py` or `package.module`, `name` the object's name
    there."""

    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"

    @property
    def is_file(self) -> bool:
        """Whether it is named by a file, and not by a module that Python can import."""
        return self.source.endswith(".py")

    @property
    def is_there(self) -> bool:
        """Whether the file or module exists."""
        return self.source == "__main__" or self.is_in_a_file

    @property
    def is_in_a_file(self) -> bool:
        """Whether it has a file that exists; code from a notebook or a prompt has none."""
        try:
            return self.file.is_file()
        except InputError:
            return False

    @property
    def file(self) -> Path:
        """The file that it stands in. Raises `InputError` where there is none."""
        path = Path(self.source if self.is_file else _origin(self.source))
        if not path.is_file():
            place = "" if path.is_absolute() else f" in {os.getcwd()}"
            raise InputError(f"{self}: there is no file {path}{place}")
        return path

    @property
    def sha256(self) -> str:
        """The checksum of the whole file, or of a class that was defined in a notebook; "" where such a class has no
        source. Raises `InputError` where there is no file."""
        if self.source == "__main__" and not self.is_in_a_file:
            return source_sha256(self.load())
        return sha256_of(self.file)

    def load(self) -> Any:
        """Run the file or import the module, and return the object. Raises `InputError` where that fails."""
        try:
            found: Any = load_file(self.file) if self.is_file else import_module(self.source)
        except InputError:
            raise
        except Exception as error:
            raise self.failed("can't be loaded", error) from error
        for part in self.name.split("."):
            if not hasattr(found, part):
                raise InputError(f"{self}: {self.source} has no {part}")
            found = getattr(found, part)
        return found

    def failed(self, what: str, error: Exception) -> InputError:
        """The `InputError` for an exception of this code: one line, with the line number in the file."""
        name = self.file.name if self.is_in_a_file else ""
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if Path(frame.filename).name == name]
        lines += [error.lineno] if isinstance(error, SyntaxError) else []
        where = f" ({name}, line {lines[-1]})" if lines else ""
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        return InputError(f"{self}: {what}: {type(error).__name__}: {message}{where}")


def source_sha256(defined: type) -> str:
    """The checksum of a class's source: of its module's file, or for notebooks of its functions, as `inspect` finds
    them. "" without either."""
    file = getattr(sys.modules.get(defined.__module__), "__file__", None)
    if file is not None and Path(file).is_file():  # the file of a script from a pipe is <stdin>
        return sha256_of(Path(file))
    try:
        functions = [inspect.getsource(one) for one in vars(defined).values() if inspect.isfunction(one)]
    except OSError:
        return ""
    return hashlib.sha256("".join(functions).encode()).hexdigest() if functions else ""


def load_file(path: Path) -> ModuleType:
    """A file as a module. It is run again only when its content has changed.

    The file can import what lies in its folder, which comes last on `sys.path`. Its name in `sys.modules` is unique and
    the same in every process, so that objects of its classes can be pickled.
    """
    path, content = path.resolve(), path.read_bytes()
    name = f"{path.stem}_{hashlib.sha256(bytes(path) + b' ' + content).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(path)
    try:
        exec(compile(content, path, "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _origin(module: str) -> str:
    """The file of a module. Unlike `importlib.util.find_spec`, this imports no package on the way to it."""
    if (path := getattr(sys.modules.get(module), "__file__", None)) is not None:
        return str(path)
    if module == "__main__":
        raise InputError("what is defined in a notebook has no file")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as for `python -m`; scripts that pip installs lack it
    places, origin = None, None
    for name in accumulate(module.split("."), "{}.{}".format):
        specs = (finder.find_spec(name, places) for finder in sys.meta_path)
        spec = next((one for one in specs if one is not None), None)
        if spec is None:
            raise InputError(f"there is no module {name}")
        try:
            places, origin = list(spec.submodule_search_locations or ()), spec.origin
        except KeyError:  # a namespace package inside another one looks for its parent among what is imported
            raise InputError(f"{name}: has no __init__.py; give it one, or name the file") from None
    if origin is None:
        raise InputError(f"{module}: has no file of its own; name a module in it")
    return origin
