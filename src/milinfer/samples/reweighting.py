"""Compute joint likelihood ratios and scores from the weights of events at other parameter points.

A generator may write the weight of each event at several parameter points (``<rwgt>`` in LHE
files).  These weights determine the squared matrix element of the parton-level truth z of the
event, which is a polynomial in the parameters θ.  The ratio of this polynomial at two points is the
joint likelihood ratio, and the gradient of its logarithm is the joint score (Brehmer, Cranmer,
Louppe, Pavez, arXiv:1805.00013 and 1805.00020).  Averaged over z at fixed observables x, the joint
likelihood ratio and the joint score are the likelihood ratio and the score of x.  A network can
therefore be trained on joint likelihood ratios and scores, and not only on labels.

:func:`bennett` computes averages over the density at one point with the events of all points, by
the multistate Bennett acceptance ratio.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from milinfer.exceptions import MilinferWarning, SampleError
from milinfer.samples.file_points import WEIGHTS_NOTE, points_remedy
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import effective_number
from milinfer.typing import FloatArray, Point
from milinfer.utils.display import shortened
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis, point_matrix

__all__ = [
    "JointDensity",
    "JointRatios",
    "JointTargets",
    "bennett",
    "carried_points",
    "class_points",
    "joint_density",
    "joint_targets",
    "reweight_polynomial",
]


class Pointed(Protocol):
    """Object with a parameter point: a sample, in memory or streamed."""

    @property
    def point(self) -> Point:
        """The parameter point."""


_REMEDY = (
    "a joint likelihood ratio needs the same sign at all points: train with labels='hard', or keep "
    "the squared operator terms in the generator"
)


def reweight_polynomial(sample: Sample, basis: PolynomialBasis) -> FloatArray:
    """Fit the weight of each event as a polynomial in the parameters, from the sample's reweights.

    Parameters
    ----------
    sample
        Events with weights at as many points as the basis has coefficients, or more.
    basis
        Parameters and degree.  The degree is 2 if operators act in production or in decay, and 4 if
        they act in production and in decay.

    Returns
    -------
    ndarray
        Coefficients of the polynomials, shape (n_events, n_coefficients), in the order of
        ``basis.exponents``.

    Raises
    ------
    SampleError
        If there are too few weights, or if the weights are not a polynomial of this degree.

    Examples
    --------
    >>> import numpy as np
    >>> sample = Sample(np.zeros((1, 1)), ("x",), point={"c": 0.0},
    ...                 reweights={f"w{k}": np.array([(1 + k) ** 2.0]) for k in (0, 1, 2)},
    ...                 reweight_points={f"w{k}": {"c": float(k)} for k in (0, 1, 2)})
    >>> reweight_polynomial(sample, PolynomialBasis(("c",), 2)).round(12)
    array([[1., 2., 1.]])
    """
    names = basis.parameters
    ids = [k for k, point in sample.reweight_points.items() if set(point) == set(names)]
    points = [sample.reweight_points[k] for k in ids]
    distinct = carried_points(sample, names)
    if not sample.reweights:
        msg = (
            f"{sample.label}: its events have no weights at other points (<rwgt>), which joint "
            "labels, the exact ratio and reweighted pools need; use labels='hard', and an "
            "EventPool without degree="
        )
        raise SampleError(msg)
    if len(distinct) < len(basis):
        msg = (
            f"{sample.label}: weights at {len(distinct)} values of {', '.join(names)}, but a "
            f"polynomial of degree {basis.degree} needs {len(basis)}; lower the degree (order=1 of "
            "a model is degree 2), or write weights at more points" + _without_point(sample)
        )
        raise SampleError(msg)
    design = basis.design(point_matrix(names, points))
    # Monomials of large and small parameters differ by orders of magnitude: scale columns.
    size = np.abs(design).max(axis=0)
    design /= np.where(size > 0, size, 1.0)
    if np.linalg.matrix_rank(design) < len(basis):
        msg = (
            f"{sample.label}: the weights at {[format_point(p) for p in points]} do not determine "
            f"a polynomial of degree {basis.degree}; write weights at other points"
        )
        raise SampleError(msg)
    weights = np.stack([sample.reweights[k] for k in ids], axis=1)
    coefficients: FloatArray = weights @ np.linalg.pinv(design).T
    misfit = np.abs(coefficients @ design.T - weights).max(axis=1)
    scale = np.abs(weights).max(axis=1)
    if np.any(misfit > 1e-6 * scale):
        worst = int(np.argmax(misfit - 1e-6 * scale))
        msg = (
            f"{sample.label}: the weights of event {worst} are not a polynomial of degree "
            f"{basis.degree} in {', '.join(names)} (relative misfit "
            f"{misfit[worst] / scale[worst]:.2g}); use a higher degree, or remove the weights of "
            "other operators"
        )
        raise SampleError(msg)
    coefficients /= size
    return coefficients


def _without_point(sample: Sample) -> str:
    """Advice that lists the weights without a parameter point, and why they have none."""
    ids = [k for k in sample.reweights if k not in sample.reweight_points]
    if not ids:
        return ""
    reasons = "".join(
        f"; {shortened([repr(i) for i in of])}: {reason}"
        for reason, of in sample.provenance.get(WEIGHTS_NOTE, {}).items()
    )
    return (
        f"; {len(ids)} weights have no parameter point"
        + (reasons or f": {shortened([repr(i) for i in ids])}")
        + f"; {points_remedy()}"
    )


def carried_points(sample: Sample, names: Sequence[str]) -> set[tuple[float, ...]]:
    """Find the distinct values of the parameters `names` at which a sample has weights.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> sorted(carried_points(quadratic.samples(5, [{"c1": 0.5}], seed=1)[0], ["c1"]))
    [(-1.0,), (0.0,), (1.0,)]
    """
    return {
        tuple(float(point[name]) + 0.0 for name in names)
        for point in sample.reweight_points.values()
        if set(point) == set(names)
    }


class JointTargets(NamedTuple):
    """Training targets: joint ratios and scores of the events of one sample, and their weights.

    Parameters
    ----------
    log_ratio
        ln p(z|θ_k)/p(z|θ_0), up to a constant for each event, shape (n_events, K).
    score
        ∇ ln p(z|θ) at θ_k, shape (n_events, K, n_parameters).
    weights
        Event weights, shape (n_events,).  With these weights, the events of all samples together
        follow a mixture of the densities at the K points, in equal parts.
    """

    log_ratio: FloatArray
    score: FloatArray
    weights: FloatArray


class JointRatios(NamedTuple):
    """Joint ratios and scores of a sample set, and its cross-section as a function of θ.

    Parameters
    ----------
    targets
        Training targets of each sample.
    total
        Coefficients of the polynomial σ(θ)/σ(0), shape (n_coefficients,).
    log_sigma
        ln σ(θ_k)/σ(0), shape (K,).
    log_sigma_gradient
        Derivatives of ``log_sigma`` with respect to the parameters, shape (K, n_parameters).
    effective_events
        Effective number of events for the mixture of the K points in equal parts.  Negative
        weights, and points far from the points of the samples, reduce this number.
    """

    targets: tuple[JointTargets, ...]
    total: FloatArray
    log_sigma: FloatArray
    log_sigma_gradient: FloatArray
    effective_events: float


class JointDensity(NamedTuple):
    """Density of the parton-level truth z of events: at any θ, and in the mixture of all samples.

    Parameters
    ----------
    samples
        The events.
    basis
        Monomials of the polynomials.
    polynomials
        For each sample, the coefficients of the polynomials of its events, shape (n_events,
        n_coefficients).  The polynomial of an event is its weight as a function of θ, up to a
        factor.  It is positive at the points of the samples.
    weights
        For each sample, the event weights, shape (n_events,).  They sum to the fraction of the
        sample in the mixture.
    total
        Coefficients of the polynomial σ(θ), up to a factor, shape (n_coefficients,).
    mixture
        For each sample, the density of the mixture of the samples at its events, shape (n_events,).
    """

    samples: SampleSet
    basis: PolynomialBasis
    polynomials: tuple[FloatArray, ...]
    weights: tuple[FloatArray, ...]
    total: FloatArray
    mixture: tuple[FloatArray, ...]

    def at(self, points: FloatArray, remedy: str = _REMEDY) -> tuple[FloatArray, ...]:
        """Compute the densities of the events at K points.

        `points` has the shape (K, n_parameters).  The result has one array of the shape
        (n_events, K) for each sample.

        Raises
        ------
        SampleError
            If the density of an event is not positive at a point.  The message ends with `remedy`.
        """
        sigma = self.basis.design(points) @ self.total
        sample_points = class_points(self.samples)
        densities = []
        for k, (sample, polynomial) in enumerate(zip(self.samples, self.polynomials, strict=True)):
            _positive(
                sample,
                polynomial,
                self.basis,
                np.concatenate([sample_points[k : k + 1], points]),
                remedy,
            )
            densities.append(polynomial @ self.basis.design(points).T / sigma)
        return tuple(densities)


def joint_density(
    samples: SampleSet,
    degree: int,
    *,
    total: FloatArray | None = None,
    shares: FloatArray | None = None,
    remedy: str = _REMEDY,
) -> JointDensity:
    """Compute the density of the parton-level truth of each event as a function of θ.

    The events of all samples together determine the normalisation of the density.

    Parameters
    ----------
    samples
        Events at one or several points.  Each event has weights at enough points to determine its
        weight as a polynomial in θ.
    degree
        Degree of this polynomial.
    total
        Coefficients of σ(θ)/σ(0), if they are known from a larger set of events; default: they are
        computed from `samples`.
    shares
        Fraction of each sample in the mixture, shape (n_samples,), summing to one; default: equal.
    remedy
        Advice at the end of the error message.

    Raises
    ------
    SampleError
        If weights are missing, or if the weight of an event at the point of a sample is zero or
        does not have the sign that it has at the point of its generation.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.datasets import quadratic
    >>> joint = joint_density(quadratic.samples(1000, [{"c1": 0.0}], seed=1), degree=2)
    >>> joint.at(np.array([[0.0]]))[0].round(12).min()
    np.float64(1.0)
    """
    basis = PolynomialBasis(samples.parameters, degree)
    polynomials = [reweight_polynomial(s, basis) for s in samples]
    sample_points = class_points(samples)
    share = np.full(len(samples), 1 / len(samples)) if shares is None else shares
    weights = [_unit_weights(s) * a for s, a in zip(samples, share, strict=True)]
    polynomials = [
        _positive(
            s, polynomial, basis, np.concatenate([sample_points[k : k + 1], sample_points]), remedy
        )
        for k, (s, polynomial) in enumerate(zip(samples, polynomials, strict=True))
    ]
    # The weights at θ over those at the point of generation: only ratios within an event count.
    design = basis.design(sample_points)
    if total is None:
        everything = np.concatenate(polynomials)
        total = bennett(everything @ design.T, np.concatenate(weights), everything, shares=share)
    mixture = [polynomial @ (design.T / (design @ total)) @ share for polynomial in polynomials]
    return JointDensity(
        samples=samples,
        basis=basis,
        polynomials=tuple(polynomials),
        weights=tuple(weights),
        total=total,
        mixture=tuple(mixture),
    )


def joint_targets(
    samples: SampleSet, points: FloatArray, degree: int, *, total: FloatArray | None = None
) -> JointRatios:
    """Compute joint likelihood ratios and scores of all events at K points.

    Parameters
    ----------
    samples
        Events at one or several points.  Each event has weights at enough points to determine its
        weight as a polynomial in θ.
    points
        The K points, shape (K, n_parameters).
    degree
        Degree of this polynomial.
    total
        Coefficients of σ(θ)/σ(0), if they are known from a larger set of events; default: they are
        computed from `samples`.

    Raises
    ------
    SampleError
        If weights are missing, or if the weight of an event at a point is zero or does not have the
        sign that it has at the point of its generation.  The ratio then has no logarithm.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.datasets import quadratic
    >>> samples = quadratic.samples(1000, [{"c1": 0.0}], seed=1)
    >>> joint = joint_targets(samples, np.array([[0.0], [0.5]]), degree=2)
    >>> joint.targets[0].log_ratio.shape, joint.targets[0].score.shape
    ((1000, 2), (1000, 2, 1))
    >>> 800 < joint.effective_events < 1000
    True
    """
    joint = joint_density(samples, degree, total=total)
    basis, total = joint.basis, joint.total
    slopes = np.stack([basis.design_gradient(p) for p in points])
    sigma, sigma_slope = basis.design(points) @ total, slopes @ total
    targets, mixture_weights = [], []
    parts = zip(joint.polynomials, joint.at(points), joint.mixture, joint.weights, strict=True)
    for polynomial, density, mixture, w in parts:
        mixture_weights.append(w * density.mean(axis=1) / mixture)
        score = np.einsum("kpj,nj->nkp", slopes, polynomial) / (density * sigma)[:, :, None]
        targets.append(
            JointTargets(np.log(density), score - sigma_slope / sigma[:, None], mixture_weights[-1])
        )
    return JointRatios(
        targets=tuple(targets),
        total=total,
        log_sigma=np.log(sigma / total[0]),
        log_sigma_gradient=sigma_slope / sigma[:, None],
        effective_events=effective_number(np.concatenate(mixture_weights)),
    )


def _unit_weights(sample: Sample) -> FloatArray:
    total = sample.weights.sum()
    if not total > 0:
        msg = (
            f"{sample.label}: the event weights sum to {total:g}; a sample needs a positive sum "
            "of weights"
        )
        raise SampleError(msg)
    normalised: FloatArray = sample.weights / total
    return normalised


def _positive(
    sample: Sample,
    polynomial: FloatArray,
    basis: PolynomialBasis,
    points: FloatArray,
    remedy: str,
) -> FloatArray:
    """Polynomials as positive densities; the first of the points is the sample's own.

    Events of negative weight have negative weights at all points, and positive ratios of them.
    """
    value = polynomial @ basis.design(points).T
    sign = np.where(value[:, :1] < 0, -1.0, 1.0)
    if not np.all(sign * value > 0):
        event, k = (int(i) for i in np.argwhere(~(sign * value > 0))[0])
        point_text = format_point(dict(zip(basis.parameters, points[k].tolist(), strict=True)))
        msg = (
            f"{sample.label}: event {event} has weight {value[event, k]:g} at {point_text} and "
            f"{value[event, 0]:g} at its own point; {remedy}"
        )
        raise SampleError(msg)
    return polynomial if np.all(sign > 0) else sign * polynomial


def class_points(samples: Iterable[Pointed]) -> FloatArray:
    """Return the points of the samples, shape (n_samples, n_parameters).

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> class_points(gaussian.samples(2, [0.0, 0.5], seed=1))
    array([[0. ],
           [0.5]])
    """
    return np.array([list(s.point.values()) for s in samples], dtype=np.float64)


_MAX_ITERATIONS = 1000
# Rows at a time: the arrays may be files mapped into memory, and nothing else grows with them.
_ROWS = 1 << 20


def bennett(
    ratios: FloatArray,
    weights: FloatArray,
    values: FloatArray,
    shares: FloatArray | None = None,
) -> FloatArray:
    r"""Average quantities at the reference point with events of all points (Bennett's method).

    The events i with weights :math:`w_i` follow a mixture of G densities,
    :math:`q = \sum_g a_g r_g\,p_0/Z_g`.  Here :math:`p_0` is the density at the reference, and
    :math:`r_g` is the ratio of density g to :math:`p_0`, without normalisation.  The mean of a
    quantity v under :math:`p_0` is :math:`\sum_i w_i v(x_i)\,p_0/q`.  The normalisation
    :math:`Z_g` is the mean of :math:`r_g` under :math:`p_0`, and q contains all :math:`Z_g`.  The
    equations for all :math:`Z_g` are therefore solved by iteration (Shirts and Chodera, J. Chem.
    Phys. 129, 124105, 2008).  In this way the events of all points determine the normalisation, not
    only the events at the reference.

    Parameters
    ----------
    ratios
        Ratios :math:`r_g(x_i)` for the points of generation, shape (n_events, G), positive.
    weights
        Event weights, shape (n_events,); the weights of sample g sum to :math:`a_g`.
    values
        Quantities to average, shape (n_events, n_values).  The first quantity must have the mean
        one.
    shares
        The fractions :math:`a_g` of the samples, summing to one, shape (G,); default: equal.

    Returns
    -------
    ndarray
        Means, shape (n_values,); the first is one.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.datasets import quadratic
    >>> sample = quadratic.generate(20_000, {"c1": 0.0}, seed=1)
    >>> theta = np.array([[0.0], [1.0]])
    >>> ratio = np.exp(quadratic.log_likelihood_ratio(sample.features, theta))
    >>> bennett(ratio[:, :1], np.full(20_000, 1 / 20_000), ratio).round(1)
    array([1., 1.])
    """
    normalisation = np.ones(ratios.shape[1])
    share = np.full(len(normalisation), 1 / len(normalisation)) if shares is None else shares
    for _ in range(_MAX_ITERATIONS):
        updated = _means(ratios, weights, ratios, share / normalisation)
        # Only ratios of the Z are determined; the scale follows from the first of the values.
        updated /= updated[0]
        converged = np.allclose(updated, normalisation / normalisation[0], rtol=1e-10, atol=0)
        normalisation = updated
        if converged:
            break
    else:
        msg = (
            f"the normalisation of the samples has not converged after {_MAX_ITERATIONS} "
            "iterations, because the samples hardly overlap; add samples at points between theirs"
        )
        warnings.warn(msg, MilinferWarning, stacklevel=2)
    means = _means(ratios, weights, values, share / normalisation)
    means /= means[0]
    return means


def _means(
    ratios: FloatArray, weights: FloatArray, values: FloatArray, mixture: FloatArray
) -> FloatArray:
    """Sums of the values with the weights over the mixture of ratios, shape (n_values,)."""
    total = np.zeros(values.shape[1])
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        total += (weights[rows] / (ratios[rows] @ mixture)) @ values[rows]
    return total
