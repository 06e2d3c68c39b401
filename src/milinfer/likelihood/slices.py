"""Restrict a model of several parameters to a line, as a model of one parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from milinfer.exceptions import ParameterError
from milinfer.likelihood.models import EventModel, LLRModel, model_tag, trained_on
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray, Point
from milinfer.utils.points import format_point

__all__ = ["Slice"]

# Number of points along the line: ln r of single events bends sharply if amplitudes cancel.
_NODES = 81


@dataclass(frozen=True, eq=False)
class Slice(EventModel):
    """A model of several parameters on the line θ = centre + t · step, as a model of t.

    Parameters
    ----------
    model
        Model of single events in several parameters.
    centre
        Parameter point at t = 0.  The likelihood ratios are relative to this point.
    step
        Change of the parameters from t = 0 to t = 1, by name; other parameters do not change.
    label
        Name of the parameter t.

    Raises
    ------
    ParameterError
        If `centre` is not a point in the range of the model, or `step` changes no parameter.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> sample = quadratic.generate(200, {"c1": 0.0, "c2": 0.0}, seed=1)
    >>> box = ChebyshevBox(np.full(2, -0.8), np.full(2, 0.8), 16)
    >>> oracle = Oracle.from_sample(sample, ("c1", "c2"), box, degree=2)
    >>> line = Slice(oracle, {"c1": 0.0, "c2": 0.0}, {"c1": 1.0, "c2": 1.0}, "c1 + c2")
    >>> line.interpolation.range, line.point(0.5)
    ((-0.8, 0.8), {'c1': 0.5, 'c2': 0.5})
    """

    model: LLRModel
    centre: Point
    step: Point
    label: str

    def __post_init__(self) -> None:
        names, box = self.model.parameters, self.model.interpolation
        unknown = [name for name in {**self.centre, **self.step} if name not in names]
        if unknown or set(self.centre) != set(names) or not any(self.step.values()):
            msg = (
                f"{format_point(self.centre)} and {format_point(self.step)} are not a line through "
                f"points of {', '.join(names)}, the parameters of {self.model.name}"
            )
            raise ParameterError(msg)
        low, high = np.array(box.limits).T
        inside = (self._start > low - 1e-12) & (self._start < high + 1e-12)
        if not inside.all():
            msg = f"{format_point(self.centre)} is outside the range of {self.model.name}"
            raise ParameterError(msg)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name of the parameter t."""
        return (self.label,)

    @property
    def reference(self) -> float:
        """Value of t to which the likelihood ratios are relative."""
        return 0.0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the model reads."""
        return model_tag(self.model).feature_names

    @property
    def digest(self) -> str:
        """Hash of the trained parameters."""
        return model_tag(self.model).digest

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the training events of the model."""
        return trained_on(self.model)

    @cached_property
    def _start(self) -> FloatArray:
        return np.array([self.centre[n] for n in self.model.parameters], dtype=np.float64)

    @cached_property
    def _change(self) -> FloatArray:
        return np.array([self.step.get(n, 0.0) for n in self.model.parameters], dtype=np.float64)

    @cached_property
    def interpolation(self) -> Interpolation:
        """Values of t inside the range of the model, and the interpolation between them."""
        low, high = np.array(self.model.interpolation.limits).T
        moved = self._change != 0
        ends = np.stack([low - self._start, high - self._start])[:, moved] / self._change[moved]
        first, last = float(ends.min(axis=0).max()), float(ends.max(axis=0).min())
        return Interpolation(np.linspace(first, last, _NODES), "spline")

    def point(self, t: float) -> dict[str, float]:
        """Return the parameter point that belongs to a value of t."""
        values = self._start + t * self._change
        return dict(zip(self.model.parameters, values.tolist(), strict=True))

    def value_at(self, point: Point) -> float | None:
        """Return the value of t at a point, or None if the point is not on the line."""
        theta = np.array([point[n] for n in self.model.parameters], dtype=np.float64)
        t = float((theta - self._start) @ self._change / (self._change @ self._change))
        apart = np.abs(self._start + t * self._change - theta)
        low, high = np.array(self.model.interpolation.limits).T
        return round(t, 10) + 0.0 if np.all(apart <= 1e-9 * (high - low)) else None

    def on_line(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return the samples whose points are on the line, with t as their parameter."""
        values = [self.value_at(s.point) for s in samples]
        return [
            replace(s, point={self.label: t}, reweights={}, reweight_points={})
            for s, t in zip(samples, values, strict=True)
            if t is not None
        ]

    def event_llr(self, sample: Sample) -> FloatArray:
        """Return the log-likelihood ratio of every event on the line, shape (n_events, K)."""
        table = np.asarray(self.model.event_llr(sample), dtype=np.float64)
        t = np.append(self.interpolation.grid, 0.0)
        points = self._start + t[:, None] * self._change
        box = self.model.interpolation
        if isinstance(box, ChebyshevBox):
            values = box.values_at(table, np.clip(points, *np.array(box.limits).T))
        else:
            values = box.values_at(table, np.clip(points[:, 0], *box.limits[0]))
        ratios: FloatArray = values[:, :-1] - values[:, -1:]
        return ratios
