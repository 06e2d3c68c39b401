r"""Responses: how nuisance parameters change the differential cross-section of a process.

.. math:: S(x; \alpha, \theta) = \frac{d\sigma(x|\theta, \alpha)}{d\sigma(x|\theta, 0)}
          = \exp \sum_A f_A(\alpha)\,\Delta_A(x)

Here θ are the parameters of interest, α the nuisance parameters, and dσ is the differential
cross-section of a process after the selection.  The response S therefore contains the changes of
both rate and shape.  The functions :math:`f_A` are monomials of the nuisance parameters (Schöfbeck,
arXiv:2406.19076), or HistFactory's interpolation code 4 between up and down variations (ATLAS,
arXiv:2412.01600); see :class:`ResponseTerms`.  The coefficients :math:`\Delta_A` of an event are
the same at every α.  They are computed once and stored as one row of a table for each event
(:class:`ResponseTable`).  The cost, its gradient and toys are then computed by matrix products.

"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np

from milinfer.exceptions import ConfigurationError, ModelError, ParameterError
from milinfer.typing import BoolArray, Float32Array, FloatArray, IntArray
from milinfer.utils.keywords import did_you_mean

__all__ = [
    "ResponseTable",
    "ResponseTerms",
]


@dataclass(frozen=True, eq=False)
class ResponseTerms:
    """Functions of the nuisance parameters that multiply the coefficients of an event in ln S.

    S is the response of a process: the differential cross-section at the nuisance parameters
    divided by its value at zero.  Create the terms with :meth:`of`.

    Parameters
    ----------
    nuisances
        Names of the nuisance parameters.
    exponents
        Powers of the nuisance parameters in each term, shape (n_terms, n_nuisances).  With
        ``"code4"``, each nuisance parameter has two terms; :meth:`of` creates them.
    limits
        Range (low, high) of each nuisance parameter.
    parameters
        Names of the parameters of interest on which the coefficients depend linearly; usually none.
    centre, half
        Centre and half width of the range of these parameters of interest, shape (n_parameters,).
    interpolation
        ``"polynomial"``: ln S is a polynomial.  ``"code4"``: each nuisance parameter has two terms,
        ln S at +1 and at −1, between which code 4 of HistFactory interpolates.

    Examples
    --------
    >>> terms = ResponseTerms.of(["jes", "jer"], cross_terms=True)
    >>> terms.names
    ('jes', 'jes^2', 'jer', 'jer^2', 'jes*jer')
    >>> terms.values(np.array([2.0, 1.0]))
    array([2., 4., 1., 1., 2.])
    """

    nuisances: tuple[str, ...]
    exponents: IntArray
    limits: tuple[tuple[float, float], ...]
    parameters: tuple[str, ...] = ()
    centre: FloatArray = field(default_factory=lambda: np.empty(0))
    half: FloatArray = field(default_factory=lambda: np.empty(0))
    interpolation: Literal["polynomial", "code4"] = "polynomial"

    def __post_init__(self) -> None:
        if not self.nuisances or len({*self.nuisances}) < len(self.nuisances):
            msg = f"a response needs nuisance parameters of different names, not {self.nuisances}"
            raise ParameterError(msg)
        shared = {*self.nuisances} & {*self.parameters}
        if shared:
            msg = (
                f"{sorted(shared)} are both parameters of interest and nuisance parameters; rename "
                "one"
            )
            raise ParameterError(msg)
        if self.exponents.shape != (self.n_terms, len(self.nuisances)):
            msg = f"exponents of shape {self.exponents.shape} do not fit {self.nuisances}"
            raise ModelError(msg)
        if len(self.limits) != len(self.nuisances) or any(
            not low < 0 < high for low, high in self.limits
        ):
            msg = f"limits {self.limits} of {self.nuisances} must contain 0, one pair for each"
            raise ParameterError(msg)

    @classmethod
    def of(
        cls,
        nuisances: Sequence[str],
        *,
        degree: int | Mapping[str, int] = 2,
        cross_terms: bool | Sequence[tuple[str, str]] = False,
        limit: float = 3.0,
        interpolation: Literal["polynomial", "code4"] = "polynomial",
        parameters: Mapping[str, tuple[float, float]] | None = None,
    ) -> ResponseTerms:
        """Create the terms for given nuisance parameters.

        Parameters
        ----------
        nuisances
            Names of the nuisance parameters.
        degree
            Highest power of the nuisance parameters: one number for all, or a dictionary with one
            number for each name.
        cross_terms
            Products of two nuisance parameters: True for all pairs, False for none, or a list of
            pairs of names.
        limit
            Each nuisance parameter is allowed between −limit and limit.
        interpolation
            See :class:`ResponseTerms`.
        parameters
            Range ``{name: (low, high)}`` of each parameter of interest on which the response
            depends.

        Raises
        ------
        ConfigurationError
            If a degree is not positive, the interpolation is unknown, or cross terms are requested
            for code 4.
        ParameterError
            If a name in `degree` or `cross_terms` is not in `nuisances`.
        """
        names = tuple(nuisances)
        box = np.array(list((parameters or {}).values()), dtype=np.float64).reshape(-1, 2)
        kind: str = interpolation
        common: dict[str, Any] = {
            "limits": ((-float(limit), float(limit)),) * len(names),
            "parameters": tuple(parameters or ()),
            "centre": box.mean(axis=1),
            "half": (box[:, 1] - box[:, 0]) / 2,
        }
        unit = np.eye(len(names), dtype=np.int64)
        if kind == "code4":
            if cross_terms:
                msg = (
                    "interpolation='code4' multiplies the effects of single nuisance parameters "
                    "and has no cross terms; use interpolation='polynomial'"
                )
                raise ConfigurationError(msg)
            both = np.concatenate([unit, unit])
            return cls(names, both, interpolation="code4", **common)
        if kind != "polynomial":
            msg = f"interpolation={interpolation!r} is neither 'polynomial' nor 'code4'; use one"
            raise ConfigurationError(msg)
        degrees = dict(degree) if isinstance(degree, Mapping) else dict.fromkeys(names, degree)
        _require_known(degrees, names)
        rows = []
        for k, name in enumerate(names):
            highest = degrees.get(name, 2)
            if highest != int(highest) or highest < 1:
                msg = f"the degree of {name} must be a whole number of at least 1, not {highest}"
                raise ConfigurationError(msg)
            rows += [unit[k] * power for power in range(1, int(highest) + 1)]
        pairs = combinations(names, 2) if cross_terms is True else (cross_terms or ())
        for a, b in pairs:
            _require_known([a, b], names)
            rows.append(unit[names.index(a)] + unit[names.index(b)])
        return cls(names, np.array(rows).reshape(-1, len(names)), **common)

    @property
    def n_terms(self) -> int:
        """Number of terms."""
        return len(self.exponents)

    @property
    def n_columns(self) -> int:
        """Number of values per event.

        Each term has one value, and one slope for each parameter of interest on which it
        depends.
        """
        return self.n_terms * (1 + len(self.parameters))

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each term."""
        if self.interpolation == "code4":
            return tuple(f"{n} {side}" for side in ("up", "down") for n in self.nuisances)
        return tuple(
            "*".join(
                n if power == 1 else f"{n}^{power}"
                for n, power in zip(self.nuisances, row, strict=True)
                if power
            )
            for row in self.exponents.tolist()
        )

    def array(self, nuisances: Mapping[str, float]) -> FloatArray:
        """Return the values of the nuisance parameters; missing values are zero.

        The shape is (n_nuisances,).

        Raises
        ------
        ParameterError
            If a name is not a nuisance parameter of these terms.
        """
        _require_known(nuisances, self.nuisances)
        return np.array([float(nuisances.get(n, 0.0)) for n in self.nuisances])

    @cached_property
    def factors(self) -> tuple[IntArray, IntArray]:
        """Indices and powers of the nuisance parameters in each term, shape (n_terms, n_factors).

        Terms with fewer factors are padded with powers of zero.
        """
        n_factors = int(np.count_nonzero(self.exponents, axis=1).max())
        places = np.argsort(self.exponents == 0, axis=1, kind="stable")[:, :n_factors]
        powers = np.take_along_axis(self.exponents, places, axis=1)
        return np.array(places, dtype=np.int64), np.array(powers, dtype=np.int64)

    def values(self, alpha: FloatArray) -> FloatArray:
        """Return the terms f_A(α) of the polynomial, shape (n_terms,)."""
        places, powers = self.factors
        terms: FloatArray = np.multiply.reduce(alpha[places] ** powers, axis=1)
        return terms

    def mixing(self, theta: FloatArray | None) -> FloatArray:
        """Return factors (1, u_1, …) of the columns of each term, with u = (θ − centre)/half."""
        if not self.parameters:
            return np.ones(1)
        if theta is None:
            msg = f"this response depends on {', '.join(self.parameters)}; give their values"
            raise ParameterError(msg)
        return np.concatenate([[1.0], (theta - self.centre) / self.half])

    def require_inside(self, alpha: FloatArray) -> None:
        """Raise an error if a nuisance parameter is outside its limits.

        Raises
        ------
        ParameterError
            If a nuisance parameter is outside; the message names it.
        """
        for name, value, (low, high) in zip(self.nuisances, alpha, self.limits, strict=True):
            if not low - 1e-9 <= value <= high + 1e-9:
                msg = (
                    f"{name} = {value:g} is outside [{low:g}, {high:g}], the limits of its "
                    "response; train the response with a larger limit="
                )
                raise ParameterError(msg)


def _require_known(given: Mapping[str, object] | Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in given if name not in names]
    if unknown:
        msg = (
            f"{unknown[0]!r} is not a nuisance parameter of this response; it has "
            f"{', '.join(names)}"
        )
        raise ParameterError(msg + did_you_mean(unknown[0], list(names)))


class ResponseTable(NamedTuple):
    """Coefficients of the response of many events.

    Parameters
    ----------
    terms
        Functions of the nuisance parameters that multiply the coefficients.
    columns
        Coefficients, shape (n_events, n_columns), float32.

    Examples
    --------
    >>> table = ResponseTable(ResponseTerms.of(["jes"]), np.float32([[0.1, 0.0], [0.2, 0.01]]))
    >>> table.log_response(np.array([2.0])).round(6)
    array([0.2 , 0.44])
    """

    terms: ResponseTerms
    columns: Float32Array

    def log_response(self, alpha: FloatArray, theta: FloatArray | None = None) -> FloatArray:
        """Return the logarithm of the response S of every event, shape (n_events,), float64."""
        from milinfer.likelihood.nuisance_kernels import add_log_response

        terms, row = self.terms, np.zeros(len(self.columns))
        # One row for each column.
        columns = np.require(self.columns.T, np.float32, ["C", "W"])
        code4 = terms.interpolation == "code4"
        add_log_response(columns, code4, *terms.factors, terms.mixing(theta), alpha, row)
        return row

    def take(self, index: IntArray | BoolArray | slice) -> ResponseTable:
        """Return the table of some of the events."""
        return ResponseTable(self.terms, self.columns[index])
