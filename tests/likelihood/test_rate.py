"""Expected yields and the rate term."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from milinfer.datasets import gaussian
from milinfer.exceptions import ConfigurationError, MilinferWarning, ParameterError, SampleError
from milinfer.likelihood.cost import dataset_cost
from milinfer.likelihood.mixture import mixture_cost
from milinfer.likelihood.rate import Rate
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

VALUES = (-1.0, -0.5, 0.0, 0.5, 1.0)


def rate_samples(sigmas, values=VALUES, error=0.01, names=("c", "d")):
    errors = np.broadcast_to(error, len(values))
    return SampleSet(
        tuple(
            Sample(
                np.zeros((1, 1)),
                ("x",),
                point=dict(zip(names, np.atleast_1d(v), strict=False)),
                cross_section=s,
                cross_section_error=e,
            )
            for v, s, e in zip(values, sigmas, errors, strict=True)
        )
    )


def test_rate_is_the_polynomial_and_has_an_error():
    rate = Rate.from_samples(rate_samples([3.0, 1.75, 1.0, 0.75, 1.0]), luminosity=2.0, degree=2)
    assert rate(c=0.3) == pytest.approx(2000 * (1 - 0.3 + 0.09))
    assert rate.error(c=0.0) == pytest.approx(2000 * 0.01 * np.sqrt(17 / 35), rel=1e-6)
    h = 1e-5
    numeric = (rate.rate_term(0.3 + h, 0.0, 1500) - rate.rate_term(0.3 - h, 0.0, 1500)) / (2 * h)
    assert rate.rate_term_gradient(0.3, 0.0, 1500) == pytest.approx(numeric, rel=1e-6)
    np.testing.assert_allclose(rate.value([0.3, 0.5]), [rate(c=0.3), rate.at({"c": 0.5})])
    assert rate.ndf == 2
    assert rate.chi2 < 1e-9


def test_two_parameters_with_cross_terms():
    values = [(a, b) for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)]
    truth = [2 + a - b + a * b + b**2 for a, b in values]
    rate = Rate.from_samples(rate_samples(truth, values), luminosity=1.0, degree=2)
    assert rate(c=0.5, d=0.4) == pytest.approx(1000 * (2 + 0.5 - 0.4 + 0.2 + 0.16))
    theta, h = np.array([0.5, 0.4]), 1e-5
    numeric = [
        (rate.rate_term(theta + e, [0, 0], 2000) - rate.rate_term(theta - e, [0, 0], 2000))
        / (2 * h)
        for e in h * np.eye(2)
    ]
    np.testing.assert_allclose(rate.rate_term_gradient(theta, [0, 0], 2000), numeric, rtol=1e-6)


def test_pulls_are_standard_normal():
    rng = np.random.default_rng(5)
    truth = np.array([3.0, 1.75, 1.0, 0.75, 1.0])
    errors = np.array([0.03, 0.02, 0.01, 0.02, 0.03])
    pulls, chi2 = [], []
    for _ in range(400):
        sigmas = truth + errors * rng.normal(size=5)
        rate = Rate.from_samples(
            rate_samples(sigmas, error=errors), luminosity=1.0, degree=2, efficiency=0.5
        )
        pulls.append((rate(c=0.2) - 500 * (1 - 0.2 + 0.04)) / rate.error(c=0.2))
        chi2.append(rate.chi2)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(400)
    assert abs(np.std(pulls) - 1) < 4 / np.sqrt(800)
    assert abs(np.mean(chi2) - 2) < 4 * np.sqrt(4 / 400)


def test_exact_cross_sections_have_no_error():
    rate = Rate.from_samples(
        rate_samples([3.0, 1.75, 1.0, 0.75, 1.0], error=0.0), luminosity=1.0, degree=2
    )
    assert rate(c=0.3) == pytest.approx(790)
    assert rate.error(c=0.3) == 0
    assert np.isnan(rate.chi2)


def test_rates_that_make_no_sense_are_errors():
    with pytest.raises(SampleError, match="signal at c=0 has no cross-section"):
        Rate.from_samples(rate_samples([1.0, 1.0, np.nan, 1.0, 1.0]), luminosity=1.0)
    with pytest.raises(SampleError, match=r"signal at c=0.5 has the cross-section error 0 pb"):
        Rate.from_samples(rate_samples(np.ones(5), error=[1, 1, 1, 0, 1]), luminosity=1.0)
    with pytest.raises(
        SampleError, match="5 coefficients and needs as many points, but there are 3"
    ):
        Rate.from_samples(rate_samples(np.ones(3), VALUES[:3]), luminosity=1.0)
    close = np.array(VALUES) * 1e-4 + 1
    with pytest.raises(SampleError, match="condition number"):
        Rate.from_samples(rate_samples(np.ones(5), close), luminosity=1.0)
    with pytest.raises(ConfigurationError, match="luminosity"):
        Rate.from_samples(rate_samples(np.ones(5)), luminosity=0.0)
    with pytest.raises(ConfigurationError, match="efficiency"):
        Rate.from_samples(rate_samples(np.ones(5)), luminosity=1.0, efficiency=[0.5, 0.5])
    sigmas = rate_samples([2.0, 1.5, 1.0, 0.5, 0.1])
    with pytest.warns(MilinferWarning, match="raise the degree"):
        falling = Rate.from_samples(sigmas, luminosity=1.0, degree=1)
    with pytest.raises(ParameterError, match="c=3"):
        falling(c=3.0)
    with pytest.raises(ParameterError, match="c=3"):
        falling.rate_term(3.0, 0.0, 10)


def test_a_background_is_a_constant_in_the_rate():
    rate = Rate.from_samples(rate_samples([3.0, 1.75, 1.0, 0.75, 1.0]), luminosity=0.1, degree=2)
    both = rate.with_background(25.0)
    theta = np.linspace(-1, 1, 5)
    np.testing.assert_allclose(both.value(theta), rate.value(theta) + 25)
    np.testing.assert_array_equal(both.gradient([0.3]), rate.gradient([0.3]))
    assert both.error(c=0.3) == rate.error(c=0.3)
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(ConfigurationError, match="background"):
            rate.with_background(wrong)


def test_a_rate_that_is_not_known_well_enough_is_warned_of():
    """Regression: the covariance of ν(θ) was in no likelihood, and nothing said so."""
    data = gaussian.generate(100, 0.0, seed=1).as_data()

    def cost(error, n_background=None):
        sigmas = [1.3, 1.0, 0.9]
        samples = rate_samples(sigmas, [-1.0, 0.0, 1.0], error=error, names=("mu",))
        rate = Rate.from_samples(samples, luminosity=1.0, degree=2)
        if n_background is None:
            return dataset_cost(gaussian.MeanModel(), data, reference=0.0, rate=rate)
        backgrounds = {"other": (lambda sample: np.zeros(len(sample)), n_background)}
        return mixture_cost(
            gaussian.MeanModel(), data, rate=rate, reference=0.0, backgrounds=backgrounds
        )

    # 10 of 1000 events are a third of √1000: the width is √(1 + 0.1) of what it is said to be.
    with pytest.warns(MilinferWarning, match=r"ν = 1000 ± 10 events at mu=0.*is 0.32 of .* 2.3%"):
        cost(0.01)
    with pytest.warns(MilinferWarning, match="is 0.27 of the Poisson error"):
        cost(0.01, 400.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cost(0.006)
        cost(0.01, 2000.0)
