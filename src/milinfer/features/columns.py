"""Columns of the standard feature sets: functions of the leading objects, which can be pickled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from milinfer.features.objects import Collection, Objects
from milinfer.typing import BoolArray, FloatArray

__all__ = [
    "JETS",
    "LEPTONS",
    "Column",
    "IsId",
    "Mass",
    "SignedDeltaPhi",
    "Value",
    "vbf_2l2j_columns",
]

Column: TypeAlias = Callable[[Objects], Any]

LEPTONS = Collection("leptons", "l", 2, frozenset({11, 13, 15}))
JETS = Collection("jets", "q", 2, frozenset({1, 2, 3, 4, 5, 21}))


@dataclass(frozen=True)
class Value:
    """Column that is a stored field or a vector property of one object."""

    name: str
    column: str

    def __call__(self, o: Objects) -> NDArray[Any]:
        """Evaluate, shape (n_events,)."""
        return o.get(self.name, self.column)


@dataclass(frozen=True)
class Mass:
    """Invariant mass; rounding below zero is zero."""

    name: str

    def __call__(self, o: Objects) -> FloatArray:
        """Evaluate, in GeV, shape (n_events,)."""
        mass: FloatArray = np.maximum(o.get(self.name, "mass"), 0.0)
        return mass


@dataclass(frozen=True)
class IsId:
    """One-hot of a PDG id: ``abs`` compares absolute ids."""

    name: str
    ids: tuple[int, ...]
    absolute: bool

    def __call__(self, o: Objects) -> BoolArray:
        """Evaluate, shape (n_events,)."""
        ids = o.get(self.name, "pdgId")
        ids = np.abs(ids) if self.absolute else ids
        found: BoolArray = ids == self.ids[0]
        for other in self.ids[1:]:
            found |= ids == other
        return found


@dataclass(frozen=True)
class SignedDeltaPhi:
    """φ_a − φ_b with η_a > η_b, in (−π, π]; the leading object first where η is equal."""

    first: str
    second: str

    def __call__(self, o: Objects) -> FloatArray:
        """Evaluate, in radians, shape (n_events,)."""
        difference = o.get(self.first, "phi") - o.get(self.second, "phi")
        swapped = o.get(self.first, "eta") < o.get(self.second, "eta")
        difference = np.where(swapped, -difference, difference)
        wrapped: FloatArray = np.pi - np.mod(np.pi - difference, 2 * np.pi)
        return wrapped


def vbf_2l2j_columns() -> dict[str, Column]:
    """Make the 36 columns of two leptons, two jets and missing momentum, in order.

    Examples
    --------
    >>> list(vbf_2l2j_columns())[20:24]
    ['met_et', 'met_phi', 'm_ll', 'm_qq']
    """
    keys = (*LEPTONS.keys, *JETS.keys)
    columns: dict[str, Column] = {}
    for short, name in (("pt", "pt"), ("phi", "phi"), ("eta", "eta"), ("m", ""), ("e", "energy")):
        for key in keys:
            columns[f"{key}_{short}"] = Value(key, name) if name else Mass(key)
    columns["met_et"], columns["met_phi"] = Value("met", "pt"), Value("met", "phi")
    columns["m_ll"], columns["m_qq"] = Mass("ll"), Mass("qq")
    columns["pt_ll"], columns["pt_qq"] = Value("ll", "pt"), Value("qq", "pt")
    columns["d_phi_ll"] = SignedDeltaPhi("l0", "l1")
    columns["d_phi_qq"] = SignedDeltaPhi("q0", "q1")
    for key in LEPTONS.keys:
        columns[f"{key}_id_e-"] = IsId(key, (11,), absolute=False)
        columns[f"{key}_id_e+"] = IsId(key, (-11,), absolute=False)
    for key in JETS.keys:
        columns[f"{key}_id_dq"] = IsId(key, (1, 3, 5), absolute=True)
        columns[f"{key}_id_uq"] = IsId(key, (2, 4), absolute=True)
    return columns
