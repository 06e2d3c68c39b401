"""Calibration of a surface: curvature (c_cicc) and bias, from pseudo-experiments.

The calibrated surface is c·Λ(m(θ)).  m(θ) = E[θ̂] at truth θ undoes the bias and the response, as a
function of θ rather than at θ = 0 alone; c scales the curvature, by the Bartlett ratio (seed 001,
eq. 34) or so that intervals cover as often as they claim.  Calibrate on one set of events, measure
coverage on another: :func:`milinfer.intervals.coverage` refuses the events used here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2

from milinfer.cost import LikelihoodCost, Reparametrisation
from milinfer.exceptions import CalibrationError
from milinfer.information import MeanResponse, mean_response, variance_with_error
from milinfer.toys import ToyEnsemble
from milinfer.typing import FloatArray

__all__ = ["Calibration", "calibrate"]

Kind = Literal["coverage", "bartlett"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Curvature and bias calibration of one model for datasets of one size.

    Parameters
    ----------
    model, parameter
        What it belongs to.
    kind
        Which of the two constants is applied.
    thetas
        True values at which toys were thrown, shape (n,).
    c_bartlett, c_bartlett_error
        I_MLE / I_curv at each θ, with bootstrap errors, shape (n,).
    c_coverage, c_coverage_error
        The constant that gives the nominal coverage at each θ, likewise.
    scale_coefficients, scale_covariance
        ln c as a polynomial in θ (constant or linear), lowest power first, and its covariance.
    response
        E[θ̂] as a function of θ.
    n_events, n_toys
        Size of the datasets, and number of toys at each θ.
    pool_ids
        Fingerprints of the events used.
    limits
        Range of θ that the surface can serve after correction.
    """

    model: str
    parameter: str
    kind: Kind
    thetas: FloatArray
    c_bartlett: FloatArray
    c_bartlett_error: FloatArray
    c_coverage: FloatArray
    c_coverage_error: FloatArray
    scale_coefficients: FloatArray
    scale_covariance: FloatArray
    response: MeanResponse
    n_events: float
    n_toys: int
    pool_ids: tuple[str, ...]
    limits: tuple[float, float]

    def scale_at(self, theta: float) -> tuple[float, float]:
        """The constant c applied to a surface whose corrected estimate is θ, and its error."""
        basis = float(theta) ** np.arange(len(self.scale_coefficients))
        scale = float(np.exp(basis @ self.scale_coefficients))
        return scale, scale * float(np.sqrt(basis @ self.scale_covariance @ basis))

    @property
    def scale(self) -> float:
        """The constant at the mean of the calibration points."""
        return self.scale_at(float(self.thetas.mean()))[0]

    @property
    def scale_error(self) -> float:
        """Error of :attr:`scale`."""
        return self.scale_at(float(self.thetas.mean()))[1]

    def scales(self, theta_hat: FloatArray) -> FloatArray:
        """The constants of many surfaces with (uncorrected) estimates θ̂, shape (n,)."""
        # Beyond the calibration points the constant is not known; keep that of the nearest.
        theta = np.clip(self.correct(theta_hat), self.thetas.min(), self.thetas.max())
        return np.exp(np.polynomial.polynomial.polyval(theta, self.scale_coefficients))

    def bias(self, theta: float) -> tuple[float, float]:
        """Bias b(θ) = E[θ̂] − θ and its error."""
        return self.response.mean(theta) - theta, self.response.mean_error(theta)

    def forward(self, theta: float) -> float:
        """m(θ) = θ + b(θ)."""
        return self.response.mean(theta)

    def derivative(self, theta: float) -> float:
        """dm/dθ, the response."""
        return self.response.slope(theta)[0]

    def correct(self, theta_hat: FloatArray) -> FloatArray:
        """Bias-corrected estimates m⁻¹(θ̂), kept inside `limits`."""
        fine = np.linspace(*self.limits, 2001)
        return np.interp(theta_hat, self.response.means(fine), fine)

    def __call__(self, cost: LikelihoodCost) -> LikelihoodCost:
        """The calibrated cost of the same dataset.

        Raises
        ------
        CalibrationError
            If the cost belongs to another parameter, was calibrated before, or its dataset has
            another size (by more than a quarter) than the toys.
        """
        if cost.parameter != self.parameter:
            msg = f"a calibration of {self.parameter!r} cannot serve {cost.parameter!r}"
            raise CalibrationError(msg)
        if cost.reparametrisation is not None or cost.scale != 1.0:
            msg = "this cost is calibrated already"
            raise CalibrationError(msg)
        if not 0.75 < cost.n_events / self.n_events < 1.25:
            msg = (
                f"calibrated on toys of {self.n_events} events, but the dataset has "
                f"{cost.n_events:g}; calibrate with n_events={cost.n_events:g}"
            )
            raise CalibrationError(msg)
        scale = float(self.scales(cost.surface.extremum.theta_hat)[0])
        return cost.calibrated(scale, Reparametrisation(self.forward, self.derivative, self.limits))


def calibrate(
    ensembles: Sequence[ToyEnsemble],
    *,
    kind: Kind = "coverage",
    cl: float = 0.6827,
    bias_degree: int | None = None,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> Calibration:
    """Calibrate curvature and bias from toys at several true values.

    Parameters
    ----------
    ensembles
        Toys of one model, one ensemble for each true value.
    kind
        ``"coverage"``: c gives the coverage `cl`, by the quantile of the test statistic at the
        bias-corrected truth.  ``"bartlett"``: c = I_MLE / I_curv.
    cl
        Confidence level for ``"coverage"``.
    bias_degree
        Degree of E[θ̂] in θ; see :func:`milinfer.information.mean_response`.
    n_bootstrap, seed
        For the errors of the constants.

    Raises
    ------
    CalibrationError
        If the toys do not belong together, more than 1 % of them have their maximum at the edge of
        the range, or the estimator does not follow θ (response not positive).

    Examples
    --------
    See ``tests/test_calibration.py`` for surfaces that are wrong by a known factor.
    """
    if not ensembles:
        msg = "no toys to calibrate on"
        raise CalibrationError(msg)
    for e in ensembles:
        at_edge = float(e.extremum.at_edge.mean())
        if at_edge > 0.01:
            msg = (
                f"{e.model}: {at_edge:.1%} of the toys at {e.parameter} = {e.truth:g} have their "
                f"maximum at the edge of {e.range}; widen the range of the training "
                "points or use larger datasets"
            )
            raise CalibrationError(msg)
    response = mean_response(ensembles, bias_degree)
    limits = _limits(response, ensembles[0].range, ensembles[0].parameter)
    rng = np.random.default_rng(seed)
    bartlett = np.array([_with_bootstrap(e, _bartlett, n_bootstrap, rng) for e in ensembles])
    threshold = float(chi2.ppf(cl, 1))

    def by_coverage(e: ToyEnsemble, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
        # The quantile of q is the threshold once q is scaled by c.
        return threshold / float(np.quantile(q_at_truth[id(e)][rows], cl))

    q_at_truth = {id(e): e.test_statistic(response.mean(e.truth)) for e in ensembles}
    coverage = np.array([_with_bootstrap(e, by_coverage, n_bootstrap, rng) for e in ensembles])
    chosen = coverage if kind == "coverage" else bartlett
    truths = np.array([e.truth for e in ensembles])
    scale_coefficients, scale_covariance = _smooth_scale(truths, chosen)
    return Calibration(
        ensembles[0].model,
        ensembles[0].parameter,
        kind,
        truths,
        bartlett[:, 0],
        bartlett[:, 1],
        coverage[:, 0],
        coverage[:, 1],
        scale_coefficients,
        scale_covariance,
        response,
        ensembles[0].n_events,
        min(e.n_toys for e in ensembles),
        tuple(sorted({e.pool_id for e in ensembles})),
        limits,
    )


def _bartlett(e: ToyEnsemble, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
    variance, _ = variance_with_error(e.theta_hat[rows])
    return 1 / (variance * float(e.extremum.curvature[rows].mean()))


def _with_bootstrap(
    ensemble: ToyEnsemble, statistic: object, n_bootstrap: int, rng: np.random.Generator
) -> tuple[float, float]:
    assert callable(statistic)
    n = ensemble.n_toys
    replicas = [statistic(ensemble, rng.integers(n, size=n)) for _ in range(n_bootstrap)]
    return statistic(ensemble, np.arange(n)), float(np.std(replicas, ddof=1))


def _smooth_scale(truths: FloatArray, scales: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit ln c by a constant, or from three true values on by a line, weighted by its errors."""
    degree = 1 if len(np.unique(truths)) >= 3 else 0
    errors = scales[:, 1] / scales[:, 0]
    vander = np.polynomial.polynomial.polyvander(truths, degree) / errors[:, None]
    covariance = np.linalg.inv(vander.T @ vander)
    coefficients = covariance @ vander.T @ (np.log(scales[:, 0]) / errors)
    return coefficients, np.asarray(covariance, dtype=np.float64)


def _limits(
    response: MeanResponse, surface_range: tuple[float, float], parameter: str
) -> tuple[float, float]:
    """Range of θ that m(θ) maps into the range of the surface."""
    low, high = surface_range
    fine = np.linspace(low, high, 401)
    slopes = [response.slope(t)[0] for t in fine]
    centre = int(np.argmin(np.abs([response.mean(t) - (low + high) / 2 for t in fine])))
    if slopes[centre] <= 0:
        msg = (
            f"the estimator of {parameter} does not follow the truth (response "
            f"{slopes[centre]:.2f}); train longer or on more events"
        )
        raise CalibrationError(msg)
    # Stay on the monotone branch around the centre, and inside the surface.
    falling = np.flatnonzero(np.asarray(slopes) <= 0)
    left = fine[falling[falling < centre].max() + 1] if np.any(falling < centre) else low
    right = fine[falling[falling > centre].min() - 1] if np.any(falling > centre) else high
    if response.mean(left) < low:
        left = brentq(lambda t: response.mean(t) - low, left, fine[centre])
    if response.mean(right) > high:
        right = brentq(lambda t: response.mean(t) - high, fine[centre], right)
    return float(left), float(right)
