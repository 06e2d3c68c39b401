"""The one interface of everything that yields a log-likelihood ratio.

Whatever can say, for each event, ``ln p(x|θ_k)/p(x|θ_0)`` at K points is an :class:`LLRModel`: a
trained network, the exact joint likelihood ratio of a simulation, a histogram.  Where a bag is more
than the sum of its events (attention, noisy-or), the model is a :class:`BagModel`: it gives a
summary of each event, summaries are reduced over a bag, and the bag has a ratio.  A histogram whose
templates have errors is a :class:`CountModel`: its ratio is a function of the counts.  Where a
nuisance parameter of the whole dataset is profiled, it is a :class:`DatasetModel`.  In each case a
model sees an event once; data sets, pseudo-experiments and bootstraps are made from what it gave.

Sums over the events, and over the bags, of segments of a list of events.

A segment is whatever Λ is wanted of: a dataset, a pseudo-experiment, a bootstrap.  A model says
what it has to say of each event once; everything else is made of that.

Events that a model has learned from must not be those that judge it.

A network knows the fluctuations of its training events: its estimates follow the truth of such toys
better, and spread less, than those of data.  So a trained model remembers its events by sketches
(:mod:`milinfer.samples.fingerprints`), and what measures it asks for others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np

from milinfer.exceptions import ModelError, ParameterError, SampleError
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.surface import Interpolation, Surface
from milinfer.likelihood.surface_box import BoxSurface, ChebyshevBox
from milinfer.samples.bags import bag_offsets
from milinfer.samples.fingerprints import share_events, sketch
from milinfer.samples.sample import Sample, SampleSet
from milinfer.typing import Float32Array, FloatArray, IntArray
from milinfer.utils.points import only

if TYPE_CHECKING:
    pass

__all__ = [
    "BagModel",
    "CountModel",
    "DatasetModel",
    "LLRModel",
    "Model",
    "ModelTag",
    "PolynomialModel",
    "Renamed",
    "bag_model",
    "count_model",
    "curve",
    "dataset_model",
    "dataset_surface",
    "event_table",
    "has_rate",
    "has_seen",
    "is_additive",
    "model_tag",
    "polynomial_sums",
    "require_unseen",
    "scores_bags",
    "segment_llr",
    "trained_on",
]


class ModelTag(NamedTuple):
    """What tells one model from another: toys, costs and calibrations carry it.

    Parameters
    ----------
    name
        Name of the model.
    events_in_bag
        Events in a bag; 1 for models of single events.
    feature_names
        Features that the model reads; empty where it reads what the events carry beside them.
    digest
        Hash of what was learned; empty for models that do not learn.
    """

    name: str
    events_in_bag: int = 1
    feature_names: tuple[str, ...] = ()
    digest: str = ""


class _Described(Protocol):
    @property
    def name(self) -> str:
        """Short name for tables and figures."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""

    @property
    def interpolation(self) -> Interpolation | ChebyshevBox:
        """Parameter points and the continuation between them."""


@runtime_checkable
class LLRModel(_Described, Protocol):
    """Per-event log-likelihood ratios at K parameter points, additive over events."""

    def event_llr(self, sample: Sample) -> FloatArray:
        """Log-likelihood ratio of every event at every point, shape (n_events, K)."""


@runtime_checkable
class BagModel(_Described, Protocol):
    """Log-likelihood ratios of bags from summaries of their events.

    Λ of a dataset is the sum over its bags ([AS], eq. 10).
    """

    @property
    def events_in_bag(self) -> int:
        """Events in a bag."""

    @property
    def reduction(self) -> Literal["sum", "max"]:
        """How the summaries of a bag are brought together."""

    def event_summary(self, sample: Sample) -> Float32Array:
        """Summary of every event, shape (n_events, S)."""

    def bag_llr(self, reduced: FloatArray, counts: IntArray) -> FloatArray:
        """Log-likelihood ratio of bags at every point, shape (n_bags, K).

        `reduced` are the reduced summaries (n_bags, S), `counts` the events in each bag.
        """


@runtime_checkable
class CountModel(_Described, Protocol):
    """Log-likelihood ratios of datasets from how many events are in each of several bins."""

    @property
    def n_bins(self) -> int:
        """Number of bins."""

    @property
    def bin_llr(self) -> FloatArray:
        """Log-likelihood ratio of an event in each bin, were Λ a sum over events, (n_bins, K)."""

    def event_bins(self, sample: Sample) -> IntArray:
        """Bin of every event, shape (n_events,)."""

    def counts_llr(self, counts: FloatArray) -> FloatArray:
        """Log-likelihood ratio of sets of counts (n_sets, n_bins) at every point, (n_sets, K)."""


@runtime_checkable
class DatasetModel(_Described, Protocol):
    """Λ of whole datasets, rate term included, that is a sum over neither events nor bags.

    Where nuisance parameters are profiled, every event has its say in their estimates.
    """

    def event_columns(self, sample: Sample) -> FloatArray:
        """What the datasets need of each event, shape (n_events, C)."""

    def dataset_llr(
        self,
        table: FloatArray,
        index: IntArray,
        signs: FloatArray,
        offsets: IntArray,
        *,
        observed: bool = False,
    ) -> FloatArray:
        """Λ of datasets, shape (n_segments, K).

        Arguments are those of :func:`milinfer.likelihood.models.segment_llr`.  Auxiliary
        measurements of `observed` data are what they are; those of toys fluctuate.
        """


Model = LLRModel | BagModel | CountModel | DatasetModel


@runtime_checkable
class PolynomialModel(Protocol):
    """A model whose ratios may be known between the points too."""

    def log_polynomials(self, data: Sample) -> LogPolynomials | None:
        """Λ of a dataset as logarithms of polynomials, or None where it is something else."""


def is_additive(model: Model) -> bool:
    """Whether Λ of a dataset is the sum over its events, rather than over bags.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.likelihood.oracle import Oracle
    >>> is_additive(Oracle("c", Interpolation(np.linspace(-1, 1, 5), "spline"), np.ones(3)))
    True
    """
    return bool(getattr(model, "additive", isinstance(model, LLRModel)))


def count_model(model: Model) -> CountModel | None:
    """The model of counts, or None; what can be additive says so itself.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.likelihood.oracle import Oracle
    >>> oracle = Oracle("c", Interpolation(np.linspace(-1, 1, 5), "spline"), np.ones(3))
    >>> count_model(oracle) is None
    True
    """
    plain = model.model if isinstance(model, Renamed) else model
    return plain if isinstance(plain, CountModel) and not is_additive(plain) else None


def bag_model(model: Model) -> BagModel | None:
    """The model of bags, or None where Λ is something else.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.likelihood.oracle import Oracle
    >>> oracle = Oracle("c", Interpolation(np.linspace(-1, 1, 5), "spline"), np.ones(3))
    >>> bag_model(oracle) is None
    True
    """
    other = count_model(model) is not None or dataset_model(model) is not None
    return None if is_additive(model) or other else cast(BagModel, model)


def scores_bags(model: Model) -> bool:
    """Whether a model scores bags of events by a network, neither single events nor counts.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.likelihood.oracle import Oracle
    >>> scores_bags(Oracle("c", Interpolation(np.linspace(-1, 1, 5), "spline"), np.ones(3)))
    False
    """
    return bag_model(model) is not None


def dataset_model(model: Model) -> DatasetModel | None:
    """The model of whole datasets, whatever it is called here, or None.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.likelihood.oracle import Oracle
    >>> oracle = Oracle("c", Interpolation(np.linspace(-1, 1, 5), "spline"), np.ones(3))
    >>> dataset_model(oracle) is None
    True
    """
    while isinstance(model, Renamed):
        model = model.model
    return model if isinstance(model, DatasetModel) else None


def has_rate(model: Model) -> bool:
    """Whether Λ of the model includes the rate term already.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.likelihood.oracle import Oracle
    >>> has_rate(Oracle("c", Interpolation(np.linspace(-1, 1, 5), "spline"), np.ones(3)))
    False
    """
    return dataset_model(model) is not None


def model_tag(model: Model) -> ModelTag:
    """The tag of a model.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.likelihood.oracle import Oracle
    >>> grid = np.linspace(-1, 1, 5)
    >>> model_tag(Oracle("c", Interpolation(grid, "spline"), np.array([1.0, 0.0, 1.0])))
    ModelTag(name='oracle', events_in_bag=1, feature_names=(), digest='')
    """
    return ModelTag(
        model.name,
        int(getattr(model, "events_in_bag", 1)),
        tuple(getattr(model, "feature_names", ())),
        str(getattr(model, "digest", "")),
    )


@dataclass(frozen=True, eq=False)
class Renamed:
    """A model by another name: toys tell models by name, and two trainings of one head share it.

    Parameters
    ----------
    model
        Any model, of events or of bags.
    name
        What to call it.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.likelihood.oracle import Oracle
    >>> oracle = Oracle("c", Interpolation(np.linspace(-1, 1, 5), "spline"), np.ones(1))
    >>> model_tag(Renamed(oracle, "bound")).name
    'bound'
    """

    model: Model
    name: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.model.parameters

    @property
    def interpolation(self) -> Interpolation | ChebyshevBox:
        """Parameter points and the continuation between them."""
        return self.model.interpolation

    @property
    def additive(self) -> bool:
        """Whether Λ is a sum over events."""
        return is_additive(self.model)

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
        """Hash of what was learned."""
        return model_tag(self.model).digest

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Sketches of the events that the model has learned from."""
        return trained_on(self.model)

    @property
    def reduction(self) -> Literal["sum", "max"]:
        """How the summaries of a bag are brought together; of models of bags alone."""
        return cast(BagModel, self.model).reduction

    def event_llr(self, sample: Sample) -> FloatArray:
        """Log-likelihood ratio of every event at every point, shape (n_events, K)."""
        return cast(LLRModel, self.model).event_llr(sample)

    def event_summary(self, sample: Sample) -> Float32Array:
        """Summary of every event, shape (n_events, S); of models of bags alone."""
        return cast(BagModel, self.model).event_summary(sample)

    def bag_llr(self, reduced: FloatArray, counts: IntArray) -> FloatArray:
        """Log-likelihood ratio of bags, shape (n_bags, K); of models of bags alone."""
        return cast(BagModel, self.model).bag_llr(reduced, counts)


def polynomial_sums(model: Model, data: Sample) -> LogPolynomials | None:
    """Λ of a dataset between the points too, where the model knows it, else None.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> polynomial_sums(gaussian.MeanModel(), gaussian.generate(5, 0.0, seed=1)) is None
    True
    """
    while isinstance(model, Renamed):
        model = model.model
    return model.log_polynomials(data) if isinstance(model, PolynomialModel) else None


def curve(model: Model) -> Interpolation:
    """Continuation of a model in one parameter.

    Raises
    ------
    ParameterError
        If the model has several parameters.
    """
    name = only(model.parameters)
    interpolation = model.interpolation
    if not isinstance(interpolation, Interpolation):
        msg = f"{model.name} has a box of one parameter, {name}, where a curve is needed"
        raise ParameterError(msg)
    return interpolation


# Events whose summaries are reduced at once.
_BLOCK = 1 << 18


def event_table(model: Model, sample: Sample) -> FloatArray | Float32Array:
    """What a model has to say about each event.

    Ratios (n_events, K), summaries (n_events, S), or the bin as a whole number (n_events, 1).

    Raises
    ------
    SampleError
        If events of negative weight meet a model of bags, which knows no weights.
    ModelError
        If the model does not give one row for each event.
    """
    whole = dataset_model(model)
    bags = bag_model(model) if whole is None else None
    if bags is not None and np.any(sample.weights < 0):
        msg = (
            f"{sample.label}: {model.name} scores bags as a whole and cannot subtract events of "
            "negative weight; use mean or sum pooling, whose Λ is a sum over events"
        )
        raise SampleError(msg)
    table: FloatArray | Float32Array
    counts = count_model(model)
    if whole is not None:
        table = whole.event_columns(sample)
    elif counts is not None:
        table = counts.event_bins(sample)[:, None].astype(np.float64)
    elif bags is not None:
        table = bags.event_summary(sample)
    else:
        table = cast(LLRModel, model).event_llr(sample)
    if len(table) != len(sample):
        msg = (
            f"{model.name} gave {len(table)} rows for the {len(sample)} events of {sample.label}; "
            "a model must give one row for each event"
        )
        raise ModelError(msg)
    return table


def segment_llr(
    model: Model,
    table: FloatArray | Float32Array,
    index: IntArray,
    signs: FloatArray,
    offsets: IntArray,
) -> FloatArray:
    """Λ of consecutive segments of a list of events (datasets, toys), shape (n_segments, K).

    Parameters
    ----------
    model
        The model.
    table
        From :func:`event_table`.
    index
        Rows of the table, one segment after the other.
    signs
        Weights of the listed events (±1 in toys), of the shape of `index`.
    offsets
        Where segments start and end, shape (n_segments + 1,); a segment may be empty.

    Raises
    ------
    SampleError
        If a model of bags gets weights other than one.
    """
    if (whole := dataset_model(model)) is not None:
        return whole.dataset_llr(cast(FloatArray, table), index, signs, offsets)
    counts = count_model(model)
    if counts is not None:
        shape = (len(offsets) - 1, counts.n_bins)
        toys = np.repeat(np.arange(shape[0]), np.diff(offsets))
        flat = toys * shape[1] + table[index, 0].astype(np.int64)
        filled = np.bincount(flat, signs, shape[0] * shape[1]).astype(np.float64)
        return counts.counts_llr(filled.reshape(shape))
    bags = bag_model(model)
    if bags is None:
        return _sums(table, index, signs, offsets)
    out = np.zeros((len(offsets) - 1, len(model.interpolation.grid)))
    if not np.all(signs == 1):
        msg = (
            f"{model.name} scores bags as a whole and knows no weights; give events of weight one "
            "(sample.as_data(), or a draw by Toys), or use mean or sum pooling"
        )
        raise SampleError(msg)
    sizes = np.diff(offsets)
    given = np.flatnonzero(sizes)
    # As many datasets at once as fit: a network takes milliseconds for one as for a hundred.
    block = np.cumsum(sizes[given]) // _BLOCK
    for number in np.unique(block):
        segments = given[block == number]
        out[segments] = _bags_llr(bags, table, index, sizes[segments], offsets[segments])
    return out


def _bags_llr(
    bags: BagModel,
    table: FloatArray | Float32Array,
    index: IntArray,
    sizes: IntArray,
    starts: IntArray,
) -> FloatArray:
    """Λ of consecutive segments of so many events each, none empty, shape (n_segments, K)."""
    events = index[starts[0] : starts[-1] + sizes[-1]]
    cuts = [bag_offsets(int(n), bags.events_in_bag) for n in sizes]
    first = np.concatenate([c[:-1] + s for c, s in zip(cuts, starts - starts[0], strict=True)])
    if bags.reduction == "sum":
        reduced = _sums(table, events, np.ones(len(events)), np.append(first, len(events)))
    else:
        reduced = np.maximum.reduceat(table.take(events, axis=0), first, axis=0).astype(np.float64)
    of_bags = bags.bag_llr(reduced, np.concatenate([np.diff(c) for c in cuts]))
    n_bags = np.array([len(c) - 1 for c in cuts])
    return np.add.reduceat(of_bags, np.cumsum(n_bags) - n_bags, axis=0)


def _sums(
    table: FloatArray | Float32Array, index: IntArray, signs: FloatArray, offsets: IntArray
) -> FloatArray:
    """Weighted sums of the rows of each segment, in float64, shape (n_segments, K)."""
    from scipy.sparse import csr_array

    if table.dtype != np.float64:
        # Only the rows in use are converted.
        if len(index) < len(table):
            table, index = table[index], np.arange(len(index))
        table = table.astype(np.float64)
    # A product with a sparse matrix gathers and adds in one pass, several times as fast as taking
    # the rows, and other threads can run meanwhile.
    weights = csr_array((signs, index, offsets), shape=(len(offsets) - 1, len(table)))
    return np.asarray(weights @ table, dtype=np.float64)


def dataset_surface(model: Model, data: Sample) -> Surface | BoxSurface:
    r"""Surface of a dataset, :math:`\Lambda(D|\theta_k) = \sum_i w_i \lambda_i(\theta_k)`.

    A weighted sum, never a weighted mean: scaling all weights scales Λ, as it must.

    Parameters
    ----------
    model
        Source of the per-event ratios, or of those of bags (then of consecutive events).
    data
        The dataset; its weights count (data have weights of one).
    """
    exact = polynomial_sums(model, data)
    if exact is not None:
        points = model.interpolation.grid.reshape(-1, len(model.parameters))
        return model.interpolation.surface(exact.values_at(points), exact)
    if is_additive(model):
        values = np.zeros((1, len(model.interpolation.grid)))
        # Blocks of events: a table of all of them has a column for each point.
        for start in range(0, len(data), _BLOCK):
            values += _of_events(model, data.take(slice(start, start + _BLOCK)))
    else:
        values = _of_events(model, data)
    return model.interpolation.surface(values[0])


def _of_events(model: Model, data: Sample) -> FloatArray:
    table = event_table(model, data)
    events = np.arange(len(data)), data.weights, np.array([0, len(data)])
    if (whole := dataset_model(model)) is None:
        return segment_llr(model, table, *events)
    return whole.dataset_llr(cast(FloatArray, table), *events, observed=True)


def trained_on(model: object) -> tuple[str, ...]:
    """Sketches of the events that a model has learned from; empty where it does not learn.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> trained_on(gaussian.MeanModel())
    ()
    """
    return tuple(getattr(model, "trained_on", ()))


def has_seen(model: object, events: str) -> bool:
    """Whether a model has learned from a set of events, known by its sketch.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> has_seen(gaussian.MeanModel(), sketch(gaussian.generate(100, 0.0, seed=1)))
    False
    """
    return any(share_events(events, known) for known in trained_on(model))


def require_unseen(model: object, samples: SampleSet, purpose: str) -> None:
    """Raise if a model has learned from the events of a sample.

    Raises
    ------
    SampleError
        Names the sample.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> require_unseen(gaussian.MeanModel(), gaussian.samples(100, [0.0], seed=1), "a diagnosis")
    """
    for sample in samples if trained_on(model) else ():
        if has_seen(model, sketch(sample)):
            msg = (
                f"{sample.label}: {getattr(model, 'name', model)} was trained on these events; "
                f"{purpose} needs others"
            )
            raise SampleError(msg)
