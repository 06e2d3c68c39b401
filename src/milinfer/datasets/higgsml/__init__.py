"""Use the data of the FAIR Universe HiggsML challenge: files, nuisance parameters, toys and score.

The data are public (Zenodo, 10.5281/zenodo.15131565) and not part of milinfer.
"""

from milinfer.datasets.higgsml.events import (
    COLUMNS,
    LUMINOSITY,
    MISSING,
    PROCESSES,
    HiggsEvents,
    shifted,
)
from milinfer.datasets.higgsml.experiments import (
    NORMALISATION_ERRORS,
    NUISANCES,
    PACKAGE_SCALE_ERROR,
    SCALE_ERROR,
    SHAPES,
    data_sample,
    draw_nuisances,
    process_variations,
    pseudo_experiment,
    shape_values,
)
from milinfer.datasets.higgsml.features import FEATURES, derived, feature_matrix
from milinfer.datasets.higgsml.generator import generate
from milinfer.datasets.higgsml.reading import read_events, write_events
from milinfer.datasets.higgsml.score import QuantileScore, coverage_penalty, quantile_score

__all__ = [
    "COLUMNS",
    "FEATURES",
    "LUMINOSITY",
    "MISSING",
    "NORMALISATION_ERRORS",
    "NUISANCES",
    "PACKAGE_SCALE_ERROR",
    "PROCESSES",
    "SCALE_ERROR",
    "SHAPES",
    "HiggsEvents",
    "QuantileScore",
    "coverage_penalty",
    "data_sample",
    "derived",
    "draw_nuisances",
    "feature_matrix",
    "generate",
    "process_variations",
    "pseudo_experiment",
    "quantile_score",
    "read_events",
    "shape_values",
    "shifted",
    "write_events",
]
