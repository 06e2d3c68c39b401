"""Bins chosen on some events and filled by others, and the histogram of the scores of a model."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from milinfer.binned.binned_model import BinnedLLR
from milinfer.binned.chosen_templates import chosen_templates, score_templates
from milinfer.binned.weighted_templates import event_yields
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ParameterError, SampleError, TemplateError
from milinfer.intervals.information import relative_information
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.fingerprints import sketch_each
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.pool import EventPool
from milinfer.toys.toys import Toys

AT = {"c1": 0.0, "c2": 0.0}
POINTS = [AT, {"c1": 0.5, "c2": 0.0}, {"c1": 0.0, "c2": 0.5}]
# Share of the information that the best eight bins of a Gaussian keep (Max 1960, table I).
EIGHT_BINS = 0.96546


class Exact:
    """Exact likelihood ratio of the quadratic problem."""

    name, parameters = "exact", ("c1", "c2")
    interpolation = ChebyshevBox(np.full(2, -0.6), np.full(2, 0.6), 6)

    def event_llr(self, sample):
        return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid)


@pytest.fixture(scope="module")
def parts():
    return tuple(quadratic.samples(20_000, POINTS, seed=s) for s in (1, 2))


@pytest.fixture(scope="module")
def templates(parts):
    return score_templates(Exact(), *parts, at=AT, n_events=1000, weight_degree=2)


def test_two_scores_have_the_information_of_a_closed_form(templates):
    """Scores are nearly Gaussian, and 8 × 8 bins keep what eight bins of each keep."""
    assert [len(a) for a in templates.axes] == [8, 8]
    assert [a.name for a in templates.axes] == ["score_c1", "score_c2_given_c1"]
    exact = quadratic.fisher_information(1, 2)
    kept = np.linalg.eigvals(np.linalg.solve(exact, templates.information(AT)))
    assert kept == pytest.approx(EIGHT_BINS, abs=0.025)
    assert templates.diagnose(1000).passed


def test_scores_are_those_of_the_closed_form(templates, parts):
    """What is left of the second is not correlated with the first."""
    first, second = (
        np.concatenate([a.values(s) for s in parts[1].samples[:1]]) for a in templates.axes
    )
    step = 1e-4 * np.eye(2)
    features = parts[1][0].features
    both = (quadratic.log_likelihood_ratio(features, step)
            - quadratic.log_likelihood_ratio(features, -step)) / 2e-4  # fmt: skip
    assert first == pytest.approx(both[:, 0], abs=1e-4)
    exact = quadratic.fisher_information(1, 2)
    expected = both[:, 1] - exact[0, 1] / exact[0, 0] * both[:, 0]
    assert np.corrcoef(second, expected)[0, 1] > 0.9995
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_the_second_score_can_be_pickled(templates, parts):
    observable = pickle.loads(pickle.dumps(templates.axes[1].observable))
    assert np.array_equal(observable(parts[0][0]), templates.axes[1].values(parts[0][0]))


def test_on_toys_it_has_nearly_the_information_of_the_oracle(templates):
    """The same toys of both; response and volume of the region."""
    near = [AT, *(dict.fromkeys(AT, s * 0.3) | {m: 0.0} for m in AT for s in (1.0, -1.0))]
    pool = EventPool(quadratic.samples(40_000, POINTS, seed=3), 2)
    histogram = BinnedLLR("histogram", templates, ("c1", "c2"), Exact.interpolation)
    toys = Toys(pool, n_events=1000, seed=4)
    thrown = toys.scan([histogram, Exact()], near, 300)
    ratio = relative_information(thrown["histogram"], thrown["exact"], n_bootstrap=50)
    assert ratio.ratio == pytest.approx(EIGHT_BINS, abs=4 * ratio.ratio_error)
    assert ratio.ratio_error < 0.04
    assert ratio.response == pytest.approx(1, abs=0.05)


def test_one_parameter_has_one_score():
    first, second = (gaussian.samples(20_000, [-0.3, 0.0, 0.3], seed=s) for s in (1, 2))
    options = {"at": {"mu": 0.0}, "n_events": 1000, "degree": 2}
    templates = score_templates(gaussian.MeanModel(), first, second, **options)
    assert (templates.observable_name, templates.n_bins) == ("score_mu", 20)
    kept = templates.information({"mu": 0.0})[0, 0]
    # Its error with as many events, from six repetitions, is 0.044.
    assert kept == pytest.approx(0.99, abs=3 * 0.044)


def test_bins_are_never_chosen_on_the_events_that_fill(parts):
    with pytest.raises(TemplateError, match="used both to choose the bins and to fill them"):
        score_templates(Exact(), parts[0], parts[0], at=AT, n_events=1000, weight_degree=2)
    both = [event_yields(parts[0], 2)] * 2
    with pytest.raises(TemplateError, match="used both to choose the bins and to fill them"):
        chosen_templates(*both, "x0", 6, AT, n_events=1000)


def test_the_model_has_not_seen_the_events_that_fill(parts):
    model = Exact()
    model.trained_on = sketch_each(parts[1])
    with pytest.raises(SampleError, match="was trained on these events"):
        score_templates(model, *parts, at=AT, n_events=1000, weight_degree=2)


def test_wrong_arguments(parts):
    options = {"n_events": 1000, "weight_degree": 2}
    with pytest.raises(ParameterError, match="c2"):
        score_templates(Exact(), *parts, at={"c1": 0.0}, **options)

    class Three(Exact):
        parameters = ("c1", "c2", "c3")

    with pytest.raises(TemplateError, match="only one or two scores"):
        score_templates(Three(), *parts, at=AT, **options)
    with pytest.raises(TemplateError, match="give one number"):
        chosen_templates(*parts, "x0", (4, 4), AT, n_events=1000)


def test_few_events_still_give_bins():
    """Half of an even share of events in a bin is enough where there are few."""
    few = [SampleSet((quadratic.generate(1500, AT, seed=s),)) for s in (1, 2)]
    templates = score_templates(Exact(), *few, at=AT, n_events=1000, weight_degree=2, bins=(5, 5))
    assert templates.n_bins == 25


def test_bins_expect_few_events_unless_more_are_asked_for(parts):
    """Five events in ten thousand have a strong slope: a bin for them alone keeps it."""

    def rare(sample):
        return np.abs(sample.column("x4"))

    yields = []
    for part in parts:
        plain = event_yields(part, 2)
        tail = [rare(s) > 3.5 for s in part]
        exponents = plain.basis.exponents.tolist()
        changed = tuple(p.copy() for p in plain.polynomials)
        for polynomial, chosen in zip(changed, tail, strict=True):
            # Their rate is another (1 + 10 c1)² of that at zero.
            for power, factor in ((1, 20), (2, 100)):
                column = exponents.index([power, 0])
                polynomial[chosen, column] += factor * polynomial[chosen, 0]
        yields.append(dataclasses.replace(plain, polynomials=changed))
    settings = {"at": AT, "n_events": 1000}
    few, any_number = (
        chosen_templates(*yields, (rare, "x1"), (8, 2), min_expected=least, **settings)
        for least in (10.0, 0.01)
    )
    default = chosen_templates(*yields, (rare, "x1"), (8, 2), **settings)
    assert np.array_equal(default.axes[0].edges, any_number.axes[0].edges)
    kept = [np.linalg.inv(t.information(AT))[0, 0] ** -1 for t in (few, any_number)]
    assert kept[1] > 1.5 * kept[0]
    with pytest.raises(TemplateError, match=r"16 bins cannot all expect min_expected=70 of"):
        chosen_templates(*yields, (rare, "x1"), (8, 2), min_expected=70, **settings)
