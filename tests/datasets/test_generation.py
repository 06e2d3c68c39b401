"""Generated events: distributions, truth, cuts, seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from milinfer.datasets import vbf_hww, vbf_hzz
from milinfer.datasets.amplitude import M_H, decay_ww, production
from milinfer.datasets.generator import decay_channel, passes_cuts
from milinfer.exceptions import ParameterError, SampleError
from milinfer.features.feature_set import feature_set
from milinfer.io import lhe
from milinfer.samples.sample import Sample

REFERENCE = json.loads(
    (Path(__file__).parent / "data" / "vbf_hww_distributions.json").read_text(encoding="utf-8")
)
N_EVENTS = 20_000
ENERGY_FIRST = [3, 0, 1, 2]


@pytest.fixture(scope="module")
def generated():
    return {c: vbf_hww.generate(N_EVENTS, {"c_HW": c}, seed=11) for c in (-1.0, 0.0, 1.0)}


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


def test_fractions_agree_with_the_reference(features):
    for c, table in features.items():
        expected = REFERENCE["samples"][str(c)]
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
    higgs = p[:, 2:3]
    rest = p[:, 5:9]
    for c in (-0.7, 0.4, 1.0):
        powers = np.array([1.0, c, c * c])
        expected = (produced @ powers / produced[:, 0]) * (
            decay_ww(rest) @ powers / decay_ww(rest)[:, 0]
        )
        np.testing.assert_allclose(events.joint_ratio(c), expected, rtol=1e-5)
    assert higgs.shape == (500, 1, 4)


def test_reweighted_events_match_generated_ones(generated, features):
    """E_0[r(x) f(x)] = σ(1)/σ(0) E_1[f(x)]: distributions and cross-sections in one."""
    w = generated[0.0].joint_ratio(1.0)
    sigma = generated[1.0].cross_section / generated[0.0].cross_section
    sigma_error = sigma * np.hypot(
        generated[1.0].cross_section_error / generated[1.0].cross_section,
        generated[0.0].cross_section_error / generated[0.0].cross_section,
    )
    assert abs(w.mean() - sigma) < 4 * np.hypot(w.std() / np.sqrt(N_EVENTS), sigma_error)
    for name in ("m_ll", "pt_ll", "q0_pt", "m_qq"):
        x, y = features[0.0].columns[name], features[1.0].columns[name]
        x, y = np.asarray(x, float), np.asarray(y, float)
        mean = np.average(x, weights=w)
        error = np.hypot(
            np.sqrt(np.sum((w * (x - mean)) ** 2)) / w.sum(), y.std() / np.sqrt(N_EVENTS)
        )
        assert abs(mean - y.mean()) < 4 * error, name
    cos = [np.cos(features[c].columns["d_phi_qq"].astype(float)) for c in (0.0, 1.0)]
    mean = np.average(cos[0], weights=w)
    error = np.hypot(np.sqrt(np.sum((w * (cos[0] - mean)) ** 2)) / w.sum(), 0.71 / N_EVENTS**0.5)
    assert abs(mean - cos[1].mean()) < 4 * error


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
    point = {"c_HW": 0.4}
    one = vbf_hww.generate(6_000, point, seed=3)
    two = vbf_hww.generate(6_000, point, seed=3, workers=2)
    np.testing.assert_array_equal(one.momenta, two.momenta)
    np.testing.assert_array_equal(one.coefficients, two.coefficients)
    assert one.cross_section == two.cross_section
    other = vbf_hww.generate(100, point, seed=4)
    assert not np.array_equal(other.momenta, one.momenta[:100])


def test_lhe_round_trip_keeps_every_number(tmp_path, generated):
    events, info = generated[1.0].take(slice(0, 300)).to_events(vbf_hww.DEFAULT_WEIGHTS)
    path = tmp_path / "e.lhe.gz"
    lhe.write(path, events, info)
    back = lhe.read(path)
    assert back.info.point == {"c_HW": 1.0}
    assert back.info.process == "vbf_hww"
    assert back.info.cross_section == generated[1.0].cross_section
    assert [w.description for w in back.info.weights][:2] == ["c_HW=-1", "c_HW=-0.5"]
    np.testing.assert_array_equal(np.asarray(back.events.LHEPart.px), np.asarray(events.LHEPart.px))
    own = generated[1.0].joint_ratio(1.0)[:300]
    expected = generated[1.0].cross_section * generated[1.0].joint_ratio(-0.5)[:300] / own
    np.testing.assert_array_equal(np.asarray(back.events.LHEWeight["c_HW_m0p5"]), expected)


def test_background_has_three_flavours_and_no_parameter():
    events = vbf_hzz.generate(2_000, seed=5)
    assert events.point == {}
    assert set(np.abs(events.pdg_ids[:, 7])) == {12, 14, 16}
    np.testing.assert_array_equal(events.coefficients[:, 1:], 0)
    with pytest.raises(ParameterError, match="no parameter"):
        events.to_events([{"c_HW": 1.0}])


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


def test_samples_are_those_of_the_files(tmp_path):
    """Features, cross-section and weights are those of an event file that is read again."""
    generated = vbf_hww.generate(200, {"c_HW": -1.0}, seed=5)
    path = tmp_path / "events.lhe"
    lhe.write(path, *generated.to_events(vbf_hww.DEFAULT_WEIGHTS))
    read = Sample.from_file(path, features="vbf_2l2j")
    made = generated.to_sample("vbf_2l2j", vbf_hww.DEFAULT_WEIGHTS)
    assert made.point == read.point
    assert made.feature_names == read.feature_names
    np.testing.assert_allclose(made.features, read.features, rtol=1e-4, atol=1e-4)
    assert made.cross_section == pytest.approx(read.cross_section)
    for mine, theirs in zip(made.reweights.values(), read.reweights.values(), strict=True):
        np.testing.assert_allclose(mine, theirs / read.weights, rtol=1e-5)
    assert vbf_hzz.generate(5, seed=1).to_sample().point == {}


def test_samples_do_not_depend_on_one_another():
    heard = []
    many = vbf_hww.samples(50, [0.0, 0.5], seed=3, on_sample=heard.append)
    assert heard == [0.0, 0.5]
    alone = vbf_hww.samples(50, [0.0], seed=3)
    np.testing.assert_array_equal(many[0].features, alone[0].features)
    assert list(many[1].reweight_points.values()) == list(vbf_hww.DEFAULT_WEIGHTS)
    own = many[1].reweight_points
    at = next(k for k, p in own.items() if p["c_HW"] == 0.5)
    np.testing.assert_allclose(many[1].reweights[at], 1)
