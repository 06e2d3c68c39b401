"""Read and write event records in LHE, ROOT (TTree or RNTuple) or Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from milinfer.exceptions import ConfigurationError, SampleError
from milinfer.io.lhe.reading import LHEFile, LHEReader
from milinfer.io.lhe.writing import LHEWriter
from milinfer.typing import AwkwardArray, PathLikeStr
from milinfer.utils.addresses import open_bytes
from milinfer.utils.arguments import local_path, require_whole_number
from milinfer.utils.files import file_name
from milinfer.utils.gzip_files import open_gzip

if TYPE_CHECKING:
    from milinfer.io.event_record.info import LHEInfo
    from milinfer.io.lhe.header import Limits
    from milinfer.io.parquet import ParquetReader, ParquetWriter
    from milinfer.io.root import Ntuple, RootReader, RootWriter

__all__ = ["count", "iterate", "kind_of", "open_reader", "open_writer", "read", "write"]


def kind_of(path: PathLikeStr) -> str:
    """Return the format of an event file by its suffix: ``"lhe"``, ``"root"`` or ``"parquet"``.

    Raises
    ------
    ConfigurationError
        If the suffix is not .lhe, .lhe.gz, .root or .parquet.

    Examples
    --------
    >>> kind_of("a.lhe.gz"), kind_of("b.root")
    ('lhe', 'root')
    """
    name = file_name(path).lower()
    for kind, suffixes in {
        "lhe": (".lhe", ".lhe.gz"),
        "root": (".root",),
        "parquet": (".parquet", ".pq"),
    }.items():
        if name.endswith(suffixes):
            return kind
    msg = f"{path}: unknown kind of event file; name it .lhe, .lhe.gz, .root or .parquet"
    raise ConfigurationError(msg)


def open_reader(
    path: PathLikeStr, *, tree: str = "Events", workers: int = 1, limits: Limits | None = None
) -> LHEReader | RootReader | ParquetReader:
    """Open an event file for reading, as a context manager.

    The reader has ``info`` (the header), ``chunks(chunk_size)`` (event records) and
    ``columns(chunk_size)`` (flat columns).  The path can also be an address, such as ``root://…``
    and ``s3://…``.  LHE files are parsed by ``workers`` threads, other files by one thread;
    ``limits`` are the largest sizes of the parts of an LHE file.

    Examples
    --------
    >>> open_reader("events.txt")
    Traceback (most recent call last):
    ...
    milinfer.exceptions.ConfigurationError: events.txt: unknown kind of event file; name it ...
    """
    path = local_path(path)
    kind = kind_of(path)
    if kind == "lhe":
        return LHEReader(path, workers, limits=limits)
    if kind == "root":
        from milinfer.io.root import RootReader

        return RootReader(path, tree)
    from milinfer.io.parquet import ParquetReader

    return ParquetReader(path)


def open_writer(
    path: PathLikeStr, info: LHEInfo, *, ntuple: Ntuple = "ttree"
) -> LHEWriter | RootWriter | ParquetWriter:
    """Open an event file for writing, as a context manager with ``write(events)`` for each chunk.

    Examples
    --------
    >>> from milinfer.io.lhe import LHEInfo
    >>> open_writer("events.lhe", LHEInfo(processes=())).n_events
    0
    """
    kind = kind_of(path)
    if kind == "lhe":
        return LHEWriter(path, info)
    if kind == "root":
        from milinfer.io.root import RootWriter

        return RootWriter(path, info, ntuple)
    from milinfer.io.parquet import ParquetWriter

    return ParquetWriter(path, info)


def iterate(
    path: PathLikeStr,
    chunk_size: int = 50_000,
    *,
    tree: str = "Events",
    workers: int = 1,
    limits: Limits | None = None,
) -> Iterator[AwkwardArray]:
    """Yield the event records of a file in chunks, in bounded memory.

    Parameters
    ----------
    path
        LHE (plain or gzip), ROOT or Parquet file.
    chunk_size
        Maximum number of events per chunk.
    tree
        Name of the TTree or RNTuple in a ROOT file.
    workers
        Number of threads that parse an LHE file.  It has no effect on the events.
    limits
        Largest sizes of the parts of an LHE file; see :class:`milinfer.io.lhe.Limits`.

    Yields
    ------
    ak.Array
        Event records of a chunk; see :func:`milinfer.io.lhe.make_events`.

    Raises
    ------
    LHEError
        If an LHE file is damaged.
    SampleError
        If a ROOT or Parquet file is damaged, or does not contain event records.

    Examples
    --------
    See :func:`write`.
    """
    require_whole_number(chunk_size, "chunk_size")
    with open_reader(path, tree=tree, workers=workers, limits=limits) as reader:
        yield from reader.chunks(chunk_size)


def read(
    path: PathLikeStr,
    chunk_size: int = 50_000,
    *,
    tree: str = "Events",
    workers: int = 1,
    limits: Limits | None = None,
) -> LHEFile:
    """Read a whole event file; parameters and errors as for :func:`iterate`.

    Returns
    -------
    LHEFile
        ``events`` (the event records) and ``info`` (header and ``<init>``).

    Examples
    --------
    See :func:`write`.
    """
    import awkward as ak

    with open_reader(path, tree=tree, workers=workers, limits=limits) as reader:
        chunks: list[Any] = list(reader.chunks(chunk_size))
        if not chunks:
            msg = f"{path}: there are no events in this file; produce it again"
            raise SampleError(msg)
        return LHEFile(chunks[0] if len(chunks) == 1 else ak.concatenate(chunks), reader.info)


def write(
    path: PathLikeStr, events: AwkwardArray, info: LHEInfo, *, ntuple: Ntuple = "ttree"
) -> None:
    """Write event records to a file without loss; a failure leaves no incomplete file.

    Parameters
    ----------
    path
        LHE (gzip if it ends in ``.gz``), ROOT or Parquet file.  The suffix determines the format.
    events
        Event records; see :func:`milinfer.io.lhe.make_events`.
    info
        Header and ``<init>``.
    ntuple
        ``"ttree"`` or ``"rntuple"`` to write a TTree or an RNTuple to a ROOT file.

    Raises
    ------
    LHEError, SampleError
        If the events cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.io import events, lhe
    >>> part = dict.fromkeys(["px", "py", "pz", "energy", "mass", "pdgId", "status"], [1])
    >>> record = lhe.make_events([1], {**part, "mother1": [0], "mother2": [0]},
    ...                          {"genWeight": [1.5], "LHE_processId": [1]})
    >>> info = lhe.LHEInfo(processes=(lhe.LHEProcess(1.5, 0.1, 1.0, 1),))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "e.parquet")
    ...     events.write(file, record, info)
    ...     back = events.read(file)
    >>> back.events.genWeight.tolist(), back.info == info
    ([1.5], True)
    """
    with open_writer(path, info, ntuple=ntuple) as writer:
        writer.write(events)


def count(path: PathLikeStr) -> int:
    """Count the events of a file without building event records.

    LHE files are read as bytes, so that the count does not depend on a parser.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "e.lhe")
    ...     _ = file.write_text("<event> </event>" * 7)
    ...     count(file)
    7
    """
    path = local_path(path)
    if kind_of(path) != "lhe":
        with open_reader(path) as reader:
            return reader.n_events
    total = 0
    with (
        open_bytes(path) as file,
        open_gzip(file) if file_name(path).endswith(".gz") else file as lines,
    ):
        for line in lines:
            total += line.count(b"</event>")
            if b"</header>" in line:
                total = 0  # a header may contain the tag in its text
    return total
