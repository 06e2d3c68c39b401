"""Profiles by Minuit: values are exact, and a fit that fails is tried again with new steps."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit.cost import NormalConstraint

from milinfer.exceptions import FitError, ParameterError
from milinfer.likelihood.named_cost import NamedCost
from milinfer.likelihood.scans import profiled_costs, profiling_minuit

POINTS = np.linspace(-1, 3, 9)[:, None]


class Fragile(NamedCost):
    """(mu − nu)² + nu², which refuses to be called at mu = 1 as often as it is told to."""

    def __init__(self, refusals: int) -> None:
        super().__init__({"mu": (-5.0, 5.0), "nu": (-5.0, 5.0)}, 0)
        self.refusals = refusals

    def _errordef(self) -> float:
        return 1.0

    def _ndata(self) -> int:
        return 1

    def _has_grad(self) -> bool:
        return False

    def _grad(self, args) -> np.ndarray:  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def _value(self, args) -> float:  # type: ignore[no-untyped-def]
        mu, nu = args
        if mu == 1.0 and self.refusals:
            self.refusals -= 1
            msg = "nu = nan is outside"
            raise ParameterError(msg)
        return float((mu - nu) ** 2 + nu**2)


@pytest.mark.parametrize("first", [0, 4, 8])
def test_profiles_of_a_gaussian_are_exact(first: int) -> None:
    both = NormalConstraint(["mu", "nu"], [1.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
    m = profiling_minuit(both, ["mu"])
    costs = profiled_costs(m, ["mu"], POINTS, first, "both")
    np.testing.assert_allclose(costs, (POINTS[:, 0] - 1) ** 2, atol=1e-6)


def test_without_other_parameters_nothing_is_fitted() -> None:
    m = profiling_minuit(NormalConstraint("mu", 1.0, 0.5), ["mu"])
    costs = profiled_costs(m, ["mu"], POINTS, 2, "one")
    np.testing.assert_allclose(costs, 4 * (POINTS[:, 0] - 1) ** 2)


def test_a_fit_that_fails_is_tried_again() -> None:
    """Regression: of 2000 toys of a combination one ended all with a value that was no number."""
    m = profiling_minuit(Fragile(1), ["mu"])
    costs = profiled_costs(m, ["mu"], POINTS, 2, "fragile")
    np.testing.assert_allclose(costs, POINTS[:, 0] ** 2 / 2, atol=1e-6)
    m = profiling_minuit(Fragile(10**6), ["mu"])
    with pytest.raises(FitError, match=r"fragile.*'mu': 1\.0.*failed: nu = nan"):
        profiled_costs(m, ["mu"], POINTS, 2, "fragile")


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(ParameterError, match="nu is not a parameter"):
        profiling_minuit(NormalConstraint("mu", 1.0, 0.5), ["nu"])
