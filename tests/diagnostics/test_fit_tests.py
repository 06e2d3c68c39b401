"""p-values of fits are uniform under the model, and small for data of another kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from milinfer.datasets import gaussian, quadratic
from milinfer.diagnostics.fit_tests import goodness_of_fit
from milinfer.exceptions import ConfigurationError, ModelError, SampleError
from milinfer.likelihood.oracle import Oracle
from milinfer.samples.sample import Sample

SIMULATION = gaussian.samples(8000, [-0.2, 0.0, 0.2], seed=2, n_features=2)
MODEL = gaussian.MeanModel()
# Hundreds of fits to datasets of 200: few events, whose fluctuation the tests take into account.
FEW = gaussian.samples(2500, [-0.2, 0.0, 0.2], seed=2, n_features=2)
QUADRATIC = quadratic.samples(6000, [{"c1": 0.0}], seed=5)
ORACLE = Oracle.from_sample(QUADRATIC[0], "c1", np.linspace(-1.5, 1.5, 31), degree=2)


def dataset(seed, n=200, mu=0.1):
    return gaussian.generate(n, mu, seed=seed, n_features=2).as_data()


@pytest.fixture(scope="module")
def gaussian_results():
    return [goodness_of_fit(MODEL, dataset(1000 + k), FEW, n_toys=200, seed=k) for k in range(40)]


@pytest.fixture(scope="module")
def quadratic_results():
    """Events brought to the fit by their own weights."""
    return [
        goodness_of_fit(
            ORACLE,
            quadratic.generate(200, {"c1": 0.4}, seed=2000 + k).as_data(),
            QUADRATIC,
            degree=2,
            n_toys=200,
            seed=k,
        )
        for k in range(40)
    ]


@pytest.mark.parametrize("results", ["gaussian_results", "quadratic_results"])
def test_p_values_are_uniform_under_the_model(results, request):
    """Several uniformity tests of each kind: each may fail once in 2000 times."""
    found = request.getfixturevalue(results)
    names = {t.name for r in found for t in r.tests}
    columns = {n: [t.p_value for r in found for t in r.tests if t.name == n] for n in names}
    columns["all"] = [r.p_value for r in found]
    for name, values in columns.items():
        assert kstest(values, "uniform").pvalue > 5e-4, name


def test_what_the_fit_fixes_is_not_tested(gaussian_results, quadratic_results):
    """The log-ratio of a Gaussian is linear in its score, whose sum is zero at the fit."""
    fixed = "mean of the fitted likelihood"
    assert fixed not in [t.name for t in gaussian_results[0].tests]
    # near the reference this one is linear, too
    tested = [fixed in [t.name for t in r.tests] for r in quadratic_results]
    assert sum(tested) > 0.9 * len(tested)


def test_a_deviation_of_one_feature_is_found():
    """A narrow peak in the feature that does not depend on the parameter."""
    data = dataset(1, n=400)
    features = np.array(data.features)
    features[:100, 1] = np.random.default_rng(3).normal(0.0, 0.2, 100)
    result = goodness_of_fit(MODEL, replace(data, features=features), SIMULATION, n_toys=400)
    assert result.p_value < 0.01
    assert result.worst.name in ("x1", "classifier of data and simulation")
    assert result["x0"].p_value > 0.01
    assert "deviate as much" in result.sentence


def test_a_deviation_that_no_feature_shows_is_found():
    """Two independent features become correlated, each with the distribution that it had."""
    rng = np.random.default_rng(4)
    data = dataset(2, n=400, mu=0.0)
    z = rng.normal(size=(400, 2))
    z[:, 1] = 0.5 * z[:, 0] + np.sqrt(0.75) * z[:, 1]
    result = goodness_of_fit(
        MODEL, replace(data, features=z.astype(np.float32)), SIMULATION, n_toys=400
    )
    assert result["classifier of data and simulation"].p_value < 0.01
    assert min(result["x0"].p_value, result["x1"].p_value) > 0.01


def test_many_tests_do_not_hide_a_deviation():
    """Regression: of many tests one has the smallest possible share of toys in most datasets."""
    rng = np.random.default_rng(8)
    noise = [rng.normal(size=(n, 40)).astype(np.float32) for n in (400, 8000)]
    names = ("x0", *(f"n{k}" for k in range(40)))
    noise[0][:, 7] *= 1.4
    data, simulation = (
        Sample(np.hstack([s.features[:, :1], n]), names, point=s.point)
        for s, n in zip((dataset(7, n=400, mu=0.0), SIMULATION[1]), noise, strict=True)
    )
    result = goodness_of_fit(MODEL, data.as_data(), simulation, n_toys=200)
    assert result.worst.name == "n7"
    assert result.p_value < 0.01


def test_the_same_seed_gives_the_same_result():
    first, again, other = (
        goodness_of_fit(MODEL, dataset(3), SIMULATION, n_toys=100, seed=s) for s in (1, 1, 2)
    )
    assert first.to_dict() == again.to_dict() != other.to_dict()
    assert first.to_table().num_rows == len(first.tests)
    assert first["x0"].name in first._repr_html_()


def test_histograms_hold_all_events():
    result = goodness_of_fit(MODEL, dataset(4), SIMULATION, n_toys=100)
    assert [h.observable for h in result.histograms] == ["x0", "x1", "score of mu"]
    for histogram in result.histograms:
        assert histogram.counts.sum() == 200
        assert abs(histogram.expected.sum() - 200) < 1e-6
        # x0 is what is fitted; the error of a bin is that of its slope in mu, and of the simulation
        assert np.all(histogram.error > 0)
        assert np.all(histogram.error < np.sqrt(histogram.expected))


def test_bad_input_is_refused():
    data = dataset(5)
    with pytest.raises(SampleError, match="share events"):
        goodness_of_fit(MODEL, SIMULATION[1].as_data(), SIMULATION)
    with pytest.raises(SampleError, match=r"effective events, fewer than"):
        goodness_of_fit(MODEL, data, gaussian.samples(40, [0.0], seed=9, n_features=2))
    with pytest.raises(SampleError, match="has the features x0, but the data have x0, x1"):
        goodness_of_fit(MODEL, data, gaussian.samples(4000, [0.0], seed=9))
    with pytest.raises(ConfigurationError, match="n_toys = 0"):
        goodness_of_fit(MODEL, data, SIMULATION, n_toys=0)
    with pytest.raises(ModelError, match="end of its range"):
        goodness_of_fit(MODEL, dataset(6, mu=1.5), SIMULATION)
