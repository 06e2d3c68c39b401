"""Describe the content of a file or folder in a few facts."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milinfer.exceptions import MilinferError, MilinferWarning, ModelError, SampleError
from milinfer.typing import FloatArray, IntArray, PathLikeStr
from milinfer.utils.arguments import is_address, local_path
from milinfer.utils.display import shortened
from milinfer.utils.files import parse_json
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    from milinfer.io.event_record.info import LHEInfo
    from milinfer.samples.file_points import ParameterNames, ReweightPoints

__all__ = ["inspect_file"]

Facts = dict[str, object]

_MOST_WEIGHTS = 24  # that are shown one by one
_PICTURES = (".html", ".svg", ".png", ".pdf")
_SIMULATED = ("LHE", "Gen")  # collections of a simulation without a detector


def inspect_file(
    path: PathLikeStr,
    *,
    tree: str | None = None,
    parameters: ParameterNames | None = None,
    reweight_points: ReweightPoints | None = None,
) -> Facts:
    """Describe what a file or folder contains.

    It recognises event files (LHE, ROOT, Parquet, NanoAOD), files of features, saved models,
    calibrations, belts, published likelihoods, histograms, HistFactory workspaces and their
    patches, ``analysis.toml``, ``summary.json``, folders of results and of variations, and ONNX
    exports.

    Parameters
    ----------
    path
        File or folder, or the address of a ROOT file.
    tree
        Tree of a ROOT file; default: ``Features``, ``Events``, or the only one.
    parameters, reweight_points
        For event files: the parameters whose values are shown, and the points of the event weights
        if the file does not contain them; see :func:`milinfer.samples.file_points.file_points`.

    Returns
    -------
    dict
        Facts by name.  The first one is ``"kind"``, the kind of file.

    Raises
    ------
    MilinferError
        If the file is of none of these kinds, or is damaged.  The message names the problem.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.datasets import gaussian
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.parquet")
    ...     gaussian.generate(100, 0.5, seed=1).to_file(file)
    ...     facts = inspect_file(file)
    >>> facts["kind"], facts["point"], facts["events"]
    ('features', 'mu=0.5', 100)
    """
    if parameters is not None or reweight_points is not None:
        facts = _events_or_features(path, tree) | _points(path, tree, parameters, reweight_points)
        return {k: v for k, v in facts.items() if k not in ("weights", "weights change")}
    if is_address(path):
        return _events_or_features(path, tree)
    place = Path(local_path(path))
    if place.is_dir():
        return _folder(place)
    if place.suffix.lower() in _PICTURES:
        msg = (
            f"{path} is a figure or a report; inspect summary.json, or the file that the option "
            "--json wrote, for its numbers"
        )
        raise SampleError(msg)
    if place.suffix.lower() == ".xml":
        msg = (
            f"{path} is XML, which milinfer does not read; if it is a HistFactory model, convert "
            "it "
            "to a workspace: pyhf xml2json FILE > workspace.json"
        )
        raise SampleError(msg)
    readers: dict[str, Callable[[Path], Facts]] = {
        ".json": _json,
        ".toml": _analysis,
        ".onnx": _onnx,
    }
    reader = readers.get(place.suffix)
    return _events_or_features(place, tree) if reader is None else reader(place)


def _folder(path: Path) -> Facts:
    from milinfer.samples.variation_files import is_variation_folder

    if (path / "summary.json").is_file():
        return _summary(path / "summary.json")
    if is_variation_folder(path):
        return _variations(path)
    if (path / "likelihood.json").is_file():
        return _published(path)
    if not (path / "model.json").is_file():
        msg = (
            f"{path} is neither a saved model (it has no model.json) nor a folder of results (it "
            "has no summary.json) or of variations (it has no variations.json); give the path of a "
            "file in it"
        )
        raise ModelError(msg)
    from milinfer.learning.model_files import read_json

    kind = read_json(path / "model.json").get("format")
    kinds = {"xgboost-2": _boosted, "background-1": _background, "response-1": _response}
    return kinds.get(str(kind), _network)(path)


def _published(path: Path) -> Facts:
    from milinfer.likelihood.published_cost import load_published

    published = load_published(path)
    likelihood, content = published.likelihood, published.content
    events = [t["n_events"] for t in content["terms"] if "n_events" in t]
    facts: Facts = {
        "kind": "published likelihood",
        "title": published.title,
        "terms": ", ".join(term["kind"] for term in content["terms"]),
        "events": ", ".join(f"{n:g}" for n in events),
    }
    for role in ("interest", "normalisation", "nuisance"):
        facts[f"parameters ({role})"] = ", ".join(
            name for name, own in likelihood.roles.items() if own == role
        )
    if published.calibrated:
        facts["calibrated for"] = "; ".join(str(made) for made in published.calibrated_for)
    return {
        **facts,
        "bound": content["bound"],
        "written by milinfer": content["written_by"].get("milinfer", "not given"),
        "created": content["created"],
        "read it with": "milinfer.load_published, or read_likelihood.py in the folder",
    }


def _network(path: Path) -> Facts:
    from milinfer.learning.bag_likelihood import BagLikelihood

    model = BagLikelihood.load(path)
    fitted = model.fitted
    return {
        "kind": f"model ({model.name})",
        "parameters": ", ".join(model.parameters),
        "points": len(fitted.points),
        "range": ", ".join(
            f"{name} in [{low:g}, {high:g}]"
            for name, (low, high) in zip(model.parameters, model.interpolation.limits, strict=True)
        ),
        "bag_size": model.events_in_bag,
        "ensemble": model.ensemble,
        "bootstrap": model.bootstrap,
        "features": len(fitted.feature_names),
        "training_events": sum(fitted.n_events.values()),
        "epochs": [len(h["loss"]) for h in fitted.history],
    }


def _boosted(path: Path) -> Facts:
    from milinfer.learning.boosted_trees import BoostedLikelihood

    model = BoostedLikelihood.load(path)
    fitted = model.fitted
    return {
        "kind": f"model ({model.name})",
        "parameters": model.parameter,
        "points": len(fitted.grid),
        "range": f"{model.parameter} in [{fitted.grid.min():g}, {fitted.grid.max():g}]",
        "features": len(model.feature_names),
        "training_events": sum(fitted.n_events.values()),
        "trees": fitted.booster.num_boosted_rounds(),
    }


def _background(path: Path) -> Facts:
    from milinfer.learning.background_ratio import BackgroundRatio

    fitted = BackgroundRatio.load(path).fitted
    return {
        "kind": "density ratio of a background to the signal",
        "slope": f"{fitted.slope:.4f} ± {fitted.slope_error:.4f}",
        "shift": f"{fitted.shift:.4f} ± {fitted.shift_error:.4f}",
        "mean over signal": f"{fitted.mean_signal:.4f} ± {fitted.mean_signal_error:.4f}",
        "mean of the inverse over background": f"{fitted.mean_background:.4f} ± "
        f"{fitted.mean_background_error:.4f}",
        "held-out events": "{} of signal, {} of background".format(*fitted.n_held_out),
    }


def _response(path: Path) -> Facts:
    from milinfer.learning.systematic_response import SystematicResponse

    response = SystematicResponse.load(path)
    fitted, terms = response.fitted, response.terms
    facts: Facts = {
        "kind": f"response of {response.process} to nuisance parameters",
        "nuisance parameters": ", ".join(
            f"{name} in [{low:g}, {high:g}]"
            for name, (low, high) in zip(terms.nuisances, terms.limits, strict=True)
        ),
        "terms": ", ".join(terms.names),
        "interpolation": terms.interpolation,
        "depends on": ", ".join(terms.parameters) or "no parameter of interest",
        "ensemble": len(fitted.members),
        "features": len(fitted.feature_names),
        "training_events": sum(fitted.n_events.values()),
    }
    expected = fitted.expected
    theta = np.zeros(len(expected.parameters))
    for k, name in enumerate(terms.nuisances):
        for side in (-1.0, 1.0):
            alpha = np.zeros(len(terms.nuisances))
            alpha[k] = side
            factor = np.exp(expected.log_yield(alpha, theta).value)
            error = factor * expected.error(alpha, theta)
            place = format_point({name: side} | dict.fromkeys(expected.parameters, 0.0))
            facts[f"yield at {place}"] = f"{factor:.4f} ± {error:.4f}"
    return facts


def _variations(folder: Path) -> Facts:
    from milinfer.samples.variations import ProcessVariations

    process = ProcessVariations.load(folder)
    facts: Facts = {
        "kind": f"variations of {process.process} by nuisance parameters",
        "nominal events": ", ".join(
            f"{len(s)} at {format_point(s.point)}" if s.point else f"{len(s)}"
            for s in process.nominal
        ),
        "features": ", ".join(process.feature_names),
        "variations": len(process.variations),
    }
    lines: dict[str, list[str]] = {}
    for variation in process.variations:
        kind = "other events" if variation.partners is None else "the same events, other features"
        kind = "other weights" if variation.weights_only else kind
        names = ", ".join(name for name, shift in variation.nuisances.items() if shift)
        try:
            ratio = "{:.4f} ± {:.4f}".format(*process.yield_ratio(variation))
        except SampleError:  # of other events without a cross-section
            ratio = "not known"
        place = format_point({**variation.nuisances, **variation.sample.point})
        lines.setdefault(f"yield by {names} ({kind})", []).append(f"{ratio} at {place}")
    return facts | {name: shortened(texts, _MOST_WEIGHTS) for name, texts in lines.items()}


def _json(path: Path) -> Facts:
    from milinfer.binned.workspaces import (
        HS3_REMEDY,
        is_hs3,
        is_patch,
        is_workspace,
        patch_facts,
        read_workspace,
        workspace_facts,
    )
    from milinfer.intervals.saved_files import is_belt
    from milinfer.likelihood.published_reader import FORMAT as PUBLISHED
    from milinfer.samples.variation_files import MANIFEST, is_variation_folder

    if is_workspace(path):
        return workspace_facts(read_workspace(path))
    if is_belt(path):
        return _belt(path)
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} is not a JSON file ({error}); restore it or produce it again"
        raise ModelError(msg) from error
    if is_patch(content):
        return patch_facts(path)
    if path.name == MANIFEST and is_variation_folder(path.parent):
        return _variations(path.parent)
    if not isinstance(content, dict):
        msg = f"{path} contains no JSON object, so milinfer did not write it; correct the path"
        raise ModelError(msg)
    if "poi" in content:
        return _summary(path)
    if _is_histograms(content):
        return _histograms(path)
    if is_hs3(content):
        metadata = content.get("metadata")
        version = metadata.get("hs3_version") if isinstance(metadata, dict) else None
        return {
            "kind": "likelihood in the HS3 format, which milinfer does not read",
            "hs3 version": version or "not given",
            **{k: len(v) for k, v in content.items() if isinstance(v, list)},
            "what to do": HS3_REMEDY,
        }
    if "milinfer_calibration" in content:
        return _calibration(path)
    if content.get("format") == PUBLISHED:
        return _published(path.parent)
    msg = (
        f"{path} is not a JSON file of a kind that milinfer reads (calibration, belt, "
        "summary.json, published likelihood, histograms, HistFactory workspace or a patch of one, "
        f"HS3); it has {shortened(sorted(content)) or 'nothing'}; correct the path"
    )
    raise SampleError(msg)


def _is_histograms(content: Mapping[str, Any]) -> bool:
    items = list(content.values())
    return "uhi_schema" in content or (
        bool(items) and all(isinstance(h, dict) and "uhi_schema" in h for h in items)
    )


def _histograms(path: Path) -> Facts:
    from milinfer.binned.histogram_files import load_histograms

    histograms = load_histograms(path)
    axes = {name: [len(a) for a in h.axes] for name, h in histograms.items()}
    same = len({tuple(n) for n in axes.values()}) == 1
    shape = " × ".join(map(str, next(iter(axes.values())))) if same else "of several kinds"
    sums = {name: float(h.values(flow=True).sum()) for name, h in histograms.items()}
    return {
        "kind": "histograms",
        "names": ", ".join(histograms),
        "bins": shape,
        "sums": ", ".join(f"{name}: {total:.5g}" for name, total in sums.items()),
    }


def _belt(path: Path) -> Facts:
    from milinfer.intervals.belt import Belt

    belt = Belt.load(path)
    return {
        "kind": f"belt ({belt.ordering})",
        "model": belt.tag.name,
        "parameters": ", ".join(belt.parameters),
        "levels": ", ".join(f"{cl:.2%}" for cl in belt.cl),
        "at": len(belt.points),
        "range": belt.limits,
        "bounds": belt.bounds,
        "events_per_toy": belt.n_events,
        "toys_at_each": min(belt.n_toys),
    }


def _calibration(path: Path) -> Facts:
    from milinfer.intervals.calibration import Calibration

    calibration = Calibration.load(path)
    return {
        "kind": "calibration",
        "model": calibration.model,
        "parameters": ", ".join(calibration.parameters),
        "c_cicc": f"{calibration.scale:.3f} ± {calibration.scale_error:.3f}",
        **{
            f"c_cicc of {p.parameter}": "{:.3f} ± {:.3f}".format(
                *calibration.profiled(p.parameter).scale_at(calibration.points.mean(axis=0))
            )
            for p in calibration.profiles
        },
        "determined_by": calibration.kind,
        "levels": ", ".join(f"{cl:.2%}" for cl in calibration.cls),
        "at": calibration.points.tolist(),
        "bias": calibration.response.bias(calibration.points).round(4).tolist(),
        "events_per_toy": calibration.n_events,
        "toys_at_each": calibration.n_toys,
    }


def _summary(path: Path) -> Facts:
    from milinfer.workflow.several_summary import is_several, several_facts

    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        if is_several(content):
            return several_facts(content)
        poi = content["poi"]
        facts: Facts = {"kind": "results", "parameter": poi, "events": content["n_events"]}
        for name, method in content.items():
            if not (isinstance(method, dict) and {"interval68", "problems"} & set(method)):
                continue
            facts[name] = "no interval"
            if "interval68" in method:
                low, high = method["interval68"]
                facts[name] = f"{poi} = {method['estimate']:.4g}, 68.3 % in [{low:.4g}, {high:.4g}]"
            if method.get("coverage68") is not None:
                measured = [method["coverage68"], method["coverage68_error"]]
                if method.get("coverage68_pool_error") is not None:
                    measured.append(method["coverage68_pool_error"])
                words = " ± ".join(f"{100 * value:.1f}" for value in measured)
                facts[name] = f"{facts[name]}, coverage {words} %"
            for problem in method.get("problems", ()):
                facts[name] = f"{facts[name]}; {problem}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{path} is an incomplete summary ({error!r}); run the analysis again"
        raise ModelError(msg) from error
    return facts


def _analysis(path: Path) -> Facts:
    from milinfer.workflow.configuration import AnalysisConfig

    config = AnalysisConfig.from_file(path)
    facts: Facts = {"kind": "analysis", "title": config.analysis.title}
    for role in ("train", "tune", "evaluate"):
        sections = getattr(config.samples, role)
        number = sum(len(config.files(s.path)) for s in sections)
        facts[role] = f"{number} files" if sections else "split off train"
    facts["data"] = f"{len(config.files(config.data.path))} files"
    facts["models"] = ", ".join(m.title for m in config.model)
    facts["results"] = f"{config.out}" + ("" if config.out.exists() else " (not created yet)")
    return facts


def _onnx(path: Path) -> Facts:
    from milinfer.learning.onnx import read_metadata

    content = read_metadata(path)
    return {
        "kind": f"ONNX export of a model ({content['head']})",
        "parameters": ", ".join(content["parameters"]),
        "points": len(content["points"]),
        "reference": content["reference"],
        "features": len(content["feature_names"]),
        "written by": f"milinfer {content['milinfer_version']}",
    }


def _events_or_features(path: PathLikeStr, tree: str | None) -> Facts:
    from milinfer.io import events as event_files

    kind, tree = event_files.kind_of(path), _tree(path, tree)
    if kind == "lhe":
        return _events(path, tree)
    nano = _nanoaod(path, tree)
    try:
        with event_files.open_reader(path, tree=tree):
            pass
    except SampleError:  # the file has no generator particles
        return nano or _features(path, tree)
    return _events(path, tree) | {k: v for k, v in nano.items() if k not in ("kind", "weights")}


def _tree(path: PathLikeStr, tree: str | None) -> str:
    """Tree to read in a ROOT file; of no meaning for other files."""
    from milinfer.io import events as event_files
    from milinfer.io.flat_files import RootTable

    return RootTable(path, tree).tree if event_files.kind_of(path) == "root" else "Events"


def _events(path: PathLikeStr, tree: str) -> Facts:
    from milinfer.io import events as event_files
    from milinfer.io.event_record.record import EVENT_FIELDS, nan_counts

    columns, not_numbers = [(np.empty(0), np.empty(0, np.int32))], Counter[str]()
    with event_files.open_reader(path, tree=tree) as reader, warnings.catch_warnings():
        warnings.simplefilter("ignore", MilinferWarning)  # the facts say it
        for chunk in reader.chunks(50_000):
            event = {name: np.asarray(chunk[name]) for name in EVENT_FIELDS}
            columns.append((event["genWeight"], event["LHE_processId"]))
            not_numbers.update(nan_counts(event))
        info = reader.info
    weights, process_ids = (np.concatenate(column) for column in zip(*columns, strict=True))
    n = len(weights)
    beams = [
        f"{beam} at {energy:g} GeV" for beam, energy in zip(info.beams, info.energies, strict=True)
    ]
    return {
        "kind": "events",
        "process": info.process or "not given",
        "point": format_point(info.point) if info.point else "not given",
        "events": n,
        "cross_section_pb": _cross_section(info, weights, process_ids, str(path)),
        "beams": ", ".join(beams) if any(info.beams) else "not given",
        "weights": _weights((w.id, w.description) for w in info.weights),
        **{f"events where {name} is NaN": count for name, count in not_numbers.items()},
        **_moved(info),
    }


def _cross_section(info: LHEInfo, weights: FloatArray, process_ids: IntArray, path: str) -> str:
    """Cross-section of a file of events, and where it comes from."""
    from milinfer.samples.cross_sections import (
        cross_section_of_events,
        cross_section_source,
        needs_mixing,
        process_factors,
        warn_of_mean_weight,
    )

    if not info.processes:
        return "not given"
    source = cross_section_source(info)
    sums = (len(weights), float(weights.sum()), float(np.square(weights).sum()))
    if source == "unknown":
        given = ", ".join(f"{p.cross_section:g}" for p in info.processes)
        return (
            f"not given (XSECUP is {given}, and with IDWTUP {info.weighting_strategy} the weights "
            "do not determine it)"
        )
    value, error = cross_section_of_events(info, *sums)
    warn_of_mean_weight(info, *sums, path)
    if needs_mixing(info):
        _, value, error = process_factors(info, process_ids, weights, path)
    of_weights = f" (mean of the weights, IDWTUP {info.weighting_strategy}; XSECUP is not given)"
    text = f"{value:.5g}" if math.isnan(error) else f"{value:.5g} ± {error:.2g}"
    return text + (of_weights if source == "weights" else "")


def _weights(weights: Iterable[tuple[str, str]]) -> str:
    """Ids and descriptions of weights; those of one branch of NanoAOD in a few words together.

    Examples
    --------
    >>> _weights([("c_HW=0.5", ""), ("PSWeight[0]", "ISR=2"), ("PSWeight[1]", "FSR=2")])
    'c_HW=0.5, 2 in PSWeight ([0] ISR=2, [1] FSR=2)'
    """
    from milinfer.io.event_record.nanoaod import WeightEntry, meaning

    branches: dict[str, dict[int, str]] = {}
    texts: list[str] = []
    for identity, told in weights:
        entry, description = WeightEntry.parse(identity), " ".join(told.split())
        if entry is None:
            texts.append(f"{identity} ({description})" if description else identity)
        else:
            branches.setdefault(entry.branch, {})[entry.position] = description
    if len(texts) > _MOST_WEIGHTS:
        texts = [f"{len(texts)}: {shortened(texts)}"]
    for branch, entries in branches.items():
        descriptions = set(entries.values())
        what = meaning(branch, descriptions.pop())
        if descriptions:
            what = shortened([f"[{i}] {text}" for i, text in entries.items()], 10)
        texts.append(f"{len(entries)} in {branch} ({what})")
    return ", ".join(texts) or "none"


def _moved(info: LHEInfo) -> Facts:
    """Parameters that the weights change, and their values in the sample."""
    from milinfer.samples.file_points import moved_parameters

    entries = moved_parameters(info).values()
    texts = [f"{e.place}{f' ({e.name})' if e.name else ''} = {e.value:g}" for e in entries]
    return {"weights change": shortened(texts, _MOST_WEIGHTS)} if texts else {}


def _points(
    path: PathLikeStr,
    tree: str | None,
    parameters: ParameterNames | None,
    reweight_points: ReweightPoints | None,
) -> Facts:
    """Points of a file and of its weights, for the parameters of the user."""
    from milinfer.io import events as event_files
    from milinfer.samples.file_points import file_points

    tree = _tree(path, tree)
    with event_files.open_reader(path, tree=tree) as reader:
        first = next(iter(reader.columns(1)))
        points = file_points(
            reader.info,
            list(first.weights),
            parameters=parameters,
            reweight_points=reweight_points,
            source=str(path),
        )
    facts: Facts = {"point": "not given" if points.point is None else format_point(points.point)}
    for identity, point in points.reweight_points.items():
        facts[f"weight {identity}"] = format_point(point)
    # Weights of other parameters are often many, and one line is enough for them.
    without = {
        i: "it changes others" if reason.startswith("it also changes") else reason
        for i, reason in points.without_point.items()
    }
    for reason, ids in points._replace(without_point=without).reasons.items():
        facts[f"no point: {reason}"] = shortened(ids, _MOST_WEIGHTS)
    return facts


def _nanoaod(path: PathLikeStr, tree_name: str) -> Facts:
    """Collections of a file in the layout of NanoAOD; empty for other files."""
    from milinfer.io import events as event_files
    from milinfer.io.root import open_root

    if event_files.kind_of(path) == "parquet":
        return _nanoaod_in_parquet(path)
    try:
        with open_root(path) as file:
            tree = file[tree_name]
            names = [str(k) for k in tree.keys()]  # noqa: SIM118 - uproot's keys, not the tree's
            n = int(tree.num_entries)
            weights = _weights(_vector_weights(tree, names))
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, MilinferError):
            raise
        msg = f"{path}: this cannot be opened as a ROOT file ({error}); copy or produce it again"
        raise SampleError(msg) from error
    return _collections(names, n, weights)


def _nanoaod_in_parquet(path: PathLikeStr) -> Facts:
    """Collections of a Parquet file in the layout of NanoAOD; empty for other files."""
    import pyarrow.parquet as pq

    from milinfer.io.event_record.nanoaod import is_weight_vector
    from milinfer.io.parquet import arrow_file

    try:
        file = pq.ParquetFile(arrow_file(path))
    except (OSError, ValueError):
        return {}  # what reads the file next says why
    with file:
        names = file.schema_arrow.names
        if not {"run", "event"} <= set(names):  # features may have names such as nJet, Jet_pt
            return {}
        import awkward as ak  # features, which most files have, need none

        n = file.metadata.num_rows
        vectors = [name for name in names if is_weight_vector(name)] if n else []
        some = next(file.iter_batches(1000, columns=vectors)) if vectors else {}
        weights = _weights(_vector_weights({k: ak.from_arrow(some[k]) for k in vectors}, vectors))
        return _collections(names, n, weights)


def _collections(names: Sequence[str], n: int, weights: str) -> Facts:
    """Describe NanoAOD by the names of its branches; empty if they are of the generator alone."""
    from milinfer.features.objects import MET_NAMES

    counted = [
        k[1:] for k in names if k[:1] == "n" and any(m.startswith(k[1:] + "_") for m in names)
    ]
    missing = [k for k in MET_NAMES if f"{k}_pt" in names]
    if all(k.startswith(_SIMULATED) for k in counted):
        return {}
    return {
        "kind": "events of reconstructed objects (NanoAOD)",
        "events": n,
        "collections": ", ".join(counted),
        "missing momentum": ", ".join(missing) or "none",
        "generator weights": "genWeight" if "genWeight" in names else "none",
        "weights": weights,
        "read by": "a coffea processor with NanoAODSchema; its objects give features: "
        "milinfer.feature_set('vbf_2l2j_reco')(leptons, jets, met)",
    }


def _vector_weights(tree: Any, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Ids and descriptions of the weights in branches of NanoAOD with several."""
    import awkward as ak

    from milinfer.io.event_record.nanoaod import WeightEntry, entry_description, is_weight_vector

    for name in filter(is_weight_vector, names):
        branch = tree[name]
        array = branch.array(entry_stop=1000) if hasattr(branch, "array") else branch
        n = int(np.max(np.asarray(ak.num(array, axis=1)), initial=0)) if array.ndim == 2 else 0
        title = str(getattr(tree[name], "title", ""))
        for i in range(n):
            yield str(WeightEntry(name, i)), entry_description(title, i)


def _features(path: PathLikeStr, tree: str | None) -> Facts:
    from milinfer.samples.file_points import POINT_NOTE
    from milinfer.samples.sample import Sample

    sample = Sample.from_file(path, tree=tree, missing_point={})
    stated = POINT_NOTE not in sample.provenance
    return {
        "kind": "features",
        "process": sample.process,
        "point": (format_point(sample.point) or "none") if stated else "not given",
        "events": len(sample),
        "features": ", ".join(sample.feature_names),
        "sum_of_weights": float(sample.weights.sum()),
        "negative_weights": int((sample.weights < 0).sum()),
        "cross_section_pb": "not given"
        if math.isnan(sample.cross_section)
        else f"{sample.cross_section:.5g} ± {sample.cross_section_error:.2g}",
        "weights_at_other_points": _weights((name, "") for name in sample.reweights),
    }
