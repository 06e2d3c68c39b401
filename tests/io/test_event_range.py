"""Ranges of events of files of every kind."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from milinfer.datasets import gaussian, vbf_hww
from milinfer.exceptions import ConfigurationError, LHEError, SampleError
from milinfer.features.feature_set import FeatureSet
from milinfer.features.objects import Collection
from milinfer.io import events as event_files
from milinfer.io.event_range import EventRange
from milinfer.samples.fingerprints import share_events, sketch
from milinfer.samples.sample import Sample, check_sample_counts

N = 300
KINDS = ["events.lhe", "events.lhe.gz", "events.root", "events.parquet"]
FLAT = ["sample.root", "sample.parquet", "foreign.root", "foreign.parquet"]
X = np.random.default_rng(1).normal(size=N)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same events in files of every kind."""
    folder = tmp_path_factory.mktemp("files")
    made = vbf_hww.generate(N, {"c_HW": 0.5}, seed=1).to_events(vbf_hww.DEFAULT_WEIGHTS)
    for name in KINDS:
        event_files.write(folder / name, *made)
    sample = gaussian.generate(N, 0.5, seed=1)
    sample.to_file(folder / "sample.root")
    sample.to_file(folder / "sample.parquet")
    table = pa.table({"x": X})
    pq.write_table(table, folder / "foreign.parquet", row_group_size=70)
    with uproot.recreate(folder / "foreign.root") as file:
        file.mktree("t", {"x": "f8"})
        file["t"].extend({"x": X})
    return folder


def read(path, **options):
    if path.name.startswith("foreign"):
        options |= {"features": ["x"], "weight": None, "point": {}, "cross_section": 2.0}
    return Sample.from_file(path, **options)


@pytest.mark.parametrize("name", KINDS + FLAT)
@pytest.mark.parametrize("events", [100, (100, 170), (0, N), (N - 1, N), (70, 140), [5, 6]])
def test_events_of_a_range_are_those_of_the_file(folder, name, events):
    whole, part = read(folder / name), read(folder / name, events=events)
    start, stop = EventRange.of(events)
    np.testing.assert_array_equal(part.features, whole.features[start:stop])
    np.testing.assert_array_equal(part.weights, whole.weights[start:stop])
    assert part.reweights.keys() == whole.reweights.keys()
    for key, column in whole.reweights.items():
        np.testing.assert_array_equal(part.reweights[key], column[start:stop])
    # A random part of the file: the cross-section is that of all events.
    np.testing.assert_equal(part.cross_section, whole.cross_section)
    np.testing.assert_equal(part.cross_section_error, whole.cross_section_error)
    assert part.provenance["events"] == [start, stop]
    assert check_sample_counts(part, name).startswith(f"{stop - start} events in")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("options", [{"chunk_size": 7}, {"workers": 2, "chunk_size": 30}])
def test_chunks_and_threads_change_nothing(folder, name, options):
    part, same = (
        Sample.from_file(folder / name, events=(20, 101), **more) for more in ({}, options)
    )
    np.testing.assert_array_equal(part.features, same.features)


@pytest.mark.parametrize("name", KINDS + FLAT)
@pytest.mark.parametrize("events", [N + 1, (N, N + 5), (2, 5 * N)])
def test_a_range_beyond_the_end_names_both_numbers(folder, name, events):
    stop = EventRange.of(events).stop
    with pytest.raises(SampleError, match=rf"{name} has {N} events, .* up to {stop}; ask"):
        read(folder / name, events=events)


@pytest.mark.parametrize("events", [0, -1, (5, 5), (7, 3), (-1, 3), (1, 2, 3), True, (1.0, 2), "9"])
def test_ranges_without_events_or_numbers(folder, events):
    with pytest.raises(ConfigurationError, match="events="):
        read(folder / "events.lhe", events=events)


def test_text_of_the_command_line():
    assert EventRange.parse("10") == (0, 10)
    assert str(EventRange.parse("10:20")) == "10:20"
    for text in ("", "a", "1:2:3", "5:4", ":", "1.5"):
        with pytest.raises(ConfigurationError, match="events="):
            EventRange.parse(text)


def test_reading_stops_early(folder, tmp_path):
    """What comes after the range is not read: a file cut there is fine up to there."""
    text = (folder / "events.lhe").read_bytes()
    cut = tmp_path / "cut.lhe"
    cut.write_bytes(text[: int(0.9 * len(text))])
    with pytest.raises(LHEError, match="truncated"):
        Sample.from_file(cut)
    part = Sample.from_file(cut, events=50)
    np.testing.assert_array_equal(
        part.features, Sample.from_file(folder / "events.lhe", events=50).features
    )
    with pytest.raises(LHEError, match="truncated"):
        Sample.from_file(cut, events=(10, N))


def test_only_row_groups_of_the_range_are_read(folder, monkeypatch):
    groups = []
    original = pq.ParquetFile.read_row_groups

    def record(self, numbers, **options):
        groups.extend(numbers)
        return original(self, numbers, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", record)
    read(folder / "foreign.parquet", events=(70, 141))
    assert groups == [1, 2]


@pytest.mark.parametrize("name", ["events.lhe", "sample.parquet"])
def test_fingerprints_know_the_range(folder, name):
    def mark(*events):
        return sketch(read(folder / name, events=events))

    assert share_events(mark(0, 200), mark(100, N))
    assert not share_events(mark(0, 150), mark(150, N))


def test_a_selection_after_a_range(folder):
    """The fraction that passes is that of the events read."""

    def electrons(events):
        parts = events.LHEPart
        chosen = (parts.status == 1) & (abs(parts.pdgId) == 11) & (parts.pt > 60)
        return {"electrons": parts[chosen]}

    hard = FeatureSet(
        "hard", {"pt": lambda o: o.e0.pt}, (Collection("electrons", "e", 1),), electrons
    )
    path = folder / "events.root"
    whole = Sample.from_file(path, features=hard, on_missing="reject")
    part = Sample.from_file(path, features=hard, on_missing="reject", events=100)
    full = Sample.from_file(path).cross_section
    assert 0 < len(part) < 100
    assert part.cross_section == pytest.approx(full * len(part) / 100)
    assert abs(part.cross_section - whole.cross_section) < 5 * part.cross_section_error
    assert part.cross_section_error > whole.cross_section_error
