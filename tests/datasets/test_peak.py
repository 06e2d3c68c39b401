"""The peak over a background: its density, its events and its information."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import dblquad

from milinfer.datasets import peak
from milinfer.exceptions import ParameterError
from milinfer.likelihood.surface import Interpolation

POINT = {"mass": 170.0, "fraction": 0.2}


def test_the_density_is_normalised():
    # A sum over a grid is exact for a smooth function that vanishes at all ends.
    m, d = np.linspace(0, 320, 801), np.linspace(-8, 8, 161)
    total = peak.density(m[:, None], d[None], POINT).sum() * (m[1] - m[0]) * (d[1] - d[0])
    assert total == pytest.approx(1, abs=1e-5)


def test_events_follow_the_density():
    sample = peak.generate(200_000, POINT, seed=1)
    m, d = sample.column("m_rec"), sample.column("d")
    near = (np.abs(m - 170) < 10) & (d > 0)
    expected, _ = dblquad(lambda d, m: peak.density(m, d, POINT), 160, 180, 0, 8, epsabs=1e-6)
    assert abs(near.mean() - expected) < 4 * np.sqrt(expected / 200_000)
    assert sample.point == POINT
    assert peak.generate(5, {"fraction": 0.0}, seed=1).point == {"fraction": 0.0}


@pytest.mark.parametrize("point", [POINT, {"mass": 172.5, "fraction": 0.0}])
def test_the_information_is_the_covariance_of_the_score(point):
    sample = peak.generate(400_000, point, seed=2)
    m, d = (sample.column(n).astype(float) for n in ("m_rec", "d"))
    steps = {"mass": 1e-3, "fraction": 1e-6}
    scores = np.stack(
        [
            (
                np.log(peak.density(m, d, {**point, name: point[name] + step}))
                - np.log(peak.density(m, d, point))
            )
            / step
            for name, step in steps.items()
        ]
    )
    products = scores[:, None] * scores[None]
    error = products.std(axis=2) / np.sqrt(len(m))
    away = np.abs(products.mean(axis=2) - peak.fisher_information(point))
    assert np.all(away < 4 * error + 2e-3 * np.abs(products.mean(axis=2)) + 1e-9)


@pytest.mark.parametrize(("parameter", "points"), [("mass", (168, 177)), ("fraction", (0.0, 0.3))])
def test_the_exact_model_is_the_ratio_of_densities(parameter, points):
    grid = Interpolation(np.linspace(*points, 19), "spline")
    model = peak.PeakModel(parameter, grid, float(grid.grid[9]))
    sample = peak.generate(50, {parameter: float(grid.grid[3])}, seed=3)
    m, d = (sample.column(n).astype(float) for n in ("m_rec", "d"))
    at, reference = (peak.density(m, d, {parameter: float(grid.grid[k])}) for k in (3, 9))
    np.testing.assert_allclose(model.event_llr(sample)[:, 3], np.log(at / reference), atol=1e-12)


@pytest.mark.parametrize("point", [{"mass": 170.0, "width": 3.0}, {"fraction": -0.1}])
def test_what_is_no_point_is_refused(point):
    with pytest.raises(ParameterError, match="a mass, and a fraction between 0 and 1"):
        peak.generate(5, point, seed=1)
