"""Decide the outcome of a check of a model: tolerances, significance, and an explanation.

A check fails if the deviation is larger than the tolerance and also significant.  The significance
is the pull: the deviation divided by its standard error.  A check passes if there are enough events
to exclude a deviation as large as the tolerance.  A check that neither fails nor passes is
undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

__all__ = [
    "ALL",
    "ANY",
    "MINIMUM",
    "Check",
    "Look",
    "Outcome",
    "Tolerances",
    "critical_pull",
    "distortion",
    "judge",
    "jsonable",
    "pull_from_p",
    "pull_of",
    "width_meaning",
    "worst",
]

Outcome = Literal["passed", "failed", "undecided", "skipped"]

# From bad to good: with ALL every look must pass; with ANY one is enough, if others lack the power
# to fail.
ALL: tuple[Outcome, ...] = ("failed", "undecided", "passed")
ANY: tuple[Outcome, ...] = ("failed", "passed", "undecided")

MINIMUM = 100.0
"""Smallest effective number of events for which means and their errors are used."""

_POWER = 2.0
# The p-value of larger pulls underflows.
_LARGEST_PULL = 37.0


@dataclass(frozen=True)
class Tolerances:
    """Largest deviations that are still too small to matter.

    Parameters
    ----------
    normalisation
        Deviation of the mean ratio E[r] from 1, for datasets of any size.  At each θ, a second
        limit applies: for datasets of n events, a wrong E[r] changes Λ(θ) by n ln E[r].  This
        change must not be larger than the change of Λ(θ) that `bias` and `bartlett` tolerate
        (:func:`distortion`).
    bias
        Bias of an estimate, divided by the standard error of the estimate.  With a bias of 0.3, the
        coverage of a 68.3 % interval is 66 %.
    bartlett
        Deviation of a Bartlett ratio from 1.  With a deviation of 0.15, intervals are 7 % too
        narrow or too wide.
    response
        Deviation of the response dE[θ̂]/dθ from 1.
    closure
        Fraction of the difference between two samples that remains after reweighting one to the
        other.
    surfaces
        Fraction of datasets whose Λ(θ) has no single smooth maximum inside the range.
    outside
        Fraction of events with a feature that is more than five standard deviations from the mean
        of the training data.  If the events have the same mean and variance as the training data,
        this fraction is at most 1/5² (Chebyshev's inequality).
    """

    normalisation: float = 0.05
    bias: float = 0.3
    bartlett: float = 0.15
    response: float = 0.15
    closure: float = 0.2
    surfaces: float = 0.05
    outside: float = 0.04


def distortion(standard_errors: float, tolerances: Tolerances) -> float:
    """Compute the change of Λ due to the tolerated bias and the tolerated curvature together.

    At a distance of z standard errors from its maximum, Λ is −z²/2.  If the estimate is shifted by
    `bias` and the curvature is wrong by `bartlett`, Λ changes by z·bias + z²·bartlett/2.

    Parameters
    ----------
    standard_errors
        Distance z from the maximum, divided by the standard error of the estimate from one dataset.
    tolerances
        Tolerated deviations, of which `bias` and `bartlett` are used.

    Examples
    --------
    >>> round(distortion(1.0, Tolerances(bias=0.3, bartlett=0.15)), 3)  # of the ½ of an interval
    0.375
    """
    z = abs(standard_errors)
    return z * tolerances.bias + z**2 * tolerances.bartlett / 2


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Parameters
    ----------
    name
        Name of the check.
    outcome
        ``"passed"``, ``"failed"``, ``"undecided"`` (too few events) or ``"skipped"`` (the check
        does not apply).
    meaning
        Sentence that explains the outcome and says what to do.
    quantity
        Name of the measured quantity.
    value, error, expected
        Measured value, its standard error, and the value for an exact ratio.
    pull
        Significance of the deviation: usually the deviation divided by `error`.
    threshold
        A deviation is significant if its pull is above this threshold.  The threshold is higher if
        the check consists of several measurements.
    tolerance
        A deviation matters if it is larger than this.
    """

    name: str
    outcome: Outcome
    meaning: str
    quantity: str = ""
    value: float = np.nan
    error: float = np.nan
    expected: float = np.nan
    pull: float = np.nan
    threshold: float = np.nan
    tolerance: float = np.nan

    def measured(self) -> str:
        """Return quantity, value and error as text.

        Examples
        --------
        >>> Check("score", "passed", "", "bias", 0.02345, 0.0123).measured()
        'bias = 0.023 ± 0.012'
        """
        if not np.isfinite(self.value):
            return self.quantity
        if not (np.isfinite(self.error) and self.error > 0):
            return f"{self.quantity} = {self.value:.3g}"
        digits = max(1 - int(np.floor(np.log10(self.error))), 0)
        return f"{self.quantity} = {self.value:.{digits}f} ± {self.error:.{digits}f}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name; a number that was not measured is None."""
        fields: dict[str, Any] = jsonable(asdict(self))
        return fields


class Look(NamedTuple):
    """One of several measurements that a check consists of.

    Parameters
    ----------
    quantity
        What was measured.
    value, error, expected, tolerance
        As in :class:`Check`.
    outcome
        Outcome of this measurement alone.
    significance
        Pull, if it is not the deviation of `value` divided by `error`.  For example, it may be
        computed from a χ².
    """

    quantity: str
    value: float
    error: float
    expected: float
    tolerance: float
    outcome: Outcome
    significance: float | None = None

    @property
    def pull(self) -> float:
        """Significance of the deviation of this measurement."""
        if self.significance is not None:
            return self.significance
        return pull_of(self.value - self.expected, self.error)

    def check(self, name: str, threshold: float, meaning: str, outcome: Outcome) -> Check:
        """Make the result of the check that this measurement decides."""
        return Check(
            name=name,
            outcome=outcome,
            meaning=meaning,
            quantity=self.quantity,
            value=self.value,
            error=self.error,
            expected=self.expected,
            pull=self.pull,
            threshold=threshold,
            tolerance=self.tolerance,
        )


def pull_of(deviation: float, error: float) -> float:
    """Return the absolute value of a deviation divided by its standard error.

    Examples
    --------
    >>> pull_of(-0.5, 0.25), pull_of(0.0, 0.0), pull_of(0.1, 0.0)
    (2.0, 0.0, inf)
    """
    if deviation == 0 or np.isnan(deviation):
        return float(deviation)
    return abs(deviation) / error if error > 0 else float("inf")


def pull_from_p(p_value: float) -> float:
    """Convert a p-value to a significance (two-sided, Gaussian).

    Examples
    --------
    >>> round(pull_from_p(0.0027), 2), pull_from_p(0.0)
    (3.0, 37.0)
    """
    return min(float(-ndtri(p_value / 2)), _LARGEST_PULL) + 0.0


def critical_pull(sigma: float, looks: int = 1) -> float:
    """Compute the threshold of the pull for a check with several measurements (Bonferroni).

    The probability that one or more of them exceed it by chance is at most the probability that a
    single measurement exceeds `sigma`.  The number of measurements is `looks`.

    Examples
    --------
    >>> round(critical_pull(3.0), 2), round(critical_pull(3.0, looks=10), 2)
    (3.0, 3.64)
    """
    return float(-ndtri(ndtr(-sigma) / max(looks, 1)))


def judge(
    deviation: float, error: float, tolerance: float, critical: float, *, enough: bool = True
) -> Outcome:
    """Decide the outcome of one measurement.

    Parameters
    ----------
    deviation, error
        Deviation from the expected value, and its standard error.
    tolerance
        A larger deviation matters.
    critical
        Only a deviation of more than this number of standard errors is significant.
    enough
        False if there are too few events to trust `error`.  The outcome is then undecided.

    Examples
    --------
    >>> judge(0.20, 0.01, tolerance=0.1, critical=3)
    'failed'
    >>> judge(0.02, 0.001, tolerance=0.1, critical=3)  # significant, and of no consequence
    'passed'
    >>> judge(0.20, 0.10, tolerance=0.1, critical=3), judge(0.0, 0.1, tolerance=0.1, critical=3)
    ('undecided', 'undecided')
    """
    if not enough or np.isnan(deviation):
        return "undecided"
    if abs(deviation) > tolerance and pull_of(deviation, error) > critical:
        return "failed"
    return "passed" if abs(deviation) + _POWER * error <= tolerance else "undecided"


def worst(looks: Sequence[Look], order: Sequence[Outcome]) -> Look:
    """Return the measurement whose outcome comes first in `order`.

    If several measurements have this outcome, the one with the largest pull is returned.
    """

    def rank(look: Look) -> tuple[int, float]:
        return order.index(look.outcome), -look.pull if np.isfinite(look.pull) else -np.inf

    return min(looks, key=rank)


def width_meaning(look: Look, excess: float) -> str:
    """Return the sentence that explains the outcome of a check of a Bartlett ratio.

    Parameters
    ----------
    look
        The measurement, with its outcome.
    excess
        Information according to the curvature of Λ, divided by the true information.
    """
    if look.outcome == "passed":
        return "The curvature of Λ agrees with the spread of estimates: the intervals are right."
    if look.outcome == "undecided":
        return f"Too few events or toys to measure the width of intervals to {look.tolerance:g}."
    if not excess > 0:
        return "Λ is not concave at θ0, so it gives no interval. Train again."
    size = (
        f"{excess**0.5:.2g} times too narrow"
        if excess > 1
        else f"{excess**-0.5:.2g} times too wide"
    )
    return f"The uncalibrated ΔΛ = ½ intervals are {size}. Scale Λ by c_cicc (mil.calibrate)."


def jsonable(value: Any) -> Any:
    """Convert a value for JSON: arrays become lists, numbers that are not finite become None.

    Examples
    --------
    >>> import numpy as np
    >>> jsonable({"x": np.array([1.0, np.nan]), "y": (np.inf, "text")})
    {'x': [1.0, None], 'y': [None, 'text']}
    """
    if isinstance(value, dict):
        return {k: jsonable(v) for k, v in value.items()}
    if hasattr(value, "_asdict"):
        return jsonable(value._asdict())
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, np.generic):
        return jsonable(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value
