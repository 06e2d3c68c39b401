"""The optimiser's loop: schedules, seeds, and losses that are not finite."""

from __future__ import annotations

import dataclasses
import gc
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ConfigurationError, ConvergenceWarning, ModelError, SampleError
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.networks import training as training_loop
from milinfer.learning.networks import training as training_module
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.training_bags import ClassBags
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

PLAIN = NetworkConfig((8,), "elu", batch_norm=False, dropout=0.0, l2=0.0)
SAMPLES = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=1)
QUADRATIC = quadratic.samples(1000, [{"c1": c} for c in (-1.0, 0.0, 1.0)], seed=1)


def fitted(training, samples=SAMPLES, **options):
    settings = {"bag_size": 5, "seed": 1, "network": PLAIN, "training": training}
    return BagLikelihood(**{"head": "multiclass"} | settings | options).fit(samples)


def history(training, **options):
    return {k: np.array(v) for k, v in fitted(training, **options).fitted.history[0].items()}


def plateaus(val_loss, patience, stop):
    """Epochs after which nothing had become better for `patience` epochs, and where to stop."""
    best, waited, lowered = np.inf, 0, []
    for epoch, value in enumerate(val_loss):
        waited = 0 if value < best else waited + 1
        best = min(best, value)
        if waited and waited % patience == 0:
            lowered.append(epoch)
            if stop and waited == 2 * patience:
                break
    return lowered


def test_the_cosine_falls_from_the_first_to_the_last_rate():
    seen = history(TrainingConfig(8, 500, 1e-2, 1e-4, schedule="cosine"))
    epochs = np.arange(1, 9)
    expected = 1e-4 + (1e-2 - 1e-4) * (1 + np.cos(np.pi * epochs / 8)) / 2
    np.testing.assert_allclose(seen["learning_rate"], expected, rtol=1e-5)
    assert len(seen["loss"]) == len(seen["val_loss"]) == 8


def test_plateaus_halve_the_rate_and_end_training():
    training = TrainingConfig(60, 500, 2e-2, 6e-3, patience=2)
    seen = history(training)
    rate, loss = seen["learning_rate"], seen["val_loss"]
    assert rate[0] == pytest.approx(2e-2)
    assert len(rate) < 60
    lowered = plateaus(loss, 2, stop=True)
    assert lowered[-1] == len(rate) - 1  # training stops with the second plateau in a row
    expected = [2e-2]
    for epoch in range(len(rate) - 1):
        expected.append(max(expected[-1] / 2, 6e-3) if epoch in lowered else expected[-1])
    np.testing.assert_allclose(rate, expected, rtol=1e-5)


def test_annealing_divides_the_rate_until_it_is_below_its_minimum():
    seen = history(TrainingConfig(80, 500, 2e-2, 2e-3, patience=2, schedule="anneal"))
    rate = seen["learning_rate"]
    assert len(rate) < 80
    np.testing.assert_allclose(np.unique(rate)[::-1], 2e-2 / 3.0 ** np.arange(3), rtol=1e-5)
    assert np.all(np.diff(rate) <= 0)


def test_weight_decay_shrinks_kernels_alone():
    """A step of Adam depends on the gradient alone, which is the same from the same start."""

    def variables(rate, decay):
        model = fitted(TrainingConfig(1, 10**6, rate, 0.0, weight_decay=decay))
        return model.fitted.members[0][0].keras.bag_model.trainable_variables

    start, plain, decayed = variables(0.0, 0.0), variables(1e-2, 0.0), variables(1e-2, 3.0)
    assert {v.name for v in start} == {"kernel", "bias"}
    for variable, without, with_decay in zip(start, plain, decayed, strict=True):
        shrunk = 3e-2 * np.asarray(variable) * (variable.name == "kernel")
        np.testing.assert_allclose(with_decay, np.asarray(without) - shrunk, atol=2e-7)
        assert np.ptp(np.asarray(without) - np.asarray(variable)) > 0


@pytest.mark.parametrize("schedule", ["plateau", "anneal", "cosine"])
def test_the_best_weights_come_back(schedule):
    training = TrainingConfig(12, 200, 5e-2, 1e-3, patience=3, schedule=schedule)
    validation = gaussian.samples(400, [-0.5, 0.0, 0.5], seed=2)
    settings = BagLikelihood(
        head="multiclass", bag_size=1, seed=1, network=PLAIN, training=training
    )
    model = settings.fit(SAMPLES, validation)
    # Bags of one: the validation loss does not depend on how they are drawn.
    network = model.fitted.members[0][0].keras.bag_model
    losses = []
    for k, sample in enumerate(validation):
        logits = np.asarray(network(sample.features[:, None], training=False), dtype=float)
        losses.append(np.logaddexp.reduce(logits, axis=1) - logits[:, k])
    best = min(model.fitted.history[0]["val_loss"])
    assert np.mean(losses) == pytest.approx(best, rel=1e-5)
    assert best < np.log(3) - 0.02


@pytest.mark.parametrize("labels", ["hard", "joint"])
def test_the_same_seed_gives_the_same_polynomial_model(labels):
    training = TrainingConfig(2, 500, 2e-3, 2e-5, schedule="cosine")
    network = NetworkConfig((8,), "gelu", batch_norm=False, dropout=0.2, l2=0.0)
    options = {"head": "polynomial", "order": 1, "bag_size": 1, "network": network}
    seeds = (3, 3, 4) if labels == "hard" else (3, 3)
    models = [fitted(training, QUADRATIC, labels=labels, **options, seed=s) for s in seeds]
    llr = [m.event_llr(QUADRATIC[0]) for m in models]
    np.testing.assert_array_equal(llr[0], llr[1])
    assert not any(np.array_equal(llr[0], other) for other in llr[2:])
    assert models[0].fitted.history == models[1].fitted.history


@pytest.fixture
def traced(monkeypatch, request):
    """Names of the graphs that were made; none is there at the start.

    With XLA's steps, which take long to compile, unless a test asks for those of short trainings.
    """
    training_module._IDLE_LOOPS.clear()
    if getattr(request, "param", True):
        monkeypatch.setattr(training_module, "FEW_STEPS", 0)
    names = []
    make = training_loop.TrainingLoop._graph

    def counted(loop, function, *rest, **options):
        before = len(loop._graphs)
        result = make(loop, function, *rest, **options)
        names.extend([function.__name__] * (len(loop._graphs) - before))
        return result

    monkeypatch.setattr(training_loop.TrainingLoop, "_graph", counted)
    return names


# Each has its own kind of data in the graph; attention has only other variables than multiclass.
OPTIONS = {
    "multiclass": {"network": NetworkConfig((8,), dropout=0.2)},
    "scores": {
        "head": "polynomial", "order": 1, "labels": "joint", "bag_size": 1, "score_weight": 0.5,
    },
}  # fmt: skip


# What is kept from one training to the next is the same with XLA: see the test of short trainings.
@pytest.mark.parametrize("traced", [False], indirect=True)
@pytest.mark.parametrize("name", OPTIONS)
def test_one_graph_trains_all_and_as_a_new_one_does(traced, name):
    """Members, other data, other settings: what a graph did before leaves no trace."""
    samples = SAMPLES if name == "multiclass" else QUADRATIC
    training = TrainingConfig(3, 500, 1e-2, 1e-3, schedule="cosine")
    pair = fitted(training, samples, ensemble=2, **OPTIONS[name])
    assert sorted(traced) == ["_one_epoch", "_one_score"]
    # As many events, and fewer.
    others = SampleSet(tuple(dataclasses.replace(s, features=2 * s.features) for s in samples))
    fewer = SampleSet(tuple(s.take(slice(0, 3 * len(s) // 4)) for s in samples))
    few = fitted(training, fewer, **OPTIONS[name])
    other = fitted(TrainingConfig(2, 500, 3e-2), others, seed=2, **OPTIONS[name])
    assert other.digest != pair.digest
    again = fitted(training, samples, ensemble=2, **OPTIONS[name])
    assert len(traced) == 2
    assert again.digest == pair.digest
    assert again.fitted.history == pair.fitted.history
    assert len({tuple(h["loss"]) for h in pair.fitted.history}) == 2
    training_module._IDLE_LOOPS.clear()
    assert fitted(training, fewer, **OPTIONS[name]).digest == few.digest
    assert len(traced) == 4


@pytest.mark.parametrize("traced", [False], indirect=True)
def test_a_training_that_fails_leaves_its_graph_and_nothing_else(traced):
    """Who lowers the learning rate, as the error says, does not wait for another graph."""
    network = {"network": NetworkConfig((8,), dropout=0.2)}
    good = TrainingConfig(2, 500, 1e-2)
    for _ in range(2):
        with pytest.raises(ModelError, match="lower learning_rate"):
            fitted(dataclasses.replace(good, learning_rate=1e12), **network)
    after = fitted(good, **network)
    assert len(traced) == 2
    training_module._IDLE_LOOPS.clear()
    assert fitted(good, **network).digest == after.digest
    assert len(traced) == 4


class _TakenError(Exception):
    """The training had asked for a graph."""


def test_what_a_graph_has_inside_makes_another(monkeypatch):
    """Sizes of bags, regularisation, losses, points of the logits: each needs its own."""
    kinds = []

    def take(self, kind):
        kinds.append(kind)
        raise _TakenError

    monkeypatch.setattr(training_module.IdleLoops, "take", take)
    training = TrainingConfig(1, 500)
    points = gaussian.samples(1000, [-0.5, 0.0, 0.7], seed=1)
    options = {"bag_size": 5, "degree": 2}
    others = [
        ({}, SAMPLES),
        ({"bag_size": 4}, SAMPLES),
        ({"network": dataclasses.replace(PLAIN, l2=1e-3)}, SAMPLES),
        ({"loss": "ratio-mse"}, SAMPLES),
        ({"degree": None}, SAMPLES),
        ({}, points),
    ]
    # Neither data nor seeds are inside.
    same = [({"seed": 2}, gaussian.samples(900, [-0.5, 0.0, 0.5], seed=2))]
    for other, samples in others + same:
        with pytest.raises(_TakenError):
            fitted(training, samples, **options | other)
    assert len(set(kinds)) == len(others)
    assert kinds[-1] == kinds[0]


def test_short_trainings_are_not_compiled_and_give_the_same_but_for_digits(traced, monkeypatch):
    """XLA takes longer to compile a step than it saves in a few; the length alone decides."""
    network = NetworkConfig((8,), dropout=0.2)
    training = TrainingConfig(4, 500, 1e-2)
    long = fitted(training, network=network)
    # Four batches of 500 events in an epoch.
    monkeypatch.setattr(training_module, "FEW_STEPS", 4 * 4 - 1)
    assert fitted(training, network=network, seed=2).digest != long.digest
    assert fitted(training, network=network).digest == long.digest
    assert traced == ["_one_epoch", "_one_score"]
    monkeypatch.setattr(training_module, "FEW_STEPS", 4 * 4)
    short = fitted(training, network=network)
    assert len(traced) == 4
    for name, values in long.fitted.history[0].items():
        assert short.fitted.history[0][name] == pytest.approx(values, rel=1e-5), name
    # What is idle does not change it.
    training_module._IDLE_LOOPS.clear()
    assert fitted(training, network=network).digest == short.digest


# What a graph keeps does not depend on XLA either.
@pytest.mark.parametrize("traced", [False], indirect=True)
def test_graphs_that_are_kept_keep_no_data(traced, monkeypatch):
    bags = []
    make = ClassBags.__init__

    def seen(self, *args, **options):
        bags.append(weakref.ref(self))
        make(self, *args, **options)

    monkeypatch.setattr(ClassBags, "__init__", seen)
    samples = gaussian.samples(1000, [-0.5, 0.0, 0.5], seed=7)
    alive = [weakref.ref(s.features) for s in samples]
    gc.freeze()  # what is there already need not be searched
    fitted(TrainingConfig(1, 500), samples)
    assert len(training_module._IDLE_LOOPS) == 1
    del samples
    gc.collect()
    assert [ref() for ref in alive] == [None] * 3
    assert [ref() for ref in bags] == [None] * 2  # those to train on and those held out


def test_trainings_at_the_same_time_do_not_share():
    """Threads of one process: each has a graph of its own while it trains."""
    training = TrainingConfig(4, 300, 1e-2)
    alone = [fitted(training, seed=s).digest for s in (1, 2, 3)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda s: fitted(training, seed=s).digest, (1, 2, 3)))
    assert together == alone


def test_the_network_can_be_looked_at_after_every_epoch():
    seen = []

    def look(report):
        bags = SAMPLES[0].features[:5][None]
        seen.append(np.asarray(report.network.bag_model(bags, training=False)).tobytes())

    settings = BagLikelihood(
        head="multiclass", bag_size=5, seed=1, network=PLAIN, training=TrainingConfig(3, 500)
    )
    settings.fit(SAMPLES, on_epoch=look)
    assert len(set(seen)) == 3


@pytest.mark.parametrize(("head", "samples"), [("multiclass", SAMPLES), ("polynomial", QUADRATIC)])
def test_a_loss_that_is_not_finite_is_refused(head, samples):
    training = TrainingConfig(6, 500, 1e30, 1.0)
    deep = NetworkConfig((8, 8), "elu", batch_norm=False, dropout=0.0, l2=0.0)
    with pytest.raises(ModelError, match=r"loss became .* in epoch \d+; .*learning_rate"):
        fitted(training, samples, head=head, order=1, network=deep)


def test_features_that_cannot_train_are_refused():
    bad = np.zeros((10, 1))
    bad[3] = np.nan
    with pytest.raises(SampleError, match="'x0' is not finite in event 3"):
        Sample(bad, ("x0",), point={"mu": 0.0})
    features = SAMPLES[0].features.copy()
    features[0] = 3e38
    wide = dataclasses.replace(SAMPLES[0], features=features)
    with pytest.raises(ModelError, match="feature 'x0' has values too large"):
        fitted(TrainingConfig(1), SampleSet((wide, *SAMPLES.samples[1:])))


def test_a_constant_feature_does_no_harm():
    flat = SampleSet(
        tuple(
            dataclasses.replace(
                s,
                features=np.column_stack([s.features, np.full(len(s), 7.0)]),
                feature_names=("x0", "flat"),
            )
            for s in SAMPLES
        )
    )
    model = fitted(TrainingConfig(2, 500), flat)
    assert np.isfinite(model.event_llr(flat[0])).all()


def test_a_batch_holds_one_bag_at_least():
    """Regression: batches smaller than a bag were empty, and the loss not a number."""
    seen = history(TrainingConfig(2, batch_events=3), samples=gaussian.samples(100, [0, 1], seed=1))
    assert np.isfinite(seen["loss"]).all()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_events": 0}, "batch_events=0"),
        ({"patience": 0}, "patience=0"),
        ({"learning_rate": -1.0}, "learning_rate=-1"),
        # Regression: the first plateau raised the rate to its minimum.
        ({"learning_rate": 1e-5}, "learning_rate=1e-05 must not be below min_learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"schedule": "linear"}, "schedule='linear'"),
        ({"weight_decay": -0.1}, r"weight_decay=-0\.1"),
        ({"weight_decay": 2e3}, "weight_decay=2000"),
    ],
)
def test_optimiser_settings_that_cannot_work_are_named(options, name):
    with pytest.raises(ConfigurationError, match=name):
        TrainingConfig(**options)


def test_the_validation_loss_is_that_of_the_network_as_it_is():
    """Regression: averages over the last hundred batches were those of a network long gone.

    The validation loss rose from the first epoch on (1.1 to 1.5), and its weights were kept.
    """
    samples = gaussian.samples(5000, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=5000)
    seen = history(
        TrainingConfig(6, batch_events=1250), samples=samples, bag_size=50, network=NetworkConfig()
    )
    assert (np.diff(seen["val_loss"]) < 0).sum() >= 4
    assert seen["val_loss"][-1] < 0.85 * seen["val_loss"][0]


def test_an_epoch_has_twenty_steps_unless_bags_or_events_are_few():
    automatic = TrainingConfig()
    for n_bags, bag_size, steps in ((12_000, 1, 20), (4_000, 50, 20), (100, 50, 5), (400, 1, 6)):
        found = n_bags * bag_size // automatic.batch_for(n_bags, bag_size)
        assert found == steps, (n_bags, bag_size)
    assert automatic.batch_for(10_000_000, 1) == automatic.batch_for(10_000, 250) == 10_000
    assert TrainingConfig(batch_events=7).batch_for(10_000_000, 1) == 7


def test_defaults_learn_from_few_events():
    """Regression: 1500 events a point made one step an epoch, and Λ was far too flat."""
    samples = gaussian.samples(1500, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=1500)
    model = BagLikelihood(head="multiclass", seed=1).fit(samples)
    x = gaussian.generate(4000, 0.0, seed=2)
    exact = gaussian.log_likelihood_ratio(x.column("x0"), 0.5)
    learned = model.event_llr(x)[:, int(np.argmin(np.abs(model.fitted.grid - 0.5)))]
    slope, _ = np.polyfit(exact, learned, 1)
    assert slope == pytest.approx(1, abs=0.2)
    assert np.corrcoef(exact, learned)[0, 1] > 0.98


def test_a_training_that_could_go_on_says_so():
    with pytest.warns(
        ConvergenceWarning, match="of 1 of 1 networks .* after 3 epochs; train for more"
    ):
        fitted(TrainingConfig(3, 500, learning_rate=1e-3, patience=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A cosine ends where it shall, and a plateau is the end of learning.
        fitted(TrainingConfig(3, 500, schedule="cosine"))
        fitted(TrainingConfig(60, 500, 2e-2, 6e-3, patience=2))
