"""Impacts of nuisance parameters: closed form, parts of the error, pyhf and cabinetry."""

from __future__ import annotations

from typing import Any

import cabinetry
import numpy as np
import pyhf
from iminuit import Minuit
from iminuit.cost import Cost, LeastSquares, NormalConstraint

import milinfer as mil
from milinfer.datasets import gaussian_systematics
from milinfer.intervals import nuisance_impacts
from milinfer.intervals.ranking import NuisanceImpacts

# y = mu + 0.5 a − 0.3 b is measured with this error.  Auxiliary measurements: a = 0 ± 1, and
# b = 0 ± 0.4.
ERROR, SLOPE_A, SLOPE_B, ERROR_B = 0.1, 0.5, -0.3, 0.4
# One more measurement, of a.
OTHER, OTHER_ERROR = 0.3, 0.5


def impact_results() -> dict[str, Any]:
    """Impacts, pulls and parts of an error, in units of the error of the parameter of interest."""
    template, observed = _template()
    of_template = nuisance_impacts(mil.PyhfCost(template, observed), "mu")
    return (
        {"quadrature_over_whole": _quadrature_over_whole()}
        | {"ranking_to_cabinetry": _to_cabinetry(template, observed, of_template)}
        | {"observables_to_pyhf": _to_pyhf(template, observed, of_template)}
        | {"closed_form": _closed_form(), "nuisance_at_a_limit": _at_limit()}
    )


def _quadrature_over_whole() -> float:
    data = gaussian_systematics.dataset(0.1, signal=2000, background=400, seed=1)
    cost = gaussian_systematics.GaussianCost(data, signal=2000, background=400, constrained=False)
    names = ["shift", "width", "rate", "background_norm"]
    constraint = NormalConstraint(names, [0, 0, 0, 1], [1, 1, 1, 0.1])
    parts = {p.name: p.error for p in nuisance_impacts(cost + constraint, "mu").breakdown()}
    return float(np.hypot(parts["statistical"], parts["systematic"])) / parts["total"]


def _straight_line() -> Cost:
    """A cost whose parameters are known in closed form, with all three definitions different."""
    line = LeastSquares(
        [0.0], [0.4], [ERROR], lambda x, mu, a, b: x + mu + SLOPE_A * a + SLOPE_B * b
    )
    other = LeastSquares([0.0], [OTHER], [OTHER_ERROR], lambda x, a: x + a)
    return line + other + NormalConstraint(["a", "b"], [0.0, 0.0], [1.0, ERROR_B])


def _closed_form() -> dict[str, float]:
    """Largest difference of each quantity from its value in closed form."""
    impacts = nuisance_impacts(_straight_line(), "mu")
    total = float(impacts.errors[0])
    after = (1 + OTHER_ERROR**-2) ** -0.5  # the error of a
    of_a = {"observable": -SLOPE_A * after**2, "postfit": -SLOPE_A * after, "prefit": -SLOPE_A}
    of_b = -SLOPE_B * ERROR_B
    figures = {}
    for kind, exact in of_a.items():
        shifts = impacts.shifts[kind][:, 0]  # rows a and b, columns down and up
        difference = shifts - np.outer([exact, of_b], [-1, 1])
        figures[kind] = float(np.max(np.abs(difference))) / total
        by_covariance = impacts.from_covariance(kind) - np.array([exact, of_b])
        figures[f"{kind} by covariance"] = float(np.max(np.abs(by_covariance))) / total
    pulls = {p.name: p for p in impacts.nuisances}
    figures["pull"] = abs(pulls["a"].pull - OTHER * after**2 / OTHER_ERROR**2)
    figures["constraint"] = abs(pulls["a"].constraint - after)
    systematic = np.hypot(SLOPE_A * after**2, of_b)
    statistical = np.hypot(ERROR, SLOPE_A * after**2 / OTHER_ERROR)
    exact_parts = {
        "both": systematic,
        "statistical": statistical,
        "systematic": systematic,
        "total": np.hypot(systematic, statistical),
    }
    parts = {p.name: p.error for p in impacts.breakdown(groups={"both": ["a", "b"]})}
    figures["groups"] = (
        float(max(abs(parts[name] - exact) for name, exact in exact_parts.items())) / total
    )
    return figures


def _template() -> tuple[pyhf.Model, list[float]]:
    shifts = {"lo_data": [95.0, 92.0], "hi_data": [105.0, 87.0]}
    modifiers = [
        {"name": "xs", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}},
        {"name": "jes", "type": "histosys", "data": shifts},
        {"name": "stat", "type": "staterror", "data": [4.0, 3.0]},
    ]
    strength = [{"name": "mu", "type": "normfactor", "data": None}]
    samples = [
        {"name": "s", "data": [10.0, 40.0], "modifiers": strength},
        {"name": "b", "data": [100.0, 90.0], "modifiers": modifiers},
    ]
    model = pyhf.Model({"channels": [{"name": "SR", "samples": samples}]}, poi_name="mu")
    return model, [108.0, 133.0]


def _to_cabinetry(model: pyhf.Model, observed: list[float], impacts: NuisanceImpacts) -> float:
    ours = impacts.to_cabinetry()
    data = [*observed, *model.config.auxdata]
    level = Minuit(lambda x: x**2, x=1.0).print_level
    theirs = cabinetry.fit.ranking(model, data, custom_fit=True, tolerance=1e-4)
    # cabinetry raises it for the whole process.
    Minuit(lambda x: x**2, x=1.0).print_level = level
    away = [
        np.max(np.abs(getattr(ours, name) - getattr(theirs, name)))
        for name in ("prefit_up", "prefit_down", "postfit_up", "postfit_down")
    ]
    return float(np.max(away)) / float(impacts.errors[0])


def _to_pyhf(model: pyhf.Model, observed: list[float], impacts: NuisanceImpacts) -> float:
    """Shift each auxiliary datum of pyhf by hand, and fit with pyhf."""
    auxiliary = np.array(model.config.auxdata)
    found = {i.name: (i.down, i.up) for i in impacts.of(kind="observable")}
    errors = {p.name: p.prefit_error for p in impacts.nuisances}
    # Names of the auxiliary data, in pyhf's order.
    names = [
        name
        for parameter in model.config.auxdata_order
        for name in np.array(model.config.par_names)[model.config.par_slice(parameter)]
    ]
    away = []
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-5))
    try:
        for k, name in enumerate(names):
            for side, sign in enumerate((-1, 1)):
                moved = auxiliary.copy()
                moved[k] += sign * errors[name]
                best = pyhf.infer.mle.fit([*observed, *moved], model)
                shift = best[model.config.poi_index] - impacts.estimates[0]
                away.append(abs(found[name][side] - shift))
    finally:
        pyhf.set_backend("numpy", "scipy")
    return float(np.max(away)) / float(impacts.errors[0])


def _at_limit() -> str:
    """Which limits a nuisance parameter reaches whose range is half of its error."""
    background = [{"name": "xs", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}}]
    strength = [{"name": "mu", "type": "normfactor", "data": None}]
    samples = [
        {"name": "s", "data": [10.0, 20.0], "modifiers": strength},
        {"name": "b", "data": [500.0, 500.0], "modifiers": background},
    ]
    specification = {
        "channels": [{"name": "SR", "samples": samples}],
        "parameters": [{"name": "xs", "bounds": [[-0.5, 0.5]], "inits": [0.0]}],
    }
    cost = mil.PyhfCost(pyhf.Model(specification, poi_name="mu"), [510.0, 520.0])
    return nuisance_impacts(cost, "mu", kinds=["prefit"]).nuisances[0].at_limit
