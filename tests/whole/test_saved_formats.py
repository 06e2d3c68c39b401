"""Files that an earlier milinfer has written are read, and say what they said then.

Files of models have format 4; ``tests/data/make_format4.py`` has made them.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

import milinfer as mil
from saved_formats import EXPECTED, FOLDER, READERS, figures_of, plain

VALUES = json.loads((FOLDER / EXPECTED).read_text(encoding="utf-8"))
# Networks compute in float32, whose last digits depend on the processor.
TOLERANCE = {"exact": 1e-12, "rounded": 1e-5}


def compare(value, expected, tolerance, where):
    """Numbers agree to a share of the largest of their array, as log-ratios go through zero."""
    if isinstance(expected, dict):
        assert sorted(value) == sorted(expected), where
        for name, item in expected.items():
            compare(value[name], item, tolerance, f"{where}, {name}")
        return
    value, expected = np.array(value, np.float64), np.array(expected, np.float64)
    assert value.shape == expected.shape, where
    finite = np.abs(expected[np.isfinite(expected)])
    scale = finite.max() if finite.size else 0.0
    np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance * scale, err_msg=where)


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_file_says_what_it_said_when_it_was_written(name):
    figures, expected = plain(figures_of(name)), VALUES[name]
    assert sorted(figures) == sorted(expected)
    assert figures["same"] == expected["same"]
    for kind in sorted(set(expected) - {"same"}):
        compare(figures[kind], expected[kind], TOLERANCE[kind], f"{name}, {kind}")


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_file_is_recognised(name):
    assert mil.inspect_file(FOLDER / name)["kind"]


def test_the_models_have_format_4():
    formats = {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))["format"]
        for path in FOLDER.rglob("model.json")
    }
    assert formats.pop("boosted") == "xgboost-2"
    assert formats.pop("background_ratio") == "background-1"
    for name in ("response", "response_in_theta", "response_of_trees"):
        assert formats.pop(name) == "response-1"
    assert len(formats) == 8
    assert set(formats.values()) == {4}


def test_every_file_is_there_and_read():
    """A folder whose files are in no other is read as a whole."""
    parts = {path.relative_to(FOLDER).parts for path in FOLDER.rglob("*") if path.is_file()}
    assert {p[0] for p in parts} - {EXPECTED} == {n.split("/")[0] for n in READERS}
    assert set(VALUES) == set(READERS)


def test_figures_that_differ_are_told_apart():
    compare([0.0, 1.0], [0.0, 1.0 + 5e-6], 1e-5, "")
    with pytest.raises(AssertionError, match="here"):
        compare([0.0, 1.0], [0.0, 1.0 + 5e-5], 1e-5, "here")
    with pytest.raises(AssertionError, match="here, a"):
        compare({"a": [1.0]}, {"a": [2.0]}, 1e-5, "here")
    with pytest.raises(AssertionError):
        compare({"a": [1.0]}, {"b": [1.0]}, 1e-5, "here")
