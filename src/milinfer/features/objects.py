"""Provide the leading objects of events as scikit-hep vectors, from which features are computed.

Functions that compute features get the leading leptons and jets of each event, and the missing
momentum, as an :class:`Objects`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
import vector
from numpy.typing import NDArray

from milinfer.exceptions import FeatureError
from milinfer.features.momenta import KINEMATICS, Particles
from milinfer.typing import AwkwardArray, FloatArray, IntArray

__all__ = ["MET_NAMES", "Collection", "Objects", "invariant_mass", "missing_momentum"]

MET_NAMES = ("MET", "PuppiMET", "PFMET")


@dataclass(frozen=True)
class Collection:
    """Kind of object from which features are computed, such as leptons or jets.

    Parameters
    ----------
    name
        Name of the collection, such as ``"leptons"``.
    prefix
        Prefix of the names of the leading objects: ``"l"`` for ``"l0"``, ``"l1"``, ….
    count
        Number of objects of this kind that every event must have.
    pdg_ids
        Absolute PDG ids of the generator particles in the collection.

    Examples
    --------
    >>> Collection("photons", "a", 2, frozenset({22})).keys
    ('a0', 'a1')
    """

    name: str
    prefix: str
    count: int
    pdg_ids: frozenset[int] = frozenset()

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the leading objects."""
        return tuple(f"{self.prefix}{i}" for i in range(self.count))


@dataclass
class Objects:
    """Leading objects of each event as vectors: the argument of functions that compute a column.

    For an argument ``o``, the leading leptons ``o.l0``, ``o.l1`` and jets ``o.q0``, ``o.q1``, … are
    scikit-hep ``Momentum4D`` arrays of shape (n_events,), ordered by decreasing pT.  ``o.ll`` is
    the sum of these leptons, ``o.qq`` is the sum of these jets, and ``o.met`` is the missing
    transverse momentum as ``Momentum2D``.  ``o.get("q0", "btag")`` returns any other stored field
    of an object.
    """

    particles: Mapping[str, Particles]
    index: Mapping[str, IntArray]
    missing: tuple[FloatArray, FloatArray]
    sums: Mapping[str, tuple[str, ...]]
    cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def __getattr__(self, name: str) -> AwkwardArray:
        if name.startswith("__") or "cache" not in self.__dict__:
            raise AttributeError(name)
        if name not in self.cache:
            self.cache[name] = self._make(name)
        return self.cache[name]

    def _make(self, name: str) -> AwkwardArray:
        if name == "met":
            return ak.zip({"px": self.missing[0], "py": self.missing[1]}, with_name="Momentum2D")
        if name in self.index:
            return self.particles[name].vectors(self.index[name])
        if name in self.sums:
            first, *others = (getattr(self, key) for key in self.sums[name])
            for other in others:
                first = first + other
            return first
        names = ", ".join([*self.index, *self.sums, "met"])
        msg = f"there is no object {name!r}; there are {names}"
        raise AttributeError(msg)

    def get(self, name: str, column: str) -> NDArray[Any]:
        """Return a stored field or a kinematic quantity of an object, shape (n_events,).

        ``px``, ``py``, ``pz``, ``pt``, ``eta``, ``phi``, ``mass`` and ``energy`` have the same
        values as the properties of the vectors, but are computed much faster.  They are also
        available for sums (``"ll"``) and the missing momentum (``"met"``).

        Raises
        ------
        FeatureError
            If the object has no such field.
        """
        key = f"{name}.{column}"
        if key not in self.cache:
            if column in KINEMATICS:
                with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                    self.cache[key] = self._kinematic(name, column)
            else:
                self.cache[key] = self.particles[name].column(column, self.index[name])
        values: NDArray[Any] = self.cache[key]
        return values

    def _kinematic(self, name: str, axis: str) -> FloatArray:
        """Compute the quantity of a vector in plain arrays; most of the time is spent here."""
        if name in self.index:
            particles, index = self.particles[name], self.index[name]
            spatial = ("px", "py", "pz") if particles.cartesian else ("pt", "eta", "phi")
            temporal = next((a for a in ("mass", "energy") if particles.has(a)), None)
            if axis in (*spatial, temporal):
                return particles.column(axis, index)
            if axis == "mass" and temporal is None:
                return np.zeros(len(index))
        elif name in self.sums:
            if axis in ("px", "py", "pz", "energy"):
                first, *others = (self.get(key, axis) for key in self.sums[name])
                return np.sum(others, axis=0) + first if others else first
        elif name != "met":
            return np.asarray(getattr(getattr(self, name), axis))
        elif axis in ("px", "py"):
            return self.missing[0 if axis == "px" else 1]

        def get(other: str) -> FloatArray:
            return self.get(name, other)

        result: FloatArray
        match axis:
            case "pt":
                result = np.sqrt(get("px") ** 2 + get("py") ** 2)
            case "phi":
                result = np.arctan2(get("py"), get("px"))
            case "eta":
                result = np.arcsinh(get("pz") / get("pt"))
                result[np.isnan(result)] = 0.0
            case "px":
                result = get("pt") * np.cos(get("phi"))
            case "py":
                result = get("pt") * np.sin(get("phi"))
            case "pz":
                result = get("pt") * np.sinh(get("eta"))
            case "energy":
                mass = get("mass")
                squared = np.copysign(mass**2, mass) + get("pt") ** 2 + get("pz") ** 2
                result = np.sqrt(np.maximum(squared, 0.0))
            case _:
                result = invariant_mass(*(get(a) for a in ("energy", "px", "py", "pz")))
        return result


def invariant_mass(
    energy: FloatArray, px: FloatArray, py: FloatArray, pz: FloatArray
) -> FloatArray:
    """Compute the invariant mass in GeV, shape (n_events,); negative for space-like momenta.

    Examples
    --------
    >>> invariant_mass(np.array([5.0, 3.0]), np.array([3.0, 5.0]), np.zeros(2), np.zeros(2))
    array([ 4., -4.])
    """
    squared = energy**2 - (px**2 + py**2 + pz**2)
    mass: FloatArray = np.copysign(np.sqrt(np.abs(squared)), squared)
    return mass


def missing_momentum(
    visible: Sequence[Particles], events_or_met: AwkwardArray | None, generator: Callable[..., Any]
) -> tuple[FloatArray, FloatArray]:
    """Return px and py of the missing transverse momentum in GeV, each of shape (n_events,).

    A record with ``pt``, ``phi`` or ``px``, ``py`` is used as it is.  From a record of the events,
    ``MET``, ``PuppiMET`` or ``PFMET`` is read; if there is none, the result is minus the sum of the
    visible particles of ``LHEPart``.  If no record is given, the result is minus the sum of the
    particles in `visible`.
    """
    if events_or_met is not None:
        fields = set(ak.fields(events_or_met))
        for name in MET_NAMES:
            if name in fields:
                return missing_momentum(visible, events_or_met[name], generator)
        if fields >= {"pt", "phi"}:
            pt, phi = (_column(events_or_met, name) for name in ("pt", "phi"))
            return pt * np.cos(phi), pt * np.sin(phi)
        for px, py in (("px", "py"), ("x", "y")):
            if fields >= {px, py}:
                return _column(events_or_met, px), _column(events_or_met, py)
        if isinstance(events_or_met, vector.Vector):
            return np.asarray(events_or_met.px), np.asarray(events_or_met.py)
        if "LHEPart" not in fields:
            msg = (
                f"the missing momentum has {', '.join(sorted(fields)) or 'no fields'}, not pt and "
                f"phi or px and py, and it is not a record of events with {', '.join(MET_NAMES)} "
                "or LHEPart; omit it to use minus the sum of the given momenta"
            )
            raise FeatureError(msg)
        visible = [generator(events_or_met["LHEPart"])]
    sums = [particles.transverse() for particles in visible]
    # 0 − Σ rather than −Σ, so that no −0.0 puts φ at −π
    return 0.0 - np.sum([s[0] for s in sums], axis=0), 0.0 - np.sum([s[1] for s in sums], axis=0)


def _column(array: AwkwardArray, name: str) -> FloatArray:
    return np.asarray(ak.to_numpy(array[name], allow_missing=False), dtype=np.float64)
