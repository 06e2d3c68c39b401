"""The exact density at shifted energy scales: closure on scaled events, yields, gradients, fits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from iminuit import Minuit
from scipy.stats import chi2

from milinfer.datasets import vbf_hww
from milinfer.datasets import vbf_hww_systematics as systematics
from milinfer.datasets.observable import densities_in_rapidity, observable_coefficients
from milinfer.datasets.observable_systematics import (
    PARAMETERS,
    EventDensities,
    ObservableCost,
)
from milinfer.datasets.selected_cross_section import SelectedCrossSection
from milinfer.exceptions import ConfigurationError, ParameterError, SampleError

N = 4_000
N_BINS = 20
FAST = {"nodes": (5, 3), "n_rapidity": 32, "n_angles": 4}


@pytest.fixture(scope="module")
def nominal():
    return systematics.generate(N, seed=31)


@pytest.fixture(scope="module")
def densities(nominal):
    return EventDensities.from_events(nominal, **FAST)


@pytest.fixture(scope="module")
def generated():
    return vbf_hww.generate(40_000, seed=32)


@pytest.fixture(scope="module")
def cross_section(generated):
    # Its events reach to |c_HW| = 1 with their weights, as the test of several points shows.
    return dataclasses.replace(SelectedCrossSection.from_events([generated]), largest=1.0)


def observables(seen):
    """pT of the harder jet, m_jj, pT of the leptons together, missing momentum, m_ll."""
    pair, jets = seen[:, 0] + seen[:, 1], seen[:, 2] + seen[:, 3]
    pt = np.hypot(seen[..., 1], seen[..., 2])

    def mass(p):
        return np.sqrt(p[:, 0] ** 2 - np.sum(p[:, 1:] ** 2, axis=1))

    return {
        "pt_j": pt[:, 2:].max(axis=1),
        "pt_j2": pt[:, 2:].min(axis=1),
        "m_jj": mass(jets),
        "pt_ll": np.hypot(pair[:, 1], pair[:, 2]),
        "met": np.hypot(*(pair + jets)[:, 1:3].T),
        "m_ll": mass(pair),
    }


def p_value(first, weights, second, second_weights):
    """Two-sample χ² test of shapes in bins of equal content, correlations of bins included."""
    edges = np.quantile(second, np.linspace(0, 1, N_BINS + 1)[1:-1])
    shares, covariance = [], 0
    for values, raw in ((first, weights), (second, second_weights)):
        w = raw / raw.sum()
        index = np.searchsorted(edges, values)
        share = np.bincount(index, w, N_BINS)
        residual = (np.eye(N_BINS)[index] - share) * w[:, None]
        covariance = covariance + residual.T @ residual
        shares.append(share)
    difference = (shares[0] - shares[1])[:-1]
    square = difference @ np.linalg.solve(covariance[:-1, :-1], difference)
    return chi2.sf(square, N_BINS - 1)


SHIFTS = [
    *({"jet_scale": x} for x in (-2.0, -1.0, 1.0, 2.0)),
    *({"lepton_scale": x} for x in (-2.0, 2.0)),
    {"jet_scale": 2.0, "lepton_scale": -2.0, "theory": 1.0},
]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("c_hw", [0.0, 0.5])
def test_reweighted_nominal_events_are_scaled_events(
    nominal, densities, generated, cross_section, c_hw, shift
):
    """Rate and six distributions against independent events that are scaled in earnest.

    The yield agrees within 4 standard deviations.  Of the 84 p-values of this test the smallest is
    above 1e-4 (expected: one of 120 sets of 84 has a smaller one).
    """
    weights = np.exp(densities.log_ratio(c_hw, shift))
    moved = systematics.scaled(generated, shift)
    seen = systematics.visible(moved)
    chosen = systematics.selected(seen)
    seen = seen[chosen]
    of_varied = (moved.joint_ratio(c_hw) * systematics.theory_weights(moved, shift))[chosen]
    expected = cross_section.value(c_hw, shift) / cross_section.value(0.0)
    error = np.hypot(
        weights.std() / np.sqrt(N), expected * cross_section.relative_error(c_hw, shift)
    )
    assert abs(weights.mean() - expected) < 4 * error
    before, after = observables(systematics.visible(nominal)), observables(seen)
    for name, values in before.items():
        assert p_value(values, weights, after[name], of_varied) > 1e-4, name


def test_the_closure_notices_a_wrong_jacobian(densities, cross_section):
    """A power of the scale too much or too little is seen in the yield."""
    shift = {"jet_scale": 2.0}
    weights = np.exp(densities.log_ratio(0.0, shift))
    expected = cross_section.value(0.0, shift) / cross_section.value(0.0)
    error = weights.std() / np.sqrt(N)
    for power in (-2, -1, 1, 2):
        assert abs(weights.mean() * 1.06**power - expected) > 6 * error


def test_unscaled_ratios_are_those_of_the_observable_oracle(nominal, densities):
    events = nominal.take(slice(0, 300))
    exact = observable_coefficients(events, n_rapidity=32, n_angles=4).coefficients
    for c in (-1.0, 0.5):
        expected = np.log(exact @ c ** np.arange(5))
        found = densities.take(slice(0, 300)).log_ratio(c)
        np.testing.assert_allclose(found, expected, atol=3e-3)


def test_tables_interpolate_the_integrals(nominal, densities):
    """At scales between the nodes against the integral there, with its half range."""
    seen = systematics.visible(nominal)[:256]
    at_zero = None
    for jet_scale, lepton_scale in ((0.0, 0.0), (1.7, -2.2), (-3.1, 0.4)):
        shift = {"jet_scale": jet_scale, "lepton_scale": lepton_scale}
        factor = systematics.scales(shift)
        before = seen / np.repeat(factor[::-1], 2)[:, None]
        pair, jets = before[:, 0] + before[:, 1], before[:, 2] + before[:, 3]
        m2 = pair[:, 0] ** 2 - np.sum(pair[:, 1:] ** 2, axis=1)
        mt_h = np.sqrt(125.0**2 + np.sum(jets[:, 1:3] ** 2, axis=1))
        mt_ll = np.sqrt(m2 + np.sum(pair[:, 1:3] ** 2, axis=1))
        product = np.sum(jets[:, 1:3] * pair[:, 1:3], axis=1)
        half = np.arccosh((125.0**2 + m2 - 2 * product) / (2 * mt_h * mt_ll))
        blocks = [
            densities_in_rapidity(before[a : a + 64], a, 32, 4, 0)[0].mean(axis=1)
            for a in range(0, 256, 64)
        ]
        # d³p/E of two jets and of two leptons.
        log_density = np.log(half * np.concatenate(blocks)) - 4 * np.log(np.prod(factor))
        at_zero = log_density if at_zero is None else at_zero
        found = densities.take(slice(0, 256)).log_ratio(0.0, shift)
        difference = found - (log_density - at_zero)
        assert np.sqrt(np.mean(difference**2)) < 3e-3
        assert np.abs(difference).max() < 0.03


def test_gradient_of_the_densities(densities):
    few = densities.take(slice(0, 50))
    point, step = np.array([0.4, 1.3, -2.1, 0.7]), 1e-5
    value, slopes = few.log_density_and_gradient(point)
    np.testing.assert_allclose(value, few.log_density(point))
    for k, h in enumerate(step * np.eye(4)):
        numerical = (few.log_density(point + h) - few.log_density(point - h)) / (2 * step)
        np.testing.assert_allclose(slopes[k], numerical, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("luminosity", [None, 100.0])
@pytest.mark.parametrize("point", [(0.3, 0.8, -0.7, 1.1), (-0.5, -2.5, 2.0, -2.0)])
def test_gradient_of_the_cost(densities, cross_section, luminosity, point):
    cost = ObservableCost(
        densities.take(slice(0, 200)),
        cross_section,
        luminosity=luminosity,
        measured={"jet_scale": 0.4},
    )
    step = 1e-5
    numerical = [
        (cost(*(np.array(point) + h)) - cost(*(np.array(point) - h))) / (2 * step)
        for h in step * np.eye(4)
    ]
    np.testing.assert_allclose(cost.grad(*point), numerical, rtol=1e-5, atol=1e-4)


def test_cost_is_the_likelihood_of_its_parts(densities, cross_section):
    data = densities.take(slice(0, 100))
    point = {"jet_scale": 0.5, "lepton_scale": -1.0, "theory": 2.0}
    nominal, there = cross_section.value(0.0), cross_section.value(0.0, point)
    ratio = data.log_ratio(0.0, point).sum()
    shape = ObservableCost(data, cross_section, measured={"theory": 1.5})
    expected = -2 * (ratio - 100 * np.log(there / nominal)) + 0.25 + 1.0 + 0.25
    assert shape(0.0, **point) == pytest.approx(expected)
    extended = ObservableCost(data, cross_section, luminosity=10.0, constrained=False)
    expected = -2 * (ratio - 1e4 * (there - nominal))
    assert extended(c_HW=0.0, **point) == pytest.approx(expected)


def test_the_cross_section_is_that_of_selected_events(cross_section):
    shift = {"jet_scale": -1.5, "theory": 1.0}
    events = systematics.generate(5_000, {"c_HW": 0.5}, shift, seed=40)
    found = cross_section.value(0.5, shift)
    error = np.hypot(events.cross_section_error / found, cross_section.relative_error(0.5, shift))
    # The error of events at c_HW = 0, on which both depend, is left out of one of the errors.
    assert found == pytest.approx(events.cross_section, rel=4 * np.hypot(error, 0.005))
    step, point = 1e-5, np.array([0.3, 1.0, -1.0, 0.5])
    _, gradient = cross_section.value_and_gradient(point)

    def value(p):
        return cross_section.value(p[0], dict(zip(PARAMETERS[1:], p[1:], strict=True)))

    numerical = [(value(point + h) - value(point - h)) / (2 * step) for h in step * np.eye(4)]
    np.testing.assert_allclose(gradient, numerical, rtol=1e-6)


def test_cross_sections_of_events_at_several_points_agree(generated):
    mixed = SelectedCrossSection.from_events(
        [vbf_hww.generate(10_000, {"c_HW": c}, seed=41) for c in (-1.0, 1.0)]
    )
    one = SelectedCrossSection.from_events([generated.take(slice(0, 20_000))])
    assert mixed.largest == 1.0
    for c, shift in ((0.0, {"jet_scale": 2.0}), (0.5, {"jet_scale": -2.0, "theory": 1.0})):
        first, second = (x.value(c, shift) / x.value(0.0) for x in (mixed, one))
        error = np.hypot(mixed.relative_error(c, shift), one.relative_error(c, shift))
        assert abs(first / second - 1) < 4 * error
        assert error < 0.02


def test_fits_find_the_true_scales(cross_section):
    """Pulls of all parameters at once; the constraints are measured around the truth."""
    truth = {"jet_scale": 1.0, "lepton_scale": -1.0, "theory": 1.0}
    events = systematics.generate(2_000, {"c_HW": 0.3}, truth, seed=50)
    pool = EventDensities.from_events(events, nodes=(4, 3), n_rapidity=32, n_angles=4)
    pulls = []
    for k in range(10):
        cost = ObservableCost(
            pool.take(slice(200 * k, 200 * (k + 1))), cross_section, measured=truth
        )
        m = Minuit(cost, **cost.start).migrad()
        assert m.valid
        expected = np.array([0.3, *truth.values()])
        pulls.append((np.array(m.values) - expected) / np.array(m.errors))
    # With exact auxiliary measurements pulls of the scales are narrower than one.
    assert np.abs(np.mean(pulls, axis=0)).max() < 4 / np.sqrt(len(pulls))
    assert np.std(pulls, axis=0).max() < 2


def second_derivatives(slopes):
    step = 0.02
    return np.array([(slopes(h) - slopes(-h)) / (2 * step) for h in step * np.eye(4)])


def test_second_derivatives_have_the_mean_of_the_cross_section(densities, cross_section):
    """The mean of f''/f is σ''/σ, for all pairs of parameters, and that of f'/f is σ'/σ."""
    slopes = densities.log_density_and_gradient(np.zeros(4))[1]
    values = second_derivatives(lambda p: densities.log_density_and_gradient(p)[1])
    values = np.concatenate([values + slopes[:, None] * slopes, slopes[:, None]], axis=1)

    def of(cross_section):
        of_sigma = second_derivatives(lambda p: cross_section.value_and_gradient(p)[1])
        nominal, gradient = cross_section.value_and_gradient(np.zeros(4))
        return np.concatenate([of_sigma, gradient[:, None]], axis=1) / nominal

    batches = np.array(
        [of(dataclasses.replace(cross_section, coefficients=b)) for b in cross_section.batches]
    )
    error = np.hypot(
        values.std(axis=2) / np.sqrt(N), batches.std(axis=0, ddof=1) / np.sqrt(len(batches))
    )
    assert (np.abs(values.mean(axis=2) - of(cross_section)) < 4 * error).all()


@pytest.mark.parametrize("extended", [False, True])
def test_errors_of_fits_are_those_of_the_information(densities, cross_section, extended):
    luminosity = N / (1000 * cross_section.value(0.0)) if extended else None
    cost = ObservableCost(densities, cross_section, luminosity=luminosity)
    m = Minuit(cost, **cost.start).migrad()
    m.hesse()
    information = densities.information(N, extended=extended)
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(np.array(m.errors), errors, rtol=0.1)
    free = densities.information(N, extended=extended, constrained=False)
    np.testing.assert_allclose(information - free, np.diag([0, 1, 1, 1]), atol=1e-9)


def test_the_number_of_workers_changes_nothing(nominal):
    events = nominal.take(slice(0, 70))
    options = {"nodes": (2, 2), "n_rapidity": 8, "n_angles": 2, "seed": 3}
    one, two = (EventDensities.from_events(events, **options, workers=w) for w in (1, 2))
    np.testing.assert_allclose(one.coefficients, two.coefficients, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(one.exponent, two.exponent)


def test_a_density_that_is_not_positive_is_named(densities):
    wrong = densities.coefficients[:3].copy()
    wrong[1, 1, 0, 0] = -3.0
    wrong[1, 2:] = 0.0
    few = dataclasses.replace(densities.take(slice(0, 3)), coefficients=wrong)
    with pytest.raises(SampleError, match="event 1 has no positive density at c_HW = 1"):
        few.log_ratio(1.0)


def test_wrong_input(nominal, densities, cross_section, generated):
    with pytest.raises(SampleError, match=r"event \d+ is not selected \(\d+ of 100 are not\)"):
        EventDensities.from_events(generated.take(slice(0, 100)))
    few = nominal.take(slice(0, 2))
    with pytest.raises(ParameterError, match=r"nodes = \(1, 3\)"):
        EventDensities.from_events(few, nodes=(1, 3))
    with pytest.raises(ParameterError, match="n_rapidity = 3"):
        EventDensities.from_events(few, n_rapidity=3)
    with pytest.raises(ConfigurationError, match="luminosity=0 must be positive"):
        ObservableCost(densities, cross_section, luminosity=0.0)
    with pytest.raises(SampleError, match="there are no events"):
        ObservableCost(densities.take(slice(0, 0)), cross_section)
    with pytest.raises(ParameterError, match=r"measured= contains \['c_HW'\]"):
        ObservableCost(densities, cross_section, measured={"c_HW": 0.0})
    with pytest.raises(ParameterError, match=r"jet_scale = 4\.5 is outside"):
        ObservableCost(densities, cross_section)(0.0, 4.5, 0.0, 0.0)
    with pytest.raises(SampleError, match="100 events are too few"):
        SelectedCrossSection.from_events([generated.take(slice(0, 100))])
