"""What gives the response of a process to nuisance parameters, for each event.

Learned responses are :class:`~milinfer.learning.systematic_response.SystematicResponse`; a response
that is known exactly is a subclass of :class:`Response` too.
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

    Parameters
    ----------
    point, nuisances
        Parameters of interest, and shifts.
    mean
        Mean of S over the nominal events.
    ratio
        Expected varied events over the nominal ones.
    error
        Error of the difference.

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
        """Whether the difference is significant and relevant."""
        off = abs(self.mean - self.ratio)
        return off >= NEGLIGIBLE and off >= SIGMAS * self.error

    def __str__(self) -> str:
        return (
            f"at {format_point(self.point)} and {format_point(self.nuisances)} its mean is "
            f"{self.mean:.5g}, but the ratio of the yields {self.ratio:.5g} ± {self.error:.2g}"
        )


class Response(ABC):
    """Response of one process to nuisance parameters; the base of learned and exact ones."""

    if TYPE_CHECKING:

        @property
        def process(self) -> str:
            """Name of the process."""

        @property
        def terms(self) -> ResponseTerms:
            """Nuisance parameters and terms."""

        @property
        def feature_names(self) -> tuple[str, ...]:
            """Features that it reads; empty if it reads other columns."""

        @property
        def digest(self) -> str:
            """Hash of the trained parameters; empty if there are none."""

        @property
        def trained_on(self) -> tuple[str, ...]:
            """Fingerprints of the training events."""

        @property
        def expected(self) -> ExpectedResponse:
            """Mean of S over the events of the process: expected events over the nominal ones."""

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the nuisance parameters."""
        return self.terms.nuisances

    @property
    def at_ends(self) -> tuple[MeanAndYield, ...]:
        """Means and yields at the ends of the ranges of the parameters of interest.

        Empty where these are not known, and for a response that depends on the parameters.
        """
        return ()

    @abstractmethod
    def event_columns(self, sample: Sample) -> Float32Array:
        """Coefficients of every event, shape (n_events, n_columns), float32."""

    def table(self, sample: Sample) -> ResponseTable:
        """Evaluate the response once for each event.

        Raises
        ------
        ModelError
            If it does not give a row of finite coefficients for each event.
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
                f"{sample.label}; look at the features of this event"
            )
            raise ModelError(msg)
        return ResponseTable(self.terms, columns)
