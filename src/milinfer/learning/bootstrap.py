"""Draw Poisson bootstrap samples of simulated events for the members of an ensemble.

In the training of an ensemble member each event counts 0, 1, 2, … times.  This number follows a
Poisson distribution of mean one and imitates another run of the simulation.  An event keeps its
weights and its joint labels.  Half of the members form pairs.  The two members of a pair (twins)
share one bootstrap sample, so that they differ only in split, initial weights and order of the
events.  Twins separate the scatter of the training from the error due to the finite simulation
(:mod:`milinfer.learning.finite_simulation`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from milinfer.samples.sample_set import SampleSet, split_rows_each
from milinfer.typing import IntArray

__all__ = ["bootstrap_groups", "bootstrap_samples", "bootstrap_split", "multiplicities"]


def bootstrap_groups(n_members: int) -> IntArray:
    """Return, for each ensemble member, the index of its bootstrap sample, shape (n_members,).

    Half of the members are twins, which share a bootstrap sample in pairs.  With more twins there
    would be fewer different bootstrap samples, and the error due to the finite simulation would be
    known less well.  With fewer twins it would be known less well which part of the scatter of the
    members is due to the training.

    Examples
    --------
    >>> bootstrap_groups(8)
    array([0, 0, 1, 1, 2, 3, 4, 5])
    """
    n_pairs = n_members // 4
    pairs = np.repeat(np.arange(n_pairs), 2)
    return np.concatenate([pairs, np.arange(n_pairs, n_members - n_pairs)])


def multiplicities(
    samples: SampleSet, seed: np.random.SeedSequence, part: int = 0
) -> tuple[IntArray, ...]:
    """Draw how often each event of each sample is used.

    Parameters
    ----------
    samples
        All events.  The drawn numbers do not depend on a later split of these events.
    seed
        Random seed of the bootstrap sample.
    part
        Number that identifies the set of events; each set gets independent random numbers.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(1000, [0.0, 0.5], seed=1)
    >>> first, _ = multiplicities(samples, np.random.SeedSequence(1))
    >>> bool(abs(first.mean() - 1) < 0.15 and abs(first.var() - 1) < 0.25)
    True
    """
    rng = np.random.default_rng([part, *seed.generate_state(4)])
    return tuple(rng.poisson(1.0, len(s)) for s in samples)


def bootstrap_samples(samples: SampleSet, numbers: Sequence[IntArray]) -> SampleSet:
    """Return samples that contain each event as often as it was drawn, with all its weights.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(3, [0.0], seed=1)
    >>> repeated = bootstrap_samples(samples, [np.array([2, 0, 1])])
    >>> bool((repeated[0].features[:2] == samples[0].features[0]).all()), len(repeated[0])
    (True, 3)
    """
    return SampleSet(
        tuple(
            s.take(np.repeat(np.arange(len(s)), n)) for s, n in zip(samples, numbers, strict=True)
        )
    )


def bootstrap_split(
    samples: SampleSet, numbers: Sequence[IntArray], fractions: Sequence[float], seed: int
) -> tuple[SampleSet, ...]:
    """Split a bootstrap sample into disjoint parts; all copies of an event are in one part.

    Parameters
    ----------
    samples
        Events before the bootstrap.
    numbers
        How often each event was drawn, from :func:`multiplicities`.
    fractions, seed
        Fractions of the parts, and random seed.  The events are split as by
        :meth:`milinfer.samples.sample_set.SampleSet.split` with these arguments.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(100, [0.0], seed=1)
    >>> numbers = multiplicities(samples, np.random.SeedSequence(1))
    >>> train, rest = bootstrap_split(samples, numbers, [0.8, 0.2], seed=2)
    >>> len(train[0]) + len(rest[0]) == int(numbers[0].sum())
    True
    >>> set(train[0].features[:, 0]) & set(rest[0].features[:, 0])
    set()
    """
    parts = split_rows_each([len(s) for s in samples], fractions, seed)
    return tuple(
        SampleSet(
            tuple(
                s.take(np.repeat(rows, n[rows]))
                for s, n, rows in zip(samples, numbers, part, strict=True)
            )
        )
        for part in parts
    )
