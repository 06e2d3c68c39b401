r"""Generate events of a quadratic EFT problem with a hidden variable, in one to ten parameters.

An event has eight observables x, which are normally distributed at θ = 0, and a hidden phase φ,
which is uniform in [0, 2π) at θ = 0:

.. math:: p(x, \varphi|\theta) = N(x; 0, 1)\,\frac{1}{2\pi}\,
          \frac{\big[1 + \theta\cdot a(x) + \sqrt2\,\cos\varphi\;\theta\cdot u(x)\big]^2}{Z(\theta)}

The phase is like a neutrino in a detector: it is known for simulated events, but not for data.  The
joint likelihood ratio, which depends on φ, therefore scatters around the exact likelihood ratio

.. math:: \frac{p(x|\theta)}{p(x|0)} =
          \frac{(1 + \theta\cdot a)^2 + (\theta\cdot u)^2}{Z(\theta)},\qquad
          Z(\theta) = \theta^T \langle a a^T + u u^T\rangle\,\theta + 1.

The exact likelihood ratio is a sum of squares of amplitudes, like every leading-order EFT
prediction.  a and u are odd functions whose moments are known in closed form.  Therefore Z and the
Fisher information at θ = 0, :math:`4\langle a a^T\rangle` for each event, are known exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, Point
from milinfer.utils.points import format_point, point_id

__all__ = ["N_FEATURES", "fisher_information", "generate", "log_likelihood_ratio", "samples"]

N_FEATURES = 8

# a_k(x) = Σ_j A[k, j] sin(π x_j / 4) + Σ_p B[k, p] sin(x_i x_j) with pairs p = (i, j): bounded, and
# all these functions have mean zero and no correlation.  u_k has U instead of A, and no pairs.  The
# condition number of the information is 8.5 for ten parameters and 3.5 for five.
_A = np.array(
    [
        [0.18, -0.14, 0.1, 0.05, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.09, 0.12, -0.15, 0.06, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.12, 0.18, 0.0, 0.0, 0.0, -0.09],
        [0.0, -0.12, 0.0, 0.0, -0.06, -0.19, 0.0, 0.0],
        [0.07, -0.14, 0.0, 0.0, 0.0, 0.0, 0.0, 0.18],
        [0.0, 0.11, 0.0, 0.1, 0.0, 0.0, -0.2, 0.0],
        [0.12, 0.0, 0.0, 0.0, 0.0, 0.14, -0.14, 0.0],
        [0.0, -0.15, 0.0, 0.0, 0.13, 0.0, 0.0, -0.1],
        [0.0, 0.0, 0.15, 0.0, 0.0, 0.0, -0.14, 0.16],
        [0.0, -0.12, 0.0, 0.0, 0.13, 0.0, 0.0, -0.1],
    ]
)
_PAIRS = ((5, 6), (1, 2), (3, 4), (0, 7), (2, 5), (4, 6))
_B = np.array(
    [
        [0.12, 0.0, 0.0, 0.0, 0.0, 0.0],
        [-0.12, 0.0, 0.0, 0.0, 0.0, 0.0],
        [-0.16, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.16, 0.0],
        [0.0, 0.0, 0.0, 0.2, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, -0.2, 0.0],
        [0.0, 0.0, 0.16, 0.0, 0.0, 0.0],
        [0.0, 0.16, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, -0.2],
        [0.0, -0.16, 0.0, 0.0, 0.0, 0.0],
    ]
)
_U = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.15, 0.0, 0.0, 0.15],
        [0.12, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.12],
        [0.0, 0.0, 0.0, 0.0, -0.1, 0.1, 0.0, 0.0],
        [-0.12, 0.0, 0.0, 0.0, 0.0, 0.0, -0.12, 0.0],
        [0.0, 0.0, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, -0.15, 0.0, 0.15, 0.0, 0.0, 0.0],
        [0.0, -0.1, 0.0, -0.1, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, -0.1, 0.0, 0.0, -0.1, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.1, 0.0, 0.1, 0.0, 0.0],
        [0.0, 0.0, 0.12, 0.0, 0.0, 0.0, 0.0, 0.12],
    ]
)
# <sin²(πx/4)> = (1 − exp(−π²/8))/2; <sin²(xy)> = (1 − <cos 2xy>)/2 with <cos txy> = (1 + t²)^−½.
_SIN2 = (1 - np.exp(-(np.pi**2) / 8)) / 2
_PRODUCT2 = (1 - 1 / np.sqrt(5)) / 2


def _amplitudes(x: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """A and u of each event, shape (n_events, n_parameters) each."""
    waves = np.sin(np.pi * x / 4)
    total = waves @ _A[:n].T
    for pair in _pairs(n):
        i, j = _PAIRS[pair]
        total = total + np.sin(x[:, i] * x[:, j])[:, None] * _B[:n, pair]
    return total, waves @ _U[:n].T


def _pairs(n: int) -> list[int]:
    """Pairs of features that the first n parameters need."""
    needed: list[int] = np.flatnonzero(_B[:n].any(axis=0)).tolist()
    return needed


def _moments(n: int) -> tuple[FloatArray, FloatArray]:
    """<a aᵀ> and <u uᵀ> at θ = 0."""
    aa = _SIN2 * _A[:n] @ _A[:n].T
    for pair in _pairs(n):
        aa = aa + _PRODUCT2 * np.outer(_B[:n, pair], _B[:n, pair])
    return aa, _SIN2 * _U[:n] @ _U[:n].T


def _vector(point: Point, n: int | None = None) -> FloatArray:
    names = _names(n or len(point))
    if set(point) != set(names) or not all(abs(v) <= 1 for v in point.values()):
        msg = f"{format_point(point)} is not a point of {' and '.join(names)} within [-1, 1]"
        raise ParameterError(msg)
    return np.array([point[name] for name in names])


def _names(n: int) -> tuple[str, ...]:
    if not 1 <= n <= len(_A):
        msg = f"the quadratic problem has one to ten parameters, c1 to c10, not {n}"
        raise ParameterError(msg)
    return tuple(f"c{k + 1}" for k in range(n))


def normalisation(theta: FloatArray) -> float:
    """Compute Z(θ), the exact cross-section over the cross-section at θ = 0.

    Examples
    --------
    >>> import numpy as np
    >>> normalisation(np.zeros(2))
    1.0
    """
    aa, uu = _moments(len(theta))
    return float(1 + theta @ (aa + uu) @ theta)


def generate(n_events: int, point: Point, *, seed: int, weights: Sequence[Point] = ()) -> Sample:
    """Generate unweighted events at a point, with their exact weights at other points.

    Parameters
    ----------
    n_events
        Number of events.
    point
        ``{"c1": value}``, ``{"c1": value, "c2": value}`` and so on up to c10, with values in
        [−1, 1].
    seed
        Random seed; the same seed gives the same events.
    weights
        Points for the weights of each event; default: those of :func:`default_weights`, which
        determine the quadratic polynomial of the event.

    Raises
    ------
    ParameterError
        If the point has unknown parameters, or if a value is outside [−1, 1].

    Examples
    --------
    >>> sample = generate(5, {"c1": 0.5}, seed=1)
    >>> sample
    Sample(5 events, 8 features, quadratic at c1=0.5)
    >>> len(sample.reweights)
    3
    """
    theta = _vector(point)
    rng = np.random.default_rng(seed)
    # Amplitudes are bounded: |a| ≤ Σ|A| + Σ|B|.
    bound = (
        1
        + np.abs(theta)
        @ (np.abs(_A).sum(1) + np.abs(_B).sum(1) + np.sqrt(2) * np.abs(_U).sum(1))[: len(theta)]
    )
    kept_x, kept_a, n_kept = [], [], 0
    while n_kept < n_events:
        x = rng.normal(size=(max(1000, 2 * (n_events - n_kept)), N_FEATURES))
        # Features are stored as float32; the amplitudes are computed from the stored values.
        x = x.astype(np.float32).astype(np.float64)
        a, u = _amplitudes(x, len(theta))
        total = a + np.sqrt(2) * np.cos(rng.uniform(0, 2 * np.pi, len(x)))[:, None] * u
        accepted = rng.random(len(x)) < ((1 + total @ theta) / bound) ** 2
        kept_x.append(x[accepted])
        kept_a.append(total[accepted])
        n_kept += int(accepted.sum())
    x, amplitude = np.concatenate(kept_x)[:n_events], np.concatenate(kept_a)[:n_events]
    points = weights or default_weights(len(theta))
    density = (1 + amplitude @ theta) ** 2
    cross_section = normalisation(theta)
    return Sample(
        x.astype(np.float32),
        tuple(f"x{k}" for k in range(N_FEATURES)),
        point=dict(zip(_names(len(theta)), theta.tolist(), strict=True)),
        process="quadratic",
        cross_section=cross_section,
        cross_section_error=0.0,
        reweights={
            point_id(p): cross_section * (1 + amplitude @ _vector(p, len(theta))) ** 2 / density
            for p in points
        },
        reweight_points={point_id(p): p for p in points},
        provenance={"generator": "milinfer.datasets.quadratic", "seed": seed},
    )


def default_weights(n_parameters: int) -> tuple[Point, ...]:
    """Return points whose weights determine the quadratic polynomial of an event.

    For one or two parameters, these are all points with coordinates −1, 0 and 1.  For three or more
    parameters, there are as many points as the polynomial has coefficients: the origin, ±1 along
    each axis, and points with two parameters at 1.

    Examples
    --------
    >>> default_weights(1)
    ({'c1': -1.0}, {'c1': 0.0}, {'c1': 1.0})
    >>> len(default_weights(10))
    66
    """
    names, n = _names(n_parameters), n_parameters
    if n <= 2:
        grid = [*product((-1.0, 0.0, 1.0), repeat=n)]
    else:
        unit = np.eye(n)
        pairs = [unit[j] + unit[k] for j, k in combinations(range(n), 2)]
        grid = [tuple(p.tolist()) for p in (np.zeros(n), *(0.0 - unit), *unit, *pairs)]
    return tuple(dict(zip(names, values, strict=True)) for values in grid)


def samples(n_events: int, points: Sequence[Point], *, seed: int) -> SampleSet:
    """Generate one sample for each point.

    Examples
    --------
    >>> samples(5, [{"c1": 0.0, "c2": 0.0}, {"c1": 0.5, "c2": 0.0}], seed=1)
    SampleSet(2 points in c1, c2, 10 events, 8 features)
    """
    seeds = np.random.SeedSequence(seed).generate_state(len(points))
    return SampleSet(
        tuple(generate(n_events, p, seed=int(s)) for p, s in zip(points, seeds, strict=True))
    )


def log_likelihood_ratio(x: ArrayLike, theta: ArrayLike) -> FloatArray:
    """Compute the exact ln p(x|θ)/p(x|0) of the observables, integrated over the hidden phase.

    Parameters
    ----------
    x
        Observables, shape (n_events, 8).
    theta
        Points, shape (m, n_parameters).

    Returns
    -------
    ndarray
        Log-likelihood ratio of each event at each point, shape (n_events, m).

    Examples
    --------
    >>> import numpy as np
    >>> log_likelihood_ratio(np.ones((1, 8)), [[0.0]])
    array([[0.]])
    """
    points = np.asarray(theta, dtype=np.float64)
    a, u = _amplitudes(np.asarray(x, dtype=np.float64), points.shape[1])
    ratio = (1 + a @ points.T) ** 2 + (u @ points.T) ** 2
    out: FloatArray = np.log(ratio) - np.log([normalisation(p) for p in points])
    return out


def fisher_information(n_events: int, n_parameters: int = 1) -> FloatArray:
    """Compute the exact Fisher information of `n_events` events at θ = 0.

    The result has the shape (n_parameters, n_parameters).

    Examples
    --------
    >>> fisher_information(1000).round(1)
    array([[107.4]])
    """
    return 4 * n_events * _moments(n_parameters)[0]
