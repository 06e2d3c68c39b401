r"""Bin contents as polynomials in the parameters, from events that carry weights at several points.

Through its weights, every event contributes to its bin at every θ.  The contribution of an event
is a polynomial in θ, in pb, and the content of a bin is the sum of the polynomials of its events
(:func:`event_yields`).  Nothing is fitted: the coefficients of a bin are sums over its events, and
their covariance is the sum of the products of the events' coefficients.

The weight of event i as a function of θ is a polynomial :math:`P_i(\theta)`.  With one sample,
generated at :math:`\theta_s` with cross-section :math:`\sigma_s`, event i with weight :math:`w_i`
adds

.. math:: \frac{\sigma_s}{\sum_j w_j}\, w_i\, \frac{P_i(\theta)}{P_i(\theta_s)} .

Several samples are treated as one mixture, as in :class:`~milinfer.EventPool`: the polynomial of an
event is divided by the density of the mixture instead of the density of its own sample.  Event i
adds

.. math:: \sigma_0\, w_i\, \frac{P_i(\theta)}{\sum_g a_g P_i(\theta_g)/R(\theta_g)} ,

where the weights of sample g are scaled so that their sum is the share :math:`a_g` of this sample
in the effective events of all samples.  :math:`R(\theta)` is the cross-section at θ divided by the
cross-section at θ = 0, computed with all events.  The cross-section :math:`\sigma_0` at θ = 0 is a
weighted mean over the samples, :math:`\sigma_0 = \sum_g v_g \sigma_g/R(\theta_g) / \sum_g v_g` with
:math:`1/v_g = (\Delta\sigma_g/\sigma_g)^2 + 1/n_g`.  Here :math:`\Delta\sigma_g` is the error of
the cross-section (0 if the sample has none), and :math:`n_g` is the effective number of events of
the mixture at :math:`\theta_g`.

A mixture needs densities that are positive at the points of all samples.  If the weight of an event
changes its sign between these points, the samples are averaged instead.  Each sample gives its own
polynomial for every bin, and the polynomials of all samples are averaged with matrices as weights
(generalised least squares).  The matrix of a sample is the inverse covariance of its coefficients,
summed over all bins.  It is therefore the same for every bin, and no bin gets a larger weight
because it has fluctuated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from milinfer.exceptions import SampleError, TemplateError
from milinfer.samples.reweighting import (
    carried_points,
    class_points,
    joint_density,
    reweight_polynomial,
)
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import WeightSums, mixture_shares
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis, PolynomialFit

__all__ = [
    "EventYields",
    "carry_weights",
    "cross_section_weights",
    "event_yields",
    "require_yields",
    "weight_points",
]

# Samples with fewer effective events in a bin are not compared with its polynomial.
_FEW = 10.0
# Keeps directions in which no event has a weight from making the covariance singular.
_RIDGE = 1e-10
# As exactly as weights have to be polynomials.
_ROUNDING = 1e-6


def cross_section_weights(sample: Sample) -> FloatArray:
    """Event weights in pb, shape (n_events,); their sum is the cross-section of the sample.

    Raises
    ------
    SampleError
        If the sample has no cross-section, or the sum of its weights is not positive.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> float(cross_section_weights(gaussian.generate(100, 0.0, seed=1)).sum().round(12))
    1.0
    """
    if not np.isfinite(sample.cross_section):
        msg = f"{sample.label} has no cross-section; give cross_section= in pb"
        raise SampleError(msg)
    total = sample.weights.sum()
    if not total > 0:
        msg = f"{sample.label}: the weights sum to {total:g}; the sum must be positive"
        raise SampleError(msg)
    weights: FloatArray = sample.weights * (sample.cross_section / total)
    return weights


def weight_points(samples: SampleSet) -> FloatArray:
    """Points of samples and of event weights, each point only once, shape (m, n_parameters).

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> weight_points(quadratic.samples(5, [{"c1": 0.5}], seed=1)).ravel()
    array([-1. ,  0. ,  0.5,  1. ])
    """
    names = samples.parameters
    of_weights = set().union(*(carried_points(s, names) for s in samples))
    points = [*class_points(samples).tolist(), *of_weights]
    distinct: FloatArray = np.unique(np.array(points) + 0.0, axis=0)
    return distinct


def carry_weights(samples: SampleSet, weight_degree: int | None) -> bool:
    """Whether events have weights at as many points as a polynomial of this degree needs.

    If the degree is None, the weights are not to be used, and the result is False.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> samples = quadratic.samples(5, [{"c1": 0.5}], seed=1)
    >>> carry_weights(samples, 2), carry_weights(samples, 4), carry_weights(samples, None)
    (True, False, False)
    """
    if weight_degree is None:
        return False
    basis = PolynomialBasis(samples.parameters, weight_degree)
    return all(len(carried_points(s, basis.parameters)) >= len(basis) for s in samples)


@dataclass(frozen=True, eq=False)
class EventYields:
    """Cross-section that each event adds to its bin, as a polynomial in the parameters.

    Parameters
    ----------
    samples
        Samples that contain the events.
    basis
        Monomials of the polynomials.
    polynomials
        For each sample the coefficients of its events in pb, shape (n_events, n_coefficients).
    """

    samples: SampleSet
    basis: PolynomialBasis
    polynomials: tuple[FloatArray, ...]

    def at(self, point: FloatArray) -> FloatArray:
        """Cross-section that each event adds at a point, in the order of the samples."""
        design = self.basis.design(point)[0]
        return np.concatenate([p @ design for p in self.polynomials])

    def fill(self, bins: Sequence[IntArray], n_bins: int) -> PolynomialFit:
        """Add up the events of each bin.

        Parameters
        ----------
        bins
            For each sample the bin of each event, shape (n_events,).
        n_bins
            Number of bins.

        Returns
        -------
        PolynomialFit
            Coefficients and their covariances.  χ² is NaN, because nothing is fitted.
        """
        n = len(self.basis)
        coefficients, covariance = np.zeros((n, n_bins)), np.zeros((n_bins, n, n))
        for polynomials, index in zip(self.polynomials, bins, strict=True):
            columns = np.ascontiguousarray(polynomials.T)
            for j, column in enumerate(columns):
                coefficients[j] += np.bincount(index, column, n_bins)
                for k in range(j + 1):
                    covariance[:, j, k] += np.bincount(index, column * columns[k], n_bins)
        lower = np.tril_indices(n, -1)
        covariance[:, lower[1], lower[0]] = covariance[:, lower[0], lower[1]]
        return PolynomialFit(coefficients, covariance, np.full(n_bins, np.nan), 0)

    def closure(self, bins: Sequence[IntArray], fit: PolynomialFit) -> FloatArray:
        """Compare the histogram of each sample with the polynomials.

        For each sample and bin there are two contents at the point of the sample: the sum of the
        weights of its own events, and the value of the polynomial.  The pull is their difference
        divided by its standard deviation.  The standard deviation takes into account that the two
        contents share events, and includes the error of the cross-section of the sample if it is
        known.  A bin gets the p-value of the largest pull of all samples, multiplied by the number
        of pulls (Bonferroni).

        Parameters
        ----------
        bins
            For each sample the bin of each event, shape (n_events,).
        fit
            Result of :meth:`fill` for these bins.

        Returns
        -------
        ndarray
            p-value of each bin, shape (n_bins,).  NaN in bins in which no sample has ten effective
            events.  With only one sample NaN in all bins, because its histogram is the polynomial
            at its point.
        """
        from scipy.stats import norm

        n_bins = fit.coefficients.shape[1]
        if len(self.samples) == 1:
            return np.full(n_bins, np.nan)
        pulls = np.full((len(self.samples), n_bins), np.nan)
        for g, sample in enumerate(self.samples):
            design = self.basis.design(class_points(self.samples)[g])[0]
            own, weights = np.zeros(n_bins), cross_section_weights(sample)
            square, shared, others = np.zeros(n_bins), np.zeros(n_bins), np.zeros(n_bins)
            for k, (polynomials, index) in enumerate(zip(self.polynomials, bins, strict=True)):
                part = polynomials @ design
                if k == g:
                    own += np.bincount(index, weights, n_bins)
                    square += np.bincount(index, weights**2, n_bins)
                    shared += np.bincount(index, (weights - part) ** 2, n_bins)
                else:
                    others += np.bincount(index, part**2, n_bins)
            expected = design @ fit.coefficients
            enough = (own > 0) & (own**2 >= _FEW * square)
            # Bins that have fluctuated down look more precise than they are.
            scale = np.divide(expected, own, where=enough, out=np.ones(n_bins))
            variance = np.clip(scale, 1.0, 5.0) * shared + others
            relative = sample.cross_section_error / sample.cross_section
            if relative > 0:
                variance += (relative * own) ** 2
            np.divide(own - expected, np.sqrt(variance), where=enough, out=pulls[g])
        compared = np.sum(np.isfinite(pulls), axis=0)
        largest = np.where(np.isfinite(pulls), np.abs(pulls), 0.0).max(axis=0)
        p_values = np.minimum(1.0, compared * 2 * norm.sf(largest))
        return np.where(compared > 0, p_values, np.nan)


def require_yields(yields: EventYields, samples: SampleSet, weight_degree: int | None) -> None:
    """Check that `yields` belong to these samples and have the degree `weight_degree`.

    Raises
    ------
    TemplateError
        If the samples or the degree differ.  The message says which of them.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> samples = quadratic.samples(5, [{"c1": 0.5}], seed=1)
    >>> require_yields(event_yields(samples, 2), samples, 2)
    """
    if yields.samples is not samples:
        msg = (
            f"yields= belong to {yields.samples!r}, not to these samples, {samples!r}; compute "
            "them with event_yields from the same object"
        )
        raise TemplateError(msg)
    if weight_degree != yields.basis.degree:
        msg = (
            f"yields= have degree {yields.basis.degree}, but weight_degree = {weight_degree}; "
            "give the same degree"
        )
        raise TemplateError(msg)


def event_yields(samples: SampleSet, weight_degree: int) -> EventYields:
    """Compute the polynomial in the parameters, in pb, that each event adds to its bin.

    Parameters
    ----------
    samples
        Samples at one or several points, with cross-sections.  Their events have weights at enough
        points to determine the polynomial.
    weight_degree
        Degree of the event weights as polynomials in the parameters.

    Raises
    ------
    SampleError
        If weights or a cross-section are missing, or the weight of an event vanishes at the point
        at which it was generated.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> yields = event_yields(quadratic.samples(1000, [{"c1": 0.5}], seed=1), 2)
    >>> sigma = float(yields.at(np.array([0.5])).sum())
    >>> bool(np.isclose(sigma, quadratic.normalisation(np.array([0.5]))))
    True
    """
    basis = PolynomialBasis(samples.parameters, weight_degree)
    weights = [cross_section_weights(s) for s in samples]
    polynomials = [reweight_polynomial(s, basis) for s in samples]
    design = basis.design(class_points(samples))
    own = [p @ design[k] for k, p in enumerate(polynomials)]
    for k, (sample, value) in enumerate(zip(samples, own, strict=True)):
        _require_own_weight(sample, value, np.abs(polynomials[k]) @ np.abs(design[k]))
    if len(samples) > 1 and all(
        np.all((p @ design.T) * value[:, None] > 0)
        for p, value in zip(polynomials, own, strict=True)
    ):
        return EventYields(samples, basis, _of_mixture(samples, weight_degree))
    alone = tuple(
        p * (w / value)[:, None] for p, w, value in zip(polynomials, weights, own, strict=True)
    )
    if len(samples) > 1:
        alone = _averaged(samples, alone)
    return EventYields(samples, basis, alone)


def _require_own_weight(sample: Sample, value: FloatArray, size: FloatArray) -> None:
    """Refuse events whose weight at their own point is zero up to the rounding of its terms."""
    none = ~(np.abs(value) > _ROUNDING * size)
    if none.any():
        msg = (
            f"{sample.label}: the weights of event {int(np.argmax(none))} are zero at "
            f"{format_point(sample.point)}, where it was generated; check its weights, or remove "
            "the event"
        )
        raise SampleError(msg)


def _of_mixture(samples: SampleSet, weight_degree: int) -> tuple[FloatArray, ...]:
    """Coefficients of events over the density of their mixture."""
    shares = mixture_shares(s.weights for s in samples)
    joint = joint_density(samples, weight_degree, shares=shares)
    polynomials = [
        polynomial * (w / mixture)[:, None]
        for polynomial, w, mixture in zip(
            joint.polynomials, joint.weights, joint.mixture, strict=True
        )
    ]
    design = joint.basis.design(class_points(samples))
    everything = WeightSums.over(np.concatenate(polynomials) @ design.T)
    sigma = np.array([s.cross_section for s in samples])
    errors = np.array([s.cross_section_error for s in samples])
    known = np.where(errors > 0, errors / sigma, 0.0)
    weights = 1 / (known**2 + 1 / everything.effective_number())
    sigma_0 = float(np.average(sigma / (design @ joint.total), weights=weights))
    return tuple(sigma_0 * p for p in polynomials)


def _averaged(samples: SampleSet, alone: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
    """Coefficients of events for the average of samples, by generalised least squares."""
    covariances = []
    for sample, polynomials in zip(samples, alone, strict=True):
        covariance = polynomials.T @ polynomials
        relative = sample.cross_section_error / sample.cross_section
        if relative > 0:
            total = polynomials.sum(axis=0)
            covariance += relative**2 * np.outer(total, total)
        covariances.append(covariance)
    # Coefficients of large and small monomials differ by orders of magnitude: scale them.
    size = np.sqrt(np.mean([np.diag(c) for c in covariances], axis=0))
    size = np.where(size > 0, size, 1.0)
    one = np.eye(len(size))
    precision = [np.linalg.inv(c / np.outer(size, size) + _RIDGE * one) for c in covariances]
    together = np.linalg.inv(np.sum(precision, axis=0))
    return tuple(
        (polynomials / size) @ (together @ p).T * size
        for polynomials, p in zip(alone, precision, strict=True)
    )
