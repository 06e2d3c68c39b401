"""Compute the cross-section of VBF H → WW* after the selection, with nuisance parameters.

For a simulated sample, the yield after a selection is a step function of an energy scale.
Therefore a polynomial is fitted to the yields of a large sample on a grid of scales.  At each point
of the grid, the dependence on the theory weight and on c_HW is known exactly for each event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from milinfer.datasets import vbf_hww
from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.vbf_hww_systematics import (
    LIMIT,
    NUISANCES,
    nuisance_values,
    scales,
    selected,
    theory_exponent,
    visible,
)
from milinfer.exceptions import SampleError
from milinfer.samples.reweighting import bennett
from milinfer.typing import FloatArray, Point
from milinfer.utils.polynomials import PolynomialBasis

__all__ = ["SelectedCrossSection"]

_DEGREE = 4
_NODES = 7, 5, 5  # of each nuisance parameter
_BATCHES = 25
_POWERS = np.arange(5.0)


@dataclass(frozen=True, eq=False)
class SelectedCrossSection:
    r"""Cross-section σ(c_HW, α) after the selection, as a function of c_HW and nuisance parameters.

    .. math:: \sigma = \sigma_0 \sum_{j=0}^4 c_{HW}^j\,P_j(\alpha)

    with polynomials :math:`P_j` of degree 4 in the three nuisance parameters α.

    Parameters
    ----------
    scale
        Cross-section σ_0 at c_HW = 0 before the selection, in pb.
    coefficients
        Coefficients of the polynomials P_j in monomials of α/4, shape (n_monomials, 5).
    batches
        The same coefficients, computed from disjoint parts of the events, shape
        (n_batches, n_monomials, 5).  Their scatter gives the statistical error.
    largest
        Largest absolute value of c_HW among the samples.

    Examples
    --------
    >>> cross_section = SelectedCrossSection.simulate(10_000, seed=1)
    >>> nominal = cross_section.value(0.0)
    >>> 0.4 < nominal / cross_section.scale < 0.6
    True
    >>> cross_section.value(0.0, {"jet_scale": 1.0}) > nominal
    True
    """

    scale: float
    coefficients: FloatArray
    batches: FloatArray
    largest: float

    @classmethod
    def simulate(
        cls,
        n_events: int,
        values: Sequence[float] = (-1.0, 0.0, 1.0),
        *,
        seed: int,
        workers: int = 1,
    ) -> SelectedCrossSection:
        """Simulate `n_events` events at each of the values of c_HW, and fit the cross-section."""
        seeds = np.random.SeedSequence(seed).generate_state(len(values))
        return cls.from_events(
            [
                vbf_hww.generate(n_events, {vbf_hww.PARAMETER: v}, seed=int(s), workers=workers)
                for v, s in zip(values, seeds, strict=True)
            ]
        )

    @classmethod
    def from_events(cls, samples: Sequence[GeneratedEvents]) -> SelectedCrossSection:
        """Fit the cross-section to generated events before any selection.

        Parameters
        ----------
        samples
            Events of :func:`milinfer.datasets.vbf_hww.generate` at different values of c_HW.  Every
            event is reweighted to all values.

        Raises
        ------
        SampleError
            If there are too few events, or if their operators are not c_HW alone.
        """
        for events in samples:
            if events.operators != (vbf_hww.PARAMETER,):
                msg = (
                    f"these {events.process} events have "
                    f"{', '.join(events.operators) or 'no operator'}, but the cross-section is a "
                    f"function of {vbf_hww.PARAMETER} alone; give events with this operator"
                )
                raise SampleError(msg)
        n = sum(len(s) for s in samples)
        if n < 40 * _BATCHES:
            msg = f"{n} events are too few for the cross-section; give at least {40 * _BATCHES}"
            raise SampleError(msg)
        seen = np.concatenate([visible(s) for s in samples])
        polynomials = np.concatenate([s.coefficients for s in samples])
        points = np.array([s.point[vbf_hww.PARAMETER] for s in samples])
        ratios = polynomials @ (points[:, None] ** _POWERS).T
        shares = np.array([len(s) / n for s in samples])
        weights = np.full(n, 1 / n)
        total = bennett(ratios, weights, polynomials, shares)
        at_points = points[:, None] ** _POWERS @ total
        weights /= (ratios / at_points) @ shares
        weights /= weights @ polynomials[:, 0]
        # The unweighted mean, because the errors of the generator's cross-sections are similar.
        scale = float(np.mean([s.cross_section for s in samples] / at_points))
        return cls._fitted(
            seen, polynomials * weights[:, None], scale, float(np.abs(points).max(initial=0.0))
        )

    @classmethod
    def _fitted(
        cls, seen: FloatArray, weighted: FloatArray, scale: float, largest: float
    ) -> SelectedCrossSection:
        jet, lepton, theory = (LIMIT * np.cos(np.pi * (np.arange(k) + 0.5) / k) for k in _NODES)
        # Random parts of equal size, though the events are ordered by sample.
        batch = np.arange(len(seen)) % _BATCHES
        growth = np.exp(theory_exponent(seen)[:, None] * theory)
        yields, rows = [], []
        for jet_scale in jet:
            for lepton_scale in lepton:
                factor = scales({"jet_scale": jet_scale, "lepton_scale": lepton_scale})
                # Leptons come first.
                chosen = selected(seen * np.repeat(factor[::-1], 2)[:, None])
                parts = [np.flatnonzero(chosen & (batch == k)) for k in range(_BATCHES)]
                sums = np.stack([growth[part].T @ weighted[part] for part in parts])
                yields.append(sums)
                rows += [(jet_scale, lepton_scale, t) for t in theory]
        values = np.stack(yields, axis=1).reshape(_BATCHES, len(rows), len(_POWERS))
        design = PolynomialBasis(NUISANCES, _DEGREE).design(np.array(rows) / LIMIT)
        batches = np.linalg.pinv(design) @ values
        return cls(scale, batches.sum(axis=0), batches * _BATCHES, largest)

    @cached_property
    def _basis(self) -> PolynomialBasis:
        return PolynomialBasis(NUISANCES, _DEGREE)

    def value(self, c_hw: float, nuisances: Point | None = None) -> float:
        """Return the cross-section in pb."""
        alpha = np.array(list(nuisance_values(nuisances).values()))
        return float(self._rows(alpha) @ self.coefficients @ float(c_hw) ** _POWERS) * self.scale

    def value_and_gradient(self, point: FloatArray) -> tuple[float, FloatArray]:
        """Return the cross-section in pb, and its derivatives with respect to c_HW and α."""
        c, alpha = point[0], point[1:]
        powers = c**_POWERS
        slopes = np.concatenate([[0.0], _POWERS[1:] * c ** _POWERS[:-1]])
        of_c = self._rows(alpha) @ self.coefficients
        of_alpha = self._basis.design_gradient(alpha / LIMIT) @ self.coefficients / LIMIT
        gradient = np.concatenate([[of_c @ slopes], of_alpha @ powers])
        return float(of_c @ powers) * self.scale, gradient * self.scale

    def relative_error(self, c_hw: float, nuisances: Point | None = None) -> float:
        """Return the relative error of the ratio σ(c_HW, α)/σ(0, 0)."""
        alpha = np.array(list(nuisance_values(nuisances).values()))
        at = self._rows(alpha) @ self.batches @ float(c_hw) ** _POWERS
        nominal = self._rows(0 * alpha) @ self.batches @ 0.0**_POWERS
        mean = at.mean() / nominal.mean()
        # To first order, which does not divide by the small yield of a batch.
        residual = (at - mean * nominal) / at.mean()
        return float(residual.std(ddof=1) / np.sqrt(len(residual)))

    def _rows(self, alpha: FloatArray) -> FloatArray:
        rows: FloatArray = self._basis.design(alpha / LIMIT)[0]
        return rows
