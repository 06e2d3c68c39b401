r"""Define the operators of the hWW vertex, and squared amplitudes as polynomials in them.

The vertex has three Lorentz structures, so that an amplitude is
:math:`a_0 S + a_1 T + a_2 \tilde T`, with the structure S of the standard model, the CP-even T and
the CP-odd T̃.  The coefficients of the operators, called like the operators, change the strengths a
(Λ = 1 TeV):

=========== ================================================ =======================
``c_HW``    H†H W W                                          a_1 = c_HW
``c_HWtil`` H†H W̃ W, with W̃ = ½ ε W, odd under CP            a_2 = c_HWtil
``c_Hbox``  (H†H) □ (H†H), which rescales the Higgs field    a_0 = 1 + c_Hbox v²/Λ²
=========== ================================================ =======================

The Higgs boson is a scalar, so that the squared amplitude is the product of two quadratic
polynomials in the coefficients, one from production and one from decay.  It has 5 coefficients for
one operator, 15 for two and 35 for three, in the order of
:class:`milinfer.utils.polynomials.PolynomialBasis`.

Shapes depend only on :math:`a_1/a_0` and :math:`a_2/a_0`.  ``c_Hbox`` is therefore an example of a
flat direction.  At the standard model the score of ``c_Hbox`` is 4 v²/Λ² for all events, so that
the shape does not constrain it.  If c_HW is not zero, a larger ``c_Hbox`` has the same effect on
shapes as a smaller c_HW.  The number of events depends on ``c_Hbox``, but at linear order this
single number only constrains one combination of ``c_Hbox`` and ``c_HW``.  To constrain ``c_Hbox``
and ``c_HW``, the shape and the number of events are both needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np

from milinfer.exceptions import ParameterError
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.polynomials import PolynomialBasis

__all__ = [
    "LAMBDA",
    "OPERATORS",
    "VEV",
    "check_operators",
    "check_point",
    "default_weights",
    "expand",
    "form_weights",
    "has_odd",
    "product_table",
    "quartic",
]

G_F = 1.166379e-5  # GeV^-2
VEV = (np.sqrt(2) * G_F) ** -0.5
LAMBDA = 1000.0
OPERATORS = ("c_HW", "c_HWtil", "c_Hbox")
"""Names of the operators, in the order of points and polynomials."""

LIMIT = 5.0
_DEFAULT = ("c_HW",)
# Structure that an operator adds to, and its strength for a coefficient of one.
_ENTERS = {"c_HW": (1, 1.0), "c_HWtil": (2, 1.0), "c_Hbox": (0, float(VEV**2 / LAMBDA**2))}
# |M|² = Σ a_i a_j F_ij: S S, S T, T T, and those with T̃.
_FORMS = ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))


def check_operators(operators: Sequence[str] | None) -> tuple[str, ...]:
    """Check names of operators and put them in order; None stands for c_HW.

    Raises
    ------
    ParameterError
        If there are no names, or if a name is unknown or repeated.

    Examples
    --------
    >>> check_operators(["c_Hbox", "c_HW"])
    ('c_HW', 'c_Hbox')
    """
    names = _DEFAULT if operators is None else tuple(operators)
    if not names or not set(names) <= set(OPERATORS) or len(set(names)) < len(names):
        msg = f"{list(names)} are not operators of this process; choose from {_listed(OPERATORS)}"
        raise ParameterError(msg)
    return tuple(name for name in OPERATORS if name in names)


def check_point(point: Point | None, operators: Sequence[str] = OPERATORS) -> dict[str, float]:
    """Check a point and put its operators in order; None stands for c_HW = 0.

    Parameters
    ----------
    point
        Values of operators by name.  Operators that are not given are zero, and the polynomials of
        the events do not contain them.
    operators
        Names that are allowed.

    Raises
    ------
    ParameterError
        If the point is empty, if it contains a parameter that is not in `operators`, or if a value
        is outside ±5.  The sampling has been tested within ±5.

    Examples
    --------
    >>> check_point(None)
    {'c_HW': 0.0}
    >>> check_point({"c_HWtil": -0.3, "c_HW": 0.5})
    {'c_HW': 0.5, 'c_HWtil': -0.3}
    """
    values = dict.fromkeys(_DEFAULT, 0.0) if point is None else dict(point)
    try:
        inside = all(abs(float(value)) <= LIMIT for value in values.values())
    except (OverflowError, TypeError, ValueError):
        inside = False
    if not values or not set(values) <= set(operators) or not inside:
        each = f"{operators[0]}" if len(operators) == 1 else f"some of {_listed(operators)}, each"
        msg = (
            f"{values} is not a point of this process; give {each} between {-LIMIT:g} and {LIMIT:g}"
        )
        raise ParameterError(msg)
    return {name: float(values[name]) for name in OPERATORS if name in values}


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def has_odd(operators: Sequence[str]) -> bool:
    """Tell whether one of the operators is odd under CP.

    Examples
    --------
    >>> has_odd(["c_HW", "c_Hbox"]), has_odd(["c_HWtil"])
    (False, True)
    """
    return any(_ENTERS[name][0] == 2 for name in operators)


def form_weights(point: Point, n_forms: int) -> FloatArray:
    """Compute the factors a_i a_j of the terms S S, S T, T T, S T̃, T T̃ and T̃ T̃ at a point.

    Parameters
    ----------
    point
        Values of operators by name.  Operators that are not given are zero.
    n_forms
        6 for all terms, or 3 for the terms without T̃.

    Examples
    --------
    >>> form_weights({"c_HW": 2.0, "c_HWtil": -1.0}, 6)
    array([ 1.,  2.,  4., -1., -2.,  1.])
    """
    strengths = [1.0, 0.0, 0.0]
    for name, value in point.items():
        structure, factor = _ENTERS[name]
        strengths[structure] += factor * float(value)
    return np.array([strengths[i] * strengths[j] for i, j in _FORMS[:n_forms]])


@lru_cache(maxsize=16)
def _expansion(operators: tuple[str, ...]) -> tuple[tuple[tuple[int, float], ...], ...]:
    """For each monomial of degree 2 or less: numbers of forms, and their factors."""
    n = len(operators)
    # Each strength is linear in the coefficients: exponents and factors.
    strengths: list[dict[tuple[int, ...], float]] = [{(0,) * n: 1.0}, {}, {}]
    for k, name in enumerate(operators):
        structure, factor = _ENTERS[name]
        strengths[structure][tuple(int(i == k) for i in range(n))] = factor
    monomials: dict[tuple[int, ...], dict[int, float]] = {
        tuple(e): {} for e in PolynomialBasis(operators, 2).exponents.tolist()
    }
    for form, (i, j) in enumerate(_FORMS):
        for (e, a), (g, b) in product(strengths[i].items(), strengths[j].items()):
            factors = monomials[tuple(x + y for x, y in zip(e, g, strict=True))]
            factors[form] = factors.get(form, 0.0) + a * b
    return tuple(tuple(factors.items()) for factors in monomials.values())


def expand(forms: Sequence[FloatArray], operators: tuple[str, ...]) -> list[FloatArray]:
    """Compute the squared amplitude, a quadratic polynomial, from products of the structures.

    Parameters
    ----------
    forms
        Arrays with ``|S|²``, ``2 Re S*T`` and ``|T|²``.  If one of the operators is odd under CP,
        also arrays with ``2 Re S*T̃``, ``2 Re T*T̃`` and ``|T̃|²``.  All have the same shape.
    operators
        Names of the operators, in order.

    Returns
    -------
    list of ndarray
        Coefficients of the polynomial: one array for each monomial of degree 2 or less, in order.

    Examples
    --------
    >>> import numpy as np
    >>> forms = [np.array([x]) for x in (1.0, 0.5, 2.0, -0.1, 0.3, 3.0)]
    >>> [float(x[0]) for x in expand(forms, ("c_HW", "c_HWtil"))]
    [1.0, -0.1, 0.5, 3.0, 0.3, 2.0]
    """
    out = []
    for factors in _expansion(operators):
        (first, factor), *others = factors or ((0, 0.0),)
        total = factor * forms[first]
        for form, other in others:
            total = total + other * forms[form]
        out.append(total)
    return out


@lru_cache(maxsize=16)
def product_table(n_operators: int) -> IntArray:
    """Find the positions of products of two monomials in a quartic polynomial.

    Both factors of a product are monomials of degree 2 or less.

    Returns
    -------
    ndarray
        Position of each product among the monomials of degree 4 or less, shape
        (n_quadratic, n_quadratic).

    Examples
    --------
    >>> product_table(1)
    array([[0, 1, 2],
           [1, 2, 3],
           [2, 3, 4]])
    """
    names = tuple(map(str, range(n_operators)))
    place = {tuple(e): k for k, e in enumerate(PolynomialBasis(names, 4).exponents.tolist())}
    exponents = PolynomialBasis(names, 2).exponents
    return np.array([[place[tuple((e + g).tolist())] for g in exponents] for e in exponents])


def quartic(produced: FloatArray, decayed: FloatArray) -> FloatArray:
    """Multiply the quadratic polynomials of production and decay.

    The coefficients of each of the two polynomials have the shape (n, n_quadratic).

    Returns
    -------
    ndarray
        Coefficients of the product, divided by the value of the product in the standard model,
        shape (n, n_quartic).

    Examples
    --------
    >>> import numpy as np
    >>> quartic(np.array([[2.0, 4.0, 2.0]]), np.array([[1.0, 1.0, 0.0]]))
    array([[1., 3., 3., 1., 0.]])
    """
    p, d = produced / produced[:, :1], decayed / decayed[:, :1]
    table = product_table(_n_operators(p.shape[1]))
    out = np.zeros((len(p), table.max() + 1))
    for i, j in np.ndindex(table.shape):
        out[:, table[i, j]] += p[:, i] * d[:, j]
    return out


def _n_operators(n_quadratic: int) -> int:
    """Number n of operators, from the number (n + 1)(n + 2)/2 of monomials of degree 2."""
    return (math.isqrt(8 * n_quadratic + 1) - 3) // 2


# The first k of them fix a polynomial of degree k − 1.
_NODES = (0.0, 1.0, -1.0, 0.5, -0.5)


def default_weights(operators: Sequence[str] = _DEFAULT) -> tuple[Point, ...]:
    """Return points whose weights determine the quartic polynomial of each event.

    There are 5, 15 or 35 points for 1, 2 or 3 operators.  The coordinates of the points are from
    the list 0, 1, −1, 0.5, −0.5.  For each point, the positions of its coordinates in this list
    (from 0 to 4) sum to at most 4.

    Examples
    --------
    >>> len(default_weights(["c_HW", "c_HWtil"])), default_weights()[0]
    (15, {'c_HW': -1.0})
    """
    names = check_operators(operators)
    places = product(range(len(_NODES)), repeat=len(names))
    lattice = sorted(
        tuple(_NODES[k] for k in place) for place in places if sum(place) < len(_NODES)
    )
    return tuple(dict(zip(names, values, strict=True)) for values in lattice)
