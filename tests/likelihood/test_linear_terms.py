"""The likelihood without squared coefficients."""

from __future__ import annotations

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import quadratic
from milinfer.exceptions import FitError, MilinferWarning, ModelError, ParameterError
from milinfer.likelihood.linear_terms import linear_cost
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from models import Bags

GRID = np.linspace(-0.3, 0.3, 21)
ZERO = {"c1": 0.0, "c2": 0.0}


def with_slopes(slopes, squares=0.0):
    """Events whose weight is 1 + slope c + square c²."""
    slopes = np.asarray(slopes, dtype=np.float64)
    values = (-0.3, 0.0, 0.3)
    return Sample(
        np.zeros((len(slopes), 1)),
        ("x",),
        point={"c": 0.0},
        reweights={f"w{k}": 1 + slopes * v + squares * v**2 for k, v in enumerate(values)},
        reweight_points={f"w{k}": {"c": v} for k, v in enumerate(values)},
    )


def test_squares_do_not_count():
    slopes = np.array([0.5, -1.0, 0.8, 0.1])
    data, total = with_slopes(slopes, squares=0.7), with_slopes([0.2], squares=0.4)
    oracle = Oracle.from_sample(total, "c", GRID, degree=2)
    cost = oracle.cost(data, terms="linear")
    for c in (-0.3, -0.1, 0.0, 0.25):
        expected = np.log(1 + slopes * c).sum() - len(slopes) * np.log(1 + 0.2 * c)
        assert cost(c) == pytest.approx(-2 * expected, abs=1e-9)
    # To first order both agree, and only to that.
    assert cost.grad(0.0) == pytest.approx(oracle.cost(data).grad(0.0))
    assert abs(cost(0.25) - oracle.cost(data)(0.25)) > 0.05


def test_two_parameters_by_the_score_of_any_model():
    class Exact:
        name, parameters = "exact", ("c1", "c2")
        interpolation = ChebyshevBox(np.full(2, -0.2), np.full(2, 0.2), 8)

        def event_llr(self, sample):
            return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid)

    data = quadratic.generate(200, ZERO, seed=1).as_data()
    step = 1e-5
    scores = quadratic.log_likelihood_ratio(data.features, [[step, 0], [-step, 0], [0, step]])
    first = (scores[:, 0] - scores[:, 1]) / (2 * step)
    cost = linear_cost(Exact(), data)
    assert cost(0.1, 0.0) == pytest.approx(-2 * np.log(1 + 0.1 * first).sum(), abs=1e-4)
    assert cost.tag.name == "exact, linear terms"
    fit = mil.minuit(cost).migrad()
    assert fit.valid


def test_the_range_ends_before_a_density_vanishes():
    slopes = np.array([0.5, -5.0, 0.8])
    oracle = Oracle.from_sample(with_slopes([0.0]), "c", GRID, degree=2)
    data = with_slopes(slopes, squares=10.0)
    with pytest.warns(MilinferWarning, match=r"density of event 1 .* limited to c from -0.19\d* "):
        cost = oracle.cost(data, terms="linear")
    (low, high) = cost.limits
    assert (low, high) == pytest.approx((-0.2, 0.2), abs=1e-3)
    assert 1 - 5 * high > 0
    assert np.isfinite(cost(high))


def test_an_event_that_leaves_no_range_is_an_error():
    oracle = Oracle.from_sample(with_slopes([0.0]), "c", GRID, degree=2)
    data = with_slopes([0.5, 4000.0], squares=np.array([0.0, 5e6]))
    with pytest.raises(FitError, match=r"density of event 1 .* is positive only for c from"):
        oracle.cost(data, terms="linear")


def test_of_the_rate_the_linear_terms_count_too():
    points = [{"c1": v} for v in (-1.0, 0.0, 1.0)]
    samples = quadratic.samples(10, points, seed=1)
    rate = Rate.from_samples(samples, luminosity=0.1, degree=2)
    data = quadratic.generate(100, {"c1": 0.0}, seed=2)
    model = Oracle.from_sample(data, "c1", GRID, degree=2)
    shape, both = linear_cost(model, data), linear_cost(model, data, rate=rate)
    n, linear = 100, rate.linear()
    assert linear(c1=0.2) == pytest.approx(rate(c1=0.0) + 0.2 * rate.coefficients[1], abs=1e-9)
    extra = linear(c1=0.0) - linear(c1=0.2) + n * np.log(linear(c1=0.2) / linear(c1=0.0))
    assert both(0.2) - shape(0.2) == pytest.approx(-2 * extra)
    grid = quadratic.samples(10, quadratic.default_weights(2), seed=3)
    other = Rate.from_samples(grid, luminosity=1.0, degree=2)
    with pytest.raises(ParameterError, match="but the model on c1"):
        linear_cost(model, data, rate=other)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d, o: o.cost(d, terms="square"), ParameterError, "is not 'all' or 'linear'"),
        (lambda d, _: linear_cost(Bags(), d), ModelError, "no ratios of single events"),
        (
            lambda d, _: linear_cost(
                Oracle.from_sample(d, "c", np.linspace(0.1, 0.3, 5), degree=2), d
            ),
            ParameterError,
            "zero, which must be inside",
        ),
    ],
    ids=["terms", "bags", "range"],
)
def test_what_has_no_linear_terms(call, error, message):
    data = with_slopes([0.1, 0.2])
    oracle = Oracle.from_sample(data, "c", GRID, degree=2)
    with pytest.raises(error, match=message):
        call(data, oracle)
