"""Generate events in the format of the HiggsML challenge, to test an analysis.

The events are no simulation of a collider: resonances are Gaussian, spins are ignored and jets
balance the boson.  Results from these events say nothing about the challenge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from milinfer.datasets.higgsml.events import COLUMNS, MISSING, PROCESSES, HiggsEvents
from milinfer.datasets.higgsml.features import wrapped_azimuth
from milinfer.typing import FloatArray, Seed

__all__ = ["EXPECTED", "generate"]

EXPECTED = {"htautau": 200.0, "ztautau": 800.0, "ttbar": 140.0, "diboson": 60.0}
"""Expected events of each process, before the selection."""


class _Process(NamedTuple):
    mass: float  # of the pair of leptons, in GeV
    width: float
    pt: float  # mean momentum of the pair
    jets: float  # mean number of further jets


_PROCESSES = {
    "htautau": _Process(125.0, 3.0, 55.0, 0.8),
    "ztautau": _Process(91.0, 4.0, 25.0, 0.3),
    "ttbar": _Process(140.0, 45.0, 70.0, 2.2),
    "diboson": _Process(110.0, 30.0, 45.0, 0.5),
}
# Limits of the files: momenta of both leptons and of jets in GeV, η of leptons, decimals.
_LEPTON_PT, _JET_PT, _LEPTON_ETA, _DECIMALS = 20.0, 20.0, 2.5, 3
_RESOLUTION = 10.0  # of the components of the missing momentum, in GeV


def generate(
    n_events: int, *, seed: Seed, expected: Mapping[str, float] | None = None
) -> HiggsEvents:
    """Generate events of all processes, in random order.

    Parameters
    ----------
    n_events
        Number of events of each process.
    seed
        Seed of the random numbers.
    expected
        Expected number of events of each process, which is the sum of its weights; default:
        :data:`EXPECTED`.

    Examples
    --------
    >>> events = generate(1000, seed=1)
    >>> len(events), round(float(events.of("htautau").weights.sum()))
    (4000, 200)
    """
    rng = np.random.default_rng(seed)
    yields = EXPECTED if expected is None else expected
    parts = [_columns(n_events, _PROCESSES[p], rng) for p in PROCESSES]
    order = rng.permutation(n_events * len(PROCESSES))
    joined = {n: np.concatenate([p[n] for p in parts])[order] for n in COLUMNS}
    return HiggsEvents(
        columns={name: values.astype(np.float32) for name, values in joined.items()},
        processes=np.repeat(np.arange(len(PROCESSES)), n_events)[order],
        weights=np.repeat([yields[p] / n_events for p in PROCESSES], n_events)[order],
        rows=np.arange(len(order)),
    )


def _columns(n_events: int, of: _Process, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Columns of one process, for events whose leptons pass the limits of the files."""
    kept: dict[str, list[FloatArray]] = {name: [] for name in COLUMNS}
    n_kept = 0
    while n_kept < n_events:
        columns = _proposed(2 * n_events, of, rng)
        visible = np.ones(2 * n_events, dtype=np.bool_)
        for particle in ("lep", "had"):
            visible &= columns[f"PRI_{particle}_pt"] > _LEPTON_PT
            visible &= np.abs(columns[f"PRI_{particle}_eta"]) < _LEPTON_ETA
        for name in COLUMNS:
            kept[name].append(columns[name][visible])
        n_kept += int(visible.sum())
    return {name: np.concatenate(parts)[:n_events] for name, parts in kept.items()}


def _proposed(n: int, of: _Process, rng: np.random.Generator) -> dict[str, FloatArray]:
    import vector

    mass = np.abs(rng.normal(of.mass, of.width, n)) + 20
    pair = vector.zip(
        {
            "pt": rng.exponential(of.pt, n),
            "eta": rng.normal(0, 2, n),
            "phi": rng.uniform(-np.pi, np.pi, n),
            "mass": mass,
        }
    )
    cosine, azimuth = rng.uniform(-1, 1, n), rng.uniform(-np.pi, np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    direction = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine])
    missing = np.zeros((2, n))
    columns: dict[str, FloatArray] = {}
    # A τ gives most of its momentum to the hadrons, and least to the lepton.
    for particle, sign, shape in (("lep", 1.0, (2.0, 3.0)), ("had", -1.0, (3.0, 2.0))):
        px, py, pz = sign * direction * mass / 2
        tau = vector.zip({"px": px, "py": py, "pz": pz, "E": mass / 2}).boost_p4(pair)
        share = rng.beta(*shape, n)
        columns |= {
            f"PRI_{particle}_pt": share * np.asarray(tau.pt),
            f"PRI_{particle}_eta": np.asarray(tau.eta),
            f"PRI_{particle}_phi": np.asarray(tau.phi),
        }
        missing += (1 - share) * np.stack([np.asarray(tau.px), np.asarray(tau.py)])
    missing += rng.normal(0, _RESOLUTION, (2, n))
    columns["PRI_met"] = np.hypot(*missing)
    columns["PRI_met_phi"] = np.arctan2(missing[1], missing[0])
    # The leading jet balances the pair, up to further ones.
    leading = np.asarray(pair.pt) * rng.uniform(0.6, 1.1, n)
    n_further = rng.poisson(of.jets, n)
    second = leading * rng.uniform(0.2, 1.0, n)
    present = {"leading": leading > _JET_PT}
    present["subleading"] = present["leading"] & (n_further > 0) & (second > _JET_PT)
    third = np.where(present["subleading"] & (n_further > 1), 0.9 * second, 0.0)
    third = np.where(third > _JET_PT, third, 0.0)
    total = third
    for jet, pt in (("leading", leading), ("subleading", second)):
        phi = np.asarray(pair.phi) + np.pi + rng.normal(0, 0.4, n)
        of_jet = {
            "pt": pt,
            "eta": rng.uniform(-4, 4, n),
            "phi": wrapped_azimuth(phi),
        }
        for part, values in of_jet.items():
            columns[f"PRI_jet_{jet}_{part}"] = np.where(present[jet], values, MISSING)
        total = total + pt * present[jet]
    columns["PRI_n_jets"] = (
        present["leading"].astype(np.float64) + present["subleading"] + (third > 0)
    )
    columns["PRI_jet_all_pt"] = total
    return {
        name: np.asarray(np.round(values, _DECIMALS), dtype=np.float64)
        for name, values in columns.items()
    }
