"""Events that have trained a model do not judge it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from milinfer.datasets import gaussian, quadratic
from milinfer.diagnostics.diagnosis import diagnose
from milinfer.exceptions import CalibrationError, ModelError, ParameterError, SampleError
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.conditional_coverage import conditional_coverage
from milinfer.intervals.coverage import coverage
from milinfer.intervals.neyman import neyman
from milinfer.learning.background_ratio import BackgroundRatio
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.boosted_trees import BoostedLikelihood, BoostedSettings
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.likelihood.models import (
    Renamed,
    as_model,
    curve,
    dataset_surface,
    has_seen,
    model_tag,
    trained_on,
)
from milinfer.likelihood.oracle import Oracle
from milinfer.likelihood.profiled_mixture import ProfiledMixture
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples import sample_files as storage
from milinfer.samples.bags import bag_offsets
from milinfer.samples.fingerprints import sketch
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import Toys
from models import GRID, Bags, GaussianMean, gaussian_samples
from random_networks import random_networks

VALUES = [-0.5, 0.0, 0.5]
TRAINED = gaussian.samples(2000, VALUES, seed=1)
OTHER = gaussian.samples(2000, VALUES, seed=2)


def network(**settings):
    plain = NetworkConfig((4,), batch_norm=False, dropout=0.0, l2=0.0)
    quick = {"bag_size": 2, "network": plain, "training": TrainingConfig(1, 1000, 1e-3)}
    return BagLikelihood(**{"head": "multiclass"} | quick | settings)


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
    message = r"toys of multiclass at mu=0 were drawn from its training events.*independent events"
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
    with random_networks():
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
    with random_networks():
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


@pytest.mark.parametrize("called", [lambda model: model, lambda model: Renamed(model, "other")])
def test_bags_are_told_from_events_whatever_they_are_called(called):
    events, bags = called(GaussianMean()), called(Bags())
    assert events.additive
    assert not events.scores_bags
    assert not bags.additive
    assert bags.scores_bags
    for model in (events, bags):
        assert not model.has_rate
        assert model.log_polynomials(DATA) is None


class Plain:
    """A class of a user, which inherits from nothing."""

    name, parameters, interpolation = "plain", ("mu",), GRID
    feature_names, digest, trained_on = ("x",), "abc", ("words",)

    def event_llr(self, sample):
        return GaussianMean().event_llr(sample)


def test_a_plain_class_is_a_model_of_events():
    model, renamed = as_model(Plain()), Renamed(Plain(), "other")
    assert model_tag(model) == model_tag(Plain()) == ("plain", 1, ("x",), "abc")
    assert model_tag(renamed)[1:] == model_tag(model)[1:]
    assert trained_on(model) == trained_on(renamed) == ("words",)
    pool, exact = SampleSet((DATA,)), GaussianMean()
    thrown = Toys(pool, 20, seed=1).run([exact, Plain(), renamed], 0.0, 30)
    for name in ("plain", "other"):
        np.testing.assert_array_equal(thrown[name].values, thrown["gaussian"].values)
        assert thrown[name].pool_variance_error == thrown["gaussian"].pool_variance_error
    for other in (Plain(), renamed):
        values = dataset_surface(other, DATA).values
        np.testing.assert_array_equal(values, dataset_surface(exact, DATA).values)


def test_a_plain_class_may_know_its_polynomials():
    samples = quadratic.samples(50, [{"c1": 0.0}], seed=1)
    oracle = Oracle.from_sample(samples[0], "c1", np.linspace(-1, 1, 9), degree=2)

    class Polynomial:
        name, parameters, interpolation = "mine", ("c1",), oracle.interpolation
        event_llr, log_polynomials = oracle.event_llr, oracle.log_polynomials

    surface = dataset_surface(Polynomial(), samples[0].as_data())
    assert surface.value(np.array([0.33])) == dataset_surface(oracle, samples[0].as_data()).value(
        np.array([0.33])
    )


class WithoutRatios:
    name, parameters, interpolation = "mine", ("mu",), GRID


class NotAdditive(Plain):
    additive = False


INHERIT = "give its class name, .*derive the class from BagModel"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (WithoutRatios(), f"mine is not a model: {INHERIT}"),
        (NotAdditive(), f"plain is not a model: {INHERIT}"),
        (3, f"int is not a model: {INHERIT}"),
        (GaussianMean, r"GaussianMean is a class; give a model, such as GaussianMean\(\)"),
    ],
)
def test_what_is_not_a_model_is_refused(other, message):
    uses = (
        as_model,
        lambda m: dataset_surface(m, DATA),
        lambda m: Toys(SampleSet((DATA,)), 20, seed=1).run([m], 0.0, 30),
    )
    for use in uses:
        with pytest.raises(ModelError, match=message):
            use(other)


def test_models_that_are_no_sum_over_events_have_no_ratios_of_them():
    model = Bags()
    with pytest.raises(ModelError, match="bags gives no log-ratios of single events"):
        model.event_llr(DATA)
    with pytest.raises(ModelError, match="bags has no log-ratios of single events in its table"):
        model.event_ratios(model.event_table(DATA))


def test_a_curve_needs_one_parameter():
    assert curve(GaussianMean()) is GRID
    with pytest.raises(ParameterError, match="exactly one parameter, not a, b"):
        curve(Bags(parameters=("a", "b")))
    with pytest.raises(ParameterError, match="bags has a box of one parameter, mu"):
        curve(Bags(interpolation=ChebyshevBox(np.zeros(1), np.ones(1), 4)))


def test_a_tag_tells_models_apart_and_survives_saving(tmp_path):
    from milinfer.datasets import gaussian
    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.networks.configs import TrainingConfig

    samples = gaussian.samples(300, [-0.5, 0.0, 0.5], seed=1)
    training = TrainingConfig(epochs=1)
    with random_networks():
        one, other = (
            BagLikelihood(head="multiclass", bag_size=10, seed=s, training=training).fit(samples)
            for s in (1, 2)
        )
    one.save(tmp_path / "model")
    again = BagLikelihood.load(tmp_path / "model")
    assert model_tag(one) == model_tag(again)
    assert model_tag(one) != model_tag(other)
    assert model_tag(one)[:3] == ("multiclass", 10, ("x0",))


DATA = gaussian_samples([0.0], 40, 1)[0]
OFFSETS = np.array([0, 7, 7, 10, 40, 40])
INDEX = np.random.default_rng(2).integers(40, size=40)


def by_hand(model, table, index):
    """Bag by bag."""
    out = np.zeros(len(GRID.grid))
    for start in range(0, len(index), model.events_in_bag):
        bag = table[index[start : start + model.events_in_bag]].astype(np.float64)
        reduced = bag.sum(axis=0) if model.reduction == "sum" else bag.max(axis=0)
        out += model.bag_llr(reduced[None], np.array([len(bag)]))[0]
    return out


def test_ratios_add_up_over_segments():
    model = GaussianMean()
    table = model.event_table(DATA)
    found = model.segment_llr(table, INDEX, np.ones(40), OFFSETS)
    for k, (a, b) in enumerate(pairwise(OFFSETS)):
        np.testing.assert_allclose(found[k], table[INDEX[a:b]].sum(axis=0), atol=1e-12)
    np.testing.assert_array_equal(found[[1, 4]], 0)


def test_signs_subtract_events():
    model = GaussianMean()
    table, signs = model.event_table(DATA), np.where(INDEX % 3 == 0, -1.0, 1.0)
    found = model.segment_llr(table, INDEX, signs, OFFSETS)
    np.testing.assert_allclose(found[3], signs[10:] @ table[INDEX[10:]], atol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "max"])
@pytest.mark.parametrize("events_in_bag", [1, 3, 50])
def test_bags_are_reduced_and_their_ratios_add_up(reduction, events_in_bag):
    model = Bags(reduction, events_in_bag)
    table = model.event_table(DATA)
    found = model.segment_llr(table, INDEX, np.ones(40), OFFSETS)
    for k, (a, b) in enumerate(pairwise(OFFSETS)):
        np.testing.assert_allclose(found[k], by_hand(model, table, INDEX[a:b]), atol=1e-12)
    np.testing.assert_array_equal(found[[1, 4]], 0)
    counts = np.diff(bag_offsets(7, events_in_bag))
    assert counts.sum() == 7
    assert counts[-1] == {1: 1, 3: 1, 50: 7}[events_in_bag]  # what is left over is a bag


def test_a_dataset_of_bags_is_its_only_segment():
    model = Bags("max")
    values = by_hand(model, model.event_table(DATA), np.arange(40))
    np.testing.assert_allclose(dataset_surface(model, DATA).values, values, atol=1e-12)


def test_bags_refuse_negative_weights():
    weights = np.where(np.arange(40) == 5, -1.0, 1.0)
    with pytest.raises(SampleError, match=r"signal at mu=0: bags scores bags as a whole"):
        Bags().event_table(replace(DATA, weights=weights))
    assert GaussianMean().event_table(replace(DATA, weights=weights)).shape == (40, 9)


@pytest.mark.parametrize("weights", [np.full(40, 2.0), np.linspace(0.5, 1.5, 40)])
def test_bags_refuse_weighted_datasets(weights):
    data = replace(DATA, weights=weights)
    assert Bags().event_table(data).shape == (40, 2)  # toys are drawn by these weights
    with pytest.raises(SampleError, match="bags scores bags as a whole and cannot use weights"):
        dataset_surface(Bags(), data)


def test_weights_scale_a_sum_over_events():
    one = dataset_surface(GaussianMean(), DATA).values
    two = dataset_surface(GaussianMean(), replace(DATA, weights=np.full(40, 2.0))).values
    np.testing.assert_allclose(two, 2 * one)


def test_a_model_that_can_do_both_says_which():
    @dataclass(frozen=True)
    class Both(Bags):
        additive: bool = True

        def event_llr(self, sample):
            return np.ones((len(sample), 9))

    assert Both().event_table(DATA).shape == (40, 9)
    assert Both(additive=False).event_table(DATA).shape == (40, 2)


def test_no_events_are_no_information():
    empty = Sample(np.zeros((0, 1)), ("x",))
    np.testing.assert_array_equal(dataset_surface(GaussianMean(), empty).values, 0)


def test_datasets_larger_than_a_block_are_the_sum_of_their_parts(monkeypatch):
    data = gaussian_samples([0.2], 1001, 7).at(mu=0.2)
    whole = dataset_surface(GaussianMean(), data).values
    monkeypatch.setattr("milinfer.likelihood.models._BLOCK", 100)
    np.testing.assert_allclose(dataset_surface(GaussianMean(), data).values, whole, rtol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "max"])
def test_bags_of_many_datasets_go_through_the_network_in_blocks(monkeypatch, reduction):
    model = Bags(reduction)
    table = model.event_table(DATA)
    ones = np.ones(len(INDEX))
    whole = model.segment_llr(table, INDEX, ones, OFFSETS)
    monkeypatch.setattr("milinfer.likelihood.models._BLOCK", 8)
    found = model.segment_llr(table, INDEX, ones, OFFSETS)
    # Products of matrices round differently with other numbers of rows.
    np.testing.assert_allclose(found, whole, rtol=1e-14)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_log_ratio_that_is_no_number_names_its_event(value):
    """Regression: it surfaced in scipy as "`y` must contain only finite values"."""

    class Odd(GaussianMean):
        def event_llr(self, sample):
            table = super().event_llr(sample).copy()
            table[[7, 9], 3] = value
            return table

    sample = gaussian_samples([0.0], 20, 1)[0]
    with pytest.raises(
        ModelError, match=rf"returned {value} for event 7 of .*\(2 of its 20 events"
    ):
        dataset_surface(Odd(), sample.as_data())
    with pytest.raises(ModelError, match="for event 7 of"):
        Toys(SampleSet((sample,)), 10, seed=1).run([Odd()], 0.0, 3)
