"""What ``milinfer fit`` prints, draws and writes for a model of several parameters."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milinfer.cli.printing import echo, show_table
from milinfer.exceptions import FitError, ParameterError
from milinfer.likelihood.fits import Interval, contour, fit_results, minuit, profile_interval
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.display import rich_table
from milinfer.utils.files import atomic_path

if TYPE_CHECKING:
    from iminuit import Minuit
    from iminuit.cost import Cost

__all__ = ["contour_files", "fit_several"]

_LEVELS = (CL68, CL95)


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
        If the minimum is not valid, or no contour of a figure lies inside the range.  An interval
        or one of the contours that leaves the range is no error: a line says so.
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
        for key, cl in zip(("interval68", "interval95"), _LEVELS, strict=True):
            try:
                interval = profile_interval(cost, parameter, cl, **centre)
            except (FitError, ParameterError) as reason:  # at its limits MINUIT asks for nan
                problems.append(f"no {cl:.2%} interval of {parameter}: {reason}")
                figure[key] = None
                cells.append("—")
            else:
                figure[key] = [interval.low, interval.high]
                cells.append(_text(interval))
        figures[parameter] = figure
        rows.append(cells)
    header = ("parameter", "estimate", "68.27 % interval", "95.45 % interval")
    show_table(rich_table(f"Profile likelihood of {name}", header, rows))
    correlations = {
        f"{a},{b}": float(results.corr_mat[names.index(a), names.index(b)])
        for a, b in combinations(names, 2)
    }
    for pair, value in correlations.items():
        echo(f"correlation of {pair.replace(',', ' and ')}: {value:+.3f}")
    echo(f"{words}, NOT calibrated: do not trust the widths")
    contours: dict[str, dict[str, Any]] = {}
    for x, y in combinations(names, 2):
        lines: dict[str, Any] = dict.fromkeys(f"{cl:.4f}" for cl in _LEVELS)
        for cl in _LEVELS:
            try:
                lines[f"{cl:.4f}"] = contour(m, x, y, cl)
            except FitError as reason:
                problems.append(str(reason))
        contours[f"{x},{y}"] = lines
    for problem in problems:
        echo(problem)
    if out is not None:
        for (x, y), path in contour_files(out, names).items():
            inside = [cl for cl in _LEVELS if contours[f"{x},{y}"][f"{cl:.4f}"] is not None]
            _draw(name, m, x, y, inside, path)
    return {
        "parameters": list(names),
        name: {
            **figures,
            "correlation": correlations,
            "contours": contours,
            "minus_two_log_likelihood": results.best_twice_nll,
            "calibrated": False,
            "problems": problems,
        },
    }


def _text(interval: Interval) -> str:
    return f"[{interval.low:+.4f}, {interval.high:+.4f}]"


def _draw(name: str, m: Minuit, x: str, y: str, levels: list[float], path: Path) -> None:
    """Draw the contours that lie inside the range."""
    from milinfer.plotting.likelihood import plot_contour

    if not levels:
        msg = (
            f"{path}: no contour of {x} and {y} lies inside the range of the model; use more "
            "events, a model of a wider range, or no figure"
        )
        raise FitError(msg)
    with atomic_path(path) as temporary:
        plot_contour({name: m}, x, y, cl=levels).savefig(temporary)
    echo(f"{path}")
