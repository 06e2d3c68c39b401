"""Impacts of nuisance parameters: closed-form Gaussians, pyhf and cabinetry, groups, limits."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest
from iminuit import Minuit
from iminuit.cost import NormalConstraint

from linear_cost import LinearCost
from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.datasets import gaussian
from milinfer.datasets.gaussian_systematics import GaussianCost, dataset
from milinfer.exceptions import FitError, MilinferWarning, ParameterError
from milinfer.intervals.ranking import nuisance_impacts
from milinfer.likelihood.auxiliary import (
    auxiliary_measurements,
    measuring,
    without_constraints,
)
from milinfer.likelihood.fits import minuit
from milinfer.likelihood.scans import profile_scan
from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_cost
from milinfer.plotting.likelihood import plot_impacts

# y = mu + 0.5 a − 0.3 b with an error of 0.1; a and b are measured elsewhere.
SLOPES = np.array([1.0, 0.5, -0.3])
ERROR = 0.1
LINE = LinearCost(SLOPES, 0.4, ERROR)


@pytest.fixture(autouse=True)
def _quiet_minuit():
    """cabinetry raises Minuit's print level, which is one for the whole process."""
    yield
    Minuit(lambda x: x**2, x=1.0).print_level = 0


@pytest.fixture(scope="module")
def line():
    return LINE + NormalConstraint("a", 0.0, 1.0) + NormalConstraint("b", 0.0, 0.4)


@pytest.fixture(scope="module")
def of_line(line):
    return nuisance_impacts(line, "mu")


def by_name(impacts, kind):
    return {i.name: (i.down, i.up) for i in impacts.of(kind=kind)}


def test_impacts_of_a_line_are_its_slopes(of_line):
    # Data say nothing about a and b, so that all definitions agree: −slope times the error.
    for kind in ("observable", "postfit", "prefit"):
        found = by_name(of_line, kind)
        assert found["a"] == pytest.approx((0.5, -0.5), rel=1e-3)
        assert found["b"] == pytest.approx((-0.12, 0.12), rel=1e-3)
        np.testing.assert_allclose(of_line.from_covariance(kind), [-0.5, 0.12], rtol=1e-3)
    assert [i.name for i in of_line.of()] == ["a", "b"]


def test_parts_of_an_error_add_in_quadrature(of_line):
    parts = {p.name: p.error for p in of_line.breakdown()}
    assert parts["statistical"] == pytest.approx(ERROR, rel=1e-3)
    assert parts["systematic"] == pytest.approx(np.hypot(0.5, 0.12), rel=1e-3)
    assert parts["total"] == pytest.approx(np.sqrt(0.1**2 + 0.5**2 + 0.12**2), rel=1e-3)
    assert list(parts)[:2] == ["a", "b"]


def test_groups_join_nuisances(of_line):
    parts = {p.name: p.error for p in of_line.breakdown(groups={"both": ["a", "b"]})}
    assert parts["both"] == parts["systematic"]
    parts = {p.name: p.error for p in of_line.breakdown(groups={"scale": ["a"]})}
    assert parts["others"] == pytest.approx(0.12, rel=1e-3)
    with pytest.raises(ParameterError, match="a is listed twice in the groups"):
        of_line.breakdown(groups={"x": ["a"], "y": ["a", "b"]})
    with pytest.raises(ParameterError, match="'total' cannot be the name of a group"):
        of_line.breakdown(groups={"total": ["a"]})
    with pytest.raises(ParameterError, match="no nuisance parameter aa"):
        of_line.part(["aa"])


def test_correlated_measurements_add_with_their_correlation():
    covariance = [[1.0, 0.2], [0.2, 0.16]]
    impacts = nuisance_impacts(LINE + NormalConstraint(["a", "b"], [0.0, 0.0], covariance), "mu")
    systematic = np.sqrt(SLOPES[1:] @ covariance @ SLOPES[1:])
    # Shifts of one measurement alone.
    np.testing.assert_allclose(
        impacts.shifts["observable"][:, 0, 1], impacts.from_covariance("observable"), rtol=1e-3
    )
    parts = {p.name: p.error for p in impacts.breakdown()}
    assert parts["systematic"] == pytest.approx(systematic, rel=1e-3)
    assert parts["total"] == pytest.approx(np.hypot(systematic, ERROR), rel=1e-3)


def test_data_that_confine_a_nuisance_shrink_its_observable_impact():
    """One more measurement of a, with the error 0.5 and no auxiliary one: known by hand."""
    more = LinearCost([0.0, 1.0, 0.0], 0.3, 0.5)
    cost = LINE + more + NormalConstraint(["a", "b"], [0.0, 0.0], [1.0, 0.4])
    impacts = nuisance_impacts(cost, "mu")
    after = (1 + 0.5**-2) ** -0.5
    pull = {p.name: p for p in impacts.nuisances}["a"]
    assert pull.constraint == pytest.approx(after, rel=1e-3)
    assert pull.pull == pytest.approx(0.3 * after**2 / 0.25, rel=1e-3)
    assert by_name(impacts, "postfit")["a"][1] == pytest.approx(-0.5 * after, rel=1e-3)
    assert by_name(impacts, "prefit")["a"][1] == pytest.approx(-0.5, rel=1e-3)
    # The mean of a moves by after² for a shift of one of its auxiliary measurement.
    assert by_name(impacts, "observable")["a"][1] == pytest.approx(-0.5 * after**2, rel=1e-3)
    parts = {p.name: p.error for p in impacts.breakdown()}
    assert np.hypot(parts["statistical"], parts["systematic"]) == pytest.approx(
        parts["total"], rel=1e-3
    )
    assert [i.name for i in impacts.pulls()] == ["a", "b"]


def test_parts_add_where_the_likelihood_is_no_gaussian():
    data = dataset(0.1, signal=2000, background=400, seed=1)
    cost = GaussianCost(data, signal=2000, background=400, constrained=False)
    names = ["shift", "width", "rate", "background_norm"]
    impacts = nuisance_impacts(cost + NormalConstraint(names, [0, 0, 0, 1], [1, 1, 1, 0.1]), ["mu"])
    parts = {p.name: p.error for p in impacts.breakdown()}
    assert np.hypot(parts["statistical"], parts["systematic"]) == pytest.approx(
        parts["total"], rel=0.01
    )
    # The exact information says the same of the measurement of shift.
    np.testing.assert_allclose(
        impacts.shifts["observable"][:, 0, 1], impacts.from_covariance("observable"), atol=2e-3
    )


def test_the_statistical_part_is_the_scatter_with_fixed_measurements():
    """Of data sets that are drawn again, with the auxiliary measurements as they are."""
    estimates = []
    for seed in range(200):
        cost = GaussianCost(dataset(signal=300, background=0, seed=seed), signal=300, background=0)
        m = minuit(cost, start={"background_norm": 1.0})
        m.fixed["background_norm"] = m.fixed["width"] = m.fixed["rate"] = True
        estimates.append(m.migrad().values["mu"])
    cost = GaussianCost(
        dataset(signal=300, background=0, seed=1), signal=300, background=0, constrained=False
    )
    impacts = nuisance_impacts(
        cost + NormalConstraint("shift", 0.0, 1.0),
        "mu",
        start={"background_norm": 1.0},
        fixed=["background_norm", "width", "rate"],
    )
    # 200 data sets know it to 5 %.
    assert impacts.statistical[0] == pytest.approx(np.std(estimates), rel=0.15)
    assert impacts.errors[0] > 4 * impacts.statistical[0]


@pytest.fixture(scope="module")
def template_model():
    factor = {"name": "mu", "type": "normfactor", "data": None}
    background = [
        {"name": "xs", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}},
        {
            "name": "jes",
            "type": "histosys",
            "data": {"lo_data": [95.0, 92.0], "hi_data": [105.0, 87.0]},
        },
        {"name": "stat", "type": "staterror", "data": [4.0, 3.0]},
        {"name": "control", "type": "shapesys", "data": [6.0, 5.0]},
    ]
    samples = [
        {"name": "s", "data": [10.0, 40.0], "modifiers": [factor]},
        {"name": "b", "data": [100.0, 90.0], "modifiers": background},
    ]
    return pyhf.Model({"channels": [{"name": "SR", "samples": samples}]}, poi_name="mu")


def test_a_template_fit_has_the_ranking_of_cabinetry(template_model):
    cabinetry = pytest.importorskip("cabinetry")
    cost = PyhfCost(template_model, [108.0, 133.0])
    impacts = nuisance_impacts(cost, "mu", kinds=["prefit", "postfit"])
    theirs = cabinetry.fit.ranking(
        template_model, cost.data.tolist(), custom_fit=True, tolerance=1e-4
    )
    ours = impacts.to_cabinetry()
    assert ours.labels == theirs.labels
    scale = impacts.errors[0]
    for name in ("prefit_up", "prefit_down", "postfit_up", "postfit_down"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_allclose(mine, other, atol=1e-3 * scale, err_msg=name)
    np.testing.assert_allclose(ours.bestfit, theirs.bestfit, atol=1e-3)
    np.testing.assert_allclose(ours.uncertainty, theirs.uncertainty, rtol=2e-3)
    assert cabinetry.visualize.ranking(ours, save_figure=False).axes
    assert cabinetry.visualize.pulls(impacts.fit.to_cabinetry(), save_figure=False).axes


def test_observables_of_a_template_fit_are_its_auxiliary_data(template_model):
    """By hand: the auxiliary datum of pyhf is moved, and pyhf fits again."""
    cost = PyhfCost(template_model, [108.0, 133.0])
    impacts = nuisance_impacts(cost, "mu", kinds=["observable"])
    found = by_name(impacts, "observable")
    assert set(found) == set(cost._constraints)
    for name, term in cost._constraints.items():
        for side, sign in enumerate((-1, 1)):
            data = cost.data.copy()
            width = term.scale if term.is_normal else np.sqrt(term.scale)
            data[template_model.config.nmaindata + term.datum] += sign * width
            with pyhf_minuit():
                best = pyhf.infer.mle.fit(data, template_model)
            estimate = best[template_model.config.poi_index]
            assert found[name][side] == pytest.approx(
                estimate - impacts.estimates[0], abs=1e-3 * impacts.errors[0]
            )
    parts = {p.name: p.error for p in impacts.breakdown()}
    assert np.hypot(parts["statistical"], parts["systematic"]) == pytest.approx(
        parts["total"], rel=0.01
    )
    with pytest.raises(ParameterError, match="'prefit' impacts were not computed"):
        impacts.to_cabinetry()


class pyhf_minuit:  # noqa: N801
    """pyhf with Minuit while the context lasts.

    MIGRAD may end 2e-3 times its tolerance above the minimum.  With the tolerance 1e-3 that is up
    to 1.4e-3 of an error, and with 1e-5 up to 1.4e-4.
    """

    def __enter__(self):
        pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-5))

    def __exit__(self, *_):
        pyhf.set_backend("numpy", "scipy")


def test_a_learned_likelihood_and_a_channel_share_a_nuisance(template_model):
    cost = systematic_cost(
        gaussian.MeanModel(),
        gaussian.generate(200, 0.0, seed=2).as_data(),
        rate=200.0,
        responses={},
        reference=0.0,
        uncertainties=[NormalisationUncertainty("trigger", {"signal": (0.9, 1.1)})],
        luminosity_uncertainty=0.05,
    )
    impacts = nuisance_impacts(cost, "mu")
    assert [p.name for p in impacts.nuisances] == ["trigger", "lumi"]
    # mu is one of the shape alone.
    assert impacts.part(["trigger", "lumi"]) < 1e-3 * impacts.errors[0]
    assert impacts.statistical[0] == pytest.approx(impacts.errors[0], rel=2e-3)
    on_trigger = nuisance_impacts(cost, "trigger", start={"mu": 0.0}, fixed=["mu"])
    (lumi,) = on_trigger.of(kind="observable")
    # By hand: 10 % and 5 % of one rate, known to 1/sqrt(200).
    total = 0.1**2 + 0.05**2 + 1 / 200
    assert abs(lumi.up) == pytest.approx(0.1 * 0.05 / total, rel=0.05)


def test_a_nuisance_at_a_limit_is_said():
    factor = {"name": "mu", "type": "normfactor", "data": None}
    tight = {"name": "xs", "bounds": [[-0.5, 0.5]], "inits": [0.0]}
    background = [{"name": "xs", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}}]
    spec = {
        "channels": [
            {
                "name": "SR",
                "samples": [
                    {"name": "s", "data": [10.0, 20.0], "modifiers": [factor]},
                    {"name": "b", "data": [500.0, 500.0], "modifiers": background},
                ],
            }
        ],
        "parameters": [tight],
    }
    cost = PyhfCost(pyhf.Model(spec, poi_name="mu"), [510.0, 520.0])
    with pytest.warns(MilinferWarning, match=r"xs = .* reaches both limits of its range"):
        impacts = nuisance_impacts(cost, "mu", kinds=["prefit"])
    assert impacts.nuisances[0].at_limit == "both"
    assert "both" in impacts.to_table().column("at_limit").to_pylist()


def test_what_cannot_be_asked_is_refused(line, of_line):
    with pytest.raises(ParameterError, match="nu is not a parameter of this cost; it has mu, a, b"):
        nuisance_impacts(line, "nu")
    with pytest.raises(ParameterError, match="no other parameter of the cost"):
        nuisance_impacts(line, ["mu", "a", "b"])
    with pytest.raises(ParameterError, match=r"no impacts of kind 'postft'.*did you mean postfit"):
        nuisance_impacts(line, "mu", kinds=["postft"])
    with pytest.raises(ParameterError, match="two terms of the cost measure a"):
        nuisance_impacts(line + NormalConstraint("a", 0.1, 1.0), "mu")
    with pytest.raises(ParameterError, match="computed on mu, not on a"):
        of_line.of("a")
    free = nuisance_impacts(
        LINE + NormalConstraint("a", 0, 1) + NormalConstraint("b", 0, 1),
        "b",
    )
    assert [p.name for p in free.nuisances] == ["mu", "a"]


def test_a_free_normalisation_has_postfit_impacts_alone():
    cost = GaussianCost(
        dataset(signal=300, background=90, seed=1), signal=300, background=90, constrained=False
    )
    impacts = nuisance_impacts(
        cost + NormalConstraint(["shift", "width", "rate"], [0] * 3, [1] * 3), "mu"
    )
    assert "background_norm" in by_name(impacts, "postfit")
    assert "background_norm" not in by_name(impacts, "observable")
    with pytest.raises(ParameterError, match="background_norm has no auxiliary measurement"):
        impacts.part(["background_norm"])


def test_constraints_are_taken_apart():
    joint = NormalConstraint(["a", "b"], [0.0, 1.0], [[1.0, 0.3], [0.3, 4.0]])
    moved = measuring(LINE + joint, {"b": 3.0})
    assert auxiliary_measurements(moved, ["mu"]).by_name["b"].measured == 3.0
    np.testing.assert_allclose(moved[1].covariance, joint.covariance)
    assert without_constraints(joint) is None
    with pytest.raises(ParameterError, match="no auxiliary measurement of c; it has"):
        measuring(joint, {"c": 0.0})
    with pytest.raises(ParameterError, match="a vector of 2 numbers"):
        auxiliary_measurements(NormalConstraint("v", [0.0, 1.0], [1.0, 1.0]))


def test_a_scan_is_that_of_cabinetry(template_model):
    cabinetry = pytest.importorskip("cabinetry")
    cost = PyhfCost(template_model, [108.0, 133.0])
    m = minuit(cost)
    m.tol = 1e-4
    m.migrad().hesse()
    ours = profile_scan(m, "mu", np.linspace(0.2, 1.4, 4))
    theirs = cabinetry.fit.scan(
        template_model, cost.data.tolist(), "mu", par_range=(0.2, 1.4), n_steps=4, custom_fit=True
    )
    np.testing.assert_allclose(ours.rises, theirs.delta_nlls, atol=2e-3)
    assert cabinetry.visualize.scan(ours.to_cabinetry(), save_figure=False).axes
    assert ours.to_table().num_rows == 4
    with pytest.raises(ParameterError, match="inside the limits of mu"):
        profile_scan(m, "mu", [-1.0])
    with pytest.raises(FitError, match="no valid minimum"):
        profile_scan(minuit(cost), "mu")


def test_the_ranking_is_drawn(of_line):
    left, right = plot_impacts(of_line, "mu").axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["a", "b"]
    widths = [[bar.get_width() for bar in group] for group in left.containers]
    found = of_line.of(kind="postfit")
    np.testing.assert_allclose(widths[-2:], [[i.down for i in found], [i.up for i in found]])
    pulls = np.asarray(right.lines[-1].get_xdata(), dtype=np.float64)
    assert len(pulls) == 2
