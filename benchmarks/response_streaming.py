"""Memory, time and precision of a response learned from folders, and from events in memory.

Events of the Gaussian problem, whose exact response is known, are written to folders: nominal
events, and the same events with the nuisance parameters shift and width at ±1.  Besides the one
feature that matters, there are features of pure noise.  The same network is trained on all events
in memory, and streamed with a limit on the number of events in memory; each training runs in its
own process.

The last line on standard output is one line of JSON.  For each way of training it has ``peak_MB``,
the rise of the peak memory above that of a tiny training; ``seconds``; and ``error``, the RMS error
of ln S at +1 in units of its spread, for each nuisance parameter.  ``data_MB`` is the size of the
features.  With --quick both trainings run in this process, which has imported TensorFlow.

python benchmarks/response_streaming.py [--folders 40] [--events 10000] [--features 50] [--quick]
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from quick_size import parse

import milinfer as mil
from milinfer.datasets import gaussian_systematics
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig

NAMES = ("shift", "width")
QUICK = {"folders": 3, "events": 2000, "features": 3, "in_memory": 40_000, "batch": 800}


def variations(n_events: int, n_features: int, seed: int) -> mil.ProcessVariations:
    """Events of one folder."""
    rng = np.random.default_rng([seed, 1])
    noise = rng.standard_normal((n_events, n_features - 1), dtype=np.float32)
    names = ("x0", *(f"noise{i}" for i in range(n_features - 1)))

    def sample(**nuisances: float) -> mil.Sample:
        events = gaussian_systematics.generate(n_events, nuisances=nuisances, seed=seed)
        features = np.concatenate([events.features, noise], axis=1)
        return mil.Sample(features, names, process="signal")

    nominal = sample()
    shifts = [{name: side} for name in NAMES for side in (-1.0, 1.0)]
    moved = [mil.Variation.of_features(nominal, s, sample(**s).features) for s in shifts]
    return mil.ProcessVariations(nominal, moved)


def peak() -> float:
    """Peak of the memory of this process in MB; that of getrusage includes the parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def train(
    folders: Sequence[Path], in_memory: int | None, epochs: int, batch: int, quick: bool
) -> dict[str, Any]:
    """Train on folders, streamed if there is a bound, and measure."""
    network = NetworkConfig((32, 32), "silu", batch_norm=False, dropout=0.0, l2=0.0)
    training = TrainingConfig(epochs, batch, 3e-3, 3e-5, schedule="cosine")
    response = mil.SystematicResponse(network=network, training=training, seed=1)
    few = variations(400, len(mil.ProcessVariations.load(folders[0]).feature_names), 99)
    # TensorFlow and XLA, which compiles trainings of over 300 steps, are in memory now; the quick
    # size has fewer.
    replace(response, training=replace(training, epochs=1 if quick else 301)).fit(few)
    before, start = peak(), time.perf_counter()
    if in_memory is None:
        parts = [mil.ProcessVariations.load(f) for f in folders]
        whole = mil.ProcessVariations.concatenate(parts)
        del parts
        trained = response.fit(whole)
    else:
        trained = response.fit(
            mil.StreamedVariations.from_folders(folders, events_in_memory=in_memory)
        )
    seconds, more = time.perf_counter() - start, peak() - before
    held_out = variations(5000, len(trained.feature_names), 98).nominal[0]
    table, error = trained.table(held_out), {}
    for name in NAMES:
        exact = gaussian_systematics.log_response(held_out.column("x0"), {name: 1.0})
        off = table.log_response(trained.terms.array({name: 1.0})) - exact
        error[name] = float(np.sqrt(np.mean(off**2)) / exact.std())
    return {"peak_MB": more, "seconds": seconds, "error": error}


def train_kind(kind: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train in one of the two ways, in this process."""
    bound = options.in_memory if kind == "streamed" else None
    folders = sorted(folder.iterdir())
    return train(folders, bound, options.epochs, options.batch, options.quick)


def in_own_process(kind: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train in one of the two ways in a process of its own; the quick size stays in this one."""
    arguments = ["--train", kind, "--data", folder]
    for name in ("epochs", "batch", "in_memory"):
        arguments += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    if options.quick:
        with redirect_stdout(io.StringIO()) as printed:
            main([*arguments, "--quick"])
        return json.loads(printed.getvalue().splitlines()[-1])
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folders", type=int, default=40, help="number of folders")
    parser.add_argument("--events", type=int, default=10_000, help="nominal events in a folder")
    parser.add_argument("--features", type=int, default=50, help="number of features")
    parser.add_argument(
        "--in-memory",
        type=int,
        default=200_000,
        help="largest number of events in memory when streaming",
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1024, help="events in a batch")
    parser.add_argument("--train", choices=("memory", "streamed"), help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    options = parse(parser, QUICK, arguments)
    if options.train:
        print(json.dumps(train_kind(options.train, Path(options.data), options)))
        return
    n_rows = options.folders * options.events * (1 + 2 * len(NAMES))
    result: dict[str, Any] = {
        "events": n_rows,
        "in_memory": options.in_memory,
        "features": options.features,
        "epochs": options.epochs,
        "batch": options.batch,
        "data_MB": n_rows * options.features * 4 / 1e6,
    }
    with tempfile.TemporaryDirectory() as folder:
        for k in range(options.folders):
            variations(options.events, options.features, k).save(Path(folder, f"{k:04d}"))
        for kind in ("memory", "streamed"):
            result[kind] = in_own_process(kind, folder, options)
            print(f"{kind}: {json.dumps(result[kind])}", file=sys.stderr, flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
