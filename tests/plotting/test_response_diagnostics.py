"""Figures of diagnoses of responses show the numbers of the diagnosis."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import milinfer as mil
from milinfer.exceptions import SampleError
from milinfer.plotting import plot_response_closure, plot_response_yields
from milinfer.samples.sample_set import SampleSet
from responses import ALONE, TOGETHER, ShiftAndTilt, nominal_events, two_terms, variations


@pytest.fixture(scope="module")
def diagnosis():
    nominal = SampleSet((nominal_events(20_000, 100),))
    held_out = variations(20_000, 1, shifts=ALONE + TOGETHER, interaction=0.15)
    return mil.diagnose_response(ShiftAndTilt(two_terms(), nominal), held_out)


def points_of(axis, number=0):
    """Positions of the points of one errorbar."""
    return axis.containers[number].lines[0].get_xydata()


def test_yields_are_those_of_the_diagnosis(diagnosis):
    figure = plot_response_yields(diagnosis)
    assert [a.get_xlabel() for a in figure.axes if a.get_xlabel()] == ["shift", "tilt"]
    top = figure.axes[1]
    line = top.lines[0].get_xydata()
    np.testing.assert_allclose(line[:, 0], diagnosis.curves[1].alpha)
    np.testing.assert_allclose(line[:, 1], diagnosis.curves[1].mean)
    alone = [y for y in diagnosis.yields if y.nuisances == {"tilt": y.nuisances.get("tilt")}]
    # Variations of both nuisance parameters are not on the curve of one.
    np.testing.assert_allclose(
        points_of(top), [(y.nuisances["tilt"], y.value) for y in alone], rtol=1e-12
    )
    bottom = figure.axes[3]
    np.testing.assert_allclose(points_of(bottom)[:, 1], [y.predicted - y.value for y in alone])


def test_only_the_worst_nuisance_parameters_are_drawn(diagnosis):
    worst = diagnosis["yields"].quantity
    figure = plot_response_yields(diagnosis, n_nuisances=1)
    assert len(figure.axes) == 2
    assert figure.axes[1].get_xlabel() in worst
    with pytest.raises(SampleError, match="n_nuisances=1 or more"):
        plot_response_yields(diagnosis, n_nuisances=0)


def test_the_worst_closure_is_first_and_lines_miss_the_points(diagnosis):
    figure = plot_response_closure(diagnosis, n_panels=3)
    assert len(figure.axes) == 3
    first = figure.axes[0]
    # The cross term is missing in y.
    assert first.get_xlabel() == "y"
    labels = [t.get_text() for t in first.get_legend().get_texts()]
    assert labels[0].startswith("shift=-1,tilt=1: p = ")
    found = next(
        c.histogram
        for c in diagnosis.closures
        if c.nuisances == {"shift": -1.0, "tilt": 1.0} and c.histogram.feature == "y"
    )
    np.testing.assert_allclose(points_of(first)[:, 1], found.target / found.before)
    np.testing.assert_allclose(first.patches[0].get_data().values, found.after / found.before)


def test_nothing_to_draw_is_said(diagnosis):
    with pytest.raises(SampleError, match="too few nominal or varied events"):
        plot_response_closure(dataclasses.replace(diagnosis, closures=()))
