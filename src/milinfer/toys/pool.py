"""Pools of simulated events from which toys are drawn, at the points of samples or at any point.

If the weight of each event is a polynomial in the parameters θ, a pool can be used at every θ.  All
samples together form one mixture of events.  Reweighting the mixture to θ uses all events, no
matter at which point they were generated (multiple importance sampling with the balance heuristic;
Veach and Guibas, SIGGRAPH 95).  The effective number of events measures the precision of a pool at
θ.  Fingerprints show whether two pools have events in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np

from milinfer.exceptions import ParameterError, SampleError
from milinfer.samples.argument_checks import require_samples
from milinfer.samples.fingerprints import sketch
from milinfer.samples.reweighting import JointDensity, joint_density
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import effective_number, mixture_shares
from milinfer.typing import Float32Array, FloatArray, IntArray, Point
from milinfer.utils.display import html_table
from milinfer.utils.points import format_point

__all__ = ["Background", "EventPool", "PointPool"]

Array = TypeVar("Array", FloatArray, Float32Array)

_REMEDY = (
    "these events have no density there: draw toys at the points of the samples (degree=None), or "
    "keep the squared operator terms in the generator"
)


class Background(NamedTuple):
    """Background events for toys: events of a process that does not depend on the parameters.

    Parameters
    ----------
    sample
        The events, with the same features as the signal.
    n_expected
        Mean number of background events in a toy.
    """

    sample: Sample
    n_expected: float


def _gathered(parts: Sequence[Array], rows: IntArray) -> Array:
    """Take rows of several arrays as if they were joined; a toy has few events of a large pool."""
    starts = np.cumsum([0, *(len(p) for p in parts)])
    which = np.searchsorted(starts, rows, side="right") - 1
    gathered = np.empty((len(rows), *parts[0].shape[1:]), dtype=np.result_type(*parts))
    for k, part in enumerate(parts):
        mine = which == k
        gathered[mine] = part[rows[mine] - starts[k]]
    return gathered


class PointPool(NamedTuple):
    """Events from which toys at one parameter point are drawn.

    Parameters
    ----------
    samples
        The events.
    weights
        Event weights at the point, sample after sample, shape (n_events,), in arbitrary units.
    n_effective
        (Σ|w|)²/Σw²: number of unweighted events with the same statistical power.
    pool_id
        Fingerprint of the events; see :func:`milinfer.samples.fingerprints.sketch`.
    """

    samples: tuple[Sample, ...]
    weights: FloatArray
    n_effective: float
    pool_id: str

    def take(self, rows: IntArray, point: Point) -> Sample:
        """Return rows of the pool as a dataset.

        The weights of the dataset are ±1.  It keeps the reweights that all samples have.
        """
        signs = np.sign(self.weights[rows])
        if len(self.samples) == 1:
            return replace(self.samples[0].take(rows), weights=signs)
        first, *others = self.samples
        # Weights at other points have names, and a name may mean different points in two samples.
        common = {
            name
            for name in first.reweights
            if all(
                name in s.reweights
                and s.reweight_points.get(name) == first.reweight_points.get(name)
                for s in others
            )
        }
        return Sample(
            features=_gathered([s.features for s in self.samples], rows),
            feature_names=first.feature_names,
            weights=signs,
            point=point,
            process=first.process,
            reweights={
                name: _gathered([s.reweights[name] for s in self.samples], rows)
                for name in first.reweights
                if name in common
            },
            reweight_points={k: p for k, p in first.reweight_points.items() if k in common},
            provenance={"samples": [s.label for s in self.samples]},
        )

    def expectation(self, expected: float, point: Point) -> Sample:
        """Return all events as Asimov data, with weights that sum to the expected number of events.

        Raises
        ------
        SampleError
            If the weights do not sum to a positive number.
        """
        total = float(self.weights.sum())
        if not total > 0:
            msg = (
                f"{self.samples[0].label}: the weights at {format_point(point)} sum to {total:g}; "
                "give events whose weights have a positive sum"
            )
            raise SampleError(msg)
        sample = self.take(np.arange(len(self.weights)), point)
        provenance = {**sample.provenance, "asimov": dict(point)}
        return replace(sample, weights=self.weights * (expected / total), provenance=provenance)

    def with_backgrounds(self, n_signal: float, backgrounds: Sequence[Background]) -> PointPool:
        """Mix the signal with backgrounds, in proportion to their expected numbers of events.

        Raises
        ------
        SampleError
            If a process has no events of positive weight, or if events have negative weights.  With
            negative weights, the fraction of a process among the drawn events would be wrong.
        """
        if not backgrounds:
            return self
        weights = []
        parts = [(self.samples[0].label, self.weights, n_signal)]
        parts += [(b.sample.label, b.sample.weights, b.n_expected) for b in backgrounds]
        for label, w, expected in parts:
            if np.any(w < 0):
                msg = (
                    f"{label}: event {int(np.argmax(w < 0))} has a negative weight, but toys of "
                    "several processes need positive weights; use events of positive weight"
                )
                raise SampleError(msg)
            total = w.sum()
            if not total > 0:
                msg = (
                    f"{label}: the weights of its {len(w)} events sum to {total:g}, so toys of "
                    f"{expected:g} events cannot be drawn from them; give events of positive "
                    "weight, or omit the process"
                )
                raise SampleError(msg)
            weights.append(w * (expected / total))
        samples = (*self.samples, *(b.sample for b in backgrounds))
        mixed = np.concatenate(weights)
        return PointPool(samples, mixed, effective_number(np.abs(mixed)), sketch(samples))


@dataclass(frozen=True, eq=False)
class EventPool:
    """Simulated events from which toys are drawn at any parameter point.

    Parameters
    ----------
    samples
        Set of samples with the events.
    degree
        None: toys can be drawn only at the points of the samples, and a toy uses only the sample at
        its point.  A number: all events together are reweighted to any point.  The number is the
        degree of the event weights as polynomials in the parameters (2 for one operator insertion,
        4 for insertions in production and decay).  Far from the points of the samples, most of the
        weight is on a few events: check ``at(point).n_effective``.

    Raises
    ------
    SampleError
        With a degree, if the weights of an event are missing, are not polynomials of this degree,
        or change sign between the points of the samples.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> samples = quadratic.samples(1000, [{"c1": 0.0}, {"c1": 1.0}], seed=1)
    >>> pool = EventPool(samples, degree=2).at({"c1": 0.5})
    >>> pool.weights.shape, 1500 < pool.n_effective < 2000
    ((2000,), True)
    """

    samples: SampleSet
    degree: int | None = None

    def __post_init__(self) -> None:
        require_samples(self.samples, "EventPool()")
        if self.degree is not None:
            _ = self._density  # raises an error now if events cannot be reweighted

    def __repr__(self) -> str:
        points = f"{len(self.samples)} points in {', '.join(self.samples.parameters)}"
        between = "" if self.degree is None else f", any point by weights of degree {self.degree}"
        return f"EventPool({points}, {self.samples.n_events} events{between})"

    def _repr_html_(self) -> str:
        rows = []
        for sample in self.samples:
            effective = (
                effective_number(np.abs(sample.weights))
                if self.degree is None
                else self.at(sample.point).n_effective
            )
            point = format_point(sample.point)
            rows.append([sample.process, point, str(len(sample)), f"{effective:.6g}"])
        where = "at these points" if self.degree is None else "at any point"
        return html_table(
            ("process", "point", "events", "effective events at the point"),
            rows,
            title=f"Pool for toys {where}: {self.samples.n_events} events",
        )

    @cached_property
    def _density(self) -> JointDensity:
        assert self.degree is not None
        shares = mixture_shares(s.weights for s in self.samples)
        return joint_density(self.samples, self.degree, shares=shares, remedy=_REMEDY)

    @cached_property
    def _sketch(self) -> str:
        return sketch(self.samples)

    def at(self, point: Mapping[str, float]) -> PointPool:
        """Return the events and their weights at a point.

        Raises
        ------
        ParameterError
            If the point has other parameters than the pool.  If the pool has no degree, also if
            there is no sample at the point.
        SampleError
            If the density of an event is not positive at the point; the message names the event.
        """
        if self.degree is None:
            sample = self.samples.at(**point)
            return PointPool(
                (sample,), sample.weights, effective_number(np.abs(sample.weights)), sketch(sample)
            )
        if set(point) != set(self.samples.parameters):
            msg = (
                f"{format_point(point)} is not a point of {', '.join(self.samples.parameters)}, "
                "the parameters of the samples"
            )
            raise ParameterError(msg)
        joint = self._density
        densities = joint.at(joint.basis.array(point)[None], _REMEDY)
        weights = np.concatenate(
            [
                w * density[:, 0] / mixture
                for w, density, mixture in zip(joint.weights, densities, joint.mixture, strict=True)
            ]
        )
        return PointPool(
            self.samples.samples, weights, effective_number(np.abs(weights)), self._sketch
        )

    def reweighted(self, point: Mapping[str, float]) -> Sample:
        """Return the events for a point as one sample, with weights in arbitrary units.

        If the pool has a degree, the sample always contains all events of the pool.  Samples at two
        points then have the same events.

        Raises
        ------
        ParameterError, SampleError
            As for :meth:`at`.

        Examples
        --------
        >>> from milinfer.datasets import quadratic
        >>> EventPool(quadratic.samples(100, [{"c1": 0.0}], seed=1), 2).reweighted({"c1": 0.5})
        Sample(100 events, 8 features, quadratic at c1=0.5)
        """
        pool = self.at(point)
        first = pool.samples[0]
        return Sample(
            features=np.concatenate([s.features for s in pool.samples]),
            feature_names=first.feature_names,
            weights=pool.weights,
            point=dict(point),
            process=first.process,
        )
