from .coverage import (
    plot_belt as plot_belt,
    plot_calibrated as plot_calibrated,
    plot_conditional as plot_conditional,
    plot_coverage_scan as plot_coverage_scan,
    plot_region as plot_region,
    plot_scale as plot_scale,
)
from .diagnostics import (
    diagnostic_figures as diagnostic_figures,
    plot_bag_sizes as plot_bag_sizes,
    plot_calibration_curves as plot_calibration_curves,
    plot_closure as plot_closure,
    plot_normalisation as plot_normalisation,
    plot_relative_widths as plot_relative_widths,
    plot_roc as plot_roc,
    plot_separation as plot_separation,
)
from .expected import (
    plot_expected as plot_expected,
    plot_upper_limit as plot_upper_limit,
)
from .finite_simulation import plot_simulation_error as plot_simulation_error
from .fit_tests import plot_fit_tests as plot_fit_tests
from .likelihood import (
    plot_contour as plot_contour,
    plot_impacts as plot_impacts,
    plot_posterior as plot_posterior,
    plot_pulls as plot_pulls,
)
from .response_diagnostics import (
    plot_response_closure as plot_response_closure,
    plot_response_yields as plot_response_yields,
    response_figures as response_figures,
)
from .results import (
    plot_coverage as plot_coverage,
    plot_datasets as plot_datasets,
    plot_estimates as plot_estimates,
    plot_intervals as plot_intervals,
    plot_ladder as plot_ladder,
    plot_response as plot_response,
    plot_scans as plot_scans,
    plot_training as plot_training,
)
from .samples import (
    plot_features as plot_features,
    plot_templates as plot_templates,
)
from .several_parameters import (
    plot_contour_lines as plot_contour_lines,
    plot_point_coverage as plot_point_coverage,
)
from .style import (
    PALETTE as PALETTE,
    figure_of as figure_of,
    parameter_label as parameter_label,
    styled as styled,
)
