r"""Maximum of a likelihood over nuisance parameters and normalisations, at many θ.

Thousands of toys need it, so that it is compiled (numba): for each toy the rows of its events are
gathered once, and at each θ Newton's method starts from the maximum at the θ before.  Near a
maximum f + λ²/2 with the Newton decrement λ is the value there up to the third order, so that one
evaluation for each θ is the rule.

The parameters are, in this order, nuisance parameters α, normalisations n of backgrounds, and the
luminosity if there is one.

Importing this module imports numba.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from milinfer.likelihood.response_terms import CODE4_COEFFICIENTS
from milinfer.typing import FloatArray, IntArray

__all__ = ["ProfileProblem", "profile_datasets"]

# Limit of the squared Newton decrement, and what is added to it for each unit of ln L below that at
# the first θ: far from the maximum, where nobody looks closely, the same digits are enough.
_TOLERANCE, _PER_UNIT = 1e-4, 5e-5
_STEPS = 60


class ProfileProblem(NamedTuple):
    """Everything but the events, as arrays: G points θ, S processes, K nuisances, C columns.

    Parameters
    ----------
    starts
        Columns of process s are those from ``starts[s]`` to ``starts[s + 1]``, shape (S + 1,).
    mixing
        Factor of each column at each θ, shape (G, C).
    first, second
        Nuisance parameters of the term of each column, shape (C,); −1: no second one.
    first_power, second_power
        Their powers, shape (C,).
    yields
        Expected events without nuisance parameters at each θ, shape (G, S).
    singles
        Splines of ln κ at each θ, shape (G, S, K, n_cells, 4).
    pairs
        Matrices of ln κ at each θ, shape (G, S, 2 K, 2 K).
    limits
        Units of α in these, shape (S, K).
    norm_index
        Nuisance parameter of each normalisation uncertainty, shape (U,).
    norm_up, norm_down
        Logarithms of its factors, shape (U, S).
    low, high
        Limits of the parameters, shape (K + B + 1 or K + B,).
    luminosity
        Whether the last parameter scales all processes.
    """

    starts: IntArray
    mixing: FloatArray
    first: IntArray
    second: IntArray
    first_power: IntArray
    second_power: IntArray
    yields: FloatArray
    singles: FloatArray
    pairs: FloatArray
    limits: FloatArray
    norm_index: IntArray
    norm_up: FloatArray
    norm_down: FloatArray
    low: FloatArray
    high: FloatArray
    luminosity: bool


def profile_datasets(
    problem: ProfileProblem,
    table: FloatArray,
    index: IntArray,
    offsets: IntArray,
    measured: FloatArray,
    precision: FloatArray,
    start: FloatArray,
    middle: int,
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Profile datasets that are given as rows of a table of events.

    Parameters
    ----------
    problem
        Processes and parameters.
    table
        ln densities of the signal at each θ and of the backgrounds, over the reference, then the
        columns of the responses, shape (n_rows, G + B + C).
    index, offsets
        Rows of the datasets one after the other, and where datasets begin and end.
    measured
        Auxiliary measurements of each dataset, shape (n_datasets, X).
    precision
        Inverse squares of their errors, shape (X,); 0: not measured.
    start
        Where the first maximum is looked for, shape (n_datasets, X).
    middle
        Number of the θ at which the search begins.

    Returns
    -------
    tuple
        ln L at its maximum, shape (n_datasets, G), without the constants of the reference; where
        it is, shape (n_datasets, G, X); and 0 for each dataset where all maxima were found, else
        one more than the number of the θ where it was not.
    """
    values, places, status = _profile_datasets(
        problem,
        CODE4_COEFFICIENTS,
        np.ascontiguousarray(table, dtype=np.float64),
        np.ascontiguousarray(index, dtype=np.int64),
        np.ascontiguousarray(offsets, dtype=np.int64),
        np.ascontiguousarray(measured, dtype=np.float64),
        precision,
        np.ascontiguousarray(start, dtype=np.float64),
        middle,
    )
    return values, places, status


@njit(cache=True, nogil=True, error_model="numpy")
def _profile_datasets(  # type: ignore[no-untyped-def]  # as numba compiles it
    problem, to_coefficients, table, index, offsets, measured, precision, start, middle
):
    n_sets, n_points = len(offsets) - 1, problem.yields.shape[0]
    n_values = len(problem.low)
    n_processes = problem.yields.shape[1]
    values = np.empty((n_sets, n_points))
    places = np.empty((n_sets, n_points, n_values))
    status = np.zeros(n_sets, dtype=np.int64)
    for d in range(n_sets):
        rows = index[offsets[d] : offsets[d + 1]]
        n = len(rows)
        # One long row for each column: loops over events are the innermost ones.
        events = np.empty((table.shape[1], n))
        for i in range(n):
            for c in range(table.shape[1]):
                events[c, i] = table[rows[i], c]
        signal = events[:n_points]
        backgrounds = events[n_points : n_points + n_processes - 1]
        columns = events[n_points + n_processes - 1 :]
        sums = np.zeros(len(columns))
        for c in range(len(columns)):
            for i in range(n):
                sums[c] += columns[c, i]
        best = -np.inf
        for direction in (1, -1):
            x = np.empty(n_values)
            steps, g = 0, middle
            _copy(start[d], x)
            if direction == -1:
                g = middle - 1
                _copy(places[d, middle], x)
            while 0 <= g < n_points:
                value, found = _maximum(
                    problem,
                    to_coefficients,
                    g,
                    signal[g],
                    backgrounds,
                    columns,
                    sums,
                    measured[d],
                    precision,
                    x,
                    best,
                )
                best = max(best, value)
                if not found and status[d] == 0:
                    status[d] = g + 1
                values[d, g] = value
                _copy(x, places[d, g])
                # The next maximum is expected on the parabola through the last three.
                one, two = g - direction, g - 2 * direction
                for j in range(n_values):
                    if steps >= 2 or (direction == -1 and steps >= 1):
                        expected = 3 * x[j] - 3 * places[d, one, j] + places[d, two, j]
                    elif steps >= 1 or direction == -1:
                        expected = 2 * x[j] - places[d, one, j]
                    else:
                        expected = x[j]
                    x[j] = min(max(expected, problem.low[j]), problem.high[j])
                steps += 1
                g += direction
    return values, places, status


@njit(cache=True, nogil=True, error_model="numpy")
def _maximum(  # type: ignore[no-untyped-def]
    problem, to_coefficients, g, signal, backgrounds, columns, sums, measured, precision, x, best
):
    """Newton's method from x, which is overwritten with the place of the maximum."""
    n_values = len(x)
    value, slope, bend = _expand(
        problem, to_coefficients, g, signal, backgrounds, columns, sums, measured, precision, x
    )
    for _ in range(_STEPS):
        tolerance = _TOLERANCE + _PER_UNIT * max(best - value, 0.0)
        for j in range(n_values):
            at_low = x[j] <= problem.low[j] and slope[j] <= 0
            at_high = x[j] >= problem.high[j] and slope[j] >= 0
            if at_low or at_high:
                slope[j] = 0.0
                for k in range(n_values):
                    bend[j, k] = bend[k, j] = 0.0
                bend[j, j] = 1.0
        step = _newton_step(bend, slope)
        decrement = 0.0
        for j in range(n_values):
            decrement += step[j] * slope[j]
        # The step as far as the limits allow, and shorter until the likelihood rises by a part of
        # what the slope promises.
        length = 1.0
        while True:
            new = np.empty(n_values)
            inside = True
            for j in range(n_values):
                new[j] = x[j] + length * step[j]
                if new[j] < problem.low[j] or new[j] > problem.high[j]:
                    inside = False
                    new[j] = min(max(new[j], problem.low[j]), problem.high[j])
            if decrement < tolerance and inside:
                _copy(new, x)
                return value + decrement / 2, True
            promised = 0.0
            for j in range(n_values):
                promised += slope[j] * (new[j] - x[j])
            new_value, new_slope, new_bend = _expand(
                problem,
                to_coefficients,
                g,
                signal,
                backgrounds,
                columns,
                sums,
                measured,
                precision,
                new,
            )
            if new_value >= value + 0.05 * promised:
                break
            length /= 2
            if length < 1e-9:
                # Rounding hides the rest of the rise, or a limit stops it.
                return value, promised < tolerance
        moved = new_value - value
        _copy(new, x)
        value, slope, bend = new_value, new_slope, new_bend
        if decrement < tolerance and moved < tolerance:
            return value, True
    return value, False


@njit(cache=True, nogil=True, error_model="numpy")
def _copy(source, target):  # type: ignore[no-untyped-def]
    # An assignment to a slice takes seconds to compile, for the text of an error that cannot be.
    for j in range(len(source)):
        target[j] = source[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _newton_step(bend, slope):  # type: ignore[no-untyped-def]
    """Step uphill; where the bend is not that of a maximum, it is made so."""
    n = len(slope)
    largest = 1e-12
    for j in range(n):
        largest = max(largest, abs(bend[j, j]))
    ridge = 1e-12 * largest
    for _ in range(40):
        lower = np.zeros((n, n))
        good = True
        for j in range(n):
            rest = bend[j, j] + ridge
            for k in range(j):
                rest -= lower[j, k] ** 2
            if not rest > 1e-14 * largest:
                good = False
                break
            lower[j, j] = np.sqrt(rest)
            for i in range(j + 1, n):
                below = bend[i, j]
                for k in range(j):
                    below -= lower[i, k] * lower[j, k]
                lower[i, j] = below / lower[j, j]
        if good:
            step = np.empty(n)
            _copy(slope, step)
            for j in range(n):
                for k in range(j):
                    step[j] -= lower[j, k] * step[k]
                step[j] /= lower[j, j]
            for j in range(n - 1, -1, -1):
                for k in range(j + 1, n):
                    step[j] -= lower[k, j] * step[k]
                step[j] /= lower[j, j]
            return step
        ridge = max(10 * ridge, 1e-3 * largest)
    step = np.empty(n)
    for j in range(n):
        step[j] = slope[j] / largest
    return step


@njit(cache=True, nogil=True, error_model="numpy")
def _expand(  # type: ignore[no-untyped-def]
    problem, to_coefficients, g, signal, backgrounds, columns, sums, measured, precision, x
):
    """Value of ln L at one point, its gradient, and minus its second derivatives."""
    # Loops rather than expressions of arrays, which numba compiles more slowly.
    first, second = problem.first, problem.second
    first_power, second_power = problem.first_power, problem.second_power
    starts, mixing = problem.starts, problem.mixing
    n_values, n, n_columns = len(x), len(signal), len(first)
    n_processes, n_nuisances = problem.limits.shape
    log_norm, norm_slope, norm_bend = _norms(problem, to_coefficients, x)
    # Each term as a function of α, with the derivatives by its one or two nuisance parameters.
    factors, by_first, by_second = np.empty(n_columns), np.empty(n_columns), np.zeros(n_columns)
    for c in range(n_columns):
        a, p = x[first[c]], first_power[c]
        b, q = 1.0, 0
        if second[c] >= 0:
            b, q = x[second[c]], second_power[c]
        factors[c] = mixing[g, c] * a**p * b**q
        by_first[c] = mixing[g, c] * p * a ** (p - 1) * b**q
        if q > 0:
            by_second[c] = mixing[g, c] * q * a**p * b ** (q - 1)
    value = 0.0
    gradient = np.zeros(n_values)
    bend = np.zeros((n_values, n_values))
    together = np.zeros(n_processes)  # events of each process
    totals = np.empty(n_columns)  # sums of the columns over these
    if n_processes == 1:
        # ln L is linear in the columns: their sums are enough.
        together[0] = n
        value = n * log_norm[0]
        for i in range(n):
            value += signal[i]
        for c in range(n_columns):
            totals[c] = sums[c]
            value += factors[c] * sums[c]
    else:
        shares = np.empty((n_processes, n))
        for s in range(n_processes):
            for i in range(n):
                shares[s, i] = log_norm[s] + (signal[i] if s == 0 else backgrounds[s - 1, i])
            for c in range(starts[s], starts[s + 1]):
                f = factors[c]
                for i in range(n):
                    shares[s, i] += f * columns[c, i]
        product = 1.0
        for i in range(n):
            total = 0.0
            for s in range(n_processes):
                shares[s, i] = np.exp(shares[s, i])
                total += shares[s, i]
            inverse = 1 / total
            for s in range(n_processes):
                shares[s, i] *= inverse
                together[s] += shares[s, i]
            # Logarithms cost more than all the rest: one for several events.
            product *= total
            if product > 1e100 or product < 1e-100 or i % 8 == 7:
                value += np.log(product)
                product = 1.0
        value += np.log(product)
        for s in range(n_processes):
            for c in range(starts[s], starts[s + 1]):
                totals[c] = np.dot(shares[s], columns[c])
        _add_scatter(bend, shares, columns, first, second, starts, norm_slope, by_first, by_second)
    for s in range(n_processes):
        for j in range(n_values):
            gradient[j] += together[s] * norm_slope[s, j]
        for k in range(n_nuisances):
            bend[k, k] -= together[s] * norm_bend[s, k]
        for j in range(n_nuisances, n_values):
            # d² ln x/dx² of normalisations and of the luminosity.
            bend[j, j] += together[s] * norm_slope[s, j] ** 2
    for c in range(n_columns):
        k, p = first[c], first_power[c]
        a, b, m, q = x[k], 1.0, second[c], 0
        gradient[k] += by_first[c] * totals[c]
        if m >= 0:
            b, q = x[m], second_power[c]
            gradient[m] += by_second[c] * totals[c]
        total = totals[c] * mixing[g, c]
        if p > 1:
            bend[k, k] -= total * p * (p - 1) * a ** (p - 2) * b**q
        if q > 0:
            # Of the triangle below the diagonal, which the end of this function copies.
            bend[max(k, m), min(k, m)] -= total * p * q * a ** (p - 1) * b ** (q - 1)
            if q > 1:
                bend[m, m] -= total * q * (q - 1) * a**p * b ** (q - 2)
    # Expected events.
    whole = np.empty(n_values)
    for s in range(n_processes):
        log_yield, slope, curvature = _log_yield(
            problem.singles[g, s], problem.pairs[g, s], problem.limits[s], x
        )
        expected = problem.yields[g, s] * np.exp(log_yield + log_norm[s])
        value -= expected
        for j in range(n_values):
            whole[j] = norm_slope[s, j]
            if j < n_nuisances:
                whole[j] += slope[j]
            gradient[j] -= expected * whole[j]
            for k in range(j + 1):
                bend[j, k] += expected * whole[j] * whole[k]
                if j < n_nuisances:
                    bend[j, k] += expected * curvature[j, k]
        for k in range(n_nuisances):
            bend[k, k] += expected * norm_bend[s, k]
        for j in range(n_nuisances, n_values):
            bend[j, j] -= expected * norm_slope[s, j] ** 2
    for j in range(n_values):
        pull = x[j] - measured[j]
        value -= precision[j] * pull * pull / 2
        gradient[j] -= precision[j] * pull
        bend[j, j] += precision[j]
        for k in range(j):
            bend[k, j] = bend[j, k]
    return value, gradient, bend


@njit(cache=True, nogil=True, error_model="numpy")
def _norms(problem, to_coefficients, x):  # type: ignore[no-untyped-def]
    """Logarithm of the normalisation of each process, with two derivatives."""
    n_processes, n_nuisances = problem.limits.shape
    n_values = len(x)
    log_norm = np.zeros(n_processes)
    slope = np.zeros((n_processes, n_values))
    bend = np.zeros((n_processes, n_nuisances))
    for u in range(len(problem.norm_index)):
        k = problem.norm_index[u]
        for s in range(n_processes):
            up, down = problem.norm_up[u, s], problem.norm_down[u, s]
            v, d1, d2 = _code4(x[k], up, down, to_coefficients)
            log_norm[s] += v
            slope[s, k] += d1
            bend[s, k] += d2
    for s in range(1, n_processes):
        norm = max(x[n_nuisances + s - 1], 1e-12)
        log_norm[s] += np.log(norm)
        slope[s, n_nuisances + s - 1] = 1 / norm
    if problem.luminosity:
        for s in range(n_processes):
            log_norm[s] += np.log(x[n_values - 1])
            slope[s, n_values - 1] = 1 / x[n_values - 1]
    return log_norm, slope, bend


@njit(cache=True, nogil=True, error_model="numpy")
def _add_scatter(  # type: ignore[no-untyped-def]
    bend, shares, columns, first, second, starts, norm_slope, by_first, by_second
):
    """Subtract the scatter, over the processes of an event, of the slopes of ln densities.

    With slopes d of all processes relative to the first, it is Σ p d dᵀ − (Σ p d)(Σ p d)ᵀ.
    """
    n_processes, n = shares.shape
    n_values = len(bend)
    mean = np.zeros((n_values, n))
    relative = np.empty((n_values, n))
    weighted = np.empty(n)
    for s in range(1, n_processes):
        for j in range(n_values):
            constant = norm_slope[s, j] - norm_slope[0, j]
            for i in range(n):
                relative[j, i] = constant
        for of, sign in ((s, 1.0), (0, -1.0)):
            for c in range(starts[of], starts[of + 1]):
                f, k = sign * by_first[c], first[c]
                for i in range(n):
                    relative[k, i] += f * columns[c, i]
                if second[c] >= 0:
                    f, k = sign * by_second[c], second[c]
                    for i in range(n):
                        relative[k, i] += f * columns[c, i]
        for j in range(n_values):
            if n_processes == 2:
                for i in range(n):
                    weighted[i] = shares[s, i] * shares[0, i] * relative[j, i]
            else:
                for i in range(n):
                    weighted[i] = shares[s, i] * relative[j, i]
                    mean[j, i] += weighted[i]
            for k in range(j + 1):
                bend[j, k] -= np.dot(weighted, relative[k])
    if n_processes > 2:
        for j in range(n_values):
            for k in range(j + 1):
                bend[j, k] += np.dot(mean[j], mean[k])


@njit(cache=True, nogil=True, error_model="numpy")
def _log_yield(singles, pairs, limits, x):  # type: ignore[no-untyped-def]
    """Logarithm of κ of one process, its slope and its second derivatives."""
    k = singles.shape[0]
    n_cells = singles.shape[1]
    value = 0.0
    slope = np.zeros(k)
    second = np.zeros((k, k))
    vector = np.empty(2 * k)
    for j in range(k):
        unit = x[j] / limits[j]
        vector[j], vector[k + j] = unit, unit * unit
        place = (unit + 1) * (n_cells / 2)
        cell = min(max(int(place), 0), n_cells - 1)
        t = (place - cell) * (2 / n_cells)
        c3, c2 = singles[j, cell, 0], singles[j, cell, 1]
        c1, c0 = singles[j, cell, 2], singles[j, cell, 3]
        value += ((c3 * t + c2) * t + c1) * t + c0
        slope[j] += (3 * c3 * t + 2 * c2) * t + c1
        second[j, j] += 6 * c3 * t + 2 * c2
    if k > 1:
        products = np.zeros(2 * k)
        for j in range(2 * k):
            for m in range(2 * k):
                products[j] += pairs[j, m] * vector[m]
            value += products[j] * vector[j]
        for j in range(k):
            slope[j] += 2 * products[j] + 4 * vector[j] * products[k + j]
            second[j, j] += 4 * products[k + j]
            for m in range(k):
                second[j, m] += 2 * (
                    pairs[j, m]
                    + 2 * vector[j] * pairs[k + j, m]
                    + 2 * vector[m] * pairs[j, k + m]
                    + 4 * vector[j] * vector[m] * pairs[k + j, k + m]
                )
    for j in range(k):
        slope[j] /= limits[j]
        for m in range(k):
            second[j, m] /= limits[j] * limits[m]
    return value, slope, second


@njit(cache=True, nogil=True, error_model="numpy")
def _code4(alpha, up, down, to_coefficients):  # type: ignore[no-untyped-def]
    """Logarithm of interpolation code 4, with two derivatives."""
    if up == 0.0 and down == 0.0:
        return 0.0, 0.0, 0.0
    if alpha >= 1:
        return alpha * up, up, 0.0
    if alpha <= -1:
        return -alpha * down, -down, 0.0
    high, low = np.exp(up), np.exp(down)
    value, first, second = 1.0, 0.0, 0.0
    for i in range(6):
        row = to_coefficients[i]
        c = row[0] * (high - 1) + row[2] * high * up + row[4] * high * up**2
        c += row[1] * (low - 1) - row[3] * low * down + row[5] * low * down**2
        order = i + 1
        value += c * alpha**order
        first += c * order * alpha ** (order - 1)
        if order > 1:
            second += c * order * (order - 1) * alpha ** (order - 2)
    first /= value
    return np.log(value), first, second / value - first**2
