"""Toys with calibrated surfaces: what belts and figures see of a corrected estimator.

A belt of a biased surface works, but its critical values carry the whole bias, and move to first
order with every fluctuation of the pool.  Of calibrated surfaces they are nearly those of χ².
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from milinfer.intervals.calibration import Calibration
from milinfer.likelihood.extended import fine_degree
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.toys.toys import ToyEnsemble

__all__ = ["calibrated_toys"]

_POINTS = 161


def calibrated_toys(
    calibration: Calibration, ensemble: ToyEnsemble, cl: float | None = None
) -> ToyEnsemble:
    """The same toys with surfaces c(θ) [Λ(m(θ)) − Λ(θ̂)].

    Parameters
    ----------
    calibration
        Made for the model and the size of the toys.
    ensemble
        Toys with surfaces as the model gives them.
    cl
        Confidence level whose constant is taken; default: the first calibrated.

    Returns
    -------
    ToyEnsemble
        With the calibration's limits as its range.

    Raises
    ------
    CalibrationError
        If the toys are of another model or another kind of dataset.

    Examples
    --------
    >>> from milinfer.intervals.calibration_fit import calibrate
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> model = gaussian.MeanModel(scale=0.5, shift=0.1)
    >>> toys = Toys(gaussian.samples(50_000, [-0.3, 0.3], seed=1), n_events=100, seed=2)
    >>> ensembles = toys.scan([model], [-0.3, 0.3], 500)["mean"]
    >>> corrected = calibrated_toys(calibrate(ensembles), ensembles[0])
    >>> bool(abs(corrected.theta_hat.mean() + 0.3) < 0.01), corrected.n_toys
    (True, 500)
    """
    calibration.require_like(ensemble)
    low, high = np.array(calibration.limits).T
    number = len(low)
    grid: Interpolation | ChebyshevBox
    if number == 1:
        grid = Interpolation(np.linspace(low[0], high[0], _POINTS), "spline")
    else:
        grid = ChebyshevBox(low, high, fine_degree(number))
    points = grid.grid.reshape(-1, number)
    scale = np.ones(len(points))
    if calibration.correct != "bias":
        scale = np.exp(calibration.log_scale(cl)(points))
    mapped = points
    if calibration.correct != "scale":
        edges = np.array(ensemble.interpolation.limits).T
        mapped = np.clip(calibration.response.mean(points).reshape(points.shape), *edges)
    at = mapped[:, 0] if number == 1 else mapped
    values = ensemble.interpolation.values_at(ensemble.values, at)
    values = scale * (values - ensemble.extremum.maximum[:, None])
    return replace(ensemble, interpolation=grid, values=values)
