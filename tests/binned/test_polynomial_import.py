"""Histograms of HistEFT and scalings of Combine, against formulas written out here."""

from __future__ import annotations

import json
from types import SimpleNamespace

import hist
import numpy as np
import pytest

from milinfer.binned.polynomial_import import import_hist_eft, import_scaling
from milinfer.exceptions import MissingFileError, TemplateError

NAMES = ("ctG", "ctW", "cpt")
X = hist.axis.Regular(4, 0.0, 100.0, name="ht", label="ht [GeV]")


def hist_eft(*, first: bool = False, categories: bool = False) -> hist.Hist:
    """Random coefficients, in flow bins of the observable too."""
    axes = [X, hist.axis.Integer(0, 10, name="quadratic_term")]
    if categories:
        axes.insert(0, hist.axis.StrCategory(["ttH", "tWZ"], name="process", growth=True))
    h = hist.Hist(*(axes[::-1] if first else axes), storage=hist.storage.Double())
    rng = np.random.default_rng(1)
    inner = tuple(slice(1, -1) if a.name == "quadratic_term" else slice(None) for a in h.axes)
    view = h.view(flow=True)
    view[inner] = rng.normal(size=view[inner].shape)
    return h


def evaluated(terms: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    """Sum over the pairs of (1, c1, c2, …) in HistEFT's order; terms in the last dimension."""
    ones = (1.0, *values)
    total, k = np.zeros(terms.shape[:-1]), 0
    for i in range(len(ones)):
        for j in range(i + 1):
            total += terms[..., k] * ones[i] * ones[j]
            k += 1
    return total


POINTS = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.3, -1.2, 2.0)]


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("values", POINTS)
def test_a_hist_eft_has_its_contents(values, first):
    h = hist_eft(first=first)
    terms = h.view(flow=True)
    terms = (terms.T if first else terms)[:, 1:-1]
    imported = import_hist_eft(h, NAMES)
    at = imported.at(dict(zip(NAMES, values, strict=True)))
    np.testing.assert_allclose(at.values(flow=True), evaluated(terms, values), rtol=1e-12)
    assert (imported.parameters, imported.degree) == (NAMES, 2)
    assert at.axes == hist.axis.NamedAxesTuple((X,))
    assert at.variances() is None


def test_categories_stay_axes():
    h = hist_eft(categories=True)
    imported = import_hist_eft(h, NAMES)[{"process": "tWZ"}]
    expected = evaluated(h[{"process": "tWZ"}].view(flow=True)[:, 1:-1], POINTS[2])
    at = imported.at(dict(zip(NAMES, POINTS[2], strict=True)))
    np.testing.assert_allclose(at.values(flow=True), expected, rtol=1e-12)


def test_a_sparse_hist_eft_gives_a_chosen_entry():
    """TopEFT's class keeps a dense histogram for each entry, and its view is a mapping."""
    h = hist_eft()
    sparse = SimpleNamespace(
        axes=(hist.axis.StrCategory(["ttH"], name="process"), *h.axes),
        view=lambda flow: {("ttH",): h.view(flow=flow)},
        wc_names=lambda: list(NAMES),
    )
    assert import_hist_eft(sparse) == import_hist_eft(h, NAMES)
    sparse.axes, sparse.dense_axes = sparse.axes[:1], tuple(h.axes)
    assert import_hist_eft(sparse) == import_hist_eft(h, NAMES)
    sparse.view = lambda flow: {("ttH",): h.view(flow=flow), ("tWZ",): h.view(flow=flow)}
    with pytest.raises(TemplateError, match="2 entries of its categories; choose one"):
        import_hist_eft(sparse)


def test_a_covariance_gives_errors():
    covariance = np.zeros((10, 10, 6))
    covariance[1, 1], covariance[0, 1], covariance[1, 0], covariance[0, 0] = 0.04, 0.01, 0.01, 1.0
    at = import_hist_eft(hist_eft(), NAMES, covariance=covariance).at(
        {"ctG": 2.0, "ctW": 0.0, "cpt": 0.0}
    )
    np.testing.assert_allclose(at.variances(), 1.0 + 4 * 0.01 + 4 * 0.04)


def test_other_histograms_are_no_hist_eft():
    h = hist_eft()
    with pytest.raises(TemplateError, match="no wc_names"):
        import_hist_eft(h)
    with pytest.raises(TemplateError, match=r"has 10 terms, but .* in ctG has 3"):
        import_hist_eft(h, ["ctG"])
    with pytest.raises(TemplateError, match="needs one axis quadratic_term"):
        import_hist_eft(hist.Hist(X), ["ctG"])
    with pytest.raises(TemplateError, match="storage Double"):
        import_hist_eft(hist.Hist(X, h.axes[1], storage="Weight"), NAMES)
    for wrong in (None, 3, {"a": h}):
        with pytest.raises(TemplateError, match=r"the HistEFT is a .*; give a hist\.Hist"):
            import_hist_eft(wrong, NAMES)
    with pytest.raises(TemplateError, match="not all texts"):
        import_hist_eft(h, [1, 2])
    h.view(flow=True)[2, -1] = 1.0
    with pytest.raises(TemplateError, match="flow bins of quadratic_term"):
        import_hist_eft(h, NAMES)


def scaling(**changes: object) -> list[dict[str, object]]:
    """The example of Combine's documentation, with a constant that is not first, and a second."""
    entry = {
        "channel": "SR",
        "process": "sig",
        "parameters": ["sqrt_mu[1,0,2]", "Bscaling[1]", "k[0.5]", "c[-2,2]"],
        "scaling": np.random.default_rng(2).normal(size=(4, 10)).tolist(),
    }
    other = {**entry, "process": "other", "parameters": ["c"], "scaling": [[1.0]] * 4}
    return [other, {**entry, **changes}]


def nominal(storage: str = "weight") -> hist.Hist:
    h = hist.Hist(X, storage=storage)
    rng = np.random.default_rng(3)
    return h.fill(rng.uniform(0, 100, 300), weight=rng.uniform(0.5, 1.5, 300))


@pytest.mark.parametrize("mu", [0.0, 1.0, 1.7])
@pytest.mark.parametrize("from_file", [False, True])
def test_a_scaling_multiplies_the_nominal_histogram(mu, from_file, tmp_path):
    content, h = scaling(), nominal()
    (tmp_path / "scaling.json").write_text(json.dumps(content))
    source = tmp_path / "scaling.json" if from_file else content
    at = import_scaling(source, h, channel="SR", process="sig").at({"sqrt_mu": mu, "c": -0.4})
    theta = np.array([mu, 1.0, 0.5, -0.4])
    factors = []
    for row in content[1]["scaling"]:
        matrix = np.zeros((4, 4))
        matrix[np.tril_indices(4)] = row
        matrix = matrix + matrix.T - np.diag(np.diag(matrix))
        factors.append(theta @ matrix @ theta)
    np.testing.assert_allclose(at.values(), h.values() * factors, rtol=1e-12)
    np.testing.assert_allclose(at.variances(), h.variances() * np.square(factors), rtol=1e-12)


def test_a_nominal_histogram_without_errors_gives_none():
    imported = import_scaling(scaling(), nominal("double"), channel="SR", process="sig")
    assert imported.covariance is None
    one = import_scaling(scaling(), nominal(), channel="SR", process="other")
    assert (one.monomials, one.parameters) == (("c^2",), ("c",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"process": "new"}, "it has 0 entries"),
        ({"channel": 3}, "channel is 3, and not a text"),
        ({"scaling": [[1.0]] * 4}, "scaling have shape"),
        ({"scaling": "many"}, "scaling is 'many', and not a list"),
        ({"scaling": [[float("nan")] * 10] * 4}, "finite"),
        ({"parameters": ["expr::a0('@0*@1', kv[1,0,2], kl[1,0,2])"]}, "formulas are not read"),
        ({"parameters": ["a[]", "b", "c", "d"]}, "could not convert"),
        ({"parameters": ["a[1,2,3,4]", "b", "c", "d"]}, "value and range"),
        ({"parameters": 7}, "not iterable"),
    ],
)
def test_damaged_scalings_are_refused(changes, message):
    with pytest.raises(TemplateError, match=message):
        import_scaling(scaling(**changes), nominal(), channel="SR", process="sig")


def test_files_and_nominal_histograms_that_do_not_fit(tmp_path):
    options = {"channel": "SR", "process": "sig"}
    with pytest.raises(MissingFileError):
        import_scaling(tmp_path / "absent.json", nominal(), **options)
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(TemplateError, match=r"s\.json is not JSON"):
        import_scaling(tmp_path / "s.json", nominal(), **options)
    (tmp_path / "s.json").write_text('{"channel": "SR"}')
    with pytest.raises(TemplateError, match=r"s\.json: SR/sig: the content is .* not a list"):
        import_scaling(tmp_path / "s.json", nominal(), **options)
    with pytest.raises(TemplateError, match="flow bins of the nominal"):
        import_scaling(scaling(), nominal().fill([200.0]), **options)
    for wrong in (None, np.ones(2), "x"):
        with pytest.raises(TemplateError, match="the nominal histogram is a"):
            import_scaling(scaling(), wrong, **options)
    for wrong in (None, 3):
        with pytest.raises(TemplateError, match=r"the content is .* not a list"):
            import_scaling(wrong, nominal(), **options)
