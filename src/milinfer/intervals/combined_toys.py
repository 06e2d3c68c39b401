"""Toys for a combined fit: unbinned terms, pyhf channels and constraints in one sum.

Even if each term of a sum is calibrated, the sum is in general not calibrated: the terms share
nuisance parameters, and Λ of a term may be far from a parabola.  This module therefore draws a toy
of all terms together, including the auxiliary measurements, and fits the sum of the terms at each
point of a grid.  The result is a :class:`~milinfer.toys.ensemble.ToyEnsemble`, as for any other
model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from iminuit import describe
from iminuit.cost import Cost, CostSum, NormalConstraint

from milinfer.binned.pyhf_cost import PyhfCost, asimov_data
from milinfer.exceptions import ConfigurationError, FitError, ModelError, ParameterError
from milinfer.likelihood.auxiliary import auxiliary_measurements, measuring
from milinfer.likelihood.cost import LikelihoodCost, dataset_cost
from milinfer.likelihood.models import AnyModel, ModelTag, as_model, model_tag, trained_on
from milinfer.likelihood.scans import profiled_costs, profiling_minuit
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.likelihood.systematics import SystematicTerms
from milinfer.samples.fingerprints import any_shared, sketch_of_union
from milinfer.samples.sample import Sample
from milinfer.toys.draws import Draws, seed_keys
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.toys import Toys
from milinfer.typing import FloatArray, Point
from milinfer.utils.keywords import did_you_mean
from milinfer.utils.parallel import Workers
from milinfer.utils.points import format_point, only

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["CombinedToys", "EventTerm"]

# Tolerance and strategy of Minuit: data are fitted to 2e-7 in −2 ln L, toys to 2e-5.
_FIT_OF_DATA, _FIT_OF_TOY = (1e-4, 1), (1e-2, 0)


class EventTerm(NamedTuple):
    """Unbinned term of a combination: its likelihood, and the source of events for its toys.

    Parameters
    ----------
    likelihood
        Processes with nuisance parameters
        (:func:`~milinfer.likelihood.systematics.systematic_terms`), or any model of single events.
        If it is a model, its rate and its backgrounds are taken from `toys`.
    toys
        :class:`~milinfer.Toys` object that draws the events.  To draw events at shifted nuisance
        parameters, its pool must contain events simulated with variations of these parameters.
    reference
        Parameter value θ0 at which Λ is zero, if `likelihood` is a model; not used if it consists
        of processes.
    """

    likelihood: SystematicTerms | AnyModel
    toys: Toys
    reference: float | tuple[float, ...] = 0.0

    def cost(self, data: Sample) -> Cost:
        """Return the cost −2 ln L of this term for a dataset."""
        if isinstance(self.likelihood, SystematicTerms):
            return self.likelihood.cost(data)
        rate = self.toys.rate
        if rate is not None:
            rate = rate.with_background(sum(b.n_expected for b in self.toys.background))
        return dataset_cost(self.likelihood, data, reference=self.reference, rate=rate)

    def nominal_events(self, point: Point) -> float:
        """Return the expected number of events of this term at a point."""
        if isinstance(self.likelihood, SystematicTerms):
            mixture = self.likelihood.mixture
            return float(mixture.signal_at_reference + mixture.expected.sum())
        return self.toys.mean_events({n: point[n] for n in self.toys.parameters})

    @property
    def tag(self) -> ModelTag:
        """Identity of the likelihood."""
        if isinstance(self.likelihood, SystematicTerms):
            model = model_tag(self.likelihood.mixture.model)
            return model._replace(digest=self.likelihood.digest)
        return model_tag(self.likelihood)

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of training events."""
        return trained_on(self.likelihood)


Term: TypeAlias = EventTerm | PyhfCost | NormalConstraint


@dataclass(frozen=True, eq=False)
class CombinedToys:
    r"""Toys for a sum of costs, in which the nuisance parameters of each toy are profiled.

    Each toy has new events in each unbinned term, new Poisson counts in each bin of the pyhf
    channels, and new auxiliary measurements.  An auxiliary measurement with a Gaussian error is
    drawn from a Gaussian about the true value; an auxiliary count is drawn from a Poisson
    distribution.  If several terms use the same auxiliary measurement, only one of these terms may
    contain it (use ``without_constraints`` for the others), as in the sum that is fitted to data.

    For each toy, the nuisance parameters are fitted at each point of the grid.  This takes about 40
    ms for a toy with 19 points, one pyhf channel and one nuisance parameter.  If all terms are
    unbinned, use :class:`~milinfer.likelihood.profiled_systematics.ProfiledSystematics`, which is a
    hundred times as fast.

    Parameters
    ----------
    terms
        Terms of the sum; at least one is an :class:`EventTerm` or a
        :class:`~milinfer.binned.pyhf_cost.PyhfCost`.
    parameters
        Name of the parameter of interest, or several names; all other parameters are profiled.
    grid
        Values of the parameters of interest at which each toy is fitted, and the method that
        interpolates the profiled Λ between these values.
    seed
        The same seed gives the same toys.
    name
        Name in tables and figures.

    Raises
    ------
    ConfigurationError
        If no term draws events or counts.
    ParameterError
        If a parameter of interest is not a parameter of the sum.
    ModelError
        If a term has another type.

    Examples
    --------
    >>> import pyhf
    >>> from milinfer.datasets import gaussian
    >>> sample = {"name": "s", "data": [20.0], "modifiers": [
    ...     {"name": "mu", "type": "normfactor", "data": None}]}
    >>> model = pyhf.Model({"channels": [{"name": "A", "samples": [sample]}]}, poi_name="mu")
    >>> pool = Toys(gaussian.samples(5000, [0.5], seed=1), n_events=50, seed=2)
    >>> toys = CombinedToys([EventTerm(gaussian.MeanModel(), pool), PyhfCost(model, [20.0])],
    ...                     "mu", Interpolation(np.linspace(0.1, 1, 10), "spline"), seed=3)
    >>> toys.scan([0.5], 20)
    [ToyEnsemble(combination at mu=0.5, 20 toys of 70 events)]
    """

    terms: Sequence[Term]
    parameters: str | tuple[str, ...]
    grid: Interpolation | ChebyshevBox
    seed: int
    name: str = "combination"
    _names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "terms", tuple(self.terms))
        given = self.parameters
        put(self, "parameters", (given,) if isinstance(given, str) else tuple(given))
        for term in self.terms:
            if not isinstance(term, EventTerm | PyhfCost | NormalConstraint):
                msg = (
                    f"the terms of a combination are EventTerm, PyhfCost and NormalConstraint, not "
                    f"{type(term).__name__}; give the likelihood of events together with their "
                    "toys: EventTerm(model, toys)"
                )
                raise ModelError(msg)
        if not any(isinstance(term, EventTerm | PyhfCost) for term in self.terms):
            msg = (
                "a combination of constraints has no data to generate: give an EventTerm or "
                "PyhfCost"
            )
            raise ConfigurationError(msg)
        names = [n for term in self.terms for n in _parameters_of(term)]
        put(self, "_names", tuple(dict.fromkeys(names)))
        for name in self.parameters:
            if name not in self._names:
                msg = f"{name} is not a parameter of the terms; they have {', '.join(self._names)}"
                raise ParameterError(msg + did_you_mean(name, list(self._names)))

    @cached_property
    def tag(self) -> ModelTag:
        """Identity of the combination; a calibration checks that it applies to this combination."""
        facts = [_identity(term) for term in self.terms]
        digest = hashlib.blake2b(repr((facts, self.parameters)).encode(), digest_size=8)
        features = [f for t in self._of_events for f in t.tag.feature_names]
        return ModelTag(self.name, 1, tuple(dict.fromkeys(features)), digest.hexdigest())

    @property
    def _of_events(self) -> list[EventTerm]:
        return [term for term in self.terms if isinstance(term, EventTerm)]

    @property
    def _profiled(self) -> list[str]:
        return [name for name in self._names if name not in self.parameters]

    @cached_property
    def _points(self) -> FloatArray:
        return np.asarray(self.grid.grid, dtype=np.float64).reshape(-1, len(self.parameters))

    def dataset(self, truth: float | Point, toy: int = 0) -> Cost:
        """Return the cost of one pseudo-experiment.  It can be fitted like the cost of data.

        Parameters
        ----------
        truth
            As for :meth:`scan`.
        toy
            Number of the toy.
        """
        return self._drawn(self._experiment(truth, toy + 1), toy)

    def profiled(self, cost: Cost, *, n_events: float | None = None) -> LikelihoodCost:
        """Return the cost of data as a function of the parameters of interest.

        All other parameters are profiled.  Apply a calibration or a belt made from these toys to
        the returned cost.

        Parameters
        ----------
        cost
            Sum of the costs of the data.  It must have the same parameters as the sum of `terms`.
        n_events
            Number of events of the data in all terms; default: the number of events of the toys.

        Raises
        ------
        ParameterError
            If the cost has other parameters.
        FitError
            If a fit is not valid; the message names the point.
        """
        names = set(describe(cost))
        if names != set(self._names):
            differ = ", ".join(sorted(names ^ set(self._names)))
            msg = (
                f"the cost and the terms of the toys have different parameters ({differ}); make "
                "both from the same terms"
            )
            raise ParameterError(msg)
        return LikelihoodCost(
            self.grid.surface(self._profile(cost, self._nominal, *_FIT_OF_DATA)),
            self.parameters,
            n_events=self._n_events if n_events is None else n_events,
            rate_in_surface=True,
            tag=self.tag,
        )

    def scan(
        self,
        truths: Sequence[float | Point],
        n_toys: int,
        *,
        start: int = 0,
        workers: int = 1,
        client: Client | None = None,
        on_toys: Callable[[int], None] | None = None,
    ) -> list[ToyEnsemble]:
        """Generate pseudo-experiments at several true points.

        Parameters
        ----------
        truths
            Values of the parameter of interest, or points that may contain any parameter.  A
            parameter without a given value gets the value of its auxiliary measurement; without an
            auxiliary measurement, it gets its starting value.
        n_toys
            Number of toys at each true point.
        start
            Number of the first toy.  The seed defines a sequence of toys, which starts at number 0.
        workers
            Number of threads; the toys do not depend on it.
        client
            Client of a dask cluster, instead of threads.
        on_toys
            Function to report progress.  It is called with the number of toys done since the last
            call.

        Returns
        -------
        list of ToyEnsemble
            One :class:`~milinfer.toys.ensemble.ToyEnsemble` for each true point.  Its ``n_events``
            is the number of events in all terms together, if all parameters have the values of
            their auxiliary measurements or their starting values.  Its ``n_effective`` describes
            the smallest pool: for each term, compare the mean number of events in a toy with the
            effective number of events in the pool; ``n_events / n_effective`` is the largest of
            these ratios.

        Raises
        ------
        ConfigurationError
            If `n_toys` is not positive, or `start` is negative.
        ParameterError
            If a true point contains an unknown parameter, or no value of a parameter of interest.
        FitError
            If the fit of a toy is not valid; the message names the toy and its true point.
        """
        if n_toys < 1 or start < 0:
            msg = f"n_toys = {n_toys} must be positive, and start = {start} not negative"
            raise ConfigurationError(msg)
        crew = Workers(workers, client)
        ensembles = []
        for truth in truths:
            experiment = self._experiment(truth, start + n_toys)
            surfaces = []
            for surface in crew.map(_surface, range(start, start + n_toys), self, experiment):
                surfaces.append(surface)
                if on_toys is not None:
                    on_toys(1)
            ensembles.append(self._ensemble(experiment, np.array(surfaces), start))
        return ensembles

    # --- one pseudo-experiment -----------------------------------------------------------------

    def _point(self, truth: float | Point) -> dict[str, float]:
        """Value of every parameter."""
        if isinstance(truth, Mapping):
            given = {name: float(value) for name, value in truth.items()}
        else:
            given = {only(self.parameters): float(truth)}
        for name in given:
            if name not in self._names:
                msg = f"truth contains {name}; the combination has {', '.join(self._names)}"
                raise ParameterError(msg + did_you_mean(name, list(self._names)))
        for name in self.parameters:
            if name not in given:
                msg = f"the truth has no value of the parameter of interest {name}; add it"
                raise ParameterError(msg)
        return self._nominal | given

    @cached_property
    def _nominal(self) -> dict[str, float]:
        """Starting values, or values from auxiliary measurements."""
        nominal: dict[str, float] = dict.fromkeys(self._names, 0.0)
        for term in reversed(self.terms):
            source = term.likelihood if isinstance(term, EventTerm) else term
            start = getattr(source, "start", {})
            nominal |= dict(start) if isinstance(start, dict) else {}
        for term in self.terms:
            if isinstance(term, EventTerm):
                if isinstance(term.likelihood, SystematicTerms):
                    nominal |= {c.name: c.measured for c in term.likelihood.constraints}
            else:
                measured = auxiliary_measurements(term, self.parameters)
                nominal |= {c.name: c.measured for c in measured.constraints}
        return nominal

    def _experiment(self, truth: float | Point, stop: int) -> _Experiment:
        point = self._point(truth)
        draws = [
            term.toys.draws({n: point[n] for n in term.toys.parameters}, stop)
            if isinstance(term, EventTerm)
            else None
            for term in self.terms
        ]
        return _Experiment(point, tuple(draws))

    def _drawn(self, experiment: _Experiment, toy: int) -> Cost:
        """Sum of the costs of a pseudo-experiment."""
        keys = seed_keys(experiment.point)
        costs = []
        for k, (term, draws) in enumerate(zip(self.terms, experiment.draws, strict=True)):
            sequence = np.random.SeedSequence(self.seed, spawn_key=(*keys, k, toy))
            rng = np.random.default_rng(sequence)
            if isinstance(term, EventTerm):
                assert draws is not None
                cost = _scattered(term.cost(draws.dataset(toy)), experiment.point, rng)
            elif isinstance(term, PyhfCost):
                own = {name: experiment.point[name] for name in describe(term)}
                cost = term.with_data(_pyhf_toy(term, own, rng))
            else:
                cost = _scattered(term, experiment.point, rng, self.parameters)
            costs.append(cost)
        return costs[0] if len(costs) == 1 else CostSum(*costs)

    def _profile(self, cost: Cost, start: Point, tolerance: float, strategy: int) -> FloatArray:
        """Λ at the points of the grid, fitted from a point on."""
        m = profiling_minuit(cost, self.parameters, tolerance=tolerance)
        m.strategy = strategy
        for name in self._profiled:
            m.values[name] = float(np.clip(start[name], *m.limits[name]))
        centre = np.array([start[name] for name in self.parameters])
        first = int(np.argmin(np.sum((self._points - centre) ** 2, axis=1)))
        return -profiled_costs(m, self.parameters, self._points, first, self.name) / 2

    # --- all of them ---------------------------------------------------------------------------

    @cached_property
    def _n_events(self) -> float:
        """Number of events in all terms at the nominal point, also if no pool is at this point."""
        total = 0.0
        for term in self.terms:
            if isinstance(term, PyhfCost):
                data = asimov_data(term, {n: self._nominal[n] for n in describe(term)})
                total += float(data[: term.model.config.nmaindata].sum())
            elif isinstance(term, EventTerm):
                total += term.nominal_events(self._nominal)
        return total

    def _ensemble(self, experiment: _Experiment, values: FloatArray, start: int) -> ToyEnsemble:
        draws = [d for d in experiment.draws if d is not None]
        pools = [d.pool for d in draws]
        share = max([d.mean / d.pool.n_effective for d in draws if not d.disjoint], default=0.0)
        n_effective = self._n_events / share if share else np.inf
        seen = [
            any_shared([pool.pool_id], term.trained_on)
            for pool, term in zip(pools, self._of_events, strict=True)
        ]
        return ToyEnsemble(
            tag=self.tag,
            point={name: experiment.point[name] for name in self.parameters},
            interpolation=self.grid,
            values=values,
            n_events=self._n_events,
            poisson=True,
            pool_events=sum(len(pool.weights) for pool in pools),
            pool_id=sketch_of_union(pool.pool_id for pool in pools),
            seed=self.seed,
            start=start,
            n_effective=n_effective,
            # Of Gaussian estimates: the influence of each event is not known.
            pool_variance_error=float(np.sqrt(2 / n_effective)),
            seen=any(seen),
            profiled_truth={
                name: value
                for name, value in experiment.point.items()
                if name not in self.parameters
            },
        )


class _Experiment(NamedTuple):
    """True values of all parameters, and the events of toys there for each term that has events."""

    point: dict[str, float]
    draws: tuple[Draws | None, ...]


def _surface(toy: int, toys: CombinedToys, experiment: _Experiment) -> FloatArray:
    """Λ of one pseudo-experiment at the points of the grid."""
    cost = toys._drawn(experiment, toy)
    try:
        return toys._profile(cost, experiment.point, *_FIT_OF_TOY)
    except FitError as error:
        msg = f"toy {toy} at {format_point(experiment.point)}: {error}"
        raise FitError(msg) from error


def _parameters_of(term: Term) -> list[str]:
    if not isinstance(term, EventTerm):
        return list(describe(term))
    if isinstance(term.likelihood, SystematicTerms):
        return list(term.likelihood.names)
    return list(as_model(term.likelihood).parameters)


def _identity(term: Term) -> object:
    """Identity of a term, independent of its data."""
    if isinstance(term, EventTerm):
        return term.tag
    if isinstance(term, PyhfCost):
        spec = json.dumps(term.model.spec, sort_keys=True, default=str)
        return hashlib.blake2b(spec.encode()).hexdigest(), term.constrained, describe(term)
    return describe(term), np.asarray(term.covariance).tolist()


def _scattered(
    cost: Cost, point: Point, rng: np.random.Generator, interest: Sequence[str] = ()
) -> Cost:
    """The cost with Gaussian auxiliary measurements that scatter about the true values."""
    if isinstance(cost, NormalConstraint) and set(describe(cost)) & set(interest):
        # A measurement of parameters of interest is a result of data: all of it is drawn.
        interest = ()
    measured = auxiliary_measurements(cost, interest)
    if not measured.constraints:
        return cost
    errors = np.array([c.error for c in measured.constraints])
    covariance = measured.correlation * np.outer(errors, errors)
    names = [c.name for c in measured.constraints]
    values = rng.multivariate_normal([point[n] for n in names], covariance, method="eigh")
    return measuring(cost, dict(zip(names, values.tolist(), strict=True)), interest)


def _pyhf_toy(cost: PyhfCost, point: Point, rng: np.random.Generator) -> FloatArray:
    """Counts and auxiliary data of a pseudo-experiment, from pyhf's own distributions."""
    expected = asimov_data(cost, point)
    n_bins = cost.model.config.nmaindata
    data = expected.copy()
    data[:n_bins] = rng.poisson(expected[:n_bins])
    for datum, width in enumerate(cost.auxiliary_widths, n_bins):
        mean = expected[datum]
        data[datum] = rng.poisson(mean) if width is None else rng.normal(mean, width)
    return data
