from .binned_model import BinnedLLR as BinnedLLR
from .binning import (
    fisher_bins as fisher_bins,
    quantile_bins as quantile_bins,
)
from .chosen_templates import score_templates as score_templates
from .grid_bins import fisher_grid as fisher_grid
from .interference_export import export_datacard as export_datacard
from .luminosity import scaled_workspace as scaled_workspace
from .polynomial_histogram import PolynomialHistogram as PolynomialHistogram
from .polynomial_import import (
    import_hist_eft as import_hist_eft,
    import_scaling as import_scaling,
)
from .polynomial_modifier import polynomial_modifiers as polynomial_modifiers
from .polynomial_workspace import (
    export_polynomials as export_polynomials,
    morphing_to_polynomials as morphing_to_polynomials,
)
from .pyhf_cost import PyhfCost as PyhfCost
from .template_cost import TemplateCost as TemplateCost
from .template_diagnosis import TemplateDiagnosis as TemplateDiagnosis
from .histogram_files import load_histograms as load_histograms
from .templates import Templates as Templates
from .template_variations import (
    VariedTemplates as VariedTemplates,
    varied_templates as varied_templates,
)
from .workspace_export import (
    BackgroundYields as BackgroundYields,
    Systematic as Systematic,
    export_workspace as export_workspace,
    import_workspace as import_workspace,
)
from .workspaces import (
    model_and_data as model_and_data,
    read_workspace as read_workspace,
    write_workspace as write_workspace,
)
