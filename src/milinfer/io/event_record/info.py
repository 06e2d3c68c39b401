"""Description of the run in an event file: beams, processes, weights, parameter point."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from milinfer.exceptions import LHEError
from milinfer.typing import Point
from milinfer.utils.files import parse_json

__all__ = ["LHEInfo", "LHEProcess", "LHEWeight", "point_from_json"]


def point_from_json(point: Any) -> dict[str, float]:
    """Check a parameter point that was read from JSON.

    Raises
    ------
    ValueError
        If the point is not a mapping from names to finite numbers.

    Examples
    --------
    >>> point_from_json({"c_HW": 1})
    {'c_HW': 1.0}
    >>> point_from_json({"c_HW": "big"})
    Traceback (most recent call last):
    ValueError: the point {'c_HW': 'big'} must map names to finite numbers
    """
    numbers = point.values() if isinstance(point, dict) else [None]
    if not all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in numbers
    ):
        msg = f"the point {point!r} must map names to finite numbers"
        raise ValueError(msg)
    return {name: float(value) for name, value in point.items()}


class LHEProcess(NamedTuple):
    """One process line of ``<init>`` as it is written; cross-sections in pb."""

    cross_section: float
    error: float
    max_weight: float
    process_id: int


class LHEWeight(NamedTuple):
    """One reweighting weight: its id in ``<rwgt>``, description and group in ``<initrwgt>``."""

    id: str
    description: str = ""
    group: str = ""


@dataclass(frozen=True)
class LHEInfo:
    """Header and ``<init>`` block of an LHE file.

    If a file does not contain this information, use :meth:`unknown`.

    Parameters
    ----------
    beams
        PDG ids of the two beams.
    energies
        Beam energies in GeV.
    pdf_groups, pdf_sets
        PDF group and set of each beam, as LHE defines them.
    weighting_strategy
        IDWTUP of the Les Houches accord (hep-ph/0109068), which defines the meaning of the weights;
        see :mod:`milinfer.samples.cross_sections`.
    processes
        One entry for each process line.
    weights
        The reweighting weights, in the order of the file.
    version
        LHE version.
    header
        Text inside ``<header>``, unchanged (``<initrwgt>`` excluded).
    process, point
        Process name and parameter point, if the file contains them.  Files written by milinfer
        do.

    Examples
    --------
    >>> info = LHEInfo(processes=(LHEProcess(1.5, 0.1, 1.0, 1), LHEProcess(0.5, 0.1, 1.0, 2)))
    >>> info.cross_section
    2.0
    """

    processes: tuple[LHEProcess, ...]
    beams: tuple[int, int] = (2212, 2212)
    energies: tuple[float, float] = (6500.0, 6500.0)
    pdf_groups: tuple[int, int] = (0, 0)
    pdf_sets: tuple[int, int] = (0, 0)
    weighting_strategy: int = 3
    weights: tuple[LHEWeight, ...] = ()
    version: str = "3.0"
    header: str = ""
    process: str | None = None
    point: Point | None = field(default=None)

    @classmethod
    def unknown(cls) -> LHEInfo:
        """Make a placeholder for files without a description of the run.

        Events with this placeholder cannot be written as LHE.

        Examples
        --------
        >>> LHEInfo.unknown().beams
        (0, 0)
        """
        return cls((), beams=(0, 0), energies=(0.0, 0.0))

    @property
    def cross_section(self) -> float:
        """Total cross-section in pb; NaN if the file does not give it.

        The file does not give it if the total is 0 or less, if the cross-section of a process is
        −1, or if IDWTUP is positive and the cross-section of a process is negative.

        Examples
        --------
        >>> LHEInfo(processes=(LHEProcess(-1.0, 0.0, 1.0, 1),)).cross_section
        nan
        """
        values = [p.cross_section for p in self.processes]
        total = math.fsum(values)
        may_be_negative = self.weighting_strategy < 0
        wrong = any(v == -1 or (v < 0 and not may_be_negative) for v in values)
        return math.nan if wrong or total <= 0 else total

    @property
    def cross_section_error(self) -> float:
        """Error of the total cross-section in pb, the quadratic sum of the errors of processes.

        It is NaN if the cross-section or the error of a process is not known.
        """
        errors = [p.error for p in self.processes]
        unknown = math.isnan(self.cross_section) or any(e < 0 for e in errors)
        return math.nan if unknown else math.hypot(*errors)

    def with_weights(self, ids: Collection[str]) -> LHEInfo:
        """Add an entry for each new weight id; descriptions and groups stay unchanged.

        If an existing id differs from a new id only by blanks at its beginning or end, the new id
        replaces the existing id.

        Examples
        --------
        >>> LHEInfo(processes=(), weights=(LHEWeight(" a", "up"),)).with_weights(["b", "a"]).weights
        (LHEWeight(id='a', description='up', group=''), LHEWeight(id='b', description='', group=''))
        """
        weights = {weight.id: weight for weight in self.weights}
        new_ids = [name for name in ids if name not in weights]
        if not new_ids:
            return self
        unused = weights.keys() - set(ids)
        padded = {name.strip(): name for name in weights if name in unused}
        renamed = {padded[name.strip()]: name for name in new_ids if name.strip() in padded}
        entries = [w._replace(id=renamed.get(w.id, w.id)) for w in self.weights]
        entries += [LHEWeight(name) for name in new_ids if name not in renamed.values()]
        return replace(self, weights=tuple(entries))

    def to_json(self) -> str:
        """Convert to a JSON text, from which :meth:`from_json` makes an equal object.

        Examples
        --------
        >>> info = LHEInfo(processes=(LHEProcess(1.5, 0.1, 1.0, 1),), point={"c_HW": 0.5})
        >>> LHEInfo.from_json(info.to_json()) == info
        True
        """
        content: dict[str, Any] = dict(self.__dict__)
        content["point"] = None if self.point is None else dict(self.point)
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> LHEInfo:
        """Make an :class:`LHEInfo` from the text of :meth:`to_json`.

        Raises
        ------
        LHEError
            If the text has not been written by :meth:`to_json`.
        """
        try:
            content = parse_json(text)
            for name, kind in (
                ("beams", int),
                ("energies", float),
                ("pdf_groups", int),
                ("pdf_sets", int),
            ):
                first, second = content[name]
                content[name] = (kind(first), kind(second))
            content["processes"] = tuple(
                LHEProcess(float(x), float(error), float(largest), int(number))
                for x, error, largest, number in content["processes"]
            )
            content["weights"] = tuple(
                LHEWeight(*map(_text, weight)) for weight in content["weights"]
            )
            for name in ("version", "header"):
                _text(content[name])
            if content["process"] is not None:
                _text(content["process"])
            if content["point"] is not None:
                content["point"] = point_from_json(content["point"])
            return cls(**content)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            msg = f"this is no description of an LHE file written by milinfer: {error!r}"
            raise LHEError(msg) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        msg = f"{value!r} is not a text"
        raise TypeError(msg)
    return value
