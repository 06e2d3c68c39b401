"""Tables of features: rows, weights and what coffea adds up."""

import numpy as np
import pytest
from coffea.processor import accumulate
from hypothesis import given
from hypothesis import strategies as st

from milinfer.exceptions import FeatureError
from milinfer.features.feature_set import FeatureTable, weight_sums


def table(kept):
    kept = np.asarray(kept, dtype=bool)
    x = np.flatnonzero(kept).astype(np.float32)
    return FeatureTable({"x": x, "y": -x}, kept, {"few": int((~kept).sum())})


def test_rows_in_column_order():
    rows = table([True, False, True])
    assert (rows.names, len(rows)) == (("x", "y"), 2)
    assert rows.array.dtype == np.float32
    assert rows.array.tolist() == [[0, 0], [2, -2]]


def test_blocks_lose_nothing():
    n = 20_000  # more than two blocks of rows
    rows = table(np.ones(n))
    np.testing.assert_array_equal(rows.array[:, 0], np.arange(n))
    np.testing.assert_array_equal(rows.array[:, 1], -np.arange(n))


def test_weights_of_rows_or_of_all_events():
    rows = table([True, False, True])
    assert rows.weights(None).tolist() == [1.0, 1.0]
    assert rows.weights([1.0, 2.0, 3.0]).tolist() == [1.0, 3.0]
    assert rows.weights([4.0, 5.0]).tolist() == [4.0, 5.0]
    with pytest.raises(FeatureError, match="weights given for 2 of 3 events"):
        rows.weights([1.0])


def test_no_rows():
    rows = table([False, False])
    assert rows.array.shape == (0, 2)
    assert rows.accumulate([1.0, 2.0])["sum_of_weights"] == 0.0


def test_accumulators_add_up():
    parts = [table([True, False]), table([True, True, False])]
    weights = [[1.0, 7.0], [-2.0, 3.0, 7.0]]
    total = accumulate([p.accumulate(w) for p, w in zip(parts, weights, strict=True)])
    assert total["columns"]["x"].value.tolist() == [0, 0, 1]
    assert total["weight"].value.tolist() == [1.0, -2.0, 3.0]
    assert (total["n_events"], total["n_negative"]) == (3, 1)
    assert (total["sum_of_weights"], total["sum_of_squared_weights"]) == (2.0, 14.0)
    assert total["rejected"] == {"few": 2}


def test_to_sample():
    sample = table([True, False, True]).to_sample([1.0, 2.0, 3.0], point={"mu": 1.0})
    assert (sample.feature_names, sample.point) == (("x", "y"), {"mu": 1.0})
    assert sample.weights.tolist() == [1.0, 3.0]


@given(st.lists(st.integers(-100, 100)))
def test_sums(values):
    sums = weight_sums(np.array(values, dtype=np.float64))
    assert sums["n_events"] == len(values)
    assert sums["n_negative"] == sum(v < 0 for v in values)
    assert sums["sum_of_weights"] == sum(values)
    assert sums["sum_of_squared_weights"] == sum(v * v for v in values)
