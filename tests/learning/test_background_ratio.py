"""Learned ratios of backgrounds: scale, checks, files, and what they cost a measurement."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import norm

from milinfer.datasets import gaussian
from milinfer.exceptions import ConfigurationError, MilinferWarning, ModelError, SampleError
from milinfer.learning.background_ratio import BackgroundRatio, _regression
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.boosted_trees import BoostedLikelihood
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.likelihood.mixture import mixture_cost
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

SMALL = BagLikelihood(
    head="binary",
    bag_size=1,
    seed=1,
    network=NetworkConfig((16,), "silu", batch_norm=False, dropout=0.0, l2=0.0),
    training=TrainingConfig(8, 512, 1e-2, 1e-4, schedule="cosine"),
)


def background(n: int, seed: int, weights=None) -> Sample:
    """N(1.5, 0.8), whose ratio to N(0, 1) is bounded."""
    x = np.random.default_rng(seed).normal(1.5, 0.8, (n, 1))
    return Sample(x, ("x0",), weights, process="background")


def exact(x):
    return norm.logpdf(x, 1.5, 0.8) - norm.logpdf(x)


@pytest.fixture(scope="module")
def trees() -> BackgroundRatio:
    signal = gaussian.generate(20_000, 0.0, seed=1)
    return BackgroundRatio(BoostedLikelihood(), seed=1).fit(signal, background(20_000, 2))


def test_it_is_the_ratio_of_the_densities(trees):
    x = np.linspace(-1, 3, 41)
    error = trees.log_ratio(Sample(x[:, None], ("x0",))) - exact(x)
    assert np.abs(error).mean() < 0.25  # trees are rough
    assert all(abs(p) < 4 for p in trees.fitted.pulls)
    assert trees.fitted.n_held_out == (2000, 2000)


def test_a_network_takes_negative_weights_and_unequal_numbers():
    rng = np.random.default_rng(5)
    weights = 3 * rng.choice([1.0, -1.0], 30_000, p=[0.9, 0.1])
    ratio = BackgroundRatio(SMALL, seed=1).fit(
        gaussian.generate(15_000, 0.0, seed=3), background(30_000, 4, weights)
    )
    x = np.linspace(-1, 3, 41)
    error = ratio.log_ratio(Sample(x[:, None], ("x0",))) - exact(x)
    assert np.abs(error).mean() < 0.15
    assert all(abs(p) < 4 for p in ratio.fitted.pulls)


def test_the_regression_undoes_a_scale_and_a_shift():
    samples = SampleSet(
        tuple(
            Sample(s.features, ("x0",), point={"background": k})
            for k, s in ((0.0, gaussian.generate(20_000, 0.0, seed=1)), (1.0, background(8000, 2)))
        )
    )
    raw = [0.7 * exact(s.column("x0").astype(float)) + 0.3 for s in samples]
    slope, shift, covariance = _regression(raw, samples)
    error = np.sqrt(np.diag(covariance))
    assert slope == pytest.approx(1 / 0.7, abs=4 * error[0])
    assert shift == pytest.approx(-0.3 / 0.7, abs=4 * error[1])
    assert error[0] < 0.05


def test_it_is_saved_with_its_classifier(trees, tmp_path):
    trees.save(tmp_path / "ratio")
    loaded = BackgroundRatio.load(tmp_path / "ratio")
    data = gaussian.generate(50, 0.0, seed=9)
    np.testing.assert_array_equal(loaded.log_ratio(data), trees.log_ratio(data))
    assert loaded.fitted == trees.fitted
    assert loaded.digest == trees.digest
    file = tmp_path / "ratio" / "model.json"
    content = json.loads(file.read_text())
    content["fit"]["slope"] *= 1.1
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="was changed after it was saved"):
        BackgroundRatio.load(tmp_path / "ratio")
    content["format"] = "other"
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="load it with the class that saved it"):
        BackgroundRatio.load(tmp_path / "ratio")
    for change, message in (({"seed": "x"}, "seed is 'x'"), ({"held_out": 2}, "between 0 and 1")):
        trees.save(tmp_path / "other")
        other = tmp_path / "other" / "model.json"
        other.write_text(json.dumps(json.loads(other.read_text()) | change))
        with pytest.raises(ModelError, match=message) as caught:
            BackgroundRatio.load(tmp_path / "other")
        assert str(tmp_path / "other") in str(caught.value)
    content = {"format": "background-1"}
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="not a complete model"):
        BackgroundRatio.load(tmp_path / "ratio")


def test_it_goes_into_the_cost(trees):
    data = Sample(
        np.concatenate([gaussian.generate(80, 0.0, seed=1).features, background(20, 2).features]),
        ("x0",),
    )
    costs = [
        mixture_cost(
            gaussian.MeanModel(), data, rate=80.0, reference=0.0, backgrounds={"b": (ratio, 20.0)}
        )
        for ratio in (trees, trees.log_ratio)
    ]
    assert costs[0](0.1, 1.2) == costs[1](0.1, 1.2)
    assert costs[0](0.1, 1.2) == pytest.approx(
        mixture_cost(
            gaussian.MeanModel(),
            data,
            rate=80.0,
            reference=0.0,
            backgrounds={"b": (lambda s: exact(s.column("x0").astype(float)), 20.0)},
        )(0.1, 1.2),
        abs=0.5,
    )


def test_a_ratio_off_its_scale_is_noticed(monkeypatch):
    wrong = (1.5, 0.0, np.eye(2) * 1e-4)
    monkeypatch.setattr("milinfer.learning.background_ratio._regression", lambda *_: wrong)
    with pytest.warns(MilinferWarning, match="not 1; train") as caught:
        BackgroundRatio(BoostedLikelihood(), held_out=0.5, seed=1).fit(
            gaussian.generate(20_000, 0.0, seed=1), background(20_000, 2)
        )
    assert "background: E[" in str(caught[0].message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classifier": BagLikelihood()}, "head='multiclass' with bag_size=10"),
        ({"classifier": BoostedLikelihood(reference=1.0)}, "must be 0"),
        ({"held_out": 1.0}, "between 0 and 1"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        BackgroundRatio(**options)


def test_wrong_samples_are_refused():
    other = Sample(np.zeros((10, 1)), ("y",))
    with pytest.raises(SampleError, match="different features"):
        BackgroundRatio(SMALL).fit(other, background(10, 1))
    with pytest.raises(ModelError, match="not trained"):
        BackgroundRatio().log_ratio(other)
