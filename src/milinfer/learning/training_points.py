"""Training points of a model, points at which Λ is computed, and the heads that result."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from milinfer.exceptions import ConfigurationError, MilinferWarning, ModelError
from milinfer.learning.networks.heads import LinearHead, PolynomialHead
from milinfer.learning.settings import LikelihoodSettings, is_normalised
from milinfer.likelihood.surface import Interpolation, Kind
from milinfer.likelihood.surface_box import ChebyshevBox, UntabulatedBox
from milinfer.samples.reweighting import carried_points, class_points
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.typing import FloatArray, Point
from milinfer.utils.keywords import did_you_mean
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis

__all__ = ["ModelPoints", "logit_degree", "training_points", "warn_of_free_coefficients"]


# Number of points of the spline through a polynomial head in one parameter.  ln r of single events
# bends sharply if amplitudes cancel, and a spline keeps the effect local.
_SPLINE_NODES = 81
# Degree of the Chebyshev polynomial in each parameter, by number of parameters.
_BOX_DEGREE = {2: 16, 3: 8, 4: 4}


def ordered_points(
    points: Sequence[Point | Sequence[float]] | None, parameters: Sequence[str]
) -> tuple[tuple[float, ...], ...] | None:
    """Return the points with their values in the order of the parameters.

    Raises
    ------
    ConfigurationError
        If a point does not have a value for each parameter.

    Examples
    --------
    >>> ordered_points([{"b": 2.0, "a": 1.0}, (3.0, 4.0)], ["a", "b"])
    ((1.0, 2.0), (3.0, 4.0))
    """
    if points is None:
        return None
    rows: list[tuple[float, ...]] = []
    for point in points:
        if isinstance(point, Mapping):
            if set(point) != set(parameters):
                msg = (
                    f"points= has {format_point(point) or 'an empty point'}, but each point needs "
                    f"values of {', '.join(parameters)} and of no other parameter"
                )
                unknown = sorted(set(point) - set(parameters))
                raise ConfigurationError(
                    msg + (did_you_mean(unknown[0], parameters) if unknown else "")
                )
            rows.append(tuple(float(point[name]) for name in parameters))
        else:
            rows.append(tuple(float(v) for v in np.ravel(point)))
    if not rows or any(len(row) != len(parameters) for row in rows):
        msg = f"points= needs {len(parameters)} values for each point: {', '.join(parameters)}"
        raise ConfigurationError(msg)
    return tuple(rows)


def training_points(
    settings: LikelihoodSettings, samples: SampleSet | StreamedSamples
) -> FloatArray:
    """Return the points between which the ratio is learned, shape (K, n_parameters).

    These are the ``points`` of the settings, or else the points of the samples.  A set of points
    spans the parameters if every parameter varies independently; the point of a single sample does
    not.  If the points of the samples do not span the parameters and the labels are joint, the
    result also contains the points at which the events of all samples have weights, and the
    reference (if it is in the range of these points).

    Raises
    ------
    ModelError
        If the points do not span the parameters.
    ConfigurationError
        If ``points`` of the settings do not fit the parameters.  Also if the points of event
        weights are needed, but `bag_size` is not 1.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> sample = quadratic.samples(5, [{"c1": 0.5}], seed=1)
    >>> training_points(LikelihoodSettings(head="polynomial", labels="joint"), sample).ravel()
    array([-1. ,  0. ,  0.5,  1. ])
    """
    names, points = samples.parameters, class_points(samples)
    rows = ordered_points(settings.points, names)
    if rows is not None:
        points = np.unique(np.array(rows, dtype=np.float64), axis=0)
    elif settings.labels == "joint" and not _span(points):
        points = _with_weights(settings, samples)
    if not _span(points):
        msg = f"the training points {points.tolist()} do not span {', '.join(names)}; add samples "
        if settings.labels == "joint":
            msg += "at other points, give events weights at other points, or give points="
        else:
            msg += (
                "at other points, or if the events have weights at other points, use "
                "labels='joint', which learns between these points"
            )
        raise ModelError(msg)
    return points


def _span(points: FloatArray) -> bool:
    """Return whether points (K, n_parameters) vary all parameters independently."""
    return bool(np.linalg.matrix_rank(points - points[0]) == points.shape[1])


def _with_weights(settings: LikelihoodSettings, samples: SampleSet | StreamedSamples) -> FloatArray:
    """Return the points of the samples, the points of weights that all have, and the reference."""
    names = samples.parameters
    shared: set[tuple[float, ...]] | None = None
    for sample in samples:
        # The first events of a file show which weights all events of the file have.
        part = sample if isinstance(sample, Sample) else next(sample.read([0], keep_reweights=True))
        carried = carried_points(part, names)
        shared = carried if shared is None else shared & carried
    points = class_points(samples)
    if not shared:
        return points
    if settings.events_in_bag != 1:
        msg = (
            f"the samples at {points.tolist()} do not span {', '.join(names)}, and bags of several "
            "events exist only at the points of samples; use bag_size=1, or add samples"
        )
        raise ConfigurationError(msg)
    points = np.concatenate([points + 0.0, sorted(shared)])
    reference = np.broadcast_to(np.asarray(settings.reference, dtype=np.float64), len(names))
    if np.all((points.min(axis=0) <= reference) & (reference <= points.max(axis=0))):
        points = np.concatenate([points, reference[None] + 0.0])
    distinct: FloatArray = np.unique(points, axis=0)
    return distinct


@dataclass(frozen=True, eq=False)
class ModelPoints:
    """Training points, reference and heads of a model.

    Parameters
    ----------
    parameters
        Names of the parameters.
    points
        Training points, shape (K, n_parameters).
    reference
        Reference point θ0, shape (n_parameters,).
    head, order, squares, degree, kind, window
        As for :class:`~milinfer.learning.bag_likelihood.BagLikelihood`.
    normalised
        Whether the ratios of a head that is not polynomial are divided by their means.
    """

    parameters: tuple[str, ...]
    points: FloatArray
    reference: FloatArray
    head: str
    order: int
    squares: int | None
    degree: int | None
    kind: Kind
    window: float
    normalised: bool

    @classmethod
    def of(cls, settings: LikelihoodSettings, samples: SampleSet | StreamedSamples) -> ModelPoints:
        """Determine the points from the settings and from samples, which must be sorted by point.

        Raises
        ------
        ModelError
            If the reference is not among the points, or nothing can be learned at these points.
        ConfigurationError
            If `points` or `reference` do not fit the parameters, or Λ cannot be interpolated
            between the points.
        ParameterError
            If there are too few points for the interpolation.
        """
        names, points = samples.parameters, training_points(settings, samples)
        reference = np.asarray(settings.reference, dtype=np.float64)
        if reference.shape not in {(), (len(names),)}:
            msg = f"reference= needs one value, or {len(names)}: {', '.join(names)}"
            raise ConfigurationError(msg)
        model_points = cls.unchecked(settings, names, points)
        if not model_points._distance().min() < 1e-9:
            at = ", ".join(
                f"{n} = {v:g}" for n, v in zip(names, model_points.reference, strict=True)
            )
            what = "training point" if settings.points is None else "point of points="
            msg = f"no {what} at the reference {at}; add one or set reference="
            raise ModelError(msg)
        model_points.interpolation  # noqa: B018  # refuses what has none, before training
        return model_points

    @classmethod
    def unchecked(
        cls, settings: LikelihoodSettings, parameters: Sequence[str], points: FloatArray
    ) -> ModelPoints:
        """Create the object without checks of the points."""
        reference = np.asarray(settings.reference, dtype=np.float64)
        return cls(
            parameters=tuple(parameters),
            points=points,
            reference=np.broadcast_to(reference, len(parameters)).copy(),
            head=settings.head,
            order=settings.order,
            squares=settings.squares,
            degree=settings.degree if isinstance(settings.degree, int) else None,
            kind=settings.interpolation_kind,
            window=settings.window,
            normalised=is_normalised(settings),
        )

    def _distance(self) -> FloatArray:
        distance: FloatArray = np.abs(self.points - self.reference).max(axis=1)
        return distance

    @property
    def reference_index(self) -> int:
        """Index of the reference among the training points."""
        return int(np.argmin(self._distance()))

    @property
    def _range(self) -> tuple[FloatArray, FloatArray]:
        return self.points.min(axis=0), self.points.max(axis=0)

    def scaled(self, theta: FloatArray) -> FloatArray:
        """Scale `theta` so that the training points have the range [−1, 1] in each parameter."""
        low, high = self._range
        out: FloatArray = (2 * theta - low - high) / (high - low)
        return out

    @cached_property
    def interpolation(self) -> Interpolation | ChebyshevBox:
        """Parameter points at which Λ is computed, and the interpolation between them."""
        low, high = self._range
        n = len(self.parameters)
        if n > 1:
            self._require_box()
            if n not in _BOX_DEGREE:
                return UntabulatedBox(low, high)
            # ln Z, which normalises polynomial logits, is not a polynomial, but nearly of degree 4.
            least = 4 if self.normalised else 2
            degree = {"multiclass": max(self.degree or 2, least), "parametrised": 4}.get(
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

    def _require_box(self) -> None:
        """Raise for settings without a surface in several parameters."""
        if len(self.parameters) not in _BOX_DEGREE and self.head != "polynomial":
            msg = (
                f"a table of Λ is too large in {len(self.parameters)} parameters; use "
                "head='polynomial', which needs no table, or fix some of the parameters"
            )
            raise ConfigurationError(msg)
        if self.head == "multiclass" and self.degree is None:
            msg = (
                "Λ cannot be interpolated between free logits (degree=None) in several parameters; "
                "set degree="
            )
            raise ConfigurationError(msg)
        if self.head == "binary":
            msg = "head='binary' cannot be interpolated in several parameters; use another head"
            raise ConfigurationError(msg)

    @property
    def nodes(self) -> FloatArray:
        """Parameter points at which Λ is computed, shape (m, n_parameters)."""
        return self.interpolation.grid.reshape(-1, len(self.parameters))

    @cached_property
    def at_reference(self) -> FloatArray:
        """Weights that interpolate Λ(θ0) from the values of Λ at `nodes`."""
        interpolation = self.interpolation
        if isinstance(interpolation, ChebyshevBox):
            n = len(interpolation.grid)
            return interpolation.evaluate(np.eye(n), np.tile(self.reference, (n, 1)))
        nearest = int(np.argmin(np.abs(interpolation.grid - self.reference[0])))
        one_hot: FloatArray = np.eye(len(interpolation.grid))[nearest]
        return one_hot

    def linear_at(self, theta: FloatArray) -> LinearHead:
        """Return the head of a multi-class network at points of shape (m, n_parameters)."""
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
        n_squares = self.squares or (1 if len(names) == 1 else n_monomials)
        return PolynomialHead(
            parameters=names,
            order=self.order,
            reference=self.reference,
            scale=(high - low) / 2,
            n_squares=n_squares,
        )


def warn_of_free_coefficients(settings: LikelihoodSettings, model_points: ModelPoints) -> None:
    """Warn if, with hard labels, the points do not determine a polynomial head between them.

    Warns
    -----
    MilinferWarning
        If the points do not determine all coefficients of the squared amplitude.
    """
    if settings.head != "polynomial" or settings.labels == "joint":
        return
    names, points = model_points.parameters, model_points.points
    fixed, number = _count_coefficients(names, points, 2 * settings.order)
    if fixed < number:
        msg = (
            f"samples at {len(points)} points determine only {fixed} of the {number} coefficients "
            f"of a squared amplitude of order={settings.order} in {', '.join(names)}, so Λ between "
            "the points is not determined; add points, use order=1, or "
            "labels='joint' if the events have weights at other points"
        )
        warnings.warn(msg, MilinferWarning, stacklevel=4)


def _count_coefficients(names: tuple[str, ...], points: FloatArray, degree: int) -> tuple[int, int]:
    """Return how many coefficients of a polynomial the points determine, and how many it has."""
    basis = PolynomialBasis(names, degree)
    scaled = (points - points.mean(axis=0)) / np.ptp(points, axis=0)
    return int(np.linalg.matrix_rank(basis.design(scaled))), len(basis)


def logit_degree(settings: LikelihoodSettings, samples: SampleSet | StreamedSamples) -> int | None:
    """Return the degree of the logits in θ.

    ``"auto"`` gives the highest degree for which there are two points for each coefficient, but at
    most 4 and at least 2.
    """
    if settings.head != "multiclass" or settings.degree is None:
        return None if settings.degree == "auto" else settings.degree
    names, points = samples.parameters, training_points(settings, samples)

    def determined(degree: int) -> bool:
        fixed, number = _count_coefficients(names, points, degree)
        return fixed == number

    degree = settings.degree
    if degree == "auto":
        fits = [
            d
            for d in (4, 3, 2)
            if len(PolynomialBasis(names, d)) - 1 <= (len(points) - 1) // 2 and determined(d)
        ]
        # Without a square Λ has no maximum; two points are two hypotheses and need no maximum.
        lowest = 1 if len(names) == 1 and len(points) == 2 else 2
        degree = fits[0] if fits else lowest
    if degree < 1 or not determined(degree):
        # Points along the axes, for instance, do not determine the coefficient of a cross term.
        msg = (
            f"logits of degree {degree} in {', '.join(names)} cannot be determined from these "
            f"{len(points)} points: they need {len(PolynomialBasis(names, max(degree, 1)))} or "
            "more points that determine every coefficient; lower degree= or add points"
        )
        raise ModelError(msg)
    return degree
