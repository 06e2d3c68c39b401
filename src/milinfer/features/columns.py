"""Define the columns of the standard feature sets, as functions of the leading objects of an event.

The invariant columns do not change if an event is rotated about the beam axis, or by half a turn
about a transverse axis, which exchanges the two protons.  A rotated event is as likely as the
original one.  A network with the 36 standard columns has to learn this symmetry from the events;
the invariant columns contain it.  They use the logarithms of momenta and masses, because
cross-sections fall like powers.  All columns can be pickled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from milinfer.features.objects import Collection, Objects, invariant_mass
from milinfer.typing import BoolArray, FloatArray

__all__ = [
    "Column",
    "IsId",
    "JETS",
    "LEPTONS",
    "Mass",
    "SignedDeltaPhi",
    "Value",
    "vbf_2l2j_columns",
    "vbf_2l2j_invariant_columns",
]


Column: TypeAlias = Callable[[Objects], Any]

LEPTONS = Collection("leptons", "l", 2, frozenset({11, 13, 15}))
JETS = Collection("jets", "q", 2, frozenset({1, 2, 3, 4, 5, 21}))


@dataclass(frozen=True)
class Value:
    """Column with a stored field or a kinematic quantity of one object."""

    name: str
    column: str

    def __call__(self, o: Objects) -> NDArray[Any]:
        """Return the values of the column, shape (n_events,)."""
        return o.get(self.name, self.column)


@dataclass(frozen=True)
class Mass:
    """Column with the invariant mass of an object; a negative mass (rounding) becomes zero."""

    name: str

    def __call__(self, o: Objects) -> FloatArray:
        """Return the values of the column in GeV, shape (n_events,)."""
        mass: FloatArray = np.maximum(o.get(self.name, "mass"), 0.0)
        return mass


@dataclass(frozen=True)
class IsId:
    """Column that is 1 if the PDG id of an object is one of the given ids, else 0."""

    name: str
    ids: tuple[int, ...]
    absolute: bool

    def __call__(self, o: Objects) -> BoolArray:
        """Return the values of the column, shape (n_events,)."""
        ids = o.get(self.name, "pdgId")
        ids = np.abs(ids) if self.absolute else ids
        matches: BoolArray = ids == self.ids[0]
        for other in self.ids[1:]:
            matches |= ids == other
        return matches


@dataclass(frozen=True)
class SignedDeltaPhi:
    """Column with φ_a − φ_b of two objects, in (−π, π], where a is the object with the larger η.

    If the two objects have the same η, a is the leading object.
    """

    first: str
    second: str

    def __call__(self, o: Objects) -> FloatArray:
        """Return the values of the column in radians, shape (n_events,)."""
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


_KEYS = (*LEPTONS.keys, *JETS.keys)
_SOFTEST = 1.0  # GeV; keeps the logarithm finite for quantities that may vanish


def _log(value: FloatArray) -> FloatArray:
    logarithm: FloatArray = np.log(np.maximum(value, 0.0) + _SOFTEST)
    return logarithm


def _side(o: Objects) -> FloatArray:
    """Hemisphere of the leading jet: +1 or −1."""
    side: FloatArray = np.where(o.get("q0", "eta") < 0, -1.0, 1.0)
    return side


def _phi(o: Objects, key: str) -> FloatArray:
    return o.get(key, "phi")


def _pt(o: Objects, key: str) -> FloatArray:
    return o.get(key, "pt")


@dataclass(frozen=True)
class LogPt:
    """Column with ln(pT/GeV + 1) of an object."""

    key: str

    def __call__(self, o: Objects) -> FloatArray:
        """Return the values of the column, shape (n_events,)."""
        return _log(_pt(o, self.key))


@dataclass(frozen=True)
class SidedEta:
    """Column with η of an object, positive on the side of the leading jet."""

    key: str

    def __call__(self, o: Objects) -> FloatArray:
        """Return the values of the column, shape (n_events,)."""
        eta: FloatArray = o.get(self.key, "eta") * _side(o)
        return eta


@dataclass(frozen=True)
class DeltaPhi:
    """Column with the cosine or the sine of φ_a − φ_b.

    The sine is multiplied by the side of the leading jet, because the half turn changes its sign.
    """

    first: str
    second: str
    function: Callable[[FloatArray], FloatArray]

    def __call__(self, o: Objects) -> FloatArray:
        """Return the values of the column, shape (n_events,)."""
        value = self.function(_phi(o, self.first) - _phi(o, self.second))
        return value * _side(o) if self.function is np.sin else value


@dataclass(frozen=True)
class LogMass:
    """Column with ln(m/GeV + 1) of two objects."""

    first: str
    second: str

    def __call__(self, o: Objects) -> FloatArray:
        """Return the values of the column, shape (n_events,)."""
        sums = (o.get(self.first, a) + o.get(self.second, a) for a in ("energy", "px", "py", "pz"))
        return _log(invariant_mass(*sums))


@dataclass(frozen=True)
class LogTransverseMass:
    """Column with ln(mT/GeV + 1) of an object and the missing momentum, both taken as massless."""

    key: str

    def __call__(self, o: Objects) -> FloatArray:
        """Return the values of the column, shape (n_events,)."""
        cosine = np.cos(_phi(o, self.key) - _phi(o, "met"))
        return _log(np.sqrt(2 * _pt(o, self.key) * _pt(o, "met") * (1 - cosine)))


def _log_mt_higgs(o: Objects) -> FloatArray:
    """Ln(mT/GeV + 1) of leptons and missing momentum together."""
    transverse_energy = np.sqrt(o.get("ll", "pt") ** 2 + np.maximum(o.get("ll", "mass"), 0) ** 2)
    recoil = np.hypot(*(o.get("ll", axis) + o.get("met", axis) for axis in ("px", "py")))
    squared = (transverse_energy + o.get("met", "pt")) ** 2 - recoil**2
    return _log(np.sqrt(np.maximum(squared, 0.0)))


def vbf_2l2j_invariant_columns() -> dict[str, Column]:
    """Make 50 columns of two leptons, two jets and missing momentum, in order.

    Examples
    --------
    >>> list(vbf_2l2j_invariant_columns())[:6]
    ['log_pt_l0', 'log_pt_l1', 'log_pt_q0', 'log_pt_q1', 'log_pt_met', 'sided_eta_l0']
    """
    columns: dict[str, Column] = {f"log_pt_{k}": LogPt(k) for k in (*_KEYS, "met")}
    columns |= {f"sided_eta_{k}": SidedEta(k) for k in _KEYS}
    for a, b in combinations((*_KEYS, "met"), 2):
        columns[f"cos_dphi_{a}_{b}"] = DeltaPhi(a, b, np.cos)
        columns[f"sin_dphi_{a}_{b}"] = DeltaPhi(a, b, np.sin)
    columns |= {f"log_m_{a}_{b}": LogMass(a, b) for a, b in combinations(_KEYS, 2)}
    columns |= {f"log_mt_{k}": LogTransverseMass(k) for k in _KEYS}
    columns["log_pt_ll"], columns["log_pt_qq"] = LogPt("ll"), LogPt("qq")
    columns["log_mt_higgs"] = _log_mt_higgs
    columns |= {k: v for k, v in vbf_2l2j_columns().items() if "_id_" in k}
    return columns
