"""What each head learns from each kind of label, and which settings are refused."""

from __future__ import annotations

import dataclasses
import json
import warnings

import numpy as np
import pytest
from iminuit import Minuit

import milinfer as mil
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import (
    ConfigurationError,
    MilinferWarning,
    ModelError,
    ParameterError,
    SampleError,
)
from milinfer.learning import members
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.members import member_seeds
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.networks.training_bags import ClassBags, PairBags
from milinfer.learning.settings import LikelihoodSettings
from milinfer.learning.training_points import training_points
from milinfer.samples.reweighting import joint_targets
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.samples.weights import effective_number
from random_networks import random_networks

SMOOTH = NetworkConfig((32,), "gelu", batch_norm=False, dropout=0.0, l2=0.0)
PLAIN = NetworkConfig((16,), "elu", batch_norm=False, dropout=0.0, l2=0.0)
# So few steps that XLA does not compile them, which would take longer than the training.
TRAINING = TrainingConfig(6, 2000, 1e-2, 1e-4, schedule="cosine")
OF_TWO_POINTS = TrainingConfig(6, 1000, 1.5e-2, 1e-4, schedule="cosine")
SHORT = TrainingConfig(1, 1000)

POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
MEANS = [-0.5, -0.25, 0.0, 0.25, 0.5]
SAMPLES = quadratic.samples(6000, [{"c1": c} for c in POINTS], seed=1)
HELD_OUT = quadratic.generate(20_000, {"c1": 0.0}, seed=7)
GRID2 = [{"c1": a, "c2": b} for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)]
SAMPLES2 = quadratic.samples(4000, GRID2, seed=1)
GAUSSIANS = gaussian.samples(6000, MEANS, seed=1)


def polynomial(samples=SAMPLES, **options):
    settings = {"head": "polynomial", "order": 1, "seed": 1, "network": SMOOTH}
    return BagLikelihood(**settings | {"training": TRAINING} | options).fit(samples)


def on_gaussians(samples=GAUSSIANS, **options):
    settings = {"bag_size": 5, "seed": 1, "network": PLAIN, "training": TRAINING}
    return BagLikelihood(**{"head": "multiclass"} | settings | options).fit(samples)


def quality(model, sample=HELD_OUT):
    """Squared correlation of learned and exact score at θ0, and the slope of one on the other."""
    learned = model.interpolation.evaluate(model.event_llr(sample), np.zeros(len(sample)), 1)
    step = np.array([[-1e-4], [1e-4]])
    exact = quadratic.log_likelihood_ratio(sample.features, step) @ [-0.5e4, 0.5e4]
    return np.corrcoef(learned, exact)[0, 1] ** 2, np.polyfit(learned, exact, 1)[0]


@pytest.fixture(scope="module")
def joint():
    return polynomial(labels="joint")


@pytest.fixture(scope="module")
def hard():
    return polynomial()


@pytest.fixture(scope="module")
def joint2():
    return polynomial(SAMPLES2, labels="joint", training=TrainingConfig(10, 1000, 5e-3, 1e-4))


# The squared correlation of scores is the efficiency: 1 − it is the part of the information lost.


def test_joint_labels_teach_more_than_hard_ones(joint, hard):
    (of_joint, slope_joint), (of_hard, slope_hard) = quality(joint), quality(hard)
    assert of_joint > 0.85
    assert of_hard > 0.8
    assert of_joint > of_hard
    assert slope_joint == pytest.approx(1, abs=0.1)
    assert slope_hard == pytest.approx(1, abs=0.25)
    assert (joint.name, hard.name) == ("polynomial-joint", "polynomial")


@pytest.mark.parametrize("which", ["joint", "hard"])
def test_ratios_are_normalised_and_one_at_the_reference(which, request):
    model = request.getfixturevalue(which)
    llr = model.event_llr(HELD_OUT)
    grid = model.interpolation.grid
    (origin,) = np.flatnonzero(grid == 0)
    np.testing.assert_allclose(llr[:, origin], 0, atol=1e-6)
    ratio = np.exp(np.delete(llr, origin, axis=1))
    # Z(θ) comes from 30 000 training events: a fluctuation of nearly the size of that of the test.
    error = ratio.std(axis=0) * np.sqrt(1 / len(HELD_OUT) + 1 / 30_000)
    assert np.abs((ratio.mean(axis=0) - 1) / error).max() < 3.5
    assert np.abs(ratio.mean(axis=0) - 1).max() < 0.015


def test_points_are_dictionaries_or_values_in_the_order_of_the_parameters():
    options = {"labels": "joint", "training": SHORT, "order": 1}
    sample = SampleSet(SAMPLES2.samples[:1])
    reference = tuple(sample[0].point.values())
    named = [{"c2": p["c2"], "c1": p["c1"]} for p in GRID2]
    values = [[p["c1"], p["c2"]] for p in GRID2]
    with random_networks():
        by_name = polynomial(sample, points=named, reference=reference, **options)
        by_order = polynomial(sample, points=values, reference=reference, **options)
    np.testing.assert_array_equal(by_name.fitted.points, by_order.fitted.points)
    assert by_name.points == by_order.points == tuple(map(tuple, values))
    for points, message in (
        (
            [{"c1": 0.0, "c3": 0.0}],
            r"points= has c1=0,c3=0, but each point needs values of c1, c2",
        ),
        ([{"c1": 0.0}], r"points= has c1=0, but each point needs values of c1, c2"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            polynomial(sample, points=points, **options)


def test_one_sample_with_joint_labels_serves_all_points():
    sample = quadratic.samples(20_000, [{"c1": 0.0}], seed=1)
    model = polynomial(sample, labels="joint", points=tuple((c,) for c in POINTS))
    efficiency, slope = quality(model)
    assert efficiency > 0.8
    assert slope == pytest.approx(1, abs=0.1)
    assert model.fitted.scale[0] == pytest.approx(1, abs=0.2)
    np.testing.assert_array_equal(model.fitted.grid, POINTS)
    # Of the 16 000 events that train, points far away have fewer.
    assert 8_000 < model.fitted.effective_events < 16_000
    data = quadratic.generate(5000, {"c1": 0.5}, seed=9)
    fit = Minuit(model.cost(data), c1=0.0).migrad()
    assert abs(fit.values["c1"] - 0.5) < 3 * fit.errors["c1"]


@pytest.mark.parametrize("labels", ["hard", "joint"])
def test_bags_teach_the_same_head(labels, joint, hard):
    model = polynomial(labels=labels, bag_size=5)
    efficiency, slope = quality(model)
    assert efficiency > 0.78
    assert slope == pytest.approx(1, abs=0.25)
    events = {"hard": hard, "joint": joint}[labels]
    ends = model.event_llr(HELD_OUT)[:, [0, -1]], events.event_llr(HELD_OUT)[:, [0, -1]]
    for k in (0, 1):
        assert np.corrcoef(ends[0][:, k], ends[1][:, k])[0, 1] > 0.9
    # The slopes at the two ends have opposite signs, those of the exact amplitude.
    exact = quadratic.log_likelihood_ratio(HELD_OUT.features, [[-1.0], [1.0]])
    for k in (0, 1):
        assert np.polyfit(exact[:, k], ends[0][:, k], 1)[0] > 0.5


def test_scores_help(hard):
    """Regression: amplitudes that began at random had huge scores and were never learned."""
    model = polynomial(score_weight=1.0)
    efficiency, _ = quality(model)
    plain, _ = quality(hard)
    assert efficiency > max(0.85, plain - 0.02)
    assert model.fitted.history[0]["loss"][0] < 2  # ln 5 and a little
    assert model.fitted.effective_events == pytest.approx(24_000)


def test_two_parameters_are_fitted(joint2):
    test = quadratic.generate(20_000, {"c1": 0.0, "c2": 0.0}, seed=17)
    grid = joint2.interpolation.grid
    learned, exact = joint2.event_llr(test), quadratic.log_likelihood_ratio(test.features, grid)
    for point in ((0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (-0.5, 0.5)):
        k = np.argmin(np.abs(grid - point).sum(axis=1))
        assert np.corrcoef(learned[:, k], exact[:, k])[0, 1] ** 2 > 0.8
        ratio = np.exp(learned[:, k])
        assert abs(ratio.mean() - 1) < 4 * ratio.std() * np.sqrt(1 / 20_000 + 1 / 36_000)
    (origin,) = np.flatnonzero(np.all(np.abs(grid) < 1e-12, axis=1))
    np.testing.assert_allclose(learned[:, origin], 0, atol=1e-6)
    truth = np.array([0.3, -0.2])
    shift = np.zeros(2)
    for seed in range(4):
        data = quadratic.generate(4000, {"c1": 0.3, "c2": -0.2}, seed=80 + seed)
        fit = Minuit(joint2.cost(data), c1=0.0, c2=0.0).migrad()
        fit.hesse()
        shift += (np.array(fit.values) - truth) / 4
        assert fit.valid
        # The errors are those of the exact information, which is nearly that at θ = 0.
        exact_errors = np.sqrt(np.diag(np.linalg.inv(quadratic.fisher_information(4000, 2))))
        np.testing.assert_allclose(np.array(fit.errors), exact_errors, rtol=0.35)
    covariance = np.array(fit.covariance) / 4
    # Three standard errors of the mean in two parameters, and the network's own of that size.
    assert shift @ np.linalg.inv(2 * covariance) @ shift < 11.8


# Multi-class in two parameters


def test_a_multi_class_head_in_two_parameters():
    settings = BagLikelihood(
        head="multiclass", bag_size=5, seed=1, network=SMOOTH, training=TRAINING
    )
    model = settings.fit(SAMPLES2)
    assert model.degree == 2  # of "auto"
    # Normalised logits of degree 2 are nearly polynomials of degree 4.
    assert model.interpolation.grid.shape == (25, 2)
    data = quadratic.generate(8000, {"c1": 0.3, "c2": -0.2}, seed=8)
    surface = model.surface(data)
    assert surface.value(np.zeros(2)) == pytest.approx(0, abs=1e-6)
    fit = Minuit(model.cost(data), c1=0.0, c2=0.0).migrad()
    # The data know each parameter to 0.04; so does a network from 4000 events at a point, or less.
    np.testing.assert_allclose(np.array(fit.values), [0.3, -0.2], atol=0.2)
    again = dataclasses.replace(settings, degree=2, training=SHORT)
    chosen = dataclasses.replace(settings, training=SHORT)
    with random_networks():
        few = [m.fit(SAMPLES2).event_llr(data) for m in (again, chosen)]
    np.testing.assert_array_equal(*few)


def test_logits_need_points_that_fix_them():
    cross = [{"c1": a, "c2": b} for a, b in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (0.5, 0))]
    axes = quadratic.samples(300, cross, seed=1)
    for degree in (2, "auto"):  # no point away from the axes: c1·c2 would be left to chance
        with pytest.raises(
            ModelError, match="degree 2 in c1, c2 cannot be determined from these 6 points"
        ):
            BagLikelihood(head="multiclass", degree=degree).fit(axes)
    with pytest.raises(
        ModelError, match="degree 3 in c1, c2 cannot be determined from these 9 points"
    ):
        BagLikelihood(head="multiclass", degree=3).fit(SAMPLES2)
    with pytest.raises(ModelError, match="degree 0"):
        BagLikelihood(head="multiclass", degree=0).fit(SAMPLES2)
    with pytest.raises(ConfigurationError, match="free logits"):
        BagLikelihood(head="multiclass", degree=None).fit(SAMPLES2)
    diagonal = quadratic.samples(300, [{"c1": a, "c2": a} for a in (-1.0, 0.0, 1.0)], seed=1)
    for head in ("multiclass", "polynomial", "parametrised"):
        with pytest.raises(ModelError, match="do not span c1, c2"):
            BagLikelihood(head=head).fit(diagonal)
    one = SampleSet(SAMPLES.samples[2:3])
    with pytest.raises(ModelError, match=r"do not span c1; .* use labels='joint'"):
        BagLikelihood(head="polynomial").fit(one)
    bare = SampleSet([dataclasses.replace(one[0], reweights={}, reweight_points={})])
    with pytest.raises(ModelError, match=r"do not span c1; .* give events weights"):
        BagLikelihood(head="polynomial", labels="joint").fit(bare)


def test_one_sample_is_learned_between_the_points_of_its_weights(tmp_path):
    """Default points: those of the weights that all samples carry, with sample and reference."""
    one = quadratic.samples(3000, [{"c1": 0.5}], seed=1)
    options = {"head": "polynomial", "labels": "joint", "order": 1, "training": SHORT}
    model = BagLikelihood(**{"head": "multiclass"} | options).fit(one)
    assert model.fitted.points.ravel().tolist() == [-1.0, 0.0, 0.5, 1.0]
    given = BagLikelihood(points=[-1.0, 0.0, 0.5, 1.0], **{"head": "multiclass"} | options).fit(one)
    np.testing.assert_array_equal(model.event_llr(HELD_OUT), given.event_llr(HELD_OUT))
    one[0].to_file(tmp_path / "one.parquet")
    streamed = StreamedSamples.from_files({0.5: tmp_path / "one.parquet"}, "c1")
    settings = LikelihoodSettings(labels="joint", head="polynomial", reference=0.25)
    expected = [[-1.0], [0.0], [0.25], [0.5], [1.0]]
    assert training_points(settings, streamed).tolist() == expected
    assert training_points(settings, one).tolist() == expected
    with pytest.raises(ConfigurationError, match="use bag_size=1"):
        BagLikelihood(head="multiclass", labels="joint", bag_size=5).fit(one)
    # Samples that span the parameter are learned between their own points, as before.
    two = quadratic.samples(50, [{"c1": -0.25}, {"c1": 0.5}], seed=1)
    assert training_points(settings, two).ravel().tolist() == [-0.25, 0.5]


def test_weights_that_one_sample_lacks_are_no_training_points():
    first, second = (
        quadratic.generate(
            50, {"c1": 0.0, "c2": c}, seed=1, weights=[{"c1": a, "c2": 0.0} for a in values]
        )
        for c, values in ((0.0, (0.5, 1.0)), (0.5, (0.5, -1.0)))
    )
    settings = LikelihoodSettings(labels="joint", head="polynomial")
    expected = [[0.0, 0.0], [0.0, 0.5], [0.5, 0.0]]
    assert training_points(settings, SampleSet([first, second])).tolist() == expected


def test_automatic_degrees_always_have_a_maximum():
    three = gaussian.samples(200, [-0.5, 0.0, 0.5], seed=1)
    with random_networks():
        assert on_gaussians(three, training=SHORT).degree == 2
        two = on_gaussians(gaussian.samples(200, [0.0, 0.5], seed=1), training=SHORT)
    assert two.degree == 1
    with pytest.raises(ParameterError, match="two hypotheses"):
        two.surface(three[0]).extremum  # noqa: B018


# Binary and parametrised networks


@pytest.mark.parametrize(
    ("loss", "bag_size"),
    [
        ("bce", 1),
        ("mse", 1),
        ("square-root", 1),
        ("mlc-exponential", 1),
        ("mlc-linear", 1),
        ("bce", 5),
    ],
)
def test_every_loss_finds_the_ratio_of_two_gaussians(loss, bag_size):
    samples = gaussian.samples(10_000, [0.0, 0.5], seed=3)
    # A linear f must bend as the ratio does, which a few ELUs are slow to learn.
    network = dataclasses.replace(PLAIN, activation="gelu") if loss == "mlc-linear" else PLAIN
    options = {"loss": loss, "bag_size": bag_size, "network": network}
    model = on_gaussians(samples, head="binary", training=OF_TWO_POINTS, **options)
    test = gaussian.generate(5000, 0.25, seed=9)
    x = test.column("x0").astype(float)
    llr = model.event_llr(test)
    assert llr.shape == (5000, 2)
    np.testing.assert_array_equal(llr[:, 0], 0)
    core = np.abs(x - 0.25) < 1.5  # a linear f leaves its range in the tails
    slope, offset = np.polyfit(x[core], llr[core, 1], 1)
    # 20 000 events fix the slope of 0.5 to 0.015; a network that bends adds several times that.
    assert slope == pytest.approx(0.5, abs=0.09)
    assert slope * 0.25 + offset == pytest.approx(0, abs=0.04)  # the ratio is one half-way
    with pytest.raises(ParameterError, match="two hypotheses"):
        model.surface(test).extremum  # noqa: B018


def test_a_binary_head_has_a_network_for_each_other_point():
    seen = []
    settings = BagLikelihood(
        head="binary", bag_size=5, seed=1, network=PLAIN, training=OF_TWO_POINTS
    )
    model = settings.fit(GAUSSIANS, on_epoch=seen.append)
    assert model.fitted.n_networks == 4
    # Regression: a progress display once got member 3 of 1.
    assert {(r.member, r.n_members) for r in seen} == {(k, 4) for k in range(4)}
    test = gaussian.generate(4000, 0.2, seed=9)
    llr = model.event_llr(test)
    np.testing.assert_array_equal(llr[:, 2], 0)
    slopes = [np.polyfit(test.column("x0"), llr[:, k], 1)[0] for k in range(5)]
    np.testing.assert_allclose(slopes, MEANS, atol=0.25)
    assert np.all(np.diff(slopes) > 0)
    surface = model.surface(test)
    np.testing.assert_allclose(  # five points and degree four: the continuation goes through
        surface(np.array(MEANS)), llr.sum(axis=0), atol=1e-6
    )
    assert surface.extremum.theta_hat[0] == pytest.approx(0.2, abs=0.08)
    with pytest.raises(ConfigurationError, match="head='binary' cannot be interpolated"):
        BagLikelihood(head="binary").fit(SAMPLES2)


@pytest.fixture(scope="module")
def held_out():
    return gaussian.samples(8000, MEANS, seed=2)


@pytest.mark.parametrize(("symmetric", "tolerance"), [(True, 0.08), (False, 0.16)])
def test_a_parametrised_network_learns_the_mean(symmetric, tolerance):
    model = on_gaussians(head="parametrised", symmetric=symmetric)
    for mean in (-0.25, 0.2):
        test = gaussian.generate(5000, mean, seed=9)
        assert model.surface(test).extremum.theta_hat[0] == pytest.approx(mean, abs=tolerance)
    llr = model.event_llr(test)
    np.testing.assert_array_equal(llr[:, 2], 0)
    slopes = [np.polyfit(test.column("x0"), llr[:, k], 1)[0] for k in range(5)]
    assert np.all(np.diff(slopes) > 0)


def caught(model, samples):
    diagnosis = mil.diagnose(model, samples, n_toys=200)
    assert not diagnosis.passed
    assert diagnosis.failures
    return {c.name for c in diagnosis.failures}


def test_a_network_that_reads_the_label_off_theta_is_caught(held_out, monkeypatch):
    """[AS], §C.5: a direct map from θ to the label, whatever the events."""
    draw = PairBags.draw

    def telltale(self, rng):
        epoch = draw(self, rng)
        return epoch._replace(labels=(epoch.theta > 2).astype(np.int64))

    monkeypatch.setattr(PairBags, "draw", telltale)
    model = on_gaussians(head="parametrised", symmetric=False, normalise=False)
    llr = model.event_llr(held_out[2])
    assert np.ptp(llr.mean(axis=0)) > 10 * llr.std(axis=0).max()
    assert caught(model, held_out) & {"closure", "classifier", "calibration"}


@pytest.mark.parametrize("what", ["no information", "too few events", "too few epochs"])
def test_networks_that_learned_nothing_are_caught(what, held_out):
    rng = np.random.default_rng(5)
    noise = tuple(Sample(rng.normal(size=(2000, 1)), ("x0",), point=s.point) for s in GAUSSIANS)
    few = tuple(s.take(slice(0, 60)) for s in GAUSSIANS)
    samples, training = {
        "no information": (SampleSet(noise), TRAINING),
        "too few events": (SampleSet(few), TRAINING),
        "too few epochs": (GAUSSIANS, TrainingConfig(1, 50_000)),
    }[what]
    model = on_gaussians(samples, head="parametrised", symmetric=False, training=training)
    assert caught(model, held_out)


# Weights of events


def doubled(sample):
    twice = sample + sample
    return dataclasses.replace(twice, weights=np.full(len(twice), 0.5))


def with_cancelling_events(sample, n):
    """A third of the events again, twice, with weights that cancel."""
    extra = sample.take(slice(0, n))
    signs = np.concatenate([np.ones(len(sample) + n), -np.ones(n)])
    return dataclasses.replace(sample + extra + extra, weights=signs)


def test_half_the_weight_on_twice_the_events_is_the_same():
    points = np.array(POINTS)[:, None]
    small = SampleSet(tuple(s.take(slice(0, 500)) for s in SAMPLES))
    twice = SampleSet(tuple(doubled(s) for s in small))
    once, again = (joint_targets(s, points, 2) for s in (small, twice))
    np.testing.assert_allclose(again.total, once.total, rtol=1e-8)
    for a, b in zip(once.targets, again.targets, strict=True):
        np.testing.assert_allclose(b.log_ratio[:500], a.log_ratio, atol=1e-8)
        np.testing.assert_array_equal(b.log_ratio[500:], b.log_ratio[:500])
        np.testing.assert_allclose(b.score[:500], a.score, atol=1e-7)
        np.testing.assert_allclose(b.weights[:500] + b.weights[500:], a.weights, rtol=1e-8)
    epoch = ClassBags(twice, 1).draw(np.random.default_rng(1))
    np.testing.assert_allclose(epoch.weights, 1)  # of mean one, as without weights


@pytest.mark.parametrize("labels", ["hard", "joint"])
def test_negative_weights_train(labels, joint, hard):
    signed = SampleSet(tuple(with_cancelling_events(s, 1000) for s in SAMPLES))
    model = polynomial(signed, labels=labels)
    efficiency, _ = quality(model)
    # 6000²/8000 effective events in place of 6000: a quarter of the statistical power is lost.
    assert efficiency > 0.6
    effective = [effective_number(s.weights) for s in signed]
    np.testing.assert_allclose(effective, 6000**2 / 8000)
    if labels == "joint":
        assert model.fitted.effective_events < 0.8 * joint.fitted.effective_events
    else:
        assert model.fitted.effective_events < 0.8 * hard.fitted.effective_events
        bags = polynomial(signed, bag_size=5, training=SHORT)  # bags of signed weights
        assert np.isfinite(bags.event_llr(HELD_OUT)).all()


# Settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "tree"}, "head='tree' is not one of"),
        ({"labels": "soft"}, "labels='soft' is not one of"),
        ({"average": "median"}, "average='median' is not one of"),
        ({"loss": "hinge"}, "no loss 'hinge'"),
        ({"loss": "bce"}, "loss='bce' does not fit head='multiclass'"),
        ({"head": "polynomial", "loss": "mse"}, "loss='mse' does not fit"),
        ({"head": "binary", "loss": "cross-entropy"}, "loss='cross-entropy' does not fit"),
        ({"head": "polynomial", "pooling": "sum"}, "takes no pooling="),
        ({"head": "binary", "pooling": "max"}, "only pooling='mean' or 'sum'"),
        ({"head": "parametrised", "pooling": "attention"}, "only pooling='mean' or 'sum'"),
        ({"pooling": "median"}, "unknown pooling 'median'"),
        ({"head": "binary", "labels": "joint"}, "labels='joint' needs"),
        ({"head": "parametrised", "labels": "joint"}, "labels='joint' needs"),
        ({"score_weight": 0.5}, "score_weight= need head='polynomial'"),
        ({"head": "polynomial", "score_weight": -1.0}, "score_weight=-1 must not be negative"),
        ({"head": "polynomial", "score_weight": float("nan")}, "score_weight=nan"),
        ({"head": "polynomial", "points": ((0.0,), (1.0,))}, "points= needs labels='joint'"),
        ({"labels": "joint", "points": ((0.0,), (1.0,))}, "points= needs bag_size=1"),
        (
            {"head": "polynomial", "labels": "joint", "points": ((0.0, 1.0),)},
            "points= needs 1 values",
        ),
        ({"head": "polynomial", "labels": "joint", "points": ()}, "points= needs 1 values"),
        (
            {"head": "polynomial", "labels": "joint", "points": ((0.0,), (1.0, 2.0))},
            "points= needs 1 values",
        ),
        ({"head": "binary", "loss": "mlc-linear"}, "loss='mlc-linear' gives .* bag_size=1"),
        ({"ensemble": 0}, "ensemble= and bag_size="),
        ({"bag_size": 0}, "ensemble= and bag_size="),
        ({"order": 0}, "order=0"),
        ({"validation_fraction": 0.0}, "validation_fraction=0 must be between"),
        ({"validation_fraction": 1.0}, "validation_fraction=1 must be between"),
        ({"reference": (0.0, 0.0)}, "reference= needs one value"),
        ({"head": "binary", "network": NetworkConfig(bag_hidden=(8,))}, "bag_hidden= .* needs"),
        ({"head": "polynomial", "network": NetworkConfig(bag_hidden=(8,))}, "bag_hidden="),
        ({"head": "parametrised", "network": NetworkConfig(bag_hidden=(8,))}, "bag_hidden="),
    ],
)
def test_settings_that_cannot_work_are_named(options, message):
    with pytest.raises(ConfigurationError, match=message):
        BagLikelihood(**{"head": "multiclass"} | options).fit(SAMPLES)


def test_samples_that_cannot_work_are_named():
    settings = BagLikelihood(head="polynomial", labels="joint", points=((0.5,), (1.0,)))
    with pytest.raises(ModelError, match="no point of points= at the reference c1 = 0"):
        settings.fit(SAMPLES)
    with pytest.raises(SampleError, match="no weights at other points"):
        BagLikelihood(head="polynomial", labels="joint").fit(GAUSSIANS)
    with pytest.raises(SampleError, match="no weights at other points"):
        BagLikelihood(head="polynomial", score_weight=0.1).fit(GAUSSIANS)
    with pytest.raises(ParameterError, match="spline needs at least 4"):
        BagLikelihood(head="multiclass", degree=None, interpolation_kind="spline").fit(
            gaussian.samples(100, [-0.5, 0.0, 0.5], seed=1)
        )
    with pytest.raises(ModelError, match="no parameter"):
        BagLikelihood(head="multiclass").fit(SampleSet((Sample(np.zeros((9, 1)), ("x",)),)))
    with pytest.raises(SampleError, match="cannot fill one bag of 50"):
        BagLikelihood(head="multiclass", bag_size=50).fit(gaussian.samples(60, MEANS, seed=1))


def test_validation_samples_must_match():
    settings = BagLikelihood(head="multiclass", bag_size=5, network=PLAIN, training=SHORT)
    samples = gaussian.samples(200, MEANS, seed=1)
    with random_networks():
        given = settings.fit(samples, gaussian.samples(100, MEANS[::-1], seed=2))
    assert set(given.fitted.n_events.values()) == {200}  # all of them train
    with pytest.raises(ModelError, match="validation= has samples at"):
        settings.fit(samples, gaussian.samples(100, MEANS[:4], seed=2))
    with pytest.raises(ModelError, match="validation= has features"):
        settings.fit(samples, gaussian.samples(100, MEANS, seed=2, n_features=2))


@pytest.mark.parametrize(
    ("options", "free"),
    [({"order": 2}, True), ({"order": 1}, False), ({"order": 1, "labels": "joint"}, False)],
)
def test_points_that_leave_a_polynomial_free_are_warned_of(options, free):
    """Three points fix a parabola, not a quartic; labels that know all points fix both."""
    samples = quadratic.samples(300, [{"c1": c} for c in (-1.0, 0.0, 1.0)], seed=1)
    short = TrainingConfig(1, 500, 1e-3)
    model = BagLikelihood(head="polynomial", network=SMOOTH, training=short, **options)
    with warnings.catch_warnings(record=True) as caught, random_networks():
        warnings.simplefilter("always", MilinferWarning)
        model.fit(samples)
    messages = [str(w.message) for w in caught if issubclass(w.category, MilinferWarning)]
    assert any("3 points determine only 3 of the 5 coefficients" in m for m in messages) is free


def states(seeds):
    streams = (*seeds.weights, *seeds.bags)
    return [seeds.split, *(int(s.generate_state(1)[0]) for s in streams)]


def test_seeds_of_a_member_do_not_depend_on_how_many_others_there_are():
    two, five = (
        [states(s) for s in member_seeds(BagLikelihood(head="multiclass", seed=3, ensemble=n))]
        for n in (2, 5)
    )
    assert two == five[:2]


def test_no_two_streams_of_an_ensemble_are_the_same():
    found = [
        state
        for s in member_seeds(BagLikelihood(head="multiclass", seed=3, ensemble=3))
        for state in states(s)
    ]
    assert len(set(found)) == len(found)


def test_the_held_out_scale_knows_which_mixture_its_events_are(monkeypatch):
    """Regression: Z at the samples' points once came from weights of the training points."""
    seen = []

    def spy(ratios, weights, values):
        seen.append(weights)
        return bennett(ratios, weights, values)

    bennett = members.bennett
    monkeypatch.setattr(members, "bennett", spy)
    sample = quadratic.samples(2000, [{"c1": 0.0}], seed=1)
    settings = {"head": "polynomial", "labels": "joint", "points": ((0.0,), (1.0,)), "order": 1}
    with random_networks():
        BagLikelihood(**settings, bag_size=1, seed=1, training=TrainingConfig(1, 1000)).fit(sample)
    assert seen
    for weights in seen:  # unweighted events of one sample
        np.testing.assert_allclose(weights, 1 / len(weights))


def test_more_parameters_than_a_table_holds(tmp_path):
    """A polynomial head needs no table: fits, MINOS and files work, and toys are refused."""
    zero = {f"c{k + 1}": 0.0 for k in range(5)}
    samples = quadratic.samples(3000, [zero], seed=1)
    settings = {
        "network": NetworkConfig((16,), "gelu", batch_norm=False, dropout=0.0, l2=0.0),
        "training": TrainingConfig(8, 512, 1e-2, 1e-3, schedule="cosine"),
    }
    model = BagLikelihood(head="polynomial", labels="joint", order=1, seed=1, **settings)
    model = model.fit(samples)
    data = quadratic.generate(500, zero, seed=2).as_data()
    cost = model.cost(data)
    fit = Minuit(cost, **zero).migrad().minos("c1")
    assert fit.valid
    assert fit.merrors["c1"].is_valid
    np.testing.assert_allclose(cost.surface.extremum.theta_hat[0], list(fit.values), atol=1e-3)
    h = 1e-6
    for k, name in enumerate(zero):
        up, down = (cost(**(zero | {name: s * h})) for s in (1, -1))
        assert cost.grad(*zero.values())[k] == pytest.approx((up - down) / (2 * h), rel=1e-4)
    model.save(tmp_path / "model")
    assert BagLikelihood.load(tmp_path / "model").cost(data)(*fit.values) == cost(*fit.values)
    with pytest.raises(ParameterError, match="in 5 parameters, but toys"):
        model.event_llr(data)
    with pytest.raises(ConfigurationError, match="5 parameters; use head='polynomial'"):
        BagLikelihood(head="multiclass", labels="joint", bag_size=1, degree=2, **settings).fit(
            samples
        )


def test_fewer_squares(tmp_path):
    """The quadratic problem has one square beside the first, whatever the number of parameters."""
    zero = {"c1": 0.0, "c2": 0.0, "c3": 0.0}
    samples = quadratic.samples(4000, [zero], seed=1)
    settings = {
        "head": "polynomial", "labels": "joint", "order": 1, "seed": 1,
        "network": NetworkConfig((16,), "gelu", batch_norm=False, dropout=0.0, l2=0.0),
        "training": TrainingConfig(8, 512, 1e-2, 1e-3, schedule="cosine"),
    }  # fmt: skip
    model = BagLikelihood(squares=1, **settings).fit(samples)
    assert model.fitted.polynomial.n_outputs == 2 * 3
    with random_networks():
        assert BagLikelihood(**settings).fit(samples).fitted.polynomial.n_outputs == 4 * 3
    data = quadratic.generate(500, zero, seed=2).as_data()
    cost = model.cost(data)
    assert Minuit(cost, **zero).migrad().valid
    model.save(tmp_path / "model")
    again = BagLikelihood.load(tmp_path / "model")
    assert again.squares == 1
    assert again.cost(data)(0.1, 0.2, 0.3) == cost(0.1, 0.2, 0.3)
    content = json.loads((tmp_path / "model" / "model.json").read_text("utf-8"))
    for squares in (10**12, 0, 1.5):
        content["settings"]["squares"] = squares
        (tmp_path / "model" / "model.json").write_text(json.dumps(content), "utf-8")
        with pytest.raises(ModelError, match="squares"):
            BagLikelihood.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "multiclass", "squares": 1}, "squares= needs head='polynomial'"),
        ({"head": "polynomial", "squares": 0}, "squares=0 must be a whole number"),
        ({"head": "polynomial", "squares": 1.5}, r"squares=1\.5 must be a whole number"),
    ],
)
def test_squares_that_are_none(options, message):
    with pytest.raises(ConfigurationError, match=message):
        BagLikelihood(**{"head": "multiclass"} | options).fit(SAMPLES)
