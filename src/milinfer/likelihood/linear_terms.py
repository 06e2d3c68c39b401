r"""Compute the likelihood with linear (interference) terms only.

EFT groups publish this likelihood in addition to the likelihood with all terms.

A cross-section is a polynomial in the coefficients of the operators.  It contains the standard
model, its interference with each operator (linear terms), and the squared operators (quadratic
terms).  The quadratic terms are of the same order as operators of dimension eight, which are
neglected.  :func:`linear_cost` keeps only the standard model and the linear terms.  It replaces the
cross-section of each event by

.. math:: d\sigma(x|\theta) \propto 1 + \sum_k \theta_k\, \partial_k \ln d\sigma(x|\theta = 0),

and the total cross-section and a rate in the same way.  The density is the cross-section of the
event divided by the total cross-section.  If the model knows the cross-section of every event as a
polynomial (polynomial heads, the exact ratio), the derivatives are taken from the polynomials.
Other models provide the score, which is the derivative of the logarithm of the normalised density;
the total is then one.

Without the quadratic terms a density can become negative.  There is no likelihood beyond the first
θ at which the density of an event of the data is zero.  The range of the cost ends before this
point, and a warning names the point and the event.
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from milinfer.exceptions import FitError, MilinferWarning, ModelError, ParameterError
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.models import AnyModel, Model, ModelTag, as_model, model_tag
from milinfer.likelihood.observables import score_observable
from milinfer.likelihood.rate import Rate, warn_of_rate_error
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox, UntabulatedBox, fine_degree
from milinfer.samples.argument_checks import require_sample
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray
from milinfer.utils.polynomials import PolynomialBasis

__all__ = ["Terms", "is_linear", "linear_cost", "require_terms"]

Terms = Literal["all", "linear"]
"""Terms in the parameters to keep: all or linear."""

# Fraction of the range up to the first zero of a density that is used.
_INSIDE = 0.999
# A range smaller than this fraction of the range of the training counts as none.
_LEAST = 0.01
_NODES = 161
# End of a tag; toys and calibrations of the full likelihood have another tag.
_LINEAR = ", linear terms"


def require_terms(terms: str) -> None:
    """Raise an error unless `terms` is ``"all"`` or ``"linear"``.

    Raises
    ------
    ParameterError
        If `terms` is unknown; the message names the choices.

    Examples
    --------
    >>> require_terms("linear")
    """
    if terms not in ("all", "linear"):
        msg = f"terms={terms!r} is not 'all' or 'linear'; use one of these"
        raise ParameterError(msg)


def linear_cost(model: AnyModel, data: Sample, *, rate: Rate | None = None) -> LikelihoodCost:
    """Return the cost −2 ln L of a dataset, with only the linear terms in the parameters.

    The squared terms of the cross-section are dropped; the interference with the standard model is
    kept.  The formula is in :mod:`milinfer.likelihood.linear_terms`.

    Parameters
    ----------
    model
        Model of single events whose parameter range contains zero.
    data
        Events of the dataset.
    rate
        Expected number of events ν(θ).  Only its linear terms are used.

    Raises
    ------
    ParameterError
        If zero is outside the range of the model, or the rate has other parameters.
    ModelError
        If the model scores whole bags.
    FitError
        If the density of an event is positive only in less than a hundredth of the range of the
        model.

    Warns
    -----
    MilinferWarning
        If the density of an event vanishes inside the range of the model, so that the cost has a
        smaller range.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> data = quadratic.generate(500, {"c1": 0.0}, seed=1)
    >>> oracle = Oracle.from_sample(data, "c1", np.linspace(-0.4, 0.4, 21), degree=2)
    >>> cost = linear_cost(oracle, data)
    >>> bool(np.isclose(cost.grad(0.0)[0], oracle.cost(data).grad(0.0)[0], atol=1e-3))
    True
    """
    require_sample(data, "linear_cost()")
    data.require_data()
    source = as_model(model)
    names, limits = source.parameters, np.array(source.interpolation.limits)
    low, high = limits.T
    zero = np.zeros(len(names))
    if not np.all((low < 0) & (high > 0)):
        msg = (
            f"{source.name} was learned in {limits.tolist()}, but linear terms are defined at "
            "zero, which must be inside this range; use another model"
        )
        raise ParameterError(msg)
    slopes, weights, events = _slopes(source, data)
    if rate is not None:
        if rate.basis.parameters != names:
            msg = (
                f"the rate depends on {rate.basis.parameters}, but the model on "
                f"{', '.join(names)}; give a rate of the same parameters"
            )
            raise ParameterError(msg)
        rate = rate.linear()
        warn_of_rate_error(rate, zero)
        relative = rate.basis.design_gradient(zero) @ rate.coefficients / rate.value([zero])[0]
        slopes, weights = np.vstack([slopes, relative]), np.append(weights, 0.0)
        events = [*events, "the rate"]
    share, k = _positive_share(slopes, low, high)
    if share < 1:
        where = ", ".join(
            f"{n} from {a:.4g} to {b:.4g}"
            for n, a, b in zip(names, share * low, share * high, strict=True)
        )
        what = f"with linear terms alone, the density of {events[k]} of {data.label}"
        if share < _LEAST:
            msg = (
                f"{what} is positive only for {where}, which leaves no range to fit; check this "
                "event, or keep all terms"
            )
            raise FitError(msg)
        msg = f"{what} is not positive everywhere in the range: the fit is limited to {where}"
        warnings.warn(msg, MilinferWarning, stacklevel=3)
        low, high = share * low, share * high
    basis = PolynomialBasis(names, 1)
    order = [int(np.flatnonzero(row)[0]) for row in basis.exponents[1:]]
    exact = LogPolynomials(
        basis=basis,
        centre=zero,
        half=np.ones(len(names)),
        coefficients=np.column_stack([np.ones(len(slopes)), slopes[:, order]]),
        weights=weights,
        low=low,
        high=high,
        reference=zero,
    )
    grid: Interpolation | ChebyshevBox
    if len(names) == 1:
        grid = Interpolation(np.linspace(low[0], high[0], _NODES), "spline")
    elif isinstance(source.interpolation, UntabulatedBox):
        grid = UntabulatedBox(low, high)
    else:
        grid = ChebyshevBox(low, high, fine_degree(len(names)))
    surface = grid.exact_surface(exact)
    tag = model_tag(source)
    return LikelihoodCost(
        surface,
        names,
        n_events=float(data.weights.sum()),
        rate=rate,
        reference=0.0,
        tag=tag._replace(name=f"{tag.name}{_LINEAR}", digest=f"{tag.digest}{_LINEAR}"),
    )


def is_linear(tag: ModelTag) -> bool:
    """Return whether a tag belongs to a cost with linear terms only.

    Parameters
    ----------
    tag
        Tag of a cost.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> data = quadratic.generate(500, {"c1": 0.0}, seed=1)
    >>> oracle = Oracle.from_sample(data, "c1", np.linspace(-0.4, 0.4, 21), degree=2)
    >>> is_linear(linear_cost(oracle, data).tag), is_linear(oracle.cost(data).tag)
    (True, False)
    """
    return tag.digest.endswith(_LINEAR)


def _slopes(source: Model, data: Sample) -> tuple[FloatArray, FloatArray, list[str]]:
    """Return the relative slope of each row at zero (n_rows, P), its weight and its source."""
    zero = np.zeros(len(source.parameters))
    polynomials = source.log_polynomials(data)
    if polynomials is not None:
        slopes = polynomials.slopes_at(zero) / polynomials.at(zero)[:, None]
        # Each member of an ensemble has a row for each event, and one for the total.
        block = len(data) + 1
        rows = [
            f"event {k % block}" if k % block < len(data) else "the sum of all events"
            for k in range(len(slopes))
        ]
        return slopes, polynomials.weights, rows
    if not source.additive:
        msg = (
            f"{source.name} has no ratios of single events, so linear terms are undefined; use a "
            "model of single events, such as head='polynomial'"
        )
        raise ModelError(msg)
    each = [score_observable(source, zero, parameter=n)(data) for n in source.parameters]
    return np.stack(each, axis=1), data.weights, [f"event {k}" for k in range(len(data))]


def _positive_share(slopes: FloatArray, low: FloatArray, high: FloatArray) -> tuple[float, int]:
    """Return the fraction of the range where 1 + θ·slope > 0 for all rows, and the limiting row."""
    lowest = np.minimum(slopes * low, slopes * high).sum(axis=1)
    k = int(np.argmin(lowest))
    if lowest[k] > -_INSIDE:
        return 1.0, k
    return float(_INSIDE / -lowest[k]), k
