"""Errors for functions that get arrays, lists or other objects instead of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streaming import StreamedSamples

__all__ = ["require_sample", "require_samples"]


def require_sample(value: object, where: str, *, data: bool = True) -> None:
    """Raise unless a value is a sample.

    Parameters
    ----------
    value
        What was given.
    where
        Name of the function, for the message.
    data
        True if the function expects data, False if it expects a simulated sample.

    Raises
    ------
    SampleError
        If the value is not such a sample.  The message says how to make one.

    Examples
    --------
    >>> require_sample([1.0, 2.0], "cost()")
    Traceback (most recent call last):
    milinfer.exceptions.SampleError: cost() takes a Sample, not a list of float; make one from
    arrays or a data frame with milinfer.Sample.from_arrays(...).as_data()
    """
    if isinstance(value, Sample):
        return
    if isinstance(value, SampleSet | StreamedSamples):
        remedy = "give one of its samples: samples[0], or samples.at(c_HW=0.1)"
    else:
        call = "milinfer.Sample.from_arrays(...)" + (".as_data()" if data else "")
        remedy = f"make one from arrays or a data frame with {call}"
    msg = f"{where} takes a Sample, not {_named(value)}; {remedy}"
    raise SampleError(msg)


def require_samples(value: object, where: str, *, streamed: bool = False) -> None:
    """Raise unless a value is a set of samples at several parameter points.

    Parameters
    ----------
    value
        What was given.
    where
        Name of the function, for the message.
    streamed
        Whether :class:`~milinfer.samples.streaming.StreamedSamples` are accepted.

    Raises
    ------
    SampleError
        If the value is not a set of samples.  The message says how to make one.
    ConfigurationError
        If the samples are streamed, but the function needs them in memory.

    Examples
    --------
    >>> import numpy as np
    >>> require_samples(np.zeros((5, 2)), "fit()")
    Traceback (most recent call last):
    milinfer.exceptions.SampleError: fit() takes a SampleSet, not a ndarray of shape (5, 2); make
    one from arrays or a data frame with milinfer.SampleSet.from_arrays(..., points=...)
    """
    if isinstance(value, SampleSet) or (streamed and isinstance(value, StreamedSamples)):
        return
    if isinstance(value, StreamedSamples):
        msg = f"{where} needs its samples in memory: read them with milinfer.SampleSet.from_files"
        raise ConfigurationError(msg)
    if isinstance(value, Sample):
        remedy = "collect the samples of all parameter points: milinfer.SampleSet([sample, ...])"
    elif isinstance(value, Sequence) and value and all(isinstance(s, Sample) for s in value):
        remedy = "write milinfer.SampleSet(samples)"
    else:
        remedy = (
            "make one from arrays or a data frame with milinfer.SampleSet.from_arrays(..., "
            "points=...)"
        )
    msg = f"{where} takes a SampleSet, not {_named(value)}; {remedy}"
    raise SampleError(msg)


def _named(value: object) -> str:
    """Describe a value: its type, with the shape of an array or the type of its elements."""
    name = type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value):
        return f"a {name} of {type(value[0]).__name__}"
    if isinstance(value, Mapping):
        return f"a {name}"
    shape = getattr(value, "shape", None)
    return f"a {name}" + (f" of shape {shape}" if isinstance(shape, tuple) else "")
