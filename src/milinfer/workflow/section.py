"""Base class of the sections of an analysis: unknown keys and wrong types are errors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """A table of ``analysis.toml``.

    Examples
    --------
    >>> class Names(Section):
    ...     first: str
    >>> Names(first="a")
    Names(first='a')
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
