"""Compiled sums (numba) of the likelihood with nuisance parameters: cost, yields and responses.

The value and the gradient of a cost are sums over events and processes.  The loops are written so
that compilers can process several events with one instruction.  All sums are float64 and on one
thread.

Toys use the same functions (:mod:`milinfer.likelihood.nuisance_profiles`).  If you change one of
them, remove ``__pycache__``, because the cache of numba checks only the file of the caller.

Importing this module imports numba.
"""

from __future__ import annotations

from math import factorial
from typing import NamedTuple

import numpy as np
from numba import njit

from milinfer.likelihood.code4 import CODE4_COEFFICIENTS
from milinfer.typing import BoolArray, Float32Array, FloatArray, IntArray

__all__ = [
    "Densities",
    "EventArrays",
    "ResponseProblem",
    "YieldProblem",
    "add_columns",
    "add_log_response",
    "add_one",
    "add_uncertainties",
    "code4_weights",
    "densities",
    "density_slopes",
    "dot",
    "exponential",
    "log_code4",
    "log_factors",
    "log_product",
    "log_yield",
    "log_yield_expansion",
    "sum_of",
    "to_shares",
]

# Sums may be reordered, so that several events are added at once.
_SUMS = {"reassoc", "contract", "nsz"}
# Number of events of a row that stay in the nearest cache while columns are added to them.
_BLOCK = 1024
# Number of values, each between one and the number of processes, whose product fits into a float.
_TOGETHER = 16


class YieldProblem(NamedTuple):
    """Expected events of S processes as functions of θ and of K nuisance parameters α, as arrays.

    Parameters
    ----------
    counts
        Number of nuisance parameters in the response of each process, shape (S,).
    places
        Indices of these nuisance parameters, shape (S, most), where ``most`` is the largest of
        `counts`; only the first ``counts[s]`` of a row are used.
    limits
        Largest absolute value of each α, which is its unit, shape (S, most).
    singles
        Splines of ln κ (κ is the expected number of events divided by its nominal value), shape (S,
        most, n_cells, 4, M) with M monomials of θ.
    pairs
        Matrices of ln κ for pairs of nuisance parameters, shape (S, M, 2 most, 2 most).
    exponents
        Powers of θ in the monomials, shape (S, M, n_parameters).
    norm_index
        Index of the nuisance parameter of each normalisation uncertainty, shape (U,).
    norm_up, norm_down
        Logarithms of the factors on each process if the nuisance parameter of each uncertainty is
        +1 or −1, shape (U, S).
    """

    counts: IntArray
    places: IntArray
    limits: FloatArray
    singles: FloatArray
    pairs: FloatArray
    exponents: IntArray
    norm_index: IntArray
    norm_up: FloatArray
    norm_down: FloatArray


class EventArrays(NamedTuple):
    """Events of a dataset as arrays.

    Parameters
    ----------
    columns
        Columns of the responses; each column is stored as a row, shape (n_columns, n_events).
    log_reference
        Logarithm of the total density at the reference, shape (n_events,).
    log_backgrounds
        Logarithm of the density of each background divided by the total density, shape (S − 1,
        n_events).
    weights
        Weights of the events, shape (n_events,).
    """

    columns: Float32Array
    log_reference: FloatArray
    log_backgrounds: FloatArray
    weights: FloatArray


class ResponseProblem(NamedTuple):
    """Responses of S processes to nuisance parameters: which columns multiply which powers.

    Parameters
    ----------
    starts, term_starts
        Process s has the columns from ``starts[s]`` to ``starts[s + 1]``, and the terms from
        ``term_starts[s]`` to ``term_starts[s + 1]``.  If its response depends on parameters of
        interest, each term has an additional column for each of these parameters.
    code4
        Whether columns are ln S at +1 and at −1, between which code 4 interpolates, shape (S,).
    places, powers
        Indices of the nuisance parameters in each term of a polynomial, and their powers, shape
        (n_terms, n_factors).
    counts
        Number of parameters of interest on which each response depends, shape (S,).
    own, centre, half
        Indices of these parameters of interest, and centre and half width of their ranges, shape
        (S, most); only the first ``counts[s]`` of a row are used.
    """

    starts: IntArray
    term_starts: IntArray
    code4: BoolArray
    places: IntArray
    powers: IntArray
    counts: IntArray
    own: IntArray
    centre: FloatArray
    half: FloatArray


class Densities(NamedTuple):
    """Densities of the processes at all events, expected events, and their derivatives.

    Parameters
    ----------
    log_density
        Weighted sum over events of the logarithm of the total density.
    ratios
        Density of each process, with a factor of one, divided by the total density, shape (S,
        n_events).
    at_one
        Expected events of each process, with a factor of one, shape (S,).
    norm_slopes
        Derivatives of the logarithms of normalisations with respect to α, shape (S, K).
    of_nuisances, of_parameters
        Derivatives of the total number of expected events with respect to α and θ, at fixed
        factors.
    highest, total
        For each event, the logarithm of the density of the process with the largest density, and
        the total density divided by this density, shape (n_events,).
    """

    log_density: float
    ratios: FloatArray
    at_one: FloatArray
    norm_slopes: FloatArray
    of_nuisances: FloatArray
    of_parameters: FloatArray
    highest: FloatArray
    total: FloatArray


def densities(
    yields: YieldProblem,
    responses: ResponseProblem,
    events: EventArrays,
    signal: FloatArray,
    factors: FloatArray,
    base: FloatArray,
    theta: FloatArray,
    alpha: FloatArray,
) -> Densities:
    """Compute the densities of the processes at the events of a dataset, and the expected events.

    Parameters
    ----------
    yields, responses, events
        Processes and dataset.
    signal
        Λ of each event, shape (n_events,).
    factors
        Factors of the processes: ν_s(θ) of the signal and the normalisations, shape (S,).
    base
        Expected events with a factor of one and without nuisance parameters, shape (S,).
    theta, alpha
        Values of the parameters of interest and of the nuisance parameters.
    """
    return Densities(
        *_densities(
            yields, responses, events, CODE4_COEFFICIENTS, signal, factors, base, theta, alpha
        )
    )


def density_slopes(
    responses: ResponseProblem,
    events: EventArrays,
    at: Densities,
    factors: FloatArray,
    signal_slopes: FloatArray,
    theta: FloatArray,
    alpha: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the derivatives of the sum of log densities with respect to θ, the factors and α.

    Parameters
    ----------
    responses, events, factors, theta, alpha
        As for :func:`densities`.
    at
        Result of :func:`densities`.
    signal_slopes
        Derivatives of Λ of each event, shape (n_parameters, n_events).
    """
    result: tuple[FloatArray, FloatArray, FloatArray] = _density_slopes(
        responses,
        events,
        CODE4_COEFFICIENTS,
        at.ratios,
        at.norm_slopes,
        factors,
        signal_slopes,
        theta,
        alpha,
    )
    return result


def log_factors(problem: YieldProblem, theta: FloatArray, alpha: FloatArray) -> FloatArray:
    """Return the logarithms of the factors by which nuisance parameters change S yields.

    The shape is (S,).

    Parameters
    ----------
    problem
        The S processes.
    theta, alpha
        Values of the parameters of interest and of the nuisance parameters.
    """
    factors: FloatArray = _expected_yields(problem, CODE4_COEFFICIENTS, theta, alpha)[2]
    return factors


def log_yield(
    singles: FloatArray,
    pairs: FloatArray,
    limits: FloatArray,
    exponents: IntArray,
    alpha: FloatArray,
    theta: FloatArray,
) -> tuple[float, FloatArray, FloatArray]:
    """Return ln κ of one process, and its derivatives with respect to α and θ.

    κ is the expected number of events divided by its nominal value.

    Parameters
    ----------
    singles, pairs, limits, exponents
        As in :class:`YieldProblem`, for one process.
    alpha, theta
        Values of the nuisance parameters and of the parameters of interest.
    """
    result: tuple[float, FloatArray, FloatArray] = _one_log_yield(
        np.require(singles, np.float64, ["C", "W"]),
        np.require(pairs, np.float64, ["C", "W"]),
        np.require(limits, np.float64, ["C", "W"]),
        np.require(exponents, np.int64, ["C", "W"]),
        np.require(alpha, np.float64, ["C", "W"]),
        np.require(theta, np.float64, ["C", "W"]),
    )
    return result


def add_log_response(
    columns: Float32Array,
    code4: bool,
    places: IntArray,
    powers: IntArray,
    mixing: FloatArray,
    alpha: FloatArray,
    row: FloatArray,
) -> None:
    """Add the logarithm of the response of every event to a row of numbers.

    Parameters
    ----------
    columns
        Columns of the responses; each column is stored as a row, shape (n_columns, n_events).
    code4
        Whether the columns are ln S at +1 and at −1, between which code 4 interpolates.
    places, powers
        Indices of the nuisance parameters in each term of a polynomial, and their powers, shape
        (n_terms, n_factors).
    mixing
        Factors of the columns of each term: 1, and the parameters of interest.
    alpha
        Values of the nuisance parameters, shape (n_nuisances,).
    row
        Numbers to which the logarithms are added, shape (n_events,).
    """
    _add_log_response(columns, code4, places, powers, CODE4_COEFFICIENTS, mixing, alpha, row)


def exponential(x: FloatArray) -> FloatArray:
    """Return the exponential function as these loops compute it, for several events at once.

    This is not the exponential function of the system, which takes one number at a time.

    Parameters
    ----------
    x
        Exponents; values below −708 and above 709 are replaced by these limits.

    Examples
    --------
    >>> exponential(np.array([0.0, 1.0])).round(6)
    array([1.      , 2.718282])
    """
    out: FloatArray = _exponentials(np.require(x, np.float64, ["C", "W"]))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def add_uncertainties(  # type: ignore[no-untyped-def]
    problem, to_coefficients, x, log_norm, slope, bend
):
    """Add the effects of normalisation uncertainties, with first and second derivatives."""
    weights = np.empty((3, 6))
    for u in range(len(problem.norm_index)):
        k = problem.norm_index[u]
        code4_weights(x[k], to_coefficients, weights)
        for s in range(len(log_norm)):
            up, down = problem.norm_up[u, s], problem.norm_down[u, s]
            if up == 0.0 and down == 0.0:
                continue
            value, first, second = log_code4(x[k], up, down, weights)
            log_norm[s] += value
            slope[s, k] += first
            bend[s, k] += second


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def dot(a, b, n):  # type: ignore[no-untyped-def]
    """Return the sum of the products of the first n numbers of two arrays."""
    total = 0.0
    for i in range(n):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def log_yield_expansion(  # type: ignore[no-untyped-def]
    singles, pairs, limits, places, n, x, monomials, of_monomial, slope, second
):
    """Compute ln κ of one process, and overwrite the given arrays with its derivatives.

    κ is the expected number of events divided by its nominal value.

    `of_monomial` gets the coefficient of each monomial of θ; `slope` and `second` get the first and
    second derivatives of ln κ with respect to the nuisance parameters.  If `second` is empty, the
    second derivatives are not computed.
    """
    n_cells, bends = singles.shape[1], len(second) > 0
    vector = np.empty(2 * n)
    for m in range(len(monomials)):
        of_monomial[m] = 0.0
    for j in range(n):
        unit = x[places[j]] / limits[j]
        vector[j], vector[n + j] = unit, unit * unit
        place = (unit + 1) * (n_cells / 2)
        cell = min(max(int(place), 0), n_cells - 1)
        t = (place - cell) * (2 / n_cells)
        first, bend = 0.0, 0.0
        for m in range(len(monomials)):
            c3, c2 = singles[j, cell, 0, m], singles[j, cell, 1, m]
            c1, c0 = singles[j, cell, 2, m], singles[j, cell, 3, m]
            of_monomial[m] += ((c3 * t + c2) * t + c1) * t + c0
            first += monomials[m] * ((3 * c3 * t + 2 * c2) * t + c1)
            bend += monomials[m] * (6 * c3 * t + 2 * c2)
        slope[j] = first
        if bends:
            for k in range(n):
                second[j, k] = 0.0
            second[j, j] = bend
    if n > 1:
        for m in range(len(monomials)):
            factor = monomials[m]
            for j in range(2 * n):
                product = dot(pairs[m, j], vector, 2 * n)
                of_monomial[m] += product * vector[j]
                if j < n:
                    slope[j] += 2 * factor * product
                else:
                    slope[j - n] += 4 * factor * vector[j - n] * product
                    if bends:
                        second[j - n, j - n] += 4 * factor * product
            if bends:
                for j in range(n):
                    for k in range(n):
                        second[j, k] += (2 * factor) * (
                            pairs[m, j, k]
                            + 2 * vector[j] * pairs[m, n + j, k]
                            + 2 * vector[k] * pairs[m, j, n + k]
                            + 4 * vector[j] * vector[k] * pairs[m, n + j, n + k]
                        )
    for j in range(n):
        slope[j] /= limits[j]
        if bends:
            for k in range(n):
                second[j, k] /= limits[j] * limits[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _monomials(exponents, theta, values, slopes):  # type: ignore[no-untyped-def]
    """Overwrite two arrays with the monomials of θ and their derivatives."""
    n_parameters = len(theta)
    for m in range(len(exponents)):
        values[m] = 1.0
        for p in range(n_parameters):
            values[m] *= theta[p] ** exponents[m, p]
            slope = 0.0
            if exponents[m, p]:
                slope = exponents[m, p] * theta[p] ** (exponents[m, p] - 1)
                for q in range(n_parameters):
                    if q != p:
                        slope *= theta[q] ** exponents[m, q]
            slopes[m, p] = slope


@njit(cache=True, nogil=True, error_model="numpy")
def _one_log_yield(singles, pairs, limits, exponents, alpha, theta):  # type: ignore[no-untyped-def]
    n_monomials, n = len(exponents), len(alpha)
    monomials, slopes = np.empty(n_monomials), np.empty((n_monomials, len(theta)))
    _monomials(exponents, theta, monomials, slopes)
    of_monomial, by_alpha, none = np.empty(n_monomials), np.empty(n), np.empty((0, 0))
    places = np.arange(n)
    log_yield_expansion(
        singles, pairs, limits, places, n, alpha, monomials, of_monomial, by_alpha, none
    )
    value, by_theta = 0.0, np.zeros(len(theta))
    for m in range(n_monomials):
        value += of_monomial[m] * monomials[m]
        for p in range(len(theta)):
            by_theta[p] += of_monomial[m] * slopes[m, p]
    return value, by_alpha, by_theta


@njit(cache=True, nogil=True, error_model="numpy")
def _expected_yields(problem, to_coefficients, theta, alpha):  # type: ignore[no-untyped-def]
    n_processes, n_nuisances, n_parameters = len(problem.counts), len(alpha), len(theta)
    n_monomials, most = problem.exponents.shape[1], problem.places.shape[1]
    log_norm = np.zeros(n_processes)
    norm_slopes, bend = np.zeros((n_processes, n_nuisances)), np.empty((n_processes, n_nuisances))
    add_uncertainties(problem, to_coefficients, alpha, log_norm, norm_slopes, bend)
    log_rate, by_alpha = log_norm.copy(), norm_slopes.copy()
    by_theta = np.zeros((n_processes, n_parameters))
    monomials, slopes = np.empty(n_monomials), np.empty((n_monomials, n_parameters))
    of_monomial, slope, none = np.empty(n_monomials), np.empty(most), np.empty((0, 0))
    for s in range(n_processes):
        count, places = problem.counts[s], problem.places[s]
        if not count:
            continue
        _monomials(problem.exponents[s], theta, monomials, slopes)
        log_yield_expansion(
            problem.singles[s],
            problem.pairs[s],
            problem.limits[s],
            places,
            count,
            alpha,
            monomials,
            of_monomial,
            slope,
            none,
        )
        for j in range(count):
            by_alpha[s, places[j]] += slope[j]
        for m in range(n_monomials):
            log_rate[s] += of_monomial[m] * monomials[m]
            for p in range(n_parameters):
                by_theta[s, p] += of_monomial[m] * slopes[m, p]
    return log_norm, norm_slopes, log_rate, by_alpha, by_theta


@njit(cache=True, nogil=True, error_model="numpy")
def code4_weights(alpha, to_coefficients, weights):  # type: ignore[no-untyped-def]
    """Compute the factors on the six conditions at ±1 that give the polynomial in [−1, 1].

    Also compute the factors that give its first and second derivative.
    """
    for condition in range(6):
        for order in range(3):
            weights[order, condition] = 0.0
    if abs(alpha) >= 1:
        return
    for condition in range(6):
        value, first, second = 0.0, 0.0, 0.0
        for i in range(5, -1, -1):
            second = second * alpha + 2 * first
            first = first * alpha + value
            value = value * alpha + to_coefficients[i, condition]
        # The polynomial has no constant term: it is α times this polynomial.
        weights[0, condition] = alpha * value
        weights[1, condition] = value + alpha * first
        weights[2, condition] = 2 * first + alpha * second


@njit(cache=True, nogil=True, error_model="numpy")
def log_code4(alpha, up, down, weights):  # type: ignore[no-untyped-def]
    """Return the logarithm of interpolation code 4, with first and second derivative."""
    if alpha >= 1:
        return alpha * up, up, 0.0
    if alpha <= -1:
        return -alpha * down, -down, 0.0
    high, low = np.exp(up), np.exp(down)
    value = 1 + _code4_sum(weights[0], up, down, high, low)
    first = _code4_sum(weights[1], up, down, high, low) / value
    second = _code4_sum(weights[2], up, down, high, low) / value
    return np.log(value), first, second - first**2


@njit(cache=True, nogil=True, error_model="numpy")
def _code4_sum(weights, up, down, high, low):  # type: ignore[no-untyped-def]
    # In the order of the conditions: value, slope and curvature, at +1 and −1 each.
    of_up = weights[0] * (high - 1) + weights[2] * high * up + weights[4] * high * up**2
    of_down = weights[1] * (low - 1) - weights[3] * low * down + weights[5] * low * down**2
    return of_up + of_down


@njit(cache=True, nogil=True, error_model="numpy")
def _code4_by_sides(alpha, up, down, weights, value):  # type: ignore[no-untyped-def]
    """Return the derivatives of the logarithm of code 4 by `up` and `down`, given its value."""
    if alpha >= 1:
        return alpha, 0.0
    if alpha <= -1:
        return 0.0, -alpha
    w = weights[0]
    of_up = w[0] + w[2] * (up + 1) + w[4] * (up**2 + 2 * up)
    of_down = w[1] - w[3] * (down + 1) + w[5] * (down**2 + 2 * down)
    return of_up * np.exp(up - value), of_down * np.exp(down - value)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_code4(columns, places, to_coefficients, mixing, alpha, row):  # type: ignore[no-untyped-def]
    n_terms = len(places)
    n = n_terms // 2
    weights = np.empty((3, 6))
    for k in range(n):
        a = alpha[places[k, 0]]
        code4_weights(a, to_coefficients, weights)
        for i in range(len(row)):
            up, down = 0.0, 0.0
            for j in range(len(mixing)):
                up += mixing[j] * columns[j * n_terms + k, i]
                down += mixing[j] * columns[j * n_terms + n + k, i]
            row[i] += log_code4(a, up, down, weights)[0]


@njit(cache=True, nogil=True, error_model="numpy")
def _code4_slopes(  # type: ignore[no-untyped-def]
    columns, places, to_coefficients, mixing, alpha, shares, by_alpha, by_mixing
):
    n_terms = len(places)
    n = n_terms // 2
    weights = np.empty((3, 6))
    for k in range(n):
        a = alpha[places[k, 0]]
        code4_weights(a, to_coefficients, weights)
        for i in range(len(shares)):
            up, down = 0.0, 0.0
            for j in range(len(mixing)):
                up += mixing[j] * columns[j * n_terms + k, i]
                down += mixing[j] * columns[j * n_terms + n + k, i]
            value, slope, _ = log_code4(a, up, down, weights)
            by_alpha[places[k, 0]] += shares[i] * slope
            of_up, of_down = _code4_by_sides(a, up, down, weights, value)
            for j in range(len(mixing)):
                of_column = of_up * columns[j * n_terms + k, i]
                of_column += of_down * columns[j * n_terms + n + k, i]
                by_mixing[j] += shares[i] * of_column


@njit(cache=True, nogil=True, error_model="numpy")
def _add_terms(columns, places, powers, mixing, alpha, row):  # type: ignore[no-untyped-def]
    n_terms, n_factors = places.shape
    factors = np.empty(len(columns))
    for t in range(n_terms):
        term = 1.0
        for f in range(n_factors):
            term *= alpha[places[t, f]] ** powers[t, f]
        for j in range(len(mixing)):
            factors[j * n_terms + t] = mixing[j] * term
    add_columns(columns, factors, row)


@njit(cache=True, nogil=True, error_model="numpy")
def add_columns(columns, factors, row):  # type: ignore[no-untyped-def]
    """Add several columns, each multiplied by its factor, to a row."""
    n_columns, n = columns.shape
    for start in range(0, n, _BLOCK):
        part = row[start : start + _BLOCK]
        c = 0
        while c + 4 <= n_columns:
            _add_four(
                columns[c][start : start + _BLOCK],
                columns[c + 1][start : start + _BLOCK],
                columns[c + 2][start : start + _BLOCK],
                columns[c + 3][start : start + _BLOCK],
                (factors[c], factors[c + 1], factors[c + 2], factors[c + 3]),
                part,
            )
            c += 4
        while c < n_columns:
            add_one(columns[c][start : start + _BLOCK], factors[c], part)
            c += 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _add_four(one, two, three, four, factors, row):  # type: ignore[no-untyped-def]
    # The row is read and written once for four columns.
    f1, f2, f3, f4 = factors
    for i in range(len(row)):
        row[i] += (f1 * one[i] + f2 * two[i]) + (f3 * three[i] + f4 * four[i])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def add_one(column, factor, row):  # type: ignore[no-untyped-def]
    """Add one column, multiplied by its factor, to a row."""
    for i in range(len(row)):
        row[i] += factor * column[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _term_slopes(  # type: ignore[no-untyped-def]
    columns, places, powers, mixing, alpha, shares, by_alpha, by_mixing
):
    n_terms, n_factors = places.shape
    n_columns, n = len(columns), len(shares)
    totals = np.empty(n_columns)
    for c in range(n_columns):
        totals[c] = dot(columns[c], shares, n)
    for t in range(n_terms):
        total, term = 0.0, 1.0
        for j in range(len(mixing)):
            total += mixing[j] * totals[j * n_terms + t]
        for f in range(n_factors):
            k, power = places[t, f], powers[t, f]
            term *= alpha[k] ** power
            if power:
                slope = power * alpha[k] ** (power - 1)
                for other in range(n_factors):
                    if other != f:
                        slope *= alpha[places[t, other]] ** powers[t, other]
                by_alpha[k] += total * slope
        for j in range(len(mixing)):
            by_mixing[j] += totals[j * n_terms + t] * term


@njit(cache=True, nogil=True, error_model="numpy")
def _mixing(responses, s, theta):  # type: ignore[no-untyped-def]
    """Return factors of the columns of each term: 1, and scaled parameters of interest."""
    count = responses.counts[s]
    mixing = np.ones(1 + count)
    for j in range(count):
        centre, half = responses.centre[s, j], responses.half[s, j]
        mixing[1 + j] = (theta[responses.own[s, j]] - centre) / half
    return mixing


@njit(cache=True, nogil=True, error_model="numpy")
def _densities(  # type: ignore[no-untyped-def]
    yields, responses, events, to_coefficients, signal, factors, base, theta, alpha
):
    n_processes, n = len(factors), len(signal)
    log_norm, norm_slopes, log_rate, by_alpha, by_theta = _expected_yields(
        yields, to_coefficients, theta, alpha
    )
    at_one = np.empty(n_processes)
    of_nuisances, of_parameters = np.zeros(len(alpha)), np.zeros(len(theta))
    for s in range(n_processes):
        at_one[s] = base[s] * np.exp(log_rate[s])
        expected = factors[s] * at_one[s]
        for k in range(len(alpha)):
            of_nuisances[k] += expected * by_alpha[s, k]
        for p in range(len(theta)):
            of_parameters[p] += expected * by_theta[s, p]
    rows = np.empty((n_processes, n))
    for s in range(n_processes):
        row, norm = rows[s], log_norm[s]
        if s:
            background = events.log_backgrounds[s - 1]
            for i in range(n):
                row[i] = background[i] + norm
        else:
            reference = events.log_reference
            for i in range(n):
                row[i] = signal[i] - reference[i] + norm
        start, stop = responses.starts[s], responses.starts[s + 1]
        if start < stop:
            _add_log_response(
                events.columns[start:stop],
                responses.code4[s],
                responses.places[responses.term_starts[s] : responses.term_starts[s + 1]],
                responses.powers[responses.term_starts[s] : responses.term_starts[s + 1]],
                to_coefficients,
                _mixing(responses, s, theta),
                alpha,
                row,
            )
    highest, total = np.empty(n), np.empty(n)
    to_shares(rows, factors, highest, total)
    alike = True
    for i in range(n):
        alike = alike and events.weights[i] == 1
    if alike:
        log_density = sum_of(highest, n) + log_product(total)
    else:
        log_density = 0.0
        for i in range(n):
            log_density += events.weights[i] * (highest[i] + np.log(total[i]))
    return log_density, rows, at_one, norm_slopes, of_nuisances, of_parameters, highest, total


@njit(cache=True, nogil=True, error_model="numpy")
def _density_slopes(  # type: ignore[no-untyped-def]
    responses,
    events,
    to_coefficients,
    ratios,
    norm_slopes,
    factors,
    signal_slopes,
    theta,
    alpha,
):
    n_processes, n = ratios.shape
    by_theta, by_factors = np.zeros(len(theta)), np.empty(n_processes)
    by_alpha = np.zeros(len(alpha))
    shares = np.empty(n)
    weights = events.weights
    for s in range(n_processes):
        row, factor = ratios[s], factors[s]
        by_factors[s] = dot(row, weights, n)
        for k in range(len(alpha)):
            by_alpha[k] += factor * by_factors[s] * norm_slopes[s, k]
        for i in range(n):
            shares[i] = factor * (row[i] * weights[i])
        if s == 0:
            for p in range(len(theta)):
                by_theta[p] += dot(signal_slopes[p], shares, n)
        start, stop = responses.starts[s], responses.starts[s + 1]
        if start == stop:
            continue
        columns = events.columns[start:stop]
        places = responses.places[responses.term_starts[s] : responses.term_starts[s + 1]]
        powers = responses.powers[responses.term_starts[s] : responses.term_starts[s + 1]]
        mixing = _mixing(responses, s, theta)
        by_mixing = np.zeros(len(mixing))
        if responses.code4[s]:
            _code4_slopes(
                columns, places, to_coefficients, mixing, alpha, shares, by_alpha, by_mixing
            )
        else:
            _term_slopes(columns, places, powers, mixing, alpha, shares, by_alpha, by_mixing)
        for j in range(len(mixing) - 1):
            by_theta[responses.own[s, j]] += by_mixing[1 + j] / responses.half[s, j]
    return by_theta, by_factors, by_alpha


@njit(cache=True, nogil=True, error_model="numpy")
def _add_log_response(  # type: ignore[no-untyped-def]
    columns, code4, places, powers, to_coefficients, mixing, alpha, row
):
    if code4:
        _add_code4(columns, places, to_coefficients, mixing, alpha, row)
    else:
        _add_terms(columns, places, powers, mixing, alpha, row)


@njit(cache=True, nogil=True, error_model="numpy")
def to_shares(rows, factors, highest, total):  # type: ignore[no-untyped-def]
    """Replace logarithms of densities by the density of each process divided by the total density.

    The factors of the processes enter only the total density, which is e^highest · total.
    """
    n_processes, n = rows.shape
    if n_processes == 2 and factors[0] != 0 and factors[1] != 0:
        _to_two_shares(rows[0], rows[1], factors[0], factors[1], highest, total)
        return
    for i in range(n):
        highest[i], total[i] = -np.inf, 0.0
    for s in range(n_processes):
        if factors[s] != 0:
            row = rows[s]
            for i in range(n):
                highest[i] = row[i] if row[i] > highest[i] else highest[i]
    for s in range(n_processes):
        row, factor = rows[s], factors[s]
        for i in range(n):
            row[i] = _exp(row[i] - highest[i])
            total[i] += factor * row[i]
    for s in range(n_processes):
        row = rows[s]
        for i in range(n):
            row[i] /= total[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _to_two_shares(first, second, f1, f2, highest, total):  # type: ignore[no-untyped-def]
    # The exponential of the larger one is one.
    for i in range(len(total)):
        difference = second[i] - first[i]
        lower = _exp(-abs(difference))
        highest[i] = first[i] if difference <= 0 else second[i]
        one = 1.0 if difference <= 0 else lower
        two = lower if difference <= 0 else 1.0
        total[i] = f1 * one + f2 * two
        inverse = 1 / total[i]
        first[i] = one * inverse
        second[i] = two * inverse


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def log_product(numbers):  # type: ignore[no-untyped-def]
    """Return a sum of logarithms, computed as logarithms of products to save time."""
    value, n = 0.0, len(numbers)
    whole = n - n % _TOGETHER
    for start in range(0, whole, _TOGETHER):
        product = 1.0
        for i in range(_TOGETHER):
            product *= numbers[start + i]
        if 1e-300 < product < 1e300:
            value += np.log(product)
        else:
            for i in range(_TOGETHER):
                value += np.log(numbers[start + i])
    for i in range(whole, n):
        value += np.log(numbers[i])
    return value


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def sum_of(numbers, n):  # type: ignore[no-untyped-def]
    """Return the sum of the first n numbers."""
    total = 0.0
    for i in range(n):
        total += numbers[i]
    return total


_LOG2_E, _ROUNDING = 1.4426950408889634, 6755399441055744.0  # 1.5 · 2⁵²
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_TAYLOR = tuple(1 / factorial(k) for k in range(14))
_EXPONENT = int(np.float64(_ROUNDING).view(np.int64)) - 1023


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _exp(x):  # type: ignore[no-untyped-def]
    """Return e^x without branches, so that compilers can process several numbers at once."""
    x = -708.0 if x < -708.0 else x
    x = 709.0 if x > 709.0 else x
    # x = k ln 2 + rest, with k in the last bits of a number so large that it has no fraction.
    shifted = x * _LOG2_E + _ROUNDING
    k = shifted - _ROUNDING
    rest = (x - k * _LN2_HIGH) - k * _LN2_LOW
    value = _TAYLOR[13]
    value = value * rest + _TAYLOR[12]
    value = value * rest + _TAYLOR[11]
    value = value * rest + _TAYLOR[10]
    value = value * rest + _TAYLOR[9]
    value = value * rest + _TAYLOR[8]
    value = value * rest + _TAYLOR[7]
    value = value * rest + _TAYLOR[6]
    value = value * rest + _TAYLOR[5]
    value = value * rest + _TAYLOR[4]
    value = value * rest + _TAYLOR[3]
    value = value * rest + _TAYLOR[2]
    value = value * rest + 1.0
    value = value * rest + 1.0
    bits = (np.float64(shifted).view(np.int64) - _EXPONENT) << 52
    return value * np.int64(bits).view(np.float64)


@njit(cache=True, nogil=True, error_model="numpy")
def _exponentials(x):  # type: ignore[no-untyped-def]
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = _exp(x[i])
    return out
