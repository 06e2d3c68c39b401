"""From trained networks to ratios: ensembles, and poolings that score bags as a whole."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from iminuit import Minuit
from scipy.special import softmax

from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ModelError, SampleError
from milinfer.learning.bag_likelihood import BagLikelihood, single_models
from milinfer.learning.fitted import average_log_ratio
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.likelihood.models import dataset_surface
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.toys import Toys
from random_networks import random_networks

PLAIN = NetworkConfig((16,), "elu", batch_norm=False, dropout=0.0, l2=0.0)
TRAINING = TrainingConfig(6, 1000, 1e-2, 1e-4, schedule="cosine")
SHORT = TrainingConfig(1, 1000)
MEANS = [-0.5, -0.25, 0.0, 0.25, 0.5]
SAMPLES = gaussian.samples(4000, MEANS, seed=1)
BAG_MODELS = ["attention", "gated-attention", "noisy-or", "max", "log-sum-exp", "deep sets"]


def estimator(**options):
    settings = {"bag_size": 5, "degree": 2, "seed": 1, "network": PLAIN, "training": TRAINING}
    # Λ is then the sum of what the networks give; normalised ratios have their own module.
    settings |= {"head": "multiclass", "normalise": False}
    return BagLikelihood(**settings | options)


def of_bags(kind, **options):
    if kind == "deep sets":
        return estimator(network=dataclasses.replace(PLAIN, bag_hidden=(8,)), **options)
    return estimator(pooling=kind, **options)


@pytest.fixture(scope="module", params=BAG_MODELS)
def bag_model(request):
    with random_networks():
        return of_bags(request.param).fit(SAMPLES)


# Poolings that score bags


def test_bags_are_scored_as_a_whole(bag_model):
    data = gaussian.generate(400, 0.2, seed=4)
    assert not bag_model.additive
    for use in (bag_model.event_llr, bag_model.member_surfaces):
        with pytest.raises(ModelError, match="scores bags as a whole"):
            use(data)
    assert bag_model.surface(data).values[2] == pytest.approx(0, abs=1e-6)


# A sum and a maximum of summaries; every pooling learns in labelled_bags/test_estimators.py.
@pytest.mark.parametrize("kind", ["attention", "max"])
def test_bags_are_fitted(kind):
    model, data = of_bags(kind).fit(SAMPLES), gaussian.generate(4000, 0.2, seed=4)
    surface = model.surface(data)
    fit = Minuit(model.cost(data), mu=0.0).migrad()
    # The data know the mean to 0.016, the 20 000 training events to 0.01 or so.
    assert fit.values["mu"] == pytest.approx(0.2, abs=0.08)
    assert fit.values["mu"] == pytest.approx(surface.extremum.theta_hat[0], abs=1e-3)


def test_the_surface_is_the_sum_of_what_was_trained(bag_model):
    data = gaussian.generate(60, 0.2, seed=4)
    network = bag_model.fitted.members[0][0].keras.bag_model
    bags = data.features.reshape(12, 5, 1)
    logits = np.asarray(network(bags, training=False), dtype=float)
    by_bags = (logits - logits[:, 2:3]).sum(axis=0)
    np.testing.assert_allclose(bag_model.surface(data).values, by_bags, rtol=1e-3, atol=2e-4)


def test_events_left_over_form_a_smaller_bag(bag_model):
    data = gaussian.generate(63, 0.2, seed=4)
    parts = [bag_model.surface(data.take(s)).values for s in (slice(0, 60), slice(60, None))]
    np.testing.assert_allclose(bag_model.surface(data).values, sum(parts), rtol=1e-4, atol=1e-4)
    assert np.abs(parts[1]).max() > 1e-3


def test_order_matters_between_bags_only(bag_model):
    data = gaussian.generate(60, 0.2, seed=4)
    whole = bag_model.surface(data).values
    rng = np.random.default_rng(1)
    inside = np.concatenate([5 * b + rng.permutation(5) for b in range(12)])
    bags = (5 * rng.permutation(12)[:, None] + np.arange(5)).ravel()
    for order in (inside, bags):
        np.testing.assert_allclose(
            bag_model.surface(data.take(order)).values, whole, rtol=1e-4, atol=1e-4
        )


def test_toys_are_datasets_of_bags(bag_model):
    toys = Toys(gaussian.samples(500, [0.25], seed=8), n_events=23, seed=3)
    ensemble = toys.run([bag_model], 0.25, 20)[bag_model.name]
    for k in (0, 19):
        surface = dataset_surface(bag_model, toys.dataset({"mu": 0.25}, k))
        np.testing.assert_allclose(ensemble.values[k], surface.values, rtol=1e-4, atol=1e-4)
    assert np.isfinite(ensemble.theta_hat).all()


def test_weights_of_events_are_no_business_of_bags():
    """Regression: bags once counted every event as one, whatever its weight."""
    with random_networks():
        model = of_bags("max", training=SHORT).fit(SAMPLES)
    data = gaussian.generate(20, 0.2, seed=4)
    heavy = dataclasses.replace(data, weights=np.full(20, 2.0))
    with pytest.raises(SampleError, match="cannot use weights"):
        model.surface(heavy)
    np.testing.assert_array_equal(model.surface(heavy.as_data()).values, model.surface(data).values)
    signed = dataclasses.replace(data, weights=np.r_[np.ones(19), -1.0])
    with pytest.raises(SampleError, match="negative weight"):
        model.surface(signed)


def test_pooled_members_are_averaged_bag_by_bag():
    with random_networks():
        model = of_bags("attention", ensemble=2, training=SHORT).fit(SAMPLES)
    data = gaussian.generate(23, 0.2, seed=4)
    assert model.event_summary(data).shape == (23, 2 * 17)
    alone = [
        dataclasses.replace(
            model,
            ensemble=1,
            _fitted=dataclasses.replace(model.fitted, members=(member,)),
        )
        for member in model.fitted.members
    ]
    mean = np.mean([m.surface(data).values for m in alone], axis=0)
    np.testing.assert_allclose(model.surface(data).values, mean, rtol=1e-4, atol=1e-5)
    for average in ("ratio", "probability"):
        other = dataclasses.replace(model, average=average).surface(data).values
        assert other[2] == pytest.approx(0, abs=1e-5)
        np.testing.assert_allclose(other, mean, atol=0.5)


@pytest.mark.parametrize("head", ["multiclass", "binary", "parametrised"])
def test_sums_are_additive_and_equal_those_of_bags(head):
    """Regression: every event once carried the bias of a whole bag."""
    samples = SampleSet(SAMPLES.samples[::2])  # at −0.5, 0 and 0.5
    settings = estimator(pooling="sum", head=head, training=TrainingConfig(3, 1000))
    model = settings.fit(samples)
    assert model.additive
    data = gaussian.generate(60, 0.2, seed=4)
    network = model.fitted.members[0][0].keras.bag_model
    bags = data.features.reshape(12, 5, 1)
    if head == "multiclass":
        logits = np.asarray(network(bags, training=False), dtype=float)
        by_bags = (logits[:, 0] - logits[:, 1]).sum()
    elif head == "binary":  # the first network is that of −0.5
        by_bags = np.asarray(network(bags, training=False), dtype=float).sum()
    else:
        by_bags = 0.0
        for theta, sign in ((-1.0, 1), (0.0, -1)):
            beside = np.concatenate([bags, np.full_like(bags, theta)], axis=2)
            by_bags += sign * np.asarray(network(beside, training=False), dtype=float).sum()
    values = model.surface(data).values
    assert values[0] == pytest.approx(by_bags, rel=1e-4, abs=1e-4)
    parts = [model.surface(data.take(s)).values for s in (slice(0, 7), slice(7, None))]
    np.testing.assert_allclose(values, sum(parts), atol=1e-9)
    # λ of one event: the class of an event does not depend on the size of its bag.
    bias = np.abs(model.event_llr(Sample(np.zeros((1, 1)), ("x0",))))
    assert bias.max() < 1


# Ensembles


@pytest.fixture(scope="module")
def ensemble():
    """An ensemble, and the events that each member held out."""
    held_out = []
    split = SampleSet.split

    def spy(self, fractions, seed):
        parts = split(self, fractions, seed)
        held_out.append(np.concatenate([s.features for s in parts[1]]))
        return parts

    with random_networks(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(SampleSet, "split", spy)
        model = estimator(ensemble=3, training=TrainingConfig(3, 1000)).fit(SAMPLES)
    return model, held_out


def test_members_hold_out_different_events(ensemble):
    _, held_out = ensemble
    sets = [set(part[:, 0].tolist()) for part in held_out]
    assert [len(part) for part in held_out] == [4000, 4000, 4000]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert len(sets[a] & sets[b]) == pytest.approx(800, abs=150)  # a fifth of a fifth


def test_the_three_averages(ensemble):
    model, _ = ensemble
    test = gaussian.generate(200, 0.1, seed=5)
    members = np.stack([member.event_llr(test) for member in single_models(model)])
    np.testing.assert_array_equal(members[:, :, 2], 0)
    probability = softmax(members, axis=2).mean(axis=0)
    expected = {
        "log-ratio": members.mean(axis=0),
        "ratio": np.log(np.exp(members).mean(axis=0)),
        # Regression: relative to the reference, which is not the first point.
        "probability": np.log(probability / probability[:, 2:3]),
    }
    for average, values in expected.items():
        llr = dataclasses.replace(model, average=average).event_llr(test)
        np.testing.assert_allclose(llr, values, atol=1e-9)
        np.testing.assert_allclose(llr[:, 2], 0, atol=1e-12)


def test_averages_of_one_member_are_its_ratios():
    ratios = np.random.default_rng(1).normal(size=(20, 5))
    ratios[:, 3] = 0
    for average in ("log-ratio", "ratio", "probability"):
        np.testing.assert_allclose(average_log_ratio([ratios], average), ratios, atol=1e-12)
    # Extreme ratios, where exponentials overflow.
    two = average_log_ratio([1e4 * ratios, -1e4 * ratios], "ratio")
    np.testing.assert_allclose(two, 1e4 * np.abs(ratios) - np.log(2), atol=np.log(2) + 1e-9)
    assert np.isfinite(average_log_ratio([1e4 * ratios, -1e4 * ratios], "probability")).all()


def test_an_average_of_ratios_stays_normalised():
    samples = quadratic.samples(3000, [{"c1": c} for c in (-1.0, 0.0, 1.0)], seed=1)
    settings = BagLikelihood(
        head="polynomial",
        order=1,
        labels="joint",
        ensemble=2,
        average="ratio",
        seed=1,
        network=PLAIN,
    )
    with random_networks():
        model = settings.fit(samples)
    test = quadratic.generate(20_000, {"c1": 0.0}, seed=3)
    llr = model.event_llr(test)[:, [0, -1]]
    mean, error = np.exp(llr).mean(axis=0), np.exp(llr).std(axis=0)
    assert np.all(np.abs(mean - 1) < 4 * error * np.sqrt(1 / 20_000 + 1 / 9000))
    # The logarithm of the mean is above the mean of the logarithms.
    geometric = dataclasses.replace(model, average="log-ratio").event_llr(test)[:, [0, -1]]
    assert np.all(llr >= geometric - 1e-9)
    assert len(model.fitted.z) == len(model.fitted.scale) == 2


def test_the_uncertainty_is_the_spread_of_the_members(ensemble):
    model, _ = ensemble
    data = gaussian.generate(500, 0.1, seed=6)
    values = np.stack([s.values for s in model.member_surfaces(data)])
    assert values.shape == (3, 5)
    np.testing.assert_allclose(values.mean(axis=0), model.surface(data).values, atol=1e-9)
    expected = values.std(axis=0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(model.uncertainty(data), expected)
    assert expected[2] == 0
    assert expected[[0, 4]].min() > 0
    with pytest.raises(ModelError, match="ensemble=2 or more"):
        dataclasses.replace(model, ensemble=1).uncertainty(data)


def test_no_events_have_no_ratio(ensemble):
    model, _ = ensemble
    nothing = Sample(np.zeros((0, 1)), ("x0",), point={"mu": 0.0})
    assert model.event_llr(nothing).shape == (0, 5)
    np.testing.assert_array_equal(model.surface(nothing).values, 0)


@pytest.mark.parametrize("names", [("c1",), ("c1", "c2")])
def test_the_surface_of_a_polynomial_head_is_exact_between_its_points(names):
    points = [dict.fromkeys(names, 0.0)]
    points += [points[0] | {n: s} for n in names for s in (-1.0, 1.0)] + [dict.fromkeys(names, 1.0)]
    samples = quadratic.samples(1500, points[: 3 if len(names) == 1 else 6], seed=1)
    settings = BagLikelihood(
        head="polynomial", order=1, labels="joint", ensemble=2, seed=1, network=PLAIN
    )
    with random_networks():
        model = settings.fit(samples)
    data = quadratic.generate(400, dict.fromkeys(names, 0.1), seed=3).as_data()
    surface = model.surface(data)
    nodes = model.interpolation.grid.reshape(-1, len(names))
    at_nodes = model.event_llr(data).sum(axis=0)
    np.testing.assert_allclose(surface.values, at_nodes, atol=1e-7)
    # Between them, by the heads themselves.
    for theta in np.random.default_rng(2).uniform(-1, 1, (10, len(names))):
        wanted = 0.0
        for (network,), scale, z in zip(
            model.fitted.members, model.fitted.scale, model.fitted.z, strict=True
        ):
            outputs = scale * network.outputs(data.features)
            both = np.stack([theta, np.zeros(len(names))])
            ratios = model.fitted.polynomial.log_ratio(outputs, both, z)
            wanted += (ratios[:, 0] - ratios[:, 1]).sum() / 2
        assert surface.value(theta) == pytest.approx(wanted, abs=1e-6)
        if len(names) == 1:
            assert float(surface(theta[0])) == pytest.approx(wanted, abs=1e-6)
    best = surface.extremum
    assert best.maximum[0] >= at_nodes.max() - 1e-9
    assert surface.value(np.ravel(best.theta_hat)) == pytest.approx(best.maximum[0], abs=1e-9)
    assert len(nodes) == len(at_nodes)
    # Other averages of members are not logarithms of polynomials.
    other = dataclasses.replace(model, average="ratio")
    assert other.log_polynomials(data) is None
    assert other.surface(data).exact is None
