"""Effective information against bag size: fits of known curves, and a small real scan."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from milinfer.datasets import quadratic
from milinfer.diagnostics.bag_size import compare_ansaetze, fit_bag_sizes
from milinfer.diagnostics.bag_size_scan import information_covariance, scan_bag_sizes
from milinfer.exceptions import CalibrationError, ConfigurationError, FitError
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.likelihood.models import Renamed
from milinfer.likelihood.surface import Interpolation
from milinfer.plotting.diagnostics import plot_bag_sizes
from milinfer.toys.toys import Toys
from models import GaussianMean, gaussian_samples

SIZES = np.array([1, 5, 10, 20, 25, 50, 100, 125, 250])
TOYS = 5000
TRUTH = {
    "sqrt": (300.0, 1.5),
    "constant": (300.0, 1.5),
    "power": (300.0, 1.5, 0.3),
    "linear": (300.0, 1.5, 0.3),
}


def curve(ansatz, sizes=SIZES):
    total, k, *more = TRUTH[ansatz]
    power = {"constant": -1.0, "power": more[0] - 1 if more else 0}.get(ansatz, -0.5)
    return total / (1 + k * sizes**power + (more[0] if ansatz == "linear" else 0))


def measured(expected, rng, toys=TOYS):
    """1/variance of Gaussian estimates, with the error that the toys would state."""
    info = expected * (toys - 1) / rng.chisquare(toys - 1, len(expected))
    return info, info * np.sqrt(2 / (toys - 1))


@pytest.mark.parametrize("ansatz", TRUTH)
def test_known_curves_are_recovered_with_honest_errors(ansatz):
    rng, n = np.random.default_rng(11), 60
    pulls, chi2, p_values = [], [], []
    for _ in range(n):
        info, error = measured(curve(ansatz), rng)
        bound = (rng.normal(300, 3), 3.0) if ansatz == "linear" else None
        fit = fit_bag_sizes(SIZES, info, error, ansatz=ansatz, bound=bound)
        assert all(fit.minos)
        away = fit.values - TRUTH[ansatz]
        pulls.append(away / np.where(away > 0, fit.errors[:, 0], fit.errors[:, 1]))
        chi2.append(fit.chi2)
        p_values.append(fit.p_value)
    pulls = np.array(pulls)
    assert np.all(np.abs(pulls.mean(axis=0)) < 3.5 / np.sqrt(n))
    assert np.all(np.abs(pulls.std(axis=0) - 1) < 3.5 / np.sqrt(2 * n))
    assert abs(np.mean(chi2) - fit.ndf) < 3.5 * np.sqrt(2 * fit.ndf / n)
    assert kstest(p_values, "uniform").pvalue > 1e-3


def test_the_band_covers_the_extrapolation():
    rng, at = np.random.default_rng(5), np.array([3.0, 1000.0, np.inf])
    pulls = []
    for _ in range(80):
        fit = fit_bag_sizes(SIZES, *measured(curve("sqrt"), rng), ansatz="sqrt")
        pulls.append((fit.info(at) - curve("sqrt", at)) / fit.info_error(at))
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 3.5 / np.sqrt(80))
    assert np.all(np.abs(np.std(pulls, axis=0) - 1) < 3.5 / np.sqrt(160))
    assert fit.asymptote == pytest.approx(fit.info_true)
    assert fit.asymptote_error == pytest.approx(np.sqrt(fit.covariance[0, 0]))


def test_a_linear_term_is_invisible_without_the_true_information():
    """With it, the curves are those of "sqrt" with other numbers: no precision helps."""
    exact = curve("linear")
    fit = fit_bag_sizes(SIZES, exact, exact * 1e-4, ansatz="sqrt")
    np.testing.assert_allclose(fit.values, [300 / 1.3, 1.5 / 1.3], rtol=1e-4)
    assert fit.chi2 < 1e-3
    with pytest.raises(ConfigurationError, match="no scan can measure the linear"):
        fit_bag_sizes(SIZES, exact, exact * 0.02, ansatz="linear")
    assert list(compare_ansaetze(SIZES, exact, exact * 0.02).left_out) == ["linear"]
    # The true information known to 1 %, the linear term is seen, and "sqrt" excluded.
    found = compare_ansaetze(SIZES, exact, exact * 0.02, bound=(300, 3))
    assert found.fits[0].ansatz == "linear"
    assert [f.ansatz for f in found.allowed()] == ["linear"]
    np.testing.assert_allclose(found.fits[0].values, TRUTH["linear"], rtol=1e-3)
    assert found.fits[0].asymptote == pytest.approx(300 / 1.3, rel=1e-3)


@pytest.mark.parametrize(("toys", "power"), [(50, (0.0, 0.5)), (5000, (0.95, 1.0))])
def test_how_often_a_scan_tells_constant_from_sqrt(toys, power):
    """With 20 % errors hardly ever, with 2 % nearly always; and the true one is seldom excluded."""
    rng, n = np.random.default_rng(3), 60
    told = kept = 0
    for _ in range(n):
        info, error = measured(curve("sqrt"), rng, toys)
        found = compare_ansaetze(SIZES, info, error, ansaetze=("sqrt", "constant"))
        names = [f.ansatz for f in found.allowed()]
        told += "constant" not in names
        kept += "sqrt" in names
    assert power[0] <= told / n <= power[1]
    assert kept / n > 0.9


def test_no_growth_is_a_plateau():
    info = np.array([305.0, 298.0, 301.0, 296.0, 300.0])
    for ansatz in ("sqrt", "constant", "power"):
        fit = fit_bag_sizes([1, 5, 20, 50, 250], info, np.full(5, 6.0), ansatz=ansatz)
        assert fit.plateau
        assert fit.at_limit == ("k",)
        assert fit.growth == 0
        assert fit.values[1] == fit.errors[1, 0] == 0
        assert 0 < fit.errors[1, 1] < 0.1
        np.testing.assert_allclose(fit.info([1, 1000]), fit.info_true)
        weights = (info / 6) ** 2
        assert fit.info_true == pytest.approx(
            np.exp(np.average(np.log(info), weights=weights)), rel=1e-5
        )
        assert fit.info_error(1) == pytest.approx(fit.info_true / np.sqrt(weights.sum()), rel=1e-2)
    assert compare_ansaetze([1, 5, 20, 50, 250], info, np.full(5, 6.0)).rows()[0][-1] == "none"
    rising = fit_bag_sizes(SIZES, curve("sqrt"), 0.02 * curve("sqrt"))
    assert not rising.plateau
    assert rising.growth > 10


def test_the_upper_error_at_the_limit_is_where_chi2_has_risen_by_one():
    info, error = np.full(5, 300.0), np.full(5, 6.0)
    fit = fit_bag_sizes([1, 5, 20, 50, 250], info, error, bound=(300.0, 0.0))
    assert fit.plateau
    y = np.log1p(fit.errors[1, 1] / np.sqrt([1, 5, 20, 50, 250])) / (error / info)
    assert np.sum(y**2) == pytest.approx(1, rel=1e-2)


def test_an_exact_bound_fixes_the_true_information():
    exact = curve("sqrt")
    fit = fit_bag_sizes(SIZES, exact, exact * 0.02, bound=(300.0, 0.0))
    assert fit.info_true == 300
    assert fit.info_true_error == 0
    assert fit.values[1] == pytest.approx(1.5, rel=1e-4)
    assert fit.ndf == len(SIZES) - 1


def test_correlated_errors_are_respected():
    exact = curve("sqrt")
    alone = fit_bag_sizes(SIZES, exact, 0.03 * exact)
    common = np.outer(exact, exact) * 0.03**2 * (0.2 * np.eye(len(SIZES)) + 0.8)
    together = fit_bag_sizes(SIZES, exact, covariance=common)
    # A common factor moves I_true by itself, and leaves k alone.
    shared = 0.03 * np.sqrt(0.8) * 300
    expected = np.hypot(shared, np.sqrt(0.2) * alone.info_true_error)
    assert together.info_true_error == pytest.approx(expected, rel=0.02)
    expected = np.sqrt(0.2) * alone.errors[1].mean()
    assert together.errors[1].mean() == pytest.approx(expected, rel=0.02)

    rng, pulls, chi2 = np.random.default_rng(8), [], []
    root = np.linalg.cholesky(common / np.outer(exact, exact))
    for _ in range(80):
        info = exact * np.exp(root @ rng.normal(size=len(SIZES)))
        covariance = common * np.outer(info, info) / np.outer(exact, exact)
        fit = fit_bag_sizes(SIZES, info, covariance=covariance)
        pulls.append((fit.values - TRUTH["sqrt"]) / fit.errors.mean(axis=1))
        chi2.append(fit.chi2)
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 3.5 / np.sqrt(80))
    assert np.all(np.abs(np.std(pulls, axis=0) - 1) < 3.5 / np.sqrt(160))
    assert abs(np.mean(chi2) - fit.ndf) < 3.5 * np.sqrt(2 * fit.ndf / 80)


def test_a_common_factor_does_not_pull_the_fit_down():
    """Peelle's puzzle: with these errors a fit of I_eff itself gives I_true 5 % low."""
    # A fit that is 5 % low is 5 standard deviations off.
    rng, rel, n = np.random.default_rng(9), 0.1, 120
    correlation = 0.1 * np.eye(len(SIZES)) + 0.9
    root = np.linalg.cholesky(np.sqrt(correlation))  # of the estimates: that of variances is ρ²
    found = []
    for _ in range(n):
        estimates = root @ rng.normal(size=(len(SIZES), int(2 / rel**2) + 1))
        info = curve("sqrt") / estimates.var(axis=1, ddof=1)
        covariance = np.outer(info, info) * rel**2 * correlation
        found.append(fit_bag_sizes(SIZES, info, covariance=covariance).info_true / 300)
    assert abs(np.mean(found) - 1.01) < 3.5 * np.std(found) / np.sqrt(n)


def test_what_cannot_be_fitted_is_named():
    with pytest.raises(
        FitError, match=r"1 bag sizes cannot determine info_true, k; scan at least 2"
    ):
        fit_bag_sizes([5, 5], [100.0, 101.0], [1.0, 1.0])
    with pytest.raises(FitError, match="scan at least 3"):
        fit_bag_sizes([1, 5], [100.0, 120.0], [1.0, 1.0], ansatz="power")
    with pytest.raises(ConfigurationError, match="'cubic'"):
        fit_bag_sizes(SIZES, curve("sqrt"), np.ones(9), ansatz="cubic")
    with pytest.raises(ConfigurationError, match="give either the errors"):
        fit_bag_sizes(SIZES, curve("sqrt"))
    with pytest.raises(ConfigurationError, match="not positive"):
        fit_bag_sizes(SIZES, curve("sqrt"), np.zeros(9))
    with pytest.raises(ConfigurationError, match="above 0"):
        fit_bag_sizes(SIZES, -curve("sqrt"), np.ones(9))
    with pytest.raises(ConfigurationError, match="do not match"):
        fit_bag_sizes(SIZES, curve("sqrt")[1:], np.ones(9))
    with pytest.raises(ConfigurationError, match="bound"):
        fit_bag_sizes(SIZES, curve("sqrt"), np.ones(9), bound=(-1.0, 0.0))
    found = compare_ansaetze([1, 5], [100.0, 120.0], [1.0, 1.0])
    assert set(found.left_out) == {"power", "linear"}
    assert found.fits[0].ndf == 0
    assert np.isnan(found.fits[0].p_value)
    with pytest.raises(FitError, match="no ansatz"):
        compare_ansaetze([5], [100.0], [1.0])


class Noisy(GaussianMean):
    """Half of the information: x with as much noise again, the same for the same event."""

    def event_llr(self, sample):
        x = sample.column("x").astype(np.float64)
        noise = np.random.default_rng(1).normal(size=len(x))
        theta = self.interpolation.grid
        return theta * (x + noise)[:, None] / 2 - theta**2 / 4


def test_covariance_of_informations_on_the_same_toys():
    pool = gaussian_samples([0.0, 0.3], 100_000, 3)
    toys = Toys(pool, 100, seed=4)
    models = [GaussianMean(), Renamed(GaussianMean(2.0), "twice"), replace(Noisy(), name="noisy")]
    run = [toys.run(models, t, 1000) for t in (0.0, 0.3)]
    ensembles = {m.name: [r[m.name] for r in run] for m in models}
    covariance = information_covariance(ensembles, [1.0, 2.0, 3.0], n_bootstrap=500)
    # The correlation of θ̂ is √½; that of its variance over the same toys is ½.
    correlation = covariance / np.outer([1, 2, 3], [1, 2, 3])
    np.testing.assert_allclose(np.diag(correlation), 1)
    assert correlation[0, 1] == pytest.approx(1)
    assert correlation[0, 2] == pytest.approx(0.55, abs=0.2)
    other = [Toys(pool, 100, seed=5).run(models, t, 1000)["noisy"] for t in (0.0, 0.3)]
    with pytest.raises(CalibrationError, match="same toys"):
        information_covariance(ensembles | {"noisy": other}, [1.0, 2.0, 3.0])
    with pytest.raises(CalibrationError, match="2 errors"):
        information_covariance(ensembles, [1.0, 2.0])


class Exact:
    """The exact ratio of the quadratic problem."""

    name, parameters = "exact", ("c1",)
    interpolation = Interpolation(np.linspace(-1, 1, 13), "polynomial", 8)

    def event_llr(self, sample):
        return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid[:, None])


def test_a_real_scan_stays_below_the_exact_bound():
    points = [{"c1": v} for v in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    train = quadratic.samples(5000, points, seed=1)
    pool = quadratic.samples(20_000, [{"c1": v} for v in (-0.3, 0.0, 0.3)], seed=2)
    estimator = BagLikelihood(
        head="multiclass",
        network=NetworkConfig((32, 32), dropout=0.0),
        training=TrainingConfig(epochs=8, batch_events=2500, learning_rate=3e-3),
        seed=1,
    )
    bound = float(quadratic.fisher_information(500)[0, 0])
    trained, thrown = [], []
    scan = scan_bag_sizes(
        estimator,
        train,
        Toys(pool, 500, seed=3),
        sizes=[20, 5],
        truth=0.0,
        neighbours=[-0.3, 0.3],
        n_toys=200,
        repeats=2,
        reference=Exact(),
        bound=(bound, 0.0),
        n_bootstrap=60,
        on_training=lambda n, k: trained.append((n, k)),
        on_toys=thrown.append,
    )
    assert trained == [(5, 0), (5, 1), (20, 0), (20, 1)]
    assert sum(thrown) == 3 * 200
    assert scan.sizes.tolist() == [5, 20]
    assert np.all(scan.info_eff < bound + 3 * scan.info_eff_error)
    assert np.all(scan.info_eff > 0.3 * bound)
    for point in scan.points:
        # Nothing extracts more than the exact ratio does from the same toys.
        assert point.relative.ratio < 1 + 3 * point.relative.ratio_error
    assert scan.training_spread > 0
    assert np.all(np.linalg.eigvalsh(scan.covariance) > 0)
    # What all have in common, the toys, makes the sizes fluctuate together.
    assert scan.covariance[0, 1] > 0.2 * np.sqrt(scan.covariance[0, 0] * scan.covariance[1, 1])
    fit = scan.fit()
    assert fit.info_true > 0
    assert scan.fit("linear", use_bound=True).info_true == bound
    table = scan.compare()
    assert len(table.rows()[0]) == len(table.header)
    assert table.to_rich().row_count == len(table.fits)
    assert json.loads(json.dumps(scan.to_dict() | table.to_dict()))["reference"] == "exact"
    figure = plot_bag_sizes(scan, table.fits)
    assert figure.axes[0].get_ylim()[1] > bound
    with pytest.raises(ConfigurationError, match="at least one neighbour other than the truth"):
        scan_bag_sizes(
            estimator, train, Toys(pool, 500, seed=3), sizes=[5], truth=0.0, neighbours=[], n_toys=9
        )
    for sizes, words in (([], "at least one"), ([5, 5], "all different"), ([0, 5], "one event")):
        with pytest.raises(ConfigurationError, match=words):
            scan_bag_sizes(
                estimator,
                train,
                Toys(pool, 500, seed=3),
                sizes=sizes,
                truth=0.0,
                neighbours=[0.2],
                n_toys=9,
            )
