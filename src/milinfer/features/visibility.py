"""Tell which final-state particles of a generator escape a detector, by their PDG ids.

Visible particles are: particles with charge or colour, hadrons, photons, and undecayed W, Z and
Higgs bosons.  Invisible particles are: neutrinos (also of a fourth generation, right-handed and
Kaluza-Klein neutrinos), gravitons, the dark-matter particles 51, 52 and 53, and superpartners
without charge and colour (neutralinos, sneutrinos, the gravitino).  For all other ids the
visibility is unknown, and ``invisible=`` or ``visible=`` of a :class:`~milinfer.FeatureSet` must
list them.
"""

from __future__ import annotations

from collections.abc import Collection as Ids
from typing import Final

import numpy as np
from numpy.typing import NDArray

from milinfer.typing import BoolArray, IntArray

__all__ = ["INVISIBLE", "UNKNOWN", "VISIBLE", "classify", "visibility"]

VISIBLE: Final = 0
INVISIBLE: Final = 1
UNKNOWN: Final = 2
_UNSEEN: Final = 3

_LEFT_RIGHT: Final = (9900012, 9900014, 9900016)  # right-handed neutrinos
_DARK_MATTER: Final = (51, 52, 53)  # of spin 0, 1/2 and 1; 54 and 55 are mediators, which decay
_GRAVITONS: Final = (39, 5000039)
_NEUTRINOS: Final = (12, 14, 16, 18)
_KALUZA_KLEIN: Final = (5000012, 5000014, 5000016, 6000012, 6000014, 6000016)
_GLUINO: Final = 1000021

# Ids of the Standard Model and of ordinary hadrons: the visibility is kept in a table after the
# first look-up, because events have millions of particles of a few kinds.
_TABLE: Final[NDArray[np.int8]] = np.full(10_000, _UNSEEN, dtype=np.int8)


def classify(pdg_id: int) -> int:
    """Return the visibility of a particle by its PDG id; the sign of the id does not matter.

    Returns
    -------
    int
        ``VISIBLE``, ``INVISIBLE`` or ``UNKNOWN``.

    Examples
    --------
    >>> [classify(i) for i in (211, 22, 12, 52, 1000022)]
    [0, 0, 1, 1, 1]
    >>> classify(9000005)
    2
    """
    number = abs(pdg_id)
    if number in (*_NEUTRINOS, *_DARK_MATTER, *_GRAVITONS, *_LEFT_RIGHT, *_KALUZA_KLEIN):
        return INVISIBLE
    # Imported here, because it takes a tenth of a second.
    from particle import PDGID

    identity = PDGID(number)
    standard = (
        identity.is_lepton
        or identity.is_quark
        or identity.is_diquark
        or identity.is_hadron  # of heavy coloured particles (R-hadrons), too
        or identity.is_nucleus
        or (identity.is_gauge_boson_or_higgs and number < 38)
    )
    if standard:
        # Hidden valleys (49xxxxx) have hadrons of their own, with or without charge.
        return UNKNOWN if 4_900_000 <= number < 5_000_000 else VISIBLE
    if identity.is_SUSY:
        if number == _GLUINO or identity.charge:
            return VISIBLE
        return INVISIBLE if identity.charge == 0 else UNKNOWN
    if identity.is_excited_quark_or_lepton and identity.charge:
        return VISIBLE
    return UNKNOWN


def visibility(ids: IntArray, invisible: Ids[int] = (), visible: Ids[int] = ()) -> NDArray[np.int8]:
    """Return the visibility of many particles; each kind of particle is classified once.

    Parameters
    ----------
    ids
        Absolute PDG ids, shape (n_particles,).
    invisible, visible
        Absolute PDG ids of particles that are invisible or visible, whatever :func:`classify` says.

    Returns
    -------
    ndarray
        ``VISIBLE``, ``INVISIBLE`` or ``UNKNOWN`` for each particle.

    Examples
    --------
    >>> visibility(np.array([11, 12, 9000005]), invisible={9000005}).tolist()
    [0, 1, 1]
    """
    states = _TABLE[np.minimum(ids, len(_TABLE) - 1)]
    unseen = states == _UNSEEN
    if unseen.any():
        kinds = np.unique(ids[unseen])
        answers = np.array([classify(int(kind)) for kind in kinds], dtype=np.int8)
        states[unseen] = answers[np.searchsorted(kinds, ids[unseen])]
        small = kinds < len(_TABLE) - 1  # the last entry stands for all larger ids
        _TABLE[kinds[small]] = answers[small]
    for named, state in ((visible, VISIBLE), (invisible, INVISIBLE)):
        if named:
            is_named: BoolArray = np.isin(ids, list(named))
            states[is_named] = state
    return states
