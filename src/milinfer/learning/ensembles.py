"""The members of a trained ensemble as models of their own.

What an ensemble gains over its members, and how far one training is from the next, is seen when
both are run on the same toys.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from milinfer.learning.bag_likelihood import BagLikelihood

__all__ = ["single_models"]


def single_models(model: BagLikelihood) -> tuple[BagLikelihood, ...]:
    """Each member of a trained ensemble, as an ensemble of one.

    Parameters
    ----------
    model
        A trained likelihood.

    Raises
    ------
    ModelError
        If it is not trained.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.learning.bag_likelihood import BagLikelihood
    >>> from milinfer.learning.networks.configs import TrainingConfig
    >>> samples = gaussian.samples(100, [-0.5, 0.0, 0.5], seed=1)
    >>> model = BagLikelihood(ensemble=2, bag_size=5, training=TrainingConfig(epochs=1))
    >>> single_models(model.fit(samples))[1]
    BagLikelihood(multiclass, bag_size=5, ensemble=1, 3 points in mu)
    """
    fitted = model.fitted
    networks = len(fitted.history) // len(fitted.members)
    return tuple(
        dataclasses.replace(
            model,
            ensemble=1,
            _fitted=dataclasses.replace(
                fitted,
                members=(member,),
                z=(z,),
                scale=(scale,),
                history=fitted.history[k * networks : (k + 1) * networks],
            ),
        )
        for k, (member, z, scale) in enumerate(
            zip(fitted.members, fitted.z, fitted.scale, strict=True)
        )
    )
