"""Find out whether two sets of simulated events have events in common, from a few hashes of each.

Events used for calibration must not be used to measure coverage.  The fingerprint of a set is the
list of the smallest hashes of its events.  The smallest hashes belong to random events, which are
the same events in every set that contains them (bottom-k sketch; Cohen and Kaplan, PODC 2007).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from milinfer.samples.sample import Sample
from milinfer.typing import Float32Array, FloatArray

__all__ = [
    "any_shared",
    "mixed_hashes",
    "overlap",
    "share_events",
    "sketch",
    "sketch_each",
    "sketch_of_union",
    "with_union",
]

_SIZE = 128
_DIGEST = 32  # characters
_DUPLICATES = 0.005
_SHARED = 0.04

_Hashes = NDArray[np.uint64]

# Samples do not change, and toys use the same ones repeatedly.
_SKETCHES: WeakKeyDictionary[Sample, str] = WeakKeyDictionary()


def sketch(events: Sample | Iterable[Sample] | Float32Array | FloatArray) -> str:
    """Compute the fingerprint of a set of events, to estimate its overlap with other sets.

    The hash of an event is computed from its features as float32.  Weights and the order of events
    do not matter.

    Parameters
    ----------
    events
        A sample, several samples, or features of shape (n_events, n_features).

    Returns
    -------
    str
        The 128 smallest hashes, as hexadecimal numbers.  If more than 0.5 % of the events of a
        sample have the features of another event (discrete features), there is a single hash for
        all events of the sample.

    Examples
    --------
    >>> import numpy as np
    >>> len(sketch(np.random.default_rng(1).normal(size=(1000, 2))).split())
    128
    >>> len(sketch(np.zeros((1000, 2))).split())
    1
    """
    if isinstance(events, np.ndarray):
        return _of_table(events)
    if not isinstance(events, Sample):
        return sketch_of_union(sketch(s) for s in events)
    if events not in _SKETCHES:
        _SKETCHES[events] = _of_table(events.features)
    return _SKETCHES[events]


def _of_table(features: Float32Array | FloatArray) -> str:
    # np.unique would find distinct integers by a hash table, which takes 60 times longer.
    every = np.sort(_hashes(features))
    distinct = every[np.diff(every, prepend=~every[:1]) != 0]
    if len(every) - len(distinct) > _DUPLICATES * len(every):
        # Twice as long as a hash, so that it cannot be taken for one.
        return hashlib.blake2b(every.tobytes(), digest_size=16).hexdigest()
    return " ".join(f"{h:016x}" for h in distinct[:_SIZE].tolist())


def sketch_of_union(sketches: Iterable[str]) -> str:
    """Compute the fingerprint of a union of sets from the fingerprints of the sets.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(1).normal(size=(1000, 2))
    >>> sketch_of_union([sketch(x[:600]), sketch(x[400:])]) == sketch(x)
    True
    """
    words = {word for one in sketches for word in one.split()}
    digests = {word for word in words if len(word) == _DIGEST}
    return " ".join([*sorted(digests), *sorted(words - digests)[:_SIZE]])


def sketch_each(samples: Iterable[Sample]) -> tuple[str, ...]:
    """Compute the fingerprint of each sample and, if there are several, of all samples together.

    All of these fingerprints are needed: another set of events may contain one of the samples or
    all of them, and the fingerprint of a small set cannot be recognised in a large set.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> len(sketch_each(gaussian.samples(1000, [0.0, 0.5], seed=1)))
    3
    """
    return with_union([sketch(s) for s in samples])


def with_union(sketches: Sequence[str]) -> tuple[str, ...]:
    """Return the fingerprints of sets and of their union, without repetitions.

    Examples
    --------
    >>> import numpy as np
    >>> one = sketch(np.random.default_rng(1).normal(size=(1000, 2)))
    >>> with_union([one]) == (one,)
    True
    """
    return tuple(dict.fromkeys([*sketches, sketch_of_union(sketches)]))


def overlap(a: str, b: str) -> float:
    """Estimate the Jaccard overlap of two sets of events from their fingerprints.

    The overlap is the number of events in both sets, divided by the number of events in at least
    one of them.  Its standard error is about ``sqrt(overlap / 128)``.  Samples of discrete features
    have only one hash for all events, so that they can only be equal or different.  The overlap is
    computed once with these samples and once with all remaining events, and the larger result is
    returned.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(1).normal(size=(1000, 2))
    >>> overlap(sketch(x), sketch(x[::-1])), overlap(sketch(x[:500]), sketch(x[500:]))
    (1.0, 0.0)
    """
    first, second = set(a.split()), set(b.split())
    digests = {t for t in first | second if len(t) == _DIGEST}
    # The numbers have a fixed width: their order is that of the text.
    smallest = sorted((first | second) - digests)[:_SIZE]
    both = first & second
    return max(len(both.intersection(part)) / max(len(part), 1) for part in (digests, smallest))


@lru_cache(maxsize=4096)  # of toys at many truths, which share their pools
def share_events(a: str, b: str) -> bool:
    """Tell from the fingerprints of two sets whether their :func:`overlap` is above 4 %.

    A smaller overlap cannot be distinguished from features that agree by chance.  A set is
    therefore not recognised inside a set that is more than 25 times as large.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(1).normal(size=(1000, 2))
    >>> share_events(sketch(x), sketch(x[:500])), share_events(sketch(x[:500]), sketch(x[500:]))
    (True, False)
    """
    return overlap(a, b) > _SHARED


def any_shared(first: Iterable[str], second: Sequence[str]) -> bool:
    """Tell whether a set in `first` has events in common with a set in `second`.

    The sets are given by their fingerprints.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(1).normal(size=(1000, 2))
    >>> any_shared([sketch(x[:500])], [sketch(x[500:]), sketch(x)])
    True
    """
    return any(share_events(a, b) for a in first for b in second)


def _hashes(features: Float32Array | FloatArray) -> _Hashes:
    """One hash for each row, shape (n_events,)."""
    # + 0: −0 equals 0 and must hash alike.
    words = np.ascontiguousarray(features, dtype=np.float32) + np.float32(0)
    columns = words.view(np.uint32).astype(np.uint64).T
    hashes = np.zeros(len(words), dtype=np.uint64)
    for column in columns:
        hashes = mixed_hashes(hashes, column)
    return hashes


def mixed_hashes(hashes: _Hashes, column: _Hashes) -> _Hashes:
    """Combine the hash of each row with the value of the row in one more column.

    Examples
    --------
    >>> import numpy as np
    >>> parts = mixed_hashes(np.zeros(4, np.uint64), np.arange(4, dtype=np.uint64)) % np.uint64(7)
    >>> parts.tolist()
    [2, 2, 4, 2]
    """
    # SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), one round for each column.
    hashes = (hashes ^ column) + np.uint64(0x9E3779B97F4A7C15)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(31)
    return hashes
