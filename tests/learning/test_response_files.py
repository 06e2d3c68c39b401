"""Saved responses of others: every entry and every array is checked when it is read."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milinfer.exceptions import ModelError
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.systematic_response import SystematicResponse
from milinfer.samples.sample import Sample
from varied_gaussian import variations

ARRAYS = "arrays.npz"
DELETED = "deleted"
# Entries may have these values, or none; all others have to be refused or to be of use.
VALUES: tuple[Any, ...] = ("x", -1, 1e300, 10**400, float("nan"), {"x": 1}, DELETED)
DATA = Sample(np.array([[0.0], [1.0]]), ("x",))


@pytest.fixture(scope="module", params=["network", "trees"])
def saved(request, tmp_path_factory) -> Path:
    """A small response of each kind."""
    folder = tmp_path_factory.mktemp("responses") / request.param
    given: dict[str, Any] = {"classifier": "trees"}
    if request.param == "network":
        given = {
            "network": NetworkConfig((3,), "silu", batch_norm=False, dropout=0.0, l2=0.0),
            "training": TrainingConfig(2, 100, 1e-2, 1e-4, schedule="cosine"),
        }
    SystematicResponse(seed=1, **given).fit(variations(300, 1)).save(folder)
    return folder


@pytest.fixture
def broken(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "broken"))


def content_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "model.json").read_text())
    return content


def write(folder: Path, content: dict[str, Any]) -> None:
    (folder / "model.json").write_text(json.dumps(content))


def write_arrays(folder: Path, arrays: dict[str, Any], save: Any = np.savez) -> None:
    """Other arrays, with the checksum that belongs to them."""
    save(folder / ARRAYS, **arrays)
    content = content_of(folder)
    content["weights"][ARRAYS] = hashlib.sha256((folder / ARRAYS).read_bytes()).hexdigest()
    write(folder, content)


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every entry of JSON; of long lists the first two."""
    for key in list(value) if isinstance(value, dict) else range(min(len(value), 2)):
        yield (*before, key)
        if isinstance(value[key], dict | list):
            yield from places(value[key], (*before, key))


def changed(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    content = copy.deepcopy(content)
    owner = content
    for key in place[:-1]:
        owner = owner[key]
    if value is DELETED:
        del owner[place[-1]]
    else:
        owner[place[-1]] = value
    return content


def use(folder: Path) -> bool:
    """It is refused by an error that names the folder, or of use; whether it is of use."""
    try:
        response = SystematicResponse.load(folder)
    except ModelError as error:
        message = str(error)
    else:
        message = ""
        usable(response)
    assert not message or str(folder) in message
    return not message


def usable(response: SystematicResponse) -> None:
    n = len(response.terms.nuisances)
    assert repr(response)
    assert response._repr_html_()
    assert repr(response.fitted)
    assert response.fitted.to_table().num_rows > 0
    assert np.isfinite(response.table(DATA).log_response(np.full(n, 0.5))).all()
    assert np.isfinite(response.expected.log_yield(np.full(n, 0.5)).value)
    assert np.isfinite(response.expected.error(np.full(n, 0.5)))


def test_every_entry_is_checked(broken):
    good = content_of(broken)
    good["trained_on"] = good["trained_on"][:1]
    assert use(broken)
    # Any name of a class and any list of fingerprints would do.
    skipped = ("versions", "trained_on")
    refused, values = 0, cycle(VALUES)
    for place in places(good):
        if place[0] in skipped:
            continue
        for value in islice(values, 2):  # all values at every place take minutes
            write(broken, changed(good, place, value))
            try:
                refused += not use(broken)
            except AssertionError as error:
                raise AssertionError(place, value) from error
    assert refused > 100


def test_every_array_is_checked(broken):
    with np.load(broken / ARRAYS) as file:
        arrays = dict(file)
    refused = 0
    for name, array in arrays.items():
        changes = {
            "missing": None,
            "nan": np.full(array.shape, np.nan),
            "infinite": np.full(array.shape, np.inf),
            "text": np.full(array.shape, "x"),
            "complex": array.astype(complex),
            "one number": np.array(1.0),
            "three axes more": array[None, None, None],
            "no numbers": np.empty(0),
            "twice": np.concatenate([array, array]),
        }
        for kind, change in changes.items():
            others = {k: v for k, v in {**arrays, name: change}.items() if v is not None}
            write_arrays(broken, others)
            if array.dtype == np.uint8 and kind == "twice":
                continue  # XGBoost reads the first of two trees
            if array.size or kind not in ("nan", "infinite", "no numbers", "twice"):
                assert not use(broken), (name, kind)
                refused += 1
    assert refused > 100


CASES = {
    "an activation that Keras would deserialise": (
        ("network", "activation"), {"class_name": "Lambda", "config": {}}, "activation of the",
    ),
    "an unknown activation": (("network", "activation"), "x", "activation"),
    "history of a text": (("history",), "x", "history is 'x', and not a list"),
    "a column twice": (("members", 0, 0, "places", 0), 1, "give the columns"),
    "limits of others": (("limits", 0), [-1.0, 3.0], "limits are"),
    "an endless list of arrays": (("members", 0, 0, "n_arrays"), 10**8, "member_0_0_"),
    "a degree without end": (("expected_basis",), {"parameters": ["c"], "degree": 10**8}, "more"),
    "a negative limit": (("settings", "limit"), -1.0, "limit is -1"),
    "a seed of words": (("settings", "seed"), "x", "seed is 'x', and not"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_entry_is_named(case, broken):
    place, value, message = CASES[case]
    if case == "an unknown activation" and content_of(broken)["settings"]["classifier"] == "trees":
        pytest.skip("trees have no activation")
    write(broken, changed(content_of(broken), place, value))
    with pytest.raises(ModelError, match=message) as caught:
        SystematicResponse.load(broken)
    assert str(broken) in str(caught.value)


def test_compressed_arrays_are_refused(broken):
    with np.load(broken / ARRAYS) as file:
        arrays = dict(file)
    write_arrays(broken, {**arrays, "zeros": np.zeros(10**7)}, np.savez_compressed)
    with pytest.raises(ModelError, match="its arrays are compressed"):
        SystematicResponse.load(broken)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"x", b"\x93NUMPY\x01\x00"])
def test_no_arrays_at_all(data, broken):
    (broken / ARRAYS).write_bytes(data)
    content = content_of(broken)
    content["weights"][ARRAYS] = hashlib.sha256(data).hexdigest()
    write(broken, content)
    with pytest.raises(ModelError, match="train again"):
        SystematicResponse.load(broken)


@pytest.mark.parametrize("name", ["x" * 500, "file", "file/inside", "absent"])
def test_folders_that_cannot_be(name, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match=r"cannot be read|is not a milinfer model"):
        SystematicResponse.load(tmp_path / name)
