"""What the page on bag sizes has of the paper's tables is what the paper has there."""

from __future__ import annotations

import numpy as np
import pytest

from milinfer.likelihood.surface import Interpolation, parabola_error
from studies.bags_of_events.bag_size_page import (
    PAPER,
    bag_size_tables,
    extrapolation,
    mse_of_llr,
    roughness,
)
from studies.bags_of_events.bag_size_settings import AUTHORS
from studies.common import frame


@pytest.fixture(scope="module")
def results():
    return frame.committed("bag_size")["results"]


def test_information_after_calibration_is_a_curvature_times_a_constant():
    """Of all 18 rows, to the digits that the paper has; so it is not a variance of estimates."""
    for rows in PAPER.values():
        for n, (c, _, before, after, *_) in rows.items():
            assert after == pytest.approx(c * before, rel=1e-3 + 0.05 / before), n


def test_the_mse_is_that_of_the_log_ratio_as_the_authors_code_has_it():
    """Regression: that of −2Λ, four times as large, stood beside the paper's."""
    grid = np.round(np.linspace(-1, 1, 21), 1)
    fit = Interpolation(grid, "parabola", window=0.4)
    llr = -60 * (grid - 0.13) ** 2 + np.random.default_rng(1).normal(0, 1, 21)
    highest = int(np.argmax(llr))
    near = slice(highest - 4, highest + 5)
    own = np.polyval(np.polyfit(grid[near], llr[near], 2), grid[near])
    expected = np.mean((llr[near] - own) ** 2)
    assert mse_of_llr(parabola_error(fit, llr[None])[0]) == pytest.approx(expected)


def test_constants_of_logits_predict_the_mse_of_the_paper(results):
    rows = [r for r in results["rows"] if r["family"] == "multi-class"]
    found = roughness(rows, results["size"])
    ratios = {n: theirs / alone for n, theirs, alone, *_ in found}
    assert ratios == {
        n: pytest.approx(ratio, abs=0.006)
        for n, ratio in zip(
            (1, 10, 20, 25, 50, 100, 125, 200, 250),
            (1.55, 0.70, 1.21, 2.04, 1.39, 1.34, 1.20, 1.15, 0.96),
            strict=True,
        )
    }


def test_the_extrapolation_stands_beside_the_exact_information(results):
    fits = {k: results["trends"]["multi-class"][k]["fit"] for k in ("info_mle", "info_eff")}
    found = {k: extrapolation(fit, results["bound"]) for k, fit in fits.items()}
    assert [round(v) for v in found["info_mle"][:2]] == [159, 8]
    assert [round(v) for v in found["info_eff"][:2]] == [143, 5]
    assert found["info_mle"][2] < -2
    assert found["info_eff"][2] < -5
    text = bag_size_tables(results)
    assert "159 ± 8 from I_MLE (-2.4σ) and 143 ± 5 from I_eff (-5.4σ)" in text
    assert "the exact information is 183 ± 6" in text


def test_settings_of_the_authors_are_those_that_the_table_shows(results):
    assert AUTHORS["multi-class"].keys() == AUTHORS["parametrised"].keys()
    text = bag_size_tables(results)
    for family in AUTHORS.values():
        for value in family.values():
            assert f"| {value} |" in text
