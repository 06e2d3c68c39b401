"""Sections of ``analysis.toml`` on nuisance parameters: ``[[systematics]]``, ``[response]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from milinfer.features.variations import (
    EventVariation,
    ScaleVariation,
    WeightVariation,
    up_and_down,
)
from milinfer.likelihood.systematics import LUMINOSITY, SIGNAL, NormalisationUncertainty

__all__ = [
    "SECTION",
    "ResponseSection",
    "SystematicSection",
    "VariedFilesSection",
    "require_different_names",
]

SECTION = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
"""Settings of all sections: unknown keys and wrong types are errors."""


class _Section(BaseModel):
    model_config = SECTION


Positive = Annotated[int, Field(ge=1)]
# Keys of each kind besides name and kind.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "scale": ("objects", "up", "down"),
    "weight": ("up", "down"),
    "files": ("files",),
    "saved": (),
    "normalisation": ("factors",),
}
_ALL_KEYS = ("objects", "up", "down", "files", "factors")


class VariedFilesSection(_Section):
    """Entry of ``files`` in a systematic uncertainty: the varied files for one nominal file.

    Attributes
    ----------
    of
        Path of the nominal file, as it is written in a ``path`` of ``[[samples.…]]``.
    up, down
        File of other events that were simulated at α = +1, and file of events simulated at α = −1.
        Their point, process, tree and weight are those of the nominal file.
    up_cross_section, down_cross_section
        Cross-sections of `up` and `down` in pb after the selection.  Give them for flat files,
        which do not store them.
    """

    of: str
    up: str
    down: str
    up_cross_section: Annotated[float, Field(gt=0)] | None = None
    down_cross_section: Annotated[float, Field(gt=0)] | None = None


class SystematicSection(_Section):
    """``[[systematics]]``: a nuisance parameter α, whose auxiliary measurement is 0 ± 1.

    Attributes
    ----------
    name
        Name of the nuisance parameter.
    kind
        How the parameter changes the events.  ``"scale"``: the momenta of `objects` are multiplied
        by `up` and `down`.  ``"weight"``: `up` and `down` are names of event weights.
        ``"files"``: other events were simulated and are in `files`.  ``"saved"``: the nominal
        files are in folders that ``ProcessVariations.save`` has written, and the variations are in
        the same folders.  ``"normalisation"``: only the yield changes, by `factors`.
    objects
        Objects whose momenta are multiplied: a name such as ``"jets"``, or absolute values of PDG
        ids.
    up, down
        Factor on the momenta, or name of the weight: at α = +1, and at α = −1.
    files
        The varied files, in an entry for each nominal file.
    factors
        Factors on the yield at α = −1 and +1, such as ``{ signal = [0.98, 1.02] }``.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
    kind: Literal["scale", "weight", "files", "saved", "normalisation"]
    objects: str | list[int] | None = None
    up: float | str | None = None
    down: float | str | None = None
    files: list[VariedFilesSection] = []
    factors: dict[str, tuple[float, float]] = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = _KEYS[self.kind]
        problems = [
            f"has no {key!r}" for key in needed if key != "objects" and not self._has(key)
        ] + [
            f"has {key!r}, which does not belong to kind = {self.kind!r} (it has "
            f"{', '.join(needed) or 'no other keys'})"
            for key in _ALL_KEYS
            if key not in needed and self._has(key)
        ]
        problems = problems or self._wrong_values()
        if self.name == LUMINOSITY:
            problems.append(
                "is the name of the luminosity; rename it, or give data.luminosity_uncertainty "
                "instead"
            )
        if problems:
            msg = f"{self.name} {'; '.join(problems)}"
            raise ValueError(msg)
        return self

    def _has(self, key: str) -> bool:
        return getattr(self, key) not in (None, [], {})

    def _wrong_values(self) -> list[str]:
        problems = []
        kinds: dict[str, type] = {"scale": float, "weight": str}
        if self.kind in kinds:
            expected = "a factor" if self.kind == "scale" else "the name of a weight"
            problems += [
                f"has {side} = {value!r}, but kind = {self.kind!r} needs {expected}"
                for side, value in (("up", self.up), ("down", self.down))
                if not isinstance(value, kinds[self.kind])
            ]
            if not problems and self.up == self.down:
                problems.append(f"has up = down = {self.up!r}; give two different values")
        if self.kind == "scale" and not problems:
            problems += [
                f"has {side} = {value:g}, which must be positive and different from 1"
                for side, value in (("up", self.up), ("down", self.down))
                if isinstance(value, float) and (value <= 0 or value == 1)
            ]
        for process, sides in self.factors.items():
            if process != SIGNAL:
                problems.append(
                    f"has factors of {process!r}; the only process of this analysis is called "
                    f"{SIGNAL!r}"
                )
            elif min(sides) <= 0 or sides[0] == sides[1]:
                problems.append(
                    f"has the factors {list(sides)} at −1 and +1; give two positive numbers that "
                    "differ, such as [0.98, 1.02]"
                )
        of = [f.of for f in self.files]
        problems += [f"has two entries of {name!r}" for name in sorted({*of}) if of.count(name) > 1]
        problems += [
            f"has the same file twice among of = {f.of!r}, up = {f.up!r} and down = {f.down!r}; "
            "give three files"
            for f in self.files
            if len({f.of, f.up, f.down}) < 3
        ]
        return problems

    @property
    def changes_events(self) -> bool:
        """Whether features or weights of events change.  If not, only the yield changes."""
        return self.kind != "normalisation"

    def event_variations(self) -> tuple[EventVariation, ...]:
        """Variations of the nominal events at +1 and −1.

        The result is empty unless the kind is ``"scale"`` or ``"weight"``.
        """
        if self.kind == "scale":
            objects: Any = "jets" if self.objects is None else self.objects
            return up_and_down(ScaleVariation, self.name, self.up, self.down, objects=objects)
        if self.kind == "weight":
            return up_and_down(WeightVariation, self.name, self.up, self.down)
        return ()

    def uncertainty(self) -> NormalisationUncertainty:
        """Make the effect on yields, if the kind is ``"normalisation"``."""
        return NormalisationUncertainty(self.name, self.factors)


def require_different_names(sections: Sequence[SystematicSection], parameters: set[str]) -> None:
    """Check that no name has two meanings or is the name of a parameter of interest.

    One entry that changes the shape and one that changes the yield may have the same name.  They
    belong to one nuisance parameter.

    Raises
    ------
    ValueError
        If a name has two meanings, or is the name of a parameter of interest.  The message names
        the entry of the configuration.

    Examples
    --------
    >>> jes = SystematicSection(name="jes", kind="scale", objects="jets", up=1.03, down=0.97)
    >>> require_different_names([jes, jes], {"c_HW"})
    Traceback (most recent call last):
    ValueError: systematics[2]: jes is also the name of systematics[1]; give each a different name
    """
    seen: dict[tuple[str, bool], int] = {}
    for k, section in enumerate(sections, start=1):
        if section.name in parameters:
            msg = (
                f"systematics[{k}]: {section.name} is the parameter of the samples; give the "
                "nuisance parameter another name"
            )
            raise ValueError(msg)
        first = seen.setdefault((section.name, section.changes_events), k)
        if first != k:
            msg = (
                f"systematics[{k}]: {section.name} is also the name of systematics[{first}]; give "
                "each a different name"
            )
            raise ValueError(msg)


class ResponseSection(_Section):
    """``[response]``: the learned response of the signal to nuisance parameters.

    Attributes
    ----------
    degree, limit, theta_dependent, theta_range, ensemble
        See :class:`milinfer.SystematicResponse`.
    epochs, batch_events
        Number of epochs (default: enough for 2500 steps), and number of events in a batch.
    folders
        Patterns of folders that ``ProcessVariations.save`` has written.  If they are given, the
        response is learned from the events in these folders, in pieces, and the files of
        ``[[samples.train]]`` need no variations.  The last folder is not used for the training.
    events_in_memory
        With `folders`: largest number of events that are in memory at a time.
    combine
        With `folders`: ``"sum"`` if the folders are slices of the process, whose cross-sections are
        added, ``"mean"`` if they are runs of the same process.
    """

    degree: Annotated[int, Field(ge=1, le=2)] = 2
    limit: Annotated[float, Field(gt=0)] = 3.0
    theta_dependent: bool = False
    theta_range: dict[str, tuple[float, float]] | None = None
    ensemble: Positive = 1
    epochs: Positive | None = None
    batch_events: Positive | None = None
    folders: Annotated[list[str], Field(min_length=1)] | str | None = None
    events_in_memory: Positive | None = None
    combine: Literal["sum", "mean"] | None = None

    def settings(self) -> dict[str, Any]:
        """Settings of :class:`milinfer.SystematicResponse`, by name."""
        others = {"epochs", "batch_events", "folders", "events_in_memory", "combine"}
        return self.model_dump(exclude=others)

    @model_validator(mode="after")
    def _streams_of_folders(self) -> Self:
        for key in ("events_in_memory", "combine"):
            if self.folders is None and getattr(self, key) is not None:
                msg = f"{key} is only for events that are read in pieces; give folders, or omit it"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _range_of_a_dependence(self) -> Self:
        if self.theta_range is not None and not self.theta_dependent:
            msg = "theta_range needs a response that depends on θ; add theta_dependent = true"
            raise ValueError(msg)
        return self
