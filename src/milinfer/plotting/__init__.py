"""Figures of all results, and the style in which they are drawn.

Every function ``plot_…`` returns a :class:`matplotlib.figure.Figure`, and ``diagnostic_figures``
those of a diagnosis by name.  ``styled``, ``figure_of``, ``parameter_label`` and ``PALETTE`` give
other figures the same style.  Names are imported when first used, so that matplotlib is loaded only
by what draws.

Examples
--------
>>> from milinfer.plotting import plot_training
>>> plot_training([{"loss": [2.0, 1.5], "val_loss": [2.1, 1.7]}]).axes[0].get_xlabel()
'epoch'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milinfer.plotting.coverage import plot_belt as plot_belt
    from milinfer.plotting.coverage import plot_calibrated as plot_calibrated
    from milinfer.plotting.coverage import plot_conditional as plot_conditional
    from milinfer.plotting.coverage import plot_coverage_scan as plot_coverage_scan
    from milinfer.plotting.coverage import plot_region as plot_region
    from milinfer.plotting.coverage import plot_scale as plot_scale
    from milinfer.plotting.diagnostics import diagnostic_figures as diagnostic_figures
    from milinfer.plotting.diagnostics import plot_bag_sizes as plot_bag_sizes
    from milinfer.plotting.diagnostics import plot_calibration_curves as plot_calibration_curves
    from milinfer.plotting.diagnostics import plot_closure as plot_closure
    from milinfer.plotting.diagnostics import plot_normalisation as plot_normalisation
    from milinfer.plotting.diagnostics import plot_relative_widths as plot_relative_widths
    from milinfer.plotting.diagnostics import plot_roc as plot_roc
    from milinfer.plotting.diagnostics import plot_separation as plot_separation
    from milinfer.plotting.likelihood import plot_contour as plot_contour
    from milinfer.plotting.likelihood import plot_impacts as plot_impacts
    from milinfer.plotting.likelihood import plot_posterior as plot_posterior
    from milinfer.plotting.results import plot_coverage as plot_coverage
    from milinfer.plotting.results import plot_estimates as plot_estimates
    from milinfer.plotting.results import plot_intervals as plot_intervals
    from milinfer.plotting.results import plot_ladder as plot_ladder
    from milinfer.plotting.results import plot_response as plot_response
    from milinfer.plotting.results import plot_scans as plot_scans
    from milinfer.plotting.results import plot_training as plot_training
    from milinfer.plotting.samples import plot_features as plot_features
    from milinfer.plotting.samples import plot_templates as plot_templates
    from milinfer.plotting.style import PALETTE as PALETTE
    from milinfer.plotting.style import figure_of as figure_of
    from milinfer.plotting.style import parameter_label as parameter_label
    from milinfer.plotting.style import styled as styled

# Name of the file that each name comes from.
_WHERE = {
    "PALETTE": "style",
    "diagnostic_figures": "diagnostics",
    "figure_of": "style",
    "parameter_label": "style",
    "plot_bag_sizes": "diagnostics",
    "plot_belt": "coverage",
    "plot_calibrated": "coverage",
    "plot_calibration_curves": "diagnostics",
    "plot_closure": "diagnostics",
    "plot_conditional": "coverage",
    "plot_contour": "likelihood",
    "plot_coverage": "results",
    "plot_coverage_scan": "coverage",
    "plot_estimates": "results",
    "plot_features": "samples",
    "plot_impacts": "likelihood",
    "plot_intervals": "results",
    "plot_ladder": "results",
    "plot_normalisation": "diagnostics",
    "plot_posterior": "likelihood",
    "plot_region": "coverage",
    "plot_relative_widths": "diagnostics",
    "plot_response": "results",
    "plot_roc": "diagnostics",
    "plot_scale": "coverage",
    "plot_scans": "results",
    "plot_separation": "diagnostics",
    "plot_templates": "samples",
    "plot_training": "results",
    "styled": "style",
}

__all__ = [*_WHERE]  # noqa: PLE0604  # all of them are strings


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"milinfer.plotting.{_WHERE[name]}"), name)
    msg = f"module 'milinfer.plotting' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
