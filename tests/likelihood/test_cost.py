"""The learned surface in iminuit."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from iminuit import Minuit
from iminuit.cost import ExtendedBinnedNLL, NormalConstraint

from milinfer.exceptions import ParameterError
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.models import dataset_surface
from milinfer.likelihood.rate import Rate
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from models import GaussianMean, gaussian_samples

N = 400
DATA = gaussian_samples([0.2], N, 7).at(mu=0.2)
MEAN = float(DATA.column("x").astype(float).mean())


def make(**options):
    return LikelihoodCost(dataset_surface(GaussianMean(), DATA), "mu", n_events=N, **options)


def make_rate():
    return Rate.from_samples(
        SampleSet(
            tuple(
                Sample(
                    np.zeros((1, 1)),
                    ("x",),
                    point={"mu": c},
                    cross_section=0.4 * (1 + 0.3 * c + 0.2 * c * c),
                    cross_section_error=1e-4,
                )
                for c in (-1.0, -0.5, 0.0, 0.5, 1.0)
            )
        ),
        luminosity=1.0,
        degree=2,
    )


@dataclass(frozen=True)
class Wrong:
    """A correction that moves, stretches and scales, differently at every θ."""

    limits: tuple[tuple[float, float], ...] = ((-1.0, 1.0),)

    def forward(self, theta):
        return 0.1 + 0.8 * theta

    def jacobian(self, theta):
        return np.full((len(theta), 1), 0.8)

    def scale(self, theta):
        return float(1.7 + 0.2 * theta[0])

    def scale_gradient(self, theta):
        return np.full(len(theta), 0.2)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rate": make_rate()},
        {"correction": Wrong()},
        {"rate": make_rate(), "correction": Wrong()},
    ],
)
def test_gradient_is_the_derivative_of_the_value(options):
    cost = make(**options)
    for theta in (-0.6, -0.1, 0.0, 0.35):
        h = 1e-5
        numeric = (cost(theta + h) - cost(theta - h)) / (2 * h)
        assert cost.grad(theta)[0] == pytest.approx(numeric, rel=1e-6, abs=1e-6)
        assert cost.grad(theta).dtype == np.float64
    assert isinstance(cost(0.1), float)


def test_the_exact_gaussian_interval_comes_out():
    m = Minuit(make(), mu=0.0)
    m.tol = 1e-6
    m.migrad().minos()
    assert m.valid
    assert m.values["mu"] == pytest.approx(MEAN, abs=1e-3 / np.sqrt(N))
    assert m.errors["mu"] == pytest.approx(1 / np.sqrt(N), rel=1e-3)  # HESSE is numerical
    assert m.merrors["mu"].upper == pytest.approx(1 / np.sqrt(N), rel=1e-3)
    assert m.errordef == 1.0


def test_rate_term_is_the_poisson_likelihood():
    rate, cost, shape = make_rate(), make(rate=make_rate()), make()
    for theta in (-0.5, 0.4):
        nu, nu0 = rate(mu=theta), rate(mu=0.0)
        expected = -2 * (N * np.log(nu / nu0) - nu + nu0)
        assert cost(theta) - shape(theta) == pytest.approx(expected, rel=1e-9)


def test_minuit_takes_the_limits_from_the_cost():
    m = Minuit(make(), mu=0.0)
    assert tuple(m.limits["mu"]) == (-1.0, 1.0)
    with pytest.raises(ParameterError, match=r"mu = 1\.5"):
        make()(1.5)


def test_it_adds_to_a_constraint():
    m = Minuit(make() + NormalConstraint("mu", 0.0, 0.05), mu=0.1).migrad()
    weight = np.array([N, 1 / 0.05**2])
    assert m.valid
    assert m.values["mu"] == pytest.approx(weight[0] * MEAN / weight.sum(), abs=1e-5)


def test_it_adds_to_a_binned_likelihood_and_draws_contours():
    edges = np.linspace(0, 1, 6)
    counts = np.array([20, 22, 18, 19, 25])

    def yields(x, norm, mu):
        return norm * (x + 0.1 * mu * x**2)

    total = make() + ExtendedBinnedNLL(counts, edges, yields)
    m = Minuit(total, mu=0.0, norm=100.0)
    m.migrad().minos()
    assert m.valid
    _, profile, valid = m.mnprofile("mu", size=7, bound=1)
    assert valid.all()
    assert np.ptp(profile) > 0.1
    assert len(m.mncontour("mu", "norm", cl=0.68, size=12)) >= 12


def test_it_survives_a_pickle():
    cost = make(correction=Wrong())
    assert pickle.loads(pickle.dumps(cost))(0.2) == cost(0.2)


def test_a_correction_can_include_the_rate_term():
    rate = make_rate()

    class Unchanged(Wrong):
        def forward(self, theta):
            return theta

        def jacobian(self, theta):
            return np.eye(len(theta))

        def scale(self, theta):
            return 2.0 * len(theta)

        def scale_gradient(self, theta):
            return np.zeros(len(theta))

    plain = make(rate=rate)
    whole, shape = (plain.corrected(Unchanged(), with_rate=w) for w in (True, False))
    # Twice the whole likelihood, or twice the shape and the rate once.
    assert whole.rate is None
    step = plain(0.3) - plain(0.1)
    assert whole(0.3) - whole(0.1) == pytest.approx(2 * step, rel=1e-2)
    only_shape = make()(0.3) - make()(0.1)
    assert shape(0.3) - shape(0.1) == pytest.approx(step + only_shape, rel=1e-9)
    assert min(whole(t) for t in np.linspace(-1, 1, 401)) == pytest.approx(0, abs=1e-2)
