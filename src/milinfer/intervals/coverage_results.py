"""Measured coverages: a number with its errors; those of several methods at several truths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2

from milinfer.typing import FloatArray, Point
from milinfer.utils.display import html_facts, html_table, rich_table
from milinfer.utils.points import format_point, only
from milinfer.utils.tables import tuples_table

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

__all__ = ["Coverage", "CoverageScan", "binomial_errors"]


def binomial_errors(cl: float, n: ArrayLike) -> FloatArray:
    """Binomial standard error of a coverage that is as claimed.

    Examples
    --------
    >>> binomial_errors(0.6827, np.array([2000.0])).round(4)
    array([0.0104])
    """
    error: FloatArray = np.sqrt(cl * (1 - cl) / np.asarray(n, dtype=np.float64))
    return error


class Coverage(NamedTuple):
    """Share of the toys whose interval contains the truth.

    Parameters
    ----------
    model, method
        Whose intervals.
    point
        The truth.
    cl
        Confidence level claimed.
    coverage, error
        What was measured, with the binomial error sqrt(p(1−p)/n).
    low, high
        Clopper–Pearson 68.27 % interval.
    n_toys
        Number of toys.
    pool_error
        How far the fluctuation of the finite pool of events may shift this number; NaN where it is
        not known.
    """

    model: str
    method: str
    point: Point
    cl: float
    coverage: float
    error: float
    low: float
    high: float
    n_toys: int
    pool_error: float

    @property
    def theta(self) -> float:
        """The truth in one parameter."""
        return self.point[only(tuple(self.point))]

    @property
    def pull(self) -> float:
        """Deviation from what is claimed, in binomial errors of the claim."""
        return (self.coverage - self.cl) / float(binomial_errors(self.cl, self.n_toys))

    @property
    def total_pull(self) -> float:
        """The same in errors of toys and pool, added in quadrature where the latter is known."""
        toys = float(binomial_errors(self.cl, self.n_toys))
        pool = 0.0 if np.isnan(self.pool_error) else self.pool_error
        return (self.coverage - self.cl) / float(np.hypot(toys, pool))

    def __str__(self) -> str:
        return (
            f"{self.method} of {self.model} at {format_point(self.point)}: "
            f"{self.coverage:.2%} ± {self.error:.2%} (claimed {self.cl:.2%}, {self.n_toys} toys)"
        )

    def _repr_html_(self) -> str:
        facts = {
            "truth": format_point(self.point),
            "coverage": f"{self.coverage:.2%} ± {self.error:.2%}",
            "claimed": f"{self.cl:.2%}",
            "pull": f"{self.pull:+.1f}",
            "toys": self.n_toys,
            "error of the pool": "" if np.isnan(self.pool_error) else f"{self.pool_error:.2%}",
        }
        return html_facts(f"Coverage of {self.method}, {self.model}", facts)

    def to_table(self) -> pa.Table:
        """One row; see :meth:`CoverageScan.to_table`."""
        return CoverageScan((self,)).to_table()


@dataclass(frozen=True)
class CoverageScan:
    """Coverage of several methods at several truths.

    Examples
    --------
    >>> row = Coverage("m", "belt", {"mu": 0.0}, 0.6827, 0.70, 0.01, 0.69, 0.71, 2000, 0.0)
    >>> scan = CoverageScan((row,))
    >>> round(row.pull, 2), round(scan.chi2("belt", 0.6827)[2], 3)
    (1.66, 0.096)
    """

    rows: tuple[Coverage, ...]

    def __iter__(self) -> Iterator[Coverage]:
        return iter(self.rows)

    def __add__(self, other: CoverageScan) -> CoverageScan:
        return CoverageScan(self.rows + other.rows)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in order."""
        return tuple(dict.fromkeys(r.method for r in self.rows))

    @property
    def cls(self) -> tuple[float, ...]:
        """Confidence levels, in order."""
        return tuple(dict.fromkeys(r.cl for r in self.rows))

    def of(self, method: str, cl: float) -> tuple[Coverage, ...]:
        """Rows of one method at one level.

        Raises
        ------
        KeyError
            If there are none.
        """
        found = tuple(r for r in self.rows if r.method == method and abs(r.cl - cl) < 1e-9)
        if not found:
            msg = f"no coverage of {method!r} at {cl:g}; there are {self.methods} at {self.cls}"
            raise KeyError(msg)
        return found

    def chi2(self, method: str, cl: float) -> tuple[float, int, float]:
        """χ² of all truths against the claim, degrees of freedom and p-value.

        Errors are those of toys and pool, where the latter is known.  Toys at different truths from
        one pool share its fluctuation: the mean of χ²/n is one all the same, but it varies more
        than that of as many independent numbers.
        """
        pulls = np.array([r.total_pull for r in self.of(method, cl)])
        value = float(pulls @ pulls)
        return value, len(pulls), float(chi2.sf(value, len(pulls)))

    def outside(self, method: str, cl: float, sigmas: float = 2.0) -> tuple[Coverage, ...]:
        """Rows further from the claim than so many errors of toys and pool."""
        return tuple(r for r in self.of(method, cl) if abs(r.total_pull) > sigmas)

    header = ("method", "level", "truths", "lowest", "highest", "χ²/n", "p-value", "beyond 2σ")

    def table_rows(self) -> list[list[str]]:
        """Cells of the table, as text: one row for each method and level."""
        out = []
        for method in self.methods:
            for cl in self.cls:
                rows = self.of(method, cl)
                value, n, p = self.chi2(method, cl)
                out.append(
                    [
                        method,
                        f"{cl:.2%}",
                        str(n),
                        f"{min(r.coverage for r in rows):.2%}",
                        f"{max(r.coverage for r in rows):.2%}",
                        f"{value / n:.2f}",
                        f"{p:.2g}",
                        str(len(self.outside(method, cl))),
                    ]
                )
        return out

    def __repr__(self) -> str:
        return f"CoverageScan({len(self.rows)} rows of {', '.join(self.methods) or 'no method'})"

    def to_rich(self) -> Table:
        """Table for the terminal."""
        from rich.box import SIMPLE_HEAD

        return rich_table(
            self._title,
            self.header,
            self.table_rows(),
            no_wrap=True,
            box=SIMPLE_HEAD,
            collapse_padding=True,
        )

    def _repr_html_(self) -> str:
        return html_table(self.header, self.table_rows(), title=self._title)

    _title: ClassVar = "Coverage at all truths"

    def to_table(self) -> pa.Table:
        """One row for each method, level and truth.

        Columns: the fields of :class:`Coverage`, the truth as ``point.PARAMETER``, ``pull`` and
        ``total_pull``.
        """
        return tuples_table(Coverage, self.rows, ["pull", "total_pull"])

    def to_dict(self) -> list[dict[str, Any]]:
        """Plain numbers, for JSON; None where the error of the pool is not known."""
        return [
            {
                **r._asdict(),
                "point": dict(r.point),
                "pull": r.pull,
                "total_pull": r.total_pull,
                "pool_error": None if np.isnan(r.pool_error) else r.pool_error,
            }
            for r in self.rows
        ]
