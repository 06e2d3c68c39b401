from . import (
    contamination as contamination,
    gaussian as gaussian,
    gaussian_systematics as gaussian_systematics,
    observable as observable,
    observable_systematics as observable_systematics,
    operators as operators,
    public as public,
    quadratic as quadratic,
    selected_cross_section as selected_cross_section,
    vbf_hww as vbf_hww,
    vbf_hww_systematics as vbf_hww_systematics,
    vbf_hzz as vbf_hzz,
)
