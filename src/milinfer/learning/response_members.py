"""Train the networks or boosted trees that compute the columns of a response.

A member of an ensemble has one network for all nuisance parameters of a process, or one network for
each nuisance parameter.  Networks and trees are stored as arrays, so that they can be pickled and
saved.  The Keras network or the XGBoost trees are built from the arrays when they are first used.
Importing this module does not import Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from milinfer.exceptions import ModelError
from milinfer.learning.boosted_trees import (
    BoostedSettings,
    event_matrix,
    grow_to_best,
    read_booster,
    require,
    to_int,
)
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.event_network import EventNetwork
from milinfer.learning.networks.heads import LinearHead
from milinfer.learning.networks.trained_network import TrainedNetwork
from milinfer.learning.response_events import ResponseEvents, base_points
from milinfer.learning.response_scale import linear_size
from milinfer.learning.response_stream import StackedFiles, StreamedEvents
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variations import ProcessVariations
from milinfer.typing import Float32Array, FloatArray, IntArray
from milinfer.utils.json_fields import whole_field

if TYPE_CHECKING:
    from milinfer.learning.networks.network import BagNetwork

__all__ = ["MemberJob", "ResponseNetwork", "ResponsePart", "ResponseTrees", "train_member"]

# The response of an untrained network must be small compared with the true one.
_START = 0.1


@dataclass(frozen=True, eq=False)
class ResponseNetwork:
    """Network whose outputs are columns of a response, divided by their typical size.

    Parameters
    ----------
    config
        Architecture.
    mean, variance
        Means and variances of the features.
    size
        Typical size of each column, shape (n_columns,).
    weights
        Weights of the event model, in the order of Keras.
    """

    config: NetworkConfig
    mean: FloatArray
    variance: FloatArray
    size: FloatArray
    weights: tuple[Float32Array, ...]

    def columns(self, features: Float32Array) -> FloatArray:
        """Return the response columns of events, shape (n_events, n_columns)."""
        return self.network.outputs(features).astype(np.float64) * self.size

    @cached_property
    def network(self) -> TrainedNetwork:
        """Network that computes outputs from features, as arrays and as a Keras model."""
        event_network = EventNetwork(self.config, self.mean, self.variance, self.weights)
        return TrainedNetwork.of_weights(event_network, self._untrained)

    @property
    def event_model(self) -> Any:
        """Keras model that computes outputs from features."""
        return self.network.event_model

    def _untrained(self) -> BagNetwork:
        from milinfer.learning.networks.network import build_network

        head, seed = LinearHead(np.eye(len(self.size))), np.random.SeedSequence(0)
        return build_network(self.config, head, 1, self.mean, self.variance, seed)

    @property
    def arrays(self) -> tuple[FloatArray | Float32Array, ...]:
        """Return everything that training determined, to compute a hash and to save."""
        return (self.mean, self.variance, self.size, *self.weights)

    @classmethod
    def of_arrays(cls, config: NetworkConfig, arrays: Sequence[Any]) -> ResponseNetwork:
        """Build the network from the arrays of a saved network.

        Raises
        ------
        ModelError
            If the arrays do not fit this architecture.
        """
        mean, variance, size, *weights = arrays
        for width in config.hidden:
            whole_field("a width of the network", width, least=1)
        response = cls(config, mean, variance, size, tuple(weights))
        event_network = response.network.event_network
        assert event_network is not None
        if event_network.n_outputs != len(size):
            msg = f"the network has {event_network.n_outputs} outputs, but {len(size)} sizes"
            raise ModelError(msg)
        return response

    def prepare(self) -> None:
        """Build the network now; raise an error if its weights or its settings are damaged."""
        self.network.prepare()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "network"}


@dataclass(frozen=True, eq=False)
class ResponseTrees:
    """Boosted trees that learn the response at each base point, converted to response columns.

    A base point is a shift of the nuisance parameters (at a parameter point) at which events were
    varied.  The columns are the least-squares solution that fits ln S at all base points best.

    Parameters
    ----------
    log_yields
        Logarithm of the ratio of varied to nominal yield at each base point, shape (n_base,).
    inverse
        Matrix that converts ln S at the base points to columns, shape (n_base, n_columns).
    trees
        Trees of each base point, as bytes in the format of XGBoost.
    n_jobs
        Number of threads.
    """

    log_yields: FloatArray
    inverse: FloatArray
    trees: tuple[np.ndarray[Any, np.dtype[np.uint8]], ...]
    n_jobs: int = 1

    def columns(self, features: Float32Array) -> FloatArray:
        """Return the response columns of events, shape (n_events, n_columns)."""
        if not len(features):
            return np.empty((0, self.inverse.shape[1]))
        matrix = require("xgboost").DMatrix(features, nthread=self.n_jobs)
        margins = [b.predict(matrix, output_margin=True) for b in self._boosters]
        ratios = np.stack(margins, axis=1).astype(np.float64) + self.log_yields
        columns: FloatArray = ratios @ self.inverse
        return columns

    @cached_property
    def _boosters(self) -> list[Any]:
        return [read_booster(self.n_jobs, bytearray(t)) for t in self.trees]

    def prepare(self) -> None:
        """Read the trees now; raise an error if they are damaged."""
        _ = self._boosters

    @property
    def arrays(self) -> tuple[Any, ...]:
        """Return everything that training determined, to compute a hash and to save."""
        return (self.log_yields, self.inverse, *self.trees)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_boosters"}


Predictor: TypeAlias = ResponseNetwork | ResponseTrees


class ResponsePart(NamedTuple):
    """Network or trees of a member, and which columns of the response they compute.

    Parameters
    ----------
    predictor
        Network or trees.
    places
        Indices of these columns in the response, shape (n_own_columns,).
    """

    predictor: Predictor
    places: IntArray


@dataclass(frozen=True, eq=False)
class MemberJob:
    """Terms, events and settings that are common to all members of an ensemble.

    Parameters
    ----------
    terms
        Terms of the whole response.
    parts
        For each network: the nominal and varied samples for the training, the held-out samples that
        decide when the training stops, and the terms.
    mean, variance
        Means and variances of the features.
    network, training, trees
        Settings; `trees` is None for networks.
    seed
        Random seed of all members.
    """

    terms: ResponseTerms
    parts: tuple[tuple[ProcessVariations | StreamedEvents, ProcessVariations, ResponseTerms], ...]
    mean: FloatArray
    variance: FloatArray
    network: NetworkConfig
    training: TrainingConfig
    trees: BoostedSettings | None
    seed: int
    ensemble: int
    events: dict[int, tuple[ResponseEvents | StackedFiles, ResponseEvents]] = field(
        default_factory=dict
    )

    def stacked(self, k: int) -> tuple[ResponseEvents | StackedFiles, ResponseEvents]:
        """Return training and held-out events of network `k`, which all members share."""
        if k not in self.events:
            train, stop, terms = self.parts[k]
            names = terms.nuisances
            events: ResponseEvents | StackedFiles
            if isinstance(train, StreamedEvents):
                base = base_points(train.outline, terms)
                events = train.stacked(base, names)
            else:
                base = base_points(train, terms)
                events = ResponseEvents.of(train, base, names)
            self.events[k] = (events, ResponseEvents.of(stop, base, names))
        return self.events[k]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "events": {}}


Reporter: TypeAlias = Callable[[int, "BagNetwork | None"], Callable[[int, dict[str, float]], None]]


def train_member(
    number: int, job: MemberJob, reporter: Reporter | None = None
) -> tuple[tuple[ResponsePart, ...], list[dict[str, list[float]]]]:
    """Train one member of an ensemble.

    Parameters
    ----------
    number
        Number of the member.
    job
        Events and settings.
    reporter
        ``reporter(part, network)`` returns a function.  After every epoch, this function is called
        with the number of the epoch and its losses.

    Returns
    -------
    tuple
        Networks or trees of the member, and their losses.
    """
    seeds = np.random.SeedSequence(job.seed).spawn(job.ensemble)[number].spawn(len(job.parts))
    parts, histories = [], []
    for k, seed in enumerate(seeds):
        train, stop = job.stacked(k)
        terms = job.parts[k][2]
        predictor: Predictor
        if job.trees is not None:
            assert isinstance(train, ResponseEvents)
            predictor, history = _grown_trees(train, stop, job.trees, seed)
            histories += history
        else:
            predictor, losses = _trained_network(k, train, stop, job, seed, reporter)
            histories.append(losses)
        parts.append(ResponsePart(predictor, _places(terms, job.terms)))
    return tuple(parts), histories


def _places(own: ResponseTerms, whole: ResponseTerms) -> IntArray:
    """Return the indices of the columns of some terms among the columns of all terms."""
    place = np.array([whole.names.index(name) for name in own.names])
    blocks = np.arange(1 + len(whole.parameters)) * whole.n_terms
    places: IntArray = (blocks[:, None] + place).ravel()
    return places


def _trained_network(
    part: int,
    train: ResponseEvents | StackedFiles,
    stop: ResponseEvents,
    job: MemberJob,
    seed: np.random.SeedSequence,
    reporter: Reporter | None,
) -> tuple[ResponseNetwork, dict[str, list[float]]]:
    from milinfer.learning.networks.network import build_network
    from milinfer.learning.networks.training import train_network
    from milinfer.learning.networks.training_bags import PairedEvents

    weights_seed, bags_seed = seed.spawn(2)
    # Powers of two, so that networks of similar processes have the same graph, compiled once.
    pieces = train.in_pieces() if isinstance(train, StackedFiles) else [train]
    size = linear_size(pieces, train.base, job.mean, job.variance)
    size = np.exp2(np.rint(np.log2(size)))
    head = LinearHead(size[:, None] * train.base.design)
    network = build_network(job.network, head, 1, job.mean, job.variance, weights_seed)
    last = network.event_model.get_layer("head")
    kernel, bias = last.get_weights()
    last.set_weights([_START * kernel, bias])
    history = train_network(
        network,
        train.bags() if isinstance(train, StackedFiles) else PairedEvents(train),
        PairedEvents(stop),
        job.training,
        bags_seed,
        loss_name="pairs",
        keep_last=True,
        on_epoch=None if reporter is None else reporter(part, network),
    )
    weights = tuple(np.asarray(w) for w in network.event_model.get_weights())
    return ResponseNetwork(job.network, job.mean, job.variance, size, weights), history


def _grown_trees(
    train: ResponseEvents,
    stop: ResponseEvents,
    settings: BoostedSettings,
    seed: np.random.SeedSequence,
) -> tuple[ResponseTrees, list[dict[str, list[float]]]]:
    """Train trees for each base point on nominal against varied events, with event weights."""
    for events in (train, stop):
        if np.any(events.weights < 0) or np.any(events.soft < 0):
            msg = (
                "XGBoost cannot train on negative event weights; use "
                "classifier='network', which accepts them"
            )
            raise ModelError(msg)
    design = train.base.design
    used = [b for b in range(design.shape[1]) if np.any(train.factors[:, b])]
    trees, log_yields, history = [], [], []
    for b, own_seed in zip(used, seed.spawn(len(used)), strict=True):
        pairs = [_two_classes(events, b) for events in (train, stop)]
        matrix, held_out = (event_matrix(pair, 0, settings.n_jobs) for pair in pairs)
        booster, losses = grow_to_best(matrix, held_out, settings, 2, to_int(own_seed))
        trees.append(np.frombuffer(bytes(booster.save_raw("ubj")), dtype=np.uint8))
        nominal, varied = (float(s.weights.sum()) for s in pairs[0])
        log_yields.append(np.log(varied / nominal))
        history.append(losses)
    inverse = np.linalg.pinv(design[:, used]).astype(np.float64)
    return ResponseTrees(np.array(log_yields), inverse, tuple(trees), settings.n_jobs), history


def _two_classes(events: ResponseEvents, base: int) -> SampleSet:
    """Return nominal and varied events of one base point as two samples."""
    names = tuple(f"x{j}" for j in range(events.features.shape[1]))
    weights = events.dense(slice(None))
    samples = []
    for k, w in enumerate(weights):
        rows = np.flatnonzero(w[:, base])
        samples.append(
            Sample(
                features=events.features[rows],
                feature_names=names,
                weights=w[rows, base],
                point={"varied": float(k)},
            )
        )
    return SampleSet(tuple(samples))
