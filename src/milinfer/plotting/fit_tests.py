"""Figure of the tests of a fit: the ratio of data to fitted simulation for each observable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from milinfer.plotting.style import (
    PALETTE,
    edge_labels,
    figure_of,
    observable_label,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.diagnostics.fit_tests import GoodnessOfFit

__all__ = ["plot_fit_tests"]


def plot_fit_tests(result: GoodnessOfFit, n_observables: int = 6) -> Figure:
    """Draw the ratio of data to the fitted simulation in bins of each observable.

    The observables that agree worst come first.

    All bins have about the same number of events, and are drawn with equal widths.  The band is the
    error of the fit and of the simulation.

    Parameters
    ----------
    result
        Result of :func:`milinfer.diagnostics.goodness_of_fit`.
    n_observables
        Largest number of observables to draw.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.diagnostics.fit_tests import (
    ...     FitTest, GoodnessOfFit, PostfitHistogram)
    >>> bins = PostfitHistogram("m_ll", np.array([0.0, 30.0, 80.0]), np.array([48.0, 52.0]),
    ...                         np.array([50.0, 50.0]), np.array([1.0, 1.0]))
    >>> tests = (FitTest("m_ll", 0.16, 1.0, 0.7),)
    >>> result = GoodnessOfFit("ratio", {"c_HW": 0.1}, 100, 1000, tests, 0.7, (bins,))
    >>> plot_fit_tests(result).axes[0].get_ylabel()
    'data / fit'
    """
    drawn = sorted(result.histograms, key=lambda h: result[h.observable].p_value)[:n_observables]
    columns = min(len(drawn), 3)
    rows = -(-len(drawn) // columns)
    with styled():
        figure, axes = figure_of(
            3.2 * columns, 0.6 + 2.5 * rows, nrows=rows, ncols=columns, squeeze=False
        )
        for axis, histogram in zip(axes.flat, drawn, strict=False):
            test = result[histogram.observable]
            places = np.arange(len(histogram.edges), dtype=np.float64)
            band = histogram.error / histogram.expected
            axis.stairs(
                1 + band,
                places,
                baseline=1 - band,
                fill=True,
                color=PALETTE[0],
                alpha=0.3,
                label="error of fit and simulation",
            )
            axis.axhline(1.0, color="gray", lw=0.8)
            axis.errorbar(
                (places[1:] + places[:-1]) / 2,
                histogram.counts / histogram.expected,
                np.sqrt(histogram.counts) / histogram.expected,
                fmt="ko",
                ms=4,
                label="data",
            )
            axis.set_title(f"χ² = {test.value:.1f}, p = {test.p_value:.3f}", fontsize=9)
            axis.set_xlabel(observable_label(histogram.observable))
            axis.set_xticks(places[::3], edge_labels(histogram.edges[::3]), fontsize=7)
            axis.minorticks_off()
            reach = 1.1 * max(float(np.max(np.abs(axis.dataLim.intervaly - 1))), 0.05)
            axis.set_ylim(max(1 - reach, 0.0), 1 + reach)
        for axis in axes[:, 0]:
            axis.set_ylabel("data / fit")
        for axis in axes.flat[len(drawn) :]:
            axis.set_axis_off()
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure
