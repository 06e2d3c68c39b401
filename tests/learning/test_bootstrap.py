"""Bootstrap members: which events they see, that twins see the same, and what is refused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import quadratic
from milinfer.exceptions import ConfigurationError, ModelError
from milinfer.learning import fitting
from milinfer.learning.bootstrap import bootstrap_groups, multiplicities
from milinfer.learning.members import member_seeds
from milinfer.learning.settings import LikelihoodSettings
from milinfer.samples.streaming import StreamedSamples

POINTS = [{"c1": c} for c in (-0.5, 0.0, 0.5)]
SAMPLES = quadratic.samples(400, POINTS, seed=1)
SETTINGS = {
    "head": "polynomial",
    "labels": "joint",
    "order": 1,
    "network": mil.NetworkConfig((8,), "gelu", batch_norm=False, dropout=0.0, l2=0.0),
    "training": mil.TrainingConfig(3, 300, 1e-2, 1e-3, schedule="cosine"),
}


def trained(samples=SAMPLES, validation=None, **options):
    settings = SETTINGS | {"ensemble": 4, "bootstrap": True, "seed": 3} | options
    return mil.BagLikelihood(**{"head": "multiclass"} | settings).fit(samples, validation)


@pytest.fixture(scope="module")
def model():
    return trained()


def events_of(number, samples=SAMPLES, split=None, **options):
    """Samples that a member trains on and validates with."""
    settings = LikelihoodSettings(
        **{"head": "multiclass", "ensemble": 8, "bootstrap": True, "seed": 3} | options
    )
    job = fitting._Job(
        settings=settings,
        model_points=None,
        samples=samples,
        split=split,
        mean=None,
        variance=None,
        trained_on=(),
    )
    return fitting._events_of(job, member_seeds(settings)[number])


def counts(number, k=0, **options):
    """How often each event of a sample is in training and validation of a member together."""
    rows = {row.tobytes(): i for i, row in enumerate(SAMPLES[k].features)}
    out = np.zeros((2, len(rows)), int)
    for part, samples in enumerate(events_of(number, **options)):
        for row in samples[k].features:
            out[part, rows[row.tobytes()]] += 1
    return out


def test_twins_see_the_same_events_and_others_do_not():
    groups = bootstrap_groups(8)
    seen = [counts(number) for number in range(8)]
    for a in range(8):
        assert not np.any(seen[a][0] * seen[a][1])  # each event trains or validates
        for b in range(a):
            same = np.array_equal(seen[a].sum(axis=0), seen[b].sum(axis=0))
            assert same == (groups[a] == groups[b])
            assert not np.array_equal(seen[a], seen[b])  # twins are split in other ways
    total = np.stack([seen[a].sum(axis=0) for a in (0, 2, 4, 5, 6, 7)])
    assert abs(total.mean() - 1) < 4 / np.sqrt(total.size)
    assert abs(total.var() - 1) < 4 * np.sqrt(3 / total.size)


def test_samples_are_drawn_independently():
    first, second = (counts(0, k).sum(axis=0) for k in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(first))


def test_an_event_keeps_its_weights():
    train, rest = events_of(0)
    truth = {
        row.tobytes(): tuple(w[i] for w in SAMPLES[1].reweights.values())
        for i, row in enumerate(SAMPLES[1].features)
    }
    for part in (train, rest):
        for i, row in enumerate(part[1].features):
            assert truth[row.tobytes()] == tuple(w[i] for w in part[1].reweights.values())


def test_given_validation_events_are_drawn_too():
    other = quadratic.samples(300, POINTS, seed=2)
    train, rest = events_of(0, split=(SAMPLES, other))
    assert len(train[0]) != len(SAMPLES[0])
    numbers = np.unique(rest[0].features, axis=0, return_counts=True)[1]
    assert numbers.max() > 1
    assert len(numbers) < len(other[0])


def test_without_bootstrap_nothing_changes():
    """The seeds of a member are those it had before there was a bootstrap."""
    train, rest = events_of(2, bootstrap=False)
    split = np.random.SeedSequence(3).spawn(8)[2].spawn(3)[0].generate_state(1)[0]
    expected = SAMPLES.split([0.8, 0.2], seed=int(split))
    for one, other in zip((train, rest), expected, strict=True):
        np.testing.assert_array_equal(one[0].features, other[0].features)


def test_a_member_is_the_same_wherever_it_is_trained(model):
    """A cluster trains each member by itself, from its number alone."""
    settings, job = {}, {}
    original = fitting._train_member

    def one(number, own, *rest):
        settings[number], job[number] = own.settings, own
        return original(number, own, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_train_member", one)
        again = trained()
    assert again.digest == model.digest
    alone = original(2, job[2])
    for a, b in zip(
        alone.members[0][0].event_model.get_weights(),
        model.fitted.members[2][0].event_model.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_the_setting_is_saved_and_models_of_earlier_versions_have_none(model, tmp_path):
    model.save(tmp_path / "model")
    assert mil.BagLikelihood.load(tmp_path / "model").bootstrap is True
    file = tmp_path / "model" / "model.json"
    content = json.loads(file.read_text())
    del content["settings"]["bootstrap"]
    file.write_text(json.dumps(content))
    assert mil.BagLikelihood.load(tmp_path / "model").bootstrap is False
    content["settings"]["bootstrap"] = "yes"
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="bootstrap"):
        mil.BagLikelihood.load(tmp_path / "model")


def test_few_members_are_refused():
    with pytest.raises(ConfigurationError, match="4 members or more, better 16, not ensemble=3"):
        trained(ensemble=3)


def test_streamed_events_are_refused(tmp_path):
    files = {}
    for sample in SAMPLES:
        value = sample.point["c1"]
        files[value] = tmp_path / f"{value}.parquet"
        sample.to_file(files[value])
    streamed = StreamedSamples.from_files(files, "c1")
    with pytest.raises(ConfigurationError, match="streamed from files"):
        trained(streamed)


def test_any_head_can_be_bootstrapped():
    model = trained(
        head="multiclass", labels="hard", bag_size=5, order=2, training=mil.TrainingConfig(1, 300)
    )
    error = mil.simulation_error(model, dataclasses.replace(SAMPLES[1], point={}))
    assert error.error.max() > 0


def test_numbers_follow_from_the_seed_alone():
    seed = np.random.SeedSequence(7)
    first = multiplicities(SAMPLES, seed)
    seed.spawn(2)
    for a, b in zip(first, multiplicities(SAMPLES, seed), strict=True):
        np.testing.assert_array_equal(a, b)
    other = multiplicities(SAMPLES, seed, part=1)
    assert not np.array_equal(first[0], other[0])
