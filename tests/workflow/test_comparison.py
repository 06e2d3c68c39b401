"""Methods side by side."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.exceptions import SecondMinimumWarning
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.models import dataset_surface
from milinfer.likelihood.surface import Interpolation
from milinfer.toys.toys import Toys
from milinfer.workflow.comparison import assess, compare
from models import GaussianMean, gaussian_samples

N_EVENTS = 100
TRUTHS = [-0.3, 0.0, 0.3]


def test_comparison_has_the_keys_of_the_contract():
    model = GaussianMean()
    thrower = Toys(gaussian_samples(TRUTHS, 200_000, 1), N_EVENTS, seed=5)
    toys = [thrower.run([model], t, 1000)["gaussian"] for t in TRUTHS]
    pool = gaussian_samples([0.1], 200_000, 2)
    evaluation = Toys(pool, N_EVENTS, seed=6).run([model], 0.1, 1000)["gaussian"]
    data = pool.at(mu=0.1).take(slice(0, N_EVENTS))
    cost = LikelihoodCost(dataset_surface(model, data), "mu", n_events=N_EVENTS)
    comparison = compare({"gaussian": toys}, {"gaussian": evaluation}, {"gaussian": cost})
    figures = comparison.to_dict()["gaussian"]
    keys = "estimate interval68 interval95 c_cicc c_cicc_error bias info_mle response info_eff "
    keys += "info_eff_error info_curv bartlett_ratio coverage68 coverage68_error n_toys"
    assert set(keys.split()) <= set(figures)
    assert figures["interval95"][0] < figures["interval68"][0] < figures["estimate"]
    assert len(comparison.rows()[0]) == len(comparison.header)
    assert comparison.to_rich().row_count == 1
    with pytest.raises(KeyError, match="gaussian"):
        comparison["pyhf"]


def test_a_second_minimum_in_the_confidence_set_is_a_problem():
    """Regression: the coverage of the whole set stood beside the interval of one minimum."""
    model = GaussianMean()
    thrower = Toys(gaussian_samples(TRUTHS, 50_000, 1), N_EVENTS, seed=5)
    toys = [thrower.run([model], t, 300)["gaussian"] for t in TRUTHS]
    pool = gaussian_samples([0.1], 50_000, 2)
    evaluation = Toys(pool, N_EVENTS, seed=6).run([model], 0.1, 300)["gaussian"]
    grid = np.linspace(-1, 1, 41)
    # Λ of a quadratic operator: two maxima of nearly the same height.
    surface = Interpolation(grid, "spline").surface(-100 * (grid**2 - 0.25) ** 2 + 0.2 * grid)
    cost = LikelihoodCost(surface, "mu", n_events=N_EVENTS)
    options = {"cost": cost, "calibrated": False}
    method = assess("gaussian", toys, evaluation, required=False, **options)
    (first, second) = method.problems
    assert first.startswith("the interval of the data is only a part of the confidence set, but")
    assert "mu has a second minimum near -0.5" in first
    assert "95.45%" in second
    with (
        pytest.warns(SecondMinimumWarning, match="68.27%"),
        pytest.warns(SecondMinimumWarning, match="95.45%"),
    ):
        alone = assess("gaussian", toys, evaluation, required=True, **options)
    assert not alone.problems
    # The surface has its maxima near ±0.5, so that the other range mirrors the interval.
    written = method.to_dict()
    ((low, high),) = written["interval68_others"]
    np.testing.assert_allclose([low, high], [-x for x in written["interval68"][::-1]], atol=0.02)
