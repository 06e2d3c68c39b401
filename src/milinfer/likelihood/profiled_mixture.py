"""Signal and backgrounds as a model of whole datasets, with the backgrounds profiled.

Use :class:`ProfiledMixture` for toys, and :class:`milinfer.likelihood.mixture.MixtureCost` for one
fit.  The surfaces Λ(θ) of ``ProfiledMixture`` depend on the parameters of interest only, so
calibrations, Neyman belts and coverage accept them like the surfaces of any other model.
:func:`profile_norms` profiles the normalisations at many θ at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ConfigurationError, FitError, SampleError
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.mixture import Backgrounds, MixtureTerms, mixture_terms
from milinfer.likelihood.models import AnyModel, DatasetModel, dataset_surface, model_tag
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox, finer
from milinfer.samples.argument_checks import require_sample
from milinfer.samples.sample import Sample
from milinfer.typing import BoolArray, FloatArray, IntArray

__all__ = [
    "Profile",
    "ProfiledMixture",
    "auxiliary_noise",
    "profile_cost",
    "profile_grid",
    "profile_norms",
]


_CHUNK = 65_536
# Smallest positive density of the signal, relative to that at the reference.
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class ProfiledMixture(DatasetModel):
    r"""Extended likelihood of signal and backgrounds, maximised over the normalisations.

    .. math:: \Lambda(D|\theta) = \max_{n \ge 0}\;\ln\frac{L(D|\theta, n)}{L(D|\theta_0, 1)}
              - \sum_b \frac{(n_b - a_b)^2}{2\sigma_b^2}

    Here D is the dataset, θ the parameters of interest, and :math:`n_b` the normalisation of
    background b with the auxiliary measurement :math:`a_b \pm \sigma_b`.  For data, :math:`a_b` is
    one.  In toys, :math:`a_b` fluctuates around the true normalisation with the standard deviation
    :math:`\sigma_b`, because coverage refers to repetitions of the whole experiment.  The
    fluctuation is computed from the events of the toy, so toys with the same seed are always the
    same.

    Generate toys with ``Toys(pool, rate=rate, background=[Background(events, expected)])``.

    Parameters
    ----------
    model
        Model of single events for ln r(x|θ) of the signal.
    rate
        Expected number of signal events ν_s(θ).  Pass a number if it does not depend on the
        parameters, and generate toys with ``Toys(n_events=…, poisson=True)``.
    backgrounds
        ``{name: (ratio, expected yield)}``, as for
        :func:`milinfer.likelihood.mixture.mixture_cost`.
    constraints
        ``{name: σ}``: standard error of the auxiliary measurement of a normalisation.
        Normalisations that are not named are free.
    reference
        Reference point θ0 of the model; default: ``model.reference``.
    name
        Name of the method in tables and figures.
    true_norms
        ``{name: normalisation}``: true normalisation in the toys, if it is not one.  It is the mean
        of the auxiliary measurement in toys.
    grid
        Parameter points of the surfaces Λ(θ), and the interpolation between them; default: a spline
        through 41 points, or a box with more points in several parameters.

    Raises
    ------
    ModelError, ParameterError, ConfigurationError
        If the terms do not fit together; see :func:`milinfer.likelihood.mixture.mixture_terms`.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.pool import Background
    >>> from milinfer.toys.toys import Toys
    >>> def ratio(sample):  # log of the density N(2, 1) over N(0, 1)
    ...     return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)
    >>> mixture = ProfiledMixture(gaussian.MeanModel(), 80.0, {"bkg": (ratio, 20.0)},
    ...                           {"bkg": 0.1}, reference=0.0)
    >>> toys = Toys(gaussian.samples(10_000, [0.0], seed=1), n_events=80, seed=2, poisson=True,
    ...             background=[Background(gaussian.generate(10_000, 2.0, seed=3), 20)])
    >>> toys.run([mixture], 0.0, 100)["mixture"].values.shape
    (100, 41)
    """

    model: AnyModel
    rate: Rate | float
    backgrounds: Backgrounds
    constraints: Mapping[str, float] = field(default_factory=dict)
    reference: ArrayLike | None = None
    name: str = "mixture"
    true_norms: Mapping[str, float] = field(default_factory=dict)
    grid: Interpolation | ChebyshevBox | None = None

    def __post_init__(self) -> None:
        self.terms  # noqa: B018  # raises errors now rather than at the first toy
        options = {"constraints": self.constraints, "true_norms": self.true_norms}
        for option, values in options.items():
            for name, value in values.items():
                if name not in self.backgrounds:
                    msg = f"{option}= names {name!r}; the backgrounds are {list(self.backgrounds)}"
                    raise ConfigurationError(msg)
                if not (np.isfinite(value) and value > 0):
                    msg = f"{option}= of background {name!r} must be positive, not {value:g}"
                    raise ConfigurationError(msg)

    @cached_property
    def terms(self) -> MixtureTerms:
        """Signal and backgrounds of the likelihood, checked and combined."""
        return mixture_terms(self.model, self.rate, self.backgrounds, self.reference)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters of interest."""
        return self.model.parameters

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the model of the signal reads."""
        return model_tag(self.model).feature_names

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the training events of the models of signal and backgrounds."""
        return self.terms.trained_on

    @property
    def profiled_truth(self) -> dict[str, float]:
        """True normalisations of the backgrounds in toys, by the name of the background."""
        return {name: float(self.true_norms.get(name, 1.0)) for name in self.backgrounds}

    @property
    def background_in_toys(self) -> float:
        """Expected number of background events at the true normalisations."""
        norms = np.array(list(self.profiled_truth.values()))
        return float(norms @ self.terms.expected)

    @cached_property
    def digest(self) -> str:
        """Hash of signal, backgrounds, yields and constraints."""
        text = repr((self.terms.digest, sorted(self.constraints.items())))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @cached_property
    def interpolation(self) -> Interpolation | ChebyshevBox:
        """Points at which Λ is computed, and the interpolation between them."""
        return self.grid if self.grid is not None else profile_grid(self.model.interpolation)

    @cached_property
    def _points(self) -> FloatArray:
        return np.asarray(self.interpolation.grid).reshape(-1, len(self.parameters))

    @cached_property
    def _signal(self) -> FloatArray:
        """ν_s at the points of the surface, shape (K,)."""
        return self.terms.signal(self._points)

    @cached_property
    def _precision(self) -> FloatArray:
        widths = [self.constraints.get(name, np.inf) for name in self.backgrounds]
        return np.array(widths, dtype=np.float64) ** -2.0

    def event_columns(self, sample: Sample) -> FloatArray:
        """Return the densities of signal and backgrounds divided by the total density at θ0.

        Returns
        -------
        ndarray
            Density of the signal at each of K points, then of the backgrounds, shape (n_events,
            K + n_backgrounds).
        """
        of_model, k = self.model.interpolation, len(self._points)
        theta = self.interpolation.grid
        # The interpolation is linear in the values at the points.
        matrix = of_model.values_at(np.eye(len(of_model.grid)), theta)
        out = np.empty((len(sample), k + len(self.backgrounds)))
        for start in range(0, len(sample), _CHUNK):
            rows = slice(start, start + _CHUNK)
            part = sample.take(rows)
            total, relative = self.terms.log_reference(part)
            llr = self.model.event_llr(part).astype(np.float64, copy=False)
            signal = np.exp(llr @ matrix + np.log(self._signal) - total[:, None])
            out[rows, :k] = np.maximum(signal, _TINY)
            out[rows, k:] = np.exp(relative).T
        return out

    def dataset_llr(
        self,
        table: FloatArray,
        index: IntArray,
        signs: FloatArray,
        offsets: IntArray,
        *,
        observed: bool = False,
    ) -> FloatArray:
        """Return Λ of datasets at every point, shape (n_segments, K).

        Parameters
        ----------
        table
            Result of :meth:`event_columns`.
        index, signs, offsets
            Rows of the table, one dataset after the other; their weights; and the positions in
            `index` at which datasets begin and end.
        observed
            True for data, whose auxiliary measurements are one; False for toys.

        Raises
        ------
        SampleError
            If an event has a weight other than one, because the likelihood is then not concave.
        """
        if not np.all(signs == 1):
            msg = (
                f"{self.name} profiles the backgrounds only for events of weight one, but these "
                "events have other weights; give unweighted events, or fit mixture_cost, which "
                "accepts weights ±1"
            )
            raise SampleError(msg)
        out = np.empty((len(offsets) - 1, len(self._points)))
        for row, (start, stop) in zip(out, pairwise(offsets), strict=True):
            rows = index[start:stop]
            measured = (
                np.ones(len(self.backgrounds)) if observed else self._auxiliary_measurements(rows)
            )
            row[:] = self._profile(table.take(rows, axis=0), measured).values
        return out

    def _profile(self, densities: FloatArray, measured: FloatArray) -> Profile:
        k, terms = len(self._points), self.terms
        profile = profile_norms(
            signal=densities[:, :k],
            backgrounds=densities[:, k:],
            expected=terms.expected,
            measured=measured,
            precision=self._precision,
        )
        total = terms.signal_at_reference + terms.expected.sum()
        return profile._replace(values=profile.values + total - self._signal)

    def _auxiliary_measurements(self, rows: IntArray) -> FloatArray:
        """Return the auxiliary measurements of a toy, computed from its events."""
        truth = np.array([self.true_norms.get(name, 1.0) for name in self.backgrounds])
        width = np.array([self.constraints.get(name, 0.0) for name in self.backgrounds])
        return truth + width * auxiliary_noise(rows, len(truth))

    def profile(self, data: Sample) -> Profile:
        """Return Λ and the fitted normalisations of a dataset at every point of the surface."""
        require_sample(data, "ProfiledMixture.profile()")
        data.require_data()
        return self._profile(self.event_columns(data), np.ones(len(self.backgrounds)))

    def cost(self, data: Sample) -> LikelihoodCost:
        """Return the cost in the parameters of interest, with the normalisations profiled.

        Use it with calibrations and Neyman belts.

        Raises
        ------
        SampleError
            If an event has a weight other than one.
        """
        require_sample(data, "ProfiledMixture.cost()")
        data.require_data()
        truth = [self.true_norms.get(name, 1.0) for name in self.backgrounds]
        return profile_cost(self, data, self.terms, truth)


def profile_grid(signal: Interpolation | ChebyshevBox) -> Interpolation | ChebyshevBox:
    """Return the interpolation of profiled surfaces Λ(θ), with as many points as they need.

    Examples
    --------
    >>> len(profile_grid(Interpolation(np.linspace(-1, 1, 5), "spline")).grid)
    41
    """
    if isinstance(signal, Interpolation):
        return Interpolation(np.linspace(*signal.range, 41), "spline")
    return finer(signal)


def auxiliary_noise(rows: IntArray, n: int) -> FloatArray:
    """Return deviations of auxiliary measurements in a toy, in units of their errors, shape (n,).

    The random seed is computed from the events of the toy.  Like the events, the measurements
    depend neither on the number of toys nor on the worker that generates the toy.

    Examples
    --------
    >>> bool(np.all(auxiliary_noise(np.array([3, 5]), 2) == auxiliary_noise(np.array([3, 5]), 2)))
    True
    """
    text = np.ascontiguousarray(rows, dtype=np.int64).tobytes()
    seed = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
    return np.random.default_rng(seed).normal(size=n)


def profile_cost(
    model: DatasetModel,
    data: Sample,
    terms: MixtureTerms,
    true_norms: Sequence[float],
    *,
    extended: bool = True,
) -> LikelihoodCost:
    """Return the cost in the parameters of interest, with all other parameters profiled.

    Parameters
    ----------
    model
        Model that profiles all other parameters.
    data
        Events of the dataset.
    terms
        Signal and backgrounds.
    true_norms
        Normalisations of the backgrounds in the toys.
    extended
        Whether the likelihood contains the Poisson term of the number of events.
    """
    rate = terms.rate if extended else None
    if isinstance(rate, Rate):
        # The mean yield of the toys, with which calibrations and belts check that they match.
        rate = rate.with_background(float(np.dot(true_norms, terms.expected)))
    return LikelihoodCost(
        dataset_surface(model, data),
        model.parameters,
        n_events=float(data.weights.sum()),
        rate=rate if isinstance(rate, Rate) else None,
        rate_in_surface=extended,
        reference=terms.reference,
        tag=model_tag(model),
    )


_STEPS = 100
# Limit of the squared Newton decrement, which is twice the gain in ln L of the last step; the
# remaining gain is at most twice the square of this limit.
_TOLERANCE = 1e-5
# Number of rows that are multiplied before a logarithm is taken, because logarithms take most time.
_ROWS = 4


class Profile(NamedTuple):
    """Maximum of a likelihood over the normalisations.

    Parameters
    ----------
    values
        Maximum of ln L at each θ, shape (K,).
    norms
        Normalisations at the maximum, shape (n_backgrounds, K).
    """

    values: FloatArray
    norms: FloatArray


def profile_norms(
    signal: FloatArray,
    backgrounds: FloatArray,
    expected: FloatArray,
    measured: FloatArray,
    precision: FloatArray,
) -> Profile:
    r"""Maximise a likelihood over normalisations :math:`n \ge 0`, in which it is concave.

    .. math:: \sum_i \ln\Big[s_{ik} + \sum_b n_b t_{ib}\Big] - \sum_b n_b \nu_b
              - \tfrac12 \sum_b \pi_b (n_b - a_b)^2

    Newton's method maximises this function for all points k together.  With one background, the
    slope is a falling convex function of n, and undamped Newton steps always approach the zero of
    the slope from below.  With several backgrounds, steps are damped by 1/(1 + δ) with the Newton
    decrement δ, as for self-concordant functions (Nesterov and Nemirovskii, 1994).

    Parameters
    ----------
    signal
        Densities s of the signal, shape (n_events, K), positive.
    backgrounds
        Densities t of the backgrounds, shape (n_events, n_backgrounds).
    expected
        Expected yields ν, shape (n_backgrounds,).
    measured, precision
        Auxiliary measurements a, and inverse squares π of their errors, shape (n_backgrounds,);
        π = 0 for a normalisation that is not measured.

    Raises
    ------
    FitError
        If the steps do not converge.

    Examples
    --------
    >>> profile = profile_norms(np.full((30, 1), 1e-9), np.full((30, 1), 20.0), np.array([20.0]),
    ...                         np.ones(1), np.zeros(1))
    >>> profile.norms.round(6)
    array([[1.5]])
    """
    n_backgrounds, k = backgrounds.shape[1], signal.shape[1]
    norms = np.repeat(measured.clip(min=0.0)[:, None], k, axis=1)
    products = (backgrounds[:, :, None] * backgrounds[:, None, :]).reshape(-1, n_backgrounds**2)
    # Avoids a division by zero in directions that no event constrains.
    floor = precision + 1e-12 * (1.0 + expected) ** 2
    for _ in range(_STEPS):
        inverse = backgrounds @ norms
        inverse += signal
        np.reciprocal(inverse, out=inverse)
        slope = backgrounds.T @ inverse - expected[:, None]
        slope -= precision[:, None] * (norms - measured[:, None])
        np.square(inverse, out=inverse)
        bend = (products.T @ inverse).T.reshape(k, n_backgrounds, n_backgrounds)
        bend[:, range(n_backgrounds), range(n_backgrounds)] += floor
        at_zero = (norms <= 0) & (slope <= 0)
        slope = np.where(at_zero, 0.0, slope)
        step = _solve(bend, slope, at_zero)
        decrement = np.sum(step * slope, axis=0)
        if n_backgrounds > 1:
            root = np.sqrt(decrement)
            step /= np.where(root > 0.25, 1.0 + root, 1.0)
        norms = np.maximum(norms + step, 0.0)
        if decrement.max(initial=0.0) < _TOLERANCE:
            break
    else:
        msg = (
            f"the normalisations did not converge in {_STEPS} steps; check the yields and the "
            "ratios of the backgrounds"
        )
        raise FitError(msg)
    values = _log_sum(signal + backgrounds @ norms) - expected @ norms
    values -= 0.5 * precision @ (norms - measured[:, None]) ** 2
    return Profile(values, norms)


def _solve(bend: FloatArray, slope: FloatArray, at_zero: BoolArray) -> FloatArray:
    """Return Newton steps (n_backgrounds, K), zero for normalisations that stay at zero."""
    if len(slope) == 1:
        alone: FloatArray = slope / bend[:, 0].T
        return alone
    free = ~at_zero.T
    matrix = np.where(free[:, :, None] & free[:, None, :], bend, np.eye(len(slope)))
    steps = np.linalg.solve(matrix, slope.T[:, :, None])[:, :, 0].T
    return np.asarray(steps, dtype=np.float64)


def _log_sum(densities: FloatArray) -> FloatArray:
    """Return the sum of the logarithms of each column, (K,)."""
    n = len(densities) - len(densities) % _ROWS
    # Densities relative to the reference are of order one.  If some are not, their product could
    # overflow, so a logarithm of each is taken.
    usual = n and densities.min() > 1e-70 and densities.max() < 1e70
    if not usual:
        return np.asarray(np.log(densities).sum(axis=0))
    together = densities[:n].reshape(_ROWS, n // _ROWS, -1)
    product = together[0] * together[1]
    product *= together[2]
    product *= together[3]
    return np.asarray(np.log(product).sum(axis=0) + np.log(densities[n:]).sum(axis=0))
