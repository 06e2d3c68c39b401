"""A pyhf model, tied to the parameters by EFT morphing, as an iminuit cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from iminuit.cost import CHISQUARE, Cost

from milinfer.exceptions import TemplateError
from milinfer.typing import FloatArray

if TYPE_CHECKING:
    from milinfer.templates import Templates

__all__ = ["TemplateCost"]


class TemplateCost(Cost):  # type: ignore[misc]  # iminuit has no type information here
    """Cost −2 ln L of binned data, with the likelihood of :mod:`pyhf`.

    The pyhf model has one sample for each point of the morphing basis, each with a normalisation
    factor; this cost ties the factors to the parameters, w_k(θ), which pyhf 0.7 cannot.  Without
    the rate the factors are scaled so that the total is the number of events observed: the
    multinomial likelihood of the shape, up to a constant.

    The parameters carry the range of the samples as their limits, which Minuit takes over.

    Parameters
    ----------
    templates
        The templates.
    counts
        Observed counts, shape (n_bins,).
    rate
        Whether the number of events counts.

    Raises
    ------
    TemplateError
        If the counts do not fit the templates, there are none, a morphed bin is not positive, or
        a fit with the rate has no luminosity.

    Examples
    --------
    >>> from iminuit import Minuit
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.templates import Templates
    >>> samples = gaussian.samples(20_000, [-0.5, -0.25, 0.0, 0.25, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=8, degree=2)
    >>> m = Minuit(templates.cost(gaussian.generate(1000, 0.1, seed=2)), mu=0.0).migrad()
    >>> m.valid, bool(abs(m.values["mu"] - 0.1) < 3 * m.errors["mu"])
    (True, True)
    """

    def __init__(self, templates: Templates, counts: FloatArray, *, rate: bool = False) -> None:
        import pyhf

        counts = np.asarray(counts, dtype=np.float64)
        if counts.shape != (templates.n_bins,) or not counts.sum() > 0:
            msg = (
                f"{templates.observable_name}: counts of shape {counts.shape} with sum "
                f"{counts.sum():g} given, {templates.n_bins} bins with events expected"
            )
            raise TemplateError(msg)
        if rate and templates.luminosity is None:
            msg = f"{templates.observable_name}: a fit with the rate needs luminosity= in 1/fb"
            raise TemplateError(msg)
        self.templates = templates
        self.counts = counts
        self.rate = rate
        # Without the rate any scale does; this one keeps the factors of order one.
        total = templates.fit.coefficients[0].sum()
        scale = 1000.0 * (templates.luminosity or 0.0) if rate else counts.sum() / total
        self._matrix = templates.basis.morphing_matrix(templates.basis_points)
        self._yields = templates.basis_yields(scale)
        names = [f"w_{k}" for k in range(len(self._yields))]
        self.model: Any = pyhf.Model(
            {
                "channels": [
                    {
                        "name": templates.observable_name,
                        "samples": [
                            {
                                "name": f"basis_{k}",
                                "data": row.tolist(),
                                "modifiers": [{"name": w, "type": "normfactor", "data": None}],
                            }
                            for k, (w, row) in enumerate(zip(names, self._yields, strict=True))
                        ],
                    }
                ]
            },
            poi_name=None,
        )
        # pyhf orders parameters by itself.
        self._order = [names.index(name) for name in self.model.config.par_order]
        low, high = templates.points.min(axis=0), templates.points.max(axis=0)
        limits = {
            name: (float(a), float(b))
            for name, a, b in zip(templates.basis.parameters, low, high, strict=True)
        }
        super().__init__(limits, 0)

    def weights(self, args: Sequence[float]) -> FloatArray:
        """Morphing weights w_k(θ), shape (n_coefficients,), scaled to the data without the rate."""
        w: FloatArray = (self.templates.basis.design(args) @ self._matrix)[0]
        expected = w @ self._yields
        point = dict(zip(self.templates.basis.parameters, map(float, args), strict=True))
        self.templates.require_positive(expected, point)
        return w if self.rate else w * (self.counts.sum() / expected.sum())

    def expected(self, *args: float) -> FloatArray:
        """Expected counts at the parameter values, shape (n_bins,)."""
        return self.weights(args) @ self._yields

    def _errordef(self) -> float:
        return float(CHISQUARE)

    def _ndata(self) -> int:
        return int(self.templates.n_bins)

    def _has_grad(self) -> bool:
        return True

    def _value(self, args: Sequence[float]) -> float:
        w = self.weights(args)[self._order]
        return -2.0 * float(np.asarray(self.model.logpdf(w, self.counts)).item())

    def _grad(self, args: Sequence[float]) -> FloatArray:
        expected = self.weights(args) @ self._yields
        raw = (self.templates.basis.design(args) @ self._matrix)[0] @ self._yields
        slopes = self.templates.basis.design_gradient(args) @ self._matrix @ self._yields
        if not self.rate:
            share = expected.sum() / raw.sum()
            slopes = share * (slopes - slopes.sum(axis=1, keepdims=True) * raw / raw.sum())
        return -2.0 * slopes @ (self.counts / expected - 1.0)
