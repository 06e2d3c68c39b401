"""`BagLikelihood`: a likelihood ratio learned from simulated samples by a bag network.

The multi-class method of seed 001, §B.2.4: one class for each parameter point, softmax over the
mean embedding of a bag, Λ(B|θ_k) = ln p_k/p_ref.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from milinfer.cost import LikelihoodCost
from milinfer.exceptions import ModelError
from milinfer.llr import dataset_surface
from milinfer.samples import Sample, SampleSet, as_features
from milinfer.surface import Interpolation, Kind, Surface
from milinfer.typing import FloatArray, PathLikeStr

if TYPE_CHECKING:
    from milinfer.networks import BagNetwork, NetworkConfig
    from milinfer.rate import Rate
    from milinfer.training import TrainingConfig

__all__ = ["BagLikelihood", "EpochReport"]

_CHUNK = 65_536


@dataclass(frozen=True)
class EpochReport:
    """What a progress display needs to know after an epoch."""

    member: int
    n_members: int
    epoch: int
    n_epochs: int
    loss: float
    val_loss: float


@dataclass(frozen=True, eq=False)
class BagLikelihood:
    r"""Learned log-likelihood ratio in one parameter.

    The logits of a bag of :math:`N_B` events are :math:`W\bar\phi + b`, linear in the mean
    embedding.  So Λ of a dataset is a sum over events of
    :math:`\lambda_i(\theta_k) = [(W_k - W_0)\phi(x_i) + b_k - b_0] / N_B`, which equals the sum
    over bags of seed 001 (eq. 10) for any grouping into full bags, and needs no special case for
    the events left over by :math:`N \bmod N_B`.

    An ensemble averages the log-ratios of its members.

    Parameters
    ----------
    bag_size
        Events in a training bag.
    ensemble
        Number of networks, trained from different seeds.
    degree
        The logits are polynomials of this degree in θ (``"auto"``: 4, or half the number of
        intervals between the points where that is less), so that Λ(θ) is smooth by construction
        (the inductive bias that seed 001, §C.4, leaves open) and needs no interpolation.
        None gives every class a logit of its own, as in the paper; Λ is then continued between
        the classes by `interpolation_kind`.
    interpolation_kind, window
        ``"polynomial"`` (of degree 4), ``"spline"`` or ``"parabola"``, for free logits; see
        :class:`~milinfer.surface.Interpolation`.
    reference
        Parameter value θ0; must be one of the training points.
    validation_fraction
        Fraction of the events of each sample held out for early stopping.
    seed
        Fixes splits, bags, initial weights and dropout.
    network, training
        Architecture and optimiser; default: those of the paper.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood import BagLikelihood
    >>> BagLikelihood(bag_size=20, seed=1)
    BagLikelihood(bag_size=20, ensemble=1, not trained)
    """

    bag_size: int = 50
    ensemble: int = 1
    interpolation_kind: Kind = "polynomial"
    degree: int | Literal["auto"] | None = "auto"
    window: float = 0.4
    reference: float = 0.0
    validation_fraction: float = 0.2
    seed: int = 0
    network: NetworkConfig | None = None
    training: TrainingConfig | None = None
    _fitted: _Fitted | None = field(default=None, repr=False)

    def fit(
        self,
        samples: SampleSet,
        validation: SampleSet | None = None,
        *,
        on_epoch: Callable[[EpochReport], None] | None = None,
    ) -> BagLikelihood:
        """Train, and return the trained likelihood (``self`` is not changed).

        Parameters
        ----------
        samples
            One sample for each point of one parameter, the reference among them.
        validation
            Held-out samples for early stopping; default: a split of `samples` by event.
        on_epoch
            Called with an :class:`EpochReport` after every epoch.

        Raises
        ------
        ModelError
            If the samples do not fit the model, or training fails.
        """
        from milinfer.networks import NetworkConfig, build_network
        from milinfer.training import TrainingConfig, train_network

        grid, samples = self._sorted(samples)
        if self.degree == "auto":
            degree = max(1, min(4, (len(grid) - 1) // 2))
            return dataclasses.replace(self, degree=degree).fit(
                samples, validation, on_epoch=on_epoch
            )
        if isinstance(self.degree, int) and not 1 <= self.degree < len(grid):
            msg = (
                f"logits of degree {self.degree} in {samples.parameters[0]} need between 1 and "
                f"{len(grid) - 1}, with {len(grid)} points; lower degree= or add points"
            )
            raise ModelError(msg)
        split_seed, *member_seeds = np.random.SeedSequence(self.seed).spawn(1 + self.ensemble)
        if validation is None:
            held_out = self.validation_fraction
            train, validation = samples.split(
                [1 - held_out, held_out], seed=int(split_seed.generate_state(1)[0])
            )
        else:
            train = samples
            validation = self._sorted(validation)[1]
        mean, variance = _moments(train)
        members, history = [], []
        network_config = self.network or NetworkConfig()
        training_config = self.training or TrainingConfig()
        for m, member_seed in enumerate(member_seeds):
            weight_seed, bag_seed = member_seed.spawn(2)
            network = build_network(
                network_config, self.basis(grid), self.bag_size, mean, variance, weight_seed
            )

            def report(epoch: int, logs: dict[str, float], member: int = m) -> None:
                if on_epoch is not None:
                    on_epoch(
                        EpochReport(
                            member,
                            self.ensemble,
                            epoch,
                            training_config.epochs,
                            float(logs["loss"]),
                            float(logs["val_loss"]),
                        )
                    )

            history.append(
                train_network(
                    network,
                    train,
                    validation,
                    self.bag_size,
                    training_config,
                    bag_seed,
                    on_epoch=report,
                )
            )
            members.append(network)
        fitted = _Fitted(
            tuple(members),
            samples.parameters[0],
            grid,
            samples.feature_names,
            mean,
            variance,
            history,
            {s.label: len(s) for s in samples},
        )
        return dataclasses.replace(
            self, network=network_config, training=training_config, _fitted=fitted
        )

    def _sorted(self, samples: SampleSet) -> tuple[FloatArray, SampleSet]:
        if len(samples.parameters) != 1:
            msg = (
                f"the multi-class head learns one parameter, but the samples have "
                f"{samples.parameters or 'none'}"
            )
            raise ModelError(msg)
        values = samples.values(samples.parameters[0])
        if not np.any(np.isclose(values, self.reference, rtol=0, atol=1e-9)):
            msg = (
                f"no sample at the reference {samples.parameters[0]} = {self.reference:g}; "
                "add one or set reference="
            )
            raise ModelError(msg)
        order = np.argsort(values)
        return values[order], SampleSet(tuple(samples[int(i)] for i in order))

    def basis(self, grid: FloatArray) -> FloatArray:
        """Functions of θ that the logits are made of, at the points, shape (n_functions, K)."""
        if not isinstance(self.degree, int):
            return np.eye(len(grid))
        scaled = (2 * grid - grid[0] - grid[-1]) / (grid[-1] - grid[0])
        functions = np.polynomial.chebyshev.chebvander(scaled, self.degree)[:, 1:].T
        return functions - functions[:, [int(np.argmin(np.abs(grid - self.reference)))]]

    @property
    def fitted(self) -> _Fitted:
        """What training produced.

        Raises
        ------
        ModelError
            Before :meth:`fit`.
        """
        if self._fitted is None:
            msg = "this BagLikelihood is not trained; call .fit(samples) and use what it returns"
            raise ModelError(msg)
        return self._fitted

    @property
    def name(self) -> str:
        """Name of the method."""
        return "multiclass"

    @property
    def parameter(self) -> str:
        """Name of the parameter."""
        return self.fitted.parameter

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the model expects."""
        return self.fitted.feature_names

    @property
    def interpolation(self) -> Interpolation:
        """Grid of training points and the continuation between them."""
        if isinstance(self.degree, int):
            return Interpolation(self.fitted.grid, "polynomial", self.degree)
        return Interpolation(self.fitted.grid, self.interpolation_kind, 4, self.window)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Log-likelihood ratio of every event at the training points.

        Parameters
        ----------
        sample
            Events with the features that the model was trained on.

        Returns
        -------
        ndarray
            Shape (n_events, K), float64, zero at the reference.
        """
        fitted = self.fitted
        features = as_features(sample, fitted.feature_names)
        reference = int(np.argmin(np.abs(fitted.grid - self.reference)))
        total = np.zeros((len(features), len(fitted.grid)))
        for network in fitted.members:
            for start in range(0, len(features), _CHUNK):
                chunk = features[start : start + _CHUNK]
                total[start : start + _CHUNK] += np.asarray(
                    network.event_model(chunk, training=False)
                )
        total -= total[:, reference : reference + 1].copy()
        return total / (self.bag_size * len(fitted.members))

    def surface(self, data: Sample) -> Surface:
        """Surface Λ(θ) of a dataset (shape term)."""
        return dataset_surface(self, data)

    def cost(self, data: Sample, *, rate: Rate | None = None) -> LikelihoodCost:
        """Cost −2 ln L of a dataset for iminuit.

        Parameters
        ----------
        data
            The dataset.
        rate
            Expected yield ν(θ); adds the rate term.  Without it only the shape counts.
        """
        data.require_data()
        return LikelihoodCost(
            self.surface(data),
            self.parameter,
            n_events=float(data.weights.sum()),
            rate=rate,
            reference=self.reference,
        )

    def save(self, path: PathLikeStr) -> None:
        """Save to a directory; see :func:`milinfer.model_files.save_model`."""
        from milinfer.model_files import save_model

        save_model(self, path)

    @staticmethod
    def load(path: PathLikeStr) -> BagLikelihood:
        """Load from a directory; see :func:`milinfer.model_files.load_model`."""
        from milinfer.model_files import load_model

        return load_model(path)

    def __repr__(self) -> str:
        state = (
            "not trained"
            if self._fitted is None
            else f"{len(self._fitted.grid)} points in {self._fitted.parameter}"
        )
        return f"BagLikelihood(bag_size={self.bag_size}, ensemble={self.ensemble}, {state})"


@dataclass(frozen=True, eq=False)
class _Fitted:
    members: tuple[BagNetwork, ...]
    parameter: str
    grid: FloatArray
    feature_names: tuple[str, ...]
    mean: FloatArray
    variance: FloatArray
    history: list[dict[str, list[float]]]
    n_events: dict[str, int]


def _moments(samples: SampleSet) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of each feature over all samples, each sample counting alike."""
    weights = np.concatenate([np.abs(s.weights) / np.abs(s.weights).sum() for s in samples])
    features = np.concatenate([s.features for s in samples])
    mean = np.average(features, axis=0, weights=weights)
    variance = np.average((features - mean) ** 2, axis=0, weights=weights)
    # A constant feature carries nothing; a variance of one keeps it at zero after centring.
    return mean, np.where(variance > 0, variance, 1.0)
