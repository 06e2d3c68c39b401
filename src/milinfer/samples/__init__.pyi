from .bags import draw_bags as draw_bags
from .reweighting import (
    bennett as bennett,
    joint_density as joint_density,
    joint_targets as joint_targets,
)
from .sample import Sample as Sample
from .sample_set import SampleSet as SampleSet
from .streamed_variations import StreamedVariations as StreamedVariations
from .streaming import StreamedSamples as StreamedSamples
from .variation import Variation as Variation
from .variations import ProcessVariations as ProcessVariations
