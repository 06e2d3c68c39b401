"""LHE files: read them with every check, write them without loss."""

from milinfer.lhe.event_columns import EventColumns
from milinfer.lhe.info import LHEInfo, LHEProcess, LHEWeight
from milinfer.lhe.limits import Limits
from milinfer.lhe.reading import LHEFile, LHEReader, iterate, read, read_info
from milinfer.lhe.record import flatten_events, make_events
from milinfer.lhe.writing import LHEWriter, write

__all__ = [
    "EventColumns",
    "LHEFile",
    "LHEInfo",
    "LHEProcess",
    "LHEReader",
    "LHEWeight",
    "LHEWriter",
    "Limits",
    "flatten_events",
    "iterate",
    "make_events",
    "read",
    "read_info",
    "write",
]
