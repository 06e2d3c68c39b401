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
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.models import EventModel
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.reweighting import joint_density, reweight_polynomial
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import mixture_shares
from milinfer.typing import FloatArray
from milinfer.utils.display import brief
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
        Name of the parameter.
    interpolation
        Grid of values on which Λ is evaluated.
    total
        Polynomial of the total weight, shape (degree + 1,), which normalises the ratio.
    reference
        θ0.
    """

    parameter: str
    interpolation: Interpolation
    total: FloatArray
    reference: float = 0.0

    def __repr__(self) -> str:
        return brief(self)

    @classmethod
    def from_sample(
        cls,
        sample: Sample | SampleSet,
        parameter: str,
        grid: FloatArray,
        *,
        degree: int = 4,
        reference: float = 0.0,
    ) -> Oracle:
        """Build the oracle; `sample` supplies the cross-section as a function of θ.

        The more events, the better the normalisation.  Far from the point of a sample few events
        carry the weight; give samples at several points for a precise one everywhere.
        """
        if isinstance(sample, SampleSet):
            total = joint_density(
                sample, degree, shares=mixture_shares(s.weights for s in sample)
            ).total
        else:
            total = reweight_coefficients(sample, parameter, degree).sum(axis=0)
        return cls(parameter, Interpolation(grid, "spline"), total, reference)

    @property
    def name(self) -> str:
        """Name of the method."""
        return "oracle"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name of the parameter, as a tuple."""
        return (self.parameter,)

    def cost(self, data: Sample) -> LikelihoodCost:
        """Cost −2 ln L of a dataset (shape term)."""
        return dataset_cost(self, data, reference=self.reference)

    def event_llr(self, sample: Sample) -> FloatArray:
        """Exact ln p(x|θ_k)/p(x|θ0), shape (n_events, K).

        Raises
        ------
        SampleError
            If the weight of an event is not positive at some grid point.
        """
        coefficients = reweight_coefficients(sample, self.parameter, len(self.total) - 1)
        grid = np.append(self.interpolation.grid, self.reference)
        vander = np.polynomial.polynomial.polyvander(grid, len(self.total) - 1)
        weights = coefficients @ vander.T
        self._require_positive(sample, weights, grid)
        llr = np.log(weights) - np.log(vander @ self.total)
        relative: FloatArray = llr[:, :-1] - llr[:, -1:]
        return relative

    def log_polynomials(self, data: Sample) -> LogPolynomials:
        """Λ of a dataset, exact between the grid points too.

        Raises
        ------
        SampleError
            As for :meth:`event_llr`.
        """
        coefficients = reweight_coefficients(data, self.parameter, len(self.total) - 1)
        for x in np.append(self.interpolation.grid, self.reference):
            # One point at a time, to save the memory of a table with a column for each.
            weights = np.polynomial.polynomial.polyval(x, coefficients.T)
            self._require_positive(data, weights[:, None], np.array([x]))
        low, high = (np.array([end]) for end in self.interpolation.range)
        return LogPolynomials(
            basis=PolynomialBasis(self.parameters, len(self.total) - 1),
            centre=np.zeros(1),
            half=np.ones(1),
            coefficients=np.concatenate([coefficients, self.total[None]]),
            weights=np.append(data.weights, -data.weights.sum()),
            low=low,
            high=high,
            reference=np.array([self.reference]),
        )

    def _require_positive(self, sample: Sample, weights: FloatArray, grid: FloatArray) -> None:
        """Raise if a weight (n_events, K) at one of the points (K,) is not positive."""
        if np.all(weights > 0):
            return
        event, k = (int(i) for i in np.argwhere(~(weights > 0))[0])
        msg = (
            f"{sample.label}: event {event} has weight {weights[event, k]:g} at "
            f"{self.parameter} = {grid[k]:g}; the exact likelihood ratio needs positive weights"
        )
        raise SampleError(msg)
