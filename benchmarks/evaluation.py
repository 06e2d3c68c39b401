"""Speed of the evaluation of trained networks, and time of a fit in a new process.

python benchmarks/evaluation.py [--events 200000] [--repeats 5] [--quick]

The network of the default head is evaluated by compiled loops and by a TensorFlow graph, in turns.
Then ``milinfer fit`` runs in new processes, with a saved model and 500 events; for comparison
another process only imports TensorFlow (not with --quick).  The last line on standard output is one
line of JSON.  It has the events per second of processor time for both evaluations and their ratio,
the largest difference of their outputs, and the wall and processor seconds of the processes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from quick_size import parse, small

FIT = """
import sys
from milinfer.cli import cli
cli(["fit", "--model", sys.argv[1], sys.argv[2], "--json", sys.argv[3]], standalone_mode=False)
print("tensorflow" in sys.modules)
"""
QUICK = {"events": 5_000, "repeats": 1}


def seconds_of(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def rates(events: int, repeats: int) -> dict[str, float]:
    """Events for each second of processor time, the best of some turns."""
    from milinfer.learning.networks.configs import NetworkConfig
    from milinfer.learning.networks.heads import LinearHead
    from milinfer.learning.networks.network import build_network
    from milinfer.learning.networks.trained_network import TrainedNetwork, keras_outputs

    n_features, seed = 20, np.random.SeedSequence(1)
    mean, variance = np.zeros(n_features), np.ones(n_features)
    built = build_network(NetworkConfig(), LinearHead(np.eye(5)), 10, mean, variance, seed)
    network = TrainedNetwork.of(built, mean, variance)
    features = np.random.default_rng(1).normal(size=(events, n_features)).astype(np.float32)
    # Both are compiled before the clock starts.
    difference = np.abs(network.outputs(features) - keras_outputs(built.event_model, features))
    ways = {
        "loops": lambda: network.outputs(features),
        "graph": lambda: keras_outputs(built.event_model, features),
    }
    best = dict.fromkeys(ways, np.inf)
    for _ in range(repeats):
        for name, call in ways.items():
            best[name] = min(best[name], seconds_of(call))
    return {
        "loops_per_s": events / best["loops"],
        "graph_per_s": events / best["graph"],
        "ratio": best["graph"] / best["loops"],
        "largest_difference": float(difference.max()),
    }


def process(code: str, *arguments: str) -> tuple[dict[str, float], str]:
    """Seconds of a process on the clock and of processor time, and what it printed last."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before, start = used(), time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    seconds = {"clock_s": time.perf_counter() - start, "processor_s": used() - before}
    return seconds, run.stdout.splitlines()[-1] if run.stdout else ""


def cold_starts(folder: Path, repeats: int, quick: bool) -> dict[str, object]:
    """Shortest fit of a saved model in a new process, and shortest import of TensorFlow."""
    import milinfer as mil
    from milinfer.datasets import quadratic

    points = [{"c1": value} for value in (-1.0, 0.0, 1.0)]
    samples = quadratic.samples(500 if quick else 2_000, points, seed=1)
    model = small(mil.BagLikelihood(head="polynomial", order=1, seed=1), quick).fit(samples)
    model.save(folder / "model")
    data = folder / "data.parquet"
    quadratic.generate(500, {"c1": 0.1}, seed=2).as_data().to_file(data)
    result = folder / "fit.json"
    fits, imports, needed = [], [], ""
    for _ in range(repeats):
        seconds, needed = process(FIT, str(folder / "model"), str(data), str(result))
        fits.append(seconds)
        if not quick:
            imports.append(process("import tensorflow")[0])
    both = {"fit": fits, "import_of_tensorflow": imports}
    return {
        **{name: least(found) for name, found in both.items() if found},
        "fit_imports_tensorflow": needed == "True",
    }


def least(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: min(each[key] for each in found) for key in found[0]}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000, help="number of events to evaluate")
    parser.add_argument("--repeats", type=int, default=5, help="number of timings")
    options = parse(parser, QUICK, arguments)
    with tempfile.TemporaryDirectory() as folder:
        record = {
            "benchmark": "evaluation",
            "network": rates(options.events, options.repeats),
            "cold_start": cold_starts(Path(folder), options.repeats, options.quick),
        }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
