"""Losses whose minimum is the likelihood ratio: pointwise, at the extremes, and trained."""

from __future__ import annotations

import subprocess
import sys
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from milinfer.datasets import gaussian
from milinfer.exceptions import ConfigurationError, ModelError
from milinfer.learning.networks.losses import LOSSES, loss

TWO_CLASSES = [name for name, item in LOSSES.items() if item.n_classes == 2]
EPSILON = 0.1
N_EVENTS = 20_000
"""In each of the two classes."""
SIGMA = 2 / np.sqrt(2 * N_EVENTS)
"""Statistical error of the slope of the log-ratio, for every loss that has the ratio as its
minimum.  Where the classes are nearly alike, the score of an example is ±s φ(x), with s from the
loss; the mean Hessian is s/2 E[φφᵀ], because the minimum must follow a posterior η as ln η/(1 − η),
whose derivative is 4.  The sandwich H⁻¹ Var(score) H⁻¹ is 4 E[φφᵀ]⁻¹ / N: that of a logistic
regression, whatever s.  For Hermite polynomials φ under a Gaussian E[φφᵀ] is diagonal, so that
further terms do not change the error of the slope, 2/√N.  Corrections are of order ε² ≈ 1 %."""


def as_tensor(values, dtype="float32"):
    import tensorflow as tf

    return tf.constant(values, dtype=dtype)


def losses_and_slopes(item, outputs, targets, dtype="float32", *, graph=True):
    """Loss of each example and its derivative with respect to the outputs."""
    compute = traced(item) if graph else partial(values_and_slopes, item)
    values, slopes = compute(as_tensor(outputs, dtype), as_tensor(targets, dtype))
    return values.numpy(), slopes.numpy()


def values_and_slopes(item, o, y):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(o)
        values = item(o, y)
    return values, tape.gradient(values, o)


@cache
def traced(item):
    """One graph for each loss and for each type and width of the outputs."""
    import tensorflow as tf

    return tf.function(partial(values_and_slopes, item), reduce_retracing=True)


def expected_loss(item, p0, p1):
    """p₁ loss(o, 1) + p₀ loss(o, 0) as a function of o, in float64."""

    def value(o):
        each = item(as_tensor([[o], [o]], "float64"), as_tensor([[1, 0], [0, 1]], "float64"))
        return float(np.array([p0, p1]) @ each.numpy())

    return value


def pointwise_minimum(item, p0, p1, bounds):
    found = minimize_scalar(
        expected_loss(item, p0, p1), bounds=bounds, method="bounded", options={"xatol": 1e-9}
    )
    assert found.success
    return item.log_ratio([[found.x]])[0], found.fun


TABLE = {  # Nachman & Thaler, table I: the integrand at the minimum, with the opposite sign
    "bce": lambda p0, p1: -p1 * np.log(p1 / (p0 + p1)) - p0 * np.log(p0 / (p0 + p1)),
    "mse": lambda p0, p1: p0 * p1 / (p0 + p1),
    "square-root": lambda p0, p1: 2 * np.sqrt(p0 * p1),
    # the table leaves out p1 − p0, whose integral is zero
    "mlc-linear": lambda p0, p1: -p1 * np.log(p1 / p0) + p1 - p0,
    "mlc-exponential": lambda p0, p1: -p1 * np.log(p1 / p0) + p1 - p0,
}


@pytest.mark.parametrize("name", TWO_CLASSES)
@given(log_ratio=st.floats(-6, 6), p0=st.floats(1e-3, 2))
@settings(max_examples=12, deadline=None)
def test_the_pointwise_minimum_is_the_ratio(name, log_ratio, p0):
    p1 = p0 * np.exp(log_ratio)
    bounds = (-1.2, 500) if name == "mlc-linear" else (-10, 10)
    found, minimum = pointwise_minimum(loss(name), p0, p1, bounds)
    assert found == pytest.approx(log_ratio, abs=1e-4)
    # below its floor δ the linear ratio is continued without changing the loss at the minimum
    assert minimum == pytest.approx(TABLE[name](p0, p1), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", TWO_CLASSES)
def test_the_minimum_is_exact_beyond_the_caps(name):
    """Eq. 6: the ratio at the minimum is that of the slopes, −B'/A'."""
    item = loss(name)
    o = np.linspace(-6 if name == "mlc-linear" else -150, 150, 301)
    of_b, of_a = (
        losses_and_slopes(item, o[:, None], np.tile(y, (len(o), 1)), "float64")[1][:, 0]
        for y in ([1, 0], [0, 1])
    )
    exact = np.log(of_b) - np.log(-of_a)
    np.testing.assert_allclose(item.log_ratio(o[:, None]), exact, rtol=1e-10, atol=1e-10)


@given(p=st.lists(st.floats(1e-3, 1), min_size=2, max_size=5))
@settings(max_examples=15, deadline=None)
def test_the_pointwise_minimum_of_the_cross_entropy_is_the_ratios(p):
    item, p = loss("cross-entropy"), np.array(p)

    def value_and_slope(o):
        value, slope = losses_and_slopes(item, o[None], p[None], "float64", graph=False)
        return value[0], slope[0]

    found = minimize(value_and_slope, np.zeros(len(p)), jac=True, method="BFGS", tol=1e-9)
    ratios = item.log_ratio(found.x[None])[0]
    np.testing.assert_allclose(ratios - ratios[0], np.log(p / p[0]), atol=1e-4)


@pytest.mark.parametrize("name", TWO_CLASSES)
@given(output=st.floats(-0.9, 20), y1=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_losses_are_those_of_the_table(name, output, y1):
    item, y0 = loss(name), 1 - y1
    r = np.exp(item.log_ratio([[output]])[0])
    c = r / (1 + r)
    a, b = {
        "bce": (np.log(c), -np.log1p(r)),
        "mse": (-((1 - c) ** 2), -(c**2)),
        "square-root": (-1 / np.sqrt(r), -np.sqrt(r)),
    }.get(name, (np.log(r), 1 - r))
    value = item(as_tensor([[output]], "float64"), [[y0, y1]]).numpy()[0]
    assert value == pytest.approx(-y1 * a - y0 * b, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("y1", [0.0, 0.3, 1.0])
def test_values_and_slopes_are_finite(name, y1):
    item = loss(name)
    far = np.array([1e2, 1e4, 1e20])
    o = np.concatenate([-far[::-1], np.linspace(-80, 80, 3201), far]).astype(np.float32)
    outputs = o[:, None] if item.n_classes == 2 else np.stack([-o / 2, o / 2], axis=1)
    values, slopes = losses_and_slopes(item, outputs, np.tile([1 - y1, y1], (len(o), 1)))
    assert values.shape == o.shape
    assert values.dtype == np.float32
    assert np.all(np.isfinite(values))
    assert np.all(np.isfinite(slopes))
    # Adam keeps squares of slopes, in float32; those of the last layer have features as factors.
    assert np.all(np.isfinite(np.square(100 * slopes)))
    log_ratio = item.log_ratio(outputs)
    assert log_ratio.dtype == np.float64
    assert np.all(np.isfinite(log_ratio))
    log_ratio = log_ratio if item.n_classes == 2 else log_ratio[:, 1] - log_ratio[:, 0]
    assert np.all(np.diff(log_ratio) > 0)
    assert item.log_ratio(np.zeros((1, outputs.shape[1]))) == pytest.approx(0)


@pytest.mark.parametrize("name", TWO_CLASSES)
def test_slopes_have_no_kinks(name):
    """Where a formula takes over from another, slopes go on: no jump, and no sum of both."""
    item = loss(name)
    for joint in (30.0, 60.0, -60.0, -0.99):
        o = joint + np.array([-1e-7, 0.0, 1e-7])
        _, slopes = losses_and_slopes(item, o[:, None], np.full((3, 2), 0.5), "float64")
        np.testing.assert_allclose(slopes[:, 0], slopes[1, 0], rtol=1e-4, atol=1e-6)


def test_two_classes_are_the_same_in_both_cross_entropies():
    rng = np.random.default_rng(1)
    o, y1 = rng.normal(size=(50, 1)), rng.uniform(size=(50, 1))
    targets = np.hstack([1 - y1, y1])
    both = [
        loss(name)(as_tensor(outputs), as_tensor(targets)).numpy()
        for name, outputs in (("bce", o), ("cross-entropy", np.hstack([-o / 2, o / 2])))
    ]
    np.testing.assert_allclose(*both, rtol=1e-5)


@pytest.fixture(scope="module")
def data():
    """Hermite polynomials of the feature, one-hot labels and exact posteriors."""
    x, labels = [], []
    for k, sample in enumerate(gaussian.two_gaussians(N_EVENTS, epsilon=EPSILON, seed=5)):
        x.append(sample.column("x0").astype(np.float64))
        labels.append(np.tile(np.eye(2)[k], (N_EVENTS, 1)))
    x = np.concatenate(x)
    posterior = expit(2 * EPSILON * x)
    return {
        "x": x,
        "features": hermite(x).astype(np.float32),
        "hard": np.concatenate(labels).astype(np.float32),
        "soft": np.stack([1 - posterior, posterior], axis=1).astype(np.float32),
    }


def hermite(x):
    return np.stack([x, (x**2 - 1) / np.sqrt(2), (x**3 - 3 * x) / np.sqrt(6)], axis=1)


def fitted_slope(name, features, targets):
    """Train one linear layer, and project its log-ratio on x under N(0, 1)."""
    item = loss(name)
    inputs = np.column_stack([features, np.ones(len(features), np.float32)])
    weights = np.zeros((4, 1 if item.n_classes else 2), np.float32)
    # The Hessian is about 1/8 (mse) to 1/2 (MLC) times the unit matrix, see above: every
    # plain step multiplies the distance to the minimum by 1 − H, 100 of them by less than 2e-6.
    for _ in range(100):
        weights -= inputs.T @ losses_and_slopes(item, inputs @ weights, targets)[1] / len(inputs)
    nodes, shares = np.polynomial.hermite_e.hermegauss(40)
    keep = np.abs(nodes) < 6
    nodes, shares = nodes[keep], shares[keep] / shares[keep].sum()
    log_ratio = item.log_ratio(hermite(nodes) @ weights[:3] + weights[3])
    if item.n_classes is None:
        log_ratio = log_ratio[:, 1] - log_ratio[:, 0]
    return (shares * nodes * log_ratio).sum() / (shares * nodes**2).sum()


@pytest.mark.parametrize("name", TWO_CLASSES)
def test_the_sandwich_has_the_error_of_a_logistic_regression(name, data):
    """That `SIGMA` is what it says, measured with the derivatives of each loss at the truth."""
    x = data["x"]
    truth = np.expm1(2 * EPSILON * x) if name == "mlc-linear" else 2 * EPSILON * x

    def scores(step):
        o = (truth + step * x)[:, None]
        return x * losses_and_slopes(loss(name), o, data["hard"], "float64")[1][:, 0]

    hessian = (scores(1e-3).mean() - scores(-1e-3).mean()) / 2e-3
    assert np.std(scores(0)) / hessian / np.sqrt(len(x)) == pytest.approx(SIGMA, rel=0.1)


@pytest.fixture(scope="module")
def hard_slopes(data):
    return {name: fitted_slope(name, data["features"], data["hard"]) for name in LOSSES}


@pytest.mark.parametrize("name", LOSSES)
def test_labels_give_the_slope_within_its_error(name, hard_slopes):
    assert abs(hard_slopes[name] - 2 * EPSILON) < 3 * SIGMA


def test_all_losses_are_equally_efficient_where_classes_are_alike(hard_slopes):
    # To first order in ε they are the same estimator of the same events.
    slopes = np.array(list(hard_slopes.values()))
    assert np.ptp(slopes) < 0.2 * SIGMA
    assert np.ptp(slopes) > 0


@pytest.mark.parametrize("name", LOSSES)
def test_exact_posteriors_give_the_slope_almost_without_error(name, data):
    # No label noise: the minimum is the same for every event, and the fit only has to find it.
    slope = fitted_slope(name, data["features"], data["soft"])
    assert abs(slope - 2 * EPSILON) < 0.01 * SIGMA


def test_mistakes_are_named():
    with pytest.raises(ConfigurationError, match=r"'hinge'.*cross-entropy, ratio-mse, bce, mse"):
        loss("hinge")
    ones = np.ones((4, 1), np.float32)
    with pytest.raises(ModelError, match=r"outputs of shape \(n, 1\)"):
        loss("bce")(ones[:, 0], np.ones((4, 2)))
    with pytest.raises(ModelError, match=r"outputs of shape \(n, 1\)"):
        loss("mse").log_ratio(np.ones((4, 2)))
    with pytest.raises(ModelError, match=r"targets of shape \(4, 2\)"):
        loss("mlc-linear")(ones, ones)
    with pytest.raises(ModelError, match=r"targets of shape \(4, 3\)"):
        loss("cross-entropy")(np.ones((4, 3), np.float32), np.ones((4, 2)))
    with pytest.raises(ModelError, match=r"outputs of shape \(n, K\)"):
        loss("cross-entropy").log_ratio(np.ones(4))


def test_importing_losses_does_not_import_keras():
    code = "import sys, milinfer.learning.networks.losses; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
