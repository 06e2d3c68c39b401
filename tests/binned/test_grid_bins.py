"""Bins of two observables together."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from milinfer.binned import grid_bins
from milinfer.binned.grid_bins import events_at, fisher_grid
from milinfer.binned.template_histograms import circular_axes
from milinfer.binned.templates import Templates
from milinfer.binned.weighted_templates import event_yields
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import TemplateError
from milinfer.samples.sample_set import SampleSet

AT = {"c1": 0.0, "c2": 0.0}


@pytest.fixture(scope="module")
def samples():
    return quadratic.samples(20_000, [AT, {"c1": 0.5, "c2": -0.5}], seed=1)


@pytest.fixture(scope="module")
def yields(samples):
    return event_yields(samples, 2)


def information(yields, columns, edges, at):
    """Information of the shape of a grid for one event, from the events themselves."""
    values = [np.concatenate([s.column(c) for s in yields.samples]) for c in columns]
    inside = [
        np.clip(v.astype(float), e[0], np.nextafter(e[-1], -np.inf))
        for v, e in zip(values, edges, strict=True)
    ]
    theta = yields.basis.array(at)
    polynomials = np.concatenate(yields.polynomials)
    gradient = yields.basis.design_gradient(theta)
    sigma, *slopes = (
        np.histogram2d(*inside, bins=edges, weights=polynomials @ row)[0].ravel()
        for row in (yields.basis.design(theta)[0], *gradient)
    )
    slope = np.array(slopes)
    total = sigma.sum()
    slope = slope / total - np.outer(slope.sum(axis=1), sigma) / total**2
    return slope @ np.diag(total / sigma) @ slope.T


def quantiles(samples, column, n):
    values = np.concatenate([s.column(column).astype(float) for s in samples])
    return np.quantile(values, np.linspace(0, 1, n + 1))


@pytest.mark.parametrize("theta", [AT, {"c1": 0.2, "c2": -0.1}])
def test_keeps_more_than_quantiles(samples, yields, theta):
    columns = ("x1", "x3")
    edges = fisher_grid(samples, columns, (6, 4), theta, weight_degree=2, yields=yields)
    assert [len(e) for e in edges] == [7, 5]
    start = [quantiles(samples, c, n) for c, n in zip(columns, (6, 4), strict=True)]
    best, even = (information(yields, columns, e, theta) for e in (edges, start))
    # The trace relative to that of the quantiles is at least the number of parameters.
    assert np.trace(np.linalg.solve(even, best)) > 2.01


def test_no_single_axis_can_be_improved(samples, yields, monkeypatch):
    """Against every other choice of the edges of one axis, the other being fixed."""
    monkeypatch.setattr(grid_bins, "_FINE", 12)
    columns, n_bins = ("x1", "x3"), (3, 4)
    options = {"min_effective": 0.0, "weight_degree": 2, "yields": yields}
    edges = fisher_grid(samples, columns, n_bins, AT, **options)
    unit = [quantiles(samples, c, n) for c, n in zip(columns, n_bins, strict=True)]
    scale = information(yields, columns, unit, AT)

    def score(edges):
        return np.trace(np.linalg.solve(scale, information(yields, columns, edges, AT)))

    own = score(edges)
    for axis, n in enumerate(n_bins):
        fine = quantiles(samples, columns[axis], 12)
        assert set(edges[axis][:-1]) <= set(fine)
        for inner in combinations(fine[1:-1], n - 1):
            other = list(edges)
            other[axis] = np.array([fine[0], *inner, fine[-1]])
            assert score(other) <= own + 1e-9


def test_every_bin_has_enough(samples, yields):
    columns, options = ("x1", "x3"), {"weight_degree": 2, "yields": yields}
    value, _ = events_at(samples, AT, yields=yields)
    for least in ({"min_effective": 1500.0}, {"min_share": 0.05}):
        edges = fisher_grid(samples, columns, (4, 4), AT, **least, **options)
        index = np.ravel_multi_index(
            [
                np.clip(np.searchsorted(e, x, side="right") - 1, 0, 3)
                for e, x in (
                    (e, np.concatenate([s.column(c).astype(float) for s in samples]))
                    for c, e in zip(columns, edges, strict=True)
                )
            ],
            (4, 4),
        )
        w, w2 = (np.bincount(index, value**p, 16) for p in (1, 2))
        if "min_share" in least:
            assert (w / w.sum()).min() >= 0.05 * (1 - 1e-9)
        else:
            assert (w**2 / w2).min() >= 1500 * (1 - 1e-9)
    with pytest.raises(TemplateError, match="x1 × x3: there are no 4 × 4 bins with 9000 eff"):
        fisher_grid(samples, columns, (4, 4), AT, min_effective=9000.0, **options)


def test_samples_without_weights():
    """Each sample fills its own point; edges are those of the one feature that knows the mean."""
    samples = gaussian.samples(100_000, [-0.3, 0.0, 0.3], seed=1, n_features=2)
    first, _ = fisher_grid(samples, ("x0", "x1"), (2, 2), {"mu": 0.0}, degree=2)
    assert abs(first[1]) < 0.3


def test_edges_know_their_events(samples, yields):
    edges = fisher_grid(samples, ("x1", "x3"), (3, 3), AT, weight_degree=2, yields=yields)
    with pytest.warns(match="were chosen on the events"):
        templates = Templates.from_samples(
            samples, ("x1", "x3"), bins=edges, weight_degree=2, yields=yields
        )
    assert templates.circular == ("x1", "x3")
    others = quadratic.samples(5000, [AT], seed=9)
    filled = Templates.from_samples(others, ("x1", "x3"), bins=edges, weight_degree=2)
    assert filled.circular == () == circular_axes(filled.axes, others)


def test_wrong_arguments(samples, yields):
    options = {"weight_degree": 2, "yields": yields}
    with pytest.raises(TemplateError, match=r"n_bins = \(1, 4\); each axis"):
        fisher_grid(samples, ("x1", "x3"), (1, 4), AT, **options)
    others = quadratic.samples(100, [AT], seed=3)
    with pytest.raises(TemplateError, match="not to these samples"):
        fisher_grid(others, ("x1", "x3"), (2, 2), AT, **options)
    with pytest.raises(TemplateError, match="have degree 2, but weight_degree = 4"):
        fisher_grid(samples, ("x1", "x3"), (2, 2), AT, weight_degree=4, yields=yields)


def test_observables_that_know_nothing_of_a_parameter():
    """Every event has the same weight at all points."""
    sample = quadratic.generate(2000, AT, seed=1)
    flat = replace(sample, reweights=dict.fromkeys(sample.reweights, np.ones(len(sample))))
    with pytest.raises(TemplateError, match="are not sensitive to a parameter"):
        fisher_grid(SampleSet((flat,)), ("x1", "x3"), (2, 2), AT, weight_degree=2)
