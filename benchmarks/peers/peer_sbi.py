"""sbi: neural ratio estimation of single events, whose log-ratios add up over a dataset."""

from __future__ import annotations

import numpy as np
from plain import Events, Fitted, Problem, cores, main

SETTINGS = (
    "NRE (NRE_B) with its defaults: ResNet classifier of two blocks of 50, ten atoms, batches of "
    "200, Adam, rate 0.0005, a tenth held out, until 20 epochs without improvement; each "
    "training event once, at its own θ"
)
SOURCE = (
    "docs/how_to_guide/06_choosing_inference_method.ipynb (NLE or NRE for independent events) and "
    "11_iid_sampling_with_nle_or_nre.ipynb (defaults); NLE would have to learn the density of all "
    "features, which its guide advises against in many dimensions"
)


def nre(problem: Problem, seed: int, quick: bool) -> Fitted:
    import torch
    from sbi.inference import NRE
    from sbi.utils import BoxUniform

    torch.manual_seed(seed)
    torch.set_num_threads(cores())
    # Each event once: of repeated ones some would be held out and also learned.
    events, theta = problem.train, problem.train.theta
    low, high = problem.grid[0], problem.grid[-1]
    trainer = NRE(
        prior=BoxUniform(torch.tensor([low]).float(), torch.tensor([high]).float()),
        show_progress_bars=False,
    )
    trainer.append_simulations(
        torch.from_numpy(theta[:, None].astype(np.float32)), torch.from_numpy(events.x)
    )
    options = {"max_num_epochs": 2} if quick else {}
    network = trainer.train(**options).eval()
    epochs = trainer.summary["epochs_trained"]
    grid = torch.from_numpy(problem.grid.astype(np.float32))
    centre = int(np.argmin(np.abs(problem.grid)))

    def evaluate(events: Events) -> np.ndarray:
        x = torch.from_numpy(events.x)
        with torch.no_grad():
            logs = torch.stack(
                [network(value.expand(len(x), 1), x).reshape(-1) for value in grid], dim=1
            ).numpy()
        return logs - logs[:, [centre]]

    return Fitted(evaluate, SETTINGS, SOURCE, facts={"epochs": int(epochs[-1])})


if __name__ == "__main__":
    main(["sbi", "torch", "numpy"], {"NRE": nre})
