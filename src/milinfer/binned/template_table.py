"""Templates as a notebook shows them, and as an Arrow table: one row for each bin and sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.utils.display import html_facts, html_histogram, measured
from milinfer.utils.points import format_point
from milinfer.utils.tables import arrow_table, point_cells, point_types

if TYPE_CHECKING:
    import pyarrow as pa

    from milinfer.binned.templates import Templates

__all__ = ["html_templates", "templates_table"]


def templates_table(templates: Templates) -> pa.Table:
    """One row for each bin of each sample.

    Columns: ``point.PARAMETER``, ``bin``, ``OBSERVABLE.low`` and ``OBSERVABLE.high`` for each
    observable, ``cross_section`` and ``cross_section_error`` of the filled histogram,
    ``fitted`` and ``fitted_error`` of the polynomial, all in pb.  The polynomial contains the
    background, if there is one; the histograms of the samples do not.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> table = templates_table(Templates.from_samples(samples, "x0", bins=4, degree=2))
    >>> table.num_rows, table.column_names[1:4]
    (12, ['bin', 'x0.low', 'x0.high'])
    """
    names = templates.basis.parameters
    ends = {f"{a.name}.{end}": float for a in templates.axes for end in ("low", "high")}
    values = ("cross_section", "cross_section_error", "fitted", "fitted_error")
    types = {**point_types(names), "bin": int, **ends, **dict.fromkeys(values, float)}
    shape = tuple(len(a) for a in templates.axes)
    rows: list[dict[str, Any]] = []
    for point, histogram in zip(templates.points, templates.histograms, strict=True):
        contents, variances = histogram.values().ravel(), histogram.variances().ravel()
        fitted = templates.basis.value(templates.fit, point[None])[0]
        errors = np.sqrt(templates.basis.variance(templates.fit, point[None])[0])
        for b in range(templates.n_bins):
            row: dict[str, Any] = {**point_cells(templates.point(point)), "bin": b}
            for axis, k in zip(templates.axes, np.unravel_index(b, shape), strict=True):
                row[f"{axis.name}.low"], row[f"{axis.name}.high"] = axis.edges[k : k + 2]
            numbers = (contents[b], np.sqrt(variances[b]), fitted[b], errors[b])
            rows.append(row | dict(zip(values, numbers, strict=True)))
    return arrow_table(types, rows)


def html_templates(templates: Templates) -> str:
    """Facts of templates, and the histogram at the reference where there is one observable.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
    >>> "polyline" in html_templates(Templates.from_samples(samples, "x0", bins=4, degree=2))
    True
    """
    reference = templates.reference
    sigma = templates.cross_sections(reference)
    errors = sigma * templates.relative_errors(reference)
    problems = len(templates.diagnose().problems)
    ranges = [
        f"{n} from {low:.4g} to {high:.4g}"
        for n, low, high in zip(
            templates.basis.parameters,
            templates.points.min(axis=0),
            templates.points.max(axis=0),
            strict=True,
        )
    ]
    facts = {
        "bins": " × ".join(str(len(a)) for a in templates.axes),
        "polynomial": f"degree {templates.basis.degree}, {len(templates.points)} samples in "
        + ", ".join(ranges),
        f"cross-section at {format_point(reference)}": measured(
            float(sigma.sum()), float(np.sqrt(np.sum(errors**2))), "pb"
        ),
        "luminosity": "" if templates.luminosity is None else f"{templates.luminosity:g} /fb",
        "background": ""
        if templates.background is None
        else measured(float(templates.background.values().sum()), None, "pb"),
        "bins with problems": f"{problems}: see diagnose()" if problems else "none",
    }
    shown = html_facts(f"Templates of {templates.observable_name}", facts)
    if len(templates.axes) > 1:
        return shown
    (axis,) = templates.axes
    return f"<div>{html_histogram(axis.edges, sigma, axis.name)}{shown}</div>"
