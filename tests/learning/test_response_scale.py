"""Held-out scale of a response, and its means against yields."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.learning.response_events import ResponseEvents, base_points
from milinfer.learning.response_scale import (
    ResponseScale,
    linear_size,
    response_closure,
    response_scale,
)
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.samples.sample import Sample
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations


def shifted(n: int, seed: int, *, partners: bool = True) -> ProcessVariations:
    """x ~ N(0.3 α, 1) by moved events, and a weight exp(0.2 β x)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 1))
    nominal = Sample(z, ("x",), cross_section=1.0, cross_section_error=0.0)
    variations = []
    for s in (-1.0, 1.0):
        moved = z if partners else rng.normal(size=(n, 1))
        variation = Variation.of_features(nominal, {"shift": s}, moved + 0.3 * s)
        if not partners:
            variation = Variation({"shift": s}, variation.sample)
        variations.append(variation)
        weights = np.exp(0.2 * s * nominal.column("x"))
        variations.append(Variation.of_weights(nominal, {"theory": s}, weights))
    return ProcessVariations(nominal, tuple(variations))


def stacked(process: ProcessVariations) -> ResponseEvents:
    terms = ResponseTerms.of(["shift", "theory"])
    return ResponseEvents.of(process, base_points(process, terms), terms.nuisances)


def exact(events: ResponseEvents) -> np.ndarray:
    """Δ of shift, shift², theory, theory²."""
    x = events.features[:, 0].astype(np.float64)
    zero = np.zeros_like(x)
    return np.stack([0.3 * x, zero - 0.045, 0.2 * x, zero], axis=1)


@pytest.mark.parametrize("partners", [True, False])
def test_it_undoes_a_factor_and_a_constant_within_its_errors(partners):
    events = stacked(shifted(20_000, 1, partners=partners))
    wrong = exact(events) * [0.7, 1.0, 1.3, 1.0] + [0.0, 0.0, 0.05, 0.0]
    scale = response_scale(wrong, events)
    errors = np.sqrt(np.diag(scale.covariance))
    assert scale.factors[0] == pytest.approx(1 / 0.7, abs=4 * errors[0])
    assert scale.factors[2] == pytest.approx(1 / 1.3, abs=1e-3)  # soft labels are exact
    assert scale.constants[2] == pytest.approx(-0.05 / 1.3, abs=1e-3)
    assert errors[2] < 1e-3 < errors[0] < 0.06
    # Nothing tells the factor of a column that is a constant from the constant.
    assert scale.factors[1] * -0.045 + scale.constants[1] == pytest.approx(-0.045, abs=0.01)


def test_a_right_response_stays_as_it_is():
    values = []
    for seed in range(8):
        events = stacked(shifted(4000, seed))
        scale = response_scale(exact(events), events)
        values.append((scale.factors[0] - 1) / np.sqrt(scale.covariance[0, 0]))
    assert np.abs(values).max() < 3.5
    assert np.count_nonzero(values) < 8  # what is no more than noise is not corrected


def known(covariance: float = 0.0) -> ResponseScale:
    """No corrections."""
    return ResponseScale(np.ones(4), np.zeros(4), covariance * np.eye(8))


@pytest.mark.parametrize("partners", [True, False])
def test_means_agree_with_yields_within_errors_that_know_of_partners(partners):
    pulls, errors = [], []
    for seed in range(10):
        events = stacked(shifted(4000, 20 + seed, partners=partners))
        closure = response_closure(exact(events)[: events.n_nominal], known(), events)
        pulls.append(closure.pulls[[0, 2]])
        errors.append(closure.errors[[0, 2]])
    assert 0.4 < np.std(pulls) < 1.8
    # Mean of S − 1, of which the common part cancels for partners to nothing here: they all move.
    assert np.mean(errors) == pytest.approx(np.sqrt((np.exp(0.09) - 1) / 4000), rel=0.1)


def test_a_wrong_response_has_large_pulls():
    events = stacked(shifted(4000, 3))
    nominal = exact(events)[: events.n_nominal]
    wrong = nominal + np.array([0.0, 0.1, 0.0, 0.1])
    assert response_closure(wrong, known(), events).pulls.min() > 5
    # Unless the scale is not known any better.
    assert response_closure(wrong, known(0.1**2), events).pulls.max() < 1.5


def test_sizes_are_those_of_the_columns():
    events = stacked(shifted(20_000, 4))
    size = linear_size([events], events.base, np.zeros(1), np.ones(1))
    assert size[[0, 2]] == pytest.approx([0.3, 0.2], rel=0.1)
    assert (size > 0).all()
