"""Read a TOML file whose keys are checked, and report all wrong keys at once.

It reads the files of analyses (:mod:`milinfer.workflow.configuration`) and of combinations
(:mod:`milinfer.workflow.combination_file`).
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from milinfer.exceptions import ConfigurationError

__all__ = ["NUMBER", "TABLE", "read_sections"]

Whole = TypeVar("Whole", bound=BaseModel)

# Pydantic adds the tag of the member of a union to the place of an error; no key is like these.
NUMBER, TABLE = "<number>", "<table>"
# Fields of a file as a whole that say where it is.
_NO_KEYS = ("folder", "source")


def read_sections(whole: type[Whole], source: Path) -> Whole:
    """Read a TOML file and check its keys.

    Parameters
    ----------
    whole
        Class of the whole file.  Its fields are the keys of the file, except ``folder`` and
        ``source``.
    source
        TOML file.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or is not TOML, or if keys are wrong.  The message names every
        wrong key with its allowed values.

    Examples
    --------
    >>> import tempfile
    >>> class Whole(BaseModel, extra="forbid"):
    ...     title: str
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.toml")
    ...     _ = file.write_text('title = "a"')
    ...     read_sections(Whole, file)
    Whole(title='a')
    """
    content = _read_toml(source)
    for key in _NO_KEYS:
        if key in content:
            msg = f"{source}:\n  {key}: unknown key; paths are relative to the file"
            raise ConfigurationError(msg)
    try:
        # As JSON, where an array may be a tuple; dates, which JSON does not have, fit no key.
        plain = json.dumps(content, default=str)
    except (RecursionError, ValueError) as error:
        msg = (
            f"{source}: tables are nested too deep, or a number has too many digits "
            f"({error}); correct it"
        )
        raise ConfigurationError(msg) from error
    try:
        return whole.model_validate_json(plain)
    except ValidationError as error:
        lines = [f"  {_problem(problem, whole)}" for problem in error.errors()]
        raise ConfigurationError("\n".join([f"{source}:", *dict.fromkeys(lines)])) from error


_LARGEST = 1 << 20
_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_DEEP = re.compile(rf"(?<![\w-])(?:{_PART}){{32}}")


def _read_toml(source: Path) -> dict[str, Any]:
    """Content of a TOML file; refuses files that cannot be a configuration."""
    try:
        with source.open(encoding="utf-8") as file:
            text = file.read(_LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read {source}: {error}"
        raise ConfigurationError(msg) from error
    if len(text) > _LARGEST:
        msg = f"{source} has more than {_LARGEST} characters, so it is no configuration; "
        raise ConfigurationError(msg + "correct the path")
    # The memory of tomllib grows with the square of the parts of a key: 100 000 take 40 GB.
    deep = _DEEP.search(text)
    if deep is not None:
        line = text.count("\n", 0, deep.start()) + 1
        msg = f"{source}: line {line} has a key nested too deep; correct it"
        raise ConfigurationError(msg)
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        msg = f"{source}: lists or tables are nested too deep; correct it"
        raise ConfigurationError(msg) from error
    except ValueError as error:  # also of numbers with too many digits
        msg = f"{source} is not TOML: {error}; correct it"
        raise ConfigurationError(msg) from error


def _problem(problem: Mapping[str, Any], whole: type[BaseModel]) -> str:
    """One line about one key."""
    place = _place(problem["loc"], whole)
    key = ""
    for part in place:
        key += f"[{part + 1}]" if isinstance(part, int) else f".{_key(part)}" if key else _key(part)
    kind, value = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        keys = _keys_of(place[:-1], whole)
        close = difflib.get_close_matches(str(place[-1]), keys, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"{key}: unknown key; {hint}known: {', '.join(keys)}"
    if kind == "missing":
        return f"{key}: missing"
    if kind == "literal_error":
        return f"{key}: {value!r} is not {problem['ctx']['expected']}"
    if kind == "value_error":
        return f"{key or 'file'}: {problem['ctx']['error']}"
    instead = "" if isinstance(value, (dict, list)) else f" (not {value!r})"
    return f"{key}: {problem['msg']}{instead}"


def _place(location: Sequence[int | str], whole: type[BaseModel]) -> list[int | str]:
    """Keys and indices of a place in the file.

    Members of a union add their type to the location, which is no key of the file.
    """
    place: list[int | str] = []
    section: type[BaseModel | dict[str, Any]] | None = whole
    for part in location:
        if isinstance(part, int):
            place.append(part)
        elif part in (NUMBER, TABLE):
            continue
        elif section is not None:
            place.append(part)
            fields = section.model_fields if issubclass(section, BaseModel) else {}
            section = _section_of(fields[part].annotation) if part in fields else None
    return place


def _key(name: str) -> str:
    """A key as it is in the file, in quotes where TOML needs them."""
    return name if re.fullmatch(r"[\w-]+", name) else json.dumps(name, ensure_ascii=False)


def _keys_of(place: Sequence[int | str], whole: type[BaseModel]) -> list[str]:
    """Keys that the section at a place in the file may have."""
    section: Any = whole
    for part in place:
        if isinstance(part, str):
            section = _section_of(section.model_fields[part].annotation)
    return [name for name in section.model_fields if name not in _NO_KEYS]


def _section_of(annotation: Any) -> type[BaseModel | dict[str, Any]] | None:
    """Section or table, perhaps of a list of them, or None for what has no keys."""
    kind = get_origin(annotation) or annotation
    if isinstance(kind, type) and issubclass(kind, (BaseModel, dict)):
        return kind
    return next((s for s in map(_section_of, get_args(annotation)) if s is not None), None)
