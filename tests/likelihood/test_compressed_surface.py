"""Surfaces without events are as near to Λ as they claim."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from milinfer.exceptions import ConfigurationError
from milinfer.likelihood.compressed_surface import compressed_surface, interpolation_bound
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.utils.polynomials import PolynomialBasis


def sums(amplitudes, weights=None, degree=2):
    """Squared amplitudes (1 + Σ a_k θ_k)² + floor of events, over a box."""
    rows = np.atleast_2d(np.asarray(amplitudes, dtype=float))
    n = rows.shape[1] - 1
    basis = PolynomialBasis(tuple("abcd"[:n]), degree)
    coefficients = np.zeros((len(rows), len(basis)))
    for k, exponent in enumerate(basis.exponents.tolist()):
        used = [j for j, e in enumerate(exponent) if e]
        if not used:
            coefficients[:, k] = 1 + rows[:, -1]
        elif sum(exponent) == 1:
            coefficients[:, k] = 2 * rows[:, used[0]]
        elif len(used) == 1:
            coefficients[:, k] = rows[:, used[0]] ** 2
        else:
            coefficients[:, k] = 2 * rows[:, used[0]] * rows[:, used[1]]
    return LogPolynomials(
        basis=basis,
        centre=np.zeros(n),
        half=np.ones(n),
        coefficients=coefficients,
        weights=np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=float),
        low=-np.ones(n),
        high=np.ones(n),
        reference=np.zeros(n),
    )


def evaluate(surface, point):
    """The series of the box of a point."""
    inside = np.all((surface.low <= point) & (point <= surface.high), axis=1)
    k = int(np.argmax(inside))
    assert inside[k]
    value = surface.coefficients[k]
    unit = (2 * point - surface.low[k] - surface.high[k]) / (surface.high[k] - surface.low[k])
    for x in unit:
        value = np.tensordot(chebyshev.chebvander(x, len(value) - 1)[0], value, axes=1)
    return float(value)


@pytest.mark.parametrize("error", [1e-2, 1e-6, 1e-11])
@pytest.mark.parametrize("n", [1, 2])
def test_random_events_of_any_sign(n, error):
    rng = np.random.default_rng(n)
    rows = np.column_stack([rng.normal(0, 1.0, (60, n)), rng.uniform(0.3, 1, 60)])
    exact = sums(rows, rng.choice([-0.5, 1.0, 2.0], 60))
    surface = compressed_surface(exact, error)
    assert surface.bound <= error
    points = rng.uniform(-1, 1, (1000, n))
    expected = exact.values_at(points)
    found = np.array([evaluate(surface, p) for p in points])
    # Rounding, of sums of logarithms.
    assert np.abs(found - expected).max() <= surface.bound + 1e-12
    # Boxes cover the range once.
    assert np.prod(surface.high - surface.low, axis=1).sum() == pytest.approx(2.0**n)


@pytest.mark.parametrize("floor", [1e-4, 1e-8, 1e-12])
def test_an_event_whose_density_all_but_vanishes(floor):
    exact = sums([[-2.0, floor], [0.3, 0.1]])
    surface = compressed_surface(exact, 1e-8)
    near = 0.5 + np.sqrt(floor) * np.linspace(-3, 3, 200)
    points = np.concatenate([near, np.linspace(-1, 1, 500)])[:, None]
    expected = exact.values_at(points)
    found = np.array([evaluate(surface, p) for p in points])
    # The polynomial itself is rounded where it is as small as its floor.
    assert np.abs(found - expected).max() <= 1e-8 + 1e-14 / floor
    assert len(surface.low) < 150


@pytest.mark.parametrize("degree", [3, 6, 10, 15])
def test_the_bound_holds_for_polynomials_at_its_limit(degree):
    """Zeros as near as the condition allows, anywhere about the interval."""
    rng = np.random.default_rng(degree)
    nodes, fine = chebyshev.chebpts1(degree + 1), np.linspace(-1, 1, 401)
    worst = 0.0
    for _ in range(200):
        raw = rng.normal(size=4)
        raw[int(rng.integers(4))] *= 10
        scale = 0.9 / np.sum(np.abs(raw) * 2.0 ** np.arange(1, 5))
        polynomial = np.polynomial.Polynomial([1.0, *(raw * scale)])
        series = chebyshev.chebfit(nodes, np.log(polynomial(nodes)), degree)
        error = np.abs(chebyshev.chebval(fine, series) - np.log(polynomial(fine))).max()
        worst = max(worst, error)
    bound = interpolation_bound(degree, 1)
    assert 1e-4 * bound < worst <= bound + 1e-15


def test_what_is_not_compressed_is_refused_with_the_reason():
    with pytest.raises(
        ConfigurationError, match="in 3 parameters cannot be published without events"
    ):
        compressed_surface(sums([[0.1, 0.2, 0.3, 1.0]]), 1e-6)
    with pytest.raises(ConfigurationError, match=r"−2 ln L within 2e-30; the smallest reachable"):
        compressed_surface(sums([[0.1, 1.0]]), 1e-30)
    # In two parameters the density of this event is small along a line.
    with pytest.raises(ConfigurationError, match="almost vanishes near a = "):
        compressed_surface(sums([[-1.3, 0.9, 1e-13]]), 1e-6)
