"""Profiled backgrounds in toys: against fits one by one, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit import Minuit
from iminuit.cost import NormalConstraint
from scipy.stats import norm

from milinfer.datasets import gaussian
from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.coverage import coverage
from milinfer.likelihood.mixture import mixture_cost
from milinfer.likelihood.models import Renamed
from milinfer.likelihood.profiled_mixture import ProfiledMixture, profile_norms
from milinfer.likelihood.rate import Rate
from milinfer.samples.sample import Sample
from milinfer.toys.pool import Background
from milinfer.toys.toys import Toys
from milinfer.utils.polynomials import PolynomialBasis

MODEL = gaussian.MeanModel()
SIGNAL, BACKGROUND, WIDTH = 160.0, 40.0, 0.2


def log_ratio(sample: Sample) -> np.ndarray:
    """Of N(2, 1.5) to N(0, 1)."""
    x = sample.column("x0").astype(np.float64)
    return norm.logpdf(x, 2, 1.5) - norm.logpdf(x)


def background(n: int, seed: int) -> Sample:
    x = np.random.default_rng(seed).normal(2, 1.5, (n, 1))
    return Sample(x, ("x0",), process="background")


def rate() -> Rate:
    basis = PolynomialBasis(("mu",), 2)
    theta = np.linspace(-1, 1, 5)[:, None]
    values = SIGNAL * (1 + 0.3 * theta + 0.2 * theta**2)
    return Rate(basis, basis.fit(theta, values, np.ones_like(values)), 1.0)


def mixture(**options) -> ProfiledMixture:
    arguments = {
        "rate": rate(),
        "backgrounds": {"bkg": (log_ratio, BACKGROUND)},
        "constraints": {"bkg": WIDTH},
        "reference": 0.0,
    }
    return ProfiledMixture(MODEL, **(arguments | options))


def toys(truths=(0.0,), n_pool=200_000, seed=1, expected=BACKGROUND) -> Toys:
    return Toys(
        gaussian.samples(n_pool, list(truths), seed=seed),
        n_events=None,
        seed=seed,
        rate=rate(),
        background=(Background(background(n_pool, seed + 100), expected),),
    )


@pytest.mark.parametrize("constraint", [WIDTH, None])
def test_profile_is_that_of_minuit(constraint):
    model = mixture(constraints={} if constraint is None else {"bkg": constraint})
    data = toys().dataset({"mu": 0.0})
    cost = mixture_cost(
        MODEL, data, rate=rate(), reference=0.0, backgrounds={"bkg": (log_ratio, BACKGROUND)}
    )
    if constraint is not None:
        cost = cost + NormalConstraint("bkg_norm", 1.0, constraint)
    profile = model.profile(data)
    for k in (0, 13, 20, 40):
        m = Minuit(cost, mu=model.interpolation.grid[k], bkg_norm=1.0)
        m.fixed["mu"] = True
        m.migrad()
        assert -2 * profile.values[k] == pytest.approx(m.fval, abs=1e-4)
        assert profile.norms[0, k] == pytest.approx(m.values["bkg_norm"], abs=2e-3)
    free, profiled = Minuit(cost, mu=0.0, bkg_norm=1.0), Minuit(model.cost(data), mu=0.0)
    for m in (free, profiled):
        m.tol, m.strategy = 1e-4, 2
        m.migrad()
        m.minos("mu")
    assert profiled.values["mu"] == pytest.approx(free.values["mu"], abs=2e-4)
    for side in ("lower", "upper"):
        ends = [getattr(m.merrors["mu"], side) for m in (profiled, free)]
        assert ends[0] == pytest.approx(ends[1], rel=2e-3)


def test_several_backgrounds_reach_the_maximum():
    rng = np.random.default_rng(1)
    signal = rng.uniform(0.1, 3, (200, 5))
    backgrounds = rng.uniform(0, 1, (200, 3)) ** 4
    expected = np.array([60.0, 30.0, 90.0])
    measured, precision = np.array([0.9, 1.0, 1.2]), np.array([25.0, 0.0, 4.0])
    found = profile_norms(signal, backgrounds, expected, measured, precision)

    def value(norms, k):
        log = np.log(signal[:, k] + backgrounds @ norms).sum() - expected @ norms
        return log - 0.5 * precision @ (norms - measured) ** 2

    for k in range(5):
        best = found.norms[:, k]
        assert found.values[k] == pytest.approx(value(best, k), abs=1e-9)
        for step in 1e-3 * np.vstack([np.eye(3), -np.eye(3), rng.normal(size=(20, 3))]):
            assert value(np.maximum(best + step, 0), k) <= found.values[k] + 1e-9
    assert (found.norms >= 0).all()
    assert 0 < np.mean(found.norms == 0) < 1  # some are held at their limit


def test_a_normalisation_stays_at_zero_where_there_is_no_background():
    found = profile_norms(
        np.ones((50, 3)), np.full((50, 1), 0.1), np.array([40.0]), np.ones(1), np.zeros(1)
    )
    assert np.all(found.norms == 0)
    empty = profile_norms(
        np.ones((0, 3)), np.ones((0, 1)), np.array([40.0]), np.ones(1), np.zeros(1)
    )
    assert np.all(empty.norms == 0)
    assert np.all(empty.values == 0)


def test_toys_do_not_depend_on_how_they_are_thrown():
    model, thrown = mixture(), toys(n_pool=5000)
    whole = thrown.run([model], 0.0, 230)["mixture"]
    parts = [thrown.run([model], 0.0, n, start=s)["mixture"] for s, n in ((0, 40), (40, 190))]
    np.testing.assert_array_equal(whole.values, (parts[0] + parts[1]).values)
    again = thrown.run([Renamed(model, "other"), MODEL], 0.0, 230, workers=2)
    np.testing.assert_array_equal(whole.values, again["other"].values)
    assert whole.extended
    # The rate term of a model that has none is added as before.
    assert again["mean"].interpolation.limits == whole.interpolation.limits


def test_auxiliary_measurements_scatter_as_the_constraint():
    model = mixture(true_norms={"bkg": 1.3})
    rows = np.random.default_rng(1).integers(1000, size=(4000, 30))
    measured = np.array([model._auxiliary_measurements(r)[0] for r in rows])
    assert measured.mean() == pytest.approx(1.3, abs=4 * WIDTH / np.sqrt(4000))
    assert measured.std() == pytest.approx(WIDTH, rel=0.05)
    assert mixture().digest == model.digest != mixture(constraints={}).digest


@pytest.mark.parametrize("truth", [0.0, 0.4])
def test_profiled_intervals_cover(truth):
    ensemble = toys([truth], seed=5).run([mixture()], truth, 2000)["mixture"]
    assert not ensemble.extremum.at_edge.any()
    for cl in (0.6827, 0.9545):
        assert abs(coverage(ensemble, cl=cl).pull) < 3


def test_profiled_intervals_cover_where_the_background_is_not_as_expected():
    model = mixture(true_norms={"bkg": 1.3})
    ensemble = toys(seed=6, expected=1.3 * BACKGROUND).run([model], 0.0, 1000)["mixture"]
    assert abs(coverage(ensemble).pull) < 3


def test_toys_of_another_background_than_expected_are_refused():
    """Their auxiliary measurements would fluctuate around a wrong normalisation."""
    with pytest.raises(ConfigurationError, match=r"toys have .* but mixture expects .*bkg=1\.3"):
        toys(seed=6).run([mixture(true_norms={"bkg": 1.3})], 0.0, 10)
    with pytest.raises(ConfigurationError, match="true_norms="):
        toys(seed=6, expected=1.3 * BACKGROUND).run([mixture()], 0.0, 10)


def test_calibration_and_cost_go_together():
    truths = [-0.3, 0.0, 0.3]
    thrown = toys(truths, n_pool=50_000, seed=7)
    model = mixture()
    ensembles = thrown.scan([model], truths, 400)["mixture"]
    calibration = calibrate(ensembles)
    assert calibration.scale == pytest.approx(1, abs=0.3)
    data = toys(seed=11).dataset({"mu": 0.0})
    m = Minuit(calibration(model.cost(data)), mu=0.0).migrad()
    assert m.valid


def test_wrong_options_are_refused():
    with pytest.raises(ConfigurationError, match="names 'other'"):
        mixture(constraints={"other": 0.1})
    with pytest.raises(ConfigurationError, match="must be positive"):
        mixture(constraints={"bkg": 0.0})
    signed = Sample(np.zeros((2, 1)), ("x0",), np.array([1.0, -1.0]))
    with pytest.raises(SampleError, match="weight one"):
        mixture().cost(signed)
