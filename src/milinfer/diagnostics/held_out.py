"""Held-out events for the checks of a model, with the log-ratios of the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from milinfer.diagnostics.checks import Tolerances
from milinfer.exceptions import ConfigurationError, ModelError, ParameterError, SampleError
from milinfer.likelihood.models import EventModel, LLRModel, curve, require_unseen
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import effective_number, weighted_mean
from milinfer.typing import FloatArray
from milinfer.utils.points import only

__all__ = ["HeldOut", "hold_out"]

_DEFAULT_CONFINEMENT = 10.0  # standard errors between θ0 and the nearer end of the range


@dataclass(frozen=True, eq=False)
class HeldOut(EventModel):
    """Held-out events with the log-ratios that a model gives them.

    The model is evaluated once for each sample, and the log-ratios are stored.  A HeldOut object
    can be used in place of the model, but only for these samples.

    Parameters
    ----------
    model
        The model that is checked.
    samples, thetas
        Held-out samples and their parameter values, in ascending order of the values.
    reference
        θ0.
    tables
        For each sample, the log-ratios of its events at the grid points, shape (n_events,
        n_points).
    n_events
        Number of events in a dataset.
    sigma
        Significance, in standard deviations, that a deviation must have to fail a check.
    tolerances
        Deviations that are too small to matter.
    """

    model: LLRModel
    samples: tuple[Sample, ...]
    thetas: FloatArray
    reference: float
    tables: tuple[FloatArray, ...]
    n_events: int
    sigma: float
    tolerances: Tolerances

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def parameter(self) -> str:
        """Name of the parameter."""
        return only(self.model.parameters)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name of the parameter, as a tuple."""
        return self.model.parameters

    @property
    def interpolation(self) -> Interpolation:
        """Grid of the model, and interpolation between its points."""
        return curve(self.model)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Return the stored log-ratios of one of the samples."""
        return next(t for s, t in zip(self.samples, self.tables, strict=True) if s is sample)

    @property
    def origin(self) -> int:
        """Position in `samples` of the sample at θ0."""
        return int(np.argmin(np.abs(self.thetas - self.reference)))

    @property
    def others(self) -> list[int]:
        """Positions in `samples` of the samples that are not at θ0."""
        return [i for i in range(len(self.samples)) if i != self.origin]

    @property
    def rounding(self) -> float:
        """Size below which a derivative of a log-ratio is only a rounding error."""
        largest = max(float(np.abs(t).max()) for t in self.tables)
        return 1e-9 * largest / float(np.ptp(self.interpolation.grid))

    def value(self, index: int, theta: float, derivative: int = 0) -> FloatArray:
        """Return λ = ln[p(x|θ)/p(x|θ0)] of each event, or a derivative of λ, shape (n_events,).

        The argument `index` is the position of the sample.  At the points of the grid, λ is the
        number that the model gives.  Between the points it is interpolated; derivatives are
        derivatives of the interpolation.
        """
        weights = self._functional(theta, derivative)
        if derivative == 0:
            weights = weights - self._functional(self.reference)
        return self.tables[index] @ weights

    @property
    def confinement(self) -> float:
        """Distance of θ0 from the nearer end of the range, in standard errors of an estimate.

        The standard error of the estimate from one dataset is computed from E[(∂λ)²], which is the
        information of one event if the ratio is right.
        """
        low, high = self.interpolation.range
        return float(self.distances(np.array([low, high])).min())

    def distances(self, thetas: FloatArray) -> FloatArray:
        """Return the distance of each θ from θ0, in standard errors; see :attr:`confinement`."""
        square = np.square(self.value(self.origin, self.reference, 1))
        info = max(float(weighted_mean(square, self.samples[self.origin].weights)[0]), 0.0)
        found: FloatArray = np.abs(thetas - self.reference) * np.sqrt(self.n_events * info)
        return found

    def label(self, theta: float) -> str:
        """Return the parameter and its value as text, for example ``"c=0.5"``."""
        return f"{self.parameter}={theta:g}"

    def _functional(self, theta: float, derivative: int = 0) -> FloatArray:
        """Weights of the grid points in λ(θ), as the interpolation is linear in the values."""
        grid = self.interpolation.grid
        unit = np.eye(len(grid))
        hit = np.flatnonzero(np.isclose(grid, theta, rtol=0, atol=1e-9))
        if derivative == 0 and len(hit):
            row: FloatArray = unit[hit[0]]
            return row
        continuation = self.interpolation
        if continuation.kind == "parabola":
            # Fitted to the points around θ, as if the maximum were expected there.
            near = np.abs(grid - theta) <= continuation.window * (1 + 1e-9)
            continuation = Interpolation(grid[near], "polynomial", 2)
            unit = unit[:, near]
        return continuation.evaluate(unit, np.full(len(grid), theta), derivative)


def hold_out(
    model: LLRModel,
    samples: SampleSet,
    reference: float | None,
    n_events: int | None,
    sigma: float,
    tolerances: Tolerances,
    outside: Literal["raise", "drop"],
) -> HeldOut:
    """Evaluate the model for every sample; arguments and errors as in :func:`milinfer.diagnose`."""
    parameter, grid = only(model.parameters), curve(model).grid
    if n_events is not None and n_events < 1:
        msg = f"n_events = {n_events}: a dataset needs at least one event"
        raise ConfigurationError(msg)
    if reference is None:
        reference = float(np.ravel(getattr(model, "reference", 0.0))[0])
    require_unseen(model, samples, "a diagnosis")
    if len(samples.parameters) > 1:
        msg = (
            f"diagnose() needs samples that depend only on {parameter}, not on {samples.parameters}"
        )
        raise ParameterError(msg)
    values = samples.values(parameter)
    low, high = curve(model).range
    inside = (values >= low - 1e-9) & (values <= high + 1e-9)
    if not inside.all() and outside == "raise":
        msg = (
            f"{samples[int(np.argmin(inside))].label} is outside [{low:g}, {high:g}], the "
            f'range of {model.name}; leave this sample out, or use outside="drop"'
        )
        raise ParameterError(msg)
    origin = samples.at(**{parameter: reference})
    if not low - 1e-9 <= reference <= high + 1e-9:
        msg = f"the reference {reference:g} is outside [{low:g}, {high:g}]"
        raise ParameterError(msg)
    order = [int(i) for i in np.argsort(values) if inside[i]]
    ordered_samples = tuple(samples[i] for i in order)
    for sample in ordered_samples:
        if not sample.weights.sum() > 0:
            msg = (
                f"{sample.label}: the weights sum to {sample.weights.sum():g}; the sum must "
                "be positive"
            )
            raise SampleError(msg)
    tables = []
    for sample in ordered_samples:
        table = np.asarray(model.event_llr(sample), dtype=np.float64)
        if table.shape != (len(sample), len(grid)) or not np.isfinite(table).all():
            msg = (
                f"{model.name} gives an array of shape {table.shape} for {sample!r}, with "
                f"{int((~np.isfinite(table)).sum())} numbers that are not finite; "
                f"({len(sample)}, {len(grid)}) finite numbers are needed"
            )
            raise ModelError(msg)
        tables.append(table)
    smallest = min(float(effective_number(s.weights)) for s in ordered_samples)
    held_out = HeldOut(
        model=model,
        samples=ordered_samples,
        thetas=values[order],
        reference=float(origin.point[parameter]),
        tables=tuple(tables),
        n_events=n_events or 1,
        sigma=sigma,
        tolerances=tolerances,
    )
    if n_events is None:
        n_confined = (_DEFAULT_CONFINEMENT / max(held_out.confinement, 1e-9)) ** 2
        few, many = max(smallest / 500, 20), max(smallest / 50, 20)
        held_out = replace(held_out, n_events=round(min(max(n_confined, few), many)))
    return held_out
