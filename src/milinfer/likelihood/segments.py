"""Sums over the events, and over the bags, of segments of a list of events.

A segment is whatever Λ is wanted of: a dataset, a pseudo-experiment, a bootstrap.  A model says
what it has to say of each event once; everything else is made of that.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from milinfer.exceptions import ModelError, SampleError
from milinfer.likelihood.models import (
    BagModel,
    LLRModel,
    Model,
    bag_model,
    count_model,
    dataset_model,
    is_additive,
    polynomial_sums,
)
from milinfer.likelihood.surface import Surface
from milinfer.likelihood.surface_box import BoxSurface
from milinfer.samples.bags import bag_offsets
from milinfer.samples.samples import Sample
from milinfer.typing import Float32Array, FloatArray, IntArray

__all__ = ["dataset_surface", "event_table", "segment_llr"]

# Events whose summaries are reduced at once.
_BLOCK = 1 << 18


def event_table(model: Model, sample: Sample) -> FloatArray | Float32Array:
    """What a model has to say about each event.

    Ratios (n_events, K), summaries (n_events, S), or the bin as a whole number (n_events, 1).

    Raises
    ------
    SampleError
        If events of negative weight meet a model of bags, which knows no weights.
    ModelError
        If the model does not give one row for each event.
    """
    whole = dataset_model(model)
    bags = bag_model(model) if whole is None else None
    if bags is not None and np.any(sample.weights < 0):
        msg = (
            f"{sample.label}: {model.name} scores bags as a whole and cannot subtract events of "
            "negative weight; use mean or sum pooling, whose Λ is a sum over events"
        )
        raise SampleError(msg)
    table: FloatArray | Float32Array
    counts = count_model(model)
    if whole is not None:
        table = whole.event_columns(sample)
    elif counts is not None:
        table = counts.event_bins(sample)[:, None].astype(np.float64)
    elif bags is not None:
        table = bags.event_summary(sample)
    else:
        table = cast(LLRModel, model).event_llr(sample)
    if len(table) != len(sample):
        msg = (
            f"{model.name} gave {len(table)} rows for the {len(sample)} events of {sample.label}; "
            "a model must give one row for each event"
        )
        raise ModelError(msg)
    return table


def segment_llr(
    model: Model,
    table: FloatArray | Float32Array,
    index: IntArray,
    signs: FloatArray,
    offsets: IntArray,
) -> FloatArray:
    """Λ of consecutive segments of a list of events (datasets, toys), shape (n_segments, K).

    Parameters
    ----------
    model
        The model.
    table
        From :func:`event_table`.
    index
        Rows of the table, one segment after the other.
    signs
        Weights of the listed events (±1 in toys), of the shape of `index`.
    offsets
        Where segments start and end, shape (n_segments + 1,); a segment may be empty.

    Raises
    ------
    SampleError
        If a model of bags gets weights other than one.
    """
    if (whole := dataset_model(model)) is not None:
        return whole.dataset_llr(cast(FloatArray, table), index, signs, offsets)
    counts = count_model(model)
    if counts is not None:
        shape = (len(offsets) - 1, counts.n_bins)
        toys = np.repeat(np.arange(shape[0]), np.diff(offsets))
        flat = toys * shape[1] + table[index, 0].astype(np.int64)
        filled = np.bincount(flat, signs, shape[0] * shape[1]).astype(np.float64)
        return counts.counts_llr(filled.reshape(shape))
    bags = bag_model(model)
    if bags is None:
        return _sums(table, index, signs, offsets)
    out = np.zeros((len(offsets) - 1, len(model.interpolation.grid)))
    if not np.all(signs == 1):
        msg = (
            f"{model.name} scores bags as a whole and knows no weights; give events of weight one "
            "(sample.as_data(), or a draw by Toys), or use mean or sum pooling"
        )
        raise SampleError(msg)
    sizes = np.diff(offsets)
    given = np.flatnonzero(sizes)
    # As many datasets at once as fit: a network takes milliseconds for one as for a hundred.
    block = np.cumsum(sizes[given]) // _BLOCK
    for number in np.unique(block):
        segments = given[block == number]
        out[segments] = _bags_llr(bags, table, index, sizes[segments], offsets[segments])
    return out


def _bags_llr(
    bags: BagModel,
    table: FloatArray | Float32Array,
    index: IntArray,
    sizes: IntArray,
    starts: IntArray,
) -> FloatArray:
    """Λ of consecutive segments of so many events each, none empty, shape (n_segments, K)."""
    events = index[starts[0] : starts[-1] + sizes[-1]]
    cuts = [bag_offsets(int(n), bags.events_in_bag) for n in sizes]
    first = np.concatenate([c[:-1] + s for c, s in zip(cuts, starts - starts[0], strict=True)])
    if bags.reduction == "sum":
        reduced = _sums(table, events, np.ones(len(events)), np.append(first, len(events)))
    else:
        reduced = np.maximum.reduceat(table.take(events, axis=0), first, axis=0).astype(np.float64)
    of_bags = bags.bag_llr(reduced, np.concatenate([np.diff(c) for c in cuts]))
    n_bags = np.array([len(c) - 1 for c in cuts])
    return np.add.reduceat(of_bags, np.cumsum(n_bags) - n_bags, axis=0)


def _sums(
    table: FloatArray | Float32Array, index: IntArray, signs: FloatArray, offsets: IntArray
) -> FloatArray:
    """Weighted sums of the rows of each segment, in float64, shape (n_segments, K)."""
    from scipy.sparse import csr_array

    if table.dtype != np.float64:
        # Only the rows in use are converted.
        if len(index) < len(table):
            table, index = table[index], np.arange(len(index))
        table = table.astype(np.float64)
    # A product with a sparse matrix gathers and adds in one pass, several times as fast as taking
    # the rows, and other threads can run meanwhile.
    weights = csr_array((signs, index, offsets), shape=(len(offsets) - 1, len(table)))
    return np.asarray(weights @ table, dtype=np.float64)


def dataset_surface(model: Model, data: Sample) -> Surface | BoxSurface:
    r"""Surface of a dataset, :math:`\Lambda(D|\theta_k) = \sum_i w_i \lambda_i(\theta_k)`.

    A weighted sum, never a weighted mean: scaling all weights scales Λ, as it must.

    Parameters
    ----------
    model
        Source of the per-event ratios, or of those of bags (then of consecutive events).
    data
        The dataset; its weights count (data have weights of one).
    """
    exact = polynomial_sums(model, data)
    if exact is not None:
        points = model.interpolation.grid.reshape(-1, len(model.parameters))
        return model.interpolation.surface(exact.values_at(points), exact)
    if is_additive(model):
        values = np.zeros((1, len(model.interpolation.grid)))
        # Blocks of events: a table of all of them has a column for each point.
        for start in range(0, len(data), _BLOCK):
            values += _of_events(model, data.take(slice(start, start + _BLOCK)))
    else:
        values = _of_events(model, data)
    return model.interpolation.surface(values[0])


def _of_events(model: Model, data: Sample) -> FloatArray:
    table = event_table(model, data)
    events = np.arange(len(data)), data.weights, np.array([0, len(data)])
    if (whole := dataset_model(model)) is None:
        return segment_llr(model, table, *events)
    return whole.dataset_llr(cast(FloatArray, table), *events, observed=True)
