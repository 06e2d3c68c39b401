"""A published constraint is −2 ln L, to the error that it states."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iminuit import Minuit
from iminuit.cost import NormalConstraint

from milinfer.datasets import quadratic
from milinfer.exceptions import (
    ConfigurationError,
    FitError,
    MilinferWarning,
    MissingFileError,
    ParameterError,
)
from milinfer.likelihood.constraints import Constraint, constraint
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.fits import minuit
from milinfer.likelihood.log_polynomials import LogPolynomials
from milinfer.likelihood.surface_box import UntabulatedBox
from milinfer.samples.reweighting import reweight_polynomial
from milinfer.utils.polynomials import PolynomialBasis

COVARIANCE = np.array([[0.04, 0.012, 0.0], [0.012, 0.01, -0.004], [0.0, -0.004, 0.09]])
NORMAL = NormalConstraint(["a", "b", "c"], [0.1, -0.2, 0.3], COVARIANCE)


def exact_cost(n, n_events, seed=1):
    """−2 ln L of the exact ratio of the quadratic problem."""
    zero = {f"c{k + 1}": 0.0 for k in range(n)}
    sample = quadratic.generate(n_events, zero, seed=seed)
    basis = PolynomialBasis(tuple(zero), 2)
    events = reweight_polynomial(sample, basis)
    theta = np.array([list(p.values()) for p in quadratic.default_weights(n)])
    normalisations = [quadratic.normalisation(t) for t in theta]
    total = np.linalg.lstsq(basis.design(theta), normalisations, rcond=None)[0]
    rows = np.concatenate([events, total[None]])
    weights, ends = np.append(np.ones(n_events), -float(n_events)), np.ones(n)
    exact = LogPolynomials(basis, 0 * ends, ends, rows, weights, -ends, ends, 0 * ends)
    surface = UntabulatedBox(-ends, ends).exact_surface(exact)
    return LikelihoodCost(surface, basis.parameters, n_events=n_events)


@pytest.fixture(scope="module")
def two():
    """A cost in two parameters that is not a parabola, and its constraint."""
    cost = exact_cost(2, 150)
    return cost, constraint(cost, degree=4)


def test_the_polynomial_is_the_cost_to_the_error_that_it_states(two):
    cost, measured = two
    assert measured.parameters == ("c1", "c2")
    assert measured.profiled == ()
    assert 0 < 5 * measured.error < measured.gaussian_error
    m = minuit(cost).migrad().hesse()
    np.testing.assert_allclose(measured.best, list(m.values), atol=1e-3)
    np.testing.assert_allclose(measured.covariance, m.covariance, rtol=0.02)
    rng = np.random.default_rng(11)
    points = rng.uniform(measured.low, measured.high, (4000, 2))
    rises = np.array([cost(*p) for p in points]) - m.fval
    inside = rises <= measured.threshold
    assert inside.sum() > 1000
    off = np.abs(measured.value(points) - rises)[inside]
    # The largest of other random points, to the edges of the region.
    assert off.max() < 2 * measured.error + 1e-4
    assert off.max() > 0.2 * measured.error
    gaussian_off = np.abs(measured.gaussian(points) - rises)[inside]
    assert 0.5 * measured.gaussian_error < gaussian_off.max() < 1.5 * measured.gaussian_error
    # Nothing of the region is outside the stated range, but for what random points miss.
    ends = [measured.best + 1.5 * (end - measured.best) for end in (measured.low, measured.high)]
    wide = np.clip(rng.uniform(*ends, (3000, 2)), -1, 1)
    of_region = wide[[cost(*p) - m.fval <= measured.threshold for p in wide]]
    span = measured.high - measured.low
    assert np.all(of_region > measured.low - 0.1 * span)
    assert np.all(of_region < measured.high + 0.1 * span)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(2, 5))
def test_of_a_parabola_both_are_exact(seed, n, degree):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n)) + 2 * np.eye(n)
    names, centre = [f"x{k}" for k in range(n)], rng.normal(size=n)
    cost = NormalConstraint(names, centre, root @ root.T)
    measured = constraint(cost, degree=degree, n_tests=20)
    np.testing.assert_allclose(measured.best, centre, atol=1e-4 * np.abs(root).max())
    np.testing.assert_allclose(measured.covariance, root @ root.T, rtol=1e-3, atol=1e-3)
    assert measured.error < 1e-3
    assert measured.gaussian_error < 1e-2
    point = centre + root @ rng.normal(size=n) / 2
    assert measured.value(point) == pytest.approx(cost(*point), abs=1e-3)


def test_nuisance_parameters_are_profiled():
    cost = exact_cost(3, 3000)
    measured = constraint(cost, ["c1", "c3"], n_tests=100)
    assert measured.parameters == ("c1", "c3")
    assert measured.profiled == ("c2",)
    m = minuit(cost).migrad()
    lowest = m.fval
    for point in measured.best + np.array([[0.05, 0.0], [-0.03, 0.05], [0.06, -0.06]]):
        m.values["c1"], m.values["c3"] = point
        m.fixed["c1"] = m.fixed["c3"] = True
        wanted = m.migrad().fval - lowest
        assert wanted < measured.threshold
        assert measured.value(point) == pytest.approx(wanted, abs=measured.error + 1e-3)
    # Profiled, not fixed: the error is larger than of c2 known.
    known = constraint(cost, ["c1", "c2", "c3"], n_tests=20)
    np.testing.assert_allclose(
        measured.covariance, known.covariance[np.ix_([0, 2], [0, 2])], rtol=1e-6
    )


def test_a_fit_stays_as_it_is_and_units_are_those_of_its_cost():
    """Of a cost that is −ln L the rise counts twice."""

    def half(a, b):
        return 0.5 * (((a - 1) / 0.2) ** 2 + ((b - 2) / 0.5) ** 2)

    m = Minuit(half, a=0.0, b=0.0)
    m.errordef = Minuit.LIKELIHOOD
    m.migrad()
    before = (m.values.to_dict(), m.fval, m.fixed.to_dict(), m.tol)
    measured = constraint(m, ["a"])
    assert (m.values.to_dict(), m.fval, m.fixed.to_dict(), m.tol) == before
    assert measured.errors[0] == pytest.approx(0.2, rel=1e-3)
    assert measured.value([1.4]) == pytest.approx(4, rel=1e-2)


def test_the_same_seed_gives_the_same(two):
    cost, measured = two
    again = constraint(cost, degree=4)
    np.testing.assert_array_equal(again.coefficients, measured.coefficients)
    assert again.error == measured.error


def test_too_low_a_degree_is_warned_of():
    def bent(x):
        return (np.expm1(0.5 * x) / 0.5) ** 2

    m = Minuit(bent, 0.3, name=["x"]).migrad()
    with pytest.warns(MilinferWarning, match=r"degree 2 differs by up to .*raise degree="):
        low = constraint(m, degree=2, cl=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert constraint(m, degree=8, cl=0.9).error < low.error / 30


def test_files_are_read_back(two, tmp_path):
    _, measured = two
    path = tmp_path / "constraint.json"
    measured.save(path)
    again = Constraint.load(path)
    assert again.parameters == measured.parameters
    for name in Constraint.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(measured, name))
    # As the file says itself, without milinfer.
    record = json.loads(path.read_text("utf-8"))
    theta = measured.best + np.array([0.05, -0.03])
    x = (theta - record["best"]) / np.sqrt(np.diag(record["covariance"]))
    monomials = np.prod(x ** np.array(record["exponents"]), axis=1)
    assert monomials @ record["coefficients"] == pytest.approx(measured.value(theta), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "its format is not"),
        ({"version": 2}, "its version is 2"),
        ({"best": [0.1]}, "best of a constraint of c1, c2"),
        ({"best": ["a", "b"]}, "could not convert"),
        ({"coefficients": [1.0]}, "coefficients of a constraint"),
        ({"covariance": [[1.0, 2.0], [2.0, 1.0]]}, "positive eigenvalues"),
        ({"covariance": [[1.0, float("nan")], [0.0, 1.0]]}, "covariance of a constraint"),
        ({"degree": 1.5}, "degree is 1.5"),
        ({"error": float("nan")}, "error is nan"),
        ({"error": "small"}, "error is 'small'"),
        ({"exponents": []}, "another order"),
        ({"parameters": [1, 2]}, "parameters are not names"),
        ({"parameters": ["c1", "c1"]}, "different names"),
    ],
)
def test_files_that_are_no_constraint_are_refused(two, tmp_path, change, message):
    _, measured = two
    path = tmp_path / "constraint.json"
    measured.save(path)
    record = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(record | change), "utf-8")
    with pytest.raises(
        ConfigurationError, match=rf"constraint\.json is not a constraint .*{message}"
    ):
        Constraint.load(path)


def test_files_with_missing_keys_are_refused(two, tmp_path):
    _, measured = two
    path = tmp_path / "constraint.json"
    measured.save(path)
    record = json.loads(path.read_text("utf-8"))
    for key in [k for k in record if k != "description"]:
        path.write_text(json.dumps({k: v for k, v in record.items() if k != key}), "utf-8")
        with pytest.raises(ConfigurationError, match=r"constraint\.json"):
            Constraint.load(path)
    for text in ("", "[]", "1", "{"):
        path.write_text(text, "utf-8")
        with pytest.raises(ConfigurationError, match=r"constraint\.json is not a constraint"):
            Constraint.load(path)
    with pytest.raises(MissingFileError):
        Constraint.load(tmp_path / "absent.json")


def test_other_names():
    measured = constraint(NORMAL, n_tests=10).renamed({"b": "OpW"})
    assert measured.parameters == ("a", "OpW", "c")
    with pytest.raises(ParameterError, match="x is not a parameter"):
        measured.renamed({"x": "y"})
    with pytest.raises(ParameterError, match="different names"):
        measured.renamed({"a": "c"})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"parameters": ["x"]}, ParameterError, "x is not a parameter of this fit"),
        ({"parameters": []}, ParameterError, "are not parameters"),
        ({"parameters": ["a", "a"]}, ParameterError, "are not parameters"),
        ({"degree": 1}, ConfigurationError, "degree = 1"),
        ({"degree": 9}, ConfigurationError, "degree = 9"),
        ({"cl": 95}, ParameterError, "cl = 95"),
        ({"n_tests": 0}, ConfigurationError, "n_tests = 0"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        constraint(NORMAL, **options)


def test_fits_without_a_constraint_are_refused():
    m = minuit(NORMAL)
    with pytest.raises(FitError, match="not valid; call migrad"):
        constraint(m)
    m.fixed["a"] = True
    m.migrad()
    assert constraint(m, n_tests=5).parameters == ("b", "c")
    with pytest.raises(ParameterError, match="a is fixed"):
        constraint(m, ["a"])
    m = minuit(NORMAL)
    m.limits["a"] = (0.5, 2)
    with pytest.raises(FitError, match=r"a = 0\.5 is at its limit"):
        constraint(m.migrad())

    def two_minima(x):
        return 4 * (x**2 - 1) ** 2 + 0.5 * x

    with pytest.raises(FitError, match=r"lower by .* at x = -.*start the fit there"):
        constraint(Minuit(two_minima, 1.0, name=["x"]).migrad())

    def flat_far_away(x):
        return 2.0 * x**2 / (1 + x**2)

    with pytest.raises(FitError, match="is not closed"):
        constraint(Minuit(flat_far_away, 0.1, name=["x"]).migrad())


def test_points_of_another_shape_are_refused():
    measured = constraint(NORMAL, n_tests=5)
    assert measured.value(measured.best) == 0
    with pytest.raises(ParameterError, match=r"give values of a, b, c"):
        measured.value([0.1, 0.2])
    assert measured.value(np.zeros((0, 3))).shape == (0,)


def test_limits_cut_the_region():
    """Where the range of the surface ends inside the region, the stated range does as well."""
    m = minuit(NORMAL)
    m.limits["a"] = (0.0, 0.3)
    measured = constraint(m.migrad(), n_tests=300)
    assert measured.low[0] >= 0
    assert measured.high[0] <= 0.3
    assert measured.high[0] > 0.28
