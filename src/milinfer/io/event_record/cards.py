"""Read the cards in the header of an event file: parameters, and the points of the weights.

MadGraph writes two cards to the header: its parameter card (SLHA: blocks of numbered values, with
the name in a comment) and its reweight card (``launch`` and ``set`` for each weight).  In
``<initrwgt>``, MadGraph describes each weight by the ``set`` lines that change the parameter card
to the point of the weight.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

__all__ = [
    "CardEntry",
    "CardSetting",
    "Launch",
    "ParameterCard",
    "other_change",
    "parse_settings",
    "plain_name",
    "read_parameter_card",
    "read_reweight_card",
]

_BLOCK: Final = re.compile(r"(?:block|BLOCK|Block)\s+(\S+)")
_TAG: Final = re.compile(r"<(/?)([A-Za-z][\w.:-]*)")
_ORIGINAL: Final = re.compile(r"#\s*orig:\s*(\S+)")
_AFTER_ORIGINAL: Final = re.compile(r"(#\s*orig:\s*\S+)\s+(?=set\s)")
_NAME: Final = re.compile(r"--rwgt_name=(\S+)")
# Answers to MadGraph that a weight is complete.
_ENDS = frozenset({"done", "0"})
# Lines of a reweight card that change more than the parameters.
_OTHER_CHANGES: Final = re.compile(r"change\s+(?:process|model|multicore|boost)\b", re.IGNORECASE)


class CardEntry(NamedTuple):
    """One value of a parameter card: ``7 0.5 # chw`` in the block ``SMEFT``."""

    block: str
    code: tuple[int, ...]
    value: float
    name: str = ""

    @property
    def place(self) -> str:
        """Block and number, such as ``"SMEFT 7"``."""
        return " ".join([self.block, *map(str, self.code)])


class CardSetting(NamedTuple):
    """One ``set`` line of a card: it sets a value by block and number, or by name.

    Parameters
    ----------
    block, code
        Block and number in the parameter card; empty if the line gives a name.
    name
        Name of the parameter; empty if the line gives block and number.  The name ``scale`` after a
        block is the scale of the block (``set param_card mb scale 91.2``), not a parameter.
    value
        The new value.
    original
        Value at which the sample was generated, if the line states it (``# orig: 0.0``); NaN if it
        does not.
    """

    block: str
    code: tuple[int, ...]
    name: str
    value: float
    original: float = math.nan


class Launch(NamedTuple):
    """One weight of a reweight card.

    Parameters
    ----------
    id
        Name of the weight, or ``rwgt_`` and a number that counts the weights without a name.
    settings
        Parameters that the weight sets; None if it also changes something that is not a parameter.
    other_change
        The line that changes something that is not a parameter, or that cannot be read.  It is
        empty if `settings` is not None.
    """

    id: str
    settings: tuple[CardSetting, ...] | None
    other_change: str = ""


@dataclass(frozen=True)
class ParameterCard:
    r"""Values of a parameter card by block and number.

    Parameters
    ----------
    entries
        Mapping from block (upper case) and numbers to the entry.

    Examples
    --------
    >>> card = read_parameter_card("Block smeft # operators\n 7 0.5 # chw\n 8 0 # chb\n")
    >>> card.entries["SMEFT", (7,)].value, [e.place for e in card.by_name("c_HB")]
    (0.5, ['SMEFT 8'])
    """

    entries: Mapping[tuple[str, tuple[int, ...]], CardEntry] = field(default_factory=dict)

    def by_name(self, name: str) -> list[CardEntry]:
        """Find entries whose comment begins with this name, ignoring case and underscores."""
        wanted_name = plain_name(name)
        return [e for e in self.entries.values() if plain_name(e.name) == wanted_name]

    def block(self, name: str) -> list[CardEntry]:
        """Return the entries of one block."""
        return [e for e in self.entries.values() if e.block == name.upper()]


def plain_name(name: str) -> str:
    """Write the name of a coefficient in a common spelling: ``chw`` for ``c_HW`` and ``cHW``.

    Examples
    --------
    >>> plain_name("c_HW"), plain_name("chw")
    ('chw', 'chw')
    """
    return name.replace("_", "").lower()


def read_parameter_card(header: str) -> ParameterCard:
    r"""Read the parameter card in a header; if there is none, the result has no entries.

    Examples
    --------
    >>> header = "<slha>\nBLOCK DIM6 # \n 1 1.0e+00 # cww\n DECAY 6 1.5\n</slha>\n"
    >>> read_parameter_card(header).by_name("cWW")
    [CardEntry(block='DIM6', code=(1,), value=1.0, name='cww')]
    """
    entries: dict[tuple[str, tuple[int, ...]], CardEntry] = {}
    block = ""
    for line in _card_lines(header, "slha"):
        opening = _BLOCK.match(line)
        if opening is not None:
            block = opening.group(1).upper()
            continue
        words, _, comment = line.partition("#")
        numbers = words.split()
        if not block or not numbers or not _is_whole(numbers[0]):
            if numbers:  # DECAY, a tag, or other text ends the block
                block = ""
            continue
        value = _number(numbers[-1])
        if len(numbers) < 2 or math.isnan(value) or not all(map(_is_whole, numbers[:-1])):
            continue
        code = tuple(map(int, numbers[:-1]))
        name = comment.split()[0] if comment.strip() else ""
        # If a card has a block twice (restrictions first), MadGraph takes the last.
        entries[block, code] = CardEntry(block, code, value, name)
    return ParameterCard(entries)


def _card_lines(header: str, kind: str) -> Iterator[str]:
    """Lines of elements whose tag contains `kind`, or of the whole header without such elements."""
    lines = [line.strip() for line in header.splitlines()]
    inside, element = [], ""
    for line in lines:
        tag = _TAG.match(line)
        if element:
            if tag is not None and tag.group(1) and tag.group(2).lower() == element:
                element = ""
            else:
                inside.append(line)
        elif tag is not None and not tag.group(1) and kind in tag.group(2).lower():
            element = tag.group(2).lower()
    return iter(inside or lines)


def read_reweight_card(header: str) -> tuple[Launch, ...]:
    r"""Read the weights of MadGraph's reweight card, from the text of a card or of a header.

    Weights without a name are called ``rwgt_1``, ``rwgt_2``, …, as in MadGraph.  The settings of a
    weight are changes of the parameter card of the sample, not of the weight before.  Weights after
    a change of the model or the process differ from the sample in more than parameters, and have no
    settings.

    Examples
    --------
    >>> header = "<mgreweightcard>\nlaunch --rwgt_name=up\n set cHW 0.5\nlaunch\n</mgreweightcard>"
    >>> [(launch.id, len(launch.settings)) for launch in read_reweight_card(header)]
    [('up', 1), ('rwgt_1', 0)]
    """
    launches: list[tuple[str, list[str]]] = []
    unnamed = 0
    changed: dict[int, str] = {}
    change = ""
    for line in _card_lines(header, "reweight"):
        words = line.partition("#")[0].strip()
        if re.match(r"launch\b", words):
            name = _NAME.search(words)
            if name is None:
                unnamed += 1
            if change:
                changed[len(launches)] = change
            launches.append((f"rwgt_{unnamed}" if name is None else name.group(1), []))
        elif _OTHER_CHANGES.match(words):
            change = words
        elif line.startswith("</") or words in _ENDS:
            continue
        elif launches:
            launches[-1][1].append(line)
    weights = []
    for k, (identity, lines) in enumerate(launches):
        text = "\n".join(lines)
        other = changed.get(k) or other_change(text)
        weights.append(Launch(identity, None if other else parse_settings(text), other))
    return tuple(weights)


def parse_settings(text: str) -> tuple[CardSetting, ...] | None:
    r"""Read the ``set`` lines of a weight; return None if the text contains anything else.

    Parameters
    ----------
    text
        Lines such as ``set param_card SMEFT 7 0.5 # orig: 0.0`` or ``set cHW 0.5``; one line may
        have several settings.

    Returns
    -------
    tuple of CardSetting or None
        None if a line sets no number, or if the weight changes more than the parameters.

    Examples
    --------
    >>> for setting in parse_settings("set param_card smeft 7 0.5 # orig: 0.0\nset cHB -1"):
    ...     print(setting)
    CardSetting(block='SMEFT', code=(7,), name='', value=0.5, original=0.0)
    CardSetting(block='', code=(), name='cHB', value=-1.0, original=nan)
    >>> parse_settings("muR=2.0") is None, parse_settings("")
    (True, ())
    """
    settings = []
    for line in _setting_lines(text):
        setting = _setting(line)
        if setting is None:
            return None
        if setting:
            settings.append(setting)
    return tuple(settings)


def other_change(text: str) -> str:
    r"""Return the first line of a weight that does more than set a parameter; empty if none does.

    Examples
    --------
    >>> other_change("set param_card smeft 7 0.5\nset run_card ebeam1 7000"), other_change("")
    ('set run_card ebeam1 7000', '')
    """
    return next((line for line in _setting_lines(text) if _setting(line) is None), "")


def _setting(line: str) -> CardSetting | tuple[()] | None:
    """Setting of a line; empty for a line without effect, None if it changes something else."""
    if re.match(r"change\b", line, re.IGNORECASE):
        return None if _OTHER_CHANGES.match(line) else ()
    words = line.partition("#")[0].replace("=", " ").split()
    if len(words) < 3 or words[0] != "set" or words[1].lower() == "run_card":
        return None
    words = words[2:] if words[1].lower() == "param_card" else words[1:]
    value, where = _number(words[-1]), words[:-1]
    if math.isnan(value) or not where:
        return None
    original = _ORIGINAL.search(line)
    known = math.nan if original is None else _number(original.group(1))
    code = tuple(int(word) for word in where[1:] if _is_whole(word))
    if code and len(code) == len(where) - 1:
        return CardSetting(where[0].upper(), code, "", value, known)
    if len(where) == 2 and where[1].lower() == "scale":
        return CardSetting(where[0].upper(), (), "scale", value, known)
    if len(where) <= 2:  # a name, or a block and a name
        return CardSetting("", (), where[-1], value, known)
    return None


def _setting_lines(text: str) -> Iterator[str]:
    """Lines of a card, each with one ``set``, without comments.

    Some programs put several lines of a description into one line.
    """
    for whole_line in _AFTER_ORIGINAL.sub(r"\1\n", text).splitlines():
        line, sign, comment = whole_line.strip().partition("#")
        *others, last = re.split(r"(?<=\S)\s+(?=set\s)", line)
        if line:
            yield from others
            yield last + sign + comment


def _is_whole(word: str) -> bool:
    return word.isascii() and word.lstrip("+-").isdigit() and len(word) < 12


def _number(word: str) -> float:
    """Number in a card, also in the style of FORTRAN; NaN if the word is no number."""
    try:
        value = float(re.sub(r"(?<=[\d.])[dD](?=[+-]?\d)", "e", word))
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
