"""Compute the features of many files with coffea, and make samples of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar, overload

import numpy as np

from milinfer.exceptions import ConfigurationError, MilinferError, SampleError
from milinfer.features.chunk_features import chunk_key
from milinfer.features.processor import EventSchema, FeatureProcessor
from milinfer.io.event_record.info import LHEInfo, LHEWeight
from milinfer.io.event_record.nanoaod import (
    WEIGHT,
    WeightEntry,
    entry_description,
    is_weight_vector,
)
from milinfer.samples.accumulators import accumulator_fields
from milinfer.samples.cross_sections import (
    cross_section_of_events,
    cross_section_source,
    differ,
    mean_cross_section,
    needs_mixing,
)
from milinfer.samples.file_points import (
    ParameterNames,
    ReweightPoints,
    file_points,
    points_remedy,
    resolve_point,
)
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variations import ProcessVariations
from milinfer.utils.arguments import is_address
from milinfer.utils.display import shortened
from milinfer.utils.files import file_name
from milinfer.utils.keywords import require_keywords
from milinfer.utils.parallel import require_client

if TYPE_CHECKING:
    from milinfer.features.feature_set import FeatureSet
    from milinfer.features.processor import EventVariations
    from milinfer.io.event_record.branches import FileMetadata
    from milinfer.io.event_record.info import LHEInfo
    from milinfer.typing import AwkwardArray

__all__ = ["make_executor", "run_features"]

_T = TypeVar("_T")
_File: TypeAlias = "FileMetadata | dict[str, Any] | _Titles"

_KEYS = ("point", "process", "cross_section", "cross_section_error")


def make_executor(
    name: str | None = None, workers: int = 1, *, client: Any = None, retries: int = 0
) -> Any:
    """Make a coffea executor: ``"iterative"``, ``"futures"`` or ``"dask"``.

    Default: ``"dask"`` if `client` is given, ``"iterative"`` for one worker, ``"futures"`` for more
    workers (coffea's own pool of processes, which also works after TensorFlow has run).  After an
    error, a chunk is tried again ``retries`` times, which helps only with files on a network.

    Raises
    ------
    ConfigurationError
        If the executor is unknown, if `client` is not a dask client, or if `client` is given and
        the executor is not ``"dask"``.

    Examples
    --------
    >>> make_executor(workers=1)
    IterativeExecutor(...)
    """
    from coffea import processor

    require_client(client, workers)
    if client is not None and name not in (None, "dask"):
        msg = f"client= works only with executor='dask', not {name!r}; omit one of them"
        raise ConfigurationError(msg)
    alone = "iterative" if workers == 1 else "futures"
    name = name or (alone if client is None else "dask")
    if name == "iterative":
        return processor.IterativeExecutor(status=False, retries=retries)
    if name == "futures":
        return processor.FuturesExecutor(workers=workers, status=False, retries=retries)
    if name == "dask":
        return processor.DaskExecutor(client=client, status=False, retries=retries)
    msg = (
        f"unknown executor {name!r}; choose iterative, futures or dask, or give an executor of "
        "coffea"
    )
    raise ConfigurationError(msg)


@overload
def run_features(
    fileset: Mapping[str, Any], *, variations: None = None, **options: Any
) -> dict[str, Sample]: ...


@overload
def run_features(
    fileset: Mapping[str, Any], *, variations: EventVariations, **options: Any
) -> dict[str, ProcessVariations]: ...


def run_features(
    fileset: Mapping[str, Any],
    *,
    features: str | FeatureSet = "vbf_2l2j",
    variations: EventVariations | None = None,
    executor: Any = None,
    workers: int = 1,
    client: Any = None,
    schema: Any = None,
    chunksize: int = 100_000,
    treename: str = "Events",
    parameters: ParameterNames | None = None,
    reweight_points: ReweightPoints | None = None,
    **options: Any,
) -> dict[str, Sample] | dict[str, ProcessVariations]:
    """Compute features of a fileset with coffea: one sample for each dataset.

    Parameters
    ----------
    fileset
        Fileset of coffea: a mapping from the name of a dataset to a list of files or to
        ``{"files": …, "metadata": …}``.  The metadata may have ``point``, ``process``,
        ``cross_section`` and ``cross_section_error``.  If milinfer has written the files, missing
        entries are read from them.  With ``combine`` (``"sum"`` or ``"mean"``) in the metadata, the
        files are joined as by :meth:`~milinfer.Sample.concatenate`.  Without ``combine``, the
        cross-sections of the files must agree.
    features
        Feature set or its name.
    variations
        Function that takes the events of a chunk and returns the varied events and weights, in the
        form described in :func:`milinfer.accumulate_variations`.  The files are read once for
        nominal and varied events.
    executor
        coffea executor or its name; default: see :func:`make_executor`.
    workers
        Number of processes.
    client
        Client of a dask cluster whose workers are to read the files.  The paths must be valid on
        all workers (a shared file system, or xrootd).  If a worker dies, its chunks are read again.
    schema
        coffea schema; default: :class:`~milinfer.features.processor.EventSchema`.
    chunksize
        Maximum number of events per chunk.
    treename
        TTree to read.
    parameters, reweight_points
        Names of the parameters, and points of the weights, if the files do not store them; see
        :meth:`milinfer.Sample.from_file`.
    options
        Passed to :class:`~milinfer.features.processor.FeatureProcessor` (``selection=``,
        ``objects=``, …).

    Returns
    -------
    dict
        Mapping from the name of a dataset to its :class:`~milinfer.Sample`, or with `variations` to
        its :class:`~milinfer.ProcessVariations`.  With every executor, events are ordered by file
        name and entry.  Cross-sections are those after the selection; the cut flow is in
        ``provenance["cutflow"]``.

    Raises
    ------
    FeatureError, SampleError
        If events lack what the features need, or if files cannot be used.
    ParameterError
        If the point of a dataset is unknown, or if its files state different points.
    ConfigurationError
        If `executor` is unknown or contradicts `client` (see :func:`make_executor`), or if the
        cluster loses its scheduler.

    Examples
    --------
    >>> run_features({})
    Traceback (most recent call last):
    ...
    milinfer.exceptions.SampleError: the fileset is empty; give {"dataset": ["file.root"]}
    """
    taken = ["features", "variations"]
    require_keywords(options, FeatureProcessor, "run_features()", leave_out=taken)
    if not fileset:
        msg = 'the fileset is empty; give {"dataset": ["file.root"]}'
        raise SampleError(msg)
    from coffea.processor import DaskExecutor, IterativeExecutor, Runner

    datasets = {name: _group(name, entry) for name, entry in fileset.items()}
    joins = {name: _parts(name, group) for name, group in datasets.items()}
    groups = {name: group for parts in joins.values() for name, group in parts.items()}
    _require_ascii(groups)
    files = {name: _file_metadata(group["files"], treename) for name, group in groups.items()}
    descriptions = {
        part: _describe(name, groups[part], files[part], parameters)
        for name, parts in joins.items()
        for part in parts
    }
    is_ours = executor is None or isinstance(executor, str)
    if not is_ours and client is not None:
        msg = "client= cannot be combined with your own executor: give the client to DaskExecutor"
        raise ConfigurationError(msg)
    if is_ours:
        remote = any(is_address(path) for group in groups.values() for path in group["files"])
        executor = make_executor(executor, workers, client=client, retries=3 if remote else 0)
    # Errors of the workers of other executors come back without their cause.
    errors_come_back = isinstance(executor, IterativeExecutor | DaskExecutor)
    kind = FeatureProcessor if errors_come_back else _ErrorsAsResults
    processor = kind(features, variations=variations, **options)
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
        if cause is None and client is not None and _is_lost(client, error):
            msg = (
                f"the dask cluster has lost its work ({error}): the scheduler or all workers have "
                "ended; start the cluster again, read its log, and compute the features again"
            )
            raise ConfigurationError(msg) from error
        if cause is None or cause is error:
            raise
        raise cause from error
    missing = [name for name in groups if name not in output]
    if missing:
        msg = f"the datasets {', '.join(missing)} have no events; remove them from the fileset"
        raise SampleError(msg)

    def of_datasets(make: Callable[..., _T], join: Callable[..., _T]) -> dict[str, _T]:
        told: dict[str, Any] = {"parameters": parameters, "reweight_points": reweight_points}
        samples = {
            name: make(
                name, output[name], processor.features, files[name], {**descriptions[name], **told}
            )
            for name in groups
        }
        return {
            name: join([samples[part] for part in parts], datasets[name]["metadata"].get("combine"))
            for name, parts in joins.items()
        }

    if variations is None:
        return of_datasets(_sample, Sample.concatenate)
    return of_datasets(_varied_samples, ProcessVariations.concatenate)


def _is_lost(client: Any, error: Exception) -> bool:
    """Whether an error is that of a cluster which no longer knows of the work."""
    return isinstance(error, CancelledError) or client.status != "running"


_ERRORS = "errors of milinfer"


class _ErrorsAsResults(FeatureProcessor):
    """Processor that returns an error in a chunk as the result of the chunk.

    If a worker process of coffea raises an error, the main process gets another error without the
    cause.  Here the error of a chunk is its result, and the first error in the order of files and
    entries is raised at the end.  This costs no time, because coffea's pool finishes all chunks in
    any case.
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
        msg = f"dataset {name!r} lists a file twice; list each file once"
        raise SampleError(msg)
    return {**entry, "files": files, "metadata": dict(entry.get("metadata") or {})}


def _parts(name: str, group: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Split a dataset with ``combine`` into datasets of single files; leave others as they are."""
    metadata = group["metadata"]
    if metadata.get("combine") is None:
        return {name: group}
    if "cross_section" in metadata:
        msg = (
            f"dataset {name!r} has combine={metadata['combine']!r}, which uses the cross-section "
            "of each file, and also cross_section; give only one of them"
        )
        raise ConfigurationError(msg)
    files = group["files"]
    one = {k: v for k, v in metadata.items() if k != "combine"}
    return {
        f"{name}: {path}": {
            **group,
            "files": {path: files[path]} if isinstance(files, Mapping) else [path],
            "metadata": one,
        }
        for path in sorted(files)
    }


class _Titles(NamedTuple):
    """Titles of the branches of weights in a file that milinfer has not written."""

    titles: Mapping[str, str]

    def description(self, identity: str) -> str:
        """Description of a weight in the file."""
        entry = WeightEntry.parse(identity)
        branch, position = (WEIGHT + identity, 0) if entry is None else entry
        return entry_description(self.titles.get(branch, ""), position)


def _require_ascii(groups: Mapping[str, Any]) -> None:
    """Raise unless coffea can tell files apart: it makes hashes of their names as ASCII."""
    for name, group in groups.items():
        for what, text in (("dataset", name), *(("file", path) for path in group["files"])):
            if not str(text).isascii():
                shown = str(text).encode("utf-8", "backslashreplace").decode()
                msg = (
                    f"coffea cannot read the {what} {shown}: its name has characters outside "
                    "ASCII; rename it"
                    + (", such as that of a link to it" if what == "file" else "")
                )
                raise ConfigurationError(msg)


def _file_metadata(paths: Sequence[str] | Mapping[str, Any], treename: str) -> dict[str, _File]:
    """Read the metadata of each file: event files of milinfer, files of a sample, and others."""
    from milinfer.io.event_record.branches import FileMetadata
    from milinfer.io.flat_files import sample_metadata
    from milinfer.io.root import open_root, root_trees

    contents: dict[str, _File] = {}
    for path in paths:
        titles: dict[str, str] = {}
        try:
            with open_root(path) as file:
                text = str(file["milinfer"]) if "milinfer" in file else None
                # coffea takes the name of a tree with each file too
                name = paths[path] if isinstance(paths, Mapping) else treename
                if isinstance(name, str) and name not in file:
                    msg = (
                        f"{path}: there is no tree {name!r} in this file, only "
                        f"{shortened(root_trees(file)) or 'none'}; choose one with treename="
                    )
                    raise SampleError(msg)
                if text is None and isinstance(name, str):
                    tree = file[name]
                    titles = {
                        str(key): str(getattr(tree[key], "title", ""))
                        for key in tree.keys()  # noqa: SIM118 - uproot's keys, not the tree's
                        if is_weight_vector(key) or key.startswith(WEIGHT)
                    }
        except MilinferError:
            raise
        except Exception as error:
            msg = f"{path}: this cannot be read as a ROOT file ({error}); copy or produce it again"
            raise SampleError(msg) from error
        if text is None:
            contents[path] = _Titles(titles)
        else:
            sample = sample_metadata(text, path)
            contents[path] = FileMetadata.from_json(text, path) if sample is None else sample
    return contents


def _describe(
    name: str,
    group: Mapping[str, Any],
    files: Mapping[str, _File],
    parameters: ParameterNames | None,
) -> dict[str, Any]:
    """Point, process and cross-section of a dataset, checked against its files."""
    metadata = group["metadata"]
    point = metadata.get("point")
    process = metadata.get("process")
    values: list[tuple[float, float]] = []
    infos: list[LHEInfo] = []
    for path, file in files.items():
        if isinstance(file, _Titles):
            continue
        if isinstance(file, dict):
            if file["point"] is not None:
                point = resolve_point(point, file["point"], path)
            file_process = file["process"]
            pair = tuple(file[key] for key in ("cross_section", "cross_section_error"))
        else:
            infos.append(file.info)
            if needs_mixing(file.info):
                msg = (
                    f"{path}: with IDWTUP {file.info.weighting_strategy} the weights of its "
                    f"{len(file.info.processes)} processes have different normalisations; read it "
                    "with Sample.from_file, which corrects for this"
                )
                raise SampleError(msg)
            point = file_points(
                file.info, (), point=point, parameters=parameters, source=path
            ).point
            file_process = file.info.process
            pair = (file.info.cross_section, file.info.cross_section_error)
        if "process" not in metadata:
            if file_process is not None and process not in (None, file_process):
                msg = (
                    f"{path} is of process {file_process}, but other files of dataset {name!r} are "
                    f"of {process}; make one dataset of each process"
                )
                raise SampleError(msg)
            process = process or file_process
        values.append(tuple(math.nan if v is None else float(v) for v in pair))  # type: ignore[arg-type]
    point = resolve_point(point, None, f"dataset {name!r}", points_remedy())
    cross_section = error = math.nan
    if values and len(values) == len(files):  # the mean of runs of the same process
        array = np.array(values)
        known = np.isfinite(array[:, 0])
        far = differ(array) if known.all() else known & ~known.all()
        if far.any() and "cross_section" not in metadata:
            listed = "; ".join(
                f"{path}: {f'{value:g} ± {error:g} pb' if np.isfinite(value) else 'unknown'}"
                for path, (value, error) in zip(files, values, strict=True)
            )
            msg = (
                f"the files of dataset {name!r} have different cross-sections ({listed}); give "
                "combine='sum' in its metadata if they are slices of one process, which add up, "
                "combine='mean' if they are runs of one process, or cross_section in pb"
            )
            raise SampleError(msg)
        if known.all():
            cross_section, error = mean_cross_section(array)
    return {
        "point": point,
        "process": process or name,
        "cross_section": float(metadata.get("cross_section", cross_section)),
        "cross_section_error": float(metadata.get("cross_section_error", error)),
        "of_weights": infos[0]
        if "cross_section" not in metadata
        and len(infos) == len(files)
        and all(cross_section_source(info) == "weights" for info in infos)
        else None,
    }


class _Told(NamedTuple):
    """Weights and cross-section of a dataset, as recorded in its files.

    Parameters
    ----------
    branches
        Names of weights by branch.
    description
        Point, process and cross-section, and the header of the files.
    origin
        Entries of the provenance of a sample.
    """

    branches: Mapping[str, str]
    description: Mapping[str, Any]
    origin: Mapping[str, Any]

    def renamed(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """An accumulator whose weights at other points have the names of the weights."""
        columns = {self.branches.get(k, k): column for k, column in output["reweights"].items()}
        return {**output, "reweights": columns}


def _sample(
    name: str,
    output: Mapping[str, Any],
    features: FeatureSet,
    files: Mapping[str, _File],
    description: Mapping[str, Any],
) -> Sample:
    told = _told(name, output, features, files, description)
    fields = accumulator_fields(
        told.renamed(output), features.names, **told.description, dataset=name
    )
    try:
        return Sample(**{**fields, "provenance": {**told.origin, **fields["provenance"]}})
    except MilinferError as problem:
        msg = f"dataset {name!r}: {problem}"
        raise type(problem)(msg) from problem


def _varied_samples(
    name: str,
    output: Mapping[str, Any],
    features: FeatureSet,
    files: Mapping[str, _File],
    description: Mapping[str, Any],
) -> ProcessVariations:
    told = _told(name, output["nominal"], features, files, description)
    renamed = {
        **output,
        "nominal": told.renamed(output["nominal"]),
        "variations": {shifts: told.renamed(v) for shifts, v in output["variations"].items()},
    }
    try:
        process = ProcessVariations.from_accumulator(renamed, features.names, **told.description)
    except MilinferError as problem:
        msg = f"dataset {name!r}: {problem}"
        raise type(problem)(msg) from problem

    def with_origin(sample: Sample) -> Sample:
        return replace(sample, provenance={**told.origin, **sample.provenance})

    return ProcessVariations(
        SampleSet(tuple(with_origin(s) for s in process.nominal)),
        tuple(replace(v, sample=with_origin(v.sample)) for v in process.variations),
    )


def _told(
    name: str,
    output: Mapping[str, Any],
    features: FeatureSet,
    files: Mapping[str, _File],
    description: Mapping[str, Any],
) -> _Told:
    branches: dict[str, str] = {}
    descriptions: dict[str, str] = {}
    info = LHEInfo.unknown()
    for path, file in files.items():
        if isinstance(file, dict):
            for branch, column in file["branches"].items():
                branches[branch.removeprefix("weight_")] = column.removeprefix("weight:")
        elif isinstance(file, _Titles):
            told = {key: file.description(key) for key in output["reweights"]}
            changed = [k for k, text in told.items() if descriptions.get(k, text) != text]
            if changed:
                msg = (
                    f"dataset {name!r}: the title of {changed[0]} in {path} differs from that in "
                    "other files, so it may be another weight; read these files separately"
                )
                raise SampleError(msg)
            descriptions |= told
        else:
            weight_ids = {k.removeprefix("LHEWeight_"): v for k, v in file.weights.items()}
            if any(branches.get(k, v) != v for k, v in weight_ids.items()):
                msg = (
                    f"dataset {name!r}: its files use the same name for different weights; read "
                    "these files separately"
                )
                raise SampleError(msg)
            branches |= weight_ids
            info = info if info.header else file.info
    known = {weight.id for weight in info.weights}
    entries = {key: WeightEntry.parse(key) for key in descriptions if key not in known}
    told_weights = tuple(
        LHEWeight(key, descriptions[key], entry.branch if entry else "")
        for key, entry in entries.items()
    )
    info = replace(info, weights=info.weights + told_weights)
    description = dict(description)
    of_weights = description.pop("of_weights")
    if of_weights is not None:
        everything = output["cutflow"]["all"]
        sums = (everything[key] for key in ("sum_of_weights", "sum_of_squared_weights"))
        whole = cross_section_of_events(of_weights, everything["n_events"], *sums)
        description["cross_section"], description["cross_section_error"] = whole
    description["info"] = replace(info, point=None, process=None)
    origin = {"files": sorted(file_name(path) for path in files), "features": features.name}
    return _Told(branches, description, origin)


def _milinfer_error(error: BaseException) -> MilinferError | None:
    """The error of milinfer that coffea has wrapped, or None."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, MilinferError):
        cause = cause.__cause__
    return cause
