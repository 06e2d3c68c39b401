"""MadMiner: ALICES, CARL and SALLY, each as its tutorials train it.

Its SampleAugmenter reads files of its own; events are drawn from the arrays as it draws them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from madminer.ml import ParameterizedRatioEstimator, ScoreEstimator
from madminer.utils.histo import Histo
from plain import Events, Fitted, Problem, main

HELD_OUT = 0.25
RATIO = (
    "two layers of 60, tanh, alpha=10 (ALICES), 50 epochs, batches of 128, AMSGrad, rate 0.001 to "
    "0.0001, early stopping on a quarter of the events, which is held out before events are drawn; "
)
DRAWN = {
    "alices": "as many events of numerator and of denominator as training events; n_workers=0",
    # With the default each of the few events of the sample at 0 is drawn twenty times, and all toys
    # had the same estimate.
    "carl": "as many events of numerator, from the nearest sample each, and of denominator, from "
    "all samples by their weights, as training events; n_workers=0",
}
RATIO_SOURCE = (
    "network and alpha: examples/tutorial_particle_physics/3a_likelihood_ratio.ipynb (which stops "
    "after 10 epochs, since it is a tutorial); all else: defaults of "
    "ParameterizedRatioEstimator.train"
)
SCORE = (
    "two layers of 30, tanh, 50 epochs, defaults; Λ from histograms of 25 bins of the score at "
    'each θ, as mode="sally" of AsymptoticLimits; n_workers=0'
)
SCORE_SOURCE = (
    "examples/tutorial_particle_physics/3b_score.ipynb and 4a_limits.ipynb; the number of bins is "
    "the default of madminer/limits/asymptotic_limits.py"
)


def _drawn(
    problem: Problem, chosen: np.ndarray, method: str, rng: np.random.Generator
) -> list[tuple[str, np.ndarray]]:
    """Events of numerator and denominator from some of the training events, in random order."""
    part = replace(problem, train=problem.train.take(np.flatnonzero(chosen)))
    n = len(part.train)
    numerator, theta_0 = part.at_random_points(n, rng)
    # Those of the denominator follow p(x|0), and are compared with the same points.
    if method == "carl":  # sample_only_from_closest_benchmark=False
        zero = rng.choice(len(part.train), n, p=part.weights_at(0.0)[:, 0])
    else:
        zero = rng.choice(np.flatnonzero(part.train.theta == 0.0), n)
    denominator, theta_1 = part.train.take(zero), rng.permutation(theta_0)
    columns = {
        "x": (numerator.x, denominator.x),
        "y": (np.zeros(n), np.ones(n)),
        "theta": (theta_0, theta_1),
    }
    if method != "carl":
        joint = part.joint_ratio(numerator, theta_0), part.joint_ratio(denominator, theta_1)
        columns |= dict(zip(("r_xz", "t_xz"), zip(*joint, strict=True), strict=True))
    order = rng.permutation(2 * n)
    return [
        (name, np.concatenate(parts)[order].reshape(2 * n, -1).astype(np.float32))
        for name, parts in columns.items()
    ]


def _ratio(problem: Problem, method: str, seed: int, quick: bool) -> Fitted:
    import torch

    rng = np.random.default_rng(seed)
    np.random.seed(seed)  # noqa: NPY002  # MadMiner shuffles with it
    torch.manual_seed(seed)
    # It draws events with replacement.  Its own split of what was drawn would hold out copies of
    # events that the network learns, so events are held out before.
    held_out = rng.random(len(problem.train)) < HELD_OUT
    learned = _drawn(problem, ~held_out, method, rng)
    tested = {f"{name}_val": values for name, values in _drawn(problem, held_out, method, rng)}
    estimator = ParameterizedRatioEstimator(n_hidden=(60, 60), activation="tanh")
    estimator.train(
        method=method,
        **dict(learned),
        **tested,
        **({} if method == "carl" else {"alpha": 10}),
        n_epochs=2 if quick else 50,
        n_workers=0,
        scale_parameters=True,
        verbose="few",
    )

    def evaluate(events: Events) -> np.ndarray:
        found, _ = estimator.evaluate_log_likelihood_ratio(
            x=events.x, theta=problem.grid[:, None], evaluate_score=False
        )
        return found.reshape(len(problem.grid), len(events)).T

    return Fitted(evaluate, RATIO + DRAWN[method], RATIO_SOURCE)


def alices(problem: Problem, seed: int, quick: bool) -> Fitted:
    return _ratio(problem, "alices", seed, quick)


def carl(problem: Problem, seed: int, quick: bool) -> Fitted:
    return _ratio(problem, "carl", seed, quick)


def sally(problem: Problem, seed: int, quick: bool) -> Fitted:
    import torch

    rng = np.random.default_rng(seed)
    np.random.seed(seed)  # noqa: NPY002  # MadMiner shuffles with it
    torch.manual_seed(seed)
    weights = problem.weights_at(problem.grid)
    centre = int(np.argmin(np.abs(problem.grid)))
    drawn = problem.train.take(
        rng.choice(len(problem.train), len(problem.train), p=weights[:, centre])
    )
    _, score = problem.joint_ratio(drawn, np.zeros(len(drawn)))
    estimator = ScoreEstimator(n_hidden=(30, 30))
    estimator.train(
        method="sally",
        x=drawn.x,
        t_xz=score[:, None].astype(np.float32),
        n_epochs=2 if quick else 50,
        n_workers=0,
        verbose="few",
    )
    scores = estimator.evaluate_score(x=problem.train.x)
    # The edges are fixed for all points, as there.
    edges = Histo(scores, weights[:, centre], bins=25, epsilon=1e-12).edges
    histograms = [Histo(scores, w, bins=edges, epsilon=1e-12) for w in weights.T]

    def evaluate(events: Events) -> np.ndarray:
        found = estimator.evaluate_score(x=events.x)
        logs = np.stack([h.log_likelihood(found) for h in histograms], axis=1)
        return logs - logs[:, [centre]]

    return Fitted(evaluate, SCORE, SCORE_SOURCE)


if __name__ == "__main__":
    main(["madminer", "torch", "numpy"], {"ALICES": alices, "CARL": carl, "SALLY": sally})
