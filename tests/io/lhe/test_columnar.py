"""Whole blocks at once: what they give is what pylhe gives, or they are refused."""

from __future__ import annotations

import random
from itertools import chain
from operator import attrgetter

import awkward as ak
import numpy as np
import pylhe
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milinfer.exceptions import LHEError
from milinfer.io import lhe
from milinfer.io.event_record.record import EVENT_FIELDS, PARTICLE_FIELDS
from milinfer.io.lhe import reading as parsing
from milinfer.io.lhe.columnar import parse_columns, repeated_tags

PARTICLE = attrgetter(
    "id", "status", "mother1", "mother2", "color1", "color2",
    "px", "py", "pz", "e", "m", "lifetime", "spin",
)  # fmt: skip
PLAIN = (b"<event>", b"</event>")
ODD = [
    "+1", "1.", ".5", "-.5", "1E5", "1e-400", "4.9e-324", "-0", "00012", "+1.e+02", "-0.0",
    "9007199254740993", "2.2250738585072011e-308", "1e5",
]  # fmt: skip
WRONG = ["nan", "inf", "1e999", "1D5", "0x10", "+-1", "--1", "1.0+100", "1e", "٣", "&#49;", "1,5"]


def particle_line(draw) -> str:
    tags = [draw(st.sampled_from(["1", "-11", "11.0", "501", "+2"])) for _ in range(6)]
    return " ".join(tags + [draw(NUMBERS) for _ in range(7)])


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e4, 1e4).map("{:+.10e}".format),
    st.sampled_from(ODD),
)


@st.composite
def documents(draw, plain: bool = False) -> str:
    ids = draw(st.lists(st.sampled_from(["a", "b", "mu=0.5", "x y"]), unique=True, max_size=3))
    pad = draw(st.sampled_from(["", " ", "   "]))
    events = []
    for _ in range(draw(st.integers(1, 6))):
        lines = [particle_line(draw) for _ in range(draw(st.integers(0, 3)))]
        head = f"{len(lines)} 1 {' '.join(draw(NUMBERS) for _ in range(4))}"
        text = "\n".join(pad + line for line in (head, *lines))
        weights = "".join(f"<wgt id='{i}'>{pad}{draw(NUMBERS)}{pad}</wgt>\n" for i in ids)
        weights = f"<rwgt>\n{weights}</rwgt>\n" if ids else ""
        extra = "" if plain else draw(st.sampled_from(EXTRAS))
        between = "" if plain else draw(st.sampled_from(["", "<!-- < -->\n", "# a\n", "\n \n"]))
        events.append(f"{between}<event>\n{text}\n{extra}{weights}</event>\n")
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return "".join(events).replace("\n", newline)


EXTRAS = ["", "", "# x < y\n", "<mgrwt> 1 2 </mgrwt>\n", "<scales a='1'/>\n", "<!-- 1 -->", " \n"]


def reference(path):
    """Rows of all particles, event by event with pylhe."""
    return [
        (
            [PARTICLE(p) for p in event.particles],
            (event.eventinfo.pid, event.eventinfo.weight, event.eventinfo.scale),
            dict(event.weights),
        )
        for event in pylhe.LHEFile.fromfile(path).events
    ]


def same_bits(a, b) -> bool:
    return np.asarray(a, np.float64).tobytes() == np.asarray(b, np.float64).tobytes()


def check_against_pylhe(events, expected) -> None:
    assert ak.num(events.LHEPart).tolist() == [len(rows) for rows, _, _ in expected]
    flat = list(chain.from_iterable(rows for rows, _, _ in expected))
    for i, name in enumerate(PARTICLE_FIELDS):
        assert same_bits(ak.to_numpy(ak.flatten(events.LHEPart[name])), [r[i] for r in flat]), name
    for i, name in enumerate(("LHE_processId", "genWeight", "LHE_scale")):
        assert same_bits(events[name].to_numpy(), [head[i] for _, head, _ in expected]), name
    for key in expected[0][2]:
        assert same_bits(events.LHEWeight[key].to_numpy(), [w[key] for _, _, w in expected]), key


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=documents(plain=True))
def test_the_same_as_pylhe(maker, text):
    file = maker.file(maker.document(text))
    expected = reference(maker.file(maker.document(text.replace("\r", "")), "plain.lhe"))
    check_against_pylhe(lhe.read(file).events, expected)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=documents())
def test_whatever_is_in_it_the_slow_way_gives_the_same(maker, text):
    file = maker.file(maker.document(text))
    outcomes = [outcome(file, workers) for workers in (1, 2, 4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "parse_columns", lambda *_: None)
        outcomes.append(outcome(file))
    for other in outcomes[1:]:
        assert_same(outcomes[0], other)


def outcome(file, workers: int = 1):
    try:
        return lhe.read(file, workers=workers)
    except LHEError as error:
        return str(error)


def assert_same(one, two) -> None:
    assert isinstance(one, str) == isinstance(two, str), (one, two)
    if isinstance(one, str):
        assert one == two
        return
    assert one.info == two.info
    assert one.events.fields == two.events.fields
    for name in ("LHEPart", "LHEWeight"):
        for field in one.events[name].fields if name in one.events.fields else ():
            a, b = (ak.flatten(x.events[name][field], axis=None) for x in (one, two))
            assert a.to_numpy().tobytes() == b.to_numpy().tobytes(), field
    assert ak.num(one.events.LHEPart).tolist() == ak.num(two.events.LHEPart).tolist()
    for name in EVENT_FIELDS:
        assert one.events[name].to_numpy().tobytes() == two.events[name].to_numpy().tobytes()


@pytest.mark.parametrize("weights", [False, True])
def test_any_damaged_byte_has_the_same_outcome(maker, weights, monkeypatch):
    """Sixty events, one byte of them changed, removed, doubled or swapped with the next."""
    rng = random.Random(5)
    after = maker.rwgt if weights else ""
    text = maker.document(*[maker.event(weight=f"{i}.5", after=after) for i in range(60)]).encode()
    start = text.index(b"<event>")
    n_errors = 0
    for _ in range(70):
        at = rng.randrange(start, len(text) - 20)
        new = bytes([rng.choice(b"0123456789+-. \n\t<>/#&e!\x00\xff\x0b")])
        damaged = rng.choice(
            [
                text[:at] + new + text[at + 1 :],
                text[:at] + text[at + 1 :],
                text[:at] + text[at : at + 1] + text[at:],
                text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :],
            ]
        )
        file = maker.file(damaged)
        fast = outcome(file)
        with monkeypatch.context() as patch:
            patch.setattr(parsing, "parse_columns", lambda *_: None)
            slow = outcome(file)
        assert_same(fast, slow)
        assert_same(fast, outcome(file, workers=3))
        n_errors += isinstance(fast, str)
    assert 10 < n_errors < 70


def test_plain_blocks_are_read_at_once(maker):
    """Otherwise all tests here would be about pylhe."""
    text = maker.event(after=maker.rwgt).encode()
    tags = repeated_tags(text, 2)
    columns = parse_columns(5 * text, tags, ("a", "b"))
    assert columns.counts.tolist() == [4] * 5
    assert columns.weights["b"].tolist() == [-0.25] * 5
    assert {name: c.dtype for name, c in columns.particles.items()} == {
        name: np.dtype(dtype) for name, dtype in PARTICLE_FIELDS.items()
    }


@pytest.mark.parametrize("word", ["nan", "NaN", "-nan", "-NAN"])
@pytest.mark.parametrize("place", [3, 4, 5])
def test_nan_of_scale_and_couplings_is_that_of_python(maker, word, place):
    head, rest = maker.event().encode().split(b"\n", 2)[1:]
    words = head.split()
    words[place] = word.encode()
    columns = parse_columns(b"\n".join([b"<event>", b" ".join(words), rest]), PLAIN)
    assert columns is not None
    name = list(EVENT_FIELDS)[place - 1]
    assert columns.event[name].tobytes() == np.array([float(word)]).tobytes()


@pytest.mark.parametrize(
    ("place", "word"), [(0, "nan"), (1, "nan"), (2, "nan"), (4, "nan(1)"), (4, "inf"), (5, "-inf")]
)
def test_other_numbers_of_the_event_line_are_not_nan(maker, place, word):
    head, rest = maker.event().encode().split(b"\n", 2)[1:]
    words = head.split()
    words[place] = word.encode()
    assert parse_columns(b"\n".join([b"<event>", b" ".join(words), rest]), PLAIN) is None


@pytest.mark.parametrize("number", WRONG)
def test_wrong_numbers_are_refused(maker, number):
    for line in (2, 3):
        good = maker.event().encode()
        rows = good.split(b"\n")
        numbers = rows[line].split()
        numbers[7] = number.encode()
        rows[line] = b" ".join(numbers)
        assert parse_columns(good + b"\n".join(rows) + good, PLAIN) is None
    assert parse_columns(good, PLAIN) is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</event>", ""),
        ("<event>", "<event >"),
        ("<event>", "1 2 3\n<event>"),
        ("</event>", "</event>\n1"),
        ("0 0\n", "0 0 0\n"),
        ("9.118e+01", "9.118e+01\n"),
        ("-1.0\n", "\n-1.0 "),
        (" 4 1 ", " 5 1 "),
        (" 4 1 ", " 4.5 1 "),
        (" 501 ", " 99999999999 "),
        ("+3.0e+02", ""),
        ("</event>", "# x\n</event>"),
        ("\n", "\r"),
        (" ", "\t"),
        (" ", "\x0b"),
    ],
)
def test_unusual_events_are_refused(maker, old, new):
    good = maker.event()
    odd = good.replace(old, new, 1)
    assert odd != good or old == "0 0\n"
    for text in (odd + good, good + odd, good + odd + good):
        if odd != good:
            assert parse_columns(text.encode(), PLAIN) is None


def test_a_number_in_another_line_is_noticed(maker):
    """The total is right, the lines are not: pylhe would fail on the shorter one."""
    rows = maker.event().split("\n")
    first, rest = rows[2].rsplit(None, 1)
    rows[2], rows[3] = first, f"{rest} {rows[3]}"
    good = maker.event()
    for text in ("\n".join(rows) + good, good + "\n".join(rows)):
        assert parse_columns(text.encode(), PLAIN) is None


def test_a_line_moved_elsewhere_is_noticed(maker):
    """As many lines as there should be, one of them in the middle of a particle."""
    good = maker.event()
    split = good.replace("+3.0e+02 ", "+3.0e+02\n")
    joined = good.replace("<event>\n", "<event>").replace("</event>\n", "</event>")
    assert parse_columns((good + joined + good).encode(), PLAIN) is not None
    assert parse_columns((good + joined + split).encode(), PLAIN) is None


def test_spaces_at_the_ends_of_lines(maker):
    text = maker.event().replace("\n", "   \n").encode()
    assert parse_columns(3 * text, PLAIN).counts.tolist() == [4] * 3


def test_weights_must_be_where_their_tags_are(maker):
    good = maker.event(after=maker.rwgt).encode()
    tags = repeated_tags(good, 2)
    moved = good.replace(b"+1.0e+00 </wgt>", b"</wgt> +1.0e+00 ")
    two = good.replace(b" -2.5e-01 ", b"").replace(b"+1.0e+00", b"+1.0e+00 2")
    assert parse_columns(good + good, tags, ("a", "b")) is not None
    for odd in (moved, two, good.replace(b"'a'", b"'c'"), good.replace(b"<rwgt>", b"<rwgu>")):
        assert parse_columns(good + odd, tags, ("a", "b")) is None


@pytest.mark.parametrize(
    ("text", "n"),
    [
        (b"<event>1<weights>1 2</weights></event>", 2),
        (b"<event>1<rwgt><wgt id='a'/></rwgt></event>", 1),
        (b"<event>1<rwgt><wgt id='a'>1</wgt><wgt id='a'>1</wgt></rwgt></event>", 1),
        (b"<event>1<rwgt></rwgt></event>", 0),
        (b"<event>1", 0),
        (b"", 0),
    ],
)
def test_other_forms_of_weights_have_no_tags(text, n):
    assert repeated_tags(text, n) is None


def test_arrow_rounds_as_python_does():
    rng = random.Random(3)
    numbers = [f"{rng.getrandbits(60)}e{rng.randint(-340, 280)}" for _ in range(13 * 500)]
    numbers += [f"{rng.gauss(0, 1):.16e}" for _ in range(13 * 500)]
    lines = [" ".join(["1"] * 6 + numbers[i : i + 7]) for i in range(0, len(numbers) - 7, 7)]
    text = "".join(f"<event>\n1 1 1 1 1 1\n{line}\n</event>\n" for line in lines)
    columns = parse_columns(text.encode(), PLAIN)
    names = list(PARTICLE_FIELDS)[6:]
    ours = np.stack([columns.particles[name] for name in names], axis=1)
    expected = np.array([[float(x) for x in line.split()[6:]] for line in lines])
    assert ours.tobytes() == expected.tobytes()
