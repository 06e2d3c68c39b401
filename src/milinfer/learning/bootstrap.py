"""Poisson bootstrap of simulated events: how often each counts in the training of a member.

Each event counts 0, 1, 2, … times, a Poisson number of mean one, as if the simulation had been run
again.  An event keeps its weights and its joint labels.  Half of the members are twins, which get
the same numbers: they differ by split, initial weights and order of the events alone, and tell the
error from the finite simulation and the scatter of the training apart
(:mod:`milinfer.learning.finite_simulation`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from milinfer.samples.sample_set import SampleSet, split_rows_each
from milinfer.typing import IntArray

__all__ = ["bootstrap_groups", "bootstrap_samples", "bootstrap_split", "multiplicities"]


def bootstrap_groups(n_members: int) -> IntArray:
    """Number of the bootstrap sample of each member, shape (n_members,).

    Half of the members are twins.  With more twins there would be fewer samples, whose number
    decides how well the error is known; with fewer, the scatter of the training, which is part of
    the error, would not be known.

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
    """How often each event is used, for each sample.

    Parameters
    ----------
    samples
        Events; the numbers do not depend on the part of them that a member is trained on.
    seed
        Seed of the bootstrap sample.
    part
        Number of the set of events; other sets get independent numbers.

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
    """Samples that contain each event as often as it was drawn, with all its weights.

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
    """Disjoint parts of the events, with each event as often as it was drawn, and in one part only.

    Parameters
    ----------
    samples
        Events.
    numbers
        Result of :func:`multiplicities`.
    fractions, seed
        As for :meth:`milinfer.samples.sample_set.SampleSet.split`, which splits the events in the
        same way.

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
