"""Check that a dataset has the size and the rate of the toys of a calibration or a belt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.likelihood.rate import Rate
from milinfer.typing import FloatArray
from milinfer.utils.points import format_point

__all__ = ["require_rate_of_toys", "size_differs"]

# Allowed fraction of the size.  Λ scales with the size of the dataset, and c_cicc does not change
# with it; the spread of estimates changes by half of the fraction, and intervals then lose 1 % of
# coverage.
_SAME_SURFACE, _SAME_SPREAD = 0.25, 0.05
# A thousandth of the rate is a tenth of the Poisson error of ten thousand events.
_SAME_RATE = 1e-3


def size_differs(
    n_events: float, expected: float, *, estimates: bool = False, poisson: bool = True
) -> bool:
    """Tell whether the size of a dataset differs too much from the size of toys.

    The size is the number of events.  It differs too much if the difference is more than 25 % and
    more than five standard deviations of a Poisson distribution.

    Parameters
    ----------
    n_events, expected
        Number of events of the dataset, and mean number of events of the toys.
    estimates
        True if the result depends on the spread of the estimates, which changes with the size of
        the dataset.  The limit is then 5 % instead of 25 %.
    poisson
        Whether the size of the toys fluctuates.  If `poisson` is false and `estimates` is true,
        only the limit of 5 % is used.

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
    """Raise an error if a rate term expects another number of events at a point than the toys.

    Parameters
    ----------
    what
        Name of the object that was made with the toys (``"belt"`` or ``"calibration"``), for the
        message of the error.
    rate
        Rate term of a cost.
    parameters, point
        Names of the parameters, and the point at which the toys were generated, shape
        (n_parameters,).
    expected
        Mean number of events of the toys at this point.

    Raises
    ------
    CalibrationError
        If the numbers differ by more than 0.1 %.
    """
    n_events = float(rate.value(point[None])[0])
    if abs(n_events - expected) > _SAME_RATE * expected:
        place = format_point(dict(zip(parameters, point.tolist(), strict=True)))
        msg = (
            f"the toys of this {what} had {expected:g} events on average at {place}, but the rate "
            f"of the cost gives {n_events:g}; give the cost the same rate as the toys, including "
            "backgrounds: rate=rate.with_background(n_expected)"
        )
        raise CalibrationError(msg)
