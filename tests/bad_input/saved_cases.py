"""Damaged models, calibrations, belts and histograms."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_input.harness import Case
from milinfer import BagLikelihood
from milinfer.binned import load_histograms
from milinfer.exceptions import CalibrationError, MilinferError, ModelError, TemplateError
from milinfer.intervals.belt import Belt
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.calibration_fit import calibrate
from milinfer.intervals.neyman import neyman
from milinfer.learning.boosted_trees import BoostedLikelihood
from milinfer.learning.model_files import pack_model, unpack_model
from milinfer.learning.networks.configs import TrainingConfig
from milinfer.toys.toys import Toys
from models import GaussianMean, gaussian_samples
from random_networks import random_networks

Change = Callable[[dict[str, Any]], object]
WEIGHTS = "member_0.weights.h5"


@functools.cache
def model_files() -> dict[str, bytes]:
    """Files of a small trained model, made once."""
    samples = gaussian_samples([-0.5, 0.0, 0.5], 300, 1)
    model = BagLikelihood(
        head="multiclass", bag_size=5, degree=2, training=TrainingConfig(epochs=1, batch_events=300)
    )
    with random_networks():
        model = model.fit(samples)
    return pack_model(model, model.fitted)


@functools.cache
def texts() -> tuple[str, str]:
    """A calibration and a belt, as they are in their files."""
    import tempfile

    truths = [-0.3, 0.0, 0.3]
    toys = Toys(gaussian_samples(truths, 3000, 1), 50, seed=5)
    thrown = [toys.run([GaussianMean()], t, 200)["gaussian"] for t in truths]
    with tempfile.TemporaryDirectory() as folder:
        calibrate(thrown).save(Path(folder, "c.json"))
        neyman(thrown).save(Path(folder, "b.json"))
        return Path(folder, "c.json").read_text(), Path(folder, "b.json").read_text()


def inspect(path: Path, out: Path) -> list[object]:
    return ["inspect", path, "--json", out / "f.json"]


def model(
    name: str, change: Change, place: str, *, files: Callable[[Path], object] = lambda _: None,
    load: Callable[..., object] = BagLikelihood.load, text: str | None = None, command: Any = None,
) -> Case:  # fmt: skip
    def build(folder: Path) -> Path:
        target = folder / "broken"
        target.mkdir()
        for file, data in model_files().items():
            (target / file).write_bytes(data)
        content = json.loads((target / "model.json").read_text())
        change(content)
        written = json.dumps(content) if text is None else text
        (target / "model.json").write_text(written)
        files(target)
        return target

    return Case(
        f"model: {name}", build, lambda path, _: load(path), ModelError, place,
        "train again|restore|load it|reads|it has no model.json", command,
    )  # fmt: skip


def put(*place: Any, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        item = content
        for key in place[:-1]:
            item = item[key]
        item[place[-1]] = value

    return change


def drop(key: str) -> Change:
    return lambda content: content.pop(key)


def same(content: dict[str, Any]) -> None:
    """Leave it as it is."""


def weights(data: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Other weights, with the checksum that belongs to them."""

    def change(folder: Path) -> None:
        file = folder / WEIGHTS
        file.write_bytes(data(file.read_bytes()))
        content = json.loads((folder / "model.json").read_text())
        content["weights"][WEIGHTS] = hashlib.sha256(file.read_bytes()).hexdigest()
        (folder / "model.json").write_text(json.dumps(content))

    return change


def swap(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1] + b"x")


JSON = "model.json"
NAN, INFINITY = float("nan"), float("inf")
MODELS = [
    model("no model.json", same, "no model.json", command=inspect, files=lambda f: (f / JSON).unlink()),  # noqa: E501
    model("an empty model.json", same, "model.json is damaged", text=""),
    model("a model.json that is cut", same, "model.json is damaged", text='{"format": 4, "se'),
    model("a model.json of a list", same, "model.json does not contain", text="[1]"),
    model("a model.json too deep", same, "model.json is damaged", text="[" * 100_000),
    model("a model.json in UTF-16", same, "model.json is damaged",
          files=lambda f: (f / JSON).write_bytes("{}".encode("utf-16"))),
    model("a format of the future", put("format", value=99), "model format 99"),
    model("no format", drop("format"), "model format None"),
    model("no settings", drop("settings"), "settings"),
    model("no network", drop("network"), "network"),
    model("no points", drop("points"), "points"),
    model("an unknown setting", put("settings", "of the future", value=1), "future"),
    model("an unknown head", put("settings", "head", value="x"), "broken"),
    model("an unknown layer", put("network", "of the future", value=1), "future"),
    model("points of two parameters", put("points", value=[[0.0, 1.0], [1.0, 1.0]]), "model.json"),
    model("points of words", put("points", value=[["a"], ["b"]]), "model.json"),
    model("points twice", put("points", value=[[0.0], [0.0], [0.5]]), "model.json"),
    model("more features than means", put("feature_names", value=["x0", "x1"]), "feature"),
    model("means of two features", put("mean", value=[0.0, 0.0]), "mean|model.json"),
    model("means of words", put("mean", value=["a"]), "model.json"),
    model("variances of NaN", put("variance", value=[None]), "variance|model.json"),
    model("variances below zero", put("variance", 0, value=-1.0), "variance of the features is"),
    model("means of 400 digits", put("mean", 0, value=10**400), "mean of the features is"),
    model("z of NaN", put("z", 0, value=[NAN]), r"z\[0\] is"),
    model("scales of NaN", put("scale", 0, value=NAN), "scale is nan"),
    model("points of NaN", put("points", 0, 0, value=NAN), "points is"),
    model("a list of events", put("n_events", value=[1]), "n_events is"),
    model("events of a word", put("n_events", "a", value="many"), "n_events of a is"),
    model("events below zero", put("effective_events", value=-1.0), "effective_events is"),
    model("a history of NaN", put("history", 0, "val_loss", value=[NAN]),
          r"history\[0\]: val_loss is \[nan\]"),
    model("a history of words", put("history", 0, "loss", value=["low"]),
          r"history\[0\]: loss is \['low'\]"),
    model("a history of a number", put("history", 0, value=1.0),
          r"history\[0\] must contain the losses"),
    model("a history of no network", put("history", value=[]), "history has 0 entries for 1"),
    model("a history that is a text", put("history", value="none"), "history is 'none'"),
    model("a history without epochs",
          put("history", 0, value={"loss": [], "val_loss": []}), r"history\[0\]: loss is empty"),
    model("a history of other lengths", put("history", 0, "val_loss", value=[1.0, 1.0]),
          r"history\[0\]: val_loss have shape"),
    model("a history without validation", put("history", 0, value={"loss": [1.0]}), "val_loss"),
    model("dropout of NaN", put("network", "dropout", value=NAN), "dropout of the network is nan"),
    model("dropout in quotes", put("network", "dropout", value="0.1"), "dropout of the network is"),
    model("dropout of everything", put("network", "dropout", value=1.0), "dropout of the network"),
    model("dropout below zero", put("network", "dropout", value=-0.1), "dropout of the network is"),
    model("dropout that is true", put("network", "dropout", value=True), "dropout of the network"),
    model("l2 of NaN", put("network", "l2", value=NAN), "l2 of the network is nan"),
    model("batch_norm of a word", put("network", "batch_norm", value="no"), "batch_norm of the"),
    model("an activation of a number", put("network", "activation", value=1), "activation of the"),
    model("a learning rate of NaN", put("training", "learning_rate", value=NAN),
          "learning_rate of the training is nan"),
    model("epochs of NaN", put("training", "epochs", value=NAN), "epochs of the training is nan"),
    model("patience of a word", put("training", "patience", value="6"), "patience of the training"),
    model("a degree without end", put("settings", "degree", value=10**8), "weights for degree"),
    model("layers without end", put("network", "hidden", value=[10**6, 10**6]), "layers"),
    model("an ensemble without end", put("settings", "ensemble", value=10**9), "ensemble is"),
    model("no scales", put("scale", value=[]), "scale"),
    model("weights without a checksum", put("weights", value={}), WEIGHTS),
    model("weights that are missing", same, f"{WEIGHTS} is missing",
          files=lambda f: (f / WEIGHTS).unlink()),
    model("weights that were changed", same, f"{WEIGHTS} differs", files=swap),
    model("weights that are cut", same, WEIGHTS, files=weights(lambda d: d[: len(d) // 2])),
    model("weights that are a text", same, WEIGHTS, files=weights(lambda _: b"weights")),
    model("weights of another network", put("network", "units", value=[7]), f"{WEIGHTS}|model.json"),  # noqa: E501
    model("a model of another class", same, "model format 4", load=BoostedLikelihood.load,
          command=None),
]  # fmt: skip


def text_case(
    kind: str, name: str, change: Change | str, place: str, error: type[MilinferError],
    load: Callable[[Path], object], good: Callable[[], str], remedy: str, command: Any = inspect,
) -> Case:  # fmt: skip
    def build(folder: Path) -> Path:
        path = folder / "broken.json"
        if isinstance(change, str):
            path.write_text(change)
        else:
            content = json.loads(good())
            change(content)
            path.write_text(json.dumps(content))
        return path

    return Case(f"{kind}: {name}", build, lambda path, _: load(path), error, place, remedy, command)


def calibration(name: str, change: Change | str, place: str) -> Case:
    remedy = "calibrate again|produce it again|correct the path"
    return text_case("calibration", name, change, place, CalibrationError, Calibration.load,
                     lambda: texts()[0], remedy)  # fmt: skip


def belt(name: str, change: Change | str, place: str, command: Any = inspect) -> Case:
    return text_case("belt", name, change, place, CalibrationError, Belt.load,
                     lambda: texts()[1], "make it again", command)  # fmt: skip


def forty_parameters(content: dict[str, Any]) -> None:
    """As many coefficients as degree 2 needs, and a tensor of 3^40 numbers to evaluate it."""
    n = 41 * 42 // 2
    content["log_scales"][0] |= {
        "parameters": [f"c{k}" for k in range(40)], "degree": 2, "coefficients": [0.0] * n,
        "covariance": [[0.0] * n] * n, "low": [-1.0] * 40, "high": [1.0] * 40,
    }  # fmt: skip


def negative_covariance(content: dict[str, Any]) -> None:
    rows = content["log_scales"][0]["covariance"]
    content["log_scales"][0]["covariance"] = [[-1.0] * len(rows)] * len(rows)


def nan_coefficients(content: dict[str, Any]) -> None:
    coefficients = content["log_scales"][0]["coefficients"]
    content["log_scales"][0]["coefficients"] = [NAN] * len(coefficients)


def no_points(content: dict[str, Any]) -> None:
    content |= {"points": [], "c_bartlett": [], "c_bartlett_error": []}


CALIBRATIONS = [
    calibration("empty", "", "broken.json"),
    calibration("cut", '{"milinfer_calibration": 2, "ta', "broken.json"),
    calibration("too deep", "[" * 100_000, "deep"),
    calibration("a list", "[1]", "broken.json"),
    calibration("a format of the future", put("milinfer_calibration", value=99), "format 99"),
    calibration("no tag", drop("tag"), "tag"),
    calibration("an unknown key", put("of the future", value=1), "future"),
    calibration("points of words", put("points", value=[["a"]]), "broken.json"),
    calibration("fewer points", put("points", value=[[0.0]]), "points|c_bartlett"),
    calibration("points of two parameters", put("points", value=[[0.0, 1.0]] * 3), "points"),
    calibration("fewer constants", put("c_coverage", value=[[1.0]]), "c_coverage"),
    calibration("levels without a function", put("log_scales", value=[]), "log_scales"),
    calibration("no response", put("response", value=[]), "response"),
    calibration("coefficients of another degree",
                put("log_scales", 0, "coefficients", value=[1.0] * 9), "coefficients"),
    calibration("a degree below zero", put("log_scales", 0, "degree", value=-1), "degree"),
    calibration("limits of one number", put("limits", value=[[0.0]]), "broken.json"),
    calibration("an unknown kind", put("kind", value="x"), "kind"),
    calibration("a level above one", put("cls", value=[2.0, 3.0]), "cls"),
    calibration("a degree without end", put("log_scales", 0, "degree", value=10**8),
                r"log_scales\[0\]: coefficients.*degree 100000000"),
    calibration("a degree of 400 digits", put("log_scales", 0, "degree", value=10**400),
                r"log_scales\[0\]: degree is a number of too many digits"),
    calibration("an infinite degree", put("response", 0, "degree", value=INFINITY),
                r"response\[0\]: degree is inf"),
    calibration("forty parameters", forty_parameters, r"log_scales\[0\]: degree 2 in 40"),
    calibration("a covariance below zero", negative_covariance, r"log_scales\[0\].*variances"),
    calibration("chi2 of NaN", put("log_scales", 0, "chi2", value=NAN), r"log_scales\[0\]: chi2"),
    calibration("coefficients of NaN", nan_coefficients, r"log_scales\[0\]: coefficients is \[nan"),
    calibration("a box from 1 to −1", put("log_scales", 0, "high", value=[-9.0]), "low to high"),
    calibration("points of NaN", put("points", 0, 0, value=NAN), "points"),
    calibration("points in quotes", put("points", 0, 0, value="1.0"), "points"),
    calibration("no points", no_points, "points"),
    calibration("limits of NaN", put("limits", 0, 0, value=NAN), "limits"),
    calibration("limits the wrong way", put("limits", 0, value=[1.0, -1.0]), "limits"),
    calibration("limits of 400 digits", put("limits", 0, 0, value=10**400), "limits"),
    calibration("errors below zero", put("c_bartlett_error", 0, value=-1.0), "c_bartlett_error"),
    calibration("many events", put("n_events", value="many"), "n_events is 'many'"),
    calibration("events below zero", put("n_events", value=-5), "n_events is -5"),
    calibration("no toys", put("n_toys", value=0), "n_toys"),
    calibration("extended by a word", put("extended", value="no"), "extended"),
    calibration("a name that is a number", put("tag", "name", value=3), "the name in tag is 3"),
    calibration("a level in quotes", put("cls", value=["0.68", "0.95"]), "cls"),
]  # fmt: skip
BELTS = [
    belt("a format of the future", put("milinfer_belt", value=99), "format"),
    belt("cut", '{"milinfer_belt": 1, "ta', "broken.json", None),
    belt("no ends", drop("upper"), "upper"),
    belt("ends of fewer points", put("upper", value=[[1.0]]), "upper"),
    belt("ends of words", put("upper", value=[["a", "b"]] * 3), "broken.json"),
    belt("an unknown ordering", put("ordering", value="x"), "ordering"),
    belt("bounds of one number", put("bounds", value=[[0.0]]), "broken.json"),
    belt("levels of words", put("cl", value=["a", "b"]), "broken.json"),
    belt("a tag of two parts", put("tag", value=["a", 1]), "broken.json"),
    belt("ends of NaN", put("upper", 0, 0, value=NAN), "upper is"),
    belt("points of NaN", put("points", 0, 0, value=NAN), "points"),
    belt("errors below zero", put("upper_error", 0, 0, value=-1.0), "upper_error"),
    belt("bounds without an end", put("bounds", 0, 1, value=INFINITY), "bounds"),
    belt("toys of a word", put("n_toys", value="abc"), "n_toys is 'abc'"),
    belt("toys of words", put("n_toys", value=["abc"]), "n_toys is 'abc'"),
    belt("events below zero", put("n_events", value=-5), "n_events is -5"),
    belt("a degree without end", put("smooth", value=10**8), "points to smooth"),
    belt("a regression of other levels", put("regression", value=[[None, None]] * 7), "regression"),
    belt("a regression of three ends", put("regression", value=[[None] * 3]), "regression.0. has"),
    belt("a calibration that is damaged", put("calibration", value={"x": 1}), "broken.json"),
]


def histograms(name: str, text: str, place: str) -> Case:
    return text_case("histograms", name, text, place, TemplateError, load_histograms,
                     lambda: "", "UHI|write|correct", None)  # fmt: skip


AXIS = {
    "type": "regular", "lower": 0.0, "upper": 1.0, "bins": 2, "underflow": True, "overflow": True,
    "circular": False,
}  # fmt: skip
TRANSFORMED = AXIS | {
    "type": "variable", "edges": [1.0, 2.0, 4.0], "writer_info": {"boost-histogram": {
        "transform": "log", "bins": 10**9, "lower": 1.0, "upper": 4.0}},
}  # fmt: skip


def without(name: str) -> str:
    """A histogram that lacks numbers, which hist would take for an empty one."""
    content = json.loads(histogram())
    del content["h"]["storage"][name]
    return json.dumps(content)


def histogram(*, axes: list[Any] | None = None, storage: dict[str, Any] | None = None) -> str:
    """A histogram with a change; without one it can be read."""
    content = {
        "uhi_schema": 1,
        "axes": [AXIS] if axes is None else axes,
        "storage": {"type": "weighted", "values": [1.0] * 4, "variances": [1.0] * 4}
        | (storage or {}),
    }
    return json.dumps({"h": content})


HISTOGRAMS = [
    histograms("not JSON", "x", "broken.json"),
    histograms("too deep", "[" * 100_000, "deep"),
    histograms("a list", "[1, 2]", "broken.json"),
    histograms("an item that is a number", '{"h": 1}', "'h'"),
    histograms("an unknown axis", '{"h": {"uhi_schema": 1, "axes": [{"type": "x"}]}}', "'h'"),
    histograms("no axes", '{"h": {"uhi_schema": 1}}', "'h'"),
    histograms("no values", without("values"), "'h'.*storage lacks values"),
    histograms("no variances", without("variances"), "'h'.*storage lacks variances"),
    histograms("forty axes", histogram(axes=40 * [AXIS]), "'h'.*40 axes"),
    histograms("bins without end", histogram(axes=[AXIS | {"bins": 10**9}]), "1000000002 bins"),
    histograms("axes of many bins together", histogram(axes=8 * [AXIS | {"bins": 98}]), "bins"),
    histograms("bins of 400 digits", histogram(axes=[AXIS | {"bins": 10**400}]), "bins of axis 0"),
    histograms("bins of a word", histogram(axes=[AXIS | {"bins": "many"}]), "bins of axis 0"),
    histograms("a transformed axis of many bins", histogram(axes=[TRANSFORMED]), "'h'.*bins"),
    histograms("an end of 400 digits", histogram(axes=[AXIS | {"upper": 10**400}]), "'h'"),
    histograms("an axis that is a number", histogram(axes=[3]), "'h'"),
    histograms("edges of words", histogram(axes=[TRANSFORMED | {"edges": ["a", "b"]}]), "edges of"),
    histograms("values of NaN", histogram(storage={"values": [NAN] * 4}), "values"),
    histograms("values of words", histogram(storage={"values": ["1"] * 4}), "values"),
    histograms("values of 400 digits", histogram(storage={"values": [10**400] * 4}), "values"),
    histograms("variances below zero", histogram(storage={"variances": [-1.0] * 4}), "variances"),
    histograms("fewer values than bins", histogram(storage={"values": [1.0] * 2}), "'h'"),
]


def outside(folder: Path) -> Path:
    return folder


PACKED = [
    Case(
        "model: packed with a path that leaves its folder", outside,
        lambda *_: unpack_model({**model_files(), "../outside": b"x"}), ModelError,
        "outside", "pack", None,
    )
]  # fmt: skip
CASES = [*MODELS, *PACKED, *CALIBRATIONS, *BELTS, *HISTOGRAMS]
