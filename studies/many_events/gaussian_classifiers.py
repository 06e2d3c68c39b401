"""Two Gaussians: classifiers of one event and of ten, made from each other ([NT], figs. 1, 5).

python -m studies.many_events.gaussian_classifiers [--size quick|full] [--seed 0] [--out DIR]

Signal N(0.1, 1), background N(−0.1, 1).  The exact classifier of N events is their sum, and all
areas have closed forms.  Every training has events of its own; all are tested on the same.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from milinfer.datasets import gaussian
from milinfer.diagnostics.roc import roc_curve
from milinfer.plotting.results import PALETTE, styled
from studies.common.frame import Study, markdown, pair, require, run
from studies.many_events.many_events import (
    RATES,
    Setup,
    bag_scores,
    compared,
    curve,
    event_scores,
    pulls,
    train,
)

EPSILON, N = 0.1, 10
SIZES = {  # events of each class to train on, to test with, epochs, trainings
    "quick": (10_000, 100_000, 8, 2),
    "full": (50_000, 500_000, 60, 10),
}
HIDDEN = {"quick": (64,), "full": (128, 128)}
LABELS = {
    "f1": "f₁",
    "f10to1": "f₁₀→₁",
    "f1to10": "f₁→₁₀",
    "f10": "f₁₀ (list)",
    "additive": "f̃₁₀ (eq. 32)",
}
SINGLE = ("f1", "f10to1")


def exact_false_positive(rates: np.ndarray, n: int) -> np.ndarray:
    """Neyman–Pearson curve of n events."""
    return norm.sf(norm.isf(rates) + 2 * EPSILON * np.sqrt(n))


def exact_auc(n: int) -> float:
    return float(norm.cdf(EPSILON * np.sqrt(2 * n)))


def study(size: str, seed: int) -> dict:
    n_train, n_test, epochs, n_trainings = SIZES[size]
    setup = Setup(
        N, dict.fromkeys(("single", "list", "additive"), HIDDEN[size]), (), epochs, 10, 3e-3
    )
    seeds = np.random.SeedSequence(seed).generate_state(n_trainings + 1).tolist()
    test = gaussian.two_gaussians(n_test, epsilon=EPSILON, seed=seeds[-1])
    background, signal = (s.column("x0").astype(np.float64) for s in test)
    exact = {
        1: (signal, background),
        N: tuple(x.reshape(-1, N).sum(axis=1) for x in (signal, background)),
    }
    scores: dict[str, list] = {name: [] for name in LABELS}
    for number in seeds[:-1]:
        samples = gaussian.two_gaussians(n_train, epsilon=EPSILON, seed=number)
        models = {k: train(k, samples, setup, number) for k in ("single", "list", "additive")}
        scores["f1"].append(event_scores(models["single"], test))
        scores["f10to1"].append(event_scores(models["additive"], test))
        scores["f1to10"].append(bag_scores("single", models["single"], test, setup))
        scores["f10"].append(bag_scores("list", models["list"], test, setup))
        scores["additive"].append(bag_scores("additive", models["additive"], test, setup))
    found = {"events": [n_train, n_test], "epochs": epochs, "trainings": n_trainings}
    found["exact"] = {
        str(n): {
            "closed form": exact_auc(n),
            "on the test events": roc_curve(*pair_).auc,
            "error": roc_curve(*pair_).auc_error,
        }
        for n, pair_ in exact.items()
    }
    found["classifiers"] = {
        name: {
            **curve([roc_curve(*s) for s in scores[name]]),
            "against exact": compared(scores[name], exact[1 if name in SINGLE else N]),
        }
        for name in LABELS
    }
    found["pairs"] = {
        "f10 − f1to10": compared(scores["f10"], scores["f1to10"]),
        "additive − f1to10": compared(scores["additive"], scores["f1to10"]),
        "f10to1 − f1": compared(scores["f10to1"], scores["f1"]),
    }
    return found


def check(results: dict) -> None:
    for n, entry in results["exact"].items():
        off = abs(entry["on the test events"] - entry["closed form"]) / entry["error"]
        require(off < 4, f"the exact classifier of {n} events misses its closed form: {off:.1f} σ")
    classifiers = results["classifiers"]
    for name, entry in classifiers.items():
        against = entry["against exact"]
        gain = against["difference"] - 4 * against["error"]
        require(gain < 1e-4, f"{name} is better than the exact ratio")
    for name in ("f1", "f10to1"):
        loss = -classifiers[name]["against exact"]["difference"]
        bound = 0.002 + 4 * classifiers[name]["against exact"]["error"]
        require(loss < bound, f"{name} loses {loss:.4f} of area against the exact ratio")
    for name in ("f1to10", "additive"):
        loss = -classifiers[name]["against exact"]["difference"]
        bound = 0.005 + 4 * classifiers[name]["against exact"]["error"]
        require(loss < bound, f"{name} loses {loss:.4f} of area against the exact ratio")
    # Two trainings say little about their spread.
    far = -1.5 if results["trainings"] < 4 else -3
    require(
        pulls(results["pairs"]["f10 − f1to10"]) < far,
        "a list of ten events is as good as ten times one event",
    )
    gain = classifiers["f1to10"]["auc"] - classifiers["f1"]["auc"]
    require(abs(gain - exact_auc(N) + exact_auc(1)) < 0.01, "ten events do not add up")


def conclusions(results: dict) -> None:
    for name, entry in results["classifiers"].items():
        loss = -entry["against exact"]["difference"]
        if name == "f10":
            require(loss > 0.003, "the list of ten events is near the exact ratio")
        else:
            require(abs(loss) < 0.001, f"{name} is {loss:.4f} of area from the exact ratio")
    pairs = results["pairs"]
    for name in ("additive − f1to10", "f10to1 − f1"):
        require(abs(pulls(pairs[name])) < 3, f"{name}: one of them is better")
    require(pulls(pairs["f10 − f1to10"]) < -5, "a list of ten is nearly as good as ten times one")


def tables(results: dict) -> str:
    rows = []
    for name, entry in results["classifiers"].items():
        n = 1 if name in SINGLE else N
        against = entry["against exact"]
        rows.append(
            (
                LABELS[name],
                n,
                pair(entry["auc"], entry["error"], 4),
                f"{exact_auc(n):.4f}",
                pair(1e3 * against["difference"], 1e3 * against["error"], 2),
                f"{1e3 * against['spread']:.2f}",
            )
        )
    text = markdown(
        (
            "classifier",
            "events",
            "area under the ROC curve",
            "exact area",
            "area minus exact ratio on the same bags, 10⁻³",
            "spread over trainings, 10⁻³",
        ),
        rows,
    )
    names = {"f10 − f1to10": "f₁₀ − f₁→₁₀", "additive − f1to10": "f̃₁₀ − f₁→₁₀"}
    names["f10to1 − f1"] = "f₁₀→₁ − f₁"
    lines = [
        f"{names[k]}: {pair(1e3 * v['difference'], 1e3 * v['error'], 2)}"
        for k, v in results["pairs"].items()
    ]
    return f"{text}\n\nDifferences of areas on the same bags, 10⁻³: " + "; ".join(lines) + "."


def figures(results: dict) -> dict[str, Figure]:
    return {"ROC curves": _curves(results), "areas": _areas(results)}


def _curves(results: dict) -> Figure:
    with styled():
        figure = Figure(figsize=(6.4, 5.0), layout="constrained")
        axis = figure.subplots()
        for n, style in ((1, ":"), (N, "--")):
            axis.plot(
                RATES,
                1 - exact_false_positive(RATES, n),
                color="black",
                ls=style,
                lw=1,
                label=f"exact, {n} event{'s' if n > 1 else ''}",
                zorder=5,
            )
        for i, (name, entry) in enumerate(results["classifiers"].items()):
            rejected = 1 - np.array(entry["false_positive"])
            axis.plot(RATES, rejected, color=PALETTE[i], label=LABELS[name])
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.set_xlabel("true positive rate")
        axis.set_ylabel("1 − false positive rate")
        axis.legend(loc="lower left")
    return figure


def _areas(results: dict) -> Figure:
    with styled():
        figure = Figure(figsize=(6.4, 2.8), layout="constrained")
        axis = figure.subplots()
        for i, entry in enumerate(results["classifiers"].values()):
            against = entry["against exact"]
            each = 1e3 * np.array(against["trainings"])
            axis.plot(each, np.full(len(each), i), "|", color=PALETTE[i], ms=9, alpha=0.7)
            axis.errorbar(
                1e3 * against["difference"],
                i,
                xerr=1e3 * against["error"],
                fmt="o",
                ms=4,
                color=PALETTE[i],
            )
        axis.axvline(0, color="gray", lw=0.8, ls="--")
        axis.set_yticks(range(len(LABELS)), list(LABELS.values()))
        axis.minorticks_off()
        axis.set_ylim(len(LABELS) - 0.5, -0.5)
        axis.set_xlabel("area − area of the exact ratio on the same bags [10⁻³]")
    return figure


def made_with(size: str) -> dict:
    return {"epsilon": EPSILON, "bag": N, "size": SIZES[size], "hidden": HIDDEN[size]}


def quotes(results: dict) -> list[str]:  # noqa: ARG001
    return ["a difference of 0.01 in area does not contradict"]  # what an eye sees of a figure


STUDY = Study(
    name="gaussian_classifiers",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    quotes=quotes,
    tables=tables,
    figures=figures,
)

if __name__ == "__main__":
    run(STUDY)
