"""Combine published likelihoods, workspaces and constraints, listed in one file, in one fit.

:func:`combine` reads ``combination.toml`` (:mod:`milinfer.workflow.combination_file`) and checks
that its inputs fit together (:mod:`milinfer.workflow.combination_inputs`).  It fits the sum of the
costs of all inputs, fits each input alone, and returns a :class:`Combination`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from iminuit import describe
from iminuit.cost import Cost
from scipy.interpolate import CubicSpline

from milinfer.exceptions import FitError, MilinferError, MilinferWarning, ParameterError
from milinfer.intervals.several_fit import ParameterFit
from milinfer.likelihood.fits import FitResults, fit_results, minuit
from milinfer.likelihood.scans import ProfileScan
from milinfer.plotting.results import plot_scans
from milinfer.typing import PathLikeStr
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.display import UNKNOWN, arrow_table, html_table, measured, rich_table
from milinfer.utils.files import atomic_path, portable_name, write_whole
from milinfer.workflow.combination_file import COMBINATION, CombinationFile, Role
from milinfer.workflow.combination_inputs import CombinationInput, combination_sum, read_input
from milinfer.workflow.profile_fits import profile_about, profile_fits

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure
    from rich.table import Table

__all__ = ["Combination", "combine"]

# A figure shows this many errors of the sum, and more where an input needs it.
_ERRORS = 3.0
_NAME = "combination.json"


@dataclass(frozen=True, eq=False)
class Combination:
    """Results of a combined fit of several inputs, and of fits of each input alone.

    It is made by :func:`combine`.

    Parameters
    ----------
    title
        Heading of tables.
    inputs
        The inputs, in the order of the file.
    cost
        −2 ln L of all inputs together, a cost for iminuit.
    roles
        Role of each parameter: interest, normalisation or nuisance.
    units
        Units of the parameters, if known.
    left_out
        For each input, the parameters whose constraint is taken from another input.
    fit
        Combined fit of all parameters.
    intervals
        Intervals of each parameter of interest in the combined fit.
    alone
        Intervals of each parameter of interest in a fit of each input alone.  This fit includes the
        constraints of the nuisance parameters of the input.  A parameter that the input does not
        constrain has no interval.
    alone_costs
        −2 ln L of each input alone.
    problems
        Sentences that say which results are missing and why.
    """

    title: str
    inputs: tuple[CombinationInput, ...]
    cost: Cost
    roles: Mapping[str, Role]
    units: Mapping[str, str]
    left_out: Mapping[str, tuple[str, ...]]
    fit: FitResults
    intervals: Mapping[str, ParameterFit]
    alone: Mapping[str, Mapping[str, ParameterFit]]
    alone_costs: Mapping[str, Cost]
    problems: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters, in the order of the cost."""
        return tuple(self.fit.labels)

    @property
    def interest(self) -> tuple[str, ...]:
        """Names of the parameters of interest."""
        return tuple(self.intervals)

    @property
    def calibrated(self) -> tuple[str, ...]:
        """Names of the inputs that are calibrated by themselves, not in the combination."""
        return tuple(i.name for i in self.inputs if i.calibrated)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks that must be quoted with the result."""
        notes = [
            f"{i.name} is calibrated for {made}; its other intervals are not calibrated"
            for i in self.inputs
            for made in i.calibrated_for
        ]
        if self.calibrated and len(self.inputs) > 1:
            notes.append(
                f"coverage is not guaranteed: {', '.join(self.calibrated)} is calibrated alone, "
                f"which "
                "does not give correct coverage of the sum; calibrate the sum with toys of all of "
                "its terms (milinfer.CombinedToys)"
            )
        for name in self.interest:
            limits = {i.name: i.limits[name] for i in self.inputs if name in i.parameters}
            finite = {k: pair for k, pair in limits.items() if np.any(np.isfinite(pair))}
            if len(set(finite.values())) > 1:
                low, high = np.array([*finite.values()]).T
                each = ", ".join(f"{k} [{a:g}, {b:g}]" for k, (a, b) in finite.items())
                notes.append(
                    f"{name} stays in [{low.max():g}, {high.min():g}], which all inputs allow: "
                    f"{each}"
                )
        return tuple(notes)

    def __repr__(self) -> str:
        estimates = ", ".join(
            f"{n} = {measured(f.estimate, f.error)}" for n, f in self.intervals.items()
        )
        return f"Combination({', '.join(i.name for i in self.inputs)}: {estimates})"

    def correlation(self, one: str, other: str) -> float:
        """Correlation of two parameters in the combined fit.

        Raises
        ------
        ParameterError
            If one of the names is not a parameter of the fit.
        """
        for name in (one, other):
            if name not in self.parameters:
                msg = f"{name} is not a parameter of the combination; it has {self.parameters}"
                raise ParameterError(msg)
        row, column = self.parameters.index(one), self.parameters.index(other)
        return float(self.fit.corr_mat[row, column])

    header = ("parameter", "input", "estimate", "68.27% interval", "95.45% interval")

    def rows(self) -> list[list[str]]:
        """Rows of the table of results, as texts: for each parameter its inputs, then the sum."""
        return [
            [
                self._with_unit(parameter),
                name,
                measured(None) if fit.inner is None else measured(fit.estimate, fit.error),
                *(
                    UNKNOWN if interval is None else f"[{interval.low:.4g}, {interval.high:.4g}]"
                    for interval in (fit.inner, fit.outer)
                ),
            ]
            for parameter, name, fit in self._fits()
        ]

    def _fits(self) -> list[tuple[str, str, ParameterFit]]:
        """Parameter, name and fit of each line."""
        lines = []
        for parameter, whole in self.intervals.items():
            for given in self.inputs:
                fit = self.alone.get(given.name, {}).get(parameter)
                if fit is not None:
                    lines.append((parameter, given.name, fit))
            lines.append((parameter, COMBINATION, whole))
        return lines

    def _with_unit(self, parameter: str) -> str:
        unit = self.units.get(parameter)
        return parameter if unit is None else f"{parameter} / {unit}"

    @property
    def parameters_header(self) -> tuple[str, ...]:
        """Names of the columns in the table of parameters."""
        return ("parameter", "role", "fit", *(i.name for i in self.inputs))

    def parameters_rows(self) -> list[list[str]]:
        """Rows of the table of parameters: which inputs have and which constrain a parameter."""
        fit = self.fit
        errors = zip(fit.labels, fit.bestfit.tolist(), fit.uncertainty.tolist(), strict=True)
        return [
            [
                self._with_unit(name),
                self.roles[name],
                f"{value:.5g}, fixed" if error == 0 else measured(value, error),
                *(self._in_input(name, given) for given in self.inputs),
            ]
            for name, value, error in errors
        ]

    def _in_input(self, name: str, given: CombinationInput) -> str:
        if name not in given.parameters:
            return ""
        if name in self.left_out[given.name]:
            return "yes, constraint left out"
        own = given.kind == "constraint" or name in (*given.constraints, *given.inseparable)
        return "yes, with constraint" if own else "yes"

    def to_rich(self) -> Table:
        """Make a table of the results for the terminal."""
        return rich_table(self.title, self.header, self.rows(), left=("input",))

    def parameters_to_rich(self) -> Table:
        """Make a table of the parameters for the terminal."""
        left = [name for name in self.parameters_header if name != "fit"]
        title = "Which input has which parameter"
        return rich_table(title, self.parameters_header, self.parameters_rows(), left=left)

    def _repr_html_(self) -> str:
        tables = html_table(self.header, self.rows(), title=self.title)
        title = "Which input has which parameter"
        return tables + html_table(self.parameters_header, self.parameters_rows(), title=title)

    def to_table(self) -> pa.Table:
        """Make a table with one row for each parameter of interest in each input and in the sum.

        Columns: ``parameter``, ``input``, ``estimate``, ``error``, ``interval68.low``,
        ``interval68.high``, ``interval95.low``, ``interval95.high``.
        """
        rows = []
        for parameter, name, fit in self._fits():
            row: dict[str, Any] = {"parameter": parameter, "input": name, "error": fit.error}
            row["estimate"] = None if fit.inner is None else fit.estimate
            for key, interval in (("interval68", fit.inner), ("interval95", fit.outer)):
                if interval is not None:
                    row |= {f"{key}.low": interval.low, f"{key}.high": interval.high}
            rows.append(row)
        ends = [f"interval{k}.{end}" for k in (68, 95) for end in ("low", "high")]
        types = {"parameter": str, "input": str, "estimate": float, "error": float}
        return arrow_table({**types, **dict.fromkeys(ends, float)}, rows)

    def to_dict(self) -> dict[str, Any]:
        """Results as plain numbers and texts, for JSON."""
        fit = self.fit
        return {
            "title": self.title,
            "interest": [*self.interest],
            "combination": {name: f.to_dict() for name, f in self.intervals.items()},
            "inputs": {
                given.name: {
                    "kind": given.kind,
                    "source": given.source,
                    "parameters": [*given.parameters],
                    "renamed": dict(given.renamed),
                    "constraints_left_out": [*self.left_out[given.name]],
                    "calibrated": given.calibrated,
                    "calibrated_for": [*given.calibrated_for],
                    "alone": {
                        name: f.to_dict() for name, f in self.alone.get(given.name, {}).items()
                    },
                }
                for given in self.inputs
            },
            "parameters": {
                name: {
                    "role": self.roles[name],
                    "unit": self.units.get(name),
                    "inputs": [i.name for i in self.inputs if name in i.parameters],
                    "estimate": float(fit.bestfit[k]),
                    "error": float(fit.uncertainty[k]),
                }
                for k, name in enumerate(self.parameters)
            },
            "correlation": {"parameters": [*self.parameters], "matrix": fit.corr_mat.tolist()},
            "minus_two_log_likelihood": fit.best_twice_nll,
            # Toys alone can show it, and a combination has none.
            "coverage_shown": False,
            "calibrated_inputs": [*self.calibrated],
            "notes": [*self.notes],
            "problems": [*self.problems],
        }

    def to_json(self) -> str:
        """Results of :meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @cached_property
    def profiles(self) -> dict[str, dict[str, ProfileScan]]:
        """Compute −2 ln L along each parameter of interest, for each input and for the sum.

        At every value of the parameter, all other parameters are fitted.

        Warns
        -----
        MilinferWarning
            If a fit fails at a value of the parameter.  The profile for which it failed is left
            out.
        """
        scans: dict[str, dict[str, ProfileScan]] = {}
        for parameter in self.interest:
            fits = {name: f for p, name, f in self._fits() if p == parameter and f.inner}
            if not fits:
                continue
            low, high = self._window(parameter, fits)
            scans[parameter] = {}
            for name, fit in fits.items():
                assert fit.inner is not None
                cost = self.cost if name == COMBINATION else self.alone_costs[name]
                try:
                    scans[parameter][name] = profile_about(
                        cost, fit.inner.minuit, parameter, (low, high), name
                    )
                except MilinferError as error:
                    msg = f"the figure of {parameter} has no curve of {name}: {error}"
                    warnings.warn(msg, MilinferWarning, stacklevel=2)
        return scans

    def _window(self, parameter: str, fits: Mapping[str, ParameterFit]) -> tuple[float, float]:
        """Range of a figure: the range of the intervals, inside the limits of the sum."""
        lows = [f.inner.low for f in fits.values() if f.inner]
        highs = [f.inner.high for f in fits.values() if f.inner]
        whole = fits.get(COMBINATION)
        if whole is not None and whole.inner is not None:
            inner = whole.inner
            lows.append(inner.estimate - _ERRORS * (inner.estimate - inner.low))
            highs.append(inner.estimate + _ERRORS * (inner.high - inner.estimate))
        low, high = minuit(self.cost).limits[parameter]
        return max(min(lows), low), min(max(highs), high)

    def figures(self) -> dict[str, Figure]:
        """Draw a figure for each parameter of interest, with the curves of :attr:`profiles`."""
        figures = {}
        for parameter, scans in self.profiles.items():
            curves = {name: CubicSpline(s.values, s.rises) for name, s in scans.items()}
            window = next(iter(scans.values())).values[[0, -1]].tolist() if scans else None
            if window is not None:
                figures[parameter] = plot_scans(curves, parameter, tuple(window))
        return figures

    def save(self, folder: PathLikeStr) -> list[Path]:
        """Write ``combination.json`` and a figure of each parameter of interest.

        Parameters
        ----------
        folder
            Folder to write to; it is made if it does not exist.  Existing files of the same names
            are replaced.

        Returns
        -------
        list
            Paths of the files.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        write_whole(target / _NAME, self.to_json() + "\n")
        written = [target / _NAME]
        for k, (parameter, figure) in enumerate(self.figures().items(), start=1):
            name = portable_name(parameter)
            # Two names may differ in such characters alone.
            name = name if name == parameter else f"{name}_{k}"
            path = target / f"profile_{name}.svg"
            with atomic_path(path) as temporary:
                figure.savefig(temporary)
            written.append(path)
        return written


def combine(file: PathLikeStr | CombinationFile) -> Combination:
    r"""Fit several likelihoods together, and each of them alone.

    Parameters
    ----------
    file
        Path of ``combination.toml``, or its content as a `CombinationFile`.

    Returns
    -------
    Combination
        Results of the combined fit, and of the fits of each input alone.

    Raises
    ------
    ConfigurationError
        If a key of the file is wrong, or inputs do not fit together.  The message names each
        problem.
    MilinferError
        If an input cannot be read.  The message names the file and the input.
    FitError
        If the combined fit is not valid.

    Examples
    --------
    Combine two measurements of the same parameter, with errors of 3 and 4:

    >>> import tempfile
    >>> text = 'shared = ["mu"]\nroles = { mu = "interest" }\n'
    >>> for name, mean, error in (("one", 0.0, 3.0), ("other", 1.0, 4.0)):
    ...     text += f'[[constraint]]\nname = "{name}"\nparameters = ["mu"]\n'
    ...     text += f'mean = [{mean}]\nerror = [{error}]\n'
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "combination.toml")
    ...     _ = path.write_text(text)
    ...     both = combine(path)
    >>> round(both.intervals["mu"].estimate, 4), round(both.intervals["mu"].error, 4)
    (0.36, 2.4)
    """
    content = file if isinstance(file, CombinationFile) else CombinationFile.from_file(file)
    inputs = tuple(read_input(content, section) for section in content.inputs)
    whole = combination_sum(content, inputs)
    problems: list[str] = []
    interest = [name for name in describe(whole.cost) if whole.roles[name] == "interest"]
    intervals, fit = _fitted(whole.cost, interest, "", problems)
    alone: dict[str, Mapping[str, ParameterFit]] = {}
    for given in inputs:
        if given.name not in whole.alone:
            continue
        cost = whole.alone[given.name]
        own = [name for name in interest if name in given.parameters]
        try:
            alone[given.name] = _fitted(cost, own, f" of {given.name} alone", problems)[0]
        except FitError as error:
            problems.append(f"no intervals of {given.name} alone: {error}")
            start = minuit(cost).values.to_dict()
            alone[given.name] = {n: ParameterFit(start[n], None, None, None) for n in own}
    return Combination(
        title=content.title,
        inputs=inputs,
        cost=whole.cost,
        roles=whole.roles,
        units={name: unit for given in inputs for name, unit in given.units.items()},
        left_out=whole.left_out,
        fit=fit,
        intervals=intervals,
        alone=alone,
        alone_costs=whole.alone,
        problems=tuple(dict.fromkeys(problems)),
    )


def _fitted(
    cost: Cost, interest: Sequence[str], words: str, problems: list[str]
) -> tuple[dict[str, ParameterFit], FitResults]:
    """Intervals of parameters, and the fit of all at the lowest minimum that these find."""
    m, intervals = profile_fits(
        cost, dict.fromkeys(interest, (CL68, CL95)), words=words, problems=problems
    )
    fits = {
        name: ParameterFit(
            estimate=float(m.values[name]) if inner is None else inner.estimate,
            error=None if inner is None else inner.error,
            inner=inner,
            outer=outer,
        )
        for name, (inner, outer) in intervals.items()
    }
    return fits, fit_results(m)
