r"""Compute the error of a learned Λ(θ) that is due to the finite number of training events.

Other simulated events would have given another network.  A Poisson bootstrap imitates such other
events: each member of ``BagLikelihood(ensemble=B, bootstrap=True)`` is trained on a sample in which
each event counts a random number of times.  The variance of Λ of one member is :math:`V_d + V_s`:
:math:`V_d` is due to the choice of the events, and :math:`V_s` to the training itself (split,
initial weights and order of the events).  The mean squared difference of two members is :math:`2
(V_d + V_s)` if their bootstrap samples differ, and :math:`2 V_s` if they share one (twins).

The likelihood is the mean of the B members.  If :math:`n_g` members share the bootstrap sample g,
this mean has the variance :math:`V_d \sum_g n_g^2/B^2 + V_s/B` around the result of a training
without bootstrap.  The simulated events, which all members have in common, fluctuate themselves and
add another :math:`V_d`:

.. math:: \sigma^2 = V_d \Big(1 + \sum_g \frac{n_g^2}{B^2}\Big) + \frac{V_s}{B}.

If one trained many bootstrap ensembles on the same events, the variance between these ensembles
would be :math:`V_d\sum_g n_g^2/B^2 + V_s/B` only.  This variance goes to zero for many members,
because it does not contain the fluctuation of the events that all members have in common
(arXiv:2505.19156).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ModelError
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.bootstrap import bootstrap_groups
from milinfer.likelihood.models import ModelTag, model_tag
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.display import html_facts, measured

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MemberVariances", "SimulationError", "member_variances", "simulation_error"]


@dataclass(frozen=True, eq=False)
class MemberVariances:
    """Variances of one or several quantities between the members of a bootstrap ensemble.

    Parameters
    ----------
    total
        Variance V_d + V_s of one member: V_d comes from the choice of the events, V_s from the
        training itself.  It is computed from the differences of members with different bootstrap
        samples, and has the shape of the quantities.
    training
        Variance V_s, computed from the differences of members that share a bootstrap sample.
    n_groups, n_members
        Number of bootstrap samples, and number of members.
    shared
        The sum Σ n_g²/B² over the bootstrap samples g; n_g of the B members share the sample g.
    """

    total: FloatArray
    training: FloatArray
    n_groups: int
    n_members: int
    shared: float

    @property
    def data_share(self) -> float:
        """Share V_d / (V_d + V_s) of the variance that comes from the choice of the events.

        The share is averaged over the quantities that vary.
        """
        varies = self.total > 0
        if not varies.any():
            return 1.0
        ratio = float(np.mean(self.training[varies] / self.total[varies]))
        return float(np.clip(1 - ratio, 0.0, 1.0))

    @property
    def factor(self) -> float:
        """Ratio of the variance :attr:`of_mean` to the variance `total` of one member."""
        share = self.data_share
        return share * (1 + self.shared) + (1 - share) / self.n_members

    @property
    def of_mean(self) -> FloatArray:
        """Variance of the mean of the members, including the fluctuation of their common events."""
        return self.total * self.factor


def member_variances(values: ArrayLike, groups: IntArray) -> MemberVariances:
    """Compute the variances between the members of a bootstrap ensemble.

    Parameters
    ----------
    values
        Values of each member, shape (n_members, ...).
    groups
        Index of the bootstrap sample of each member; twins have the same index.

    Examples
    --------
    >>> variances = member_variances([1.0, 1.2, 0.2, 2.0], np.array([0, 0, 1, 2]))
    >>> print(round(float(variances.total), 3), round(float(variances.training), 3))
    0.652 0.02
    """
    members = np.asarray(values, dtype=np.float64)
    variances = []
    for same in (False, True):
        root = _pair_root(groups, same)
        variances.append(np.sum(np.tensordot(root, members, axes=1) ** 2, axis=0))
    sizes = np.unique(groups, return_counts=True)[1]
    return MemberVariances(
        total=variances[0],
        training=variances[1],
        n_groups=len(sizes),
        n_members=len(members),
        shared=float(np.sum(sizes**2)) / len(members) ** 2,
    )


def _pair_root(groups: IntArray, same: bool) -> FloatArray:
    """Return rows whose squared products with members sum to half the mean squared difference.

    The mean is over pairs of members in the same group if `same`, else in different groups; the
    result has the shape (n_components, n_members).
    """
    n = len(groups)
    first, second = np.triu_indices(n, k=1)
    chosen = (groups[first] == groups[second]) == same
    unit = np.eye(n)
    differences = unit[first[chosen]] - unit[second[chosen]]
    matrix = differences.T @ differences / (2 * max(len(differences), 1))
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-12
    root: FloatArray = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    return root


@dataclass(frozen=True, eq=False)
class SimulationError:
    """Error of Λ(θ) of a dataset, due to the finite number of simulated training events.

    Λ(θ) is relative to its value at the estimate.  To include the error in intervals, use
    :func:`milinfer.add_simulation_error`.

    Parameters
    ----------
    parameters
        Names of the parameters.
    interpolation
        The K parameter points at which Λ is computed, and the interpolation between them.
    values
        Λ of each ensemble member at these K points, shape (n_members, K).
    estimate
        Estimate of each parameter from the whole ensemble, shape (n_parameters,).
    estimates
        Estimates from each member alone, shape (n_members, n_parameters).
    groups
        Index of the bootstrap sample of each member, shape (n_members,).
    tag
        Tag of the model.  :func:`milinfer.add_simulation_error` accepts only a cost with this tag.
    """

    parameters: tuple[str, ...]
    interpolation: Interpolation | ChebyshevBox
    values: FloatArray
    estimate: FloatArray
    estimates: FloatArray
    groups: IntArray
    tag: ModelTag | None = None

    def __repr__(self) -> str:
        errors = ", ".join(
            f"{name} = {measured(value, error)}"
            for name, value, error in zip(
                self.parameters, self.estimate, self.estimate_error, strict=True
            )
        )
        return (
            f"SimulationError({errors} from simulation, {self.data_share:.0%} of a member's "
            f"variance from events, {len(self.values)} members, relative error "
            f"{self.relative_error:.0%})"
        )

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {
            f"{name}, error from simulation": measured(value, error)
            for name, value, error in zip(
                self.parameters, self.estimate, self.estimate_error, strict=True
            )
        }
        facts |= {
            "members": f"{len(self.values)}, on {self._of_estimates.n_groups} bootstrap samples",
            "share of the events": f"{self.data_share:.0%} of the variance of a member",
            "error of the error": f"{self.relative_error:.0%}",
        }
        return html_facts("Error from the finite simulation", facts)

    @cached_property
    def _of_estimates(self) -> MemberVariances:
        return member_variances(self.estimates, self.groups)

    @property
    def estimate_error(self) -> FloatArray:
        """Standard error of each estimate due to the finite simulation, shape (n_parameters,)."""
        return np.asarray(np.sqrt(self._of_estimates.of_mean))

    @property
    def estimate_covariance(self) -> FloatArray:
        """Covariance of the estimates due to the simulation, shape (n_parameters, n_parameters)."""
        rows = _pair_root(self.groups, same=False) @ self.estimates
        covariance: FloatArray = rows.T @ rows * self._of_estimates.factor
        return covariance

    @property
    def data_share(self) -> float:
        """Share of the variance of one member's estimates that is due to the simulated events.

        The rest is due to the training: split, initial weights and order of the events.
        """
        return self._of_estimates.data_share

    @property
    def relative_error(self) -> float:
        """Relative standard error of each error in this object; large if there are few members."""
        return 1 / float(np.sqrt(2 * (self._of_estimates.n_groups - 1)))

    @property
    def points(self) -> FloatArray:
        """Parameter points at which Λ is computed, shape (K, n_parameters)."""
        return np.asarray(self.interpolation.grid).reshape(-1, len(self.parameters))

    @property
    def mean(self) -> FloatArray:
        """Λ at :attr:`points`, relative to its value at the estimate, shape (K,)."""
        value: FloatArray = self._relative().mean(axis=0)
        return value

    @property
    def covariance(self) -> FloatArray:
        """Covariance of Λ at :attr:`points`, shape (K, K)."""
        components = self.components()
        covariance: FloatArray = components.T @ components
        return covariance

    @property
    def error(self) -> FloatArray:
        """Standard error of Λ at :attr:`points`, shape (K,)."""
        return np.asarray(np.sqrt(np.sum(self.components() ** 2, axis=0)))

    def components(self, origin: ArrayLike | None = None) -> FloatArray:
        """Return independent deviations of Λ, each of one standard error, shape (n_components, K).

        The sum of their squares is the variance of Λ at each of the K :attr:`points`.

        Parameters
        ----------
        origin
            Parameter point at which Λ is zero, shape (n_parameters,); default: the estimate.
        """
        root = _pair_root(self.groups, same=False)
        # One number, the share of the events from the estimates, keeps this covariance positive.
        components: FloatArray = root @ self._relative(origin) * np.sqrt(self._of_estimates.factor)
        return components

    def error_at(self, theta: ArrayLike, origin: ArrayLike | None = None) -> FloatArray:
        """Return the standard error of the difference Λ(θ) − Λ(origin).

        Parameters
        ----------
        theta
            Parameter points, shape (m,) for one parameter, else (m, n_parameters).
        origin
            Parameter point at which Λ is zero, shape (n_parameters,); default: the estimate.
        """
        components = self.components(origin)
        at = self.interpolation.values_at(components, theta)
        return np.asarray(np.sqrt(np.sum(at**2, axis=0)))

    def _relative(self, origin: ArrayLike | None = None) -> FloatArray:
        start = np.asarray(self.estimate if origin is None else origin, dtype=np.float64)
        at = self.interpolation.values_at(self.values, start.reshape(1, -1)[:, self._axis])
        relative: FloatArray = self.values - at
        return relative

    @property
    def _axis(self) -> int | slice:
        return 0 if len(self.parameters) == 1 else slice(None)

    def to_dict(self) -> dict[str, Any]:
        """Return the errors of the estimates and their precision as plain numbers for JSON."""
        errors = {
            name: {"estimate_error": float(sigma)}
            for name, sigma in zip(self.parameters, self.estimate_error, strict=True)
        }
        return {
            **errors,
            "share_of_events": self.data_share,
            "relative_error": self.relative_error,
            "members": len(self.values),
        }

    def to_table(self) -> pa.Table:
        """Return a table with one row for each point: ``point.PARAMETER``, ``llr``, ``error``."""
        import pyarrow as pa

        columns = {f"point.{n}": self.points[:, k] for k, n in enumerate(self.parameters)}
        return pa.table({**columns, "llr": self.mean, "error": self.error})


def simulation_error(model: BagLikelihood, data: Sample) -> SimulationError:
    """Return the error of Λ(θ) of a dataset due to the finite number of simulated training events.

    The result also contains the error of the parameter estimates.

    Parameters
    ----------
    model
        Likelihood that was trained with ``bootstrap=True``.
    data
        Events of the dataset; pass Asimov data to obtain the expected error.

    Raises
    ------
    ModelError
        If the model is not a BagLikelihood, was trained without ``bootstrap=True``, or scores whole
        bags.

    Examples
    --------
    >>> import milinfer as mil
    >>> from milinfer.datasets import quadratic
    >>> points = [{"c1": v} for v in (-0.5, 0.0, 0.5)]
    >>> model = mil.BagLikelihood(
    ...     head="polynomial", labels="joint", order=1, ensemble=8, bootstrap=True,
    ...     network=mil.NetworkConfig((8,), "gelu", batch_norm=False, dropout=0.0, l2=0.0),
    ...     training=mil.TrainingConfig(5, 500, 1e-2, 1e-3, schedule="cosine"),
    ... ).fit(quadratic.samples(500, points, seed=1))
    >>> error = mil.simulation_error(model, quadratic.generate(300, {"c1": 0.2}, seed=2))
    >>> error.estimate_error.shape, bool(error.error_at([0.1])[0] > 0)
    ((1,), True)
    """
    bootstrap = getattr(model, "bootstrap", None)  # boosted trees have none
    if bootstrap is None:
        msg = (
            f"the error from the finite simulation needs networks trained on bootstrap samples of "
            f"the events, and a {type(model).__name__} has none; train a BagLikelihood with "
            "ensemble=16, bootstrap=True, or calibrate and use calibration(cost, widen=True)"
        )
        raise ModelError(msg)
    if not bootstrap:
        msg = (
            "all networks of this model were trained on the same events, so their spread does not "
            "contain the error from the finite simulation; train with ensemble=16, bootstrap=True"
        )
        raise ModelError(msg)
    surfaces = model.member_surfaces(data)
    return SimulationError(
        parameters=model.parameters,
        interpolation=model.interpolation,
        values=np.stack([s.values for s in surfaces]),
        estimate=model.surface(data).extremum.theta_hat.reshape(-1),
        estimates=np.stack([s.extremum.theta_hat.reshape(-1) for s in surfaces]),
        groups=bootstrap_groups(len(surfaces)),
        tag=model_tag(model),
    )
