"""The learned surface as an iminuit cost function.

One convention everywhere: cost = −2 ln L with ``errordef = 1``, float64, parameters are named
scalars.  The cost adds to any other iminuit cost (``NormalConstraint``, ``ExtendedBinnedNLL``)
and works with MINOS, ``mnprofile`` and ``mncontour``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from iminuit.cost import CHISQUARE, Cost

from milinfer.exceptions import ParameterError
from milinfer.surface import Surface
from milinfer.typing import FloatArray

if TYPE_CHECKING:
    from milinfer.rate import Rate

__all__ = ["LikelihoodCost", "Reparametrisation"]


class Reparametrisation(NamedTuple):
    """θ → m(θ), the parameter value at which a biased estimator puts its maximum for truth θ.

    Parameters
    ----------
    forward, derivative
        m(θ) and dm/dθ.
    limits
        Range of θ for which m(θ) is inside the range of the surface.
    """

    forward: Callable[[float], float]
    derivative: Callable[[float], float]
    limits: tuple[float, float]


class LikelihoodCost(Cost):  # type: ignore[misc]  # iminuit has no type information here
    r"""Cost −2 ln L(θ)/L(θ0) of one dataset.

    .. math:: -2\,[\,c\,\Lambda_\mathrm{shape}(m(\theta)) + \nu(\theta_0) - \nu(\theta)
              + N \ln(\nu(\theta)/\nu(\theta_0))\,]

    (seed 001, eq. 1; c and m are the calibration, 1 and the identity without one).  The parameter
    carries the range of the training points as its limits, which Minuit takes over, so that a fit
    never extrapolates.

    Parameters
    ----------
    surface
        Λ of the shape.
    parameter
        Its name.
    n_events
        (Weighted) number of events of the dataset; the rate term needs it.
    rate
        Expected yield ν(θ); None for the shape alone.
    reference
        θ0.
    scale, reparametrisation
        Calibration of the shape; see :class:`milinfer.calibration.Calibration`.

    Examples
    --------
    >>> import numpy as np
    >>> from iminuit import Minuit
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.surface import Interpolation
    >>> grid = np.linspace(-1, 1, 11)
    >>> surface = Interpolation(grid, "spline").surface(-50 * (grid - 0.2) ** 2)
    >>> cost = LikelihoodCost(surface, "c_HW", n_events=1000)
    >>> m = Minuit(cost + NormalConstraint("c_HW", 0.0, 0.1), c_HW=0.0).migrad()
    >>> print(f"{m.values['c_HW']:.3f} ± {m.errors['c_HW']:.3f}")
    0.100 ± 0.071
    """

    def __init__(
        self,
        surface: Surface,
        parameter: str,
        *,
        n_events: float,
        rate: Rate | None = None,
        reference: float = 0.0,
        scale: float = 1.0,
        reparametrisation: Reparametrisation | None = None,
    ) -> None:
        self.surface = surface
        self.parameter = parameter
        self.n_events = float(n_events)
        self.rate = rate
        self.reference = float(reference)
        self.scale = float(scale)
        self.reparametrisation = reparametrisation
        self.limits = surface.range if reparametrisation is None else reparametrisation.limits
        super().__init__({parameter: self.limits}, 0)

    def calibrated(self, scale: float, reparametrisation: Reparametrisation) -> LikelihoodCost:
        """The same cost with a calibrated shape."""
        return LikelihoodCost(
            self.surface,
            self.parameter,
            n_events=self.n_events,
            rate=self.rate,
            reference=self.reference,
            scale=scale,
            reparametrisation=reparametrisation,
        )

    def _errordef(self) -> float:
        return float(CHISQUARE)

    def _ndata(self) -> float:
        return np.inf  # an unbinned likelihood, as iminuit counts

    def _has_grad(self) -> bool:
        return True

    def _checked(self, args: Sequence[float]) -> float:
        theta = float(args[0])
        low, high = self.limits
        # Minuit's transformed limits round by a few ulp.
        slack = 1e-9 * (high - low)
        if not low - slack <= theta <= high + slack:
            msg = (
                f"{self.parameter} = {theta:g} is outside [{low:g}, {high:g}], where the surface "
                f"was learned; keep the limits that Minuit takes from this cost"
            )
            raise ParameterError(msg)
        return min(max(theta, low), high)

    def _argument(self, theta: float) -> float:
        if self.reparametrisation is None:
            return theta
        low, high = self.surface.range
        return min(max(self.reparametrisation.forward(theta), low), high)

    def _value(self, args: Sequence[float]) -> float:
        theta = self._checked(args)
        value = self.scale * float(self.surface(self._argument(theta)))
        if self.rate is not None:
            value += self.rate.rate_term(theta, self.reference, self.n_events)
        return -2.0 * value

    def _grad(self, args: Sequence[float]) -> FloatArray:
        theta = self._checked(args)
        slope = self.scale * float(self.surface(self._argument(theta), 1))
        if self.reparametrisation is not None:
            slope *= self.reparametrisation.derivative(theta)
        if self.rate is not None:
            slope += self.rate.rate_term_gradient(theta, self.reference, self.n_events)
        return np.array([-2.0 * slope])
