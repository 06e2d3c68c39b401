"""No event gets lost without a word: in files, features, processors, whatever is missing."""

from __future__ import annotations

import re

import awkward as ak
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milinfer.cli import cli
from milinfer.exceptions import SampleError
from milinfer.features.feature_set import event_balance, feature_set
from milinfer.features.processor import FeatureProcessor
from milinfer.io import lhe
from milinfer.io.convert import convert
from milinfer.samples.sample_files import read_sample, sample_balance

INFO = lhe.LHEInfo(processes=(lhe.LHEProcess(1.5, 0.1, 1.0, 1),), process="p", point={"c": 0.0})
reuse = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(
    n_out=st.integers(0, 10**9),
    rejected=st.dictionaries(st.text(max_size=5), st.integers(0, 10**6), max_size=4),
    error=st.integers(-3, 3),
)
def test_what_is_said_adds_up(n_out, rejected, error):
    n_in = n_out + sum(rejected.values()) + error
    if error:
        with pytest.raises(SampleError, match=r"a\.lhe: "):
            event_balance(n_in, n_out, rejected, "a.lhe")
        return
    said = event_balance(n_in, n_out, rejected, "a.lhe")
    numbers = re.match(r"(\d+) events in, (\d+) out, (\d+) rejected", said)
    assert [int(x) for x in numbers.groups()] == [n_in, n_out, sum(rejected.values())]


def make(contents: list[list[int]], seed: int) -> ak.Array:
    """Events of particles of these kinds."""
    rng = np.random.default_rng(seed)
    counts = [len(c) for c in contents]
    n = sum(counts)
    momenta = rng.normal(0, 50, (3, n))
    part = dict(zip(("px", "py", "pz"), momenta, strict=True))
    part |= {"energy": np.sqrt((momenta**2).sum(axis=0)), "mass": np.zeros(n)}
    part |= {"pdgId": np.array([i for c in contents for i in c], dtype=np.int32)}
    part |= {name: np.zeros(n, dtype=np.int32) for name in ("mother1", "mother2")}
    part["status"] = np.ones(n, dtype=np.int32)
    event = {"genWeight": rng.normal(size=len(counts)), "LHE_processId": np.ones(len(counts))}
    return lhe.make_events(counts, part, event)


kinds = st.lists(
    st.lists(st.sampled_from([11, -13, 12, 1, -2, 21, 25]), max_size=7), min_size=1, max_size=12
)


@reuse
@given(contents=kinds, seed=st.integers(0, 10), suffix=st.sampled_from([".lhe", ".root"]))
def test_events_in_are_events_out_and_rejected(tmp_path, contents, seed, suffix):
    file, other = tmp_path / "a.lhe", tmp_path / f"b{suffix}"
    lhe.write(file, make(contents, seed), INFO)
    done = convert(file, other)
    assert (done.n_events_in, done.n_events_out) == (len(contents), len(contents))
    sample = read_sample(other, features="vbf_2l2j", on_missing="reject", chunk_size=5)
    good = [
        sum(abs(i) in (11, 13) for i in c) >= 2 and sum(abs(i) in (1, 2, 21) for i in c) >= 2
        for c in contents
    ]
    assert len(sample) == sum(good)
    assert sum(sample.provenance.get("rejected", {}).values()) == len(contents) - sum(good)
    assert sample_balance(sample, "b").startswith(f"{len(contents)} events in, {sum(good)} out")


@reuse
@given(contents=kinds, seed=st.integers(0, 10), cut=st.floats(-1, 1))
def test_a_processor_counts_what_its_selection_takes_away(contents, seed, cut):
    events = make(contents, seed)
    processor = FeatureProcessor(
        feature_set("vbf_2l2j"),
        selection=lambda e: {"weight": e.genWeight > cut},
        on_missing="reject",
    )
    output = processor.postprocess(processor.process(events))["dataset"]
    n_out = len(output["weight"].value)
    assert n_out + sum(output["rejected"].values()) == len(contents)
    assert output["rejected"].get("weight", 0) == int((events.genWeight <= cut).to_numpy().sum())


def test_the_command_line_says_it_by_reason(tmp_path):
    file = tmp_path / "a.lhe"
    lhe.write(file, make([[11, -11, 1, 2], [11, 1, 2], [11, -11, 1]], 1), INFO)
    said = CliRunner().invoke(
        cli, ["features", str(file), "--out", str(tmp_path / "f.parquet"), "--on-missing", "reject"]
    )
    assert said.exit_code == 0, said.output
    what = "3 events in, 1 out, 2 rejected (fewer than 2 leptons: 1, fewer than 2 jets: 1)"
    assert what in said.output
    said = CliRunner().invoke(cli, ["convert", str(file), "--out", str(tmp_path / "a.root")])
    assert "3 events in, 3 out, 0 rejected" in said.output
