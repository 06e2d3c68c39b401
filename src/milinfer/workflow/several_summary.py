"""Show a ``summary.json`` with several parameters: table for the terminal, and facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.utils.display import rich_table
from milinfer.utils.points import format_point
from milinfer.workflow.summary_parts import coverage_cell

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["is_several", "methods_of", "several_facts", "several_table"]

_NONE = "—"


def is_several(summary: Mapping[str, Any]) -> bool:
    """Whether a summary is that of an analysis with several parameters.

    Examples
    --------
    >>> is_several({"poi": ["c1", "c2"]}), is_several({"poi": "c1"})
    (True, False)
    """
    return isinstance(summary.get("poi"), list)


def methods_of(summary: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name of each method in a summary, with its results.

    Examples
    --------
    >>> [name for name, _ in methods_of({"poi": ["c1"], "pyhf": {"region": {}}, "truth": {}})]
    ['pyhf']
    """
    for name, figures in summary.items():
        if isinstance(figures, dict) and "region" in figures:
            yield name, figures


def several_table(summary: Mapping[str, Any]) -> Table:
    """Make a table for the terminal: for each method a line per parameter, and one for its regions.

    Parameters
    ----------
    summary
        Content of ``summary.json``.

    Examples
    --------
    >>> figures = {"c1": {"estimate": 0.1, "error": 0.2}, "c2": {}, "region": {}}
    >>> summary = {"poi": ["c1", "c2"], "truth": {"c1": 0.0, "c2": 0.0}, "pyhf": figures}
    >>> several_table(summary).row_count
    3
    """
    from rich.box import SIMPLE_HEAD

    names: list[str] = summary["poi"]
    rows: list[list[str]] = []
    lines: list[str] = []
    reference = ""
    for method, figures in methods_of(summary):
        for k, name in enumerate(names):
            own = figures[name]
            estimate = own.get("estimate")
            known = estimate is not None and own.get("error") is not None
            rows.append(
                [
                    method if k == 0 else "",
                    name,
                    f"{estimate:+.3f}" if known else _NONE,
                    _ends(own.get("interval68")),
                    _coverage(own),
                    "",
                ]
            )
        information = figures.get("information") or {}
        relative = information.get("relative")
        reference = information.get("relative_to", reference)
        correlation = (figures.get("correlation") or {}) if len(names) == 2 else {}
        rows.append(
            [
                "",
                "region",
                "",
                ", ".join(f"correlation {v:+.2f}" for v in correlation.values()),
                _coverage(figures["region"]),
                _NONE if relative is None or not np.isfinite(relative) else f"{relative:.2f}",
            ]
        )
        lines += [f"{method}: {line}" for line in figures.get("not_constrained", ())]
        lines += [f"{method}: {problem}" for problem in figures.get("problems", ())]
    missing = summary.get("not_available", {})
    rows += [[method, "", _NONE, "not available", _NONE, _NONE] for method in missing]
    if reference:
        lines.insert(0, f"√det I: root of the determinant of the information, over {reference}")
    compared = "truth" if summary.get("simulated") else "compared at"
    return rich_table(
        f"{', '.join(names)}, {compared} {format_point(summary['truth'])}",
        ("method", "", "estimate", "68.27% interval", "coverage", "√det I"),
        rows,
        no_wrap=True,
        left=("",),
        caption="\n".join(lines),
        box=SIMPLE_HEAD,
        collapse_padding=True,
    )


def _ends(pair: Any) -> str:
    return _NONE if pair is None else f"[{pair[0]:+.2f}, {pair[1]:+.2f}]"


def _coverage(figures: Mapping[str, Any]) -> str:
    if "coverage68" not in figures:
        return _NONE
    return coverage_cell(figures)


def several_facts(summary: Mapping[str, Any]) -> dict[str, object]:
    """Facts that ``milinfer inspect`` shows.

    Parameters
    ----------
    summary
        Content of ``summary.json``.

    Examples
    --------
    >>> summary = {"poi": ["c1", "c2"], "n_events": 10, "pyhf": {"region": {}, "c1": {}, "c2": {}}}
    >>> several_facts(summary)
    {'kind': 'results', 'parameters': 'c1, c2', 'events': 10, 'pyhf': 'no intervals'}
    """
    names: list[str] = summary["poi"]
    facts: dict[str, object] = {
        "kind": "results",
        "parameters": ", ".join(names),
        "events": summary["n_events"],
    }
    for method, figures in methods_of(summary):
        parts = [
            f"{name} = {own['estimate']:.4g}, 68.3 % in [{pair[0]:.4g}, {pair[1]:.4g}]"
            for name in names
            if (pair := (own := figures[name]).get("interval68")) is not None
        ]
        lines = [*figures.get("not_constrained", ()), *figures.get("problems", ())]
        facts[method] = "; ".join([*(parts or ["no intervals"]), *lines])
    return facts
