"""mikit-learn: networks over bags with their defaults, features scaled as in its quick start.

Its search of hyperparameters trains some thirty networks one after another; milinfer's defaults are
not searched either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from plain import cores, main


def _fit(
    name: str, task: str, train: list[np.ndarray], labels: np.ndarray, seed: int, quick: bool
) -> Callable[[list[np.ndarray]], np.ndarray]:
    import torch
    from milearn.network import classifier, regressor
    from milearn.preprocessing import BagMinMaxScaler

    torch.set_num_threads(cores())
    module, end = (regressor, "Regressor") if task == "means" else (classifier, "Classifier")
    scaler = BagMinMaxScaler()
    scaler.fit(train)
    options: dict[str, Any] = {"max_epochs": 2} if quick else {}
    model = getattr(module, name + end)(random_seed=seed, **options)
    model.fit(scaler.transform(train), labels.tolist())
    return lambda bags: np.asarray(model.predict(scaler.transform(bags))).ravel()


def attention(
    task: str, train: list[np.ndarray], labels: np.ndarray, seed: int, quick: bool
) -> Callable[[list[np.ndarray]], np.ndarray]:
    """AdditiveAttentionNetwork, defaults, BagMinMaxScaler."""
    return _fit("AdditiveAttentionNetwork", task, train, labels, seed, quick)


def dynamic(
    task: str, train: list[np.ndarray], labels: np.ndarray, seed: int, quick: bool
) -> Callable[[list[np.ndarray]], np.ndarray]:
    """DynamicPoolingNetwork, defaults, BagMinMaxScaler, as in its quick start."""
    return _fit("DynamicPoolingNetwork", task, train, labels, seed, quick)


if __name__ == "__main__":
    main(
        ["mikit-learn", "torch", "numpy"],
        {},
        {"additive attention": attention, "dynamic pooling": dynamic},
    )
