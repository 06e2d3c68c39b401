from .columns import (
    Column as Column,
    SignedDeltaPhi as SignedDeltaPhi,
)
from .feature_set import (
    FeatureSet as FeatureSet,
    FeatureTable as FeatureTable,
)
from .momenta import Particles as Particles
from .objects import (
    Collection as Collection,
    Objects as Objects,
    invariant_mass as invariant_mass,
    missing_momentum as missing_momentum,
)
from .variation_accumulators import accumulate_variations as accumulate_variations
from .variations import (
    FunctionVariation as FunctionVariation,
    ScaleVariation as ScaleVariation,
    WeightVariation as WeightVariation,
    up_and_down as up_and_down,
)
from .processor import (
    EventSchema as EventSchema,
    FeatureProcessor as FeatureProcessor,
)
