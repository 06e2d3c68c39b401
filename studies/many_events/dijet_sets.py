"""Sets, lists and single events on the dijets of the paper ([NT], figs. 2c and 6).

MILINFER_ENSEMBLE_LEARNING=DIR python -m studies.many_events.dijet_sets [--size quick|full]

DIR is the folder ``datafiles`` of the authors' repository, bnachman/EnsembleLearning.  Signal
W′ → XY against QCD in bags of three.  All classifiers see the events of the published training
bags and are tested on the published test bags.
"""

from __future__ import annotations

import os

import numpy as np
from matplotlib.figure import Figure

from milinfer.datasets.public import paper_dijets
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

FOLDER = "MILINFER_ENSEMBLE_LEARNING"
N = 3
SORT_BY = "m_lighter"  # as the paper
SIZES = {"quick": (15, 2), "full": (60, 5)}  # epochs, trainings
EVENT_LAYERS = (64, 64, 64, 64)
LAYERS = {
    "single": EVENT_LAYERS,
    "additive": EVENT_LAYERS,
    "list": (64, 64, 128, 64),
    "sorted": (64, 64, 128, 64),
    "set": (100, 100, 128),
}
LABELS = {
    "single": "f₁→₃",
    "set": "f₃, set",
    "additive": "f̃₃, set (eq. 32)",
    "sorted": "f₃, sorted",
    "list": "f₃, list",
}


def study(size: str, seed: int) -> dict:
    epochs, n_trainings = SIZES[size]
    samples, test = paper_dijets(os.environ[FOLDER], N)
    setup = Setup(N, LAYERS, (100, 100, 100), epochs, 20, 3e-3, SORT_BY)
    scores: dict[str, list] = {name: [] for name in (*LAYERS, "f1", "f3to1")}
    for number in np.random.SeedSequence(seed).generate_state(n_trainings).tolist():
        for kind in LAYERS:
            model = train(kind, samples, setup, number)
            scores[kind].append(bag_scores(kind, model, test, setup))
            if kind in ("single", "additive"):
                name = "f1" if kind == "single" else "f3to1"
                scores[name].append(event_scores(model, test))
    events = [[len(s) for s in part] for part in (samples, test)]
    found: dict = {"events": events, "epochs": epochs, "trainings": n_trainings}
    found["classifiers"] = {
        kind: {
            **curve([roc_curve(*s) for s in scores[kind]]),
            "against single": compared(scores[kind], scores["single"]) if kind != "single" else {},
        }
        for kind in LABELS
    }
    found["single events"] = {
        name: curve([roc_curve(*s) for s in scores[name]]) for name in ("f1", "f3to1")
    }
    found["f3to1 − f1"] = compared(scores["f3to1"], scores["f1"])
    return found


def check(results: dict) -> None:
    classifiers = results["classifiers"]
    for kind in ("list", "sorted"):
        require(
            pulls(classifiers[kind]["against single"]) < -3,
            f"f3 ({kind}) reaches what single events give",
        )
    against = classifiers["set"]["against single"]
    require(
        against["difference"] < 4 * against["error"] + 1e-4, "the set is better than single events"
    )
    f1 = results["single events"]["f1"]
    require(classifiers["single"]["auc"] > f1["auc"] + 0.01, "three events tell no more than one")


def conclusions(results: dict) -> None:
    found = results["classifiers"]
    lists = [found[kind]["against single"] for kind in ("list", "sorted")]
    require(
        lists[0]["difference"] + 2 * lists[0]["error"] < lists[1]["difference"],
        "the list is not behind the sorted list",
    )
    for kind in ("set", "additive"):
        against = found[kind]["against single"]
        require(abs(pulls(against)) < 3, f"{kind} and single events can be told apart")
        require(abs(against["difference"]) < 2e-4, f"{kind} is not near single events")
    require(pulls(results["f3to1 − f1"]) < -4, "f3→1 is not behind f1")


def tables(results: dict) -> str:
    rows = []
    for kind, entry in results["classifiers"].items():
        single = entry["against single"]
        rows.append(
            (
                LABELS[kind],
                pair(entry["auc"], entry["error"], 5),
                pair(1e3 * single["difference"], 1e3 * single["error"], 2) if single else "",
                f"{1e3 * single['spread']:.2f}" if single else "",
            )
        )
    titles = (
        "classifier of 3 events",
        "area under the ROC curve",
        "difference to f₁→₃ on the same bags, 10⁻³",
        "spread of the difference over trainings, 10⁻³",
    )
    areas = {name: entry["auc"] for name, entry in results["single events"].items()}
    paired = results["f3to1 − f1"]
    return (
        f"{markdown(titles, rows)}\n\nFor single events the area is {areas['f1']:.5f} with f₁ and "
        f"{areas['f3to1']:.5f} with f₃→₁. The difference f₃→₁ − f₁ on the same events is "
        f"({pair(1e3 * paired['difference'], 1e3 * paired['error'], 2)}) · 10⁻³."
    )


def figures(results: dict) -> dict[str, Figure]:
    with styled():
        figure = Figure(figsize=(6.4, 4.8), layout="constrained")
        axis = figure.subplots()
        entries = {LABELS[k]: v for k, v in results["classifiers"].items()}
        entries |= {"f₁": results["single events"]["f1"], "f₃→₁": results["single events"]["f3to1"]}
        for i, (label, entry) in enumerate(entries.items()):
            rate = np.array(entry["false_positive"])
            shown = (rate > 0) & (RATES > 0)
            style = "-" if "→₃" in label or "f₃," in label or "f̃" in label else ":"
            axis.plot(RATES[shown], 1 / rate[shown], color=PALETTE[i], ls=style, label=label)
        axis.set_yscale("log")
        axis.set_xlim(0, 1)
        axis.set_ylim(0.8, None)
        axis.set_xlabel("true positive rate")
        axis.set_ylabel("1 / false positive rate")
        axis.legend(loc="lower left")
    return {"ROC curves": figure}


def made_with(size: str) -> dict:
    return {"bag": N, "sorted by": SORT_BY, "size": SIZES[size], "layers": LAYERS}


STUDY = Study(
    name="dijet_sets",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    tables=tables,
    figures=figures,
    needs=FOLDER,
)

if __name__ == "__main__":
    run(STUDY)
