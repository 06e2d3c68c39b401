"""Contours, posteriors and ROC curves show what they are given."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit import Minuit
from iminuit.cost import NormalConstraint

from milinfer.diagnostics.roc import roc_curve
from milinfer.exceptions import FitError, ParameterError
from milinfer.likelihood.posterior import Posterior
from milinfer.plotting.diagnostics import plot_roc
from milinfer.plotting.likelihood import plot_contour, plot_posterior

COVARIANCE = np.array([[0.04, 0.01], [0.01, 0.02]])
CENTRE = np.array([0.1, 0.2])
THETA = np.linspace(-1, 1, 401)


def test_contours_contain_the_stated_probability():
    """Of a Gaussian likelihood the contours are ellipses of −2ΔlnL = −2 ln(1 − CL)."""
    fit = Minuit(NormalConstraint(["c1", "c2"], CENTRE, COVARIANCE), 0.0, 0.0).migrad()
    levels = (0.6827, 0.9545)
    lines = plot_contour({"fit": fit}, "c1", "c2", levels).axes[0].lines
    for line, cl in zip(lines, levels, strict=False):
        away = np.stack(line.get_data(), axis=1) - CENTRE
        q = np.einsum("ij,jk,ik->i", away, np.linalg.inv(COVARIANCE), away)
        np.testing.assert_allclose(q, -2 * np.log(1 - cl), rtol=0.02)
        np.testing.assert_array_equal(away[0], away[-1])


def test_an_invalid_fit_has_no_contour():
    fit = Minuit(NormalConstraint(["c1", "c2"], CENTRE, COVARIANCE), 0.0, 0.0)
    with pytest.raises(FitError, match="'fit' is not valid"):
        plot_contour({"fit": fit}, "c1", "c2")


def test_the_posterior_is_drawn_with_its_interval():
    flat = Posterior.from_log_ratios(THETA, -50 * (THETA - 0.2) ** 2)
    figure = plot_posterior({"flat": flat}, "c_HW", truth=0.0)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), flat.density)
    text = figure.legends[0].get_texts()[0].get_text()
    assert text == "flat: +0.200 [+0.100, +0.300]"


def test_several_datasets_are_refused():
    both = Posterior.from_log_ratios(THETA, -50 * (THETA - np.array([[0.1], [0.2]])) ** 2)
    with pytest.raises(ParameterError, match="2 datasets"):
        plot_posterior({"both": both}, "c_HW")


def test_the_roc_curve_is_that_of_the_scores():
    rng = np.random.default_rng(1)
    scores = rng.normal(1, 1, 3000), rng.normal(0, 1, 3000)
    axis = plot_roc({"classifier": scores}).axes[0]
    x, y = axis.lines[1].get_data()
    roc = roc_curve(*scores)
    np.testing.assert_allclose(y, roc.at(x))
    (text,) = axis.get_legend().get_texts()
    assert text.get_text() == f"classifier: area {roc.auc:.3f} ± {roc.auc_error:.3f}"
