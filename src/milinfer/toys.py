"""Pseudo-experiments ("toys") from cached per-event log-likelihood ratios.

A model sees each event of the pool once.  A toy is then a draw of events and the sum of their
ratios: no network, no features, no files.  All models are run on the same draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import SampleError
from milinfer.llr import Model, ModelTag, event_table, model_tag, segment_llr
from milinfer.points import format_point, only
from milinfer.samples import Sample, SampleSet
from milinfer.surface import Extremum, Interpolation
from milinfer.surface_box import ChebyshevBox
from milinfer.typing import FloatArray, IntArray, Point

__all__ = ["ToyEnsemble", "Toys"]

# Toys that share one random stream. Part of the definition of "the same toys": do not change.
_STREAM = 100


@dataclass(frozen=True, eq=False)
class ToyEnsemble:
    """Surfaces of many pseudo-experiments at one true parameter value, by one model.

    Parameters
    ----------
    tag
        The model; see :class:`milinfer.llr.ModelTag`.
    point
        The parameter values at which the toys were thrown.
    interpolation
        Grid and continuation of the surfaces.
    values
        Λ at the grid points, shape (n_toys, K).
    n_events
        Mean number of events of a toy.
    poisson
        Whether the number fluctuates.
    pool_events
        Number of events the toys were drawn from.
    pool_id
        Fingerprint of these events; two ensembles with the same one are not independent.
    seed
        Seed of the draw.
    """

    tag: ModelTag
    point: Point
    interpolation: Interpolation | ChebyshevBox
    values: FloatArray
    n_events: int
    poisson: bool
    pool_events: int
    pool_id: str
    seed: int

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.tag.name

    @property
    def n_toys(self) -> int:
        """Number of toys."""
        return len(self.values)

    @property
    def parameter(self) -> str:
        """Name of the parameter; a ParameterError if there are several."""
        return only(tuple(self.point))

    @property
    def truth(self) -> float:
        """True value of the one parameter; a ParameterError if there are several."""
        return self.point[self.parameter]

    @property
    def range(self) -> tuple[float, float]:
        """Range of the one parameter; a ParameterError if there are several."""
        only(tuple(self.point))
        return self.interpolation.limits[0]

    @property
    def reuse(self) -> float:
        """How often an event of the pool is used on average."""
        return self.n_toys * self.n_events / self.pool_events

    @cached_property
    def extremum(self) -> Extremum:
        """Maximum of each surface: θ̂, Λ(θ̂) and the curvature."""
        return self.interpolation.extrema(self.values)

    @property
    def theta_hat(self) -> FloatArray:
        """Maximum-likelihood estimates, shape (n_toys,), or (n_toys, n_parameters) for several."""
        return self.extremum.theta_hat

    @property
    def mean_error(self) -> float:
        """Standard error of the mean of θ̂ in one parameter, with that of the finite pool.

        The toys share a pool that is itself a fluctuation, of relative size
        ``sqrt(n_events / pool_events)``, and no number of toys averages it away.
        """
        only(tuple(self.point))
        variance = float(np.var(self.theta_hat, ddof=1))
        return float(np.sqrt(variance * (1 / self.n_toys + self.n_events / self.pool_events)))

    def test_statistic(self, theta: ArrayLike) -> FloatArray:
        """2 [Λ(θ̂) − Λ(θ)] of each toy, shape (n_toys,), never negative.

        `theta` is a number, or one value for each parameter.
        """
        point = np.asarray(theta, dtype=np.float64)
        at = self.interpolation.evaluate(
            self.values, np.tile(point, (self.n_toys, *[1] * point.ndim))
        )
        return np.maximum(2 * (self.extremum.maximum - at), 0.0)

    def __add__(self, other: ToyEnsemble) -> ToyEnsemble:
        """Join toys of the same model, truth and pool that came from different streams."""
        mine = replace(self, values=other.values, seed=other.seed)
        same = all(
            getattr(mine, name) == getattr(other, name)
            for name in ("tag", "point", "n_events", "poisson", "pool_id")
        )
        if not same or self.seed == other.seed:
            msg = (
                f"cannot join toys of {self.model} at {format_point(self.point)} (seed "
                f"{self.seed}) and {other.model} at {format_point(other.point)} (seed "
                f"{other.seed}): they must agree in all but the seed"
            )
            raise SampleError(msg)
        return replace(self, values=np.concatenate([self.values, other.values]))


@dataclass(frozen=True, eq=False)
class Toys:
    """Throws pseudo-experiments from pools of simulated events.

    Parameters
    ----------
    pool
        One sample for each true value at which toys are wanted.  Use events that neither trained
        the model nor (for an evaluation) calibrated it.
    n_events
        Events in a toy.
    seed
        The same seed gives the same toys.
    poisson
        Let the number of events fluctuate.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> Toys(gaussian.samples(1000, [0.0], seed=1), n_events=100, seed=2).dataset({"mu": 0.0})
    Sample(100 events, 1 feature, gaussian at mu=0)
    """

    pool: SampleSet
    n_events: int
    seed: int
    poisson: bool = False

    def run(
        self,
        models: Sequence[Model],
        truth: float | Point,
        n_toys: int,
        *,
        on_toys: Callable[[int], None] | None = None,
    ) -> dict[str, ToyEnsemble]:
        """Throw toys at one true value and evaluate all models on them.

        Parameters
        ----------
        models
            With the same parameters.
        truth
            True parameter point, or the value of the one parameter; the pool must have a sample
            there.
        n_toys
            Number of toys.
        on_toys
            Called with the number of toys done since the last call.

        Returns
        -------
        dict
            One :class:`ToyEnsemble` for each model, by name.
        """
        parameters = models[0].parameters
        if any(m.parameters != parameters for m in models):
            msg = f"models of different parameters: {[(m.name, m.parameters) for m in models]}"
            raise SampleError(msg)
        point = dict(truth) if isinstance(truth, Mapping) else {only(parameters): float(truth)}
        sample = self.pool.at(**point)
        if len({m.name for m in models}) < len(models):
            msg = f"models must have different names, not {[m.name for m in models]}"
            raise SampleError(msg)
        tables = [event_table(m, sample) for m in models]
        values: list[list[FloatArray]] = [[] for _ in models]
        for stream in range(-(-n_toys // _STREAM)):
            index, counts = self._draw(sample, tuple(point.values()), stream)
            keep = min(_STREAM, n_toys - stream * _STREAM)
            offsets = np.concatenate([[0], np.cumsum(counts)])[: keep + 1]
            index = index[: offsets[-1]]
            signs = np.sign(sample.weights)[index]
            for model, table, parts in zip(models, tables, values, strict=True):
                parts.append(segment_llr(model, table, index, signs, offsets))
            if on_toys is not None:
                on_toys(keep)
        pool_id = fingerprint(sample)
        return {
            m.name: ToyEnsemble(
                model_tag(m),
                point,
                m.interpolation,
                np.concatenate(parts),
                self.n_events,
                self.poisson,
                len(sample),
                pool_id,
                self.seed,
            )
            for m, parts in zip(models, values, strict=True)
        }

    def dataset(self, truth: Mapping[str, float], toy: int = 0) -> Sample:
        """The events of one toy, as a dataset (weights ±1)."""
        sample = self.pool.at(**truth)
        index, counts = self._draw(sample, tuple(truth.values()), toy // _STREAM)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        rows = index[offsets[toy % _STREAM] : offsets[toy % _STREAM + 1]]
        drawn = sample.take(rows)
        return replace(drawn, weights=np.sign(drawn.weights))

    def _draw(
        self, sample: Sample, truth: Sequence[float], stream: int
    ) -> tuple[IntArray, IntArray]:
        """Event indices of ``_STREAM`` toys, one after the other, and the events of each."""
        keys = [int(np.float64(t + 0.0).view(np.uint64)) for t in truth]  # + 0.0: −0 is 0
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(*keys, stream)))
        counts = (
            rng.poisson(self.n_events, _STREAM)
            if self.poisson
            else np.full(_STREAM, self.n_events, dtype=np.int64)
        )
        total = int(counts.sum())
        weights = sample.weights
        if np.all(weights == weights[0]):
            return rng.integers(len(sample), size=total), counts
        cumulative = np.cumsum(np.abs(weights))
        index = np.searchsorted(cumulative, rng.random(total) * cumulative[-1], side="right")
        return np.minimum(index, len(sample) - 1), counts


def fingerprint(sample: Sample) -> str:
    """Short hash of the events of a sample.

    Examples
    --------
    >>> import numpy as np
    >>> len(fingerprint(Sample(np.zeros((2, 1)), ("x",))))
    16
    """
    digest = hashlib.blake2b(sample.features.tobytes(), digest_size=8)
    digest.update(sample.weights.tobytes())
    return digest.hexdigest()
