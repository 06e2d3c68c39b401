"""Hold the log-likelihood ratios of many toys, and the effect of their finite pool of events.

All toys from one pool of simulated events share the statistical fluctuation of the pool.  More toys
do not average it out.  The fluctuation changes the mean and the spread of the estimates, and
therefore the measured coverage.  The influence of an event is the shift of the estimate if the
event is added to the data.  To first order, the mean of the estimates depends on the sum of the
influences of all events in the pool.  The spread of the estimates depends on the sum of the squared
influences (:func:`pool_influence`).  Toys at two true values from one pool are correlated if the
same events have large weights at both values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import CalibrationError, SampleError
from milinfer.likelihood.models import ModelTag
from milinfer.likelihood.surface import Extremum, Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.typing import Float32Array, FloatArray, IntArray, Point
from milinfer.utils.confidence_levels import CL68, chi2_quantile
from milinfer.utils.display import html_facts
from milinfer.utils.points import format_point, only

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "GROUPS",
    "PoolInfluence",
    "ToyEnsemble",
    "pool_influence",
    "profiled_ranges",
    "require_one_kind",
    "require_toys",
    "require_unseen_toys",
    "slope_at",
    "toys_with",
    "truths",
]


# Surfaces whose maxima are searched at once: bounds the memory for any number of toys.
_BLOCK = 1000


@dataclass(frozen=True, eq=False)
class ToyEnsemble:
    """Many pseudo-experiments (toys) at one true point, with Λ(θ) of one model for each toy.

    :meth:`milinfer.Toys.run` makes a ToyEnsemble.  Λ(θ) is the log-likelihood ratio ln L(θ)/L(θ0)
    of a toy, and θ̂ is the estimate at its maximum.

    Parameters
    ----------
    tag
        Identity of the model; see :class:`milinfer.likelihood.models.ModelTag`.
    point
        True parameter values of the toys.
    interpolation
        Parameter values at which Λ is computed, and the interpolation between them.
    values
        Λ of each toy at the K parameter values of `interpolation`, shape (n_toys, K).
    n_events
        Mean number of events of a toy.
    poisson
        Whether the number of events fluctuates.
    pool_events
        Number of simulated events in the pool, from which the toys were drawn.
    pool_id
        Fingerprint of the events in the pool.  Ensembles whose pools have events in common
        (:func:`milinfer.samples.fingerprints.share_events`) are not independent.
    seed
        Random seed of the toys.
    start
        Number of the first toy in the sequence that the seed defines.
    counts
        Number of events of each toy, shape (n_toys,); default: `n_events`, rounded.
    n_effective
        Effective number of events of the pool at the point.  It is infinite for toys drawn without
        replacement, because they have no fluctuation in common.  Default: `pool_events`.
    extended
        Whether Λ includes the rate term (the Poisson term of the number of events).
    pool_variance_error
        Relative standard error of Var(θ̂) due to the finite pool; NaN if it is not known (models of
        bags).  For likelihoods with profiled nuisance parameters it is the error for Gaussian
        estimates.  With several parameters it is the largest of their errors.
    pool_influence
        How much each group of pool events changes the mean and the spread of θ̂.  The correlation
        of toys at two true points follows from these numbers.  None if they are not known (models
        of bags, profiled likelihoods).
    seen
        Whether the model was trained on events of the pool.  If it was, calibrations, Neyman belts
        and coverages refuse the toys, because these toys do not behave like data.
    pieces
        If several runs were joined: seed, first toy number, and last toy number plus one of each
        run.  Default: one run.
    profiled_truth
        True values in the toys of the parameters over which Λ is maximised (nuisance parameters and
        normalisations), by name; empty for models without such parameters.
    """

    tag: ModelTag
    point: Point
    interpolation: Interpolation | ChebyshevBox
    values: FloatArray
    n_events: float
    poisson: bool
    pool_events: int
    pool_id: str
    seed: int
    start: int = 0
    counts: IntArray = None  # type: ignore[assignment]  # filled in __post_init__
    n_effective: float = None  # type: ignore[assignment]  # filled in __post_init__
    extended: bool = False
    pool_variance_error: float = float("nan")
    pool_influence: PoolInfluence | None = None
    seen: bool = False
    pieces: tuple[tuple[int, int, int], ...] = ()
    profiled_truth: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        put, n = object.__setattr__, len(self.values)
        counts: ArrayLike | None = self.counts
        put(
            self,
            "counts",
            np.full(n, round(self.n_events)) if counts is None else np.asarray(counts, np.int64),
        )
        effective: float | None = self.n_effective
        put(self, "n_effective", float(self.pool_events if effective is None else effective))
        put(self, "pieces", self.pieces or ((self.seed, self.start, self.start + n),))
        if self.counts.shape != (n,):
            msg = (
                f"{self.model} at {format_point(self.point)}: values has {n} toys, but counts has "
                f"the shape {self.counts.shape}; give one number of events for each toy"
            )
            raise SampleError(msg)

    def __repr__(self) -> str:
        others = f" with {format_point(self.profiled_truth)}" if self.profiled_truth else ""
        return (
            f"ToyEnsemble({self.model} at {format_point(self.point)}{others}, {self.n_toys} toys "
            f"of {self.n_events:g} events)"
        )

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {
            "toys": self.n_toys,
            "events in a toy": f"{self.n_events:g}" + ", Poisson" * self.poisson,
            "Λ": "with the rate term" if self.extended else "shape",
            "pool": f"{self.pool_events} events, {self.n_effective:g} effective; each used "
            f"{self.reuse:.2g} times",
            "seed": self.seed,
        }
        if self.profiled_truth:
            facts["true values of profiled parameters"] = format_point(self.profiled_truth)
        estimates = self.theta_hat.reshape(self.n_toys, -1)
        for k, name in enumerate(self.point if self.n_toys > 1 else ()):
            mean, spread = estimates[:, k].mean(), estimates[:, k].std(ddof=1)
            facts[f"estimates of {name}"] = f"{mean:.4g}, standard deviation {spread:.3g}"
        return html_facts(f"Toys of {self.model} at {format_point(self.point)}", facts)

    def to_table(self) -> pa.Table:
        """Return an Arrow table with one row for each toy.

        Columns: ``seed``, ``toy`` (the number of the toy in the sequence of the seed),
        ``n_events``, ``estimate.PARAMETER``, and ``maximum``, which is Λ(θ̂).
        """
        import pyarrow as pa

        seeds = [np.full(stop - start, seed) for seed, start, stop in self.pieces]
        numbers = [np.arange(start, stop) for _, start, stop in self.pieces]
        estimates = self.theta_hat.reshape(self.n_toys, -1)
        return pa.table(
            {
                "seed": np.concatenate(seeds),
                "toy": np.concatenate(numbers),
                "n_events": self.counts,
                **{f"estimate.{n}": estimates[:, k] for k, n in enumerate(self.point)},
                "maximum": self.extremum.maximum,
            }
        )

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
        """Name of the parameter; raises a ParameterError if there are several."""
        return only(tuple(self.point))

    @property
    def truth(self) -> float:
        """True value of the parameter; raises a ParameterError if there are several."""
        return self.point[self.parameter]

    @property
    def range(self) -> tuple[float, float]:
        """Range of the parameter; raises a ParameterError if there are several."""
        only(tuple(self.point))
        return self.interpolation.limits[0]

    @property
    def reuse(self) -> float:
        """How often an effective event of the pool of simulated events is used on average.

        It is 0 if events are drawn without replacement.
        """
        return self.n_toys * self.n_events / self.n_effective

    @cached_property
    def extremum(self) -> Extremum:
        """Maximum of Λ for each toy: its position θ̂, the value Λ(θ̂), and the curvature."""
        blocks = [
            self.interpolation.extrema(self.values[k : k + _BLOCK])
            for k in range(0, max(self.n_toys, 1), _BLOCK)
        ]
        return Extremum(*(np.concatenate(column) for column in zip(*blocks, strict=True)))

    def with_truth(self, point: Point) -> ToyEnsemble:
        """Return the same toys with another true point, without searching the maxima of Λ again."""
        moved = replace(self, point=point)
        # The cached maxima of the same surfaces: to find them takes most of the time.
        vars(moved)["extremum"] = self.extremum
        return moved

    @property
    def theta_hat(self) -> FloatArray:
        """Maximum-likelihood estimates.

        The shape is (n_toys,) or, with several parameters, (n_toys, n_parameters).
        """
        return self.extremum.theta_hat

    @property
    def mean_error(self) -> float:
        """Standard error of the mean of θ̂ in one parameter, including the pool error.

        The pool error is due to the finite number of events from which toys are drawn.  It shifts
        all toys together, by ``sqrt(n_events / n_effective)`` standard deviations of θ̂.  More toys
        do not reduce this shift.
        """
        only(tuple(self.point))
        variance = float(np.var(self.theta_hat, ddof=1))
        return float(np.sqrt(variance * (1 / self.n_toys + self.n_events / self.n_effective)))

    @property
    def variance_error(self) -> float:
        """Relative error of Var(θ̂) due to the finite pool of simulated events.

        It is `pool_variance_error` if this is known.  If not, it is the error for Gaussian
        estimates, ``sqrt(2 / n_effective)``.

        Examples
        --------
        >>> grid = Interpolation(np.linspace(-1, 1, 5), "spline")
        >>> toys = ToyEnsemble(ModelTag("m"), {"mu": 0.0}, grid, np.zeros((1, 5)), 100, False,
        ...                    20_000, "", 0)
        >>> toys.variance_error  # √(2/20 000)
        0.01
        """
        if np.isfinite(self.pool_variance_error):
            return self.pool_variance_error
        return float(np.sqrt(2 / self.n_effective))

    def test_statistic(self, theta: ArrayLike) -> FloatArray:
        """Compute the test statistic 2 [Λ(θ̂) − Λ(θ)] of each toy, shape (n_toys,).

        It is never negative.  `theta` is a number, or one value for each parameter.
        """
        at = self.interpolation.values_at(self.values, theta)[:, 0]
        return np.maximum(2 * (self.extremum.maximum - at), 0.0)

    def pool_coverage_error(self, cl: float = CL68) -> float:
        r"""Compute the error of the coverage of central intervals due to the finite pool.

        The pool contains the simulated events from which toys are drawn.  The formula holds for
        Gaussian estimates of one parameter.  Let n be the number of events of a toy, z the number
        of standard deviations that belongs to the confidence level, and φ the density of the normal
        distribution.  The fluctuation of the pool shifts all estimates by
        :math:`\sigma\sqrt{n/n_\mathrm{eff}}`, which reduces the coverage by
        :math:`z\varphi(z)\,n/n_\mathrm{eff}` on average.  The fluctuation also changes the spread
        of the estimates, which moves the coverage up or down by :math:`z\varphi(z)` times
        ``pool_variance_error``.  The two changes of the coverage are added in quadrature.  If
        ``pool_variance_error`` is NaN, the result is NaN.

        Examples
        --------
        >>> grid = Interpolation(np.linspace(-1, 1, 5), "spline")
        >>> toys = ToyEnsemble(ModelTag("m"), {"mu": 0.0}, grid, np.zeros((1, 5)), 100, False,
        ...                    10_000, "", 0, pool_variance_error=0.03)
        >>> round(toys.pool_coverage_error(0.6827), 4)
        0.0077
        """
        from scipy.stats import norm

        z = float(np.sqrt(chi2_quantile(cl, 1)))
        shift = self.n_events / self.n_effective
        return float(z * norm.pdf(z) * np.hypot(shift, self.pool_variance_error))

    def first(self, n_toys: int) -> ToyEnsemble:
        """Return the first toys alone, or all if there are fewer.

        Raises
        ------
        SampleError
            If these toys were joined from several runs.

        Examples
        --------
        >>> from milinfer.datasets import gaussian
        >>> from milinfer.toys.toys import Toys
        >>> toys = Toys(gaussian.samples(1000, [0.0], seed=1), n_events=100, seed=2)
        >>> toys.run([gaussian.MeanModel()], 0.0, 50)["mean"].first(20).n_toys
        20
        """
        if len(self.pieces) > 1:
            msg = f"toys {self._label} were joined from several runs; take the first toys of one"
            raise SampleError(msg)
        part = slice(0, n_toys)
        return replace(self, values=self.values[part], counts=self.counts[part], pieces=())

    def __add__(self, other: ToyEnsemble) -> ToyEnsemble:
        """Join toys of the same model, true point and pool, from the same seed or other seeds.

        If both have the same seed, the toys of the second must directly follow those of the first
        in the sequence.

        Raises
        ------
        SampleError
            If the ensembles differ in anything but the seed, or if both could contain the same toy.
        """
        same = all(
            getattr(self, name) == getattr(other, name)
            for name in (
                *("tag", "point", "profiled_truth", "n_events", "poisson", "pool_id"),
                "extended",
            )
        )
        last, first = self.pieces[-1], other.pieces[0]
        pieces = (*self.pieces, *other.pieces)
        if last[0] == first[0] and last[2] == first[1]:
            pieces = (*self.pieces[:-1], (last[0], last[1], first[2]), *other.pieces[1:])
        seeds = [seed for seed, _, _ in pieces]
        disjoint = np.isinf([self.n_effective, other.n_effective])
        if disjoint.any() and (len(set(seeds)) > 1 or not disjoint.all()):
            msg = (
                f"cannot join toys {self._label} and {other._label}: disjoint toys of two seeds "
                "contain the same events; generate more toys with one seed (start=)"
            )
            raise SampleError(msg)
        if not same or len(set(seeds)) < len(seeds):
            msg = (
                f"cannot join toys {self._label} and {other._label}: they must be alike in all but "
                "the seed, or be consecutive toys of one seed (start=)"
            )
            raise SampleError(msg)
        return replace(
            self,
            values=np.concatenate([self.values, other.values]),
            counts=np.concatenate([self.counts, other.counts]),
            pieces=pieces,
        )

    @property
    def _label(self) -> str:
        runs = ", ".join(f"{a}–{b - 1} of seed {seed}" for seed, a, b in self.pieces)
        return f"{runs} by {self.model} at {format_point(self.point)}"


# Influences are summed over this number of groups of events: enough for covariances to 4 %, few
# enough to store for each ensemble of toys. Event i is in group i mod GROUPS.
GROUPS = 1024


class PoolInfluence(NamedTuple):
    r"""How much each group of pool events changes the mean and the spread of θ̂.

    The arrays have the shape (GROUPS, n_parameters).

    Parameters
    ----------
    shift
        Shift of the mean of θ̂, divided by :math:`\sqrt{n}\,\sigma`, where σ is the standard
        deviation of θ̂ for toys of n events.  The sum of its squares over the groups is
        :math:`1/n_\mathrm{eff}`, where :math:`n_\mathrm{eff}` is the effective number of events in
        the pool.
    spread
        Relative change of Var(θ̂) due to the group.
    variance_error
        Relative standard error of Var(θ̂) due to the finite pool (all groups together).  With
        several parameters it is the largest of their errors.
    """

    shift: FloatArray
    spread: FloatArray
    variance_error: float


def pool_influence(
    interpolation: Interpolation | ChebyshevBox,
    table: FloatArray | Float32Array,
    weights: FloatArray,
    point: FloatArray,
    log_rate: FloatArray | None = None,
) -> PoolInfluence | None:
    r"""Compute the influence of the events of a pool on toys that are drawn from the pool.

    The influence of event i on θ̂ is in proportion to :math:`y_i = d\lambda_i/d\theta` at the true
    value, where :math:`\lambda_i(\theta)` is the log-likelihood ratio of the event.  The relative
    error of Var(θ̂) due to the finite pool is the relative error of the variance of y.  For
    unweighted events it is :math:`\sqrt{(\kappa - 1)/n_\mathrm{eff}}`, where κ is the kurtosis of
    y.  For weighted events it is :math:`\sqrt{\sum_i w_i^2 (y_i^2/\sigma_y^2 - 1)^2}/\sum_i |w_i|`.
    (The two formulas agree if weights and y are independent.)

    Parameters
    ----------
    interpolation, table
        Interpolation of the log-likelihood ratio of an event, and the log-likelihood ratios of the
        events at its K grid points, shape (n_events, K).
    weights
        Weights of the events, shape (n_events,).  The influence of an event has the sign of its
        weight.
    point
        The true point, shape (n_parameters,).
    log_rate
        Logarithm of the expected number of events at the grid points, shape (K,), if Λ includes the
        rate.  The number of events then fluctuates, so that the mean influence of an event also
        contributes to the spread.

    Returns
    -------
    PoolInfluence or None
        None if Λ has no slope (interpolation ``kind="points"``, or events do not depend on θ).

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(size=(20_000, 1))
    >>> grid = np.linspace(-1, 1, 5)
    >>> table = grid * x - grid**2 / 2
    >>> influence = pool_influence(
    ...     Interpolation(grid, "spline"), table, np.ones(20_000), np.zeros(1)
    ... )
    >>> round(influence.variance_error * 100, 1)  # sqrt(2 / 20 000)
    1.0
    >>> round(1 / float((influence.shift**2).sum()) / 20_000, 1)
    1.0
    """
    if isinstance(interpolation, Interpolation) and interpolation.kind == "points":
        return None
    slope = slope_at(interpolation, point)
    influence = np.sign(weights)[:, None] * (table @ slope)
    share = np.abs(weights) / np.abs(weights).sum()
    centred = influence - _mean(share, influence)
    of_one_event = _mean(share, centred**2)
    if log_rate is None:
        influence = centred
    else:
        influence += log_rate @ slope
    square = influence**2
    variance = _mean(share, square)
    if not (np.all(of_one_event > 0) and np.all(variance > 0)):
        return None
    spread = share[:, None] * (square / variance - 1)
    # In units of the spread of θ̂, which for a fluctuating number is that of y itself.
    shift = share[:, None] * centred / np.sqrt(variance)
    return PoolInfluence(
        shift=_group_sums(shift),
        spread=_group_sums(spread),
        variance_error=float(np.sqrt(np.sum(spread**2, axis=0)).max()),
    )


def _group_sums(values: FloatArray) -> FloatArray:
    """Sums of the values of each group of events, (GROUPS, n_parameters)."""
    stop = len(values) // GROUPS * GROUPS
    sums: FloatArray = values[:stop].reshape(-1, GROUPS, values.shape[1]).sum(axis=0)
    sums[: len(values) - stop] += values[stop:]
    return sums


def _mean(share: FloatArray, values: FloatArray) -> FloatArray:
    """Mean over events of values (n_events, n_parameters), with weights `share`."""
    # Without BLAS, whose threads wait for each other longer than these sums take.
    mean: FloatArray = np.sum(share[:, None] * values, axis=0)
    return mean


def slope_at(interpolation: Interpolation | ChebyshevBox, point: FloatArray) -> FloatArray:
    """Return the factors with which Λ at the K grid points is summed to its slope at a point.

    The shape is (K, n_parameters).

    Examples
    --------
    >>> grid = np.linspace(-1, 1, 5)
    >>> slope = slope_at(Interpolation(grid, "polynomial", 2), np.array([0.5]))
    >>> (grid**2 @ slope).round(6)
    array([1.])
    """
    low, high = np.array(interpolation.limits).T
    steps = np.diag(1e-3 * (high - low))
    unit = np.eye(len(interpolation.grid))
    if isinstance(interpolation, Interpolation):
        # A parabola is fitted about the highest point: put this point at the true value.
        k = np.arange(len(unit))
        ridge = -100.0 * np.abs(k - np.argmin(np.abs(interpolation.grid - point[0])))
        unit = np.concatenate([unit, np.zeros((1, len(unit)))]) + ridge
    columns = []
    for step in steps:
        up, down = (
            interpolation.evaluate(unit, np.tile(at, (len(unit), 1)))
            for at in (point + step, point - step)
        )
        difference = (up - down).reshape(len(unit)) / (2 * step.max())
        columns.append(difference)
    matrix: FloatArray = np.stack(columns, axis=1)
    if isinstance(interpolation, Interpolation):
        matrix = matrix[:-1] - matrix[-1]
    return matrix


def require_unseen_toys(ensembles: Sequence[ToyEnsemble]) -> None:
    """Raise an error if toys were drawn from the training events of their model.

    Raises
    ------
    CalibrationError
        If they were; the message names the model and the true point.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> toys = Toys(gaussian.samples(1000, [0.0], seed=1), n_events=10, seed=2)
    >>> require_unseen_toys([toys.run([gaussian.MeanModel()], 0.0, 10)["mean"]])
    """
    for e in ensembles:
        if e.seen:
            msg = (
                f"the toys of {e.model} at {format_point(e.point)} were drawn from its training "
                "events; generate toys from independent events"
            )
            raise CalibrationError(msg)


def truths(ensembles: Sequence[ToyEnsemble]) -> FloatArray:
    """Return the true points of ensembles of toys, shape (n_ensembles, n_parameters)."""
    return np.array([list(e.point.values()) for e in ensembles], dtype=np.float64)


def require_toys(ensembles: object) -> None:
    """Raise an error unless the argument is a list of toys at several true points.

    The list may be empty.

    Raises
    ------
    CalibrationError
        The message says how to get the list.

    Examples
    --------
    >>> require_toys({"polynomial": []})
    Traceback (most recent call last):
    milinfer.exceptions.CalibrationError: this takes the list of the toys of one model at several
    true points, not a dict; select one model: ["polynomial"]
    """
    if isinstance(ensembles, Sequence) and all(isinstance(e, ToyEnsemble) for e in ensembles):
        return
    remedy = "generate them with toys.scan([model], truths, n_toys)[model.name]"
    if isinstance(ensembles, Mapping) and ensembles:
        remedy = f"select one model: [{next(iter(ensembles))!r}]".replace("'", '"')
    elif isinstance(ensembles, ToyEnsemble):
        remedy = "put it into a list: [toys]"
    msg = (
        "this takes the list of the toys of one model at several true points, not a "
        f"{type(ensembles).__name__}; {remedy}"
    )
    raise CalibrationError(msg)


def profiled_ranges(ensembles: Sequence[ToyEnsemble]) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest true value in toys of each profiled parameter.

    Parameters
    ----------
    ensembles
        Toys at several points; see :attr:`ToyEnsemble.profiled_truth`.

    Examples
    --------
    >>> grid = Interpolation(np.linspace(-1, 1, 5), "spline")
    >>> at = [ToyEnsemble(ModelTag("m"), {"mu": 0.0}, grid, np.zeros((1, 5)), 100, False, 100, "",
    ...                   0, profiled_truth={"jes": jes}) for jes in (0.0, 0.5)]
    >>> profiled_ranges(at)
    {'jes': (0.0, 0.5)}
    """
    names = dict.fromkeys(name for e in ensembles for name in e.profiled_truth)
    values = {n: [e.profiled_truth[n] for e in ensembles if n in e.profiled_truth] for n in names}
    return {name: (min(v), max(v)) for name, v in values.items()}


def toys_with(ranges: Mapping[str, tuple[float, float]]) -> str:
    """Say at which true values of profiled parameters toys were generated; "" if there are none.

    Examples
    --------
    >>> toys_with({"jes": (0.0, 0.5), "lumi": (1.0, 1.0)})
    ', toys with jes from 0 to 0.5, lumi = 1'
    """
    texts = [
        f"{name} = {low:g}" if low == high else f"{name} from {low:g} to {high:g}"
        for name, (low, high) in ranges.items()
    ]
    return f", toys with {', '.join(texts)}" if texts else ""


def require_one_kind(ensembles: Sequence[ToyEnsemble]) -> None:
    """Raise an error unless all toys are of one model and one kind of dataset.

    The toys must agree in model and parameters, and in Λ and the dataset: with or without rate
    term, fixed or fluctuating number of events.

    If the number of events fluctuates, its mean may differ between the toys by up to one standard
    deviation.  Toys at different values of nuisance parameters differ in this way.

    Raises
    ------
    CalibrationError
        If the toys are of different kinds, or there are no toys.
    """
    require_toys(ensembles)
    if not ensembles:
        msg = "the list of toys is empty; generate toys at several true points with Toys.scan"
        raise CalibrationError(msg)
    kinds = {(e.tag, tuple(e.point), e.poisson, e.extended) for e in ensembles}
    sizes = {e.n_events for e in ensembles}
    first = ensembles[0]
    # Means that differ by less than datasets do: nuisance parameters move the number of events.
    near = first.poisson and max(sizes) - min(sizes) <= np.sqrt(min(sizes))
    if len(kinds) != 1 or not (len(sizes) == 1 or first.extended or near):
        msg = (
            "the toys must be of one model, with the same parameters and one dataset size, but "
            f"they are of {sorted({e.model for e in ensembles})} with {sorted(sizes)} events"
        )
        raise CalibrationError(msg)
