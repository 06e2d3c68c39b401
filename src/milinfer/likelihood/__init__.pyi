from .asimov import (
    asimov_cost as asimov_cost,
    asimov_sample as asimov_sample,
)
from .auxiliary import (
    AuxiliaryMeasurements as AuxiliaryMeasurements,
    auxiliary_measurements as auxiliary_measurements,
)
from .constraints import (
    Constraint as Constraint,
    constraint as constraint,
)
from .cost import LikelihoodCost as LikelihoodCost
from .fits import (
    FitResults as FitResults,
    Impact as Impact,
    Interval as Interval,
    fit_results as fit_results,
    impacts as impacts,
    minuit as minuit,
    profile_interval as profile_interval,
    shared_parameters as shared_parameters,
)
from .flat_directions import (
    Direction as Direction,
    directions as directions,
)
from .hs3 import write_hs3 as write_hs3
from .linear_terms import linear_cost as linear_cost
from .log_polynomials import LogPolynomials as LogPolynomials
from .mixture import (
    MixtureCost as MixtureCost,
    mixture_cost as mixture_cost,
)
from .models import dataset_surface as dataset_surface
from .observables import (
    independent_scores as independent_scores,
    log_ratio_observable as log_ratio_observable,
    score_observable as score_observable,
)
from .oracle import Oracle as Oracle
from .posterior import (
    Posterior as Posterior,
    Prior as Prior,
)
from .profiled_mixture import ProfiledMixture as ProfiledMixture
from .profiled_systematics import (
    NuisanceProfile as NuisanceProfile,
    ProfiledSystematics as ProfiledSystematics,
)
from .published_cost import (
    PublishedCost as PublishedCost,
    load_published as load_published,
)
from .publishing import (
    publish as publish,
    published_schema as published_schema,
)
from .rate import Rate as Rate
from .response_terms import (
    ResponseTable as ResponseTable,
    ResponseTerms as ResponseTerms,
)
from .responses import Response as Response
from .scans import (
    ProfileScan as ProfileScan,
    profile_scan as profile_scan,
)
from .signal_strength import SignalStrength as SignalStrength
from .simulation_noise import yield_noise as yield_noise
from .surface import (
    Interpolation as Interpolation,
    Surface as Surface,
)
from .surface_box import (
    BoxSurface as BoxSurface,
    ChebyshevBox as ChebyshevBox,
)
from .systematics import (
    NormalisationUncertainty as NormalisationUncertainty,
    SystematicCost as SystematicCost,
    systematic_cost as systematic_cost,
    systematic_terms as systematic_terms,
)
from .tabulated_model import Tabulated as Tabulated
