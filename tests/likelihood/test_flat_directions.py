"""Directions that data constrain, and those that are named because they do not."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit.cost import NormalConstraint

from milinfer.exceptions import ParameterError, TemplateError
from milinfer.likelihood.flat_directions import combination_text, directions

BOX = {"a": (-1.0, 1.0), "b": (-2.0, 2.0)}


class Bowl(NormalConstraint):
    """−2 ln L = (θ − best)ᵀ matrix (θ − best)."""

    def __init__(self, matrix, best=(0.0, 0.0), names=("a", "b"), wall=None):
        super().__init__(list(names), list(best), np.ones(len(names)))
        self.matrix, self.best, self.wall = np.array(matrix), np.array(best), wall

    def _value(self, args):
        if self.wall is not None and args[0] > self.wall:
            raise TemplateError("negative yield")
        x = np.array(args) - self.best
        return float(x @ self.matrix @ x)


def sum_only(a, b, strength=100.0):
    w = np.array([a, b])
    return strength * np.outer(w, w)


def test_a_degenerate_direction_is_named_in_the_units_of_the_parameters():
    """Only a + 0.8 b is measured; along (0.8, −1) nothing changes."""
    flat, steep = directions(Bowl(sum_only(1.0, 0.8)), {"a": 0.0, "b": 0.0}, ranges=BOX)
    assert flat.flat
    assert flat.open
    assert not steep.open
    # Nothing that is measured changes along the flat direction.
    assert flat.step @ [1.0, 0.8] == pytest.approx(0.0, abs=1e-6)
    # The two combinations change along one direction each.
    assert flat.coefficients @ steep.step == pytest.approx(0.0, abs=1e-6)
    assert steep.coefficients @ flat.step == pytest.approx(0.0, abs=1e-6)
    assert flat.involves("a")
    assert flat.involves("b")
    assert "the data do not constrain" in flat.sentence
    assert flat.combination in flat.sentence
    assert flat.curvature == pytest.approx(0.0, abs=1e-3)


def test_ends_of_a_constrained_direction_are_those_of_the_parabola():
    matrix = np.diag([1 / 0.1**2, 1 / 0.2**2])
    for d, name, sigma in zip(
        directions(Bowl(matrix, (0.3, -0.4)), {"a": 0.3, "b": -0.4}, ranges=BOX, cl=0.6827),
        ("a", "b"),
        (0.1, 0.2),
        strict=True,
    ):
        assert d.combination == name  # both are as wide as a tenth of the range: any order
        centre = {"a": 0.3, "b": -0.4}[name]
        assert (d.down, d.up) == pytest.approx((centre - sigma, centre + sigma), abs=1e-4)
        assert d.sentence.startswith(f"{name} = {centre:g}")


def test_a_wide_direction_is_open_on_the_side_where_the_range_ends():
    wide, _ = directions(Bowl(np.diag([100.0, 1.0]), (0.0, 1.5)), {"a": 0.0, "b": 1.5}, ranges=BOX)
    assert wide.down == pytest.approx(0.5, abs=1e-3)
    assert wide.up is None
    assert wide.open
    assert not wide.flat
    assert "b from above" in wide.sentence
    assert wide.ends[1]["b"] == pytest.approx(2.0)
    assert wide.rises[1] == pytest.approx(0.25, abs=1e-6)
    assert not wide.involves("a")


def test_a_likelihood_that_ends_constrains():
    """A yield below zero is an error of the cost, and no flat direction."""
    d, _ = directions(Bowl(np.diag([0.0, 100.0]), wall=0.5), {"a": 0.0, "b": 0.0}, ranges=BOX)
    assert d.combination == "a"
    assert d.down is None
    assert d.up == pytest.approx(0.5, abs=0.03)


def test_a_minimum_at_the_edge_of_the_range():
    (d,) = directions(Bowl([[4.0]], (1.0,), ("a",)), {"a": 1.0}, ranges=BOX)
    assert d.up is None
    assert d.down == pytest.approx(0.5, abs=1e-3)
    assert d.curvature == pytest.approx(8.0, rel=1e-3)


def test_three_parameters_with_two_flat_combinations():
    matrix = 50 * np.outer([1.0, 1.0, 0.0], [1.0, 1.0, 0.0])
    box = dict.fromkeys("abc", (-1.0, 1.0))
    found = directions(Bowl(matrix, (0, 0, 0), "abc"), dict.fromkeys("abc", 0.0), ranges=box)
    assert [d.flat for d in found] == [True, True, False]
    assert found[-1].combination == "a + b"


@pytest.mark.parametrize(
    ("point", "ranges", "message"),
    [
        ({"a": 0.0}, BOX, "is not a point in a, b"),
        ({"a": 0.0, "b": 0.0}, None, "a has no range"),
    ],
)
def test_what_cannot_be_looked_at(point, ranges, message):
    with pytest.raises(ParameterError, match=message):
        directions(Bowl(np.eye(2)), point, ranges=ranges)


def test_small_parts_of_a_combination_drop_out():
    assert combination_text(["a", "b", "c"], np.array([-1.0, 0.5, 1e-3])) == "−a + 0.5 b"
