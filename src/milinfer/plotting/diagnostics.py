"""Figures of diagnoses, receiver operating characteristics, bag sizes and widths of intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.diagnostics.roc import false_positive_rate, roc_curve
from milinfer.exceptions import SampleError
from milinfer.plotting.style import (
    LINES,
    MARKERS,
    PALETTE,
    edge_labels,
    figure_of,
    method_styles,
    observable_label,
    parameter_label,
    plain,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.diagnostics.bag_size import BagSizeFit
    from milinfer.diagnostics.bag_size_scan import BagSizeScan
    from milinfer.diagnostics.diagnosis import Diagnosis
    from milinfer.diagnostics.roc import Scores, Weights
    from milinfer.diagnostics.two_sample import FeatureClosure
    from milinfer.intervals.information import RelativeWidth

__all__ = [
    "diagnostic_figures",
    "plot_bag_sizes",
    "plot_calibration_curves",
    "plot_closure",
    "plot_normalisation",
    "plot_relative_widths",
    "plot_roc",
    "plot_separation",
]


_CAPTIONS = {
    "normalisation": "Mean of the ratio r over reference events; for an exact ratio it is 1. "
    "Below: the effective number of events in this mean.",
    "closure": (
        "The worst-described features: ratio of reference to target sample, before and after "
        "reweighting the reference with the ratio r."
    ),
    "separation": (
        "Power of a classifier to separate the events at each value from the reference events, "
        "before and after reweighting the reference with the ratio r."
    ),
    "calibration_curves": "Observed against predicted fraction of events from each value.",
}


def diagnostic_figures(diagnosis: Diagnosis) -> dict[str, tuple[Figure, str]]:
    """Draw all figures for which a diagnosis has results; return figures and captions by name."""
    draw = {
        "normalisation": plot_normalisation,
        "closure": plot_closure,
        "separation": plot_separation,
        "calibration_curves": plot_calibration_curves,
    }
    has_results = {
        "normalisation": True,
        "closure": bool(diagnosis.closures),
        "separation": bool(diagnosis.separations),
        "calibration_curves": bool(diagnosis.curves),
    }
    return {name: (f(diagnosis), _CAPTIONS[name]) for name, f in draw.items() if has_results[name]}


def plot_normalisation(diagnosis: Diagnosis) -> Figure:
    """Draw the mean ratio E_θ0[r(x|θ)] against θ, and below it the effective number of events.

    For an exact ratio the mean is 1.

    Parameters
    ----------
    diagnosis
        Diagnosis of a model.

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


def plot_closure(diagnosis: Diagnosis, n_features: int = 4) -> Figure:
    """Draw the ratio of reference to target events, for the features that agree worst.

    The target is a sample at another value than the reference.  The ratio is drawn before and after
    the reference events are reweighted to this value.

    Parameters
    ----------
    diagnosis
        Diagnosis with at least one sample at another value than the reference.
    n_features
        Largest number of features.  Each feature is drawn at the value at which it agrees worst.

    Raises
    ------
    SampleError
        If there are no results to draw.
    """
    _require_results(diagnosis.closures)
    worst: dict[str, FeatureClosure] = {}
    for c in sorted(diagnosis.closures, key=lambda c: (c.agreement.p_value, -c.agreement.chi2)):
        worst.setdefault(c.feature, c)
    closures = list(worst.values())[:n_features]
    with styled():
        columns = min(len(closures), 2)
        rows = -(-len(closures) // columns)
        figure, axes = figure_of(
            1.2 + 3.2 * columns, 0.6 + 2.6 * rows, nrows=rows, ncols=columns, squeeze=False
        )
        for axis, c in zip(axes.flat, closures, strict=False):
            at = np.arange(len(c.target) + 1)
            axis.axhline(1, color="gray", lw=0.8, ls="--")
            axis.stairs(c.before / c.target, at, color=PALETTE[4], baseline=None, label="before")
            error = np.hypot(c.after_error, c.target_error) / c.target
            axis.errorbar(
                at[:-1] + 0.5, c.after / c.target, error, fmt="o", ms=4, color=PALETTE[0],
                label="after weighting",
            )  # fmt: skip
            axis.set_xticks(at, edge_labels(c.edges), rotation=60, fontsize=7)
            axis.minorticks_off()
            axis.set_xlabel(observable_label(c.feature))
            axis.set_ylabel(f"reference / target\nat {_point_text(diagnosis, c.theta)}")
            axis.set_title(f"p = {c.agreement.p_value:.2g}", fontsize=9)
        for axis in axes.flat[len(closures) :]:
            axis.remove()
        figure.legend(
            *axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=2
        )
    return figure


def plot_separation(diagnosis: Diagnosis) -> Figure:
    """Draw the ROC area of a classifier at each parameter value, before and after reweighting.

    The classifier separates events at the value from reference events.  The latter are used once
    without weights, and once reweighted to the value.

    Raises
    ------
    SampleError
        If there are no results to draw.
    """
    _require_results(diagnosis.separations)
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
    """Draw the observed against the predicted fraction of events from θ, and their difference.

    The events are those at θ and at the reference.  The prediction is r/(1 + r), with the learned
    ratio r of the two densities.

    Parameters
    ----------
    diagnosis
        Diagnosis with at least one sample at another value than the reference.
    n_curves
        Largest number of curves; the curves with the smallest p-values are drawn.

    Raises
    ------
    SampleError
        If there are no results to draw.
    """
    _require_results(diagnosis.curves)
    curves = sorted(diagnosis.curves, key=lambda c: (c.agreement.p_value, -c.agreement.chi2))
    curves = sorted(curves[:n_curves], key=lambda c: c.theta)
    with styled():
        figure, (top, bottom) = figure_of(
            6.4, 5.0, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3, 2]}
        )
        ends = [float(f(c.predicted)) for c in curves for f in (np.min, np.max)]
        top.plot([min(ends), max(ends)], [min(ends), max(ends)], color="gray", lw=0.8, ls="--")
        bottom.axhline(0, color="gray", lw=0.8, ls="--")
        for k, c in enumerate(curves):
            style: dict[str, Any] = {
                "fmt": MARKERS[k % 8],
                "ls": LINES[k % 8],
                "ms": 4,
                "lw": 0.8,
                "color": PALETTE[k % 8],
            }
            label = f"{_point_text(diagnosis, c.theta)}, p = {c.agreement.p_value:.2g}"
            top.errorbar(c.predicted, c.observed, c.error, label=label, **style)
            bottom.errorbar(c.predicted, c.observed - c.predicted, c.error, **style)
        top.set_ylabel("observed fraction")
        top.margins(x=0.04)
        top.legend(loc="upper left")
        bottom.set_ylabel("observed − predicted")
        bottom.set_xlabel(r"predicted $r/(1+r)$")
    return figure


def _point_text(diagnosis: Diagnosis, theta: float) -> str:
    return f"{parameter_label(diagnosis.parameter)} = {theta:g}"


def _require_results(results: Sequence[Any]) -> None:
    if not results:
        msg = (
            "there is no figure to draw: the diagnosis has no sample away from the reference, or "
            "too "
            "few events; give more samples or events to diagnose"
        )
        raise SampleError(msg)


def plot_roc(scores: Mapping[str, Scores], weights: Weights = None) -> Figure:
    """Draw ROC curves: background against signal efficiency, with statistical errors and areas.

    Parameters
    ----------
    scores
        For each classifier, by name: the scores of the signal and of the background, shapes
        (n_signal,) and (n_background,).
    weights
        Weights of the signal and of the background, none negative; default: all 1.

    Raises
    ------
    SampleError
        Under the same conditions as for :func:`milinfer.diagnostics.roc.roc_curve`.

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
            # Shifted, so that points of two curves do not hide each other.
            efficiencies = at + 0.01 * (i - (len(scores) - 1) / 2)
            rates = [false_positive_rate((signal, background), t, weights) for t in efficiencies]
            axis.errorbar(
                efficiencies,
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


_ANSATZ_LABELS = {
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
    """Draw the information against bag size ([AS], fig. 2), with fits and the exact bound.

    Filled markers are the effective information I_eff = R²/Var(θ̂), open markers I_MLE = 1/Var(θ̂).
    If there are several trainings at a bag size, small markers show the single trainings.  If the
    response R is far below 1, I_MLE can be far above all other points; it is then drawn as an arrow
    at the upper edge.

    Parameters
    ----------
    scan
        Scan of bag sizes, from :func:`milinfer.diagnostics.scan_bag_sizes`.
    fits
        Fits to draw, with their one-sigma bands.  They are also drawn beyond the largest bag size.
    bound
        True information, or a pair of the true information and its error; default: the bound that
        is stored in `scan`.

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
    information = scan.bound if bound is None else bound
    sizes = scan.sizes
    fine = np.geomspace(sizes[0], sizes[-1] * 4, 201)
    with styled():
        figure, axis = figure_of(6.4, 4.6)
        top = float(np.max(scan.info_eff + scan.info_eff_error))
        if information is not None:
            value, error = information if isinstance(information, tuple) else (information, 0.0)
            axis.axhline(value, color="black", lw=1, ls="--", label="exact bound")
            axis.axhspan(value - error, value + error, color="black", alpha=0.12, lw=0)
            top = max(top, value + error)
        for i, fit in enumerate(fits):
            colour = PALETTE[(i + 1) % len(PALETTE)]
            curve, band = fit.info(fine), fit.info_error(fine)
            goodness = "" if np.isnan(fit.p_value) else f", p = {fit.p_value:.2g}"
            label = (
                rf"{_ANSATZ_LABELS[fit.ansatz]}: $\chi^2$/ndf = {fit.chi2:.1f}/{fit.ndf}{goodness}"
            )
            inside = fine <= sizes[-1] * (1 + 1e-9)
            axis.fill_between(fine, curve - band, curve + band, color=colour, alpha=0.18, lw=0)
            # Fits that agree lie on top of each other: the later ones are thinner.
            width = max(3.0 - i, 1.0)
            line = LINES[i % len(LINES)]
            axis.plot(fine[inside], curve[inside], color=colour, lw=width, ls=line, label=label)
            # Thin lines are extrapolations.
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
    """Draw the width of the intervals of each method, relative to those of the best histogram.

    Examples
    --------
    >>> from milinfer.intervals.information import RelativeWidth
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
            # In a separate column: next to the bars the numbers would overlap lines.
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
