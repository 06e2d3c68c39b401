"""Random damage to workspaces, saved files and models, which are JSON, and its checks."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from bad_input.mutations import mutated, named
from bad_input.workspace_cases import GOOD
from milinfer.binned import load_histograms
from milinfer.binned.workspaces import read_workspace
from milinfer.exceptions import (
    CalibrationError,
    MilinferError,
    ModelError,
    TemplateError,
    WorkspaceError,
)
from milinfer.intervals.belt import Belt
from milinfer.intervals.calibration import Calibration
from milinfer.learning.bag_likelihood import BagLikelihood

SAVED = Path(__file__).parents[1] / "data" / "format4"
MODEL = SAVED / "multiclass"
WORDS = (
    b"", b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"true", b"NaN", b"Infinity", b"-1",
    b"0",
    b"1e999", b"0.5", b'"x"', b"\\ud800", b"\\u0000", b"\x00", b"\xff", b"9" * 400, b"[" * 2000,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, "", "x", "0.5", -1, 0, 1, 0.5, 1e300, 10**400, 10**9, float("nan"), float("inf"),
    [], {}, [[]], [0.5], [float("nan")], ["x"], {"x": 1}, {"name": "x"}, 50 * [0.5],
)  # fmt: skip
WORKSPACE_SEEDS = (json.dumps(GOOD).encode(),)
SAVED_SEEDS = tuple(
    path.read_bytes()
    for path in sorted(SAVED.glob("*.json"))
    if path.name.startswith(("belt", "calibration", "histograms"))
)
MODEL_SEEDS = ((MODEL / "model.json").read_bytes(),)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every list or dictionary with each of its keys."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    places = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            places += _places(value[key])
    return places


def _replaced(random: Random, data: bytes) -> bytes:
    """Valid JSON in which one to three values are others, absent, or those of other places."""
    try:
        content = json.loads(data)
        if not isinstance(content, dict | list):
            return mutated(random, data, WORDS)
    except (ValueError, RecursionError):  # damaged before
        return mutated(random, data, WORDS)
    for _ in range(random.choice((1, 1, 2, 3))):
        places = _places(content)
        if not places:
            break
        owner, key = random.choice(places)
        kind = random.randrange(4)
        if kind == 0:
            del owner[key]
        elif kind == 1:
            other, where = random.choice(places)
            owner[key] = copy.deepcopy(other[where])
        else:
            owner[key] = copy.deepcopy(random.choice(VALUES))
    return json.dumps(content).encode()


def damaged_json(random: Random, data: bytes) -> bytes:
    if random.random() < 0.7:
        return _replaced(random, data)
    return mutated(random, data, WORDS)


def random_workspace(random: Random) -> bytes:
    return damaged_json(random, random.choice(WORKSPACE_SEEDS))


def random_saved(random: Random) -> bytes:
    return damaged_json(random, random.choice(SAVED_SEEDS))


def random_model(random: Random) -> bytes:
    return damaged_json(random, random.choice(MODEL_SEEDS))


def _loads(load: Callable[[Path], Any], path: Path, error: type[MilinferError]) -> bool:
    """It is loaded and can be shown, or refused by one error that names it."""
    try:
        loaded = load(path)
    except MilinferError as refused:
        named(refused, error, path)
        return False
    assert repr(loaded)
    return True


def check_workspace(path: Path) -> bool:
    return _loads(read_workspace, path, WorkspaceError)


def check_saved(path: Path) -> bool:
    """Every loader is given every file; whether one has read it."""
    return any(
        [
            _loads(Calibration.load, path, CalibrationError),
            _loads(Belt.load, path, CalibrationError),
            _loads(load_histograms, path, TemplateError),
        ]
    )


def check_model(path: Path) -> bool:
    """``model.json`` beside weights that are whole."""
    folder = path.with_name("model")
    if not folder.exists():
        shutil.copytree(MODEL, folder)
    (folder / "model.json").write_bytes(path.read_bytes())

    def load(folder: Path) -> Any:
        model = BagLikelihood.load(folder)
        assert model.fitted.to_table().num_rows > 0
        return model

    return _loads(load, folder, ModelError)
