r"""Generate a peak over a background, to measure its mass and fraction with a known likelihood.

An event has a reconstructed mass ``m_rec`` (m, in GeV), and a discriminant ``d``.  Within the peak
and within the background, d is independent of m.  For a peak at the mass M with the fraction f,

.. math:: p(m, d|M, f) = f\,N(m; M, 8)\,N(d; \tfrac12, 1)
          + (1 - f)\,N(m; 160, 30)\,N(d; -\tfrac12, 1).

This example shows parameters that do not come from an effective field theory: the density is no
polynomial in M, and f has a physical bound at zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import simpson
from scipy.stats import norm

from milinfer.exceptions import ParameterError
from milinfer.likelihood.models import EventModel
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, Point
from milinfer.utils.points import format_point

__all__ = ["PeakModel", "density", "fisher_information", "generate", "samples"]

_DEFAULTS = {"mass": 172.5, "fraction": 0.5}
_RESOLUTION = 8.0
_BACKGROUND = (160.0, 30.0)
_DISCRIMINANT = 0.5
# Nodes of integrals over m and d, out to eight standard deviations.
_NODES = (2001, 161)


def generate(n_events: int, point: Point, *, seed: int) -> Sample:
    """Generate events of the peak and the background.

    Parameters
    ----------
    n_events
        Number of events.
    point
        ``mass`` in GeV, ``fraction`` between 0 and 1, or both.  If ``mass`` is left out, it is
        172.5 GeV; if ``fraction`` is left out, it is 0.5.  A parameter that is left out is no
        parameter of the sample.
    seed
        Random seed.

    Raises
    ------
    ParameterError
        If the point has an unknown parameter, or if the fraction is not between 0 and 1.

    Examples
    --------
    >>> generate(5, {"mass": 173.0}, seed=1)
    Sample(5 events, 2 features, peak at mass=173)
    """
    mass, fraction = _values(point)
    rng = np.random.default_rng(seed)
    signal = rng.random(n_events) < fraction
    centre, width = _BACKGROUND
    m = np.where(signal, mass, centre)
    m += np.where(signal, _RESOLUTION, width) * rng.normal(size=n_events)
    d = np.where(signal, _DISCRIMINANT, -_DISCRIMINANT) + rng.normal(size=n_events)
    return Sample(
        np.column_stack([m, d]).astype(np.float32),
        ("m_rec", "d"),
        point=dict(point),
        process="peak",
        cross_section=1.0,
        cross_section_error=0.0,
        provenance={"generator": "milinfer.datasets.peak", "seed": seed},
    )


def samples(n_events: int, points: Sequence[Point], *, seed: int) -> SampleSet:
    """Generate one sample for each point.

    Examples
    --------
    >>> samples(5, [{"fraction": f} for f in (0.0, 0.1)], seed=1)
    SampleSet(2 points in fraction, 10 events, 2 features)
    """
    seeds = np.random.SeedSequence(seed).generate_state(len(points))
    return SampleSet(
        tuple(generate(n_events, p, seed=int(s)) for p, s in zip(points, seeds, strict=True))
    )


def density(m: ArrayLike, d: ArrayLike, point: Point) -> FloatArray:
    """Compute the density of events in reconstructed mass (GeV) and discriminant, in 1/GeV.

    Examples
    --------
    >>> density([172.5], [0.5], {"fraction": 1.0}).round(4)
    array([0.0199])
    """
    mass, fraction = _values(point)
    signal, background = _densities(m, d, mass)
    total: FloatArray = fraction * signal + (1 - fraction) * background
    return total


def fisher_information(point: Point) -> FloatArray:
    """Compute the exact Fisher information of one event about mass (1/GeV²) and fraction.

    Returns
    -------
    ndarray
        Information matrix in (mass, fraction), shape (2, 2), by numerical integration.

    Examples
    --------
    >>> fisher_information({"fraction": 1.0})[0, 0].round(6)  # 1/8²
    np.float64(0.015625)
    """
    mass, fraction = _values(point)
    centre, width = _BACKGROUND
    m = np.linspace(centre - 8 * width, centre + 8 * width, _NODES[0])[:, None]
    d = np.linspace(-8.5, 8.5, _NODES[1])
    signal, background = _densities(m, d, mass)
    total = fraction * signal + (1 - fraction) * background
    slopes = np.stack([fraction * signal * (m - mass) / _RESOLUTION**2, signal - background])
    products = slopes[:, None] * slopes[None]
    integrand = np.divide(products, total, out=np.zeros_like(products), where=total > 0)
    information: FloatArray = simpson(simpson(integrand, x=d, axis=-1), x=m[:, 0], axis=-1)
    return information


@dataclass(frozen=True, eq=False)
class PeakModel(EventModel):
    """Model with the exact likelihood ratio of one parameter, mass or fraction.

    The second parameter is fixed.

    Parameters
    ----------
    parameter
        ``"mass"`` or ``"fraction"``.
    interpolation
        Points at which the model gives the likelihood ratio, and the interpolation between them.
        `reference` must be one of the points.
    reference
        Value θ0 of the parameter at which the log-likelihood ratio is zero.
    fixed
        Value of the parameter that is not `parameter`; default: a mass of 172.5 GeV, or a fraction
        of 0.5.

    Examples
    --------
    >>> grid = Interpolation(np.linspace(0, 0.3, 31), "spline")
    >>> model = PeakModel("fraction", grid, 0.1)
    >>> model.event_llr(generate(3, {"fraction": 0.1}, seed=1)).shape
    (3, 31)
    """

    parameter: str
    interpolation: Interpolation
    reference: float
    fixed: float | None = None

    @property
    def name(self) -> str:
        """Name of the method."""
        return "exact"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name of the parameter."""
        return (self.parameter,)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Log-likelihood ratios of the events to θ0, at the K points, shape (n_events, K)."""
        m, d = (sample.column(name).astype(np.float64) for name in ("m_rec", "d"))
        (other,) = set(_DEFAULTS) - {self.parameter}
        rest = {} if self.fixed is None else {other: self.fixed}
        at_reference = np.log(density(m, d, {self.parameter: self.reference, **rest}))
        return np.stack(
            [
                np.log(density(m, d, {self.parameter: value, **rest})) - at_reference
                for value in self.interpolation.grid.tolist()
            ],
            axis=1,
        )


def _densities(m: ArrayLike, d: ArrayLike, mass: float) -> tuple[FloatArray, FloatArray]:
    """Densities of signal and background."""
    signal = norm.pdf(m, mass, _RESOLUTION) * norm.pdf(d, _DISCRIMINANT)
    background = norm.pdf(m, *_BACKGROUND) * norm.pdf(d, -_DISCRIMINANT)
    return signal, background


def _values(point: Point) -> tuple[float, float]:
    """Mass and fraction."""
    values = {**_DEFAULTS, **point}
    if set(values) != set(_DEFAULTS) or not 0 <= values["fraction"] <= 1:
        msg = f"the peak has a mass, and a fraction between 0 and 1, not {format_point(point)}"
        raise ParameterError(msg)
    return float(values["mass"]), float(values["fraction"])
