"""What is not a variation is said to be none, by an error that says what to give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from milinfer.exceptions import ConfigurationError, MissingFileError, SampleError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations

NOMINAL = Sample(np.array([[1.0], [2.0]]), ("x",))
UP = Variation.of_weights(NOMINAL, {"theory": 1.0}, [1.1, 0.9])


@pytest.mark.parametrize(
    ("nuisances", "message"),
    [
        (None, "None are not shifts"),
        ("jes", "'jes' are not shifts"),
        (["jes"], "are not shifts"),
        (("jes", 1.0), "are not shifts"),
        ({"jes": "up"}, "are not shifts"),
        ({"jes": 10**400}, "are not shifts"),
        ({"jes": [1.0]}, "are not shifts"),
        ({None: 1.0}, "None cannot name a nuisance parameter"),
        ({1: 1.0}, "1 cannot name a nuisance parameter"),
        ({"jes/x": 1.0}, "cannot name a nuisance parameter"),
        ({"[/b]": 1.0}, "cannot name a nuisance parameter"),
        ({"jes": float("nan")}, "jes is nan"),
        ({}, "no nuisance parameter is shifted"),
        ({"jes": 0.0}, "no nuisance parameter is shifted"),
    ],
)
def test_shifts(nuisances: Any, message: str) -> None:
    for make in (
        lambda: Variation(nuisances, NOMINAL),
        lambda: Variation.of_weights(NOMINAL, nuisances, [1.1, 0.9]),
        lambda: Variation.of_features(NOMINAL, nuisances, NOMINAL.features + 1),
    ):
        with pytest.raises(SampleError, match=message):
            make()


@pytest.mark.parametrize("weights", [["a", "b"], [None, [1]]])
def test_weights_that_are_no_numbers(weights: Any) -> None:
    with pytest.raises(SampleError, match="the weights are not numbers"):
        Variation.of_weights(NOMINAL, {"jes": 1.0}, weights)


def test_sums_of_weights_that_are_not_finite() -> None:
    """Each weight is finite, and the yield is not."""
    large = np.full(2, 1e308)
    many = Sample(NOMINAL.features, ("x",), weights=large)
    with pytest.raises(SampleError, match="sum to inf; its yield must be positive and finite"):
        ProcessVariations(SampleSet((NOMINAL,)), (Variation({"jes": 1.0}, many, np.arange(2)),))
    with pytest.raises(SampleError, match="sum to inf; a response is"):
        ProcessVariations(SampleSet((many,)), (Variation({"jes": 1.0}, many),))


@pytest.mark.parametrize(
    ("nominal", "variations", "message"),
    [
        (None, [UP], "takes a SampleSet, not None"),
        ("x", [UP], "takes a SampleSet, not a str"),
        ([NOMINAL], [UP], "write milinfer.SampleSet"),
        (NOMINAL, None, "a list of Variation, and not of NoneType"),
        (NOMINAL, "x", "a list of Variation, and not of str"),
        (NOMINAL, [NOMINAL], "a list of Variation, and not of Sample"),
        (NOMINAL, [], "there are no variations"),
    ],
)
def test_parts(nominal: Any, variations: Any, message: str) -> None:
    with pytest.raises(SampleError, match=message):
        ProcessVariations(nominal, variations)


def test_one_variation_needs_no_list() -> None:
    assert ProcessVariations(NOMINAL, UP).nuisances == ("theory",)  # type: ignore[arg-type]


@pytest.mark.parametrize("parts", ["x", [NOMINAL]])
def test_what_cannot_be_joined(parts: Any) -> None:
    with pytest.raises(SampleError, match="takes a list of ProcessVariations, and not of"):
        ProcessVariations.concatenate(parts)


def test_a_way_to_join_is_checked_where_there_is_nothing_to_join() -> None:
    process = ProcessVariations(NOMINAL, [UP])  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="combine is 'add'; it can be 'sum'"):
        ProcessVariations.concatenate([process], "add")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x" * 500, "file", "file/inside"])
def test_folders_that_cannot_be(name: str, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(MissingFileError, match=r"has no variations\.json that can be read"):
        ProcessVariations.load(tmp_path / name)
