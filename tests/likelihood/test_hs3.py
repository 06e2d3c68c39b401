"""An HS3 document is the published likelihood up to a constant, evaluated as the standard says."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from iminuit.cost import NormalConstraint
from scipy.special import gammaln
from scipy.stats import norm

import milinfer as mil
from milinfer.exceptions import ConfigurationError
from milinfer.likelihood.cost import dataset_cost
from milinfer.likelihood.hs3 import HS3_VERSION, write_hs3
from published_costs import (
    COSTS,
    Members,
    histogram,
    mixture,
    one_operator,
    oracle,
    systematic,
)

NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)


def with_constraint():
    """Mixture of two operators and two backgrounds, with a Gaussian constraint."""
    return mixture("polynomials") + NormalConstraint("one_norm", 1.1, 0.2)


MADE = {
    "weighted events and a rate": COSTS["log polynomials"],
    "two operators": COSTS["log polynomials in two parameters"],
    "ensemble": lambda: dataset_cost(Members(), one_operator(), reference=0.0),
    "linear terms": COSTS["linear terms"],
    "mixture": with_constraint,
    "mixture, not extended": lambda: mixture("polynomials", extended=False),
    "histogram": lambda: histogram(rate=True, mc_stat=False),
}


class Evaluation:
    """HS3 0.2.9, as its text says it, of the types that milinfer writes."""

    def __init__(self, document):
        self.document = document
        self.of = {
            entry["name"]: entry
            for part in ("distributions", "functions", "data")
            for entry in document[part]
        }
        (start,) = document["parameter_points"]
        self.numbers = {p["name"]: p["value"] for p in start["parameters"]}

    def number(self, name, at):
        """A parameter, a function or a number."""
        if not isinstance(name, str):
            return name
        if name in at:
            return at[name]
        entry = self.of[name]
        if entry["type"] == "product":
            return np.prod([self.number(f, at) for f in entry["factors"]])
        assert entry["type"] == "sum"
        return sum(self.number(f, at) for f in entry["summands"])

    def density(self, name, entries, axes, at):
        """Density over the product of all axes: even along those that it does not depend on."""
        entry = self.of[name]
        kind = entry["type"]
        if kind == "mixture_dist":
            coefficients = [self.number(c, at) for c in entry["coefficients"]]
            assert entry["extended"] is False
            assert len(coefficients) == len(entry["summands"]) - 1
            coefficients.append(1 - sum(coefficients))
            parts = [self.density(s, entries, axes, at) for s in entry["summands"]]
            return sum(c * part for c, part in zip(coefficients, parts, strict=True))
        assert kind in ("generic_dist", "uniform_dist")
        volume = np.prod([axis["max"] - axis["min"] for axis in axes])
        if kind == "uniform_dist":
            return np.full(len(entries), 1 / volume)
        factor, own = entry["expression"].split("*")
        (k,) = [k for k, axis in enumerate(axes) if axis["name"] == own]
        low, width = axes[k]["min"], axes[k]["max"] - axes[k]["min"]
        x = low + width * (NODES + 1) / 2
        integral = np.sum(WEIGHTS * float(factor) * x) * width / 2
        return float(factor) * entries[:, k] / integral * (width / volume)

    def log_prob(self, point):
        at = {**self.numbers, **point}
        (likelihood,) = self.document["likelihoods"]
        total = 0.0
        for name, data in zip(likelihood["distributions"], likelihood["data"], strict=True):
            datum = self.of[data]
            entries = np.array(datum["entries"])
            density = self.density(name, entries, datum["axes"], at)
            total += np.array(datum["weights"]) @ np.log(density)
        for name in likelihood["aux_distributions"]:
            entry = self.of[name]
            x = self.number(entry["x"], at)
            if entry["type"] == "gaussian_dist":
                total += norm.logpdf(x, entry["mean"], entry["sigma"])
            else:
                assert entry["type"] == "poisson_dist"
                mean = self.number(entry["mean"], at)
                total += x * np.log(mean) - mean - gammaln(x + 1)
        return total


def points_of(likelihood, n):
    low, high = np.array(list(likelihood.limits.values())).T
    start = np.array(list(likelihood.start.values()))
    low = np.where(np.isfinite(low), low, start - 2)
    high = np.where(np.isfinite(high), high, start + 2)
    return np.random.default_rng(1).uniform(low, high, (n, len(low)))


@pytest.fixture(scope="module")
def document_of(tmp_path_factory):
    def make(name):
        folder = tmp_path_factory.mktemp("hs3")
        mil.publish(MADE[name](), folder / "published", title=name)
        write_hs3(folder / "published", folder / "hs3.json")
        document = json.loads((folder / "hs3.json").read_text(encoding="utf-8"))
        return mil.load_published(folder / "published").likelihood, document, folder

    return make


@pytest.mark.parametrize("name", MADE)
def test_it_is_the_published_likelihood(name, document_of):
    likelihood, document, folder = document_of(name)
    points = points_of(likelihood, 20)
    evaluation = Evaluation(document)
    found = [
        -2 * evaluation.log_prob(dict(zip(likelihood.parameters, p, strict=True))) for p in points
    ]
    differences = np.array(found) - [likelihood(*p) for p in points]
    assert np.ptp(found) > 1
    assert np.ptp(differences) < 1e-8
    assert document["metadata"]["hs3_version"] == HS3_VERSION
    (domain,) = document["domains"]
    limits = {a["name"]: (a.get("min", -np.inf), a.get("max", np.inf)) for a in domain["axes"]}
    assert limits == likelihood.limits
    (analysis,) = document["analyses"]
    assert set(analysis["parameters_of_interest"]) <= set(likelihood.parameters)
    for datum in document["data"]:
        entries = np.array(datum["entries"])
        assert entries.min() >= 0
        assert entries.max() <= 1
        assert len(datum["weights"]) == len(entries)
        assert sum(datum["weights"]) != 0  # pyhs3 refuses such data
    assert mil.inspect_file(folder / "hs3.json")["kind"]


@pytest.mark.parametrize("name", MADE)
def test_pyhs3_evaluates_it(name, document_of):
    pyhs3 = pytest.importorskip("pyhs3")
    pytensor = pytest.importorskip("pytensor")
    from pytensor.graph.traversal import explicit_graph_inputs

    likelihood, document, _ = document_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # weights are constants of the model
        workspace = pyhs3.Workspace(**document)
        model = workspace.model(workspace.analyses["analysis"])
        expression = -2 * model.log_prob
    inputs = [v for v in explicit_graph_inputs([expression]) if v.name]
    function = pytensor.function(inputs, expression, mode="FAST_COMPILE")
    values = []
    points = points_of(likelihood, 5)
    for point in points:
        at = {n: [x] for n, x in zip(likelihood.parameters, point, strict=True)} | model.data
        arrays = [np.asarray(at[v.name], dtype=float) for v in inputs]
        shaped = [a if v.ndim else a.reshape(()) for a, v in zip(arrays, inputs, strict=True)]
        values.append(float(np.squeeze(function(*shaped))))
    differences = np.array(values) - [likelihood(*p) for p in points]
    assert np.ptp(values) > 1
    assert np.ptp(differences) < 1e-8


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (COSTS["calibrated"], "calibration of term0 .* scales ln L by a function"),
        (COSTS["spline"], "the ratios of its events are not polynomials .cubic_spline"),
        (COSTS["mixture of splines"], "the ratios of its events are not polynomials .splines"),
        (systematic, "responses of events to nuisance parameters are no mixture"),
        (lambda: histogram(rate=True), "publish it with mc_stat=False"),
        (lambda: histogram(mc_stat=False), "the shape of the histogram alone"),
        (COSTS["workspace"], "it is a workspace already"),
        (
            lambda: (
                oracle().cost(one_operator())
                + NormalConstraint(["c1", "b"], [0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
            ),
            "its measurements are correlated",
        ),
    ],
)
def test_what_hs3_has_no_form_for_is_named(make, reason, tmp_path):
    mil.publish(make(), tmp_path / "published")
    with pytest.raises(ConfigurationError, match=f"has no form in HS3 .*{reason}|{reason}"):
        write_hs3(tmp_path / "published", tmp_path / "hs3.json")
    assert not (tmp_path / "hs3.json").exists()
