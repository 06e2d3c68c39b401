"""A pyhf model, tied to the parameters by EFT morphing, as an iminuit cost."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from iminuit.cost import CHISQUARE, Cost

from milinfer.binned.barlow_beeston import profile_bins
from milinfer.binned.histograms import as_counts
from milinfer.binned.template_diagnosis import FEW_EXPECTED
from milinfer.binned.template_workspace import pyhf_channel
from milinfer.exceptions import MilinferWarning, TemplateError
from milinfer.typing import FloatArray

if TYPE_CHECKING:
    from milinfer.binned.templates import Templates

__all__ = ["TemplateCost"]


class TemplateCost(Cost):  # type: ignore[misc]  # iminuit has no type information here
    """Cost −2 ln L of binned data, with the likelihood of :mod:`pyhf`.

    The pyhf model has one sample for each point of the morphing basis, each with a normalisation
    factor; this cost ties the factors to the parameters, w_k(θ), which pyhf 0.7 cannot.  Without
    the rate the factors are scaled so that the total is the number of events observed: the
    multinomial likelihood of the shape, up to a constant.

    With Monte-Carlo errors the model has a ``staterror``: a factor γ_b for each bin with a Gaussian
    constraint.  The best factors for given parameters are known in closed form
    (:mod:`milinfer.binned.barlow_beeston`), so the cost is that of pyhf at these: Minuit sees the
    parameters alone, and finds the minimum and the MINOS interval of a fit of all factors.

    The parameters carry limits, which Minuit takes over: the range of the samples, and for one
    parameter the part of it in which every bin is positive.

    Parameters
    ----------
    templates
        The templates.
    counts
        Observed counts, shape (n_bins,).
    rate
        Whether the number of events counts.
    mc_stat
        Whether the Monte-Carlo errors of the templates count.  The widths of the constraints are
        the errors at ``templates.reference``, as pyhf has one width for a bin;
        ``templates.relative_errors(point)`` says what they are elsewhere.
    name
        Of the pyhf channel; default: of the observable.

    Raises
    ------
    TemplateError
        If the counts do not fit the templates, there are none, a morphed bin is not positive, or
        a fit with the rate has no luminosity.

    Warns
    -----
    MilinferWarning
        If a bin expects fewer than 5 events at the reference.

    Notes
    -----
    The factors make intervals wide enough *on average over templates*.  One set of templates is
    off by one fixed amount in all experiments that use it; no width repairs that for this set, and
    toys thrown with it fixed may cover more or less than claimed.

    Examples
    --------
    >>> from iminuit import Minuit
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> samples = gaussian.samples(20_000, [-0.5, -0.25, 0.0, 0.25, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=8, degree=2)
    >>> cost = templates.cost(gaussian.generate(1000, 0.1, seed=2))
    >>> m = Minuit(cost, mu=0.0).migrad()
    >>> m.valid, bool(abs(m.values["mu"] - 0.1) < 3 * m.errors["mu"])
    (True, True)
    >>> pars, data = cost.pyhf_parameters(0.1), cost.pyhf_data
    >>> bool(np.isclose(cost(0.1), -2 * cost.model.logpdf(pars, data)[0], rtol=1e-12))
    True
    """

    def __init__(
        self,
        templates: Templates,
        counts: FloatArray,
        *,
        rate: bool = False,
        mc_stat: bool = True,
        name: str | None = None,
    ) -> None:
        import pyhf

        if rate and templates.luminosity is None:
            msg = f"{templates.observable_name}: a fit with the rate needs luminosity= in 1/fb"
            raise TemplateError(msg)
        self.templates = templates
        self.name = name or templates.observable_name
        self.counts = as_counts(counts, templates.n_bins, self.name)
        self.rate = rate
        self.mc_stat = mc_stat
        self.relative_errors = (
            templates.relative_errors(templates.reference)
            if mc_stat
            else np.zeros(templates.n_bins)
        )
        # Without the rate any scale does; this one keeps the factors of order one.
        total = templates.cross_sections(templates.reference).sum()
        scale = 1000.0 * (templates.luminosity or 0.0) if rate else self.counts.sum() / total
        self._matrix = templates.basis.morphing_matrix(templates.basis_points)
        self._yields = templates.basis_yields(float(scale))
        channel = pyhf_channel(self.name, self._yields, self.relative_errors if mc_stat else None)
        self.model: Any = pyhf.Model({"channels": [channel]}, poi_name=None)
        self._warn_of_few(float(scale))
        super().__init__(dict(templates.limits), 0)

    def _warn_of_few(self, scale: float) -> None:
        expected = scale * self.templates.cross_sections(self.templates.reference)
        few = np.flatnonzero(expected < FEW_EXPECTED)
        if len(few):
            b = int(few[0])
            msg = (
                f"{self.name}: {len(few)} of {len(expected)} bins expect fewer than "
                f"{FEW_EXPECTED:g} events, first bin {b} {self.templates.bin_names[b]} with "
                f"{expected[b]:.2g}; use wider bins, or check the coverage with toys"
            )
            warnings.warn(msg, MilinferWarning, stacklevel=4)

    @property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Limits of every parameter, by name; Minuit takes them from the cost."""
        return dict(self.templates.limits)

    @property
    def pyhf_data(self) -> FloatArray:
        """Counts and auxiliary data, as ``model.logpdf`` takes them."""
        auxiliary = np.asarray(self.model.config.auxdata, dtype=np.float64)
        return np.concatenate([self.counts, auxiliary])

    def pyhf_parameters(self, *args: float) -> FloatArray:
        """Parameters of the pyhf model at θ, the best γ included, in the order of the model."""
        weights, gammas = self._factors(args)
        config = self.model.config
        values = np.empty(config.npars)
        for k, weight in enumerate(weights):
            values[config.par_slice(f"w_{k}")] = weight
        if self.mc_stat:
            values[config.par_slice(f"staterror_{self.name}")] = gammas
        return values

    def gammas(self, *args: float) -> FloatArray:
        """The best Monte-Carlo factors at θ, shape (n_bins,); ones without Monte-Carlo errors."""
        return self._factors(args)[1]

    def weights(self, args: Sequence[float]) -> FloatArray:
        """Morphing weights w_k(θ), shape (n_coefficients,), scaled to the data without the rate."""
        return self._factors(args)[0]

    def expected(self, *args: float) -> FloatArray:
        """Counts fitted at the parameter values, γ included, shape (n_bins,)."""
        weights, gammas = self._factors(args)
        fitted: FloatArray = gammas * (weights @ self._yields)
        return fitted

    def _factors(self, args: Sequence[float]) -> tuple[FloatArray, FloatArray]:
        """Normalisation factors (n_coefficients,) and γ (n_bins,)."""
        w: FloatArray = (self.templates.basis.design(args) @ self._matrix)[0]
        raw = w @ self._yields
        self.templates.require_positive(raw, self.templates.point(args))
        found = profile_bins(self.counts[None], raw[None], self.relative_errors, rate=self.rate)
        return w * found.scale[0, 0], found.gammas[0, 0]

    def _errordef(self) -> float:
        return float(CHISQUARE)

    def _ndata(self) -> int:
        return int(self.templates.n_bins)

    def _has_grad(self) -> bool:
        return True

    def _value(self, args: Sequence[float]) -> float:
        values = self.pyhf_parameters(*args)
        return -2.0 * float(np.asarray(self.model.logpdf(values, self.pyhf_data)).item())

    def _grad(self, args: Sequence[float]) -> FloatArray:
        # The profiled factors and scale are at their best, so their own derivatives drop out.
        weights, gammas = self._factors(args)
        unscaled: FloatArray = (self.templates.basis.design(args) @ self._matrix)[0]
        raw = unscaled @ self._yields
        scale = (weights @ self._yields).sum() / raw.sum()
        slopes = self.templates.basis.design_gradient(args) @ self._matrix @ self._yields
        gradient: FloatArray = -2.0 * slopes @ (self.counts / raw - scale * gammas)
        return gradient
