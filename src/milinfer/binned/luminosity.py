"""Scale a workspace to another luminosity, for expected results with more data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from milinfer.binned.workspaces import require_workspace
from milinfer.likelihood.rate import require_factor

__all__ = ["scaled_workspace"]

# Modifiers whose numbers are events, with the keys of their lists; none if the data are the list.
# Numbers of the others are factors, which stay.
_EVENTS = {
    "histosys": ("lo_data", "hi_data"),
    "staterror": (),
    "shapesys": (),
}


def scaled_workspace(workspace: Mapping[str, Any], luminosity: float) -> dict[str, Any]:
    """Scale all expected and observed events of a workspace to another luminosity.

    All relative uncertainties stay the same.  This includes the uncertainties of the simulation and
    ``shapesys``, which more data do not improve.

    Parameters
    ----------
    workspace
        HistFactory JSON.
    luminosity
        New luminosity divided by the luminosity of the workspace.

    Returns
    -------
    dict
        The scaled workspace, for example for ``PyhfCost.from_workspace(…, asimov={"mu": 0.0})``.
        Its scaled observed events are not data: use expected events instead of them.

    Raises
    ------
    WorkspaceError
        If the workspace is not valid.
    ConfigurationError
        If the luminosity is not positive.

    Examples
    --------
    >>> import pyhf
    >>> model = pyhf.simplemodels.uncorrelated_background([12.0], [50.0], [5.0])
    >>> larger = scaled_workspace(pyhf.Workspace.build(model, [60.0]), 4.0)
    >>> [sample["data"] for sample in larger["channels"][0]["samples"]]
    [[48.0], [200.0]]
    """
    require_workspace(workspace)
    require_factor(luminosity)

    def times(values: list[float]) -> list[float]:
        return [float(v) * luminosity for v in values]

    out: dict[str, Any] = copy.deepcopy(dict(workspace))
    for channel in out["channels"]:
        for sample in channel["samples"]:
            sample["data"] = times(sample["data"])
            for modifier in sample["modifiers"]:
                keys = _EVENTS.get(modifier["type"])
                if keys is None:
                    continue
                if not keys:
                    modifier["data"] = times(modifier["data"])
                for key in keys:
                    modifier["data"][key] = times(modifier["data"][key])
    for observation in out["observations"]:
        observation["data"] = times(observation["data"])
    return out
