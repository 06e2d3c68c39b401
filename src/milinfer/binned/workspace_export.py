"""Export templates with systematic uncertainties to HistFactory workspaces, and import these.

`export_workspace` writes templates with backgrounds and systematic uncertainties as a workspace;
`import_workspace` turns the workspace back into a cost in the parameters.

HistFactory has no normalisation factors that are functions of parameters, and its JSON has no place
for notes.  The morphing of a channel is nevertheless recorded in the workspace: in a separate
measurement, named ``milinfer_morphing_CHANNEL``.  This is possible because a measurement may list
parameters that the model does not have; pyhf reads only the measurement that it uses.  The
measurement has

* an entry for each parameter θ, with its starting value (``inits``) and range (``bounds``);
* an entry for each normalisation factor of the morphing.  Its ``factors`` are the values of θ at
  the basis point of this factor, in the order of the entries for θ.

``pyhf combine``, ``rename`` and similar commands keep this measurement.  If pyhf is told to use
this measurement, it fails; so it never builds a model without the morphing by mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.binned.pyhf_cost import PyhfCost, asimov_data
from milinfer.binned.template_cost import staterror_name
from milinfer.binned.templates import Templates
from milinfer.binned.workspaces import MORPHING, model_and_data, read_workspace, require_workspace
from milinfer.exceptions import ParameterError, TemplateError, WorkspaceError
from milinfer.samples.sample import Sample
from milinfer.typing import FloatArray, PathLikeStr, Point
from milinfer.utils.polynomials import PolynomialBasis

__all__ = [
    "BackgroundYields",
    "SIGNAL",
    "Systematic",
    "WorkspaceMorphing",
    "common_limits",
    "common_start",
    "export_workspace",
    "import_workspace",
    "sample_modifiers",
    "workspace_morphings",
]


@dataclass(frozen=True, eq=False)
class WorkspaceMorphing:
    """Normalisation factors of one channel as functions of parameters.

    Parameters
    ----------
    channel
        Name of the channel.
    basis
        Monomials of the parameters.
    points
        Points of the morphing basis, shape (n_coefficients, n_parameters).
    factors
        Name of the factor of the sample at each point, in the order of ``points``.
    limits
        Range of each parameter.
    start
        Starting value of each parameter.

    Examples
    --------
    >>> basis = PolynomialBasis(("c",), 1)
    >>> morphing = WorkspaceMorphing("SR", basis, np.array([[0.0], [1.0]]), ("w_0", "w_1"),
    ...                              {"c": (-1.0, 1.0)}, {"c": 0.0})
    >>> morphing.weights(np.array([0.25]))
    {'w_0': 0.75, 'w_1': 0.25}
    """

    channel: str
    basis: PolynomialBasis
    points: FloatArray
    factors: tuple[str, ...]
    limits: Mapping[str, tuple[float, float]]
    start: Point

    @cached_property
    def matrix(self) -> FloatArray:
        """Coefficients of each factor as a polynomial, shape (n_monomials, n_factors)."""
        return self.basis.morphing_matrix(self.points)

    def weights(self, theta: FloatArray) -> dict[str, float]:
        """Value of each factor, by name, at parameter values of shape (n_parameters,)."""
        values = (self.basis.design(theta) @ self.matrix)[0]
        return dict(zip(self.factors, values.tolist(), strict=True))

    def measurement(self) -> dict[str, Any]:
        """Write the morphing as a measurement of a workspace."""
        names = self.basis.parameters
        return {
            "name": f"{MORPHING}{self.channel}",
            "config": {
                "poi": names[0],
                "parameters": [
                    {"name": n, "inits": [self.start[n]], "bounds": [list(self.limits[n])]}
                    for n in names
                ]
                + [
                    {"name": name, "factors": point}
                    for name, point in zip(self.factors, self.points.tolist(), strict=True)
                ],
            },
        }

    @classmethod
    def from_measurement(cls, measurement: Mapping[str, Any]) -> WorkspaceMorphing:
        """Read a morphing from a measurement that :meth:`measurement` has written.

        Raises
        ------
        WorkspaceError
            If entries are missing or do not fit together.
        """
        entries = measurement["config"]["parameters"]
        parameters = [e for e in entries if "factors" not in e]
        tied = [e for e in entries if "factors" in e]
        n = len(parameters)
        degree = next((d for d in range(len(tied) + 1) if comb(n + d, d) == len(tied)), None)
        good = n > 0 and all("inits" in e and "bounds" in e for e in parameters)
        if degree is None or not good or any(len(e["factors"]) != n for e in tied):
            msg = (
                f"measurement {measurement['name']}: {len(tied)} factors do not form a morphing "
                f"basis in {n} parameters; export the templates again"
            )
            raise WorkspaceError(msg)
        names = tuple(str(e["name"]) for e in parameters)
        morphing = cls(
            channel=measurement["name"].removeprefix(MORPHING),
            basis=PolynomialBasis(names, degree),
            points=np.array([e["factors"] for e in tied], dtype=np.float64),
            factors=tuple(e["name"] for e in tied),
            limits={
                e["name"]: (float(e["bounds"][0][0]), float(e["bounds"][0][1])) for e in parameters
            },
            start={e["name"]: float(e["inits"][0]) for e in parameters},
        )
        try:
            _ = morphing.matrix
        except ParameterError as error:
            msg = f"measurement {measurement['name']}: {error}"
            raise WorkspaceError(msg) from error
        return morphing


def workspace_morphings(workspace: Mapping[str, Any]) -> tuple[WorkspaceMorphing, ...]:
    """Read the morphings that are recorded in a workspace, one for each morphed channel.

    Examples
    --------
    >>> workspace_morphings({"measurements": [{"name": "m", "config": {}}]})
    ()
    """
    return tuple(
        WorkspaceMorphing.from_measurement(m)
        for m in workspace["measurements"]
        if m["name"].startswith(MORPHING)
    )


def import_workspace(
    source: PathLikeStr | Mapping[str, Any],
    *,
    measurement: str | None = None,
    asimov: Point | None = None,
) -> PyhfCost:
    """Make the cost of a workspace that :func:`export_workspace` has written.

    The cost has the parameters of the morphing instead of its normalisation factors.  If several
    channels have a parameter of the same name, they share it, within limits that all of them allow.
    If the workspace has a parameter of interest that scales the signal, it is fixed at its starting
    value, because the parameters of the morphing already determine the signal.

    Parameters
    ----------
    source
        JSON file of the workspace, or its content.
    measurement
        Name of the measurement; default: the first.
    asimov
        Parameter values for an Asimov dataset: the data expected at these values replace the
        observed data, as in :meth:`milinfer.binned.pyhf_cost.PyhfCost.from_workspace`.

    Raises
    ------
    WorkspaceError
        If the workspace is not valid, or contains no morphing.  For a workspace without morphing
        use :meth:`milinfer.binned.pyhf_cost.PyhfCost.from_workspace`.
    TemplateError
        If a factor that the morphing names is not in the model.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> from milinfer.binned.workspace_export import export_workspace
    >>> samples = gaussian.samples(20_000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2, luminosity=0.1)
    >>> cost = import_workspace(export_workspace(templates, [20, 30, 25, 25]))
    >>> by_hand = templates.cost([20, 30, 25, 25], rate=True, mc_stat=False)
    >>> list(cost.start), bool(abs(cost(0.1) - by_hand(0.1)) < 1e-9)
    (['mu'], True)
    """
    if isinstance(source, Mapping):
        name, workspace = "workspace", dict(source)
    else:
        name, workspace = str(source), read_workspace(source)
    model, data = model_and_data(workspace, measurement)
    morphings = workspace_morphings(workspace)
    if not morphings:
        msg = f"{name} contains no morphing; read a plain workspace with PyhfCost.from_workspace"
        raise WorkspaceError(msg)
    limits, start = common_limits(morphings), common_start(morphings)
    parameters = tuple(limits)

    def cost(observed: FloatArray) -> PyhfCost:
        return PyhfCost.tied(
            model,
            observed,
            parameters=parameters,
            weights=_Weights(parameters, tuple(morphings)),
            limits=limits,
            start=start,
            fixed=() if model.config.poi_name is None else (model.config.poi_name,),
        )

    if asimov is None:
        return cost(data)
    # Of no data, because the observed ones may lie where nothing is expected.
    return cost(asimov_data(cost(np.zeros(model.config.nmaindata)), asimov))


@dataclass(frozen=True, eq=False)
class _Weights:
    """Factors of all channels as functions of the parameters of all."""

    parameters: tuple[str, ...]
    morphings: tuple[WorkspaceMorphing, ...]

    def __call__(self, theta: FloatArray) -> dict[str, float]:
        values: dict[str, float] = {}
        for morphing, of in zip(self.morphings, self._places, strict=True):
            values |= morphing.weights(theta[of])
        return values

    @cached_property
    def _places(self) -> list[list[int]]:
        return [[self.parameters.index(n) for n in m.basis.parameters] for m in self.morphings]

    @property
    def polynomials(self) -> list[tuple[PolynomialBasis, tuple[str, ...], FloatArray]]:
        """Monomials, names of factors, and their coefficients, for each channel."""
        return [(m.basis, m.factors, m.matrix) for m in self.morphings]


def common_limits(morphings: Sequence[WorkspaceMorphing]) -> dict[str, tuple[float, float]]:
    """Range of each parameter that is allowed in all channels.

    Raises
    ------
    WorkspaceError
        If the ranges of a parameter in different channels do not overlap.
    """
    names = dict.fromkeys(n for m in morphings for n in m.basis.parameters)
    return {n: _common_range(n, morphings) for n in names}


def common_start(morphings: Sequence[WorkspaceMorphing]) -> dict[str, float]:
    """Starting value of each parameter, from the first channel that has this parameter."""
    return {n: v for m in reversed(morphings) for n, v in m.start.items()}


def _common_range(name: str, morphings: Sequence[WorkspaceMorphing]) -> tuple[float, float]:
    ranges = [m.limits[name] for m in morphings if name in m.limits]
    low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
    if not low < high:
        msg = f"the ranges of {name} in the channels, {ranges}, do not overlap; export them again"
        raise WorkspaceError(msg)
    return low, high


SIGNAL = "signal"
"""Name for all samples of the morphing basis together, in ``Systematic.samples``."""


@dataclass(frozen=True, eq=False)
class Systematic:
    """Systematic uncertainty: how a nuisance parameter changes samples when it is −1 and +1.

    All systematic uncertainties with the same name share one nuisance parameter, also if they act
    on different samples and channels.

    Parameters
    ----------
    name
        Name of the nuisance parameter.  It has a Gaussian constraint with mean 0 and width 1.
    low, high
        Change at −1 and at +1.  Give a relative shift of the whole sample, such as −0.05
        (``normsys``), or an array with a relative shift for each bin, shape (n_bins,)
        (``histosys``).  For the signal you can also give
        :class:`~milinfer.binned.templates.Templates` of the varied samples (``histosys``).
    samples
        Names of the samples that change: names of backgrounds, or ``"signal"``.  Default: all
        samples if `low` and `high` are shifts, only the signal if they are templates.

    Examples
    --------
    >>> Systematic("trigger", -0.02, 0.02).kind
    'normsys'
    """

    name: str
    low: float | ArrayLike | Templates
    high: float | ArrayLike | Templates
    samples: tuple[str, ...] | None = None

    @property
    def kind(self) -> str:
        """Type of the HistFactory modifier: ``normsys`` or ``histosys``."""
        for side in (self.low, self.high):
            # For numpy, templates are an object without dimensions.
            if isinstance(side, Templates) or np.ndim(side):
                return "histosys"
        return "normsys"


@dataclass(frozen=True, eq=False)
class BackgroundYields:
    """Expected events of a background, which does not depend on the parameters.

    Parameters
    ----------
    name
        Name of the sample.
    yields
        Expected events in each bin, shape (n_bins,).
    errors
        Monte-Carlo errors of the yields, shape (n_bins,); default: 0.
    luminosity
        Whether the background is proportional to the luminosity.  A background that was estimated
        from data is not.

    Examples
    --------
    >>> BackgroundYields("tt", [20.0, 10.0]).name
    'tt'
    """

    name: str
    yields: ArrayLike
    errors: ArrayLike = 0.0
    luminosity: bool = True


def export_workspace(
    templates: Templates,
    counts: Sample | ArrayLike | None = None,
    *,
    systematics: Sequence[Systematic] = (),
    background: Sequence[BackgroundYields] = (),
    luminosity_uncertainty: float | None = None,
    mc_stat: bool = False,
    poi: str | None = None,
    point: Point | None = None,
    channel: str | None = None,
) -> dict[str, Any]:
    """Write templates as a HistFactory workspace with a sample for each point of a morphing basis.

    :func:`~milinfer.binned.workspace_export.import_workspace` makes a cost with the parameters θ
    from the workspace.  Tools that do not know the morphing, such as pyhf and cabinetry, can use
    the signal at `point` with all its uncertainties, because the workspace fixes the factors of the
    morphing.

    Parameters
    ----------
    templates
        Templates with a luminosity.
    counts
        Observed dataset, or counts of shape (n_bins,); default: the counts expected at `point`.
    systematics
        Systematic uncertainties.  A relative shift is the same at every θ.  Templates of varied
        samples depend on θ: they are morphed like the nominal templates.
    background
        Background samples.
    luminosity_uncertainty
        Relative uncertainty of the luminosity, such as 0.02.  If it is given, the workspace has a
        parameter ``lumi``.
    mc_stat
        Whether to add Monte-Carlo errors: a ``staterror`` with one factor for each bin
        (Barlow–Beeston-lite).  Its width is the relative error of signal plus background at
        `point`.
    poi
        Name of a parameter of interest that scales the signal at `point`, for tools that do not
        know the morphing.  ``import_workspace`` fixes it.  Default: there is no such parameter.
    point
        Parameter point of the signal; default: that point of the samples that is nearest to the
        origin.
    channel
        Name of the channel; default: the name of the observable.

    Returns
    -------
    dict
        Valid HistFactory JSON.

    Raises
    ------
    TemplateError
        If the templates have no luminosity, arrays have different shapes, or the content of a bin
        would not be positive.  Also if a systematic uncertainty names an unknown sample, or the
        same sample twice.
    ParameterError
        If `point` has other parameters than the templates.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2, luminosity=1.0)
    >>> workspace = export_workspace(
    ...     templates, background=[BackgroundYields("tt", [5.0, 5.0, 5.0, 5.0])],
    ...     systematics=[Systematic("trigger", -0.02, 0.02)], luminosity_uncertainty=0.01)
    >>> [s["name"] for s in workspace["channels"][0]["samples"]]
    ['signal_0', 'signal_1', 'signal_2', 'tt']
    """
    name = channel or templates.observable_name
    basis, luminosity = templates.basis, templates.luminosity
    if luminosity is None:
        msg = (
            f"{name}: the templates have no luminosity, so the yields for the workspace are "
            "unknown; make the templates with luminosity= in 1/fb"
        )
        raise TemplateError(msg)
    at = dict(templates.reference if point is None else point)
    theta = basis.array(at)
    low, high = templates.points.min(axis=0), templates.points.max(axis=0)
    if np.any((theta < low) | (theta > high)):
        msg = f"{name}: {at} is outside the range of the samples, {low} to {high}"
        raise ParameterError(msg)
    points = templates.basis_points
    tie = WorkspaceMorphing(
        channel=name,
        basis=basis,
        points=points,
        factors=tuple(f"w_{name}_{k}" for k in range(len(points))),
        limits={
            n: (float(a), float(b)) for n, a, b in zip(basis.parameters, low, high, strict=True)
        },
        start=at,
    )
    at_point = templates.expected(at)
    nominal = {f"{SIGNAL}_{k}": y for k, y in enumerate(templates.basis_yields(1000 * luminosity))}
    others = {b.name: _per_bin(b.yields, at_point, f"yields of {b.name}") for b in background}
    if len(others) < len(background) or {*others} & {*nominal, SIGNAL}:
        msg = f"{name}: give the backgrounds different names, none of them {SIGNAL!r}"
        raise TemplateError(msg)
    modifiers: dict[str, list[dict[str, Any]]] = {s: [] for s in [*nominal, *others]}
    for factor, sample in zip(tie.factors, nominal, strict=True):
        modifiers[sample].append({"name": factor, "type": "normfactor", "data": None})
        if poi is not None:
            modifiers[sample].append({"name": poi, "type": "normfactor", "data": None})
    for systematic in systematics:
        for sample, modifier in _systematic_modifiers(
            systematic, templates, nominal, others
        ).items():
            earlier = {(m["name"], m["type"]) for m in modifiers[sample]}
            if (modifier["name"], modifier["type"]) in earlier:
                msg = (
                    f"{name}: {systematic.name} is given twice for the sample {sample}; merge them"
                )
                raise TemplateError(msg)
            modifiers[sample].append(modifier)
    if luminosity_uncertainty is not None:
        fixed_yield = {b.name for b in background if not b.luminosity}
        for sample in modifiers.keys() - fixed_yield:
            modifiers[sample].append({"name": "lumi", "type": "lumi", "data": None})
    if mc_stat:
        variance = (1000 * luminosity) ** 2 * basis.variance(templates.fit, theta)[0]
        for b in background:
            variance = variance + _per_bin(b.errors, at_point, f"errors of {b.name}") ** 2
        relative = np.sqrt(variance) / (at_point + sum(others.values(), start=np.zeros(1)))
        # pyhf divides the errors, added in quadrature, by the sum of all samples.
        every = np.sum([*nominal.values(), *others.values()], axis=0)
        share = (relative * every / np.sqrt(len(modifiers))).tolist()
        for of_sample in modifiers.values():
            of_sample.append({"name": staterror_name(name), "type": "staterror", "data": share})
    workspace = {
        "channels": [
            {
                "name": name,
                "samples": [
                    {"name": s, "data": y.tolist(), "modifiers": modifiers[s]}
                    for s, y in {**nominal, **others}.items()
                ],
            }
        ],
        "observations": [
            {
                "name": name,
                "data": _observed_counts(templates, counts, at_point, others, name).tolist(),
            }
        ],
        "measurements": [
            {
                "name": "milinfer",
                "config": {
                    "poi": poi or "",
                    "parameters": _parameter_entries(tie, theta, luminosity_uncertainty),
                },
            },
            tie.measurement(),
        ],
        "version": "1.0.0",
    }
    require_workspace(workspace, f"workspace of {name}")
    return workspace


def _per_bin(values: ArrayLike, like: FloatArray, what: str) -> FloatArray:
    """A number for each bin, finite and not negative."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape not in {(), like.shape} or not np.all(np.isfinite(array) & (array >= 0)):
        msg = (
            f"{what} must be {len(like)} numbers, finite and not negative; given are "
            f"{values!r}, of shape {array.shape}"
        )
        raise TemplateError(msg)
    return np.broadcast_to(array, like.shape)


def _observed_counts(
    templates: Templates,
    counts: Sample | ArrayLike | None,
    at_point: FloatArray,
    others: dict[str, FloatArray],
    name: str,
) -> FloatArray:
    if counts is None:
        return np.asarray(sum(others.values(), start=at_point))
    if isinstance(counts, Sample):
        counts.require_data()
        return templates.counts(counts)
    observed = np.asarray(counts, dtype=np.float64)
    if observed.shape != at_point.shape:
        msg = (
            f"{name}: the counts have shape {observed.shape}; give one for each of {len(at_point)} "
            "bins"
        )
        raise TemplateError(msg)
    return _per_bin(observed, at_point, f"counts of {name}")


def _parameter_entries(
    tie: WorkspaceMorphing, theta: FloatArray, luminosity_uncertainty: float | None
) -> list[dict[str, Any]]:
    # Free factors would fit any data; fixed ones give the signal at the point.
    parameters: list[dict[str, Any]] = [
        {"name": n, "inits": [w], "bounds": [[min(-10.0, 2 * w), max(10.0, 2 * w)]], "fixed": True}
        for n, w in tie.weights(theta).items()
    ]
    if luminosity_uncertainty is not None:
        if not 0 < luminosity_uncertainty < 1:
            msg = f"luminosity_uncertainty={luminosity_uncertainty} must be relative, such as 0.02"
            raise TemplateError(msg)
        lumi = {"inits": [1.0], "auxdata": [1.0], "sigmas": [luminosity_uncertainty]}
        parameters.append({"name": "lumi", "bounds": [[1e-10, 10.0]], **lumi})
    return parameters


def _systematic_modifiers(
    systematic: Systematic,
    templates: Templates,
    nominal: dict[str, FloatArray],
    others: dict[str, FloatArray],
) -> dict[str, dict[str, Any]]:
    """Modifier of each sample that a systematic changes."""
    varied = any(isinstance(x, Templates) for x in (systematic.low, systematic.high))
    names = systematic.samples or ((SIGNAL,) if varied else (SIGNAL, *others))
    unknown = set(names) - {SIGNAL, *others}
    if unknown or (varied and names != (SIGNAL,)):
        msg = (
            f"systematic {systematic.name} is for {', '.join(names)}; the samples are {SIGNAL}"
            f"{''.join(f', {b}' for b in others)}, and only {SIGNAL} can have varied templates"
        )
        raise TemplateError(msg)
    targets = {**(nominal if SIGNAL in names else {})}
    targets |= {b: others[b] for b in names if b != SIGNAL}
    return sample_modifiers(systematic, targets, templates)


def sample_modifiers(
    systematic: Systematic,
    targets: Mapping[str, FloatArray],
    templates: Templates | None = None,
) -> dict[str, dict[str, Any]]:
    """Make the HistFactory modifier of each sample that a systematic uncertainty changes.

    Parameters
    ----------
    systematic
        The systematic uncertainty.
    targets
        Nominal yields of the samples to change, by name, each of shape (n_bins,).
    templates
        Nominal templates, needed only if the systematic uncertainty is given by varied templates.
        The samples to change are then those of the morphing basis of these templates.

    Raises
    ------
    TemplateError
        If a relative shift is not above −1, the shifts have the wrong shape, or the varied
        templates do not match the nominal templates.

    Examples
    --------
    >>> tt = sample_modifiers(Systematic("jes", [-0.1, 0], [0.1, 0]), {"tt": np.array([20, 10])})
    >>> tt["tt"]["type"], tt["tt"]["data"]
    ('histosys', {'lo_data': [18.0, 10.0], 'hi_data': [22.0, 10.0]})
    """
    if systematic.kind == "normsys":
        low, high = 1.0 + float(systematic.low), 1.0 + float(systematic.high)  # type: ignore[arg-type]
        data = {"lo": low, "hi": high}
        if not (0 < low < np.inf and 0 < high < np.inf):
            shifts = f"{float(systematic.low):g} and {float(systematic.high):g}"  # type: ignore[arg-type]
            msg = f"systematic {systematic.name}: relative shifts must be above -1, not {shifts}"
            raise TemplateError(msg)
        return {s: {"name": systematic.name, "type": "normsys", "data": data} for s in targets}
    lows = _varied_yields(systematic, systematic.low, templates, targets)
    highs = _varied_yields(systematic, systematic.high, templates, targets)
    return {
        s: {
            "name": systematic.name,
            "type": "histosys",
            "data": {"lo_data": lows[s].tolist(), "hi_data": highs[s].tolist()},
        }
        for s in targets
    }


def _varied_yields(
    systematic: Systematic,
    shift: float | ArrayLike | Templates,
    templates: Templates | None,
    targets: Mapping[str, FloatArray],
) -> dict[str, FloatArray]:
    """Yields of each sample under a variation."""
    if isinstance(shift, Templates):
        if templates is None:
            msg = (
                f"systematic {systematic.name}: varied templates need samples of a morphing basis; "
                "use export_workspace, or relative shifts"
            )
            raise TemplateError(msg)
        same = shift.basis == templates.basis and len(shift.axes) == len(templates.axes)
        same = same and all(
            np.array_equal(a.edges, b.edges)
            for a, b in zip(shift.axes, templates.axes, strict=True)
        )
        if not same or shift.luminosity != templates.luminosity:
            msg = (
                f"systematic {systematic.name}: the varied templates have other parameters, "
                "degree, edges or luminosity than the nominal ones; fill both in the same way"
            )
            raise TemplateError(msg)
        names = templates.basis.parameters
        # At the points of the nominal basis, whatever points the varied samples would choose.
        return {
            sample: shift.expected(dict(zip(names, p.tolist(), strict=True)))
            for sample, p in zip(targets, templates.basis_points, strict=True)
        }
    relative = np.asarray(shift, dtype=np.float64)
    n_bins = len(next(iter(targets.values())))
    if relative.shape not in {(), (n_bins,)} or not np.all(relative > -1):
        msg = (
            f"systematic {systematic.name}: the relative shifts have shape {relative.shape}; give "
            f"one number or {n_bins} numbers, each above -1"
        )
        raise TemplateError(msg)
    return {s: y * (1.0 + relative) for s, y in targets.items()}
