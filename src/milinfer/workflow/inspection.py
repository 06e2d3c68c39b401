"""Describe a file or folder in a few facts: events, features, models, results, workspaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milinfer.exceptions import ModelError, SampleError
from milinfer.typing import PathLikeStr
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
    parameters: ParameterNames | None = None,
    reweight_points: ReweightPoints | None = None,
) -> Facts:
    """Describe what a file or folder contains.

    Recognises event files (LHE, ROOT, Parquet, NanoAOD), files of features, saved models,
    calibrations, belts, histograms, HistFactory workspaces, ``analysis.toml``, ``summary.json``,
    folders of results and ONNX exports.

    Parameters
    ----------
    path
        File or folder.
    parameters, reweight_points
        For event files: parameters whose points to show, and points that the file does not say; see
        :func:`milinfer.samples.file_points.file_points`.

    Returns
    -------
    dict
        ``"kind"`` and then the facts, in the order to show them.

    Raises
    ------
    MilinferError
        If it is none of these, or damaged; the message names the problem.

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
    place = Path(path)
    if parameters is not None or reweight_points is not None:
        facts = _events_or_features(place) | _points(place, parameters, reweight_points)
        return {k: v for k, v in facts.items() if k not in ("weights", "weights change")}
    if place.is_dir():
        return _folder(place)
    if place.suffix.lower() in _PICTURES:
        msg = (
            f"{path} is a figure or a report; its numbers are in summary.json, or in the file that "
            "--json of the command wrote"
        )
        raise SampleError(msg)
    readers: dict[str, Callable[[Path], Facts]] = {
        ".json": _json,
        ".toml": _analysis,
        ".onnx": _onnx,
    }
    return readers.get(place.suffix, _events_or_features)(place)


def _folder(path: Path) -> Facts:
    if (path / "summary.json").is_file():
        return _summary(path / "summary.json")
    if not (path / "model.json").is_file():
        msg = (
            f"{path} is neither a saved model (it has no model.json) nor a folder of results (it "
            "has no summary.json); name a file in it"
        )
        raise ModelError(msg)
    from milinfer.learning.model_files import read_json

    kind = read_json(path / "model.json").get("format")
    return {"xgboost-2": _boosted, "background-1": _background}.get(str(kind), _network)(path)


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
        "kind": "density of a background over that of the signal",
        "slope": f"{fitted.slope:.4f} ± {fitted.slope_error:.4f}",
        "shift": f"{fitted.shift:.4f} ± {fitted.shift_error:.4f}",
        "mean over signal": f"{fitted.mean_signal:.4f} ± {fitted.mean_signal_error:.4f}",
        "mean of the inverse over background": f"{fitted.mean_background:.4f} ± "
        f"{fitted.mean_background_error:.4f}",
        "held-out events": "{} of signal, {} of background".format(*fitted.n_held_out),
    }


def _json(path: Path) -> Facts:
    from milinfer.binned.workspaces import is_workspace, read_workspace, workspace_facts
    from milinfer.intervals.saved_files import is_belt

    if is_workspace(path):
        return workspace_facts(read_workspace(path))
    if is_belt(path):
        return _belt(path)
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} is not a JSON file ({error}); restore it or produce it again"
        raise ModelError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} holds no JSON object, and milinfer writes no such file; correct the path"
        raise ModelError(msg)
    if "poi" in content:
        return _summary(path)
    if _is_histograms(content):
        return _histograms(path)
    return _calibration(path)


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
        "determined_by": calibration.kind,
        "levels": ", ".join(f"{cl:.2%}" for cl in calibration.cls),
        "at": calibration.points.tolist(),
        "bias": calibration.response.bias(calibration.points).round(4).tolist(),
        "events_per_toy": calibration.n_events,
        "toys_at_each": calibration.n_toys,
    }


def _summary(path: Path) -> Facts:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
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
                facts[name] = (
                    f"{facts[name]}, coverage {100 * method['coverage68']:.1f} ± "
                    f"{100 * method['coverage68_error']:.1f} %"
                )
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
    facts["results"] = f"{config.out}" + ("" if config.out.exists() else " (not there yet)")
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


def _events_or_features(path: Path) -> Facts:
    from milinfer.io import events as event_files

    if event_files.kind_of(path) == "lhe":
        return _events(path)
    nano = _nanoaod(path) if path.suffix == ".root" else {}
    try:
        with event_files.open_reader(path):
            pass
    except SampleError:  # the file has no generator particles
        return nano or _features(path)
    return _events(path) | {k: v for k, v in nano.items() if k != "kind"}


def _events(path: Path) -> Facts:
    from milinfer.io import events as event_files

    with event_files.open_reader(path) as reader:
        n = sum(len(chunk) for chunk in reader.chunks(50_000))
        info = reader.info
    sigma = f"{info.cross_section:.5g} ± {info.cross_section_error:.2g}"
    beams = [
        f"{beam} at {energy:g} GeV" for beam, energy in zip(info.beams, info.energies, strict=True)
    ]
    return {
        "kind": "events",
        "process": info.process or "not given",
        "point": format_point(info.point) if info.point else "not given",
        "events": n,
        "cross_section_pb": sigma if info.processes else "not given",
        "beams": ", ".join(beams) if any(info.beams) else "not given",
        "weights": _weights(info),
        **_moved(info),
    }


def _weights(info: LHEInfo) -> str:
    texts = [f"{w.id} ({' '.join(w.description.split())})" for w in info.weights]
    if len(texts) <= _MOST_WEIGHTS:
        return ", ".join(texts) or "none"
    return f"{len(texts)}: {shortened(texts)}"


def _moved(info: LHEInfo) -> Facts:
    """Parameters that the weights change, and their values in the sample."""
    from milinfer.samples.file_points import moved_parameters

    entries = moved_parameters(info).values()
    texts = [f"{e.place}{f' ({e.name})' if e.name else ''} = {e.value:g}" for e in entries]
    return {"weights change": shortened(texts, _MOST_WEIGHTS)} if texts else {}


def _points(
    path: Path, parameters: ParameterNames | None, reweight_points: ReweightPoints | None
) -> Facts:
    """Points of a file and of its weights, for the parameters of the user."""
    from milinfer.io import events as event_files
    from milinfer.samples.file_points import file_points

    with event_files.open_reader(path) as reader:
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
    reasons: dict[str, list[str]] = {}
    for identity, reason in points.without_point.items():
        others = reason.startswith("it also changes")
        reasons.setdefault("it changes others" if others else reason, []).append(identity)
    for reason, ids in reasons.items():
        facts[f"no point: {reason}"] = shortened(ids, _MOST_WEIGHTS)
    return facts


def _nanoaod(path: Path) -> Facts:
    """Collections of a file in the layout of NanoAOD; empty for other files."""
    from milinfer.features.objects import MET_NAMES
    from milinfer.io.root import open_root

    try:
        with open_root(path) as file:
            if "Events" not in file:
                return {}
            tree = file["Events"]
            names = [str(k) for k in tree.keys()]  # noqa: SIM118 - uproot's keys, not the tree's
            n = int(tree.num_entries)
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path}: this cannot be opened as a ROOT file ({error}); copy or produce it again"
        raise SampleError(msg) from error
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
        "read by": "a coffea processor with NanoAODSchema; its objects give features: "
        "milinfer.feature_set('vbf_2l2j_reco')(leptons, jets, met)",
    }


def _features(path: Path) -> Facts:
    from milinfer.samples.file_points import POINT_NOTE
    from milinfer.samples.sample import Sample

    sample = Sample.from_file(path, missing_point={})
    stated = POINT_NOTE not in sample.provenance
    return {
        "kind": "features",
        "process": sample.process,
        "point": (format_point(sample.point) or "none") if stated else "not given",
        "events": len(sample),
        "features": ", ".join(sample.feature_names),
        "sum_of_weights": float(sample.weights.sum()),
        "negative_weights": int((sample.weights < 0).sum()),
        "cross_section_pb": f"{sample.cross_section:.5g} ± {sample.cross_section_error:.2g}",
        "weights_at_other_points": ", ".join(sample.reweights) or "none",
    }
