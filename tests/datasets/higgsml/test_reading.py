"""Files in the format of HiggsML: read whole and in part, and what is wrong with them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milinfer.datasets import higgsml
from milinfer.exceptions import SampleError

EVENTS = higgsml.generate(50, seed=1)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "events.parquet"
    higgsml.write_events(path, EVENTS)
    return path


def changed(path, name, event, value):
    """The file with another value in one event, or without a column."""
    table = pq.read_table(path)
    k = table.column_names.index(name)
    if value is None:
        table = table.remove_column(k)
    else:
        values = table[name].to_pylist()
        values[event] = value
        table = table.set_column(k, name, pa.array(values, table[name].type))
    pq.write_table(table, path)
    return path


def test_reads_what_was_written(file):
    events = higgsml.read_events(file)
    assert np.array_equal(events.processes, EVENTS.processes)
    assert all(np.array_equal(events.columns[n], EVENTS.columns[n]) for n in higgsml.COLUMNS)
    assert events.weights == pytest.approx(EVENTS.weights)
    table = pq.read_table(file)
    labels = dict(
        zip(table["detailed_labels"].to_pylist(), table["labels"].to_pylist(), strict=True)
    )
    assert labels == {"htautau": 1, "ztautau": 0, "ttbar": 0, "diboson": 0}


def test_part_of_a_file_stands_for_all_events(file):
    part = higgsml.read_events(file, events=(50, 150))
    assert part.rows.tolist() == list(range(50, 150))
    assert np.array_equal(part.processes, EVENTS.processes[50:150])
    assert part.weights.sum() == pytest.approx(EVENTS.weights.sum())
    assert higgsml.read_events(file, expected=7.0).weights.sum() == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PRI_met", None, "no columns PRI_met"),
        ("PRI_met", float("nan"), r"column 'PRI_met' is nan in event 3"),
        ("PRI_had_pt", -25.0, r"column 'PRI_had_pt' is -25 in event 3"),
        ("PRI_jet_leading_pt", -3.0, r"column 'PRI_jet_leading_pt' is -3 in event 3"),
        ("PRI_jet_leading_eta", 1.5, r"some of the columns 'PRI_jet_leading_…' are missing"),
        ("weights", -1.0, r"column 'weights' is -1 in event 3"),
        ("detailed_labels", "wjets", "column 'detailed_labels' contains 'wjets'"),
        ("labels", 2.0, r"event 3 \(counted from 0\) is of \w+ but has the label 2"),
    ],
)
def test_errors_name_file_column_and_event(file, name, value, message):
    no_jet = int(np.argmin(EVENTS.has_jet("leading")))
    event = no_jet if name == "PRI_jet_leading_eta" else 3
    with pytest.raises(SampleError, match=message) as error:
        higgsml.read_events(changed(file, name, event, value))
    assert str(file) in str(error.value)


def test_metadata_say_how_many_events_there_are(file):
    metadata = file.with_name("events_metadata.json")
    metadata.write_text(json.dumps({"sum_weights": "many"}), encoding="utf-8")
    with pytest.raises(SampleError, match=r"events_metadata\.json has no number 'sum_weights'"):
        higgsml.read_events(file)
    metadata.write_text(json.dumps({"sum_weights": 0}), encoding="utf-8")
    with pytest.raises(SampleError, match="sum_weights is 0; it must be positive"):
        higgsml.read_events(file)
    metadata.unlink()
    with pytest.raises(SampleError, match="copy it there, or give expected="):
        higgsml.read_events(file)


def test_data_have_no_process_to_write(file):
    data = higgsml.HiggsEvents(
        EVENTS.columns, np.full(len(EVENTS), -1), EVENTS.weights, EVENTS.rows
    )
    with pytest.raises(SampleError, match="unknown process"):
        higgsml.write_events(file, data)
