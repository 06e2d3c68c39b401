"""Numbers at their limits: each has a defined answer, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import (
    ConfigurationError,
    MilinferError,
    ModelError,
    ParameterError,
    SampleError,
)
from milinfer.learning.networks import training
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.training_data import moments
from milinfer.likelihood.cost import dataset_cost
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
SAMPLES = SampleSet(
    tuple(
        replace(s, cross_section=0.01 * (1 + s.point["mu"] ** 2))
        for s in gaussian.samples(2_000, POINTS, seed=1)
    )
)
HEADS = {
    "polynomial": {"head": "polynomial", "order": 1},
    "multi-class": {"head": "multiclass"},
    # As in the paper: after two epochs, normalised free logits need not have one maximum.
    "free logits": {"head": "multiclass", "degree": None, "normalise": False},
    "parametrised": {"head": "parametrised"},
    "binary": {"head": "binary"},
    "attention": {"head": "multiclass", "pooling": "attention"},
}


def fit(samples: SampleSet, **options: object) -> mil.BagLikelihood:
    # One hidden layer: a training as short as this is mostly the making of its graph.
    given = {"head": "polynomial", "order": 1, "bag_size": 10, "network": NetworkConfig((16,))}
    given |= {"training": TrainingConfig(2)}
    return mil.BagLikelihood(seed=1, **({"head": "multiclass"} | given | options)).fit(samples)


def each(change: Callable[[Sample], Sample]) -> SampleSet:
    return SampleSet(tuple(change(s) for s in SAMPLES))


@pytest.fixture(scope="module")
def models() -> dict[str, mil.BagLikelihood]:
    return {name: fit(SAMPLES, **options) for name, options in HEADS.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, weights=-np.ones(len(s))), r"mu=-1: the weights of its 2000 .*-2000"),
        (lambda s: replace(s, weights=np.zeros(len(s))), r"mu=-1: the weights .* sum to 0"),
        (lambda s: s.take(slice(0, 1)), r"mu=-1 has 1 events to train on.* one bag of 10"),
        (lambda s: s.take(slice(0, 12)), r"mu=-1 has 2 events to validate with.* one bag of 10"),
        (
            lambda s: replace(s, features=np.full_like(s.features, 7.0)),
            r"no feature varies from event to event \(x0\)",
        ),
    ],
)
def test_what_cannot_be_trained_on(change, message):
    with pytest.raises(SampleError, match=message):
        fit(each(change))


def test_a_loss_that_is_not_a_number_stops_the_training():
    # After one step the squares of weights are beyond float32.
    training = TrainingConfig(3, learning_rate=1e25)
    with pytest.raises(ModelError, match=r"training loss became .* lower learning_rate"):
        fit(SAMPLES, training=training)


# Of bags alone, and with θ as an input.
@pytest.mark.parametrize("head", ["multi-class", "parametrised"])
def test_a_dead_network_is_refused(head, monkeypatch):
    """Weights that have become zero: whatever the event, the ratios are the same."""

    copy = training.copy_variables

    def zeros(source, target):
        copy(source, target)
        for variable in target.trainable_variables:
            variable.assign(np.zeros(variable.shape))

    monkeypatch.setattr(training, "copy_variables", zeros)
    with pytest.raises(ModelError, match=r"the network gives the same output for all bags; lower"):
        fit(SAMPLES, **HEADS[head])


def test_a_flat_cost_says_so():
    """Minuit answers a cost without any slope with a parameter that is not a number."""
    grid = np.linspace(-1, 1, 21)
    cost = mil.LikelihoodCost(Interpolation(grid, "spline").surface(np.zeros(21)), "mu", n_events=1)
    with pytest.raises(ParameterError, match=r"nan if a cost is flat: check that .* on mu"):
        mil.minuit(cost).migrad()


@pytest.mark.parametrize("value", [0.0, 7.0, 0.10571289, 1e6])
def test_the_rounding_of_a_constant_feature_is_not_blown_up(value):
    """Regression: masses of muons, all the same, were divided by the rounding of their mean."""
    flat = each(
        lambda s: replace(
            s,
            features=np.column_stack([s.features, np.full(len(s), value)]),
            feature_names=("x0", "mass"),
        )
    )
    mean, variance = moments(flat)
    assert variance[1] == 1.0
    assert mean[1] == pytest.approx(value, rel=1e-6)


def test_copies_of_a_feature_do_no_harm():
    twice = each(
        lambda s: replace(
            s, features=np.repeat(s.features, 2, axis=1), feature_names=("x0", "copy")
        )
    )
    events = twice.at(mu=1.0)
    # Of no more than 300 steps, which XLA does not compile.
    model = fit(twice, network=NetworkConfig((32,)), training=TrainingConfig(15))
    llr = model.event_llr(events)[:, -1]
    # The exact log-ratio is a straight line in x.
    assert np.corrcoef(llr, events.column("x0"))[0, 1] > 0.95


@pytest.mark.parametrize("head", HEADS)
def test_a_dataset_without_events(models, head):
    """Regression: a polynomial head could not be evaluated on no events."""
    empty = SAMPLES.at(mu=0.0).take(slice(0, 0)).as_data()
    rate = mil.Rate.from_samples(SAMPLES, luminosity=1.0, degree=2)
    with pytest.raises(SampleError, match=r"contains no events.*pass rate="):
        models[head].cost(empty)
    cost = models[head].cost(empty, rate=rate)
    expected = 2 * (rate(mu=0.3) - rate(mu=0.0))
    assert cost(0.3) - cost(0.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("head", HEADS)
def test_a_dataset_of_one_event(models, head):
    cost = models[head].cost(SAMPLES.at(mu=0.0).take(slice(0, 1)).as_data())
    assert np.isfinite([cost(x) for x in (-1.0, -0.3, 0.0, 1.0)]).all()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("theta", [-1.01, 1.3, np.nan, np.inf])
def test_values_outside_the_range_of_training(models, head, theta):
    cost = models[head].cost(SAMPLES.at(mu=0.0).take(slice(0, 100)).as_data())
    with pytest.raises(ParameterError, match=r"outside \[-1, 1\], the range of the surface"):
        cost(theta)


def test_one_bag(models):
    data = SAMPLES.at(mu=0.0).take(slice(0, 10)).as_data()
    assert np.isfinite(models["attention"].cost(data)(0.2))


def test_features_beyond_float32():
    with pytest.raises(MilinferError, match=r"feature 'x0' is too large for float32 in event 1"):
        Sample(np.array([[1.0], [1e39]]), ("x0",))


@pytest.mark.parametrize(
    ("change", "expected", "error", "message"),
    [
        (lambda s: s, 0.0, ConfigurationError, r"must be positive, not 0; omit a background"),
        (lambda s: s.take(slice(0, 0)), 5.0, SampleError, r"its 0 events sum to 0, so toys of 5"),
        (
            lambda s: replace(s, weights=np.zeros(len(s))),
            5.0,
            SampleError,
            r"its 50 events sum to 0",
        ),
    ],
)
def test_no_background_is_no_background(change, expected, error, message):
    """Regression: of a background without events toys were drawn, with weights that are nan."""
    background = mil.Background(change(gaussian.generate(50, 0.0, seed=7)), expected)
    with pytest.raises(error, match=message):
        mil.Toys(mil.EventPool(SAMPLES), 100, seed=1, background=(background,)).scan(
            [gaussian.MeanModel()], [0.0], 10
        )


def test_ten_million_events():
    """Sums are float64: Λ of 10⁷ events is that of 10⁴, a thousand times."""
    few = gaussian.generate(10_000, 0.1, seed=3)
    many = Sample(np.tile(few.features, (1000, 1)), few.feature_names, np.ones(10**7))
    model = gaussian.MeanModel()
    one, all_of_them = (dataset_cost(model, s.as_data(), reference=0.0) for s in (few, many))
    for theta in (-0.7, 0.1, 0.9):
        assert all_of_them(theta) == pytest.approx(1000 * one(theta), rel=1e-10)
    found = mil.minuit(all_of_them).migrad()
    assert found.valid
    assert found.errors[0] == pytest.approx(1e7**-0.5, rel=1e-4)


@pytest.mark.early
@pytest.mark.parametrize("head", ["polynomial", "multi-class", "free logits"])
def test_minuit_does_not_stall_on_float32_networks(models, head):
    """1000 datasets of 5 to 400 events: at least 999 minima are valid."""
    rng = np.random.default_rng(5)
    pool = gaussian.generate(100_000, 0.1, seed=9)
    valid = 0
    for n in rng.integers(5, 400, 1000).tolist():
        first = int(rng.integers(0, len(pool) - n))
        cost = models[head].cost(pool.take(slice(first, first + n)).as_data())
        valid += mil.minuit(cost).migrad().valid
    assert valid >= 999
