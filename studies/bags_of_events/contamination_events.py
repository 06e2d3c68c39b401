"""What the study of contamination trains and tests with: events, bags, exact answers, methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import milinfer as mil
from milinfer.datasets.contamination import (
    ContaminatedBags,
    composition_llr,
    contaminate,
    contaminated_bags,
    mixture_llr,
)
from milinfer.learning.boosted_trees import BoostedSettings
from milinfer.typing import FloatArray
from studies.common.vbf_events import Truth, generated, sample, truth

N_SIGNAL = 100  # signal events in a bag


class Plan(NamedTuple):
    """Sizes; `ratios` are background events for each signal event, at each value of c_HW."""

    ratios: dict[float, tuple[float, ...]]
    seeds: dict[float, int]
    n_train: int
    n_test: int
    epochs: int
    trials: int
    rounds: int
    seed: int
    workers: int
    hidden: tuple[int, ...] = (64, 64, 64)

    @property
    def most(self) -> float:
        return max(max(r) for r in self.ratios.values())


class Events(NamedTuple):
    """Signal by value of c_HW and background, to train on and to test with, and the truth."""

    train: dict[float, mil.Sample]
    background: mil.Sample
    test: dict[float, mil.Sample]
    test_background: mil.Sample
    truth: dict[float, Truth]
    truth_background: Truth

    def llr(self, c: float) -> tuple[dict[float, FloatArray], FloatArray]:
        """Exact λ of the test events of both hypotheses, and of the background."""
        total = self.truth[0.0].coefficients.mean(axis=0)
        signal = {v: self.truth[v].llr(c, total) for v in (0.0, c)}
        return signal, self.truth_background.llr(c, total)


def make(plan: Plan) -> Events:
    points = (0.0, *plan.ratios)
    seeds = np.random.SeedSequence([plan.seed, 17]).generate_state(2 * len(points) + 2).tolist()

    def of(c: float | None, n: int) -> Any:
        return generated(n, c, seeds.pop(), plan.workers)

    train = {c: of(c, plan.n_train) for c in points}
    test = {c: of(c, plan.n_test) for c in points}
    background = of(None, round(2 * plan.most * plan.n_train))
    # Both hypotheses at a ratio of 1 fill their bags; at more there are fewer bags.
    other = of(None, 2 * plan.n_test)
    scale = test[0.0].cross_section / other.cross_section
    return Events(
        {c: sample(e, "vbf_2l2j") for c, e in train.items()},
        sample(background, "vbf_2l2j"),
        {c: sample(e, "vbf_2l2j") for c, e in test.items()},
        sample(other, "vbf_2l2j"),
        {c: truth(e, scale, plan.workers) for c, e in test.items()},
        truth(other, scale, plan.workers),
    )


class Job(NamedTuple):
    """One training: a method at a value of c_HW and a ratio, from a seed."""

    method: str
    c: float
    ratio: float
    seed: int


def jobs(plan: Plan) -> list[Job]:
    return [
        Job(method, c, ratio, k)
        for c, ratios in plan.ratios.items()
        for ratio in ratios
        for method in ("MIL", "MLP", "XGBoost")
        for k in range(plan.seeds[c] if method != "XGBoost" else 1)
    ]


def save(events: Events, folder: Path) -> None:
    """For other processes: what they train on and score."""
    for c, s in events.train.items():
        s.to_file(folder / f"train_{c:g}.parquet")
    for c, s in events.test.items():
        s.to_file(folder / f"test_{c:g}.parquet")
    events.background.to_file(folder / "train_background.parquet")
    events.test_background.to_file(folder / "test_background.parquet")


def scores(job: Job, plan: Plan, folder: Path) -> dict[str, Any]:
    """Train, and score the test events: of c = 0, of c and of the background, one array."""
    from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig

    def load(name: str) -> mil.Sample:
        return mil.Sample.from_file(folder / f"{name}.parquet")

    signal = mil.SampleSet((load("train_0"), load(f"train_{job.c:g}")))
    mixed = contaminate(signal, load("train_background"), job.ratio, seed=plan.seed)
    model: mil.BagLikelihood | mil.BoostedLikelihood
    if job.method == "XGBoost":
        settings = BoostedSettings(n_estimators=plan.rounds)
        model = mil.BoostedLikelihood(trials=plan.trials, seed=plan.seed, settings=settings)
    else:
        model = mil.BagLikelihood(
            head="binary",
            normalise=False,
            bag_size=1 if job.method == "MLP" else round(N_SIGNAL * (1 + job.ratio)),
            seed=1000 * plan.seed + job.seed,
            training=TrainingConfig(epochs=plan.epochs),
            network=NetworkConfig(plan.hidden),
        )
    model = model.fit(mixed)
    tests = [load("test_0"), load(f"test_{job.c:g}"), load("test_background")]
    found = {"scores": np.concatenate([model.event_llr(s)[:, -1] for s in tests])}
    if isinstance(model, mil.BoostedLikelihood):
        found["settings"] = model.fitted.settings
    return found


def bags_of(
    events: Events, c: float, ratio: float, seed: int
) -> tuple[ContaminatedBags, ContaminatedBags]:
    """Test bags of c and of 0 with disjoint background; signal in the same bags at every ratio."""
    n_background = round(N_SIGNAL * ratio)
    half = len(events.test_background) // 2
    n_bags = len(events.test[0.0]) // N_SIGNAL
    if n_background:
        n_bags = min(n_bags, half // n_background)
    out = []
    for k, v in enumerate((c, 0.0)):
        rows = slice(k * half, (k + 1) * half)
        made = contaminated_bags(
            events.test[v],
            events.test_background.take(rows),
            N_SIGNAL,
            n_background,
            n_bags=n_bags,
            seed=[seed, k],
        )
        out.append(made._replace(background=made.background + k * half))
    return out[0], out[1]


def exact_scores(
    events: Events, c: float, ratio: float, bags: tuple[ContaminatedBags, ContaminatedBags]
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Scores of the bags of c and of 0 by the three exact answers."""
    signal, background = events.llr(c)
    out: dict[str, list[FloatArray]] = {"labelled": [], "number": [], "mixture": []}
    for of_v, v in zip(bags, (c, 0.0), strict=True):
        llr = of_v.gather(signal[v], background)
        other = of_v.gather(events.truth[v].background, events.truth_background.background)
        out["labelled"].append(llr[:, :N_SIGNAL].sum(axis=1))
        out["number"].append(composition_llr(llr, other, N_SIGNAL))
        out["mixture"].append(mixture_llr(llr, other, ratio).sum(axis=1))
    return {name: (first, second) for name, (first, second) in out.items()}


def mixture_rows(events: Events, c: float, ratio: float) -> tuple[FloatArray, FloatArray]:
    """Rows of the concatenated test events that form the even mixture, and their exact λ."""
    signal, background = events.llr(c)
    n_signal, n_background = len(events.test[0.0]), len(events.test_background)
    n = n_signal if not ratio else min(n_signal, int(n_background / (2 * ratio)))
    starts = (0, n_signal, 2 * n_signal)
    sizes = (n, n, round(2 * ratio * n))
    rows = np.concatenate([a + np.arange(b) for a, b in zip(starts, sizes, strict=True)])
    llr = np.concatenate([signal[0.0], signal[c], background])[rows]
    other = np.concatenate(
        [events.truth[v].background for v in (0.0, c)] + [events.truth_background.background]
    )[rows]
    return rows, mixture_llr(llr, other, ratio)
