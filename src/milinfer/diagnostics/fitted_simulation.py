"""Simulated events weighted to a fitted model, and what is needed to fit toys drawn from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from milinfer.exceptions import ModelError, SampleError
from milinfer.likelihood.mixture import event_surfaces
from milinfer.likelihood.models import Model
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import mixture_shares
from milinfer.toys.pool import EventPool
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    from iminuit import Minuit

__all__ = ["FittedSimulation", "by_ratio", "by_weights", "fewer_events", "steps_of", "valid_fit"]

_STEP = 0.5  # of derivatives, in standard errors
_MOST = 100_000  # simulated events that are used
_CLOSE = 0.05  # standard errors to the end of a range, below which the fit is at the end


@dataclass(frozen=True, eq=False)
class FittedSimulation:
    """Simulated events weighted to a fitted model, and what is needed to fit toys of them.

    Parameters
    ----------
    sample, data
        Simulated events and the data, with the same features.
    point
        Fitted values of the parameters, by name.
    covariance
        Covariance of the fitted parameters, shape (n_parameters, n_parameters).
    steps
        Step of each parameter for numerical derivatives, shape (n_parameters,); see
        :func:`steps_of`.
    weights_at
        Function that returns the weights of the simulated events at a point, in arbitrary units,
        shape (n_events,).
    log_density, data_log_density
        Functions that return the ln of the fitted density at a point, for each simulated event and
        for each event of the data.  Terms that do not depend on the point may be missing.
    interest
        Parameters of interest.  The distributions of their scores are compared, too.
    expected_at
        Function that returns the expected number of events at a point.  None if the number of
        events does not enter the fit.
    constraints
        Error of the auxiliary measurement of each parameter, shape (n_parameters,); infinite if the
        parameter has no auxiliary measurement.  None if no parameter has one.
    processes
        Number of the process to which each simulated event belongs, shape (n_events,).  None if
        there is only one process.  The yields of the processes come from the fit, not from the
        numbers of simulated events.
    """

    sample: Sample
    data: Sample
    point: Point
    covariance: FloatArray
    steps: FloatArray
    weights_at: Callable[[Point], FloatArray]
    log_density: Callable[[Point], FloatArray]
    data_log_density: Callable[[Point], FloatArray]
    interest: tuple[str, ...]
    expected_at: Callable[[Point], float] | None = None
    constraints: FloatArray | None = None
    processes: IntArray | None = None

    def restricted(self, rows: IntArray) -> FittedSimulation:
        """Return the same fit with only some of the simulated events."""
        log_density = self.log_density
        return replace(
            self,
            sample=self.sample.take(rows),
            weights_at=_weights_of(rows, self.weights_at, self.processes),
            log_density=lambda point: log_density(point)[rows],
            processes=None if self.processes is None else self.processes[rows],
        )

    @cached_property
    def weights(self) -> FloatArray:
        """Weights of the simulated events at the fit; their sum is one."""
        return self._weights(self.point)

    @cached_property
    def n_expected(self) -> float:
        """Expected number of events at the fit; the number in the data if there is no rate term."""
        if self.expected_at is None:
            return float(self.data.weights.sum())
        return self.expected_at(self.point)

    @cached_property
    def scores(self) -> FloatArray:
        """Scores of the simulated events for each parameter, shape (n_parameters, n_events)."""
        return self._slopes(self.log_density)

    @cached_property
    def data_scores(self) -> FloatArray:
        """Scores of the data events for each parameter, shape (n_parameters, n_data)."""
        return self._slopes(self.data_log_density)

    @cached_property
    def rate_slopes(self) -> FloatArray:
        """Derivatives of the expected number of events by the parameters, shape (n_parameters,)."""
        if self.expected_at is None:
            return np.zeros(len(self.point))
        return np.array(
            [(self.expected_at(b) - self.expected_at(a)) / s for a, b, s in self._sides]
        )

    def expansion(self, columns: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Compute weighted means over the simulated events, and their derivatives.

        The derivatives are those by the parameters of the fit.

        Parameters
        ----------
        columns
            Quantities of the simulated events, one row for each quantity, shape (n_columns,
            n_events).

        Returns
        -------
        tuple
            Means, first derivatives and second derivatives, with the shapes (n_columns,),
            (n_columns, n_parameters) and (n_columns, n_parameters, n_parameters).
        """
        mean, p = columns @ self.weights, len(self.point)
        sides = [
            (columns @ self._weights(a), columns @ self._weights(b)) for a, b, _ in self._sides
        ]
        half = self.steps
        first = np.stack(
            [(high - low) / (2 * h) for (low, high), h in zip(sides, half, strict=True)], axis=1
        )
        second = np.empty((len(mean), p, p))
        names = list(self.point)
        for i, (low, high) in enumerate(sides):
            second[:, i, i] = (high + low - 2 * mean) / half[i] ** 2
            for j in range(i):
                # Along both at once: where two parameters do the same, it undoes what each does.
                both = [
                    columns
                    @ self._weights(
                        {
                            **self.point,
                            names[i]: self.point[names[i]] + sign * half[i],
                            names[j]: self.point[names[j]] + sign * half[j],
                        }
                    )
                    for sign in (-1, 1)
                ]
                alone = high + low + sides[j][0] + sides[j][1] - 2 * mean
                second[:, i, j] = (both[0] + both[1] - alone) / (2 * half[i] * half[j])
                second[:, j, i] = second[:, i, j]
        return mean, first, second

    def covariance_of_means(self, columns: FloatArray) -> FloatArray:
        """Compute the covariance matrix of means due to the finite number of simulated events.

        If new events were simulated, with the same number of events for each process, the weighted
        means would fluctuate with this covariance.

        Parameters
        ----------
        columns
            Quantities of the simulated events, one row for each quantity, shape (n_columns,
            n_events).
        """
        weights = self.weights
        groups = np.zeros(len(weights), int) if self.processes is None else self.processes
        covariance = np.zeros((len(columns), len(columns)))
        for group in np.unique(groups):
            own, of_group = columns[:, groups == group], weights[groups == group]
            centred = (own - (own @ of_group / of_group.sum())[:, None]) * of_group
            covariance += centred @ centred.T
        return covariance

    def _weights(self, point: Point) -> FloatArray:
        weights = np.asarray(self.weights_at(point), dtype=np.float64)
        total = float(weights.sum())
        if not total > 0:
            msg = (
                f"{self.sample.label}: the weights of its events at {format_point(point)} sum to "
                f"{total:g}; use other events"
            )
            raise SampleError(msg)
        return weights / total

    def _slopes(self, density: Callable[[Point], FloatArray]) -> FloatArray:
        return np.stack([(density(high) - density(low)) / step for low, high, step in self._sides])

    @cached_property
    def _sides(self) -> list[tuple[Point, Point, float]]:
        """A point on each side of the fit for each parameter, and their distance."""
        out: list[tuple[Point, Point, float]] = []
        for name, step in zip(self.point, self.steps, strict=True):
            low = {**self.point, name: self.point[name] - step}
            high = {**self.point, name: self.point[name] + step}
            out.append((low, high, 2 * float(step)))
        return out


def valid_fit(m: Minuit, name: str) -> Minuit:
    """Run the fit, and raise an error if it is not valid or at the end of a range.

    Raises
    ------
    ModelError
        If the fit is not valid, or a parameter is at the end of its range.  The message names the
        parameter.
    """
    m.migrad()
    if m.valid:
        m.hesse()
    if not m.valid or m.covariance is None or any(p.is_fixed for p in m.params):
        msg = f"{name}: the fit to the data is not valid, so the data cannot be tested against it"
        raise ModelError(msg)
    for parameter in m.params:
        if _distance(m, parameter.name) < _CLOSE * parameter.error:
            low, high = m.limits[parameter.name]
            msg = (
                f"{name}: the fit, {parameter.name} = {parameter.value:.4g} ± "
                f"{parameter.error:.2g}, is at the end of its range, {low:g} to {high:g}; the test "
                "needs a fit inside the range: train over a wider range"
            )
            raise ModelError(msg)
    return m


def _distance(m: Minuit, name: str) -> float:
    """Distance of a fitted parameter to the nearer end of its range."""
    low, high = m.limits[name]
    return float(min(m.values[name] - low, high - m.values[name]))


def steps_of(m: Minuit) -> FloatArray:
    """Return half of the error of each parameter, or less if the end of its range is nearer."""
    return np.array([min(_STEP * p.error, 0.9 * _distance(m, p.name)) for p in m.params])


def fewer_events(
    events: Sample,
    weights_at: Callable[[Point], FloatArray],
    seed: int,
    processes: IntArray | None = None,
) -> tuple[Sample, Callable[[Point], FloatArray], IntArray | None]:
    """Take at most 100 000 random simulated events, with their weights and processes."""
    if len(events) <= _MOST:
        return events, weights_at, processes
    rows = np.sort(np.random.default_rng(seed).permutation(len(events))[:_MOST])
    of_rows = _weights_of(rows, weights_at, processes)
    return events.take(rows), of_rows, None if processes is None else processes[rows]


def _weights_of(
    rows: IntArray, weights_at: Callable[[Point], FloatArray], processes: IntArray | None
) -> Callable[[Point], FloatArray]:
    """Weights of some of the events, which make up for the others of their process."""
    if processes is None:
        return lambda point: weights_at(point)[rows]
    own = processes[rows]

    def weights(point: Point) -> FloatArray:
        of_all = weights_at(point)
        kept = np.bincount(own, of_all[rows], minlength=int(processes.max()) + 1)
        total = np.bincount(processes, of_all)
        if np.any((kept == 0) & (total != 0)):
            msg = (
                "a process has so few simulated events that none is in the half used for the test; "
                "give more events of each process"
            )
            raise SampleError(msg)
        share = np.divide(total, kept, out=np.zeros_like(total), where=kept != 0)
        return np.asarray(of_all[rows] * share[own], dtype=np.float64)

    return weights


def by_weights(pool: EventPool, point: Point) -> tuple[Sample, Callable[[Point], FloatArray]]:
    """Return events, and a function for their weights at a point, from event weights."""
    at_fit = pool.at(point)
    # With the weights at other points, from which an exact ratio is made.
    events = at_fit.take(np.arange(len(at_fit.weights)), point)
    return events, lambda p: pool.at(p).weights


def by_ratio(model: Model, samples: SampleSet) -> tuple[Sample, Callable[[Point], FloatArray]]:
    """Return events, and a function for their weights at a point, from ratios of the model."""
    events = Sample(
        features=np.concatenate([s.features for s in samples]),
        feature_names=samples[0].feature_names,
        process=samples[0].process,
    )
    surfaces = event_surfaces(model, events)
    shares = mixture_shares(s.weights for s in samples)
    at_points = np.stack(
        [surfaces.value(np.array([s.point[n] for n in model.parameters])) for s in samples]
    )
    log_mixture = np.logaddexp.reduce(at_points + np.log(shares)[:, None], axis=0)
    own = np.concatenate(
        [s.weights * (share / s.weights.sum()) for s, share in zip(samples, shares, strict=True)]
    )

    def weights_at(point: Point) -> FloatArray:
        theta = np.array([point[n] for n in model.parameters])
        return np.asarray(own * np.exp(surfaces.value(theta) - log_mixture), dtype=np.float64)

    return events, weights_at
