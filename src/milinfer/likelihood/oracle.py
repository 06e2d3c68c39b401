"""The oracle: the exact joint likelihood ratio of a simulation, used as an estimator.

The weights of an event at other parameter points determine its squared amplitude ``|M(θ)|²``, a
polynomial in θ.  The ratio ``|M(θ)|²/|M(θ0)|²``, divided by the ratio of the cross-sections at θ
and θ0, is the exact ``p(x|θ)/p(x|θ0)`` at parton level.  No learned estimator can be better on the
same pseudo-experiments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import ParameterError, SampleError
from milinfer.likelihood.cost import LikelihoodCost, dataset_cost
from milinfer.likelihood.linear_terms import Terms, linear_cost, require_terms
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.models import EventModel
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.reweighting import joint_density, reweight_polynomial
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import mixture_shares
from milinfer.typing import FloatArray
from milinfer.utils.display import brief
from milinfer.utils.points import format_point
from milinfer.utils.polynomials import PolynomialBasis

__all__ = ["Oracle", "reweight_coefficients"]


def reweight_coefficients(
    sample: Sample, parameter: str | Sequence[str], degree: int = 4
) -> FloatArray:
    """Fit a polynomial in the parameters to the weights of each event at other parameter points.

    Parameters
    ----------
    sample
        Events with weights at enough parameter points to determine the coefficients of the
        polynomial: at least ``degree + 1`` in one parameter.
    parameter
        Name of the parameter, or names of several parameters.
    degree
        Degree of the polynomial: 2 if the operator enters the production or the decay, 4 if it
        enters both.

    Returns
    -------
    ndarray
        Coefficients, shape (n_events, degree + 1), lowest power first.  In several parameters they
        have the order of :class:`milinfer.utils.polynomials.PolynomialBasis`.

    Raises
    ------
    SampleError
        If there are too few weights, or the weights are not a polynomial of this degree.

    Examples
    --------
    >>> import numpy as np
    >>> c = np.array([0.0, 1.0, 2.0])
    >>> sample = Sample(np.zeros((1, 1)), ("x",), point={"c": 0.0},
    ...                 reweights={f"w{k}": np.array([(1 + k) ** 2.0]) for k in (0, 1, 2)},
    ...                 reweight_points={f"w{k}": {"c": float(k)} for k in (0, 1, 2)})
    >>> reweight_coefficients(sample, "c", degree=2).round(12)
    array([[1., 2., 1.]])
    """
    return reweight_polynomial(sample, PolynomialBasis(_names(parameter), degree))


def _names(parameter: str | Sequence[str]) -> tuple[str, ...]:
    return (parameter,) if isinstance(parameter, str) else tuple(parameter)


@dataclass(frozen=True, eq=False)
class Oracle(EventModel):
    """Compute the exact log-likelihood ratio of events from their weights at other points.

    The weights of each event must be a polynomial in the parameters.

    Parameters
    ----------
    parameter
        Name of the parameter, or names of several parameters.
    interpolation
        Parameter points at which Λ is evaluated; a box for several parameters.
    total
        Coefficients of the polynomial of the total weight, shape (n_coefficients,), which
        normalises the ratio.
    reference
        Reference point θ0: one number for all parameters, or one number for each.

    Examples
    --------
    This example has two operators at parton level:

    >>> from milinfer.datasets import quadratic
    >>> names = ("c1", "c2")
    >>> point = dict.fromkeys(names, 0.0)
    >>> sample = quadratic.generate(500, point, seed=1)
    >>> box = ChebyshevBox(-np.ones(2), np.ones(2))
    >>> oracle = Oracle.from_sample(sample, names, box, degree=2)
    >>> oracle.cost(sample).parameters
    ('c1', 'c2')
    """

    parameter: str | tuple[str, ...]
    interpolation: Interpolation | ChebyshevBox
    total: FloatArray
    reference: ArrayLike = 0.0

    def __post_init__(self) -> None:
        several = isinstance(self.interpolation, ChebyshevBox)
        n = self.interpolation.n_parameters if isinstance(self.interpolation, ChebyshevBox) else 1
        if n != len(self.parameters):
            remedy = "" if several else "; give a ChebyshevBox for several"
            msg = f"the points have {n} parameters, not {', '.join(self.parameters)}{remedy}"
            raise ParameterError(msg)
        if len(self._basis) != len(self.total):
            msg = (
                f"{len(self.total)} coefficients are not a polynomial in "
                f"{', '.join(self.parameters)}"
            )
            raise ParameterError(msg)

    def __repr__(self) -> str:
        return brief(self)

    @classmethod
    def from_sample(
        cls,
        sample: Sample | SampleSet,
        parameter: str | Sequence[str],
        grid: FloatArray | ChebyshevBox,
        *,
        degree: int = 4,
        reference: ArrayLike = 0.0,
    ) -> Oracle:
        """Build the oracle from a sample, which determines the cross-section as a function of θ.

        More events give a more precise normalisation.  Far from the point of a sample, few events
        have most of the weight.  With samples at several points, the normalisation is precise
        everywhere.

        Parameters
        ----------
        sample
            One sample, or several samples at different points.
        parameter
            Name of the parameter, or names of several parameters.
        grid
            Parameter points at which Λ is evaluated: an array, or a box for several parameters.
        degree
            Degree of the polynomial of the weights, as for :func:`reweight_coefficients`.
        reference
            Reference point θ0: one number for all parameters, or one number for each.

        Raises
        ------
        ParameterError
            If samples have other parameters, or `grid` does not fit the parameters.
        SampleError
            If events have too few weights.
        """
        names = _names(parameter)
        if isinstance(sample, SampleSet):
            if sample.parameters != names:
                msg = (
                    f"the samples have the parameters {', '.join(sample.parameters)}, not "
                    f"{', '.join(names)}; give their names as parameter="
                )
                raise ParameterError(msg)
            total = joint_density(
                sample, degree, shares=mixture_shares(s.weights for s in sample)
            ).total
        else:
            total = reweight_coefficients(sample, names, degree).sum(axis=0)
        points = grid if isinstance(grid, ChebyshevBox) else Interpolation(grid, "spline")
        return cls(names[0] if len(names) == 1 else names, points, total, reference)

    @property
    def name(self) -> str:
        """Name of the method."""
        return "oracle"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return _names(self.parameter)

    @cached_property
    def _basis(self) -> PolynomialBasis:
        """Monomials of the polynomials."""
        bases = (PolynomialBasis(self.parameters, degree) for degree in count())
        return next(basis for basis in bases if len(basis) >= len(self.total))

    @cached_property
    def _points(self) -> FloatArray:
        """Points of the grid, and θ0 as the last, shape (K + 1, n_parameters)."""
        n = len(self.parameters)
        reference = np.broadcast_to(np.asarray(self.reference, dtype=np.float64), n)
        return np.concatenate([self.interpolation.grid.reshape(-1, n), reference[None]])

    def cost(self, data: Sample, *, terms: Terms = "all") -> LikelihoodCost:
        """Return the cost −2 ln L of a dataset, which contains only the shape of its distribution.

        Parameters
        ----------
        data
            Events of the dataset.
        terms
            ``"linear"``: keep only the terms that are linear in the parameters
            (:func:`milinfer.likelihood.linear_terms.linear_cost`); ``"all"``: keep also the
            quadratic and higher terms.
        """
        require_terms(terms)
        if terms == "linear":
            return linear_cost(self, data)
        return dataset_cost(self, data, reference=self.reference)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Return the exact ln p(x|θ_k)/p(x|θ0) of each event, shape (n_events, K).

        Raises
        ------
        SampleError
            If the weight of an event is not positive at some grid point.
        """
        coefficients = reweight_polynomial(sample, self._basis)
        design = self._basis.design(self._points)
        weights = coefficients @ design.T
        self._require_positive(sample, weights, self._points)
        llr = np.log(weights) - np.log(design @ self.total)
        relative: FloatArray = llr[:, :-1] - llr[:, -1:]
        return relative

    def log_polynomials(self, data: Sample) -> LogPolynomials:
        """Return Λ of a dataset as a function that is exact also between the grid points.

        Raises
        ------
        SampleError
            Under the same conditions as for :meth:`event_llr`.
        """
        coefficients = reweight_polynomial(data, self._basis)
        for point in self._points:
            # One point at a time, to save the memory of a table with a column for each point.
            weights = coefficients @ self._basis.design(point)[0]
            self._require_positive(data, weights[:, None], point[None])
        low, high = np.array(self.interpolation.limits).T
        return LogPolynomials(
            basis=self._basis,
            centre=np.zeros(len(low)),
            half=np.ones(len(low)),
            coefficients=np.concatenate([coefficients, self.total[None]]),
            weights=np.append(data.weights, -data.weights.sum()),
            low=low,
            high=high,
            reference=self._points[-1],
        )

    def _require_positive(self, sample: Sample, weights: FloatArray, points: FloatArray) -> None:
        """Raise unless the weights (n_events, K) at the points (K, n_parameters) are positive."""
        if np.all(weights > 0):
            return
        event, k = (int(i) for i in np.argwhere(~(weights > 0))[0])
        at = format_point(dict(zip(self.parameters, points[k].tolist(), strict=True)))
        msg = (
            f"{sample.label}: event {event} has weight {weights[event, k]:g} at {at}; the exact "
            "likelihood ratio needs positive weights"
        )
        raise SampleError(msg)
