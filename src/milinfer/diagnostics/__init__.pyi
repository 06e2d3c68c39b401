from .bag_size import (
    compare_ansaetze as compare_ansaetze,
    fit_bag_sizes as fit_bag_sizes,
)
from .bag_size_scan import (
    BagSizeScan as BagSizeScan,
    scan_bag_sizes as scan_bag_sizes,
)
from .checks import (
    Check as Check,
    Tolerances as Tolerances,
)
from .diagnosis import (
    Diagnosis as Diagnosis,
    diagnose as diagnose,
)
from .fit_tests import (
    GoodnessOfFit as GoodnessOfFit,
    goodness_of_fit as goodness_of_fit,
)
from .nuisance_fit_tests import goodness_of_systematic_fit as goodness_of_systematic_fit
from .response_diagnosis import (
    ResponseDiagnosis as ResponseDiagnosis,
    diagnose_response as diagnose_response,
)
from .roc import (
    Roc as Roc,
    auc_difference as auc_difference,
    roc_curve as roc_curve,
)
from .separation import (
    divergence as divergence,
    squared_distance as squared_distance,
)
from .several_diagnosis import (
    SeveralDiagnosis as SeveralDiagnosis,
    diagnose_lines as diagnose_lines,
)
from .two_sample import feature_closure as feature_closure
