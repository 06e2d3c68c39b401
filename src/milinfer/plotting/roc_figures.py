"""Figures of receiver operating characteristics, in the style of :mod:`milinfer.plotting.results`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from milinfer.diagnostics.roc import false_positive_rate, roc_curve
from milinfer.plotting.style import figure_of, method_styles, plain, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.diagnostics.roc import Scores, Weights

__all__ = ["plot_roc"]


def plot_roc(scores: Mapping[str, Scores], weights: Weights = None) -> Figure:
    """Background against signal efficiency, with statistical errors and areas.

    Parameters
    ----------
    scores
        Scores of signal and background by classifier: shapes (n_signal,), (n_background,).
    weights
        Of the signal and of the background, none negative; default: all 1.

    Raises
    ------
    SampleError
        As :func:`milinfer.diagnostics.roc.roc_curve`.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> signal, background = rng.normal(1, 1, 1000), rng.normal(0, 1, 1000)
    >>> plot_roc({"classifier": (signal, background)}).axes[0].get_xlabel()
    'signal efficiency'
    """
    fine = np.linspace(0, 1, 201)
    at = np.linspace(0.1, 0.9, 9)
    with styled():
        figure, axis = figure_of(5.6, 4.8)
        axis.plot([0, 1], [0, 1], color="gray", lw=0.8, ls=":")
        styles = method_styles(scores)
        for i, (name, (signal, background)) in enumerate(scores.items()):
            style = styles[name]
            roc = roc_curve(signal, background, *(weights or (None, None)))
            axis.plot(fine, roc.at(fine), color=style.color, ls=style.ls)
            # Points of two curves beside each other.
            where = at + 0.01 * (i - (len(scores) - 1) / 2)
            rates = [false_positive_rate((signal, background), t, weights) for t in where]
            axis.errorbar(
                where,
                [r.value for r in rates],
                yerr=[r.error for r in rates],
                fmt=style.marker,
                ms=5,
                lw=1.2,
                color=style.color,
                label=f"{plain(name)}: area {roc.auc:.3f} ± {roc.auc_error:.3f}",
            )
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.set_xlabel("signal efficiency")
        axis.set_ylabel("background efficiency")
        axis.legend(loc="upper left", fontsize=8)
    return figure
