from .binned_model import BinnedLLR as BinnedLLR
from .binning import (
    fisher_bins as fisher_bins,
    quantile_bins as quantile_bins,
)
from .pyhf_cost import PyhfCost as PyhfCost
from .template_cost import TemplateCost as TemplateCost
from .template_diagnosis import TemplateDiagnosis as TemplateDiagnosis
from .histogram_files import load_histograms as load_histograms
from .templates import Templates as Templates
from .workspace_export import (
    Systematic as Systematic,
    export_workspace as export_workspace,
    import_workspace as import_workspace,
)
from .workspaces import (
    read_workspace as read_workspace,
    write_workspace as write_workspace,
)
