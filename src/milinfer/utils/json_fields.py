"""Check fields of parsed JSON that may be damaged or come from an unknown source.

Where a number is expected, JSON parsed by Python may contain NaN, infinity, ``true`` or a whole
number with thousands of digits.  These are not accepted.  If a field is wrong, every function
raises a ``ValueError`` that names the field.  No function makes an object that is larger than the
content of the file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from milinfer.typing import FloatArray

__all__ = [
    "array_field",
    "flag_field",
    "list_field",
    "number_field",
    "require_number_of_terms",
    "seed_field",
    "text_field",
    "whole_field",
]

# Whole numbers above this are not exact as floats, and no count is so large.
_LARGEST = 2**53
_SHOWN = 40


def _wrong(name: str, value: object, expected: str) -> ValueError:
    # first the check: Python cannot convert a whole number with too many digits to text
    huge = isinstance(value, int) and abs(value) > _LARGEST
    text = "a number of too many digits" if huge else repr(value)
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return ValueError(f"{name} is {short}, and not {expected}")


def number_field(name: str, value: Any, *, least: float = -math.inf) -> float:
    """Check that a field is a finite number of at least ``least``, and return it.

    Raises
    ------
    ValueError
        If the field is anything else.

    Examples
    --------
    >>> number_field("chi2", 2)
    2.0
    >>> number_field("chi2", "many")
    Traceback (most recent call last):
    ValueError: chi2 is 'many', and not a finite number
    """
    usual = isinstance(value, float) or (type(value) is int and abs(value) <= _LARGEST)
    if not usual or not math.isfinite(value) or value < least:
        above = "" if least == -math.inf else f" of {least:g} or more"
        raise _wrong(name, value, f"a finite number{above}")
    return float(value)


def whole_field(name: str, value: Any, *, least: int = 0) -> int:
    """Check that a field is a whole number (3.0 is allowed) of at least ``least``, and return it.

    Raises
    ------
    ValueError
        If the field is anything else.

    Examples
    --------
    >>> whole_field("degree", 2)
    2
    >>> whole_field("degree", 10**400)
    Traceback (most recent call last):
    ValueError: degree is a number of too many digits, and not a whole number of 0 or more
    """
    expected = f"a whole number of {least} or more"
    try:
        number = number_field(name, value, least=least)
    except ValueError:
        raise _wrong(name, value, expected) from None
    if not number.is_integer():
        raise _wrong(name, value, expected)
    return int(value)


def seed_field(name: str, value: Any) -> int:
    """Check that a field is a whole number of 0 or more, with any number of digits.

    Raises
    ------
    ValueError
        If the field is anything else.

    Examples
    --------
    >>> seed_field("seed", 2**60) == 2**60
    True
    """
    if type(value) is not int or value < 0:
        raise _wrong(name, value, "a whole number of 0 or more")
    return value


def flag_field(name: str, value: Any) -> bool:
    """Check that a field is ``true`` or ``false``, and return it.

    Raises
    ------
    ValueError
        If the field is anything else.

    Examples
    --------
    >>> flag_field("extended", True)
    True
    """
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def text_field(name: str, value: Any) -> str:
    """Check that a field is a text, and return it.

    Raises
    ------
    ValueError
        If the field is anything else.

    Examples
    --------
    >>> text_field("name", "polynomial")
    'polynomial'
    """
    if not isinstance(value, str):
        raise _wrong(name, value, "a text")
    return value


def list_field(name: str, value: Any) -> list[Any]:
    """Check that a field is a list, and return it; entries are not checked.

    Raises
    ------
    ValueError
        If the field is anything else.

    Examples
    --------
    >>> list_field("parameters", "mu")
    Traceback (most recent call last):
    ValueError: parameters is 'mu', and not a list
    """
    if not isinstance(value, list):
        raise _wrong(name, value, "a list")
    return value


def array_field(
    name: str,
    value: Any,
    shape: Sequence[int] | None = None,
    *,
    least: float = -math.inf,
    infinite: bool = False,
) -> FloatArray:
    """Check that a field is an array of finite numbers of at least ``least``, and return it.

    Parameters
    ----------
    name
        Name of the field, for the message.
    value
        Nested lists of numbers.
    shape
        Shape that the array must have; None for any shape.
    least
        Smallest allowed value.
    infinite
        Whether infinite values are allowed.

    Raises
    ------
    ValueError
        If the field is anything else.

    Examples
    --------
    >>> array_field("low", [1, 2.5], (2,))
    array([1. , 2.5])
    >>> array_field("low", [1, float("nan")])
    Traceback (most recent call last):
    ValueError: low is [1, nan], and not numbers that are all finite
    """
    try:
        array = np.array(list_field(name, value))
    except ValueError as error:
        if not isinstance(value, list):
            raise
        raise _wrong(name, value, "lists of numbers of one length") from error
    if array.size and array.dtype.kind not in "iuf":  # numpy would read the text "1" as a number
        raise _wrong(name, value, "numbers")
    array = array.astype(np.float64)
    if shape is not None and array.shape != tuple(shape):
        msg = f"{name} have shape {array.shape}, and not {tuple(shape)}"
        raise ValueError(msg)
    if np.isnan(array).any() or not (infinite or np.isfinite(array).all()):
        raise _wrong(name, value, "numbers that are all finite")
    if array.size and array.min() < least:
        raise _wrong(name, value, f"numbers of {least:g} or more")
    return array


def require_number_of_terms(
    name: str, n_parameters: int, degree: int, n_terms: int, *, at_most: bool = False
) -> None:
    """Raise an error unless a file has as many numbers as a polynomial has terms.

    The number of terms is (p + d)!/(p! d!) for p parameters and degree d.  Because a damaged file
    may contain a very large degree, the computation stops as soon as the number of terms is too
    large.

    Parameters
    ----------
    name
        Name of the field, for the message.
    n_parameters, degree
        Number of parameters and degree of the polynomial.
    n_terms
        Count of numbers in the file.
    at_most
        Whether the file may have more numbers than the polynomial has terms, as for points of a
        fit.

    Raises
    ------
    ValueError
        If the two counts do not agree.

    Examples
    --------
    >>> require_number_of_terms("coefficients", 2, 2, 6)
    >>> require_number_of_terms("coefficients", 1, 10**8, 3)
    Traceback (most recent call last):
    ValueError: coefficients: there are 3, and degree 100000000 in 1 parameter needs more
    """
    small, large = sorted((n_parameters, degree))
    count, k = 1, 0
    while k < small and count <= n_terms:
        k += 1
        count = count * (large + k) // k
    if count > n_terms or (count < n_terms and not at_most):
        parameters = f"{n_parameters} parameter{'' if n_parameters == 1 else 's'}"
        needed = "more" if count > n_terms else f"only {count}"
        msg = f"{name}: there are {n_terms}, and degree {degree} in {parameters} needs {needed}"
        raise ValueError(msg)
