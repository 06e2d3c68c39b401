"""Convert event files from one format to another without loss of precision, in bounded memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from milinfer.exceptions import ConfigurationError, MilinferError, MilinferWarning, SampleError
from milinfer.io import events
from milinfer.typing import PathLikeStr
from milinfer.utils.arguments import is_address, local_path, require_whole_number
from milinfer.utils.display import shortened
from milinfer.utils.files import atomic_path, file_name
from milinfer.utils.parallel import require_workers
from milinfer.utils.progress import progress

if TYPE_CHECKING:
    from milinfer.io.lhe.header import Limits
    from milinfer.io.root import Ntuple

__all__ = ["ConversionSummary", "convert", "convert_many"]


class ConversionSummary(NamedTuple):
    """Files, numbers of events, duration and omitted content of a conversion.

    Parameters
    ----------
    source, target
        Paths of the file to convert and of the new file.
    n_events_in, n_events_out
        Number of events read from the source, and number of events counted in the target.
    seconds
        Duration of the conversion.
    left_out
        Content of the source that is not in the target.  For LHE files: elements (``<mgrwt>``),
        attributes, comments and lines of comments (``lines #pdf``), found in the header and in the
        first events.  For ROOT and Parquet files: branches and trees.  :func:`convert` warns if
        there are such branches or trees.
    """

    source: str
    target: str
    n_events_in: int
    n_events_out: int
    seconds: float
    left_out: tuple[str, ...] = ()


def convert(
    src: PathLikeStr,
    dst: PathLikeStr,
    *,
    chunk_size: int = 50_000,
    ntuple: Ntuple = "ttree",
    tree: str = "Events",
    workers: int = 1,
    limits: Limits | None = None,
) -> ConversionSummary:
    """Convert an event file to another format; the suffixes of the files determine the formats.

    All numbers of the event record (event line, particles and weights) keep their exact values.
    From LHE files the conversion also keeps the text of the header, the numbers of ``<init>``, and
    ids, descriptions and groups of weights.  All other content is left out, and the result lists
    it: comments outside the header, ``<generator>``, elements of events such as ``<mgrwt>``,
    ``<scales>`` or ``<clustering>``, lines such as ``#aMCatNLO`` or ``#pdf``, and attributes.

    If ``dst`` exists, it is replaced only after the events of the new file have been counted.

    From NanoAOD, generated particles and weights are converted; a warning lists content that is
    left out, such as reconstructed objects.  Weights that NanoAOD stores relative to the event
    weight are multiplied by the event weight.

    Parameters
    ----------
    src
        LHE (plain or gzip), ROOT or Parquet file.
    dst
        LHE (gzip if it ends in ``.gz``), ROOT or Parquet file to write.
    chunk_size
        Number of events in memory at a time.
    ntuple
        ``"ttree"`` or ``"rntuple"`` to write a TTree or an RNTuple to a ROOT file.
    tree
        Name of the TTree or RNTuple in a ROOT file to convert.
    workers
        Number of threads that parse an LHE file.  It has no effect on the content of the new file.
    limits
        Largest sizes of the parts of an LHE file; see :class:`milinfer.io.lhe.Limits`.

    Returns
    -------
    ConversionSummary
        Numbers of events and omitted content.

    Raises
    ------
    LHEError, SampleError
        If the source is damaged.  No incomplete file is left, and a ``dst`` that existed before is
        kept.
    ConfigurationError
        If source and target are the same file, or if a suffix is unknown.

    Warns
    -----
    MilinferWarning
        If the source has branches that are not part of the event record; the message names them.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> text = '''<LesHouchesEvents version="3.0">
    ... <init>
    ... 2212 2212 6500 6500 0 0 0 0 3 1
    ... 1.5 0.1 1 1
    ... </init>
    ... <event>
    ... 1 1 0.5 91.2 0.007 0.118
    ... 23 1 0 0 0 0 30 40 0 103.7 91.2 0 9
    ... </event>
    ... </LesHouchesEvents>'''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source, target = pathlib.Path(folder, "z.lhe"), pathlib.Path(folder, "z.root")
    ...     _ = source.write_text(text)
    ...     convert(source, target).n_events_out
    1
    """
    start = perf_counter()
    target = Path(dst)
    events.kind_of(target)
    src = local_path(src)
    if not is_address(src) and target.exists() and target.samefile(src):
        msg = f"{src} would be overwritten by its own conversion; choose another target"
        raise ConfigurationError(msg)
    require_whole_number(chunk_size, "chunk_size")
    n_in = 0
    with (
        events.open_reader(src, tree=tree, workers=workers, limits=limits) as reader,
        atomic_path(target) as temporary,
    ):
        total = None if events.kind_of(src) == "lhe" else reader.n_events
        with progress(f"{file_name(src)} → {target.name}", total) as advance:
            chunks = reader.chunks(chunk_size)
            chunk: Any = next(chunks, None)  # before the header: it completes the weights
            if chunk is None:
                msg = f"{src}: there are no events in this file; produce it again"
                raise SampleError(msg)
            try:
                with events.open_writer(temporary, reader.info, ntuple=ntuple) as writer:
                    while chunk is not None:
                        writer.write(chunk)
                        n_in += len(chunk)
                        advance(len(chunk))
                        chunk = next(chunks, None)
            except MilinferError as error:
                text = str(error).replace(str(temporary), str(target))
                if str(src) not in text:
                    text = f"{src} cannot be converted: {text}"
                raise type(error)(text) from error
        n_out = events.count(temporary)
        expected = reader.n_events
        if not n_in == n_out == expected:
            msg = (
                f"{src} has {expected} events, but {n_in} were converted and {n_out} are in the "
                f"new file; {target} has not been written, please report this"
            )
            raise SampleError(msg)
    if reader.left_out and events.kind_of(src) != "lhe":
        collections = list(dict.fromkeys(n.partition("_")[0] for n in reader.left_out))
        msg = (
            f"{src}: {len(reader.left_out)} branches and trees are not part of an event record and "
            f"were not converted: {shortened(collections)}"
        )
        warnings.warn(msg, MilinferWarning, stacklevel=2)
    return ConversionSummary(
        source=str(src),
        target=str(dst),
        n_events_in=n_in,
        n_events_out=n_out,
        seconds=perf_counter() - start,
        left_out=reader.left_out,
    )


def convert_many(
    pairs: Iterable[tuple[PathLikeStr, PathLikeStr]],
    workers: int = 2,
    *,
    chunk_size: int = 50_000,
    ntuple: Ntuple = "ttree",
    tree: str = "Events",
) -> list[ConversionSummary]:
    """Convert several files in parallel, each in a separate process.

    The processes are spawned and not forked, so that the function works after TensorFlow has run.
    A script therefore needs ``if __name__ == "__main__":`` around its main part.

    Parameters
    ----------
    pairs
        Source and target of each conversion.
    workers
        Number of processes at a time; with 1, all files are converted in the present process.
    chunk_size, ntuple, tree
        As for :func:`convert`.

    Returns
    -------
    list of ConversionSummary
        One summary for each pair, in the order of ``pairs``.

    Raises
    ------
    LHEError, SampleError
        If a conversion fails.  The first error is raised, and conversions that have not started
        yet are not made.
    ConfigurationError
        If two conversions have the same target.

    Examples
    --------
    >>> convert_many([])
    []
    """
    jobs = [(str(source), str(target)) for source, target in pairs]
    targets = [str(Path(target).resolve()) for _, target in jobs]
    twice = sorted({t for t in targets if targets.count(t) > 1})
    if twice:
        msg = f"{twice[0]} is the target of more than one conversion; give each its own target"
        raise ConfigurationError(msg)
    require_workers(workers)
    options: dict[str, Any] = {"chunk_size": chunk_size, "ntuple": ntuple, "tree": tree}
    if workers == 1 or len(jobs) < 2:
        return [convert(source, target, **options) for source, target in jobs]
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    context = multiprocessing.get_context("spawn")
    n_workers = min(workers, len(jobs))
    with (
        progress(f"converting {len(jobs)} files", len(jobs)) as advance,
        ProcessPoolExecutor(n_workers, mp_context=context) as pool,
    ):
        futures = [pool.submit(convert, source, target, **options) for source, target in jobs]
        try:
            for future in as_completed(futures):
                future.result()
                advance(1)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]
