"""VBF H → W W* → e+ νe e− ν̄e with one SMEFT operator, by its exact matrix element.

Leading order u d → d u H at 13 TeV, both beam assignments, with *toy* parton densities
x u(x) ∝ 2.0 x^−0.35 (1−x)^3.2 and x d(x) ∝ 1.2 x^−0.35 (1−x)^4.2: the shapes are realistic enough
to learn from, cross-sections are not predictions.  H decays with its partial width over 4.07 MeV.
Cuts: jets pT > 20 GeV, |η| < 5; leptons pT > 10 GeV, |η| < 2.5; ΔR > 0.4 among all.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.generator import check_point
from milinfer.datasets.generator import generate as _generate
from milinfer.typing import Point

if TYPE_CHECKING:
    from milinfer.features.feature_set import FeatureSet
    from milinfer.samples.sample import Sample
    from milinfer.samples.sample_set import SampleSet

__all__ = ["DEFAULT_WEIGHTS", "PARAMETER", "PROCESS", "generate", "samples"]

PROCESS = "vbf_hww"
PARAMETER = "c_HW"

DEFAULT_WEIGHTS: tuple[Point, ...] = tuple({"c_HW": c} for c in (-1.0, -0.5, 0.0, 0.5, 1.0))
"""Points whose weights go into LHE files: five determine the quartic of each event exactly."""


def generate(
    n_events: int, point: Point | None = None, *, seed: int, workers: int = 1
) -> GeneratedEvents:
    """Generate unweighted events after cuts.

    Parameters
    ----------
    n_events
        Number of events.
    point
        ``{"c_HW": value}``, |value| ≤ 5; default the standard model.
    seed
        The same seed gives the same events, whatever `workers` is.
    workers
        Number of processes.

    Raises
    ------
    ParameterError
        If the point is not one of c_HW in range.
    SampleError
        If fewer than one event is asked for.

    Examples
    --------
    >>> events = generate(50, {"c_HW": -1.0}, seed=3)
    >>> events.momenta.shape
    (50, 11, 4)
    """
    return _generate(PROCESS, "W", n_events, check_point(point), seed, workers)


def samples(
    n_events: int,
    values: Sequence[float],
    *,
    seed: int,
    features: str | FeatureSet = "vbf_2l2j_invariant",
    workers: int = 1,
    on_sample: Callable[[float], None] | None = None,
) -> SampleSet:
    """Generate samples at several values of c_HW, with the weights of :data:`DEFAULT_WEIGHTS`.

    Parameters
    ----------
    n_events
        Number of events in each sample.
    values
        Values of c_HW, one for each sample.
    seed
        The same seed gives the same events, whatever `workers` is.
    features
        As for :func:`milinfer.features.feature_set`.
    workers
        Number of processes; each generates whole samples.
    on_sample
        Called with the value after each sample.

    Examples
    --------
    >>> samples(10, [0.0, 0.5], seed=1)
    SampleSet(2 points in c_HW, 20 events, 50 features)
    """
    from milinfer.samples.sample_set import SampleSet

    seeds = np.random.SeedSequence(seed).generate_state(len(values))
    jobs = [(n_events, float(v), int(s), features) for v, s in zip(values, seeds, strict=True)]
    finished = []
    with ExitStack() as stack:
        generated: Iterator[Sample] = map(_sample, jobs)
        if workers > 1:
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context))
            generated = pool.map(_sample, jobs)
        for value, sample in zip(values, generated, strict=True):
            finished.append(sample)
            if on_sample is not None:
                on_sample(float(value))
    return SampleSet(tuple(finished))


def _sample(job: tuple[int, float, int, str | FeatureSet]) -> Sample:
    n_events, value, seed, features = job
    return generate(n_events, {PARAMETER: value}, seed=seed).to_sample(features, DEFAULT_WEIGHTS)
