"""Events of the embedded processes with the exact densities of what a detector sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import milinfer as mil
from milinfer.datasets import vbf_hww, vbf_hzz
from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.observable import observable_coefficients
from milinfer.typing import FloatArray

PARAMETER = vbf_hww.PARAMETER


class Truth(NamedTuple):
    """Exact densities of events of one sample, from what a detector sees of them.

    `coefficients` (n, 5) of σ(c) p(x|c)/(σ(0) p(x|0)), and `background` (n,), ln p_b(x)/p(x|0).
    """

    coefficients: FloatArray
    background: FloatArray

    def llr(self, c: float, total: FloatArray) -> FloatArray:
        """ln p(x|c)/p(x|0), given the mean coefficients of events at c = 0."""
        powers = float(c) ** np.arange(5)
        return np.log(self.coefficients @ powers) - np.log(total @ powers)


def generated(n: int, c: float | None, seed: int, workers: int = 2) -> GeneratedEvents:
    """Signal at a value of c_HW, or background where that is None."""
    if c is None:
        return vbf_hzz.generate(n, seed=seed, workers=workers)
    return vbf_hww.generate(n, {PARAMETER: c}, seed=seed, workers=workers)


def sample(events: GeneratedEvents, features: str) -> mil.Sample:
    """The features of the events, without the detour through files."""
    table = mil.feature_set(features).from_lhe(events.to_events()[0])
    return mil.Sample(
        table.array,
        table.names,
        point=events.point,
        process=events.process,
        cross_section=events.cross_section,
        cross_section_error=events.cross_section_error,
    )


def truth(events: GeneratedEvents, signal_over_background: float, workers: int = 2) -> Truth:
    """Exact densities; the ratio of cross-sections makes densities of differential ones."""
    found = observable_coefficients(events, workers=workers)
    return Truth(found.coefficients, np.log(found.background * signal_over_background))
