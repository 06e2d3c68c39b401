"""Read histograms from JSON files of the Universal Histogram Interface (UHI).

`load_histograms` reads one histogram, or several histograms with names, that any library has
written.  Damaged files are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from milinfer.exceptions import TemplateError
from milinfer.typing import PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.utils.files import parse_json
from milinfer.utils.json_fields import array_field, list_field, whole_field

__all__ = ["load_histograms"]

# Lists of numbers in the storage of a histogram.
_STORED = {"values", "variances", "counts", "sum_of_weights", "sum_of_weights_squared"}
# Those that each kind of storage needs.
_NUMBERS = {
    "int": ("values",),
    "double": ("values",),
    "weighted": ("values", "variances"),
    "mean": ("counts", "values", "variances"),
    "weighted_mean": ("sum_of_weights", "sum_of_weights_squared", "values", "variances"),
}
_MOST_AXES, _MOST_BINS = 32, 1 << 22


def load_histograms(path: PathLikeStr) -> dict[str, Any]:
    """Read histograms from the JSON serialisation of the Universal Histogram Interface (UHI).

    Parameters
    ----------
    path
        JSON file, written by any library.  It contains an object that maps names to histograms, or
        a single histogram, which gets the name of the file.

    Returns
    -------
    dict
        The histograms by name, each a ``hist.Hist``.

    Raises
    ------
    TemplateError
        If the file is not a JSON file of histograms.

    Examples
    --------
    >>> import json, tempfile
    >>> import hist, uhi.io.json
    >>> h = hist.Hist.new.Reg(4, 0, 1, name="x").Weight().fill(x=[0.1, 0.6])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "h.json")
    ...     _ = file.write_text(json.dumps({"signal": h}, default=uhi.io.json.default))
    ...     load_histograms(file)["signal"] == h
    True
    """
    import hist
    import uhi.io.json as uhi_json

    try:
        content = parse_json(
            as_path(path).read_text(encoding="utf-8"), object_hook=uhi_json.object_hook
        )
        # UHI allows a file of one histogram as well as one of several by name.
        named = {Path(path).stem: content} if "uhi_schema" in content else dict(content)
    except (OSError, ValueError, TypeError) as error:
        msg = f"{path} is not a JSON file of histograms: {error}; write it again"
        raise TemplateError(msg) from error
    histograms = {}
    for name, item in named.items():
        if not isinstance(item, dict) or "uhi_schema" not in item:
            msg = f"{path}: {name!r} is not a histogram in the UHI serialisation (no uhi_schema)"
            raise TemplateError(msg)
        try:
            _require_sizes(item)
            histograms[name] = hist.Hist(item)
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            msg = f"{path}: the histogram {name!r} is damaged: {error!r}; write it again"
            raise TemplateError(msg) from error
    return histograms


def _require_sizes(item: dict[str, Any]) -> None:
    """Raise ``ValueError`` for values that are not numbers, and for too many bins.

    A few characters of a file can ask for any number of bins.  Sparse histograms have more bins
    than numbers, so a moderate number of bins is allowed for every histogram.
    """
    storage, n_values = item["storage"], 0
    # hist would take a histogram without its numbers for an empty one.
    lacking = [name for name in _NUMBERS.get(storage["type"], ()) if name not in storage]
    if lacking:
        msg = f"its storage lacks {' and '.join(lacking)}"
        raise ValueError(msg)
    for name in sorted(_STORED & storage.keys()):
        values = np.asarray(storage[name])
        if values.size and values.dtype.kind not in "iuf":
            msg = f"{name} are not numbers"
            raise ValueError(msg)
        # the mean and the variance of no entry, or of one, are NaN
        if storage["type"] in {"int", "double", "weighted"}:
            least = 0.0 if name == "variances" else -np.inf
            array_field(name, values.ravel().tolist(), least=least)
        n_values = max(n_values, values.size)
    axes = list_field("axes", item["axes"])
    if len(axes) > _MOST_AXES:
        msg = f"it has {len(axes)} axes, but a histogram can have at most {_MOST_AXES}"
        raise ValueError(msg)
    n_bins = 1
    for k, axis in enumerate(axes):
        transform = axis.get("writer_info", {}).get("boost-histogram", {})
        n_bins *= 2 + max(
            *(whole_field(f"bins of axis {k}", a.get("bins", 0)) for a in (axis, transform)),
            *(len(axis.get(name, ())) for name in ("edges", "categories")),
        )
        if "edges" in axis:
            array_field(f"edges of axis {k}", np.asarray(axis["edges"]).tolist(), infinite=True)
    if n_bins > max(8 * n_values, _MOST_BINS):
        msg = f"its axes have {n_bins} bins, but the file has {n_values} numbers for them"
        raise ValueError(msg)
