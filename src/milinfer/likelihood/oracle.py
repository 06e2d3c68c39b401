"""The oracle: the exact joint likelihood ratio of a simulation, used as an estimator.

Weights of the same events at other parameter points determine |M(θ)|², a polynomial in θ.  Its
ratio to the reference, over the ratio of cross-sections, is the exact ln p(x|θ)/p(x|θ0) of the
parton-level truth: the bound for learned estimators, on the same pseudo-experiments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from milinfer.exceptions import SampleError
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


def reweight_coefficients(sample: Sample, parameter: str, degree: int = 4) -> FloatArray:
    """Per-event polynomial of the weight in one parameter, from the sample's reweights.

    Parameters
    ----------
    sample
        Events with weights at ``degree + 1`` or more values of `parameter`.
    parameter
        Its name.
    degree
        Degree of the polynomial: 2 for one operator insertion in production or decay, 4 for both.

    Returns
    -------
    ndarray
        Shape (n_events, degree + 1), lowest power first.

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
    return reweight_polynomial(sample, PolynomialBasis((parameter,), degree))


@dataclass(frozen=True, eq=False)
class Oracle(EventModel):
    """Exact log-likelihood ratio of events that carry their reweighting polynomial.

    Parameters
    ----------
    parameter
        Name of the parameter, or names of several.
    interpolation
        Grid of values on which Λ is evaluated, or a box for several parameters.
    total
        Polynomial of the total weight, which normalises the ratio; shape (degree + 1,), or
        (n_coefficients,) in the order of :class:`~milinfer.utils.polynomials.PolynomialBasis`.
    reference
        θ0; one value, or one for each parameter.
    degree
        Degree of the polynomial; needed for several parameters.
    """

    parameter: str | tuple[str, ...]
    interpolation: Interpolation | ChebyshevBox
    total: FloatArray
    reference: float | tuple[float, ...] = 0.0
    degree: int | None = None

    def __repr__(self) -> str:
        return brief(self)

    @classmethod
    def from_sample(
        cls,
        sample: Sample | SampleSet,
        parameter: str | tuple[str, ...],
        grid: FloatArray | ChebyshevBox,
        *,
        degree: int = 4,
        reference: float | tuple[float, ...] = 0.0,
    ) -> Oracle:
        """Build the oracle; `sample` supplies the cross-section as a function of θ.

        The more events, the better the normalisation.  Far from the point of a sample few events
        carry the weight; give samples at several points for a precise one everywhere.  In several
        parameters give their names, and a box in place of a grid.
        """
        names = (parameter,) if isinstance(parameter, str) else tuple(parameter)
        if isinstance(sample, SampleSet):
            total = joint_density(
                sample, degree, shares=mixture_shares(s.weights for s in sample)
            ).total
        else:
            total = reweight_polynomial(sample, PolynomialBasis(names, degree)).sum(axis=0)
        interpolation = grid if isinstance(grid, ChebyshevBox) else Interpolation(grid, "spline")
        return cls(parameter, interpolation, total, reference, degree)

    @property
    def name(self) -> str:
        """Name of the method."""
        return "oracle"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return (self.parameter,) if isinstance(self.parameter, str) else self.parameter

    @property
    def basis(self) -> PolynomialBasis:
        """Monomials of the weight of an event."""
        degree = len(self.total) - 1 if self.degree is None else self.degree
        return PolynomialBasis(self.parameters, degree)

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
        coefficients = reweight_polynomial(sample, self.basis)
        points = self._points
        design = self._design(points)
        weights = coefficients @ design.T
        self._require_positive(sample, weights, points)
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
        coefficients = reweight_polynomial(data, self.basis)
        points = self._points
        for point in points:
            # One point at a time, to save the memory of a table with a column for each.
            weights = coefficients @ self._design(point[None])[0]
            self._require_positive(data, weights[:, None], point[None])
        low, high = np.array(self.interpolation.limits).T
        n = len(self.parameters)
        return LogPolynomials(
            basis=self.basis,
            centre=np.zeros(n),
            half=np.ones(n),
            coefficients=np.concatenate([coefficients, self.total[None]]),
            weights=np.append(data.weights, -data.weights.sum()),
            low=low,
            high=high,
            reference=points[-1],
        )

    @property
    def _points(self) -> FloatArray:
        """Points of the grid and, last, θ0: (K + 1, n_parameters)."""
        n = len(self.parameters)
        reference = np.broadcast_to(np.asarray(self.reference, dtype=np.float64), (1, n))
        return np.concatenate([np.reshape(self.interpolation.grid, (-1, n)), reference])

    def _design(self, points: FloatArray) -> FloatArray:
        """Monomials at points (m, n_parameters), shape (m, n_coefficients)."""
        if points.shape[1] > 1:
            return self.basis.design(points)
        powers = np.polynomial.polynomial.polyvander(points[:, 0], self.basis.degree)
        return np.asarray(powers, dtype=np.float64)

    def _require_positive(self, sample: Sample, weights: FloatArray, points: FloatArray) -> None:
        """Raise if a weight (n_events, K) at one of the points (K, P) is not positive."""
        if np.all(weights > 0):
            return
        event, k = (int(i) for i in np.argwhere(~(weights > 0))[0])
        place = format_point(dict(zip(self.parameters, points[k].tolist(), strict=True)))
        msg = (
            f"{sample.label}: event {event} has weight {weights[event, k]:g} at {place}; the exact "
            "likelihood ratio needs positive weights"
        )
        raise SampleError(msg)
