"""Intervals of Feldman and Cousins, Phys. Rev. D 57 (1998) 3873, to two decimals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, poisson

from bounded_mean import bounded_gaussian
from milinfer.exceptions import CalibrationError, ParameterError
from milinfer.intervals.counting import belt_from_outcomes, feldman_cousins

# Tables II to IX, first rows and columns: ends by observed count.
TABLES = {
    (0.9, 0.0): "0.00-2.44 0.11-4.36 0.53-5.91 1.10-7.42 1.47-8.60 1.84-9.99 2.21-11.47 3.56-12.53 "
    "3.96-13.99 4.36-15.30 5.50-16.50",
    (0.9, 3.0): "0.00-1.08 0.00-1.88 0.00-3.04 0.00-4.42 0.00-5.60 0.00-6.99 0.15-8.47 0.89-9.53 "
    "1.51-10.99 1.88-12.30 2.63-13.50",
    (0.6827, 0.0): "0.00-1.29 0.37-2.75 0.74-4.25 1.10-5.30 2.34-6.78 2.75-7.81 3.82-9.28 "
    "4.25-10.30 5.30-11.32 6.33-12.79 6.78-13.81",
    (0.95, 0.0): "0.00-3.09 0.05-5.14 0.36-6.72 0.82-8.25 1.37-9.76 1.84-11.26 2.21-12.75 "
    "2.58-13.81 2.94-15.29 4.36-16.77 4.75-17.82",
    (0.99, 0.0): "0.00-4.74 0.01-6.91 0.15-8.71 0.44-10.47 0.82-12.23",
}
ROWS = [
    (cl, b, n, *map(float, ends.split("-")))
    for (cl, b), table in TABLES.items()
    for n, ends in enumerate(table.split())
]
# Beyond n = 0 the construction alone gives these; a longer interval at more background matters
# for small counts over large backgrounds.
LENGTHENED = [(0, 3.0, 1.08), (0, 4.0, 1.01), (0, 5.0, 0.98), (1, 4.0, 1.39), (0, 9.0, 0.94)]


@pytest.mark.parametrize(("cl", "background", "n", "low", "high"), ROWS)
def test_counts_reproduce_the_published_tables(cl, background, n, low, high):
    lengthened = (n, background, high) in LENGTHENED
    found = feldman_cousins(n, background, cl, monotone=lengthened)
    assert found.low == pytest.approx(low, abs=0.00501)
    assert found.high == pytest.approx(high, abs=0.00501)
    assert found.at_bound[0] == (low == 0, False)
    assert found.estimate == max(n - background, 0)


@pytest.mark.parametrize(("n", "background", "high"), LENGTHENED)
def test_upper_ends_do_not_rise_with_the_background(n, background, high):
    found = feldman_cousins(n, background, 0.9)
    assert found.high == pytest.approx(high, abs=0.00501)
    assert found.high > feldman_cousins(n, background, 0.9, monotone=False).high + 0.005


@pytest.mark.parametrize(
    ("cl", "x", "low", "high"),
    [
        (0.9, -3.0, 0.0, 0.26),
        (0.9, -2.0, 0.0, 0.40),
        (0.9, -1.0, 0.0, 0.81),
        (0.9, 0.0, 0.0, 1.64),
        (0.9, 1.0, 0.0, 2.64),
        (0.9, 1.3, 0.02, 2.94),
        (0.9, 2.0, 0.58, 3.64),
        (0.9, 3.0, 1.37, 4.64),
        (0.6827, -3.0, 0.0, 0.04),
        (0.6827, -1.0, 0.0, 0.27),
        (0.6827, 0.5, 0.02, 1.50),
        (0.6827, 1.0, 0.24, 2.00),
        (0.6827, 2.0, 1.00, 3.00),
        (0.95, -1.0, 0.0, 1.10),
        (0.95, 2.0, 0.35, 3.96),
    ],
)
def test_the_bounded_gaussian_reproduces_table_x(cl, x, low, high):
    found = bounded_gaussian(x, cl)
    assert found.low == pytest.approx(low, abs=0.00501)
    assert found.high == pytest.approx(high, abs=0.00501)


def test_the_bounded_gaussian_has_the_coverage_it_claims_in_closed_form():
    # x = 2 at 90 %: the acceptance region of the lower end, [x1, 2], must hold 90 %.
    mu, x2 = bounded_gaussian(2.0, 0.9).low, 2.0
    x1 = (mu**2 - (x2 - mu) ** 2) / (2 * mu)
    assert x1 < 0
    assert norm.cdf(x2 - mu) - norm.cdf(x1 - mu) == pytest.approx(0.9, abs=3e-4)


def test_far_from_the_bound_the_interval_is_central():
    found = bounded_gaussian(8.0, 0.6827)
    assert (found.low, found.high) == pytest.approx((7.0, 9.0), abs=1e-3)


def test_many_counts_approach_the_gaussian_limit():
    found = feldman_cousins(400, 100.0, 0.6827, monotone=False)
    # To the discreteness of one count.
    assert (found.low, found.high) == pytest.approx((280.0, 320.0), abs=1.0)


def test_enumerated_belts_cover_and_give_every_outcome_its_set():
    mu = np.linspace(0, 10, 201)
    n = np.arange(60)
    p = poisson.pmf(n[:, None], mu + 0.5)
    best = poisson.pmf(n, np.maximum(n, 0.5))
    belt = belt_from_outcomes(mu, np.log(p), np.log(best), p.T, 0.9)
    covered = (p * belt.accepted).sum(axis=0)
    np.testing.assert_allclose(covered, belt.coverage)
    assert np.all(covered >= 0.9 - 1e-12)
    one = belt.confidence_set(3)
    exact = feldman_cousins(3, 0.5, 0.9, monotone=False)
    assert (one.low, one.high) == pytest.approx((exact.low, exact.high), abs=0.05)
    assert one.estimate == pytest.approx(2.5)
    with pytest.raises(CalibrationError, match="enumerate more"):
        belt_from_outcomes(mu, np.log(p[:5]), np.log(best[:5]), p[:5].T, 0.9)
    with pytest.raises(CalibrationError, match="do not fit"):
        belt_from_outcomes(mu, np.log(p.T), np.log(best), p.T, 0.9)


def test_what_is_no_experiment_is_refused():
    for n, background, cl in ((-1, 0.0, 0.9), (1, -1.0, 0.9), (1, 0.0, 90.0)):
        with pytest.raises(ParameterError):
            feldman_cousins(n, background, cl)
