"""Calibrations as a notebook shows them, and as an Arrow table: one row for each true point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from milinfer.utils.display import html_table, measured
from milinfer.utils.points import format_point
from milinfer.utils.tables import arrow_table, point_cells, point_types

if TYPE_CHECKING:
    import pyarrow as pa

    from milinfer.intervals.calibration import Calibration

__all__ = ["calibration_table", "html_calibration"]


def calibration_table(calibration: Calibration) -> pa.Table:
    """One row for each point at which toys were thrown.

    Columns: ``point.PARAMETER``; ``bias.PARAMETER`` and its ``_error``, of the smooth function;
    ``c_bartlett`` and ``c_bartlett_error``; for each confidence level, as ``68.27``,
    ``c_coverage.LEVEL`` and its ``_error``, measured at the point, and ``c.LEVEL``, what is applied
    there.

    Examples
    --------
    >>> from milinfer.intervals.calibration_fit import calibrate
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> toys = Toys(gaussian.samples(20_000, [-0.2, 0.0, 0.2], seed=1), n_events=100, seed=2)
    >>> found = toys.scan([gaussian.MeanModel()], [-0.2, 0.0, 0.2], 500)["mean"]
    >>> table = calibration_table(calibrate(found))
    >>> table.column_names[:4], table.num_rows
    (['point.mu', 'bias.mu', 'bias.mu_error', 'c_bartlett'], 3)
    """
    names = calibration.parameters
    n = len(names)
    bias = np.asarray(calibration.response.bias(calibration.points)).reshape(-1, n)
    bias_error = np.asarray(calibration.response.bias_error(calibration.points)).reshape(-1, n)
    types = point_types(names)
    rows = []
    for i, point in enumerate(calibration.points):
        row = point_cells(dict(zip(names, point.tolist(), strict=True)))
        for k, name in enumerate(names):
            row |= {f"bias.{name}": bias[i, k], f"bias.{name}_error": bias_error[i, k]}
        row["c_bartlett"] = calibration.c_bartlett[i]
        row["c_bartlett_error"] = calibration.c_bartlett_error[i]
        for k, cl in enumerate(calibration.cls):
            level = f"{100 * cl:.4g}"
            row[f"c_coverage.{level}"] = calibration.c_coverage[i, k]
            row[f"c_coverage.{level}_error"] = calibration.c_coverage_error[i, k]
            row[f"c.{level}"] = calibration.scale_at(point, cl)[0]
        types = dict.fromkeys(row, float)
        rows.append(row)
    return arrow_table(types, rows)


def html_calibration(calibration: Calibration) -> str:
    """Constants and bias at every point.

    Examples
    --------
    >>> from milinfer.intervals.calibration_fit import calibrate
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> toys = Toys(gaussian.samples(20_000, [-0.2, 0.0, 0.2], seed=1), n_events=100, seed=2)
    >>> found = toys.scan([gaussian.MeanModel()], [-0.2, 0.0, 0.2], 500)["mean"]
    >>> html_calibration(calibrate(found)).count("<tr>")
    4
    """
    names = calibration.parameters
    levels = [f"{100 * cl:.4g}" for cl in calibration.cls]
    header = (
        "true value",
        *(f"bias of {name}" for name in names),
        "c by Bartlett",
        *(f"c for {level} %" for level in levels),
    )
    rows = [
        [
            format_point({n: row[f"point.{n}"] for n in names}),
            *(measured(row[f"bias.{n}"], row[f"bias.{n}_error"]) for n in names),
            measured(row["c_bartlett"], row["c_bartlett_error"]),
            *(measured(row[f"c_coverage.{x}"], row[f"c_coverage.{x}_error"]) for x in levels),
        ]
        for row in calibration_table(calibration).to_pylist()
    ]
    title = (
        f"Calibration of {calibration.model} by {calibration.kind}, {calibration.n_events:g} "
        f"events, {calibration.n_toys} toys at each point"
    )
    return html_table(header, rows, title=title)
