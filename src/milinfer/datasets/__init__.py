"""Embedded data with exact truth, generated on the spot, and readers of public samples.

`vbf_hww`
    The lead case: one SMEFT Wilson coefficient in VBF H → WW* → 2ℓ2ν.
`vbf_hzz`
    A background to it.
`observable`
    Exact likelihood ratio of the lead case, given only what a detector sees.
`gaussian`
    Closed-form examples.
`public`
    Readers of the public samples of [NT], which are not part of the package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milinfer.datasets import gaussian as gaussian
    from milinfer.datasets import observable as observable
    from milinfer.datasets import public as public
    from milinfer.datasets import vbf_hww as vbf_hww
    from milinfer.datasets import vbf_hzz as vbf_hzz

__all__ = ["gaussian", "observable", "public", "vbf_hww", "vbf_hzz"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"milinfer.datasets.{name}")
    msg = f"module 'milinfer.datasets' has no attribute {name!r}"
    raise AttributeError(msg)
