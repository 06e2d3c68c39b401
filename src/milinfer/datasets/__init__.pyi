from . import (
    contamination as contamination,
    gaussian as gaussian,
    gaussian_systematics as gaussian_systematics,
    observable as observable,
    public as public,
    quadratic as quadratic,
    vbf_hww as vbf_hww,
    vbf_hzz as vbf_hzz,
)
