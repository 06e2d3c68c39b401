"""Differences between results with the same seed on different instruction sets of the processor.

python benchmarks/instruction_sets.py [--quick]

Two heads are trained for ten epochs, in processes that differ in the vector instructions that
numpy, oneDNN and XLA may use.  Each process is compared with a process without limits.  The last
line on standard output is one line of JSON: the largest difference of ln p(x|1)/p(x|0) over 1000
events, and the difference of the estimates.  With --quick the process without limits is this one,
and the network is small.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
from quick_size import parse, small

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
# One process besides this one: most of its time is the import of TensorFlow.
QUICK = {"events": 200, "epochs": 1, "heads": ["polynomial"], "limits": ["oneDNN off"]}


def train(
    events: int, epochs: int, heads: Sequence[str], quick: bool
) -> dict[str, tuple[list[float], float]]:
    """Log-ratios and estimate of each head."""
    import milinfer as mil
    from milinfer.datasets import gaussian
    from milinfer.learning.networks.configs import TrainingConfig

    samples = gaussian.samples(events, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=1, n_features=4)
    data = gaussian.generate(1_000, 0.2, seed=8, n_features=4).as_data()
    results = {}
    for head in heads:
        model = mil.BagLikelihood(head=head, bag_size=10, seed=3, training=TrainingConfig(epochs))
        model = small(model, quick).fit(samples)
        estimate = mil.minuit(model.cost(data)).migrad().values[0]
        results[head] = (model.event_llr(data)[:, -1].tolist(), estimate)
    return results


def in_own_process(
    limits: dict[str, str], settings: tuple[int, int, Sequence[str], bool]
) -> dict[str, tuple[list[float], float]]:
    run = subprocess.run(
        [sys.executable, __file__, "--train", json.dumps(settings)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **limits},
    )
    return json.loads(run.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--events", type=int, default=4_000, help="training events at each parameter point"
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--heads", nargs="+", default=["polynomial", "multiclass"])
    parser.add_argument(
        "--limits",
        nargs="+",
        choices=LIMITS,
        default=list(LIMITS),
        help="limits of instruction sets to compare",
    )
    parser.add_argument("--train", type=json.loads, help=argparse.SUPPRESS)
    options = parse(parser, QUICK, arguments)
    if options.train:
        print(json.dumps(train(*options.train)))
        return
    settings = (options.events, options.epochs, options.heads, options.quick)
    plain = train(*settings) if options.quick else in_own_process({}, settings)
    out: dict[str, dict[str, dict[str, float]]] = {}
    for name in options.limits:
        other = in_own_process(LIMITS[name], settings)
        out[name] = {
            head: {
                "log-ratio": float(np.abs(np.subtract(other[head][0], llr)).max()),
                "estimate": abs(other[head][1] - estimate),
            }
            for head, (llr, estimate) in plain.items()
        }
    print(json.dumps({"benchmark": "instruction_sets", "differences": out}))


if __name__ == "__main__":
    main()
