"""Hold simulated events of one process at shifted values of nuisance parameters.

A nuisance parameter α has the nominal value 0; its auxiliary measurement has an error of 1, so that
α = ±1 are the usual up and down variations.  A :class:`Variation` is a sample at shifted values:

- *features* vary if an energy scale, a resolution or a selection changes.  The varied events are
  the same events analysed again, or events of another simulation.
- *weights* vary if the probability of an event changes: renormalisation scales, parton densities,
  tagging efficiencies.  The ratio of varied to nominal weight is then known for each event.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import MilinferError, SampleError
from milinfer.samples.argument_checks import require_sample
from milinfer.samples.cross_sections import varied_cross_section
from milinfer.samples.sample import Sample
from milinfer.typing import IntArray, PathLikeStr, Point
from milinfer.utils.points import format_point, shifts_of

__all__ = ["Variation", "named_errors_of", "varied_sample", "with_points_only"]


@dataclass(frozen=True, eq=False)
class Variation:
    """Events of one process at shifted values of nuisance parameters.

    Parameters
    ----------
    nuisances
        Values of the shifted nuisance parameters, ``{"jet_scale": 1.0}``.  Nuisance parameters that
        are not given are zero.
    sample
        The events that the varied selection accepts, with their weights, and the cross-section
        after this selection.  The nominal selection may reject some of these events.
    partners
        For each event of `sample`, the number of the same event in the nominal sample, or −1 if the
        nominal selection rejects this event; shape (n_events,).  None if the events are from
        another simulation.
    weights_only
        True if `sample` has the nominal events with the nominal features in the same order, and
        only the weights differ.  The ratio of varied to nominal weight is then known for each
        event.

    Raises
    ------
    SampleError
        If no nuisance parameter is shifted, if a shift is not finite, or if `partners` does not
        have one number for each event.

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
        require_sample(self.sample, "Variation()", data=False)
        shifts = shifts_of(self.nuisances, f"a variation of {self.sample.label}")
        label = f"variation {format_point(shifts)} of {self.sample.label}"
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
            msg = f"{label}: weights_only=True needs the nominal events in their order"
            raise SampleError(msg)

    @classmethod
    def of_features(cls, nominal: Sample, nuisances: Point, features: ArrayLike) -> Variation:
        """Make a variation of the nominal events with changed features.

        This assumes that the varied selection accepts exactly the nominal events.  If it accepts
        other events, use :class:`Variation` instead.

        Parameters
        ----------
        nominal
            The nominal events.
        nuisances
            Values of the shifted nuisance parameters.
        features
            Changed features of the same events, shape (n_events, n_features).

        Examples
        --------
        >>> nominal = Sample(np.array([[1.0], [2.0]]), ("x",))
        >>> Variation.of_features(nominal, {"scale": -1.0}, [[0.9], [1.8]]).partners
        array([0, 1])
        """
        require_sample(nominal, "Variation.of_features()", data=False)
        varied = dataclasses.replace(nominal, features=features)  # type: ignore[arg-type]
        return cls(nuisances, varied, np.arange(len(nominal)))

    @classmethod
    def of_weights(cls, nominal: Sample, nuisances: Point, weights: str | ArrayLike) -> Variation:
        """Make a variation of the nominal events with changed weights.

        Parameters
        ----------
        nominal
            The nominal events.
        nuisances
            Values of the shifted nuisance parameters.
        weights
            Name of one of the ``reweights`` of the sample, or the new weights themselves, shape
            (n_events,).  The weights of an event at other parameter points are multiplied by the
            ratio of its new weight to its nominal weight.

        Raises
        ------
        SampleError
            If there is no such weight, if shapes differ, or if an event of weight zero gets another
            weight.

        Examples
        --------
        >>> nominal = Sample(np.zeros((2, 1)), ("x",), reweights={"muR_2": [1.1, 0.8]})
        >>> Variation.of_weights(nominal, {"scale": 1.0}, "muR_2").sample.weights
        array([1.1, 0.8])
        """
        require_sample(nominal, "Variation.of_weights()", data=False)
        shifts = shifts_of(nuisances, f"a variation of {nominal.label}")
        label = f"variation {format_point(shifts)} of {nominal.label}"
        if isinstance(weights, str):
            if weights not in nominal.reweights:
                msg = (
                    f"{label}: there is no weight {weights!r}; the sample has "
                    f"{', '.join(nominal.reweights) or 'no other weights'}"
                )
                raise SampleError(msg)
            new = nominal.reweights[weights]
        else:
            try:
                new = np.asarray(weights, dtype=np.float64)
            except (OverflowError, TypeError, ValueError) as error:
                msg = f"{label}: the weights are not numbers: {error}"
                raise SampleError(msg) from error
        if new.shape != nominal.weights.shape:
            msg = f"{label}: weights of shape {new.shape} for {len(nominal)} events; give one each"
            raise SampleError(msg)
        lost = (nominal.weights == 0) & (new != 0)
        if lost.any():
            msg = (
                f"{label}: event {int(np.argmax(lost))} has the weight 0 and gets "
                f"{new[lost][0]:g}, so that their ratio is not defined; remove the event"
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


def varied_sample(nominal: Sample, fields: Mapping[str, Any]) -> Sample:
    """Make the sample of varied events; its cross-section follows from the sum of the weights.

    Parameters
    ----------
    nominal
        The nominal events.
    fields
        Arguments of the varied sample, without cross-section.
    """
    sample = Sample(**fields)
    value, error = varied_cross_section(
        nominal.cross_section, nominal.cross_section_error, nominal.weights, sample.weights
    )
    return dataclasses.replace(sample, cross_section=value, cross_section_error=error)


def with_points_only(sample: Sample) -> Sample:
    """Return a sample without the weights that belong to no parameter point.

    A hundred weights of parton densities in each of a hundred variations would fill the memory,
    and variations do not use them.

    Examples
    --------
    >>> sample = Sample(np.ones((1, 1)), ("x",), reweights={"muR": [1.0], "bsm": [2.0]},
    ...                 reweight_points={"bsm": {"c": 1.0}})
    >>> list(with_points_only(sample).reweights)
    ['bsm']
    """
    kept = {k: v for k, v in sample.reweights.items() if k in sample.reweight_points}
    return dataclasses.replace(sample, reweights=kept)


@contextmanager
def named_errors_of(source: PathLikeStr) -> Iterator[None]:
    """Add the name of a file or folder to errors of milinfer whose messages do not contain it."""
    try:
        yield
    except MilinferError as error:
        if str(source) in str(error):
            raise
        msg = f"{source}: {error}"
        raise type(error)(msg) from error
