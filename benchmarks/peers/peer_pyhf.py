"""pyhf and cabinetry: the histogram of a score, with the best bins, at each θ of a grid.

The histogram is in the arrays: neither package makes observables or bins.  Both fit the
normalisation at each θ, as the rate is not part of the comparison.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from plain import Events, Fitted, Problem, main

SETTINGS = (
    "20 bins of the score of a network with joint labels; the bins are chosen for the largest "
    "information on the half of the training events that trained the network, and filled with the "
    "other half; the normalisation is fitted at each of 21 values of θ"
)
SOURCE = "bins: milinfer.binned.score_templates; fits: defaults of the package"


def _workspace(shares: np.ndarray, counts: np.ndarray) -> dict:
    """A channel whose one sample has a free normalisation."""
    n = float(counts.sum())
    modifier = {"name": "mu", "type": "normfactor", "data": None}
    sample = {"name": "signal", "data": (n * shares).tolist(), "modifiers": [modifier]}
    return {
        "channels": [{"name": "score", "samples": [sample]}],
        "observations": [{"name": "score", "data": counts.astype(float).tolist()}],
        "measurements": [{"name": "fit", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


def _fitted(problem: Problem, minimum: Callable[[np.ndarray, np.ndarray], float]) -> Fitted:
    shares = np.asarray(problem.facts["bins"])
    logs = np.log(shares)
    centre = int(np.argmin(np.abs(problem.grid)))

    def dataset(events: Events) -> np.ndarray:
        counts = np.bincount(events.bin, minlength=shares.shape[1])
        return np.array([-minimum(row, counts) for row in shares])

    return Fitted(
        lambda events: (logs - logs[centre]).T[events.bin],
        SETTINGS,
        SOURCE,
        dataset=dataset,
        timed=5,
        # Without the network there are no bins.
        facts={
            "train_cpu_s": problem.facts["bins_cpu_s"],
            "evaluate_cpu_us_per_event": problem.facts["bin_cpu_us_per_event"],
        },
    )


def pyhf_fits(problem: Problem, seed: int, quick: bool) -> Fitted:  # noqa: ARG001
    import pyhf

    def minimum(shares: np.ndarray, counts: np.ndarray) -> float:
        workspace = pyhf.Workspace(_workspace(shares, counts))
        model = workspace.model()
        _, value = pyhf.infer.mle.fit(workspace.data(model), model, return_fitted_val=True)
        return float(value) / 2

    return _fitted(problem, minimum)


def cabinetry_fits(problem: Problem, seed: int, quick: bool) -> Fitted:  # noqa: ARG001
    import logging

    import cabinetry

    logging.getLogger("cabinetry").setLevel(logging.ERROR)

    def minimum(shares: np.ndarray, counts: np.ndarray) -> float:
        model, data = cabinetry.model_utils.model_and_data(_workspace(shares, counts))
        return float(cabinetry.fit.fit(model, data).best_twice_nll) / 2

    return _fitted(problem, minimum)


if __name__ == "__main__":
    main(
        ["pyhf", "cabinetry", "numpy"],
        {"pyhf, bins of a score": pyhf_fits, "cabinetry, bins of a score": cabinetry_fits},
    )
