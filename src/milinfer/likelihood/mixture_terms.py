"""Signal and backgrounds of a mixture: yields, ratios of the densities, names of parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ConfigurationError, ModelError, ParameterError
from milinfer.likelihood.event_surfaces import require_linear
from milinfer.likelihood.models import LLRModel, Model, is_additive, model_tag
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.unseen import trained_on
from milinfer.samples.samples import Sample
from milinfer.typing import FloatArray

__all__ = ["Backgrounds", "Component", "EventRatio", "MixtureTerms", "mixture_terms"]


class EventRatio(Protocol):
    """What knows ln p_b(x)/p_s(x|θ0) of every event."""

    def log_ratio(self, sample: Sample) -> FloatArray:
        """Log-ratio of every event, shape (n_events,)."""


Ratio: TypeAlias = EventRatio | Callable[[Sample], FloatArray]
Backgrounds: TypeAlias = Mapping[str, tuple[Ratio, float]]


class Component(NamedTuple):
    """A background.

    Parameters
    ----------
    name
        Its normalisation is the parameter ``{name}_norm``.
    ratio
        Of its density to that of the signal at θ0, as an object with ``log_ratio(sample)`` or as a
        function of a sample.
    expected
        Events expected at a normalisation of one.
    """

    name: str
    ratio: Ratio
    expected: float

    @property
    def parameter(self) -> str:
        """Name of the normalisation."""
        return f"{self.name}_norm"

    def log_ratio(self, sample: Sample) -> FloatArray:
        """Values of ln p_b(x)/p_s(x|θ0), shape (n_events,).

        Raises
        ------
        ModelError
            If the ratio does not give one number, finite or −∞, for each event.
        """
        evaluate: Any = getattr(self.ratio, "log_ratio", self.ratio)
        found = evaluate(sample)
        values = np.asarray(found, dtype=np.float64)
        if values.shape != (len(sample),):
            msg = (
                f"the ratio of background {self.name!r} has shape {values.shape} for "
                f"{len(sample)} events; it must give one ln p_b/p_s for each"
            )
            raise ModelError(msg)
        bad = np.isnan(values) | (values == np.inf)
        if bad.any():
            msg = (
                f"the ratio of background {self.name!r} is {values[bad][0]} in event "
                f"{int(np.argmax(bad))} of {sample.label}; an event must be possible as signal"
            )
            raise ModelError(msg)
        return values


@dataclass(frozen=True, eq=False)
class MixtureTerms:
    """A signal that depends on the parameters, and backgrounds that do not.

    Parameters
    ----------
    model
        ln r(x|θ) of the signal, additive over events.
    rate
        Expected signal ν_s(θ), or one number where it does not depend on θ.
    components
        The backgrounds.
    reference
        θ0, shape (n_parameters,).
    """

    model: LLRModel
    rate: Rate | float
    components: tuple[Component, ...]
    reference: FloatArray

    @property
    def norms(self) -> tuple[str, ...]:
        """Names of the normalisations."""
        return tuple(c.parameter for c in self.components)

    @cached_property
    def expected(self) -> FloatArray:
        """Expected backgrounds, shape (n_backgrounds,)."""
        return np.array([c.expected for c in self.components], dtype=np.float64)

    def signal(self, theta: FloatArray) -> FloatArray:
        """ν_s at points (m, n_parameters), shape (m,)."""
        if isinstance(self.rate, Rate):
            return self.rate.value(theta)
        return np.full(len(theta), float(self.rate))

    def signal_gradient(self, theta: FloatArray) -> FloatArray:
        """dν_s/dθ at one point (n_parameters,), shape (n_parameters,)."""
        return self.rate.gradient(theta) if isinstance(self.rate, Rate) else np.zeros(len(theta))

    @cached_property
    def signal_at_reference(self) -> float:
        """ν_s(θ0)."""
        return float(self.signal(self.reference[None])[0])

    def log_reference(self, sample: Sample) -> tuple[FloatArray, FloatArray]:
        r"""What the cost divides by, and the backgrounds relative to it.

        Returns
        -------
        log_total
            :math:`u_i = \ln[\nu_s(\theta_0) + \sum_b \nu_b b_b(x_i)]`, shape (n_events,).
        log_backgrounds
            :math:`\ln \nu_b b_b(x_i) - u_i`, not above zero, shape (n_backgrounds, n_events).
        """
        with np.errstate(divide="ignore"):  # ln 0 of a background that is not expected
            log_expected = np.log(self.expected)
        rows = [v + c.log_ratio(sample) for v, c in zip(log_expected, self.components, strict=True)]
        signal = np.full(len(sample), np.log(self.signal_at_reference))
        total: FloatArray = np.logaddexp.reduce([signal, *rows], axis=0)
        relative = np.array(rows).reshape(len(rows), len(sample)) - total
        return total, relative

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Sketches of the events that the model and the ratios have learned from."""
        ratios = (word for c in self.components for word in trained_on(c.ratio))
        return (*trained_on(self.model), *ratios)

    @cached_property
    def digest(self) -> str:
        """Hash of model, yields and ratios; the last only where they have a digest."""
        found = hashlib.blake2b(digest_size=8)
        found.update(repr((model_tag(self.model), self.reference.tolist())).encode())
        rate = self.rate.coefficients.tolist() if isinstance(self.rate, Rate) else float(self.rate)
        found.update(repr(rate).encode())
        for c in self.components:
            found.update(repr((c.name, c.expected, getattr(c.ratio, "digest", ""))).encode())
        return found.hexdigest()


def mixture_terms(
    model: Model, rate: Rate | float, backgrounds: Backgrounds, reference: ArrayLike | None
) -> MixtureTerms:
    """Check that signal and backgrounds make a mixture.

    Parameters
    ----------
    model, rate
        Of the signal.
    backgrounds
        ``{name: (ratio, expected yield)}``.
    reference
        θ0; None: that of the model.

    Raises
    ------
    ModelError
        If the model has no ratio of single events.
    ParameterError
        If there is no reference, the continuation of Λ is not defined for events, the rate has
        other parameters, or a name is taken twice.
    ConfigurationError
        If a yield cannot be right, or there is no background.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> flat = lambda sample: np.zeros(len(sample))
    >>> mixture_terms(gaussian.MeanModel(), 100.0, {"bkg": (flat, 20.0)}, 0.0).norms
    ('bkg_norm',)
    """
    if not is_additive(model) or not isinstance(model, LLRModel):
        msg = (
            f"{model.name} scores bags as a whole, and a mixture with a background needs the ratio "
            "of each event; use mean or sum pooling without layers after it"
        )
        raise ModelError(msg)
    require_linear(model.interpolation, model.name)
    given = getattr(model, "reference", None) if reference is None else reference
    if given is None:
        msg = f"{model.name} does not say what its θ0 is; give reference="
        raise ParameterError(msg)
    if isinstance(rate, Rate) and rate.basis.parameters != model.parameters:
        msg = f"the rate is a function of {rate.basis.parameters}, {model.name} of "
        msg += f"{model.parameters}; they must be the same, in the same order"
        raise ParameterError(msg)
    if not isinstance(rate, Rate) and not (np.isfinite(rate) and rate > 0):
        msg = f"the expected signal must be positive, not {rate:g}"
        raise ConfigurationError(msg)
    components = tuple(Component(n, ratio, float(v)) for n, (ratio, v) in backgrounds.items())
    if not components:
        msg = "a mixture needs a background; without one use dataset_cost, or the model's cost()"
        raise ConfigurationError(msg)
    for c in components:
        if not (np.isfinite(c.expected) and c.expected >= 0):
            msg = f"background {c.name!r}: the expected yield must not be negative: {c.expected:g}"
            raise ConfigurationError(msg)
        if c.parameter in model.parameters:
            msg = f"background {c.name!r} needs the name {c.parameter!r}, a parameter of the model"
            raise ParameterError(msg)
    theta = np.broadcast_to(np.asarray(given, dtype=np.float64), len(model.parameters))
    return MixtureTerms(model, rate, components, theta)
