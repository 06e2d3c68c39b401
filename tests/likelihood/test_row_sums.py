"""Sums of rows by compiled loops against plain ones."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.exceptions import SampleError
from milinfer.likelihood.row_sums import row_sums


def random_terms(seed, n_rows, n_terms, n_columns, n_segments):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(n_rows, n_columns))
    inner = np.sort(rng.integers(0, n_terms + 1, n_segments - 1))
    return (
        table,
        rng.integers(0, n_rows, n_terms),
        rng.choice([-1.0, 1.0, 0.25], n_terms),
        np.concatenate([[0], inner, [n_terms]]),
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 50),
    st.integers(0, 100),
    st.integers(1, 20),
    st.integers(1, 8),
)
def test_sums_are_those_of_fractions(seed, n_rows, n_terms, n_columns, n_segments):
    table, index, weights, offsets = random_terms(seed, n_rows, n_terms, n_columns, n_segments)
    sums = row_sums(table, index, weights, offsets)
    for s in range(n_segments):
        terms = range(offsets[s], offsets[s + 1])
        exact = float(
            sum((Fraction(weights[i]) * Fraction(table[index[i], 0]) for i in terms), Fraction(0))
        )
        size = sum(abs(weights[i] * table[index[i], 0]) for i in terms)
        assert abs(sums[s, 0] - exact) <= 2.3e-16 * (len(terms) + 1) * size


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 12))
def test_a_segment_does_not_depend_on_the_others(seed, n_terms, n_columns):
    """A toy has the same bits alone, among others, and with more columns beside its own."""
    table, index, weights, offsets = random_terms(seed, 30, n_terms, n_columns, 4)
    together = row_sums(table, index, weights, offsets)
    for s, (low, high) in enumerate(itertools.pairwise(offsets)):
        alone = row_sums(table, index[low:high], weights[low:high], np.array([0, high - low]))
        np.testing.assert_array_equal(alone[0], together[s])
    first = row_sums(table[:, :1].copy(), index, weights, offsets)
    np.testing.assert_array_equal(first, together[:, :1])


def test_weights_of_one_and_single_precision_change_nothing():
    table, index, _, offsets = random_terms(1, 500, 3000, 21, 7)
    ones = np.ones(len(index))
    plain = row_sums(table, index, ones, offsets)
    # A weight of one that is not alone takes the other loop.
    mixed = row_sums(
        table,
        np.append(index, 0),
        np.append(ones, 2.0),
        np.append(offsets, len(index) + 1),
    )
    np.testing.assert_array_equal(mixed[:-1], plain)
    single = table.astype(np.float32)
    np.testing.assert_array_equal(
        row_sums(single, index, ones, offsets),
        row_sums(single.astype(np.float64), index, ones, offsets),
    )
    np.testing.assert_array_equal(row_sums(np.asfortranarray(table), index, ones, offsets), plain)
    whole = np.arange(40).reshape(20, 2)
    assert row_sums(whole, np.arange(20), np.ones(20), np.array([0, 20])).tolist() == [[380, 400]]


@pytest.mark.parametrize(
    ("index", "weights", "offsets", "message"),
    [
        ([0, 3], [1, 1], [0, 2], "events 0 to 3 were asked for, but the table has 3 events"),
        ([-1, 0], [1, 1], [0, 2], "events -1 to 0"),
        ([0, 1], [1], [0, 2], "1 weights were given for 2 events"),
        ([0, 1], [1, 1], [0, 3], "do not divide 2 events"),
        ([0, 1], [1, 1], [0, 2, 1], "do not divide 2 events"),
        ([0, 1], [1, 1], [-1, 2], "do not divide 2 events"),
        ([0, 1], [1, 1], [], "do not divide 2 events"),
    ],
)
def test_nothing_is_read_beyond_an_array(index, weights, offsets, message):
    with pytest.raises(SampleError, match=message):
        row_sums(np.zeros((3, 2)), np.array(index), np.array(weights, float), np.array(offsets))
