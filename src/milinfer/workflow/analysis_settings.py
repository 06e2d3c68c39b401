"""Samples, trained models and settings of one analysis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.workflow.blinding import Blinding
from milinfer.workflow.inputs import inner_values

__all__ = ["Analysis", "reference_point"]


@dataclass(frozen=True, eq=False)
class Analysis:
    """Samples, trained models and settings of one analysis.

    Parameters
    ----------
    models
        Trained likelihoods with different names.  The first one is the subject of the report; the
        others are compared with it.
    data
        Dataset to fit.
    templates
        Samples that fill the histograms of features.  The histogram of the classifier output needs
        events on which the network was not trained; see `classifier_templates`.
    calibration
        Samples for the toys from which calibrations and belts are made.
    evaluation
        Samples for the toys with which coverage is measured.  They have other events than
        `calibration`.
    truth
        True value at which the methods are compared; default: the point of the evaluation sample,
        if there is only one.
    weight_degree
        Degree of the event weights as polynomials in the parameter.  If it is given, toys at any
        value can be generated from all events.  If the events of `templates` have weights too, all
        of them contribute to the histograms at every value.  None: toys can be generated only at
        the points of the samples.
    calibrate_at, cover_at, belt_at
        True values of the toys for calibrations, for coverage and for belts.  Default for
        calibrations and coverage: the points of the samples; for a single sample whose events have
        weights, 7 values (calibrations) and 5 values (coverage) in the inner half of the range.
        Default for belts: there are none.
    observable, bins, degree
        Feature and number of bins of the histogram, and degree of the polynomials of its bins.
        Default degree: `weight_degree` if it is given, and 4 if not.
    second_observable, bins_2d
        Second feature and numbers of bins, for a histogram of two observables.  None: there is no
        such histogram.
    mc_stat
        Whether the likelihoods of histograms include the Monte-Carlo errors of the templates.
    n_toys
        Number of toys at each true value.
    seed
        Seed of the toys.
    workers
        Number of threads that generate toys.
    classifier_templates
        Samples of events that were not used for training, to fill the histogram of the classifier
        output.  None: this method is left out.
    oracle_pool
        Sample or samples that normalise the exact likelihood ratio ("oracle").  None: the oracle is
        left out.
    training
        Samples on which the networks were trained.  With these events the bins for histograms of
        the networks' outputs are chosen.  Default: `templates`.
    drawn_features
        Features to draw in the report.  If the samples have none of them, the first three features
        are drawn.
    title
        Heading of the report.
    simulated
        Whether the data are simulated at `truth`.  If so, the report says it.
    blinding
        State of a blind analysis: whether `data` are pseudo-data.  None: the analysis is not blind.
    simulation_error
        Whether calibrated intervals are widened by the error of the calibration.
    """

    models: tuple[BagLikelihood, ...]
    data: Sample
    templates: SampleSet
    calibration: SampleSet
    evaluation: SampleSet
    truth: float | None = None
    weight_degree: int | None = None
    calibrate_at: tuple[float, ...] = ()
    cover_at: tuple[float, ...] = ()
    belt_at: tuple[float, ...] = ()
    observable: str = "d_phi_qq"
    bins: int = 20
    second_observable: str | None = None
    bins_2d: tuple[int, int] = (8, 4)
    degree: int | None = None
    mc_stat: bool = True
    n_toys: int = 1000
    seed: int = 1
    workers: int = 1
    classifier_templates: SampleSet | None = None
    oracle_pool: Sample | SampleSet | None = None
    training: SampleSet | None = None
    drawn_features: tuple[str, ...] = ("d_phi_qq", "q0_pt", "m_ll")
    title: str | None = None
    simulated: bool = False
    blinding: Blinding | None = None
    simulation_error: bool = False

    @property
    def model(self) -> BagLikelihood:
        """The first model."""
        return self.models[0]

    @property
    def calibration_values(self) -> tuple[float, ...]:
        """True values of the toys for calibrations."""
        return self.calibrate_at or self._true_values(self.calibration, 7)

    @property
    def coverage_values(self) -> tuple[float, ...]:
        """True values of the toys for coverage, in addition to `truth`."""
        return self.cover_at or self._true_values(self.evaluation, 5)

    def _true_values(self, samples: SampleSet, number: int) -> tuple[float, ...]:
        """The points of the samples, or points inside the range of one sample with weights."""
        values = np.sort(samples.values(self.model.parameter))
        if len(values) == 1 and self.weight_degree is not None:
            return inner_values(self.model.interpolation.limits[0], number)
        return tuple(float(v) for v in values)


def reference_point(model: BagLikelihood) -> dict[str, float]:
    """θ0 of a trained model as a mapping from parameter names to values."""
    names = model.parameters
    values = np.broadcast_to(np.asarray(model.reference, dtype=np.float64), len(names))
    return dict(zip(names, values.tolist(), strict=True))
