"""Histograms whose bins are polynomials: what hist does to them, it does at every θ."""

from __future__ import annotations

import json
from importlib.resources import files

import hist
import jsonschema
import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milinfer.binned.polynomial_histogram import (
    PolynomialHistogram,
    monomial_name,
    monomial_powers,
)
from milinfer.binned.templates import Templates
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ParameterError, TemplateError
from polynomial_histograms import QUADRATIC, QUARTIC, observables, points, random_histogram, seeds

INDICES = [
    (slice(1, 4), ...),
    (slice(None), "mm"),
    (slice(2, None), slice(0, 2)),
    {"x": slice(None, None, hist.rebin(2))},
    {"x": slice(hist.loc(0.5), hist.loc(2.0)), "lepton": sum},
    {0: slice(None, None, sum)},
    {-1: 1},
    (..., sum),
    (3, "ee"),
    (sum, sum),
]


def same(one, other):
    """Contents and variances are equal up to rounding, and axes exactly."""
    if isinstance(one, hist.accumulators.WeightedSum):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-12, atol=1e-10)
        np.testing.assert_allclose(one.variance, other.variance, rtol=1e-12, atol=1e-10)
        return
    assert one.axes == other.axes
    for name in ("value", "variance"):
        of = [h.view(flow=True)[name] for h in (one, other)]
        np.testing.assert_allclose(*of, rtol=1e-12, atol=1e-10)


@given(seed=seeds, point=points, index=st.sampled_from(INDICES), flow=st.booleans())
@settings(max_examples=40, deadline=None)
def test_slices_commute_with_the_point(seed, point, index, flow):
    histogram = random_histogram(seed, QUADRATIC, *observables(flow=flow))
    same(histogram[index].at(point), histogram.at(point)[index])


@given(seed=seeds, point=points, axes=st.sampled_from([("x",), ("lepton",), ("lepton", "x"), (0,)]))
@settings(max_examples=20, deadline=None)
def test_projections_commute_with_the_point(seed, point, axes):
    histogram = random_histogram(seed, QUADRATIC, *observables(flow=True))
    same(histogram.project(*axes).at(point), histogram.at(point).project(*axes))


@given(seed=seeds, point=points, factor=st.floats(-3.0, 3.0, allow_subnormal=False))
@settings(max_examples=40, deadline=None)
def test_sums_and_multiples_commute_with_the_point(seed, point, factor):
    one = random_histogram(seed, QUADRATIC, *observables(flow=True))
    # Other monomials, in another order, and a parameter that the first knows already.
    other = random_histogram(seed + 1, ("b*a", "a^4", "1"), *observables(flow=True))
    at = {n: point[n] for n in "ab"}
    same((one + factor * other).at(point), one.at(point) + factor * other.at(at))
    same((other + one).at(point), (one + other).at(point))
    same((one * np.float64(2.0)).at(point), (np.float64(2.0) * one).at(point))
    same((one / 4).at(point), one.at(point) / 4)
    same(sum([one, other, one]).at(point), one.at(point) + other.at(at) + one.at(point))


@given(seed=seeds, known=st.booleans(), flow=st.booleans())
@settings(max_examples=8, deadline=None)
def test_files_lose_nothing(seed, known, flow, tmp_path_factory):
    histogram = random_histogram(seed, QUADRATIC, *observables(flow=flow), known=known)
    path = tmp_path_factory.mktemp("saved") / "h.json"
    histogram.save(path)
    back = PolynomialHistogram.load(path)
    assert back == histogram
    assert back.axes == histogram.axes
    assert (back.parameters, back.monomials) == (("a", "b"), QUADRATIC)
    assert back != histogram * 2
    schema = json.loads(files("uhi.resources").joinpath("histogram.schema.json").read_text())
    for item in json.loads(path.read_text()).values():
        jsonschema.validate(item, schema)


def test_a_point_is_what_reweighted_events_fill():
    """Events with polynomial weights, filled at θ directly and through their coefficients."""
    rng = np.random.default_rng(1)
    x, terms = rng.normal(1.5, 1.0, 500), rng.normal(1.0, 0.5, (500, len(QUADRATIC)))
    axis = hist.axis.Regular(5, 0.0, 3.0, name="x")
    bins = axis.index(x) + 1
    coefficients = np.stack([np.bincount(bins, t, axis.extent) for t in terms.T])
    covariance = np.stack(
        [[np.bincount(bins, t * u, axis.extent) for u in terms.T] for t in terms.T]
    )
    histogram = PolynomialHistogram.of_arrays(QUADRATIC, [axis], coefficients, covariance)
    for a, b in [(0.0, 0.0), (0.5, -1.0), (-1.5, 2.0)]:
        weights = terms @ np.array([1.0, a, b, a**2, a * b, b**2])
        filled = hist.Hist(axis, storage=hist.storage.Weight()).fill(x, weight=weights)
        same(histogram.at({"a": a, "b": b}), filled)


def test_without_covariance_errors_are_unknown():
    histogram = random_histogram(1, QUARTIC, known=False)
    known = random_histogram(1, QUARTIC)
    at = histogram.at({"a": 0.5})
    assert at.variances() is None
    np.testing.assert_array_equal(at.values(), known.at({"a": 0.5}).values())
    assert (histogram + known).covariance is None
    assert isinstance(histogram[sum].at({"a": 0.5}), float)
    assert "errors unknown" in repr(histogram)
    assert histogram != known


def test_plots_show_the_point():
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    histogram = random_histogram(1, QUARTIC, positive=True)
    figure, axes = plt.subplots()
    histogram.plot({"a": 0.5}, ax=axes, histtype="step")
    drawn = axes.patches or axes.collections or axes.lines
    assert drawn
    assert axes.get_xlabel() == "x [GeV]"
    low, high = axes.get_ylim()
    values = histogram.at({"a": 0.5}).values()
    assert low <= values.min() < values.max() <= high
    plt.close(figure)


def test_flow_bins_count_in_the_outer_bins():
    histogram = random_histogram(3, QUADRATIC, *observables(flow=True))
    point = {"a": 0.3, "b": -0.7}
    inside, whole = histogram.without_flow().at(point), histogram.at(point)
    assert inside.view(flow=True).shape == (6, 3)
    expected = whole.view(flow=True)[1:-1].copy()
    expected["value"][[0, -1]] += whole.view(flow=True)["value"][[0, -1]]
    np.testing.assert_allclose(inside.values(), expected["value"], rtol=1e-12)
    np.testing.assert_allclose(inside.project("lepton").variances(), whole[::sum, :].variances())


def test_templates_become_a_histogram_and_come_back():
    points = [{"c1": a, "c2": b} for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)]
    samples = quadratic.samples(2_000, points, seed=1)
    templates = Templates.from_samples(
        samples, ("x0", "x1"), bins=(3, 2), degree=2, luminosity=0.1, name=("one", "two")
    )
    histogram = templates.to_histogram()
    assert histogram.parameters == ("c1", "c2")
    assert histogram.monomials == ("1", "c1", "c2", "c1^2", "c1*c2", "c2^2")
    for theta in np.random.default_rng(1).uniform(-1, 1, (5, 2)):
        point = templates.point(theta)
        at, values = histogram.at(point), templates.cross_sections(point)
        assert at.axes == templates.histograms[0].axes
        np.testing.assert_allclose(at.values().ravel(), values, rtol=1e-13)
        relative = np.sqrt(at.variances().ravel()) / values
        np.testing.assert_allclose(relative, templates.relative_errors(point), rtol=1e-11)
    back = Templates.from_histogram(
        histogram, ("x0", "x1"), points, luminosity=0.1, name=("one", "two")
    )
    counts = templates.expected({"c1": 0.2, "c2": 0.1})
    one, other = (t.cost(counts, rate=True) for t in (templates, back))
    assert (one.name, one.limits) == (other.name, other.limits)
    for theta in np.random.default_rng(2).uniform(-0.8, 0.8, (5, 2)):
        assert one(*theta) == pytest.approx(other(*theta), abs=1e-9)
        errors = [t.relative_errors(templates.point(theta)) for t in (templates, back)]
        np.testing.assert_allclose(*errors, rtol=1e-12)
    np.testing.assert_array_equal(templates.counts(samples[0]), back.counts(samples[0]))
    assert back.to_histogram().monomials == histogram.monomials
    np.testing.assert_array_equal(
        back.to_histogram().coefficients.view(), histogram.coefficients.view()
    )


def test_exact_contents_make_templates_without_errors():
    axis = hist.axis.Regular(3, -1, 1, name="x", label="x0", flow=False)
    histogram = random_histogram(1, QUARTIC, axis, positive=True)
    no_errors = PolynomialHistogram(histogram.coefficients, histogram.covariance * 0.0)
    points = [{"a": a} for a in (-0.5, -0.2, 0.0, 0.2, 0.5)]
    templates = Templates.from_histogram(no_errors, "x0", points, luminosity=1e-3)
    assert templates.diagnose(1000).passed
    counts = templates.expected({"a": 0.1})
    # pyhf has a constraint of a fixed factor for each bin, and a constant for it.
    one, other = (templates.cost(counts, rate=True, mc_stat=m) for m in (True, False))
    assert one(0.3) - one(0.0) == pytest.approx(other(0.3) - other(0.0), abs=1e-9)


def test_templates_need_axes_with_edges_and_errors():
    points = [{"a": 0.0}, {"a": 0.5}]
    with pytest.raises(ParameterError, match="needs as many points, but there are 2"):
        Templates.from_histogram(random_histogram(1, QUARTIC), "x0", points)
    with pytest.raises(TemplateError, match=r"errors of .* are missing"):
        Templates.from_histogram(random_histogram(1, QUARTIC, known=False), "x0", points)
    with pytest.raises(TemplateError, match="has 2 axes, but 1 observables"):
        Templates.from_histogram(
            random_histogram(1, QUARTIC, *observables(flow=False)), "x0", points
        )
    with pytest.raises(ParameterError, match="; give "):
        Templates.from_histogram(
            random_histogram(1, QUARTIC, positive=True), "x0", [{"b": 0.0}, {"b": 1.0}]
        )


@given(
    powers=st.dictionaries(
        st.text(st.characters(exclude_characters="*^", codec="utf-8"), min_size=1).filter(
            lambda name: name != "1"
        ),
        st.integers(1, 9),
        max_size=4,
    )
)
@settings(max_examples=40, deadline=None)
def test_monomials_are_read_as_they_are_written(powers):
    assert monomial_powers(monomial_name(powers)) == powers


@pytest.mark.parametrize("name", ["", "1", "a*b", "x^2"])
def test_parameters_that_look_like_monomials_are_refused(name):
    with pytest.raises(ParameterError, match="rename it"):
        monomial_name({name: 1})


@pytest.mark.parametrize(
    "text", ["", "a*", "a^", "a^-1", "a^b", "a*a", "a^1e3", "2^a", "1*a", "a^²"]
)
def test_other_texts_are_no_monomials(text):
    with pytest.raises(TemplateError, match="not a monomial"):
        monomial_powers(text)


def test_what_does_not_fit_is_refused(tmp_path):
    histogram = random_histogram(1)
    axis = hist.axis.Regular(2, 0, 1, name="x", flow=False)
    with pytest.raises(ParameterError, match="; give "):
        histogram.at({"a": 1.0})
    with pytest.raises(TemplateError, match="different axes"):
        histogram + random_histogram(1, QUADRATIC, axis)
    with pytest.raises(TemplateError, match="must be monomial"):
        PolynomialHistogram(hist.Hist(axis))
    labels = hist.axis.StrCategory(["1", "c"], name="monomial")
    with pytest.raises(TemplateError, match="storage Double, not Weight"):
        PolynomialHistogram(hist.Hist(labels, axis, storage="Weight"))
    with pytest.raises(TemplateError, match="not finite"):
        PolynomialHistogram.of_arrays(["1"], [axis], np.array([[1.0, np.nan]]))
    filled = hist.Hist(labels, axis).fill(["1", "d"], [0.1, 0.2])
    with pytest.raises(TemplateError, match="belong to no monomial"):
        PolynomialHistogram(filled)
    with pytest.raises(TemplateError, match="and all different"):
        PolynomialHistogram.of_arrays(["a*b", "b*a"], [axis], np.ones((2, 2)))
    with pytest.raises(TemplateError, match="the shape"):
        PolynomialHistogram.of_arrays(["1"], [axis], np.ones(2))
    with pytest.raises(TemplateError, match="same monomials and observables"):
        PolynomialHistogram(histogram.coefficients, random_histogram(1, QUARTIC).covariance)
    with pytest.raises(TemplateError, match="has the monomial a\\*b"):
        histogram.with_monomials(["1", "a", "b", "a^2", "b^2"])
    with pytest.raises(TemplateError, match="cannot select monomials"):
        histogram[{"monomial": 0}]
    with pytest.raises(TypeError):
        histogram * "2"
    with pytest.raises(TypeError):
        histogram + 1
    # Regression: these were errors of Python, or let through.
    for array in (np.array([["a", "b"]]), np.ones((1, 2)) * 1j):
        with pytest.raises(TemplateError, match="not real numbers"):
            PolynomialHistogram.of_arrays(["1"], [axis], array)
    with pytest.raises(TemplateError, match="negative variance"):
        PolynomialHistogram.of_arrays(["1"], [axis], np.ones((1, 2)), -np.ones((1, 1, 2)))
    path = tmp_path / "h.json"
    path.write_text(json.dumps({"other": {"uhi_schema": 1, "axes": [], "storage": {}}}))
    with pytest.raises(TemplateError, match=r"h\.json"):
        PolynomialHistogram.load(path)
    histogram.save(path)
    content = json.loads(path.read_text())
    empty = json.loads(path.read_text())
    del empty["coefficients"]["storage"]["values"]
    path.write_text(json.dumps(empty))
    with pytest.raises(TemplateError, match="its storage lacks values"):
        PolynomialHistogram.load(path)
    content["coefficients"]["axes"][0]["categories"][1] = "a*a"
    path.write_text(json.dumps(content))
    with pytest.raises(TemplateError, match=r"h\.json: .*monomial"):
        PolynomialHistogram.load(path)
    del content["coefficients"]
    path.write_text(json.dumps(content))
    with pytest.raises(TemplateError, match=r"h\.json has the histograms covariance"):
        PolynomialHistogram.load(path)


def test_templates_of_one_parameter_keep_their_background():
    samples = gaussian.samples(2_000, [-0.5, 0.0, 0.5], seed=1)
    background = gaussian.generate(500, 1.0, seed=2)
    plain = Templates.from_samples(samples, "x0", bins=4, degree=2)
    both = Templates.from_samples(samples, "x0", bins=plain.edges, degree=2, background=background)
    same(
        both.to_histogram().at({"mu": 0.2}),
        plain.to_histogram().at({"mu": 0.2}) + both.background,
    )
