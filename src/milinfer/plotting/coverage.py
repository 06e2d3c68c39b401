"""Figures of calibration, coverage, Neyman belts and confidence regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from milinfer.intervals.confidence_sets import bounded_minimum, cost_value
from milinfer.intervals.coverage import binomial_errors
from milinfer.plotting.style import (
    LINES,
    MARKERS,
    PALETTE,
    figure_of,
    method_styles,
    parameter_label,
    plain,
    styled,
)
from milinfer.typing import FloatArray
from milinfer.utils.confidence_levels import CL68, chi2_quantile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.intervals.belt import Belt
    from milinfer.intervals.calibration import Calibration
    from milinfer.intervals.conditional_coverage import ConditionalCoverage
    from milinfer.intervals.confidence_sets import ConfidenceRegion
    from milinfer.intervals.coverage import CoverageScan
    from milinfer.likelihood.cost import LikelihoodCost
    from milinfer.likelihood.surface import Surface

__all__ = [
    "plot_belt",
    "plot_calibrated",
    "plot_conditional",
    "plot_coverage_scan",
    "plot_region",
    "plot_scale",
]


def plot_coverage_scan(scan: CoverageScan) -> Figure:
    """Draw the coverage of each method against the true value of a parameter.

    There is a panel for each confidence level.  Thick bars are the errors due to the number of toys
    (Clopper–Pearson 68.27 % intervals).  Thin bars also include the error due to the finite number
    of events from which the toys are drawn.  The bands are one and two binomial errors around the
    nominal coverage.

    Parameters
    ----------
    scan
        Coverages at several true values of one parameter.

    Examples
    --------
    >>> from milinfer.intervals.coverage import Coverage, CoverageScan
    >>> row = Coverage("m", "belt", {"mu": 0.0}, 0.6827, 0.70, 0.01, 0.69, 0.71, 2000, 0.0)
    >>> len(plot_coverage_scan(CoverageScan((row,))).axes)
    1
    """
    with styled():
        figure, axes = figure_of(
            7.0, 1.2 + 2.4 * len(scan.cls), nrows=len(scan.cls), sharex=True, squeeze=False
        )
        styles = method_styles(scan.methods)
        truths = np.unique([r.theta for r in scan])
        gap = np.min(np.diff(truths)) if len(truths) > 1 else 1.0
        for axis, cl in zip(axes[:, 0], scan.cls, strict=True):
            n = min(r.n_toys for r in scan if r.cl == cl)
            error = float(binomial_errors(cl, n))
            for width, alpha in ((2, 0.12), (1, 0.18)):
                axis.axhspan(
                    cl - width * error, cl + width * error, color="gray", alpha=alpha, lw=0
                )
            axis.axhline(cl, color="gray", lw=0.8, ls="--")
            for i, method in enumerate(scan.methods):
                rows = scan.of(method, cl)
                # Side by side, so that the bars of two methods do not hide each other.
                step = min(0.12, 0.7 / len(scan.methods)) * gap
                x = [r.theta + step * (i - (len(scan.methods) - 1) / 2) for r in rows]
                y = np.array([r.coverage for r in rows])
                style = styles[method]
                total = np.array([r.total_error for r in rows])
                ends = np.clip(y - total, 0.0, 1.0), np.clip(y + total, 0.0, 1.0)
                axis.vlines(x, *ends, lw=0.8, color=style.color)
                axis.errorbar(
                    x,
                    y,
                    yerr=[y - [r.low for r in rows], [r.high for r in rows] - y],
                    fmt=style.marker,
                    ms=5,
                    lw=2.0,
                    color=style.color,
                    label=plain(method),
                )
            # A coverage cannot exceed one.
            bottom, top = axis.get_ylim()
            axis.set_ylim(bottom, min(top, 1.02))
            axis.set_ylabel(f"coverage of {cl:.2%}")
            axis.set_xlim(truths[0] - 0.6 * gap, truths[-1] + 0.6 * gap)
        parameter = next(iter(scan.rows[0].point))
        axes[-1, 0].set_xlabel(f"true {parameter_label(parameter)}")
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=min(3, len(scan.methods)),
        )
    return figure


def plot_calibrated(
    cost: LikelihoodCost,
    calibration: Calibration,
    *,
    cl: float | None = None,
    truth: float | None = None,
) -> Figure:
    """Draw −2ΔlnL of one dataset with its interval, before and after calibration ([AS], fig. 14).

    Parameters
    ----------
    cost
        Cost of the dataset in one parameter, not yet calibrated.
    calibration
        Calibration to apply.
    cl
        Confidence level of the interval; default: the first level of the calibration.
    truth
        True value, drawn as a line; None: it is not known.

    Examples
    --------
    See ``tests/plotting/test_coverage.py``.
    """
    level = calibration.cls[0] if cl is None else cl
    threshold = float(chi2_quantile(level, 1))
    curves = {"as trained": cost, "calibrated": calibration(cost, cl)}
    with styled():
        figure, axis = figure_of(6.4, 4.4)
        windows = []
        for i, (name, c) in enumerate(curves.items()):
            theta = np.linspace(*c.limits, 1201)
            best, ends, q = _interval(c, theta, threshold)
            near = q < 3 * threshold
            windows.append(theta[near])
            axis.plot(theta[near], q[near], color=PALETTE[i], ls=("--", "-")[i])
            axis.axvspan(*ends, color=PALETTE[i], alpha=0.12, lw=0)
            axis.plot(
                ends,
                [threshold, threshold],
                "|",
                ms=12,
                color=PALETTE[i],
                ls=("--", "-")[i],
                label=f"{name}: {best:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}]",
            )
        axis.axhline(threshold, color="gray", lw=0.8, ls="--")
        if truth is not None:
            axis.axvline(truth, color="black", lw=0.8, label=f"truth: {truth:+.3f}")
        drawn = np.concatenate(windows)
        axis.set_xlim(drawn.min(), drawn.max())
        axis.set_ylim(0, 3 * threshold)
        axis.set_xlabel(parameter_label(cost.parameter))
        axis.set_ylabel(r"$-2\,\Delta \ln L$")
        title = f"{level:.2%} interval"
        figure.legend(title=title, loc="outside upper center", ncols=2, fontsize=8)
    return figure


def _interval(
    cost: LikelihoodCost, theta: FloatArray, threshold: float
) -> tuple[float, tuple[float, float], FloatArray]:
    """Position of the minimum, the crossings of the threshold next to it, and q at the points."""
    values = np.array([cost(t) for t in theta])
    k = int(np.argmin(values))
    around = theta[max(k - 1, 0)], theta[min(k + 1, len(theta) - 1)]
    minimum = minimize_scalar(cost, bounds=around, method="bounded", options={"xatol": 1e-9})
    lowest = float(min(minimum.fun, values[k]))
    q = values - lowest

    def end(step: int) -> float:
        j = k
        while 0 <= j < len(theta) and q[j] <= threshold:
            j += step
        if not 0 <= j < len(theta):
            return float(theta[0] if step < 0 else theta[-1])
        return float(brentq(lambda t: cost(t) - lowest - threshold, theta[j], theta[j - step]))

    return float(minimum.x), (end(-1), end(1)), q


def plot_scale(calibration: Calibration) -> Figure:
    """Draw the calibration constant c_cicc against θ.

    The figure shows the values from toys, and the function that the calibration applies.
    """
    with styled():
        figure, axis = figure_of()
        theta = calibration.thetas
        gap = float(np.min(np.diff(np.unique(theta)))) if len(theta) > 1 else 1.0
        fine = np.linspace(theta.min(), theta.max(), 201) if len(theta) > 1 else theta
        for k, cl in enumerate(calibration.cls):
            axis.errorbar(
                theta + 0.1 * gap * (k - 1),
                calibration.c_coverage[:, k],
                yerr=calibration.c_coverage_error[:, k],
                fmt=MARKERS[k],
                ms=4,
                color=PALETTE[k],
                label=f"by {cl:.2%} coverage",
            )
            if calibration.kind == "coverage":
                _band(axis, calibration, fine, cl, PALETTE[k])
        axis.errorbar(
            theta + 0.1 * gap * (len(calibration.cls) - 1),
            calibration.c_bartlett,
            yerr=calibration.c_bartlett_error,
            fmt="x",
            ms=5,
            color=PALETTE[6],
            label="by Bartlett ratio",
        )
        if calibration.kind == "bartlett":
            _band(axis, calibration, fine, None, PALETTE[6])
        axis.axhline(1, color="gray", lw=0.8, ls="--")
        axis.set_xlim(theta.min() - 0.5 * gap, theta.max() + 0.5 * gap)
        axis.set_xlabel(f"true {parameter_label(calibration.parameter)}")
        axis.set_ylabel(r"$c_\mathrm{cicc}$")
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def _band(axis, calibration, fine, cl, colour) -> None:  # type: ignore[no-untyped-def]
    centre, error = np.array([calibration.scale_at([t], cl) for t in fine]).T
    axis.plot(fine, centre, color=colour)
    axis.fill_between(fine, centre - error, centre + error, color=colour, alpha=0.2, lw=0)


def plot_conditional(results: Sequence[ConditionalCoverage], xlabel: str | None = None) -> Figure:
    """Draw the coverage in bins of a property of the dataset, with a line for each method."""
    with styled():
        figure, axis = figure_of()
        for i, r in enumerate(results):
            axis.errorbar(
                r.centres,
                r.coverage,
                yerr=[r.coverage - r.low, r.high - r.coverage],
                fmt=MARKERS[i % len(MARKERS)],
                ls=LINES[i % len(LINES)],
                ms=5,
                lw=1.0,
                color=PALETTE[i % len(PALETTE)],
                label=f"{plain(r.method) or 'intervals'} (p = {r.p_value:.2g})",
            )
        axis.axhline(results[0].cl, color="gray", lw=0.8, ls="--")
        axis.set_xlabel(xlabel or f"{results[0].by} of the dataset")
        axis.set_ylabel(f"coverage of {results[0].cl:.2%}")
        figure.legend(loc="outside upper center", ncols=2)
    return figure


def plot_belt(
    belt: Belt, cl: float = CL68, observed: LikelihoodCost | Surface | None = None
) -> Figure:
    """Draw a Neyman belt, and the confidence set of one dataset.

    For likelihood-ratio ordering, the figure shows three things against θ: the critical value with
    its error due to the number of toys, the χ² quantile, and the test statistic of the dataset.
    For other orderings, it shows the belt of accepted estimates, and the estimate from the dataset.
    For two parameters, it shows the critical values on the plane of the parameters, without a
    dataset.

    Parameters
    ----------
    belt
        Belt from :func:`milinfer.neyman`.
    cl
        Confidence level, one of the levels of the belt.
    observed
        Cost or Λ(θ) of a dataset, with one parameter; default: no dataset is drawn.

    Examples
    --------
    See ``tests/intervals/test_belt.py``.
    """
    with styled():
        if len(belt.parameters) > 1:
            return _critical_plane(belt, cl)
        figure, axis = figure_of()
        theta = np.linspace(*belt.limits[0], 401)
        name = parameter_label(belt.parameters[0])
        if belt.ordering == "likelihood-ratio":
            _critical_curve(axis, belt, cl, theta, observed)
            axis.set_xlabel(name)
            axis.set_ylabel(rf"$q$({name})")
            figure.legend(loc="outside upper center", ncols=4)
        else:
            _acceptance_band(axis, belt, cl, theta, observed)
            axis.set_xlabel(f"estimate of {name}")
            axis.set_ylabel(f"true {name}")
            figure.legend(loc="outside upper center", ncols=3)
    return figure


def _critical_curve(
    axis: Any, belt: Belt, cl: float, theta: Any, observed: LikelihoodCost | Surface | None
) -> None:
    curve = belt.critical(cl)
    k = belt.cl.index(cl)
    values, errors = curve(theta), curve.error(theta)
    axis.axhline(chi2_quantile(cl, 1), color="gray", lw=0.9, ls="--", label=r"$\chi^2_1$ quantile")
    axis.plot(theta, values, color=PALETTE[0])
    axis.fill_between(theta, values - errors, values + errors, color=PALETTE[0], alpha=0.25, lw=0)
    name = f"critical value, {cl:.2%}"
    if belt.regression:
        # The toys of a regression are not at these points.
        axis.lines[-1].set_label(name)
    else:
        ends = belt.points[:, 0], belt.upper[:, k], belt.upper_error[:, k]
        axis.errorbar(*ends, fmt="o", ms=3.5, color=PALETTE[0], label=name)
    highest = float(np.max(belt.upper[:, k] + belt.upper_error[:, k]))
    top = 1.6 * max(highest, float(chi2_quantile(cl, 1)))
    axis.set_ylim(0, top)
    # A margin, so that markers at the ends are not cut.
    margin = 0.03 * (theta[-1] - theta[0])
    axis.set_xlim(theta[0] - margin, theta[-1] + margin)
    if observed is None:
        return
    confidence_set = belt.interval(observed, cl)
    for i, (low, high) in enumerate(confidence_set.intervals):
        label = "confidence set" if i == 0 else None
        axis.axvspan(low, high, color=PALETTE[4], alpha=0.25, lw=0, zorder=0, label=label)
    statistic = belt.statistic_of(observed)
    lowest = bounded_minimum(statistic, belt.bounds).value
    q = np.array([cost_value(statistic, np.array([t])) for t in theta]) - lowest
    axis.plot(theta, q, color=PALETTE[1], ls=LINES[3], label="observed")


def _acceptance_band(
    axis: Any, belt: Belt, cl: float, theta: Any, observed: LikelihoodCost | Surface | None
) -> None:
    lower, upper = belt.acceptance(cl)
    k = belt.cl.index(cl)
    ends = [
        (curve, values[:, k], errors[:, k])
        for curve, values, errors in (
            (lower, belt.lower, belt.lower_error),
            (upper, belt.upper, belt.upper_error),
        )
        if curve is not None
    ]
    values_drawn = np.concatenate([values for _, values, _ in ends] + [belt.points[:, 0]])
    margin = 0.05 * float(np.ptp(values_drawn))
    window = float(values_drawn.min()) - margin, float(values_drawn.max()) + margin
    left = np.full(len(theta), window[0]) if lower is None else lower(theta)
    right = np.full(len(theta), window[1]) if upper is None else upper(theta)
    axis.fill_betweenx(
        theta, left, right, color=PALETTE[0], alpha=0.25, lw=0, label=f"accepted, {cl:.2%}"
    )
    for curve, values, errors in ends:
        axis.plot(curve(theta), theta, color=PALETTE[0], lw=1)
        if not belt.regression:
            axis.errorbar(values, belt.points[:, 0], xerr=errors, fmt="o", ms=3, color=PALETTE[0])
    axis.set_xlim(*window)
    margin = 0.03 * (theta[-1] - theta[0])
    axis.set_ylim(theta[0] - margin, theta[-1] + margin)
    if observed is not None:
        confidence_set = belt.interval(observed, cl)
        axis.axvline(confidence_set.estimate, color=PALETTE[1], lw=1, label="observed estimate")
        for i, interval in enumerate(confidence_set.intervals):
            # Only along the observed estimate: a band across would read as part of the belt.
            label = "confidence set" if i == 0 else None
            at = [confidence_set.estimate] * 2
            axis.plot(at, interval, color=PALETTE[1], lw=5, solid_capstyle="butt", label=label)


def _critical_plane(belt: Belt, cl: float) -> Figure:
    figure, axis = figure_of(5.6, 4.4)
    k = belt.cl.index(cl)
    markers = axis.scatter(*belt.points[:, :2].T, c=belt.upper[:, k], s=90, cmap="cividis")
    for point, value, error in zip(
        belt.points, belt.upper[:, k], belt.upper_error[:, k], strict=True
    ):
        axis.annotate(
            f"{value:.2f} ± {error:.2f}",
            tuple(point[:2]),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    axis.margins(0.15)
    axis.set_xlabel(parameter_label(belt.parameters[0]))
    axis.set_ylabel(parameter_label(belt.parameters[1]))
    expected = chi2_quantile(cl, len(belt.parameters))
    figure.colorbar(markers, label=f"critical value, {cl:.2%} (χ²: {expected:.2f})")
    return figure


def plot_region(*regions: ConfidenceRegion) -> Figure:
    """Draw confidence regions in two parameters, and their projections as bars along the axes.

    Parameters
    ----------
    regions
        Regions from :meth:`milinfer.Belt.region`, for one dataset and one or several levels.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.intervals.confidence_sets import confidence_region
    >>> from milinfer.intervals.critical_values import InterpolatedCurve
    >>> corners = np.array([[-9.0, -9.0], [-9.0, 9.0], [9.0, -9.0], [9.0, 9.0]])
    >>> two = InterpolatedCurve(corners, np.full(4, 2.0), np.zeros(4))
    >>> region = confidence_region(lambda t: float(t @ t), two, ("a", "b"), np.zeros(2), cl=0.632)
    >>> plot_region(region).axes[0].get_xlabel()
    'a'
    """
    with styled():
        figure, axis = figure_of(5.2, 4.8)
        for i, region in enumerate(sorted(regions, key=lambda r: -r.cl)):
            colour = PALETTE[i % len(PALETTE)]
            for j, outline in enumerate(region.contours):
                label = f"{region.cl:.2%}" if j == 0 else None
                axis.fill(*outline.T, color=colour, alpha=0.15, lw=0)
                axis.plot(*outline.T, color=colour, ls=LINES[i % len(LINES)], label=label)
            offset = 0.015 * (i + 1)
            for low, high in region.projection(region.parameters[0]):
                transform = axis.get_xaxis_transform()
                axis.plot([low, high], [offset] * 2, color=colour, lw=3, transform=transform)
            for low, high in region.projection(region.parameters[1]):
                transform = axis.get_yaxis_transform()
                axis.plot([offset] * 2, [low, high], color=colour, lw=3, transform=transform)
        best = regions[0]
        axis.plot(*best.estimate, "+", color="black", ms=9, label="estimate")
        axis.margins(0.12)
        axis.set_xlabel(parameter_label(best.parameters[0]))
        axis.set_ylabel(parameter_label(best.parameters[1]))
        figure.legend(loc="outside upper center", ncols=len(regions) + 1)
    return figure
