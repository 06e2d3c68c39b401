"""How wide the intervals of each method are, relative to the best histogram on the same toys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from milinfer.exceptions import CalibrationError
from milinfer.fisher_matrix import relative_information
from milinfer.toys import ToyEnsemble

__all__ = ["RelativeWidth", "relative_widths"]


class RelativeWidth(NamedTuple):
    r"""Width of an interval of right size, as a ratio.

    Parameters
    ----------
    name
        Method.
    ratio, error
        :math:`\sqrt{I_\mathrm{eff}^\mathrm{ref}/I_\mathrm{eff}}`, with the error of a
        bootstrap of the common toys.
    """

    name: str
    ratio: float
    error: float


def relative_widths(
    toys: Mapping[str, Sequence[ToyEnsemble]],
    histograms: Sequence[str],
    *,
    n_bootstrap: int = 100,
    seed: int = 0,
) -> tuple[RelativeWidth, ...]:
    r"""Widths of all methods over that of the histogram of most information.

    A width is :math:`1/\sqrt{I_\mathrm{eff}}`: what an interval has that covers as often as it
    claims, whatever its method says by itself.

    Parameters
    ----------
    toys
        By method: ensembles at the truth in question (first) and at neighbouring ones, all methods
        on the same toys.
    histograms
        Which methods are histograms; the best is chosen on these toys.
    n_bootstrap, seed
        Of the errors.

    Raises
    ------
    CalibrationError
        If there is no histogram among the methods, or the toys are not the same.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.llr import Renamed
    >>> from milinfer.toys import Toys
    >>> models = [gaussian.MeanModel(), Renamed(gaussian.MeanModel(), "histogram")]
    >>> pool = gaussian.samples(20_000, [0.0, -0.2, 0.2], seed=1)
    >>> toys = Toys(pool, n_events=100, seed=2).scan(models, [0.0, -0.2, 0.2], 200)
    >>> [(w.name, round(w.ratio, 6)) for w in relative_widths(toys, ["histogram"])]
    [('mean', 1.0), ('histogram', 1.0)]
    """
    known = [name for name in histograms if name in toys]
    if not known:
        msg = f"none of the histograms {list(histograms)} is among the methods {list(toys)}"
        raise CalibrationError(msg)
    best = known[0]
    for name in known[1:]:
        if relative_information(toys[name], toys[best], n_bootstrap=2).ratio > 1:
            best = name
    found = []
    for name, ensembles in toys.items():
        r = relative_information(ensembles, toys[best], n_bootstrap=n_bootstrap, seed=seed)
        ratio = r.ratio**-0.5
        found.append(RelativeWidth(name, ratio, ratio * r.ratio_error / (2 * r.ratio)))
    return tuple(found)
