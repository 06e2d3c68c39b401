"""Samples of the embedded process for the benchmarks, without the detour through files."""

from __future__ import annotations

from typing import Any

import milinfer as mil
from milinfer.datasets import vbf_hww


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
