"""The quoted error from finite simulation is the scatter between simulations."""

from __future__ import annotations

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ModelError
from milinfer.learning.bootstrap import bootstrap_groups, multiplicities
from milinfer.learning.finite_simulation import SimulationError, member_variances
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox

GRID = Interpolation(np.linspace(-1, 1, 21), "spline")


def parabolas(shifts, information=100.0):
    """Error of members that are shifted against each other."""
    shifts = np.asarray(shifts, dtype=float)
    return SimulationError(
        parameters=("mu",),
        interpolation=GRID,
        values=-information / 2 * (GRID.grid - shifts[:, None]) ** 2,
        estimate=np.array([shifts.mean()]),
        estimates=shifts[:, None],
        groups=bootstrap_groups(len(shifts)),
    )


@pytest.mark.parametrize("n_members", [8, 16])
@pytest.mark.parametrize(("of_data", "of_training"), [(1.0, 0.0), (1.0, 0.3), (0.3, 1.0)])
def test_variances_are_told_apart(n_members, of_data, of_training):
    rng = np.random.default_rng(n_members)
    groups, n = bootstrap_groups(n_members), 4000
    events = rng.normal(0, np.sqrt(of_data), n)
    drawn = rng.normal(0, np.sqrt(of_data), (groups.max() + 1, n))
    members = events + drawn[groups] + rng.normal(0, np.sqrt(of_training), (n_members, n))
    variances = member_variances(members, groups)
    assert variances.total.mean() == pytest.approx(of_data + of_training, rel=0.05)
    assert variances.training.mean() == pytest.approx(of_training, rel=0.05, abs=1e-12)
    assert variances.data_share == pytest.approx(of_data / (of_data + of_training), abs=0.15)
    expected = of_data * (1 + variances.shared) + of_training / n_members
    assert members.mean(axis=0).var() == pytest.approx(expected, rel=0.08)
    unclipped = variances.total.mean() - variances.training.mean()
    quoted = unclipped * (1 + variances.shared) + variances.training.mean() / n_members
    assert quoted == pytest.approx(expected, rel=0.06)


def test_the_bootstrap_of_a_mean_has_the_error_of_the_mean():
    """A likelihood that can be fitted exactly: its error is known, and quoted without bias."""
    n, n_members = 300, 16
    groups = bootstrap_groups(n_members)
    means, quoted, relative = [], [], []
    for k in range(400):
        samples = gaussian.samples(n, [0.2], seed=k)
        x = samples[0].column("x0")
        draws = [
            multiplicities(samples, seed)[0] for seed in np.random.SeedSequence(k).spawn(n_members)
        ]
        members = np.array([np.average(x, weights=draws[g]) for g in groups])
        means.append(members.mean())
        variances = member_variances(members, groups)
        quoted.append(float(variances.of_mean))
        relative.append(parabolas(members).relative_error)
    truth = np.std(means, ddof=1)
    # The bootstrap averages add a little to the error of the mean, which is in both.
    assert truth == pytest.approx(np.sqrt((1 + 0.09) / n), rel=0.1)
    assert np.sqrt(np.mean(quoted)) == pytest.approx(truth, rel=0.1)
    # The error of the quoted error is what it is said to be.
    assert np.std(np.sqrt(quoted)) / truth == pytest.approx(relative[0], rel=0.2)


def test_errors_are_relative_to_the_estimate():
    error = parabolas([0.0, 0.02, 0.1, -0.1, 0.05])
    assert error.error_at(error.estimate)[0] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(np.sqrt(np.diag(error.covariance)), error.error)
    assert np.linalg.eigvalsh(error.covariance).min() > -1e-10
    # Λ(θ) moves by the slope of the members: I δ (θ − θ̂).
    at = float(error.estimate[0]) + 0.3
    assert error.error_at([at])[0] == pytest.approx(100 * 0.3 * error.estimate_error[0])
    assert error.error_at([at], origin=[at])[0] == pytest.approx(0, abs=1e-12)
    table = error.to_table()
    assert table.column_names == ["point.mu", "llr", "error"]
    assert table.num_rows == 21
    assert f"{error.relative_error:.0%}" in repr(error)
    assert "bootstrap samples" in error._repr_html_()


def test_several_parameters_have_a_covariance():
    box = ChebyshevBox(-np.ones(2), np.ones(2), 4)
    shifts = np.random.default_rng(1).normal(0, 0.1, (8, 2)) @ [[1.0, 0.5], [0.0, 1.0]]
    difference = box.grid - shifts[:, None]
    error = SimulationError(
        parameters=("a", "b"),
        interpolation=box,
        values=-50 * np.sum(difference**2, axis=2),
        estimate=shifts.mean(axis=0),
        estimates=shifts,
        groups=bootstrap_groups(8),
    )
    np.testing.assert_allclose(np.sqrt(np.diag(error.estimate_covariance)), error.estimate_error)
    step = np.array([0.2, -0.1])
    expected = 100 * np.sqrt(step @ error.estimate_covariance @ step)
    assert error.error_at([error.estimate + step])[0] == pytest.approx(expected)
    assert error.points.shape == (25, 2)


def test_an_ordinary_ensemble_has_no_such_error():
    samples = quadratic.samples(200, [{"c1": c} for c in (-0.5, 0.0, 0.5)], seed=1)
    model = mil.BagLikelihood(
        head="polynomial",
        labels="joint",
        order=1,
        ensemble=2,
        network=mil.NetworkConfig((4,), "gelu", batch_norm=False, dropout=0.0, l2=0.0),
        training=mil.TrainingConfig(1, 200, 1e-2, 1e-3, schedule="cosine"),
    ).fit(samples)
    with pytest.raises(ModelError, match="bootstrap=True"):
        mil.simulation_error(model, quadratic.generate(100, {"c1": 0.0}, seed=2))


def test_boosted_trees_have_no_members():
    """Regression: an AttributeError, which did not say what to do."""
    samples = gaussian.samples(300, [-0.5, 0.0, 0.5], seed=1)
    trees = mil.BoostedLikelihood(
        settings=mil.learning.BoostedSettings(n_estimators=3, early_stopping=2)
    ).fit(samples)
    with pytest.raises(ModelError, match=r"a BoostedLikelihood has none; train a BagLikelihood"):
        mil.simulation_error(trees, gaussian.generate(100, 0.0, seed=2))
