"""Figures of several parameters: contours of many methods, and coverage at many points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from milinfer.intervals.coverage import binomial_errors
from milinfer.plotting.style import (
    draw_contours,
    figure_of,
    method_styles,
    parameter_label,
    plain,
    styled,
)
from milinfer.typing import FloatArray
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.intervals.coverage import CoverageScan

__all__ = ["plot_contour_lines", "plot_point_coverage"]


def plot_contour_lines(
    contours: Mapping[str, Mapping[float, FloatArray]],
    estimates: Mapping[str, tuple[float, float]],
    x: str,
    y: str,
    truth: tuple[float, float] | None = None,
    truth_label: str = "truth",
) -> Figure:
    """Draw the contours and the estimates of two parameters from several methods.

    Parameters
    ----------
    contours
        For each method, by name, and each confidence level: the points of the contour, shape (n,
        2).
    estimates
        Estimates of the two parameters, by name of the method.
    x, y
        Names of the parameters.
    truth
        Point to mark with a cross.
    truth_label
        Label of this point in the legend.

    Examples
    --------
    >>> angle = np.linspace(0, 2 * np.pi, 60)
    >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> figure = plot_contour_lines({"exact": {0.6827: circle}}, {"exact": (0, 0)}, "c1", "c2")
    >>> figure.axes[0].get_xlabel(), len(figure.axes[0].lines)
    ('c1', 2)
    """
    with styled():
        figure, axis = figure_of(6.0, 5.4)
        styles = method_styles(contours)
        for name, lines in contours.items():
            style = styles[name]
            smooth = {level: _smooth(outline) for level, outline in lines.items()}
            draw_contours(axis, name, smooth, style, alone=len(contours) == 1)
            axis.plot(*estimates[name], style.marker, color=style.color, mec="white", ms=8)
        if truth is not None:
            axis.plot(*truth, "+", color="black", ms=12, mew=1.8, ls="none", label=truth_label)
        axis.set_xlabel(parameter_label(x))
        axis.set_ylabel(parameter_label(y))
        figure.legend(loc="outside upper center", ncols=2)
    return figure


def _smooth(outline: FloatArray) -> FloatArray:
    """A smooth closed curve through the points of an outline."""
    from scipy.interpolate import CubicSpline

    closed = np.vstack([outline, outline[:1]])
    span = np.ptp(outline, axis=0)
    steps = np.linalg.norm(np.diff(closed, axis=0) / span, axis=1)
    kept = np.append(steps > 1e-9, True)
    along = np.concatenate([[0.0], np.cumsum(steps[kept[:-1]])])
    if len(along) < 4:
        return outline
    curve = CubicSpline(along, closed[kept], bc_type="periodic")
    points: FloatArray = curve(np.linspace(0, along[-1], 4 * len(along), endpoint=False))
    return points


def plot_point_coverage(scans: Mapping[str, CoverageScan], cl: float) -> Figure:
    r"""Draw the coverage of joint regions and of intervals of single parameters, at several points.

    There is a panel for each entry of `scans`.  Thick bars are the errors due to the number of toys
    (Clopper–Pearson 68.27 % intervals).  Thin bars also include the error due to the finite number
    of events from which the toys are drawn.  The bands are one and two binomial errors around the
    nominal coverage.

    Parameters
    ----------
    scans
        Coverages by name: ``"region"`` for joint regions, the name of a parameter for its
        intervals.
    cl
        Confidence level to draw.

    Examples
    --------
    >>> from milinfer.intervals.coverage import Coverage, CoverageScan
    >>> row = Coverage("m", "belt", {"a": 0.0, "b": 1.0}, 0.6827, 0.7, 0.01, 0.69, 0.71, 2000, 0.0)
    >>> figure = plot_point_coverage({"region": CoverageScan((row,))}, 0.6827)
    >>> [t.get_text() for t in figure.axes[0].get_xticklabels()]
    ['a=0\nb=1']
    """
    with styled():
        n = len(scans)
        figure, axes = figure_of(7.6, 1.6 + 2.1 * n, nrows=n, sharex=True, squeeze=False)
        methods = list(dict.fromkeys(r.method for scan in scans.values() for r in scan))
        styles = method_styles(methods)
        points: list[str] = []
        for scan in scans.values():
            points += [p for r in scan if (p := format_point(r.point)) not in points]
        for axis, (target, scan) in zip(axes[:, 0], scans.items(), strict=True):
            rows = [r for r in scan if r.cl == cl]
            error = float(binomial_errors(cl, min(r.n_toys for r in rows)))
            for width, alpha in ((2, 0.12), (1, 0.18)):
                axis.axhspan(
                    cl - width * error, cl + width * error, color="gray", alpha=alpha, lw=0
                )
            axis.axhline(cl, color="gray", lw=0.8, ls="--")
            for i, method in enumerate(methods):
                own = [r for r in rows if r.method == method]
                step = min(0.12, 0.7 / len(methods))
                at = [
                    points.index(format_point(r.point)) + step * (i - (len(methods) - 1) / 2)
                    for r in own
                ]
                y = np.array([r.coverage for r in own])
                total = np.array([r.total_error for r in own])
                axis.vlines(
                    at, np.clip(y - total, 0, 1), np.clip(y + total, 0, 1), lw=0.8,
                    color=styles[method].color,
                )  # fmt: skip
                axis.errorbar(
                    at,
                    y,
                    yerr=[y - [r.low for r in own], [r.high for r in own] - y],
                    fmt=styles[method].marker,
                    ms=5,
                    lw=2.0,
                    color=styles[method].color,
                    label=plain(method),
                )
            bottom, top = axis.get_ylim()
            axis.set_ylim(bottom, min(top, 1.02))
            axis.set_ylabel("coverage")
            what = "region" if target == "region" else parameter_label(target)
            axis.set_title(f"{what}, {cl:.2%} claimed", fontsize=10, loc="left")
            axis.minorticks_off()
        axes[-1, 0].set_xticks(range(len(points)), [_in_lines(p) for p in points], fontsize=8)
        axes[-1, 0].set_xlim(-0.6, len(points) - 0.4)
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=min(3, len(methods)),
        )
    return figure


def _in_lines(point: str) -> str:
    return plain(point.replace(",", "\n"))
