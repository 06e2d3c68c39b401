"""The loss of a classifier: its curvature, and estimates by it ([NT], eqs. 19, 20, 25, 26).

python -m studies.many_events.classifier_loss [--size quick|full] [--seed 0] [--out DIR]

Curvature: the losses of bags and of single events about the exact ratio of N(0.1, 1) to N(−0.1, 1),
event by event, beside eqs. 19 and 20.  Estimates: the mean of a Gaussian is where a classifier of
data from simulated events tells least, beside the maximum of the likelihood, the sample mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.special import expit, logit

import milinfer as mil
from milinfer.diagnostics.separation import DivergenceKind, divergence
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.plotting.results import PALETTE, styled
from studies.common.frame import Study, markdown, pair, require, run

EPSILON, STEP = 0.1, 0.02
BAGS = (1, 10, 50)
DIRECTIONS = {"constant": "ln f + h", "slope": "ln f + h (x − ε)"}
LOSSES = {"mlc": "MLC", "bce": "cross-entropy"}
KINDS: dict[str, DivergenceKind] = {"mlc": "kullback-leibler", "bce": "jensen-shannon"}
PER_SQUARE = {"mlc": 2, "bce": 8}  # squared distance of near Gaussians over the divergence
TRUTH, REACH = 0.0, 0.3  # of the data, and of the simulated points on either side
FITS = {
    "mlc, linear": "MLC loss, ln f linear in x",
    "bce, linear": "cross-entropy, ln f linear in x",
    "auc": "area under the ROC curve",
    "mlc, network": "MLC loss, network",
    "bce, network": "cross-entropy, network",
}
# Events of a class for curvatures; events of a data set and of simulation at each point, points,
# data sets for linear functions, for networks, epochs of these.
SIZES = {
    "quick": (100_000, 1_000, 5, 100, 2, 6),
    "full": (2_000_000, 1_000, 9, 1_000, 20, 20),
}


def curvature(
    x: tuple[np.ndarray, np.ndarray], bag: int, loss: str, direction: str
) -> tuple[float, float]:
    """Second derivative along a direction of the loss of bags, for each event, and its error.

    `x` are events of the signal and of the background; a second difference on the same bags.
    """
    of_class = []
    for k, events in enumerate(x):
        bags = events[: len(events) // bag * bag].reshape(-1, bag)
        log_ratio = 2 * EPSILON * bags
        change = np.ones_like(bags) if direction == "constant" else bags - EPSILON
        sums = log_ratio.sum(axis=1), change.sum(axis=1)
        step = STEP / bag  # a constant of each event is N times that of a bag
        values = [_loss(sums[0] + h * sums[1], loss, signal=k == 0) for h in (-step, 0.0, step)]
        second = (values[0] - 2 * values[1] + values[2]) / step**2 / bag
        of_class.append((second.mean(), second.std(ddof=1) / np.sqrt(len(second))))
    (signal, a), (background, b) = of_class
    return float(signal + background), float(np.hypot(a, b))


def _loss(log_ratio: np.ndarray, loss: str, *, signal: bool) -> np.ndarray:
    """Loss of bags of one class."""
    if loss == "mlc":
        return -log_ratio if signal else np.exp(log_ratio) - 1
    return np.logaddexp(0, -log_ratio if signal else log_ratio)


def expected(bag: int, direction: str) -> float:
    """Twice eq. 19 (eq. 20 for single events), for ε(x) = h f(x) g(x) in units of h²."""
    square, mean = (1.0, 1.0) if direction == "constant" else (1.0, 0.0)
    return square + (bag - 1) * mean**2


def told_apart(data: np.ndarray, simulated: np.ndarray, loss: str) -> float:
    """How well the best classifier whose ln f is linear tells data from as many simulated events.

    The divergence by the loss that it reaches, on the same events; by Newton's method.
    """
    design = [np.column_stack([np.ones_like(x), x]) for x in (data, simulated)]
    weights = np.zeros(2)
    for _ in range(50):
        of_data, other = (d @ weights for d in design)
        if loss == "mlc":
            slope = [-np.ones_like(of_data), np.exp(other)]
            bend = [np.zeros_like(of_data), np.exp(other)]
        else:
            slope = [-expit(-of_data), expit(other)]
            bend = [expit(of_data) * expit(-of_data), expit(other) * expit(-other)]
        gradient = sum(d.T @ s / len(s) for d, s in zip(design, slope, strict=True))
        hessian = sum((d.T * s) @ d / len(s) for d, s in zip(design, bend, strict=True))
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-10:
            break
    of_data, other = (d @ weights for d in design)
    return divergence(KINDS[loss], of_data, other).value


def area(data: np.ndarray, simulated: np.ndarray) -> float:
    """Squared distance of the area under the ROC curve of x from one half ([18] of the paper)."""
    ranks = np.searchsorted(np.sort(simulated), data).mean() / len(simulated)
    return float(logit(ranks) ** 2)


def of_network(data: np.ndarray, simulated: np.ndarray, loss: str, epochs: int, seed: int) -> float:
    """The same as :func:`told_apart` of a network, on the events that it was trained on."""
    samples = mil.SampleSet(
        tuple(
            mil.Sample(x[:, None], ("x",), point={"data": k}, process="gaussian")
            for k, x in enumerate((simulated, data))
        )
    )
    model = mil.BagLikelihood(
        head="binary",
        normalise=False,
        loss={"mlc": "mlc-exponential", "bce": "bce"}[loss],
        bag_size=1,
        network=NetworkConfig((32, 32), "relu", batch_norm=False, dropout=0.0, l2=0.0),
        training=TrainingConfig(epochs, 200, 3e-3, 3e-5, schedule="cosine"),
        seed=seed,
    ).fit(samples)
    reference, numerator = (model.event_llr(s)[:, 1] for s in samples)
    return divergence(KINDS[loss], numerator, reference).value


def lowest(points: np.ndarray, values: list[float]) -> float:
    """Where the parabola through all values has its minimum, within the points."""
    square, slope, _ = np.polyfit(points, values, 2)
    if square <= 0:
        return float(points[int(np.argmin(values))])
    return float(np.clip(-slope / (2 * square), points[0], points[-1]))


def study(size: str, seed: int) -> dict[str, Any]:
    n_events, n_data, n_points, n_linear, n_network, epochs = SIZES[size]
    rng = np.random.default_rng([seed, 19])
    x = (rng.normal(EPSILON, 1, n_events), rng.normal(-EPSILON, 1, n_events))
    rows = [
        {
            "loss": loss,
            "direction": direction,
            "bag": bag,
            "value": value,
            "error": error,
            "expected": expected(bag, direction) if loss == "mlc" else None,
        }
        for loss in LOSSES
        for direction in DIRECTIONS
        for bag in BAGS
        for value, error in [curvature(x, bag, loss, direction)]
    ]
    points = np.linspace(TRUTH - REACH, TRUTH + REACH, n_points)
    found: dict[str, list[float]] = {name: [] for name in ("likelihood", *FITS)}
    curves: dict[str, list[float]] = {}
    for k in range(n_linear):
        rng = np.random.default_rng([seed, 25, k])
        data = rng.normal(TRUTH, 1, n_data)
        simulated = [rng.normal(p, 1, n_data) for p in points]
        found["likelihood"].append(float(data.mean()))
        told = {
            "mlc, linear": [told_apart(data, s, "mlc") for s in simulated],
            "bce, linear": [told_apart(data, s, "bce") for s in simulated],
            "auc": [area(data, s) for s in simulated],
        }
        if k < n_network:
            for loss in LOSSES:
                told[f"{loss}, network"] = [
                    of_network(data, s, loss, epochs, 1000 * k + i) for i, s in enumerate(simulated)
                ]
        for name, values in told.items():
            found[name].append(lowest(points, values))
        curves = curves or {name: np.round(v, 6).tolist() for name, v in told.items()}
    return {
        "events": [n_events, n_data],
        "data_sets": [n_linear, n_network],
        "curvature": rows,
        "points": points.tolist(),
        "curves": curves,
        "estimates": {k: np.round(v, 6).tolist() for k, v in found.items()},
    }


def spread(results: dict, name: str) -> dict[str, float]:
    """Mean and standard deviation in units of 1/√n, and correlation with the maximum likelihood."""
    unit = results["events"][1] ** -0.5
    own = np.array(results["estimates"][name])
    best = np.array(results["estimates"]["likelihood"])[: len(own)]
    n = len(own)
    std = float(own.std(ddof=1) / unit)
    return {
        "mean": float((own.mean() - TRUTH) / unit),
        "mean_error": std / n**0.5,
        "std": std,
        "std_error": std / (2 * (n - 1)) ** 0.5,
        "correlation": float(np.corrcoef(own, best)[0, 1]) if name != "likelihood" else 1.0,
    }


def of_curvature(results: dict, loss: str, direction: str, bag: int) -> dict:
    return next(
        r
        for r in results["curvature"]
        if (r["loss"], r["direction"], r["bag"]) == (loss, direction, bag)
    )


def check(results: dict) -> None:
    for row in results["curvature"]:
        if row["expected"] is not None:
            off = (row["value"] - row["expected"]) / row["error"]
            title = f"{row['direction']} in bags of {row['bag']}"
            require(abs(off) < 4.5, f"{title} is {off:.1f}σ from eq. 19")
    for name in ("mlc, linear", "bce, linear", "auc"):
        own = spread(results, name)
        require(abs(own["mean"]) < 4 * own["mean_error"], f"{name} is biased")
        require(own["correlation"] > 0.7, f"{name} has little to do with maximum likelihood")


def conclusions(results: dict) -> None:
    for loss in LOSSES:
        constant, slope = (
            [of_curvature(results, loss, d, n) for n in BAGS] for d in ("constant", "slope")
        )
        gain = [r["value"] / constant[0]["value"] for r in constant]
        error = [r["error"] / constant[0]["value"] for r in constant]
        require(
            gain[1] > 8 - 4 * error[1] and gain[2] > 25 - 4 * error[2],
            f"{loss}: bags do not bend the loss along a constant by about N",
        )
        ratio = slope[1]["value"] / slope[0]["value"]
        require(0.8 < ratio < 1.1, f"{loss}: bags bend the loss along the slope: {ratio:.2f}")
    for direction in DIRECTIONS:
        for bag in BAGS[:2]:
            bce, mlc = (of_curvature(results, loss, direction, bag) for loss in ("bce", "mlc"))
            half = bce["value"] / mlc["value"]
            require(
                abs(half - 0.5) < 0.06,
                f"{direction}, bags of {bag}: the curvature of cross-entropy is {half:.2f} of that "
                "of the MLC loss; it should be about half",
            )
    require(
        of_curvature(results, "bce", "slope", 50)["value"]
        < 0.9 * of_curvature(results, "bce", "slope", 1)["value"],
        "cross-entropy of bags of fifty is not saturated",
    )
    best = spread(results, "likelihood")
    require(abs(best["std"] - 1) < 4 * best["std_error"], "the sample mean has another variance")
    for name in ("mlc, linear", "bce, linear", "auc"):
        own = spread(results, name)
        require(
            1.02 < own["std"] / best["std"] < 1.4 and own["correlation"] > 0.8,
            f"{name} is not the maximum of the likelihood with the noise of the simulation",
        )
    widths = [spread(results, name)["std"] for name in ("mlc, linear", "bce, linear", "auc")]
    require(
        max(widths) < 1.05 * min(widths),
        f"the standard deviations of both losses and of the area, {np.round(widths, 2)}, differ "
        "by more than five per cent",
    )
    for loss in LOSSES:
        own, linear = (spread(results, f"{loss}, {how}") for how in ("network", "linear"))
        # Error of so few data sets if the spread is the same: a wrong one has a wrong error too.
        error = linear["std"] / (2 * (len(results["estimates"][f"{loss}, network"]) - 1)) ** 0.5
        require(
            abs(own["std"] - linear["std"]) < 3 * error,
            f"{loss}: estimates of networks have the standard deviation {own['std']:.2f}, those of "
            f"linear classifiers {linear['std']:.2f}; the two should agree within three errors of "
            f"{error:.2f}",
        )
        require(own["correlation"] > 0.7, f"{loss} of a network has little to do with it")


def tables(results: dict) -> str:
    rows = [
        (
            LOSSES[r["loss"]],
            DIRECTIONS[r["direction"]],
            r["bag"],
            pair(r["value"], r["error"]),
            f"{r['expected']:g}" if r["expected"] is not None else "",
        )
        for r in results["curvature"]
    ]
    titles = ("loss", "change", "events in a bag", "curvature of the loss per event", "eq. 19")
    fits = []
    for name, label in {"likelihood": "maximum likelihood", **FITS}.items():
        own = spread(results, name)
        fits.append(
            (
                label,
                len(results["estimates"][name]),
                pair(own["mean"], own["mean_error"], 2),
                pair(own["std"], own["std_error"], 2),
                f"{own['correlation']:.2f}",
            )
        )
    heads = (
        "estimate",
        "data sets",
        "mean − truth [1/√n]",
        "standard deviation [1/√n]",
        "correlation with maximum likelihood",
    )
    n_events, n_data = results["events"]
    return (
        f"{markdown(titles, rows)}\n\nThe curvatures come from {n_events} events of each class.\n\n"
        f"Estimates from data sets of n = {n_data} events, with as many simulated events at each "
        f"of {len(results['points'])} points:\n\n{markdown(heads, fits)}"
    )


def figures(results: dict) -> dict[str, Figure]:
    points = np.array(results["points"])
    fine = np.linspace(points[0], points[-1], 101)
    with styled():
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axis = figure.subplots()
        shown = {k: v for k, v in results["curves"].items() if k != "auc"}
        for i, (name, values) in enumerate(shown.items()):
            own = PER_SQUARE[name[:3]] * np.array(values)
            axis.plot(points, own, "os^v"[i], ms=4, color=PALETTE[i], label=FITS[name])
            axis.plot(fine, np.polyval(np.polyfit(points, own, 2), fine), color=PALETTE[i], lw=1)
        axis.axvline(results["estimates"]["likelihood"][0], color="black", lw=1, ls="--")
        axis.set_xlabel("mean of the simulated events (dashed: of the data)")
        axis.set_ylabel(r"divergence as $(\Delta\theta)^2$")
        axis.legend(fontsize=8)
    return {"first data set": figure}


def made_with(size: str) -> dict[str, Any]:
    return {
        "epsilon": EPSILON,
        "step": STEP,
        "bags": BAGS,
        "truth": TRUTH,
        "reach": REACH,
        "size": SIZES[size],
    }


STUDY = Study(
    name="classifier_loss",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    tables=tables,
    figures=figures,
)

if __name__ == "__main__":
    run(STUDY)
