"""HistFactory workspaces on disk: read with patches, checked to the last bin, written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from milinfer.binned.workspace_checks import MORPHING, fail, require_workspace
from milinfer.exceptions import WorkspaceError
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.display import html_facts
from milinfer.utils.files import write_whole
from milinfer.utils.json_text import parse_json
from milinfer.utils.tables import arrow_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Workspace",
    "is_workspace",
    "model_and_data",
    "read_workspace",
    "workspace_facts",
    "write_workspace",
]


class Workspace(dict[str, Any]):
    """What the JSON of a workspace holds, as pyhf takes it; shown in a few words.

    Examples
    --------
    >>> Workspace({"channels": [{"name": "SR", "samples": []}], "observations": [
    ...     {"name": "SR", "data": [7.0]}], "measurements": [], "version": "1.0.0"})
    Workspace(SR)
    """

    def __repr__(self) -> str:
        # Also of one that its user has taken apart.
        return f"Workspace({', '.join(str(c.get('name')) for c in self.get('channels', []))})"

    def _repr_html_(self) -> str:
        facts = workspace_facts(self)
        return html_facts(str(facts.pop("kind")), facts)

    def to_table(self) -> pa.Table:
        """One row for each bin of each sample.

        Columns: ``channel``, ``sample``, ``bin``, ``nominal`` (expected events, before any
        modifier), and ``observed``, that of the channel.
        """
        observed = {o["name"]: o["data"] for o in self["observations"]}
        rows = [
            {
                "channel": channel["name"],
                "sample": sample["name"],
                "bin": b,
                "nominal": value,
                "observed": observed[channel["name"]][b],
            }
            for channel in self["channels"]
            for sample in channel["samples"]
            for b, value in enumerate(sample["data"])
        ]
        words = {"channel": str, "sample": str, "bin": int}
        return arrow_table({**words, "nominal": float, "observed": float}, rows)


def read_workspace(
    path: PathLikeStr,
    *,
    patch: PathLikeStr | None = None,
    signal: str | Sequence[float] | None = None,
) -> Workspace:
    """Read a pyhf workspace, patched if wanted, and check it.

    Parameters
    ----------
    path
        JSON file.
    patch
        JSON file with a JSON patch (a list), or with a pyhf patch set, whose digests must be those
        of the workspace.
    signal
        Which patch of a patch set: its name or its values.

    Raises
    ------
    WorkspaceError
        If a file cannot be read, is not JSON, or a patch does not apply; and as
        :func:`require_workspace`.  The message names file and JSON pointer.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "ws.json")
    ...     _ = file.write_text('{"channels": [], "version": "1.0.0"}')
    ...     try:
    ...         read_workspace(file)
    ...     except WorkspaceError as error:
    ...         print(str(error).replace(folder, ""))
    /ws.json, at /channels: [] should be non-empty; ...
    """
    spec = _load(path)
    if patch is not None:
        spec = _patched(spec, Path(path), Path(patch), signal)
    elif signal is not None:
        msg = f"signal={signal!r} chooses from a patch set; give its file as patch="
        raise WorkspaceError(msg)
    require_workspace(spec, str(path) if patch is None else f"{path} with {patch}")
    return Workspace(spec)


def write_workspace(workspace: Mapping[str, Any], path: PathLikeStr) -> None:
    """Check a workspace and write it as JSON, whole or not at all.

    Raises
    ------
    WorkspaceError
        As :func:`require_workspace`.

    Examples
    --------
    >>> write_workspace({"channels": []}, "ws.json")
    Traceback (most recent call last):
    milinfer.exceptions.WorkspaceError: ws.json, at /channels: ...
    """
    require_workspace(workspace, str(path))
    write_whole(path, json.dumps(workspace, indent=1, allow_nan=False) + "\n")


def is_workspace(path: PathLikeStr) -> bool:
    """Whether a JSON file has the parts of a workspace, right or wrong.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.json")
    ...     _ = file.write_text('{"channels": [], "measurements": []}')
    ...     is_workspace(file)
    True
    """
    try:
        content = parse_json(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and {"channels", "measurements"} <= set(content)


def model_and_data(
    workspace: Mapping[str, Any], measurement: str | None = None
) -> tuple[Any, FloatArray]:
    """The ``pyhf.Model`` of a workspace, and its data with the auxiliary data, (n_data,).

    Parameters
    ----------
    workspace
        HistFactory JSON.
    measurement
        Name of the measurement; default: the first.

    Raises
    ------
    WorkspaceError
        As :func:`require_workspace`; and if pyhf refuses the model or the measurement.

    Examples
    --------
    >>> import pyhf
    >>> model = pyhf.simplemodels.uncorrelated_background([12.0], [50.0], [5.0])
    >>> model_and_data(pyhf.Workspace.build(model, [60.0]))[1].tolist()
    [60.0, 100.0]
    """
    import pyhf

    require_workspace(workspace)
    try:
        spec = pyhf.Workspace(workspace)
        # By name, as pyhf warns where it takes the first of several by itself.
        model = spec.model(measurement_name=measurement or workspace["measurements"][0]["name"])
        data = np.asarray(spec.data(model), dtype=np.float64)
    except Exception as error:  # pyhf has no common base of its errors, and lets Python's through
        what = f"measurement {measurement!r}" if measurement else "the first measurement"
        msg = f"pyhf cannot build the model of {what}: {error}; look at its names and numbers"
        raise WorkspaceError(msg) from error
    return model, data


def workspace_facts(spec: Mapping[str, Any]) -> dict[str, object]:
    """What a workspace is, in a few words: channels, samples, parameters, morphing.

    Examples
    --------
    >>> sample = {"name": "s", "data": [5.0], "modifiers": [
    ...     {"name": "mu", "type": "normfactor", "data": None}]}
    >>> workspace_facts({
    ...     "channels": [{"name": "SR", "samples": [sample]}],
    ...     "observations": [{"name": "SR", "data": [7.0]}],
    ...     "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    ...     "version": "1.0.0"})["channels"]
    'SR (1 bin, 1 sample, 7 events)'
    """
    observed = {o["name"]: o["data"] for o in spec["observations"]}
    kinds: dict[str, set[str]] = {}
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                kinds.setdefault(modifier["type"], set()).add(modifier["name"])
    morphed, plain = [], []
    for m in spec["measurements"]:
        entries = m["config"]["parameters"]
        if m["name"].startswith(MORPHING):
            names = ", ".join(p["name"] for p in entries if "factors" not in p)
            points = sum("factors" in p for p in entries)
            morphed.append(f"{m['name'].removeprefix(MORPHING)} in {names} ({points} basis points)")
        else:
            plain.append(f"{m['name']} (of {m['config']['poi'] or 'no parameter of interest'})")
    return {
        "kind": "HistFactory workspace",
        "channels": "; ".join(
            f"{c['name']} ({_number(len(observed[c['name']]), 'bin')}, "
            f"{_number(len(c['samples']), 'sample')}, {sum(observed[c['name']]):g} events)"
            for c in spec["channels"]
        ),
        "measurements": ", ".join(plain),
        "modifiers": ", ".join(f"{len(names)} {kind}" for kind, names in sorted(kinds.items())),
        "morphing": "; ".join(morphed) or "none",
    }


def _number(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _load(path: PathLikeStr) -> Any:
    def refuse(constant: str) -> NoReturn:
        msg = f"{path} has the number {constant}, which JSON does not know; replace it"
        raise WorkspaceError(msg)

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise WorkspaceError(msg) from error
    try:
        return parse_json(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        msg = (
            f"{path} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}; "
            "it may be cut off"
        )
        raise WorkspaceError(msg) from error
    except ValueError as error:
        if isinstance(error, WorkspaceError):
            raise
        msg = f"{path} is not JSON: {error}; correct it, or write it again"
        raise WorkspaceError(msg) from error


def _patched(spec: Any, path: Path, patch: Path, signal: str | Sequence[float] | None) -> Any:
    import jsonpatch
    import pyhf

    content = _load(patch)
    try:
        if isinstance(content, list):
            if signal is not None:
                msg = f"{patch} is one JSON patch, not a set to choose signal={signal!r} from"
                raise WorkspaceError(msg)
            return jsonpatch.JsonPatch(content).apply(spec)
        if not isinstance(content, dict):
            msg = f"{patch} is neither a JSON patch (a list) nor a patch set of pyhf; give one"
            raise WorkspaceError(msg)
        patches = pyhf.PatchSet(content)
        if signal is None:
            names = ", ".join(p.name for p in patches)
            msg = f"{patch} has {len(patches)} patches; choose one with signal=: {names}"
            raise WorkspaceError(msg)
        key = signal if isinstance(signal, str) else tuple(signal)
        return patches.apply(spec, key)
    except pyhf.exceptions.InvalidSpecification as error:
        what = f"{error.parent.message}; see the schema of patch sets"
        fail(str(patch), list(error.parent.absolute_path), what)
    except (
        jsonpatch.JsonPatchException,
        jsonpatch.JsonPointerException,
        pyhf.exceptions.InvalidPatchSet,
        pyhf.exceptions.InvalidPatchLookup,
        pyhf.exceptions.PatchSetVerificationError,
    ) as error:
        msg = f"{patch} cannot be applied to {path}: {error}; correct it, or give its workspace"
        raise WorkspaceError(msg) from error
