"""Unusual but legal LHE files are read, and say the same as the plain file."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pytest

from bad_input.lhe_cases import HEADER, WEIGHTED
from lhe_text import INIT, RWGT, document, event
from milinfer.exceptions import ConfigurationError, LHEError
from milinfer.io.lhe import LHEReader, Limits, iterate, read

OTHER = event(weight="-1.25e+02", after=RWGT.replace("+1.0e+00", "3.5e+00"))
PLAIN = document(WEIGHTED, OTHER, WEIGHTED, header=HEADER)
REORDERED = "<rwgt>\n<wgt id='b'> -2.5e-01 </wgt>\n<wgt id='a'> +1.0e+00 </wgt>\n</rwgt>\n"
LEGAL = {
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "blank lines": PLAIN.replace("\n", "\n\n"),
    "spaces at the ends of lines": PLAIN.replace("\n", " \t\n"),
    "spaces before lines": PLAIN.replace("\n ", "\n      "),
    "tabs": re.sub(r"(?<=\d) (?=[-+\d])", "\t", PLAIN),
    "exponents of Fortran": re.sub(r"(\d)e([+-]\d)", r"\1D\2", PLAIN),
    "small exponents of Fortran": re.sub(r"(\d)e([+-]\d)", r"\1d\2", PLAIN),
    "large exponents": re.sub(r"(\d)e([+-]\d)", r"\1E\2", PLAIN),
    "identities with a point": PLAIN.replace(" 11  1 1 2 ", " 11. 1.0 1 2.0 "),
    "comments of XML": PLAIN.replace("</event>\n", "</event>\n<!-- <event> 1 2 3 </event> -->\n"),
    "comments in events": PLAIN.replace("<rwgt>", "<!-- 1 -->\n<rwgt>"),
    "lines of comments": PLAIN.replace("<rwgt>", "# rwgt of <nothing>\n<rwgt>"),
    "comments behind the numbers": PLAIN.replace("1.18e-01\n", "1.18e-01 # a comment\n"),
    "other elements in events": PLAIN.replace("<rwgt>", "<scales muf='91'/>\n<rwgt>"),
    "mgrwt": PLAIN.replace("<rwgt>", "<mgrwt>\n<rscale> 2 9.1E+01</rscale>\n</mgrwt>\n<rwgt>"),
    "weights in another order": PLAIN.replace(RWGT, REORDERED),
    "weights on one line": PLAIN.replace(RWGT, RWGT.replace("\n", " ") + "\n"),
    "weights between other quotes": PLAIN.replace("id='a'", 'id="a"'),
    "groups of events": PLAIN.replace("<event>", "<eventgroup>\n<event>").replace(
        "</event>", "</event>\n</eventgroup>"
    ),
    "attributes of events": PLAIN.replace("<event>", "<event npLO='-1' npNLO='1'>"),
    "no end of the last line": PLAIN.rstrip("\n"),
    "text after the end": PLAIN + "\n# written by a generator\n",
    "a declaration of XML": "<?xml version='1.0' encoding='utf-8'?>\n" + PLAIN,
    "a byte order mark": "\ufeff" + PLAIN,
    "a header of two megabytes": PLAIN.replace("free text", "free text\n" * (200 << 10)),
    "entities in the header": PLAIN.replace("free text", "free &amp; &unknown; < text"),
    "a document type in the text of the header": PLAIN.replace("free text", "<!DOCTYPE x>"),
    "an element before init": PLAIN.replace("<init>", "<mg5>\n1 2\n</mg5>\n<init>"),
    "comments in init": PLAIN.replace(INIT, INIT.replace("</init>", "# c\n<!-- 1 -->\n</init>")),
    "a generator in init": PLAIN.replace("</init>", "<generator name='g'>x</generator>\n</init>"),
}


def content(path):
    with LHEReader(path) as reader:
        parts = list(reader.columns(1000))
        info = reader.info
    return parts, info


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", LEGAL)
def test_legal_files(tmp_path, name, packed):
    plain, file = tmp_path / "plain.lhe", tmp_path / "legal.lhe"
    plain.write_text(PLAIN)
    data = LEGAL[name].encode()
    assert data != PLAIN.encode()
    file.write_bytes(gzip.compress(data) if packed else data)
    (expected, info), (found, own) = content(plain), content(file)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a.counts, b.counts)
        for group in ("particles", "event", "weights"):
            mine, theirs = getattr(a, group), getattr(b, group)
            assert mine.keys() == theirs.keys()
            for key in mine:
                np.testing.assert_array_equal(mine[key], theirs[key])
    assert own.processes == info.processes
    assert (own.beams, own.energies, own.version) == (info.beams, info.energies, info.version)
    assert {w.id for w in own.weights} == {w.id for w in info.weights} == {"a", "b"}


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(header=100), "100 bytes of the header"),
        (Limits(line=20), "line 1 of the header has more than 20 bytes"),
        (Limits(event=50), "more than 50 bytes"),
    ],
)
def test_limits_can_be_set(tmp_path, limits, what):
    file = tmp_path / "a.lhe"
    # more than one piece of what is read at a time
    text = document(*600 * [WEIGHTED], header=HEADER.replace("free text", "text\n" * 20_000))
    file.write_text(text)
    assert len(read(file).events) == 600
    with pytest.raises(LHEError, match=what):
        list(iterate(file, limits=limits))
    with pytest.raises(ConfigurationError, match="at least 1"):
        Limits(event=0)
