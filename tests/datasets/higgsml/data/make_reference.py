"""Write ``reference.json``: what the package HiggsML 0.1.5 makes of a few events.

python tests/datasets/higgsml/data/make_reference.py

needs ``pip install HiggsML==0.1.5``.  The events are written down in the file, too, so that it does
not depend on the generator.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from milinfer.datasets import higgsml

SHIFTS = ({}, {"tes": 1.03, "jes": 0.96, "soft_met": 2.0}, {"tes": 0.97, "jes": 1.04})
SEED = 31415  # of the package
N_EVENTS = 24
RESULTS = ((1000, 1.0), (1000, 0.8), (1000, 1.3), (100, 1.0))


def main() -> None:
    from HiggsML.score import Scoring
    from HiggsML.systematics import systematics

    events = higgsml.generate(400, seed=3)
    two = events.has_jet("subleading")
    # Jets that lie between the thresholds of files and of the selection are what goes wrong first.
    soft = two & (events.columns["PRI_jet_subleading_pt"] < 26)
    one = events.has_jet("leading") & ~two
    groups = [np.flatnonzero(g)[: N_EVENTS // 4] for g in (soft, two & ~soft, one, ~two & ~one)]
    chosen = events[np.concatenate(groups)]
    columns = {
        name: chosen.columns[name].astype(float).round(3).tolist() for name in higgsml.COLUMNS
    }
    shifted = []
    for shift in SHIFTS:
        frame = pd.DataFrame(columns, dtype="float32").assign(row=np.arange(N_EVENTS))
        result = systematics(frame, seed=SEED, **shift)
        rng = np.random.RandomState(SEED)
        noise = [rng.normal(size=N_EVENTS).tolist() for _ in range(2)]
        found = {name: result[name].astype(float).tolist() for name in result}
        shifted.append({"shift": shift, "noise": noise, "columns": found})
    scores = []
    for k, (n, half) in enumerate(RESULTS):
        estimates = 1 + np.random.default_rng(k).normal(size=n)
        low, high = estimates - half, estimates + half
        width, coverage, score = Scoring().Quantiles_Score(np.ones(n), low, high)
        scores.append({"n": n, "half": half, "seed": k, "width": width, "coverage": coverage})
        scores[-1]["score"] = score
    content = {"package": "HiggsML 0.1.5", "events": columns, "shifted": shifted, "scores": scores}
    path = Path(__file__).with_name("reference.json")
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
