"""Learned, binned and constraint terms in one fit; results for cabinetry; intervals by MINOS."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest
from iminuit import Minuit
from iminuit.cost import NormalConstraint
from scipy.stats import chi2

import milinfer as mil
from linear_cost import LinearCost
from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.datasets import gaussian
from milinfer.exceptions import FitError, MilinferWarning, ParameterError, SecondMinimumWarning
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.fits import (
    FitResults,
    contour,
    fit_results,
    minuit,
    profile_interval,
    shared_parameters,
)
from milinfer.likelihood.named_cost import NamedCost
from milinfer.likelihood.surface import Interpolation
from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_cost
from milinfer.plotting.likelihood import plot_impacts

N, MEAN = 400, 0.9
GRID = np.linspace(-2, 4, 31)


@pytest.fixture(autouse=True)
def _quiet_minuit():
    """cabinetry raises Minuit's print level, which is one for the whole process."""
    yield
    Minuit(lambda x: x**2, x=1.0).print_level = 0


@pytest.fixture
def unbinned():
    """Λ of N events of a unit Gaussian of mean mu."""
    surface = Interpolation(GRID, "spline").surface(-0.5 * N * (GRID - MEAN) ** 2)
    return LikelihoodCost(surface, "mu", n_events=N)


@pytest.fixture
def counting():
    """n ~ Poisson(mu S + norm B), so large that it is a Gaussian."""
    factor = {"type": "normfactor", "data": None}
    samples = [
        {"name": "s", "data": [1e6], "modifiers": [{"name": "mu", **factor}]},
        {"name": "b", "data": [3e6], "modifiers": [{"name": "norm", **factor}]},
    ]
    model = pyhf.Model({"channels": [{"name": "CR", "samples": samples}]}, poi_name="mu")
    return PyhfCost(model, [4.02e6])


def test_the_combination_is_that_of_gaussians(unbinned, counting):
    constraint = NormalConstraint("norm", 1.0, 0.02)
    m = minuit(unbinned + counting + constraint)
    m.tol = 1e-6
    m.migrad()
    m.hesse()
    # In units of the signal: y = mu + 3 norm with its own error, and the two others.
    y, y_error = 4.02, np.sqrt(4.02e6) / 1e6
    design = np.array([[1.0, 0.0], [1.0, 3.0], [0.0, 1.0]])
    weights = np.diag([N, y_error**-2, 0.02**-2])
    covariance = np.linalg.inv(design.T @ weights @ design)
    best = covariance @ design.T @ weights @ [MEAN, y, 1.0]
    np.testing.assert_allclose(np.array(m.values), best, atol=2e-3 * np.sqrt(covariance[0, 0]))
    np.testing.assert_allclose(np.array(m.errors), np.sqrt(np.diag(covariance)), rtol=2e-3)
    assert m.covariance.correlation()[0, 1] == pytest.approx(
        covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), rel=2e-3
    )


def test_shared_parameters_are_listed(unbinned, counting):
    constraint = NormalConstraint("nrom", 1.0, 0.02)
    total = unbinned + counting
    assert shared_parameters(total, constraint) == {"mu": (0, 1), "norm": (1,), "nrom": (2,)}
    assert shared_parameters(total, expected=["mu"])
    with pytest.raises(ParameterError, match=r"norm is in 1 of 3 .*did you mean nrom"):
        shared_parameters(total, constraint, expected=["norm"])
    with pytest.raises(ParameterError, match="zzz is in 0 of 2 costs"):
        shared_parameters(total, expected=["zzz"])


def test_limits_are_what_all_costs_allow(unbinned, counting):
    # Regression: a sum of iminuit has the limits of its first term, and the second then fails.
    assert tuple(Minuit(counting + unbinned, mu=1, norm=1).limits["mu"]) == (0, 10)
    assert tuple(minuit(counting + unbinned).limits["mu"]) == (0, 4)
    surface = Interpolation(GRID - 10, "spline").surface(-(GRID**2))
    far = LikelihoodCost(surface, "mu", n_events=1)
    for function in (minuit, shared_parameters):
        with pytest.raises(ParameterError, match=r"mu is limited to \[0, 10\] .*\[-12, -6\]"):
            function(counting + far)


def test_start_values_are_checked(counting):
    assert minuit(counting, norm=0.5).values["norm"] == 0.5
    with pytest.raises(ParameterError, match="nrom is not a parameter of this cost; it has norm"):
        minuit(counting, nrom=1.0)
    with pytest.raises(ParameterError, match="mu = -3 is outside"):
        minuit(counting, mu=-3.0)


def test_results_have_the_fields_of_cabinetry(unbinned, counting):
    cabinetry = pytest.importorskip("cabinetry")
    theirs = cabinetry.fit.FitResults
    # Its development version has one more, which no figure needs: the minimiser of its own fit.
    assert theirs._fields in (FitResults._fields, (*FitResults._fields, "minuit_obj"))
    assert theirs._field_defaults.get("minuit_obj") is None
    m = minuit(unbinned + counting + NormalConstraint("norm", 1.0, 0.02)).migrad()
    m.hesse()
    m.minos("mu")
    results = fit_results(m)
    assert results.labels == ["mu", "norm"]
    assert results.best_twice_nll == m.fval
    np.testing.assert_allclose(np.diag(results.corr_mat), 1)
    low, high = results.minos_uncertainty["mu"]
    assert low < 0 < high
    for draw in (cabinetry.visualize.pulls, cabinetry.visualize.correlation_matrix):
        assert draw(results, save_figure=False).axes


def test_results_of_fixed_parameters_are_zero_and_bad_fits_raise(counting):
    m = minuit(counting)
    with pytest.raises(FitError, match="no valid minimum"):
        fit_results(m)
    m.fixed["norm"] = True
    m.migrad()
    m.hesse()
    results = fit_results(m)
    k = results.labels.index("norm")
    assert results.uncertainty[k] == 0
    expected = np.eye(2)
    expected[k, k] = 0
    np.testing.assert_allclose(results.corr_mat, expected, atol=1e-12)


def test_results_are_those_of_cabinetry():
    cabinetry = pytest.importorskip("cabinetry")
    model = pyhf.simplemodels.uncorrelated_background([12.0, 11.0], [50.0, 52.0], [3.0, 7.0])
    cost = PyhfCost(model, [62.0, 63.0])
    m = minuit(cost)
    m.tol = 1e-3
    m.migrad()
    m.hesse()
    ours = fit_results(m)
    theirs = cabinetry.fit.fit(model, cost.data.tolist(), custom_fit=True, tolerance=1e-3)
    assert ours.labels == theirs.labels
    np.testing.assert_allclose(ours.bestfit, theirs.bestfit, atol=1e-4)
    np.testing.assert_allclose(ours.uncertainty, theirs.uncertainty, rtol=1e-3)
    np.testing.assert_allclose(ours.corr_mat, theirs.corr_mat, atol=1e-3)
    assert ours.best_twice_nll == pytest.approx(theirs.best_twice_nll, abs=1e-6)


COVARIANCE = np.array([[0.04, 0.012, -0.002], [0.012, 0.09, 0.0], [-0.002, 0.0, 0.01]])
COST = NormalConstraint(["mu", "large", "small"], [0.3, 1.0, 2.0], COVARIANCE)


def test_impacts_are_those_of_a_gaussian():
    found = mil.impacts(COST, "mu")
    assert [i.name for i in found] == ["large", "small"]
    for k, impact in zip((1, 2), found, strict=True):
        sigma = np.sqrt(COVARIANCE[k, k])
        assert (impact.lower, impact.upper) == pytest.approx((-sigma, sigma), rel=2e-3)
        shift = COVARIANCE[0, k] / sigma
        assert (impact.down, impact.up) == pytest.approx((-shift, shift), abs=2e-4)


def test_impacts_from_the_minimum_are_the_same():
    """MIGRAD that starts there makes no step, and its covariance misleads MINOS."""
    data = gaussian.generate(200, 0.0, seed=2).as_data()
    cost = systematic_cost(
        gaussian.MeanModel(),
        data,
        rate=200.0,
        responses={},
        reference=0.0,
        uncertainties=[NormalisationUncertainty("trigger", {"signal": (0.95, 1.05)})],
    )
    best = profile_interval(cost, "mu").minuit.values.to_dict()
    (impact,) = mil.impacts(cost, "mu", start=best)
    assert impact.upper == pytest.approx((1 + 200 * 0.05**2) ** -0.5, rel=0.1)


def test_a_fit_that_starts_beside_zero_moves():
    """Regression: Minuit's first step is a hundredth of the start, here 3e-16: it stood still."""
    terms = LinearCost([1.0, 0.5, -0.3], 0.4, 0.1) + LinearCost([0.0, 1.0, 0.0], 0.3, 0.5)
    shifted = terms + NormalConstraint(["a", "b"], [0.0, 0.4], [1.0, 0.4])
    m = minuit(shifted, start={"mu": 0.28, "a": 0.24, "b": -3e-14}).migrad()
    # b is its measurement, and mu follows.
    assert m.values["b"] == pytest.approx(0.4, rel=1e-3)
    assert m.values["mu"] == pytest.approx(0.4, rel=1e-3)
    both = mil.impacts(terms + NormalConstraint(["a", "b"], [0.0, 0.0], [1.0, 0.4]), "a")
    down, up = {i.name: (i.down, i.up) for i in both}["mu"]
    assert down == pytest.approx(-up, rel=1e-3)


def test_an_interval_with_others_fixed_is_that_of_statistics_alone():
    free = profile_interval(COST, "mu")
    best = free.minuit.values.to_dict()
    fixed = profile_interval(COST, "mu", start=best, fixed=["large", "small"])
    conditional = np.linalg.inv(COVARIANCE)[0, 0] ** -0.5
    assert fixed.high - fixed.estimate == pytest.approx(conditional, rel=2e-3)
    assert free.width > fixed.width
    with pytest.raises(ParameterError, match="larg"):
        profile_interval(COST, "mu", fixed=["larg"])


def test_the_figure_shows_them_in_order():
    found = mil.impacts(COST, "mu")
    left, right = plot_impacts(found, "mu").axes
    widths = [[bar.get_width() for bar in group] for group in left.containers]
    np.testing.assert_allclose(widths, [[i.down for i in found], [i.up for i in found]])
    drawn = np.asarray(right.lines[0].get_xdata(), dtype=np.float64)
    np.testing.assert_allclose(drawn, [i.value for i in found])
    assert len(plot_impacts(found, "mu", n_largest=1).axes[0].get_yticks()) == 1


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ParameterError, match="this one has mu, large, small"):
        mil.impacts(COST, "nu")
    with pytest.raises(ParameterError, match="and with others"):
        mil.impacts(NormalConstraint("mu", 0.0, 1.0), "mu")
    with pytest.raises(ParameterError, match="no nuisance"):
        plot_impacts([], "mu")


def test_profile_interval_is_the_exact_one():
    for cl, z in ((0.6827, 1.0), (0.9545, 2.0)):
        interval = profile_interval(NormalConstraint("mu", 0.3, 0.2), "mu", cl)
        assert interval.low == pytest.approx(0.3 - 0.2 * z, abs=2e-4)
        assert interval.high == pytest.approx(0.3 + 0.2 * z, abs=2e-4)


def test_an_interval_beyond_the_limits_is_an_error():
    grid = np.linspace(-1, 1, 9)
    surface = Interpolation(grid, "polynomial", 2).surface(-0.1 * (grid - 0.2) ** 2)
    with pytest.raises(FitError, match="MINOS"):
        profile_interval(LikelihoodCost(surface, "mu", n_events=1), "mu")


def test_a_contour_that_leaves_the_limits_is_refused():
    """Regression: it was drawn along the limits, and beyond them."""
    both = NormalConstraint(["c1", "c2"], [0.1, 0.9], [[0.04, 0.01], [0.01, 0.02]])
    m = Minuit(both, c1=0.0, c2=0.5)
    m.limits["c1"], m.limits["c2"] = (-1, 1), (-1, 1)
    m.migrad()
    with pytest.raises(FitError, match=r"contour of c1 and c2 at 68.27%.*(limits|nan)"):
        contour(m, "c1", "c2")
    m.limits["c2"] = (-1, 2)
    m.migrad()
    line = contour(m, "c1", "c2")
    np.testing.assert_allclose([both(*p) - m.fval for p in line], chi2.ppf(0.6827, 2), rtol=0.02)


class Wells(NamedCost):
    """The lower of two parabolas of width `sigma`, of which the second is deeper by `depth`."""

    def __init__(self, first, second, depth, *, sigma=0.1, limits=(-1.0, 1.0)):
        self.wells, self.depth, self.sigma = (first, second), depth, sigma
        super().__init__({"x": limits}, 0)

    def _errordef(self):
        return 1.0

    def _ndata(self):
        return np.inf

    def _has_grad(self):
        return False

    def _grad(self, args):
        raise NotImplementedError

    def _value(self, args):
        first, second = (((args[0] - well) / self.sigma) ** 2 for well in self.wells)
        return min(first, second - self.depth)


def test_the_interval_is_that_of_the_lowest_minimum():
    """MIGRAD stays in the minimum that it starts in, and calls it valid."""
    cost = Wells(0.0, 0.6, depth=2.0)
    assert minuit(cost).migrad().values["x"] == pytest.approx(0.0, abs=1e-6)
    # The first minimum is higher by more than 1: no part of the set of 68.27 %.
    interval = profile_interval(cost, "x")
    found = [interval.estimate, interval.low, interval.high]
    np.testing.assert_allclose(found, [0.6, 0.5, 0.7], atol=1e-4)


@pytest.mark.parametrize("tilt", [-2.0, 2.0])
def test_the_interval_is_found_from_a_maximum_at_the_start(tilt):
    """Regression: MIGRAD left a step of nan, with which the next fit had no interval."""
    grid = np.linspace(-1.5, 1.5, 31)
    surface = Interpolation(grid, "polynomial", 4).surface(
        20 * grid**2 - 20 * grid**4 + tilt * grid
    )
    cost = LikelihoodCost(surface, "mu", n_events=1)
    fit = minuit(cost).migrad()
    assert np.isnan(fit.errors["mu"])
    interval = profile_interval(cost, "mu")
    best = grid[np.argmin([cost(x) for x in grid])]
    assert interval.estimate == pytest.approx(best, abs=0.05)
    for end in (interval.low, interval.high):
        assert cost(end) - cost(interval.estimate) == pytest.approx(1.0, abs=1e-3)


def test_another_minimum_in_the_confidence_set_is_said_aloud():
    cost = Wells(0.0, 0.6, depth=0.2)
    message = r"x has a second minimum near 0, .* by 0\.2: .*68\.27%"
    with pytest.warns(MilinferWarning, match=message):
        interval = profile_interval(cost, "x")
    found = [interval.estimate, interval.low, interval.high]
    np.testing.assert_allclose(found, [0.6, 0.5, 0.7], atol=1e-4)
    np.testing.assert_allclose(interval.others, [[-(0.8**0.5) / 10, 0.8**0.5 / 10]], atol=1e-4)
    assert interval.contains(0.0)
    assert interval.contains(0.65)
    assert not interval.contains(0.3)


@pytest.mark.filterwarnings("ignore::milinfer.exceptions.SecondMinimumWarning")
def test_a_set_of_several_ranges_is_the_set_whose_coverage_is_measured():
    """p(x|c) ∝ 1 + c (2x − 1)/4 + 2x c²: the interference hardly tells the signs of c apart."""
    grid, rng, sets = np.linspace(-2, 2, 81), np.random.default_rng(1), 0
    for truth in (-0.8, 0.5) * 15:
        x = rng.random(8000)
        weights = 1 + truth * (2 * x - 1) / 4 + 2 * x * truth**2
        x = x[rng.random(len(x)) * weights.max() < weights][:200, None]
        values = np.log((1 + grid * (2 * x - 1) / 4 + 2 * x * grid**2) / (1 + grid**2)).sum(axis=0)
        cost = LikelihoodCost(Interpolation(grid, "spline").surface(values), "c", n_events=200)
        interval = profile_interval(cost, "c")
        sets += len(interval.others)
        q = cost(truth) - interval.minuit.fval
        assert interval.contains(truth) == (q < 1) or q == pytest.approx(1, abs=1e-3)
    assert sets > 15


def test_the_other_range_ends_at_a_limit_and_profiles_the_rest():
    """The second parameter moves with the first, so that a scan at its value is too narrow."""

    class Tilted(Wells):
        def __init__(self):
            super().__init__(-0.95, 0.6, depth=0.2)
            NamedCost.__init__(self, {"x": (-1.0, 1.0), "y": (-9.0, 9.0)}, 0)

        def _value(self, args):
            return super()._value([args[0] + 0.1 * args[1]]) + args[1] ** 2

    with pytest.warns(SecondMinimumWarning):
        interval = profile_interval(Tilted(), "x")
    ((low, high),) = interval.others
    assert low == -1.0
    assert high == pytest.approx(-0.95 + (0.8 * 0.02) ** 0.5, abs=1e-3)


@pytest.mark.parametrize("given", [{"start": {"x": 0.1}}, {"x": 0.1}])
def test_starting_values_are_taken_and_a_lower_minimum_is_said_aloud(given):
    with pytest.warns(MilinferWarning, match=r"from x = 0\.1 MIGRAD reached .* lower by 2 at 0\.6"):
        interval = profile_interval(Wells(0.0, 0.6, depth=2.0), "x", **given)
    assert interval.estimate == pytest.approx(0.6, abs=1e-4)


def test_without_limits_minima_within_five_errors_are_found():
    cost = Wells(0.0, 0.3, depth=2.0, limits=None)
    assert profile_interval(cost, "x").estimate == pytest.approx(0.3, abs=1e-4)


def test_the_start_of_a_second_parameter():
    both = NormalConstraint(["mu", "norm"], [1.0, 1.0], [0.5, 0.1])
    interval = profile_interval(both, "mu", start={"norm": 0.9})
    assert (interval.low, interval.high) == pytest.approx((0.5, 1.5), abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"banana": 3.0}, "banana is not a parameter of this cost; it has mu, norm"),
        ({"start": {"nrom": 1.0}}, r"nrom is not a parameter .*; did you mean norm\?"),
        ({"start": 0.3}, r"start=0\.3 has no names"),
        ({"start": {"mu": 1.0}, "mu": 2.0}, "mu has two starting values"),
    ],
)
@pytest.mark.parametrize("call", [profile_interval, mil.impacts, minuit])
def test_keywords_that_are_no_parameters_are_refused(call, options, message):
    both = NormalConstraint(["mu", "norm"], [1.0, 1.0], [0.5, 0.1])
    arguments = (both,) if call is minuit else (both, "mu")
    with pytest.raises(ParameterError, match=message):
        call(*arguments, **options)


def test_an_interval_of_no_or_of_a_fixed_parameter(counting):
    with pytest.raises(ParameterError, match=r"mew is not a parameter .* it has mu"):
        profile_interval(NormalConstraint("mu", 0.0, 1.0), "mew")
    with pytest.raises(ParameterError, match=r"cl = 68 is not .*: 68 % is cl=0\.68"):
        profile_interval(NormalConstraint("mu", 0.0, 1.0), "mu", 68)
    factor = {"type": "normfactor", "data": None}
    samples = [{"name": "s", "data": [9.0], "modifiers": [{"name": "mu", **factor}]}]
    parameters = [{"name": "mu", "fixed": True, "inits": [1.0], "bounds": [[0.0, 2.0]]}]
    spec = {"channels": [{"name": "SR", "samples": samples}], "parameters": parameters}
    with pytest.raises(ParameterError, match="the cost fixes mu"):
        profile_interval(PyhfCost(pyhf.Model(spec, poi_name="mu"), [9.0]), "mu")


def test_a_cost_takes_its_parameters_by_name(unbinned, counting):
    assert unbinned(mu=0.7) == unbinned(0.7)
    assert counting(mu=0.9, norm=1.1) == counting(1.1, 0.9) == counting(1.1, mu=0.9)
    for arguments, named, message in (
        ((), {}, "norm, mu are missing"),
        ((1.0,), {}, "mu is missing"),
        ((1.0, 2.0, 3.0), {}, "not 3 values"),
        ((1.0,), {"mu": 1.0, "norm": 1.0}, "norm is given twice"),
        ((), {"mu": 1.0, "nrom": 1.0}, r"nrom is not one of them; did you mean norm\?"),
        ((np.array([1.0, 2.0]), 1.0), {}, r"norm is an array of shape \(2,\)"),
        ((1.0,), {"mu": [1.0]}, "mu is an array"),
    ):
        with pytest.raises(ParameterError, match=message):
            counting(*arguments, **named)


def test_the_fit_of_a_sum_starts_where_its_terms_do(counting):
    """It started at 0, far from the factors of a workspace, and HESSE failed."""
    constraint = NormalConstraint("norm", 1.0, 0.02)
    interval = profile_interval(counting + constraint, "mu")
    m = minuit(counting + constraint).migrad().hesse()
    assert interval.estimate == pytest.approx(m.values["mu"], abs=1e-4)
    assert interval.error == pytest.approx(m.errors["mu"], rel=1e-2)


def channel_cost(names, counts=(52.0, 61.0)):
    """Cost of channels that share a luminosity and the systematic of their background."""
    channels = []
    for k, name in enumerate(names):
        signal = {"name": "s", "data": [20.0 + k], "modifiers": [
            {"name": "mu", "type": "normfactor", "data": None},
            {"name": "lumi", "type": "lumi", "data": None}]}  # fmt: skip
        background = {"name": "b", "data": [30.0 + 10 * k], "modifiers": [
            {"name": "jes", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}}]}  # fmt: skip
        channels.append({"name": name, "samples": [signal, background]})
    lumi = {"name": "lumi", "inits": [1.0], "bounds": [[0.5, 1.5]], "auxdata": [1.0]}
    spec = {"channels": channels, "parameters": [lumi | {"sigmas": [0.05]}]}
    return PyhfCost(pyhf.Model(spec, poi_name="mu"), counts[: len(names)])


def test_a_constraint_counts_once():
    """The sum of two channels is the model of both, once one of them leaves its constraints out."""
    both, first = channel_cost(["one", "two"]), channel_cost(["one"])
    second_spec = {"channels": [c for c in both.model.spec["channels"] if c["name"] == "two"]}
    second_spec["parameters"] = both.model.spec["parameters"]
    second = PyhfCost(pyhf.Model(second_spec, poi_name="mu"), [61.0])
    twice = first + second
    for function in (minuit, shared_parameters, lambda c: profile_interval(c, "mu")):
        with pytest.raises(
            ParameterError,
            match=r"lumi, jes would be applied twice: .*without_constraints\(\['lumi', 'jes'\]\)",
        ):
            function(twice)
    once = first + second.without_constraints(["jes", "lumi"])
    assert shared_parameters(once)["lumi"] == (0, 1)
    rng = np.random.default_rng(1)
    for _ in range(5):
        point = {"mu": rng.uniform(0, 2), "jes": rng.normal(), "lumi": rng.normal(1, 0.05)}
        m = minuit(once)
        value = m.fcn([point[n] for n in m.parameters])
        assert value == pytest.approx(both(**point), abs=1e-10)
    fits = [minuit(c).migrad().hesse() for c in (once, both)]
    for name in ("mu", "jes", "lumi"):
        assert fits[0].values[name] == pytest.approx(fits[1].values[name], abs=1e-3)
        assert fits[0].errors[name] == pytest.approx(fits[1].errors[name], rel=1e-3)


def test_a_constraint_by_hand_is_one_more():
    cost = channel_cost(["one"])
    by_hand = NormalConstraint("jes", 0.0, 1.0)
    message = "the PyhfCost contains it, and so does the NormalConstraint; remove"
    for total in (cost + by_hand, by_hand + cost):
        with pytest.raises(ParameterError, match=message):
            minuit(total)
    point = [1.0, 0.5, 1.02]
    total = cost.without_constraints(["jes"]) + by_hand
    names = list(minuit(total).parameters)
    values = dict(zip(cost.start, point, strict=True))
    # Without the constant of the density, as iminuit has it.
    assert total(*(values[n] for n in names)) == pytest.approx(cost(*point) - np.log(2 * np.pi))
    # Two measurements that somebody writes down are two.
    assert minuit(by_hand + NormalConstraint("jes", 1.0, 1.0)).migrad().values["jes"] == (
        pytest.approx(0.5)
    )


def test_a_contour_without_points_is_an_error_of_the_fit():
    """Regression: MINUIT gave no points and no error, and numpy complained about shapes."""

    class Empty:
        def mncontour(self, *_, **__):
            return []

    with pytest.raises(FitError, match=r"there is no contour of a and b at 68.27%: MINUIT finds 0"):
        contour(Empty(), "a", "b")
