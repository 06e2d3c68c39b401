"""Bags with named features: lists of tables, and one long table grouped by a column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import milinfer as mil
from milinfer.exceptions import SampleError
from milinfer.learning.labelled_bags.ragged import ragged_bags

NAMES = ["pt", "eta"]
QUICK = {"hidden": (4,), "epochs": 2}
RNG = np.random.default_rng(3)
ARRAYS = [RNG.uniform(size=(n, 2)) for n in RNG.integers(1, 5, 60)]
FRAMES = [pd.DataFrame(bag, columns=NAMES) for bag in ARRAYS]
LABELS = np.arange(60) % 2


@pytest.fixture(scope="module")
def model():
    return mil.BagClassifier(**QUICK).fit(FRAMES, LABELS)


def test_tables_train_and_predict_as_arrays_do(model):
    same = mil.BagClassifier(**QUICK).fit(ARRAYS, LABELS)
    np.testing.assert_array_equal(model.predict_proba(FRAMES), same.predict_proba(ARRAYS))
    assert list(model.feature_names_in_) == NAMES
    assert not hasattr(same, "feature_names_in_")


@pytest.mark.parametrize(
    "change", [lambda f: f[["eta", "pt"]], lambda f: f.rename(columns={"eta": "phi"})]
)
def test_permuted_and_renamed_columns_are_refused(model, change):
    changed = [change(f) for f in FRAMES]
    for ask in (model.predict, model.predict_proba, model.instance_weights, model.key_instances):
        with pytest.raises(SampleError, match="feature names should match"):
            ask(changed)
    mixed = [FRAMES[0], change(FRAMES[1])]
    with pytest.raises(SampleError, match=r"bag 1 has the features .* but bag 0 has pt, eta"):
        model.predict(mixed)
    with pytest.raises(SampleError, match="bag 1 has the features"):
        mil.BagClassifier(**QUICK).fit([*mixed, *FRAMES[2:]], LABELS)


def test_names_are_as_in_tables_of_scikit_learn(model):
    """Arrays after tables warn, as plain tables do; a later fit to arrays forgets the names."""
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(ARRAYS)
    with pytest.raises(SampleError, match="features of bag 0 have names, but those of bag 1 have"):
        model.predict([FRAMES[0], ARRAYS[1]])
    again = mil.BagClassifier(**QUICK).fit(FRAMES, LABELS).fit(ARRAYS, LABELS)
    assert not hasattr(again, "feature_names_in_")


def test_tables_of_arrow_are_bags_as_well(model):
    tables = [pa.Table.from_pandas(f) for f in FRAMES]
    np.testing.assert_array_equal(ragged_bags(tables).instances, np.concatenate(ARRAYS))
    np.testing.assert_array_equal(model.predict_proba(tables), model.predict_proba(FRAMES))
    with pytest.raises(SampleError, match="feature names should match"):
        model.predict([t.select(["eta", "pt"]) for t in tables])


# --- one long table --------------------------------------------------------------------------


def long_table(seed=None):
    """Rows of all bags; with a seed the rows of different bags are mixed."""
    table = pd.concat(FRAMES, ignore_index=True)
    sizes = [len(f) for f in FRAMES]
    table["event"] = np.repeat([f"e{97 * b % 60}" for b in range(60)], sizes)
    table["signal"] = np.repeat(LABELS, sizes)
    if seed is None:
        return table
    return table.iloc[np.random.default_rng(seed).permutation(len(table))]


def test_a_long_table_is_the_bags_in_order_of_appearance(model):
    bags, keys, labels = mil.learning.group_bags(long_table(), "event", label="signal")
    assert keys[:3].tolist() == ["e0", "e37", "e14"]
    np.testing.assert_array_equal(labels, LABELS)
    for bag, frame in zip(bags, FRAMES, strict=True):
        np.testing.assert_array_equal(bag.to_numpy(), frame.to_numpy())
        assert list(bag.columns) == NAMES
    np.testing.assert_array_equal(model.predict_proba(bags), model.predict_proba(FRAMES))


def test_rows_of_one_bag_need_not_lie_side_by_side():
    table = long_table(seed=5)
    bags, keys, labels = mil.learning.group_bags(table, "event", label="signal", features=["eta"])
    np.testing.assert_array_equal(keys, table["event"].drop_duplicates())
    assert sum(len(b) for b in bags) == len(table)
    for bag, key, label in zip(bags, keys, labels, strict=True):
        rows = table[table["event"] == key]
        np.testing.assert_array_equal(bag["eta"], rows["eta"])
        assert set(rows["signal"]) == {label}
        assert list(bag.columns) == ["eta"]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t, {"by": "run"}, "no column 'run'; it has pt, eta, event, signal"),
        (lambda t: t, {"by": "event", "label": "y"}, "no column 'y'"),
        (lambda t: t, {"by": "event", "features": ["phi"]}, "no column 'phi'"),
        (lambda t: t, {"by": "event", "features": []}, "no columns except 'event'"),
        (lambda t: t.iloc[:0], {"by": "event"}, "no rows"),
        (lambda t: t.to_dict(), {"by": "event"}, "dict is not a pandas.DataFrame"),
        (lambda t: t.replace("e0", None), {"by": "event"}, "row 0 has no 'event'"),
        (
            lambda t: t.assign(signal=np.arange(len(t))),
            {"by": "event", "label": "signal"},
            "has several values of 'signal'",
        ),
        (lambda t: pd.concat([t, t["pt"]], axis=1), {"by": "event"}, "2 columns 'pt'"),
    ],
)
def test_long_tables_that_cannot_be_grouped_are_refused(change, options, message):
    with pytest.raises(SampleError, match=message):
        mil.learning.group_bags(change(long_table()), **options)


def test_long_tables_that_were_not_grouped_name_the_way():
    table = long_table()
    features = table[[*NAMES, "event"]]
    for grouped in (features.groupby("event"), list(features.groupby("event"))):
        with pytest.raises(SampleError, match=r"mil\.learning\.group_bags\(table, by=\.\.\.\)"):
            mil.BagClassifier(**QUICK).fit(grouped, LABELS)
    with pytest.raises(SampleError, match=r"one table of .* rows, .* but y has 60 labels"):
        mil.BagClassifier(**QUICK).fit(table[NAMES], LABELS)
