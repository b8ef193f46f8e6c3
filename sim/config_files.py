"""Reading files of options into pydantic models, with errors that name the option, the file and the field."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from traces.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Model = TypeVar("Model", bound=BaseModel)


def from_toml(model: type[Model], file: Path | str | Mapping[str, Any], option: str) -> Model:
    """A TOML file, or what one would say, as a model. Raises `InputError` for a file that is none, and for the first
    thing wrong in it."""
    if isinstance(file, Mapping):
        with _naming(option.removeprefix("--")):
            return model.model_validate(file)
    with _naming(f"{option} {file}"):
        return model.model_validate(read_toml(Path(file), option))


def from_json(model: type[Model], path: Path, option: str) -> Model:
    """A JSON file as a model. Raises `InputError` for a file that is none, and for the first thing wrong in it."""
    with _naming(f"{option} {path}"):
        return model.model_validate_json(_content(path, option))


def read_toml(path: Path, option: str) -> dict[str, Any]:
    """A TOML file as a dictionary. Raises `InputError` for a file that is none."""
    try:
        return tomllib.loads(_content(path, option).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{option} {path}: no TOML file ({error})") from None


def _content(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{option} {path}: can't be read ({error.strerror})") from None


@contextmanager
def _naming(what: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        prefix = f"{place}: " if place else ""
        raise InputError(f"{what}: {prefix}{first['msg'].removeprefix('Value error, ')}") from None
