"""Sets, lists and single events: classifiers of twenty collider events ([NT], figs. 2c to 6).

python -m studies.many_events.event_sets [--size quick|full] [--seed 0] [--out DIR]

VBF H → WW* at c_HW = 0 (signal) against c_HW = −1, in bags of 20, in place of the top quark at two
masses.  The likelihood ratio at parton level and that of what a detector sees bound all
classifiers on the same bags.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from matplotlib.figure import Figure

import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.datasets.observable import observable_coefficients
from milinfer.diagnostics.roc import Estimate, false_positive_rate, roc_curve
from milinfer.plotting.results import PALETTE, styled
from studies.common.frame import Study, markdown, pair, require, run
from studies.many_events.many_events import (
    RATES,
    Setup,
    bag_scores,
    compared,
    curve,
    event_scores,
    network_scores,
    over_trainings,
    pulls,
    train,
)

VALUES = (-1.0, 0.0)  # background, signal
N = 20
FEATURES = (
    "cos_dphi_q0_q1",
    "log_pt_q0",
    "log_pt_q1",
    "sided_eta_q1",
    "log_m_q0_q1",
    "log_pt_qq",
)
SORT_BY = "cos_dphi_q0_q1"  # the feature that tells most
SIZES = {  # events of each class to train on and to test with, epochs, trainings, processes
    "quick": (6_000, 10_000, 8, 2, 1),
    "full": (100_000, 120_000, 40, 4, 2),
}
# Points in rapidity, and directions at each, of the integral over what is not visible.
INTEGRATION = {"quick": (32, 4), "full": (128, 8)}
EVENT_LAYERS = (64, 64, 64, 64)
LAYERS = {
    "single": EVENT_LAYERS,
    "additive": EVENT_LAYERS,
    "list": (64, 64, 128, 64),
    "sorted": (64, 64, 128, 64),
    "set": (100, 100, 128),
}
BAG_LAYERS = (100, 100, 100)  # of the set, after the sum
LABELS = {
    "single": "f₁→₂₀",
    "set": "f₂₀, set",
    "additive": "f̃₂₀, set (eq. 32)",
    "sorted": "f₂₀, sorted",
    "list": "f₂₀, list",
}


def generate(job: tuple[float, int, int, tuple[int, int] | None]) -> tuple[mil.Sample, np.ndarray]:
    """Features at one value, and ln r of the signal by both exact ratios, shape (n, 2)."""
    value, n, seed, integration = job
    events = vbf_hww.generate(n, {"c_HW": value}, seed=seed)
    table = mil.feature_set("vbf_2l2j_invariant").select(FEATURES).from_lhe(events.to_events()[0])
    sample = mil.Sample(table.array, table.names, point={"c_HW": value}, process="vbf_hww")
    if integration is None:
        return sample, np.empty((n, 0))
    powers = np.power(VALUES[0], np.arange(5))
    rapidity, angles = integration
    seen = observable_coefficients(events, n_rapidity=rapidity, n_angles=angles).coefficients
    # Up to a constant of all events, which no area depends on.
    return sample, -np.log(np.column_stack([events.coefficients @ powers, seen @ powers]))


def make_samples(jobs: list, workers: int) -> list[tuple[mil.Sample, np.ndarray]]:
    if workers == 1:
        return [generate(job) for job in jobs]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(generate, jobs))


class Epochs:
    """True minus false positive rate at a true positive rate of one half, after every epoch."""

    def __init__(self, test: mil.SampleSet, setup: Setup) -> None:
        self._test, self._setup = test, setup
        self.values: list[float] = []

    def __call__(self, report) -> None:
        scores = network_scores(report.network, self._test, self._setup)
        self.values.append(0.5 - false_positive_rate(scores, 0.5).value)


def study(size: str, seed: int) -> dict:
    n_train, n_test, epochs, n_trainings, workers = SIZES[size]
    # The list is the worst and differs from the sorted classifier by nothing but the order.
    kinds = [k for k in LAYERS if size == "full" or k != "list"]
    # Most of a short training is the translation of its layers into a graph.
    short = {kind: (64,) for kind in LAYERS if kind != "sorted"}
    layers = LAYERS if size == "full" else LAYERS | short
    after = BAG_LAYERS if size == "full" else (64,)
    setup = Setup(N, layers, after, epochs, 10, 3e-3, SORT_BY)
    seeds = np.random.SeedSequence(seed).generate_state(2 * n_trainings + 3).tolist()
    jobs = [(v, n_train * n_trainings, s, None) for v, s in zip(VALUES, seeds[:2], strict=True)]
    jobs += [(v, n_test, s, INTEGRATION[size]) for v, s in zip(VALUES, seeds[2:4], strict=True)]
    made = make_samples(jobs, workers)
    test = mil.SampleSet((made[2][0], made[3][0]))
    bounds = {
        name: (made[3][1][:, k], made[2][1][:, k])
        for k, name in enumerate(("parton level", "visible"))
    }
    in_bags = {
        name: tuple(x.reshape(-1, N).sum(axis=1) for x in scores) for name, scores in bounds.items()
    }
    scores: dict[str, list] = {name: [] for name in (*kinds, "f1", "f20to1")}
    convergence: dict[str, list] = {"single": [], "set": []}
    for k, number in enumerate(seeds[4 : 4 + n_trainings]):
        part = slice(k * n_train, (k + 1) * n_train)
        samples = mil.SampleSet(tuple(made[i][0].take(part) for i in (0, 1)))
        for kind in kinds:
            follow = Epochs(test, setup) if kind in convergence else None
            model = train(kind, samples, setup, number, follow)
            scores[kind].append(bag_scores(kind, model, test, setup))
            if follow is not None:
                convergence[kind].append(follow.values)
            if kind in ("single", "additive"):
                name = "f1" if kind == "single" else "f20to1"
                scores[name].append(event_scores(model, test))
    found: dict = {"events": [n_train, n_test], "epochs": epochs, "trainings": n_trainings}
    found["bounds"] = {
        name: {
            "auc": roc_curve(*in_bags[name]).auc,
            "error": roc_curve(*in_bags[name]).auc_error,
            "false_positive": roc_curve(*in_bags[name]).at(RATES).round(6).tolist(),
            "auc of one event": roc_curve(*bounds[name]).auc,
        }
        for name in bounds
    }
    found["classifiers"] = {
        kind: {
            **curve([roc_curve(*s) for s in scores[kind]]),
            "at one half": over_trainings(
                [Estimate(0.5 - r.value, r.error) for r in map(false_positive_rate, scores[kind])]
            ),
            "against visible": compared(scores[kind], in_bags["visible"]),
            "against single": compared(scores[kind], scores["single"]) if kind != "single" else {},
        }
        for kind in LABELS
        if kind in kinds
    }
    found["single events"] = {
        name: {
            "auc": float(np.mean([roc_curve(*s).auc for s in scores[name]])),
            "against visible": compared(scores[name], bounds["visible"]),
        }
        for name in ("f1", "f20to1")
    }
    found["f20to1 − f1"] = compared(scores["f20to1"], scores["f1"])
    found["convergence"] = {k: np.round(v, 5).tolist() for k, v in convergence.items()}
    return found


def check(results: dict) -> None:
    classifiers = results["classifiers"]
    for kind, entry in classifiers.items():
        against = entry["against visible"]
        require(pulls(against) < 4, f"{kind} is better than the exact ratio of what is visible")
    bounds = results["bounds"]
    require(
        bounds["parton level"]["auc"] > bounds["visible"]["auc"], "neutrinos tell nothing at all"
    )
    # Two trainings say little about their spread.
    far = -1.5 if results["trainings"] < 4 else -4
    for kind in {"list", "sorted"} & set(classifiers):
        require(
            pulls(classifiers[kind]["against single"]) < far,
            f"f20 ({kind}) reaches what single events give",
        )
    single = classifiers["single"]
    gain = single["auc"] - bounds["visible"]["auc of one event"]
    require(gain > 4 * single["error"], "twenty events tell no more than one")
    early = {k: np.mean(np.array(v)[:, :3]) for k, v in results["convergence"].items()}
    require(early["set"] < early["single"] + 0.01, "sets converge faster than single events")


def conclusions(results: dict) -> None:
    found = results["classifiers"]
    against = {kind: entry["against single"] for kind, entry in found.items() if kind != "single"}
    require(
        found["list"]["auc"] + 5 * against["list"]["error"] < found["sorted"]["auc"],
        "the list is not behind the sorted list",
    )
    require(against["sorted"]["difference"] < -0.02, "the sorted list is near f1→20")
    for kind in ("set", "additive"):
        require(pulls(against[kind]) < 3, f"{kind} is better than single events")
        require(against[kind]["difference"] > -0.006, f"{kind} is far behind single events")
    for kind in ("single", "set", "additive"):
        visible = found[kind]["against visible"]
        require(
            pulls(visible) < -3 and visible["difference"] > -0.02,
            f"{kind} is not a little behind the exact ratio of what is visible",
        )
    epochs = {k: np.mean(v, axis=0) for k, v in results["convergence"].items()}
    require(
        bool(np.all(epochs["single"][:3] > epochs["set"][:3])), "the set starts as high as f1→20"
    )
    require(abs(pulls(results["f20to1 − f1"])) < 3, "one of f20→1 and f1 is better")


def tables(results: dict) -> str:
    rows = []
    for name, entry in results["bounds"].items():
        what = {"parton level": "exact, parton level", "visible": "exact, what is visible"}[name]
        rows.append((what, pair(entry["auc"], entry["error"], 4), "", "", "", ""))
    for kind, entry in results["classifiers"].items():
        single, visible = entry["against single"], entry["against visible"]
        rows.append(
            (
                LABELS[kind],
                pair(entry["auc"], entry["error"], 4),
                pair(entry["at one half"]["difference"], entry["at one half"]["error"]),
                pair(1e3 * visible["difference"], 1e3 * visible["error"], 1),
                pair(1e3 * single["difference"], 1e3 * single["error"], 1) if single else "",
                f"{1e3 * visible['spread']:.1f}",
            )
        )
    titles = (
        "classifier of 20 events",
        "area under the ROC curve",
        "TPR − FPR at TPR = ½",
        "area minus exact (visible), 10⁻³",
        "area minus f₁→₂₀, 10⁻³",
        "spread over trainings, 10⁻³",
    )
    paired = {
        "f₁ − exact": results["single events"]["f1"]["against visible"],
        "f₂₀→₁ − exact": results["single events"]["f20to1"]["against visible"],
        "f₂₀→₁ − f₁": results["f20to1 − f1"],
    }
    one = "; ".join(
        f"{name}: {pair(1e3 * p['difference'], 1e3 * p['error'], 1)}" for name, p in paired.items()
    )
    exact = results["bounds"]["visible"]["auc of one event"]
    return (
        f"{markdown(titles, rows)}\n\nFor single events, the area of the exact ratio of what is "
        f"visible is {exact:.4f}. Differences of areas for single events, 10⁻³: {one}."
    )


def figures(results: dict) -> dict[str, Figure]:
    return {"ROC curves": _curves(results), "convergence": _convergence(results)}


def _curves(results: dict) -> Figure:
    with styled():
        figure = Figure(figsize=(6.6, 4.6), layout="constrained")
        axis = figure.subplots()
        for (name, entry), style in zip(results["bounds"].items(), (":", "--"), strict=True):
            rates = RATES - np.array(entry["false_positive"])
            axis.plot(RATES, rates, color="black", ls=style, lw=1, label=f"exact, {name}")
        for i, (kind, entry) in enumerate(results["classifiers"].items()):
            rates = RATES - np.array(entry["false_positive"])
            axis.plot(RATES, rates, color=PALETTE[i], label=LABELS[kind])
        axis.set_xlim(0, 1)
        axis.set_ylim(0, axis.get_ylim()[1] * 1.02)
        axis.set_xlabel("true positive rate")
        axis.set_ylabel("true − false positive rate")
        axis.legend(loc="lower center")
    return figure


def _convergence(results: dict) -> Figure:
    with styled():
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axis = figure.subplots()
        for kind, colour in (("single", PALETTE[0]), ("set", PALETTE[1])):
            table = np.array(results["convergence"][kind])
            epochs = np.arange(1, table.shape[1] + 1)
            axis.plot(epochs, table.mean(axis=0), color=colour, label=LABELS[kind])
            axis.fill_between(
                epochs, table.min(axis=0), table.max(axis=0), color=colour, alpha=0.2, lw=0
            )
        bound = results["bounds"]["visible"]
        exact = 0.5 - float(np.interp(0.5, RATES, bound["false_positive"]))
        axis.axhline(exact, color="black", ls="--", lw=1, label="exact, visible")
        axis.set_xlim(1, None)
        axis.set_xlabel("epoch")
        axis.set_ylabel("true − false positive rate at TPR = ½")
        axis.legend(loc="lower right")
    return figure


def made_with(size: str) -> dict:
    return {
        "values": VALUES,
        "bag": N,
        "features": FEATURES,
        "sorted by": SORT_BY,
        "size": SIZES[size][:4],
        "integration": INTEGRATION[size],
        "layers": LAYERS,
        "bag layers": BAG_LAYERS,
    }


STUDY = Study(
    name="event_sets",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    tables=tables,
    figures=figures,
)

if __name__ == "__main__":
    run(STUDY)
