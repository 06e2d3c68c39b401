"""Signal and background in one unbinned likelihood, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit import Minuit
from iminuit.cost import ExtendedUnbinnedNLL, NormalConstraint, UnbinnedNLL
from scipy.optimize import check_grad
from scipy.stats import norm

from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ConfigurationError, ModelError, ParameterError
from milinfer.likelihood.mixture import EventSurfaces, mixture_cost
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.utils.polynomials import PolynomialBasis
from models import Bags

MODEL = gaussian.MeanModel()
SIGNAL, BACKGROUND = 700.0, 300.0


def log_ratio(sample: Sample) -> np.ndarray:
    """Of N(2, 1.5) to N(0, 1)."""
    x = sample.column("x0").astype(np.float64)
    return norm.logpdf(x, 2, 1.5) - norm.logpdf(x)


def dataset(seed: int, mu: float = 0.1, signal: float = SIGNAL, background: float = BACKGROUND):
    rng = np.random.default_rng(seed)
    x = np.concatenate(
        [rng.normal(mu, 1, rng.poisson(signal)), rng.normal(2, 1.5, rng.poisson(background))]
    )
    return Sample(x[:, None], ("x0",))


def rate(values: tuple[float, float, float] = (700.0, 210.0, 140.0)) -> Rate:
    """ν(μ) as a quadratic, exactly."""
    c = np.linspace(-1, 1, 5)
    samples = SampleSet(
        tuple(
            Sample(
                np.zeros((1, 1)),
                ("x0",),
                point={"mu": m},
                cross_section=(values[0] + values[1] * m + values[2] * m**2) / 1000,
                cross_section_error=0.0,
            )
            for m in c
        )
    )
    return Rate.from_samples(samples, luminosity=1.0, degree=2)


def exact_cost(data: Sample, nu):
    x = data.column("x0").astype(np.float64)

    def density(x, mu, bkg_norm):
        s, b = nu(mu), bkg_norm * BACKGROUND
        return s + b, s * norm.pdf(x, mu) + b * norm.pdf(x, 2, 1.5)

    return ExtendedUnbinnedNLL(x, density)


@pytest.mark.parametrize("with_rate", [False, True])
def test_extended_fit_is_that_of_iminuit(with_rate):
    data = dataset(1)
    nu = rate() if with_rate else None
    cost = mixture_cost(
        MODEL,
        data,
        rate=nu if with_rate else SIGNAL,
        reference=0.0,
        backgrounds={"bkg": (log_ratio, BACKGROUND)},
    )
    exact = exact_cost(data, (lambda mu: nu(mu=mu)) if with_rate else (lambda _: SIGNAL))
    offset = exact(0.0, 1.0)
    for mu, n in [(0.3, 1.0), (-0.5, 0.7), (0.1, 2.0), (0.9, 1e-3)]:
        assert cost(mu, n) == pytest.approx(exact(mu, n) - offset, abs=1e-8)
    ours, theirs = (Minuit(c, mu=0.0, bkg_norm=1.0) for c in (cost, exact))
    theirs.limits["bkg_norm"] = (0, None)
    for m in (ours, theirs):
        m.strategy = 2
        m.migrad()
        m.hesse()
        m.minos()
        assert m.valid
    for name in ("mu", "bkg_norm"):
        assert ours.values[name] == pytest.approx(theirs.values[name], abs=2e-5)
        assert ours.errors[name] == pytest.approx(theirs.errors[name], rel=2e-3)
        assert ours.merrors[name].upper == pytest.approx(theirs.merrors[name].upper, rel=2e-3)
        assert ours.merrors[name].lower == pytest.approx(theirs.merrors[name].lower, rel=2e-3)
    assert len(ours.mncontour("mu", "bkg_norm", cl=0.68, size=12)) == 13


def test_shape_only_fit_is_that_of_iminuit():
    data = dataset(2)
    cost = mixture_cost(
        MODEL,
        data,
        rate=1.0,
        reference=0.0,
        backgrounds={"bkg": (log_ratio, 1.0)},
        extended=False,
    )

    def density(x, mu, bkg_norm):
        f = bkg_norm / (1 + bkg_norm)
        return (1 - f) * norm.pdf(x, mu) + f * norm.pdf(x, 2, 1.5)

    exact = UnbinnedNLL(data.column("x0").astype(np.float64), density)
    offset = exact(0.0, 1.0)
    for mu, n in [(0.3, 1.0), (-0.5, 0.7), (0.1, 2.0)]:
        assert cost(mu, n) == pytest.approx(exact(mu, n) - offset, abs=1e-8)


def random_values(interpolation, n=7):
    return np.random.default_rng(1).normal(size=(n, len(interpolation.grid)))


@pytest.mark.parametrize(
    "interpolation",
    [
        Interpolation(np.array([-1.0, -0.7, -0.2, 0.1, 0.5, 1.5]), "spline"),
        Interpolation(np.linspace(-1, 1.5, 4), "spline"),
        Interpolation(np.linspace(-1, 1.5, 9), "polynomial", 4),
        ChebyshevBox(np.array([-1.0, 0.0]), np.array([1.5, 3.0]), 4),
    ],
)
def test_event_surfaces_are_those_of_datasets(interpolation):
    values = random_values(interpolation)
    events = EventSurfaces(interpolation, values)
    low, high = np.array(interpolation.limits).T
    for share in (0.0, 0.13, 0.5, 0.86, 1.0):
        theta = low + share * (high - low)
        value, gradient = events.value(theta), events.gradient(theta)
        for k, row in enumerate(values):
            surface = interpolation.surface(row)
            assert value[k] == pytest.approx(surface.value(theta), abs=1e-11)
            np.testing.assert_allclose(gradient[:, k], surface.gradient(theta), atol=1e-9)


def test_no_background_is_the_cost_of_the_signal():
    sample = quadratic.generate(500, {"c1": 0.3}, seed=1)
    oracle = Oracle.from_sample(sample, "c1", np.linspace(-1, 1, 21), degree=2)
    nu = Rate.from_samples(
        quadratic.samples(1, [{"c1": c} for c in (-1.0, -0.5, 0.0, 1.0)], seed=1),
        luminosity=0.5,
        degree=2,
    )
    plain = oracle.cost(sample)
    plain = type(plain)(plain.surface, "c1", n_events=500, rate=nu, reference=0.0)
    cost = mixture_cost(
        oracle, sample, rate=nu, backgrounds={"bkg": (lambda s: s.features[:, 0], 0.0)}
    )
    for c in np.linspace(-1, 1, 13):
        assert cost(c, 1.0) == pytest.approx(plain(c), abs=1e-9)
        assert cost.grad(c, 1.0)[0] == pytest.approx(plain.grad(c)[0], abs=1e-8)
        assert cost.grad(c, 1.0)[1] == 0


@pytest.mark.parametrize("extended", [False, True])
def test_gradient_in_two_parameters_with_two_backgrounds_and_signed_weights(extended):
    rng = np.random.default_rng(1)

    class Two:
        name, parameters = "two", ("c1", "c2")
        interpolation = ChebyshevBox(np.array([-1.0, -1.0]), np.array([1.0, 1.0]), 8)

        def event_llr(self, sample):
            return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid)

    data = quadratic.generate(300, {"c1": 0.2, "c2": 0.1}, seed=1)
    data = Sample(data.features, data.feature_names, rng.choice([-1, 1, 1, 1], 300))
    theta = np.array([[a, b] for a in (-1, 0, 1) for b in (-1, 0, 1)], dtype=float)
    basis = PolynomialBasis(("c1", "c2"), 2)
    values = 200 * (1 + 0.3 * theta[:, :1] + 0.2 * (theta**2).sum(axis=1, keepdims=True))
    nu = Rate(basis, basis.fit(theta, values, np.ones_like(values)), 1.0)
    cost = mixture_cost(
        Two(),
        data,
        rate=nu,
        reference=0.0,
        backgrounds={
            "a": (lambda s: s.features[:, 0].astype(float), 50.0),
            "b": (lambda s: -s.features[:, 1].astype(float) - 0.5, 20.0),
        },
        extended=extended,
    )
    assert tuple(cost._parameters) == ("c1", "c2", "a_norm", "b_norm")
    for point in ([0.1, -0.3, 1.2, 0.4], [-0.8, 0.9, 0.1, 3.0]):
        error = check_grad(lambda p: cost(*p), lambda p: np.array(cost.grad(*p)), point)
        assert error < 1e-4 * np.abs(cost.grad(*point)).max()


def test_extreme_ratios_neither_overflow_nor_vanish():
    class Steep:
        name, parameters = "steep", ("mu",)
        interpolation = Interpolation(np.linspace(-1, 1, 5), "spline")

        def event_llr(self, sample):
            return sample.column("x0")[:, None] * self.interpolation.grid

    data = Sample(np.array([[2000.0], [-2000.0], [0.0]]), ("x0",))
    backgrounds = {"bkg": (lambda _: np.array([0.0, -np.inf, -900.0]), 1.0)}
    cost = mixture_cost(Steep(), data, rate=1.0, reference=0.0, backgrounds=backgrounds)
    # ln(e^1800 + 1) − ln 2, ln e^−1800, ln 1: the first two cancel.
    assert cost(0.9, 1.0) == pytest.approx(2 * np.log(2), abs=1e-9)
    assert np.all(np.isfinite(cost.grad(0.9, 1.0)))
    assert np.isfinite(cost(0.9, 0.0))


def test_it_shares_names_with_other_costs():
    data = dataset(3, background=390.0)
    cost = mixture_cost(
        MODEL, data, rate=rate(), reference=0.0, backgrounds={"bkg": (log_ratio, BACKGROUND)}
    )
    free = Minuit(cost, **cost.start).migrad()
    tied = Minuit(cost + NormalConstraint("bkg_norm", 1.0, 0.02), **cost.start).migrad()
    assert tied.errors["bkg_norm"] == pytest.approx(0.02, rel=0.1)
    assert tied.values["bkg_norm"] < free.values["bkg_norm"]
    both = Minuit(cost + cost, **cost.start).migrad()
    assert both.errors["mu"] == pytest.approx(free.errors["mu"] / np.sqrt(2), rel=1e-2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"backgrounds": {}}, ConfigurationError, "needs a background"),
        ({"backgrounds": {"b": (log_ratio, -1.0)}}, ConfigurationError, "must not be negative"),
        ({"backgrounds": {"b": (lambda _: np.zeros(1), 1.0)}}, ModelError, "one ln p_b/p_s"),
        (
            {"backgrounds": {"b": (lambda s: np.full(len(s), np.nan), 1.0)}},
            ModelError,
            "in event 0",
        ),
        ({"reference": None}, ParameterError, "give reference="),
        ({"rate": 0.0}, ConfigurationError, "must be positive"),
    ],
)
def test_wrong_terms_are_refused(change, error, message):
    options = {
        "rate": SIGNAL,
        "reference": 0.0,
        "backgrounds": {"bkg": (log_ratio, BACKGROUND)},
    }
    with pytest.raises(error, match=message):
        mixture_cost(MODEL, dataset(1), **(options | change))


def test_values_outside_are_refused():
    cost = mixture_cost(
        MODEL, dataset(1), rate=SIGNAL, reference=0.0, backgrounds={"bkg": (log_ratio, 10.0)}
    )
    with pytest.raises(ParameterError, match="bkg_norm = -1 is negative"):
        cost(0.0, -1.0)
    with pytest.raises(ParameterError, match="mu = 2 is outside"):
        cost(2.0, 1.0)


def test_models_of_bags_are_refused():
    with pytest.raises(ModelError, match="scores bags as a whole"):
        mixture_cost(Bags(), dataset(1), rate=1.0, backgrounds={"b": (log_ratio, 1.0)})


def test_it_says_what_it_is():
    data = dataset(1)
    backgrounds = {"bkg": (log_ratio, BACKGROUND)}
    cost = mixture_cost(MODEL, data, rate=SIGNAL, reference=0.0, backgrounds=backgrounds)
    assert repr(cost) == (
        f"MixtureCost({len(data)} events, with rate, mu in [-1, 1], bkg_norm in [0, inf])"
    )
