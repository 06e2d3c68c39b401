"""ROC against background contamination at fixed signal per bag: MIL, MLP, XGBoost, exact answers.

python -m studies.bags_of_events.contamination [--size quick|full] [--seed 0] [--out DIR]

Figures 1, 6 and 7 of [AS], on the embedded VBF H → WW with H → ZZ as background.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from milinfer.diagnostics.roc import Estimate, auc_difference, roc_curve
from milinfer.diagnostics.separation import area_of_bags, largest_distance, relative_distance
from milinfer.learning.boosted_trees import BoostedSettings
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.plotting.results import PALETTE, figure_of, styled
from milinfer.typing import FloatArray
from studies.bags_of_events.contamination_events import (
    N_SIGNAL,
    Events,
    Job,
    Plan,
    bags_of,
    exact_scores,
    jobs,
    make,
    mixture_rows,
    save,
    scores,
)
from studies.common.frame import Study, markdown, pair, require, run

METHODS = ("MIL", "MLP", "XGBoost")
EXACT = {
    "labelled": "exact, knows which events are signal",
    "number": "exact, knows how many are signal",
    "mixture": "exact, knows the share of signal",
}
GRID = np.round(np.linspace(0, 1, 41), 3)


def plan_of(size: str, seed: int) -> Plan:
    if size == "quick":
        return Plan({0.5: (0.0, 1.0)}, {0.5: 1}, 1_000, 1_200, 2, 2, 10, seed, 1, (16,))
    ratios = {0.1: (0.0, 0.2, 0.4, 1.0, 3.0), 0.3: (0.0, 1.0, 3.0)}
    return Plan(ratios, {0.1: 3, 0.3: 2}, 40_000, 60_000, 20, 25, 100, seed, 2)


def study(size: str, seed: int) -> dict[str, Any]:
    plan = plan_of(size, seed)
    events = make(plan)
    with TemporaryDirectory() as name:
        save(events, Path(name))
        score = partial(scores, plan=plan, folder=Path(name))
        todo = jobs(plan)
        if plan.workers == 1:
            done = [score(j) for j in todo]
        else:
            # The longest first, so that no process waits for the last one.
            todo.sort(key=lambda j: -j.ratio - 10 * (j.method == "XGBoost"))
            with ProcessPoolExecutor(plan.workers, get_context("spawn"), one_thread) as pool:
                done = list(pool.map(score, todo))
    found = dict(zip(todo, done, strict=True))
    return {
        "n_train": plan.n_train,
        "n_test": plan.n_test,
        "n_signal": N_SIGNAL,
        "trials": plan.trials,
        "points": {
            f"{c:g}": [level(events, c, r, found, plan) for r in ratios]
            for c, ratios in plan.ratios.items()
        },
    }


def one_thread() -> None:
    """Of each process: two that share two cores are faster than one after the other."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"


def level(
    events: Events, c: float, ratio: float, found: Mapping[Job, Any], plan: Plan
) -> dict[str, Any]:
    """All figures of one contamination, on the same bags and the same events."""
    bags = bags_of(events, c, ratio, plan.seed)
    exact = exact_scores(events, c, ratio, bags)
    rows, llr = mixture_rows(events, c, ratio)
    squared = largest_distance(llr).value
    out: dict[str, Any] = {
        "ratio": ratio,
        "n_bags": len(bags[0].signal),
        "survives": list(survival(events, c, ratio, plan.seed)),
        "auc_of_distance": float(area_of_bags(squared, round(N_SIGNAL * (1 + ratio)))),
        "exact": {name: curve(*pair_) for name, pair_ in exact.items()},
        "number_minus_mixture": list(auc_difference(exact["number"], exact["mixture"])),
        "labelled_minus_mixture": list(auc_difference(exact["labelled"], exact["mixture"])),
        "methods": {},
    }
    n = len(events.test[0.0])
    of_bags: dict[str, list[tuple[FloatArray, FloatArray]]] = {}
    for method in METHODS:
        those = [v for j, v in found.items() if j[:3] == (method, c, ratio)]
        kept, of_bags[method] = [], []
        for one in those:
            s = one["scores"]
            kept.append(relative_distance(s[rows], llr))
            parts = {0.0: s[:n], c: s[n : 2 * n]}
            of_bags[method].append(
                (
                    bags[0].gather(parts[c], s[2 * n :]).sum(axis=1),
                    bags[1].gather(parts[0.0], s[2 * n :]).sum(axis=1),
                )
            )
        rocs = [roc_curve(*x) for x in of_bags[method]]
        curves = [np.interp(GRID, r.false_positive, r.true_positive) for r in rocs]
        out["methods"][method] = {
            "kept": [k.value for k in kept],
            "kept_error": max(k.error for k in kept),
            "auc": [r.auc for r in rocs],
            "auc_error": rocs[0].auc_error,
            "tpr": np.round(np.mean(curves, axis=0), 4).tolist(),
            "tpr_low": np.round(np.min(curves, axis=0), 4).tolist(),
            "tpr_high": np.round(np.max(curves, axis=0), 4).tolist(),
        }
        if "settings" in those[0]:
            chosen = those[0]["settings"]
            out["methods"][method]["settings"] = {
                k: getattr(chosen, k) for k in ("n_estimators", "max_depth", "learning_rate")
            }
    out["mil_minus_mlp"] = [
        list(auc_difference(a, b)) for a, b in zip(of_bags["MIL"], of_bags["MLP"], strict=True)
    ]
    return out


def survival(events: Events, c: float, ratio: float, seed: int) -> Estimate:
    """Information of a mixture over that of its signal events, error from a bootstrap of events."""
    _, llr = mixture_rows(events, c, ratio)
    if not ratio:
        return Estimate(1.0, 0.0)
    signal, _ = events.llr(c)
    n = round(len(llr) / (2 + 2 * ratio))
    pure = np.concatenate([signal[0.0][:n], signal[c][:n]])
    mixed, other = llr[: 2 * n], llr[2 * n :]

    def measured(of_signal: Any, of_background: Any) -> float:
        both = np.concatenate([mixed[of_signal], other[of_background]])
        before = largest_distance(pure[of_signal]).value
        return float((1 + ratio) * largest_distance(both).value / before)

    rng = np.random.default_rng([seed, 5])
    replicas = [
        measured(*(rng.integers(len(x), size=len(x)) for x in (mixed, other))) for _ in range(100)
    ]
    return Estimate(measured(slice(None), slice(None)), float(np.std(replicas, ddof=1)))


def curve(signal: FloatArray, background: FloatArray) -> dict[str, Any]:
    roc = roc_curve(signal, background)
    tpr = np.interp(GRID, roc.false_positive, roc.true_positive)
    return {"auc": roc.auc, "auc_error": roc.auc_error, "tpr": np.round(tpr, 4).tolist()}


def check(results: Mapping[str, Any]) -> None:
    for c, levels in results["points"].items():
        for before, after in pairwise(levels):
            gap = before["survives"][0] - after["survives"][0]
            error = np.hypot(before["survives"][1], after["survives"][1])
            require(gap > -3 * error, f"c_HW = {c}: background costs the best information")
        last = levels[-1]["survives"]
        require(1 - last[0] > 4 * last[1], f"c_HW = {c}: and not a little, at the end")
        for x in levels:
            exact = x["exact"]
            for worse in ("number", "mixture"):
                error = np.hypot(exact["labelled"]["auc_error"], exact[worse]["auc_error"])
                require(
                    exact[worse]["auc"] < exact["labelled"]["auc"] + 4 * error,
                    "who knows which events are signal separates best",
                )
            value, error = x["number_minus_mixture"]
            require(abs(value) < 4 * error + 0.01, "the number of signal events tells little")
            error = exact["mixture"]["auc_error"]
            require(
                abs(exact["mixture"]["auc"] - x["auc_of_distance"]) < 4 * error + 0.01,
                "areas of bags are those of the distance per event",
            )
            for name, m in x["methods"].items():
                require(
                    max(m["kept"]) < 1 + 5 * m["kept_error"],
                    f"{name} keeps no more than the exact ratio has",
                )


def mean_of(values: list[float], floor: float = 0.0) -> tuple[float, float]:
    """Mean over trainings, and its error: of their spread, and of the test events."""
    spread = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)), float(np.hypot(spread, floor))


def conclusions(results: Mapping[str, Any]) -> None:
    for c, levels in results["points"].items():
        first, last = levels[0], levels[-1]
        left, error = last["survives"]
        require(left < 0.8 - 3 * error, f"c_HW = {c}: background costs the exact ratio little")
        require(
            last["auc_of_distance"] < first["auc_of_distance"] - 0.01,
            f"c_HW = {c}: the optimal ROC curve does not depend on the contamination",
        )
        gain, error = last["labelled_minus_mixture"]
        require(
            gain > 2 * error,
            f"c_HW = {c}: to know which events are signal adds {gain:.3f} ± {error:.3f} to the "
            f"area at {percent(last['ratio'])}; it should add more than two errors",
        )
        for x in levels:
            gain, error = x["labelled_minus_mixture"]
            lost = first["auc_of_distance"] - x["auc_of_distance"]
            require(
                abs(gain - lost) < 3 * error + 1e-9,
                f"c_HW = {c}, {percent(x['ratio'])} background: to know which events are signal "
                f"adds {gain:.3f} ± {error:.3f} to the area; the background costs {lost:.3f}, and "
                "the two should agree within three errors",
            )
            value, error = x["number_minus_mixture"]
            require(abs(value) < 3 * error + 0.002, "the number of signal events tells something")
        for m in METHODS:
            (before, a), (after, b) = (
                mean_of(x["methods"][m]["kept"], x["methods"][m]["kept_error"])
                for x in (first, last)
            )
            # Of the exact information of the contaminated events: they fall faster than that.
            require(before - after > 2 * np.hypot(a, b), f"c_HW = {c}: {m} does not fall")
        ahead = [d / e for d, e in map(kept_difference, levels)]
        require(max(ahead) > 3, f"c_HW = {c}: MIL is nowhere ahead of MLP")
        require(min(ahead) > -3, f"c_HW = {c}: MLP is ahead of MIL")


def tables(results: Mapping[str, Any]) -> str:
    parts = []
    for c, levels in results["points"].items():
        lines = []
        for x in levels:
            kept = [pair(*mean_of(m["kept"], m["kept_error"])) for m in x["methods"].values()]
            lines.append([percent(x["ratio"]), pair(*x["survives"]), *kept])
        titles = ["background", "exact, divided by *labelled*"]
        titles += [f"{m}, divided by exact" for m in METHODS]
        info = markdown(titles, lines)
        lines = []
        for x in levels:
            cells = [pair(e["auc"], e["auc_error"]) for e in x["exact"].values()]
            cells += [pair(*mean_of(m["auc"], m["auc_error"])) for m in x["methods"].values()]
            lines.append(
                [percent(x["ratio"]), x["n_bags"], *cells, "{:+.3f} ± {:.3f}".format(*gain(x))]
            )
        titles = ["background", "bags", *EXACT, *METHODS, "MIL − MLP"]
        trainings = len(levels[0]["methods"]["MIL"]["kept"])
        parts.append(
            f"### c_HW = {c} against 0\n\nFraction of the information that a method keeps "
            f"({trainings} trainings of MIL and of MLP, one search and training of XGBoost at each "
            "contamination). *Exact* is the exact ratio of the *mixture*:\n\n"
            f"{info}\n\nArea under the ROC curve for bags of "
            f"{results['n_signal']} signal events, with the same bags for all methods:\n\n"
            f"{markdown(titles, lines)}"
        )
    return "\n\n".join([*parts, "### What follows", *words(results)])


def percent(ratio: float) -> str:
    return f"{100 * ratio:.0f} %"


def gain(x: Mapping[str, Any]) -> tuple[float, float]:
    """MIL − MLP in area: mean over trainings; error of their spread and of the bags."""
    d = np.array(x["mil_minus_mlp"])
    return mean_of(d[:, 0].tolist(), float(d[:, 1].mean()))


def words(results: Mapping[str, Any]) -> list[str]:
    """Sentences, each with the numbers that it follows from."""
    out = []
    for c, levels in results["points"].items():
        first, last = levels[0], levels[-1]
        hundred = next(x for x in levels if x["ratio"] == 1.0)
        ends = [hundred] if hundred is last else [hundred, last]
        costs = ", ".join(f"{pair(*x['survives'])} at {percent(x['ratio'])}" for x in ends)
        areas = ", ".join(f"{x['auc_of_distance']:.4f}" for x in (first, *ends))
        value, error = hundred["number_minus_mixture"]
        out.append(
            f"**c_HW = {c}: the optimal discriminator depends on the contamination.**  With "
            f"background, the exact ratio keeps only a part of the information that the same "
            f"signal has without background: {costs}.  The areas for bags at "
            f"{', '.join(percent(x['ratio']) for x in (first, *ends))}, in the normal "
            f"approximation, are {areas}.  The ROC curve is the same at all contaminations only if "
            f"it is known which events are signal.  Knowing only how many are signal changes the "
            f"area by {value:+.4f} ± {error:.4f} at {percent(hundred['ratio'])}."
        )
        falls = []
        for m in METHODS:
            of_m = [x["methods"][m] for x in (first, last)]
            before, after = (pair(*mean_of(e["kept"], e["kept_error"])) for e in of_m)
            falls.append(f"{m} from {before} to {after}")
        out.append(
            f"From {percent(first['ratio'])} to {percent(last['ratio'])}, the fraction of the "
            f"exact information that a method keeps falls: {'; '.join(falls)}."
        )
        better = [
            f"{percent(x['ratio'])} ({d:+.3f} ± {e:.3f})"
            for x in levels
            for d, e in [kept_difference(x)]
            if abs(d) > 3 * e
        ]
        out.append(
            "The fractions of MIL and MLP differ by more than three standard errors at "
            + (", ".join(better) if better else "no contamination")
            + " (MIL minus MLP)."
        )
    return out


def kept_difference(x: Mapping[str, Any]) -> tuple[float, float]:
    """MIL − MLP in information kept, pair by pair of trainings."""
    both = np.subtract(x["methods"]["MIL"]["kept"], x["methods"]["MLP"]["kept"])
    floor = np.hypot(x["methods"]["MIL"]["kept_error"], x["methods"]["MLP"]["kept_error"])
    return mean_of(both.tolist(), float(floor))


COLOURS = dict(zip(METHODS, PALETTE, strict=False))


def figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    found = {f"roc {c}": roc_figure(levels, c) for c, levels in results["points"].items()}
    return {**found, "information": information_figure(results)}


def roc_figure(levels: list[dict[str, Any]], c: str) -> Figure:
    columns = min(3, len(levels))
    n_rows = -(-len(levels) // columns)
    with styled():
        figure, axes = figure_of(
            3.4 * columns,
            3.3 * n_rows + 0.6,
            nrows=n_rows,
            ncols=columns,
            squeeze=False,
            sharex=True,
            sharey=True,
        )
        for axis, x in zip(axes.flat, levels, strict=False):
            styles = zip(("labelled", "mixture"), ("-", "--"), strict=True)
            for name, style in styles:
                e = x["exact"][name]
                axis.plot(GRID, e["tpr"], color="black", ls=style, lw=1.2, label=EXACT[name])
            for method, m in x["methods"].items():
                axis.plot(GRID, m["tpr"], color=COLOURS[method], label=method, lw=1.4)
                axis.fill_between(
                    GRID, m["tpr_low"], m["tpr_high"], color=COLOURS[method], alpha=0.25, lw=0
                )
            axis.plot([0, 1], [0, 1], color="gray", lw=0.6)
            axis.set_title(
                rf"$c_{{HW}}={c}$, {x['ratio']:.0%} background, {x['n_bags']} bags", fontsize=9
            )
        for axis in axes.flat[len(levels) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel("true positive rate")
        for axis in axes[-1]:
            axis.set_xlabel("false positive rate")
        handles, names = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=3, fontsize=8)
    return figure


def information_figure(results: Mapping[str, Any]) -> Figure:
    """Information about θ in a bag, over that of its signal events, against contamination."""
    points = results["points"]
    with styled():
        figure, axes = figure_of(4.2 * len(points) + 0.6, 3.8, ncols=len(points), squeeze=False)
        for axis, (c, levels) in zip(axes[0], points.items(), strict=True):
            place = np.array([100 * x["ratio"] for x in levels])
            exact = np.array([x["survives"] for x in levels])
            axis.axhline(1, color="black", lw=1.2, label=EXACT["labelled"])
            axis.errorbar(
                place,
                exact[:, 0],
                exact[:, 1],
                color="black",
                ls="--",
                fmt="o",
                ms=3,
                lw=1.2,
                label=EXACT["mixture"],
            )
            for method in METHODS:
                kept = np.array(
                    [
                        mean_of(x["methods"][method]["kept"], x["methods"][method]["kept_error"])
                        for x in levels
                    ]
                )
                axis.errorbar(
                    place,
                    exact[:, 0] * kept[:, 0],
                    exact[:, 0] * kept[:, 1],
                    fmt="o-",
                    ms=4,
                    color=COLOURS[method],
                    label=method,
                )
            axis.set_title(rf"$c_{{HW}}={c}$", fontsize=10)
            axis.set_xlabel("background events for 100 signal events")
            axis.set_ylabel("information over that of the signal")
            axis.set_ylim(0, 1.08)
        handles, names = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=3, fontsize=8)
    return figure


def made_with(size: str) -> dict[str, Any]:
    plan = plan_of(size, 0)
    return {
        "signal events in a bag": N_SIGNAL,
        "plan": plan,
        "network": NetworkConfig(plan.hidden),
        "training": TrainingConfig(epochs=plan.epochs),
        "trees": BoostedSettings(n_estimators=plan.rounds),
    }


STUDY = Study(
    name="contamination",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    tables=tables,
    figures=figures,
)

if __name__ == "__main__":
    run(STUDY)
