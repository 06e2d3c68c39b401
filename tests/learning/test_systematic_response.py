"""Learned responses against closed forms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from milinfer.exceptions import ConfigurationError, MilinferWarning, SampleError
from milinfer.learning.networks.configs import TrainingConfig
from milinfer.learning.systematic_response import SystematicResponse
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations
from varied_gaussian import NUISANCES, SMALL, relative_error, variations


def test_moved_events_give_the_ratio_of_the_densities():
    # So few steps that XLA does not compile them.
    settings = TrainingConfig(3, 1024, 1e-2, 3e-5, schedule="cosine")
    response = SystematicResponse(training=settings, seed=3).fit(variations(20_000, 2))
    assert relative_error(response, shift=1.0) < 0.1
    assert relative_error(response, shift=-1.0) < 0.1
    assert relative_error(response, width=1.0) < 0.15
    assert relative_error(response, theory=1.0) < 0.03
    assert relative_error(response, shift=1.0, theory=-1.0) < 0.1
    # The mean of S is the yield: one for events that are all kept, and E[exp(0.1 x)].
    at = response.terms.array({"theory": 1.0})
    assert response.expected.log_yield(at).value == pytest.approx(0.005, abs=0.002)
    assert abs(response.expected.log_yield(response.terms.array({"shift": 1.0})).value) < 0.02


def test_soft_labels_are_precise():
    response = SystematicResponse(seed=1).fit(variations(20_000, 3, soft=True))
    for name in NUISANCES:
        assert relative_error(response, **{name: 1.0}) < 0.03


def test_code4_learns_both_sides():
    response = SystematicResponse(interpolation="code4", **SMALL).fit(variations(20_000, 5))
    assert response.terms.names[0] == "shift up"
    assert relative_error(response, shift=1.0) < 0.15
    assert relative_error(response, shift=-1.0) < 0.15
    assert relative_error(response, theory=-1.0) < 0.1


def depending_on_theta(*, weights: bool) -> ProcessVariations:
    """exp((0.2 + 0.1 c) α x) by weights: a response that is linear in c."""
    z = np.random.default_rng(7).normal(size=(20_000, 1))
    x = z[:, 0].astype(np.float32).astype(np.float64)
    nominal, varied = [], []
    points = (0.0,) if weights else (-1.0, 1.0)
    for c in points:
        sample = Sample(z, ("x",), point={"c": c})
        if weights:
            names = {"low": -1.0, "high": 1.0}
            sample = dataclasses.replace(
                sample,
                reweights={n: np.exp(0.1 * v * x) for n, v in names.items()},
                reweight_points={n: {"c": v} for n, v in names.items()},
            )
        nominal.append(sample)
        variation = Variation.of_weights(sample, {"theory": 1.0}, np.exp((0.2 + 0.1 * c) * x))
        if weights:
            changed = {
                n: sample.reweights[n] * np.exp((0.2 + 0.1 * v) * x) for n, v in names.items()
            }
            variation = dataclasses.replace(
                variation, sample=dataclasses.replace(variation.sample, reweights=changed)
            )
        varied.append(variation)
    return ProcessVariations(SampleSet(tuple(nominal)), tuple(varied))


@pytest.mark.parametrize("weights", [False, True])
def test_a_response_that_depends_on_theta(weights):
    settings = SMALL | {"training": TrainingConfig(6, 1024, 2e-2, 1e-4, schedule="cosine")}
    process = depending_on_theta(weights=weights)
    response = SystematicResponse(theta_dependent=True, degree=1, **settings).fit(process)
    assert response.terms.parameters == ("c",)
    x = np.linspace(-2, 2, 9)
    table = response.table(Sample(x[:, None], ("x",)))
    for c in (-1.0, 0.0, 1.0):
        ratio = table.log_response(np.array([1.0]), np.array([c]))
        assert ratio == pytest.approx((0.2 + 0.1 * c) * x, abs=0.03)
    assert response.at_ends == ()
    with pytest.raises(SampleError, match="background has no parameter point"):
        SystematicResponse(theta_dependent=True).fit(variations(100, 1))


@pytest.mark.parametrize("weights", [False, True])
def test_a_response_that_is_the_same_everywhere_knows_where_it_is_wrong(weights, tmp_path):
    process = depending_on_theta(weights=weights)
    response = SystematicResponse(degree=1, **SMALL).fit(process)
    low, high = response.at_ends
    assert (low.point, high.point) == ({"c": -1.0}, {"c": 1.0})
    assert low.nuisances == high.nuisances == {"theory": 1.0}
    assert high.differ
    # With weights the difference is half a per cent, of 2000 held-out events.
    assert low.differ is not weights
    for row in (low, high):
        # Events at c have a mean of 0.1 c, where they are weighted to it.
        c = row.point["c"]
        mean, slope = 0.1 * c * weights, 0.2 + 0.1 * c
        assert row.ratio == pytest.approx(np.exp(slope * mean + slope**2 / 2), abs=0.02)
        # It has learned exp(0.2 x).
        assert row.mean == pytest.approx(np.exp(0.2 * mean + 0.2**2 / 2), abs=0.02)
    response.save(tmp_path / "response")
    assert SystematicResponse.load(tmp_path / "response").at_ends == response.at_ends


def test_at_the_ends_a_right_response_agrees():
    z = np.random.default_rng(8).normal(size=(40_000, 1))
    nominal = tuple(Sample(z[k::2] + c, ("x",), point={"c": c}) for k, c in enumerate((-0.5, 0.5)))
    varied = [
        Variation.of_weights(s, {"theory": a}, np.exp(0.1 * a * s.column("x").astype(np.float64)))
        for s in nominal
        for a in (-1.0, 1.0)
    ]
    response = SystematicResponse(**SMALL).fit(ProcessVariations(SampleSet(nominal), tuple(varied)))
    assert [(row.point["c"], row.nuisances["theory"]) for row in response.at_ends] == [
        (-0.5, -1.0),
        (-0.5, 1.0),
        (0.5, -1.0),
        (0.5, 1.0),
    ]
    assert not any(row.differ for row in response.at_ends)
    assert SystematicResponse(**SMALL).fit(variations(5000, 2)).at_ends == ()


def curved_in_theta() -> ProcessVariations:
    """exp((0.2 + 0.05 c²) α x) at five points, by weights: a response that bends in c."""
    z = np.random.default_rng(9).normal(size=(4_000, 1))
    x = z[:, 0].astype(np.float32).astype(np.float64)
    nominal = [Sample(z, ("x",), point={"c": c}) for c in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    varied = [
        Variation.of_weights(s, {"theory": 1.0}, np.exp((0.2 + 0.05 * s.point["c"] ** 2) * x))
        for s in nominal
    ]
    return ProcessVariations(SampleSet(tuple(nominal)), tuple(varied))


def test_a_straight_line_over_a_part_of_the_range_is_right_there(tmp_path):
    settings = SMALL | {"training": TrainingConfig(6, 1024, 2e-2, 1e-4, schedule="cosine")}
    process = curved_in_theta()
    response = SystematicResponse(
        theta_dependent=True, theta_range={"c": (-1, 1)}, degree=1, **settings
    ).fit(process)
    assert [p["c"] for p in response.fitted.base.points] == [-1.0, 0.0, 1.0]
    sample = Sample(np.array([[-1.0], [1.0]]), ("x",))
    with pytest.warns(MilinferWarning, match=r"c=[-0-9]*,theory=1: the mean of the response"):
        wide = SystematicResponse(theta_dependent=True, degree=1, **settings).fit(process)
    slopes = [
        np.diff(r.table(sample).log_response(np.array([1.0]), np.zeros(1)))[0] / 2
        for r in (response, wide)
    ]
    # Means of 0.2 + 0.05 c² over the points: 0.2 + 0.05 · 2/3, and 0.2 + 0.05 · 2.
    assert slopes == pytest.approx([0.233, 0.3], abs=0.03)
    response.save(tmp_path / "response")
    loaded = SystematicResponse.load(tmp_path / "response")
    assert loaded.theta_range == {"c": (-1, 1)}
    assert loaded.fitted.digest == response.fitted.digest


def test_a_range_of_theta_that_cannot_be_meant():
    process = curved_in_theta()
    with pytest.raises(ConfigurationError, match="theta_dependent=True"):
        SystematicResponse(theta_range={"c": (-1, 1)})
    with pytest.raises(ConfigurationError, match=r"theta_range= names d; .* are c"):
        SystematicResponse(theta_dependent=True, theta_range={"d": (-1, 1)}).fit(process)
    with pytest.raises(SampleError, match=r"contains 1 of the points .* c=-2"):
        SystematicResponse(theta_dependent=True, theta_range={"c": (-0.5, 0.5)}).fit(process)
