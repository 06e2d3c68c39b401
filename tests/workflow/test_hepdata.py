"""A submission for HEPData is valid, and says what the published likelihood says."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from scipy.stats import chi2

import milinfer as mil
from milinfer.cli import cli
from milinfer.exceptions import (
    CalibrationError,
    ConfigurationError,
    MilinferWarning,
    ParameterError,
)
from milinfer.likelihood.cost import LikelihoodCost, dataset_cost
from milinfer.likelihood.fits import profile_interval
from milinfer.likelihood.surface import Interpolation
from milinfer.workflow.hepdata import write_hepdata
from published_costs import COSTS, Means, N, means
from saved_formats import FOLDER as SAVED
from saved_formats import events_of

FOLDER = Path(__file__).parents[1] / "data" / "published1"
ONE = FOLDER / "systematic_polynomials"
needs_hepdata = pytest.mark.skipif(
    "not __import__('importlib.util').util.find_spec('hepdata_lib')", reason="needs hepdata_lib"
)


def submission(folder):
    text = (folder / "submission.yaml").read_text(encoding="utf-8")
    first, *tables = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return first, {table["name"]: table for table in tables}


def columns(folder, file):
    """Values by the names of variables; the dependent ones with their qualifiers and units."""
    table = yaml.safe_load((folder / file).read_text(encoding="utf-8"))
    values, about = {}, {}
    for kind in ("independent_variables", "dependent_variables"):
        for variable in table[kind]:
            name = variable["header"]["name"]
            values[name] = [entry["value"] for entry in variable["values"]]
            about[name] = {q["name"]: q["value"] for q in variable.get("qualifiers", ())}
            about[name]["units"] = variable["header"].get("units")
    return values, about


def valid(folder):
    from hepdata_validator.full_submission_validator import FullSubmissionValidator

    validator = FullSubmissionValidator(autoload_remote_schemas=False)
    found = validator.validate(directory=str(folder))
    return found, {m.message for own in validator.get_messages().values() for m in own}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    pytest.importorskip("hepdata_lib")
    parent = tmp_path_factory.mktemp("hepdata")
    cost = COSTS["systematic polynomials"]()
    mil.publish(cost, parent / "published", title="c1 with a trigger", units={"c1": "TeV-2"})
    (parent / "published" / "notes.txt").write_text("not for others")
    return parent, write_hepdata(
        parent / "published",
        parent / "hepdata",
        comment="The abstract.",
        keywords={"observables": ["c1"]},
    )


class TestTables:
    def test_are_valid_and_name_every_file(self, written):
        _, folder = written
        assert valid(folder) == (True, set())
        about, tables = submission(folder)
        assert about["comment"] == "The abstract."
        assert [*tables] == ["Intervals", "Covariance", "Correlation", "Profile of c1"]
        assert tables["Intervals"]["keywords"] == [{"name": "observables", "values": ["c1"]}]
        # Not valid any more: the validation can fail.
        (folder / "intervals.yaml").rename(folder / "other.yaml")
        assert not valid(folder)[0]
        (folder / "other.yaml").rename(folder / "intervals.yaml")

    def test_intervals(self, written):
        parent, folder = written
        values, about = columns(folder, "intervals.yaml")
        assert values["parameter"] == ["c1"]
        cost = mil.load_published(parent / "published")
        for cl in (0.6827, 0.9545):
            interval = profile_interval(cost, "c1", cl)
            for end in ("low", "high"):
                name = f"{end} end of the {cl:.2%} interval"
                assert values[name] == [pytest.approx(getattr(interval, end), abs=1e-5)]
                assert about[name] == {
                    "confidence level": cl,
                    "method": "profile likelihood (MINOS)",
                    "units": "TeV-2",
                }
            assert values["best fit"] == [pytest.approx(interval.estimate, abs=1e-5)]

    def test_covariance_and_correlation(self, written):
        parent, folder = written
        # The trigger is all but known by its constraint alone, and −2 ln L is almost a parabola.
        cost = mil.load_published(parent / "published")
        best = profile_interval(cost, "c1").minuit.values
        step = 0.01
        second = [
            (cost(best[0] + a, best[1] + b) + cost(best[0] - a, best[1] - b) - 2 * cost(*best))
            / (2 * step**2)
            for a, b in ((step, 0), (0, step))
        ]
        values, _ = columns(folder, "covariance.yaml")
        assert values["parameter 1"] == ["c1", "c1", "trigger", "trigger"]
        assert values["parameter 2"] == ["c1", "trigger"] * 2
        covariance = np.reshape(values["covariance"], (2, 2))
        np.testing.assert_allclose(np.diag(covariance), 1 / np.array(second), rtol=2e-3)
        assert covariance[1, 1] == pytest.approx(1.0, abs=1e-4)
        assert covariance[0, 1] == covariance[1, 0] == pytest.approx(0.0, abs=1e-6)
        values, _ = columns(folder, "correlation.yaml")
        assert values["correlation"] == pytest.approx([1.0, 0.0, 0.0, 1.0], abs=1e-6)

    def test_profile_and_picture(self, written):
        parent, folder = written
        values, _ = columns(folder, "profile_of_c1.yaml")
        theta, rises = np.array(values["c1"]), np.array(values["-2 Delta ln L"])
        interval = profile_interval(mil.load_published(parent / "published"), "c1")
        one = chi2.ppf(0.6827, 1)
        assert np.interp(interval.high, theta, rises) == pytest.approx(one, abs=0.02)
        assert rises.min() == pytest.approx(0.0, abs=0.01)
        assert rises[[0, -1]] == pytest.approx(9.0, abs=1.5)
        resources = [
            r["location"] for r in submission(folder)[1]["Profile of c1"]["additional_resources"]
        ]
        assert resources == ["profile_of_c1.png", "thumb_profile_of_c1.png"]
        widths = []
        for name in resources:
            with Image.open(folder / name) as picture:
                widths.append(picture.size[0])
        assert widths[0] > 800
        assert widths[1] == 240

    def test_the_likelihood_is_in_it_and_nothing_else(self, written, tmp_path):
        parent, folder = written
        assert "likelihood.zip" in [
            r["location"] for r in submission(folder)[0]["additional_resources"]
        ]
        with zipfile.ZipFile(folder / "likelihood.zip") as archive:
            archive.extractall(tmp_path)
        names = sorted(path.name for path in (tmp_path / "likelihood").iterdir())
        assert names == ["events.npz", "likelihood.json", "read_likelihood.py"]
        again = mil.load_published(tmp_path / "likelihood")
        assert again(0.2, 0.3) == mil.load_published(parent / "published")(0.2, 0.3)

    @pytest.mark.usefixtures("written")
    def test_yaml_of_the_process_stays_as_it_was(self):
        """hepdata_lib replaces how the fast loader makes mappings."""
        assert yaml.load("a: {b: 1}", Loader=yaml.CLoader) == {"a": {"b": 1}}


@needs_hepdata
class TestCalibrated:
    def test_the_level_is_that_of_the_calibration(self, tmp_path):
        folder = write_hepdata(FOLDER / "calibrated", tmp_path / "h")
        values, about = columns(folder, "intervals.yaml")
        assert [n for n in values if n.startswith("low")] == ["low end of the 95.45% interval"]
        assert about["best fit"]["method"] == (
            "profile likelihood (MINOS) of the likelihood calibrated with toys for 95.45% "
            "intervals of mu"
        )
        with pytest.raises(CalibrationError, match=r"68\.27% intervals of mu from it have a wrong"):
            write_hepdata(FOLDER / "calibrated", tmp_path / "other", cl=0.6827)
        assert not (tmp_path / "other").exists()

    def test_one_that_does_not_say_its_level_or_is_for_regions(self, tmp_path):
        with pytest.raises(CalibrationError, match="does not record which; give this level as cl="):
            write_hepdata(FOLDER / "widened_in_two_parameters", tmp_path / "h")

    def test_intervals_of_others(self, tmp_path):
        published = FOLDER / "calibrated"
        cost = mil.load_published(published)
        interval = profile_interval(cost, "mu", 0.9545)
        mine = interval._replace(low=interval.low - 0.01)
        folder = write_hepdata(published, tmp_path / "h", intervals=[mine], method="Neyman")
        values, about = columns(folder, "intervals.yaml")
        assert values["low end of the 95.45% interval"] == [mine.low]
        assert about["best fit"]["method"] == "Neyman"
        refused = (
            ({"intervals": [mine]}, ConfigurationError, "give method="),
            ({"method": "Neyman"}, ConfigurationError, "no intervals are given"),
            ({"intervals": [mine], "method": "x", "cl": 0.9}, ConfigurationError, "give only one"),
            (
                {"intervals": [mine._replace(parameter="nu")], "method": "x"},
                ParameterError,
                "an interval is for nu, but the parameters of interest are mu",
            ),
        )
        for options, error, message in refused:
            with pytest.raises(error, match=message):
                write_hepdata(published, tmp_path / "other", **options)


@needs_hepdata
def test_a_second_minimum_stands_beside_the_intervals(tmp_path):
    grid = np.linspace(-1, 1, 9)
    wells = -200 * (grid**2 - 0.25) ** 2 + 0.2 * grid
    surface = Interpolation(grid, "polynomial", 4).surface(wells)
    cost = LikelihoodCost(surface, "c", n_events=10, reference=0.0)
    mil.publish(cost, tmp_path / "published")
    with pytest.warns(MilinferWarning, match="quote all ranges"):
        folder = write_hepdata(tmp_path / "published", tmp_path / "h", cl=0.6827)
    text = submission(folder)[1]["Intervals"]["description"]
    assert "quote all ranges" in text
    assert "missing" not in text


@needs_hepdata
def test_names_that_differ_in_capitals_alone_and_what_hepdata_refuses(tmp_path):

    class Named(Means):
        parameters = ("c/w", "c/W")

    cost = dataset_cost(Named(), means(N, 3, 0.1, -0.1).as_data(), reference=0.0)
    mil.publish(cost, tmp_path / "published")
    folder = write_hepdata(tmp_path / "published", tmp_path / "h")
    assert [*submission(folder)[1]][3:] == ["Profile of c_w", "Profile of c_W 2"]
    with pytest.raises(ConfigurationError, match=r"HEPData would refuse this submission: .*colour"):
        write_hepdata(FOLDER / "calibrated", tmp_path / "other", keywords={"colour": ["red"]})
    assert not (tmp_path / "other").exists()


def test_without_hepdata_lib_it_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hepdata_validator.full_submission_validator", None)
    with pytest.raises(ConfigurationError, match=r'pip install "milinfer\[hepdata\]"'):
        write_hepdata(ONE, tmp_path / "h")
    data = ("publish", "none.parquet", "--model", str(SAVED / "polynomial"))
    options = ("--out", str(tmp_path / "p"), "--hepdata", str(tmp_path / "h"))
    result = CliRunner().invoke(cli, [*data, *options])
    assert result.exit_code
    assert "a submission needs hepdata_lib" in " ".join(result.output.split())


@needs_hepdata
def test_the_command(tmp_path):
    model = mil.BagLikelihood.load(SAVED / "polynomial")
    events = events_of(model)
    mil.Sample(events.features, events.feature_names).to_file(tmp_path / "data.parquet")
    out = tmp_path / "hepdata"
    arguments = ["publish", tmp_path / "data.parquet", "--model", SAVED / "polynomial"]
    arguments += ["--out", tmp_path / "published", "--hepdata", out]
    with pytest.warns(MilinferWarning, match="the table will say that the interval is missing"):
        result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert "a submission for HEPData, checked against its schema" in " ".join(result.output.split())
    assert valid(out)[0]
    # Seven events say little: intervals leave the range.
    values, _ = columns(out, "intervals.yaml")
    assert values["low end of the 95.45% interval"] == ["-"]
    text = submission(out)[1]["Intervals"]["description"]
    assert "No 95.45% interval of c1 ends inside its range [" in text
