"""Find the number of cores that a process may use."""

from __future__ import annotations

import os

__all__ = ["usable_cores"]


def usable_cores() -> int:
    """Return the number of cores that this process may use, but at most OMP_NUM_THREADS.

    Clusters set the environment variable OMP_NUM_THREADS for their workers.

    Examples
    --------
    >>> usable_cores() >= 1
    True
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS and Windows
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    text = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(text)) if text.isdigit() and int(text) > 0 else cores
