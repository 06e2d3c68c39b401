"""Held-out variations for the checks of a response, at every point where they have weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from milinfer.diagnostics.checks import MINIMUM, Tolerances
from milinfer.exceptions import ConfigurationError, ParameterError, SampleError
from milinfer.likelihood.expected_response import weights_at, weights_at_points
from milinfer.likelihood.models import has_seen
from milinfer.likelihood.response_terms import ResponseTable, ResponseTerms
from milinfer.likelihood.responses import Response
from milinfer.samples.fingerprints import sketch
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variations import ProcessVariations, Variation, YieldRatio
from milinfer.samples.weights import effective_number, weighted_mean
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.keywords import did_you_mean
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import point_matrix

__all__ = [
    "Halves",
    "HeldOutResponse",
    "VariedEvents",
    "YieldComparison",
    "hold_out_response",
    "label_of",
    "response_of",
    "theta_of",
]

_LARGEST_LOG = 300.0  # squares of larger responses overflow
# Events of a default dataset: a part of the nominal events, and at least so many.
_PART, _FEWEST_EVENTS = 500, 20
# Coefficients are float32, so that means of S are not known better.
_ROUNDING = float(np.finfo(np.float32).eps)
# Parameter points other than the reference at which a response is checked, at most.
_MOST_POINTS = 6


class YieldComparison(NamedTuple):
    """Yield of varied events relative to nominal events, compared with the response.

    Parameters
    ----------
    nuisances, point
        Values of the nuisance parameters of the varied events, and the point in the parameters of
        interest.
    value, error
        Yield of the varied events divided by the yield of the nominal events, and its Monte-Carlo
        error.
    predicted
        The same ratio according to the response S: the mean of S over the nominal events.
    difference_error
        Error of the difference ``predicted - value``.  If the nominal and the varied events are the
        same events, their common fluctuation cancels in it.
    """

    nuisances: Point
    point: Point
    value: float
    error: float
    predicted: float
    difference_error: float


class Halves(NamedTuple):
    """Nominal and varied events without a common event, and S of each nominal event."""

    nominal: Sample
    varied: Sample
    response: FloatArray

    @property
    def enough(self) -> bool:
        """Whether nominal, varied and reweighted nominal events are numerous enough for a test."""
        weights = self.nominal.weights
        sizes = [weights, weights * self.response, self.varied.weights]
        return min(effective_number(w) for w in sizes) >= MINIMUM


class VariedEvents(NamedTuple):
    """A variation and its nominal events, with their weights at one parameter point.

    Parameters
    ----------
    variation, nominal
        Varied and nominal events with their weights at the point.
    table
        Coefficients of the response, for each nominal event.
    ratio
        Yield of the varied events divided by the yield of the nominal events.
    """

    variation: Variation
    nominal: Sample
    table: ResponseTable
    ratio: YieldRatio

    @property
    def n_shifted(self) -> int:
        """Number of nuisance parameters that are not at zero."""
        return sum(value != 0 for value in self.variation.nuisances.values())

    @property
    def label(self) -> str:
        """Shifted nuisance parameters and, if there is one, the parameter point, as text."""
        return label_of(self.variation.nuisances, self.nominal.point)

    @property
    def enough(self) -> bool:
        """Whether the means over nominal and varied events can be trusted."""
        sizes = [self.nominal.weights * self.response(), self.variation.sample.weights]
        return min(effective_number(w) for w in sizes) >= MINIMUM

    def response(self) -> FloatArray:
        """Return S of each nominal event at the shifts of the variation, shape (n_events,)."""
        alpha = self.table.terms.array(self.variation.nuisances)
        return response_of(self.table, alpha, self.nominal.point)

    def yields(self) -> YieldComparison:
        """Compare E[S] with the yield of the varied events, event by event for common events."""
        weights, response = self.nominal.weights, self.response()
        total = float(weights.sum())
        mean, mean_error = (float(a) for a in weighted_mean(response, weights))
        partners, varied = self.variation.partners, self.variation.sample.weights
        if partners is None:
            error = float(np.hypot(mean_error, self.ratio.error))
        else:
            matched = partners >= 0
            rest = (response - (mean - self.ratio.value)) * weights
            rest[partners[matched]] -= varied[matched]
            error = float(np.sqrt(np.sum(rest**2) + np.sum(varied[~matched] ** 2))) / total
        return YieldComparison(
            nuisances=self.variation.nuisances,
            point=self.nominal.point,
            value=self.ratio.value,
            error=self.ratio.error,
            predicted=mean,
            difference_error=max(error, _ROUNDING * mean),
        )

    def halves(self, seed: int) -> Halves:
        """Return nominal and varied events that have no event in common.

        If the varied events are the nominal events with other weights or features, one random half
        is used as nominal events, and the varied copies of the other half are used as varied
        events.  If the varied events come from a separate simulation, all events are used.
        """
        response, partners, varied = self.response(), self.variation.partners, self.variation.sample
        if partners is None:
            return Halves(self.nominal, varied, response)
        rng = np.random.default_rng(seed)
        first = _random_half(len(self.nominal), rng)
        of_varied = _random_half(len(varied), rng)
        matched = partners >= 0
        of_varied[matched] = ~first[partners[matched]]
        rows = np.flatnonzero(first)
        return Halves(
            self.nominal.take(rows), varied.take(np.flatnonzero(of_varied)), response[rows]
        )


def label_of(nuisances: Point, point: Point) -> str:
    """Describe a shift: nuisance parameters that are not zero, and the parameter point, if any.

    Examples
    --------
    >>> label_of({"jes": 1.0, "jer": 0.0}, {"c": 0.5})
    'jes=1 at c=0.5'
    """
    shifts = format_point({name: value for name, value in nuisances.items() if value})
    return f"{shifts} at {format_point(point)}" if point else shifts


def _random_half(n: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    half: np.ndarray[tuple[int], np.dtype[np.bool_]] = rng.permutation(n) % 2 == 0
    return half


def theta_of(terms: ResponseTerms, point: Point) -> FloatArray | None:
    """Return the values at a point of the parameters of interest on which a response depends."""
    return point_matrix(terms.parameters, [point])[0] if terms.parameters else None


def response_of(table: ResponseTable, alpha: FloatArray, point: Point) -> FloatArray:
    """Return the response S of every event, shape (n_events,).

    With the interpolation ``"code4"``, S of an event may be negative for α between −1 and 1, and
    then has no logarithm.  In this case S is set to zero here;
    :func:`~milinfer.diagnostics.response_checks.extrapolation_check` reports the event.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        log = table.log_response(alpha, theta_of(table.terms, point))
    response: FloatArray = np.exp(np.minimum(np.nan_to_num(log, nan=-np.inf), _LARGEST_LOG))
    return response


@dataclass(frozen=True, eq=False)
class HeldOutResponse:
    """Held-out variations, and the coefficients that a response gives their nominal events.

    Parameters
    ----------
    response
        The response that is checked.  It is evaluated once for each nominal sample.
    nominal, tables
        Nominal samples, and for each sample the coefficients of the response for its events.
    reference
        The point with the most variations.  If several points have as many, it is the nearest to
        zero.
    here, elsewhere
        Variations at the reference, and variations at other points.  At another point there are
        samples, or the events of a sample have weights for this point.
    left_out
        Text that says which points are not checked; empty if all points are checked.
    n_events
        Nominal number of events of the process in a dataset.
    sigma, tolerances, seed
        As for :func:`milinfer.diagnose_response`.
    """

    response: Response
    nominal: SampleSet
    tables: tuple[ResponseTable, ...]
    reference: Point
    here: tuple[VariedEvents, ...]
    elsewhere: tuple[VariedEvents, ...]
    left_out: str
    n_events: int
    sigma: float
    tolerances: Tolerances
    seed: int

    @property
    def tolerance(self) -> float:
        """Largest tolerated relative error of a yield, for datasets of `n_events` events."""
        return self.tolerances.bias / float(np.sqrt(self.n_events))

    @property
    def sources(self) -> list[tuple[Sample, ResponseTable]]:
        """Nominal events with their coefficients, at every point that is checked."""
        known = {tuple(s.point.values()) for s in self.nominal}
        weighted = {
            tuple(e.nominal.point.values()): (e.nominal, e.table)
            for e in self.elsewhere
            if tuple(e.nominal.point.values()) not in known
        }
        return [*zip(self.nominal, self.tables, strict=True), *weighted.values()]

    def expected_theta(self, point: Point) -> FloatArray | None:
        """Return the values at a point of the parameters on which the expected yield depends."""
        names = self.response.expected.parameters
        return point_matrix(names, [point])[0] if names else None


def hold_out_response(
    response: Response,
    variations: ProcessVariations,
    n_events: int | None,
    seed: int,
    sigma: float,
    tolerances: Tolerances,
) -> HeldOutResponse:
    """Evaluate the response for every nominal sample; arguments as in ``diagnose_response``.

    Raises
    ------
    SampleError
        If the variations belong to another process, if they lack features of the response, or if
        the response was trained on their events.
    ParameterError
        If a nuisance parameter is unknown or outside its limits, or the samples lack a parameter
        on which the response depends.
    ConfigurationError
        If `n_events` is less than 1.
    """
    if n_events is not None and n_events < 1:
        msg = f"n_events = {n_events}: a dataset needs at least one event"
        raise ConfigurationError(msg)
    _require_fits(response, variations)
    _require_unseen(response, variations)
    nominal = variations.nominal
    tables = tuple(response.table(s) for s in nominal)
    of_sample = [[v for v in variations.variations if v.sample.point == s.point] for s in nominal]
    sizes = point_matrix(nominal.parameters, [s.point for s in nominal])
    near = np.abs(sizes / np.maximum(np.ptp(sizes, axis=0), 1e-300)).sum(axis=1)
    origin = min(range(len(nominal)), key=lambda i: (-len(of_sample[i]), near[i]))
    here = _events(variations, nominal[origin], of_sample[origin], tables[origin])
    elsewhere, left_out = _elsewhere(variations, of_sample, tables, origin)
    if n_events is None:
        n_events = max(round(effective_number(nominal[origin].weights) / _PART), _FEWEST_EVENTS)
    return HeldOutResponse(
        response=response,
        nominal=nominal,
        tables=tables,
        reference=nominal[origin].point,
        here=here,
        elsewhere=elsewhere,
        left_out=left_out,
        n_events=n_events,
        sigma=sigma,
        tolerances=tolerances,
        seed=seed,
    )


def _require_fits(response: Response, variations: ProcessVariations) -> None:
    name, terms = f"the response of {response.process}", response.terms
    if variations.process != response.process:
        msg = (
            f"{name} cannot be checked with variations of {variations.process}; give variations of "
            f"{response.process}"
        )
        raise SampleError(msg)
    missing = [n for n in response.feature_names if n not in variations.feature_names]
    if missing:
        msg = (
            f"{name} reads the feature {missing[0]!r}, which the variations do not have; they have "
            f"{', '.join(variations.feature_names)}"
        )
        raise SampleError(msg + did_you_mean(missing[0], list(variations.feature_names)))
    for variation in variations.variations:
        unknown = [n for n in variation.nuisances if n not in terms.nuisances]
        if unknown:
            msg = (
                f"variation {variation.label}: {name} has no nuisance parameter {unknown[0]!r}, "
                f"only {', '.join(terms.nuisances)}; leave it out with variations.restricted([…])"
            )
            raise ParameterError(msg + did_you_mean(unknown[0], list(terms.nuisances)))
        terms.require_inside(terms.array(variation.nuisances))
    for needed in dict.fromkeys([*terms.parameters, *response.expected.parameters]):
        for sample in variations.nominal:
            if needed not in sample.point:
                msg = (
                    f"{name} depends on {needed}; give {sample.label} a value of {needed} (point=)"
                )
                raise ParameterError(msg)


def _require_unseen(response: Response, variations: ProcessVariations) -> None:
    named = [(s.label, s) for s in variations.nominal]
    named += [(f"variation {v.label}", v.sample) for v in variations.variations]
    for label, sample in named if response.trained_on else ():
        if has_seen(response, sketch(sample)):
            msg = (
                f"{label}: the response of {response.process} was trained on these events; a "
                "diagnosis needs independent events (use ProcessVariations.split before training)"
            )
            raise SampleError(msg)


def _events(
    process: ProcessVariations,
    nominal: Sample,
    variations: Sequence[Variation],
    table: ResponseTable,
) -> tuple[VariedEvents, ...]:
    return tuple(VariedEvents(v, nominal, table, process.yield_ratio(v)) for v in variations)


def _elsewhere(
    variations: ProcessVariations,
    of_sample: Sequence[Sequence[Variation]],
    tables: Sequence[ResponseTable],
    origin: int,
) -> tuple[tuple[VariedEvents, ...], str]:
    """Variations at points other than that of one sample, and what is left out."""
    nominal = variations.nominal
    reference, names = nominal[origin].point, nominal.parameters
    points, found = [], []
    small: list[str] = []
    for point, weights in weights_at_points(nominal):
        if point == reference:
            continue
        events = _events_at(point, variations, weights, of_sample, tables)
        if not events:
            continue
        if min(effective_number(e.nominal.weights) for e in events) < MINIMUM:
            small.append(format_point(point))
            continue
        points.append(point)
        found.append(events)
    if not points:
        return (), f"too few events at {'; '.join(small)}" if small else ""
    far = _farthest(point_matrix(names, points), point_matrix(names, [reference])[0])
    notes = []
    if len(far) < len(points):
        notes.append(f"only the {len(far)} farthest of {len(points)} points are checked")
    if small:
        notes.append(f"too few events at {'; '.join(small)}")
    return tuple(e for k in far for e in found[k]), ", ".join(notes)


def _farthest(points: FloatArray, reference: FloatArray) -> IntArray:
    """Numbers of the points farthest from the reference, in units of the range, in order."""
    unit = np.maximum(np.abs(points - reference).max(axis=0), 1e-300)
    distance = np.abs((points - reference) / unit).sum(axis=1)
    return np.sort(np.argsort(-distance, kind="stable")[:_MOST_POINTS])


def _events_at(
    point: Point,
    variations: ProcessVariations,
    weights: Sequence[FloatArray | None],
    of_sample: Sequence[Sequence[Variation]],
    tables: Sequence[ResponseTable],
) -> tuple[VariedEvents, ...]:
    """Variations at a point: of the sample there, or of the sample with the best weights there."""
    candidates = []
    for i, sample in enumerate(variations.nominal):
        own = weights[i]
        if own is None:
            continue
        varied = [at for v in of_sample[i] if (at := _variation_at(v, point)) is not None]
        if varied:
            candidates.append((sample.point == point, effective_number(own), i, varied))
    if not candidates:
        return ()
    _, _, i, varied = max(candidates, key=lambda c: c[:2])
    sample, own = variations.nominal[i], weights[i]
    assert own is not None
    if sample.point == point:
        return _events(variations, sample, varied, tables[i])
    weighted = _weighted(sample, point, own)
    process = ProcessVariations(SampleSet((weighted,)), tuple(varied))
    return _events(process, weighted, varied, tables[i])


def _variation_at(variation: Variation, point: Point) -> Variation | None:
    """A variation with the weights of its events at a point, if they have some."""
    sample = variation.sample
    if sample.point == point:
        return variation
    weights = weights_at(sample, point)
    if weights is None:
        return None
    return dataclasses.replace(variation, sample=_weighted(sample, point, weights))


def _weighted(sample: Sample, point: Point, weights: FloatArray) -> Sample:
    """The events of a sample at another point."""
    factor = float(weights.sum()) / float(sample.weights.sum())
    return dataclasses.replace(
        sample,
        weights=weights,
        point=point,
        reweights={},
        reweight_points={},
        cross_section=sample.cross_section * factor,
        cross_section_error=sample.cross_section_error * abs(factor),
    )
