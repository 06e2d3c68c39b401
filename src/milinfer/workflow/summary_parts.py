"""Entries that are the same in summaries with one parameter and with several parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from milinfer.binned.templates import Templates
from milinfer.diagnostics.diagnosis import Diagnosis
from milinfer.diagnostics.fit_tests import GoodnessOfFit
from milinfer.diagnostics.several_diagnosis import SeveralDiagnosis
from milinfer.utils.display import percent
from milinfer.workflow.comparison import Unavailable

__all__ = [
    "coverage_cell",
    "coverage_errors",
    "diagnosis_facts",
    "failure_facts",
    "fit_test_facts",
    "histogram_facts",
]


def coverage_cell(figures: Mapping[str, Any]) -> str:
    """Coverage of 68.27 % intervals in a terminal table, with its two errors in quadrature.

    Examples
    --------
    >>> coverage_cell({"coverage68": 0.68, "coverage68_error": 0.01, "coverage68_pool_error": 0.02})
    '68.0±2.2%'
    """
    errors = (figures.get("coverage68_error"), figures.get("coverage68_pool_error"))
    return percent(figures["coverage68"], *errors)


def coverage_errors(rows: Iterable[Any]) -> str:
    """Say the largest errors of coverages: from the number of toys, and from the event pool.

    Rows without a coverage do not count.

    Examples
    --------
    >>> row = {"coverage68": 0.68, "coverage68_error": 0.01, "coverage68_pool_error": None}
    >>> coverage_errors([row])
    'errors of the coverages: 1.0% (number of toys), 0.0% (event pool)'
    """
    with_coverage = [m for m in rows if isinstance(m, dict) and "coverage68_error" in m]
    if not with_coverage:
        return ""
    toys = max(m["coverage68_error"] for m in with_coverage)
    pool = max(m.get("coverage68_pool_error") or 0.0 for m in with_coverage)
    more = "; the event pool dominates, so use more events" if pool > toys else ""
    return f"errors of the coverages: {toys:.1%} (number of toys), {pool:.1%} (event pool){more}"


def failure_facts(unavailable: Mapping[str, Unavailable]) -> dict[str, Any]:
    """For each method that failed, the stage at which it failed, and the reason.

    Examples
    --------
    >>> failure_facts({"pyhf": Unavailable("pyhf", "templates", "bin 3 is empty")})
    {'pyhf': {'stage': 'templates', 'reason': 'bin 3 is empty'}}
    """
    return {
        name: {"stage": failure.stage, "reason": failure.reason}
        for name, failure in unavailable.items()
    }


def histogram_facts(templates: Mapping[str, Templates]) -> dict[str, Any]:
    """For each histogram: number of bins, degree of the polynomials, and what fills it."""
    return {
        name: {
            "bins": t.n_bins,
            "degree": t.basis.degree,
            "filled_by": "samples" if t.weight_degree is None else "weights",
        }
        for name, t in templates.items()
    }


def diagnosis_facts(diagnoses: Mapping[str, Diagnosis | SeveralDiagnosis | str]) -> dict[str, Any]:
    """Checks of each network, or the reason why there are none.

    Histograms and curves of the checks are left out.

    Examples
    --------
    >>> diagnosis_facts({"net": "not diagnosed: no other events"})
    {'net': {'verdict': 'not diagnosed: no other events'}}
    """
    return {
        name: {"verdict": d} if isinstance(d, str) else d.summary() for name, d in diagnoses.items()
    }


def fit_test_facts(tests: GoodnessOfFit | str) -> dict[str, Any]:
    """Goodness-of-fit tests, or the reason why there are none.

    Examples
    --------
    >>> fit_test_facts("not tested")
    {'problem': 'not tested'}
    """
    return {"problem": tests} if isinstance(tests, str) else tests.to_dict()
