"""Generate a background: VBF H → Z Z* → e+ e− ν ν̄ (three flavours) without SMEFT effects.

Production, parton densities and cuts are those of :mod:`milinfer.datasets.vbf_hww`.
"""

from __future__ import annotations

from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.generator import generate as _generate
from milinfer.exceptions import ParameterError
from milinfer.typing import Point

__all__ = ["PROCESS", "generate"]

PROCESS = "vbf_hzz"


def generate(
    n_events: int, point: Point | None = None, *, seed: int, workers: int = 1
) -> GeneratedEvents:
    """Generate unweighted background events after cuts.

    Parameters
    ----------
    n_events, seed, workers
        As for :func:`milinfer.datasets.vbf_hww.generate`.
    point
        Must be empty, because this process has no parameter.

    Raises
    ------
    ParameterError
        If a point is given.

    Examples
    --------
    >>> generate(10, seed=3).process
    'vbf_hzz'
    """
    if point:
        msg = f"{PROCESS} has no parameter; remove {dict(point)}"
        raise ParameterError(msg)
    return _generate(PROCESS, "Z", n_events, {}, seed, workers)
