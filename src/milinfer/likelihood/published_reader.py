"""Read a published likelihood: −2 ln L of a measurement, for iminuit, with numpy alone.

This file belongs to ``likelihood.json`` and ``events.npz`` in the same folder, and needs only
numpy::

    from iminuit import Minuit
    from read_likelihood import read

    likelihood = read("folder")
    m = Minuit(likelihood, **likelihood.start)
    m.migrad()
    m.minos()

``likelihood(*values)`` returns −2 ln L at a point, with values in the order of
``likelihood.parameters``, and ``likelihood.grad(*values)`` returns its gradient.  Minuit uses the
limits of the parameters automatically.  −2 ln L is the sum of the terms in ``likelihood.json``.
Each class below is a term, or a function in a term, and its docstring contains the formula.  Terms
of the kind ``pyhf``, HistFactory workspaces, also need pyhf.

The reader raises an error for everything that does not agree with this version of the format:
another version, a wrong checksum, a missing array, or a key that it does not know.

milinfer wrote this file.  Like milinfer, it has the BSD-3-Clause licence.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

__all__ = [
    "FORMAT",
    "VERSION",
    "CalibratedFor",
    "Likelihood",
    "LikelihoodError",
    "canonical_hash",
    "read",
]

FORMAT = "milinfer-likelihood"
VERSION = 1

_JSON = "likelihood.json"
_Array = np.ndarray[Any, np.dtype[np.float64]]
# Distance of parameters from their limits that counts as rounding, in units of the range.
_SLACK = 1e-9
# Numbers whose squares are larger than any float.
_LARGEST = 1e150
# Fraction of q + s² below which both are rounding errors.
_TINY = 1e-8


class LikelihoodError(ValueError):
    """The folder is not a likelihood for this reader, or a parameter is outside its range."""


class _UnreadableError(LikelihoodError):
    """A file or a package is missing or damaged; the message says what to do."""


def read(folder: str | os.PathLike[str]) -> Likelihood:
    """Read a published likelihood.

    Parameters
    ----------
    folder
        Folder with ``likelihood.json`` and the arrays that it names.

    Raises
    ------
    LikelihoodError
        If a file is missing or damaged, or the likelihood has another version of the format.
    """
    path = Path(folder)
    try:
        text = (path / _JSON).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path / _JSON} cannot be read: {error}"
        raise LikelihoodError(msg) from error
    try:
        content = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        msg = f"{path / _JSON} is not JSON: {error}"
        raise LikelihoodError(msg) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        msg = f"{path / _JSON} is not a published likelihood: its format is not {FORMAT!r}"
        raise LikelihoodError(msg)
    version = content.get("version")
    if version != VERSION or isinstance(version, bool):
        msg = (
            f"{path / _JSON} has version {version!r} of the format, and this reader reads version "
            f"{VERSION}; use the read_likelihood.py that was published with it"
        )
        raise LikelihoodError(msg)
    if content.get("checksum") != canonical_hash(content):
        msg = f"{path / _JSON} is damaged or was changed: its checksum differs; fetch it again"
        raise LikelihoodError(msg)
    try:
        return Likelihood(content, _Arrays(path, content))
    except _UnreadableError as error:
        msg = f"{path / _JSON}: {error}"
        raise LikelihoodError(msg) from error
    except LikelihoodError as error:
        msg = (
            f"{path / _JSON}: {error}; try the read_likelihood.py in this folder, and if it gives "
            "an error, too, ask the authors of the folder to correct it"
        )
        raise LikelihoodError(msg) from error


def _no_number(text: str) -> float:
    msg = f"{text} is not a number of JSON"
    raise ValueError(msg)


def canonical_hash(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the JSON content in canonical form, without its checksum."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


# Checks of the JSON.  A missing value is null.  A key is optional only if it was added to this
# version of the format later.


def _object(
    value: Any, where: str, keys: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the object if it has exactly these keys, and possibly the optional ones."""
    if not isinstance(value, dict):
        msg = f"{where} is not an object"
        raise LikelihoodError(msg)
    for key in keys:
        if key not in value:
            msg = f"{where} has no key {key!r}"
            raise LikelihoodError(msg)
    for key in value:
        if key not in keys and key not in optional:
            msg = f"{where} has the key {key!r}, which this reader does not know"
            raise LikelihoodError(msg)
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        msg = f"{where} is not a list"
        raise LikelihoodError(msg)
    return value


def _number(value: Any, where: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared before the conversion, because whole numbers in JSON may be too large for it.
    if not is_number or not -_LARGEST <= value <= _LARGEST:
        msg = f"{where} is not a finite number"
        raise LikelihoodError(msg)
    return float(value)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        msg = f"{where} is not a text"
        raise LikelihoodError(msg)
    return value


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        msg = f"{where} is not true or false"
        raise LikelihoodError(msg)
    return value


def _names(value: Any, where: str) -> tuple[str, ...]:
    names = tuple(_text(name, where) for name in _list(value, where))
    if len(set(names)) < len(names):
        msg = f"{where} has a name twice"
        raise LikelihoodError(msg)
    return names


def _vector(value: Any, where: str, length: int) -> _Array:
    numbers = [_number(x, where) for x in _list(value, where)]
    if len(numbers) != length:
        msg = f"{where} has {len(numbers)} numbers, and not {length}"
        raise LikelihoodError(msg)
    return np.array(numbers, dtype=np.float64)


def _positives(value: Any, where: str, length: int) -> _Array:
    numbers = _vector(value, where, length)
    if not np.all(numbers > 0):
        msg = f"{where} has numbers that are not positive"
        raise LikelihoodError(msg)
    return numbers


def _box(content: Mapping[str, Any], where: str, n: int) -> tuple[_Array, _Array]:
    """Return the corners of a box."""
    low, high = (_vector(content[key], f"{where}, {key}", n) for key in ("low", "high"))
    if not np.all(high > low):
        msg = f"{where}: high is not above low"
        raise LikelihoodError(msg)
    return low, high


def _choice(value: Any, where: str, choices: Sequence[str]) -> str:
    if value not in choices:
        msg = f"{where} is {value!r}, and not one of {', '.join(choices)}"
        raise LikelihoodError(msg)
    return str(value)


def _kind(value: Any, where: str, kinds: Sequence[str]) -> str:
    if not isinstance(value, dict) or "kind" not in value:
        msg = f"{where} is not an object, or has no key 'kind'"
        raise LikelihoodError(msg)
    return _choice(value["kind"], f"{where}, kind", kinds)


class _Arrays:
    """Arrays in the files that the JSON names, with the shapes that the JSON says."""

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        self._arrays: dict[str, Any] = {}
        files = content.get("files")
        for name, given in (files if isinstance(files, dict) else {}).items():
            if Path(name).name != name:
                msg = f"the file {name!r} is not one of this folder"
                raise LikelihoodError(msg)
            facts = _object(given, f"files, {name}", ("sha256", "bytes", "arrays"))
            try:
                data = (folder / name).read_bytes()
            except OSError as error:
                msg = f"the file {name} cannot be read: {error}; copy the whole folder"
                raise _UnreadableError(msg) from error
            if hashlib.sha256(data).hexdigest() != facts["sha256"] or len(data) != facts["bytes"]:
                msg = f"the file {name} is damaged: its checksum differs; fetch it again"
                raise _UnreadableError(msg)
            listed = facts["arrays"]
            if not isinstance(listed, dict):
                msg = f"files, {name}, arrays is not an object"
                raise LikelihoodError(msg)
            try:
                with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                    arrays = {key: stored[key] for key in stored.files}
            except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
                msg = f"the file {name} is not one of plain arrays (npz): {error}"
                raise LikelihoodError(msg) from error
            if set(arrays) != set(listed):
                differ = sorted(set(arrays) ^ set(listed))
                msg = f"the file {name} and the JSON do not list the same arrays: {differ[0]}"
                raise LikelihoodError(msg)
            for key, stated in listed.items():
                form = _object(stated, f"array {key}", ("shape", "dtype"))
                array = arrays[key]
                if [*array.shape] != form["shape"] or array.dtype.name != form["dtype"]:
                    msg = f"array {key} has another shape or type than the JSON says"
                    raise LikelihoodError(msg)
                if array.dtype.name not in ("float64", "float32", "int64"):
                    msg = f"array {key} has numbers of the type {array.dtype.name}"
                    raise LikelihoodError(msg)
                if key in self._arrays:
                    msg = f"array {key} is in two files"
                    raise LikelihoodError(msg)
                self._arrays[key] = array
        self._left = set(self._arrays)

    def take(
        self, name: Any, where: str, shape: Sequence[int | None], *, infinite: bool = False
    ) -> Any:
        """Return an array of a given shape, in which None means any length."""
        if not isinstance(name, str) or name not in self._arrays:
            msg = f"{where}: there is no array {name!r}"
            raise LikelihoodError(msg)
        array = self._arrays[name]
        fits = len(array.shape) == len(shape) and all(
            wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
        )
        if not fits:
            msg = f"{where}: array {name} has the shape {array.shape}"
            raise LikelihoodError(msg)
        bad = np.isnan(array) | (array == np.inf) if infinite else ~np.isfinite(array)
        if bad.any():
            msg = f"{where}: array {name} has numbers that are not finite"
            raise LikelihoodError(msg)
        self._left.discard(name)
        return array

    def exponents(self, name: Any, where: str, n: int) -> Any:
        """Return the powers of n parameters in each monomial."""
        array = self.take(name, where, (None, n))
        if array.dtype.kind != "i" or np.any(array < 0):
            msg = f"{where}: array {name} has a power that is negative or not a whole number"
            raise LikelihoodError(msg)
        return array

    def require_all_taken(self) -> None:
        if self._left:
            msg = f"no term uses the array {sorted(self._left)[0]}"
            raise LikelihoodError(msg)


# Functions of the parameters.


def _monomials(exponents: Any, u: _Array, orders: Sequence[int]) -> _Array:
    """Return the monomials ∏ u_k^e_k of each row of exponents, or a derivative, (n_monomials,)."""
    total = np.ones(len(exponents))
    for x, column, order in zip(u.tolist(), exponents.T, orders, strict=True):
        powers = column
        for _ in range(order):
            total = total * powers
            powers = powers - 1
        total = total * np.power(x, np.maximum(powers, 0))
    return total


def _unit(k: int, n: int) -> list[int]:
    return [int(j == k) for j in range(n)]


class _Function(Protocol):
    """A function of some parameters, with its gradient."""

    def value(self, theta: _Array) -> float: ...

    def gradient(self, theta: _Array) -> _Array: ...


class _Polynomial:
    """Polynomial Σ_m a_m ∏_k θ_k^e_mk with coefficients a and exponents e."""

    def __init__(self, content: Any, where: str, arrays: _Arrays, n: int) -> None:
        content = _object(content, where, ("exponents", "coefficients"))
        self.exponents = arrays.exponents(content["exponents"], where, n)
        shape = (len(self.exponents),)
        self.coefficients = arrays.take(content["coefficients"], where, shape)

    def value(self, theta: _Array) -> float:
        return float(_monomials(self.exponents, theta, [0] * len(theta)) @ self.coefficients)

    def gradient(self, theta: _Array) -> _Array:
        n = len(theta)
        slopes = [_monomials(self.exponents, theta, _unit(k, n)) for k in range(n)]
        return np.asarray(np.array(slopes) @ self.coefficients)


class _SmoothPolynomial:
    """Polynomial in u = θ scaled to −1 … 1 on a box, with the covariance of its coefficients.

    Outside the box it is constant (``flat``, with u at the edge) or linear (``tangent`` at the
    edge).
    """

    def __init__(self, content: Any, where: str, arrays: _Arrays, n: int) -> None:
        keys = ("exponents", "coefficients", "covariance", "low", "high", "beyond")
        content = _object(content, where, keys)
        self.exponents = arrays.exponents(content["exponents"], where, n)
        m = len(self.exponents)
        self.coefficients = arrays.take(content["coefficients"], where, (m,))
        self.covariance = arrays.take(content["covariance"], where, (m, m))
        low, high = (_vector(content[key], f"{where}, {key}", n) for key in ("low", "high"))
        self.centre = (high + low) / 2
        self.half = np.where(high > low, (high - low) / 2, 1.0)
        self.beyond = _choice(content["beyond"], f"{where}, beyond", ("flat", "tangent"))

    def _terms(self, theta: _Array) -> _Array:
        n, scaled = len(theta), (theta - self.centre) / self.half
        inside = np.clip(scaled, -1.0, 1.0)
        excess = scaled - inside
        terms = _monomials(self.exponents, inside, [0] * n)
        if self.beyond == "tangent":
            for k in np.flatnonzero(excess).tolist():
                terms = terms + excess[k] * _monomials(self.exponents, inside, _unit(k, n))
        return terms

    def _slopes(self, theta: _Array) -> _Array:
        """Return the derivatives of the terms, (n_parameters, n_monomials)."""
        n, scaled = len(theta), (theta - self.centre) / self.half
        inside = np.clip(scaled, -1.0, 1.0)
        excess = scaled - inside
        out = np.zeros((n, len(self.exponents)))
        for k in range(n):
            if self.beyond == "flat" and excess[k]:
                continue
            out[k] = _monomials(self.exponents, inside, _unit(k, n)) / self.half[k]
            if self.beyond == "tangent" and not excess[k]:
                # The tangent plane itself changes along the parameters that are still inside.
                for j in np.flatnonzero(excess).tolist():
                    both = np.add(_unit(k, n), _unit(j, n)).tolist()
                    bend = _monomials(self.exponents, inside, both)
                    out[k] += excess[j] * bend / self.half[k]
        return out

    def value(self, theta: _Array) -> float:
        return float(self._terms(theta) @ self.coefficients)

    def gradient(self, theta: _Array) -> _Array:
        return np.asarray(self._slopes(theta) @ self.coefficients)

    def variance(self, theta: _Array) -> float:
        terms = self._terms(theta)
        return max(float(terms @ self.covariance @ terms), 0.0)

    def variance_gradient(self, theta: _Array) -> _Array:
        return np.asarray(2 * self._slopes(theta) @ self.covariance @ self._terms(theta))


def _chebyshev(x: float, n: int) -> tuple[_Array, _Array]:
    """Return the Chebyshev polynomials T_0 … T_{n−1} at a number, and their derivatives."""
    values, slopes = [1.0, x], [0.0, 1.0]
    for _ in range(n - 2):
        slopes.append(2 * (values[-1] + x * slopes[-1]) - slopes[-2])
        values.append(2 * x * values[-1] - values[-2])
    return np.array(values[:n]), np.array(slopes[:n])


def _contracted(
    coefficients: Any, low: _Array, high: _Array, theta: _Array, orders: Sequence[int]
) -> Any:
    """Return a Chebyshev series on a box, or a derivative of it."""
    value = coefficients
    for x, start, stop, order in zip(theta, low, high, orders, strict=True):
        scaled = float((2 * x - start - stop) / (stop - start))
        basis = _chebyshev(scaled, len(value))[order] * (2 / (stop - start)) ** order
        value = np.tensordot(basis, value, axes=1)
    return value


class _Chebyshev:
    """Chebyshev series Σ c_jk… T_j(u_1) T_k(u_2) …, with u = θ scaled to −1 … 1 on a box.

    If the coefficients c have an additional last index, it counts events, and the series is a
    function for each event.
    """

    def __init__(
        self, content: Any, where: str, arrays: _Arrays, n: int, n_events: int | None = None
    ) -> None:
        content = _object(content, where, ("kind", "low", "high", "coefficients"))
        self.low, self.high = _box(content, where, n)
        shape: list[int | None] = [None] * n
        if n_events is not None:
            shape.append(n_events)
        self.coefficients = arrays.take(content["coefficients"], where, shape)

    def value(self, theta: _Array) -> Any:
        value = _contracted(self.coefficients, self.low, self.high, theta, [0] * len(theta))
        return value if np.ndim(value) else float(value)

    def gradient(self, theta: _Array) -> _Array:
        n, series = len(theta), (self.coefficients, self.low, self.high)
        return np.array([_contracted(*series, theta, _unit(k, n)) for k in range(n)])


class _CubicSpline:
    """Cubic spline: a cubic in θ − knot between neighbouring knots, highest power first."""

    def __init__(self, content: Any, where: str, arrays: _Arrays) -> None:
        content = _object(content, where, ("kind", "knots", "coefficients"))
        self.knots = arrays.take(content["knots"], where, (None,))
        shape = (4, len(self.knots) - 1)
        self.coefficients = arrays.take(content["coefficients"], where, shape)

    def _piece(self, theta: _Array) -> tuple[list[float], float]:
        cell = int(np.searchsorted(self.knots, theta[0], side="right")) - 1
        cell = min(max(cell, 0), len(self.knots) - 2)
        return self.coefficients[:, cell].tolist(), float(theta[0] - self.knots[cell])

    def value(self, theta: _Array) -> float:
        (c3, c2, c1, c0), d = self._piece(theta)
        return float(((c3 * d + c2) * d + c1) * d + c0)

    def gradient(self, theta: _Array) -> _Array:
        (c3, c2, c1, _), d = self._piece(theta)
        return np.array([(3 * c3 * d + 2 * c2) * d + c1])


class _Polynomials:
    """Positive polynomials p_i in u = (θ − centre)/half, one for each row of the coefficients."""

    keys = ("exponents", "centre", "half", "reference", "coefficients")

    def __init__(self, content: Mapping[str, Any], where: str, arrays: _Arrays, n: int) -> None:
        self.exponents = arrays.exponents(content["exponents"], where, n)
        self.centre = _vector(content["centre"], f"{where}, centre", n)
        self.half = _positives(content["half"], f"{where}, half", n)
        self.reference = _vector(content["reference"], f"{where}, reference", n)
        shape = (None, len(self.exponents))
        self.coefficients = arrays.take(content["coefficients"], where, shape)

    def at(self, theta: _Array) -> _Array:
        """Return the values of the polynomials, shape (n_rows,)."""
        u = (theta - self.centre) / self.half
        return np.asarray(self.coefficients @ _monomials(self.exponents, u, [0] * len(u)))

    def slopes(self, theta: _Array) -> _Array:
        """Return the derivatives with respect to θ, shape (n_rows, n_parameters)."""
        n, u = len(theta), (theta - self.centre) / self.half
        slopes = [_monomials(self.exponents, u, _unit(k, n)) for k in range(n)]
        return np.asarray(self.coefficients @ (np.array(slopes).T / self.half))


class _LogPolynomials:
    """Σ_i w_i [ln p_i(θ) − ln p_i(reference)]: one row i for each event, and one for the total."""

    def __init__(self, content: Any, where: str, arrays: _Arrays, n: int) -> None:
        content = _object(content, where, ("kind", *_Polynomials.keys, "weights"))
        self.polynomials = _Polynomials(content, where, arrays, n)
        shape = (len(self.polynomials.coefficients),)
        self.weights = arrays.take(content["weights"], where, shape)
        self.offset = self._sum(self.polynomials.reference)

    def _sum(self, theta: _Array) -> float:
        return float(self.weights @ np.log(self.polynomials.at(theta)))

    def value(self, theta: _Array) -> float:
        return self._sum(theta) - self.offset

    def gradient(self, theta: _Array) -> _Array:
        shares = self.weights / self.polynomials.at(theta)
        return np.asarray(shares @ self.polynomials.slopes(theta))


class _Pieces:
    """Λ with an error below ``bound``: a Chebyshev series on each box from ``low`` to ``high``.

    The first index of ``low``, ``high`` and the coefficients counts the boxes.
    """

    def __init__(self, content: Any, where: str, arrays: _Arrays, n: int) -> None:
        content = _object(content, where, ("kind", "low", "high", "coefficients", "bound"))
        self.low = arrays.take(content["low"], where, (None, n))
        self.high = arrays.take(content["high"], where, (len(self.low), n))
        if not len(self.low) or not np.all(self.high > self.low):
            msg = f"{where}: there is no box, or high is not above low"
            raise LikelihoodError(msg)
        shape = (len(self.low), *(None,) * n)
        self.coefficients = arrays.take(content["coefficients"], where, shape)
        self.bound = _number(content["bound"], f"{where}, bound")

    def _series(self, theta: _Array) -> tuple[Any, _Array, _Array]:
        """Return coefficients and corners of the box at θ, or of the nearest box."""
        off = np.maximum(self.low - theta, theta - self.high).max(axis=1)
        k = int(np.argmin(np.maximum(off, 0.0)))
        return self.coefficients[k], self.low[k], self.high[k]

    def value(self, theta: _Array) -> float:
        return float(_contracted(*self._series(theta), theta, [0] * len(theta)))

    def gradient(self, theta: _Array) -> _Array:
        n, series = len(theta), self._series(theta)
        return np.array([_contracted(*series, theta, _unit(k, n)) for k in range(n)])


def _function(content: Any, where: str, arrays: _Arrays, n: int) -> _Function:
    """Return a function of n parameters, of one of the kinds above."""
    kinds = ("chebyshev", "log_polynomials", "pieces", *(("cubic_spline",) if n == 1 else ()))
    kind = _kind(content, where, kinds)
    if kind == "chebyshev":
        return _Chebyshev(content, where, arrays, n)
    if kind == "log_polynomials":
        return _LogPolynomials(content, where, arrays, n)
    if kind == "pieces":
        return _Pieces(content, where, arrays, n)
    return _CubicSpline(content, where, arrays)


# Functions of the parameters for each event: Λ_i = ln p(x_i|θ)/p(x_i|reference).


class _EventPolynomials:
    """Λ_i: mean over ensemble members of ln p_i(θ)/p_0(θ), minus its value at the reference.

    p_i and p_0 are polynomials.  The rows of a member are those of the events i, and then the row
    of p_0, the total.
    """

    def __init__(self, content: Any, where: str, arrays: _Arrays, n: int, n_events: int) -> None:
        content = _object(content, where, ("kind", *_Polynomials.keys))
        self.polynomials = _Polynomials(content, where, arrays, n)
        if len(self.polynomials.coefficients) % (n_events + 1):
            msg = f"{where}: the rows are not those of {n_events} events and a total"
            raise LikelihoodError(msg)
        self.shape = (-1, n_events + 1)
        self.offset = self._mean(np.log(self.polynomials.at(self.polynomials.reference)))

    def _mean(self, rows: _Array) -> _Array:
        members = rows.reshape(self.shape)
        return np.asarray(np.mean(members[:, :-1] - members[:, -1:], axis=0))

    def value(self, theta: _Array) -> _Array:
        return self._mean(np.log(self.polynomials.at(theta))) - self.offset

    def gradient(self, theta: _Array) -> _Array:
        relative = self.polynomials.slopes(theta) / self.polynomials.at(theta)[:, None]
        return np.stack([self._mean(column) for column in relative.T])


class _EventSplines:
    """Λ_i of each event as a sum of B-splines, four of which are not zero in a cell between knots.

    ``cells`` (n_cells, 4, 4) has the coefficients of each cubic in θ − knot in a row, highest power
    first.  In cell j they are multiplied by the coefficients j to j + 3 of the event.
    """

    def __init__(self, content: Any, where: str, arrays: _Arrays, n_events: int) -> None:
        content = _object(content, where, ("kind", "knots", "cells", "coefficients"))
        self.knots = arrays.take(content["knots"], where, (None,))
        self.cells = arrays.take(content["cells"], where, (len(self.knots), 4, 4))
        shape = (len(self.knots) + 3, n_events)
        self.coefficients = arrays.take(content["coefficients"], where, shape)

    def _sum(self, theta: _Array, order: int) -> _Array:
        cell = max(int(np.searchsorted(self.knots, theta[0], side="right")) - 1, 0)
        d = float(theta[0] - self.knots[cell])
        powers = ([d**3, d**2, d, 1.0], [3 * d**2, 2 * d, 1.0, 0.0])[order]
        factors = self.cells[cell] @ np.array(powers)
        return np.asarray(factors @ self.coefficients[cell : cell + 4])

    def value(self, theta: _Array) -> _Array:
        return self._sum(theta, 0)

    def gradient(self, theta: _Array) -> _Array:
        return self._sum(theta, 1)[None]


def _event_function(content: Any, where: str, arrays: _Arrays, n: int, n_events: int) -> Any:
    kinds = ("polynomials", "chebyshev", *(("splines",) if n == 1 else ()))
    kind = _kind(content, where, kinds)
    if kind == "polynomials":
        return _EventPolynomials(content, where, arrays, n, n_events)
    if kind == "chebyshev":
        return _Chebyshev(content, where, arrays, n, n_events)
    return _EventSplines(content, where, arrays, n_events)


# Effects of nuisance parameters.

_ORDERS = np.arange(1, 7)
# Value, slope and curvature at ±1 of a polynomial of degree 6 that is one at zero.
_CODE4 = np.linalg.inv(
    np.array(
        [
            sign ** (_ORDERS - order) * factor
            for order, factor in ((0, np.ones(6)), (1, _ORDERS), (2, _ORDERS * (_ORDERS - 1)))
            for sign in (1.0, -1.0)
        ]
    )
)


def _code4(alpha: float, up: _Array, down: _Array) -> tuple[_Array, _Array, _Array, _Array]:
    """Return HistFactory's interpolation code 4 of the logarithms of factors at +1 and −1.

    It is exponential beyond ±1.  Between them it is the logarithm of the polynomial of degree 6
    with the same value, slope and curvature at ±1.  The result includes the derivatives with
    respect to α, up and down.
    """
    zero = np.zeros_like(up)
    if alpha >= 1:
        return alpha * up, up, zero + alpha, zero
    if alpha <= -1:
        return -alpha * down, -down, zero, zero - alpha
    high, low = np.exp(up), np.exp(down)
    sides = np.stack([high - 1, low - 1, high * up, -low * down, high * up**2, low * down**2])
    weights = alpha**_ORDERS @ _CODE4
    total = 1 + np.tensordot(weights, sides, axes=1)
    slopes = (_ORDERS * alpha ** (_ORDERS - 1)) @ _CODE4
    by_up = weights[0] + weights[2] * (up + 1) + weights[4] * (up**2 + 2 * up)
    by_down = weights[1] - weights[3] * (down + 1) + weights[5] * (down**2 + 2 * down)
    by_alpha = np.tensordot(slopes, sides, axes=1) / total
    return np.log(total), by_alpha, by_up * high / total, by_down * low / total


class _Response:
    """Response of a process to nuisance parameters: ln S of each event, and ln κ.

    S = dσ(x|θ, α)/dσ(x|θ, 0), and κ is the mean of S in simulation.  ``polynomial``:
    ln S = Σ_A f_A(α) Δ_A, with the columns Δ_A of the event and the monomials f_A of α in the
    exponents.  ``code4``: ln S is a sum over nuisance parameters of code 4 between ln S at +1 and
    −1, which are the first and the second half of the columns.  If the response depends on
    parameters θ, Δ_A = Δ_A0 + Σ_j u_j Δ_Aj with u = (θ − centre)/half, and the columns are all
    Δ_A0, then all Δ_A1, ….
    """

    def __init__(
        self, content: Any, where: str, arrays: _Arrays, names: tuple[str, ...], n_events: int
    ) -> None:
        keys = ("nuisances", "interpolation", "exponents", "parameters", "centre", "half")
        content = _object(content, where, (*keys, "columns", "yields"))
        self.nuisances = _names(content["nuisances"], f"{where}, nuisances")
        self.parameters = _names(content["parameters"], f"{where}, parameters")
        n, p = len(self.nuisances), len(self.parameters)
        self.own = _positions(self.parameters, names, where)
        self.code4 = _choice(content["interpolation"], where, ("polynomial", "code4")) == "code4"
        self.exponents = arrays.exponents(content["exponents"], where, n)
        self.centre = _vector(content["centre"], f"{where}, centre", p)
        self.half = _positives(content["half"], f"{where}, half", p)
        m = len(self.exponents)
        if self.code4 and m != 2 * n:
            msg = f"{where}: code 4 has two terms for each nuisance parameter"
            raise LikelihoodError(msg)
        columns = arrays.take(content["columns"], where, (m * (1 + p), n_events))
        self.columns = columns.astype(np.float64).reshape(1 + p, m, n_events)
        self.yields = _Yields(content["yields"], f"{where}, yields", arrays, names, n)

    def _deltas(self, theta: _Array) -> _Array:
        mixing = np.concatenate([[1.0], (theta[self.own] - self.centre) / self.half])
        return np.asarray(np.tensordot(mixing, self.columns, axes=1))

    def log(self, theta: _Array, alpha: _Array) -> _Array:
        """Return ln S of each event, (n_events,)."""
        n, deltas = len(alpha), self._deltas(theta)
        if not self.code4:
            return np.asarray(_monomials(self.exponents, alpha, [0] * n) @ deltas)
        each = [_code4(a, deltas[k], deltas[n + k])[0] for k, a in enumerate(alpha.tolist())]
        return np.asarray(np.sum(each, axis=0))

    def slopes(self, theta: _Array, alpha: _Array) -> tuple[_Array, _Array]:
        """Return derivatives of ln S: by α (n, n_events), and by all θ (n_parameters, n_events)."""
        n, deltas = len(alpha), self._deltas(theta)
        by_alpha, by_theta = np.empty((n, deltas.shape[1])), np.zeros((len(theta), deltas.shape[1]))
        if self.code4:
            for k, a in enumerate(alpha.tolist()):
                _, by_alpha[k], by_up, by_down = _code4(a, deltas[k], deltas[n + k])
                for j, place in enumerate(self.own):
                    sides = self.columns[1 + j, k], self.columns[1 + j, n + k]
                    by_theta[place] += (by_up * sides[0] + by_down * sides[1]) / self.half[j]
            return by_alpha, by_theta
        terms = _monomials(self.exponents, alpha, [0] * n)
        for k in range(n):
            by_alpha[k] = _monomials(self.exponents, alpha, _unit(k, n)) @ deltas
        for j, place in enumerate(self.own):
            by_theta[place] = terms @ self.columns[1 + j] / self.half[j]
        return by_alpha, by_theta


class _Yields:
    """ln κ(θ, α) = Σ_m θ^e_m [Σ_k s_km(α_k) + v·P_m·v], the log of expected over nominal events.

    v = (u, u²) with u = α/limit, P_m are matrices for pairs of nuisance parameters, and s_km is a
    cubic spline in u on equal cells from −1 to 1.  The coefficients of the splines have the shape
    (n_nuisances, n_cells, 4, n_monomials), highest power first.
    """

    def __init__(
        self, content: Any, where: str, arrays: _Arrays, names: tuple[str, ...], n: int
    ) -> None:
        content = _object(content, where, ("limits", "parameters", "exponents", "singles", "pairs"))
        self.limits = _positives(content["limits"], f"{where}, limits", n)
        parameters = _names(content["parameters"], f"{where}, parameters")
        self.own = _positions(parameters, names, where)
        self.exponents = arrays.exponents(content["exponents"], where, len(parameters))
        m = len(self.exponents)
        self.singles = arrays.take(content["singles"], where, (n, None, 4, m))
        self.pairs = arrays.take(content["pairs"], where, (m, 2 * n, 2 * n))

    def log(self, theta: _Array, alpha: _Array) -> tuple[float, _Array, _Array]:
        """Return ln κ, and its derivatives with respect to α and to all θ."""
        own, n, n_cells = theta[self.own], len(alpha), self.singles.shape[1]
        u = alpha / self.limits
        place = (u + 1) * (n_cells / 2)
        cells = np.clip(place.astype(np.int64), 0, n_cells - 1)
        t = ((place - cells) * (2 / n_cells))[:, None]
        c3, c2, c1, c0 = np.moveaxis(self.singles[np.arange(n), cells], 1, 0)
        v = np.concatenate([u, u**2])
        products = self.pairs @ v
        of_monomial = np.sum(((c3 * t + c2) * t + c1) * t + c0, axis=0) + products @ v
        slopes = (3 * c3 * t + 2 * c2) * t + c1
        slopes = slopes + 2 * products[:, :n].T + 4 * u[:, None] * products[:, n:].T
        monomials = _monomials(self.exponents, own, [0] * len(own))
        by_theta = np.zeros(len(theta))
        for j, k in enumerate(self.own):
            by_theta[k] = of_monomial @ _monomials(self.exponents, own, _unit(j, len(own)))
        return float(of_monomial @ monomials), slopes @ monomials / self.limits, by_theta


def _positions(names: Sequence[str], among: Sequence[str], where: str) -> list[int]:
    for name in names:
        if name not in among:
            msg = f"{where}: there is no parameter {name!r}"
            raise LikelihoodError(msg)
    return [among.index(name) for name in names]


# Terms of −2 ln L.


class _Term(Protocol):
    """Term of −2 ln L: a function of its own parameters, in their order."""

    @property
    def parameters(self) -> tuple[str, ...]: ...

    @property
    def has_grad(self) -> bool: ...

    def value(self, x: _Array) -> float: ...

    def gradient(self, x: _Array) -> _Array: ...


class CalibratedFor(NamedTuple):
    """Parameters and confidence levels of the intervals for which a term is calibrated.

    Attributes
    ----------
    parameters
        One parameter, whose interval covers if all other parameters are profiled, or several
        parameters, whose joint region covers.  None: all parameters of the term, separately or
        jointly.
    confidence_level
        Confidence level of these intervals, such as 0.6827; None: all levels.
    recorded
        Whether the file contains this information.  Older files do not contain it.  Their terms are
        calibrated for only one level, which is not known.
    """

    parameters: tuple[str, ...] | None = None
    confidence_level: float | None = None
    recorded: bool = True

    def __str__(self) -> str:
        if not self.recorded:
            return "intervals of one confidence level, which this file does not say"
        joint = self.parameters is not None and len(self.parameters) > 1
        what = "joint regions" if joint else "intervals"
        level = self.confidence_level
        text = f"{what} of every level" if level is None else f"{level:.2%} {what}"
        return text if self.parameters is None else f"{text} of {', '.join(self.parameters)}"


def _calibrated_for(content: Any, where: str, parameters: Sequence[str]) -> CalibratedFor:
    if content is None:
        return CalibratedFor(recorded=False)
    content = _object(content, where, ("parameters", "confidence_level"))
    names, level = content["parameters"], content["confidence_level"]
    if level is not None and not 0 < _number(level, f"{where}, confidence_level") < 1:
        msg = f"{where}, confidence_level is not between 0 and 1"
        raise LikelihoodError(msg)
    if names is not None:
        names = _names(names, f"{where}, parameters")
        if names not in (tuple(parameters), *((name,) for name in parameters)):
            msg = f"{where}, parameters is neither one parameter of the term nor all of them"
            raise LikelihoodError(msg)
    return CalibratedFor(names, None if level is None else float(level))


class _Calibration:
    """Calibration: Λ(θ) is replaced by c(θ) [Λ(m(θ)) − maximum of Λ].

    m(θ) = θ + shifts, kept between ``low`` and ``high``, and c = exp(log_scale)/D.  Without a
    widening D = 1; with one, D = 1 + quantile/4 · V[log_scale]
    + Σ_k weight_k · exp(own_scale_k) · max(V[shift_k] − contained_k, 0), where V are variances.
    """

    def __init__(self, content: Any, where: str, arrays: _Arrays, n: int) -> None:
        keys = ("kind", "maximum", "low", "high", "shifts", "log_scale", "widening")
        content = _object(content, where, keys, optional=("calibrated_for",))
        self.maximum = _number(content["maximum"], f"{where}, maximum")
        self.low, self.high = _box(content, where, n)

        def smooth(what: Any, label: str) -> _SmoothPolynomial:
            return _SmoothPolynomial(what, f"{where}, {label}", arrays, n)

        def list_of(what: Any, label: str) -> list[_SmoothPolynomial]:
            given = _list(what, f"{where}, {label}")
            if len(given) not in (0, n):
                msg = f"{where}, {label} has {len(given)} functions of {n} parameters"
                raise LikelihoodError(msg)
            return [smooth(f, label) for f in given]

        self.shifts = list_of(content["shifts"], "shifts")
        scale, widening = content["log_scale"], content["widening"]
        self.log_scale = None if scale is None else smooth(scale, "log_scale")
        self.widened = widening is not None
        if self.widened:
            parts = ("weights", "contained", "quantile", "own_scales")
            widening = _object(widening, f"{where}, widening", parts)
            self.weights, self.contained = (
                _vector(widening[k], f"{where}, {k}", n) for k in ("weights", "contained")
            )
            self.quantile = _number(widening["quantile"], f"{where}, quantile")
            self.own_scales = list_of(widening["own_scales"], "own_scales")

    def _parts(self, theta: _Array) -> list[tuple[float, float]]:
        """Return weight · exp(own_scale) and max(V[shift] − contained, 0) of each shift."""
        parts = []
        for k, shift in enumerate(self.shifts):
            scale = math.exp(self.own_scales[k].value(theta)) if self.own_scales else 1.0
            more = max(shift.variance(theta) - float(self.contained[k]), 0.0)
            parts.append((float(self.weights[k]) * scale, more))
        return parts

    def _divisor(self, theta: _Array) -> float:
        """Return the divisor D."""
        total = 1.0
        if self.widened:
            total += sum(weight * more for weight, more in self._parts(theta))
            if self.log_scale is not None:
                total += self.quantile / 4 * self.log_scale.variance(theta)
        return total

    def _divisor_slope(self, theta: _Array) -> _Array:
        """Return the gradient of D."""
        slope = np.zeros(len(theta))
        if not self.widened:
            return slope
        for k, (weight, more) in enumerate(self._parts(theta)):
            rise = more * self.own_scales[k].gradient(theta) if self.own_scales else 0.0
            bend = self.shifts[k].variance_gradient(theta) if more > 0 else 0.0
            slope += weight * (bend + rise)
        if self.log_scale is not None:
            slope += self.quantile / 4 * self.log_scale.variance_gradient(theta)
        return slope

    def _scale(self, theta: _Array) -> float:
        """Return the factor c."""
        log = 0.0 if self.log_scale is None else self.log_scale.value(theta)
        return math.exp(log) / self._divisor(theta)

    def _log_scale_slope(self, theta: _Array) -> _Array:
        """Return the gradient of ln c."""
        slope = -self._divisor_slope(theta) / self._divisor(theta)
        return slope if self.log_scale is None else slope + self.log_scale.gradient(theta)

    def _mapped(self, theta: _Array) -> _Array:
        shifts = np.array([s.value(theta) for s in self.shifts]) if self.shifts else 0.0
        return np.clip(theta + shifts, self.low, self.high)

    def value(self, shape: _Function, theta: _Array) -> float:
        return self._scale(theta) * (shape.value(self._mapped(theta)) - self.maximum)

    def gradient(self, shape: _Function, theta: _Array) -> _Array:
        mapped = self._mapped(theta)
        jacobian = np.eye(len(theta))
        if self.shifts:
            jacobian = jacobian + np.array([s.gradient(theta) for s in self.shifts])
        drop = shape.value(mapped) - self.maximum
        slope = shape.gradient(mapped) @ jacobian + self._log_scale_slope(theta) * drop
        return np.asarray(self._scale(theta) * slope)


class _SimulationError:
    """Error from simulation: Λ(θ) is replaced by q/(q + s²) [Λ(θ) − maximum of Λ].

    q = 2 [maximum − Λ(θ)], and s² = Σ components² is the variance of maximum − Λ(θ).
    """

    def __init__(self, content: Any, where: str, arrays: _Arrays, n: int) -> None:
        content = _object(content, where, ("kind", "maximum", "low", "high", "components"))
        self.maximum = _number(content["maximum"], f"{where}, maximum")
        _box(content, where, n)
        given = _list(content["components"], f"{where}, components")
        self.components = [_function(f, f"{where}, components", arrays, n) for f in given]

    def _both(self, shape: _Function, theta: _Array) -> tuple[float, float]:
        q = max(2 * (self.maximum - shape.value(theta)), 0.0)
        return q, sum(v.value(theta) ** 2 for v in self.components)

    def value(self, shape: _Function, theta: _Array) -> float:
        q, s2 = self._both(shape, theta)
        scale = 1.0 if q + s2 < _TINY else q / (q + s2)
        return scale * (shape.value(theta) - self.maximum)

    def gradient(self, shape: _Function, theta: _Array) -> _Array:
        q, s2 = self._both(shape, theta)
        slope = shape.gradient(theta)
        if q + s2 < _TINY:
            return slope
        of_s2 = np.zeros(len(theta))
        for v in self.components:
            of_s2 = of_s2 + 2 * v.value(theta) * v.gradient(theta)
        of_scale = (-2 * slope * s2 - q * of_s2) / (q + s2) ** 2
        drop = shape.value(theta) - self.maximum
        return np.asarray(q / (q + s2) * slope + of_scale * drop)


class _Surface:
    """Unbinned −2 [Λ(θ) + ν(reference) − ν(θ) + N ln ν(θ)/ν(reference)].

    Λ is the sum over events of ln p(x_i|θ)/p(x_i|reference), calibrated if there is a calibration.
    The terms of the expected number ν for N events are left out if there is no rate.
    """

    has_grad = True

    def __init__(self, content: Any, where: str, arrays: _Arrays) -> None:
        keys = ("kind", "parameters", "shape", "n_events", "rate", "reference", "calibration")
        content = _object(content, where, (*keys, "model"))
        self.parameters = _names(content["parameters"], f"{where}, parameters")
        n = len(self.parameters)
        self.shape = _function(content["shape"], f"{where}, shape", arrays, n)
        self.n_events = _number(content["n_events"], f"{where}, n_events")
        reference = _vector(content["reference"], f"{where}, reference", n)
        rate = content["rate"]
        self.rate = None if rate is None else _Polynomial(rate, f"{where}, rate", arrays, n)
        self.at_reference = 0.0 if self.rate is None else self.rate.value(reference)
        self.calibration: _Calibration | _SimulationError | None = None
        self.calibrated_for: CalibratedFor | None = None
        calibration = content["calibration"]
        if calibration is not None:
            label = f"{where}, calibration"
            kind = _kind(calibration, label, ("calibration", "simulation_error"))
            make = _Calibration if kind == "calibration" else _SimulationError
            self.calibration = make(calibration, label, arrays, n)
            if kind == "calibration":
                self.calibrated_for = _calibrated_for(
                    calibration.get("calibrated_for"), f"{label}, calibrated_for", self.parameters
                )
        _model(content["model"], f"{where}, model")

    def value(self, x: _Array) -> float:
        if self.calibration is None:
            value = self.shape.value(x)
        else:
            value = self.calibration.value(self.shape, x)
        if self.rate is not None:
            nu = _positive(self.rate.value(x), x)
            value += self.at_reference - nu + self.n_events * math.log(nu / self.at_reference)
        return -2.0 * value

    def gradient(self, x: _Array) -> _Array:
        if self.calibration is None:
            slope = self.shape.gradient(x)
        else:
            slope = self.calibration.gradient(self.shape, x)
        if self.rate is not None:
            slope = slope + self.rate.gradient(x) * (self.n_events / self.rate.value(x) - 1.0)
        return np.asarray(-2.0 * slope)


def _positive(yields: float, x: _Array) -> float:
    if not yields > 0:
        msg = f"the expected yield is {yields:g} at {x.tolist()}; stay inside the limits"
        raise LikelihoodError(msg)
    return yields


def _model(content: Any, where: str) -> None:
    if content is not None:
        content = _object(content, where, ("name", "digest", "features"))
        _text(content["name"], where)
        _text(content["digest"], where)
        _names(content["features"], f"{where}, features")


class _Mixture:
    """Unbinned −2 ln L of events of several processes; process 0 is the signal s.

    The density at event i is

    D_i = ν_s(θ) N_s(α) S_s(x_i; α, θ) exp(Λ_i(θ) − u_i) + Σ_b n_b N_b S_b exp(background_b(i)),

    relative to the total density at the reference.  u_i is the logarithm of this total density over
    the density of the signal at the reference.  background_b(i) is the logarithm of ν_b p_b(x_i),
    the density of background b, over the total density.  n_b is the normalisation of the
    background, S and κ are as in _Response, and N is the factor of the normalisation uncertainties,
    by code 4 between the factors at −1 and +1.  The expected number of events is
    ν = ν_s N_s κ_s + Σ_b n_b ν_b N_b κ_b, and ν_0 at the reference.  With event weights w_i whose
    sum is N and the luminosity l (1 if it is not a parameter),

    ln L = Σ_i w_i ln D_i + N ln l − (l ν − ν_0),

    or, if the likelihood is not extended, Σ_i w_i ln D_i − N ln ν/ν_0.
    """

    has_grad = True

    def __init__(self, content: Any, where: str, arrays: _Arrays) -> None:
        keys = ("kind", "interest", "nuisances", "luminosity", "reference", "extended", "n_events")
        content = _object(
            content,
            where,
            (*keys, "weights", "signal", "log_reference", "processes", "uncertainties", "model"),
        )
        self.interest = _names(content["interest"], f"{where}, interest")
        self.nuisances = _names(content["nuisances"], f"{where}, nuisances")
        luminosity = content["luminosity"]
        self.luminosity = None if luminosity is None else _text(luminosity, f"{where}, luminosity")
        self.extended = _flag(content["extended"], f"{where}, extended")
        self.n_events = _number(content["n_events"], f"{where}, n_events")
        self.weights = arrays.take(content["weights"], where, (None,))
        n, n_rows = len(self.interest), len(self.weights)
        reference = _vector(content["reference"], f"{where}, reference", n)
        label = f"{where}, signal"
        self.signal = _event_function(content["signal"], label, arrays, n, n_rows)
        self.log_reference = arrays.take(content["log_reference"], where, (n_rows,))
        processes = _list(content["processes"], f"{where}, processes")
        if not processes:
            msg = f"{where} has no process"
            raise LikelihoodError(msg)
        self.names, self.norms = [], []
        self.base, self.backgrounds = [1.0], []
        self.responses: list[_Response | None] = []
        self.places: list[list[int]] = []
        for k, stated in enumerate(processes):
            label = f"{where}, process {k}"
            parts = ("name", "norm", "expected", "log_ratio", "response")
            process = _object(stated, label, parts)
            self.names.append(_text(process["name"], label))
            if k == 0:
                if process["norm"] is not None or process["log_ratio"] is not None:
                    msg = f"{label} is the signal, which has no norm and no log_ratio"
                    raise LikelihoodError(msg)
                self.rate = _Polynomial(process["expected"], f"{label}, expected", arrays, n)
            else:
                self.norms.append(_text(process["norm"], f"{label}, norm"))
                self.base.append(_number(process["expected"], f"{label}, expected"))
                ratio = arrays.take(process["log_ratio"], label, (n_rows,), infinite=True)
                self.backgrounds.append(ratio)
            given = process["response"]
            response = None
            if given is not None:
                response = _Response(given, f"{label}, response", arrays, self.interest, n_rows)
            self.responses.append(response)
            nuisances = () if response is None else response.nuisances
            self.places.append(_positions(nuisances, self.nuisances, label))
        self.uncertainties = [
            self._uncertainty(u, f"{where}, uncertainties")
            for u in _list(content["uncertainties"], f"{where}, uncertainties")
        ]
        self.total = self.rate.value(reference) + sum(self.base[1:])
        last = () if self.luminosity is None else (self.luminosity,)
        self.parameters = (*self.interest, *self.norms, *self.nuisances, *last)
        if len(set(self.parameters)) < len(self.parameters):
            msg = f"{where}: two parameters have the same name"
            raise LikelihoodError(msg)
        _model(content["model"], f"{where}, model")

    def _uncertainty(self, content: Any, where: str) -> tuple[int, _Array, _Array]:
        """Return the index of its parameter, and log factors of all processes at +1 and −1."""
        content = _object(content, where, ("name", "factors"))
        (place,) = _positions([_text(content["name"], where)], self.nuisances, where)
        if not isinstance(content["factors"], dict):
            msg = f"{where}, factors is not an object"
            raise LikelihoodError(msg)
        up, down = np.zeros(len(self.names)), np.zeros(len(self.names))
        for process, sides in content["factors"].items():
            (k,) = _positions([process], self.names, where)
            factors = _vector(sides, f"{where}, factors of {process}", 2)
            if not np.all(factors > 0):
                msg = f"{where}, factors of {process} are not positive"
                raise LikelihoodError(msg)
            down[k], up[k] = np.log(factors)
        return place, up, down

    def _evaluate(self, x: _Array, *, slopes: bool) -> tuple[float, _Array]:
        n, b, k = len(self.interest), len(self.norms), len(self.nuisances)
        theta, norms, alpha = x[:n], x[n : n + b], x[n + b : n + b + k]
        luminosity = 1.0 if self.luminosity is None else float(x[-1])
        factors = np.concatenate([[_positive(self.rate.value(theta), theta)], norms])
        # Logarithms of N, and of the density of each process at each event.
        log_norm, norm_slopes = np.zeros(1 + b), np.zeros((1 + b, k))
        for place, up, down in self.uncertainties:
            log, slope, _, _ = _code4(float(alpha[place]), up, down)
            log_norm += log
            norm_slopes[:, place] += slope
        rows = np.stack([self.signal.value(theta) - self.log_reference, *self.backgrounds])
        rows += log_norm[:, None]
        log_yield = log_norm.copy()
        yields_by_alpha, yields_by_theta = norm_slopes.copy(), np.zeros((1 + b, n))
        for s, (response, places) in enumerate(zip(self.responses, self.places, strict=True)):
            if response is not None:
                rows[s] += response.log(theta, alpha[places])
                kappa, by_alpha, yields_by_theta[s] = response.yields.log(theta, alpha[places])
                log_yield[s] += kappa
                yields_by_alpha[s, places] += by_alpha
        filled = factors > 0
        highest = np.max(rows[filled], axis=0)
        densities = np.exp(np.minimum(rows - highest, 709.0))  # e^709 is the largest number
        total = factors @ densities
        value = float(self.weights @ (highest + np.log(total)))
        at_one = np.array(self.base) * np.exp(log_yield)
        expected = float(factors @ at_one)
        if self.extended:
            value += self.n_events * math.log(luminosity) - (luminosity * expected - self.total)
            factor = luminosity
        else:
            value -= self.n_events * math.log(expected / self.total)
            factor = self.n_events / expected
        if not slopes:
            return -2.0 * value, x
        out = np.zeros(len(x))
        of_theta, of_alpha = out[:n], out[n + b : n + b + k]
        shares = densities * (self.weights / total)
        by_factors = shares.sum(axis=1) - factor * at_one
        shares *= factors[:, None]
        of_theta += self.signal.gradient(theta) @ shares[0]
        of_theta += by_factors[0] * self.rate.gradient(theta)
        out[n : n + b] = by_factors[1:]
        of_alpha += shares.sum(axis=1) @ norm_slopes
        for s, (response, places) in enumerate(zip(self.responses, self.places, strict=True)):
            if response is not None:
                by_alpha, by_theta = response.slopes(theta, alpha[places])
                of_alpha[places] += by_alpha @ shares[s]
                of_theta += by_theta @ shares[s]
        of_theta -= factor * (factors * at_one) @ yields_by_theta
        of_alpha -= factor * (factors * at_one) @ yields_by_alpha
        if self.luminosity is not None and self.extended:
            out[-1] = self.n_events / luminosity - expected
        return -2.0 * value, -2.0 * out

    def value(self, x: _Array) -> float:
        return self._evaluate(x, slopes=False)[0]

    def gradient(self, x: _Array) -> _Array:
        return self._evaluate(x, slopes=True)[1]


class _Normal:
    """(x − measured)·V⁻¹·(x − measured): a measurement of parameters x with the covariance V."""

    has_grad = True

    def __init__(self, content: Any, where: str) -> None:
        content = _object(content, where, ("kind", "parameters", "measured", "covariance"))
        self.parameters = _names(content["parameters"], f"{where}, parameters")
        n = len(self.parameters)
        self.measured = _vector(content["measured"], f"{where}, measured", n)
        rows = _list(content["covariance"], f"{where}, covariance")
        covariance = np.array([_vector(row, f"{where}, covariance", n) for row in rows])
        if covariance.shape != (n, n) or not np.all(np.linalg.eigvalsh(covariance) > 0):
            msg = f"{where}, covariance is not a positive matrix of {n} parameters"
            raise LikelihoodError(msg)
        self.inverse = np.linalg.inv(covariance)

    def value(self, x: _Array) -> float:
        pull = x - self.measured
        return float(pull @ self.inverse @ pull)

    def gradient(self, x: _Array) -> _Array:
        return np.asarray(2 * self.inverse @ (x - self.measured))


class _Constant:
    """Constant term: a number."""

    has_grad = True
    parameters = ()

    def __init__(self, content: Any, where: str) -> None:
        self.number = _number(_object(content, where, ("kind", "value"))["value"], where)

    def value(self, x: _Array) -> float:  # noqa: ARG002
        return self.number

    def gradient(self, x: _Array) -> _Array:
        return np.zeros(len(x))


class _Pyhf:
    """−2 ln L of a HistFactory workspace from pyhf, including constraint terms and all constants.

    The constraint terms in ``left_out`` are not included, because another term contains them.
    Factors in ``ties`` are polynomials in parameters θ of this term, Σ_m c_mk ∏_j θ_j^e_mj for
    factor k.
    """

    has_grad = False

    def __init__(self, content: Any, where: str, arrays: _Arrays) -> None:
        keys = ("kind", "parameters", "workspace", "modifier_settings", "auxiliary", "ties")
        content = _object(content, where, (*keys, "left_out"))
        try:
            import pyhf
        except ImportError as error:
            msg = f"{where} is a HistFactory workspace, which needs pyhf: pip install pyhf"
            raise _UnreadableError(msg) from error
        self.parameters = _names(content["parameters"], f"{where}, parameters")
        try:
            workspace = pyhf.Workspace(content["workspace"])
            self.model = workspace.model(modifier_settings=content["modifier_settings"])
        except Exception as error:
            msg = f"{where}: pyhf cannot build the model of the workspace: {error}"
            raise LikelihoodError(msg) from error
        config = self.model.config
        self.ties, tied = [], set()
        for k, stated in enumerate(_list(content["ties"], f"{where}, ties")):
            label = f"{where}, tie {k}"
            parts = ("parameters", "factors", "exponents", "coefficients")
            tie = _object(stated, label, parts)
            own = _positions(_names(tie["parameters"], label), self.parameters, label)
            factors = _names(tie["factors"], f"{label}, factors")
            exponents = arrays.exponents(tie["exponents"], label, len(own))
            shape = (len(exponents), len(factors))
            coefficients = arrays.take(tie["coefficients"], label, shape)
            places = _positions(factors, config.par_names, label)
            self.ties.append((own, places, exponents, coefficients))
            tied |= {*factors}
        free = [name for name in config.par_names if name not in tied]
        self.own = _positions(free, self.parameters, where)
        self.places = _positions(free, config.par_names, where)
        data = np.asarray(workspace.data(self.model, include_auxdata=False), dtype=np.float64)
        self.counts = data
        self.auxiliary = _vector(content["auxiliary"], f"{where}, auxiliary", config.nauxdata)
        logs = [x * math.log(x) - x - math.lgamma(x + 1) if x > 0 else 0.0 for x in data.tolist()]
        self.saturated = -2.0 * math.fsum(logs)
        parts = ("parameter", "datum", "kind", "scale")
        self.left_out = [
            _object(term, f"{where}, left_out", parts)
            for term in _list(content["left_out"], f"{where}, left_out")
        ]
        for term in self.left_out:
            _positions([term["parameter"]], self.parameters, where)
            _choice(term["kind"], where, ("normal", "poisson"))
            _number(term["scale"], where)
            if term["datum"] not in range(len(self.auxiliary)):
                msg = f"{where}, left_out: there is no auxiliary datum {term['datum']!r}"
                raise LikelihoodError(msg)

    def _all(self, x: _Array) -> _Array:
        """Return the parameters in the order of pyhf."""
        full = np.empty(self.model.config.npars)
        full[self.places] = x[self.own]
        for own, places, exponents, coefficients in self.ties:
            full[places] = _monomials(exponents, x[own], [0] * len(own)) @ coefficients
        return full

    def value(self, x: _Array) -> float:
        main, constraints = self.model.make_pdf(self._all(x))
        rates = np.asarray(main.expected_data(), dtype=np.float64)
        if not np.all(rates >= 0):
            msg = f"a bin expects {float(np.min(rates)):g} events; keep to tighter limits"
            raise LikelihoodError(msg)
        excess = rates - self.counts
        filled = self.counts > 0
        with np.errstate(divide="ignore"):
            relative = np.divide(excess, self.counts, out=np.zeros_like(rates), where=filled)
            logs = np.where(filled, self.counts * np.log1p(relative), 0.0)
        value = self.saturated + 2.0 * float(np.sum(excess - logs))
        if len(self.auxiliary):
            value -= 2.0 * float(np.asarray(constraints.log_prob(self.auxiliary)))
        for term in self.left_out:
            at = float(x[self.parameters.index(term["parameter"])])
            observed, scale = float(self.auxiliary[term["datum"]]), float(term["scale"])
            if term["kind"] == "normal":
                pull = (observed - at) / scale
                value -= pull**2 + 2 * math.log(scale) + math.log(2 * math.pi)
            else:
                mean = scale * at
                log = observed * math.log(mean) if observed else 0.0
                value -= 2 * (mean - log + math.lgamma(observed + 1))
        return value

    def gradient(self, x: _Array) -> _Array:
        msg = f"a model of pyhf has no gradient (asked for {len(x)} parameters)"
        raise NotImplementedError(msg)


class _Histogram:
    """−2 ln L of counts n_b in bins b that expect s γ_b y_b(θ) events, y_b = Σ_m c_mb ∏_k θ_k^e_mk.

    −2 ln L = Σ_b −2 ln Poisson(n_b | s γ_b y_b) − 2 ln Gauss(1 | γ_b, δ_b), with the relative error
    δ_b of the simulation.  Without relative errors γ_b = 1 and there is no second term.  In a bin
    with δ_b = 0, γ_b = 1 and the Gaussian has a width of one.  In other bins γ_b minimises −2 ln L:
    γ_b² + (y δ² − 1) γ_b = n_b δ², with y = s y_b (Conway, arXiv:1103.0354).  With the rate s = 1;
    for the shape alone s is such that Σ_b s γ_b y_b = Σ_b n_b.
    """

    has_grad = True

    def __init__(self, content: Any, where: str, arrays: _Arrays) -> None:
        keys = ("kind", "parameters", "counts", "exponents", "coefficients", "relative_errors")
        content = _object(content, where, (*keys, "rate"))
        self.parameters = _names(content["parameters"], f"{where}, parameters")
        n_bins = len(_list(content["counts"], f"{where}, counts"))
        self.counts = _vector(content["counts"], f"{where}, counts", n_bins)
        self.exponents = arrays.exponents(content["exponents"], where, len(self.parameters))
        shape = (len(self.exponents), n_bins)
        self.coefficients = arrays.take(content["coefficients"], where, shape)
        errors = content["relative_errors"]
        self.profiled = errors is not None
        label = f"{where}, relative_errors"
        self.errors = _vector(errors, label, n_bins) if self.profiled else np.zeros(n_bins)
        self.rate = _flag(content["rate"], f"{where}, rate")
        if not np.all(self.counts >= 0) or not np.all(self.errors >= 0):
            msg = f"{where}: a count or an error is negative"
            raise LikelihoodError(msg)
        logs = math.fsum(math.lgamma(x + 1) for x in self.counts.tolist())
        self.constant = 2 * logs
        if self.profiled:
            widths = np.where(self.errors > 0, self.errors, 1.0)
            self.constant += float(np.sum(np.log(2 * np.pi * widths**2)))

    def _gammas(self, y: _Array) -> tuple[_Array, _Array]:
        """Return γ of each bin, and the root in its formula."""
        linear = 1.0 - y * self.errors**2
        root = np.sqrt(linear**2 + 4.0 * self.counts * self.errors**2)
        return (linear + root) / 2.0, root

    def _profiled(self, x: _Array) -> tuple[_Array, float, _Array]:
        """Return expectations without factors, their common scale, and γ."""
        y = _monomials(self.exponents, x, [0] * len(x)) @ self.coefficients
        if not np.all(y > 0):
            msg = f"a bin expects {float(np.min(y)):g} events; keep to tighter limits"
            raise LikelihoodError(msg)
        if self.rate:
            return y, 1.0, self._gammas(y)[0]
        n = float(self.counts.sum())
        if not n > 0:
            msg = "a shape has no likelihood without events"
            raise LikelihoodError(msg)
        scale, last, damping = n / float(y.sum()), 0.0, 1.0
        for _ in range(100):
            gammas, root = self._gammas(scale * y)
            product = scale * y * gammas
            total = float(product.sum())
            if not total > 0:
                break
            # d ln Σ s γ y / d ln s
            rise = float(np.sum(product * (2 * gammas - 1) / np.where(root > 0, root, 1.0))) / total
            step = min(max(math.log(n / total) / (rise if rise > 1e-9 else 1.0), -0.5), 0.5)
            if step * last < 0 and abs(step) > 0.5 * abs(last):
                damping *= 0.5  # else steps go back and forth for ever
            last = step
            if abs(step * damping) < 1e-11:
                return y, scale, gammas
            scale *= math.exp(step * damping)
        msg = f"the scale of the shape does not converge at {x.tolist()}"
        raise LikelihoodError(msg)

    def value(self, x: _Array) -> float:
        y, scale, gammas = self._profiled(x)
        rates = scale * gammas * y
        with np.errstate(divide="ignore"):
            logs = np.where(self.counts > 0, self.counts * np.log(rates), 0.0)
        value = self.constant - 2.0 * float(np.sum(logs - rates))
        if self.profiled:
            pulls = (gammas - 1.0) / np.where(self.errors > 0, self.errors, 1.0)
            value += float(pulls @ pulls)
        return value

    def gradient(self, x: _Array) -> _Array:
        # Factors and scale minimise −2 ln L, so their own derivatives drop out.
        y, scale, gammas = self._profiled(x)
        n = len(x)
        slopes = np.array([_monomials(self.exponents, x, _unit(k, n)) for k in range(n)])
        by_y = self.counts / y - scale * gammas
        return np.asarray(-2.0 * (slopes @ self.coefficients) @ by_y)


def _term(content: Any, where: str, arrays: _Arrays) -> _Term:
    kinds = ("surface", "mixture", "histogram", "normal", "constant", "pyhf")
    kind = _kind(content, where, kinds)
    if kind == "surface":
        return _Surface(content, where, arrays)
    if kind == "mixture":
        return _Mixture(content, where, arrays)
    if kind == "normal":
        return _Normal(content, where)
    if kind == "constant":
        return _Constant(content, where)
    return (_Histogram if kind == "histogram" else _Pyhf)(content, where, arrays)


class Likelihood:
    """−2 ln L as a function of named parameters, for iminuit.

    Attributes
    ----------
    parameters
        Names of the parameters, in the order of the arguments.
    start, limits, roles, units
        Starting value, limits, role and unit of each parameter, by name; a limit may be infinite.
    fixed
        Names of parameters that are fixed at their starting values.
    has_grad
        Whether the gradient is available.
    calibrated_for
        For each calibrated term, the intervals that cover.  Other intervals of the term are not
        calibrated.
    content
        Content of the JSON file.
    """

    errordef = 1.0

    def __init__(self, content: dict[str, Any], arrays: _Arrays) -> None:
        keys = ("format", "version", "checksum", "title", "description", "written_by", "created")
        _object(
            content, "it", (*keys, "parameters", "terms", "files", "checks", "bound", "provenance")
        )
        self.content = content
        for key in ("title", "description", "created"):
            _text(content[key], key)
        for key in ("written_by", "provenance"):
            if not isinstance(content[key], dict):
                msg = f"{key} is not an object"
                raise LikelihoodError(msg)
        if _number(content["bound"], "bound") < 0:
            msg = "bound is negative"
            raise LikelihoodError(msg)
        self.start: dict[str, float] = {}
        self.limits: dict[str, tuple[float, float]] = {}
        self.roles: dict[str, str] = {}
        self.units: dict[str, str | None] = {}
        fixed = []
        for k, given in enumerate(_list(content["parameters"], "parameters")):
            keys = ("name", "role", "start", "low", "high", "unit", "fixed")
            facts = _object(given, f"parameter {k}", keys)
            name = _text(facts["name"], f"parameter {k}")
            if name in self.start:
                msg = f"two parameters have the name {name}"
                raise LikelihoodError(msg)
            roles = ("interest", "normalisation", "nuisance")
            self.roles[name] = _choice(facts["role"], f"{name}, role", roles)
            self.start[name] = _number(facts["start"], f"{name}, start")
            self.limits[name] = (
                -math.inf if facts["low"] is None else _number(facts["low"], f"{name}, low"),
                math.inf if facts["high"] is None else _number(facts["high"], f"{name}, high"),
            )
            unit = facts["unit"]
            self.units[name] = None if unit is None else _text(unit, f"{name}, unit")
            if _flag(facts["fixed"], f"{name}, fixed"):
                fixed.append(name)
        self.parameters = tuple(self.start)
        self.fixed = tuple(fixed)
        self._low, self._high = np.array(list(self.limits.values())).reshape(-1, 2).T
        self._terms = [
            _term(given, f"term {k}", arrays)
            for k, given in enumerate(_list(content["terms"], "terms"))
        ]
        arrays.require_all_taken()
        surfaces = [term for term in self._terms if isinstance(term, _Surface)]
        self.calibrated_for: tuple[CalibratedFor, ...] = tuple(
            term.calibrated_for for term in surfaces if term.calibrated_for is not None
        )
        self._places = [
            _positions(term.parameters, self.parameters, f"term {k}")
            for k, term in enumerate(self._terms)
        ]
        unused = set(range(len(self.parameters))) - {p for own in self._places for p in own}
        if unused:
            msg = f"no term depends on the parameter {self.parameters[min(unused)]}"
            raise LikelihoodError(msg)
        self._checks = []
        for k, stated in enumerate(_list(content["checks"], "checks")):
            given = _object(stated, f"check {k}", ("point", "value"))
            point = _vector(given["point"], f"check {k}", len(self.parameters))
            self._checks.append((point.tolist(), _number(given["value"], f"check {k}")))
        self.has_grad = all(term.has_grad for term in self._terms)
        # Attributes in which iminuit looks for names and limits.
        self._parameters = dict(self.limits)

    def __call__(self, *values: float) -> float:
        """Return −2 ln L at a point, with values in the order of :attr:`parameters`."""
        x = self._point(values)
        return float(sum(t.value(x[p]) for t, p in zip(self._terms, self._places, strict=True)))

    def grad(self, *values: float) -> _Array:
        """Return the derivatives with respect to the parameters, in the order of `parameters`."""
        x = self._point(values)
        out = np.zeros(len(x))
        for term, places in zip(self._terms, self._places, strict=True):
            out[places] += term.gradient(x[places])
        return out

    def check(self) -> float:
        """Return the largest difference between −2 ln L and its values in ``likelihood.json``.

        The file contains the values at a few points.
        """
        return max((abs(self(*point) - value) for point, value in self._checks), default=0.0)

    def _point(self, values: Sequence[float]) -> _Array:
        x = np.array(values, dtype=np.float64)
        if x.shape != (len(self.parameters),):
            msg = f"give one number for each of {', '.join(self.parameters)}"
            raise LikelihoodError(msg)
        # Without infinities, because no fraction of an infinite range is rounding.
        span = np.where(np.isfinite(self._high - self._low), self._high - self._low, 1.0)
        outside = ~((x >= self._low - _SLACK * span) & (x <= self._high + _SLACK * span))
        if outside.any():
            k = int(np.argmax(outside))
            name = self.parameters[k]
            msg = (
                f"{name} = {x[k]:g} is outside {self.limits[name]}, where the likelihood is known; "
                "stay inside"
            )
            raise LikelihoodError(msg)
        return np.clip(x, self._low, self._high)
