r"""Run all checks of a response to nuisance parameters, and say whether it can be trusted.

A response is learned from nominal and varied events.  It may miss a feature, a cross term or a
dependence on the parameters of interest, or it may be extrapolated to a region without events.  The
training loss does not show this.  Here S is compared with varied events that were not used to train
it.
"""

from __future__ import annotations

from dataclasses import dataclass

from milinfer.diagnostics.check_list import CheckList
from milinfer.diagnostics.checks import Check, Tolerances
from milinfer.diagnostics.held_out_response import YieldComparison, hold_out_response
from milinfer.diagnostics.response_checks import (
    ResponseClosure,
    ResponseSeparation,
    YieldCurve,
    dependence_check,
    expected_yield_check,
    extrapolation_check,
    factorisation_check,
    response_closure_check,
    response_separation_check,
    yield_check,
    yield_curves,
)
from milinfer.likelihood.responses import Response
from milinfer.samples.variations import ProcessVariations
from milinfer.typing import Point

__all__ = ["ResponseDiagnosis", "diagnose_response"]


@dataclass(frozen=True, eq=False, repr=False)
class ResponseDiagnosis(CheckList):
    """All checks of one response.

    Parameters
    ----------
    process, nuisances
        Name of the process, and names of its nuisance parameters.
    reference
        Parameter point at which the checks are made, except the check *dependence on parameters*.
    n_events
        Nominal number of events of the process in a dataset.  The tolerated error of the yield
        depends on it.
    checks
        Results of the checks.
    curves, yields
        Expected yield as a function of each nuisance parameter, and the measured yields of all
        variations.
    closures, separations
        Comparisons of nominal events with weights S and varied events.
    """

    process: str
    nuisances: tuple[str, ...]
    reference: Point
    n_events: int
    checks: tuple[Check, ...]
    curves: tuple[YieldCurve, ...] = ()
    yields: tuple[YieldComparison, ...] = ()
    closures: tuple[ResponseClosure, ...] = ()
    separations: tuple[ResponseSeparation, ...] = ()

    @property
    def title(self) -> str:
        """Heading: process, nuisance parameters, number of events and verdict."""
        return (
            f"response of {self.process} to {', '.join(self.nuisances)}, {self.n_events} events: "
            f"{self.verdict}"
        )


def diagnose_response(
    response: Response,
    variations: ProcessVariations,
    *,
    n_events: int | None = None,
    seed: int = 0,
    sigma: float = 3.0,
    tolerances: Tolerances | None = None,
) -> ResponseDiagnosis:
    """Check a response to nuisance parameters on held-out variations.

    Parameters
    ----------
    response
        Learned or exact response of one process.
    variations
        Nominal and varied events of the process that were not used to train the response.
    n_events
        Nominal number of events of the process in the datasets to which the response will be
        applied.  An error of the yield must be small compared with the square root of this number.
        Default: 1/500 of the effective number of nominal events, but at least 20.
    seed
        Random seed of the split of events into halves, and of the points at which the expected
        yield is checked.
    sigma
        Significance, in standard deviations, that a deviation must have to fail a check.  An exact
        response fails a check with at most the probability of such a fluctuation (0.3 % for 3σ).
    tolerances
        Deviations that are too small to matter: `bias` for yields, `closure` for shapes.

    Raises
    ------
    SampleError
        If the variations belong to another process, if they lack features of the response, or if
        the response was trained on their events.
    ParameterError
        If a variation has a nuisance parameter that the response does not have, if a variation is
        outside the limits of the response, or if samples lack a parameter on which the response
        depends.
    ConfigurationError
        If `n_events` is below 1.

    Notes
    -----
    The reference is the point with the most variations.  If several points have as many, it is the
    nearest to zero.  The checks *yields*, *closure* and *classifier* use variations of one nuisance
    parameter at the reference.  The check *factorisation* uses variations of several nuisance
    parameters together.  The check *dependence on parameters* uses variations at other points:
    samples at these points, or events with weights for these points.

    If the nominal and the varied sample contain the same events, one random half is used as nominal
    events, and the varied copies of the other half are used as varied events, so that the two are
    independent.  Only for the yields all events are used; they are compared event by event.

    A check is undecided if there are too few events to exclude a deviation of the tolerated size.
    A check is skipped if it does not apply.

    Examples
    --------
    The varied events are nominal events, from a normal distribution, with weights exp(0.2 α x).
    The response is exact:

    >>> import numpy as np
    >>> from milinfer.likelihood.expected_response import expected_response
    >>> from milinfer.likelihood.response_terms import ResponseTerms
    >>> from milinfer.samples.sample import Sample
    >>> from milinfer.samples.variations import Variation
    >>> class Tilt(Response):
    ...     process, feature_names, trained_on = "signal", ("x",), ()
    ...     terms = ResponseTerms.of(["tilt"])
    ...     def event_columns(self, sample):
    ...         return np.c_[0.2 * sample.features, 0 * sample.features]
    >>> nominal = Sample(np.random.default_rng(1).normal(size=(100_000, 1)), ("x",))
    >>> held_out = ProcessVariations(nominal, [
    ...     Variation.of_weights(nominal, {"tilt": a}, np.exp(0.2 * a * nominal.column("x")))
    ...     for a in (-1.0, 1.0)])
    >>> response = Tilt()
    >>> response.expected = expected_response(response.table, held_out.nominal)
    >>> diagnosis = diagnose_response(response, held_out)
    >>> diagnosis
    ResponseDiagnosis(response of signal to tilt, 200 events: nothing wrong found)
    >>> diagnosis["factorisation"].outcome
    'skipped'
    """
    held_out = hold_out_response(
        response, variations, n_events, seed, sigma, tolerances or Tolerances()
    )
    yields, yield_result = yield_check(held_out)
    closures, closure = response_closure_check(held_out)
    separations, classifier = response_separation_check(held_out)
    yields_together, closures_together, factorisation = factorisation_check(held_out)
    yields_elsewhere, separations_elsewhere, dependence = dependence_check(held_out)
    return ResponseDiagnosis(
        process=response.process,
        nuisances=response.nuisances,
        reference=held_out.reference,
        n_events=held_out.n_events,
        checks=(
            yield_result,
            expected_yield_check(held_out),
            closure,
            classifier,
            factorisation,
            dependence,
            extrapolation_check(held_out),
        ),
        curves=yield_curves(held_out),
        yields=(*yields, *yields_together, *yields_elsewhere),
        closures=(*closures, *closures_together),
        separations=(*separations, *separations_elsewhere),
    )
