"""Result of the training of a response: networks or trees, their scale, and checks.

Importing this module does not import Keras.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.response_events import BasePoints
from milinfer.learning.response_members import ResponsePart
from milinfer.learning.response_scale import ResponseClosure, ResponseScale
from milinfer.learning.tracking import history_table
from milinfer.likelihood.expected_response import ExpectedResponse
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.responses import MeanAndYield
from milinfer.typing import Float32Array, FloatArray
from milinfer.utils.display import brief

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ResponseFit", "raw_columns"]


@dataclass(frozen=True, eq=False)
class ResponseFit:
    """Result of the training of a response: networks or trees, their scale, and checks.

    Parameters
    ----------
    process, feature_names
        Name of the process, and names of the features of the training.
    terms
        Nuisance parameters, and terms of the response in these parameters.
    members
        Networks or trees of each member of the ensemble.
    scale
        Factor and constant of each column, determined with held-out events.
    base
        Shifts of the nuisance parameters, and parameter points, at which the response was trained.
    closure
        Means of the response over nominal events at the shifts of `base`, compared with the yields
        of the varied samples.
    at_ends
        The comparison of `closure`, made at the ends of the range of the parameters of interest. It
        is made if the response does not depend on these parameters but was trained on events at
        several of their values.
    expected
        Mean of the response over the nominal events, as a function of all parameters.
    network, training
        Settings in use.
    history
        Losses of each network, one value for each epoch.
    n_events
        Number of events of each sample.
    trained_on
        Fingerprints of the events used for training, early stopping and scale.
    """

    process: str
    feature_names: tuple[str, ...]
    terms: ResponseTerms
    members: tuple[tuple[ResponsePart, ...], ...]
    scale: ResponseScale
    base: BasePoints
    closure: ResponseClosure
    at_ends: tuple[MeanAndYield, ...]
    expected: ExpectedResponse
    network: NetworkConfig
    training: TrainingConfig
    history: list[dict[str, list[float]]]
    n_events: dict[str, int]
    trained_on: tuple[str, ...]

    def __repr__(self) -> str:
        return brief(
            self, leave_out=("members", "base", "at_ends", "expected", "history", "trained_on")
        )

    def to_table(self) -> pa.Table:
        """Return a table of the losses, with one row for each network and epoch."""
        return history_table(self.history)

    @property
    def digest(self) -> str:
        """Hash of the trained parameters; it does not change when the response is saved."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(repr((self.terms.names, self.terms.parameters)).encode())
        arrays = [a for member in self.members for p in member for a in p.predictor.arrays]
        for array in (*arrays, self.scale.factors, self.scale.constants):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def columns(self, features: Float32Array) -> FloatArray:
        """Return the response columns of events, shape (n_events, n_columns)."""
        return self.scale.factors * raw_columns(self.members, self.terms, features) + (
            self.scale.constants
        )


def raw_columns(
    members: Sequence[Sequence[ResponsePart]], terms: ResponseTerms, features: Float32Array
) -> FloatArray:
    """Return response columns before scaling, averaged over members.

    The shape is (n_events, n_columns).
    """
    total = np.zeros((len(features), terms.n_columns))
    for member in members:
        for part in member:
            total[:, part.places] += part.predictor.columns(features)
    total /= len(members)
    return total
