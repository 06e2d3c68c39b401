"""How far results of one seed differ between instruction sets of the processor.

python benchmarks/instruction_sets.py

Trains two heads for ten epochs in processes of their own, which differ in the vector instructions
that numpy, oneDNN and XLA may use, and prints one JSON line: the largest difference of
ln p(x|1)/p(x|0) over 1000 events, and the difference of the estimate, from the process without
limits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np

TRAIN = """
import json
import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.learning.networks.configs import TrainingConfig

samples = gaussian.samples(4_000, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=1, n_features=4)
data = gaussian.generate(1_000, 0.2, seed=8, n_features=4).as_data()
found = {}
for head in ("polynomial", "multiclass"):
    model = mil.BagLikelihood(head=head, bag_size=10, seed=3, training=TrainingConfig(10))
    model = model.fit(samples)
    estimate = mil.minuit(model.cost(data)).migrad().values[0]
    found[head] = [model.event_llr(data)[:, -1].tolist(), estimate]
print(json.dumps(found))
"""
WITHOUT = "AVX512F AVX512CD AVX512_SKX"
LIMITS = {
    "again": {},
    "numpy without AVX-512": {"NPY_DISABLE_CPU_FEATURES": WITHOUT},
    "numpy with SSE4.2 only": {"NPY_DISABLE_CPU_FEATURES": f"AVX2 FMA3 {WITHOUT}"},
    "oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "oneDNN with AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "oneDNN with SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "XLA with AVX2": {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2"},
    "XLA with SSE4.2": {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2"},
}


def trained(limits: dict[str, str]) -> dict[str, tuple[np.ndarray, float]]:
    run = subprocess.run(
        [sys.executable, "-c", TRAIN],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **limits},
    )
    found = json.loads(run.stdout.splitlines()[-1])
    return {head: (np.array(llr), estimate) for head, (llr, estimate) in found.items()}


def main() -> None:
    plain = trained({})
    out: dict[str, dict[str, dict[str, float]]] = {}
    for name, limits in LIMITS.items():
        other = trained(limits)
        out[name] = {
            head: {
                "log-ratio": float(np.abs(other[head][0] - llr).max()),
                "estimate": abs(other[head][1] - estimate),
            }
            for head, (llr, estimate) in plain.items()
        }
    print(json.dumps({"benchmark": "instruction_sets", "differences": out}))


if __name__ == "__main__":
    main()
