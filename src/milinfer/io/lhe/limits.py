"""How large the parts of an LHE file may be before reading stops with an error."""

from __future__ import annotations

from dataclasses import dataclass, fields

from milinfer.exceptions import ConfigurationError, LHEError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Largest sizes of the parts of an LHE file, in bytes, after decompression.

    A damaged file, or one made to do harm (a gzip file of a few kilobytes that unpacks to many
    gigabytes), then ends with an error instead of all memory.  Files of generators are far below.

    Parameters
    ----------
    header
        Of all before the first event.
    event
        Of one event.
    line
        Of one line.

    Raises
    ------
    ConfigurationError
        If one of them is less than 1.

    Examples
    --------
    >>> Limits(header=1 << 30).header
    1073741824
    >>> Limits(line=0)
    Traceback (most recent call last):
    milinfer.exceptions.ConfigurationError: the limit 'line' is 0; give a number of bytes, ...
    """

    header: int = 1 << 26
    event: int = 1 << 24
    line: int = 1 << 20

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 1:
                msg = f"the limit {field.name!r} is {value}; give a number of bytes, at least 1"
                raise ConfigurationError(msg)

    def require_lines(self, text: bytes, name: str, where: str) -> None:
        r"""Refuse a text with a line that is too long.

        Raises
        ------
        LHEError
            Names the file and the line.

        Examples
        --------
        >>> Limits(line=3).require_lines(b"ab\ncdef\n", "a.lhe", "the header")
        Traceback (most recent call last):
        milinfer.exceptions.LHEError: a.lhe: line 2 of the header has more than 3 bytes; ...
        """
        if len(text) <= self.line:
            return
        start, number = 0, 1
        while len(text) - start > self.line:
            end = text.rfind(b"\n", start, start + self.line + 1)
            if end < 0:
                msg = (
                    f"{name}: line {number} of {where} has more than {self.line} bytes; the file "
                    "is damaged, produce it again, or allow longer lines with "
                    "limits=Limits(line=...) or convert --size-limit"
                )
                raise LHEError(msg)
            number += text.count(b"\n", start, end + 1)
            start = end + 1
