"""Read a published likelihood as a cost of milinfer, which can be added to other costs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from milinfer.exceptions import CalibrationError, ModelError, ParameterError
from milinfer.likelihood.auxiliary import AuxiliaryMeasurement
from milinfer.likelihood.named_cost import UnbinnedCost
from milinfer.likelihood.published_reader import (
    CalibratedFor,
    Likelihood,
    LikelihoodError,
    read,
)
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.arguments import as_path
from milinfer.utils.confidence_levels import same_level
from milinfer.utils.display import ranges
from milinfer.utils.keywords import did_you_mean

__all__ = ["PublishedCost", "load_published"]


def load_published(folder: PathLikeStr) -> PublishedCost:
    """Read a likelihood that :func:`milinfer.publish` has written, and return it as a cost.

    Parameters
    ----------
    folder
        Folder with ``likelihood.json`` and its arrays.

    Returns
    -------
    PublishedCost
        Cost −2 ln L, to fit or to add to other costs.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or has a later version of the format.
    ConfigurationError
        If `folder` is not a path.

    Examples
    --------
    >>> load_published("nowhere")
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: nowhere/likelihood.json cannot be read: ...
    """
    try:
        return PublishedCost(read(as_path(folder)))
    except LikelihoodError as error:
        raise ModelError(str(error)) from error


class PublishedCost(UnbinnedCost):
    """Cost −2 ln L of a published likelihood, from :func:`load_published`.

    The cost contains the constraints of its nuisance parameters and normalisations.
    :attr:`constrained` lists constraints that are Gaussian and independent of each other.  To add
    another cost that contains the same constraints, remove them here with
    :meth:`without_constraints`.  Constraints inside a HistFactory workspace are not listed.

    Parameters
    ----------
    likelihood
        Likelihood that the reader in the folder has read.
    constraints
        Auxiliary measurements to use; None: use the measurements in the file.
    any_interval
        Whether intervals are allowed for which the likelihood is not calibrated; see
        :meth:`for_any_interval`.

    Examples
    --------
    >>> import tempfile
    >>> from iminuit.cost import NormalConstraint
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.publishing import publish
    >>> from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_cost
    >>> cost = systematic_cost(
    ...     gaussian.MeanModel(), gaussian.generate(100, 0.1, seed=1).as_data(), rate=100.0,
    ...     responses={}, reference=0.0,
    ...     uncertainties=[NormalisationUncertainty("efficiency", {"signal": (0.9, 1.1)})])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     published = load_published(publish(cost, f"{folder}/published"))
    >>> published.constrained
    ('efficiency',)
    >>> free = published.without_constraints(["efficiency"])
    >>> free.constrained, round(published(0.1, 2.0) - free(0.1, 2.0), 9)
    ((), 4.0)
    """

    def __init__(
        self,
        likelihood: Likelihood,
        constraints: tuple[AuxiliaryMeasurement, ...] | None = None,
        *,
        any_interval: bool = False,
    ) -> None:
        self.likelihood = likelihood
        self.any_interval = any_interval
        self.parameters = likelihood.parameters
        self._published = _constraints(likelihood)
        self._constraints = self._published if constraints is None else constraints
        super().__init__(dict(likelihood.limits), 0)

    def __repr__(self) -> str:
        title = f"{self.title}, " if self.title else ""
        return f"PublishedCost({title}{ranges(self._parameters)})"

    @property
    def title(self) -> str:
        """One line of text that describes the measurement."""
        return str(self.likelihood.content["title"])

    @property
    def content(self) -> dict[str, Any]:
        """Content of the JSON file: description, provenance, terms."""
        return self.likelihood.content

    @property
    def start(self) -> dict[str, float]:
        """Starting values of fits: ``Minuit(cost, **cost.start)``."""
        return dict(self.likelihood.start)

    @property
    def fixed(self) -> tuple[str, ...]:
        """Names of parameters that are fixed at their starting values."""
        return self.likelihood.fixed

    @property
    def constraints(self) -> tuple[AuxiliaryMeasurement, ...]:
        """Auxiliary measurements that are part of this cost."""
        return self._constraints

    @property
    def constrained(self) -> tuple[str, ...]:
        """Names of parameters whose constraint is part of this cost."""
        return tuple(c.name for c in self._constraints)

    @property
    def inseparable(self) -> tuple[str, ...]:
        """Names of parameters whose constraint cannot be removed.

        Such a constraint is in a HistFactory workspace, or it is correlated with another
        constraint.
        """
        names: list[str] = []
        for content, term in zip(self.content["terms"], self.likelihood._terms, strict=True):
            if content["kind"] == "normal":
                names += content["parameters"]
            elif content["kind"] == "pyhf":
                left_out = [other["parameter"] for other in content["left_out"]]
                names += [n for n in _constrained_by_pyhf(term) if n not in left_out]
        roles = self.likelihood.roles
        separable = {c.name for c in self._published}
        return tuple(
            name
            for name in dict.fromkeys(names)
            if name not in separable and roles[name] != "interest"
        )

    @property
    def calibrated(self) -> bool:
        """Whether at least one term of the cost is calibrated.

        If so, the intervals of this cost cover.  The intervals of a sum with other costs are not
        calibrated.
        """
        return bool(self.calibrated_for)

    @property
    def calibrated_for(self) -> tuple[CalibratedFor, ...]:
        """For each calibrated term, the parameters and levels whose intervals cover."""
        return self.likelihood.calibrated_for

    @property
    def correction(self) -> _PublishedCorrection | None:
        """Object that raises an error for uncalibrated intervals; None if all are allowed."""
        if self.any_interval or not self.calibrated:
            return None
        roles = self.likelihood.roles
        interest = tuple(name for name, role in roles.items() if role == "interest")
        return _PublishedCorrection(self.calibrated_for, interest)

    def for_any_interval(self) -> PublishedCost:
        """Return the same cost, but allow intervals of any confidence level and any parameter.

        The coverage of intervals that this allows is not calibrated.  If you quote them, say so.
        """
        return PublishedCost(self.likelihood, self._constraints, any_interval=True)

    def without_constraints(self, names: Sequence[str]) -> PublishedCost:
        """Return the same cost without the constraints of some parameters.

        Parameters
        ----------
        names
            Names of the parameters.

        Raises
        ------
        ParameterError
            If this cost has no separate constraint of a parameter.
        """
        left_out = (names,) if isinstance(names, str) else tuple(names)
        self._require_constrained(left_out)
        kept = tuple(c for c in self._constraints if c.name not in left_out)
        return PublishedCost(self.likelihood, kept, any_interval=self.any_interval)

    def measuring(self, **measured: float) -> PublishedCost:
        """Return the same cost with new results of its auxiliary measurements, for toys.

        Parameters
        ----------
        **measured
            New result of the measurement of each parameter, such as ``jes=0.3``.

        Raises
        ------
        ParameterError
            If this cost has no separate constraint of a parameter.
        """
        self._require_constrained(tuple(measured))
        moved = tuple(
            c._replace(measured=float(measured.get(c.name, c.measured))) for c in self._constraints
        )
        return PublishedCost(self.likelihood, moved, any_interval=self.any_interval)

    def _require_constrained(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.constrained:
                known = ", ".join(self.constrained) or "no parameter"
                msg = f"this likelihood has no separate constraint of {name}; it has {known}"
                raise ParameterError(msg + did_you_mean(name, list(self.constrained)))

    def _has_grad(self) -> bool:
        return self.likelihood.has_grad

    def _value(self, args: Sequence[float]) -> float:
        try:
            value = self.likelihood(*args)
        except LikelihoodError as error:
            raise ParameterError(str(error)) from error
        for sign, c in self._changes:
            value += sign * ((args[self.parameters.index(c.name)] - c.measured) / c.error) ** 2
        return value

    def _grad(self, args: Sequence[float]) -> FloatArray:
        try:
            slope = np.asarray(self.likelihood.grad(*args), dtype=np.float64)
        except LikelihoodError as error:
            raise ParameterError(str(error)) from error
        for sign, c in self._changes:
            k = self.parameters.index(c.name)
            slope[k] += sign * 2 * (args[k] - c.measured) / c.error**2
        return slope

    @cached_property
    def _changes(self) -> list[tuple[int, AuxiliaryMeasurement]]:
        """Constraints to add to those in the file, and constraints to subtract."""
        added = [(1, c) for c in self._constraints if c not in self._published]
        return added + [(-1, c) for c in self._published if c not in self._constraints]


class _PublishedCorrection(NamedTuple):
    """Calibrations of the terms of a published likelihood."""

    calibrated_for: tuple[CalibratedFor, ...]
    interest: tuple[str, ...]

    def require_interval(self, parameter: str, cl: float, fixed: Sequence[str]) -> None:
        for made in self.calibrated_for:
            if not made.recorded:  # of an older milinfer: one level, and nobody knows which
                continue
            names, level = made.parameters, made.confidence_level
            other = names is not None and parameter in self.interest and names != (parameter,)
            kept = [name for name in fixed if name in self.interest and names is not None]
            if other or (level is not None and not same_level(cl, level)):
                asked = f"{cl:.2%} intervals of {parameter}"
            elif kept:
                asked = f"intervals with {', '.join(kept)} fixed"
            else:
                continue
            msg = (
                f"this published likelihood is calibrated for {made}, and {asked} from it have a "
                "wrong coverage; take those, ask for a publication that is calibrated for others, "
                "or take for_any_interval() and say that coverage is not shown"
            )
            raise CalibrationError(msg)


def _constrained_by_pyhf(term: Any) -> list[str]:
    """Return the parameters that auxiliary data of a HistFactory workspace measure."""
    config = term.model.config
    return [n for of in config.auxdata_order for n in config.par_names[config.par_slice(of)]]


def _constraints(likelihood: Likelihood) -> tuple[AuxiliaryMeasurement, ...]:
    """Return independent Gaussian measurements of parameters that are not of interest."""
    found = []
    for term in likelihood.content["terms"]:
        if term["kind"] != "normal":
            continue
        covariance = np.array(term["covariance"], dtype=np.float64)
        for k, (name, measured) in enumerate(
            zip(term["parameters"], term["measured"], strict=True)
        ):
            alone = np.count_nonzero(covariance[k]) == 1
            if alone and likelihood.roles[name] != "interest":
                error = float(np.sqrt(covariance[k, k]))
                found.append(AuxiliaryMeasurement(name, float(measured), error))
    return tuple(found)
