"""Prepare the training events and the held-out events of a response to nuisance parameters.

The events are in memory or streamed from folders.  Importing this module does not import Keras.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from milinfer.exceptions import SampleError
from milinfer.learning.response_events import base_points
from milinfer.learning.response_stream import StreamedEvents, number_of_rows, read_streamed
from milinfer.learning.training_data import moments
from milinfer.likelihood.expected_response import (
    ExpectedResponse,
    expected_response,
    expected_response_of_parts,
)
from milinfer.likelihood.response_terms import ResponseTable, ResponseTerms
from milinfer.samples.fingerprints import sketch_each
from milinfer.samples.sample import Sample
from milinfer.samples.streamed_variations import StreamedVariations
from milinfer.samples.variations import ProcessVariations
from milinfer.typing import FloatArray
from milinfer.utils.points import format_point

__all__ = ["ResponseData", "response_data"]


class ResponseData(NamedTuple):
    """Training events and held-out events of a response to nuisance parameters.

    Parameters
    ----------
    train
        Training events of each network.
    stop, check
        Held-out events.  Those in `stop` decide when the training stops and determine the scale.
        Those in `check` check the result.
    mean, variance
        Means and variances of the features.
    n_train
        Number of training events: nominal events plus events of feature variations.
    n_events
        Number of events of each sample.
    trained_on
        Fingerprints of all events.
    expected
        Function that computes the mean of the response over all nominal events.  Its argument is a
        function that takes a sample and returns a table of the response of each event.
    """

    train: tuple[ProcessVariations | StreamedEvents, ...]
    stop: ProcessVariations
    check: ProcessVariations
    mean: FloatArray
    variance: FloatArray
    n_train: int
    n_events: dict[str, int]
    trained_on: tuple[str, ...]
    expected: Callable[[Callable[[Sample], ResponseTable]], ExpectedResponse]


def response_data(
    variations: ProcessVariations | StreamedVariations,
    validation: ProcessVariations | None,
    groups: Sequence[ResponseTerms],
    validation_fraction: float,
    seed: int,
) -> ResponseData:
    """Split variations into training events and held-out events; streamed ones are read once.

    Parameters
    ----------
    variations
        Nominal and varied events.
    validation
        Other events of the same variations: half of them decide when the training stops, the other
        half check the result.
    groups
        Terms of each network.
    validation_fraction
        Fraction of the events that is held out if there is no `validation`.  For streamed events,
        at most a quarter of the number of events that may be in memory is held out.
    seed
        Random seed of the split.

    Raises
    ------
    SampleError
        If `validation` has another process or other variations, or files have changed.
    """
    if isinstance(variations, StreamedVariations):
        if validation is not None:
            _require_matching(validation, variations.outline)
        return _streamed(variations, validation, groups, validation_fraction / 2, seed)
    half = validation_fraction / 2
    if validation is None:
        train, stop, check = variations.split([1 - 2 * half, half, half], seed=seed)
    else:
        _require_matching(validation, variations)
        train, (stop, check) = variations, validation.split([0.5, 0.5], seed=seed)
    mean, variance = moments(variations.nominal)
    return ResponseData(
        train=tuple(
            train if len(groups) == 1 else train.restricted(terms.nuisances) for terms in groups
        ),
        stop=stop,
        check=check,
        mean=mean,
        variance=variance,
        n_train=number_of_rows(train),
        n_events=_numbers(variations),
        trained_on=_sketches(variations) + (_sketches(validation) if validation else ()),
        expected=lambda table: expected_response(table, variations.nominal),
    )


def _streamed(
    variations: StreamedVariations,
    validation: ProcessVariations | None,
    groups: Sequence[ResponseTerms],
    held_out: float,
    seed: int,
) -> ResponseData:
    held_out = min(held_out, variations.piece_events / variations.n_events / 2)
    events = StreamedEvents(variations, 0.0 if validation else held_out, seed)
    each = [
        events if len(groups) == 1 else dataclasses.replace(events, names=terms.nuisances)
        for terms in groups
    ]
    bases = [base_points(e.outline, terms) for e, terms in zip(each, groups, strict=True)]
    names = [terms.nuisances for terms in groups]
    found = read_streamed(events, list(zip(names, bases, strict=True)))
    stop, check = found.stop, found.check
    if validation is not None:
        stop, check = validation.split([0.5, 0.5], seed=seed)
    assert stop is not None
    assert check is not None
    survey = variations.survey
    return ResponseData(
        train=tuple(
            dataclasses.replace(e, totals=totals)
            for e, totals in zip(each, found.totals, strict=True)
        ),
        stop=stop,
        check=check,
        mean=found.mean,
        variance=found.variance,
        n_train=found.n_train,
        n_events=survey.n_events,
        trained_on=variations.sketches + (_sketches(validation) if validation else ()),
        expected=lambda table: expected_response_of_parts(
            table, found.nominal.parts(), found.weight_sums
        ),
    )


def _require_matching(validation: ProcessVariations, variations: ProcessVariations) -> None:
    """Raise unless validation events have the same process, features and variations."""
    if validation.process != variations.process:
        msg = (
            f"validation= has the process {validation.process}, not {variations.process}; pass "
            "variations of the same process"
        )
        raise SampleError(msg)
    if validation.feature_names != variations.feature_names:
        differ = {*validation.feature_names} ^ {*variations.feature_names}
        msg = (
            "validation= has other features than variations, which must be the same in the same "
            f"order: {', '.join(sorted(differ)) or 'another order'}"
        )
        raise SampleError(msg)
    known, given = (
        {tuple(sorted({**v.nuisances, **v.sample.point}.items())) for v in p.variations}
        for p in (variations, validation)
    )
    if known != given:
        differ_text = "; ".join(format_point(dict(x)) for x in sorted(known ^ given))
        msg = (
            "validation= and variations must be at the same points, but these are in one of them "
            f"only: {differ_text}"
        )
        raise SampleError(msg)


def _numbers(variations: ProcessVariations) -> dict[str, int]:
    varied = {v.label: len(v.sample) for v in variations.variations}
    return {s.label: len(s) for s in variations.nominal} | varied


def _sketches(variations: ProcessVariations) -> tuple[str, ...]:
    """Return the fingerprints of all nominal and varied events."""
    varied = [v.sample for v in variations.variations if not v.weights_only]
    return sketch_each([*variations.nominal, *varied])
