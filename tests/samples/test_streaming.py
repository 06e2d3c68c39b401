"""Training from files larger than memory: what is read, once each, and what is learned."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ConfigurationError, ParameterError, SampleError
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.members import MemberLayout, MemberTask, build_member, member_seeds
from milinfer.learning.networks import training
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.training_bags import ClassBags
from milinfer.learning.training_data import moments
from milinfer.learning.training_points import ModelPoints
from milinfer.samples import sample_files as storage
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streaming import StreamedSample, StreamedSamples

MEANS = (-0.5, 0.0, 0.5)
PLAIN = NetworkConfig((16,), "elu", batch_norm=False, dropout=0.0, l2=0.0)
# So few steps, and of such a size, that each learns a lot and that XLA does not compile them.
TRAINING = TrainingConfig(6, 1000, 2e-2, 1e-4, schedule="cosine")
GAUSSIANS = gaussian.samples(6000, MEANS, seed=1)
QUADRATIC = quadratic.samples(5000, [{"c1": c} for c in (-1.0, 0.0, 1.0)], seed=1)


@pytest.fixture
def to_disk(tmp_path, monkeypatch):
    """Samples as files of small row groups."""
    monkeypatch.setattr(storage, "ROW_GROUP", 500)

    def write(samples, events_in_memory=8000):
        files = {}
        for sample in samples:
            (value,) = sample.point.values()
            files[value] = tmp_path / f"{value}.parquet"
            sample.to_file(files[value])
        (name,) = samples.parameters
        return StreamedSamples.from_files(files, name, events_in_memory=events_in_memory)

    return write


def numbered(n, values=MEANS, weights=None):
    """Samples whose only feature is the number of the event."""
    return SampleSet(
        tuple(
            Sample(
                np.arange(k * n, (k + 1) * n)[:, None].astype(np.float32),
                ("i",),
                weights,
                point={"mu": v},
            )
            for k, v in enumerate(values)
        )
    )


def events(samples):
    return np.concatenate([s.features[:, 0] for s in samples])


def test_an_epoch_has_every_event_once(to_disk):
    streamed = to_disk(numbered(2777))
    assert (streamed.n_events, streamed.n_pieces, len(streamed[0])) == (3 * 2777, 5, 2777)
    for seed in (1, 2):
        pieces = list(streamed.pieces(np.random.default_rng(seed)))
        assert [len(s) for s in pieces[0]] == [555] * 3
        assert {p.n_events for p in pieces[:-1]} == {3 * 555}
        seen = np.concatenate([events(p) for p in pieces])
        np.testing.assert_array_equal(np.sort(seen), np.arange(3 * 2777))
        for piece in pieces:
            for k, sample in enumerate(piece):
                assert np.all(sample.features // 2777 == k)


def test_pieces_differ_from_epoch_to_epoch_and_not_from_run_to_run(to_disk):
    streamed = to_disk(numbered(2777))
    first, other, again = (
        events(next(streamed.pieces(np.random.default_rng(s)))) for s in (1, 2, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.isin(other, first).mean() < 0.7  # a fifth of the events, by chance


def test_the_split_is_by_event_and_follows_from_the_seed(to_disk):
    streamed = to_disk(numbered(2777))
    train, held_out = streamed.split([0.8, 0.2], seed=3)
    left = np.concatenate([events(p) for p in train.pieces(np.random.default_rng(1))])
    assert train.n_events == len(left)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([left, events(held_out)])), np.arange(3 * 2777)
    )
    assert held_out.n_events / streamed.n_events == pytest.approx(0.2, abs=4 * 0.4 / 3 / 2777**0.5)
    _, same = streamed.split([0.8, 0.2], seed=3)
    _, other = streamed.split([0.8, 0.2], seed=4)
    np.testing.assert_array_equal(events(same), events(held_out))
    assert not np.array_equal(events(other), events(held_out))


def test_held_out_events_never_exceed_their_share_of_the_memory(to_disk):
    train, held_out = to_disk(numbered(5000), 6000).split([0.2, 0.8], seed=3)
    assert held_out.n_events == pytest.approx(1500, abs=150)
    assert train.n_events + held_out.n_events == 15_000


def test_reweights_and_weights_come_along(to_disk):
    streamed = to_disk(QUADRATIC)
    whole = SampleSet(
        tuple(
            Sample.concatenate([p for j, p in streamed.in_order(keep_reweights=True) if j == k])
            for k in range(3)
        )
    )
    for a, b in zip(whole, QUADRATIC, strict=True):
        np.testing.assert_array_equal(a.features, b.features)
        np.testing.assert_array_equal(a.weights, b.weights)
        assert a.reweight_points == b.reweight_points
        for name, values in b.reweights.items():
            np.testing.assert_array_equal(a.reweights[name], values)


def test_moments_are_those_of_all_events(to_disk):
    rng = np.random.default_rng(1)
    weighted = SampleSet(
        tuple(
            dataclasses.replace(
                s, features=s.features * 1e-3 + 50, weights=rng.uniform(-0.2, 1, len(s))
            )
            for s in GAUSSIANS
        )
    )
    for streamed, exact in zip(moments(to_disk(weighted)), moments(weighted), strict=True):
        np.testing.assert_allclose(streamed, exact, rtol=1e-6)


def signed(samples, seed=5):
    rng = np.random.default_rng(seed)
    return SampleSet(
        tuple(
            dataclasses.replace(
                s,
                weights=s.weights * np.where(rng.random(len(s)) < 0.1, -1.0, rng.uniform(1, 2)),
            )
            for s in samples
        )
    )


@pytest.mark.parametrize("weights", ["equal", "signed"])
def test_normalisations_are_those_of_all_events(to_disk, weights):
    """σ(θ), effective events and Z(θ): the sums of the streamed events, whatever the pieces."""
    whole = signed(QUADRATIC) if weights == "signed" else QUADRATIC
    model = BagLikelihood(head="polynomial", labels="joint", order=1, bag_size=1, network=PLAIN)
    train, held_out = to_disk(whole).split([0.8, 0.2], seed=1)
    in_memory = SampleSet(
        tuple(
            Sample.concatenate([p for j, p in train.in_order(keep_reweights=True) if j == k])
            for k in range(3)
        )
    )
    where = ModelPoints.of(model, whole)
    tasks = [MemberTask(model, where, t, held_out) for t in (train, in_memory)]
    np.testing.assert_allclose(tasks[0].log_z, tasks[1].log_z, rtol=1e-8)
    assert tasks[0].effective_events == pytest.approx(tasks[1].effective_events, rel=1e-9)
    hard = dataclasses.replace(model, labels="hard", bag_size=2)
    effective = [MemberTask(hard, where, t, held_out).effective_events for t in (train, in_memory)]
    assert effective[0] == pytest.approx(effective[1], rel=1e-9)
    seeds = member_seeds(model)[0]
    layout = MemberLayout.of(model, where, *moments(in_memory))
    member = layout.trained(build_member(model, where, layout, seeds, tasks[0]))
    (z, _, scale), (z_memory, _, scale_memory) = (t.normalisation(member) for t in tasks)
    np.testing.assert_allclose(z, z_memory, rtol=1e-6)
    assert scale == pytest.approx(scale_memory, rel=1e-9)


HEADS = {
    "multiclass": (GAUSSIANS, {"bag_size": 5}),
    "binary": (GAUSSIANS, {"head": "binary", "bag_size": 5}),
    "parametrised": (GAUSSIANS, {"head": "parametrised", "bag_size": 5}),
    "joint": (QUADRATIC, {"head": "polynomial", "labels": "joint", "order": 1, "bag_size": 1}),
    "score": (
        QUADRATIC,
        {"head": "polynomial", "score_weight": 0.1, "order": 1, "bag_size": 2},
    ),
}


@pytest.mark.parametrize("head", HEADS)
def test_streamed_training_is_as_good(to_disk, head):
    """The loss of held-out events after training from disk and from memory."""
    samples, options = HEADS[head]
    settings = BagLikelihood(
        **{"head": "multiclass"} | options, seed=1, network=PLAIN, training=TRAINING
    )
    held_out = SampleSet(tuple(s.split([0.8, 0.2], seed=9)[1] for s in samples))
    train = SampleSet(tuple(s.split([0.8, 0.2], seed=9)[0] for s in samples))
    models = [settings.fit(s, held_out) for s in (to_disk(train), train)]
    assert to_disk(train).n_pieces > 5
    for streamed, memory in zip(*(m.fitted.history for m in models), strict=True):
        losses = np.array([min(streamed["val_loss"]), min(memory["val_loss"])])
        gain = abs(memory["val_loss"][0] - losses[1])
        # Two trainings from the same start differ by the noise of the batches.
        assert losses[0] == pytest.approx(losses[1], abs=max(0.003, 0.15 * gain))
        assert len(streamed["loss"]) == TRAINING.epochs
        np.testing.assert_allclose(
            streamed["learning_rate"], memory["learning_rate"], rtol=1e-6, atol=0
        )
    assert models[0].fitted.n_events == models[1].fitted.n_events
    assert models[0].fitted.effective_events == pytest.approx(models[1].fitted.effective_events)
    if models[0].additive:
        llr = [m.event_llr(held_out[2])[:, 0] for m in models]
        assert np.corrcoef(*llr)[0, 1] > 0.95


def test_the_same_seed_gives_the_same_weights(to_disk):
    samples, options = HEADS["multiclass"]
    short = dataclasses.replace(TRAINING, epochs=2)
    network = NetworkConfig((8, 8))  # batch normalisation and dropout
    streamed = to_disk(samples)
    settings = BagLikelihood(**{"head": "multiclass"} | options, network=network, training=short)
    digests = [dataclasses.replace(settings, seed=s).fit(streamed).digest for s in (3, 3, 4)]
    assert digests[0] == digests[1] != digests[2]


def test_only_long_trainings_are_compiled(to_disk, monkeypatch):
    """As of events in memory: the number of steps decides, which their number tells."""
    compiled, steps = [], []
    make, train = training.TrainingLoop.__init__, training.TrainingLoop.train

    def noting(self, *arguments, **options):
        compiled.append(options["compiled"])
        make(self, *arguments, **options)

    def counting(self, *arguments):
        value, n_batches = train(self, *arguments)
        steps.append(n_batches)
        return value, n_batches

    monkeypatch.setattr(training.TrainingLoop, "__init__", noting)
    monkeypatch.setattr(training.TrainingLoop, "train", counting)
    monkeypatch.setattr(training, "_IDLE_LOOPS", training.IdleLoops(2))
    streamed = to_disk(GAUSSIANS)
    short = dataclasses.replace(TRAINING, epochs=2, batch_events=500)
    settings = BagLikelihood(head="multiclass", bag_size=5, seed=1, network=PLAIN, training=short)
    few = settings.fit(streamed)
    assert compiled == [False]
    assert 50 < sum(steps) < 60
    monkeypatch.setattr(training, "FEW_STEPS", 50)
    many = settings.fit(streamed)
    assert compiled == [False, True]
    for name, values in many.fitted.history[0].items():
        assert few.fitted.history[0][name] == pytest.approx(values, rel=1e-5), name


def test_training_sees_every_event_once_an_epoch(to_disk, monkeypatch):
    seen = []
    draw = ClassBags.draw

    def recording(self, rng):
        epoch = draw(self, rng)
        features = np.asarray(self.data["features"])
        seen.append(features[epoch.index.ravel(), 0].astype(int))
        return epoch

    monkeypatch.setattr(ClassBags, "draw", recording)
    streamed = to_disk(numbered(2777))
    settings = BagLikelihood(
        head="multiclass",
        bag_size=1,
        normalise=False,  # the samples have no event in common
        network=PLAIN,
        training=dataclasses.replace(TRAINING, epochs=2),
    )
    settings.fit(streamed)
    held_out, *pieces = seen  # the held-out events are drawn first, and once
    n = len(pieces) // 2
    assert n >= 4
    for epoch in (pieces[:n], pieces[n:]):
        np.testing.assert_array_equal(
            np.sort(np.concatenate([held_out, *epoch])), np.arange(3 * 2777)
        )
    assert not np.array_equal(pieces[0], pieces[n])


def test_weights_of_one_event_count_in_streams(to_disk):
    """A tenth of the events has negative weights; the slope of Λ is that of all."""
    streamed = to_disk(signed(QUADRATIC))
    options = HEADS["joint"][1]
    models = [
        BagLikelihood(
            **{"head": "multiclass"} | options, seed=1, network=PLAIN, training=TRAINING
        ).fit(s)
        for s in (streamed, signed(QUADRATIC))
    ]
    test = quadratic.generate(4000, {"c1": 0.0}, seed=7)
    llr = [m.event_llr(test)[:, -1] for m in models]
    assert np.corrcoef(*llr)[0, 1] > 0.95
    assert np.polyfit(*llr, 1)[0] == pytest.approx(1, abs=0.15)


def test_files_that_cannot_be_streamed_are_named(to_disk, tmp_path):
    streamed = to_disk(GAUSSIANS)
    files = {s.point["mu"]: s.path for s in streamed}
    with pytest.raises(FileNotFoundError, match="absent"):
        StreamedSample.from_file(tmp_path / "absent.parquet")
    root = tmp_path / "a.root"
    GAUSSIANS[0].to_file(root)
    with pytest.raises(ConfigurationError, match=r"a\.root: only Parquet files"):
        StreamedSamples.from_files({0.0: root}, "mu")
    with pytest.raises(ParameterError, match="mu"):
        StreamedSamples.from_files({0.25: files[0.0]}, "mu")
    other = tmp_path / "other.parquet"
    gaussian.generate(10, 1.0, seed=1, n_features=2).to_file(other)
    with pytest.raises(SampleError, match="features"):
        StreamedSamples.from_files({**files, 1.0: other}, "mu")
    with pytest.raises(SampleError, match="no columns"):
        StreamedSamples.from_files(files, "mu", features=["x7"])
    with pytest.raises(ConfigurationError, match=r"events_in_memory=5000 .* give 6000 or more"):
        StreamedSamples.from_files(files, "mu", events_in_memory=5000)
    empty = tmp_path / "empty.parquet"
    GAUSSIANS[0].take(slice(0, 0)).to_file(empty)
    with pytest.raises(SampleError, match="has no events"):
        StreamedSample.from_file(empty)


def test_what_cannot_be_done_with_streams_is_refused(to_disk):
    streamed = to_disk(GAUSSIANS)
    settings = BagLikelihood(head="multiclass", bag_size=5, network=PLAIN, training=TRAINING)
    with pytest.raises(ConfigurationError, match="validation= must be in memory"):
        settings.fit(GAUSSIANS, streamed)
    with pytest.raises(ConfigurationError, match="split only once and in two parts"):
        streamed.split([0.6, 0.2, 0.2], seed=1)
    with pytest.raises(ConfigurationError, match="split only once"):
        streamed.split([0.8, 0.2], seed=1)[0].split([0.8, 0.2], seed=1)
    with pytest.raises(SampleError, match="cannot fill one bag of 700"):
        dataclasses.replace(settings, bag_size=700).fit(streamed)
    with pytest.raises(SampleError, match="no weights at other points"):
        BagLikelihood(head="polynomial", labels="joint").fit(streamed)
    with pytest.raises(ConfigurationError, match="in memory"):
        mil.BoostedLikelihood().fit(streamed)


@pytest.mark.parametrize("damage", ["truncated", "absent", "shorter"])
def test_files_that_change_while_they_train_are_refused(to_disk, damage):
    streamed = to_disk(GAUSSIANS)
    path = streamed[1].path

    def spoil(_):
        if damage == "truncated":
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2])
        elif damage == "shorter":
            GAUSSIANS[1].take(slice(0, 5300)).to_file(path)
        else:
            path.unlink(missing_ok=True)

    training = dataclasses.replace(TRAINING, epochs=2)
    settings = BagLikelihood(head="multiclass", bag_size=5, network=PLAIN, training=training)
    error = FileNotFoundError if damage == "absent" else SampleError
    with pytest.raises(error, match=r"0\.0\.parquet"):
        settings.fit(streamed, on_epoch=spoil)


def test_the_command_streams(to_disk, tmp_path):
    from click.testing import CliRunner

    from milinfer.cli import cli

    files = [str(s.path) for s in to_disk(GAUSSIANS)]
    options = ["--out", str(tmp_path / "model"), "--bag-size", "5", "--epochs", "1"]
    result = CliRunner().invoke(cli, ["train", *files, *options, "--events-in-memory", "8000"])
    assert result.exit_code == 0, result.output
    assert "18000 events, 1 features, 8000 in memory" in result.output
    assert BagLikelihood.load(tmp_path / "model").parameters == ("mu",)


PEAK = """
import sys
from dataclasses import replace
from pathlib import Path
import milinfer as mil
from milinfer.learning.networks.configs import NetworkConfig
from milinfer.learning.networks.configs import TrainingConfig
folder, bound = Path(sys.argv[1]), int(sys.argv[2])
files = {float(p.stem): p for p in folder.glob("*.parquet")}
samples = mil.StreamedSamples.from_files(files, "mu", events_in_memory=bound)
training = TrainingConfig(2, 10_000)
model = mil.BagLikelihood(bag_size=10, network=NetworkConfig((8,)), training=training)
def peak():  # that of getrusage includes the parent's
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
few = mil.SampleSet(tuple(next(s.read([0])).take(slice(0, 200)) for s in samples))
# TensorFlow and Keras are in memory now; no training here has the 300 steps that XLA compiles.
replace(model, training=TrainingConfig(1, 10_000)).fit(few)
before = peak()
model.fit(samples)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_memory_is_bounded(tmp_path):
    """400 000 events of 100 features (160 MB), 40 000 of them (16 MB) in memory.

    In memory the same training takes three times the data; libraries have buffers of their own.
    """
    rng = np.random.default_rng(1)
    names = tuple(f"x{i}" for i in range(100))
    n = 200_000
    for value in (0.0, 0.5):
        features = rng.standard_normal((n, 100), dtype=np.float32) + np.float32(value)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(storage, "ROW_GROUP", 5000)
            Sample(features, names, point={"mu": value}).to_file(tmp_path / f"{value}.parquet")
    del features
    command = [sys.executable, "-c", PEAK, str(tmp_path), "40000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown = int(done.stdout.split()[-1]) * 1024
    print(f"{grown / 1e6:.0f} MB more for {2 * n * 404 / 1e6:.0f} MB of events")
    assert grown < 0.75 * 2 * n * 100 * 4
