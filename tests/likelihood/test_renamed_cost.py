"""A cost with other names is the same function, and so are its constraints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from iminuit import describe
from iminuit.cost import CostSum, NormalConstraint

import milinfer as mil
from milinfer.exceptions import ParameterError
from milinfer.likelihood.auxiliary import auxiliary_measurements, measuring, without_constraints
from milinfer.likelihood.fits import minuit
from milinfer.likelihood.renamed_cost import renamed

PUBLISHED = Path(__file__).parents[1] / "data" / "published1"


@pytest.fixture(scope="module")
def cost():
    return mil.load_published(PUBLISHED / "systematic_polynomials")


def test_values_and_slopes(cost):
    other = renamed(cost, {"trigger": "alpha"})
    assert list(describe(other)) == ["c1", "alpha"]
    assert describe(other, annotations=True)["c1"] == describe(cost, annotations=True)["c1"]
    for point in ((0.1, 0.5), (-0.4, -1.0)):
        assert other(*point) == cost(*point)
        np.testing.assert_array_equal(other.grad(*point), cost.grad(*point))
    assert other(c1=0.1, alpha=0.5) == cost(0.1, 0.5)


def test_constraints(cost):
    other = renamed(cost, {"trigger": "alpha"})
    assert other.constrained == ("alpha",)
    (measured,) = auxiliary_measurements(other).constraints
    assert measured == cost.constraints[0]._replace(name="alpha")
    shifted = measuring(other, {"alpha": 1.0})
    assert shifted(0.1, 0.5) == cost.measuring(trigger=1.0)(0.1, 0.5)
    free = without_constraints(other)
    assert free(0.1, 0.5) == cost.without_constraints(["trigger"])(0.1, 0.5)
    with pytest.raises(ParameterError, match="no constraint of trigger; it has those of alpha"):
        other.without_constraints(["trigger"])


def test_a_fit_begins_where_that_of_the_cost_does(cost):
    m, other = minuit(cost), minuit(renamed(cost, {"c1": "trigger", "trigger": "c1"}))
    assert list(other.values) == list(m.values)
    assert other.limits["trigger"] == m.limits["c1"]


def test_a_sum_stays_a_sum(cost):
    both = cost + NormalConstraint(["c1", "x"], [0.1, 0.2], [[1.0, 0.2], [0.2, 1.0]])
    other = renamed(both, {"c1": "c", "x": "y"})
    assert isinstance(other, CostSum)
    assert isinstance(other[1], NormalConstraint)
    assert list(describe(other)) == ["c", "trigger", "y"]
    assert other(0.1, 0.5, -0.3) == both(0.1, 0.5, -0.3)
    single = renamed(NormalConstraint("x", 1.0, 0.5), {"x": "y"})
    assert single(2.0) == pytest.approx(4.0)


def test_nothing_to_rename(cost):
    assert renamed(cost, {"c1": "c1"}) is cost
    with pytest.raises(ParameterError, match=r"no parameter tigger .*did you mean trigger"):
        renamed(cost, {"tigger": "x"})


@pytest.mark.parametrize(
    ("folder", "inseparable", "calibrated"),
    [
        ("systematic_polynomials", set(), False),
        ("widened_in_two_parameters", set(), True),
        ("simulation_error", set(), False),
        # Those of the workspace that were not left out.
        ("combined", {"norm", "poisson[1]", "stat[0]", "stat[1]"}, False),
    ],
)
def test_what_a_published_likelihood_contains(folder, inseparable, calibrated):
    published = mil.load_published(PUBLISHED / folder)
    assert set(published.inseparable) == inseparable
    assert published.calibrated is calibrated
