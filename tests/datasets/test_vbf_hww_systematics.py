"""Scaled and weighted events of the lead case, their selection, partners and cross-sections."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from milinfer.datasets import vbf_hww, vbf_hzz
from milinfer.datasets import vbf_hww_systematics as systematics
from milinfer.datasets.generator import LEPTON_PT as GENERATOR_LEPTON_PT
from milinfer.datasets.observable import integrands
from milinfer.datasets.phase_space import JET_PT as GENERATOR_JET_PT
from milinfer.exceptions import ParameterError, SampleError
from milinfer.samples.variations import ProcessVariations

N = 20_000
UP = {"jet_scale": 2.0, "lepton_scale": -1.0, "theory": 1.0}


@pytest.fixture(scope="module")
def generated():
    return vbf_hww.generate(N, seed=3)


def pt(seen):
    return np.hypot(seen[..., 1], seen[..., 2])


def test_scaling_moves_visible_momenta_alone(generated):
    moved = systematics.scaled(generated, UP)
    before, after = systematics.visible(generated), systematics.visible(moved)
    np.testing.assert_allclose(after[:, :2], before[:, :2] * 0.995)
    np.testing.assert_allclose(after[:, 2:], before[:, 2:] * 1.06)
    others = [0, 1, 2, 3, 4, 6, 8]
    np.testing.assert_array_equal(moved.momenta[:, others], generated.momenta[:, others])


def test_features_of_the_missing_momentum_balance_scaled_momenta(generated):
    moved = systematics.scaled(generated.take(slice(0, 200)), UP)
    sample = moved.to_sample("vbf_2l2j")
    total = systematics.visible(moved).sum(axis=1)
    np.testing.assert_allclose(
        sample.column("met_et"), np.hypot(total[:, 1], total[:, 2]), rtol=1e-5, atol=1e-3
    )


def test_the_selection_never_asks_for_events_that_the_generator_cuts_away():
    for sign in (-1, 1):
        factor = systematics.scales(
            {"jet_scale": sign * systematics.LIMIT, "lepton_scale": sign * systematics.LIMIT}
        )
        assert systematics.JET_PT / factor.jets > GENERATOR_JET_PT
        assert systematics.LEPTON_PT / factor.leptons > GENERATOR_LEPTON_PT


def test_selection(generated):
    seen = systematics.visible(generated)
    chosen = systematics.selected(seen)
    assert (pt(seen[chosen, :2]) > 15).all()
    assert (pt(seen[chosen, 2:]) > 30).all()
    # Of events with enough pT one of six is too close to the end of the transverse mass.
    hard = (pt(seen[:, :2]) > 15).all(axis=1) & (pt(seen[:, 2:]) > 30).all(axis=1)
    assert chosen.sum() / hard.sum() == pytest.approx(5 / 6, abs=0.02)
    # Without that, scaling would move some beyond the end, where there is no density.
    factor = systematics.scales({"jet_scale": 2.0})
    pair, jets = seen[:, 0] + seen[:, 1], (seen[:, 2] + seen[:, 3]) / factor.jets
    missing = np.hypot(*(pair + jets)[:, 1:3].T)
    transverse = np.sqrt(pair[:, 0] ** 2 - pair[:, 3] ** 2) + missing
    beyond = transverse**2 - np.sum(jets[:, 1:3] ** 2, axis=1) > 125.0**2
    assert beyond[hard].mean() > 0.01
    assert not beyond[chosen].any()


def test_selected_events_are_possible_at_all_scales(generated):
    """The rapidity of the Higgs boson has a range, so that the integrand depends on z."""
    seen = systematics.visible(generated)
    seen = seen[systematics.selected(seen)][:3000]
    z = np.array([[0.0, 0.9]])
    for jet_scale in (-4.0, 0.0, 4.0):
        for lepton_scale in (-4.0, 0.0, 4.0):
            factor = systematics.scales({"jet_scale": jet_scale, "lepton_scale": lepton_scale})
            before = seen / np.repeat(factor[::-1], 2)[:, None]
            shifts = [np.full((len(seen), 2), 0.5)] * 3
            produced, decayed, _ = integrands(before, np.repeat(z, len(seen), 0), shifts, 2)
            density = produced[0] * decayed[0]
            assert (density > 0).all()
            assert (density[:, 0] != density[:, 1]).all()


def test_generated_events_are_selected_and_migrate():
    nominal = systematics.generate(4000, seed=5)
    up = systematics.generate(4000, nuisances={"jet_scale": 2.0}, seed=6)
    for events in (nominal, up):
        assert len(events) == 4000
        assert systematics.selected(systematics.visible(events)).all()
    softest = pt(systematics.visible(up)[:, 2:]).min(axis=1)
    # Events from below the nominal selection.
    assert (softest / 1.06 < 30).mean() > 0.02
    assert up.cross_section > 1.03 * nominal.cross_section


def test_cross_sections_are_those_of_the_selected_share(generated):
    nuisances = {"jet_scale": -2.0, "theory": 1.5}
    events = systematics.generate(5_000, nuisances=nuisances, seed=8)
    moved = systematics.scaled(generated, nuisances)
    weights = systematics.theory_weights(moved, nuisances)
    weights = weights * systematics.selected(systematics.visible(moved))
    share = events.cross_section / generated.cross_section
    assert share == pytest.approx(weights.mean(), abs=4 * weights.std() / np.sqrt(5_000))
    assert 0 < events.cross_section_error < 0.02 * events.cross_section


@pytest.mark.parametrize("theory", [-4.0, 4.0])
def test_unweighted_events_follow_the_theory_weight(generated, theory):
    nuisances = {"theory": theory, "jet_scale": 1.0}
    unweighted = systematics.visible(systematics.generate(2_500, nuisances=nuisances, seed=9))
    moved = systematics.scaled(generated, nuisances)
    weighted = systematics.visible(moved)
    chosen = systematics.selected(weighted)
    weights = systematics.theory_weights(moved, nuisances)[chosen]
    edges = np.quantile(systematics.theory_exponent(unweighted), np.linspace(0, 1, 11)[1:-1])

    def shares(seen, weights):
        index = np.searchsorted(edges, systematics.theory_exponent(seen))
        square = np.bincount(index, weights**2, 10) / weights.sum() ** 2
        return np.bincount(index, weights, 10) / weights.sum(), square

    found, a = shares(unweighted, np.ones(len(unweighted)))
    expected, b = shares(weighted[chosen], weights)
    assert np.abs((found - expected) / np.sqrt(a + b)).max() < 4
    # Without the weights they do not.
    wrong, c = shares(weighted[chosen], np.ones(len(weights)))
    assert np.abs((found - wrong) / np.sqrt(a + c)).max() > 6


def test_variations_are_the_same_events_with_other_features():
    shifts = [{"jet_scale": 1.0}, {"lepton_scale": -2.0}, {"theory": 1.0}, UP]
    process = systematics.variations(1500, [0.0, 0.5], shifts, seed=4, features="vbf_2l2j")
    assert isinstance(process, ProcessVariations)
    assert [len(s) for s in process.nominal] == [1500, 1500]
    assert len(process.variations) == 8
    for nominal, offset in zip(process.nominal, (0, 4), strict=True):
        jets, leptons, theory, together = process.variations[offset : offset + 4]
        for variation, column, factor in (
            (jets, "q0_pt", 1.03),
            (leptons, "l0_pt", 0.99),
            (together, "q0_pt", 1.06),
        ):
            paired = variation.partners >= 0
            before = nominal.column(column)[variation.partners[paired]]
            ratio = variation.sample.column(column)[paired] / before
            np.testing.assert_allclose(ratio, factor, rtol=1e-5)
            assert 0 < (~paired).mean() < 0.2  # gained by the selection
            assert len(set(variation.partners[paired])) < 1500  # and lost
        assert jets.sample.column("q1_pt").min() > 30
        assert leptons.sample.column("l1_pt").min() > 15
        assert theory.weights_only
        np.testing.assert_allclose(theory.sample.weights, nominal.reweights["theory_up"])
        m_jj = nominal.column("m_qq").astype(float)
        expected = np.exp(0.1 * (np.log(m_jj) - 6))
        np.testing.assert_allclose(theory.sample.weights, expected, rtol=1e-5)
        # The theory weight is that of the unscaled event.
        paired = together.partners >= 0
        np.testing.assert_allclose(
            together.sample.weights[paired],
            theory.sample.weights[together.partners[paired]],
            rtol=1e-9,
        )
        for variation in (jets, leptons, theory, together):
            ratio = process.yield_ratio(variation)
            found = variation.sample.cross_section / nominal.cross_section
            assert found == pytest.approx(ratio.value, rel=1e-9)


def test_weights_at_other_points_are_those_of_the_unscaled_events():
    process = systematics.variations(300, [0.5], [{"jet_scale": 1.0}], seed=4)
    nominal, variation = process.nominal[0], process.variations[0]
    paired = variation.partners >= 0
    for name in nominal.reweight_points:
        np.testing.assert_array_equal(
            variation.sample.reweights[name][paired],
            nominal.reweights[name][variation.partners[paired]],
        )
    assert variation.sample.reweight_points == nominal.reweight_points


def test_the_same_seed_gives_the_same_events():
    one, same, other = (systematics.generate(50, nuisances=UP, seed=s).momenta for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_wrong_input(generated):
    with pytest.raises(ParameterError, match=r"no nuisance parameter 'jetscale'.*jet_scale"):
        systematics.generate(5, nuisances={"jetscale": 1.0}, seed=1)
    with pytest.raises(ParameterError, match=r"theory = 4\.5 is outside ±4"):
        systematics.theory_weights(generated, {"theory": 4.5})
    with pytest.raises(ParameterError, match="jet_scale = nan"):
        systematics.scaled(generated, {"jet_scale": float("nan")})
    with pytest.raises(SampleError, match="cannot generate 0 events"):
        systematics.generate(0, seed=1)
    with pytest.raises(SampleError, match="these are vbf_hzz events"):
        systematics.visible(dataclasses.replace(generated, process=vbf_hzz.PROCESS))
    with pytest.raises(ParameterError, match="not a point"):
        systematics.generate(5, {"c_W": 0.0}, seed=1)
