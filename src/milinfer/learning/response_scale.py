r"""Determine the scale of a learned response, and check it, with held-out events.

Early stopping makes a response too small or too large, and its normalisation differs slightly from
the ratio of the yields.  The logarithm of the response is a sum over columns :math:`\Delta_A`, each
times a function of the nuisance parameters.  Each column gets a factor and a constant,
:math:`\Delta_A \to s_A \Delta_A + t_A`, that minimise the training loss of held-out events.  An
event and its varied copies are one measurement, so errors are computed from their sum.  Some
factors and constants are not determined by the held-out events, for example the factor of a column
that has the same value for all events.  These factors and constants are not changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from milinfer.exceptions import ModelError
from milinfer.learning.response_events import BasePoints, ResponseEvents
from milinfer.likelihood.expected_response import weights_at, weights_at_points
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.responses import MeanAndYield
from milinfer.samples.variations import ProcessVariations
from milinfer.samples.weights import effective_number
from milinfer.typing import FloatArray, IntArray, Point

__all__ = [
    "ResponseClosure",
    "ResponseScale",
    "closure_at_ends",
    "linear_size",
    "response_closure",
    "response_scale",
]

# Size of corrections expected before the held-out events are seen: of the factor, and of the
# constant in units of the size of the column.
_EXPECTED = 0.5
# Smallest size of a column; a smaller column counts as no response.
_SMALLEST = 1e-3
_LONGEST = 5.0  # standardised features are cut there where sizes are estimated
_ROWS = 1 << 16
_BLOCK_TERMS = 1 << 20  # terms of a block of a linear fit: 8 MB
# Smallest effective number of events whose spread gives a reliable error.
_ENOUGH = 100.0


class ResponseScale(NamedTuple):
    """Factor and constant of each column of a response, and their errors.

    Parameters
    ----------
    factors, constants
        Factor and constant of each column, shape (n_columns,).
    covariance
        Covariance of all factors and constants (factors first), computed from the spread of the
        events (sandwich estimate), shape (2 n_columns, 2 n_columns).
    """

    factors: FloatArray
    constants: FloatArray
    covariance: FloatArray


class ResponseClosure(NamedTuple):
    """Means of the response over nominal events, compared with the yields of the varied events.

    All arrays have shape (n_base,), for n_base base points (shifts of the nuisance parameters).
    The events were used neither for the training nor for the scale.

    Parameters
    ----------
    means
        Mean of the response S over the nominal events.
    yields
        Expected number of varied events, divided by the expected number of nominal events.
    errors
        Errors of the differences `means` − `yields`.
    """

    means: FloatArray
    yields: FloatArray
    errors: FloatArray

    @property
    def pulls(self) -> FloatArray:
        """Differences `means` − `yields` in units of their errors."""
        return np.divide(
            self.means - self.yields,
            self.errors,
            out=np.zeros_like(self.means),
            where=self.errors > 0,
        )


def response_scale(columns: FloatArray, events: ResponseEvents) -> ResponseScale:
    """Determine the factors and constants of the columns of a response from held-out events.

    Parameters
    ----------
    columns
        Learned columns of the events, shape (n, n_columns).
    events
        Held-out events.

    Raises
    ------
    ModelError
        If the fit does not converge.
    """
    n = columns.shape[1]
    size = np.maximum(np.sqrt(np.mean(np.square(columns), axis=0)), _SMALLEST)
    # In units of the expected size of the corrections.
    unit = _EXPECTED * np.concatenate([np.ones(n), size])
    nothing = np.zeros(2 * n)
    free = _corrections(columns, events, unit, nothing)
    free = _corrections(columns, events, unit, free.value)
    # The prior variance of each correction is the most probable one (empirical Bayes), so that a
    # correction compatible with zero is treated as noise.
    width = np.sqrt(np.maximum(free.value**2 - free.data_variance, 0.0))
    kept = _corrections(columns, events, np.minimum(width, unit), free.value)
    return ResponseScale(1 + kept.value[:n], kept.value[n:], free.covariance)


class _Corrections(NamedTuple):
    """Corrections of factors, then of constants, their covariance, and the part due to events."""

    value: FloatArray
    covariance: FloatArray
    data_variance: FloatArray


def _corrections(
    columns: FloatArray, events: ResponseEvents, unit: FloatArray, start: FloatArray
) -> _Corrections:
    """Return the most probable corrections for a normal prior with standard deviations `unit`.

    The second derivatives of the loss, and the spread of the first, are computed at `start`.
    """
    n = columns.shape[1]
    none = np.concatenate([np.ones(n), np.zeros(n)])
    # A width of zero means no correction; its row and column are zero below.
    shift = np.divide(start, unit, out=np.zeros(2 * n), where=unit > 0)
    sums = _sums(columns, events, none + unit * shift)
    hessian = sums.hessian * np.outer(unit, unit)
    spread = sums.spread * np.outer(unit, unit)
    # The derivative is the Hessian times the distance to the true correction, plus noise.  The
    # mean of this distance follows from the prior and the noise (a Kalman gain).
    gain = hessian @ _inverse(hessian @ hessian + spread)
    for _ in range(100):
        step = gain @ (sums.gradient * unit + hessian @ shift) - shift
        longest = float(np.abs(step).max())
        shift = shift + step / max(1.0, 2 * longest)
        if longest < 1e-5:
            break
        sums = _sums(columns, events, none + unit * shift)
    else:
        msg = (
            "the scale of the response does not converge on the held-out events; hold out more "
            "events (validation_fraction=), or look for events of very large weight"
        )
        raise ModelError(msg)
    rest = np.eye(2 * n) - gain @ hessian
    known = rest @ rest.T + gain @ spread @ gain.T
    # If the data do not constrain a correction, the events may give it any variance.
    share = np.minimum(np.diag(known), 1 - 1e-9)
    return _Corrections(unit * shift, known * np.outer(unit, unit), share / (1 - share) * unit**2)


def _inverse(matrix: FloatArray) -> FloatArray:
    """Return the inverse of a symmetric matrix, computed with the diagonal scaled to one."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
    return np.linalg.pinv(matrix * np.outer(scale, scale), rcond=1e-12, hermitian=True) * np.outer(
        scale, scale
    )


class _Sums(NamedTuple):
    """Sums over events: derivative of minus the loss, second derivatives, spread of the first."""

    gradient: FloatArray
    hessian: FloatArray
    spread: FloatArray


def _sums(columns: FloatArray, events: ResponseEvents, beta: FloatArray) -> _Sums:
    n, design = columns.shape[1], events.base.design
    gradient, hessian, spread = np.zeros(2 * n), np.zeros((2 * n, 2 * n)), np.zeros((2 * n, 2 * n))
    terms_of = [np.flatnonzero(column) for column in design.T]
    for rows in events.in_groups():
        x = columns[rows].astype(np.float64)
        nominal, varied = events.dense(rows)
        ratio = (x * beta[:n] + beta[n:]) @ design
        p = expit(ratio)
        residual = (varied * (1 - p) - nominal * p) @ design.T
        score = np.concatenate([x * residual, residual], axis=1)
        starts = np.flatnonzero(np.diff(events.groups[rows], prepend=-1))
        sums = np.add.reduceat(score, starts, axis=0)
        gradient += score.sum(axis=0)
        spread += sums.T @ sums
        curvature = (nominal + varied) * p * (1 - p)
        for b, own in enumerate(terms_of):
            part = np.concatenate(
                [x[:, own] * design[own, b], np.broadcast_to(design[own, b], (len(x), len(own)))],
                axis=1,
            )
            place = np.concatenate([own, n + own])
            hessian[np.ix_(place, place)] += (part * curvature[:, b : b + 1]).T @ part
    return _Sums(gradient, hessian, spread)


def response_closure(
    columns: FloatArray, scale: ResponseScale, events: ResponseEvents
) -> ResponseClosure:
    """Compute the means of the response over nominal events, and the yields of varied events.

    The errors of the results include the errors of the scale, because the scale is determined from
    fewer events than it is applied to.

    Parameters
    ----------
    columns
        Columns of the nominal events before scaling, shape (n_nominal, n_columns).
    scale
        Scale that was determined with other events.
    events
        Nominal and varied events.
    """
    design = events.base.design
    log_responses = (columns * scale.factors + scale.constants) @ design
    n_base = log_responses.shape[1]
    sums = np.zeros((2, n_base))
    for rows in events.in_groups():
        nominal, varied = events.dense(rows)
        sums += nominal.sum(axis=0), varied.sum(axis=0)
    used = sums[0] > 0  # no variation is at the others
    total = np.where(used, sums[0], 1.0)
    yields = np.where(used, sums[1] / total, 0.0)
    means, by_factors = np.zeros(n_base), np.zeros(design.shape)
    for rows in _nominal_blocks(events):
        shares = events.dense(rows)[0] * np.exp(log_responses[rows]) / total
        means += shares.sum(axis=0)
        by_factors += columns[rows].T @ shares
    slopes = np.concatenate([by_factors * design, design * means])
    square = np.zeros(n_base)
    for rows in events.in_groups():
        nominal, varied = events.dense(rows)
        own = rows < events.n_nominal
        difference = np.zeros_like(nominal)
        difference[own] = nominal[own] * np.exp(log_responses[rows[own]])
        # The total weight is the same in any set of events, so only deviations from the mean count.
        difference -= nominal * np.where(events.paired > 0, means - yields, means)
        difference -= varied * (events.paired > 0)
        starts = np.flatnonzero(np.diff(events.groups[rows], prepend=-1))
        square += np.sum(np.add.reduceat(difference, starts, axis=0) ** 2, axis=0)
    independent = np.where(events.paired > 0, 0.0, events.yield_errors)
    of_scale = np.einsum("pb,pq,qb->b", slopes, scale.covariance, slopes)
    errors = np.sqrt(square / total**2 + independent**2 + np.maximum(of_scale, 0.0))
    return ResponseClosure(means, yields, errors)


def closure_at_ends(
    columns: FloatArray,
    scale: ResponseScale,
    variations: ProcessVariations,
    base: BasePoints,
    terms: ResponseTerms,
) -> tuple[MeanAndYield, ...]:
    """Compare means and yields at the ends of the range of each parameter of interest.

    Parameters
    ----------
    columns, scale
        As for :func:`response_closure`.
    variations
        Nominal and varied events.
    base, terms
        Base points and terms of the response.

    Returns
    -------
    tuple
        One comparison for each end and each shift.  Empty if the response depends on the parameters
        of interest, or if fewer than two points in these parameters have enough events.
    """
    points = () if terms.parameters else _ends(variations)
    if not points:
        return ()
    design = np.tile(base.design, (1, len(points)))
    there = BasePoints(points, base.shifts, design)
    events = ResponseEvents.of(variations, there, terms.nuisances)
    closure = response_closure(columns, scale, events)
    places = [(point, shift) for point in points for shift in base.shifts.tolist()]
    return tuple(
        MeanAndYield(
            point=point,
            nuisances={n: x for n, x in zip(terms.nuisances, shift, strict=True) if x},
            mean=float(mean),
            ratio=float(ratio),
            error=float(error),
        )
        for (point, shift), mean, ratio, error in zip(places, *closure, strict=True)
        if error > 0  # there are such variations
    )


def _ends(variations: ProcessVariations) -> tuple[Point, ...]:
    """Return the points with the lowest and highest value of each parameter and enough events."""
    nominal = variations.nominal
    points = []
    for point, weights in weights_at_points(nominal):
        there = [s for s, w in zip(nominal, weights, strict=True) if w is not None]
        own = [w for w in weights if w is not None]
        own += [
            w if (w := weights_at(v.sample, point)) is not None else np.zeros(1)
            for v in variations.variations
            if any(variations.nominal_of(v) is s for s in there)
        ]
        if all(w.sum() > 0 and effective_number(w) >= _ENOUGH for w in own):
            points.append(point)
    if len(points) < 2:
        return ()
    ends = [
        find(points, key=lambda p, name=name: p[name])  # type: ignore[misc]
        for name in nominal.parameters
        for find in (min, max)
    ]
    return tuple(p for k, p in enumerate(ends) if p not in ends[:k])


def _nominal_blocks(events: ResponseEvents) -> Sequence[IntArray]:
    return np.split(np.arange(events.n_nominal), range(_ROWS, events.n_nominal, _ROWS))


def linear_size(
    parts: Iterable[ResponseEvents], base: BasePoints, mean: FloatArray, variance: FloatArray
) -> FloatArray:
    """Estimate the typical size of response columns by a fit linear in features and squares.

    Parameters
    ----------
    parts
        Training events, all together or in several parts.
    base
        Base points of the events.
    mean, variance
        Means and variances of the features.

    Returns
    -------
    ndarray
        Root mean square of each column over the nominal events, shape (n_columns,).
    """
    n_terms, design = 1 + 2 * len(mean), base.design
    matrix, vectors = np.zeros((n_terms, n_terms)), np.zeros((n_terms, len(design.T)))
    # With many features, a block of _ROWS would be larger than the events read from a stream.
    n_rows = max(1, min(_ROWS, _BLOCK_TERMS // n_terms))
    blocks = (
        (events, slice(start, start + n_rows))
        for events in parts
        for start in range(0, len(events), n_rows)
    )
    for events, rows in blocks:
        z = np.clip((events.features[rows] - mean) / np.sqrt(variance), -_LONGEST, _LONGEST)
        terms = np.concatenate([np.ones((len(z), 1)), z, z**2 - 1], axis=1)
        nominal, varied = events.dense(rows)
        vectors += terms.T @ (varied - nominal)
        matrix += (terms * np.abs(nominal).sum(axis=1, keepdims=True)).T @ terms
    # One Newton step for ln S at each base point; all base points have the same nominal weight.
    ratios = np.linalg.pinv(matrix, rcond=1e-6, hermitian=True) @ vectors * len(design.T)
    columns = ratios @ np.linalg.pinv(design)
    square = np.einsum("pc,pq,qc->c", columns, matrix, columns) / matrix[0, 0]
    size: FloatArray = np.sqrt(np.maximum(square, 0.0))
    return np.maximum(size, max(_SMALLEST, 1e-2 * float(size.max())))
