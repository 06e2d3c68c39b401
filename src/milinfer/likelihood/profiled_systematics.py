"""A model of whole datasets with signal, backgrounds and profiled nuisance parameters.

Use :class:`ProfiledSystematics` for toys, and
:class:`milinfer.likelihood.systematics.SystematicCost` for one fit.  The surfaces Λ(θ) of
``ProfiledSystematics`` depend on the parameters of interest only, so calibrations, Neyman belts and
coverage accept them like the surfaces of any other model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import xlogy

from milinfer.exceptions import FitError, ModelError, ParameterError, SampleError
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.models import DatasetModel, model_tag
from milinfer.likelihood.profiled_mixture import (
    auxiliary_noise,
    profile_cost,
    profile_grid,
)
from milinfer.likelihood.rate import Rate
from milinfer.likelihood.scans import profiled_costs, profiling_minuit
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.likelihood.systematics import LUMINOSITY, SystematicCost, SystematicTerms
from milinfer.samples.argument_checks import require_sample
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray, IntArray, Point
from milinfer.utils.arguments import short_repr
from milinfer.utils.keywords import did_you_mean

if TYPE_CHECKING:
    from milinfer.likelihood.nuisance_profiles import ProfileProblem

__all__ = ["NuisanceProfile", "ProfiledSystematics"]

_CHUNK = 65_536
# Limits of the luminosity, which is free in likelihoods of the shape, for datasets without events.
_LEAST = 1e-10


class NuisanceProfile(NamedTuple):
    """Maximum of a likelihood over all parameters except the parameters of interest.

    Parameters
    ----------
    points
        Values of the parameters of interest, shape (G, n_parameters).
    values
        Profiled Λ at these points, shape (G,).
    names
        Names of the profiled parameters.
    places
        Values of the profiled parameters at the maximum, shape (G, n_others).
    """

    points: FloatArray
    values: FloatArray
    names: tuple[str, ...]
    places: FloatArray


@dataclass(frozen=True, eq=False)
class ProfiledSystematics(DatasetModel):
    """Compute the likelihood of datasets, maximised over normalisations and nuisance parameters.

    For data, the auxiliary measurements are the values in the constraints of the terms.  In toys
    they fluctuate around the true values by their errors, because coverage refers to repetitions of
    the whole experiment.  The fluctuation is computed from the events of the toy, so toys with the
    same seed are always the same.

    To generate toys at other values of the nuisance parameters, pass a pool of events from varied
    samples to ``Toys``, and the values as `truth` here.  Do not reweight events with the learned
    response, because such toys cannot show the errors of the learned response.

    Without `extended` the likelihood uses the shape only and ignores the number of events.
    Generate toys for this likelihood with ``Toys(…, n_events=…, poisson=True)``.

    Parameters
    ----------
    terms
        Processes, responses, uncertainties and constraints, from
        :func:`~milinfer.likelihood.systematics.systematic_terms`.
    name
        Name of the method in tables and figures.
    truth
        True values of normalisations, nuisance parameters and luminosity in the toys, by name.  The
        auxiliary measurements fluctuate around these values.  Default: the starting values of the
        cost.
    grid
        Parameter points of the surfaces Λ(θ), and the interpolation between them; default: a spline
        through 41 points, or a box with more points in several parameters.
    extended
        Whether the likelihood contains the Poisson term of the number of events.

    Raises
    ------
    ParameterError
        If a name in `truth` is not a parameter.
    ModelError
        If a response has products of three nuisance parameters, which toys do not support.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_terms
    >>> from milinfer.toys.toys import Toys
    >>> terms = systematic_terms(gaussian.MeanModel(), rate=80.0, responses={}, reference=0.0,
    ...     uncertainties=[NormalisationUncertainty("efficiency", {"signal": (0.9, 1.1)})])
    >>> toys = Toys(gaussian.samples(10_000, [0.0], seed=1), n_events=80, seed=2, poisson=True)
    >>> toys.run([ProfiledSystematics(terms)], 0.0, 100)["profiled"].values.shape
    (100, 41)
    """

    terms: SystematicTerms
    name: str = "profiled"
    truth: Point = field(default_factory=dict)
    grid: Interpolation | ChebyshevBox | None = None
    extended: bool = True

    def __post_init__(self) -> None:
        terms: object = self.terms
        if not isinstance(terms, SystematicTerms):
            msg = (
                f"ProfiledSystematics() takes the terms of a likelihood, not {short_repr(terms)}; "
                "make them with systematic_terms(...), or use cost.terms"
            )
            raise ModelError(msg)
        names = self._others
        for name in self.truth:
            if name not in names:
                msg = f"truth= names {name}; the parameters to profile are {', '.join(names)}"
                raise ParameterError(msg + did_you_mean(name, list(names)))
        for process, response in self.terms.responses.items():
            most = np.count_nonzero(response.terms.exponents, axis=1).max()
            if most > 2:
                msg = (
                    f"the response of {process} has terms of {most} nuisance parameters; toys need "
                    "one or two in a term; give cross_terms= of pairs"
                )
                raise ModelError(msg)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters of interest."""
        return self.terms.parameters

    @cached_property
    def _others(self) -> tuple[str, ...]:
        """Names of the profiled parameters, in the order of the kernel."""
        lumi = (LUMINOSITY,) if self.terms.luminosity else ()
        return (*self.terms.nuisances, *self.terms.mixture.norms, *lumi)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the model of the signal reads."""
        return model_tag(self.terms.mixture.model).feature_names

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Fingerprints of the training events of all models."""
        return self.terms.trained_on

    @property
    def digest(self) -> str:
        """Hash of all models, yields, uncertainties and constraints."""
        return self.terms.digest if self.extended else f"{self.terms.digest}-shape"

    @cached_property
    def interpolation(self) -> Interpolation | ChebyshevBox:
        """Points at which Λ is computed, and the interpolation between them."""
        if self.grid is not None:
            return self.grid
        return profile_grid(self.terms.mixture.model.interpolation)

    @cached_property
    def _points(self) -> FloatArray:
        return np.asarray(self.interpolation.grid).reshape(-1, len(self.parameters))

    @cached_property
    def _signal(self) -> FloatArray:
        """ν_s at the points, shape (G,)."""
        return self.terms.mixture.signal(self._points)

    @cached_property
    def _middle(self) -> int:
        """Index of the point that is nearest to the reference."""
        return int(np.argmin(np.sum((self._points - self.terms.mixture.reference) ** 2, axis=1)))

    @cached_property
    def _start(self) -> FloatArray:
        """True values of the profiled parameters."""
        return np.array([self.truth.get(n, self.terms.start[n]) for n in self._others])

    @property
    def profiled_truth(self) -> dict[str, float]:
        """True values in toys of nuisance parameters, normalisations and luminosity, by name."""
        return dict(zip(self._others, self._start.tolist(), strict=True))

    @cached_property
    def _auxiliary(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Measured values, errors and precisions of the profiled parameters."""
        by_name = {c.name: c for c in self.terms.constraints}
        measured = np.array(
            [by_name[n].measured if n in by_name else self.terms.start[n] for n in self._others]
        )
        errors = np.array([by_name[n].error if n in by_name else 0.0 for n in self._others])
        precision = np.divide(1.0, errors**2, out=np.zeros_like(errors), where=errors > 0)
        return measured, errors, precision

    @cached_property
    def _problem(self) -> ProfileProblem:
        from milinfer.likelihood.nuisance_profiles import ProfileProblem

        terms, points = self.terms, self._points
        n_points = len(points)
        starts, sides = [0], [0]
        mixing, first, second, first_power, second_power = [], [], [], [], []
        for process in terms.processes:
            response = terms.responses.get(process)
            if response is None:
                starts.append(starts[-1])
                sides.append(sides[-1])
                continue
            own, places = response.terms, terms.places[process]
            starts.append(starts[-1] + own.n_columns)
            code4 = own.interpolation == "code4"
            sides.append(sides[-1] + (len(own.nuisances) if code4 else 0))
            mixes = np.array([own.mixing(terms.own_theta(process, p)) for p in points])
            mixing.append(np.repeat(mixes, own.n_terms, axis=1))
            for _ in range(mixes.shape[1]):
                for row in own.exponents:
                    which = np.flatnonzero(row)
                    first.append(places[which[0]])
                    first_power.append(row[which[0]])
                    second.append(places[which[1]] if len(which) > 1 else -1)
                    second_power.append(row[which[1]] if len(which) > 1 else 0)
        of_all = terms.yield_problem
        # (G, S, n_monomials)
        monomials = np.multiply.reduce(points[:, None, None] ** of_all.exponents, axis=3)
        singles = np.einsum("skcdm,gsm->gskcd", of_all.singles, monomials)
        pairs = np.einsum("smij,gsm->gsij", of_all.pairs, monomials)
        limits = [terms.limits[n] for n in self._others]
        if not self.extended:
            # The maximum over a free luminosity is the likelihood of the shape, up to a constant.
            limits = [*limits[: len(limits) - terms.luminosity], (_LEAST, np.inf)]
        low, high = np.array(limits, dtype=np.float64).reshape(-1, 2).T
        return ProfileProblem(
            starts=np.array(starts, dtype=np.int64),
            mixing=np.concatenate([np.empty((n_points, 0)), *mixing], axis=1),
            first=np.array(first, dtype=np.int64),
            second=np.array(second, dtype=np.int64),
            first_power=np.array(first_power, dtype=np.int64),
            second_power=np.array(second_power, dtype=np.int64),
            sides=np.array(sides, dtype=np.int64),
            yields=np.column_stack([self._signal, np.tile(terms.mixture.expected, (n_points, 1))]),
            counts=of_all.counts,
            places=of_all.places,
            limits=of_all.limits,
            singles=np.ascontiguousarray(singles[..., None]),
            pairs=np.ascontiguousarray(pairs[:, :, None]),
            norm_index=of_all.norm_index,
            norm_up=of_all.norm_up,
            norm_down=of_all.norm_down,
            low=np.ascontiguousarray(low),
            high=np.ascontiguousarray(high),
            luminosity=terms.luminosity or not self.extended,
        )

    def event_columns(self, sample: Sample) -> FloatArray:
        """Return the log densities of signal and backgrounds, and the columns of responses.

        Returns
        -------
        ndarray
            Log density of the signal at each of G points, log densities of the backgrounds, and
            response columns, shape (n_events, G + n_backgrounds + n_columns).
        """
        mixture = self.terms.mixture
        of_model, g = mixture.model.interpolation, len(self._points)
        # The interpolation is linear in the values at the points.
        matrix = of_model.values_at(np.eye(len(of_model.grid)), self.interpolation.grid)
        b = len(mixture.components)
        n_columns = sum(r.terms.n_columns for r in self.terms.responses.values())
        out = np.empty((len(sample), g + b + n_columns))
        for start in range(0, len(sample), _CHUNK):
            rows = slice(start, start + _CHUNK)
            part = sample.take(rows)
            total, relative = mixture.log_reference(part)
            llr = mixture.model.event_llr(part).astype(np.float64, copy=False)
            out[rows, :g] = llr @ matrix + np.log(self._signal) - total[:, None]
            out[rows, g : g + b] = relative.T
            stop = g + b
            for process in self.terms.processes:
                response = self.terms.responses.get(process)
                if response is not None:
                    columns = response.table(part).columns
                    out[rows, stop : stop + columns.shape[1]] = columns
                    stop += columns.shape[1]
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
        """Return Λ of datasets at every point, shape (n_segments, G).

        Parameters
        ----------
        table
            Result of :meth:`event_columns`.
        index, signs, offsets
            Rows of the table, one dataset after the other; their weights; and the positions in
            `index` at which datasets begin and end.
        observed
            True for data, whose auxiliary measurements are used; False for toys.

        Raises
        ------
        SampleError
            If an event has a weight other than one.
        FitError
            If a maximum is not found.
        """
        return self._profiles(table, index, signs, offsets, observed=observed)[0]

    def _profiles(
        self,
        table: FloatArray,
        index: IntArray,
        signs: FloatArray,
        offsets: IntArray,
        *,
        observed: bool,
    ) -> tuple[FloatArray, FloatArray]:
        from milinfer.likelihood.nuisance_profiles import profile_datasets

        if not np.all(signs == 1):
            msg = (
                f"{self.name} profiles nuisance parameters only for events of weight one, but "
                "these events have other weights; give unweighted events, or fit systematic_cost, "
                "which accepts weights"
            )
            raise SampleError(msg)
        measured, _, precision = self._auxiliary
        n_sets = len(offsets) - 1
        centres = np.tile(measured, (n_sets, 1))
        if not observed:
            for row, start, stop in zip(centres, offsets[:-1], offsets[1:], strict=True):
                row[:] = self._measurements(index[start:stop])
        # The search starts at the measured values for data, and at the true values for toys.
        first = np.where(precision > 0, measured, self._start) if observed else self._start
        problem = self._problem
        starts = np.tile(first, (n_sets, 1))
        mixture = self.terms.mixture
        total = mixture.signal_at_reference + mixture.expected.sum()
        constants: float | FloatArray = total
        n_others = len(self._others)
        if not self.extended:
            kept, n_events = n_others - self.terms.luminosity, np.diff(offsets)[:, None]
            starts = np.hstack([starts[:, :kept], n_events / total])
            centres = np.hstack([centres[:, :kept], np.ones((n_sets, 1))])
            precision = np.append(precision[:kept], 0.0)
            constants = n_events * (1 + np.log(total)) - xlogy(n_events, n_events)
        starts = np.clip(starts, problem.low, problem.high)
        values, places, status = profile_datasets(
            problem,
            table,
            index,
            offsets,
            centres,
            precision,
            starts,
            self._middle,
        )
        if status.any():
            d = int(np.argmax(status > 0))
            at = self._points[status[d] - 1].tolist()
            msg = (
                f"{self.name}: the maximum over nuisance parameters was not found for dataset {d} "
                f"at {dict(zip(self.parameters, at, strict=True))}; check the responses with "
                "diagnose_response, and the constraints"
            )
            raise FitError(msg)
        if not self.extended and self.terms.luminosity:
            places[..., -1] = measured[-1]
        return values + constants, places[..., :n_others]

    def _measurements(self, rows: IntArray) -> FloatArray:
        """Return the auxiliary measurements of a toy, computed from its events."""
        _, errors, _ = self._auxiliary
        scattered: FloatArray = self._start + errors * auxiliary_noise(rows, len(errors))
        return scattered

    def profile(self, data: Sample) -> NuisanceProfile:
        """Return Λ of a dataset at every point of the surface, and the profiled parameters there.

        Raises
        ------
        SampleError
            If an event has a weight other than one.
        FitError
            If a maximum is not found.
        """
        require_sample(data, "ProfiledSystematics.profile()")
        data.require_data()
        table = self.event_columns(data)
        bounds = np.array([0, len(data)])
        values, places = self._profiles(
            table, np.arange(len(data)), data.weights, bounds, observed=True
        )
        return NuisanceProfile(self._points, values[0], self._others, places[0])

    def cost(self, data: Sample) -> LikelihoodCost:
        """Return the cost in the parameters of interest, with all other parameters profiled.

        Use it with calibrations and Neyman belts.

        Raises
        ------
        SampleError
            If an event has a weight other than one, or if the likelihood uses the shape only and
            there are no events.
        """
        require_sample(data, "ProfiledSystematics.cost()")
        data.require_data()
        mixture = self.terms.mixture
        if not len(data) and not self.extended:
            msg = (
                f"{data.label} contains no events, so a shape-only likelihood is undefined; use "
                "extended=True"
            )
            raise SampleError(msg)
        norms = [self.truth.get(name, 1.0) for name in mixture.norms]
        return profile_cost(self, data, mixture, norms, extended=self.extended)

    def profiled(self, cost: SystematicCost) -> LikelihoodCost:
        """Return a cost in the parameters of interest, with the others profiled by Minuit.

        :meth:`cost` is faster but needs events of weight one.  Use this method for weighted events,
        such as Asimov data (:func:`~milinfer.likelihood.asimov.asimov_cost`).  Calibrations and
        Neyman belts accept the results of both methods.

        Parameters
        ----------
        cost
            Cost of a dataset with the same likelihood as :attr:`terms`; the results of auxiliary
            measurements may differ.

        Raises
        ------
        ParameterError
            If the cost has other parameters than :attr:`terms`.
        FitError
            If a fit is not valid; the message names the parameter point.
        """
        if cost.terms.names != self.terms.names or cost.extended != self.extended:
            kinds = ["extended" if e else "shape-only" for e in (cost.extended, self.extended)]
            msg = (
                f"the cost is {kinds[0]} and has the parameters {', '.join(cost.terms.names)}, but "
                f"{self.name} profiles a likelihood that is {kinds[1]}, with "
                f"{', '.join(self.terms.names)}; make both from the same terms and extended="
            )
            raise ParameterError(msg)
        m = profiling_minuit(cost, self.parameters)
        values = -profiled_costs(m, self.parameters, self._points, self._middle, self.name) / 2
        mixture, rate = self.terms.mixture, self.terms.mixture.rate
        norms = [self.truth.get(name, 1.0) for name in mixture.norms]
        return LikelihoodCost(
            self.interpolation.surface(values),
            self.parameters,
            n_events=cost.n_events,
            rate=rate.with_background(float(np.dot(norms, mixture.expected)))
            if isinstance(rate, Rate) and self.extended
            else None,
            rate_in_surface=self.extended,
            reference=mixture.reference,
            tag=model_tag(self),
        )
