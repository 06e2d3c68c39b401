"""The exact matrix element against an independent generator, and its symmetries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from milinfer.datasets.amplitude import decay_ww, decay_zz, production
from milinfer.datasets.phase_space import boost

REFERENCE = json.loads(
    (Path(__file__).parent / "data" / "matrix_elements.json").read_text(encoding="utf-8")
)


def ratio(quadratic, c):
    return quadratic @ np.array([1.0, c, c * c]) / quadratic[:, 0]


def points(kind):
    return np.array(REFERENCE[kind]["momenta"])


@pytest.mark.parametrize(
    ("kind", "function", "tolerance"),
    [("production", production, 1e-10), ("decay", decay_ww, 1e-6)],
)
def test_ratios_agree_with_smeftsim(kind, function, tolerance):
    quadratic = function(points(kind))
    for c, expected in REFERENCE[kind]["ratio"].items():
        np.testing.assert_allclose(ratio(quadratic, float(c)), expected, rtol=tolerance)
    np.testing.assert_allclose(ratio(quadratic, 5.0), REFERENCE[kind]["ratio_c5"], rtol=tolerance)


def test_the_chain_is_the_product_of_production_and_decay():
    p = points("chain")
    for c, expected in REFERENCE["chain"]["ratio"].items():
        product = ratio(production(p[:, :4]), float(c)) * ratio(decay_ww(p[:, 4:]), float(c))
        np.testing.assert_allclose(product, expected, rtol=1e-6)


def rotation(seed):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


@pytest.mark.parametrize(("kind", "function"), [("production", production), ("decay", decay_ww)])
def test_rotations_and_boosts_change_no_squared_amplitude(kind, function):
    p = points(kind)[:, :4]
    expected = function(p)
    rotated = np.concatenate([p[..., :1], p[..., 1:] @ rotation(3).T], axis=-1)
    np.testing.assert_allclose(function(rotated), expected, rtol=1e-7, atol=1e-12 * expected.max())
    frame = np.tile([5.0, 1.0, -2.0, 3.0], (len(p), 1))
    np.testing.assert_allclose(
        function(boost(p, frame)), expected, rtol=1e-6, atol=1e-11 * expected.max()
    )


@pytest.mark.parametrize(("kind", "function"), [("production", production), ("decay", decay_ww)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rotations_and_boosts_change_no_ratio(kind, function, seed):
    p = points(kind)[:, :4]
    rotated = np.concatenate([p[..., :1], p[..., 1:] @ rotation(seed).T], axis=-1)
    velocity = 3 * np.random.default_rng(seed).normal(size=3)
    frame = np.tile([np.sqrt(1 + velocity @ velocity), *velocity], (len(p), 1))
    for c in (-1.0, 0.5, 5.0):
        expected = ratio(function(p), c)
        np.testing.assert_allclose(ratio(function(rotated), c), expected, rtol=1e-9)
        np.testing.assert_allclose(ratio(function(boost(p, frame)), c), expected, rtol=1e-9)


def test_partons_along_the_axis_are_the_limit_of_partons_next_to_it():
    """The spinor of a momentum on the z axis has no azimuth; nothing depends on the one chosen."""
    p = points("production")
    assert not p[:, 0, 1:3].any()
    tilted = np.concatenate([p[..., :1], p[..., 1:] @ small_rotation(1e-7).T], axis=-1)
    np.testing.assert_allclose(ratio(production(tilted), 1.0), ratio(production(p), 1.0), rtol=1e-9)


def small_rotation(angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def test_squared_amplitudes_are_never_negative():
    for c in np.linspace(-5, 5, 41):
        powers = np.array([1.0, c, c * c])
        for kind, function in (("production", production), ("decay", decay_ww)):
            assert (function(points(kind)) @ powers >= 0).all()


def test_zz_is_symmetric_under_rotations_and_has_no_parameter():
    p = points("decay")
    expected = decay_zz(p)
    assert expected.shape == (len(p),)
    assert (expected > 0).all()
    rotated = np.concatenate([p[..., :1], p[..., 1:] @ rotation(7).T], axis=-1)
    np.testing.assert_allclose(decay_zz(rotated), expected, rtol=1e-9)


def test_decays_are_even_under_cp():
    """CP: e+ νe e− ν̄e → e− ν̄e e+ νe with all momenta mirrored leaves |M|² (a CP-even vertex)."""
    p = points("decay")
    mirrored = p[:, [2, 3, 0, 1]] * np.array([1.0, -1.0, -1.0, -1.0])
    np.testing.assert_allclose(decay_ww(mirrored), decay_ww(p), rtol=1e-9, atol=0)
