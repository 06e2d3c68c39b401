"""Checks of a ratio in two parameters along lines."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.datasets import quadratic
from milinfer.diagnostics.several_diagnosis import diagnose_lines
from milinfer.exceptions import ParameterError
from milinfer.likelihood.slices import Slice
from milinfer.likelihood.surface_box import ChebyshevBox

ZERO = {"c1": 0.0, "c2": 0.0}


class Ratio:
    """The exact ratio, with the part of c2 multiplied by a factor."""

    name, parameters = "ratio", ("c1", "c2")
    interpolation = ChebyshevBox(np.full(2, -0.6), np.full(2, 0.6), 12)

    def __init__(self, factor=1.0):
        self.factor = factor

    def event_llr(self, sample):
        both = quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid)
        first = self.interpolation.grid * [1.0, 0.0]
        alone = quadratic.log_likelihood_ratio(sample.features, first)
        return alone + self.factor * (both - alone)


def test_a_slice_is_the_ratio_on_its_line():
    sample = quadratic.generate(50, ZERO, seed=1)
    line = Slice(Ratio(), {"c1": 0.2, "c2": 0.0}, {"c2": 1.0}, "c2")
    t = line.interpolation.grid
    points = np.column_stack([np.full(len(t), 0.2), t])
    exact = quadratic.log_likelihood_ratio(sample.features, np.vstack([points, [[0.2, 0.0]]]))
    np.testing.assert_allclose(line.event_llr(sample), exact[:, :-1] - exact[:, -1:], atol=5e-3)
    assert line.value_at({"c1": 0.2, "c2": -0.4}) == -0.4
    assert line.value_at({"c1": 0.3, "c2": -0.4}) is None


@pytest.mark.parametrize(
    ("centre", "step", "message"),
    [
        (ZERO, {"c3": 1.0}, "are not a line through points of c1, c2"),
        ({"c1": 0.0}, {"c1": 1.0}, "are not a line through"),
        ({"c1": 0.0, "c2": 0.9}, {"c1": 1.0}, "outside the range of ratio"),
    ],
)
def test_lines_that_there_are_not(centre, step, message):
    with pytest.raises(ParameterError, match=message):
        Slice(Ratio(), centre, step, "t")


def test_a_fault_in_one_parameter_is_found_along_it():
    samples = quadratic.samples(15_000, [ZERO], seed=2)
    settings = {"weight_degree": 2, "n_events": 300, "n_toys": 0, "seed": 1}
    right = diagnose_lines(Ratio(), samples, **settings)
    assert list(right.lines) == ["c1", "c2", "c1 + c2"]
    assert not any(d.failures for d in right)
    assert "do not trust" not in right.verdict
    wrong = diagnose_lines(Ratio(2.0), samples, **settings)
    assert wrong["c1"].failures == right["c1"].failures == ()
    assert wrong["c2"].failures
    assert "along c2" in wrong.verdict
    assert not wrong.passed
    assert wrong.summary()["lines"]["c1"]["verdict"] == right["c1"].verdict


def test_without_weights_lines_need_samples():
    points = [ZERO, {"c1": 0.3, "c2": 0.0}, {"c1": 0.2, "c2": 0.1}]
    diagnosis = diagnose_lines(Ratio(), quadratic.samples(2000, points, seed=3), n_toys=0)
    assert list(diagnosis.lines) == ["c1"]
    assert set(diagnosis.skipped) == {"c2", "c1 + c2"}


def test_a_model_of_one_parameter_is_for_diagnose():
    class One:
        name, parameters, interpolation = "one", ("c1",), Ratio.interpolation

    with pytest.raises(ParameterError, match=r"use milinfer\.diagnose"):
        diagnose_lines(One(), quadratic.samples(10, [ZERO], seed=4))
