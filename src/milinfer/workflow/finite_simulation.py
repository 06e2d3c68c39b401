"""The error of a result that is due to the finite number of training events.

It is measured for ensembles whose members were trained on bootstrap samples (``bootstrap = true``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from milinfer.exceptions import MilinferError
from milinfer.intervals.simulation_widening import add_simulation_error
from milinfer.learning.bag_likelihood import BagLikelihood
from milinfer.learning.finite_simulation import SimulationError, simulation_error
from milinfer.likelihood.cost import LikelihoodCost
from milinfer.likelihood.fits import Interval, minuit, profile_interval
from milinfer.plotting.style import method_title
from milinfer.samples.sample import Sample
from milinfer.utils.confidence_levels import CL68, CL95
from milinfer.workflow.html_report import Report

if TYPE_CHECKING:
    from iminuit.cost import Cost

__all__ = ["TrainingError", "add_training_errors", "simulation_facts", "training_errors"]


@dataclass(frozen=True, eq=False)
class TrainingError:
    """Error of a fit due to the finite number of training events, and intervals that include it.

    Parameters
    ----------
    error
        Error of Λ(θ) and of the estimates due to the finite number of training events.
    intervals
        Intervals of each parameter at 68.27 % and 95.45 %, from the uncalibrated model, which
        include this error.
    """

    error: SimulationError
    intervals: dict[str, tuple[Interval, Interval]]

    def to_dict(self) -> dict[str, Any]:
        """Return the errors and the intervals as plain numbers, for JSON."""
        content = self.error.to_dict()
        for name, (inner, outer) in self.intervals.items():
            content[name]["interval68"] = [inner.low, inner.high]
            content[name]["interval95"] = [outer.low, outer.high]
        return content


def training_error(model: BagLikelihood, cost: LikelihoodCost, data: Sample) -> TrainingError:
    """Measure the error of one fit, and include it in the intervals of the uncalibrated model.

    Parameters
    ----------
    model
        Model that was trained with ``bootstrap=True``.
    cost
        Uncalibrated cost of the model and the data.
    data
        The dataset.

    Raises
    ------
    MilinferError
        If the error cannot be measured, or an interval ends outside the range of the model.
    """
    error = simulation_error(model, data)
    widened = add_simulation_error(cost, error)
    best = minuit(widened).migrad()
    start = {name: float(best.values[name]) for name in cost.parameters}
    intervals = {}
    for name in cost.parameters:
        inner, outer = (
            profile_interval(widened, name, cl, start=start if len(start) > 1 else None)
            for cl in (CL68, CL95)
        )
        intervals[name] = inner, outer
    return TrainingError(error, intervals)


def training_errors(
    models: Sequence[BagLikelihood], costs: Mapping[str, Cost], data: Sample
) -> dict[str, TrainingError | str]:
    """Measure the error that is due to the finite number of training events.

    The result has an entry for each model that was trained on bootstrap samples: its error, or the
    reason why the error is missing.

    Parameters
    ----------
    models
        Trained models; models that were trained without bootstrap samples are left out.
    costs
        Uncalibrated costs of the fitted models, by name.
    data
        The dataset.
    """
    errors: dict[str, TrainingError | str] = {}
    for model in models:
        cost = costs.get(model.name)
        if not model.bootstrap or not isinstance(cost, LikelihoodCost):
            continue
        try:
            errors[model.name] = training_error(model, cost, data)
        except MilinferError as failure:
            errors[model.name] = f"not measured: {failure}"
    return errors


def simulation_facts(errors: Mapping[str, TrainingError | str]) -> dict[str, Any]:
    """Make the entry ``simulation_error`` of ``summary.json``; {} if `errors` is empty.

    Parameters
    ----------
    errors
        Result of :func:`training_errors`, empty if no model was trained on bootstrap samples.

    Examples
    --------
    >>> simulation_facts({"net": "not measured: no interval"})
    {'simulation_error': {'net': {'problems': ['not measured: no interval']}}}
    >>> simulation_facts({})
    {}
    """
    if not errors:
        return {}
    return {
        "simulation_error": {
            name: {"problems": [found]} if isinstance(found, str) else found.to_dict()
            for name, found in errors.items()
        }
    }


def add_training_errors(
    report: Report, errors: Mapping[str, TrainingError | str], *, widened: bool
) -> None:
    """Add a section with the errors of all models to a report; nothing if `errors` is empty.

    Parameters
    ----------
    report
        The report.
    errors
        Result of :func:`training_errors`.
    widened
        Whether calibrated intervals are widened by the error of their calibration.
    """
    if not errors:
        return
    report.section("Finite simulation")
    report.text(
        "A network trained on other simulated events would give another estimate. The spread of an "
        "ensemble trained on bootstrap samples of the events measures this error. The intervals "
        "here are those of the uncalibrated network, with this error included. A calibrated "
        "interval does not need this error, because the calibration measures the effects of the "
        "training on independent events. A calibrated interval "
        + (
            "contains the error of its calibration."
            if widened
            else "needs the error of its calibration."
        )
    )
    rows = []
    for model, found in errors.items():
        title = method_title(model)
        if isinstance(found, str):
            report.text(f"{title}: {found}.")
            continue
        error = found.error
        for name, estimate, sigma in zip(
            error.parameters, error.estimate, error.estimate_error, strict=True
        ):
            ends = [f"[{i.low:+.3f}, {i.high:+.3f}]" for i in found.intervals[name]]
            rows.append(
                [
                    title,
                    name,
                    f"{estimate:+.3f}",
                    f"{sigma:.3f}",
                    f"{error.relative_error:.0%}",
                    f"{error.data_share:.0%}",
                    *ends,
                ]
            )
    if rows:
        report.table(
            [
                "method",
                "parameter",
                "estimate as trained",
                "error from simulation",
                "known to",
                "share of the events",
                f"{CL68:.2%} with it",
                f"{CL95:.2%} with it",
            ],
            rows,
            "Share of the events: the fraction of the variance between networks of the ensemble "
            "that "
            "comes from the finite number of events; the rest is the scatter of the training. If "
            "this fraction is small, train longer; if it is large, only more simulated events "
            "help.",
        )
