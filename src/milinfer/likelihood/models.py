"""The one interface of everything that yields a log-likelihood ratio.

Whatever can say, for each event, ``ln p(x|θ_k)/p(x|θ_0)`` at K points is an :class:`LLRModel`: a
trained network, the exact joint likelihood ratio of a simulation, a histogram.  Where a bag is more
than the sum of its events (attention, noisy-or), the model is a :class:`BagModel`: it gives a
summary of each event, summaries are reduced over a bag, and the bag has a ratio.  A histogram whose
templates have errors is a :class:`CountModel`: its ratio is a function of the counts.  Where a
nuisance parameter of the whole dataset is profiled, it is a :class:`DatasetModel`.  In each case a
model sees an event once; data sets, pseudo-experiments and bootstraps are made from what it gave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, cast, runtime_checkable

from milinfer.exceptions import ParameterError
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.likelihood.unseen import trained_on
from milinfer.samples.samples import Sample
from milinfer.typing import Float32Array, FloatArray, IntArray
from milinfer.utils.points import only

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
    "has_rate",
    "is_additive",
    "model_tag",
    "polynomial_sums",
    "scores_bags",
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

        Arguments are those of :func:`milinfer.likelihood.segments.segment_llr`.  Auxiliary measurements of
        `observed` data are what they are; those of toys fluctuate.
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
