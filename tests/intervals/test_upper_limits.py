"""Upper limits with CLs: closed form, pyhf, toys, and what is refused."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest
from iminuit.cost import NormalConstraint
from scipy.stats import norm

import milinfer as mil
from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.datasets import gaussian
from milinfer.exceptions import CalibrationError, FitError, ParameterError
from milinfer.intervals.expected import BANDS
from milinfer.intervals.upper_limits import upper_limit, upper_limit_of_toys
from milinfer.likelihood.cost import dataset_cost

SIGMA = 0.5


def closed_form(cl=0.95):
    """Of a Gaussian: σ [Φ⁻¹(1 − α Φ(N)) + N] (arXiv:1007.1727, eq. 89)."""
    share = norm.cdf(BANDS)
    return SIGMA * (norm.ppf(1 - (1 - cl) * share) + np.array(BANDS))


@pytest.mark.parametrize("cl", [0.9, 0.95])
def test_expected_limits_of_a_gaussian(cl):
    limit = upper_limit(None, NormalConstraint("mu", 0.0, SIGMA), "mu", cl)
    np.testing.assert_allclose(limit.expected, closed_form(cl), rtol=1e-4)
    assert np.isnan(limit.observed)
    assert "observed" not in str(limit)


@pytest.mark.parametrize("observed", [-2.0, -0.4, 0.0, 0.3, 1.5])
def test_observed_limits_of_a_gaussian(observed):
    """CLs of μ̂ is that of q̃, whichever branch: Φ((μ̂ − μ)/σ)/Φ(μ̂/σ)."""
    limit = upper_limit(
        NormalConstraint("mu", observed, SIGMA), NormalConstraint("mu", 0.0, SIGMA), "mu"
    )
    mu = limit.observed
    cls = norm.cdf((observed - mu) / SIGMA) / norm.cdf(observed / SIGMA)
    assert cls == pytest.approx(0.05, rel=1e-3)
    k = len(limit.values) // 2
    exact = norm.cdf((observed - limit.values[k]) / SIGMA) / norm.cdf(observed / SIGMA)
    if limit.values[k] > observed:
        assert limit.observed_cls[k] == pytest.approx(exact, rel=1e-3)
    # It is that of the expected band at this place.
    at_band = np.interp(observed / SIGMA, BANDS, limit.expected)
    if abs(observed) < 2 * SIGMA:
        assert mu == pytest.approx(at_band, rel=0.05)


def test_limits_are_those_of_pyhf():
    model = pyhf.simplemodels.uncorrelated_background([6.0, 9.0], [50.0, 40.0], [5.0, 6.0])
    cost = PyhfCost(model, [53.0, 44.0])
    best = mil.minuit(cost)
    best.fixed["mu"] = True
    best.values["mu"] = 0.0
    best.migrad()
    limit = upper_limit(cost, cost.asimov(**best.values.to_dict()), "mu")
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-3))
    try:
        observed, expected = pyhf.infer.intervals.upper_limits.upper_limit(
            cost.data, model, rtol=1e-5
        )
        cls = pyhf.infer.hypotest(1.5, cost.data, model, test_stat="qtilde")
    finally:
        pyhf.set_backend("numpy", "scipy")
    assert limit.observed == pytest.approx(float(observed), rel=2e-3)
    np.testing.assert_allclose(limit.expected, np.array(expected, dtype=float), rtol=2e-3)
    ours = upper_limit(cost, cost.asimov(**best.values.to_dict()), "mu", values=[1.5])
    assert ours.observed_cls[0] == pytest.approx(float(cls), rel=5e-3)


def test_cabinetry_draws_them():
    cabinetry = pytest.importorskip("cabinetry")
    gaussian_limit = upper_limit(
        NormalConstraint("mu", 0.3, SIGMA), NormalConstraint("mu", 0.0, SIGMA), "mu"
    )
    assert cabinetry.visualize.limit(gaussian_limit.to_cabinetry(), save_figure=False).axes


TRUTHS = [0.0, 0.06, 0.1, 0.14, 0.18, 0.22, 0.26, 0.3, 0.36, 0.44, 0.5]
N = 100


@pytest.fixture(scope="module")
def toys():
    samples = gaussian.samples(200_000, TRUTHS, seed=1)
    return mil.Toys(samples, n_events=N, seed=2).scan([gaussian.MeanModel()], TRUTHS, 1500)["mean"]


def test_toys_give_the_asymptotic_limits(toys):
    data = gaussian.generate(N, 0.03, seed=3).as_data()
    cost = dataset_cost(gaussian.MeanModel(), data, reference=0.0)
    limit = upper_limit_of_toys(toys, cost)
    exact = closed_form() * (1 / np.sqrt(N) / SIGMA)
    pull = (limit.expected - exact) / np.hypot(limit.expected_errors, 0.03 * exact)
    assert np.abs(pull).max() < 3, (limit.expected, exact)
    # At −2σ 34 toys decide.
    assert np.all(limit.expected_errors < np.array([0.2, 0.1, 0.1, 0.1, 0.1]) * exact)
    asymptotic = upper_limit(cost, NormalConstraint("mu", 0.0, 1 / np.sqrt(N)), "mu", values=[0.1])
    assert limit.observed == pytest.approx(
        asymptotic.observed, abs=3 * limit.observed_error + 0.005
    )
    assert limit.method == "toys"
    assert limit.to_table().num_rows == len(TRUTHS)


def test_limits_between_distant_values_of_toys():
    """Regression: by linear interpolation of CLs the median limit was too high by 0.35σ."""
    truths = [0.0, 0.13, 0.26, 0.5]
    samples = gaussian.samples(200_000, truths, seed=1)
    toys = mil.Toys(samples, N, seed=2).scan([gaussian.MeanModel()], truths, 4000)["mean"]
    limit = upper_limit_of_toys(toys)
    exact = closed_form() / np.sqrt(N) / SIGMA
    # At −2σ and +1σ no toy is left at the upper value.
    np.testing.assert_allclose(limit.expected[2:], exact[2:], atol=0.13 / np.sqrt(N))


@pytest.mark.parametrize("seed", range(4))
def test_limits_of_a_learned_likelihood_without_nuisance_parameters(seed):
    """Regression: MIGRAD, with nothing to fit, found no valid minimum for most datasets."""
    data = gaussian.generate(N, 0.2, seed=seed).as_data()
    cost = dataset_cost(gaussian.MeanModel(), data, reference=0.0)
    limit = upper_limit(cost, NormalConstraint("mu", 0.0, 0.1), "mu")
    estimate = float(np.mean(data.column("x0")))
    cls = norm.cdf((estimate - limit.observed) / 0.1) / norm.cdf(estimate / 0.1)
    assert cls == pytest.approx(0.05, rel=0.01)


def test_the_error_of_the_upper_band_is_its_scatter():
    """Regression: quantiles of the background were taken as exact, and the error was 0.6 of it."""
    truths = [0.0, 0.31, 0.35, 0.39, 0.43]
    samples = gaussian.samples(50_000, truths, seed=1)
    limits = [
        upper_limit_of_toys(
            mil.Toys(samples, N, seed=seed).scan([gaussian.MeanModel()], truths, 400)["mean"]
        )
        for seed in range(30)
    ]
    scatter = np.std([limit.expected[4] for limit in limits], ddof=1)
    quoted = np.sqrt(np.mean([limit.expected_errors[4] ** 2 for limit in limits]))
    # 30 limits know their scatter to 13 %.
    assert 0.8 < quoted / scatter < 1.5


def test_a_belt_of_upper_limits_lies_beside(toys):
    """θ̂ + 1.64 σ, which CLs never falls below."""
    belt = mil.neyman(toys, cl=0.95, ordering="upper")
    expected = mil.intervals.expected_interval(toys[0], _cost_of(toys[0], 0.0), cl=0.95, belt=belt)
    limit = upper_limit_of_toys(toys)
    assert expected.highs[2] == pytest.approx(1.645 / np.sqrt(N), rel=0.1)
    assert np.all(expected.highs <= limit.expected + 0.02)


def _cost_of(toys, mu):
    from milinfer.likelihood.cost import LikelihoodCost

    surface = toys.interpolation.surface(-N / 2 * (toys.interpolation.grid - mu) ** 2)
    return LikelihoodCost(surface, "mu", n_events=N, tag=toys.tag)


def test_nuisance_parameters_are_profiled():
    """A trigger efficiency of 5 % on a mean: no effect; a background of 20 % has one."""
    terms = mil.systematic_terms(
        gaussian.MeanModel(),
        rate=float(N),
        responses={},
        reference=0.0,
        backgrounds={"other": (lambda s: gaussian.log_likelihood_ratio(s.column("x0"), 2.0), 20.0)},
        norm_constraints={"other": 0.2},
    )
    other = mil.Sample(gaussian.generate(20_000, 2.0, seed=2).features, ("x0",), process="other")
    truths = [0.0, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6]
    thrower = mil.Toys(
        gaussian.samples(20_000, truths, seed=1),
        N,
        seed=3,
        poisson=True,
        background=(mil.Background(other, 20.0),),
    )
    model = mil.ProfiledSystematics(terms)
    toys = thrower.scan([model], truths, 600)["profiled"]
    data = thrower.dataset({"mu": 0.0}, toy=7)
    limit = upper_limit_of_toys(toys, model.cost(data))
    signal = gaussian.generate(20_000, 0.0, seed=4)
    asimov = mil.likelihood.asimov_cost(terms, {"signal": signal, "other": other})
    asymptotic = upper_limit(terms.cost(data), asimov, "mu")
    assert limit.observed == pytest.approx(asymptotic.observed, rel=0.2)
    assert limit.expected[2] == pytest.approx(asymptotic.expected[2], rel=0.15)


def test_what_cannot_be_asked_is_refused(toys):
    asimov = NormalConstraint("mu", 0.0, SIGMA)
    with pytest.raises(ParameterError, match="is not a free parameter of this cost"):
        upper_limit(None, asimov, "nu")
    model = pyhf.simplemodels.uncorrelated_background([0.1], [50.0], [5.0])
    cost = PyhfCost(model, [50.0])
    with pytest.raises(FitError, match=r"no limit on mu: CLs is still above .* end of its range"):
        upper_limit(None, cost.asimov(mu=0.0), "mu")
    with pytest.raises(ParameterError, match="null = -1 is outside the range of mu"):
        upper_limit(None, cost, "mu", null=-1.0)
    with pytest.raises(CalibrationError, match="generate toys at higher values"):
        upper_limit_of_toys(toys[:3])
    with pytest.raises(CalibrationError, match="need toys at this value and at higher values"):
        upper_limit_of_toys(toys[1:])
    other = dataset_cost(
        gaussian.MeanModel(name="other"), gaussian.generate(N, 0.0, seed=1).as_data(), reference=0.0
    )
    with pytest.raises(CalibrationError, match="give the cost of the same model"):
        upper_limit_of_toys(toys, other)
