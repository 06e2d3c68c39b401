"""Base class of the response of a process to nuisance parameters, for each event.

Learned responses are objects of
:class:`~milinfer.learning.systematic_response.SystematicResponse`.  To use a response that is known
exactly, derive a class from :class:`Response`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from milinfer.exceptions import ModelError
from milinfer.likelihood.expected_response import ExpectedResponse
from milinfer.likelihood.response_terms import ResponseTable, ResponseTerms
from milinfer.samples.sample import Sample
from milinfer.typing import Float32Array, Point
from milinfer.utils.points import format_point

__all__ = ["NEGLIGIBLE", "SIGMAS", "MeanAndYield", "Response"]

SIGMAS, NEGLIGIBLE = 5.0, 1e-3
"""Report a mean response that is so many errors from the ratio of the yields, unless the difference
is below one per mille."""


class MeanAndYield(NamedTuple):
    """Mean of a response at one point, and the ratio of the yields of held-out events there.

    Held-out events are not used in the training.

    Parameters
    ----------
    point, nuisances
        Values of the parameters of interest, and shifts of the nuisance parameters.
    mean
        Mean of the response S over the nominal events.
    ratio
        Expected number of varied events divided by the expected number of nominal events.
    error
        Standard error of the difference between `mean` and `ratio`.

    Examples
    --------
    >>> found = MeanAndYield({"c_HW": 1.0}, {"jes": 1.0}, 1.02, 1.05, 0.004)
    >>> print(found, found.differ)
    at c_HW=1 and jes=1 its mean is 1.02, but the ratio of the yields 1.05 ± 0.004 True
    """

    point: Point
    nuisances: Point
    mean: float
    ratio: float
    error: float

    @property
    def differ(self) -> bool:
        """Whether `mean` and `ratio` differ significantly, and by enough to matter."""
        off = abs(self.mean - self.ratio)
        return off >= NEGLIGIBLE and off >= SIGMAS * self.error

    def __str__(self) -> str:
        return (
            f"at {format_point(self.point)} and {format_point(self.nuisances)} its mean is "
            f"{self.mean:.5g}, but the ratio of the yields {self.ratio:.5g} ± {self.error:.2g}"
        )


class Response(ABC):
    """Base class of the response of one process to nuisance parameters, learned or exact.

    The response S(x; α) is the differential cross-section of the process at the nuisance parameters
    α divided by its value at α = 0.
    """

    if TYPE_CHECKING:

        @property
        def process(self) -> str:
            """Name of the process."""

        @property
        def terms(self) -> ResponseTerms:
            """Nuisance parameters, and the terms of ln S in them."""

        @property
        def feature_names(self) -> tuple[str, ...]:
            """Names of the features that the response reads; empty if it reads other columns."""

        @property
        def digest(self) -> str:
            """Hash of the trained parameters; empty if there was no training."""

        @property
        def trained_on(self) -> tuple[str, ...]:
            """Fingerprints of the training events."""

        @property
        def expected(self) -> ExpectedResponse:
            """κ(θ, α), the mean of S over the events of the process."""

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the nuisance parameters."""
        return self.terms.nuisances

    @property
    def at_ends(self) -> tuple[MeanAndYield, ...]:
        """Means of S and ratios of yields at both ends of the ranges of parameters of interest.

        It is empty if they are not known, or if the response depends on the parameters of interest.
        """
        return ()

    @abstractmethod
    def event_columns(self, sample: Sample) -> Float32Array:
        """Return the coefficients of every event, shape (n_events, n_columns), float32."""

    def table(self, sample: Sample) -> ResponseTable:
        """Evaluate the response once for each event, and return a table of its coefficients.

        Raises
        ------
        ModelError
            If the result is not a row of finite coefficients for each event.
        """
        columns = np.asarray(self.event_columns(sample), dtype=np.float32)
        if columns.shape != (len(sample), self.terms.n_columns):
            msg = (
                f"the response of {self.process} gives an array of shape {columns.shape} for "
                f"{len(sample)} events and {self.terms.n_columns} coefficients"
            )
            raise ModelError(msg)
        bad = ~np.isfinite(columns).all(axis=1)
        if bad.any():
            msg = (
                f"the response of {self.process} is not finite in event {int(np.argmax(bad))} of "
                f"{sample.label}; check the features of this event"
            )
            raise ModelError(msg)
        return ResponseTable(self.terms, columns)
