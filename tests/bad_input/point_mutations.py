"""Random damage to what says at which points events and weights are, and its checks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

from bad_input.mutations import mutated
from milinfer.exceptions import MilinferError, ParameterError
from milinfer.io.event_record.info import LHEInfo, LHEWeight
from milinfer.samples.file_points import file_points, moved_parameters
from milinfer.utils.points import format_point, parse_point

WORDS = (
    b"", b"=", b",", b"-", b"+", b".", b"_", b"m", b"p", b"e", b"0", b"0.5", b"-1", b"1e400", b"1e-400",  # noqa: E501
    b"nan", b"inf", b"c_HW", b"cHW_m0p5", b"SMEFT", b"smeft 7", b"set", b"launch", b"--rwgt_name=a",
    b"# orig: 0.0", b"# orig:", b"Block", b"Block SMEFT", b"scale", b"auto", b"default", b"\n",
    b"#", b"<slha>", b"</slha>", b"<initrwgt>", b"\x00", b"\xff", b"9" * 400, b"9" * 5000,
    b"change model x", b"\xd9\xa1",
)  # fmt: skip
# One text for each line after the header is id and description of a weight.
POINT_SEEDS = (
    b"c_HW=0.5,c_W=-1",
    b"c_HW\n\ncHW_m0p5\nc_HW=0.5\nc_HW_1e-2\nrwgt_3",
    (b"SMEFT 7\n<slha>\nBlock SMEFT\n 7 0.1 # chw\n 8 0.0 # chb\n</slha>\n"
    b"set param_card SMEFT 7 0.5 # orig: 0.1\nset param_card SMEFT 8 1 # orig: 0.0\ncHW_m1p0"),
    (b"chw\n<slha>\nBlock SMEFT Q= 91.2\n 7 0.1 # chw\n 1 2 0.0 # x\n</slha>\n"
    b"<mgrwt>\nlaunch --rwgt_name=a\nset SMEFT 7 0.5\nset chb 1\nlaunch\nset chw 2.0\n</mgrwt>\n"
    b"a\n1002"),
)  # fmt: skip


def damaged_points(random: Random, data: bytes) -> bytes:
    return mutated(random, data, WORDS)


def random_points(random: Random) -> bytes:
    return damaged_points(random, random.choice(POINT_SEEDS))


def _require_kind(error: MilinferError) -> None:
    assert type(error) is ParameterError, repr(error)


def check_points(path: Path) -> bool:
    """A point, and those of weights that cards, ids and descriptions give; whether it is one."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    first, _, rest = text.partition("\n")
    lines = list(dict.fromkeys(rest.split("\n")))[-20:]
    weights = tuple(LHEWeight(a, b) for a, b in pairwise([*lines, ""]))
    info = LHEInfo((), header=rest, weights=weights)
    ids = [w.id for w in weights]
    moved_parameters(info)
    for options in (
        {"parameters": {"c_HW": first}},
        {"parameters": [first]},
        {"point": {first: 0.5}},
    ):
        for points in (None, lines, dict.fromkeys(ids, first)):
            try:
                found = file_points(info, ids, reweight_points=points, source=path.name, **options)
            except MilinferError as error:
                _require_kind(error)
                continue
            assert set(found.reweight_points) | set(found.without_point) <= set(ids)
    try:
        point = parse_point(text)
    except MilinferError as error:
        _require_kind(error)
        return False
    assert list(parse_point(format_point(point))) == list(point)
    return True
