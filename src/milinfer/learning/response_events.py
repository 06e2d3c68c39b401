"""Prepare the events from which a response is learned, with weights at all base points.

A base point is a shift of the nuisance parameters, together with one parameter point if the
response depends on the parameters of interest.  At each base point an event counts in the nominal
sample or in the varied sample; if a variation changes only weights, the event counts in both.  The
weights at a base point sum to one for the nominal events, and to the ratio of varied to nominal
yield for the varied events.  Rate and shape are thus learned together.  Importing this module does
not import Keras.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.likelihood.expected_response import weights_at, weights_at_points
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.samples.sample import Sample
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations, YieldRatio
from milinfer.samples.weights import WeightSums
from milinfer.typing import Float32Array, FloatArray, IntArray, Point
from milinfer.utils.points import format_point

__all__ = [
    "BasePoints",
    "EventTotals",
    "ResponseEvents",
    "base_points",
    "term_values",
    "total_weight",
]

# Number of rows that are processed at once.
_ROWS = 1 << 16


class BasePoints(NamedTuple):
    """Points in parameters of interest and nuisance parameters at which a response is trained.

    Parameters
    ----------
    points
        Points in the parameters of interest; one empty point if the response does not depend on
        them.
    shifts
        Shifts of the nuisance parameters, shape (n_shifts, n_nuisances).
    design
        Factors of the columns of the response, shape (n_columns, n_points · n_shifts).  The
        logarithm of the response at the base points is the matrix product of the columns of an
        event and `design`.
    """

    points: tuple[Point, ...]
    shifts: FloatArray
    design: FloatArray


def term_values(terms: ResponseTerms, shift: FloatArray) -> FloatArray:
    """Return the values of the terms of a response at a shift, shape (n_terms,).

    The logarithm of the response S is a sum over terms: functions of the nuisance parameters, each
    times a learned function of the event.  With interpolation code 4, the learned functions are ln
    S at +1 and at −1, and the values of the terms are those for shifts of ±1 and beyond.

    Raises
    ------
    SampleError
        If a shift is between −1 and 1 with code 4.

    Examples
    --------
    >>> term_values(ResponseTerms.of(["jes"]), np.array([-1.0]))
    array([-1.,  1.])
    >>> term_values(ResponseTerms.of(["jes"], interpolation="code4"), np.array([-1.0]))
    array([0., 1.])
    """
    if terms.interpolation != "code4":
        return terms.values(shift)
    between = (shift != 0) & (np.abs(shift) < 1)
    if between.any():
        k = int(np.argmax(between))
        msg = (
            f"a variation is at {terms.nuisances[k]}={shift[k]:g}, but interpolation='code4' uses "
            "only variations at −1 and 1; remove this variation, or use "
            "interpolation='polynomial'"
        )
        raise SampleError(msg)
    return np.concatenate([np.maximum(shift, 0.0), np.maximum(-shift, 0.0)])


def base_points(variations: ProcessVariations, terms: ResponseTerms) -> BasePoints:
    """Return the base points of variations; the variations must determine all terms.

    Parameters
    ----------
    variations
        Nominal and varied samples.
    terms
        Terms of the response in the nuisance parameters of these variations.

    Raises
    ------
    SampleError
        If the variations do not determine the terms; the message says what is missing.

    Examples
    --------
    >>> nominal = Sample(np.ones((2, 1)), ("x",))
    >>> up = Variation.of_features(nominal, {"jet_scale": 1.0}, 2 * nominal.features)
    >>> base_points(ProcessVariations(nominal, (up,)), ResponseTerms.of(["jet_scale"]))
    Traceback (most recent call last):
    milinfer.exceptions.SampleError: signal: ... also needs jet_scale at -1, ...
    """
    order = [variations.nuisances.index(n) for n in terms.nuisances]
    shifts = variations.shifts[:, order]
    values = np.array([term_values(terms, shift) for shift in shifts])
    points: tuple[Point, ...] = ({},)
    if terms.parameters:
        points = tuple(p for p, _ in weights_at_points(variations.nominal) if _inside(terms, p))
    mixing = np.array([terms.mixing(np.array([p[n] for n in terms.parameters])) for p in points])
    design = np.concatenate(
        [np.kron(m[:, None], values.T) for m in mixing], axis=1
    )  # (n_columns, n_points · n_shifts)
    base = BasePoints(points, shifts, design)
    _require_terms(variations, terms, shifts, values)
    _require_parameters(variations, terms, base)
    return base


def _inside(terms: ResponseTerms, point: Point) -> bool:
    """Return whether a point is in the range in which the response is linear."""
    values = np.array([point[n] for n in terms.parameters])
    return bool(np.all(np.abs(values - terms.centre) <= terms.half * (1 + 1e-9)))


def _require_parameters(
    variations: ProcessVariations, terms: ResponseTerms, base: BasePoints
) -> None:
    """Raise unless the events at all parameter points determine slopes in the parameters."""
    if not terms.parameters:
        return
    samples = [s.point for s in variations.nominal]
    at_points = {tuple(p.values()): weights for p, weights in weights_at_points(variations.nominal)}
    used = np.zeros((len(base.points), len(base.shifts)), dtype=bool)
    for variation in variations.variations:
        sample = samples.index(variation.sample.point)
        q = _shift_number(variation, base, terms.nuisances)
        for t, point in enumerate(base.points):
            used[t, q] |= at_points[tuple(point.values())][sample] is not None
    if np.linalg.matrix_rank(base.design[:, used.ravel()]) == terms.n_columns:
        return
    msg = (
        f"{variations.process}: the response depends on {', '.join(terms.parameters)}, but its "
        f"variations are at {'; '.join(format_point(p) for p in base.points)} only; add samples or "
        "weights at other points, or use theta_dependent=False"
    )
    raise SampleError(msg)


def _require_terms(
    variations: ProcessVariations, terms: ResponseTerms, shifts: FloatArray, values: FloatArray
) -> None:
    """Raise unless the shifts determine all terms; the message names the missing variation."""
    where = f"{variations.process}: the response"
    if np.linalg.matrix_rank(values) == terms.n_terms:
        return
    for k, name in enumerate(terms.nuisances):
        given = {float(x) for x in shifts[:, k] if x}
        if terms.interpolation == "code4":
            missing = [side for side in (1, -1) if not any(x * side > 0 for x in given)]
            remedy = "interpolation='polynomial'"
        else:
            degree = int(terms.exponents[:, k].max())
            candidates = [1, -1, 2, -2, *range(3, degree + 3)]
            n_missing = max(0, degree - len(given))
            missing = [x for x in candidates if x not in given][:n_missing]
            remedy = f"degree={{'{name}': {len(given)}}}"
        if missing:
            have = ", ".join(f"{x:g}" for x in sorted(given)) or "none"
            msg = (
                f"{where} to {name} has variations at {have} but also needs {name} at "
                f"{' and '.join(f'{x:g}' for x in missing)}, or {remedy}"
            )
            raise SampleError(msg)
    # A term that contributes to all solutions of zero response at the base points.
    *_, directions = np.linalg.svd(values)
    loose = np.abs(directions[np.linalg.matrix_rank(values) :]).max(axis=0) > 1e-6
    names = ", ".join(n for n, free in zip(terms.names, loose, strict=True) if free)
    msg = (
        f"{where} has terms {names} that the variations do not determine; add variations that "
        "shift these nuisance parameters both together and separately, or omit cross terms"
    )
    raise SampleError(msg)


@dataclass(frozen=True, eq=False)
class ResponseEvents:
    """Nominal and varied events as rows of a table; the nominal events come first.

    A base point is a shift of the nuisance parameters at a parameter point.  The weight of an event
    at a base point is its weight at this parameter point, times a factor of its sample.  Weight
    variations have their own table, `soft`.

    Parameters
    ----------
    base
        The base points.
    features
        Features of the events, shape (n, n_features).
    weights
        Weights of the events at each parameter point, shape (n, n_points).
    labels
        Label of each event, shape (n,): for a nominal event the index of its sample, for a varied
        event the index of its shift plus the number of nominal samples.
    groups
        Number that an event and its varied copies have in common, shape (n,).
    factors, varied
        Factors on the weights of the events of each label, at each base point, shape (n_labels,
        n_base): `factors` for their nominal weights, `varied` for their varied weights.
    soft
        Weights of the nominal events in the weight variations, shape (n_nominal, n_soft).
    soft_places
        1 at the base point of each column of `soft`, else 0, shape (n_soft, n_base).
    paired
        Whether the varied events of each base point are copies of the nominal events, shape
        (n_base,).
    yield_errors
        Errors of the ratios of varied to nominal yields, shape (n_base,).
    """

    base: BasePoints
    features: Float32Array
    weights: FloatArray
    labels: IntArray
    groups: IntArray
    factors: FloatArray
    varied: FloatArray
    soft: FloatArray
    soft_places: FloatArray
    paired: FloatArray
    yield_errors: FloatArray

    @classmethod
    def of(
        cls, variations: ProcessVariations, base: BasePoints, names: Sequence[str]
    ) -> ResponseEvents:
        """Combine the events of all samples of the variations.

        Parameters
        ----------
        variations
            Nominal and varied samples.
        base
            Result of :func:`base_points` for these variations, or for a larger set that contains
            them.
        names
            Names of the nuisance parameters, in the order of the base points.

        Raises
        ------
        SampleError
            If weights are missing, or their sum is not positive.

        Examples
        --------
        >>> nominal = Sample(np.ones((2, 1)), ("x",))
        >>> process = ProcessVariations(
        ...     nominal, (Variation.of_weights(nominal, {"muR": 1.0}, [1.0, 3.0]),))
        >>> terms = ResponseTerms.of(["muR"], degree=1)
        >>> events = ResponseEvents.of(process, base_points(process, terms), ["muR"])
        >>> events.dense(slice(None))
        (array([[0.3333...], [0.3333...]]), array([[0.3333...], [1.        ]]))
        """
        totals = EventTotals.of(variations, base.points)
        totals.require_positive(variations, base.points)
        events = cls.part(variations, base, names, totals)
        return events.scaled(len(events) / total_weight(events))

    @classmethod
    def part(
        cls,
        variations: ProcessVariations,
        base: BasePoints,
        names: Sequence[str],
        totals: EventTotals,
    ) -> ResponseEvents:
        """Combine some of the events; their weights are normalised by the sums over all events.

        Parameters
        ----------
        variations, base, names
            As for :meth:`of`.
        totals
            Sums of weights over all events.
        """
        return _stacked(variations, base, names, totals)

    def scaled(self, factor: float) -> ResponseEvents:
        """Return the same events with all weights multiplied by a factor."""
        return dataclasses.replace(self, weights=self.weights * factor, soft=self.soft * factor)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def n_nominal(self) -> int:
        """Number of nominal events, which come first."""
        return len(self.soft)

    def dense(self, rows: IntArray | slice) -> tuple[FloatArray, FloatArray]:
        """Return nominal and varied weights of events, both of shape (n, n_base)."""
        index = np.arange(len(self))[rows]
        labels = self.labels[index]
        n_shifts = len(self.base.shifts)
        weights = np.repeat(self.weights[index], n_shifts, axis=1)
        varied = weights * self.varied[labels]
        nominal = index < self.n_nominal
        if self.soft.shape[1]:
            varied[nominal] += self.soft[index[nominal]] @ self.soft_places
        return weights * self.factors[labels], varied

    def in_groups(self) -> Iterator[IntArray]:
        """Yield rows in blocks; an event and its varied copies are in the same block."""
        order = np.argsort(self.groups, kind="stable")
        ordered = self.groups[order]
        start = 0
        while start < len(order):
            stop = start + _ROWS
            if stop < len(order):
                stop = int(np.searchsorted(ordered, ordered[stop], side="left"))
                if stop <= start:
                    stop = int(np.searchsorted(ordered, ordered[start], side="right"))
            yield order[start:stop]
            start = stop


class _Weights(NamedTuple):
    """Weights of events at each of several points; None if there are none.

    `nominal` has a list for each sample, and `varied` a list for each variation.
    """

    nominal: list[list[FloatArray | None]]
    varied: list[list[FloatArray | None]]

    @classmethod
    def of(cls, variations: ProcessVariations, points: Sequence[Point]) -> _Weights:
        samples = variations.nominal
        if not points[0]:
            nominal: list[list[FloatArray | None]] = [[s.weights] for s in samples]
        else:
            by_point = {tuple(p.values()): weights for p, weights in weights_at_points(samples)}
            none: list[FloatArray | None] = [None] * len(samples)
            nominal = [
                [by_point.get(tuple(p.values()), none)[s] for p in points]
                for s in range(len(samples))
            ]
        varied = []
        for variation in variations.variations:
            s = _sample_number(variation, variations)
            varied.append(
                [
                    None if w is None else _varied_weights(variation, samples[s], point)
                    for w, point in zip(nominal[s], points, strict=True)
                ]
            )
        return cls(nominal, varied)


@dataclass(frozen=True, eq=False)
class EventTotals:
    """Sums of weights over nominal and varied events, which may be read in several parts.

    Parameters
    ----------
    nominal
        Sums of each nominal sample at each point; None if the sample has no weights at the point.
    varied
        Sums of each variation at each point; None as for `nominal`.
    own
        Sums of the weights of each nominal sample, then of each variation; each at the point of its
        own events.
    n_events
        Number of events of each nominal sample, then of each variation.
    partners
        For each variation, the index of the nominal sample whose events it changes; None if the
        variation does not change nominal events but has its own events.
    ratios
        Yield of each variation, divided by the nominal yield.
    """

    nominal: list[list[WeightSums | None]]
    varied: list[list[WeightSums | None]]
    own: FloatArray
    n_events: IntArray
    partners: tuple[int | None, ...]
    ratios: tuple[YieldRatio, ...]

    @classmethod
    def of(cls, variations: ProcessVariations, points: Sequence[Point]) -> EventTotals:
        """Sum the weights of events at parameter points.

        Examples
        --------
        >>> nominal = Sample(np.ones((2, 1)), ("x",))
        >>> process = ProcessVariations(
        ...     nominal, (Variation.of_weights(nominal, {"muR": 1.0}, [1.0, 3.0]),))
        >>> totals = EventTotals.of(process, ({},))
        >>> EventTotals.joined([totals, totals]).own
        array([4., 8.])
        """
        weights = _Weights.of(variations, points)
        samples = [*variations.nominal, *(v.sample for v in variations.variations)]
        return cls(
            nominal=[[_sums_of(w) for w in row] for row in weights.nominal],
            varied=[[_sums_of(w) for w in row] for row in weights.varied],
            own=np.array([float(s.weights.sum()) for s in samples]),
            n_events=np.array([len(s) for s in samples]),
            partners=tuple(
                None if v.partners is None else _sample_number(v, variations)
                for v in variations.variations
            ),
            ratios=tuple(variations.yield_ratio(v) for v in variations.variations),
        )

    @classmethod
    def joined(cls, parts: Sequence[EventTotals]) -> EventTotals:
        """Add the sums of several parts, whose weights must have the same normalisation."""
        own = np.sum([p.own for p in parts], axis=0)
        ratios = []
        for m, (s, first) in enumerate(zip(parts[0].partners, parts[0].ratios, strict=True)):
            if s is None:
                ratios.append(first)  # of the cross-sections, which are those of the whole
                continue
            nominal = np.array([p.own[s] for p in parts])
            values, errors = np.array([p.ratios[m] for p in parts]).T
            ratios.append(
                YieldRatio(
                    float(values @ nominal / nominal.sum()),
                    float(np.linalg.norm(errors * nominal) / nominal.sum()),
                )
            )
        return cls(
            nominal=added_sums([p.nominal for p in parts]),
            varied=added_sums([p.varied for p in parts]),
            own=own,
            n_events=np.sum([p.n_events for p in parts], axis=0),
            partners=parts[0].partners,
            ratios=tuple(ratios),
        )

    def require_positive(self, variations: ProcessVariations, points: Sequence[Point]) -> None:
        """Raise if the weights of a sample at a point do not sum to a positive number."""
        labels = [s.label for s in variations.nominal]
        labels += [f"variation {v.label}" for v in variations.variations]
        rows = [*self.nominal, *self.varied]
        for label, row, n in zip(labels, rows, self.n_events, strict=True):
            for point, sums in zip(points, row, strict=True):
                if sums is not None and not sums.total > 0:
                    where = f" at {format_point(point)}" if point else ""
                    msg = (
                        f"{label}: the weights{where} of {n} events sum to "
                        f"{sums.total:g}, but the sum must be positive; use more events, or "
                        "another seed or validation_fraction"
                    )
                    raise SampleError(msg)


def _sums_of(weights: FloatArray | None) -> WeightSums | None:
    return None if weights is None else WeightSums.over(weights)


def added_sums(parts: Sequence[list[list[WeightSums | None]]]) -> list[list[WeightSums | None]]:
    """Add the sums of several parts, which all have weights at the same points."""
    whole: list[list[WeightSums | None]] = []
    for rows in zip(*parts, strict=True):
        row: list[WeightSums | None] = []
        for entries in zip(*rows, strict=True):
            there = [e for e in entries if e is not None]
            row.append(WeightSums(*np.sum(there, axis=0)) if there else None)
        whole.append(row)
    return whole


def _stacked(
    variations: ProcessVariations, base: BasePoints, names: Sequence[str], totals: EventTotals
) -> ResponseEvents:
    samples = variations.nominal
    n_points, n_shifts, n_samples = len(base.points), len(base.shifts), len(samples)
    all_weights = _Weights.of(variations, base.points)
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in samples])])
    n_nominal = int(offsets[-1])
    members = [
        (v, _sample_number(v, variations), _shift_number(v, base, names))
        for v in variations.variations
    ]
    has = np.zeros((n_samples, n_shifts))
    for _, s, q in members:
        has[s, q] = 1.0
    # Fraction of each sample at each point, and sum of these fractions at each base point.
    shares = np.array(
        [
            [_share(sums, p) for sums, p in zip(row, base.points, strict=True)]
            for row in totals.nominal
        ]
    )
    per_point = np.einsum("st,sq->tq", shares, has)
    inverse = np.divide(1.0, per_point, out=np.zeros_like(per_point), where=per_point > 0)
    n_labels, n_base = n_samples + n_shifts, n_points * n_shifts
    factors, varied = np.zeros((n_labels, n_base)), np.zeros((n_labels, n_base))
    for s in range(n_samples):
        factors[s] = (inverse * has[s]).ravel()
    for q in range(n_shifts):
        varied[n_samples + q].reshape(n_points, n_shifts)[:, q] = inverse[:, q]
    features, weights, labels, groups = [], [], [], []
    for s, sample in enumerate(samples):
        features.append(sample.features)
        own_weights = [
            None if w is None or sums is None else w * (share / sums.total)
            for w, sums, share in zip(
                all_weights.nominal[s], totals.nominal[s], shares[s].tolist(), strict=True
            )
        ]
        weights.append(_columns(own_weights, len(sample)))
        labels.append(np.full(len(sample), s))
        groups.append(np.arange(len(sample)) + offsets[s])
    next_group = n_nominal
    soft: dict[int, FloatArray] = {}
    paired, errors = np.ones(n_base), np.zeros(n_base)
    for m, (v, s, q) in enumerate(members):
        ratio = totals.ratios[m]
        own: list[FloatArray | None] = []
        for t in range(n_points):
            nominal_sums, varied_sums = totals.nominal[s][t], totals.varied[m][t]
            varied_weights = all_weights.varied[m][t]
            b = t * n_shifts + q
            if nominal_sums is None or varied_sums is None or varied_weights is None:
                own.append(None)
                continue
            at_point = (
                ratio.value
                * float(varied_sums.total / totals.own[n_samples + m])
                / float(nominal_sums.total / totals.own[s])
            )
            own.append(varied_weights * (shares[s, t] * at_point / varied_sums.total))
            if v.partners is None:
                paired[b] = 0.0
            errors[b] = max(errors[b], ratio.error)
        if v.weights_only:
            rows = slice(offsets[s], offsets[s + 1])
            for t, w in enumerate(own):
                if w is not None:
                    column = soft.setdefault(t * n_shifts + q, np.zeros(n_nominal))
                    column[rows] += w * inverse[t, q]
            continue
        n = len(v.sample)
        features.append(v.sample.features)
        weights.append(_columns(own, n))
        labels.append(np.full(n, n_samples + q))
        partners = np.full(n, -1) if v.partners is None else v.partners
        group = np.where(partners >= 0, partners + offsets[s], 0)
        alone = partners < 0
        group[alone] = next_group + np.arange(alone.sum())
        next_group += int(alone.sum())
        groups.append(group)
    places = np.zeros((len(soft), n_base))
    places[np.arange(len(soft)), list(soft)] = 1.0
    return ResponseEvents(
        base=base,
        features=np.concatenate(features),
        weights=np.concatenate(weights),
        labels=np.concatenate(labels).astype(np.int64),
        groups=np.concatenate(groups).astype(np.int64),
        factors=factors,
        varied=varied,
        soft=np.stack(list(soft.values()), axis=1) if soft else np.empty((n_nominal, 0)),
        soft_places=places,
        paired=paired,
        yield_errors=errors,
    )


def total_weight(events: ResponseEvents) -> float:
    """Return the sum of the nominal and varied weights over all base points.

    The training scales the weights so that this sum becomes the number of events.
    """
    total = 0.0
    for start in range(0, len(events), _ROWS):
        total += sum(float(w.sum()) for w in events.dense(slice(start, start + _ROWS)))
    return total


def _share(sums: WeightSums | None, point: Point) -> float:
    """Return the fraction of a nominal sample at a point: its effective number of events there.

    If the response does not depend on the point, all samples have the same fraction.
    """
    if not point:
        return 1.0
    return 0.0 if sums is None else float(sums.effective_number())


def _sample_number(variation: Variation, variations: ProcessVariations) -> int:
    return [s.point for s in variations.nominal].index(variation.sample.point)


def _shift_number(variation: Variation, base: BasePoints, names: Sequence[str]) -> int:
    row = [variation.nuisances.get(n, 0.0) for n in names]
    same = np.all(base.shifts == row, axis=1)
    if not same.any():
        msg = f"variation {variation.label} is not at a shift of the training; remove it"
        raise SampleError(msg)
    return int(np.argmax(same))


def _varied_weights(variation: Variation, nominal: Sample, point: Point) -> FloatArray:
    """Return weights of varied events at a point at which the nominal events have weights."""
    sample = variation.sample
    elsewhere = point and point != nominal.point
    weights = weights_at(sample, point) if elsewhere else sample.weights
    if weights is None:
        msg = (
            f"variation {variation.label} has no weights at {format_point(point)}, but the nominal "
            "events have; give its events the same weights, or remove the weights from both"
        )
        raise SampleError(msg)
    return weights


def _columns(weights: Sequence[FloatArray | None], n: int) -> FloatArray:
    return np.stack([np.zeros(n) if w is None else w for w in weights], axis=1)
