"""The score of HiggsML, with numbers that the organisers' package has computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from milinfer.datasets import higgsml
from milinfer.exceptions import SampleError

REFERENCE = json.loads(Path(__file__).with_name("data").joinpath("reference.json").read_text())


@pytest.mark.parametrize("expected", REFERENCE["scores"], ids=lambda e: f"{e['n']}-{e['half']}")
def test_agrees_with_the_package(expected):
    estimates = 1 + np.random.default_rng(expected["seed"]).normal(size=expected["n"])
    low, high = estimates - expected["half"], estimates + expected["half"]
    result = higgsml.quantile_score(1.0, low, high)
    for name in ("width", "coverage", "score"):
        assert getattr(result, name) == pytest.approx(expected[name], rel=1e-12)
    assert result.n_experiments == expected["n"]


def test_reference_has_all_cases():
    """Coverages that are right, too low and too high."""
    penalties = [higgsml.coverage_penalty(e["coverage"], e["n"]) > 1 for e in REFERENCE["scores"]]
    assert penalties == [False, True, True, False]


@pytest.mark.parametrize(("coverage", "power"), [(0.6827 - 0.2, 4), (0.6827 + 0.2, 3)])
def test_penalty_by_hand(coverage, power):
    sigma = (0.6827 * 0.3173 / 400) ** 0.5
    assert higgsml.coverage_penalty(coverage, 400) == pytest.approx(1 + (0.2 / sigma - 2) ** power)
    edge = 0.6827 + (2 - 1e-9) * sigma * np.sign(coverage - 0.6827)
    assert higgsml.coverage_penalty(float(edge), 400) == 1


def test_refuses_intervals_that_are_none():
    with pytest.raises(SampleError, match="at least one interval"):
        higgsml.quantile_score(1.0, [], [])
    with pytest.raises(SampleError, match=r"truth has the shape \(2,\)"):
        higgsml.quantile_score([1.0, 2.0], [0.0], [1.0])
    with pytest.raises(SampleError, match="interval 1 or its true value is not finite"):
        higgsml.quantile_score(1.0, [0.0, np.nan], [1.0, 2.0])
