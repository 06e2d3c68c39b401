r"""Goodness of fit: test whether data are compatible with the model that was fitted to them.

An unbinned fit does not give a χ² that says whether the model describes the data.  Here the model
is represented by simulated events, with weights for the fitted parameters.  Four kinds of test
statistics compare these events with the data:

* Pearson's χ² of a histogram of each feature and of the score;
* a classifier between data and simulation, with the statistic :math:`N d^T (C + \lambda)^{-1} d` of
  a regularised kernel Fisher discriminant (Harchaoui, Bach and Moulines, NIPS 2007).  Here *d* is
  the difference between the means of data and simulation, for features, their products and random
  Fourier features, C is the covariance matrix of these quantities, and λ regularises it.  The
  classifier sees deviations that no single feature shows;
* the mean of ln of the fitted density over the events, which is too small or too large if there are
  events that the model does not describe;
* the number of events, if it enters the fit.

p-values are computed with toys that are generated at the fitted parameters.  The model is fitted to
each toy again, because a fit absorbs part of a deviation, in the data as well as in toys.  The fit
of a toy is one step of Newton's method, θ̂ + V Σ s(x_i), with the scores s of the events of the toy
and the covariance matrix V of the fit to the data.  The result differs from the maximum of the
likelihood by terms of order 1/N.

One half of the simulated events is used to set up the bins and the classifier.  The other half
gives the expectation and the toys, so that the classifier has seen neither the toys nor the data.

The finite number of simulated events makes the simulation fluctuate, so the data differ from it
also for this reason.  Toys that are drawn from the simulated events do not contain this
fluctuation.  Therefore a normal fluctuation with the same covariance is added to each toy.  It is
independent for each process, because the yields of the processes are given by the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import gamma

from milinfer.diagnostics.fitted_simulation import (
    FittedSimulation,
    by_ratio,
    by_weights,
    fewer_events,
    steps_of,
    valid_fit,
)
from milinfer.exceptions import ConfigurationError, ModelError, SampleError
from milinfer.likelihood.cost import dataset_cost
from milinfer.likelihood.fits import minuit
from milinfer.likelihood.mixture import event_surfaces
from milinfer.likelihood.models import AnyModel, as_model, require_unseen
from milinfer.samples.argument_checks import require_sample, require_samples
from milinfer.samples.fingerprints import any_shared, sketch, sketch_each
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import effective_number
from milinfer.toys.pool import EventPool
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.display import arrow_table, html_table
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FitTest",
    "GoodnessOfFit",
    "PostfitHistogram",
    "goodness_of_fit",
    "examine_fit",
]

_FOURIER = 64  # random Fourier features
_PRODUCTS = 12  # largest number of features whose products the classifier uses
_RIDGE = 1e-2  # of the mean variance of the inputs of the classifier
_IN_A_BIN = 5.0  # least expected events of a bin, for Pearson's χ²
_AT_ONCE = 250  # toys whose events are drawn together


class FitTest(NamedTuple):
    """Result of one test: the statistic of the data, compared with toys generated at the fit.

    Parameters
    ----------
    name
        Name of the test.
    value
        Statistic of the data.
    expected
        Mean of the statistic over toys.
    p_value
        (1 + n)/(1 + n_toys), where n is the number of toys that deviate at least as much as the
        data.
    """

    name: str
    value: float
    expected: float
    p_value: float


class PostfitHistogram(NamedTuple):
    """Data and fitted simulation in bins of one observable.

    Parameters
    ----------
    observable
        Name of the observable.
    edges
        Edges of the bins, shape (n_bins + 1,).  The first and the last edge are the smallest and
        the largest simulated value.
    counts
        Number of data events in each bin, shape (n_bins,).
    expected, error
        Number of events that the fitted simulation expects in each bin, and its error, shape
        (n_bins,).  The error contains the errors of the fitted parameters and the finite number of
        simulated events.
    """

    observable: str
    edges: FloatArray
    counts: FloatArray
    expected: FloatArray
    error: FloatArray


@dataclass(frozen=True, eq=False)
class GoodnessOfFit:
    """Tests of one dataset against the model that was fitted to it.

    Parameters
    ----------
    model
        Name of the model.
    point
        Fitted values of the parameters, by name.
    n_events, n_toys
        Number of events in the data, and number of toys.
    tests
        Result of each test.
    p_value
        Fraction of toys in which the smallest p-value of all tests is at most as large as the
        smallest p-value in the data.  This takes into account that there are many tests.
    histograms
        Data and fitted simulation in bins of each observable, for
        :func:`milinfer.plotting.plot_fit_tests`.
    """

    model: str
    point: Point
    n_events: int
    n_toys: int
    tests: tuple[FitTest, ...]
    p_value: float
    histograms: tuple[PostfitHistogram, ...] = ()

    header = ("test", "data", "toys", "p-value")

    def __getitem__(self, name: str) -> FitTest:
        for one in self.tests:
            if one.name == name:
                return one
        msg = f"no test {name!r}; there are {', '.join(t.name for t in self.tests)}"
        raise KeyError(msg)

    def __repr__(self) -> str:
        return f"GoodnessOfFit({self.model} at {format_point(self.point)}: p = {self.p_value:.3g})"

    @property
    def worst(self) -> FitTest:
        """Test with the smallest p-value."""
        return min(self.tests, key=lambda t: t.p_value)

    @property
    def sentence(self) -> str:
        """Result in one sentence."""
        return (
            f"Of {self.n_toys} datasets simulated at the fit, {self.p_value:.1%} deviate as much "
            f"from the fit as the data do, or more. The data deviate most in "
            f"{self.worst.name} (p = {self.worst.p_value:.3f} for this test alone)."
        )

    def rows(self) -> list[list[str]]:
        """Cells of the table, as text."""
        return [
            [t.name, f"{t.value:.4g}", f"{t.expected:.4g}", f"{t.p_value:.3f}"] for t in self.tests
        ]

    def _repr_html_(self) -> str:
        return html_table(self.header, self.rows(), title=self.sentence)

    def to_table(self) -> pa.Table:
        """Table with one row for each test."""
        types = {"name": str, "value": float, "expected": float, "p_value": float}
        return arrow_table(types, [t._asdict() for t in self.tests])

    def to_dict(self) -> dict[str, object]:
        """Entries of ``summary.json``."""
        return {
            "p_value": self.p_value,
            "n_toys": self.n_toys,
            "point": dict(self.point),
            "tests": {t.name: {"value": t.value, "p_value": t.p_value} for t in self.tests},
        }


def goodness_of_fit(
    model: AnyModel,
    data: Sample,
    simulation: SampleSet | Sample,
    *,
    degree: int | None = None,
    n_bins: int = 10,
    n_toys: int = 2000,
    seed: int = 0,
) -> GoodnessOfFit:
    """Test whether data are compatible with a learned likelihood ratio that is fitted to them.

    Parameters
    ----------
    model
        Model of single events.
    data
        The dataset.
    simulation
        Simulated events that were not used to train the model.  Many times more events than in the
        data are best.
    degree
        How the simulated events are weighted to the fitted parameters.  A number: with their event
        weights, which are polynomials of this degree in the parameters.  None: with the learned
        ratio; the test then cannot see errors of this ratio.
    n_bins
        Number of bins of each histogram.  Small datasets get fewer bins.
    n_toys
        Number of toys.
    seed
        Seed of the toys and of the classifier.

    Raises
    ------
    SampleError
        If the model was trained on the simulated events; if data and simulation have events in
        common, or different features; if there are fewer simulated events than events in the data;
        or if all features are constant.
    ModelError
        If the model has no ratios of single events, or the fit to the data is not valid, for
        example because it is at the end of the range.
    ConfigurationError
        If `n_toys` is less than 1, or `n_bins` is less than 2.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> data = gaussian.generate(500, 0.1, seed=1).as_data()
    >>> simulation = gaussian.samples(20_000, [0.0, 0.2], seed=2)
    >>> result = goodness_of_fit(gaussian.MeanModel(), data, simulation, n_toys=500)
    >>> result.p_value > 0.01
    True
    """
    require_sample(data, "goodness_of_fit()")
    data.require_data()
    samples = SampleSet((simulation,)) if isinstance(simulation, Sample) else simulation
    require_samples(samples, "goodness_of_fit()")
    one = as_model(model)
    if one.scores_bags:
        msg = f"{one.name} scores whole bags; goodness_of_fit() needs a model of single events"
        raise ModelError(msg)
    require_unseen(model, samples, "a test of the fit")
    if any_shared(sketch_each(samples), (sketch(data),)):
        msg = "data and simulation share events; test the data against other events"
        raise SampleError(msg)
    names = one.parameters
    # Any point does: it shifts the cost by a constant.
    centre = [0.5 * (low + high) for low, high in one.interpolation.limits]
    fit = valid_fit(minuit(dataset_cost(one, data, reference=centre)), one.name)
    if degree is None:
        events, weights_at = by_ratio(one, samples)
    else:
        events, weights_at = by_weights(EventPool(samples, degree), fit.values.to_dict())
    events, weights_at, _ = fewer_events(events, weights_at, seed)
    surfaces, of_data = event_surfaces(one, events), event_surfaces(one, data)

    def theta(point: Point) -> FloatArray:
        return np.array([point[name] for name in names])

    fitted = FittedSimulation(
        sample=events,
        data=data,
        point=fit.values.to_dict(),
        covariance=np.array(fit.covariance, dtype=np.float64).reshape(len(names), len(names)),
        steps=steps_of(fit),
        weights_at=weights_at,
        log_density=lambda point: surfaces.value(theta(point)),
        data_log_density=lambda point: of_data.value(theta(point)),
        interest=tuple(names),
    )
    return examine_fit(fitted, name=one.name, n_bins=n_bins, n_toys=n_toys, seed=seed)


def examine_fit(
    fitted: FittedSimulation, *, name: str, n_bins: int = 10, n_toys: int = 2000, seed: int = 0
) -> GoodnessOfFit:
    """Compare data with simulated events that are weighted to the fitted model.

    Parameters
    ----------
    fitted
        The data, the simulated events, and the result of the fit.
    name
        Name of the model.
    n_bins, n_toys, seed
        As for :func:`goodness_of_fit`.

    Raises
    ------
    SampleError, ConfigurationError
        As for :func:`goodness_of_fit`.
    """
    if n_toys < 1 or n_bins < 2:
        msg = f"n_toys = {n_toys} must be 1 or more, and n_bins = {n_bins} 2 or more"
        raise ConfigurationError(msg)
    _require_events(fitted)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(fitted.sample))
    design, fitted = (fitted.restricted(np.sort(half)) for half in np.array_split(order, 2))
    columns = _columns(design, fitted, n_bins, rng)
    of_data = (columns.data_sums @ fitted.data.weights)[None]
    here = np.zeros((1, columns.n_parameters))
    measured = columns.statistics(fitted, of_data, _Shifts(here, here), 0.0)
    simulated = _toys(fitted, columns, n_toys, rng)
    tests, shares, tails = [], [], []
    for k, statistic in enumerate(columns.names):
        own, toys = float(measured[0, k]), simulated[:, k]
        both = np.concatenate([[own], toys])
        # Shares of the data and of every toy, among all of them; a rounding error is no difference.
        order = np.sort(both)
        share = (len(both) - np.searchsorted(order, both - 1e-9 * np.abs(both))) / len(both)
        tests.append(FitTest(statistic, own, float(toys.mean()), float(share[0])))
        shares.append(share)
        tails.append(_log_tail(both, toys))
    smallest, tail = np.min(shares, axis=0), np.min(tails, axis=0)
    as_bad = (smallest < smallest[0]) | ((smallest == smallest[0]) & (tail <= tail[0]))
    return GoodnessOfFit(
        model=name,
        point=dict(fitted.point),
        n_events=len(fitted.data),
        n_toys=n_toys,
        tests=tuple(tests),
        p_value=float(np.mean(as_bad)),
        histograms=columns.histograms(fitted),
    )


def _log_tail(values: FloatArray, toys: FloatArray) -> FloatArray:
    """Ln of the probability of larger values, by a gamma distribution with the moments of the toys.

    It decides between datasets with the same smallest p-value: with many tests, most datasets have
    one test with the smallest possible fraction of toys.
    """
    mean, variance = float(toys.mean()), float(toys.var())
    if not (mean > 0 and variance > 0):
        return np.zeros(len(values))
    tail: FloatArray = gamma.logsf(values, mean**2 / variance, scale=variance / mean)
    return tail


def _require_events(fitted: FittedSimulation) -> None:
    sample, data = fitted.sample, fitted.data
    if sample.feature_names != data.feature_names:
        msg = (
            f"the simulation has the features {', '.join(sample.feature_names)}, but the data have "
            f"{', '.join(data.feature_names)}; compute the same features for both"
        )
        raise SampleError(msg)
    effective = effective_number(fitted.weights)
    if effective < len(data):
        msg = (
            f"{sample.label}: weighted to the fit, it has {effective:.0f} effective events, fewer "
            f"than the {len(data)} events of the data; use more simulated events"
        )
        raise SampleError(msg)


_TAIL = 1e-3  # where normal scores end
_PART_OF_BIN = 0.1  # least expectation of a bin, over that of the simulation
_LEAST = 1e-4  # part of the variance of ln of the density that has to be free
_LIKELIHOOD = "mean of the fitted likelihood"
_CLASSIFIER = "classifier of data and simulation"
_NUMBER = "number of events"


class _Shifts(NamedTuple):
    """Fits of datasets minus the fit to the data, shape (n_datasets, n_parameters) each.

    Parameters
    ----------
    of_means
        Shifts for the comparison with simulated means.  The simulated events fluctuate too, so the
        mean of their scores is not zero, which the fit of the data does not know.  Therefore only
        the part of this fluctuation that no parameter could undo is added to the fluctuation of the
        events of a toy.
    of_number
        Shifts for the number of events, which does not depend on simulated events.
    """

    of_means: FloatArray
    of_number: FloatArray


@dataclass(frozen=True, eq=False)
class _Columns:
    """Quantities that are summed over the events of a dataset, one row for each sum.

    Parameters
    ----------
    sums, data_sums
        Scores, ln of the density, inputs of the classifier, and one indicator for each bin, of the
        simulated events and of the data.
    inverse
        Inverse of the covariance of the inputs of the classifier.
    density_variance
        Variance of ln of the density of an event, as far as the fit does not fix it.
    observables, edges
        Names of the observables in bins, and their edges.
    n_parameters
        Number of fitted parameters.
    extended
        Whether the number of events enters the fit.
    expansion
        Result of :meth:`milinfer.diagnostics.fitted_simulation.FittedSimulation.expansion`.
    of_simulation
        Root of the covariance of these means that comes from the finite number of simulated events,
        shape (n_columns, n_components).
    """

    sums: FloatArray
    data_sums: FloatArray
    inverse: FloatArray
    density_variance: float
    observables: tuple[str, ...]
    edges: tuple[FloatArray, ...]
    n_parameters: int
    extended: bool
    expansion: tuple[FloatArray, FloatArray, FloatArray]
    of_simulation: FloatArray

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the statistics."""
        density = (_LIKELIHOOD,) if self.density_variance else ()
        number = (_NUMBER,) if self.extended else ()
        return (*density, _CLASSIFIER, *self.observables, *number)

    @cached_property
    def _inputs(self) -> slice:
        start = self.n_parameters + 1
        return slice(start, start + len(self.inverse))

    @cached_property
    def _bins(self) -> list[slice]:
        stop, out = self._inputs.stop, []
        for edges in self.edges:
            out.append(slice(stop, stop + len(edges) - 1))
            stop += len(edges) - 1
        return out

    def statistics(
        self, fitted: FittedSimulation, sums: FloatArray, shifts: _Shifts, seen: FloatArray | float
    ) -> FloatArray:
        """Statistics of datasets, shape (n_datasets, n_statistics).

        Parameters
        ----------
        fitted
            The fit.
        sums
            Sums of the columns of each dataset, shape (n_datasets, n_columns).
        shifts
            Fitted parameters of each dataset, minus the fit to the data.
        seen
            Change of the expected means if other simulated events were used, shape
            (n_datasets, n_columns).
        """
        mean, slopes, bends = self.expansion
        at = shifts.of_means
        fitted_means = mean + at @ slopes.T + 0.5 * np.einsum("ti,cij,tj->tc", at, bends, at)
        # Few simulated events in a bin may not leave it empty.
        means = np.maximum(fitted_means + seen, _PART_OF_BIN * fitted_means)
        means[:, : self._inputs.stop] = (fitted_means + seen)[:, : self._inputs.stop]
        n = sums[:, self._bins[0]].sum(axis=1)
        density = self.n_parameters
        out = []
        if self.density_variance:
            deviation = sums[:, density] - n * means[:, density]
            out.append(deviation**2 / (n * self.density_variance))
        away = sums[:, self._inputs] / n[:, None] - means[:, self._inputs]
        out.append(n * np.einsum("ti,ij,tj->t", away, self.inverse, away))
        for place in self._bins:
            expected = n[:, None] * means[:, place]
            out.append(((sums[:, place] - expected) ** 2 / expected).sum(axis=1))
        if self.extended:
            expected = fitted.n_expected + shifts.of_number @ fitted.rate_slopes
            out.append((n - expected) ** 2 / expected)
        return np.stack(out, axis=1)

    def histograms(self, fitted: FittedSimulation) -> tuple[PostfitHistogram, ...]:
        """Data and fitted simulation in bins."""
        mean, slopes, _ = self.expansion
        n, effective = float(fitted.data.weights.sum()), effective_number(fitted.weights)
        counts = self.data_sums @ fitted.data.weights
        out = []
        for name, edges, place in zip(self.observables, self.edges, self._bins, strict=True):
            of_fit = np.einsum("bi,ij,bj->b", slopes[place], fitted.covariance, slopes[place])
            of_simulation = mean[place] * (1 - mean[place]) / effective
            out.append(
                PostfitHistogram(
                    observable=name,
                    edges=edges,
                    counts=counts[place],
                    expected=n * mean[place],
                    error=n * np.sqrt(of_fit + of_simulation),
                )
            )
        return tuple(out)


def _columns(
    design: FittedSimulation, fitted: FittedSimulation, n_bins: int, rng: np.random.Generator
) -> _Columns:
    """Prepare everything that is summed over the events of data and toys.

    Parameters
    ----------
    design
        Simulated events that set up bins and classifier.
    fitted
        Other simulated events, and the data.
    n_bins, rng
        Largest number of bins, and generator of the random waves.
    """
    data = fitted.data
    samples = design.sample, fitted.sample, data
    x = [np.asarray(s.features, dtype=np.float64).T for s in samples]
    scores = design.scores, fitted.scores, fitted.data_scores
    names = list(fitted.point)
    observables: dict[str, list[FloatArray]] = {
        name: [part[k] for part in x] for k, name in enumerate(data.feature_names)
    }
    for name in fitted.interest:
        k = names.index(name)
        observables[f"score of {name}"] = [part[k] for part in scores]
    n_bins = min(n_bins, max(int(len(data) / _IN_A_BIN), 2))
    edges, bins, data_bins, kept = [], [], [], []
    for name, (of_design, values, of_data) in observables.items():
        ends = _edges(of_design, design.weights, n_bins)
        if len(ends) < 3:
            continue  # a constant
        inner = ends[1:-1]
        kept.append(name)
        edges.append(ends)
        for place in range(len(ends) - 1):
            bins.append(np.searchsorted(inner, values, side="right") == place)
            data_bins.append(np.searchsorted(inner, of_data, side="right") == place)
    if not kept:
        msg = (
            f"{fitted.sample.label}: all features are constant, so they cannot be compared with "
            "data"
        )
        raise SampleError(msg)
    of_design, inputs, data_inputs = _classifier_inputs(x, design.weights, rng)
    centred = of_design - (of_design @ design.weights)[:, None]
    covariance = (centred * design.weights) @ centred.T
    ridge = _RIDGE * float(np.trace(covariance)) / len(covariance)
    inverse = np.asarray(
        np.linalg.inv(covariance + ridge * np.eye(len(covariance))), dtype=np.float64
    )
    density, data_density, variance = _beyond_scores(fitted)
    sums = np.concatenate([scores[1], density[None], inputs, bins])
    return _Columns(
        sums=sums,
        data_sums=np.concatenate([scores[2], data_density[None], data_inputs, data_bins]),
        inverse=inverse,
        observables=tuple(kept),
        edges=tuple(edges),
        n_parameters=len(names),
        density_variance=variance,
        extended=fitted.expected_at is not None,
        expansion=fitted.expansion(sums),
        of_simulation=_root(fitted.covariance_of_means(sums)),
    )


def _root(covariance: FloatArray) -> FloatArray:
    """A matrix whose product with its transpose is the covariance, shape (n, n)."""
    values, vectors = np.linalg.eigh(covariance)
    root: FloatArray = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


def _beyond_scores(fitted: FittedSimulation) -> tuple[FloatArray, FloatArray, float]:
    """Part of ln of the density that the fit does not fix, and its variance.

    The scores of a dataset sum to zero at its fit, so terms linear in the scores say nothing.
    """
    weights = fitted.weights
    values = [f(fitted.point) for f in (fitted.log_density, fitted.data_log_density)]
    scores, mean = fitted.scores, float(weights @ values[0])
    centred = scores - (scores @ weights)[:, None]
    products = (centred * weights) @ np.vstack([centred, values[0] - mean]).T
    slopes = np.linalg.pinv(products[:, :-1], hermitian=True) @ products[:, -1]
    density, of_data = values[0] - slopes @ scores, values[1] - slopes @ fitted.data_scores
    whole = float(weights @ (values[0] - mean) ** 2)
    variance = float(weights @ (density - weights @ density) ** 2)
    if variance <= _LEAST * whole or whole == 0.0:
        return np.zeros(len(weights)), np.zeros(len(of_data)), 0.0
    return density, of_data, variance


def _edges(values: FloatArray, weights: FloatArray, n_bins: int) -> FloatArray:
    """Edges of bins of equal weight; a value that many events have is in one bin."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    places = np.searchsorted(below, np.arange(1, n_bins) / n_bins)
    inner = np.unique(values[order][np.clip(places, 0, len(order) - 1)])
    low, high = float(values.min()), float(values.max())
    inner = inner[(inner > low) & (inner <= high)]
    return np.concatenate([[low], inner, [high]])


def _classifier_inputs(
    x: Sequence[FloatArray], weights: FloatArray, rng: np.random.Generator
) -> list[FloatArray]:
    """Features as normal scores, their products, and random Fourier features of them.

    Parameters
    ----------
    x
        Features of several sets of events, shape (n_features, n_events) each.
    weights
        Weights of the events of the first.
    """
    places = [_NormalScores.of(feature, weights) for feature in x[0]]
    z = [np.stack([p(f) for p, f in zip(places, part, strict=True)]) for part in x]
    n = len(z[0])
    rows, columns = np.triu_indices(n if n <= _PRODUCTS else 0)
    # Half of the distance of two independent events: neither the whole nor the finest structure.
    frequencies = rng.normal(size=(_FOURIER, n)) / np.sqrt(n / 2)
    phases = rng.uniform(0, 2 * np.pi, size=(_FOURIER, 1))

    def inputs(z: FloatArray) -> FloatArray:
        waves = np.sqrt(2) * np.cos(frequencies @ z + phases)
        return np.concatenate([z, z[rows] * z[columns], waves])

    return [inputs(part) for part in z]


class _NormalScores(NamedTuple):
    """Quantile of a normal distribution at the rank of a value among simulated values.

    Parameters
    ----------
    values
        Simulated values, ascending.
    below
        Fraction of the weight below each value, and one, shape (n + 1,).
    """

    values: FloatArray
    below: FloatArray

    @classmethod
    def of(cls, values: FloatArray, weights: FloatArray) -> _NormalScores:
        order = np.argsort(values, kind="stable")
        below = np.cumsum(np.abs(weights[order])) / float(np.abs(weights).sum())
        return cls(values[order], np.concatenate([[0.0], below]))

    def __call__(self, x: FloatArray) -> FloatArray:
        left = np.searchsorted(self.values, x, side="left")
        right = np.searchsorted(self.values, x, side="right")
        # in the middle of events with the same value
        place = 0.5 * (self.below[left] + self.below[right])
        return np.asarray(ndtri(np.clip(place, _TAIL, 1 - _TAIL)), dtype=np.float64)


def _toys(
    fitted: FittedSimulation, columns: _Columns, n_toys: int, rng: np.random.Generator
) -> FloatArray:
    """Statistics of toys at the fit, each fitted again, shape (n_toys, n_statistics)."""
    weights, p = fitted.weights, columns.n_parameters
    share = float(np.abs(weights).sum())  # one, and more if some weights are negative
    edges = np.cumsum(np.abs(weights)) / share
    table = np.ascontiguousarray((columns.sums * np.sign(weights)).T)
    # Signed events are drawn in larger numbers than data have, and so fluctuate more.
    scale = np.sqrt(1 / share)
    errors = fitted.constraints if fitted.constraints is not None else np.full(p, np.inf)
    constrained = np.isfinite(errors)
    out = []
    for start in range(0, n_toys, _AT_ONCE):
        number = min(_AT_ONCE, n_toys - start)
        counts = np.full(number, round(fitted.n_expected * share))
        if fitted.expected_at is not None:
            counts = rng.poisson(fitted.n_expected * share, number)
        expected = (counts / share)[:, None] * columns.expansion[0]
        sums = expected + scale * (_sums(table, _drawn(edges, counts, rng), counts) - expected)
        seen = rng.normal(size=(number, columns.of_simulation.shape[1])) @ columns.of_simulation.T
        slopes = sums[:, :p] - fitted.rate_slopes
        slopes[:, constrained] += rng.normal(size=(number, constrained.sum())) / errors[constrained]
        of_number = slopes @ fitted.covariance
        of_means = of_number - (counts / share)[:, None] * seen[:, :p] @ fitted.covariance
        out.append(columns.statistics(fitted, sums, _Shifts(of_means, of_number), seen))
    return np.concatenate(out)


def _drawn(edges: FloatArray, counts: IntArray, rng: np.random.Generator) -> IntArray:
    rows = np.searchsorted(edges, rng.random(int(counts.sum())))
    return np.minimum(rows, len(edges) - 1)


def _sums(table: FloatArray, rows: IntArray, counts: IntArray) -> FloatArray:
    """Sum the rows of a table over the events of each toy, shape (n_toys, n_columns)."""
    from scipy.sparse import csr_matrix

    toy = np.repeat(np.arange(len(counts)), counts)
    picked = csr_matrix((np.ones(len(rows)), (toy, rows)), shape=(len(counts), len(table)))
    return np.asarray(picked @ table, dtype=np.float64)
