r"""Read the public samples of Nachman and Thaler [NT], dijets and top quarks, from their files.

================ ======================================== =====================================
function         files                                    format
================ ======================================== =====================================
`lhco_dijets`    derived features of the R&D data set of  as public code reads them: HDF5 by
                 the LHC Olympics 2020 (on Zenodo)        pandas, 14 columns and a label
`paper_dijets`   ``datafiles`` of the authors'            checked with the files themselves
                 repository bnachman/EnsembleLearning
`top_quarks`     samples at two top masses (on Zenodo)    as the authors' notebook reads them
================ ======================================== =====================================

All functions return events with features in the form of a :class:`~milinfer.SampleSet`.  Its
parameter is ``signal`` (0 or 1) for dijets, and ``m_t`` for top quarks.  `paper_dijets` returns two
sets, for training and for tests.  Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.array_files import read_array, read_arrays

__all__ = [
    "DIJET_FEATURES",
    "LHCO_COLUMNS",
    "TOP_FEATURES",
    "lhco_dijets",
    "paper_dijets",
    "top_quarks",
]

DIJET_FEATURES = ("m_lighter", "delta_m", "tau21_lighter", "tau21_heavier")
"""Features of [NT], §III A 2: lighter jet mass, difference of jet masses (TeV), τ21 of each jet."""

LHCO_COLUMNS = tuple(
    f"{name}{jet}"
    for jet in ("j1", "j2")
    for name in ("px", "py", "pz", "m", "tau1", "tau2", "tau3")
)
"""Columns of a file of derived features, in GeV; ``label`` (1: signal) may follow them."""

TOP_FEATURES = ("m_b1munu", "mass_1", "mass_2", "mass_3")
"""Columns in GeV.  The notebook only names the first column, so the others are numbered here; the
paper lists m_b1μν, m_b2μν, m_b1jj and m_b2jj."""

_TOP_FILES = {172.5: "SRGN_Mt_default.npz", 175.0: "SRGN_Mt_unknown.npz"}
_BAGS = {1: "1D", 3: "nD"}


def lhco_dijets(
    path: PathLikeStr,
    background: PathLikeStr | None = None,
    *,
    window: tuple[float, float] | None = (3.3, 3.7),
) -> SampleSet:
    """Read dijets of the LHC Olympics 2020 R&D data set, with the four features of [NT].

    Parameters
    ----------
    path
        File ``events_anomalydetection_v2.features.h5`` with a label for each event, or a file with
        only signal if `background` is given.
    background
        File with only background.
    window
        Range of the dijet mass in TeV; None keeps all events.

    Returns
    -------
    SampleSet
        Background at ``signal = 0`` and signal at ``signal = 1``, with :data:`DIJET_FEATURES`.  For
        a jet with τ1 = 0 the feature τ21 is 0, as in the code of the paper.

    Raises
    ------
    SampleError
        If a file is not a table of this kind, if it lacks columns, or if there are no signal events
        or no background events.

    Examples
    --------
    >>> lhco_dijets("events_anomalydetection_v2.features.h5")  # doctest: +SKIP
    SampleSet(2 points in signal, ... events, 4 features)
    """
    if background is None:
        frame = _read_frame(Path(path), ("label",))
        labels = frame["label"]
        if not np.all(np.isin(labels, (0, 1))):
            msg = f"{path}: column 'label' has other values than 0 (background) and 1 (signal)"
            raise SampleError(msg)
        parts = [(Path(path), {n: c[labels == k] for n, c in frame.items()}) for k in (0, 1)]
    else:
        files = (Path(background), Path(path))
        parts = [(file, _read_frame(file)) for file in files]
    samples = []
    for signal, (file, frame) in enumerate(parts):
        columns = {name: frame[name] for name in LHCO_COLUMNS}
        features, mass = _dijet_features(columns)
        if window is not None:
            features = features[(mass > window[0]) & (mass < window[1])]
        if not len(features):
            what = "signal" if signal else "background"
            inside = "" if window is None else f" with {window[0]} < m_jj / TeV < {window[1]}"
            msg = f"{file}: no {what} events{inside}; widen window=, or check the labels"
            raise SampleError(msg)
        samples.append(_sample(features, DIJET_FEATURES, {"signal": float(signal)}, "dijets", file))
    return SampleSet(tuple(samples))


def paper_dijets(folder: PathLikeStr, bag_size: int = 3) -> tuple[SampleSet, SampleSet]:
    """Read the dijets of figs. 2 and 6 of [NT] as published by the authors, for training and tests.

    The features are standardised, and the files do not contain the original means and widths.  In
    bags of three events, the first, second and third events have been standardised separately, with
    widths that differ by less than 1 %.  The files of single events and of bags contain the same
    196 647 events, but the halves for training and tests have been chosen independently.  Therefore
    half of the events in the test bags are also among the single events for training: use either
    single events or bags, and not both.

    Parameters
    ----------
    folder
        Folder ``datafiles`` of the authors' repository.
    bag_size
        3 for the events of the bags of three, in the order of the bags; 1 for the single events.

    Returns
    -------
    tuple of SampleSet
        Training events and test events, both with the background at ``signal = 0`` and the signal
        at ``signal = 1``.

    Raises
    ------
    ConfigurationError
        If `bag_size` is neither 1 nor 3.
    SampleError
        If a file is missing, or if its shape or its labels are not those of the published file.

    Examples
    --------
    With files as small as possible in place of the published ones:

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for part in ("train", "val"):
    ...         np.save(f"{folder}/X_nD_{part}_phys.npy", np.zeros((2, 12)))
    ...         np.save(f"{folder}/Y_nD_{part}_phys.npy", np.array([0.0, 1.0]))
    ...     train, test = paper_dijets(folder)
    >>> train
    SampleSet(2 points in signal, 6 events, 4 features)
    """
    if bag_size not in _BAGS:
        msg = f"bag_size={bag_size}; the authors published single events (1) and bags of 3"
        raise ConfigurationError(msg)
    parts = []
    for part in ("train", "val"):
        files = [Path(folder) / f"{c}_{_BAGS[bag_size]}_{part}_phys.npy" for c in "XY"]
        rows, labels = (_read_array(file) for file in files)
        width = len(DIJET_FEATURES) * bag_size
        if rows.ndim != 2 or rows.shape[1] != width or labels.shape != rows.shape[:1]:
            msg = (
                f"{files[0]} has the shape {rows.shape} and {files[1].name} {labels.shape}; they "
                f"should be (n, {width}) and (n,)"
            )
            raise SampleError(msg)
        if not np.all(np.isin(labels, (0, 1))):
            msg = f"{files[1]} has other labels than 0 and 1"
            raise SampleError(msg)
        parts.append(
            SampleSet(
                tuple(
                    _sample(
                        rows[labels == k].reshape(-1, len(DIJET_FEATURES)),
                        DIJET_FEATURES,
                        {"signal": float(k)},
                        "dijets",
                        files[0],
                    )
                    for k in (0, 1)
                )
            )
        )
    return parts[0], parts[1]


def top_quarks(folder: PathLikeStr, *, level: str = "simulation") -> SampleSet:
    """Read top quark pairs at two masses ([NT], §III A 3).

    The function reads the format of the authors' notebook; it has not been tested with the
    published files.

    Parameters
    ----------
    folder
        Folder with ``SRGN_Mt_default.npz`` (172.5 GeV) and ``SRGN_Mt_unknown.npz`` (175 GeV).
    level
        Name of the array to read: ``"simulation"`` (after the detector) or ``"generator"``.

    Returns
    -------
    SampleSet
        Samples at ``m_t`` = 172.5 and 175 GeV, with :data:`TOP_FEATURES`.

    Raises
    ------
    SampleError
        If a file or its array is missing, or if an array does not have four columns.

    Examples
    --------
    With files as small as possible in place of the published ones:

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("SRGN_Mt_default", "SRGN_Mt_unknown"):
    ...         np.savez(f"{folder}/{name}.npz", simulation=np.full((3, 4), 150.0))
    ...     samples = top_quarks(folder)
    >>> samples
    SampleSet(2 points in m_t, 6 events, 4 features)
    """
    samples = []
    for mass, name in _TOP_FILES.items():
        file = Path(folder) / name
        masses = _read_array(file, level)
        if masses.ndim != 2 or masses.shape[1] != len(TOP_FEATURES):
            msg = f"{file}: array {level!r} has the shape {masses.shape}; it should be (n, 4)"
            raise SampleError(msg)
        samples.append(_sample(masses, TOP_FEATURES, {"m_t": mass}, "top quarks", file))
    return SampleSet(tuple(samples))


def _dijet_features(columns: dict[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Features of [NT] (n, 4) and the dijet mass in TeV (n,), from columns in GeV."""
    momenta = {j: [columns[f"p{axis}{j}"] for axis in "xyz"] for j in ("j1", "j2")}
    masses = np.stack([columns["mj1"], columns["mj2"]])
    energies = [
        np.sqrt(sum(p**2 for p in momenta[j]) + m**2)
        for j, m in zip(("j1", "j2"), masses, strict=True)
    ]
    total = sum((a + b) ** 2 for a, b in zip(momenta["j1"], momenta["j2"], strict=True))
    dijet = np.sqrt(np.maximum((energies[0] + energies[1]) ** 2 - total, 0))
    tau1, tau2 = (np.stack([columns[f"tau{k}{j}"] for j in ("j1", "j2")]) for k in (1, 2))
    tau21 = np.divide(tau2, tau1, out=np.zeros_like(tau1), where=tau1 > 0)
    order = np.argsort(masses, axis=0, kind="stable")  # lighter, heavier
    light, heavy = np.take_along_axis(masses, order, axis=0)
    shapes = np.take_along_axis(tau21, order, axis=0)
    return np.column_stack([light / 1e3, (heavy - light) / 1e3, *shapes]), dijet / 1e3


def _read_frame(file: Path, more: tuple[str, ...] = ()) -> dict[str, FloatArray]:
    """Read a table of derived features by column, each of shape (n_events,).

    The reader of pandas is not used, because it unpickles the objects in a file.
    """
    import h5py

    _require_file(file)
    columns: dict[str, FloatArray] = {}
    try:
        with h5py.File(file, "r") as store:
            (group,) = store.values()
            for i in range(int(group.attrs["nblocks"])):
                values = np.asarray(group[f"block{i}_values"][()])
                if values.dtype.kind in "fiub":
                    names = [name.decode() for name in group[f"block{i}_items"][()]]
                    columns |= dict(zip(names, values.astype(np.float64).T, strict=True))
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        msg = f"{file} is not one table that pandas wrote with format='fixed': {error}"
        raise SampleError(msg) from error
    missing = [name for name in (*LHCO_COLUMNS, *more) if name not in columns]
    if missing:
        hint = "; give a file of background too" if missing == ["label"] else ""
        msg = f"{file} has no columns {', '.join(missing)}{hint}"
        raise SampleError(msg)
    return columns


def _read_array(file: Path, key: str | None = None) -> FloatArray:
    _require_file(file)
    try:
        if key is None:
            return read_array(file).astype(np.float64)
        arrays = read_arrays(file)
        if key in arrays:
            return arrays[key].astype(np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{file} is not a file of numpy arrays: {error}"
        raise SampleError(msg) from error
    msg = f"{file} has no array {key!r}; it has {', '.join(arrays) or 'none'}"
    raise SampleError(msg)


def _require_file(file: Path) -> None:
    if not file.is_file():
        msg = (
            f"there is no file {file}; download it first, milinfer.datasets.public names its source"
        )
        raise SampleError(msg)


def _sample(
    features: FloatArray,
    names: tuple[str, ...],
    point: dict[str, float],
    process: str,
    file: Path,
) -> Sample:
    provenance = {"file": file.name}
    return Sample(
        features.astype(np.float32), names, point=point, process=process, provenance=provenance
    )
