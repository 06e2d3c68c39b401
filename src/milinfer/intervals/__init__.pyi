from .belt import Belt as Belt
from .calibration import Calibration as Calibration
from .calibration_fit import calibrate as calibrate
from .combined_toys import (
    CombinedToys as CombinedToys,
    EventTerm as EventTerm,
)
from .conditional_coverage import (
    ConditionalCoverage as ConditionalCoverage,
    coverage_function as coverage_function,
)
from .confidence_sets import (
    ConfidenceRegion as ConfidenceRegion,
    ConfidenceSet as ConfidenceSet,
)
from .counting import (
    EnumeratedBelt as EnumeratedBelt,
    belt_from_outcomes as belt_from_outcomes,
    feldman_cousins as feldman_cousins,
)
from .coverage import (
    Coverage as Coverage,
    CoverageScan as CoverageScan,
    coverage_scan as coverage_scan,
)
from .expected import (
    ExpectedInterval as ExpectedInterval,
    expected_interval as expected_interval,
)
from .information import (
    Information as Information,
    InformationMatrix as InformationMatrix,
    RelativeInformation as RelativeInformation,
    information_matrix as information_matrix,
    relative_information as relative_information,
)
from .neyman import regression_belt as regression_belt
from .ranking import (
    ErrorPart as ErrorPart,
    NuisanceImpacts as NuisanceImpacts,
    NuisancePull as NuisancePull,
    nuisance_impacts as nuisance_impacts,
)
from .response import (
    Response as Response,
    mean_response as mean_response,
)
from .several_fit import (
    JointFit as JointFit,
    joint_fit as joint_fit,
)
from .simulation_widening import add_simulation_error as add_simulation_error
from .toy_intervals import ToyIntervals as ToyIntervals
from .upper_limits import (
    UpperLimit as UpperLimit,
    upper_limit as upper_limit,
    upper_limit_of_toys as upper_limit_of_toys,
)
