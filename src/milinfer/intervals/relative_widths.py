"""Information and widths of each method over those of a reference on the same toys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from milinfer.exceptions import CalibrationError
from milinfer.intervals.fisher_matrix import relative_information
from milinfer.intervals.information import information
from milinfer.toys.toys import ToyEnsemble

__all__ = ["InformationRatio", "RelativeWidth", "information_ratios", "relative_widths"]


class InformationRatio(NamedTuple):
    """I_eff of a method over that of a reference.

    Parameters
    ----------
    name, reference
        Methods.
    ratio, error
        I_eff over I_eff, with the error of a bootstrap of the common toys.
    """

    name: str
    reference: str
    ratio: float
    error: float


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


def information_ratios(
    toys: Mapping[str, Sequence[ToyEnsemble]],
    reference: str,
    *,
    n_bootstrap: int = 100,
    seed: int = 0,
) -> tuple[InformationRatio, ...]:
    """I_eff of all methods over that of one of them.

    The ratio is that of what :func:`milinfer.information` says of either; what both have in common,
    the toys and the pools behind them, drops out of its error.

    Parameters
    ----------
    toys
        By method: ensembles at the truth in question (first) and at neighbouring ones, all methods
        on the same toys.
    reference
        One of the methods.
    n_bootstrap, seed
        Of the errors.

    Raises
    ------
    CalibrationError
        If the reference is no method, or the toys are not the same.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.models import Renamed
    >>> from milinfer.toys.toys import Toys
    >>> models = [gaussian.MeanModel(), Renamed(gaussian.MeanModel(), "other")]
    >>> pool = gaussian.samples(20_000, [0.0, -0.2, 0.2], seed=1)
    >>> toys = Toys(pool, n_events=100, seed=2).scan(models, [0.0, -0.2, 0.2], 200)
    >>> [(r.name, round(r.ratio, 6)) for r in information_ratios(toys, "mean")]
    [('mean', 1.0), ('other', 1.0)]
    """
    if reference not in toys:
        msg = f"the reference {reference!r} is not among the methods {list(toys)}"
        raise CalibrationError(msg)
    known = {name: _information(ensembles) for name, ensembles in toys.items()}
    found = []
    for name, ensembles in toys.items():
        r = relative_information(ensembles, toys[reference], n_bootstrap=n_bootstrap, seed=seed)
        ratio = known[name] / known[reference]
        found.append(InformationRatio(name, reference, ratio, ratio * r.ratio_error / r.ratio))
    return tuple(found)


def _information(ensembles: Sequence[ToyEnsemble]) -> float:
    return information(ensembles[0], ensembles, n_bootstrap=2).info_eff


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
    >>> from milinfer.likelihood.models import Renamed
    >>> from milinfer.toys.toys import Toys
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
    best = max(known, key=lambda name: _information(toys[name]))
    return tuple(
        RelativeWidth(r.name, float(r.ratio**-0.5), float(r.ratio**-1.5 * r.error / 2))
        for r in information_ratios(toys, best, n_bootstrap=n_bootstrap, seed=seed)
    )
