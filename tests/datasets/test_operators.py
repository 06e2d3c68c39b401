"""Amplitudes with several operators, against an independent generator and by their symmetries."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from milinfer.datasets.amplitude import (
    M_H,
    Invariants,
    decay_ww,
    decay_ww_of_invariants,
    production,
    production_of_invariants,
)
from milinfer.datasets.operators import (
    LAMBDA,
    OPERATORS,
    VEV,
    check_operators,
    check_point,
    default_weights,
    expand,
    form_weights,
    product_table,
    quartic,
)
from milinfer.datasets.phase_space import (
    decay_momenta,
    decay_weights,
    production_momenta,
    production_weights,
)
from milinfer.exceptions import ParameterError
from milinfer.utils.polynomials import PolynomialBasis, point_matrix

REFERENCE = json.loads(
    (Path(__file__).parent / "data" / "matrix_elements_cp.json").read_text(encoding="utf-8")
)
TWO = ("c_HW", "c_HWtil")
SHARE = VEV**2 / LAMBDA**2
MIRROR = np.array([1.0, 1.0, -1.0, 1.0])


def momenta(kind):
    return np.array(REFERENCE[kind]["momenta"])


def ratio(function, p, point, operators=TWO):
    squared = function(p, operators)
    return squared @ PolynomialBasis(operators, 2).design([point])[0] / squared[:, 0]


def cases():
    return [
        pytest.param(kind, column, point, id=f"{kind} {point}")
        for kind in ("production", "decay", "chain")
        for column in ("ratio", "ratio_extra")
        for point in REFERENCE[kind].get(column, {})
    ]


@pytest.mark.parametrize(("kind", "column", "point"), cases())
def test_ratios_agree_with_smeftsim(kind, column, point):
    p, at = momenta(kind), [float(x) for x in point.split(",")]
    found = {
        "production": lambda: ratio(production, p, at),
        "decay": lambda: ratio(decay_ww, p, at),
        "chain": lambda: ratio(production, p[:, :4], at) * ratio(decay_ww, p[:, 4:], at),
    }[kind]()
    np.testing.assert_allclose(found, REFERENCE[kind][column][point], rtol=1e-12)


def test_every_kind_has_reference_points():
    assert len(cases()) == 27


@pytest.mark.parametrize(("kind", "function"), [("production", production), ("decay", decay_ww)])
@pytest.mark.parametrize("operators", [("c_HWtil",), TWO, OPERATORS, ("c_HW", "c_Hbox")])
def test_polynomials_of_more_operators_contain_those_of_fewer(kind, function, operators):
    p = momenta(kind)
    squared = function(p, operators)
    basis = PolynomialBasis(operators, 2)
    for k, name in enumerate(operators):
        alone = (np.delete(basis.exponents, k, axis=1) == 0).all(axis=1)
        np.testing.assert_array_equal(squared[:, alone], function(p, [name]))


@pytest.mark.parametrize(("kind", "function"), [("production", production), ("decay", decay_ww)])
def test_the_box_rescales_the_standard_model_and_shrinks_the_others(kind, function):
    p = momenta(kind)
    scale = 1 + SHARE * 2.5
    np.testing.assert_allclose(ratio(function, p, [2.5], ("c_Hbox",)), scale**2, rtol=1e-13)
    found = ratio(function, p, [0.7, -1.1, 2.5], OPERATORS)
    expected = scale**2 * ratio(function, p, [0.7 / scale, -1.1 / scale])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def odd_in_cp(operators, degree=2):
    basis = PolynomialBasis(operators, degree)
    return basis.exponents[:, operators.index("c_HWtil")] % 2 == 1


@pytest.mark.parametrize(("kind", "function"), [("production", production), ("decay", decay_ww)])
def test_a_reflection_changes_the_sign_of_the_odd_operator(kind, function):
    p = momenta(kind)
    sign = np.where(odd_in_cp(OPERATORS), -1.0, 1.0)
    one, other = function(p, OPERATORS), function(p * MIRROR, OPERATORS)
    scale = np.abs(one).max(axis=1, keepdims=True)
    assert np.abs(other - sign * one).max() < 1e-12 * scale.max()
    # Not because they vanish.
    assert (np.abs(one[:, 1]) > 1e-3 * one[:, 0]).mean() > 0.9


def test_decays_are_odd_under_cp():
    """CP: e+ νe e− ν̄e → e− ν̄e e+ νe with all momenta mirrored."""
    p = momenta("decay")
    mirrored = p[:, [2, 3, 0, 1]] * np.array([1.0, -1.0, -1.0, -1.0])
    sign = np.where(odd_in_cp(TWO), -1.0, 1.0)
    one, other = decay_ww(p, TWO), decay_ww(mirrored, TWO)
    np.testing.assert_allclose(other, sign * one, rtol=1e-9, atol=1e-12 * np.abs(one).max())


def test_squared_amplitudes_are_never_negative():
    points = np.random.default_rng(1).uniform(-5, 5, (200, 3))
    design = PolynomialBasis(OPERATORS, 2).design(points)
    for kind, function in (("production", production), ("decay", decay_ww)):
        assert (function(momenta(kind), OPERATORS) @ design.T >= 0).all()


def invariants(p):
    def s(a, b):
        return 2 * (p[:, a, 0] * p[:, b, 0] - np.sum(p[:, a, 1:] * p[:, b, 1:], axis=1))

    return Invariants(s12=s(0, 1), s34=s(2, 3), s13=s(0, 2), s24=s(1, 3), s14=s(0, 3), s23=s(1, 2))


def test_invariants_and_a_determinant_give_the_amplitudes():
    p = momenta("production")
    # u, d from it, u from the d, d; the incoming ones with negative momenta.
    ordered = p[:, [0, 2, 3, 1]] * np.array([-1.0, 1.0, 1.0, -1.0])[:, None]
    for forms, expected in (
        (
            production_of_invariants(invariants(ordered), np.linalg.det(ordered)),
            production(p, TWO),
        ),
        (
            decay_ww_of_invariants(invariants(momenta("decay")), np.linalg.det(momenta("decay"))),
            decay_ww(momenta("decay"), TWO),
        ),
    ):
        found = np.stack(expand(forms, TWO), axis=1)
        scale = expected[:, :1]
        np.testing.assert_allclose(found / scale, expected / scale, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("process", ["production", "decay"])
def test_weights_on_the_cube_are_the_amplitudes_of_the_momenta(process):
    if process == "production":
        x = np.random.default_rng(2).uniform(0.2, 0.8, (3000, 6))
        forms, squared = production_weights(x, odd=True), production(production_momenta(x), TWO)
    else:
        x = np.random.default_rng(2).random((3000, 7))
        forms, squared = decay_weights(x, "W", odd=True), decay_ww(decay_momenta(x, "W"), TWO)
        np.testing.assert_allclose(decay_momenta(x, "W").sum(axis=1)[:, 0], M_H)
    allowed = forms[:, 0] > 0
    assert allowed.sum() > 500
    found = np.stack(expand(list(forms[allowed].T), TWO), axis=1)
    expected = squared[allowed] / squared[allowed, :1]
    np.testing.assert_allclose(found / found[:, :1], expected, rtol=1e-4, atol=1e-7)


def test_quartics_are_products_of_quadratics():
    rng = np.random.default_rng(3)
    for operators in (("c_HW",), TWO, OPERATORS):
        basis = PolynomialBasis(operators, 2)
        p, d = rng.uniform(0.5, 1.5, (2, 20, len(basis)))
        theta = rng.normal(size=(4, len(operators)))
        expected = (p @ basis.design(theta).T / p[:, :1]) * (d @ basis.design(theta).T / d[:, :1])
        found = quartic(p, d) @ PolynomialBasis(operators, 4).design(theta).T
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        assert product_table(len(operators)).shape == (len(basis), len(basis))


def test_forms_at_a_point_are_their_expansion():
    forms = list(np.random.default_rng(4).normal(size=(6, 10)))
    point = {"c_HW": 0.3, "c_HWtil": -1.2, "c_Hbox": 4.0}
    design = PolynomialBasis(OPERATORS, 2).design(list(point.values()))[0]
    np.testing.assert_allclose(
        design @ np.array(expand(forms, OPERATORS)), form_weights(point, 6) @ np.array(forms)
    )


@pytest.mark.parametrize("operators", [("c_HW",), ("c_HWtil",), TWO, OPERATORS])
def test_default_weights_fix_the_quartic(operators):
    points = default_weights(operators)
    basis = PolynomialBasis(operators, 4)
    assert len(points) == len(basis) == {1: 5, 2: 15, 3: 35}[len(operators)]
    theta = point_matrix(operators, points)
    assert np.linalg.cond(basis.design(theta)) < 1e4
    # Reflections and the standard model are among them.
    assert {tuple(-t) for t in theta if np.count_nonzero(t) == 1} == {
        tuple(t) for t in theta if np.count_nonzero(t) == 1
    }
    assert dict.fromkeys(operators, 0.0) in points
    assert np.abs(theta).max() == 1


def test_operators_and_points_are_checked_and_ordered():
    assert check_operators(["c_HWtil", "c_HW"]) == TWO
    assert list(check_point({"c_Hbox": 1, "c_HW": 2})) == ["c_HW", "c_Hbox"]
    for wrong in ([], ["c_W"], ["c_HW", "c_HW"]):
        with pytest.raises(ParameterError, match="are not operators"):
            check_operators(wrong)
    for point in ({}, {"c_W": 1.0}, {"c_HW": 5.1}, {"c_HW": np.nan}, {"c_HWtil": "much"}):
        with pytest.raises(ParameterError, match="some of c_HW, c_HWtil and c_Hbox, each between"):
            check_point(point)
    with pytest.raises(ParameterError, match="give c_HW between -5 and 5"):
        check_point({"c_HWtil": 0.0}, ("c_HW",))
    with pytest.raises(ParameterError, match="are not operators"):
        production(momenta("production"), ["c_HB"])


def test_the_lattice_is_that_of_partial_sums():
    order = [0.0, 1.0, -1.0, 0.5, -0.5]
    expected = {(order[i], order[j]) for i, j in product(range(5), repeat=2) if i + j <= 4}
    assert {tuple(p.values()) for p in default_weights(TWO)} == expected
