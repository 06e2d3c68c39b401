"""JSON of others: what cannot be read is a ``ValueError``, whatever is wrong."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["parse_json"]


def parse_json(text: str, **options: Any) -> Any:
    """As ``json.loads``; lists nested too deep are a ``ValueError`` too.

    Raises
    ------
    ValueError
        If the text is not JSON.

    Examples
    --------
    >>> parse_json("[1]")
    [1]
    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: its lists or objects are nested too deep
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        msg = "its lists or objects are nested too deep"
        raise ValueError(msg) from None
