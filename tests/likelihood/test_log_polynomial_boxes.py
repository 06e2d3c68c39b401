"""Sums over very many polynomials in several parameters: compressed, the same to their bound."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from contextlib import redirect_stdout

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.likelihood import log_polynomial_boxes
from milinfer.likelihood.log_polynomial_boxes import LogSums
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.utils.polynomials import PolynomialBasis


def squares(n, n_parameters, seed, smallest=0.05):
    """Basis, and polynomials (1 + a·u)² + (b·u)² + smallest², some of which come near zero."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 0.4, (2, n, n_parameters))
    basis = PolynomialBasis(tuple("abc"[:n_parameters]), 2)
    rows = np.zeros((n, len(basis)))
    for k, e in enumerate(basis.exponents):
        (where,) = np.nonzero(e)
        if e.sum() == 0:
            rows[:, k] = 1 + smallest**2
        elif e.sum() == 1:
            rows[:, k] = 2 * a[:, where[0]]
        else:
            i, j = where[0], where[-1]
            rows[:, k] = (1 if i == j else 2) * (a[:, i] * a[:, j] + b[:, i] * b[:, j])
    return basis, rows


def exact(basis, rows, weights, u):
    at = rows.astype(np.longdouble) @ basis.design(u)[0]
    return float(weights @ np.log(at))


@pytest.fixture
def compressed_at_once(monkeypatch):
    """Boxes of few rows, which are compressed at the first call."""
    monkeypatch.setattr(log_polynomial_boxes, "_FEW", 100)
    monkeypatch.setattr(log_polynomial_boxes, "_NODES_A_CALL", 1e9)


@pytest.mark.parametrize("n_parameters", [2, 3])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), weighted=st.booleans(), far=st.floats(-1, 1))
def test_values_are_exact_within_the_bound(n_parameters, seed, weighted, far):
    basis, rows = squares(400, n_parameters, seed)
    rng = np.random.default_rng(seed + 1)
    weights = rng.uniform(-0.5, 1, len(rows)) if weighted else np.ones(len(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_polynomial_boxes, "_FEW", 100)
        patch.setattr(log_polynomial_boxes, "_NODES_A_CALL", 1e9)
        sums = LogSums(basis, rows, weights, np.zeros(n_parameters))
        u = far * rng.uniform(-1, 1, n_parameters)
        value, slope = sums.value(u), sums.gradient(u)
        assert len(sums._boxes) == 1
        assert 0 < sums.bound < 1e-12 * np.abs(weights).sum()
        plain = LogSums(basis, rows, weights, np.zeros(n_parameters))
        patch.setattr(log_polynomial_boxes, "_FEW", 1000)
        wanted = plain.gradient(u)
    assert abs(value - exact(basis, rows, weights, u)) <= sums.bound + 1e-12
    np.testing.assert_allclose(slope, wanted, rtol=1e-9, atol=1e-9)


def test_the_bound_holds_where_the_series_is_worst(compressed_at_once):
    """All polynomials have their zeros as near to the box as is allowed, on one side of it."""
    basis = PolynomialBasis(("a", "b"), 1)
    sums = LogSums(basis, np.tile([1.0, 0.3, 0.4], (200, 1)), np.ones(200), np.zeros(2))
    sums.value(np.zeros(2))
    (box,) = sums._boxes.values()
    assert len(box.near.weights) == 0
    half = sums._half
    assert 0.35 < log_polynomial_boxes._RADIUS * half @ [0.4, 0.3] <= 0.5
    points = np.random.default_rng(1).uniform(-1, 1, (300, 2)) * half
    errors = [abs(sums.value(u) - 200 * np.log1p(u @ [0.4, 0.3])) for u in points]
    assert max(errors) <= sums.bound + 1e-13


def test_few_calls_do_not_compress_and_many_do(monkeypatch):
    monkeypatch.setattr(log_polynomial_boxes, "_FEW", 100)
    basis, rows = squares(3000, 2, 1)
    sums = LogSums(basis, rows, np.ones(3000), np.zeros(2))
    u = np.array([0.01, -0.02])
    values = [sums.value(u) for _ in range(100)]
    assert len(set(values)) == 2
    assert np.ptp(values) <= sums.bound + 1e-11
    assert len(sums._boxes) == 1
    again = pickle.loads(pickle.dumps(sums))
    assert again.value(u) == values[-1]


def test_parameters_have_boxes_of_their_own_width(compressed_at_once):
    basis, rows = squares(3000, 2, 1)
    scaled = rows * 10.0 ** basis.exponents[:, 0]
    sums, other = (LogSums(basis, r, np.ones(3000), np.zeros(2)) for r in (rows, scaled))
    assert other._half[0] == pytest.approx(sums._half[0] / 10, rel=0.4)
    assert other._half[1] == pytest.approx(sums._half[1], rel=0.4)


def test_polynomials_that_are_negative_somewhere_are_summed_one_by_one(compressed_at_once):
    """Beyond the range of the parameters a row may be negative at the centre of a box."""
    basis, rows = squares(300, 2, 3)
    rows[7] = 0
    rows[7, :3] = [0.5, 0.0, 1.0]  # 0.5 + u₀, negative below −½
    sums = LogSums(basis, rows, np.ones(300), np.zeros(2))
    u = np.array([-0.4999, 0.0])
    assert sums.value(u) == pytest.approx(exact(basis, rows, np.ones(300), u), abs=1e-9)


def test_units_of_the_parameters(compressed_at_once):
    """Values, gradients and the maximum are those of θ, not of u."""
    basis, rows = squares(5000, 2, 5)
    centre, half = np.array([0.3, -1.0]), np.array([0.5, 4.0])
    rows = np.concatenate([rows, rows.mean(axis=0)[None]])
    weights = np.append(np.ones(5000), -5000.0)
    sums = LogPolynomials(basis, centre, half, rows, weights, centre - half, centre + half, centre)
    assert sums.value(centre) == pytest.approx(0, abs=1e-9)
    point = centre + 0.05 * half
    wanted = exact(basis, rows, weights, np.full(2, 0.05))
    wanted -= exact(basis, rows, weights, np.zeros(2))
    assert sums.value(point) == pytest.approx(wanted, abs=1e-9)
    np.testing.assert_allclose(sums.values_at(point[None]), wanted, atol=1e-9)
    step = 1e-5 * np.diag(half)
    slope = [(sums.value(point + e) - sums.value(point - e)) / (2 * e.sum()) for e in step]
    np.testing.assert_allclose(sums.gradient(point), slope, rtol=1e-5, atol=1e-3)
    best = sums.maximum_near(centre)
    np.testing.assert_allclose(sums.gradient(best) * half, 0, atol=1e-6)


THREADS = """
import numpy as np
from milinfer.likelihood.log_polynomial_boxes import LogSums
from milinfer.utils.polynomials import PolynomialBasis

rng = np.random.default_rng(1)
rows = rng.normal(0, 0.1, (150_000, 6))
rows[:, 0] = 1
weights = rng.uniform(-0.5, 1, len(rows))
sums = LogSums(PolynomialBasis(("a", "b"), 2), rows, weights, np.zeros(2))
u = np.array([0.03, -0.02])
for _ in range(2):
    print(sums.value(u).hex(), [x.hex() for x in sums.gradient(u).tolist()], sums.n_boxes)
    for _ in range(60):
        sums.value(u)
"""


def test_sums_do_not_depend_on_the_number_of_threads():
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-c", THREADS],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | dict.fromkeys(names, "2"),
    )
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        # The libraries of numpy have one thread in all tests: see conftest.py.
        with redirect_stdout(io.StringIO()) as written:
            exec(THREADS, {})
    finally:
        numba.set_num_threads(before)
    assert done.stdout.endswith(" 1\n")  # a box is made
    assert done.stdout == written.getvalue()
