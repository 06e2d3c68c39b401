r"""Compute how much the Monte-Carlo errors of expected yields move a fit with nuisance parameters.

The mean response :math:`\kappa(\theta, \alpha)` is the expected number of events divided by its
nominal value.  It is computed from a finite number of simulated events.  The error of κ changes the
slope of the expected number of events, and thereby moves the minimum.  If the data constrain every
parameter, the minimum moves by about :math:`\sqrt{n/N}` times the errors of the fit, with n events
of data and N simulated events.

The shift is larger if a nuisance parameter and another parameter have nearly the same effect on
events.  The densities of the events then determine only the sum of the two effects; only the number
of events and the constraint separate them.  In this case the shift is multiplied by the size of the
variation, in standard deviations of the data.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from iminuit import Minuit

from milinfer.exceptions import FitError, ParameterError
from milinfer.likelihood.systematics import SystematicCost
from milinfer.utils.arguments import short_repr

__all__ = ["yield_noise"]


def yield_noise(cost: SystematicCost, fit: Minuit) -> dict[str, float]:
    """Return the error of each estimate due to the finite simulation of the expected yields.

    The simulated events determine the mean responses, which give the expected yields.  Some of
    these events are left out in turn (a jackknife).  The change of the minimum is computed from the
    slope and the covariance matrix, without another fit.

    Parameters
    ----------
    cost
        Cost of a dataset.
    fit
        Minuit object of this cost at its minimum, with the covariance matrix of ``hesse()``.

    Returns
    -------
    dict
        For each fitted parameter, the standard deviation of its estimate due to the finite
        simulation, divided by the error of the parameter.  A value below 0.2 increases the total
        error by less than 2 %.

    Raises
    ------
    ParameterError
        If the parameters of cost and fit differ.
    FitError
        If the fit has no covariance matrix.

    Examples
    --------
    >>> import milinfer as mil
    >>> from milinfer.datasets import gaussian
    >>> terms = mil.systematic_terms(gaussian.MeanModel(), rate=100.0, responses={}, reference=0.0,
    ...     uncertainties=[mil.NormalisationUncertainty("trigger", {"signal": (0.9, 1.1)})])
    >>> cost = terms.cost(gaussian.generate(100, 0.0, seed=1).as_data())
    >>> yield_noise(cost, mil.minuit(cost).migrad())  # factors on yields have no noise
    {'mu': 0.0, 'trigger': 0.0}
    """
    given: object = cost
    if not isinstance(given, SystematicCost) or tuple(fit.parameters) != cost.terms.names:
        msg = (
            "yield_noise() takes a SystematicCost and its Minuit object, not "
            f"{short_repr(cost)} and a fit of {', '.join(fit.parameters)}"
        )
        raise ParameterError(msg)
    if fit.covariance is None:
        msg = "the fit has no covariance matrix; run fit.migrad() and fit.hesse() first"
        raise FitError(msg)
    at, covariance = list(fit.values), np.array(fit.covariance)
    slope = cost.grad(*at)
    variance = np.zeros(len(at))
    for process, response in cost.terms.responses.items():
        n = len(response.expected.singles) - 1
        shifts = np.empty((n, len(at)))
        for k in range(n):
            other = replace(cost.terms, replicas={process: k + 1})
            moved = SystematicCost(other, cost.events, extended=cost.extended).grad(*at)
            shifts[k] = covariance @ (moved - slope) / 2
        variance += (n - 1) * shifts.var(axis=0)
    errors = np.array(fit.errors)
    noise = np.sqrt(variance) / errors
    return {
        name: float(x) for name, x in zip(fit.parameters, noise, strict=True) if not fit.fixed[name]
    }
