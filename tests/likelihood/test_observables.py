"""Scores of several parameters that are not correlated."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from milinfer.datasets import quadratic
from milinfer.exceptions import ParameterError
from milinfer.learning.bag_likelihood import BagLikelihood, single_models
from milinfer.likelihood.observables import independent_scores, score_observable
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from random_networks import random_networks

NAMES = ("a", "b", "c")


class Plane:
    """Means of three correlated features; the scores at 0 are the features times a matrix."""

    name, parameters = "plane", NAMES
    interpolation = ChebyshevBox(np.full(3, -1.0), np.full(3, 1.0), 2)
    inverse = np.linalg.inv(np.array([[1.0, 0.5, 0.2], [0.5, 1.0, 0.4], [0.2, 0.4, 1.0]]))

    def event_llr(self, sample):
        theta = self.interpolation.grid
        quadratic = np.einsum("kp,pq,kq->k", theta, self.inverse, theta) / 2
        return sample.features @ self.inverse @ theta.T - quadratic


@pytest.fixture(scope="module")
def sample():
    covariance = np.linalg.inv(Plane.inverse)
    x = np.random.default_rng(1).multivariate_normal(np.zeros(3), covariance, 50_000)
    return Sample(x.astype(np.float32), ("x", "y", "z"), point=dict.fromkeys(NAMES, 0.0))


def test_they_are_not_correlated_and_know_as_much(sample):
    """The covariance of the scores is the information, and its determinant does not change."""
    scores = independent_scores(Plane(), np.zeros(3), Plane.inverse)
    assert [s.__name__ for s in scores] == ["score_a", "score_b_given_a", "score_c_given_a_b"]
    covariance = np.cov([score(sample) for score in scores])
    size = np.sqrt(np.diag(covariance))
    assert covariance / np.outer(size, size) == pytest.approx(np.eye(3), abs=0.02)
    assert np.linalg.det(covariance) == pytest.approx(np.linalg.det(Plane.inverse), rel=0.03)
    first = score_observable(Plane(), np.zeros(3), parameter="a")
    assert np.array_equal(scores[0](sample), first(sample))
    # What is left of the last is the information on it where the others are fitted too.
    assert covariance[2, 2] == pytest.approx(1 / np.linalg.inv(Plane.inverse)[2, 2], rel=0.03)
    again = pickle.loads(pickle.dumps(scores[2]))
    assert np.array_equal(again(sample), scores[2](sample))


@pytest.mark.parametrize(
    "matrix",
    [np.eye(2), np.ones((3, 3)), np.diag([1, 1, np.nan]), [[1, 0, 0], [0.5, 1, 0], [0, 0, 1]]],
)
def test_information_that_is_none(matrix):
    with pytest.raises(ParameterError, match="must be a positive-definite matrix in a, b, c"):
        independent_scores(Plane(), np.zeros(3), matrix)


def test_parameters_with_the_same_score():
    """Two that enter as their sum: rounding must not make their covariance look invertible."""
    turned = np.array([[1.0, 1.0, 0.3], [1.0, 1.0 + 1e-13, 0.3], [0.3, 0.3, 1.0]])
    with pytest.raises(ParameterError, match="with the same score cannot be distinguished"):
        independent_scores(Plane(), np.zeros(3), turned)


def test_points_outside():
    with pytest.raises(ParameterError, match="is not inside"):
        independent_scores(Plane(), np.full(3, 2.0), np.eye(3))


class Tabulated:
    """A model that gives its table alone, not its polynomials."""

    def __init__(self, model):
        self.model, self.name = model, "tabulated"
        self.parameters, self.interpolation = model.parameters, model.interpolation

    def event_llr(self, sample):
        return self.model.event_llr(sample)


def test_scores_of_polynomials_are_exact():
    names = ("c1", "c2")
    sample = quadratic.generate(500, dict.fromkeys(names, 0.0), seed=3)
    box = ChebyshevBox(np.full(2, -0.3), np.full(2, 0.3), 12)
    oracle = Oracle.from_sample(sample, names, box, degree=2)
    point = np.array([0.1, -0.05])
    for name in names:
        exact = score_observable(oracle, point, parameter=name)(sample)
        tabulated = score_observable(Tabulated(oracle), point, parameter=name)(sample)
        np.testing.assert_allclose(exact, tabulated, rtol=0, atol=1e-4)
        # Without ratios of single events: the slope of Λ of a dataset of one event.
        alone = oracle.log_polynomials(sample.take([7])).gradient(point)[names.index(name)]
        assert np.isclose(exact[7], alone, rtol=1e-12)


def test_the_score_of_an_ensemble_is_the_mean_of_its_members():
    samples = quadratic.samples(
        400, [{"c1": a, "c2": b} for a, b in ((0.0, 0.0), (0.3, 0.0), (0.0, 0.3))], seed=4
    )
    settings = BagLikelihood(head="polynomial", labels="joint", order=1, ensemble=2, seed=1)
    with random_networks():
        model = settings.fit(samples)
    sample, point = samples[0], [0.05, 0.02]
    both = score_observable(model, point, parameter="c2")(sample)
    each = [score_observable(m, point, parameter="c2")(sample) for m in single_models(model)]
    np.testing.assert_allclose(both, np.mean(each, axis=0), rtol=1e-12)
    np.testing.assert_allclose(
        both, score_observable(Tabulated(model), point, parameter="c2")(sample), atol=1e-4
    )
