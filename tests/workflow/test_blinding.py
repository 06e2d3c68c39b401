"""Blind analyses: no result depends on the data before a recorded act opens them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import milinfer as mil
from milinfer.cli import cli
from milinfer.datasets import gaussian
from milinfer.exceptions import ConfigurationError, MilinferWarning
from milinfer.workflow.blinding import Unblinding, pseudo_data, write_unblinding
from milinfer.workflow.run import unblind_analysis

pytestmark = [
    # Pools of few events, which make a test short; that they are small is tested elsewhere.
    pytest.mark.filterwarnings("ignore:the toys of .* from a pool:UserWarning"),
    pytest.mark.usefixtures("one_picture"),
]

CONFIGURATION = """
[samples]
features = ["x0", "x1"]
[[samples.train]]
path = "mc/*.parquet"
[data]
path = "data.parquet"
blind = true
[[model]]
head = "multiclass"
bag_size = 10
epochs = 2
[toys]
number = 100
[templates]
observable = "x0"
bins = 4
degree = 2
"""


def figures(summary):
    """What a result says of the parameter; no times, and no hashes of files."""
    rest = {k: v for k, v in summary.items() if k not in ("provenance", "blinding")}
    return json.loads(json.dumps(rest), parse_float=float) | {
        name: {k: v for k, v in method.items() if k != "fit_seconds"}
        for name, method in rest.items()
        if isinstance(method, dict)
    }


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    """File of a blind analysis that has run."""
    folder = tmp_path_factory.mktemp("blind")
    (folder / "mc").mkdir()
    for k, sample in enumerate(gaussian.samples(3000, (-1.0, 0.0, 1.0), seed=1, n_features=2)):
        sample.to_file(folder / "mc" / f"mu{k}.parquet")
    gaussian.generate(200, 0.3, seed=9, n_features=2).to_file(folder / "data.parquet")
    file = folder / "analysis.toml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="must still be done; use milinfer run first"):
        unblind_analysis(file, "too early")
    return file, mil.run_analysis(file)


def test_a_blind_result_does_not_depend_on_the_data(analysis):
    file, blind = analysis
    assert blind["blinding"] == {"state": "blind", "pseudo_data_events": 200}
    assert blind["simulated"]
    page = (file.parent / "results" / "report.html").read_text(encoding="utf-8")
    assert "the 200 events fitted here are pseudo-data, not the data" in page
    gaussian.generate(200, 0.1, seed=10, n_features=2).to_file(file.parent / "data.parquet")
    assert figures(mil.run_analysis(file)) == figures(blind)


def test_the_configuration_alone_opens_nothing(analysis):
    file, _ = analysis
    try:
        file.write_text(CONFIGURATION.replace("blind = true\n", ""), encoding="utf-8")
        with pytest.raises(ConfigurationError, match="open its data with `milinfer unblind`"):
            mil.run_analysis(file)
        # another folder of results, which holds no blind analysis
        open_file = file.with_name("open.toml")
        text = CONFIGURATION.replace("blind = true\n", "")
        open_file.write_text('[analysis]\nout = "other"\n' + text, encoding="utf-8")
        with pytest.raises(ConfigurationError, match="has no blind = true"):
            unblind_analysis(open_file, "nothing to open")
    finally:
        file.write_text(CONFIGURATION, encoding="utf-8")


def test_opening_is_one_recorded_act(analysis):
    file, _ = analysis
    out = file.parent / "results"
    before = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    arguments = ["unblind", str(file), "--reason", "approved <by all>"]
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 0, shown.output
    again = CliRunner().invoke(cli, arguments)
    assert again.exit_code == 2
    assert "can be opened only once" in again.output
    record = Unblinding.load(out)
    assert {"train-multiclass", "inference"} <= record.frozen.keys()
    assert not any("features-data" in name for name in record.frozen)
    assert json.loads((out / "blind_result" / "summary.json").read_text("utf-8")) == before

    opened = mil.run_analysis(file)
    assert opened["blinding"]["state"] == "unblinded"
    assert opened["blinding"]["changed_since"] == []
    assert not opened["simulated"]
    for name in ("multiclass", "pyhf"):
        # calibration and coverage were final, the estimate is that of the data
        assert opened[name]["coverage68"] == before[name]["coverage68"]
        assert opened[name]["estimate"] != before[name]["estimate"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "(approved &lt;by all&gt;). No step has changed since." in page
    assert "truth" not in page.split("Coverage")[0]

    changed = CONFIGURATION.replace("bins = 4", "bins = 3")
    file.write_text(changed, encoding="utf-8")
    with pytest.warns(MilinferWarning, match="changed since its data were opened: inference"):
        later = mil.run_analysis(file)
    assert later["blinding"]["changed_since"] == ["inference"]


def test_pseudo_data_are_drawn_at_the_truth():
    samples = gaussian.samples(20_000, [0.0, 0.5], seed=1)
    drawn = pseudo_data(samples, 0.5, 4000, weight_degree=None, seed=3)
    assert len(drawn) == 4000
    assert abs(np.mean(drawn.features[:, 0]) - 0.5) < 4 / np.sqrt(4000)
    again = pseudo_data(samples, 0.5, 4000, weight_degree=None, seed=3)
    np.testing.assert_array_equal(drawn.features, again.features)
    other = pseudo_data(samples, 0.5, 4000, weight_degree=None, seed=4)
    assert np.any(drawn.features != other.features)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"frozen": {"a": 1}}', '{"frozen": {}, "time": NaN}', "[" * 10_000]
)
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / "unblinding.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is not a valid record of an unblinding"):
        Unblinding.load(tmp_path)


def test_a_reason_is_needed(tmp_path):
    with pytest.raises(ConfigurationError, match="give a reason"):
        write_unblinding(tmp_path, "  ", {})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("expected_events = 10", "add blind = true"),
        ("blind = true\nluminosity = 10.0", "must stay blind; give expected_events"),
    ],
)
def test_numbers_of_events_of_a_blind_analysis(tmp_path, keys, message):
    file = tmp_path / "analysis.toml"
    file.write_text(CONFIGURATION.replace("blind = true", keys), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        mil.AnalysisConfig.from_file(file)
