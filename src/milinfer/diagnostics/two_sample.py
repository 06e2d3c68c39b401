"""Two-sample tests: do weights r(x|θ) turn events of θ0 into events of θ? An exact ratio does.

If r is exact, events of θ0 with weights r(x|θ) have the distribution of the events of θ in every
feature ([NT], §III C 2 and Fig. 3a), and no classifier can separate the two (Cranmer, Pavez and
Louppe, arXiv:1506.02169).  The same comparison without the weights r shows how large the difference
between θ0 and θ is.  Event weights may be negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc, chdtri

from milinfer.diagnostics.roc import weighted_auc
from milinfer.samples.sample import Sample
from milinfer.samples.weights import effective_number
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.display import brief

__all__ = [
    "Agreement",
    "CalibrationCurve",
    "FeatureClosure",
    "Separation",
    "calibration_curve",
    "common_edges",
    "feature_closure",
    "separation",
]

_FEWEST = 10.0  # effective events of each sample in a bin, for χ² to follow its distribution
_PRODUCTS = 12  # largest number of features whose products the classifier uses
_RIDGE = 1e-3  # added to the variances of the inputs, which may be degenerate
_FOR_EDGES = 20_000  # number of events that suffices for the edges of the bins
_MOST = 200_000  # largest number of events of a sample that the classifier uses


class Agreement(NamedTuple):
    """χ² between two samples, without and with reweighting of one of them.

    Parameters
    ----------
    chi2, dof
        χ² with reweighting, and degrees of freedom.
    original
        χ² without reweighting.  It is computed with the same covariance matrix as `chi2`.
    """

    chi2: float
    dof: int
    original: float

    @property
    def p_value(self) -> float:
        """Probability of a larger χ² if the two samples agree after reweighting."""
        return float(chdtrc(self.dof, self.chi2)) if self.dof else 1.0

    @property
    def difference(self) -> float:
        """Difference without reweighting: ``original`` minus its expected noise, ``dof``."""
        return max(self.original - self.dof, 0.0)

    def remaining(self, difference: float) -> float:
        """Return the part of a difference that remains after reweighting: √((χ² − dof)/difference).

        Examples
        --------
        >>> Agreement(34.0, 9, 100.0).remaining(100.0)
        0.5
        """
        left = max(self.chi2 - self.dof, 0.0)
        if left == 0:
            return 0.0
        return float(np.sqrt(left / difference)) if difference > 0 else float("inf")

    def would_show(self, part: float, difference: float, p_value: float) -> bool:
        """Tell whether the test is sensitive to a remaining part of a difference.

        It is sensitive if this part of `difference` would give a p-value below `p_value` in nine of
        ten cases.

        Examples
        --------
        >>> agreement = Agreement(9.0, 9, 5000.0)
        >>> agreement.would_show(0.2, 5000.0, 0.0027), agreement.would_show(0.01, 5000.0, 0.0027)
        (True, False)
        """
        if self.dof == 0:
            return False
        expected = part**2 * difference
        spread = np.sqrt(2 * (self.dof + 2 * expected))
        return bool(self.dof + expected - 1.28 * spread > chdtri(self.dof, p_value))


class FeatureClosure(NamedTuple):
    """Normalised histograms of one feature: at θ, and at θ0 without and with reweighting to θ."""

    theta: float
    feature: str
    edges: FloatArray
    target: FloatArray
    target_error: FloatArray
    before: FloatArray
    after: FloatArray
    after_error: FloatArray
    agreement: Agreement

    def __repr__(self) -> str:
        return brief(self)


class Separation(NamedTuple):
    """Area under the ROC curve of a classifier between θ and θ0, without and with reweighting."""

    theta: float
    before: float
    before_error: float
    after: float
    after_error: float


class CalibrationCurve(NamedTuple):
    """Probability r/(1 + r) that an event comes from θ, and observed fraction, in bins."""

    theta: float
    predicted: FloatArray
    observed: FloatArray
    error: FloatArray
    agreement: Agreement

    def __repr__(self) -> str:
        return brief(self)


def feature_closure(
    theta: float,
    target: Sample,
    source: Sample,
    ratio: FloatArray,
    n_bins: int = 10,
    edges: Mapping[str, FloatArray] | None = None,
) -> list[FeatureClosure]:
    """Compare two histograms of every feature: target, and source with weights r.

    Both histograms are normalised to one.  χ² uses the full covariance matrix of the histograms, so
    weights may be negative.  Constant features are left out.

    Parameters
    ----------
    theta
        Parameter value θ of the target; NaN if the target is not described by a single parameter.
    target, source
        Events at θ (target) and events at θ0 (source).
    ratio
        Ratio r(x|θ) of the source events, shape (n,).
    n_bins
        Largest number of bins.  The edges are quantiles of all events together.  Bins with few
        events are merged.
    edges
        For each feature, the edges of the bins, for example from :func:`common_edges`.  Default:
        quantiles.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> source, target = gaussian.samples(5_000, [0.0, 0.5], seed=1)
    >>> exact = np.exp(gaussian.log_likelihood_ratio(source.column("x0"), 0.5))
    >>> (closure,) = feature_closure(0.5, target, source, exact)
    >>> closure.agreement.p_value > 0.01, closure.agreement.original > 500
    (True, True)
    """
    weights = source.weights * ratio
    out = []
    for k, name in enumerate(target.feature_names):
        x1 = target.features[:, k].astype(np.float64)
        x0 = source.features[:, k].astype(np.float64)
        bins = _quantile_edges(np.concatenate([x1, x0]), n_bins) if edges is None else edges[name]
        bins = _merge_small_bins(bins, [(x1, target.weights), (x0, source.weights), (x0, weights)])
        if len(bins) < 3:
            continue
        i1, i0 = _bin_index(bins, x1), _bin_index(bins, x0)
        n = len(bins) - 1
        h1, c1 = _binned_mean(i1, target.weights, n)
        before, _ = _binned_mean(i0, source.weights, n)
        after, c0 = _binned_mean(i0, weights, n)
        out.append(
            FeatureClosure(
                theta=theta,
                feature=name,
                edges=bins,
                target=h1,
                target_error=np.sqrt(np.diag(c1)),
                before=before,
                after=after,
                after_error=np.sqrt(np.diag(c0)),
                agreement=_agreement(after - h1, before - h1, c1 + c0),
            )
        )
    return out


def common_edges(samples: Sequence[Sample], n_bins: int = 10) -> dict[str, FloatArray]:
    """Compute bin edges for each feature that are suited for all of several samples.

    The edges are quantiles of the feature over all samples together.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> edges = common_edges(gaussian.samples(5_000, [0.0, 0.5], seed=1), n_bins=4)["x0"]
    >>> len(edges), bool(0.1 < edges[2] < 0.4)
    (5, True)
    """
    out = {}
    for k, name in enumerate(samples[0].feature_names):
        parts: list[FloatArray] = []
        for sample in samples:
            x = sample.features[:, k].astype(np.float64)
            parts += [x[:: max(len(x) // _FOR_EDGES, 1)], np.array([x.min(), x.max()])]
        out[name] = _quantile_edges(np.concatenate(parts), n_bins)
    return out


def calibration_curve(
    theta: float, target: Sample, source: Sample, llr: Sequence[FloatArray], n_bins: int = 10
) -> CalibrationCurve:
    """Compare observed and predicted fractions of events from θ, in bins of the prediction.

    Events from θ and events from θ0 are mixed with equal total weights.  The prediction for an
    event is r/(1 + r).

    Parameters
    ----------
    theta, target, source
        As for :func:`feature_closure`.
    llr
        Log-ratio λ = ln r(x|θ) of the events of `target`, and of the events of `source`: two arrays
        of shape (n,).
    n_bins
        Largest number of bins.  The edges are quantiles of the prediction.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> source, target = gaussian.samples(5_000, [0.0, 0.5], seed=1)
    >>> llr = [gaussian.log_likelihood_ratio(s.column("x0"), 0.5) for s in (target, source)]
    >>> curve = calibration_curve(0.5, target, source, llr)
    >>> curve.agreement.p_value > 0.01, bool(curve.predicted[0] < 0.3)
    (True, True)
    """
    p1, p0 = (0.5 * (1 + np.tanh(0.5 * values)) for values in llr)
    edges = _quantile_edges(np.concatenate([p1, p0]), n_bins)
    edges = _merge_small_bins(edges, [(p1, target.weights), (p0, source.weights)])
    n = max(len(edges) - 1, 1)
    i1, i0 = _bin_index(edges, p1), _bin_index(edges, p0)
    # E_θ[1 − p] = E_θ0[p] in every bin of p, since p/(1 − p) = r.
    m1, c1 = _binned_mean(i1, target.weights, n, 1 - p1)
    m0, c0 = _binned_mean(i0, source.weights, n, p0)
    s, cs = _binned_mean(i1, target.weights, n)
    b, cb = _binned_mean(i0, source.weights, n)
    both = s + b
    error = np.sqrt(b**2 * np.diag(cs) + s**2 * np.diag(cb)) / both**2
    predicted = (s - m1 + m0) / both
    return CalibrationCurve(
        theta=theta,
        predicted=predicted,
        observed=s / both,
        error=error,
        agreement=_agreement(m1 - m0, (s - b) / 2, c1 + c0),
    )


def separation(
    theta: float, target: Sample, source: Sample, ratio: FloatArray, seed: int = 0
) -> Separation | None:
    """Measure how well a classifier separates two samples, without and with reweighting.

    This is the classifier two-sample test of Lopez-Paz and Oquab (ICLR 2017).  The classifier is
    Fisher's linear discriminant of the features, of their squares and, for 12 features or fewer, of
    their products.  This discriminant is the first step of a logistic regression, is computed
    without iterations, and can use negative weights.  It is trained on one half of the events and
    evaluated on the other half.  If a sample has more than 200 000 events, 200 000 of them are
    drawn at random.

    Parameters
    ----------
    theta, target, source, ratio
        As for :func:`feature_closure`.
    seed
        Random seed of the split into halves.

    Returns
    -------
    Separation or None
        Areas under the ROC curve without and with reweighting, and their errors.  The area is 0.5
        if the classifier cannot separate the samples.  None if there are fewer than ten training
        events for each input of the classifier.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> source, target = gaussian.samples(5_000, [0.0, 0.5], seed=1)
    >>> exact = np.exp(gaussian.log_likelihood_ratio(source.column("x0"), 0.5))
    >>> result = separation(0.5, target, source, exact)
    >>> round(result.before, 1), abs(result.after - 0.5) < 3 * result.after_error
    (0.6, True)
    """
    rng = np.random.default_rng(seed)
    if len(target) > _MOST:
        target = target.take(rng.permutation(len(target))[:_MOST])
    if len(source) > _MOST:
        rows = rng.permutation(len(source))[:_MOST]
        source, ratio = source.take(rows), ratio[rows]
    half1, half0 = (rng.permutation(len(s)) % 2 == 0 for s in (target, source))
    together = np.concatenate([target.features[half1], source.features[half0]]).astype(np.float64)
    centre, width = together.mean(axis=0), together.std(axis=0)
    width = np.where(width > 0, width, 1.0)
    z1, z0 = (_inputs((s.features - centre) / width) for s in (target, source))
    weights = source.weights * ratio
    train = [target.weights[half1], source.weights[half0], weights[half0]]
    if min(effective_number(w) for w in train) < 10 * z1.shape[1]:
        return None
    areas = []
    for w0 in (source.weights, weights):
        direction = _discriminant(z1[half1], target.weights[half1], z0[half0], w0[half0])
        areas.append(
            weighted_auc(
                z1[~half1] @ direction, target.weights[~half1], z0[~half0] @ direction, w0[~half0]
            )
        )
    (before, before_error), (after, after_error) = areas
    return Separation(
        theta=theta,
        before=before,
        before_error=before_error,
        after=after,
        after_error=after_error,
    )


def _inputs(z: FloatArray) -> FloatArray:
    """Standardised features, clipped, with squares and products."""
    z = np.clip(z, -5, 5)
    first, second = np.triu_indices(z.shape[1])
    if z.shape[1] > _PRODUCTS:
        first = second = np.arange(z.shape[1])
    return np.concatenate([z, z[:, first] * z[:, second]], axis=1)


def _discriminant(z1: FloatArray, w1: FloatArray, z0: FloatArray, w0: FloatArray) -> FloatArray:
    """Direction that best separates two weighted samples, by Fisher's criterion."""
    means, total = [], np.zeros((z1.shape[1], z1.shape[1]))
    for z, w in ((z1, w1 / w1.sum()), (z0, w0 / w0.sum())):
        means.append(w @ z)
        total += (z - means[-1]).T @ (w[:, None] * (z - means[-1])) / 2
    total += _RIDGE * np.eye(len(total))
    direction: FloatArray = np.linalg.solve(total, means[0] - means[1])
    return direction


def _quantile_edges(x: FloatArray, n_bins: int) -> FloatArray:
    """Quantiles as edges; a value that most events have gets a bin of its own."""
    low, high = float(x.min()), float(x.max())
    some = x[:: max(len(x) // _FOR_EDGES, 1)]
    inner = np.unique(np.quantile(some, np.arange(1, n_bins) / n_bins, method="higher"))
    inner = inner[inner > low]
    if len(inner) == 0 and high > low:
        inner = np.array([x[x > low].min()])
    return np.concatenate([[low], inner, [high]]) if high > low else np.array([low, high])


def _merge_small_bins(
    edges: FloatArray, samples: Sequence[tuple[FloatArray, FloatArray]]
) -> FloatArray:
    """Drop edges that leave too few effective events of a sample in a bin."""
    if len(edges) < 3:
        return edges
    n = len(edges) - 1
    sums, squares = np.empty((len(samples), n)), np.empty((len(samples), n))
    for k, (x, w) in enumerate(samples):
        index = _bin_index(edges, x)
        sums[k] = np.bincount(index, w, minlength=n)
        squares[k] = np.bincount(index, w * w, minlength=n)
    joined, start = [float(edges[0])], 0
    for stop in range(1, n + 1):
        total = np.maximum(sums[:, start:stop].sum(axis=1), 0.0)
        if np.all(total**2 >= _FEWEST * squares[:, start:stop].sum(axis=1)) and np.all(total > 0):
            joined.append(float(edges[stop]))
            start = stop
    if start < n:  # too few events in the last bin: merge it with the one before
        joined[max(len(joined) - 1, 1) :] = [float(edges[-1])]
    return np.array(joined)


def _bin_index(edges: FloatArray, values: FloatArray) -> IntArray:
    """Index of the bin of each value; values outside are in the first or the last bin."""
    return np.searchsorted(edges[1:-1], values, side="right")


def _binned_mean(
    index: IntArray, weights: FloatArray, n_bins: int, values: FloatArray | float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """E[value; bin] in each bin (of 1: the share of the events), and their covariance."""
    total = weights.sum()
    mean = np.bincount(index, weights * values, minlength=n_bins) / total
    first = np.bincount(index, weights**2 * values, minlength=n_bins)
    second = np.bincount(index, weights**2 * values**2, minlength=n_bins)
    cross = np.outer(first, mean)
    covariance = np.diag(second) - cross - cross.T + np.square(weights).sum() * np.outer(mean, mean)
    return mean, covariance / total**2


def _agreement(after: FloatArray, before: FloatArray, covariance: FloatArray) -> Agreement:
    values, vectors = np.linalg.eigh(covariance)
    good = values > 1e-10 * max(values[-1], 1e-300)
    directions = vectors[:, good] / np.sqrt(values[good])
    chi2, original = (float(np.square(d @ directions).sum()) for d in (after, before))
    return Agreement(chi2, int(good.sum()), original)
