"""How far rough surfaces are from their parabolas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milinfer.exceptions import ParameterError
from milinfer.likelihood.surface import Interpolation, parabola_error

GRID = np.linspace(-1, 1, 21)
FIT = Interpolation(GRID, "parabola", window=0.4)


@given(st.floats(-0.9, 0.9), st.floats(1.0, 400.0), st.floats(-5, 5), st.integers(0, 2**32 - 1))
def test_a_parabola_has_none_and_a_constant_does_not_matter(centre, curvature, level, seed):
    exact = -curvature / 2 * (GRID - centre) ** 2
    assert parabola_error(FIT, exact[None])[0] == pytest.approx(0, abs=1e-16 * curvature**2 + 1e-20)
    rough = np.random.default_rng(seed).normal(0, 1e-3, 21)
    plain, moved = parabola_error(FIT, np.stack([exact + rough, exact + rough + level]))
    assert moved == pytest.approx(plain, rel=1e-6)


def test_it_is_the_variance_of_the_noise_without_what_the_parabola_takes():
    rng, sigma = np.random.default_rng(3), 0.05
    values = -50 * (GRID - 0.02) ** 2 + rng.normal(0, sigma, (4000, 21))
    # Nine points, three of whose degrees of freedom are fitted; of −2Λ, twice the noise.
    expected = 4 * sigma**2 * 6 / 9
    assert parabola_error(FIT, values).mean() == pytest.approx(expected, rel=0.03)


def test_it_agrees_with_a_fit_by_hand():
    rng = np.random.default_rng(4)
    values = -30 * (GRID - 0.35) ** 2 + rng.normal(0, 0.3, 21)
    near = np.abs(GRID - GRID[np.argmax(values)]) < 0.45
    y = -2 * values[near]
    by_hand = np.mean((np.polyval(np.polyfit(GRID[near], y, 2), GRID[near]) - y) ** 2)
    assert parabola_error(FIT, values[None])[0] == pytest.approx(by_hand)


def test_other_continuations_have_no_parabola():
    with pytest.raises(ParameterError, match="polynomial"):
        parabola_error(Interpolation(GRID, "polynomial"), np.zeros((1, 21)))
