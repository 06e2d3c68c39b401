"""Convert the costs of this sub-package to published form.

:mod:`milinfer.likelihood.published_reader` defines the meaning of each form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from iminuit import describe
from iminuit.cost import Constant, NormalConstraint

from milinfer.exceptions import ConfigurationError, ParameterError
from milinfer.likelihood.compressed_surface import compressed_surface
from milinfer.likelihood.cost import Correction, LikelihoodCost
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.mixture import EventPolynomials, EventSurfaces, MixtureCost, MixtureTerms
from milinfer.likelihood.models import ModelTag, model_tag
from milinfer.likelihood.published_parts import (
    ArrayStore,
    ParameterFacts,
    PublishedTerm,
    Role,
    dense_series,
    published_correction,
    published_cubic,
    published_polynomial,
    published_terms,
)
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.response_terms import ResponseTable
from milinfer.likelihood.responses import Response
from milinfer.likelihood.surface import Surface
from milinfer.likelihood.surface_box import BoxSurface
from milinfer.likelihood.systematics import LUMINOSITY, SIGNAL, SystematicCost
from milinfer.typing import FloatArray
from milinfer.utils.polynomials import PiecewiseCubic

__all__ = ["published_surface"]


def published_surface(surface: Surface | BoxSurface, arrays: ArrayStore) -> dict[str, Any]:
    """Convert the function Λ(θ) of a dataset to a JSON object.

    Parameters
    ----------
    surface
        The function.
    arrays
        Store to which the arrays of this term are added.  If rows of single events may not be
        stored, sums of logarithms of polynomials are replaced by a series for each part of the
        range.

    Raises
    ------
    ConfigurationError
        If rows of single events may not be stored, and no series reaches the requested precision.
    """
    function = surface.function
    if isinstance(function, PiecewiseCubic):
        return published_cubic(function, arrays)
    if not isinstance(function, LogPolynomials):
        return dense_series(function, arrays)
    if arrays.error is not None:
        return compressed_surface(function, arrays.error).published(arrays)
    return {
        "kind": "log_polynomials",
        **_polynomials(function, arrays),
        "weights": arrays.add("weights", function.weights),
    }


def _polynomials(sums: LogPolynomials, arrays: ArrayStore) -> dict[str, Any]:
    return {
        "exponents": arrays.add("exponents", sums.basis.exponents),
        "centre": sums.centre.tolist(),
        "half": sums.half.tolist(),
        "reference": sums.reference.tolist(),
        "coefficients": arrays.add("coefficients", sums.coefficients),
    }


def _tag(tag: ModelTag | None) -> dict[str, Any] | None:
    if tag is None:
        return None
    return {"name": tag.name, "digest": tag.digest, "features": [*tag.feature_names]}


def _of_interest(
    names: Sequence[str], reference: FloatArray, limits: Sequence[tuple[float, float]]
) -> dict[str, ParameterFacts]:
    return {
        name: ParameterFacts("interest", float(np.clip(start, low, high)), low, high)
        for name, start, (low, high) in zip(names, reference, limits, strict=True)
    }


@published_terms.register
def _(cost: LikelihoodCost, arrays: ArrayStore) -> list[PublishedTerm]:
    rate = None if cost.rate_in_surface else cost.rate
    if rate is not None and rate.basis.parameters != cost.parameters:
        msg = (
            f"the rate depends on {rate.basis.parameters}, but the cost on "
            f"{', '.join(cost.parameters)}"
        )
        raise ParameterError(msg)
    shape = published_surface(cost.surface, arrays.within("shape"))
    bound = 2 * shape.get("bound", 0.0)
    correction = cost.correction
    if correction is not None and bound:
        msg = (
            "the error of a compressed surface has no bound if the cost is calibrated; publish "
            "with events=True"
        )
        raise ConfigurationError(msg)
    content = {
        "kind": "surface",
        "parameters": [*cost.parameters],
        "shape": shape,
        "n_events": cost.n_events,
        "rate": None if rate is None else _rate(rate, arrays.within("rate")),
        "reference": cost.reference.tolist(),
        "calibration": None if correction is None else _calibration(cost, correction, arrays),
        "model": _tag(cost.tag),
    }
    facts = _of_interest(cost.parameters, cost.reference, cost.box)
    return [PublishedTerm(content, facts, bound)]


def _calibration(
    cost: LikelihoodCost, correction: Correction, arrays: ArrayStore
) -> dict[str, Any]:
    low, high = np.array(cost.surface.limits).T
    return {
        "maximum": float(cost.surface.extremum.maximum[0]),
        "low": low.tolist(),
        "high": high.tolist(),
        **published_correction(correction, arrays.within("calibration")),
    }


def _rate(rate: Rate, arrays: ArrayStore) -> dict[str, Any]:
    return published_polynomial(rate.basis.exponents, rate.coefficients, arrays)


def _require_events(arrays: ArrayStore, what: str) -> None:
    if arrays.error is not None:
        msg = (
            f"a likelihood with {what} cannot be published without events: its value depends on "
            "each event separately; publish with events=True, or a "
            "milinfer.constraint"
        )
        raise ConfigurationError(msg)


@published_terms.register
def _(cost: MixtureCost, arrays: ArrayStore) -> list[PublishedTerm]:
    _require_events(arrays, "backgrounds")
    content = _mixture(
        cost.terms, cost.surfaces, cost.weights, *cost.log_ratios, arrays, extended=cost.extended
    )
    limits = cost.surfaces.interpolation.limits
    facts = _of_interest(cost.parameters, cost.terms.reference, limits)
    facts |= dict.fromkeys(cost.norms, ParameterFacts("normalisation", 1.0, 0.0))
    return [PublishedTerm(content, facts)]


@published_terms.register
def _(cost: SystematicCost, arrays: ArrayStore) -> list[PublishedTerm]:
    _require_events(arrays, "nuisance parameters")
    terms, events = cost.terms, cost.events
    content = _mixture(
        terms.mixture,
        events.surfaces,
        events.weights,
        events.arrays.log_reference,
        events.arrays.log_backgrounds,
        arrays,
        extended=cost.extended,
    )
    content["nuisances"] = [*terms.nuisances]
    content["luminosity"] = LUMINOSITY if terms.luminosity else None
    content["uncertainties"] = [
        {"name": u.name, "factors": {s: [float(x) for x in pair] for s, pair in u.factors.items()}}
        for u in terms.uncertainties
    ]
    for k, process in enumerate(terms.processes):
        if process in terms.responses:
            content["processes"][k]["response"] = _response(
                terms.responses[process],
                events.tables[process],
                terms.replicas.get(process, 0),
                arrays.within(f"response{k}"),
            )
    facts = {}
    for name, (low, high) in terms.limits.items():
        role: Role = "interest" if name in terms.parameters else "nuisance"
        if name in terms.mixture.norms:
            role = "normalisation"
        start = float(np.clip(terms.start[name], low, high))
        facts[name] = ParameterFacts(role, start, low, high)
    term = PublishedTerm(content, facts)
    constraints = terms.constraints
    if not constraints:
        return [term]
    names = [c.name for c in constraints]
    measured, errors = (np.array(x) for x in zip(*(c[1:] for c in constraints), strict=True))
    own = _normal(names, measured, np.diag(errors**2))
    return [term, PublishedTerm(own, {name: facts[name] for name in names})]


def _mixture(
    terms: MixtureTerms,
    surfaces: EventSurfaces | EventPolynomials,
    weights: FloatArray,
    log_reference: FloatArray,
    log_backgrounds: FloatArray,
    arrays: ArrayStore,
    *,
    extended: bool,
) -> dict[str, Any]:
    """Signal and backgrounds, without nuisance parameters."""
    n = len(terms.model.parameters)
    if isinstance(terms.rate, Rate):
        expected = _rate(terms.rate, arrays.within("rate"))
    else:
        constant = np.zeros((1, n), dtype=np.int64)
        expected = published_polynomial(
            constant, np.array([float(terms.rate)]), arrays.within("rate")
        )
    processes: list[dict[str, Any]] = [
        {"name": SIGNAL, "norm": None, "expected": expected, "log_ratio": None, "response": None}
    ]
    for k, (component, row) in enumerate(zip(terms.components, log_backgrounds, strict=True)):
        processes.append(
            {
                "name": component.name,
                "norm": component.parameter,
                "expected": component.expected,
                "log_ratio": arrays.add(f"background{k + 1}", row),
                "response": None,
            }
        )
    return {
        "kind": "mixture",
        "interest": [*terms.model.parameters],
        "nuisances": [],
        "luminosity": None,
        "reference": terms.reference.tolist(),
        "extended": extended,
        "n_events": float(weights.sum()),
        "weights": arrays.add("weights", weights),
        "signal": _event_function(surfaces, arrays.within("signal")),
        "log_reference": arrays.add("log_reference", log_reference),
        "processes": processes,
        "uncertainties": [],
        "model": _tag(model_tag(terms.model)),
    }


def _event_function(
    surfaces: EventSurfaces | EventPolynomials, arrays: ArrayStore
) -> dict[str, Any]:
    if isinstance(surfaces, EventPolynomials):
        return {"kind": "polynomials", **_polynomials(surfaces.sums, arrays)}
    if surfaces.spline is not None:
        knots, cells = surfaces.spline
        return {
            "kind": "splines",
            "knots": arrays.add("knots", knots),
            "cells": arrays.add("cells", np.moveaxis(cells, 1, 2)),
            "coefficients": arrays.add("coefficients", surfaces.coefficients),
        }
    low, high = np.array(surfaces.interpolation.limits).T
    # One index for each parameter, and one for the events.
    shape = (*(surfaces.degree + 1,) * len(low), surfaces.coefficients.shape[1])
    return {
        "kind": "chebyshev",
        "low": low.tolist(),
        "high": high.tolist(),
        "coefficients": arrays.add("coefficients", surfaces.coefficients.reshape(shape)),
    }


def _response(
    response: Response, table: ResponseTable, replica: int, arrays: ArrayStore
) -> dict[str, Any]:
    terms, yields = response.terms, response.expected
    if yields.nuisances != terms.nuisances:
        msg = (
            f"the response of {response.process} depends on {', '.join(terms.nuisances)}, but its "
            f"mean on {', '.join(yields.nuisances)}; it cannot be published"
        )
        raise ConfigurationError(msg)
    return {
        "nuisances": [*terms.nuisances],
        "interpolation": terms.interpolation,
        "exponents": arrays.add("exponents", terms.exponents),
        "parameters": [*terms.parameters],
        "centre": terms.centre.tolist(),
        "half": terms.half.tolist(),
        "columns": arrays.add("columns", table.columns.T),
        "yields": {
            "limits": yields.limits.tolist(),
            "parameters": [*yields.parameters],
            "exponents": arrays.add("yield_exponents", yields.exponents),
            "singles": arrays.add("yield_singles", yields.singles[replica]),
            "pairs": arrays.add("yield_pairs", yields.pairs[replica]),
        },
    }


@published_terms.register
def _(cost: NormalConstraint, _arrays: ArrayStore) -> list[PublishedTerm]:
    names = describe(cost)
    measured = np.asarray(cost.value, dtype=np.float64)
    if len(names) != len(measured):
        msg = (
            f"the NormalConstraint of {', '.join(names)} is a vector of {len(measured)} numbers; "
            "give each number its own parameter name"
        )
        raise ParameterError(msg)
    covariance = np.asarray(cost.covariance, dtype=np.float64)
    content = _normal(names, measured, np.diag(covariance) if covariance.ndim < 2 else covariance)
    each = zip(names, measured.tolist(), strict=True)
    return [PublishedTerm(content, {name: ParameterFacts("nuisance", x) for name, x in each})]


def _normal(names: Sequence[str], measured: FloatArray, covariance: FloatArray) -> dict[str, Any]:
    return {
        "kind": "normal",
        "parameters": [*names],
        "measured": measured.tolist(),
        "covariance": covariance.tolist(),
    }


@published_terms.register
def _(cost: Constant, _arrays: ArrayStore) -> list[PublishedTerm]:
    return [PublishedTerm({"kind": "constant", "value": float(cost.value)}, {})]
