"""Figures of belts and confidence regions, in the style of :mod:`milinfer.plotting.results`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2

from milinfer.intervals.bounded_fit import bounded_minimum, cost_value
from milinfer.plotting.style import LINES, PALETTE, figure_of, parameter_label, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.intervals.belt import Belt
    from milinfer.intervals.confidence_sets import ConfidenceRegion
    from milinfer.likelihood.cost import LikelihoodCost
    from milinfer.likelihood.surface import Surface

__all__ = ["plot_belt", "plot_region"]


def plot_belt(
    belt: Belt, cl: float = 0.6827, observed: LikelihoodCost | Surface | None = None
) -> Figure:
    """What a belt accepts, and the set of one dataset.

    For likelihood-ratio ordering the critical value against θ with the errors of the toys, beside
    the χ² quantile, and the observed statistic; for the others the belt of accepted estimates, and
    the observed one.  With two parameters the critical values on the plane, without a dataset.

    Parameters
    ----------
    belt
        From :func:`milinfer.neyman`.
    cl
        One of its levels.
    observed
        Dataset to draw, in one parameter.

    Examples
    --------
    See ``tests/test_belt.py``.
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
    axis.axhline(chi2.ppf(cl, 1), color="gray", lw=0.9, ls="--", label=r"$\chi^2_1$ quantile")
    axis.plot(theta, values, color=PALETTE[0])
    axis.fill_between(theta, values - errors, values + errors, color=PALETTE[0], alpha=0.25, lw=0)
    name = f"critical value, {cl:.2%}"
    if belt.regression:
        # No toys are at the points in particular.
        axis.lines[-1].set_label(name)
    else:
        ends = belt.points[:, 0], belt.upper[:, k], belt.upper_error[:, k]
        axis.errorbar(*ends, fmt="o", ms=3.5, color=PALETTE[0], label=name)
    top = 1.6 * max(float(np.max(belt.upper[:, k] + belt.upper_error[:, k])), chi2.ppf(cl, 1))
    axis.set_ylim(0, top)
    # Points at the ends are shown whole.
    margin = 0.03 * (theta[-1] - theta[0])
    axis.set_xlim(theta[0] - margin, theta[-1] + margin)
    if observed is None:
        return
    found = belt.interval(observed, cl)
    for i, (low, high) in enumerate(found.intervals):
        label = "confidence set" if i == 0 else None
        axis.axvspan(low, high, color=PALETTE[4], alpha=0.25, lw=0, zorder=0, label=label)
    shown = belt.statistic_of(observed)
    lowest = bounded_minimum(shown, belt.bounds).value
    q = np.array([cost_value(shown, np.array([t])) for t in theta]) - lowest
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
    known = np.concatenate([values for _, values, _ in ends] + [belt.points[:, 0]])
    margin = 0.05 * float(np.ptp(known))
    window = float(known.min()) - margin, float(known.max()) + margin
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
        found = belt.interval(observed, cl)
        axis.axvline(found.estimate, color=PALETTE[1], lw=1, label="observed estimate")
        for i, interval in enumerate(found.intervals):
            # Only along the observed estimate: a band across would read as part of the belt.
            label = "confidence set" if i == 0 else None
            at = [found.estimate] * 2
            axis.plot(at, interval, color=PALETTE[1], lw=5, solid_capstyle="butt", label=label)


def _critical_plane(belt: Belt, cl: float) -> Figure:
    figure, axis = figure_of(5.6, 4.4)
    k = belt.cl.index(cl)
    shown = axis.scatter(*belt.points[:, :2].T, c=belt.upper[:, k], s=90, cmap="cividis")
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
    expected = chi2.ppf(cl, len(belt.parameters))
    figure.colorbar(shown, label=f"critical value, {cl:.2%} (χ²: {expected:.2f})")
    return figure


def plot_region(*regions: ConfidenceRegion) -> Figure:
    """Confidence regions in two parameters, with their projections as bars along the axes.

    Parameters
    ----------
    regions
        From :meth:`milinfer.Belt.region`, of one dataset at several levels.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.intervals.confidence_region import confidence_region
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
                where = axis.get_xaxis_transform()
                axis.plot([low, high], [offset] * 2, color=colour, lw=3, transform=where)
            for low, high in region.projection(region.parameters[1]):
                where = axis.get_yaxis_transform()
                axis.plot([offset] * 2, [low, high], color=colour, lw=3, transform=where)
        best = regions[0]
        axis.plot(*best.estimate, "+", color="black", ms=9, label="estimate")
        axis.margins(0.12)
        axis.set_xlabel(parameter_label(best.parameters[0]))
        axis.set_ylabel(parameter_label(best.parameters[1]))
        figure.legend(loc="outside upper center", ncols=len(regions) + 1)
    return figure
