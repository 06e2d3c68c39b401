"""Import polynomial histograms from other tools: HistEFT and CMS Combine.

`import_hist_eft` takes a histogram in the layout of TopEFT's HistEFT: an axis ``quadratic_term``
with the coefficients of a quadratic polynomial, in the order of a lower triangle over
``(1, c1, c2, …)``.  `import_scaling` takes the JSON file of Combine's ``InterferenceModels``.  For
each bin this file has the lower triangle of a symmetric matrix M; the content of the bin is its
nominal content times θᵀMθ, with θ = (1, c1, c2, …).

milinfer does not read pickled files, because they can run any code.  If you trust a file, load it
yourself and pass its histogram.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from milinfer.binned.polynomial_histogram import (
    PolynomialHistogram,
    axis_without_flow,
    monomial_name,
)
from milinfer.exceptions import TemplateError
from milinfer.typing import FloatArray, IntArray, PathLikeStr
from milinfer.utils.files import parse_json, require_file
from milinfer.utils.json_fields import array_field, list_field, text_field

__all__ = ["import_hist_eft", "import_scaling", "lower_triangle"]

_QUADRATIC = "quadratic_term"
# RooFit's factory syntax: a constant name[value], a parameter name[value, low, high] or
# name[low, high], or the name alone of one declared before.
_FACTORY = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\[([^\[\]]*)\])?\s*")


def lower_triangle(n: int) -> tuple[IntArray, IntArray]:
    """Row and column of each entry of a lower triangle, in the order that HistEFT and Combine use.

    Examples
    --------
    >>> [a.tolist() for a in lower_triangle(2)]
    [[0, 1, 1], [0, 0, 1]]
    """
    rows, columns = np.tril_indices(n)
    return rows.astype(np.int64), columns.astype(np.int64)


def import_hist_eft(
    histogram: Any,
    parameters: Sequence[str] | None = None,
    *,
    covariance: FloatArray | None = None,
) -> PolynomialHistogram:
    """Make a polynomial histogram from a histogram in the layout of HistEFT.

    Parameters
    ----------
    histogram
        ``hist.Hist`` with an axis ``quadratic_term`` besides the observables.  Or a HistEFT in
        which one entry of each category is selected, such as ``h[{"process": "ttH"}]``.
    parameters
        Names of the Wilson coefficients, in the order of the terms; default: ``wc_names`` of the
        histogram.
    covariance
        Covariance of the terms, shape (n_terms, n_terms, …), with the bins of each observable, flow
        bins included, in the place of the dots.  HistEFT does not store a covariance.  If it is not
        given here, the errors are unknown.

    Raises
    ------
    TemplateError
        If the histogram has no axis ``quadratic_term``, or the number of terms does not fit the
        number of parameters.

    Examples
    --------
    >>> import hist
    >>> h = hist.Hist(hist.axis.Regular(2, 0, 100, name="ht", flow=False),
    ...               hist.axis.Integer(0, 3, name="quadratic_term"))
    >>> h.view()[...] = [[4.0, 1.0, 0.5], [6.0, 2.0, 0.0]]
    >>> import_hist_eft(h, ["ctG"]).at({"ctG": 2.0}).values()
    array([ 8., 10.])
    """
    _require_histogram(histogram, "the HistEFT")
    if parameters is None:
        names = getattr(histogram, "wc_names", None)
        parameters = names() if callable(names) else names
        if parameters is None:
            msg = (
                "the histogram has no wc_names; give the names of the Wilson coefficients as "
                "parameters="
            )
            raise TemplateError(msg)
    if not all(isinstance(name, str) for name in parameters):
        msg = f"the names of parameters {list(parameters)} are not all texts"
        raise TemplateError(msg)
    view, axes = histogram.view(flow=True), list(histogram.axes)
    if isinstance(view, Mapping):
        if len(view) != 1:
            msg = (
                f"the HistEFT has {len(view)} entries of its categories; choose one, such as "
                'h[{"process": "ttH"}]'
            )
            raise TemplateError(msg)
        (view,) = view.values()
        # Recent versions of boost-histogram leave only the categories in its axes.
        axes = list(getattr(histogram, "dense_axes", axes[len(axes) - view.ndim :]))
    if view.dtype.names:
        msg = f"a HistEFT has the storage Double, but this histogram has {view.dtype.names}"
        raise TemplateError(msg)
    found = [k for k, a in enumerate(axes) if a.name == _QUADRATIC]
    if len(found) != 1:
        msg = (
            f"the histogram has the axes {[a.name for a in axes]}, but needs one axis {_QUADRATIC}"
        )
        raise TemplateError(msg)
    axis, n = axes.pop(found[0]), len(parameters) + 1
    rows, columns = lower_triangle(n)
    if len(axis) != len(rows):
        msg = (
            f"the histogram has {len(axis)} terms, but a quadratic polynomial in "
            f"{', '.join(parameters)} has {len(rows)}; correct the parameters"
        )
        raise TemplateError(msg)
    terms = np.moveaxis(view, found[0], 0)
    first = int(axis.traits.underflow)
    if np.count_nonzero(terms) > np.count_nonzero(terms[first : first + len(axis)]):
        msg = f"the flow bins of {_QUADRATIC} are not empty; fill the histogram again"
        raise TemplateError(msg)
    names = ("", *parameters)
    labels = [_product(names[i], names[j]) for i, j in zip(rows, columns, strict=True)]
    return PolynomialHistogram.of_arrays(
        labels, axes, terms[first : first + len(axis)].astype(np.float64), covariance
    )


def import_scaling(
    scaling: PathLikeStr | Sequence[Mapping[str, Any]],
    nominal: Any,
    *,
    channel: str,
    process: str,
) -> PolynomialHistogram:
    """Make a polynomial histogram from the ``scaling.json`` of Combine's ``InterferenceModels``.

    Parameters
    ----------
    scaling
        JSON file, or its content.
    nominal
        ``hist.Hist`` of the process in the datacard, with as many bins as the scaling.  If the
        histogram has variances, the relative error of a bin is assumed to be the same at every θ.
    channel, process
        Names of the channel and of the process whose entry in the scaling is used.

    Raises
    ------
    TemplateError
        If `scaling` is not the content of a ``scaling.json``, does not have exactly one entry for
        the channel and process, does not fit the nominal histogram, or defines parameters by
        formulas.

    Examples
    --------
    >>> import hist
    >>> nominal = hist.Hist(hist.axis.Regular(2, 0, 1, name="x"), storage="Double")
    >>> nominal.view()[...] = [4.0, 6.0]
    >>> scaling = [{"channel": "SR", "process": "sig", "parameters": ["cSM[1]", "c[0,-1,1]"],
    ...             "scaling": [[1.0, 0.25, 0.0], [1.0, 0.5, 0.5]]}]
    >>> import_scaling(scaling, nominal, channel="SR", process="sig").at({"c": 1.0}).values()
    array([ 6., 15.])
    """
    _require_histogram(nominal, "the nominal histogram")
    if isinstance(scaling, (str, PathLike)):
        where, content = str(scaling), _read_json(scaling)
    else:
        where, content = "the scaling", scaling
    name = f"{where}: {channel}/{process}"
    try:
        entries = [
            e
            for e in list_field("the content", _as_list(content))
            if (text_field("channel", e["channel"]), text_field("process", e["process"]))
            == (channel, process)
        ]
        if len(entries) != 1:
            msg = f"it has {len(entries)} entries, but needs exactly one"
            raise ValueError(msg)
        factors = [_parameter(text_field("a parameter", p)) for p in entries[0]["parameters"]]
        n = len(factors)
        shape = (int(np.prod([len(a) for a in nominal.axes])), n * (n + 1) // 2)
        rows = array_field("scaling", np.asarray(entries[0]["scaling"]).tolist(), shape)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{name}: {error}; see the documentation of InterferenceModels"
        raise TemplateError(msg) from error
    terms: dict[str, FloatArray] = {}
    for k, (i, j) in enumerate(zip(*lower_triangle(n), strict=True)):
        # The matrix is symmetric: what is not on its diagonal counts twice.
        twice = 1.0 if i == j else 2.0
        label = _product(factors[i][0], factors[j][0])
        value = twice * factors[i][1] * factors[j][1] * rows[:, k]
        terms[label] = terms.get(label, 0.0) + value
    inner = tuple(len(a) for a in nominal.axes)
    if nominal.values(flow=True).sum() != nominal.values().sum():
        msg = (
            f"{name}: the flow bins of the nominal histogram are not empty, but cannot be scaled; "
            "empty them"
        )
        raise TemplateError(msg)
    axes = [axis_without_flow(a) for a in nominal.axes]
    relative = np.stack(list(terms.values())).reshape(len(terms), *inner)
    variances = nominal.variances()
    known = variances is not None and nominal.view().dtype.names is not None
    return PolynomialHistogram.of_arrays(
        list(terms),
        axes,
        relative * nominal.values(),
        relative[:, None] * relative[None] * variances if known else None,
    )


def _as_list(content: object) -> object:
    """A list of a sequence of Python; what a file holds stays as it is."""
    return list(content) if isinstance(content, tuple) else content


def _require_histogram(value: object, what: str) -> None:
    """Raise unless a value has the methods of a histogram of hist."""
    if not (hasattr(value, "view") and hasattr(value, "axes")):
        msg = f"{what} is a {type(value).__name__}; give a hist.Hist"
        raise TemplateError(msg)


def _read_json(path: PathLikeStr) -> Any:
    require_file(path)
    try:
        return parse_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} is not JSON: {error}; give the scaling.json of Combine"
        raise TemplateError(msg) from error


def _product(one: str, other: str) -> str:
    """Monomial of two parameters; no name is the number 1."""
    powers: dict[str, int] = {}
    for name in (other, one):
        if name:
            powers[name] = powers.get(name, 0) + 1
    return monomial_name(powers)


def _parameter(text: str) -> tuple[str, float]:
    """Name and factor of a parameter in the syntax of RooFit's factory; "" for a constant.

    Raises
    ------
    ValueError
        If it is something else.
    """
    found = _FACTORY.fullmatch(text)
    if found is None:
        msg = (
            f"the parameter {text!r} is not a constant name[value] or a parameter "
            "name[value,low,high]; formulas are not read"
        )
        raise ValueError(msg)
    name, numbers = found.groups()
    values = [] if numbers is None else [float(x) for x in numbers.split(",")]
    if len(values) > 3 or not np.isfinite(values).all():
        msg = f"the parameter {text!r} needs a finite value, or a finite value and range"
        raise ValueError(msg)
    return ("", values[0]) if len(values) == 1 else (name, 1.0)
