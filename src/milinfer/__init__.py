"""milinfer: learned likelihoods for collider data, with intervals that cover.

Names are imported when first used, so that ``import milinfer`` stays fast and TensorFlow is
loaded only by what needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milinfer.belt import Belt as Belt
    from milinfer.belt import neyman as neyman
    from milinfer.boosted import BoostedLikelihood as BoostedLikelihood
    from milinfer.calibration import Calibration as Calibration
    from milinfer.calibration import calibrate as calibrate
    from milinfer.compare import Comparison as Comparison
    from milinfer.compare import compare as compare
    from milinfer.cost import LikelihoodCost as LikelihoodCost
    from milinfer.diagnostics import Diagnosis as Diagnosis
    from milinfer.diagnostics import diagnose as diagnose
    from milinfer.features import FeatureSet as FeatureSet
    from milinfer.features import feature_set as feature_set
    from milinfer.information import information as information
    from milinfer.information_matrix import information_matrix as information_matrix
    from milinfer.information_matrix import relative_information as relative_information
    from milinfer.intervals import coverage as coverage
    from milinfer.intervals import profile_interval as profile_interval
    from milinfer.likelihood import BagLikelihood as BagLikelihood
    from milinfer.oracle import Oracle as Oracle
    from milinfer.processor import FeatureProcessor as FeatureProcessor
    from milinfer.rate import Rate as Rate
    from milinfer.samples import Sample as Sample
    from milinfer.samples import SampleSet as SampleSet
    from milinfer.templates import Templates as Templates
    from milinfer.toys import Toys as Toys

__version__ = "0.1.0"

_WHERE = {
    "BagLikelihood": "likelihood",
    "Belt": "belt",
    "BoostedLikelihood": "boosted",
    "Calibration": "calibration",
    "Comparison": "compare",
    "Diagnosis": "diagnostics",
    "FeatureProcessor": "processor",
    "FeatureSet": "features",
    "LikelihoodCost": "cost",
    "Oracle": "oracle",
    "Rate": "rate",
    "Sample": "samples",
    "SampleSet": "samples",
    "Templates": "templates",
    "Toys": "toys",
    "calibrate": "calibration",
    "compare": "compare",
    "coverage": "intervals",
    "diagnose": "diagnostics",
    "feature_set": "features",
    "information": "information",
    "information_matrix": "information_matrix",
    "neyman": "belt",
    "relative_information": "information_matrix",
    "profile_interval": "intervals",
}

__all__ = [*sorted(_WHERE), "__version__"]  # noqa: PLE0604  # all of them are strings


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"milinfer.{_WHERE[name]}"), name)
    msg = f"module 'milinfer' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
