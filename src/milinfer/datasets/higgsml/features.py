"""Compute the features of FAIR Universe HiggsML events: measured and derived features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from milinfer.datasets.higgsml.events import HiggsEvents
from milinfer.exceptions import FeatureError
from milinfer.typing import BoolArray, Float32Array, FloatArray
from milinfer.utils.keywords import did_you_mean

__all__ = ["DERIVED", "FEATURES", "derived", "feature_matrix", "wrapped_azimuth"]

_OF_TWO_JETS = (
    "DER_deltaeta_jet_jet",
    "DER_mass_jet_jet",
    "DER_prodeta_jet_jet",
    "DER_lep_eta_centrality",
)

DERIVED = (
    "DER_mass_transverse_met_lep",
    "DER_mass_vis",
    "DER_pt_h",
    "DER_deltar_had_lep",
    "DER_pt_tot",
    "DER_sum_pt",
    "DER_pt_ratio_lep_had",
    "DER_met_phi_centrality",
    *_OF_TWO_JETS,
)
"""Derived features of the challenge; the last four need two jets."""

_MEASURED = (
    "PRI_lep_pt",
    "PRI_lep_eta",
    "PRI_had_pt",
    "PRI_had_eta",
    "PRI_met",
    "PRI_n_jets",
    "PRI_jet_all_pt",
)
_OF_JET = ("pt", "eta", "dphi")
_JETS = ("leading", "subleading")

FEATURES = (
    *_MEASURED,
    "dphi_had",
    "dphi_met",
    *DERIVED,
    *(name for jet in _JETS for name in (f"has_{jet}", *(f"jet_{jet}_{p}" for p in _OF_JET))),
)
"""Columns of :func:`feature_matrix`."""

# Smallest azimuth between lepton and hadronic τ: at zero the centrality is not defined.
_EPSILON = 1e-4


def derived(events: HiggsEvents) -> dict[str, FloatArray]:
    """Compute the derived features: a mapping from their names to arrays of shape (n_events,).

    A feature is NaN for events that do not have the jets from which it is computed.

    Examples
    --------
    >>> from milinfer.datasets.higgsml.generator import generate
    >>> events = generate(50, seed=1)
    >>> mass = derived(events)["DER_mass_jet_jet"]
    >>> bool(np.array_equal(np.isfinite(mass), events.has_jet("subleading")))
    True
    """
    c = _double(events)
    lep, had = (_momentum(c, particle) for particle in ("lep", "had"))
    present = {jet: events.has_jet(jet) for jet in _JETS}
    jets = {
        jet: np.where(present[jet], _momentum(c, f"jet_{jet}", present[jet]), 0.0) for jet in _JETS
    }
    met = c["PRI_met"] * np.stack([np.cos(c["PRI_met_phi"]), np.sin(c["PRI_met_phi"])])
    two = present["subleading"]
    eta_1, eta_2 = (c[f"PRI_jet_{jet}_eta"] for jet in _JETS)
    visible = had[1:3] + lep[1:3] + met
    transverse = (c["PRI_met"] + c["PRI_lep_pt"]) ** 2 - np.sum((met + lep[1:3]) ** 2, axis=0)
    d_eta = c["PRI_lep_eta"] - c["PRI_had_eta"]
    d_phi = wrapped_azimuth(c["PRI_lep_phi"] - c["PRI_had_phi"])
    # Two jets at the same η: the centrality is that of jets which are close to each other.
    gap = np.maximum((eta_1 - eta_2) ** 2, _EPSILON)
    out = {
        "DER_mass_transverse_met_lep": np.sqrt(np.maximum(transverse, 0)),
        "DER_mass_vis": _mass(lep + had),
        "DER_pt_h": np.hypot(*visible),
        "DER_deltar_had_lep": np.hypot(d_eta, d_phi),
        "DER_pt_tot": np.hypot(*(visible + jets["leading"][1:3] + jets["subleading"][1:3])),
        "DER_sum_pt": c["PRI_had_pt"] + c["PRI_lep_pt"] + c["PRI_jet_all_pt"],
        "DER_pt_ratio_lep_had": c["PRI_lep_pt"] / c["PRI_had_pt"],
        "DER_met_phi_centrality": _met_centrality(c),
        "DER_deltaeta_jet_jet": np.abs(eta_1 - eta_2),
        "DER_mass_jet_jet": _mass(jets["leading"] + jets["subleading"]),
        "DER_prodeta_jet_jet": eta_1 * eta_2,
        "DER_lep_eta_centrality": np.exp(-4 / gap * (c["PRI_lep_eta"] - (eta_1 + eta_2) / 2) ** 2),
    }
    return {n: np.where(two, v, np.nan) if n in _OF_TWO_JETS else v for n, v in out.items()}


def feature_matrix(events: HiggsEvents, features: Sequence[str] = FEATURES) -> Float32Array:
    """Compute features for networks and trees, shape (n_events, n_features).

    Azimuths are relative to the azimuth of the lepton, because physics does not depend on absolute
    azimuths.  ``has_leading`` and ``has_subleading`` are 1 if the event has this jet, and 0 if not.
    All features of a jet are 0 if the event does not have the jet.

    Parameters
    ----------
    events
        The events, after the selection.
    features
        Some of :data:`FEATURES`.

    Raises
    ------
    FeatureError
        If a feature is unknown.

    Examples
    --------
    >>> from milinfer.datasets.higgsml.generator import generate
    >>> feature_matrix(generate(50, seed=1)).shape == (200, len(FEATURES))
    True
    """
    unknown = [name for name in features if name not in FEATURES]
    if unknown:
        msg = f"{unknown[0]!r} is not a feature of these events; choose from higgsml.FEATURES"
        raise FeatureError(msg + did_you_mean(unknown[0], FEATURES))
    c = _double(events)
    columns = {name: c[name] for name in _MEASURED}
    for short, name in (("had", "PRI_had_phi"), ("met", "PRI_met_phi")):
        columns[f"dphi_{short}"] = wrapped_azimuth(c[name] - c["PRI_lep_phi"])
    columns |= {name: np.nan_to_num(values) for name, values in derived(events).items()}
    for jet in _JETS:
        present = events.has_jet(jet)
        phi = wrapped_azimuth(c[f"PRI_jet_{jet}_phi"] - c["PRI_lep_phi"])
        of_jet = (c[f"PRI_jet_{jet}_pt"], c[f"PRI_jet_{jet}_eta"], phi)
        columns[f"has_{jet}"] = present.astype(np.float64)
        for part, values in zip(_OF_JET, of_jet, strict=True):
            columns[f"jet_{jet}_{part}"] = np.where(present, values, 0.0)
    return np.stack([columns[name] for name in features], axis=1).astype(np.float32)


def _double(events: HiggsEvents) -> dict[str, FloatArray]:
    """Measured columns in double precision, which masses of light pairs need."""
    return {name: values.astype(np.float64) for name, values in events.columns.items()}


def _momentum(
    c: dict[str, FloatArray], particle: str, present: BoolArray | None = None
) -> FloatArray:
    """Energy and momentum of a massless particle, shape (4, n_events)."""
    pt, eta, phi = (c[f"PRI_{particle}_{part}"] for part in ("pt", "eta", "phi"))
    if present is not None:  # sinh of the placeholder for a missing η is huge
        eta = np.where(present, eta, 0.0)
    unit = np.stack([np.cosh(eta), np.cos(phi), np.sin(phi), np.sinh(eta)])
    return np.asarray(pt * unit, dtype=np.float64)


def _mass(momentum: FloatArray) -> FloatArray:
    squared = momentum[0] ** 2 - np.sum(momentum[1:] ** 2, axis=0)
    return np.asarray(np.sqrt(np.maximum(squared, 0)), dtype=np.float64)


def wrapped_azimuth(difference: FloatArray) -> FloatArray:
    """Add multiples of 2π to an angle, or a difference of angles, so that it is in [−π, π)."""
    return np.asarray((difference + np.pi) % (2 * np.pi) - np.pi, dtype=np.float64)


def _met_centrality(c: dict[str, FloatArray]) -> FloatArray:
    """Whether the missing momentum lies between lepton (+) and τ, from −√2 to √2."""
    met, lep, had = (c[f"PRI_{name}_phi"] for name in ("met", "lep", "had"))
    lep = np.where(np.sin(had - lep) == 0, lep + _EPSILON, lep)
    side = np.sign(np.sin(had - lep))
    of_lep, of_had = np.sin(met - lep) * side, np.sin(had - met) * side
    return np.asarray((of_lep + of_had) / np.hypot(of_lep, of_had), dtype=np.float64)
