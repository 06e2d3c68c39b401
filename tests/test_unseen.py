"""Events that have trained a model do not judge it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from milinfer.datasets import gaussian
from milinfer.diagnostics.diagnosis import diagnose
from milinfer.exceptions import CalibrationError, SampleError
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.conditional_coverage import conditional_coverage
from milinfer.intervals.coverage import coverage
from milinfer.intervals.neyman import neyman
from milinfer.learning.background_ratio import BackgroundRatio
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.boosted_trees import BoostedLikelihood, BoostedSettings
from milinfer.learning.networks.network import NetworkConfig
from milinfer.learning.networks.training import TrainingConfig
from milinfer.likelihood.models import Renamed, has_seen, trained_on
from milinfer.likelihood.profiled_mixture import ProfiledMixture
from milinfer.samples import sample_files as storage
from milinfer.samples.fingerprints import sketch
from milinfer.samples.sample import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import Toys

VALUES = [-0.5, 0.0, 0.5]
TRAINED = gaussian.samples(2000, VALUES, seed=1)
OTHER = gaussian.samples(2000, VALUES, seed=2)


def network(**settings):
    plain = NetworkConfig((4,), batch_norm=False, dropout=0.0, l2=0.0)
    quick = {"bag_size": 2, "network": plain, "training": TrainingConfig(1, 1000, 1e-3)}
    return BagLikelihood(**quick | settings)


@pytest.fixture(scope="module")
def model():
    return network().fit(TRAINED)


def toys(model, samples, truth=0.0):
    return Toys(samples, n_events=20, seed=3).run([model], truth, 100)[model.name]


def halves(samples):
    return samples.split([0.5, 0.5], seed=4)[0]


@pytest.mark.parametrize(
    "pool",
    [
        TRAINED,
        halves(TRAINED),
        SampleSet((TRAINED[1],)),
        SampleSet(tuple(s.take(np.arange(len(s))[::-1]) for s in TRAINED)),
        EventPool(SampleSet(tuple(replace(s, cross_section=1.0) for s in TRAINED))),
    ],
    ids=["the same", "half of them", "one sample", "in another order", "as a pool"],
)
def test_training_events_make_no_toys_for_intervals(model, pool):
    seen = toys(model, pool)
    assert seen.seen
    message = r"toys of multiclass at mu=0 are of events that it was trained on.*from other events"
    for judge in (coverage, lambda e: calibrate([e]), lambda e: neyman([e])):
        with pytest.raises(CalibrationError, match=message):
            judge(seen)
    with pytest.raises(CalibrationError, match=message):
        conditional_coverage([seen])


def test_other_events_do(model):
    assert not toys(model, OTHER).seen
    assert 0.3 < coverage(toys(model, OTHER), warn_of_pool=False).coverage <= 1
    # As does another model for these.
    assert not toys(gaussian.MeanModel(), TRAINED).seen


def test_a_diagnosis_needs_other_events(model):
    with pytest.raises(SampleError, match=r"gaussian at mu=-0.5: multiclass was trained on these"):
        diagnose(model, halves(TRAINED), n_toys=0)
    diagnose(model, OTHER, n_toys=0)


def test_events_for_early_stopping_count(model):
    both = network().fit(TRAINED, OTHER)
    assert toys(both, OTHER).seen
    assert toys(both, TRAINED).seen
    assert not toys(both, gaussian.samples(2000, VALUES, seed=5)).seen


def test_a_model_remembers_where_it_goes(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = BagLikelihood.load(tmp_path / "model")
    assert trained_on(loaded) == trained_on(model) == trained_on(Renamed(model, "other"))
    assert len(trained_on(model)) == 4  # each sample and all together
    with pytest.raises(CalibrationError, match="toys of other at mu=0"):
        calibrate([toys(Renamed(loaded, "other"), TRAINED)])


def test_boosted_trees_remember_too(tmp_path):
    trees = BoostedLikelihood(settings=BoostedSettings(n_estimators=2), seed=1).fit(TRAINED)
    trees.save(tmp_path / "trees")
    assert toys(BoostedLikelihood.load(tmp_path / "trees"), TRAINED).seen
    assert not toys(trees, OTHER).seen


def test_streamed_events_leave_the_same_sketches(model, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "ROW_GROUP", 500)
    files = {}
    for sample, value in zip(TRAINED, VALUES, strict=True):
        files[value] = tmp_path / f"{value}.parquet"
        sample.to_file(files[value])
    streamed = StreamedSamples.from_files(files, "mu", events_in_memory=6000)
    assert trained_on(network().fit(streamed)) == trained_on(model)


def test_ratios_of_backgrounds_count_in_a_mixture(model):
    background = gaussian.generate(2000, 1.0, seed=6)
    binary = network(head="binary", bag_size=1, training=TrainingConfig(20, 200, 0.02))
    ratio = BackgroundRatio(binary, seed=1).fit(OTHER[1], background)
    mixture = ProfiledMixture(
        gaussian.MeanModel(), 20.0, {"background": (ratio, 5.0)}, reference=0.0
    )
    assert has_seen(mixture, sketch(background))
    assert has_seen(mixture, sketch(OTHER[1]))
    assert not has_seen(mixture, sketch(TRAINED[1]))
