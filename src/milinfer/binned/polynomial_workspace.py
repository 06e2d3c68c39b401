"""Export polynomial histograms to a pyhf workspace, exactly and without morphing.

`export_polynomials` makes a workspace with one channel from processes whose bin contents are
polynomials in the parameters.  It uses the modifier of :mod:`milinfer.binned.polynomial_modifier`.
:class:`~milinfer.PyhfCost`, pyhf and cabinetry can fit this workspace.  `morphing_to_polynomials`
takes a workspace with morphing and replaces the morphing by this modifier.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.binned.polynomial_histogram import (
    PolynomialHistogram,
    axis_without_flow,
    monomial_name,
)
from milinfer.binned.polynomial_modifier import POLYNOMIAL
from milinfer.binned.template_cost import staterror_name
from milinfer.binned.template_histograms import as_counts
from milinfer.binned.workspace_export import (
    Systematic,
    common_limits,
    common_start,
    sample_modifiers,
    workspace_morphings,
)
from milinfer.binned.workspaces import MORPHING, Workspace, read_workspace, require_workspace
from milinfer.exceptions import ParameterError, TemplateError, WorkspaceError
from milinfer.typing import FloatArray, PathLikeStr, Point
from milinfer.utils.points import format_point

__all__ = ["ScaledProcess", "export_polynomials", "morphing_to_polynomials", "scaled_processes"]


@dataclass(frozen=True, eq=False)
class ScaledProcess:
    """Bin contents of a process at one point, and polynomials that scale them to other points.

    Parameters
    ----------
    name
        Name of the process.
    monomials
        Names of the monomials; none if the process does not depend on the parameters.
    nominal
        Events expected in each bin at the point, shape (n_bins,).  With several observables, the
        bin of the last one runs fastest.
    errors
        Monte-Carlo errors of `nominal`, shape (n_bins,); None if they are not known.
    scaling
        Coefficients of the polynomials divided by the nominal content of the bin, shape
        (n_monomials, n_bins).
    axes
        Observables, without flow bins.
    """

    name: str
    monomials: tuple[str, ...]
    nominal: FloatArray
    errors: FloatArray | None
    scaling: FloatArray
    axes: tuple[Any, ...]


def scaled_processes(
    processes: Mapping[str, Any],
    limits: Mapping[str, tuple[float, float]],
    point: Point | None = None,
) -> tuple[tuple[ScaledProcess, ...], dict[str, float]]:
    """Split each process into its bin contents at a point and polynomials that scale them.

    Parameters
    ----------
    processes
        Histogram of each process, by name, with contents in events: a
        :class:`~milinfer.binned.PolynomialHistogram`, or a ``hist.Hist`` if the process does not
        depend on the parameters.  All have the same axes.
    limits
        Range of every parameter.
    point
        Parameter values at which the nominal contents are taken; default: 0 for all.

    Returns
    -------
    tuple, dict
        The processes, and the point.

    Raises
    ------
    TemplateError
        If axes differ, flow bins are not empty, or the content of a bin is not positive at the
        point.
    ParameterError
        If `limits` or `point` have other parameters than the processes, or the point is outside the
        limits.

    Examples
    --------
    >>> import hist
    >>> axis = hist.axis.Integer(0, 2, name="x", flow=False)
    >>> h = PolynomialHistogram.of_arrays(["1", "c"], [axis], np.array([[4.0, 8.0], [2.0, 2.0]]))
    >>> (process,), at = scaled_processes({"signal": h}, {"c": (-1, 1)})
    >>> process.scaling, at
    (array([[1.  , 1.  ],
           [0.5 , 0.25]]), {'c': 0.0})
    """
    polynomials = {n: h for n, h in processes.items() if isinstance(h, PolynomialHistogram)}
    names = tuple(dict.fromkeys(n for h in polynomials.values() for n in h.parameters))
    if not names:
        msg = f"none of the processes {[*processes]} depends on parameters"
        raise TemplateError(msg)
    at = dict.fromkeys(names, 0.0) if point is None else {n: float(v) for n, v in point.items()}
    for what, given in (("limits", limits), ("point", at)):
        if set(given) != set(names):
            msg = f"{what}= has the parameters {tuple(given)}, expected {names}"
            raise ParameterError(msg)
    for n in names:
        if not limits[n][0] <= at[n] <= limits[n][1]:
            msg = f"{n} = {at[n]:g} is outside its limits {limits[n]}; give another point="
            raise ParameterError(msg)
    scaled = tuple(_scaled(name, h, at) for name, h in processes.items())
    for one in scaled:
        if one.axes != scaled[0].axes:
            msg = f"the processes {scaled[0].name} and {one.name} have different axes"
            raise TemplateError(msg)
    return scaled, at


def _scaled(name: str, histogram: Any, at: Point) -> ScaledProcess:
    polynomial = isinstance(histogram, PolynomialHistogram)
    contents = histogram.coefficients if polynomial else histogram
    if np.count_nonzero(contents.values(flow=True)) > np.count_nonzero(contents.values()):
        msg = (
            f"{name} has content in flow bins; add it to the outer bins with without_flow(), or "
            "remove it"
        )
        raise TemplateError(msg)
    axes = tuple(axis_without_flow(a) for a in histogram.axes)
    inside = histogram.without_flow() if polynomial else histogram
    nominal = inside.at({n: at[n] for n in histogram.parameters}) if polynomial else histogram
    values = np.asarray(nominal.values(), dtype=np.float64).ravel()
    variances = nominal.variances() if nominal.view().dtype.names else None
    errors = None if variances is None else np.sqrt(np.asarray(variances).ravel())
    if not polynomial:
        return ScaledProcess(name, (), values, errors, np.empty((0, len(values))), axes)
    coefficients = inside.coefficients.values().reshape(len(inside.monomials), -1)
    bad = ~(values > 0) & np.any(coefficients != 0, axis=0)
    if bad.any():
        b = int(np.argmax(bad))
        msg = (
            f"{name}: bin {b} has {values[b]:g} events at {format_point(at)}, but must have a "
            "positive yield there; choose a point= at which every yield is positive, or wider bins"
        )
        raise TemplateError(msg)
    scaling = np.divide(coefficients, values, where=values > 0, out=np.zeros(coefficients.shape))
    return ScaledProcess(name, inside.monomials, values, errors, scaling, axes)


def export_polynomials(
    processes: Mapping[str, Any],
    counts: ArrayLike | None = None,
    *,
    limits: Mapping[str, tuple[float, float]],
    point: Point | None = None,
    channel: str = "channel",
    mc_stat: bool = True,
    systematics: Sequence[Systematic] = (),
) -> Workspace:
    """Make a workspace of one channel whose bin contents are polynomials in the parameters.

    :meth:`milinfer.PyhfCost.from_workspace` makes a cost from the workspace, and
    :func:`milinfer.binned.workspaces.model_and_data` makes a pyhf model.  Systematic uncertainties
    are HistFactory modifiers and act on the bin contents at every θ.

    Parameters
    ----------
    processes
        Histogram of each process, by name, with contents in events: a
        :class:`~milinfer.binned.PolynomialHistogram`, or a ``hist.Hist`` if the process does not
        depend on the parameters.
    counts
        Observed counts, shape (n_bins,).  With several observables, the bin of the last observable
        runs fastest.  Default: the counts expected at `point`.
    limits
        Range of every parameter, such as ``templates.limits``.
    point
        Parameter values at which fits start, and at which the Monte-Carlo errors are computed;
        default: 0 for all.
    channel
        Name of the channel.
    mc_stat
        Whether to add the Monte-Carlo errors at `point` as ``staterror``.
    systematics
        Systematic uncertainties, as relative shifts that are the same at every θ.  A systematic
        uncertainty acts on the processes that it names as its samples, and on all processes if it
        names none.  For shifts that depend on θ use
        :func:`~milinfer.binned.workspace_export.export_workspace`.

    Raises
    ------
    TemplateError
        If the axes differ, flow bins are not empty, the content of a bin is not positive at
        `point`, the counts do not fit the bins, or the errors of a process are unknown.  Also if a
        systematic uncertainty has no relative shifts, names an unknown process, or is given twice
        for the same process.
    ParameterError
        If `limits` or `point` have other parameters than the processes, or `point` is outside the
        limits.
    WorkspaceError
        If a parameter starts outside its limits, or a name is used twice.

    Examples
    --------
    >>> import hist
    >>> axis = hist.axis.Integer(0, 2, name="x", flow=False)
    >>> h = PolynomialHistogram.of_arrays(["1", "c"], [axis], np.array([[4.0, 8.0], [2.0, 2.0]]))
    >>> workspace = export_polynomials({"signal": h}, [5, 9], limits={"c": (-1, 1)}, mc_stat=False)
    >>> from milinfer.binned.workspaces import model_and_data
    >>> model, data = model_and_data(workspace)
    >>> model.expected_data([0.5]), data
    (array([5., 9.]), array([5., 9.]))
    """
    scaled, at = scaled_processes(processes, limits, point)
    n_bins = len(scaled[0].nominal)
    samples = []
    for process in scaled:
        modifiers: list[dict[str, Any]] = []
        if process.monomials:
            data = {"monomials": [*process.monomials], "scaling": process.scaling.tolist()}
            modifiers.append(
                {"name": f"{channel}_{process.name}", "type": POLYNOMIAL, "data": data}
            )
        if mc_stat:
            if process.errors is None:
                msg = (
                    f"the Monte-Carlo errors of {process.name} are missing; give its covariance "
                    "(or variances), or mc_stat=False"
                )
                raise TemplateError(msg)
            modifiers.append(
                {
                    "name": staterror_name(channel),
                    "type": "staterror",
                    "data": process.errors.tolist(),
                }
            )
        samples.append(
            {"name": process.name, "data": process.nominal.tolist(), "modifiers": modifiers}
        )
    _add_systematics(samples, systematics, {p.name: p.nominal for p in scaled})
    expected = np.sum([p.nominal for p in scaled], axis=0)
    observed = expected if counts is None else as_counts(counts, n_bins, channel)
    parameters = [
        {"name": n, "inits": [at[n]], "bounds": [[float(x) for x in limits[n]]]} for n in at
    ]
    workspace = {
        "channels": [{"name": channel, "samples": samples}],
        "observations": [{"name": channel, "data": observed.tolist()}],
        "measurements": [
            {"name": "milinfer", "config": {"poi": next(iter(at)), "parameters": parameters}}
        ],
        "version": "1.0.0",
    }
    require_workspace(workspace, f"workspace of {channel}")
    return Workspace(workspace)


def morphing_to_polynomials(source: PathLikeStr | Mapping[str, Any]) -> Workspace:
    """Replace the morphing of a workspace by polynomial modifiers, which pyhf can build.

    :func:`~milinfer.binned.workspace_export.export_workspace` writes a sample for each point of the
    morphing basis, and only milinfer knows the factors of these samples as functions of the
    parameters.  In the new workspace each factor is a polynomial modifier
    (:func:`~milinfer.binned.polynomial_modifier.polynomial_modifiers`).  All other modifiers of the
    samples, such as a ``histosys`` that depends on the parameters, stay as they are.

    Parameters
    ----------
    source
        Workspace from :func:`~milinfer.binned.workspace_export.export_workspace`, or the path of
        its file.  It may have been combined with other workspaces, or renamed, by pyhf.

    Returns
    -------
    dict
        Workspace for ``pyhf.Workspace(…, validate=False).model(validate=False,
        modifier_set=polynomial_modifiers())``, for :func:`~milinfer.binned.model_and_data` and
        :class:`~milinfer.PyhfCost`.

    Raises
    ------
    WorkspaceError
        If the workspace is not valid or contains no morphing.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> from milinfer.binned.workspace_export import export_workspace
    >>> from milinfer.binned.workspaces import model_and_data
    >>> samples = gaussian.samples(20_000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2, luminosity=0.1)
    >>> workspace = morphing_to_polynomials(export_workspace(templates, [20, 30, 25, 25]))
    >>> model, _ = model_and_data(workspace)
    >>> model.config.par_names, np.allclose(
    ...     model.expected_actualdata([0.1]), templates.expected({"mu": 0.1}))
    (['mu'], True)
    """
    if isinstance(source, Mapping):
        workspace = copy.deepcopy(dict(source))
        require_workspace(workspace)
    else:
        workspace = read_workspace(source)
    morphings = workspace_morphings(workspace)
    if not morphings:
        msg = (
            "this workspace records no morphing, so nothing has to be replaced; give it to pyhf "
            "as it is"
        )
        raise WorkspaceError(msg)
    columns = {}
    for morphing in morphings:
        basis = morphing.basis
        names = [
            monomial_name(dict(zip(basis.parameters, row, strict=True)))
            for row in basis.exponents.tolist()
        ]
        for factor, column in zip(morphing.factors, morphing.matrix.T.tolist(), strict=True):
            columns[factor] = names, column
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] != "normfactor" or modifier["name"] not in columns:
                    continue
                names, column = columns[modifier["name"]]
                scaling = [[c] * len(sample["data"]) for c in column]
                data = {"monomials": [*names], "scaling": scaling}
                modifier |= {"type": POLYNOMIAL, "data": data}
    limits, start = common_limits(morphings), common_start(morphings)
    parameters = [{"name": n, "inits": [start[n]], "bounds": [[*limits[n]]]} for n in limits]
    kept = []
    for measurement in workspace["measurements"]:
        if measurement["name"].startswith(MORPHING):
            continue
        config = measurement["config"]
        others = [p for p in config.get("parameters", []) if p["name"] not in columns]
        scale = config.get("poi") or None
        if scale is not None:
            # It scales the signal, whose size the parameters of the morphing say already.
            own = next((p for p in others if p["name"] == scale), {"name": scale})
            others = [p for p in others if p["name"] != scale] + [own | {"fixed": True}]
        kept.append(
            measurement
            | {"config": config | {"poi": next(iter(limits)), "parameters": parameters + others}}
        )
    workspace["measurements"] = kept
    require_workspace(workspace)
    return Workspace(workspace)


def _add_systematics(
    samples: Sequence[dict[str, Any]],
    systematics: Sequence[Systematic],
    nominal: Mapping[str, FloatArray],
) -> None:
    """Add the modifiers of systematic uncertainties to the samples of a channel."""
    modifiers = {s["name"]: s["modifiers"] for s in samples}
    for systematic in systematics:
        names = systematic.samples or tuple(nominal)
        unknown = [n for n in names if n not in nominal]
        if unknown:
            msg = (
                f"systematic {systematic.name} is for {unknown[0]}, but the processes are "
                f"{', '.join(nominal)}"
            )
            raise TemplateError(msg)
        added = sample_modifiers(systematic, {n: nominal[n] for n in names})
        for name, modifier in added.items():
            if any(all(m[k] == modifier[k] for k in ("name", "type")) for m in modifiers[name]):
                msg = f"{systematic.name} is given twice for the process {name}; merge them"
                raise TemplateError(msg)
            modifiers[name].append(modifier)
