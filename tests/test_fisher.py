"""Information of one estimator in one parameter, against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from milinfer.datasets import quadratic
from milinfer.exceptions import CalibrationError
from milinfer.intervals.information import information
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.toys.toys import Toys
from models import GaussianMean, gaussian_samples

N_EVENTS, N_TOYS, SIGMAS = 100, 2000, 3.5
POOL = gaussian_samples([-0.3, 0.1, 0.3], 300_000, 1)


def throw(model, truth=0.1, n_toys=N_TOYS):
    return Toys(POOL, N_EVENTS, seed=5).run([model], truth, n_toys)[model.name]


def within(value, error, expected):
    return abs(value - expected) < SIGMAS * error


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_surface_of_any_scale_has_its_closed_forms(scale):
    model = GaussianMean(scale)
    found = information(throw(model), [throw(model, t) for t in (-0.3, 0.1, 0.3)])
    assert within(found.info_eff, found.info_eff_error, N_EVENTS)
    assert within(found.info_mle, found.info_mle_error, N_EVENTS)
    assert within(found.info_width, found.info_width_error, N_EVENTS)
    assert within(found.response, found.response_error, 1)
    assert within(found.score_mean, found.score_mean_error, 0)
    assert within(found.info_score, found.info_score_error, scale**2 * N_EVENTS)
    assert found.curv_truth == pytest.approx(scale * N_EVENTS)
    assert found.info_curv == pytest.approx(scale * N_EVENTS)
    assert within(found.bartlett_ratio, found.bartlett_ratio_error, scale)
    # The variance of a Gaussian is known to √(2/n); its central 68.27 % to somewhat less.
    assert found.info_score_error / found.info_score == pytest.approx(np.sqrt(2 / N_TOYS), rel=0.1)
    assert 1.0 < found.info_width_error / found.info_eff_error < 1.8


def test_a_shifted_surface_has_a_score_away_from_zero():
    found = information(throw(GaussianMean(2.0, shift=0.1)))
    # dΛ/dθ at the truth is s Σ (x − θ + b).
    assert within(found.score_mean, found.score_mean_error, 2 * N_EVENTS * 0.1)
    assert within(found.info_score, found.info_score_error, 4 * N_EVENTS)


class Shrunken(GaussianMean):
    """Sees x/2: the estimate is half of what it should be."""

    def event_llr(self, sample):
        halved = Sample(sample.features / 2, ("x",), point=sample.point)
        return super().event_llr(halved)


def test_a_shrunken_estimator_is_flattered_by_i_mle_but_not_by_i_eff():
    model = Shrunken()
    found = information(throw(model), [throw(model, t) for t in (-0.3, 0.1, 0.3)])
    assert within(found.response, found.response_error, 0.5)
    assert within(found.info_mle, found.info_mle_error, 4 * N_EVENTS)
    assert within(found.info_eff, found.info_eff_error, N_EVENTS)
    assert within(found.info_width, found.info_width_error, N_EVENTS)


def test_a_box_of_one_parameter_gives_the_same():
    box = ChebyshevBox(np.array([-1.0]), np.array([1.0]), 2)

    class InABox(GaussianMean):
        def event_llr(self, sample: Sample):
            theta = box.grid[:, 0]
            return theta * sample.column("x").astype(float)[:, None] - theta**2 / 2

    in_box = information(throw(replace(InABox(), interpolation=box)))
    np.testing.assert_allclose(in_box, information(throw(GaussianMean())), rtol=1e-6, atol=1e-6)


class Exact:
    """The exact ratio, whose curvature differs from toy to toy and goes with the estimate."""

    name, parameters = "exact", ("c1",)
    interpolation = Interpolation(np.linspace(-1, 1, 13), "polynomial", 8)

    def event_llr(self, sample):
        return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid[:, None])


@pytest.mark.parametrize("pool_events", [3000, 50_000])
def test_errors_cover_with_small_and_large_pools(pool_events):
    """Regression: the error of I_curv left out the pool, which is most of it where it is small."""
    found = []
    for k in range(40):
        pool = quadratic.samples(pool_events, [{"c1": 0.0}], seed=100 + k)
        toys = Toys(pool, 300, seed=k).run([Exact()], 0.0, 200)["exact"]
        found.append(information(toys, n_bootstrap=100))
    for name in [
        "info_eff",
        "info_width",
        "info_curv",
        "bartlett_ratio",
        "score_mean",
        "info_score",
    ]:
        values = np.array([getattr(f, name) for f in found])
        errors = np.array([getattr(f, f"{name}_error") for f in found])
        # The spread of 40 values is known to 11 %.
        assert 0.65 < values.std(ddof=1) / np.sqrt(np.mean(errors**2)) < 1.4, name
    fisher = float(quadratic.fisher_information(300)[0, 0])
    for name in ("info_score", "curv_truth"):
        values = np.array([getattr(f, name) for f in found])
        assert within(values.mean(), values.std(ddof=1) / np.sqrt(len(found)), fisher), name
    means = np.array([f.score_mean for f in found])
    assert within(means.mean(), means.std(ddof=1) / np.sqrt(len(found)), 0)


def test_errors_of_variances_contain_the_pool():
    """Regression: 2000 toys claimed 3 %, where the pool alone moves the spread by 5 %."""
    found = []
    for k in range(60):
        pool = gaussian_samples([0.0], 1000, 900 + k)
        toys = Toys(pool, N_EVENTS, seed=k).run([GaussianMean()], 0.0, N_TOYS)["gaussian"]
        found.append(information(toys, n_bootstrap=50))
    for name in ("info_mle", "info_eff", "info_width", "info_score", "bartlett_ratio"):
        values = np.array([getattr(f, name) for f in found])
        errors = np.array([getattr(f, f"{name}_error") for f in found])
        # The spread of 60 values is known to 9 %; without the pool the ratio is 1.7.
        assert 0.7 < values.std(ddof=1) / np.sqrt(np.mean(errors**2)) < 1.35, name


def test_estimates_without_spread_have_no_information():
    """Regression: maxima that all lie at the edge divided by zero."""
    toys = throw(GaussianMean(shift=50.0), n_toys=50)
    assert toys.extremum.at_edge.all()
    with pytest.raises(CalibrationError, match="edge of the range"):
        information(toys)
