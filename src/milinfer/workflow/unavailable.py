"""Methods that gave no result, and why: one that fails must not end a comparison of several."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from milinfer.exceptions import MilinferError, MilinferWarning

__all__ = ["Attempts", "Stage", "Unavailable", "advice"]

Stage = Literal["templates", "fit", "oracle", "calibration", "toys"]

# Settings of an analysis, by what they bear on.
_SETTINGS: dict[Stage, str] = {
    "templates": "observable, bins, bins_2d, degree, held_out, and the sizes of the samples",
    "fit": "observable, bins, mc_stat, and the range of the training points",
    "oracle": "oracle",
    "calibration": "calibrate_at, belt_at, number of toys, and the range of the training points",
    "toys": "truth, cover_at, number of toys, and the range of the training points",
}


def advice(stage: Stage) -> str:
    """Which settings bear on a part of a method.

    Examples
    --------
    >>> advice("oracle")
    'settings that bear on the oracle: oracle'
    """
    return f"settings that bear on the {stage}: {_SETTINGS[stage]}"


class Unavailable(NamedTuple):
    """A method without a result.

    Parameters
    ----------
    name
        Method.
    stage
        What could not be done.
    reason
        The error, in its own words.
    """

    name: str
    stage: Stage
    reason: str

    @property
    def advice(self) -> str:
        """Which settings bear on it."""
        return advice(self.stage)


class Attempts:
    """Lets methods fail one by one.

    Parameters
    ----------
    required
        Methods whose failure is an error; it gets a note that says which settings bear on it.

    Attributes
    ----------
    failed
        Methods that failed, by name.

    Examples
    --------
    >>> from milinfer.exceptions import TemplateError
    >>> attempts = Attempts(required=["learned"])
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     with attempts("pyhf", "templates"):
    ...         raise TemplateError("bin 3 is empty")
    >>> attempts.failed["pyhf"].reason
    'bin 3 is empty'
    """

    def __init__(self, required: Collection[str]) -> None:
        self.required = frozenset(required)
        self.failed: dict[str, Unavailable] = {}

    @contextmanager
    def __call__(self, name: str, stage: Stage) -> Iterator[None]:
        """Do a part of a method.

        Raises
        ------
        MilinferError
            If the method is required and its part fails.

        Warns
        -----
        MilinferWarning
            If another fails; it is in `failed` then.
        """
        try:
            yield
        except MilinferError as error:
            found = Unavailable(name, stage, str(error).removeprefix(f"{name}: "))
            if name in self.required:
                error.add_note(found.advice)
                raise
            self.failed[name] = found
            msg = f"{name} is not available: {found.reason} ({found.advice})"
            warnings.warn(msg, MilinferWarning, stacklevel=3)
