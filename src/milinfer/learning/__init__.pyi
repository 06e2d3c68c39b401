from .background_ratio import BackgroundRatio as BackgroundRatio
from .bag_likelihood import (
    BagLikelihood as BagLikelihood,
    log_training as log_training,
    single_models as single_models,
)
from .boosted_trees import (
    BoostedLikelihood as BoostedLikelihood,
    BoostedSettings as BoostedSettings,
)
from .finite_simulation import (
    SimulationError as SimulationError,
    simulation_error as simulation_error,
)
from .labelled_bags.classical import (
    BagSummary as BagSummary,
    InstanceWrapper as InstanceWrapper,
)
from .labelled_bags.estimators import (
    BagClassifier as BagClassifier,
    BagRegressor as BagRegressor,
)
from .labelled_bags.key_instances import (
    KeyAccuracy as KeyAccuracy,
    first_accuracy as first_accuracy,
    rank_accuracy as rank_accuracy,
)
from .labelled_bags.search import (
    SearchResult as SearchResult,
    optuna_search as optuna_search,
    stepwise_search as stepwise_search,
)
from .labelled_bags.tables import (
    GroupedBags as GroupedBags,
    group_bags as group_bags,
)
from .labelled_bags.transformer import InstanceTransformer as InstanceTransformer
from .model_columns import ModelColumns as ModelColumns
from .networks.configs import (
    NetworkConfig as NetworkConfig,
    TrainingConfig as TrainingConfig,
)
from .onnx import export_onnx as export_onnx
from .systematic_response import SystematicResponse as SystematicResponse
from .tracking import (
    EpochReport as EpochReport,
    MLflowTracker as MLflowTracker,
    TensorBoardTracker as TensorBoardTracker,
    Tracker as Tracker,
    WandbTracker as WandbTracker,
)
