"""A combination is the sum by hand, in whatever order its file has it, and names what is wrong."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from iminuit.cost import CostSum, NormalConstraint

import milinfer as mil
from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.cli import cli
from milinfer.exceptions import ConfigurationError, MilinferError
from milinfer.workflow.combination import Combination, combine
from milinfer.workflow.combination_file import CombinationFile
from milinfer.workflow.combination_inputs import combination_sum, read_input

PUBLISHED = Path(__file__).parents[1] / "data" / "published1"


def gaussian(name, parameters, mean, *, rename="", **errors):
    """A section ``[[constraint]]``."""
    lines = ["[[constraint]]", f'name = "{name}"', f"parameters = {json.dumps(parameters)}"]
    lines += [f"mean = {mean}", *(f"{key} = {json.dumps(v)}" for key, v in errors.items())]
    return "\n".join([*lines, f"rename = {{ {rename} }}", ""])


def likelihood(name, folder, *, rename="", more=""):
    path = PUBLISHED / folder if (PUBLISHED / folder).exists() else folder
    return f'[[likelihood]]\nname = "{name}"\npath = "{path}"\nrename = {{ {rename} }}\n{more}\n'


def workspace(name, path, *, rename="", more=""):
    return f'[[workspace]]\nname = "{name}"\npath = "{path}"\nrename = {{ {rename} }}\n{more}\n'


def written(tmp_path, *sections, head=""):
    path = tmp_path / "combination.toml"
    path.write_text("\n".join([head, *sections]), encoding="utf-8")
    return path


def added(path):
    """The sum, without a fit."""
    file = CombinationFile.from_file(path)
    return combination_sum(file, [read_input(file, section) for section in file.inputs])


def refused(path):
    with pytest.raises(MilinferError) as error:
        added(path)
    assert str(path) in str(error.value)
    return str(error.value)


def channel(observed=26.0, *, modifier="alpha", kind="normsys", fixed=False, bounds=(0.0, 5.0)):
    """A workspace of one bin, with a strength mu and a nuisance parameter of the background."""
    data = {"normsys": {"lo": 0.9, "hi": 1.1}, "shapesys": [4.0], "normfactor": None}[kind]
    signal = {"name": "s", "data": [8.0], "modifiers": [
        {"name": "mu", "type": "normfactor", "data": None}]}  # fmt: skip
    other = {"name": "b", "data": [20.0], "modifiers": [
        {"name": modifier, "type": kind, "data": data}]}  # fmt: skip
    settings = [{"name": "mu", "bounds": [[*bounds]], "inits": [1.0], "fixed": fixed}]
    return {
        "channels": [{"name": "SR", "samples": [signal, other]}],
        "observations": [{"name": "SR", "data": [observed]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": settings}}],
        "version": "1.0.0",
    }


@pytest.fixture
def one(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(channel()))
    return "one.json"


@pytest.fixture
def other(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps(channel(31.0)))
    return "other.json"


INTEREST = 'shared = ["mu"]\nroles = { mu = "interest" }\n'


class TestGaussians:
    """Everything is known in closed form."""

    FIRST, V = np.array([0.3, -0.2]), np.array([[0.09, 0.03], [0.03, 0.04]])
    SECOND, W = np.array([0.5, 0.1]), np.array([[0.04, -0.01], [-0.01, 0.09]])
    HEAD = 'shared = ["mu", "nu"]\nroles = { mu = "interest", nu = "nuisance" }\n'

    def sections(self):
        return (
            gaussian("first", ["mu", "nu"], self.FIRST.tolist(), covariance=self.V.tolist()),
            gaussian("second", ["mu", "nu"], self.SECOND.tolist(), covariance=self.W.tolist()),
            gaussian("third", ["m"], [0.2], error=[0.5], rename='m = "mu"'),
        )

    def expected(self):
        own = np.linalg.inv(self.V) + np.linalg.inv(self.W) + np.diag([1 / 0.25, 0.0])
        covariance = np.linalg.inv(own)
        pulls = np.linalg.solve(self.V, self.FIRST) + np.linalg.solve(self.W, self.SECOND)
        return covariance @ (pulls + np.array([0.2 / 0.25, 0.0])), covariance

    def test_estimate_error_and_correlation(self, tmp_path):
        best, covariance = self.expected()
        combination = combine(written(tmp_path, *self.sections(), head=self.HEAD))
        errors = np.sqrt(np.diag(covariance))
        k = [combination.parameters.index(name) for name in ("mu", "nu")]
        assert combination.fit.bestfit[k] == pytest.approx(best, abs=1e-6)
        assert combination.fit.uncertainty[k] == pytest.approx(errors, rel=1e-5)
        correlation = covariance[0, 1] / errors.prod()
        assert combination.correlation("mu", "nu") == pytest.approx(correlation, abs=1e-5)
        fit = combination.intervals["mu"]
        # MINOS finds the ends to 1e-3 of the error.
        for interval, z in ((fit.inner, 1.0), (fit.outer, 2.0)):
            ends = np.array([interval.low, interval.high])
            assert ends == pytest.approx(best[0] + z * errors[0] * np.array([-1, 1]), abs=1e-3)
        assert list(combination.intervals) == ["mu"]
        assert combination.problems == combination.notes == ()

    def test_each_input_by_itself(self, tmp_path):
        combination = combine(written(tmp_path, *self.sections(), head=self.HEAD))
        for name, mean, error in (("first", 0.3, 0.3), ("second", 0.5, 0.2), ("third", 0.2, 0.5)):
            fit = combination.alone[name]["mu"]
            assert (fit.estimate, fit.error) == pytest.approx((mean, error), abs=1e-5)
        assert [row[1] for row in combination.rows()] == ["first", "second", "third", "combination"]
        assert combination.to_table().column("input").to_pylist()[-1] == "combination"

    def test_the_order_of_the_file_does_not_matter(self, tmp_path):
        results = []
        for k, sections in enumerate(permutations(self.sections())):
            folder = tmp_path / str(k)
            folder.mkdir()
            content = combine(written(folder, *sections, head=self.HEAD)).to_dict()
            content["inputs"] = sorted(content["inputs"].items())
            for facts in content["parameters"].values():
                facts["inputs"].sort()
            results.append(json.dumps(content))
        assert len(set(results)) == 1

    def test_profiles_are_parabolas(self, tmp_path):
        best, covariance = self.expected()
        combination = combine(written(tmp_path, *self.sections(), head=self.HEAD))
        scan = combination.profiles["mu"]["combination"]
        rises = (scan.values - best[0]) ** 2 / covariance[0, 0]
        assert scan.rises == pytest.approx(rises, abs=1e-3)
        assert set(combination.profiles["mu"]) == {"first", "second", "third", "combination"}
        legend = combination.figures()["mu"].legends[0].get_texts()
        assert {text.get_text() for text in legend} == set(combination.profiles["mu"])

    def test_a_command_writes_it(self, tmp_path):
        path = written(tmp_path, *self.sections(), head=self.HEAD)
        out = tmp_path / "out"
        result = CliRunner().invoke(cli, ["combine", str(path), "--out", str(out)])
        assert result.exit_code == 0, result.output
        assert sorted(p.name for p in out.iterdir()) == ["combination.json", "profile_mu.svg"]
        content = json.loads((out / "combination.json").read_text())
        best, covariance = self.expected()
        fit = content["combination"]["mu"]
        assert fit["estimate"] == pytest.approx(best[0], abs=1e-6)
        assert fit["error"] == pytest.approx(covariance[0, 0] ** 0.5, rel=1e-5)
        assert content["inputs"]["third"]["renamed"] == {"m": "mu"}
        assert content["inputs"]["first"]["alone"]["mu"]["estimate"] == pytest.approx(0.3)
        assert content["parameters"]["nu"]["inputs"] == ["first", "second"]
        assert content["correlation"]["matrix"][0][0] == pytest.approx(1.0)
        assert "third" in result.output
        assert "coverage is not guaranteed" not in result.output


class TestALearnedLikelihoodAndAWorkspace:
    """They share the parameter of interest and a nuisance parameter."""

    HEAD = 'shared = ["c1", "trigger"]\n'

    def sections(self, path):
        return (
            likelihood("learned", "systematic_polynomials"),
            workspace("bins", path, rename='mu = "c1", alpha = "trigger"'),
        )

    def by_hand(self):
        learned = mil.load_published(PUBLISHED / "systematic_polynomials")
        learned = learned.without_constraints(["trigger"])
        bins = PyhfCost.from_workspace(channel())
        order = [list(bins.start).index(name) for name in ("mu", "alpha")]

        def value(c1, trigger):
            point = np.empty(2)
            point[order] = c1, trigger
            return learned(c1, trigger) + bins(*point.tolist())

        return value

    def test_it_is_the_sum_by_hand(self, tmp_path, one):
        whole = added(written(tmp_path, *self.sections(one), head=self.HEAD))
        names = list(mil.minuit(whole.cost).parameters)
        by_hand = self.by_hand()
        rng = np.random.default_rng(1)
        for c1, trigger in zip(rng.uniform(0, 1, 20), rng.normal(0, 1, 20), strict=True):
            point = {"c1": float(c1), "trigger": float(trigger)}
            assert whole.cost(*(point[n] for n in names)) == pytest.approx(
                by_hand(**point), abs=1e-8
            )
        assert whole.roles == {"c1": "interest", "trigger": "nuisance"}
        # That of the first name in the alphabet counts.
        assert whole.left_out == {"bins": (), "learned": ("trigger",)}

    def test_an_input_alone_has_its_constraint(self, tmp_path, one):
        whole = added(written(tmp_path, *self.sections(one), head=self.HEAD))
        learned = mil.load_published(PUBLISHED / "systematic_polynomials")
        assert whole.alone["learned"](0.2, 0.7) == learned(0.2, 0.7)

    def test_the_fit(self, tmp_path, one):
        from iminuit import Minuit

        combination = combine(written(tmp_path, *self.sections(one), head=self.HEAD))
        m = Minuit(self.by_hand(), c1=0.3, trigger=0.0)
        m.limits["c1"] = (0.0, 1.0)
        m.tol = 1e-4
        m.migrad()
        fit = combination.intervals["c1"]
        assert fit.estimate == pytest.approx(m.values["c1"], abs=1e-3 * m.errors["c1"])
        assert combination.notes == (
            "c1 stays in [0, 1], which all inputs allow: learned [-1, 1], bins [0, 5]",
        )
        table = dict(zip(combination.parameters, combination.parameters_rows(), strict=True))
        assert table["trigger"][-2:] == ["yes, constraint left out", "yes, with constraint"]

    def test_an_order_of_kinds_does_not_matter(self, tmp_path, one):
        first = added(written(tmp_path, *self.sections(one), head=self.HEAD))
        second = added(written(tmp_path, *self.sections(one)[::-1], head=self.HEAD))
        point = dict.fromkeys(mil.minuit(first.cost).parameters, 0.3)
        assert list(mil.minuit(second.cost).parameters) == list(point)
        assert first.cost(*point.values()) == second.cost(*point.values())


class TestConstraints:
    def test_one_in_the_file_counts_in_the_place_of_those_inside(self, tmp_path, one, other):
        extra = gaussian("aux", ["alpha"], [0.0], error=[1.0])
        head = 'shared = ["mu", "alpha"]\n'
        sections = workspace("a", one), workspace("b", other), extra
        whole = added(written(tmp_path, *sections, head=head))
        assert whole.left_out == {"a": ("alpha",), "aux": (), "b": ("alpha",)}
        a, b = (PyhfCost.from_workspace(channel(n)) for n in (26.0, 31.0))
        by_hand = CostSum(a, b.without_constraints(["alpha"]))
        # Those of pyhf have a constant.
        points = [(0.5, 0.3), (1.5, -1.2), (1.0, 0.0)]
        values = [whole.cost(*p) - by_hand(*p) for p in points]
        assert np.ptp(values) < 1e-8
        assert sorted(whole.alone) == ["a", "b"]
        assert whole.alone["a"](0.5, 1.0) - whole.alone["a"](0.5, 0.0) == pytest.approx(
            a(0.5, 1.0) - a(0.5, 0.0), abs=1e-9
        )

    def test_one_that_replaces(self, tmp_path, one):
        sections = workspace("a", one), gaussian("aux", ["alpha"], [0.5], error=[0.5])
        head = 'shared = ["alpha"]\n'
        text = refused(written(tmp_path, *sections, head=head))
        assert "aux constrains alpha to 0.5 ± 0.5, and a constrains alpha to 0 ± 1" in text
        replacing = sections[1].replace("mean", "replaces = true\nmean")
        whole = added(written(tmp_path, sections[0], replacing, head=head))
        plain = PyhfCost.from_workspace(channel()).without_constraints(["alpha"])
        by_hand = CostSum(plain, NormalConstraint("alpha", 0.5, 0.5))
        assert whole.cost(0.5, 0.9) == pytest.approx(by_hand(0.5, 0.9), abs=1e-9)
        assert whole.alone["a"](0.5, 0.9) == pytest.approx(by_hand(0.5, 0.9), abs=1e-9)

    def test_correlated_nuisance_parameters(self, tmp_path, one, other):
        """Renamed in each input, and correlated by a constraint of both."""
        extra = gaussian("aux", ["x", "y"], [0.0, 0.0], covariance=[[1.0, 0.5], [0.5, 1.0]])
        sections = (
            workspace("a", one, rename='alpha = "x"'),
            workspace("b", other, rename='alpha = "y"'),
            extra,
        )
        whole = added(written(tmp_path, *sections, head='shared = ["mu", "x", "y"]\n'))
        assert whole.left_out == {"a": ("x",), "aux": (), "b": ("y",)}
        point = {"mu": 0.8, "x": 0.3, "y": -0.4}
        names = list(mil.minuit(whole.cost).parameters)
        found = whole.cost(*(point[n] for n in names))
        parts = [PyhfCost.from_workspace(channel(n)) for n in (26.0, 31.0)]
        free = [cost.without_constraints(["alpha"]) for cost in parts]
        pull = np.array([0.3, -0.4])
        expected = free[0](0.8, 0.3) + free[1](0.8, -0.4)
        expected += pull @ np.linalg.solve([[1.0, 0.5], [0.5, 1.0]], pull)
        assert found == pytest.approx(expected, abs=1e-8)
        # By itself, an input has its own part of it.
        a = parts[0]
        rise = whole.alone["a"](0.8, 1.0) - whole.alone["a"](0.8, 0.0)
        assert rise == pytest.approx(a(0.8, 1.0) - a(0.8, 0.0), abs=1e-9)

    def test_a_count_is_not_a_gaussian(self, tmp_path):
        for name, kind in (("a", "shapesys"), ("b", "normsys")):
            modifier = "alpha" if kind == "shapesys" else "beta"
            content = channel(modifier=modifier, kind=kind)
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        sections = (
            workspace("a", "a.json", rename='"alpha[0]" = "g", mu = "mu1"'),
            gaussian("aux", ["g"], [1.0], error=[0.2]),
        )
        text = refused(written(tmp_path, *sections, head='shared = ["g"]\n'))
        assert "a constrains g to 1 ± 0.2, a count," in text

    def test_one_that_cannot_be_left_out(self, tmp_path):
        sections = likelihood("p", "combined"), gaussian("aux", ["stat[0]"], [1.0], error=[0.1])
        text = refused(written(tmp_path, *sections, head='shared = ["stat[0]"]\n'))
        assert "the constraint of stat[0] would be applied twice, in p and aux" in text
        assert "publish that without it" in text

    def test_two_of_the_file_for_one_inside(self, tmp_path, one):
        extra = [gaussian(name, ["alpha"], [0.0], error=[1.0]) for name in ("x", "y")]
        text = refused(written(tmp_path, workspace("a", one), *extra, head='shared = ["alpha"]\n'))
        assert "x and y both constrain alpha, which a constrains, too" in text


class TestCalibrated:
    """A calibrated likelihood of a and b, and a measurement of a."""

    def path(self, tmp_path, head=""):
        sections = (
            likelihood("learned", "widened_in_two_parameters"),
            gaussian("theory", ["a"], [0.0], error=[0.1]),
        )
        return written(tmp_path, *sections, head='shared = ["a"]\n' + head)

    def test_is_refused_in_a_sum(self, tmp_path):
        text = refused(self.path(tmp_path))
        assert "learned is calibrated alone, but intervals of a sum" in text
        assert "milinfer.CombinedToys" in text

    def test_may_stand_alone(self, tmp_path):
        path = written(tmp_path, likelihood("learned", "widened_in_two_parameters"))
        assert set(added(path).roles) == {"a", "b"}

    def test_is_allowed_with_a_warning(self, tmp_path, monkeypatch):
        # Figures are tested with likelihoods that take less time.
        monkeypatch.setattr(Combination, "figures", lambda _: {})
        path = self.path(tmp_path, "allow_calibrated = true\n")
        result = CliRunner().invoke(cli, ["combine", str(path), "--out", str(tmp_path / "out")])
        assert result.exit_code == 0, result.output
        assert "coverage is not guaranteed: learned is calibrated" in " ".join(
            result.output.split()
        )
        content = json.loads((tmp_path / "out" / "combination.json").read_text())
        assert content["calibrated_inputs"] == ["learned"]
        assert content["coverage_shown"] is False
        assert content["notes"][0] == (
            "learned is calibrated for intervals of one confidence level, which this file does not "
            "say; its other intervals are not calibrated"
        )
        assert "coverage is not guaranteed" in content["notes"][1]


def test_what_is_not_declared(tmp_path, one, other):
    text = refused(written(tmp_path, workspace("a", one), workspace("b", other)))
    for name in ("mu", "alpha"):
        assert f"{name} is a parameter of a and b: if it is the same, list it in shared" in text


def test_what_is_declared_and_not_shared(tmp_path, one):
    head = 'shared = ["alfa", "mu"]\nroles = { nu = "nuisance" }\n'
    text = refused(written(tmp_path, workspace("a", one), head=head))
    assert "shared has alfa, which is a parameter of no input; did you mean alpha?" in text
    assert "shared has mu, which is a parameter of a alone" in text
    assert "roles has nu, which is a parameter of no input" in text


def test_a_constraint_of_nothing(tmp_path, one):
    extra = gaussian("aux", ["alfa"], [0.0], error=[1.0])
    text = refused(written(tmp_path, workspace("a", one), extra))
    assert "the constraint aux is of alfa, which no other input has; did you mean alpha?" in text


def test_limits_that_exclude_each_other(tmp_path, one):
    content = channel(31.0, bounds=(6.0, 9.0))
    content["measurements"][0]["config"]["parameters"][0]["inits"] = [7.0]
    (tmp_path / "far.json").write_text(json.dumps(content))
    head = 'shared = ["mu", "alpha"]\n'
    text = refused(written(tmp_path, workspace("a", one), workspace("far", "far.json"), head=head))
    assert "mu is limited to [0, 5] in a and to [6, 9] in far" in text


def test_roles_that_contradict(tmp_path, one, other):
    sections = (
        workspace("a", one, rename='alpha = "x"'),
        workspace("b", other, rename='alpha = "mu", mu = "y"'),
    )
    head = 'shared = ["mu"]\n'
    text = refused(written(tmp_path, *sections, head=head))
    assert "mu is interest in a and nuisance in b: if it is the same parameter" in text
    assert added(written(tmp_path, *sections, head=head + 'roles = { mu = "interest" }'))


def test_a_parameter_that_one_input_fixes(tmp_path, one):
    (tmp_path / "fixed.json").write_text(json.dumps(channel(31.0, fixed=True)))
    sections = workspace("a", one), workspace("f", "fixed.json")
    text = refused(written(tmp_path, *sections, head='shared = ["mu", "alpha"]\n'))
    assert "f fixes mu at 1, but a measures it; rename it" in text


def test_units_that_differ(tmp_path):
    rng = np.random.default_rng(1)
    for name, unit in (("a", "TeV⁻²"), ("b", "GeV⁻²")):
        cost = NormalConstraint("c", rng.normal(), 1.0)
        mil.publish(cost, tmp_path / name, units={"c": unit})
    a, b = (f'[[likelihood]]\nname = "{n}"\npath = "{n}"\n' for n in "ab")
    head = 'shared = ["c"]\nroles = { c = "interest" }\n'
    text = refused(written(tmp_path, a, b, head=head))
    assert "c is in 'TeV⁻²' in a and in 'GeV⁻²' in b" in text
    more = 'units = { c = "GeV⁻²" }\n'
    text = refused(written(tmp_path, a + more, head='roles = { c = "interest" }\n'))
    assert "the input a: units says that c is in 'GeV⁻²', but the file says 'TeV⁻²'" in text
    text = refused(written(tmp_path, a + 'units = { d = "GeV" }\n'))
    assert "the input a: units has d, but its parameters are c" in text


def test_data_that_would_count_twice(tmp_path, one):
    sections = workspace("a", one), workspace("b", one)
    text = refused(written(tmp_path, *sections, head='shared = ["mu", "alpha"]\n'))
    assert "a and b are the same workspace, so its data would be used twice" in text


def test_roles_that_nobody_says(tmp_path):
    sections = [gaussian(name, ["mu"], [0.0], error=[1.0]) for name in "ab"]
    text = refused(written(tmp_path, *sections, head='shared = ["mu"]\n'))
    assert "mu appears only in constraints, so its role is unknown" in text
    head = 'shared = ["mu"]\nroles = { mu = "nuisance" }\n'
    text = refused(written(tmp_path, *sections, head=head))
    assert "no parameter has the role interest; give one in roles" in text


@pytest.mark.parametrize(
    ("rename", "words"),
    [
        ('alfa = "x"', "the input a: there is no parameter alfa to rename"),
        ('alpha = "mu"', "the input a: mu and alpha would both be called mu; rename mu as well"),
    ],
)
def test_names_that_cannot_be_changed(tmp_path, one, rename, words):
    assert words in refused(written(tmp_path, workspace("a", one, rename=rename)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "file: the file has no input; give [[likelihood]]"),
        ("shard = ['mu']\n", "shard: unknown key; did you mean 'shared'?"),
        ("[[likelihood]]\nname = 'a'\npaht = 'b'\n", "likelihood[1].paht: unknown key; did you"),
        ("[[workspace]]\nname = 'a'\n", "workspace[1].path: missing"),
        (gaussian("a", ["x"], [0.0, 1.0], error=[1.0]), "mean has 2 numbers for 1 parameters"),
        (gaussian("a", ["x"], [0.0], error=[1.0, 2.0]), "error has 2 numbers for 1 parameters"),
        (gaussian("a", ["x", "x"], [0.0, 0.0], error=[1.0, 1.0]), "parameters has a name twice"),
        (gaussian("a", ["x"], [0.0], error=[0.0]), "constraint[1].error[1]: Input should be gr"),
        (
            gaussian("a", ["x"], [0.0]),
            "give either error, a number for each parameter, or covariance",
        ),
        (
            gaussian("a", ["x", "y"], [0.0, 0.0], covariance=[[1.0, 2.0], [2.0, 1.0]]),
            "covariance is not symmetric and positive",
        ),
        (
            gaussian("a", ["x", "y"], [0.0, 0.0], covariance=[[1.0, 2.0]]),
            "covariance is not a matrix of 2 rows",
        ),
        (gaussian("a", ["x"], [0.0], error=[1.0]) * 2, "two inputs are called a"),
        (gaussian("combination", ["x"], [0.0], error=[1.0]), "which is the name of the sum"),
        ("shared = ['x', 'x']\n" + gaussian("a", ["x"], [0.0], error=[1.0]), "shared has x twice"),
        ("roles = { x = 'poi' }\n", "roles.x: 'poi' is not 'interest', 'normalisation' or"),
        ("[[likelihood]]\nname = 'a'\npath = 'nowhere'\n", "there is no 'nowhere' in"),
    ],
)
def test_a_file_that_is_wrong(tmp_path, text, words):
    assert words in refused(written(tmp_path, text))


def test_an_input_that_does_not_constrain_a_parameter(tmp_path):
    """One bin says nothing of signal and background if both are free."""
    content = channel(modifier="background", kind="normfactor")
    (tmp_path / "free.json").write_text(json.dumps(content))
    sections = workspace("bins", "free.json"), gaussian("theory", ["mu"], [1.0], error=[0.2])
    combination = combine(written(tmp_path, *sections, head='shared = ["mu"]\n'))
    alone = combination.alone["bins"]["mu"]
    assert alone.inner is alone.outer is None
    assert combination.rows()[0] == ["mu", "bins", "—", "—", "—"]
    assert any("bins alone" in problem for problem in combination.problems)
    # It does not change what the other says.
    fit = combination.intervals["mu"]
    assert (fit.inner.low, fit.inner.high) == pytest.approx((0.8, 1.2), abs=1e-3)
    assert set(combination.profiles["mu"]) == {"theory", "combination"}


def test_a_patch_and_a_measurement(tmp_path, one):
    patch = [{"op": "replace", "path": "/observations/0/data/0", "value": 31.0}]
    (tmp_path / "patch.json").write_text(json.dumps(patch))
    more = 'patch = "patch.json"\nmeasurement = "m"\n'
    whole = added(written(tmp_path, workspace("a", one, more=more)))
    assert whole.cost(1.0, 0.2) == PyhfCost.from_workspace(channel(31.0))(1.0, 0.2)
    more = 'measurement = "n"\n'
    assert "the input a: " in refused(written(tmp_path, workspace("a", one, more=more)))


def test_the_bins_of_a_workspace_are_renamed_together(tmp_path):
    content = channel(modifier="gamma", kind="shapesys")
    (tmp_path / "a.json").write_text(json.dumps(content))
    sections = (
        workspace("a", "a.json", rename='gamma = "g"'),
        gaussian("theory", ["mu"], [1.0], error=[0.2]),
    )
    whole = added(written(tmp_path, *sections, head='shared = ["mu"]\n'))
    assert whole.roles == {"mu": "interest", "g[0]": "nuisance"}


def test_a_workspace_with_morphing(tmp_path):
    basis = mil.datasets.gaussian.samples(500, [-0.5, 0.0, 0.5], seed=1)
    templates = mil.Templates.from_samples(basis, "x0", bins=3, degree=2, luminosity=0.1)
    content = mil.export_workspace(templates, [20.0, 30.0, 25.0])
    (tmp_path / "morphed.json").write_text(json.dumps(content))
    whole = added(written(tmp_path, workspace("a", "morphed.json", rename='mu = "c"')))
    expected = mil.import_workspace(content)
    point = list(expected.start.values())
    assert whole.roles["c"] == "interest"
    assert whole.cost(*point) == expected(*point)


def test_a_parameter_that_is_none(tmp_path):
    path = written(tmp_path, gaussian("a", ["mu"], [0.0], error=[1.0]),
                   gaussian("b", ["mu"], [0.0], error=[1.0]), head=INTEREST)  # fmt: skip
    with pytest.raises(MilinferError, match="nu is not a parameter of the combination"):
        combine(path).correlation("mu", "nu")


def test_errors_are_of_the_configuration(tmp_path):
    with pytest.raises(ConfigurationError):
        combine(tmp_path / "nowhere.toml")
