"""Decide the outcomes of two-sample tests, by the difference that remains after reweighting."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.special import ndtr

from milinfer.diagnostics.checks import Look, Outcome, judge, pull_from_p, pull_of
from milinfer.diagnostics.two_sample import Agreement, Separation

__all__ = ["closure_look", "most_significant", "separation_look"]


def closure_look(
    quantity: str, agreement: Agreement, difference: float, tolerance: float, critical: float
) -> Look:
    """Decide whether the part of a difference that remains after reweighting is tolerable.

    Parameters
    ----------
    quantity
        What is compared.
    agreement
        χ² of the comparison, without and with reweighting.
    difference
        Size of the difference without reweighting (:attr:`Agreement.difference
        <milinfer.diagnostics.two_sample.Agreement.difference>`).  The fraction `tolerance` of it
        may remain.
    tolerance, critical
        As for :func:`milinfer.diagnostics.checks.judge`.

    Examples
    --------
    >>> look = closure_look("remaining in x", Agreement(200.0, 9, 400.0), 391.0, 0.2, 3.0)
    >>> round(look.value, 2), look.outcome, look.pull > 10
    (0.7, 'failed', True)
    """
    left, pull = agreement.remaining(difference), pull_from_p(agreement.p_value)
    p_value = 2 * float(ndtr(-critical))
    outcome: Outcome = "undecided"
    if pull > critical and left > tolerance:
        outcome = "failed"
    elif agreement.would_show(tolerance, difference, p_value):
        outcome = "passed"
    return Look(
        quantity=quantity,
        value=left,
        error=difference**-0.5 if difference > 0 else float("inf"),
        expected=0.0,
        tolerance=tolerance,
        outcome=outcome,
        significance=pull,
    )


def most_significant(looks: Sequence[Look]) -> int:
    """Return the position of the measurement with the largest pull; failed ones come first."""
    return max(range(len(looks)), key=lambda k: (looks[k].outcome == "failed", looks[k].pull))


def separation_look(quantity: str, separation: Separation, part: float, critical: float) -> Look:
    """Decide whether a classifier can separate two samples after reweighting.

    The measurement passes only if the classifier could separate the samples without reweighting;
    else it is undecided.

    Parameters
    ----------
    quantity
        What is compared.
    separation
        Result of the classifier test.
    part
        Let the distance be the area under the ROC curve minus 0.5.  After reweighting, this
        fraction of the distance without reweighting may remain.
    critical
        Only a deviation of more than this number of standard errors is significant.

    Examples
    --------
    >>> separation_look("AUC", Separation(0.5, 0.64, 0.002, 0.502, 0.002), 0.2, 3.0).outcome
    'passed'
    """
    difference = max(separation.before - 0.5, 0.0)
    tolerance = part * difference
    outcome = judge(max(separation.after - 0.5, 0.0), separation.after_error, tolerance, critical)
    if outcome == "passed" and pull_of(difference, separation.before_error) <= critical:
        outcome = "undecided"
    return Look(
        quantity=quantity,
        value=separation.after,
        error=separation.after_error,
        expected=0.5,
        tolerance=tolerance,
        outcome=outcome,
    )
