"""Read LHE files with thorough checks, and write event records without loss."""

from milinfer.io.event_record.info import LHEInfo, LHEProcess, LHEWeight
from milinfer.io.event_record.record import EventColumns, flatten_events, make_events
from milinfer.io.lhe.header import Limits
from milinfer.io.lhe.reading import LHEFile, LHEReader, iterate, read, read_info
from milinfer.io.lhe.writing import LHEWriter, write

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
