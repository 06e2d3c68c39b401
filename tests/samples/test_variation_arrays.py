"""Variations of data frames, whose rows are paired by event."""

import awkward as ak
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import milinfer as mil
from milinfer.exceptions import ConfigurationError, SampleError


def frame(ids, shift=0.0, **more):
    ids = np.asarray(ids)
    columns = {"event": ids, "x": ids + shift, "w": 1.0 + ids % 3, "w_up": 2.0 + ids % 2}
    return pd.DataFrame(columns | more)


NOMINAL = frame([4, 1, 7, 3])
UP, DOWN = frame([7, 9, 4], 0.5), frame([3, 1], -0.5)
VARIED = {("jes", 1.0): UP, ("jes", -1.0): DOWN}


def make(nominal=NOMINAL, varied=VARIED, features=("x",), **options):
    options = {"weights": "w", "cross_section": 3.0, "cross_section_error": 0.3} | options
    return mil.ProcessVariations.from_arrays(nominal, varied, features, **options)


@pytest.mark.parametrize("kind", ["pandas", "mapping", "awkward"])
def test_rows_are_paired_by_event(kind):
    convert = {
        "pandas": lambda f: f,
        "mapping": lambda f: {k: f[k].to_numpy() for k in f},
        "awkward": lambda f: ak.zip({k: f[k].to_numpy() for k in f}),
    }[kind]
    process = make(
        convert(NOMINAL),
        {key: convert(f) for key, f in VARIED.items()},
        weight_variations={("theory", 1.0): "w_up"},
        reweights=["w_up"],
        reweight_points={"w_up": {"c": 1.0}},
        point={"c": 0.0},
    )
    up, down, theory = process.variations
    assert up.partners.tolist() == [2, -1, 0]
    assert down.partners.tolist() == [3, 1]
    assert up.sample.column("x").tolist() == [7.5, 9.5, 4.5]
    assert up.sample.weights.tolist() == UP.w.tolist()
    assert up.sample.reweights["w_up"].tolist() == UP.w_up.tolist()
    total = NOMINAL.w.sum()
    assert up.sample.cross_section == pytest.approx(3.0 * UP.w.sum() / total)
    assert up.sample.cross_section_error == pytest.approx(0.3 * UP.w.sum() / total)
    assert theory.weights_only
    assert theory.sample.weights.tolist() == NOMINAL.w_up.tolist()
    assert all(v.sample.point == {"c": 0.0} for v in process.variations)


def test_features_are_what_is_left():
    process = make(NOMINAL.drop(columns="w_up"), {("jes", 1): UP}, None)
    assert process.feature_names == ("x",)
    several = make(
        frame([1, 1, 2], run=[1, 2, 1]),
        {(("jes", 1), ("jer", -1)): frame([2, 1], run=[1, 2])},
        event=["run", "event"],
    )
    assert several.variations[0].partners.tolist() == [2, 1]
    assert several.variations[0].nuisances == {"jes": 1.0, "jer": -1.0}
    named = make(
        frame([1, 2]).assign(event=["a", "b"]), {("s", 1): frame([1, 2]).assign(event=["b", "c"])}
    )
    assert named.variations[0].partners.tolist() == [1, -1]
    only = mil.ProcessVariations.from_arrays(
        {"x": [1.0, 2.0]}, weight_variations={("t", 1): [1.0, 1.5], ("t", -1): [1.0, 0.5]}
    )
    assert [v.sample.weights.sum() for v in only.variations] == [2.5, 1.5]


@settings(max_examples=60, deadline=None)
@given(
    nominal=st.lists(st.integers(0, 30), unique=True, min_size=1),
    varied=st.lists(st.integers(0, 30), unique=True, min_size=1),
)
def test_each_row_has_its_place(nominal, varied):
    if not set(nominal) & set(varied):
        with pytest.raises(SampleError, match="none of its"):
            make(frame(nominal), {("s", 1): frame(varied)})
        return
    process = make(frame(nominal), {("s", 1): frame(varied)})
    variation = process.variations[0]
    assert len(process.nominal[0]) == len(nominal)
    assert len(variation.sample) == len(varied)
    for event, partner in zip(varied, variation.partners, strict=True):
        assert partner == (nominal.index(event) if event in nominal else -1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"varied": {("jes", 1): frame([1, 1])}}, "jes=1: row 1 and row 0 are the same event 1"),
        ({"nominal": frame([1, 2, 2])}, "row 2 and row 1 are the same event 2"),
        ({"varied": {("jes", 1): frame([8, 9])}}, "jes=1: none of its 2 events is among the 4"),
        ({"varied": {("jes", 1): UP.drop(columns="x")}}, "jes=1: there is no column 'x'"),
        ({"varied": {("jes", 1): UP.assign(x=np.nan)}}, "jes=1: column 'x' has no value in row 0"),
        ({"event": "number"}, "there is no column 'number' for event"),
        ({"event": "x"}, "not by values of type float64"),
        ({"event": []}, "event has no column"),
        ({"features": ["x", "event"]}, "column 'event' is a feature and also event"),
        ({"weights": NOMINAL.w}, "weights must be names of columns"),
        ({"varied": {("jes", 0): UP}}, "no nuisance parameter is shifted"),
        ({"varied": {"jes": UP}}, "'jes' is not a shift"),
        ({"varied": {(("jes", 1), ("jes", -1)): UP}}, "names a nuisance parameter twice"),
        ({"varied": {("jes", 1): UP.assign(w=-1.0)}}, "jes=1 .*its yield must be positive"),
        ({"nominal": NOMINAL.assign(w=0.0)}, "weights sum to 0"),
        ({"weight_variations": {("jes", -1.0): "w_up"}}, "two variations|two meanings"),
        ({"weight_variations": {("jes", 2.0): "w_up"}}, "jes has two meanings"),
        ({"varied": {}}, "there are no variations"),
        (
            {"varied": {("jes", 1): UP.assign(event=["a", "b", "c"])}},
            "jes=1: events are identified by",
        ),
    ],
)
def test_bad_rows_are_named(options, message):
    with pytest.raises(SampleError, match=message):
        make(**options)


def test_unknown_keywords():
    with pytest.raises(ConfigurationError, match="no keyword proces"):
        make(proces="x")
