"""Events in are events out and events rejected, by reason; always said, never assumed."""

from __future__ import annotations

from collections.abc import Mapping

from milinfer.exceptions import SampleError

__all__ = ["event_balance"]


def event_balance(n_in: int, n_out: int, rejected: Mapping[str, int], source: str) -> str:
    """Say what has become of the events of a file.

    Parameters
    ----------
    n_in, n_out
        Events read, and those that are in the result.
    rejected
        Those that are not, by reason.
    source
        Of the events, for messages.

    Raises
    ------
    SampleError
        If they do not add up.

    Examples
    --------
    >>> event_balance(5, 3, {"fewer than 2 jets": 2}, "a.lhe")
    '5 events in, 3 out, 2 rejected (fewer than 2 jets: 2)'
    >>> event_balance(5, 4, {}, "a.lhe")
    Traceback (most recent call last):
    milinfer.exceptions.SampleError: a.lhe: 5 events in, but 4 out and 0 rejected; ...
    """
    lost = sum(rejected.values())
    if n_out + lost != n_in:
        msg = f"{source}: {n_in} events in, but {n_out} out and {lost} rejected; please report this"
        raise SampleError(msg)
    reasons = ", ".join(f"{reason}: {n}" for reason, n in rejected.items() if n)
    return f"{n_in} events in, {n_out} out, {lost} rejected" + (f" ({reasons})" if reasons else "")
