"""Samples: splitting and joining lose nothing, and bad input is named."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.exceptions import SampleError
from milinfer.samples.sample import Sample, as_features


def numbered(n, **options):
    """Events whose feature, weight and reweight are their number."""
    index = np.arange(n, dtype=np.float64)
    return Sample(
        index[:, None],
        ("x",),
        index,
        reweights={"up": 2 * index},
        reweight_points={"up": {"mu": 1.0}},
        point={"mu": 0.0},
        cross_section=3.0,
        **options,
    )


fractions = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6)


@given(n=st.integers(0, 300), parts=fractions, seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_split_loses_nothing(n, parts, seed):
    shares = list(np.array(parts) / np.sum(parts))
    split = numbered(n).split(shares, seed=seed)
    assert len(split) == len(shares)
    together = np.concatenate([part.weights for part in split])
    assert sorted(together) == list(range(n))
    for part, share in zip(split, shares, strict=True):
        np.testing.assert_array_equal(part.features[:, 0], part.weights)
        np.testing.assert_array_equal(part.reweights["up"], 2 * part.weights)
        assert abs(len(part) - share * n) <= 1
        assert part.cross_section == 3.0
        assert part.reweight_points == {"up": {"mu": 1.0}}


@given(n=st.integers(0, 300), share=st.floats(0.01, 0.49), seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_split_that_leaves_events_out_is_disjoint(n, share, seed):
    first, second = (set(p.weights) for p in numbered(n).split([share, share], seed=seed))
    assert not first & second
    assert first | second <= set(range(n))


def test_split_is_deterministic_and_random():
    sample = numbered(100)
    a, b = (sample.split([0.5, 0.5], seed=4)[0].weights for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert set(a) != set(sample.split([0.5, 0.5], seed=5)[0].weights)
    assert set(a) != set(range(50))


@pytest.mark.parametrize("bad", [[], [0.5, 0.6], [0.5, 0.0], [-0.1, 0.5], [float("nan"), 0.5]])
def test_bad_fractions(bad):
    with pytest.raises(SampleError, match="positive and sum to at most 1"):
        numbered(10).split(bad, seed=1)


@given(cuts=st.lists(st.integers(0, 50), max_size=5))
@settings(max_examples=30, deadline=None)
def test_concatenate_undoes_slicing(cuts):
    sample = numbered(50)
    edges = [0, *sorted(cuts), 50]
    parts = [sample.take(slice(a, b)) for a, b in itertools.pairwise(edges)]
    joined = Sample.concatenate(parts)
    np.testing.assert_array_equal(joined.features, sample.features)
    np.testing.assert_array_equal(joined.weights, sample.weights)
    np.testing.assert_array_equal(joined.reweights["up"], sample.reweights["up"])
    assert len(parts[0] + parts[-1]) == len(parts[0]) + len(parts[-1])


@pytest.mark.parametrize(
    "change",
    [{"process": "other"}, {"point": {"mu": 1.0}}, {"feature_names": ("y",)}, {"reweights": {}}],
)
def test_concatenate_refuses_other_kinds(change):
    sample = numbered(3)
    if "reweights" in change:
        change = {**change, "reweight_points": {}}
    with pytest.raises(SampleError, match=r"cannot concatenate .* different "):
        _ = sample + dataclasses.replace(sample, **change)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": np.zeros(3)}, "1 feature names are given"),
        ({"features": np.zeros((3, 2))}, "1 feature names are given"),
        ({"feature_names": ("x", "x"), "features": np.zeros((3, 2))}, "not unique"),
        ({"weights": np.ones(2)}, r"has shape \(2,\), but there are 3 events"),
        ({"weights": [1, np.nan, 1]}, "weight 'weight' is not finite in event 1"),
        ({"features": [[0], [1], [np.inf]]}, "feature 'x' is not finite in event 2"),
        ({"reweights": {"up": [1, 2]}}, "'up' has shape"),
        ({"reweights": {"up": [1, 2, np.inf]}}, "weight 'up' is not finite in event 2"),
        ({"reweight_points": {"up": {"mu": 1}}}, "unknown weights"),
    ],
)
def test_bad_samples_are_named(options, message):
    with pytest.raises(SampleError, match=message):
        Sample(**{"features": np.zeros((3, 1)), "feature_names": ("x",), **options})


def test_columns():
    sample = numbered(3)
    assert sample.column("x").tolist() == [0, 1, 2]
    with pytest.raises(SampleError, match="no feature 'y'; it has x"):
        sample.column("y")


def test_as_features():
    sample = Sample(np.arange(6.0).reshape(3, 2), ("a", "b"))
    assert as_features(sample, ("a", "b")) is sample.features
    np.testing.assert_array_equal(as_features(sample, ("b",)), sample.features[:, 1:])
    np.testing.assert_array_equal(as_features([[1.0, 2.0]], ("a", "b")), [[1.0, 2.0]])
    with pytest.raises(SampleError, match=r"has no features c, which"):
        as_features(sample, ("a", "c"))
    with pytest.raises(SampleError, match="the model expects"):
        as_features([[1.0]], ("a", "b"))


def test_samples_that_cannot_be_joined_say_in_what_they_differ():
    """Regression: two samples of one kind, as it seemed, were not of one kind."""
    weights = {"a": [1.0], "b": [2.0]}
    first = Sample([[1.0]], ("x",), reweights=weights, provenance={"files": ["first.root"]})
    for other, message in (
        (
            Sample([[1.0]], ("x",), reweights={"a": [1.0]}),
            r"of first\.root and .*only one has b\)",
        ),
        (Sample([[1.0]], ("y",), reweights=weights), r"features \(only one has x, y\)"),
        (
            Sample([[1.0]], ("x",), reweights=weights, process="b", point={"mu": 1.0}),
            "different points; different processes",
        ),
    ):
        with pytest.raises(SampleError, match=f"cannot concatenate .*{message}"):
            first + other
    two, swapped = (Sample([[1.0, 2.0]], names) for names in (("x", "y"), ("y", "x")))
    with pytest.raises(SampleError, match=r"features \(in another order\)"):
        two + swapped
