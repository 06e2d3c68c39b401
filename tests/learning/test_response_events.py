"""Base points of variations, and events with their weights at all of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from milinfer.exceptions import SampleError
from milinfer.learning.response_events import ResponseEvents, base_points, term_values
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations

RNG = np.random.default_rng(1)
NOMINAL = Sample(
    RNG.normal(size=(6, 2)), ("x", "y"), RNG.uniform(0.5, 2, 6), process="top", cross_section=2.0
)
UP = Variation.of_features(NOMINAL, {"jet_scale": 1.0}, NOMINAL.features + 0.1)
DOWN = Variation.of_features(NOMINAL, {"jet_scale": -1.0}, NOMINAL.features - 0.1)
THEORY = Variation.of_weights(NOMINAL, {"theory": 1.0}, NOMINAL.weights * RNG.uniform(1, 2, 6))


def stacked(process: ProcessVariations, terms: ResponseTerms) -> ResponseEvents:
    return ResponseEvents.of(process, base_points(process, terms), terms.nuisances)


def test_weights_sum_to_the_yields_at_every_base_point():
    process = ProcessVariations(NOMINAL, (UP, DOWN, THEORY))
    events = stacked(process, ResponseTerms.of(process.nuisances, degree=1))
    nominal, varied = events.dense(slice(None))
    assert nominal.shape == varied.shape == (18, 3)
    ratios = [process.yield_ratio(v).value for v in process.variations]
    assert varied.sum(axis=0) / nominal.sum(axis=0) == pytest.approx(ratios)
    assert nominal.sum(axis=0) == pytest.approx(nominal.sum() / 3)
    assert nominal.sum() + varied.sum() == pytest.approx(len(events))
    # Weight variations are soft labels: the ratio of both weights is that of the events.
    ratio = THEORY.sample.weights / NOMINAL.weights
    assert varied[:6, 2] / nominal[:6, 2] == pytest.approx(ratio)
    # An event of a feature variation counts at its own base point alone, and knows its partner.
    assert np.array_equal(np.flatnonzero(varied[6:12].any(axis=0)), [0])
    assert not nominal[6:].any()
    assert np.array_equal(events.groups, np.tile(np.arange(6), 3))


def test_events_of_another_simulation_count_by_their_cross_section():
    other = Sample(RNG.normal(size=(4, 2)), ("x", "y"), process="top", cross_section=3.0)
    process = ProcessVariations(NOMINAL, (Variation({"jer": 1.0}, other),))
    events = stacked(process, ResponseTerms.of(["jer"], degree=1))
    nominal, varied = events.dense(slice(None))
    assert varied.sum() / nominal.sum() == pytest.approx(1.5)
    assert len(set(events.groups.tolist())) == 10
    assert not events.paired.any()


def test_a_variation_of_one_sample_does_not_count_the_nominal_events_of_the_others():
    samples = [
        dataclasses.replace(NOMINAL, point={"c": c}, weights=NOMINAL.weights * (1 + c))
        for c in (0.0, 1.0)
    ]
    variations = [
        Variation.of_features(samples[k], {"jes": s}, NOMINAL.features + s)
        for k, s in ((0, 1.0), (1, 1.0), (1, -1.0))
    ]
    process = ProcessVariations(SampleSet(tuple(samples)), tuple(variations))
    nominal, _ = stacked(process, ResponseTerms.of(["jes"])).dense(slice(0, 12))
    assert nominal[:6, 0].sum() == pytest.approx(nominal[6:, 0].sum())
    assert not nominal[:6, 1].any()
    assert nominal[6:, 1].sum() == pytest.approx(nominal[:, 0].sum())


def with_weights(slope: float = 0.5) -> ProcessVariations:
    """EFT weights at two points, and a theory weight that depends on the point."""
    x = NOMINAL.column("x")
    at = {"one": NOMINAL.weights * (1 + slope * x**2)}
    nominal = dataclasses.replace(
        NOMINAL, point={"c": 0.0}, reweights=at, reweight_points={"one": {"c": 1.0}}
    )
    return ProcessVariations(
        nominal, (Variation.of_weights(nominal, {"theory": 1.0}, NOMINAL.weights * np.exp(x)),)
    )


def test_weights_at_other_points_give_base_points_there():
    process = with_weights()
    terms = ResponseTerms.of(["theory"], degree=1, parameters={"c": (0.0, 1.0)})
    base = base_points(process, terms)
    # Columns are Δ and its slope, in u = 2c − 1.
    assert base.design == pytest.approx(np.array([[1.0, 1.0], [-1.0, 1.0]]))
    nominal, varied = stacked(process, terms).dense(slice(None))
    at_one = process.nominal[0].reweights["one"]
    assert nominal[:, 1] / nominal[:, 1].sum() == pytest.approx(at_one / at_one.sum())
    ratio = np.exp(NOMINAL.column("x"))
    assert varied / nominal == pytest.approx(np.stack([ratio, ratio], axis=1))


def test_varied_events_need_the_weights_of_the_nominal_ones():
    process = with_weights()
    bare = dataclasses.replace(process.variations[0].sample, reweights={}, reweight_points={})
    variation = dataclasses.replace(process.variations[0], sample=bare)
    broken = ProcessVariations(process.nominal, (variation,))
    terms = ResponseTerms.of(["theory"], degree=1, parameters={"c": (0.0, 1.0)})
    with pytest.raises(SampleError, match="theory=1 of top at c=0 has no weights at c=1"):
        stacked(broken, terms)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"jet_scale has variations at 1 but also needs jet_scale at -1, or degree=\{'jet_sc"),
        ({"interpolation": "code4"}, "needs jet_scale at -1, or interpolation='polynomial'"),
        ({"degree": 3}, r"needs jet_scale at -1 and 2, or degree=\{'jet_scale': 1\}"),
    ],
)
def test_a_missing_side_is_named(options, message):
    process = ProcessVariations(NOMINAL, (UP,))
    with pytest.raises(SampleError, match=message):
        base_points(process, ResponseTerms.of(["jet_scale"], **options))


def test_cross_terms_need_variations_of_both():
    process = ProcessVariations(NOMINAL, (UP, DOWN, THEORY))
    terms = ResponseTerms.of(
        process.nuisances, degree={"theory": 1, "jet_scale": 2}, cross_terms=True
    )
    with pytest.raises(SampleError, match=r"terms jet_scale\*theory that the variations do not"):
        base_points(process, terms)


def test_code4_is_linear_beyond_one_and_not_known_between():
    terms = ResponseTerms.of(["a", "b"], interpolation="code4")
    assert term_values(terms, np.array([2.0, -1.0])).tolist() == [2.0, 0.0, 0.0, 1.0]
    with pytest.raises(SampleError, match=r"a variation is at b=0.5, but interpolation='code4'"):
        term_values(terms, np.array([0.0, 0.5]))


def test_parameters_need_more_than_one_point():
    nominal = dataclasses.replace(NOMINAL, point={"c": 0.0})
    other = dataclasses.replace(NOMINAL, point={"c": 1.0})
    up = Variation.of_features(nominal, {"jes": 1.0}, NOMINAL.features + 1)
    process = ProcessVariations(SampleSet((nominal, other)), (up,))
    terms = ResponseTerms.of(["jes"], degree=1, parameters={"c": (0.0, 1.0)})
    with pytest.raises(SampleError, match="depends on c, but its variations are at"):
        base_points(process, terms)


def test_blocks_keep_events_and_their_copies_together(monkeypatch):
    monkeypatch.setattr("milinfer.learning.response_events._ROWS", 4)
    process = ProcessVariations(NOMINAL, (UP, DOWN))
    events = stacked(process, ResponseTerms.of(["jet_scale"]))
    blocks = list(events.in_groups())
    assert len(blocks) == 6
    assert np.array_equal(np.sort(np.concatenate(blocks)), np.arange(18))
    assert all(len(set(events.groups[b].tolist())) == 1 for b in blocks)
