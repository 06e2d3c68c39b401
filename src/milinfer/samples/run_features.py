"""Compute the features of many files with coffea, and make samples of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import ConfigurationError, MilinferError, SampleError
from milinfer.features.processor import EventSchema, FeatureProcessor, chunk_key
from milinfer.io.event_record.info import LHEInfo
from milinfer.samples.accumulators import accumulator_fields
from milinfer.samples.file_points import (
    ParameterNames,
    ReweightPoints,
    file_points,
    points_remedy,
    resolve_point,
)
from milinfer.samples.sample import Sample
from milinfer.utils.parallel import require_client

if TYPE_CHECKING:
    from milinfer.features.feature_set import FeatureSet
    from milinfer.io.event_record.branches import FileMetadata
    from milinfer.typing import AwkwardArray

__all__ = ["make_executor", "run_features"]

_KEYS = ("point", "process", "cross_section", "cross_section_error")


def make_executor(
    name: str | None = None, workers: int = 1, *, client: Any = None, retries: int = 0
) -> Any:
    """Make a coffea executor: ``"iterative"``, ``"futures"`` or ``"dask"``.

    Without a name: dask with a client, else iterative for one worker, else futures (coffea's own
    pool, which does not fork and so works after TensorFlow has run).  Chunks are tried ``retries``
    times again whatever the error: worth it for files on a network only.

    Raises
    ------
    ConfigurationError
        If the executor is unknown, or `client` is not a client or is combined with another
        executor.

    Examples
    --------
    >>> make_executor(workers=1)
    IterativeExecutor(...)
    """
    from coffea import processor

    require_client(client, workers)
    if client is not None and name not in (None, "dask"):
        msg = f"client= is for executor='dask', not {name!r}; leave one of them out"
        raise ConfigurationError(msg)
    alone = "iterative" if workers == 1 else "futures"
    name = name or (alone if client is None else "dask")
    if name == "iterative":
        return processor.IterativeExecutor(status=False, retries=retries)
    if name == "futures":
        return processor.FuturesExecutor(workers=workers, status=False, retries=retries)
    if name == "dask":
        return processor.DaskExecutor(client=client, status=False, retries=retries)
    msg = f"unknown executor {name!r}; choose iterative, futures or dask, or give one of coffea's"
    raise ConfigurationError(msg)


def run_features(
    fileset: Mapping[str, Any],
    *,
    features: str | FeatureSet = "vbf_2l2j",
    executor: Any = None,
    workers: int = 1,
    client: Any = None,
    schema: Any = None,
    chunksize: int = 100_000,
    treename: str = "Events",
    parameters: ParameterNames | None = None,
    reweight_points: ReweightPoints | None = None,
    **options: Any,
) -> dict[str, Sample]:
    """Compute features of a fileset with coffea: one sample for each dataset.

    Parameters
    ----------
    fileset
        As coffea takes it: dataset name to list of files or to ``{"files": …, "metadata": …}``.
        The metadata may have ``point``, ``process``, ``cross_section`` and
        ``cross_section_error``; missing entries come from files that milinfer has written.
    features
        Feature set or its name.
    executor
        coffea executor or its name; default: see :func:`make_executor`.
    workers
        Processes.
    client
        Client of a dask cluster, whose workers read the files instead.  They need the same paths: a
        shared file system, or xrootd.  The chunks of a worker that dies are read again.
    schema
        coffea schema; default: :class:`~milinfer.features.processor.EventSchema`.
    chunksize
        Maximum number of events per chunk.
    treename
        TTree to read.
    parameters, reweight_points
        Names of the parameters, and points of the weights, where the files do not say them; see
        :meth:`milinfer.Sample.from_file`.
    options
        Passed to :class:`~milinfer.features.processor.FeatureProcessor` (``selection=``,
        ``objects=``, …).

    Returns
    -------
    dict
        Samples by dataset, events ordered by file name and entry whatever the executor.  Their
        cross-sections are those after the selection; the cut flow is in ``provenance["cutflow"]``.

    Raises
    ------
    FeatureError, SampleError
        If events lack what the features need, or files are unusable.
    ParameterError
        If the point of a dataset is unknown, or files disagree on it.
    ConfigurationError
        As :func:`make_executor`.

    Examples
    --------
    >>> run_features({})
    Traceback (most recent call last):
    ...
    milinfer.exceptions.SampleError: the fileset is empty; give {"dataset": ["file.root"]}
    """
    if not fileset:
        msg = 'the fileset is empty; give {"dataset": ["file.root"]}'
        raise SampleError(msg)
    from coffea.processor import DaskExecutor, IterativeExecutor, Runner

    groups = {name: _group(name, entry) for name, entry in fileset.items()}
    files = {name: _file_metadata(list(group["files"])) for name, group in groups.items()}
    descriptions = {name: _describe(name, groups[name], files[name], parameters) for name in groups}
    is_ours = executor is None or isinstance(executor, str)
    if not is_ours and client is not None:
        msg = "client= does not go with an executor of your own: give DaskExecutor the client"
        raise ConfigurationError(msg)
    if is_ours:
        remote = any("://" in path for group in groups.values() for path in group["files"])
        executor = make_executor(executor, workers, client=client, retries=3 if remote else 0)
    # Errors of the workers of other executors come back without their cause.
    errors_come_back = isinstance(executor, IterativeExecutor | DaskExecutor)
    kind = FeatureProcessor if errors_come_back else _ErrorsAsResults
    processor = kind(features, **options)
    runner = Runner(
        executor=executor,
        pre_executor=make_executor("iterative", retries=executor.retries) if is_ours else None,
        schema=schema or EventSchema,
        chunksize=chunksize,
        # A new cache: that of coffea identifies files by name, and would misread a rewritten one.
        metadata_cache={},
    )
    try:
        with _quiet() if is_ours else nullcontext():
            output = runner(groups, processor, treename=treename)
    except Exception as error:
        cause = _milinfer_error(error)
        if cause is None or cause is error:
            raise
        raise cause from error
    missing = [name for name in groups if name not in output]
    if missing:
        msg = f"the datasets {', '.join(missing)} have no events; leave them out"
        raise SampleError(msg)
    return {
        name: _sample(
            name,
            output[name],
            processor.features,
            files[name],
            {**descriptions[name], "parameters": parameters, "reweight_points": reweight_points},
        )
        for name in groups
    }


_ERRORS = "errors of milinfer"


class _ErrorsAsResults(FeatureProcessor):
    """Processor whose errors survive the way back from a worker process.

    coffea makes another error of an error in a worker, and pickling cuts off its cause.  Here the
    error of a chunk is its result, and the first one in the order of files and entries is raised
    at the end.  That costs no time: the pool of coffea finishes all chunks in any case.
    """

    def process(self, events: AwkwardArray) -> dict[str, Any]:
        try:
            return super().process(events)
        except MilinferError as error:
            return {_ERRORS: {chunk_key(events): error}}

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        errors = accumulator.get(_ERRORS)
        if errors:
            raise errors[min(errors)]
        return super().postprocess(accumulator)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bars of coffea, which it prints even with ``status=False``."""
    from coffea.util import coffea_console

    before = coffea_console.quiet
    coffea_console.quiet = True
    try:
        yield
    finally:
        coffea_console.quiet = before


def _group(name: str, entry: Any) -> dict[str, Any]:
    """Dataset entry in the form that coffea accepts."""
    if isinstance(entry, str | Path):
        entry = [entry]
    if not isinstance(entry, Mapping):
        entry = {"files": [str(path) for path in entry]}
    files = entry["files"]
    if not isinstance(files, Mapping):
        files = [str(path) for path in files]
    if len(set(files)) != len(files):
        msg = f"dataset {name!r} lists a file twice; its events would count twice"
        raise SampleError(msg)
    return {**entry, "files": files, "metadata": dict(entry.get("metadata") or {})}


def _file_metadata(paths: Sequence[str]) -> dict[str, FileMetadata | dict[str, Any] | None]:
    """Metadata that milinfer has written into each file, of events or (as a dict) of a sample."""
    from milinfer.io.event_record.branches import FileMetadata
    from milinfer.io.flat_files import sample_metadata
    from milinfer.io.root import open_root

    contents: dict[str, FileMetadata | dict[str, Any] | None] = {}
    for path in paths:
        try:
            with open_root(path) as file:
                text = str(file["milinfer"]) if "milinfer" in file else None
        except MilinferError:
            raise
        except Exception as error:
            msg = f"{path}: this cannot be read as a ROOT file ({error}); copy or produce it again"
            raise SampleError(msg) from error
        if text is None:
            contents[path] = None
        else:
            sample = sample_metadata(text, path)
            contents[path] = FileMetadata.from_json(text, path) if sample is None else sample
    return contents


def error_of_mean(pairs: NDArray[np.float64]) -> float:
    """Error of the mean of (value, error) pairs, shape (n, 2).

    Examples
    --------
    >>> import numpy as np
    >>> error_of_mean(np.array([[1.0, 3.0], [1.0, 4.0]]))
    2.5
    """
    return float(np.sqrt((pairs[:, 1] ** 2).sum())) / len(pairs)


def _describe(
    name: str,
    group: Mapping[str, Any],
    files: Mapping[str, FileMetadata | dict[str, Any] | None],
    parameters: ParameterNames | None,
) -> dict[str, Any]:
    """Point, process and cross-section of a dataset, checked against its files."""
    metadata = group["metadata"]
    point = metadata.get("point")
    process = metadata.get("process")
    values: list[tuple[float, float]] = []
    for path, file in files.items():
        if file is None:
            continue
        if isinstance(file, dict):
            file_point, file_process = file["point"], file["process"]
            pair = tuple(file[key] for key in ("cross_section", "cross_section_error"))
        else:
            point = file_points(
                file.info, (), point=point, parameters=parameters, source=path
            ).point
            file_point, file_process = None, file.info.process
            pair = (file.info.cross_section, file.info.cross_section_error)
            pair = pair if file.info.processes else (None, None)
        if file_point is not None:
            point = resolve_point(point, file_point, path)
        if "process" not in metadata:
            if file_process is not None and process not in (None, file_process):
                msg = (
                    f"{path} is of process {file_process}, other files of dataset {name!r} of "
                    f"{process}"
                )
                raise SampleError(msg)
            process = process or file_process
        values.append(tuple(math.nan if v is None else float(v) for v in pair))  # type: ignore[arg-type]
    point = resolve_point(point, None, f"dataset {name!r}", points_remedy())
    cross_section = error = math.nan
    if values and len(values) == len(files):  # the mean of runs of the same process
        array = np.array(values)
        cross_section = float(array[:, 0].mean())
        # Runs of one process differ by their Monte-Carlo errors, a few permille at most.
        tolerance = 5 * np.hypot(array[:, 1], error_of_mean(array)) + 1e-3 * abs(cross_section)
        far = np.abs(array[:, 0] - cross_section) > tolerance
        if far.any() and "cross_section" not in metadata:
            k = int(np.argmax(far))
            msg = (
                f"{list(files)[k]} has a cross-section of {array[k, 0]:g} pb, the files of dataset "
                f"{name!r} have {cross_section:g} pb on average; are they of one process? Give "
                "cross_section in the metadata of the dataset if so"
            )
            raise SampleError(msg)
        error = error_of_mean(array)
    return {
        "point": point,
        "process": process or name,
        "cross_section": float(metadata.get("cross_section", cross_section)),
        "cross_section_error": float(metadata.get("cross_section_error", error)),
    }


def _sample(
    name: str,
    output: Mapping[str, Any],
    features: FeatureSet,
    files: Mapping[str, FileMetadata | dict[str, Any] | None],
    description: Mapping[str, Any],
) -> Sample:
    branches: dict[str, str] = {}
    info = LHEInfo.unknown()
    for file in files.values():
        if isinstance(file, dict):
            for branch, column in file["branches"].items():
                branches[branch.removeprefix("weight_")] = column.removeprefix("weight:")
        elif file is not None:
            weight_ids = {k.removeprefix("LHEWeight_"): v for k, v in file.weights.items()}
            if any(branches.get(k, v) != v for k, v in weight_ids.items()):
                msg = f"dataset {name!r}: its files name different weights alike; read them apart"
                raise SampleError(msg)
            branches |= weight_ids
            info = info if info.header else file.info
    reweights = {branches.get(k, k): column for k, column in output["reweights"].items()}
    fields = accumulator_fields(
        {**output, "reweights": reweights},
        features.names,
        **description,
        info=replace(info, point=None, process=None),
        dataset=name,
    )
    origin = {"files": sorted(Path(path).name for path in files), "features": features.name}
    try:
        return Sample(**{**fields, "provenance": {**origin, **fields["provenance"]}})
    except MilinferError as problem:
        msg = f"dataset {name!r}: {problem}"
        raise type(problem)(msg) from problem


def _milinfer_error(error: BaseException) -> MilinferError | None:
    """The error of milinfer that coffea has wrapped, or None."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, MilinferError):
        cause = cause.__cause__
    return cause
