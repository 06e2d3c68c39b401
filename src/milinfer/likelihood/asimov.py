r"""Build Asimov data of an unbinned likelihood: simulated events, weighted to the expected density.

Asimov data of a histogram are its expected counts.  For unbinned data, simulated events get weights
such that they have the expected density at a point (θ, α).  Here θ are the parameters of interest
and α the nuisance parameters.  Sums over events are then expectations (Cowan et al.,
arXiv:1007.1727), and the total weight is the expected number of events.

You can choose between two densities.  With the density of the simulation, a fit gives the average
result of the model, including its bias.  With the density of the model, a fit returns exactly the
point; this is the default for expected intervals, limits and impacts.

The density of the model is obtained as follows.  The events at the reference are reweighted with
the model.  The score s of an event is the derivative of its log-density with respect to the
parameters.  Because the number of events is finite, the mean score at the point is not exactly
zero.  To make it zero, the weights are multiplied by :math:`e^{\lambda\cdot s(x)}`.  Of all changes
of the weights that make the mean score zero, this one is the smallest in relative entropy.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from milinfer.exceptions import MilinferWarning, ModelError, ParameterError, SampleError
from milinfer.likelihood.systematics import (
    SIGNAL,
    MixtureEvents,
    SystematicCost,
    SystematicTerms,
)
from milinfer.samples.argument_checks import require_sample
from milinfer.samples.sample import Sample, as_features
from milinfer.typing import FloatArray, Point
from milinfer.utils.keywords import did_you_mean
from milinfer.utils.points import format_point

__all__ = ["asimov_cost", "asimov_sample"]

Density = Literal["model", "simulation"]

_ITERATIONS = 50
# Tolerance on the logarithm of a weight for the last step, which makes the score vanish.
_BALANCED = 1e-11
# Combinations of scores count as zero below these eigenvalues of their correlation.  The next value
# is tried if weights would change much, because scores are nearly equal but their means are not.
_SAME = (1e-9, 1e-4, 1e-3, 1e-2)
# Shift of the minimum, in standard deviations, that causes a warning.
_OFF = 0.01
# Root mean square of the logarithm of the weight change above which events hardly fit the model
# (warning), and above which they do not fit it (error).
_MUCH, _TOO_MUCH = 0.05, 1.0


def asimov_cost(
    terms: SystematicTerms,
    events: Mapping[str, Sample] | Sample,
    point: Point | None = None,
    *,
    density: Density = "model",
    extended: bool = True,
    **values: float,
) -> SystematicCost:
    """Return the cost of Asimov data, the dataset expected at a parameter point.

    The auxiliary measurements also have their expected values at this point.

    Parameters
    ----------
    terms
        Likelihood with or without nuisance parameters, from
        :func:`~milinfer.likelihood.systematics.systematic_terms`.  For another luminosity pass
        ``terms.scaled(factor)``.
    events
        Simulated events of each process, as a dictionary from the name of the process (``"signal"``
        for the signal).  If the signal is the only process, you can pass its events without a
        dictionary.  The normalisation of the event weights has no effect.
    point
        Values of parameters by name.  Parameters that are not named have their values in
        ``terms.start``.
    density
        ``"model"``: the events were generated at the reference and at nominal nuisance parameters,
        and the model and its responses reweight them to the point.  ``"simulation"``: the events
        were generated at the point, and only their expected number is taken from `terms`.
    extended
        Whether the likelihood contains the Poisson term of the number of events.
    **values
        Values of parameters as keywords, such as ``mu=0.3``, instead of `point`.

    Returns
    -------
    SystematicCost
        Cost of the Asimov data; with ``density="model"`` its minimum is at the point.

    Raises
    ------
    SampleError
        If events of a process are missing, or the events of the signal are at another point.
    ParameterError
        If a parameter is unknown, or its value is outside its limits.
    ModelError
        If the events cannot be reweighted to the density of the model.

    Warns
    -----
    MilinferWarning
        If the factor that makes the mean score zero changes the weights by more than 5 % (root mean
        square).  The reason is that the model is not normalised or that there are too few events.

    Examples
    --------
    >>> import milinfer as mil
    >>> from milinfer.datasets import gaussian
    >>> terms = mil.systematic_terms(gaussian.MeanModel(), rate=100.0, responses={}, reference=0.0,
    ...     uncertainties=[mil.NormalisationUncertainty("trigger", {"signal": (0.9, 1.1)})])
    >>> cost = asimov_cost(terms, gaussian.generate(5000, 0.0, seed=1), mu=0.3)
    >>> cost.n_events, round(mil.minuit(cost).migrad().values["mu"], 4)
    (100.0, 0.3)
    """
    return _asimov(terms, events, density, extended, _point(terms, point, values))[1]


def asimov_sample(
    terms: SystematicTerms,
    events: Mapping[str, Sample] | Sample,
    point: Point | None = None,
    *,
    density: Density = "model",
    **values: float,
) -> Sample:
    """Return Asimov data (the dataset expected at a parameter point) as a sample for any model.

    The arguments are the same as for :func:`asimov_cost`.  The sample contains no auxiliary
    measurements.  If the point has nuisance parameters away from their starting values, use
    :func:`asimov_cost`, or set the auxiliary measurements of your cost with ``cost.measuring(…)``.

    Returns
    -------
    Sample
        Events whose weights sum to the expected number of events.  Costs accept the sample as data.

    Raises
    ------
    SampleError, ParameterError, ModelError
        Under the same conditions as for :func:`asimov_cost`.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.systematics import systematic_terms
    >>> terms = systematic_terms(gaussian.MeanModel(), rate=80.0, responses={}, reference=0.0)
    >>> sample = asimov_sample(terms, gaussian.generate(5000, 0.0, seed=1), mu=0.3)
    >>> len(sample), round(float(sample.weights.sum()), 6)
    (5000, 80.0)
    """
    return _asimov(terms, events, density, True, _point(terms, point, values))[0]


def _asimov(
    terms: SystematicTerms,
    events: Mapping[str, Sample] | Sample,
    density: str,
    extended: bool,
    point: dict[str, float],
) -> tuple[Sample, SystematicCost]:
    if density not in ("model", "simulation"):
        msg = f"density={density!r} is unknown; choose 'model' or 'simulation'"
        raise ParameterError(msg)
    by_process = {SIGNAL: events} if isinstance(events, Sample) else dict(events)
    _require_events(terms, by_process, density, point)
    constraints = tuple(c._replace(measured=point[c.name]) for c in terms.constraints)
    at_point = replace(terms, constraints=constraints)
    nominal = np.array([terms.mixture.signal_at_reference, *terms.mixture.expected])
    names = by_process[SIGNAL].feature_names
    parts = [by_process[name] for name in terms.processes]
    sample = Sample(
        np.concatenate([as_features(part, names) for part in parts]),
        names,
        weights=np.concatenate(
            [p.weights * (n / p.weights.sum()) for p, n in zip(parts, nominal, strict=True)]
        ),
        process="data",
        provenance={"asimov": point, "samples": [p.label for p in parts]},
    )
    table = MixtureEvents.of(at_point, sample)
    cost = SystematicCost(at_point, table, extended=extended)
    if density == "simulation":
        expected = np.array(list(cost.expected_events(**point).values()))
        with np.errstate(invalid="ignore"):  # a background without expected events has none
            scale = np.nan_to_num(expected / nominal)
        weights = sample.weights * np.repeat(scale, [len(p) for p in parts])
    else:
        weights = _balanced(cost, sample.weights * np.exp(cost.log_densities(**point)), point)
    return replace(sample, weights=weights), cost.weighted(weights)


def _point(
    terms: SystematicTerms, point: Point | None, values: Mapping[str, float]
) -> dict[str, float]:
    """Return all parameters, from those given as a dictionary and as keywords."""
    known = list(terms.names)
    twice = sorted(set(point or {}) & set(values))
    if twice:
        msg = f"{twice[0]} has two values, in point and as a keyword; give only one"
        raise ParameterError(msg)
    values = {**(point or {}), **values}
    for name in values:
        if name not in known:
            msg = f"{name} is not a parameter of the likelihood; it has {', '.join(known)}"
            raise ParameterError(msg + did_you_mean(name, known))
    return {**terms.start, **{name: float(v) for name, v in values.items()}}


def _require_events(
    terms: SystematicTerms, events: Mapping[str, Sample], density: str, point: Point
) -> None:
    """Raise unless there are events of each process, and the signal is at the right point."""
    for name in [*terms.processes, *events]:
        if name not in events or name not in terms.processes:
            msg = (
                f"events are given for {', '.join(events)}, but the processes of the likelihood "
                f"are {', '.join(terms.processes)}; give events for each process, by these names"
            )
            raise SampleError(msg)
        require_sample(events[name], "asimov_cost()")
        if not events[name].weights.sum() > 0:
            msg = (
                f"{events[name].label}: the weights of {name} do not sum to a positive number; use "
                "more events"
            )
            raise SampleError(msg)
    reference = dict(zip(terms.parameters, terms.mixture.reference.tolist(), strict=True))
    theta = {n: point[n] for n in terms.parameters} if density == "simulation" else reference
    given = events[SIGNAL].point
    if given and any(not np.isclose(given.get(n, np.nan), v) for n, v in theta.items()):
        what = "the reference of the model" if density == "model" else "the point"
        msg = (
            f"{events[SIGNAL].label}: with density={density!r} the events of the signal must be at "
            f"{what}, {format_point(theta)}; use events at that point, or reweight them with "
            "EventPool.reweighted"
        )
        raise SampleError(msg)


def _balanced(cost: SystematicCost, weights: FloatArray, point: Point) -> FloatArray:
    r"""Multiply weights by exp(λ·s), such that the score s of the likelihood vanishes at a point.

    λ is determined by Newton's method.  A score that is a combination of others needs no λ of its
    own.  If its expectation is not the same combination of theirs, a part of it remains, and a
    warning says so.
    """
    args = [point[name] for name in cost.terms.names]
    expected = sum(cost.expected_events(**point).values())
    scores = np.vstack([_scores(cost, args), np.ones(len(weights))])
    solved = None
    for same in _SAME:
        solved = _solve(cost, weights, scores, args, expected, same)
        if solved is not None and solved.spread <= _MUCH:
            break
    if solved is None or solved.spread > _TOO_MUCH:
        msg = (
            f"no weights of these {len(weights)} events can give the density of the model at "
            f"{format_point(point)}; choose a point inside the range of the events, or use more "
            "events"
        )
        raise ModelError(msg)
    if solved.spread > _MUCH:
        warnings.warn(
            f"the weights of the Asimov data at {format_point(point)} had to change by "
            f"{solved.spread:.1%} (rms) to give the density of the model: the model is not "
            f"normalised there, or {len(weights)} events are too few; check it with diagnose and "
            "diagnose_response",
            MilinferWarning,
            stacklevel=4,
        )
    _warn_of_the_rest(cost, solved, point)
    return solved.weights


class _Balance(NamedTuple):
    """Changed weights, the change (rms of its logarithm), information and score that remain."""

    weights: FloatArray
    spread: float
    information: FloatArray
    score: FloatArray


def _solve(
    cost: SystematicCost,
    weights: FloatArray,
    scores: FloatArray,
    args: list[float],
    expected: float,
    same: float,
) -> _Balance | None:
    """Balance all scores except combinations with an eigenvalue below `same`; None if it fails."""
    log_change = np.zeros(len(weights))
    for _ in range(_ITERATIONS):
        changed = weights * np.exp(log_change)
        slope = cost.weighted(changed).grad(*args)
        excess = np.append(-slope / 2, changed.sum() - expected)
        matrix = (scores * np.abs(changed)) @ scores.T
        scale = np.sqrt(np.diag(matrix))
        scale[scale == 0] = 1.0
        scaled = matrix / np.outer(scale, scale)
        step = (np.linalg.lstsq(scaled, -excess / scale, rcond=same)[0] / scale) @ scores
        largest = float(np.abs(step).max())
        if largest < _BALANCED:
            spread = float(np.sqrt(np.average(log_change**2, weights=np.abs(weights))))
            return _Balance(changed, spread, matrix[:-1, :-1], excess[:-1])
        # Large steps overshoot, because weights are exponentials.
        log_change += step * min(1.0, 1.0 / largest)
    return None


def _warn_of_the_rest(cost: SystematicCost, solved: _Balance, point: Point) -> None:
    """Warn if a score that could not be balanced moves the minimum."""
    errors = {c.name: c.error for c in cost.constraints}
    precision = [errors.get(name, np.inf) ** -2 for name in cost.terms.names]
    covariance = np.linalg.pinv(solved.information + np.diag(precision), hermitian=True)
    sigma = np.sqrt(np.diag(covariance))
    moved = np.divide(covariance @ solved.score, sigma, out=np.zeros_like(sigma), where=sigma > 0)
    k = int(np.argmax(np.abs(moved)))
    if abs(moved[k]) > _OFF:
        warnings.warn(
            f"the minimum of the Asimov data at {format_point(point)} is off by {moved[k]:+.2g} "
            f"standard deviations in {cost.terms.names[k]}, because the densities of the model and "
            "its yields imply different numbers of events; use more events for the yields of "
            "responses, or fit the shape alone (extended=False)",
            MilinferWarning,
            stacklevel=5,
        )


def _scores(cost: SystematicCost, args: list[float]) -> FloatArray:
    """Return the derivatives of ln dν/dx of events by each parameter, (n_parameters, n_events)."""
    rows = []
    for k, (name, (low, high)) in enumerate(cost.terms.limits.items()):
        step = 1e-4 * ((high - low) if np.isfinite(high - low) else 1.0)
        ends = [max(args[k] - step, low), min(args[k] + step, high)]
        down, up = (cost.log_densities(*[*args[:k], end, *args[k + 1 :]]) for end in ends)
        if not np.isfinite(down).all():
            # This process makes up all of the density somewhere, and its normalisation is zero.
            msg = f"{name} = {ends[0]:g} leaves events without a density; choose a larger value"
            raise ModelError(msg)
        rows.append((up - down) / (ends[1] - ends[0]))
    return np.array(rows)
