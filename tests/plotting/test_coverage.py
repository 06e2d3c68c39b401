"""Figures of calibration and coverage hold what the results hold."""

from __future__ import annotations

import numpy as np

from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.conditional_coverage import conditional_coverage
from milinfer.intervals.coverage import coverage_scan
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.fits import profile_interval
from milinfer.likelihood.models import dataset_surface
from milinfer.plotting.coverage import (
    plot_calibrated,
    plot_conditional,
    plot_coverage_scan,
    plot_scale,
)
from milinfer.toys.toys import Toys
from models import GaussianMean, gaussian_samples

TRUTHS = [-0.3, 0.0, 0.3]
MODEL = GaussianMean(0.5, 0.05)
TOYS = Toys(gaussian_samples(TRUTHS, 50_000, 1), 100, seed=1, poisson=True)
OTHER = Toys(gaussian_samples(TRUTHS, 50_000, 2), 100, seed=2, poisson=True)
CALIBRATION = calibrate(TOYS.scan([MODEL], TRUTHS, 400)["gaussian"])
ENSEMBLES = OTHER.scan([MODEL], TRUTHS, 400)["gaussian"]


def test_the_scan_shows_every_row():
    scan = coverage_scan(ENSEMBLES, {"as trained": None, "calibrated": CALIBRATION})
    figure = plot_coverage_scan(scan)
    assert len(figure.axes) == 2
    drawn = np.sort(np.concatenate([c.lines[0].get_ydata() for c in figure.axes[0].containers]))
    expected = np.sort([r.coverage for r in scan if r.cl == 0.6827])
    np.testing.assert_allclose(drawn, expected)
    assert figure.axes[1].get_xlabel() == "true mu"


def test_the_surface_shows_both_intervals():
    data = gaussian_samples([0.0], 100, 3)[0]
    cost = LikelihoodCost(dataset_surface(MODEL, data), "mu", n_events=100)
    figure = plot_calibrated(cost, CALIBRATION, truth=0.0)
    interval = profile_interval(CALIBRATION(cost), "mu")
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels[0].startswith("as trained")
    numbers = labels[1].split(": ")[1].replace("[", "").replace("]", "").replace(",", "").split()
    np.testing.assert_allclose(
        np.array(numbers, dtype=float),
        [interval.estimate, interval.low, interval.high],
        atol=6e-4,
    )


def test_the_constant_and_its_band():
    for kind in ("coverage", "bartlett"):
        calibration = calibrate(TOYS.scan([MODEL], TRUTHS, 400)["gaussian"], kind=kind)
        figure = plot_scale(calibration)
        assert len(figure.legends[0].get_texts()) == 3


def test_conditional_coverage_is_drawn_for_each_method():
    results = [
        conditional_coverage(ENSEMBLES, m, by="events", name=n)
        for n, m in (("as trained", None), ("calibrated", CALIBRATION))
    ]
    figure = plot_conditional(results)
    assert len(figure.axes[0].containers) == 2
