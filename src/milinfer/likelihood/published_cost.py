"""Read a published likelihood as a cost of milinfer, which adds to others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from milinfer.exceptions import ModelError, ParameterError
from milinfer.likelihood.named_cost import UnbinnedCost
from milinfer.likelihood.published_reader import Likelihood, LikelihoodError, read
from milinfer.typing import FloatArray, PathLikeStr
from milinfer.utils.display import ranges

__all__ = ["PublishedCost", "load_published"]


def load_published(folder: PathLikeStr) -> PublishedCost:
    """Read a likelihood that :func:`milinfer.publish` has written.

    Parameters
    ----------
    folder
        The folder.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or of a later version of the format.

    Examples
    --------
    >>> load_published("nowhere")
    Traceback (most recent call last):
    milinfer.exceptions.ModelError: nowhere/likelihood.json cannot be read: ...
    """
    try:
        return PublishedCost(read(folder))
    except LikelihoodError as error:
        raise ModelError(str(error)) from error


class PublishedCost(UnbinnedCost):
    """Cost −2 ln L of a published likelihood.

    Parameters
    ----------
    likelihood
        What the file beside it reads.
    """

    def __init__(self, likelihood: Likelihood) -> None:
        self.likelihood = likelihood
        self.parameters = likelihood.parameters
        super().__init__(dict(likelihood.limits), 0)

    def __repr__(self) -> str:
        title = f"{self.title}, " if self.title else ""
        return f"PublishedCost({title}{ranges(self._parameters)})"

    @property
    def title(self) -> str:
        """The line that says what was measured."""
        return str(self.likelihood.content["title"])

    @property
    def content(self) -> dict[str, Any]:
        """The JSON: description, provenance, terms."""
        return self.likelihood.content

    @property
    def start(self) -> dict[str, float]:
        """Where fits start: ``Minuit(cost, **cost.start)``."""
        return dict(self.likelihood.start)

    @property
    def fixed(self) -> tuple[str, ...]:
        """Parameters that stay at their start."""
        return self.likelihood.fixed

    def _has_grad(self) -> bool:
        return self.likelihood.has_grad

    def _value(self, args: Sequence[float]) -> float:
        try:
            return self.likelihood(*args)
        except LikelihoodError as error:
            raise ParameterError(str(error)) from error

    def _grad(self, args: Sequence[float]) -> FloatArray:
        try:
            return np.asarray(self.likelihood.grad(*args), dtype=np.float64)
        except LikelihoodError as error:
            raise ParameterError(str(error)) from error
