"""Sums of a few columns of a table, from which all columns follow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.datasets import quadratic
from milinfer.likelihood.models import as_model, event_sums
from milinfer.likelihood.oracle import Oracle
from milinfer.toys.few_columns import choose_columns
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import Toys

THETA = np.linspace(-1, 1, 81)


def log_ratios(rng, n_events, size):
    """Logarithms of positive quadratic densities, as those of an effective field theory."""
    a, b = size * rng.uniform(-0.5, 0.5, (2, n_events, 1))
    return np.log1p(a * THETA + b * THETA**2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), n_events=st.integers(1, 3000), size=st.floats(1e-3, 0.95))
def test_sums_of_few_columns_are_those_of_all(seed, n_events, size):
    rng = np.random.default_rng(seed)
    table = log_ratios(rng, n_events, size)
    chosen = choose_columns(table)
    if chosen is None:
        return
    index = rng.integers(n_events, size=500)
    signs = rng.choice([-1.0, 1.0], 500)
    offsets = np.array([0, 0, 200, 500])
    np.testing.assert_allclose(
        chosen(chosen.table(table), index, signs, offsets),
        event_sums(table, index, signs, offsets),
        atol=500 * 2e-11 * np.abs(table).max(),
        rtol=0,
    )


def test_most_columns_follow_from_a_few():
    chosen = choose_columns(log_ratios(np.random.default_rng(1), 5000, 0.9))
    assert chosen is not None
    assert len(chosen.columns) < 30
    assert len(chosen.rest) < 250


def test_events_that_differ_from_all_others_keep_their_columns():
    table = log_ratios(np.random.default_rng(1), 5000, 0.3)
    table[1234] = np.log(1e-12 + (THETA - 0.012345) ** 2)
    chosen = choose_columns(table)
    assert chosen is not None
    assert chosen.hard[1234] >= 0
    one = np.array([1234]), np.ones(1), np.array([0, 1])
    np.testing.assert_allclose(chosen(chosen.table(table), *one)[0], table[1234], atol=1e-9)


@pytest.mark.parametrize(
    "table",
    [
        np.random.default_rng(1).normal(size=(2000, 81)),  # no column follows from others
        np.zeros((100, 81)),
        np.empty((0, 81)),
        np.outer(np.arange(100.0), np.arange(10.0)),  # few columns
        np.where(np.eye(100, 81) == 1, -np.inf, 1.0),
    ],
    ids=["random", "zero", "empty", "narrow", "infinite"],
)
def test_other_tables_are_summed_as_they_are(table):
    assert choose_columns(table) is None


@pytest.fixture(scope="module")
def oracle_toys():
    samples = quadratic.samples(3000, [{"c1": -1.0}, {"c1": 1.0}], seed=1)
    oracle = Oracle.from_sample(samples[0], "c1", np.linspace(-1, 1, 81), degree=2)
    return oracle, Toys(EventPool(samples, degree=2), n_events=200, seed=2)


def test_toys_of_a_fine_grid_are_sums_over_their_events(oracle_toys):
    oracle, toys = oracle_toys
    values = toys.run([oracle], 0.3, 130)["oracle"].values
    table = as_model(oracle).event_table(toys.dataset({"c1": 0.3}, 120))
    np.testing.assert_allclose(values[120], table.sum(axis=0), atol=1e-8)


def test_the_bits_of_a_toy_do_not_depend_on_the_toys_beside_it(oracle_toys):
    oracle, toys = oracle_toys
    values = toys.run([oracle], 0.3, 130)["oracle"].values
    np.testing.assert_array_equal(
        toys.run([oracle], 0.3, 3, start=120, workers=2)["oracle"].values, values[120:123]
    )
