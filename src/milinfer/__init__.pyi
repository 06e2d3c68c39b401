# The public names of milinfer, by room.  `lazy_loader` imports each when it is first used; type
# checkers and the reference read the same list.
from .version import __version__ as __version__

# The rooms, for what is not listed below.
from . import (
    binned as binned,
    datasets as datasets,
    diagnostics as diagnostics,
    features as features,
    intervals as intervals,
    io as io,
    learning as learning,
    likelihood as likelihood,
    plotting as plotting,
    samples as samples,
    toys as toys,
    workflow as workflow,
)

# features
from .features.feature_set import (
    FeatureSet as FeatureSet,
    feature_set as feature_set,
)
from .features.objects import Collection as Collection
from .features.processor import FeatureProcessor as FeatureProcessor
from .features.variations import (
    FunctionVariation as FunctionVariation,
    ScaleVariation as ScaleVariation,
    WeightVariation as WeightVariation,
    up_and_down as up_and_down,
)
from .features.variation_accumulators import accumulate_variations as accumulate_variations

# samples
from .samples.sample import Sample as Sample
from .samples.sample_set import SampleSet as SampleSet
from .samples.streaming import StreamedSamples as StreamedSamples
from .samples.streamed_variations import StreamedVariations as StreamedVariations
from .samples.run_features import run_features as run_features
from .samples.variation import Variation as Variation
from .samples.variations import ProcessVariations as ProcessVariations

# likelihood
from .likelihood.cost import LikelihoodCost as LikelihoodCost
from .likelihood.rate import Rate as Rate
from .likelihood.mixture import mixture_cost as mixture_cost
from .likelihood.profiled_mixture import ProfiledMixture as ProfiledMixture
from .likelihood.systematics import (
    NormalisationUncertainty as NormalisationUncertainty,
    systematic_cost as systematic_cost,
    systematic_terms as systematic_terms,
)
from .likelihood.profiled_systematics import ProfiledSystematics as ProfiledSystematics
from .likelihood.oracle import Oracle as Oracle
from .likelihood.constraints import (
    Constraint as Constraint,
    constraint as constraint,
)
from .likelihood.publishing import publish as publish
from .likelihood.published_cost import load_published as load_published
from .likelihood.fits import (
    impacts as impacts,
    minuit as minuit,
    profile_interval as profile_interval,
)

# learning
from .learning.bag_likelihood import BagLikelihood as BagLikelihood
from .learning.finite_simulation import simulation_error as simulation_error
from .learning.networks.configs import (
    NetworkConfig as NetworkConfig,
    TrainingConfig as TrainingConfig,
)
from .learning.boosted_trees import BoostedLikelihood as BoostedLikelihood
from .learning.background_ratio import BackgroundRatio as BackgroundRatio
from .learning.systematic_response import SystematicResponse as SystematicResponse
from .learning.model_columns import ModelColumns as ModelColumns
from .learning.labelled_bags.estimators import (
    BagClassifier as BagClassifier,
    BagRegressor as BagRegressor,
)

# toys
from .toys.pool import (
    Background as Background,
    EventPool as EventPool,
)
from .toys.toys import Toys as Toys
from .toys.ensemble import ToyEnsemble as ToyEnsemble

# binned
from .binned.templates import Templates as Templates
from .binned.binned_model import BinnedLLR as BinnedLLR
from .binned.pyhf_cost import PyhfCost as PyhfCost
from .binned.workspaces import read_workspace as read_workspace
from .binned.workspace_export import (
    export_workspace as export_workspace,
    import_workspace as import_workspace,
)

# intervals
from .intervals.calibration import Calibration as Calibration
from .intervals.calibration_fit import calibrate as calibrate
from .intervals.belt import Belt as Belt
from .intervals.combined_toys import (
    CombinedToys as CombinedToys,
    EventTerm as EventTerm,
)
from .intervals.neyman import (
    neyman as neyman,
    regression_belt as regression_belt,
)
from .intervals.counting import feldman_cousins as feldman_cousins
from .intervals.coverage import (
    coverage as coverage,
    coverage_scan as coverage_scan,
)
from .intervals.conditional_coverage import conditional_coverage as conditional_coverage
from .intervals.simulation_widening import add_simulation_error as add_simulation_error
from .intervals.information import (
    information as information,
    information_matrix as information_matrix,
)

# diagnostics
from .diagnostics.diagnosis import (
    Diagnosis as Diagnosis,
    diagnose as diagnose,
)
from .diagnostics.response_diagnosis import (
    ResponseDiagnosis as ResponseDiagnosis,
    diagnose_response as diagnose_response,
)

# workflow
from .workflow.configuration import (
    AnalysisConfig as AnalysisConfig,
    init_analysis as init_analysis,
)
from .workflow.run import (
    plan_analysis as plan_analysis,
    run_analysis as run_analysis,
)
from .workflow.comparison import compare as compare
from .workflow.inspection import inspect_file as inspect_file
