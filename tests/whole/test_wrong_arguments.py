"""What a new user gives in place of samples, toys or names is refused with what is needed."""

from __future__ import annotations

import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import (
    CalibrationError,
    ConfigurationError,
    MilinferError,
    ModelError,
    ParameterError,
    SampleError,
)
from milinfer.features.feature_set import FeatureTable
from milinfer.intervals.conditional_coverage import conditional_coverage
from milinfer.likelihood.cost import dataset_cost

TRUTHS = [-0.2, 0.0, 0.2]
SAMPLES = gaussian.samples(2000, TRUTHS, seed=1)
ARRAY = np.zeros((5, 2))
MODEL = gaussian.MeanModel()


@pytest.fixture(scope="module")
def toys():
    return mil.Toys(SAMPLES, n_events=50, seed=2).scan([MODEL], TRUTHS, 100)


FITS = {
    "BagLikelihood": lambda samples: mil.BagLikelihood().fit(samples),
    "BoostedLikelihood": lambda samples: mil.BoostedLikelihood().fit(samples),
    "EventPool": mil.EventPool,
    "Toys": lambda samples: mil.Toys(samples, n_events=10, seed=1),
    "diagnose": lambda samples: mil.diagnose(MODEL, samples),
}


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize(
    ("given", "what", "remedy"),
    [
        (ARRAY, r"a ndarray of shape \(5, 2\)", r"SampleSet\.from_arrays\(\.\.\., points="),
        ([[1.0, 2.0]], "a list of list", r"SampleSet\.from_arrays"),
        ({"x": [1.0]}, "a dict", r"SampleSet\.from_arrays"),
        (None, "None", r"SampleSet\.from_arrays"),
        (list(SAMPLES.samples), "a list of Sample", r"write milinfer\.SampleSet\(samples\)"),
    ],
)
def test_sets_of_samples(name, given, what, remedy):
    with pytest.raises(SampleError, match=rf"takes a SampleSet, not {what}; .*{remedy}"):
        FITS[name](given)


def test_a_fit_of_scikit_learn():
    with pytest.raises(SampleError, match=r"fit\(\) takes a SampleSet, not a ndarray of shape"):
        mil.BagLikelihood().fit(ARRAY, np.zeros(5))


def test_one_sample_is_no_set():
    with pytest.raises(SampleError, match=r"not a Sample; collect .*SampleSet\(\[sample, "):
        mil.BagLikelihood().fit(SAMPLES[0])


COSTS = {
    "dataset_cost": lambda data: dataset_cost(MODEL, data, reference=0.0),
    "mixture_cost": lambda data: mil.mixture_cost(
        MODEL, data, rate=1.0, backgrounds={}, reference=0.0
    ),
}


@pytest.mark.parametrize("name", COSTS)
def test_datasets(name):
    with pytest.raises(SampleError, match=r"takes a Sample, not a ndarray .*from_arrays\("):
        COSTS[name](ARRAY)
    with pytest.raises(SampleError, match=r"not a SampleSet; give one of its samples"):
        COSTS[name](SAMPLES)


def test_a_ratio_of_backgrounds():
    with pytest.raises(
        SampleError, match=r"BackgroundRatio\.fit\(\) takes a Sample, not a ndarray"
    ):
        mil.BackgroundRatio(mil.BoostedLikelihood()).fit(SAMPLES[0], ARRAY)


def test_data_cannot_be_diagnosed():
    data = mil.Sample(SAMPLES[1].features, SAMPLES[1].feature_names)
    with pytest.raises(SampleError, match=r"has no parameter point, like data; diagnose"):
        mil.diagnose(MODEL, data)


def test_models_of_toys():
    toys = mil.Toys(SAMPLES, n_events=50, seed=2)
    for call in (lambda: toys.scan(MODEL, TRUTHS, 10), lambda: toys.run(MODEL, 0.0, 10)):
        with pytest.raises(ModelError, match=r"a list of models, not a MeanModel; .*\[model\]"):
            call()


def test_toys_of_all_points_and_methods(toys):
    listed = toys["mean"]
    for arguments in ((listed, {"raw": None}), (listed,), (listed[0], {"raw": None}), (toys,)):
        with pytest.raises(CalibrationError, match=r"coverage\(\) takes toys at one .*_scan"):
            mil.coverage(*arguments)
    for call in (
        mil.calibrate,
        mil.neyman,
        mil.regression_belt,
        conditional_coverage,
        lambda e: mil.coverage_scan(e, {"raw": None}),
    ):
        with pytest.raises(CalibrationError, match=r'not a dict; select one model: \["mean"\]'):
            call(toys)
        with pytest.raises(CalibrationError, match=r"not a ToyEnsemble; put it into a list"):
            call(listed[0])


def test_files_of_samples(tmp_path):
    with pytest.raises(SampleError, match=r"takes a dictionary, \{value: path\}, not a list"):
        mil.SampleSet.from_files([tmp_path / "a.lhe"], "mu")


TABLE = FeatureTable({"x": np.ones(3, np.float32)}, kept=np.ones(3, bool))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mil.Sample.from_file("a.lhe", feature="x"), "no keyword feature; .* features"),
        (
            lambda: mil.SampleSet.from_files({0.0: "a.lhe"}, "mu", wokers=2),
            r"no keyword wokers; .*; did you mean workers\?",
        ),
        (
            lambda: mil.Sample.from_table(TABLE, proces="a"),
            r"Sample\.from_table\(\) has no keyword proces; it has point, .*did you mean process",
        ),
        (
            lambda: mil.Sample.from_arrays({"x": [1.0]}, pont={}),
            r"Sample\.from_arrays\(\) has no keyword pont; .*; did you mean point",
        ),
        (
            lambda: mil.SampleSet.from_arrays({"x": [1.0]}, points={"mu": [0.0]}, wieghts="w"),
            r"SampleSet\.from_arrays\(\) has no keyword wieghts; .*; did you mean weights",
        ),
        (
            lambda: mil.Sample.from_accumulator({}, point={}, proces="a"),
            r"Sample\.from_accumulator\(\) has no keyword proces; .*did you mean process",
        ),
        (
            lambda: mil.SampleSet.from_accumulator({}, points={}, proces="a"),
            r"SampleSet\.from_accumulator\(\) has no keyword proces; .*did you mean process",
        ),
        (
            lambda: mil.run_features({"a": ["a.root"]}, slection=None),
            r"run_features\(\) has no keyword slection; it has .*; did you mean selection\?",
        ),
    ],
)
def test_unknown_keywords(call, message):
    with pytest.raises(ConfigurationError, match=message):
        call()


def test_unknown_parameters_of_points():
    rate = mil.Rate.from_samples(mil.SampleSet(tuple(cross_sections())), luminosity=1.0, degree=2)
    for call in (rate, rate.error, SAMPLES.at):
        with pytest.raises(ParameterError, match="mu"):
            call(nu=0.1)


def cross_sections():
    for sample in SAMPLES:
        yield mil.Sample(
            sample.features,
            sample.feature_names,
            point=sample.point,
            cross_section=1.0,
            cross_section_error=0.01,
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "polynom"}, r"head='polynom' is not one of .*; did you mean polynomial\?"),
        (
            {"labels": "joined"},
            r"labels='joined' is not one of .*; did you mean joint",
        ),
        ({"labels": [0, 1, 2]}, r"labels=\[0, 1, 2\] is not one of 'hard', 'joint'"),
        ({"labels": np.arange(3)}, r"is not one of 'hard', 'joint'"),
        ({"average": "mean"}, "average='mean' is not one of"),
        ({"points": 3}, r"points=3 is not a list of parameter points"),
        ({"points": [{"c_HW": "a"}]}, r"is not a list of parameter points \(could not convert"),
        ({"points": [{"c_HW": np.nan}]}, "not finite"),
    ],
)
def test_settings_are_refused_when_a_model_is_made(options, message):
    with pytest.raises(ConfigurationError, match=message):
        mil.BagLikelihood(**options)


def test_every_error_is_one_of_milinfer():
    with pytest.raises(MilinferError):
        mil.BagLikelihood().fit(3)
