"""Read HistFactory workspaces and their patches, check, write and show them.

`require_workspace` checks whether pyhf can use a workspace.  It checks the schema and, beyond the
schema, that names, bins and numbers are consistent.
"""

from __future__ import annotations

import copy
import json
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from milinfer.binned.polynomial_histogram import monomial_parameters
from milinfer.binned.polynomial_modifier import (
    POLYNOMIAL,
    histfactory_part,
    polynomial_modifiers,
    polynomial_terms,
)
from milinfer.exceptions import MilinferWarning, WorkspaceError
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.utils.display import arrow_table, html_facts, shortened
from milinfer.utils.files import parse_json, write_whole
from milinfer.utils.keywords import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "HS3_REMEDY",
    "MORPHING",
    "Workspace",
    "fail",
    "is_hs3",
    "is_patch",
    "is_workspace",
    "model_and_data",
    "patch_facts",
    "read_workspace",
    "unfillable_bins",
    "require_workspace",
    "workspace_facts",
    "write_workspace",
]


class Workspace(dict[str, Any]):
    """Content of a workspace: the dictionary that pyhf uses, but with a short ``repr``.

    Examples
    --------
    >>> Workspace({"channels": [{"name": "SR", "samples": []}], "observations": [
    ...     {"name": "SR", "data": [7.0]}], "measurements": [], "version": "1.0.0"})
    Workspace(SR)
    """

    def __repr__(self) -> str:
        # It must also work if the user has removed parts.
        return f"Workspace({', '.join(str(c.get('name')) for c in self.get('channels', []))})"

    def _repr_html_(self) -> str:
        facts = workspace_facts(self)
        return html_facts(str(facts.pop("kind")), facts)

    def to_table(self) -> pa.Table:
        """Make a table with one row for each bin of each sample.

        Columns: ``channel``, ``sample``, ``bin``, ``nominal`` (expected events, before any
        modifier), and ``observed`` (observed events of the channel in this bin).
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
    """Read a pyhf workspace from a JSON file, apply a patch if one is given, and check the result.

    Parameters
    ----------
    path
        JSON file of the workspace.
    patch
        JSON file with a JSON patch (a list), or with a pyhf patch set.  A patch set must have been
        made for this workspace, which is checked with its digests.
    signal
        Which patch of a patch set to apply: its name or its values.

    Raises
    ------
    WorkspaceError
        If a file cannot be read or is not JSON, a patch cannot be applied, or the workspace is not
        valid.  The message names the file and the JSON pointer of the first error.

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
        spec = _apply_patch(spec, as_path(path), Path(patch), signal)
    elif signal is not None:
        msg = f"signal={signal!r} chooses from a patch set; give its file as patch="
        raise WorkspaceError(msg)
    name = str(path) if patch is None else f"{path} with {patch}"
    try:
        require_workspace(spec, name)
    except RecursionError as error:
        msg = f"{name}: lists or objects are nested too deep; correct the file"
        raise WorkspaceError(msg) from error
    return Workspace(spec)


def write_workspace(workspace: Mapping[str, Any], path: PathLikeStr) -> None:
    """Check a workspace and write it as JSON.

    If writing is interrupted, no partial file is left.

    Raises
    ------
    WorkspaceError
        If the workspace is not valid.  The message names the JSON pointer of the first error.

    Examples
    --------
    >>> write_workspace({"channels": []}, "ws.json")
    Traceback (most recent call last):
    milinfer.exceptions.WorkspaceError: ws.json, at /channels: ...
    """
    require_workspace(workspace, str(path))
    write_whole(path, json.dumps(workspace, indent=1, allow_nan=False) + "\n")


def is_workspace(path: PathLikeStr) -> bool:
    """Whether a JSON file has the parts of a workspace.  The workspace need not be valid.

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
        content = parse_json(as_path(path).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and {"channels", "measurements"} <= set(content)


def is_hs3(content: object) -> bool:
    """Whether the content of a JSON file is a likelihood in the format HS3, which pyhf cannot read.

    Examples
    --------
    >>> is_hs3({"metadata": {"hs3_version": "0.2"}, "distributions": []})
    True
    >>> is_hs3({"channels": [], "measurements": []})
    False
    """
    if not isinstance(content, dict) or "channels" in content:
        return False
    metadata = content.get("metadata")
    named = isinstance(metadata, dict) and "hs3_version" in metadata
    return named or {"distributions", "likelihoods"} <= content.keys()


HS3_REMEDY = (
    "milinfer reads the HistFactory JSON of pyhf: ask the authors for such a file, or write the "
    "XML of HistFactory and convert it with `pyhf xml2json`. pyhs3 and ROOT can evaluate HS3 files"
)
"""Advice for a file in the HS3 format."""


def is_patch(content: object) -> bool:
    """Whether the content of a JSON file is a JSON patch or a patch set of pyhf.

    Examples
    --------
    >>> is_patch([{"op": "add", "path": "/channels/0/samples/1", "value": {}}])
    True
    >>> is_patch({"patches": [], "metadata": {}, "version": "1.0.0"}), is_patch([1, 2])
    (True, False)
    """
    if isinstance(content, dict):
        return {"patches", "metadata"} <= content.keys()
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(o, dict) and {"op", "path"} <= o.keys() for o in content)
    )


def patch_facts(path: PathLikeStr) -> dict[str, object]:
    """Summarise a file from HEPData that contains a JSON patch or a patch set of pyhf.

    Raises
    ------
    WorkspaceError
        If the file cannot be read, or is damaged.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "signal.json")
    ...     _ = file.write_text('[{"op": "remove", "path": "/channels/0"}]')
    ...     patch_facts(file)["changes"]
    'remove /channels/0'
    """
    import pyhf

    content = _load(path)
    if isinstance(content, list):
        changes = [f"{o['op']} {o['path']}" for o in content]
        return {
            "kind": "JSON patch of a workspace",
            "changes": shortened(changes),
            "used by": f"milinfer.read_workspace(WORKSPACE, patch={as_path(path).name!r})",
        }
    try:
        patches = pyhf.PatchSet(content)
    except (pyhf.exceptions.InvalidSpecification, pyhf.exceptions.InvalidPatchSet) as error:
        msg = f"{path} is a damaged patch set of pyhf: {error}; copy or produce it again"
        raise WorkspaceError(msg) from error
    names = [p.name for p in patches]
    return {
        "kind": "patch set of pyhf",
        "description": patches.description,
        "values": ", ".join(patches.labels),
        "patches": f"{len(names)}: {shortened(names)}",
        "workspace": ", ".join(f"{kind} {digest}" for kind, digest in patches.digests.items()),
        "used by": f"milinfer.read_workspace(WORKSPACE, patch={as_path(path).name!r}, "
        f"signal={names[0]!r})",
    }


def unfillable_bins(
    channels: Sequence[Mapping[str, Any]], observed: Mapping[str, Sequence[float]]
) -> list[tuple[str, int, float]]:
    """Find bins that have data although the model expects no events there for any parameters.

    In such a bin all samples and all their shape variations (``histosys``) are zero.  All other
    modifiers of HistFactory multiply the samples, so they cannot change this.  If there is such a
    bin, the likelihood is zero for all parameter values.

    Parameters
    ----------
    channels
        Channels of the workspace or of ``model.spec``.
    observed
        Observed counts of each channel, by name.

    Returns
    -------
    list
        For each such bin its channel, its number (from 0) and its observed events.

    Examples
    --------
    >>> sample = {"name": "s", "data": [5.0, 0.0], "modifiers": []}
    >>> unfillable_bins([{"name": "SR", "samples": [sample]}], {"SR": [4.0, 2.0]})
    [('SR', 1, 2.0)]
    """
    found = []
    for channel in channels:
        counts = np.asarray(observed[channel["name"]], dtype=np.float64)
        filled = np.zeros(len(counts), dtype=bool)
        for sample in channel["samples"]:
            filled |= np.asarray(sample["data"]) != 0
            for modifier in sample["modifiers"]:
                if modifier["type"] == "histosys":
                    filled |= np.asarray(modifier["data"]["lo_data"]) != 0
                    filled |= np.asarray(modifier["data"]["hi_data"]) != 0
                elif modifier["type"] not in _FACTORS:  # one of the user's own may add events
                    filled[:] = True
        bins = np.flatnonzero(~filled & (counts > 0))
        found += [(str(channel["name"]), int(b), float(counts[b])) for b in bins]
    return found


_FACTORS = {POLYNOMIAL, "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror"}


def model_and_data(
    workspace: Mapping[str, Any], measurement: str | None = None
) -> tuple[Any, FloatArray]:
    """Build the ``pyhf.Model`` of a workspace and return it with the data of the workspace.

    The measurement may have no parameter of interest.  In background-only workspaces on HEPData it
    often names a parameter of interest that no sample has, because a patch adds the signal later.
    Such a workspace gives a warning.

    Parameters
    ----------
    workspace
        HistFactory JSON.
    measurement
        Name of the measurement; default: the first.

    Returns
    -------
    tuple
        The ``pyhf.Model``, and observed counts followed by auxiliary data, shape (n_data,).

    Raises
    ------
    WorkspaceError
        If the workspace is not valid, or pyhf cannot build the model of the measurement.

    Examples
    --------
    >>> import pyhf
    >>> model = pyhf.simplemodels.uncorrelated_background([12.0], [50.0], [5.0])
    >>> model_and_data(pyhf.Workspace.build(model, [60.0]))[1].tolist()
    [60.0, 100.0]
    """
    import pyhf

    require_workspace(workspace)
    # By name, because pyhf warns if it has to take the first of several.
    name = measurement or workspace["measurements"][0]["name"]
    poi = _usable_poi(workspace, name)
    # The schema of pyhf knows the modifiers of HistFactory only; the others are checked above.
    plain = histfactory_part(workspace) is workspace
    options = {} if plain else {"validate": False, "modifier_set": polynomial_modifiers()}
    try:
        spec = pyhf.Workspace(workspace, validate=plain)
        model = spec.model(measurement_name=name, poi_name=poi, **options)
        data = np.asarray(spec.data(model), dtype=np.float64)
    except Exception as error:  # pyhf has no common base of its errors, and lets Python's through
        what = f"measurement {measurement!r}" if measurement else "the first measurement"
        msg = (
            f"pyhf cannot build the model of {what}: {error}; check names and numbers in the "
            "workspace"
        )
        raise WorkspaceError(msg) from error
    return model, data


def _modifier_names(spec: Mapping[str, Any]) -> list[str]:
    """Names of all modifiers, each once; of polynomials those of their parameters."""
    modifiers = [m for c in spec["channels"] for s in c["samples"] for m in s["modifiers"]]
    names = [
        monomial_parameters(m["data"]["monomials"]) if m["type"] == POLYNOMIAL else (m["name"],)
        for m in modifiers
    ]
    return list(dict.fromkeys(name for several in names for name in several))


def _usable_poi(spec: Mapping[str, Any], measurement: str) -> str | None:
    """Parameter of interest of a measurement; None, with a warning, if no sample has it."""
    configs = [m["config"] for m in spec["measurements"] if m["name"] == measurement]
    poi = configs[0]["poi"] if configs else ""
    names = _modifier_names(spec)
    if not poi or poi in names:
        return poi or None
    warnings.warn(
        f"no sample has the parameter of interest {poi!r} of measurement {measurement!r}, so this "
        "workspace describes the background alone; add the signal with patch=, or correct the name"
        + did_you_mean(poi, names),
        MilinferWarning,
        stacklevel=4,
    )
    return None


def workspace_facts(spec: Mapping[str, Any]) -> dict[str, object]:
    """Summarise the channels, samples, parameters and morphing of a workspace.

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
    modifier_names = _modifier_names(spec)
    for m in spec["measurements"]:
        entries = m["config"]["parameters"]
        if m["name"].startswith(MORPHING):
            names = ", ".join(p["name"] for p in entries if "factors" not in p)
            points = sum("factors" in p for p in entries)
            morphed.append(f"{m['name'].removeprefix(MORPHING)} in {names} ({points} basis points)")
        else:
            poi = m["config"]["poi"]
            kind = f"of {poi}" if poi else "no parameter of interest"
            if poi and poi not in modifier_names:
                kind = f"background only: no sample has {poi} before a patch adds the signal"
            plain.append(f"{m['name']} ({kind})")
    unfillable = unfillable_bins(spec["channels"], observed)
    empty = [f"{name} bin {b} (expects 0, has {n:g})" for name, b, n in unfillable]
    return {
        "kind": "HistFactory workspace",
        "channels": "; ".join(
            f"{c['name']} ({_count(len(observed[c['name']]), 'bin')}, "
            f"{_count(len(c['samples']), 'sample')}, {sum(observed[c['name']]):g} events)"
            for c in spec["channels"]
        ),
        "measurements": ", ".join(plain),
        "modifiers": ", ".join(f"{len(names)} {kind}" for kind, names in sorted(kinds.items())),
        "morphing": "; ".join(morphed) or "none",
        **({"bins that cannot be filled": shortened(empty)} if empty else {}),
    }


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _load(path: PathLikeStr) -> Any:
    def refuse(constant: str) -> NoReturn:
        msg = f"{path} has the number {constant}, which is not allowed in JSON; replace it"
        raise WorkspaceError(msg)

    try:
        text = as_path(path).read_text(encoding="utf-8")
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


def _apply_patch(spec: Any, path: Path, patch: Path, signal: str | Sequence[float] | None) -> Any:
    import jsonpatch
    import pyhf

    content = _load(patch)
    try:
        if isinstance(content, list):
            if signal is not None:
                msg = (
                    f"{patch} is a single JSON patch, not a set to choose from; omit "
                    f"signal={signal!r}"
                )
                raise WorkspaceError(msg)
            return _patched(spec, content)
        if not isinstance(content, dict):
            msg = (
                f"{patch} is neither a JSON patch (a list) nor a patch set of pyhf; give a file "
                "of one of these kinds"
            )
            raise WorkspaceError(msg)
        version = content.get("version", _PATCH_SETS)
        if version != _PATCH_SETS:  # pyhf makes a path of it
            what = f"{version!r} is not a version of patch sets that pyhf reads ({_PATCH_SETS})"
            fail(str(patch), ["version"], what)
        patches = pyhf.PatchSet(content)
        if signal is None:
            names = ", ".join(p.name for p in patches)
            msg = f"{patch} has {len(patches)} patches; choose one with signal=: {names}"
            raise WorkspaceError(msg)
        key = signal if isinstance(signal, str) else tuple(signal)
        patches.verify(spec)
        if key in ("name", "values"):  # entries that pyhf keeps beside the patches
            raise pyhf.exceptions.InvalidPatchLookup(f"there is no patch {key!r}")  # noqa: EM102
        return _patched(spec, patches[key].patch)
    except pyhf.exceptions.InvalidSpecification as error:
        what = f"{error.parent.message}; see the schema of patch sets"
        fail(str(patch), list(error.parent.absolute_path), what)
    except (
        jsonpatch.JsonPatchException,
        jsonpatch.JsonPointerException,
        pyhf.exceptions.InvalidPatchSet,
        pyhf.exceptions.InvalidPatchLookup,
        pyhf.exceptions.PatchSetVerificationError,
        # jsonpatch lets Python's through, depending on its version
        AttributeError,
        LookupError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        if isinstance(error, WorkspaceError):
            raise
        msg = (
            f"{patch} cannot be applied to {path}: {error}; correct the patch, or give the "
            "workspace for which it was made"
        )
        raise WorkspaceError(msg) from error


_PATCH_SETS = "1.0.0"
_MOST_OPERATIONS = 100_000
_MOST_COPIES = 1 << 20
_MOST_LEVELS = 100


def _patched(spec: Any, operations: Sequence[Any]) -> Any:
    """A workspace with the operations of a JSON patch applied to it.

    Copies are counted before they are made: each can double the document, so that forty of them
    would take all memory.

    Raises
    ------
    ValueError, or an error of jsonpatch
        If an operation is not valid, does not apply, or there are too many operations or copies.
    """
    import jsonpatch

    if len(operations) > _MOST_OPERATIONS:
        msg = f"it has {len(operations)} operations, more than the {_MOST_OPERATIONS} allowed"
        raise ValueError(msg)
    document, n_copies = copy.deepcopy(spec), 0
    for k, operation in enumerate(operations):
        texts = (
            [operation.get(name, "") for name in ("op", "path", "from")]
            if isinstance(operation, dict)
            else [None]
        )
        if not all(isinstance(text, str) for text in texts):
            msg = (
                f"operation {k} (counted from 0) is not an object with the keys op and path, both "
                "texts"
            )
            raise ValueError(msg)
        if operation.get("op") == "copy" and "from" in operation:
            source = jsonpatch.JsonPointer(operation["from"]).resolve(document)
            n_copies += _count_values(source, _MOST_COPIES)
            if n_copies > _MOST_COPIES:
                what = f"copies more than {_MOST_COPIES} values"
                msg = f"operation {k} (counted from 0) {what}"
                raise ValueError(msg)
        document = jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
    _require_shallow(document)
    return document


def _require_shallow(document: Any) -> None:
    """Refuse lists in lists beyond a bound: how deep Python can go depends on its version.

    Raises
    ------
    ValueError
        If there are more levels than any workspace has.
    """
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(_MOST_LEVELS):
        level = [
            value
            for item in level
            for value in (item.values() if isinstance(item, dict) else item)
            if isinstance(value, dict | list)
        ]
        if not level:
            return
    msg = f"lists or objects are nested too deep, beyond {_MOST_LEVELS} levels"
    raise ValueError(msg)


def _count_values(document: Any, most: int) -> int:
    """Number of lists, objects, texts and numbers in a document; stops counting beyond ``most``."""
    waiting, n = [document], 0
    while waiting and n <= most:
        item = waiting.pop()
        n += 1
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return n + len(waiting)


MORPHING = "milinfer_morphing_"
"""Start of the name of a measurement that records how samples are morphed; see
:mod:`milinfer.binned.workspace_export`."""


def require_workspace(spec: Any, name: str = "workspace") -> None:
    """Check that a workspace agrees with pyhf's schema and is consistent.

    The checks beyond the schema are: every channel has an observation; numbers of bins agree;
    counts are finite and not negative; variations are finite; factors of ``normsys`` are positive;
    names are unique.  Negative yields of a sample are allowed.  A parameter of interest that no
    sample has is allowed too, because a patch may add the signal to a background-only workspace.

    Parameters
    ----------
    spec
        Content of the JSON file.
    name
        Name of the workspace in messages.

    Raises
    ------
    WorkspaceError
        If a check fails.  The message contains the JSON pointer of the first error.

    Examples
    --------
    >>> require_workspace([1, 2])
    Traceback (most recent call last):
    milinfer.exceptions.WorkspaceError: workspace, at /: [1, 2] is not of type 'object'; ...
    """
    import pyhf
    from jsonschema.exceptions import best_match

    if is_hs3(spec):
        msg = f"{name} is a likelihood in the HS3 format, not a HistFactory workspace; {HS3_REMEDY}"
        raise WorkspaceError(msg)
    if isinstance(spec, Mapping | list):
        _require_floats(spec, name)
    try:
        pyhf.schema.validate(histfactory_part(spec), "workspace.json")
    except pyhf.exceptions.InvalidSpecification as error:
        # A modifier may have one of many types: report the error of the type that fits best.
        deepest = best_match([error.parent]) or error.parent
        fail(name, list(deepest.absolute_path), f"{deepest.message}; see the HistFactory schema")
    _require_consistent(spec, name)


def _require_floats(spec: Any, name: str) -> None:
    """Refuse whole numbers that no float can hold: JSON has any, and the schema allows them."""
    waiting: list[tuple[Any, list[str | int]]] = [(spec, [])]
    while waiting:
        item, path = waiting.pop()
        entries = item.items() if isinstance(item, Mapping) else enumerate(item)
        for key, value in entries:
            if isinstance(value, Mapping | list):
                waiting.append((value, [*path, key]))
            elif isinstance(value, int) and abs(value) > sys.float_info.max:
                fail(
                    name, [*path, key], "the number has too many digits to compute with; correct it"
                )


def fail(name: str, path: Sequence[str | int], what: str) -> NoReturn:
    """Raise an error that names a place in a workspace.

    Raises
    ------
    WorkspaceError
        Always.  The message contains the place as a JSON pointer.

    Examples
    --------
    >>> fail("ws.json", ["channels", 0], "it has no samples")
    Traceback (most recent call last):
    milinfer.exceptions.WorkspaceError: ws.json, at /channels/0: it has no samples
    """
    raise WorkspaceError(f"{name}, at {_pointer(path)}: {what}")  # noqa: EM102


def _pointer(path: Sequence[str | int]) -> str:
    """JSON pointer (RFC 6901)."""
    return "/" + "/".join(str(p).replace("~", "~0").replace("/", "~1") for p in path)


def _require_consistent(spec: Mapping[str, Any], name: str) -> None:
    _require_once(spec["channels"], ["channels"], name)
    _require_once(spec["observations"], ["observations"], name)
    observed = {o["name"]: (k, o["data"]) for k, o in enumerate(spec["observations"])}
    modifiers: set[str] = set()
    for i, channel in enumerate(spec["channels"]):
        at: list[str | int] = ["channels", i]
        if channel["name"] not in observed:
            channels = ", ".join(observed)
            fail(name, at, f"channel {channel['name']!r} has no observation; there are {channels}")
        k, counts = observed[channel["name"]]
        if not all(np.isfinite(n) and n >= 0 for n in counts):
            what = f"counts of channel {channel['name']!r} must be finite and not negative"
            fail(name, ["observations", k, "data"], f"{what}, not {counts}")
        _require_once(channel["samples"], [*at, "samples"], name)
        for j, sample in enumerate(channel["samples"]):
            here = [*at, "samples", j]
            for end, values in _bin_arrays(sample):
                if len(values) != len(counts):
                    what = f"{len(values)} bins, but {len(counts)} in the observation of "
                    what += f"channel {channel['name']!r}; correct one of the two"
                    fail(name, [*here, *end], what)
                if not np.isfinite(np.asarray(values, dtype=np.float64)).all():
                    what = f"sample {sample['name']!r} has numbers that are not finite: {values}"
                    fail(name, [*here, *end], what)
            for m, modifier in enumerate(sample["modifiers"]):
                if modifier["type"] == POLYNOMIAL:
                    place = [*here, "modifiers", m, "data"]
                    _require_polynomial(modifier, len(counts), place, name)
                    continue
                modifiers.add(modifier["name"])
                factors = modifier["data"] if modifier["type"] == "normsys" else {}
                for side, factor in factors.items():
                    if not (np.isfinite(factor) and factor > 0):
                        what = f"normsys {modifier['name']!r} needs positive factors, not {factor}"
                        fail(name, [*here, "modifiers", m, "data", side], what)
    for k, measurement in enumerate(spec["measurements"]):
        # The parameters of a morphing are not modifiers.
        if not measurement["name"].startswith(MORPHING):
            _require_measurement(
                measurement["config"], ["measurements", k, "config"], name, modifiers
            )


def _require_polynomial(
    modifier: Mapping[str, Any], n_bins: int, at: list[str | int], name: str
) -> None:
    try:
        polynomial_terms(modifier.get("data"), n_bins)
    except ValueError as error:
        fail(name, at, f"modifier {modifier['name']!r}: {error}; export the histogram again")


def _require_measurement(
    config: Mapping[str, Any], at: list[str | int], name: str, modifiers: set[str]
) -> None:
    _require_once(config["parameters"], [*at, "parameters"], name)
    for k, entry in enumerate(config["parameters"]):
        here = [*at, "parameters", k]
        bounds = entry.get("bounds", [])
        for pair in bounds:
            if not (len(pair) == 2 and pair[0] < pair[1]):
                what = (
                    f"bounds of {entry['name']} must be pairs of a lower and an upper bound, not "
                    f"{pair}"
                )
                fail(name, [*here, "bounds"], what)
        for value, (low, high) in zip(entry.get("inits", []), bounds, strict=False):
            if not low <= value <= high:
                what = f"{entry['name']} starts at {value}, outside its bounds [{low}, {high}]"
                fail(name, [*here, "inits"], what)
    configured = {e["name"]: e for e in config["parameters"]}
    if "lumi" in modifiers and not {"auxdata", "sigmas"} <= configured.get("lumi", {}).keys():
        what = "samples have the modifier lumi; give its auxdata, sigmas, inits and bounds here"
        fail(name, [*at, "parameters"], what)


def _bin_arrays(sample: Mapping[str, Any]) -> Iterator[tuple[list[str | int], Sequence[float]]]:
    """All lists of a sample with one number per bin, with the end of their JSON pointers."""
    yield ["data"], sample["data"]
    for m, modifier in enumerate(sample["modifiers"]):
        if modifier["type"] == "histosys":
            for side, values in modifier["data"].items():
                yield ["modifiers", m, "data", side], values
        elif modifier["type"] in {"shapesys", "staterror"}:
            yield ["modifiers", m, "data"], modifier["data"]


def _require_once(items: Sequence[Mapping[str, Any]], at: list[str | int], name: str) -> None:
    names = [item["name"] for item in items]
    for k, item in enumerate(names):
        if item in names[:k]:
            fail(name, [*at, k, "name"], f"the name {item!r} is used twice")
