"""milinfer: learned likelihoods for collider data, with intervals that cover.

Names are imported when first used, so that ``import milinfer`` stays fast and TensorFlow is
loaded only by what needs it.

References
----------
[AS] A. Azakli, B. Stelzer, "Increasing Information Extraction in Low-Signal Regimes via Multiple
Instance Learning".  [NT] B. Nachman, J. Thaler, "E Pluribus Unum Ex Machina", Phys. Rev. D 103
(2021) 116013.  [ML] "milearn: A Python Package for Multi-Instance Machine Learning",
arXiv:2512.01287.  [MI] "Why Multi-Instance Learning is Actually Beautiful".
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from milinfer.version import __version__

if TYPE_CHECKING:
    from milinfer.binned.pyhf_cost import PyhfCost as PyhfCost
    from milinfer.binned.templates import Templates as Templates
    from milinfer.binned.workspace_morphing import export_workspace as export_workspace
    from milinfer.binned.workspace_morphing import import_workspace as import_workspace
    from milinfer.binned.workspaces import read_workspace as read_workspace
    from milinfer.diagnostics.bag_size import compare_ansaetze as compare_ansaetze
    from milinfer.diagnostics.bag_size import fit_bag_sizes as fit_bag_sizes
    from milinfer.diagnostics.bag_size_scan import scan_bag_sizes as scan_bag_sizes
    from milinfer.diagnostics.diagnosis import Diagnosis as Diagnosis
    from milinfer.diagnostics.diagnosis import diagnose as diagnose
    from milinfer.features.feature_set import FeatureSet as FeatureSet
    from milinfer.features.feature_set import feature_set as feature_set
    from milinfer.features.processor import FeatureProcessor as FeatureProcessor
    from milinfer.intervals.belt import Belt as Belt
    from milinfer.intervals.calibration import Calibration as Calibration
    from milinfer.intervals.calibration_fit import calibrate as calibrate
    from milinfer.intervals.coverage import CoverageScan as CoverageScan
    from milinfer.intervals.coverage import coverage as coverage
    from milinfer.intervals.coverage import coverage_scan as coverage_scan
    from milinfer.intervals.information import information as information
    from milinfer.intervals.information import information_matrix as information_matrix
    from milinfer.intervals.information import relative_information as relative_information
    from milinfer.intervals.neyman import neyman as neyman
    from milinfer.intervals.neyman import regression_belt as regression_belt
    from milinfer.learning.background_ratio import BackgroundRatio as BackgroundRatio
    from milinfer.learning.bag_likelihood import BagLikelihood as BagLikelihood
    from milinfer.learning.boosted_trees import BoostedLikelihood as BoostedLikelihood
    from milinfer.learning.labelled_bags.estimators import BagClassifier as BagClassifier
    from milinfer.learning.labelled_bags.estimators import BagRegressor as BagRegressor
    from milinfer.learning.labelled_bags.estimators import (
        InstanceTransformer as InstanceTransformer,
    )
    from milinfer.learning.labelled_bags.search import optuna_search as optuna_search
    from milinfer.learning.labelled_bags.search import stepwise_search as stepwise_search
    from milinfer.learning.model_columns import ModelColumns as ModelColumns
    from milinfer.learning.tracking import MLflowTracker as MLflowTracker
    from milinfer.learning.tracking import TensorBoardTracker as TensorBoardTracker
    from milinfer.learning.tracking import Tracker as Tracker
    from milinfer.learning.tracking import WandbTracker as WandbTracker
    from milinfer.learning.tracking import log_training as log_training
    from milinfer.likelihood.cost import LikelihoodCost as LikelihoodCost
    from milinfer.likelihood.fits import fit_results as fit_results
    from milinfer.likelihood.fits import impacts as impacts
    from milinfer.likelihood.fits import minuit as minuit
    from milinfer.likelihood.fits import profile_interval as profile_interval
    from milinfer.likelihood.fits import shared_parameters as shared_parameters
    from milinfer.likelihood.mixture import MixtureCost as MixtureCost
    from milinfer.likelihood.mixture import mixture_cost as mixture_cost
    from milinfer.likelihood.oracle import Oracle as Oracle
    from milinfer.likelihood.profiled_mixture import ProfiledMixture as ProfiledMixture
    from milinfer.likelihood.rate import Rate as Rate
    from milinfer.samples.sample import Sample as Sample
    from milinfer.samples.sample import SampleSet as SampleSet
    from milinfer.samples.streaming import StreamedSamples as StreamedSamples
    from milinfer.toys.pool import Background as Background
    from milinfer.toys.pool import EventPool as EventPool
    from milinfer.toys.toys import Toys as Toys
    from milinfer.workflow.comparison import Comparison as Comparison
    from milinfer.workflow.comparison import compare as compare
    from milinfer.workflow.configuration import AnalysisConfig as AnalysisConfig
    from milinfer.workflow.configuration import init_analysis as init_analysis
    from milinfer.workflow.configuration import read_configuration as read_configuration
    from milinfer.workflow.inspection import inspect_file as inspect_file
    from milinfer.workflow.run import plan_analysis as plan_analysis
    from milinfer.workflow.run import run_analysis as run_analysis

_WHERE = {
    "ModelColumns": "learning.model_columns",
    "run_analysis": "workflow.run",
    "read_configuration": "workflow.configuration",
    "plan_analysis": "workflow.run",
    "init_analysis": "workflow.configuration",
    "AnalysisConfig": "workflow.configuration",
    "Background": "toys.pool",
    "BackgroundRatio": "learning.background_ratio",
    "BagClassifier": "learning.labelled_bags.estimators",
    "BagLikelihood": "learning.bag_likelihood",
    "BagRegressor": "learning.labelled_bags.estimators",
    "Belt": "intervals.belt",
    "BoostedLikelihood": "learning.boosted_trees",
    "Calibration": "intervals.calibration",
    "Comparison": "workflow.comparison",
    "Diagnosis": "diagnostics.diagnosis",
    "EventPool": "toys.pool",
    "FeatureProcessor": "features.processor",
    "FeatureSet": "features.feature_set",
    "InstanceTransformer": "learning.labelled_bags.estimators",
    "LikelihoodCost": "likelihood.cost",
    "MixtureCost": "likelihood.mixture",
    "Oracle": "likelihood.oracle",
    "PyhfCost": "binned.pyhf_cost",
    "ProfiledMixture": "likelihood.profiled_mixture",
    "Rate": "likelihood.rate",
    "Sample": "samples.sample",
    "SampleSet": "samples.sample",
    "StreamedSamples": "samples.streaming",
    "Templates": "binned.templates",
    "MLflowTracker": "learning.tracking",
    "TensorBoardTracker": "learning.tracking",
    "Toys": "toys.toys",
    "Tracker": "learning.tracking",
    "WandbTracker": "learning.tracking",
    "calibrate": "intervals.calibration_fit",
    "compare": "workflow.comparison",
    "CoverageScan": "intervals.coverage",
    "compare_ansaetze": "diagnostics.bag_size",
    "coverage": "intervals.coverage",
    "coverage_scan": "intervals.coverage",
    "diagnose": "diagnostics.diagnosis",
    "export_workspace": "binned.workspace_morphing",
    "feature_set": "features.feature_set",
    "fit_bag_sizes": "diagnostics.bag_size",
    "fit_results": "likelihood.fits",
    "impacts": "likelihood.fits",
    "import_workspace": "binned.workspace_morphing",
    "information": "intervals.information",
    "information_matrix": "intervals.information",
    "inspect_file": "workflow.inspection",
    "relative_information": "intervals.information",
    "log_training": "learning.tracking",
    "minuit": "likelihood.fits",
    "mixture_cost": "likelihood.mixture",
    "neyman": "intervals.neyman",
    "optuna_search": "learning.labelled_bags.search",
    "regression_belt": "intervals.neyman",
    "profile_interval": "likelihood.fits",
    "read_workspace": "binned.workspaces",
    "scan_bag_sizes": "diagnostics.bag_size_scan",
    "shared_parameters": "likelihood.fits",
    "stepwise_search": "learning.labelled_bags.search",
}

__all__ = [*sorted(_WHERE), "__version__"]  # noqa: PLE0604  # all of them are strings


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"milinfer.{_WHERE[name]}"), name)
    msg = f"module 'milinfer' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
