"""Check a response to nuisance parameters with nominal and varied events that it has not seen.

Weights with an exact response S(x; α) turn nominal events into varied events.  The mean of S is
then the yield of the varied events divided by the yield of the nominal events.  In every feature,
nominal events with weights S have the distribution of the varied events, and no classifier can
separate the two.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    judge,
    worst,
)
from milinfer.diagnostics.held_out_response import (
    Halves,
    HeldOutResponse,
    VariedEvents,
    YieldComparison,
    label_of,
    response_of,
    theta_of,
)
from milinfer.diagnostics.two_sample import (
    FeatureClosure,
    Separation,
    common_edges,
    feature_closure,
    separation,
)
from milinfer.diagnostics.two_sample_looks import (
    closure_look,
    most_significant,
    separation_look,
)
from milinfer.likelihood.code4 import log_interpolation
from milinfer.likelihood.response_terms import ResponseTable
from milinfer.samples.weights import effective_number, weighted_mean
from milinfer.typing import FloatArray, Point
from milinfer.utils.display import shortened
from milinfer.utils.points import format_point

__all__ = [
    "ResponseClosure",
    "ResponseSeparation",
    "YieldCurve",
    "dependence_check",
    "expected_yield_check",
    "extrapolation_check",
    "factorisation_check",
    "response_closure_check",
    "response_separation_check",
    "yield_check",
    "yield_curves",
]

_RANDOM_POINTS = 30
_RANDOM_RANGE = 2.0
_SMALLEST_FRACTION = 0.2
_INSIDE = np.linspace(-0.9, 0.9, 13)
_CURVE_POINTS = 25
_NO_POWER = (
    "The test is not sensitive: there are too few varied events, or they are too similar to the "
    "nominal events. Use more events, or variations at ±2."
)


class ResponseClosure(NamedTuple):
    """Histograms of one feature: varied events, and nominal events without and with weights S.

    Parameters
    ----------
    nuisances, point
        Shifts of the varied events, and the parameter point.
    histogram
        The histograms and their comparison; the varied events are the target.
    """

    nuisances: Point
    point: Point
    histogram: FeatureClosure


class ResponseSeparation(NamedTuple):
    """Classifier between varied events and nominal events without and with weights S.

    Parameters
    ----------
    nuisances, point
        Shifts of the varied events, and the parameter point.
    areas
        Areas under the ROC curve (AUC) without and with the weights.
    """

    nuisances: Point
    point: Point
    areas: Separation


class YieldCurve(NamedTuple):
    """Expected yield divided by the nominal yield, as a function of one nuisance parameter."""

    nuisance: str
    alpha: FloatArray
    mean: FloatArray
    error: FloatArray


def yield_curves(held_out: HeldOutResponse) -> tuple[YieldCurve, ...]:
    """Return κ(α), the expected yield that fits use, for each nuisance parameter alone."""
    terms, expected = held_out.response.terms, held_out.response.expected
    theta = held_out.expected_theta(held_out.reference)
    curves = []
    for k, (name, (low, high)) in enumerate(zip(terms.nuisances, terms.limits, strict=True)):
        alpha = np.linspace(low, high, _CURVE_POINTS)
        rows = np.zeros((len(alpha), len(terms.nuisances)))
        rows[:, k] = alpha
        mean = np.exp([expected.log_yield(row, theta).value for row in rows])
        error = mean * [expected.error(row, theta) for row in rows]
        curves.append(YieldCurve(name, alpha, mean, error))
    return tuple(curves)


def yield_check(held_out: HeldOutResponse) -> tuple[tuple[YieldComparison, ...], Check]:
    """Check that E[S] is the yield ratio of each variation of a single nuisance parameter."""
    events = [e for e in held_out.here if e.n_shifted == 1]
    tested = {n for e in events for n, value in e.variation.nuisances.items() if value}
    untested = [n for n in held_out.response.nuisances if n not in tested]
    critical = critical_pull(held_out.sigma, len(events))
    comparisons, looks = _yield_looks(held_out, events, critical)
    looks += [
        Look(
            quantity=f"no variation of {name} alone",
            value=np.nan,
            error=np.nan,
            expected=np.nan,
            tolerance=held_out.tolerance,
            outcome="undecided",
        )
        for name in untested
    ]
    look = worst(looks, ALL)
    meaning = {
        "passed": (
            "The mean of S agrees with the yield of the varied events relative to the nominal "
            "yield."
        ),
        "failed": "The response changes the yield by a wrong amount, and the error matters for "
        f"{held_out.n_events} events. Train with more events, or a higher degree=.",
    }.get(
        look.outcome,
        "Too few events to measure the yields of the varied samples to "
        f"{held_out.tolerance:.2g}, as datasets of {held_out.n_events} events require.",
    )
    if look.outcome == "undecided" and untested:
        meaning = f"No variation shifts {', '.join(untested)} alone. Add such variations."
    return comparisons, look.check("yields", critical, meaning, look.outcome)


def _yield_looks(
    held_out: HeldOutResponse, events: Sequence[VariedEvents], critical: float
) -> tuple[tuple[YieldComparison, ...], list[Look]]:
    comparisons, looks = [], []
    for e in events:
        found = e.yields()
        comparisons.append(found)
        deviation = found.predicted - found.value
        outcome = judge(
            deviation, found.difference_error, held_out.tolerance, critical, enough=e.enough
        )
        looks.append(
            Look(
                quantity=f"E[S] at {e.label}",
                value=found.predicted,
                error=found.difference_error,
                expected=found.value,
                tolerance=held_out.tolerance,
                outcome=outcome,
            )
        )
    return tuple(comparisons), looks


def expected_yield_check(held_out: HeldOutResponse) -> Check:
    """Check ln κ at points at which all nuisance parameters are shifted together."""
    name, response = "expected yield", held_out.response
    limits = np.array(response.terms.limits)
    sources = held_out.sources
    n_looks = max(_RANDOM_POINTS, len(sources))
    rng = np.random.default_rng(held_out.seed)
    alphas = rng.uniform(-_RANDOM_RANGE, _RANDOM_RANGE, (n_looks, len(limits)))
    alphas = np.clip(alphas, limits[:, 0], limits[:, 1])
    critical = critical_pull(held_out.sigma, n_looks)
    looks = []
    for number, alpha in enumerate(alphas):
        sample, table = sources[number % len(sources)]
        theta = held_out.expected_theta(sample.point)
        values = response_of(table, alpha, sample.point)
        mean, mean_error = (float(a) for a in weighted_mean(values, sample.weights))
        with np.errstate(invalid="ignore", divide="ignore"):
            direct = float(np.log(mean))
        kappa = response.expected.log_yield(alpha, theta).value
        error = float(np.hypot(response.expected.error(alpha, theta), mean_error / abs(mean)))
        enough = effective_number(values * sample.weights) >= MINIMUM
        shifts = dict(zip(response.nuisances, alpha.round(2).tolist(), strict=True))
        looks.append(
            Look(
                quantity=f"ln κ at {label_of(shifts, sample.point)}",
                value=kappa,
                error=error,
                expected=direct,
                tolerance=held_out.tolerance,
                outcome=judge(kappa - direct, error, held_out.tolerance, critical, enough=enough),
            )
        )
    look = worst(looks, ALL)
    meaning = {
        "passed": "The expected yield is right if all nuisance parameters are shifted together.",
        "failed": (
            "If all nuisance parameters are shifted together, the expected yield that fits use "
            "differs from the mean of S. Either it was computed from other events or at other "
            "parameters, or the product of three effects, which it leaves out, matters for "
            f"{held_out.n_events} events."
        ),
    }.get(
        look.outcome,
        f"Too few events to measure the expected yield to {held_out.tolerance:.2g} if all nuisance "
        f"parameters are shifted together, as datasets of {held_out.n_events} events require.",
    )
    return look.check(name, critical, meaning, look.outcome)


def response_closure_check(
    held_out: HeldOutResponse,
) -> tuple[tuple[ResponseClosure, ...], Check]:
    """Check that nominal events with weights S agree with varied events in every feature."""
    name = "closure"
    events = [e for e in held_out.here if e.n_shifted == 1]
    closures, looks, critical = _closure_looks(held_out, events)
    if not looks:
        return closures, Check(name, "undecided", _NO_POWER)
    decisive = most_significant(looks)
    outcome = worst(looks, ANY).outcome
    feature = closures[decisive].histogram.feature
    meaning = {
        "passed": (
            "Nominal events, weighted by S, agree with varied events in every feature, within the "
            f"tolerance.{_untold(looks, [(c.nuisances, c.point) for c in closures])}"
        ),
        "failed": (
            f"Nominal events, weighted by S, differ from varied events, most in {feature}: the "
            "response is wrong in this feature, or ignores it."
        ),
    }.get(outcome, _NO_POWER)
    return closures, looks[decisive].check(name, critical, meaning, outcome)


def _closure_looks(
    held_out: HeldOutResponse, events: Sequence[VariedEvents], further_looks: int = 0
) -> tuple[tuple[ResponseClosure, ...], list[Look], float]:
    """Comparisons of every feature, one look at each, and the pull that a failure needs."""
    by_event: list[tuple[VariedEvents, list[FeatureClosure]]] = []
    edges: dict[tuple[float, ...], dict[str, FloatArray]] = {}
    for e in events:
        halves = e.halves(held_out.seed)
        if not halves.enough:
            continue
        point = tuple(e.nominal.point.values())
        if point not in edges:
            there = [o.variation.sample for o in events if o.nominal.point == e.nominal.point]
            edges[point] = common_edges([e.nominal, *there])
        by_event.append((e, _closures_of(halves, edges[point])))
    closures = tuple(
        ResponseClosure(e.variation.nuisances, e.nominal.point, c)
        for e, histograms in by_event
        for c in histograms
    )
    critical = critical_pull(held_out.sigma, len(closures) + further_looks)
    looks = []
    for e, histograms in by_event:
        difference = max((c.agreement.difference for c in histograms), default=0.0)
        looks += [
            closure_look(
                f"remaining in {c.feature}, {e.label}",
                c.agreement,
                difference,
                held_out.tolerances.closure,
                critical,
            )
            for c in histograms
        ]
    return closures, looks, critical


def _closures_of(halves: Halves, edges: dict[str, FloatArray]) -> list[FeatureClosure]:
    return feature_closure(np.nan, halves.varied, halves.nominal, halves.response, edges=edges)


def _untold(looks: Sequence[Look], places: Sequence[tuple[Point, Point]]) -> str:
    """For which variations the effect is too small to tell; empty if there are none."""
    passed: dict[str, bool] = {}
    for look, place in zip(looks, places, strict=True):
        label = label_of(*place)
        passed[label] = passed.get(label, False) or look.outcome == "passed"
    names = [label for label, seen in passed.items() if not seen]
    return f" Too few events to decide for {shortened(names)}." if names else ""


def response_separation_check(
    held_out: HeldOutResponse,
) -> tuple[tuple[ResponseSeparation, ...], Check]:
    """Check that no classifier can separate nominal events with weights S from varied events."""
    name = "classifier"
    events = [e for e in held_out.here if e.n_shifted == 1]
    separations = _separations(held_out, events)
    if not separations:
        return (), Check(name, "undecided", _NO_POWER)
    critical = critical_pull(held_out.sigma, len(separations))
    looks = _separation_looks(held_out, separations, critical)
    look = worst(looks, ANY)
    before = separations[looks.index(look)].areas.before
    meaning = {
        "passed": f"Between nominal and varied events a classifier has an AUC of {before:.3f}; "
        "weights S bring it to 0.5, within the "
        f"tolerance.{_untold(looks, [(s.nuisances, s.point) for s in separations])}",
        "failed": f"Between nominal and varied events a classifier has an AUC of {before:.3f}. "
        "With weights S it should be 0.5: the response misses or exaggerates differences.",
    }.get(
        look.outcome,
        f"Between nominal and varied events a classifier has an AUC of {before:.3f}. {_NO_POWER}",
    )
    return separations, look.check(name, critical, meaning, look.outcome)


def _separations(
    held_out: HeldOutResponse, events: Sequence[VariedEvents]
) -> tuple[ResponseSeparation, ...]:
    out = []
    for e in events:
        halves = e.halves(held_out.seed)
        if not halves.enough:
            continue
        areas = separation(np.nan, halves.varied, halves.nominal, halves.response, held_out.seed)
        if areas is not None:
            out.append(ResponseSeparation(e.variation.nuisances, e.nominal.point, areas))
    return tuple(out)


def _separation_looks(
    held_out: HeldOutResponse, separations: Sequence[ResponseSeparation], critical: float
) -> list[Look]:
    part = held_out.tolerances.closure
    return [
        separation_look(f"AUC at {label_of(s.nuisances, s.point)}", s.areas, part, critical)
        for s in separations
    ]


def factorisation_check(
    held_out: HeldOutResponse,
) -> tuple[tuple[YieldComparison, ...], tuple[ResponseClosure, ...], Check]:
    """Check yield and closure of variations that shift several nuisance parameters together."""
    name, terms = "factorisation", held_out.response.terms
    events = [e for e in (*held_out.here, *held_out.elsewhere) if e.n_shifted > 1]
    if not events:
        alone = len(terms.nuisances) == 1
        reason = (
            "There is only one nuisance parameter."
            if alone
            else "No variation shifts two nuisance parameters together, so the product of their "
            "effects cannot be tested. Add such variations, for example Variation({"
            f"{terms.nuisances[0]!r}: 1, {terms.nuisances[1]!r}: 1}}, …)."
        )
        return (), (), Check(name, "skipped", reason)
    closures, closure_looks, critical = _closure_looks(held_out, events, len(events))
    comparisons, looks = _yield_looks(held_out, events, critical)
    # Closure cannot be seen where shapes hardly change; then the yields decide.
    failed = [look for look in closure_looks if look.outcome == "failed"]
    look = worst([*looks, *failed], ALL)
    crossed = bool((np.count_nonzero(terms.exponents, axis=1) > 1).any())
    remedy = "cross_terms=True"
    if terms.interpolation == "code4":
        remedy = "interpolation='polynomial' and cross_terms=True"
    elif crossed:
        remedy = "more events of this variation, or cross_terms=True if this pair has none"
    meaning = {
        "passed": "The response is right if two nuisance parameters are shifted together.",
        "failed": "The response is wrong if two nuisance parameters are shifted together. Train "
        "with "
        f"{remedy}.",
    }.get(
        look.outcome,
        "Too few events to measure the yields with two nuisance parameters shifted together to "
        f"{held_out.tolerance:.2g}, as datasets of {held_out.n_events} events require.",
    )
    return comparisons, closures, look.check(name, critical, meaning, look.outcome)


def dependence_check(
    held_out: HeldOutResponse,
) -> tuple[tuple[YieldComparison, ...], tuple[ResponseSeparation, ...], Check]:
    """Check yields, and a classifier, at parameter points away from the reference."""
    name, terms = "dependence on parameters", held_out.response.terms
    events = [e for e in held_out.elsewhere if e.n_shifted == 1]
    note = f" ({held_out.left_out})" if held_out.left_out else ""
    if not events:
        if held_out.left_out:
            return (), (), Check(name, "undecided", f"Not checked:{note}. Use more events.")
        reason = (
            "There are variations at only one parameter point, and no weights at other points"
            if held_out.reference
            else "The process has no parameters"
        )
        return (), (), Check(name, "skipped", f"{reason}.")
    separations = _separations(held_out, events)
    critical = critical_pull(held_out.sigma, len(events) + len(separations))
    comparisons, looks = _yield_looks(held_out, events, critical)
    # A classifier that sees no difference between the samples says nothing; then the yields decide.
    areas = _separation_looks(held_out, separations, critical)
    look = worst([*looks, *(a for a in areas if a.outcome == "failed")], ALL)
    remedy = (
        "Train with samples at more parameter points."
        if terms.parameters
        else "Train with theta_dependent=True."
    )
    reference = format_point(held_out.reference)
    meaning = {
        "passed": f"The response is also right away from {reference}{note}.",
        "failed": f"The response is wrong away from {reference}{note}. If the checks at "
        f"{reference} pass, the true response depends on the parameters of interest. {remedy}",
    }.get(
        look.outcome,
        f"Too few events to measure yields away from {reference} to {held_out.tolerance:.2g}, "
        f"as datasets of {held_out.n_events} events require{note}.",
    )
    return comparisons, separations, look.check(name, critical, meaning, look.outcome)


def extrapolation_check(held_out: HeldOutResponse) -> Check:
    """Check that S is positive, and not concentrated in a few events at the limits of α."""
    name, terms = "positivity and extrapolation", held_out.response.terms
    if terms.interpolation == "code4":
        negative = _negative(held_out)
        if negative is not None:
            return negative
    looks = []
    for sample, table in zip(held_out.nominal, held_out.tables, strict=True):
        whole = effective_number(sample.weights)
        for k, nuisance in enumerate(terms.nuisances):
            for limit in terms.limits[k]:
                alpha = np.zeros(len(terms.nuisances))
                alpha[k] = limit
                log = table.log_response(alpha, theta_of(terms, sample.point))
                # Relative to the largest, as the fraction does not depend on a common factor.
                fraction = effective_number(sample.weights * np.exp(log - log.max())) / whole
                outcome: Outcome = "failed" if fraction < _SMALLEST_FRACTION else "passed"
                looks.append(
                    Look(
                        quantity="effective fraction of events at "
                        + label_of({nuisance: limit}, sample.point),
                        value=fraction,
                        error=np.nan,
                        expected=1.0,
                        tolerance=1 - _SMALLEST_FRACTION,
                        outcome=outcome,
                        significance=np.nan,
                    )
                )
    look = min(looks, key=lambda one: one.value)
    meaning = (
        "At the limits of the nuisance parameters the weights S are spread over many events."
        if look.outcome == "passed"
        else "At the limit few events have most of the weight S: the response is extrapolated to a "
        "region without events. Use a lower limit=, or train with variations at ±2."
    )
    return look.check(name, np.nan, meaning, look.outcome)


def _negative(held_out: HeldOutResponse) -> Check | None:
    """The failed check if code 4 is not positive for an event between −1 and 1."""
    terms = held_out.response.terms
    for sample, table in zip(held_out.nominal, held_out.tables, strict=True):
        sides = _sides(table, sample.point)
        for k, nuisance in enumerate(terms.nuisances):
            up, down = sides[:, k], sides[:, len(terms.nuisances) + k]
            for alpha in _INSIDE.tolist():
                with np.errstate(invalid="ignore", divide="ignore"):
                    log = log_interpolation(alpha, up, down)[0]
                bad = ~np.isfinite(log)
                if bad.any():
                    event = int(np.argmax(bad))
                    return Check(
                        "positivity and extrapolation",
                        "failed",
                        f"Interpolated by code 4, S of event {event} of {sample.label} is negative "
                        f"at {nuisance}={alpha:g}, because its values at ±1, "
                        f"{np.exp(up[event]):.2g} and {np.exp(down[event]):.2g}, are extreme; "
                        f"{int(bad.sum())} events have a negative S. Use "
                        "interpolation='polynomial', which is always positive.",
                        f"events with negative S at {nuisance}={alpha:g}",
                        float(bad.sum()),
                        expected=0.0,
                    )
    return None


def _sides(table: ResponseTable, point: Point) -> FloatArray:
    """Ln S at +1 and −1 of each nuisance parameter, shape (n_events, 2 n_nuisances)."""
    mixing = table.terms.mixing(theta_of(table.terms, point))
    blocks = table.columns.reshape(len(table.columns), len(mixing), -1).astype(np.float64)
    sides: FloatArray = np.tensordot(blocks, mixing, axes=(1, 0))
    return sides
