"""Entries that are the same in summaries with one parameter and with several parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milinfer.binned.templates import Templates
from milinfer.diagnostics.diagnosis import Diagnosis
from milinfer.diagnostics.fit_tests import GoodnessOfFit
from milinfer.diagnostics.several_diagnosis import SeveralDiagnosis
from milinfer.workflow.comparison import Unavailable

__all__ = ["diagnosis_facts", "failure_facts", "fit_test_facts", "histogram_facts"]


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
