"""Check that a dataset has the size and the rate of the toys of a calibration or a belt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.likelihood.rate import Rate
from milinfer.typing import FloatArray
from milinfer.utils.points import format_point

__all__ = ["require_rate_of_toys", "size_differs"]

# Of the size. A surface scales with the size of its dataset, and c_cicc does not change with it;
# the spread of estimates changes by half of the share, and intervals then lose 1 % of coverage.
_SAME_SURFACE, _SAME_SPREAD = 0.25, 0.05
# A thousandth of the rate is a tenth of the Poisson error of ten thousand events.
_SAME_RATE = 1e-3


def size_differs(
    n_events: float, expected: float, *, estimates: bool = False, poisson: bool = True
) -> bool:
    """Whether a dataset differs in size from toys by a quarter and five standard deviations.

    Parameters
    ----------
    n_events, expected
        Events of the dataset, and of toys on average.
    estimates
        Whether the spread of estimates matters, which depends on the size: the limit is then 5 %
        instead of a quarter.
    poisson
        Whether the size of the toys fluctuates.  If not, five standard deviations are not allowed
        for estimates.

    Examples
    --------
    >>> size_differs(120, 100), size_differs(200, 100)
    (False, True)
    >>> size_differs(900, 1000, estimates=True, poisson=False)
    True
    """
    allowed = (_SAME_SPREAD if estimates else _SAME_SURFACE) * expected
    if poisson or not estimates:
        allowed = max(allowed, 5 * np.sqrt(expected))
    return bool(abs(n_events - expected) > allowed)


def require_rate_of_toys(
    what: str, rate: Rate, parameters: Sequence[str], point: FloatArray, expected: float
) -> None:
    """Raise if a rate gives another number of events at a point than the toys had there.

    Parameters
    ----------
    what
        Name of the object made with the toys, for the message.
    rate
        Rate term of a cost.
    parameters, point
        Where the toys were generated; `point` has shape (n_parameters,).
    expected
        Mean number of events of the toys.

    Raises
    ------
    CalibrationError
        If they differ by more than 0.1 %.
    """
    n_events = float(rate.value(point[None])[0])
    if abs(n_events - expected) > _SAME_RATE * expected:
        place = format_point(dict(zip(parameters, point.tolist(), strict=True)))
        msg = (
            f"the toys of this {what} had {expected:g} events on average at {place}, but the rate "
            f"of the cost gives {n_events:g}; give the cost the rate of the toys, with their "
            "backgrounds: rate=rate.with_background(n_expected)"
        )
        raise CalibrationError(msg)
