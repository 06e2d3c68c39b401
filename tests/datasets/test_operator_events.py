"""Events with several operators: truth, rates, reflections, files and samples."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.datasets import vbf_hww, vbf_hzz
from milinfer.datasets.amplitude import decay_ww, production
from milinfer.datasets.operators import LAMBDA, VEV
from milinfer.datasets.selected_cross_section import SelectedCrossSection
from milinfer.exceptions import ParameterError, SampleError
from milinfer.io import lhe
from milinfer.samples.reweighting import reweight_polynomial
from milinfer.samples.sample import Sample
from milinfer.utils.polynomials import PolynomialBasis

N_EVENTS = 20_000
TWO = ("c_HW", "c_HWtil")
SHARE = VEV**2 / LAMBDA**2
ENERGY_FIRST = [3, 0, 1, 2]
POINTS = {"sm": (0.0, 0.0), "up": (0.4, 0.8), "down": (0.4, -0.8), "far": (-1.0, 2.0)}


def point(name):
    return dict(zip(TWO, POINTS[name], strict=True))


@pytest.fixture(scope="module")
def generated():
    return {
        name: vbf_hww.generate(N_EVENTS, point(name), seed=30 + k) for k, name in enumerate(POINTS)
    }


def signed_sine(events):
    """Sine of φ_a − φ_b of the jets, a the one of larger pseudorapidity."""
    jets = events.momenta[:, [9, 10]]
    phi = np.arctan2(jets[..., 1], jets[..., 0])
    eta = np.arcsinh(jets[..., 2] / np.hypot(jets[..., 0], jets[..., 1]))
    return np.sin(phi[:, 0] - phi[:, 1]) * np.where(eta[:, 0] > eta[:, 1], 1, -1)


def observables(events):
    p = events.momenta
    return {
        "sine": signed_sine(events),
        "cosine": np.cos(np.subtract(*np.arctan2(p[:, 9:, 1], p[:, 9:, 0]).T)),
        "pt": np.log(np.hypot(p[:, 9, 0], p[:, 9, 1])),
        "pt_l": np.log(np.hypot(p[:, 5, 0], p[:, 5, 1])),
    }


def test_events_of_one_operator_stay_those_of_the_seed():
    """Numbers from before there were other operators: published figures stay reproducible."""
    events = vbf_hww.generate(3, {"c_HW": 0.5}, seed=11)
    px, a_1 = events.momenta[:, 5, 0], events.coefficients[:, 1]
    np.testing.assert_allclose(px, [-69.84248110348321, 33.627028044080795, 39.64845209642492])
    np.testing.assert_allclose(
        a_1, [0.024871022760387065, 0.04165476919755759, -0.75986276544828], rtol=1e-6
    )
    assert events.coefficients.shape == (3, 5)
    # The last digits of a sum over a grid that adapts to it depend on the processor.
    assert events.cross_section == pytest.approx(0.03352969764966545, rel=1e-6)


@pytest.mark.parametrize("operators", [("c_HWtil",), TWO, vbf_hww.OPERATORS])
def test_coefficients_are_the_amplitudes_of_the_events(operators):
    values = dict(zip(operators, (0.5, -0.8, 1.5), strict=False))
    events = vbf_hww.generate(300, values, seed=1)
    p = events.momenta[..., ENERGY_FIRST]
    u_first = (events.pdg_ids[:, 0] == 2)[:, None]
    u, d = np.where(u_first, p[:, 0], p[:, 1]), np.where(u_first, p[:, 1], p[:, 0])
    produced = production(np.stack([u, d, p[:, 9], p[:, 10]], axis=1), operators)
    decayed = decay_ww(p[:, 5:9], operators)
    assert events.operators == operators
    rng = np.random.default_rng(2)
    for theta in rng.uniform(-1.5, 1.5, (5, len(operators))):
        design = PolynomialBasis(operators, 2).design(theta)[0]
        expected = (produced @ design / produced[:, 0]) * (decayed @ design / decayed[:, 0])
        found = events.joint_ratio(dict(zip(operators, theta, strict=True)))
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_reweighted_events_match_generated_ones(generated):
    """E_0[r(x) f(x)] = σ(θ)/σ(0) E_θ[f(x)]: distributions and cross-sections in one."""
    sm = generated["sm"]
    before = observables(sm)
    for name in ("up", "down"):
        events = generated[name]
        w, after = sm.joint_ratio(point(name)), observables(events)
        sigma = events.cross_section / sm.cross_section
        error = sigma * np.hypot(
            events.cross_section_error / events.cross_section,
            sm.cross_section_error / sm.cross_section,
        )
        assert abs(w.mean() - sigma) < 4 * np.hypot(w.std() / np.sqrt(N_EVENTS), error)
        for key, x in before.items():
            mean = np.average(x, weights=w)
            error = np.hypot(
                np.sqrt(np.sum((w * (x - mean)) ** 2)) / w.sum(),
                after[key].std() / np.sqrt(N_EVENTS),
            )
            assert abs(mean - after[key].mean()) < 4 * error, (name, key)


def test_the_cross_section_polynomial_is_that_of_generated_events(generated):
    ratio = generated["far"].cross_section_ratio()
    basis = generated["far"].basis
    for name in ("sm", "up", "down"):
        design = basis.design(list(POINTS[name]))[0]
        events = generated[name]
        expected = events.cross_section / generated["far"].cross_section
        error = np.sqrt(
            design @ ratio.covariance @ design
            + sum(
                (expected * g.cross_section_error / g.cross_section) ** 2
                for g in (events, generated["far"])
            )
        )
        assert error < 0.1 * expected
        assert abs(design @ ratio.coefficients - expected) < 4 * error


def test_a_reflection_turns_one_sign_of_the_odd_operator_into_the_other(generated):
    sign = np.where(generated["sm"].basis.exponents[:, 1] % 2 == 1, -1.0, 1.0)
    up, down = generated["up"], generated["down"]
    # The same event, reflected: the odd coefficients change their sign.
    some = up.take(slice(0, 200))
    p = some.momenta[..., ENERGY_FIRST] * np.array([1.0, 1.0, -1.0, 1.0])
    u_first = (some.pdg_ids[:, 0] == 2)[:, None]
    u, d = np.where(u_first, p[:, 0], p[:, 1]), np.where(u_first, p[:, 1], p[:, 0])
    produced = production(np.stack([u, d, p[:, 9], p[:, 10]], axis=1), TWO)
    decayed = decay_ww(p[:, 5:9], TWO)
    theta = np.array([[0.3, -0.6], [-0.8, 1.0]])
    design = PolynomialBasis(TWO, 2).design(theta).T
    found = (produced @ design / produced[:, :1]) * (decayed @ design / decayed[:, :1])
    expected = (some.coefficients * sign) @ some.basis.design(theta).T
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    # The rate is even, and odd distributions are reflected.
    error = np.hypot(up.cross_section_error, down.cross_section_error)
    assert abs(up.cross_section - down.cross_section) < 4 * error
    of_up, of_down = observables(up), observables(down)
    of_down["sine"] *= -1
    for key in of_up:
        x, y = of_up[key], of_down[key]
        assert abs(x.mean() - y.mean()) < 4 * np.hypot(x.std(), y.std()) / np.sqrt(N_EVENTS), key
    assert of_up["sine"].mean() > 20 * of_up["sine"].std() / np.sqrt(N_EVENTS)


def test_rates_have_no_odd_powers_of_the_odd_operator(generated):
    ratio = generated["sm"].cross_section_ratio()
    odd = generated["sm"].basis.exponents[:, 1] % 2 == 1
    errors = np.sqrt(np.diag(ratio.covariance))
    assert np.abs(ratio.coefficients[odd] / errors[odd]).max() < 4
    assert errors[1] < 0.01
    # c_HWtil² is as large an effect as c_HW²: this is not for want of power.
    squared = generated["sm"].basis.exponents.tolist().index([0, 2])
    assert ratio.coefficients[squared] > 10 * errors[squared]


def test_the_unweighting_repeats_little(generated):
    assert all(0 < g.overshoot < 0.01 for g in generated.values())
    for corner in ((5.0, 5.0), (-5.0, 5.0), (0.0, -5.0)):
        events = vbf_hww.generate(200, dict(zip(TWO, corner, strict=True)), seed=4)
        assert events.overshoot < 0.01


def test_the_box_changes_rates_and_no_shape():
    """Exactly: the same events, and the fourth power of 1 + c v²/Λ² in rate."""
    one = vbf_hww.generate(500, {"c_HW": 0.0}, seed=7)
    other = vbf_hww.generate(500, {"c_HW": 0.0, "c_Hbox": 3.0}, seed=7)
    np.testing.assert_array_equal(one.momenta, other.momenta)
    rate = (1 + 3 * SHARE) ** 4
    assert other.cross_section == pytest.approx(rate * one.cross_section, rel=1e-12)
    np.testing.assert_allclose(other.joint_ratio({"c_HW": 0.0, "c_Hbox": 3.0}), rate, rtol=1e-12)
    # The score of the standard model is one number.
    linear = other.basis.exponents.tolist().index([0, 1])
    np.testing.assert_allclose(other.coefficients[:, linear], 4 * SHARE, rtol=1e-12)
    # With c_HW the shape is that of a smaller c_HW.
    scale = 1 + 3 * SHARE
    shape = other.joint_ratio({"c_HW": 0.8, "c_Hbox": 3.0}) / rate
    np.testing.assert_allclose(shape, one.joint_ratio(0.8 / scale), rtol=1e-10)


def test_the_box_shifts_rates_together_with_both_others():
    at = {"c_HW": -0.6, "c_HWtil": 0.5, "c_Hbox": -2.0}
    scale = 1 - 2 * SHARE
    events = vbf_hww.generate(4_000, at, seed=8)
    rescaled = vbf_hww.generate(4_000, {"c_HW": -0.6 / scale, "c_HWtil": 0.5 / scale}, seed=9)
    expected = scale**4 * rescaled.cross_section
    error = np.hypot(events.cross_section_error, scale**4 * rescaled.cross_section_error)
    assert abs(events.cross_section - expected) < 4 * error
    assert events.coefficients.shape == (4_000, 35)


def test_files_have_the_weights_of_the_polynomial(tmp_path, generated):
    events = generated["up"].take(slice(0, 300))
    path = tmp_path / "events.lhe.gz"
    lhe.write(path, *events.to_events(vbf_hww.default_weights(TWO)))
    assert lhe.read(path).info.point == point("up")
    read = Sample.from_file(path, features="vbf_2l2j")
    assert read.point == point("up")
    assert list(read.reweight_points.values()) == list(vbf_hww.default_weights(TWO))
    found = reweight_polynomial(read, PolynomialBasis(TWO, 4))
    scale = np.abs(events.coefficients).max(axis=1, keepdims=True)
    np.testing.assert_allclose(found / found[:, :1] / scale, events.coefficients / scale, atol=1e-9)
    made = events.to_sample("vbf_2l2j", vbf_hww.default_weights(TWO))
    for mine, theirs in zip(made.reweights.values(), read.reweights.values(), strict=True):
        np.testing.assert_allclose(mine, theirs / read.weights, rtol=1e-5)


def test_samples_at_points_of_two_operators():
    heard = []
    points = [{"c_HWtil": 0.5, "c_HW": 0.0}, {"c_HW": -0.5, "c_HWtil": 0.0}]
    many = vbf_hww.samples(50, points, seed=3, on_sample=heard.append)
    assert heard == points
    assert many.parameters == TWO
    assert list(many[1].reweight_points.values()) == list(vbf_hww.default_weights(TWO))
    own = next(k for k, p in many[1].reweight_points.items() if p == points[1])
    np.testing.assert_allclose(many[1].reweights[own], 1)
    alone = vbf_hww.samples(50, points[:1], seed=3)
    np.testing.assert_array_equal(many[0].features, alone[0].features)


def test_errors_say_what_to_do(generated):
    with pytest.raises(ParameterError, match="have different operators"):
        vbf_hww.samples(10, [{"c_HW": 0.0}, {"c_HW": 0.0, "c_HWtil": 0.5}], seed=1)
    some = generated["up"].take(slice(0, 10))
    with pytest.raises(ParameterError, match="has only c_HW, c_HWtil in these events"):
        some.to_events([{"c_HW": 1.0}])
    with pytest.raises(ParameterError, match="give a value of each"):
        some.joint_ratio(0.5)
    with pytest.raises(ParameterError, match="; give "):
        some.joint_ratio({"c_HW": 0.5})
    with pytest.raises(ParameterError, match="no parameter"):
        vbf_hzz.generate(5, seed=1).to_sample(weights=[{"c_HWtil": 1.0}])
    with pytest.raises(SampleError, match="function of c_HW alone"):
        SelectedCrossSection.from_events([generated["up"]])
