"""torchmil: attention over the instances of a bag, as its first example trains it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from plain import cores, main

HELD_OUT, EPOCHS, BATCH = 0.2, 20, 32


def attention(
    task: str, train: list[np.ndarray], labels: np.ndarray, seed: int, quick: bool
) -> Callable[[list[np.ndarray]], np.ndarray]:
    """ABMIL with the network of its first example (512, 256; attention 128), Adam 0.005, 20 epochs of batches of 32, the network of the epoch with the lowest loss on a held-out fifth of the bags."""  # noqa: E501
    import torch
    from tensordict import TensorDict
    from torchmil.data import collate_fn
    from torchmil.models import ABMIL
    from torchmil.utils import Trainer

    torch.set_num_threads(cores())
    torch.manual_seed(seed)
    regression = task == "means"
    criterion = torch.nn.MSELoss() if regression else torch.nn.BCEWithLogitsLoss()

    def loader(bags: list[np.ndarray], values: np.ndarray, shuffle: bool) -> object:
        made = [
            TensorDict({"X": torch.from_numpy(b), "Y": torch.tensor(v, dtype=torch.float32)})
            for b, v in zip(bags, values, strict=True)
        ]
        return torch.utils.data.DataLoader(
            made, batch_size=BATCH, shuffle=shuffle, collate_fn=collate_fn
        )

    order = np.random.default_rng(seed).permutation(len(train))
    test, fit = np.split(order, [int(HELD_OUT * len(train))])
    width = train[0].shape[1]
    model = ABMIL(
        in_shape=(width,),
        att_dim=128,
        feat_ext=torch.nn.Sequential(
            torch.nn.Linear(width, 512), torch.nn.ReLU(), torch.nn.Linear(512, 256)
        ),
        criterion=criterion,
    )
    trainer = Trainer(
        model,
        torch.optim.Adam(model.parameters(), lr=0.005),
        metrics_dict={},
        obj_metric=type(criterion).__name__,
        obj_metric_mode="min",
        device="cpu",
        disable_pbar=True,
        verbose=False,
    )
    trainer.train(
        max_epochs=2 if quick else EPOCHS,
        train_dataloader=loader([train[k] for k in fit], labels[fit], shuffle=True),
        val_dataloader=loader([train[k] for k in test], labels[test], shuffle=False),
    )
    model = trainer.get_best_model()
    model.eval()

    def predict(bags: list[np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            found = torch.cat(
                [model(b["X"], b["mask"]) for b in loader(bags, np.zeros(len(bags)), shuffle=False)]
            )
        return (found if regression else torch.sigmoid(found)).numpy()

    return predict


if __name__ == "__main__":
    main(["torchmil", "torch", "numpy"], {}, {"ABMIL": attention})
