"""Check a learned ratio in several parameters, along several lines through θ0.

The checks of :func:`milinfer.diagnose` are made for one parameter.  Along a line through θ0, a
model of several parameters becomes a model of one parameter
(:class:`milinfer.likelihood.slices.Slice`).  The checks are made along two kinds of lines: along
each parameter, with the other parameters at θ0; and along the diagonal of each pair of parameters,
on which both change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from milinfer.diagnostics.checks import Tolerances
from milinfer.diagnostics.diagnosis import Diagnosis, diagnose
from milinfer.exceptions import ParameterError
from milinfer.likelihood.models import LLRModel
from milinfer.likelihood.slices import Slice
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.pool import EventPool
from milinfer.typing import Point

__all__ = ["SeveralDiagnosis", "diagnose_lines"]

# Points of reweighted events on each side of θ0, in the distance to the end of the range.
_REACH = 0.5


@dataclass(frozen=True, eq=False)
class SeveralDiagnosis:
    """Checks of a model of several parameters along several lines through θ0.

    Parameters
    ----------
    model
        Name of the model.
    lines
        For each line (by name), its diagnosis.  The name is the parameter (``"c1"``), or both
        parameters of a diagonal (``"c1 + c2"``).
    skipped
        For each line that was not diagnosed because samples are missing (by name), the reason.
    """

    model: str
    lines: dict[str, Diagnosis]
    skipped: dict[str, str]

    def __iter__(self) -> Iterator[Diagnosis]:
        return iter(self.lines.values())

    def __getitem__(self, line: str) -> Diagnosis:
        return self.lines[line]

    def __repr__(self) -> str:
        return f"SeveralDiagnosis({self.model}: {self.verdict})"

    def _repr_html_(self) -> str:
        return "".join(diagnosis._repr_html_() for diagnosis in self)

    @property
    def passed(self) -> bool:
        """Whether all checks have passed along all lines, apart from skipped checks."""
        return bool(self.lines) and all(d.passed for d in self)

    @property
    def verdict(self) -> str:
        """One line that sums up the checks."""
        failed = {name: d for name, d in self.lines.items() if d.failures}
        if failed:
            return "do not trust as it is: " + "; ".join(
                f"{', '.join(c.name for c in d.failures)} along {name}"
                for name, d in failed.items()
            )
        if not self.lines:
            return "not diagnosed: no samples along any line"
        verdicts = {name: d.verdict for name, d in self.lines.items()}
        if len(set(verdicts.values())) == 1:
            return next(iter(verdicts.values()))
        return "; ".join(f"along {name}: {verdict}" for name, verdict in verdicts.items())

    def summary(self) -> dict[str, Any]:
        """Return the entries for ``summary.json``."""
        return {
            "verdict": self.verdict,
            "passed": self.passed,
            "lines": {name: d.summary() for name, d in self.lines.items()},
            "skipped": dict(self.skipped),
        }


def diagnose_lines(
    model: LLRModel,
    samples: SampleSet,
    *,
    weight_degree: int | None = None,
    n_events: int | None = None,
    n_toys: int = 4000,
    seed: int = 0,
    sigma: float = 3.0,
    tolerances: Tolerances | None = None,
) -> SeveralDiagnosis:
    """Check a learned likelihood ratio in several parameters on held-out events.

    The checks are made along lines through θ0: along each parameter, and along the diagonal of each
    pair of parameters.

    Parameters
    ----------
    model
        Model that gives log-likelihood ratios of single events in several parameters.
    samples
        Held-out events.  Without `weight_degree`, a line is checked only if there are samples at θ0
        and at another point of the line.
    weight_degree
        Give it if the event weights are polynomials in the parameters; it is the degree of these
        polynomials.  The events are then split into three parts.  For each line, one part is
        reweighted to θ0, and the other two parts to the two points of the line that are half way
        between θ0 and the ends of the range.
    n_events, n_toys, seed, sigma, tolerances
        As for :func:`milinfer.diagnose`.

    Raises
    ------
    ParameterError
        If the model has only one parameter, or θ0 is at the end of the range of a parameter.
    SampleError
        If the model was trained on the events, or their weights are not polynomials of this degree.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> from milinfer.likelihood.surface_box import ChebyshevBox
    >>> class Exact:
    ...     name, parameters = "exact", ("c1", "c2")
    ...     interpolation = ChebyshevBox(np.full(2, -0.7), np.full(2, 0.7), 16)
    ...     def event_llr(self, sample):
    ...         return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid)
    >>> samples = quadratic.samples(6000, [{"c1": 0.0, "c2": 0.0}], seed=1)
    >>> diagnosis = diagnose_lines(Exact(), samples, weight_degree=2, n_toys=0)
    >>> list(diagnosis.lines), diagnosis["c1 + c2"].failures
    (['c1', 'c2', 'c1 + c2'], ())
    """
    names = model.parameters
    if len(names) < 2:
        msg = f"{model.name} has one parameter, {', '.join(names)}; use milinfer.diagnose"
        raise ParameterError(msg)
    values = np.broadcast_to(
        np.asarray(getattr(model, "reference", 0.0), dtype=np.float64), len(names)
    )
    reference = dict(zip(names, values.tolist(), strict=True))
    lines, skipped = {}, {}
    parts = samples.split([1 / 3] * 3, seed) if weight_degree is not None else ()
    pools = [EventPool(part, weight_degree) for part in parts]
    for label, step in _lines(model, reference).items():
        line = Slice(model, reference, step, label)
        own = line.on_line(samples.samples)
        if pools:
            low, high = line.interpolation.range
            places = (0.0, _REACH * low, _REACH * high)
            own = [_brought(pool, line, t) for pool, t in zip(pools, places, strict=True)]
        elif len(own) < 2 or not any(s.point[label] == 0.0 for s in own):
            skipped[label] = "no samples at θ0 and elsewhere on this line"
            continue
        lines[label] = diagnose(
            line,
            SampleSet(tuple(own)),
            reference=0.0,
            n_events=n_events,
            n_toys=n_toys,
            seed=seed,
            sigma=sigma,
            tolerances=tolerances,
            outside="drop",
        )
    return SeveralDiagnosis(model.name, lines, skipped)


def _lines(model: LLRModel, reference: Point) -> dict[str, dict[str, float]]:
    """Steps along each parameter, and of each pair from θ0 towards a corner of the range."""
    limits = dict(zip(model.parameters, model.interpolation.limits, strict=True))
    half = {name: (high - low) / 2 for name, (low, high) in limits.items()}
    for name, (low, high) in limits.items():
        if not low < reference[name] < high:
            msg = (
                f"θ0 has {name} = {reference[name]:g}, at the end of its range [{low:g}, "
                f"{high:g}]; the checks need a θ0 inside the range"
            )
            raise ParameterError(msg)
    steps = {name: {name: 1.0} for name in model.parameters}
    for a, b in combinations(model.parameters, 2):
        steps[f"{a} + {b}"] = {a: 1.0, b: half[b] / half[a]}
    return steps


def _brought(pool: EventPool, line: Slice, t: float) -> Sample:
    """The events of a pool at one point of a line, as a sample of its parameter."""
    sample = pool.reweighted(line.point(t))
    (moved,) = line.on_line([sample])
    return moved
