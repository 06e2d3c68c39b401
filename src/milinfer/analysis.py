"""The inference half of the main job: one dataset, several methods, toys, figures, report."""

from __future__ import annotations

import html
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.belt import Belt
from milinfer.belt_grid import neyman
from milinfer.binned import BinnedLLR
from milinfer.binning import fisher_bins
from milinfer.comparison import Comparison, compare
from milinfer.confidence import ConfidenceSet
from milinfer.cost import LikelihoodCost
from milinfer.coverages import CL68, CL95, CoverageScan, IntervalMethod, coverage_scan
from milinfer.display import html_table, measured
from milinfer.exceptions import SampleError
from milinfer.likelihood import BagLikelihood
from milinfer.llr import Model
from milinfer.observables import Observable, log_ratio_observable, score_observable
from milinfer.oracle import Oracle
from milinfer.pools import EventPool
from milinfer.progress import progress
from milinfer.relative_widths import RelativeWidth, relative_widths
from milinfer.samples import Sample, SampleSet
from milinfer.surface import Interpolation
from milinfer.templates import Templates
from milinfer.toys import ToyEnsemble, Toys
from milinfer.typing import FloatArray, PathLikeStr

if TYPE_CHECKING:
    import pyarrow as pa
    from iminuit.cost import Cost
    from matplotlib.figure import Figure
    from rich.table import Table

__all__ = ["Analysis", "AnalysisResult", "analyse", "classifier_output", "summary_table"]


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
        Sample that normalises the exact likelihood ratio; None leaves the oracle out.
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
    oracle_pool: Sample | None = None
    drawn_features: tuple[str, ...] = ("d_phi_qq", "q0_pt", "m_ll")
    title: str | None = None
    simulated: bool = False

    @property
    def model(self) -> BagLikelihood:
        """The first of the models."""
        return self.models[0]


@dataclass(frozen=True, eq=False)
class AnalysisResult:
    """Comparison of the methods, with what is needed to draw it."""

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
    extra: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"AnalysisResult({', '.join(m.name for m in self.comparison)})"

    def _repr_html_(self) -> str:
        title = f"{self.analysis.model.parameter}, truth {self.truth:g}"
        rows = [[w.name, measured(w.ratio, w.error)] for w in self.widths]
        header = ("method", "width over that of the best histogram")
        parts = [self.comparison._repr_html_(), self.coverage._repr_html_()]
        parts += [html_table(header, rows)] if rows else []
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
        return {
            "poi": self.analysis.model.parameter,
            "truth": self.truth,
            "n_events": len(self.analysis.data),
            **methods,
            "coverage_scan": self.coverage.to_dict(),
            "width_over_best_histogram": {w.name: [w.ratio, w.error] for w in self.widths},
            **self.extra,
            "provenance": provenance(self.analysis.seed),
        }

    def figures(self) -> dict[str, tuple[Figure, str]]:
        """Figures with captions, by file name."""
        from milinfer.analysis_figures import figures

        return figures(self)

    def write(self, directory: PathLikeStr) -> None:
        """Write ``summary.json``, ``report.html`` and the figures (PNG and SVG)."""
        from milinfer.analysis_figures import build_report

        out = Path(directory)
        (out / "plots").mkdir(parents=True, exist_ok=True)
        drawn = self.figures()
        for name, (figure, _) in drawn.items():
            figure.savefig(out / "plots" / f"{name}.svg", metadata={"Date": None})
            figure.savefig(out / "plots" / f"{name}.png", dpi=150)
        (out / "summary.json").write_text(
            json.dumps(self.summary(), indent=2) + "\n", encoding="utf-8"
        )
        build_report(self, drawn).write(out / "report.html")


def classifier_output(
    model: BagLikelihood, half_width: float = 0.3
) -> Callable[[Sample], FloatArray]:
    """Per-event classifier output: the log-ratio between two points on both sides of θ0.

    For small distances this is the learned score, the optimal observable for small deviations; see
    :func:`milinfer.observables.log_ratio_observable`.

    Parameters
    ----------
    model
        Trained likelihood.
    half_width
        Distance of the two points from the reference.
    """
    centre = np.asarray(model.reference, dtype=np.float64)
    low, high = centre - half_width, centre + half_width
    return log_ratio_observable(model, low, high, name="classifier_output")


def analyse(analysis: Analysis) -> AnalysisResult:
    """Fit the data by every method, and measure all of them on the same toys.

    Raises
    ------
    SampleError
        If the data are empty, or there are several evaluation samples and no `truth`.
    """
    model, seed = analysis.model, analysis.seed
    parameter = model.parameter
    if not len(analysis.data):
        msg = f"{analysis.data.label}: a dataset without events cannot be fitted"
        raise SampleError(msg)
    truth = analysis.truth
    if truth is None:
        if len(analysis.evaluation) != 1:
            msg = (
                f"evaluation samples are at {analysis.evaluation.values(parameter)}: say at which "
                "value the methods are to be compared, with truth="
            )
            raise SampleError(msg)
        truth = float(analysis.evaluation.values(parameter)[0])
    n_events = len(analysis.data)
    low, high = model.interpolation.limits[0]
    fine = Interpolation(np.linspace(low, high, 81), "spline")
    binned = _histograms(analysis)
    models: list[Model] = list(analysis.models)
    models += [
        BinnedLLR(name, t, parameter, fine, mc_stat=analysis.mc_stat) for name, t in binned.items()
    ]
    costs: dict[str, Cost] = {m.name: m.cost(analysis.data) for m in analysis.models}
    costs |= {name: t.cost(analysis.data, mc_stat=analysis.mc_stat) for name, t in binned.items()}
    if analysis.oracle_pool is not None:
        oracle = Oracle.from_sample(analysis.oracle_pool, parameter, fine.grid)
        models.append(oracle)
        costs[oracle.name] = oracle.cost(analysis.data)
    toys, evaluated, belt_toys = _throw(analysis, models, n_events, truth)
    at_truth = {
        name: next(e for e in found if e.truth == truth) for name, found in evaluated.items()
    }
    # pyhf and the oracle stay as their users run them; the learned surface needs its calibration.
    learned = {m.name for m in analysis.models}
    untouched = [m.name for m in models if m.name not in learned]
    comparison = compare(toys, at_truth, costs, uncalibrated=untouched, seed=seed)
    belts = {
        name: neyman(found, calibration=comparison[name].calibration)
        for name, found in belt_toys.items()
    }
    scan = CoverageScan(())
    for name, found in evaluated.items():
        methods: dict[str, IntervalMethod | None] = {}
        if name == model.name:
            methods[f"{name}, as trained"] = None
        methods[name] = comparison[name].applied
        if name == model.name and name in belts:
            methods[f"{name}, Neyman"] = belts[name]
        scan += coverage_scan(found, methods, warn_of_pool=False)
    widths: tuple[RelativeWidth, ...] = ()
    if len(next(iter(evaluated.values()))) > 1:
        ordered = {
            name: [at_truth[name], *(e for e in found if e.truth != truth)]
            for name, found in evaluated.items()
        }
        widths = relative_widths(ordered, list(binned), seed=seed)
    return AnalysisResult(
        analysis, comparison, costs, binned, toys, at_truth, scan, widths, belts, truth
    )


def _histograms(analysis: Analysis) -> dict[str, Templates]:
    """Templates of one feature, of two, and of what the network makes of an event.

    Bins of one observable keep the most information at the reference, those of two are quantiles.
    """
    model, degree = analysis.model, analysis.degree
    at = {model.parameter: float(np.ravel(model.reference)[0])}

    def of(samples: SampleSet, observable: Observable) -> Templates:
        edges = fisher_bins(samples, observable, analysis.bins, at, degree=degree)
        return Templates.from_samples(samples, observable, bins=edges, degree=degree)

    found = {"pyhf": of(analysis.templates, analysis.observable)}
    if analysis.second_observable is not None:
        found["pyhf_2d"] = Templates.from_samples(
            analysis.templates,
            (analysis.observable, analysis.second_observable),
            bins=analysis.bins_2d,
            degree=degree,
        )
    if analysis.classifier_templates is not None:
        found["pyhf_classifier"] = of(analysis.classifier_templates, classifier_output(model))
        found["pyhf_score"] = of(
            analysis.classifier_templates, score_observable(model, at[model.parameter])
        )
    return found


def _throw(
    analysis: Analysis, models: Sequence[Model], n_events: int, truth: float
) -> tuple[
    dict[str, list[ToyEnsemble]], dict[str, list[ToyEnsemble]], dict[str, list[ToyEnsemble]]
]:
    """Toys for calibration (all models), for coverage (all) and for belts (the learned ones)."""
    parameter, n, seed = analysis.model.parameter, analysis.n_toys, analysis.seed
    tuning, other = (
        EventPool(s, analysis.weight_degree) for s in (analysis.calibration, analysis.evaluation)
    )
    calibrate_at = analysis.calibrate_at or _values(analysis.calibration, parameter)
    cover_at = tuple(sorted({truth, *(analysis.cover_at or _values(other.samples, parameter))}))
    learned = list(analysis.models)
    jobs = (
        (tuning, seed, models, calibrate_at),
        (other, seed + 1, models, cover_at),
        (tuning, seed + 2, learned, analysis.belt_at),
    )
    found = []
    with progress("toys", n * sum(len(truths) for *_, truths in jobs)) as advance:
        for pool, own, shown, truths in jobs:
            toys = Toys(pool, n_events, own)
            found.append(
                toys.scan(shown, truths, n, workers=analysis.workers, on_toys=advance)
                if truths
                else {}
            )
    return found[0], found[1], found[2]


def _values(samples: SampleSet, parameter: str) -> tuple[float, ...]:
    return tuple(float(t) for t in np.sort(samples.values(parameter)))


def provenance(seed: int) -> dict[str, Any]:
    """Versions and seed behind a result."""
    from importlib.metadata import version

    packages = (
        "milinfer awkward coffea hist iminuit keras numpy pyhf pylhe scipy tensorflow uproot vector"
    )
    return {
        "seed": seed,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in packages.split()},
    }


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
        "68% interval": ("interval68", signed),
        "I_eff": ("info_eff", lambda v: "—" if v is None else f"{v:.0f}"),
        "R": ("response", lambda v: "—" if v is None else f"{v:.2f}"),
        "c_cicc": ("c_cicc", lambda v: "—" if v is None else f"{v:.2f}"),
        "coverage": ("coverage68", lambda v: f"{v:.1%}"),
    }
    # Fits 80 columns with the longest names.
    title = f"{summary['poi']}, truth {summary['truth']:g}"
    table = Table(title=title, box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("method", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for method, figures in summary.items():
        if isinstance(figures, dict) and "coverage68" in figures:
            table.add_row(method, *(show(figures.get(key)) for key, show in columns.values()))
    return table
