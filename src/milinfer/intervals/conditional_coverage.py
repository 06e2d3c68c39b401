"""Measure coverage as a function of a property of the dataset, and as a smooth function of θ.

Intervals can have the right coverage on average, but too much for some datasets and too little for
others.  :func:`conditional_coverage` measures the coverage in bins of a property of the dataset,
such as its number of events.  :func:`coverage_function` fits the coverage as a smooth function of
θ.  It needs toys at many true values, with one or more toys at each value, as in Dalmasso et al.,
arXiv:2107.03920 (LF2I).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy.special import expit, logit
from scipy.stats import binomtest, chi2

from milinfer.exceptions import CalibrationError, FitError, ParameterError
from milinfer.intervals.coverage import Asymptotic, IntervalMethod, require_other_events
from milinfer.toys.ensemble import ToyEnsemble, require_one_kind, truths
from milinfer.typing import FloatArray, IntArray
from milinfer.utils.confidence_levels import CL68, require_level
from milinfer.utils.display import brief, html_table
from milinfer.utils.polynomials import PolynomialBasis
from milinfer.utils.smooth_polynomials import SmoothPolynomial

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ConditionalCoverage", "CoverageFunction", "conditional_coverage", "coverage_function"]

By = Literal["curvature", "estimate", "events"]
_NEWTON_STEPS = 50
# Condition number of the information beyond which a logistic fit diverges.
_SINGULAR = 1e12


class ConditionalCoverage(NamedTuple):
    """Coverage in bins of a property of the dataset.

    Parameters
    ----------
    method, by, cl
        Name of the interval method, name of the property, and confidence level.
    edges
        Edges of the bins, shape (n_bins + 1,).
    centres
        Mean of the property in each bin, shape (n_bins,).
    coverage, low, high
        Coverage in each bin, and the lower and upper end of its 68.27 % interval (Clopper–Pearson),
        shape (n_bins,).
    n_toys
        Number of toys in each bin, shape (n_bins,).
    p_value
        p-value of the hypothesis that the coverage is the same in all bins.
    """

    method: str
    by: str
    cl: float
    edges: FloatArray
    centres: FloatArray
    coverage: FloatArray
    low: FloatArray
    high: FloatArray
    n_toys: FloatArray
    p_value: float

    def __repr__(self) -> str:
        return (
            f"ConditionalCoverage({self.method} by {self.by}, {len(self.centres)} bins, "
            f"p = {self.p_value:.2g})"
        )

    def _repr_html_(self) -> str:
        rows = [
            [
                f"[{r['low_edge']:.4g}, {r['high_edge']:.4g})",
                f"{r['n_toys']:.0f}",
                f"{r['coverage']:.2%}",
                f"[{r['low']:.2%}, {r['high']:.2%}]",
            ]
            for r in self.to_table().to_pylist()
        ]
        title = (
            f"Coverage of {self.method} at {self.cl:.2%}, p = {self.p_value:.2g} for equal "
            "coverage in all bins"
        )
        return html_table((self.by, "toys", "coverage", "68.27 % interval"), rows, title=title)

    def to_table(self) -> pa.Table:
        """Return an Arrow table with one row for each bin.

        Columns: ``low_edge``, ``high_edge``, ``centre``, ``coverage``, ``low``, ``high``,
        ``n_toys``.
        """
        import pyarrow as pa

        return pa.table(
            {
                "low_edge": self.edges[:-1],
                "high_edge": self.edges[1:],
                "centre": self.centres,
                "coverage": self.coverage,
                "low": self.low,
                "high": self.high,
                "n_toys": self.n_toys,
            }
        )


class CoverageFunction(NamedTuple):
    """Coverage as a smooth function of θ, from a logistic fit.

    Parameters
    ----------
    logit
        Fitted polynomial in θ for ln[p/(1 − p)], where p is the coverage.
    cl
        Claimed confidence level.
    """

    logit: SmoothPolynomial
    cl: float

    def __repr__(self) -> str:
        return brief(self)

    def at(self, theta: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the coverage at points θ, and the lower and upper end of its 68.27 % band.

        `theta` has the shape (m, n_parameters).
        """
        centre, error = self.logit(theta), self.logit.error(theta)
        return expit(centre), expit(centre - error), expit(centre + error)


def conditional_coverage(
    ensembles: Sequence[ToyEnsemble],
    method: IntervalMethod | None = None,
    cl: float = CL68,
    *,
    by: By | Callable[[ToyEnsemble], FloatArray] = "curvature",
    n_bins: int = 5,
    name: str = "",
) -> ConditionalCoverage:
    """Measure the coverage of intervals in bins of a property of the dataset.

    Parameters
    ----------
    ensembles
        Toys of one model.  Their simulated events must not have been used to calibrate the method.
    method
        Calibration or belt that makes the intervals; None: asymptotic intervals (Wilks).
    cl
        Confidence level.
    by
        Property: ``"curvature"``, the curvature of Λ at its maximum (the claimed precision);
        ``"estimate"``, the estimate minus the true value; ``"events"``, the number of events; or a
        function that takes one of the `ensembles` and returns one number for each toy.  With
        several parameters, it must be ``"events"`` or a function.
    n_bins
        Number of bins.  All bins contain about the same number of toys.
    name
        Name of the method in the result.

    Raises
    ------
    CalibrationError
        If simulated events of the toys were used to calibrate the method, or the property is the
        same for all toys.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> model = gaussian.MeanModel()
    >>> toys = Toys(gaussian.samples(100_000, [0.0], seed=1), 100, seed=2, poisson=True)
    >>> conditional = conditional_coverage([toys.run([model], 0.0, 2000)["mean"]], by="events")
    >>> conditional.p_value > 0.001
    True
    """
    require_level(cl)
    require_one_kind(ensembles)
    interval_method = Asymptotic() if method is None else method
    inside, values = [], []
    for e in ensembles:
        require_other_events(e, interval_method.pool_ids, name or "conditional coverage")
        inside.append(interval_method.contains_truth(e, cl))
        values.append(_property(e, by))
    covered, value = np.concatenate(inside), np.concatenate(values)
    edges = np.unique(np.quantile(value, np.linspace(0, 1, n_bins + 1)))
    label = by if isinstance(by, str) else getattr(by, "__name__", type(by).__name__)
    if len(edges) < 3:
        msg = f"all toys have nearly the same {label} ({edges[0]:g}); bin by another quantity"
        raise CalibrationError(msg)
    index, n = _bin_counts(value, edges)
    if np.any(n == 0):
        # Quantiles between two whole numbers make bins that are empty.
        edges = np.append(edges[:-1][n > 0], edges[-1])
        index, n = _bin_counts(value, edges)
    k = np.bincount(index, covered, len(edges) - 1)
    bounds = [
        binomtest(int(a), int(b)).proportion_ci(CL68, method="exact")
        for a, b in zip(k, n, strict=True)
    ]
    p = covered.mean()
    deviation = float(np.sum((k - n * p) ** 2 / (n * max(p * (1 - p), 1e-12))))
    return ConditionalCoverage(
        method=name,
        by=label,
        cl=cl,
        edges=edges,
        centres=np.bincount(index, value, len(edges) - 1) / n,
        coverage=k / n,
        low=np.array([b.low for b in bounds]),
        high=np.array([b.high for b in bounds]),
        n_toys=n,
        p_value=float(chi2.sf(deviation, len(n) - 1)),
    )


def _bin_counts(value: FloatArray, edges: FloatArray) -> tuple[IntArray, FloatArray]:
    """Bin of each value (the last bin contains its upper edge), and the content of each bin."""
    index = np.clip(np.searchsorted(edges, value, side="right") - 1, 0, len(edges) - 2)
    return index, np.bincount(index, minlength=len(edges) - 1).astype(np.float64)


def _property(e: ToyEnsemble, by: By | Callable[[ToyEnsemble], FloatArray]) -> FloatArray:
    if callable(by):
        return np.asarray(by(e), dtype=np.float64)
    if by == "events":
        return np.asarray(e.counts, dtype=np.float64)
    if by == "estimate":
        return e.theta_hat - e.truth
    if len(e.point) > 1:
        msg = (
            f"by='curvature' needs one parameter, not {', '.join(e.point)}; give a function of the "
            "ensemble, such as lambda e: np.linalg.det(e.extremum.curvature)"
        )
        raise ParameterError(msg)
    return e.extremum.curvature


def coverage_function(
    ensembles: Sequence[ToyEnsemble],
    method: IntervalMethod | None = None,
    cl: float = CL68,
    *,
    degree: int = 2,
) -> CoverageFunction:
    """Fit the coverage as a function of θ, by logistic regression on the toys of all true values.

    Parameters
    ----------
    ensembles
        Toys of one model at many true values; a few toys at each value are enough.
    method, cl
        See :func:`conditional_coverage`.
    degree
        Degree of the polynomial in θ that describes ln[p/(1 − p)], where p is the coverage.

    Raises
    ------
    CalibrationError
        If the events of the toys were used to calibrate the method.
    FitError
        If all intervals contain the true value, if no interval contains it, or if there are too few
        true values for the polynomial.

    Examples
    --------
    See ``tests/intervals/test_conditional_coverage.py`` for toys whose coverage is a known function
    of θ.
    """
    require_level(cl)
    require_one_kind(ensembles)
    interval_method = Asymptotic() if method is None else method
    for e in ensembles:
        require_other_events(e, interval_method.pool_ids, "coverage function")
    points = truths(ensembles)
    n = np.array([float(e.n_toys) for e in ensembles])
    k = np.array([float(interval_method.contains_truth(e, cl).sum()) for e in ensembles])
    names = tuple(ensembles[0].point)
    basis = PolynomialBasis(names, degree)
    zero = SmoothPolynomial.zero(basis, points)
    design = zero.terms(points)
    share = float(k.sum() / n.sum())
    if not 0 < share < 1 or np.linalg.matrix_rank(design) < len(basis):
        distinct = len(np.unique(points, axis=0))
        msg = (
            f"{k.sum():.0f} of {n.sum():.0f} toys at {distinct} true values contain the truth, "
            f"too few for a polynomial of degree {degree}; generate toys at more true values"
        )
        raise FitError(msg)
    coefficients = np.zeros(len(basis))
    coefficients[0] = logit(share)
    for _ in range(_NEWTON_STEPS):
        p = expit(design @ coefficients)
        information = design.T @ (design * (n * p * (1 - p))[:, None])
        if np.linalg.cond(information) > _SINGULAR:
            msg = (
                f"{k.astype(int).tolist()} of {n.astype(int).tolist()} toys contain the truth at "
                f"the true values: a polynomial of degree {degree} would need infinite "
                "coefficients; generate more toys, or lower the degree"
            )
            raise FitError(msg)
        step = np.linalg.solve(information, design.T @ (k - n * p))
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-10:
            break
    else:
        msg = f"the logistic fit of the coverage did not converge at degree {degree}; lower it"
        raise FitError(msg)
    p = expit(design @ coefficients)
    deviation = float(np.sum((k - n * p) ** 2 / (n * p * (1 - p))))
    polynomial = replace(
        zero,
        coefficients=coefficients,
        covariance=np.asarray(np.linalg.inv(information), dtype=np.float64),
        chi2=deviation,
        ndf=len(points) - len(basis),
    )
    return CoverageFunction(polynomial, cl)
