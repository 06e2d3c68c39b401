"""Where in parameter space a model is trained, and where its surface is tabulated.

Settings of an estimator that exclude each other, and what follows from the training points.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from milinfer.exceptions import ConfigurationError, MilinferWarning, ModelError
from milinfer.learning.networks.heads import LinearHead, PolynomialHead
from milinfer.likelihood.surface import Interpolation, Kind
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.reweighting import class_points
from milinfer.samples.sample import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.typing import FloatArray
from milinfer.utils.polynomials import PolynomialBasis

if TYPE_CHECKING:
    from milinfer.learning.bag_likelihood import BagLikelihood

__all__ = [
    "ModelPoints",
    "logit_degree",
    "require_consistent",
    "training_points",
    "warn_of_free_coefficients",
]


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
            parameters=tuple(parameters),
            points=points,
            reference=np.broadcast_to(reference, len(parameters)).copy(),
            head=model.head,
            order=model.order,
            degree=model.degree if isinstance(model.degree, int) else None,
            kind=model.interpolation_kind,
            window=model.window,
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
        return PolynomialHead(
            parameters=names,
            order=self.order,
            reference=self.reference,
            scale=(high - low) / 2,
            n_squares=n_squares,
        )


_CHOICES = {
    "head": ("multiclass", "polynomial", "binary", "parametrised"),
    "labels": ("hard", "joint"),
    "average": ("log-ratio", "ratio", "probability"),
}


def require_consistent(model: BagLikelihood) -> None:
    """Refuse settings that are unknown or exclude each other."""
    from milinfer.learning.networks.losses import loss

    for option, known in _CHOICES.items():
        value = getattr(model, option)
        if value not in known:
            msg = f"{option}={value!r} is not one of {', '.join(map(repr, known))}"
            raise ConfigurationError(msg)
    two = model.head in ("binary", "parametrised")
    by_score = model.loss == "score"
    classes = (
        None if by_score else loss(model.loss or ("bce" if two else "cross-entropy")).n_classes
    )
    problems = {
        f"loss={model.loss!r} does not fit head={model.head!r}": (classes == 2) is not two,
        "a polynomial head is a sum over events and takes no pooling=": model.head == "polynomial"
        and model.pooling != "mean",
        f"head={model.head!r} knows pooling='mean' and 'sum' only": two
        and model.pooling not in ("mean", "sum"),
        f"labels='joint' needs head='multiclass' or 'polynomial', not {model.head!r}": two
        and model.labels == "joint",
        "loss='score' and score_weight= need head='polynomial'": (
            by_score or model.score_weight != 0
        )
        and model.head != "polynomial",
        "points= needs labels='joint'": model.points is not None and model.labels != "joint",
        "points= needs bag_size=1: bags are simulated at the samples' points": model.points
        is not None
        and model.events_in_bag != 1,
        "loss='mlc-linear' makes Λ no sum over events; use bag_size=1": model.loss == "mlc-linear"
        and model.events_in_bag != 1,
        "ensemble= and bag_size= must be at least 1": min(model.ensemble, model.events_in_bag) < 1,
        f"order={model.order} must be at least 1": model.order < 1,
        f"score_weight={model.score_weight:g} must not be negative": not model.score_weight >= 0,
        f"validation_fraction={model.validation_fraction:g} must be between 0 and 1": not (
            0 < model.validation_fraction < 1
        ),
        "bag_hidden= of the network needs head='multiclass'": model.head != "multiclass"
        and bool((model.network or model.default_network).bag_hidden),
    }
    for problem, found in problems.items():
        if found:
            raise ConfigurationError(problem)


def warn_of_free_coefficients(model: BagLikelihood, where: ModelPoints) -> None:
    """Say that hard labels at few points leave a polynomial head free between them.

    Warns
    -----
    MilinferWarning
        If the points do not fix |amplitude|² of the order of the head.
    """
    if model.head != "polynomial" or model.labels == "joint":
        return
    fixed, number = _fixed(where.parameters, where.points, 2 * model.order)
    if fixed < number:
        msg = (
            f"samples at {len(where.points)} points fix {fixed} of the {number} coefficients "
            f"of a squared amplitude of order={model.order} in {', '.join(where.parameters)}: "
            "between the points Λ is what the network makes of it. Add points, use order=1, or "
            "labels='joint' where events have weights at other points"
        )
        warnings.warn(msg, MilinferWarning, stacklevel=4)


def _fixed(names: tuple[str, ...], points: FloatArray, degree: int) -> tuple[int, int]:
    """Coefficients of a polynomial of some degree that points fix, and how many it has."""
    from milinfer.utils.polynomials import PolynomialBasis

    basis = PolynomialBasis(names, degree)
    scaled = (points - points.mean(axis=0)) / np.ptp(points, axis=0)
    return int(np.linalg.matrix_rank(basis.design(scaled))), len(basis)


def logit_degree(model: BagLikelihood, samples: SampleSet | StreamedSamples) -> int | None:
    """Degree of the logits; ``"auto"``: two points for each coefficient, or degree 2."""
    from milinfer.utils.polynomials import PolynomialBasis

    if model.head != "multiclass" or model.degree is None:
        return None if model.degree == "auto" else model.degree
    names, points = samples.parameters, training_points(model, samples)

    def determined(degree: int) -> bool:
        fixed, number = _fixed(names, points, degree)
        return fixed == number

    degree = model.degree
    if degree == "auto":
        fits = [
            d
            for d in (4, 3, 2)
            if len(PolynomialBasis(names, d)) - 1 <= (len(points) - 1) // 2 and determined(d)
        ]
        # Without a square Λ has no maximum; two points are two hypotheses, which need none.
        lowest = 1 if len(names) == 1 and len(points) == 2 else 2
        degree = fits[0] if fits else lowest
    if degree < 1 or not determined(degree):
        # Points along the axes, say, leave the coefficient of a cross term to chance.
        msg = (
            f"logits of degree {degree} in {', '.join(names)} do not fit {len(points)} points that "
            f"lie as they do: they need {len(PolynomialBasis(names, max(degree, 1)))} or more that "
            "fix every coefficient; lower degree= or add points"
        )
        raise ModelError(msg)
    return degree
