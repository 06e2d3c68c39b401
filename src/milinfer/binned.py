"""A histogram as an LLR model, so that it goes through the same toys as a network.

The shape likelihood of a histogram is a product over events of bin probabilities; so each event
contributes ``ln f_b(θ)/f_b(θ0)`` of its bin, exactly what :class:`milinfer.templates.TemplateCost`
minimises for one dataset with pyhf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from milinfer.exceptions import TemplateError
from milinfer.samples import Sample
from milinfer.surface import Interpolation
from milinfer.typing import FloatArray

if TYPE_CHECKING:
    from milinfer.templates import Templates

__all__ = ["BinnedLLR"]


@dataclass(frozen=True, eq=False)
class BinnedLLR:
    """Shape likelihood ratio of a histogram.

    Parameters
    ----------
    name
        Name of the method.
    templates
        The templates.
    parameter
        Name of the parameter.
    interpolation
        Grid on which the ratio is tabulated (a spline between).
    reference
        θ0.
    """

    name: str
    templates: Templates
    parameter: str
    interpolation: Interpolation
    reference: float = 0.0

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name of the parameter, as a tuple."""
        return (self.parameter,)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Ln f_b(θ_k)/f_b(θ0) of each event's bin, shape (n_events, K).

        Raises
        ------
        TemplateError
            If a bin has no expected events at some θ but the sample has some there.
        """
        bins = self.templates.bin_index(sample)
        grid = np.append(self.interpolation.grid, self.reference)
        fractions = np.stack([self.templates.fractions({self.parameter: t}) for t in grid], axis=1)
        empty = np.flatnonzero(np.any(fractions <= 0, axis=1))
        if np.isin(bins, empty).any():
            title = self.templates.observable_name
            msg = f"{self.name}: bin {empty[0]} of {title} is empty at some θ"
            raise TemplateError(msg)
        logs = np.log(np.where(fractions > 0, fractions, 1.0))
        table: FloatArray = logs[:, :-1] - logs[:, -1:]
        return table[bins]
