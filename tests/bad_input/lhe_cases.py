"""Broken LHE files."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_input.harness import Case
from lhe_text import INIT, PARTICLES, RWGT, document, event
from milinfer.exceptions import (
    ConfigurationError,
    FeatureError,
    LHEError,
    MilinferError,
    MissingFileError,
    ParameterError,
)
from milinfer.features.feature_set import FeatureSet
from milinfer.io import events, lhe
from milinfer.io.convert import convert
from milinfer.samples.sample import Sample

PRODUCE = r"produce|correct"
FOUR = tuple(
    f"{i} 1 0 0 0 0 {px} 40.0 {pz} 500.0 0.0 0.0 9.0"
    for i, px, pz in ((11, 10.0, 5.0), (-13, -30.0, 50.0), (1, 25.0, 300.0), (2, -5.0, -300.0))
)
MASS = FeatureSet("none", {"one": lambda o: o.met.pt}, collections=())
HEADER = (
    "\nfree text\n<initrwgt>\n<weightgroup name='g'>\n<weight id='a'> up </weight>\n"
    "<weight id='b'> down </weight>\n</weightgroup>\n</initrwgt>\n"
)
WEIGHTED = event(after=RWGT)
WHOLE = document(WEIGHTED, WEIGHTED, WEIGHTED, header=HEADER)


def read(path: Path, out: Path) -> object:
    return lhe.read(path)


def to_root(path: Path, out: Path) -> list[object]:
    return ["convert", path, "--out", out / "e.root"]


def case(
    name: str,
    data: str | bytes | Callable[[], bytes],
    place: str,
    remedy: str = PRODUCE,
    *,
    file: str = "broken.lhe",
    error: type[MilinferError] = LHEError,
    call: Any = read,
    command: Any = to_root,
) -> Case:

    def build(folder: Path) -> Path:
        path = folder / file
        content = data() if callable(data) else data
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return Case(f"lhe: {name}", build, call, error, place, remedy, command)


def cut(mark: str, *, after: bool = True, nth: int = 1) -> str:
    """The whole file up to (and with) the n-th appearance of a mark."""
    at = -1
    for _ in range(nth):
        at = WHOLE.index(mark, at + 1)
    return WHOLE[: at + (len(mark) if after else 0)]


TRUNCATED = {
    "in the root tag": (cut("<LesHouches"), "not an LHE file"),
    "after the root tag": (cut('"3.0">'), "before <init>"),
    "in the opening of the header": (cut("<hea"), "<hea> is never closed"),
    "in the text of the header": (cut("free t"), "<header> is never closed"),
    "in a declared weight": (cut("<weight id='a'"), "<header> is never closed"),
    "in the closing of the header": (cut("</hea"), "<header> is never closed"),
    "after the header": (cut("</header>"), "before <init>"),
    "in the opening of init": (cut("<ini", nth=2), "before <init>|<ini> is never closed"),
    "in the numbers of the beams": (cut("2212 22"), "<init> is never closed"),
    "after the beams": (cut("-4 2\n"), "<init> is never closed"),
    "after one process": (cut("1.0e+00 1\n"), "<init> is never closed"),
    "in the closing of init": (cut("</ini", nth=2), "<init> is never closed"),
    "after init": (cut("</init>"), "after 0 whole events"),
    "in the opening of an event": (cut("<eve", nth=2), "after 1 whole events|event 1 "),
    "in the line of an event": (cut("9.118e", nth=2), "inside event 1 "),
    "after the line of an event": (cut("1.18e-01\n", nth=3), "inside event 2 "),
    "in a particle": (cut("-0.0000000000e+00", nth=3), "inside event 1 "),
    "after a particle": (cut(PARTICLES[1] + "\n", nth=2), "inside event 1 "),
    "after all particles": (cut(PARTICLES[3] + "\n", nth=2), "inside event 1 "),
    "in the weights": (cut("<rwgt>", nth=2), "inside event 1 "),
    "in the tag of a weight": (cut("<wgt id=", nth=3), "inside event 1 "),
    "in the number of a weight": (cut("> +1.", nth=2), "inside event 1 "),
    "after the weights": (cut("</rwgt>", nth=2), "inside event 1 "),
    "in the closing of an event": (cut("</eve", nth=2), "inside event 1 "),
    "after an event": (cut("</event>\n", nth=2), "after 2 whole events"),
    "in the closing of the file": (cut("</LesHouch"), "after 3 whole events"),
}


def replaced(old: str, new: str, text: str = WHOLE, nth: int = 1) -> str:
    at = -1
    for _ in range(nth):
        at = text.index(old, at + 1)
    return text[:at] + new + text[at + len(old) :]


def particle(column: int, value: str) -> str:
    numbers = PARTICLES[2].split()
    numbers[column] = value
    bad = (*PARTICLES[:2], " ".join(numbers), PARTICLES[3])
    return document(event(), event(particles=bad), event())


def init(old: str, new: str) -> str:
    return document(event(), init=replaced(old, new, INIT))


def declared(text: str) -> str:
    return document(WEIGHTED, header=f"<initrwgt>{text}</initrwgt>")


def own(text: str) -> str:
    return document(event(), header=f"\n<milinfer>{text}</milinfer>\n")


TEXTS: dict[str, tuple[str | bytes, str]] = {
    # numbers of events and particles
    "NUP is one too many": (document(event(), event(nup=5)), "event 1 .*claims 5 .* has 4"),
    "NUP is one too few": (document(event(), event(nup=3)), "event 1 .*claims 3 .* has 4"),
    "NUP is negative": (document(event(), event(nup=-4)), "event 1 .*claims -4"),
    "NUP is infinite": (replaced(" 4 1 ", " 1e999 1 "), "event 0 .*begins with '1e999'"),
    "NUP is not a number": (replaced(" 4 1 ", " many 1 ", nth=2), "event 1 .*begins with 'many'"),
    "an event line too short": (replaced(" 7.8e-03 1.18e-01", "", nth=2), "event 1 "),
    "an event of nothing": (document(event(), "<event></event>"), "event 1 .*no event line"),
    "no events": (document(), "no events"),
    "a particle in two lines": (replaced("0 0 501 0 ", "0 0\n501 0 ", nth=2), "event 1 .*has 5"),
    "two particles in one line": (
        replaced("-1.0\n -2", "-1.0 -2", nth=2),
        "event 1 .*has 3 particle lines",
    ),
    # numbers that are none
    "pdgId of letters": (particle(0, "Z"), "event 1 .*'Z'|event 1 .*Z"),
    "a status of one half": (particle(1, "0.5"), "event 1|events 0 to 2"),
    "a mother too large": (particle(2, "9999999999"), "mother1.*32-bit"),
    "px is NaN": (particle(6, "NaN"), "event 1 .*px of a particle is nan"),
    "py is infinite": (particle(7, "inf"), "event 1 .*py of a particle is inf"),
    "pz is minus infinite": (particle(8, "-Infinity"), "event 1 .*pz of a particle is -inf"),
    "the energy overflows": (particle(9, "1e400"), "event 1 .*energy of a particle is inf"),
    "the mass is NaN": (particle(10, "nan"), "event 1 .*mass of a particle is nan"),
    "the lifetime is NaN": (particle(11, "nan"), "event 1 .*lifetime of a particle is nan"),
    "the spin is infinite": (particle(12, "inf"), "event 1 .*spin of a particle is inf"),
    "a number in hexadecimal": (particle(6, "0x1p3"), "event 1 "),
    "a number with a comma": (particle(6, "3,5"), "event 1 "),
    "a number with an underscore": (particle(6, "3_5"), "event 1 "),
    "stars of Fortran": (particle(6, "**********"), "event 1 "),
    "an event weight of NaN": (replaced("+2.0e+00", "nan", nth=2), "event 1 .*genWeight is nan"),
    "a scale of infinity": (replaced("9.118e+01", "inf", nth=2), "event 1 .*LHE_scale is inf"),
    "a coupling of infinity": (replaced("1.18e-01", "inf", nth=2), "event 1 .*LHE_alphaQCD is inf"),
    "a process id of letters": (replaced(" 4 1 ", " 4 x ", nth=2), "event 1 "),
    "an event of one half process": (replaced(" 4 1 ", " 4 1.5 ", nth=2), "event 1 .*1.5"),
    "a number of particles of one half": (replaced(" 4 1 ", " 4.5 1 ", nth=2), "event 1 .*4.5"),
    "digits of another script": (particle(6, "３"), "event 1 "),
    "a reweight with an underscore": (replaced("+1.0e+00", "1_0", nth=2), "event 1 .*1_0"),
    "a number of infinite processes": (init("-4 2\n", "-4 inf\n"), "<init>"),
    "beams of one half": (init("2212 2212", "0.5 2212"), "<init> .*0.5"),
    # structure
    "no init": (document(event(), init=""), "no <init>"),
    "init after the events": (document(event(), INIT, init=""), "no <init>"),
    "an empty init": (document(event(), init="<init>\n</init>\n"), "<init> block is empty"),
    "init of nine numbers": (init(" -4 2\n", " 2\n"), "<init> block .* has 9 numbers"),
    "a beam without a name": (init("2212 2212", "p 2212"), "<init> block"),
    "an energy of NaN": (init("6.5e+03", "nan"), "<init> block"),
    "an infinite energy": (init("6.5e+03", "inf"), "<init> block"),
    "more processes announced": (init("-4 2\n", "-4 3\n"), "announces 3 processes but has 2"),
    "fewer processes announced": (init("-4 2\n", "-4 1\n"), "announces 1 processes but has 2"),
    "a negative number of processes": (init("-4 2\n", "-4 -1\n"), "announces -1 processes"),
    "a cross-section of NaN": (init("0.5e+00 2", "nan 2"), "cross-section of process 1 .*nan"),
    "an infinite cross-section error": (init("1.0e-02", "inf"), "error .* process 0 .*inf"),
    "a process in words": (init("1.5e+00 1.0e-02", "much more"), "has 0 process lines"),
    "a process id of one half": (init("1.0e+00 2\n", "1.0e+00 2.5\n"), "<init>"),
    "mixed beams: a second init": (
        document(event(), INIT.replace("2212 2212", "11 -11"), event()),
        "event 1 .*second <init>",
    ),
    "mixed beams: a second init at the end": (
        document(event(), INIT.replace("6.5e+03", "7e+03")),
        "event 1 .*second <init>",
    ),
    "mixed beams: a second header": (
        document(event(), "<header>of another run</header>\n", event()),
        "event 1 .*second <header>",
    ),
    "mixed beams: files joined": (
        document(event()) + document(event(), init=INIT.replace("2212", "11")),
        "after </LesHouchesEvents> .from event 1",
    ),
    "an event inside an event": (
        document(event(), event().replace("</event>", event() + "</event>")),
        "event 1 .*not closed",
    ),
    "an event that is closed twice": (document(event(), "</event>\n", event()), "event 1 "),
    "an event without opening": (document(event(), event()[8:]), "event 1 "),
    "a closing tag of another name": (document(event(after="</evnt>\n")), "event 0 .*</evnt>"),
    "binary garbage in an event": (
        document(event(), event()).replace("-11", "\x00\x01", 2),
        "event 0|event 1",
    ),
    "binary garbage between events": (document(event(), "\x00\x7f\n", event()), "event 1 "),
    "half an element in an event": (document(event(after="<scales muf=\n")), "event 0 "),
    "a comment that is not closed": (document(event(), "<!-- x\n", event()), "event 1 "),
    "text before the file": ("ERROR: no space left\n" + WHOLE, "does not begin with"),
    "a header that ends in an event": (WHOLE.replace("</header>", ""), "<header> is never closed"),
    "UTF-16": (WHOLE.encode("utf-16"), "not an LHE file"),
    "zeros instead of content": (bytes(5000), "not an LHE file"),
    "zeros at the end": (WHOLE.encode()[:-400] + bytes(400), "inside event|event 2"),
    # weights
    "a weight twice in an event": (
        document(WEIGHTED, event(after=RWGT.replace("'b'", "'a'"))),
        "event 1 .*2 <wgt> but 1 different ids",
    ),
    "a weight without id in an event": (
        document(event(after="<rwgt>\n<wgt> 1.0 </wgt>\n</rwgt>\n")),
        "event 0 ",
    ),
    "a weight without number": (replaced("+1.0e+00", "", nth=2), "event 1 "),
    "a weight of NaN": (replaced("+1.0e+00", "nan", nth=2), "event 1 .*weight 'a' is nan"),
    "a weight of two numbers": (replaced("+1.0e+00", "1.0 2.0", nth=2), "event 1 "),
    "a weight lost in one event": (
        document(WEIGHTED, event(after="<rwgt>\n<wgt id='a'> 1 </wgt>\n</rwgt>\n")),
        "event 1 .*lacks the weight 'b'",
    ),
    "a weight that only one event has": (
        document(WEIGHTED, event(after=RWGT.replace("</rwgt>", "<wgt id='c'>1</wgt></rwgt>"))),
        "event 1 .*the weight 'c'",
    ),
    "weights that end": (document(WEIGHTED, event()), "event 1 .*lacks the weight"),
    "weights that begin": (document(event(), WEIGHTED), "event 1 .*the weight 'a'"),
    "fewer numbers than declared": (
        document(
            event(after="<weights> 1.0 </weights>\n"),
            header="<initrwgt><weight id='x'/><weight id='y'/></initrwgt>",
        ),
        "event 0",
    ),
    "more numbers than declared": (
        document(
            event(after="<weights> 1 2 3 </weights>\n"),
            header="<initrwgt><weight id='x'/><weight id='y'/></initrwgt>",
        ),
        "event 0",
    ),
    "an id declared twice": (declared("<weight id='a'/><weight id='a'/>"), "<initrwgt> .*'a'"),
    "an id in two groups": (
        declared(
            "<weightgroup name='x'><weight id='a'/></weightgroup>"
            "<weightgroup name='y'><weight id='a'/><weight id='b'/></weightgroup>"
        ),
        "<initrwgt> .*'a'",
    ),
    "a declared weight without id": (declared("<weight>up</weight>"), "<initrwgt> has no id"),
    "a group that is not closed": (
        declared("<weightgroup name='x'><weight id='a'/>"),
        "<initrwgt> cannot be read",
    ),
    "groups that cross": (
        declared("<weightgroup name='x'><weight id='a'></weightgroup></weight>"),
        "<initrwgt> cannot be read",
    ),
    "an attribute without quotes": (declared("<weight id=a/>"), "<initrwgt> cannot be read"),
    "a character that does not exist": (declared("<weight id='&#0;'/>"), "<initrwgt> cannot be"),
    # what milinfer has written itself
    "an own block that is cut": (own('{"point": {"c_HW"'), "<milinfer> block"),
    "an own block of a list": (own("[1, 2]"), "<milinfer> block"),
    "an own block too deep": (own("[" * 100_000), "<milinfer> block"),
    "a point of words": (own('{"point": {"c_HW": "big"}}'), "<milinfer> block .*'big'"),
    "a point that is a number": (own('{"point": 0.5}'), "<milinfer> block .*0.5"),
    "a point of NaN": (own('{"point": {"c_HW": NaN}}'), "<milinfer> block .*nan"),
    "a process that is a list": (own('{"process": ["a"]}'), "<milinfer> block"),
    # what is meant to do harm
    "external entities": (
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>\n' + WHOLE,
        "document type",
    ),
    "an expansion bomb": (
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>\n'
        + WHOLE.replace("free text", "&b;"),
        "document type",
    ),
    "a hundred thousand elements that are not closed": (
        document(event(after="<a>" * 100_000)),
        "event 0 .*<a>",
    ),
    "a hundred thousand names that are not closed": (
        document(event(after="".join(f"<a{i}>" for i in range(30_000)))),
        "event 0 .*<a0>",
    ),
    "a hundred thousand comments that are not closed": (
        document(event(), "<!-- " * 100_000),
        "event 1 ",
    ),
    "a line of two megabytes": (
        document(event(), event(after="# " + "x" * (2 << 20) + "\n")),
        "line 8 of .* 1048576 bytes",
    ),
    "a header line of two megabytes": (
        document(event(), header="x" * (2 << 20)),
        "line 2 of the header",
    ),
}
ENDLESS: dict[str, tuple[Callable[[], bytes], str]] = {
    "an event that never ends": (
        lambda: document(event(), "<event>\n" + "# x\n" * (5 << 20)).encode(),
        "event 1 .*never closed",
    ),
    "a header that never ends": (
        lambda: gzip.compress(
            b"<LesHouchesEvents version='3'>\n<header>\n" + b"x\n" * (40 << 20), 1
        ),
        "67108864 bytes of the header",
    ),
}
PACKED = gzip.compress(WHOLE.encode(), mtime=0)
GZ = {
    "cut in its own header": (PACKED[:7], "gzip file is truncated"),
    "cut after the first tenth": (PACKED[: len(PACKED) // 10], "gzip file is truncated|ends"),
    "cut in the middle": (PACKED[: len(PACKED) // 2], "gzip file is truncated|ends"),
    "cut in its last bytes": (PACKED[:-4], "gzip file is truncated"),
    "a byte changed": (
        PACKED[:200] + bytes([PACKED[200] ^ 255]) + PACKED[201:],
        "gzip file is corrupt|event",
    ),
    "a wrong checksum": (PACKED[:-8] + bytes(4) + PACKED[-4:], "gzip file is corrupt"),
    "a wrong length": (PACKED[:-4] + bytes(4), "gzip file is corrupt"),
    "an unknown method": (PACKED[:2] + b"\x63" + PACKED[3:], "gzip file is corrupt"),
    "two files joined": (PACKED + PACKED, "after </LesHouchesEvents>"),
    "packed twice": (gzip.compress(PACKED), "not an LHE file"),
}


def absent(folder: Path) -> Path:
    return folder / "absent.lhe"


def directory(folder: Path) -> Path:
    path = folder / "folder.lhe"
    path.mkdir()
    return path


def into_nowhere(path: Path, out: Path) -> object:
    return convert(path, out / "nowhere" / path.name)


def without_particles(path: Path, out: Path) -> object:
    return Sample.from_file(path, point={}, features="vbf_2l2j")


REMEDY = "produce|correct|remove|rename|split|give|allow|needs|not an LHE|copy"
CASES = [
    *(case(f"truncated {k}", t, p, "copy|produce|not an LHE") for k, (t, p) in TRUNCATED.items()),
    *(case(k, t, p, REMEDY) for k, (t, p) in TEXTS.items()),
    # Not on the command line as well: they take longest, and what it does is the same for all.
    *(case(k, t, p, REMEDY, command=None) for k, (t, p) in ENDLESS.items()),
    *(case(f"gz: {k}", t, p, REMEDY, file="broken.lhe.gz") for k, (t, p) in GZ.items()),
    Case("lhe: no file", absent, read, MissingFileError, "no file", "correct the path"),
    Case("lhe: a folder", directory, read, MissingFileError, "folder", "give the path"),
    case(
        "an unknown suffix",
        WHOLE,
        "unknown kind",
        "name it",
        file="broken.lhf",
        error=ConfigurationError,
        call=lambda path, _: events.read(path),
    ),
    case(
        "converted into a folder that is not there",
        WHOLE,
        "directory .*nowhere does not exist",
        "make it first",
        error=MissingFileError,
        call=into_nowhere,
        command=lambda path, out: ["convert", path, "--out", out / "nowhere" / "broken.lhe"],
        file="broken.lhe",
    ),
    case(
        "events without what features need",
        document(event(), event()),
        "event 0",
        "reject",
        error=FeatureError,
        call=without_particles,
        command=lambda path, out: ["features", path, "--point", "a=0", "--out", out / "f.parquet"],
    ),
    case(
        "a point that is nowhere said",
        document(event(particles=FOUR)),
        "does not say",
        "give",
        error=ParameterError,
        call=lambda path, _: Sample.from_file(path, features="vbf_2l2j"),
        command=lambda path, out: ["train", path, "--out", out / "model"],  # features need none
    ),
    case(
        "a feature set without collections",
        document(event()),
        "no collections",
        "give",
        error=FeatureError,
        call=lambda path, _: Sample.from_file(path, features=MASS, point={}),
        command=None,
    ),
]
