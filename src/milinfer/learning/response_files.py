"""Save and load responses as directories with ``model.json`` and arrays, without pickle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from milinfer.exceptions import MilinferError, ModelError
from milinfer.learning.boosted_trees import BoostedSettings, boosted_settings
from milinfer.learning.model_files import (
    complete_content,
    event_numbers,
    histories,
    network_config,
    new_model_folder,
    read_content,
    require_unchanged,
    training_config,
    write_content,
)
from milinfer.learning.networks.configs import NetworkConfig
from milinfer.learning.response_events import BasePoints
from milinfer.learning.response_fit import ResponseFit
from milinfer.learning.response_members import ResponseNetwork, ResponsePart, ResponseTrees
from milinfer.learning.response_scale import ResponseClosure, ResponseScale
from milinfer.likelihood.expected_response import ExpectedResponse
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.responses import MeanAndYield
from milinfer.typing import PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.utils.array_files import read_arrays
from milinfer.utils.files import file_hash
from milinfer.utils.json_fields import (
    flag_field,
    list_field,
    number_field,
    require_number_of_terms,
    seed_field,
    text_field,
    whole_field,
)
from milinfer.utils.polynomials import PolynomialBasis

__all__ = ["load_response", "save_response"]

_FORMAT = "response-1"
_ARRAYS = "arrays.npz"
# Settings that are records, and the functions that read them.
_CONFIGS: Mapping[str, Callable[[Any], Any]] = {
    "network": network_config,
    "training": training_config,
    "trees": boosted_settings,
}


def save_response(settings: Mapping[str, Any], fitted: ResponseFit, path: PathLikeStr) -> None:
    """Save a trained response to a directory; `path` is always complete or absent.

    Parameters
    ----------
    settings
        Settings of the response by name.
    fitted
        Result of the training.
    path
        Directory to write; an existing model is replaced.

    Raises
    ------
    ModelError
        If `path` exists and is not a saved model.
    """
    terms, expected = fitted.terms, fitted.expected
    plain = dict(settings)
    for name in _CONFIGS:
        plain[name] = plain[name] and dataclasses.asdict(plain[name])
    for name in ("degree", "theta_range"):
        if isinstance(plain[name], Mapping):
            plain[name] = dict(plain[name])
    arrays: dict[str, Any] = {
        "terms_exponents": terms.exponents,
        "terms_centre": terms.centre,
        "terms_half": terms.half,
        "base_shifts": fitted.base.shifts,
        "base_design": fitted.base.design,
        "expected_limits": expected.limits,
        "expected_singles": expected.singles,
        "expected_pairs": expected.pairs,
    }
    for name, record in (("scale", fitted.scale), ("closure", fitted.closure)):
        arrays |= {f"{name}_{field}": value for field, value in record._asdict().items()}
    members = []
    for m, member in enumerate(fitted.members):
        parts = []
        for k, part in enumerate(member):
            own = part.predictor.arrays
            arrays |= {f"member_{m}_{k}_{j}": array for j, array in enumerate(own)}
            parts.append({"n_arrays": len(own), "places": part.places.tolist()})
        members.append(parts)
    with new_model_folder(path) as folder:
        np.savez(folder / _ARRAYS, **arrays)
        content = {
            "format": _FORMAT,
            "settings": plain,
            "network": dataclasses.asdict(fitted.network),
            "training": dataclasses.asdict(fitted.training),
            "process": fitted.process,
            "feature_names": fitted.feature_names,
            "nuisances": terms.nuisances,
            "limits": terms.limits,
            "parameters": terms.parameters,
            "interpolation": terms.interpolation,
            "points": [dict(p) for p in fitted.base.points],
            "at_ends": [row._asdict() for row in fitted.at_ends],
            "expected_basis": expected.basis
            and {"parameters": expected.basis.parameters, "degree": expected.basis.degree},
            "members": members,
            "history": fitted.history,
            "n_events": fitted.n_events,
            "trained_on": fitted.trained_on,
            "digest": fitted.digest,
            "weights": {_ARRAYS: file_hash(folder / _ARRAYS)},
            "versions": {p: version(p) for p in ("milinfer", "numpy")},
        }
        write_content(folder, content)


def load_response(path: PathLikeStr) -> tuple[dict[str, Any], ResponseFit]:
    """Load settings and training result that :func:`save_response` has written.

    Raises
    ------
    ModelError
        If a file is missing, was changed or has another format; the message names the file.
    """
    folder = as_path(path)
    content = read_content(folder, _FORMAT, "SystematicResponse")
    with complete_content(folder):
        require_unchanged(folder / _ARRAYS, content["weights"][_ARRAYS])
        try:
            settings = _settings(content["settings"])
            arrays = _Arrays(read_arrays(folder / _ARRAYS, compressed=False))
            fitted = _fitted(settings, content, arrays)
        except MilinferError as error:
            msg = f"{folder} is not a valid response: {error}; train again"
            raise ModelError(msg) from error
        saved = content["digest"]
    if fitted.digest != saved:
        msg = f"{folder} was changed after it was saved; restore it or train again"
        raise ModelError(msg)
    return settings, fitted


class _Arrays:
    """Arrays of a file, each of which is checked when it is used."""

    def __init__(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self._arrays = arrays

    def numbers(self, name: str, shape: tuple[int | None, ...], least: float = -np.inf) -> Any:
        """Return finite numbers of a given shape, in which None means any length."""
        array = self._arrays[name]
        fits = len(shape) == array.ndim and all(
            n in (None, m) for n, m in zip(shape, array.shape, strict=True)
        )
        if not fits:
            msg = f"{name} has shape {array.shape}, not {shape}"
            raise ValueError(msg)
        if array.dtype.kind not in "iuf":
            msg = f"{name} contains {array.dtype}, not numbers"
            raise ValueError(msg)
        if not np.isfinite(array).all() or (array.size and array.min() < least):
            above = "" if least == -np.inf else f" of {least:g} or more"
            msg = f"{name} holds numbers that are not finite{above and ' or not'}{above}"
            raise ValueError(msg)
        return array

    def floats(self, name: str, shape: tuple[int | None, ...], least: float = -np.inf) -> Any:
        """Return finite numbers of a given shape in float64."""
        return self.numbers(name, shape, least).astype(np.float64)

    def __len__(self) -> int:
        return len(self._arrays)

    def of_any_shape(self, name: str) -> Any:
        """Return finite numbers of any shape."""
        return self.numbers(name, (None,) * self._arrays[name].ndim)


def _settings(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a response; the response checks that they are consistent."""
    settings = dict(entries)
    degree = settings["degree"]
    if isinstance(degree, dict):
        settings["degree"] = {n: whole_field(f"degree of {n}", d) for n, d in degree.items()}
    else:
        settings["degree"] = whole_field("degree", degree, least=1)
    pairs = settings["cross_terms"]
    if not isinstance(pairs, bool):
        settings["cross_terms"] = tuple(
            (text_field("cross_terms", a), text_field("cross_terms", b))
            for a, b in list_field("cross_terms", pairs)
        )
    ranges = settings.setdefault("theta_range", None)
    if ranges is not None:
        if not isinstance(ranges, dict):
            msg = f"theta_range is {ranges!r}, but must have a range for each parameter"
            raise ValueError(msg)
        settings["theta_range"] = {n: _range(f"theta_range of {n}", r) for n, r in ranges.items()}
    for name in ("interpolation", "classifier"):
        text_field(name, settings[name])
    for name in ("theta_dependent", "joint"):
        flag_field(name, settings[name])
    for name in ("limit", "validation_fraction"):
        number_field(name, settings[name], least=0.0)
    whole_field("ensemble", settings["ensemble"], least=1)
    seed_field("seed", settings["seed"])
    for name, read in _CONFIGS.items():
        if settings[name] is not None:
            settings[name] = read(settings[name])
    return settings


def _range(name: str, value: Any) -> tuple[float, float]:
    low, high = (number_field(name, x) for x in list_field(name, value))
    return low, high


def _fitted(
    settings: Mapping[str, Any], content: Mapping[str, Any], arrays: _Arrays
) -> ResponseFit:
    terms = _terms(content, arrays)
    limit = float(settings["limit"])
    if {*terms.limits} != {(-limit, limit)}:
        msg = (
            f"limits are {list(terms.limits)}, but must be {(-limit, limit)}, because limit is "
            f"{limit:g} in the settings"
        )
        raise ValueError(msg)
    network, training = network_config(content["network"]), training_config(content["training"])
    features = _texts(content, "feature_names")
    if not features or len({*features}) < len(features):
        msg = "feature_names are empty, or not all different"
        raise ValueError(msg)
    members = _members(settings, content, arrays, network, terms, len(features))
    for name, used in (("network", network), ("training", training)):
        if settings[name] not in (None, used):
            msg = f"{name} is {used}, but the settings contain {settings[name]}"
            raise ValueError(msg)
    # Trees are trained for each base point, networks for all base points together.
    n_histories = sum(
        len(part.predictor.trees) if isinstance(part.predictor, ResponseTrees) else 1
        for member in members
        for part in member
    )
    n = terms.n_columns
    base = _base(content, arrays, terms)
    n_base = base.design.shape[1]
    return ResponseFit(
        process=text_field("process", content["process"]),
        feature_names=features,
        terms=terms,
        members=members,
        scale=ResponseScale(
            factors=arrays.floats("scale_factors", (n,)),
            constants=arrays.floats("scale_constants", (n,)),
            covariance=arrays.floats("scale_covariance", (2 * n, 2 * n)),
        ),
        base=base,
        closure=ResponseClosure(
            means=arrays.floats("closure_means", (n_base,)),
            yields=arrays.floats("closure_yields", (n_base,)),
            errors=arrays.floats("closure_errors", (n_base,), 0.0),
        ),
        at_ends=tuple(_at_end(row) for row in list_field("at_ends", content["at_ends"])),
        expected=_expected(content["expected_basis"], arrays, terms),
        network=network,
        training=training,
        history=histories(content["history"], n_histories),
        n_events=event_numbers(content)[0],
        trained_on=_texts(content, "trained_on"),
    )


def _terms(content: Mapping[str, Any], arrays: _Arrays) -> ResponseTerms:
    nuisances, parameters = _texts(content, "nuisances"), _texts(content, "parameters")
    kind, n = content["interpolation"], len(nuisances)
    exponents = arrays.numbers("terms_exponents", (None, n), 0)
    if exponents.dtype.kind != "i":
        msg = f"terms_exponents contains {exponents.dtype}, not whole numbers"
        raise ValueError(msg)
    if kind not in ("polynomial", "code4") or (kind == "code4" and len(exponents) != 2 * n):
        msg = f"interpolation {kind!r} does not belong to {len(exponents)} terms"
        raise ValueError(msg)
    if not exponents.any(axis=1).all():
        msg = "terms_exponents is empty, or has a term without a nuisance parameter"
        raise ValueError(msg)
    return ResponseTerms(
        nuisances=nuisances,
        exponents=exponents,
        limits=tuple(
            (number_field("limits", low), number_field("limits", high))
            for low, high in content["limits"]
        ),
        parameters=parameters,
        centre=arrays.floats("terms_centre", (len(parameters),)),
        half=arrays.floats("terms_half", (len(parameters),), np.finfo(float).tiny),
        interpolation=kind,
    )


def _base(content: Mapping[str, Any], arrays: _Arrays, terms: ResponseTerms) -> BasePoints:
    points = []
    for point in list_field("points", content["points"]):
        if not isinstance(point, dict) or not {*terms.parameters} <= {*point}:
            msg = f"points has {point!r}, but needs a value for each of {list(terms.parameters)}"
            raise ValueError(msg)
        points.append({name: number_field(f"points: {name}", x) for name, x in point.items()})
    shifts = arrays.floats("base_shifts", (None, len(terms.nuisances)))
    if not points or not len(shifts):
        msg = "points or base_shifts are empty"
        raise ValueError(msg)
    design = arrays.floats("base_design", (terms.n_columns, len(points) * len(shifts)))
    return BasePoints(tuple(points), shifts, design)


def _expected(basis: Any, arrays: _Arrays, terms: ResponseTerms) -> ExpectedResponse:
    n = len(terms.nuisances)
    limits = arrays.floats("expected_limits", (n,))
    upper = [high for _, high in terms.limits]
    if limits.tolist() != upper:
        msg = f"expected_limits are {limits.tolist()}, but must be {upper}, as in limits"
        raise ValueError(msg)
    singles = arrays.floats("expected_singles", (None, n, None, 4, None))
    n_replicas, _, n_cells, _, n_monomials = singles.shape
    if n_replicas < 2 or not n_cells:
        msg = f"expected_singles has shape {singles.shape}, without replicas or cells"
        raise ValueError(msg)
    parameters: tuple[str, ...] = ()
    degree = 0
    if basis is not None:
        parameters = _texts(basis, "parameters")
        degree = whole_field("degree of expected_basis", basis["degree"], least=1)
    require_number_of_terms("expected_singles", len(parameters), degree, n_monomials)
    return ExpectedResponse(
        nuisances=terms.nuisances,
        limits=limits,
        basis=None if basis is None else PolynomialBasis(parameters, degree),
        singles=singles,
        pairs=arrays.floats("expected_pairs", (n_replicas, n_monomials, 2 * n, 2 * n)),
    )


def _members(
    settings: Mapping[str, Any],
    content: Mapping[str, Any],
    arrays: _Arrays,
    network: NetworkConfig,
    terms: ResponseTerms,
    n_features: int,
) -> tuple[tuple[ResponsePart, ...], ...]:
    """Return the networks or trees of each member, which compute every column once."""
    members = []
    for m, entries in enumerate(list_field("members", content["members"])):
        member = []
        for k, entry in enumerate(list_field("members", entries)):
            n_arrays = whole_field("n_arrays", entry["n_arrays"], least=3)
            names = [f"member_{m}_{k}_{j}" for j in range(min(n_arrays, len(arrays)))]
            places = [whole_field("places", p) for p in list_field("places", entry["places"])]
            predictor: ResponseNetwork | ResponseTrees
            if settings["classifier"] == "trees":
                predictor = _trees(settings, arrays, names, len(places))
            else:
                own = [
                    arrays.numbers(names[0], (n_features,)),
                    arrays.numbers(names[1], (n_features,), 0.0),
                    arrays.numbers(names[2], (len(places),)),
                    *map(arrays.of_any_shape, names[3:]),
                ]
                predictor = ResponseNetwork.of_arrays(network, own)
            predictor.prepare()
            member.append(ResponsePart(predictor, np.array(places, dtype=np.int64)))
        columns = sorted(p for part in member for p in part.places.tolist())
        if columns != list(range(terms.n_columns)):
            msg = (
                f"the parts of member {m} give the columns {columns}, but must give each of the "
                f"{terms.n_columns} columns once"
            )
            raise ValueError(msg)
        members.append(tuple(member))
    if len(members) != settings["ensemble"]:
        msg = f"there are {len(members)} members, but ensemble is {settings['ensemble']}"
        raise ValueError(msg)
    return tuple(members)


def _trees(
    settings: Mapping[str, Any], arrays: _Arrays, names: Sequence[str], n_columns: int
) -> ResponseTrees:
    n_jobs = (settings["trees"] or BoostedSettings()).n_jobs
    log_yields = arrays.floats(names[0], (len(names) - 2,))
    inverse = arrays.floats(names[1], (len(names) - 2, n_columns))
    trees = tuple(arrays.numbers(name, (None,)) for name in names[2:])
    if any(tree.dtype != np.uint8 or not tree.size for tree in trees):
        msg = f"{names[2]}, or an array of trees after it, is empty or does not contain bytes"
        raise ValueError(msg)
    return ResponseTrees(log_yields, inverse, trees, n_jobs)


def _at_end(row: Mapping[str, Any]) -> MeanAndYield:
    point, nuisances = (
        {str(k): number_field(f"{name} of at_ends", x) for k, x in row[name].items()}
        for name in ("point", "nuisances")
    )
    mean, ratio, error = (number_field(name, row[name]) for name in ("mean", "ratio", "error"))
    return MeanAndYield(point, nuisances, mean, ratio, error)


def _texts(content: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(text_field(name, text) for text in list_field(name, content[name]))
