"""Figures of diagnoses of responses to nuisance parameters: expected yields, and closure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.diagnostics.held_out_response import label_of
from milinfer.exceptions import SampleError
from milinfer.plotting.style import (
    MARKERS,
    PALETTE,
    edge_labels,
    figure_of,
    observable_label,
    parameter_label,
    plain,
    styled,
)
from milinfer.typing import FloatArray, Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.diagnostics.held_out_response import YieldComparison
    from milinfer.diagnostics.response_checks import ResponseClosure, YieldCurve
    from milinfer.diagnostics.response_diagnosis import ResponseDiagnosis

__all__ = ["plot_response_closure", "plot_response_yields", "response_figures"]


def response_figures(diagnosis: ResponseDiagnosis) -> dict[str, tuple[Figure, str]]:
    """Draw all figures for which a diagnosis has results; return figures and captions by name."""
    here = [c for c in diagnosis.closures if c.point == diagnosis.reference]
    out = {}
    if diagnosis.curves:
        out["yields"] = (
            plot_response_yields(diagnosis),
            (
                "Expected yield of the response against each nuisance parameter, and the yields of "
                "held-out varied events. Below: their difference; inside the band it is too small "
                "to matter."
            ),
        )
    if here:
        out["closure"] = (
            plot_response_closure(diagnosis),
            (
                "The worst-described features: held-out varied events (points) and nominal events "
                "weighted by the response S (lines), relative to unweighted nominal events."
            ),
        )
    return out


def plot_response_yields(diagnosis: ResponseDiagnosis, n_nuisances: int = 6) -> Figure:
    """Draw the expected yield against each nuisance parameter, and the yields of varied events.

    The lower panel shows the difference between the mean of the response S over held-out nominal
    events (not used in the training) and the yield of the varied events.  Differences inside the
    band are too small to matter.

    Parameters
    ----------
    diagnosis
        Diagnosis of a response.
    n_nuisances
        Largest number of nuisance parameters; the nuisance parameters that agree worst are drawn.

    Raises
    ------
    SampleError
        If there are no results to draw.
    """
    yields = [y for y in diagnosis.yields if y.point == diagnosis.reference]
    alone = {c.nuisance: [y for y in yields if _shifted(y.nuisances) == {c.nuisance}]
             for c in diagnosis.curves}  # fmt: skip
    curves = sorted(diagnosis.curves, key=lambda c: -_largest_pull(alone[c.nuisance]))
    chosen = {c.nuisance for c in curves[:n_nuisances]}
    drawn = [c for c in diagnosis.curves if c.nuisance in chosen]
    if not drawn:
        msg = "there is no figure to draw: give n_nuisances=1 or more"
        raise SampleError(msg)
    tolerance = diagnosis["yields"].tolerance
    columns = min(len(drawn), 3)
    rows = -(-len(drawn) // columns)
    with styled():
        figure, axes = figure_of(
            1.0 + 2.9 * columns,
            0.4 + 3.4 * rows,
            nrows=2 * rows,
            ncols=columns,
            squeeze=False,
            gridspec_kw={"height_ratios": [3, 2] * rows},
        )
        for k in range(rows * columns):
            top, bottom = (axes[2 * (k // columns) + part, k % columns] for part in (0, 1))
            if k >= len(drawn):
                top.remove()
                bottom.remove()
                continue
            _draw_yields(top, bottom, drawn[k], alone[drawn[k].nuisance], tolerance)
        for row in range(rows):
            axes[2 * row, 0].set_ylabel("yield / nominal")
            axes[2 * row + 1, 0].set_ylabel("E[S] − varied")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _draw_yields(
    top: Any, bottom: Any, curve: YieldCurve, yields: list[YieldComparison], tolerance: float
) -> None:
    band = (curve.mean - curve.error, curve.mean + curve.error)
    top.fill_between(curve.alpha, *band, color=PALETTE[0], alpha=0.3, lw=0)
    top.plot(curve.alpha, curve.mean, color=PALETTE[0], label="expected yield of the response")
    at = np.array([y.nuisances[curve.nuisance] for y in yields])
    points: dict[str, Any] = {"fmt": "o", "ms": 5, "color": PALETTE[1]}
    values, errors = (np.array([getattr(y, name) for y in yields]) for name in ("value", "error"))
    top.errorbar(at, values, errors, label="varied events", **points)
    top.tick_params(labelbottom=False)
    bottom.axhspan(-tolerance, tolerance, color="gray", alpha=0.15, lw=0)
    bottom.axhline(0, color="gray", lw=0.8, ls="--")
    difference = np.array([y.predicted for y in yields]) - values
    bottom.errorbar(at, difference, [y.difference_error for y in yields], **points)
    bottom.set_xlim(top.get_xlim())
    reach = 1.5 * max([tolerance, *(np.abs(difference) + [y.difference_error for y in yields])])
    bottom.set_ylim(-reach, reach)
    bottom.set_xlabel(parameter_label(curve.nuisance))


def _shifted(nuisances: Point) -> set[str]:
    return {name for name, value in nuisances.items() if value}


def _largest_pull(yields: list[YieldComparison]) -> float:
    return max((abs(y.predicted - y.value) / y.difference_error for y in yields), default=0.0)


def plot_response_closure(diagnosis: ResponseDiagnosis, n_panels: int = 4) -> Figure:
    """Draw the features in which varied events and nominal events weighted by S agree worst.

    Points are the varied events, lines are the nominal events weighted by the response S.  Both are
    normalised to one and divided by the unweighted nominal events.  The error bars are the errors
    of the difference between point and line.

    Parameters
    ----------
    diagnosis
        Diagnosis of a response.
    n_panels
        Largest number of panels.  A panel shows one feature for all variations of the same nuisance
        parameters.  The panels with the smallest p-values are drawn.

    Raises
    ------
    SampleError
        If there are no results to draw.
    """
    panels: dict[tuple[frozenset[str], str], list[ResponseClosure]] = {}
    worst_first = sorted(
        (c for c in diagnosis.closures if c.point == diagnosis.reference),
        key=lambda c: (c.histogram.agreement.p_value, -c.histogram.agreement.chi2),
    )
    for c in worst_first:
        key = frozenset(_shifted(c.nuisances)), c.histogram.feature
        panels.setdefault(key, []).append(c)
    chosen = list(panels.values())[:n_panels]
    if not chosen:
        msg = (
            "there is no figure to draw: the diagnosis has too few nominal or varied events; give "
            "more"
        )
        raise SampleError(msg)
    with styled():
        columns = min(len(chosen), 2)
        rows = -(-len(chosen) // columns)
        figure, axes = figure_of(
            1.2 + 3.2 * columns, 0.4 + 3.0 * rows, nrows=rows, ncols=columns, squeeze=False
        )
        for axis, closures in zip(axes.flat, chosen, strict=False):
            _draw_closures(axis, closures)
        for axis in axes.flat[len(chosen) :]:
            axis.remove()
        handles = [
            axes.flat[0].plot([], [], color="black", label="nominal events with weights S")[0],
            axes.flat[0].errorbar([], [], [], fmt="o", ms=4, color="black", label="varied events"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _draw_closures(axis: Any, closures: list[ResponseClosure]) -> None:
    """One panel; bins are drawn equally wide, those that are merged as wide as their parts."""
    edges: FloatArray = np.unique(np.concatenate([c.histogram.edges for c in closures]))
    axis.axhline(1, color="gray", lw=0.8, ls="--")
    ordered = sorted(closures, key=lambda c: tuple(c.nuisances.values()))
    for k, c in enumerate(ordered):
        h, colour = c.histogram, PALETTE[k % len(PALETTE)]
        at = np.searchsorted(edges, h.edges)
        axis.stairs(h.after / h.before, at, color=colour, baseline=None)
        # Side by side, so that points of several variations do not hide each other.
        share = (k + 1) / (len(ordered) + 1)
        axis.errorbar(
            at[:-1] + share * np.diff(at),
            h.target / h.before,
            np.hypot(h.target_error, h.after_error) / h.before,
            fmt=MARKERS[k % len(MARKERS)],
            ms=4,
            color=colour,
            label=f"{plain(label_of(c.nuisances, {}))}: p = {h.agreement.p_value:.2g}",
        )
    axis.set_xticks(np.arange(len(edges)), edge_labels(edges), rotation=60, fontsize=7)
    axis.minorticks_off()
    # Room for the legend above the points.
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.12 * (1 + len(ordered)) * (high - low))
    axis.set_xlabel(observable_label(ordered[0].histogram.feature))
    axis.set_ylabel("varied / nominal")
    axis.legend(loc="upper center", fontsize=8)
