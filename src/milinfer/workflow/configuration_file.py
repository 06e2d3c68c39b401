"""``analysis.toml`` read: what is wrong is said all at once, by key, with the values allowed."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from milinfer.exceptions import ConfigurationError
from milinfer.typing import PathLikeStr
from milinfer.workflow.configuration import AnalysisConfig

__all__ = ["read_configuration"]

_LARGEST = 1 << 20
_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_DEEP = re.compile(rf"(?<![\w-])(?:{_PART}){{32}}")


def read_configuration(path: PathLikeStr) -> AnalysisConfig:
    r"""Read and check ``analysis.toml``.

    Parameters
    ----------
    path
        TOML file; relative paths in it start at its folder.

    Raises
    ------
    ConfigurationError
        Names every key that is wrong, with the values allowed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "analysis.toml")
    ...     _ = file.write_text('[data]\npath = "d.root"\n[samples]\ntrain = []\n')
    ...     read_configuration(file)
    Traceback (most recent call last):
    ...
    milinfer.exceptions.ConfigurationError: .../analysis.toml:
      samples.train: List should have at least 1 item after validation, not 0
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read {source}: {error}"
        raise ConfigurationError(msg) from error
    if len(text) > _LARGEST:
        msg = f"{source} has {len(text)} characters, and a configuration at most {_LARGEST}: "
        raise ConfigurationError(msg + "correct the path")
    # The memory of tomllib grows with the square of the parts of a key: 100 000 take 40 GB.
    deep = _DEEP.search(text)
    if deep is not None:
        line = text.count("\n", 0, deep.start()) + 1
        msg = (
            f"{source}: line {line} has a key nested too deep; nothing known needs that, correct it"
        )
        raise ConfigurationError(msg)
    try:
        content = tomllib.loads(text)
    except RecursionError as error:
        msg = f"{source}: lists or tables are nested too deep; nothing known needs that, correct it"
        raise ConfigurationError(msg) from error
    except ValueError as error:  # also of numbers with too many digits
        msg = f"{source} is not TOML: {error}; correct it"
        raise ConfigurationError(msg) from error
    for own in ("folder", "source"):
        if own in content:
            msg = f"{source}:\n  {own}: unknown key; paths are relative to the file"
            raise ConfigurationError(msg)
    try:
        # As JSON, where an array may be a tuple; dates, which JSON does not have, fit no key.
        own_keys = {"folder": str(source.parent), "source": str(source)}
        plain = json.dumps({**content, **own_keys}, default=str)
    except (RecursionError, ValueError) as error:
        msg = (
            f"{source}: tables nested too deep, or a number of too many digits ({error}); "
            "correct it"
        )
        raise ConfigurationError(msg) from error
    try:
        return AnalysisConfig.model_validate_json(plain)
    except ValidationError as error:
        lines = [f"  {_problem(problem)}" for problem in error.errors()]
        raise ConfigurationError("\n".join([f"{source}:", *dict.fromkeys(lines)])) from error


def _problem(problem: Mapping[str, Any]) -> str:
    """One line about one key."""
    # Members of a union add their type to the place; only the key helps.
    place = [p for p in problem["loc"] if not _is_type(p)]
    key = ""
    for part in place:
        key += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if key else str(part)
    kind, given = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        known = _known(place[:-1])
        close = difflib.get_close_matches(str(place[-1]), known, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"{key}: unknown key; {hint}known: {', '.join(known)}"
    if kind == "missing":
        return f"{key}: missing"
    if kind == "literal_error":
        return f"{key}: {given!r} is not {problem['ctx']['expected']}"
    if kind == "value_error":
        return f"{key or 'file'}: {problem['ctx']['error']}"
    shown = "" if isinstance(given, (dict, list)) else f" (not {given!r})"
    return f"{key}: {problem['msg']}{shown}"


def _is_type(part: int | str) -> bool:
    return isinstance(part, str) and (part in {"str", "int", "float"} or "[" in part)


def _known(place: Sequence[int | str]) -> list[str]:
    """Keys of the section at a place."""
    section: type[BaseModel] = AnalysisConfig
    for part in place:
        if isinstance(part, str):
            section = _section_of(section.model_fields[part].annotation)
    return [name for name in section.model_fields if name not in ("folder", "source")]


def _section_of(annotation: Any) -> type[BaseModel]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        try:
            return _section_of(inner)
        except LookupError:
            continue
    raise LookupError(annotation)
