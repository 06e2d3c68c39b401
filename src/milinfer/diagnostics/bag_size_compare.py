"""Several ansätze for the error of a bag, fitted to the same informations ([AS], §C.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from milinfer.diagnostics.bag_size import fit_bag_sizes
from milinfer.diagnostics.bag_size_curve import Ansatz, BagSizeFit
from milinfer.exceptions import FitError
from milinfer.typing import FloatArray
from milinfer.utils.display import html_table, rich_table

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

__all__ = ["AnsatzComparison", "compare_ansaetze"]


@dataclass(frozen=True)
class AnsatzComparison:
    """Fits of several ansätze to the same informations.

    Parameters
    ----------
    fits
        Lowest AIC first.
    left_out
        Why an ansatz has no fit.
    """

    fits: tuple[BagSizeFit, ...]
    left_out: Mapping[str, str]

    header: ClassVar = (
        "ansatz",
        "I_true",
        "k",
        "others",
        "I at infinity",
        "χ²/ndf",
        "p",
        "ΔAIC",
        "growth",
    )

    def allowed(self, delta: float = 4.0) -> tuple[BagSizeFit, ...]:
        """Fits with an AIC within `delta` of the lowest: those that the data do not tell apart."""
        return tuple(f for f in self.fits if f.aic <= self.fits[0].aic + delta)

    @property
    def asymptotes(self) -> tuple[float, float]:
        """Lowest and highest information at infinite bags of the allowed fits.

        Their distance is what the choice of the ansatz adds to the error of the extrapolation.
        """
        values = [f.asymptote for f in self.allowed()]
        return min(values), max(values)

    def rows(self) -> list[list[str]]:
        """Cells of the table, as text."""
        return [
            [
                f.ansatz,
                *(_cell(v, e) for v, e in zip(f.values[:2], f.errors[:2], strict=True)),
                ", ".join(
                    f"{n} {_cell(v, e)}"
                    for n, v, e in zip(f.parameters[2:], f.values[2:], f.errors[2:], strict=True)
                )
                or "—",
                f"{f.asymptote:.4g} ± {f.asymptote_error:.2g}",
                f"{f.chi2:.1f}/{f.ndf}",
                "—" if np.isnan(f.p_value) else f"{f.p_value:.2g}",
                f"{f.aic - self.fits[0].aic:.1f}",
                "none" if f.plateau else f"{f.growth:.1f}σ",
            ]
            for f in self.fits
        ]

    def to_rich(self) -> Table:
        """Table for the terminal."""
        return rich_table(self._title, self.header, self.rows())

    def _repr_html_(self) -> str:
        return html_table(self.header, self.rows(), title=self._title)

    def __repr__(self) -> str:
        return f"AnsatzComparison({', '.join(f.ansatz for f in self.fits)})"

    _title: ClassVar = "Effective information against bag size"

    def to_table(self) -> pa.Table:
        """One row for each ansatz, lowest AIC first; see :meth:`BagSizeFit.to_table`."""
        import pyarrow as pa

        tables = [f.to_table() for f in self.fits]
        return pa.concat_tables(tables, promote_options="default")

    def to_dict(self) -> dict[str, Any]:
        """Figures by name, for JSON."""
        return {
            "fits": [f.to_dict() for f in self.fits],
            "allowed": [f.ansatz for f in self.allowed()],
            "left_out": dict(self.left_out),
        }


def compare_ansaetze(
    sizes: ArrayLike,
    info: ArrayLike,
    info_error: ArrayLike | None = None,
    *,
    ansaetze: Sequence[Ansatz] = ("sqrt", "constant", "power", "linear"),
    covariance: ArrayLike | None = None,
    bound: tuple[float, float] | None = None,
) -> AnsatzComparison:
    """Fit several ansätze, to see whether the data tell them apart.

    Parameters
    ----------
    sizes, info, info_error, covariance, bound
        See :func:`fit_bag_sizes`.
    ansaetze
        Those to fit.

    Raises
    ------
    FitError
        If none can be fitted.

    Examples
    --------
    >>> import numpy as np
    >>> sizes = np.array([1, 5, 25, 100, 400])
    >>> found = compare_ansaetze(sizes, 300 / (1 + 1.5 / np.sqrt(sizes)), np.full(5, 3.0))
    >>> [f.ansatz for f in found.fits], list(found.left_out)
    (['sqrt', 'power', 'constant'], ['linear'])
    >>> [f.ansatz for f in found.allowed()]
    ['sqrt', 'power']
    """
    fits: list[BagSizeFit] = []
    left_out: dict[str, str] = {}
    for ansatz in ansaetze:
        if ansatz == "linear" and bound is None:
            left_out[ansatz] = 'the same curves as "sqrt" unless the true information is given'
            continue
        try:
            fit = fit_bag_sizes(
                sizes, info, info_error, ansatz=ansatz, covariance=covariance, bound=bound
            )
        except FitError as error:
            left_out[ansatz] = str(error)
        else:
            fits.append(fit)
    if not fits:
        msg = f"no ansatz can be fitted: {left_out}"
        raise FitError(msg)
    return AnsatzComparison(tuple(sorted(fits, key=lambda f: f.aic)), left_out)


def _cell(value: float, error: FloatArray) -> str:
    low, high = error
    if np.isnan(low):
        return "—"
    if low == high == 0:
        return f"{value:.4g}"
    if abs(high - low) < 0.1 * (high + low):
        return f"{value:.4g} ± {(low + high) / 2:.2g}"
    return f"{value:.4g} −{low:.2g} +{high:.2g}"
