"""The oracle: the exact joint likelihood ratio of a simulation, used as an estimator.

Weights of the same events at other parameter points determine |M(θ)|², a polynomial in θ.  Its
ratio to the reference, over the ratio of cross-sections, is the exact ln p(x|θ)/p(x|θ0) of the
parton-level truth: the bound for learned estimators, on the same pseudo-experiments.
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
    """Per-event polynomial of the weight in the parameters, from the sample's reweights.

    Parameters
    ----------
    sample
        Events with weights at as many values of the parameters as the polynomial has coefficients,
        or more: ``degree + 1`` in one parameter.
    parameter
        Its name, or several.
    degree
        Degree of the polynomial: 2 for one operator insertion in production or decay, 4 for both.

    Returns
    -------
    ndarray
        Shape (n_events, degree + 1), lowest power first; in several parameters in the order of
        :class:`milinfer.utils.polynomials.PolynomialBasis`.

    Raises
    ------
    SampleError
        If there are too few weights, or the weights are not such a polynomial.

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
    """Exact log-likelihood ratio of events that carry their reweighting polynomial.

    Parameters
    ----------
    parameter
        Name of the parameter, or names.
    interpolation
        Grid of values on which Λ is evaluated; a box for several parameters.
    total
        Polynomial of the total weight, shape (n_coefficients,), which normalises the ratio.
    reference
        θ0; one value, or one for each parameter.

    Examples
    --------
    Two operators at parton level:

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
        """Build the oracle; `sample` supplies the cross-section as a function of θ.

        The more events, the better the normalisation.  Far from the point of a sample few events
        carry the weight; give samples at several points for a precise one everywhere.

        Raises
        ------
        ParameterError
            If samples have other parameters, or the points are not of the parameters.
        SampleError
            If weights are missing.
        """
        names = _names(parameter)
        if isinstance(sample, SampleSet):
            if sample.parameters != names:
                msg = f"the samples have {', '.join(sample.parameters)}, not {', '.join(names)}"
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
        """Cost −2 ln L of a dataset (shape term).

        Parameters
        ----------
        data
            The dataset.
        terms
            ``"linear"``: the interference alone, without squared coefficients
            (:func:`milinfer.likelihood.linear_terms.linear_cost`).
        """
        require_terms(terms)
        if terms == "linear":
            return linear_cost(self, data)
        return dataset_cost(self, data, reference=self.reference)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Exact ln p(x|θ_k)/p(x|θ0), shape (n_events, K).

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
        """Λ of a dataset, exact between the grid points too.

        Raises
        ------
        SampleError
            As for :meth:`event_llr`.
        """
        coefficients = reweight_polynomial(data, self._basis)
        for point in self._points:
            # One point at a time, to save the memory of a table with a column for each.
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
