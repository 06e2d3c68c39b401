"""Make the folders of ``published1`` beside this script, for test_published_format.

    PYTHONPATH=tests python tests/data/make_published1.py

They stand for likelihoods that others have published, so they are made once for each version of
the format and then kept.  The name of a kind in ``published_costs`` makes that folder alone:

    PYTHONPATH=tests python tests/data/make_published1.py histogram
"""

from __future__ import annotations

import sys
from pathlib import Path

import milinfer as mil
from milinfer.likelihood.published_reader import VERSION
from published_costs import COSTS

FOLDER = Path(__file__).parent / "published1"
# Every kind of term, function and correction.
KINDS = (
    "calibrated",
    "combined",
    "histogram",
    "log polynomials",
    "mixture in a box",
    "mixture of splines",
    "simulation error",
    "spline",
    "systematic, code 4",
    "systematic polynomials",
    "widened in two parameters",
)
# The reader of the first release, and that which knows for what a calibration was made.
READERS = ("combined", "calibrated")
WITHOUT_EVENTS = "log polynomials of many events"


def make(name: str) -> None:
    """Write one folder; the reader in it stays with those alone that have another."""
    folder = FOLDER / name.replace(",", "").replace(" ", "_")
    cost = COSTS[name]()
    mil.publish(cost, folder, title=name, events=name != WITHOUT_EVENTS)
    if name not in READERS:
        (folder / "read_likelihood.py").unlink()


if __name__ == "__main__":
    assert VERSION == 1, "the folders of another version have a place of their own"
    FOLDER.mkdir(exist_ok=True)
    for kind in sys.argv[1:] or (*KINDS, WITHOUT_EVENTS):
        make(kind)
