r"""Cost of data with nuisance parameters: signal, backgrounds, their responses, and constraints.

The expected density of events is a sum over processes s,

.. math:: \frac{d\nu}{dx} = \sum_s n_s\,\nu_s(\theta)\,e^{N_s(\alpha)}\;
          \frac{p_s(x|\theta)}{p_0(x)}\;S_s(x; \alpha, \theta)\;p_0(x)

with parameters of interest θ, nuisance parameters α, normalisations :math:`n_s` and expected
numbers of events :math:`\nu_s`.  :math:`p_0` is the density of the signal at the reference.  The
density ratios :math:`p_s/p_0` are learned (:mod:`milinfer.likelihood.mixture`), and so are the
responses :math:`S_s` to nuisance parameters (:mod:`milinfer.likelihood.response_terms`).
:math:`e^{N_s}` are the factors of normalisation uncertainties.  The cost is −2 ln L of the extended
likelihood, plus :math:`(\alpha_k - a_k)^2` for each auxiliary measurement :math:`a_k`.

Networks are evaluated once, when the cost is created.  :class:`MixtureEvents` stores their results
for each event, and the cost is a sum over these events.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import (
    ConfigurationError,
    MilinferWarning,
    ModelError,
    ParameterError,
    SampleError,
)
from milinfer.likelihood.auxiliary import AuxiliaryMeasurement
from milinfer.likelihood.code4 import log_interpolation
from milinfer.likelihood.cost import within_limits
from milinfer.likelihood.mixture import (
    Backgrounds,
    EventPolynomials,
    EventSurfaces,
    MixtureTerms,
    event_surfaces,
    mixture_terms,
)
from milinfer.likelihood.models import AnyModel
from milinfer.likelihood.named_cost import UnbinnedCost
from milinfer.likelihood.rate import Rate, require_factor
from milinfer.likelihood.response_terms import ResponseTable
from milinfer.likelihood.responses import Response
from milinfer.samples.argument_checks import require_sample
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.arguments import positive_number
from milinfer.utils.display import ranges
from milinfer.utils.keywords import did_you_mean

if TYPE_CHECKING:
    from milinfer.likelihood.nuisance_kernels import (
        Densities,
        EventArrays,
        ResponseProblem,
        YieldProblem,
    )

__all__ = [
    "AuxiliaryMeasurement",
    "MixtureEvents",
    "NormalisationUncertainty",
    "SystematicCost",
    "SystematicTerms",
    "systematic_cost",
    "systematic_terms",
]

SIGNAL = "signal"
"""Name for the signal in `responses` and in normalisation uncertainties."""

LUMINOSITY = "lumi"
"""Name of the parameter that scales all processes, as in pyhf."""

# Range of nuisance parameters that change only normalisations, as in pyhf.
_WIDE = (-5.0, 5.0)


class NormalisationUncertainty(NamedTuple):
    """Effect of a nuisance parameter on the yields of processes, but not on their shapes.

    Code 4 of HistFactory interpolates the factors, as for ``normsys`` in pyhf.  If a modifier in a
    pyhf workspace has the same name, it is the same parameter with the same meaning.

    Parameters
    ----------
    name
        Name of the nuisance parameter.
    factors
        Factors on the yield of each process, ``{process: (factor at −1, factor at +1)}``, such as
        ``{"tt": (0.94, 1.06)}``.  The signal is called ``"signal"``.
    """

    name: str
    factors: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class SystematicTerms:
    """Processes, their responses, normalisation uncertainties, and constraints.

    :func:`systematic_terms` creates it.

    Parameters
    ----------
    mixture
        Signal and backgrounds without nuisance parameters.
    responses
        Response of each process that has one, by name of the process.
    uncertainties
        Normalisation uncertainties.
    constraints
        Auxiliary measurements.
    luminosity
        Whether there is a parameter ``lumi`` that scales all processes.
    replicas
        For a process, by name, the number of the replica of its mean response that is used instead
        of the mean response from all simulated events.  Each replica leaves out some of these
        events.
    """

    mixture: MixtureTerms
    responses: Mapping[str, Response]
    uncertainties: tuple[NormalisationUncertainty, ...]
    constraints: tuple[AuxiliaryMeasurement, ...]
    luminosity: bool = False
    replicas: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def processes(self) -> tuple[str, ...]:
        """Names of the processes, the signal first."""
        return (SIGNAL, *(c.name for c in self.mixture.components))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters of interest."""
        return self.mixture.model.parameters

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the training events of all models."""
        of_responses = (s for r in self.responses.values() for s in r.trained_on)
        return tuple(dict.fromkeys([*self.mixture.trained_on, *of_responses]))

    @cached_property
    def digest(self) -> str:
        """Hash of all models, yields, uncertainties and constraints."""
        parts = (
            self.mixture.digest,
            [
                (k, r.digest, r.nuisances, r.terms.exponents.tolist())
                for k, r in self.responses.items()
            ],
            [(u.name, sorted(u.factors.items())) for u in self.uncertainties],
            [(c.name, c.error) for c in self.constraints],
        )
        return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()

    @cached_property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the nuisance parameters of responses and normalisation uncertainties."""
        of_responses = [n for r in self.responses.values() for n in r.nuisances]
        return tuple(dict.fromkeys([*of_responses, *(u.name for u in self.uncertainties)]))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters, in the order of the arguments of the cost."""
        lumi = (LUMINOSITY,) if self.luminosity else ()
        return (*self.parameters, *self.mixture.norms, *self.nuisances, *lumi)

    @cached_property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Range of each parameter, by name."""
        limits = dict(zip(self.parameters, self.mixture.model.interpolation.limits, strict=True))
        limits |= dict.fromkeys(self.mixture.norms, (0.0, np.inf))
        for name in self.nuisances:
            pairs = [
                r.terms.limits[r.nuisances.index(name)]
                for r in self.responses.values()
                if name in r.nuisances
            ] or [_WIDE]
            limits[name] = (max(p[0] for p in pairs), min(p[1] for p in pairs))
        if self.luminosity:
            limits[LUMINOSITY] = (1e-10, 10.0)
        return limits

    @cached_property
    def start(self) -> dict[str, float]:
        """Starting values: θ0, 1 for each normalisation, and 0 for each nuisance parameter."""
        at = dict(zip(self.parameters, self.mixture.reference.tolist(), strict=True))
        at |= dict.fromkeys(self.mixture.norms, 1.0) | dict.fromkeys(self.nuisances, 0.0)
        return at | ({LUMINOSITY: 1.0} if self.luminosity else {})

    @cached_property
    def places(self) -> dict[str, IntArray]:
        """For each response, the positions of its nuisance parameters in :attr:`nuisances`."""
        order = {name: k for k, name in enumerate(self.nuisances)}
        return {
            process: np.array([order[n] for n in response.nuisances], dtype=np.int64)
            for process, response in self.responses.items()
        }

    @cached_property
    def base(self) -> FloatArray:
        """Expected events of each process with a factor of one.

        It is 1 for the signal, whose factor is ν_s(θ).
        """
        return np.concatenate([[1.0], self.mixture.expected])

    def factors(self, theta: FloatArray, norms: FloatArray) -> FloatArray:
        """Return the factors on the processes: ν_s(θ) and normalisations, shape (n_processes,)."""
        return np.concatenate([self.mixture.signal(theta[None]), norms])

    def log_norms(self, alpha: FloatArray) -> FloatArray:
        """Return the logarithm of the uncertainty factor on each process, shape (n_processes,)."""
        value = np.zeros(len(self.processes))
        for uncertainty in self.uncertainties:
            sides = [uncertainty.factors.get(s, (1.0, 1.0)) for s in self.processes]
            down, up = np.log(np.array(sides, dtype=np.float64)).T
            at = float(alpha[self.nuisances.index(uncertainty.name)])
            value += log_interpolation(at, up, down)[0]
        return value

    @cached_property
    def yield_problem(self) -> YieldProblem:
        """Mean responses and normalisation uncertainties of all processes, as arrays."""
        from milinfer.likelihood.nuisance_kernels import YieldProblem

        n_processes, n_parameters = len(self.processes), len(self.parameters)
        kappas = {
            self.processes.index(s): (self.places[s], r.expected) for s, r in self.responses.items()
        }
        # Padded to the largest number of each.
        shapes = [kappa.singles.shape[1:] for _, kappa in kappas.values()] or [(0, 1, 4, 1)]
        most, n_cells, _, n_monomials = np.max(shapes, axis=0).tolist()
        counts = np.zeros(n_processes, dtype=np.int64)
        places = np.zeros((n_processes, most), dtype=np.int64)
        limits = np.ones((n_processes, most))
        singles = np.zeros((n_processes, most, n_cells, 4, n_monomials))
        pairs = np.zeros((n_processes, n_monomials, 2 * most, 2 * most))
        exponents = np.zeros((n_processes, n_monomials, n_parameters), dtype=np.int64)
        for s, (own, kappa) in kappas.items():
            n, m = len(own), len(kappa.exponents)
            counts[s], places[s, :n], limits[s, :n] = n, own, kappa.limits
            replica = self.replicas.get(self.processes[s], 0)
            singles[s, :n, ..., :m] = kappa.singles[replica]
            pairs[s, :m, : 2 * n, : 2 * n] = kappa.pairs[replica]
            exponents[s, :m, self._positions(kappa.parameters)] = kappa.exponents.T
        sides = np.array(
            [[u.factors.get(s, (1.0, 1.0)) for s in self.processes] for u in self.uncertainties]
        ).reshape(-1, n_processes, 2)
        return YieldProblem(
            counts=counts,
            places=places,
            limits=limits,
            singles=singles,
            pairs=pairs,
            exponents=exponents,
            norm_index=np.array(
                [self.nuisances.index(u.name) for u in self.uncertainties], dtype=np.int64
            ),
            norm_up=np.log(sides[..., 1]),
            norm_down=np.log(sides[..., 0]),
        )

    @cached_property
    def response_problem(self) -> ResponseProblem:
        """Terms of the responses of all processes, as arrays."""
        from milinfer.likelihood.nuisance_kernels import ResponseProblem

        responses = [self.responses.get(s) for s in self.processes]
        terms = [None if r is None else r.terms for r in responses]
        factors = {s: t.factors for s, t in zip(self.processes, terms, strict=True) if t}
        n_terms = [t.n_terms if t else 0 for t in terms]
        n_factors = max([places.shape[1] for places, _ in factors.values()], default=1)
        most = max([len(t.parameters) for t in terms if t], default=0)
        places = np.zeros((sum(n_terms), n_factors), dtype=np.int64)
        powers = np.zeros_like(places)
        own = np.zeros((len(terms), most), dtype=np.int64)
        centre, half = np.zeros(own.shape), np.ones(own.shape)
        term_starts = np.concatenate([[0], np.cumsum(n_terms)])
        for s, (process, of_process) in enumerate(zip(self.processes, terms, strict=True)):
            if of_process is None:
                continue
            rows = slice(*term_starts[s : s + 2])
            which, exponents = factors[process]
            places[rows, : which.shape[1]] = self.places[process][which]
            powers[rows, : which.shape[1]] = exponents
            n = len(of_process.parameters)
            own[s, :n] = self._positions(of_process.parameters)
            centre[s, :n], half[s, :n] = of_process.centre, of_process.half
        return ResponseProblem(
            starts=np.concatenate([[0], np.cumsum([t.n_columns if t else 0 for t in terms])]),
            term_starts=term_starts,
            code4=np.array([t is not None and t.interpolation == "code4" for t in terms]),
            places=places,
            powers=powers,
            counts=np.array([len(t.parameters) if t else 0 for t in terms], dtype=np.int64),
            own=own,
            centre=centre,
            half=half,
        )

    def cost(self, data: Sample, *, extended: bool = True) -> SystematicCost:
        """Return the cost −2 ln L of a dataset with these terms.

        Parameters
        ----------
        data, extended
            As for :func:`systematic_cost`.

        Raises
        ------
        SampleError
            If the events have simulation weights, or features that models need are missing.
        """
        require_sample(data, "SystematicTerms.cost()")
        data.require_data()
        if not len(data) and not extended:
            msg = (
                f"{data.label} contains no events, so a shape-only likelihood is undefined; use "
                "extended=True"
            )
            raise SampleError(msg)
        return SystematicCost(self, MixtureEvents.of(self, data), extended=extended)

    def scaled(self, luminosity: float) -> SystematicTerms:
        """Return the same likelihood with all yields multiplied by a factor.

        Parameters
        ----------
        luminosity
            Factor on the luminosity.  Auxiliary measurements do not change.

        Raises
        ------
        ConfigurationError
            If the factor is not positive.
        """
        mixture = self.mixture
        rate = mixture.rate
        if isinstance(rate, Rate):
            rate = rate.scaled(luminosity)
        else:
            require_factor(luminosity)
            rate = rate * luminosity
        components = tuple(c._replace(expected=c.expected * luminosity) for c in mixture.components)
        return replace(self, mixture=replace(mixture, rate=rate, components=components))

    def _positions(self, names: Sequence[str]) -> IntArray:
        """Return the positions of some of the parameters of interest."""
        return np.array([self.parameters.index(n) for n in names], dtype=np.int64)

    def own_theta(self, process: str, theta: FloatArray) -> FloatArray:
        """Return the parameters of interest on which the response of a process depends."""
        return theta[self._positions(self.responses[process].terms.parameters)]


class MixtureEvents(NamedTuple):
    """Results of all models for the events of a dataset.

    Parameters
    ----------
    surfaces
        Log-likelihood ratio Λ_i(θ) of the signal for each event.
    log_reference
        Logarithm of the total density at the reference, shape (n_events,).
    log_backgrounds
        Logarithm of the density of each background divided by the total density, shape
        (n_backgrounds, n_events).
    arrays
        Densities, weights, and coefficients of all responses.
    tables
        Coefficients of the response, for each process that has one.
    """

    surfaces: EventSurfaces | EventPolynomials
    arrays: EventArrays
    tables: Mapping[str, ResponseTable]

    @property
    def weights(self) -> FloatArray:
        """Weights of the events, shape (n_events,)."""
        return self.arrays.weights

    @classmethod
    def of(cls, terms: SystematicTerms, data: Sample) -> MixtureEvents:
        """Evaluate signal, backgrounds and responses once for each event."""
        from milinfer.likelihood.nuisance_kernels import EventArrays

        log_reference, log_backgrounds = terms.mixture.log_reference(data)
        starts = terms.response_problem.starts
        columns = np.empty((starts[-1], len(data)), dtype=np.float32)
        tables = {}
        for s, process in enumerate(terms.processes):
            if process in terms.responses:
                response, part = terms.responses[process], columns[starts[s] : starts[s + 1]]
                part[:] = response.table(data).columns.T
                tables[process] = ResponseTable(response.terms, part.T)
        return cls(
            surfaces=event_surfaces(terms.mixture.model, data),
            arrays=EventArrays(
                columns=columns,
                log_reference=np.require(log_reference, np.float64, ["C", "W"]),
                log_backgrounds=np.require(log_backgrounds, np.float64, ["C", "W"]),
                weights=np.require(data.weights, np.float64, ["C", "W"]),
            ),
            tables=tables,
        )


def systematic_terms(
    model: AnyModel,
    *,
    rate: Rate | float,
    responses: Mapping[str, Response],
    backgrounds: Backgrounds | None = None,
    uncertainties: Sequence[NormalisationUncertainty] = (),
    luminosity_uncertainty: float | None = None,
    norm_constraints: Mapping[str, float] | None = None,
    unconstrained: Sequence[str] = (),
    reference: ArrayLike | None = None,
) -> SystematicTerms:
    """Check signal, backgrounds, responses and uncertainties, and combine them.

    The result is a likelihood without data; use it for costs, toys and Asimov data.

    Parameters
    ----------
    model, rate, backgrounds, reference
        As for :func:`milinfer.mixture_cost`; without backgrounds all events are signal.
    responses, uncertainties, luminosity_uncertainty, norm_constraints, unconstrained
        As for :func:`systematic_cost`.

    Raises
    ------
    ModelError, ParameterError, ConfigurationError
        If the arguments do not fit together; the message names the process or parameter.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> terms = systematic_terms(gaussian.MeanModel(), rate=100.0, responses={}, reference=0.0,
    ...     uncertainties=[NormalisationUncertainty("efficiency", {"signal": (0.98, 1.02)})])
    >>> terms.names
    ('mu', 'efficiency')
    """
    norm_constraints = {} if norm_constraints is None else norm_constraints
    _require_kinds(uncertainties, responses, norm_constraints)
    _validate_factors(uncertainties)
    mixture = mixture_terms(
        model, rate, {} if backgrounds is None else backgrounds, reference, signal_alone=True
    )
    processes = (SIGNAL, *(c.name for c in mixture.components))
    if len({*processes}) < len(processes):
        msg = f"a background cannot be called {SIGNAL!r}; rename it"
        raise ConfigurationError(msg)
    named = [("responses", process) for process in responses]
    named += [(f"uncertainty {u.name}", process) for u in uncertainties for process in u.factors]
    for what, process in named:
        if process not in processes:
            msg = f"{what}: there is no process {process!r}; there are {', '.join(processes)}"
            raise ConfigurationError(msg + did_you_mean(str(process), list(processes)))
    for process, response in responses.items():
        if response.process != process and response.process in processes:
            msg = (
                f"responses: {process!r} has the response of another process, "
                f"{response.process!r}; give responses={{{response.process!r}: …}}"
            )
            raise ModelError(msg)
    constraints = []
    terms = SystematicTerms(
        mixture=mixture,
        responses=dict(responses),
        uncertainties=tuple(uncertainties),
        constraints=(),
        luminosity=luminosity_uncertainty is not None,
    )
    _validate_names(terms)
    for name, error in norm_constraints.items():
        parameter = f"{name}_norm"
        if parameter not in mixture.norms:
            msg = f"norm_constraints= names {name!r}; the backgrounds are {list(processes[1:])}"
            raise ConfigurationError(msg)
        constraints.append(
            AuxiliaryMeasurement(parameter, 1.0, positive_number(error, f"constraint of {name}"))
        )
    constraints += [AuxiliaryMeasurement(name, 0.0, 1.0) for name in terms.nuisances]
    if luminosity_uncertainty is not None:
        error = positive_number(luminosity_uncertainty, "luminosity_uncertainty")
        constraints.append(AuxiliaryMeasurement(LUMINOSITY, 1.0, error))
    terms = replace(terms, constraints=tuple(constraints))
    return _without(terms, unconstrained)


def _require_kinds(uncertainties: object, responses: object, norm_constraints: object) -> None:
    """Raise unless these are a list of uncertainties, and dictionaries by process."""
    if not isinstance(norm_constraints, Mapping):
        kind = type(norm_constraints).__name__
        msg = f"norm_constraints= is a {kind}; give {{background: error}}"
        raise ConfigurationError(msg)
    if not isinstance(responses, Mapping):
        msg = f"responses= is a {type(responses).__name__}; give {{process: response}}"
        raise ConfigurationError(msg)
    for process, response in responses.items():
        if not isinstance(response, Response):
            msg = (
                f"responses: {process!r} has a {type(response).__name__}; give a trained "
                "milinfer.SystematicResponse"
            )
            raise ModelError(msg)
    several = isinstance(uncertainties, Sequence) and not isinstance(
        uncertainties, NormalisationUncertainty
    )
    given: Sequence[object] = uncertainties if several else [uncertainties]  # type: ignore[assignment]
    wrong = [u for u in given if not several or not isinstance(u, NormalisationUncertainty)]
    if wrong:
        what = "is" if not several else "has"
        msg = (
            f"uncertainties= {what} a {type(wrong[0]).__name__}; give a list, such as "
            "[milinfer.NormalisationUncertainty('trigger', {'signal': (0.98, 1.02)})]"
        )
        raise ConfigurationError(msg)


def _validate_factors(uncertainties: Sequence[NormalisationUncertainty]) -> None:
    seen: set[tuple[str, str]] = set()
    for u in uncertainties:
        name: object = u.name
        factors: object = u.factors
        if not isinstance(name, str) or not name:
            msg = (
                f"an uncertainty has the name {name!r}, which is not a text; give the name of its "
                "nuisance parameter"
            )
            raise ConfigurationError(msg)
        if not isinstance(factors, Mapping) or not factors:
            msg = f"uncertainty {u.name}: it has no factors; give {{process: (down, up)}}"
            raise ConfigurationError(msg)
        for process, sides in u.factors.items():
            try:
                numbers = [float(x) for x in sides]
            except (OverflowError, TypeError, ValueError):
                numbers = []
            if len(numbers) != 2 or not all(np.isfinite(x) and x > 0 for x in numbers):
                msg = (
                    f"uncertainty {u.name} of {process}: its factors at −1 and +1 must be two "
                    f"positive numbers, such as (0.95, 1.05), not {sides}"
                )
                raise ConfigurationError(msg)
            if (u.name, process) in seen:
                msg = f"uncertainty {u.name} is given twice for {process}; merge the factors"
                raise ConfigurationError(msg)
            seen.add((u.name, process))


def _validate_names(terms: SystematicTerms) -> None:
    """Raise unless names are different, and responses depend on parameters of the model."""
    names = terms.names
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        msg = (
            f"{twice[0]} is the name of two parameters (parameters of interest, normalisations, "
            "nuisance parameters and lumi must have different names); rename one"
        )
        raise ParameterError(msg)
    for process, response in terms.responses.items():
        for name in {*response.terms.parameters, *response.expected.parameters}:
            if name not in terms.parameters:
                msg = (
                    f"the response of {process} depends on {name}, which is not a parameter of "
                    f"{terms.mixture.model.name}: {', '.join(terms.parameters)}"
                )
                raise ParameterError(msg)


def _without(terms: SystematicTerms, names: Sequence[str]) -> SystematicTerms:
    known = [c.name for c in terms.constraints]
    names = [names] if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
    for name in names:
        if name not in known:
            msg = (
                f"{name} has no constraint; parameters with a constraint: "
                f"{', '.join(known) or 'none'}"
            )
            raise ParameterError(msg + did_you_mean(str(name), known))
    kept = tuple(c for c in terms.constraints if c.name not in names)
    return replace(terms, constraints=kept)


def systematic_cost(
    model: AnyModel,
    data: Sample,
    *,
    rate: Rate | float,
    responses: Mapping[str, Response],
    backgrounds: Backgrounds | None = None,
    uncertainties: Sequence[NormalisationUncertainty] = (),
    luminosity_uncertainty: float | None = None,
    norm_constraints: Mapping[str, float] | None = None,
    unconstrained: Sequence[str] = (),
    reference: ArrayLike | None = None,
    extended: bool = True,
) -> SystematicCost:
    """Return the unbinned cost −2 ln L of a dataset with nuisance parameters.

    Parameters
    ----------
    model, data, rate, backgrounds, reference
        As for :func:`milinfer.mixture_cost`; without backgrounds all events are signal.
    responses
        Response of processes to nuisance parameters, ``{process: response}``, such as trained
        :class:`milinfer.SystematicResponse` objects.  The signal is called ``"signal"``, and
        backgrounds have their names in `backgrounds`.  Nuisance parameters of the same name in
        several responses are one parameter.
    uncertainties
        Normalisation uncertainties: nuisance parameters that change only the yields.
    luminosity_uncertainty
        Relative uncertainty of the luminosity.  It adds a parameter ``lumi`` that scales all
        processes.
    norm_constraints
        ``{background: error}``: standard error of an auxiliary measurement of the normalisation.
    unconstrained
        Names of parameters whose constraint is left out, because another term of a sum, such as a
        pyhf channel, contains it.
    extended
        Whether the likelihood contains the Poisson term of the number of events.

    Raises
    ------
    SampleError
        If the events have simulation weights, or features that models need are missing.
    ModelError, ParameterError, ConfigurationError
        If model, responses and uncertainties do not fit together.

    Warns
    -----
    MilinferWarning
        If a response does not depend on the parameters of interest, but is wrong at the ends of
        their range.  The training of the response has shown a difference of at least five errors
        and at least a per mille there.

    Examples
    --------
    >>> import milinfer as mil
    >>> from milinfer.datasets import gaussian
    >>> data = gaussian.generate(100, 0.0, seed=1).as_data()
    >>> cost = systematic_cost(gaussian.MeanModel(), data, rate=100.0, responses={},
    ...     reference=0.0,
    ...     uncertainties=[NormalisationUncertainty("efficiency", {"signal": (0.9, 1.1)})])
    >>> m = mil.minuit(cost).migrad()
    >>> m.valid, bool(m.errors["efficiency"] < 1)
    (True, True)
    """
    require_sample(data, "systematic_cost()")
    terms = systematic_terms(
        model,
        rate=rate,
        responses=responses,
        backgrounds=backgrounds,
        uncertainties=uncertainties,
        luminosity_uncertainty=luminosity_uncertainty,
        norm_constraints=norm_constraints,
        unconstrained=unconstrained,
        reference=reference,
    )
    _warn_of_dependence(terms)
    return terms.cost(data, extended=extended)


def _warn_of_dependence(terms: SystematicTerms) -> None:
    """Warn about responses that are wrong somewhere in the range of the parameters of interest."""
    for process, response in terms.responses.items():
        wrong = [
            found
            for found in response.at_ends
            if found.differ
            and all(
                name in terms.parameters and terms.limits[name][0] <= x <= terms.limits[name][1]
                for name, x in found.point.items()
            )
        ]
        if wrong:
            far = max(wrong, key=lambda found: abs(found.mean - found.ratio) / found.error)
            msg = (
                f"the response of {process} does not depend on {', '.join(far.point)}, and is "
                f"wrong far from the reference: {far}; train it with theta_dependent=True, or "
                "check it with milinfer.diagnose_response"
            )
            warnings.warn(msg, MilinferWarning, stacklevel=3)


class SystematicCost(UnbinnedCost):
    """Cost −2 ln L of one dataset with nuisance parameters, as a function of all parameters.

    The cost is zero at the reference θ0, with normalisations of one and nuisance parameters of
    zero, if these are also the results of the auxiliary measurements.  The parameters are, in this
    order, the parameters of interest θ, the normalisations ``{background}_norm``, the nuisance
    parameters α and ``lumi``.  The cost contains the constraints of normalisations, nuisance
    parameters and ``lumi``.  :attr:`constrained` lists them, and :meth:`without_constraints`
    removes them.

    Parameters
    ----------
    terms
        Processes, responses, uncertainties and constraints.
    events
        Results of the models for the events.
    extended
        Whether the likelihood contains the Poisson term of the number of events.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> terms = systematic_terms(gaussian.MeanModel(), rate=50.0, responses={}, reference=0.0,
    ...     uncertainties=[NormalisationUncertainty("efficiency", {"signal": (0.9, 1.1)})])
    >>> data = gaussian.generate(50, 0.0, seed=1)
    >>> cost = SystematicCost(terms, MixtureEvents.of(terms, data))
    >>> round(cost(mu=0.0, efficiency=0.0), 12), cost.constrained
    (0.0, ('efficiency',))
    >>> cost.measuring(efficiency=1.0)(mu=0.0, efficiency=0.0)
    1.0
    """

    def __init__(
        self, terms: SystematicTerms, events: MixtureEvents, *, extended: bool = True
    ) -> None:
        self.terms = terms
        self.events = events
        self.extended = extended
        self.parameters = terms.parameters
        self.n_events = float(events.weights.sum())
        n, b, k = len(terms.parameters), len(terms.mixture.norms), len(terms.nuisances)
        self._theta, self._norms = slice(0, n), slice(n, n + b)
        self._alpha = slice(n + b, n + b + k)
        self._low, self._high = np.array(list(terms.limits.values())).T
        places = {name: i for i, name in enumerate(terms.names)}
        self._constrained = np.array([places[c.name] for c in terms.constraints], dtype=np.int64)
        self._measured = np.array([c.measured for c in terms.constraints])
        self._errors = np.array([c.error for c in terms.constraints])
        self._total = terms.mixture.signal_at_reference + float(terms.mixture.expected.sum())
        self._last: _Evaluation | None = None
        super().__init__(dict(terms.limits), 0)

    def __repr__(self) -> str:
        kind = "with rate" if self.extended else "shape only"
        return f"SystematicCost({self.n_events:g} events, {kind}, {ranges(self._parameters)})"

    @property
    def start(self) -> dict[str, float]:
        """Starting values for ``Minuit(cost, **cost.start)``: θ0, normalisations 1 and α = 0."""
        return dict(self.terms.start)

    @property
    def constrained(self) -> tuple[str, ...]:
        """Names of parameters whose constraint is part of this cost."""
        return tuple(c.name for c in self.terms.constraints)

    @property
    def constraints(self) -> tuple[AuxiliaryMeasurement, ...]:
        """Auxiliary measurements that are part of this cost."""
        return self.terms.constraints

    def without_constraints(self, names: Sequence[str]) -> SystematicCost:
        """Return the same cost without the constraints of some parameters.

        Use it if another term of a sum contains the constraints, so that they are applied once.

        Parameters
        ----------
        names
            Names of the parameters.

        Raises
        ------
        ParameterError
            If this cost has no constraint of a parameter.
        """
        return SystematicCost(_without(self.terms, names), self.events, extended=self.extended)

    def measuring(self, **measured: float) -> SystematicCost:
        """Return the same cost with new results of its auxiliary measurements, for toys.

        Parameters
        ----------
        **measured
            New result of the measurement of each parameter, such as ``jes=0.3``.

        Raises
        ------
        ParameterError
            If this cost has no constraint of a parameter.
        """
        _without(self.terms, list(measured))
        constraints = tuple(
            c._replace(measured=float(measured.get(c.name, c.measured)))
            for c in self.terms.constraints
        )
        terms = replace(self.terms, constraints=constraints)
        return SystematicCost(terms, self.events, extended=self.extended)

    def weighted(self, weights: FloatArray) -> SystematicCost:
        """Return the cost of the same events with other weights, shape (n_events,)."""
        arrays = self.events.arrays._replace(weights=np.require(weights, np.float64, ["C", "W"]))
        events = self.events._replace(arrays=arrays)
        return SystematicCost(self.terms, events, extended=self.extended)

    def log_densities(self, *args: float, **values: float) -> FloatArray:
        """Return the logarithm of the expected density at each event, relative to :attr:`start`.

        Parameters
        ----------
        *args, **values
            A value of each parameter, by position or by name.

        Returns
        -------
        ndarray
            Log density at each event minus the log density at :attr:`start`, shape (n_events,).
        """
        at = self._evaluate(self._in_order(args, values))
        of_all = at.densities.highest + np.log(at.densities.total)
        return np.asarray(of_all + np.log(at.luminosity), dtype=np.float64)

    def expected_events(self, **values: float) -> dict[str, float]:
        """Return the expected number of events of each process at parameter values.

        Parameters
        ----------
        **values
            Values of parameters, such as ``mu=0.3``.  Parameters that are not named have their
            values in :attr:`start`.

        Raises
        ------
        ParameterError
            If a name is unknown or a value is outside its limits.
        """
        from milinfer.likelihood.nuisance_kernels import log_factors

        terms = self.terms
        point = self._in_order([], {**self.start, **values})
        _, theta, norms, alpha, luminosity = self._split(point)
        yields = terms.factors(theta, norms) * terms.base * luminosity
        yields *= np.exp(log_factors(terms.yield_problem, theta, alpha))
        return dict(zip(terms.processes, yields.tolist(), strict=True))

    def _split(
        self, args: Sequence[float]
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, float]:
        values = np.array(args, dtype=np.float64)
        if not np.all((values >= self._low) & (values <= self._high)):
            values = within_limits(values, self._low, self._high, self.terms.names)
        luminosity = float(values[-1]) if self.terms.luminosity else 1.0
        return values, values[self._theta], values[self._norms], values[self._alpha], luminosity

    def _evaluate(self, args: Sequence[float]) -> _Evaluation:
        """Return densities and yields; kept, because Minuit asks for value and gradient."""
        last = self._last
        if last is not None and last.args == tuple(args):
            return last
        from milinfer.likelihood.nuisance_kernels import densities

        values, theta, norms, alpha, luminosity = self._split(args)
        terms, events = self.terms, self.events
        factors = terms.factors(theta, norms)
        at = densities(
            terms.yield_problem,
            terms.response_problem,
            events.arrays,
            events.surfaces.value(theta),
            factors,
            terms.base,
            theta,
            alpha,
        )
        expected = float(factors @ at.at_one)
        evaluation = _Evaluation(tuple(args), values, factors, at, expected, luminosity)
        self._last = evaluation
        return evaluation

    def _pulls(self, values: FloatArray) -> FloatArray:
        return np.asarray((values[self._constrained] - self._measured) / self._errors)

    def _value(self, args: Sequence[float]) -> float:
        at = self._evaluate(args)
        value, expected = at.densities.log_density, at.expected
        if self.extended:
            value += self.n_events * float(np.log(at.luminosity))
            value -= at.luminosity * expected - self._total
        else:
            value -= self.n_events * float(np.log(expected / self._total))
        pulls = self._pulls(at.values)
        return -2.0 * value + float(pulls @ pulls)

    def _grad(self, args: Sequence[float]) -> FloatArray:
        from milinfer.likelihood.nuisance_kernels import density_slopes

        at = self._evaluate(args)
        terms, events, parts = self.terms, self.events, at.densities
        theta, alpha = at.values[self._theta], at.values[self._alpha]
        by_theta, by_factors, by_alpha = density_slopes(
            terms.response_problem,
            events.arrays,
            parts,
            at.factors,
            events.surfaces.gradient(theta),
            theta,
            alpha,
        )
        factor = at.luminosity if self.extended else self.n_events / at.expected
        by_factors -= factor * parts.at_one
        out = np.empty(len(at.values))
        out[self._theta] = by_theta - factor * parts.of_parameters
        out[self._theta] += by_factors[0] * terms.mixture.signal_gradient(theta)
        out[self._norms] = by_factors[1:]
        out[self._alpha] = by_alpha - factor * parts.of_nuisances
        if terms.luminosity:
            of_all = self.n_events / at.luminosity - at.expected
            out[-1] = of_all if self.extended else 0.0
        out *= -2.0
        out[self._constrained] += 2 * self._pulls(at.values) / self._errors
        return out


class _Evaluation(NamedTuple):
    args: tuple[float, ...]
    values: FloatArray
    factors: FloatArray
    densities: Densities
    expected: float
    luminosity: float
