"""Check that a dataset has the size and the rate of the toys of a calibration or a belt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.likelihood.rate import Rate
from milinfer.typing import FloatArray
from milinfer.utils.points import format_point

__all__ = ["require_rate_of_toys", "size_differs"]

# A thousandth of the rate is a tenth of the Poisson error of ten thousand events.
_SAME_RATE = 1e-3


def size_differs(n_events: float, expected: float) -> bool:
    """Whether a dataset has another size than toys: by a quarter and five standard deviations.

    Examples
    --------
    >>> size_differs(120, 100), size_differs(200, 100)
    (False, True)
    """
    return bool(abs(n_events - expected) > max(0.25 * expected, 5 * np.sqrt(expected)))


def require_rate_of_toys(
    what: str, rate: Rate, parameters: Sequence[str], point: FloatArray, expected: float
) -> None:
    """Raise if a rate gives another number of events at a point than the toys had there.

    Parameters
    ----------
    what
        What was made with the toys, for the message.
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
