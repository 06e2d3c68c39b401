"""Simulated events of one process at shifted values of nuisance parameters.

A nuisance parameter α has the nominal value 0; its auxiliary measurement has an error of 1, so that
α = ±1 are the usual up and down variations.  A :class:`Variation` is a sample at shifted values:

- *features* are varied where an energy scale, a resolution or a selection changes: the same events
  analysed again, or events of another simulation;
- *weights* are varied where the probability of an event changes: scales, parton densities, tagging
  efficiencies.  The ratio of both weights is then known for each event.

:class:`ProcessVariations` holds the nominal samples of a process with all of its variations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import SampleError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.points import format_point

__all__ = ["ProcessVariations", "Variation", "YieldRatio", "select_together"]


class YieldRatio(NamedTuple):
    """Expected events of a variation over the nominal ones, with the Monte-Carlo error."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Variation:
    """Events of one process at shifted values of nuisance parameters.

    Parameters
    ----------
    nuisances
        Shifted values, ``{"jet_scale": 1.0}``; nuisance parameters that are not named are at zero.
    sample
        The events there.  Its weights and its cross-section are those after the selection of the
        varied events: events that the selection loses or gains are part of the variation.
    partners
        For each event of `sample` the number of the same event in the nominal sample, or −1 where
        the nominal selection rejects it, shape (n_events,).  None: events of another simulation.
    weights_only
        Whether the events and their features are the nominal ones, in the same order, and only the
        weights differ: then the ratio of both is known for each event.

    Raises
    ------
    SampleError
        If no nuisance parameter is shifted, a shift is not finite, or `partners` does not have one
        number for each event.

    Examples
    --------
    >>> nominal = Sample(np.array([[1.0], [2.0]]), ("x",))
    >>> up = Variation.of_features(nominal, {"scale": 1.0}, [[1.1], [2.2]])
    >>> up
    Variation(scale=1, features of 2 events, signal)
    >>> Variation.of_weights(nominal, {"theory": 1.0}, [1.2, 0.9]).sample.weights
    array([1.2, 0.9])
    """

    nuisances: Point
    sample: Sample
    partners: IntArray | None = None
    weights_only: bool = False

    def __post_init__(self) -> None:
        shifts = {str(name): float(value) for name, value in self.nuisances.items()}
        label = f"variation {format_point(shifts) or '(empty)'} of {self.sample.label}"
        if not shifts or not any(shifts.values()):
            msg = (
                f"{label}: a variation shifts at least one nuisance parameter; give the nominal "
                "events as nominal"
            )
            raise SampleError(msg)
        for name, value in shifts.items():
            if not name.isidentifier():
                msg = f"{label}: the nuisance parameter {name!r} needs a name like a variable's"
                raise SampleError(msg)
            if not np.isfinite(value):
                msg = f"{label}: {name} is {value:g}; give a finite shift"
                raise SampleError(msg)
        put = object.__setattr__
        put(self, "nuisances", shifts)
        if self.partners is None:
            if self.weights_only:
                msg = (
                    f"{label}: weights_only=True needs partners, the numbers of the nominal events"
                )
                raise SampleError(msg)
            return
        partners = np.asarray(self.partners)
        if partners.shape != (len(self.sample),) or partners.dtype.kind not in "iu":
            msg = (
                f"{label}: partners must be {len(self.sample)} whole numbers, one for each event, "
                f"not an array of {partners.dtype} of shape {partners.shape}"
            )
            raise SampleError(msg)
        put(self, "partners", partners.astype(np.int64, copy=False))
        if self.weights_only and not np.array_equal(partners, np.arange(len(partners))):
            msg = f"{label}: with weights_only=True the events are the nominal ones, in their order"
            raise SampleError(msg)

    @classmethod
    def of_features(cls, nominal: Sample, nuisances: Point, features: ArrayLike) -> Variation:
        """Events of a sample with changed features, all of which are selected as before.

        Parameters
        ----------
        nominal
            The nominal events.
        nuisances
            Shifted values.
        features
            Changed features of the same events, shape (n_events, n_features).

        Examples
        --------
        >>> nominal = Sample(np.array([[1.0], [2.0]]), ("x",))
        >>> Variation.of_features(nominal, {"scale": -1.0}, [[0.9], [1.8]]).partners
        array([0, 1])
        """
        varied = dataclasses.replace(nominal, features=features)  # type: ignore[arg-type]
        return cls(nuisances, varied, np.arange(len(nominal)))

    @classmethod
    def of_weights(cls, nominal: Sample, nuisances: Point, weights: str | ArrayLike) -> Variation:
        """Events of a sample with other weights.

        Parameters
        ----------
        nominal
            The nominal events.
        nuisances
            Shifted values.
        weights
            Name of one of the weights of the sample (``reweights``), or the new weights themselves,
            shape (n_events,).  Weights at other parameter points change in proportion.

        Raises
        ------
        SampleError
            If there is no such weight, shapes differ, or an event of weight zero gets another one.

        Examples
        --------
        >>> nominal = Sample(np.zeros((2, 1)), ("x",), reweights={"muR_2": [1.1, 0.8]})
        >>> Variation.of_weights(nominal, {"scale": 1.0}, "muR_2").sample.weights
        array([1.1, 0.8])
        """
        label = f"variation {format_point(nuisances)} of {nominal.label}"
        if isinstance(weights, str):
            if weights not in nominal.reweights:
                msg = (
                    f"{label}: there is no weight {weights!r}; the sample has "
                    f"{', '.join(nominal.reweights) or 'no other weights'}"
                )
                raise SampleError(msg)
            new = nominal.reweights[weights]
        else:
            new = np.asarray(weights, dtype=np.float64)
        if new.shape != nominal.weights.shape:
            msg = f"{label}: weights of shape {new.shape} for {len(nominal)} events"
            raise SampleError(msg)
        lost = (nominal.weights == 0) & (new != 0)
        if lost.any():
            msg = (
                f"{label}: event {int(np.argmax(lost))} has the weight 0 and gets "
                f"{new[lost][0]:g}; the ratio of both is not defined, leave the event out"
            )
            raise SampleError(msg)
        ratio = np.divide(new, nominal.weights, out=np.ones_like(new), where=nominal.weights != 0)
        total = float(nominal.weights.sum())
        factor = float(new.sum()) / total if total else np.nan
        varied = dataclasses.replace(
            nominal,
            weights=new,
            reweights={k: v * ratio for k, v in nominal.reweights.items()},
            cross_section=nominal.cross_section * factor,
            cross_section_error=nominal.cross_section_error * abs(factor),
        )
        return cls(nuisances, varied, np.arange(len(nominal)), weights_only=True)

    @property
    def label(self) -> str:
        """Shifts, process and point, for messages."""
        return f"{format_point(self.nuisances)} of {self.sample.label}"

    def __repr__(self) -> str:
        kind = "other events" if self.partners is None else "features"
        kind = "weights" if self.weights_only else kind
        return (
            f"Variation({format_point(self.nuisances)}, {kind} of {len(self.sample)} events, "
            f"{self.sample.label})"
        )


@dataclass(frozen=True, eq=False)
class ProcessVariations:
    """Nominal samples of one process, and its variations by nuisance parameters.

    Parameters
    ----------
    nominal
        One sample, or samples at several parameter points.
    variations
        Variations of these samples; each belongs to the nominal sample at the same parameter point.

    Raises
    ------
    SampleError
        If a variation has another process, other features or a point without a nominal sample, is
        given twice, has no positive yield, or names an event of the nominal sample that does not
        exist, or two times the same one.

    Examples
    --------
    >>> nominal = Sample(np.array([[1.0], [2.0]]), ("x",))
    >>> process = ProcessVariations(nominal, [
    ...     Variation.of_features(nominal, {"scale": s}, nominal.features * (1 + 0.1 * s))
    ...     for s in (-1, 1)])
    >>> process.nuisances, process.yield_ratio(process.variations[0]).value
    (('scale',), 1.0)
    """

    nominal: SampleSet
    variations: tuple[Variation, ...]

    def __post_init__(self) -> None:
        given: Sample | SampleSet = self.nominal
        nominal = SampleSet((given,)) if isinstance(given, Sample) else given
        object.__setattr__(self, "nominal", nominal)
        object.__setattr__(self, "variations", tuple(self.variations))
        if not self.variations:
            msg = f"{nominal[0].label}: there are no variations; give at least one"
            raise SampleError(msg)
        for sample in nominal:
            if not sample.weights.sum() > 0:
                msg = (
                    f"{sample.label}: the weights sum to {sample.weights.sum():g}; a response is a "
                    "ratio to the nominal events, whose yield must be positive"
                )
                raise SampleError(msg)
        seen: set[tuple[object, ...]] = set()
        for variation in self.variations:
            self._require_fits(variation)
            shifts = tuple(sorted(variation.nuisances.items()))
            key = (tuple(variation.sample.point.items()), shifts)
            if key in seen:
                msg = f"two variations for {variation.label}; join their events"
                raise SampleError(msg)
            seen.add(key)

    def _require_fits(self, variation: Variation) -> None:
        nominal, sample = self.nominal_of(variation), variation.sample
        if sample.process != nominal.process:
            msg = (
                f"variation {variation.label} cannot belong to the process {nominal.process!r}; "
                "give each process variations of its own"
            )
            raise SampleError(msg)
        if sample.feature_names != nominal.feature_names:
            differ = ", ".join(sorted({*sample.feature_names} ^ {*nominal.feature_names}))
            msg = (
                f"variation {variation.label} and the nominal sample have different features "
                f"({differ or 'another order'})"
            )
            raise SampleError(msg)
        total = float(sample.weights.sum())
        if not total > 0:
            msg = (
                f"variation {variation.label}: the weights of {len(sample)} events sum to "
                f"{total:g}; its yield must be positive"
            )
            raise SampleError(msg)
        partners = variation.partners
        if variation.weights_only and not np.array_equal(sample.features, nominal.features):
            msg = (
                f"variation {variation.label}: weights_only=True, but its features are not those "
                f"of the {len(nominal)} nominal events"
            )
            raise SampleError(msg)
        if partners is None:
            return
        paired = partners[partners >= 0]
        if partners.size and (partners.max() >= len(nominal) or partners.min() < -1):
            wrong = partners[(partners >= len(nominal)) | (partners < -1)][0]
            msg = (
                f"variation {variation.label}: an event names the nominal event {wrong}, and there "
                f"are {len(nominal)}; it was made from other events"
            )
            raise SampleError(msg)
        if len(np.unique(paired)) < len(paired):
            msg = (
                f"variation {variation.label}: two events have the same partner in the nominal "
                "sample"
            )
            raise SampleError(msg)

    @property
    def process(self) -> str:
        """Name of the process."""
        return self.nominal[0].process

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features."""
        return self.nominal.feature_names

    @cached_property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the nuisance parameters, in the order of the variations."""
        return tuple(dict.fromkeys(name for v in self.variations for name in v.nuisances))

    @cached_property
    def shifts(self) -> FloatArray:
        """Different shifts, shape (n_shifts, n_nuisances), in the order of the variations."""
        rows = [tuple(v.nuisances.get(n, 0.0) for n in self.nuisances) for v in self.variations]
        return np.array(list(dict.fromkeys(rows)), dtype=np.float64)

    def shift_index(self, variation: Variation) -> int:
        """Row of :attr:`shifts` that a variation has."""
        row = [variation.nuisances.get(n, 0.0) for n in self.nuisances]
        return int(np.argmax(np.all(self.shifts == row, axis=1)))

    def nominal_of(self, variation: Variation) -> Sample:
        """Nominal sample at the parameter point of a variation.

        Raises
        ------
        SampleError
            If there is none.
        """
        for sample in self.nominal:
            if sample.point == variation.sample.point:
                return sample
        points = "; ".join(s.label for s in self.nominal)
        msg = f"variation {variation.label} has no nominal sample at its point; there are: {points}"
        raise SampleError(msg)

    def yield_ratio(self, variation: Variation) -> YieldRatio:
        """Expected events of a variation over the nominal ones.

        For the same events it is the ratio of the sums of the weights, and the events that both
        have in common do not count in its error; for other events it is the ratio of the
        cross-sections.

        Raises
        ------
        SampleError
            If the events are others and a cross-section is missing.
        """
        nominal, sample, partners = self.nominal_of(variation), variation.sample, variation.partners
        if partners is not None:
            total = float(nominal.weights.sum())
            ratio = float(sample.weights.sum()) / total
            matched = partners >= 0
            difference = -ratio * nominal.weights
            difference[partners[matched]] += sample.weights[matched]
            square = np.sum(difference**2) + np.sum(sample.weights[~matched] ** 2)
            return YieldRatio(ratio, float(np.sqrt(square)) / total)
        for s in (nominal, sample):
            if not s.cross_section > 0:
                msg = (
                    f"variation {variation.label}: its events are not those of the nominal sample, "
                    "so both need cross_section= in pb after the selection"
                )
                raise SampleError(msg)
        ratio = sample.cross_section / nominal.cross_section
        relative = [
            s.cross_section_error / s.cross_section
            if np.isfinite(s.cross_section_error)
            else float(np.sqrt(np.sum(s.weights**2)) / s.weights.sum())
            for s in (nominal, sample)
        ]
        return YieldRatio(ratio, ratio * float(np.hypot(*relative)))

    def split(self, fractions: Sequence[float], seed: int) -> tuple[ProcessVariations, ...]:
        """Split into disjoint parts at random; an event and its varied copies stay together.

        Parameters
        ----------
        fractions
            Share of each part; they sum to one.
        seed
            The same seed gives the same parts.

        Raises
        ------
        SampleError
            If the fractions are not positive or do not sum to one.

        Examples
        --------
        >>> nominal = Sample(np.arange(10.0)[:, None], ("x",))
        >>> process = ProcessVariations(
        ...     nominal, [Variation.of_features(nominal, {"scale": 1.0}, nominal.features + 1)])
        >>> first, second = process.split([0.5, 0.5], seed=1)
        >>> bool(np.all(first.variations[0].sample.features == first.nominal[0].features + 1))
        True
        """
        if min(fractions, default=0) <= 0 or abs(sum(fractions) - 1) > 1e-9:
            msg = f"fractions {list(fractions)} must be positive and sum to 1"
            raise SampleError(msg)
        seeds = np.random.SeedSequence(seed).spawn(len(self.nominal) + len(self.variations))
        part_of = [
            _random_parts(len(s), fractions, q)
            for s, q in zip(self.nominal, seeds[: len(self.nominal)], strict=True)
        ]
        points = [s.point for s in self.nominal]
        varied = []
        for variation, q in zip(self.variations, seeds[len(self.nominal) :], strict=True):
            part = _random_parts(len(variation.sample), fractions, q)
            if variation.partners is not None:
                of_nominal = part_of[points.index(variation.sample.point)]
                paired = variation.partners >= 0
                part[paired] = of_nominal[variation.partners[paired]]
            varied.append(part)
        return tuple(
            select_together(self, [p == k for p in part_of], [p == k for p in varied])
            for k in range(len(fractions))
        )

    def restricted(self, nuisances: Sequence[str]) -> ProcessVariations:
        """The variations that shift some of the nuisance parameters and no others.

        Raises
        ------
        SampleError
            If there are none.
        """
        names = set(nuisances)
        chosen = tuple(
            v for v in self.variations if {n for n, x in v.nuisances.items() if x} <= names
        )
        if not chosen:
            msg = (
                f"{self.process}: no variation shifts {', '.join(nuisances)} alone; there are "
                f"{'; '.join(format_point(v.nuisances) for v in self.variations)}"
            )
            raise SampleError(msg)
        return ProcessVariations(self.nominal, chosen)

    def __repr__(self) -> str:
        return (
            f"ProcessVariations({self.process}: {len(self.variations)} variations by "
            f"{', '.join(self.nuisances)}, {len(self.nominal)} nominal samples)"
        )


def select_together(
    process: ProcessVariations,
    nominal: Sequence[np.ndarray[tuple[int], np.dtype[np.bool_]]],
    varied: Sequence[np.ndarray[tuple[int], np.dtype[np.bool_]]],
) -> ProcessVariations:
    """Select events of nominal and varied samples by masks, and renumber the partners.

    Parameters
    ----------
    process
        All events.
    nominal, varied
        Mask of the events of each nominal sample and of each variation.

    Examples
    --------
    >>> nominal = Sample(np.arange(3.0)[:, None], ("x",))
    >>> process = ProcessVariations(
    ...     nominal, [Variation.of_features(nominal, {"scale": 1.0}, nominal.features + 1)])
    >>> keep = np.array([False, True, True])
    >>> select_together(process, [keep], [keep]).variations[0].partners
    array([0, 1])
    """
    samples = {}
    places = {}
    for sample, keep in zip(process.nominal, nominal, strict=True):
        chosen = np.flatnonzero(keep)
        new = np.full(len(sample) + 1, -1, dtype=np.int64)  # the last: of events without partner
        new[chosen] = np.arange(len(chosen))
        places[id(sample)], samples[id(sample)] = new, sample.take(chosen)
    variations = []
    for variation, keep in zip(process.variations, varied, strict=True):
        chosen = np.flatnonzero(keep)
        old = process.nominal_of(variation)
        partners = variation.partners
        if partners is not None:
            partners = places[id(old)][partners[chosen]]
        variations.append(
            dataclasses.replace(variation, sample=variation.sample.take(chosen), partners=partners)
        )
    return ProcessVariations(
        SampleSet(tuple(samples[id(s)] for s in process.nominal)), tuple(variations)
    )


def _random_parts(n: int, fractions: Sequence[float], seed: np.random.SeedSequence) -> IntArray:
    """Number of the part of each event, shape (n,)."""
    stops = np.rint(np.cumsum(fractions) * n).astype(np.int64)
    part = np.searchsorted(stops, np.arange(n), side="right")
    out = np.empty(n, dtype=np.int64)
    out[np.random.default_rng(seed).permutation(n)] = part
    return out


def shifted_names(variations: Mapping[str, ProcessVariations]) -> tuple[str, ...]:
    """Names of the nuisance parameters of all processes, in order."""
    return tuple(dict.fromkeys(n for v in variations.values() for n in v.nuisances))
