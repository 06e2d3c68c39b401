"""Polynomial histograms of random numbers, for the tests of what makes and takes them."""

from __future__ import annotations

import hist
import numpy as np
from hypothesis import strategies as st

from milinfer.binned.polynomial_histogram import PolynomialHistogram

QUADRATIC = ("1", "a", "b", "a^2", "a*b", "b^2")
QUARTIC = ("1", "a", "a^2", "a^3", "a^4")


def random_histogram(
    seed: int,
    monomials: tuple[str, ...] = QUADRATIC,
    *axes: object,
    known: bool = True,
    positive: bool = False,
) -> PolynomialHistogram:
    """Coefficients of both signs, with the covariance of ten events in each bin.

    With `positive` the constant is so large that bins are positive up to parameters of one.
    """
    rng = np.random.default_rng(seed)
    used = axes or (hist.axis.Variable([0, 1, 3, 7, 9], name="x", label="x [GeV]", flow=False),)
    shape = tuple(a.extent for a in used)
    events = rng.normal(size=(10, len(monomials), *shape))
    if positive:
        events[:, 0] += 8.0 * len(monomials)
    covariance = np.einsum("ni...,nj...->ij...", events, events) if known else None
    return PolynomialHistogram.of_arrays(monomials, used, events.sum(axis=0), covariance)


def observables(*, flow: bool) -> tuple[object, ...]:
    """A binned observable and a category."""
    return (
        hist.axis.Regular(6, 0.0, 3.0, name="x", flow=flow),
        hist.axis.StrCategory(["ee", "mm", "em"], name="lepton", overflow=False),
    )


points = st.fixed_dictionaries({n: st.floats(-2.0, 2.0, allow_subnormal=False) for n in "ab"})
seeds = st.integers(0, 2**32 - 1)
