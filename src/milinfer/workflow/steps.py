"""Steps that write files, and that are repeated only if something on which they depend changes.

A step lists the values on which it depends: settings, and hashes of its input files.  After a step
has finished, a record is written to ``steps/`` in the folder of the results.  The record contains
these values, and a hash of every file that the step wrote.  The record is written last and as a
whole, so that an interrupted step has no record.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from milinfer.exceptions import ConfigurationError, MilinferWarning
from milinfer.typing import PathLikeStr
from milinfer.utils.files import file_hash, named_errors, parse_json, try_lock, write_whole

__all__ = ["Step", "StepState", "Steps", "content_hash"]


def content_hash(content: Any) -> str:
    """SHA-256 of a value that is written as JSON.  The order of keys does not matter.

    Examples
    --------
    >>> content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class StepState(NamedTuple):
    """Whether a step has to be done.

    Parameters
    ----------
    kind
        ``"done"``: it need not be done again.  ``"new"``: it has never been finished.
        ``"changed"``: a value on which it depends has changed.  ``"damaged"``: a file that it wrote
        has changed or is missing.
    why
        Names of the values that have changed, or what is damaged; empty for ``"done"`` and
        ``"new"``.
    """

    kind: Literal["done", "new", "changed", "damaged"]
    why: str = ""


@dataclass(frozen=True)
class Step:
    """One step of an analysis.

    Parameters
    ----------
    name
        Name of the step.  Its record has this name too, so it must be unique and allowed as the
        name of a file.
    depends
        Plain values on which the result of the step depends, by name.
    outputs
        Files and folders that the step writes, relative to the folder of the results.
    run
        Function that does the step and returns a line that says what it did.

    Examples
    --------
    >>> Step("train", {"epochs": 3}, ("model",), lambda: "trained").name
    'train'
    """

    name: str
    depends: Mapping[str, Any]
    outputs: tuple[str, ...]
    run: Callable[[], str]


class Steps:
    """Run steps in a folder, which contains their files and records.

    Parameters
    ----------
    folder
        Folder of the results; it is created when the first step runs.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.txt")
    ...     def write():
    ...         return f"{file.write_text('a')} byte"
    ...     steps, step = Steps(folder), Step("write", {"text": "a"}, ("a.txt",), write)
    ...     print(steps.state(step).kind, "|", steps.execute(step), "|", steps.state(step).kind)
    ...     file.unlink()
    ...     steps.state(step)
    new | 1 byte | done
    StepState(kind='damaged', why='a.txt is missing')
    """

    def __init__(self, folder: PathLikeStr) -> None:
        self.folder = Path(folder)

    def state(self, step: Step) -> StepState:
        """Find out whether a step has to be done.  All files that it wrote are read."""
        path = self._record(step)
        if not path.exists():
            return StepState("new")
        try:
            record = _read_record(path)
        except (ValueError, OSError):
            return StepState("damaged", f"{path} is not a record of a step")
        depends, files = record["depends"], record["files"]
        now = json.loads(json.dumps(dict(step.depends)))
        different = sorted(k for k in now.keys() | depends.keys() if now.get(k) != depends.get(k))
        if different:
            return StepState("changed", ", ".join(different))
        for name, saved in files.items():
            file = self.folder / name
            if not os.path.isfile(file):  # noqa: PTH113  # pathlib's raises if a name is too long
                return StepState("damaged", f"{name} is missing")
            if file_hash(file) != saved:
                return StepState("damaged", f"{name} has changed since it was written")
        for name in step.outputs:
            if not (self.folder / name).exists():
                return StepState("damaged", f"{name} is missing")
        return StepState("done")

    def record(self, step: Step) -> dict[str, Any]:
        """Read the record of a step that is done, with keys such as ``done`` and ``seconds``."""
        return _read_record(self._record(step))

    def execute(self, step: Step) -> str:
        """Do a step and write its record.

        Raises
        ------
        ConfigurationError
            If the step did not write one of its outputs, or its record cannot be written.
        """
        path = self._record(step)
        _make_folder(path.parent, "of records")
        if path.is_dir():
            msg = (
                f"{path} is a folder, but must be the file with the record of a step; move the "
                "folder "
                "away"
            )
            raise ConfigurationError(msg)
        # Without this a step that fails half-way would leave the record of an earlier run.
        path.unlink(missing_ok=True)
        began = time.perf_counter()
        words = step.run()
        record = {
            "step": step.name,
            "done": words,
            "seconds": round(time.perf_counter() - began, 2),
            "depends": dict(step.depends),
            "files": {str(f.relative_to(self.folder)): file_hash(f) for f in self._files(step)},
        }
        write_whole(path, json.dumps(record, indent=1) + "\n")
        return words

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder, so that no other process runs steps in it.

        If the process is killed, the operating system removes its lock.

        Raises
        ------
        ConfigurationError
            If another run is using the folder.  The message names its process.

        Warns
        -----
        MilinferWarning
            If the file system has no locks.
        """
        _make_folder(self.folder, "of results")
        path = self.folder / ".lock"
        # Without a buffer, an error of a full disk comes at once, and only once.
        with path.open("ab+", buffering=0) as file:
            lock = try_lock(file)
            if lock is False:
                file.seek(0)
                process = file.read().decode(errors="replace").strip() or "unknown"
                msg = (
                    f"another run (process {process}) is using "
                    f"{self.folder}; wait until it has finished, or give another folder"
                )
                raise ConfigurationError(msg)
            if lock is None:
                msg = (
                    f"the file system of {self.folder} has no locks, so a second run in this "
                    "folder cannot be refused; start only one at a time"
                )
                warnings.warn(msg, MilinferWarning, stacklevel=3)
            with named_errors(path):
                file.truncate(0)
                file.write(str(os.getpid()).encode())
            yield

    def _record(self, step: Step) -> Path:
        return self.folder / "steps" / f"{step.name}.json"

    def _files(self, step: Step) -> Sequence[Path]:
        files: list[Path] = []
        for name in step.outputs:
            path = self.folder / name
            # An empty folder is a result too: there may be no model that can be calibrated.
            if path.is_dir():
                files += sorted(p for p in path.rglob("*") if p.is_file())
            elif path.is_file():
                files.append(path)
            else:
                msg = f"step {step.name} did not write its file {path}"
                raise ConfigurationError(msg)
        return files


def _make_folder(folder: Path, what: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        why = "a file has this name; move the file away"
        if folder.is_symlink() and not folder.exists():
            why = (
                f"it is a link to {folder.readlink()}, which does not exist; make that folder first"
            )
        msg = f"{folder} cannot be a folder {what}: {why}"
        raise ConfigurationError(msg) from error


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "depends": dict,
    "files": dict,
    "done": str,
    "seconds": (int, float),
}


def _read_record(path: Path) -> dict[str, Any]:
    """Read the record of a step; raises ``ValueError`` if the file is not a record."""
    record = parse_json(path.read_text(encoding="utf-8"))
    fields = record if isinstance(record, dict) else {}
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(fields.get(name), kind)]
    if wrong or not all(isinstance(saved, str) for saved in fields["files"].values()):
        msg = f"{path} is not a record of a step: see {', '.join(wrong or ['files'])}"
        raise ValueError(msg)
    return fields
