"""What the feature sets keep of the CP-odd operator: the columns that a reflection reverses."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from milinfer.datasets import vbf_hww
from milinfer.datasets.observable import observable_coefficients

N_EVENTS = 20_000
SETS = ("vbf_2l2j", "vbf_2l2j_invariant")
SIGNED = {
    "vbf_2l2j": lambda name: "phi" in name,
    "vbf_2l2j_invariant": lambda name: name.startswith("sin_"),
}


@pytest.fixture(scope="module")
def events():
    return vbf_hww.generate(N_EVENTS, {"c_HW": 0.0, "c_HWtil": 0.0}, seed=81)


@pytest.fixture(scope="module")
def score(events):
    """Score of c_HWtil of what a detector sees, at the standard model."""
    return observable_coefficients(events, n_rapidity=32).coefficients[:, 1]


def reflected(events):
    return dataclasses.replace(events, momenta=events.momenta * np.array([1.0, -1.0, 1.0, 1.0]))


def columns(events, name):
    sample = events.to_sample(name)
    return {key: sample.column(key).astype(np.float64) for key in sample.feature_names}


def pull(x):
    return x.mean() / (x.std() / np.sqrt(len(x)))


@pytest.mark.parametrize("name", SETS)
def test_a_reflection_reverses_the_signed_columns_alone(events, name):
    some = events.take(slice(0, 500))
    one, other = columns(some, name), columns(reflected(some), name)
    signed = [key for key in one if SIGNED[name](key)]
    for key, value in one.items():
        sign = -1 if key in signed else 1
        np.testing.assert_allclose(other[key], sign * value, rtol=1e-4, atol=2e-3, err_msg=key)
    # The azimuth between the jets, that between the leptons, and those among them.
    assert len(signed) == {"vbf_2l2j": 7, "vbf_2l2j_invariant": 10}[name]


def test_the_exact_score_is_odd(events, score):
    some = events.take(slice(0, 500))
    mirrored = observable_coefficients(reflected(some), n_rapidity=32).coefficients[:, 1]
    np.testing.assert_allclose(mirrored, -score[:500], rtol=1e-5, atol=1e-7)
    assert abs(pull(score)) < 4
    assert score.std() > 0.3


@pytest.mark.parametrize("name", SETS)
def test_even_columns_know_nothing_of_the_odd_operator(events, score, name):
    """In bins of each, alone and in products of two signed ones, the score has mean zero."""
    table = columns(events, name)
    # Masses of massless objects are all the same.
    even = {k: x for k, x in table.items() if not SIGNED[name](k) and np.ptp(x) > 0}
    assert len(even) > 20
    sines = [np.sin(x) if "phi" in key else x for key, x in table.items() if SIGNED[name](key)]
    even |= {f"product {k}": x * y for k, (x, y) in enumerate(pairwise(sines))}
    for key, x in even.items():
        for part in np.array_split(np.argsort(x, kind="stable"), 4):
            assert abs(pull(score[part])) < 4.5, key
        assert abs(pull(score * (x - x.mean()))) < 4.5, key


def explained(table, score):
    """Share of the variance of the score that a linear fit explains on the other half."""
    design = np.column_stack([np.ones(len(score)), table])
    half = len(score) // 2
    weights, *_ = np.linalg.lstsq(design[:half], score[:half], rcond=None)
    residual = score[half:] - design[half:] @ weights
    return 1 - np.mean(residual**2) / np.mean(score[half:] ** 2)


@pytest.mark.parametrize("name", SETS)
def test_signed_columns_know_much_of_the_odd_operator(events, score, name):
    """The signed angle of the jets, times even columns, explains most of the exact score."""
    table = columns(events, name)
    even = np.column_stack([x for key, x in table.items() if not SIGNED[name](key)])
    even = (even - even.mean(axis=0)) / np.maximum(even.std(axis=0), 1e-9)
    if name == "vbf_2l2j":
        angle = table["d_phi_qq"]
        sines = [np.sin(angle), np.sin(2 * angle)]
    else:
        # Signed by the side of the leading jet; the other jet may be on the same side, further out.
        order = np.sign(table["sided_eta_q0"] - table["sided_eta_q1"])
        sine = order * table["sin_dphi_q0_q1"]
        sines = [sine, 2 * sine * table["cos_dphi_q0_q1"]]
    signed = np.column_stack([x[:, None] * np.c_[np.ones(len(even)), even] for x in sines])
    assert explained(even, score) < 0.01
    assert explained(signed, score) > 0.6
    # A linear fit of both gains nothing from the even ones.
    both = explained(np.column_stack([signed, even]), score)
    assert abs(both - explained(signed, score)) < 0.02
