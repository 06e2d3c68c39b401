"""Impacts of nuisance parameters against the closed form of a Gaussian likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit.cost import NormalConstraint

import milinfer as mil
from milinfer.exceptions import ParameterError
from milinfer.plotting.likelihood import plot_impacts

COVARIANCE = np.array([[0.04, 0.012, -0.002], [0.012, 0.09, 0.0], [-0.002, 0.0, 0.01]])
COST = NormalConstraint(["mu", "large", "small"], [0.3, 1.0, 2.0], COVARIANCE)


def test_impacts_are_those_of_a_gaussian():
    found = mil.impacts(COST, "mu")
    assert [i.name for i in found] == ["large", "small"]
    for k, impact in zip((1, 2), found, strict=True):
        sigma = np.sqrt(COVARIANCE[k, k])
        assert (impact.lower, impact.upper) == pytest.approx((-sigma, sigma), rel=2e-3)
        shift = COVARIANCE[0, k] / sigma
        assert (impact.down, impact.up) == pytest.approx((-shift, shift), abs=2e-4)


def test_the_figure_shows_them_in_order():
    found = mil.impacts(COST, "mu")
    left, right = plot_impacts(found, "mu").axes
    widths = [[bar.get_width() for bar in group] for group in left.containers]
    np.testing.assert_allclose(widths, [[i.down for i in found], [i.up for i in found]])
    drawn = np.asarray(right.lines[0].get_xdata(), dtype=np.float64)
    np.testing.assert_allclose(drawn, [i.value for i in found])
    assert len(plot_impacts(found, "mu", n_largest=1).axes[0].get_yticks()) == 1


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ParameterError, match="this one has mu, large, small"):
        mil.impacts(COST, "nu")
    with pytest.raises(ParameterError, match="and with others"):
        mil.impacts(NormalConstraint("mu", 0.0, 1.0), "mu")
    with pytest.raises(ParameterError, match="no nuisance"):
        plot_impacts([], "mu")
