"""Templates of any observable, in one dimension and two."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.templates import Templates
from milinfer.datasets import gaussian
from milinfer.exceptions import MilinferWarning, ParameterError, SampleError, TemplateError
from milinfer.likelihood.observables import log_ratio_observable, score_observable
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

MEANS = [-0.4, -0.2, 0.0, 0.2, 0.4]


@pytest.fixture(scope="module")
def samples():
    return gaussian.samples(20_000, MEANS, seed=1, n_features=2)


@pytest.fixture(scope="module")
def flat(samples):
    return Templates.from_samples(samples, ("x0", "x1"), bins=(6, [-9.0, -0.5, 0.5, 9.0]), degree=2)


def test_two_dimensions_are_a_flat_list(samples, flat):
    assert flat.n_bins == 18
    assert flat.observable_name == "x0 × x1"
    data = samples[0]
    index = flat.bin_index(data)
    x0, x1 = (np.clip(data.column(n), -9, 8.9) for n in ("x0", "x1"))
    inside = index == 7  # row 2, column 1
    row = (x0 >= flat.axes[0].edges[2]) & (x0 < flat.axes[0].edges[3])
    np.testing.assert_array_equal(inside, row & (x1 >= -0.5) & (x1 < 0.5))
    assert flat.bin_names[7].endswith("× x1 [-0.5, 0.5)")
    assert flat.counts(data).sum() == len(data)
    for h, s in zip(flat.histograms, samples, strict=True):
        assert h.values().shape == (6, 3)
        assert h.sum().value == pytest.approx(s.cross_section)
    with pytest.raises(TemplateError, match="axes"):
        flat.edges  # noqa: B018


def test_an_observable_without_information_adds_none(samples, flat):
    one = Templates.from_samples(samples, "x0", bins=6, degree=2)
    at = {"mu": 0.1}
    assert flat.information(at)[0, 0] == pytest.approx(one.information(at)[0, 0], abs=0.03)
    # Summed over the second observable, they are the templates of the first.
    np.testing.assert_allclose(
        flat.fractions(at).reshape(6, 3).sum(axis=1), one.fractions(at), atol=2e-3
    )


def test_many_bins_reach_the_unbinned_information(samples):
    found = [
        Templates.from_samples(samples, "x0", bins=n, degree=2).information({"mu": 0.0})[0, 0]
        for n in (2, 5, 30)
    ]
    np.testing.assert_allclose(found, [2 / np.pi, 0.9, 1.0], atol=0.05)


def test_outputs_of_models_are_observables(samples):
    model = gaussian.MeanModel()
    data = samples[1]
    score, ratio = score_observable(model, 0.1), log_ratio_observable(model, -0.2, 0.3)
    np.testing.assert_allclose(score(data), data.column("x0") - 0.1, atol=1e-4)
    np.testing.assert_allclose(ratio(data), 0.5 * data.column("x0") - 0.025, atol=1e-4)
    assert pickle.loads(pickle.dumps(score)).__name__ == "score_mu"
    by_score = Templates.from_samples(samples, score, bins=6, degree=2)
    by_feature = Templates.from_samples(samples, "x0", bins=6, degree=2)
    assert by_score.observable_name == "score_mu"
    np.testing.assert_allclose(
        by_score.fractions({"mu": 0.1}), by_feature.fractions({"mu": 0.1}), atol=1e-3
    )
    with pytest.raises(ParameterError, match="inside"):
        score_observable(model, 9.0)
    with pytest.raises(ParameterError, match="parameter="):
        score_observable(model, 0.0, parameter="c")


def test_the_score_in_several_parameters(samples):
    class Plane:
        name = "plane"
        parameters = ("a", "b")
        interpolation = ChebyshevBox(np.full(2, -1.0), np.full(2, 1.0), 3)

        def event_llr(self, sample):
            x = np.stack([sample.column("x0"), sample.column("x1")], axis=1)
            theta = self.interpolation.grid
            return x @ theta.T - 0.5 * np.sum(theta**2, axis=1)

    data = samples[0]
    score = score_observable(Plane(), [0.2, -0.1], parameter="b")
    np.testing.assert_allclose(score(data), data.column("x1") + 0.1, atol=1e-6)


def test_background_is_a_constant(samples):
    rng = np.random.default_rng(7)
    flat = Sample(rng.uniform(-3, 3, (50_000, 2)), ("x0", "x1"), process="flat", cross_section=0.5)
    options = {"bins": [-1.0, 0.0, 1.0], "degree": 2, "luminosity": 1.0}
    alone = Templates.from_samples(samples, "x0", **options)
    both = Templates.from_samples(samples, "x0", background=flat, **options)
    point = {"mu": 0.2}
    added = both.expected(point) - alone.expected(point)
    np.testing.assert_allclose(added, 250, rtol=0.02)
    variance = (both.relative_errors(point) * both.cross_sections(point)) ** 2
    before = (alone.relative_errors(point) * alone.cross_sections(point)) ** 2
    np.testing.assert_allclose(variance - before, both.background.variances())


def test_errors_of_the_fit_do_not_favour_low_bins():
    """With observed variances, 25 events a bin are fitted one event too low."""
    pulls = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        samples = SampleSet(
            tuple(
                Sample(
                    rng.uniform(0, 2, (n := 25 + 2000, 1)) * (np.arange(n) >= 25)[:, None],
                    ("x",),
                    point={"c": c},
                    cross_section=n / 2025,
                )
                for c in np.linspace(-1, 1, 11)
            )
        )
        shaken = SampleSet(tuple(s.take(rng.integers(0, len(s), len(s))) for s in samples))
        templates = Templates.from_samples(shaken, "x", bins=[-1.0, 1e-9, 2.0], degree=2)
        pulls.append(templates.fractions({"c": 0.0})[0] * 2025 - 25)
    assert abs(np.mean(pulls)) < 3 * np.std(pulls) / np.sqrt(40)
    assert np.std(pulls) / np.sqrt(40) < 0.6


def test_relative_errors_are_the_spread():
    at, found, claimed = {"mu": 0.1}, [], []
    for seed in range(60):
        templates = Templates.from_samples(
            gaussian.samples(1000, MEANS, seed=seed), "x0", bins=[-9, -1, 0, 1, 9], degree=2
        )
        found.append(templates.cross_sections(at))
        claimed.append(templates.relative_errors(at))
    spread = np.std(found, axis=0) / np.mean(found, axis=0)
    # The sum over bins is fixed by the cross-section, so bins fluctuate a little less.
    share = np.mean(found, axis=0)
    np.testing.assert_allclose(np.mean(claimed, axis=0) * np.sqrt(1 - share), spread, rtol=0.3)


def test_diagnosis_names_bin_and_remedy(samples):
    few = gaussian.samples(150, MEANS, seed=3)
    with pytest.warns(MilinferWarning, match=r"bin \d x0 \[.*effective.*use fewer or wider bins"):
        poor = Templates.from_samples(few, "x0", bins=[-9, -1.4, 0, 1.5, 9], degree=4)
    assert not poor.diagnose().passed
    assert poor.diagnose().to_rich().row_count == 4
    good = Templates.from_samples(samples, "x0", bins=8, degree=2)
    assert good.diagnose().passed
    assert "ok" in str(good.diagnose())
    assert "on mu comes from effectively 8" in good.diagnose(n_events=20).problems[0]
    assert good.diagnose(n_events=40).passed
    steep = Templates.from_samples(samples, "x0", bins=[-9, -1.0, 0.0, 1.0, 9], degree=2)
    assert min(r.p_value for r in steep.diagnose()) > 1e-6


def with_a_tail(slope):
    """Two bins of which the second, with one event in a thousand, depends on mu most."""
    values = np.repeat([0.0, 1.0], [99_900, 100])

    def sample(mu):
        weights = np.where(values > 0, 1 + slope * mu, 1.0)
        return Sample(
            values[:, None],
            ("x",),
            point={"mu": mu},
            weights=weights,
            cross_section=weights.sum(),
        )

    return Templates.from_samples(
        SampleSet(tuple(sample(mu) for mu in (-0.1, 0.0, 0.1))),
        "x",
        bins=[-0.5, 0.5, 1.5],
        degree=1,
    )


def test_information_of_one_bin_comes_from_its_events():
    """Against a bin of nearly all events it is a Poisson count."""
    templates = with_a_tail(5.0)
    p = 1e-3
    share = p * (1 - p) / (1 - 3 * p * (1 - p))  # one over the kurtosis of a yes or no
    for n_events in (1000, 40_000):
        known = templates.information_events({"mu": 0.0}, n_events)["mu"]
        assert known == pytest.approx(n_events * share, rel=1e-9)
    (problem,) = templates.diagnose(n_events=1000).problems
    assert problem.startswith("the information on mu comes from effectively 1 events, fewer than")
    assert templates.diagnose(n_events=40_000).passed
    # A bin without any slope has no information, from no events.
    assert np.isnan(with_a_tail(0.0).information_events({"mu": 0.0}, 1000)["mu"])


def test_nearly_empty_bins_beside_full_ones_are_no_problem(samples):
    edges = [-9, -2.9, -1.0, 0.0, 1.0, 2.9, 9]
    templates = Templates.from_samples(samples, "x0", bins=edges, degree=2)
    diagnosis = templates.diagnose(n_events=500)
    assert min(r.expected for r in diagnosis) < 1
    assert diagnosis.information_events["mu"] > 50
    assert not [p for p in diagnosis.problems if "comes from" in p]


def quadratic_bin():
    return SampleSet(
        tuple(
            Sample(
                np.repeat([[0.0], [1.0]], [n, 4000], axis=0),
                ("x",),
                point={"c": c},
                cross_section=(n + 4000) / 4000,
            )
            for c, n in ((-1.0, 4000), (0.0, 1000), (1.0, 5), (2.0, 700))
        )
    )


def test_a_bin_that_turns_negative_limits_the_parameter():
    with pytest.warns(MilinferWarning, match=r"bin 0 x \[0, 0.5\): .* not positive at c=1.0\d+"):
        templates = Templates.from_samples(quadratic_bin(), "x", bins=[0, 0.5, 2], degree=2)
    cost = templates.cost([200.0, 1000.0])
    low, high = cost.limits["c"]
    assert low == -1
    assert 1.0 < high < 1.05
    cost(high)
    with pytest.raises(TemplateError, match=r"bin 0 x \[0, 0.5\) .*c=1.1"):
        cost(1.1)
    outside = BinnedLLR("h", templates, "c", Interpolation(np.linspace(-1, 1.1, 9), "spline"))
    with pytest.raises(TemplateError, match=r"bin 0 x \[0, 0.5\)"):
        outside.counts_llr(np.ones((1, 2)))


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 100), cut=st.integers(200, 700))
def test_weights_order_and_division_of_samples_do_not_matter(scale, seed, cut):
    rng = np.random.default_rng(seed)
    base = gaussian.samples(800, [-0.3, 0.0, 0.3], seed=1)
    options = {"bins": [-9.0, -0.5, 0.5, 9.0], "degree": 2}
    wanted = Templates.from_samples(base, "x0", **options)
    changed = []
    for s in base:
        weighted = Sample(
            s.features,
            s.feature_names,
            weights=np.full(len(s), scale),
            point=s.point,
            cross_section=s.cross_section,
            cross_section_error=s.cross_section_error,
        ).take(rng.permutation(len(s)))
        first, second = weighted.take(slice(cut)), weighted.take(slice(cut, None))
        changed.append(first + second)
    found = Templates.from_samples(SampleSet(tuple(changed)), "x0", **options)
    sigma = sum(s.cross_section for s in changed) / len(changed)
    at = {"mu": 0.11}
    np.testing.assert_allclose(found.fractions(at), wanted.fractions(at), rtol=1e-9)
    np.testing.assert_allclose(found.cross_sections(at), sigma * wanted.cross_sections(at))
    np.testing.assert_allclose(found.relative_errors(at), wanted.relative_errors(at), rtol=1e-7)


def test_what_makes_no_sense_is_refused(samples):
    with pytest.raises(TemplateError, match="do not match"):
        Templates.from_samples(samples, ("x0", "x1"), bins=(3, 3, 3), degree=2)
    with pytest.raises(TemplateError, match="name="):
        Templates.from_samples(samples, ("x0", "x0"), bins=3, degree=2)
    with pytest.raises(TemplateError, match="one axis"):
        Templates.from_samples(samples, ("x0", "x1"), bins=3, degree=2, min_effective=10)
    with pytest.raises(TemplateError, match=r"bin 2 x0 \[.* × x1 \[4, 9\) is empty at gaussian at"):
        Templates.from_samples(samples, ("x0", "x1"), bins=(5, [-9.0, 0.0, 4.0, 9.0]), degree=2)
    with pytest.raises(TemplateError, match="finite"):
        Templates.from_samples(samples, lambda s: np.full(len(s), np.nan), bins=3, degree=2)
    bare = SampleSet((Sample(np.zeros((3, 1)), ("x",), point={"c": 0.0}),))
    with pytest.raises(SampleError, match="cross-section"):
        Templates.from_samples(bare, "x", bins=[-1, 0, 1], degree=0)
