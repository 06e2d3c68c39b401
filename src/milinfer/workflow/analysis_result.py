"""What goes into an analysis and what comes out: data, methods, numbers, files."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milinfer.binned.templates import Templates
from milinfer.diagnostics.diagnosis import Diagnosis
from milinfer.intervals.belt import Belt
from milinfer.intervals.confidence_sets import ConfidenceSet
from milinfer.intervals.coverage import CL68, CL95
from milinfer.intervals.coverage_results import CoverageScan
from milinfer.intervals.relative_widths import InformationRatio, RelativeWidth
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.samples.samples import Sample, SampleSet
from milinfer.toys.toys import ToyEnsemble
from milinfer.typing import PathLikeStr
from milinfer.utils.display import html_table, measured
from milinfer.utils.files import atomic_path, write_whole
from milinfer.workflow.comparison import Comparison
from milinfer.workflow.provenance import Provenance, sample_facts
from milinfer.workflow.unavailable import Unavailable

if TYPE_CHECKING:
    import pyarrow as pa
    from iminuit.cost import Cost
    from matplotlib.figure import Figure
    from rich.table import Table

__all__ = ["Analysis", "AnalysisResult", "summary_table"]

_DIAGNOSTICS = ("verdict", "passed", "n_events", "reference", "checks")


@dataclass(frozen=True, eq=False)
class Analysis:
    """What goes in.

    Parameters
    ----------
    models
        Trained likelihoods with different names; the first is the one that the report is about.
    data
        Dataset to fit.
    templates
        Samples for the histograms.  Those of the classifier output must not be the events that
        the network was trained on; see `classifier_templates`.
    calibration
        Samples for the toys that tune calibrations and belts.
    evaluation
        Samples of other events, for coverage.
    truth
        Where the methods are compared; default: the point of the one evaluation sample.
    weight_degree
        Degree of the event weights in the parameter; toys can then be thrown anywhere between the
        samples, each with all events.  None: only where samples are.
    calibrate_at, cover_at, belt_at
        True values of the toys for calibrations, coverage and belts; default: where the samples
        are, and no belts.
    observable, bins, degree
        Of the histogram, and of its morphing polynomial.
    second_observable, bins_2d
        For a histogram of two observables; None leaves it out.
    mc_stat
        Whether the Monte-Carlo errors of the templates count in the histograms' likelihoods.
    n_toys
        At each true value.
    seed
        Of the toys.
    workers
        Threads that throw them.
    classifier_templates
        Held-out samples for the histogram of the classifier output; None leaves that method out.
    oracle_pool
        Sample or samples that normalise the exact likelihood ratio; None leaves the oracle out.
    drawn_features
        Features to draw in the report; the first three where there are none of these.
    title
        Heading of the report.
    simulated
        Whether the data are simulated at `truth`; the report then says so.
    """

    models: tuple[BagLikelihood, ...]
    data: Sample
    templates: SampleSet
    calibration: SampleSet
    evaluation: SampleSet
    truth: float | None = None
    weight_degree: int | None = None
    calibrate_at: tuple[float, ...] = ()
    cover_at: tuple[float, ...] = ()
    belt_at: tuple[float, ...] = ()
    observable: str = "d_phi_qq"
    bins: int = 20
    second_observable: str | None = None
    bins_2d: tuple[int, int] = (8, 4)
    degree: int = 4
    mc_stat: bool = True
    n_toys: int = 1000
    seed: int = 1
    workers: int = 1
    classifier_templates: SampleSet | None = None
    oracle_pool: Sample | SampleSet | None = None
    drawn_features: tuple[str, ...] = ("d_phi_qq", "q0_pt", "m_ll")
    title: str | None = None
    simulated: bool = False

    @property
    def model(self) -> BagLikelihood:
        """The first of the models."""
        return self.models[0]


@dataclass(frozen=True, eq=False)
class AnalysisResult:
    """Comparison of the methods, with what is needed to draw it.

    Parameters
    ----------
    analysis, comparison, costs, templates, calibration_toys, evaluation_toys, coverage, belts
        What went in, and what each method says of the data and the toys.
    truth
        Where the methods are compared.
    widths
        Widths over that of the best histogram; empty where the toys are at one truth only.
    information
        I_eff over that of the oracle, or of the best histogram where there is no oracle; likewise.
    diagnoses
        Of each learned model, on events that did not train it; a text where there could be none
        says why.
    unavailable
        Methods that failed, by name, and why; they are nowhere else in the result.
    provenance
        Files, seeds, settings and steps, as far as the caller of :func:`analyse` knows them.
    extra
        More for ``summary.json``.
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

    def __repr__(self) -> str:
        return f"AnalysisResult({', '.join(m.name for m in self.comparison)})"

    def _repr_html_(self) -> str:
        title = f"{self.analysis.model.parameter}, truth {self.truth:g}"
        rows = [[w.name, measured(w.ratio, w.error)] for w in self.widths]
        header = ("method", "width over that of the best histogram")
        parts = [self.comparison._repr_html_(), self.coverage._repr_html_()]
        parts += [html_table(header, rows)] if rows else []
        parts += [
            f"<p>{html.escape(f'{name} is not available: {found.reason}')}</p>"
            for name, found in self.unavailable.items()
        ]
        parts += [
            f"<p>{html.escape(f'{m.name}: {problem}')}</p>"
            for m in self.comparison
            for problem in m.problems
        ]
        return f"<div><p>{html.escape(title)}</p>{''.join(parts)}</div>"

    def to_table(self) -> pa.Table:
        """One row for each method; see :meth:`milinfer.Comparison.to_table`.

        Coverage at all truths is ``coverage.to_table()``.
        """
        return self.comparison.to_table()

    def neyman_interval(self, name: str, cl: float) -> ConfidenceSet | None:
        """Neyman interval of the data by one method, where it has a belt."""
        cost = self.costs[name]
        if name not in self.belts or not isinstance(cost, LikelihoodCost):
            return None
        return self.belts[name].interval(cost, cl)

    def summary(self) -> dict[str, Any]:
        """Content of ``summary.json``."""
        methods = self.comparison.to_dict()
        for name in self.belts:
            for key, cl in (("neyman68", CL68), ("neyman95", CL95)):
                found = self.neyman_interval(name, cl)
                assert found is not None
                methods[name][key] = [list(pair) for pair in found.intervals]
                methods[name][f"{key}_error"] = [list(pair) for pair in found.errors]
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
            "n_events": len(self.analysis.data),
            **methods,
            "not_available": {
                name: {"stage": found.stage, "reason": found.reason}
                for name, found in self.unavailable.items()
            },
            "coverage_scan": self.coverage.to_dict(),
            "width_over_best_histogram": {w.name: [w.ratio, w.error] for w in self.widths},
            "diagnostics": {
                name: {"verdict": d}
                if isinstance(d, str)
                # Without the histograms and curves, which are in the figures.
                else {k: v for k, v in d.to_dict().items() if k in _DIAGNOSTICS}
                for name, d in self.diagnoses.items()
            },
            **self.extra,
            "provenance": self._provenance(),
        }

    def _provenance(self) -> dict[str, Any]:
        """Versions, seeds, inputs and steps; the seeds and samples of the analysis among them."""
        a = self.analysis
        known = self.provenance.to_dict()
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
            **known,
            "seeds": seeds | known["seeds"],
            "samples": [sample_facts(role, samples) for role, samples in roles.items()],
        }

    def figures(self) -> dict[str, tuple[Figure, str]]:
        """Figures with captions, by file name."""
        from milinfer.workflow.analysis_figures import figures

        return figures(self)

    def write(self, directory: PathLikeStr) -> None:
        """Write ``summary.json``, ``report.html`` and the figures (PNG and SVG)."""
        from milinfer.workflow.html_report import svg_text
        from milinfer.workflow.report import build_report

        out = Path(directory)
        (out / "plots").mkdir(parents=True, exist_ok=True)
        drawn: dict[str, tuple[Figure | str, str]] = {}
        for name, (figure, caption) in self.figures().items():
            svg = svg_text(figure)
            write_whole(out / "plots" / f"{name}.svg", svg)
            figure.set_layout_engine("none")  # as it was laid out; again would take as long
            with atomic_path(out / "plots" / f"{name}.png") as temporary:
                figure.savefig(temporary, dpi=150)
            drawn[name] = svg, caption
        write_whole(out / "summary.json", json.dumps(self.summary(), indent=2) + "\n")
        build_report(self, drawn).write(out / "report.html")


def _coverage_errors(summary: dict[str, Any]) -> str:
    """Errors of the coverages, of the toys and of the events that they share."""
    methods = [m for m in summary.values() if isinstance(m, dict) and "coverage68_error" in m]
    if not methods:
        return ""
    toys = max(m["coverage68_error"] for m in methods)
    pool = max((m.get("coverage68_pool_error") or 0.0 for m in methods), default=0.0)
    more = "; more than the toys: use more events" if pool > toys else ""
    return f"errors of the coverages: toys {toys:.1%}, their events up to {pool:.1%}{more}"


def summary_table(summary: dict[str, Any]) -> Table:
    """Terminal table of a ``summary.json``.

    Examples
    --------
    >>> table = summary_table({"poi": "c_HW", "truth": 0.0, "pyhf": {"coverage68": 0.68}})
    >>> table.row_count
    1
    """
    from rich import box
    from rich.table import Table

    def signed(values: Any) -> str:
        return "—" if values is None else "[" + ", ".join(f"{v:+.2f}" for v in values) + "]"

    columns: dict[str, tuple[str, Callable[[Any], str]]] = {
        "estimate": ("estimate", lambda v: "—" if v is None else f"{v:+.3f}"),
        "68.27% interval": ("interval68", signed),
        "I_eff": ("info_eff", lambda v: "—" if v is None else f"{v:.0f}"),
        "R": ("response", lambda v: "—" if v is None else f"{v:.2f}"),
        "c_cicc": ("c_cicc", lambda v: "—" if v is None else f"{v:.2f}"),
        "coverage": ("coverage68", lambda v: f"{v:.1%}"),
    }
    # Fits 80 columns with the longest names.
    title = f"{summary['poi']}, truth {summary['truth']:g}"
    problems: list[str] = []
    table = Table(title=title, box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("method", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for method, figures in summary.items():
        if isinstance(figures, dict) and "coverage68" in figures:
            if not figures.get("calibrated", True):
                figures = {**figures, "c_cicc": None}  # noqa: PLW2901  # not applied
            table.add_row(method, *(show(figures.get(key)) for key, show in columns.values()))
            problems += [f"{method}: {problem}" for problem in figures.get("problems", ())]
    for method in summary.get("not_available", {}):
        table.add_row(method, "—", "not available", "—", "—", "—", "—")
    table.caption = "\n".join(line for line in (_coverage_errors(summary), *problems) if line)
    return table
