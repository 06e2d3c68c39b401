"""Read the weights of NanoAOD files, in which a branch may have several weights for each event.

``LHEReweightingWeight``, ``LHEScaleWeight``, ``LHEPdfWeight`` and ``PSWeight`` have several numbers
for each event.  CMS divides these numbers, and the named weights ``LHEWeight_…``, by the weight of
the event.  The title of a branch may describe its numbers: ``"LHE scale variation weights (w_var /
w_nominal); [0] is muR=0.5 muF=0.5; [1] is …"``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Set
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import SampleError
from milinfer.typing import FloatArray, IntArray

__all__ = [
    "ORIGINAL",
    "WEIGHT",
    "WeightEntry",
    "are_relative",
    "entry_description",
    "is_weight_vector",
    "may_be_at_points",
    "meaning",
    "objects_hint",
    "vector_weights",
    "weights_of_file",
]

WEIGHT: Final = "LHEWeight_"
ORIGINAL: Final = "originalXWGTUP"
"""The weight of the event in the LHE file, which only NanoAOD has in addition to ``genWeight``."""

_VECTOR: Final = re.compile(r"(LHE|PS)[A-Za-z0-9]*Weight[A-Za-z0-9]*")
_ENTRY: Final = re.compile(r"(.+)\[(\d+)\]")
_LISTED: Final = re.compile(r"\[(\d+)\] is ")
_MEANINGS: Final = {
    "LHEReweightingWeight": "other parameter points",
    "LHEScaleWeight": "renormalisation and factorisation scales",
    "LHEPdfWeight": "members of a PDF set",
    "PSWeight": "scales of the parton shower",
}


class WeightEntry(NamedTuple):
    """One of the weights in a branch with several weights for each event.

    Examples
    --------
    >>> str(WeightEntry("LHEPdfWeight", 3)), WeightEntry.parse("LHEPdfWeight[3]")
    ('LHEPdfWeight[3]', WeightEntry(branch='LHEPdfWeight', position=3))
    >>> WeightEntry.parse("c_HW=0.5") is None
    True
    """

    branch: str
    position: int

    def __str__(self) -> str:
        return f"{self.branch}[{self.position}]"

    @classmethod
    def parse(cls, name: str) -> WeightEntry | None:
        """Read the text that ``str`` writes; return None for any other text."""
        match = _ENTRY.fullmatch(name)
        if match is None or not is_weight_vector(match[1]):
            return None
        return cls(match[1], int(match[2]))


def is_weight_vector(name: str) -> bool:
    """Tell whether a branch of this name has several relative weights for each event in NanoAOD.

    A relative weight is the weight divided by the weight of the event.

    Examples
    --------
    >>> is_weight_vector("LHEReweightingWeight"), is_weight_vector("Muon_pt")
    (True, False)
    """
    return _VECTOR.fullmatch(name) is not None


def are_relative(names: Collection[str]) -> bool:
    """Tell whether the weights ``LHEWeight_…`` are divided by the event weight, as CMS does.

    Parameters
    ----------
    names
        Names of the branches ``LHEWeight_…``, without ``LHEWeight_``.
    """
    return ORIGINAL in names


def entry_description(title: str, position: int) -> str:
    """Return the part of the title of a branch that describes one of its numbers.

    If the title does not describe single numbers, the whole title is returned.  A title that
    contains only the type of the branch counts as empty.

    Examples
    --------
    >>> entry_description("weights (w_var / w_nominal); [0] is ISR=2 ; [1] is FSR=2", 1)
    'FSR=2'
    >>> entry_description("for LHA IDs 306000 - 306102", 1)
    'for LHA IDs 306000 - 306102'
    >>> entry_description("LHEPdfWeight[nLHEPdfWeight]/F", 1)
    ''
    """
    # Text before the first entry, and then number and text of each entry.
    _, *parts = _LISTED.split(title)
    listed = {int(n): text.strip(" ;\n") for n, text in zip(parts[::2], parts[1::2], strict=True)}
    if listed:
        return listed.get(position, "")
    return _stripped(title)


def _stripped(title: str) -> str:
    """Title of a branch; empty if uproot or ROOT wrote only the type because there was no title."""
    return "" if re.fullmatch(r"\w+(\[\w+\])?/\w", title) else title.strip()


def may_be_at_points(identity: str) -> bool:
    """Tell by the branch of a weight whether it may be a weight at another parameter point.

    Examples
    --------
    >>> may_be_at_points("LHEReweightingWeight[0]"), may_be_at_points("LHEPdfWeight[0]")
    (True, False)
    """
    entry = WeightEntry.parse(identity)
    branch = identity if entry is None else entry.branch
    return branch == "LHEReweightingWeight" or branch not in _MEANINGS


def meaning(branch: str, title: str) -> str:
    """Describe the weights of a branch by its title, or in a few words if it has no title.

    Examples
    --------
    >>> meaning("PSWeight", "dummy PS weight (1.0) ")
    'dummy PS weight (1.0)'
    >>> meaning("LHEReweightingWeight", "")
    'other parameter points'
    """
    return _stripped(title) or _MEANINGS.get(branch, "weights of the generator")


def vector_weights(
    branch: str,
    lengths: IntArray | None,
    values: NDArray[Any],
    n: int,
    *,
    source: str,
    numbers: IntArray,
) -> FloatArray:
    """Arrange the numbers of a branch in one row for each event, shape (n_events, n).

    Parameters
    ----------
    branch
        Name of the branch.
    lengths
        Length of the list of each event; None if the branch has one number for each event.
    values
        All numbers of all events.
    n
        Length that every list must have.
    source, numbers
        File, and number of each event in the file, for messages.

    Raises
    ------
    SampleError
        If an event has more or fewer than `n` values, or if values are not numbers.

    Examples
    --------
    >>> vector_weights("PSWeight", np.array([2, 2]), np.arange(4.0), 2, source="a.root",
    ...                numbers=np.arange(2))
    array([[0., 1.],
           [2., 3.]])
    """
    if lengths is None or values.dtype.kind not in "fiu":
        msg = f"{source}: {branch} is not a list of numbers for each event; produce the file again"
        raise SampleError(msg)
    wrong = lengths != n
    if wrong.any():
        k = int(np.argmax(wrong))
        msg = (
            f"{source}: event {numbers[k]} (counted from 0) has {lengths[k]} numbers in {branch}, "
            f"but other events have {n}; select events with the same weights, or omit the weights "
            "at other points"
        )
        raise SampleError(msg)
    return np.asarray(values, dtype=np.float64).reshape(len(lengths), n)


def weights_of_file(
    names: Iterable[str], vectors: Mapping[str, int | None]
) -> tuple[dict[str, str], frozenset[str]]:
    """List the weights in a file of another program, and tell which are relative.

    A relative weight is the weight divided by the weight of the event.

    Parameters
    ----------
    names
        Branches of the file.
    vectors
        For each branch for which :func:`is_weight_vector` is true, the number of weights of an
        event; None if the branch has no lists.

    Returns
    -------
    tuple
        Two items: a mapping from branch (and position, ``PSWeight[0]``) to the id of the weight;
        and the set of the weights that are relative.

    Examples
    --------
    >>> weights_of_file(["genWeight", "LHEWeight_sm", "LHEWeight_originalXWGTUP"], {"PSWeight": 1})
    ({'LHEWeight_sm': 'sm', 'PSWeight[0]': 'PSWeight[0]'}, frozenset({...}))
    """
    named = {name: name.removeprefix(WEIGHT) for name in names if name.startswith(WEIGHT)}
    entries = [
        entry
        for name, n in vectors.items()
        for entry in ([name] if n is None else [str(WeightEntry(name, i)) for i in range(n)])
    ]
    relative = set(entries)
    if are_relative(named.values()):
        named = {name: key for name, key in named.items() if key != ORIGINAL}
        relative |= named.keys()
    return {**named, **{name: name for name in entries}}, frozenset(relative)


def objects_hint(names: Set[str]) -> str:
    """Advice for a file of reconstructed objects; empty for other files.

    Parameters
    ----------
    names
        Branches of NanoAOD of CMS, or of PHYSLITE of ATLAS.

    Examples
    --------
    >>> print(objects_hint({"nMuon", "Muon_pt"}))
    compute features of its reconstructed objects with milinfer.run_features(..., objects=...), ...
    >>> objects_hint({"x"})
    ''
    """
    schema = ""
    if any(name.startswith("AnalysisElectronsAuxDyn") for name in names):
        schema = ', schema=coffea.nanoevents.PHYSLITESchema, treename="CollectionTree"'
    elif not names & {"Electron_pt", "Muon_pt", "Jet_pt", "ScoutingPFJet_pt"}:
        return ""
    return (
        "compute features of its reconstructed objects with milinfer.run_features(..., "
        f"objects=...{schema}), where objects is a function of the events that returns leptons, "
        "jets and the missing momentum, or with milinfer.FeatureProcessor in a job of coffea's"
    )
