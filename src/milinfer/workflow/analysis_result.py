"""Result of an analysis with one parameter: summary, tables and provenance."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from milinfer.binned.templates import Templates
from milinfer.diagnostics.diagnosis import Diagnosis
from milinfer.diagnostics.fit_tests import GoodnessOfFit
from milinfer.intervals.belt import Belt
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.confidence_sets import ConfidenceSet
from milinfer.intervals.coverage import CoverageScan
from milinfer.intervals.information import (
    InformationRatio,
    RelativeWidth,
)
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.samples.sample import Sample
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.display import html_table, measured, rich_table
from milinfer.workflow.analysis_settings import Analysis
from milinfer.workflow.comparison import (
    Comparison,
    Unavailable,
)
from milinfer.workflow.finite_simulation import TrainingError, simulation_facts
from milinfer.workflow.provenance import Provenance, sample_facts
from milinfer.workflow.several_summary import is_several, several_table
from milinfer.workflow.summary_parts import (
    coverage_cell,
    coverage_errors,
    diagnosis_facts,
    failure_facts,
    fit_test_facts,
    histogram_facts,
)
from milinfer.workflow.systematics import NuisanceResult

if TYPE_CHECKING:
    import pyarrow as pa
    from iminuit.cost import Cost
    from rich.table import Table


__all__ = ["AnalysisResult", "provenance_facts", "summary_table"]


@dataclass(frozen=True, eq=False)
class AnalysisResult:
    """Result of an analysis with one parameter: all methods compared, and the data of the figures.

    Parameters
    ----------
    analysis, comparison, costs, templates, calibration_toys, evaluation_toys, coverage, belts
        Samples, models and settings of the analysis, and the results of each method for the data
        and the toys.
    truth
        True value at which the methods are compared.
    widths
        Width of the intervals of each method, divided by the width of the intervals from the best
        histogram.  Empty if all toys have the same true value.
    information
        I_eff of each method, divided by I_eff of the exact likelihood ratio ("oracle").  If there
        is no oracle, it is divided by I_eff of the best histogram.  Empty if all toys have the same
        true value.
    diagnoses
        Diagnosis of each learned model on events that were not used for its training, or a text
        that says why the diagnosis is missing.
    unavailable
        Reason why a method failed, by the name of the method.  Methods that failed appear nowhere
        else in the result.
    provenance
        Files, seeds, settings and steps.  The function that calls :func:`analyse` fills them in.
    extra
        Further entries of ``summary.json``.
    systematics
        Result of the fits with nuisance parameters, or the reason why they failed.  None if the
        analysis has no nuisance parameters.
    fit_tests
        Goodness-of-fit tests of the first model with the data, or a text that says why they are
        missing.
    training_errors
        Error of the estimate due to the finite number of training events, for each model that was
        trained on bootstrap samples; or the reason why this error is missing.
    """

    analysis: Analysis
    comparison: Comparison
    costs: dict[str, Cost]
    templates: dict[str, Templates]
    calibration_toys: dict[str, list[ToyEnsemble]]
    evaluation_toys: dict[str, ToyEnsemble]
    coverage: CoverageScan
    widths: tuple[RelativeWidth, ...]
    belts: dict[str, Belt]
    truth: float
    information: tuple[InformationRatio, ...] = ()
    diagnoses: dict[str, Diagnosis | str] = field(default_factory=dict)
    unavailable: dict[str, Unavailable] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)
    extra: dict[str, Any] = field(default_factory=dict)
    systematics: NuisanceResult | Unavailable | None = None
    fit_tests: GoodnessOfFit | str = "not tested"
    training_errors: dict[str, TrainingError | str] = field(default_factory=dict)
    # Sets by method and level: summary and report ask for each several times.
    _neyman: dict[tuple[str, float], ConfidenceSet] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """Calibrations of the learned models by name, also those that are not applied."""
        learned = {m.name for m in self.analysis.models}
        made = {m.name: m.calibration for m in self.comparison if m.name in learned}
        return {name: c for name, c in made.items() if c is not None}

    @property
    def known_truth(self) -> float | None:
        """True value of the data if they are simulated, None for real data."""
        return self.truth if self.analysis.simulated else None

    def __repr__(self) -> str:
        return f"AnalysisResult({', '.join(m.name for m in self.comparison)})"

    def _repr_html_(self) -> str:
        at = "compared at" if self.known_truth is None else "truth"
        title = f"{self.analysis.model.parameter}, {at} {self.truth:g}"
        rows = [[w.name, measured(w.ratio, w.error)] for w in self.widths]
        header = ("method", "width over that of the best histogram")
        parts = [self.comparison._repr_html_(), self.coverage._repr_html_()]
        parts += [html_table(header, rows)] if rows else []
        parts += [
            f"<p>{html.escape(f'{name} is not available: {failure.reason}')}</p>"
            for name, failure in self.unavailable.items()
        ]
        parts += [
            f"<p>{html.escape(f'{m.name}: {problem}')}</p>"
            for m in self.comparison
            for problem in m.problems
        ]
        return f"<div><p>{html.escape(title)}</p>{''.join(parts)}</div>"

    def to_table(self) -> pa.Table:
        """Make a table with one row for each method.

        For its columns see :meth:`milinfer.workflow.Comparison.to_table`.  A table of the coverage
        at all true values is ``coverage.to_table()``.
        """
        return self.comparison.to_table()

    def neyman_interval(self, name: str, cl: float) -> ConfidenceSet | None:
        """Neyman interval that one method gives for the data; None if the method has no belt."""
        cost = self.costs[name]
        if name not in self.belts or not isinstance(cost, LikelihoodCost):
            return None
        if (name, cl) not in self._neyman:
            self._neyman[name, cl] = self.belts[name].interval(cost, cl)
        return self._neyman[name, cl]

    def summary(self) -> dict[str, Any]:
        """Content of ``summary.json``."""
        methods = self.comparison.to_dict()
        for name in self.belts:
            for key, cl in (("neyman68", CL68), ("neyman95", CL95)):
                interval = self.neyman_interval(name, cl)
                assert interval is not None
                methods[name][key] = [list(pair) for pair in interval.intervals]
                methods[name][f"{key}_error"] = [list(pair) for pair in interval.errors]
                methods[name][f"{key}_at_bound"] = [list(pair) for pair in interval.at_bound]
        for m in self.comparison:
            if m.problems:
                methods[m.name]["problems"] = list(m.problems)
        for r in self.information:
            methods[r.name]["info_relative"] = r.ratio
            methods[r.name]["info_relative_error"] = r.error
            methods[r.name]["info_relative_to"] = r.reference
        return {
            "poi": self.analysis.model.parameter,
            "truth": self.truth,
            "simulated": self.analysis.simulated,
            "n_events": len(self.analysis.data),
            **methods,
            "not_available": failure_facts(self.unavailable),
            "coverage_scan": self.coverage.to_dict(),
            "histograms": histogram_facts(self.templates),
            "width_over_best_histogram": {w.name: [w.ratio, w.error] for w in self.widths},
            "diagnostics": diagnosis_facts(self.diagnoses),
            **self._systematics(),
            "goodness_of_fit": fit_test_facts(self.fit_tests),
            **simulation_facts(self.training_errors),
            **self._blinding(),
            **self.extra,
            "provenance": provenance_facts(self.analysis, self.provenance),
        }

    def _blinding(self) -> dict[str, Any]:
        blinding = self.analysis.blinding
        return {} if blinding is None else {"blinding": blinding.to_dict()}

    def _systematics(self) -> dict[str, Any]:
        if self.systematics is None:
            return {}
        if isinstance(self.systematics, Unavailable):
            return {"systematics": {"problems": [self.systematics.reason]}}
        return {"systematics": self.systematics.to_dict()}


def provenance_facts(a: Analysis, provenance: Provenance) -> dict[str, Any]:
    """Make the provenance entry of a summary, with the seeds and the samples of the analysis."""
    facts = provenance.to_dict()
    seeds = {
        "toys for calibration, bootstraps, diagnostics": a.seed,
        "toys for coverage": a.seed + 1,
        "toys for belts": a.seed + 2,
    } | {f"training of {m.name}": m.seed for m in a.models}
    roles: dict[str, Sequence[Sample]] = {
        "data": [a.data],
        "templates": a.templates.samples,
        "toys for calibration": a.calibration.samples,
        "toys for coverage": a.evaluation.samples,
    }
    if a.classifier_templates is not None:
        roles["templates of the classifier"] = a.classifier_templates.samples
    if a.oracle_pool is not None:
        pool = a.oracle_pool
        roles["normalisation of the oracle"] = [pool] if isinstance(pool, Sample) else [*pool]
    return {
        "seed": a.seed,
        **facts,
        "seeds": seeds | facts["seeds"],
        "samples": [sample_facts(role, samples) for role, samples in roles.items()],
    }


def summary_table(summary: dict[str, Any]) -> Table:
    """Make a table for the terminal from the content of a ``summary.json``.

    Examples
    --------
    >>> table = summary_table({"poi": "c_HW", "truth": 0.0, "pyhf": {"coverage68": 0.68}})
    >>> table.row_count
    1
    """
    from rich.box import SIMPLE_HEAD

    if is_several(summary):
        return several_table(summary)

    def signed(values: Any) -> str:
        return "—" if values is None else "[" + ", ".join(f"{v:+.2f}" for v in values) + "]"

    columns: dict[str, tuple[str, Callable[[Any], str]]] = {
        "estimate": ("estimate", lambda v: "—" if v is None else f"{v:+.3f}"),
        "68.27% interval": ("interval68", signed),
        "I_eff": ("info_eff", lambda v: "—" if v is None else f"{v:.0f}"),
        "R": ("response", lambda v: "—" if v is None else f"{v:.2f}"),
        "c_cicc": ("c_cicc", lambda v: "—" if v is None else f"{v:.2f}"),
        "coverage": ("coverage68_with_error", str),
    }
    problems: list[str] = []
    rows: list[list[str]] = []
    for method, figures in summary.items():
        if isinstance(figures, dict) and "coverage68" in figures:
            figures = {  # noqa: PLW2901
                **figures,
                "coverage68_with_error": coverage_cell(figures),
            }
            if not figures.get("calibrated", True):
                figures = {**figures, "c_cicc": None}  # noqa: PLW2901  # not applied
            rows.append([method, *(show(figures.get(key)) for key, show in columns.values())])
            problems += [f"{method}: {problem}" for problem in figures.get("problems", ())]
    missing = summary.get("not_available", {})
    rows += [[method, "—", "not available", "—", "—", "—", "—"] for method in missing]
    compared = "truth" if summary.get("simulated") else "compared at"
    # Fits 80 columns with the longest names.
    return rich_table(
        f"{summary['poi']}, {compared} {summary['truth']:g}",
        ("method", *columns),
        rows,
        no_wrap=True,
        caption="\n".join(line for line in (coverage_errors(summary.values()), *problems) if line),
        box=SIMPLE_HEAD,
        collapse_padding=True,
    )
