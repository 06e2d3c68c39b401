"""Figures of events: features of samples, and data with templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from milinfer.plotting.style import (
    LINES,
    PALETTE,
    figure_of,
    observable_label,
    observable_unit,
    plain,
    styled,
)
from milinfer.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from milinfer.samples.sample_set import SampleSet

__all__ = ["plot_features", "plot_templates"]


def plot_features(samples: SampleSet, names: Sequence[str], bins: int = 30) -> Figure:
    """Draw normalised distributions of features at each parameter point, with statistical errors.

    Parameters
    ----------
    samples
        Samples at one or several parameter points.
    names
        Names of the features to draw.
    bins
        Number of bins.

    Examples
    --------
    >>> import numpy as np
    >>> from milinfer.samples.sample import Sample
    >>> from milinfer.samples.sample_set import SampleSet
    >>> x = np.random.default_rng(1).normal(size=(100, 1))
    >>> figure = plot_features(SampleSet((Sample(x, ("m_ll",), point={"c_HW": 0.0}),)), ["m_ll"])
    >>> len(figure.axes)
    1
    """
    from milinfer.utils.points import format_point

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
            for i, sample in enumerate(samples):
                x, w = sample.column(name), sample.weights
                scale = w.sum() * np.diff(edges)
                shape = np.histogram(x, edges, weights=w)[0] / scale
                error = np.sqrt(np.histogram(x, edges, weights=w**2)[0]) / scale
                label = plain(format_point(sample.point) or sample.process)
                look: dict[str, Any] = {"color": PALETTE[i % 8], "ls": LINES[i % 8]}
                axis.stairs(shape, edges, label=label, **look)
                axis.stairs(
                    shape + error,
                    edges,
                    baseline=shape - error,
                    fill=True,
                    color=look["color"],
                    alpha=0.25,
                    lw=0,
                )
            axis.set_xlim(low, high)
            axis.set_ylim(bottom=0)
            # A fixed number of ticks: otherwise it depends on the layout, and the layout on them.
            axis.yaxis.set_major_locator(MaxNLocator(5))
            unit = observable_unit(name)
            axis.set_xlabel(observable_label(name))
            axis.set_ylabel(f"density [1/{unit}]" if unit else "density")
        for axis in axes.flat[len(names) :]:
            axis.set_visible(False)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def plot_templates(
    edges: FloatArray,
    expected: Mapping[str, FloatArray],
    counts: FloatArray,
    observable: str,
    errors: FloatArray | None = None,
) -> Figure:
    """Draw data and expected counts in bins, and their ratios to the first expected counts.

    If the widths of the bins are very different, the bins are drawn with equal widths, and their
    edges are written under them.

    Parameters
    ----------
    edges
        Bin edges, shape (n_bins + 1,).
    expected
        For each label, expected counts, shape (n_bins,).  The first entry is the denominator of the
        ratios.
    counts
        Observed counts, shape (n_bins,).
    observable
        Name of the observable; :func:`milinfer.plotting.style.observable_label` adds its unit.
    errors
        Relative errors of the first expected counts, shape (n_bins,), due to Monte-Carlo statistics
        and other sources.  They are drawn as a band.

    Examples
    --------
    >>> import numpy as np
    >>> figure = plot_templates(np.array([0.0, 1.0, 2.0]), {"SM": np.array([9.0, 11.0])},
    ...                         np.array([8.0, 12.0]), "d_phi_qq", errors=np.array([0.02, 0.03]))
    >>> len(figure.axes), figure.axes[0].get_ylabel()
    (2, 'events / rad')
    """
    real = np.diff(edges)
    equal = bool(real.max() > 8 * real.min())
    positions = np.arange(len(edges), dtype=np.float64) if equal else edges
    centres, width = (positions[1:] + positions[:-1]) / 2, np.diff(positions)
    first, reference = next(iter(expected.items()))
    with styled():
        figure, (top, bottom) = figure_of(
            6.4, 4.8, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
        )
        for i, (name, values) in enumerate(expected.items()):
            look: dict[str, Any] = {"color": PALETTE[i % 8], "ls": LINES[i % 8]}
            top.stairs(values / width, positions, label=plain(name), **look)
            bottom.stairs(values / reference, positions, baseline=None, **look)
        if errors is not None:
            band: dict[str, Any] = {"fill": True, "color": PALETTE[0], "alpha": 0.25, "lw": 0}
            high, low = reference * (1 + errors), reference * (1 - errors)
            top.stairs(
                high / width,
                positions,
                baseline=low / width,
                label="error of the simulation",
                **band,
            )
            bottom.stairs(1 + errors, positions, baseline=1 - errors, **band)
        poisson = np.sqrt(counts)
        top.errorbar(centres, counts / width, poisson / width, fmt="ko", ms=4, label="data")
        bottom.errorbar(centres, counts / reference, poisson / reference, fmt="ko", ms=4)
        unit = observable_unit(observable)
        top.set_ylabel("events in the bin" if equal else f"events / {unit or 'bin width'}")
        top.set_ylim(bottom=0)
        ends = np.concatenate([(counts + k * poisson) / reference for k in (-1, 1)])
        reach = 1.15 * max(float(np.max(np.abs(ends - 1))), 0.05)
        bottom.set_ylim(1 - min(reach, 1.0), 1 + min(reach, 1.0))
        bottom.set_ylabel(f"over\n{plain(first).split(':', maxsplit=1)[0]}")
        bottom.set_xlim(positions[0], positions[-1])
        bottom.set_xlabel(observable_label(observable))
        if equal:
            bottom.set_xticks(positions, [f"{e:.3g}".replace("-", "−") for e in edges])
            bottom.tick_params(axis="x", labelrotation=60 if len(edges) > 9 else 0, labelsize=8)
            for axis in (top, bottom):
                axis.tick_params(axis="x", which="minor", bottom=False, top=False)
        figure.legend(
            *top.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8
        )
    return figure
