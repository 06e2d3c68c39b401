"""Check a model with pseudo-experiments (toys): response, I_curv/I_eff, and shape of surfaces.

For datasets, the second Bartlett identity says I_curv = I_eff ([AS], eq. 17).  In [AS], §C.2, all
learned ratios violate it; surfaces with steps, from parametrised and multi-class networks, are
shown in §4.3 (Fig. 3) and §C.4 (Fig. 5).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from milinfer.diagnostics.checks import Check, Look, Outcome, critical_pull, judge, width_meaning
from milinfer.diagnostics.held_out import HeldOut
from milinfer.intervals.information import information
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import effective_number, weighted_mean
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.toys import Toys
from milinfer.typing import BoolArray

__all__ = ["surface_is_bad", "toy_checks"]

_NEAR = 4.5  # distance below the maximum of Λ up to which a point belongs to a 3σ interval
_ROUGH = 0.5  # change of Λ that moves the end of a 1σ interval by half of its length
_AT_EDGE = 0.01  # largest share of toys with their maximum at an end of the range
_SAME = 1e-6  # spread of estimates, as a part of the range, that counts as none
_CONFINED = 8.0  # standard errors between θ0 and the nearer end of the range
_FEWEST_TOYS = 100
_SMALLEST_POOL = 20  # datasets that a pool must hold, for toys not to repeat the same events


def toy_checks(held_out: HeldOut, n_toys: int, seed: int) -> tuple[Check, Check, Check]:
    """Check the response, I_curv/I_eff and the surfaces of pseudo-experiments at θ0."""
    pools = [float(effective_number(s.weights)) for s in held_out.samples]
    obstacle = _obstacle(held_out, n_toys, pools[held_out.origin])
    if obstacle is not None:
        return _three_checks(obstacle, _surface_check(held_out, obstacle))
    generator = Toys(SampleSet(held_out.samples), held_out.n_events, seed)
    toys = generator.run([held_out], held_out.reference, n_toys)[held_out.name]
    surfaces = _surface_check(held_out, toys)
    spread = float(np.std(toys.theta_hat, ddof=1))
    edge = float(np.mean(toys.extremum.at_edge))
    if spread <= _SAME * np.ptp(held_out.interpolation.grid):
        reason = "Every dataset gives the same estimate: Λ(θ) does not depend on the data."
        return _three_checks(Check("", "failed", reason), surfaces)
    if edge > _AT_EDGE:
        reason = (
            f"In {edge:.0%} of the toys the estimate is at an end of the range, so the response "
            "cannot be measured."
        )
        return _three_checks(Check("", "undecided", reason), surfaces)
    near = []
    for i in _neighbours(held_out, spread, pools):
        ensemble = generator.run([held_out], held_out.thetas[i], n_toys)[held_out.name]
        moves = np.std(ensemble.theta_hat) > _SAME * np.ptp(held_out.interpolation.grid)
        if moves and np.mean(ensemble.extremum.at_edge) <= _AT_EDGE:
            near.append(ensemble)
    measured = information(toys, [toys, *near] if near else [])
    look = Look(
        quantity=f"dE[θ̂]/dθ at {held_out.label(held_out.reference)}",
        value=measured.response,
        error=measured.response_error,
        expected=1.0,
        tolerance=held_out.tolerances.response,
        outcome=judge(
            measured.response - 1,
            measured.response_error,
            held_out.tolerances.response,
            held_out.sigma,
        ),
    )
    meaning = {
        "passed": "The mean estimate follows the true value.",
        "failed": (
            "The mean estimate changes too little (below 1) or too much with the true value. "
            "Correct "
            "it with mil.calibrate; uncalibrated intervals do not have correct coverage away from "
            "θ0."
        ),
    }.get(look.outcome, "Too few toys or events to measure the response.")
    response = look.check("response", held_out.sigma, meaning, look.outcome)
    if not near:
        reason = "No sample at another value is far enough from the ends of the range for toys."
        response = Check("response", "undecided", reason)
    ratio, error = measured.bartlett_ratio, measured.bartlett_ratio_error
    look = Look(
        quantity=f"I_curv/{'I_eff' if near else 'I_MLE'} of {held_out.n_events} events",
        value=ratio,
        error=error,
        expected=1.0,
        tolerance=held_out.tolerances.bartlett,
        outcome=judge(ratio - 1, error, held_out.tolerances.bartlett, held_out.sigma),
    )
    return (
        response,
        look.check("toy Bartlett", held_out.sigma, width_meaning(look, ratio), look.outcome),
        surfaces,
    )


def surface_is_bad(toys: ToyEnsemble) -> BoolArray:
    """Tell for each toy whether its Λ(θ) lacks a single smooth maximum, shape (n_toys,).

    The surface Λ(θ) of a toy is bad in three cases: its maximum is at an end of the range; it has
    more than one local maximum; or Λ at a grid point differs by more than 0.5 from the
    interpolation.  For the last two, only the region counts in which Λ is at most 4.5 below its
    maximum (a 3σ interval).

    Examples
    --------
    >>> from milinfer.likelihood.models import ModelTag
    >>> from milinfer.likelihood.surface import Interpolation
    >>> grid = Interpolation(np.linspace(-1, 1, 9), "spline")
    >>> values = np.array([-20 * grid.grid**2, -20 * np.abs(grid.grid**2 - 0.25), 9 * grid.grid])
    >>> toys = ToyEnsemble(ModelTag("m"), {"mu": 0.0}, grid, values, 100, False, 100, "", 0)
    >>> surface_is_bad(toys)
    array([False,  True,  True])
    """
    continuation, raw = toys.interpolation, toys.values
    low, high = toys.range
    fine = np.linspace(low, high, 16 * len(continuation.grid) + 1)
    bad = np.empty(toys.n_toys, dtype=np.bool_)
    for start in range(0, toys.n_toys, 500):
        rows = slice(start, start + 500)
        n = len(raw[rows])
        on_fine = continuation.evaluate(raw[rows], np.broadcast_to(fine, (n, len(fine))))
        on_grid = continuation.evaluate(
            raw[rows], np.broadcast_to(continuation.grid, (n, len(continuation.grid)))
        )
        wall = np.full((n, 1), -np.inf)
        padded = np.concatenate([wall, on_fine, wall], axis=1)
        # Equal neighbours count as two maxima: a plateau has no single one.
        peak = (on_fine >= padded[:, :-2]) & (on_fine >= padded[:, 2:])
        peak &= on_fine >= on_fine.max(axis=1, keepdims=True) - _NEAR
        near = raw[rows] >= raw[rows].max(axis=1, keepdims=True) - _NEAR
        rough = near & (np.abs(on_grid - raw[rows]) > _ROUGH)
        bad[rows] = (peak.sum(axis=1) > 1) | rough.any(axis=1)
    return bad | toys.extremum.at_edge


def _obstacle(held_out: HeldOut, n_toys: int, pool: float) -> Check | None:
    """Check that explains why toys cannot be used; None if they can."""
    if n_toys == 0:
        return Check("", "skipped", "No toys were asked for (n_toys=0).")
    if n_toys < _FEWEST_TOYS:
        return Check("", "undecided", f"{n_toys} toys are too few; {_FEWEST_TOYS} are needed.")
    if np.any(held_out.samples[held_out.origin].weights < 0):
        reason = (
            "Some events have negative weights, so toys drawn from them fluctuate more than data."
        )
        return Check("", "skipped", reason)
    if pool < _SMALLEST_POOL * held_out.n_events:
        reason = (
            f"There are {pool:.0f} effective held-out events, too few for toys of "
            f"{held_out.n_events} events, which need {_SMALLEST_POOL} times as many."
        )
        return Check("", "undecided", reason)
    if held_out.confinement < _CONFINED:
        # Even exact surfaces of so few events have several maxima, and maxima at the ends.
        reason = (
            f"The standard error of an estimate from {held_out.n_events} events is too large for "
            "the range, so no asymptotic interval is valid. Use more events (n_events=), or a "
            "wider range."
        )
        return Check("", "undecided", reason)
    return None


def _surface_check(held_out: HeldOut, toys: ToyEnsemble | Check) -> Check:
    """Check for a concave mean surface and, with toys, for single smooth maxima."""
    remedy = "Use logits that are polynomials in θ (degree=), or a wider range."
    misshapen = _mean_is_misshapen(held_out)
    if isinstance(toys, Check):
        if not misshapen:
            return replace(toys, name="surfaces")
        reason = (
            f"The mean of Λ over events at θ0 has no concave maximum inside the range. {remedy}"
        )
        return Check("surfaces", "failed", reason)
    bad = surface_is_bad(toys)
    fraction, n = float(bad.mean()), toys.n_toys
    error = float(np.sqrt(max(fraction * (1 - fraction), 1 / n) / n))
    tolerance = held_out.tolerances.surfaces
    outcome: Outcome = "failed" if misshapen else judge(fraction, error, tolerance, held_out.sigma)
    meaning = {
        "passed": "Λ(θ) has one smooth maximum inside the range, as it should.",
        "failed": (
            "Λ(θ) of too many toys has steps, several maxima or its maximum at an end of the "
            "range, "
            f"so that it is no parabola and gives no interval. {remedy}"
        ),
    }.get(outcome, "Too few toys to tell.")
    look = Look(
        quantity="fraction of bad surfaces",
        value=fraction,
        error=error,
        expected=0.0,
        tolerance=tolerance,
        outcome=outcome,
    )
    return look.check("surfaces", held_out.sigma, meaning, outcome)


def _mean_is_misshapen(held_out: HeldOut) -> bool:
    """Whether E_θ0[λ] significantly has its maximum at an end, or is not concave around it.

    Slopes must fall along the five grid points around the maximum.  A rise by a fifth of the
    steepest slope is allowed, since an exact mean surface flattens far from θ0.
    """
    grid, weights = held_out.interpolation.grid, held_out.samples[held_out.origin].weights
    slopes = np.diff(held_out.tables[held_out.origin], axis=1) / np.diff(grid)
    mean, error = weighted_mean(slopes, weights)
    critical = critical_pull(held_out.sigma, 5)
    surface, _ = weighted_mean(held_out.tables[held_out.origin], weights)
    best = int(np.argmax(surface))
    if best in (0, len(grid) - 1):
        last = 0 if best == 0 else -1
        return bool(abs(mean[last]) > max(critical * error[last], held_out.rounding))
    around = slice(max(best - 2, 0), best + 2)
    rise, error = weighted_mean(np.diff(slopes[:, around], axis=1), weights)
    allowed = 0.2 * np.abs(mean[around]).max() + critical * error + held_out.rounding
    return bool(np.any(rise > allowed))


def _neighbours(held_out: HeldOut, spread: float, pools: list[float]) -> list[int]:
    """Nearest sample on each side of θ0 at four standard errors or more, else the farthest."""
    chosen = []
    for side in (-1, 1):
        usable = [
            i
            for i in held_out.others
            if side * (held_out.thetas[i] - held_out.reference) > 0
            and pools[i] >= _SMALLEST_POOL * held_out.n_events
            and not np.any(held_out.samples[i].weights < 0)
        ]
        usable.sort(key=lambda i: abs(held_out.thetas[i] - held_out.reference))
        far = [i for i in usable if abs(held_out.thetas[i] - held_out.reference) >= 4 * spread]
        chosen += far[:1] or usable[-1:]
    return chosen


def _three_checks(check: Check, surfaces: Check) -> tuple[Check, Check, Check]:
    """Give the same outcome to both checks that need estimates; the third is about surfaces."""
    return replace(check, name="response"), replace(check, name="toy Bartlett"), surfaces
