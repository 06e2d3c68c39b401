"""Parquet files of nominal and varied events, divided into folders."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milinfer.exceptions import ConfigurationError, MissingFileError, SampleError
from milinfer.samples import variation_parts
from milinfer.samples.streamed_variations import StreamedVariations
from milinfer.samples.variation_joining import joined_variations
from milinfer.samples.variations import ProcessVariations

N = 3000
WEIGHTS = {("muR", 1.0): "w_up"}


def frames(seed=1):
    """Events in any order; the variation loses some, and gains others."""
    rng = np.random.default_rng(seed)
    run, number = np.divmod(rng.permutation(2 * N), 1000)
    x, w = rng.normal(size=2 * N), rng.choice([1.0, 2.0, -0.5], 2 * N)
    inside = np.flatnonzero(np.abs(x) < 1)
    moved = rng.permutation(np.flatnonzero(np.abs(x + 0.2) < 1))
    nominal = {"run": run, "event": number, "x": x, "w": w, "w_up": w * (1 + 0.1 * (x > 0))}
    varied = {"run": run, "event": number, "x": x + 0.2, "w": w}
    return (
        {name: column[inside] for name, column in nominal.items()},
        {name: column[moved] for name, column in varied.items()},
    )


@pytest.fixture
def files(tmp_path):
    def write(*tables):
        paths = []
        for k, table in enumerate(tables):
            paths.append(tmp_path / f"file_{k}.parquet")
            pq.write_table(pa.table(table), paths[-1], row_group_size=700)
        return paths

    return write


def divided(paths, folder, **options):
    options = {
        "event": ["run", "event"],
        "weights": "w",
        "weight_variations": WEIGHTS,
        "events_in_memory": 8000,
        "process": "top",
        "cross_section": 2.0,
    } | options
    return StreamedVariations.from_files(folder, paths[0], {("jes", 1.0): paths[1]}, **options)


def rows(process):
    """Every event with what belongs to it."""
    nominal = process.nominal[0]
    jes, theory = process.variations
    table = [nominal.features[:, 0], nominal.weights, theory.sample.weights]
    out = sorted(np.transpose(table).tolist())
    there = jes.partners >= 0
    partner = np.full(len(jes.sample), -9.0)
    partner[there] = nominal.features[jes.partners[there], 0]
    table = [jes.sample.features[:, 0], jes.sample.weights, partner]
    return out, sorted(np.transpose(table).tolist())


@pytest.mark.parametrize(("features", "n_open"), [(None, 200), (["x"], 4)])
def test_parts_have_all_events(files, tmp_path, monkeypatch, features, n_open):
    """What they have together is what data frames in memory give."""
    monkeypatch.setattr(variation_parts, "_OPEN", n_open)
    nominal, up = frames()
    streamed = divided(files(nominal, up), tmp_path / "parts", features=features)
    whole = ProcessVariations.from_arrays(
        nominal,
        {("jes", 1.0): up},
        ["x"],
        event=["run", "event"],
        weights="w",
        weight_variations=WEIGHTS,
        process="top",
        cross_section=2.0,
    )
    parts = list(streamed.parts())
    assert len(parts) > 2
    assert streamed.n_events == len(nominal["x"]) + len(up["x"])
    together = ProcessVariations(
        *joined_variations([(p.nominal, p.variations) for p in parts], scaled=True)
    )
    assert rows(together) == rows(whole)
    assert {p.nominal[0].cross_section for p in parts} == {2.0}
    again = StreamedVariations.from_folders([f.path for f in streamed.folders])
    assert again.n_events == streamed.n_events
    assert not [p for p in (tmp_path / "parts").iterdir() if not p.name.startswith("part_")]


def test_bad_files_are_named(files, tmp_path):
    nominal, up = frames()
    paths = files(nominal, {k: v for k, v in up.items() if k != "x"} | {"y": up["x"]})
    with pytest.raises(SampleError, match=r"file_1\.parquet has no columns x; it has"):
        divided(paths, tmp_path / "a")
    paths = files({k: v for k, v in nominal.items() if k != "w_up"}, up)
    with pytest.raises(SampleError, match=r"file_0\.parquet has no columns w_up"):
        divided(paths, tmp_path / "b")
    paths = files(nominal, {k: v for k, v in up.items() if k != "w"})
    with pytest.raises(SampleError, match=r"file_1\.parquet has no columns w;"):
        divided(paths, tmp_path / "c")
    paths = files(nominal, up | {"event": up["event"] + 0.5})
    with pytest.raises(SampleError, match=r"file_1\.parquet: column 'event' has no whole number"):
        divided(paths, tmp_path / "d")
    with pytest.raises(MissingFileError, match="absent"):
        divided([paths[0], tmp_path / "absent.parquet"], tmp_path / "e")


def test_bad_events_are_named(files, tmp_path):
    nominal, up = frames()
    twice = {k: np.concatenate([v, v[:1]]) for k, v in up.items()}
    with pytest.raises(SampleError, match=r"file_0\.parquet and its variations, part .* jes=1"):
        divided(files(nominal, twice), tmp_path / "a")
    nan = up | {"w": np.where(np.arange(len(up["w"])) == 7, np.nan, up["w"])}
    with pytest.raises(
        SampleError, match=r"part \d of 6 \(rows of this part\): .* jes=1: column 'w' is nan"
    ):
        divided(files(nominal, nan), tmp_path / "b")
    others = up | {"run": up["run"] + 100}
    with pytest.raises(SampleError, match=r"none of its .* events is among"):
        divided(files(nominal, others), tmp_path / "c")
    # Nothing is left half-written.
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".parquet"]


def test_parts_need_a_new_folder(files, tmp_path):
    paths = files(*frames())
    with pytest.raises(ConfigurationError, match="is not empty; name a new folder"):
        divided(paths, tmp_path)
    with pytest.raises(ConfigurationError, match="is not empty"):
        divided(paths, paths[0])
    with pytest.raises(ConfigurationError, match="must be at least 4"):
        divided(paths, tmp_path / "parts", events_in_memory=3)
