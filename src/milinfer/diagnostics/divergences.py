r"""Distances between two samples, and mutual information, from a learned likelihood ratio.

The value of a loss at its minimum is a divergence of the two densities ([NT], eq. 9 and
table I):

==================== ============================================= ==============================
kind                 definition                                    loss, A(f) and B(f)
==================== ============================================= ==============================
kullback-leibler     :math:`\int p_1 \ln(p_1/p_0)`                 maximum likelihood classifier
jensen-shannon       :math:`\frac12\int p_1\ln\frac{2p_1}{p_0+p_1}
                     + \frac12\int p_0\ln\frac{2p_0}{p_0+p_1}`     binary cross-entropy
triangular           :math:`\frac12\int (p_1-p_0)^2/(p_1+p_0)`     mean squared error
squared-hellinger    :math:`1-\int\sqrt{p_1 p_0}`                  square root
==================== ============================================= ==============================

For any other ratio than the exact one the loss is larger.  So on events that the ratio has *not*
been trained on, the expectation of every estimate here is at most the divergence: a lower bound,
up to the standard error that comes with it.  On the training events it is not.

The mutual information of two sets of columns is the Kullback–Leibler divergence of their joint
density from the product of both (eq. 30); :func:`joint_and_product` makes samples of the two to
train a classifier on.  Where one of them is the label of two equally likely samples it is also the
Jensen–Shannon divergence of these, so that an ordinary classifier of the two gives it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit

from milinfer.diagnostics.checks import weighted_mean
from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.samples.samples import Sample, SampleSet
from milinfer.typing import FloatArray, Seed

__all__ = ["Divergence", "DivergenceKind", "divergence", "joint_and_product"]

DivergenceKind = Literal["kullback-leibler", "jensen-shannon", "triangular", "squared-hellinger"]


class Divergence(NamedTuple):
    """Lower bound of a divergence, in nats where it has a logarithm, and its standard error.

    The error is that of the means over the events.  With large ratios that of the
    Kullback–Leibler divergence, where the ratio itself is averaged, can be too small.
    """

    value: float
    error: float


class _Terms(NamedTuple):
    """Means to take over events of numerator and reference, and what makes them a divergence."""

    numerator: FloatArray
    reference: FloatArray
    factor: float
    offset: float


def divergence(
    kind: DivergenceKind,
    numerator: ArrayLike,
    reference: ArrayLike,
    numerator_weights: ArrayLike | None = None,
    reference_weights: ArrayLike | None = None,
) -> Divergence:
    """Divergence of two densities, from a log-ratio on events that it was not trained on.

    Parameters
    ----------
    kind
        See the table of the module.
    numerator, reference
        ln p₁(x)/p₀(x) of events of p₁ and of p₀, shapes (n₁,) and (n₀,); such as a column of
        ``model.event_llr(held_out)``.
    numerator_weights, reference_weights
        Of the same shapes, negative ones allowed; default: all 1.

    Raises
    ------
    ConfigurationError
        If there is no such divergence.
    SampleError
        If shapes disagree, a ratio is not finite, or weights do not sum to a positive number.

    Examples
    --------
    The Gaussians N(±0.5, 1) and their exact ratio; the divergence is 0.5:

    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> one, zero = rng.normal(0.5, 1, 10_000), rng.normal(-0.5, 1, 10_000)
    >>> found = divergence("kullback-leibler", one, zero)
    >>> round(found.value, 2), round(found.error, 2)
    (0.51, 0.02)
    """
    both = [
        _events(name, ratio, weights)
        for name, ratio, weights in (
            ("numerator", numerator, numerator_weights),
            ("reference", reference, reference_weights),
        )
    ]
    (r1, w1), (r0, w0) = both
    terms = _terms(kind, r1, r0)
    value1, error1 = weighted_mean(terms.numerator, w1)
    value0, error0 = weighted_mean(terms.reference, w0)
    return Divergence(
        terms.offset + terms.factor * float(value1 + value0),
        terms.factor * float(np.hypot(error1, error0)),
    )


def joint_and_product(sample: Sample, columns: Sequence[str], *, seed: Seed) -> SampleSet:
    """Events as they are, and with some of their columns exchanged between events.

    The first follow p(x, y), the second p(x) p(y), where y are the `columns` and x all others; the
    divergence of the first from the second is the mutual information of x and y.

    Parameters
    ----------
    sample
        Events of equal weights.
    columns
        Features to exchange, all by the same permutation.
    seed
        Of the permutation.

    Returns
    -------
    SampleSet
        The product at ``joint = 0`` and the joint density at ``joint = 1``.  Split the events
        before this, so that held-out events are new in both.

    Raises
    ------
    SampleError
        If the weights differ, or a column is not there, or none or all are named.

    Examples
    --------
    >>> import numpy as np
    >>> label = np.repeat([0.0, 1.0], 3)
    >>> events = Sample(np.column_stack([label + 10, label]), ("x", "label"))
    >>> product, joint = joint_and_product(events, ["label"], seed=1)
    >>> bool(np.all(joint.column("x") - joint.column("label") == 10))
    True
    >>> bool(np.all(product.column("x") - product.column("label") == 10))
    False
    """
    if not np.all(sample.weights == sample.weights[:1]):
        msg = f"{sample.label}: columns of events with different weights cannot be exchanged"
        raise SampleError(msg)
    chosen = [name in columns for name in sample.feature_names]
    if sum(chosen) != len(set(columns)) or all(chosen) or not any(chosen):
        msg = (
            f"{sample.label}: columns {list(columns)} are to be exchanged; name some, but not all, "
            f"of {', '.join(sample.feature_names)}"
        )
        raise SampleError(msg)
    order = np.random.default_rng(seed).permutation(len(sample))
    features = np.where(chosen, sample.features[order], sample.features)
    joint = dataclasses.replace(sample, point={"joint": 1.0}, reweights={}, reweight_points={})
    product = dataclasses.replace(joint, features=features, point={"joint": 0.0})
    return SampleSet((product, joint))


def _terms(kind: str, r1: FloatArray, r0: FloatArray) -> _Terms:
    if kind == "kullback-leibler":
        return _Terms(r1, 1 - np.exp(r0), 1, 0)
    if kind == "jensen-shannon":
        return _Terms(log_expit(r1), log_expit(-r0), 0.5, np.log(2))
    if kind == "triangular":
        return _Terms(-(expit(-r1) ** 2), -(expit(r0) ** 2), 2, 1)
    if kind == "squared-hellinger":
        return _Terms(-np.exp(-r1 / 2), -np.exp(r0 / 2), 0.5, 1)
    known = ", ".join(get_args(DivergenceKind))
    msg = f"there is no divergence {kind!r}; choose one of {known}"
    raise ConfigurationError(msg)


def _events(
    name: str, ratio: ArrayLike, weights: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    values = np.asarray(ratio, dtype=np.float64)
    given = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or given.shape != values.shape:
        msg = (
            f"log-ratios of the {name} have shape {values.shape}, weights {given.shape}; give both "
            "for two events or more, in one dimension"
        )
        raise SampleError(msg)
    good = np.isfinite(values) & np.isfinite(given)
    if not good.all() or not given.sum() > 0:
        what = f"event {int(np.argmin(good))} is not finite" if not good.all() else "weights vanish"
        msg = f"log-ratios of the {name}: {what}"
        raise SampleError(msg)
    return values, given
