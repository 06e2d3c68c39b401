"""Readers of public samples, on small files in their formats."""

from __future__ import annotations

import numpy as np
import pytest
import vector

from milinfer.datasets.public import (
    DIJET_FEATURES,
    LHCO_COLUMNS,
    TOP_FEATURES,
    lhco_dijets,
    paper_dijets,
    top_quarks,
)
from milinfer.exceptions import ConfigurationError, SampleError

RNG = np.random.default_rng(1)


def jets(n):
    """Two jets back to back with some TeV, as columns in GeV."""
    columns = {}
    for sign, jet in ((1, "j1"), (-1, "j2")):
        for axis in "xyz":
            columns[f"p{axis}{jet}"] = sign * RNG.uniform(800, 1200, n)
        columns[f"m{jet}"] = RNG.uniform(20, 600, n)
        for k in (1, 2, 3):
            columns[f"tau{k}{jet}"] = RNG.uniform(10, 100, n) / k
    return columns


def write_lhco(path, columns):
    pytest.importorskip("tables")
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(columns).to_hdf(path, key="df")
    return path


def by_hand(columns):
    """Features and dijet mass of every event, one by one."""
    rows, masses = [], []
    for i in range(len(columns["mj1"])):
        c = {k: float(v[i]) for k, v in columns.items()}
        one, two = (
            vector.obj(px=c[f"px{j}"], py=c[f"py{j}"], pz=c[f"pz{j}"], mass=c[f"m{j}"])
            for j in ("j1", "j2")
        )
        masses.append((one + two).mass / 1000)
        light, heavy = sorted(("j1", "j2"), key=lambda j: c[f"m{j}"])
        rows.append(
            [
                c[f"m{light}"] / 1000,
                (c[f"m{heavy}"] - c[f"m{light}"]) / 1000,
                *(c[f"tau2{j}"] / c[f"tau1{j}"] if c[f"tau1{j}"] else 0 for j in (light, heavy)),
            ]
        )
    return np.array(rows), np.array(masses)


def test_dijets_with_labels(tmp_path):
    columns = jets(200)
    columns["tau1j1"][3] = columns["tau2j1"][3] = 0.0  # a jet of one constituent
    labels = np.arange(200) % 3 == 0
    path = write_lhco(tmp_path / "v2.features.h5", {**columns, "label": labels.astype(float)})
    features, mass = by_hand(columns)
    samples = lhco_dijets(path)
    assert samples.feature_names == DIJET_FEATURES
    assert samples.values("signal").tolist() == [0, 1]
    inside = (mass > 3.3) & (mass < 3.7)
    assert 10 < inside.sum() < 190
    for k, sample in enumerate(samples):
        np.testing.assert_allclose(sample.features, features[inside & (labels == k)], rtol=1e-5)
    assert lhco_dijets(path, window=None).n_events == 200
    assert samples[0].provenance == {"file": "v2.features.h5"}


def test_dijets_in_two_files(tmp_path):
    signal, background = jets(30), jets(50)
    files = [write_lhco(tmp_path / f"{k}.h5", c) for k, c in enumerate((signal, background))]
    samples = lhco_dijets(*files, window=None)
    assert [len(s) for s in samples] == [50, 30]
    np.testing.assert_allclose(samples.at(signal=1).features, by_hand(signal)[0], rtol=1e-5)
    with pytest.raises(SampleError, match=r"0\.h5 has no columns label; give a file of background"):
        lhco_dijets(files[0])


def test_files_that_are_no_dijets_are_refused(tmp_path):
    with pytest.raises(SampleError, match=r"there is no file .*absent\.h5"):
        lhco_dijets(tmp_path / "absent.h5")
    columns = jets(20)
    del columns["tau2j2"], columns["pxj1"]
    path = write_lhco(tmp_path / "short.h5", {**columns, "label": 0.0})
    with pytest.raises(SampleError, match=r"short\.h5 has no columns pxj1, tau2j2"):
        lhco_dijets(path)
    path = write_lhco(tmp_path / "labels.h5", {**jets(20), "label": 2.0})
    with pytest.raises(SampleError, match="other values than 0"):
        lhco_dijets(path)
    path = write_lhco(tmp_path / "empty.h5", {**jets(20), "label": 0.0})
    with pytest.raises(SampleError, match=r"no signal events with 3\.3 < m_jj"):
        lhco_dijets(path)
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(SampleError, match=r"text\.h5 is not one table"):
        lhco_dijets(tmp_path / "text.h5")


def test_a_pickle_in_a_file_is_not_opened(tmp_path):
    """Pandas writes texts as a pickle, which may hold anything."""
    path = write_lhco(tmp_path / "v2.h5", {**jets(20), "label": 0.0, "note": "a text"})
    with pytest.raises(SampleError, match=r"events of signal|label"):
        lhco_dijets(path)
    path = write_lhco(tmp_path / "words.h5", {**jets(20), "label": "signal"})
    with pytest.raises(SampleError, match="no columns label"):
        lhco_dijets(path)


def write_paper(folder, n=(6, 4)):
    """Arrays of the names, shapes and types of the authors' repository."""
    arrays = {}
    for part, size in zip(("train", "val"), n, strict=True):
        for name, bag in (("1D", 1), ("nD", 3)):
            arrays[f"X_{name}_{part}_phys"] = RNG.normal(size=(size, 4 * bag))
            arrays[f"Y_{name}_{part}_phys"] = (np.arange(size) % 2).astype(float)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    return arrays


@pytest.mark.parametrize(("bag_size", "name"), [(3, "nD"), (1, "1D")])
def test_dijets_of_the_paper(tmp_path, bag_size, name):
    arrays = write_paper(tmp_path)
    for samples, part in zip(paper_dijets(tmp_path, bag_size), ("train", "val"), strict=True):
        for sample in samples:
            rows = arrays[f"X_{name}_{part}_phys"][
                arrays[f"Y_{name}_{part}_phys"] == sample.point["signal"]
            ]
            assert len(sample) == bag_size * len(rows)
            np.testing.assert_allclose(
                sample.features.reshape(len(rows), -1), rows, rtol=1e-6
            )  # bag after bag


def test_other_files_of_the_paper_are_refused(tmp_path):
    write_paper(tmp_path)
    with pytest.raises(ConfigurationError, match="bag_size=2"):
        paper_dijets(tmp_path, 2)
    np.save(tmp_path / "Y_nD_val_phys.npy", np.full(4, 3.0))
    with pytest.raises(SampleError, match=r"Y_nD_val_phys\.npy has other labels"):
        paper_dijets(tmp_path)
    np.save(tmp_path / "X_nD_val_phys.npy", np.zeros((4, 11)))
    with pytest.raises(SampleError, match=r"\(4, 11\).*should be \(n, 12\)"):
        paper_dijets(tmp_path)
    (tmp_path / "X_1D_train_phys.npy").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(SampleError, match=r"X_1D_train_phys\.npy is not a file of numpy arrays"):
        paper_dijets(tmp_path, 1)
    # Regression: the head of an archive and nothing else was an error of zipfile.
    (tmp_path / "X_1D_train_phys.npy").write_bytes(b"PK\x03\x04")
    with pytest.raises(SampleError, match=r"X_1D_train_phys\.npy is not a file of numpy arrays"):
        paper_dijets(tmp_path, 1)
    (tmp_path / "X_nD_train_phys.npy").unlink()
    with pytest.raises(SampleError, match=r"there is no file .*X_nD_train_phys\.npy"):
        paper_dijets(tmp_path)


def test_top_quarks(tmp_path):
    arrays = {}
    for mass, name in ((172.5, "SRGN_Mt_default"), (175.0, "SRGN_Mt_unknown")):
        arrays[mass] = {k: RNG.uniform(50, 300, (7, 4)) for k in ("generator", "simulation")}
        np.savez(tmp_path / f"{name}.npz", **arrays[mass])
    for level in ("simulation", "generator"):
        samples = top_quarks(tmp_path, level=level)
        assert samples.feature_names == TOP_FEATURES
        for sample in samples:
            expected = arrays[sample.point["m_t"]][level]
            np.testing.assert_allclose(sample.features, expected, rtol=1e-6)
    with pytest.raises(SampleError, match="no array 'parton'; it has generator, simulation"):
        top_quarks(tmp_path, level="parton")
    np.savez(tmp_path / "SRGN_Mt_unknown.npz", simulation=np.zeros((3, 5)))
    with pytest.raises(SampleError, match=r"unknown\.npz: array 'simulation' has the shape \(3, 5"):
        top_quarks(tmp_path)


def test_the_columns():
    assert LHCO_COLUMNS[:4] == ("pxj1", "pyj1", "pzj1", "mj1")
    assert LHCO_COLUMNS[-1] == "tau3j2"
    assert len(LHCO_COLUMNS) == 14
