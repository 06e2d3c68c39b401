"""Figures of a :class:`~milinfer.diagnostics.diagnosis.Diagnosis`.

As in :mod:`milinfer.plotting.results`, every function returns a figure of what the result holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import SampleError
from milinfer.plotting.style import (
    LINES,
    MARKERS,
    PALETTE,
    figure_of,
    observable_label,
    parameter_label,
    plain,
    styled,
)
from milinfer.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.diagnostics.diagnosis import Diagnosis
    from milinfer.diagnostics.two_sample import FeatureClosure

__all__ = [
    "diagnostic_figures",
    "plot_calibration_curves",
    "plot_closure",
    "plot_normalisation",
    "plot_separation",
]

_CAPTIONS = {
    "normalisation": "Mean of the ratio over events of the reference, exactly 1 for an exact one. "
    "Below: the effective number of events behind the mean.",
    "closure": "The features that agree worst: reference events before and after weighting with "
    "r, relative to the events of the other value.",
    "separation": "How well a classifier tells the events of each value from those of the "
    "reference, before and after weighting with r.",
    "calibration_curves": "Observed against predicted fraction of events of each value.",
}


def diagnostic_figures(diagnosis: Diagnosis) -> dict[str, tuple[Figure, str]]:
    """All figures of a diagnosis that it has results for, with captions, by name."""
    draw = {
        "normalisation": plot_normalisation,
        "closure": plot_closure,
        "separation": plot_separation,
        "calibration_curves": plot_calibration_curves,
    }
    there = {
        "normalisation": True,
        "closure": bool(diagnosis.closures),
        "separation": bool(diagnosis.separations),
        "calibration_curves": bool(diagnosis.curves),
    }
    return {name: (f(diagnosis), _CAPTIONS[name]) for name, f in draw.items() if there[name]}


def plot_normalisation(diagnosis: Diagnosis) -> Figure:
    """E_θ0[r(x|θ)] against θ with an error band, and the effective number of events.

    Examples
    --------
    >>> from milinfer.diagnostics.diagnosis import Diagnosis
    >>> from milinfer.diagnostics.event_checks import NormalisationScan
    >>> x = np.linspace(-1, 1, 5)
    >>> scan = NormalisationScan(x, 1 + 0.01 * x, 0.01 * abs(x), 100 - 50 * x**2)
    >>> figure = plot_normalisation(Diagnosis("m", "c_HW", 0.0, 100, (), scan))
    >>> figure.axes[1].get_xlabel()
    '$c_{HW}$'
    """
    grid, mean, error, effective = diagnosis.normalisation
    with styled():
        figure, (top, bottom) = figure_of(
            6.4, 4.8, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
        )
        top.axhline(1, color="gray", lw=0.8, ls="--")
        for k, alpha in ((2, 0.15), (1, 0.3)):
            band = (mean - k * error, mean + k * error)
            top.fill_between(grid, *band, color=PALETTE[0], alpha=alpha, lw=0, label=f"{k}σ")
        # Points of a fine grid would hide the band.
        every = max(len(grid) // 20, 1)
        top.plot(grid, mean, "o-", ms=4, markevery=every, label=plain(diagnosis.model))
        top.axvline(diagnosis.reference, color="gray", lw=0.8, ls=":")
        top.set_ylabel(r"$E_{\theta_0}[r(x|\theta)]$")
        top.legend(loc="best")
        bottom.semilogy(grid, np.maximum(effective, 0.1), ".-", markevery=every)
        bottom.set_ylabel("effective\nevents")
        bottom.set_xlabel(parameter_label(diagnosis.parameter))
    return figure


def _edge_labels(edges: FloatArray) -> list[str]:
    """Edges with as many digits as tell each from the next; equal ones are named once.

    Examples
    --------
    >>> _edge_labels(np.array([0.0, 0.9996, 1.0, 1.0]))
    ['0', '0.9996', '1', '']
    """
    distinct = np.unique(edges)
    digits = next(
        (n for n in range(3, 9) if len({f"{e:.{n}g}" for e in distinct}) == len(distinct)), 9
    )
    labels = [f"{e:.{digits}g}" for e in edges]
    return [label if k == 0 or label != labels[k - 1] else "" for k, label in enumerate(labels)]


def plot_closure(diagnosis: Diagnosis, n_features: int = 4) -> Figure:
    """Features that agree worst: histograms relative to the target, before and after weighting.

    Parameters
    ----------
    diagnosis
        With at least one sample at another value than the reference.
    n_features
        At most; each feature at the value where its p-value is smallest.

    Raises
    ------
    SampleError
        If there are no results to draw.
    """
    _require(diagnosis.closures)
    worst: dict[str, FeatureClosure] = {}
    for c in sorted(diagnosis.closures, key=lambda c: (c.agreement.p_value, -c.agreement.chi2)):
        worst.setdefault(c.feature, c)
    shown = list(worst.values())[:n_features]
    with styled():
        columns = min(len(shown), 2)
        rows = -(-len(shown) // columns)
        figure, axes = figure_of(
            1.2 + 3.2 * columns, 0.6 + 2.6 * rows, nrows=rows, ncols=columns, squeeze=False
        )
        for axis, c in zip(axes.flat, shown, strict=False):
            at = np.arange(len(c.target) + 1)
            axis.axhline(1, color="gray", lw=0.8, ls="--")
            axis.stairs(c.before / c.target, at, color=PALETTE[4], baseline=None, label="before")
            error = np.hypot(c.after_error, c.target_error) / c.target
            axis.errorbar(
                at[:-1] + 0.5, c.after / c.target, error, fmt="o", ms=4, color=PALETTE[0],
                label="after weighting",
            )  # fmt: skip
            axis.set_xticks(at, _edge_labels(c.edges), rotation=60, fontsize=7)
            axis.minorticks_off()
            axis.set_xlabel(observable_label(c.feature))
            axis.set_ylabel(f"reference / target\nat {_at(diagnosis, c.theta)}")
            axis.set_title(f"p = {c.agreement.p_value:.2g}", fontsize=9)
        for axis in axes.flat[len(shown) :]:
            axis.remove()
        figure.legend(
            *axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=2
        )
    return figure


def plot_separation(diagnosis: Diagnosis) -> Figure:
    """Area under the ROC curve of the classifier at each value, before and after weighting.

    Raises
    ------
    SampleError
        If there are no results to draw.
    """
    _require(diagnosis.separations)
    theta = np.array([s.theta for s in diagnosis.separations])
    series: tuple[tuple[str, str, str], ...] = (
        ("before", "s", PALETTE[4]),
        ("after", "o", PALETTE[0]),
    )
    with styled():
        figure, axis = figure_of()
        axis.axhline(0.5, color="gray", lw=0.8, ls="--")
        for name, marker, colour in series:
            value, error = (
                np.array([getattr(s, f"{name}{part}") for s in diagnosis.separations])
                for part in ("", "_error")
            )
            label = f"{name} weighting"
            axis.errorbar(theta, value, error, fmt=marker, ms=5, color=colour, label=label)
        axis.set_xlabel(parameter_label(diagnosis.parameter))
        axis.set_ylabel("area under the ROC curve")
        axis.margins(x=0.08)
        axis.legend()
    return figure


def plot_calibration_curves(diagnosis: Diagnosis, n_curves: int = 4) -> Figure:
    """Observed against predicted probability of an event to be of θ, less the prediction below.

    Parameters
    ----------
    diagnosis
        With at least one sample at another value than the reference.
    n_curves
        At most; those with the smallest p-values.

    Raises
    ------
    SampleError
        If there are no results to draw.
    """
    _require(diagnosis.curves)
    shown = sorted(diagnosis.curves, key=lambda c: (c.agreement.p_value, -c.agreement.chi2))
    shown = sorted(shown[:n_curves], key=lambda c: c.theta)
    with styled():
        figure, (top, bottom) = figure_of(
            6.4, 5.0, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3, 2]}
        )
        ends = [float(f(c.predicted)) for c in shown for f in (np.min, np.max)]
        top.plot([min(ends), max(ends)], [min(ends), max(ends)], color="gray", lw=0.8, ls="--")
        bottom.axhline(0, color="gray", lw=0.8, ls="--")
        for k, c in enumerate(shown):
            style: dict[str, Any] = {
                "fmt": MARKERS[k % 8],
                "ls": LINES[k % 8],
                "ms": 4,
                "lw": 0.8,
                "color": PALETTE[k % 8],
            }
            label = f"{_at(diagnosis, c.theta)}, p = {c.agreement.p_value:.2g}"
            top.errorbar(c.predicted, c.observed, c.error, label=label, **style)
            bottom.errorbar(c.predicted, c.observed - c.predicted, c.error, **style)
        top.set_ylabel("observed fraction")
        top.margins(x=0.04)
        top.legend(loc="upper left")
        bottom.set_ylabel("observed − predicted")
        bottom.set_xlabel(r"predicted $r/(1+r)$")
    return figure


def _at(diagnosis: Diagnosis, theta: float) -> str:
    return f"{parameter_label(diagnosis.parameter)} = {theta:g}"


def _require(results: Sequence[Any]) -> None:
    if not results:
        msg = "nothing to draw: the diagnosis had no sample at a second value, or too few events"
        raise SampleError(msg)
