"""The ratio of two Gaussians as five losses learn it: bulk and tails ([NT], fig. 10).

python -m studies.many_events.classifier_losses [--size quick|full] [--seed 0] [--out DIR]

N(0.1, 1) against N(−0.1, 1): ln r = 0.2 x exactly.  Each loss trains the same networks on the same
events; trainings differ in both.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.plotting.results import PALETTE, styled
from studies.common.frame import Study, markdown, pair, require, run

EPSILON = 0.1
SIZES = {
    "quick": (10_000, 8, 2),
    "full": (50_000, 100, 10),
}  # events of a class, epochs, trainings
HIDDEN = {"quick": (64,), "full": (128, 128)}
LABELS = {
    "bce": "binary cross-entropy",
    "mlc-linear": "MLC, C(f) = f",
    "mlc-exponential": "MLC, C(f) = exp f",
    "mse": "mean squared error",
    "square-root": "square root",
}
X = np.linspace(-5, 5, 201)
REGIONS = {"bulk, |x| < 2": (0, 2), "edge, 2 < |x| < 3": (2, 3), "tail, 3 < |x| < 5": (3, 5)}


def learned(
    samples: mil.SampleSet, loss: str, hidden: tuple[int, ...], epochs: int, seed: int
) -> np.ndarray:
    """Ln r along x of one training."""
    batch = int(0.8 * samples.n_events / 10)
    model = mil.BagLikelihood(
        head="binary",
        normalise=False,
        loss=loss,
        bag_size=1,
        reference=-EPSILON,
        network=NetworkConfig(hidden, "relu", batch_norm=False, dropout=0.0, l2=0.0),
        training=TrainingConfig(epochs, batch, 1e-3, 1e-3, patience=5),
        seed=seed,
    ).fit(samples)
    return model.event_llr(mil.Sample(X[:, None], ("x0",)))[:, 1]


def region_error(deviation: np.ndarray, region: tuple[float, float]) -> float:
    """Root mean square of a deviation (len(X),) over the events of a region, or over its length.

    In the bulk events count as they come; in the tails, where there are few, all x count alike.
    """
    inside = (np.abs(X) >= region[0]) & (np.abs(X) < region[1])
    density = norm.pdf(X, EPSILON) + norm.pdf(X, -EPSILON) if region[0] == 0 else np.ones(len(X))
    weights = np.where(inside, density, 0)
    return float(np.sqrt(weights @ deviation**2 / weights.sum()))


def study(size: str, seed: int) -> dict:
    n_events, epochs, n_trainings = SIZES[size]
    exact = 2 * EPSILON * X
    ratios: dict[str, list] = {name: [] for name in LABELS}
    for own in np.random.SeedSequence(seed).generate_state(n_trainings).tolist():
        samples = gaussian.two_gaussians(n_events, epsilon=EPSILON, seed=own)
        for name in LABELS:
            ratios[name].append(learned(samples, name, HIDDEN[size], epochs, own))
    found: dict = {"events": n_events, "epochs": epochs, "trainings": n_trainings, "losses": {}}
    for name, curves in ratios.items():
        table = np.stack(curves)
        errors = {
            region: [region_error(curve - exact, bounds) for curve in table]
            for region, bounds in REGIONS.items()
        }
        found["losses"][name] = {
            "median": np.median(table, axis=0).round(5).tolist(),
            "low": np.quantile(table, 0.16, axis=0).round(5).tolist(),
            "high": np.quantile(table, 0.84, axis=0).round(5).tolist(),
            "errors": errors,
        }
    return found


def mean_and_error(values: list[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def difference(results: dict, first: str, second: str, region: str) -> tuple[float, float]:
    """Mean difference of the errors of two losses, training by training, and its error."""
    one, two = (np.array(results["losses"][k]["errors"][region]) for k in (first, second))
    return mean_and_error((one - two).tolist())


def check(results: dict) -> None:
    for name, entry in results["losses"].items():
        value, error = mean_and_error(entry["errors"]["bulk, |x| < 2"])
        # Where r varies from 0.67 to 1.5; a constant would be wrong by 0.18.
        require(value < 0.08 + 4 * error, f"{name} misses ln r in the bulk by {value:.3f}")
    for name in LABELS:
        value, error = difference(results, name, "bce", "bulk, |x| < 2")
        require(abs(value) < 0.03 + 4 * error, f"{name} differs from BCE in the bulk: {value:.3f}")


def conclusions(results: dict) -> None:
    last = list(REGIONS)[-1]
    for name in LABELS:
        value, error = difference(results, name, "bce", last)
        if name == "mlc-linear":
            require(value > 3 * error, f"{name} is as good as cross-entropy in the tail")
        elif name != "bce":
            require(abs(value) < 3 * error, f"{name} can be told from cross-entropy in the tail")
    for name, entry in results["losses"].items():
        (bulk, _), (tail, error) = (
            mean_and_error(entry["errors"][r]) for r in (next(iter(REGIONS)), last)
        )
        require(tail - bulk > 2 * error, f"the tail of {name} is as well known as the bulk")


def tables(results: dict) -> str:
    rows = []
    for name, label in LABELS.items():
        errors = results["losses"][name]["errors"]
        paired = [pair(*difference(results, name, "bce", r)) for r in REGIONS]
        rows.append((label, *(pair(*mean_and_error(errors[r])) for r in REGIONS), paired[-1]))
    last = list(REGIONS)[-1]
    titles = ("loss", *REGIONS, f"{last}: difference to cross-entropy")
    return (
        "Root mean square error of ln r, mean over trainings with the error of the mean:\n\n"
        + markdown(titles, rows)
    )


def figures(results: dict) -> dict[str, Figure]:
    exact = 2 * EPSILON * X
    with styled():
        figure = Figure(figsize=(7.4, 5.4), layout="constrained")
        top, bottom = figure.subplots(2, sharex=True)
        top.plot(X, exact, color="black", lw=1, label="exact")
        bottom.axhline(0, color="black", lw=1)
        for i, (name, label) in enumerate(LABELS.items()):
            entry = {k: np.array(v) for k, v in results["losses"][name].items() if k != "errors"}
            for axis, zero in ((top, 0), (bottom, exact)):
                axis.plot(X, entry["median"] - zero, color=PALETTE[i], label=label)
                low, high = entry["low"] - zero, entry["high"] - zero
                axis.fill_between(X, low, high, color=PALETTE[i], alpha=0.12, lw=0)
        top.set_ylabel("ln r")
        top.set_xlim(X[0], X[-1])
        figure.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=3)
        bottom.set_ylabel("ln r − exact")
        bottom.set_xlabel("x (median and central 68 % of the trainings)")
    return {"ratios": figure}


def made_with(size: str) -> dict:
    n_events, epochs, n_trainings = SIZES[size]
    return {
        "epsilon": EPSILON,
        "events": n_events,
        "trainings": n_trainings,
        "losses": list(LABELS),
        "network": NetworkConfig(HIDDEN[size], "relu", batch_norm=False, dropout=0.0, l2=0.0),
        "training": TrainingConfig(epochs, None, 1e-3, 1e-3, patience=5),
    }


STUDY = Study(
    name="classifier_losses",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    tables=tables,
    figures=figures,
)

if __name__ == "__main__":
    run(STUDY)
