"""Events, features, splits and toys as plain arrays, so that every package can learn from the same.

Problems: ``quadratic``, whose likelihood is known in closed form, and ``vbf_hww``, the embedded
process with c_HW, whose exact likelihood of what a detector sees is integrated numerically.
Labelled bags are those of ``labelled_bags.py``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from labelled_bags import TASKS
from quick_size import small
from vbf_samples import vbf_sample

import milinfer as mil
from milinfer.binned.chosen_templates import score_templates
from milinfer.datasets import quadratic, vbf_hww
from milinfer.datasets.observable import observable_coefficients
from milinfer.likelihood.oracle import reweight_coefficients
from milinfer.samples.reweighting import joint_density
from milinfer.toys.pool import EventPool
from milinfer.utils.confidence_levels import CL68

POOL_POINTS = (-0.8, -0.4, 0.0, 0.4, 0.8)
N_EVENTS = 1000

README = """Plain arrays of the comparison with other packages.

problem.json
  parameter  name of the parameter θ
  features   names of the columns of x
  grid       points at which training events were generated; Λ is wanted there
  total      σ(θ)/σ(0) = Σ_k total[k] θ^k
  n_events   number of events of a dataset
  bins       expected shares of the bins of a histogram of scores, one row for each point of grid
  bins_cpu_s, bin_cpu_us_per_event
             processor time to make the histogram, and to find the bin of an event
train.npz, calibration.npz, evaluation.npz
  x             features, float32
  theta         point at which the event was generated; as many events at each
  coefficients  p(x, z|θ) ∝ Σ_k coefficients[k] θ^k / σ(θ) of the event, whose truth z has variables
                that no detector sees: joint likelihood ratio and joint score follow from it
  exact         (evaluation) p(x|θ)/p(x|0) = Σ_k exact[k] θ^k / Σ_k exact_total[k] θ^k
  bin           (not of the training) bin of the event in the histogram
toys.npz
  index         rows of evaluation.npz of datasets at θ = 0, (n_datasets, n_events)

Train on train.npz, calibrate with calibration.npz, and measure with evaluation.npz: no event is in
two of them.  At other θ, draw events of a file with weights Σ_k coefficients[k] θ^k / σ(θ) over the
mean of the same at the points of the file.

intervals/datasets.npz
  x             datasets of a Gaussian of width 1 whose mean μ is wanted, (n_datasets, n_events)
  truth         true means

bags/TASK-SEED/train.npz, evaluation.npz
  x, offsets    instances of all bags; those of bag k are x[offsets[k]:offsets[k + 1]]
  label         of each bag
"""


@dataclass(frozen=True)
class Sizes:
    """Numbers of events: of training at each point, of each pool, and of labelled bags."""

    train: int = 2000
    pool: int = 60_000
    bags: int = 1000
    other_bags: int = 2000
    points: int = 21
    bins: int = 20
    datasets: int = 20
    intervals: int = 20


QUICK = Sizes(
    train=400, pool=4000, bags=60, other_bags=100, points=5, bins=6, datasets=2, intervals=2
)


def _quadratic(n_events: int, value: float, seed: int, exact: bool) -> tuple[mil.Sample, Any]:
    sample = quadratic.generate(n_events, {"c1": value}, seed=seed)
    # p(x|θ)/p(x|0) times Z(θ) is a polynomial of the second degree.
    nodes = np.array([-1.0, 0.0, 1.0])
    ratio = np.exp(quadratic.log_likelihood_ratio(sample.features, nodes[:, None]))
    z = np.array([quadratic.normalisation(np.array([v])) for v in nodes])
    known = np.linalg.solve(np.vander(nodes, increasing=True), (ratio * z).T).T if exact else None
    return sample, known


def _vbf_hww(n_events: int, value: float, seed: int, exact: bool) -> tuple[mil.Sample, Any]:
    generated = vbf_hww.generate(n_events, {"c_HW": value}, seed=seed)
    known = observable_coefficients(generated).coefficients if exact else None
    return vbf_sample(generated, value), known


@dataclass(frozen=True)
class Source:
    """Generator of a problem, and degree of its weights in θ."""

    parameter: str
    degree: int
    generate: Any


SOURCES = {
    "quadratic": Source("c1", 2, _quadratic),
    "vbf_hww": Source("c_HW", 4, _vbf_hww),
}


def samples_of(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> mil.SampleSet:
    """Arrays as samples with weights at as many points as determine the polynomial.

    Cross-sections are σ(θ)/σ(0), in units of that at θ = 0.
    """
    name, total = facts["parameter"], np.asarray(facts["total"])
    nodes = np.linspace(-1, 1, len(total))
    powers = np.vander(nodes, len(total), increasing=True)
    made = []
    for value in np.unique(arrays["theta"]):
        rows = arrays["theta"] == value
        weights = arrays["coefficients"][rows] @ powers.T
        made.append(
            mil.Sample(
                arrays["x"][rows],
                tuple(facts["features"]),
                point={name: float(value)},
                process=facts["problem"],
                cross_section=float(np.polynomial.polynomial.polyval(value, total)),
                reweights={f"w{k}": weights[:, k] for k in range(len(nodes))},
                reweight_points={f"w{k}": {name: float(v)} for k, v in enumerate(nodes)},
            )
        )
    return mil.SampleSet(tuple(made))


def _arrays(samples: mil.SampleSet, source: Source) -> dict[str, np.ndarray]:
    return {
        "x": np.concatenate([s.features for s in samples]),
        "theta": np.repeat([s.point[source.parameter] for s in samples], [len(s) for s in samples]),
        "coefficients": np.concatenate(
            [reweight_coefficients(s, source.parameter, source.degree) for s in samples]
        ),
    }


def write_problem(name: str, folder: Path, sizes: Sizes, *, seed: int, quick: bool) -> None:
    """Generate the events of a problem and write them."""
    folder.mkdir(parents=True, exist_ok=True)
    source = SOURCES[name]
    grid = np.linspace(-1, 1, sizes.points).round(9) + 0.0
    wanted = {
        "train": [(v, sizes.train) for v in grid],
        "calibration": [(v, sizes.pool // len(POOL_POINTS)) for v in POOL_POINTS],
        "evaluation": [(v, sizes.pool // len(POOL_POINTS)) for v in POOL_POINTS],
    }
    seeds = iter(np.random.SeedSequence(seed).generate_state(sum(map(len, wanted.values()))))
    parts: dict[str, dict[str, np.ndarray]] = {}
    sets: dict[str, mil.SampleSet] = {}
    exact_total = None
    for part, points in wanted.items():
        known = part == "evaluation"
        made = [source.generate(n, float(v), int(next(seeds)), known) for v, n in points]
        sets[part] = mil.SampleSet(tuple(sample for sample, _ in made))
        parts[part] = _arrays(sets[part], source)
        if known:
            parts[part]["exact"] = np.concatenate([exact for _, exact in made])
            # <p(x|θ)/p(x|0)> is one in the events at 0.
            exact_total = made[POOL_POINTS.index(0.0)][1].mean(axis=0)
    total = joint_density(sets["train"], source.degree).total
    facts = {
        "problem": name,
        "parameter": source.parameter,
        "features": list(sets["train"].feature_names),
        "grid": grid.tolist(),
        "total": (total / total[0]).tolist(),
        "exact_total": exact_total.tolist(),
        "degree": source.degree,
        "n_events": N_EVENTS,
        "seed": seed,
        "milinfer": mil.__version__,
    }
    if name == "quadratic":
        # Known without events.
        z = quadratic.normalisation(np.ones(1)) - 1
        facts |= {"total": [1.0, 0.0, z], "exact_total": [1.0, 0.0, z]}
    # Half of the training events train a network, whose score chooses bins; half fill them.
    train = samples_of(facts, parts["train"])
    first, second = train.split([0.5, 0.5], seed=seed)
    order = source.degree // 2
    start = time.process_time()
    network = mil.BagLikelihood(head="polynomial", labels="joint", order=order, seed=seed)
    network = small(network, quick).fit(first)
    templates = score_templates(
        network, first, second, at={source.parameter: 0.0}, n_events=N_EVENTS, bins=sizes.bins,
        weight_degree=source.degree,
    )  # fmt: skip
    facts["bins"] = [templates.fractions({source.parameter: float(v)}).tolist() for v in grid]
    filled = time.process_time()
    for part in ("calibration", "evaluation"):
        parts[part]["bin"] = np.concatenate([templates.bin_index(s) for s in sets[part]])
    events = sum(sets[part].n_events for part in ("calibration", "evaluation"))
    facts["bins_cpu_s"] = filled - start
    facts["bin_cpu_us_per_event"] = (time.process_time() - filled) / events * 1e6
    for part, arrays in parts.items():
        np.savez(folder / f"{part}.npz", **arrays)
    pool = EventPool(samples_of(facts, parts["evaluation"]), source.degree)
    draws = mil.Toys(pool, N_EVENTS, seed=seed).draws({source.parameter: 0.0}, sizes.datasets)
    index, _ = draws.stream(0, sizes.datasets)
    np.savez(folder / "toys.npz", index=index.reshape(sizes.datasets, N_EVENTS))
    (folder / "problem.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def write_bags(task: str, folder: Path, sizes: Sizes, *, seed: int) -> None:
    """Generate labelled bags and write them."""
    folder.mkdir(parents=True, exist_ok=True)
    # Other streams than those of labelled_bags.py, with which milinfer's defaults were chosen.
    for part, n, stream in (("train", sizes.bags, 3), ("evaluation", sizes.other_bags, 4)):
        bags, labels = TASKS[task](n, [seed, stream])
        np.savez(
            folder / f"{part}.npz",
            x=np.concatenate(bags).astype(np.float32),
            offsets=np.cumsum([0, *map(len, bags)]),
            label=labels,
        )
    facts = {"task": task, "seed": seed, "milinfer": mil.__version__}
    (folder / "problem.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")


def write_intervals(folder: Path, sizes: Sizes, *, seed: int) -> None:
    """Generate datasets of a Gaussian at several true means, and write them."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = np.repeat([-0.4, 0.0, 0.4], sizes.intervals)
    x = np.random.default_rng(seed).normal(truth[:, None], 1, (len(truth), 100))
    np.savez(folder / "datasets.npz", x=x, truth=truth)
    facts = {
        "n_events": x.shape[1],
        "range": [-1.0, 1.0],
        "cl": CL68,
        "seed": seed,
        "milinfer": mil.__version__,
    }
    (folder / "problem.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")


def write(
    folder: Path,
    problems: list[str],
    bags: list[tuple[str, int]],
    *,
    quick: bool,
    keep: bool = False,
) -> None:
    """Write all arrays, or those that are not there yet, with a README that says what they are.

    Raises
    ------
    ValueError
        If arrays are to be kept that are of other sizes.
    """
    sizes = QUICK if quick else Sizes()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "sizes.json"
    if keep and file.exists() and json.loads(file.read_text(encoding="utf-8")) != asdict(sizes):
        msg = f"{file}: the arrays there are of other sizes than {asdict(sizes)}; omit --keep"
        raise ValueError(msg)
    file.write_text(json.dumps(asdict(sizes)) + "\n", encoding="utf-8")
    (folder / "README.txt").write_text(README, encoding="utf-8")
    for name in problems:
        if not (keep and (folder / name / "problem.json").exists()):
            write_problem(name, folder / name, sizes, seed=1, quick=quick)
    if not (keep and (folder / "intervals" / "problem.json").exists()):
        write_intervals(folder / "intervals", sizes, seed=1)
    for task, seed in bags:
        own = folder / "bags" / f"{task}-{seed}"
        if not (keep and (own / "problem.json").exists()):
            write_bags(task, own, sizes, seed=seed)
