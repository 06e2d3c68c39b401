r"""Publish a measurement of several parameters, so that global fits can use it.

:func:`constraint` describes −2 ln L near the best fit, with nuisance parameters profiled, in two
ways: by the parabola of the covariance matrix, and by a polynomial in the parameters.  The largest
errors of both descriptions inside the joint confidence region are measured and stored.

A :class:`Constraint` can be saved as a JSON file.  It can also be exported as tables for HEPData,
as a dataset or an external χ² for SMEFiT, or as a POPxf file; see
:mod:`milinfer.likelihood.constraint_files`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from iminuit import Minuit
from iminuit.cost import Cost
from numpy.typing import ArrayLike

from milinfer.exceptions import (
    ConfigurationError,
    FitError,
    MilinferError,
    MilinferWarning,
    ParameterError,
)
from milinfer.likelihood.constraint_files import write_hepdata, write_popxf, write_smefit
from milinfer.likelihood.fits import minuit
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.confidence_levels import CL95, chi2_quantile, require_level
from milinfer.utils.display import brief
from milinfer.utils.files import parse_json, require_file, write_whole
from milinfer.utils.polynomials import PolynomialBasis

__all__ = ["Constraint", "constraint"]

_FORMAT, _VERSION = "milinfer constraint", 1
_MOST_DEGREE = 8
# Number of points for each coefficient, and smallest number of points.
_POINTS_EACH, _LEAST_POINTS = 4, 60
# Factor by which points reach beyond the ellipse of the covariance in each direction.  If the
# region reaches nearly as far, the distance is increased, at most this number of times.
_FURTHER, _NEARLY, _WIDENED = 1.3, 0.95, 8
# Factor on the level: up to there the polynomial must describe −2 ln L.
_MARGIN = 1.1
# Depth below the minimum of the fit at which there is another minimum.
_LOWER = 0.01
# Error of −2 ln L above which intervals change by some per cent.
_TOLERANCE = 0.1
# Distance at which a parameter counts as at its limit, in units of the range (else of the error).
_AT_LIMIT = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class Constraint:
    r"""−2 ln L of a measurement near its best fit, relative to its value at the best fit.

    Parameters
    ----------
    parameters
        Names of the parameters θ.
    best
        Best fit, shape (n_parameters,).
    covariance
        Covariance of the best fit, from the second derivatives of −2 ln L (HESSE) with nuisance
        parameters profiled, shape (n_parameters, n_parameters).
    degree
        Degree of the polynomial.
    coefficients
        Coefficients of the polynomial in (θ − best)/σ, where σ are the square roots of the
        variances, shape (n_monomials,).  :class:`~milinfer.utils.polynomials.PolynomialBasis`
        defines the monomials and their order (by total degree).
    cl, threshold
        Confidence level of the region in which the polynomial is valid, and the value of −2 ln L at
        the edge of this region.  The value is the quantile of χ² with n_parameters degrees of
        freedom.
    low, high
        Smallest and largest value of each parameter, shape (n_parameters,), among the points of
        this region at which −2 ln L was computed.
    error, gaussian_error
        Largest difference between the polynomial and −2 ln L, and between the parabola and −2 ln L.
        The differences are computed at `n_tests` random points of the region that were not used to
        fit the polynomial.
    n_tests
        Number of these test points.
    profiled
        Names of the profiled nuisance parameters.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> both = NormalConstraint(["c1", "c2"], [0.1, 0.2], [[0.04, 0.01], [0.01, 0.01]])
    >>> measured = constraint(both)
    >>> print(round(measured.value([0.3, 0.2]), 3), round(measured.gaussian([0.3, 0.2]), 3))
    1.333 1.333
    """

    parameters: tuple[str, ...]
    best: FloatArray
    covariance: FloatArray
    degree: int
    coefficients: FloatArray
    cl: float
    threshold: float
    low: FloatArray
    high: FloatArray
    error: float
    gaussian_error: float
    n_tests: int
    profiled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("best", "covariance", "coefficients", "low", "high"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        p = len(self.parameters)
        shapes = {
            "best": (p,),
            "covariance": (p, p),
            "coefficients": (len(self.basis),),
            "low": (p,),
            "high": (p,),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or not np.isfinite(array).all():
                msg = (
                    f"{name} of a constraint of {', '.join(self.parameters)} must be finite "
                    f"numbers of shape {shape}, not {array.shape}"
                )
                raise ParameterError(msg)
        if not np.allclose(self.covariance, self.covariance.T, rtol=1e-9) or (
            np.linalg.eigvalsh(self.covariance).min() <= 0
        ):
            msg = (
                f"the covariance matrix of {', '.join(self.parameters)} is not symmetric with "
                f"positive eigenvalues: {self.covariance.tolist()}"
            )
            raise ParameterError(msg)

    def __repr__(self) -> str:
        return brief(self, leave_out=("coefficients",))

    @cached_property
    def basis(self) -> PolynomialBasis:
        """Monomials of the polynomial, in (θ − best)/σ."""
        return PolynomialBasis(self.parameters, self.degree)

    @property
    def errors(self) -> FloatArray:
        """Standard errors σ, the square roots of the variances, shape (n_parameters,)."""
        errors: FloatArray = np.sqrt(np.diag(self.covariance))
        return errors

    @property
    def correlation(self) -> FloatArray:
        """Correlation matrix, shape (n_parameters, n_parameters)."""
        matrix: FloatArray = self.covariance / np.outer(self.errors, self.errors)
        return matrix

    def value(self, theta: ArrayLike) -> float | FloatArray:
        """Return −2 ln L, computed with the polynomial.

        Parameters
        ----------
        theta
            One point, shape (n_parameters,), or several points, shape (m, n_parameters).
        """
        points = self._points(theta)
        values = self.basis.design((points - self.best) / self.errors) @ self.coefficients
        return float(values[0]) if np.ndim(theta) < 2 else np.asarray(values)

    def gaussian(self, theta: ArrayLike) -> float | FloatArray:
        """Return −2 ln L, computed with the covariance matrix (a parabola).

        Parameters
        ----------
        theta
            One point, shape (n_parameters,), or several points, shape (m, n_parameters).
        """
        off = self._points(theta) - self.best
        values = np.einsum("mi,mi->m", off, np.linalg.solve(self.covariance, off.T).T)
        return float(values[0]) if np.ndim(theta) < 2 else np.asarray(values)

    def _points(self, theta: ArrayLike) -> FloatArray:
        points = np.atleast_2d(np.asarray(theta, dtype=np.float64))
        if points.ndim != 2 or points.shape[1] != len(self.parameters):
            msg = (
                f"theta has shape {np.shape(theta)}; give values of {', '.join(self.parameters)}: "
                f"({len(self.parameters)},) or (m, {len(self.parameters)})"
            )
            raise ParameterError(msg)
        return points

    def raw_coefficients(self) -> FloatArray:
        """Return the coefficients of the polynomial written in θ, shape (n_monomials,)."""
        shift = self.basis.shift(-self.best / self.errors, 1 / self.errors)
        return np.asarray(shift @ self.coefficients)

    def renamed(self, names: Mapping[str, str]) -> Constraint:
        """Return the same constraint with other parameter names, such as the names in a global fit.

        Parameters
        ----------
        names
            New name for each parameter to rename.

        Raises
        ------
        ParameterError
            If a key is not a parameter, or two parameters would have the same name.

        Examples
        --------
        >>> from iminuit.cost import NormalConstraint
        >>> constraint(NormalConstraint("c_W", 0.1, 0.2)).renamed({"c_W": "OWWW"}).parameters
        ('OWWW',)
        """
        if unknown := sorted(set(names) - set(self.parameters)):
            msg = f"{unknown[0]} is not a parameter; there are {', '.join(self.parameters)}"
            raise ParameterError(msg)
        return replace(self, parameters=tuple(names.get(p, p) for p in self.parameters))

    def save(self, path: PathLikeStr) -> None:
        """Write the constraint to a JSON file, which :meth:`load` reads."""
        record = {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in asdict(self).items()
        }
        about = {
            "format": _FORMAT,
            "version": _VERSION,
            "description": "-2 ln L(theta) + 2 ln L(best) = sum_k coefficients[k] "
            "prod_j ((theta_j - best_j)/sqrt(covariance_jj))^exponents[k][j]",
        }
        exponents = self.basis.exponents.tolist()
        write_whole(path, json.dumps(about | record | {"exponents": exponents}, indent=1) + "\n")

    @classmethod
    def load(cls, path: PathLikeStr) -> Constraint:
        """Read a constraint from a JSON file that :meth:`save` has written.

        Raises
        ------
        MissingFileError
            If the file does not exist.
        ConfigurationError
            If the file does not contain a constraint; the message says what is wrong.
        """
        require_file(path)
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123
                record = parse_json(file.read())
            return cls._of_record(record)
        except (KeyError, TypeError, ValueError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            msg = f"{path} is not a constraint as Constraint.save writes it: {what}"
            raise ConfigurationError(msg) from error

    @classmethod
    def _of_record(cls, record: Any) -> Constraint:
        if not isinstance(record, dict) or record.get("format") != _FORMAT:
            msg = f"its format is not {_FORMAT!r}"
            raise ValueError(msg)
        if record["version"] != _VERSION:
            msg = f"its version is {record['version']}, and this milinfer reads {_VERSION}"
            raise ValueError(msg)
        fields = {name: record[name] for name in cls.__dataclass_fields__}
        for name in ("parameters", "profiled"):
            if not all(isinstance(x, str) for x in fields[name]):
                msg = f"{name} are not names"
                raise ValueError(msg)
            fields[name] = tuple(fields[name])
        if not isinstance(fields["degree"], int) or not 2 <= fields["degree"] <= _MOST_DEGREE:
            msg = f"degree is {fields['degree']}"
            raise ValueError(msg)
        for name in ("cl", "threshold", "error", "gaussian_error", "n_tests"):
            number = fields[name]
            if type(number) not in (int, float) or not np.isfinite(number):
                msg = f"{name} is {number!r}"
                raise ValueError(msg)
        made = cls(**fields)
        if record["exponents"] != made.basis.exponents.tolist():
            msg = "its exponents are in another order"
            raise ValueError(msg)
        return made

    def to_hepdata(self, folder: PathLikeStr, *, title: str = "Constraint") -> None:
        """Write a submission for HEPData: tables with descriptions.

        Parameters
        ----------
        folder
            Folder to write; an existing folder is replaced.
        title
            Beginning of the names of the tables.
        """
        write_hepdata(self, folder, title)

    def to_smefit(self, folder: PathLikeStr, name: str) -> None:
        """Write a dataset of SMEFiT for the parabola, and an external χ² for the polynomial.

        Parameters
        ----------
        folder
            Folder to write; an existing folder is replaced.
        name
            Name of the dataset.
        """
        write_smefit(self, folder, name)

    def to_popxf(self, path: PathLikeStr, *, scale: float, basis: Mapping[str, Any]) -> None:
        """Write a POPxf file with −2 ln L as its observable.

        Parameters
        ----------
        path
            File to write, with the ending ``.json``.
        scale
            Renormalisation scale of the parameters in GeV.
        basis
            Operator basis: ``{"wcxf": {"eft": "SMEFT", "basis": "Warsaw"}}`` or
            ``{"custom": …}``.
        """
        write_popxf(self, path, scale, basis)


def constraint(
    fit: Minuit | Cost,
    parameters: Sequence[str] | None = None,
    *,
    degree: int = 4,
    cl: float = CL95,
    n_tests: int = 500,
    seed: int = 0,
) -> Constraint:
    """Describe −2 ln L near the minimum of a fit by a covariance matrix and by a polynomial.

    All parameters except the parameters of interest are profiled.

    Parameters
    ----------
    fit
        A Minuit object after ``migrad``, or a cost, which is then minimised.
    parameters
        Names of the parameters of interest; default: all parameters that are not fixed.
    degree
        Degree of the polynomial, from 2 to 8.
    cl
        Joint confidence level of the region in which the polynomial must be valid.
    n_tests
        Number of random points of this region at which the error of the polynomial is measured.
    seed
        Random seed of these points.

    Returns
    -------
    Constraint
        The covariance matrix, the polynomial, and the errors of these two descriptions.

    Raises
    ------
    FitError
        If the fit is not valid, a parameter is at its limit, −2 ln L has a lower minimum than the
        fit has found, or the confidence region is not closed.
    ParameterError
        If a name is not a free parameter of the fit, or `cl` is not between 0 and 1.
    ConfigurationError
        If `degree` or `n_tests` is out of range.

    Warns
    -----
    MilinferWarning
        If the polynomial differs from −2 ln L by more than 0.1 somewhere in the region.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> both = NormalConstraint(["c1", "alpha"], [0.1, 0.2], [[0.04, 0.01], [0.01, 0.01]])
    >>> measured = constraint(both, ["c1"])
    >>> measured.profiled, measured.errors.round(3)
    (('alpha',), array([0.2]))
    """
    require_level(cl, ParameterError)
    if not 2 <= degree <= _MOST_DEGREE or degree != int(degree):
        msg = f"degree = {degree}; take a whole number from 2 to {_MOST_DEGREE}"
        raise ConfigurationError(msg)
    if n_tests < 1:
        msg = f"n_tests = {n_tests}; take at least 1"
        raise ConfigurationError(msg)
    profile = _Profile(fit, parameters)
    names = profile.parameters
    basis = PolynomialBasis(names, degree)
    threshold = float(chi2_quantile(cl, len(names)))
    rng = np.random.default_rng(seed)
    n_fitted = max(_LEAST_POINTS, _POINTS_EACH * len(basis))
    region = _Region(profile, threshold, rng)
    points, rises = region.points(n_fitted, _MARGIN * threshold)
    errors = np.sqrt(np.diag(profile.covariance))
    # −2 ln L and its slope vanish at the minimum, so the polynomial begins with squares.
    squares = basis.exponents.sum(axis=1) >= 2
    design = basis.design((points - profile.best) / errors)[:, squares]
    coefficients = np.zeros(len(basis))
    coefficients[squares] = np.linalg.lstsq(design, rises, rcond=None)[0]
    test_points, test_rises = region.points(n_tests, threshold)
    inside = np.concatenate([points[rises <= threshold], test_points, profile.best[None]])
    made = Constraint(
        parameters=names,
        best=profile.best,
        covariance=profile.covariance,
        degree=degree,
        coefficients=coefficients,
        cl=float(cl),
        threshold=threshold,
        low=inside.min(axis=0),
        high=inside.max(axis=0),
        error=0.0,
        gaussian_error=0.0,
        n_tests=n_tests,
        profiled=profile.profiled,
    )
    off, gaussian_off = (
        float(np.abs(f(test_points) - test_rises).max()) for f in (made.value, made.gaussian)
    )
    if off > _TOLERANCE:
        msg = (
            f"the polynomial of degree {degree} differs by up to {off:.2g} in −2 ln L inside the "
            f"{cl:.2%} region (the covariance matrix by {gaussian_off:.2g}); raise degree=, or "
            "publish a smaller region (cl=)"
        )
        warnings.warn(msg, MilinferWarning, stacklevel=2)
    return replace(made, error=off, gaussian_error=gaussian_off)


class _Profile:
    """−2 ln L relative to its minimum, as a function of the parameters of interest."""

    def __init__(self, fit: Minuit | Cost, parameters: Sequence[str] | None) -> None:
        m = fit if isinstance(fit, Minuit) else minuit(fit).migrad()
        if not m.valid:
            msg = f"the fit is not valid; call migrad() and look at its start and limits: {m.fmin}"
            raise FitError(msg)
        # A remaining slope would matter at the edge of the region.  A cost may be too noisy for the
        # smaller of these two distances to the minimum.
        for tolerance in (1e-4, 1e-7):
            closer = _copy(m)
            closer.tol = tolerance
            if not closer.migrad().valid:
                break
            m = closer
        self._m = m = _copy(m)
        m.tol = 1e-4
        m.migrad()
        m.hesse()
        if not m.valid or m.covariance is None:
            msg = f"HESSE finds no covariance matrix; check the cost near its minimum: {m.fmin}"
            raise FitError(msg)
        free = [name for name in m.parameters if not m.fixed[name]]
        self.parameters = tuple(free if parameters is None else parameters)
        for name in self.parameters:
            if name not in free:
                what = "fixed" if name in m.parameters else "not a parameter of this fit"
                msg = f"{name} is {what}; free parameters are {', '.join(free)}"
                raise ParameterError(msg)
        if not self.parameters or len(set(self.parameters)) != len(self.parameters):
            msg = f"{self.parameters} are not parameters with different names; name each once"
            raise ParameterError(msg)
        self.profiled = tuple(name for name in free if name not in self.parameters)
        own, others = ([m.parameters.index(n) for n in x] for x in (self.parameters, self.profiled))
        self.best, self._others = np.array(m.values)[own], np.array(m.values)[others]
        covariance = np.array(m.covariance)
        self.covariance = covariance[np.ix_(own, own)]
        # Dependence of the other parameters on those of interest, to start each fit with.
        self._follow = covariance[np.ix_(others, own)] @ np.linalg.inv(self.covariance)
        self._own, self._places = own, others
        self.low, self.high = np.array([m.limits[name] for name in self.parameters]).T
        self._require_inside()
        self._lowest, self._unit = float(m.fval), float(m.errordef)
        self._fit = _copy(m)
        for name in self.parameters:
            self._fit.fixed[name] = True

    def _require_inside(self) -> None:
        errors = np.sqrt(np.diag(self.covariance))
        near = _AT_LIMIT * np.where(np.isfinite(self.high - self.low), self.high - self.low, errors)
        for k, name in enumerate(self.parameters):
            if min(self.best[k] - self.low[k], self.high[k] - self.best[k]) <= near[k]:
                msg = (
                    f"{name} = {self.best[k]:g} is at its limit, so −2 ln L has no minimum there; "
                    "use a wider range"
                )
                raise FitError(msg)

    def rise(self, theta: FloatArray) -> float:
        """Return −2 ln L minus its minimum at a point (n_parameters,); inf where not defined."""
        point = np.array(self._m.values)
        point[self._own] = theta
        try:
            lowest = self._profiled(point) if self.profiled else float(self._m.fcn(point))
        except MilinferError:
            return np.inf  # a yield below zero: no part of any region
        rise = (lowest - self._lowest) / self._unit
        if rise < -_LOWER:
            at = ", ".join(f"{n} = {x:g}" for n, x in zip(self.parameters, theta, strict=True))
            msg = f"−2 ln L is lower by {-rise:.3g} at {at}; start the fit there"
            raise FitError(msg)
        return rise if np.isfinite(rise) else np.inf

    def _profiled(self, point: FloatArray) -> float:
        m = self._fit
        theta = point[self._own]
        for start in (self._others + self._follow @ (theta - self.best), self._others):
            point[self._places] = start
            for name, value in zip(m.parameters, point, strict=True):
                low, high = m.limits[name]
                m.values[name] = min(max(value, low), high)
            m.migrad()
            if m.valid:
                return float(m.fval)
        at = ", ".join(f"{n} = {x:g}" for n, x in zip(self.parameters, theta, strict=True))
        msg = (
            f"the fit of the nuisance parameters is not valid at {at}; check their limits and "
            f"constraints: {m.fmin}"
        )
        raise FitError(msg)


def _copy(m: Minuit) -> Minuit:
    """Return another Minuit object of the same function, with the same values."""
    new = Minuit(
        m.fcn, np.array(m.values), grad=m.grad if m.ngrad else None, name=list(m.parameters)
    )
    new.errordef, new.strategy, new.tol = m.errordef, m.strategy.strategy, m.tol
    for name in m.parameters:
        new.limits[name], new.fixed[name] = m.limits[name], m.fixed[name]
        new.errors[name] = m.errors[name]
    return new


class _Region:
    """Random points of a confidence region, and −2 ln L at these points."""

    def __init__(self, profile: _Profile, threshold: float, rng: np.random.Generator) -> None:
        self._profile, self._threshold, self._rng = profile, threshold, rng
        self._root = np.linalg.cholesky(profile.covariance)
        self._radius = _FURTHER * np.sqrt(threshold)

    def points(self, n: int, level: float) -> tuple[FloatArray, FloatArray]:
        """Return points with −2 ln L up to a level, (n, n_parameters), and −2 ln L, (n,)."""
        points: list[FloatArray] = []
        rises: list[float] = []
        for _ in range(_WIDENED):
            furthest = 0.0
            tried = 0
            while len(points) < n:
                tried += 1
                if tried > 200 * n:
                    msg = (
                        f"only {len(points)} of {tried} points around the best fit are in the "
                        "region, so the covariance matrix does not describe it"
                    )
                    raise FitError(msg)
                radius, point = self._draw()
                if np.any((point < self._profile.low) | (point > self._profile.high)):
                    continue
                rise = self._profile.rise(point)
                if rise <= level:
                    points.append(point)
                    rises.append(rise)
                    furthest = max(furthest, radius)
            if furthest < _NEARLY * self._radius:
                break
            self._radius *= _FURTHER
            # Half of the points are kept; the others show how far the region extends.
            points, rises = points[: n // 2], rises[: n // 2]
        else:
            msg = (
                "the confidence region of the parameters is not closed: it extends beyond "
                f"{self._radius / np.sqrt(self._threshold):.2g} times the ellipse of the "
                "covariance matrix; publish fewer parameters, or a lower level (cl=)"
            )
            raise FitError(msg)
        return np.array(points), np.array(rises)

    def _draw(self) -> tuple[float, FloatArray]:
        direction = self._rng.normal(size=len(self._root))
        # Outer points count most, but less than their volume in many parameters would imply.
        radius = self._radius * np.sqrt(self._rng.random())
        step = self._root @ (radius * direction / np.linalg.norm(direction))
        return float(radius), self._profile.best + step
