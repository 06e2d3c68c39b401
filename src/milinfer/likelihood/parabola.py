"""How far surfaces are from the parabolas that are put in their place ([AS], §C.4).

With free logits Λ at neighbouring points is learned independently, and is rough.  [AS] takes
estimate, interval and information from a parabola through the points near the highest one, and
quotes the mean squared distance of the points from it.
"""

from __future__ import annotations

import numpy as np

from milinfer.exceptions import ParameterError
from milinfer.likelihood.surface import Interpolation
from milinfer.typing import FloatArray

__all__ = ["parabola_error"]


def parabola_error(interpolation: Interpolation, values: FloatArray) -> FloatArray:
    """Mean squared distance of −2Λ from the parabola of each surface, shape (n_surfaces,).

    The mean is over the points of the window, the parabola that of ``kind="parabola"``: least
    squares through the points within ``window`` of the highest one.

    Parameters
    ----------
    interpolation
        Of the kind ``"parabola"``.
    values
        Λ at its points, shape (n_surfaces, K).

    Raises
    ------
    ParameterError
        If the interpolation is of another kind.

    Examples
    --------
    >>> grid = np.linspace(-1, 1, 21)
    >>> fit = Interpolation(grid, "parabola", window=0.4)
    >>> rough = np.where(np.arange(21) % 2, 0.5, -0.5)
    >>> exact = -50 * (grid - 0.1) ** 2
    >>> parabola_error(fit, np.stack([exact, exact + 0.1 * rough])).round(4)
    array([0.    , 0.0092])
    """
    if interpolation.kind != "parabola":
        msg = f"a surface of kind {interpolation.kind!r} has no parabola; use kind='parabola'"
        raise ParameterError(msg)
    grid = interpolation.grid
    known = np.asarray(values, dtype=np.float64)
    fitted = interpolation.values_at(known, grid)
    highest = grid[np.argmax(known, axis=1)]
    near = np.abs(grid - highest[:, None]) <= interpolation.window * (1 + 1e-9)
    square = 4 * (known - fitted) ** 2
    mean: FloatArray = np.sum(square, axis=1, where=near) / near.sum(axis=1)
    return mean
