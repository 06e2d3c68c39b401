"""Generate example data with a known likelihood, and read public samples.

`vbf_hww`
    The main example: SMEFT Wilson coefficients in VBF H → WW* → 2ℓ2ν.
`operators`
    Operators of the main example: c_HW, c_HWtil (odd under CP) and c_Hbox (no effect on shapes).
`vbf_hzz`
    A background to the main example.
`observable`
    Exact likelihood ratio of the main example, given only what a detector can measure.
`vbf_hww_systematics`
    The main example with nuisance parameters: energy scales and a theory weight.
`observable_systematics`
    Exact likelihood of the main example with nuisance parameters, given only the observables.
`selected_cross_section`
    Cross-section of the main example after the selection.
`contamination`
    Bags of signal and background events, with their exact likelihood ratios.
`gaussian`
    Gaussian examples with closed-form likelihood ratios.
`gaussian_systematics`
    A Gaussian signal and background with nuisance parameters.
`quadratic`
    A quadratic EFT problem in one to ten parameters, with a hidden variable.
`witness_bags`
    Labelled bags of two kinds of key instances.  The label is OR, AND or XOR of "the bag has the
    first kind" and "the bag has the second kind".
`peak`
    A peak over a background.  The parameters are the mass and the fraction of the peak.
`higgsml`
    The FAIR Universe HiggsML challenge: files, nuisance parameters, pseudo-experiments, score.
`public`
    Readers of the public samples of Nachman and Thaler [NT].  The samples are not in the package.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
