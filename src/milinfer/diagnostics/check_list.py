"""Combine the results of several checks: a verdict, and tables for the terminal and notebooks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from milinfer.diagnostics.checks import Check, jsonable
from milinfer.utils.display import UNKNOWN, arrow_table, html_table

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

__all__ = ["CheckList"]

# A deviation beyond so many standard errors is named, whatever the threshold of its check.
_LARGE = 3.0
_SUMMARY = ("verdict", "passed", "n_events", "reference", "checks")
_STYLES = {"passed": "green", "failed": "bold red", "undecided": "yellow", "skipped": "dim"}
# Colours that are readable on white and on black.
_COLOURS = {"passed": "#2e8b57", "failed": "#d64545", "undecided": "#a87b00", "skipped": "#7a7a7a"}


@dataclass(frozen=True, eq=False, repr=False)
class CheckList:
    """Base class of the diagnoses: a list of checks, and its summary."""

    header = ("check", "measured", "exact", "pull", "outcome", "meaning")

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        msg = f"no check {name!r}; there are {', '.join(c.name for c in self.checks)}"
        raise KeyError(msg)

    @property
    def passed(self) -> bool:
        """Whether all checks have passed; an undecided check has not passed, a skipped one has."""
        return all(c.outcome in ("passed", "skipped") for c in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """Checks that failed."""
        return tuple(c for c in self.checks if c.outcome == "failed")

    @property
    def undecided(self) -> tuple[Check, ...]:
        """Checks that are undecided, because there are too few events."""
        return tuple(c for c in self.checks if c.outcome == "undecided")

    @property
    def significant(self) -> tuple[Check, ...]:
        """Checks that did not fail although their deviation is significant.

        If such a check has passed, the deviation is too small to matter.  If it is undecided, it is
        not known whether the deviation matters.
        """
        return tuple(c for c in self.checks if c.outcome != "failed" and c.pull > c.threshold)

    @property
    def fluctuations(self) -> tuple[Check, ...]:
        """Checks with a deviation of more than 3σ that may still be a fluctuation.

        A check that consists of several measurements shows the measurement with the largest
        deviation.  By chance this may be larger than 3σ, so the threshold of the check is larger,
        too.
        """
        return tuple(c for c in self.checks if _LARGE < c.pull <= c.threshold)

    @property
    def verdict(self) -> str:
        """One line that sums up the checks."""
        if self.failures:
            return f"do not trust as it is: {', '.join(c.name for c in self.failures)}"
        parts = []
        if not self.significant and not self.fluctuations:
            parts.append("nothing wrong found")
        for harm, deviations in (
            ("too small to matter", [c for c in self.significant if c.outcome == "passed"]),
            ("that may matter", [c for c in self.significant if c.outcome == "undecided"]),
            ("that may be a fluctuation", self.fluctuations),
        ):
            if deviations:
                named = ", ".join(f"{c.name} ({c.pull:.1f}σ)" for c in deviations)
                parts.append(f"deviation {harm}: {named}")
        undecided = [c.name for c in self.undecided if c not in self.significant]
        if undecided:
            parts.append(f"undecided: {', '.join(undecided)}")
        return ", ".join(parts)

    if TYPE_CHECKING:

        @property
        def checks(self) -> tuple[Check, ...]:
            """Results of the checks."""

        @property
        def title(self) -> str:
            """Heading with what was checked and the verdict."""

    def __str__(self) -> str:
        lines = [self.title]
        for c in self.checks:
            meaning = f". {c.meaning}" if c.outcome == "failed" else ""
            lines.append(f"  {c.outcome:<9} {c.name}: {c.measured() or UNKNOWN}{meaning}")
        return "\n".join(lines)

    def rows(self) -> list[list[str]]:
        """Return the cells of the table as text."""
        return [
            [
                c.name,
                c.measured(),
                f"{c.expected:g}" if np.isfinite(c.expected) else UNKNOWN,
                UNKNOWN if np.isnan(c.pull) else f"{c.pull:.1f}",
                c.outcome,
                c.meaning,
            ]
            for c in self.checks
        ]

    def to_rich(self) -> Table:
        """Return the table for the terminal."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.title), title_justify="left", box=SIMPLE_HEAD)
        for name in self.header:
            right = name in ("exact", "pull")
            table.add_column(
                name,
                justify="right" if right else "left",
                no_wrap=name not in ("measured", "meaning"),
            )
        for row in self.rows():
            cells = [c.replace(" = ", "\n= ") if k == 1 else c for k, c in enumerate(row)]
            # As plain text, since rich would read [r] as a style.
            table.add_row(*map(Text, cells), style=_STYLES[row[4]], end_section=True)
        return table

    def __rich__(self) -> Table:
        return self.to_rich()

    def _repr_html_(self) -> str:
        return html_table(self.header, self.rows(), title=self.title, marked=("outcome", _COLOURS))

    def to_table(self) -> pa.Table:
        """Return a table with a row for each check; columns are the fields of :class:`Check`."""
        types = get_type_hints(Check) | {"outcome": str}
        return arrow_table(types, [vars(c) for c in self.checks])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.title})"

    def summary(self) -> dict[str, Any]:
        """Return the entries for ``summary.json``: verdict and checks, without data of figures."""
        return {name: value for name, value in self.to_dict().items() if name in _SUMMARY}

    def to_dict(self) -> dict[str, Any]:
        """Return all results by name, ready for JSON."""
        out: dict[str, Any] = {}
        for field in fields(self):
            if field.name == "checks":
                out |= {"passed": self.passed, "verdict": self.verdict}
                out["checks"] = [c.to_dict() for c in self.checks]
            else:
                out[field.name] = jsonable(getattr(self, field.name))
        return out
