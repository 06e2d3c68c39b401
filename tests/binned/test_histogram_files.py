"""Histograms on disk."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

from histogram_files import write_histograms
from milinfer.binned.histogram_files import load_histograms
from milinfer.binned.templates import Templates
from milinfer.datasets import gaussian
from milinfer.exceptions import TemplateError


def test_histograms_survive_the_file(tmp_path):
    samples = gaussian.samples(4_000, [-0.6, -0.3, 0.0, 0.3, 0.6], seed=1)
    edges = [-4.0, -1.0, -0.3, 0.3, 1.0, 4.0]
    templates = Templates.from_samples(samples, "x0", bins=edges, degree=2)
    write_histograms(templates, tmp_path / "h.json")
    histograms = load_histograms(tmp_path / "h.json")
    assert list(histograms) == ["mu_m0p6", "mu_m0p3", "mu_0", "mu_0p3", "mu_0p6"]
    for h, original in zip(histograms.values(), templates.histograms, strict=True):
        np.testing.assert_array_equal(h.view()["value"], original.view()["value"])
        np.testing.assert_array_equal(h.view()["variance"], original.view()["variance"])
        np.testing.assert_array_equal(h.axes[0].edges, original.axes[0].edges)
        assert h.axes[0].label == "x0"
    assert (histograms["mu_m0p3"].point, histograms["mu_m0p3"].unit) == ("mu=-0.3", "pb")
    schema = json.loads(files("uhi.resources").joinpath("histogram.schema.json").read_text())
    for item in json.loads((tmp_path / "h.json").read_text()).values():
        jsonschema.validate(item, schema)
    (tmp_path / "one.json").write_text(json.dumps(item))
    assert load_histograms(tmp_path / "one.json")["one"] == histograms["mu_0p6"]


def test_broken_histogram_files(tmp_path):
    file = tmp_path / "h.json"
    for text, message in (
        ("[1", "is not a JSON file of histograms"),
        ('{"a": {"axes": []}}', "'a' is not a histogram"),
        ('{"a": {"uhi_schema": 1, "axes": []}}', "the histogram 'a' is damaged"),
    ):
        file.write_text(text)
        with pytest.raises(TemplateError, match=message):
            load_histograms(file)
