"""Figures from results.  Every function returns a :class:`matplotlib.figure.Figure`.

Nothing is computed here that a result does not hold, and pyplot's global state is not touched: the
figures can be made in a server, a notebook or a worker.  Colours are Okabe and Ito's, safe for
colour-blind readers; each method keeps its colour in all figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure

from milinfer.typing import FloatArray

if TYPE_CHECKING:
    from milinfer.calibration import Calibration
    from milinfer.coverages import Coverage
    from milinfer.intervals import Interval, ToyIntervals
    from milinfer.samples import SampleSet
    from milinfer.toys import ToyEnsemble

__all__ = [
    "plot_coverage",
    "plot_estimates",
    "plot_features",
    "plot_intervals",
    "plot_ladder",
    "plot_response",
    "plot_scans",
    "plot_templates",
    "plot_training",
]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
_LABELS = {"c_HW": r"$c_{HW}$"}
# Methods that every report shows, and the titles under which it shows them.
_METHODS = (
    "polynomial, joint",
    "polynomial",
    "multi-class bags",
    "pyhf, feature",
    "pyhf, two features",
    "pyhf, classifier",
    "pyhf, score",
    "oracle",
)


@contextmanager
def styled() -> Iterator[None]:
    """Style of all figures."""
    import mplhep

    # mplhep's style for axes and ticks; its sizes are made for slides, ours for a page.
    base: dict[str, Any] = {
        k: v for k, v in mplhep.style.ATLAS.items() if not k.startswith(("font", "figure"))
    }
    own: dict[str, Any] = {
        "font.family": ["DejaVu Sans"],
        "font.size": 10,
        "axes.labelsize": 11,
        "axes.titlesize": 11,
        "axes.prop_cycle": cycler(color=PALETTE),
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "xtick.major.size": 6,
        "ytick.major.size": 6,
        "xtick.minor.size": 3,
        "ytick.minor.size": 3,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "mathtext.fontset": "dejavusans",
        "svg.fonttype": "path",
        # A fixed salt makes the ids inside an SVG, and so the report, the same in every run.
        "svg.hashsalt": "milinfer",
    }
    settings: Any = {**base, **own}
    with mpl.rc_context(settings):
        yield


def figure_of(width: float = 6.4, height: float = 4.2, **grid: Any) -> tuple[Figure, Any]:
    """An empty figure with axes; `grid` as for ``Figure.subplots``."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**grid)


def _colour(name: str, position: int) -> str:
    """Colour of a method: its own if it is a known one, calibrated or not, else by position."""
    base = name.removesuffix(", as trained")
    known = _METHODS.index(base) if base in _METHODS else len(_METHODS) + position
    return PALETTE[known % len(PALETTE)]


def parameter_label(parameter: str) -> str:
    """A parameter's name as it stands on axes."""
    return _LABELS.get(parameter, parameter.replace("_", " "))


def plot_features(samples: SampleSet, names: Sequence[str], bins: int = 30) -> Figure:
    """Normalised feature distributions at each parameter point.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.samples import Sample, SampleSet
    >>> x = np.random.default_rng(1).normal(size=(100, 1))
    >>> figure = plot_features(SampleSet((Sample(x, ("m_ll",), point={"c_HW": 0.0}),)), ["m_ll"])
    >>> len(figure.axes)
    1
    """
    from milinfer.points import format_point

    with styled():
        columns = min(len(names), 3)
        rows = -(-len(names) // columns)
        figure, axes = figure_of(
            3.6 * columns, 3.0 * rows, nrows=rows, ncols=columns, squeeze=False
        )
        for axis, name in zip(axes.flat, names, strict=False):
            pooled = np.concatenate([s.column(name) for s in samples])
            low, high = (float(q) for q in np.quantile(pooled, [0.002, 0.995]))
            edges = np.linspace(low, high, bins + 1)
            for sample in samples:
                counts, _ = np.histogram(sample.column(name), edges, weights=sample.weights)
                axis.stairs(
                    counts / (sample.weights.sum() * np.diff(edges)),
                    edges,
                    label=format_point(sample.point) or sample.process,
                )
            axis.set_xlabel(name)
            axis.set_ylabel("density")
        for axis in axes.flat[len(names) :]:
            axis.set_visible(False)
        axes.flat[0].legend()
    return figure


def plot_training(history: Sequence[Mapping[str, Sequence[float]]]) -> Figure:
    """Training and validation loss of each member of an ensemble.

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
            axis.plot(epochs, member["val_loss"], color=colour, label=f"network {i + 1}")
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
    """−2ΔlnL of one dataset by several methods, with the 68 % and 95 % thresholds.

    Parameters
    ----------
    scans
        Cost functions by name.
    parameter
        Name of the parameter.
    window
        Range to draw.
    truth
        Draws a line where the truth is known.
    dashed
        Names to draw dashed (the uncalibrated ones).

    Examples
    --------
    >>> figure = plot_scans({"exact": lambda c: (c / 0.1) ** 2}, "c_HW", (-0.3, 0.3), truth=0.0)
    >>> figure.axes[0].get_xlabel()
    '$c_{HW}$'
    """
    theta = np.linspace(*window, 201)
    with styled():
        figure, axis = figure_of()
        for i, (name, cost) in enumerate(scans.items()):
            values = np.array([cost(t) for t in theta])
            axis.plot(
                theta,
                values - values.min(),
                label=name,
                color=_colour(name, i),
                ls="--" if name in dashed else "-",
            )
        for level, text in ((1.0, "68%"), (3.84, "95%")):
            axis.axhline(level, color="gray", lw=0.8, ls=":")
            axis.text(window[1], level, f" {text}", va="center", fontsize=8, color="gray")
        if truth is not None:
            axis.axvline(truth, color="gray", lw=0.8, label="truth")
        axis.set_xlim(*window)
        axis.set_ylim(0, 8)
        axis.set_xlabel(parameter_label(parameter))
        axis.set_ylabel(r"$-2\,\Delta\ln L$")
        # Outside: inside, the curves leave no room.
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def plot_intervals(intervals: Mapping[str, tuple[Interval, Interval]], truth: float) -> Figure:
    """Estimates with 68 % (thick) and 95 % (thin) intervals, one line for each method."""
    with styled():
        figure, axis = figure_of(6.4, 0.8 + 0.45 * len(intervals))
        for i, (name, (inner, outer)) in enumerate(intervals.items()):
            colour = _colour(name, i)
            axis.plot([outer.low, outer.high], [i, i], color=colour, lw=1.2)
            axis.plot([inner.low, inner.high], [i, i], color=colour, lw=4, solid_capstyle="butt")
            axis.plot(inner.estimate, i, "o", color=colour, mec="white", ms=7)
        axis.axvline(truth, color="gray", lw=0.8, ls="--")
        axis.set_yticks(range(len(intervals)), list(intervals))
        axis.minorticks_off()
        axis.set_ylim(len(intervals) - 0.5, -0.5)
        axis.set_xlabel(parameter_label(next(iter(intervals.values()))[0].parameter))
    return figure


def plot_ladder(before: ToyIntervals, after: ToyIntervals, n_toys: int = 50) -> Figure:
    """Intervals of many toys before and after calibration (seed 001, fig. 16).

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.intervals import ToyIntervals
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
            for mask, colour, text in (
                (inside, PALETTE[0], "covers"),
                (~inside, PALETTE[1], "misses"),
            ):
                axis.hlines(
                    rows[mask],
                    toys.low[:n][mask],
                    toys.high[:n][mask],
                    color=colour,
                    lw=1.5,
                    label=text,
                )
                axis.plot(toys.estimate[:n][mask], rows[mask], ".", color=colour, ms=4)
            axis.axvline(toys.truth, color="black", lw=0.8)
            axis.set_title(f"{title}: {toys.covers.mean():.1%} of {len(toys.covers)} toys cover")
            axis.set_xlabel("68.27 % interval")
        axes[0].set_ylim(-1, min(n_toys, len(after.low)) + 6)
        axes[0].set_ylabel("pseudo-experiment")
        axes[0].legend(loc="upper left", fontsize=8)
    return figure


def plot_estimates(toys: Mapping[str, ToyEnsemble], bins: int = 40) -> Figure:
    """Distribution of θ̂ over the same toys, one line for each method."""
    with styled():
        figure, axis = figure_of()
        pooled = np.concatenate([e.theta_hat for e in toys.values()])
        low, high = (float(q) for q in np.quantile(pooled, [0.001, 0.999]))
        edges = np.linspace(low, high, bins + 1)
        for i, (name, e) in enumerate(toys.items()):
            counts, _ = np.histogram(e.theta_hat, edges)
            axis.stairs(
                counts / e.n_toys / np.diff(edges),
                edges,
                color=_colour(name, i),
                label=f"{name}: {e.theta_hat.mean():+.3f} ± {e.theta_hat.std(ddof=1):.3f}",
            )
        first = next(iter(toys.values()))
        axis.axvline(first.truth, color="gray", lw=0.8, ls="--")
        axis.set_xlabel(f"estimate of {parameter_label(first.parameter)}")
        axis.set_ylabel("density")
        axis.set_ylim(0, axis.get_ylim()[1] * 1.35)
        axis.legend(title="method: mean ± standard deviation", loc="upper left", fontsize=8)
    return figure


def plot_coverage(coverages: Mapping[str, Sequence[Coverage]]) -> Figure:
    """Measured coverage of each method with binomial errors, beside what is claimed."""
    levels = sorted({c.cl for row in coverages.values() for c in row})
    with styled():
        figure, axes = figure_of(
            7.0, 1.2 + 0.35 * len(coverages), ncols=len(levels), sharey=True, squeeze=False
        )
        for axis, cl in zip(axes[0], levels, strict=True):
            for i, (name, row) in enumerate(coverages.items()):
                for c in row:
                    if c.cl == cl:
                        axis.errorbar(
                            c.coverage,
                            i,
                            xerr=[[c.coverage - c.low], [c.high - c.coverage]],
                            fmt="o",
                            ms=4,
                            color=_colour(name, i),
                        )
            axis.axvline(cl, color="gray", lw=0.8, ls="--")
            axis.set_xlabel(f"coverage of {cl:.2%} intervals")
            axis.set_yticks(range(len(coverages)), list(coverages))
            axis.minorticks_off()
            axis.set_ylim(len(coverages) - 0.5, -0.5)
    return figure


def plot_response(ensembles: Sequence[ToyEnsemble], calibration: Calibration) -> Figure:
    """Bias of θ̂ against the truth, with the fit that corrects it."""
    truths = np.array([e.truth for e in ensembles])
    means = np.array([e.theta_hat.mean() for e in ensembles])
    errors = np.array([e.mean_error for e in ensembles])
    # Toys at one truth give one number, drawn over a stretch that makes it visible.
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


def plot_templates(
    edges: FloatArray,
    expected: Mapping[str, FloatArray],
    counts: FloatArray,
    observable: str,
) -> Figure:
    """Data and morphed templates, with the ratio to the first one.

    Parameters
    ----------
    edges
        Bin edges, shape (n_bins + 1,).
    expected
        Expected counts by label, each of shape (n_bins,).
    counts
        Observed counts, shape (n_bins,).
    observable
        Axis label.

    Examples
    --------
    >>> import numpy as np
    >>> figure = plot_templates(np.array([0.0, 1.0, 2.0]), {"SM": np.array([9.0, 11.0])},
    ...                         np.array([8.0, 12.0]), "d_phi_qq")
    >>> len(figure.axes)
    2
    """
    centres = (edges[1:] + edges[:-1]) / 2
    width = np.diff(edges)
    reference = next(iter(expected.values()))
    with styled():
        figure, (top, bottom) = figure_of(
            6.4, 4.8, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
        )
        for name, values in expected.items():
            top.stairs(values / width, edges, label=name)
            bottom.stairs(values / reference, edges, baseline=None)
        errors = np.sqrt(counts)
        top.errorbar(centres, counts / width, errors / width, fmt="ko", ms=4, label="data")
        bottom.errorbar(centres, counts / reference, errors / reference, fmt="ko", ms=4)
        top.set_ylabel("events / bin width")
        top.set_ylim(0, top.get_ylim()[1] * 1.3)
        top.legend(ncols=2)
        bottom.set_ylabel("ratio")
        bottom.set_xlabel(observable)
    return figure
