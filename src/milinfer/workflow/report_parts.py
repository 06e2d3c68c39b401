"""Parts that are the same in reports with one parameter and with several parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milinfer.diagnostics.fit_tests import GoodnessOfFit
from milinfer.intervals.calibration import Calibration
from milinfer.learning.tracking import flat_settings, png_bytes
from milinfer.plotting.style import method_title
from milinfer.typing import PathLikeStr
from milinfer.utils.files import write_whole
from milinfer.utils.points import format_point
from milinfer.workflow.html_report import Report, laid_out, svg_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Drawn",
    "add_fit_tests",
    "add_provenance",
    "calibration_words",
    "datasets_caption",
    "write_figures",
]

Drawn = Mapping[str, "tuple[Figure | str, str]"]
"""Figures by name, each as a figure or as SVG, with its caption."""


def write_figures(
    figures: Mapping[str, tuple[Figure, str]], directory: PathLikeStr
) -> dict[str, tuple[Figure | str, str]]:
    """Write figures as PNG and SVG to ``plots/`` in a folder; return their SVG and captions."""
    plots = Path(directory) / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, tuple[Figure | str, str]] = {}
    for name, (figure, caption) in figures.items():
        with laid_out(figure):  # once for both files
            svg = svg_text(figure)
            write_whole(plots / f"{name}.svg", svg)
            write_whole(plots / f"{name}.png", png_bytes(figure))
        drawn[name] = svg, caption
    return drawn


def calibration_words(calibration: Calibration) -> str:
    """Text for the headline that says how the intervals are calibrated."""
    more = ", including the error of the calibration" if calibration.widen else ""
    return f"calibrated on toys{more}"


def datasets_caption(drawn: str, point: str) -> str:
    """Caption of the interval of the data above those of simulated datasets at a point.

    Examples
    --------
    >>> datasets_caption("The interval of the data", "c_HW=0").split(", ")[0]
    'The interval of the data'
    """
    return (
        f"{drawn}, above the intervals of twenty simulated datasets of this size at {point} "
        "(line). About one in three 68.27 % intervals is expected to miss the truth."
    )


def add_fit_tests(report: Report, model: str, tests: GoodnessOfFit | str) -> None:
    """Add the goodness-of-fit tests of a model, or the reason why there are none."""
    title = method_title(model)
    if isinstance(tests, str):
        report.text(f"{title}: {tests}.")
        return
    report.text(
        f"The data are compared with simulated events, weighted to the fit of {title}, "
        f"{format_point({k: round(v, 3) for k, v in tests.point.items()})}. {tests.sentence}"
    )
    report.table(
        list(tests.header),
        tests.rows(),
        f"χ² or distance of the data; its mean over {tests.n_toys} toys generated at the fit, each "
        "of which is fitted again; and the fraction of toys that deviate at least as much.",
    )


def add_provenance(report: Report, summary: dict[str, Any]) -> None:
    """Add the provenance in the summary: steps, files, samples, seeds, settings and versions."""
    facts = summary["provenance"]
    run = facts["run"]
    report.text(
        (f"Command: {facts['command']}. " if facts["command"] else "")
        + f"Written by a run that began at {run['started']}"
        + (f" and took {run['seconds']:.1f} s until the report." if run["steps"] else ".")
    )
    with report.folded("Steps, files, samples, seeds, settings and versions"):
        if run["steps"]:
            words = {"run": "run", "cached": "from the cache"}
            report.table(
                ["step", "state", "seconds", "done"],
                [
                    [s["name"], words[s["state"]], f"{s['seconds']:.1f}", s["done"]]
                    for s in run["steps"]
                ],
                "Steps before the report. A step “from the cache” was done by an earlier run.",
                {"done": "text", "state": "text"},
            )
        if facts["inputs"]:
            report.table(
                ["input file", "role", "events", "bytes", "content", "SHA-256"],
                [
                    [i["path"], i["role"], i["n_events"], i["n_bytes"], i["content"], i["sha256"]]
                    for i in facts["inputs"]
                ],
                "Files that were read.",
                {"content": "text", "role": "text", "SHA-256": "hash"},
            )
        report.table(
            ["events for", "process", "points", "events", "source"],
            [
                [
                    s["role"],
                    ", ".join(s["processes"]),
                    _shortened(s["points"]),
                    str(s["n_events"]),
                    s["source"] or "—",
                ]
                for s in facts["samples"]
            ],
            "Samples of the analysis.",
            {"process": "text", "points": "text", "source": "text"},
        )
        report.table(
            ["seed of", "value"], [[k, str(v)] for k, v in facts["seeds"].items()], "Seeds."
        )
        if facts["configuration"]:
            report.table(
                ["setting", "value"],
                [
                    [key, "—" if value is None else str(value)]
                    for key, value in flat_settings(facts["configuration"], index="[{}]").items()
                ],
                "Configuration, defaults included.",
                {"value": "text"},
            )
        rows = [[name, str(v)] for name, v in facts["versions"].items()]
        rows += [["python", facts["python"]], ["machine", facts["machine"]]]
        report.table(["package", "version"], rows, "Versions.")


def _shortened(points: list[str]) -> str:
    if len(points) <= 4:
        return ", ".join(points) or "—"
    return f"{points[0]}, {points[1]}, … {points[-1]} ({len(points)})"
