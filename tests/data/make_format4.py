"""Make the files of ``format4`` beside this script, with what they say, for test_saved_formats.

    PYTHONPATH=tests python tests/data/make_format4.py

They stand for the files that users have, so they are made once for each format of models and then
kept: files of another milinfer prove that this one still reads them.  It takes about two minutes.
The name of a part makes the files of that part alone, and leaves the others as they are, so that
kinds of files that are newer than the rest can be added:

    PYTHONPATH=tests python tests/data/make_format4.py responses
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import milinfer as mil
from histogram_files import write_histograms
from milinfer.datasets import gaussian, quadratic, vbf_hww
from milinfer.exceptions import MilinferWarning
from milinfer.io import events
from milinfer.learning.boosted_trees import BoostedSettings
from milinfer.learning.model_files import FORMAT
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.samples.variation import Variation
from saved_formats import EXPECTED, FOLDER, READERS, figures_of, mean_model, plain

VALUES = [-1.0, -0.5, 0.0, 0.5, 1.0]
PLAIN = NetworkConfig((6,), "gelu", batch_norm=False, dropout=0.0, l2=0.0)
SHORT = TrainingConfig(epochs=3, batch_events=500, learning_rate=1e-2)


def rounded(samples: mil.SampleSet, decimals: int = 0) -> mil.SampleSet:
    """Events with few digits: many are alike, so that files keep one hash of them, and not 128."""
    return mil.SampleSet(tuple(coarse(s, decimals) for s in samples))


def coarse(sample: mil.Sample, decimals: int = 0) -> mil.Sample:
    """The same of one sample."""
    return dataclasses.replace(sample, features=np.round(sample.features, decimals))


def models(folder: Path) -> None:
    """Networks of each head, and trees."""
    samples = gaussian.samples(3000, VALUES, seed=1, n_features=2)
    three = rounded(gaussian.samples(1500, [-0.5, 0.0, 0.5], seed=2, n_features=2))
    one = quadratic.samples(1500, [{"c1": c} for c in (-0.5, 0.0, 0.5)], seed=2)
    grid = [{"c1": a, "c2": b} for a in (-0.5, 0.0, 0.5) for b in (-0.5, 0.0, 0.5)]
    two = rounded(quadratic.samples(400, grid, seed=3).with_features(["x0", "x5"]))
    settings = {
        "multiclass": ({"bag_size": 5, "degree": 2, "network": NetworkConfig((6, 5))}, samples),
        "multiclass_ensemble": (
            {
                "bag_size": 2,
                "ensemble": 2,
                "average": "ratio",
                "degree": None,
                "interpolation_kind": "spline",
                "reference": -0.5,
                "label": "two",
            },
            rounded(samples),
        ),
        "multiclass_two_parameters": ({"bag_size": 5}, two),
        "parametrised": ({"head": "parametrised", "bag_size": 5}, rounded(samples)),
        "polynomial": ({"head": "polynomial", "order": 1}, rounded(one)),
        "polynomial_joint_two_parameters": (
            {"head": "polynomial", "labels": "joint", "order": 1, "score_weight": 0.1},
            two,
        ),
        "attention": ({"bag_size": 5, "pooling": "attention", "degree": 2}, three),
    }
    for name, (options, train) in settings.items():
        defaults = {"head": "multiclass", "seed": 4, "network": PLAIN, "training": SHORT}
        mil.BagLikelihood(**(defaults | options)).fit(train).save(folder / name)
    mil.BagLikelihood.load(folder / "multiclass").export_onnx(folder / "model.onnx")
    few = BoostedSettings(n_estimators=3, max_depth=2, learning_rate=0.3)
    boosted = mil.BoostedLikelihood(seed=4, settings=few, interpolation_kind="parabola", window=2.0)
    boosted.fit(three).save(folder / "boosted")
    background = gaussian.generate(3000, 1.5, seed=5, n_features=2)
    background = dataclasses.replace(background, process="background", point={})
    classifier = mil.BagLikelihood(head="binary", bag_size=1, seed=4, network=PLAIN, training=SHORT)
    signal = gaussian.generate(3000, 0.0, seed=6, n_features=2)
    ratio = mil.BackgroundRatio(classifier, seed=4)
    ratio = ratio.fit(coarse(signal), coarse(background))
    ratio.save(folder / "background_ratio")


def calibrations_and_belts(folder: Path) -> None:
    """Of a surface with half the curvature and a bias, and of a network."""
    truths = [-0.4, 0.0, 0.4]
    pools = [rounded(gaussian.samples(40_000, truths, seed=s, n_features=2), 2) for s in (7, 9)]
    model, name = mean_model(), "mean"
    toys = mil.Toys(pools[0], 100, seed=8)
    thrown = [toys.run([model], t, 500)[name] for t in truths]
    biased = mil.calibrate(thrown, bias_degree=1, scale_degree=1)
    biased.save(folder / "calibration_bias.json")
    bartlett = mil.calibrate(thrown, kind="bartlett", correct="scale", cl=0.9)
    bartlett.save(folder / "calibration_bartlett.json")
    other = mil.Toys(pools[1], 100, seed=10)
    thrown = [other.run([model], t, 500)[name] for t in truths]
    belts = {
        "neyman": mil.neyman(thrown),
        "bounded": mil.neyman(thrown, cl=0.9, bounds=(-0.5, 0.5), smooth=None),
        "upper": mil.neyman(thrown, cl=0.9, ordering="upper"),
        "calibrated": mil.neyman(thrown, calibration=biased),
    }
    reweighted = quadratic.samples(2500, [{"c1": c} for c in (-0.5, 0.0, 0.5)], seed=11)
    oracle = mil.Oracle.from_sample(reweighted[1], "c1", np.linspace(-1, 1, 21), degree=2)
    drawn = np.random.default_rng(11).uniform(-0.5, 0.5, 1000)
    single = mil.Toys(mil.EventPool(reweighted, degree=2), n_events=100, seed=11)
    once = single.scan([oracle], drawn, n_toys=1)["oracle"]
    belts["regression"] = mil.regression_belt(once)
    belts["regression_central"] = mil.regression_belt(once, ordering="central", cl=0.6827)
    for kind, belt in belts.items():
        belt.save(folder / f"belt_{kind}.json")
    trained = mil.BagLikelihood.load(folder / "multiclass")
    thrown = [toys.run([trained], t, 500)[trained.name] for t in truths]
    mil.calibrate(thrown).save(folder / "multiclass")


def samples_and_histograms(folder: Path) -> None:
    """Features, events and templates."""
    (sample,) = quadratic.samples(20, [{"c1": 0.25}], seed=14).with_features(["x0", "x5"])
    for suffix in ("parquet", "root"):
        sample.to_file(folder / f"sample.{suffix}")
    record, info = vbf_hww.generate(3, {"c_HW": 0.25}, seed=15).to_events(vbf_hww.DEFAULT_WEIGHTS)
    events.write(folder / "events.parquet", record, info)
    samples = gaussian.samples(2000, [-0.5, 0.0, 0.5], seed=16)
    templates = mil.Templates.from_samples(samples, "x0", bins=4, degree=2)
    write_histograms(templates, folder / "histograms.json")


def responses(folder: Path) -> None:
    """Of networks, in the parameter of interest and not, and of trees, in a format of their own."""
    nominal = rounded(gaussian.samples(1500, [-0.5, 0.5], seed=17, n_features=2))
    varied = []
    for sample in nominal:
        x, y = sample.features.T.astype(np.float64)
        for side in (-1.0, 1.0):
            moved = sample.features + np.array([side, 0.0], np.float32)
            varied += [
                Variation.of_features(sample, {"shift": side}, moved),
                Variation.of_weights(sample, {"tilt": side}, np.exp(0.1 * side * y)),
            ]
        both = np.exp(0.1 * y + 0.05 * x)
        tilted = Variation.of_weights(sample, {"shift": 1.0, "tilt": 1.0}, both).sample
        varied.append(Variation.of_features(tilted, {"shift": 1.0, "tilt": 1.0}, moved))
    process = mil.ProcessVariations(nominal, tuple(varied))
    few = BoostedSettings(n_estimators=3, max_depth=2, learning_rate=0.3)
    networks = {"network": PLAIN, "training": SHORT}
    settings = {
        "response": {"cross_terms": [("shift", "tilt")], "ensemble": 2, **networks},
        "response_in_theta": {
            "theta_dependent": True,
            "cross_terms": True,
            "degree": {"tilt": 1},
            "limit": 2.0,
            **networks,
        },
        "response_of_trees": {"classifier": "trees", "interpolation": "code4", "trees": few},
    }
    for name, options in settings.items():
        mil.SystematicResponse(seed=4, **options).fit(process).save(folder / name)


PARTS = {
    "models": models,
    "calibrations_and_belts": calibrations_and_belts,
    "samples_and_histograms": samples_and_histograms,
    "responses": responses,
}


def main(names: list[str]) -> None:
    """Make the files of some parts, or all; then read each new one and write down what it says."""
    if FORMAT != 4:
        sys.exit(
            f"models have format {FORMAT} now; give its files a folder and a script of its own"
        )
    expected, began = {}, time.time_ns()
    if names:
        expected = json.loads((FOLDER / EXPECTED).read_text(encoding="utf-8"))
    else:
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MilinferWarning)  # of trainings that are short on purpose
        for name in names or PARTS:
            PARTS[name](FOLDER)
    written = [name for name in READERS if (FOLDER / name).stat().st_mtime_ns >= began]
    expected |= {name: plain(figures_of(name)) for name in written}
    (FOLDER / EXPECTED).write_text(json.dumps(expected) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
