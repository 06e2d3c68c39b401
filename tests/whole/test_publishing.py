"""A published likelihood is the cost, of every kind, at random points and in fits."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from iminuit import Minuit
from iminuit.cost import Cost, LeastSquares, NormalConstraint

import milinfer as mil
from milinfer.exceptions import (
    CalibrationError,
    ConfigurationError,
    FitError,
    MilinferError,
    ParameterError,
)
from milinfer.likelihood import published_reader
from milinfer.likelihood.cost import LikelihoodCost, dataset_cost
from milinfer.likelihood.published_reader import LikelihoodError, canonical_hash, read
from milinfer.likelihood.publishing import published_schema
from milinfer.likelihood.surface import Interpolation
from published_costs import (
    COSTS,
    VALIDATOR,
    Means,
    N,
    calibrated,
    calibration_in_two,
    means,
    mixture,
    one_operator,
    oracle,
    surface_cost,
    workspace_cost,
)

N_POINTS = 150


@cache
def cost_of(name: str) -> Cost:
    return COSTS[name]()


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    made: dict[str, Path] = {}

    def publish(name: str) -> Path:
        if name not in made:
            made[name] = mil.publish(cost_of(name), tmp_path_factory.mktemp("p") / "published")
        return made[name]

    return publish


def random_points(likelihood, n, seed=1):
    """Uniform in the range, and where there is no end as far as three from the start."""
    low, high = np.array(list(likelihood.limits.values())).T
    start = np.array(list(likelihood.start.values()))
    low = np.where(np.isfinite(low), low, np.minimum(start, high) - 3)
    high = np.where(np.isfinite(high), high, start + 3)
    return np.random.default_rng(seed).uniform(low, high, (n, len(low)))


@pytest.mark.parametrize("name", COSTS)
def test_it_is_the_cost_at_random_points(name, folder_of):
    cost, likelihood = cost_of(name), read(folder_of(name))
    assert likelihood.parameters == tuple(cost._parameters)
    points = random_points(likelihood, N_POINTS).tolist()
    if "workspace" in name or name == "combined":
        # Where pyhf has yields below zero there is no likelihood.
        start = np.array(list(likelihood.start.values()))
        points = (start + 0.25 * (np.array(points) - start)).tolist()
    values = np.array([cost(*p) for p in points])
    found = np.array([likelihood(*p) for p in points])
    assert np.isfinite(values).all()
    assert np.ptp(values) > 0.1
    assert np.abs(found - values).max() < 1e-8
    assert likelihood.has_grad == cost.has_grad
    for point in points[:8] if cost.has_grad else ():
        expected = np.asarray(cost.grad(*point))
        scale = 1 + np.abs(expected).max()
        np.testing.assert_allclose(likelihood.grad(*point), expected, atol=1e-9 * scale, rtol=0)


@pytest.mark.parametrize("name", COSTS)
def test_the_json_is_as_its_schema_says(name, folder_of):
    content = json.loads((folder_of(name) / "likelihood.json").read_text(encoding="utf-8"))
    VALIDATOR.validate(content)
    assert read(folder_of(name)).check() < 1e-8


def test_the_schema_is_one_and_refuses_what_is_not_in_it(folder_of):
    schema = published_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    content = json.loads((folder_of("systematic") / "likelihood.json").read_text(encoding="utf-8"))
    for other in (
        {**content, "more": 1},
        {key: value for key, value in content.items() if key != "bound"},
        {**content, "terms": [{**content["terms"][0], "kind": "other"}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(other)


@pytest.mark.parametrize(
    "name",
    ["log polynomials", "calibrated", "widened", "mixture of splines", "systematic", "channels"],
)
def test_fit_and_minos_interval_are_the_same(name, folder_of):
    cost, published = cost_of(name), mil.load_published(folder_of(name))
    first = published.parameters[0]
    fits = []
    for each in (cost, published, published.likelihood):
        m = Minuit(each, **published.start)
        m.migrad()
        m.minos(first)
        assert m.valid
        fits.append((m.values[first], m.merrors[first].lower, m.merrors[first].upper, m.fval))
    for other in fits[1:]:
        np.testing.assert_allclose(other, fits[0], rtol=1e-6, atol=1e-8)


def test_intervals_that_it_is_not_calibrated_for_are_refused(folder_of, tmp_path):
    published = mil.load_published(folder_of("calibrated"))
    interval = mil.profile_interval(published, "mu", 0.9545)
    expected = mil.profile_interval(cost_of("calibrated"), "mu", 0.9545)
    assert interval.low == pytest.approx(expected.low, abs=1e-6)
    with pytest.raises(
        CalibrationError, match=r"is calibrated for 95\.45% intervals of mu, and 68"
    ):
        mil.profile_interval(published, "mu")
    assert mil.profile_interval(published.for_any_interval(), "mu").low > interval.low
    # By Bartlett one constant serves all levels, but its error widens intervals of one.
    widened = calibrated(widen=True, kind="bartlett")
    with pytest.raises(CalibrationError, match=r"calibrated for intervals of 95\.45%, not of 68"):
        mil.profile_interval(widened, "mu")
    of_all = mil.load_published(folder_of("calibrated, bias only"))
    assert str(*of_all.calibrated_for) == "intervals of every level"
    mil.profile_interval(of_all, "mu", 0.9)
    # Regions of two parameters, and intervals of one of them.
    region = mil.load_published(folder_of("widened in two parameters"))
    assert str(*region.calibrated_for) == "68.27% joint regions of a, b"
    with pytest.raises(CalibrationError, match=r"joint regions of a, b, and 68\.27% intervals"):
        mil.profile_interval(region, "a")
    cost = dataset_cost(Means(), means(N, 3).as_data(), reference=0.0)
    of_one = calibration_in_two()(cost, parameter="a")
    alone = mil.load_published(mil.publish(of_one, tmp_path / "a"))
    assert str(*alone.calibrated_for) == "68.27% intervals of a"
    mil.profile_interval(alone, "a")
    with pytest.raises(CalibrationError, match="intervals with b fixed"):
        mil.profile_interval(alone, "a", fixed=["b"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("confidence_level", 1.5, "confidence_level is not between 0 and 1"),
        ("parameters", ["b"], "parameters is neither one parameter of the term nor all"),
        ("level", 0.9, "has the key 'level', which this reader does not know"),
    ],
)
def test_a_calibration_that_says_nonsense(key, value, message, folder_of, tmp_path):
    folder = shutil.copytree(folder_of("calibrated"), tmp_path / "copy")
    content = json.loads((folder / "likelihood.json").read_text(encoding="utf-8"))
    content["terms"][0]["calibration"]["calibrated_for"][key] = value
    content["checksum"] = canonical_hash(content)
    (folder / "likelihood.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(LikelihoodError, match=message):
        read(folder)


def test_limits_names_and_start_reach_minuit_and_costs_add(folder_of):
    published = mil.load_published(folder_of("systematic"))
    m = mil.minuit(published + NormalConstraint("mu", 0.0, 0.5))
    assert m.parameters == cost_of("systematic").terms.names
    assert dict(zip(m.parameters, m.limits, strict=True)) == published.likelihood.limits
    assert published.likelihood.roles["tilt"] == "nuisance"
    assert published.likelihood.roles["one_norm"] == "normalisation"
    assert published.likelihood.roles["mu"] == "interest"
    assert published(**published.start) == pytest.approx(0.0, abs=1e-10)
    with pytest.raises(ParameterError, match="mu = 7 is outside"):
        published(**{**published.start, "mu": 7.0})


def test_constraints_are_those_of_the_cost(folder_of):
    cost, published = cost_of("systematic"), mil.load_published(folder_of("systematic"))
    assert published.constrained == cost.constrained
    np.testing.assert_allclose(
        [c[1:] for c in published.constraints], [c[1:] for c in cost.constraints], rtol=1e-14
    )
    point = {**cost.start, "mu": 0.2, "tilt": 1.5, "one_norm": 1.3}
    changed = (
        (cost.without_constraints(["tilt"]), published.without_constraints(["tilt"])),
        (cost.measuring(one_norm=1.2), published.measuring(one_norm=1.2)),
    )
    for expected, other in changed:
        assert other.constrained == expected.constrained
        assert other(**point) == pytest.approx(expected(**point), abs=1e-9)
        np.testing.assert_allclose(other.grad(**point), expected.grad(**point), rtol=1e-9)
    # A constraint counts once.
    with pytest.raises(ParameterError, match="tilt"):
        mil.minuit(published + NormalConstraint("tilt", 0.0, 1.0))
    mil.minuit(published.without_constraints("tilt") + NormalConstraint("tilt", 0.0, 1.0))
    with pytest.raises(ParameterError, match="has no separate constraint of mu"):
        published.without_constraints(["mu"])


ALONE = """
import sys
sys.path.insert(0, sys.argv[1])

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"milinfer", "tensorflow", "keras", "scipy", "numba", "pyhf"}:
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Block())
from iminuit import Minuit
from read_likelihood import LikelihoodError, read

likelihood = read(sys.argv[1])
m = Minuit(likelihood, **likelihood.start)
m.migrad()
m.minos("mu")
print(likelihood.check(), m.values["mu"], m.merrors["mu"].lower, m.merrors["mu"].upper)
try:
    read(sys.argv[2])
except LikelihoodError as error:
    print(error)
print(sorted(n for n in sys.modules if n.split(".")[0] in {"milinfer", "tensorflow", "keras"}))
"""


def test_the_folder_is_read_by_its_own_file_with_numpy_and_iminuit_alone(folder_of):
    folder = folder_of("systematic")
    result = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(folder), str(folder_of("workspace"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    figures, error, modules = result.stdout.splitlines()
    check, *interval = (float(x) for x in figures.split())
    assert check < 1e-8
    assert "needs pyhf: pip install pyhf" in error
    assert modules == "[]"
    m = Minuit(cost_of("systematic"), **cost_of("systematic").start)
    m.migrad()
    m.minos("mu")
    expected = [m.values["mu"], m.merrors["mu"].lower, m.merrors["mu"].upper]
    np.testing.assert_allclose(interval, expected, rtol=1e-6, atol=1e-8)


def test_the_reader_imports_the_standard_library_and_numpy_alone():
    tree = ast.parse(Path(published_reader.__file__).read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "__import__")
    # pyhf inside the one class that needs it.
    assert names - set(sys.stdlib_module_names) == {"numpy", "pyhf"}


def test_what_the_folder_holds(folder_of, tmp_path):
    folder = folder_of("log polynomials")
    assert sorted(p.name for p in folder.iterdir()) == [
        "events.npz",
        "likelihood.json",
        "read_likelihood.py",
    ]
    reader = Path(published_reader.__file__).read_bytes()
    assert (folder / "read_likelihood.py").read_bytes() == reader
    with np.load(folder / "events.npz", allow_pickle=False) as arrays:
        assert {arrays[k].dtype.name for k in arrays.files} <= {"float64", "float32", "int64"}
    # An older folder is replaced, and nothing else is left beside it.
    cost = cost_of("polynomial")
    for title in ("older", "newer"):
        path = mil.publish(cost, tmp_path / "a", title=title, units={"mu": "TeV-2"})
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    published = mil.load_published(path)
    assert published.title == "newer"
    assert "newer, mu" in repr(published)
    assert published.likelihood.units == {"mu": "TeV-2"}
    assert published.content["written_by"]["milinfer"] == mil.__version__


def test_start_and_provenance_are_those_that_are_given(tmp_path):
    cost = cost_of("systematic")
    path = mil.publish(
        cost, tmp_path / "a", start={"mu": 0.25}, provenance={"reference": "arXiv:0000.00000"}
    )
    published = mil.load_published(path)
    assert published.start == {**cost.start, "mu": 0.25}
    assert published.content["provenance"] == {"reference": "arXiv:0000.00000"}
    with pytest.raises(ParameterError, match="start= names 'nu'"):
        mil.publish(cost, tmp_path / "b", start={"nu": 0.0})
    with pytest.raises(
        ParameterError, match=r"start= of mu is 7.0, but must be a number in \[-1, 1\]"
    ):
        mil.publish(cost, tmp_path / "b", start={"mu": 7.0})
    with pytest.raises(ParameterError, match="units= names 'x'"):
        mil.publish(cost, tmp_path / "b", units={"x": "GeV"})
    with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        mil.publish(cost, tmp_path / "b", provenance={"x": np.zeros(3)})
    assert not (tmp_path / "b").exists()


def line(x, a, b):
    return a + b * x


class OwnCost(LikelihoodCost):
    """Has another value than its base class."""

    def _value(self, args):
        return 2 * super()._value(args)


def test_what_cannot_be_published_is_refused_by_name(tmp_path):
    path = tmp_path / "a"
    own = LeastSquares([0.0, 1.0, 2.0], [0.0, 1.0, 2.0], 1.0, line)
    with pytest.raises(ConfigurationError, match="a LeastSquares cannot be published"):
        mil.publish(cost_of("polynomial") + own, path)
    with pytest.raises(ConfigurationError, match=r"publish\(\) takes a cost, not 'x'"):
        mil.publish("x", path)
    vector = NormalConstraint("a", [0.0, 1.0], [1.0, 1.0])
    with pytest.raises(ParameterError, match="is a vector of 2 numbers"):
        mil.publish(vector, path)
    apart = LikelihoodCost(
        Interpolation(np.linspace(2, 3, 9), "spline").surface(np.zeros(9)), "mu", n_events=1
    )
    with pytest.raises(ParameterError, match="the ranges of mu in the terms of the cost exclude"):
        mil.publish(cost_of("spline") + apart, path)
    points = surface_cost("points")
    with pytest.raises(MilinferError, match="two hypotheses"):
        mil.publish(points, path)
    with pytest.raises(FitError, match="your own class that changes the value"):
        mil.publish(OwnCost(cost_of("box").surface, ("c1", "c2"), n_events=1), path)
    tied = type(workspace_cost()).tied(
        workspace_cost().model,
        [33.0, 24.0, 22.0],
        parameters=["c"],
        weights=lambda c: {"mu": 1 + c[0]},
    )
    with pytest.raises(ConfigurationError, match="a PyhfCost in which mu is your own function"):
        mil.publish(tied, path)
    assert not path.exists()


@pytest.mark.parametrize("error", [1e-3, 1e-9])
@pytest.mark.parametrize("name", ["log polynomials", "log polynomials of many events"])
def test_a_surface_without_events_is_within_its_bound(name, error, tmp_path):
    cost = cost_of(name)
    path = mil.publish(cost, tmp_path / "a", events=False, error=error)
    published = mil.load_published(path)
    bound = published.content["bound"]
    assert 0 < bound <= error
    points = random_points(published.likelihood, N_POINTS)
    differences = [abs(published(*p) - cost(*p)) for p in points.tolist()]
    # Rounding, and the bound of the cost itself where it compresses.
    assert max(differences) <= bound + 1e-9
    shape = published.content["terms"][0]["shape"]
    assert shape["kind"] == "pieces"
    arrays = published.content["files"]["events.npz"]["arrays"]
    assert not any(cost.n_events in facts["shape"] for facts in arrays.values())
    VALIDATOR.validate(published.content)
    for point in points[:20].tolist():
        # Derivatives of a series are less precise, by the square of its degree over half a box.
        assert abs(published.grad(*point)[0] - cost.grad(*point)[0]) < 1e4 * error


def test_what_has_events_is_refused_without_them(tmp_path):
    with pytest.raises(ConfigurationError, match="with nuisance parameters cannot be published"):
        mil.publish(cost_of("systematic"), tmp_path / "a", events=False)
    with pytest.raises(ConfigurationError, match="with backgrounds cannot be published"):
        mil.publish(mixture("spline"), tmp_path / "a", events=False)
    with pytest.raises(ConfigurationError, match="the smallest reachable bound is"):
        mil.publish(oracle().cost(one_operator()), tmp_path / "a", events=False, error=1e-30)
    # What is a surface of all events in the first place needs no bound.
    path = mil.publish(cost_of("calibrated"), tmp_path / "a", events=False)
    assert mil.load_published(path).content["bound"] == 0
