"""Information in one parameter and several, against Gaussian models of known information."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from milinfer.datasets import quadratic
from milinfer.exceptions import CalibrationError
from milinfer.intervals.information import information, information_matrix, relative_information
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.toys import Toys
from models import GaussianMean, gaussian_samples

SIGMAS = 4
MIXING = np.array([[1.0, 0.3], [-0.4, 0.8], [0.2, 0.5]])
FISHER = MIXING.T @ MIXING
N = 100
STEP = 0.15


@dataclass(frozen=True)
class GaussianMeans:
    """x ~ N(Mθ, 1) in two parameters; exact for response = 1.

    The estimate is the true one times `response`, a matrix.
    """

    response: np.ndarray = field(default_factory=lambda: np.eye(2))
    scale: float = 1.0
    interpolation: ChebyshevBox = field(
        default_factory=lambda: ChebyshevBox(-2 * np.ones(2), 2 * np.ones(2), 2)
    )
    parameters: tuple[str, ...] = ("a", "b")
    name: str = "gaussians"

    def event_llr(self, sample):
        theta = self.interpolation.grid @ np.linalg.inv(self.response).T
        x = sample.features.astype(np.float64)
        return self.scale * (
            x @ MIXING @ theta.T - np.einsum("kp,pq,kq->k", theta, FISHER, theta) / 2
        )


POINTS = [(0.0, 0.0), (STEP, 0.0), (-STEP, 0.0), (0.0, STEP), (0.0, -STEP)]


def pools(n_events, seed, points=POINTS):
    rng = np.random.default_rng(seed)
    return SampleSet(
        tuple(
            Sample(
                rng.normal(MIXING @ p, 1, (n_events, 3)),
                ("x", "y", "z"),
                point={"a": p[0], "b": p[1]},
            )
            for p in points
        )
    )


POOLS = pools(20_000, 1)


def run(models, n_toys=400, seed=2, pool=POOLS, n_events=N, points=POINTS):
    """One list of ensembles for each model."""
    toys = Toys(pool, n_events, seed=seed)
    found = [toys.run(models, {"a": p[0], "b": p[1]}, n_toys) for p in points]
    return [[f[m.name] for f in found] for m in models]


def run_one(models, n_toys=400, seed=2):
    toys = Toys(gaussian_samples([0.0, -0.2, 0.2], 20_000, 5), N, seed=seed)
    found = [toys.run(models, v, n_toys) for v in (0.0, -0.2, 0.2)]
    return [[f[m.name] for f in found] for m in models]


def within(value, error, expected):
    return np.all(np.abs(value - expected) < SIGMAS * error)


def test_information_is_that_of_fisher():
    result = information_matrix(run([GaussianMeans()])[0])
    assert result.parameters == ("a", "b")
    assert within(result.response, result.response_error, np.eye(2))
    assert within(result.info_eff, result.info_eff_error, N * FISHER)
    np.testing.assert_allclose(result.info_curv, N * FISHER, rtol=1e-6)
    np.testing.assert_allclose(result.info_curv_error, 0, atol=1e-5)
    assert result.info_eff_error[0, 0] < 0.2 * N * FISHER[0, 0]


def test_information_in_one_parameter():
    result = information_matrix(run_one([GaussianMean()])[0])
    assert result.parameters == ("mu",)
    assert result.response.shape == result.info_eff.shape == (1, 1)
    assert within(result.response, result.response_error, 1)
    assert within(result.info_eff, result.info_eff_error, N)
    assert result.info_curv[0, 0] == pytest.approx(N)


def test_response_is_the_derivative_of_each_estimate_by_each_parameter():
    response = np.array([[0.7, 0.3], [0.0, 1.2]])
    result = information_matrix(run([GaussianMeans(response)])[0])
    assert within(result.response, result.response_error, response)
    # A linear map of the estimates loses no information.
    assert within(result.info_eff, result.info_eff_error, N * FISHER)


@pytest.mark.parametrize("pool_events", [1500, 10_000])
def test_errors_cover(pool_events):
    # 100 toys of 50 events use the small pool three times over: it dominates the response.
    pulls = []
    for seed in range(25):
        ensembles = run([GaussianMeans()], 100, seed, pools(pool_events, seed), 50)[0]
        r = information_matrix(ensembles, n_bootstrap=60)
        pulls.append(
            np.concatenate(
                [
                    ((r.response - np.eye(2)) / r.response_error).ravel(),
                    np.diag((r.info_eff - 50 * FISHER) / r.info_eff_error),
                ]
            )
        )
    rms = np.sqrt(np.mean(np.square(pulls), axis=0))
    assert np.all((rms > 0.6) & (rms < 1.5)), rms


def test_a_model_is_as_good_as_itself():
    ensembles = run([GaussianMeans()])[0]
    r = relative_information(ensembles, ensembles, n_bootstrap=20)
    assert (r.ratio, r.ratio_error) == (1, 0)
    assert (r.width_ratio, r.width_ratio_error) == (1, 0)
    assert (r.bartlett_difference, r.bartlett_difference_error) == (0, 0)
    assert within(r.response, r.response_error, 1)
    assert within(r.bartlett_ratio, r.bartlett_ratio_error, 1)
    assert r.response_error > 0
    assert r.bartlett_ratio_error > 0


@pytest.mark.parametrize(
    ("start", "models"),
    [
        (run_one, (GaussianMean(scale=1.4, name="wrong"), GaussianMean())),
        (run, (GaussianMeans(scale=1.4, name="wrong"), GaussianMeans())),
    ],
)
def test_a_scale_of_the_ratio_is_the_bartlett_ratio(start, models):
    wrong, right = start(list(models))
    r = relative_information(wrong, right)
    assert r.ratio == pytest.approx(1, rel=1e-6)
    assert r.ratio_error < 1e-5
    assert r.width_ratio == pytest.approx(1, rel=1e-6)
    assert within(r.response, r.response_error, 1)
    assert within(r.bartlett_ratio, r.bartlett_ratio_error, 1.4)
    assert within(r.bartlett_difference, r.bartlett_difference_error, 0.4)


def test_a_model_that_ignores_half_of_the_data_has_half_the_information():
    @dataclass(frozen=True)
    class Half(GaussianMean):
        name: str = "half"

        def event_llr(self, sample):
            keep = np.abs(sample.column("x") * 1e4).astype(int) % 2 == 0  # says nothing of x
            return super().event_llr(sample) * keep[:, None]

    half, full = run_one([Half(), GaussianMean()], 1000)
    r = relative_information(half, full)
    assert within(r.ratio, r.ratio_error, 0.5)
    assert within(r.width_ratio, r.width_ratio_error, 0.5)
    # The common toys make the error smaller than that of two independent measurements.
    each = [information_matrix(e) for e in (half, full)]
    independent = np.hypot(*[e.info_eff_error[0, 0] / e.info_eff[0, 0] for e in each])
    assert r.ratio_error < 0.9 * r.ratio * independent


ONE, OTHER = GaussianMeans(), GaussianMeans(name="other")


@pytest.fixture(scope="module")
def of_one():
    return run([ONE], 20)[0]


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 3},
        {"n_toys": 30},
        {"pool": (500, 9)},
        {"n_events": 50},
        {"points": POINTS[:3] + POINTS[:2:-1]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_other_toys_are_refused(of_one, options):
    if "pool" in options:
        options = {"pool": pools(*options["pool"])}
    with pytest.raises(CalibrationError, match="gaussians and other were not run on the same toys"):
        relative_information(of_one, run([OTHER], **{"n_toys": 20, **options})[0])


def test_fewer_toys_and_toys_of_another_kind_are_refused(of_one):
    same = run([OTHER], 20)[0]
    for other in (same[:-1], [replace(e, poisson=True) for e in same]):
        with pytest.raises(
            CalibrationError, match="gaussians and other were not run on the same toys"
        ):
            relative_information(of_one, other)


def test_toys_of_several_kinds_are_refused():
    one, other = run([ONE, OTHER], 20)
    with pytest.raises(CalibrationError, match="one model"):
        information_matrix([one[0], *other[1:]])


def test_toys_that_are_all_alike_have_no_information():
    """Regression: numpy said that a matrix is singular, and not of which model."""
    toys = run([ONE], 20)[0]
    same = np.broadcast_to(toys[0].values[0], toys[0].values.shape)
    alike = [replace(toys[0], values=same), *toys[1:]]
    match = r"estimates of gaussians at .* do not vary from toy to toy in every parameter"
    with pytest.raises(CalibrationError, match=match):
        information_matrix(alike)
    with pytest.raises(CalibrationError, match=match):
        relative_information(alike, toys)


def test_points_that_do_not_span_the_parameters_are_named():
    with pytest.raises(CalibrationError, match=r"\[0\.15, 0\.0\].* do not span the parameters"):
        information_matrix(run([ONE], 20)[0][:3])


def test_toys_with_a_rate_are_of_one_kind():
    """Regression: their mean number of events goes with the truth, and was refused."""
    ensembles = [
        replace(e, n_events=N + 100 * e.truth, poisson=True, extended=True)
        for e in run_one([GaussianMean()])[0]
    ]
    result = information_matrix(ensembles, n_bootstrap=20)
    assert result.info_eff[0, 0] == pytest.approx(N, rel=0.3)
    assert relative_information(ensembles, ensembles, n_bootstrap=20).ratio == 1
    with pytest.raises(CalibrationError, match="one dataset size"):
        information_matrix([replace(e, extended=False) for e in ensembles])


N_EVENTS, N_TOYS, ONE_PARAMETER_SIGMAS = 100, 2000, 3.5
POOL = gaussian_samples([-0.3, 0.1, 0.3], 300_000, 1)


def within_one_parameter(value, error, expected):
    return abs(value - expected) < ONE_PARAMETER_SIGMAS * error


def throw(model, truth=0.1, n_toys=N_TOYS):
    return Toys(POOL, N_EVENTS, seed=5).run([model], truth, n_toys)[model.name]


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_surface_of_any_scale_has_its_closed_forms(scale):
    model = GaussianMean(scale)
    found = information(throw(model), [throw(model, t) for t in (-0.3, 0.1, 0.3)])
    assert within_one_parameter(found.info_eff, found.info_eff_error, N_EVENTS)
    assert within_one_parameter(found.info_mle, found.info_mle_error, N_EVENTS)
    assert within_one_parameter(found.info_width, found.info_width_error, N_EVENTS)
    assert within_one_parameter(found.response, found.response_error, 1)
    assert within_one_parameter(found.score_mean, found.score_mean_error, 0)
    assert within_one_parameter(found.info_score, found.info_score_error, scale**2 * N_EVENTS)
    assert found.curv_truth == pytest.approx(scale * N_EVENTS)
    assert found.info_curv == pytest.approx(scale * N_EVENTS)
    assert within_one_parameter(found.bartlett_ratio, found.bartlett_ratio_error, scale)
    # The variance of a Gaussian is known to √(2/n); its central 68.27 % to somewhat less.
    assert found.info_score_error / found.info_score == pytest.approx(np.sqrt(2 / N_TOYS), rel=0.1)
    assert 1.0 < found.info_width_error / found.info_eff_error < 1.8


def test_a_shifted_surface_has_a_score_away_from_zero():
    found = information(throw(GaussianMean(2.0, shift=0.1)))
    # dΛ/dθ at the truth is s Σ (x − θ + b).
    assert within_one_parameter(found.score_mean, found.score_mean_error, 2 * N_EVENTS * 0.1)
    assert within_one_parameter(found.info_score, found.info_score_error, 4 * N_EVENTS)


class Shrunken(GaussianMean):
    """Sees x/2: the estimate is half of what it should be."""

    def event_llr(self, sample):
        halved = Sample(sample.features / 2, ("x",), point=sample.point)
        return super().event_llr(halved)


def test_a_shrunken_estimator_is_flattered_by_i_mle_but_not_by_i_eff():
    model = Shrunken()
    found = information(throw(model), [throw(model, t) for t in (-0.3, 0.1, 0.3)])
    assert within_one_parameter(found.response, found.response_error, 0.5)
    assert within_one_parameter(found.info_mle, found.info_mle_error, 4 * N_EVENTS)
    assert within_one_parameter(found.info_eff, found.info_eff_error, N_EVENTS)
    assert within_one_parameter(found.info_width, found.info_width_error, N_EVENTS)


def test_a_box_of_one_parameter_gives_the_same():
    box = ChebyshevBox(np.array([-1.0]), np.array([1.0]), 2)

    class InABox(GaussianMean):
        def event_llr(self, sample: Sample):
            theta = box.grid[:, 0]
            return theta * sample.column("x").astype(float)[:, None] - theta**2 / 2

    in_box = information(throw(replace(InABox(), interpolation=box)))
    np.testing.assert_allclose(in_box, information(throw(GaussianMean())), rtol=1e-6, atol=1e-6)


class Exact:
    """The exact ratio, whose curvature differs from toy to toy and goes with the estimate."""

    name, parameters = "exact", ("c1",)
    interpolation = Interpolation(np.linspace(-1, 1, 13), "polynomial", 8)

    def event_llr(self, sample):
        return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid[:, None])


@pytest.mark.parametrize("pool_events", [3000, 20_000])
def test_errors_cover_with_small_and_large_pools(pool_events):
    """Regression: the error of I_curv left out the pool, which is most of it where it is small."""
    found = []
    for k in range(40):
        pool = quadratic.samples(pool_events, [{"c1": 0.0}], seed=100 + k)
        toys = Toys(pool, 300, seed=k).run([Exact()], 0.0, 200)["exact"]
        found.append(information(toys, n_bootstrap=100))
    for name in [
        "info_eff",
        "info_width",
        "info_curv",
        "bartlett_ratio",
        "score_mean",
        "info_score",
    ]:
        values = np.array([getattr(f, name) for f in found])
        errors = np.array([getattr(f, f"{name}_error") for f in found])
        # The spread of 40 values is known to 11 %.
        assert 0.65 < values.std(ddof=1) / np.sqrt(np.mean(errors**2)) < 1.4, name
    fisher = float(quadratic.fisher_information(300)[0, 0])
    for name in ("info_score", "curv_truth"):
        values = np.array([getattr(f, name) for f in found])
        assert within_one_parameter(
            values.mean(), values.std(ddof=1) / np.sqrt(len(found)), fisher
        ), name
    means = np.array([f.score_mean for f in found])
    assert within_one_parameter(means.mean(), means.std(ddof=1) / np.sqrt(len(found)), 0)


def test_errors_of_variances_contain_the_pool():
    """Regression: 2000 toys claimed 3 %, where the pool alone moves the spread by 5 %."""
    found = []
    for k in range(60):
        pool = gaussian_samples([0.0], 1000, 900 + k)
        toys = Toys(pool, N_EVENTS, seed=k).run([GaussianMean()], 0.0, N_TOYS)["gaussian"]
        found.append(information(toys, n_bootstrap=50))
    for name in ("info_mle", "info_eff", "info_width", "info_score", "bartlett_ratio"):
        values = np.array([getattr(f, name) for f in found])
        errors = np.array([getattr(f, f"{name}_error") for f in found])
        # The spread of 60 values is known to 9 %; without the pool the ratio is 1.7.
        assert 0.7 < values.std(ddof=1) / np.sqrt(np.mean(errors**2)) < 1.35, name


def test_estimates_without_spread_have_no_information():
    """Regression: maxima that all lie at the edge divided by zero."""
    toys = throw(GaussianMean(shift=50.0), n_toys=50)
    assert toys.extremum.at_edge.all()
    with pytest.raises(CalibrationError, match="edge of the range"):
        information(toys)


def test_toys_most_of_which_are_at_the_edge_have_an_information():
    """Regression: the central width is zero, and the inverse of its square does not exist."""
    (toys,) = run_one([GaussianMean()], 100)
    at_edge = []
    for e in toys:
        values = e.values.copy()
        values[:80] = 10 * e.interpolation.grid
        at_edge.append(replace(e, values=values))
    result = relative_information(at_edge, toys, n_bootstrap=20)
    assert 0 <= result.ratio < 1
    assert np.isfinite(result.ratio_error)
