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

from milinfer.typing import FloatArray, IntArray

__all__ = ["ProfileProblem", "profile_datasets"]

# Limit of the squared Newton decrement; the gain that remains is at most about its square.
_TOLERANCE = 1e-4
_STEPS = 60
_TO_COEFFICIENTS = np.linalg.inv(
    np.array(
        [
            [1.0, 1, 1, 1, 1, 1],
            [-1.0, 1, -1, 1, -1, 1],
            [1.0, 2, 3, 4, 5, 6],
            [1.0, -2, 3, -4, 5, -6],
            [0.0, 2, 6, 12, 20, 30],
            [0.0, 2, -6, 12, -20, 30],
        ]
    )
)


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
        _TO_COEFFICIENTS,
        np.ascontiguousarray(table, dtype=np.float64),
        np.ascontiguousarray(index, dtype=np.int64),
        np.ascontiguousarray(offsets, dtype=np.int64),
        np.ascontiguousarray(measured, dtype=np.float64),
        precision,
        np.ascontiguousarray(start, dtype=np.float64),
        middle,
    )
    return values, places, status


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]  # numba is untyped
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
        for direction in (1, -1):
            x = start[d].copy()
            before = x.copy()
            g = middle
            if direction == -1:
                if middle == 0:
                    break
                x = places[d, middle].copy()
                before = x.copy()
                g = middle - 1
            steps = 0
            while 0 <= g < n_points:
                value, found = _maximum(
                    problem,
                    to_coefficients,
                    g,
                    signal[g],
                    backgrounds,
                    columns,
                    measured[d],
                    precision,
                    x,
                )
                if not found and status[d] == 0:
                    status[d] = g + 1
                values[d, g] = value
                places[d, g] = x
                # The next maximum is expected on the line through the last two.
                now = x.copy()
                if steps > 0:
                    for j in range(n_values):
                        x[j] = min(max(2 * now[j] - before[j], problem.low[j]), problem.high[j])
                before = now
                steps += 1
                g += direction
    return values, places, status


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _maximum(  # type: ignore[no-untyped-def]
    problem, to_coefficients, g, signal, backgrounds, columns, measured, precision, x
):
    """Newton's method from x, which is overwritten with the place of the maximum."""
    n_values = len(x)
    value, slope, bend = _expand(
        problem, to_coefficients, g, signal, backgrounds, columns, measured, precision, x
    )
    for _ in range(_STEPS):
        for j in range(n_values):
            at_low = x[j] <= problem.low[j] and slope[j] <= 0
            at_high = x[j] >= problem.high[j] and slope[j] >= 0
            if at_low or at_high:
                slope[j] = 0.0
                bend[j] = 0.0
                bend[:, j] = 0.0
                bend[j, j] = 1.0
        step = _newton_step(bend, slope)
        decrement = 0.0
        for j in range(n_values):
            decrement += step[j] * slope[j]
        # The step as far as the limits allow, and shorter until the likelihood rises by a part of
        # what the slope promises.
        length = 1.0
        while True:
            new = x.copy()
            inside = True
            for j in range(n_values):
                new[j] = x[j] + length * step[j]
                if new[j] < problem.low[j] or new[j] > problem.high[j]:
                    inside = False
                    new[j] = min(max(new[j], problem.low[j]), problem.high[j])
            if decrement < _TOLERANCE and inside:
                x[:] = new
                return value + decrement / 2, True
            promised = 0.0
            for j in range(n_values):
                promised += slope[j] * (new[j] - x[j])
            new_value, new_slope, new_bend = _expand(
                problem, to_coefficients, g, signal, backgrounds, columns, measured, precision, new
            )
            if new_value >= value + 0.05 * promised:
                break
            length /= 2
            if length < 1e-9:
                # Rounding hides the rest of the rise, or a limit stops it.
                return value, promised < _TOLERANCE
        moved = new_value - value
        x[:] = new
        value, slope, bend = new_value, new_slope, new_bend
        if decrement < _TOLERANCE and moved < _TOLERANCE:
            return value, True
    return value, False


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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
            step = slope.copy()
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
    return slope / largest


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _expand(  # type: ignore[no-untyped-def]
    problem, to_coefficients, g, signal, backgrounds, columns, measured, precision, x
):
    """Ln L at one point, its gradient, and minus its second derivatives."""
    n_values = len(x)
    n_processes = problem.yields.shape[1]
    n_nuisances = problem.singles.shape[2]
    n = len(signal)
    log_norm = np.zeros(n_processes)
    norm_slope = np.zeros((n_processes, n_values))
    norm_bend = np.zeros((n_processes, n_nuisances))
    for u in range(len(problem.norm_index)):
        k = problem.norm_index[u]
        for s in range(n_processes):
            v, d1, d2 = _code4(
                x[k], problem.norm_up[u, s], problem.norm_down[u, s], to_coefficients
            )
            log_norm[s] += v
            norm_slope[s, k] += d1
            norm_bend[s, k] += d2
    for s in range(1, n_processes):
        norm = max(x[n_nuisances + s - 1], 1e-12)
        log_norm[s] += np.log(norm)
        norm_slope[s, n_nuisances + s - 1] = 1 / norm
    if problem.luminosity:
        light = x[n_values - 1]
        for s in range(n_processes):
            log_norm[s] += np.log(light)
            norm_slope[s, n_values - 1] = 1 / light
    # Densities.
    rows = np.empty((n_processes, n))
    slopes = np.zeros((n_processes, n_values, n))
    factors = np.empty(len(problem.first))
    by_first, by_second = np.zeros(len(factors)), np.zeros(len(factors))
    for c in range(len(factors)):
        a, p = x[problem.first[c]], problem.first_power[c]
        b, q = 1.0, 0
        if problem.second[c] >= 0:
            b, q = x[problem.second[c]], problem.second_power[c]
        factors[c] = problem.mixing[g, c] * a**p * b**q
        by_first[c] = problem.mixing[g, c] * p * a ** (p - 1) * b**q
        if q > 0:
            by_second[c] = problem.mixing[g, c] * q * a**p * b ** (q - 1)
    for s in range(n_processes):
        if s == 0:
            rows[0] = signal + log_norm[0]
        else:
            rows[s] = backgrounds[s - 1] + log_norm[s]
        for j in range(n_values):
            if norm_slope[s, j] != 0.0:
                slopes[s, j] = norm_slope[s, j]
        for c in range(problem.starts[s], problem.starts[s + 1]):
            column = columns[c]
            f, d = factors[c], by_first[c]
            row, slope_row = rows[s], slopes[s, problem.first[c]]
            for i in range(n):
                row[i] += f * column[i]
                slope_row[i] += d * column[i]
            if by_second[c] != 0.0:
                other_row, other = slopes[s, problem.second[c]], by_second[c]
                for i in range(n):
                    other_row[i] += other * column[i]
    value = 0.0
    shares = np.exp(rows)
    for i in range(n):
        total = 0.0
        for s in range(n_processes):
            total += shares[s, i]
        value += np.log(total)
        for s in range(n_processes):
            shares[s, i] /= total
    gradient = np.zeros(n_values)
    bend = np.zeros((n_values, n_values))
    mean = np.zeros((n_values, n))
    for s in range(n_processes):
        share = shares[s]
        together = share.sum()
        weighted = np.empty((n_values, n))
        for j in range(n_values):
            for i in range(n):
                weighted[j, i] = share[i] * slopes[s, j, i]
                mean[j, i] += weighted[j, i]
        bend -= np.dot(weighted, slopes[s].T)
        for k in range(n_nuisances):
            bend[k, k] -= together * norm_bend[s, k]
        for j in range(n_nuisances, n_values):
            # d² ln x/dx² of normalisations and of the luminosity.
            bend[j, j] += together * norm_slope[s, j] ** 2
        for c in range(problem.starts[s], problem.starts[s + 1]):
            total = np.dot(share, columns[c]) * problem.mixing[g, c]
            k, p = problem.first[c], problem.first_power[c]
            m, q = problem.second[c], problem.second_power[c]
            a = x[k]
            b = x[m] if m >= 0 else 1.0
            if m < 0:
                q = 0
            if p > 1:
                bend[k, k] -= total * p * (p - 1) * a ** (p - 2) * b**q
            if q > 0:
                mixed = total * p * q * a ** (p - 1) * b ** (q - 1)
                bend[k, m] -= mixed
                bend[m, k] -= mixed
                if q > 1:
                    bend[m, m] -= total * q * (q - 1) * a**p * b ** (q - 2)
    bend += np.dot(mean, mean.T)
    for j in range(n_values):
        gradient[j] = mean[j].sum()
    # Expected events.
    for s in range(n_processes):
        log_yield, slope, second = _log_yield(
            problem.singles[g, s], problem.pairs[g, s], problem.limits[s], x
        )
        expected = problem.yields[g, s] * np.exp(log_yield + log_norm[s])
        value -= expected
        whole = norm_slope[s].copy()
        whole[:n_nuisances] += slope
        for j in range(n_values):
            gradient[j] -= expected * whole[j]
            for k in range(n_values):
                bend[j, k] += expected * whole[j] * whole[k]
        for j in range(n_nuisances):
            bend[j, j] += expected * norm_bend[s, j]
            for k in range(n_nuisances):
                bend[j, k] += expected * second[j, k]
        for j in range(n_nuisances, n_values):
            bend[j, j] -= expected * norm_slope[s, j] ** 2
    for j in range(n_values):
        pull = x[j] - measured[j]
        value -= precision[j] * pull * pull / 2
        gradient[j] -= precision[j] * pull
        bend[j, j] += precision[j]
    return value, gradient, bend


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _log_yield(singles, pairs, limits, x):  # type: ignore[no-untyped-def]
    """Ln κ of one process, its slope and its second derivatives."""
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
        c3, c2, c1, c0 = singles[j, cell]
        value += ((c3 * t + c2) * t + c1) * t + c0
        slope[j] += (3 * c3 * t + 2 * c2) * t + c1
        second[j, j] += 6 * c3 * t + 2 * c2
    if k > 1:
        products = np.dot(pairs, vector)
        value += np.dot(products, vector)
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


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _code4(alpha, up, down, to_coefficients):  # type: ignore[no-untyped-def]
    """Logarithm of interpolation code 4, with two derivatives."""
    if up == 0.0 and down == 0.0:
        return 0.0, 0.0, 0.0
    if alpha >= 1:
        return alpha * up, up, 0.0
    if alpha <= -1:
        return -alpha * down, -down, 0.0
    high, low = np.exp(up), np.exp(down)
    sides = np.array([high - 1, low - 1, high * up, -low * down, high * up**2, low * down**2])
    value, first, second = 1.0, 0.0, 0.0
    for i in range(6):
        c = 0.0
        for j in range(6):
            c += to_coefficients[i, j] * sides[j]
        order = i + 1
        value += c * alpha**order
        first += c * order * alpha ** (order - 1)
        if order > 1:
            second += c * order * (order - 1) * alpha ** (order - 2)
    first /= value
    return np.log(value), first, second / value - first**2
