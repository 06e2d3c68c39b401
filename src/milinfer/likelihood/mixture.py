"""The unbinned likelihood of signal and backgrounds, as an iminuit cost.

The normalisations of the backgrounds are parameters like any other: constrain them with
``NormalConstraint``, or share them with another channel by name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from iminuit.cost import CHISQUARE, Cost
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError
from milinfer.likelihood.cost import within_limits
from milinfer.likelihood.event_surfaces import EventPolynomials, EventSurfaces
from milinfer.likelihood.mixture_terms import Backgrounds, MixtureTerms, mixture_terms
from milinfer.likelihood.models import Model, polynomial_sums
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.segments import event_table
from milinfer.samples.samples import Sample
from milinfer.typing import FloatArray

__all__ = ["MixtureCost", "mixture_cost"]


def mixture_cost(
    model: Model,
    data: Sample,
    *,
    rate: Rate | float,
    backgrounds: Backgrounds,
    reference: ArrayLike | None = None,
    extended: bool = True,
) -> MixtureCost:
    """Cost −2 ln L of a dataset that contains backgrounds.

    Parameters
    ----------
    model
        ln r(x|θ) of the signal, of single events.
    data
        The dataset; weights ±1.
    rate
        Expected signal ν_s(θ); a number where it does not depend on the parameters.
    backgrounds
        ``{name: (ratio, expected yield)}``.  The ratio is ln p_b(x)/p_s(x|θ0): a
        :class:`~milinfer.learning.background_ratio.BackgroundRatio`, anything else with
        ``log_ratio(sample)``, or a function of a sample.  Its normalisation becomes the parameter
        ``{name}_norm``, which multiplies the expected yield.
    reference
        θ0 of the model; default: what the model says.
    extended
        Whether the number of events counts.  Without it the yields determine the shares of the
        processes only.

    Raises
    ------
    SampleError
        If the events have the weights of simulation.
    ModelError, ParameterError, ConfigurationError
        If the terms do not belong together; see :func:`milinfer.likelihood.mixture_terms.mixture_terms`.

    Examples
    --------
    >>> from iminuit import Minuit
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.datasets import gaussian
    >>> def ratio(sample):  # of N(2, 1) to N(0, 1)
    ...     return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)
    >>> signal, other = (gaussian.generate(n, mu, seed=1) for n, mu in ((800, 0.1), (200, 2.0)))
    >>> data = Sample(np.concatenate([signal.features, other.features]), ("x0",))
    >>> cost = mixture_cost(gaussian.MeanModel(), data, rate=800.0, reference=0.0,
    ...                     backgrounds={"bkg": (ratio, 200.0)})
    >>> m = Minuit(cost + NormalConstraint("bkg_norm", 1.0, 0.1), mu=0.0, bkg_norm=1.0).migrad()
    >>> m.valid, bool(abs(m.values["mu"] - 0.1) < 3 * m.errors["mu"])
    (True, True)
    """
    data.require_data()
    terms = mixture_terms(model, rate, backgrounds, reference)
    exact = polynomial_sums(model, data)
    surfaces: EventSurfaces | EventPolynomials
    if exact is not None:
        surfaces = EventPolynomials(model.interpolation, exact, len(data))
    else:
        table = event_table(model, data)
        surfaces = EventSurfaces(model.interpolation, table.astype(np.float64, copy=False))
    return MixtureCost(terms, surfaces, data, extended=extended)


class MixtureCost(Cost):  # type: ignore[misc]  # iminuit has no type information here
    r"""Cost −2 ln L(θ, n)/L(θ0, 1) of a dataset of signal and backgrounds.

    .. math:: \ln L = \sum_i w_i \ln\Big[\nu_s(\theta)\,r(x_i|\theta)
              + \sum_b n_b \nu_b\,b_b(x_i)\Big] - \nu_s(\theta) - \sum_b n_b \nu_b

    with :math:`r = p_s(x|\theta)/p_s(x|\theta_0)` and :math:`b = p_b(x)/p_s(x|\theta_0)`: the
    extended likelihood (Barlow, Nucl. Instrum. Meth. A 297, 496, 1990) over
    :math:`\prod_i p_s(x_i|\theta_0)`.  If it is not ``extended``, the total is replaced by
    :math:`N \ln` of itself, which leaves the shares of the processes.

    Parameters of the model carry their range as limits, normalisations :math:`[0, \infty)`.

    Parameters
    ----------
    terms
        Signal and backgrounds.
    surfaces
        Λ_i(θ) of the events.
    data
        The same events.
    extended
        Whether the number of events counts.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> data = gaussian.generate(100, 0.0, seed=1)
    >>> cost = mixture_cost(gaussian.MeanModel(), data, rate=90.0, reference=0.0,
    ...                     backgrounds={"flat": (lambda s: np.zeros(len(s)), 10.0)})
    >>> cost.start
    {'mu': 0.0, 'flat_norm': 1.0}
    >>> round(cost(*cost.start.values()), 12) + 0.0
    0.0
    """

    def __init__(
        self,
        terms: MixtureTerms,
        surfaces: EventSurfaces | EventPolynomials,
        data: Sample,
        *,
        extended: bool = True,
    ) -> None:
        self.terms = terms
        self.surfaces = surfaces
        self.extended = extended
        self.parameters = terms.model.parameters
        self.norms = terms.norms
        self.weights = data.weights
        self.n_events = float(data.weights.sum())
        log_reference, self._log_backgrounds = terms.log_reference(data)
        self._log_reference = log_reference
        self._total = terms.signal_at_reference + float(terms.expected.sum())
        box = surfaces.interpolation.limits
        self._low, self._high = np.array(box).T
        limits = dict(zip(self.parameters, box, strict=True))
        super().__init__(limits | dict.fromkeys(self.norms, (0.0, np.inf)), 0)

    @property
    def start(self) -> dict[str, float]:
        """θ0 and normalisations of one, where the cost is zero: ``Minuit(cost, **cost.start)``."""
        at = dict(zip(self.parameters, self.terms.reference.tolist(), strict=True))
        return at | dict.fromkeys(self.norms, 1.0)

    def _errordef(self) -> float:
        return float(CHISQUARE)

    def _ndata(self) -> float:
        return np.inf  # an unbinned likelihood, as iminuit counts

    def _has_grad(self) -> bool:
        return True

    def _checked(self, args: Sequence[float]) -> tuple[FloatArray, FloatArray]:
        given = np.array(args, dtype=np.float64)
        n = len(self.parameters)
        theta = within_limits(given[:n], self._low, self._high, self.parameters)
        norms = given[n:]
        if not np.all(norms >= 0):
            k = int(np.argmin(norms >= 0))
            msg = (
                f"{self.norms[k]} = {norms[k]:g} is negative; keep the limits that Minuit takes "
                "from this cost"
            )
            raise ParameterError(msg)
        return theta, norms

    def _terms(self, theta: FloatArray, norms: FloatArray, signal: float) -> FloatArray:
        """Logarithms of signal and backgrounds of each event, (1 + n_backgrounds, n_events)."""
        rows = np.empty((1 + len(norms), len(self.weights)))
        np.subtract(self.surfaces.value(theta), self._log_reference, out=rows[0])
        rows[0] += np.log(signal)
        with np.errstate(divide="ignore"):  # ln 0 of a normalisation at its limit
            np.add(self._log_backgrounds, np.log(norms)[:, None], out=rows[1:])
        return rows

    def _value(self, args: Sequence[float]) -> float:
        theta, norms = self._checked(args)
        signal = float(self.terms.signal(theta[None])[0])
        total = signal + float(norms @ self.terms.expected)
        value = float(self.weights @ _log_sum(self._terms(theta, norms, signal)))
        if self.extended:
            return -2.0 * (value - (total - self._total))
        return -2.0 * (value - self.n_events * float(np.log(total / self._total)))

    def _grad(self, args: Sequence[float]) -> FloatArray:
        theta, norms = self._checked(args)
        signal = float(self.terms.signal(theta[None])[0])
        rows = self._terms(theta, norms, signal)
        log_sum = _log_sum(rows)
        share = self.weights * np.exp(rows[0] - log_sum)
        slope = self.terms.signal_gradient(theta)
        of_theta = self.surfaces.gradient(theta) @ share + slope * (share.sum() / signal)
        of_norms = np.exp(self._log_backgrounds - log_sum) @ self.weights
        expected = self.terms.expected
        factor = 1.0 if self.extended else self.n_events / (signal + float(norms @ expected))
        return -2.0 * np.concatenate([of_theta - factor * slope, of_norms - factor * expected])


def _log_sum(rows: FloatArray) -> FloatArray:
    """Logarithm of the sum of exponentials in each column, whatever their size."""
    total: FloatArray = np.logaddexp.reduce(rows, axis=0)
    return total
