"""What the toys of one true point say to a belt: the statistic and its accepted values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.intervals.critical_values import critical_value
from milinfer.intervals.response import require_one_kind
from milinfer.likelihood.extrema import Bounds, Limits, restricted
from milinfer.likelihood.unseen import require_unseen_toys
from milinfer.toys.toys import ToyEnsemble
from milinfer.typing import FloatArray
from milinfer.utils.points import format_point

__all__ = [
    "Ordering",
    "accepted_ends",
    "bounded_estimates",
    "bounded_statistic",
    "levels_of",
    "require_alike",
    "true_points",
]

Ordering = Literal["likelihood-ratio", "central", "upper", "lower"]
_ORDERINGS = ("likelihood-ratio", "central", "upper", "lower")


def require_alike(ensembles: Sequence[ToyEnsemble], ordering: str) -> None:
    """Refuse toys that make no belt together, and orderings that are none.

    Raises
    ------
    CalibrationError
        With what differs.
    """
    if ordering not in _ORDERINGS:
        msg = f"ordering {ordering!r} is not one of {', '.join(map(repr, _ORDERINGS))}"
        raise CalibrationError(msg)
    require_one_kind(ensembles)
    require_unseen_toys(ensembles)
    first = ensembles[0]
    for e in ensembles:
        if e.interpolation.limits != first.interpolation.limits:
            msg = (
                f"toys of {e.model} at {format_point(e.point)} know Λ in {e.interpolation.limits}, "
                f"those at {format_point(first.point)} in {first.interpolation.limits}; they make "
                "no belt together"
            )
            raise CalibrationError(msg)
    if ordering != "likelihood-ratio" and len(first.point) > 1:
        msg = f"ordering {ordering!r} needs one parameter, not {', '.join(first.point)}"
        raise CalibrationError(msg)


def levels_of(cl: float | Sequence[float]) -> tuple[float, ...]:
    """One confidence level or several, as a tuple.

    Examples
    --------
    >>> levels_of(0.9)
    (0.9,)
    """
    return (float(cl),) if isinstance(cl, int | float) else tuple(float(c) for c in cl)


def true_points(
    ensembles: Sequence[ToyEnsemble], ordering: str, bounds: Bounds | None
) -> tuple[FloatArray, Limits]:
    """Truths of toys that make a belt together, (n, n_parameters), and the bounds of estimates.

    Raises
    ------
    CalibrationError
        If the toys make no belt together, or a truth is outside the bounds.
    """
    require_alike(ensembles, ordering)
    allowed = restricted(ensembles[0].interpolation.limits, bounds)
    points = np.array([tuple(e.point.values()) for e in ensembles], dtype=np.float64)
    low, high = np.array(allowed).T
    outside = ~np.all((points >= low) & (points <= high), axis=1)
    if outside.any():
        point = format_point(ensembles[int(np.argmax(outside))].point)
        msg = f"toys at {point} are outside bounds = {allowed}; leave that point out"
        raise CalibrationError(msg)
    return points, allowed


def _maximum(ensemble: ToyEnsemble, bounds: Limits) -> tuple[FloatArray, FloatArray]:
    whole = bounds == ensemble.interpolation.limits
    found = ensemble.extremum if whole else ensemble.interpolation.extrema(ensemble.values, bounds)
    return found.theta_hat, found.maximum


def bounded_statistic(ensemble: ToyEnsemble, bounds: Limits) -> FloatArray:
    """Likelihood-ratio statistic 2 [max Λ − Λ] at the truth, shape (n_toys,)."""
    _, maximum = _maximum(ensemble, bounds)
    truth = np.array([tuple(ensemble.point.values())])
    truth = truth[0] if truth.shape[1] == 1 else truth
    at = ensemble.interpolation.values_at(ensemble.values, truth)[:, 0]
    return np.maximum(2 * (maximum - at), 0.0)


def bounded_estimates(ensemble: ToyEnsemble, bounds: Limits) -> FloatArray:
    """θ̂ between bounds, shape (n_toys,) or (n_toys, n_parameters)."""
    return _maximum(ensemble, bounds)[0]


def accepted_ends(
    ensemble: ToyEnsemble, levels: Sequence[float], ordering: str, bounds: Limits
) -> list[tuple[float, float, float, float]]:
    """Ends of the accepted values of the statistic.

    Returns
    -------
    list
        Lower end, its error, upper end, its error, one row for each level.
    """
    if ordering == "likelihood-ratio":
        found = [critical_value(bounded_statistic(ensemble, bounds), c) for c in levels]
        return [(0.0, 0.0, c.value, c.error) for c in found]
    theta_hat = bounded_estimates(ensemble, bounds)
    quantile = partial(_quantile, theta_hat, _pool_error(ensemble))
    out = []
    for c in levels:
        tail = (1 - c) / 2 if ordering == "central" else 1 - c
        lower = (-np.inf, 0.0) if ordering == "lower" else quantile(tail)
        upper = (np.inf, 0.0) if ordering == "upper" else quantile(1 - tail)
        out.append((*lower, *upper))
    return out


def _quantile(theta_hat: FloatArray, pool_error: float, share: float) -> tuple[float, float]:
    # From its own side, each quantile leaves no more outside than its share.
    found = (
        critical_value(theta_hat, share) if share > 0.5 else critical_value(-theta_hat, 1 - share)
    )
    value = found.value if share > 0.5 else -found.value
    # All of the estimates at a bound: an atom, which the pool does not move.
    moved = pool_error if found.error > 0 else 0.0
    return value, float(np.hypot(found.error, moved))


def _pool_error(ensemble: ToyEnsemble) -> float:
    """Standard deviation by which the fluctuation of the pool moves all estimates."""
    of_toys = float(np.var(ensemble.theta_hat, ddof=1)) / ensemble.n_toys
    return float(np.sqrt(max(ensemble.mean_error**2 - of_toys, 0.0)))
