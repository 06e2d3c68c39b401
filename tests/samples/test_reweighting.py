"""Joint likelihood ratios and scores from reweights, against the quadratic problem."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from milinfer.datasets import quadratic
from milinfer.exceptions import MilinferWarning, SampleError
from milinfer.samples.reweighting import bennett, class_points, joint_targets, reweight_polynomial
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.utils.polynomials import PolynomialBasis

SIGMAS = 4
ONE, TWO = PolynomialBasis(("c1",), 2), PolynomialBasis(("c1", "c2"), 2)
POINTS = {1: np.array([[-0.8], [0.0], [0.5]]), 2: np.array([[0.0, 0.0], [0.5, -0.4], [-1.0, 1.0]])}


def polynomial_sample(coefficients, basis, points, **options):
    weights = coefficients @ basis.design(points).T
    named = [dict(zip(basis.parameters, p, strict=True)) for p in np.asarray(points).tolist()]
    return Sample(
        np.zeros((len(coefficients), 1)),
        ("x",),
        point=dict.fromkeys(basis.parameters, 0.0),
        reweights={f"w{k}": weights[:, k] for k in range(len(named))},
        reweight_points={f"w{k}": p for k, p in enumerate(named)},
        **options,
    )


def point(values):
    return dict(zip(("c1", "c2"), np.asarray(values, float).tolist(), strict=False))


def exact_total(n):
    """Z(θ) in the polynomial basis."""
    aa_uu = [quadratic.normalisation(np.array(t)) - 1 for t in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0])]
    if n == 1:
        return np.array([1.0, 0.0, aa_uu[0]])
    return np.array([1, 0, 0, aa_uu[1], aa_uu[2] - aa_uu[0] - aa_uu[1], aa_uu[0]])


def hidden(sample):
    """∂√(weight)/∂θ at θ = 0 of each event: what data do not know."""
    n = len(sample.point)
    w = {tuple(p.values()): sample.reweights[k] for k, p in sample.reweight_points.items()}
    zero = w[(0.0,) * n]
    units = [tuple(e) for e in np.eye(n).tolist()]
    opposite = [tuple(-v + 0.0 for v in e) for e in units]
    return np.stack(
        [(w[u] - w[o]) / (4 * zero) for u, o in zip(units, opposite, strict=True)], axis=1
    )


def log_joint(t, theta):
    """Exact ln p(z|θ)/p(z|0), shape (n_events,)."""
    return np.log((1 + t @ theta) ** 2) - np.log(quadratic.normalisation(theta))


def differences(log_ratio):
    return log_ratio - log_ratio[:, :1]


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e5])
@pytest.mark.parametrize(("names", "degree"), [(("c",), 2), (("c",), 4), (("a", "b"), 2)])
def test_polynomials_come_back(names, degree, scale):
    basis, rng = PolynomialBasis(names, degree), np.random.default_rng(1)
    units = scale ** basis.exponents.sum(axis=1).astype(float)
    coefficients = rng.normal(size=(20, len(basis))) / units
    points = scale * rng.uniform(-1, 1, (len(basis) + 2, len(names)))
    found = reweight_polynomial(polynomial_sample(coefficients, basis, points), basis)
    np.testing.assert_allclose(found * units, coefficients * units, rtol=1e-8, atol=1e-8)


def test_weights_at_points_in_other_parameters_are_left_out():
    sample = polynomial_sample(np.array([[1.0, 2.0, 3.0]]), ONE, np.array([[-1.0], [0.0], [1.0]]))
    more = replace(
        sample,
        reweights={**sample.reweights, "pdf": np.array([7.0])},
        reweight_points={**sample.reweight_points, "pdf": {"muR": 2.0}},
    )
    np.testing.assert_allclose(reweight_polynomial(more, ONE), [[1, 2, 3]], rtol=1e-12)


def test_no_events_have_no_polynomials():
    empty = polynomial_sample(np.zeros((0, 3)), ONE, np.array([[-1.0], [0.0], [1.0]]))
    assert reweight_polynomial(empty, ONE).shape == (0, 3)


def test_too_few_weights_name_the_parameters():
    sample = polynomial_sample(np.ones((2, 6)), TWO, np.eye(2))
    with pytest.raises(SampleError, match=r"signal at c1=0,c2=0: weights at 2 values of c1, c2"):
        reweight_polynomial(sample, TWO)


def test_points_on_a_line_are_named():
    points = np.array([[v, v] for v in np.linspace(-1, 1, 7)])
    with pytest.raises(SampleError, match=r"'c1=-1,c2=-1'.* do not determine"):
        reweight_polynomial(polynomial_sample(np.ones((2, 6)), TWO, points), TWO)


def test_weights_that_are_no_polynomial_name_sample_and_event():
    points = np.linspace(-1, 1, 4)[:, None]
    sample = polynomial_sample(np.tile([1.0, 0.1, 0.5], (5, 1)), ONE, points)
    sample.reweights["w2"][3] *= 1.01
    with pytest.raises(SampleError, match=r"signal at c1=0: the weights of event 3 are not"):
        reweight_polynomial(sample, ONE)


def test_interference_alone_names_event_and_point():
    points = np.array([[-1.0], [0.0], [1.0]])
    sample = polynomial_sample(np.array([[1.0, 0.1, 0.0], [1.0, 1.5, 0.0]]), ONE, points)
    with pytest.raises(SampleError, match=r"signal at c1=0: event 1 has weight -0.5 at c1=-1"):
        joint_targets(SampleSet((sample,)), points, 2)


def test_weights_that_sum_to_nothing_name_the_sample():
    points = np.array([[-1.0], [0.0], [1.0]])
    weights = np.array([1.0, -1.0])
    sample = polynomial_sample(np.tile([1.0, 0.1, 0.5], (2, 1)), ONE, points, weights=weights)
    with pytest.raises(SampleError, match="signal at c1=0: the event weights sum to 0"):
        joint_targets(SampleSet((sample,)), points, 2)


@pytest.mark.parametrize("n", [1, 2])
def test_ratios_and_scores_are_exact(n):
    samples = quadratic.samples(300, [point(p) for p in POINTS[n][:2]], seed=1)
    joint = joint_targets(samples, POINTS[n], 2, total=exact_total(n))
    h = 1e-5
    for sample, target in zip(samples, joint.targets, strict=True):
        t = hidden(sample)
        expected = np.stack([log_joint(t, p) for p in POINTS[n]], axis=1)
        np.testing.assert_allclose(
            differences(target.log_ratio), differences(expected), rtol=1e-6, atol=1e-6
        )
        assert target.score.shape == (300, len(POINTS[n]), n)
        safe = np.abs(1 + t @ POINTS[n].T) > 0.05  # numerical derivatives fail at a zero
        for j, e in enumerate(np.eye(n)):
            slope = [
                (log_joint(t, p + h * e) - log_joint(t, p - h * e)) / (2 * h) for p in POINTS[n]
            ]
            np.testing.assert_allclose(
                target.score[:, :, j][safe], np.stack(slope, axis=1)[safe], rtol=1e-4, atol=1e-5
            )
    np.testing.assert_allclose(
        joint.log_sigma, [np.log(quadratic.normalisation(p)) for p in POINTS[n]], rtol=1e-12
    )
    slope = [
        [
            np.log(quadratic.normalisation(p + h * e) / quadratic.normalisation(p - h * e))
            / (2 * h)
            for e in np.eye(n)
        ]
        for p in POINTS[n]
    ]
    np.testing.assert_allclose(joint.log_sigma_gradient, slope, atol=1e-8)


@pytest.mark.parametrize("theta", [(-0.7,), (0.0,), (1.0,), (0.5, -0.5), (-1.0, 0.3)])
def test_scores_average_to_zero_over_events_of_their_point(theta):
    samples = quadratic.samples(20_000, [point(theta)], seed=2)
    joint = joint_targets(samples, np.array([theta]), 2, total=exact_total(len(theta)))
    score = joint.targets[0].score[:, 0]
    assert np.all(np.abs(score.mean(axis=0)) < SIGMAS * score.std(axis=0) / np.sqrt(20_000))


def test_importance_weights_make_the_even_mixture():
    points = np.array([[-1.0], [0.4], [1.0]])
    samples = quadratic.samples(40_000, [point([0.0])], seed=3)
    joint = joint_targets(samples, points, 2)
    weights = joint.targets[0].weights
    assert weights.sum() == pytest.approx(1, rel=1e-9)
    mixed = quadratic.samples(20_000, [point(p) for p in points], seed=4)

    def observables(sample):
        score = quadratic.log_likelihood_ratio(sample.features, [[0.01], [1.0], [-1.0]])
        return np.column_stack([score, sample.features[:, :3], sample.features[:, :3] ** 2])

    reweighted, direct = observables(samples[0]), [observables(s) for s in mixed]
    mean = weights @ reweighted
    error = np.sqrt(np.square(weights) @ np.square(reweighted - mean))
    expected = np.mean([d.mean(axis=0) for d in direct], axis=0)
    expected_error = np.sqrt(sum(d.var(axis=0) / len(d) for d in direct)) / len(direct)
    assert np.all(np.abs(mean - expected) < SIGMAS * np.hypot(error, expected_error))
    # The events themselves are no such mixture.
    assert np.max(np.abs(reweighted.mean(axis=0) - expected) / error) > 2 * SIGMAS


def test_far_points_and_negative_weights_cost_events():
    samples = quadratic.samples(4000, [point([0.0])], seed=5)

    def effective(reach, part=samples):
        return joint_targets(part, np.array([[-reach], [0.0], [reach]]), 2).effective_events

    numbers = [effective(reach) for reach in (1e-6, 0.3, 1.0)]
    assert numbers[0] == pytest.approx(4000, rel=1e-6)
    assert numbers[0] > numbers[1] > numbers[2] > 0
    signs = np.where(np.arange(4000) % 10 == 0, -1.0, 1.0)
    signed = SampleSet((replace(samples[0], weights=signs),))
    assert effective(1e-6, signed) == pytest.approx(4000 * 0.8**2, rel=1e-6)
    assert effective(1.0, signed) < 0.8 * effective(1.0)


def test_a_factor_on_all_weights_of_an_event_changes_nothing():
    # Also a negative one, as events of negative weight have.
    samples = quadratic.samples(500, [point(p) for p in POINTS[2]], seed=6)
    rng = np.random.default_rng(7)

    def scaled(sample):
        factor = rng.uniform(0.1, 10, len(sample)) * rng.choice([-1, 1], len(sample))
        return replace(sample, reweights={k: factor * w for k, w in sample.reweights.items()})

    one = joint_targets(samples, POINTS[2], 2)
    other = joint_targets(SampleSet(tuple(scaled(s) for s in samples)), POINTS[2], 2)
    for a, b in zip(one.targets, other.targets, strict=True):
        np.testing.assert_allclose(differences(b.log_ratio), differences(a.log_ratio), atol=1e-7)
        np.testing.assert_allclose(softmax(b.log_ratio, 1), softmax(a.log_ratio, 1), atol=1e-8)
        np.testing.assert_allclose(b.score, a.score, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(b.weights, a.weights, rtol=1e-7)
    np.testing.assert_allclose(other.total, one.total, atol=1e-8)
    assert other.effective_events == pytest.approx(one.effective_events, rel=1e-7)


def test_class_points_are_those_of_the_samples():
    np.testing.assert_array_equal(
        class_points(quadratic.samples(5, [point(p) for p in POINTS[2]], seed=1)), POINTS[2]
    )


# --- normalisation from events of all points --------------------------------------------------

CLASSES, WANTED = np.array([[-1.0], [0.0], [1.0]]), np.array([[0.0], [-1.0], [0.5], [1.0]])
Z = np.array([quadratic.normalisation(p) for p in WANTED])
N = 500


def normalisations(seed):
    samples = quadratic.samples(N, [point(p) for p in CLASSES], seed=seed)

    def unnormalised(x, theta):
        z = [quadratic.normalisation(p) for p in theta]
        return np.exp(quadratic.log_likelihood_ratio(x, theta)) * z

    x = np.concatenate([s.features for s in samples])
    weights = np.full(len(x), 1 / len(x))
    everything = bennett(unnormalised(x, CLASSES), weights, unnormalised(x, WANTED))
    return everything, unnormalised(samples[1].features, WANTED).mean(axis=0)


def test_bennett_recovers_known_normalisations_better_than_the_reference_alone():
    found = np.array([normalisations(seed) for seed in range(30)])
    spread = found.std(axis=0, ddof=1)
    assert np.all(found[:, 0, 0] == 1)
    assert np.all(np.abs(found.mean(axis=0) - Z)[:, 1:] < SIGMAS * spread[:, 1:] / np.sqrt(30))
    error = np.sqrt(np.mean((found - Z) ** 2, axis=0))
    assert np.all(error[0, 1:] < 0.8 * error[1, 1:])


def test_bennett_with_one_sample_is_a_weighted_mean():
    rng = np.random.default_rng(1)
    ratios, values, weights = rng.uniform(0.5, 2, (50, 1)), rng.random((50, 3)), rng.random(50)
    values[:, 0] = 1
    weights /= weights.sum()
    expected = (weights / ratios[:, 0]) @ values / np.sum(weights / ratios[:, 0])
    np.testing.assert_allclose(bennett(ratios, weights, values), expected, rtol=1e-12)


def test_samples_that_hardly_overlap_are_told():
    rng, means = np.random.default_rng(1), np.array([0.0, 6.0, 12.0])
    x = np.concatenate([rng.normal(m, 1, 2000) for m in means])
    ratios = np.exp(means * x[:, None] - means**2 / 2)
    with pytest.warns(MilinferWarning, match="hardly overlap"):
        bennett(ratios, np.full(len(x), 1 / len(x)), ratios)
