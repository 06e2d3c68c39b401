"""milinfer: learned likelihoods for collider data, with intervals that cover.

The public names are listed in ``__init__.pyi`` of the package and of each sub-package.  A name is
imported when it is first used, so that ``import milinfer`` is fast and TensorFlow is loaded only if
it is needed (SPEC 1).

References
----------
[AS] A. Azakli, B. Stelzer, "Increasing Information Extraction in Low-Signal Regimes via Multiple
Instance Learning".  [NT] B. Nachman, J. Thaler, "E Pluribus Unum Ex Machina", Phys. Rev. D 103
(2021) 116013.  [ML] "milearn: A Python Package for Multi-Instance Machine Learning",
arXiv:2512.01287.  [MI] "Why Multi-Instance Learning is Actually Beautiful".
"""

from __future__ import annotations

import lazy_loader

from milinfer.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
