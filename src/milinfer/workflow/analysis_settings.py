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
        Trained likelihoods with different names; the report is about the first one.
    data
        Dataset to fit.
    templates
        Samples for the histograms of features.  The histogram of the classifier output needs events
        that the network was not trained on; see `classifier_templates`.
    calibration
        Samples for the toys from which calibrations and belts are made.
    evaluation
        Samples of other events, for coverage.
    truth
        True value at which the methods are compared; default: the point of the evaluation sample,
        if there is only one.
    weight_degree
        Degree of the polynomials in the parameter that are the event weights.  Toys can then be
        generated from all events at any value; if the events of `templates` carry weights too, all
        of them contribute to the histograms at every value.  None: toys only at the points of the
        samples.
    calibrate_at, cover_at, belt_at
        True values of the toys for calibrations, for coverage and for belts.  Default: the points
        of the samples, or for one sample whose events carry weights 7 and 5 values in the inner
        half of the range; no belts.
    observable, bins, degree
        Feature and number of bins of the histogram, and degree of its polynomials; default degree:
        the degree of the weights, or 4.
    second_observable, bins_2d
        Second feature and numbers of bins of a histogram of two observables; None leaves it out.
    mc_stat
        Whether the likelihoods of histograms include the Monte-Carlo errors of the templates.
    n_toys
        Number of toys at each true value.
    seed
        Seed of the toys.
    workers
        Number of threads that generate toys.
    classifier_templates
        Held-out samples for the histogram of the classifier output; None leaves that method out.
    oracle_pool
        Sample or samples that normalise the exact likelihood ratio; None leaves the oracle out.
    training
        Samples that the networks were trained on: the bins of histograms of their outputs are
        chosen on these events; default: `templates`.
    drawn_features
        Features to draw in the report; default if the samples have none of these: the first three.
    title
        Heading of the report.
    simulated
        Whether the data are simulated at `truth`; the report then states this.
    blinding
        For a blind analysis: whether `data` are pseudo-data; None: the analysis is not blind.
    simulation_error
        Whether calibrated intervals contain the error of the calibration.
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
        """The first of the models."""
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
    """θ0 of a trained model, by the names of its parameters."""
    names = model.parameters
    values = np.broadcast_to(np.asarray(model.reference, dtype=np.float64), len(names))
    return dict(zip(names, values.tolist(), strict=True))
