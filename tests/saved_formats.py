"""What the files of ``tests/data/format4`` say: each is read, and gives the figures to compare.

The script that makes the files and the test that reads them share these functions, and the names
that they use are public ones: files must stay readable wherever the modules are moved to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.io import events

FOLDER = Path(__file__).parent / "data" / "format4"
EXPECTED = "expected.json"

# Three kinds of figures: the same on every computer, the same but for the last digits of float64,
# and what float32 or a search for a root leaves uncertain.
Figures = dict[str, dict[str, Any]]


def events_of(model: Any) -> mil.Sample:
    """Seven fixed events with the features of a model, inside and outside of the bulk."""
    n = len(model.feature_names)
    x = np.sin(1.7 * np.arange(7 * n) + 0.3).reshape(7, n) * 1.5
    # Bags that are scored as a whole know no weights.
    weights = [1.0, 1.0, 0.5, 2.0, 1.0, 1.0, 1.5] if getattr(model, "additive", True) else [1.0] * 7
    return mil.Sample(x, model.feature_names, np.array(weights))


def short(sketch: str) -> str:
    """A hash of the hashes by which a set of events is known, which are many."""
    return hashlib.sha256(sketch.encode()).hexdigest()[:16]


def thinned(values: np.ndarray) -> np.ndarray:
    """Values at some of the points, where a surface is known at many."""
    return values[..., :: max(1, values.shape[-1] // 6)]


def likelihood(path: Path) -> Figures:
    """Of a trained network or of trees."""
    cls = mil.BoostedLikelihood if path.name == "boosted" else mil.BagLikelihood
    model = cls.load(path)
    data = events_of(model)
    surface = model.surface(data)
    same = {
        "name": model.name,
        "parameters": list(model.parameters),
        "feature_names": list(model.feature_names),
        "digest": model.digest,
        "trained_on": [short(s) for s in model.trained_on],
        "n_events": model.fitted.n_events,
        "history": model.fitted.history,
    }
    middle = np.mean(surface.limits, axis=1) + 0.1
    # A curve and a box take points in forms of their own; the cost takes both.
    rounded = {
        "surface": thinned(surface.values),
        "cost": [model.cost(data)(*(f * middle)) for f in (1.0, 0.5)],
    }
    if isinstance(model, mil.BoostedLikelihood):
        rounded["log_ratio"] = thinned(model.event_llr(data))
        return {"same": same, "exact": {"grid": model.interpolation.grid}, "rounded": rounded}
    same |= {"events_in_bag": model.events_in_bag, "additive": model.additive}
    exact = {"points": model.fitted.points, "limits": model.interpolation.limits}
    if model.additive:
        rounded["log_ratio"] = thinned(model.event_llr(data))
    else:
        rounded["summary"] = model.event_summary(data)
    if model.ensemble > 1:
        rounded["uncertainty"] = model.uncertainty(data)
    return {"same": same, "exact": exact, "rounded": rounded}


def background_ratio(path: Path) -> Figures:
    """Of a ratio and the classifier inside."""
    ratio = mil.BackgroundRatio.load(path)
    fit = ratio.fitted._asdict()
    data = events_of(ratio.classifier)
    return {
        "same": {"digest": ratio.digest, "n_held_out": list(fit.pop("n_held_out"))},
        "exact": fit,
        "rounded": {"log_ratio": ratio.log_ratio(data)},
    }


def response(path: Path) -> Figures:
    """Of a response to nuisance parameters."""
    loaded = mil.SystematicResponse.load(path)
    fitted, terms = loaded.fitted, loaded.terms
    table = loaded.table(events_of(loaded))
    alpha = np.array([0.5, -1.5])
    theta = np.array([0.25]) if terms.parameters else None
    in_kappa = np.array([0.25]) if loaded.expected.parameters else None
    kappa = loaded.expected.log_yield(alpha, in_kappa)
    same = {
        "process": loaded.process,
        "feature_names": list(loaded.feature_names),
        "terms": list(terms.names),
        "limits": terms.limits,
        "parameters": list(terms.parameters),
        "interpolation": terms.interpolation,
        "settings": [loaded.degree, loaded.cross_terms, loaded.ensemble, loaded.classifier],
        "digest": loaded.digest,
        "trained_on": [short(s) for s in loaded.trained_on],
        "n_events": fitted.n_events,
        "history": fitted.history,
        "at_ends": [[dict(r.point), dict(r.nuisances), *r[2:]] for r in loaded.at_ends],
        "points": [dict(p) for p in fitted.base.points],
    }
    exact = {
        "base": [fitted.base.shifts],
        "design": [fitted.base.design],
        "scale": [fitted.scale.factors, fitted.scale.constants],
        "closure": list(fitted.closure),
        "log_yield": [kappa.value, *kappa.nuisances, loaded.expected.error(alpha, in_kappa)],
    }
    rounded = {"columns": table.columns, "log_response": table.log_response(alpha, theta)}
    return {"same": same, "exact": exact, "rounded": rounded}


def calibration(path: Path) -> Figures:
    """Of a calibration, and of what it makes of a cost of its model."""
    loaded = mil.Calibration.load(path)
    theta = np.array([-0.2, 0.0, 0.15])
    exact = {
        "points": loaded.points,
        "scale": [loaded.scale, loaded.scale_error],
        "scale_at": [[loaded.scale_at(t, cl) for t in theta] for cl in loaded.cls],
        "bias": [loaded.bias(t) for t in theta],
        "c_bartlett": [loaded.c_bartlett, loaded.c_bartlett_error],
        "c_coverage": [loaded.c_coverage, loaded.c_coverage_error],
        "limits": loaded.limits,
        "n_events": loaded.n_events,
        "cls": loaded.cls,
    }
    same = {"tag": list(loaded.tag), "n_toys": loaded.n_toys, "kind": loaded.kind}
    same["pool_ids"] = [short(s) for s in loaded.pool_ids]
    return {
        "same": same,
        "exact": exact,
        "rounded": {"corrected": loaded.correct_estimate(theta)},
    }


def calibrated_model(path: Path) -> Figures:
    """Of a calibration that is kept in the folder of its model, and what it makes of a cost."""
    model = mil.BagLikelihood.load(path.parent)
    own = mil.Calibration.load(path.parent)
    data = gaussian.generate(int(own.n_events), 0.1, seed=9, n_features=2)
    cost = own(model.cost(data))
    figures = calibration(path)
    figures["rounded"]["calibrated_cost"] = [cost(t) for t in (-0.2, 0.0, 0.15)]
    return figures


def belt(path: Path) -> Figures:
    """Of a belt; an open end is infinite."""
    loaded = mil.Belt.load(path)
    exact = {
        name: getattr(loaded, name)
        for name in ("points", "cl", "lower", "lower_error", "upper", "upper_error", "bounds")
    }
    theta = np.array([-0.2, 0.0, 0.15])
    for cl in loaded.cl:
        if loaded.ordering == "likelihood-ratio":
            curves = {"critical": loaded.critical(cl)}
        else:
            curves = dict(zip(("from", "to"), loaded.acceptance(cl), strict=True))
        for name, curve in curves.items():
            exact[f"{name} at {cl}"] = [] if curve is None else [curve(theta), curve.error(theta)]
    same = {"ordering": loaded.ordering, "tag": list(loaded.tag), "n_toys": sum(loaded.n_toys)}
    same["pool_ids"] = [short(s) for s in loaded.pool_ids]
    rounded = {}
    if loaded.tag.name == mean_model().name and loaded.calibration is None:
        data = gaussian.generate(int(loaded.n_events), 0.1, seed=9)
        interval = loaded.interval(gaussian_cost(data), loaded.cl[0])
        rounded["interval"] = [interval.intervals, interval.errors]
    if loaded.calibration is not None:
        exact["scale"] = [loaded.calibration.scale, loaded.calibration.scale_error]
    return {"same": same, "exact": exact, "rounded": rounded}


def gaussian_cost(data: mil.Sample) -> Any:
    """Surface of the model that the belts and calibrations are of."""
    model = mean_model()
    return model.interpolation.surface(model.event_llr(data).sum(axis=0))


def mean_model() -> gaussian.MeanModel:
    """Half of the curvature, and a bias."""
    return gaussian.MeanModel(scale=0.5, response=0.9, shift=0.05)


def sample(path: Path) -> Figures:
    """Everything in a file of features, which is exact."""
    loaded = mil.Sample.from_file(path)
    return {
        "same": {
            "feature_names": list(loaded.feature_names),
            "features": loaded.features.tolist(),
            "weights": loaded.weights.tolist(),
            "reweights": {k: v.tolist() for k, v in loaded.reweights.items()},
            "reweight_points": {k: dict(v) for k, v in loaded.reweight_points.items()},
            "point": dict(loaded.point),
            "process": loaded.process,
            "cross_section": [loaded.cross_section, loaded.cross_section_error],
            "provenance": dict(loaded.provenance),
        }
    }


def event_records(path: Path) -> Figures:
    """Four-momenta, weights and header of a file of events."""
    content = events.read(path)
    record = content.events
    sums = {name: float(np.sum(record.LHEPart[name])) for name in record.LHEPart.fields}
    return {
        "same": {"n": len(record), "fields": record.fields, "info": vars(content.info)},
        "exact": sums
        | {"weights": {k: record.LHEWeight[k].to_numpy() for k in record.LHEWeight.fields}},
    }


def histograms(path: Path) -> Figures:
    """Contents and variances."""
    from milinfer.binned import load_histograms

    loaded = load_histograms(path)
    return {
        "same": {"names": list(loaded), "points": [h.point for h in loaded.values()]},
        "exact": {
            "values": [h.values() for h in loaded.values()],
            "variances": [h.variances() for h in loaded.values()],
            "edges": [h.axes[0].edges for h in loaded.values()],
        },
    }


def onnx(path: Path) -> Figures:
    """Some facts only: it is another program that computes with it."""
    facts = mil.inspect_file(path)
    return {"same": {name: facts[name] for name in ("parameters", "points", "features")}}


READERS: dict[str, Callable[[Path], Figures]] = {
    "multiclass": likelihood,
    "multiclass_ensemble": likelihood,
    "multiclass_two_parameters": likelihood,
    "parametrised": likelihood,
    "polynomial": likelihood,
    "polynomial_joint_two_parameters": likelihood,
    "attention": likelihood,
    "boosted": likelihood,
    "background_ratio": background_ratio,
    "response": response,
    "response_in_theta": response,
    "response_of_trees": response,
    "calibration_bias.json": calibration,
    "calibration_bartlett.json": calibration,
    "multiclass/calibration.json": calibrated_model,
    "belt_neyman.json": belt,
    "belt_bounded.json": belt,
    "belt_upper.json": belt,
    "belt_calibrated.json": belt,
    "belt_regression.json": belt,
    "belt_regression_central.json": belt,
    "sample.parquet": sample,
    "sample.root": sample,
    "events.parquet": event_records,
    "histograms.json": histograms,
    "model.onnx": onnx,
}
"""What reads each file or folder."""


def figures_of(name: str) -> Figures:
    """All figures of a file or folder."""
    return READERS[name](FOLDER / name)


def plain(value: Any) -> Any:
    """Lists and numbers for arrays, as JSON has them."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value
