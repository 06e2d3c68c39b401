"""Samples of arrays and frames: every row is in one sample, and bad columns are named."""

from collections import Counter

import awkward as ak
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import milinfer as mil
from milinfer.exceptions import SampleError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

COLUMNS = {
    "x": np.array([0.5, 1.5, 2.5, 3.5]),
    "y": np.array([1, 2, 3, 4]),
    "w": np.array([1.0, 2.0, -1.0, 0.5]),
    "mu": np.array([1.0, 0.0, 1.0, 0.0]),
    "up": np.array([2.0, 3.0, 4.0, 5.0]),
}


def structured():
    array = np.empty(4, dtype=[(name, c.dtype) for name, c in COLUMNS.items()])
    for name, column in COLUMNS.items():
        array[name] = column
    return array


class LikePolars:
    """A frame that only offers the Arrow interface."""

    columns = tuple(COLUMNS)

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.table(COLUMNS).__arrow_c_stream__(requested_schema)


FRAMES = {
    "mapping": lambda: COLUMNS,
    "lists": lambda: {name: column.tolist() for name, column in COLUMNS.items()},
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas with an index": lambda: pd.DataFrame(COLUMNS, index=[7, 3, 3, 1]),
    "pandas that allows missing values": lambda: pd.DataFrame(COLUMNS).convert_dtypes(),
    "pandas over Arrow": lambda: pd.DataFrame(COLUMNS).convert_dtypes(dtype_backend="pyarrow"),
    "awkward": lambda: ak.Array(COLUMNS),
    "awkward record": lambda: ak.Record(COLUMNS),
    "awkward option type": lambda: ak.Array(
        {name: ak.mask(c, np.ones(4, bool)) for name, c in COLUMNS.items()}
    ),
    "arrow": lambda: pa.table(COLUMNS),
    "arrow batch": lambda: pa.RecordBatch.from_pydict(COLUMNS),
    "arrow interface": LikePolars,
    "structured": structured,
    "records": lambda: structured().view(np.recarray),
    "masked": lambda: {name: np.ma.masked_array(c) for name, c in COLUMNS.items()},
}


@pytest.mark.parametrize("kind", FRAMES)
def test_the_same_of_every_container(kind):
    data = FRAMES[kind]()
    sample = mil.Sample.from_arrays(data, ["y", "x"], weights="w", point={"mu": 0.5}, process="p")
    assert (sample.feature_names, sample.point, sample.process) == (("y", "x"), {"mu": 0.5}, "p")
    np.testing.assert_array_equal(sample.features, np.stack([COLUMNS["y"], COLUMNS["x"]], axis=1))
    np.testing.assert_array_equal(sample.weights, COLUMNS["w"])
    assert (sample.features.dtype, sample.weights.dtype) == (np.float32, np.float64)

    samples = mil.SampleSet.from_arrays(data, points="mu", weights="w", reweights=["up"])
    assert [s.point for s in samples] == [{"mu": 0.0}, {"mu": 1.0}]
    assert samples.feature_names == ("x", "y")
    assert [s.column("x").tolist() for s in samples] == [[1.5, 3.5], [0.5, 2.5]]
    assert [s.weights.tolist() for s in samples] == [[2.0, 0.5], [1.0, -1.0]]
    assert [s.reweights["up"].tolist() for s in samples] == [[3.0, 5.0], [2.0, 4.0]]


def test_a_matrix_with_names():
    x = np.arange(6.0).reshape(3, 2)
    sample = Sample.from_arrays(x, ("a", "b"), weights=[1, 2, 3])
    np.testing.assert_array_equal(sample.features, x)
    x[:] = -1  # the sample is not the caller's array
    assert sample.features.max() == 5
    single = np.zeros((2, 1), np.float32)
    assert not np.shares_memory(Sample.from_arrays(single, "a").features, single)
    jagged = ak.Array([[1.0, 2.0], [3.0, 4.0]])
    assert Sample.from_arrays(jagged, ["a", "b"]).features.tolist() == [[1, 2], [3, 4]]
    samples = SampleSet.from_arrays(np.ones((3, 1)), ["a"], points={"mu": [2, 1, 2], "nu": [0] * 3})
    assert [(s.point, len(s)) for s in samples] == [
        ({"mu": 1.0, "nu": 0.0}, 1),
        ({"mu": 2.0, "nu": 0.0}, 2),
    ]


rows = st.lists(
    st.tuples(
        st.floats(-1024, 1024, width=32),
        st.sampled_from([-1.0, -0.5, 0.0, 0.1, 1.0]),
        st.sampled_from([0.0, 0.3, 2.0]),
        st.floats(-10, 10),
    ),
    min_size=1,
    max_size=60,
)


@given(
    rows=rows,
    kind=st.sampled_from(["pandas", "awkward", "mapping", "matrix"]),
    seed=st.integers(0, 9),
)
@settings(max_examples=80, deadline=None)
def test_every_row_is_in_one_sample(rows, kind, seed):
    x, mu, nu, w = (np.array(column) for column in zip(*rows, strict=True))
    columns = {"x": x, "mu": mu, "nu": nu, "w": w}
    options = {"points": ["mu", "nu"], "weights": "w"}
    if kind == "pandas":
        data = pd.DataFrame(columns, index=np.random.default_rng(seed).permutation(len(x)))
    elif kind == "awkward":
        data = ak.Array(columns)
    elif kind == "mapping":
        data = columns
    else:
        data, options = (
            x[:, None],
            {"features": ["x"], "points": {"mu": mu, "nu": nu}, "weights": w},
        )
    samples = SampleSet.from_arrays(data, **options)
    got = [
        (float(a), s.point["mu"], s.point["nu"], float(b))
        for s in samples
        for a, b in zip(s.column("x"), s.weights, strict=True)
    ]
    assert Counter(got) == Counter(rows)
    points = [tuple(s.point.values()) for s in samples]
    assert points == sorted(set(zip(mu.tolist(), nu.tolist(), strict=True)))
    # Within a sample the rows keep their order.
    for sample in samples:
        at = [r for r in rows if (r[1], r[2]) == tuple(sample.point.values())]
        assert sample.weights.tolist() == [r[3] for r in at]


def test_points_of_single_precision_are_decimals():
    """0.1 of a float32 column is the point 0.1, which `at` and theory find."""
    mu = np.array([0.1, 0.3, 0.1], np.float32)
    samples = SampleSet.from_arrays({"x": [1.0, 2.0, 3.0], "mu": mu}, points="mu")
    assert samples.values("mu").tolist() == [0.1, 0.3]
    integers = SampleSet.from_arrays({"x": [1.0, 2.0], "mu": [-0.0, 0]}, points="mu")
    assert [str(s.point["mu"]) for s in integers] == ["0.0"]


def test_labels():
    data = pd.DataFrame({"x": [1.0, 2.0, 3.0], "label": ["bsm", "sm", "bsm"]})
    points = {"sm": {"mu": 0.0}, "bsm": {"mu": 1.0}}
    samples = SampleSet.from_arrays(
        data,
        labels="label",
        points=points,
        process="ww",
        cross_section={"bsm": 3.0, "sm": 2.0},
        cross_section_error=0.1,
    )
    assert [(s.point, s.column("x").tolist()) for s in samples] == [
        ({"mu": 0.0}, [2.0]),
        ({"mu": 1.0}, [1.0, 3.0]),
    ]
    assert [s.cross_section for s in samples] == [2.0, 3.0]
    assert [(s.process, s.cross_section_error) for s in samples] == [("ww", 0.1)] * 2
    numbered = SampleSet.from_arrays(
        np.ones((3, 1)), ["x"], labels=[0, 1, 0], points={1: {"mu": 5.0}, 0: {"mu": 4.0}}
    )
    assert [(s.point["mu"], len(s)) for s in numbered] == [(5.0, 1), (4.0, 2)]
    records = ak.Array([{"x": 1.0, "label": "sm"}, {"x": 2.0, "label": "bsm"}])
    assert len(SampleSet.from_arrays(records, labels="label", points=points)) == 2
    with pytest.raises(SampleError, match="column 'y' is the same as labels"):
        SampleSet.from_arrays(GOOD, labels=[1, 2, 3], points={k: {"mu": k} for k in (1, 2, 3)})
    for change, message in (
        ({"points": {"sm": {"mu": 0.0}}}, r"column 'label' is 'bsm', which .* in row 0 \(2 such"),
        ({"points": {**points, "x": {"mu": 3.0}}}, "no row has the label 'x'"),
        ({"points": "mu"}, "points is the point of each label"),
        ({"cross_section": {"sm": 2.0}}, "cross_section is given for 'sm', but the samples are"),
    ):
        with pytest.raises(SampleError, match=message):
            SampleSet.from_arrays(data, **{"labels": "label", "points": points, **change})
    with pytest.raises(SampleError, match="column 'label' has no value in row 1"):
        SampleSet.from_arrays(data.assign(label=["sm", None, "bsm"]), labels="label", points=points)


def test_cross_sections():
    data = pd.DataFrame({"x": [1.0, 2.0, 3.0], "mu": [0.1, 0.0, 0.1], "xs": [5.0, 4.0, 5.0]})
    samples = SampleSet.from_arrays(data, points="mu", cross_section="xs")
    assert samples.feature_names == ("x",)
    assert [s.cross_section for s in samples] == [4.0, 5.0]
    by_value = SampleSet.from_arrays(
        data[["x", "mu"]], points="mu", cross_section={0: 4.0, 0.1: 5.0}
    )
    assert [s.cross_section for s in by_value] == [4.0, 5.0]
    with pytest.raises(SampleError, match=r"at mu=0.1 have 5 and 6 \(row 2\)"):
        SampleSet.from_arrays(data.assign(xs=[5.0, 4.0, 6.0]), points="mu", cross_section="xs")
    assert all(np.isnan(s.cross_section) for s in SampleSet.from_arrays(data, points="mu"))


def test_reweights():
    data = pd.DataFrame({"x": [7.0, 8.0], "w": [1.0, 2.0], "w0": [1.0, 2.0], "w1": [3.0, 4.0]})
    points = [{"mu": 0.0}, {"mu": 1.0}]
    matrix = data[["w0", "w1"]].to_numpy()
    by_name = {"w0": points[0], "w1": points[1]}
    for data_, options in (
        (data, {"reweights": ["w0", "w1"], "reweight_points": points}),
        (data, {"reweights": ["w0", "w1"], "reweight_points": by_name}),
        (data[["x", "w"]], {"reweights": data[["w0", "w1"]], "reweight_points": points}),
        (data, {"features": "x", "reweights": matrix, "reweight_points": points}),
        (data, {"reweights": {"a": "w0", "b": "w1"}, "reweight_points": {"a": points[0]}}),
    ):
        sample = Sample.from_arrays(data_, weights="w", point=points[0], **options)
        assert sample.feature_names == ("x",)
        assert [w.tolist() for w in sample.reweights.values()] == [[1, 2], [3, 4]]
        assert list(sample.reweight_points.values()) == points[: len(sample.reweight_points)]
    named = Sample.from_arrays(
        data, "x", weights="w", reweights=matrix, reweight_points=points, point=points[0]
    )
    assert list(named.reweights) == ["mu=0", "mu=1"]
    # The weights of the sample may be among its reweights.
    again = Sample.from_arrays(data, "x", weights="w0", reweights=["w0", "w1"])
    assert list(again.reweights) == ["w0", "w1"]
    with pytest.raises(SampleError, match="there are 2 reweights, but 1 reweight_points"):
        Sample.from_arrays(data, reweights=["w0", "w1"], reweight_points=points[:1])
    with pytest.raises(SampleError, match="reweights are an array of 2 columns without names"):
        Sample.from_arrays(data, "x", reweights=matrix)


GOOD = {"x": [0.5, 1.5, 2.5], "y": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [0.5, np.nan, np.nan]}, r"column 'x' is nan in row 1 \(2 such rows\)"),
        ({"x": [0.5, 1.5, -np.inf]}, "column 'x' is -inf in row 2"),
        ({"x": [0.5, 1e39, 2.5]}, "column 'x' is too large for float32 in row 1"),
        ({"x": np.ma.masked_array([0, 1, 2], [0, 0, 1])}, "column 'x' has no value in row 2"),
        ({"x": pd.Series([1, None, 3], dtype="Int64")}, "column 'x' has no value in row 1"),
        ({"x": pa.array([None, 1.0, 2.0])}, "column 'x' has no value in row 0"),
        ({"x": ak.Array([1.0, None, 2.0])}, "column 'x' has no value in row 1"),
        ({"x": ak.Array([[1.0], [], [2.0]])}, "column 'x' is not one number for each event"),
        ({"x": [[1.0], [1.0, 2.0], []]}, "column 'x' is not one number for each event"),
        ({"x": np.ones((3, 2))}, r"column 'x' has shape \(3, 2\)"),
        ({"x": 1.0}, r"column 'x' has shape \(\)"),
        ({"x": ["a", "b", "c"]}, "column 'x': the values are of type .*, such as .*'a'.* in row 0"),
        ({"x": np.array([1.0, 2.0, 3.0], object)}, "column 'x': the values are of type object"),
        ({"x": np.ones(3, complex)}, "column 'x': the values are of type complex128"),
        ({"x": np.zeros(3, "M8[s]")}, "column 'x': the values are of type datetime64"),
        ({"x": [1, 2, 2**24 + 1]}, "column 'x' is 16777217, an integer too large for float32"),
        ({"y": [1.0, 2.0]}, "column 'y' has 2 rows, but column 'x' has 3"),
        ({"weight": [1.0, 1.0, 1.0]}, "column 'weight' looks like an event weight"),
        ({"LHEWeight_1": [1.0, 1.0, 1.0]}, "column 'LHEWeight_1' looks like an event weight"),
        ({3: [1.0, 1.0, 1.0]}, "a column named 3"),
    ],
)
def test_bad_columns_are_named(change, message):
    with pytest.raises(SampleError, match=message):
        Sample.from_arrays({**GOOD, **change})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": ["x", "z"]}, "there is no column 'z' for features; the columns are x, y"),
        ({"features": ["x", "x"]}, "features: the name 'x' appears twice"),
        ({"features": []}, "no column is left for the features"),
        ({"weights": "w"}, "there is no column 'w' for weights"),
        ({"features": ["x", "y"], "weights": "y"}, "column 'y' is a feature and also weights"),
        ({"weights": [1.0, 2.0, 3.0]}, "column 'y' is the same as weights"),
        ({"weights": [1.0, np.nan, 1.0]}, "weights is nan in row 1"),
        ({"weights": [1.0, 1.0]}, "column 'x' has 3 rows, but weights has 2"),
        ({"reweights": {"up": [1.0, 1.0]}}, "column 'x' has 3 rows, but reweights 'up' has 2"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(SampleError, match=message):
        Sample.from_arrays(GOOD, **options)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("z", "there is no column 'z' for the parameter 'z'"),
        ([], "points has no parameter"),
        (None, "points has no parameter"),
        (0.5, "points has 0.5 instead of a name"),
        ({"mu": [1.0, 2.0, 3.0]}, "column 'y' is the same as the parameter 'mu'"),
        ({"mu": [0.0, np.nan, 0.0]}, "the parameter 'mu' is nan in row 1"),
        ({"mu": [0.3, 0.1 + 0.2, 0.0]}, "differ by rounding only"),
        ({"mu": "y", "nu": "y"}, "column 'y' is the parameter 'mu' and also the parameter 'nu'"),
    ],
)
def test_bad_points_are_named(points, message):
    with pytest.raises(SampleError, match=message):
        SampleSet.from_arrays(GOOD, points=points)


def test_sets_that_cannot_be():
    with pytest.raises(SampleError, match="column 'y' is a feature and also the parameter 'y'"):
        SampleSet.from_arrays(GOOD, ["x", "y"], points="y")
    with pytest.raises(SampleError, match="column 'y' is the parameter 'y' and also weights"):
        SampleSet.from_arrays(GOOD, points="y", weights="y")
    with pytest.raises(SampleError, match="the data have no rows"):
        SampleSet.from_arrays({"x": [], "mu": []}, points="mu")
    with pytest.raises(SampleError, match="cross_section is an array; give a number"):
        SampleSet.from_arrays(GOOD, points="y", cross_section=[1.0, 2.0, 3.0])
    frame = pd.DataFrame(GOOD).set_index("y")
    with pytest.raises(SampleError, match="'y' is the index: make a column of it"):
        SampleSet.from_arrays(frame, points="y")
    with pytest.raises(SampleError, match="the 1000 rows are at 1000 points of mu"):
        SampleSet.from_arrays({"x": np.ones(1000), "mu": np.arange(1000.0)}, points="mu")


@pytest.mark.parametrize(
    ("data", "names", "message"),
    [
        (np.ones((3, 2)), None, "an array of 2 columns without names, and no names are given"),
        (np.ones((3, 2)), ["x"], "an array of 2 columns without names, and 1 names are given"),
        (np.ones((3, 2)), ["x", "x"], "the name 'x' appears twice"),
        (np.ones(3), ["x"], r"an array of shape \(3,\)"),
        ([[1.0], [1.0, 2.0]], ["x"], "not an array of shape"),
        (pd.DataFrame(np.ones((3, 2)), columns=["x", "x"]), None, "the name 'x' appears twice"),
        (pd.DataFrame(np.ones((3, 2))), None, "a column named 0"),
        (pd.Series([1.0, 2.0], name="x"), None, r"an array of shape \(2,\)"),
        (None, None, r"an array of shape \(\)"),
        (np.ones((3, 2)), [1, 2], "features has 1 instead of a name"),
        (np.ones((3, 2)), 5, "features has 5 instead of a name"),
    ],
)
def test_bad_data(data, names, message):
    with pytest.raises(SampleError, match=message):
        Sample.from_arrays(data, names)


def test_the_index_of_a_frame_says_where_a_row_is():
    frame = pd.DataFrame(GOOD, index=[10, 11, 12])
    frame.loc[11, "x"] = np.nan
    with pytest.raises(SampleError, match=r"column 'x' has no value in row 1 \(index 11\)"):
        Sample.from_arrays(frame)
    good = frame.drop(index=11)
    weights = pd.Series([1.0, 2.0], index=[10, 12])
    assert Sample.from_arrays(good, weights=weights).weights.tolist() == [1.0, 2.0]
    with pytest.raises(
        SampleError, match="the index of weights differs from the index of the data"
    ):
        Sample.from_arrays(good, weights=weights[::-1])
    series = {"x": weights, "y": weights[::-1]}
    different = "the index of column 'y' differs from the index of column 'x'"
    with pytest.raises(SampleError, match=different):
        Sample.from_arrays(series)


def test_a_lazy_frame_has_to_be_computed():
    class Lazy:
        def collect(self):
            raise AssertionError

    with pytest.raises(SampleError, match=r"lazy Lazy; call its \.collect\(\) first"):
        Sample.from_arrays(Lazy())


def test_no_events():
    assert len(Sample.from_arrays({"x": []})) == 0
    assert Sample.from_arrays(np.empty((0, 2)), ["x", "y"]).features.shape == (0, 2)
