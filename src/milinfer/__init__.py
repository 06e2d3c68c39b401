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

if TYPE_CHECKING:
    from milinfer.background_ratio import BackgroundRatio as BackgroundRatio
    from milinfer.bag_estimators import BagClassifier as BagClassifier
    from milinfer.bag_estimators import BagRegressor as BagRegressor
    from milinfer.bag_estimators import InstanceTransformer as InstanceTransformer
    from milinfer.bag_size_compare import compare_ansaetze as compare_ansaetze
    from milinfer.bag_size_fit import fit_bag_sizes as fit_bag_sizes
    from milinfer.bag_size_scan import scan_bag_sizes as scan_bag_sizes
    from milinfer.belt import Belt as Belt
    from milinfer.belt_files import load_belt as load_belt
    from milinfer.belt_files import save_belt as save_belt
    from milinfer.belt_grid import neyman as neyman
    from milinfer.belt_regression import regression_belt as regression_belt
    from milinfer.boosted import BoostedLikelihood as BoostedLikelihood
    from milinfer.calibration import Calibration as Calibration
    from milinfer.calibration_files import load_calibration as load_calibration
    from milinfer.calibration_files import save_calibration as save_calibration
    from milinfer.calibration_fit import calibrate as calibrate
    from milinfer.combination import minuit as minuit
    from milinfer.combination import shared_parameters as shared_parameters
    from milinfer.comparison import Comparison as Comparison
    from milinfer.comparison import compare as compare
    from milinfer.configuration import AnalysisConfig as AnalysisConfig
    from milinfer.configuration_file import read_configuration as read_configuration
    from milinfer.configuration_template import init_analysis as init_analysis
    from milinfer.cost import LikelihoodCost as LikelihoodCost
    from milinfer.coverage_results import CoverageScan as CoverageScan
    from milinfer.coverages import coverage as coverage
    from milinfer.coverages import coverage_scan as coverage_scan
    from milinfer.diagnostics import Diagnosis as Diagnosis
    from milinfer.diagnostics import diagnose as diagnose
    from milinfer.features import FeatureSet as FeatureSet
    from milinfer.features import feature_set as feature_set
    from milinfer.fisher import information as information
    from milinfer.fisher_matrix import information_matrix as information_matrix
    from milinfer.fisher_matrix import relative_information as relative_information
    from milinfer.hyperparameters import optuna_search as optuna_search
    from milinfer.hyperparameters import stepwise_search as stepwise_search
    from milinfer.inspection import inspect_file as inspect_file
    from milinfer.intervals import profile_interval as profile_interval
    from milinfer.likelihood import BagLikelihood as BagLikelihood
    from milinfer.mixture import MixtureCost as MixtureCost
    from milinfer.mixture import mixture_cost as mixture_cost
    from milinfer.model_columns import ModelColumns as ModelColumns
    from milinfer.nuisances import impacts as impacts
    from milinfer.oracle import Oracle as Oracle
    from milinfer.pools import Background as Background
    from milinfer.pools import EventPool as EventPool
    from milinfer.processor import FeatureProcessor as FeatureProcessor
    from milinfer.profiled_mixture import ProfiledMixture as ProfiledMixture
    from milinfer.pyhf_cost import PyhfCost as PyhfCost
    from milinfer.rate import Rate as Rate
    from milinfer.results import fit_results as fit_results
    from milinfer.samples import Sample as Sample
    from milinfer.samples import SampleSet as SampleSet
    from milinfer.streaming import StreamedSamples as StreamedSamples
    from milinfer.templates import Templates as Templates
    from milinfer.toys import Toys as Toys
    from milinfer.trackers import MLflowTracker as MLflowTracker
    from milinfer.trackers import TensorBoardTracker as TensorBoardTracker
    from milinfer.trackers import WandbTracker as WandbTracker
    from milinfer.tracking import Tracker as Tracker
    from milinfer.tracking import log_training as log_training
    from milinfer.workflow import plan_analysis as plan_analysis
    from milinfer.workflow import run_analysis as run_analysis
    from milinfer.workspace_export import export_workspace as export_workspace
    from milinfer.workspace_morphing import import_workspace as import_workspace
    from milinfer.workspaces import read_workspace as read_workspace

__version__ = "0.1.0"

_WHERE = {
    "ModelColumns": "model_columns",
    "run_analysis": "workflow",
    "read_configuration": "configuration_file",
    "plan_analysis": "workflow",
    "init_analysis": "configuration_template",
    "AnalysisConfig": "configuration",
    "Background": "pools",
    "BackgroundRatio": "background_ratio",
    "BagClassifier": "bag_estimators",
    "BagLikelihood": "likelihood",
    "BagRegressor": "bag_estimators",
    "Belt": "belt",
    "BoostedLikelihood": "boosted",
    "Calibration": "calibration",
    "Comparison": "comparison",
    "Diagnosis": "diagnostics",
    "EventPool": "pools",
    "FeatureProcessor": "processor",
    "FeatureSet": "features",
    "InstanceTransformer": "bag_estimators",
    "LikelihoodCost": "cost",
    "MixtureCost": "mixture",
    "Oracle": "oracle",
    "PyhfCost": "pyhf_cost",
    "ProfiledMixture": "profiled_mixture",
    "Rate": "rate",
    "Sample": "samples",
    "SampleSet": "samples",
    "StreamedSamples": "streaming",
    "Templates": "templates",
    "MLflowTracker": "trackers",
    "TensorBoardTracker": "trackers",
    "Toys": "toys",
    "Tracker": "tracking",
    "WandbTracker": "trackers",
    "calibrate": "calibration_fit",
    "compare": "comparison",
    "CoverageScan": "coverage_results",
    "compare_ansaetze": "bag_size_compare",
    "coverage": "coverages",
    "coverage_scan": "coverages",
    "diagnose": "diagnostics",
    "export_workspace": "workspace_export",
    "feature_set": "features",
    "fit_bag_sizes": "bag_size_fit",
    "fit_results": "results",
    "impacts": "nuisances",
    "import_workspace": "workspace_morphing",
    "information": "fisher",
    "information_matrix": "fisher_matrix",
    "inspect_file": "inspection",
    "relative_information": "fisher_matrix",
    "load_belt": "belt_files",
    "load_calibration": "calibration_files",
    "log_training": "tracking",
    "minuit": "combination",
    "mixture_cost": "mixture",
    "neyman": "belt_grid",
    "optuna_search": "hyperparameters",
    "regression_belt": "belt_regression",
    "profile_interval": "intervals",
    "read_workspace": "workspaces",
    "save_belt": "belt_files",
    "save_calibration": "calibration_files",
    "scan_bag_sizes": "bag_size_scan",
    "shared_parameters": "combination",
    "stepwise_search": "hyperparameters",
}

__all__ = [*sorted(_WHERE), "__version__"]  # noqa: PLE0604  # all of them are strings


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"milinfer.{_WHERE[name]}"), name)
    msg = f"module 'milinfer' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
