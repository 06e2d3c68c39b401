"""Figures of expected results: intervals with bands from toys, and upper limits with CLs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from milinfer.exceptions import ParameterError
from milinfer.plotting.style import (
    LINES,
    PALETTE,
    figure_of,
    method_styles,
    parameter_label,
    plain,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.intervals.expected import ExpectedInterval
    from milinfer.intervals.upper_limits import UpperLimit

__all__ = ["plot_expected", "plot_upper_limit"]

# Bands of one and two standard deviations, as everybody draws them.
_ONE, _TWO = "#8fd175", "#fbe183"


def plot_expected(
    expected: Mapping[str, ExpectedInterval],
    observed: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Draw the expected intervals of several methods, with bands from toys for both ends.

    The band for the lower end is drawn above the interval of the Asimov data, the band for the
    upper end below it.

    Parameters
    ----------
    expected
        Expected interval of each method, by the name of the method.
    observed
        Lower and upper end of the interval of the data for each method, by the name of the method;
        default: only expected intervals are drawn.

    Raises
    ------
    ParameterError
        If there is nothing to draw, or a method has an observed interval but no expected interval.

    Examples
    --------
    >>> from milinfer.intervals.expected import ExpectedInterval
    >>> bands = 0.1 * np.arange(-2.0, 3.0)
    >>> interval = ExpectedInterval(
    ...     parameter="mu", truth=0.0, cl=0.6827, estimate=0.0, low=-0.1, high=0.1,
    ...     estimates=bands, lows=bands - 0.1, highs=bands + 0.1, widths=np.full(5, 0.2),
    ...     n_toys=500)
    >>> plot_expected({"learned": interval}).axes[0].get_xlabel()
    'mu'
    """
    observed = observed or {}
    unknown = [name for name in observed if name not in expected]
    if not expected or unknown:
        msg = (
            f"observed has an interval of {unknown[0]}, but expected has none; give both"
            if unknown
            else "there are no expected intervals to draw"
        )
        raise ParameterError(msg)
    first = next(iter(expected.values()))
    with styled():
        figure, axis = figure_of(6.4, 1.5 + 0.7 * len(expected))
        styles = method_styles(expected)
        labelled: set[str] = set()

        def once(text: str) -> str | None:
            # One entry of the legend for all methods.
            new = text not in labelled
            labelled.add(text)
            return text if new else None

        for i, (name, interval) in enumerate(expected.items()):
            style = styles[name]
            for ends, rows in (
                (interval.lows, [i - 0.36, i - 0.03]),
                (interval.highs, [i + 0.03, i + 0.36]),
            ):
                for k, (colour, words) in enumerate(((_TWO, "±2σ"), (_ONE, "±1σ"))):
                    axis.fill_betweenx(
                        rows,
                        ends[k],
                        ends[4 - k],
                        color=colour,
                        lw=0,
                        label=once(f"{words} of an end, toys"),
                    )
                axis.plot(
                    [ends[2], ends[2]],
                    rows,
                    color="black",
                    lw=0.9,
                    ls=LINES[2],
                    label=once("median of an end, toys"),
                )
            axis.plot(
                [interval.low, interval.high],
                [i, i],
                color=style.color,
                lw=2.5,
                solid_capstyle="butt",
                label=once("Asimov data"),
            )
            axis.plot(interval.estimate, i, style.marker, color=style.color, mec="white", ms=7)
            if name in observed:
                axis.plot(
                    observed[name], [i + 0.43] * 2, color="black", lw=1.5, label=once("observed")
                )
        axis.axvline(first.truth, color="gray", lw=0.8, ls="--")
        axis.set_yticks(range(len(expected)), [plain(name) for name in expected])
        axis.minorticks_off()
        axis.set_ylim(len(expected) - 0.45, -0.55)
        axis.set_xlabel(parameter_label(first.parameter))
        figure.legend(
            loc="outside upper center", ncols=3, fontsize=8, title=f"{first.cl:.2%} intervals"
        )
    return figure


def plot_upper_limit(limit: UpperLimit) -> Figure:
    """Draw the observed and the expected CLs against the parameter, with bands of the expected CLs.

    Parameters
    ----------
    limit
        Upper limit from :func:`milinfer.intervals.upper_limit` or
        :func:`milinfer.intervals.upper_limit_of_toys`.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.intervals.upper_limits import upper_limit
    >>> limit = upper_limit(
    ...     NormalConstraint("mu", 0.3, 0.5), NormalConstraint("mu", 0.0, 0.5), "mu")
    >>> plot_upper_limit(limit).axes[0].get_ylabel()
    'CL$_s$'
    """
    values, expected = limit.values, limit.expected_cls
    with styled():
        figure, axis = figure_of(6.4, 4.6)
        for k, (colour, words) in enumerate(((_TWO, "±2σ"), (_ONE, "±1σ"))):
            axis.fill_between(
                values,
                expected[:, k],
                expected[:, 4 - k],
                color=colour,
                lw=0,
                label=f"{words} without a signal",
            )
        axis.plot(values, expected[:, 2], color="black", ls=LINES[1], label="median")
        if not np.isnan(limit.observed):
            axis.plot(
                values,
                limit.observed_cls,
                color=PALETTE[0],
                marker="o",
                ms=3.5,
                label=f"observed: {limit.observed:.4g}",
            )
            axis.axvline(limit.observed, color=PALETTE[0], lw=0.8, ls=LINES[2])
        axis.axvline(limit.expected[2], color="black", lw=0.8, ls=LINES[2])
        axis.axhline(1 - limit.cl, color=PALETTE[1], lw=1)
        axis.text(
            0.99,
            1 - limit.cl + 0.01,
            f"{1 - limit.cl:.2g}",
            transform=axis.get_yaxis_transform(),
            ha="right",
            color=PALETTE[1],
            fontsize=9,
        )
        axis.set_xlim(values[0], values[-1])
        axis.set_ylim(0, 1.02)
        axis.set_xlabel(parameter_label(limit.parameter))
        axis.set_ylabel("CL$_s$")
        figure.legend(
            loc="outside upper center",
            ncols=4,
            fontsize=8,
            title=f"expected limit at {limit.cl:.2%} CL: {limit.expected[2]:.4g}, {limit.method}",
        )
    return figure
