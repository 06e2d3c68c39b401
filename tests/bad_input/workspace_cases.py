"""Broken HistFactory workspaces and patches."""

from __future__ import annotations

import copy
import json
from functools import reduce
from pathlib import Path
from typing import Any

import pyhf

from bad_input.harness import Case
from milinfer.binned.workspaces import read_workspace
from milinfer.exceptions import WorkspaceError

REMEDY = "schema|cut|replace|twice|must|needs|choose|give|correct|there are|not|no modifier|outside"
GOOD: dict[str, Any] = {
    "channels": [
        {
            "name": "SR",
            "samples": [
                {
                    "name": "signal",
                    "data": [5.0, 10.0],
                    "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                },
                {
                    "name": "background",
                    "data": [50.0, 60.0],
                    "modifiers": [
                        {"name": "scale", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
                        {
                            "name": "shape",
                            "type": "histosys",
                            "data": {"hi_data": [51.0, 61.0], "lo_data": [49.0, 59.0]},
                        },
                        {"name": "mc", "type": "staterror", "data": [1.0, 2.0]},
                    ],
                },
            ],
        }
    ],
    "observations": [{"name": "SR", "data": [55.0, 70.0]}],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    "version": "1.0.0",
}
SIGNAL = ["channels", 0, "samples", 0]
BACKGROUND = ["channels", 0, "samples", 1]
CONFIG = ["measurements", 0, "config"]


def changed(place: list[Any], value: Any) -> str:
    spec = copy.deepcopy(GOOD)
    reduce(lambda item, key: item[key], place[:-1], spec)[place[-1]] = value  # type: ignore[index]
    return json.dumps(spec)


def without(*place: Any) -> str:
    spec = copy.deepcopy(GOOD)
    del reduce(lambda item, key: item[key], place[:-1], spec)[place[-1]]  # type: ignore[index]
    return json.dumps(spec)


def parameter(**values: Any) -> str:
    return changed([*CONFIG, "parameters"], [{"name": "mu", **values}])


def inspect(path: Path, out: Path) -> list[object]:
    return ["inspect", path, "--json", out / "f.json"]


def case(name: str, text: str | bytes, place: str, *, command: Any = inspect) -> Case:
    def build(folder: Path) -> Path:
        path = folder / "broken.json"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return Case(
        f"workspace: {name}", build, lambda path, _: read_workspace(path), WorkspaceError, place,
        REMEDY, command,
    )  # fmt: skip


def patched(name: str, patch: Any, place: str, signal: Any = None) -> Case:
    def build(folder: Path) -> Path:
        (folder / "good.json").write_text(json.dumps(GOOD))
        path = folder / "patch.json"
        path.write_text(patch if isinstance(patch, str) else json.dumps(patch))
        return path

    def call(path: Path, out: Path) -> object:
        return read_workspace(path.with_name("good.json"), patch=path, signal=signal)

    return Case(f"workspace: patch: {name}", build, call, WorkspaceError, place, REMEDY)


def patch_set(**changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"digests": {"md5": "0" * 32}, "labels": ["m"], "description": "x",
                     "references": {"hepdata": "ins1234567"}},
        "patches": [{"metadata": {"name": "a", "values": [1.0]}, "patch": []}],
        "version": "1.0.0",
        **changes,
    }  # fmt: skip


WHOLE = json.dumps(GOOD)
#: what the command line cannot tell from a calibration is not called a workspace there
NO_JSON: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "line 1"),
    "cut in the middle": (WHOLE[: len(WHOLE) // 2], "line 1"),
    "not JSON": ("channels: []", "line 1"),
    "UTF-16": (WHOLE.encode("utf-16"), "cannot be read"),
    "NaN": (WHOLE.replace("5.0", "NaN", 1), "NaN"),
    "infinity": (WHOLE.replace("5.0", "-Infinity", 1), "-Infinity"),
    "too deep": ("[" * 100_000, "deep|nest"),
    "a number of ten thousand digits": (WHOLE.replace("5.0", "9" * 10_000, 1), "digits"),
    "a list": ("[1, 2]", "at /: .*not of type 'object'"),
    "no channels": (without("channels"), "at /: .*channels"),
    "a likelihood of HS3": (
        json.dumps({"metadata": {"hs3_version": "0.2"}, "distributions": []}),
        "HS3",
    ),
    "no measurements": (without("measurements"), "at /: .*measurements"),
}
SPECS: dict[str, tuple[str, str]] = {
    "no observations": (without("observations"), "at /: .*observations"),
    "no version": (without("version"), "at /: .*version"),
    "a version of the future": (changed(["version"], "9.0.0"), "at /version"),
    "channels of nothing": (changed(["channels"], []), "at /channels: "),
    "a sample without data": (without(*SIGNAL, "data"), "at /channels/0/samples/0"),
    "data of words": (changed([*SIGNAL, "data"], ["a", "b"]), "at /channels/0/samples/0/data"),
    "an overflow": (WHOLE.replace("5.0", "1e999", 1), "at /channels/0/samples/0/data.*not finite"),
    "data of 400 digits": (
        changed([*SIGNAL, "data"], [5.0, 10**400]),
        "at /channels/0/samples/0/data/1: .*digits",
    ),
    "a shape of 400 digits": (
        changed([*BACKGROUND, "modifiers", 1, "data", "lo_data"], [10**400, 59.0]),
        "at /channels/0/samples/1/modifiers/1/data/lo_data/0: .*digits",
    ),
    "bounds of 400 digits": (
        parameter(bounds=[[0, 10**400]]),
        "at /measurements/0/config/parameters/0/bounds/0/1: .*digits",
    ),
    "fewer bins": (changed([*SIGNAL, "data"], [1.0]), "at /channels/0/samples/0/data.* 1 bins"),
    "a variation of fewer bins": (
        changed([*BACKGROUND, "modifiers", 1, "data", "hi_data"], [1.0]),
        "at /channels/0/samples/1/modifiers/1/data/hi_data",
    ),
    "errors of more bins": (
        changed([*BACKGROUND, "modifiers", 2, "data"], [1.0, 1.0, 1.0]),
        "at /channels/0/samples/1/modifiers/2/data",
    ),
    "a factor of zero": (
        changed([*BACKGROUND, "modifiers", 0, "data", "lo"], 0.0),
        "at /channels/0/samples/1/modifiers/0/data/lo",
    ),
    "an unknown modifier": (changed([*SIGNAL, "modifiers", 0, "type"], "x"), "modifiers/0"),
    "counts below zero": (
        changed(["observations", 0, "data"], [1.0, -1.0]),
        "at /observations/0/data",
    ),
    "an observation of another channel": (
        changed(["observations", 0, "name"], "CR"),
        "at /channels/0: channel 'SR' has no observation",
    ),
    "a sample twice": (changed([*BACKGROUND, "name"], "signal"), "at /channels/0/samples/1/name"),
    "a parameter of interest that is a number": (changed([*CONFIG, "poi"], 1), "config/poi"),
    "bounds the wrong way": (parameter(bounds=[[1, 0]]), "parameters/0/bounds"),
    "a start outside its bounds": (parameter(bounds=[[0, 1]], inits=[3]), "parameters/0/inits"),
    "bounds of three": (parameter(bounds=[[0, 1, 2]]), "parameters/0/bounds"),
}
LIST = {"op": "replace", "path": "/channels/0/samples/0/data/0", "value": 1}
# A thousand numbers and not one: copies of lists in lists take longer than the test has.
BOMB = [
    {"op": "add", "path": "/x", "value": [[0] * 1000]},
    *(40 * [{"op": "copy", "from": "/x", "path": "/x/-"}]),
]
OWN_SET = patch_set(
    metadata=patch_set()["metadata"] | {"digests": {"sha256": pyhf.utils.digest(GOOD)}},
    patches=[{"metadata": {"name": "bomb", "values": [1.0]}, "patch": BOMB}],
)
PATCHES: dict[str, tuple[Any, str, Any]] = {
    "not JSON": ("[", "line 1", None),
    "of a place that is not there": ([{**LIST, "path": "/channels/7/name"}], "applied|7", None),
    "of an unknown kind": ([{**LIST, "op": "x"}], "applied", None),
    "without a path": ([{"op": "remove"}], "applied", None),
    "of numbers": ([1, 2], "applied|not", None),
    "a failed test": ([{**LIST, "op": "test"}], "applied", None),
    "that leaves no workspace": ([{"op": "remove", "path": "/channels"}], "at /: ", None),
    "of a word": ('"x"', "neither", None),
    "chosen from a list": ([LIST], "not a set", "a"),
    "of no name": (patch_set(), "choose", None),
    "of another workspace": (patch_set(), "applied", "a"),
    "of an unknown name": (patch_set(), "applied", "b"),
    "of a name that pyhf uses": (OWN_SET, "applied.*no patch 'name'", "name"),
    "in a set, that doubles itself": (OWN_SET, "applied.*copies more than", "bomb"),
    "that doubles itself": (
        BOMB,
        "applied.*copies more than",
        None,
    ),
    "of too many operations": (100_001 * [LIST], "applied.*100001 operations", None),
    "that nests without end": (
        1500
        * [
            {"op": "add", "path": "/y", "value": []},
            {"op": "move", "from": "/channels", "path": "/y/0"},
            {"op": "move", "from": "/y", "path": "/channels"},
        ],
        # Regression: Python 3.13 goes as deep, and showed three thousand brackets.
        "applied.*nested too deep",
        None,
    ),
    "of an empty object": ([{}], "applied", None),
    "of a path that is a number": ([{**LIST, "path": 3}], "applied.*operation 0", None),
    "of a kind that is a list": ([{**LIST, "op": []}], "applied.*operation 0", None),
    "of an index of many digits": ([{**LIST, "path": "/channels/" + "9" * 5000}], "applied", None),
    "into a number": ([{**LIST, "path": "/channels/0/samples/0/data/0/x"}], "applied", None),
    "a copy of nothing": ([{"op": "copy", "path": "/x"}], "applied", None),
    "a copy from nowhere": ([{"op": "copy", "from": "/y", "path": "/x"}], "applied", None),
    "a set of a version of letters": (patch_set(version="1.0n0"), "at /version: '1.0n0'", "a"),
    "a set of a version that is a list": (patch_set(version=[]), r"at /version: \[\]", "a"),
    "a set of a version that is a path": (patch_set(version="../1.0.0"), "at /version", "a"),
    "a set without digests": (patch_set(metadata={"labels": ["m"]}), "at /metadata", "a"),
}
CASES = [
    *(case(k, t, p, command=None) for k, (t, p) in NO_JSON.items()),
    *(case(k, t, p) for k, (t, p) in SPECS.items()),
    *(patched(k, c, p, s) for k, (c, p, s) in PATCHES.items()),
]
