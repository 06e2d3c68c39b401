"""Write constraints in the formats of HEPData, SMEFiT and POPxf.

A constraint describes −2 ln L near the best fit in two ways: by a covariance matrix, and by a
polynomial in the parameters.

* HEPData: ``submission.yaml``, and one table each for best fit, covariance, correlation and
  coefficients of the polynomial.
* SMEFiT: a dataset whose observables are the parameters themselves (``NAME.yaml`` for the data and
  ``NAME.json`` for the theory), and an external χ² for the polynomial (``NAME_chi2.py``).
* POPxf, the polynomial observable prediction exchange format: −2 ln L as one observable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import yaml

from milinfer.exceptions import ConfigurationError
from milinfer.likelihood.smefit_template import EXTERNAL_CHI2
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.files import atomic_folder, write_whole
from milinfer.utils.polynomials import PolynomialBasis

__all__ = ["Described", "write_hepdata", "write_popxf", "write_smefit"]

_POPXF = "https://json.schemastore.org/popxf-1.0.json"
_POPXF_DEGREE = 5


class Described(Protocol):
    """Attributes of a :class:`~milinfer.likelihood.constraints.Constraint` that are written."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""

    @property
    def profiled(self) -> tuple[str, ...]:
        """Names of the nuisance parameters."""

    @property
    def best(self) -> FloatArray:
        """Best-fit values of the parameters."""

    @property
    def covariance(self) -> FloatArray:
        """Covariance matrix of the parameters."""

    @property
    def correlation(self) -> FloatArray:
        """Correlation matrix of the parameters."""

    @property
    def errors(self) -> FloatArray:
        """Standard errors of the parameters (square roots of their variances)."""

    @property
    def degree(self) -> int:
        """Degree of the polynomial."""

    @property
    def basis(self) -> PolynomialBasis:
        """Monomials of the polynomial."""

    @property
    def coefficients(self) -> FloatArray:
        """Coefficients of the monomials in (θ − best)/σ."""

    def raw_coefficients(self) -> FloatArray:
        """Return the coefficients of the monomials in θ."""

    @property
    def cl(self) -> float:
        """Confidence level of the region in which the polynomial is valid."""

    @property
    def threshold(self) -> float:
        """Value of −2 ln L at the edge of the confidence region."""

    @property
    def error(self) -> float:
        """Largest error of the polynomial in the confidence region."""

    @property
    def gaussian_error(self) -> float:
        """Largest error of the parabola (covariance matrix) in the confidence region."""


def write_hepdata(constraint: Described, folder: PathLikeStr, title: str) -> None:
    """Write a submission for HEPData.

    Parameters
    ----------
    constraint
        Constraint to write.
    folder
        Folder to write; an existing folder is replaced.
    title
        Beginning of the names of the tables.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.likelihood.constraints import constraint
    >>> measured = constraint(NormalConstraint(["c1", "c2"], [0.1, 0.2], [0.2, 0.1]))
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     write_hepdata(measured, pathlib.Path(parent, "hepdata"), "VBF")
    ...     sorted(path.name for path in pathlib.Path(parent, "hepdata").iterdir())
    ['best_fit.yaml', 'correlation.yaml', 'covariance.yaml', 'polynomial.yaml', 'submission.yaml']
    """
    names, exponents = constraint.parameters, constraint.basis.exponents
    region = (
        f"It is valid where −2 ln L is at most {constraint.threshold:.6g} "
        f"({100 * constraint.cl:.2f} % CL in {len(names)} parameters) to "
    )
    profiled = f" Profiled: {', '.join(constraint.profiled)}." if constraint.profiled else ""
    pairs = [(a, b) for a in names for b in names]
    rows = {"parameter 1": [a for a, _ in pairs], "parameter 2": [b for _, b in pairs]}
    columns = {f"power of {name}": exponents[:, k].tolist() for k, name in enumerate(names)}
    errors = constraint.errors.tolist()
    parabola = (
        "Covariance matrix of the best fit. The parabola from it differs from −2 ln L by up to "
        f"{constraint.gaussian_error:.2g} inside the {100 * constraint.cl:.2f} % region."
    )
    polynomial = (
        "Coefficients of −2 ln L(θ) + 2 ln L(best fit), a polynomial in "
        f"(θ − best fit)/(standard error). {region}{constraint.error:.2g}."
    )
    tables: dict[str, tuple[str, dict[str, list[Any]], str, list[dict[str, Any]]]] = {
        "best_fit": (
            f"Best fit, with standard errors from the second derivatives of −2 ln L.{profiled}",
            {"parameter": list(names)},
            "best fit",
            [
                {"value": value, "errors": [{"symerror": error, "label": "total"}]}
                for value, error in zip(constraint.best.tolist(), errors, strict=True)
            ],
        ),
        "covariance": (
            parabola,
            rows,
            "covariance",
            [{"value": value} for value in constraint.covariance.ravel().tolist()],
        ),
        "correlation": (
            "Correlation matrix of the best fit.",
            rows,
            "correlation",
            [{"value": value} for value in constraint.correlation.ravel().tolist()],
        ),
        "polynomial": (
            polynomial,
            columns,
            "coefficient",
            [{"value": value} for value in constraint.coefficients.tolist()],
        ),
    }
    documents: list[dict[str, Any]] = [{"comment": f"{title}: {', '.join(names)}.{profiled}"}]
    with atomic_folder(folder) as temporary:
        for name, (description, independent, dependent, values) in tables.items():
            table = {
                "independent_variables": [
                    {"header": {"name": column}, "values": [{"value": x} for x in entries]}
                    for column, entries in independent.items()
                ],
                "dependent_variables": [{"header": {"name": dependent}, "values": values}],
            }
            (temporary / f"{name}.yaml").write_text(_yaml(table), encoding="utf-8")
            documents.append(
                {
                    "name": f"{title}: {name.replace('_', ' ')}",
                    "description": description,
                    "keywords": [{"name": "phrases", "values": ["Effective Field Theory"]}],
                    "data_file": f"{name}.yaml",
                }
            )
        text = "---\n" + "---\n".join(_yaml(document) for document in documents)
        (temporary / "submission.yaml").write_text(text, encoding="utf-8")


def write_smefit(constraint: Described, folder: PathLikeStr, name: str) -> None:
    """Write a dataset and an external χ² for SMEFiT.

    Use only one of the two in a fit: the dataset contains the parabola given by the covariance
    matrix, and the external χ² contains the polynomial.

    Parameters
    ----------
    constraint
        Constraint to write.  Its parameters must have the names and units of SMEFiT
        (:meth:`~milinfer.likelihood.constraints.Constraint.renamed`).
    folder
        Folder to write; an existing folder is replaced.
    name
        Name of the dataset.

    Raises
    ------
    ConfigurationError
        If `name` is not allowed as the name of a Python module.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.likelihood.constraints import constraint
    >>> measured = constraint(NormalConstraint(["OW", "OB"], [0.1, 0.2], [0.2, 0.1]))
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     write_smefit(measured, pathlib.Path(parent, "smefit"), "VBF")
    ...     sorted(path.name for path in pathlib.Path(parent, "smefit").iterdir())
    ['VBF.json', 'VBF.yaml', 'VBF_chi2.py', 'VBF_polynomial.json', 'runcard.yaml']
    """
    if not name.isidentifier():
        msg = f"{name!r} cannot be the name of a Python module; use letters, digits and _"
        raise ConfigurationError(msg)
    n = len(constraint.parameters)
    # A dataset of one point has numbers instead of lists.  With several points, each column of the
    # root of the covariance matrix is a correlated systematic uncertainty.
    root = np.linalg.cholesky(constraint.covariance)
    data = {
        "dataset_name": name,
        "description": f"Measurement of {', '.join(constraint.parameters)}",
        "num_data": n,
        "num_sys": 0 if n == 1 else n,
        "data_central": _one_or_all(constraint.best.tolist()),
        "statistical_error": constraint.errors.tolist()[0] if n == 1 else [0.0] * n,
        "systematics": [] if n == 1 else root.T.tolist(),
        "sys_names": "UNCORR" if n == 1 else [f"{name}_{k}" for k in range(n)],
        "sys_type": "ADD" if n == 1 else ["ADD"] * n,
    }
    zeros = [0.0] * n
    linear = dict(zip(constraint.parameters, np.eye(n).tolist(), strict=True))
    theory = {
        "best_sm": zeros,
        "theory_cov": np.zeros((n, n)).tolist(),
        **{order: {"SM": zeros, **linear} for order in ("LO", "NLO")},
    }
    polynomial = {
        "parameters": list(constraint.parameters),
        "best": constraint.best.tolist(),
        "errors": constraint.errors.tolist(),
        "exponents": constraint.basis.exponents.tolist(),
        "coefficients": constraint.coefficients.tolist(),
        "threshold": constraint.threshold,
        "error": constraint.error,
    }
    runcard = (
        "# Of a runcard of SMEFiT.  Take the dataset (the parabola of the covariance matrix) or the"
        "\n# external chi2 (the polynomial), never both.\n"
        + _yaml({"datasets": [{"name": name, "order": "LO"}]})
        + _yaml({"external_chi2": {"MilinferChi2": {"path": f"{name}_chi2.py"}}})
    )
    with atomic_folder(folder) as temporary:
        for file, text in {
            f"{name}.yaml": _yaml(data),
            f"{name}.json": json.dumps(theory, indent=1) + "\n",
            f"{name}_polynomial.json": json.dumps(polynomial, indent=1) + "\n",
            f"{name}_chi2.py": EXTERNAL_CHI2.replace("NAME", name),
            "runcard.yaml": runcard,
        }.items():
            (temporary / file).write_text(text, encoding="utf-8")


def write_popxf(
    constraint: Described, path: PathLikeStr, scale: float, basis: Mapping[str, Any]
) -> None:
    """Write a POPxf file (version 1.0) with −2 ln L(θ) + 2 ln L(best fit) as the only observable.

    Parameters
    ----------
    constraint
        Constraint to write.
    path
        File to write.
    scale
        Renormalisation scale of the parameters in GeV.
    basis
        Operator basis: ``{"wcxf": {"eft": …, "basis": …}}`` or ``{"custom": …}``.

    Raises
    ------
    ConfigurationError
        If the degree is above 5, or `scale` or `basis` is not valid.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.likelihood.constraints import constraint
    >>> measured = constraint(NormalConstraint("phiW", 1.0, 0.5), degree=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_popxf(measured, pathlib.Path(folder, "a.json"), 91.2, {"custom": "HISZ"})
    ...     record = json.loads(pathlib.Path(folder, "a.json").read_text())
    >>> {key: [round(x, 6) for x in o] for key, o in record["data"]["observable_central"].items()}
    {"('', '')": [4.0], "('', 'phiW')": [-8.0], "('phiW', 'phiW')": [4.0]}
    """
    degree = constraint.degree
    if degree > _POPXF_DEGREE:
        msg = (
            f"POPxf allows polynomials up to degree {_POPXF_DEGREE}, but this one has degree "
            f"{degree}; use constraint(…, degree={_POPXF_DEGREE})"
        )
        raise ConfigurationError(msg)
    if not (np.isfinite(scale) and scale > 0):
        msg = f"scale = {scale}; give the renormalisation scale of the parameters in GeV"
        raise ConfigurationError(msg)
    if not set(basis) & {"wcxf", "custom"} or not set(basis) <= {"wcxf", "custom"}:
        msg = f'basis = {dict(basis)}; give {{"wcxf": {{"eft": …, "basis": …}}}} or {{"custom": …}}'
        raise ConfigurationError(msg)
    central = {}
    for exponents, value in zip(
        constraint.basis.exponents.tolist(), constraint.raw_coefficients().tolist(), strict=True
    ):
        factors = [
            name
            for name, power in zip(constraint.parameters, exponents, strict=True)
            for _ in range(power)
        ]
        # Sorted; a lower degree has empty names, which come first.
        central[str(tuple([""] * (degree - len(factors)) + sorted(factors)))] = [value]
    record = {
        "$schema": _POPXF,
        "metadata": {
            "observable_names": ["-2 ln L + 2 ln L(best fit)"],
            "parameters": sorted(constraint.parameters),
            "basis": dict(basis),
            "scale": float(scale),
            "polynomial_degree": degree,
            "misc": {
                "best_fit": dict(zip(constraint.parameters, constraint.best.tolist(), strict=True)),
                "valid_where_at_most": constraint.threshold,
                "confidence_level": constraint.cl,
                "largest_error": constraint.error,
                "profiled": list(constraint.profiled),
            },
        },
        "data": {"observable_central": central},
    }
    write_whole(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _one_or_all(values: Sequence[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else list(values)


def _yaml(record: object) -> str:
    """YAML of plain Python objects; floats as YAML 1.1 reads them, with a decimal point."""
    text: str = yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=100)
    return text
