"""Heads: tensors, arrays and polynomials say the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from milinfer.learning.networks.backend import keras
from milinfer.learning.networks.heads import LinearHead, PolynomialHead

FLOOR = 1e-7
REFERENCE, SCALE = np.array([0.1, -0.2]), np.array([0.5, 2.0])


def make(n, order, n_squares=2):
    return PolynomialHead(("c1", "c2")[:n], order, REFERENCE[:n], SCALE[:n], n_squares)


HEADS = [make(n, order) for n in (1, 2) for order in (1, 2)]
every_head = pytest.mark.parametrize("head", HEADS, ids=lambda h: f"{len(h.parameters)}-{h.order}")
seeds = st.integers(0, 2**32 - 1)


def outputs_of(head, n=30, seed=1):
    return np.random.default_rng(seed).normal(0, 0.5, (n, head.n_outputs))


def points(head, n=7, seed=2):
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            head.reference[None],
            head.reference + head.scale * rng.uniform(-1, 1, (n, len(SCALE)))[:, : len(head.scale)],
        ]
    )


def mean_polynomial(head, outputs):
    return head.coefficients(outputs).mean(axis=0)


def as_array(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor), dtype=np.float64)


def test_linear_head_combines_functions():
    functions = np.random.default_rng(1).normal(size=(3, 5))
    head, outputs = LinearHead(functions), np.random.default_rng(2).normal(size=(4, 3))
    assert (head.n_outputs, head.n_points) == (3, 5)
    np.testing.assert_allclose(head.log_ratio(outputs), outputs @ functions)
    assert head.log_ratio(outputs.astype(np.float32)).dtype == np.float64
    bags = outputs.reshape(2, 2, 3).astype(np.float32)
    np.testing.assert_allclose(as_array(head.tensor(bags)), bags @ functions, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("n", "order", "n_monomials"), [(1, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 5)]
)
def test_numbers_of_outputs(n, order, n_monomials):
    head = make(n, order, 3)
    assert head.n_monomials == n_monomials
    assert head.n_outputs == 4 * n_monomials
    assert head.coefficients(outputs_of(head)).shape == (30, len(head.basis))


@every_head
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_ratio_is_the_polynomial_of_the_coefficients(head, seed):
    outputs, theta = outputs_of(head, seed=seed), points(head, seed=seed)
    powers = head.basis.design((theta - head.reference) / head.scale)
    polynomial = head.coefficients(outputs) @ powers.T
    np.testing.assert_allclose(head.ratios(outputs, theta), polynomial, rtol=1e-9, atol=2 * FLOOR)
    z = mean_polynomial(head, outputs)
    ratio = np.exp(head.log_ratio(outputs, theta, z))
    np.testing.assert_allclose(ratio, polynomial / (powers @ z), rtol=1e-9, atol=2 * FLOOR)
    # Z is the mean of the events it was made of: E[r] = 1.
    np.testing.assert_allclose(ratio.mean(axis=0), 1, atol=1e-5)


@every_head
def test_ratio_is_one_at_the_reference(head):
    outputs = outputs_of(head)
    log_ratio = head.log_ratio(outputs, head.reference[None], mean_polynomial(head, outputs))
    np.testing.assert_allclose(log_ratio, 0, atol=1.01 * FLOOR)
    np.testing.assert_allclose(head.coefficients(outputs)[:, 0], 1, rtol=1e-12)


@every_head
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_ratio_is_positive_and_finite_for_any_outputs(head, data):
    outputs = data.draw(
        arrays(np.float32, (3, head.n_outputs), elements=st.floats(-50, 50, width=32))
    )
    ratio = head.ratios(outputs, points(head))
    assert np.all(ratio > 0)
    assert np.isfinite(np.log(ratio)).all()
    values = head.basis.design((points(head) - head.reference) / head.scale)
    polynomial = head.coefficients(outputs) @ values.T
    np.testing.assert_allclose(
        ratio, polynomial, rtol=1e-9, atol=1e-6 * (1 + np.abs(outputs).max() ** 2)
    )


@every_head
def test_tensors_say_what_arrays_say(head):
    outputs, theta = outputs_of(head).astype(np.float32), points(head)
    expected = np.log(head.ratios(outputs, theta))
    found = as_array(head.tensor(theta)(outputs))
    # Where amplitudes cancel, float32 loses digits of the ratio.
    np.testing.assert_allclose(np.exp(found), np.exp(expected), rtol=1e-5, atol=3e-6)
    bags = as_array(head.tensor(theta)(outputs.reshape(5, 6, -1)))
    np.testing.assert_allclose(bags.reshape(found.shape), found, rtol=1e-5, atol=1e-5)


@every_head
def test_scores_are_derivatives(head):
    outputs, theta = outputs_of(head).astype(np.float32), points(head)
    found = as_array(head.score_tensor(theta)(outputs)).reshape(30, len(theta), -1)
    assert found.shape[2] == len(head.parameters)
    h = 1e-5
    ratio = head.ratios(outputs, theta)
    safe = ratio > 1e-2
    assert safe.mean() > 0.8
    for k, e in enumerate(np.eye(len(head.parameters))):
        up, down = (np.log(head.ratios(outputs, theta + s * h * e)) for s in (1, -1))
        slope = (up - down) / (2 * h)
        np.testing.assert_allclose(found[:, :, k][safe], slope[safe], rtol=1e-3, atol=1e-3)


@every_head
def test_one_square_more_changes_nothing_if_it_vanishes(head):
    more = PolynomialHead(head.parameters, head.order, head.reference, head.scale, 3)
    outputs, theta = outputs_of(head), points(head)
    padded = np.concatenate([outputs, np.zeros((30, head.n_monomials))], axis=1)
    np.testing.assert_allclose(more.ratios(padded, theta), head.ratios(outputs, theta), rtol=1e-12)
    np.testing.assert_allclose(more.coefficients(padded), head.coefficients(outputs), rtol=1e-12)
