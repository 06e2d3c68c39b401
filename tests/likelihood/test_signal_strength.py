"""A signal whose yield alone is measured: counts in closed form, with backgrounds and nuisances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import chi2

import milinfer as mil
from milinfer.exceptions import ConfigurationError, ParameterError
from milinfer.likelihood import SignalStrength


def events(n):
    return mil.Sample(np.zeros((n, 1)), ("x",), process="data")


def flat(sample):
    """Ratio of a background that cannot be told from the signal."""
    return np.zeros(len(sample))


def test_counting_experiment():
    """N events, s and b expected: a Poisson distribution with the mean μs + b."""
    strength = SignalStrength("strength")
    cost = mil.mixture_cost(
        strength, events(130), rate=strength.rate(20.0), backgrounds={"bkg": (flat, 100.0)}
    )
    interval = mil.profile_interval(cost, "strength", fixed=["bkg_norm"])
    assert interval.estimate == pytest.approx(1.5, abs=1e-4)

    def rise(mu):
        mean = 20 * mu + 100
        return 2 * (mean - 130 - 130 * np.log(mean / 130)) - chi2.ppf(0.6827, 1)

    assert interval.low == pytest.approx(brentq(rise, 0.1, 1.5), abs=1e-3)
    assert interval.high == pytest.approx(brentq(rise, 1.5, 5), abs=1e-3)


def test_nuisances_add_in_quadrature():
    strength = SignalStrength()
    cost = mil.systematic_cost(
        strength,
        events(1200),
        rate=strength.rate(200.0),
        responses={},
        backgrounds={"bkg": (flat, 1000.0)},
        norm_constraints={"bkg": 0.05},
        uncertainties=[mil.NormalisationUncertainty("eff", {"signal": (0.99, 1.01)})],
    )
    fit = mil.minuit(cost).migrad()
    assert fit.values["mu"] == pytest.approx(1.0, abs=1e-3)
    expected = np.sqrt(1200 + 50**2 + 2**2) / 200
    assert fit.errors["mu"] == pytest.approx(expected, rel=5e-3)


def test_needs_a_range_that_contains_one():
    for bounds in ((0.0, 2.0), (1.5, 3.0), (0.1, np.inf)):
        with pytest.raises(ParameterError, match="must be positive and contain 1"):
            SignalStrength(bounds=bounds)
    with pytest.raises(ConfigurationError, match="the expected signal must be positive"):
        SignalStrength().rate(0.0)
