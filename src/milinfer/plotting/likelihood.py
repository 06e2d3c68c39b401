"""Figures of likelihoods: contours of two parameters, impacts and pulls, posteriors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from milinfer.exceptions import FitError, ParameterError
from milinfer.intervals.ranking import NuisanceImpacts
from milinfer.likelihood.fits import contour
from milinfer.plotting.style import (
    LINES,
    PALETTE,
    draw_contours,
    figure_of,
    method_styles,
    parameter_label,
    plain,
    styled,
)
from milinfer.utils.confidence_levels import CL68, CL95, require_level

if TYPE_CHECKING:
    from iminuit import Minuit
    from matplotlib.figure import Figure

    from milinfer.likelihood.fits import Impact
    from milinfer.likelihood.posterior import Posterior

__all__ = ["plot_contour", "plot_impacts", "plot_posterior", "plot_pulls"]


def plot_contour(
    fits: Mapping[str, Minuit],
    x: str,
    y: str,
    cl: Sequence[float] = (CL68, CL95),
    truth: tuple[float, float] | None = None,
) -> Figure:
    r"""Draw the likelihood contours of two parameters, with all other parameters profiled.

    Parameters
    ----------
    fits
        Fits after ``migrad``, by name of the method.
    x, y
        Names of the parameters.
    cl
        Confidence levels of the contours, as joint probabilities of both parameters: −2ΔlnL on a
        contour is a quantile of χ² with two degrees of freedom.
    truth
        Point to mark with a cross.

    Raises
    ------
    FitError
        If a fit is not valid, or a contour leaves the limits of a parameter.
    ParameterError
        If a level is not between 0 and 1.

    Examples
    --------
    >>> from iminuit import Minuit
    >>> from iminuit.cost import NormalConstraint
    >>> both = NormalConstraint(["c1", "c2"], [0.1, 0.2], [[0.04, 0.01], [0.01, 0.02]])
    >>> figure = plot_contour({"fit": Minuit(both, 0.0, 0.0).migrad()}, "c1", "c2")
    >>> figure.axes[0].get_xlabel(), len(figure.axes[0].lines)
    ('c1', 3)
    """
    for level in cl:
        require_level(level, ParameterError)
    with styled():
        figure, axis = figure_of(5.4, 4.8)
        styles = method_styles(fits)
        for name, m in fits.items():
            if not m.valid:
                msg = (
                    f"the fit {name!r} is not valid; call migrad() first, and check the limits of "
                    "its parameters"
                )
                raise FitError(msg)
            style = styles[name]
            lines = {level: contour(m, x, y, level, interpolated=120) for level in cl}
            draw_contours(axis, name, lines, style, alone=len(fits) == 1)
            axis.plot(m.values[x], m.values[y], style.marker, color=style.color, mec="white", ms=8)
        if truth is not None:
            axis.plot(*truth, "+", color="black", ms=10, mew=1.5, ls="none", label="truth")
        axis.set_xlabel(parameter_label(x))
        axis.set_ylabel(parameter_label(y))
        figure.legend(loc="outside upper center", ncols=2)
    return figure


def plot_impacts(
    found: Sequence[Impact] | NuisanceImpacts, parameter: str, n_largest: int = 20
) -> Figure:
    """Draw the impact of each nuisance parameter on a parameter, and their fitted values or pulls.

    Parameters
    ----------
    found
        Impacts from one of two functions.  With :func:`milinfer.intervals.nuisance_impacts`, bars
        are impacts after the fit, frames are impacts before the fit, and points are pulls in units
        of the errors of the auxiliary measurements.  With :func:`milinfer.likelihood.fits.impacts`,
        bars are impacts and points are fitted values.
    parameter
        Name of the parameter of interest.
    n_largest
        Largest number of nuisance parameters to draw.

    Raises
    ------
    ParameterError
        If there is nothing to draw, or no impact is on `parameter`.

    Examples
    --------
    >>> from milinfer.likelihood.fits import Impact
    >>> figure = plot_impacts([Impact("bkg_norm", 1.02, -0.1, 0.1, 0.03, -0.03)], "c_HW")
    >>> [t.get_text() for t in figure.axes[0].get_yticklabels()]
    ['bkg norm']
    """
    framed: dict[str, Impact] = {}
    at_limit: set[str] = set()
    whose, ranked = "nuisance parameter", isinstance(found, NuisanceImpacts)
    if isinstance(found, NuisanceImpacts):
        kind = "postfit" if "postfit" in found.shifts else next(iter(found.shifts))
        whose = "measurement" if kind == "observable" else whose
        largest = list(found.of(parameter, kind))[:n_largest]
        chosen = {i.name for i in largest}
        points = {i.name: i for i in found.pulls() if i.name in chosen}
        if "prefit" in found.shifts and kind != "prefit":
            framed = {i.name: i for i in found.of(parameter, "prefit") if i.name in chosen}
        at_limit = {p.name for p in found.nuisances if p.at_limit}
    else:
        largest = list(found)[:n_largest]
        points = {i.name: i for i in largest}
    if not largest:
        msg = "there are no nuisance parameters to draw"
        raise ParameterError(msg)
    labels = [parameter_label(i.name) + " (at its limit)" * (i.name in at_limit) for i in largest]
    with styled():
        figure, (left, right) = figure_of(
            7.0,
            1.6 + 0.35 * len(largest),
            ncols=2,
            sharey=True,
            gridspec_kw={"width_ratios": [3, 2]},
        )
        rows = {i.name: row for row, i in enumerate(largest)}
        sides = (("down", PALETTE[5], "////", "lower"), ("up", PALETTE[1], "", "upper"))
        for key, colour, _, end in sides if framed else ():
            left.barh(
                [rows[name] for name in framed],
                [getattr(i, key) for i in framed.values()],
                height=0.75,
                fc="none",
                ec=colour,
                ls=LINES[2],
                lw=1.2,
                label=f"the same before the fit, {end}",
            )
        for key, colour, hatch, end in sides:
            left.barh(
                range(len(largest)),
                [getattr(i, key) for i in largest],
                height=0.55,
                color=colour,
                alpha=0.7,
                hatch=hatch,
                ec="white",
                label=f"{whose} at its {end} end",
            )
        left.axvline(0, color="black", lw=0.8)
        reach = 1.15 * max(i.size for i in [*largest, *framed.values()])
        if reach > 0:  # it is 0 if no nuisance parameter shifts the estimate
            left.set_xlim(-reach, reach)
        left.set_xlabel(f"shift of {parameter_label(parameter)}")
        left.set_yticks(range(len(largest)), labels)
        if ranked:
            for band, colour in ((2, "#fff3c4"), (1, "#cfe8cf")):
                right.axvspan(-band, band, color=colour, lw=0, zorder=0)
        right.errorbar(
            [i.value for i in points.values()],
            [rows[name] for name in points],
            xerr=[[-i.lower for i in points.values()], [i.upper for i in points.values()]],
            fmt="o",
            ms=5,
            color="black",
        )
        right.margins(x=0.15)
        if ranked:
            low, high = right.get_xlim()
            right.set_xlim(min(low, -2.2), max(high, 2.2))
        right.set_xlabel("pull" if ranked else "fitted value")
        for axis in (left, right):
            axis.minorticks_off()
        left.set_ylim(len(largest) - 0.5, -0.5)
        figure.legend(
            *left.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=8
        )
    return figure


def plot_pulls(fits: Mapping[str, Sequence[Impact]]) -> Figure:
    """Draw fitted nuisance parameters in units of the errors of their auxiliary measurements.

    Parameters
    ----------
    fits
        For each method, by name: the value and errors of each nuisance parameter.  A parameter
        whose auxiliary measurement is not 0 ± 1, such as a luminosity, is left out.

    Raises
    ------
    ParameterError
        If there is nothing to draw.

    Examples
    --------
    >>> from milinfer.likelihood.fits import Impact
    >>> figure = plot_pulls({"learned": [Impact("jes", 0.2, -0.8, 0.8, 0.03, -0.03)]})
    >>> [t.get_text() for t in figure.axes[0].get_yticklabels()]
    ['jes']
    """
    names = list(dict.fromkeys(i.name for fit in fits.values() for i in fit if i.name != "lumi"))
    if not names:
        msg = "there are no nuisance parameters to draw"
        raise ParameterError(msg)
    with styled():
        figure, axis = figure_of(6.0, 1.4 + 0.25 * len(names) * (1 + len(fits)))
        for reach, colour in ((2, "#fff3c4"), (1, "#cfe8cf")):
            axis.axvspan(-reach, reach, color=colour, lw=0, zorder=0)
        axis.axvline(0, color="black", lw=0.8, zorder=1)
        styles = method_styles(fits)
        for k, (method, found) in enumerate(fits.items()):
            drawn = [i for i in found if i.name in names]
            offset = 0.5 * ((k + 0.5) / len(fits) - 0.5)
            colour, marker, _ = styles[method]
            axis.errorbar(
                [i.value for i in drawn],
                [names.index(i.name) + offset for i in drawn],
                xerr=[[-i.lower for i in drawn], [i.upper for i in drawn]],
                fmt=marker,
                ms=5,
                color=colour,
                label=plain(method),
            )
        low, high = axis.get_xlim()
        axis.set_xlim(min(low, -2.2), max(high, 2.2))
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_yticks(range(len(names)), [parameter_label(n) for n in names])
        axis.minorticks_off()
        axis.set_xlabel("fitted value, in errors of the auxiliary measurement")
        figure.legend(loc="outside upper center", ncols=1, fontsize=8)
    return figure


def plot_posterior(
    posteriors: Mapping[str, Posterior],
    parameter: str,
    probability: float = CL68,
    truth: float | None = None,
) -> Figure:
    """Draw posterior densities of one dataset, with their central credible intervals.

    Parameters
    ----------
    posteriors
        Posteriors for one dataset, by name of the prior or of the method.
    parameter
        Name of the parameter, for the axis.
    probability
        Probability inside the intervals.
    truth
        True value, drawn as a line.

    Raises
    ------
    ParameterError
        If a posterior holds several datasets.

    Examples
    --------
    >>> from milinfer.likelihood.posterior import Posterior
    >>> theta = np.linspace(-1, 1, 201)
    >>> flat = Posterior.from_log_ratios(theta, -50 * (theta - 0.2) ** 2)
    >>> plot_posterior({"flat prior": flat}, "c_HW").axes[0].get_xlabel()
    '$c_{HW}$'
    """
    with styled():
        figure, axis = figure_of(6.4, 4.4)
        low, high = np.inf, -np.inf
        styles = method_styles(posteriors)
        for name, p in posteriors.items():
            if p.density.ndim != 1:
                msg = (
                    f"{name!r} contains the posteriors of {len(p.density)} datasets; give "
                    "the posterior of one dataset"
                )
                raise ParameterError(msg)
            style = styles[name]
            a, b = (float(v) for v in p.interval(probability))
            inside = np.concatenate([[a], p.theta[(p.theta > a) & (p.theta < b)], [b]])
            axis.plot(
                p.theta,
                p.density,
                color=style.color,
                ls=style.ls,
                label=f"{plain(name)}: {float(p.median):+.3f} [{a:+.3f}, {b:+.3f}]",
            )
            axis.fill_between(
                inside,
                np.interp(inside, p.theta, p.density),
                color=style.color,
                alpha=0.15,
                lw=0,
            )
            visible = p.theta[p.density > 1e-3 * p.density.max()]
            low, high = min(low, float(visible[0])), max(high, float(visible[-1]))
        if truth is not None:
            axis.axvline(truth, color="black", lw=0.8, label="truth")
        axis.set_xlim(low, high)
        axis.set_ylim(bottom=0)
        axis.set_xlabel(parameter_label(parameter))
        axis.set_ylabel("posterior density")
        figure.legend(
            title=f"median and central {probability:.2%} interval",
            loc="outside upper center",
            ncols=2,
            fontsize=8,
        )
    return figure
