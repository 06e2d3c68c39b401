"""Speed of reading events: LHE compared with pylhe, on one core and on all, and features from ROOT.

    python benchmarks/reading.py --events 20000 --out benchmarks/results/reading.json [--quick]

The reference is pylhe's own parser, with all its numbers put directly into columns; its
``to_awkward`` takes twice as long.  Each time is the shortest of a few, with milinfer and pylhe in
turns.  Work on one core is timed in seconds of processor time, so that other programs matter less;
work on several cores is timed by the clock.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from quick_size import parse

PARTICLE = attrgetter(
    "id", "status", "mother1", "mother2", "color1", "color2",
    "px", "py", "pz", "e", "m", "lifetime", "spin",
)  # fmt: skip
EVENT = attrgetter("pid", "weight", "scale", "aqed", "aqcd")
QUICK = {"events": 200, "root_events": 1000, "repeat": 1, "workers": 1}


def with_pylhe(path: Path) -> tuple[np.ndarray, ...]:
    """Particles of each event, and all numbers: particles, events, weights."""
    import pylhe

    counts, particles, heads, weights = array("q"), array("d"), array("d"), array("d")
    for event in pylhe.LHEFile.fromfile(path).events:
        counts.append(len(event.particles))
        particles.extend(chain.from_iterable(map(PARTICLE, event.particles)))
        heads.extend(EVENT(event.eventinfo))
        weights.extend(event.weights.values())
    n = len(counts)
    return (
        np.array(counts),
        np.array(particles).reshape(-1, 13),
        np.array(heads).reshape(n, -1),
        np.array(weights).reshape(n, -1),
    )


def with_pylhe_awkward(path: Path) -> Any:
    import pylhe

    return pylhe.to_awkward(pylhe.LHEFile.fromfile(path).events)


def with_milinfer(path: Path, workers: int) -> list[Any]:
    from milinfer.io import lhe

    return list(lhe.iterate(path, workers=workers))


def check(path: Path, workers: int) -> None:
    """Check that both ways of reading give the same numbers."""
    import awkward as ak

    from milinfer.io import lhe
    from milinfer.io.event_record.record import EVENT_FIELDS, PARTICLE_FIELDS

    counts, particles, heads, weights = with_pylhe(path)
    events = lhe.read(path, workers=workers).events
    fields = list(PARTICLE_FIELDS)
    assert (ak.num(events.LHEPart).to_numpy() == counts).all()
    for i, name in enumerate(fields):
        assert (ak.flatten(events.LHEPart[name]).to_numpy() == particles[:, i]).all(), name
    for i, name in enumerate(EVENT_FIELDS):
        assert (events[name].to_numpy() == heads[:, i]).all(), name
    if weights.size:
        ours = np.stack([events.LHEWeight[k].to_numpy() for k in events.LHEWeight.fields], axis=1)
        assert (ours == weights).all()


def best(functions: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Least seconds of each, by turns; after one call each to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for name, function in functions.items():
        slow = name.startswith("pylhe")
        if not slow:
            function()
    for turn in range(repeat):
        for name, function in functions.items():
            if name.startswith("pylhe") and turn >= 2:
                continue
            clock = time.perf_counter if name.endswith("workers") else time.process_time
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return {name: min(times) for name, times in seconds.items()}


def padded(columns: Any, names: tuple[str, ...]) -> Iterator[str]:
    """Events as MadGraph writes them: padded columns, signs, ten digits, a dozen weights."""
    first = 0
    scale, qed, qcd = (columns.event[f"LHE_{k}"] for k in ("scale", "alphaQED", "alphaQCD"))
    particles = [columns.particles[name].tolist() for name in columns.particles]
    for i, count in enumerate(columns.counts.tolist()):
        weight = columns.event["genWeight"][i]
        yield (
            f"<event>\n{count:2d} {1:6d} {weight:+.7e} {scale[i]:.8e} {qed[i]:.8e} {qcd[i]:.8e}\n"
        )
        for k in range(first, first + count):
            a, b, c, d, e, f, *four, m, lifetime, spin = (column[k] for column in particles)
            momentum = " ".join(f"{x:+.10e}" for x in four)
            yield (
                f"{a:9d} {b:2d} {c:4d} {d:4d} {e:4d} {f:4d} {momentum} {m:.10e} "
                f"{lifetime:.4e} {spin:.4e}\n"
            )
        first += count
        if names:
            yield "<rwgt>\n"
            for j, name in enumerate(names):
                yield f"<wgt id='{name}'> {weight * (1 + j / 7):+.7e} </wgt>\n"
            yield "</rwgt>\n"
        yield "</event>\n"


def make_files(folder: Path, n: int, n_root: int, seed: int) -> dict[str, Path]:
    from milinfer.datasets import vbf_hww
    from milinfer.io import events, lhe

    generated = vbf_hww.generate(n, {"c_HW": 0.5}, seed=seed)
    files = {name: folder / f"{name}.lhe" for name in ("own", "own_weights")}
    record, info = generated.to_events([])
    lhe.write(files["own"], record, info)
    with_weights, info_weights = generated.to_events(
        [{"c_HW": float(c)} for c in np.linspace(-1, 1, 12)]
    )
    lhe.write(files["own_weights"], with_weights, info_weights)
    columns = lhe.EventColumns(*lhe.flatten_events(record))
    head = files["own"].read_text(encoding="utf-8").partition("<event>")[0]
    for name, ids in (
        ("madgraph", ()),
        ("madgraph_weights", tuple(f"rwgt_{i}" for i in range(12))),
    ):
        files[name] = folder / f"{name}.lhe"
        text = "".join([head, *padded(columns, ids), "</LesHouchesEvents>\n"])
        files[name].write_text(text, encoding="utf-8")
    files["gzip"] = folder / "own.lhe.gz"
    files["gzip"].write_bytes(gzip.compress(files["own"].read_bytes(), 6))
    for kind in ("ttree", "rntuple"):
        files[kind] = folder / f"{kind}.root"
        with events.open_writer(files[kind], info_weights, ntuple=kind) as writer:
            for _ in range(-(-n_root // n)):
                writer.write(with_weights)
    return files


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000, help="events in each LHE file")
    parser.add_argument("--root-events", type=int, default=400_000, help="events in each ROOT file")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=7, help="number of timings")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the result to this file")
    args = parse(parser, QUICK, arguments)
    from milinfer.io import events
    from milinfer.samples.run_features import run_features
    from milinfer.samples.sample import Sample
    from milinfer.version import __version__

    figures: dict[str, Any] = {
        "milinfer": __version__,
        "events": args.events,
        "workers": args.workers,
        "cores": os.cpu_count(),
    }
    with tempfile.TemporaryDirectory() as name:
        files = make_files(Path(name), args.events, args.root_events, args.seed)
        for kind in ("own", "own_weights", "madgraph", "madgraph_weights", "gzip"):
            path = files[kind]
            check(path, args.workers)
            functions: dict[str, Callable[[], Any]] = {
                "pylhe": lambda path=path: with_pylhe(path),
                "one": lambda path=path: with_milinfer(path, 1),
                "workers": lambda path=path: with_milinfer(path, args.workers),
            }
            if kind == "own":
                functions["pylhe_to_awkward"] = lambda path=path: with_pylhe_awkward(path)
            seconds = best(functions, args.repeat)
            rates = {f"{k}_events_per_s": round(args.events / s) for k, s in seconds.items()}
            figures[kind] = {
                "bytes_per_event": round(path.stat().st_size / args.events),
                **rates,
                "ratio_pylhe": round(seconds["pylhe"] / seconds["one"], 2),
            }
            print(kind, figures[kind], flush=True)
        n_root = events.count(files["ttree"])
        plain = {"keep_reweights": False}
        root = {
            "features": lambda: Sample.from_file(files["ttree"], **plain),
            "features_workers": lambda: Sample.from_file(
                files["ttree"], workers=args.workers, **plain
            ),
            "features_rntuple": lambda: Sample.from_file(files["rntuple"], **plain),
            "features_with_weights": lambda: Sample.from_file(files["ttree"]),
            "run_features": lambda: run_features(
                {"signal": [str(files["ttree"])]}, reweights=False
            ),
        }
        seconds = best(root, args.repeat)
        figures |= {f"{k}_per_s": round(n_root / s) for k, s in seconds.items()}
    figures |= {
        "ratio_pylhe": min(figures["own"]["ratio_pylhe"], figures["madgraph"]["ratio_pylhe"]),
        "ratio_pylhe_weights": min(
            figures[k]["ratio_pylhe"] for k in ("own_weights", "madgraph_weights")
        ),
        "ratio_pylhe_to_awkward": round(
            figures["own"]["one_events_per_s"] / figures["own"]["pylhe_to_awkward_events_per_s"], 2
        ),
        "lhe_events_per_s": figures["own"]["one_events_per_s"],
        "lhe_events_per_s_workers": figures["own"]["workers_events_per_s"],
        "lhe_gz_events_per_s": figures["gzip"]["one_events_per_s"],
        "lhe_gz_events_per_s_workers": figures["gzip"]["workers_events_per_s"],
    }
    text = json.dumps(figures)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
