"""Policies and caches of a user's own, in spec strings and as objects.

path/to/file.py:CLASS             a class in a file
package.module:CLASS              a class that Python can import
NAME                              one that an installed package registers under this name, as an entry point
...:CLASS:threshold=.5            with options, as every spec string (`agents.spec`)
object:NAME                       an object that was made in Python, and can't be made again from its name
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import socket
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from agents.spec import Renames, Spec, options, parse_spec
from traces.errors import InputError
from traces.user_code import UserCode, source_sha256

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

CODE = re.compile(r"(?P<source>.+?\.py|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*(\.\w+)*)(:(?P<rest>.*))?")
OBJECT = "object"
DIGITS = 16
"""Digits of a checksum that messages show."""


@dataclass(frozen=True, slots=True)
class UserSpec:
    """A spec string that names a user's code: the code, and the spec with its options."""

    code: UserCode
    spec: Spec

    def arguments(self, target: type) -> tuple[str, dict[str, Any]]:
        """The spec string with its options written out, and the options (`agents.spec.options`)."""
        given = options(self.spec, target)
        written = ",".join(f"{name}={value}" for name, value in given.items())
        return f"{self.spec.name}:{written}" if written else self.spec.name, given


@dataclass(frozen=True, slots=True)
class Names:
    """The names that spec strings may use: ours, and those of users' code.

    `kind` is the noun in messages, `ours` maps our names to their usage, `formerly` holds former names, and `group` is
    the entry-point group of other packages.
    """

    kind: str
    ours: Mapping[str, str]
    formerly: Renames
    group: str

    def user_spec(self, text: str) -> UserSpec | None:
        """The user's code that a spec string names; None if it names something of ours or an object.

        Nothing of it is run. Raises `InputError` for a name that there is not.
        """
        spec = parse_spec(self.formerly.now(text))
        if spec.name in self.ours or spec.name == OBJECT:
            return None
        if (entry := self.registered().get(spec.name)) is not None:
            return UserSpec(UserCode(entry.module, entry.attr), spec)
        if (found := CODE.fullmatch(spec.text)) is not None:
            code = UserCode(str(PurePath(found["source"])), found["name"])
            if code.is_file or "." in code.source or code.is_there:
                return UserSpec(code, Spec(spec.text, str(code), found["rest"] or ""))
        there_are = ", ".join([*self.ours.values(), *self.registered()])
        raise InputError(
            f"there is no {self.kind} {spec.name!r}; there are {there_are}; and of your own FILE.py:CLASS and "
            "PACKAGE.MODULE:CLASS"
        )

    def user_code(self, text: object) -> UserCode | None:
        """The user's code that a spec string names; None for anything else, names that don't exist included."""
        try:
            found = self.user_spec(text) if isinstance(text, str) else None
        except InputError:
            found = None
        return found.code if found is not None else None

    def registered(self) -> dict[str, EntryPoint]:
        """Entry points of installed packages by name. One that has a name of ours is left out."""
        from importlib.metadata import entry_points  # takes longer than all else here

        found = sorted(entry_points(group=self.group), key=lambda one: one.name)
        return {one.name: one for one in found if one.name not in self.ours}


def spec_of(defined: type) -> str:
    """The spec string of a class. Raises `InputError` for a class that can't be imported by name."""
    if "<locals>" in defined.__qualname__:
        raise InputError(f"{defined.__qualname__}: is defined inside of a function; define it outside of it")
    module = sys.modules[defined.__module__]
    loaded = module.__spec__ is None and module.__name__ != "__main__"  # `traces.user_code.load_file`
    return f"{module.__file__ if loaded else module.__name__}:{defined.__qualname__}"


def object_sha256(made: object) -> str:
    """The checksum of an object's class and state; "" where the class has no source or the state can't be pickled."""
    source = source_sha256(type(made))
    try:
        state = pickle.dumps(vars(made), protocol=4)
    except Exception:  # whatever it holds says why it can't be pickled in its own way
        return ""
    return hashlib.sha256(source.encode() + state).hexdigest() if source else ""


def check_source(spec: str, now: str, recorded: str) -> None:
    """Raise `InputError` where the source has changed since the configuration was made."""
    if recorded and now != recorded:
        raise InputError(
            f"{spec}: its source has the checksum {now[:DIGITS]}, and the configuration was made with "
            f"{recorded[:DIGITS]}; bring that source back, or start from the spec instead of the configuration"
        )


def require_trust(where: str, specs: Collection[str], trust: bool) -> None:
    """Raise `InputError` where a file names users' code and `trust` wasn't given."""
    if specs and not trust:
        raise InputError(
            f"{where}: names code that would run here, {' and '.join(specs)}; look at it, then add --trust "
            "(in Python: trust=True)"
        )


def enter_folder(folder: Path, specs: Collection[str]) -> None:
    """Change to the folder in which a command was given, in a process on any host, so that users' code is found under
    the same name. Does nothing without `specs`. Raises `InputError` for code in a file on a host that doesn't have the
    folder."""
    if not specs:
        return
    if folder.is_dir():
        os.chdir(folder)
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    elif any(".py:" in spec for spec in specs):
        raise InputError(
            f"{' and '.join(specs)}: host {socket.gethostname()} has no folder {folder}; share it among the hosts, or "
            "install a package that has the code on each"
        )
