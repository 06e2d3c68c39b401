r"""Run all checks of a learned likelihood ratio, and say whether it can be trusted.

An exact ratio :math:`r(x|\theta)`, with :math:`\lambda = \ln r`, has these properties:
:math:`E_{\theta_0}[r] = 1` at every θ, :math:`E_\theta[\partial_\theta\lambda] = 0` and
:math:`E_\theta[-\partial^2_\theta\lambda] = E_\theta[(\partial_\theta\lambda)^2]` (the Bartlett
identities; [AS], eq. 17 and §C.2).  A learned ratio can violate them without any sign in the
training loss (§C.1, §C.4 and §C.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from milinfer.diagnostics.check_list import CheckList
from milinfer.diagnostics.checks import Check, Tolerances
from milinfer.diagnostics.event_checks import (
    NormalisationScan,
    bartlett_check,
    calibration_check,
    closure_check,
    normalisation_check,
    range_check,
    score_check,
    separation_check,
)
from milinfer.diagnostics.held_out import hold_out
from milinfer.diagnostics.toy_checks import toy_checks
from milinfer.diagnostics.two_sample import CalibrationCurve, FeatureClosure, Separation
from milinfer.exceptions import SampleError
from milinfer.likelihood.models import LLRModel
from milinfer.samples.argument_checks import require_samples
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(CheckList):
    """All checks of one model.

    Parameters
    ----------
    model, parameter, reference
        Name of the model, name of the parameter, and θ0.
    n_events
        Number of events in a dataset.  The bias is judged for datasets of this size, and toys have
        this size.
    checks
        Results of the checks.
    normalisation, closures, separations, curves
        Details of the checks, for the figures of :mod:`milinfer.plotting.diagnostics`.
    """

    model: str
    parameter: str
    reference: float
    n_events: int
    checks: tuple[Check, ...]
    normalisation: NormalisationScan
    closures: tuple[FeatureClosure, ...] = ()
    separations: tuple[Separation, ...] = ()
    curves: tuple[CalibrationCurve, ...] = ()

    @property
    def title(self) -> str:
        """Heading: name of the model, size of the datasets, and verdict."""
        return f"{self.model}, datasets of {self.n_events} events: {self.verdict}"


def diagnose(
    model: LLRModel,
    samples: SampleSet | Sample,
    *,
    reference: float | None = None,
    n_events: int | None = None,
    n_toys: int = 4000,
    seed: int = 0,
    sigma: float = 3.0,
    tolerances: Tolerances | None = None,
    outside: Literal["raise", "drop"] = "raise",
) -> Diagnosis:
    """Check a learned likelihood ratio on held-out events.

    Parameters
    ----------
    model
        Any model that gives log-likelihood ratios of single events in one parameter.
    samples
        Held-out events at θ0 and at other values of the parameter.  Negative weights are allowed.
    reference
        θ0; default: θ0 of the model, or 0 if the model has none.
    n_events
        Number of events in the datasets to which the model will be applied.  Toys have this size,
        and a bias is compared with the standard error of an estimate from so many events.  Default:
        1/500 of the effective number of events in the smallest sample.  If estimates from this
        number of events scatter beyond the range of the model, the default is larger, up to 1/50 of
        the effective number.  The default is never below 20.
    n_toys
        Number of toys at each true value (at most three true values are used).  With 0, the checks
        that need toys are skipped.
    seed
        Random seed of the toys, and of the split of the events into halves: a classifier is trained
        on one half and tested on the other.
    sigma
        Significance, in standard deviations, that a deviation must have to fail a check.  If the
        ratio is exact, the probability that a check fails is at most the probability of such a
        fluctuation (0.3 % for 3σ).
    tolerances
        Deviations that are too small to matter; default: ``Tolerances()``.
    outside
        What happens if a sample is outside the range of the model: ``"raise"`` an error, or
        ``"drop"`` the sample.

    Raises
    ------
    ParameterError
        If there is no sample at θ0, or a sample is outside the range of the model.
    SampleError
        If the sum of the weights of a sample is not positive, or if the model was trained on events
        of a sample.
    ModelError
        If the model gives numbers that are not finite.
    ConfigurationError
        If `n_events` is below 1.

    Notes
    -----
    A check is undecided if there are too few events to exclude a deviation of the tolerated size.
    A check is skipped if it does not apply.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> model = gaussian.MeanModel()
    >>> diagnosis = diagnose(model, gaussian.samples(20_000, [-0.5, 0.0, 0.5], seed=1))
    >>> diagnosis.failures
    ()
    >>> print(diagnosis["event Bartlett"].measured())
    E[−λ″]/E[λ′²] at mu=0 = ... ± ...
    """
    samples = SampleSet((samples,)) if isinstance(samples, Sample) else samples
    require_samples(samples, "diagnose()")
    if not samples.parameters:
        msg = (
            f"{samples[0].label} has no parameter point, like data; diagnose() needs simulated "
            "events at known points, which were not used for training"
        )
        raise SampleError(msg)
    held_out = hold_out(
        model, samples, reference, n_events, sigma, tolerances or Tolerances(), outside
    )
    scan, normalisation = normalisation_check(held_out)
    closures, closure = closure_check(held_out)
    separations, separation = separation_check(held_out, seed)
    curves, calibration = calibration_check(held_out)
    checks = (
        normalisation,
        score_check(held_out),
        bartlett_check(held_out),
        closure,
        separation,
        calibration,
        *toy_checks(held_out, n_toys, seed),
        range_check(held_out),
    )
    return Diagnosis(
        model=model.name,
        parameter=held_out.parameter,
        reference=held_out.reference,
        n_events=held_out.n_events,
        checks=checks,
        normalisation=scan,
        closures=closures,
        separations=separations,
        curves=curves,
    )
