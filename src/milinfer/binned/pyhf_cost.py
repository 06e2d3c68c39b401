"""Cost of any pyhf model for iminuit.  Normalisation factors may be functions of parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from iminuit.cost import CHISQUARE
from numpy.typing import ArrayLike
from scipy.special import gammaln, xlogy
from scipy.stats import norm

from milinfer.binned.workspaces import model_and_data, unfillable_bins
from milinfer.exceptions import ConfigurationError, ParameterError, TemplateError
from milinfer.likelihood.auxiliary import AuxiliaryMeasurement
from milinfer.likelihood.named_cost import NamedCost
from milinfer.likelihood.published_parts import (
    ArrayStore,
    ParameterFacts,
    PublishedTerm,
    Role,
    published_terms,
)
from milinfer.typing import FloatArray, Point
from milinfer.utils.display import ranges, shortened
from milinfer.utils.keywords import did_you_mean
from milinfer.utils.points import format_point

__all__ = ["PyhfCost", "Weights"]

Weights = Callable[[FloatArray], Mapping[str, float]]
"""θ of shape (n_parameters,) → value of each tied normalisation factor."""

Limits = Mapping[str, tuple[float, float]]

# More parameters than this make a message unreadable.
_MAX_NAMED = 8


class _Tie(NamedTuple):
    """Parameters of which normalisation factors are functions."""

    parameters: tuple[str, ...]
    weights: Weights
    limits: Limits
    start: Point


class _Constraint(NamedTuple):
    """Constraint term of one parameter by one auxiliary datum, given by their numbers in pyhf.

    A term is normal with the width `scale`, or Poisson with `scale` times the parameter as mean.
    """

    parameter: int
    datum: int
    is_normal: bool
    scale: float

    def measurement(self, auxiliary: FloatArray) -> tuple[float, float]:
        """Measured value of the parameter and its error, of the auxiliary data of the model."""
        observed = float(auxiliary[self.datum])
        if self.is_normal:
            return observed, self.scale
        return observed / self.scale, self.scale**-0.5

    def twice_nll(self, value: float, observed: float) -> float:
        """−2 ln of the term, with its constants, as pyhf has it."""
        if self.is_normal:
            return -2.0 * float(norm.logpdf(observed, value, self.scale))
        mean = self.scale * value
        return 2.0 * float(mean - xlogy(observed, mean) + gammaln(observed + 1.0))


class PyhfCost(NamedCost):
    r"""Cost :math:`-2 \ln L` of a pyhf model for iminuit, constraint terms included.

    The cost has the same value as ``pyhf.infer.mle.twice_nll``, with all constants of the Poisson
    and Gaussian terms.  Its ``errordef`` is 1.  The Poisson terms are summed so that no digits are
    lost in bins with many events.

    Parameters have pyhf's names and are scalars: a parameter with an entry for each bin becomes
    ``name[0]``, ``name[1]``, ….  Minuit takes pyhf's bounds as limits.  Minuit does not read
    starting values and fixed parameters from a cost; :func:`milinfer.likelihood.fits.minuit` sets
    them.

    pyhf's numpy backend has no derivatives, so there is no gradient.

    Parameters
    ----------
    model
        A ``pyhf.Model``; its constraint terms are included.
    data
        Counts in the order of ``model.config.channels``, shape (n_bins,), or counts followed by the
        auxiliary data, shape (n_bins + n_auxdata,).  If only counts are given, the nominal
        auxiliary data of the model are used.

    Raises
    ------
    TemplateError
        If the data do not fit the model, are negative or not finite, or have events in a bin in
        which the model expects none for any parameters.  Also if the cost is called with parameters
        for which the expected yield of a bin is negative or not a number.  For such parameters
        pyhf's likelihood would be NaN or, in a bin without events, meaningless.

    Examples
    --------
    >>> import pyhf
    >>> from milinfer.likelihood.fits import minuit
    >>> model = pyhf.simplemodels.uncorrelated_background(
    ...     signal=[12.0, 11.0], bkg=[50.0, 52.0], bkg_uncertainty=[3.0, 7.0])
    >>> cost = PyhfCost(model, [62.0, 63.0])
    >>> list(cost.start)
    ['mu', 'uncorr_bkguncrt[0]', 'uncorr_bkguncrt[1]']
    >>> m = minuit(cost).migrad()
    >>> print(f"{m.values['mu']:.2f} ± {m.errors['mu']:.2f}")
    1.00 ± 0.56
    """

    def __init__(self, model: Any, data: ArrayLike) -> None:
        self._initialise(model, data, None)

    @classmethod
    def tied(
        cls,
        model: Any,
        data: ArrayLike,
        *,
        parameters: Sequence[str],
        weights: Weights,
        limits: Limits | None = None,
        start: Point | None = None,
        fixed: Sequence[str] = (),
    ) -> PyhfCost:
        """Make a cost in which normalisation factors are functions of parameters θ.

        EFT morphing needs this: the workspace has a sample for each point k of the morphing basis,
        and the factor of this sample is a function w_k(θ).  In pyhf 0.7 a factor cannot be a
        function of other parameters.

        Parameters
        ----------
        model
            A ``pyhf.Model``.
        data
            As for the class.
        parameters
            Names of the parameters θ.  They are the first parameters of the cost.
        weights
            Function that computes the tied factors.  Its argument is θ as an array of shape
            (n_parameters,), and it returns a mapping from the name of each factor to its value.
        limits
            Limits of the parameters θ, by name.
        start
            Starting values of the parameters θ; default: 0, or the value inside the limits that is
            nearest to 0.
        fixed
            Parameters to fix at their starting values, in addition to those that the model fixes.

        Raises
        ------
        TemplateError
            As for the class; and if a tied factor is not a free ``normfactor`` of the model.
        ParameterError
            If a parameter θ has the same name as a parameter of the model.

        Examples
        --------
        >>> import pyhf
        >>> model = pyhf.Model({"channels": [{"name": "SR", "samples": [
        ...     {"name": name, "data": data, "modifiers": [
        ...         {"name": f"w_{name}", "type": "normfactor", "data": None}]}
        ...     for name, data in (("sm", [20.0, 10.0]), ("bsm", [1.0, 5.0]))]}]}, poi_name=None)
        >>> cost = PyhfCost.tied(model, [20, 12], parameters=["c"],
        ...                      weights=lambda c: {"w_sm": 1.0, "w_bsm": c[0] ** 2})
        >>> list(cost.start), cost.expected(1.0)["SR"].tolist()
        (['c'], [21.0, 15.0])
        """
        names = tuple(parameters)
        inside = {n: (limits or {}).get(n, (-np.inf, np.inf)) for n in names}
        values = {n: float(np.clip((start or {}).get(n, 0.0), *inside[n])) for n in names}
        cost = cls.__new__(cls)
        cost._initialise(model, data, _Tie(names, weights, inside, values))
        unknown = [name for name in fixed if name not in cost.start]
        if unknown:
            msg = (
                f"{unknown[0]} cannot be fixed; the parameters of the cost are "
                f"{', '.join(cost.start)}"
            )
            raise ParameterError(msg)
        cost._fixed = tuple(dict.fromkeys([*cost._fixed, *fixed]))
        return cost

    @classmethod
    def from_workspace(
        cls,
        workspace: Mapping[str, Any],
        *,
        measurement: str | None = None,
        asimov: Point | None = None,
    ) -> PyhfCost:
        """Make the cost of a workspace, with its observed data or with Asimov data.

        Parameters
        ----------
        workspace
            HistFactory JSON; :func:`milinfer.binned.workspaces.read_workspace` reads and checks a
            file.
        measurement
            Name of the measurement; default: the first.
        asimov
            Parameter values for an Asimov dataset: the data and auxiliary data expected at these
            values replace the observed data.  Parameters that are not named have their starting
            values, so that ``{}`` gives the nominal Asimov dataset.  Default: the observed data are
            used.

        Raises
        ------
        WorkspaceError
            If the workspace is not valid, or pyhf cannot build the model of that measurement.
        TemplateError
            As for the class.
        ParameterError
            If `asimov` names parameters that the model does not have, or a parameter starts outside
            its bounds.

        Examples
        --------
        >>> sample = {"name": "s", "data": [5.0], "modifiers": [
        ...     {"name": "mu", "type": "normfactor", "data": None}]}
        >>> workspace = {"channels": [{"name": "SR", "samples": [sample]}],
        ...              "observations": [{"name": "SR", "data": [7.0]}],
        ...              "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        ...              "version": "1.0.0"}
        >>> PyhfCost.from_workspace(workspace).data.tolist()
        [7.0]
        >>> PyhfCost.from_workspace(workspace, asimov={"mu": 2.0}).data.tolist()
        [10.0]
        """
        model, data = model_and_data(workspace, measurement)
        if asimov is not None:
            # Of no data, because the observed ones may lie where nothing is expected.
            data = asimov_data(cls(model, np.zeros(model.config.nmaindata)), asimov)
        return cls(model, data)

    def _initialise(self, model: Any, data: ArrayLike, tie: _Tie | None) -> None:
        if model.batch_size is not None:
            msg = (
                "a pyhf model with batch_size contains several likelihoods; build it without "
                "batch_size"
            )
            raise TemplateError(msg)
        self.model = model
        self._take_data(data)
        self._tie = tie
        config = model.config
        names = list(config.par_names)
        self._init = np.array(config.suggested_init(), dtype=np.float64)
        limits = [(float(low), float(high)) for low, high in config.suggested_bounds()]
        self._tied = tied = () if tie is None else self._tied_names(tie, names)
        self._tied_index = np.array([names.index(n) for n in tied], dtype=np.int64)
        free = [k for k, name in enumerate(names) if name not in tied]
        self._free_index = np.array(free, dtype=np.int64)
        self._fixed = tuple(names[k] for k in free if config.suggested_fixed()[k])
        self._limits: dict[str, tuple[float, float]] = dict(tie.limits) if tie else {}
        self._limits |= {names[k]: limits[k] for k in free}
        self._constraints = _constraint_terms(config, names)
        self._dropped: tuple[str, ...] = ()
        self._start = dict(tie.start) if tie else {}
        self._start |= {names[k]: float(self._init[k]) for k in free}
        for name, (low, high) in self._limits.items():
            if not low <= self._start[name] <= high:
                msg = f"{name} starts at {self._start[name]:g}, outside its bounds [{low}, {high}]"
                raise ParameterError(msg)
        super().__init__(dict(self._limits), 0)

    def _take_data(self, data: ArrayLike) -> None:
        self.data = _checked_data(self.model, data)
        n_bins = self.model.config.nmaindata
        self._counts, self._auxiliary = self.data[:n_bins], self.data[n_bins:]
        logs = xlogy(self._counts, self._counts) - self._counts - gammaln(self._counts + 1.0)
        self._saturated = -2.0 * float(logs.sum())

    def _tied_names(self, tie: _Tie, names: Sequence[str]) -> tuple[str, ...]:
        config = self.model.config
        tied = tuple(tie.weights(np.array([tie.start[n] for n in tie.parameters])))
        factors = {name for name, kind in config.modifiers if kind == "normfactor"}
        for name in tied:
            if name not in factors:
                msg = (
                    f"weights= gives a value to {name!r}, which is not a normfactor of the model; "
                    f"it has {', '.join(sorted(factors)) or 'none'}"
                )
                raise TemplateError(msg)
        for name in tie.parameters:
            if name in names and name not in tied:
                msg = (
                    f"{name} is in parameters=, but also a parameter of the pyhf model; rename one "
                    "of them"
                )
                raise ParameterError(msg)
        return tied

    def __repr__(self) -> str:
        counts = f"{self._counts.sum():g} events in {len(self._counts)} bins"
        channels = shortened(list(self.model.config.channels))
        return f"PyhfCost({channels}: {counts}, {ranges(self._limits)})"

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Limits of each parameter, by name: those given for θ, or pyhf's bounds."""
        return dict(self._limits)

    @property
    def start(self) -> dict[str, float]:
        """Starting value of each parameter, by name: the one given for θ, or pyhf's init."""
        return dict(self._start)

    @property
    def fixed(self) -> tuple[str, ...]:
        """Names of the parameters that are fixed at their starting values."""
        return self._fixed

    @property
    def constrained(self) -> tuple[str, ...]:
        """Names of the parameters whose constraint term is part of this cost."""
        return tuple(name for name in self._constraints if name not in self._dropped)

    @property
    def constraints(self) -> tuple[AuxiliaryMeasurement, ...]:
        """Auxiliary measurements in this cost; those of fixed parameters are left out.

        If the measurement is a count whose mean is the parameter times ``scale``, its error is
        1/√scale.  In pyhf this is called the width of the parameter.
        """
        return tuple(
            AuxiliaryMeasurement(name, *self._constraints[name].measurement(self._auxiliary))
            for name in self.constrained
            if name not in self._fixed
        )

    @property
    def auxiliary_widths(self) -> tuple[float | None, ...]:
        """Width of each Gaussian auxiliary datum, and None for each count, in pyhf's order."""
        terms = sorted(self._constraints.values(), key=lambda term: term.datum)
        return tuple(term.scale if term.is_normal else None for term in terms)

    @property
    def counted(self) -> tuple[str, ...]:
        """Names in :attr:`constrained` whose auxiliary measurement is a count (Poisson)."""
        return tuple(n for n in self.constrained if not self._constraints[n].is_normal)

    @property
    def parameter_facts(self) -> dict[str, ParameterFacts]:
        """Role, starting value and limits of every parameter, by name."""
        of_interest = [self.model.config.poi_name] if self._tie is None else self._tie.parameters

        def role(name: str) -> Role:
            if name in of_interest:
                return "interest"
            return "nuisance" if name in self._constraints else "normalisation"

        return {
            name: ParameterFacts(
                role=role(name),
                start=start,
                low=self._limits[name][0],
                high=self._limits[name][1],
                fixed=name in self._fixed,
            )
            for name, start in self._start.items()
        }

    def without_constraints(self, names: Iterable[str]) -> PyhfCost:
        """Return the same cost without the constraint terms of some parameters.

        Use this if you add a second cost that contains the same constraint terms, because an
        auxiliary measurement must be included only once.

        Parameters
        ----------
        names
            Names of parameters in :attr:`constrained`.

        Raises
        ------
        ParameterError
            If the cost has no constraint term of one of the parameters.

        Examples
        --------
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([12.0], [50.0], [5.0])
        >>> cost = PyhfCost(model, [60.0])
        >>> cost.constrained
        ('uncorr_bkguncrt[0]',)
        >>> free = cost.without_constraints(cost.constrained)
        >>> free.constrained, bool(np.isclose(free(0.0, 1.2), free(10 / 12, 1.0)))
        ((), True)
        """
        dropped = (names,) if isinstance(names, str) else tuple(names)
        self._require_constrained(dropped)
        free = copy.copy(self)
        free._dropped = tuple(dict.fromkeys([*self._dropped, *dropped]))
        return free

    def with_data(self, data: ArrayLike) -> PyhfCost:
        """Return the same cost with other data, without building the model again.

        Parameters
        ----------
        data
            As for the class.  Include the auxiliary data if they differ from the nominal auxiliary
            data.

        Raises
        ------
        TemplateError
            As for the class.

        Examples
        --------
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([12.0], [50.0], [5.0])
        >>> PyhfCost(model, [60.0]).with_data([58.0, 102.0]).data.tolist()
        [58.0, 102.0]
        """
        other = copy.copy(self)
        other._take_data(data)
        return other

    def asimov(self, **values: float) -> PyhfCost:
        """Return the same cost with the Asimov data of a point, auxiliary data included.

        Parameters
        ----------
        **values
            Values of the parameters at the point.  Parameters that are not named have the value in
            :attr:`start`.  If a name is not a Python name, use a dictionary:
            ``cost.asimov(**{"gamma[0]": 1.1})``.

        Raises
        ------
        ParameterError
            If the cost does not have a parameter that is named.
        TemplateError
            If the model has negative yields at the point.

        Examples
        --------
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([12.0], [50.0], [5.0])
        >>> PyhfCost(model, [60.0]).asimov(mu=0.5).data.tolist()
        [56.0, 100.0]
        """
        return self.with_data(asimov_data(self, values))

    def measuring(self, **measured: float) -> PyhfCost:
        """Return the same cost with other results of auxiliary measurements, for example for toys.

        Parameters
        ----------
        **measured
            Measured values of parameters in :attr:`constrained`.  If the measurement is a count,
            the new count is the given value times the count that is expected if the parameter is 1.

        Raises
        ------
        ParameterError
            If the cost has no constraint term of one of the parameters.

        Examples
        --------
        >>> import pyhf
        >>> sample = {"name": "b", "data": [50.0], "modifiers": [
        ...     {"name": "jes", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}}]}
        >>> model = pyhf.Model({"channels": [{"name": "SR", "samples": [sample]}]}, poi_name=None)
        >>> cost = PyhfCost(model, [50.0])
        >>> round(cost.measuring(jes=1.0)(jes=0.0) - cost(jes=0.0), 9)
        1.0
        """
        self._require_constrained(measured)
        data = self.data.copy()
        for name, value in measured.items():
            term = self._constraints[name]
            auxiliary = value if term.is_normal else term.scale * value
            data[self.model.config.nmaindata + term.datum] = auxiliary
        return self.with_data(data)

    def published(self, arrays: ArrayStore) -> PublishedTerm:
        """Write the workspace as a term of a published likelihood, which pyhf evaluates.

        Parameters
        ----------
        arrays
            Store to which the arrays of this term are added.

        Raises
        ------
        ConfigurationError
            If a normalisation factor is a function of parameters that is not a polynomial, or the
            model has modifiers that HistFactory does not have.
        """
        polynomials = [] if self._tie is None else getattr(self._tie.weights, "polynomials", None)
        if polynomials is None:
            msg = (
                f"a PyhfCost in which {', '.join(self._tied)} is your own function cannot be "
                "published; the factors must be polynomials, as in costs of templates and of "
                "milinfer.import_workspace"
            )
            raise ConfigurationError(msg)
        spec, config = self.model.spec, self.model.config
        foreign = {kind for _, kind in config.modifiers} - _histfactory_modifiers()
        if foreign:
            msg = (
                f"a workspace with modifiers {', '.join(sorted(foreign))} cannot be published, "
                "because pyhf alone does not define these modifiers; omit this term"
            )
            raise ConfigurationError(msg)
        observed = [
            {"name": name, "data": self._counts[part].tolist()}
            for name, part in config.channel_slices.items()
        ]
        settings = {"poi": config.poi_name or "", "parameters": spec.get("parameters", [])}
        return PublishedTerm(
            {
                "kind": "pyhf",
                "parameters": list(self._start),
                "workspace": {
                    "channels": spec["channels"],
                    "observations": observed,
                    "measurements": [{"name": "milinfer", "config": settings}],
                    "version": "1.0.0",
                },
                "modifier_settings": self.model.config.modifier_settings,
                "auxiliary": self._auxiliary.tolist(),
                "ties": [
                    {
                        "parameters": [*basis.parameters],
                        "factors": [*factors],
                        "exponents": arrays.add(f"tie{k}.exponents", basis.exponents),
                        "coefficients": arrays.add(f"tie{k}.coefficients", coefficients),
                    }
                    for k, (basis, factors, coefficients) in enumerate(polynomials)
                ],
                "left_out": [
                    {
                        "parameter": name,
                        "datum": self._constraints[name].datum,
                        "kind": "normal" if self._constraints[name].is_normal else "poisson",
                        "scale": self._constraints[name].scale,
                    }
                    for name in self._dropped
                ],
            },
            self.parameter_facts,
        )

    def _require_constrained(self, names: Iterable[str]) -> None:
        """Raise unless this cost contains the constraints of parameters."""
        for name in names:
            if name not in self.constrained:
                msg = (
                    f"this cost has no constraint of {name}; it has constraints of "
                    f"{shortened(self.constrained) or 'no parameter'}"
                )
                raise ParameterError(msg + did_you_mean(name, self.constrained))

    def pyhf_parameters(self, *args: float) -> FloatArray:
        """Values of all parameters, in pyhf's order and with the tied factors.

        The result has the shape (n_pyhf_parameters,).
        """
        values = np.array(args, dtype=np.float64)
        if self._tie is None:
            return values
        n = len(self._tie.parameters)
        full = self._init.copy()
        full[self._free_index] = values[n:]
        weights = self._tie.weights(values[:n])
        full[self._tied_index] = [weights[name] for name in self._tied]
        return full

    def expected(self, *args: float) -> dict[str, FloatArray]:
        """Expected counts of each channel, by its name, as an array with one number for each bin.

        Raises
        ------
        TemplateError
            If the expected count of a bin is negative or not a number.  The message names the
            channel, the bin and the parameter values.
        """
        rates = self._rates(self.model.make_pdf(self.pyhf_parameters(*args)), args)
        return {name: rates[s] for name, s in self.model.config.channel_slices.items()}

    def _rates(self, pdf: Any, args: Sequence[float]) -> FloatArray:
        rates = np.asarray(pdf[0].expected_data(), dtype=np.float64)
        bad = ~(rates >= 0)
        if bad.any():
            k = int(np.argmax(bad))
            msg = (
                f"{_bin_name(self.model, k)} expects {rates[k]:g} events at "
                f"{self._point_text(args)}; set tighter limits for the parameters, or use wider "
                "bins or smaller variations"
            )
            raise TemplateError(msg)
        return rates

    def _point_text(self, args: Sequence[float]) -> str:
        """Text of the parameters that have left their start; of many only the farthest."""
        point = dict(zip(self._start, map(float, args), strict=True))
        moved = {n: v for n, v in point.items() if v != self._start[n] or len(point) <= _MAX_NAMED}
        farthest = sorted(moved, key=lambda n: -abs(moved[n] - self._start[n]))[:_MAX_NAMED]
        text = format_point({n: moved[n] for n in moved if n in farthest})
        return text + (" and others" if len(moved) > len(farthest) else "")

    def _errordef(self) -> float:
        return float(CHISQUARE)

    def _ndata(self) -> int:
        return int(self.model.config.nmaindata)

    def _has_grad(self) -> bool:
        return False

    def _grad(self, args: Sequence[float]) -> FloatArray:
        msg = f"a pyhf model in numpy has no gradient (asked for {len(args)} parameters)"
        raise NotImplementedError(msg)

    def _value(self, args: Sequence[float]) -> float:
        # One evaluation of the yields serves the check and the likelihood.
        parameters = self.pyhf_parameters(*args)
        pdf = self.model.make_pdf(parameters)
        rates = self._rates(pdf, args)
        value = self._saturated + float(_deviance(self._counts, rates).sum())
        if self._auxiliary.size:
            value -= 2.0 * float(np.asarray(pdf[1].log_prob(self._auxiliary)))
        for name in self._dropped:
            term = self._constraints[name]
            value -= term.twice_nll(parameters[term.parameter], self._auxiliary[term.datum])
        if np.isnan(value):
            point = self._point_text(args)
            msg = f"the pyhf likelihood is not a number at {point}; check the workspace"
            raise TemplateError(msg)
        return value


@published_terms.register
def _(cost: PyhfCost, arrays: ArrayStore) -> list[PublishedTerm]:
    return [cost.published(arrays)]


def _histfactory_modifiers() -> set[str]:
    import pyhf

    return set(pyhf.modifiers.histfactory_set)


def _constraint_terms(config: Any, names: Sequence[str]) -> dict[str, _Constraint]:
    """Constraint term of each parameter that has one, by its name in the model."""
    terms: dict[str, _Constraint] = {}
    datum = 0
    for of_set in config.auxdata_order:
        parameters, first = config.param_set(of_set), config.par_slice(of_set).start
        is_normal = parameters.pdf_type == "normal"
        # A unit width is that of a set without widths, as in pyhf's own constraints.
        scales = getattr(parameters, "sigmas" if is_normal else "factors", None)
        for k in range(parameters.n_parameters):
            scale = 1.0 if scales is None else float(scales[k])
            terms[names[first + k]] = _Constraint(first + k, datum, is_normal, scale)
            datum += 1
    return terms


def asimov_data(cost: PyhfCost, point: Point) -> FloatArray:
    """Expected data of a cost at a point, with the auxiliary data, shape (n_data,).

    Raises
    ------
    ParameterError
        If the point has parameters that the cost does not have.
    """
    unknown = set(point) - set(cost.start)
    if unknown:
        msg = (
            f"{', '.join(sorted(unknown))} is not a parameter of the model, which has "
            f"{', '.join(cost.start)}"
        )
        raise ParameterError(msg)
    args = [*(cost.start | dict(point)).values()]
    cost.expected(*args)
    return np.asarray(cost.model.expected_data(cost.pyhf_parameters(*args)), dtype=np.float64)


def _deviance(counts: FloatArray, rates: FloatArray) -> FloatArray:
    """Twice the log-likelihood of each bin below that of rates equal to the counts, (n_bins,).

    pyhf subtracts terms of the size n ln n, whose rounding of 1e-8 at a million events in a bin is
    far above what Minuit assumes, and spoils its covariance; here the terms are as small as the
    deviance itself.
    """
    excess = rates - counts
    with np.errstate(divide="ignore"):  # no expected events, but observed: infinite
        log = np.log1p(np.divide(excess, counts, out=np.zeros_like(rates), where=counts > 0))
    return 2.0 * (excess - np.where(counts > 0, counts * log, 0.0))


def _bin_name(model: Any, k: int) -> str:
    """Channel and bin of an index into the data."""
    for name, s in model.config.channel_slices.items():
        if s.start <= k < s.stop:
            return f"channel {name}, bin {k - s.start},"
    return f"auxiliary datum {k - model.config.nmaindata}"


def _checked_data(model: Any, data: ArrayLike) -> FloatArray:
    config = model.config
    values = np.array(data, dtype=np.float64)
    if values.shape == (config.nmaindata,):
        values = np.concatenate([values, np.asarray(config.auxdata, dtype=np.float64)])
    if values.shape != (config.nmaindata + config.nauxdata,):
        bins = ", ".join(f"{name} {n}" for name, n in config.channel_nbins.items())
        msg = (
            f"data of shape {values.shape} given; the model has {config.nmaindata} bins ({bins}) "
            f"and {config.nauxdata} auxiliary data, which may be omitted"
        )
        raise TemplateError(msg)
    main = values[: config.nmaindata]
    bad = ~np.isfinite(values)
    bad[: config.nmaindata] |= main < 0
    if bad.any():
        k = int(np.argmax(bad))
        msg = (
            f"{_bin_name(model, k)} has {values[k]:g} observed events; counts must be finite and "
            "not negative"
        )
        raise TemplateError(msg)
    observed = {name: main[s] for name, s in config.channel_slices.items()}
    unfillable = unfillable_bins(model.spec["channels"], observed)
    if unfillable:
        name, b, count = unfillable[0]
        more = f" (and {len(unfillable) - 1} more bins)" if len(unfillable) > 1 else ""
        msg = (
            f"channel {name}, bin {b} (counted from 0), has {count:g} observed events, but every "
            f"sample is 0 in this bin and no modifier changes that{more}, so the likelihood is 0 "
            "for all parameters; add the sample or the patch that fills the bin, merge the bin "
            "with another, or correct the data"
        )
        raise TemplateError(msg)
    return values
