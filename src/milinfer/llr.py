"""The one interface of everything that yields a log-likelihood ratio.

Whatever can say, for each event, ``ln p(x|θ_k)/p(x|θ_0)`` at K points is an :class:`LLRModel`: a
trained bag network, the exact joint likelihood ratio of a simulation, a histogram.  A model runs
once per event; data sets, pseudo-experiments and bootstraps are sums over what it gave.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from milinfer.samples import Sample
from milinfer.surface import Interpolation, Surface
from milinfer.typing import FloatArray

__all__ = ["LLRModel", "dataset_surface"]


@runtime_checkable
class LLRModel(Protocol):
    """Per-event log-likelihood ratios at K parameter points, additive over events."""

    @property
    def name(self) -> str:
        """Short name for tables and figures."""

    @property
    def parameter(self) -> str:
        """Name of the parameter."""

    @property
    def interpolation(self) -> Interpolation:
        """Grid of parameter values and the continuation between them."""

    def event_llr(self, sample: Sample) -> FloatArray:
        """Log-likelihood ratio of every event at every grid point, shape (n_events, K)."""


def dataset_surface(model: LLRModel, data: Sample) -> Surface:
    r"""Surface of a dataset, :math:`\Lambda(D|\theta_k) = \sum_i w_i \lambda_i(\theta_k)`.

    A weighted sum, never a weighted mean: scaling all weights scales Λ, as it must.

    Parameters
    ----------
    model
        Source of the per-event ratios.
    data
        The dataset; its weights count (data have weights of one).
    """
    return model.interpolation.surface(np.einsum("i,ik->k", data.weights, model.event_llr(data)))
