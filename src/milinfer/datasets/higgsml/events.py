"""Events of the FAIR Universe HiggsML data: columns, weights, processes, selection and shifts.

The challenge (arXiv:2410.02867) measures H → ττ with one lepton and one hadronic τ.  Three nuisance
parameters change the momenta: the energy scale of hadronic τ (``tes``), the energy scale of jets
(``jes``) and an additional soft missing momentum (``soft_met``).  Events are selected afterwards.
The shifts are implemented here from their definitions, and were compared with the package HiggsML
0.1.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from milinfer.exceptions import SampleError
from milinfer.typing import BoolArray, Float32Array, FloatArray, IntArray
from milinfer.utils.arguments import positive_number

__all__ = ["COLUMNS", "LUMINOSITY", "MISSING", "PROCESSES", "HiggsEvents", "shifted"]

PROCESSES = ("htautau", "ztautau", "ttbar", "diboson")
"""Values of ``detailed_labels``: the signal, and the backgrounds."""

LUMINOSITY = 10.0
"""Luminosity of the challenge in 1/fb; weights sum to the expected events at this luminosity."""

MISSING = -25.0
"""Value of pT, η and φ in the files for a jet that does not exist."""

_JETS = ("leading", "subleading")

COLUMNS = (
    *(f"PRI_{particle}_{part}" for particle in ("lep", "had") for part in ("pt", "eta", "phi")),
    *(f"PRI_jet_{jet}_{part}" for jet in _JETS for part in ("pt", "eta", "phi")),
    "PRI_n_jets",
    "PRI_jet_all_pt",
    "PRI_met",
    "PRI_met_phi",
)
"""Measured columns: momenta in GeV, and angles.  All other columns follow from them."""

# Thresholds of the selection in GeV: of hadronic τ, jets and leptons.
_HAD_PT, _JET_PT, _LEP_PT = 26.0, 26.0, 20.0
# Momenta and angles are rounded before the selection, as in the challenge.
_DECIMALS = 3


@dataclass(frozen=True, eq=False)
class HiggsEvents:
    """Events with the columns of the challenge.

    Parameters
    ----------
    columns
        The columns :data:`COLUMNS` by name, each of shape (n_events,).
    processes
        For each event, the position of its process in :data:`PROCESSES`, or −1 if the process is
        unknown, as in data; shape (n_events,).
    weights
        Expected number of events that each event represents, shape (n_events,).
    rows
        Number of each event in its file, shape (n_events,).

    Raises
    ------
    SampleError
        If a column is missing, or if an array does not have the length of `rows`.

    Examples
    --------
    >>> from milinfer.datasets.higgsml.generator import generate
    >>> events = generate(100, seed=1)
    >>> len(events), events.of("htautau").columns["PRI_met"].shape
    (400, (100,))
    """

    columns: Mapping[str, Float32Array]
    processes: IntArray
    weights: FloatArray
    rows: IntArray

    def __post_init__(self) -> None:
        n_events = len(self.rows)
        for name in COLUMNS:
            if name not in self.columns:
                msg = f"the events have no column {name}; give all of higgsml.COLUMNS"
                raise SampleError(msg)
        shapes = {name: values.shape for name, values in self.columns.items()}
        shapes |= {"processes": self.processes.shape, "weights": self.weights.shape}
        for name, shape in shapes.items():
            if shape != (n_events,):
                msg = f"{name} has the shape {shape} for {n_events} events"
                raise SampleError(msg)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: BoolArray | IntArray | slice) -> HiggsEvents:
        return HiggsEvents(
            {name: values[rows] for name, values in self.columns.items()},
            self.processes[rows],
            self.weights[rows],
            self.rows[rows],
        )

    def of(self, process: str) -> HiggsEvents:
        """Select the events of one process.

        Raises
        ------
        SampleError
            If `process` is not one of :data:`PROCESSES`, or if there are no events of the process.
        """
        if process not in PROCESSES:
            msg = f"{process!r} is not one of the processes {', '.join(PROCESSES)}"
            raise SampleError(msg)
        chosen = self[self.processes == PROCESSES.index(process)]
        if not len(chosen):
            msg = f"none of the {len(self)} events is of the process {process}; read more rows"
            raise SampleError(msg)
        return chosen

    def scaled_to(self, expected: float) -> HiggsEvents:
        """Return the same events, with weights scaled to a total number of expected events.

        Raises
        ------
        SampleError
            If the sum of the weights is not positive.
        ConfigurationError
            If `expected` is not positive.
        """
        total = float(self.weights.sum())
        if not total > 0:
            msg = (
                f"the weights of {len(self)} events sum to {total:g} and cannot be scaled; give "
                "events whose weights have a positive sum"
            )
            raise SampleError(msg)
        factor = positive_number(expected, "the number of expected events") / total
        return replace(self, weights=self.weights * factor)

    def has_jet(self, jet: str) -> BoolArray:
        """Tell for each event whether it has a ``"leading"`` or a ``"subleading"`` jet.

        The array has the shape (n_events,).  It comes from the pT of the jet, because
        ``PRI_n_jets`` can be wrong: if an event has three jets and the second is too soft, the
        selection of the challenge removes the second jet.  It then sets ``PRI_n_jets`` to two,
        although the third jet is even softer than the second.
        """
        present: BoolArray = self.columns[f"PRI_jet_{jet}_pt"] > 0
        return present


def shifted(
    events: HiggsEvents,
    *,
    tes: float = 1.0,
    jes: float = 1.0,
    soft_met: float = 0.0,
    noise: ArrayLike | None = None,
) -> HiggsEvents:
    """Shift momenta, compute the missing momentum again, and select events.

    Parameters
    ----------
    events
        Events without shift, as :func:`~milinfer.datasets.higgsml.reading.read_events` returns
        them.
    tes, jes
        Factors on the momenta of hadronic τ and of jets.
    soft_met
        Standard deviation in GeV of each component of the additional missing momentum.
    noise
        Two standard normal random numbers for each event, shape (2, n_events).  To compare two
        shifts with the same events, use the same numbers for both shifts.

    Returns
    -------
    HiggsEvents
        Events with pT(τ) ≥ 26 GeV and pT(ℓ) ≥ 20 GeV.  Leading and subleading jets with pT of at
        most 26 GeV are removed.

    Raises
    ------
    ConfigurationError
        If a factor is not positive.
    SampleError
        If there are not two random numbers for each event.

    Examples
    --------
    >>> from milinfer.datasets.higgsml.generator import generate
    >>> events = generate(100, seed=1)
    >>> up, nominal = shifted(events, tes=1.05), shifted(events)
    >>> len(up) > len(nominal)
    True
    """
    tes, jes = positive_number(tes, "tes"), positive_number(jes, "jes")
    columns = {name: np.array(events.columns[name], dtype=np.float64) for name in COLUMNS}
    met = _components(columns, "PRI_met", "PRI_met_phi")
    met -= (tes - 1) * _components(columns, "PRI_had_pt", "PRI_had_phi")
    columns["PRI_had_pt"] *= tes
    for jet in _JETS:
        pt, phi = f"PRI_jet_{jet}_pt", f"PRI_jet_{jet}_phi"
        present = events.has_jet(jet)
        met -= (jes - 1) * _components(columns, pt, phi) * present
        columns[pt] = np.where(present, jes * columns[pt], MISSING)
    columns["PRI_jet_all_pt"] *= jes
    if soft_met:
        numbers = np.asarray(noise if noise is not None else [], dtype=np.float64)
        if numbers.shape != (2, len(events)):
            msg = (
                f"noise= has the shape {numbers.shape}; soft_met needs two random numbers for each "
                f"event, shape (2, {len(events)})"
            )
            raise SampleError(msg)
        met += soft_met * numbers
    columns["PRI_met"] = np.hypot(*met)
    columns["PRI_met_phi"] = np.arctan2(met[1], met[0])
    columns = {name: np.round(values, _DECIMALS) for name, values in columns.items()}
    for jet in reversed(_JETS):
        _remove_soft(columns, jet)
    selected = (columns["PRI_had_pt"] >= _HAD_PT) & (columns["PRI_lep_pt"] >= _LEP_PT)
    single = {name: values.astype(np.float32) for name, values in columns.items()}
    return replace(events, columns=single)[selected]


def _components(columns: Mapping[str, FloatArray], pt: str, phi: str) -> FloatArray:
    """Transverse components of a momentum, shape (2, n_events)."""
    unit = np.stack([np.cos(columns[phi]), np.sin(columns[phi])])
    return np.asarray(columns[pt] * unit, dtype=np.float64)


def _remove_soft(columns: dict[str, FloatArray], jet: str) -> None:
    """Remove a jet below the threshold."""
    pt = columns[f"PRI_jet_{jet}_pt"]
    soft = (pt >= 0) & (pt <= _JET_PT)
    columns["PRI_jet_all_pt"] = columns["PRI_jet_all_pt"] - pt * soft
    columns["PRI_n_jets"] = columns["PRI_n_jets"] - soft
    for part in ("pt", "eta", "phi"):
        name = f"PRI_jet_{jet}_{part}"
        columns[name] = np.where(soft, MISSING, columns[name])
