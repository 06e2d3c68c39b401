"""Workspaces at another luminosity."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest

from milinfer.binned.luminosity import scaled_workspace
from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.exceptions import ConfigurationError, WorkspaceError
from milinfer.likelihood.fits import minuit


def workspace():
    background = [
        {"name": "xs", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}},
        {"name": "jes", "type": "histosys", "data": {"lo_data": [45.0, 33.0], "hi_data": [56, 28]}},
        {"name": "stat", "type": "staterror", "data": [2.0, 3.0]},
        {"name": "control", "type": "shapesys", "data": [4.0, 3.0]},
    ]
    samples = [
        {
            "name": "s",
            "data": [5.0, 9.0],
            "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
        },
        {"name": "b", "data": [50.0, 30.0], "modifiers": background},
    ]
    return {
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": [57.0, 36.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


def test_all_events_are_scaled_and_relative_errors_stay():
    spec = workspace()
    model, larger = (pyhf.Workspace(w).model() for w in (spec, scaled_workspace(spec, 4.0)))
    assert larger.config.auxdata == pytest.approx(model.config.auxdata)
    rng = np.random.default_rng(1)
    for _ in range(3):
        point = np.array(model.config.suggested_init()) * rng.uniform(0.9, 1.1, 7)
        point += [0.3 if name in ("xs", "jes") else 0.0 for name in model.config.par_names]
        np.testing.assert_allclose(
            larger.expected_actualdata(point), 4 * np.asarray(model.expected_actualdata(point))
        )
    assert spec == workspace()  # not changed itself
    assert scaled_workspace(spec, 4.0)["observations"][0]["data"] == [228.0, 144.0]


def test_statistics_alone_improve_by_the_root():
    errors = []
    for factor in (1.0, 100.0):
        cost = PyhfCost.from_workspace(scaled_workspace(workspace(), factor), asimov={})
        m = minuit(cost)
        for name in cost.constrained:
            m.fixed[name] = True
        m.migrad()
        errors.append(m.errors["mu"])
    assert errors[0] == pytest.approx(10 * errors[1], rel=0.02)


def test_what_is_no_luminosity_is_refused():
    with pytest.raises(ConfigurationError, match="must be positive, not -1"):
        scaled_workspace(workspace(), -1.0)
    with pytest.raises(WorkspaceError):
        scaled_workspace({"channels": []}, 2.0)
