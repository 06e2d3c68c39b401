"""The exact matrix element against an independent generator, and its symmetries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from milinfer.datasets.amplitude import decay_ww, production
from milinfer.datasets.sampling import boost

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
