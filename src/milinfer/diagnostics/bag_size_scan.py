"""Measure the effective information as a function of the bag size ([AS], §3.2 and fig. 2).

The same network is trained on the same events at every bag size, and all trained networks are
applied to the same pseudo-experiments (toys).  The fluctuation of the toys is therefore common to
all bag sizes.  It is contained in the covariance of the measured informations, and it cancels in
the ratio to a reference method that is applied to the same toys.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

import numpy as np

from milinfer.diagnostics.bag_size import (
    Ansatz,
    AnsatzComparison,
    BagSizeFit,
    compare_ansaetze,
    fit_bag_sizes,
)
from milinfer.exceptions import CalibrationError, ConfigurationError
from milinfer.intervals.information import (
    Information,
    RelativeInformation,
    information,
    relative_information,
)
from milinfer.likelihood.models import AnyModel, Renamed
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.toys import Toys
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.display import arrow_table, html_table, measured, shortened
from milinfer.utils.parallel import Workers

if TYPE_CHECKING:
    import pyarrow as pa
    from distributed import Client

    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.samples.sample_set import SampleSet

__all__ = ["BagSizeScan", "ScanPoint", "information_covariance", "scan_bag_sizes"]


class ScanPoint(NamedTuple):
    """Result of one training at one bag size.

    Parameters
    ----------
    size
        Number of events in a training bag.
    repeat
        Number of the training at this size, counted from 0.
    information
        Information of the trained network on the toys.
    relative
        Information of the trained network relative to the reference.  None without a reference.
    """

    size: int
    repeat: int
    information: Information
    relative: RelativeInformation | None


@dataclass(frozen=True, eq=False)
class BagSizeScan:
    """Effective information at several bag sizes.

    Parameters
    ----------
    sizes
        Bag sizes, ascending, shape (S,).
    points
        Results of all trainings, one for each size and repeat.
    info_eff, info_mle
        Effective information I_eff and inverse variance I_MLE of the estimates, averaged over the
        trainings at each size, shape (S,).
    info_mle_error
        Standard error of `info_mle`, shape (S,).  It includes the spread between the trainings at a
        size, if there are several.
    covariance
        Covariance matrix of `info_eff`, shape (S, S).  It contains the fluctuation of the toys,
        which is common to all sizes, and the spread between the trainings at a size, if there are
        several.
    training_spread
        Relative standard deviation of I_eff between trainings at the same size, averaged (in
        quadrature) over the sizes.  NaN if there is one training at each size.  It contains a part
        of the fluctuation of the toys, because this fluctuation is not exactly equal for all
        trainings.  `covariance` counts this part twice, so its errors are slightly too large.
    bound
        True information and its error, if they were given to :func:`scan_bag_sizes`.
    reference
        Name of the reference method; empty without a reference.
    """

    sizes: IntArray
    points: tuple[ScanPoint, ...]
    info_eff: FloatArray
    info_mle: FloatArray
    info_mle_error: FloatArray
    covariance: FloatArray
    training_spread: float
    bound: tuple[float, float] | None = None
    reference: str = ""

    @property
    def info_eff_error(self) -> FloatArray:
        """Standard error of `info_eff`, shape (S,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    def at(self, size: int) -> tuple[ScanPoint, ...]:
        """Return the results of all trainings at one bag size."""
        return tuple(p for p in self.points if p.size == size)

    def fit(self, ansatz: Ansatz = "sqrt", *, use_bound: bool = False) -> BagSizeFit:
        """Fit an ansatz to `info_eff` with its covariance matrix.

        See :func:`milinfer.diagnostics.bag_size.fit_bag_sizes`.
        """
        return fit_bag_sizes(
            self.sizes,
            self.info_eff,
            ansatz=ansatz,
            covariance=self.covariance,
            bound=self.bound if use_bound else None,
        )

    def compare(self, *, use_bound: bool = False) -> AnsatzComparison:
        """Fit and compare all ansätze (:func:`milinfer.diagnostics.bag_size.compare_ansaetze`)."""
        return compare_ansaetze(
            self.sizes,
            self.info_eff,
            covariance=self.covariance,
            bound=self.bound if use_bound else None,
        )

    def __repr__(self) -> str:
        return f"BagSizeScan(sizes {shortened(list(map(str, self.sizes)))})"

    def _repr_html_(self) -> str:
        header = ("bag size", "trainings", "I_eff", "I_MLE")
        errors = zip(self.info_eff_error, self.info_mle_error, strict=True)
        rows = [
            [str(size), str(len(self.at(int(size)))), measured(eff, a), measured(mle, b)]
            for size, eff, mle, (a, b) in zip(
                self.sizes, self.info_eff, self.info_mle, errors, strict=True
            )
        ]
        return html_table(header, rows, title="Effective information against bag size")

    def to_table(self) -> pa.Table:
        """Table with one row for each training.

        Columns: ``size``, ``repeat`` and the fields of
        :class:`~milinfer.intervals.information.Information`.  With a reference, there are also
        columns ``relative.FIELD`` for the fields of
        :class:`~milinfer.intervals.information.RelativeInformation`.
        """
        columns: dict[str, type] = {"size": int, "repeat": int, **get_type_hints(Information)}
        relative_columns = {f"relative.{n}": float for n in RelativeInformation._fields}
        rows = []
        for p in self.points:
            row = {"size": p.size, "repeat": p.repeat, **p.information._asdict()}
            if p.relative is not None:
                row |= {f"relative.{n}": v for n, v in p.relative._asdict().items()}
            rows.append(row)
        return arrow_table(columns | (relative_columns if self.reference else {}), rows)

    def to_dict(self) -> dict[str, Any]:
        """All numbers by name, for JSON."""
        return {
            "sizes": self.sizes.tolist(),
            "info_eff": self.info_eff.tolist(),
            "info_eff_error": self.info_eff_error.tolist(),
            "info_mle": self.info_mle.tolist(),
            "info_mle_error": self.info_mle_error.tolist(),
            "covariance": self.covariance.tolist(),
            "training_spread": None if np.isnan(self.training_spread) else self.training_spread,
            "bound": None if self.bound is None else list(self.bound),
            "reference": self.reference,
            "points": [
                {"size": p.size, "repeat": p.repeat, **p.information._asdict()}
                | ({} if p.relative is None else {"relative": p.relative._asdict()})
                for p in self.points
            ],
        }


def scan_bag_sizes(
    estimator: BagLikelihood,
    train: SampleSet,
    toys: Toys,
    *,
    sizes: Sequence[int],
    truth: float,
    neighbours: Sequence[float],
    n_toys: int,
    repeats: int = 1,
    reference: AnyModel | None = None,
    bound: tuple[float, float] | None = None,
    n_bootstrap: int = 200,
    seed: int = 0,
    on_training: Callable[[int, int], None] | None = None,
    on_toys: Callable[[int], None] | None = None,
    client: Client | None = None,
) -> BagSizeScan:
    """Train a network at each bag size, and measure the effective information of all of them.

    Parameters
    ----------
    estimator
        Settings of the network.  Its seed is used for the first training at each size; the second
        training uses seed + 1, and so on.
    train
        Events for the training.  They are the same at every bag size.
    toys
        :class:`~milinfer.Toys` object.  It must contain events at `truth` and at `neighbours` that
        are not in `train`.  All networks are applied to the same toys.
    sizes
        Bag sizes, all different.
    truth
        True value of the parameter at which the information is measured.
    neighbours
        Other true values near `truth`, which are needed to measure the response dE[θ̂]/dθ.  Give
        two or more, on both sides of `truth` if possible.
    n_toys
        Number of toys at each true value.
    repeats
        Number of trainings at each size.  With one training, the errors contain only the
        fluctuation of the toys.  With two or more, they also contain the spread between trainings,
        which is often larger.
    reference
        Model with which the networks are compared, for example the oracle.  It is applied to the
        same toys.
    bound
        True information and its error (0 if exact), if known.  It is stored in the result, for
        fits.
    n_bootstrap, seed
        Number of bootstrap samples, and their seed.
    on_training
        Function that is called after each training, with the bag size and the number of the
        training at this size.
    on_toys
        Function to report progress.  It is called with the number of toys done since the last call,
        at each true value.
    client
        Client of a dask cluster, whose workers train (one task for each size and repeat) and
        generate the toys.  The result is the same as without a cluster, within what
        :meth:`BagLikelihood.fit <milinfer.learning.bag_likelihood.BagLikelihood.fit>` guarantees.

    Returns
    -------
    BagSizeScan
        The effective information at each bag size, with its covariance.  The methods ``.fit()`` and
        ``.compare()`` extrapolate it to infinite bags.

    Raises
    ------
    ConfigurationError
        If there is no bag size, if a bag size is listed twice, or if `neighbours` contains no value
        other than `truth`.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.learning.bag_likelihood import BagLikelihood
    >>> pool = gaussian.samples(1000, [-0.2, 0.0, 0.2], seed=1)
    >>> scan_bag_sizes(BagLikelihood(), pool, Toys(pool, 100, seed=2), sizes=[10, 10], truth=0.0,
    ...                neighbours=[-0.2, 0.2], n_toys=100)
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: bag sizes [10, 10]: give at least one, all different
    """
    ordered = sorted(int(n) for n in sizes)
    if not ordered or len(set(ordered)) < len(ordered):
        msg = f"bag sizes {list(sizes)}: give at least one, all different"
        raise ConfigurationError(msg)
    if ordered[0] < 1:
        msg = f"bag sizes {list(sizes)}: a bag needs at least one event"
        raise ConfigurationError(msg)
    neighbour_values = sorted({float(t) for t in neighbours} - {float(truth)})
    if not neighbour_values or repeats < 1:
        msg = (
            f"neighbours={list(neighbours)}, repeats={repeats}: give at least one neighbour other "
            f"than the truth {truth:g}, and at least one training"
        )
        raise ConfigurationError(msg)
    models: dict[tuple[int, int], Renamed] = {}
    trainings = [(n, k) for n in ordered for k in range(repeats)]
    settings = [
        dataclasses.replace(estimator, bag_size=n, seed=estimator.seed + k) for n, k in trainings
    ]
    trained_models = Workers(client=client).map(_train, settings, train)
    for (n, k), trained_model in zip(trainings, trained_models, strict=True):
        models[n, k] = Renamed(trained_model, f"{trained_model.name}, N_B = {n}, training {k + 1}")
        if on_training is not None:
            on_training(n, k)
    all_models: list[AnyModel] = [*models.values(), *([] if reference is None else [reference])]
    runs = [
        toys.run(all_models, t, n_toys, client=client, on_toys=on_toys)
        for t in (truth, *neighbour_values)
    ]

    def of(model: AnyModel) -> list[ToyEnsemble]:
        return [run[model.name] for run in runs]

    points = tuple(
        ScanPoint(
            n,
            k,
            information(of(model)[0], of(model), n_bootstrap=n_bootstrap, seed=seed),
            None
            if reference is None
            else relative_information(of(model), of(reference), n_bootstrap=n_bootstrap, seed=seed),
        )
        for (n, k), model in models.items()
    )
    shape = (len(ordered), repeats)
    info = np.array([p.information.info_eff for p in points]).reshape(shape)
    covariance_of_all = information_covariance(
        {m.name: of(m) for m in models.values()},
        [p.information.info_eff_error for p in points],
        n_bootstrap=n_bootstrap,
        seed=seed,
    )
    covariance = covariance_of_all.reshape(*shape, *shape).mean(axis=(1, 3))
    spread = float("nan")
    if repeats > 1:
        # The spread of a few trainings at one size is uncertain, so all sizes are used together.
        spread = float(np.sqrt(np.mean(np.var(np.log(info), axis=1, ddof=1))))
        covariance = covariance + np.diag((spread * info.mean(axis=1)) ** 2 / repeats)
    mle = np.array([p.information.info_mle for p in points]).reshape(shape)
    mle_error = np.array([p.information.info_mle_error for p in points]).reshape(shape).mean(axis=1)
    if repeats > 1:
        mle_error = np.hypot(mle_error, mle.std(axis=1, ddof=1) / np.sqrt(repeats))
    return BagSizeScan(
        sizes=np.array(ordered),
        points=points,
        info_eff=info.mean(axis=1),
        info_mle=mle.mean(axis=1),
        info_mle_error=mle_error,
        covariance=covariance,
        training_spread=spread,
        bound=bound,
        reference="" if reference is None else reference.name,
    )


def _train(settings: BagLikelihood, train: SampleSet) -> BagLikelihood:
    return settings.fit(train)


def information_covariance(
    ensembles: Mapping[str, Sequence[ToyEnsemble]],
    info_error: Sequence[float],
    *,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> FloatArray:
    """Compute the covariance matrix of the effective information of several models.

    All models must be applied to the same toys, so their informations fluctuate together.  The
    errors are given as `info_error`.  The correlations are computed with a bootstrap: the toys are
    resampled, in the same way for all models, and the correlation of ln(R²/Var(θ̂)) between the
    models is used.

    Parameters
    ----------
    ensembles
        For each model (by name), its toys at several true values: first at the value of interest,
        then at values around it.
    info_error
        Standard error of the effective information of each model.
    n_bootstrap, seed
        Number of bootstrap samples, and their seed.

    Returns
    -------
    ndarray
        Covariance, shape (n_models, n_models).

    Raises
    ------
    CalibrationError
        If the models were not applied to the same toys, or errors are missing.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> model = gaussian.MeanModel()
    >>> toys = Toys(gaussian.samples(5000, [0.0, 0.2], seed=1), n_events=100, seed=2)
    >>> run = [toys.run([model, Renamed(model, "same")], t, 200) for t in (0.0, 0.2)]
    >>> both = {name: [r[name] for r in run] for name in run[0]}
    >>> information_covariance(both, [10, 10]).round(6)
    array([[100., 100.],
           [100., 100.]])
    """
    groups = list(ensembles.values())
    keys = [[(e.point, e.pool_id, e.seed, e.n_toys, e.n_events) for e in g] for g in groups]
    if any(k != keys[0] for k in keys):
        msg = (
            f"{', '.join(ensembles)} were not run on the same toys; pass all models to one call of "
            "Toys.run"
        )
        raise CalibrationError(msg)
    first = groups[0]
    truths = np.array([e.truth for e in first])
    # Slope at the first value of the polynomial through the means, as a sum over them.
    order = min(2, len(np.unique(truths)) - 1)
    slope = np.zeros(len(first))
    if order > 0:
        slope = np.linalg.pinv(np.vander(truths - truths[0], order + 1, increasing=True))[1]
    estimates = [np.stack([g[i].theta_hat for g in groups]) for i in range(len(first))]
    centres = np.stack([t.mean(axis=1) for t in estimates])
    rng = np.random.default_rng(seed)
    replicas = np.empty((n_bootstrap, len(groups)))
    for b in range(n_bootstrap):
        drawn = [t[:, rng.integers(t.shape[1], size=t.shape[1])] for t in estimates]
        means = np.stack([t.mean(axis=1) for t in drawn])
        # Finite pools add to the fluctuation of the means; see ToyEnsemble.mean_error.
        inflated = np.sqrt([1 + e.reuse for e in first])[:, None]
        response = slope @ (centres + (means - centres) * inflated) if order > 0 else 1.0
        replicas[b] = 2 * np.log(np.abs(response)) - np.log(drawn[0].var(axis=1, ddof=1))
    correlation = np.atleast_2d(np.corrcoef(replicas.T))
    errors = np.asarray(info_error, dtype=np.float64)
    if len(errors) != len(groups):
        msg = f"{len(groups)} models, but {len(errors)} errors; give one error for each model"
        raise CalibrationError(msg)
    return np.asarray(correlation * np.outer(errors, errors))
