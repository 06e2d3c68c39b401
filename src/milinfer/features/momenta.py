"""Read the momenta of a varying number of particles in each event.

Momenta are scikit-hep vectors (from LHE files) or vectors of coffea's NanoEvents.  Their components
are Cartesian, or pT, η and φ. They are stored in a jagged array, or in one array for each leading
particle. :class:`Particles` reads all these forms, column by column, so that virtual arrays load
only the columns that are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import awkward as ak
import numpy as np
import vector
from numpy.typing import NDArray

from milinfer.exceptions import FeatureError
from milinfer.typing import AwkwardArray, BoolArray, FloatArray, IntArray
from milinfer.utils.display import shortened

__all__ = ["KINEMATICS", "Particles"]

vector.register_awkward()

# ``exact_``: the lossless momenta that ROOT files of milinfer have besides pT, η, φ of NanoAOD.
_AXES = {
    "px": ("exact_px", "px", "x"),
    "py": ("exact_py", "py", "y"),
    "pz": ("exact_pz", "pz", "z"),
    "pt": ("pt", "rho"),
    "eta": ("eta",),
    "phi": ("phi",),
    "mass": ("mass", "m", "M", "tau"),
    "energy": ("exact_energy", "energy", "E", "e", "t"),
}
KINEMATICS: Final = frozenset(_AXES)
"""Names of the kinematic quantities of a particle, stored or not."""

_MAX_PADDING = 32


class Particles:
    """Momenta of a varying number of particles in each event, read lazily column by column.

    Parameters
    ----------
    array
        Jagged or regular array of momentum records, of shape (n_events, var) or (n_events, k); or a
        sequence of k one-dimensional record arrays, each of shape (n_events,), with None if an
        event has no such particle.  The fields are px, py, pz or pt, eta, phi (in GeV and radians),
        and mass or energy (in GeV).  With pt, eta, phi both mass and energy may be missing; the
        particles are then taken as massless.
    name
        Name of the collection, for messages.

    Raises
    ------
    FeatureError
        If the array has no such fields.

    Examples
    --------
    >>> import awkward as ak
    >>> array = ak.Array([[{"pt": 20.0, "eta": 0.0, "phi": 0.0, "mass": 0.0}], []])
    >>> Particles(array, "jets").counts
    array([1, 0])
    """

    cartesian: bool
    has_directions: bool

    def __init__(self, array: AwkwardArray | Sequence[AwkwardArray], name: str) -> None:
        jagged = _as_jagged(array, name)
        counts = np.asarray(ak.num(jagged, axis=1), dtype=np.int64)
        self._start(name, counts, set(ak.fields(jagged)), lambda field: _flat(jagged[field]))
        if not self.cartesian and not self.has_directions:
            if not isinstance(jagged, vector.Momentum):
                raise self._no_momenta()
            for axis in ("px", "py", "pz", "energy", "mass"):
                self._columns[axis] = _flat(getattr(jagged, axis))
            self.cartesian = True

    @classmethod
    def from_columns(
        cls, counts: IntArray, columns: Mapping[str, NDArray[Any]], name: str
    ) -> Particles:
        """Make particles from flat columns of shape (n_particles,), which are read when first used.

        Examples
        --------
        >>> columns = dict.fromkeys(["px", "py", "pz", "mass"], np.array([3.0, 4.0]))
        >>> Particles.from_columns(np.array([2, 0]), columns, "jets").transverse()[0]
        array([7., 0.])
        """
        particles = object.__new__(cls)
        particles._start(name, counts, set(columns), columns.__getitem__)
        if not particles.cartesian and not particles.has_directions:
            raise particles._no_momenta()
        return particles

    def _start(
        self, name: str, counts: IntArray, fields: set[str], load: Callable[[str], NDArray[Any]]
    ) -> None:
        self.name = name
        self.counts: IntArray = counts
        self._load = load
        self._index: IntArray | None = None
        self._columns: dict[str, NDArray[Any]] = {}
        self._finite: dict[str, bool] = {}
        self._names = {
            axis: next((n for n in names if n in fields), None) for axis, names in _AXES.items()
        }
        self._fields = fields
        stored = {axis for axis, name in self._names.items() if name is not None}
        self.cartesian = stored >= {"px", "py", "pz"} and bool(stored & {"mass", "energy"})
        self.has_directions = stored >= {"pt", "eta", "phi"}

    def _no_momenta(self) -> FeatureError:
        return FeatureError(
            f"{self.name} have the fields {shortened(sorted(self._fields), 20)}, which are not "
            "momenta; give px, py, pz and mass or energy, or pt, eta, phi and mass, in GeV"
        )

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def fields(self) -> set[str]:
        """Names of the fields that the particles have."""
        return self._fields

    @cached_property
    def offsets(self) -> IntArray:
        """Flat index of the first particle of each event, shape (n_events + 1,).

        The last entry is the number of particles.
        """
        return np.concatenate([[0], np.cumsum(self.counts)])

    def subset(self, mask: BoolArray, name: str) -> Particles:
        """Select particles by a flat mask of shape (n_particles,); columns are not copied."""
        other = object.__new__(Particles)
        other.__dict__.update(self.__dict__)
        offsets = self.offsets
        passed = np.concatenate([[0], np.cumsum(mask)])
        other.name = name
        other.__dict__.pop("offsets", None)
        other.counts = passed[offsets[1:]] - passed[offsets[:-1]]
        index = np.flatnonzero(mask)
        other._index = index if self._index is None else self._index[index]
        return other

    def events(self, kept: BoolArray) -> Particles:
        """Select the particles of some events, by a mask of shape (n_events,)."""
        other = self.subset(np.repeat(kept, self.counts), self.name)
        other.counts = self.counts[kept]
        return other

    def at(self, index: IntArray) -> tuple[Particles, IntArray]:
        """Return the particles before any selection, and the index converted to these particles."""
        if self._index is None:
            return self, np.ascontiguousarray(index)
        everything = object.__new__(Particles)
        everything.__dict__.update(self.__dict__)
        everything._index = None
        return everything, self._index[index]

    def has(self, axis: str) -> bool:
        """Tell whether a field or coordinate is stored."""
        return axis in self._columns or self._names.get(axis) is not None or axis in self._fields

    def column(self, axis: str, index: IntArray | None = None) -> NDArray[Any]:
        """Return one stored field of the particles by flat index, shape (n_particles,).

        Raises
        ------
        FeatureError
            If there is no such field.
        """
        column = self._full_column(axis)
        if self._index is not None:
            index = self._index if index is None else self._index[index]
        return column if index is None else column[index]

    def _full_column(self, axis: str) -> NDArray[Any]:
        """One field of all particles from which these were selected."""
        if axis not in self._columns:
            stored = self._names.get(axis) or axis
            if stored not in self._fields:
                msg = (
                    f"{self.name} have no field {axis!r}; they have "
                    f"{shortened(sorted(self._fields), 20)}: add it with awkward.with_field, or "
                    "omit the columns that need it (.select; the feature sets *_reco need no "
                    "flavour of jets)"
                )
                raise FeatureError(msg)
            column = self._load(stored)
            self._columns[axis] = np.asarray(column, np.float64) if axis in _AXES else column
        return self._columns[axis]

    def pt(self) -> FloatArray:
        """Transverse momenta in GeV, of shape (n_particles,)."""
        if self.cartesian:
            px, py = self.column("px"), self.column("py")
            transverse: FloatArray = np.sqrt(px * px + py * py)
            return transverse
        return self.column("pt")

    def transverse(self) -> tuple[FloatArray, FloatArray]:
        """Sum px and py over the particles of each event.  Both sums have the shape (n_events,)."""
        if self.cartesian:
            px, py = self.column("px"), self.column("py")
        else:
            pt, phi = self.column("pt"), self.column("phi")
            px, py = pt * np.cos(phi), pt * np.sin(phi)
        return self.sums(px), self.sums(py)

    def sums(self, column: FloatArray) -> FloatArray:
        """Sum a flat column of shape (n_particles,) over each event: shape (n_events,)."""
        total = np.zeros(len(self))
        filled = self.counts > 0
        if filled.any():
            total[filled] = np.add.reduceat(column, self.offsets[:-1][filled])
        return total

    def leading(self, count: int) -> IntArray:
        """Find the flat indices of the particles of highest pT, of shape (n_events, count).

        Every event must have at least ``count`` particles.
        """
        pt, starts = self.pt(), self.offsets[:-1]
        most = int(self.counts.max(initial=0))
        if count == 0 or not len(self):
            return np.zeros((len(self), count), dtype=np.int64)
        if most > _MAX_PADDING:
            event = np.repeat(np.arange(len(self)), self.counts)
            order = np.lexsort((-pt, event))
            return np.stack([order[starts + i] for i in range(count)], axis=1)
        if (self.counts == most).all():
            padded = -pt.reshape(len(self), most)
        else:
            padded = np.full((len(self), most), np.inf)
            padded[np.arange(most) < self.counts[:, None]] = -pt
        if most == 2:
            first = (padded[:, 1] < padded[:, 0]).astype(np.int64)
            rank = np.stack([first, 1 - first], axis=1)[:, :count]
        else:
            rank = np.argsort(padded, axis=1, kind="stable")[:, :count]
        indices: IntArray = starts[:, None] + rank
        return indices

    def _all_finite(self, axis: str) -> bool:
        """Whether a column is finite for all particles from which these were selected."""
        if axis not in self._finite:
            self._finite[axis] = bool(np.isfinite(self._full_column(axis)).all())
        return self._finite[axis]

    def finite_events(self) -> BoolArray:
        """Mask of the events whose momenta are all finite, of shape (n_events,)."""
        axes = list(("px", "py", "pz") if self.cartesian else ("pt", "eta", "phi"))
        axes += [axis for axis in ("mass", "energy") if self.has(axis)][:1]
        if all(self._all_finite(axis) for axis in axes):
            return np.ones(len(self), dtype=np.bool_)
        total = self.column(axes[0]) * 0.0
        for axis in axes[1:]:
            total = total + self.column(axis) * 0.0
        good: BoolArray = np.isfinite(self.sums(total))
        return good

    def vectors(self, index: IntArray) -> AwkwardArray:
        """Return the particles at the flat indices `index` as ``Momentum4D`` vectors.

        The result has the shape of `index`.  A stored mass is used unchanged, and the energy is
        computed from it, so that rounding in a file does not give a mass to massless particles.
        """
        axes = ("px", "py", "pz") if self.cartesian else ("pt", "eta", "phi")
        fields = {axis: self.column(axis, index) for axis in axes}
        temporal = next((axis for axis in ("mass", "energy") if self.has(axis)), None)
        fields[temporal or "mass"] = self.column(temporal, index) if temporal else index * 0.0
        return ak.zip(fields, with_name="Momentum4D")


def _flat(array: AwkwardArray) -> NDArray[Any]:
    return np.asarray(ak.to_numpy(ak.flatten(array, axis=1)))


def _as_jagged(array: AwkwardArray | Sequence[AwkwardArray], name: str) -> AwkwardArray:
    """Convert any accepted shape to a jagged array without missing values."""
    if isinstance(array, tuple | list):
        shared = [f for f in ak.fields(array[0]) if all(f in ak.fields(part) for part in array)]
        parts = [ak.singletons(part[shared]) for part in array]
        array = ak.concatenate(parts, axis=1)
    if not isinstance(array, ak.Array) or not ak.fields(array):
        msg = (
            f"{name} must be an awkward array of momenta for each event or a tuple of such "
            f"arrays, not {type(array).__name__}"
        )
        raise FeatureError(msg)
    if array.ndim == 1:
        msg = f"{name} have one entry for each event; give a jagged array, or a tuple (first, …)"
        raise FeatureError(msg)
    array = ak.from_regular(array, axis=1)
    kind = str(array.type)
    if "?" in kind or "option[" in kind:
        array = ak.fill_none(ak.drop_none(array, axis=1), [], axis=0)
    return array
