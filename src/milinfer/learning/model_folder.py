"""Directories of saved models: written whole or not at all, read with every check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from milinfer.exceptions import ModelError
from milinfer.typing import PathLikeStr
from milinfer.utils.files import atomic_folder
from milinfer.utils.json_text import parse_json
from milinfer.utils.paths import file_hash

__all__ = ["new_model_folder", "read_json", "require_format", "require_unchanged"]


@contextmanager
def new_model_folder(path: PathLikeStr) -> Iterator[Path]:
    """Directory to write a model into, which becomes `path` when the block ends well.

    It is written beside its place and then renamed, so that it is whole or not there; an older
    model in its place is replaced.

    Raises
    ------
    ModelError
        If `path` is something else than a model.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     target = pathlib.Path(parent, "model")
    ...     with new_model_folder(target) as folder:
    ...         _ = (folder / "model.json").write_text("{}")
    ...         before = target.exists()
    ...     before, (target / "model.json").exists()
    (False, True)
    """
    target = Path(path)
    if target.exists() and not (target / "model.json").exists():
        msg = f"{target} exists and is not a milinfer model; choose another directory"
        raise ModelError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as folder:
        yield folder


def require_unchanged(file: Path, saved: str) -> None:
    """Refuse a file that is missing or has another checksum than the one `saved` with it.

    Raises
    ------
    ModelError
        The message names the file.

    Examples
    --------
    >>> require_unchanged(Path("trees.ubj"), "e3b0")
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: trees.ubj is missing; restore it or train again
    """
    if not file.exists() or file_hash(file) != saved:
        what = "differs from what was saved" if file.exists() else "is missing"
        msg = f"{file} {what}; restore it or train again"
        raise ModelError(msg)


def require_format(folder: Path, content: dict[str, Any], known: str, reader: str) -> None:
    """Refuse the content of a ``model.json`` that another class has written.

    Raises
    ------
    ModelError
        The message names both formats.

    Examples
    --------
    >>> require_format(Path("model"), {"format": 2}, "xgboost-2", "BoostedLikelihood")
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: model has model format 2, ...
    """
    if content.get("format") != known:
        msg = (
            f"{folder} has model format {content.get('format')}, and {reader} reads {known}; load "
            "it with the class that saved it"
        )
        raise ModelError(msg)


def read_json(path: Path) -> dict[str, Any]:
    """Content of ``model.json``.

    Raises
    ------
    ModelError
        If it is missing or damaged.

    Examples
    --------
    >>> read_json(Path("nowhere", "model.json"))
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: nowhere is not a milinfer model: it has no model.json
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{path.parent} is not a milinfer model: it has no {path.name}"
        raise ModelError(msg) from error
    except ValueError as error:
        msg = f"{path} is damaged ({error}); restore it or train again"
        raise ModelError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} does not hold a model; train again"
        raise ModelError(msg)
    return content
