"""Convert a cost to published form: terms of the sum, arrays and parameters.

:func:`published_terms` and :func:`published_correction` can be extended: other sub-packages with
their own costs or corrections register a function that converts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from milinfer.exceptions import ConfigurationError
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.polynomials import PiecewiseCubic, Series
from milinfer.utils.smooth_polynomials import SmoothPolynomial

__all__ = [
    "ArrayStore",
    "ParameterFacts",
    "PublishedTerm",
    "Role",
    "dense_series",
    "published_correction",
    "published_cubic",
    "published_polynomial",
    "published_smooth",
    "published_terms",
]

Role = Literal["interest", "normalisation", "nuisance"]


class ParameterFacts(NamedTuple):
    """Properties of one parameter of a term.

    Parameters
    ----------
    role
        Parameter of interest, normalisation or nuisance parameter.
    start
        Starting value of fits.
    low, high
        Limits, which may be infinite.
    fixed
        Whether the likelihood fixes the parameter at its starting value.
    """

    role: Role
    start: float
    low: float = -np.inf
    high: float = np.inf
    fixed: bool = False


class PublishedTerm(NamedTuple):
    """Term of −2 ln L in published form.

    Parameters
    ----------
    content
        JSON object of the term.
    parameters
        Properties of the parameters by name, in the order of the term.
    bound
        Upper bound of the difference between the term and the cost, without rounding errors.
    """

    content: dict[str, Any]
    parameters: Mapping[str, ParameterFacts]
    bound: float = 0.0


@dataclass(frozen=True)
class ArrayStore:
    """Arrays of a published likelihood, by name.

    Parameters
    ----------
    prefix
        Prefix of the names of arrays.
    error
        None if rows of single events may be stored.  If not, the largest error of Λ that is allowed
        when Λ is stored without them.
    arrays
        Arrays that have been added.

    Examples
    --------
    >>> store = ArrayStore()
    >>> store.within("0").within("shape").add("weights", [1.0, 2.0])
    '0.shape.weights'
    >>> store.arrays["0.shape.weights"].tolist()
    [1.0, 2.0]
    """

    prefix: str = ""
    error: float | None = None
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def within(self, part: str) -> ArrayStore:
        """Return the same store with a longer prefix of the names, for the arrays of a part."""
        return ArrayStore(f"{self.prefix}{part}.", self.error, self.arrays)

    def add(self, name: str, values: ArrayLike) -> str:
        """Store an array of float64, float32 or int64, and return its name."""
        array = np.ascontiguousarray(values)
        if array.dtype.kind in "iu":
            array = array.astype(np.int64)
        elif array.dtype != np.float32:
            array = array.astype(np.float64)
        self.arrays[self.prefix + name] = array
        return self.prefix + name


@singledispatch
def published_terms(cost: Any, _arrays: ArrayStore) -> list[PublishedTerm]:
    """Convert a cost to terms of −2 ln L.

    Parameters
    ----------
    cost
        A term of a sum of costs.
    _arrays
        Store to which the arrays of this term are added.

    Raises
    ------
    ConfigurationError
        If costs of this class have no published form.
    """
    msg = (
        f"a {type(cost).__name__} cannot be published. Publishable are costs of models (with "
        "backgrounds and nuisance parameters), of histograms and of pyhf, NormalConstraint of "
        "iminuit, and sums of these; omit this term, and publish it in the format of its own "
        "package"
    )
    raise ConfigurationError(msg)


@singledispatch
def published_correction(correction: Any, _arrays: ArrayStore) -> dict[str, Any]:
    """Convert a calibration to a JSON object that describes its effect on Λ.

    Raises
    ------
    ConfigurationError
        If corrections of this class have no published form.
    """
    msg = (
        f"a cost that is corrected by a {type(correction).__name__} cannot be published; use a "
        "correction by milinfer.Calibration or milinfer.add_simulation_error"
    )
    raise ConfigurationError(msg)


def published_polynomial(
    exponents: IntArray, coefficients: FloatArray, arrays: ArrayStore
) -> dict[str, Any]:
    """Convert a polynomial in the parameters to a JSON object.

    Parameters
    ----------
    exponents, coefficients
        Powers of the monomials, shape (n_monomials, n_parameters), and their coefficients, shape
        (n_monomials,).
    arrays
        Store to which these arrays are added.
    """
    return {
        "exponents": arrays.add("exponents", exponents),
        "coefficients": arrays.add("coefficients", coefficients),
    }


def published_smooth(polynomial: SmoothPolynomial, arrays: ArrayStore) -> dict[str, Any]:
    """Convert a polynomial in scaled parameters to a JSON object.

    The object contains the covariance of the coefficients.
    """
    return {
        "exponents": arrays.add("exponents", polynomial.basis.exponents),
        "coefficients": arrays.add("coefficients", polynomial.coefficients),
        "covariance": arrays.add("covariance", polynomial.covariance),
        "low": polynomial.low.tolist(),
        "high": polynomial.high.tolist(),
        "beyond": polynomial.beyond,
    }


def published_cubic(cubic: PiecewiseCubic, arrays: ArrayStore) -> dict[str, Any]:
    """Convert a cubic spline in one parameter to a JSON object."""
    return {
        "kind": "cubic_spline",
        "knots": arrays.add("knots", cubic.knots),
        "coefficients": arrays.add("coefficients", cubic.coefficients),
    }


def dense_series(series: Series, arrays: ArrayStore) -> dict[str, Any]:
    """Convert a Chebyshev series on a box to a JSON object."""
    return {
        "kind": "chebyshev",
        "low": series.low.tolist(),
        "high": series.high.tolist(),
        "coefficients": arrays.add("coefficients", series.coefficients),
    }
