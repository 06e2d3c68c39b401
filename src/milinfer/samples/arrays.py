"""Make samples from numpy arrays, data frames, Arrow tables and awkward records.

Columns are found by name and converted to numbers one by one.  If a value is no number, the error
names its column and row.  Rows of a set of samples are grouped by their parameter point.  The
results are the arguments of :class:`~milinfer.samples.sample.Sample`, so that this module does not
depend on the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from milinfer.exceptions import SampleError
from milinfer.features.feature_set import side_by_side
from milinfer.typing import BoolArray, Float32Array, FloatArray, IntArray, Point
from milinfer.utils.arguments import short_repr
from milinfer.utils.display import shortened
from milinfer.utils.points import format_point

__all__ = ["array_fields", "identified_fields", "point_fields"]

Data: TypeAlias = Any
"""A 2-D array, or what has named columns; spelled ``Any`` because pandas is not needed here."""

# Columns that milinfer reads as weights elsewhere; they are not features unless somebody says so.
_WEIGHTS = ("weight", "genWeight")
# Points closer than this fraction of the largest value differ by rounding.
_ROUNDING = 1e-7


def array_fields(
    data: Data,
    features: str | Sequence[str] | None = None,
    *,
    weights: Data | None = None,
    reweights: Data | None = None,
    reweight_points: Mapping[str, Point] | Sequence[Point] | None = None,
) -> dict[str, Any]:
    """Read all rows as the events of one sample; see :meth:`milinfer.Sample.from_arrays`.

    Examples
    --------
    >>> import numpy as np
    >>> fields = array_fields({"x": [0.5, 1.5], "w": [1, 2]}, weights="w")
    >>> fields["feature_names"], fields["weights"]
    (('x',), array([1., 2.]))
    """
    columns = _Columns(data, features)
    return columns.events(features, weights, reweights, reweight_points)


def identified_fields(
    data: Data,
    features: str | Sequence[str] | None = None,
    *,
    event: str | Sequence[str] | None,
    weights: Data | None = None,
    other_weights: Mapping[str, Data] | None = None,
    reweights: Data | None = None,
    reweight_points: Mapping[str, Point] | Sequence[Point] | None = None,
) -> tuple[dict[str, Any], NDArray[Any] | None, dict[str, FloatArray]]:
    """Read all rows as one sample, with identifiers and further weights of the events.

    Parameters
    ----------
    event
        Columns that together identify an event; None if there are no such columns.
    other_weights
        Mapping from the role of further weights to the weights: the name of a column, or an array.

    Returns
    -------
    tuple
        The arguments of the sample, the identifiers of the events, and the further weights by role.

    Raises
    ------
    SampleError
        If two rows have the same identifier; the message names the two rows.

    Examples
    --------
    >>> fields, ids, _ = identified_fields({"x": [0.5, 1.5], "event": [7, 3]}, event="event")
    >>> fields["feature_names"], ids
    (('x',), array([7, 3]))
    """
    columns = _Columns(data, features)
    ids = None if event is None else columns.identities(event)
    others = {k: columns.floats(c, f"weights {k}") for k, c in (other_weights or {}).items()}
    return columns.events(features, weights, reweights, reweight_points), ids, others


def point_fields(
    data: Data,
    features: str | Sequence[str] | None = None,
    *,
    points: Any,
    labels: Data | None = None,
    weights: Data | None = None,
    reweights: Data | None = None,
    reweight_points: Mapping[str, Point] | Sequence[Point] | None = None,
    process: str = "signal",
    cross_section: float | str | Mapping[Any, float] | None = None,
    cross_section_error: float | str | Mapping[Any, float] | None = None,
) -> list[dict[str, Any]]:
    """Return the arguments of one sample for each point.

    See :meth:`milinfer.SampleSet.from_arrays` for the parameters.

    Examples
    --------
    >>> data = {"x": [1.0, 2.0, 3.0], "mu": [0.5, 0.0, 0.5]}
    >>> [(f["point"], f["features"].tolist()) for f in point_fields(data, points="mu")]
    [({'mu': 0.0}, [[2.0]]), ({'mu': 0.5}, [[1.0], [3.0]])]
    """
    columns = _Columns(data, features)
    groups = columns.by_label(labels, points) if labels is not None else columns.by_value(points)
    numbers = {
        name: columns.one_for_each(given, name, groups)
        for name, given in (
            ("cross_section", cross_section),
            ("cross_section_error", cross_section_error),
        )
    }
    events = columns.events(features, weights, reweights, reweight_points)
    return [
        {
            **events,
            "features": events["features"][group.rows],
            "weights": events["weights"][group.rows],
            "reweights": {name: w[group.rows] for name, w in events["reweights"].items()},
            "point": group.point,
            "process": process,
            **{name: values[i] for name, values in numbers.items()},
        }
        for i, group in enumerate(groups)
    ]


class _Group:
    """Rows of one sample."""

    def __init__(self, key: Any, point: Point, rows: IntArray) -> None:
        self.key = key
        self.point = point
        self.rows = rows


class _Columns:
    """Columns by name, what each is used for, and the number of rows that all must have."""

    def __init__(self, data: Data, features: str | Sequence[str] | None) -> None:
        self._by_name = _by_name(data, _names(features, "features"), "the data")
        self._used: dict[str, str] = {}
        self._given: dict[str, NDArray[Any]] = {}
        self._length: tuple[int, str] | None = None
        self._index: tuple[Any, str] | None = None
        if _is_pandas(data):
            self._index = (data.index, "the data")

    def events(
        self,
        features: str | Sequence[str] | None,
        weights: Data | None,
        reweights: Data | None,
        reweight_points: Mapping[str, Point] | Sequence[Point] | None,
    ) -> dict[str, Any]:
        """Features and weights of all rows, after everything else has taken its columns."""
        nominal = None if weights is None else self.floats(weights, "weights")
        others, points = _named_reweights(reweights, reweight_points)
        at_points = {n: self.floats(given, f"reweights {n!r}") for n, given in others.items()}
        names = self._feature_names(features)
        columns = [self._feature(name) for name in names]
        if features is None:
            self._refuse_copies(dict(zip(names, columns, strict=True)))
        n = len(columns[0])
        return {
            "features": side_by_side(columns, n),
            "feature_names": names,
            "weights": np.ones(n) if nominal is None else nominal,
            "reweights": at_points,
            "reweight_points": points,
        }

    def by_value(self, points: Any) -> list[_Group]:
        """Rows of each distinct point, in ascending order."""
        given = (
            points
            if isinstance(points, Mapping)
            else {name: name for name in _names(points, "points") or ()}
        )
        if not given:
            msg = "points has no parameter; give a column, as in points='mu'"
            raise SampleError(msg)
        matrix = np.column_stack([self._parameter(name, c) for name, c in given.items()])
        if not len(matrix):
            msg = "the data have no rows; give events"
            raise SampleError(msg)
        order = np.lexsort(matrix.T[::-1])
        first = np.any(np.diff(matrix[order], axis=0) != 0, axis=1)
        parts = np.split(order, np.flatnonzero(first) + 1)
        if len(parts) > max(100, len(matrix) / 2):
            msg = (
                f"the {len(matrix)} rows are at {len(parts)} points of {', '.join(given)}; samples "
                "need many events at each point: name the columns of the parameters, or round them"
            )
            raise SampleError(msg)
        groups = []
        for rows in parts:
            values = tuple(matrix[rows[0]].tolist())
            key = values[0] if len(values) == 1 else values
            groups.append(_Group(key, dict(zip(given, values, strict=True)), rows))
        return groups

    def by_label(self, labels: Data, points: Any) -> list[_Group]:
        """Rows of each label, in the order of the labels in `points`."""
        if not isinstance(points, Mapping) or not all(
            isinstance(point, Mapping) for point in points.values()
        ):
            msg = (
                "with labels=, points is the point of each label, as in "
                "points={'sm': {'mu': 0.0}, 'bsm': {'mu': 1.0}}"
            )
            raise SampleError(msg)
        values, what = self._found(labels, "labels")
        array, missing = _array(values, what)
        self._require_rows(array, values, what)
        self._refuse(missing, what, "has no value")
        if not isinstance(labels, str) and array.dtype.kind in "fiub":
            self._given["labels"] = array
        array = array.astype(object)
        groups = [
            _Group(label, point, np.flatnonzero(array == label)) for label, point in points.items()
        ]
        known = np.zeros(len(array), dtype=np.bool_)
        for group in groups:
            if not len(group.rows):
                msg = f"{what}: no row has the label {group.key!r}; remove it from points="
                raise SampleError(msg)
            known[group.rows] = True
        if not known.all():
            other = array[int(np.argmin(known))]
            self._refuse(~known, what, f"is {other!r}, which is not in points,")
        return groups

    def one_for_each(self, given: Any, role: str, groups: Sequence[_Group]) -> list[float]:
        """One number for each sample: a common one, by point, or from a column."""
        if given is None:
            return [float("nan")] * len(groups)
        if isinstance(given, Mapping):
            keys = [group.key for group in groups]
            unknown, absent = set(given) - set(keys), set(keys) - set(given)
            if unknown or absent:
                msg = (
                    f"{role} is given for {', '.join(map(repr, given))}, but the samples are "
                    f"{shortened([repr(key) for key in keys])}; give one number for each"
                )
                raise SampleError(msg)
            return [float(given[key]) for key in keys]
        if not isinstance(given, str):
            if np.ndim(given):
                msg = f"{role} is an array; give a number, a column's name, or numbers by point"
                raise SampleError(msg)
            return [float(given)] * len(groups)
        column = self.floats(given, role)
        for group in groups:
            different = column[group.rows] != column[group.rows[0]]
            if different.any():
                row = int(group.rows[np.argmax(different)])
                msg = (
                    f"column {given!r} is the {role} of a sample, but rows at "
                    f"{format_point(group.point)} have {column[group.rows[0]]:g} and "
                    f"{column[row]:g} ({self._row(row)}); give one number for each point"
                )
                raise SampleError(msg)
        return [float(column[group.rows[0]]) for group in groups]

    def _feature_names(self, features: str | Sequence[str] | None) -> tuple[str, ...]:
        if features is None:
            names = tuple(name for name in self._by_name if name not in self._used)
            alike = [n for n in names if n in _WEIGHTS or n.startswith(("weight:", "LHEWeight"))]
            if alike:
                msg = (
                    f"column {alike[0]!r} looks like an event weight but would be used as a "
                    "feature; give weights= (or reweights=) its name, or list the features in "
                    "features="
                )
                raise SampleError(msg)
        else:
            names = tuple(_names(features, "features") or ())
            _require_unique(names, "features")
            for name in names:
                self._require(name, "features")
                if name in self._used:
                    msg = (
                        f"column {name!r} is a feature and also {self._used[name]}; remove it from "
                        "features="
                    )
                    raise SampleError(msg)
        if not names:
            msg = f"no column is left for the features; the columns are {', '.join(self._by_name)}"
            raise SampleError(msg)
        return names

    def _refuse_copies(self, columns: Mapping[str, Float32Array]) -> None:
        """Refuse features chosen by default whose values are weights or a parameter."""
        for role, array in self._given.items():
            single = array.astype(np.float32)
            if not len(single) or np.all(single == single[0]):
                continue
            for name, column in columns.items():
                if np.array_equal(column, single):
                    msg = (
                        f"column {name!r} is the same as {role} but would be used as a feature; "
                        "give the name of the column instead of its values, or list the features "
                        "in features="
                    )
                    raise SampleError(msg)

    def _feature(self, name: str) -> Float32Array:
        array = self._numbers(name, "features")
        with np.errstate(over="ignore"):  # what is infinite then is refused
            single: Float32Array = array.astype(np.float32)
        self._refuse(~np.isfinite(single), f"column {name!r}", "is too large for float32")
        if array.dtype.kind in "iu":
            inexact = single.astype(np.float64) != array
            if inexact.any():
                value = array[int(np.argmax(inexact))]
                self._refuse(
                    inexact,
                    f"column {name!r}",
                    f"is {value}, an integer too large for float32, such as an event number,",
                    "list the features without it, or convert the column to floats",
                )
        return single

    def identities(self, event: str | Sequence[str]) -> NDArray[Any]:
        """Identifiers of the events, shape (n_rows,), all different."""
        names = _names(event, "event") or ()
        if not names:
            msg = "event has no column; give the columns that identify an event, as event='event'"
            raise SampleError(msg)
        parts = []
        for name in names:
            values, what = self._found(name, "event")
            array, missing = _array(values, what)
            self._require_rows(array, values, what)
            self._refuse(missing, what, "has no value")
            if array.dtype.kind not in "iuSUO":
                msg = (
                    f"{what}: events are identified by integers or texts, not by values of type "
                    f"{array.dtype}; convert the column with .astype"
                )
                raise SampleError(msg)
            parts.append(array.astype(str) if array.dtype == object else array)
        ids: NDArray[Any] = parts[0]
        if len(parts) > 1:
            kinds = np.dtype([(name, part.dtype) for name, part in zip(names, parts, strict=True)])
            ids = np.empty(len(parts[0]), dtype=kinds)
            for name, part in zip(names, parts, strict=True):
                ids[name] = part
        _, first, place = np.unique(ids, return_index=True, return_inverse=True)
        again = first[place] != np.arange(len(ids))
        if again.any():
            row = int(np.argmax(again))
            msg = (
                f"{self._row(row)} and {self._row(int(first[place][row]))} are the same event "
                f"{ids[row]} ({int(again.sum())} such rows); give more columns in event=, such as "
                "['run', 'event'], or remove the duplicates"
            )
            raise SampleError(msg)
        return ids

    def floats(self, given: Data, role: str) -> FloatArray:
        return self._numbers(given, role).astype(np.float64)

    def _parameter(self, name: str, given: Data) -> FloatArray:
        column = self._numbers(given, f"the parameter {name!r}")
        if column.dtype.kind == "f" and column.dtype.itemsize < 8:
            # 0.1 of a float32 column is the point 0.1, and not 0.10000000149.
            distinct, inverse = np.unique(column, return_inverse=True)
            values = np.array([float(str(v)) for v in distinct], np.float64)[inverse]
        else:
            values = column.astype(np.float64) + 0.0  # −0 is 0
        distinct = np.unique(values)
        near = np.diff(distinct) <= _ROUNDING * np.abs(distinct).max(initial=0.0)
        if near.any():
            a, b = (distinct[int(np.argmax(near)) + k] for k in (0, 1))
            msg = (
                f"the parameter {name!r} is {a!s} and {b!s} in different rows, which differ by "
                "rounding only; round the column"
            )
            raise SampleError(msg)
        return values

    def _numbers(self, given: Data, role: str) -> NDArray[Any]:
        """A column as real finite numbers of its own type, shape (n_rows,)."""
        values, what = self._found(given, role)
        array, missing = _array(values, what)
        self._require_rows(array, values, what)
        self._refuse(missing, what, "has no value")
        if array.dtype.kind not in "fiub":
            example = f", such as {array[0]!r} in {self._row(0)}" if len(array) else ""
            msg = (
                f"{what}: the values are of type {array.dtype}{example}; give real numbers, or "
                "remove the column"
            )
            raise SampleError(msg)
        finite = np.isfinite(array)
        if not finite.all():
            self._refuse(~finite, what, f"is {array[int(np.argmin(finite))]}")
        if not isinstance(given, str):
            self._given[role] = array
        return array

    def _found(self, given: Data, role: str) -> tuple[Any, str]:
        """The values of a column that is given by its name or as an array."""
        if not isinstance(given, str):
            return given, role
        self._require(given, role)
        if role != "features":
            before = self._used.setdefault(given, role)
            # The weights of the sample itself may be among its reweights, too.
            both_weights = all("weights" in r for r in (before, role))
            if before != role and not both_weights:
                msg = f"column {given!r} is {before} and also {role}; name another column"
                raise SampleError(msg)
        return self._by_name[given], f"column {given!r}"

    def _require(self, name: str, role: str) -> None:
        if name not in self._by_name:
            there = shortened(list(self._by_name), most=20) or "none"
            msg = f"there is no column {name!r} for {role}; the columns are {there}"
            if self._index is not None and name in getattr(self._index[0], "names", ()):
                msg += f"; {name!r} is the index: make a column of it with .reset_index()"
            raise SampleError(msg)

    def _require_rows(self, array: NDArray[Any], values: Any, what: str) -> None:
        """Refuse a column with another number of rows, or with another index in pandas."""
        if array.ndim != 1:
            msg = f"{what} has shape {array.shape}; give one number for each event"
            raise SampleError(msg)
        n, first = self._length = self._length or (len(array), what)
        if len(array) != n:
            msg = f"{what} has {len(array)} rows, but {first} has {n}; give one for each event"
            raise SampleError(msg)
        if not _is_pandas(values):
            return
        index, first = self._index = self._index or (values.index, what)
        if not index.equals(values.index):
            msg = (
                f"the index of {what} differs from the index of {first}; put its rows in the same "
                "order with .reindex, or give .to_numpy() if the order is the same"
            )
            raise SampleError(msg)

    def _row(self, row: int) -> str:
        """Number of a row, with its name in the index of a data frame if that is another."""
        if self._index is None or self._index[0][row] == row:
            return f"row {row}"
        return f"row {row} (index {self._index[0][row]})"

    def _refuse(
        self, bad: BoolArray, what: str, wrong: str, remedy: str = "fix or remove these rows"
    ) -> None:
        if bad.any():
            msg = (
                f"{what} {wrong} in {self._row(int(np.argmax(bad)))} ({int(bad.sum())} such rows); "
                f"{remedy}"
            )
            raise SampleError(msg)


def _names(given: Any, role: str) -> Sequence[str] | None:
    """Names of columns, one or several."""
    if given is None or isinstance(given, str):
        return None if given is None else [given]
    try:
        names = list(given)
    except TypeError:
        names = [given]
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        msg = f"{role} has {wrong[0]!r} instead of a name; give names of columns"
        raise SampleError(msg)
    return names


def _is_pandas(data: Any) -> bool:
    """Whether this is a data frame or series with an index, as in pandas."""
    return hasattr(data, "iloc") and hasattr(data, "index")


def _by_name(data: Data, names: Sequence[str] | None, what: str) -> dict[str, Any]:
    """Columns of anything that has some, not yet converted."""
    for method in ("compute", "collect"):
        if callable(getattr(data, method, None)):
            msg = f"{what} are a lazy {type(data).__name__}; call its .{method}() first"
            raise SampleError(msg)
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(data, Mapping):
        pairs = data.items()
    elif isinstance(data, ak.Array | ak.Record) and ak.fields(data):
        pairs = [(name, data[name]) for name in ak.fields(data)]
    elif _is_pandas(data) and hasattr(data, "columns"):
        pairs = [(name, data.iloc[:, i]) for i, name in enumerate(data.columns)]
    elif hasattr(data, "__arrow_c_stream__") and hasattr(data, "columns"):
        import pyarrow as pa

        table = pa.table(data)
        pairs = zip(table.column_names, table.columns, strict=True)
    elif getattr(getattr(data, "dtype", None), "names", None):
        pairs = [(name, data[name]) for name in data.dtype.names]
    else:
        pairs = _of_matrix(data, names, what)
    pairs = list(pairs)
    for name, _ in pairs:
        if not isinstance(name, str):
            msg = f"{what} have a column named {name!r}; name columns by text"
            raise SampleError(msg)
    _require_unique([name for name, _ in pairs], what)
    return dict(pairs)


def _of_matrix(
    data: Data, names: Sequence[str] | None, what: str
) -> list[tuple[str, NDArray[Any]]]:
    try:
        matrix = data if isinstance(data, np.ma.MaskedArray) else np.asarray(data)
    except ValueError as error:
        msg = f"{what} are not an array of shape (n_events, n_columns): {error}"
        raise SampleError(msg) from error
    if matrix.ndim != 2:
        msg = (
            f"{what} are an array of shape {matrix.shape}; give one of shape (n_events, n_columns) "
            "and the names of its columns, or columns by name: {'x': x, 'y': y}"
        )
        raise SampleError(msg)
    if names is None or len(names) != matrix.shape[1]:
        given = "no names are" if names is None else f"{len(names)} names are"
        msg = (
            f"{what} are an array of {matrix.shape[1]} columns without names, and {given} given; "
            "name each column"
        )
        raise SampleError(msg)
    _require_unique(names, what)
    return [(name, matrix[:, i]) for i, name in enumerate(names)]


def _require_unique(names: Sequence[str], what: str) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            msg = f"{what}: the name {name!r} appears twice; give every column a different name"
            raise SampleError(msg)


def _array(values: Any, what: str) -> tuple[NDArray[Any], BoolArray]:
    """Values as a numpy array, and which of them are missing."""
    try:
        if hasattr(values, "to_arrow"):  # polars
            values = values.to_arrow()
        if isinstance(values, ak.Array):
            values = ak.to_numpy(values, allow_missing=True)
        if hasattr(values, "null_count") and hasattr(values, "is_null"):  # Arrow
            return np.asarray(values), np.asarray(values.is_null(), dtype=np.bool_)
        if hasattr(values, "isna") and hasattr(values, "to_numpy"):  # pandas
            missing = np.asarray(values.isna(), dtype=np.bool_)
            array = values.to_numpy()
            kind = getattr(values.dtype, "kind", "O")
            if array.dtype == object and kind in "fiub" and not missing.any():
                array = values.to_numpy(dtype=np.float64)
            return array, missing
        if isinstance(values, np.ma.MaskedArray):
            return values.data, np.ma.getmaskarray(values)
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        msg = f"{what} is not one number for each event ({error}); select or flatten it first"
        raise SampleError(msg) from error
    return array, np.zeros(array.shape, dtype=np.bool_)


def _named_reweights(
    reweights: Data | None, points: Mapping[str, Point] | Sequence[Point] | None
) -> tuple[dict[str, Any], dict[str, Point]]:
    """Columns of reweights by name, and their points by name."""
    if isinstance(reweights, str):
        reweights = [reweights]
    if reweights is None:
        named: dict[str, Any] = {}
    elif isinstance(reweights, Mapping):
        named = dict(reweights)
    elif isinstance(reweights, list | tuple) and all(isinstance(r, str) for r in reweights):
        _require_unique(reweights, "reweights")
        named = {name: name for name in reweights}
    else:
        texts = [p if isinstance(p, str) else format_point(p) for p in points or ()]
        named = _by_name(reweights, texts or None, "reweights")
    if points is None or isinstance(points, Mapping):
        return named, dict(points or {})
    given: object = points
    if isinstance(given, str) or not isinstance(given, Sequence):
        msg = (
            f"reweight_points={short_repr(points)} are not points; give them by the name of the "
            'weight, as in {"bsm": {"c_HW": 0.5}}, or a list in the order of reweights='
        )
        raise SampleError(msg)
    if len(points) != len(named):
        msg = (
            f"there are {len(named)} reweights, but {len(points)} reweight_points; give one point "
            "for each, or points by name"
        )
        raise SampleError(msg)
    return named, dict(zip(named, points, strict=True))
