"""What must not change a result: orders, divisions, names, scales, constants, reference points."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import milinfer as mil
from milinfer.datasets import gaussian, quadratic, vbf_hww
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from models import GRID, GaussianMean

POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
SMALL = NetworkConfig((16,))
SEEDS = st.integers(0, 10_000)
THETA = st.floats(-0.9, 0.9)
HEADS = {
    "polynomial": {"head": "polynomial", "order": 1},
    "multi-class": {"head": "multiclass"},
    "attention": {"head": "multiclass", "pooling": "attention"},
}


def samples(parameter: str = "mu", scale: float = 1.0) -> SampleSet:
    made = gaussian.samples(600, POINTS, seed=1, n_features=2)
    weights = np.random.default_rng(2).choice([1.0, 2.0, -0.5], 600)
    return SampleSet(
        tuple(
            replace(s, point={parameter: s.point["mu"]}, weights=scale * np.roll(weights, k))
            for k, s in enumerate(made)
        )
    )


def fit(given_samples: SampleSet, head: str) -> mil.BagLikelihood:
    options = HEADS[head] | {"bag_size": 5, "network": SMALL, "training": TrainingConfig(2)}
    return mil.BagLikelihood(seed=3, **{"head": "multiclass"} | options).fit(given_samples)


@cache
def trained(head: str) -> mil.BagLikelihood:
    return fit(samples(), head)


@cache
def data() -> Sample:
    return gaussian.generate(60, 0.2, seed=8, n_features=2).as_data()


def curve(model: mil.BagLikelihood, events: Sample, parameter: str = "mu") -> np.ndarray:
    cost = model.cost(events)
    assert cost.parameters == (parameter,)
    return np.array([cost(x) for x in np.linspace(-1, 1, 9)])


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
@pytest.mark.parametrize("head", ["polynomial", "multi-class"])
def test_the_order_of_events(head, seed):
    order = np.random.default_rng(seed).permutation(len(data()))
    expected = curve(trained(head), data())
    np.testing.assert_allclose(
        curve(trained(head), data().take(order)), expected, rtol=1e-9, atol=1e-9
    )


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_the_order_of_bags_and_within_them(seed):
    """Attention scores bags: which events are in one counts, their order does not."""
    rng = np.random.default_rng(seed)
    bags = np.arange(60).reshape(12, 5)
    order = rng.permuted(bags[rng.permutation(12)], axis=1).ravel()
    model = trained("attention")
    np.testing.assert_allclose(
        curve(model, data().take(order)), curve(model, data()), rtol=1e-5, atol=1e-4
    )


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 59), max_size=4, unique=True))
@pytest.mark.parametrize("head", ["polynomial", "multi-class"])
def test_samples_that_are_cut_and_joined(head, cuts):
    edges = [0, *sorted(cuts), 60]
    parts = [data().take(slice(a, b)) for a, b in pairwise(edges)]
    joined = Sample.concatenate(parts)
    np.testing.assert_array_equal(joined.features, data().features)
    expected = curve(trained(head), data())
    np.testing.assert_allclose(curve(trained(head), joined.as_data()), expected, rtol=1e-9)
    # Λ of a dataset is the sum over its parts.
    total = sum(curve(trained(head), p.as_data()) for p in parts)
    np.testing.assert_allclose(total, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("head", HEADS)
def test_the_order_of_files(head, tmp_path):
    files = {}
    for s in samples():
        files[s.point["mu"]] = tmp_path / f"{s.point['mu']}.parquet"
        s.to_file(files[s.point["mu"]])
    backwards = dict(reversed(files.items()))
    made = [SampleSet.from_files(f, parameter="mu") for f in (files, backwards)]
    a, b = (curve(fit(s, head), data()) for s in made)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, curve(trained(head), data()))


@pytest.mark.parametrize("head", HEADS)
def test_names_of_parameters(head):
    other = fit(samples("zeta"), head)
    np.testing.assert_array_equal(curve(other, data(), "zeta"), curve(trained(head), data()))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("scale", [2.0**-10, 4.0])
def test_the_scale_of_all_weights(head, scale):
    """By powers of two, which rounding does not see."""
    np.testing.assert_array_equal(
        curve(fit(samples(scale=scale), head), data()), curve(trained(head), data())
    )


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(1e-3, 1e3), seed=SEEDS)
def test_the_scale_of_weights_in_pools_and_histograms(scale, seed):
    made = gaussian.samples(2_000, POINTS, seed=seed)
    weighted = SampleSet(tuple(replace(s, weights=scale * s.weights) for s in made))
    model = GaussianMean(interpolation=GRID)
    renamed = [
        SampleSet(tuple(replace(s, feature_names=("x",)) for s in m)) for m in (made, weighted)
    ]
    a, b = (
        mil.Toys(m, n_events=50, seed=1).run([model], 0.5, 20)[model.name].theta_hat
        for m in renamed
    )
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    first, second = (
        mil.Templates.from_samples(m, "x0", bins=4, degree=2).cost(np.array([9.0, 14.0, 12.0, 5.0]))
        for m in (made, weighted)
    )
    differences = [c(0.4) - c(-0.3) for c in (first, second)]
    assert differences[0] == pytest.approx(differences[1], rel=1e-6, abs=1e-9)


class Shifted(GaussianMean):
    """With a constant for each event, the same at all θ: no ratio to a reference any more."""

    def event_llr(self, sample: Sample) -> np.ndarray:
        return super().event_llr(sample) + 3.7


def test_a_constant_in_the_surface():
    events = gaussian.generate(80, 0.3, seed=4)
    events = replace(events, feature_names=("x",)).as_data()
    from milinfer.likelihood.cost import dataset_cost

    plain, shifted = (dataset_cost(m(), events, reference=0.0) for m in (GaussianMean, Shifted))
    a, b = (mil.profile_interval(c, "mu") for c in (plain, shifted))
    np.testing.assert_allclose((a.estimate, a.low, a.high), (b.estimate, b.low, b.high), atol=1e-6)
    pool = SampleSet(
        tuple(replace(s, feature_names=("x",)) for s in gaussian.samples(2_000, POINTS, seed=6))
    )
    toys = mil.Toys(pool, n_events=80, seed=1)
    q = [toys.run([m()], 0.0, 50)["gaussian"].test_statistic(0.0) for m in (GaussianMean, Shifted)]
    np.testing.assert_allclose(q[0], q[1], atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(reference=st.sampled_from(POINTS), theta=THETA, other=THETA)
def test_the_reference_point(reference, theta, other):
    """Λ(θ; θ0) − Λ(θ1; θ0) depends on θ0 nowhere, and is antisymmetric in θ and θ1."""
    points = [{"c1": c} for c in POINTS]
    sample = quadratic.generate(300, {"c1": 0.0}, seed=1, weights=points)
    grid = np.linspace(-1, 1, 21)
    costs = [
        mil.Oracle.from_sample(sample, "c1", grid, degree=2, reference=r).cost(sample.as_data())
        for r in (0.0, reference)
    ]
    forward = [c(theta) - c(other) for c in costs]
    backward = [c(other) - c(theta) for c in costs]
    assert forward[0] == pytest.approx(forward[1], rel=1e-9, abs=1e-9)
    assert forward[0] == pytest.approx(-backward[1], rel=1e-9, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(angle=st.floats(-6.3, 6.3), seed=st.integers(0, 50))
def test_rotations_about_the_beam(angle, seed):
    """No result of features without directions in the transverse plane changes."""
    record, _ = vbf_hww.generate(200, {"c_HW": 0.3}, seed=seed).to_events()
    parts = record.LHEPart
    cosine, sine = np.cos(angle), np.sin(angle)
    import awkward as ak

    turned = ak.with_field(
        ak.with_field(parts, cosine * parts.px - sine * parts.py, "px"),
        sine * parts.px + cosine * parts.py,
        "py",
    )
    features = mil.feature_set("vbf_2l2j_invariant")
    tables = [features.from_lhe(ak.with_field(record, p, "LHEPart")).array for p in (parts, turned)]
    np.testing.assert_allclose(tables[0], tables[1], rtol=2e-4, atol=2e-4)
    model = rotation_model()
    a, b = (model.cost(Sample(t, features.names, point={}).as_data()) for t in tables)
    for theta in (-0.8, 0.1, 0.9):
        assert a(theta) - a(0.0) == pytest.approx(b(theta) - b(0.0), abs=2e-2)


@cache
def rotation_model() -> mil.BagLikelihood:
    made = vbf_hww.samples(400, POINTS, seed=2)
    model = mil.BagLikelihood(head="polynomial", network=SMALL, training=TrainingConfig(3), seed=1)
    return model.fit(made)
