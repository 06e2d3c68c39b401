"""The reader refuses what is damaged, of another version, or not in the format."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import milinfer as mil
from milinfer.exceptions import ModelError
from milinfer.likelihood.published_reader import LikelihoodError, canonical_hash, read
from milinfer.utils.files import file_hash
from published_costs import N, mixture, systematic

PUBLISHED = Path(__file__).parents[1] / "data" / "published1"


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return mil.publish(systematic(), tmp_path_factory.mktemp("p") / "published")


@pytest.fixture
def folder(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def content_of(folder: Path) -> dict:
    return json.loads((folder / "likelihood.json").read_text(encoding="utf-8"))


def write(folder: Path, content: dict, *, seal: bool = True) -> None:
    if seal:
        content = {**content, "checksum": canonical_hash(content)}
    (folder / "likelihood.json").write_text(json.dumps(content), encoding="utf-8")


def write_arrays(folder: Path, arrays: dict, *, say: bool = True) -> None:
    """Other arrays, whose file has the right checksum."""
    path, content = folder / "events.npz", content_of(folder)
    np.savez(path, **arrays)
    facts = content["files"]["events.npz"]
    facts |= {"sha256": file_hash(path), "bytes": path.stat().st_size}
    if say:
        facts["arrays"] = {
            k: {"shape": [*a.shape], "dtype": a.dtype.name} for k, a in arrays.items()
        }
    write(folder, content)


def arrays_of(folder: Path) -> dict:
    with np.load(folder / "events.npz") as stored:
        return {name: stored[name] for name in stored.files}


def refused(folder: Path, message: str) -> None:
    with pytest.raises(LikelihoodError, match=message):
        read(folder)
    with pytest.raises(ModelError, match=message):
        mil.load_published(folder)


def test_a_folder_or_file_that_is_not_there(folder, tmp_path):
    refused(tmp_path / "nowhere", "likelihood.json cannot be read")
    (folder / "events.npz").unlink()
    refused(folder, r"the file events.npz cannot be read")


def test_a_changed_number_is_noticed(folder):
    content = content_of(folder)
    content["terms"][0]["n_events"] += 1e-9
    write(folder, content, seal=False)
    refused(folder, "is damaged or was changed: its checksum differs")


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_damaged_byte_is_noticed(folder, place):
    data = bytearray((folder / "events.npz").read_bytes())
    data[int(place * len(data))] ^= 1
    (folder / "events.npz").write_bytes(data)
    refused(folder, "the file events.npz is damaged: its checksum differs")


@pytest.mark.parametrize("text", ["{", "[1]", '{"format": "other"}', '{"a": NaN}', "", "\xff"])
def test_other_files_are_refused(folder, text):
    (folder / "likelihood.json").write_bytes(text.encode("latin1"))
    refused(folder, "is not JSON|is not a published likelihood|cannot be read")


@pytest.mark.parametrize("version", [2, 0, "1", None, True, 1.5])
def test_another_version_is_refused(folder, version):
    write(folder, {**content_of(folder), "version": version})
    refused(folder, "of the format, and this reader reads version 1; use the read_likelihood.py")


def objects(value, path=()):
    """Every object of the JSON that has fixed keys, by its path."""
    free = {"provenance", "written_by", "files", "arrays", "factors"}
    if isinstance(value, dict):
        if not path or path[-1] not in free:
            yield path
        for key, item in value.items():
            if key not in ("provenance", "written_by"):
                yield from objects(item, (*path, key))
    if isinstance(value, list):
        for k, item in enumerate(value):
            yield from objects(item, (*path, k))


def at(content, path):
    for key in path:
        content = content[key]
    return content


def test_every_key_is_needed_and_no_other_is_taken(folder):
    content = content_of(folder)
    paths = list(objects(content))
    assert len(paths) > 30
    for path in paths:
        other = copy.deepcopy(content)
        at(other, path)["unknown"] = 1
        write(folder, other)
        with pytest.raises(LikelihoodError, match="has the key 'unknown', which this"):
            read(folder)
        for key in at(content, path):
            if path == () and key in ("format", "version", "checksum", "files"):
                continue
            other = copy.deepcopy(content)
            del at(other, path)[key]
            write(folder, other)
            with pytest.raises(LikelihoodError, match=f"has no key '{key}'"):
                read(folder)
    write(folder, content)
    read(folder)


WRONG = {
    "a term of an unknown kind": (("terms", 0, "kind"), "other", "term 0, kind is 'other'"),
    "a number that is a text": (("terms", 0, "n_events"), "3", "n_events is not a finite number"),
    "a number that is true": (("terms", 0, "n_events"), True, "n_events is not a finite number"),
    "an array that is not there": (("terms", 0, "weights"), "x", "there is no array 'x'"),
    "a list as an array": (("terms", 0, "weights"), [1.0], "there is no array"),
    "another parameter": (("parameters", 0, "name"), "nu", "there is no parameter 'mu'"),
    "the same name twice": (("parameters", 0, "name"), "tilt", "two parameters have the name"),
    "a role": (("parameters", 0, "role"), "poi", "mu, role is 'poi'"),
    "a unit": (("parameters", 0, "unit"), 3, "mu, unit is not a text"),
    "not true or false": (("terms", 0, "extended"), 1, "extended is not true or false"),
    "names twice": (("terms", 0, "nuisances"), ["a", "a"], "nuisances has a name twice"),
    "no list": (("terms", 0, "processes"), {}, "processes is not a list"),
    "no process": (("terms", 0, "processes"), [], "has no process"),
    "a signal with a norm": (("terms", 0, "processes", 0, "norm"), "x", "is the signal"),
    "a negative factor": (
        ("terms", 0, "uncertainties", 0, "factors", "signal"),
        [-1.0, 1.0],
        "factors of signal are not positive",
    ),
    "a factor of no process": (
        ("terms", 0, "uncertainties", 0, "factors"),
        {"x": [1.0, 1.0]},
        "there is no parameter 'x'",
    ),
    "an interpolation": (
        ("terms", 0, "processes", 0, "response", "interpolation"),
        "code1",
        "is 'code1', and not one of polynomial, code4",
    ),
    "too few numbers": (("terms", 0, "reference"), [], "has 0 numbers, and not 1"),
    "a negative variance": (
        ("terms", 1, "covariance", 0, 0),
        -1.0,
        "covariance is not a positive matrix",
    ),
    "a parameter of no term": (
        ("parameters",),
        None,
        "parameters is not a list",
    ),
    "a title": (("title",), None, "title is not a text"),
    "provenance": (("provenance",), [], "provenance is not an object"),
    "a bound": (("bound",), -1.0, "bound is negative"),
    "a check": (("checks", 0, "value"), "0", "check 0 is not a finite number"),
    "a number too large": (("terms", 0, "n_events"), 10**400, "n_events is not a finite number"),
    "half of a range below zero": (
        ("terms", 0, "processes", 0, "response", "half"),
        [-1.0],
        "half has numbers that are not positive",
    ),
    "a box upside down": (("terms", 0, "signal", "high"), [-2.0], "high is not above low"),
    "a file of another folder": (("files",), {"../events.npz": {}}, "is not one of this folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_has_a_wrong_value_is_refused_by_name(folder, name):
    path, value, message = WRONG[name]
    content = content_of(folder)
    at(content, path[:-1])[path[-1]] = value
    write(folder, content)
    refused(folder, message)


def test_random_changes_are_read_or_refused(tmp_path):
    """Of folders of all kinds: never another error, such as those of numpy or of a key."""
    rng = np.random.default_rng(1)
    values = [None, "x", [], {}, -1, 0, True, 1e30, [1.0], [[1.0]], {"kind": "chebyshev"}, 2**70]
    refusals = 0
    for original in sorted(PUBLISHED.iterdir()):
        content = content_of(original)
        shutil.copy(original / "events.npz", tmp_path)
        paths = [p for p in leaves(content) if p[:1] not in {(), ("version",), ("format",)}]
        for k in rng.permutation(len(paths))[:30].tolist():
            changed = copy.deepcopy(content)
            at(changed, paths[k][:-1])[paths[k][-1]] = values[int(rng.integers(len(values)))]
            write(tmp_path, changed)
            try:
                likelihood = read(tmp_path)
                likelihood(*likelihood.start.values())
            except LikelihoodError:
                refusals += 1
    assert refusals > 100


def leaves(content, path=()):
    """Paths of everything in a JSON."""
    yield path
    items = content.items() if isinstance(content, dict) else ()
    for key, item in enumerate(content) if isinstance(content, list) else items:
        yield from leaves(item, (*path, key))


def test_powers_are_whole_numbers(folder):
    arrays = arrays_of(folder)
    name = "term0.rate.exponents"
    for wrong in (-arrays[name], arrays[name].astype(float)):
        write_arrays(folder, {**arrays, name: wrong})
        refused(folder, "has a power that is negative or not a whole number")


def test_a_parameter_that_no_term_has(folder):
    content = content_of(folder)
    content["parameters"].append({**content["parameters"][0], "name": "more"})
    write(folder, content)
    refused(folder, "no term depends on the parameter more")


def test_arrays_are_those_that_the_json_lists(folder):
    arrays = arrays_of(folder)
    name = "term0.weights"
    missing = {k: a for k, a in arrays.items() if k != name}
    write_arrays(folder, missing, say=False)
    refused(folder, f"do not list the same arrays: {name}")
    write_arrays(folder, missing)
    refused(folder, f"there is no array '{name}'")
    write_arrays(folder, {**arrays, "more": np.zeros(3)})
    refused(folder, "no term uses the array more")
    write_arrays(folder, {**arrays, name: arrays[name][:-1]})
    refused(folder, rf"has the shape \(3, {N}\)")
    write_arrays(folder, arrays)
    write_arrays(folder, {**arrays, name: arrays[name][:-1]}, say=False)
    refused(folder, "has another shape or type than the JSON says")
    bad = arrays[name].copy()
    bad[3] = np.nan
    write_arrays(folder, {**arrays, name: bad})
    refused(folder, "has numbers that are not finite")
    write_arrays(folder, {**arrays, name: arrays[name].astype(np.complex128)})
    refused(folder, "has numbers of the type complex128")
    write_arrays(folder, arrays)
    read(folder)


def test_a_pickle_is_never_opened(folder):
    arrays = arrays_of(folder)
    objects_too = np.array([{"a": 1}], dtype=object)
    write_arrays(folder, {**arrays, "term0.weights": objects_too})
    refused(folder, "is not one of plain arrays")


def test_values_outside_of_the_range_and_other_numbers_of_them(folder):
    likelihood = read(folder)
    start = list(likelihood.start.values())
    with pytest.raises(LikelihoodError, match="mu = 2 is outside"):
        likelihood(2.0, *start[1:])
    with pytest.raises(LikelihoodError, match="mu = nan is outside"):
        likelihood(np.nan, *start[1:])
    with pytest.raises(LikelihoodError, match="give one number for each of mu, one_norm"):
        likelihood(0.0)
    # Minuit rounds at limits.
    assert likelihood(1.0 + 1e-12, *start[1:]) == likelihood(1.0, *start[1:])


def test_a_normalisation_of_zero_has_a_value_and_a_slope(tmp_path):
    cost = mixture("polynomials")
    likelihood = read(mil.publish(cost, tmp_path / "a"))
    point = [0.1, 0.1, 0.0, 0.0]
    assert likelihood(*point) == pytest.approx(cost(*point), abs=1e-9)
    np.testing.assert_allclose(likelihood.grad(*point), cost.grad(*point), rtol=1e-9)
