"""Files at addresses: the same events as on this machine, and errors that name the address."""

from __future__ import annotations

import importlib
import sys

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFile

import milinfer as mil
from milinfer.cli import cli
from milinfer.datasets import vbf_hww
from milinfer.exceptions import ConfigurationError, MissingFileError, SampleError
from milinfer.io import events
from milinfer.io.events import open_reader
from milinfer.samples.streaming import StreamedSample
from milinfer.utils.addresses import open_bytes
from milinfer.workflow.inspection import inspect_file

NAMES = ("a.lhe", "a.lhe.gz", "a.root", "a.parquet")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Events in every format, here and in a file system that only fsspec knows."""
    folder = tmp_path_factory.mktemp("here")
    record = vbf_hww.generate(40, {"c_HW": 0.5}, seed=1).to_events(vbf_hww.DEFAULT_WEIGHTS)
    for name in NAMES:
        events.write(folder / name, *record)
    sample = mil.Sample.from_file(folder / "a.lhe")
    for name in ("features.parquet", "features.root"):
        sample.to_file(folder / name)
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/*", "/there/")
    yield folder
    memory.rm("/there", recursive=True)


@pytest.mark.parametrize("name", [*NAMES, "features.parquet", "features.root"])
@pytest.mark.parametrize("start", ["memory://there/", "simplecache::memory://there/"])
def test_samples_are_those_of_local_files(files, name, start):
    here, there = (mil.Sample.from_file(f"{place}{name}") for place in (f"{files}/", start))
    assert there.point == here.point == {"c_HW": 0.5}
    np.testing.assert_array_equal(there.features, here.features)
    np.testing.assert_array_equal(there.weights, here.weights)
    assert there.reweights.keys() == here.reweights.keys()
    if name in NAMES:
        assert events.count(f"{start}{name}") == 40


def test_commands_read_addresses(files, tmp_path):
    """And find out what a file contains, in each of its formats."""
    for name in NAMES:
        target = tmp_path / f"{name}.parquet"
        arguments = ["features", f"memory://there/{name}", "--out", str(target)]
        run = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert run.exit_code == 0, run.output
        here = mil.Sample.from_file(files / name)
        np.testing.assert_array_equal(mil.Sample.from_file(target).features, here.features)
        facts = inspect_file(f"memory://there/{name}")
        assert facts["events"] == 40
        assert facts == inspect_file(files / name)


def test_pieces_of_files(files):
    """A range of events, files that are read a row group at a time, and coffea."""
    address = "memory://there/features.parquet"
    some = mil.Sample.from_file(address, events=(10, 20))
    here = mil.Sample.from_file(files / "features.parquet")
    np.testing.assert_array_equal(some.features, here.features[10:20])
    streamed = StreamedSample.from_file(address)
    assert (len(streamed), streamed.point) == (40, {"c_HW": 0.5})
    (group,) = streamed.read([0])
    np.testing.assert_array_equal(group.features, here.features)
    made = mil.run_features({"d": ["memory://there/a.root"]})["d"]
    np.testing.assert_allclose(made.features, here.features, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_package_is_named(monkeypatch, name):
    registry = importlib.import_module("fsspec.registry")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setattr(registry, "_registry", {})
    monkeypatch.setattr(registry, "registry", {})
    with pytest.raises(ConfigurationError, match=rf"^s3://bucket/{name}: .*pip install s3fs"):
        mil.Sample.from_file(f"s3://bucket/{name}")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_or_protocol_is_named(files, name):
    for address in (f"memory://there/no_{name}", f"nonsense://there/{name}"):
        with pytest.raises(SampleError, match=rf"^{address}: this cannot be read"):
            mil.Sample.from_file(address)


@pytest.mark.parametrize("name", ["a.lhe", "a.parquet"])
def test_a_lost_connection_names_the_file(files, monkeypatch, name):
    monkeypatch.setattr("milinfer.utils.addresses._BUFFER", 1000)
    address = f"memory://there/{name}"
    with open_reader(address) as reader:

        def lost(*_, **__):
            msg = "connection reset by peer"
            raise ConnectionResetError(msg)

        monkeypatch.setattr(MemoryFile, "read", lost)
        with pytest.raises(SampleError, match=rf"^{address}: .*connection reset by peer"):
            list(reader.chunks(10))


def test_what_is_not_read_from_addresses(tmp_path):
    sample = mil.datasets.gaussian.generate(10, 0.0, seed=1)
    for use in (
        mil.ProcessVariations.load,
        mil.AnalysisConfig.from_file,
        sample.to_file,
    ):
        with pytest.raises(ConfigurationError, match=r"^s3://bucket/a\.parquet is an address"):
            use("s3://bucket/a.parquet")
    sample.to_file((tmp_path / "a.parquet").as_uri())
    assert len(mil.Sample.from_file(tmp_path / "a.parquet")) == 10


def test_bytes(files):
    content = (files / "a.lhe").read_bytes()
    with open_bytes("memory://there/a.lhe") as file:
        assert file.read() == content
        file.seek(100)
        assert (file.tell(), file.read(5)) == (100, content[100:105])
    with pytest.raises(MissingFileError, match=r"absent\.lhe"):
        open_bytes("absent.lhe")
