"""Likelihoods profiled over nuisance parameters: against Minuit, and coverage of toys."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import chi2

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import ModelError, ParameterError, SampleError
from milinfer.likelihood.profiled_systematics import ProfiledSystematics
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.systematics import (
    MixtureEvents,
    NormalisationUncertainty,
    SystematicCost,
    SystematicTerms,
    systematic_terms,
)
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.pool import Background
from milinfer.toys.toys import Toys
from milinfer.typing import Float32Array
from milinfer.utils.confidence_levels import CL68
from shifted_gaussian import SHIFT, Shift, exact_shift, quantiles


def far(sample: Sample) -> np.ndarray:
    """ln of N(2, 1) over N(0, 1)."""
    return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)


def mixture(**options: object) -> SystematicTerms:
    """Signal with a shift, a background with its own, and uncertainties of all kinds."""
    at_two = SampleSet((gaussian.generate(5000, 2.0, seed=9),))
    background = Shift(ResponseTerms.of(["shift"]), at_two, "far")
    given = {
        "rate": 300.0,
        "backgrounds": {"far": (far, 60.0)},
        "responses": {"signal": exact_shift(), "far": background},
        "uncertainties": [
            NormalisationUncertainty("efficiency", {"signal": (0.97, 1.04), "far": (0.9, 1.2)})
        ],
        "luminosity_uncertainty": 0.02,
        "norm_constraints": {"far": 0.2},
        "reference": 0.0,
    }
    return systematic_terms(gaussian.MeanModel(), **(given | options))


def mixed() -> Sample:
    signal, other = gaussian.generate(300, 0.2, seed=3), gaussian.generate(60, 2.0, seed=4)
    return Sample(np.concatenate([signal.features, other.features]), ("x0",))


def flat(sample: Sample) -> np.ndarray:
    return np.full(len(sample), -0.5)


TWO = {"backgrounds": {"far": (far, 60.0), "flat": (flat, 20.0)}}


def code4(*processes: str) -> dict[str, object]:
    """Responses of some processes that have code 4, beside that of the background that has not."""
    mu = {"mu": (-1.0, 1.0)}
    own = Shift(ResponseTerms.of(["shift"], interpolation="code4", parameters=mu), quantiles())
    at_two = SampleSet((gaussian.generate(5000, 2.0, seed=9),))
    kind = "code4" if "far" in processes else "polynomial"
    # A nuisance parameter of its own: places in the lists of all are not those in a response.
    far_terms = ResponseTerms.of(["shift"], interpolation=kind)
    return {
        "responses": {
            "signal": own if "signal" in processes else exact_shift(),
            "far": Shift(far_terms, at_two, "far"),
        }
    }


class Waves(Shift):
    """A made-up response to two nuisance parameters, which are strongly asymmetric in code 4."""

    def event_columns(self, sample: Sample) -> Float32Array:
        x = sample.column("x0").astype(np.float64)
        waves = [0.2 * np.sin(x), 0.1 * np.cos(x), -0.3 * np.sin(x), 0.1 * x]
        return np.stack(waves[: self.terms.n_columns], axis=1).astype(np.float32)


def waves() -> dict[str, object]:
    terms = ResponseTerms.of(["other", "shift"], interpolation="code4")
    events = gaussian.samples(5000, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=2)
    return {"responses": {"signal": Waves(terms, events), **code4("far")["responses"]}}  # type: ignore[dict-item]


ALONE = {"backgrounds": None, "norm_constraints": None, "uncertainties": []}


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        TWO,
        TWO | {"norm_constraints": {"far": 0.2, "flat": 0.3}},
        code4("signal"),
        code4("far"),
        TWO | code4("signal", "far"),
        ALONE | {"responses": {"signal": exact_shift()}},
        ALONE | {"responses": {"signal": code4("signal")["responses"]["signal"]}},  # type: ignore[index]
        {"luminosity_uncertainty": None},
        waves(),
    ],
)
def test_the_profile_is_that_of_minuit(options: dict[str, object], extended: bool) -> None:
    terms, data = mixture(**options), mixed()
    profile = ProfiledSystematics(terms, extended=extended).profile(data)
    cost = SystematicCost(terms, MixtureEvents.of(terms, data), extended=extended)
    for g in (8, 20, 24, 33):
        m = mil.minuit(cost, mu=float(profile.points[g, 0]))
        m.fixed["mu"] = True
        m.tol = 1e-4
        m.migrad()
        assert m.valid
        # Far from the maximum a millionth of the distance is enough.
        depth = 2 * (profile.values.max() - profile.values[g])
        assert -2 * profile.values[g] == pytest.approx(m.fval, abs=1e-5 + 1e-6 * depth)
        places = [m.values[n] for n in profile.names]
        assert profile.places[g] == pytest.approx(places, abs=2e-3)


def test_a_limit_is_not_crossed() -> None:
    terms = mixture(norm_constraints={})
    data = gaussian.generate(300, -0.5, seed=3)  # nothing of a background at 2
    profile = ProfiledSystematics(terms).profile(data)
    cost = SystematicCost(terms, MixtureEvents.of(terms, data))
    low, high = np.array([terms.limits[n] for n in profile.names]).T
    assert np.all((profile.places >= low) & (profile.places <= high))
    assert np.any(profile.places[:, list(profile.names).index("far_norm")] == 0)
    m = mil.minuit(cost, mu=float(profile.points[12, 0]))
    m.fixed["mu"] = True
    m.migrad()
    assert -2 * profile.values[12] == pytest.approx(m.fval, abs=0.01)


def test_toys_cover_when_auxiliary_measurements_scatter() -> None:
    # x̄ measures mu + 0.3 α; the interval is wide because α is known to 1 alone.
    shift = Shift(ResponseTerms.of(["shift"], parameters={"mu": (-1.0, 1.0)}), quantiles())
    terms = systematic_terms(
        gaussian.MeanModel(), rate=100.0, responses={"signal": shift}, reference=0.0
    )
    grid = Interpolation(np.linspace(-1, 1, 15), "spline")
    toys = Toys(gaussian.samples(40_000, [0.1], seed=5), n_events=100, seed=6, poisson=True)
    model = ProfiledSystematics(terms, grid=grid)
    ensemble = toys.run([model], 0.1, 400)["profiled"]
    inside = np.mean(ensemble.test_statistic(0.1) < chi2.ppf(0.6827, 1))
    assert abs(inside - 0.6827) < 3 * np.sqrt(0.6827 * 0.3173 / 400)
    spread = float(np.std(ensemble.theta_hat))
    assert spread == pytest.approx(np.hypot(0.1, SHIFT), rel=0.12)
    # With the true α elsewhere, auxiliary measurements follow it, and the estimate stays.
    moved = Toys(
        gaussian.samples(40_000, [0.1 + SHIFT], seed=7), n_events=100, seed=8, poisson=True
    )
    at_one = ProfiledSystematics(terms, grid=grid, truth={"shift": 1.0})
    mean = float(np.mean(moved.run([at_one], 0.1 + SHIFT, 400)["profiled"].theta_hat))
    assert mean == pytest.approx(0.1, abs=4 * spread / 20)


def test_toys_do_not_depend_on_how_they_are_divided() -> None:
    toys = Toys(
        gaussian.samples(5000, [0.0], seed=1),
        n_events=300,
        seed=2,
        poisson=True,
        background=[Background(gaussian.generate(5000, 2.0, seed=3), 60)],
    )
    grid = Interpolation(np.linspace(-0.5, 0.5, 7), "spline")
    model = ProfiledSystematics(mixture(), grid=grid)
    whole = toys.run([model], 0.0, 20)["profiled"].values
    again = toys.run([model], 0.0, 8, start=12)["profiled"].values
    assert np.array_equal(whole[12:], again)


def test_wrong_use_is_named() -> None:
    terms = mixture()
    with pytest.raises(ParameterError, match=r"truth= names shfit.*did you mean shift"):
        ProfiledSystematics(terms, truth={"shfit": 1.0})
    of_three = ResponseTerms(("a", "b", "c"), np.array([[1, 1, 1]]), ((-3.0, 3.0),) * 3)
    with pytest.raises(ModelError, match="signal has terms of 3 nuisance parameters"):
        ProfiledSystematics(mixture(responses={"signal": Waves(of_three, quantiles())}))
    shape = ProfiledSystematics(terms, extended=False)
    with pytest.raises(SampleError, match="contains no events"):
        shape.cost(Sample(np.empty((0, 1)), ("x0",)))
    with pytest.raises(ParameterError, match=r"cost is extended .* profiles .* shape-only"):
        shape.profiled(terms.cost(mixed()))
    data = Sample(np.zeros((2, 1)), ("x0",), weights=[1.0, -1.0])
    with pytest.raises(SampleError, match="weight one"):
        ProfiledSystematics(terms).profile(data)


def test_a_luminosity_in_the_fit_keeps_the_coverage_that_ignoring_it_loses() -> None:
    """Regression: the number of events could not have an uncertain luminosity; it is 2σ off."""
    sides = [
        dataclasses.replace(s, cross_section=1 + 0.5 * s.point["mu"], cross_section_error=0.0)
        for s in gaussian.samples(40_000, [-0.5, 0.0, 0.5], seed=1)
    ]
    rate = Rate.from_samples(SampleSet(tuple(sides)), luminosity=1.0, degree=1)
    terms = systematic_terms(
        gaussian.MeanModel(),
        rate=rate,
        responses={},
        reference=0.0,
        luminosity_uncertainty=0.03,
    )
    assert rate(mu=0.0) == pytest.approx(1000)
    n_toys, off = 2000, rate.scaled(1.06)
    toys = Toys(SampleSet((sides[1],)), None, seed=2, rate=off)
    fitted = ProfiledSystematics(terms, truth={"lumi": 1.06})
    ensembles = toys.run([fitted], 0.0, n_toys)
    share = np.mean(ensembles["profiled"].test_statistic(0.0) < 1)
    binomial = np.sqrt(CL68 * (1 - CL68) / n_toys)
    pool = ensembles["profiled"].pool_coverage_error(CL68)
    assert abs(share - CL68) < 3 * np.hypot(binomial, pool if np.isfinite(pool) else 0.012)
    ignoring = Toys(SampleSet((sides[1],)), None, seed=2, rate=off)
    bare = systematic_terms(gaussian.MeanModel(), rate=rate, responses={}, reference=0.0)
    lost = ignoring.run([ProfiledSystematics(bare, "ignoring")], 0.0, n_toys)["ignoring"]
    assert np.mean(lost.test_statistic(0.0) < 1) < CL68 - 5 * binomial


def test_toys_of_the_shape_with_code_4_cover() -> None:
    """Regression: both were refused, or not there."""
    shift = Shift(
        ResponseTerms.of(["shift"], interpolation="code4", parameters={"mu": (-1.0, 1.0)}),
        quantiles(),
    )
    # The yield would say mu to a thousandth, and is wrong by 5 %.
    rate = Rate.from_samples(
        SampleSet(
            tuple(
                dataclasses.replace(
                    s, cross_section=1 + 0.9 * s.point["mu"], cross_section_error=0.0
                )
                for s in gaussian.samples(2000, [-0.5, 0.0, 0.5], seed=1)
            )
        ),
        luminosity=0.1,
        degree=1,
    )
    terms = systematic_terms(
        gaussian.MeanModel(), rate=rate, responses={"signal": shift}, reference=0.0
    )
    grid = Interpolation(np.linspace(-1, 1, 15), "spline")
    pool = gaussian.samples(40_000, [0.1], seed=5)
    toys = Toys(pool, n_events=105, seed=6, poisson=True)
    models = [
        ProfiledSystematics(terms, "shape", grid=grid, extended=False),
        ProfiledSystematics(terms, "extended", grid=grid),
    ]
    ensembles = toys.run(models, 0.1, 400)
    inside = np.mean(ensembles["shape"].test_statistic(0.1) < chi2.ppf(CL68, 1))
    assert abs(inside - CL68) < 3 * np.sqrt(CL68 * (1 - CL68) / 400)
    spread = float(np.std(ensembles["shape"].theta_hat))
    assert spread == pytest.approx(np.hypot(0.1, SHIFT), rel=0.12)
    assert np.std(ensembles["extended"].theta_hat) < 0.7 * spread
    # A calibration of these toys takes the cost of the shape.
    data = gaussian.generate(105, 0.1, seed=9)
    assert models[0].cost(data).rate is None
    assert models[0].digest != models[1].digest
