"""What several checks say together."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from milinfer.diagnostics.check_list import CheckList
from milinfer.diagnostics.checks import Check


@dataclass(frozen=True, eq=False, repr=False)
class Checks(CheckList):
    checks: tuple[Check, ...]
    title: str = "checks"


TWO_KINDS = (
    "deviation too small to matter: c (4.0σ), deviation that may matter: a (3.2σ), undecided: b"
)


def check(name, outcome, pull=0.5, threshold=3.0):
    return Check(name, outcome, "", "x", 0.1, 0.1, 0.0, pull, threshold, 0.3)


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ([check("a", "passed")], "nothing wrong found"),
        ([check("a", "passed"), check("b", "skipped", float("nan"))], "nothing wrong found"),
        ([check("a", "undecided")], "nothing wrong found, undecided: a"),
        ([check("a", "failed", 5.0), check("b", "undecided", 4.0)], "do not trust as it is: a"),
        # more than a fluctuation: something was found
        ([check("a", "passed", 3.4)], "deviation too small to matter: a (3.4σ)"),
        (
            [check("a", "undecided", 3.2), check("b", "undecided"), check("c", "passed", 4.0)],
            TWO_KINDS,
        ),
        # the threshold of a check with many looks is larger, and 3.4σ are named all the same
        (
            [check("a", "passed", 3.4, threshold=3.6)],
            "deviation that may be a fluctuation: a (3.4σ)",
        ),
        (
            [check("a", "undecided", 3.4, threshold=3.6), check("b", "passed", 2.9, threshold=3.6)],
            "deviation that may be a fluctuation: a (3.4σ), undecided: a",
        ),
    ],
)
def test_a_significant_deviation_is_not_nothing(checks, verdict):
    assert Checks(tuple(checks)).verdict == verdict
