"""Sums over events, and over bags, of segments of a list of events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from milinfer.exceptions import SampleError
from milinfer.likelihood.models import dataset_surface, event_table, segment_llr
from milinfer.samples.bags import bag_offsets
from milinfer.samples.sample import Sample
from models import GRID, Bags, GaussianMean, gaussian_samples

DATA = gaussian_samples([0.0], 40, 1)[0]
OFFSETS = np.array([0, 7, 7, 10, 40, 40])
INDEX = np.random.default_rng(2).integers(40, size=40)


def by_hand(model, table, index):
    """Bag by bag."""
    out = np.zeros(len(GRID.grid))
    for start in range(0, len(index), model.events_in_bag):
        bag = table[index[start : start + model.events_in_bag]].astype(np.float64)
        reduced = bag.sum(axis=0) if model.reduction == "sum" else bag.max(axis=0)
        out += model.bag_llr(reduced[None], np.array([len(bag)]))[0]
    return out


def test_ratios_add_up_over_segments():
    model = GaussianMean()
    table = event_table(model, DATA)
    found = segment_llr(model, table, INDEX, np.ones(40), OFFSETS)
    for k, (a, b) in enumerate(pairwise(OFFSETS)):
        np.testing.assert_allclose(found[k], table[INDEX[a:b]].sum(axis=0), atol=1e-12)
    np.testing.assert_array_equal(found[[1, 4]], 0)


def test_signs_subtract_events():
    model = GaussianMean()
    table, signs = event_table(model, DATA), np.where(INDEX % 3 == 0, -1.0, 1.0)
    found = segment_llr(model, table, INDEX, signs, OFFSETS)
    np.testing.assert_allclose(found[3], signs[10:] @ table[INDEX[10:]], atol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "max"])
@pytest.mark.parametrize("events_in_bag", [1, 3, 50])
def test_bags_are_reduced_and_their_ratios_add_up(reduction, events_in_bag):
    model = Bags(reduction, events_in_bag)
    table = event_table(model, DATA)
    found = segment_llr(model, table, INDEX, np.ones(40), OFFSETS)
    for k, (a, b) in enumerate(pairwise(OFFSETS)):
        np.testing.assert_allclose(found[k], by_hand(model, table, INDEX[a:b]), atol=1e-12)
    np.testing.assert_array_equal(found[[1, 4]], 0)
    counts = np.diff(bag_offsets(7, events_in_bag))
    assert counts.sum() == 7
    assert counts[-1] == {1: 1, 3: 1, 50: 7}[events_in_bag]  # what is left over is a bag


def test_a_dataset_of_bags_is_its_only_segment():
    model = Bags("max")
    values = by_hand(model, event_table(model, DATA), np.arange(40))
    np.testing.assert_allclose(dataset_surface(model, DATA).values, values, atol=1e-12)


def test_bags_refuse_negative_weights():
    weights = np.where(np.arange(40) == 5, -1.0, 1.0)
    with pytest.raises(SampleError, match=r"signal at mu=0: bags scores bags as a whole"):
        event_table(Bags(), replace(DATA, weights=weights))
    assert event_table(GaussianMean(), replace(DATA, weights=weights)).shape == (40, 9)


@pytest.mark.parametrize("weights", [np.full(40, 2.0), np.linspace(0.5, 1.5, 40)])
def test_bags_refuse_weighted_datasets(weights):
    data = replace(DATA, weights=weights)
    assert event_table(Bags(), data).shape == (40, 2)  # toys are drawn by these weights
    with pytest.raises(SampleError, match="bags scores bags as a whole and knows no weights"):
        dataset_surface(Bags(), data)


def test_weights_scale_a_sum_over_events():
    one = dataset_surface(GaussianMean(), DATA).values
    two = dataset_surface(GaussianMean(), replace(DATA, weights=np.full(40, 2.0))).values
    np.testing.assert_allclose(two, 2 * one)


def test_a_model_that_can_do_both_says_which():
    @dataclass(frozen=True)
    class Both(Bags):
        additive: bool = True

        def event_llr(self, sample):
            return np.ones((len(sample), 9))

    assert event_table(Both(), DATA).shape == (40, 9)
    assert event_table(Both(additive=False), DATA).shape == (40, 2)


def test_no_events_are_no_information():
    empty = Sample(np.zeros((0, 1)), ("x",))
    np.testing.assert_array_equal(dataset_surface(GaussianMean(), empty).values, 0)


def test_datasets_larger_than_a_block_are_the_sum_of_their_parts(monkeypatch):
    data = gaussian_samples([0.2], 1001, 7).at(mu=0.2)
    whole = dataset_surface(GaussianMean(), data).values
    monkeypatch.setattr("milinfer.likelihood.models._BLOCK", 100)
    np.testing.assert_allclose(dataset_surface(GaussianMean(), data).values, whole, rtol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "max"])
def test_bags_of_many_datasets_go_through_the_network_in_blocks(monkeypatch, reduction):
    model = Bags(reduction)
    table = event_table(model, DATA)
    ones = np.ones(len(INDEX))
    whole = segment_llr(model, table, INDEX, ones, OFFSETS)
    monkeypatch.setattr("milinfer.likelihood.models._BLOCK", 8)
    found = segment_llr(model, table, INDEX, ones, OFFSETS)
    # Products of matrices round differently with other numbers of rows.
    np.testing.assert_allclose(found, whole, rtol=1e-14)
