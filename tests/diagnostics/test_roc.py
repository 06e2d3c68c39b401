"""ROC curves of weighted scores: closed forms, invariances, and errors that are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import norm

from milinfer.diagnostics.roc import (
    Estimate,
    auc_difference,
    false_positive_difference,
    false_positive_rate,
    mean_over_trainings,
    roc_curve,
    weighted_auc,
)
from milinfer.exceptions import ParameterError, SampleError

SHIFT = 0.8  # between two Gaussians of unit width


def gaussians(rng, n=1500, noise=0.0):
    signal, background = rng.normal(SHIFT, 1, n), rng.normal(0, 1, n)
    blurred = [x + rng.normal(0, noise, n) for x in (signal, background)] if noise else []
    return (signal, background), tuple(blurred)


def test_the_curve_of_two_gaussians():
    rng = np.random.default_rng(1)
    (signal, background), _ = gaussians(rng, 40_000)
    roc = roc_curve(signal, background)
    rates = np.array([0.1, 0.5, 0.9])
    exact = norm.sf(norm.isf(rates) + SHIFT)
    assert np.abs(roc.at(rates) - exact).max() < 0.012
    assert abs(roc.auc - norm.cdf(SHIFT / np.sqrt(2))) < 4 * roc.auc_error


@settings(deadline=None)
@given(
    signal=arrays.arrays(np.float64, st.integers(2, 30), elements=st.integers(-5, 5)),
    background=arrays.arrays(np.float64, st.integers(2, 30), elements=st.integers(-5, 5)),
    seed=st.integers(0, 2**20),
)
def test_the_area_is_that_under_the_curve(signal, background, seed):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.1, 2, len(signal)), rng.uniform(0.1, 2, len(background))
    roc = roc_curve(signal, background, *weights)
    under = np.trapezoid(roc.true_positive, roc.false_positive)
    assert roc.auc == pytest.approx(under, abs=1e-12)
    for rate in (roc.true_positive, roc.false_positive):
        assert rate[0] == 0
        assert rate[-1] == pytest.approx(1)
        assert np.all(np.diff(rate) >= 0)
    # Only the order of the scores counts, and the samples swap roles under a change of sign.
    same = roc_curve(np.exp(signal), np.exp(background), *weights)
    assert np.array_equal(same.true_positive, roc.true_positive)
    mirrored = roc_curve(-background, -signal, *weights[::-1])
    assert mirrored.auc == pytest.approx(roc.auc, abs=1e-12)


def test_a_weight_of_two_is_an_event_twice():
    signal, background = np.array([3.0, 1.0, 2.0]), np.array([0.0, 2.0, 1.5])
    weighted = roc_curve(signal, background, [2, 1, 1], [1, 1, 2])
    doubled = roc_curve([3.0, 3.0, 1.0, 2.0], [0.0, 2.0, 1.5, 1.5])
    assert np.allclose(weighted.true_positive, doubled.true_positive)
    assert np.allclose(weighted.false_positive, doubled.false_positive)
    assert weighted.auc == pytest.approx(doubled.auc)


def test_the_errors_of_pairs_are_right():
    """Pulls of areas, rates and their paired differences, over many small samples."""
    rng = np.random.default_rng(2)
    noise = 0.7
    wide = np.hypot(1, noise)
    areas = [norm.cdf(SHIFT / np.sqrt(2) / w) for w in (1, wide)]
    rates = [norm.sf(norm.isf(0.5) + SHIFT / w) for w in (1, wide)]
    pulls = []
    for _ in range(300):
        sharp, blurred = gaussians(rng, noise=noise)
        area = auc_difference(sharp, blurred)
        rate = false_positive_difference(sharp, blurred, 0.5)
        alone = false_positive_rate(sharp, 0.5)
        pulls.append(
            [
                (area.value - areas[0] + areas[1]) / area.error,
                (rate.value - rates[0] + rates[1]) / rate.error,
                (alone.value - rates[0]) / alone.error,
            ]
        )
        late = false_positive_rate(sharp, 0.95)  # where the curve is steep
        pulls[-1].append((late.value - norm.sf(norm.isf(0.95) + SHIFT)) / late.error)
        separate = np.hypot(roc_curve(*sharp).auc_error, roc_curve(*blurred).auc_error)
        assert area.error < 0.8 * separate
    # The standard deviation of 300 pulls is 1 ± 0.04, their mean 0 ± 0.06.
    assert np.all(np.abs(np.std(pulls, axis=0) - 1) < 0.15)
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 0.25)


def test_a_classifier_does_not_differ_from_itself():
    scores, _ = gaussians(np.random.default_rng(3), 200)
    assert auc_difference(scores, scores) == (0, 0)
    assert false_positive_difference(scores, scores) == (0, 0)


def test_weights_count_in_rates():
    rng = np.random.default_rng(4)
    # The background at the shift of the signal, weighted back to where it belongs.
    signal, background = rng.normal(SHIFT, 1, 20_000), rng.normal(0.4, 1, 20_000)
    weights = np.exp(-0.4 * background + 0.08)
    rate = false_positive_rate((signal, background), 0.3, (np.ones(20_000), weights))
    assert abs(rate.value - norm.sf(norm.isf(0.3) + SHIFT)) < 4 * rate.error
    roc = roc_curve(signal, background, None, weights)
    assert roc.at(0.3) == pytest.approx(rate.value)
    assert (roc.auc, roc.auc_error) == weighted_auc(signal, np.ones(20_000), background, weights)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [[1.0]]), "background have shape"),
        (([1.0, 2.0], [1.0, 2.0], [1.0]), "signal have shape"),
        (([1.0, np.nan], [1.0, 2.0]), "signal event 1 is NaN"),
        (([1.0, 2.0], [1.0, 2.0], None, [-1.0, 1.0]), "background sum to 0"),
    ],
)
def test_what_cannot_be_scored_is_refused(arguments, message):
    with pytest.raises(SampleError, match=message):
        roc_curve(*arguments)


def test_negative_weights_have_an_area_but_no_threshold():
    roc = roc_curve([1.0, 2.0, 3.0], [0.0, 1.0], [1.0, -0.5, 1.0])
    with pytest.raises(SampleError, match="negative weights"):
        roc.at(0.5)
    with pytest.raises(SampleError, match="weights are negative"):
        false_positive_rate(([1.0, 2.0, 3.0], [0.0, 1.0]), 0.5, ([1.0, -0.5, 1.0], [1.0, 1.0]))


def test_rates_outside_their_range_are_refused():
    scores, _ = gaussians(np.random.default_rng(5), 50)
    with pytest.raises(ParameterError, match="between 0 and 1"):
        roc_curve(*scores).at(1.2)
    with pytest.raises(ParameterError, match=r"true_positive=0\.999"):
        false_positive_rate(scores, 0.999)


def test_pairs_are_of_the_same_events():
    with pytest.raises(SampleError, match=r"scored \[2, 2\] and \[3, 2\]"):
        auc_difference(([1.0, 2.0], [0.0, 1.0]), ([1.0, 2.0, 3.0], [0.0, 1.0]))


def test_the_mean_over_trainings_keeps_the_error_of_the_events():
    """Each training adds noise of its own to scores of the same events."""
    rng = np.random.default_rng(6)
    noise = 0.7
    exact = norm.cdf(SHIFT / np.sqrt(2) / np.hypot(1, noise)) - norm.cdf(SHIFT / np.sqrt(2))
    pulls = []
    for _ in range(150):
        sharp, _ = gaussians(rng, 500)
        trained = [
            auc_difference(tuple(x + rng.normal(0, noise, len(x)) for x in sharp), sharp)
            for _ in range(4)
        ]
        found = mean_over_trainings(trained)
        assert found.error >= np.mean([t.error for t in trained])
        pulls.append((found.value - exact) / found.error)
    # Never too sure of itself; here the noise is in both parts of the error.
    assert abs(np.mean(pulls)) < 0.4
    assert 0.4 < np.std(pulls) < 1.1
    with pytest.raises(SampleError, match="1 trainings"):
        mean_over_trainings([Estimate(0.5, 0.1)])
