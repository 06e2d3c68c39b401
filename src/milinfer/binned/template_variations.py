r"""Add the nuisance parameters of :mod:`milinfer.samples.variations` to templates.

`varied_templates` fills the bins of templates with the events of variations at ±1 of each nuisance
parameter, and computes the relative shift of each bin.  The shifts become systematic uncertainties
of a workspace (``normsys``, ``histosys``).  A fit of histograms then has the same systematic
uncertainties, with the same names, as a likelihood that is learned from these variations.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from milinfer.binned.bin_shifts import (
    ProcessShift,
    background_shift,
    shift_at_one_point,
    signal_shift,
)
from milinfer.binned.pyhf_cost import PyhfCost
from milinfer.binned.template_diagnosis import circular_edges
from milinfer.binned.template_histograms import (
    circular_axes,
    fill_histogram,
    histogram_of,
)
from milinfer.binned.templates import Templates
from milinfer.binned.workspace_export import (
    SIGNAL,
    BackgroundYields,
    Systematic,
    export_workspace,
    import_workspace,
    sample_modifiers,
)
from milinfer.exceptions import (
    MilinferWarning,
    ParameterError,
    TemplateError,
    UnusedVariationWarning,
)
from milinfer.samples.sample import Sample
from milinfer.samples.variations import ProcessVariations, Variation
from milinfer.typing import FloatArray, Point
from milinfer.utils.display import arrow_table
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TemplateClosure", "TemplateShift", "VariedTemplates", "varied_templates"]


@dataclass(frozen=True, eq=False)
class TemplateShift:
    """Effect of one nuisance parameter on the bins of one process, at −1 or +1.

    Parameters
    ----------
    nuisance
        Name of the nuisance parameter.
    process
        ``"signal"``, or the name of the background.
    value
        −1 or +1.
    shift, error
        Relative shift of each bin at the reference of the templates, and its Monte-Carlo error;
        each of shape (n_bins,).
    rate, rate_error
        Relative shift of the total yield at the reference, and its Monte-Carlo error.
    p_value
        Probability that Monte-Carlo errors alone change the shape at least as much as this shift.
        The shape is what remains when the shift of the total yield is divided out.  The probability
        is 1 if the shape cannot change.
    under_theta
        How the shift depends on θ, in words.
    pruned
        True if the change in shape was left out, so that only `rate` is used.
    """

    nuisance: str
    process: str
    value: int
    shift: FloatArray
    error: FloatArray
    rate: float
    rate_error: float
    p_value: float
    under_theta: str
    pruned: bool = False


@dataclass(frozen=True, eq=False)
class TemplateClosure:
    """Test of HistFactory's interpolation with a variation that no systematic uncertainty uses.

    Parameters
    ----------
    nuisances
        Values of the nuisance parameters in this variation, such as 2 for one parameter, or 1 for
        two.
    process
        ``"signal"``, or the name of the background.
    shift, error
        Relative shift of each bin, computed from the events of the variation, and its Monte-Carlo
        error; each of shape (n_bins,).
    interpolated
        Relative shift of each bin that HistFactory's interpolation predicts, shape (n_bins,).
    significance
        How large the error of the interpolation is compared to the Poisson errors of data at the
        luminosity of the templates.  It is the square root of the sum over bins of (difference
        between `interpolated` and `shift`, in events)²/(expected events).
    """

    nuisances: Point
    process: str
    shift: FloatArray
    error: FloatArray
    interpolated: FloatArray
    significance: float


@dataclass(frozen=True, eq=False, repr=False)
class VariedTemplates:
    """Templates of a signal and backgrounds, with systematic uncertainties from variations.

    Parameters
    ----------
    templates
        Nominal templates of the signal.
    systematics
        Systematic uncertainties, for :func:`~milinfer.binned.workspace_export.export_workspace`.
    background
        Nominal bin contents of the backgrounds.
    shifts
        Effect of each nuisance parameter on each process at −1 and +1.
    closure
        Test of HistFactory's interpolation with each variation that HistFactory cannot use.  These
        are variations at other values than ±1, or of several nuisance parameters together.
    """

    templates: Templates
    systematics: tuple[Systematic, ...]
    background: tuple[BackgroundYields, ...]
    shifts: tuple[TemplateShift, ...]
    closure: tuple[TemplateClosure, ...] = ()

    @property
    def unused(self) -> tuple[str, ...]:
        """Variations that no systematic uncertainty uses, as texts."""
        return tuple(f"{format_point(c.nuisances)} of {c.process}" for c in self.closure)

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the nuisance parameters."""
        return tuple(dict.fromkeys(s.nuisance for s in self.shifts))

    @property
    def pruned(self) -> tuple[tuple[str, str], ...]:
        """Nuisance parameter and process of each shift whose change in shape was left out."""
        return tuple(dict.fromkeys((s.nuisance, s.process) for s in self.shifts if s.pruned))

    def __repr__(self) -> str:
        without = ", ".join(f"{n} of {p}" for n, p in self.pruned)
        unused = "; ".join(self.unused)
        return (
            f"VariedTemplates({self.templates.observable_name}, {self.templates.n_bins} bins, "
            f"{', '.join(self.nuisances)}"
            + (f", no shape of {without}" if without else "")
            + (f", unused: {unused}" if unused else "")
            + ")"
        )

    def to_table(self) -> pa.Table:
        """Make a table with one row for each bin of each shift.

        Columns: ``nuisance``, ``process``, ``value``, ``bin``, ``shift``, ``error``, ``rate``,
        ``rate_error``, ``p_value``, ``under_theta``, ``pruned``.
        """
        types: dict[str, type] = {"nuisance": str, "process": str, "value": int, "bin": int}
        types |= dict.fromkeys(("shift", "error", "rate", "rate_error", "p_value"), float)
        types |= {"under_theta": str, "pruned": bool}
        rows = [
            {n: getattr(s, n) for n in types if n not in {"bin", "shift", "error"}}
            | {"bin": b, "shift": float(s.shift[b]), "error": float(s.error[b])}
            for s in self.shifts
            for b in range(len(s.shift))
        ]
        return arrow_table(types, rows)

    def workspace(
        self,
        counts: Sample | ArrayLike | None = None,
        *,
        systematics: Sequence[Systematic] = (),
        background: Sequence[BackgroundYields] = (),
        luminosity_uncertainty: float | None = None,
        mc_stat: bool = True,
        poi: str | None = None,
        point: Point | None = None,
        channel: str | None = None,
    ) -> dict[str, Any]:
        """Make a HistFactory workspace with these systematics and backgrounds.

        The arguments `systematics` and `background` are added to those of this object.  All
        arguments are explained in :func:`~milinfer.binned.workspace_export.export_workspace`.
        """
        return export_workspace(
            self.templates,
            counts,
            systematics=(*self.systematics, *systematics),
            background=(*self.background, *background),
            luminosity_uncertainty=luminosity_uncertainty,
            mc_stat=mc_stat,
            poi=poi,
            point=point,
            channel=channel,
        )

    def cost(self, counts: Sample | ArrayLike | None = None, **options: Any) -> PyhfCost:
        """Make the cost −2 ln L of a dataset, with θ and the nuisance parameters as parameters.

        Parameters
        ----------
        counts
            A dataset, or counts of shape (n_bins,); default: the counts expected at the reference.
        **options
            Arguments of :meth:`workspace`.
        """
        return import_workspace(self.workspace(counts, **options))


def varied_templates(
    templates: Templates,
    signal: ProcessVariations | None = None,
    *,
    background: Sequence[ProcessVariations] = (),
    split: bool = False,
    prune: float | None = None,
    mirror: bool = False,
    shift_degree: int | None = None,
) -> VariedTemplates:
    """Compute systematic uncertainties of templates from variations of signal and backgrounds.

    Observables and edges are taken from the templates.  A variation multiplies the content of each
    bin by a factor.  For the signal this factor is a function of θ:

    - If the templates were made with `weight_degree` and the nominal and varied events carry
      weights, the factor at every θ comes from these weights.
    - Without such weights, if there are variations at several θ, the factor is a polynomial in θ.
    - Without such weights, if all variations are at one θ, the factor is assumed to be the same at
      every θ.

    The field ``under_theta`` of each entry of ``shifts`` says which of these cases it is.

    Parameters
    ----------
    templates
        Templates of the signal, with a luminosity and without a background.
    signal
        Variations of the signal.
    background
        Nominal sample (with its cross-section) and variations of each background.
    split
        Whether to write each shift as two modifiers: a ``normsys`` for the shift of the total yield
        at the reference, and a ``histosys`` for the change in shape.
    prune
        A p-value, such as 0.05.  If the p-value of the change in shape is above it both at −1 and
        at +1, Monte-Carlo errors can explain this change.  It is then left out, and only the shift
        of the total yield at the reference is kept (``normsys``).  ``pruned`` lists what was left
        out.  Default: keep all changes in shape.
    mirror
        What to do if a nuisance parameter has a variation only at −1 or only at +1.  True: use the
        opposite shift for the missing side.  False: raise an error.
    shift_degree
        Degree of the polynomial in θ if there are variations at several θ; default: the highest
        degree that their points determine, but at most the degree of the templates.

    Raises
    ------
    TemplateError
        If the templates have a background or no luminosity, a variation at −1 or +1 is missing (see
        `mirror`), a bin has no nominal events, or two processes have the same name.
    ParameterError
        If `prune` is not between 0 and 1, or `shift_degree` is not determined by the points.
    SampleError
        If samples lack the observable or a cross-section.

    Warns
    -----
    UnusedVariationWarning
        If there are variations at other values than ±1, or of several nuisance parameters together.
        They are not used for the uncertainties, only for the test in ``closure``.
    MilinferWarning
        If edges were chosen with the same events that fill the bins.

    Examples
    --------
    >>> import milinfer as mil
    >>> from milinfer.datasets import gaussian
    >>> samples = gaussian.samples(20_000, [-0.5, 0.0, 0.5], seed=1)
    >>> templates = mil.Templates.from_samples(samples, "x0", bins=4, degree=2, luminosity=0.1)
    >>> nominal = samples[1]
    >>> process = ProcessVariations(nominal, [
    ...     Variation.of_features(nominal, {"scale": s}, nominal.features + 0.1 * s)
    ...     for s in (-1, 1)])
    >>> varied = varied_templates(templates, process)
    >>> varied
    VariedTemplates(x0, 4 bins, scale)
    >>> list(varied.cost([20, 30, 25, 25], mc_stat=False).start)
    ['mu', 'scale']
    """
    if templates.luminosity is None:
        msg = (
            f"{templates.observable_name}: the templates have no luminosity, so their yields are "
            "unknown; make them with luminosity= in 1/fb"
        )
        raise TemplateError(msg)
    if templates.background is not None:
        msg = (
            f"{templates.observable_name}: the templates contain a background, but only the signal "
            "is varied; fill templates of the signal alone, and give background= here"
        )
        raise TemplateError(msg)
    if prune is not None and not 0 <= prune < 1:
        msg = f"prune={prune} must be a p-value, from 0 to below 1"
        raise ParameterError(msg)
    processes = {SIGNAL: signal} if signal is not None else {}
    for process in background:
        if process.process in processes or process.process == SIGNAL:
            msg = (
                f"a background cannot be called {process.process!r}: the signal or another "
                "background has this name; give each its own process="
            )
            raise TemplateError(msg)
        if len(process.nominal) > 1:
            msg = (
                f"{process.process} has {len(process.nominal)} nominal samples; a background does "
                "not depend on the parameters, so give one"
            )
            raise TemplateError(msg)
        processes[process.process] = process
    backgrounds = {p.process: _nominal_yields(templates, p) for p in background}
    systematics: list[Systematic] = []
    shifts: list[TemplateShift] = []
    left_over: dict[str, list[Variation]] = {}
    for name, process in processes.items():
        _warn_of_edges(templates, process)
        sides, left_over[name] = _sides(process, mirror=mirror)
        for nuisance, of_nuisance in sides.items():
            found = {
                value: signal_shift(templates, process, variations, shift_degree)
                if name == SIGNAL
                else background_shift(templates, process, variations[0])
                for value, variations in of_nuisance.items()
            }
            content = (
                templates.cross_sections(templates.reference)
                if name == SIGNAL
                else np.asarray(backgrounds[name].yields)
            )
            parts = _parts(
                templates, nuisance, name, found, split=split, prune=prune, content=content
            )
            systematics += parts.systematics
            shifts += parts.shifts
    closure = tuple(
        _closure(templates, systematics, backgrounds, processes[name], variation, name)
        for name, variations in left_over.items()
        for variation in variations
    )
    varied = VariedTemplates(
        templates=templates,
        systematics=tuple(systematics),
        background=tuple(backgrounds.values()),
        shifts=tuple(shifts),
        closure=closure,
    )
    if closure:
        warnings.warn(
            "HistFactory can use only variations of one nuisance parameter at -1 and +1. These are "
            f"not used, only compared in the closure test: {'; '.join(varied.unused)}",
            UnusedVariationWarning,
            stacklevel=2,
        )
    return varied


def _warn_of_edges(templates: Templates, process: ProcessVariations) -> None:
    """Warn if the edges were chosen on events of a process, unless the templates have warned."""
    for name in circular_axes(templates.axes, process.nominal):
        if name not in templates.circular:
            warnings.warn(
                f"{process.process}: {circular_edges(name)}", MilinferWarning, stacklevel=3
            )


def _sides(
    process: ProcessVariations, *, mirror: bool
) -> tuple[dict[str, dict[int, list[Variation]]], list[Variation]]:
    """Variations of each nuisance parameter alone at −1 and +1; and the others."""
    sides: dict[str, dict[int, list[Variation]]] = {}
    unused = []
    for variation in process.variations:
        moved = {n: v for n, v in variation.nuisances.items() if v}
        if len(moved) == 1 and abs(next(iter(moved.values()))) == 1:
            ((name, value),) = moved.items()
            sides.setdefault(name, {}).setdefault(int(value), []).append(variation)
        else:
            unused.append(variation)
    for name in process.nuisances:
        if name not in sides and any(v.nuisances.get(name) for v in process.variations):
            msg = (
                f"{process.process}: {name} has no variation at -1 or +1, which HistFactory needs; "
                "simulate both, or remove the parameter with restricted()"
            )
            raise TemplateError(msg)
    for name, of_name in sides.items():
        points = {v: {tuple(x.sample.point.items()) for x in xs} for v, xs in of_name.items()}
        if len(of_name) == 1 and not mirror:
            (value,) = of_name
            msg = (
                f"{process.process}: {name} has a variation at {value:+d} but none at {-value:+d}; "
                "add the missing one, or use the opposite shift with mirror=True"
            )
            raise TemplateError(msg)
        if len(of_name) == 2 and points[-1] != points[1]:
            msg = (
                f"{process.process}: the variations of {name} at -1 and at +1 are at different "
                "parameter points; produce both at the same points"
            )
            raise TemplateError(msg)
    return sides, unused


class _Parts(NamedTuple):
    """What one nuisance parameter adds for one process."""

    systematics: list[Systematic]
    shifts: list[TemplateShift]


def _parts(
    templates: Templates,
    nuisance: str,
    process: str,
    found: Mapping[int, ProcessShift],
    *,
    split: bool,
    prune: float | None,
    content: FloatArray,
) -> _Parts:
    """Systematics of one nuisance parameter in one process, and the variations behind them."""
    (one, *_) = found.values()
    sides = {
        value: found[value] if value in found else found[-value].opposite() for value in (-1, 1)
    }
    rates = {value: float(content @ side.ratio / content.sum()) for value, side in sides.items()}
    pruned = prune is not None and all(side.p_value > prune for side in sides.values())
    shifts = [
        TemplateShift(
            nuisance=nuisance,
            process=process,
            value=value,
            shift=side.ratio - 1.0,
            error=np.sqrt(side.variance),
            rate=rates[value] - 1.0,
            rate_error=float(np.sqrt(side.rate_variance)),
            p_value=side.p_value,
            under_theta=one.under_theta,
            pruned=pruned,
        )
        for value, side in sides.items()
    ]
    systematics = []
    if split or pruned:
        systematics.append(Systematic(nuisance, rates[-1] - 1.0, rates[1] - 1.0, (process,)))
    if not pruned:
        divisors = rates if split else {-1: 1.0, 1: 1.0}
        low, high = (_shape(templates, sides[v], divisors[v]) for v in (-1, 1))
        systematics.append(Systematic(nuisance, low, high, (process,)))
    return _Parts(systematics, shifts)


def _closure(
    templates: Templates,
    systematics: Sequence[Systematic],
    backgrounds: Mapping[str, BackgroundYields],
    process: ProcessVariations,
    variation: Variation,
    name: str,
) -> TemplateClosure:
    """Compare a variation with the prediction of pyhf from the systematics of its process."""
    import pyhf

    shift = shift_at_one_point(templates, process, variation, name)
    point = variation.sample.point if name == SIGNAL else templates.reference
    signal = templates.expected(point)
    nominal = signal if name == SIGNAL else np.asarray(backgrounds[name].yields)
    modifiers = []
    for systematic in systematics:
        if systematic.samples == (name,):
            low, high = (
                side.expected(point) / signal - 1.0 if isinstance(side, Templates) else side
                for side in (systematic.low, systematic.high)
            )
            relative = dataclasses.replace(systematic, low=low, high=high)
            modifiers.append(sample_modifiers(relative, {name: nominal})[name])
    sample = {"name": name, "data": nominal.tolist(), "modifiers": modifiers}
    model = pyhf.Model({"channels": [{"name": name, "samples": [sample]}]}, poi_name=None)
    # Without the constraints: a variation is where it is.
    values = [variation.nuisances.get(n, 0.0) for n in model.config.par_names]
    expected = np.asarray(model.expected_actualdata(values), dtype=np.float64)
    total = signal + np.sum([np.asarray(b.yields) for b in backgrounds.values()], axis=0)
    difference = nominal * shift.ratio - expected
    return TemplateClosure(
        nuisances=variation.nuisances,
        process=name,
        shift=shift.ratio - 1.0,
        error=np.sqrt(shift.variance),
        interpolated=np.divide(expected, nominal, out=np.ones_like(nominal), where=nominal != 0)
        - 1.0,
        significance=float(np.sqrt(np.sum(difference**2 / total))),
    )


def _shape(templates: Templates, side: ProcessShift, divisor: float) -> FloatArray | Templates:
    """Relative shift of each bin, or templates of the varied signal if it depends on θ."""
    if side.at_basis is None:
        return side.ratio / divisor - 1.0
    basis, points = templates.basis, templates.basis_points
    content = basis.value(templates.fit, points) * side.at_basis / divisor
    fit = templates.fit._replace(coefficients=basis.morphing_matrix(points) @ content)
    return dataclasses.replace(
        templates,
        fit=fit,
        histograms=tuple(
            histogram_of(templates.axes, *both)
            for both in zip(
                basis.value(fit, templates.points),
                basis.variance(fit, templates.points),
                strict=True,
            )
        ),
        closure=None if templates.closure is None else np.full(templates.n_bins, np.nan),
    )


def _nominal_yields(templates: Templates, process: ProcessVariations) -> BackgroundYields:
    """Nominal events of a background in each bin, with their Monte-Carlo errors."""
    (sample,) = process.nominal
    histogram = fill_histogram(templates.axes, sample)
    scale = 1000.0 * float(templates.luminosity or 0.0)
    return BackgroundYields(
        process.process,
        scale * histogram.values().ravel(),
        scale * np.sqrt(histogram.variances().ravel()),
    )
