"""Regression of a Gaussian mean from a hundred events, in three ways ([NT], fig. 7).

python -m studies.many_events.gaussian_regression [--size quick|full] [--seed 0] [--out DIR]

μ is uniform in [−0.5, 0.5], σ = 1.  Maximum likelihood and per-instance regression (eqs. 28, 29)
use one classifier of single events with μ as an input; per-ensemble regression sees the hundred
events as a list, as in the paper, or as a set.  References: the mean of the truncated Gaussian
posterior, which has the least squared error of all, and the sample mean, cut at the ends of the
range.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import truncnorm

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.diagnostics.roc import Estimate, mean_over_trainings
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.likelihood.posterior import Posterior
from milinfer.plotting.results import PALETTE, styled
from studies.common.frame import Study, markdown, pair, require, run

N, EDGE = 100, 0.5
TRUTHS = np.linspace(-EDGE, EDGE, 11).round(6)
# Points in μ, events to train on for the classifier and in sets, sets of each truth and of the
# prior to test with, epochs of the classifier, trainings.
SIZES = {
    "quick": (5, 20_000, 20, 400, 6, 2),
    "full": (21, 500_000, 1500, 15_000, 20, 3),
}
WIDTHS = (64, 128, 64)
LABELS = {
    "maximum likelihood": "maximum likelihood",
    "per instance": "per-instance regression",
    "list": "per-ensemble regression, list",
    "set": "per-ensemble regression, set",
    "exact likelihood": "exact maximum likelihood",
    "exact posterior": "exact posterior mean",
}
REFERENCE = {
    "maximum likelihood": "exact likelihood",
    "per instance": "exact posterior",
    "list": "exact posterior",
    "set": "exact posterior",
}


def exact_posterior_mean(mean: np.ndarray) -> np.ndarray:
    """Mean of a Gaussian of width 1/√N that is cut at ±EDGE."""
    width = N**-0.5
    return truncnorm.mean((-EDGE - mean) / width, (EDGE - mean) / width, mean, width)


def train_classifier(n_points: int, n_events: int, epochs: int, seed: int) -> mil.BagLikelihood:
    """Classifier of single events against μ = 0, with μ as an input."""
    values = np.linspace(-EDGE, EDGE, n_points).round(9)
    samples = gaussian.samples(n_events // n_points, values.tolist(), seed=seed)
    return mil.BagLikelihood(
        head="parametrised",
        normalise=False,
        bag_size=1,
        network=NetworkConfig(WIDTHS, "relu", batch_norm=False, dropout=0.0, l2=0.0),
        training=TrainingConfig(epochs, n_events // 20, 3e-3, 3e-5, schedule="cosine"),
        seed=seed,
    ).fit(samples)


def train_regressions(n_events: int, seed: int) -> dict[str, mil.BagRegressor]:
    """Regressions of μ from N events with the squared error, which see the same events.

    A list is one instance of N features; a set has N instances, of which the mean embedding and a
    linear layer make an estimate.
    """
    rng = np.random.default_rng(seed)
    mu = rng.uniform(-EDGE, EDGE, n_events // N)
    sets = rng.normal(mu[:, None], 1, (len(mu), N))
    return {
        kind: mil.BagRegressor(
            "mean",
            hidden=WIDTHS,
            activation="relu",
            l2=0.0,
            batch_size=100,
            learning_rate=1e-3,
            patience=5,
            random_state=seed,
        ).fit(as_bags(kind, sets), mu)
        for kind in ("list", "set")
    }


def as_bags(kind: str, sets: np.ndarray) -> np.ndarray:
    """Sets (n, N) as bags of one instance or of N."""
    return sets if kind == "list" else sets[:, :, None]


def estimate(model: mil.BagLikelihood, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maximum of Λ and posterior mean of each set, from the classifier of single events."""
    theta = np.linspace(-EDGE, EDGE, 201)
    maximum, mean = [], []
    for part in np.array_split(sets, max(1, sets.size // 500_000)):
        events = mil.Sample(part.reshape(-1, 1), ("x0",))
        sums = model.event_llr(events).reshape(len(part), N, -1).sum(axis=1)
        maximum.append(model.interpolation.extrema(sums).theta_hat)
        ratios = model.interpolation.values_at(sums, theta)
        mean.append(Posterior.from_log_ratios(theta, ratios).mean)
    return np.concatenate(maximum), np.concatenate(mean)


def study(size: str, seed: int) -> dict:
    n_points, n_events, n_sets, n_prior, epochs, n_trainings = SIZES[size]
    seeds = np.random.SeedSequence(seed).generate_state(n_trainings + 1).tolist()
    rng = np.random.default_rng(seeds[-1])
    truth = np.concatenate([np.repeat(TRUTHS, n_sets), rng.uniform(-EDGE, EDGE, n_prior)])
    sets = rng.normal(truth[:, None], 1, (len(truth), N)).astype(np.float32)
    mean = sets.mean(axis=1, dtype=np.float64)
    found: dict[str, list] = {
        "exact likelihood": [np.clip(mean, -EDGE, EDGE)],
        "exact posterior": [exact_posterior_mean(mean)],
        **{name: [] for name in REFERENCE},
    }
    for number in seeds[:-1]:
        classifier = train_classifier(n_points, n_events, epochs, number)
        maximum, posterior = estimate(classifier, sets)
        found["maximum likelihood"].append(maximum)
        found["per instance"].append(posterior)
        for kind, regression in train_regressions(n_events, number).items():
            found[kind].append(regression.predict(as_bags(kind, sets)))
    cut = len(TRUTHS) * n_sets
    results: dict = {
        "events": n_events,
        "points": n_points,
        "sets": [n_sets, n_prior],
        "trainings": n_trainings,
        "truths": TRUTHS.tolist(),
        "methods": {},
    }
    for name in LABELS:
        by_truth = [e[:cut].reshape(len(TRUTHS), n_sets) for e in found[name]]
        squared = [(e[cut:] - truth[cut:]) ** 2 for e in found[name]]
        reference = (found[REFERENCE.get(name, name)][0][cut:] - truth[cut:]) ** 2
        results["methods"][name] = {
            "mean": np.mean(by_truth, axis=(0, 2)).tolist(),
            "mean_error": _error([b.mean(axis=1) for b in by_truth], by_truth).tolist(),
            "std": np.mean([b.std(axis=1, ddof=1) for b in by_truth], axis=0).tolist(),
            "std_error": (np.mean([b.std(axis=1) for b in by_truth], axis=0) / np.sqrt(2 * n_sets))
            .round(7)
            .tolist(),
            "rmse": float(np.sqrt(np.mean(squared))),
            "excess": _excess([s - reference for s in squared]),
        }
    for kind in ("list", "set"):
        pairs = zip(found[kind], found["per instance"], strict=True)
        results[f"{kind} − per instance"] = _excess(
            [(a[cut:] - truth[cut:]) ** 2 - (b[cut:] - truth[cut:]) ** 2 for a, b in pairs]
        )
    return results


def _error(means: list[np.ndarray], sets: list[np.ndarray]) -> np.ndarray:
    """Error of a mean over sets and trainings, for each truth."""
    n_sets = sets[0].shape[1]
    of_sets = np.mean([s.std(axis=1, ddof=1) for s in sets], axis=0) / np.sqrt(n_sets)
    if len(means) == 1:
        return of_sets
    return np.hypot(of_sets, np.std(means, axis=0, ddof=1) / np.sqrt(len(means)))


def _excess(differences: list[np.ndarray]) -> dict:
    """Mean difference of squared errors on the same sets, in units of σ²/N, and its error."""
    each = [
        Estimate(N * float(d.mean()), N * float(d.std(ddof=1)) / np.sqrt(len(d)))
        for d in differences
    ]
    mean = each[0] if len(each) == 1 else mean_over_trainings(each)
    return {"value": mean.value, "error": mean.error, "trainings": [e.value for e in each]}


def check(results: dict) -> None:
    methods = results["methods"]
    for name in ("per instance", "list", "set"):
        excess = methods[name]["excess"]
        require(
            excess["value"] > -4 * excess["error"],
            f"{name} regression has a smaller squared error than the posterior mean",
        )
    excess = methods["per instance"]["excess"]
    require(
        excess["value"] < 0.1 + 4 * excess["error"],
        f"per-instance regression is worse than the posterior mean by {excess['value']:.3f} σ²/N",
    )
    best = methods["exact posterior"]["rmse"]
    for name in ("exact likelihood", "maximum likelihood"):
        require(methods[name]["rmse"] > best, f"{name} beats the posterior mean over its prior")
    middle = len(TRUTHS) // 2
    for name, entry in methods.items():
        off = abs(entry["mean"][middle]) - 0.03  # the range is symmetric, and μ = 0 its middle
        require(off < 4 * entry["mean_error"][middle], f"{name} is biased at μ = 0")


def conclusions(results: dict) -> None:
    methods = results["methods"]
    lists, sets = (methods[kind]["excess"] for kind in ("list", "set"))
    behind = results["list − per instance"]
    require(
        behind["value"] > 5 * behind["error"] and lists["value"] > 0.15,
        "regression of lists is nearly as good as per instance",
    )
    require(
        lists["value"] - sets["value"] > 5 * np.hypot(lists["error"], sets["error"]),
        "regression of sets is no better than that of lists",
    )
    of_sets = results["set − per instance"]
    require(abs(of_sets["value"]) < 3 * of_sets["error"], "sets and instances can be told apart")
    best = methods["exact posterior"]
    for name in ("per instance", "list", "set", "exact posterior"):
        # Three trainings: each of them has a bias of its own, which the errors contain.
        ends = np.array([methods[name]["mean"][0] + EDGE, EDGE - methods[name]["mean"][-1]])
        errors = np.array([methods[name]["mean_error"][i] for i in (0, -1)])
        require(bool(np.all(ends > 3 * errors)), f"{name} is not pulled to the middle at the ends")
    for learned, exact in (("maximum likelihood", "per instance"), ("set", "per instance")):
        first, second = (methods[n]["mean"][0] + EDGE for n in (learned, exact))
        require(first < second, f"{learned} is as biased at the end as {exact}")
    require(
        methods["exact likelihood"]["mean"][0] < best["mean"][0],
        "the exact maximum of the likelihood is as biased as the posterior mean",
    )
    middle = len(TRUTHS) // 2
    own, exact_std = (methods[n] for n in ("maximum likelihood", "exact likelihood"))
    gap = exact_std["std"][middle] - own["std"][middle]
    require(
        gap > 2 * np.hypot(own["std_error"][middle], exact_std["std_error"][middle]),
        "the learned maximum scatters as the exact one does",
    )


def tables(results: dict) -> str:
    rows = []
    at = {"μ = −0.5": 0, "μ = 0": len(TRUTHS) // 2, "μ = 0.5": len(TRUTHS) - 1}
    for name, entry in results["methods"].items():
        excess = entry["excess"]
        biases = [
            pair(entry["mean"][i] - TRUTHS[i], entry["mean_error"][i], 4) for i in at.values()
        ]
        middle = at["μ = 0"]
        rows.append(
            (
                LABELS[name],
                *biases,
                pair(entry["std"][middle], entry["std_error"][middle], 4),
                f"{entry['rmse']:.4f}",
                pair(excess["value"], excess["error"], 4) if name in REFERENCE else "",
            )
        )
    titles = (
        "method",
        *(f"bias at {t}" for t in at),
        "standard deviation at μ = 0",
        "root mean square error over the prior",
        "mean squared error minus that of the exact method, same sets, in σ²/N",
    )
    paired = "; ".join(
        f"{kind}: {pair(entry['value'], entry['error'], 4)}"
        for kind in ("list", "set")
        for entry in (results[f"{kind} − per instance"],)
    )
    return (
        f"{markdown(titles, rows)}\n\nMean squared error of per-ensemble regression minus that of "
        f"per-instance regression, on the same sets, in σ²/N: {paired}."
    )


def figures(results: dict) -> dict[str, Figure]:
    truths = np.array(results["truths"])
    with styled():
        figure = Figure(figsize=(7.0, 6.0), layout="constrained")
        top, bottom = figure.subplots(2, sharex=True)
        for i, (name, label) in enumerate(LABELS.items()):
            entry = results["methods"][name]
            exact = name not in REFERENCE
            style = {
                "color": "black" if exact else PALETTE[i],
                "ls": (":" if name == "exact likelihood" else "--") if exact else "none",
                "marker": "none" if exact else "os^v"[i],
                "ms": 4,
                "label": label,
            }
            bias = np.array(entry["mean"]) - truths
            shift = 0 if exact else 0.006 * (i - 1.5)
            for axis, value, error in (
                (top, bias, entry["mean_error"]),
                (bottom, entry["std"], entry["std_error"]),
            ):
                axis.errorbar(truths + shift, value, None if exact else error, **style)
        top.axhline(0, color="gray", lw=0.6)
        top.set_ylabel("bias of the estimate of μ")
        bottom.set_ylabel("standard deviation of the estimate")
        bottom.set_xlabel("true μ")
        figure.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return {"bias and spread": figure}


def made_with(size: str) -> dict:
    return {"bag": N, "edge": EDGE, "truths": TRUTHS, "size": SIZES[size], "widths": WIDTHS}


STUDY = Study(
    name="gaussian_regression",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    tables=tables,
    figures=figures,
)

if __name__ == "__main__":
    run(STUDY)
