"""Diagnostics: exact ratios pass, every planted mistake fails the check that is made for it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console
from scipy.stats import chi2, kstest

import milinfer as mil
from milinfer.diagnostics.checks import Tolerances
from milinfer.diagnostics.held_out import hold_out
from milinfer.diagnostics.roc import weighted_auc
from milinfer.diagnostics.two_sample import calibration_curve, feature_closure, separation
from milinfer.exceptions import ConfigurationError, ModelError, ParameterError, SampleError
from milinfer.likelihood.models import dataset_surface
from milinfer.likelihood.surface import Interpolation
from milinfer.plotting import diagnostics as figures
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import weighted_mean, weighted_ratio
from models import GRID, GaussianMean, gaussian_samples

VALUES = [-0.5, -0.25, 0.0, 0.25, 0.5]
SAMPLES = gaussian_samples(VALUES, 20_000, 3)
FINE = np.linspace(-1, 1, 41)


@dataclass(frozen=True)
class Ratio:
    """λ(x, θ) from a function of the features, (n, 1) columns, and the grid."""

    function: object
    interpolation: Interpolation = GRID
    parameter: str = "mu"
    name: str = "planted"
    calls: list = field(default_factory=list)

    @property
    def parameters(self):
        return (self.parameter,)

    def event_llr(self, sample):
        self.calls.append(sample.label)
        grid = self.interpolation.grid
        columns = {n: sample.column(n).astype(float)[:, None] for n in sample.feature_names}
        return self.function(grid, **columns) + np.zeros((len(sample), len(grid)))


def outcomes(diagnosis):
    return {c.name: c.outcome for c in diagnosis.checks}


def failed(diagnosis):
    return {c.name for c in diagnosis.failures}


@pytest.fixture(scope="module")
def exact():
    return mil.diagnose(GaussianMean(), SAMPLES, n_events=100)


def test_an_exact_ratio_passes_every_check(exact):
    assert outcomes(exact) == {
        "normalisation": "passed",
        "score": "passed",
        "event Bartlett": "passed",
        "closure": "passed",
        "classifier": "passed",
        "calibration": "passed",
        "response": "passed",
        "toy Bartlett": "passed",
        "surfaces": "passed",
        "training range": "skipped",
    }
    assert exact.passed
    assert not exact.failures
    assert not exact.undecided
    assert exact.verdict == "nothing wrong found"
    scan = exact.normalisation
    # Var r = exp(θ²) − 1, and the effective number of weights is n exp(−θ²).
    np.testing.assert_allclose(
        scan.error, np.sqrt(np.expm1(scan.grid**2) / 20_000), rtol=0.15, atol=1e-12
    )
    np.testing.assert_allclose(scan.effective, 20_000 * np.exp(-(scan.grid**2)), rtol=0.15)
    assert exact["score"].error == pytest.approx(np.sqrt(100 / 20_000), rel=0.03)
    assert exact["event Bartlett"].error == pytest.approx(np.sqrt(2 / 20_000), rel=0.05)


def test_the_model_runs_once_for_each_sample():
    model = Ratio(lambda t, x: t * x - t**2 / 2)
    mil.diagnose(model, SAMPLES, n_toys=200)
    assert sorted(model.calls) == sorted(s.label for s in SAMPLES)


def test_exact_ratios_fail_as_rarely_as_promised():
    seen = [
        mil.diagnose(
            GaussianMean(), gaussian_samples([-0.5, 0.0, 0.5], 12_000, seed), n_events=20, n_toys=0
        )
        for seed in range(25)
    ]
    # Each of 150 checks fails with a probability of 0.27 % or less.
    assert sum(len(d.failures) for d in seen) <= 2
    assert sum(d["score"].outcome == "passed" for d in seen) >= 23
    assert sum(d["event Bartlett"].outcome == "passed" for d in seen) >= 23
    assert sum(d["calibration"].outcome == "passed" for d in seen) >= 23
    # One look, so its pull is Gaussian.
    total = sum(d["event Bartlett"].pull ** 2 for d in seen)
    assert 0.001 < chi2.cdf(total, 25) < 0.999


def test_a_wrong_scale_fails_where_the_curvature_counts():
    diagnosis = mil.diagnose(GaussianMean(scale=1.5), SAMPLES, n_events=100)
    assert failed(diagnosis) == {
        "normalisation",
        "event Bartlett",
        "closure",
        "classifier",
        "calibration",
        "toy Bartlett",
    }
    assert abs(diagnosis["event Bartlett"].value - 1 / 1.5) < 3 * diagnosis["event Bartlett"].error
    assert abs(diagnosis["toy Bartlett"].value - 1.5) < 3 * diagnosis["toy Bartlett"].error
    for name in ("event Bartlett", "toy Bartlett"):
        assert "1.2 times too narrow" in diagnosis[name].meaning
    # E[r] = exp(s (s − 1) θ²/2).
    scan = diagnosis.normalisation
    pulls = (scan.mean - np.exp(0.375 * scan.grid**2)) / np.where(scan.error > 0, scan.error, 1)
    assert np.abs(pulls).max() < 3.5


def test_a_timid_ratio_fails_too():
    diagnosis = mil.diagnose(GaussianMean(scale=0.5), SAMPLES, n_events=400)
    assert {"event Bartlett", "toy Bartlett", "closure", "classifier"} <= failed(diagnosis)
    assert "1.4 times too wide" in diagnosis["event Bartlett"].meaning
    # Half of the difference is left.
    left = max(c.agreement.remaining(c.agreement.difference) for c in diagnosis.closures)
    assert left == pytest.approx(0.5, abs=0.1)


def test_a_shift_fails_the_score():
    diagnosis = mil.diagnose(GaussianMean(shift=0.2), SAMPLES, n_events=100)
    assert {"score", "normalisation"} <= failed(diagnosis)
    # λ − λ(0) is the exact ratio plus 0.2 θ, which no normalised comparison sees.
    assert not failed(diagnosis) & {"event Bartlett", "toy Bartlett", "closure", "classifier"}
    # A bias of 0.2 is two standard errors of a mean of 100.
    assert abs(diagnosis["score"].value - 2.0) < 4 * diagnosis["score"].error


POINTS_NEAR = Interpolation(np.linspace(-0.5, 0.5, 21), "polynomial", 2)


def test_a_normalisation_matters_more_the_more_events_a_dataset_has():
    """Regression: 0.5 % per event is 5 units of Λ of 1000 events, and passed."""
    # The events at θ0 tell.
    at_reference = gaussian_samples([0.0], 100_000, 4).samples
    samples = SampleSet((*at_reference, *gaussian_samples(VALUES[::4], 5000, 5)))
    # E[r] = exp(0.02 θ): a bias of 0.63 standard errors of 1000 events, and of 0.09 of 20.
    model = GaussianMean(shift=0.02, interpolation=POINTS_NEAR)
    few, many = (
        mil.diagnose(model, samples, n_events=n, n_toys=0)["normalisation"] for n in (20, 1_000)
    )
    assert few.outcome == "passed"
    assert "precisely enough for Λ of 20 events" in few.meaning
    assert many.outcome == "failed"
    assert abs(many.value - 1) < 0.05  # what was tolerated
    assert many.tolerance < 0.02
    assert "Λ of 1000 events is off by" in many.meaning


def test_an_exact_normalisation_is_not_known_well_enough_for_very_many_events():
    model = GaussianMean(interpolation=POINTS_NEAR)
    checks = {
        n: mil.diagnose(model, SAMPLES, n_events=n, n_toys=0)["normalisation"]
        for n in (1, 100, 5_000, 1_000_000)
    }
    assert [c.outcome for c in checks.values()] == ["passed", "passed", "undecided", "undecided"]
    assert "Too few events at θ0 to measure Λ of 5000 events" in checks[5_000].meaning


def test_bias_matters_more_the_more_events_a_dataset_has():
    model = GaussianMean(shift=0.02)
    few, many = (mil.diagnose(model, SAMPLES, n_events=n, n_toys=0) for n in (20, 5_000))
    assert (few["score"].outcome, many["score"].outcome) == ("passed", "failed")


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (lambda t, x: 2 * x * np.tanh(t / 0.1), "spline"),  # [AS], Fig. 3b
        (lambda t, x: 2 * x * np.tanh((t - 0.3) / 0.1), "polynomial"),
        # Exact, but constant over steps of 0.2; θ0 is in the middle of one.
        (lambda t, x: np.round(t / 0.2) * 0.2 * x - (np.round(t / 0.2) * 0.2) ** 2 / 2, "spline"),
        (lambda t, x: np.round(t / 0.2) * 0.2 * x - (np.round(t / 0.2) * 0.2) ** 2 / 2, "parabola"),
    ],
)
def test_steps_fail(step, kind):
    model = Ratio(step, Interpolation(FINE, kind))
    diagnosis = mil.diagnose(model, SAMPLES, n_events=200, n_toys=400)
    assert "surfaces" in failed(diagnosis)


def test_rough_surfaces_fail_whatever_smooths_them():
    rng = np.random.default_rng(4)
    noise = 0.03 * rng.normal(size=(200, len(FINE)))

    def rough(t, x):
        return t * x - t**2 / 2 + noise[np.searchsorted(np.linspace(-3, 3, 199), x[:, 0])]

    for kind in ("spline", "polynomial"):
        model = Ratio(rough, Interpolation(FINE, kind, degree=4))
        diagnosis = mil.diagnose(model, SAMPLES, n_events=1000, n_toys=400)
        assert diagnosis["surfaces"].outcome == "failed"


def test_a_maximum_at_the_end_fails():
    interpolation = Interpolation(np.linspace(-1, 0.25, 9), "polynomial", 2)
    inside = SampleSet(SAMPLES.samples[:4])
    # Λ grows up to the end of the range: E[λ] is 0.5 θ − θ²/2 with its maximum at 0.5.
    model = Ratio(lambda t, x: t * (x + 0.5) - t**2 / 2, interpolation)
    assert "surfaces" in failed(mil.diagnose(model, inside, n_events=1000, n_toys=300))


def two_dimensions(values, n, seed):
    rng = np.random.default_rng(seed)
    return SampleSet(
        tuple(Sample(rng.normal(v, 1, (n, 2)), ("x", "y"), point={"mu": v}) for v in values)
    )


def test_an_ignored_feature_is_named():
    samples = two_dimensions([-0.5, 0.0, 0.5], 20_000, 5)
    blind = mil.diagnose(Ratio(lambda t, x, **_: t * x - t**2 / 2), samples, n_events=100)
    # The ratio of x alone obeys all identities; it only wastes y.
    assert failed(blind) == {"closure", "classifier"}
    assert "most in y" in blind["closure"].meaning
    assert "remaining in y" in blind["closure"].quantity
    assert blind["closure"].value == pytest.approx(1.0, abs=0.2)
    whole = mil.diagnose(Ratio(lambda t, x, y: t * (x + y) - t**2), samples, n_events=100)
    assert not whole.failures
    assert whole["closure"].outcome == whole["classifier"].outcome == "passed"


def test_a_missed_correlation_is_seen_by_the_classifier():
    rng = np.random.default_rng(6)
    out = []
    for rho in (0.0, 0.4):
        z = rng.normal(size=(20_000, 2))
        z[:, 1] = rho * z[:, 0] + np.sqrt(1 - rho**2) * z[:, 1]
        out.append(Sample(z, ("x", "y"), point={"mu": rho}))
    model = Ratio(lambda *_grid, **_columns: 0.0)
    # Every feature by itself agrees, so closure alone has nothing to say.
    assert failed(mil.diagnose(model, SampleSet(tuple(out)))) == {"classifier"}


def test_a_ratio_that_ignores_the_events_does_not_pass():
    # The direct map from θ to the label of [AS], §C.5.
    memorised = mil.diagnose(Ratio(lambda t, **_: -(t**2) / 2), SAMPLES, n_events=100)
    assert {"normalisation", "score", "event Bartlett", "closure", "calibration"} <= failed(
        memorised
    )
    assert "ignores the data" in memorised["score"].meaning
    constant = mil.diagnose(Ratio(lambda *_grid, **_columns: 0.0), SAMPLES, n_events=100)
    assert failed(constant) == {"closure", "classifier"}
    assert not constant.passed
    for name in ("score", "event Bartlett", "calibration", "surfaces"):
        assert constant[name].outcome == "undecided"


def test_few_events_neither_pass_nor_fail():
    for model in (GaussianMean(), GaussianMean(scale=1.5), GaussianMean(shift=0.2)):
        diagnosis = mil.diagnose(model, gaussian_samples([-0.5, 0.0, 0.5], 30, 8))
        assert set(outcomes(diagnosis).values()) == {"undecided", "skipped"}
        assert not diagnosis.passed
        assert "undecided" in diagnosis.verdict


def test_many_events_do_not_fail_on_nothing():
    # Wrong by 9 standard deviations.
    samples = gaussian_samples([-0.5, 0.0, 0.5], 100_000, 9)
    diagnosis = mil.diagnose(GaussianMean(scale=1.04), samples, n_events=400, n_toys=0)
    assert diagnosis["event Bartlett"].pull > 5
    assert not diagnosis.failures
    strict = Tolerances(bartlett=0.01, closure=0.01)
    diagnosis = mil.diagnose(
        GaussianMean(scale=1.04), samples, n_events=400, n_toys=0, tolerances=strict
    )
    assert {"event Bartlett", "closure"} <= failed(diagnosis)


def test_samples_that_do_not_differ_show_nothing():
    close = gaussian_samples([-0.02, 0.0, 0.02], 5_000, 10)
    diagnosis = mil.diagnose(GaussianMean(), close, n_toys=0)
    for name in ("closure", "classifier", "calibration"):
        assert diagnosis[name].outcome == "undecided"
        assert "not sensitive: the samples" in diagnosis[name].meaning


def test_one_sample_leaves_the_comparisons_out():
    diagnosis = mil.diagnose(GaussianMean(), SampleSet((SAMPLES.at(mu=0.0),)), n_events=100)
    assert diagnosis["closure"].outcome == "skipped"
    assert diagnosis["response"].outcome == "undecided"
    assert diagnosis["toy Bartlett"].outcome == "passed"
    assert "I_MLE" in diagnosis["toy Bartlett"].quantity  # without a response
    with pytest.raises(SampleError, match="no figure to draw"):
        figures.plot_closure(diagnosis)
    assert list(figures.diagnostic_figures(diagnosis)) == ["normalisation"]


def test_heavy_tails_are_not_decided():
    wide = GaussianMean(interpolation=Interpolation(np.linspace(-4, 4, 9), "polynomial", 2))
    check = mil.diagnose(wide, SAMPLES, n_events=100, n_toys=0)["normalisation"]
    assert check.outcome == "undecided"
    # exp(−9) of 20 000 events is two; exp(−4) is 370, which is enough, but not for 5 %.
    assert "the normalisation is confirmed only in [-1, 1]" in check.meaning


# Weights.


def weighted(sample, weights):
    return replace(sample, weights=np.asarray(weights, dtype=float))


def identities(samples):
    d = mil.diagnose(GaussianMean(), samples, n_events=100, n_toys=0)
    return [*d.normalisation.mean, d["event Bartlett"].value]


def test_weights_count_as_repetitions():
    rng = np.random.default_rng(11)
    base = SAMPLES.at(mu=0.0).take(slice(0, 3000))
    counts = rng.integers(1, 4, len(base))
    by_weight = SampleSet((weighted(base, counts),))
    repeated = SampleSet((base.take(np.repeat(np.arange(len(base)), counts)),))
    np.testing.assert_allclose(identities(by_weight), identities(repeated), rtol=1e-12)
    scaled = SampleSet((weighted(base, 7.5 * counts),))
    np.testing.assert_allclose(identities(scaled), identities(by_weight), rtol=1e-12)


def test_negative_weights_cancel_the_same_events():
    base = SAMPLES.at(mu=0.0).take(slice(0, 3000))
    extra = SAMPLES.at(mu=0.5).take(slice(0, 500))
    features = np.concatenate([base.features, extra.features, extra.features])
    weights = np.concatenate([np.ones(3000), np.ones(500), -np.ones(500)])
    joined = SampleSet((replace(base, features=features, weights=weights),))
    np.testing.assert_allclose(identities(joined), identities(SampleSet((base,))), rtol=1e-9)


def contaminated(value, n, rng):
    """N(value, 1) and as many events of N(1, 1) as are subtracted, a third of all together."""
    kind = rng.choice(3, n, p=[4 / 6, 1 / 6, 1 / 6])
    x = rng.normal(np.where(kind == 0, value, 1.0))[:, None]
    return Sample(x, ("x",), weights=np.where(kind == 2, -1.0, 1.0), point={"mu": value})


def test_negative_weights_pass_with_larger_errors(exact):
    rng = np.random.default_rng(12)
    samples = SampleSet(tuple(contaminated(v, 60_000, rng) for v in (-0.5, 0.0, 0.5)))
    wider = Tolerances(normalisation=0.1)
    diagnosis = mil.diagnose(GaussianMean(), samples, n_events=20, tolerances=wider)
    assert set(outcomes(diagnosis).values()) == {"passed", "skipped"}
    assert "negative weights" in diagnosis["toy Bartlett"].meaning
    as_if_unweighted = exact.normalisation.error * np.sqrt(20_000 / 60_000)
    assert np.all(diagnosis.normalisation.error >= 1.2 * as_if_unweighted)
    wrong = mil.diagnose(GaussianMean(scale=1.5), samples, n_events=20)
    assert {"normalisation", "event Bartlett", "closure", "classifier"} <= failed(wrong)


def test_errors_are_right_for_negative_weights():
    """Pulls of means, ratios and areas, and p-values, over many small samples."""
    rng = np.random.default_rng(13)
    pulls, ps = [], []
    for _ in range(200):
        one, zero = contaminated(0.5, 2000, rng), contaminated(0.0, 2000, rng)
        x1, x0 = one.column("x").astype(float), zero.column("x").astype(float)
        llr = [0.5 * x - 0.125 for x in (x1, x0)]
        mean, error = weighted_mean(np.exp(llr[1]), zero.weights)
        ratio, ratio_error = weighted_ratio(np.ones(len(x0)), x0**2, zero.weights)
        reweighted = zero.weights * np.exp(llr[1])
        auc, auc_error = weighted_auc(x1, one.weights, x0, reweighted)
        pulls.append([(mean - 1) / error, (ratio - 1) / ratio_error, (auc - 0.5) / auc_error])
        (closure,) = feature_closure(0.5, one, zero, np.exp(llr[1]))
        curve = calibration_curve(0.5, one, zero, llr)
        ps.append([closure.agreement.p_value, curve.agreement.p_value])
    # The standard deviation of 200 pulls is 1 ± 0.05; the mean 0 ± 0.07, and up to 0.2 less where
    # the error grows with the value, as it does for r and 1/x².
    assert np.all(np.abs(np.std(pulls, axis=0) - 1) < 0.17)
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 0.35)
    for column in np.transpose(ps):
        assert kstest(column, "uniform").pvalue > 0.002


def test_the_area_of_two_gaussians():
    rng = np.random.default_rng(14)
    a, b = rng.normal(0.5, 1, 4000), rng.normal(0, 1, 4000)
    area, error = weighted_auc(a, np.ones(4000), b, np.ones(4000))
    exact = 0.638163  # Φ(0.5/√2)
    assert abs(area - exact) < 3 * error
    # Hanley and McNeil (1982) for the same area.
    q1, q2 = exact / (2 - exact), 2 * exact**2 / (1 + exact)
    pairs = exact * (1 - exact) + 3999 * (q1 + q2 - 2 * exact**2)
    assert error == pytest.approx(np.sqrt(pairs / 4000**2), rel=0.05)


# Features of every kind, and what the model knows of them.


def test_discrete_and_constant_features():
    rng = np.random.default_rng(15)

    def sample(value):
        x = rng.normal(value, 1, 8000)
        jets = rng.integers(0, 3, 8000)
        rare = (rng.random(8000) < 0.03).astype(float)
        return Sample(
            np.column_stack([x, jets, rare, np.ones(8000)]),
            ("x", "jets", "rare", "constant"),
            point={"mu": value},
        )

    target, source = sample(0.5), sample(0.0)
    ratio = np.exp(0.5 * source.column("x").astype(float) - 0.125)
    found = {c.feature: c for c in feature_closure(0.5, target, source, ratio)}
    assert list(found) == ["x", "jets", "rare"]
    assert {n: c.agreement.dof for n, c in found.items()} == {"x": 9, "jets": 2, "rare": 1}
    assert min(c.agreement.p_value for c in found.values()) > 0.001
    for c in found.values():
        for histogram in (c.target, c.before, c.after):
            assert histogram.sum() == pytest.approx(1)
    assert abs(separation(0.5, target, source, ratio).after - 0.5) < 0.03
    assert separation(0.5, target.take(slice(0, 50)), source, ratio) is None


@pytest.mark.parametrize(("centre", "outcome"), [(0.0, "passed"), (9.0, "failed")])
def test_events_far_from_the_training_data_are_noticed(centre, outcome):
    fitted = SimpleNamespace(
        mean=np.array([centre]), variance=np.array([1.0]), feature_names=("x",)
    )
    model = Ratio(lambda t, x: t * x - t**2 / 2)
    object.__setattr__(model, "fitted", fitted)
    check = mil.diagnose(model, SAMPLES, n_toys=0)["training range"]
    assert check.outcome == outcome
    assert "of x" in check.quantity


# Continuations, ranges and mistakes.


@pytest.mark.parametrize("kind", ["spline", "polynomial", "parabola"])
def test_derivatives_are_those_of_the_continuation(kind):
    model = GaussianMean(interpolation=Interpolation(np.linspace(-1, 1, 17), kind, 4))
    held = hold_out(model, SAMPLES, None, 10, 3.0, Tolerances(), "raise")
    x = SAMPLES[1].column("x").astype(float)
    np.testing.assert_allclose(held.value(1, 0.3), 0.3 * x - 0.045, atol=1e-8)
    np.testing.assert_allclose(held.value(1, 0.3, 1), x - 0.3, atol=1e-7)
    np.testing.assert_allclose(held.value(1, 0.0, 2), -1, atol=1e-6)


def test_another_reference():
    class Moved(GaussianMean):
        reference = 0.25

    diagnosis = mil.diagnose(Moved(), SAMPLES, n_events=100, n_toys=500)
    assert diagnosis.reference == 0.25
    assert not diagnosis.failures
    assert mil.diagnose(GaussianMean(), SAMPLES, reference=-0.25, n_toys=0).reference == -0.25


def test_the_default_size_confines_estimates_to_the_range():
    # 100 events have an error of 0.1, a tenth of the distance to the ends of [−1, 1].
    assert mil.diagnose(GaussianMean(), SAMPLES, n_toys=0).n_events == pytest.approx(100, rel=0.03)
    many = SampleSet((SAMPLES.at(mu=0.0).take(np.arange(100_000) % 20_000),))
    assert mil.diagnose(GaussianMean(), many, n_toys=0).n_events == 200


def test_toys_need_a_pool_and_a_range():
    pool = mil.diagnose(GaussianMean(), SAMPLES, n_events=2_000)
    assert "20 times as many" in pool["toy Bartlett"].meaning
    few = mil.diagnose(GaussianMean(), SAMPLES, n_toys=10)
    assert "10 toys are too few" in few["response"].meaning
    narrow = GaussianMean(interpolation=Interpolation(np.linspace(-0.5, 0.5, 9), "polynomial", 2))
    close = mil.diagnose(narrow, SAMPLES, n_events=50)
    assert close["surfaces"].outcome == "undecided"
    assert "too large for the range" in close["surfaces"].meaning


def test_points_outside_the_range_are_refused():
    outside = gaussian_samples([-0.5, 0.0, 1.5], 500, 16)
    with pytest.raises(ParameterError, match=r"mu=1.5 is outside \[-1, 1\]"):
        mil.diagnose(GaussianMean(), outside)
    kept = mil.diagnose(GaussianMean(), outside, outside="drop", n_toys=0)
    assert {c.theta for c in kept.closures} == {-0.5}
    # The surfaces themselves refuse, too; event_llr knows its grid only.
    surface = dataset_surface(GaussianMean(), outside[0])
    with pytest.raises(ParameterError, match="outside"):
        surface(1.5)


def test_mistakes_are_named():
    with pytest.raises(ParameterError, match="no sample at mu=0"):
        mil.diagnose(GaussianMean(), gaussian_samples([0.2, 0.4], 100, 1))
    with pytest.raises(ParameterError, match="'theta'"):
        mil.diagnose(GaussianMean(parameter="theta"), SAMPLES)
    both = SampleSet((Sample(np.zeros((2, 1)), ("x",), point={"mu": 0.0, "nu": 0.0}),))
    with pytest.raises(ParameterError, match="only on mu"):
        mil.diagnose(GaussianMean(), both)
    nothing = SampleSet((weighted(SAMPLES.at(mu=0.0), np.tile([1.0, -1.0], 10_000)),))
    with pytest.raises(SampleError, match="sum to 0"):
        mil.diagnose(GaussianMean(), nothing)
    with pytest.raises(ModelError, match="180000 numbers that are not finite"):
        mil.diagnose(Ratio(lambda *_grid, **_columns: np.nan), SAMPLES)
    with pytest.raises(ConfigurationError, match="n_events = 0"):
        mil.diagnose(GaussianMean(), SAMPLES, n_events=0)


# Tables and figures.


def test_tables_can_be_read(exact):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(exact)
    text = console.export_text()
    assert max(map(cell_len, text.splitlines())) <= 100
    for check in exact.checks:
        assert check.name in text
    assert "E[r] at mu=" in text
    assert "<td" in exact._repr_html_()
    assert repr(exact) == "Diagnosis(gaussian, datasets of 100 events: nothing wrong found)"
    with pytest.raises(KeyError, match="no check 'x'"):
        exact["x"]


def test_results_are_json(exact):
    found = json.loads(json.dumps(exact.to_dict(), allow_nan=False))
    assert found["passed"] is True
    assert [c["name"] for c in found["checks"]] == [c.name for c in exact.checks]
    assert found["checks"][-1]["value"] is None
    assert len(found["normalisation"]) == 4
    assert len(found["closures"]) == len(found["curves"]) == len(found["separations"]) == 4


def test_figures_show_what_was_found(exact):
    drawn = figures.diagnostic_figures(exact)
    assert list(drawn) == ["normalisation", "closure", "separation", "calibration_curves"]
    for figure, caption in drawn.values():
        assert caption.endswith(".")
        figure.canvas.draw()
    assert len(figures.plot_closure(exact, n_features=1).axes) == 1
    labels = [t.get_text() for t in drawn["calibration_curves"][0].axes[0].get_legend().texts]
    assert [t.split(",")[0] for t in labels] == [f"mu = {v}" for v in ("-0.5", "-0.25", 0.25, 0.5)]


def test_one_sample_may_be_diagnosed():
    """Regression: an AttributeError of Python."""
    sample = SAMPLES.at(mu=0.0)
    found = mil.diagnose(GaussianMean(), sample, n_toys=0)
    assert found["normalisation"].outcome == "passed"
    with pytest.raises(ParameterError, match="mu"):
        mil.diagnose(GaussianMean(), SAMPLES[0], n_toys=0)


def test_a_diagnosis_prints_what_failed():
    lines = str(mil.diagnose(GaussianMean(scale=2.0), SAMPLES, n_toys=0)).splitlines()
    assert lines[0].startswith("gaussian, datasets of")
    failed = [line for line in lines if line.startswith("  failed")]
    assert any("Bartlett" in line and "c_cicc" in line for line in failed)
