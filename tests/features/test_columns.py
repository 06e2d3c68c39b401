"""Columns that do not change under rotations of the event."""

from __future__ import annotations

import pickle

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.features.feature_set import feature_set

INVARIANT, STANDARD = feature_set("vbf_2l2j_invariant"), feature_set("vbf_2l2j")
HALF_TURN = np.diag([1.0, -1.0, -1.0])
# float32 columns; η and masses of massless objects cancel, in double precision
TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}


def make(n, seed):
    """Momenta (n, 4, 3) of two leptons and two jets, masses, ids and missing momentum (n, 2)."""
    rng = np.random.default_rng(seed)
    p = rng.normal(size=(n, 4, 3)) * [60, 60, 150]
    mass = rng.choice([0.0, 0.1, 4.7], (n, 4))
    ids = np.concatenate(
        [rng.choice([11, -11, 13, -13], (n, 2)), rng.choice([1, -2, 3, -4, 5, 21], (n, 2))], axis=1
    )
    return p, mass, ids, rng.normal(size=(n, 2)) * 50


def table(feature_set_, p, mass, ids, met):
    def objects(where):
        fields = {axis: p[:, where, k] for k, axis in enumerate(("px", "py", "pz"))}
        return ak.zip(
            {**fields, "mass": mass[:, where], "pdgId": ids[:, where]}, with_name="Momentum4D"
        )

    missing = ak.zip({"px": met[:, 0], "py": met[:, 1]}, with_name="Momentum2D")
    return feature_set_(objects(slice(0, 2)), objects(slice(2, 4)), missing)


def turned(matrix, p, mass, ids, met):
    return p @ matrix.T, mass, ids, met @ matrix[:2, :2].T


def require_same(one, other):
    for name in one.names:
        np.testing.assert_allclose(
            other.columns[name], one.columns[name], **TOLERANCE, err_msg=name
        )


def rotation(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@settings(max_examples=20, deadline=None)
@given(angle=st.floats(-7, 7), seed=st.integers(0, 2**32 - 1))
def test_rotations_about_the_beam_change_nothing(angle, seed):
    event = make(5, seed)
    require_same(table(INVARIANT, *event), table(INVARIANT, *turned(rotation(angle), *event)))


@settings(max_examples=20, deadline=None)
@given(angle=st.floats(-7, 7), seed=st.integers(0, 2**32 - 1))
def test_half_turns_about_a_transverse_axis_change_nothing(angle, seed):
    event = make(5, seed)
    matrix = rotation(angle) @ HALF_TURN @ rotation(-angle)
    require_same(table(INVARIANT, *event), table(INVARIANT, *turned(matrix, *event)))


@pytest.mark.parametrize("matrix", [np.diag([1.0, 1.0, -1.0]), np.diag([1.0, -1.0, 1.0])])
def test_reflections_change_the_sines_alone(matrix):
    # CP-odd quantities must stay visible.
    event = make(50, 1)
    one, other = table(INVARIANT, *event), table(INVARIANT, *turned(matrix, *event))
    for name in INVARIANT.names:
        sign = -1 if name.startswith("sin_") else 1
        np.testing.assert_allclose(
            other.columns[name], sign * one.columns[name], **TOLERANCE, err_msg=name
        )


def test_the_standard_columns_do_change():
    event = make(5, 1)
    before = table(STANDARD, *event)
    after = table(STANDARD, *turned(HALF_TURN, *event))
    assert not np.allclose(before.columns["q0_eta"], after.columns["q0_eta"])


def test_values_follow_from_the_standard_columns():
    event = make(200, 2)
    found = {k: v.astype(float) for k, v in table(INVARIANT, *event).columns.items()}
    c = {k: v.astype(float) for k, v in table(STANDARD, *event).columns.items()}
    keys, side = ("l0", "l1", "q0", "q1"), np.sign(c["q0_eta"])
    phi = {k: c[f"{k}_phi"] for k in (*keys, "met")}
    expected = {"log_pt_met": np.log(c["met_et"] + 1)}
    for k in keys:
        expected[f"log_pt_{k}"] = np.log(c[f"{k}_pt"] + 1)
        expected[f"sided_eta_{k}"] = side * c[f"{k}_eta"]
        mt2 = 2 * c[f"{k}_pt"] * c["met_et"] * (1 - np.cos(phi[k] - phi["met"]))
        expected[f"log_mt_{k}"] = np.log(np.sqrt(mt2) + 1)
    for name in ("ll", "qq"):
        expected[f"log_pt_{name}"] = np.log(c[f"pt_{name}"] + 1)
        expected[f"log_m_{name[0]}0_{name[0]}1"] = np.log(c[f"m_{name}"] + 1)
    for a, b in [("l0", "q1"), ("q0", "q1"), ("l1", "met")]:
        expected[f"cos_dphi_{a}_{b}"] = np.cos(phi[a] - phi[b])
        expected[f"sin_dphi_{a}_{b}"] = np.sin(phi[a] - phi[b]) * side
    x, y = (
        sum(c[f"{k}_pt"] * f(phi[k]) for k in ("l0", "l1")) + c["met_et"] * f(phi["met"])
        for f in (np.cos, np.sin)
    )
    et = np.hypot(c["pt_ll"], c["m_ll"]) + c["met_et"]
    expected["log_mt_higgs"] = np.log(np.sqrt(np.maximum(et**2 - x**2 - y**2, 0)) + 1)
    expected |= {k: v for k, v in c.items() if "_id_" in k}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


def test_leading_jets_are_on_the_positive_side():
    found = table(INVARIANT, *make(200, 3))
    assert found.columns["sided_eta_q0"].min() > 0
    assert found.columns["sided_eta_q1"].min() < 0


def test_no_missing_momentum_is_finite():
    p, mass, ids, met = make(50, 4)
    found = table(INVARIANT, p, mass, ids, 0 * met)
    assert np.isfinite(found.array).all()
    for name in ("log_pt_met", "log_mt_l0", "log_mt_q1"):
        np.testing.assert_array_equal(found.columns[name], 0)


def test_parallel_objects_are_finite():
    p, mass, ids, met = make(50, 5)
    p[:, 1], p[:, 3] = 0.5 * p[:, 0], 0.5 * p[:, 2]
    met[:] = p[:, 0, :2]
    found = table(INVARIANT, p, 0 * mass, ids, met)
    assert np.isfinite(found.array).all()
    for name in ("log_m_l0_l1", "log_m_q0_q1", "log_mt_l0"):
        np.testing.assert_allclose(found.columns[name], 0, atol=1e-3)


def test_names_are_50_and_columns_can_be_pickled():
    assert len(INVARIANT) == len(set(INVARIANT.names)) == 50
    event = make(5, 6)
    copy = pickle.loads(pickle.dumps(INVARIANT))
    np.testing.assert_array_equal(table(copy, *event).array, table(INVARIANT, *event).array)
