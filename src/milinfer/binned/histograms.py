"""Axes of histogram templates: observables with edges, and the flat list of their bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from milinfer.binned.binning import bins_with_enough, checked_edges, quantile_bins
from milinfer.exceptions import SampleError, TemplateError
from milinfer.likelihood.observables import Observable, observable_name, observable_values
from milinfer.samples.sample import Sample, SampleSet
from milinfer.typing import FloatArray, IntArray

__all__ = ["TemplateAxis", "as_counts", "bin_index", "bin_names", "fill_histogram", "make_axes"]


@dataclass(frozen=True, eq=False)
class TemplateAxis:
    """One observable with its edges.

    Parameters
    ----------
    observable
        Name of a feature, or a function of a :class:`~milinfer.Sample`.
    name
        For axes and messages.
    edges
        Shape (n_bins + 1,); the outer bins also take what lies beyond, so that no event is lost.
    """

    observable: Observable
    name: str
    edges: FloatArray

    def __len__(self) -> int:
        return len(self.edges) - 1

    def values(self, sample: Sample) -> FloatArray:
        """The observable of each event, shape (n_events,)."""
        return observable_values(sample, self.observable, self.name)

    def inside(self, sample: Sample) -> FloatArray:
        """The same, moved inside the outer edges."""
        low, high = self.edges[0], np.nextafter(self.edges[-1], -np.inf)
        return np.clip(self.values(sample), low, high)

    def index(self, sample: Sample) -> IntArray:
        """Bin of each event, shape (n_events,)."""
        found = np.searchsorted(self.edges, self.inside(sample), side="right") - 1
        index: IntArray = found.astype(np.int64)
        return index

    def label(self, b: int) -> str:
        """A bin as text, such as ``"q0_pt [20, 45)"``."""
        return f"{self.name} [{self.edges[b]:.4g}, {self.edges[b + 1]:.4g})"


def bin_index(axes: Sequence[TemplateAxis], sample: Sample) -> IntArray:
    """Flat bin of each event, shape (n_events,); the last axis runs fastest.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> axis = TemplateAxis("x0", "x0", np.array([-9.0, 0.0, 9.0]))
    >>> sample = gaussian.generate(3, 0.0, seed=1)
    >>> sample.column("x0").round(2), bin_index([axis], sample)
    (array([0.35, 0.82, 0.33], dtype=float32), array([1, 1, 1]))
    """
    shape = tuple(len(a) for a in axes)
    return np.ravel_multi_index(tuple(a.index(sample) for a in axes), shape).astype(np.int64)


def bin_names(axes: Sequence[TemplateAxis]) -> tuple[str, ...]:
    """Names of the flat bins.

    Examples
    --------
    >>> pt = TemplateAxis("q0_pt", "q0_pt", np.array([20.0, 45.0, 80.0]))
    >>> phi = TemplateAxis("d_phi_qq", "d_phi_qq", np.array([-1.0, 0.0, 1.0]))
    >>> bin_names([pt, phi])[1]
    'q0_pt [20, 45) × d_phi_qq [0, 1)'
    """
    rows = product(*([a.label(b) for b in range(len(a))] for a in axes))
    return tuple(" × ".join(row) for row in rows)


def make_axes(
    samples: SampleSet,
    observable: Observable | tuple[Observable, Observable],
    bins: Any,
    name: str | tuple[str, str] | None = None,
    min_effective: float | None = None,
) -> tuple[TemplateAxis, ...]:
    """Axes of one observable or two.

    Parameters
    ----------
    samples
        For quantiles.
    observable
        A feature or a function, or a pair of these.
    bins
        Number of quantile bins, or edges; for a pair, a pair of these, or one number for both.
    name
        Of the observable, or a pair; default: of the feature or function.
    min_effective
        Merge neighbours until every bin has as many effective events in every sample; of one
        observable only.

    Raises
    ------
    TemplateError
        If bins and observables do not fit together, or edges do not ascend.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(100, [-0.5, 0.5], seed=1, n_features=2)
    >>> [len(a) for a in make_axes(samples, ("x0", "x1"), (3, [-1.0, 0.0, 1.0]))]
    [3, 2]
    """
    observables = observable if isinstance(observable, tuple) else (observable,)
    given = name if isinstance(name, tuple) else (name,) * len(observables)
    each = bins
    if isinstance(bins, (int, np.integer)) or len(observables) == 1:
        each = (bins,) * len(observables)
    if not (len(observables) in {1, 2} and len(given) == len(each) == len(observables)):
        msg = (
            f"{len(observables)} observables, bins={bins!r} and name={name!r} do not fit together; "
            "give one observable, or two with a pair of bins and, if at all, a pair of names"
        )
        raise TemplateError(msg)
    if len(observables) == 2 and isinstance(name, str):
        msg = f"{name!r} cannot be the name of two observables; give name=(first, second)"
        raise TemplateError(msg)
    axes = []
    for one, own, wanted in zip(observables, given, each, strict=True):
        title = own or observable_name(one)
        values = [observable_values(s, one, title) for s in samples]
        if isinstance(wanted, (int, np.integer)):
            edges = quantile_bins(values, int(wanted), title)
        else:
            edges = checked_edges(wanted, title)
        if min_effective is not None:
            if len(observables) > 1:
                msg = (
                    f"{title}: min_effective= merges neighbours on one axis, and there are "
                    f"{len(observables)}; choose the edges so that templates.diagnose() is content"
                )
                raise TemplateError(msg)
            edges = bins_with_enough(
                edges, values, [s.weights for s in samples], min_effective, title
            )
        axes.append(TemplateAxis(one, title, edges))
    if len({a.name for a in axes}) < len(axes):
        msg = f"both observables are called {axes[0].name!r}; give name=(first, second)"
        raise TemplateError(msg)
    return tuple(axes)


def fill_histogram(axes: Sequence[TemplateAxis], sample: Sample) -> Any:
    """Weighted ``hist.Hist`` of a sample in pb: its sum is the cross-section.

    What lies beyond the edges goes to the outer bins.

    Raises
    ------
    SampleError
        If the sample has no cross-section, or its weights add up to nothing.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> axis = TemplateAxis("x0", "x0", np.array([-1.0, 0.0, 1.0]))
    >>> h = fill_histogram([axis], gaussian.generate(100, 0.0, seed=1))
    >>> round(h.sum().value, 12)
    1.0
    """
    import hist

    if not np.isfinite(sample.cross_section):
        msg = f"{sample.label} has no cross-section; give cross_section= in pb"
        raise SampleError(msg)
    total = sample.weights.sum()
    if not total > 0:
        msg = f"{sample.label}: the weights add up to {total:g}; they must be positive in total"
        raise SampleError(msg)
    found = hist.Hist(
        *(
            hist.axis.Variable(a.edges, name=f"axis_{k}", label=a.name, flow=False)
            for k, a in enumerate(axes)
        ),
        storage=hist.storage.Weight(),
    )
    # The sum of the weights is the cross-section, whatever their normalisation was.
    scale = sample.cross_section / total
    found.fill(*(a.inside(sample) for a in axes), weight=sample.weights * scale)
    return found


def as_counts(counts: ArrayLike, n_bins: int, name: str) -> FloatArray:
    """Observed counts as an array, shape (n_bins,), whole or not (Asimov).

    Raises
    ------
    TemplateError
        If there are more or fewer, one is negative or not finite, or there are no events.

    Examples
    --------
    >>> as_counts([3, 0], 2, "x0")
    array([3., 0.])
    """
    found = np.asarray(counts, dtype=np.float64)
    good = found.shape == (n_bins,) and np.all(np.isfinite(found) & (found >= 0))
    if not (good and found.sum() > 0):
        msg = (
            f"{name}: counts of shape {found.shape} given, {n_bins} numbers expected that are "
            f"finite, not negative and not all zero; they are {found.tolist()}"
        )
        raise TemplateError(msg)
    return found
