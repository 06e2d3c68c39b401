"""Belts from many toys at each point of a grid of true values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from milinfer.exceptions import CalibrationError
from milinfer.intervals.belt import Belt, Smooth
from milinfer.intervals.belt_toys import Ordering, accepted_ends, levels_of, true_points
from milinfer.intervals.calibrated_toys import calibrated_toys
from milinfer.intervals.calibration import Calibration
from milinfer.likelihood.extrema import Bounds
from milinfer.toys.toys import ToyEnsemble

__all__ = ["neyman"]


def neyman(
    ensembles: Sequence[ToyEnsemble],
    *,
    cl: float | Sequence[float] = (0.6827, 0.9545),
    ordering: Ordering = "likelihood-ratio",
    bounds: Bounds | None = None,
    smooth: Smooth = "auto",
    calibration: Calibration | None = None,
) -> Belt:
    """Make a confidence belt from toys at a grid of true points.

    Parameters
    ----------
    ensembles
        Toys of one model, one ensemble for each true point.  One or a few toys at each of very many
        are for :func:`~milinfer.intervals.belt_regression.regression_belt`.
    cl
        Confidence levels.
    ordering
        ``"likelihood-ratio"``: Feldman and Cousins (Phys. Rev. D 57 (1998) 3873, eq. 4.1), with the
        statistic q(θ) = 2 [max Λ − Λ(θ)]; the only one for several parameters.  ``"central"``:
        between the quantiles (1 − cl)/2 and (1 + cl)/2 of θ̂.  ``"upper"``: upper limits, θ̂ above
        its quantile 1 − cl.  ``"lower"``: lower limits, likewise.
    bounds
        Physical bounds inside the range of the surface, ``(low, high)`` of the one parameter or of
        each; an infinite end is that of the range.  The maximum is taken between them.
    smooth
        Fit the critical values by a polynomial of this degree in θ (of ln c, where all are above
        0), which averages their Monte-Carlo errors over the points.  ``"auto"`` takes the lowest
        degree that describes them (p-value of 5 %), and interpolates where none up to 6 does, as
        near a physical bound.  None interpolates.
    calibration
        Of the model, applied to toys and datasets first.  A belt needs none to cover; but that of a
        biased surface carries the bias in its critical values, and moves to first order with every
        fluctuation of the pool of events, where that of a calibrated one does not.

    Returns
    -------
    Belt
        Errors are those of the number of toys; for orderings by θ̂ also that of the finite pool,
        which moves all of its estimates.

    Raises
    ------
    CalibrationError
        If the toys do not belong together, there are too few of them or of their points, a point is
        outside the bounds, or the ordering cannot be.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> from milinfer.samples.samples import SampleSet
    >>> from milinfer.toys.toys import Toys
    >>> pool = SampleSet(tuple(
    ...     quadratic.generate(5000, {"c1": c}, seed=k) for k, c in enumerate([-0.3, 0.0, 0.3])))
    >>> oracle = Oracle.from_sample(pool.at(c1=0.0), "c1", np.linspace(-1, 1, 21), degree=2)
    >>> toys = Toys(pool, n_events=100, seed=1)
    >>> belt = neyman([toys.run([oracle], c, 200)["oracle"] for c in (-0.3, 0.0, 0.3)])
    >>> belt.upper.shape
    (3, 2)
    """
    levels = levels_of(cl)
    pool_ids = tuple(e.pool_id for e in ensembles)
    if calibration is not None:
        ensembles = [calibrated_toys(calibration, e) for e in ensembles]
        pool_ids += calibration.pool_ids
    points, allowed = true_points(ensembles, ordering, bounds)
    if len(np.unique(points, axis=0)) < len(points):
        msg = f"a true point comes twice among {points.tolist()}; join its toys with + first"
        raise CalibrationError(msg)
    first = ensembles[0]
    ends = np.array([accepted_ends(e, levels, ordering, allowed) for e in ensembles])
    lower, lower_error, upper, upper_error = np.moveaxis(ends, 2, 0)
    belt = Belt(
        tag=first.tag,
        parameters=tuple(first.point),
        ordering=ordering,
        points=points,
        cl=levels,
        lower=lower,
        lower_error=lower_error,
        upper=upper,
        upper_error=upper_error,
        bounds=allowed,
        smooth=smooth,
        n_events=float(first.n_events),
        extended=first.extended,
        n_toys=tuple(e.n_toys for e in ensembles),
        pool_ids=pool_ids,
        calibration=calibration,
    )
    # Curves that cannot be made should not wait for the first dataset.
    for level in levels:
        _ = belt.critical(level) if ordering == "likelihood-ratio" else belt.acceptance(level)
    return belt
