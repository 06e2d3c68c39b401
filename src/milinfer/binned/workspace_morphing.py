"""Morphing in a workspace: how it is recorded, and how it becomes a cost again.

HistFactory has no factor that is a function of parameters, and its JSON has no place for notes.
A measurement, though, may configure parameters that the model has not (pyhf uses only those of the
measurement it is asked for).  So the morphing of a channel is a measurement of its own, named
``milinfer_morphing_CHANNEL``:

* an entry for each parameter θ, with its starting value (``inits``) and range (``bounds``);
* an entry for each tied normalisation factor, whose ``factors`` are the values of θ, in the order
  of the entries above, at which the sample of that factor was made.

It stays with the workspace through ``pyhf combine``, ``rename`` and the like.  Building a model of
this measurement fails, rather than giving one without the tie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any

import numpy as np

from milinfer.binned.pyhf_cost import PyhfCost, asimov_data
from milinfer.binned.workspace_checks import MORPHING
from milinfer.binned.workspaces import model_and_data, read_workspace
from milinfer.exceptions import TemplateError, WorkspaceError
from milinfer.typing import FloatArray, PathLikeStr, Point
from milinfer.utils.polynomials import PolynomialBasis

__all__ = ["WorkspaceMorphing", "import_workspace", "workspace_morphings"]


@dataclass(frozen=True, eq=False)
class WorkspaceMorphing:
    """Normalisation factors as functions of parameters, for one channel.

    Parameters
    ----------
    channel
        Name of the channel.
    basis
        Monomials of the parameters.
    points
        Points of the morphing basis, shape (n_coefficients, n_parameters).
    factors
        Name of the factor of the sample at each point, in the order of ``points``.
    limits
        Range of each parameter.
    start
        Starting values.

    Examples
    --------
    >>> basis = PolynomialBasis(("c",), 1)
    >>> morphing = WorkspaceMorphing("SR", basis, np.array([[0.0], [1.0]]), ("w_0", "w_1"),
    ...                              {"c": (-1.0, 1.0)}, {"c": 0.0})
    >>> morphing.weights(np.array([0.25]))
    {'w_0': 0.75, 'w_1': 0.25}
    """

    channel: str
    basis: PolynomialBasis
    points: FloatArray
    factors: tuple[str, ...]
    limits: Mapping[str, tuple[float, float]]
    start: Point

    @cached_property
    def _matrix(self) -> FloatArray:
        return self.basis.morphing_matrix(self.points)

    def weights(self, theta: FloatArray) -> dict[str, float]:
        """Value of each factor at parameter values of shape (n_parameters,)."""
        values = (self.basis.design(theta) @ self._matrix)[0]
        return dict(zip(self.factors, values.tolist(), strict=True))

    def measurement(self) -> dict[str, Any]:
        """The measurement that records it."""
        names = self.basis.parameters
        return {
            "name": f"{MORPHING}{self.channel}",
            "config": {
                "poi": names[0],
                "parameters": [
                    {"name": n, "inits": [self.start[n]], "bounds": [list(self.limits[n])]}
                    for n in names
                ]
                + [
                    {"name": name, "factors": point}
                    for name, point in zip(self.factors, self.points.tolist(), strict=True)
                ],
            },
        }

    @classmethod
    def from_measurement(cls, measurement: Mapping[str, Any]) -> WorkspaceMorphing:
        """Read what :meth:`measurement` has written.

        Raises
        ------
        WorkspaceError
            If entries are missing or do not fit together.
        """
        entries = measurement["config"]["parameters"]
        parameters = [e for e in entries if "factors" not in e]
        tied = [e for e in entries if "factors" in e]
        n = len(parameters)
        degree = next((d for d in range(len(tied) + 1) if comb(n + d, d) == len(tied)), None)
        good = n > 0 and all("inits" in e and "bounds" in e for e in parameters)
        if degree is None or not good or any(len(e["factors"]) != n for e in tied):
            msg = (
                f"measurement {measurement['name']}: {len(tied)} factors at points in {n} "
                "parameters are no morphing basis; export the templates again"
            )
            raise WorkspaceError(msg)
        names = tuple(str(e["name"]) for e in parameters)
        morphing = cls(
            measurement["name"].removeprefix(MORPHING),
            PolynomialBasis(names, degree),
            np.array([e["factors"] for e in tied], dtype=np.float64),
            tuple(e["name"] for e in tied),
            {e["name"]: (float(e["bounds"][0][0]), float(e["bounds"][0][1])) for e in parameters},
            {e["name"]: float(e["inits"][0]) for e in parameters},
        )
        try:
            _ = morphing._matrix
        except TemplateError as error:
            msg = f"measurement {measurement['name']}: {error}"
            raise WorkspaceError(msg) from error
        return morphing


def workspace_morphings(workspace: Mapping[str, Any]) -> tuple[WorkspaceMorphing, ...]:
    """The morphings that a workspace records, one for each morphed channel.

    Examples
    --------
    >>> workspace_morphings({"measurements": [{"name": "m", "config": {}}]})
    ()
    """
    return tuple(
        WorkspaceMorphing.from_measurement(m)
        for m in workspace["measurements"]
        if m["name"].startswith(MORPHING)
    )


def import_workspace(
    source: PathLikeStr | Mapping[str, Any],
    *,
    measurement: str | None = None,
    asimov: Point | None = None,
) -> PyhfCost:
    """Cost of a workspace that :func:`milinfer.binned.workspace_export.export_workspace` has made.

    The parameters of the morphing take the place of its normalisation factors.  Channels whose
    parameters have the same names share them; their limits are what all channels allow.  A
    parameter of interest that scales the signal is fixed at its starting value: it would do what
    the parameters do.

    Parameters
    ----------
    source
        JSON file, or what it holds.
    measurement
        Name of the measurement; default: the first.
    asimov
        Point of which to take the expected data for the observed, as
        :meth:`milinfer.binned.pyhf_cost.PyhfCost.from_workspace`.

    Raises
    ------
    WorkspaceError
        If the workspace is wrong or records no morphing; for one without, take
        :meth:`milinfer.binned.pyhf_cost.PyhfCost.from_workspace`.
    TemplateError
        If a factor that the morphing names is not in the model.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.binned.templates import Templates
    >>> from milinfer.binned.workspace_export import export_workspace
    >>> samples = gaussian.samples(20_000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = Templates.from_samples(samples, "x0", bins=4, degree=2, luminosity=0.1)
    >>> cost = import_workspace(export_workspace(templates, [20, 30, 25, 25]))
    >>> by_hand = templates.cost([20, 30, 25, 25], rate=True, mc_stat=False)
    >>> list(cost.start), bool(abs(cost(0.1) - by_hand(0.1)) < 1e-9)
    (['mu'], True)
    """
    if isinstance(source, Mapping):
        name, workspace = "workspace", dict(source)
    else:
        name, workspace = str(source), read_workspace(source)
    model, data = model_and_data(workspace, measurement)
    morphings = workspace_morphings(workspace)
    if not morphings:
        msg = f"{name} records no morphing; PyhfCost.from_workspace reads a plain workspace"
        raise WorkspaceError(msg)
    parameters = tuple(dict.fromkeys(n for m in morphings for n in m.basis.parameters))
    limits = {n: _limits(n, morphings) for n in parameters}
    start = {n: v for m in reversed(morphings) for n, v in m.start.items()}
    index = [[parameters.index(n) for n in m.basis.parameters] for m in morphings]

    def weights(theta: FloatArray) -> dict[str, float]:
        values: dict[str, float] = {}
        for morphing, of in zip(morphings, index, strict=True):
            values |= morphing.weights(theta[of])
        return values

    def cost(observed: FloatArray) -> PyhfCost:
        return PyhfCost.tied(
            model,
            observed,
            parameters=parameters,
            weights=weights,
            limits=limits,
            start=start,
            fixed=() if model.config.poi_name is None else (model.config.poi_name,),
        )

    return cost(data) if asimov is None else cost(asimov_data(cost(data), asimov))


def _limits(name: str, morphings: Sequence[WorkspaceMorphing]) -> tuple[float, float]:
    ranges = [m.limits[name] for m in morphings if name in m.limits]
    low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
    if not low < high:
        msg = f"the channels' ranges of {name}, {ranges}, exclude each other; export them again"
        raise WorkspaceError(msg)
    return low, high
