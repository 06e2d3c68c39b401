"""Random damage to valid files, and what must be true whatever comes of it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np

from bad_input.lhe_cases import HEADER, WEIGHTED, WHOLE
from lhe_text import RWGT, document, event
from milinfer.exceptions import ConfigurationError, LHEError, MilinferError, MilinferWarning
from milinfer.io.lhe import LHEReader
from milinfer.io.lhe.reading import BlockParser
from milinfer.workflow.configuration import AnalysisConfig

TOKENS = (
    b"", b"0", b"-1", b"1", b"4", b"1e999", b"nan", b"-inf", b"1_0", b"0x1p3", b"1.5", b"99999999999",  # noqa: E501
    b"1D+02", b"+-1", b"<event>", b"</event>", b"<init>", b"</init>", b"</header>", b"<rwgt>",
    b"</rwgt>", b"<wgt id='a'>", b"</wgt>", b"<weights>", b"<!--", b"-->", b"#", b"&", b"&amp;", b"<",  # noqa: E501
    b">", b"'", b'"', b"<![CDATA[", b"]]>", b"</LesHouchesEvents>", b"<!DOCTYPE x [", b"\r", b"\n",
    b"\x00", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b"<initrwgt>", b"</initrwgt>", b"<weight id='a'/>",  # noqa: E501
    b"<milinfer>{}</milinfer>", b"<eventgroup>", b"<a/>", b"<a>", b"</a>",
)  # fmt: skip
WORDS = (
    b"", b"=", b"[", b"]", b"[[", b"]]", b"{", b"}", b'"', b"'", b'"""', b",", b".", b"#", b"\n", b"\x00",  # noqa: E501
    b"nan", b"inf", b"-1", b"0", b"1e999", b"0.5", b"true", b"1979-05-27", b"0xff", b"[[model]]",
    b"[toys]", b"[samples]", b"model = []", b"a.b.c = 1", b"\\u0000", b"\\ud800", b"\xff", b"*", b"***",  # noqa: E501
    b"9" * 30, b"9" * 5000, b"[" * 2000,
)  # fmt: skip
TEMPLATE = (
    Path(__import__("milinfer").__file__)
    .with_name("workflow")
    .joinpath("analysis_template.toml")
    .read_bytes()
)
LHE_SEEDS = tuple(
    text.encode()
    for text in (
        WHOLE,
        document(*5 * [event()]),
        document(*5 * [WEIGHTED], header=HEADER.replace("\n", "\r\n")),
        document(
            event(after="<weights> 1.0 2.0 </weights>\n"),
            event(after="<mgrwt>\n<rscale> 2 </rscale>\n</mgrwt>\n<weights> 3 4 </weights>\n"),
            header="<initrwgt><weight id='x'/><weight id='y'>c=1</weight></initrwgt>",
        ),
        document(
            "<eventgroup>\n",
            event(before="# a comment\n", after=RWGT),
            "<!-- <event> -->\n",
            WEIGHTED,
            "</eventgroup>\n",
            header='\n<milinfer>{"process": "p", "point": {"c": 0.5}}</milinfer>\ntext & more\n',
        ),
    )
)


def _lines(random: Random, data: bytes, words: tuple[bytes, ...]) -> bytes:
    lines = data.split(b"\n")
    i, j = random.randrange(len(lines)), random.randrange(len(lines))
    kind = random.randrange(4)
    if kind == 0:
        del lines[i]
    elif kind == 1:
        lines.insert(j, lines[i])
    elif kind == 2:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        lines[i : i + 1] = [lines[i], random.choice(words)]
    return b"\n".join(lines)


def _tokens(random: Random, data: bytes, words: tuple[bytes, ...]) -> bytes:
    tokens = re.split(rb"([\s<>='\"\[\]{},]+)", data)
    i, j = random.randrange(len(tokens)), random.randrange(len(tokens))
    kind = random.randrange(4)
    if kind == 0:
        del tokens[i]
    elif kind == 1:
        tokens.insert(j, tokens[i])
    elif kind == 2:
        tokens[i], tokens[j] = tokens[j], tokens[i]
    else:
        tokens[i] = random.choice(words)
    return b"".join(tokens)


def _bytes(random: Random, data: bytes, words: tuple[bytes, ...]) -> bytes:
    at = random.randrange(len(data) + 1)
    kind = random.randrange(5)
    if kind == 0:
        return data[:at] + data[at + random.randrange(1, 20) :]
    if kind == 1:
        return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + random.choice(words) + data[at:]
    if kind == 3:
        return data[:at]
    end = min(at + random.randrange(1, 400), len(data))
    return data[:end] + data[at:]


def mutated(random: Random, data: bytes, words: tuple[bytes, ...]) -> bytes:
    """One to five damages."""
    kinds: tuple[Callable[[Random, bytes, tuple[bytes, ...]], bytes], ...]
    kinds = (_lines, _tokens, _bytes)
    for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
        data = random.choice(kinds)(random, data, words)
    return data


def damaged_lhe(random: Random, data: bytes) -> bytes:
    return mutated(random, data, TOKENS)


def random_lhe(random: Random) -> bytes:
    return damaged_lhe(random, random.choice(LHE_SEEDS))


def damaged_configuration(random: Random, data: bytes) -> bytes:
    return mutated(random, data, WORDS)


def random_configuration(random: Random) -> bytes:
    return damaged_configuration(random, TEMPLATE)


def named(error: MilinferError, kind: type[MilinferError], path: Path) -> str:
    assert type(error) is kind, repr(error)
    assert path.name in str(error)
    return str(error)


def _events(path: Path) -> Any:
    """Columns of all events, or what the reader says against them."""
    try:
        with LHEReader(path) as reader, warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*these numbers are NaN", MilinferWarning)
            parts = list(reader.columns(1000))
            info = reader.info
    except MilinferError as error:
        return named(error, LHEError, path)
    columns = {
        (group, name): np.concatenate([getattr(part, group)[name] for part in parts])
        for group in ("particles", "event", "weights")
        for name in getattr(parts[0], group)
    }
    columns["counts", ""] = np.concatenate([part.counts for part in parts])
    return {key: (value.dtype, value.tobytes()) for key, value in columns.items()}, info


def check_lhe(path: Path) -> bool:
    """Both ways of reading agree, and no event is missing; whether the file was read."""
    at_once = _events(path)
    with patch.object(BlockParser, "fast", return_value=None):
        one_by_one = _events(path)
    if isinstance(at_once, str) or isinstance(one_by_one, str):
        assert at_once == one_by_one
        return False
    assert at_once[0] == one_by_one[0]
    # infos are equal but for NaN
    assert repr(at_once[1]) == repr(one_by_one[1])
    data = path.read_bytes()
    if b"<!--" not in data:
        begin = re.search(rb"</init\s*>", data)
        assert begin is not None
        written = len(re.findall(rb"</event\s*>", data[begin.end() :]))
        assert len(at_once[0]["counts", ""][1]) == 8 * written
    return True


def check_configuration(path: Path) -> bool:
    """A configuration, or one error that names the file; whether it was read."""
    try:
        config = AnalysisConfig.from_file(path)
    except MilinferError as error:
        named(error, ConfigurationError, path)
        return False
    try:
        config.files(config.data.path)
    except MilinferError as error:
        named(error, ConfigurationError, path)
    return True
