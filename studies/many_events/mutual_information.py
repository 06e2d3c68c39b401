"""Mutual information of a Gaussian feature and its label, by two classifiers ([NT], fig. 9).

python -m studies.many_events.mutual_information [--size quick|full] [--seed 0] [--out DIR]

Signal N(ε, 1) and background N(−ε, 1) in equal parts.  A classifier of pairs (feature, label)
from pairs with exchanged labels gives the mutual information by eq. 30, an ordinary classifier of
signal and background by the Jensen–Shannon divergence.  Both are evaluated on held-out events,
where they are lower bounds in expectation; the exact curve is an integral.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import quad

import milinfer as mil
from milinfer.diagnostics.roc import Estimate, mean_over_trainings
from milinfer.diagnostics.separation import divergence, joint_and_product
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.plotting.results import PALETTE, styled
from studies.common.frame import Study, markdown, pair, require, run

SIZES = {  # events of each class to train on and to test with, epochs, trainings, values of ε
    "quick": (10_000, 40_000, 6, 2, (0.5, 2.0)),
    "full": (100_000, 500_000, 20, 3, tuple(np.linspace(0, 2, 10).round(6))),
}
NETWORK = NetworkConfig((64, 64), "relu", batch_norm=False, dropout=0.0, l2=0.0)
LABELS = {"pairs": "(feature, label), MLC loss", "label": "label, cross-entropy"}


def exact_information(epsilon: float) -> float:
    """Eq. 30 for two equally likely Gaussians: a mean of p ln p over both labels."""

    def integrand(x: float) -> float:
        # As scipy's norm.pdf does it, which takes far longer for a single number.
        one, zero = (
            np.exp(-((x - e) ** 2) / 2.0) / np.sqrt(2 * np.pi) for e in (epsilon, -epsilon)
        )
        both = (one + zero) / 2
        return sum(p / 2 * np.log(p / both) for p in (one, zero) if p > 0)

    return float(quad(integrand, -14, 14, limit=200, points=[-epsilon, epsilon])[0])


def labelled(n: int, epsilon: float, seed: int) -> mil.Sample:
    """Feature and label of n events of each class."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0.0, 1.0], n)
    x = rng.normal(epsilon * (2 * label - 1), 1)
    return mil.Sample(np.column_stack([x, label]), ("x", "label"), process="gaussian")


def classes(sample: mil.Sample) -> mil.SampleSet:
    """The same events as two samples without the label."""
    label, x = sample.column("label"), sample.column("x")
    return mil.SampleSet(
        tuple(
            mil.Sample(x[label == k][:, None], ("x",), point={"label": k}, process="gaussian")
            for k in (0, 1)
        )
    )


def estimates(n: tuple[int, int], epsilon: float, epochs: int, seed: int, test_seed: int) -> dict:
    """Both estimates of one training."""
    train, test = labelled(n[0], epsilon, seed), labelled(n[1], epsilon, test_seed)
    kinds = {
        "pairs": ("mlc-exponential", "kullback-leibler", _pairs),
        "label": ("bce", "jensen-shannon", lambda sample, _: classes(sample)),
    }
    found = {}
    for name, (loss, kind, samples) in kinds.items():
        seen = samples(train, seed)
        batch = int(0.8 * seen.n_events / 20)
        model = mil.BagLikelihood(
            head="binary",
            normalise=False,
            loss=loss,
            bag_size=1,
            network=NETWORK,
            training=TrainingConfig(epochs, batch, 5e-3, 5e-5, schedule="cosine"),
            seed=seed,
        ).fit(seen)
        reference, numerator = (model.event_llr(s)[:, 1] for s in samples(test, test_seed))
        found[name] = Estimate(*divergence(kind, numerator, reference))
    return found


def _pairs(sample: mil.Sample, seed: int) -> mil.SampleSet:
    return joint_and_product(sample, ["label"], seed=seed)


def study(size: str, seed: int) -> dict:
    n_train, n_test, epochs, n_trainings, values = SIZES[size]
    seeds = np.random.SeedSequence(seed).generate_state(len(values) * (n_trainings + 1))
    rows = []
    for epsilon, own in zip(values, seeds.reshape(len(values), -1).tolist(), strict=True):
        trained = [
            estimates((n_train, n_test), float(epsilon), epochs, s, own[-1]) for s in own[:-1]
        ]
        row: dict = {"epsilon": float(epsilon), "exact": exact_information(float(epsilon))}
        for name in LABELS:
            mean = mean_over_trainings([t[name] for t in trained])
            row[name] = {
                "value": mean.value,
                "error": mean.error,
                "trainings": [t[name].value for t in trained],
            }
        rows.append(row)
    return {"events": [n_train, n_test], "epochs": epochs, "trainings": n_trainings, "rows": rows}


def check(results: dict) -> None:
    for row in results["rows"]:
        for name in LABELS:
            found, exact = row[name], row["exact"]
            at = f"{name} at ε = {row['epsilon']:.3g}"
            off = found["value"] - exact
            require(off < 4 * found["error"] + 1e-12, f"{at} is above the exact information")
            room = 4 * found["error"] + 0.02 * exact + 2e-4
            require(off > -room, f"{at} misses {-off:.4f} of {exact:.4f} nats")
    largest = max(results["rows"], key=lambda row: row["epsilon"])
    require(largest["exact"] < np.log(2), "a label with two values cannot carry more than ln 2")


def conclusions(results: dict) -> None:
    rows = results["rows"]
    pulls = [(r[n]["value"] - r["exact"]) / r[n]["error"] for r in rows for n in LABELS]
    require(sum(abs(p) > 2.5 for p in pulls) <= 1, f"estimates are off: {np.round(pulls, 1)}")
    for row in rows:
        require(
            row["label"]["error"] < row["pairs"]["error"],
            f"exchanged labels have the smaller error at ε = {row['epsilon']:.3g}",
        )
    least = min(rows, key=lambda row: row["epsilon"])
    require(min(least[n]["value"] for n in LABELS) < 0, "the estimate at ε = 0 is positive")


def tables(results: dict) -> str:
    rows = [
        (
            f"{row['epsilon']:.3f}",
            f"{row['exact']:.5f}",
            *(pair(row[k]["value"], row[k]["error"], 5) for k in LABELS),
            *(f"{(row[k]['value'] - row['exact']) / (row[k]['error'] or 1):+.1f}" for k in LABELS),
        )
        for row in results["rows"]
    ]
    titles = ("ε", "exact", *LABELS.values(), *(f"pull: {name}" for name in LABELS.values()))
    return markdown(titles, rows)


def figures(results: dict) -> dict[str, Figure]:
    rows = results["rows"]
    epsilon = np.array([row["epsilon"] for row in rows])
    fine = np.linspace(epsilon.min(), epsilon.max(), 81)
    exact = np.array([row["exact"] for row in rows])
    with styled():
        figure = Figure(figsize=(6.4, 5.0), layout="constrained")
        top, bottom = figure.subplots(2, sharex=True, height_ratios=[2, 1])
        top.plot(fine, [exact_information(e) for e in fine], color="black", lw=1, label="exact")
        bottom.axhline(0, color="black", lw=1)
        for i, (name, label) in enumerate(LABELS.items()):
            value = np.array([row[name]["value"] for row in rows])
            error = np.array([row[name]["error"] for row in rows])
            top.errorbar(epsilon, value, error, fmt="os"[i], ms=4, color=PALETTE[i], label=label)
            bottom.errorbar(
                epsilon + 0.015 * (2 * i - 1),
                1e3 * (value - exact),
                1e3 * error,
                fmt="os"[i],
                ms=4,
                color=PALETTE[i],
            )
        top.set_ylabel("mutual information [nats]")
        top.legend(loc="upper left")
        bottom.set_ylabel("minus exact [10⁻³ nats]")
        bottom.set_xlabel("ε, half the distance of the Gaussians")
    return {"mutual information": figure}


def made_with(size: str) -> dict:
    return {"size": SIZES[size], "network": NETWORK}


STUDY = Study(
    name="mutual_information",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    tables=tables,
    figures=figures,
)

if __name__ == "__main__":
    run(STUDY)
