"""A histogram as a likelihood-ratio model, so that it can be used in the same toys as a network.

With fixed templates each event multiplies the likelihood of the shape by the probability f_b of its
bin b.  It therefore adds ``ln f_b(θ)/f_b(θ0)`` to the log-likelihood ratio Λ.  If the templates
have Monte-Carlo errors, each bin has a factor for its error.  These factors are profiled, and Λ is
no longer a sum over events.  Λ is then a function of the counts in the bins, computed for many toys
at once.  With and without Monte-Carlo errors the result agrees with
:class:`milinfer.binned.template_cost.TemplateCost`, which evaluates one dataset with pyhf.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from milinfer.binned.template_cost import profile_log_likelihood
from milinfer.binned.template_diagnosis import circular_edges
from milinfer.binned.template_histograms import TemplateHistograms
from milinfer.exceptions import TemplateError
from milinfer.likelihood.models import CountModel
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray, IntArray

__all__ = ["BinnedLLR"]


@dataclass(frozen=True, eq=False)
class BinnedLLR(CountModel):
    """Model for toys that uses the likelihood ratio of the shape of a histogram.

    Parameters
    ----------
    name
        Name of the model in tables and figures.
    templates
        Templates of the histogram.
    parameter
        Name of the parameter, or names of several.
    interpolation
        Grid of parameter values at which the ratio is tabulated, with a spline between them.  For
        several parameters the grid fills a box.
    reference
        θ0: one number for all parameters, or one for each.
    mc_stat
        Whether to profile the Monte-Carlo errors of the templates, as in
        :meth:`milinfer.Templates.cost`.

    Raises
    ------
    TemplateError
        If the bin edges were chosen with the same events that fill the templates.  Toys would give
        wrong results.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> from milinfer.toys.toys import Toys
    >>> samples = gaussian.samples(2000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=8, degree=2)
    >>> grid = Interpolation(np.linspace(-0.5, 0.5, 21), "spline")
    >>> histogram = BinnedLLR("pyhf", templates, "mu", grid)
    >>> toys = Toys(samples, n_events=200, seed=2).run([histogram], 0.0, 50)
    >>> toys["pyhf"].values.shape
    (50, 21)
    """

    name: str
    templates: TemplateHistograms
    parameter: str | tuple[str, ...]
    interpolation: Interpolation | ChebyshevBox
    reference: float | tuple[float, ...] = 0.0
    mc_stat: bool = True

    def __post_init__(self) -> None:
        for name in self.templates.circular:
            msg = f"{self.name}: {circular_edges(name)}"
            raise TemplateError(msg)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return (self.parameter,) if isinstance(self.parameter, str) else self.parameter

    @property
    def additive(self) -> bool:
        """Whether Λ is a sum over events: True without Monte-Carlo errors."""
        return not self.mc_stat

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return self.templates.n_bins

    @cached_property
    def _fractions(self) -> FloatArray:
        """Shares of the bins at the points of the grid and, last, at θ0: (K + 1, n_bins)."""
        names = self.parameters
        points = np.reshape(self.interpolation.grid, (-1, len(names)))
        reference = np.broadcast_to(np.asarray(self.reference, dtype=np.float64), (1, len(names)))
        return np.stack(
            [
                self.templates.fractions(dict(zip(names, row.tolist(), strict=True)))
                for row in np.concatenate([points, reference])
            ]
        )

    @cached_property
    def _relative_errors(self) -> FloatArray:
        return self.templates.relative_errors(self.templates.reference)

    def event_bins(self, sample: Sample) -> IntArray:
        """Bin of each event, shape (n_events,)."""
        return self.templates.bin_index(sample)

    def counts_llr(self, counts: FloatArray) -> FloatArray:
        """Log-likelihood ratio Λ of many histograms at the K points of the grid, shape (n_sets, K).

        Parameters
        ----------
        counts
            Events in each bin of each histogram, shape (n_sets, n_bins).

        Raises
        ------
        TemplateError
            If a count is negative and Monte-Carlo errors are profiled.
        """
        counts = np.asarray(counts, dtype=np.float64)
        if not self.mc_stat:
            return counts @ self.bin_llr
        if np.any(counts < 0):
            row, b = np.argwhere(counts < 0)[0]
            msg = (
                f"{self.name}: {counts[row, b]:g} events in bin {b} {self.templates.bin_names[b]} "
                f"of set {row}; the Poisson likelihood needs counts that are not negative: use "
                "events of positive weight, or wider bins"
            )
            raise TemplateError(msg)
        values = profile_log_likelihood(counts, self._fractions, self._relative_errors, rate=False)
        ratios: FloatArray = values[:, :-1] - values[:, -1:]
        return ratios

    def event_llr(self, sample: Sample) -> FloatArray:
        """Log-likelihood ratio of each event without Monte-Carlo errors, shape (n_events, K).

        It is ``ln f_b(θ_k)/f_b(θ0)`` with the probability f_b of the bin b of the event, at the K
        points θ_k of the grid.

        Raises
        ------
        TemplateError
            If a bin is not positive at a point of the grid.
        """
        return self.bin_llr[self.event_bins(sample)]

    @cached_property
    def bin_llr(self) -> FloatArray:
        """Values of :meth:`event_llr` for an event in each bin, shape (n_bins, K)."""
        logs = np.log(self._fractions)
        ratios: FloatArray = (logs[:-1] - logs[-1]).T
        return ratios
