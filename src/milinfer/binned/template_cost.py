r"""Likelihood of histogram templates, in which their Monte-Carlo errors are profiled bin by bin.

`TemplateCost` is the cost of one dataset for iminuit.  It uses a pyhf model whose normalisation
factors are functions of the parameters (EFT morphing).  `template_workspace` writes the same model
as a HistFactory workspace.  `profile_log_likelihood` computes the likelihood of many histograms at
once, for toys.

Monte-Carlo errors are treated as in HistFactory's ``staterror`` (Barlow and Beeston, "lite"): the
expected count :math:`y_b` of a bin is multiplied by a factor :math:`\gamma_b`, which has a Gaussian
constraint with mean 1 and standard deviation :math:`\delta_b`, the relative Monte-Carlo error of
the bin.  For given :math:`y_b` and observed count :math:`n_b`, the best factor solves
:math:`\gamma_b^2 + (y_b\delta_b^2 - 1)\gamma_b - n_b\delta_b^2 = 0` (Conway, arXiv:1103.0354), so
that no minimiser is needed.  A fit of the shape also has a scale that is common to all bins.  It is
found by Newton's method.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from iminuit.cost import CHISQUARE
from numpy.typing import ArrayLike

from milinfer.binned.template_diagnosis import few_events
from milinfer.binned.template_histograms import TemplateHistograms, as_counts
from milinfer.exceptions import FitError, MilinferWarning, TemplateError
from milinfer.likelihood.named_cost import NamedCost
from milinfer.likelihood.published_parts import (
    ArrayStore,
    ParameterFacts,
    PublishedTerm,
    published_terms,
)
from milinfer.typing import FloatArray
from milinfer.utils.display import ranges

__all__ = [
    "ProfiledBins",
    "TemplateCost",
    "profile_bins",
    "profile_log_likelihood",
    "pyhf_channel",
    "staterror_name",
    "template_workspace",
]


class TemplateCost(NamedCost):
    """Cost −2 ln L of a histogram for iminuit, with the likelihood of :mod:`pyhf`.

    The pyhf model has one sample for each point k of the morphing basis, and each sample has a
    normalisation factor.  In this cost the factors are functions w_k(θ), which pyhf 0.7 does not
    offer.  If only the shape is fitted, the factors are scaled so that the total expected number of
    events is the observed number.  This gives the multinomial likelihood of the shape, up to a
    constant.

    With Monte-Carlo errors the model has a ``staterror``: a factor γ_b for each bin b, with a
    Gaussian constraint.  A formula gives the best factors for given parameters
    (:mod:`milinfer.binned.template_cost`), so Minuit varies only the parameters.  The minimum and
    the MINOS interval are the same as if Minuit also varied the factors.

    Minuit takes the limits of the parameters from the cost.  They are the range that the samples
    cover.  With one parameter, they are reduced to the part of this range in which the content of
    every bin is positive.

    Parameters
    ----------
    templates
        Templates of the histogram.
    counts
        Observed counts, shape (n_bins,).
    rate
        True: fit the shape and the number of events.  False: fit only the shape.
    mc_stat
        Whether to profile the Monte-Carlo errors of the templates.  In pyhf the width of the
        constraint of a bin cannot depend on θ.  It is the relative error at
        ``templates.reference``.  ``templates.relative_errors(point)`` gives the errors at other
        points.
    name
        Name of the pyhf channel; default: the name of the observable.

    Raises
    ------
    TemplateError
        If the counts do not fit the templates or are all zero, the expected count of a bin is not
        positive, or `rate` is True and the templates have no luminosity.

    Warns
    -----
    MilinferWarning
        If fewer than 5 events are expected in a bin at the reference.

    Notes
    -----
    The factors γ_b make intervals wide enough *on average over many sets of templates*.  One set of
    templates has the same fixed errors in all toys that use it.  The factors cannot correct these
    errors, so intervals in toys with this set may cover more or less often than claimed.

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
        templates: TemplateHistograms,
        counts: FloatArray,
        *,
        rate: bool = False,
        mc_stat: bool = True,
        name: str | None = None,
    ) -> None:
        import pyhf

        if rate and templates.luminosity is None:
            msg = (
                f"{templates.observable_name}: the templates have no luminosity, which a fit with "
                "the rate needs; make them with luminosity= in 1/fb"
            )
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
        self._warn_of_few(float(scale) * total)
        super().__init__(dict(templates.limits), 0)

    def __repr__(self) -> str:
        kind = "with rate" if self.rate else "shape only"
        counts = f"{self.counts.sum():g} events in {len(self.counts)} bins"
        return f"TemplateCost({self.name}, {counts}, {kind}, {ranges(self.limits)})"

    def _warn_of_few(self, expected: float) -> None:
        events = self.templates.information_events(self.templates.reference, expected)
        if few := few_events(events):
            warnings.warn(f"{self.name}: {'; '.join(few)}", MilinferWarning, stacklevel=4)

    @property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Limits of every parameter, by name.  Minuit uses them."""
        return dict(self.templates.limits)

    @property
    def pyhf_data(self) -> FloatArray:
        """Counts and auxiliary data in the form that ``model.logpdf`` needs."""
        auxiliary = np.asarray(self.model.config.auxdata, dtype=np.float64)
        return np.concatenate([self.counts, auxiliary])

    def pyhf_parameters(self, *args: float) -> FloatArray:
        """Parameters of the pyhf model at θ in the model's order, with the best factors γ."""
        weights, gammas = self._factors(args)
        config = self.model.config
        values = np.empty(config.npars)
        for k, weight in enumerate(weights):
            values[config.par_slice(f"w_{k}")] = weight
        if self.mc_stat:
            values[config.par_slice(staterror_name(self.name))] = gammas
        return values

    def gammas(self, *args: float) -> FloatArray:
        """Monte-Carlo factors γ with the largest likelihood at θ, shape (n_bins,).

        Without Monte-Carlo errors all factors are 1.
        """
        return self._factors(args)[1]

    def weights(self, args: Sequence[float]) -> FloatArray:
        """Morphing weights w_k(θ), shape (n_coefficients,).

        In a fit of the shape they are scaled so that the total expected number of events is the
        number of events in the data.
        """
        return self._factors(args)[0]

    def expected(self, *args: float) -> FloatArray:
        """Expected counts at the parameter values, with the best factors γ, shape (n_bins,)."""
        weights, gammas = self._factors(args)
        fitted: FloatArray = gammas * (weights @ self._yields)
        return fitted

    def _factors(self, args: Sequence[float]) -> tuple[FloatArray, FloatArray]:
        """Normalisation factors (n_coefficients,) and γ (n_bins,)."""
        w: FloatArray = (self.templates.basis.design(args) @ self._matrix)[0]
        raw = w @ self._yields
        self.templates.require_positive(raw, self.templates.point(args))
        profiled = profile_bins(self.counts[None], raw[None], self.relative_errors, rate=self.rate)
        return w * profiled.scale[0, 0], profiled.gammas[0, 0]

    def published(self, arrays: ArrayStore) -> PublishedTerm:
        """Write the histogram as a term of a published likelihood, which is evaluated with numpy.

        Parameters
        ----------
        arrays
            Store to which the arrays of this term are added.
        """
        templates = self.templates
        names, at = templates.basis.parameters, templates.reference
        content = {
            "kind": "histogram",
            "parameters": [*names],
            "counts": self.counts.tolist(),
            "exponents": arrays.add("exponents", templates.basis.exponents),
            "coefficients": arrays.add("coefficients", self._matrix @ self._yields),
            "relative_errors": self.relative_errors.tolist() if self.mc_stat else None,
            "rate": self.rate,
        }
        facts = {
            name: ParameterFacts("interest", float(np.clip(at[name], *ends)), *ends)
            for name, ends in self.limits.items()
        }
        return PublishedTerm(content, facts)

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


@published_terms.register
def _(cost: TemplateCost, arrays: ArrayStore) -> list[PublishedTerm]:
    return [cost.published(arrays)]


def pyhf_channel(
    name: str, yields: FloatArray, relative_errors: FloatArray | None = None
) -> dict[str, Any]:
    """Make a HistFactory channel with one sample for each point of a morphing basis.

    Parameters
    ----------
    name
        Name of the channel.
    yields
        Expected counts of each sample, shape (n_coefficients, n_bins); all must be positive.
    relative_errors
        Relative Monte-Carlo error of the total content of each bin, shape (n_bins,).  The channel
        gets a ``staterror`` with one factor for each bin (Barlow–Beeston-lite).  None: it gets no
        ``staterror``.

    Examples
    --------
    >>> import numpy as np
    >>> channel = pyhf_channel("x", np.ones((2, 3)))
    >>> [s["modifiers"][0]["name"] for s in channel["samples"]]
    ['w_0', 'w_1']
    """
    samples = []
    for k, row in enumerate(yields):
        modifiers: list[dict[str, Any]] = [{"name": f"w_{k}", "type": "normfactor", "data": None}]
        if relative_errors is not None:
            # pyhf adds the samples' errors in quadrature and divides by the sum of the samples.
            share = relative_errors * yields.sum(axis=0) / np.sqrt(len(yields))
            modifiers.append(
                {"name": staterror_name(name), "type": "staterror", "data": share.tolist()}
            )
        samples.append({"name": f"basis_{k}", "data": row.tolist(), "modifiers": modifiers})
    return {"name": name, "samples": samples}


def staterror_name(channel: str) -> str:
    """Name of the ``staterror`` of a channel, without ``/``, at which pyhf would split it.

    Examples
    --------
    >>> staterror_name("m_ll"), staterror_name("pt_1/pt_2")
    ('staterror_m_ll', 'staterror_pt_1%2Fpt_2')
    """
    # Not "_": the factors of the channels a/b and a_b would be the same ones.
    return f"staterror_{channel.replace('/', '%2F')}"


def template_workspace(
    templates: TemplateHistograms,
    counts: ArrayLike | None = None,
    *,
    mc_stat: bool = True,
    name: str | None = None,
) -> dict[str, Any]:
    """Make a HistFactory workspace of templates, for ``pyhf.Workspace``.

    The workspace has a free normalisation factor ``w_k`` for each point k of the morphing basis.
    These factors should be functions of the parameters:
    ``templates.basis.weights(theta, templates.basis_points)``.  HistFactory cannot express this,
    but :class:`~milinfer.binned.template_cost.TemplateCost` computes the factors in this way.  The
    factors may be negative: use their bounds from the workspace in pyhf.

    Parameters
    ----------
    templates
        Templates of the histogram.
    counts
        Observed counts, shape (n_bins,); default: the counts expected at the reference.
    mc_stat
        Whether to add the Monte-Carlo errors at ``templates.reference`` as ``staterror``.
    name
        Name of the channel; default: the name of the observable.

    Raises
    ------
    TemplateError
        If the counts do not fit the templates.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2, luminosity=1.0)
    >>> workspace = template_workspace(templates)
    >>> [s["name"] for s in workspace["channels"][0]["samples"]]
    ['basis_0', 'basis_1', 'basis_2']
    """
    at, title = templates.reference, name or templates.observable_name
    sigma = templates.cross_sections(at)
    # Without a luminosity the templates are those of one event at the reference.
    lumi = templates.luminosity
    scale = 1.0 / float(sigma.sum()) if lumi is None else 1000.0 * lumi
    observed = scale * sigma if counts is None else as_counts(counts, templates.n_bins, title)
    errors = templates.relative_errors(at) if mc_stat else None
    initial = templates.basis.weights(templates.basis.array(at), templates.basis_points)[0]
    factors = [
        {"name": f"w_{k}", "inits": [float(w)], "bounds": [[-1e3, 1e3]]}
        for k, w in enumerate(initial)
    ]
    return {
        "channels": [pyhf_channel(title, templates.basis_yields(scale), errors)],
        "observations": [{"name": title, "data": observed.tolist()}],
        "measurements": [{"name": "milinfer", "config": {"poi": "", "parameters": factors}}],
        "version": "1.0.0",
    }


_MAX_STEPS = 100
# Tolerance on ln(scale): the likelihood is flat there, so that its error is the square of this.
_TOLERANCE = 1e-11
# Numbers in one block of the calculation; larger blocks do not fit into the caches.
_BLOCK = 50_000


class ProfiledBins(NamedTuple):
    """Factors that maximise the likelihood, for many sets of counts at many points.

    Parameters
    ----------
    gammas
        Monte-Carlo factor of each bin, shape (n_sets, n_points, n_bins).
    scale
        Scale that is common to all bins, shape (n_sets, n_points); 1 in a fit with the rate.
    """

    gammas: FloatArray
    scale: FloatArray


def profile_bins(
    counts: FloatArray, expected: FloatArray, relative: FloatArray, *, rate: bool
) -> ProfiledBins:
    """Find the Monte-Carlo factors of the bins that maximise the likelihood of counts.

    Parameters
    ----------
    counts
        Observed counts, shape (n_sets, n_bins); none may be negative.
    expected
        Expected counts, shape (n_points, n_bins); all must be positive.
    relative
        Relative Monte-Carlo errors of the expected counts, shape (n_bins,).  Where it is zero, the
        factor stays 1.
    rate
        True: the total of `expected` is the expected number of events.  False: a scale that is
        common to all bins is profiled too.

    Raises
    ------
    FitError
        If the scale does not converge, because relative errors near 100 % leave it undetermined.

    Examples
    --------
    >>> import numpy as np
    >>> profiled = profile_bins(np.array([[90.0, 110.0]]), np.array([[100.0, 100.0]]),
    ...                      np.array([0.1, 0.1]), rate=True)
    >>> profiled.gammas.round(3)
    array([[[0.949, 1.049]]])
    """
    n = counts[:, None, :]
    total = counts.sum(axis=1)[:, None]
    variance = relative**2

    def solve(y: FloatArray) -> tuple[FloatArray, FloatArray]:
        linear = 1.0 - y * variance
        root = np.sqrt(linear**2 + 4.0 * n * variance)
        return (linear + root) / 2.0, root

    shape = (len(counts), len(expected))
    if rate:
        return ProfiledBins(
            np.broadcast_to(solve(expected[None])[0], (*shape, counts.shape[1])), np.ones(shape)
        )
    scale = np.broadcast_to(total / expected.sum(axis=1), shape).copy()
    filled = np.broadcast_to(total > 0, shape)
    damping, last = np.ones(shape), np.zeros(shape)
    for _ in range(_MAX_STEPS):
        y = scale[:, :, None] * expected[None]
        gammas, root = solve(y)
        product = y * gammas
        scaled_total = product.sum(axis=2)
        # d ln Σyγ / d ln scale: near one, and negative only where factors fall below 1/2.
        rise = np.sum(product * (2 * gammas - 1) / np.where(root > 0, root, 1.0), axis=2)
        slope = np.divide(rise, scaled_total, where=filled, out=np.ones(shape))
        step = np.log(np.divide(total, scaled_total, where=filled, out=np.ones(shape)))
        step = np.clip(step / np.where(slope > 1e-9, slope, 1.0), -0.5, 0.5)
        # Far from the truth factors fall below 1/2, and full steps go back and forth for ever.
        # Errors near 100 % do so too, as they leave the scale undetermined: there it is an error.
        if relative.max(initial=0.0) < 1:
            damping[(step * last < 0) & (np.abs(step) > 0.5 * np.abs(last))] *= 0.5
        last, step = step, step * damping
        if np.abs(last).max(initial=0.0) < _TOLERANCE:
            return ProfiledBins(gammas, scale)
        scale *= np.exp(step)
    msg = (
        f"the Monte-Carlo factors of {counts.shape[1]} bins did not converge (relative errors up "
        f"to {relative.max():.0%}); use wider bins or more simulated events"
    )
    raise FitError(msg)


def profile_log_likelihood(
    counts: FloatArray, expected: FloatArray, relative: FloatArray, *, rate: bool
) -> FloatArray:
    """Profiled ln L of many sets of counts at many points, up to a constant for each set.

    Parameters
    ----------
    counts, expected, relative, rate
        As for :func:`profile_bins`.

    Returns
    -------
    ndarray
        Profiled ln L, shape (n_sets, n_points).

    Examples
    --------
    Without Monte-Carlo errors and without the rate it is a multinomial likelihood:

    >>> import numpy as np
    >>> counts, expected = np.array([[30.0, 70.0]]), np.array([[1.0, 1.0], [2.0, 3.0]])
    >>> values = profile_log_likelihood(counts, expected, np.zeros(2), rate=False)[0]
    >>> bool(np.isclose(values[1] - values[0], 30 * np.log(0.4 / 0.5) + 70 * np.log(0.6 / 0.5)))
    True
    """
    from scipy.special import xlogy

    step = max(1, _BLOCK // max(expected.size, 1))
    inverse = np.divide(1.0, relative**2, where=relative > 0, out=np.zeros_like(relative))
    out = np.empty((len(counts), len(expected)))
    for k in range(0, len(counts), step):
        n = counts[k : k + step]
        gammas, scale = profile_bins(n, expected, relative, rate=rate)
        y = gammas * (scale[:, :, None] * expected[None])
        out[k : k + step] = np.sum(xlogy(n[:, None, :], y) - y, axis=2)
        out[k : k + step] -= 0.5 * (gammas - 1.0) ** 2 @ inverse
    return out
