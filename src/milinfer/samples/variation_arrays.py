"""Make nominal and varied samples from data frames and arrays, whose rows are paired by event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import SampleError
from milinfer.samples.arrays import Data, identified_fields
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.points import format_point, shifts_of_key

__all__ = ["VariedRows", "partners_of", "varied_rows"]

VariedRows = tuple[dict[str, float], dict[str, Any] | None, IntArray | None, FloatArray | None]
"""Shifts, varied events, their partners, and varied nominal weights; None for those not used."""


def varied_rows(
    nominal: Data,
    varied: Mapping[Any, Data],
    features: str | Sequence[str] | None,
    *,
    event: str | Sequence[str],
    weights: Data | None,
    weight_variations: Mapping[Any, Data],
    reweights: Data | None,
    reweight_points: Mapping[str, Point] | Sequence[Point] | None,
) -> tuple[dict[str, Any], list[VariedRows]]:
    """Return the arguments of the nominal sample, and the rows of each variation.

    See :meth:`milinfer.ProcessVariations.from_arrays` for the parameters.

    Returns
    -------
    tuple
        The arguments of the nominal sample, and a list with one tuple of four values for each
        variation: its shifts, the arguments of the varied sample, the result of
        :func:`partners_of`, and varied weights of the nominal events.  Values that do not apply are
        None.

    Raises
    ------
    SampleError
        If a row cannot be used, or if no event of a variation is among the nominal events.

    Examples
    --------
    >>> frame = {"event": [1, 2], "x": [0.5, 1.5]}
    >>> more = {"event": [2, 3], "x": [1.6, 2.6]}
    >>> _, rows = varied_rows(frame, {("s", 1): more}, None, event="event", weights=None,
    ...                       weight_variations={}, reweights=None, reweight_points=None)
    >>> rows[0][2]
    array([ 1, -1])
    """
    mappings: dict[str, object] = {"varied": varied, "weight_variations": weight_variations}
    for what, by_shift in mappings.items():
        if not isinstance(by_shift, Mapping):
            msg = (
                f"{what}= takes a mapping of shifts, {{('jes', 1.0): ...}}, and not a "
                f"{type(by_shift).__name__}"
            )
            raise SampleError(msg)
    shifts = {key: shifts_of_key(key) for key in (*varied, *weight_variations)}
    texts = {key: format_point(value) for key, value in shifts.items()}
    for what, given in (("weights", weights), ("reweights", reweights)):
        if varied and not _are_names(given):
            msg = (
                f"{what} must be names of columns of the nominal and the varied events, because "
                "their rows differ; put the values into columns"
            )
            raise SampleError(msg)
    fields, ids, others = identified_fields(
        nominal,
        features,
        event=event if varied else None,
        weights=weights,
        other_weights={texts[key]: column for key, column in weight_variations.items()},
        reweights=reweights,
        reweight_points=reweight_points,
    )
    rows: list[VariedRows] = []
    for key, data in varied.items():
        try:
            of_rows, own_ids, _ = identified_fields(
                data,
                fields["feature_names"],
                event=event,
                weights=weights,
                reweights=reweights,
                reweight_points=reweight_points,
            )
            partners = partners_of(own_ids, ids)
        except SampleError as error:
            msg = f"variation {texts[key]}: {error}"
            raise SampleError(msg) from error
        rows.append((shifts[key], of_rows, partners, None))
    rows += [(shifts[key], None, None, others[texts[key]]) for key in weight_variations]
    return fields, rows


def _are_names(given: Data | None) -> bool:
    if given is None or isinstance(given, str):
        return True
    values = given.values() if isinstance(given, Mapping) else given
    return isinstance(given, list | tuple | dict) and all(isinstance(v, str) for v in values)


def partners_of(ids: NDArray[Any] | None, nominal: NDArray[Any] | None) -> IntArray:
    """Find for each varied event its row among the nominal events, or −1 if it is not there.

    Parameters
    ----------
    ids, nominal
        Identifiers of the varied events, and of the nominal events.  No identifier may occur twice
        in one of these arrays.

    Raises
    ------
    SampleError
        If no varied event is among the nominal events.

    Examples
    --------
    >>> partners_of(np.array([7, 3]), np.array([3, 5]))
    array([-1,  0])
    """
    if ids is None or nominal is None:
        msg = "the events have no identifier; give a column in event="
        raise SampleError(msg)
    if ids.dtype.kind != nominal.dtype.kind and "U" in (ids.dtype.kind, nominal.dtype.kind):
        msg = (
            f"events are identified by {ids.dtype}, but nominal events by {nominal.dtype}; give "
            "both the same type"
        )
        raise SampleError(msg)
    partners = np.full(len(ids), -1, dtype=np.int64)
    _, own, theirs = np.intersect1d(ids, nominal, assume_unique=True, return_indices=True)
    partners[own] = theirs
    if len(ids) and not len(own):
        msg = (
            f"none of its {len(ids)} events is among the {len(nominal)} nominal events; for events "
            "of another simulation make a Variation(nuisances, Sample.from_arrays(…)) with a "
            "cross-section"
        )
        raise SampleError(msg)
    return partners
