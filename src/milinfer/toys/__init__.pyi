from .ensemble import (
    PoolInfluence as PoolInfluence,
    ToyEnsemble as ToyEnsemble,
    pool_influence as pool_influence,
)
from .pool import (
    Background as Background,
    EventPool as EventPool,
)
from .toys import Toys as Toys
