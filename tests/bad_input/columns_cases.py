"""Broken ROOT and Parquet files: of events, and of features."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from bad_input.harness import Case
from milinfer import Sample
from milinfer.exceptions import (
    FeatureError,
    LHEError,
    MilinferError,
    ParameterError,
    SampleError,
)
from milinfer.io import lhe
from milinfer.io.convert import convert
from milinfer.io.event_record.branches import FileMetadata
from milinfer.samples.streaming import StreamedSample

INFO = lhe.LHEInfo(processes=(lhe.LHEProcess(1.5, 0.1, 1.0, 1),), process="signal", point={"c": 0})
COUNTS = [2, 3, 1]
N = sum(COUNTS)
METADATA = json.loads(FileMetadata(INFO, {"LHEWeight_a": "a"}).to_json())
SAMPLE = {
    "kind": "sample", "format": 1, "features": ["x", "y"], "reweights": [], "point": {"c": 0.5},
    "process": "signal", "cross_section": 1.0, "cross_section_error": 0.1, "reweight_points": {},
    "provenance": {},
}  # fmt: skip
REMEDY = "produce|copy|convert|compute|give|choose|name|write it|correct|read them|fix|reject|need"


def columns() -> dict[str, Any]:
    """Event records in columns, as milinfer's own files have them."""
    rng = np.random.default_rng(1)
    jagged = {n: rng.normal(size=N) for n in ("exact_px", "exact_py", "exact_pz", "exact_energy")}
    jagged |= {"mass": np.zeros(N), "pdgId": np.full(N, 11), "status": np.ones(N, dtype=np.int32)}
    jagged |= {"mother1": np.zeros(N, dtype=np.int32), "mother2": np.zeros(N, dtype=np.int32)}
    return {
        **{f"LHEPart_{name}": ak.unflatten(column, COUNTS) for name, column in jagged.items()},
        "genWeight": np.ones(3),
        "LHE_processId": np.ones(3, dtype=np.int32),
        "LHEWeight_a": np.ones(3),
    }


def table() -> dict[str, Any]:
    return {"x": np.arange(3.0), "y": np.ones(3), "weight": np.ones(3)}


def write(path: Path, content: dict[str, Any], metadata: Any, tree: str) -> None:
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    if path.suffix == ".root":
        with uproot.recreate(path) as file:
            # one call: branches of different lengths of particles are allowed
            file.mktree(tree, {k: ak.type(ak.Array(v)).content for k, v in content.items()})
            if len(next(iter(content.values()), [])):
                file[tree].extend({k: ak.Array(v) for k, v in content.items()})
            if metadata is not None:
                file["milinfer"] = text
        return
    arrays = {k: ak.to_arrow(ak.Array(v), extensionarray=False) for k, v in content.items()}
    pa_table = pa.table(arrays)
    meta = {} if metadata is None else {b"milinfer": text.encode()}
    pq.write_table(pa_table.replace_schema_metadata(meta), path)


Change = Callable[[dict[str, Any]], object]


def case(
    suffix: str,
    name: str,
    change: Change,
    place: str,
    *,
    of: str = "events",
    metadata: Any = ...,
    tree: str | None = None,
    error: type[MilinferError] = SampleError,
    damage: Callable[[bytes], bytes] = bytes,
    call: Any = None,
    command: Any = ...,
) -> Case:
    of_events = of == "events"

    def build(folder: Path) -> Path:
        path = folder / f"broken{suffix}"
        content = columns() if of_events else table()
        change(content)
        own = (METADATA if of_events else SAMPLE) if metadata is ... else metadata
        write(path, content, own, tree or ("Events" if of_events else "Features"))
        path.write_bytes(damage(path.read_bytes()))
        return path

    def read(path: Path, out: Path) -> object:
        if of_events:
            return convert(path, out / "e.lhe")
        return Sample.from_file(path)

    def arguments(path: Path, out: Path) -> list[object]:
        if of_events:
            return ["convert", path, "--out", out / "e.lhe"]
        return ["inspect", path, "--json", out / "f.json"]

    return Case(
        f"{suffix[1:]}: {of}: {name}", build, call or read, error, place, REMEDY,
        arguments if command is ... else command,
    )  # fmt: skip


def nothing(content: dict[str, Any]) -> None:
    """Leave it as it is."""


def without(*names: str) -> Change:
    return lambda c: [c.pop(name) for name in names]


def with_column(name: str, values: Any) -> Change:
    return lambda c: c.__setitem__(name, values)


def only_first(n: int) -> Change:
    return lambda c: c.update({k: v[:n] for k, v in c.items()})


def particles(name: str, value: float) -> Change:
    def change(content: dict[str, Any]) -> None:
        flat = np.asarray(ak.flatten(content[f"LHEPart_{name}"]), dtype=np.float64)
        flat[3] = value
        content[f"LHEPart_{name}"] = ak.unflatten(flat, COUNTS)

    return change


def whole(**changes: Any) -> dict[str, Any]:
    return {**METADATA, **changes}


def sample(**changes: Any) -> dict[str, Any]:
    return {**SAMPLE, **changes}


def info(**changes: Any) -> dict[str, Any]:
    return whole(info=json.dumps({**json.loads(METADATA["info"]), **changes}))


def both(suffix: str) -> list[Case]:
    """What can be wrong with either kind of file."""
    c = case
    far = particles("pdgId", 2.0**40)
    return [
        c(suffix, "empty", nothing, "complete Parquet|ROOT", damage=lambda _: b""),
        c(suffix, "text", nothing, "complete Parquet|ROOT", damage=lambda _: b"x,y\n" * 99),
        c(suffix, "cut in the middle", nothing, "complete Parquet|ROOT|read|tree",
          damage=lambda d: d[: len(d) // 2]),
        c(suffix, "cut after ten bytes", nothing, "complete Parquet|ROOT", damage=lambda d: d[:10]),
        c(suffix, "zeros in the middle", nothing, "ROOT|read|Parquet|metadata|tree",
          damage=lambda d: d[: len(d) // 3] + bytes(len(d) // 3) + d[2 * (len(d) // 3) :]),
        c(suffix, "zero events", only_first(0), "no events"),
        c(suffix, "not momenta", without("LHEPart_exact_px", "LHEPart_exact_py"),
          "LHEPart_exact_px, LHEPart_exact_py are missing"),
        c(suffix, "no weight", without("genWeight"), "genWeight are missing"),
        c(suffix, "a reweight lost", without("LHEWeight_a"), "LHEWeight_a are missing"),
        c(suffix, "identities that are not whole numbers", particles("pdgId", 11.5),
          "event 1 .*LHEPart_pdgId"),
        c(suffix, "identities too large", far, "event 1 .*LHEPart_pdgId"),
        c(suffix, "a NaN among the identities", particles("status", np.nan),
          "event 1 .*LHEPart_status"),
        c(suffix, "identities that are one number for each event",
          with_column("LHEPart_pdgId", np.array([11, 11, 11])), "LHEPart_pdgId"),
        c(suffix, "momenta that are one number for each event",
          with_column("LHEPart_exact_py", np.ones(3)), "LHEPart_exact_py"),
        c(suffix, "momenta of fewer particles",
          with_column("LHEPart_exact_py", ak.unflatten(np.ones(5), [2, 2, 1])), "LHEPart_exact_py"),
        c(suffix, "momenta in another order of events",
          with_column("LHEPart_exact_py", ak.unflatten(np.ones(6), [3, 2, 1])), "LHEPart_exact_py"),
        c(suffix, "weights that are lists",
          with_column("genWeight", ak.unflatten(np.ones(6), COUNTS)), "genWeight"),
        c(suffix, "an infinite momentum", particles("exact_px", np.inf), "event 1 ",
          error=LHEError),
        c(suffix, "metadata cut off", nothing, "metadata", metadata='{"info": "{'),
        c(suffix, "metadata of a list", nothing, "metadata", metadata="[1]"),
        c(suffix, "metadata too deep", nothing, "metadata", metadata="[" * 100_000),
        c(suffix, "beams of words", nothing, "metadata", metadata=info(beams=["p", "p"])),
        c(suffix, "one beam", nothing, "metadata", metadata=info(beams=[2212])),
        c(suffix, "processes of words", nothing, "metadata", metadata=info(processes=["ab"])),
        c(suffix, "a point of words", nothing, "metadata", metadata=info(point={"c": "x"})),
        c(suffix, "weights of a list", nothing, "metadata", metadata=whole(weights=["a"])),
        c(suffix, "a weight without a name", nothing, "metadata",
          metadata=whole(weights={"LHEWeight_a": 5})),
        # features
        c(suffix, "text", nothing, "complete Parquet|ROOT", of="features",
          damage=lambda _: b"a" * 99),
        c(suffix, "cut in the middle", nothing, "complete Parquet|ROOT|read|damaged", of="features",
          damage=lambda d: d[: len(d) // 2]),
        c(suffix, "a column lost", without("y"), r"no columns y;", of="features"),
        c(suffix, "no weights", without("weight"), "no weight column 'weight'", of="features"),
        c(suffix, "a column of lists", with_column("x", ak.unflatten(np.ones(6), COUNTS)),
          "'x' is not one number", of="features"),
        c(suffix, "NaN", with_column("x", np.array([0, np.nan, 1])), "'x' is not finite in event 1",
          of="features"),
        c(suffix, "infinite weights", with_column("weight", np.array([0, 1, np.inf])),
          r"event 2 \(counted from 0\): column 'weight' is inf", of="features"),
        c(suffix, "numbers beyond single precision", with_column("x", np.array([0, 1e300, 1])),
          "'x' is not finite in event 1", of="features"),
        c(suffix, "metadata cut off", nothing, "metadata", of="features", metadata='{"kind": '),
        c(suffix, "metadata too deep", nothing, "metadata", of="features", metadata="[" * 100_000),
        c(suffix, "a point of words", nothing, "metadata.*point", of="features",
          metadata=sample(point={"c": "x"})),
        c(suffix, "a point of a list", nothing, "metadata.*point", of="features",
          metadata=sample(point=[1])),
        c(suffix, "features that are not a list", nothing, "metadata.*features", of="features",
          metadata=sample(features={"x": 1})),
        c(suffix, "features that are numbers", nothing, "metadata.*features", of="features",
          metadata=sample(features=[1, 2])),
        c(suffix, "a feature twice", nothing, "twice", of="features",
          metadata=sample(features=["x", "x"])),
        c(suffix, "reweights that are not there", nothing, r"no columns weight:a;",
          of="features", metadata=sample(reweights=["a"])),
        c(suffix, "reweights that are a number", nothing, "metadata.*reweights", of="features",
          metadata=sample(reweights=3)),
        c(suffix, "points of unknown reweights", nothing, r"unknown weights \['b'\]",
          of="features", metadata=sample(reweight_points={"b": {"c": 1.0}})),
        c(suffix, "a cross-section of words", nothing, "metadata.*cross_section", of="features",
          metadata=sample(cross_section="large")),
        c(suffix, "provenance of a list", nothing, "metadata.*provenance", of="features",
          metadata=sample(provenance=[1])),
        c(suffix, "a format of the future", nothing, "format 99", of="features",
          metadata=sample(format=99)),
        c(suffix, "nothing said of its columns", nothing, "does not record which", of="features",
          metadata=None, error=ParameterError),
        c(suffix, "no point", nothing, "does not say at which parameter point", of="features",
          metadata=None, error=ParameterError, command=None,
          call=lambda path, _: Sample.from_file(path, features=["x"])),
        c(suffix, "another point than the one given", nothing, "is at c=0.5, but point= is c=1",
          of="features", error=ParameterError, call=lambda path, _: Sample.from_file(
              path, point={"c": 1.0}), command=None),
        c(suffix, "events in the place of features", nothing, "fewer than 2 leptons",
          error=FeatureError, call=lambda path, _: Sample.from_file(path),
          command=lambda path, out: ["features", path, "--out", out / "f.parquet"]),
    ]  # fmt: skip


ROOT = [
    *both(".root"),
    case(".root", "another tree", nothing, "no tree 'Events'.*Delphes", tree="Delphes"),
    case(".root", "a text for a weight", with_column("genWeight", np.array(["a", "b", "c"])),
         "genWeight"),
    case(".root", "cut in its last bytes", nothing, "ROOT|read|tree",
         damage=lambda d: d[: len(d) - len(d) // 10]),
    case(".root", "two trees", nothing, "no tree 'Feat'", of="features",
         call=lambda path, _: Sample.from_file(path, tree="Feat"), command=None),
]  # fmt: skip


def strange(values: Any) -> Change:
    return with_column("x", values)


PARQUET = [
    *both(".parquet"),
    case(".parquet", "cut in its last bytes", nothing, "complete Parquet", damage=lambda d: d[:-3]),
    case(".parquet", "missing values among the particles",
         with_column("LHEPart_exact_px", ak.Array([[1.0, None], [1.0, 2.0, 3.0], [1.0]])),
         "LHEPart_exact_px"),
    case(".parquet", "a missing list of particles",
         with_column("LHEPart_pdgId", ak.Array([[11, 11], None, [11]])), "LHEPart_pdgId"),
    case(".parquet", "missing weights", with_column("genWeight", ak.Array([1.0, None, 1.0])),
         "genWeight"),
    case(".parquet", "words for weights", with_column("genWeight", ak.Array(["a", "b", "c"])),
         "genWeight"),
    case(".parquet", "words for features", strange(ak.Array(["a", "b", "c"])),
         "'x' is not one number", of="features"),
    case(".parquet", "missing features", strange(ak.Array([1.0, None, 2.0])),
         "'x' is not finite in event 1|'x' .*missing", of="features"),
    case(".parquet", "no row groups, streamed", without("x"), r"no columns x;", of="features",
         call=lambda path, _: StreamedSample.from_file(path).read(0), command=None),
]  # fmt: skip
