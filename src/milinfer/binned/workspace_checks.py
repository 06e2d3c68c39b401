"""Whether a workspace is one that pyhf can use: its schema, and what a schema cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from milinfer.exceptions import WorkspaceError

__all__ = ["MORPHING", "fail", "require_workspace"]

MORPHING = "milinfer_morphing_"
"""Start of the name of a measurement that says how samples are morphed; see
:mod:`milinfer.binned.workspace_morphing`."""


def require_workspace(spec: Any, name: str = "workspace") -> None:
    """Check a workspace against pyhf's schema, and what a schema cannot say.

    Beyond the schema: every channel has an observation; all bins agree in number; counts are
    finite and not negative; variations are finite, factors of ``normsys`` positive; the parameter
    of interest exists; names come once.  Negative yields of single samples are allowed.

    Parameters
    ----------
    spec
        What the JSON holds.
    name
        What to call it in messages.

    Raises
    ------
    WorkspaceError
        With the JSON pointer of the first thing that is wrong.

    Examples
    --------
    >>> require_workspace([1, 2])
    Traceback (most recent call last):
    milinfer.exceptions.WorkspaceError: workspace, at /: [1, 2] is not of type 'object'; ...
    """
    import pyhf
    from jsonschema.exceptions import best_match

    try:
        pyhf.schema.validate(spec, "workspace.json")
    except pyhf.exceptions.InvalidSpecification as error:
        # A modifier may be one of many: look for the nearest thing that is meant.
        deepest = best_match([error.parent]) or error.parent
        fail(name, list(deepest.absolute_path), f"{deepest.message}; see the HistFactory schema")
    _require_consistent(spec, name)


def fail(name: str, path: Sequence[str | int], what: str) -> NoReturn:
    """Say what is wrong at a place in a workspace.

    Raises
    ------
    WorkspaceError
        With the place as a JSON pointer.

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
            known = ", ".join(observed)
            fail(name, at, f"channel {channel['name']!r} has no observation; there are {known}")
        k, counts = observed[channel["name"]]
        if not all(np.isfinite(n) and n >= 0 for n in counts):
            what = f"counts of channel {channel['name']!r} must be finite and not negative"
            fail(name, ["observations", k, "data"], f"{what}, not {counts}")
        _require_once(channel["samples"], [*at, "samples"], name)
        for j, sample in enumerate(channel["samples"]):
            here = [*at, "samples", j]
            for end, values in _arrays(sample):
                if len(values) != len(counts):
                    what = f"{len(values)} bins, but {len(counts)} in the observation of "
                    fail(name, [*here, *end], what + f"channel {channel['name']!r}; correct one")
                if not np.isfinite(np.asarray(values, dtype=np.float64)).all():
                    fail(name, [*here, *end], f"sample {sample['name']!r}: not finite: {values}")
            for m, modifier in enumerate(sample["modifiers"]):
                modifiers.add(modifier["name"])
                factors = modifier["data"] if modifier["type"] == "normsys" else {}
                for side, factor in factors.items():
                    if not (np.isfinite(factor) and factor > 0):
                        what = f"normsys {modifier['name']!r} needs positive factors, not {factor}"
                        fail(name, [*here, "modifiers", m, "data", side], what)
    for k, measurement in enumerate(spec["measurements"]):
        # The parameters of a morphing are no modifiers.
        if not measurement["name"].startswith(MORPHING):
            _require_measurement(
                measurement["config"], ["measurements", k, "config"], name, modifiers
            )


def _require_measurement(
    config: Mapping[str, Any], at: list[str | int], name: str, modifiers: set[str]
) -> None:
    if config["poi"] and config["poi"] not in modifiers:
        what = f"the parameter of interest {config['poi']!r} is no modifier of any sample"
        fail(name, [*at, "poi"], what)
    _require_once(config["parameters"], [*at, "parameters"], name)
    for k, entry in enumerate(config["parameters"]):
        here = [*at, "parameters", k]
        bounds = entry.get("bounds", [])
        for pair in bounds:
            if not (len(pair) == 2 and pair[0] < pair[1]):
                what = (
                    f"bounds of {entry['name']} are pairs of a lower and an upper one, not {pair}"
                )
                fail(name, [*here, "bounds"], what)
        for value, (low, high) in zip(entry.get("inits", []), bounds, strict=False):
            if not low <= value <= high:
                what = f"{entry['name']} starts at {value}, outside its bounds [{low}, {high}]"
                fail(name, [*here, "inits"], what)
    configured = {e["name"]: e for e in config["parameters"]}
    if "lumi" in modifiers and not {"auxdata", "sigmas"} <= configured.get("lumi", {}).keys():
        what = "samples have the modifier lumi, whose auxdata, sigmas, inits and bounds go here"
        fail(name, [*at, "parameters"], what)


def _arrays(sample: Mapping[str, Any]) -> Iterator[tuple[list[str | int], Sequence[float]]]:
    """Everything in a sample that has a number for each bin, with the end of its pointer."""
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
            fail(name, [*at, k, "name"], f"{item!r} comes twice")
