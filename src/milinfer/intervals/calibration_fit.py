"""Measure the factor c(θ) on Λ (c_cicc) and the mean estimate m(θ) with toys at several points.

:mod:`milinfer.intervals.calibration` applies c(θ) and m(θ) to the Λ of a dataset.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.special import ndtr

from milinfer.exceptions import CalibrationError, MilinferWarning
from milinfer.intervals.calibration import Calibration, Correct, Kind
from milinfer.intervals.profile_constants import ProfileConstants, profile_statistic
from milinfer.intervals.response import Response, mean_response, spread_covariance
from milinfer.toys.ensemble import (
    ToyEnsemble,
    profiled_ranges,
    require_one_kind,
    require_unseen_toys,
    truths,
)
from milinfer.typing import BoolArray, FloatArray, IntArray
from milinfer.utils.confidence_levels import CL68, CL95, chi2_quantile, levels_of
from milinfer.utils.points import format_point
from milinfer.utils.resampling import covariances, samples_at_once
from milinfer.utils.smooth_polynomials import SPARE_DEGREES, SmoothPolynomial, fit_smooth

__all__ = ["calibrate"]

# If a larger fraction of the maxima is at the edge of the range, the moments of the estimates mean
# nothing.
_MAX_AT_EDGE = 0.01
# Right estimates of a truth that is farther from the edge than this have fewer maxima there.
_FAR_FROM_EDGE = 3.0
# Least number of estimates for a spread from quartiles; distance of the quartiles of a Gaussian.
_LEAST_INSIDE = 100
_QUARTILES = 1.349
# Warn if the fluctuation of the pool shifts all toys by more than this, in standard errors of an
# estimate; a fifth costs 1 % of coverage, half of one 6 %.
_MAX_SHIFT = 0.2


def _require_inside(ensembles: Sequence[ToyEnsemble]) -> None:
    """Refuse toys whose maxima lie at the edge of the range, with the likely reason.

    Raises
    ------
    CalibrationError
        The message names the worst point, the other points that fail, and the points that do not.
    """
    shares = np.array([e.extremum.at_edge.mean() for e in ensembles])
    outside = shares > _MAX_AT_EDGE
    if not outside.any():
        return
    worst = int(np.argmax(shares))
    e, names = ensembles[worst], [format_point(each.point) for each in ensembles]
    ranges = " × ".join(f"[{a:g}, {b:g}]" for a, b in e.interpolation.limits)
    others = [n for k, n in enumerate(names) if outside[k] and k != worst]
    inside = [n for k, n in enumerate(names) if not outside[k]]
    distance = _distance_to_edge(e)
    if distance is not None and distance > _FAR_FROM_EDGE:
        reason = (
            f"The truth is more than {_FAR_FROM_EDGE:g} standard deviations of the estimates away "
            "from the edge, so the range is not the reason: Λ of the model is wrong there. Train "
            "with more events or another head; mil.diagnose shows what is wrong"
        )
    else:
        reason = (
            "Calibrate nearer to the middle, widen the range of the training points, train better "
            "or use larger datasets. If the edge is a physical bound of the parameter, such as "
            "zero for a fraction, use a Neyman belt (mil.neyman), which needs no maximum inside"
        )
    msg = (
        f"{e.model}: {shares[worst]:.1%} of the toys at {names[worst]} have their maximum at the "
        f"edge of {ranges}"
        + (f", and so do too many toys at {', '.join(others)}" if others else "")
        + f". {reason}. "
        + (f"The toys at {', '.join(inside)} could" if inside else "No other toys could")
        + " be used for a calibration"
    )
    raise CalibrationError(msg)


def _distance_to_edge(ensemble: ToyEnsemble) -> float | None:
    """Distance of the truth to the next edge in standard deviations of the estimates.

    The standard deviation comes from the quartiles of estimates that are not at the edge; None if
    there are too few of these estimates.
    """
    estimates = ensemble.theta_hat.reshape(ensemble.n_toys, -1)[~ensemble.extremum.at_edge]
    if len(estimates) < _LEAST_INSIDE:
        return None
    low, high = np.quantile(estimates, [0.25, 0.75], axis=0)
    spread = (high - low) / _QUARTILES
    if not np.all(spread > 0):
        return None
    truth, (below, above) = truths([ensemble])[0], np.array(ensemble.interpolation.limits).T
    return float((np.minimum(truth - below, above - truth) / spread).min())


def calibrate(
    ensembles: Sequence[ToyEnsemble],
    *,
    kind: Kind = "coverage",
    cl: float | Sequence[float] = (CL68, CL95),
    correct: Correct = "both",
    bias_degree: int | None = None,
    scale_degree: int | None = None,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> Calibration:
    """Calibrate the curvature and the bias of a model from toys at several true points.

    The calibration changes Λ(θ) = ln L(θ)/L(θ0) in two ways.  It multiplies Λ by a factor c(θ), so
    that intervals have the claimed coverage.  It evaluates Λ at m(θ) instead of θ, so that
    estimates are unbiased; m(θ) is the mean estimate of toys generated at θ.

    Parameters
    ----------
    ensembles
        Toys of one model: one :class:`~milinfer.toys.ensemble.ToyEnsemble` for each true point.
    kind
        How c is determined.  ``"coverage"``: for each level of `cl`, c is chosen so that intervals
        have this coverage, by means of the quantile of the test statistic of toys at m(θ).
        ``"bartlett"``: c is the inverse variance of the estimates divided by the mean curvature of
        Λ.  This number is the same for all levels.
    cl
        Confidence levels.  If the estimates are not Gaussian, each level needs its own constant.
    correct
        What is corrected: ``"both"``, ``"scale"`` (only the curvature) or ``"bias"`` (only the
        bias).
    bias_degree, scale_degree
        The bias m(θ) − θ and ln c(θ) are fitted by polynomials in θ; these are their degrees.
        Default: two more than the lowest degree that describes the toys, if there are enough true
        values.  With the two additional degrees, the errors include terms that are too small to be
        seen in the toys.
    n_bootstrap, seed
        Number of bootstrap samples for the errors of the constants, and their random seed.

    Returns
    -------
    Calibration
        Call it with the cost of a dataset to get the calibrated cost.

    Warns
    -----
    MilinferWarning
        If the toys are drawn from few simulated events.  The statistical fluctuation of these
        events shifts the calibration, and milinfer warns if the shift is 0.2 standard errors of an
        estimate or more.  A shift of 0.2 lowers the coverage of the intervals of data by 1 %.

    Raises
    ------
    CalibrationError
        If the toys are of different kinds; if they are too few for the levels; if more than 1 % of
        the toys of a true point have their maximum at the edge of the range of θ; or if the mean
        estimate does not rise with the true value.

    Examples
    --------
    The curvature of this Λ is half of the correct curvature, so that c is 2 within its error:

    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> model = gaussian.MeanModel(scale=0.5)
    >>> toys = Toys(gaussian.samples(50_000, [-0.3, 0.0, 0.3], seed=1), n_events=100, seed=2)
    >>> calibration = calibrate([toys.run([model], t, 1000)["mean"]
    ...                          for t in (-0.3, 0.0, 0.3)])
    >>> abs(calibration.scale - 2) < 4 * calibration.scale_error
    True
    """
    require_one_kind(ensembles)
    require_unseen_toys(ensembles)
    cls = levels_of(cl)
    _require_enough(ensembles, cls, n_bootstrap)
    _require_inside(ensembles)
    _warn_of_small_pools(ensembles)
    response = mean_response(ensembles, bias_degree)
    points, names = truths(ensembles), tuple(ensembles[0].point)
    surface_limits = ensembles[0].interpolation.limits
    limits = (
        surface_limits if correct == "scale" else _limits(response, surface_limits, points, names)
    )
    rng = np.random.default_rng(seed)
    bias_response = None if correct == "scale" else response
    forward = None if bias_response is None else bias_response.mean

    def constants(
        statistic: Callable[[ToyEnsemble], FloatArray],
        bartlett_of: Callable[[ToyEnsemble], Callable[[IntArray], FloatArray]],
        ndf: int,
        component: int | None,
    ) -> tuple[FloatArray, FloatArray, tuple[SmoothPolynomial, ...]]:
        """Constants of both kinds with errors, and the functions ln c(θ)."""
        bartlett, by_coverage = [], []
        for e in ensembles:
            q = statistic(e)
            bartlett.append(_with_bootstrap(bartlett_of(e), e.n_toys, n_bootstrap, rng))
            scales = _coverage_of(q, cls, ndf)
            by_coverage.append(_with_bootstrap(scales, e.n_toys, n_bootstrap, rng))
        c_bartlett, c_coverage = np.array(bartlett), np.array(by_coverage)
        # The Bartlett ratio has one function for all levels, coverage one function for each level.
        chosen = c_bartlett if kind == "bartlett" else c_coverage
        pools = spread_covariance(ensembles, component)
        log_scales = tuple(
            _smooth_scale(names, points, chosen[:, 0, k], chosen[:, 1, k], pools, scale_degree)
            for k in range(chosen.shape[2])
        )
        return c_bartlett, c_coverage, log_scales

    def joint(e: ToyEnsemble) -> FloatArray:
        point = truths([e])[0]
        mapped = point if forward is None else forward(point[None]).reshape(-1)
        return e.test_statistic(mapped[0] if len(names) == 1 else mapped)

    def profile(component: int, e: ToyEnsemble) -> FloatArray:
        return profile_statistic(e, component, float(truths([e])[0, component]), limits, forward)

    c_bartlett, c_coverage, log_scales = constants(joint, _bartlett_of, len(names), None)
    profiles = []
    for k, name in enumerate(names if len(names) > 1 else ()):
        own_bartlett, own_coverage, own_scales = constants(
            partial(profile, k),
            partial(_profile_bartlett_of, k, response if forward else None),
            1,
            k,
        )
        profiles.append(
            ProfileConstants(
                parameter=name,
                c_bartlett=own_bartlett[:, 0, 0],
                c_bartlett_error=own_bartlett[:, 1, 0],
                c_coverage=own_coverage[:, 0],
                c_coverage_error=own_coverage[:, 1],
                log_scales=own_scales,
            )
        )
    return Calibration(
        tag=ensembles[0].tag,
        parameters=names,
        kind=kind,
        correct=correct,
        points=points,
        c_bartlett=c_bartlett[:, 0, 0],
        c_bartlett_error=c_bartlett[:, 1, 0],
        cls=cls,
        c_coverage=c_coverage[:, 0],
        c_coverage_error=c_coverage[:, 1],
        log_scales=log_scales,
        response=response,
        n_events=ensembles[0].n_events,
        extended=ensembles[0].extended,
        n_toys=min(e.n_toys for e in ensembles),
        pool_ids=tuple(sorted({e.pool_id for e in ensembles})),
        limits=limits,
        profiled_truth=profiled_ranges(ensembles),
        profiles=tuple(profiles),
        residuals=np.array([e.theta_hat.reshape(e.n_toys, -1).mean(axis=0) for e in ensembles])
        - response.mean(points).reshape(points.shape),
    )


def _require_enough(
    ensembles: Sequence[ToyEnsemble], cls: Sequence[float], n_bootstrap: int
) -> None:
    if not cls or not all(0 < c < 1 for c in cls) or n_bootstrap < 2:
        msg = (
            f"cl = {tuple(cls)} must be between 0 and 1, and n_bootstrap = {n_bootstrap} must be 2 "
            "or more, to estimate errors"
        )
        raise CalibrationError(msg)
    # With less than one toy beyond it on average, a quantile would only be the largest toy.
    needed = int(np.ceil(max(1 / (1 - max(cls)), 1 / min(cls), 2) - 1e-6))
    fewest = min(ensembles, key=lambda e: e.n_toys)
    if fewest.n_toys < needed:
        msg = (
            f"{fewest.n_toys} toys of {fewest.model} at {format_point(fewest.point)} are too few "
            f"for cl = {', '.join(f'{c:g}' for c in cls)}; generate {needed} or more, "
            "better twenty times that"
        )
        raise CalibrationError(msg)


def _warn_of_small_pools(ensembles: Sequence[ToyEnsemble]) -> None:
    """Warn if the fluctuation of a small pool shifts the calibration.

    The errors of the constants contain this shift; the intervals of the data contain it only if
    the calibration is widened.
    """
    worst = max(ensembles, key=lambda e: e.n_events / e.n_effective)
    shift = float(np.sqrt(worst.n_events / worst.n_effective))
    if shift >= _MAX_SHIFT:
        z = float(np.sqrt(chi2_quantile(CL68, 1)))
        lost = CL68 - float(np.diff(ndtr(np.array([-z, z]) / np.hypot(1, shift)))[0])
        msg = (
            f"the toys of {worst.model} at {format_point(worst.point)} have {worst.n_events:g} "
            f"events from a pool of effectively {worst.n_effective:.0f}: the statistical "
            f"fluctuation of this pool shifts all toys, and the calibration, by about {shift:.2f} "
            f"standard errors, so {CL68:.2%} intervals cover {lost:.1%} less on average; use "
            f"{np.ceil(worst.n_events / _MAX_SHIFT**2):.0f} events or more, or "
            "calibration.widened(), which includes this error in the intervals"
        )
        warnings.warn(msg, MilinferWarning, stacklevel=3)


# Statistics of bootstrap samples: functions of the toys in each, shape (n_samples, n_toys), with
# values of shape (n_samples, n_values).


def _bartlett_of(e: ToyEnsemble) -> Callable[[IntArray], FloatArray]:
    p = len(e.point)
    estimates = e.theta_hat.reshape(e.n_toys, p)
    curvature = e.extremum.curvature.reshape(e.n_toys, p, p)

    def ratio(rows: IntArray) -> FloatArray:
        # I_MLE/I_curv; in several parameters the ratio of the volumes, as a length squared.
        spread = covariances(estimates[rows])
        product = np.linalg.det(spread) * np.linalg.det(curvature[rows].mean(axis=1))
        ratios: FloatArray = np.maximum(product, 1e-300)[:, None] ** (-1 / p)
        return ratios

    return ratio


def _profile_bartlett_of(
    component: int, response: Response | None, e: ToyEnsemble
) -> Callable[[IntArray], FloatArray]:
    """Inverse variance of one corrected estimate over the curvature of the profile of Λ."""
    p = len(e.point)
    jacobian = np.eye(p) if response is None else response.jacobian(truths([e]))[0]
    estimates = np.linalg.solve(jacobian, e.theta_hat.reshape(e.n_toys, p).T)[component]
    curvature = e.extremum.curvature.reshape(e.n_toys, p, p)

    def ratio(rows: IntArray) -> FloatArray:
        mean = jacobian.T @ curvature[rows].mean(axis=1) @ jacobian
        claimed = np.linalg.inv(mean)[:, component, component]
        ratios: FloatArray = claimed / np.var(estimates[rows], axis=1, ddof=1)
        return np.maximum(ratios, 1e-300)[:, None]

    return ratio


def _coverage_of(q: FloatArray, cls: Sequence[float], ndf: int) -> Callable[[IntArray], FloatArray]:
    threshold = chi2_quantile(cls, ndf)

    def scales(rows: IntArray) -> FloatArray:
        # The quantile of q is the threshold once q is scaled by c.
        constants: FloatArray = threshold / np.quantile(q[rows], cls, axis=1).T
        return constants

    return scales


def _with_bootstrap(
    statistic: Callable[[IntArray], FloatArray],
    n: int,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Values and bootstrap errors, shape (2, n_values)."""
    parts = [
        statistic(rng.integers(n, size=(len(samples), n)))
        for samples in samples_at_once(n_bootstrap, n)
    ]
    value = statistic(np.arange(n)[None])[0]
    return np.stack([value, np.std(np.concatenate(parts), axis=0, ddof=1)])


def _smooth_scale(
    names: tuple[str, ...],
    points: FloatArray,
    scales: FloatArray,
    errors: FloatArray,
    pools: FloatArray,
    degree: int | None,
) -> SmoothPolynomial:
    """Fit ln c(θ), with the errors from the finite pools, which make the spread uncertain."""
    covariance = np.diag((errors / scales) ** 2) + pools
    single = len(np.unique(points, axis=0)) == 1
    return fit_smooth(
        names,
        points,
        np.log(scales),
        covariance,
        # Beyond the calibration points there is no measurement; use the constant of the nearest.
        beyond="flat",
        degree=0 if single else degree,
        spare=SPARE_DEGREES,
    )


def _limits(
    response: Response,
    surface: tuple[tuple[float, float], ...],
    points: FloatArray,
    names: tuple[str, ...],
) -> tuple[tuple[float, float], ...]:
    """Range of each parameter in which m(θ) is one to one and inside the range of the surface."""
    low, high = np.array(surface).T
    centre = np.clip(points.mean(axis=0), low, high)
    determinants = np.linalg.det(response.jacobian(points))
    if determinants.min() <= 0:
        worst = dict(zip(names, points[int(np.argmin(determinants))].tolist(), strict=True))
        msg = (
            f"the estimator of {', '.join(names)} does not follow the true value at "
            f"{format_point(worst)}: its response, the derivative of the mean estimate by the true "
            f"value, is {determinants.min():.2f}. If Λ of the toys has several maxima, as with a "
            "small interference, use a Neyman belt (milinfer.neyman) instead of a calibration. "
            "Otherwise train longer or on more events"
        )
        raise CalibrationError(msg)

    def fits(theta: FloatArray) -> BoolArray:
        mapped = response.mean(theta).reshape(theta.shape)
        inside = np.all((mapped >= low - 1e-12) & (mapped <= high + 1e-12), axis=1)
        return np.asarray(inside & (np.linalg.det(response.jacobian(theta)) > 0))

    reach = np.linspace(0, 1, 1001)
    limits = np.stack([centre, centre], axis=1)
    for k in range(len(names)):
        for side, end in enumerate((low, high)):
            line = np.tile(centre, (len(reach), 1))
            line[:, k] += reach * (end[k] - centre[k])
            good = fits(line)
            last = len(reach) if good.all() else int(np.argmin(good))
            limits[k, side] = line[max(last - 1, 0), k]
    if len(names) > 1:
        # Corners of the box may still be outside: shrink the box until all corners are inside.
        corners = np.stack(np.meshgrid(*limits, indexing="ij"), axis=-1).reshape(-1, len(names))
        for share in reach[::-1]:
            if fits(centre + share * (corners - centre)).all():
                limits = centre[:, None] + share * (limits - centre[:, None])
                break
    return tuple((float(a), float(b)) for a, b in limits)
