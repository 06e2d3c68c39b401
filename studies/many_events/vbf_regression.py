"""Regression of c_HW from a hundred VBF H → WW* events, and scans of Λ ([NT], fig. 8).

python -m studies.many_events.vbf_regression [--size quick|full] [--seed 0] [--out DIR]

In place of the top quark mass: c_HW is uniform on points from −1 to 1.  Per-instance regression is
the posterior mean (eqs. 28, 29) from a classifier of single events; per-ensemble regression sees
sets of a hundred.  The posterior mean by the likelihood ratio of what a detector sees has the
least squared error that either can have.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from matplotlib.figure import Figure

import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.datasets.observable import observable_coefficients
from milinfer.diagnostics.roc import Estimate
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.plotting.results import PALETTE, styled
from milinfer.samples.reweighting import bennett
from studies.common.frame import Study, markdown, pair, require, run
from studies.many_events.event_sets import FEATURES
from studies.many_events.many_events import over_trainings

N = 100
SCANNED = (0.0, 0.4)  # truths whose Λ is drawn, as 172.5 and 175 GeV
# Points of c_HW, events of each to train on and to test with, epochs, trainings, processes.
SIZES = {"quick": (5, 2_500, 2_000, 6, 2, 1), "full": (11, 40_000, 40_000, 40, 3, 2)}
# Points in rapidity, and directions at each, of the integral over what is not visible.
INTEGRATION = {"quick": (32, 4), "full": (128, 8)}
WIDTHS = (64, 64, 64)
LABELS = {
    "per instance": "per instance, parametrised classifier",
    "per ensemble": "per ensemble, set",
    "exact": "exact, what is visible",
}


def generate(
    job: tuple[float, int, int, tuple[int, int] | None],
) -> tuple[mil.Sample, np.ndarray, np.ndarray]:
    """Features at one value; quartics of the joint ratio and of that of what is visible."""
    value, n, seed, integration = job
    events = vbf_hww.generate(n, {"c_HW": value}, seed=seed)
    table = mil.feature_set("vbf_2l2j_invariant").select(FEATURES).from_lhe(events.to_events()[0])
    sample = mil.Sample(table.array, table.names, point={"c_HW": value}, process="vbf_hww")
    if integration is None:
        return sample, events.coefficients, np.empty((0, 5))
    rapidity, angles = integration
    seen = observable_coefficients(events, n_rapidity=rapidity, n_angles=angles)
    return sample, events.coefficients, seen.coefficients


def make_samples(jobs: list, workers: int) -> list:
    if workers == 1:
        return [generate(job) for job in jobs]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(generate, jobs))


def in_sets(values: np.ndarray) -> np.ndarray:
    """Consecutive sets of N events: shape (n_sets, N, …)."""
    n_sets = len(values) // N
    return values[: n_sets * N].reshape(n_sets, N, *values.shape[1:])


def posterior_mean(points: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Eqs. 28 and 29 with the prior of the training: equal weights at the points alone.

    `ratios` is Λ of each set there, shape (n_sets, n_points).
    """
    weights = np.exp(ratios - ratios.max(axis=1, keepdims=True))
    return weights @ points / weights.sum(axis=1)


def study(size: str, seed: int) -> dict:
    n_points, n_train, n_test, epochs, n_trainings, workers = SIZES[size]
    points = np.linspace(-1, 1, n_points).round(6)
    seeds = np.random.SeedSequence(seed).generate_state(2 * n_points + n_trainings).tolist()
    jobs = [(float(c), n_train, s, None) for c, s in zip(points, seeds, strict=False)]
    jobs += [
        (float(c), n_test, s, INTEGRATION[size])
        for c, s in zip(points, seeds[n_points:], strict=False)
    ]
    made = make_samples(jobs, workers)
    train = mil.SampleSet(tuple(m[0] for m in made[:n_points]))
    test, visible = [m[0] for m in made[n_points:]], [m[2] for m in made[n_points:]]
    # σ(c)/σ(0) from all events: the exact Λ of a hundred events needs it to a per mille.
    powers = np.vander(points, 5, increasing=True).T
    joint = np.concatenate([m[1] for m in made])
    own = np.concatenate([np.full(len(m[0]), 1 / len(m[0]) / len(made)) for m in made])
    log_sigma = np.log(bennett(joint @ powers, own, joint) @ powers)
    exact = [np.log(c @ powers) - log_sigma for c in visible]
    truth = np.repeat(points, [len(s) // N for s in test])
    sets = np.concatenate([in_sets(s.features) for s in test])
    found: dict[str, list] = {
        "per instance": [],
        "per ensemble": [],
        "exact": [np.concatenate([posterior_mean(points, in_sets(e).sum(axis=1)) for e in exact])],
    }
    scans = []
    reference = float(points[np.argmin(np.abs(points))])
    train_sets = np.concatenate([in_sets(s.features) for s in train])
    targets = np.repeat(points, [len(s) // N for s in train])
    for number in seeds[2 * n_points :]:
        model = mil.BagLikelihood(
            head="parametrised",
            normalise=False,
            bag_size=1,
            reference=reference,
            network=NetworkConfig(WIDTHS, "relu", batch_norm=False, dropout=0.0, l2=0.0),
            training=TrainingConfig(epochs, train.n_events // 20, 3e-3, 3e-5, schedule="cosine"),
            seed=number,
        ).fit(train)
        tables = [model.event_llr(s) for s in test]
        sums = np.concatenate([in_sets(t).sum(axis=1) for t in tables])
        found["per instance"].append(posterior_mean(points, sums))
        scans.append([tables[k].mean(axis=0) for k in scanned(points)])
        regression = mil.BagRegressor(
            "mean",
            hidden=WIDTHS,
            activation="relu",
            l2=0.0,
            batch_size=50,
            learning_rate=1e-3,
            patience=5,
            random_state=number,
        ).fit(train_sets, targets)
        found["per ensemble"].append(regression.predict(sets))
    squared = {name: [(e - truth) ** 2 for e in found[name]] for name in found}
    results: dict = {
        "events": [n_train, n_test],
        "points": points.tolist(),
        "epochs": epochs,
        "trainings": n_trainings,
        "methods": {
            name: {
                "rmse": float(np.sqrt(np.mean(squared[name]))),
                "excess": mean_difference(squared[name], squared["exact"] * n_trainings)
                if name != "exact"
                else {},
                **by_truth(found[name], truth, points),
            }
            for name in LABELS
        },
        "per ensemble − per instance": mean_difference(
            squared["per ensemble"], squared["per instance"]
        ),
        "correlation": over_trainings(
            [
                correlation(a, b)
                for a, b in zip(found["per ensemble"], found["per instance"], strict=True)
            ]
        ),
        "scans": {
            "truths": [float(points[k]) for k in scanned(points)],
            "learned": np.mean(scans, axis=0).round(7).tolist(),
            "exact": [exact[k].mean(axis=0).round(7).tolist() for k in scanned(points)],
        },
        "examples": np.round(
            [
                found["per ensemble"][0][:: max(1, len(truth) // 600)],
                found["per instance"][0][:: max(1, len(truth) // 600)],
            ],
            4,
        ).tolist(),
    }
    return results


def scanned(points: np.ndarray) -> list[int]:
    """Numbers of the points nearest to the truths that are drawn."""
    return [int(np.argmin(np.abs(points - value))) for value in SCANNED]


def vertex(points: np.ndarray, scan: list[float]) -> float:
    """Where the parabola through the highest point of a scan and its neighbours has its maximum."""
    k = int(np.clip(np.argmax(scan), 1, len(scan) - 2))
    square, slope, _ = np.polyfit(points[k - 1 : k + 2], scan[k - 1 : k + 2], 2)
    return float(-slope / (2 * square))


def maxima(results: dict, kind: str) -> list[tuple[float, float]]:
    """Truth, and where the scan has its maximum."""
    scans, points = results["scans"], np.array(results["points"])
    return [(t, vertex(points, s)) for t, s in zip(scans["truths"], scans[kind], strict=True)]


def mean_difference(first: list[np.ndarray], second: list[np.ndarray]) -> dict:
    """Mean difference of squared errors on the same sets, over trainings."""
    pairs = [a - b for a, b in zip(first, second, strict=True)]
    return over_trainings(
        [Estimate(float(d.mean()), float(d.std(ddof=1)) / np.sqrt(len(d))) for d in pairs]
    )


def correlation(first: np.ndarray, second: np.ndarray) -> Estimate:
    value = float(np.corrcoef(first, second)[0, 1])
    return Estimate(value, (1 - value**2) / np.sqrt(len(first) - 3))


def by_truth(estimates: list[np.ndarray], truth: np.ndarray, points: np.ndarray) -> dict:
    """Mean and standard deviation of the estimates at each truth, over sets and trainings."""
    rows = [np.stack([e[truth == c] for c in points]) for e in estimates]
    return {
        "mean": np.mean(rows, axis=(0, 2)).tolist(),
        "std": np.mean([r.std(axis=1, ddof=1) for r in rows], axis=0).tolist(),
        "sets": int(rows[0].shape[1]),
    }


def check(results: dict) -> None:
    for name in ("per instance", "per ensemble"):
        excess = results["methods"][name]["excess"]
        require(
            excess["difference"] > -4 * excess["error"],
            f"{name} has a smaller squared error than the exact posterior mean",
        )
    found = results["correlation"]
    require(found["difference"] > 0.8, "the two regressions are not strongly correlated")
    scans, points = results["scans"], np.array(results["points"])
    for truth, scan in zip(scans["truths"], scans["learned"], strict=True):
        # The highest point of the mean Λ of thousands of events is the truth or next to it.
        step = points[1] - points[0]
        off = abs(points[int(np.argmax(scan))] - truth)
        require(off < 1.5 * step, f"the scan at c_HW = {truth} has its maximum {off} away")


def conclusions(results: dict) -> None:
    behind = results["per ensemble − per instance"]
    require(behind["difference"] > 4 * behind["error"], "per instance is no better than ensemble")
    for name in ("per instance", "per ensemble"):
        excess = results["methods"][name]["excess"]
        require(excess["difference"] > 4 * excess["error"], f"{name} reaches the exact posterior")
    require(results["correlation"]["difference"] > 0.95, "the regressions are weakly correlated")
    for kind, far in (("learned", 0.11), ("exact", 0.05)):
        for truth, found in maxima(results, kind):
            off = abs(found - truth)
            require(off < far, f"{kind}: the scan at {truth} has its maximum at {found:.3f}")
    (_, first), (truth, second) = maxima(results, "learned")
    require(abs(first) < 0.03 < truth - second, "not the scan at 0.4 alone is pulled to the middle")


def tables(results: dict) -> str:
    rows = []
    points = results["points"]
    shown = [0, int(np.argmin(np.abs(points))), len(points) - 1]
    for name, entry in results["methods"].items():
        error = np.array(entry["std"]) / np.sqrt(entry["sets"])
        excess = entry["excess"]
        rows.append(
            (
                LABELS[name],
                *(pair(entry["mean"][i], error[i]) for i in shown),
                f"{entry['rmse']:.4f}",
                pair(1e3 * excess["difference"], 1e3 * excess["error"], 1) if excess else "",
            )
        )
    titles = (
        "regression",
        *(f"mean estimate at c_HW = {points[i]:g}" for i in shown),
        "root mean square error over the prior",
        "mean squared error minus that of the exact ratio, same sets, in 10⁻³",
    )
    paired, both = results["per ensemble − per instance"], results["correlation"]
    both_kinds = zip(maxima(results, "learned"), maxima(results, "exact"), strict=True)
    of_scans = "; ".join(
        f"{found:.3f} for data at c_HW = {truth:g} (exact ratio: {exact:.3f})"
        for (truth, found), (_, exact) in both_kinds
    )
    return (
        f"{markdown(titles, rows)}\n\nMean squared error of per-ensemble regression minus that of "
        "per-instance regression, on the same sets, in 10⁻³: "
        f"{pair(1e3 * paired['difference'], 1e3 * paired['error'], 1)}. Correlation of the two "
        f"estimates: {pair(both['difference'], both['error'])}.\n\nMaxima of the scans, from a "
        f"parabola through three points: {of_scans}."
    )


def figures(results: dict) -> dict[str, Figure]:
    return {"scans": _scans(results), "correlation": _correlation(results)}


def _scans(results: dict) -> Figure:
    points, scans = np.array(results["points"]), results["scans"]
    with styled():
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axis = figure.subplots()
        for i, truth in enumerate(scans["truths"]):
            for kind, style in (("learned", "-"), ("exact", "--")):
                curve = -np.array(scans[kind][i])
                axis.plot(
                    points,
                    curve - curve.min(),
                    style,
                    marker="." if kind == "learned" else "none",
                    color=PALETTE[i],
                    label=f"truth {truth:g}, {kind}",
                )
            axis.axvline(truth, color=PALETTE[i], lw=0.8, ls=":")
        axis.set_xlabel("$c_{HW}$")
        axis.set_ylabel("−⟨ln f⟩ of an event, above its minimum")
        axis.set_ylim(0, None)
        axis.legend()
    return figure


def _correlation(results: dict) -> Figure:
    ensemble, instance = np.array(results["examples"])
    with styled():
        figure = Figure(figsize=(4.8, 4.6), layout="constrained")
        axis = figure.subplots()
        axis.plot(ensemble, instance, ".", ms=3, color=PALETTE[0], alpha=0.6)
        axis.plot([-1, 1], [-1, 1], color="gray", lw=0.8, ls="--")
        axis.set_xlabel("$c_{HW}$ by per-ensemble regression")
        axis.set_ylabel("$c_{HW}$ by per-instance regression")
    return figure


def made_with(size: str) -> dict:
    return {
        "bag": N,
        "features": FEATURES,
        "scanned": SCANNED,
        "size": SIZES[size][:5],
        "integration": INTEGRATION[size],
        "widths": WIDTHS,
    }


STUDY = Study(
    name="vbf_regression",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    tables=tables,
    figures=figures,
)

if __name__ == "__main__":
    run(STUDY)
