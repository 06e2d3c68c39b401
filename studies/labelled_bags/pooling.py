"""Choosing a pooling: where each rule wins, against the exact optimum of each task.

python -m studies.labelled_bags.pooling [--size quick|full] [--seed 0] [--out DIR] [--page JSON]

Eight small tasks whose best possible prediction is known: labels of bags of instances with two
features.  Each is the home ground of one rule, or meant to be of none.  Every rule is trained with
the same network and the same bags.  The score is the share of what can be known: for two classes
the mutual information of prediction and label, over that of the exact posterior; for numbers the
explained variance, over that of the exact conditional mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.special import expit, logit, xlogy

import milinfer as mil
from milinfer.learning.networks.pooling import POOLINGS
from studies.common.frame import Study, markdown, pair, require, run

BAG = 10
SHIFT = 0.7  # of each event, in standard deviations
WITNESS = 3.0  # standard deviations between a witness and the others
DECIBELS = 10 / np.log(10)
SETTINGS: dict[str, Any] = {
    "hidden": (32, 32),
    "activation": "relu",
    "l2": 1e-5,
    "learning_rate": 0.01,
    "batch_size": 32,
    "patience": 5,
}


class Sizes(NamedTuple):
    """Bags to train and to test with, trainings of each rule, and the limit of epochs."""

    train: int
    test: int
    trainings: int
    epochs: int


SIZES = {"quick": Sizes(1000, 2000, 1, 20), "full": Sizes(3000, 10_000, 4, 60)}
# Tasks of the full size alone: each has another that is like it, where the same rules are at home.
SIMILAR = ("events", "selected mean")


class Bags(NamedTuple):
    """Bags as a list of tables, their labels, and the best prediction that the bags allow."""

    bags: list[np.ndarray]
    labels: np.ndarray
    best: np.ndarray


class Task(NamedTuple):
    """How bags are made; ``home`` are the rules that can represent the optimum."""

    title: str
    make: Callable[[int, np.random.Generator], Bags]
    home: tuple[str, ...]
    classes: bool


def _shifted(n: int, sizes: np.ndarray, rng: np.random.Generator) -> Bags:
    """Every event of a signal bag is shifted a little: the log-ratio is a sum over events."""
    labels = rng.integers(2, size=n)
    bags = [rng.normal(size=(size, 2)) for size in sizes]
    for bag, label in zip(bags, labels, strict=True):
        bag[:, 0] += SHIFT * (label - 0.5)
    return Bags(bags, labels, expit([SHIFT * bag[:, 0].sum() for bag in bags]))


def events(n: int, rng: np.random.Generator) -> Bags:
    return _shifted(n, np.full(n, BAG), rng)


def events_of_any_number(n: int, rng: np.random.Generator) -> Bags:
    return _shifted(n, rng.integers(1, 2 * BAG, n), rng)


def witness(n: int, rng: np.random.Generator) -> Bags:
    """A bag is positive if one instance or more is: half of the bags are."""
    rare = 1 - 0.5 ** (1 / BAG)
    positive = rng.random((n, BAG)) < rare
    x = rng.normal(size=(n, BAG, 2))
    x[..., 0] += WITNESS * positive
    log_odds = WITNESS * x[..., 0] - WITNESS**2 / 2 + logit(rare)
    best = 1 - np.prod(expit(-log_odds), axis=1)
    return Bags(list(x), positive.any(axis=1).astype(int), best)


def _numbers(x: np.ndarray, best: np.ndarray, rng: np.random.Generator) -> Bags:
    """The label is the best prediction, and a tenth of its spread as noise."""
    return Bags(list(x), best + rng.normal(0, 0.1 * best.std(), len(best)), best)


def largest(n: int, rng: np.random.Generator) -> Bags:
    """The largest distance from the origin."""
    x = rng.normal(size=(n, BAG, 2))
    return _numbers(x, np.hypot(x[..., 0], x[..., 1]).max(axis=1), rng)


def level(n: int, rng: np.random.Generator) -> Bags:
    """The level of several sources together, in decibels: power and damping of each are known."""
    x = rng.normal(size=(n, BAG, 2)) * [6.0, 3.0]
    best = DECIBELS * np.log(np.exp((x[..., 0] - x[..., 1]) / DECIBELS).sum(axis=1))
    return _numbers(x, best, rng)


def _mean_of(relevant: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (relevant * x[..., 0]).sum(axis=1) / relevant.sum(axis=1)


def selected_mean(n: int, rng: np.random.Generator) -> Bags:
    """The mean of the first feature over the instances whose second one is large."""
    x = rng.normal(size=(n, BAG, 2))
    x[:, 0, 1] = np.abs(x[:, 0, 1]) + 0.5  # one relevant instance at least
    return _numbers(x, _mean_of(x[..., 1] > 0.5, x), rng)


def banded_mean(n: int, rng: np.random.Generator) -> Bags:
    """The same where the second feature is in a band: relevance needs two conditions."""
    x = rng.normal(size=(n, BAG, 2))
    x[:, 0, 1] = rng.uniform(-0.5, 0.5, n)
    return _numbers(x, _mean_of(np.abs(x[..., 1]) < 0.5, x), rng)


def spread(n: int, rng: np.random.Generator) -> Bags:
    """How much the instances of a bag differ: no sum, mean or maximum over single instances."""
    x = rng.normal(size=(n, BAG, 2)) * rng.uniform(0.2, 1.0, (n, 1, 1))
    x += rng.normal(size=(n, 1, 2))
    return _numbers(x, x[..., 0].std(axis=1), rng)


TASKS = {
    "events": Task("events, each shifted a little", events, ("mean", "sum"), True),
    "events of any number": Task("the same, 1 to 19 events", events_of_any_number, ("sum",), True),
    "witness": Task("one positive instance or more", witness, ("noisy-or",), True),
    "largest": Task("largest radius", largest, ("max",), False),
    "level": Task("level of all sources in dB", level, ("log-sum-exp",), False),
    "selected mean": Task(
        "mean of relevant ones", selected_mean, ("attention", "gated-attention"), False
    ),
    "banded mean": Task(
        "the same, relevant in a band", banded_mean, ("attention", "gated-attention"), False
    ),
    "spread": Task("standard deviation in a bag", spread, (), False),
}

# Task, a rule that cannot represent the optimum, and one that can and is ahead of it.
BEHIND = [
    ("events", "max", "mean"),
    ("events of any number", "mean", "sum"),
    ("events of any number", "attention", "sum"),
    ("witness", "mean", "noisy-or"),
    ("largest", "mean", "max"),
    ("level", "mean", "log-sum-exp"),
    ("selected mean", "mean", "attention"),
    ("banded mean", "mean", "gated-attention"),
    ("spread", "mean", "max"),
]


def known(task: Task, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """What a prediction knows of each label (n_bags,): its mean is the score that has a share.

    For classes the gain in log-likelihood over even odds, in nats; for numbers the decrease of the
    squared error, in units of the variance.
    """
    if task.classes:
        clipped = np.clip(predictions, 1e-12, 1 - 1e-12)  # an overconfident miss is not infinite
        return np.log(2) + xlogy(labels, clipped) + xlogy(1 - labels, 1 - clipped)
    return 1 - np.square(labels - predictions) / labels.var()


def score(task: Task, test: Bags, predictions: np.ndarray) -> tuple[float, float]:
    """Share of what can be known, and its error from the number of test bags."""
    own, best = known(task, test.labels, predictions), known(task, test.labels, test.best)
    share = own.mean() / best.mean()
    return float(share), float(np.std(own - share * best) / best.mean() / np.sqrt(len(own)))


def train(task: Task, pooling: str, data: Bags, test: Bags, epochs: int, seed: int) -> np.ndarray:
    """Predictions of one rule for the test bags."""
    kind = mil.BagClassifier if task.classes else mil.BagRegressor
    model = kind(pooling, epochs=epochs, random_state=seed, **SETTINGS).fit(data.bags, data.labels)
    return model.predict_proba(test.bags)[:, 1] if task.classes else model.predict(test.bags)


def rules_of(name: str, size: str) -> list[str]:
    """Rules to train in a task: all; in the quick size those that a statement is made about."""
    compared = {rule for task, *rules in BEHIND if task == name for rule in rules}
    compared |= set(TASKS[name].home)
    rules = [p for p in POOLINGS if TASKS[name].classes or p != "noisy-or"]
    return [p for p in rules if size == "full" or p in compared]


def study(size: str, seed: int) -> dict[str, Any]:
    """Shares of every rule in every task, one for each training, with the errors of testing."""
    sizes = SIZES[size]
    result: dict[str, Any] = {"sizes": sizes._asdict(), "tasks": {}}
    for number, (name, task) in enumerate(TASKS.items()):
        if size == "quick" and name in SIMILAR:
            continue
        rows: dict[str, Any] = {p: [] for p in rules_of(name, size)}
        optimum = []
        for training in range(sizes.trainings):
            rng = np.random.default_rng([seed, number, training])
            data, test = task.make(sizes.train, rng), task.make(sizes.test, rng)
            optimum.append(float(known(task, test.labels, test.best).mean()))
            for pooling, scores in rows.items():
                predictions = train(task, pooling, data, test, sizes.epochs, seed + training)
                scores.append(score(task, test, predictions))
        result["tasks"][name] = {
            "optimum": float(np.mean(optimum)),
            "shares": {p: [s for s, _ in scores] for p, scores in rows.items()},
            "errors": {p: [e for _, e in scores] for p, scores in rows.items()},
        }
    return result


def summary(scores: Mapping[str, Any], pooling: str) -> tuple[float, float]:
    """Mean over the trainings, and its error: their spread, or what the test bags allow."""
    shares, errors = np.array(scores["shares"][pooling]), np.array(scores["errors"][pooling])
    tested = np.sqrt(np.sum(errors**2)) / len(errors)
    spread_of_trainings = np.std(shares, ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else 0.0
    return float(shares.mean()), float(max(tested, spread_of_trainings))


def check(results: Mapping[str, Any]) -> None:
    """Each rule reaches the optimum at home; what others cannot represent, they miss."""
    found = {
        name: {p: summary(scores, p) for p in scores["shares"]}
        for name, scores in results["tasks"].items()
    }
    for name, rules in found.items():
        for pooling, (share, error) in rules.items():
            require(share < 1 + 4 * error, f"{pooling} beats the optimum of {name}: {share:.3f}")
        for pooling in TASKS[name].home:
            share, error = rules[pooling]
            require(share > 0.95 - 2 * error, f"{pooling} at home in {name}: {share:.3f}")
    for name, other, home in BEHIND:
        if results["sizes"] == SIZES["quick"]._asdict() and name in SIMILAR:
            continue
        (low, low_error), (high, high_error) = found[name][other], found[name][home]
        difference, error = high - low, np.hypot(low_error, high_error)
        require(difference > 2 * error, f"{other} is not behind {home} in {name}: {difference:.3f}")


def conclusions(results: Mapping[str, Any]) -> None:
    found = {
        name: {p: summary(scores, p) for p in scores["shares"]}
        for name, scores in results["tasks"].items()
    }

    def ahead(task: str, first: str, second: str) -> float:
        return found[task][first][0] - found[task][second][0]

    for name, rules in found.items():
        gain = ahead(name, "gated-attention", "attention")
        error = np.hypot(rules["gated-attention"][1], rules["attention"][1])
        require(gain < 2 * error, f"gated attention wins in {name}")
        if name != "spread":
            gain = ahead(name, "max", "attention")
            alone = 0.1 if name == "events of any number" else 0.001
            require(gain < alone, f"max is better than attention in {name}")
    require(ahead("events of any number", "sum", "mean") > 0.15, "the number of events is no use")
    require(abs(ahead("events", "sum", "mean")) < 0.02, "mean and sum differ with bags of one size")
    witness = found["witness"]
    require(max(witness, key=lambda p: witness[p][0]) == "noisy-or", "noisy-or loses its home")
    for pooling in ("log-sum-exp", "attention", "gated-attention"):
        behind = ahead("witness", "noisy-or", pooling)
        error = np.hypot(witness["noisy-or"][1], witness[pooling][1])
        require(
            behind < 2 * error,
            f"{pooling} is {behind:.3f} ± {error:.3f} behind noisy-or in witness; it should be as "
            "good within two errors",
        )
    for name, rules in found.items():
        for pooling in TASKS[name].home:
            share, error = rules[pooling]
            require(
                share > 0.99 - error,
                f"{pooling} at home in {name}: {share:.3f} is not within a per cent of the optimum",
            )
    for pooling in found["events of any number"]:
        if pooling != "sum":
            require(
                ahead("events of any number", "sum", pooling) > 0.1,
                f"{pooling} is nearly as good as the sum in events of any number",
            )
    for name, little in (("spread", 1.0), ("level", 0.001)):
        best, others = found[name]["log-sum-exp"], found[name].items()
        second = max(v for p, v in others if p != "log-sum-exp")
        gain, error = best[0] - second[0], np.hypot(best[1], second[1])
        require(
            2 * error < gain < little,
            f"log-sum-exp is {gain:.4f} ± {error:.4f} ahead of the second best in {name}; it "
            f"should be ahead by two errors, and by less than {little}",
        )
    for name in ("events", "events of any number"):
        worst = min(found[name], key=lambda p, name=name: found[name][p][0])
        require(worst == "noisy-or", f"{worst} is the worst rule for {name}")
    near = [
        name
        for name, rules in found.items()
        if max(v for v, _ in rules.values()) - rules["attention"][0] < 0.01
    ]
    require(len(near) >= 6, f"attention is within a per cent in {near} alone")
    spread = {p: v for p, (v, _) in found["spread"].items()}
    for pooling, value in spread.items():
        wide = pooling in ("max", "log-sum-exp")
        require((value > 0.9) == wide, f"{pooling} of the spread: {value:.2f}")
    for pooling in ("mean", "sum"):
        value = spread[pooling]
        require(value < 0.1, f"{pooling} keeps {value:.2f} of the spread, where nearly all is lost")
    for name in ("largest", "level", "selected mean", "banded mean"):
        for pooling in ("mean", "sum"):
            loss = ahead(name, "attention", pooling)
            require(0.07 < loss < 0.25, f"{pooling} loses {loss:.2f} in {name}")


def tables(results: Mapping[str, Any]) -> str:
    titles = ["task", *POOLINGS]
    rows = []
    for name, scores in results["tasks"].items():
        cells = [pair(*summary(scores, p)) if p in scores["shares"] else "—" for p in POOLINGS]
        rows.append([TASKS[name].title, *cells])
    sizes = results["sizes"]
    text = (
        "The table shows the score (explained variance or information) divided by the best "
        f"possible score. It is the mean of {sizes['trainings']} trainings with different bags: "
        f"{sizes['train']} bags for the training and {sizes['test']} for the test."
    )
    return f"{text}\n\n{markdown(titles, rows)}"


def figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    return {"where each rule wins": _heat_map(results)}


def _heat_map(results: Mapping[str, Any]) -> Figure:
    """What is missing to the optimum, task by task and rule by rule, in per cent."""
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    from milinfer.plotting.results import PALETTE, styled

    names = list(results["tasks"])
    missing = np.full((len(names), len(POOLINGS)), np.nan)
    errors = np.zeros_like(missing)
    for row, name in enumerate(names):
        for column, pooling in enumerate(POOLINGS):
            if pooling in results["tasks"][name]["shares"]:
                share, error = summary(results["tasks"][name], pooling)
                missing[row, column], errors[row, column] = 100 * (1 - share), 100 * error
    with styled():
        figure = Figure(figsize=(9.2, 5.2), layout="constrained")
        axes = figure.add_subplot()
        shown = np.clip(missing, 0.1, 100)
        image = axes.imshow(shown, norm=LogNorm(0.1, 100), cmap="Blues", aspect="auto")
        for row, column in np.argwhere(np.isfinite(missing)):
            value, error = missing[row, column], errors[row, column]
            digits = 1 if value >= 2 else 2
            axes.text(
                column,
                row,
                f"{value:.{digits}f}\n± {error:.{digits}f}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if shown[row, column] > 8 else "black",
            )
            # All that are the best one within two errors.
            best = int(np.nanargmin(missing[row]))
            excess = value - missing[row, best]
            if excess <= 2 * np.hypot(error, errors[row, best]):
                box = Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False)
                box.set(edgecolor=PALETTE[1], linewidth=2)
                axes.add_patch(box)
        for row, column in np.argwhere(np.isnan(missing)):
            axes.text(column, row, "—", ha="center", va="center", color="grey")
        axes.set_xticks(range(len(POOLINGS)), [p.replace("-att", "-\natt") for p in POOLINGS])
        axes.set_yticks(range(len(names)), [TASKS[name].title for name in names])
        axes.tick_params(which="both", length=0)
        axes.minorticks_off()
        axes.xaxis.set_ticks_position("top")
        figure.colorbar(image, ax=axes, label="missing to the optimum [%]", pad=0.02)
    return figure


def made_with(size: str) -> dict[str, Any]:
    return {
        "bag": BAG,
        "shift": SHIFT,
        "witness": WITNESS,
        "settings": SETTINGS,
        "size": SIZES[size],
        "tasks": list(TASKS),
        "classifier": mil.BagClassifier(**SETTINGS).get_params(),
        "regressor": mil.BagRegressor(**SETTINGS).get_params(),
    }


def quotes(results: Mapping[str, Any]) -> list[str]:  # noqa: ARG001
    return [
        f"differ by {SHIFT} σ between signal and background bags",
        "the instances whose other feature exceeds 0.5",
        "within ±0.5",
    ]


STUDY = Study(
    name="pooling",
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
