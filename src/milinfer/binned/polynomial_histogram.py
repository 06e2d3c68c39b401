r"""Histograms whose bin contents are polynomials in named parameters, built from ``hist.Hist``.

The content of a bin is :math:`\sum_k a_k m_k(\theta)` with monomials :math:`m_k` such as
``"c_HW^2"``.  :class:`PolynomialHistogram` keeps the coefficients :math:`a_k` in one ``hist.Hist``,
whose first axis lists the monomials.  It keeps the covariance of the coefficients in a second
``hist.Hist`` with two axes of monomials.  Operations that are linear in the contents (sums,
scaling, slices, projections, rebinning) are done by hist, on the two histograms.

A monomial is written as ``"1"``, ``"c_HW"``, ``"c_HW^2"`` or ``"c_HW*c_HB"``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from milinfer.binned.histogram_files import load_histograms
from milinfer.exceptions import ParameterError, TemplateError
from milinfer.typing import FloatArray, IntArray, PathLikeStr, Point
from milinfer.utils.files import write_whole
from milinfer.utils.polynomials import point_array

__all__ = [
    "MONOMIAL",
    "PolynomialHistogram",
    "axis_without_flow",
    "monomial_name",
    "monomial_parameters",
    "monomial_powers",
]

MONOMIAL = "monomial"
"""Name of the axis of monomials; a second one, in the covariance, is called ``monomial_2``."""

_LEADING = (MONOMIAL, "monomial_2")


def monomial_name(powers: Mapping[str, int]) -> str:
    """Name of a monomial with the given powers, in the order in which the parameters are given.

    Raises
    ------
    ParameterError
        If the name of a parameter could be confused with an operator or a number.

    Examples
    --------
    >>> monomial_name({"c_HW": 2, "c_HB": 1}), monomial_name({"c_HW": 0})
    ('c_HW^2*c_HB', '1')
    """
    for name in powers:
        if not name or name == "1" or set(name) & set("*^"):
            msg = f"a parameter called {name!r} cannot be written in a monomial; rename it"
            raise ParameterError(msg)
    factors = [n if power == 1 else f"{n}^{power}" for n, power in powers.items() if power]
    return "*".join(factors) or "1"


def monomial_powers(monomial: str) -> dict[str, int]:
    """Power of each parameter in a monomial.

    Raises
    ------
    TemplateError
        If the text is not a monomial.

    Examples
    --------
    >>> monomial_powers("c_HW^2*c_HB"), monomial_powers("1")
    ({'c_HW': 2, 'c_HB': 1}, {})
    """
    powers: dict[str, int] = {}
    for factor in [] if monomial == "1" else monomial.split("*"):
        name, raised, power = factor.partition("^")
        whole = power.isascii() and power.isdigit() and len(power) < 3
        if not name or name == "1" or name in powers or (raised and not whole):
            msg = f"{monomial!r} is not a monomial such as '1', 'c', 'c^2' or 'c*d'; rename it"
            raise TemplateError(msg)
        powers[name] = int(power) if raised else 1
    return powers


def monomial_parameters(monomials: Iterable[str]) -> tuple[str, ...]:
    """Names of the parameters that appear in monomials, in the order of their first appearance.

    Examples
    --------
    >>> monomial_parameters(["1", "b", "a*b"])
    ('b', 'a')
    """
    return tuple(dict.fromkeys(name for m in monomials for name in monomial_powers(m)))


@dataclass(frozen=True, eq=False, repr=False)
class PolynomialHistogram:
    """Histogram whose bin contents are polynomials in named parameters.

    It can be added, scaled, sliced and projected like a ``hist.Hist``.  It does not matter whether
    this is done before or after the histogram is computed at a parameter point:
    ``(h + 2 * g)[3:].at(point)`` equals ``h.at(point)[3:] + 2 * g.at(point)[3:]``.

    Parameters
    ----------
    coefficients
        ``hist.Hist`` with storage ``Double``.  Its first axis is a ``StrCategory`` called
        ``monomial``; the other axes are the observables, of any kind.
    covariance
        Covariance of the coefficients in each bin: a ``hist.Hist`` whose first two axes list the
        monomials (``monomial`` and ``monomial_2``) and are followed by the axes of the observables.
        None if the covariance is not known.

    Raises
    ------
    TemplateError
        If the histograms do not have these axes, do not match each other, or contain a number that
        is not finite.

    Examples
    --------
    >>> import hist
    >>> axis = hist.axis.Regular(2, 0, 1, name="x", flow=False)
    >>> h = PolynomialHistogram.of_arrays(["1", "c", "c^2"], [axis], np.array([[4.0, 6.0],
    ...                                   [1.0, 2.0], [0.0, 0.5]]))
    >>> h.at({"c": 2.0}).values(), (h + h)[{"x": sum}].at({"c": 0.0})
    (array([ 6., 12.]), 20.0)
    """

    coefficients: Any
    covariance: Any = None

    # numpy numbers then leave `2.0 * histogram` to this class
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        import hist

        labels: list[str] = []
        for histogram, names in ((self.coefficients, _LEADING[:1]), (self.covariance, _LEADING)):
            if histogram is None:
                continue
            leading = [a for a in histogram.axes if isinstance(a, hist.axis.StrCategory)]
            if tuple(a.name for a in leading[: len(names)]) != names or (
                tuple(histogram.axes.name)[: len(names)] != names
            ):
                msg = (
                    f"the first axes of a polynomial histogram must be {' and '.join(names)} "
                    f"(StrCategory), but this one has the axes {histogram.axes.name}"
                )
                raise TemplateError(msg)
            if histogram.storage_type is not hist.storage.Double:
                msg = f"coefficients need the storage Double, not {histogram.storage_type.__name__}"
                raise TemplateError(msg)
            # A category axis may have a bin for what is in none of its categories.
            n = [len(a) for a in leading[: len(names)]]
            view = histogram.view(flow=True)
            inside = view[tuple(slice(k) for k in n)]
            if not np.isfinite(view).all() or np.count_nonzero(view) > np.count_nonzero(inside):
                msg = (
                    "some coefficients are not finite, or belong to no monomial; fill the "
                    "histogram again"
                )
                raise TemplateError(msg)
            labels = [*map(str, self.coefficients.axes[0])]
            same = all(list(map(str, a)) == labels for a in leading[: len(names)])
            if not same or histogram.axes[len(names) :] != self.coefficients.axes[1:]:
                msg = "coefficients and covariance must have the same monomials and observables"
                raise TemplateError(msg)
        if self.covariance is not None:
            size = len(labels)
            covariance = self.covariance.view(flow=True)[:size, :size]
            if np.diagonal(covariance).min(initial=0.0) < 0:
                msg = "a coefficient has a negative variance; correct the covariance"
                raise TemplateError(msg)
        keys = [frozenset(monomial_powers(label).items()) for label in labels]
        if len(set(keys)) < len(keys) or not keys:
            msg = f"the monomials {labels} must be at least one, and all different"
            raise TemplateError(msg)

    @classmethod
    def of_arrays(
        cls,
        monomials: Sequence[str],
        axes: Sequence[Any],
        coefficients: FloatArray,
        covariance: FloatArray | None = None,
    ) -> PolynomialHistogram:
        """Make a polynomial histogram from arrays.

        Parameters
        ----------
        monomials
            Names of the monomials.
        axes
            Observables, as axes of hist.
        coefficients
            Coefficients, shape (n_monomials, …), with the bins of each axis in the place of the
            dots.  The flow bins of an axis are included if it has them.
        covariance
            Covariance of the coefficients, shape (n_monomials, n_monomials, …), or None.
        """
        import hist

        arrays = [coefficients] if covariance is None else [coefficients, covariance]
        histograms = []
        for n, array in enumerate(arrays, start=1):
            given = "the array of coefficients" if n == 1 else "the covariance"
            leading = [
                hist.axis.StrCategory(list(monomials), name=name, overflow=False)
                for name in _LEADING[:n]
            ]
            histogram = hist.Hist(*leading, *axes, storage=hist.storage.Double())
            view = histogram.view(flow=True)
            if view.shape != np.shape(array):
                msg = (
                    f"{given} has the shape {np.shape(array)}, but {view.shape} is needed for "
                    f"{len(monomials)} monomials and the bins of the axes with their flow bins"
                )
                raise TemplateError(msg)
            if np.asarray(array).dtype.kind not in "iuf":
                msg = (
                    f"{given} has the type {np.asarray(array).dtype}, not real numbers; pass an "
                    "array of floats"
                )
                raise TemplateError(msg)
            view[...] = array
            histograms.append(histogram)
        return cls(*histograms)

    @property
    def monomials(self) -> tuple[str, ...]:
        """Names of the monomials."""
        return tuple(map(str, self.coefficients.axes[0]))

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of their first appearance in the monomials."""
        return monomial_parameters(self.monomials)

    @cached_property
    def exponents(self) -> IntArray:
        """Power of each parameter in each monomial, shape (n_monomials, n_parameters)."""
        powers = [monomial_powers(m) for m in self.monomials]
        rows = [[each.get(name, 0) for name in self.parameters] for each in powers]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self.parameters))

    @property
    def degree(self) -> int:
        """Largest degree of a monomial, which is the sum of its powers."""
        return int(self.exponents.sum(axis=1).max())

    @property
    def axes(self) -> Any:
        """Axes of the observables."""
        return self.coefficients.axes[1:]

    def __repr__(self) -> str:
        names = ", ".join(a.label or a.name or "?" for a in self.axes)
        bins = " × ".join(str(len(a)) for a in self.axes)
        what = f"{names}, {bins} bins" if bins else "no observable"
        unknown = "" if self.covariance is not None else ", errors unknown"
        return (
            f"PolynomialHistogram({what}, degree {self.degree} in "
            f"{', '.join(self.parameters) or 'no parameter'}{unknown})"
        )

    def design(self, point: Point) -> FloatArray:
        """Value of each monomial at a point, shape (n_monomials,).

        Raises
        ------
        ParameterError
            If the point has other parameters than the histogram.
        """
        theta = point_array(self.parameters, point)
        return np.asarray(np.prod(theta**self.exponents, axis=1), dtype=np.float64)

    def at(self, point: Point) -> Any:
        """Compute the histogram at a parameter point.

        Returns
        -------
        hist.Hist
            Histogram with storage ``Weight``, whose variances follow from the covariance of the
            coefficients.  If the covariance is not known, the storage is ``Double`` and there are
            no variances.  If all observables have been summed over, the result is the content of
            the only bin, as ``hist`` returns it.
        """
        import hist

        design = self.design(point)
        values = np.tensordot(design, self.coefficients.view(flow=True), 1)
        known = self.covariance is not None
        storage = hist.storage.Weight() if known else hist.storage.Double()
        variances = None
        if known:
            covariance = self.covariance.view(flow=True)
            # Rounding may leave a variance of zero below it.
            variances = np.tensordot(design, np.tensordot(design, covariance, 1), 1).clip(min=0)
        if not self.axes:
            if variances is None:
                return float(values)
            return hist.accumulators.WeightedSum(float(values), float(variances))
        histogram = hist.Hist(*self.axes, storage=storage)
        if known:
            histogram.view(flow=True)["value"] = values
            histogram.view(flow=True)["variance"] = variances
            return histogram
        histogram.view(flow=True)[...] = values
        # Otherwise hist would take the contents for counts, and their roots for errors.
        return histogram * 1.0

    def plot(self, point: Point, **options: Any) -> Any:
        """Plot the histogram at a point with ``hist.Hist.plot``, which gets the `options`."""
        return self.at(point).plot(**options)

    def __getitem__(self, index: Any) -> PolynomialHistogram:
        """Slice, rebin or sum observables, with the same indices as for ``hist`` (UHI).

        The result is a polynomial histogram, even if a single bin of each axis is chosen.
        """
        return self._each(lambda histogram, n: histogram[_behind(index, n)])

    def project(self, *names: str | int) -> PolynomialHistogram:
        """Keep these axes (names or numbers), and sum over all other axes with their flow bins."""
        wanted = [n if isinstance(n, str) else self.axes[n].name for n in names]
        return self._each(lambda histogram, n: histogram.project(*_LEADING[:n], *wanted))

    def __add__(self, other: PolynomialHistogram | int) -> PolynomialHistogram:
        """Add a statistically independent histogram with the same axes; monomials may differ.

        The errors of the sum are unknown if the errors of one term are unknown.
        """
        if isinstance(other, int) and other == 0:  # the start of sum()
            return self
        if not isinstance(other, PolynomialHistogram):
            return NotImplemented
        if self.axes != other.axes:
            msg = f"{self!r} and {other!r} have different axes, and cannot be added"
            raise TemplateError(msg)
        keys = {frozenset(monomial_powers(m).items()) for m in self.monomials}
        new = [m for m in other.monomials if frozenset(monomial_powers(m).items()) not in keys]
        one, two = (h.with_monomials([*self.monomials, *new]) for h in (self, other))
        unknown = one.covariance is None or two.covariance is None
        return PolynomialHistogram(
            one.coefficients + two.coefficients,
            None if unknown else one.covariance + two.covariance,
        )

    __radd__ = __add__

    def __mul__(self, factor: Any) -> PolynomialHistogram:
        """Multiply by a number: the coefficients by it, and their covariance by its square."""
        if not isinstance(factor, Real):
            return NotImplemented
        return self._each(lambda histogram, n: histogram * float(factor) ** n)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> PolynomialHistogram:
        """Divide by a number."""
        if not isinstance(divisor, Real):
            return NotImplemented
        return self * (1.0 / float(divisor))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PolynomialHistogram):
            return NotImplemented
        if (self.covariance is None) != (other.covariance is None):
            return False
        same = self.coefficients == other.coefficients
        return bool(same and (self.covariance is None or self.covariance == other.covariance))

    def with_monomials(self, monomials: Sequence[str]) -> PolynomialHistogram:
        """Return the histogram with these monomials in this order; new ones have coefficients 0.

        Raises
        ------
        TemplateError
            If `monomials` lacks a monomial of the histogram.
        """
        place = {frozenset(monomial_powers(m).items()): k for k, m in enumerate(monomials)}
        own = [frozenset(monomial_powers(m).items()) for m in self.monomials]
        missing = [m for m, key in zip(self.monomials, own, strict=True) if key not in place]
        if missing:
            msg = f"{self!r} has the monomial {missing[0]}; add it to the monomials {[*monomials]}"
            raise TemplateError(msg)
        index = [place[key] for key in own]
        arrays: list[FloatArray] = []
        for n, histogram in enumerate(self.histograms.values(), start=1):
            size = len(self.monomials)
            view = histogram.view(flow=True)[(slice(size),) * n]
            array = np.zeros((len(monomials),) * n + view.shape[n:])
            array[np.ix_(*[index] * n)] = view
            arrays.append(array)
        return PolynomialHistogram.of_arrays(monomials, self.axes, *arrays)

    def without_flow(self) -> PolynomialHistogram:
        """Return the histogram without flow bins; their contents are added to the outer bins.

        Raises
        ------
        TemplateError
            If an axis of categories has content outside its categories.  Such content has no
            neighbouring bin to which it could be added.

        Examples
        --------
        >>> import hist
        >>> axis = hist.axis.Regular(2, 0, 1, name="x")
        >>> h = PolynomialHistogram.of_arrays(["c"], [axis], np.array([[1.0, 4.0, 6.0, 2.0]]))
        >>> h.without_flow().at({"c": 1.0}).values()
        array([5., 8.])
        """
        arrays: list[FloatArray] = []
        for n, histogram in enumerate(self.histograms.values(), start=1):
            array = histogram.view(flow=True)[(slice(len(self.monomials)),) * n]
            for k, axis in enumerate(self.axes, start=n):
                array = _folded(array, k, axis)
            arrays.append(array)
        axes = [axis_without_flow(a) for a in self.axes]
        return PolynomialHistogram.of_arrays(self.monomials, axes, *arrays)

    @property
    def histograms(self) -> dict[str, Any]:
        """Coefficients and covariance as ``hist.Hist``, under the names used in files."""
        named = {"coefficients": self.coefficients, "covariance": self.covariance}
        return {name: h for name, h in named.items() if h is not None}

    def save(self, path: PathLikeStr) -> None:
        """Write coefficients and covariance to a JSON file of UHI histograms, without loss.

        The file can be read by :meth:`load` and by any library with the Universal Histogram
        Interface (UHI).
        """
        import uhi.io.json as uhi_json

        write_whole(path, json.dumps(self.histograms, default=uhi_json.default) + "\n")

    @classmethod
    def load(cls, path: PathLikeStr) -> PolynomialHistogram:
        """Read a file that :meth:`save` has written.

        Raises
        ------
        TemplateError
            If the file does not contain a polynomial histogram.

        Examples
        --------
        >>> import hist, tempfile
        >>> from pathlib import Path
        >>> h = PolynomialHistogram.of_arrays(["1", "c"], [hist.axis.Integer(0, 2, flow=False)],
        ...                                   np.array([[4.0, 6.0], [1.0, 2.0]]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     h.save(Path(folder, "h.json"))
        ...     PolynomialHistogram.load(Path(folder, "h.json")) == h
        True
        """
        histograms = load_histograms(path)
        if not {"coefficients"} <= set(histograms) <= {"coefficients", "covariance"}:
            msg = (
                f"{path} has the histograms {', '.join(histograms)}, but a polynomial histogram "
                "consists of coefficients and, optionally, their covariance; give another file"
            )
            raise TemplateError(msg)
        try:
            return cls(**histograms)
        except TemplateError as error:
            msg = f"{path}: {error}"
            raise TemplateError(msg) from error

    def _each(self, change: Any) -> PolynomialHistogram:
        """Apply a function of a histogram and of its number of axes of monomials to both."""
        return PolynomialHistogram(
            *(change(h, n) for n, h in enumerate(self.histograms.values(), start=1))
        )


def axis_without_flow(axis: Any) -> Any:
    """Make an axis of hist with the same bins as the given axis, but without flow bins.

    Examples
    --------
    >>> import hist
    >>> axis_without_flow(hist.axis.Regular(2, 0, 1, name="x"))
    Variable([0, 0.5, 1], underflow=False, overflow=False, name='x')
    """
    import hist

    names = {"name": axis.name, "label": axis.label}
    for kind in (hist.axis.StrCategory, hist.axis.IntCategory):
        if isinstance(axis, kind):
            return kind(list(axis), overflow=False, **names)
    return hist.axis.Variable(axis.edges, flow=False, **names)


def _folded(array: FloatArray, k: int, axis: Any) -> FloatArray:
    """Add the flow bins of one axis to their neighbours."""
    import hist

    first, size = int(axis.traits.underflow), len(axis)
    moved = np.moveaxis(array, k, 0)
    inside = moved[first : first + size].copy()
    below, above = moved[:first].sum(axis=0), moved[first + size :].sum(axis=0)
    if isinstance(axis, (hist.axis.StrCategory, hist.axis.IntCategory)) and np.any(above):
        msg = f"the axis {axis.name} has content outside its categories; select categories first"
        raise TemplateError(msg)
    inside[0] += below
    inside[-1] += above
    return np.moveaxis(inside, 0, k)


def _behind(index: Any, n: int) -> Any:
    """Index of the observables as one of a histogram with `n` axes of monomials before them."""
    if isinstance(index, Mapping):
        if set(index) & set(_LEADING):
            msg = "an index cannot select monomials; take the coefficients from .coefficients"
            raise TemplateError(msg)
        return {k + n if isinstance(k, int) and k >= 0 else k: v for k, v in index.items()}
    return (slice(None),) * n + (index if isinstance(index, tuple) else (index,))
