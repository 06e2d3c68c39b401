"""Is a bag better than an event? One thing varied at a time, beside the exact answer.

python -m studies.bags_of_events.bag_or_event [--size quick|full] [--seed 0] [--out DIR]

Every row trains a classifier of bags and one of single events on the same events, with the same
network, the same number of gradient steps and of events seen, and compares what their event scores
keep of the exact information.  Rows differ from the base in one thing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t as student

from milinfer.plotting.results import PALETTE, figure_of, styled
from studies.bags_of_events.bag_or_event_trainings import (
    HEAD,
    REGULAR,
    SIGNAL,
    SIZE,
    Plan,
    Row,
    Setting,
    Trained,
    gradients,
    make_vbf,
    rows,
    train,
)
from studies.common.frame import Study, markdown, pair, require, run

WORKERS = 2
PLANS = {"quick": (2, 5_000), "full": (5, 100_000)}  # replicates, test events


def one_thread() -> None:
    """Of each process: two that share two cores are faster than one after the other."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"


class Job(NamedTuple):
    """One training."""

    setting: Setting
    bags: bool
    replicate: int


def job(setting: Setting, replicate: int, *, bags: bool) -> Job:
    """A training, without what does not matter to it: so that equal ones are done once."""
    if bags:
        return Job(setting._replace(divisor=1.0), True, replicate)
    pooling = setting.pooling if setting.divisor != 1 else "sum"
    return Job(setting._replace(bag_size=1, pooling=pooling, l2_of_bags=1.0), False, replicate)


def _done(one: Job, plan: Plan) -> Trained:
    return train(one.setting, one.replicate, plan, bags=one.bags)


def trained(chosen: Sequence[Row], plan: Plan, workers: int) -> dict[Job, Trained]:
    """All trainings, each once."""
    jobs = list(
        dict.fromkeys(
            job(r.setting, k, bags=b)
            for r in chosen
            for b in (True, False)
            for k in range(plan.replicates)
        )
    )
    if workers == 1:
        return {j: _done(j, plan) for j in jobs}
    with ProcessPoolExecutor(workers, get_context("spawn"), one_thread) as pool:
        # In chunks, so that a process makes the events of vbf_hww once.
        done = pool.map(partial(_done, plan=plan), jobs, chunksize=plan.replicates)
        return dict(zip(jobs, done, strict=True))


def study(size: str, seed: int) -> dict[str, Any]:
    quick = size == "quick"
    chosen = rows(size)
    with TemporaryDirectory() as folder:
        plan = Plan(*PLANS[size], seed, "" if quick else folder)
        for r in chosen:
            if r.setting.problem == "vbf_hww" and r.title == "base":
                make_vbf(r.setting, plan)
        results = measured(chosen, plan, 1 if quick else WORKERS)
    at_start = gradients(chosen[0].setting, 20 if quick else 100, 2_000, seed)
    return {**results, "gradients": at_start._asdict()}


def measured(chosen: Sequence[Row], plan: Plan, workers: int) -> dict[str, Any]:
    done = trained(chosen, plan, workers)
    out = []
    for r in chosen:
        line: dict[str, Any] = {
            "problem": r.setting.problem,
            "group": r.group,
            "title": r.title,
            "events_in_bag": round(r.setting.bag_size * (1 + r.setting.contamination)),
        }
        for kind in ("bag", "event"):
            those = [done[job(r.setting, k, bags=kind == "bag")] for k in range(plan.replicates)]
            line |= {
                kind: [round(x.kept, 5) for x in those],
                f"{kind}_scale": [round(x.scale, 4) for x in those],
                f"{kind}_epoch": [x.epoch for x in those],
                f"{kind}_test_error": round(max(x.kept_error for x in those), 5),
                "squared_distance": those[0].squared,
            }
        out.append(line)
    base = {**chosen[0].setting._asdict(), "hidden": list(chosen[0].setting.hidden)}
    return {"base": base, "replicates": plan.replicates, "n_test": plan.n_test, "rows": out}


class Difference(NamedTuple):
    """Mean over the replicates, its standard error, and p of no difference (Student's t)."""

    mean: float
    error: float
    p_value: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ± {self.error:.3f}"


def difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """First minus second, pair by pair: replicates have their events in common."""
    d = np.asarray(first) - np.asarray(second)
    error = float(d.std(ddof=1) / np.sqrt(len(d)))
    return Difference(
        float(d.mean()), error, float(2 * student.sf(abs(d.mean()) / error, len(d) - 1))
    )


def mean_of(values: Sequence[float]) -> str:
    return pair(float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))))


def of_problem(results: Mapping[str, Any], problem: str) -> dict[str, Mapping[str, Any]]:
    return {r["title"]: r for r in results["rows"] if r["problem"] == problem}


def conclusions(results: Mapping[str, Any]) -> None:
    found, n = of_problem(results, "quadratic"), results["base"]["bag_size"]
    base, mean = found["base"], found["mean pooling"]
    divided, paper = f"mean pooling; event logit / {n}", "as in [AS]"

    def gap(row: Mapping[str, Any]) -> Difference:
        return difference(row["bag"], row["event"])

    for problem in TITLES:
        d = gap(of_problem(results, problem)["base"])
        require(
            abs(d.mean) < 0.05,
            f"{problem}: at the settings of the base bag − event is {d}; it should be within 0.05",
        )
    d = gap(mean)
    require(d.mean > 0.1 and d.mean > 3 * d.error, "mean pooling does not help at equal settings")
    vbf = of_problem(results, "vbf_hww")
    for problem, row in (
        ("quadratic", found["mean pooling, learning rate × 3"]),
        ("quadratic", found["mean pooling, learning rate × 10"]),
        ("vbf_hww", vbf["mean pooling"]),
    ):
        d = gap(row)
        require(
            d.mean > 3 * d.error,
            f"{problem}, {row['title']}: bag − event is {d}; bags should be ahead by three errors, "
            "because the events overfit",
        )
    d = gap(found["mean pooling, L2 1e-3"])
    require(
        abs(d.mean) < 0.02 + 2 * d.error,
        f"mean pooling, L2 1e-3: bag − event is {d}, although both are regularised",
    )
    for row in of_problem(results, "gaussian").values():
        d = gap(row)
        require(
            np.mean(row["event"]) > 0.95,
            f"two Gaussians, {row['title']}: events keep {mean_of(row['event'])}, so they overfit",
        )
        require(
            abs(d.mean) < 0.03,
            f"two Gaussians, {row['title']}: bag − event is {d}; it should be within 0.03, because "
            "the events do not overfit",
        )
    d = gap(found[divided])
    require(abs(d.mean) < 0.02 + 2 * d.error, "divided logits of events are no substitute for bags")
    gain = difference(found[divided]["event"], base["event"])
    require(gain.mean > 3 * gain.error, "to divide the logit of events does not help them")
    d = gap(vbf[divided])
    require(d.mean < -2 * d.error, "bags are not behind divided events on vbf_hww")
    for title in ("bags of 10", "bags of 250"):
        require(gap(found[title]).mean < 0.05, f"{title} are better than events")
    for row in found.values():
        if row["group"] == SIGNAL:
            d = gap(row)
            require(
                abs(d.mean) < 0.06,
                f"{row['title']}: at the settings of the base bag − event is {d}; it should be "
                "within 0.06",
            )
    for problem in ("quadratic", "vbf_hww"):
        d = gap(of_problem(results, problem)[paper])
        require(d.mean > 3 * d.error, f"{problem}: with its settings, bags of [AS] are not better")
    for kind in ("bag", "event"):
        smaller = difference(base[f"{kind}_scale"], found[divided][f"{kind}_scale"])
        require(
            smaller.mean > 3 * smaller.error,
            f"λ of {kind}s is not smaller after the same training",
        )
    best = [
        max(np.mean(r[kind]) for r in found.values() if comparable(r)) for kind in ("event", "bag")
    ]
    require(abs(best[1] - best[0]) < 0.03, "the best of events and of bags differ")


def tables(results: Mapping[str, Any]) -> str:
    problems = list(dict.fromkeys(r["problem"] for r in results["rows"]))
    parts = []
    for name in problems:
        of_this = of_problem(results, name)
        lines = []
        for r in of_this.values():
            d = difference(r["bag"], r["event"])
            lines.append(
                [
                    r["group"],
                    r["title"],
                    f"{r['events_in_bag'] * r['squared_distance']:.2f}",
                    mean_of(r["event"]),
                    mean_of(r["bag"]),
                    str(d) + (" *" if d.p_value * len(of_this) < 0.05 else ""),
                ]
            )
        titles = ["group", "difference to the base", "N_B d²", "events keep", "bags keep"]
        parts.append(f"### {TITLES[name]}\n\n" + markdown([*titles, "bag − event"], lines))
    explain = (
        "*Events keep* and *bags keep* are the fractions of the exact information that a network "
        f"of single events or of bags keeps: means of {results['replicates']} replicates, each "
        "with its own events and seeds, with the standard error. N_B d² is the squared distance of "
        "the hypotheses for a bag, in standard deviations. * means that the difference is not 0, "
        "with p < 0.05 after Bonferroni's correction for the number of rows."
    )
    return "\n\n".join([*parts, explain, "### What decides", *verdict(results)])


TITLES = {
    "quadratic": "quadratic: 8 features, exact likelihood ratio",
    "gaussian": "two Gaussians, ε = 0.1",
    "vbf_hww": "vbf_hww: c_HW = 0.5 against 0, the features of [AS]",
}


def verdict(results: Mapping[str, Any]) -> list[str]:
    """Sentences, each with the numbers that it follows from."""
    of_this = of_problem(results, "quadratic")
    base = of_this["base"]
    n_rows, n_bag = len(of_this), results["base"]["bag_size"]
    d = difference(base["bag"], base["event"])

    def says(found: Difference, of: int = n_rows) -> str:
        return "significant" if found.p_value * of < 0.05 else "not significant"

    g = results["gradients"]
    at_start = (
        "**Before the training** (mean pooling, logits near zero), the gradients of the two losses "
        f"over the same events agree: the cosine of their angle is {g['cosine']:.4f}, and the "
        f"ratio of their lengths is {g['ratio']:.3f}.  The squared signal-to-noise ratio of the "
        f"gradient from a batch of 2000 events is {g['event']:.3f} with single events and "
        f"{g['bag']:.3f} with bags.  Bags do not increase it: the signal of a bag is √N_B times "
        "clearer, but there are N_B times fewer bags."
    )
    out = [
        at_start,
        f"**In the base** (sum pooling, no regularisation) bag − event is {d}, {says(d)}. With "
        "the same events, steps and network, bags gain nothing."
        if d.p_value * n_rows >= 0.05
        else f"**In the base** (sum pooling, no regularisation) bag − event is {d}: "
        + ("bags are better." if d.mean > 0 else "bags are worse."),
    ]
    for group, question in (
        (SIGNAL, "Signal to noise"),
        (REGULAR, "Regularisation, the same for both"),
        (HEAD, "Head and loss"),
        (SIZE, "Learning rate, steps, events"),
    ):
        moved = []
        those = [r for r in of_this.values() if r["group"] == group]
        for r in those:
            own = np.subtract(r["bag"], r["event"])
            change = difference(own, np.subtract(base["bag"], base["event"]))
            if change.p_value * n_rows < 0.05:
                moved.append(f"{r['title']} ({change})")
        if those:
            listed = "; ".join(moved) if moved else "none"
            out.append(
                f"**{question}**: {len(those)} variations. Variations that change bag − event "
                f"significantly, compared with the base: {listed}."
            )
    control = of_this.get(f"mean pooling; event logit / {n_bag}")
    if control is not None:
        gain = difference(control["bag"], base["bag"])
        alone = difference(control["event"], base["event"])
        rest = difference(control["bag"], control["event"])
        out.append(
            f"**Without bags.**  Mean pooling changes what bags keep by {gain} ({says(gain)}).  "
            f"Mean pooling divides the logit of each event by {n_bag}.  If the logit of a network "
            f"of single events is divided by {n_bag}, what events keep changes by {alone} "
            f"({says(alone)}).  The difference between the two networks is then {rest} "
            f"({says(rest)})."
        )
    best = {
        kind: max(of_this.values(), key=lambda r, kind=kind: comparable(r) * np.mean(r[kind]))
        for kind in ("event", "bag")
    }
    left = difference(best["bag"]["bag"], best["event"]["event"])
    out.append(
        "**Best networks**, with the same problem and number of events: events "
        f"{mean_of(best['event']['event'])} ({best['event']['title']}), bags "
        f"{mean_of(best['bag']['bag'])} ({best['bag']['title']}); "
        f"bag − event {left}, {says(left, 1)}.  (Both were chosen with the test events, "
        "from the same number of rows.)"
    )
    return out


def comparable(row: Mapping[str, Any]) -> bool:
    """Whether the row has the hypotheses, contamination and number of events of the base."""
    other = ("closer", "farther", "contamination", "fewer events", "more events")
    return not any(row["title"].endswith(word) for word in other)


def check(results: Mapping[str, Any]) -> None:
    rows_ = results["rows"]
    g = results["gradients"]
    require(
        g["cosine"] > 0.98 and abs(g["ratio"] - 1) < 0.1,
        "near λ = 0 the losses of bags and of events have one gradient",
    )
    require(
        abs(g["bag"] / g["event"] - 1) < 0.2, "and so one ratio of signal to noise, whatever N_B"
    )
    for r in rows_:
        for kind in ("bag", "event"):
            require(
                max(r[kind]) < 1 + 5 * r[f"{kind}_test_error"],
                f"{r['problem']}, {r['title']}: no {kind} knows more than the exact ratio",
            )
    for r in rows_:
        if r["problem"] == "quadratic" and "event logit" in r["title"]:
            base = of_problem(results, "quadratic")["base"]
            require(
                np.mean(r["bag_scale"]) < np.mean(base["bag_scale"])
                and np.mean(r["event_scale"]) < np.mean(base["event_scale"]),
                "mean pooling, and dividing an event's logit, make λ smaller in the same steps",
            )
            both = np.mean(r["bag"]) - np.mean(r["event"])
            spread = np.hypot(np.std(r["bag"], ddof=1), np.std(r["event"], ddof=1))
            require(
                abs(both) < 5 * spread / np.sqrt(len(r["bag"])) + 0.1,
                "an event's logit over N_B does what mean pooling does",
            )


COLOURS = {
    "base": "black",
    SIGNAL: PALETTE[0],
    REGULAR: PALETTE[1],
    HEAD: PALETTE[2],
    SIZE: PALETTE[3],
    "all": PALETTE[4],
}


def figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    return {"differences": forest(results), "scale": scales(results)}


def forest(results: Mapping[str, Any]) -> Figure:
    """Bag − event in every row, with 68 % and 95 % intervals of Student's t."""
    lines = results["rows"]
    problems = list(dict.fromkeys(r["problem"] for r in lines))
    height = 1.4 + 0.21 * (len(lines) + 1.5 * len(problems))
    with styled():
        figure, (left, right) = figure_of(
            9.0, height, ncols=2, sharey=True, gridspec_kw={"width_ratios": [3, 2]}
        )
        ticks, labels, at = [], [], 0.0
        for name in problems:
            left.annotate(
                TITLES[name],
                (0.01, at),
                xycoords=("axes fraction", "data"),
                fontsize=8,
                va="center",
                weight="bold",
            )
            at += 1
            for r in of_problem(results, name).values():
                d = difference(r["bag"], r["event"])
                colour = COLOURS[r["group"]]
                for level, width in ((0.6827, 4.0), (0.9545, 1.2)):
                    half = d.error * student.ppf((1 + level) / 2, len(r["bag"]) - 1)
                    left.plot([d.mean - half, d.mean + half], [at, at], color=colour, lw=width)
                left.plot(d.mean, at, "o", color=colour, mec="white", ms=5)
                for kind, fill in (("event", "white"), ("bag", colour)):
                    mean, error = np.mean(r[kind]), np.std(r[kind], ddof=1) / np.sqrt(len(r[kind]))
                    right.errorbar(mean, at, xerr=error, fmt="o", ms=4, color=colour, mfc=fill)
                ticks.append(at)
                labels.append(r["title"])
                at += 1
            at += 0.5
        left.axvline(0, color="gray", lw=0.8, ls="--")
        left.set_yticks(ticks, labels, fontsize=8)
        left.minorticks_off()
        right.minorticks_off()
        left.set_ylim(at, -1)
        left.set_xlabel("bag − event, in units of the exact information")
        right.set_xlabel("kept (open: event, full: bag)")
        handles = [
            left.plot([], [], color=c, lw=4, label=g)[0] for g, c in COLOURS.items() if g != "base"
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=8)
    return figure


def scales(results: Mapping[str, Any]) -> Figure:
    """Information kept by every training against the size of its λ, for the base's events."""
    with styled():
        figure, axis = figure_of(6.4, 4.2)
        seen = set()
        for r in of_problem(results, "quadratic").values():
            if not comparable(r):
                continue
            for kind, fill in (("event", "white"), ("bag", COLOURS[r["group"]])):
                axis.plot(
                    r[f"{kind}_scale"],
                    r[kind],
                    "o",
                    ms=4,
                    lw=0,
                    color=COLOURS[r["group"]],
                    mfc=fill,
                    label=None if r["group"] in seen else r["group"],
                )
                seen.add(r["group"])
        axis.axvline(1, color="gray", lw=0.8, ls="--")
        axis.set_xscale("log")
        axis.set_xlabel("standard deviation of learned λ over that of exact λ")
        axis.set_ylabel("part of the exact information kept")
        axis.legend(fontsize=8, title="open: event, full: bag")
    return figure


def made_with(size: str) -> dict[str, Any]:
    return {"replicates and test events": PLANS[size], "rows": rows(size)}


def quotes(results: Mapping[str, Any]) -> list[str]:
    found, n = of_problem(results, "quadratic"), results["base"]["bag_size"]
    mean, divided = (found[t] for t in ("mean pooling", f"mean pooling; event logit / {n}"))
    gain, left = (
        difference(mean["bag"], mean["event"]),
        difference(divided["bag"], divided["event"]),
    )
    return [
        f"mean pooling keeps {gain.mean:.2f} ± {gain.error:.2f} more of the information",
        (
            f"divided by {n} keeps as much as the bags (difference {left.mean:.3f} ± "
            f"{left.error:.3f})"
        ),
        f"a correction for {len(found)} rows",
    ]


STUDY = Study(
    name="bag_or_event",
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
