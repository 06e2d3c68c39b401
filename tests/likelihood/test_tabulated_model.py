"""Tables of known events stand in for the model that made them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from milinfer.datasets import gaussian
from milinfer.exceptions import ModelError, SampleError
from milinfer.intervals.information import relative_information
from milinfer.likelihood.models import Renamed, model_tag
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.tabulated_model import Tabulated
from milinfer.toys.toys import Toys
from models import Bags, GaussianMean, gaussian_samples

POOL = gaussian_samples([-0.3, 0.0, 0.3], 2000, seed=1)


def test_toys_are_those_of_the_model():
    model = GaussianMean(scale=0.7)
    known = Tabulated.of(model, POOL, "known")
    toys = Toys(POOL, 50, seed=2)
    runs = toys.scan([model, known], [-0.3, 0.0, 0.3], 100)
    for a, b in zip(runs["gaussian"], runs["known"], strict=True):
        np.testing.assert_array_equal(a.values, b.values)
    relative = relative_information(runs["known"], runs["gaussian"], n_bootstrap=20)
    assert relative.ratio == pytest.approx(1)


def test_the_mean_of_log_ratios_is_that_of_the_tables():
    parts = [Tabulated.of(Renamed(GaussianMean(s), f"{s}"), POOL) for s in (0.5, 1.0, 1.5)]
    mean = Tabulated.mean(parts, "mean")
    for sample in POOL:
        np.testing.assert_allclose(mean.event_llr(sample), GaussianMean(1.0).event_llr(sample))


def test_what_was_learned_is_in_the_tag():
    parts = [replace(Tabulated.of(GaussianMean(), POOL), digest=d) for d in ("a", "b")]
    digests = {model_tag(Tabulated.mean(p, "m")).digest for p in (parts, parts[:1], parts[::-1])}
    assert len(digests) == 3


def test_unknown_events_are_refused():
    known = Tabulated.of(GaussianMean(), POOL.samples[:1])
    with pytest.raises(SampleError, match="signal at mu=0 is not one of them"):
        known.event_llr(POOL[1])
    # A copy of a known sample is another object: nothing says that its events are the same.
    with pytest.raises(SampleError):
        known.event_llr(replace(POOL[0]))


def test_models_of_bags_have_no_table():
    with pytest.raises(ModelError, match="is not a sum over events"):
        Tabulated.of(Bags(), POOL)


@pytest.mark.parametrize(
    "other",
    [
        Tabulated.of(GaussianMean(), POOL.samples[:2]),
        Tabulated.of(gaussian.MeanModel(), gaussian.samples(10, [0.0], seed=1)),
        Tabulated.of(
            GaussianMean(interpolation=Interpolation(np.linspace(-1, 1, 9), "parabola")), POOL
        ),
    ],
)
def test_the_mean_is_of_models_that_differ_in_what_they_learned(other):
    with pytest.raises(ModelError):
        Tabulated.mean([Tabulated.of(GaussianMean(), POOL), other], "mean")


def test_there_is_no_mean_of_nothing():
    with pytest.raises(ModelError, match="list of models is empty"):
        Tabulated.mean([], "mean")
