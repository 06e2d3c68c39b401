"""Hold the nominal samples of a process together with its variations by nuisance parameters.

:class:`ProcessVariations` is made from samples, files, arrays or the output of coffea.
:class:`~milinfer.samples.variation.Variation` is one of its variations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.samples.argument_checks import require_samples
from milinfer.samples.cross_sections import Combine, require_combine
from milinfer.samples.sample import Sample, require_fractions, sample_of_file
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variation import (
    Variation,
    named_errors_of,
    varied_sample,
    with_points_only,
)
from milinfer.samples.variation_joining import joined_variations
from milinfer.typing import FloatArray, IntArray, PathLikeStr, Point
from milinfer.utils.arguments import path_text, require_seed, short_repr
from milinfer.utils.keywords import require_keywords
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    from milinfer.features.variations import EventVariation
    from milinfer.samples.event_samples import VariedFields
    from milinfer.samples.sample_fields import SampleFields
    from milinfer.samples.variation_files import StoredVariation

__all__ = [
    "ProcessVariations",
    "Variation",
    "YieldRatio",
    "select_together",
    "variations_of_folder",
]


class YieldRatio(NamedTuple):
    """Expected number of varied events divided by that of nominal events, and Monte-Carlo error."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class ProcessVariations:
    """Nominal samples of one process, and its variations by nuisance parameters.

    Parameters
    ----------
    nominal
        One sample, or samples at several parameter points.
    variations
        Variations of these samples.  Each variation belongs to the nominal sample at its parameter
        point.

    Raises
    ------
    SampleError
        If process or features of a variation are not those of the nominal samples, if there is no
        nominal sample at its point, if its yield is not positive, or if a variation is given twice.
        Also if `partners` contains a number twice, or the number of an event that does not exist in
        the nominal sample.

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
        require_samples(nominal, "ProcessVariations()")
        object.__setattr__(self, "nominal", nominal)
        object.__setattr__(self, "variations", _variations(self.variations))
        if not self.variations:
            msg = f"{nominal[0].label}: there are no variations; give at least one"
            raise SampleError(msg)
        for sample in nominal:
            total = _sum(sample.weights)
            if not 0 < total < np.inf:
                msg = (
                    f"{sample.label}: the weights sum to {total:g}; a response is a "
                    "ratio to the nominal events, whose yield must be positive and finite"
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
        self._require_one_meaning()

    def _require_one_meaning(self) -> None:
        """Refuse a nuisance parameter that changes weights in one variation, features in others."""
        kinds: dict[str, Variation] = {}
        for variation in self.variations:
            if len(variation.nuisances) > 1:
                continue
            for name in variation.nuisances:
                before = kinds.setdefault(name, variation)
                if before.weights_only != variation.weights_only:
                    msg = (
                        f"the nuisance parameter {name} has two meanings: {before!r} and "
                        f"{variation!r}; give each a different name"
                    )
                    raise SampleError(msg)

    def _require_fits(self, variation: Variation) -> None:
        nominal, sample = self.nominal_of(variation), variation.sample
        if sample.process != nominal.process:
            msg = (
                f"variation {variation.label} cannot belong to the process {nominal.process!r}; "
                "give each process its own variations"
            )
            raise SampleError(msg)
        if sample.feature_names != nominal.feature_names:
            differ = ", ".join(sorted({*sample.feature_names} ^ {*nominal.feature_names}))
            msg = (
                f"variation {variation.label} and the nominal sample have different features "
                f"({differ or 'another order'})"
            )
            raise SampleError(msg)
        total = _sum(sample.weights)
        if not 0 < total < np.inf:
            msg = (
                f"variation {variation.label}: the weights of {len(sample)} events sum to "
                f"{total:g}; its yield must be positive and finite"
            )
            raise SampleError(msg)
        partners = variation.partners
        if variation.weights_only and not np.array_equal(sample.features, nominal.features):
            msg = (
                f"variation {variation.label}: weights_only=True, but its features differ from the "
                f"features of the {len(nominal)} nominal events"
            )
            raise SampleError(msg)
        if partners is None:
            return
        paired = partners[partners >= 0]
        if partners.size and (partners.max() >= len(nominal) or partners.min() < -1):
            wrong = partners[(partners >= len(nominal)) | (partners < -1)][0]
            msg = (
                f"variation {variation.label}: partners contains the nominal event {wrong}, but "
                f"there are {len(nominal)}; make the variation from the events of this sample"
            )
            raise SampleError(msg)
        if paired.size and np.bincount(paired).max() > 1:
            msg = (
                f"variation {variation.label}: partners contains a nominal event twice; give each "
                "varied event a different nominal event, or -1"
            )
            raise SampleError(msg)

    @classmethod
    def from_file(
        cls,
        path: PathLikeStr | Sequence[PathLikeStr],
        *,
        variations: Iterable[EventVariation],
        combine: Combine | None = None,
        **options: Any,
    ) -> ProcessVariations:
        """Read event files, and compute the features of the nominal and of the varied events.

        Each file is read once.  The selection is applied to every variation separately.  The
        `partners` of a variation show which events the variation gains or loses relative to the
        nominal events, and ``provenance["rejected"]`` of its sample is the number of rejected
        events.

        Parameters
        ----------
        path
            LHE, ROOT or Parquet file of events, or several files.  Files at the same parameter
            point are joined; each point has its own nominal sample.
        variations
            Variations of the events: :class:`~milinfer.ScaleVariation`,
            :class:`~milinfer.FunctionVariation`, :class:`~milinfer.WeightVariation`, or pairs of
            these, as made by :func:`~milinfer.up_and_down`.
        combine
            How files at the same point are joined; see :meth:`Sample.concatenate`.
        options
            Arguments of :meth:`Sample.from_file`: ``features``, ``point``, ``on_missing``, …
            Varied samples keep the weights at other parameter points, and no other weights.

        Raises
        ------
        SampleError, FeatureError
            If events lack what the features need, or if a variation cannot be applied.  The message
            names the file and the variation.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from milinfer.datasets import vbf_hww
        >>> from milinfer.features.variations import ScaleVariation, up_and_down
        >>> from milinfer.io import lhe
        >>> jes = up_and_down(ScaleVariation, "jes", 1.03, 0.97, objects="jets")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "a.lhe")
        ...     lhe.write(file, *vbf_hww.generate(20, {"c_HW": 0.0}, seed=1).to_events(()))
        ...     ProcessVariations.from_file(file, variations=jes)
        ProcessVariations(vbf_hww: 2 variations by jes, 1 nominal samples)
        """
        from milinfer.samples.sample_files import read_sample
        from milinfer.samples.variation_files import read_variations

        require_keywords(options, read_sample, "ProcessVariations.from_file()", leave_out=["path"])
        paths = _paths(path)
        given: object = variations
        chosen: list[Any] = list(given) if isinstance(given, Iterable) else [given]
        parts = []
        for file in paths:
            fields, varied = read_variations(file, chosen, **options)
            nominal = sample_of_file(fields, file)
            with named_errors_of(file):
                parts.append(cls(nominal, tuple(_variation(nominal, v) for v in varied)))  # type: ignore[arg-type]
        return cls.concatenate(parts, combine)

    @classmethod
    def from_arrays(
        cls,
        nominal: Any,
        varied: Mapping[Any, Any] | None = None,
        features: str | Sequence[str] | None = None,
        *,
        event: str | Sequence[str] = "event",
        weights: Any = None,
        weight_variations: Mapping[Any, Any] | None = None,
        reweights: Any = None,
        reweight_points: Mapping[str, Point] | Sequence[Point] | None = None,
        **options: Any,
    ) -> ProcessVariations:
        """Make nominal and varied samples from data frames or arrays, paired by event.

        Parameters
        ----------
        nominal
            Nominal events after their selection: a data frame, a mapping of names to columns, or
            anything else that :meth:`Sample.from_arrays` takes.
        varied
            Varied events after their selection.  The keys are name and value of the nuisance
            parameter, ``{("jes", 1.0): frame, ("jes", -1.0): frame}``; a key with several pairs
            shifts several parameters.
        features
            Names of the columns to take; default: all columns that no other argument uses.
        event
            Column, or columns, that identify an event in nominal and varied frames.  If a varied
            event is not among the nominal events, only the varied selection has accepted it.
        weights
            Name of the column of event weights, in all frames.
        weight_variations
            Varied weights of the nominal events, ``{("muR", 1.0): "weight_muR_up"}``: names of
            columns of the nominal frame, or arrays of shape (n_events,).
        reweights, reweight_points
            Weights at other parameter points, as in :meth:`Sample.from_arrays`: names of columns
            that all frames have.
        options
            Further arguments of :class:`~milinfer.Sample`: ``point=``, ``process=``, …
            ``cross_section=`` is that of the nominal events in pb.  For a variation, milinfer
            multiplies it by the sum of the varied weights divided by the sum of the nominal
            weights.

        Raises
        ------
        SampleError
            If a frame contains an event twice or a row that cannot be used, or if a varied frame
            contains none of the nominal events.  The message names the variation and the row.

        Examples
        --------
        >>> frame = {"event": [1, 2, 3], "x": [0.5, 1.5, 2.5], "w": [1.0, 1.0, 2.0]}
        >>> up = {"event": [2, 3, 4], "x": [1.6, 2.6, 0.6], "w": [1.0, 2.0, 1.0]}
        >>> process = ProcessVariations.from_arrays(
        ...     frame, {("jes", 1.0): up}, weights="w", weight_variations={("muR", 1.0): [1, 2, 2]})
        >>> process.variations[0].partners, process.variations[1].sample.weights
        (array([ 1,  2, -1]), array([1., 2., 2.]))
        """
        from milinfer.samples.variation_arrays import varied_rows

        taken = ["features", "feature_names", "weights", "reweights", "reweight_points"]
        require_keywords(options, Sample, "ProcessVariations.from_arrays()", leave_out=taken)
        fields, rows = varied_rows(
            nominal,
            {} if varied is None else varied,
            features,
            event=event,
            weights=weights,
            weight_variations={} if weight_variations is None else weight_variations,
            reweights=reweights,
            reweight_points=reweight_points,
        )
        sample = Sample(**fields, **options)
        variations = []
        for nuisances, own, partners, other_weights in rows:
            if own is None:
                assert other_weights is not None
                variations.append(Variation.of_weights(sample, nuisances, other_weights))
            else:
                made = varied_sample(sample, {**options, **own})
                variations.append(Variation(nuisances, made, partners))
        return cls(sample, tuple(variations))  # type: ignore[arg-type]

    @classmethod
    def from_accumulator(
        cls, output: Any, features: Sequence[str] | None = None, *, point: Point, **options: Any
    ) -> ProcessVariations:
        """Make nominal and varied samples from the output of a coffea processor.

        Parameters
        ----------
        output
            Output of :func:`milinfer.accumulate_variations` for the chunks of a dataset,
            added up.  Join several datasets of a process with :meth:`concatenate`.
        features
            Columns to take, in this order; default: all.
        point, options
            As for :meth:`Sample.from_accumulator`.  The cross-section is that of the nominal events
            before any selection.  For a variation, milinfer multiplies it by the sum of the varied
            weights divided by the sum of the nominal weights.

        Raises
        ------
        SampleError
            If `output` is no such accumulator, or if some chunks lack a variation.

        Examples
        --------
        >>> import awkward as ak
        >>> from milinfer.features.feature_set import FeatureSet
        >>> from milinfer.features.variation_accumulators import accumulate_variations
        >>> events = ak.Array({"x": [0.5, 1.5, 2.5]})
        >>> flat = FeatureSet("flat", {"x": lambda o: o.x}, collections=())
        >>> up, down = (ak.with_field(events, events.x + s, "x") for s in (0.6, -0.6))
        >>> output = accumulate_variations(flat, events, {"scale": {1: up, -1: down}},
        ...                                weights=None, selection=lambda e: e.x > 1)
        >>> process = ProcessVariations.from_accumulator(output, point={}, cross_section=3.0)
        >>> process.variations[0].partners, process.variations[0].sample.cross_section
        (array([-1,  0,  1]), 3.0)
        """
        from milinfer.samples.accumulators import accumulator_fields, varied_accumulators

        taken = ["output", "features", "point"]
        where = "ProcessVariations.from_accumulator()"
        require_keywords(options, accumulator_fields, where, leave_out=taken)
        nominal, rows = varied_accumulators(output, options.get("dataset"))
        sample = Sample(**accumulator_fields(nominal, features, point=point, **options))
        for of_nominal in ("cross_section", "cross_section_error", "sum_of_weights"):
            options.pop(of_nominal, None)
        variations = []
        for nuisances, varied, partners, weights in rows:
            if varied is None:
                assert weights is not None
                variations.append(
                    Variation.of_weights(with_points_only(sample), nuisances, weights)
                )
                continue
            with named_errors_of(f"variation {format_point(nuisances)}"):
                fields = accumulator_fields(varied, sample.feature_names, point=point, **options)
                fields["provenance"] = {**fields["provenance"], "nuisances": nuisances}
                made = with_points_only(varied_sample(sample, fields))
                variations.append(Variation(nuisances, made, partners))
        return cls(sample, tuple(variations))  # type: ignore[arg-type]

    @classmethod
    def concatenate(
        cls, parts: Sequence[ProcessVariations], combine: Combine | None = None
    ) -> ProcessVariations:
        """Join nominal and varied events of several files of one process.

        Nominal samples at the same parameter point are joined as by :meth:`Sample.concatenate`, and
        varied weights are scaled by the same factors.  Samples at different points stay separate.

        Parameters
        ----------
        parts
            Nominal and varied events of each file.  All files must have the same variations.
        combine
            ``"sum"`` for slices, ``"mean"`` for runs; see :meth:`Sample.concatenate`.

        Raises
        ------
        SampleError
            If a part lacks a variation that another part has at the same point.

        Examples
        --------
        >>> nominal = Sample(np.array([[1.0], [2.0]]), ("x",))
        >>> one = ProcessVariations(nominal, [Variation.of_features(nominal, {"s": 1}, [[2], [3]])])
        >>> ProcessVariations.concatenate([one, one]).variations[0].partners
        array([0, 1, 2, 3])
        """
        several: object = parts
        parts = list(several) if isinstance(several, Iterable) else []
        if not parts:
            msg = "the list of variations is empty; give variations of at least one file"
            raise SampleError(msg)
        require_combine(combine)
        wrong: list[object] = [p for p in parts if type(p) is not cls]
        if wrong:
            msg = (
                "ProcessVariations.concatenate() takes a list of ProcessVariations, and not of "
                f"{type(wrong[0]).__name__}"
            )
            raise SampleError(msg)
        if len(parts) == 1:
            return parts[0]
        joined = joined_variations([(part.nominal, part.variations) for part in parts], combine)
        return cls(*joined)

    def save(self, folder: PathLikeStr) -> None:
        """Write nominal and varied samples to a folder, without loss.

        Each sample is a Parquet file that :meth:`Sample.from_file` can read, too.  Files of
        variations that change only weights contain no features.  ``variations.json`` lists the
        files with their numbers of events and fingerprints (SHA-256), which :meth:`load` checks.

        Examples
        --------
        >>> import tempfile
        >>> nominal = Sample(np.array([[1.0], [2.0]]), ("x",))
        >>> process = ProcessVariations(nominal, [Variation.of_weights(nominal, {"t": 1}, [2, 1])])
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     process.save(parent + "/signal")
        ...     ProcessVariations.load(parent + "/signal").variations
        (Variation(t=1, weights of 2 events, signal),)
        """
        from milinfer.samples.variation_files import StoredVariation, write_folder

        write_folder(
            folder,
            [s.fields for s in self.nominal],
            [
                StoredVariation(v.nuisances, v.sample.fields, v.partners, v.weights_only)
                for v in self.variations
            ],
        )

    @classmethod
    def load(cls, folder: PathLikeStr) -> ProcessVariations:
        """Read a folder that :meth:`save` has written.

        Raises
        ------
        SampleError
            If a file is missing, has a wrong number of events, or has changed since it was written.
        """
        from milinfer.samples.variation_files import read_folder

        nominal, stored = read_folder(folder)
        with named_errors_of(folder):
            return variations_of_folder(nominal, stored)

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
        """Distinct shifts of the nuisance parameters, shape (n_shifts, n_nuisances)."""
        rows = [tuple(v.nuisances.get(n, 0.0) for n in self.nuisances) for v in self.variations]
        return np.array(list(dict.fromkeys(rows)), dtype=np.float64)

    def nominal_of(self, variation: Variation) -> Sample:
        """Return the nominal sample at the parameter point of a variation.

        Raises
        ------
        SampleError
            If there is no nominal sample at this point.
        """
        _require_variation(variation)
        for sample in self.nominal:
            if sample.point == variation.sample.point:
                return sample
        points = "; ".join(s.label for s in self.nominal)
        msg = f"variation {variation.label} has no nominal sample at its point; there are: {points}"
        raise SampleError(msg)

    def yield_ratio(self, variation: Variation) -> YieldRatio:
        """Divide the expected number of events of a variation by that of the nominal sample.

        If the variation has the events of the nominal sample, the result is the ratio of the sums
        of weights, and its error takes into account that the events are the same.  If the variation
        has events of another simulation, the result is the ratio of the cross-sections.

        Raises
        ------
        SampleError
            If the events are from another simulation, and a cross-section is missing.
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
                    f"variation {variation.label}: its events differ from the nominal sample, so "
                    "both need cross_section= in pb after the selection"
                )
                raise SampleError(msg)
        ratio = sample.cross_section / nominal.cross_section
        relative = [
            s.cross_section_error / s.cross_section
            if np.isfinite(s.cross_section_error)
            else float(np.sqrt(np.sum(s.weights**2)) / s.weights.sum())
            for s in (nominal, sample)
        ]
        return YieldRatio(ratio, ratio * float(np.hypot(relative[0], relative[1])))

    def split(self, fractions: Sequence[float], seed: int) -> tuple[ProcessVariations, ...]:
        """Split into disjoint parts at random; an event and its varied copies stay together.

        Parameters
        ----------
        fractions
            Fraction of the events in each part; the fractions sum to one.
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
        fractions = require_fractions(fractions, of_all=True)
        require_seed(seed)
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
        """Keep the variations that shift only the given nuisance parameters, or some of them.

        Raises
        ------
        SampleError
            If there are no such variations.
        """
        names = set(_names(nuisances))
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


def _paths(given: object) -> list[str]:
    """One path or several, as a list."""
    if isinstance(given, str | bytes | PathLike) or not isinstance(given, Iterable):
        return [path_text(given)]
    return [path_text(path) for path in given]


def _names(given: object) -> list[Any]:
    """One name of a nuisance parameter or several, as a list."""
    names = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not all(isinstance(name, str) for name in names):
        msg = f"{short_repr(given)} names no nuisance parameters; give a list such as ['jes']"
        raise SampleError(msg)
    return names


def _require_variation(given: object) -> None:
    if not isinstance(given, Variation):
        msg = f"{short_repr(given)} is not a variation; give one of process.variations"
        raise SampleError(msg)


def _sum(weights: FloatArray) -> float:
    with np.errstate(over="ignore"):
        return float(weights.sum())


def _variations(given: object) -> tuple[Variation, ...]:
    variations = tuple(given) if isinstance(given, Iterable) else (given,)
    for variation in variations:
        if not isinstance(variation, Variation):
            msg = (
                "ProcessVariations() takes a list of Variation, and not of "
                f"{type(variation).__name__}; make them with milinfer.Variation(...), "
                "Variation.of_features(...) or Variation.of_weights(...)"
            )
            raise SampleError(msg)
    return variations


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
        For each nominal sample, and for each variation, the mask of the events to keep.

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


def _variation(nominal: Sample, varied: VariedFields) -> Variation:
    """Variation of the events of a file."""
    if varied.weights is None:
        fields = varied.fields
        return Variation(varied.nuisances, Sample(**fields._asdict()), varied.partners)  # type: ignore[union-attr]
    return Variation.of_weights(with_points_only(nominal), varied.nuisances, varied.weights)


def variations_of_folder(
    nominal: Sequence[SampleFields], stored: Sequence[StoredVariation]
) -> ProcessVariations:
    """Make samples and variations from the content of a folder.

    A variation that changes only weights gets the features of the nominal events.
    """
    samples = SampleSet(tuple(Sample(**fields._asdict()) for fields in nominal))
    variations = []
    for nuisances, fields, partners, weights_only in stored:
        entries = fields._asdict()
        if weights_only:
            same = [s for s in samples if s.point == fields.point]
            if same:  # otherwise the error says which point has no nominal sample
                entries["features"] = same[0].features
            entries["feature_names"] = samples.feature_names
        variations.append(Variation(nuisances, Sample(**entries), partners, weights_only))
    return ProcessVariations(samples, tuple(variations))
