"""Any pyhf model as an iminuit cost."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest
from iminuit import Minuit
from scipy.stats import norm, poisson

from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.exceptions import ParameterError, TemplateError, WorkspaceError
from milinfer.likelihood.fits import minuit, profile_interval


def normfactor(name):
    return {"name": name, "type": "normfactor", "data": None}


def model_of(samples, poi="mu", parameters=()):
    spec = {"channels": [{"name": "SR", "samples": samples}], "parameters": list(parameters)}
    return pyhf.Model(spec, poi_name=poi)


@pytest.fixture(scope="module")
def simple():
    signal = {"name": "s", "data": [5.0, 9.0], "modifiers": [normfactor("mu")]}
    background = {
        "name": "b",
        "data": [20.0, 12.0],
        "modifiers": [
            {"name": "norm", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}},
            {"name": "stat", "type": "staterror", "data": [2.0, 3.0]},
            {"name": "data", "type": "shapesys", "data": [4.0, 3.0]},
        ],
    }
    return model_of([signal, background])


def workspace_of_many():
    """Two channels of ten bins with fifteen nuisance parameters."""
    rng = np.random.default_rng(3)
    channels, observations = [], []
    for c in range(2):
        shape = 100.0 * np.exp(-0.2 * np.arange(10)) + 10.0
        samples = []
        for sample, scale in (("signal", 0.2), ("zjets", 1.0), ("top", 0.6)):
            data = scale * shape * rng.uniform(0.8, 1.2, 10)
            modifiers = [normfactor("mu")] if sample == "signal" else []
            for k in range(8):
                size = 0.02 * rng.uniform(0.5, 2)
                modifiers.append(
                    {"name": f"n{k}", "type": "normsys", "data": {"lo": 1 - size, "hi": 1 + size}}
                )
            for k in range(7):
                tilt = 0.03 * rng.uniform(0.5, 2) * np.cos(k + 0.3 * np.arange(10))
                lo, hi = (data * (1 - tilt)).tolist(), (data * (1 + tilt)).tolist()
                modifiers.append(
                    {
                        "name": f"h{k}",
                        "type": "histosys",
                        "data": {"lo_data": lo, "hi_data": hi},
                    }
                )
            samples.append({"name": sample, "data": data.tolist(), "modifiers": modifiers})
        channels.append({"name": f"c{c}", "samples": samples})
        total = np.sum([s["data"] for s in samples], axis=0)
        observations.append({"name": f"c{c}", "data": rng.poisson(total).astype(float).tolist()})
    return {
        "channels": channels,
        "observations": observations,
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


def test_it_is_poisson_times_constraints_by_hand(simple):
    cost = PyhfCost(simple, [23, 25])
    assert list(cost.start) == ["mu", "norm", "data[0]", "data[1]", "stat[0]", "stat[1]"]
    rng = np.random.default_rng(1)
    for _ in range(20):
        mu, stat, data = rng.uniform(0, 3), rng.uniform(0.8, 1.2, 2), rng.uniform(0.8, 1.2, 2)
        alpha = rng.uniform(1, 3)  # beyond 1 the interpolation of pyhf is the plain exponential
        rates = mu * np.array([5.0, 9.0]) + 1.1**alpha * stat * data * np.array([20.0, 12.0])
        tau = np.array([20 / 4, 12 / 3]) ** 2
        log_l = poisson.logpmf([23, 25], rates).sum() + norm.logpdf(0, alpha, 1)
        log_l += norm.logpdf(1, stat, [0.1, 0.25]).sum()
        # pyhf takes the auxiliary counts τ for continuous, as its data.
        log_l += poisson.logpmf(tau, tau * data).sum()
        point = dict(zip(cost.start, [mu, alpha, *data, *stat], strict=True))
        values = [point[name] for name in cost.start]
        assert cost(*values) == pytest.approx(-2 * log_l, rel=1e-10)
        full = np.concatenate([[23, 25], simple.config.auxdata])
        twice = pyhf.infer.mle.twice_nll(values, full, simple)
        assert cost(*values) == pytest.approx(float(twice[0]), rel=1e-12)


def test_many_events_do_not_cost_digits():
    """Regression: pyhf's sum rounds at 1e-8 in such bins, and errors came out at a third."""
    samples = [
        {"name": "s", "data": [1e6], "modifiers": [normfactor("mu")]},
        {"name": "b", "data": [3e6], "modifiers": []},
    ]
    cost = PyhfCost(model_of(samples), [4e6])
    for step in (1e-6, -1e-6, 3e-7):
        rise = cost(1 + step) - cost(1.0)
        assert rise == pytest.approx((1e6 * step) ** 2 / 4e6, abs=1e-13)
    # Bins without events, observed or expected.
    samples = [{"name": "s", "data": [0.0, 2.0], "modifiers": [normfactor("mu")]}]
    assert PyhfCost(model_of(samples), [0, 0])(1.0) == pytest.approx(4.0)
    assert PyhfCost(model_of(samples), [0, 1])(0.0) == np.inf
    with pytest.raises(TemplateError, match=r"bin 0 \(counted from 0\), has 1 observed"):
        PyhfCost(model_of(samples), [1, 0])


def test_the_fit_is_pyhfs_own():
    workspace = workspace_of_many()
    cost = PyhfCost.from_workspace(workspace)
    assert len(cost.start) == 16
    m = minuit(cost)
    m.tol = 1e-3
    m.migrad()
    m.hesse()
    assert m.valid
    try:
        pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-3))
        theirs, minimum = pyhf.infer.mle.fit(
            cost.data, cost.model, return_uncertainties=True, return_fitted_val=True
        )
    finally:
        pyhf.set_backend("numpy", "scipy")
    errors = theirs[:, 1]
    np.testing.assert_array_less(np.abs(np.array(m.values) - theirs[:, 0]), 1e-3 * errors)
    assert cost(*theirs[:, 0]) == pytest.approx(float(minimum), abs=1e-9)


def test_minos_is_the_scan_of_pyhf(simple):
    cost = PyhfCost(simple, [30, 30])
    interval = profile_interval(cost, "mu", **cost.start)
    full = np.concatenate([[30, 30], simple.config.auxdata])
    try:
        pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-6))
        _, best = pyhf.infer.mle.fit(full, simple, return_fitted_val=True)
        for end in (interval.low, interval.high):
            _, there = pyhf.infer.mle.fixed_poi_fit(end, full, simple, return_fitted_val=True)
            assert float(there - best) == pytest.approx(1.0, abs=2e-3)
    finally:
        pyhf.set_backend("numpy", "scipy")


def test_bounds_inits_and_fixed_parameters_are_those_of_the_model():
    signal = {"name": "s", "data": [5.0], "modifiers": [normfactor("mu"), normfactor("k")]}
    parameters = [
        {"name": "mu", "inits": [2.0], "bounds": [[-1.0, 5.0]]},
        {"name": "k", "inits": [1.5], "fixed": True},
    ]
    cost = PyhfCost(model_of([signal], parameters=parameters), [12])
    assert cost.limits["mu"] == (-1.0, 5.0)
    assert cost.fixed == ("k",)
    m = minuit(cost)
    assert (m.values["mu"], m.values["k"], m.fixed["k"]) == (2.0, 1.5, True)
    assert m.migrad().values["mu"] == pytest.approx(12 / 7.5, rel=1e-3)


def test_asimov_data_bring_the_truth_back(simple):
    workspace = workspace_of_many()
    cost = PyhfCost.from_workspace(workspace, asimov={"mu": 1.3, "n2": 0.5})
    m = minuit(cost).migrad()
    assert m.values["mu"] == pytest.approx(1.3, abs=0.02 * m.errors["mu"])
    # The auxiliary datum is expected too, so that the constraint does not pull back.
    assert m.values["n2"] == pytest.approx(0.5, abs=0.02 * m.errors["n2"])
    with pytest.raises(ParameterError, match="nope is not a parameter"):
        PyhfCost.from_workspace(workspace, asimov={"nope": 1.0})


@pytest.mark.parametrize("observed", [0.0, 4.0])
def test_a_negative_yield_is_an_error_and_names_place(observed):
    samples = [
        {"name": "s", "data": [2.0, -3.0], "modifiers": [normfactor("mu")]},
        {"name": "b", "data": [4.0, 4.0], "modifiers": []},
    ]
    cost = PyhfCost(model_of(samples), [5.0, observed])
    assert np.isfinite(cost(1.0))
    with pytest.raises(TemplateError, match=r"channel SR, bin 1, expects -2 events at mu=2"):
        cost(2.0)
    with pytest.raises(TemplateError, match=r"bin 0, expects nan"):
        cost(np.nan)


def test_the_message_shows_what_moved():
    cost = PyhfCost.from_workspace(workspace_of_many())
    point = cost.start | {"h0": 4.0, "mu": -50.0}
    with pytest.raises(TemplateError, match=r"channel c0, bin \d+, .*mu=-50") as caught:
        cost(*point.values())
    assert "h0=4" in str(caught.value)
    assert "h1" not in str(caught.value)


def test_bad_data_are_errors(simple):
    with pytest.raises(TemplateError, match=r"shape \(3,\) given; the model has 2 bins \(SR 2\)"):
        PyhfCost(simple, [1, 2, 3])
    with pytest.raises(TemplateError, match="channel SR, bin 1, has -2 observed"):
        PyhfCost(simple, [1, -2])
    with pytest.raises(TemplateError, match="bin 0, has nan"):
        PyhfCost(simple, [np.nan, 1])
    workspace = workspace_of_many()
    del workspace["observations"][1]
    with pytest.raises(WorkspaceError, match="channel 'c1' has no observation"):
        PyhfCost.from_workspace(workspace)
    with pytest.raises(WorkspaceError, match="measurement 'nope'"):
        PyhfCost.from_workspace(workspace_of_many(), measurement="nope")
    workspace = workspace_of_many()
    workspace["measurements"][0]["config"]["parameters"] = [{"name": "mu", "inits": [20.0]}]
    with pytest.raises(ParameterError, match=r"mu starts at 20, outside its bounds \[0.0, 10.0\]"):
        PyhfCost.from_workspace(workspace)


def test_tied_factors_are_functions_of_the_parameters(simple):
    del simple
    samples = [
        {"name": n, "data": d, "modifiers": [normfactor(f"w_{n}"), *extra]}
        for n, d, extra in (
            ("sm", [20.0, 10.0], []),
            ("int", [2.0, 4.0], []),
            ("bsm", [1.0, 5.0], [{"name": "a", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}}]),
        )
    ]
    model = model_of(samples, poi=None)

    def weights(theta):
        return {"w_bsm": theta[0] ** 2, "w_sm": 1.0, "w_int": theta[0]}

    cost = PyhfCost.tied(
        model, [24, 18], parameters=["c"], weights=weights, limits={"c": (-3, 3)}, start={"c": 0.5}
    )
    assert list(cost.start) == ["c", "a"]
    assert cost.start["c"] == 0.5
    by_hand = poisson.logpmf([24, 18], [20 + 2 + 1, 10 + 4 + 5]).sum() + norm.logpdf(0)
    assert cost(1.0, 0.0) == pytest.approx(-2 * by_hand, rel=1e-12)
    m = minuit(cost).migrad()
    assert isinstance(m, Minuit)
    assert m.valid
    with pytest.raises(TemplateError, match="'w_x', which is not a normfactor"):
        PyhfCost.tied(model, [24, 18], parameters=["c"], weights=lambda c: {"w_x": c[0]})
    with pytest.raises(TemplateError, match="'a', which is not a normfactor"):
        PyhfCost.tied(model, [24, 18], parameters=["c"], weights=lambda c: {"a": c[0]})
    with pytest.raises(ParameterError, match="rename"):
        PyhfCost.tied(model, [24, 18], parameters=["a"], weights=lambda c: {"w_sm": c[0]})
    with pytest.raises(ParameterError, match="cannot be fixed"):
        PyhfCost.tied(model, [24, 18], parameters=["c"], weights=weights, fixed=["z"])


def test_it_says_what_it_is(simple):
    text = repr(PyhfCost(simple, [27.0, 19.0]))
    assert text.startswith("PyhfCost(SR: 46 events in 2 bins, ")
    assert "mu in [0, 10]" in text


def test_a_constraint_can_be_left_out(simple):
    full = PyhfCost(simple, [23, 25])
    assert full.constrained == ("norm", "data[0]", "data[1]", "stat[0]", "stat[1]")
    point = {"mu": 1.2, "norm": 0.7, "data[0]": 1.1, "data[1]": 0.8, "stat[0]": 0.9, "stat[1]": 1.2}
    tau = np.array([20 / 4, 12 / 3]) ** 2
    terms = {
        "norm": norm.logpdf(0, 0.7),
        "data[1]": poisson.logpmf(tau[1], tau[1] * 0.8),
        "stat[0]": norm.logpdf(1, 0.9, 2 / 20),
    }
    for names in (["norm"], ["data[1]"], ["stat[0]"], [*terms]):
        free = full.without_constraints(names)
        left_out = -2 * sum(terms[n] for n in names)
        assert free(**point) == pytest.approx(full(**point) - left_out, rel=1e-12)
        assert set(free.constrained) == set(full.constrained) - set(names)
        assert free.start == full.start
        assert free.limits == full.limits
    measured = full.measuring(**{"norm": 0.3, "data[1]": 1.1, "stat[0]": 0.95})
    auxiliary = dict(zip(full.constrained, measured.data[2:], strict=True))
    assert auxiliary == pytest.approx(
        {"norm": 0.3, "data[0]": tau[0], "data[1]": 1.1 * tau[1], "stat[0]": 0.95, "stat[1]": 1.0}
    )
    with pytest.raises(ParameterError, match="no constraint of mu"):
        full.measuring(mu=1.0)
    # One after the other, and with other data; the first cost stays as it is.
    free = full.without_constraints("norm").without_constraints(["data[1]", "stat[0]"])
    auxiliary = [0.3, *np.asarray(simple.config.auxdata)[1:]]
    other = free.with_data([20, 30, *auxiliary])
    assert other.constrained == ("data[0]", "stat[1]")
    whole = PyhfCost(simple, [20, 30, *auxiliary])
    left_out = -2 * (sum(terms.values()) - terms["norm"] + norm.logpdf(0.3, 0.7))
    assert other(**point) == pytest.approx(whole(**point) - left_out, rel=1e-12)
    assert len(full.constrained) == 5
    with pytest.raises(ParameterError, match=r"no constraint of stat\[2\].*did you mean stat"):
        full.without_constraints(["stat[2]"])
    with pytest.raises(ParameterError, match=r"no constraint of mu; it has constraints of norm"):
        full.without_constraints(["mu"])
    with pytest.raises(ParameterError, match="no constraint of norm; it has constraints of data"):
        free.without_constraints(["norm"])
    with pytest.raises(TemplateError, match="data of shape"):
        full.with_data([1.0, 2.0, 3.0])
