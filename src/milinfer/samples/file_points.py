"""Find the parameter points of an event file and of the weights of its events.

A file states the points in several ways: milinfer's own block, the parameter card and the reweight
card of MadGraph, the descriptions of weights in ``<initrwgt>``, and the ids of weights.  The user
names the parameters, and may give any of the points.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from milinfer.exceptions import ParameterError
from milinfer.io.event_record.cards import (
    CardEntry,
    CardSetting,
    Launch,
    ParameterCard,
    other_change,
    parse_settings,
    plain_name,
    read_parameter_card,
    read_reweight_card,
)
from milinfer.io.event_record.info import LHEInfo
from milinfer.io.event_record.nanoaod import may_be_at_points
from milinfer.typing import Point
from milinfer.utils.arguments import short_repr
from milinfer.utils.display import shortened
from milinfer.utils.keywords import did_you_mean
from milinfer.utils.points import finite_point, format_point, parse_point

__all__ = [
    "POINT_NOTE",
    "WEIGHTS_NOTE",
    "FilePoints",
    "ParameterNames",
    "ReweightPoints",
    "file_points",
    "moved_parameters",
    "points_remedy",
    "resolve_point",
    "same_point",
    "with_notes",
]

POINT_NOTE: Final = "point"
"""Entry of the provenance of events whose file and user state no parameter point."""
_LONGEST: Final = 60  # characters of a name that a message shows
WEIGHTS_NOTE: Final = "weights without a point"
"""Entry of the provenance: ids of the weights without a parameter point, by the reason."""

ParameterNames = Mapping[str, str] | Sequence[str]
"""Names of parameters, or the place of each in the parameter card (``{"c_HW": "SMEFT 7"}``)."""

PointLike = Point | str
PointsById = Mapping[str, PointLike | Sequence[PointLike]] | Sequence[PointLike]
ReweightPoints = PointsById | PathLike[str]
"""Points by id of the weight (or lists by group), a list in the order of weights, or a card."""

_STATEMENT: Final = re.compile(r"\s*(?:set|change)\s", re.IGNORECASE)
_PLACE: Final = re.compile(r"\s*(\S+)((?:\s+[+-]?\d+)+)\s*")
_PREFIX: Final = re.compile(
    r"(?:eft)?rwgt\d*|eft|mg|madgraph|reweight(?:ing)?|weight|wgt|w|rw|scan|point", re.IGNORECASE
)
_VALUE: Final = re.compile(r"([+-]|m|p|min|minus)?(\d+(?:[p.]\d*)?|[p.]\d+)(?:e([+-]|m|p)?(\d+))?")
_NAME_OF_VALUE: Final = re.compile(r"(?<![\w-])([A-Za-z_]\w*)\s*=")
# What MadGraph, POWHEG and Sherpa call scales and parton densities in descriptions of weights.
_SCALES: Final = frozenset({
    "mur", "muf", "muq", "renscfact", "facscfact", "scale", "alpsfact", "dyn", "dyn_scale",
    "dyn_scale_choice", "lhapdf", "pdf", "pdf1", "pdf2", "pdfset", "memberid", "member",
})  # fmt: skip


class FilePoints(NamedTuple):
    """Points of a file.

    Parameters
    ----------
    point
        Parameter point of the events; None if it is unknown.
    reweight_points
        Mapping from the id of each weight with a known point to this point.
    without_point
        Mapping from the id of each weight without a point to the reason.
    """

    point: dict[str, float] | None
    reweight_points: dict[str, dict[str, float]]
    without_point: dict[str, str]

    @property
    def reasons(self) -> dict[str, list[str]]:
        """For each reason, the ids of the weights that have no point for this reason."""
        ids: dict[str, list[str]] = {}
        for identity, reason in self.without_point.items():
            ids.setdefault(reason, []).append(identity)
        return ids


def file_points(
    info: LHEInfo,
    weight_ids: Sequence[str],
    *,
    point: Point | None = None,
    parameters: ParameterNames | None = None,
    reweight_points: ReweightPoints | None = None,
    source: str = "the file",
) -> FilePoints:
    r"""Find the point of a file and of its weights.

    The point of a weight is looked for in this order: `reweight_points`, the description of the
    weight in ``<initrwgt>``, a reweight card in the header, the id of the weight.  A parameter that
    the description, card or id does not mention has the value at which the sample was generated.  A
    weight that also changes a parameter that is not in `parameters` has no point.

    Parameters
    ----------
    info
        Header of the file.
    weight_ids
        Ids of the weights that events carry.
    point
        Point of the events according to the user; default: the point that the file states.
    parameters
        Names of the parameters.  A mapping gives for each name its block and number in the
        parameter card (``"SMEFT 7"``), or the name that the card and the weights use.  Default: the
        parameters of `point`; if `point` is None, the parameters that the file states.
    reweight_points
        Points of weights, in one of four forms: (1) a mapping from the id of each weight to its
        point, which is a mapping or text; (2) a mapping from the name of each group of weights to a
        list of points; (3) a list of the points of all weights, in the order of the file; (4) the
        ``Path`` of MadGraph's reweight card, if the header does not contain the card.
    source
        Name of the file, for messages.

    Raises
    ------
    ParameterError
        If the points of user and file disagree, if a parameter is not in the card, or if
        `reweight_points` names a weight that does not exist.

    Examples
    --------
    >>> from milinfer.io.event_record.info import LHEInfo, LHEWeight
    >>> info = LHEInfo((), header="<slha>\nBlock SMEFT\n 7 0.1 # chw\n 8 0.0 # chb\n</slha>",
    ...     weights=(LHEWeight("rwgt_1", "set param_card SMEFT 7 0.5 # orig: 0.1"),
    ...              LHEWeight("rwgt_2", "set param_card SMEFT 8 1 # orig: 0.0"),
    ...              LHEWeight("cHW_m1p0", "")))
    >>> points = file_points(info, [w.id for w in info.weights], parameters={"c_HW": "SMEFT 7"})
    >>> points.point, points.reweight_points
    ({'c_HW': 0.1}, {'rwgt_1': {'c_HW': 0.5}, 'cHW_m1p0': {'c_HW': -1.0}})
    >>> points.without_point
    {'rwgt_2': 'it also changes SMEFT 8 (chb)'}
    """
    if point is not None:
        point = finite_point(point, source)
    file_point = _stated_point(info)
    names = _names(parameters, point if point is not None else file_point, source)
    if names is None:  # nobody names a parameter
        if reweight_points is not None:
            msg = (
                f"{source}: reweight_points gives points of weights, but the parameters are not "
                'known; name them with parameters=["c_HW"] or point={"c_HW": value}'
            )
            raise ParameterError(msg)
        return FilePoints(None, {}, {})
    card = read_parameter_card(info.header)
    launches = {launch.id: launch for launch in read_reweight_card(info.header)}
    every_id = [*dict.fromkeys([*weight_ids, *(w.id for w in info.weights)])]
    settings = _settings(info, every_id, launches)
    coefficients = [
        _with_place(_coefficient(name, text, card, source), settings)
        for name, text in names.items()
    ]
    if file_point is None and coefficients:
        file_point = _card_point(coefficients, card, settings)
    if point is not None and set(point) != set(names):
        msg = (
            f"{source}: point is {format_point(point) or 'no point'}, but parameters= lists "
            f"{', '.join(names) or 'none'}; give the same parameters in both"
        )
        raise ParameterError(msg)
    sample_point = None
    if point is not None or file_point is not None:
        sample_point = resolve_point(point, file_point, source)
    if sample_point is not None and set(sample_point) != set(names):
        msg = (
            f"{source} is at {format_point(sample_point) or 'no point'}, but parameters= lists "
            f"{', '.join(names)}; give the parameters of the file"
        )
        raise ParameterError(msg)
    if sample_point is not None:
        sample_point = {name: sample_point[name] for name in names}
    reader = _WeightReader(coefficients, card, sample_point or {})
    by_user: dict[str, dict[str, float]] = {}
    if isinstance(reweight_points, PathLike):
        given = _launches_of_card(reweight_points, info, weight_ids, source)
        settings |= {i: w.settings for i, w in given.items() if w.settings is not None}
        launches |= given
    elif reweight_points is not None:
        by_user = _user_points(reweight_points, info, weight_ids, reader, source)
    descriptions = {w.id: w.description for w in info.weights}
    points: dict[str, dict[str, float]] = {}
    reasons: dict[str, str] = {}
    for identity in weight_ids:
        if identity in by_user:
            points[identity] = by_user[identity]
            continue
        description = descriptions.get(identity, "")
        answer = reader.read(identity, settings.get(identity), description)
        if isinstance(answer, str):
            launch = launches.get(identity.strip())
            reasons[identity] = _more_than_parameters(description, launch) or answer
        else:
            points[identity] = answer
    if parameters is not None and card.entries:
        _require_known(coefficients, card, weight_ids, source)
    return FilePoints(sample_point, points if names else {}, reasons if names else {})


def _require_known(
    coefficients: Sequence[_Coefficient],
    card: ParameterCard,
    weight_ids: Sequence[str],
    source: str,
) -> None:
    """Refuse a name that is neither in the card nor in any weight."""
    ids = plain_name(" ".join(weight_ids))
    for coefficient in coefficients:
        if coefficient.place is None and not any(s in ids for s in coefficient.spellings):
            names = sorted({e.name for e in card.entries.values() if e.name})
            close = did_you_mean(coefficient.name.replace("_", "").lower(), names)
            msg = (
                f"{source}: neither its parameter card nor its weights have {coefficient.name}"
                f"{close or '.'} Give its place, as in "
                f"parameters={{{coefficient.name!r}: 'SMEFT 7'}}"
            )
            raise ParameterError(msg)


def _stated_point(info: LHEInfo) -> Point | None:
    """Point in milinfer's block of the header; empty for a process without parameters."""
    if info.point is not None:
        return info.point
    return {} if info.process is not None else None


def _names(
    parameters: ParameterNames | None, point: Point | None, source: str
) -> dict[str, str] | None:
    """Name of each parameter, and its name or place in cards and weights."""
    if parameters is None:
        return None if point is None else {name: name for name in point}
    if isinstance(parameters, str):
        parameters = [parameters]
    if not isinstance(parameters, Iterable):
        _refuse_parameters(parameters, source)
    names: dict[Any, Any] = (
        dict(parameters) if isinstance(parameters, Mapping) else {n: n for n in parameters}
    )
    for name, text in names.items():
        if not (isinstance(name, str) and isinstance(text, str) and name.strip() and text.strip()):
            _refuse_parameters(parameters, source)
    return names


def _refuse_parameters(parameters: object, source: str) -> NoReturn:
    msg = (
        f"{source}: parameters={short_repr(parameters)} must be names, or the place of each name "
        'in the parameter card, as in {"c_HW": "SMEFT 7"}'
    )
    raise ParameterError(msg)


@dataclass(frozen=True)
class _Coefficient:
    """A parameter of the user, and what cards and weights call it."""

    name: str
    place: tuple[str, tuple[int, ...]] | None
    spellings: frozenset[str] = field(default_factory=frozenset)


def _coefficient(name: str, text: str, card: ParameterCard, source: str) -> _Coefficient:
    place = _PLACE.fullmatch(text)
    if place is not None:
        block, code = place.group(1).upper(), tuple(map(int, place.group(2).split()))
        entry = card.entries.get((block, code))
        if card.entries and entry is None:
            inside = [f"{e.place} ({e.name or 'no name'})" for e in card.block(block)]
            there = (
                f"the block has {shortened(inside)}"
                if inside
                else f"its blocks are {shortened(sorted({b for b, _ in card.entries}))}"
            )
            msg = f"{source}: {name} is {text!r}, which the parameter card does not have; {there}"
            raise ParameterError(msg)
        spellings = {name} if entry is None or not entry.name else {name, entry.name}
        return _Coefficient(name, (block, code), frozenset(map(plain_name, spellings)))
    entries = card.by_name(text)
    if len(entries) > 1:
        msg = (
            f"{source}: the parameter card has {text} at {', '.join(e.place for e in entries)}; "
            f'choose one of them, as in parameters={{"{name}": "{entries[0].place}"}}'
        )
        raise ParameterError(msg)
    entry_place = (entries[0].block, entries[0].code) if entries else None
    return _Coefficient(name, entry_place, frozenset({plain_name(name), plain_name(text)}))


def _with_place(
    coefficient: _Coefficient, settings: Mapping[str, tuple[CardSetting, ...]]
) -> _Coefficient:
    """Find the card entry of a coefficient from weights whose id and description agree.

    A weight ``cHW_m0p5`` that sets ``SMEFT 7`` to -0.5 shows where cHW is, if all of them agree.
    """
    if coefficient.place is not None:
        return coefficient
    reader = _WeightReader([coefficient], ParameterCard(), {})
    candidates: set[tuple[str, tuple[int, ...]]] = set()
    for identity, weight in settings.items():
        point = reader.from_id(identity) if weight else ""
        if isinstance(point, str):
            continue
        places = {
            (s.block, s.code) for s in weight if s.code and s.value == point[coefficient.name]
        }
        # Ids round their values, so that some fit no place at all.
        candidates = (candidates & places if candidates else places) if places else candidates
    return replace(coefficient, place=candidates.pop()) if len(candidates) == 1 else coefficient


def _settings(
    info: LHEInfo, weight_ids: Sequence[str], launches: Mapping[str, Launch]
) -> dict[str, tuple[CardSetting, ...]]:
    """What each weight sets, from its description or from the reweight card of the file."""
    descriptions = {w.id: (w.description, w.group) for w in info.weights}
    parsed = {i: parse_settings(text) for i, (text, _) in descriptions.items() if text}
    # MadGraph describes a weight by its differences from the card: an empty text means none.
    groups = {descriptions[i][1] for i, settings in parsed.items() if settings} - {""}
    known: dict[str, tuple[CardSetting, ...]] = {}
    for identity in weight_ids:
        text, group = descriptions.get(identity, ("", ""))
        settings = parsed.get(identity)
        if settings is None and identity.strip() in launches:
            settings = launches[identity.strip()].settings
        if settings is None and not text and group in groups:
            settings = ()
        if settings is not None:
            known[identity] = settings
    return known


def _card_point(
    coefficients: Sequence[_Coefficient],
    card: ParameterCard,
    settings: Mapping[str, tuple[CardSetting, ...]],
) -> Point | None:
    """Point of the sample from its card, or from the descriptions of weights (``# orig:``)."""
    originals = {
        (s.block, s.code): s.original
        for weight in settings.values()
        for s in weight
        if s.code and not math.isnan(s.original)
    }
    point: dict[str, float] = {}
    for coefficient in coefficients:
        place = coefficient.place
        if place is None:
            return None
        if place in card.entries:
            point[coefficient.name] = card.entries[place].value
        elif place in originals:
            point[coefficient.name] = originals[place]
        else:
            return None
    return point


class _WeightReader:
    """Read points of weights for given parameters."""

    def __init__(
        self, coefficients: Sequence[_Coefficient], card: ParameterCard, own: Point
    ) -> None:
        self.names = tuple(c.name for c in coefficients)
        self.places = {c.place: c.name for c in coefficients if c.place is not None}
        self.spellings = {s: c.name for c in coefficients for s in c.spellings}
        self.card = card
        self.own = own

    def read(
        self, identity: str, settings: tuple[CardSetting, ...] | None, description: str
    ) -> dict[str, float] | str:
        """Point of a weight, or the reason why it has none."""
        from_id = self.from_id(identity)
        if settings is not None:
            # MadGraph ignores a name that the model does not have: such an id is wrong.
            if not settings and not isinstance(from_id, str) and not same_point(from_id, self.own):
                return (
                    f"its id gives {format_point(from_id)}, but by its description no parameter "
                    "differs from the sample"
                )
            return self._from_settings(settings)
        if self._are_scales(description or identity):
            return "a weight of scales or parton densities"
        for text in (description, identity):
            try:
                return self.complete(parse_point(text))
            except ParameterError:
                continue
        from_text = self.from_id(description)
        return from_id if isinstance(from_text, str) else from_text

    def is_of_scales(self, identity: str, info: LHEInfo) -> bool:
        """Whether a weight is one of scales or parton densities, by its description or id."""
        told = {w.id: w.description for w in info.weights}
        return self._are_scales(told.get(identity, "") or identity)

    def _are_scales(self, text: str) -> bool:
        """Whether a text gives values to scales and parton densities, and to nothing else."""
        names = {name.lower() for name in _NAME_OF_VALUE.findall(text)} - {"tag"}
        return bool(names) and names <= _SCALES and not any(n in self.spellings for n in names)

    def complete(self, values: Point) -> dict[str, float] | str:
        """Give parameters that are not mentioned the value of the sample."""
        point: dict[str, float] = {}
        for name, value in values.items():
            parameter = self.spellings.get(plain_name(name))
            if parameter is None:
                entries = self.card.by_name(name)
                if value == (entries[0].value if len(entries) == 1 else 0.0):
                    continue
                return f"it also changes {name}"
            point[parameter] = value
        missing = [n for n in self.names if n not in point and n not in self.own]
        if missing:
            return f"it has no value of {', '.join(missing)}, and the sample has none either"
        return {n: point[n] if n in point else self.own[n] for n in self.names}

    def _from_settings(self, settings: Sequence[CardSetting]) -> dict[str, float] | str:
        values: dict[str, float] = {}
        for setting in settings:
            parameter = self._parameter(setting)
            if parameter is None:
                entry = self._entry(setting)
                unchanged = setting.original if entry is None else entry.value
                if math.isclose(setting.value, unchanged, rel_tol=1e-9, abs_tol=1e-12):
                    continue
                return f"it also changes {_place(setting, entry)}"
            values[parameter] = setting.value
        return self.complete(values)

    def _parameter(self, setting: CardSetting) -> str | None:
        if setting.block:
            return self.places.get((setting.block, setting.code))
        by_spelling = self.spellings.get(plain_name(setting.name))
        if by_spelling is not None:
            return by_spelling
        entry = self._entry(setting)
        return None if entry is None else self.places.get((entry.block, entry.code))

    def _entry(self, setting: CardSetting) -> CardEntry | None:
        if setting.block:
            return self.card.entries.get((setting.block, setting.code))
        entries = self.card.by_name(setting.name)
        return entries[0] if len(entries) == 1 else None

    def from_id(self, identity: str) -> dict[str, float] | str:
        """Point in an id such as ``cHB_0p1_cHDD_m0p1`` or ``EFTrwgt12_ctW_1.0``."""
        tokens = [t for t in re.split(r"[_\s,;=]", identity) if t]
        while len(tokens) > 1 and _PREFIX.fullmatch(tokens[0]):
            if id_value(tokens[1]) is not None:  # rwgt_7 is a number, not a point
                break
            tokens = tokens[1:]
        if [t.lower() for t in tokens] == ["sm"]:
            return dict.fromkeys(self.names, 0.0)
        values: dict[str, float] = {}
        start = 0
        while start < len(tokens):
            stop = self._name_end(tokens, start)
            value = None if stop is None else id_value(tokens[stop])
            name = "_".join(tokens[start:stop])
            if stop is None or value is None or name in values:
                return "neither its description nor its id gives a point"
            values[name] = value
            start = stop + 1
        if not values:
            return "neither its description nor its id gives a point"
        if not any(plain_name(name) in self.spellings for name in values) and any(
            _PREFIX.fullmatch(name) for name in values
        ):
            return "neither its description nor its id gives a point"
        return self.complete(values)

    def _name_end(self, tokens: Sequence[str], start: int) -> int | None:
        """Index of the value that follows the name beginning at `start`."""
        for stop in range(len(tokens) - 1, start, -1):  # names of the user may have digits: c_1
            if plain_name("".join(tokens[start:stop])) in self.spellings:
                return stop
        if not re.match(r"[A-Za-z]", tokens[start]):
            return None
        return next(
            (k for k in range(start + 1, len(tokens)) if id_value(tokens[k]) is not None), None
        )


def _place(setting: CardSetting, entry: CardEntry | None) -> str:
    if entry is not None:
        return f"{entry.place} ({entry.name})" if entry.name else entry.place
    words = [setting.block, *map(str, setting.code), setting.name]
    return " ".join(word for word in words if word)


def id_value(token: str) -> float | None:
    """Read a number as ids write it: ``m0p5``, ``-0.5``, ``1p0``, ``2e-1``; None if it is none.

    Examples
    --------
    >>> [id_value(t) for t in ("m0p5", "-0.5", "1", "p2", "1e-2", "cHW", "p", "1e400")]
    [-0.5, -0.5, 1.0, 2.0, 0.01, None, None, None]
    """
    match = _VALUE.fullmatch(token.lower())
    if match is None:
        return None
    sign, digits, exponent_sign, exponent = match.groups()
    power = f"e{'-' if exponent_sign in ('-', 'm') else ''}{exponent}" if exponent else ""
    number = float(digits.replace("p", ".") + power)
    if math.isinf(number):
        return None
    return -number if sign in ("-", "m", "min", "minus") else number


def _more_than_parameters(description: str, launch: Launch | None) -> str:
    """Reason why a weight is at no point if it changes more than parameters, else empty."""
    if _STATEMENT.match(description):
        line = other_change(description)
    else:
        line = "" if launch is None else launch.other_change
    return f"its line {line[:_LONGEST]!r} sets no parameter" if line else ""


def _launches_of_card(
    path: PathLike[str], info: LHEInfo, weight_ids: Sequence[str], source: str
) -> dict[str, Launch]:
    """What each weight changes, from a file with the reweight card of MadGraph."""
    try:
        # of editors that begin a file with a byte-order mark, too
        text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        msg = f"cannot read the reweight card {path}: {error.strerror}; correct the path"
        raise ParameterError(msg) from error
    launches = read_reweight_card(text)
    by_id = {launch.id: launch for launch in launches}
    if len(by_id) < len(launches):
        names = [launch.id for launch in launches]
        twice = next(name for name in by_id if names.count(name) > 1)
        msg = (
            f"{source}: the reweight card {path} has two weights {twice!r}; give each a different "
            "name with --rwgt_name="
        )
        raise ParameterError(msg)
    if not set(by_id) & set(weight_ids):  # NanoAOD has no ids, but the order of the card
        possible = [i for i in weight_ids if may_be_at_points(i)]
        groups = [ids for ids in _groups(info, possible).values() if len(ids) == len(launches)]
        if len(groups) != 1:
            names = [i[:_LONGEST] for i in by_id]
            msg = (
                f"{source}: the reweight card {path} has {len(launches)} weights "
                f"({shortened(names) or 'none'}), but the file has {len(weight_ids)} "
                f"({shortened(list(weight_ids)) or 'none'}); give the card of this sample"
            )
            raise ParameterError(msg)
        by_id = dict(zip(groups[0], launches, strict=True))
    return by_id


def _user_points(
    reweight_points: PointsById,
    info: LHEInfo,
    weight_ids: Sequence[str],
    reader: _WeightReader,
    source: str,
) -> dict[str, dict[str, float]]:
    """Points that the user gives, by id."""
    groups = _groups(info, weight_ids)
    if isinstance(reweight_points, str | bytes) or not isinstance(reweight_points, Iterable):
        _refuse_points(reweight_points, source)
    if isinstance(reweight_points, Mapping):
        by_id: dict[str, PointLike] = {}
        for key, value in reweight_points.items():
            if isinstance(value, str | Mapping):
                by_id[key] = value
            elif not isinstance(value, Iterable):
                _refuse_points(value, source)
            else:
                by_id |= _in_order(list(value), groups.get(key, ()), f"group {key!r}", source)
    else:
        points = list(reweight_points)
        # A list is of points: weights of scales, parton densities and showers have none.
        ids = [i for i in weight_ids if may_be_at_points(i) and not reader.is_of_scales(i, info)]
        groups = _groups(info, ids)
        sizes = {
            name: of_group for name, of_group in groups.items() if len(of_group) == len(points)
        }
        if len(points) != len(ids) and len(sizes) == 1:
            ids = next(iter(sizes.values()))
        by_id = _in_order(points, ids, "file", source)
    given: Mapping[Any, Any] = by_id
    if not all(isinstance(i, str) and isinstance(v, str | Mapping) for i, v in given.items()):
        _refuse_points(reweight_points, source)
    padded = {i.strip(): i for i in weight_ids}
    by_id = {padded.get(i.strip(), i): value for i, value in by_id.items()}
    unknown = [i for i in by_id if i not in weight_ids]
    if unknown:
        msg = (
            f"{source}: reweight_points names {shortened([repr(i) for i in unknown])}, but its "
            f"weights are {shortened([repr(i) for i in weight_ids]) or 'none'}; correct the ids"
        )
        raise ParameterError(msg)
    placed: dict[str, dict[str, float]] = {}
    for identity, value in by_id.items():
        point = parse_point(value) if isinstance(value, str) else finite_point(value, source)
        answer = reader.complete(point)
        strangers = [n for n in point if plain_name(n) not in reader.spellings]
        if strangers or isinstance(answer, str):
            msg = (
                f"{source}: reweight_points has weight {identity!r} at {format_point(point)}, but "
                f"the parameters are {', '.join(reader.names) or 'none'}"
                + (f": {answer}" if isinstance(answer, str) else "")
            )
            raise ParameterError(msg)
        placed[identity] = answer
    return placed


def _refuse_points(points: object, source: str) -> NoReturn:
    msg = (
        f"{source}: reweight_points={short_repr(points)} are not points of weights; give them by "
        'id, as in {"rwgt_7": {"c_HW": 0.5}}, a list in the order of the weights, or the '
        "pathlib.Path of a reweight card"
    )
    raise ParameterError(msg)


def _groups(info: LHEInfo, weight_ids: Sequence[str]) -> dict[str, list[str]]:
    """Ids of the weights of each group of the header, in the order of the events."""
    of = {w.id: w.group for w in info.weights}
    groups: dict[str, list[str]] = {}
    for identity in weight_ids:
        groups.setdefault(of.get(identity, ""), []).append(identity)
    return groups


def _in_order(
    points: Sequence[PointLike], ids: Sequence[str], what: str, source: str
) -> dict[str, PointLike]:
    if len(points) != len(ids):
        msg = (
            f"{source}: reweight_points lists {len(points)} points, but the {what} has {len(ids)} "
            f"weights ({shortened(list(ids)) or 'none'}); give one point for each, or a mapping "
            "from id to point"
        )
        raise ParameterError(msg)
    return dict(zip(ids, points, strict=True))


def moved_parameters(info: LHEInfo) -> dict[str, CardEntry]:
    r"""Find the entries of the parameter card that the weights of a file change.

    The keys of the result are the places of the entries in the card.

    Examples
    --------
    >>> from milinfer.io.event_record.info import LHEInfo, LHEWeight
    >>> info = LHEInfo((), weights=(LHEWeight("a", "set param_card smeft 7 0.5 # orig: 0.0"),),
    ...                header="<slha>\nBlock SMEFT\n 7 0.0 # chw\n</slha>")
    >>> moved_parameters(info)
    {'SMEFT 7': CardEntry(block='SMEFT', code=(7,), value=0.0, name='chw')}
    """
    card = read_parameter_card(info.header)
    launches = {launch.id: launch for launch in read_reweight_card(info.header)}
    settings = _settings(info, [w.id for w in info.weights], launches)
    moved: dict[str, CardEntry] = {}
    for weight in settings.values():
        for setting in weight:
            entries = (
                [card.entries.get((setting.block, setting.code))]
                if setting.block
                else card.by_name(setting.name)
            )
            for entry in entries:
                if setting.block and entry is None:
                    entry = CardEntry(setting.block, setting.code, setting.original)  # noqa: PLW2901
                if entry is not None:
                    moved.setdefault(entry.place, entry)
    return moved


def points_remedy(info: LHEInfo | None = None) -> str:
    """Say how to give the points of weights, and name the parameters that they change, if known."""
    example = '{"c_HW": "SMEFT 7"}'
    if info is not None and (moved := moved_parameters(info)):
        entries = list(moved.values())
        names = {e.name or f"c{k}": e.place for k, e in enumerate(entries, 1)}
        example = "{" + ", ".join(f'"{n}": "{p}"' for n, p in list(names.items())[:4]) + "}"
    return (
        "give parameters by their place in the parameter card, "
        f"parameters={example} (--parameter), "
        'or give the points of weights, reweight_points={"id": {"c_HW": 0.5}} (--reweight-point)'
    )


def same_point(a: Point, b: Point) -> bool:
    """Tell whether two points have the same parameters with the same values, up to rounding.

    Examples
    --------
    >>> same_point({"c_HW": 0.5}, {"c_HW": 0.5 + 1e-12}), same_point({"c_HW": 0.5}, {})
    (True, False)
    """
    return a.keys() == b.keys() and all(
        math.isclose(a[k], b[k], rel_tol=1e-9, abs_tol=1e-9) for k in a
    )


def resolve_point(
    user_point: Point | None, file_point: Point | None, source: str, remedy: str = ""
) -> dict[str, float]:
    """Return the parameter point that the user gives or that the file states.

    Parameters
    ----------
    user_point, file_point
        Point given by the user, and point stated in the file; None if there is none.
    source
        Name of the file, for messages.
    remedy
        Advice that the message contains if there is no point.

    Raises
    ------
    ParameterError
        If the two points disagree, or if both are None.

    Examples
    --------
    >>> resolve_point(None, {"c_HW": 0.5}, "a.lhe")
    {'c_HW': 0.5}
    >>> resolve_point({"c_HW": 1.0}, {"c_HW": 0.5}, "a.lhe")
    Traceback (most recent call last):
    ...
    milinfer.exceptions.ParameterError: a.lhe is at c_HW=0.5, but point= is c_HW=1; ...
    """
    if user_point is not None and file_point is not None and not same_point(user_point, file_point):
        mine, theirs = (format_point(p) or "no point" for p in (user_point, file_point))
        msg = (
            f"{source} is at {theirs}, but point= is {mine}; correct it, or omit point= to use the "
            "point of the file"
        )
        raise ParameterError(msg)
    point = user_point if user_point is not None else file_point
    if point is None:
        msg = (
            f"{source} does not say at which parameter point its events are; give "
            'point={"name": value}, or point={} for a process that depends on no parameter'
            + (f"; or {remedy}" if remedy else "")
        )
        raise ParameterError(msg)
    return {str(k): float(v) for k, v in point.items()}


def with_notes(provenance: Mapping[str, Any], points: FilePoints) -> dict[str, Any]:
    """Add a note to the provenance if the point of the sample or of a weight is missing.

    Examples
    --------
    >>> with_notes({}, FilePoints({"mu": 0.0}, {}, {"up": "no parameter is named"}))
    {'weights without a point': {'no parameter is named': ['up']}}
    """
    notes = {k: v for k, v in provenance.items() if k not in (POINT_NOTE, WEIGHTS_NOTE)}
    if points.point is None:
        notes[POINT_NOTE] = "not stated"
    if points.without_point:
        notes[WEIGHTS_NOTE] = points.reasons
    return notes
