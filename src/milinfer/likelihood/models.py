"""Models: objects that compute the log-likelihood ratio Λ(θ) of datasets, in one of four ways.

- An :class:`EventModel` computes ``ln p(x|θ_k)/p(x|θ_0)`` of each event at K parameter points, and
  Λ of a dataset is the sum over its events.  Examples are a trained network, the exact joint
  likelihood ratio of a simulation, and a histogram with fixed templates.
- A :class:`BagModel` scores bags of events (attention, noisy-or).  It computes a summary of each
  event and combines the summaries of a bag, and Λ is the sum over the bags.
- A :class:`CountModel` is a histogram whose templates have errors; Λ is a function of the counts.
- A :class:`DatasetModel` profiles nuisance parameters.  Their values depend on all events of the
  dataset.

All four are kinds of :class:`Model`, which has two methods.  :meth:`Model.event_table` evaluates
each event once, and :meth:`Model.segment_llr` computes Λ of datasets, pseudo-experiments or
bootstraps from this table.  An object of any class with ``name``, ``parameters``, ``interpolation``
and ``event_llr(sample)`` is also a model (:class:`LLRModel`); :func:`as_model` adds the two
methods.

A trained model follows the fluctuations of its training events, so its estimates on toys drawn from
these events are better than on data.  A model therefore stores fingerprints of its training events
(:mod:`milinfer.samples.fingerprints`), and :func:`require_unseen` raises an error if training
events are used as test events.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

from milinfer.exceptions import ModelError, ParameterError, SampleError
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.surface import Interpolation, Surface
from milinfer.likelihood.surface_box import BoxSurface, ChebyshevBox
from milinfer.samples.bags import bag_offsets
from milinfer.samples.fingerprints import share_events, sketch
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import Float32Array, FloatArray, IntArray
from milinfer.utils.points import only

__all__ = [
    "AnyModel",
    "BagModel",
    "CountModel",
    "DatasetModel",
    "EventModel",
    "LLRModel",
    "Model",
    "ModelTag",
    "Renamed",
    "Table",
    "as_model",
    "curve",
    "dataset_surface",
    "event_sums",
    "has_seen",
    "model_tag",
    "require_unseen",
    "trained_on",
]

Table: TypeAlias = FloatArray | Float32Array
"""Output of a model, one row for each event."""

# Number of events whose summaries are combined at once.
_BLOCK = 1 << 18


class ModelTag(NamedTuple):
    """Identity of a model, which is stored in toys, costs and calibrations.

    Parameters
    ----------
    name
        Name of the model.
    events_in_bag
        Number of events in a bag; 1 for models of single events.
    feature_names
        Names of the features that the model reads; empty if it reads other columns of the events,
        such as weights.
    digest
        Hash of the trained parameters; empty for models without training.
    """

    name: str
    events_in_bag: int = 1
    feature_names: tuple[str, ...] = ()
    digest: str = ""


@runtime_checkable
class LLRModel(Protocol):
    """Attributes that an object of your own class needs to be a model of single events.

    The class need not inherit from anything.  Λ of a dataset is the sum over its events.
    """

    @property
    def name(self) -> str:
        """Short name for tables and figures."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""

    @property
    def interpolation(self) -> Interpolation | ChebyshevBox:
        """Parameter points at which Λ is computed, and the interpolation between them."""

    def event_llr(self, sample: Sample) -> FloatArray:
        """Return the log-likelihood ratio of every event at every point, shape (n_events, K)."""


class Model(ABC):
    """Base class of all models, which compute the log-likelihood ratio of datasets."""

    if TYPE_CHECKING:
        # For the type checker alone: many models have these as fields of a dataclass, which would
        # use an inherited property as the default of the field.
        @property
        def name(self) -> str:
            """Short name for tables and figures."""

        @property
        def parameters(self) -> tuple[str, ...]:
            """Names of the parameters."""

        @property
        def interpolation(self) -> Interpolation | ChebyshevBox:
            """Parameter points at which Λ is computed, and the interpolation between them."""

    @property
    def additive(self) -> bool:
        """Whether Λ of a dataset is the sum of :meth:`event_llr` over its events."""
        return False

    @property
    def scores_bags(self) -> bool:
        """Whether Λ is a sum over bags of events that are scored as a whole."""
        return False

    @property
    def has_rate(self) -> bool:
        """Whether Λ already includes the rate term (Poisson term of the number of events)."""
        return False

    @abstractmethod
    def event_table(self, sample: Sample) -> Table:
        """Evaluate the model once for each event, and return the table from which Λ is computed.

        Returns
        -------
        ndarray
            One row for each event; the meaning of the columns depends on the kind of model.

        Raises
        ------
        SampleError
            If a model of bags gets events of negative weight.
        ModelError
            If the model does not return one row for each event.
        """

    @abstractmethod
    def segment_llr(
        self, table: Table, index: IntArray, signs: FloatArray, offsets: IntArray
    ) -> FloatArray:
        """Return Λ of consecutive segments of a list of events; a segment is a dataset or a toy.

        Parameters
        ----------
        table
            Result of :meth:`event_table`.
        index
            Row in the table of each listed event, one segment after the other.
        signs
            Weights of the listed events (±1 in toys), with the shape of `index`.
        offsets
            Positions in `index` at which segments begin and end, shape (n_segments + 1,).  A
            segment may be empty.

        Returns
        -------
        ndarray
            Λ of each segment at K points, shape (n_segments, K).

        Raises
        ------
        SampleError
            If a model of bags or of whole datasets gets weights other than one.
        """

    def data_llr(self, table: Table, weights: FloatArray) -> FloatArray:
        """Return Λ of one observed dataset, which consists of all rows of a table, shape (1, K)."""
        n_events = len(weights)
        return self.segment_llr(table, np.arange(n_events), weights, np.array([0, n_events]))

    def event_llr(self, sample: Sample) -> FloatArray:
        """Return the log-likelihood ratio of every event at every point, shape (n_events, K).

        Raises
        ------
        ModelError
            If Λ is not a sum over events.
        """
        msg = (
            f"{self.name} gives no log-ratios of single events ({sample.label}): its Λ is not a "
            "sum over events; use dataset_surface(model, data)"
        )
        raise ModelError(msg)

    def event_ratios(self, table: Table) -> FloatArray:
        """Return the log-ratios of single events from a table.

        The effect of each event of a pool on toys is computed from them.

        Raises
        ------
        ModelError
            If the table contains no log-ratios of single events.
        """
        msg = f"{self.name} has no log-ratios of single events in its table of {len(table)} events"
        raise ModelError(msg)

    def log_polynomials(self, data: Sample) -> LogPolynomials | None:
        """Return Λ of a dataset as a sum of logarithms of polynomials.

        The result is None if Λ has another form.
        """
        del data
        return None

    @property
    def profiled_truth(self) -> dict[str, float]:
        """True values in toys of the parameters over which Λ is maximised; empty if there are none.

        Auxiliary measurements of toys fluctuate around these values.
        """
        return {}

    @property
    def background_in_toys(self) -> float | None:
        """Expected number of background events of which toys must consist; None: any number."""
        return None


AnyModel: TypeAlias = Model | LLRModel
"""Model or plain class that functions accept; :func:`as_model` makes a :class:`Model` of it."""


class EventModel(Model):
    """Base class of models of single events; Λ of a dataset is the sum over its events.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> model, data = gaussian.MeanModel(), gaussian.generate(50, 0.0, seed=1)
    >>> model.event_table(data).shape
    (50, 9)
    """

    @property
    def additive(self) -> bool:
        """Whether Λ is a sum over events; always true."""
        return True

    @abstractmethod
    def event_llr(self, sample: Sample) -> FloatArray:
        """Return the log-likelihood ratio of every event at every point, shape (n_events, K)."""

    def event_table(self, sample: Sample) -> Table:
        """Return the log-likelihood ratios of the events at K points, shape (n_events, K)."""
        return _require_rows(self, sample, self.event_llr(sample))

    def segment_llr(
        self, table: Table, index: IntArray, signs: FloatArray, offsets: IntArray
    ) -> FloatArray:
        """Return the weighted sums over the events of each segment, shape (n_segments, K).

        A segment is a dataset or a toy.
        """
        return event_sums(table, index, signs, offsets)

    def event_ratios(self, table: Table) -> FloatArray:
        """Return the table itself, which contains the log-ratios of single events."""
        return table.astype(np.float64, copy=False)


class BagModel(Model):
    """Base class of models that compute log-ratios of bags from summaries of their events.

    Λ of a dataset is the sum over its bags (Azakli and Stelzer [AS], eq. 10).  With some poolings,
    Λ is a sum over events instead; the model is then ``additive``, and :meth:`event_llr` returns
    the log-ratios of events.
    """

    if TYPE_CHECKING:

        @property
        def events_in_bag(self) -> int:
            """Number of events in a bag."""

        @property
        def reduction(self) -> Literal["sum", "max"]:
            """How the summaries of a bag are combined: ``"sum"`` or ``"max"``."""

    @property
    def scores_bags(self) -> bool:
        """Whether bags are scored as a whole."""
        return not self.additive

    @abstractmethod
    def event_summary(self, sample: Sample) -> Float32Array:
        """Return the summary of every event, which consists of S numbers, shape (n_events, S)."""

    @abstractmethod
    def bag_llr(self, reduced: FloatArray, counts: IntArray) -> FloatArray:
        """Return the log-likelihood ratio of bags at every point, shape (n_bags, K).

        `reduced` are the combined summaries, shape (n_bags, S), and `counts` are the numbers of
        events in the bags.
        """

    def event_table(self, sample: Sample) -> Table:
        """Return the summaries of the events; an additive model returns the log-ratios.

        The summaries have the shape (n_events, S).
        """
        if self.additive:
            return _require_rows(self, sample, self.event_llr(sample))
        if np.any(sample.weights < 0):
            msg = (
                f"{sample.label}: {self.name} scores bags as a whole and cannot subtract events of "
                "negative weight; use mean or sum pooling, whose Λ is a sum over events"
            )
            raise SampleError(msg)
        return _require_rows(self, sample, self.event_summary(sample))

    def segment_llr(
        self, table: Table, index: IntArray, signs: FloatArray, offsets: IntArray
    ) -> FloatArray:
        """Return the sums over the bags of each segment, shape (n_segments, K).

        A segment is a dataset or a toy.
        """
        if self.additive:
            return event_sums(table, index, signs, offsets)
        if not np.all(signs == 1):
            msg = (
                f"{self.name} scores bags as a whole and cannot use weights; give events of weight "
                "one (sample.as_data(), or a draw by Toys), or use mean or sum pooling"
            )
            raise SampleError(msg)
        out = np.zeros((len(offsets) - 1, len(self.interpolation.grid)))
        sizes = np.diff(offsets)
        filled = np.flatnonzero(sizes)
        # As many datasets at once as fit: a network takes milliseconds for one as for a hundred.
        block = np.cumsum(sizes[filled]) // _BLOCK
        for number in np.unique(block):
            segments = filled[block == number]
            out[segments] = self._bag_sums(table, index, sizes[segments], offsets[segments])
        return out

    def _bag_sums(
        self, table: Table, index: IntArray, sizes: IntArray, starts: IntArray
    ) -> FloatArray:
        """Return Λ of consecutive, non-empty segments of the given sizes, (n_segments, K)."""
        events = index[starts[0] : starts[-1] + sizes[-1]]
        cuts = [bag_offsets(int(n), self.events_in_bag) for n in sizes]
        first = np.concatenate([c[:-1] + s for c, s in zip(cuts, starts - starts[0], strict=True)])
        if self.reduction == "sum":
            bounds = np.append(first, len(events))
            reduced = event_sums(table, events, np.ones(len(events)), bounds)
        else:
            highest = np.maximum.reduceat(table.take(events, axis=0), first, axis=0)
            reduced = highest.astype(np.float64)
        of_bags = self.bag_llr(reduced, np.concatenate([np.diff(c) for c in cuts]))
        n_bags = np.array([len(c) - 1 for c in cuts])
        return np.add.reduceat(of_bags, np.cumsum(n_bags) - n_bags, axis=0)

    def event_ratios(self, table: Table) -> FloatArray:
        """Return the table of an additive model; raise an error for a model of bags."""
        if self.additive:
            return table.astype(np.float64, copy=False)
        return super().event_ratios(table)


class CountModel(Model):
    """Base class of models that compute log-ratios of datasets from the counts in several bins.

    If the templates have no errors, Λ is a sum over events.  The model may then be ``additive``,
    and :meth:`event_llr` returns the log-ratios of events.
    """

    if TYPE_CHECKING:

        @property
        def n_bins(self) -> int:
            """Number of bins."""

        @property
        def bin_llr(self) -> FloatArray:
            """Log-ratio of an event in each bin if Λ were a sum over events, shape (n_bins, K)."""

    @abstractmethod
    def event_bins(self, sample: Sample) -> IntArray:
        """Return the bin of every event, shape (n_events,)."""

    @abstractmethod
    def counts_llr(self, counts: FloatArray) -> FloatArray:
        """Return the log-likelihood ratio of each set of counts at every point, shape (n_sets, K).

        The counts have the shape (n_sets, n_bins).
        """

    def event_table(self, sample: Sample) -> Table:
        """Return the bin of each event; an additive model returns the log-ratios.

        The bins have the shape (n_events, 1).
        """
        if self.additive:
            return _require_rows(self, sample, self.event_llr(sample))
        bins = self.event_bins(sample)[:, None].astype(np.float64)
        return _require_rows(self, sample, bins)

    def segment_llr(
        self, table: Table, index: IntArray, signs: FloatArray, offsets: IntArray
    ) -> FloatArray:
        """Return Λ of the histogram of each segment, shape (n_segments, K).

        A segment is a dataset or a toy.
        """
        if self.additive:
            return event_sums(table, index, signs, offsets)
        n_segments = len(offsets) - 1
        segments = np.repeat(np.arange(n_segments), np.diff(offsets))
        cells = segments * self.n_bins + table[index, 0].astype(np.int64)
        counts = np.bincount(cells, signs, n_segments * self.n_bins).astype(np.float64)
        return self.counts_llr(counts.reshape(n_segments, self.n_bins))

    def event_ratios(self, table: Table) -> FloatArray:
        """Return the log-ratio of the bin of each event, without the errors of the templates."""
        if self.additive:
            return table.astype(np.float64, copy=False)
        return self.bin_llr[table[:, 0].astype(np.int64)]


class DatasetModel(Model):
    """Base class of models whose Λ includes the rate term and is not a sum over events or bags."""

    @property
    def has_rate(self) -> bool:
        """Whether Λ includes the rate term; always true."""
        return True

    @abstractmethod
    def event_columns(self, sample: Sample) -> FloatArray:
        """Return the columns from which Λ of a dataset is computed, shape (n_events, C)."""

    @abstractmethod
    def dataset_llr(
        self,
        table: FloatArray,
        index: IntArray,
        signs: FloatArray,
        offsets: IntArray,
        *,
        observed: bool = False,
    ) -> FloatArray:
        """Return Λ of datasets, shape (n_segments, K).

        The arguments are the same as for :meth:`Model.segment_llr`.  The auxiliary measurements are
        fixed if the data are `observed`, and they fluctuate in toys.
        """

    def event_table(self, sample: Sample) -> Table:
        """Return the columns from which Λ of a dataset is computed, shape (n_events, C)."""
        return _require_rows(self, sample, self.event_columns(sample))

    def segment_llr(
        self, table: Table, index: IntArray, signs: FloatArray, offsets: IntArray
    ) -> FloatArray:
        """Return Λ of each segment, which is a toy with fluctuating auxiliary measurements."""
        return self.dataset_llr(table.astype(np.float64, copy=False), index, signs, offsets)

    def data_llr(self, table: Table, weights: FloatArray) -> FloatArray:
        """Return Λ of a dataset with its own auxiliary measurements, shape (1, K)."""
        rows, offsets = np.arange(len(weights)), np.array([0, len(weights)])
        columns = table.astype(np.float64, copy=False)
        return self.dataset_llr(columns, rows, weights, offsets, observed=True)


def _require_rows(model: Model, sample: Sample, table: Table) -> Table:
    """Return the table if it has one row of finite numbers for each event."""
    if len(table) != len(sample):
        msg = (
            f"{model.name} returned {len(table)} rows for the {len(sample)} events of "
            f"{sample.label}; a model must return one row for each event"
        )
        raise ModelError(msg)
    # One pass over the table without a copy: apart from overflow, a sum is finite only if all its
    # terms are.
    if len(table) and not np.isfinite(np.sum(table, dtype=np.float64)):
        bad = ~np.isfinite(table).all(axis=tuple(range(1, np.ndim(table))))
        if bad.any():
            k = int(np.argmax(bad))
            values = np.ravel(table[k])
            found = values[~np.isfinite(values)][0]
            msg = (
                f"{model.name} returned {found:g} for event {k} of {sample.label} "
                f"({int(bad.sum())} of its {len(sample)} events have such values); check the "
                "features of this event and the output of the model"
            )
            raise ModelError(msg)
    return table


def event_sums(table: Table, index: IntArray, signs: FloatArray, offsets: IntArray) -> FloatArray:
    """Return the weighted sums of the rows of each segment, in float64, shape (n_segments, K).

    A segment is a dataset or a toy.

    Parameters
    ----------
    table, index, signs, offsets
        As for :meth:`Model.segment_llr`.

    Examples
    --------
    >>> table = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    >>> event_sums(table, np.array([0, 2, 2]), np.array([1.0, 1.0, -1.0]), np.array([0, 2, 3]))
    array([[  4.,  40.],
           [ -3., -30.]])
    """
    from milinfer.likelihood.row_sums import row_sums  # numba takes long to import

    return row_sums(table, index, signs, offsets)


@dataclass(frozen=True, eq=False)
class _Delegate(Model):
    """Base of models that wrap another model."""

    model: AnyModel

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.model.parameters

    @property
    def interpolation(self) -> Interpolation | ChebyshevBox:
        """Parameter points and the interpolation between them."""
        return self.model.interpolation

    @property
    def events_in_bag(self) -> int:
        """Events in a bag."""
        return model_tag(self.model).events_in_bag

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features that the model reads."""
        return model_tag(self.model).feature_names

    @property
    def digest(self) -> str:
        """Hash of the trained parameters."""
        return model_tag(self.model).digest

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the training events of the model."""
        return trained_on(self.model)

    @property
    def profiled_truth(self) -> dict[str, float]:
        """True values in toys of the parameters over which Λ is maximised."""
        return as_model(self.model).profiled_truth if isinstance(self.model, Model) else {}


class _PlainModel(_Delegate, EventModel):
    """A plain class of the user as a model of events."""

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    def event_llr(self, sample: Sample) -> FloatArray:
        """Log-likelihood ratio of every event at every point, shape (n_events, K)."""
        return self.model.event_llr(sample)

    def log_polynomials(self, data: Sample) -> LogPolynomials | None:
        """Λ as logarithms of polynomials, if the class has such a method, else None."""
        method = getattr(self.model, "log_polynomials", None)
        return None if method is None else method(data)


def as_model(model: AnyModel) -> Model:
    """Return a model as it is, or make a model from an object that computes log-ratios of events.

    Parameters
    ----------
    model
        A :class:`Model`, or an object with the attributes of :class:`LLRModel`.

    Raises
    ------
    ModelError
        If `model` is neither of the two.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> class Mean:
    ...     name, parameters = "mine", ("mu",)
    ...     interpolation = Interpolation(np.linspace(-1, 1, 5), "spline")
    ...     def event_llr(self, sample):
    ...         return gaussian.log_likelihood_ratio(sample.column("x0"), self.interpolation.grid)
    >>> model = as_model(Mean())
    >>> model.additive, model.event_table(gaussian.generate(10, 0.0, seed=1)).shape
    (True, (10, 5))
    """
    candidate: object = model
    if isinstance(candidate, Model):
        return candidate
    if isinstance(candidate, type):
        name = candidate.__name__
        msg = f"{name} is a class; give a model, such as {name}()"
        raise ModelError(msg)
    if isinstance(candidate, LLRModel) and getattr(candidate, "additive", True):
        return _PlainModel(candidate)
    msg = (
        f"{getattr(model, 'name', type(model).__name__)} is not a model: give its class name, "
        "parameters, interpolation and event_llr(sample), or, if Λ is not a sum over events, "
        "derive the class from BagModel, CountModel or DatasetModel of milinfer.likelihood.models"
    )
    raise ModelError(msg)


@dataclass(frozen=True, eq=False)
class Renamed(_Delegate):
    """A model with another name; toys identify models by their names.

    Parameters
    ----------
    model
        Any model.
    name
        New name.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.likelihood.oracle import Oracle
    >>> oracle = Oracle("c", Interpolation(np.linspace(-1, 1, 5), "spline"), np.ones(1))
    >>> model_tag(Renamed(oracle, "bound")).name
    'bound'
    """

    name: str

    @property
    def _source(self) -> Model:
        return as_model(self.model)

    @property
    def additive(self) -> bool:
        """Whether Λ is a sum over events."""
        return self._source.additive

    @property
    def scores_bags(self) -> bool:
        """Whether bags are scored as a whole."""
        return self._source.scores_bags

    @property
    def has_rate(self) -> bool:
        """Whether Λ includes the rate term."""
        return self._source.has_rate

    def event_table(self, sample: Sample) -> Table:
        """Return the output of the model for each event."""
        return self._source.event_table(sample)

    def segment_llr(
        self, table: Table, index: IntArray, signs: FloatArray, offsets: IntArray
    ) -> FloatArray:
        """Return Λ of segments (datasets or toys), shape (n_segments, K)."""
        return self._source.segment_llr(table, index, signs, offsets)

    def data_llr(self, table: Table, weights: FloatArray) -> FloatArray:
        """Return Λ of one observed dataset, shape (1, K)."""
        return self._source.data_llr(table, weights)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Return the log-likelihood ratio of every event at every point, shape (n_events, K)."""
        return self._source.event_llr(sample)

    def event_ratios(self, table: Table) -> FloatArray:
        """Return the log-ratios of single events from a table."""
        return self._source.event_ratios(table)

    def log_polynomials(self, data: Sample) -> LogPolynomials | None:
        """Return Λ of a dataset as a sum of logarithms of polynomials.

        The result is None if Λ has another form.
        """
        return self._source.log_polynomials(data)


def model_tag(model: AnyModel) -> ModelTag:
    """Return the tag that identifies a model.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.likelihood.oracle import Oracle
    >>> grid = np.linspace(-1, 1, 5)
    >>> model_tag(Oracle("c", Interpolation(grid, "spline"), np.array([1.0, 0.0, 1.0])))
    ModelTag(name='oracle', events_in_bag=1, feature_names=(), digest='')
    """
    return ModelTag(
        name=model.name,
        events_in_bag=int(getattr(model, "events_in_bag", 1)),
        feature_names=tuple(getattr(model, "feature_names", ())),
        digest=str(getattr(model, "digest", "")),
    )


def curve(model: AnyModel) -> Interpolation:
    """Return the interpolation of a model in one parameter.

    Raises
    ------
    ParameterError
        If the model has several parameters.
    """
    name = only(model.parameters)
    interpolation = model.interpolation
    if not isinstance(interpolation, Interpolation):
        msg = f"{model.name} has a box of one parameter, {name}, but a curve is needed"
        raise ParameterError(msg)
    return interpolation


def dataset_surface(model: AnyModel, data: Sample) -> Surface | BoxSurface:
    r"""Return the surface Λ(θ) of a dataset: its log-likelihood ratio as a function of θ.

    At a parameter point :math:`\theta_k`, Λ is :math:`\sum_i w_i \lambda_i(\theta_k)`, with the
    log-ratio :math:`\lambda_i` and the weight :math:`w_i` of each event (or bag).  The sum is not
    divided by the sum of weights, so Λ is proportional to the weights.

    Parameters
    ----------
    model
        Model that computes the log-ratios of events, or of bags of consecutive events.
    data
        Events of the dataset.  Their weights are used (the weights of real data are one).
    """
    source = as_model(model)
    exact = source.log_polynomials(data)
    if exact is not None:
        return source.interpolation.exact_surface(exact)
    if source.additive:
        values = np.zeros((1, len(source.interpolation.grid)))
        # Blocks of events, because a table of all events has a column for each point.
        for start in range(0, len(data), _BLOCK):
            block = data.take(slice(start, start + _BLOCK))
            values += source.data_llr(source.event_table(block), block.weights)
    else:
        values = source.data_llr(source.event_table(data), data.weights)
    return source.interpolation.surface(values[0])


def trained_on(model: object) -> tuple[str, ...]:
    """Return the fingerprints of the training events of a model; empty if it was not trained.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> trained_on(gaussian.MeanModel())
    ()
    """
    return tuple(getattr(model, "trained_on", ()))


def has_seen(model: object, events: str) -> bool:
    """Return whether a model was trained on the events with the given fingerprint.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> has_seen(gaussian.MeanModel(), sketch(gaussian.generate(100, 0.0, seed=1)))
    False
    """
    return any(share_events(events, training) for training in trained_on(model))


def require_unseen(model: object, samples: SampleSet, purpose: str) -> None:
    """Raise an error if a model was trained on events of one of the samples.

    Raises
    ------
    SampleError
        If the model was trained on them; the message names the sample.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> require_unseen(gaussian.MeanModel(), gaussian.samples(100, [0.0], seed=1), "a diagnosis")
    """
    for sample in samples if trained_on(model) else ():
        if has_seen(model, sketch(sample)):
            msg = (
                f"{sample.label}: {getattr(model, 'name', model)} was trained on these events; "
                f"{purpose} needs independent events"
            )
            raise SampleError(msg)
