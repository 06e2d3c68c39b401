"""Directories of saved responses: ``model.json`` and arrays, never a pickle."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from milinfer.exceptions import MilinferError, ModelError
from milinfer.learning.boosted_trees import BoostedSettings
from milinfer.learning.model_files import (
    complete_content,
    new_model_folder,
    read_content,
    require_unchanged,
    write_content,
)
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.learning.response_events import BasePoints
from milinfer.learning.response_fit import ResponseFit
from milinfer.learning.response_members import ResponseNetwork, ResponsePart, ResponseTrees
from milinfer.learning.response_scale import ResponseClosure, ResponseScale
from milinfer.likelihood.expected_response import ExpectedResponse
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.typing import PathLikeStr
from milinfer.utils.files import file_hash
from milinfer.utils.json_fields import number_field, text_field, whole_field
from milinfer.utils.polynomials import PolynomialBasis

__all__ = ["load_response", "save_response"]

_FORMAT = "response-1"
_ARRAYS = "arrays.npz"
_CONFIGS = {"network": NetworkConfig, "training": TrainingConfig, "trees": BoostedSettings}


def save_response(settings: Mapping[str, Any], fitted: ResponseFit, path: PathLikeStr) -> None:
    """Save a trained response to a directory, which is complete or absent.

    Parameters
    ----------
    settings
        Settings of the response by name.
    fitted
        Result of the training.
    path
        Directory; replaced if it is a model already.

    Raises
    ------
    ModelError
        If `path` is something else than a model.
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
    """Load settings and result that :func:`save_response` has written.

    Raises
    ------
    ModelError
        If something is missing, was changed or is of another format; the message names it.
    """
    folder = Path(path)
    content = read_content(folder, _FORMAT, "SystematicResponse")
    with complete_content(folder):
        require_unchanged(folder / _ARRAYS, content["weights"][_ARRAYS])
        with np.load(folder / _ARRAYS, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        settings = dict(content["settings"])
        for name, cls in _CONFIGS.items():
            settings[name] = settings[name] and cls(**_with_tuples(settings[name]))
        if isinstance(settings["cross_terms"], list):
            settings["cross_terms"] = tuple((a, b) for a, b in settings["cross_terms"])
        if settings.get("theta_range") is not None:
            settings["theta_range"] = _with_tuples(settings["theta_range"])
        try:
            fitted = _fitted(settings, content, arrays)
        except MilinferError as error:
            msg = f"{folder} is not as a response is written: {error}; train again"
            raise ModelError(msg) from error
        saved = content["digest"]
    if fitted.digest != saved:
        msg = f"{folder} differs from what was saved; restore it or train again"
        raise ModelError(msg)
    return settings, fitted


def _fitted(
    settings: Mapping[str, Any], content: Mapping[str, Any], arrays: Mapping[str, Any]
) -> ResponseFit:
    terms = ResponseTerms(
        nuisances=_texts(content, "nuisances"),
        exponents=arrays["terms_exponents"],
        limits=tuple(
            (number_field("limits", low), number_field("limits", high))
            for low, high in content["limits"]
        ),
        parameters=_texts(content, "parameters"),
        centre=arrays["terms_centre"],
        half=arrays["terms_half"],
        interpolation=content["interpolation"],
    )
    basis = content["expected_basis"]
    expected = ExpectedResponse(
        nuisances=terms.nuisances,
        limits=arrays["expected_limits"],
        basis=basis and PolynomialBasis(_texts(basis, "parameters"), basis["degree"]),
        singles=arrays["expected_singles"],
        pairs=arrays["expected_pairs"],
    )
    network = NetworkConfig(**_with_tuples(content["network"]))
    members = []
    for m, member in enumerate(content["members"]):
        parts = []
        for k, part in enumerate(member):
            own = [
                arrays[f"member_{m}_{k}_{j}"]
                for j in range(whole_field("n_arrays", part["n_arrays"]))
            ]
            predictor: ResponseNetwork | ResponseTrees
            if settings["classifier"] == "trees":
                n_jobs = (settings["trees"] or BoostedSettings()).n_jobs
                predictor = ResponseTrees(own[0], own[1], tuple(own[2:]), n_jobs)
            else:
                predictor = ResponseNetwork.of_arrays(network, own)
            parts.append(ResponsePart(predictor, np.array(part["places"], dtype=np.int64)))
        members.append(tuple(parts))
    return ResponseFit(
        process=text_field("process", content["process"]),
        feature_names=_texts(content, "feature_names"),
        terms=terms,
        members=tuple(members),
        scale=ResponseScale(**{name: arrays[f"scale_{name}"] for name in ResponseScale._fields}),
        base=BasePoints(tuple(content["points"]), arrays["base_shifts"], arrays["base_design"]),
        closure=ResponseClosure(
            **{name: arrays[f"closure_{name}"] for name in ResponseClosure._fields}
        ),
        expected=expected,
        network=network,
        training=TrainingConfig(**content["training"]),
        history=content["history"],
        n_events={k: whole_field(f"n_events of {k}", n) for k, n in content["n_events"].items()},
        trained_on=_texts(content, "trained_on"),
    )


def _texts(content: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(text_field(name, text) for text in content[name])


def _with_tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the tuples that JSON turns into lists."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
