"""Convert weights of events to arrays; an error names each event without a finite weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import SampleError
from milinfer.typing import AwkwardArray, FloatArray, IntArray

__all__ = ["all_weights", "are_coffea_weights", "event_weights"]


def are_coffea_weights(weights: Any) -> bool:
    """Tell whether an object is ``Weights`` of coffea."""
    return hasattr(weights, "variations") and callable(getattr(weights, "weight", None))


def all_weights(
    weights: Any, n: int, source: str = "", *, first_event: int = 0, name: str = "the weight"
) -> FloatArray:
    """Return the weights of all events of a chunk, shape (n,).

    Parameters
    ----------
    weights
        One number for each event, ``Weights`` of coffea, or None: all are 1.
    n
        Number of events.
    source, first_event, name
        As for :func:`event_weights`.

    Raises
    ------
    SampleError
        If there is not one number for each event.

    Examples
    --------
    >>> all_weights(None, 2), all_weights([1, 3], 2)
    (array([1., 1.]), array([1., 3.]))
    """
    if weights is None:
        return np.ones(n)
    column = weights.weight() if are_coffea_weights(weights) else weights
    array = event_weights(column, name, source, first_event=first_event)
    if array.shape != (n,):
        msg = (
            f"{source or 'the events'}: {name} has {len(array)} entries for {n} events; give one "
            "for each event, before any selection"
        )
        raise SampleError(msg)
    return array


def event_weights(
    column: ArrayLike | AwkwardArray,
    name: str,
    source: str = "",
    *,
    first_event: int | IntArray = 0,
) -> FloatArray:
    """Convert a column of weights to an array of shape (n_events,), float64.

    Parameters
    ----------
    column
        One number for each event: an array of NumPy or awkward, eager or virtual.
    name
        Name of the weights, such as the name of a branch, for messages.
    source
        File or dataset, for messages.
    first_event
        Number that the first event has in the file, or the numbers of all events, for messages.

    Raises
    ------
    SampleError
        If an event has no weight, several weights, or a weight that is not finite; the message
        names file, event and branch.

    Examples
    --------
    >>> event_weights([1, 2], "genWeight")
    array([1., 2.])
    >>> import awkward as ak
    >>> event_weights(ak.Array([1.0, None]), "genWeight", "a.root")
    Traceback (most recent call last):
    ...
    milinfer.exceptions.SampleError: a.root: event 1 (counted from 0): genWeight is missing; ...
    """
    place = f"{source}: " if source else ""

    def fail(event: int, problem: str, remedy: str) -> SampleError:
        number = first_event + event if isinstance(first_event, int) else first_event[event]
        return SampleError(f"{place}event {number} (counted from 0): {name} {problem}; {remedy}")

    def no_numbers(kind: object) -> SampleError:
        return SampleError(f"{place}{name} contains {kind}, not numbers; give a branch of weights")

    if isinstance(column, np.ndarray) and column.ndim == 1:
        # As columns of features are; they need no awkward, which takes long to import.
        array, missing = column, np.zeros(len(column), dtype=np.bool_)
        if isinstance(column, np.ma.MaskedArray):
            missing = np.ma.getmaskarray(column)
    else:
        import awkward as ak

        try:
            events: Any = column if isinstance(column, ak.Array | np.ndarray) else ak.Array(column)
        except (TypeError, ValueError) as error:
            msg = (
                f"{place}{name} is not an array of numbers ({error}); give one number for each "
                "event"
            )
            raise SampleError(msg) from error
        if events.ndim != 1:
            remedy = "give a branch with one number for each event"
            if len(events) and events.ndim == 2:
                counts = np.asarray(ak.fill_none(ak.num(events, axis=1), 0))
                event = int(np.argmax(counts != 1))
                raise fail(event, f"is a list of length {counts[event]}", remedy)
            msg = f"{place}{name} is not a list of one number for each event; {remedy}"
            raise SampleError(msg)
        missing = np.asarray(ak.is_none(events))
        try:
            array = ak.to_numpy(events[~missing] if missing.any() else events)
        except (TypeError, ValueError) as error:  # records, or numbers and texts
            raise no_numbers(events.type.content) from error
    remedy = "correct it, or remove the event from the file"
    if missing.any():
        raise fail(int(np.argmax(missing)), "is missing", remedy)
    if array.dtype.kind not in "fiub":
        raise no_numbers(array.dtype)
    weights = np.asarray(array, dtype=np.float64)
    finite = np.isfinite(weights)
    if not finite.all():
        event = int(np.argmin(finite))
        raise fail(event, f"is {weights[event]}", remedy)
    return weights
