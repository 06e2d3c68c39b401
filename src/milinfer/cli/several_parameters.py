"""What commands print, draw and write for models of several parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.cli.printing import echo, show_table
from milinfer.exceptions import FitError
from milinfer.intervals.coverage import Asymptotic, CoverageScan, IntervalMethod, coverage_scan
from milinfer.intervals.several_fit import JointFit, joint_fit
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.utils.display import measured, rich_table
from milinfer.utils.files import atomic_path
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    from iminuit.cost import Cost

    from milinfer.intervals.belt import Belt
    from milinfer.intervals.calibration import Calibration
    from milinfer.likelihood.cost import LikelihoodCost
    from milinfer.likelihood.fits import Interval
    from milinfer.toys.ensemble import ToyEnsemble

__all__ = [
    "belt_figures",
    "calibration_figures",
    "contour_files",
    "coverage_several",
    "fit_several",
    "regions_several",
]

_LEVELS = (CL68, CL95)
_REGION = "region"


def contour_files(out: Path, parameters: tuple[str, ...]) -> dict[tuple[str, str], Path]:
    """Return the file of the figure for each pair of parameters; `out` if there is one pair.

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


def fit_several(
    name: str, cost: Cost, words: str, out: Path | None, calibration: Calibration | None = None
) -> dict[str, Any]:
    """Print estimates, profile intervals and correlations; draw contours; return results for JSON.

    Parameters
    ----------
    name
        Name of the model.
    cost
        Cost of the dataset in several parameters, not calibrated.
    words
        Facts about the dataset, for the line below the table.
    out
        Figure of the contours; with more than two parameters one figure for each pair.
    calibration
        Calibration to apply.

    Raises
    ------
    FitError
        If the minimum is not valid, or if all contours of a figure leave the range of the
        parameters.  If only an interval or one of the contours leaves the range, a line of the
        output states this.
    """
    fit = joint_fit(cost, calibration)
    rows = []
    for parameter, own in fit.applied.items():
        fixed = fit.others_fixed[parameter].inner
        rows.append(
            [
                parameter,
                "—" if own.error is None else f"{own.estimate:+.4f}",
                *(_text(interval) for interval in (own.inner, own.outer, fixed)),
            ]
        )
    header = ("parameter", "estimate", "68.27 % interval", "95.45 % interval", "others fixed")
    show_table(rich_table(f"Profile likelihood of {name}", header, rows))
    for pair, value in (fit.correlations() or {}).items():
        echo(f"correlation of {pair.replace(',', ' and ')}: {value:+.3f}")
    for direction in fit.directions:
        echo(direction.sentence)
    trust = "calibrated" if calibration else "NOT calibrated: do not trust the widths"
    echo(f"{words}, {trust}; with the others fixed as trained")
    for problem in fit.problems:
        echo(problem)
    if out is not None:
        for (x, y), path in contour_files(out, fit.parameters).items():
            _draw(name, fit, x, y, path)
    return {
        "parameters": list(fit.parameters),
        name: {**fit.to_dict(), "problems": [*fit.problems]},
    }


def _text(interval: Interval | None) -> str:
    return "—" if interval is None else f"[{interval.low:+.4f}, {interval.high:+.4f}]"


def _draw(name: str, fit: JointFit, x: str, y: str, path: Path) -> None:
    """Draw the contours that lie inside the range."""
    from milinfer.plotting.several_parameters import plot_contour_lines

    lines = fit.applied_contours[x, y]
    if not lines:
        msg = (
            f"{path}: no contour of {x} and {y} lies inside the range of the model; use more "
            "events or a model with a wider range, or omit the figure"
        )
        raise FitError(msg)
    estimates = {name: (fit.estimate[x], fit.estimate[y])}
    with atomic_path(path) as temporary:
        plot_contour_lines({name: lines}, estimates, x, y).savefig(temporary)
    echo(f"{path}")


def regions_several(belt: Belt, cost: LikelihoodCost) -> dict[str, Any]:
    """Print the Neyman regions of a dataset in two parameters, and return them for JSON."""
    figures: dict[str, Any] = {}
    for key, cl in (("neyman68", CL68), ("neyman95", CL95)):
        region = belt.region(cost, cl)
        ends = {
            name: [list(pair) for pair in region.projection(name)] for name in region.parameters
        }
        text = "; ".join(
            f"{name} in {' and '.join(f'[{a:+.4f}, {b:+.4f}]' for a, b in pairs) or 'nothing'}"
            for name, pairs in ends.items()
        )
        echo(f"Neyman region, {cl:.2%}: {text}, area {region.area:.4g}")
        if region.at_bound:
            echo("  the region reaches the edge of the belt; build a belt over a wider range")
        figures[key] = {
            **ends,
            "area": region.area,
            "at_bound": region.at_bound,
            "contours": [line.tolist() for line in region.contours],
        }
    return figures


def calibration_figures(calibration: Calibration, kind: str) -> dict[str, Any]:
    """Print the bias and the calibration constants c at every point; return them for JSON."""
    names, points = calibration.parameters, calibration.points
    biases = calibration.response.bias(points).reshape(-1, len(names))
    errors = calibration.response.bias_error(points).reshape(-1, len(names))
    targets = {_REGION: calibration} | {name: calibration.profiled(name) for name in names}
    rows = [
        [
            format_point(dict(zip(names, point.tolist(), strict=True))),
            *(measured(b, e) for b, e in zip(biases[i], errors[i], strict=True)),
            *(measured(*c.scale_at(point)) for c in targets.values()),
        ]
        for i, point in enumerate(points)
    ]
    header = ("true point", *(f"bias of {n}" for n in names), *(f"c, {t}" for t in targets))
    title = f"Calibration of {calibration.model} by {kind}, c for {calibration.cls[0]:.2%}"
    show_table(rich_table(title, header, rows))
    return {
        "poi": list(names),
        "points": points,
        "cl": calibration.cls,
        "bias": biases,
        "bias_error": errors,
        "n_toys": calibration.n_toys,
        **{
            target: {
                "c_cicc": c.scale,
                "c_cicc_error": c.scale_error,
                "c_bartlett": c.c_bartlett,
                "c_bartlett_error": c.c_bartlett_error,
                "c_coverage": c.c_coverage,
                "c_coverage_error": c.c_coverage_error,
            }
            for target, c in targets.items()
        },
    }


def belt_figures(belt: Belt) -> dict[str, Any]:
    """Print the critical values of a belt, and return them for JSON."""
    rows = [
        [
            format_point(dict(zip(belt.parameters, point, strict=True))),
            *(measured(belt.upper[i, k], belt.upper_error[i, k]) for k in range(len(belt.cl))),
        ]
        for i, point in enumerate(belt.points.tolist())
    ]
    header = ("true point", *(f"{cl:.2%}" for cl in belt.cl))
    show_table(rich_table("Largest accepted 2 [max Λ − Λ(θ)]", header, rows))
    return {
        "poi": list(belt.parameters),
        "points": belt.points,
        "cl": belt.cl,
        "upper": belt.upper,
        "upper_error": belt.upper_error,
        "ordering": belt.ordering,
        "n_toys": list(belt.n_toys),
    }


def coverage_several(
    ensembles: Sequence[ToyEnsemble],
    methods: Mapping[str, IntervalMethod | None],
    out: Path | None,
) -> dict[str, Any]:
    """Measure the coverage of regions, and of intervals of each parameter; print and draw it.

    Parameters
    ----------
    ensembles
        Toys at several points.
    methods
        Objects that make intervals, by name; None stands for the model as trained, without
        calibration.
    out
        Figure.
    """
    from milinfer.intervals.calibration import Calibration
    from milinfer.plotting.several_parameters import plot_point_coverage

    names = tuple(ensembles[0].point)
    scans: dict[str, CoverageScan] = {}
    for target in (_REGION, *names):
        own = None if target == _REGION else target
        of_target: dict[str, IntervalMethod] = {}
        for name, method in methods.items():
            if method is None:
                of_target[name] = Asymptotic(own)
            elif own is None:
                of_target[name] = method
            elif isinstance(method, Calibration):
                of_target[name] = method.profiled(own)
        scans[target] = coverage_scan(ensembles, of_target, warn_of_pool=own is None)
        table = scans[target].to_rich()
        what = "regions" if own is None else f"intervals of {own}, others profiled"
        table.title = f"Coverage of {what}, {len(ensembles)} points"
        show_table(table)
    if out is not None:
        with atomic_path(out) as temporary:
            plot_point_coverage(scans, CL68).savefig(temporary)
        echo(f"{out}")
    return {
        "poi": list(names),
        "rows": [{"of": t, **row} for t, scan in scans.items() for row in scan.to_dict()],
        "n_toys": int(np.min([e.n_toys for e in ensembles])),
    }
