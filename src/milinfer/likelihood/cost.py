"""−2 ln L of a dataset as an iminuit cost, from Λ(θ) of any model.

All costs use one convention: cost = −2 ln L with ``errordef = 1``, float64, and named scalar
parameters.  A cost can be added to any other iminuit cost (``NormalConstraint``,
``ExtendedBinnedNLL``), and works with MINOS, ``mnprofile`` and ``mncontour``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError, SampleError
from milinfer.likelihood.models import AnyModel, ModelTag, dataset_surface, model_tag
from milinfer.likelihood.named_cost import UnbinnedCost
from milinfer.likelihood.rate import Rate, warn_of_rate_error
from milinfer.likelihood.surface import Surface
from milinfer.likelihood.surface_box import finer, resampled
from milinfer.samples.argument_checks import require_sample
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray
from milinfer.utils.display import html_facts, ranges
from milinfer.utils.points import only

if TYPE_CHECKING:
    from milinfer.likelihood.surface_box import BoxSurface

__all__ = ["Correction", "LikelihoodCost", "dataset_cost", "within_limits"]


class Correction(Protocol):
    """Calibration of a surface: Λ(θ) is replaced by c(θ) [Λ(m(θ)) − Λ(θ̂)]."""

    @property
    def limits(self) -> tuple[tuple[float, float], ...]:
        """Range of each parameter in which m(θ) is inside the range of the surface Λ(θ)."""

    def require_interval(self, parameter: str, cl: float, fixed: Sequence[str]) -> None:
        """Raise a CalibrationError unless intervals of this parameter and level are calibrated."""

    def forward(self, theta: FloatArray) -> FloatArray:
        """Return m(θ), shape (n_parameters,): the mean position of the maximum if θ is true."""

    def jacobian(self, theta: FloatArray) -> FloatArray:
        """Return the derivatives of :meth:`forward`, dm_j/dθ_k.

        The shape is (n_parameters, n_parameters).
        """

    def scale(self, theta: FloatArray) -> float:
        """Return c(θ), the factor on Λ."""

    def scale_gradient(self, theta: FloatArray) -> FloatArray:
        """Return the derivatives dc/dθ of the factor on Λ, shape (n_parameters,)."""


def dataset_cost(
    model: AnyModel, data: Sample, *, reference: ArrayLike, rate: Rate | None = None
) -> LikelihoodCost:
    """Return the cost −2 ln L of a dataset from any model.

    Parameters
    ----------
    model
        Model that computes Λ(θ).
    data
        Events of the dataset.
    reference
        Reference point θ0 of the model.
    rate
        Expected number of events ν(θ), including all backgrounds
        (:meth:`~milinfer.likelihood.rate.Rate.with_background`).  The cost then contains the
        Poisson term of the number of events.  Without `rate`, only the shape is used.

    Raises
    ------
    SampleError
        If the events have simulation weights, or if there are no events and no rate.

    Warns
    -----
    MilinferWarning
        If the errors of the cross-sections in `rate` are large.  The cost treats ν(θ) as exact, so
        the coverage of its intervals is then too low.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> sample = quadratic.generate(500, {"c1": 0.0}, seed=1)
    >>> oracle = Oracle.from_sample(sample, "c1", np.linspace(-1, 1, 21), degree=2)
    >>> dataset_cost(oracle, sample, reference=0.0).parameters
    ('c1',)
    """
    require_sample(data, "cost()")
    data.require_data()
    if not len(data) and rate is None:
        msg = (
            f"{data.label} contains no events, so a shape-only likelihood is undefined; pass rate="
        )
        raise SampleError(msg)
    if rate is not None:
        warn_of_rate_error(rate, reference)
    return LikelihoodCost(
        dataset_surface(model, data),
        model.parameters,
        n_events=float(data.weights.sum()),
        rate=rate,
        reference=reference,
        tag=model_tag(model),
    )


def within_limits(
    theta: FloatArray, low: FloatArray, high: FloatArray, names: Sequence[str]
) -> FloatArray:
    """Move parameter values into the range of a surface Λ(θ) if they are outside by rounding only.

    Parameters
    ----------
    theta, low, high
        Values and their limits, shape (n_parameters,).
    names
        Names of the parameters.

    Raises
    ------
    ParameterError
        If a value is NaN, or outside the range by more than rounding; the message names the
        parameter.

    Examples
    --------
    >>> within_limits(np.array([1 + 1e-12]), np.array([-1.0]), np.array([1.0]), ["mu"])
    array([1.])
    """
    # The limit transformation of Minuit is accurate to a few units in the last place.
    slack = 1e-9 * (high - low)
    outside = (theta < low - slack) | (theta > high + slack) | np.isnan(theta)
    if outside.any():
        k = int(np.argmax(outside))
        remedy = (
            f"Minuit tries nan if a cost is flat: check that the cost depends on {names[k]}"
            if np.isnan(theta[k])
            else "keep the limits that Minuit takes from this cost"
        )
        msg = (
            f"{names[k]} = {theta[k]:g} is outside [{low[k]:g}, {high[k]:g}], the range of the "
            f"surface; {remedy}"
        )
        raise ParameterError(msg)
    clipped: FloatArray = np.clip(theta, low, high)
    return clipped


class LikelihoodCost(UnbinnedCost):
    r"""Cost −2 ln L(θ)/L(θ0) of one dataset in one or several parameters, for iminuit.

    .. math:: -2\,[\,\Lambda_\mathrm{shape}(\theta) + \nu(\theta_0) - \nu(\theta)
              + N \ln(\nu(\theta)/\nu(\theta_0))\,]

    (Azakli and Stelzer [AS], eq. 1).  Here :math:`\Lambda_\mathrm{shape}` is the log-likelihood
    ratio from the distributions of the events, N is the number of events, and ν(θ) is the expected
    number of events.  The limits of the parameters are the range of the training points.  Minuit
    uses these limits, so a fit never extrapolates.  With a calibration,
    :math:`\Lambda_\mathrm{shape}` is replaced by :math:`c(\theta)\,[\Lambda(m(\theta)) -
    \Lambda(\hat\theta)]`, whose maximum is zero.  Here the factor c(θ) corrects the curvature, and
    m(θ) is the mean estimate if θ is the true value.

    Parameters
    ----------
    surface
        Log-likelihood ratio Λ(θ) of the shape.
    parameters
        Name of the parameter, or names in the order of the surface.
    n_events
        Number of events N of the dataset (the sum of their weights); needed if there is a rate.
    rate
        Expected number of events ν(θ); None for the shape alone.
    rate_in_surface
        Whether the surface already includes the terms of `rate`.  If so, they are not added again.
    reference
        Reference point θ0: one value, or one value for each parameter.
    correction
        Calibration of the surface; see :class:`milinfer.intervals.calibration.Calibration`.
    tag
        Tag that identifies the model of the surface; a calibration must have the same tag.

    Examples
    --------
    >>> import numpy as np
    >>> from iminuit import Minuit
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.likelihood.surface import Interpolation
    >>> grid = np.linspace(-1, 1, 11)
    >>> surface = Interpolation(grid, "spline").surface(-50 * (grid - 0.2) ** 2)
    >>> cost = LikelihoodCost(surface, "c_HW", n_events=1000)
    >>> m = Minuit(cost + NormalConstraint("c_HW", 0.0, 0.1), c_HW=0.0).migrad()
    >>> print(f"{m.values['c_HW']:.3f} ± {m.errors['c_HW']:.3f}")
    0.100 ± 0.071
    """

    def __init__(
        self,
        surface: Surface | BoxSurface,
        parameters: str | Sequence[str],
        *,
        n_events: float,
        rate: Rate | None = None,
        rate_in_surface: bool = False,
        reference: ArrayLike = 0.0,
        correction: Correction | None = None,
        tag: ModelTag | None = None,
    ) -> None:
        self.surface = surface
        self.tag = tag
        self.parameters = (parameters,) if isinstance(parameters, str) else tuple(parameters)
        self.n_events = float(n_events)
        self.rate = rate
        self.rate_in_surface = rate_in_surface
        self.reference = np.broadcast_to(
            np.asarray(reference, dtype=np.float64), len(self.parameters)
        )
        self.correction = correction
        self.box = surface.limits if correction is None else correction.limits
        if len(self.box) != len(self.parameters):
            msg = (
                f"a surface in {len(self.box)} parameters does not match the parameters "
                f"{self.parameters}"
            )
            raise ParameterError(msg)
        self._low, self._high = np.array(self.box).T
        super().__init__(dict(zip(self.parameters, self.box, strict=True)), 0)

    def __repr__(self) -> str:
        facts = [*self._facts().values(), ranges(self._parameters)]
        return f"LikelihoodCost({', '.join(f for f in facts if f)})"

    def _repr_html_(self) -> str:
        return html_facts("−2 ln L", {**self._facts(), "parameters": ranges(self._parameters)})

    def _facts(self) -> dict[str, str]:
        return {
            "model": self.tag.name if self.tag else "",
            "data": f"{self.n_events:g} events",
            "Λ": "shape only" if self.rate is None and not self.rate_in_surface else "with rate",
            "calibration": "calibrated" if self.correction is not None else "",
        }

    @property
    def parameter(self) -> str:
        """Name of the only parameter.

        Raises
        ------
        ParameterError
            If there are several parameters.
        """
        return only(self.parameters)

    @property
    def limits(self) -> tuple[float, float]:
        """Range of the only parameter; if there are several parameters, use ``box``."""
        only(self.parameters)
        return self.box[0]

    def corrected(self, correction: Correction, *, with_rate: bool = False) -> LikelihoodCost:
        """Return the same cost with a calibrated surface Λ(θ).

        Parameters
        ----------
        correction
            Calibration of the surface.
        with_rate
            True: correct the sum of shape and rate terms.  False: correct the shape only.
        """
        surface: Surface | BoxSurface = self.surface
        rate = self.rate
        if with_rate and rate is not None:
            fine = finer(surface.interpolation)
            values = resampled(surface.interpolation, surface.values[None], fine)[0]
            if not self.rate_in_surface:
                points = np.asarray(fine.grid).reshape(-1, len(self.parameters))
                values = values + [rate.rate_term(p, self.reference, self.n_events) for p in points]
            surface, rate = fine.surface(values), None
        return LikelihoodCost(
            surface,
            self.parameters,
            n_events=self.n_events,
            rate=rate,
            rate_in_surface=self.rate_in_surface,
            reference=self.reference,
            correction=correction,
            tag=self.tag,
        )

    def _point(self, args: Sequence[float]) -> FloatArray:
        """Return the parameter values inside the limits, shape (n_parameters,)."""
        theta = np.array(args, dtype=np.float64)
        if all(low <= x <= high for x, (low, high) in zip(args, self.box, strict=True)):
            return theta  # the usual case: five times as fast as the check that names the fault
        return within_limits(theta, self._low, self._high, self.parameters)

    def _shape(self, theta: FloatArray) -> float:
        """Return Λ, calibrated if there is a correction."""
        if self.correction is None:
            return self.surface.value(theta)
        drop = self.surface.value(self._calibrated_point(theta)) - self._maximum
        return self.correction.scale(theta) * drop

    def _shape_gradient(self, theta: FloatArray) -> FloatArray:
        correction = self.correction
        if correction is None:
            return self.surface.gradient(theta)
        mapped = self._calibrated_point(theta)
        drop = self.surface.value(mapped) - self._maximum
        slope = self.surface.gradient(mapped) @ correction.jacobian(theta)
        gradient: FloatArray = (
            correction.scale(theta) * slope + correction.scale_gradient(theta) * drop
        )
        return gradient

    def _calibrated_point(self, theta: FloatArray) -> FloatArray:
        """Return m(θ), kept inside the surface."""
        assert self.correction is not None
        low, high = self._surface_box
        mapped: FloatArray = np.minimum(np.maximum(self.correction.forward(theta), low), high)
        return mapped

    @cached_property
    def _surface_box(self) -> tuple[FloatArray, FloatArray]:
        low, high = np.array(self.surface.limits).T
        return low, high

    @cached_property
    def _maximum(self) -> float:
        return float(self.surface.extremum.maximum[0])

    def _value(self, args: Sequence[float]) -> float:
        theta = self._point(args)
        value = self._shape(theta)
        if self.rate is not None and not self.rate_in_surface:
            value += self.rate.rate_term(theta, self.reference, self.n_events)
        return -2.0 * value

    def _grad(self, args: Sequence[float]) -> FloatArray:
        theta = self._point(args)
        slope = self._shape_gradient(theta)
        if self.rate is not None and not self.rate_in_surface:
            slope = slope + self.rate.rate_term_gradient(theta, self.reference, self.n_events)
        return -2.0 * slope
