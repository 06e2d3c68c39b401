"""The unbinned likelihood of signal and backgrounds, as an iminuit cost.

The normalisations of the backgrounds are parameters of the cost.  You can constrain them with
``NormalConstraint``, or share them with another channel that uses the same names.

:class:`MixtureTerms` contains yields and density ratios of signal and backgrounds.  Without a
background Λ is the sum of the log-ratios of the events, which can be computed in advance.  With a
background the cost is computed from each event at every call.  :class:`EventSurfaces` therefore
stores Λ_i(θ) of all events i as coefficients, so that a call is one product of the coefficients
with a small vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ConfigurationError, ModelError, ParameterError
from milinfer.likelihood.cost import within_limits
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.models import (
    AnyModel,
    Model,
    as_model,
    model_tag,
    trained_on,
)
from milinfer.likelihood.named_cost import UnbinnedCost
from milinfer.likelihood.rate import Rate, warn_of_rate_error
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.argument_checks import require_sample
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray
from milinfer.utils.arguments import positive_number, short_repr
from milinfer.utils.display import ranges
from milinfer.utils.polynomials import chebyshev_terms

__all__ = [
    "Backgrounds",
    "Component",
    "EventPolynomials",
    "EventRatio",
    "EventSurfaces",
    "MixtureCost",
    "MixtureTerms",
    "event_surfaces",
    "log_sum",
    "mixture_cost",
    "mixture_terms",
    "require_linear",
]


def mixture_cost(
    model: AnyModel,
    data: Sample,
    *,
    rate: Rate | float,
    backgrounds: Backgrounds,
    reference: ArrayLike | None = None,
    extended: bool = True,
) -> MixtureCost:
    """Return the unbinned cost −2 ln L of a dataset that contains signal and backgrounds.

    Parameters
    ----------
    model
        Model of single events for the log density ratio ln r(x|θ) of the signal, relative to θ0.
    data
        Events of the dataset, with weights ±1.
    rate
        Expected number of signal events ν_s(θ); pass a number if it does not depend on the
        parameters.
    backgrounds
        ``{name: (ratio, expected yield)}``.  The ratio is given as its logarithm ln
        p_b(x)/p_s(x|θ0), with the densities p_b of the background and p_s of the signal.  Pass a
        :class:`~milinfer.learning.background_ratio.BackgroundRatio`, another object with
        ``log_ratio(sample)``, or a function of a sample.  The cost gets the parameter
        ``{name}_norm``, which multiplies the expected yield.
    reference
        Reference point θ0 of the model; default: ``model.reference``.
    extended
        Whether the likelihood contains the Poisson term of the number of events.  Without this
        term, the yields determine only the fractions of the processes.

    Raises
    ------
    SampleError
        If the events have simulation weights.
    ModelError, ParameterError, ConfigurationError
        If signal and backgrounds do not fit together; see :func:`mixture_terms`.

    Warns
    -----
    MilinferWarning
        If the errors of the cross-sections in `rate` are large.  The cost treats ν(θ) as exact, so
        the coverage of its intervals is then too low.

    Examples
    --------
    >>> from iminuit import Minuit
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.datasets import gaussian
    >>> def ratio(sample):  # log of the density N(2, 1) over N(0, 1)
    ...     return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)
    >>> signal, other = (gaussian.generate(n, mu, seed=1) for n, mu in ((800, 0.1), (200, 2.0)))
    >>> data = Sample(np.concatenate([signal.features, other.features]), ("x0",))
    >>> cost = mixture_cost(gaussian.MeanModel(), data, rate=800.0, reference=0.0,
    ...                     backgrounds={"bkg": (ratio, 200.0)})
    >>> m = Minuit(cost + NormalConstraint("bkg_norm", 1.0, 0.1), mu=0.0, bkg_norm=1.0).migrad()
    >>> m.valid, bool(abs(m.values["mu"] - 0.1) < 3 * m.errors["mu"])
    (True, True)
    """
    require_sample(data, "mixture_cost()")
    data.require_data()
    terms = mixture_terms(model, rate, backgrounds, reference)
    if isinstance(rate, Rate) and extended:
        warn_of_rate_error(rate, terms.reference, float(terms.expected.sum()))
    return MixtureCost(terms, event_surfaces(terms.model, data), data, extended=extended)


def event_surfaces(model: Model, data: Sample) -> EventSurfaces | EventPolynomials:
    """Return Λ_i(θ) of every event i, without interpolation between points if the model allows it.

    Parameters
    ----------
    model
        Model of single events.
    data
        Events of the dataset.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> data = gaussian.generate(10, 0.0, seed=1)
    >>> event_surfaces(as_model(gaussian.MeanModel()), data).value(np.array([0.5])).shape
    (10,)
    """
    exact = model.log_polynomials(data)
    if exact is not None:
        return EventPolynomials(model.interpolation, exact, len(data))
    table = model.event_table(data)
    return EventSurfaces(model.interpolation, table.astype(np.float64, copy=False))


class MixtureCost(UnbinnedCost):
    r"""Cost −2 ln L(θ, n)/L(θ0, 1) of a dataset of signal and backgrounds.

    .. math:: \ln L = \sum_i w_i \ln\Big[\nu_s(\theta)\,r(x_i|\theta)
              + \sum_b n_b \nu_b\,b_b(x_i)\Big] - \nu_s(\theta) - \sum_b n_b \nu_b

    Here :math:`r = p_s(x|\theta)/p_s(x|\theta_0)` and :math:`b_b = p_b(x)/p_s(x|\theta_0)` are the
    density ratios of signal and background, and :math:`\theta_0` is the reference point.
    :math:`\nu_s` and :math:`\nu_b` are the expected numbers of events, :math:`n_b` the
    normalisations and :math:`w_i` the event weights.  This is the extended likelihood (Barlow,
    Nucl. Instrum. Meth. A 297, 496, 1990) divided by :math:`\prod_i p_s(x_i|\theta_0)`.  The last
    two terms are minus the total yield :math:`\nu`.  If the likelihood is not ``extended``, they
    are replaced by :math:`-N \ln \nu` for N events, so that only the fractions of the processes
    matter.

    The limits of the parameters of the model are the range of the model.  The limits of the
    normalisations are :math:`[0, \infty)`.

    Parameters
    ----------
    terms
        Signal and backgrounds.
    surfaces
        Log-likelihood ratio Λ_i(θ) of each event.
    data
        The events to which `surfaces` belongs.
    extended
        Whether the likelihood contains the Poisson term of the number of events.

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

    def __repr__(self) -> str:
        kind = "with rate" if self.extended else "shape only"
        return f"MixtureCost({self.n_events:g} events, {kind}, {ranges(self._parameters)})"

    @property
    def log_ratios(self) -> tuple[FloatArray, FloatArray]:
        """Result of :meth:`MixtureTerms.log_reference` for the events of the dataset."""
        return self._log_reference, self._log_backgrounds

    @property
    def start(self) -> dict[str, float]:
        """Starting values for ``Minuit(cost, **cost.start)``: θ0, and 1 for each normalisation."""
        at = dict(zip(self.parameters, self.terms.reference.tolist(), strict=True))
        return at | dict.fromkeys(self.norms, 1.0)

    def _split(self, args: Sequence[float]) -> tuple[FloatArray, FloatArray]:
        """Return θ and the normalisations, inside their limits."""
        values = np.array(args, dtype=np.float64)
        n = len(self.parameters)
        theta = within_limits(values[:n], self._low, self._high, self.parameters)
        norms = values[n:]
        if not np.all(norms >= 0):
            k = int(np.argmin(norms >= 0))
            msg = (
                f"{self.norms[k]} = {norms[k]:g} is negative; keep the limits that Minuit takes "
                "from this cost"
            )
            raise ParameterError(msg)
        return theta, norms

    def _terms(self, theta: FloatArray, norms: FloatArray, signal: float) -> FloatArray:
        """Return log densities of all processes at the events, (1 + n_backgrounds, n_events)."""
        rows = np.empty((1 + len(norms), len(self.weights)))
        np.subtract(self.surfaces.value(theta), self._log_reference, out=rows[0])
        rows[0] += np.log(signal)
        with np.errstate(divide="ignore"):  # ln 0 of a normalisation at its limit
            np.add(self._log_backgrounds, np.log(norms)[:, None], out=rows[1:])
        return rows

    def _value(self, args: Sequence[float]) -> float:
        theta, norms = self._split(args)
        signal = float(self.terms.signal(theta[None])[0])
        total = signal + float(norms @ self.terms.expected)
        value = float(self.weights @ log_sum(self._terms(theta, norms, signal)))
        if self.extended:
            return -2.0 * (value - (total - self._total))
        return -2.0 * (value - self.n_events * float(np.log(total / self._total)))

    def _grad(self, args: Sequence[float]) -> FloatArray:
        theta, norms = self._split(args)
        signal = float(self.terms.signal(theta[None])[0])
        rows = self._terms(theta, norms, signal)
        total = log_sum(rows)
        share = self.weights * np.exp(rows[0] - total)
        slope = self.terms.signal_gradient(theta)
        of_theta = self.surfaces.gradient(theta) @ share + slope * (share.sum() / signal)
        of_norms = np.exp(self._log_backgrounds - total) @ self.weights
        expected = self.terms.expected
        factor = 1.0 if self.extended else self.n_events / (signal + float(norms @ expected))
        return -2.0 * np.concatenate([of_theta - factor * slope, of_norms - factor * expected])


def log_sum(rows: FloatArray) -> FloatArray:
    """Return the logarithm of the sum of exponentials in each column, without overflow.

    Examples
    --------
    >>> log_sum(np.log([[1.0, 2.0], [3.0, 4.0]])).round(6)
    array([1.386294, 1.791759])
    """
    total: FloatArray = np.logaddexp.reduce(rows, axis=0)
    return total


class EventRatio(Protocol):
    """Object that computes ln p_b(x)/p_s(x|θ0) of every event."""

    def log_ratio(self, sample: Sample) -> FloatArray:
        """Return ln p_b(x)/p_s(x|θ0) of every event, shape (n_events,)."""


Ratio: TypeAlias = EventRatio | Callable[[Sample], FloatArray]
Backgrounds: TypeAlias = Mapping[str, tuple[Ratio, float]]


class Component(NamedTuple):
    """Background process of a mixture.

    Parameters
    ----------
    name
        Name of the background; its normalisation is the parameter ``{name}_norm``.
    ratio
        Logarithm of the density ratio of the background to the signal at θ0: an object with
        ``log_ratio(sample)``, or a function of a sample.
    expected
        Expected number of events at a normalisation of one.
    """

    name: str
    ratio: Ratio
    expected: float

    @property
    def parameter(self) -> str:
        """Name of the normalisation parameter of this background."""
        return f"{self.name}_norm"

    def log_ratio(self, sample: Sample) -> FloatArray:
        """Return ln p_b(x)/p_s(x|θ0) of each event, shape (n_events,).

        Raises
        ------
        ModelError
            If the result is not one number, finite or −∞, for each event.
        """
        evaluate: Any = getattr(self.ratio, "log_ratio", self.ratio)
        given = evaluate(sample)
        try:
            values = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            msg = (
                f"the ratio of background {self.name!r} returns a {type(given).__name__}; it must "
                "return an array with one ln p_b/p_s for each event"
            )
            raise ModelError(msg) from error
        if values.shape != (len(sample),):
            msg = (
                f"the ratio of background {self.name!r} has shape {values.shape} for "
                f"{len(sample)} events; it must return one ln p_b/p_s for each event"
            )
            raise ModelError(msg)
        bad = np.isnan(values) | (values == np.inf)
        if bad.any():
            msg = (
                f"the ratio of background {self.name!r} is {values[bad][0]} in event "
                f"{int(np.argmax(bad))} of {sample.label}; the signal must have a positive density "
                "at every event"
            )
            raise ModelError(msg)
        return values


@dataclass(frozen=True, eq=False)
class MixtureTerms:
    """Signal that depends on the parameters, and backgrounds that do not.

    Parameters
    ----------
    model
        Model of single events for ln r(x|θ) of the signal.
    rate
        Expected number of signal events ν_s(θ), or one number if it does not depend on θ.
    components
        The backgrounds.
    reference
        Reference point θ0, shape (n_parameters,).
    """

    model: Model
    rate: Rate | float
    components: tuple[Component, ...]
    reference: FloatArray

    @property
    def norms(self) -> tuple[str, ...]:
        """Names of the normalisation parameters."""
        return tuple(c.parameter for c in self.components)

    @cached_property
    def expected(self) -> FloatArray:
        """Expected numbers of background events, shape (n_backgrounds,)."""
        return np.array([c.expected for c in self.components], dtype=np.float64)

    def signal(self, theta: FloatArray) -> FloatArray:
        """Return the expected number of signal events ν_s at m points, shape (m,).

        The points have the shape (m, n_parameters).
        """
        if isinstance(self.rate, Rate):
            return self.rate.value(theta)
        return np.full(len(theta), float(self.rate))

    def signal_gradient(self, theta: FloatArray) -> FloatArray:
        """Return dν_s/dθ at one point, shape (n_parameters,)."""
        return self.rate.gradient(theta) if isinstance(self.rate, Rate) else np.zeros(len(theta))

    @cached_property
    def signal_at_reference(self) -> float:
        """Expected number of signal events ν_s(θ0)."""
        return float(self.signal(self.reference[None])[0])

    def log_reference(self, sample: Sample) -> tuple[FloatArray, FloatArray]:
        r"""Return the logarithms of the total density and of background densities at the reference.

        Returns
        -------
        log_total
            Logarithm of the total density, :math:`u_i = \ln[\nu_s(\theta_0) + \sum_b \nu_b
            b_b(x_i)]`, shape (n_events,).
        log_backgrounds
            Logarithms of the densities of the backgrounds divided by the total density, :math:`\ln
            \nu_b b_b(x_i) - u_i`.  They are at most zero.  The shape is (n_backgrounds, n_events).
        """
        with np.errstate(divide="ignore"):  # ln 0 of a background without expected events
            log_expected = np.log(self.expected)
        rows = [v + c.log_ratio(sample) for v, c in zip(log_expected, self.components, strict=True)]
        signal = np.full(len(sample), np.log(self.signal_at_reference))
        total: FloatArray = np.logaddexp.reduce([signal, *rows], axis=0)
        relative = np.array(rows).reshape(len(rows), len(sample)) - total
        return total, relative

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the training events of the model and of the ratios."""
        ratios = (word for c in self.components for word in trained_on(c.ratio))
        return (*trained_on(self.model), *ratios)

    @cached_property
    def digest(self) -> str:
        """Hash of the model, the yields, and the ratios that have a digest."""
        state = hashlib.blake2b(digest_size=8)
        state.update(repr((model_tag(self.model), self.reference.tolist())).encode())
        rate = self.rate.coefficients.tolist() if isinstance(self.rate, Rate) else float(self.rate)
        state.update(repr(rate).encode())
        for c in self.components:
            state.update(repr((c.name, c.expected, getattr(c.ratio, "digest", ""))).encode())
        return state.hexdigest()


def mixture_terms(
    model: AnyModel,
    rate: Rate | float,
    backgrounds: Backgrounds,
    reference: ArrayLike | None,
    *,
    signal_alone: bool = False,
) -> MixtureTerms:
    """Check that signal and backgrounds fit together, and combine them.

    Parameters
    ----------
    model, rate
        Model and rate of the signal.
    backgrounds
        ``{name: (ratio, expected yield)}``.
    reference
        Reference point θ0; None: the reference of the model.
    signal_alone
        Whether a mixture without background is allowed.

    Raises
    ------
    ModelError
        If the model has no ratios of single events.
    ParameterError
        If there is no reference, if Λ of single events cannot be interpolated, if the rate has
        other parameters, or if a name is used twice.
    ConfigurationError
        If a yield is negative or not finite, or there is no background.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> flat = lambda sample: np.zeros(len(sample))
    >>> mixture_terms(gaussian.MeanModel(), 100.0, {"bkg": (flat, 20.0)}, 0.0).norms
    ('bkg_norm',)
    """
    source = as_model(model)
    if reference is None:
        reference = getattr(model, "reference", None)
    _validate_signal(source, rate, reference)
    components = tuple(_component(n, given) for n, given in _backgrounds(backgrounds).items())
    _validate_backgrounds(components, source.parameters, signal_alone=signal_alone)
    try:
        values = np.asarray(reference, dtype=np.float64)
        theta0 = np.broadcast_to(values, len(source.parameters))
    except (OverflowError, TypeError, ValueError) as error:
        names = ", ".join(source.parameters)
        msg = (
            f"reference={short_repr(reference)} is not a value of each of {names}; give one "
            "number, or one for each"
        )
        raise ParameterError(msg) from error
    return MixtureTerms(source, rate, components, theta0)


def _backgrounds(given: object) -> Mapping[str, object]:
    if not isinstance(given, Mapping):
        msg = f"backgrounds= is a {type(given).__name__}; give {{name: (ratio, expected events)}}"
        raise ConfigurationError(msg)
    return given


def _component(name: str, given: object) -> Component:
    ratio: Any
    try:
        ratio, expected = given  # type: ignore[misc]
        component = Component(name, ratio, float(expected))  # type: ignore[has-type]
    except (OverflowError, TypeError, ValueError) as error:
        msg = f"background {name!r} must be a pair (ratio, expected events): {error}"
        raise ConfigurationError(msg) from error
    if not callable(getattr(ratio, "log_ratio", ratio)):
        msg = (
            f"the ratio of background {name!r} is a {type(ratio).__name__}; give a "
            "BackgroundRatio, or a function of a sample"
        )
        raise ConfigurationError(msg)
    return component


def _validate_signal(model: Model, rate: Rate | float, reference: ArrayLike | None) -> None:
    """Raise unless model, rate and reference describe the signal of a mixture."""
    if not model.additive:
        msg = (
            f"{model.name} scores bags as a whole, but a mixture with a background needs the ratio "
            "of each event; use mean or sum pooling without layers after it"
        )
        raise ModelError(msg)
    require_linear(model.interpolation, model.name)
    if reference is None:
        msg = f"{model.name} has no reference point θ0; give reference="
        raise ParameterError(msg)
    if isinstance(rate, Rate) and rate.basis.parameters != model.parameters:
        msg = f"the rate is a function of {rate.basis.parameters}, {model.name} of "
        msg += f"{model.parameters}; they must be the same, in the same order"
        raise ParameterError(msg)
    if not isinstance(rate, Rate):
        positive_number(rate, "the expected signal")


def _validate_backgrounds(
    components: Sequence[Component], parameters: Sequence[str], *, signal_alone: bool
) -> None:
    """Raise unless there are backgrounds, with valid yields and distinct names."""
    if not components and not signal_alone:
        msg = "a mixture needs a background; without one use dataset_cost, or the model's cost()"
        raise ConfigurationError(msg)
    for c in components:
        if not (np.isfinite(c.expected) and c.expected >= 0):
            msg = f"background {c.name!r}: the expected yield must not be negative: {c.expected:g}"
            raise ConfigurationError(msg)
        if c.parameter in parameters:
            msg = (
                f"background {c.name!r} needs the parameter name {c.parameter!r}, which the model "
                "uses already; rename the background"
            )
            raise ParameterError(msg)


def require_linear(interpolation: Interpolation | ChebyshevBox, name: str) -> None:
    """Raise an error if an interpolation is not linear in the values at the points.

    Parameters
    ----------
    interpolation
        Points and interpolation between them.
    name
        Name of the model, for the message.

    Raises
    ------
    ParameterError
        For ``"parabola"``, which is fitted around the maximum of a whole dataset and not defined
        for one event, and ``"points"``, which is not defined between the points.

    Examples
    --------
    >>> require_linear(Interpolation(np.linspace(-1, 1, 5), "parabola"), "histogram")
    Traceback (most recent call last):
    milinfer.exceptions.ParameterError: histogram interpolates Λ by 'parabola', which is not defined
    for single events; use a model with interpolation_kind='polynomial' or 'spline'
    """
    if isinstance(interpolation, Interpolation) and interpolation.kind in ("parabola", "points"):
        msg = (
            f"{name} interpolates Λ by {interpolation.kind!r}, which is not defined for single "
            "events; use a model with interpolation_kind='polynomial' or 'spline'"
        )
        raise ParameterError(msg)


class EventSurfaces:
    """Log-likelihood ratios of many events as functions of θ.

    Parameters
    ----------
    interpolation
        Points, and the interpolation between them.  It must be linear in the values at the points.
    values
        Λ_i of each event at the points, shape (n_events, K).

    Raises
    ------
    ParameterError
        If the interpolation is not defined for single events.

    Attributes
    ----------
    coefficients
        One row for each term of the interpolation, shape (n_terms, n_events).
    spline
        Two arrays for a spline, None for polynomials: the left end of each cell, and the Taylor
        coefficients at this end of the four B-splines that are not zero in the cell, highest power
        first, shape (n_cells, 4, 4).
    degree
        Degree of the polynomials in each parameter; None for a spline.

    Examples
    --------
    >>> grid = np.linspace(-1, 1, 9)
    >>> events = EventSurfaces(Interpolation(grid, "spline"), grid * np.array([[1.0], [2.0]]))
    >>> events.value(np.array([0.3])).round(12)
    array([0.3, 0.6])
    >>> events.gradient(np.array([0.3])).round(12)
    array([[1., 2.]])
    """

    def __init__(self, interpolation: Interpolation | ChebyshevBox, values: FloatArray) -> None:
        require_linear(interpolation, "the model")
        self.interpolation = interpolation
        values = np.asarray(values, dtype=np.float64)
        self.spline: tuple[FloatArray, FloatArray] | None = None
        if isinstance(interpolation, ChebyshevBox):
            by_event = interpolation.coefficients(values).reshape(len(values), -1)
            self._low, self._high = interpolation.low, interpolation.high
            self.degree = interpolation.degree
        else:
            self._low, self._high = (np.array([end]) for end in interpolation.range)
            if interpolation.kind == "spline":
                by_event = self._b_spline(interpolation.grid, values)
            else:
                self.degree = interpolation.degree
                by_event = interpolation._coefficients(values)
        # One row for each coefficient, because a call adds a few long rows.
        self.coefficients = np.ascontiguousarray(by_event.T)

    def _b_spline(self, grid: FloatArray, values: FloatArray) -> FloatArray:
        """Return B-spline coefficients, four of which contribute at any θ, (n_events, K)."""
        from scipy.interpolate import BSpline, make_interp_spline

        # The same cubic as CubicSpline, whose second and second-last points are no knots either.
        spline = make_interp_spline(grid, values.T, k=3)
        unit = BSpline(spline.t, np.eye(len(grid)), 3)
        knots = spline.t[3 : len(grid)]
        # Taylor coefficients at the left end of each cell, highest power first.
        taylor = [unit(knots, m) / factor for m, factor in ((3, 6), (2, 2), (1, 1), (0, 1))]
        cells = np.stack([[part[j, j : j + 4] for part in taylor] for j in range(len(knots))])
        self.spline = knots, cells
        coefficients: FloatArray = spline.c.T
        return coefficients

    def value(self, theta: FloatArray) -> FloatArray:
        """Return Λ_i of each event at one point, shape (n_events,)."""
        rows, basis = self._basis(theta, (0,) * len(self._low))
        return np.asarray(basis @ self.coefficients[rows], dtype=np.float64)

    def gradient(self, theta: FloatArray) -> FloatArray:
        """Return dΛ_i/dθ of each event at one point, shape (n_parameters, n_events)."""
        n = len(self._low)
        slopes = [self._basis(theta, tuple(int(j == k) for j in range(n))) for k in range(n)]
        rows = slopes[0][0]
        basis = np.stack([factors for _, factors in slopes])
        return np.asarray(basis @ self.coefficients[rows], dtype=np.float64)

    def _basis(self, theta: FloatArray, orders: tuple[int, ...]) -> tuple[slice, FloatArray]:
        """Return the rows of the coefficients that contribute at θ, and their factors."""
        if self.spline is not None:
            knots, cells = self.spline
            cell = int(np.searchsorted(knots, theta[0], side="right")) - 1
            offset = float(theta[0] - knots[cell])
            c3, c2, c1, c0 = cells[cell]
            if orders[0]:
                return slice(cell, cell + 4), (3 * c3 * offset + 2 * c2) * offset + c1
            return slice(cell, cell + 4), ((c3 * offset + c2) * offset + c1) * offset + c0
        basis = np.ones(1)
        for t, low, high, order in zip(theta, self._low, self._high, orders, strict=True):
            scaled = float((2 * t - low - high) / (high - low))
            along = np.array(chebyshev_terms(scaled, self.degree + 1)[order])
            if order:
                along = along * (2 / (high - low))
            basis = (basis[:, None] * along).ravel()
        return slice(None), basis


class EventPolynomials:
    """Log-ratios of events that are logarithms of polynomials, without interpolation.

    Parameters
    ----------
    interpolation
        Interpolation whose limits are the limits of the parameters.
    sums
        Λ of the dataset: for each ensemble member, the rows of the events and the row of the common
        denominator.
    n_events
        Number of events of the dataset.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> data = quadratic.generate(4, {"c1": 0.0}, seed=1)
    >>> oracle = Oracle.from_sample(data, "c1", np.linspace(-1, 1, 9), degree=2)
    >>> events = EventPolynomials(oracle.interpolation, oracle.log_polynomials(data), 4)
    >>> np.allclose(events.value(np.array([0.5])), oracle.event_llr(data)[:, 6])
    True
    """

    def __init__(
        self, interpolation: Interpolation | ChebyshevBox, sums: LogPolynomials, n_events: int
    ) -> None:
        self.interpolation = interpolation
        self.sums, self._shape = sums, (-1, n_events + 1)
        self._at_reference = self._ratios(np.log(sums.at(sums.reference)))

    def _ratios(self, rows: FloatArray) -> FloatArray:
        """Return the ratios of events to the denominator, averaged over members, (n_events,)."""
        members = rows.reshape(self._shape)
        mean: FloatArray = np.mean(members[:, :-1] - members[:, -1:], axis=0)
        return mean

    def value(self, theta: FloatArray) -> FloatArray:
        """Return Λ_i of each event at one point, shape (n_events,)."""
        return self._ratios(np.log(self.sums.at(theta))) - self._at_reference

    def gradient(self, theta: FloatArray) -> FloatArray:
        """Return dΛ_i/dθ of each event at one point, shape (n_parameters, n_events)."""
        relative = self.sums.slopes_at(theta) / self.sums.at(theta)[:, None]
        return np.stack([self._ratios(column) for column in relative.T])
