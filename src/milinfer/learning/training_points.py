"""Where in parameter space a model is trained, and where its surface is tabulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from milinfer.exceptions import ConfigurationError, ModelError
from milinfer.learning.networks.heads import LinearHead, PolynomialHead
from milinfer.likelihood.surface import Interpolation, Kind
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.reweighting import class_points
from milinfer.samples.samples import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.typing import FloatArray
from milinfer.utils.polynomials import PolynomialBasis

if TYPE_CHECKING:
    from milinfer.learning.bag_likelihood import BagLikelihood

__all__ = ["ModelPoints", "training_points"]

# Nodes of the spline through a polynomial head in one parameter: ln r of single events bends
# sharply where amplitudes cancel, and a spline keeps that local.
_SPLINE_NODES = 81
# Degree of the Chebyshev polynomial in each parameter, by the number of parameters.
_BOX_DEGREE = {2: 16, 3: 8, 4: 4}


def training_points(model: BagLikelihood, samples: SampleSet | StreamedSamples) -> FloatArray:
    """Points between which the ratio is learned, shape (K, n_parameters).

    Raises
    ------
    ModelError
        If they do not span the parameters.
    ConfigurationError
        If ``points`` of the model does not fit the parameters.
    """
    names, points = samples.parameters, class_points(samples)
    if model.points is not None:
        given = [np.ravel(p) for p in model.points]
        if not given or any(len(p) != len(names) for p in given):
            msg = f"points= needs {len(names)} values for each point: {', '.join(names)}"
            raise ConfigurationError(msg)
        points = np.unique(np.array(given, dtype=np.float64), axis=0)
    if np.linalg.matrix_rank(points - points[0]) < len(names):
        msg = (
            f"the training points {points.tolist()} do not span {', '.join(names)}; add "
            "samples at other points, or with labels='joint' give points="
        )
        raise ModelError(msg)
    return points


@dataclass(frozen=True, eq=False)
class ModelPoints:
    """Training points, reference and heads of a model.

    Parameters
    ----------
    parameters
        Names.
    points
        Training points, shape (K, n_parameters).
    reference
        θ0, shape (n_parameters,).
    head, order, degree, kind, window
        As in :class:`~milinfer.learning.bag_likelihood.BagLikelihood`.
    """

    parameters: tuple[str, ...]
    points: FloatArray
    reference: FloatArray
    head: str
    order: int
    degree: int | None
    kind: Kind
    window: float

    @classmethod
    def of(cls, model: BagLikelihood, samples: SampleSet | StreamedSamples) -> ModelPoints:
        """Points of a model and its (ordered) samples.

        Raises
        ------
        ModelError
            If the reference is not among the points, or points lie so that nothing can be learned.
        ConfigurationError
            If `points` or `reference` do not fit the parameters, or Λ has no continuation between
            the points.
        ParameterError
            If there are too few points for the continuation.
        """
        names, points = samples.parameters, training_points(model, samples)
        reference = np.asarray(model.reference, dtype=np.float64)
        if reference.shape not in {(), (len(names),)}:
            msg = f"reference= needs one value, or {len(names)}: {', '.join(names)}"
            raise ConfigurationError(msg)
        where = cls.of_model(model, names, points)
        if not where._distance().min() < 1e-9:
            at = ", ".join(f"{n} = {v:g}" for n, v in zip(names, where.reference, strict=True))
            what = "sample" if model.points is None else "point of points="
            msg = f"no {what} at the reference {at}; add one or set reference="
            raise ModelError(msg)
        where.interpolation  # noqa: B018  # refuses what has none, before training
        return where

    @classmethod
    def of_model(
        cls, model: BagLikelihood, parameters: Sequence[str], points: FloatArray
    ) -> ModelPoints:
        """Points of a model as they are, without checks."""
        reference = np.asarray(model.reference, dtype=np.float64)
        return cls(
            tuple(parameters),
            points,
            np.broadcast_to(reference, len(parameters)).copy(),
            model.head,
            model.order,
            model.degree if isinstance(model.degree, int) else None,
            model.interpolation_kind,
            model.window,
        )

    def _distance(self) -> FloatArray:
        distance: FloatArray = np.abs(self.points - self.reference).max(axis=1)
        return distance

    @property
    def reference_index(self) -> int:
        """Number of the reference among the points."""
        return int(np.argmin(self._distance()))

    @property
    def _range(self) -> tuple[FloatArray, FloatArray]:
        return self.points.min(axis=0), self.points.max(axis=0)

    def scaled(self, theta: FloatArray) -> FloatArray:
        """Points (m, n_parameters) with the range of the training points as [−1, 1]."""
        low, high = self._range
        out: FloatArray = (2 * theta - low - high) / (high - low)
        return out

    @cached_property
    def interpolation(self) -> Interpolation | ChebyshevBox:
        """Points of the surface, and the continuation between them."""
        low, high = self._range
        n = len(self.parameters)
        if n > 1:
            problems = {
                f"{n} parameters are more than a table of Λ can hold; fix some of them": n
                not in _BOX_DEGREE,
                "free logits (degree=None) have no continuation in several parameters; give "
                "degree=": self.head == "multiclass" and self.degree is None,
                "head='binary' has no continuation in several parameters; use another head": (
                    self.head == "binary"
                ),
            }
            for problem, found in problems.items():
                if found:
                    raise ConfigurationError(problem)
            degree = {"multiclass": max(self.degree or 2, 2), "parametrised": 4}.get(
                self.head, _BOX_DEGREE[n]
            )
            return ChebyshevBox(low, high, degree)
        grid = self.points[:, 0]
        if self.head == "polynomial":
            nodes = np.linspace(low[0], high[0], _SPLINE_NODES)
            nodes[np.argmin(np.abs(nodes - self.reference[0]))] = self.reference[0]
            return Interpolation(nodes, "spline")
        if len(grid) == 2:
            return Interpolation(grid, "points")
        if self.head == "multiclass" and self.degree is not None:
            return Interpolation(grid, "polynomial", self.degree)
        degree = min(4, len(grid) - 1)
        return Interpolation(grid, self.kind, degree, self.window)

    @property
    def nodes(self) -> FloatArray:
        """Points of the surface, shape (m, n_parameters)."""
        return self.interpolation.grid.reshape(-1, len(self.parameters))

    @cached_property
    def at_reference(self) -> FloatArray:
        """Weights that give Λ(θ0) from Λ at the nodes."""
        interpolation = self.interpolation
        if isinstance(interpolation, ChebyshevBox):
            n = len(interpolation.grid)
            return interpolation.evaluate(np.eye(n), np.tile(self.reference, (n, 1)))
        nearest = int(np.argmin(np.abs(interpolation.grid - self.reference[0])))
        one_hot: FloatArray = np.eye(len(interpolation.grid))[nearest]
        return one_hot

    def linear_at(self, theta: FloatArray) -> LinearHead:
        """Head of a multi-class network at points (m, n_parameters)."""
        if self.degree is None:
            return LinearHead(np.eye(len(self.points)))
        if len(self.parameters) == 1:
            scaled = self.scaled(np.concatenate([theta, self.reference[None]]))[:, 0]
            functions = np.polynomial.chebyshev.chebvander(scaled, self.degree)[:, 1:].T
        else:
            basis = PolynomialBasis(self.parameters, self.degree)
            functions = basis.design(self.scaled(np.concatenate([theta, self.reference[None]])))[
                :, 1:
            ].T
        return LinearHead(functions[:, :-1] - functions[:, -1:])

    @cached_property
    def polynomial(self) -> PolynomialHead:
        """Head of a polynomial network."""
        low, high = self._range
        names = self.parameters
        n_monomials = len(PolynomialBasis(names, self.order)) - 1
        n_squares = 1 if len(names) == 1 else n_monomials
        return PolynomialHead(names, self.order, self.reference, (high - low) / 2, n_squares)
