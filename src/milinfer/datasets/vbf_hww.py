"""Generate VBF H → W W* → e+ νe e− ν̄e with SMEFT operators from the exact matrix element.

The operators are c_HW, c_HWtil (odd under CP) and c_Hbox (no effect on shapes); see
:mod:`milinfer.datasets.operators`.  The exact weight of each event is known as a polynomial in the
operators that its parameter point contains.

The production is u d → d u H at leading order and 13 TeV, with both assignments of quarks to beams.
The parton densities are invented: x u(x) ∝ 2.0 x^−0.35 (1−x)^3.2 and
x d(x) ∝ 1.2 x^−0.35 (1−x)^4.2.  Shapes are realistic enough for examples, but cross-sections are
not predictions.  The branching fraction is the partial width divided by 4.07 MeV.  Cuts: jets
pT > 20 GeV, ``|η| < 5``; leptons pT > 10 GeV, ``|η| < 2.5``; ΔR > 0.4 between all jets and leptons.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.generator import generate as _generate
from milinfer.datasets.operators import OPERATORS, check_point, default_weights
from milinfer.exceptions import ParameterError
from milinfer.typing import Point

if TYPE_CHECKING:
    from milinfer.features.feature_set import FeatureSet
    from milinfer.samples.sample import Sample
    from milinfer.samples.sample_set import SampleSet

__all__ = [
    "DEFAULT_WEIGHTS",
    "OPERATORS",
    "PARAMETER",
    "PROCESS",
    "default_weights",
    "generate",
    "samples",
]

PROCESS = "vbf_hww"
PARAMETER = "c_HW"

DEFAULT_WEIGHTS: tuple[Point, ...] = default_weights((PARAMETER,))
"""Points of c_HW for the weights in LHE files: five points determine the quartic of each event.

For other operators see :func:`milinfer.datasets.operators.default_weights`.
"""


def generate(
    n_events: int, point: Point | None = None, *, seed: int, workers: int = 1
) -> GeneratedEvents:
    """Generate unweighted events after cuts.

    Parameters
    ----------
    n_events
        Number of events.
    point
        ``{"c_HW": value}``, or values of several of :data:`OPERATORS`, each within ±5.  Default:
        the standard model, ``{"c_HW": 0.0}``.  The weight of an event is known as a polynomial in
        the operators of `point`.  To get weights at other values of an operator, include it in
        `point`, also if its value there is 0.
    seed
        Random seed; the same seed gives the same events for any `workers`.
    workers
        Number of processes.

    Raises
    ------
    ParameterError
        If the point has unknown parameters, or if a value is outside ±5.
    SampleError
        If `n_events` is less than one.

    Examples
    --------
    >>> events = generate(50, {"c_HW": -1.0}, seed=3)
    >>> events.momenta.shape
    (50, 11, 4)
    >>> generate(50, {"c_HW": 0.5, "c_HWtil": -0.3}, seed=3).coefficients.shape
    (50, 15)
    """
    return _generate(PROCESS, "W", n_events, check_point(point), seed, workers)


def samples(
    n_events: int,
    values: Sequence[Point | float],
    *,
    seed: int,
    features: str | FeatureSet = "vbf_2l2j_invariant",
    workers: int = 1,
    on_sample: Callable[[Any], None] | None = None,
) -> SampleSet:
    """Generate samples at several points, with the weights of :func:`default_weights`.

    Parameters
    ----------
    n_events
        Number of events in each sample.
    values
        For each sample, the value of c_HW or the point.  All points must have the same operators.
    seed
        Random seed; the same seed gives the same events for any `workers`.
    features
        Feature set or its name, as for :func:`milinfer.feature_set`.
    workers
        Number of processes; each generates complete samples.
    on_sample
        Function that is called after each sample, with its value or point.

    Raises
    ------
    ParameterError
        If a point is not possible, or if points have different operators.

    Examples
    --------
    >>> samples(10, [0.0, 0.5], seed=1)
    SampleSet(2 points in c_HW, 20 events, 50 features)
    >>> samples(10, [{"c_HW": 0.0, "c_HWtil": c} for c in (0.0, 1.0)], seed=1)
    SampleSet(2 points in c_HW, c_HWtil, 20 events, 50 features)
    """
    from milinfer.samples.sample_set import SampleSet

    seeds = np.random.SeedSequence(seed).generate_state(len(values))
    points = [check_point(v if isinstance(v, Mapping) else {PARAMETER: v}) for v in values]
    if len({tuple(point) for point in points}) > 1:
        msg = (
            f"the points have different operators: {sorted({tuple(point) for point in points})}; "
            "give all operators in each point, with the value 0 if they are absent"
        )
        raise ParameterError(msg)
    jobs = [(n_events, p, int(s), features) for p, s in zip(points, seeds, strict=True)]
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
                on_sample(dict(value) if isinstance(value, Mapping) else float(value))
    return SampleSet(tuple(finished))


def _sample(job: tuple[int, Point, int, str | FeatureSet]) -> Sample:
    n_events, point, seed, features = job
    return generate(n_events, point, seed=seed).to_sample(features, default_weights(tuple(point)))
