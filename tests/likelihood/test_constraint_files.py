"""Constraints in the formats of others say the same, read as others read them."""

from __future__ import annotations

import json
import sys
from ast import literal_eval
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import yaml
from iminuit.cost import NormalConstraint

from milinfer.exceptions import ConfigurationError
from milinfer.likelihood.constraints import constraint
from scripts import load_script

NAMES = ["OWWW", "OB", "Opl"]
COVARIANCE = np.array([[0.04, 0.012, 0.0], [0.012, 1e-4 * 90, -0.004], [0.0, -0.004, 0.09]])
SCALE = {"scale": 91.2, "basis": {"custom": "mine"}}


def bent(OWWW, OB, Opl):  # names of operators
    off = np.array([OWWW - 0.1, OB + 1e-5, Opl - 0.3])
    square = off @ np.linalg.solve(COVARIANCE, off)
    return square + 0.02 * off[0] ** 3 + 0.5 * off[2] ** 4


bent.ndata = 1


@pytest.fixture(scope="module")
def measured():
    from iminuit import Minuit

    m = Minuit(bent, 0.0, 0.0, 0.0).migrad()
    return constraint(m, n_tests=100)


@pytest.fixture(scope="module")
def points(measured):
    return np.random.default_rng(1).uniform(measured.low, measured.high, (20, 3))


def column(table, name):
    for variable in table["independent_variables"] + table["dependent_variables"]:
        if variable["header"]["name"] == name:
            return [entry["value"] for entry in variable["values"]]
    raise AssertionError(name)


def test_hepdata_takes_the_tables(measured, tmp_path):
    validation = pytest.importorskip("hepdata_validator.full_submission_validator")
    measured.to_hepdata(tmp_path / "tables", title="VBF")
    validator = validation.FullSubmissionValidator(autoload_remote_schemas=False)
    assert validator.validate(directory=str(tmp_path / "tables")), validator.get_messages()


def test_hepdata(measured, points, tmp_path):
    measured.to_hepdata(tmp_path / "tables", title="VBF")
    submission = list(
        yaml.safe_load_all((tmp_path / "tables" / "submission.yaml").read_text("utf-8"))
    )
    assert "VBF" in submission[0]["comment"]
    tables = {}
    for document in submission[1:]:
        assert set(document) == {"name", "description", "keywords", "data_file"}
        table = yaml.safe_load((tmp_path / "tables" / document["data_file"]).read_text("utf-8"))
        assert set(table) == {"independent_variables", "dependent_variables"}
        lengths = {len(v["values"]) for variables in table.values() for v in variables}
        assert len(lengths) == 1  # HEPData wants a value for each row
        tables[document["name"]] = table
    assert set(tables) == {
        f"VBF: {name}" for name in ("best fit", "covariance", "correlation", "polynomial")
    }
    best = tables["VBF: best fit"]
    assert column(best, "parameter") == NAMES
    np.testing.assert_array_equal(column(best, "best fit"), measured.best)
    (dependent,) = best["dependent_variables"]
    errors = [entry["errors"][0]["symerror"] for entry in dependent["values"]]
    np.testing.assert_array_equal(errors, measured.errors)
    for name in ("covariance", "correlation"):
        table = tables[f"VBF: {name}"]
        matrix = dict(
            zip(
                zip(column(table, "parameter 1"), column(table, "parameter 2"), strict=True),
                column(table, name),
                strict=True,
            )
        )
        wanted = getattr(measured, name)
        for j, a in enumerate(NAMES):
            for k, b in enumerate(NAMES):
                assert matrix[a, b] == wanted[j, k]
    polynomial = tables["VBF: polynomial"]
    powers = np.array([column(polynomial, f"power of {name}") for name in NAMES]).T
    x = (points - column(best, "best fit")) / errors
    values = np.prod(x[:, None] ** powers, axis=2) @ column(polynomial, "coefficient")
    np.testing.assert_allclose(values, measured.value(points), rtol=1e-12)


def smefit_covariance(record):
    """As smefit.loader and smefit.covmat make it (4.0)."""
    n_sys, n_data = record["num_sys"], record["num_data"]
    statistical = np.array(record["statistical_error"])
    systematics = np.array(record["systematics"])
    if n_sys:
        names = record["sys_names"]
        assert len(names) == len(set(names)) == n_sys
        assert not set(names) & {"UNCORR", "THEORYUNCORR", "CORR"}
        assert record["sys_type"] == ["ADD"] * n_sys
        of_data = systematics.reshape((n_sys, n_data)).T
    else:
        of_data = np.zeros((n_data, 1))
    return np.diag(np.atleast_1d(statistical**2)) + of_data @ of_data.T


def smefit_chi2(data, theory, values):
    """χ² of a linear fit with the coefficients of a dictionary."""
    central = np.atleast_1d(data["data_central"])
    prediction = np.array(theory["best_sm"]) + sum(
        value * np.array(theory["LO"][name]) for name, value in values.items()
    )
    off = prediction - central
    return off @ np.linalg.solve(smefit_covariance(data), off)


def test_smefit_dataset(measured, points, tmp_path):
    measured.to_smefit(tmp_path / "smefit", "VBF")
    data = yaml.safe_load((tmp_path / "smefit" / "VBF.yaml").read_text("utf-8"))
    theory = json.loads((tmp_path / "smefit" / "VBF.json").read_text("utf-8"))
    np.testing.assert_allclose(smefit_covariance(data), measured.covariance, atol=1e-15)
    assert set(theory["LO"]) == {"SM", *NAMES}
    for point in points:
        chi2 = smefit_chi2(data, theory, dict(zip(NAMES, point, strict=True)))
        assert chi2 == pytest.approx(measured.gaussian(point), rel=1e-9)


def test_smefit_dataset_of_one_parameter(tmp_path):
    """A dataset of one point has numbers where others have lists."""
    measured = constraint(NormalConstraint("OB", 1e-5, 1e-5), n_tests=5)
    measured.to_smefit(tmp_path / "smefit", "VBF")
    data = yaml.safe_load((tmp_path / "smefit" / "VBF.yaml").read_text("utf-8"))
    assert isinstance(data["data_central"], float)  # not the text "1e-05"
    assert isinstance(data["statistical_error"], float)
    theory = json.loads((tmp_path / "smefit" / "VBF.json").read_text("utf-8"))
    chi2 = smefit_chi2(data, theory, {"OB": 3e-5})
    assert chi2 == pytest.approx(measured.gaussian([3e-5]), rel=1e-9)


@pytest.fixture
def external(measured, tmp_path, monkeypatch):
    """The external χ², with numpy in the place of jax.numpy where that is not installed."""
    jax = ModuleType("jax")
    jax.numpy, jax.Array = np, type("Array", (), {})
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setitem(sys.modules, "jax.numpy", np)
    measured.to_smefit(tmp_path / "smefit", "VBF")
    return load_script(tmp_path / "smefit" / "VBF_chi2.py")


def test_smefit_external_chi2(external, measured, points):
    """With coefficients in another order, more of them, and one that is not fitted."""
    names = np.array(["Other", "Opl", "OWWW"])
    chi2 = external.MilinferChi2(coefficients=SimpleNamespace(name=names), rge_dict=None)
    for point in points:
        value = chi2.compute_chi2(np.array([7.0, point[2], point[0]]))
        assert value == pytest.approx(measured.value([point[0], 0.0, point[2]]), rel=1e-9)
    with pytest.raises(NotImplementedError, match="at one scale"):
        external.MilinferChi2(coefficients=SimpleNamespace(name=names), rge_dict={"init": 1000})


def test_smefit_runcard(external, tmp_path):
    text = (tmp_path / "smefit" / "runcard.yaml").read_text("utf-8")
    runcard = yaml.safe_load(text)
    assert runcard["datasets"] == [{"name": "VBF", "order": "LO"}]
    ((name, options),) = runcard["external_chi2"].items()
    assert hasattr(external, name)
    assert (tmp_path / "smefit" / options["path"]).is_file()
    assert "never both" in text


def popxf_value(record, theta):
    """As the specification of POPxf 1.0 says."""
    degree = record["metadata"]["polynomial_degree"]
    total = 0.0
    for key, (coefficient,) in record["data"]["observable_central"].items():
        names = literal_eval(key)
        assert len(names) == degree
        assert list(names) == sorted(names)
        total += coefficient * np.prod([theta[name] for name in names if name])
    return total


def test_popxf(measured, points, tmp_path):
    path = tmp_path / "popxf.json"
    measured.to_popxf(path, scale=91.2, basis={"wcxf": {"eft": "SMEFT", "basis": "Warsaw"}})
    record = json.loads(path.read_text("utf-8"))
    assert set(record) == {"$schema", "metadata", "data"}
    assert record["$schema"] == "https://json.schemastore.org/popxf-1.0.json"
    metadata = record["metadata"]
    assert metadata["parameters"] == sorted(NAMES)
    assert len(metadata["observable_names"]) == 1
    assert metadata["scale"] == 91.2
    assert metadata["misc"]["largest_error"] == measured.error
    for point in points:
        value = popxf_value(record, dict(zip(NAMES, point, strict=True)))
        assert value == pytest.approx(measured.value(point), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda c, to: c.to_smefit(to, "VBF-H"), "'VBF-H' cannot be the name"),
        (lambda c, to: c.to_popxf(to, scale=0, basis={"custom": 1}), "scale = 0"),
        (lambda c, to: c.to_popxf(to, scale=1, basis={}), "basis ="),
        (lambda c, to: c.to_popxf(to, scale=1, basis={"wcxf": {}, "x": 1}), "basis ="),
    ],
)
def test_what_a_format_does_not_allow_is_refused(measured, tmp_path, write, message):
    with pytest.raises(ConfigurationError, match=message):
        write(measured, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_popxf_has_no_degree_above_five(tmp_path):
    measured = constraint(NormalConstraint("a", 0.0, 1.0), degree=6, n_tests=5)
    with pytest.raises(ConfigurationError, match="up to degree 5, but this one has degree 6"):
        measured.to_popxf(tmp_path / "a.json", **SCALE)
