r"""Diagnosis of a learned likelihood ratio: all checks, and whether it can be trusted.

With :math:`\lambda = \ln r(x|\theta)` of an exact ratio, :math:`E_{\theta_0}[r] = 1` at every θ,
:math:`E_\theta[\partial_\theta\lambda] = 0` and
:math:`E_\theta[-\partial^2_\theta\lambda] = E_\theta[(\partial_\theta\lambda)^2]` (the Bartlett
identities; [AS], eq. 17 and §C.2).  Learned ratios violate them without any sign in the training
loss (§C.1, §C.4 and §C.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

import numpy as np

from milinfer.diagnostics.checks import Check, Tolerances, jsonable
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
from milinfer.utils.display import UNKNOWN, arrow_table, html_table

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

__all__ = ["Diagnosis", "diagnose"]

_STYLES = {"passed": "green", "failed": "bold red", "undecided": "yellow", "skipped": "dim"}
# Colours that are readable on white and on black.
_COLOURS = {"passed": "#2e8b57", "failed": "#d64545", "undecided": "#a87b00", "skipped": "#7a7a7a"}


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """All checks of one model.

    Parameters
    ----------
    model, parameter, reference
        Names of the model and the parameter, and θ0.
    n_events
        Size of the datasets to which bias and toys refer.
    checks
        Results of the checks.
    normalisation, closures, separations, curves
        Data for the figures of :mod:`milinfer.plotting.diagnostics`.
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

    header = ("check", "measured", "exact", "pull", "outcome", "meaning")

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        msg = f"no check {name!r}; there are {', '.join(c.name for c in self.checks)}"
        raise KeyError(msg)

    @property
    def passed(self) -> bool:
        """Whether every check that applies has passed; an undecided one has not."""
        return all(c.outcome in ("passed", "skipped") for c in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """Checks that failed."""
        return tuple(c for c in self.checks if c.outcome == "failed")

    @property
    def undecided(self) -> tuple[Check, ...]:
        """Checks with too few events to decide."""
        return tuple(c for c in self.checks if c.outcome == "undecided")

    @property
    def verdict(self) -> str:
        """One line that sums up the checks."""
        if self.failures:
            return f"do not trust as it is: {', '.join(c.name for c in self.failures)}"
        if self.undecided:
            return f"nothing wrong found, undecided: {', '.join(c.name for c in self.undecided)}"
        return "nothing wrong found"

    @property
    def title(self) -> str:
        """Model, range of use and verdict."""
        return f"{self.model}, datasets of {self.n_events} events: {self.verdict}"

    def __str__(self) -> str:
        lines = [self.title]
        for c in self.checks:
            meaning = f". {c.meaning}" if c.outcome == "failed" else ""
            lines.append(f"  {c.outcome:<9} {c.name}: {c.measured() or UNKNOWN}{meaning}")
        return "\n".join(lines)

    def rows(self) -> list[list[str]]:
        """Cells of the table, as text."""
        return [
            [
                c.name,
                c.measured(),
                f"{c.expected:g}" if np.isfinite(c.expected) else UNKNOWN,
                UNKNOWN if np.isnan(c.pull) else f"{c.pull:.1f}",
                c.outcome,
                c.meaning,
            ]
            for c in self.checks
        ]

    def to_rich(self) -> Table:
        """Table for the terminal."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.title), title_justify="left", box=SIMPLE_HEAD)
        for name in self.header:
            right = name in ("exact", "pull")
            table.add_column(
                name,
                justify="right" if right else "left",
                no_wrap=name not in ("measured", "meaning"),
            )
        for row in self.rows():
            cells = [c.replace(" = ", "\n= ") if k == 1 else c for k, c in enumerate(row)]
            # As plain text, since rich would read [r] as a style.
            table.add_row(*map(Text, cells), style=_STYLES[row[4]], end_section=True)
        return table

    def __rich__(self) -> Table:
        return self.to_rich()

    def _repr_html_(self) -> str:
        return html_table(self.header, self.rows(), title=self.title, marked=("outcome", _COLOURS))

    def to_table(self) -> pa.Table:
        """One row for each check; columns are the fields of a :class:`Check`."""
        types = get_type_hints(Check) | {"outcome": str}
        return arrow_table(types, [vars(c) for c in self.checks])

    def __repr__(self) -> str:
        return f"Diagnosis({self.title})"

    def to_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON."""
        out: dict[str, Any] = {
            "model": self.model,
            "parameter": self.parameter,
            "reference": self.reference,
            "n_events": self.n_events,
            "passed": self.passed,
            "verdict": self.verdict,
            "checks": [c.to_dict() for c in self.checks],
            "normalisation": self.normalisation,
            "closures": list(self.closures),
            "separations": list(self.separations),
            "curves": list(self.curves),
        }
        return {k: jsonable(v) for k, v in out.items()}


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
        Any source of per-event log-likelihood ratios in one parameter.
    samples
        Held-out events at θ0 and other values; weights of any sign.
    reference
        θ0; default: that of the model, or 0.
    n_events
        Number of events in the datasets to which the model will be applied: sets how much bias
        matters, and the size of the toys.  Default: a 500th of the smallest sample, or up to a 50th
        if so few events would not confine an estimate to the range.
    n_toys
        Toys at each of up to three values; 0 skips the checks that need them.
    seed
        Seed of the toys and of the halves of the classifier test.
    sigma
        Significance that a failure needs.  An exact ratio fails a check with the probability of
        such a fluctuation (0.3 % for 3σ) or less.
    tolerances
        Deviations that do no harm.
    outside
        ``"raise"`` an error for samples outside the range of the model, or ``"drop"`` them.

    Raises
    ------
    ParameterError
        If there is no sample at θ0, or one is outside the range of the model.
    SampleError
        If the weights of a sample do not have a positive sum, or the model was trained on its
        events.
    ModelError
        If the model gives numbers that are not finite.
    ConfigurationError
        If datasets have less than one event.

    Notes
    -----
    A check is undecided if the events could not have shown a deviation of the tolerated size, and
    skipped if it does not apply.

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
            f"{samples[0].label} has no parameter point, as data have none; diagnose() needs "
            "simulated events at known points that the model has not seen"
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
