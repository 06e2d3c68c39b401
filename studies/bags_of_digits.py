"""Bags of digits: is there a three in the bag, and what is the mean of its digits?

python studies/bags_of_digits.py [--size quick|full] [--seed 0]

The digits are the 1797 of scikit-learn (8 × 8 pixels).  They are split before any bag is formed:
no digit of a test bag was seen in training.  A bag holds ten.  Classification: a positive bag has
exactly one three, a negative bag none; the key instance is the three.  Regression: the label is the
mean digit; the key instance is any instance with the largest digit of the bag, which contributes
most to the mean.  Labels of single digits are never used in training.  With 45 threes to test with,
a single one that is missed costs one per cent: figures are means over several splits of the digits,
3 or 5 of them.  The last line on standard output is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import milinfer as mil

KEY_DIGIT = 3
BAG_SIZE = 10
TEST_FRACTION = 0.25
N_TRAIN, N_TEST = 4000, 2000
SPLITS = {"quick": 3, "full": 5}


class DigitBags(NamedTuple):
    """Bags (n_bags, BAG_SIZE, 64) of pixels, and the digits (n_bags, BAG_SIZE) they show."""

    pixels: np.ndarray
    digits: np.ndarray

    @property
    def positive(self) -> np.ndarray:
        return np.any(self.digits == KEY_DIGIT, axis=1).astype(int)


def split_digits(seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pixels and digits to train on and to test with; no image is in both."""
    pixels, digits = load_digits(return_X_y=True)
    parts = train_test_split(
        pixels, digits, test_size=TEST_FRACTION, stratify=digits, random_state=seed
    )
    return parts[::2], parts[1::2]


def bags_with_key(images: np.ndarray, digits: np.ndarray, n: int, rng) -> DigitBags:
    """Bags, every other one of them with one three at a random place."""
    others, keys = np.flatnonzero(digits != KEY_DIGIT), np.flatnonzero(digits == KEY_DIGIT)
    chosen = rng.choice(others, (n, BAG_SIZE))
    positive = np.arange(0, n, 2)
    places = rng.integers(BAG_SIZE, size=len(positive))
    chosen[positive, places] = rng.choice(keys, len(positive))
    return DigitBags(images[chosen], digits[chosen])


def bags_of_any(images: np.ndarray, digits: np.ndarray, n: int, rng) -> DigitBags:
    """Bags of any digits."""
    chosen = rng.integers(len(digits), size=(n, BAG_SIZE))
    return DigitBags(images[chosen], digits[chosen])


def first_ranked(model, bags: DigitBags, by: str | None = None) -> np.ndarray:
    """The digit that each bag's first instance shows."""
    first = [ranked[0] for ranked in model.key_instances(bags.pixels, by=by)]
    return bags.digits[np.arange(len(first)), first]


def classify(pooling: str, train: DigitBags, test: DigitBags, seed: int) -> dict:
    began = time.perf_counter()
    model = mil.BagClassifier(pooling, hidden=(256,), dropout=0.5, random_state=seed)
    model.fit(train.pixels, train.positive)
    seconds = time.perf_counter() - began
    key = first_ranked(model, test) == KEY_DIGIT
    return {
        "pooling": pooling,
        "accuracy": float(model.score(test.pixels, test.positive)),
        "key_instance_accuracy": float(np.mean(key[test.positive == 1])),
        "seconds": round(seconds, 1),
    }


def regress(pooling: str, train: DigitBags, test: DigitBags, seed: int) -> dict:
    began = time.perf_counter()
    model = mil.BagRegressor(pooling, hidden=(128, 128), dropout=0.1, random_state=seed)
    model.fit(train.pixels, train.digits.mean(axis=1))
    seconds = time.perf_counter() - began
    largest = test.digits.max(axis=1)
    result = {
        "pooling": pooling,
        "r2": float(model.score(test.pixels, test.digits.mean(axis=1))),
        "key_instance_accuracy": float(np.mean(first_ranked(model, test) == largest)),
        "seconds": round(seconds, 1),
    }
    if pooling != "mean":
        by_weights = first_ranked(model, test, by="weights") == largest
        result["key_instance_accuracy_by_weights"] = float(np.mean(by_weights))
    return result


def one_split(seed: int) -> dict[str, list[dict]]:
    """All figures of one split of the digits."""
    train_digits, test_digits = split_digits(seed)
    rng = np.random.default_rng(seed)
    three = [bags_with_key(*train_digits, N_TRAIN, rng), bags_with_key(*test_digits, N_TEST, rng)]
    mean = [bags_of_any(*train_digits, N_TRAIN, rng), bags_of_any(*test_digits, N_TEST, rng)]
    return {
        "three": [classify(p, *three, seed) for p in ("noisy-or", "attention", "gated-attention")],
        "mean": [regress(p, *mean, seed) for p in ("mean", "attention")],
    }


def study(size: str, seed: int) -> dict:
    """Means over the splits, the smallest and the largest."""
    splits = [one_split(seed + number) for number in range(SPLITS[size])]
    result: dict = {"size": size, "seed": seed, "bags": [N_TRAIN, N_TEST], "splits": len(splits)}
    for task in ("three", "mean"):
        result[task] = []
        for rows in zip(*(split[task] for split in splits), strict=True):
            summary = {"pooling": rows[0]["pooling"]}
            for name in list(rows[0])[1:]:
                values = [row[name] for row in rows]
                summary[name] = round(float(np.mean(values)), 4)
                summary[f"{name}_range"] = [round(min(values), 4), round(max(values), 4)]
            result[task].append(summary)
    return result


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=sorted(SPLITS), default="quick")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    result = study(options.size, options.seed)
    result["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
