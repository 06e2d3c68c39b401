"""Figures of a :class:`~milinfer.diagnostics.bag_size_scan.BagSizeScan`.

As in :mod:`milinfer.plotting.results`, every function returns a figure of what the result holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from milinfer.plotting.style import LINES, PALETTE, figure_of, plain, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.diagnostics.bag_size_curve import BagSizeFit
    from milinfer.diagnostics.bag_size_scan import BagSizeScan
    from milinfer.intervals.relative_widths import RelativeWidth

__all__ = ["plot_bag_sizes", "plot_relative_widths"]

_NAMES = {
    "sqrt": r"$\sigma^2_\epsilon = C\sqrt{N_B}$",
    "constant": r"$\sigma^2_\epsilon = C$",
    "power": r"$\sigma^2_\epsilon = C\,N_B^{a}$",
    "linear": r"$\sigma^2_\epsilon = C\sqrt{N_B} + C_2 N_B$",
}


def plot_bag_sizes(
    scan: BagSizeScan,
    fits: Sequence[BagSizeFit] = (),
    bound: tuple[float, float] | float | None = None,
) -> Figure:
    """Effective information against bag size ([AS], fig. 2), with fits and the exact bound.

    Parameters
    ----------
    scan
        Points: I_eff filled, I_MLE = 1/Var(θ̂) open, the single trainings small where there are
        several.  I_MLE far above the others (an estimator that is pulled to the middle) is shown
        as an arrow at the upper edge.
    fits
        Drawn with their one-sigma band, beyond the largest size too.
    bound
        True information, or that with its error; default: the bound of the scan.

    Examples
    --------
    >>> from milinfer.diagnostics.bag_size_scan import BagSizeScan
    >>> info = np.array([60.0, 80.0, 90.0])
    >>> scan = BagSizeScan(np.array([1, 10, 100]), (), info, info, np.ones(3), np.eye(3),
    ...                    np.nan, (107.0, 0.0))
    >>> figure = plot_bag_sizes(scan, [scan.fit()])
    >>> figure.axes[0].get_xscale(), figure.axes[0].get_ylabel()
    ('log', 'information')
    """
    known = scan.bound if bound is None else bound
    sizes = scan.sizes
    fine = np.geomspace(sizes[0], sizes[-1] * 4, 201)
    with styled():
        figure, axis = figure_of(6.4, 4.6)
        top = float(np.max(scan.info_eff + scan.info_eff_error))
        if known is not None:
            value, error = known if isinstance(known, tuple) else (known, 0.0)
            axis.axhline(value, color="black", lw=1, ls="--", label="exact bound")
            axis.axhspan(value - error, value + error, color="black", alpha=0.12, lw=0)
            top = max(top, value + error)
        for i, fit in enumerate(fits):
            colour = PALETTE[(i + 1) % len(PALETTE)]
            curve, band = fit.info(fine), fit.info_error(fine)
            goodness = "" if np.isnan(fit.p_value) else f", p = {fit.p_value:.2g}"
            label = rf"{_NAMES[fit.ansatz]}: $\chi^2$/ndf = {fit.chi2:.1f}/{fit.ndf}{goodness}"
            inside = fine <= sizes[-1] * (1 + 1e-9)
            axis.fill_between(fine, curve - band, curve + band, color=colour, alpha=0.18, lw=0)
            # Fits that agree lie on top of each other: the later ones are thinner.
            width = max(3.0 - i, 1.0)
            line = LINES[i % len(LINES)]
            axis.plot(fine[inside], curve[inside], color=colour, lw=width, ls=line, label=label)
            # Thin where it extrapolates.
            axis.plot(
                fine[~inside], curve[~inside], color=colour, lw=0.7 * width, alpha=0.6, ls=line
            )
            top = max(top, float(np.max(curve[inside] + band[inside])))
        limit = 1.15 * top
        high = scan.info_mle > limit
        axis.errorbar(
            sizes[~high] * 1.06,
            scan.info_mle[~high],
            yerr=scan.info_mle_error[~high],
            fmt="o",
            mfc="none",
            color="gray",
            ms=5,
            lw=1,
            label=r"$I_\mathrm{MLE} = 1/\mathrm{Var}(\hat\theta)$",
        )
        for n, value in zip(sizes[high], scan.info_mle[high], strict=True):
            axis.annotate(
                f"{value:.0f}",
                (n * 1.06, limit),
                (n * 1.06, 0.91 * limit),
                arrowprops={"arrowstyle": "->", "color": "gray"},
                color="gray",
                fontsize=8,
                ha="center",
                va="top",
            )
        if len(scan.points) > len(sizes):
            axis.plot(
                [p.size / 1.06 for p in scan.points],
                [p.information.info_eff for p in scan.points],
                ".",
                color=PALETTE[0],
                alpha=0.5,
                ms=4,
                label="single trainings",
            )
        axis.errorbar(
            sizes,
            scan.info_eff,
            yerr=scan.info_eff_error,
            fmt="o",
            color=PALETTE[0],
            ms=6,
            label=r"$I_\mathrm{eff} = R^2/\mathrm{Var}(\hat\theta)$",
            zorder=3,
        )
        axis.set_xscale("log")
        axis.set_xlim(sizes[0] / 1.4, fine[-1])
        axis.set_ylim(0, limit)
        axis.set_xlabel("events in a bag")
        axis.set_ylabel("information")
        figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    return figure


def plot_relative_widths(widths: Sequence[RelativeWidth]) -> Figure:
    """Width of each method's intervals over that of the best histogram.

    Examples
    --------
    >>> from milinfer.intervals.relative_widths import RelativeWidth
    >>> figure = plot_relative_widths([RelativeWidth("a", 0.8, 0.02), RelativeWidth("b", 1, 0)])
    >>> [t.get_text() for t in figure.axes[0].get_yticklabels()]
    ['a', 'b']
    """
    with styled():
        figure: Figure
        figure, axis = figure_of(6.4, 1.2 + 0.35 * len(widths))
        for i, w in enumerate(widths):
            axis.barh(i, w.ratio, height=0.6, color=PALETTE[0], alpha=0.35)
            axis.errorbar(w.ratio, i, xerr=w.error, fmt="none", color=PALETTE[0])
            # In a column of their own: beside the bars they would lie on lines.
            axis.annotate(
                f"{w.ratio:.2f} ± {w.error:.2f}",
                (0.965, i),
                xycoords=axis.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=9,
            )
        axis.axvline(1, color="gray", lw=0.8, ls="--")
        axis.set_yticks(range(len(widths)), [plain(w.name) for w in widths])
        axis.minorticks_off()
        axis.set_ylim(len(widths) - 0.5, -0.5)
        axis.set_xlim(0, 1.35 * max(w.ratio + w.error for w in widths))
        axis.set_xlabel("width over that of the best histogram")
    return figure
