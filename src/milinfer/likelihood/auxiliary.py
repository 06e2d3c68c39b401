"""List, shift or remove the auxiliary measurements (global observables) of any iminuit cost.

An auxiliary measurement is an independent measurement of a nuisance parameter, which the cost
contains as a constraint.  The constraint is inside a
:class:`~milinfer.likelihood.systematics.SystematicCost` or a
:class:`~milinfer.binned.pyhf_cost.PyhfCost`, or it is a ``NormalConstraint`` of iminuit in a sum of
costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from iminuit import describe
from iminuit.cost import Cost, CostSum, NormalConstraint

from milinfer.exceptions import ParameterError
from milinfer.typing import FloatArray
from milinfer.utils.keywords import did_you_mean

__all__ = [
    "AuxiliaryMeasurements",
    "AuxiliaryMeasurement",
    "auxiliary_measurements",
    "measuring",
    "terms_of",
    "without_constraints",
]


class AuxiliaryMeasurement(NamedTuple):
    """Auxiliary measurement of a parameter, with a Gaussian error."""

    name: str
    measured: float
    error: float


@dataclass(frozen=True, eq=False)
class AuxiliaryMeasurements:
    """Auxiliary measurements that a cost contains, from :func:`auxiliary_measurements`.

    Parameters
    ----------
    constraints
        Measurement of each constrained parameter.
    correlation
        Correlation of the measurements, shape (n, n).
    """

    constraints: tuple[AuxiliaryMeasurement, ...]
    correlation: FloatArray

    def __post_init__(self) -> None:
        names = [c.name for c in self.constraints]
        for name in names:
            if names.count(name) > 1:
                msg = (
                    f"two terms of the cost measure {name}; join them into one NormalConstraint "
                    "with the weighted mean of both"
                )
                raise ParameterError(msg)

    @property
    def by_name(self) -> dict[str, AuxiliaryMeasurement]:
        """Mapping from the name of each constrained parameter to its auxiliary measurement."""
        return {c.name: c for c in self.constraints}


def terms_of(cost: Cost) -> list[Cost]:
    """Return a list of the terms of a sum of costs.

    If the cost is not a sum, the list contains only the cost itself.

    Examples
    --------
    >>> a, b = NormalConstraint("mu", 0.0, 1.0), NormalConstraint("nu", 0.0, 1.0)
    >>> len(terms_of(a)), len(terms_of(a + b))
    (1, 2)
    """
    return list(cost) if isinstance(cost, CostSum) else [cost]


def auxiliary_measurements(cost: Cost, interest: Sequence[str] = ()) -> AuxiliaryMeasurements:
    """List the auxiliary measurements that a cost or a sum of costs contains.

    Parameters
    ----------
    cost
        Any iminuit cost or sum of costs.  A ``NormalConstraint`` measures all of its parameters;
        other costs list their measurements in the attribute ``constraints``.
    interest
        Names of the parameters of interest.  A ``NormalConstraint`` of a parameter of interest is
        not listed.  It counts as data, because it is an independent measurement of this parameter.

    Raises
    ------
    ParameterError
        If two terms measure the same parameter, or a ``NormalConstraint`` has a parameter that is a
        vector.

    Examples
    --------
    >>> both = NormalConstraint(["a", "b"], [0.0, 1.0], [[1.0, 0.3], [0.3, 4.0]])
    >>> measured = auxiliary_measurements(both + NormalConstraint("lumi", 1.0, 0.02))
    >>> [c.name for c in measured.constraints], measured.by_name["b"].error
    (['a', 'b', 'lumi'], 2.0)
    >>> measured.correlation[0].tolist()
    [1.0, 0.15, 0.0]
    """
    constraints: list[AuxiliaryMeasurement] = []
    blocks: list[FloatArray] = []
    for term in terms_of(cost):
        if _is_data(term, interest):
            continue
        if isinstance(term, NormalConstraint):
            of_term, correlation = _of_normal(term)
        else:
            of_term = _of_likelihood(term)
            correlation = np.eye(len(of_term))
        constraints += of_term
        blocks.append(correlation)
    whole = np.eye(len(constraints))
    start = 0
    for block in blocks:
        stop = start + len(block)
        whole[start:stop, start:stop] = block
        start = stop
    return AuxiliaryMeasurements(tuple(constraints), whole)


def _is_data(term: Cost, interest: Sequence[str]) -> bool:
    """Return whether a term is the result of a measurement of parameters of interest."""
    return isinstance(term, NormalConstraint) and bool(set(describe(term)) & set(interest))


def _of_likelihood(term: Cost) -> list[AuxiliaryMeasurement]:
    """Return the constraints that a likelihood lists."""
    found = getattr(term, "constraints", ())
    # Costs of other classes may use this name for something else.
    if isinstance(found, tuple) and all(isinstance(c, AuxiliaryMeasurement) for c in found):
        return list(found)
    return []


def _of_normal(term: NormalConstraint) -> tuple[list[AuxiliaryMeasurement], FloatArray]:
    """Return the measurements of a constraint of iminuit, and their correlation."""
    names = _scalars(term)
    covariance = np.asarray(term.covariance, dtype=np.float64)
    covariance = np.diag(covariance) if covariance.ndim < 2 else covariance
    errors = np.sqrt(np.diag(covariance))
    each = zip(names, np.asarray(term.value).tolist(), errors.tolist(), strict=True)
    return [AuxiliaryMeasurement(*c) for c in each], covariance / np.outer(errors, errors)


def _scalars(term: NormalConstraint) -> list[str]:
    names = list(describe(term))
    if len(names) != len(term.value):
        msg = (
            f"the NormalConstraint of {', '.join(names)} is a vector of {len(term.value)} numbers; "
            "give each number its own parameter name"
        )
        raise ParameterError(msg)
    return names


def measuring(cost: Cost, measured: Mapping[str, float], interest: Sequence[str] = ()) -> Cost:
    """Return the same cost with new results of its auxiliary measurements.

    Parameters
    ----------
    cost, interest
        As for :func:`auxiliary_measurements`.
    measured
        New results, by the name of the parameter.  The measurements of parameters that are not
        named here do not change.

    Raises
    ------
    ParameterError
        If the cost has no auxiliary measurement of a parameter in `measured`.

    Examples
    --------
    >>> shifted = measuring(NormalConstraint("mu", 0.0, 0.5), {"mu": 1.0})
    >>> float(shifted(1.0))
    0.0
    """
    known = list(auxiliary_measurements(cost, interest).by_name)
    for name in measured:
        if name not in known:
            msg = f"the cost has no auxiliary measurement of {name}; it has {', '.join(known)}"
            raise ParameterError(msg + did_you_mean(name, known))
    return _rebuilt(
        [t if _is_data(t, interest) else _term_measuring(t, measured) for t in terms_of(cost)]
    )


def without_constraints(cost: Cost, interest: Sequence[str] = ()) -> Cost | None:
    """Return the cost without its constraints, or None if it consists of constraints only.

    Parameters
    ----------
    cost, interest
        As for :func:`auxiliary_measurements`.

    Examples
    --------
    >>> without_constraints(NormalConstraint("mu", 0.0, 0.5)) is None
    True
    """
    kept = []
    for term in terms_of(cost):
        if isinstance(term, NormalConstraint) and not _is_data(term, interest):
            continue
        names = [c.name for c in _of_likelihood(term)]
        kept.append(_likelihood(term).without_constraints(names) if names else term)
    return _rebuilt(kept) if kept else None


def _term_measuring(term: Cost, measured: Mapping[str, float]) -> Cost:
    if isinstance(term, NormalConstraint):
        names = _scalars(term)
        values = [float(measured.get(n, v)) for n, v in zip(names, term.value, strict=True)]
        # The constructor takes errors, the attribute contains variances.
        spread = term.covariance if term.covariance.ndim > 1 else np.sqrt(term.covariance)
        return NormalConstraint(names, values, spread)
    own = {c.name: float(measured[c.name]) for c in _of_likelihood(term) if c.name in measured}
    return _likelihood(term).measuring(**own) if own else term


def _likelihood(term: Any) -> Any:
    """Return a cost that lists constraints; its class also has methods that change them."""
    return term


def _rebuilt(terms: Sequence[Cost]) -> Cost:
    return terms[0] if len(terms) == 1 else CostSum(*terms)
