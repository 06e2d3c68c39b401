"""Conversion: LHE → ROOT or Parquet → LHE gives the first file again."""

from __future__ import annotations

import gzip
import io
import pickle
import sys

import awkward as ak
import numpy as np
import pytest

from milinfer.exceptions import ConfigurationError, LHEError, MilinferWarning, SampleError
from milinfer.io import convert as module
from milinfer.io import events, lhe
from milinfer.io.convert import convert, convert_many
from milinfer.utils.progress import progress

TEXT = """<LesHouchesEvents version="3.0">
<header>
<MGRunCard> a & b < c </MGRunCard>
<initrwgt>
<weightgroup name="eft">
<weight id="c_HW=0.5">set param_card SMEFT 7 0.5</weight>
</weightgroup>
</initrwgt>
</header>
<init>
2212 2212 6500 6500 0 0 247000 247000 -4 1
1.5 0.1 1 1
</init>
"""
EVENT = """<event>
2 1 {weight} 91.18 0.0078 0.118
11 1 0 0 0 0 0.1 0.2 0.30000000000000004 0.4 0.000511 0 -1
-11 1 0 0 0 0 -0.1 -0.2 1e-300 0.4 0.000511 0 9
<rwgt>
<wgt id="c_HW=0.5">-1.25e-07</wgt>
<wgt id="undeclared">3</wgt>
</rwgt>
</event>
"""
END = "</LesHouchesEvents>\n"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.lhe"
    path.write_text(TEXT + "".join(EVENT.format(weight=0.1 * i) for i in range(25)) + END)
    return path


@pytest.mark.parametrize(
    ("name", "ntuple"),
    [("a.root", "ttree"), ("a.root", "rntuple"), ("a.parquet", "ttree"), ("a.lhe.gz", "ttree")],
)
def test_there_and_back(source, tmp_path, name, ntuple):
    there = convert(source, tmp_path / name, ntuple=ntuple, chunk_size=10)
    assert (there.n_events_in, there.n_events_out) == (25, 25)
    back = convert(tmp_path / name, tmp_path / "back.lhe", chunk_size=7)
    assert back.n_events_out == 25
    first, last = lhe.read(source), lhe.read(tmp_path / "back.lhe")
    assert last.info == first.info
    assert last.events.to_list() == first.events.to_list()
    lhe.write(tmp_path / "direct.lhe", *first)
    assert (tmp_path / "back.lhe").read_bytes() == (tmp_path / "direct.lhe").read_bytes()
    assert events.read(tmp_path / name).info == first.info


@pytest.mark.filterwarnings("ignore:.*these numbers are NaN")
@pytest.mark.parametrize(
    ("name", "ntuple"),
    [("a.root", "ttree"), ("a.root", "rntuple"), ("a.parquet", "ttree"), ("a.lhe.gz", "ttree")],
)
def test_couplings_that_are_nan_go_there_and_back(source, tmp_path, name, ntuple):
    """Regression: MadGraph 3.5.5 writes AQCDUP = nan at low scales; nothing could be converted."""
    source.write_text(
        source.read_text()
        .replace("0.1 91.18 0.0078 0.118", "0.1 91.18 0.0078            nan")
        .replace("0.2 91.18 0.0078 0.118", "0.2 NaN -nan 0.118")
    )
    with pytest.warns(MilinferWarning, match="scale in 1, .*QED in 1, .*QCD in 1 .of 25 events"):
        convert(source, tmp_path / name, ntuple=ntuple, chunk_size=10)
    convert(tmp_path / name, tmp_path / "back.lhe", chunk_size=7)
    first, last = lhe.read(source).events, lhe.read(tmp_path / "back.lhe").events
    assert np.signbit(first.LHE_alphaQED[2])
    for column in ("LHE_scale", "LHE_alphaQED", "LHE_alphaQCD", "genWeight"):
        assert first[column].to_numpy().tobytes() == last[column].to_numpy().tobytes()
        assert np.isnan(first[column]).to_numpy().sum() == (column != "genWeight")


# Lines that programs write besides the event record, at the places where they do.
POWHEG_COMMENT = "<!--\n numevts 10  ! number of events to be generated\n ih1 1\n-->\n"
WEIGHTS = """<weightgroup name="eft" combine="envelope">
<weight id="1" MUR="0.5" MUF="0.5" PDF="247000" > MUR=0.5 MUF=0.5  </weight>
"""
GENERATOR = "<generator name='MadGraph5_aMC@NLO' version='3.3.1'>please cite</generator>\n"
MGRWT = """<mgrwt>
<rscale>  2 0.29187466E+03</rscale>
<pdfrwt beam="1">  1       21 0.46016744E-01 0.29203601E+03</pdfrwt>
</mgrwt>
<clustering>
<clus scale="   91.188">  2  3  1 </clus>
</clustering>
#aMCatNLO 1  0  0  2  1 0.10081590E+03 0.00000000E+00  9  5  0
#rwgt            1           1   9.8
# pythia 7
"""
LEFT_OUT = {
    "POWHEG": (("<header>", POWHEG_COMMENT + "<header>"), ["comments before <init>"]),
    "MadGraph's init": (("</init>", GENERATOR + "</init>"), ["<generator>"]),
    "attributes of the file": (
        ('<LesHouchesEvents version="3.0">',
         '<LesHouchesEvents xmlns:xsi="a version=1 b" version="3.0" program="POWHEG">'),
        ["xmlns:xsi of <LesHouchesEvents>", "program of <LesHouchesEvents>"],
    ),
    "attributes of init": (
        ("<init>", "<init generator='x=1' run = \"7\">"), ["generator of <init>", "run of <init>"],
    ),
    "attributes of the header": (("<header>", "<header lang='en'>"), ["lang of <header>"]),
    "another element": (("<init>", "<xsecinfo neve='3'/>\n<init>"), ["<xsecinfo>"]),
    "a comment in init": (("</init>", "<!-- a -->\n# seed 7\n</init>"), [
        "comments in <init>",
        "lines # in <init>",
    ]),
    "MadGraph's weights": (("<weightgroup name=\"eft\">\n", WEIGHTS), [
        "combine of <weightgroup>", "MUR of <weight>", "MUF of <weight>", "PDF of <weight>",
    ]),
    "MadGraph's events": (("<rwgt>", MGRWT + "<rwgt>"), [
        "<mgrwt>", "<clustering>", "lines #aMCatNLO", "lines #rwgt", "lines #",
    ]),
    "aMC@NLO's events": (("<event>", '<event npLO=" -1 " npNLO=" 0 ">'), [
        "npLO of <event>", "npNLO of <event>",
    ]),
    "between events": (("<event>", "<!-- x -->\n<event>"), ["comments after <init>"]),
}  # fmt: skip


@pytest.mark.parametrize("target", ["a.root", "a.parquet", "a.lhe"])
@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_named(source, tmp_path, name, target):
    """Regression: all of this was left out of what was called a conversion without loss."""
    (old, new), expected = LEFT_OUT[name]
    source.write_text(source.read_text().replace(old, new))
    done = convert(source, tmp_path / target)
    assert list(done.left_out) == expected
    assert convert(tmp_path / target, tmp_path / "again.lhe.gz").left_out == ()


@pytest.mark.parametrize("ntuple", ["ttree", "rntuple"])
def test_nothing_is_left_out_of_a_plain_file(source, tmp_path, ntuple):
    assert convert(source, tmp_path / "a.root", ntuple=ntuple).left_out == ()
    assert convert(tmp_path / "a.root", tmp_path / "a.parquet").left_out == ()
    assert convert(tmp_path / "a.parquet", tmp_path / "a.lhe").left_out == ()


def test_large_headers_and_events_hide_nothing(source, tmp_path):
    padding = "".join(f"<wgt id='{i}'> +1.0e+00 </wgt>\n" for i in range(4000))
    three = "".join(EVENT.format(weight=0.1 * i) for i in range(3))
    text = (TEXT + three + END).replace("<MGRunCard>", "<MGRunCard>" + 300_000 * "#\n")
    text = text.replace("<rwgt>\n", "<rwgt>\n" + padding).replace("</event>", "#pdf 1\n</event>")
    source.write_text(text)
    assert convert(source, tmp_path / "a.parquet").left_out == ("lines #pdf",)


@pytest.mark.parametrize("name", ["a.root", "a.parquet", "a.lhe"])
def test_nothing_is_left_of_a_damaged_source(source, tmp_path, name):
    source.write_text(source.read_text()[:-300])
    target = tmp_path / name
    with pytest.raises(LHEError, match=r"in\.lhe: .*truncated"):
        convert(source, target, chunk_size=5)
    target.write_text("older")
    with pytest.raises(LHEError, match=r"in\.lhe: .*truncated"):
        convert(source, target, chunk_size=5)
    assert target.read_text() == "older"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "in.lhe"])


def test_events_must_all_arrive(source, tmp_path, monkeypatch):
    monkeypatch.setattr(module.events, "count", lambda _path: 24)
    with pytest.raises(SampleError, match="25 events, but 25 were converted and 24 are"):
        convert(source, tmp_path / "a.root")
    assert [p.name for p in tmp_path.iterdir()] == ["in.lhe"]


def test_errors_name_the_target_not_the_temporary_file(source, tmp_path):
    first = lhe.read(source)
    record = ak.with_field(first.events, [float("nan")] * 25, "genWeight")
    events.write(tmp_path / "a.parquet", record, first.info)
    with pytest.raises(LHEError, match="genWeight is nan") as caught:
        convert(tmp_path / "a.parquet", tmp_path / "b.lhe")
    assert str(tmp_path / "b.lhe") in str(caught.value)
    assert not (tmp_path / "b.lhe").exists()


def test_wrong_options(source, tmp_path):
    with pytest.raises(ConfigurationError, match="overwritten"):
        convert(source, source)
    with pytest.raises(ConfigurationError, match="unknown kind"):
        convert(source, tmp_path / "a.txt")
    with pytest.raises(ConfigurationError, match="chunk_size"):
        convert(source, tmp_path / "a.root", chunk_size=0)
    with pytest.raises(ConfigurationError, match="workers"):
        convert_many([], workers=0)
    with pytest.raises(ConfigurationError, match="more than one"):
        convert_many([(source, tmp_path / "a.root"), (source, tmp_path / "a.root")])


def test_many_in_processes(source, tmp_path):
    packed = tmp_path / "in2.lhe.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    pairs = [(source, tmp_path / "a.root"), (packed, tmp_path / "b.parquet")]
    summaries = convert_many(pairs, workers=2)
    assert [s.n_events_out for s in summaries] == [25, 25]
    assert [s.target for s in summaries] == [str(target) for _, target in pairs]
    assert events.read(pairs[0][1]).info == events.read(pairs[1][1]).info
    source.write_text("nothing")
    # In this process: others, which take seconds to start, send what pickle sends.
    with pytest.raises(LHEError, match=r"in\.lhe") as raised:
        convert_many(pairs, workers=1)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (type(copy), str(copy)) == (LHEError, str(raised.value))


def test_many_in_this_process(source, tmp_path):
    assert convert_many([(source, tmp_path / "a.root")], workers=1)[0].n_events_out == 25


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_only_on_a_terminal(monkeypatch):
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress("working", total=2) as advance:
            advance(2)
        assert bool(stream.getvalue()) == stream.isatty()


@pytest.mark.parametrize("name", ["b.lhe", "b.root", "b.parquet"])
def test_the_number_of_workers_changes_nothing(tmp_path, name):
    source = tmp_path / "a.lhe"
    source.write_text(TEXT + "".join(EVENT.format(weight=0.1 * i) for i in range(500)) + END)
    contents = []
    for workers in (1, 2, 4):
        done = convert(source, tmp_path / name, chunk_size=90, workers=workers)
        assert done.n_events_out == 500
        contents.append(events.read(tmp_path / name).events)
    assert contents[0].genWeight.tolist() == [0.1 * i for i in range(500)]
    for other in contents[1:]:
        assert other.to_list() == contents[0].to_list()
