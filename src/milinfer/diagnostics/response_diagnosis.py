r"""Diagnosis of a response to nuisance parameters: whether S(x; α) is that of the simulation.

A response is learned from nominal and varied events and may miss a feature, a cross term, a
dependence on the parameters of interest, or be extrapolated to where no event is.  Training losses
do not show it.  Here S is compared with varied events that it has not seen.
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
        Process, and names of the nuisance parameters.
    reference
        Parameter point of all checks, except the check of the dependence on parameters.
    n_events
        Nominal number of events of the process in a dataset; it decides which deviations of the
        yield matter.
    checks
        Results of the checks.
    curves, yields
        Expected yield against each nuisance parameter, and the yields of all variations.
    closures, separations
        Comparisons of nominal events, weighted by S, with varied ones.
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
        """Heading with process, nuisance parameters, number of events and verdict."""
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
        Nominal and varied events of the process that the response has not learned from.
    n_events
        Nominal number of events of the process in the datasets to which the response will be
        applied.  An error of the yield must be small against its square root.  Default: 1/500 of
        the effective number of nominal events, but at least 20.
    seed
        Seed of the halves of the events, and of the points at which the expected yield is checked.
    sigma
        Significance that a failure needs.  An exact response fails a check with the probability of
        such a fluctuation (0.3 % for 3σ) or less.
    tolerances
        Deviations that are too small to matter: `bias` for yields, `closure` for shapes.

    Raises
    ------
    SampleError
        If the variations belong to another process or lack features of the response, or the
        response was trained on their events.
    ParameterError
        If the response does not know a nuisance parameter, a variation is outside the limits of
        the response, or samples lack a parameter on which the response depends.
    ConfigurationError
        If `n_events` is below 1.

    Notes
    -----
    The reference is the point with most variations (if there are several, the nearest to zero).
    The checks *yields*, *closure* and *classifier* use variations of one nuisance parameter at the
    reference.  The check *factorisation* uses variations of several nuisance parameters together.
    The check *dependence on parameters* uses samples at other points, or the weights of the events
    at other points.

    If the nominal and the varied sample contain the same events, one random half is used as nominal
    events and the varied copies of the other half as varied events, so that both are independent.
    Yields are compared event by event.

    A check is undecided if there are too few events to see a deviation of the tolerated size, and
    skipped if it does not apply.

    Examples
    --------
    A weight exp(0.2 α x) of events from a normal distribution, and its exact response:

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
