r"""Find directions in parameter space that the data constrain, and those they do not constrain.

Near its minimum −2 ln L is a quadratic function.  The parameters are divided by half of their
range.  The eigenvectors of the matrix of second derivatives are then the directions in which −2 ln
L rises most and least.  A direction is flat (not constrained) if −2 ln L, up to the end of the
training range, rises by less than the threshold of the confidence level.  Two operators that change
the same distribution in the same way make a flat direction, and so do too few events.  If a
parameter has a large part in a flat direction, its interval is meaningless; milinfer reports the
direction instead.

Let v be an eigenvector and h the half ranges of the parameters.  A step along the direction of v
changes the combination :math:`\sum_k v_k \theta_k / h_k`, and leaves the combinations of the other
eigenvectors unchanged.  If the direction is flat, the data do not constrain this combination.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from iminuit import describe
from iminuit.cost import Cost

from milinfer.exceptions import MilinferError, ParameterError
from milinfer.typing import FloatArray, Point
from milinfer.utils.confidence_levels import CL68, chi2_quantile, require_level
from milinfer.utils.points import format_point

__all__ = ["Direction", "combination_text", "directions"]

# Step of second derivatives, in half ranges: rounding of −2 ln L = 10⁶ then changes them by 10⁻³.
_STEP = 1e-3
# Steps along a direction at which −2 ln L is computed.
_N_STEPS = 50
# Coefficients of a combination below this fraction of the largest one are rounding.
_SMALL = 0.05
# A parameter whose part of a flat direction of length one is larger than this is not constrained.
_INVOLVED = 0.1


class Direction(NamedTuple):
    """One direction of −2 ln L at its minimum, and whether the data constrain it.

    Parameters
    ----------
    parameters
        Names of the parameters.
    step
        Change of the parameters in one step along the direction, shape (n_parameters,).  If only
        one parameter changes, a step is half of its range.
    coefficients
        Coefficients of the combination of parameters that changes along the direction, shape
        (n_parameters,).  The first coefficient is positive, and the largest in absolute value is
        ±1.
    value
        Value of the combination at the minimum.
    curvature
        Second derivative of −2 ln L with respect to the number of steps.
    down, up
        Values of the combination below and above the minimum at which −2 ln L has risen by the
        quantile of χ² with one degree of freedom.  None if the range of the parameters ends before
        −2 ln L has risen so much.
    ends
        The two points at which the direction leaves the range, downwards and upwards.
    rises
        Rise of −2 ln L at these points, or its largest rise on the way there; infinite if the cost
        is not defined there.
    cl
        Confidence level of `down` and `up`.
    """

    parameters: tuple[str, ...]
    step: FloatArray
    coefficients: FloatArray
    value: float
    curvature: float
    down: float | None
    up: float | None
    ends: tuple[Point, Point]
    rises: tuple[float, float]
    cl: float

    @property
    def combination(self) -> str:
        """Combination of parameters that changes along the direction, as text."""
        return combination_text(self.parameters, self.coefficients)

    @property
    def flat(self) -> bool:
        """Whether the data leave the combination of parameters unconstrained on both sides."""
        return self.down is None and self.up is None

    @property
    def open(self) -> bool:
        """Whether the data do not constrain the combination of parameters on at least one side."""
        return self.down is None or self.up is None

    def involves(self, parameter: str) -> bool:
        """Return whether a parameter has a component above 0.1 in the direction (a unit vector)."""
        k = self.parameters.index(parameter)
        return bool(abs(self._unit[k]) > _INVOLVED)

    @property
    def _unit(self) -> FloatArray:
        # Coefficients are v/h and steps v·h, so their product has the squares of the eigenvector.
        products = np.abs(self.coefficients * self.step)
        unit: FloatArray = np.sqrt(products / products.sum())
        return unit

    @property
    def sentence(self) -> str:
        """Return a sentence that says how well the data constrain the combination of parameters."""
        if not self.open:
            return (
                f"{self.combination} = {self.value:.4g}, from {self.down:.4g} to {self.up:.4g} at "
                f"{self.cl:.2%} along this direction"
            )
        sides = [
            f"{format_point({k: round(v, 4) for k, v in end.items()})} (+{rise:.2f})"
            for end, rise, found in zip(self.ends, self.rises, (self.down, self.up), strict=True)
            if found is None
        ]
        side = "" if self.flat else f" {'from below' if self.down is None else 'from above'}"
        needed = float(chi2_quantile(self.cl, 1))
        return (
            f"the data do not constrain {self.combination}{side} within the trained range: "
            f"−2 ln L has not risen by {needed:.3g} at the end of the range, at "
            f"{' and '.join(sides)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the results as a dictionary that can be written as JSON."""
        return {
            "combination": self.combination,
            "coefficients": dict(zip(self.parameters, self.coefficients.tolist(), strict=True)),
            "value": self.value,
            "low": self.down,
            "high": self.up,
            "cl": self.cl,
            "constrained": not self.open,
            "curvature": self.curvature,
            "sentence": self.sentence,
        }


def combination_text(parameters: Sequence[str], coefficients: FloatArray) -> str:
    """Return a linear combination as text.

    Terms whose coefficient is below 1/20 of the largest coefficient are left out.

    Examples
    --------
    >>> combination_text(["c_HW", "c_HB", "c_W"], np.array([1.0, -0.8, 0.001]))
    'c_HW − 0.8 c_HB'
    """
    largest = np.abs(coefficients).max()
    text = ""
    for name, c in zip(parameters, coefficients.tolist(), strict=True):
        if abs(c) < _SMALL * largest:
            continue
        size = f"{abs(c):.2g}"
        term = name if size == "1" else f"{size} {name}"
        sign = "−" if c < 0 else "+"
        text += f" {sign} {term}" if text else f"−{term}" if c < 0 else term
    return text


def directions(
    cost: Cost,
    point: Point,
    *,
    cl: float = CL68,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> tuple[Direction, ...]:
    """Compute the directions of −2 ln L at a minimum, the least constrained direction first.

    Use it to find combinations of parameters that the data do not constrain (flat directions).

    Parameters
    ----------
    cost
        −2 ln L of a dataset.
    point
        Minimum of the cost: a value for each parameter.
    cl
        Confidence level, with one degree of freedom.
    ranges
        Range of each parameter, ``{name: (low, high)}``; default: the limits of the cost, which are
        the range of the training.

    Raises
    ------
    ParameterError
        If the names in `point` are not the parameters of the cost, or a parameter has no range.

    Examples
    --------
    The data of this example determine the sum of two parameters, but not their difference:

    >>> from iminuit.cost import NormalConstraint
    >>> class Sum(NormalConstraint):
    ...     def _value(self, args):
    ...         return 100 * (args[0] + args[1] - 0.1) ** 2
    >>> box = {"a": (-1.0, 1.0), "b": (-1.0, 1.0)}
    >>> flat, steep = directions(Sum(["a", "b"], [0, 0], [1, 1]), {"a": 0.1, "b": 0.0}, ranges=box)
    >>> flat.combination, flat.flat, steep.combination, steep.flat
    ('a − b', True, 'a + b', False)
    """
    require_level(cl, ParameterError)
    names = tuple(describe(cost))
    if set(point) != set(names):
        msg = (
            f"{format_point(point)} is not a point in {', '.join(names)}, the parameters of the "
            "cost; give one value for each"
        )
        raise ParameterError(msg)
    given = describe(cost, annotations=True) if ranges is None else ranges
    limits = np.array([given.get(n) or (np.nan, np.nan) for n in names], dtype=np.float64)
    unlimited = ~np.isfinite(limits).all(axis=1)
    if unlimited.any():
        msg = f"{names[int(np.argmax(unlimited))]} has no range; give ranges={{name: (low, high)}}"
        raise ParameterError(msg)
    low, high = limits.T
    half = (high - low) / 2
    centre = np.array([point[n] for n in names], dtype=np.float64)

    def at(unit: FloatArray) -> float:
        try:
            value = float(cost(*np.clip(centre + unit * half, low, high)))
        except MilinferError:  # a yield below zero: the likelihood ends there
            return np.inf
        return np.inf if np.isnan(value) else value

    minimum = at(np.zeros(len(names)))
    curvatures, vectors = np.linalg.eigh(_second_derivatives(at, centre, low, high, half))
    needed = float(chi2_quantile(cl, 1))
    made = []
    for curvature, raw in zip(curvatures.tolist(), vectors.T, strict=True):
        coefficients = raw / half
        # The first coefficient that is larger than rounding is positive.
        k = int(np.argmax(np.abs(coefficients) > _SMALL * np.abs(coefficients).max()))
        vector = raw * np.sign(coefficients[k])
        coefficients = vector / half / np.abs(coefficients).max()
        walks = [_walk(at, side * vector, minimum, needed, (centre, low, high, half))
                 for side in (-1.0, 1.0)]  # fmt: skip
        value = float(coefficients @ centre)
        # Change of the combination for each unit of length along the direction.
        slope = float(coefficients @ (vector * half))
        ends = [
            dict(zip(names, (centre + side * walk.reach * vector * half).tolist(), strict=True))
            for side, walk in zip((-1.0, 1.0), walks, strict=True)
        ]
        made.append(
            Direction(
                parameters=names,
                step=vector * half,
                coefficients=coefficients,
                value=value,
                curvature=float(curvature),
                down=None if walks[0].crossing is None else value - slope * walks[0].crossing,
                up=None if walks[1].crossing is None else value + slope * walks[1].crossing,
                ends=(ends[0], ends[1]),
                rises=(walks[0].rise, walks[1].rise),
                cl=cl,
            )
        )
    return tuple(made)


class _Walk(NamedTuple):
    """Point where −2 ln L has risen enough (or None), end of the range, and the rise there."""

    crossing: float | None
    reach: float
    rise: float


def _walk(at: Any, vector: FloatArray, minimum: float, needed: float, box: Any) -> _Walk:
    """Walk along a vector until −2 ln L has risen, or the range ends."""
    centre, low, high, half = box
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(vector > 0, high - centre, centre - low) / (np.abs(vector) * half)
    reach = float(np.nanmin(np.where(np.abs(vector) > 1e-12, room, np.inf)))
    before, highest = 0.0, 0.0
    for t in np.linspace(0, reach, _N_STEPS + 1)[1:]:
        rise = at(t * vector) - minimum
        if rise >= needed:
            crossing = float(t)
            if np.isfinite(rise):
                from scipy.optimize import brentq

                found = brentq(lambda s: at(s * vector) - minimum - needed, before, t, xtol=1e-9)
                crossing = float(found)
            return _Walk(crossing, reach, float(rise))
        before, highest = float(t), max(highest, float(rise))
    return _Walk(None, reach, highest)


def _second_derivatives(
    at: Any, centre: FloatArray, low: FloatArray, high: FloatArray, half: FloatArray
) -> FloatArray:
    """Return second derivatives in half ranges, at the point moved inside the range by one step."""
    n = len(centre)
    inside = np.clip(centre, low + 2 * _STEP * half, high - 2 * _STEP * half)
    middle = (inside - centre) / half
    unit = np.eye(n) * _STEP
    here = at(middle)
    matrix = np.empty((n, n))
    for j in range(n):
        matrix[j, j] = (at(middle + unit[j]) - 2 * here + at(middle - unit[j])) / _STEP**2
        for k in range(j):
            corners = [
                s * t * at(middle + s * unit[j] + t * unit[k]) for s in (1, -1) for t in (1, -1)
            ]
            matrix[j, k] = matrix[k, j] = sum(corners) / (4 * _STEP**2)
    # Where the likelihood ends within a step, it is treated as infinitely steep.
    return np.nan_to_num(matrix, nan=0.0, posinf=1e12, neginf=-1e12)
