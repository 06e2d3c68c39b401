"""Checks that compare events of θ0, reweighted by r(x|θ), with events of θ.

They see what identities at one point cannot: a feature that the ratio leaves out, and a ratio that
is wrong only in some corner.  The tests themselves are in :mod:`milinfer.diagnostics.two_sample`.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from milinfer.diagnostics.checks import (
    ANY,
    MINIMUM,
    Check,
    Look,
    Outcome,
    critical_pull,
    effective_size,
    judge,
    pull_from_p,
    pull_of,
    worst,
)
from milinfer.diagnostics.held_out import HeldOut
from milinfer.diagnostics.two_sample import (
    Agreement,
    CalibrationCurve,
    FeatureClosure,
    Separation,
    calibration_curve,
    feature_closure,
    separation,
)
from milinfer.typing import FloatArray

__all__ = ["calibration_check", "closure_check", "separation_check"]

_ALONE = "There are samples at θ0 only; add some at other values."
_NO_POWER = (
    "The samples differ too little from the one at θ0, or are too small, to show "
    "a wrong ratio. More events, or values farther from θ0."
)


def closure_check(held: HeldOut) -> tuple[tuple[FeatureClosure, ...], Check]:
    """Distribution of every feature after reweighting from θ0 to the other samples."""
    name, tolerance = "closure", held.tolerances.closure
    if not held.others:
        return (), Check(name, "skipped", _ALONE)
    found = {
        i: feature_closure(
            float(held.thetas[i]), held.samples[i], held.samples[held.origin], _ratio(held, i)
        )
        for i in held.others
        if _enough(held, i)
    }
    every = tuple(c for closures in found.values() for c in closures)
    if not every:
        return (), Check(name, "undecided", _NO_POWER)
    critical = critical_pull(held.sigma, len(every))
    looks = []
    for closures in found.values():
        if not closures:
            continue
        difference = max(c.agreement.difference for c in closures)
        for c in closures:
            quantity = f"remaining in {c.feature}, {held.label(c.theta)}"
            looks.append(_look(quantity, c.agreement, difference, tolerance, critical))
    decisive = max(range(len(looks)), key=lambda k: (looks[k][0].outcome == "failed", looks[k][1]))
    outcome = worst([look for look, _ in looks], ANY).outcome
    look, pull = looks[decisive]
    feature = every[decisive].feature
    meaning = {
        "passed": "Events of θ0 with weights r look like events of θ in every feature, within the "
        "tolerance.",
        "failed": f"Reweighted events differ from those of θ, most in {feature}: the ratio is "
        "wrong there, or does not use it and loses its information.",
    }.get(outcome, _NO_POWER)
    return every, _check(name, look, pull, critical, meaning, outcome)


def separation_check(held: HeldOut, seed: int) -> tuple[tuple[Separation, ...], Check]:
    """A classifier cannot tell reweighted events of θ0 from events of θ."""
    name = "classifier"
    if not held.others:
        return (), Check(name, "skipped", _ALONE)
    found = [
        separation(
            float(held.thetas[i]),
            held.samples[i],
            held.samples[held.origin],
            _ratio(held, i),
            seed,
        )
        for i in held.others
        if _enough(held, i)
    ]
    separations = tuple(s for s in found if s is not None)
    if not separations:
        return (), Check(name, "undecided", _NO_POWER)
    critical = critical_pull(held.sigma, len(separations))
    looks = []
    for s in separations:
        visible = pull_of(max(s.before - 0.5, 0.0), s.before_error) > critical
        tolerance = held.tolerances.closure * max(s.before - 0.5, 0.0)
        outcome = judge(max(s.after - 0.5, 0.0), s.after_error, tolerance, critical)
        if outcome == "passed" and not visible:
            outcome = "undecided"
        quantity = f"AUC at {held.label(s.theta)}"
        looks.append(Look(quantity, s.after, s.after_error, 0.5, tolerance, outcome))
    look = worst(looks, ANY)
    before = separations[looks.index(look)].before
    meaning = {
        "passed": f"Without weights the AUC is {before:.3f}; weights r bring it to 0.5, within "
        "the tolerance.",
        "failed": f"Without weights the AUC is {before:.3f}; weights r should leave 0.5. The "
        "ratio misses or exaggerates differences.",
    }.get(look.outcome, f"Without weights the AUC is {before:.3f}. {_NO_POWER}")
    return separations, look.check(name, critical, meaning, look.outcome)


def calibration_check(held: HeldOut) -> tuple[tuple[CalibrationCurve, ...], Check]:
    """Among as many events of θ and θ0, a fraction r/(1 + r) of those with ratio r is of θ."""
    name, tolerance = "calibration", held.tolerances.closure
    usable = [i for i in held.others if _enough(held, i)]
    if not held.others:
        return (), Check(name, "skipped", _ALONE)
    if not usable:
        return (), Check(name, "undecided", _NO_POWER)
    critical = critical_pull(held.sigma, len(usable))
    curves, looks = [], []
    for i in usable:
        theta = float(held.thetas[i])
        llr = [held.value(i, theta), held.value(held.origin, theta)]
        curve = calibration_curve(theta, held.samples[i], held.samples[held.origin], llr)
        curves.append(curve)
        quantity = f"miscalibration at {held.label(theta)}"
        look, pull = _look(
            quantity, curve.agreement, curve.agreement.difference, tolerance, critical
        )
        if curve.agreement.dof == 0:  # one probability for all events
            wrong = bool(np.abs(curve.predicted - curve.observed).max() > 1e-6)
            look = look._replace(outcome="failed" if wrong else "undecided", value=np.nan)
        looks.append((look, pull))
    outcome = worst([look for look, _ in looks], ANY).outcome
    look, pull = max(looks, key=lambda one: (one[0].outcome == outcome, one[1]))
    meaning = {
        "passed": "Probabilities r/(1 + r) are the fractions that are observed, within the "
        "tolerance.",
        "failed": "Probabilities r/(1 + r) are not the fractions that are observed: r is too "
        "extreme, too timid or not normalised.",
    }.get(outcome, _NO_POWER)
    return tuple(curves), _check(name, look, pull, critical, meaning, outcome)


def _ratio(held: HeldOut, index: int) -> FloatArray:
    """r(x|θ) of the events of θ0, up to a factor: all that follows is normalised."""
    log_ratio = held.value(held.origin, float(held.thetas[index]))
    ratio: FloatArray = np.exp(log_ratio - log_ratio.max())
    return ratio


def _enough(held: HeldOut, index: int) -> bool:
    source = held.samples[held.origin].weights
    sizes = [source, source * _ratio(held, index), held.samples[index].weights]
    return min(float(effective_size(w)) for w in sizes) >= MINIMUM


def _look(
    quantity: str, agreement: Agreement, difference: float, tolerance: float, critical: float
) -> tuple[Look, float]:
    """Part of a difference that reweighting leaves, and the pull of the χ² that shows it."""
    left, pull = agreement.remaining(difference), pull_from_p(agreement.p_value)
    p_value = 2 * float(ndtr(-critical))
    outcome: Outcome = "undecided"
    if pull > critical and left > tolerance:
        outcome = "failed"
    elif agreement.would_show(tolerance, difference, p_value):
        outcome = "passed"
    error = difference**-0.5 if difference > 0 else float("inf")
    return Look(quantity, left, error, 0.0, tolerance, outcome), pull


def _check(
    name: str, look: Look, pull: float, critical: float, meaning: str, outcome: Outcome
) -> Check:
    return Check(
        name,
        outcome,
        meaning,
        look.quantity,
        look.value,
        look.error,
        look.expected,
        pull,
        critical,
        look.tolerance,
    )
