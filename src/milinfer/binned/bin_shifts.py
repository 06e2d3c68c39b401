r"""How the variations of one process change the bins of its templates, with Monte-Carlo errors.

For event i let :math:`v_i` be its varied weight in its varied bin and :math:`w_i` its nominal
weight in its nominal bin.  With the sums V and N of these weights in a bin, the shift of the bin is
:math:`V/N - 1`.  The error of the shift follows from the variance of
:math:`\sum_i (v_i - \frac{V}{N} w_i)`.  An event that stays in its bin and keeps its weight adds
next to nothing to this variance.  If the nominal and the varied sample contain the same events
(``partners``), far fewer events are therefore enough.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from milinfer.binned.template_histograms import bin_index, bin_names
from milinfer.binned.templates import Templates
from milinfer.binned.weighted_templates import carry_weights, event_yields
from milinfer.binned.workspace_export import SIGNAL
from milinfer.exceptions import ParameterError, TemplateError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variations import ProcessVariations, Variation
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis, point_matrix

__all__ = ["BinShift", "ProcessShift", "background_shift", "shift_at_one_point", "signal_shift"]

# Eigenvalues of a covariance below this share of the largest are rounding.
_ROUNDING = 1e-9


class BinShift(NamedTuple):
    """Shift of the bins by one variation, computed from its events.

    Parameters
    ----------
    ratio, variance
        Varied content of each bin divided by its nominal content, and the variance of this ratio;
        shape (n_bins,).
    nominal
        Sum of the nominal weights in each bin, shape (n_bins,).
    rate, rate_variance
        Sum of the varied contents divided by the sum of the nominal contents, and the variance of
        this ratio.
    chi_square, ndf
        χ² and degrees of freedom of the change in shape, which remains when `rate` is divided out.
    """

    ratio: FloatArray
    variance: FloatArray
    nominal: FloatArray
    rate: float
    rate_variance: float
    chi_square: float
    ndf: int


class _Events(NamedTuple):
    """Nominal and varied events: their bins, their weights in pb, and the partners."""

    nominal_bins: IntArray
    varied_bins: IntArray
    partners: IntArray

    def shift(self, nominal: FloatArray, varied: FloatArray, n_bins: int) -> BinShift:
        """Shift of the bins for weights (n_nominal,) and (n_varied,)."""
        n = np.bincount(self.nominal_bins, nominal, n_bins).astype(np.float64)
        v = np.bincount(self.varied_bins, varied, n_bins).astype(np.float64)
        paired = self.partners >= 0
        of_nominal = self.partners[paired]
        common = np.zeros((n_bins, n_bins))  # by nominal and varied bin
        product = nominal[of_nominal] * varied[paired]
        np.add.at(common, (self.nominal_bins[of_nominal], self.varied_bins[paired]), product)
        n_square = np.bincount(self.nominal_bins, nominal**2, n_bins)
        v_square = np.bincount(self.varied_bins, varied**2, n_bins)
        ratio = np.divide(v, n, out=np.ones(n_bins), where=n != 0)
        variance = v_square + ratio**2 * n_square - 2 * ratio * np.diag(common)
        variance = np.divide(variance, n**2, out=np.zeros(n_bins), where=n != 0)
        rate = float(v.sum() / n.sum())
        covariance = np.diag(v_square + rate**2 * n_square) - rate * (common + common.T)
        rate_variance = max(float(covariance.sum()) / float(n.sum()) ** 2, 0.0)
        # The shape is what the rate leaves, which is known from the same events.
        project = np.eye(n_bins) - np.outer(n / n.sum(), np.ones(n_bins))
        values, vectors = np.linalg.eigh(project @ covariance @ project.T)
        size = float(np.max(v_square + rate**2 * n_square))
        known = values > _ROUNDING * size
        pulls = (vectors[:, known].T @ (v - rate * n)) / np.sqrt(values[known])
        return BinShift(
            ratio=ratio,
            variance=np.maximum(variance, 0.0),
            nominal=n,
            rate=rate,
            rate_variance=rate_variance,
            chi_square=float(np.sum(pulls**2)),
            ndf=int(known.sum()),
        )


class ProcessShift(NamedTuple):
    """Shift of the bins of a process if a nuisance parameter is −1 or +1.

    Parameters
    ----------
    at_basis
        Varied content divided by nominal content at each point of the morphing basis, shape
        (n_coefficients, n_bins); None if this ratio is the same at every θ.
    ratio, variance, rate, rate_variance
        As for :class:`BinShift`, at the reference of the templates.
    p_value
        Probability that Monte-Carlo errors alone change the shape at least as much as this shift.
    under_theta
        How the shift depends on θ, in words.

    Examples
    --------
    >>> one = ProcessShift(None, np.array([1.1, 0.9]), np.zeros(2), 1.0, 0.0, 0.5, "no θ")
    >>> one.opposite().ratio
    array([0.9, 1.1])
    """

    at_basis: FloatArray | None
    ratio: FloatArray
    variance: FloatArray
    rate: float
    rate_variance: float
    p_value: float
    under_theta: str

    def opposite(self) -> ProcessShift:
        """The opposite shift: each ratio r becomes 2 − r."""
        return self._replace(
            ratio=2.0 - self.ratio,
            at_basis=None if self.at_basis is None else 2.0 - self.at_basis,
        )


def background_shift(
    templates: Templates, process: ProcessVariations, variation: Variation
) -> ProcessShift:
    """Shift of the bins of a background, which does not depend on θ.

    Raises
    ------
    TemplateError, SampleError
        As for :func:`shift_at_one_point`.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=[-9, 0, 9], degree=2)
    >>> nominal = Sample(np.array([[-1.0], [1.0], [2.0], [-2.0]]), ("x0",), process="tt")
    >>> up = Variation.of_weights(nominal, {"theory": 1}, [1.0, 1.1, 1.1, 1.0])
    >>> background_shift(templates, ProcessVariations(nominal, [up]), up).ratio
    array([1. , 1.1])
    """
    shift = shift_at_one_point(templates, process, variation, process.process)
    return _of_one(shift, "no θ")


def signal_shift(
    templates: Templates,
    process: ProcessVariations,
    variations: Sequence[Variation],
    shift_degree: int | None,
) -> ProcessShift:
    """Shift of the bins of the signal, at the reference and at the points of the morphing basis.

    Parameters
    ----------
    templates
        Templates of the signal.
    process
        Variations of the signal.
    variations
        Variations by one nuisance parameter at one of its values, for one or several θ.
    shift_degree
        If the variations are at several θ: degree of the polynomial in θ that describes the shift.
        None: the highest degree that these points determine.

    Raises
    ------
    TemplateError
        If a variation and the templates have different parameters; and as for
        :func:`shift_at_one_point`.
    ParameterError
        If the points do not determine a polynomial of this degree.
    SampleError
        If a cross-section is needed and missing.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> sample = quadratic.samples(1000, [{"c1": 0.0}], seed=1)[0]
    >>> templates = Templates.from_samples(SampleSet((sample,)), "x0", bins=2, weight_degree=2)
    >>> up = Variation.of_weights(sample, {"theory": 1}, 1.1 * sample.weights)
    >>> shift = signal_shift(templates, ProcessVariations(sample, [up]), [up], None)
    >>> shift.under_theta, shift.ratio.round(9)
    ('from the weights of the events', array([1.1, 1.1]))
    """
    basis = templates.basis
    for variation in variations:
        if set(variation.sample.point) != set(basis.parameters):
            msg = (
                f"variation {variation.label} has the parameters {tuple(variation.sample.point)}, "
                f"the templates {basis.parameters}"
            )
            raise TemplateError(msg)
    degree = templates.weight_degree
    if degree is not None:
        both = [
            SampleSet(tuple(s))
            for s in zip(*((process.nominal_of(v), v.sample) for v in variations), strict=True)
        ]
        if all(carry_weights(samples, degree) for samples in both):
            return _from_weights(templates, process, variations, degree)
    if len(variations) > 1:
        return _from_points(templates, process, variations, shift_degree)
    shift = shift_at_one_point(templates, process, variations[0], SIGNAL)
    return _of_one(shift, f"that at {format_point(variations[0].sample.point)}")


def shift_at_one_point(
    templates: Templates, process: ProcessVariations, variation: Variation, name: str
) -> BinShift:
    """Shift of the bins by one variation, from the weights of its events without reweighting.

    Raises
    ------
    TemplateError
        If the nominal or the varied content of a bin is not positive.  A bin of a background may be
        empty if both contents are zero.
    SampleError
        If the variation has other events than the nominal sample, and a cross-section is missing.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=[-9, 0, 9], degree=2)
    >>> up = Variation.of_weights(samples[1], {"theory": 1}, 1.1 * samples[1].weights)
    >>> shift = shift_at_one_point(templates, ProcessVariations(samples, [up]), up, SIGNAL)
    >>> shift.ratio.round(9), shift.ndf
    (array([1.1, 1.1]), 0)
    """
    _, _, events = _events(templates, process, [variation])
    nominal, varied = _weights(process, variation)
    shift = events.shift(nominal, varied, templates.n_bins)
    gained = (shift.nominal == 0) & (
        np.bincount(events.varied_bins, minlength=templates.n_bins) > 0
    )
    if gained.any():
        b = int(np.argmax(gained))
        msg = (
            f"{name}: bin {b} {bin_names(templates.axes)[b]} has no nominal events, but events of "
            f"the variation {variation.label}; use fewer or wider bins, or more events"
        )
        raise TemplateError(msg)
    _require_filled(templates, name, variation, shift)
    if variation.partners is None:
        return shift._replace(rate_variance=process.yield_ratio(variation).error ** 2)
    return shift


def _of_one(shift: BinShift, under_theta: str, at_basis: FloatArray | None = None) -> ProcessShift:
    """Shift of a process with only one shift of its bins."""
    return ProcessShift(
        at_basis=at_basis,
        ratio=shift.ratio,
        variance=shift.variance,
        rate=shift.rate,
        rate_variance=shift.rate_variance,
        p_value=_p_value([shift]),
        under_theta=under_theta,
    )


def _from_weights(
    templates: Templates, process: ProcessVariations, variations: Sequence[Variation], degree: int
) -> ProcessShift:
    """Shift at every basis point from the weights of the events there."""
    nominal, varied, events = _events(templates, process, variations)
    yields = [event_yields(SampleSet(tuple(s)), degree) for s in (nominal, varied)]

    def at(point: Point) -> BinShift:
        theta = yields[0].basis.array(point)
        shift = events.shift(yields[0].at(theta), yields[1].at(theta), templates.n_bins)
        _require_filled(templates, SIGNAL, variations[0], shift)
        return shift

    shift = at(templates.reference)
    others = [process.yield_ratio(v).error for v in variations if v.partners is None]
    if others:
        shift = shift._replace(rate_variance=float(np.mean(np.square(others))) / len(others))
    ratios = [at(templates.point(p)).ratio for p in templates.basis_points]
    return _of_one(shift, "from the weights of the events", np.stack(ratios))


def _from_points(
    templates: Templates,
    process: ProcessVariations,
    variations: Sequence[Variation],
    shift_degree: int | None,
) -> ProcessShift:
    """Shift as a polynomial in θ through those at several points."""
    points = point_matrix(templates.basis.parameters, [v.sample.point for v in variations])
    basis = _determined(templates.basis, points, shift_degree)
    shifts = [shift_at_one_point(templates, process, v, SIGNAL) for v in variations]
    ratio = np.stack([s.ratio for s in shifts])
    variance = np.stack([s.variance for s in shifts])
    # Of the same size at all points for the same number of events, so that bins count by their
    # events and not by how their shift has fluctuated.
    effective = np.stack([s.nominal**2 for s in shifts]) / np.stack(
        [
            np.bincount(bin_index(templates.axes, nominal), nominal.weights**2, templates.n_bins)
            for nominal in map(process.nominal_of, variations)
        ]
    )
    one = np.mean(variance * effective, axis=0)
    fit = basis.fit(points, ratio, np.sqrt(np.where(one > 0, one, 1.0) / effective))
    reference = templates.basis.array(templates.reference)
    rate_variance = np.mean([s.rate_variance for s in shifts])
    of_rate = basis.fit(
        points,
        np.array([[s.rate] for s in shifts]),
        np.full((len(shifts), 1), np.sqrt(rate_variance) if rate_variance > 0 else 1.0),
    )
    return ProcessShift(
        at_basis=basis.value(fit, templates.basis_points),
        ratio=basis.value(fit, reference)[0],
        variance=np.where(one > 0, basis.variance(fit, reference)[0], 0.0),
        rate=float(basis.value(of_rate, reference)[0, 0]),
        rate_variance=float(basis.variance(of_rate, reference)[0, 0]) if rate_variance > 0 else 0.0,
        p_value=_p_value(shifts),
        under_theta=f"degree {basis.degree} from {len(points)} points",
    )


def _determined(
    basis: PolynomialBasis, points: FloatArray, shift_degree: int | None
) -> PolynomialBasis:
    """Polynomials of the requested degree, or of the highest degree that the points determine."""
    if shift_degree is not None:
        return PolynomialBasis(basis.parameters, shift_degree)
    for degree in range(basis.degree, 0, -1):
        candidate = PolynomialBasis(basis.parameters, degree)
        try:
            candidate.require_determined(points, "shift")
        except ParameterError:
            continue
        return candidate
    return PolynomialBasis(basis.parameters, 0)


def _events(
    templates: Templates, process: ProcessVariations, chosen: Sequence[Variation]
) -> tuple[list[Sample], list[Sample], _Events]:
    """Nominal samples, varied samples and their events, sample after sample."""
    nominal = [process.nominal_of(v) for v in chosen]
    starts = np.cumsum([0, *(len(s) for s in nominal)])
    partners = [
        np.full(len(v.sample), -1)
        if v.partners is None
        else np.where(v.partners >= 0, v.partners + start, -1)
        for v, start in zip(chosen, starts, strict=False)
    ]
    varied = [
        v.sample
        if v.partners is None
        else dataclasses.replace(
            v.sample, cross_section=s.cross_section * v.sample.weights.sum() / s.weights.sum()
        )
        for v, s in zip(chosen, nominal, strict=True)
    ]
    return (
        nominal,
        varied,
        _Events(
            np.concatenate([bin_index(templates.axes, s) for s in nominal]),
            np.concatenate([bin_index(templates.axes, s) for s in varied]),
            np.concatenate(partners),
        ),
    )


def _weights(process: ProcessVariations, variation: Variation) -> tuple[FloatArray, FloatArray]:
    """Weights of nominal and varied events on the same scale."""
    nominal = process.nominal_of(variation).weights
    varied = variation.sample.weights
    if variation.partners is not None:
        return nominal, varied
    # Raises without cross-sections.
    ratio = process.yield_ratio(variation).value
    return nominal, varied * (ratio * nominal.sum() / varied.sum())


def _require_filled(templates: Templates, name: str, variation: Variation, s: BinShift) -> None:
    """Raise unless all bins have positive nominal and varied content."""
    for what, bad in (
        # A background may have no events in a bin, before and after; the signal has.
        ("nominal", ~(s.nominal > 0) & ((s.nominal != 0) | (name == SIGNAL))),
        ("varied", ~(s.ratio > 0)),
    ):
        if bad.any():
            b = int(np.argmax(bad))
            msg = (
                f"{name}: bin {b} {bin_names(templates.axes)[b]} has no positive {what} content "
                f"for the variation {variation.label}; use fewer or wider bins, or more events"
            )
            raise TemplateError(msg)


def _p_value(shifts: Iterable[BinShift]) -> float:
    each = list(shifts)
    ndf = sum(s.ndf for s in each)
    return float(chi2.sf(sum(s.chi_square for s in each), ndf)) if ndf else 1.0
