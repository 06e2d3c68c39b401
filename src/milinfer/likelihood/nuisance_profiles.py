"""Maximise a likelihood over nuisance parameters and normalisations, at many θ.

Thousands of toys need these maxima, so the code is compiled (numba).  For each toy the rows of its
events are collected once.  At each θ Newton's method starts from an extrapolation of the maxima at
the previous θ.  Near the maximum of a function f, the value at the maximum is f + λ²/2 up to third
order, where λ is the Newton decrement.  Therefore one or two evaluations for each θ usually
suffice.

The parameters are, in this order, nuisance parameters α, normalisations n of backgrounds, and the
luminosity if there is one.

Importing this module imports numba.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from milinfer.likelihood.code4 import CODE4_COEFFICIENTS
from milinfer.likelihood.nuisance_kernels import (
    add_columns,
    add_one,
    add_uncertainties,
    code4_weights,
    dot,
    log_code4,
    log_product,
    log_yield_expansion,
    sum_of,
    to_shares,
)
from milinfer.typing import FloatArray, IntArray

__all__ = ["ProfileProblem", "profile_datasets"]

# Limit of the squared Newton decrement, and its increase per unit of ln L below the value at the
# first θ: far from the maximum, the same relative precision is enough.
_TOLERANCE, _PER_UNIT = 1e-4, 5e-5
_STEPS = 60
# Fraction of this limit that applies with second derivatives from another point, and ratio of
# successive decrements above which steps with such derivatives are too slow.
_ELSEWHERE, _SLOW = 0.02, 0.05


class ProfileProblem(NamedTuple):
    """All facts except the events, as arrays.

    There are G points θ, S processes, K nuisance parameters and C columns.

    Parameters
    ----------
    starts
        Process s has the columns from ``starts[s]`` to ``starts[s + 1]``, shape (S + 1,).
    mixing
        Factor of each column at each θ, shape (G, C).
    first, second
        Indices of the nuisance parameters in the term of each column, shape (C,); `second` is −1 if
        the term has only one nuisance parameter.
    first_power, second_power
        Powers of these nuisance parameters, shape (C,).
    sides
        Positions in a list of all nuisance parameters that are interpolated with code 4, shape (S +
        1,).  Process s has those from ``sides[s]`` to ``sides[s + 1]``; it has none if its response
        is a polynomial.
    yields
        Expected events without nuisance parameters at each θ, shape (G, S).
    counts, places, limits, norm_index, norm_up, norm_down
        As in :class:`~milinfer.likelihood.nuisance_kernels.YieldProblem`.
    singles, pairs
        As in this class, but computed at each θ, shapes (G, S, most, n_cells, 4, 1) and (G, S, 1, 2
        most, 2 most).
    low, high
        Limits of the parameters, shape (K + B + 1,) or (K + B,), for B backgrounds.
    luminosity
        Whether the last parameter is the luminosity, which scales all processes.
    """

    starts: IntArray
    mixing: FloatArray
    first: IntArray
    second: IntArray
    first_power: IntArray
    second_power: IntArray
    sides: IntArray
    yields: FloatArray
    counts: IntArray
    places: IntArray
    limits: FloatArray
    singles: FloatArray
    pairs: FloatArray
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
    """Maximise the likelihood of datasets, which are given as rows of a table of events.

    Parameters
    ----------
    problem
        Processes and parameters.
    table
        Logarithms of the densities of the signal at each θ and of the backgrounds, relative to the
        reference, then the columns of the responses, shape (n_rows, G + B + C).
    index, offsets
        Rows of the datasets, one dataset after the other, and positions at which datasets begin and
        end.
    measured
        Auxiliary measurements of each dataset, shape (n_datasets, X) for X parameters.
    precision
        Inverse squares of the errors of the measurements, shape (X,); 0 for a parameter that is not
        measured.
    start
        Starting point of the search for the first maximum, shape (n_datasets, X).
    middle
        Index of the θ at which the search begins.

    Returns
    -------
    tuple
        The maximum of ln L, shape (n_datasets, G), without the constants that come from the
        reference; the position of the maximum, shape (n_datasets, G, X); and a status of each
        dataset: 0 if all maxima were found, else 1 + the index of the θ at which no maximum was
        found.
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
        # One long row for each column, because loops over events are the innermost ones.
        events = np.empty((table.shape[1], n))
        _gather(table, rows, events)
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
                # The next maximum is expected on the cubic through the last four.
                one, two, three = g - direction, g - 2 * direction, g - 3 * direction
                for j in range(n_values):
                    if 0 <= three < n_points and (direction == -1 or steps >= 3):
                        expected = 4 * (x[j] + places[d, two, j]) - places[d, three, j]
                        expected -= 6 * places[d, one, j]
                    elif 0 <= two < n_points and (direction == -1 or steps >= 2):
                        expected = 3 * x[j] - 3 * places[d, one, j] + places[d, two, j]
                    elif 0 <= one < n_points and (direction == -1 or steps >= 1):
                        expected = 2 * x[j] - places[d, one, j]
                    else:
                        expected = x[j]
                    x[j] = min(max(expected, problem.low[j]), problem.high[j])
                steps += 1
                g += direction
    return values, places, status


# Compiled as a part of its only caller, which takes three seconds less than to optimise both.
@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _maximum(  # type: ignore[no-untyped-def]
    problem,
    to_coefficients,
    g,
    signal,
    backgrounds,
    columns,
    sums,
    measured,
    precision,
    x,
    best,
):
    """Run Newton's method from x, and overwrite x with the position of the maximum.

    Second derivatives take as much time as everything else.  Those at the starting point are
    therefore used for the next steps as long as these converge fast.
    """
    n_values = len(x)
    # True, but not as a constant, for which numba would compile the expansion again in ten
    # seconds.
    with_bends = n_values >= 0
    value, slope, bend = _expand(
        problem,
        to_coefficients,
        g,
        signal,
        backgrounds,
        columns,
        sums,
        measured,
        precision,
        x,
        with_bends,
    )
    own = np.empty((n_values, n_values))
    here = True
    before = np.inf
    for _ in range(_STEPS):
        tolerance = _TOLERANCE + _PER_UNIT * max(best - value, 0.0)
        if not here:
            tolerance *= _ELSEWHERE
        for j in range(n_values):
            _copy(bend[j], own[j])
        for j in range(n_values):
            at_low = x[j] <= problem.low[j] and slope[j] <= 0
            at_high = x[j] >= problem.high[j] and slope[j] >= 0
            if at_low or at_high:
                slope[j] = 0.0
                for k in range(n_values):
                    own[j, k] = own[k, j] = 0.0
                own[j, j] = 1.0
        step = _newton_step(own, slope)
        decrement = 0.0
        for j in range(n_values):
            decrement += step[j] * slope[j]
        again = len(problem.counts) == 1 or decrement > _SLOW * before
        before = decrement
        # The step as far as the limits allow, shortened until the likelihood rises by a fraction
        # of the rise that the slope predicts.
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
                again,
            )
            if new_value >= value + 0.05 * promised:
                break
            if not here:
                # Second derivatives at this point may give a better step.
                _copy(x, new)
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
                    with_bends,
                )
                again, before = True, np.inf
                break
            length /= 2
            if length < 1e-9:
                # Rounding hides the rest of the rise, or a limit stops it.
                return value, promised < tolerance
        moved = new_value - value
        finished = here and decrement < tolerance and moved < tolerance
        here = again
        _copy(new, x)
        value, slope = new_value, new_slope
        if here:
            bend = new_bend
        if finished:
            return value, True
    return value, False


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(table, rows, events):  # type: ignore[no-untyped-def]
    """Collect rows of the table as columns, four at once, which memory access makes faster."""
    whole = len(rows) - len(rows) % 4
    for i in range(0, whole, 4):
        one, two = table[rows[i]], table[rows[i + 1]]
        three, four = table[rows[i + 2]], table[rows[i + 3]]
        for c in range(table.shape[1]):
            events[c, i] = one[c]
            events[c, i + 1] = two[c]
            events[c, i + 2] = three[c]
            events[c, i + 3] = four[c]
    for i in range(whole, len(rows)):
        one = table[rows[i]]
        for c in range(table.shape[1]):
            events[c, i] = one[c]


@njit(cache=True, nogil=True, error_model="numpy")
def _copy(source, target):  # type: ignore[no-untyped-def]
    # Not an assignment to a slice, which takes seconds to compile because of its error message.
    for j in range(len(source)):
        target[j] = source[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _newton_step(bend, slope):  # type: ignore[no-untyped-def]
    """Return a step uphill; second derivatives that are not those of a maximum are modified."""
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
    problem, to_coefficients, g, signal, backgrounds, columns, sums, measured, precision, x, bends
):
    """Return ln L at one point, its gradient, and minus its second derivatives if requested."""
    # Loops instead of array expressions, which numba compiles more slowly.
    first, second = problem.first, problem.second
    first_power, second_power = problem.first_power, problem.second_power
    starts, mixing, sides = problem.starts, problem.mixing, problem.sides
    n_values, n, n_columns = len(x), len(signal), len(first)
    n_processes = len(problem.counts)
    n_nuisances = n_values - (n_processes - 1) - int(problem.luminosity)
    log_norm, norm_slope, norm_bend = _norms(problem, to_coefficients, n_nuisances, x)
    # Each term as a function of α, with derivatives with respect to its one or two parameters.
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
    # Logarithms of code 4 of every event, with first and second derivative.
    logs, log_slopes = np.zeros((n_processes, n)), np.empty((sides[n_processes], n))
    log_bends = np.empty((sides[n_processes], n))
    for s in range(n_processes):
        begin, end = starts[s], starts[s + 1]
        if sides[s] < sides[s + 1]:
            _interpolate(
                columns[begin:end],
                mixing[g, begin:end],
                first[begin:end],
                to_coefficients,
                x,
                logs[s],
                log_slopes[sides[s] : sides[s + 1]],
                log_bends[sides[s] : sides[s + 1]],
            )
            for c in range(begin, end):  # these are not terms of a polynomial
                factors[c] = by_first[c] = 0.0
    value = 0.0
    gradient = np.zeros(n_values)
    bend = np.zeros((n_values, n_values))
    together = np.zeros(n_processes)  # events of each process
    totals = np.empty(n_columns)  # sums of the columns over these
    if n_processes == 1:
        # ln L is linear in the columns, so their sums suffice.
        together[0] = n
        value = n * log_norm[0]
        for i in range(n):
            value += signal[i]
        for c in range(n_columns):
            totals[c] = sums[c]
            value += factors[c] * sums[c]
        if sides[1]:
            value += sum_of(logs[0], n)
            for j in range(sides[1]):
                gradient[first[j]] += sum_of(log_slopes[j], n)
                bend[first[j], first[j]] -= sum_of(log_bends[j], n)
    else:
        shares = np.empty((n_processes, n))
        for s in range(n_processes):
            row, constant = shares[s], log_norm[s]
            densities = signal if s == 0 else backgrounds[s - 1]
            for i in range(n):
                row[i] = densities[i] + constant
            if sides[s] < sides[s + 1]:
                add_one(logs[s], 1.0, row)
            else:
                own = columns[starts[s] : starts[s + 1]]
                add_columns(own, factors[starts[s] : starts[s + 1]], row)
        highest, total = np.empty(n), np.empty(n)
        to_shares(shares, np.ones(n_processes), highest, total)
        value += sum_of(highest, n) + log_product(total)
        for s in range(n_processes):
            together[s] = sum_of(shares[s], n)
            for c in range(starts[s], starts[s + 1]):
                totals[c] = 0.0
                if sides[s] == sides[s + 1]:
                    totals[c] = dot(shares[s], columns[c], n)
            for j in range(sides[s], sides[s + 1]):
                k = first[starts[s] + j - sides[s]]
                gradient[k] += dot(shares[s], log_slopes[j], n)
                bend[k, k] -= dot(shares[s], log_bends[j], n)
        if bends:
            _add_scatter(
                bend,
                shares,
                together,
                columns,
                first,
                second,
                starts,
                sides,
                log_slopes,
                norm_slope,
                by_first,
                by_second,
                n_nuisances,
            )
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
            # Only the triangle below the diagonal, which is copied at the end of this function.
            bend[max(k, m), min(k, m)] -= total * p * q * a ** (p - 1) * b ** (q - 1)
            if q > 1:
                bend[m, m] -= total * q * (q - 1) * a**p * b ** (q - 2)
    # Expected events.
    whole = np.empty(n_values)
    most = problem.places.shape[1]
    of_kappa, kappa_slope, kappa_bend = np.empty(1), np.empty(most), np.empty((most, most))
    monomials = np.ones(1)
    for s in range(n_processes):
        count, places = problem.counts[s], problem.places[s]
        of_kappa[0] = 0.0
        if count:
            log_yield_expansion(
                problem.singles[g, s],
                problem.pairs[g, s],
                problem.limits[s],
                places,
                count,
                x,
                monomials,
                of_kappa,
                kappa_slope,
                kappa_bend,
            )
        expected = problem.yields[g, s] * np.exp(of_kappa[0] + log_norm[s])
        value -= expected
        _copy(norm_slope[s], whole)
        for j in range(count):
            whole[places[j]] += kappa_slope[j]
            for k in range(count):
                # Only the triangle below the diagonal, as above.
                if places[k] <= places[j]:
                    bend[places[j], places[k]] += expected * kappa_bend[j, k]
        for j in range(n_values):
            gradient[j] -= expected * whole[j]
            for k in range(j + 1):
                bend[j, k] += expected * whole[j] * whole[k]
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
def _interpolate(  # type: ignore[no-untyped-def]
    columns, mixing, first, to_coefficients, x, row, slopes, bends
):
    """Add the logarithm of code 4 of every event to a row, and overwrite its derivatives."""
    n_sides, n_columns = len(slopes), len(columns)
    weights = np.empty((3, 6))
    for j in range(n_sides):
        a = x[first[j]]
        code4_weights(a, to_coefficients, weights)
        for i in range(len(row)):
            up, down = 0.0, 0.0
            for c in range(j, n_columns, 2 * n_sides):
                up += mixing[c] * columns[c, i]
                down += mixing[c + n_sides] * columns[c + n_sides, i]
            value, slopes[j, i], bends[j, i] = log_code4(a, up, down, weights)
            row[i] += value


@njit(cache=True, nogil=True, error_model="numpy")
def _norms(problem, to_coefficients, n_nuisances, x):  # type: ignore[no-untyped-def]
    """Return the logarithm of the normalisation of each process, with two derivatives."""
    n_processes, n_values = len(problem.counts), len(x)
    log_norm = np.zeros(n_processes)
    slope = np.zeros((n_processes, n_values))
    bend = np.zeros((n_processes, n_nuisances))
    add_uncertainties(problem, to_coefficients, x, log_norm, slope, bend)
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
    bend,
    shares,
    together,
    columns,
    first,
    second,
    starts,
    sides,
    log_slopes,
    norm_slope,
    by_first,
    by_second,
    n_nuisances,
):
    """Subtract the covariance, over the processes of an event, of the slopes of log densities.

    With the slopes d of the processes relative to the first process and their fractions p it is
    Σ p d dᵀ − (Σ p d)(Σ p d)ᵀ.  Slopes with respect to normalisations are the same for all events,
    and those with respect to the luminosity are the same for all processes.
    """
    n_processes, n = shares.shape
    mean = np.zeros((n_nuisances, n))
    relative = np.empty((n_nuisances, n))
    weighted = np.empty(n)
    for s in range(1, n_processes):
        for j in range(n_nuisances):
            row, constant = relative[j], norm_slope[s, j] - norm_slope[0, j]
            for i in range(n):
                row[i] = constant
        for of, sign in ((s, 1.0), (0, -1.0)):
            for j in range(sides[of], sides[of + 1]):
                add_one(log_slopes[j], sign, relative[first[starts[of] + j - sides[of]]])
            if sides[of] < sides[of + 1]:
                continue
            for c in range(starts[of], starts[of + 1]):
                add_one(columns[c], sign * by_first[c], relative[first[c]])
                if second[c] >= 0:
                    add_one(columns[c], sign * by_second[c], relative[second[c]])
        # The normalisation of this process: its own slope is 1/n, that of the others zero.
        norm = n_nuisances + s - 1
        share, of_norm = shares[s], norm_slope[s, norm]
        for j in range(n_nuisances):
            row = relative[j]
            if n_processes == 2:
                _multiply_three(share, shares[0], row, weighted)
            else:
                _multiply(share, row, weighted)
                add_one(weighted, 1.0, mean[j])
            for k in range(j + 1):
                bend[j, k] -= dot(weighted, relative[k], n)
            bend[norm, j] -= of_norm * sum_of(weighted, n)
        if n_processes == 2:
            bend[norm, norm] -= of_norm**2 * dot(share, shares[0], n)
        else:
            bend[norm, norm] -= of_norm**2 * together[s]
    if n_processes > 2:
        for j in range(n_nuisances):
            for k in range(j + 1):
                bend[j, k] += dot(mean[j], mean[k], n)
        for s in range(1, n_processes):
            norm = n_nuisances + s - 1
            of_norm = norm_slope[s, norm]
            for j in range(n_nuisances):
                bend[norm, j] += of_norm * dot(shares[s], mean[j], n)
            for other in range(1, s + 1):
                place = n_nuisances + other - 1
                both = of_norm * norm_slope[other, place]
                bend[norm, place] += both * dot(shares[s], shares[other], n)


@njit(cache=True, nogil=True, error_model="numpy")
def _multiply(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = a[i] * b[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _multiply_three(a, b, c, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = a[i] * b[i] * c[i]
