"""Publish a likelihood: write −2 ln L of the data to a folder that needs no network.

The folder contains ``likelihood.json``, its arrays in ``events.npz``, and ``read_likelihood.py``.
``read_likelihood.py`` is a copy of :mod:`milinfer.likelihood.published_reader`.  It reads the other
two files and needs only numpy.  ``published_schema.json``, in the folder of this module, is the
schema of ``likelihood.json``.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import iminuit
import numpy as np
from iminuit import describe
from iminuit.cost import Cost

# Importing this module registers how the costs of this sub-package are published.
import milinfer.likelihood.published_terms  # noqa: F401
from milinfer.exceptions import ConfigurationError, FitError, MilinferError, ParameterError
from milinfer.likelihood.auxiliary import terms_of
from milinfer.likelihood.published_parts import ArrayStore, ParameterFacts, published_terms
from milinfer.likelihood.published_reader import (
    FORMAT,
    VERSION,
    Likelihood,
    LikelihoodError,
    canonical_hash,
    read,
)
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.arguments import positive_number, short_repr
from milinfer.utils.files import atomic_folder, file_hash
from milinfer.utils.keywords import did_you_mean
from milinfer.version import __version__

__all__ = ["publish", "published_schema"]

ARRAYS = "events.npz"
READER = "read_likelihood.py"
JSON = "likelihood.json"

# Number of random points at which the folder is compared with the cost, and largest difference.
_POINTS = 20
_LARGEST = 1e-8
# Number of points in the JSON with which any other reader can be checked.
_CHECKS = 5
# Half of the range of a parameter without limits, in units of its starting value or one.
_REACH = 1.0
_HALVINGS = 12
# If roles differ between terms, the first of these roles is used.
_ROLES = ("interest", "normalisation", "nuisance")

_DESCRIPTION = (
    "The likelihood of a measurement. −2 ln L is the sum of the terms, up to a constant. A term of "
    "the kind 'surface' is −2 [Λ(θ) + rate term], with Λ the sum over events of "
    "ln p(x|θ)/p(x|reference); 'mixture' is −2 ln L of events of signal and backgrounds with their "
    "responses to nuisance parameters; 'histogram' is −2 ln L of counts whose expectations are "
    "polynomials; 'normal' is a measurement of parameters with a Gaussian error; 'pyhf' is a "
    "HistFactory workspace; 'constant' is a number. The texts of the classes in read_likelihood.py "
    "are the formulas; texts in the terms name arrays in the files."
)


def publish(
    cost: Cost,
    folder: PathLikeStr,
    *,
    title: str = "",
    provenance: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    start: Mapping[str, float] | None = None,
    events: bool = True,
    error: float = 1e-6,
) -> Path:
    """Write the likelihood of a dataset to a folder that is usable without features and networks.

    Before the folder appears under its name, the written files are read and compared with the cost
    at random points.

    Parameters
    ----------
    cost
        Cost of milinfer, calibrated or not, ``NormalConstraint`` of iminuit, or a sum of these.
    folder
        Folder to write; an existing folder is replaced.
    title
        One line that describes the measurement.
    provenance
        Further facts to record, such as ``{"experiment": …, "reference": …}``; any JSON content.
    units
        Units of parameters, by name.
    start
        Starting values of fits by name, such as the best fit; default: the starting values of the
        cost.
    events
        True: write the coefficients of each event.  False: write only Λ(θ) of all events together,
        as Chebyshev series with a proven bound on the error
        (:mod:`milinfer.likelihood.compressed_surface`).
    error
        Largest error of −2 ln L that is allowed with ``events=False``.

    Returns
    -------
    Path
        Path of the written folder.

    Raises
    ------
    ConfigurationError
        If a term of the cost cannot be published at all, or cannot be published with
        ``events=False``; the message names the term.
    ParameterError
        If a name in `units` or `start` is not a parameter of the cost, or a starting value is
        outside its limits.
    FitError
        If the written likelihood does not agree with the cost.

    Examples
    --------
    >>> import tempfile
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.cost import dataset_cost
    >>> from milinfer.likelihood.published_cost import load_published
    >>> data = gaussian.generate(100, 0.1, seed=1).as_data()
    >>> cost = dataset_cost(gaussian.MeanModel(), data, reference=0.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = publish(cost, f"{folder}/published", title="mean of a Gaussian")
    ...     names = sorted(file.name for file in path.iterdir())
    ...     again = load_published(path)
    >>> names
    ['events.npz', 'likelihood.json', 'read_likelihood.py']
    >>> again.parameters, abs(again(0.3) - cost(0.3)) < 1e-8
    (('mu',), True)
    """
    given: object = cost
    if not isinstance(given, Cost):
        msg = (
            f"publish() takes a cost, not {short_repr(cost)}; give the function that Minuit "
            "minimises, such as model.cost(data)"
        )
        raise ConfigurationError(msg)
    _require_kinds(title, {"provenance": provenance, "units": units, "start": start})
    parts = terms_of(cost)
    # Errors of Λ, which enters −2 ln L with a factor of two, are added.
    largest = None if events else positive_number(error, "error") / (2 * len(parts))
    arrays = ArrayStore(error=largest)
    terms = []
    for k, term in enumerate(parts):
        terms += published_terms(term, arrays.within(f"term{k}"))
    names = list(describe(cost))
    facts = {name: _joined(name, [t.parameters for t in terms]) for name in names}
    starts = {} if start is None else dict(start)
    for what, of_parameters in (("units", units or {}), ("start", starts)):
        for name in of_parameters:
            if name not in facts:
                msg = f"{what}= names {name!r}, but the cost has {', '.join(names)}"
                raise ParameterError(msg + did_you_mean(str(name), names))
    for name, value in starts.items():
        facts[name] = facts[name]._replace(start=_start(name, value, facts[name]))
    bound = sum(term.bound for term in terms)
    origin = [fact.start for fact in facts.values()]
    points = [_inside(cost, origin, x) for x in _points(list(facts.values()), _POINTS)]
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "title": title,
        "description": _DESCRIPTION,
        "written_by": {
            "milinfer": __version__,
            "iminuit": iminuit.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": [
            {
                "name": name,
                "role": fact.role,
                "start": fact.start,
                "low": _or_none(fact.low),
                "high": _or_none(fact.high),
                "unit": (units or {}).get(name),
                "fixed": fact.fixed,
            }
            for name, fact in facts.items()
        ],
        "terms": [term.content for term in terms],
        "checks": [{"point": point, "value": value} for point, value in points[:_CHECKS]],
        "bound": bound,
        "provenance": dict(provenance or {}),
    }
    with atomic_folder(folder) as target:
        _write(target, content, arrays)
        _compare(_read_again(target), points, bound)
    return Path(folder)


def published_schema() -> dict[str, Any]:
    """Return the JSON schema of ``likelihood.json``.

    Examples
    --------
    >>> published_schema()["properties"]["format"]
    {'const': 'milinfer-likelihood'}
    """
    text = files("milinfer.likelihood").joinpath("published_schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _require_kinds(title: object, mappings: Mapping[str, object]) -> None:
    """Raise unless the title is a text and the other arguments are dictionaries by name."""
    if not isinstance(title, str):
        msg = (
            f"title={short_repr(title)} is not a text; give one line that describes the measurement"
        )
        raise ConfigurationError(msg)
    for option, given in mappings.items():
        named = isinstance(given, Mapping) and all(isinstance(name, str) for name in given)
        if given is not None and not named:
            msg = f"{option}={short_repr(given)} has no names; give {{name: value}}"
            raise ConfigurationError(msg)
        if option == "units" and isinstance(given, Mapping):
            for name, unit in given.items():
                if not isinstance(unit, str):
                    msg = f"the unit of {name} is {short_repr(unit)}, but must be a text"
                    raise ConfigurationError(msg)


def _start(name: str, value: object, fact: ParameterFacts) -> float:
    """Return the starting value of a parameter, or raise."""
    number = np.nan
    if not isinstance(value, bool | str | bytes):
        with suppress(OverflowError, TypeError, ValueError):
            number = float(value)  # type: ignore[arg-type]
    if not fact.low <= number <= fact.high:
        msg = (
            f"start= of {name} is {short_repr(value)}, but must be a number in "
            f"[{fact.low:g}, {fact.high:g}]"
        )
        raise ParameterError(msg)
    return number


def _or_none(limit: float) -> float | None:
    return limit if np.isfinite(limit) else None


def _joined(name: str, terms: Sequence[Mapping[str, ParameterFacts]]) -> ParameterFacts:
    """Return the properties of a parameter that several terms share."""
    known = [facts[name] for facts in terms if name in facts]
    role = min((fact.role for fact in known), key=_ROLES.index)
    low, high = max(fact.low for fact in known), min(fact.high for fact in known)
    if low > high:
        msg = (
            f"the ranges of {name} in the terms of the cost exclude each other; correct the "
            "limits, or rename one of the parameters"
        )
        raise ParameterError(msg)
    # The starting value of a term with limits is better than that of a constraint.
    best = min(known, key=lambda fact: (_ROLES.index(fact.role), fact.low == -np.inf))
    return ParameterFacts(
        role=role,
        start=float(np.clip(best.start, low, high)),
        low=low,
        high=high,
        fixed=any(fact.fixed for fact in known),
    )


def _points(facts: Sequence[ParameterFacts], n: int) -> FloatArray:
    """Return the starting point, and random points in the range, shape (n, n_parameters)."""
    rng = np.random.default_rng(20)
    columns = []
    for fact in facts:
        reach = _REACH * max(abs(fact.start), 1.0) if not np.isfinite(fact.high - fact.low) else 0.0
        low = fact.low if np.isfinite(fact.low) else min(fact.start, fact.high) - reach
        high = fact.high if np.isfinite(fact.high) else max(fact.start, low) + reach
        column = rng.uniform(low, high, n)
        column[0] = fact.start
        columns.append(np.full(n, fact.start) if fact.fixed else column)
    return np.stack(columns, axis=1)


def _inside(cost: Cost, start: Sequence[float], point: FloatArray) -> tuple[list[float], float]:
    """Return a point, moved towards the start until the cost has a value, and this value."""
    origin = np.array(start, dtype=np.float64)
    for share in 0.5 ** np.arange(_HALVINGS):
        at = (origin + share * (point - origin)).tolist()
        try:
            value = float(cost(*at))
        except MilinferError:  # such as that of a yield below zero
            continue
        if np.isfinite(value):
            return at, value
    at = origin.tolist()
    return at, float(cost(*at))


def _write(target: Path, content: dict[str, Any], arrays: ArrayStore) -> None:
    if arrays.arrays:
        by_name: dict[str, Any] = dict(arrays.arrays)
        np.savez_compressed(target / ARRAYS, **by_name)
        content["files"] = {
            ARRAYS: {
                "sha256": file_hash(target / ARRAYS),
                "bytes": (target / ARRAYS).stat().st_size,
                "arrays": {
                    name: {"shape": [*array.shape], "dtype": array.dtype.name}
                    for name, array in arrays.arrays.items()
                },
            }
        }
    else:
        content["files"] = {}
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        content["checksum"] = canonical_hash(json.loads(text))
    except (TypeError, ValueError) as error:
        msg = f"provenance= or a term cannot be written as JSON: {error}"
        raise ConfigurationError(msg) from error
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (target / JSON).write_text(text + "\n", encoding="utf-8")
    reader = files("milinfer.likelihood").joinpath("published_reader.py").read_text("utf-8")
    (target / READER).write_text(reader, encoding="utf-8")


def _read_again(target: Path) -> Likelihood:
    try:
        return read(target)
    except LikelihoodError as error:
        msg = (
            f"the written files cannot be read: {error}; this is a bug in milinfer: please report "
            "it"
        )
        raise FitError(msg) from error


def _compare(
    likelihood: Likelihood, points: Sequence[tuple[list[float], float]], bound: float
) -> None:
    for point, expected in points:
        found = likelihood(*point)
        allowed = bound + _LARGEST * max(1.0, abs(expected) * 1e-4)
        if not abs(found - expected) <= allowed:
            where = dict(zip(likelihood.parameters, point, strict=True))
            msg = (
                f"the folder would give −2 ln L = {found!r} at {where}, but the cost gives "
                f"{expected!r}; if you use your own class that changes the value of a cost, it "
                "cannot be published; otherwise please report this bug"
            )
            raise FitError(msg)
