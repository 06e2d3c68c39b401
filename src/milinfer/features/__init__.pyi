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
from .processor import (
    EventSchema as EventSchema,
    FeatureProcessor as FeatureProcessor,
)
