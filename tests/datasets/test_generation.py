"""Generated events: distributions, truth, cuts, seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from milinfer import lhe
from milinfer.datasets import vbf_hww, vbf_hzz
from milinfer.datasets.amplitude import M_H, M_Z, WIDTH_Z, decay_ww, production
from milinfer.datasets.generator import passes_cuts
from milinfer.datasets.sampling import decay_channel
from milinfer.exceptions import ParameterError, SampleError
from milinfer.features import feature_set

REFERENCE = json.loads(
    (Path(__file__).parent / "data" / "vbf_hww_distributions.json").read_text(encoding="utf-8")
)
N_EVENTS = 30_000
ENERGY_FIRST = [3, 0, 1, 2]


@pytest.fixture(scope="module")
def generated():
    return {c: vbf_hww.generate(N_EVENTS, {"c_HW": c}, seed=11) for c in (-1.0, 0.0, 0.5, 1.0)}


@pytest.fixture(scope="module")
def background():
    return vbf_hzz.generate(3_000, seed=5)


@pytest.fixture(scope="module")
def features(generated):
    return {c: feature_set("vbf_2l2j").from_lhe(g.to_events()[0]) for c, g in generated.items()}


@pytest.mark.parametrize("c", [-1.0, 0.0, 1.0])
def test_deciles_agree_with_the_reference(features, c):
    levels = np.arange(0.1, 0.95, 0.1)
    error = np.sqrt(levels * (1 - levels) * (1 / N_EVENTS + 1 / REFERENCE["n_events"]))
    columns = features[c].columns
    for name, deciles in REFERENCE["samples"][str(c)].items():
        if name.startswith("fraction"):
            continue
        below = np.searchsorted(np.sort(columns[name]), deciles) / N_EVENTS
        # 24 features × 9 deciles × 3 samples: 4.5 σ once in 230 such tests by chance.
        assert np.abs((below - levels) / error).max() < 4.5, name


# Features whose correlations are small, for a common χ².
APART = ("l0_pt", "q1_pt", "l0_phi", "q0_phi", "l0_eta", "q0_eta", "d_phi_ll", "d_phi_qq")


@pytest.mark.parametrize("c", [-1.0, 0.0, 1.0])
def test_medians_agree_together(features, c):
    error = np.sqrt(0.25 * (1 / N_EVENTS + 1 / REFERENCE["n_events"]))
    medians = {name: REFERENCE["samples"][str(c)][name][4] for name in APART}
    below = np.array([np.mean(features[c].columns[k] < v) for k, v in medians.items()])
    assert np.sum(((below - 0.5) / error) ** 2) < chi2.isf(1e-3, len(APART))


def test_fractions_agree_with_the_reference(features):
    for c in (-1.0, 0.0, 1.0):
        table, expected = features[c], REFERENCE["samples"][str(c)]
        error = np.sqrt(0.25 / N_EVENTS + 0.25 / REFERENCE["n_events"])
        up, positron = table.columns["q0_id_uq"].mean(), table.columns["l0_id_e+"].mean()
        assert abs(up - expected["fraction q0 is up"]) < 4 * error
        assert abs(positron - expected["fraction l0 is positron"]) < 4 * error


def test_cross_section_coefficients_agree_with_the_reference(generated):
    ratio = generated[0.0].cross_section_ratio()
    error = np.hypot(np.sqrt(np.diag(ratio.covariance)), REFERENCE["sigma_over_sigma0_errors"])
    expected = np.array(REFERENCE["sigma_over_sigma0_coefficients"])
    pulls = (ratio.coefficients - expected)[1:] / error[1:]
    assert np.abs(pulls).max() < 4


def test_coefficients_are_the_amplitudes_of_the_events(generated):
    events = generated[1.0].take(slice(0, 500))
    p = events.momenta[..., ENERGY_FIRST]
    # The u is the first beam or the second; the outgoing d belongs to it.
    u_first = events.pdg_ids[:, 0] == 2
    u, d = (np.where(m[:, None], p[:, 0], p[:, 1]) for m in (u_first, ~u_first))
    produced = production(np.stack([u, d, p[:, 9], p[:, 10]], axis=1))
    rest = p[:, 5:9]
    for c in (-0.7, 0.4, 1.0):
        powers = np.array([1.0, c, c * c])
        expected = (produced @ powers / produced[:, 0]) * (
            decay_ww(rest) @ powers / decay_ww(rest)[:, 0]
        )
        np.testing.assert_allclose(events.joint_ratio(c), expected, rtol=1e-5)


@pytest.mark.parametrize("c", [0.5, 1.0])
def test_reweighted_events_match_generated_ones(generated, features, c):
    """E_0[r(x) f(x)] = σ(c)/σ(0) E_c[f(x)]: distributions and cross-sections in one."""
    w = generated[0.0].joint_ratio(c)
    sigma = generated[c].cross_section / generated[0.0].cross_section
    relative = [g.cross_section_error / g.cross_section for g in (generated[c], generated[0.0])]
    assert abs(w.mean() - sigma) < 4 * np.hypot(
        w.std() / np.sqrt(N_EVENTS), sigma * np.hypot(*relative)
    )
    for name in ("l0_pt", "m_ll", "pt_ll", "q0_pt", "m_qq", "met_et", "d_phi_ll", "d_phi_qq"):
        x, y = (np.asarray(features[k].columns[name], dtype=float) for k in (0.0, c))
        if name.startswith("d_phi"):
            x, y = np.cos(x), np.cos(y)
        mean = np.average(x, weights=w)
        error = np.hypot(
            np.sqrt(np.sum((w * (x - mean)) ** 2)) / w.sum(), y.std() / np.sqrt(N_EVENTS)
        )
        assert abs(mean - y.mean()) < 4 * error, name


def test_cross_section_ratios_lead_back_to_the_standard_model(generated):
    for c in (-1.0, 0.5, 1.0):
        ratio = generated[c].cross_section_ratio()
        powers = c ** np.arange(5)
        assert ratio.coefficients @ powers == pytest.approx(1, rel=1e-12)
        assert powers @ ratio.covariance @ powers == pytest.approx(0, abs=1e-12)
        expected = generated[0.0].cross_section / generated[c].cross_section
        relative = [g.cross_section_error / g.cross_section for g in (generated[c], generated[0.0])]
        error = np.hypot(np.sqrt(ratio.covariance[0, 0]), expected * np.hypot(*relative))
        assert abs(ratio.coefficients[0] - expected) < 4 * error


def test_momenta_are_conserved_and_on_shell(generated):
    p = generated[0.0].momenta
    np.testing.assert_allclose(p[:, :2].sum(1), p[:, [2, 9, 10]].sum(1), atol=1e-7)
    np.testing.assert_allclose(p[:, 2], p[:, 5:9].sum(1), atol=1e-7)
    np.testing.assert_allclose(p[:, 3], p[:, 5:7].sum(1), atol=1e-7)
    square = p[..., 3] ** 2 - np.sum(p[..., :3] ** 2, axis=-1)
    np.testing.assert_allclose(square[:, 2], M_H**2, rtol=1e-8)
    assert (
        np.abs(square[:, [0, 1, 5, 6, 7, 8, 9, 10]] / p[:, [0, 1, 5, 6, 7, 8, 9, 10], 3] ** 2).max()
        < 1e-9
    )


def test_cuts_hold(generated):
    p = generated[-1.0].momenta[:, [5, 7, 9, 10]]
    assert passes_cuts(p).all()
    pt = np.hypot(p[..., 0], p[..., 1])
    eta = np.arcsinh(p[..., 2] / pt)
    assert pt[:, :2].min() > 10
    assert pt[:, 2:].min() > 20
    assert np.abs(eta[:, :2]).max() < 2.5
    assert np.abs(eta[:, 2:]).max() < 5


def test_the_unweighting_repeats_little(generated):
    assert all(0 < g.overshoot < 0.01 for g in generated.values())


def test_the_same_seed_gives_the_same_events_whatever_the_number_of_workers():
    one = vbf_hww.generate(6_000, seed=3)
    two = vbf_hww.generate(6_000, seed=3, workers=2)
    np.testing.assert_array_equal(one.momenta, two.momenta)
    np.testing.assert_array_equal(one.coefficients, two.coefficients)
    assert one.cross_section == two.cross_section
    other = vbf_hww.generate(100, seed=4)
    assert not np.array_equal(other.momenta, one.momenta[:100])


def test_weights_are_the_joint_ratio_times_the_weight_of_the_event(generated):
    own = generated[1.0]
    events, info = own.to_events({"up": {"c_HW": 2.0}, "same": {"c_HW": 1.0}})
    weight = np.asarray(events.genWeight)
    np.testing.assert_array_equal(weight, own.cross_section)
    expected = weight * own.joint_ratio(2.0) / own.joint_ratio(1.0)
    np.testing.assert_allclose(np.asarray(events.LHEWeight.up), expected, rtol=1e-12)
    np.testing.assert_array_equal(np.asarray(events.LHEWeight.same), weight)
    assert [(w.id, w.description) for w in info.weights] == [("up", "c_HW=2"), ("same", "c_HW=1")]
    assert (info.cross_section, info.cross_section_error) == (
        own.cross_section,
        own.cross_section_error,
    )


@pytest.mark.parametrize("kind", ["signal", "background"])
def test_lhe_round_trip_keeps_every_number(tmp_path, generated, background, kind):
    source = (generated[1.0] if kind == "signal" else background).take(slice(0, 300))
    events, info = source.to_events(vbf_hww.DEFAULT_WEIGHTS if kind == "signal" else ())
    path = tmp_path / "e.lhe.gz"
    lhe.write(path, events, info)
    back = lhe.read(path)
    assert back.info == info
    assert back.info.point == ({"c_HW": 1.0} if kind == "signal" else None)
    assert back.info.process == source.process
    assert back.info.cross_section == source.cross_section
    assert back.info.cross_section_error == source.cross_section_error
    assert back.events.fields == events.fields
    for name in events.fields:
        for field in events[name].fields or [None]:
            given, found = (x[name] if field is None else x[name, field] for x in (events, back[0]))
            np.testing.assert_array_equal(np.asarray(found), np.asarray(given), err_msg=str(field))


def test_colour_and_charge_flow_through_each_event(generated, background):
    charge = {1: -1 / 3, 2: 2 / 3, 11: -1, 12: 0, 14: 0, 16: 0, 23: 0, 24: 1, 25: 0}
    for source in (generated[0.0], background):
        part = source.take(slice(0, 500)).to_events()[0].LHEPart
        ids, color = np.asarray(part.pdgId), np.asarray(part.color1)
        q = np.vectorize(lambda i: np.sign(i) * charge[abs(i)])(ids)
        np.testing.assert_allclose(q[:, :2].sum(1), q[:, [2, 9, 10]].sum(1), atol=1e-12)
        np.testing.assert_allclose(q[:, 3], q[:, 5:7].sum(1), atol=1e-12)
        np.testing.assert_allclose(q[:, 4], q[:, 7:9].sum(1), atol=1e-12)
        np.testing.assert_array_equal(np.sort(color[:, :2]), np.sort(color[:, 9:]))
        # The W takes the u to the d on the same colour line.
        u = np.where(ids[:, 0] == 2, color[:, 0], color[:, 1])
        np.testing.assert_array_equal(color[:, 9], u)


def test_background_has_three_flavours_and_no_parameter(background):
    events = background
    assert events.point == {}
    flavours, counts = np.unique(events.pdg_ids[:, 7], return_counts=True)
    assert flavours.tolist() == [12, 14, 16]
    assert np.abs(counts - len(events) / 3).max() < 4 * np.sqrt(len(events) * 2 / 9)
    np.testing.assert_array_equal(events.pdg_ids[:, 8], -events.pdg_ids[:, 7])
    np.testing.assert_array_equal(events.pdg_ids[:, 5:7], np.tile([-11, 11], (len(events), 1)))
    np.testing.assert_array_equal(events.coefficients[:, 1:], 0)
    with pytest.raises(ParameterError, match="no parameter"):
        events.to_events([{"c_HW": 1.0}])


def test_background_has_one_z_on_its_shell_and_the_cuts(background):
    p = background.momenta
    mass = np.sqrt(p[:, 3:5, 3] ** 2 - np.sum(p[:, 3:5, :3] ** 2, axis=-1))
    heavy, light = mass.max(axis=1), mass.min(axis=1)
    assert np.median(np.abs(heavy - M_Z)) < WIDTH_Z
    assert np.mean(np.abs(heavy - M_Z) < 10) > 0.9
    assert (heavy + light < M_H).all()
    # Either pair is the heavier one, apart from what the cuts on the charged one take.
    assert 0.4 < np.mean(mass[:, 0] > mass[:, 1]) < 0.9
    assert passes_cuts(p[:, [5, 6, 9, 10]]).all()
    np.testing.assert_allclose(p[:, 2], p[:, 5:9].sum(1), atol=1e-7)


def test_partial_widths_are_those_of_the_standard_model():
    """LHC Higgs WG: BR(WW) = 21.4 %, BR(ZZ) = 2.62 % of 4.07 MeV; tree level is good to 5 %."""
    width_ww = 0.214 * 4.07e-3 * 0.1086**2
    width_zz = 0.0262 * 4.07e-3 * 2 * 0.0336 * 0.0667  # one neutrino flavour
    assert decay_channel("W").integral(0.0)[0] == pytest.approx(width_ww, rel=0.05)
    assert decay_channel("Z").integral(0.0)[0] == pytest.approx(width_zz, rel=0.05)


def test_errors_say_what_to_do():
    with pytest.raises(ParameterError, match="between -5 and 5"):
        vbf_hww.generate(10, {"c_HW": 7.0}, seed=1)
    with pytest.raises(ParameterError, match="c_HW"):
        vbf_hww.generate(10, {"c_W": 1.0}, seed=1)
    with pytest.raises(ParameterError, match="no parameter"):
        vbf_hzz.generate(10, {"c_HW": 1.0}, seed=1)
    with pytest.raises(SampleError, match="at least one"):
        vbf_hww.generate(0, seed=1)
