"""Check a likelihood ratio with single events: identities, and closure of reweighted events.

The identity E_θ0[r(x|θ)] = 1 holds because p(x|θ) is normalised.  Its first and its second
derivative with respect to θ are the Bartlett identities E_θ[∂λ] = 0 and E_θ[−∂²λ] = E_θ[(∂λ)²],
with λ = ln r.

The closure checks compare events simulated at θ0 and reweighted by r(x|θ) with events simulated at
θ.  They detect two errors that the identities do not show: a feature that the ratio ignores, and a
ratio that is wrong only in a small region of the features.  The tests themselves are in
:mod:`milinfer.diagnostics.two_sample`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from milinfer.diagnostics.checks import (
    ALL,
    ANY,
    MINIMUM,
    Check,
    Look,
    Outcome,
    critical_pull,
    distortion,
    judge,
    width_meaning,
    worst,
)
from milinfer.diagnostics.held_out import HeldOut
from milinfer.diagnostics.two_sample import (
    CalibrationCurve,
    FeatureClosure,
    Separation,
    calibration_curve,
    feature_closure,
    separation,
)
from milinfer.diagnostics.two_sample_looks import (
    closure_look,
    most_significant,
    separation_look,
)
from milinfer.samples.weights import WeightSums, effective_number, weighted_mean, weighted_ratio
from milinfer.typing import FloatArray

__all__ = [
    "NormalisationScan",
    "bartlett_check",
    "calibration_check",
    "closure_check",
    "normalisation_check",
    "range_check",
    "score_check",
    "separation_check",
]


_AT_REFERENCE = 1e-9
_ROUNDING = 1e-9  # of a mean of ratios
_LARGEST_LOG = 300.0  # squares of larger ratios overflow; their effective size is 0 long before


class NormalisationScan(NamedTuple):
    """E_θ0[r(x|θ_k)] at the points of a grid, its errors, and the effective numbers of events."""

    grid: FloatArray
    mean: FloatArray
    error: FloatArray
    effective: FloatArray


def normalisation_check(held_out: HeldOut) -> tuple[NormalisationScan, Check]:
    """Check that E_θ0[r(x|θ_k)] = 1 at every point of the grid.

    If E[r] is not 1, Λ of n events changes by n ln E[r].  Near θ0 even a change that is small
    compared with ½ matters for an interval; far from θ0, where Λ is large, only a larger change
    matters.
    """
    grid, weights = held_out.interpolation.grid, held_out.samples[held_out.origin].weights
    log_ratio = np.stack([held_out.value(held_out.origin, float(t)) for t in grid], axis=1)
    ratio = np.exp(np.minimum(log_ratio, _LARGEST_LOG))
    mean, error = weighted_mean(ratio, weights)
    effective = WeightSums.over(weights[:, None] * ratio).effective_number()
    critical = critical_pull(held_out.sigma, len(grid) - 1)
    most = held_out.tolerances.normalisation
    tolerances = [
        max(min(most, distortion(z, held_out.tolerances) / held_out.n_events), _ROUNDING)
        for z in held_out.distances(grid).tolist()
    ]
    looks = [
        Look(
            quantity=f"E[r] at {held_out.label(t)}",
            value=float(m),
            error=float(e),
            expected=1.0,
            tolerance=tolerance,
            outcome=judge(m - 1, e, tolerance, critical, enough=n >= MINIMUM),
        )
        for t, m, e, n, tolerance in zip(grid, mean, error, effective, tolerances, strict=True)
        if abs(t - held_out.reference) > _AT_REFERENCE  # at the reference r is 1 by definition
    ]
    away = grid[np.abs(grid - held_out.reference) > _AT_REFERENCE]
    reached = [float(t) for t, look in zip(away, looks, strict=True) if look.outcome == "passed"]
    confirmed = f"[{min(reached):g}, {max(reached):g}]" if reached else ""
    reach = f"; the normalisation is confirmed only in {confirmed}" if reached else ""
    fewest = float(effective.min())
    look = worst(looks, ALL)
    events = held_out.n_events
    off = events * abs(np.log(look.value)) if look.value > 0 else np.inf
    few = fewest < MINIMUM
    meaning = {
        "passed": (
            f"E[r] is 1, as for normalised densities, precisely enough for Λ of {events} events."
        ),
        "failed": f"r(x|θ) is not normalised, so Λ of {events} events is off by {off:.2g} at "
        "this value. Use toys for intervals (mil.calibrate), and do not reweight events with r.",
    }.get(
        look.outcome,
        f"Too few events have large weights r (at worst {fewest:.0f} effective events){reach}. Use "
        "more events at θ0, or a smaller range."
        if few or look.tolerance == most
        else f"Too few events at θ0 to measure Λ of {events} events to "
        f"{events * look.tolerance:.2g} at this value{reach}.",
    )
    return (
        NormalisationScan(grid, mean, error, effective),
        look.check("normalisation", critical, meaning, look.outcome),
    )


def score_check(held_out: HeldOut) -> Check:
    """Check that E_θ[∂λ/∂θ] = 0 at the value of every sample (first Bartlett identity).

    A mean score that is not 0 causes a bias of θ̂.  The check gives this bias divided by the
    standard error of θ̂ from one dataset: sqrt(n_events) E[∂λ]/sd(∂λ).  The curvature cancels in
    this number.
    """
    critical = critical_pull(held_out.sigma, len(held_out.samples))
    tolerance = held_out.tolerances.bias
    looks = []
    for i, theta in enumerate(held_out.thetas):
        weights = held_out.samples[i].weights
        score = held_out.value(i, theta, 1)
        mean, error = (float(a) for a in weighted_mean(score, weights))
        spread = np.sqrt(max(float(weighted_mean((score - mean) ** 2, weights)[0]), 0.0))
        enough = effective_number(weights) >= MINIMUM
        if spread <= held_out.rounding:
            blind: Outcome = "failed" if abs(mean) > held_out.rounding else "undecided"
            looks.append(
                Look(
                    quantity=f"score without spread at {held_out.label(theta)}",
                    value=np.nan,
                    error=np.nan,
                    expected=0.0,
                    tolerance=tolerance,
                    outcome=blind,
                )
            )
            continue
        scale = np.sqrt(held_out.n_events) / spread
        looks.append(
            Look(
                quantity=f"bias/σ at {held_out.label(theta)}",
                value=scale * mean,
                error=scale * error,
                expected=0.0,
                tolerance=tolerance,
                outcome=judge(scale * mean, scale * error, tolerance, critical, enough=enough),
            )
        )
    look = worst(looks, ALL)
    meaning = {
        "passed": f"Estimates from {held_out.n_events} events are unbiased.",
        "failed": f"Estimates from {held_out.n_events} events are biased. Correct them with toys "
        "(mil.calibrate), or train with more events.",
    }.get(look.outcome, f"Too few events to detect a bias of {tolerance:g} standard errors.")
    if np.isnan(look.value):
        meaning = "∂λ/∂θ is the same for every event: the ratio ignores the data."
    return look.check("score", critical, meaning, look.outcome)


def bartlett_check(held_out: HeldOut) -> Check:
    """Check that E[−∂²λ] = E[(∂λ)²] for events at θ0 (second Bartlett identity).

    If the response of the estimate is 1, E[−∂²λ]/E[(∂λ)²] equals the Bartlett ratio I_curv/I_eff,
    because Var(θ̂) = E[(∂λ)²] / (n_events E[−∂²λ]²).
    """
    theta, weights = held_out.reference, held_out.samples[held_out.origin].weights
    square = np.square(held_out.value(held_out.origin, theta, 1))
    bend = -held_out.value(held_out.origin, theta, 2)
    name, quantity = "event Bartlett", f"E[−λ″]/E[λ′²] at {held_out.label(theta)}"
    tolerance = held_out.tolerances.bartlett
    enough = effective_number(weights) >= MINIMUM
    if np.sqrt(square.max()) <= held_out.rounding:
        return Check(
            name,
            "failed" if np.abs(bend).max() > held_out.rounding else "undecided",
            "The slope of λ at θ0 is zero for every event: the ratio ignores the data there.",
            quantity,
        )
    ratio, error = weighted_ratio(bend, square, weights)
    outcome = judge(ratio - 1, error, tolerance, held_out.sigma, enough=enough)
    look = Look(
        quantity=quantity,
        value=ratio,
        error=error,
        expected=1.0,
        tolerance=tolerance,
        outcome=outcome,
    )
    meaning = width_meaning(look, 1 / ratio if ratio > 0 else 0.0)
    return look.check(name, held_out.sigma, meaning, outcome)


def range_check(held_out: HeldOut) -> Check:
    """Check that few events are more than five standard deviations from the training mean."""
    fitted = getattr(held_out.model, "fitted", None)
    if not all(hasattr(fitted, name) for name in ("mean", "variance", "feature_names")):
        reason = "The model does not give the mean and variance of its training data."
        return Check("training range", "skipped", reason)
    names = list(fitted.feature_names)  # type: ignore[union-attr]  # checked above
    mean, variance = (np.asarray(getattr(fitted, n), dtype=float) for n in ("mean", "variance"))
    critical = critical_pull(held_out.sigma, len(names))
    tolerance = held_out.tolerances.outside
    looks = []
    for k, name in enumerate(names):
        far = [
            np.abs(s.column(name) - mean[k]) > 5 * np.sqrt(variance[k]) for s in held_out.samples
        ]
        pairs = [
            weighted_mean(f.astype(np.float64), s.weights)
            for f, s in zip(far, held_out.samples, strict=True)
        ]
        value = float(np.mean([m for m, _ in pairs]))
        error = float(np.sqrt(sum(e**2 for _, e in pairs)) / len(pairs))
        outcome = judge(value, error, tolerance, critical)
        # No fraction is expected, so there is no pull.
        looks.append(
            Look(
                quantity=f"fraction of {name} far out",
                value=value,
                error=error,
                expected=np.nan,
                tolerance=tolerance,
                outcome=outcome,
            )
        )
    look = max(looks, key=lambda one: (one.outcome == "failed", one.value))
    outcome = worst(looks, ALL).outcome
    meaning = {
        "passed": "The events are inside the training range.",
        "failed": (
            f"The values of {look.quantity.split()[2]} differ from those that the model was "
            "trained on. Check units and selection."
        ),
    }.get(outcome, "Too few events to tell whether they are inside the training range.")
    return look.check("training range", critical, meaning, outcome)


_ALONE = "There are samples only at θ0; add samples at other values."
_NO_POWER = (
    "The test is not sensitive: the samples are too small, or too similar to the sample at θ0. Use "
    "more events, or samples farther from θ0."
)


def closure_check(held_out: HeldOut) -> tuple[tuple[FeatureClosure, ...], Check]:
    """Check that events of θ0, reweighted by r, agree with every other sample in each feature."""
    name, tolerance = "closure", held_out.tolerances.closure
    if not held_out.others:
        return (), Check(name, "skipped", _ALONE)
    closures_by_sample = {
        i: feature_closure(
            float(held_out.thetas[i]),
            held_out.samples[i],
            held_out.samples[held_out.origin],
            _ratio(held_out, i),
        )
        for i in held_out.others
        if _enough(held_out, i)
    }
    all_closures = tuple(c for closures in closures_by_sample.values() for c in closures)
    if not all_closures:
        return (), Check(name, "undecided", _NO_POWER)
    critical = critical_pull(held_out.sigma, len(all_closures))
    looks = []
    for closures in closures_by_sample.values():
        if not closures:
            continue
        difference = max(c.agreement.difference for c in closures)
        for c in closures:
            quantity = f"remaining in {c.feature}, {held_out.label(c.theta)}"
            looks.append(closure_look(quantity, c.agreement, difference, tolerance, critical))
    decisive = most_significant(looks)
    outcome = worst(looks, ANY).outcome
    look = looks[decisive]
    feature = all_closures[decisive].feature
    meaning = {
        "passed": (
            "Events at θ0, weighted by r, agree with events at θ in every feature, within the "
            "tolerance."
        ),
        "failed": (
            f"Events at θ0, weighted by r, differ from events at θ, most in {feature}: the ratio "
            "is wrong in this feature, or ignores it and loses its information."
        ),
    }.get(outcome, _NO_POWER)
    return all_closures, look.check(name, critical, meaning, outcome)


def separation_check(held_out: HeldOut, seed: int) -> tuple[tuple[Separation, ...], Check]:
    """Check that no classifier can separate events of θ0, reweighted by r, from events of θ."""
    name = "classifier"
    if not held_out.others:
        return (), Check(name, "skipped", _ALONE)
    results = [
        separation(
            float(held_out.thetas[i]),
            held_out.samples[i],
            held_out.samples[held_out.origin],
            _ratio(held_out, i),
            seed,
        )
        for i in held_out.others
        if _enough(held_out, i)
    ]
    separations = tuple(s for s in results if s is not None)
    if not separations:
        return (), Check(name, "undecided", _NO_POWER)
    critical = critical_pull(held_out.sigma, len(separations))
    tolerance = held_out.tolerances.closure
    looks = [
        separation_look(f"AUC at {held_out.label(s.theta)}", s, tolerance, critical)
        for s in separations
    ]
    look = worst(looks, ANY)
    before = separations[looks.index(look)].before
    meaning = {
        "passed": f"Between θ and θ0 a classifier has an AUC of {before:.3f}; weights r bring it "
        "to 0.5, within the tolerance.",
        "failed": f"Between θ and θ0 a classifier has an AUC of {before:.3f}. With weights r it "
        "should be 0.5: the ratio misses or exaggerates differences.",
    }.get(look.outcome, f"Between θ and θ0 a classifier has an AUC of {before:.3f}. {_NO_POWER}")
    return separations, look.check(name, critical, meaning, look.outcome)


def calibration_check(held_out: HeldOut) -> tuple[tuple[CalibrationCurve, ...], Check]:
    """Check that, if θ and θ0 are equally likely, r/(1 + r) is the probability of θ."""
    name, tolerance = "calibration", held_out.tolerances.closure
    usable = [i for i in held_out.others if _enough(held_out, i)]
    if not held_out.others:
        return (), Check(name, "skipped", _ALONE)
    if not usable:
        return (), Check(name, "undecided", _NO_POWER)
    critical = critical_pull(held_out.sigma, len(usable))
    curves, looks = [], []
    for i in usable:
        theta = float(held_out.thetas[i])
        llr = [held_out.value(i, theta), held_out.value(held_out.origin, theta)]
        curve = calibration_curve(
            theta, held_out.samples[i], held_out.samples[held_out.origin], llr
        )
        curves.append(curve)
        quantity = f"miscalibration at {held_out.label(theta)}"
        look = closure_look(
            quantity, curve.agreement, curve.agreement.difference, tolerance, critical
        )
        if curve.agreement.dof == 0:  # one probability for all events
            wrong = bool(np.abs(curve.predicted - curve.observed).max() > 1e-6)
            look = look._replace(outcome="failed" if wrong else "undecided", value=np.nan)
        looks.append(look)
    outcome = worst(looks, ANY).outcome
    look = max(looks, key=lambda one: (one.outcome == outcome, one.pull))
    meaning = {
        "passed": (
            "Probabilities r/(1 + r) of θ agree with the observed fractions, within the tolerance."
        ),
        "failed": (
            "Probabilities r/(1 + r) of θ differ from the observed fractions: r is too extreme, "
            "too "
            "close to 1, or not normalised."
        ),
    }.get(outcome, _NO_POWER)
    return tuple(curves), look.check(name, critical, meaning, outcome)


def _ratio(held_out: HeldOut, index: int) -> FloatArray:
    """r(x|θ) of the events of θ0, up to a factor, as all results are normalised."""
    log_ratio = held_out.value(held_out.origin, float(held_out.thetas[index]))
    ratio: FloatArray = np.exp(log_ratio - log_ratio.max())
    return ratio


def _enough(held_out: HeldOut, index: int) -> bool:
    """Whether the samples at θ and θ0, and the latter reweighted, have enough events."""
    source = held_out.samples[held_out.origin].weights
    sizes = [source, source * _ratio(held_out, index), held_out.samples[index].weights]
    return min(effective_number(w) for w in sizes) >= MINIMUM
