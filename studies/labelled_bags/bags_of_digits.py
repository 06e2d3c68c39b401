"""Bags of digits: is there a three in the bag, and what is the mean of its digits?

python -m studies.labelled_bags.bags_of_digits [--size quick|full] [--seed 0] [--out DIR]

The digits are the 1797 of scikit-learn (8 × 8 pixels).  A third of the images serves to choose
settings and is never tested with.  The others are tested by cross-validation: each is in test bags
once, predicted by a network that has not seen it.  A bag holds ten.  Classification: a positive bag
has exactly one three, a negative bag none; the key instance is the three.  Regression: the label is
the mean digit; the key instance is any instance with the largest digit of the bag, which
contributes most to the mean.  Labels of single digits are never used in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline

import milinfer as mil
from studies.common.frame import Study, markdown, pair, require, run

KEY_DIGIT = 3
BAG_SIZE = 10
PCA_OF_PIXELS = mil.learning.InstanceTransformer(PCA(24, random_state=0))


class Sizes(NamedTuple):
    """Folds and bags to choose settings by; folds and bags to test with.

    So many rules try the pixels themselves, too; the others see their principal components alone.
    """

    choice_folds: int
    choice_bags: int
    folds: int
    train: int
    test: int
    on_pixels: int


SIZES = {"quick": Sizes(2, 80, 2, 500, 300, 1), "full": Sizes(3, 1000, 4, 3000, 5000, 5)}


class Model(NamedTuple):
    """A rule, where the search of its settings starts, and what it tries, one after the other."""

    task: str
    pooling: str
    start: dict[str, Any]
    grid: dict[str, list[Any]]


# As the defaults were when the results were made.
TRAINING: dict[str, Any] = {"activation": "relu", "l2": 1e-5, "patience": 5, "batch_size": 32}
_CLASSIFIER: dict[str, Any] = {"hidden": (64,), "dropout": 0.25, "learning_rate": 0.01}
_REGRESSOR: dict[str, Any] = {"hidden": (64, 64), "dropout": 0.1, "learning_rate": 0.01}
_THREE = {"hidden": [(64,), (128,)], "dropout": [0.25, 0.0, 0.5], "learning_rate": [0.01, 3e-3]}
_MEAN = {"hidden": [(64, 64), (128, 128)], "dropout": [0.1, 0.0]}
MODELS = {
    "quick": (
        Model("three", "noisy-or", _CLASSIFIER, {}),
        Model("three", "attention", _CLASSIFIER, {}),
        Model("mean", "attention", _REGRESSOR, {}),
    ),
    "full": (
        *(Model("three", p, _CLASSIFIER, _THREE) for p in ("noisy-or", "attention")),
        Model("three", "gated-attention", _CLASSIFIER, _THREE),
        *(Model("mean", p, _REGRESSOR, _MEAN) for p in ("mean", "attention")),
    ),
}
# Of [ML], on MNIST; ours for the key instances of the three.  (score, key instances)
BARS = {"three": (0.96, 0.95), "mean": (0.73, 0.89)}
SCORES = {"three": "accuracy", "mean": "R²"}


class Digits(NamedTuple):
    """Images (n, 64) and what they show (n,)."""

    pixels: np.ndarray
    digits: np.ndarray

    def take(self, chosen: np.ndarray) -> Digits:
        return Digits(self.pixels[chosen], self.digits[chosen])


class DigitBags(NamedTuple):
    """Bags (n_bags, BAG_SIZE, 64) of pixels, the digits (n_bags, BAG_SIZE), and labels."""

    pixels: np.ndarray
    digits: np.ndarray
    labels: np.ndarray


def set_apart(seed: int) -> tuple[Digits, Digits]:
    """A third of the images to choose settings by, and the others to test with."""
    parts = train_test_split(
        np.arange(1797), test_size=2 / 3, stratify=all_digits().digits, random_state=seed
    )
    return all_digits().take(np.sort(parts[0])), all_digits().take(np.sort(parts[1]))


def all_digits() -> Digits:
    return Digits(*load_digits(return_X_y=True))


def form_bags(task: str, images: Digits, n: int, rng: np.random.Generator) -> DigitBags:
    """Bags of a task: every other one with a three, or bags of any digits with their means."""
    if task == "mean":
        chosen = rng.integers(len(images.digits), size=(n, BAG_SIZE))
        digits = images.digits[chosen]
        return DigitBags(images.pixels[chosen], digits, digits.mean(axis=1))
    chosen = rng.choice(np.flatnonzero(images.digits != KEY_DIGIT), (n, BAG_SIZE))
    positive = np.arange(n) % 2 == 0
    keys = rng.choice(np.flatnonzero(images.digits == KEY_DIGIT), positive.sum())
    chosen[positive, rng.integers(BAG_SIZE, size=len(keys))] = keys
    return DigitBags(images.pixels[chosen], images.digits[chosen], positive.astype(int))


def image_folds(images: Digits, folds: int, seed: int) -> list[tuple[Digits, Digits]]:
    """Images to train on and to test with: each is tested with once."""
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    parts = splitter.split(images.pixels, images.digits)
    return [(images.take(train), images.take(test)) for train, test in parts]


def pipeline(model: Model, seed: int, on_pixels: bool = True) -> Any:
    """A rule as it stands where the search starts: on the pixels themselves, if they are tried."""
    kind = mil.BagClassifier if model.task == "three" else mil.BagRegressor
    estimator = kind(model.pooling, random_state=seed, **TRAINING, **model.start)
    steps = make_pipeline(PCA_OF_PIXELS, estimator)
    return steps.set_params(instancetransformer="passthrough") if on_pixels else steps


def choose(
    model: Model, images: Digits, sizes: Sizes, seed: int, on_pixels: bool = True
) -> mil.learning.SearchResult:
    """Settings by stepwise search.  No image is in bags on both sides of a fold."""
    rng = np.random.default_rng([seed, 1])
    bags, folds, start = [], [], 0
    for parts in image_folds(images, sizes.choice_folds, seed):
        both = [form_bags(model.task, part, sizes.choice_bags, rng) for part in parts]
        rows = start + np.arange(2 * sizes.choice_bags).reshape(2, -1)
        folds.append((rows[0], rows[1]))
        bags += both
        start += rows.size
    estimator = pipeline(model, seed, on_pixels)
    prefix = estimator.steps[-1][0]
    images_as = [*(["passthrough"] if on_pixels else []), PCA_OF_PIXELS]
    grid: dict[str, list[Any]] = {"instancetransformer": images_as}
    grid |= {f"{prefix}__{name}": values for name, values in model.grid.items()}
    pixels = np.concatenate([b.pixels for b in bags])
    labels = np.concatenate([b.labels for b in bags])
    return mil.learning.stepwise_search(estimator, pixels, labels, grid, folds=folds, seed=seed)


def instances_of(fitted: Any, bags: DigitBags) -> Any:
    """What the last step of a pipeline sees."""
    return fitted[:-1].transform(bags.pixels)


def tested(fitted: Any, model: Model, test: DigitBags) -> dict[str, float]:
    """Score, how often the key instance comes first, and the rank correlation with the digits."""
    instances, last = instances_of(fitted, test), fitted[-1]
    score = float(fitted.score(test.pixels, test.labels))
    if model.task == "three":
        key = test.digits == KEY_DIGIT
        first = mil.learning.first_accuracy(last.instance_weights(instances), key)
        return {"score": score, "key": first.value}
    ranks = {"": last.instance_contributions(instances)}
    if model.pooling != "mean":
        ranks[" by weights"] = last.instance_weights(instances)
    values = {"score": score}
    for by, given in ranks.items():
        values[f"key{by}"] = mil.learning.first_accuracy(given, test.digits).value
        values[f"rank{by}"] = mil.learning.rank_accuracy(given, test.digits).value
    return values


def study(size: str, seed: int) -> dict[str, Any]:
    """Settings from the digits set apart; scores of every fold of the others."""
    sizes = SIZES[size]
    apart, others = set_apart(seed)
    result: dict[str, Any] = {"sizes": sizes._asdict(), "images": {}, "models": []}
    result["images"] = {
        "to choose by": len(apart.digits),
        "tested": len(others.digits),
        "threes tested": int(np.sum(others.digits == KEY_DIGIT)),
    }
    examples: dict[str, Any] = {}
    for place, model in enumerate(MODELS[size]):
        search = choose(model, apart, sizes, seed, on_pixels=place < sizes.on_pixels)
        folds = []
        for number, (train, test) in enumerate(image_folds(others, sizes.folds, seed)):
            rng = np.random.default_rng([seed, 2, number])
            known = Digits(*(np.concatenate(both) for both in zip(apart, train, strict=True)))
            bags = form_bags(model.task, known, sizes.train, rng)
            unseen = form_bags(model.task, test, sizes.test, rng)
            fitted = pipeline(model, seed + number).set_params(**search.best_settings)
            fitted.fit(bags.pixels, bags.labels)
            folds.append(tested(fitted, model, unseen))
            if model.task == "three" and model.pooling in {"noisy-or", "attention"} and not number:
                _show(examples, model.pooling, fitted, unseen)
        result["models"].append(
            {
                "task": model.task,
                "pooling": model.pooling,
                "settings": {name: str(v) for name, v in search.best_settings.items()},
                "settings tried": len(search.history),
                "folds": {name: [fold[name] for fold in folds] for name in folds[0]},
            }
        )
    result["examples"] = examples
    return result


_PIXEL = "0123456789abcdefg"  # one character for each of the 17 shades


def _show(examples: dict[str, Any], pooling: str, fitted: Any, bags: DigitBags) -> None:
    """Keep two positive bags, a negative one and the first that is mistaken, with their weights."""
    if not examples:
        wrong = np.flatnonzero(fitted.predict(bags.pixels) != bags.labels)
        chosen = [0, 2, 1, *(b for b in wrong[:1].tolist() if b > 2)]
        examples["bags"] = chosen
        examples["labels"] = bags.labels[chosen].tolist()
        examples["images"] = [
            ["".join(_PIXEL[int(p)] for p in image) for image in bag] for bag in bags.pixels[chosen]
        ]
    some = DigitBags(*(part[examples["bags"]] for part in bags))
    weights = fitted[-1].instance_weights(instances_of(fitted, some))
    examples[pooling] = {
        "weights": [[round(float(w), 4) for w in bag] for bag in weights],
        "probabilities": [round(float(p), 4) for p in fitted.predict_proba(some.pixels)[:, 1]],
    }


def mean_and_error(results: Mapping[str, Any], row: Any, name: str) -> tuple[float, float]:
    """Over the folds; the error is from their spread, and from the number of threes if larger."""
    values = row["folds"][name]
    value, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    if row["task"] == "three":
        error = max(error, np.sqrt(value * (1 - value) / results["images"]["threes tested"]))
    return value, error


def check(results: Mapping[str, Any]) -> None:
    """Means over the folds reach the seed's figures; the small size may miss by two errors."""
    slack = 2.0 if results["sizes"]["folds"] < SIZES["full"].folds else 0.0
    for row in results["models"]:
        title = f"{row['pooling']}, {row['task']}"
        for name, bar in zip(("score", "key"), BARS[row["task"]], strict=True):
            value, error = mean_and_error(results, row, name)
            # A mean has no weights of its own; its contributions are reported, not promised.
            if (row["task"], row["pooling"], name) != ("mean", "mean", "key"):
                require(value >= bar - slack * error, f"{name} of {title}: {value:.4f} < {bar}")
        if "key by weights" in row["folds"]:
            by_weights = mean_and_error(results, row, "key by weights")[0]
            contributions = mean_and_error(results, row, "key")[0]
            require(contributions > by_weights + 0.1, f"weights alone find the key of {title}")


def conclusions(results: Mapping[str, Any]) -> None:
    three = [r for r in results["models"] if r["task"] == "three"]
    scores = [mean_and_error(results, r, "score")[0] for r in three]
    require(max(scores) - min(scores) < 0.01, f"rules differ in accuracy: {np.round(scores, 3)}")
    for row in three:
        key, score = (mean_and_error(results, row, name)[0] for name in ("key", "score"))
        require(key > score, f"{row['pooling']}: the three is first less often than bags are right")
        require(key > 0.985, f"{row['pooling']}: the three is first in {key:.3f} of the bags alone")
    for row in results["models"]:
        chosen = row["settings"]["instancetransformer"]
        require("PCA" in chosen, f"the search of {row['pooling']} preferred pixels")


def tables(results: Mapping[str, Any]) -> str:
    rows = []
    for row in results["models"]:
        bars = BARS[row["task"]]
        cells = [pair(*mean_and_error(results, row, name)) for name in ("score", "key")]
        ranges = [f"{min(v):.3f} to {max(v):.3f}" for v in (row["folds"]["score"],)]
        settings = ", ".join(_setting(n, v) for n, v in row["settings"].items())
        name = f"{'is there a three' if row['task'] == 'three' else 'mean digit'}: {row['pooling']}"
        score = f"{SCORES[row['task']]} {cells[0]}"
        rows.append([name, score, *ranges, bars[0], cells[1], bars[1], settings])
    titles = [
        "task: pooling",
        "score",
        "range of the folds",
        "to reach",
        "key instance first",
        "to reach",
        "settings",
    ]
    weights = [
        pair(*mean_and_error(results, row, "key by weights"))
        for row in results["models"]
        if "key by weights" in row["folds"]
    ]
    images, sizes = results["images"], results["sizes"]
    text = (
        f"Each of {images['tested']} images ({images['threes tested']} of them threes) is in test "
        f"bags of exactly one of {sizes['folds']} folds. {images['to choose by']} more images were "
        f"used to choose the settings. Each fold has {sizes['train']} bags for the training and "
        f"{sizes['test']} for the test. The errors come from the spread of the folds, or from the "
        "number of threes if this error is larger. If instances are ranked by their attention "
        f"alone, the largest digit comes first in {', '.join(weights)} of the "
        f"bags.{_ranks(results)}"
    )
    return f"{markdown(titles, rows)}\n\n{text}"


def _ranks(results: Mapping[str, Any]) -> str:
    """Sentence about rank correlations; results before they were measured have none."""
    parts = []
    for row in results["models"]:
        for name, what in (("rank", "contributions"), ("rank by weights", "weights")):
            if name in row["folds"]:
                value = pair(*mean_and_error(results, row, name))
                parts.append(f"{value} ({row['pooling']}, by {what})")
    if not parts:
        return ""
    return (
        " Spearman's correlation between the contributions or weights of the instances of a bag "
        "and their digits, which milearn calls the accuracy of the key instances of a regression, "
        f"is {', '.join(parts)}."
    )


def _setting(name: str, value: str) -> str:
    short = name.rpartition("__")[2]
    if short == "instancetransformer":
        return "pixels" if value == "passthrough" else "24 principal components"
    return f"{short} {value}"


def figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    return {"scores": _scores(results), "bags": _bags(results["examples"])}


def _scores(results: Mapping[str, Any]) -> Figure:
    """Every fold, their mean, and the bar."""
    from milinfer.plotting.results import PALETTE, styled

    titles = {"three": "is there a three?", "mean": "mean digit"}
    with styled():
        figure = Figure(figsize=(8.4, 3.2), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, task in zip(panels, titles, strict=True):
            rows = [row for row in results["models"] if row["task"] == task]
            labels = (SCORES[task], "key instance first")
            for i, (name, label) in enumerate(zip(("score", "key"), labels, strict=True)):
                places = np.arange(len(rows)) + 0.24 * (i - 0.5)
                for x, row in zip(places, rows, strict=True):
                    values = row["folds"][name]
                    dots = {"ms": 4, "alpha": 0.4, "clip_on": False, "color": PALETTE[i]}
                    axes.plot([x] * len(values), values, "o", **dots)
                means = [np.mean(row["folds"][name]) for row in rows]
                axes.plot(places, means, "_", color=PALETTE[i], ms=16, mew=2.5, label=label)
                style = {"color": PALETTE[i], "ls": ":", "lw": 1.2}
                axes.axhline(BARS[task][i], **style)
            axes.set_xticks(range(len(rows)), [row["pooling"] for row in rows])
            axes.tick_params(axis="x", which="both", length=0)
            axes.set_xlim(-0.5, len(rows) - 0.5)
            lowest = min(*BARS[task], *(v for r in rows for v in r["folds"]["score"]))
            axes.set_ylim(1 - 1.5 * (1 - lowest), 1.0)  # room for the legend
            axes.set_title(titles[task])
            axes.legend(loc="lower right")
        panels[0].set_ylabel("fraction, R²")
    return figure


def _bags(examples: Mapping[str, Any]) -> Figure:
    """Digits of some bags; above them the probability of noisy-or, below them the attention."""
    from milinfer.plotting.results import PALETTE, styled

    n = len(examples["bags"])
    with styled():
        figure = Figure(figsize=(8.4, 1.05 * n), layout="constrained")
        grid = figure.subplots(n, BAG_SIZE + 1, width_ratios=[2.6, *[1] * BAG_SIZE], squeeze=False)
        for b, panels in enumerate(grid):
            kind = "a three" if examples["labels"][b] else "no three"
            odds = {p: examples[p]["probabilities"][b] for p in ("noisy-or", "attention")}
            lines = [kind, *(f"{p}: p = {value:.2f}" for p, value in odds.items())]
            panels[0].axis("off")
            panels[0].text(0, 0.5, "\n".join(lines), va="center", fontsize=9)
            for i, axes in enumerate(panels[1:]):
                image = np.array([_PIXEL.index(c) for c in examples["images"][b][i]]).reshape(8, 8)
                axes.imshow(image, cmap="Greys", vmin=0, vmax=16)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.minorticks_off()
                shares = [examples[p]["weights"][b][i] for p in ("noisy-or", "attention")]
                axes.set_title(f"{shares[0]:.2f}", color=PALETTE[0], fontsize=8, pad=2)
                axes.set_xlabel(
                    f"{shares[1]:.2f}", color=PALETTE[1], fontsize=8, labelpad=2, loc="center"
                )
                for spine in axes.spines.values():
                    spine.set(color=PALETTE[0], linewidth=0.4 + 3 * shares[0])
    return figure


def made_with(size: str) -> dict[str, Any]:
    return {
        "size": SIZES[size],
        "models": MODELS[size],
        "classifier": mil.BagClassifier(**TRAINING, **_CLASSIFIER).get_params(),
        "regressor": mil.BagRegressor(**TRAINING, **_REGRESSOR).get_params(),
    }


def quotes(results: Mapping[str, Any]) -> list[str]:
    threes = results["images"]["threes tested"]
    three = [r for r in results["models"] if r["task"] == "three"]
    folds = [x for r in three for x in r["folds"]["score"]]
    keys = [mean_and_error(results, r, "key")[0] for r in three]
    return [
        f"contain {threes} threes. One missed three is {100 / threes:.1f} % of the key",
        f"The accuracy of single folds goes from {min(folds):.2f} to {max(folds):.0f}",
        f"The three comes first in {100 * np.mean(keys):.0f} % of the positive bags",
    ]


STUDY = Study(
    name="bags_of_digits",
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
