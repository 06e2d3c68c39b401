"""Sets of samples: one process at several points, with the same features."""

import dataclasses

import numpy as np
import pytest

from milinfer.exceptions import ParameterError, SampleError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

SAMPLE = Sample(np.arange(6.0)[:, None], ("x",), point={"mu": 0.0})


def test_sample_set():
    def at(value, **point):
        return dataclasses.replace(SAMPLE, point={"mu": value, **point})

    samples = SampleSet([at(0.0), at(1.0)])
    assert samples.at(mu=1.0 + 1e-12) is samples[1]
    assert (len(samples), samples.n_events, samples.feature_names) == (2, 12, ("x",))
    with pytest.raises(ParameterError, match="no sample at mu=2; there are: mu=0; mu=1"):
        samples.at(mu=2.0)
    with pytest.raises(ParameterError, match="unknown parameter"):
        samples.values("nu")
    with pytest.raises(SampleError, match="two samples"):
        SampleSet([at(0.0), at(0.0)])
    with pytest.raises(SampleError, match="different parameters"):
        SampleSet([at(0.0), at(1.0, nu=1.0)])
    with pytest.raises(SampleError, match="different features"):
        SampleSet([at(0.0), dataclasses.replace(at(1.0), feature_names=("y",))])
    with pytest.raises(SampleError, match="at least one"):
        SampleSet([])


def test_sample_set_split_and_features():
    sample = Sample(np.arange(20.0).reshape(10, 2), ("a", "b"), point={"mu": 0.0})
    other = dataclasses.replace(sample, point={"mu": 1.0})
    samples = SampleSet([sample, other])
    parts = samples.split([0.5, 0.5], seed=1)
    for i in range(2):
        together = np.concatenate([p[i].features[:, 0] for p in parts])
        assert sorted(together) == list(sample.features[:, 0])
    assert set(parts[0][0].column("a")) != set(parts[0][1].column("a"))
    again = samples.split([0.5, 0.5], seed=1)
    np.testing.assert_array_equal(parts[0][0].features, again[0][0].features)
    turned = samples.with_features(["b", "a"])
    np.testing.assert_array_equal(turned[0].features, sample.features[:, ::-1])
