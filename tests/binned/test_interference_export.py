"""Datacards of Combine, read back by a small reader that evaluates its formula."""

from __future__ import annotations

import json
from pathlib import Path

import hist
import numpy as np
import pytest
import uproot
from scipy.stats import poisson

from milinfer.binned.interference_export import export_datacard
from milinfer.binned.polynomial_histogram import PolynomialHistogram
from milinfer.binned.polynomial_import import import_scaling
from milinfer.binned.templates import Templates
from milinfer.datasets import quadratic
from milinfer.exceptions import ParameterError, TemplateError
from polynomial_histograms import QUADRATIC, QUARTIC, observables, random_histogram

LIMITS = {"a": (-1.0, 1.0), "b": (-2.0, 2.0)}


class Card:
    """Datacard, shapes and scaling, as Combine reads them."""

    def __init__(self, folder: Path) -> None:
        lines = [x.split() for x in (folder / "datacard.txt").read_text().splitlines()]
        self.lines = [x for x in lines if x and not x[0].startswith(("#", "-"))]
        (shapes,) = [x for x in self.lines if x[0] == "shapes"]
        self.file, self.path = folder / shapes[3], shapes[4]
        rows = [x[1:] for x in self.lines if x[0] in {"bin", "process"}]
        (self.channel,), channels, self.processes, numbers = rows
        assert set(channels) == {self.channel} == {shapes[2]}
        self.numbers = dict(zip(self.processes, map(int, numbers), strict=True))
        counts = {x[0]: x[1] for x in self.lines if x[0] in {"imax", "jmax", "kmax"}}
        assert counts == {"imax": "1", "jmax": str(len(self.processes) - 1), "kmax": "*"}
        self.scaling = json.loads((folder / "scaling.json").read_text())

    def shape(self, process: str) -> hist.Hist:
        with uproot.open(self.file) as file:
            return file[self.path.replace("$PROCESS", process)].to_hist()

    def expected(self, process: str, point: dict[str, float]) -> np.ndarray:
        """Nominal content times θᵀMθ, entry by entry of the lower triangle."""
        values = self.shape(process).values().copy()
        for entry in self.scaling:
            if (entry["channel"], entry["process"]) != (self.channel, process):
                continue
            assert self.numbers[process] <= 0
            theta = []
            for text in entry["parameters"]:
                name, _, numbers = text.rstrip("]").partition("[")
                value, *limits = map(float, numbers.split(","))
                theta.append(point[name] if limits else value)
            for b, row in enumerate(entry["scaling"]):
                total, k = 0.0, 0
                for i in range(len(theta)):
                    for j in range(i + 1):
                        total += row[k] * theta[i] * theta[j] * (1.0 if i == j else 2.0)
                        k += 1
                assert k == len(row)
                values[b] *= total
        return values


@pytest.mark.parametrize("start", [{"a": 0.0, "b": 0.0}, {"a": 0.3, "b": -0.2}])
def test_combine_expects_what_the_polynomials_are(start, tmp_path):
    axis = hist.axis.Variable([0, 1, 3, 7], name="x", label="x [GeV]")
    one = random_histogram(1, QUADRATIC, axis, positive=True).without_flow()
    two = random_histogram(2, ("1", "b", "b^2"), axis, positive=True).without_flow()
    tt = hist.Hist(axis, storage="Weight").fill([0.5, 2.0, 5.0], weight=[3.0, 2.0, 1.5])
    counts = np.array([400.0, 350.0, 380.0])
    processes = {"ttH": one, "tt": tt, "ttZ": two}
    export_datacard(processes, tmp_path, counts, limits=LIMITS, point=start, channel="SR_2l")
    card = Card(tmp_path)
    assert card.numbers == {"ttH": -1, "ttZ": 0, "tt": 1}
    assert ["SR_2l", "autoMCStats", "0"] in card.lines
    for a, b in np.random.default_rng(1).uniform(-1, 1, (6, 2)):
        point = {"a": a, "b": b}
        for name, of in (("ttH", one.at(point)), ("ttZ", two.at({"b": b})), ("tt", tt)):
            np.testing.assert_allclose(card.expected(name, point), of.values(), rtol=1e-12)
    np.testing.assert_array_equal(card.shape("data_obs").values(), counts)
    np.testing.assert_array_equal(card.shape("ttH").axes[0].edges, axis.edges)
    at = one.at(start)
    np.testing.assert_allclose(card.shape("ttH").variances(), at.variances(), rtol=1e-12)
    ranges = {p.split("[")[0]: p for p in card.scaling[0]["parameters"]}
    assert ranges["b"] == f"b[{start['b']!r},-2.0,2.0]"


def test_our_reader_reads_it_too(tmp_path):
    axis = hist.axis.Regular(3, 0, 1, name="x")
    histogram = random_histogram(1, QUADRATIC, axis, positive=True).without_flow()
    export_datacard({"sig": histogram}, tmp_path, limits=LIMITS, channel="SR")
    nominal = Card(tmp_path).shape("sig")
    back = import_scaling(tmp_path / "scaling.json", nominal, channel="SR", process="sig")
    assert back.monomials == ("1", "a", "a^2", "b", "a*b", "b^2")
    for a, b in [(0.0, 0.0), (0.5, -0.7), (-1.0, 1.0)]:
        at, original = (h.at({"a": a, "b": b}) for h in (back, histogram))
        np.testing.assert_allclose(at.values(), original.values(), rtol=1e-12)
    np.testing.assert_allclose(back.at({"a": 0, "b": 0}).variances(), nominal.variances())
    assert "--X-allow-no-background" in (tmp_path / "datacard.txt").read_text()


def test_templates_of_a_reweighted_sample_become_a_datacard(tmp_path):
    sample = quadratic.samples(2_000, [{"c1": 0.0}], seed=1)
    templates = Templates.from_samples(sample, "x0", bins=5, weight_degree=2, luminosity=0.2)
    histogram = templates.to_histogram() * (1000 * templates.luminosity)
    export_datacard({"sig": histogram}, tmp_path / "new" / "card", limits=templates.limits)
    card = Card(tmp_path / "new" / "card")
    for c in (-0.8, 0.0, 0.4):
        expected = templates.expected({"c1": c})
        np.testing.assert_allclose(card.expected("sig", {"c1": c}), expected, rtol=1e-12)


def test_the_scan_of_the_datacard_is_that_of_the_templates(tmp_path):
    """Poisson terms of the content that Combine computes, without Monte-Carlo errors."""
    sample = quadratic.samples(2_000, [{"c1": 0.0}], seed=1)
    templates = Templates.from_samples(sample, "x0", bins=5, weight_degree=2, luminosity=0.2)
    histogram = templates.to_histogram() * (1000 * templates.luminosity)
    counts = np.random.default_rng(3).poisson(templates.expected({"c1": 0.2})).astype(float)
    export_datacard(
        {"sig": histogram}, tmp_path, counts, limits=templates.limits, channel="SR", mc_stat=False
    )
    card, cost = Card(tmp_path), templates.cost(counts, rate=True, mc_stat=False)
    data = card.shape("data_obs").values()
    for c in np.linspace(-0.6, 0.6, 13):
        theirs = -2 * poisson.logpmf(data, card.expected("sig", {"c1": c})).sum()
        assert theirs == pytest.approx(cost(c), abs=1e-8)


def test_two_observables_are_numbered_bins_without_errors(tmp_path):
    histogram = random_histogram(1, ("1", "a"), *observables(flow=False), positive=True)
    unknown = PolynomialHistogram(histogram.coefficients)
    export_datacard({"sig": unknown}, tmp_path, limits={"a": (-1, 1)}, mc_stat=False)
    card = Card(tmp_path)
    np.testing.assert_array_equal(card.shape("sig").axes[0].edges, np.arange(19))
    np.testing.assert_array_equal(card.shape("sig").variances(), np.zeros(18))
    assert not any("autoMCStats" in x for x in card.lines)
    expected = histogram.at({"a": 0.5}).values().ravel()
    np.testing.assert_allclose(card.expected("sig", {"a": 0.5}), expected, rtol=1e-12)


def test_what_combine_cannot_take_is_refused(tmp_path):
    axis = hist.axis.Regular(3, 0, 1, name="x")
    quartic = random_histogram(1, QUARTIC, axis, positive=True).without_flow()
    with pytest.raises(TemplateError, match=r"monomial a\^3, .*InterferenceModels .* degree 2"):
        export_datacard({"sig": quartic}, tmp_path, limits={"a": (-1, 1)})
    flat = random_histogram(1, ("1", "a"), axis, positive=True).without_flow()
    for process, channel in (("my sig", "SR"), ("sig", "1l"), ("data_obs", "SR")):
        with pytest.raises(TemplateError, match="cannot be used as a name"):
            export_datacard({process: flat}, tmp_path, limits={"a": (-1, 1)}, channel=channel)
    other = random_histogram(1, ("1", "cSM"), axis, positive=True).without_flow()
    with pytest.raises(ParameterError, match="'cSM' cannot be used as a name"):
        export_datacard({"sig": other}, tmp_path, limits={"cSM": (-1, 1)})
    unknown = PolynomialHistogram(flat.coefficients)
    with pytest.raises(TemplateError, match="errors of sig are missing"):
        export_datacard({"sig": unknown}, tmp_path, limits={"a": (-1, 1)})
    assert not list(tmp_path.iterdir())
