r"""Convert a published likelihood to an HS3 document, for programs that read this standard.

HS3 (version 0.2.9) cannot express a density that is known only at the events of a dataset.  It can
express mixtures :math:`\sum_k C_k(\theta) f_k(x)` of normalised densities :math:`f_k`, and weighted
data.  In a published likelihood, the density at event i is :math:`\sum_k c_k(\theta) a_{ik}`, where
:math:`a_{ik}` are stored numbers, with one row for each event.  The columns of these numbers become
the observables of the document.  Column k, with the smallest value :math:`m_k` and the range
:math:`r_k`, is scaled to :math:`b_{ik}` between 0 and 1.  The density :math:`2 b_k` is normalised
on the unit interval, and

.. math:: \sum_k c_k a_{ik} = \sum_k \tfrac12 c_k r_k \, (2 b_{ik}) + \sum_k c_k m_k \cdot 1

is a mixture of these densities and the constant density 1.  HS3 requires that the coefficients of a
mixture add up to one.  An additional coefficient ensures this.  Its density is :math:`2z`, with an
observable z that is zero at every event.  Therefore the mixture is proportional to the published
density only at the events of the dataset.  It can be evaluated there, but no data can be drawn from
it.

Terms of −2 ln L that are the same for all events, such as −N times the logarithm of a total, are
written as data with one entry of weight −N.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from milinfer.exceptions import ConfigurationError
from milinfer.likelihood.published_cost import load_published
from milinfer.typing import FloatArray, IntArray, PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.utils.files import write_whole
from milinfer.version import __version__

__all__ = ["write_hs3"]

HS3_VERSION = "0.2.9"
_JSON = "likelihood.json"
_LIKELIHOOD, _DOMAIN, _START = "likelihood", "limits", "start"


def write_hs3(published: PathLikeStr, path: PathLikeStr) -> None:
    """Convert a published likelihood to an HS3 document.

    ``log_prob`` of the likelihood in the document is ln L up to a constant.  The document contains
    the coefficients of the events, but no model that can generate toys.

    Parameters
    ----------
    published
        Folder that :func:`milinfer.publish` has written.
    path
        File to write, with the ending ``.json``.

    Raises
    ------
    ModelError
        If `published` is not a published likelihood.
    ConfigurationError
        If HS3 cannot express a term; the message names the term and the reason.

    Examples
    --------
    >>> import tempfile
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.oracle import Oracle
    >>> from milinfer.likelihood.publishing import publish
    >>> data = quadratic.generate(50, {"c1": 0.2}, seed=1).as_data()
    >>> cost = Oracle.from_sample(data, "c1", np.linspace(-1, 1, 21), degree=2).cost(data)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_hs3(publish(cost, f"{folder}/published"), f"{folder}/hs3.json")
    ...     content = json.loads(Path(folder, "hs3.json").read_text())
    >>> len(content["data"][0]["entries"]), content["likelihoods"][0]["distributions"]
    (50, ['term0', 'term0_subtracted'])
    """
    folder = as_path(published)
    likelihood = load_published(folder).likelihood
    content = likelihood.content
    arrays = _arrays(Path(folder), content)
    made = _Document(tuple(likelihood.parameters))
    for k, term in enumerate(content["terms"]):
        _TERMS.get(term["kind"], _refused)(term, f"term{k}", arrays, made)
    record = {
        "metadata": {
            "hs3_version": HS3_VERSION,
            "packages": [{"name": "milinfer", "version": __version__}],
            "description": f"{content['title']}. Values at the observed events alone: data cannot "
            "be drawn from it.",
        },
        "distributions": made.distributions,
        "functions": made.functions,
        "data": made.data,
        "likelihoods": [
            {
                "name": _LIKELIHOOD,
                "distributions": [datum["name"].removesuffix("_data") for datum in made.data],
                "data": [datum["name"] for datum in made.data],
                "aux_distributions": made.auxiliary,
            }
        ],
        "domains": [
            {
                "name": _DOMAIN,
                "type": "product_domain",
                "axes": [
                    {"name": name, **_bounds(*likelihood.limits[name])}
                    for name in likelihood.parameters
                ],
            }
        ],
        "parameter_points": [
            {
                "name": _START,
                "parameters": [
                    {"name": name, "value": value, "const": name in likelihood.fixed}
                    for name, value in likelihood.start.items()
                ]
                + [
                    {"name": name, "value": value, "const": True}
                    for value, name in made.constants.items()
                ],
            }
        ],
        "analyses": [
            {
                "name": "analysis",
                "likelihood": _LIKELIHOOD,
                "parameters_of_interest": [
                    name for name, role in likelihood.roles.items() if role == "interest"
                ],
                "domains": [_DOMAIN],
                "init": _START,
            }
        ],
    }
    write_whole(path, json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def _bounds(low: float, high: float) -> dict[str, float]:
    """Return the bounds of an axis, which must be finite in HS3."""
    return {key: x for key, x in (("min", low), ("max", high)) if np.isfinite(x)}


def _arrays(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return all arrays of a published likelihood, which the reader has checked."""
    arrays: dict[str, Any] = {}
    for name in content["files"]:
        with np.load(folder / name, allow_pickle=False) as stored:
            arrays |= {key: stored[key] for key in stored.files}
    return arrays


@dataclass
class _Document:
    """Lists of an HS3 document."""

    parameters: tuple[str, ...]
    distributions: list[dict[str, Any]] = field(default_factory=list)
    functions: list[dict[str, Any]] = field(default_factory=list)
    data: list[dict[str, Any]] = field(default_factory=list)
    auxiliary: list[str] = field(default_factory=list)
    constants: dict[float, str] = field(default_factory=dict)

    def constant(self, value: float) -> str:
        """Add a number, and return its name."""
        return self.constants.setdefault(float(value), f"number{len(self.constants)}")

    def product(self, factors: Sequence[str | float]) -> str:
        """Add a product, and return its name."""
        names = [f if isinstance(f, str) else self.constant(f) for f in factors]
        return names[0] if len(names) == 1 else self._function("product", "factors", names)

    def total(self, summands: Sequence[str]) -> str:
        """Add a sum, and return its name."""
        return summands[0] if len(summands) == 1 else self._function("sum", "summands", summands)

    def _function(self, kind: str, key: str, names: Sequence[str]) -> str:
        name = f"{kind}{len(self.functions)}"
        self.functions.append({"name": name, "type": kind, key: [*names]})
        return name

    def monomials(
        self, names: Sequence[str], exponents: IntArray, centre: FloatArray, half: FloatArray
    ) -> list[str]:
        """Add the monomials in (θ − centre)/half, and return their names."""
        scaled = [
            self.product([name if c == 0 else self.total([name, self.constant(-c)]), 1 / h])
            if h != 1
            else (name if c == 0 else self.total([name, self.constant(-c)]))
            for name, c, h in zip(names, centre.tolist(), half.tolist(), strict=True)
        ]
        return [
            self.product(
                [u for u, power in zip(scaled, row, strict=True) for _ in range(power)] or [1.0]
            )
            for row in exponents.tolist()
        ]

    def polynomial(self, names: Sequence[str], content: dict[str, str], arrays: Any) -> str:
        """Add a polynomial in the parameters, and return its name."""
        n = len(names)
        monomials = self.monomials(names, arrays[content["exponents"]], np.zeros(n), np.ones(n))
        coefficients = arrays[content["coefficients"]].tolist()
        return self.total(
            [self.product([m, c]) for m, c in zip(monomials, coefficients, strict=True)]
        )

    def rows(
        self,
        name: str,
        weights: FloatArray,
        columns: FloatArray,
        factors: Sequence[str],
        values: FloatArray,
    ) -> None:
        """Add Σ_i weight_i ln Σ_k factor_k column_ik to ln L.

        Parameters
        ----------
        name
            Name of the distribution.
        weights, columns
            Weights (n_rows,) and columns (n_rows, n_columns).
        factors
            Names of functions of the parameters, one for each column.
        values
            Values of these functions at some point.  Rows are scaled to a sum of one at this point,
            which changes ln L by a constant.
        """
        columns = columns / (columns @ values)[:, None]
        # An implementation may refuse weights that sum to zero, as for events minus a total.
        for sign, label in ((1, name), (-1, f"{name}_subtracted")):
            chosen = np.sign(weights) == sign
            if chosen.any():
                self._mixture(label, weights[chosen], columns[chosen], factors)

    def _mixture(
        self, name: str, weights: FloatArray, columns: FloatArray, factors: Sequence[str]
    ) -> None:
        low = columns.min(axis=0)
        widths = columns.max(axis=0) - low
        varying = np.flatnonzero(widths > 0)
        zero = f"{name}_zero"
        axes = [f"{name}_x{k}" for k in varying]
        summands, coefficients = [], []
        for k, axis in zip(varying.tolist(), axes, strict=True):
            density = f"{name}_density{k}"
            self.distributions.append(
                {"name": density, "type": "generic_dist", "expression": f"2*{axis}"}
            )
            summands.append(density)
            coefficients.append(self.product([factors[k], float(widths[k]) / 2]))
        self.distributions += [
            {"name": f"{name}_flat", "type": "uniform_dist", "x": [zero]},
            {"name": f"{name}_rest", "type": "generic_dist", "expression": f"2*{zero}"},
        ]
        flat = [self.product([f, m]) for f, m in zip(factors, low.tolist(), strict=True) if m != 0]
        coefficients.append(self.total(flat or [self.constant(0.0)]))
        self.distributions.append(
            {
                "name": name,
                "type": "mixture_dist",
                "summands": [*summands, f"{name}_flat", f"{name}_rest"],
                "coefficients": coefficients,
                "extended": False,
            }
        )
        scaled = (columns[:, varying] - low[varying]) / widths[varying]
        self.data.append(
            {
                "name": f"{name}_data",
                "type": "unbinned",
                "entries": np.column_stack([scaled, np.zeros(len(scaled))]).tolist(),
                "axes": [{"name": axis, "min": 0.0, "max": 1.0} for axis in (*axes, zero)],
                "weights": weights.tolist(),
            }
        )

    def poisson(self, name: str, count: float, mean: str) -> None:
        """Add ln Poisson(count | mean)."""
        self.distributions.append(
            {"name": name, "type": "poisson_dist", "x": self.constant(count), "mean": mean}
        )
        self.auxiliary.append(name)


def _refuse(what: str, reason: str) -> NoReturn:
    msg = (
        f"{what} has no form in HS3 {HS3_VERSION}: {reason}; give the published folder itself, "
        "which Python reads, or mil.constraint"
    )
    raise ConfigurationError(msg)


def _refused(term: dict[str, Any], name: str, _arrays: Any, _made: _Document) -> None:
    reason = "it is a workspace already, which pyhf or ROOT can convert to HS3"
    _refuse(f"{name}, of the kind {term['kind']!r},", reason)


def _log_polynomials(
    shape: dict[str, Any], names: Sequence[str], arrays: Any, made: _Document
) -> tuple[FloatArray, list[str], FloatArray]:
    """Return the coefficients of all rows, names of monomials, and their reference values."""
    exponents = arrays[shape["exponents"]]
    centre, half = np.array(shape["centre"]), np.array(shape["half"])
    u = (np.array(shape["reference"]) - centre) / half
    values = np.prod(u ** exponents.astype(np.float64), axis=1)
    return (
        arrays[shape["coefficients"]].astype(np.float64),
        made.monomials(names, exponents, centre, half),
        values,
    )


def _surface(term: dict[str, Any], name: str, arrays: Any, made: _Document) -> None:
    shape, names = term["shape"], term["parameters"]
    if term["calibration"] is not None:
        reason = "it scales ln L by a function of the parameters, and moves them"
        _refuse(f"the calibration of {name}", reason)
    if shape["kind"] != "log_polynomials":
        reason = f"the ratios of its events are not polynomials ({shape['kind']})"
        _refuse(name, reason)
    rows, monomials, values = _log_polynomials(shape, names, arrays, made)
    made.rows(name, arrays[shape["weights"]].astype(np.float64), rows, monomials, values)
    if term["rate"] is not None:
        mean = made.polynomial(names, term["rate"], arrays)
        made.poisson(f"{name}_yield", term["n_events"], mean)


def _mixture(term: dict[str, Any], name: str, arrays: Any, made: _Document) -> None:
    names, signal, processes = term["interest"], term["signal"], term["processes"]
    if term["nuisances"]:
        reason = (
            "the responses of events to nuisance parameters are no mixture of fixed densities, and "
            "interpolated factors of yields are not in the standard"
        )
        _refuse(f"{name}, with {', '.join(term['nuisances'])},", reason)
    if signal["kind"] != "polynomials":
        reason = f"the ratios of its events are not polynomials ({signal['kind']})"
        _refuse(name, reason)
    weights = arrays[term["weights"]].astype(np.float64)
    rows, monomials, values = _log_polynomials(signal, names, arrays, made)
    if len(rows) != len(weights) + 1:
        reason = "its signal is an ensemble, whose logarithms of densities are averaged"
        _refuse(name, reason)
    events, total = rows[:-1], rows[-1]
    # Relative to the total of the signal, so both are one at the reference.
    events = events / (events @ values)[:, None]
    total = total / (total @ values)
    whole = made.total([made.product([m, c]) for m, c in zip(monomials, total, strict=True)])
    rate = made.polynomial(names, processes[0]["expected"], arrays)
    columns = [events * np.exp(-arrays[term["log_reference"]])[:, None]]
    factors = [made.product([rate, m]) for m in monomials]
    yields = [rate]
    at_reference = [*(values * _value(processes[0]["expected"], term["reference"], arrays))]
    for process in processes[1:]:
        columns.append(np.exp(arrays[process["log_ratio"]])[:, None])
        factors.append(made.product([process["norm"], whole]))
        yields.append(made.product([process["norm"], process["expected"]]))
        at_reference.append(1.0)
    made.rows(name, weights, np.concatenate(columns, axis=1), factors, np.array(at_reference))
    # ln L contains −N ln of the total of the signal, and of all expected events.
    n, one, expected = term["n_events"], np.ones(1), made.total(yields)
    made.rows(f"{name}_total", -n * one, one[:, None], [whole], one)
    made.rows(f"{name}_expected", -n * one, one[:, None], [expected], one)
    if term["extended"]:
        luminosity = term["luminosity"]
        mean = expected if luminosity is None else made.product([luminosity, expected])
        made.poisson(f"{name}_yield", n, mean)


def _value(content: dict[str, str], theta: Sequence[float], arrays: Any) -> float:
    """Return the value of a polynomial at a point."""
    monomials = np.prod(np.array(theta) ** arrays[content["exponents"]].astype(float), axis=1)
    return float(monomials @ arrays[content["coefficients"]])


def _histogram(term: dict[str, Any], name: str, arrays: Any, made: _Document) -> None:
    if not term["rate"]:
        _refuse(name, "it has the shape of the histogram alone, without its total")
    if term["relative_errors"] is not None and any(term["relative_errors"]):
        reason = "the errors of the simulation are profiled in it; publish it with mc_stat=False"
        _refuse(name, reason)
    n = len(term["parameters"])
    monomials = made.monomials(
        term["parameters"], arrays[term["exponents"]], np.zeros(n), np.ones(n)
    )
    for k, (count, column) in enumerate(
        zip(term["counts"], arrays[term["coefficients"]].T.tolist(), strict=True)
    ):
        mean = made.total([made.product([m, c]) for m, c in zip(monomials, column, strict=True)])
        made.poisson(f"{name}_bin{k}", count, mean)


def _normal(term: dict[str, Any], name: str, _arrays: Any, made: _Document) -> None:
    covariance = np.array(term["covariance"])
    if np.count_nonzero(covariance - np.diag(np.diag(covariance))):
        _refuse(name, "its measurements are correlated")
    for k, (parameter, measured) in enumerate(
        zip(term["parameters"], term["measured"], strict=True)
    ):
        made.distributions.append(
            {
                "name": f"{name}_{k}",
                "type": "gaussian_dist",
                "x": parameter,
                "mean": float(measured),
                "sigma": float(np.sqrt(covariance[k, k])),
            }
        )
        made.auxiliary.append(f"{name}_{k}")


def _constant(_term: dict[str, Any], _name: str, _arrays: Any, _made: _Document) -> None:
    """Add nothing, because HS3 has no constants in ln L, and fits do not need them."""


_TERMS = {
    "surface": _surface,
    "mixture": _mixture,
    "histogram": _histogram,
    "normal": _normal,
    "constant": _constant,
}
