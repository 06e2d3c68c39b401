"""Samples of the embedded process for the benchmarks, without the detour through files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import milinfer as mil
from milinfer.datasets import vbf_hww

POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)


def vbf_samples(n_events: int, seed: int, points: Sequence[float] = POINTS) -> mil.SampleSet:
    """Events at several values of c_HW, `n_events` at each."""
    seeds = np.random.SeedSequence(seed).generate_state(len(points))
    return mil.SampleSet(
        tuple(
            vbf_sample(vbf_hww.generate(n_events, {"c_HW": v}, seed=int(s)), v)
            for v, s in zip(points, seeds, strict=True)
        )
    )


def vbf_sample(generated: Any, value: float) -> mil.Sample:
    """Generated events at one value of c_HW as they come out of the feature step."""
    table = mil.feature_set("vbf_2l2j_invariant").from_lhe(generated.to_events()[0])
    own = generated.joint_ratio(value)
    weights = vbf_hww.DEFAULT_WEIGHTS
    return mil.Sample(
        table.array,
        table.names,
        point={"c_HW": value},
        process="vbf_hww",
        cross_section=generated.cross_section,
        cross_section_error=generated.cross_section_error,
        reweights={f"w{k}": generated.joint_ratio(p["c_HW"]) / own for k, p in enumerate(weights)},
        reweight_points={f"w{k}": p for k, p in enumerate(weights)},
    )
