from .analysis_result import AnalysisResult as AnalysisResult
from .combination import (
    Combination as Combination,
    combine as combine,
)
from .combination_file import CombinationFile as CombinationFile
from .comparison import (
    Comparison as Comparison,
    compare as compare,
)
from .configuration import (
    AnalysisConfig as AnalysisConfig,
    init_analysis as init_analysis,
)
from .hepdata import write_hepdata as write_hepdata
from .inspection import inspect_file as inspect_file
from .provenance import Provenance as Provenance
from .run import (
    plan_analysis as plan_analysis,
    run_analysis as run_analysis,
    unblind_analysis as unblind_analysis,
)
