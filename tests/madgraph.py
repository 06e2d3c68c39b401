"""Files that look as MadGraph's after reweighting: cards in the header, `set` lines, `rwgt_1`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import awkward as ak
import numpy as np

from milinfer.datasets import vbf_hww
from milinfer.features.feature_set import feature_set
from milinfer.io import events as event_files
from milinfer.io.event_record.info import LHEWeight

PLACES = {"cHW": 7, "cHB": 8}
TWO_OPERATORS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1))
CARD = """<slha>
###################################
## INFORMATION FOR SMEFT
###################################
BLOCK SMEFT #
      5 0.000000e+00 # chdd
      7 0.000000e+00 # chw
      8 0.000000e+00 # chb
DECAY  25 4.070000e-03
</slha>
"""


def quadratic_weights(points: Sequence[Sequence[float]], record: ak.Array) -> np.ndarray:
    """Relative weights (n_events, n_points) from an amplitude that is linear in two operators."""
    table = feature_set("vbf_2l2j").from_lhe(record)
    u, v = (0.4 * np.sin(table.columns[name].astype(float)) for name in ("d_phi_qq", "d_phi_ll"))
    return np.stack([(1 + u * x + v * y) ** 2 + 0.05 * (x**2 + y**2) for x, y in points], axis=1)


def madgraph_file(
    path: Path, n_events: int, *, seed: int, points: Sequence[Sequence[float]] = TWO_OPERATORS
) -> Path:
    """Write events at the standard model with weights at points of (cHW, cHB), named rwgt_1, …"""
    record, info = vbf_hww.generate(n_events, {"c_HW": 0.0}, seed=seed).to_events()
    ratios = quadratic_weights(points, record)
    ids = [f"rwgt_{k + 1}" for k in range(len(points))]
    nominal = ak.to_numpy(record.genWeight)
    record = ak.with_field(
        record, ak.zip({i: nominal * ratios[:, k] for k, i in enumerate(ids)}), "LHEWeight"
    )
    descriptions = [
        "".join(
            f"set param_card smeft {PLACES[name]} {float(value)} # orig: 0.0\n"
            for name, value in zip(PLACES, point, strict=True)
            if value
        )
        for point in points
    ]
    weights = tuple(
        LHEWeight(i, text.strip(), "mg_reweighting")
        for i, text in zip(ids, descriptions, strict=True)
    )
    info = replace(info, weights=weights, header=CARD, process=None, point=None)
    event_files.write(path, record, info)
    return path
