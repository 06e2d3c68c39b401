"""Figures of the results of an analysis: trainings, scans, intervals, toys and coverage.

The figures do not use the global state of pyplot, so they can be drawn in a server, a notebook or a
worker.  A method has the same colour, marker and line in all figures
(:mod:`milinfer.plotting.style`).  Because of the markers and lines, methods can also be recognised
without colours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from milinfer.plotting.style import (
    MARKERS,
    PALETTE,
    figure_of,
    method_styles,
    parameter_label,
    plain,
    styled,
)
from milinfer.utils.confidence_levels import CL68, CL95, chi2_quantile

if TYPE_CHECKING:
    from milinfer.intervals.calibration import Calibration
    from milinfer.intervals.coverage import Coverage
    from milinfer.intervals.toy_intervals import ToyIntervals
    from milinfer.likelihood.fits import Interval
    from milinfer.toys.ensemble import ToyEnsemble

__all__ = [
    "plot_coverage",
    "plot_estimates",
    "plot_datasets",
    "plot_intervals",
    "plot_ladder",
    "plot_response",
    "plot_scans",
    "plot_training",
]

# Levels of all intervals of the package: one and two standard deviations.
_LEVELS = (CL68, CL95)


def plot_training(history: Sequence[Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the training and validation loss of each network of an ensemble.

    Parameters
    ----------
    history
        For each network its losses after each epoch, ``"loss"`` and ``"val_loss"``.

    Examples
    --------
    >>> figure = plot_training([{"loss": [2.0, 1.5], "val_loss": [2.1, 1.7]}])
    >>> figure.axes[0].get_xlabel()
    'epoch'
    """
    with styled():
        figure, axis = figure_of()
        for i, member in enumerate(history):
            colour = PALETTE[i % len(PALETTE)]
            epochs = np.arange(1, len(member["loss"]) + 1)
            axis.plot(epochs, member["loss"], color=colour, ls="--", lw=1)
            every = max(len(epochs) // 8, 1)
            axis.plot(
                epochs,
                member["val_loss"],
                color=colour,
                marker=MARKERS[i % len(MARKERS)],
                ms=4,
                # Shifted, so that the markers of two networks do not hide each other.
                markevery=(i % every, every),
                label=f"network {i + 1}",
            )
        axis.plot([], [], color="gray", ls="--", lw=1, label="training")
        axis.plot([], [], color="gray", label="validation")
        # The first epochs are far above the rest and hide it.
        late = np.concatenate([m["val_loss"][len(m["val_loss"]) // 10 :] for m in history])
        spread = max(float(np.ptp(late)), 1e-3)
        axis.set_ylim(float(late.min()) - 0.3 * spread, float(late.max()) + 0.6 * spread)
        axis.set_xlabel("epoch")
        axis.set_ylabel("loss (cross-entropy + L2)")
        axis.legend(ncols=2)
    return figure


def plot_scans(
    scans: Mapping[str, Callable[[float], float]],
    parameter: str,
    window: tuple[float, float],
    truth: float | None = None,
    dashed: Sequence[str] = (),
) -> Figure:
    """Draw −2ΔlnL of one dataset from several methods, with the thresholds of intervals.

    The thresholds belong to 68.27 % and 95.45 % intervals.

    Parameters
    ----------
    scans
        Cost functions by name of the method.
    parameter
        Name of the parameter.
    window
        Range to draw.
    truth
        True value, drawn as a line.
    dashed
        Names of methods to draw with dashed lines, such as methods that are not calibrated.

    Examples
    --------
    >>> figure = plot_scans({"exact": lambda c: (c / 0.1) ** 2}, "c_HW", (-0.3, 0.3), truth=0.0)
    >>> figure.axes[0].get_xlabel()
    '$c_{HW}$'
    """
    theta = np.linspace(*window, 201)
    with styled():
        figure, axis = figure_of()
        styles = method_styles(scans)
        for name, cost in scans.items():
            values = np.array([cost(t) for t in theta])
            colour, _, line = styles[name]
            axis.plot(
                theta,
                values - values.min(),
                label=plain(name),
                color=colour,
                ls="--" if name in dashed else line,
            )
        for cl in _LEVELS:
            level = float(chi2_quantile(cl, 1))
            axis.axhline(level, color="gray", lw=0.8, ls=":")
            text = f" {cl:.2%}"
            axis.text(window[1], level, text, va="center", fontsize=8, color=PALETTE[7])
        if truth is not None:
            axis.axvline(truth, color="gray", lw=0.8, label="truth")
        axis.set_xlim(*window)
        axis.set_ylim(0, 8)
        axis.set_xlabel(parameter_label(parameter))
        axis.set_ylabel(r"$-2\,\Delta\ln L$")
        # Outside, because the curves leave no room inside.
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def plot_intervals(
    intervals: Mapping[str, tuple[Interval, Interval]], truth: float | None = None
) -> Figure:
    """Draw estimates with 68.27 % (thick) and 95.45 % (thin) intervals, one row for each method.

    Parameters
    ----------
    intervals
        For each method, by name: the pair of the 68.27 % interval and the 95.45 % interval.
    truth
        True value, drawn as a dashed line; None: it is not known.

    Examples
    --------
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.likelihood.fits import profile_interval
    >>> cost = NormalConstraint("mu", 0.1, 0.1)
    >>> both = profile_interval(cost, "mu", 0.6827), profile_interval(cost, "mu", 0.9545)
    >>> plot_intervals({"exact": both}, truth=0.0).axes[0].get_xlabel()
    'mu'
    """
    with styled():
        figure, axis = figure_of(6.4, 0.8 + 0.45 * len(intervals))
        styles = method_styles(intervals)
        for i, (name, (inner, outer)) in enumerate(intervals.items()):
            colour, marker, _ = styles[name]
            axis.plot([outer.low, outer.high], [i, i], color=colour, lw=1.2)
            axis.plot([inner.low, inner.high], [i, i], color=colour, lw=4, solid_capstyle="butt")
            axis.plot(inner.estimate, i, marker, color=colour, mec="white", ms=8)
        if truth is not None:
            axis.axvline(truth, color="gray", lw=0.8, ls="--")
        axis.set_yticks(range(len(intervals)), [plain(name) for name in intervals])
        axis.margins(x=0.06)
        axis.minorticks_off()
        axis.set_ylim(len(intervals) - 0.5, -0.5)
        axis.set_xlabel(parameter_label(next(iter(intervals.values()))[0].parameter))
    return figure


def plot_datasets(interval: Interval, toys: ToyIntervals, n_toys: int = 20) -> Figure:
    """Draw the interval of one dataset above the intervals of simulated datasets (toys).

    All toys have the same true value.

    Parameters
    ----------
    interval
        Interval of the dataset.
    toys
        Intervals of toys, from the same method and at the same level.
    n_toys
        Largest number of toys to draw.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.intervals.toy_intervals import ToyIntervals
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.likelihood.fits import profile_interval
    >>> interval = profile_interval(NormalConstraint("mu", 0.1, 0.1), "mu")
    >>> ends = np.array([-0.1, 0.15])
    >>> toys = ToyIntervals(0.0, ends + 0.1, ends, ends + 0.2, np.array([True, False]))
    >>> plot_datasets(interval, toys).axes[0].get_xlabel()
    'mu'
    """
    n = min(n_toys, len(toys.covers))
    with styled():
        figure, axis = figure_of(6.4, 1.4 + 0.15 * n)
        ends = [interval.low, interval.high]
        axis.plot(ends, [0, 0], color=PALETTE[7], lw=4, solid_capstyle="butt", label="these data")
        axis.plot(interval.estimate, 0, "o", color=PALETTE[7], mec="white", ms=8)
        rows = np.arange(n) + 1.5
        for mask, colour, text, marker in (
            (toys.covers[:n], PALETTE[0], "simulated, covers", "."),
            (~toys.covers[:n], PALETTE[1], "simulated, misses", "D"),
        ):
            low, high, estimate = (x[:n][mask] for x in (toys.low, toys.high, toys.estimate))
            axis.hlines(rows[mask], low, high, color=colour, lw=1.4)
            axis.plot(estimate, rows[mask], marker, color=colour, ms=4, label=text)
        axis.axvline(toys.truth, color="gray", lw=0.8)
        axis.set_ylim(n + 1.5, -1)
        axis.set_yticks([])
        axis.set_xlabel(parameter_label(interval.parameter))
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def plot_ladder(
    before: ToyIntervals, after: ToyIntervals, n_toys: int = 50, parameter: str = ""
) -> Figure:
    """Draw the intervals of many toys before and after calibration ([AS], fig. 16).

    Parameters
    ----------
    before, after
        Intervals of the same toys.
    n_toys
        Largest number of toys to draw.
    parameter
        Name of the parameter, for the axis.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.intervals.toy_intervals import ToyIntervals
    >>> toys = ToyIntervals(0.0, np.zeros(2), -np.ones(2), np.ones(2), np.array([True, False]))
    >>> len(plot_ladder(toys, toys).axes)
    2
    """
    with styled():
        figure, axes = figure_of(7.0, 5.0, ncols=2, sharex=True, sharey=True)
        for axis, toys, title in zip(
            axes, (before, after), ("as trained", "calibrated"), strict=True
        ):
            n = min(n_toys, len(toys.low))
            rows = np.arange(n)
            inside = toys.covers[:n]
            for mask, colour, text, marker, width in (
                (inside, PALETTE[0], "covers", ".", 1.2),
                (~inside, PALETTE[1], "misses", "D", 2.2),
            ):
                axis.hlines(
                    rows[mask],
                    toys.low[:n][mask],
                    toys.high[:n][mask],
                    color=colour,
                    lw=width,
                )
                axis.plot(
                    toys.estimate[:n][mask], rows[mask], marker, color=colour, ms=4, label=text
                )
            axis.axvline(toys.truth, color="black", lw=0.8)
            axis.set_title(f"{title}: {toys.covers.mean():.1%} of {len(toys.covers)} toys cover")
            axis.set_xlabel(f"interval of {parameter_label(parameter) or 'the parameter'}")
        axes[0].set_ylim(-1, min(n_toys, len(after.low)))
        axes[0].set_ylabel("pseudo-experiment")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def plot_estimates(toys: Mapping[str, ToyEnsemble], bins: int = 40) -> Figure:
    """Draw the distribution of the estimate over the same toys, with a line for each method.

    Parameters
    ----------
    toys
        Toy ensembles at one true value, by name of the method.
    bins
        Number of bins.  The histograms reach from the 0.1 % quantile to the 99.9 % quantile of the
        estimates of all methods.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> toys = Toys(gaussian.samples(20_000, [0.0], seed=1), n_events=100, seed=2)
    >>> plot_estimates(toys.run([gaussian.MeanModel()], 0.0, 200)).axes[0].get_xlabel()
    'estimate of mu'
    """
    with styled():
        figure, axis = figure_of(6.4, 4.6)
        pooled = np.concatenate([e.theta_hat for e in toys.values()])
        low, high = (float(q) for q in np.quantile(pooled, [0.001, 0.999]))
        edges = np.linspace(low, high, bins + 1)
        styles = method_styles(toys)
        for name, e in toys.items():
            counts, _ = np.histogram(e.theta_hat, edges)
            colour, _, line = styles[name]
            numbers = f"{e.theta_hat.mean():+.3f} ± {e.theta_hat.std(ddof=1):.3f}"
            axis.stairs(
                counts / e.n_toys / np.diff(edges),
                edges,
                color=colour,
                ls=line,
                lw=1.4,
                label=f"{plain(name)}: {numbers}".replace("-0.", "−0."),
            )
        first = next(iter(toys.values()))
        axis.axvline(first.truth, color="gray", lw=0.8, ls="--")
        axis.set_xlabel(f"estimate of {parameter_label(first.parameter)}")
        axis.set_ylabel("density")
        axis.set_ylim(bottom=0)
        title = "method: mean ± standard deviation"
        figure.legend(title=title, loc="outside upper center", ncols=2, fontsize=8)
    return figure


def plot_coverage(coverages: Mapping[str, Sequence[Coverage]]) -> Figure:
    """Draw the measured coverage of each method with its errors, and the nominal coverage.

    Thick bars are the errors due to the number of toys (Clopper–Pearson 68.27 % intervals).  Thin
    bars also include the error due to the finite number of events from which the toys are drawn.

    Parameters
    ----------
    coverages
        Coverages at one true value, by name of the method, for one or several levels.

    Examples
    --------
    >>> from milinfer.intervals.coverage import Coverage
    >>> row = Coverage("m", "m", {"mu": 0.0}, 0.6827, 0.70, 0.01, 0.69, 0.71, 2000, 0.0)
    >>> plot_coverage({"m": [row]}).axes[0].get_xlabel()
    'coverage of 68.27% intervals'
    """
    levels = sorted({c.cl for row in coverages.values() for c in row})
    styles = method_styles(coverages)
    with styled():
        figure, axes = figure_of(
            7.0, 1.2 + 0.35 * len(coverages), ncols=len(levels), sharey=True, squeeze=False
        )
        for axis, cl in zip(axes[0], levels, strict=True):
            for i, (name, row) in enumerate(coverages.items()):
                for c in row:
                    if c.cl == cl:
                        total = [
                            max(c.coverage - c.total_error, 0.0),
                            min(c.coverage + c.total_error, 1.0),
                        ]
                        axis.plot(total, [i, i], lw=0.8, color=styles[name].color)
                        axis.errorbar(
                            c.coverage,
                            i,
                            xerr=[[c.coverage - c.low], [c.high - c.coverage]],
                            fmt=styles[name].marker,
                            ms=5,
                            elinewidth=2.0,
                            color=styles[name].color,
                        )
            axis.axvline(cl, color="gray", lw=0.8, ls="--")
            # A coverage cannot exceed one.
            low, high = axis.get_xlim()
            span = 0.06 * (high - low)
            axis.set_xlim(low - span, min(high + span, 1.01))
            axis.set_xlabel(f"coverage of {cl:.2%} intervals")
            axis.set_yticks(range(len(coverages)), [plain(name) for name in coverages])
            axis.minorticks_off()
            axis.set_ylim(len(coverages) - 0.5, -0.5)
    return figure


def plot_response(ensembles: Sequence[ToyEnsemble], calibration: Calibration) -> Figure:
    """Draw the bias of the estimate against the true value, and the fit that corrects the bias.

    Parameters
    ----------
    ensembles
        Toys from which the calibration was made.
    calibration
        Calibration with the fit of the bias.

    Examples
    --------
    >>> from milinfer.intervals.calibration_fit import calibrate
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> truths = [-0.2, 0.0, 0.2]
    >>> toys = Toys(gaussian.samples(20_000, truths, seed=1), n_events=100, seed=2)
    >>> ensembles = toys.scan([gaussian.MeanModel(shift=0.05)], truths, 200)["mean"]
    >>> plot_response(ensembles, calibrate(ensembles)).axes[0].get_xlabel()
    'true mu'
    """
    truths = np.array([e.truth for e in ensembles])
    means = np.array([e.theta_hat.mean() for e in ensembles])
    errors = np.array([e.mean_error for e in ensembles])
    # Toys at one truth give a constant, drawn over a range wide enough to be visible.
    margin = 0.08 * float(np.ptp(truths)) or 0.1
    beyond = 0.0 if np.ptp(truths) else 0.5 * margin
    fine = np.linspace(truths.min() - beyond, truths.max() + beyond, 101)
    fitted = [calibration.bias(t) for t in fine]
    centre, band = np.array([b for b, _ in fitted]), np.array([s for _, s in fitted])
    with styled():
        figure, axis = figure_of()
        axis.errorbar(truths, means - truths, yerr=errors, fmt="o", label="toys")
        axis.plot(fine, centre, color=PALETTE[1], label="fit")
        axis.fill_between(fine, centre - band, centre + band, color=PALETTE[1], alpha=0.25, lw=0)
        axis.axhline(0, color="gray", lw=0.8, ls="--")
        parameter = parameter_label(calibration.parameter)
        axis.set_xlim(truths.min() - margin, truths.max() + margin)
        axis.set_xlabel(f"true {parameter}")
        axis.set_ylabel(f"bias of the estimate of {parameter}")
        axis.legend()
    return figure
