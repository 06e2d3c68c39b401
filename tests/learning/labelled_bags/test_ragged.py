"""Bags in every form as one table."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.exceptions import SampleError
from milinfer.learning.labelled_bags.ragged import bag_rows, is_bags, ragged_bags

few_examples = settings(max_examples=30, deadline=None)
sizes_of_bags = st.lists(st.integers(1, 6), min_size=1, max_size=6)


def bags_of(sizes, seed=0, width=3):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, width)) for n in sizes]


@few_examples
@given(sizes=sizes_of_bags, seed=st.integers(0, 1000))
def test_all_forms_are_the_same_table(sizes, seed):
    bags = bags_of(sizes, seed)
    objects = np.empty(len(bags), dtype=object)
    objects[:] = bags
    forms = [
        bags,
        tuple(bags),
        objects,
        [b.tolist() for b in bags],
        ak.Array([b.tolist() for b in bags]),
        list(ak.Array([b.tolist() for b in bags])),
    ]
    if len(set(sizes)) == 1:
        forms.append(np.array(bags))
    for form in forms:
        assert is_bags(form)
        table = ragged_bags(form)
        np.testing.assert_array_equal(table.instances, np.concatenate(bags))
        np.testing.assert_array_equal(table.sizes, sizes)
        for one, other in zip(table.split(table.instances), bags, strict=True):
            np.testing.assert_array_equal(one, other)


@few_examples
@given(sizes=sizes_of_bags)
def test_rows_of_bags_are_all_rows_once(sizes):
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    rows, present = bag_rows(offsets)
    assert rows.shape == (len(sizes), max(sizes))
    np.testing.assert_array_equal(present.sum(axis=1), sizes)
    np.testing.assert_array_equal(rows[present], np.arange(sum(sizes)))


@pytest.mark.parametrize(
    "table", [np.zeros((3, 2)), [[1.0, 2.0]], [1.0, 2.0], np.zeros(3), [], "text"]
)
def test_plain_tables_are_no_bags(table):
    assert not is_bags(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:0], "bag 1 is empty"),
        (lambda b: b[:0].tolist(), "bag 1 is empty"),
        (lambda b: b[:, :2], "bag 1 has 2 features, but bag 0 has 3"),
        (lambda b: b[0], r"bag 1 has shape \(3,\)"),
        (lambda b: b.astype(str), "bag 1 is not a table of real numbers"),
        (lambda b: b * 1j, "bag 1 is not a table of real numbers"),
        (lambda b: [*b.tolist(), [1.0]], "bag 1 is not a table of real numbers"),
        (lambda b: np.where(np.arange(6).reshape(2, 3) == 5, np.nan, b), "bag 1, instance 1: fea"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    bags = bags_of([1, 2, 3])
    bags[1] = change(bags[1])
    assert is_bags(bags)
    with pytest.raises(SampleError, match=message):
        ragged_bags(bags)


def test_ragged_features_and_missing_values_of_awkward_arrays_are_refused():
    with pytest.raises(SampleError, match="bag 1"):
        ragged_bags(ak.Array([[[1.0, 2.0]], [[1.0, 2.0], [3.0]]]))
    with pytest.raises(SampleError, match="bag 0"):
        ragged_bags(ak.Array([[[1.0, None]], [[1.0, 2.0]]]))
    with pytest.raises(SampleError, match="bag 1 is empty"):
        ragged_bags(ak.Array([[[1.0, 2.0]], []]))


def test_no_bags_are_refused():
    with pytest.raises(SampleError, match="no bags"):
        ragged_bags(np.zeros((0, 2, 3)))
