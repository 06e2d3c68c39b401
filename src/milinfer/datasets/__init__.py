"""Embedded data with exact truth, generated on the spot, and readers of public samples.

`vbf_hww`
    The lead case: SMEFT Wilson coefficients in VBF H → WW* → 2ℓ2ν.
`operators`
    Its operators: c_HW, c_HWtil (odd under CP) and c_Hbox (flat in the shape).
`vbf_hzz`
    A background to it.
`observable`
    Exact likelihood ratio of the lead case, given only what a detector sees.
`vbf_hww_systematics`
    The lead case with nuisance parameters: energy scales and a theory weight.
`observable_systematics`
    Its exact likelihood, given only what a detector sees.
`selected_cross_section`
    Its cross-section after the selection.
`contamination`
    Bags of signal events among background, with the exact answers.
`gaussian`
    Gaussian examples with closed-form likelihood ratios.
`gaussian_systematics`
    A Gaussian signal and background with nuisance parameters.
`quadratic`
    A quadratic EFT problem in one to ten parameters, with a hidden variable.
`witness_bags`
    Labelled bags with witnesses of two kinds: OR, AND and XOR.
`peak`
    A peak over a background, whose mass and fraction are measured.
`higgsml`
    The FAIR Universe HiggsML challenge: files, nuisance parameters, pseudo-experiments, score.
`public`
    Readers of the public samples of [NT], which are not part of the package.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
