"""What ``milinfer fit`` prints, draws and writes for a model of several parameters."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.console import Console

from milinfer.exceptions import FitError
from milinfer.likelihood.fits import Interval, fit_results, minuit, profile_interval
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.display import rich_table
from milinfer.utils.files import atomic_path

if TYPE_CHECKING:
    from iminuit import Minuit
    from iminuit.cost import Cost

__all__ = ["contour_files", "fit_several"]


def contour_files(out: Path, parameters: tuple[str, ...]) -> dict[tuple[str, str], Path]:
    """Figure of each pair of parameters: `out` itself if there is one pair.

    Examples
    --------
    >>> contour_files(Path("fit.svg"), ("a", "b"))
    {('a', 'b'): PosixPath('fit.svg')}
    >>> [path.name for path in contour_files(Path("fit.svg"), ("a", "b", "c")).values()]
    ['fit-a-b.svg', 'fit-a-c.svg', 'fit-b-c.svg']
    """
    pairs = list(combinations(parameters, 2))
    if len(pairs) == 1:
        return {pairs[0]: out}
    return {
        pair: out.with_name(f"{out.stem}-{'-'.join(pair).replace('/', '_')}{out.suffix}")
        for pair in pairs
    }


def fit_several(name: str, cost: Cost, words: str, out: Path | None) -> dict[str, Any]:
    """Print estimates, profile intervals and correlations; draw contours; return all for JSON.

    Parameters
    ----------
    name
        Of the model.
    cost
        Cost of the dataset in several parameters.
    words
        Facts about the dataset, for the line below the table.
    out
        Figure of the contours; with more than two parameters one figure for each pair.

    Raises
    ------
    FitError
        If the minimum is not valid, or a contour cannot be drawn inside the range.  An interval
        that leaves the range is no error: its place says so.
    """
    m = minuit(cost)
    m.tol = 1e-4  # the default leaves estimates off by up to a percent of their error
    m.migrad()
    m.hesse()
    results = fit_results(m)
    centre, names = m.values.to_dict(), tuple(results.labels)
    rows, problems, figures = [], [], {}
    for parameter, error in zip(names, results.uncertainty, strict=True):
        figure: dict[str, Any] = {"estimate": centre[parameter], "error": float(error)}
        cells = [parameter, f"{centre[parameter]:+.4f}"]
        for key, cl in (("interval68", CL68), ("interval95", CL95)):
            try:
                interval = profile_interval(cost, parameter, cl, **centre)
            except FitError as reason:
                problems.append(f"{parameter}, {cl:.2%}: {reason}")
                figure[key] = None
                cells.append("—")
            else:
                figure[key] = [interval.low, interval.high]
                cells.append(_text(interval))
        figures[parameter] = figure
        rows.append(cells)
    header = ("parameter", "estimate", "68.27 % interval", "95.45 % interval")
    Console().print(rich_table(f"Profile likelihood of {name}", header, rows))
    correlations = {
        f"{a},{b}": float(results.corr_mat[names.index(a), names.index(b)])
        for a, b in combinations(names, 2)
    }
    for pair, value in correlations.items():
        click.echo(f"correlation of {pair.replace(',', ' and ')}: {value:+.3f}")
    click.echo(f"{words}, NOT calibrated: do not trust the widths")
    for problem in problems:
        click.echo(f"no interval of {problem}")
    if out is not None:
        _draw(name, m, contour_files(out, names))
    return {
        "parameters": list(names),
        name: {
            **figures,
            "correlation": correlations,
            "minus_two_log_likelihood": results.best_twice_nll,
            "calibrated": False,
            "problems": problems,
        },
    }


def _text(interval: Interval) -> str:
    return f"[{interval.low:+.4f}, {interval.high:+.4f}]"


def _draw(name: str, m: Minuit, files: dict[tuple[str, str], Path]) -> None:
    """Draw the contours of 68.27 % and 95.45 % of each pair."""
    from milinfer.plotting.likelihood import plot_contour

    for (x, y), path in files.items():
        try:
            figure = plot_contour({name: m}, x, y)
        except RuntimeError as error:
            limits = ", ".join(f"{p} in {np.round(m.limits[p], 4).tolist()}" for p in (x, y))
            msg = (
                f"no contour of {x} and {y} inside {limits} ({error}); the data do not confine "
                "them: use more events, or a model of a wider range"
            )
            raise FitError(msg) from error
        with atomic_path(path) as temporary:
            figure.savefig(temporary)
        click.echo(f"{path}")
