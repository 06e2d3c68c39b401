"""Generate pseudo-experiments ("toys") from cached log-likelihood ratios of events.

A model is evaluated once for each event of the pool (:class:`Tables`).  To make a toy, events are
drawn and their log-likelihood ratios are added, without evaluating a network again.  All models use
the same draws.  Threads and the workers of a cluster run :func:`throw`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from milinfer.exceptions import (
    ConfigurationError,
    MilinferWarning,
    ModelError,
    ParameterError,
    SampleError,
)
from milinfer.likelihood.models import (
    AnyModel,
    Model,
    Table,
    as_model,
    event_sums,
    has_seen,
    model_tag,
)
from milinfer.likelihood.rate import Rate, require_factor
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox, finer, resampled
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.draws import STREAM, Draws
from milinfer.toys.ensemble import PoolInfluence, ToyEnsemble, pool_influence, slope_at
from milinfer.toys.pool import Background, EventPool
from milinfer.toys.signed import as_data, influence_as_data, net_share
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.display import html_facts
from milinfer.utils.parallel import Workers, require_client
from milinfer.utils.points import format_point, only

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["SegmentSums", "Tables", "Thrown", "Toys", "throw"]

# Expected numbers of background events that differ by less are the same.
_SAME_NUMBER = 0.001


@dataclass(frozen=True, eq=False)
class Toys:
    r"""Generate pseudo-experiments (toys) from pools of simulated events.

    A seed defines an infinite sequence of toys: toy number 120 is the same in every run, for any
    number of threads or workers of a cluster.

    Parameters
    ----------
    pool
        Simulated events: one sample for each true value of the toys, or an
        :class:`~milinfer.toys.pool.EventPool` with a degree for any true value.  Use events that
        were not used to train the model; to measure coverage, use events that were not used to
        calibrate it either.
    n_events
        Number of signal events in a toy; None if `rate` gives this number.
    seed
        Random seed; the same seed gives the same toys.
    poisson
        Whether the number of events fluctuates.
    background
        Background processes, which do not depend on the parameters.  Events are drawn from the
        mixture of signal and backgrounds.  If the number of events does not fluctuate, each toy has
        the sum of the expected numbers of signal and background events, rounded.
    rate
        Expected number of signal events ν(θ), positive also at θ = 0.  The number of events N is
        then Poisson distributed around μ(θ), the sum of ν(θ) and the expected backgrounds.  Λ then
        includes the rate term :math:`\mu(0) - \mu(\theta) + N\ln(\mu(\theta)/\mu(0))`.  The cost of
        a dataset with backgrounds needs the rate from
        :meth:`~milinfer.likelihood.rate.Rate.with_background`.
    disjoint
        Whether to draw without replacement.  Two toys at the same true value then have no event in
        common, so that they are independent.  The pool must have enough events, all of the same
        weight.

    Raises
    ------
    ConfigurationError
        If both or neither of `n_events` and `rate` are given, or a number is not positive.
    SampleError
        If a background has other features than the pool.
    ParameterError
        If the rate has other parameters than the pool.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> Toys(gaussian.samples(1000, [0.0], seed=1), n_events=100, seed=2).dataset({"mu": 0.0})
    Sample(100 events, 1 feature, gaussian at mu=0)
    """

    pool: SampleSet | EventPool
    n_events: int | None
    seed: int
    poisson: bool = False
    background: tuple[Background, ...] = ()
    rate: Rate | None = None
    disjoint: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "background", tuple(self.background))
        self._validate()

    def __repr__(self) -> str:
        facts = [text for text in self._facts().values() if text]
        return f"Toys({', '.join(facts)}, seed={self.seed})"

    def _repr_html_(self) -> str:
        return html_facts("Pseudo-experiments", {**self._facts(), "seed": self.seed})

    def _facts(self) -> dict[str, str]:
        number = "ν(θ)" if self.n_events is None else f"{self.n_events:g}"
        fluctuates = self.poisson or self.n_events is None
        backgrounds = [f"{b.n_expected:g} of {b.sample.process}" for b in self.background]
        return {
            "each toy": f"{number} events" + " (Poisson)" * fluctuates,
            "backgrounds": " + ".join(backgrounds),
            "draws": "disjoint" if self.disjoint else "",
            "pool": repr(self.pool),
        }

    def _validate(self) -> None:
        """Raise unless numbers of events, backgrounds and rate go with the pool."""
        if (self.n_events is None) == (self.rate is None):
            msg = (
                "give n_events, the number of signal events in a toy, or rate=, the expected "
                "number; give one of the two"
            )
            raise ConfigurationError(msg)
        if self.n_events is not None and not self.n_events > 0:
            msg = f"n_events must be positive, not {self.n_events}"
            raise ConfigurationError(msg)
        samples = self._pool.samples
        for sample, expected in self.background:
            if not (np.isfinite(expected) and expected > 0):
                msg = (
                    f"{sample.label}: n_expected must be positive, not {expected:g}; omit a "
                    "background without events"
                )
                raise ConfigurationError(msg)
            if sample.feature_names != samples.feature_names:
                differ = ", ".join(sorted(set(sample.feature_names) ^ set(samples.feature_names)))
                msg = (
                    f"background {sample.label} and {samples[0].label} have different features "
                    f"({differ or 'another order'})"
                )
                raise SampleError(msg)
        if self.rate is not None and self.rate.basis.parameters != samples.parameters:
            msg = (
                f"the rate is a function of {self.rate.basis.parameters}, but the pool has the "
                f"parameters {samples.parameters}; they must be the same, in the same order"
            )
            raise ParameterError(msg)

    @property
    def _pool(self) -> EventPool:
        return self.pool if isinstance(self.pool, EventPool) else EventPool(self.pool)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters of the pool."""
        return self._pool.samples.parameters

    def mean_events(self, truth: Point) -> float:
        """Return the mean number of events of a toy at a point, including backgrounds."""
        signal = self._nu(truth) if self.n_events is None else float(self.n_events)
        return signal + sum(b.n_expected for b in self.background)

    def run(
        self,
        models: Sequence[AnyModel],
        truth: float | Point,
        n_toys: int,
        *,
        start: int = 0,
        workers: int = 1,
        client: Client | None = None,
        on_toys: Callable[[int], None] | None = None,
    ) -> dict[str, ToyEnsemble]:
        """Generate toys at one true value and evaluate all models on them.

        Parameters
        ----------
        models
            Models of the same parameters, with different names.
        truth
            True parameter point, or the true value if there is one parameter.  The pool must have
            events for it.
        n_toys
            Number of toys.
        start
            Number of the first toy in the sequence of the seed.  For example, runs of 100 toys with
            start 0 and 100 can be joined to a run of 200 toys.
        workers
            Number of threads; the toys do not depend on it.  Models of bags run in one thread.
        client
            Client of a dask cluster whose workers generate the toys, with identical results.  The
            models are evaluated in this process, and their output for each event is sent to the
            workers once.  Models of bags and of whole datasets are sent too, so they must be
            picklable.
        on_toys
            Function that is called with the number of toys done since the last call.

        Returns
        -------
        dict
            One :class:`ToyEnsemble` for each model, by name.
        """
        by_model = self.scan(
            models, [truth], n_toys, start=start, workers=workers, client=client, on_toys=on_toys
        )
        return {name: ensembles[0] for name, ensembles in by_model.items()}

    def scan(
        self,
        models: Sequence[AnyModel],
        truths: Sequence[float | Point],
        n_toys: int,
        *,
        start: int = 0,
        workers: int = 1,
        client: Client | None = None,
        on_toys: Callable[[int], None] | None = None,
    ) -> dict[str, list[ToyEnsemble]]:
        """Generate toys at several true values; models are evaluated only once for each event.

        Parameters
        ----------
        models, n_toys, start, workers, client, on_toys
            As for :meth:`run`.
        truths
            True parameter points, or true values if there is one parameter.

        Returns
        -------
        dict
            For each model, by name, a list with one :class:`ToyEnsemble` for each true value.

        Raises
        ------
        SampleError
            If the models have different parameters or the same name, or the pool has no events for
            the toys.
        ModelError
            If an object is not a model; see :func:`milinfer.likelihood.models.as_model`.
        ConfigurationError
            If numbers are not positive, `client` is not a dask client, or a model cannot be sent to
            it.

        Warns
        -----
        MilinferWarning
            If events have negative weights and Λ of a model is not a sum over events (histograms
            with errors, profiled backgrounds).  The toys of this model then fluctuate more than
            data, and intervals that are calibrated with them are too wide.  For models whose Λ is a
            sum over events, Λ is corrected for negative weights (:mod:`milinfer.toys.signed`).  It
            then differs from Λ that you compute from the events of :meth:`dataset`.

        Examples
        --------
        >>> from milinfer.datasets import quadratic
        >>> from milinfer.likelihood.oracle import Oracle
        >>> samples = quadratic.samples(2000, [{"c1": -1.0}, {"c1": 1.0}], seed=1)
        >>> oracle = Oracle.from_sample(samples[0], "c1", np.linspace(-1, 1, 21), degree=2)
        >>> toys = Toys(EventPool(samples, degree=2), n_events=200, seed=2)
        >>> [e.point for e in toys.scan([oracle], [0.0, 0.3], n_toys=100)["oracle"]]
        [{'c1': 0.0}, {'c1': 0.3}]
        """
        sources = _models(models)
        self._require(sources, n_toys, start)
        require_client(client, workers)
        if client is None and any(m.scores_bags or m.has_rate for m in sources):
            workers = 1
        crew = Workers(workers, client)
        parameters = sources[0].parameters
        whole_streams = any(m.scores_bags for m in sources)
        tables = Tables(sources)
        ensembles: dict[str, list[ToyEnsemble]] = {m.name: [] for m in sources}
        for truth in truths:
            point = dict(truth) if isinstance(truth, Mapping) else {only(parameters): float(truth)}
            draws = self.draws(point, start + n_toys)
            _require_events_left(draws)
            rows = tables.of(draws.pool.samples)
            values, counts = throw(
                tables.sums,
                tables.summed,
                draws,
                range(start, start + n_toys),
                crew,
                whole_streams=whole_streams,
                on_toys=on_toys,
            )
            signed = bool(np.any(draws.pool.weights < 0))
            for model, table, summed in zip(sources, rows, values, strict=True):
                corrected = signed and _can_follow_data(model, draws)
                shape = _as_data(model, table, summed, counts, draws) if corrected else summed
                continuation, surfaces, log_rate = self._with_rate(model, shape, counts)
                variance_error, influence = self._influence(model, table, draws, log_rate)
                n_effective = np.inf if self.disjoint else draws.pool.n_effective
                if corrected:
                    # A mean over the pool is Σwλ/Σw, and its error that of fewer events.
                    n_effective *= net_share(draws.pool.weights) ** 2
                    if influence is not None:
                        influence = influence_as_data(influence, draws.pool.weights)
                        variance_error = influence.variance_error
                ensembles[model.name].append(
                    ToyEnsemble(
                        tag=model_tag(model),
                        point=draws.point,
                        interpolation=continuation,
                        values=surfaces,
                        n_events=draws.mean,
                        poisson=draws.poisson,
                        pool_events=len(draws.pool.weights),
                        pool_id=draws.pool.pool_id,
                        seed=self.seed,
                        start=start,
                        counts=counts,
                        n_effective=n_effective,
                        extended=self.rate is not None,
                        pool_variance_error=variance_error,
                        pool_influence=influence,
                        seen=has_seen(model, draws.pool.pool_id),
                        profiled_truth=model.profiled_truth,
                    )
                )
        return ensembles

    def dataset(self, truth: Mapping[str, float], toy: int = 0) -> Sample:
        """Return the events of one toy as a dataset (weights ±1).

        If the pool has events of negative weight, this dataset fluctuates more than data.
        """
        return self.draws(truth, toy + 1).dataset(toy)

    def asimov(self, truth: float | Point, *, luminosity: float = 1.0) -> Sample:
        """Make an Asimov dataset: all events of the pool, weighted to the expected number.

        Its events follow the simulation, so that a fit with a model need not give back the point
        exactly.  :func:`milinfer.likelihood.asimov_cost` uses the density of the model instead, so
        that a fit gives back the point; it also takes nuisance parameters.

        Parameters
        ----------
        truth
            Parameter point, or the value if there is one parameter.
        luminosity
            Factor on the expected number of events, for example for a larger dataset.  The rate of
            a fit needs the same factor (:meth:`milinfer.likelihood.rate.Rate.scaled`).

        Returns
        -------
        Sample
            Events whose weights sum to the expected number of events.  Costs accept the sample as
            data.

        Raises
        ------
        SampleError, ParameterError
            If the pool has no events of positive total weight at the point.
        ConfigurationError
            If the luminosity is not positive.

        Examples
        --------
        >>> from milinfer.datasets import gaussian
        >>> toys = Toys(gaussian.samples(1000, [0.0], seed=1), n_events=100, seed=2)
        >>> round(float(toys.asimov(0.0, luminosity=3.0).weights.sum()), 6)
        300.0
        """
        require_factor(luminosity)
        names = self._pool.samples.parameters
        point = dict(truth) if isinstance(truth, Mapping) else {only(names): float(truth)}
        draws = self.draws(point, 1)
        return draws.pool.expectation(float(draws.expected.sum()) * luminosity, draws.point)

    def _require(self, models: Sequence[Model], n_toys: int, start: int) -> None:
        """Raise unless the models can run on the same toys, and there are toys."""
        parameters = models[0].parameters
        if any(m.parameters != parameters for m in models):
            msg = (
                "the models have different parameters, "
                f"{[(m.name, m.parameters) for m in models]}; run toys for them separately"
            )
            raise SampleError(msg)
        if len({m.name for m in models}) < len(models):
            msg = f"models must have different names, not {[m.name for m in models]}"
            raise SampleError(msg)
        if self.rate is not None and self.rate.basis.parameters != parameters:
            msg = (
                f"the rate is a function of {self.rate.basis.parameters}, but the models of "
                f"{parameters}; use the same parameters"
            )
            raise ParameterError(msg)
        in_toys = sum(b.n_expected for b in self.background)
        for m in models:
            expected = m.background_in_toys
            if expected is not None and not np.isclose(expected, in_toys, rtol=_SAME_NUMBER):
                norms = format_point(m.profiled_truth)
                msg = (
                    f"the toys have {in_toys:g} expected background events, but {m.name} expects "
                    f"{expected:g} at its true normalisations ({norms}); give true_norms= of the "
                    "toys to the likelihood, or other n_expected= to the Background of the toys"
                )
                raise ConfigurationError(msg)
        if n_toys < 1 or start < 0:
            msg = f"n_toys = {n_toys} must be positive, and start = {start} not negative"
            raise ConfigurationError(msg)

    def draws(self, truth: Point, stop: int) -> Draws:
        """Return the sequence of toys at a true point, from which datasets can be taken one by one.

        Parameters
        ----------
        truth
            Parameter point.
        stop
            Number of the last toy plus one.  It only matters if toys are drawn without replacement.

        Raises
        ------
        SampleError, ParameterError
            If the pool has no events for the toys, or has other parameters.
        """
        pool = self._pool
        names = pool.samples.parameters
        # The pool refuses other parameters.  The draw must not depend on the order of parameters.
        point = {k: float(truth[k]) for k in names} if set(truth) == set(names) else dict(truth)
        signal = pool.at(point)
        n_signal = float(self.n_events) if self.n_events is not None else self._nu(point)
        if self.rate is not None and np.any(signal.weights < 0):
            msg = (
                f"{signal.samples[0].label}: toys with a rate need events of positive weight, "
                "because the number of events with signed weights is not Poisson distributed; omit "
                "rate=, or reweight to positive weights"
            )
            raise SampleError(msg)
        return Draws(
            pool=signal.with_backgrounds(n_signal, self.background),
            point=point,
            seed=self.seed,
            expected=np.array([n_signal, *(b.n_expected for b in self.background)]),
            sizes=np.array([len(signal.weights), *(len(b.sample) for b in self.background)]),
            poisson=self.poisson or self.rate is not None,
            disjoint=stop if self.disjoint else None,
        )

    def _nu(self, point: Point) -> float:
        assert self.rate is not None
        return self.rate.at(point)

    def _with_rate(
        self, model: Model, surfaces: FloatArray, counts: IntArray
    ) -> tuple[Interpolation | ChebyshevBox, FloatArray, FloatArray | None]:
        """Grid and Λ of the likelihood with the rate, and ln ν(θ_k)/ν(0) at the model's points."""
        if self.rate is None or model.has_rate:
            return model.interpolation, surfaces, None
        fixed = sum(b.n_expected for b in self.background)
        nu0 = self._nu(dict.fromkeys(model.parameters, 0.0)) + fixed
        fine = finer(model.interpolation)
        nu = self.rate.value(fine.grid) + fixed
        values = resampled(model.interpolation, surfaces, fine)
        values += nu0 - nu + counts[:, None] * np.log(nu / nu0)
        log_rate: FloatArray = np.log((self.rate.value(model.interpolation.grid) + fixed) / nu0)
        return fine, values, log_rate

    def _influence(
        self, model: Model, table: Table, draws: Draws, log_rate: FloatArray | None
    ) -> tuple[float, PoolInfluence | None]:
        """Error of Var(θ̂) from the finite pool, and the influence of each part of the pool."""
        if model.scores_bags:
            return float("nan"), None
        if self.disjoint:
            return 0.0, None
        if model.has_rate:
            # Profiled: the influence of an event is not known; this is for Gaussian estimates.
            return float(np.sqrt(2 / draws.pool.n_effective)), None
        ratios = model.event_ratios(table)
        point = np.array([draws.point[name] for name in model.parameters])
        influence = pool_influence(model.interpolation, ratios, draws.pool.weights, point, log_rate)
        return (float("nan"), None) if influence is None else (influence.variance_error, influence)


def _models(models: object) -> list[Model]:
    """The models of a list, each as :func:`as_model` returns it.

    Raises
    ------
    ModelError
        If `models` is not a list, or contains an object that is not a model.
    """
    if not isinstance(models, Iterable) or isinstance(models, str | Mapping):
        msg = (
            f"toys take a list of models, not a {type(models).__name__}; write "
            "toys.scan([model], truths, n_toys), even for one model"
        )
        raise ModelError(msg)
    return [as_model(m) for m in models]


def _require_events_left(draws: Draws) -> None:
    """Raise if negative weights cancel all others."""
    weights = draws.pool.weights
    if np.any(weights < 0) and not weights.sum() > 0:
        msg = (
            f"{draws.pool.samples[0].label}: the weights of its {len(weights)} events sum to "
            f"{weights.sum():g}, so no toys can be drawn from them; give events whose weights have "
            "a positive sum"
        )
        raise SampleError(msg)


def _can_follow_data(model: Model, draws: Draws) -> bool:
    """Tell whether toys of signed events can be corrected to fluctuate like data; warn if not."""
    if model.additive and not model.has_rate:
        return True
    # n draws hold n·net events, and fluctuate as n events.
    net = net_share(draws.pool.weights)
    msg = (
        f"{draws.pool.samples[0].label}: {(1 - net) / 2:.1%} of the weight is negative; toys of "
        f"{model.name} therefore fluctuate more than data (with {1 / net:.2f} times the variance), "
        "and intervals calibrated with them are too wide. Make the weights positive, by "
        "reweighting or by cell resampling"
    )
    warnings.warn(msg, MilinferWarning, stacklevel=4)
    return False


def _as_data(
    model: Model, table: Table, summed: FloatArray, counts: IntArray, draws: Draws
) -> FloatArray:
    """Correct Λ of toys of signed events to the mean and the fluctuation of data."""
    point = np.array([draws.point[name] for name in model.parameters])
    continuation = model.interpolation
    has_slope = not (isinstance(continuation, Interpolation) and continuation.kind == "points")
    slope = slope_at(continuation, point) if has_slope else None
    return as_data(summed, counts, model.event_ratios(table), draws.pool.weights, slope)


SegmentSums: TypeAlias = Callable[[Table, IntArray, FloatArray, IntArray], FloatArray]
"""Λ of segments from a table of events: :meth:`~milinfer.likelihood.models.Model.segment_llr`."""


class Thrown(NamedTuple):
    """Λ and the number of events of each toy.

    Parameters
    ----------
    surfaces
        For each model, Λ at its K grid points, shape (n_toys, K).
    counts
        Number of events of each toy, shape (n_toys,).
    """

    surfaces: list[FloatArray]
    counts: IntArray


class Tables:
    """Cache of the output of each model for each event.

    Parameters
    ----------
    models
        Models of events, bags, counts or datasets.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = models
        self._by_sample: dict[int, list[Table]] = {}
        self._joined: list[Table] = []
        # Of each model, the columns of its table from which toys are summed, and how.
        self.summed: list[Table] = []
        self.sums: list[SegmentSums] = []

    def of(self, samples: tuple[Sample, ...]) -> list[Table]:
        """Return the table of each model, with all events.

        If the samples are the same as before, the tables are not made again.
        """
        keys = [id(s) for s in samples]
        if keys != list(self._by_sample):
            # Remove the tables of samples that are no longer in use.
            before = self._by_sample
            self._by_sample = {
                k: before[k] if k in before else [_table(m, s) for m in self._models]
                for k, s in zip(keys, samples, strict=True)
            }
            columns = zip(*self._by_sample.values(), strict=True)
            self._joined = [c[0] if len(c) == 1 else np.concatenate(c) for c in columns]
            from milinfer.toys.few_columns import choose_columns  # numba takes long to import

            self.sums, self.summed = [], []
            for model, table in zip(self._models, self._joined, strict=True):
                chosen = choose_columns(table) if model.additive else None
                if chosen is not None:
                    self.summed.append(chosen.table(table))
                    self.sums.append(chosen)
                else:
                    # A sum over events does not need the model: workers do not get the network.
                    self.summed.append(table)
                    self.sums.append(event_sums if model.additive else model.segment_llr)
        return self._joined


def _table(model: Model, sample: Sample) -> Table:
    table = model.event_table(sample)
    if model.additive or table.dtype != np.float32:
        # Converting once is cheaper than for each stream.
        return np.ascontiguousarray(table, dtype=np.float64)
    # Summaries of networks stay float32: half as much to gather and to send to workers, and their
    # sums are float64 all the same.
    return np.ascontiguousarray(table, dtype=np.float32)


class _Part(NamedTuple):
    """Toys number `first` to `last` − 1 of a stream."""

    stream: int
    first: int
    last: int


def _parts(toys: range) -> list[_Part]:
    """Split toys by stream."""
    return [
        _Part(k, max(toys.start - k * STREAM, 0), min(toys.stop - k * STREAM, STREAM))
        for k in range(toys.start // STREAM, -(-toys.stop // STREAM))
    ]


def throw(
    sums: Sequence[SegmentSums],
    tables: Sequence[Table],
    draws: Draws,
    toys: range,
    crew: Workers,
    *,
    whole_streams: bool,
    on_toys: Callable[[int], None] | None,
) -> Thrown:
    """Generate toys and evaluate all models on them.

    Parameters
    ----------
    sums
        Functions that sum the rows of the tables, one for each model (``Tables.sums``).
    tables
        The tables whose rows are summed (``Tables.summed``).
    draws
        The sequence of toys.
    toys
        Range of the numbers of the toys, in steps of one.
    crew
        Threads or workers to use.
    whole_streams
        Whether to evaluate all toys of a stream together, even if only some are requested.  (The
        last bit of a network's output depends on the number of bags that it evaluates together.)
    on_toys
        Function that is called with the number of toys done since the last call.
    """
    # Only the weights of the pool determine the events of a toy, so the samples are not sent.
    bare = replace(draws, pool=draws.pool._replace(samples=()))
    values: list[list[FloatArray]] = [[] for _ in sums]
    counts = []
    for surfaces, drawn in crew.map(_stream, _parts(toys), sums, tables, bare, whole_streams):
        for parts, part in zip(values, surfaces, strict=True):
            parts.append(part)
        counts.append(drawn)
        if on_toys is not None:
            on_toys(len(drawn))
    return Thrown([np.concatenate(parts) for parts in values], np.concatenate(counts))


def _stream(
    part: _Part,
    sums: Sequence[SegmentSums],
    tables: Sequence[Table],
    draws: Draws,
    whole_streams: bool,
) -> Thrown:
    """Λ of each model for some toys, and their numbers of events."""
    first, last = part.first, part.last
    low, high = (0, STREAM) if whole_streams else (first, last)
    index, counts = draws.stream(part.stream, high)
    offsets = np.concatenate([[0], np.cumsum(counts)])[low : high + 1]
    index = index[offsets[0] : offsets[-1]]
    signs, offsets = draws.signs(index), offsets - offsets[0]
    pairs = zip(sums, tables, strict=True)
    surfaces = [evaluate(table, index, signs, offsets) for evaluate, table in pairs]
    return Thrown([s[first - low : last - low] for s in surfaces], counts[first:last])
