"""Read variations of the events of files, and keep nominal and varied samples in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from milinfer.exceptions import MilinferError, MissingFileError, SampleError
from milinfer.io.flat_files import ParquetTable
from milinfer.samples.cross_sections import cross_section_in_pb, varied_cross_section
from milinfer.samples.sample_fields import SampleFields
from milinfer.samples.sample_files import flat_table, read_events, read_sample, write_sample
from milinfer.typing import IntArray, PathLikeStr, Point
from milinfer.utils.arguments import as_path, local_path
from milinfer.utils.array_files import read_array
from milinfer.utils.files import atomic_folder, file_hash, parse_json
from milinfer.utils.json_fields import flag_field, number_field, text_field, whole_field
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    from milinfer.features.variations import EventVariation
    from milinfer.samples.event_samples import VariedFields

__all__ = [
    "FolderOutline",
    "MANIFEST",
    "StoredVariation",
    "is_variation_folder",
    "outline_folder",
    "read_folder",
    "read_weights",
    "read_variations",
    "write_folder",
]

MANIFEST: Final = "variations.json"
_KIND: Final = "milinfer variations"
_FORMAT: Final = 1
# Characters of the name of a file.
_LONGEST: Final = 100


def read_variations(
    path: PathLikeStr, variations: Iterable[EventVariation], **options: Any
) -> tuple[SampleFields, list[VariedFields]]:
    """Read a file once, and compute the features of its events and of varied events.

    Parameters
    ----------
    path
        File of events, or file of features.  For a file of features, only weights can be varied.
    variations
        Variations of the events.
    options
        Arguments of :func:`milinfer.samples.sample_files.read_sample`.

    Returns
    -------
    tuple
        The nominal events, and a list of variations.  The cross-section of varied events is the
        nominal cross-section, times the sum of the varied weights, divided by the sum of the
        nominal weights.

    Raises
    ------
    SampleError, LHEError, FeatureError, ParameterError
        As for :func:`~milinfer.samples.sample_files.read_sample`; the message names the variation.
    """
    # Who reads a folder needs none of what computes features, such as awkward.
    from milinfer.features.variations import require_one_meaning

    chosen = list(variations)
    require_one_meaning(chosen)
    path = local_path(path)
    table = flat_table(path, options.get("tree"))
    if table is not None and not table.has_events:
        return _of_features(path, chosen, options)
    of_events = {k: v for k, v in options.items() if k not in ("cross_section", "tree")}
    of_events.pop("cross_section_error", None)
    nominal, varied = read_events(
        path,
        table,
        chosen,
        cross_section_is_known=options.get("cross_section") is not None,
        **of_events,
    )
    known: dict[str, Any] = {
        name: cross_section_in_pb(value, name, str(path))
        for name, value in options.items()
        if name.startswith("cross_section") and value is not None
    }
    nominal = nominal._replace(**known)
    return nominal, [_with_cross_section(nominal, v) for v in varied]


def _of_features(
    path: PathLikeStr, variations: Sequence[EventVariation], options: Mapping[str, Any]
) -> tuple[SampleFields, list[VariedFields]]:
    """Variations of the events in a file of features, which have other weights only."""
    from milinfer.features.variations import WeightVariation
    from milinfer.samples.event_samples import VariedFields

    nominal = read_sample(path, **options)
    varied = []
    for variation in variations:
        label = f"variation {format_point(variation.nuisances)} of {path}"
        if not isinstance(variation, WeightVariation) or callable(variation.weight):
            msg = (
                f"{label}: the file has features but no events, so only its weights can be varied, "
                "by their names; read the file of events, or give varied features "
                "to ProcessVariations.from_arrays"
            )
            raise SampleError(msg)
        try:
            name = variation.named(list(nominal.reweights))
        except SampleError as error:
            msg = f"{label}: {error}"
            raise SampleError(msg) from error
        varied.append(VariedFields(variation.nuisances, weights=nominal.reweights[name]))
    return nominal, varied


def _with_cross_section(nominal: SampleFields, varied: VariedFields) -> VariedFields:
    """The nominal cross-section of varied events, times the ratio of the sums of weights."""
    if varied.fields is None:
        return varied
    value, error = varied_cross_section(
        nominal.cross_section,
        nominal.cross_section_error,
        nominal.weights,
        varied.fields.weights,
    )
    fields = varied.fields._replace(cross_section=value, cross_section_error=error)
    return varied._replace(fields=fields)


class StoredVariation(NamedTuple):
    """A variation as stored in a folder; :class:`milinfer.Variation` documents the entries."""

    nuisances: Point
    fields: SampleFields
    partners: IntArray | None
    weights_only: bool


def write_folder(
    path: PathLikeStr, nominal: Sequence[SampleFields], variations: Sequence[StoredVariation]
) -> None:
    """Write nominal and varied samples to Parquet files in a folder, without loss.

    ``variations.json`` lists the files with their numbers of events and fingerprints (SHA-256).
    Variations that change only weights are stored without features, because their features are the
    nominal features.  If writing fails, no incomplete folder is left.

    Raises
    ------
    SampleError
        If JSON cannot store the provenance of a sample.
    ConfigurationError
        If the path is a file.
    """
    with atomic_folder(path) as folder:

        def stored(name: str, fields: SampleFields) -> dict[str, Any]:
            write_sample(fields, folder / name)
            return {
                "file": name,
                "n_events": len(fields.weights),
                "sha256": file_hash(folder / name),
            }

        manifest: dict[str, Any] = {
            "kind": _KIND,
            "format": _FORMAT,
            "nominal": [stored(f"nominal_{i}.parquet", f) for i, f in enumerate(nominal)],
            "variations": [],
        }
        for i, variation in enumerate(variations):
            fields = variation.fields
            if variation.weights_only:
                empty = np.empty((len(fields.weights), 0), dtype=np.float32)
                fields = fields._replace(features=empty, feature_names=())
            entry = stored(f"variation_{i}.parquet", fields)
            if variation.partners is not None and not variation.weights_only:
                name = f"partners_{i}.npy"
                np.save(folder / name, variation.partners, allow_pickle=False)
                entry["partners"] = {"file": name, "sha256": file_hash(folder / name)}
            entry |= {
                "nuisances": dict(variation.nuisances),
                "weights_only": variation.weights_only,
            }
            manifest["variations"].append(entry)
        text = json.dumps(manifest, indent=1, allow_nan=False)
        (folder / MANIFEST).write_text(text, encoding="utf-8")


def is_variation_folder(path: PathLikeStr) -> bool:
    """Tell whether a folder has been written by :func:`write_folder`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as empty:
    ...     is_variation_folder(empty)
    False
    """
    return Path(path, MANIFEST).is_file()


class FolderOutline(NamedTuple):
    """The samples in a folder of variations, without their events.

    Parameters
    ----------
    nominal, variations
        As returned by :func:`read_folder`, but with one event of weight 1 in each sample.
    n_events
        Number of nominal events plus number of varied events.  Variations that change only weights
        do not count.
    fingerprint
        SHA-256 of ``variations.json``, which contains the fingerprints of the files.
    """

    nominal: list[SampleFields]
    variations: list[StoredVariation]
    n_events: int
    fingerprint: str


def outline_folder(path: PathLikeStr) -> FolderOutline:
    """Find out what a folder of variations contains, from its list and the metadata of its files.

    Raises
    ------
    SampleError
        If `path` is not a folder of variations, or if a file is missing or damaged.
    """
    folder = Path(path)
    manifest = _manifest(folder)

    def fields(entry: Mapping[str, Any]) -> SampleFields:
        metadata = ParquetTable(_file_beside(folder, entry)).metadata
        if metadata is None:
            msg = f"{folder / str(entry['file'])} was not written by milinfer"
            raise ValueError(msg)
        names = tuple(metadata["features"])
        return SampleFields(
            features=np.zeros((1, len(names)), dtype=np.float32),
            feature_names=names,
            weights=np.ones(1),
            point=metadata["point"] or {},
            process=metadata["process"],
            cross_section=np.nan,
            cross_section_error=np.nan,
            reweights={name: np.ones(1) for name in metadata["reweights"]},
            reweight_points=metadata["reweight_points"],
            provenance={},
        )

    with _named_damage(folder):
        nominal = [fields(entry) for entry in manifest["nominal"]]
        variations, n_events = [], 0
        for entry in manifest["variations"]:
            weights_only = flag_field("weights_only", entry["weights_only"])
            paired = weights_only or "partners" in entry
            variations.append(
                StoredVariation(
                    nuisances={n: number_field(n, x) for n, x in entry["nuisances"].items()},
                    fields=fields(entry),
                    partners=np.zeros(1, dtype=np.int64) if paired else None,
                    weights_only=weights_only,
                )
            )
        for entry in manifest["nominal"] + manifest["variations"]:
            if not entry.get("weights_only", False):
                n_events += whole_field("n_events", entry["n_events"], least=0)
    return FolderOutline(nominal, variations, n_events, file_hash(folder / MANIFEST))


def read_folder(
    path: PathLikeStr, fingerprint: str | None = None
) -> tuple[list[SampleFields], list[StoredVariation]]:
    """Read a folder that :func:`write_folder` has written.

    Variations that change only weights are returned without features.

    Parameters
    ----------
    path
        The folder.
    fingerprint
        Fingerprint that the list of files had when the folder was opened.  If it is given, the list
        must not have changed.

    Raises
    ------
    SampleError
        If `path` is not such a folder, or if a file is missing, has a wrong number of events, or
        has changed since it was written.
    """
    folder = as_path(path)
    manifest = _manifest(folder)
    if fingerprint is not None and file_hash(folder / MANIFEST) != fingerprint:
        msg = f"{folder} has changed since it was opened; start again"
        raise SampleError(msg)

    def checked(entry: Mapping[str, Any]) -> Path:
        file = _file_beside(folder, entry)
        if file_hash(file) != entry["sha256"]:
            msg = (
                f"{file} has changed since it was written (its fingerprint is different); copy the "
                "whole folder again, or write it again"
            )
            raise SampleError(msg)
        return file

    def sample(entry: Mapping[str, Any]) -> SampleFields:
        fields = read_sample(checked(entry), missing_point={})
        if len(fields.weights) != entry["n_events"]:
            msg = (
                f"{folder / str(entry['file'])} has {len(fields.weights)} events, but {MANIFEST} "
                f"records {entry['n_events']}; write the folder again"
            )
            raise SampleError(msg)
        return fields

    with _named_damage(folder):
        nominal = [sample(entry) for entry in manifest["nominal"]]
        variations = []
        for entry in manifest["variations"]:
            fields = sample(entry)
            partners = None
            weights_only = flag_field("weights_only", entry["weights_only"])
            nuisances = {n: number_field(n, x) for n, x in entry["nuisances"].items()}
            if weights_only:
                partners = np.arange(len(fields.weights))
            elif "partners" in entry:
                partners = _partners(checked(entry["partners"]))
            variations.append(StoredVariation(nuisances, fields, partners, weights_only))
    return nominal, variations


def read_weights(path: PathLikeStr) -> tuple[list[SampleFields], list[SampleFields]]:
    """Read only the weights of a folder, for the nominal samples and for the variations.

    Unlike :func:`read_folder`, this does not compare the files with their fingerprints.

    Raises
    ------
    SampleError
        If a file is missing or damaged.
    """
    folder = Path(path)
    manifest = _manifest(folder)

    def weights(entry: Mapping[str, Any]) -> SampleFields:
        file = _file_beside(folder, entry)
        return read_sample(file, features=(), keep_reweights=False, missing_point={})

    with _named_damage(folder):
        nominal, varied = ([weights(e) for e in manifest[k]] for k in ("nominal", "variations"))
    return nominal, varied


def _file_beside(folder: Path, entry: Mapping[str, Any]) -> Path:
    """A file that the list of a folder names."""
    name = text_field("file", entry["file"])
    if Path(name).name != name or len(name) > _LONGEST:
        msg = (
            f"{folder / MANIFEST} names {name[:_LONGEST]!r}, which is not a file in the same "
            "folder; write "
            "the folder again"
        )
        raise SampleError(msg)
    file = folder / name
    if not file.is_file():
        msg = f"{folder}: {file.name} is missing; copy the whole folder, or write it again"
        raise SampleError(msg)
    return file


@contextmanager
def _named_damage(folder: Path) -> Iterator[None]:
    """Turn errors of damaged entries into an error that names the list of files."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, MilinferError):
            raise
        msg = f"{folder / MANIFEST} is damaged ({error!r}); write the folder again"
        raise SampleError(msg) from error


def _partners(file: Path) -> IntArray:
    try:
        partners = read_array(file)
    except ValueError as error:
        msg = f"{file} does not contain numbers of events ({error}); write the folder again"
        raise SampleError(msg) from error
    if partners.ndim != 1 or partners.dtype.kind != "i":
        msg = (
            f"{file} contains {partners.dtype} of shape {partners.shape}, and not the number of a "
            "nominal event for each varied event; write the folder again"
        )
        raise SampleError(msg)
    return partners.astype(np.int64)


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    try:
        manifest = parse_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        msg = (
            f"{folder} has no {MANIFEST} that can be read ({error.strerror}); give a folder that "
            "ProcessVariations.save has written"
        )
        raise MissingFileError(msg) from error
    except ValueError as error:
        msg = f"{file} is not JSON ({error}); write the folder again"
        raise SampleError(msg) from error
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND:
        msg = f"{file} lists no variations; give a folder that ProcessVariations.save has written"
        raise SampleError(msg)
    if manifest.get("format") != _FORMAT:
        msg = (
            f"{file} has the format {manifest.get('format')!r}, and this milinfer reads {_FORMAT}; "
            "update milinfer, or write the folder again"
        )
        raise SampleError(msg)
    return manifest
