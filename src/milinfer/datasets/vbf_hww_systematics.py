r"""Generate VBF H → WW* with nuisance parameters: two energy scales and a theory weight.

Each nuisance parameter has a value α, in units of its error:

``jet_scale``
    Multiplies the momenta of both jets by 1 + 0.03 α.
``lepton_scale``
    Multiplies the momenta of both charged leptons by 1 + 0.005 α.
``theory``
    Gives each event the weight exp[0.1 α (ln m_jj − 6)], with m_jj in GeV before the jets are
    scaled.

The missing transverse momentum balances the visible momenta, before and after the scaling.  The
energy scales can only be studied with visible momenta
(:mod:`milinfer.datasets.observable_systematics`): if the neutrino momenta were known, the imbalance
of momenta would reveal the scales exactly, and the densities at two values would not overlap.  Only
``theory`` makes sense at parton level.

The analysis selects jets with pT > 30 GeV and leptons with pT > 15 GeV *after* the scaling, so that
the scales change which events are selected.  For ``|α| ≤ 4``, no event that the generator's cuts
(20 and 10 GeV) remove would be selected.

The transverse mass of leptons and missing momentum cannot exceed m_H, and the selection also
removes events close to this end point.  The density of the visible momenta rises with the square
root of the distance from the end point.  A change of the scales can move an event beyond the end
point, where the density is zero.  Without this selection, the Fisher information about the scales
would be infinite: the likelihood would not be a parabola, and no smooth response could describe it.
An event is therefore selected only if its transverse mass is below m_H for all ``|α| ≤ 5``, which
removes one event in six.  The selection also removes the few events with so much energy that the
beams could not have made them at other scales.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from milinfer.datasets import phase_space, vbf_hww
from milinfer.datasets.amplitude import M_H
from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.generator import DELTA_R
from milinfer.datasets.operators import check_point
from milinfer.exceptions import ParameterError, SampleError
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variations import ProcessVariations, Variation
from milinfer.typing import BoolArray, FloatArray, IntArray, Point
from milinfer.utils.keywords import did_you_mean

if TYPE_CHECKING:
    from milinfer.features.feature_set import FeatureSet
    from milinfer.samples.sample import Sample

__all__ = [
    "JET_PT",
    "JET_STEP",
    "LEPTON_PT",
    "LEPTON_STEP",
    "LIMIT",
    "LONGITUDINAL",
    "NUISANCES",
    "THEORY_STEP",
    "Scales",
    "generate",
    "nuisance_values",
    "scaled",
    "scales",
    "selected",
    "theory_exponent",
    "theory_weights",
    "variations",
    "visible",
]

NUISANCES = ("jet_scale", "lepton_scale", "theory")
LIMIT = 4.0
"""Largest absolute value of α; above it the generator's cuts would remove selected events."""
JET_PT, LEPTON_PT = 30.0, 15.0
"""Selection after scaling, GeV."""

LONGITUDINAL = 8000.0
"""Largest E ± pz of leptons and jets, GeV: with jets scaled it stays below that of the beams."""

JET_STEP, LEPTON_STEP, THEORY_STEP = 0.03, 0.005, 0.1
"""Relative change of a scale, and factor on ln m_jj in the theory weight, for α = 1."""

_THEORY_CENTRE = 6.0
_ENDPOINT_LIMIT = 5.0
_LEPTONS, _JETS = [5, 7], [9, 10]  # among the particles of an event
# Two jets with pT > 20 GeV and ΔR > 0.4 have at least this mass.
_LEAST_MASS = phase_space.JET_PT * np.sqrt(2 * (1 - np.cos(DELTA_R)))
_ROUND = 50_000


class Scales(NamedTuple):
    """Factors on the momenta of jets and of leptons."""

    jets: float
    leptons: float


def nuisance_values(nuisances: Point | None) -> dict[str, float]:
    """Return the values of all nuisance parameters; those that are not given are 0.

    Raises
    ------
    ParameterError
        If a nuisance parameter is unknown, or if its absolute value is above :data:`LIMIT`.

    Examples
    --------
    >>> nuisance_values({"theory": 1.0})
    {'jet_scale': 0.0, 'lepton_scale': 0.0, 'theory': 1.0}
    """
    given = {name: float(value) for name, value in (nuisances or {}).items()}
    for name, value in given.items():
        if name not in NUISANCES:
            msg = f"there is no nuisance parameter {name!r}; there are {', '.join(NUISANCES)}"
            raise ParameterError(msg + did_you_mean(name, NUISANCES))
        if not abs(value) <= LIMIT:
            msg = (
                f"{name} = {value:g} is outside ±{LIMIT:g}, the range in which the generator's "
                "cuts have no effect; give a value in this range"
            )
            raise ParameterError(msg)
    return {name: given.get(name, 0.0) for name in NUISANCES}


def scales(nuisances: Point | None) -> Scales:
    """Compute the factors on the momenta of jets and leptons.

    Examples
    --------
    >>> scales({"jet_scale": -1.0})
    Scales(jets=0.97, leptons=1.0)
    """
    values = nuisance_values(nuisances)
    return _scales(values["jet_scale"], values["lepton_scale"])


def _scales(jet_scale: float, lepton_scale: float) -> Scales:
    return Scales(1 + JET_STEP * jet_scale, 1 + LEPTON_STEP * lepton_scale)


def visible(events: GeneratedEvents) -> FloatArray:
    """Return [E, px, py, pz] of e+, e−, d and u, shape (n, 4, 4), in GeV.

    Raises
    ------
    SampleError
        If the events do not belong to the process of :mod:`milinfer.datasets.vbf_hww`.

    Examples
    --------
    >>> visible(vbf_hww.generate(3, seed=1)).shape
    (3, 4, 4)
    """
    if events.process != vbf_hww.PROCESS:
        msg = (
            f"these are {events.process} events, but the nuisance parameters belong to "
            f"{vbf_hww.PROCESS}; give events of this process"
        )
        raise SampleError(msg)
    return events.momenta[:, [*_LEPTONS, *_JETS]][..., [3, 0, 1, 2]]


def selected(seen: FloatArray) -> BoolArray:
    """Tell which events the analysis selects, shape (n,).

    Parameters
    ----------
    seen
        Visible momenta after the scaling, as from :func:`visible`.

    Examples
    --------
    >>> seen = visible(vbf_hww.generate(1000, seed=1))
    >>> 0.4 < selected(seen).mean() < 0.6
    np.True_
    """
    pt = np.hypot(seen[..., 1], seen[..., 2])
    chosen: BoolArray = np.asarray(
        (pt[:, :2] > LEPTON_PT).all(axis=1) & (pt[:, 2:] > JET_PT).all(axis=1)
    )
    pair, jets = seen[:, 0] + seen[:, 1], seen[:, 2] + seen[:, 3]
    # E ± pz of the partons, at every scale, has to leave room for the neutrinos.
    visible_total = pair + jets
    chosen &= visible_total[:, 0] + np.abs(visible_total[:, 3]) < LONGITUDINAL
    # The transverse mass is convex in the jets' factor, and nearly linear in the leptons': it is
    # largest at one of the corners.
    for jet_scale in (-_ENDPOINT_LIMIT, _ENDPOINT_LIMIT):
        for lepton_scale in (-_ENDPOINT_LIMIT, _ENDPOINT_LIMIT):
            factor = _scales(jet_scale, lepton_scale)
            mass = _transverse_mass(pair / factor.leptons, jets / factor.jets)
            chosen[mass >= M_H] = False
    return chosen


def _transverse_mass(pair: FloatArray, jets: FloatArray) -> FloatArray:
    """Transverse mass of the leptons and of the missing momentum that balances pair and jets."""
    missing = -(pair + jets)[:, 1:3]
    transverse_energy = np.sqrt(np.maximum(pair[:, 0] ** 2 - pair[:, 3] ** 2, 0.0))
    total = transverse_energy + np.hypot(missing[:, 0], missing[:, 1])
    square = total**2 - np.sum(jets[:, 1:3] ** 2, axis=1)
    mass: FloatArray = np.sqrt(np.maximum(square, 0.0))
    return mass


def scaled(events: GeneratedEvents, nuisances: Point) -> GeneratedEvents:
    """Scale the visible momenta of events, without selecting or weighting the events.

    Neutrinos, bosons, incoming partons and ``|M|²`` do not change.  Features do not depend on them:
    they use only the visible particles.

    Examples
    --------
    >>> events = vbf_hww.generate(3, seed=1)
    >>> moved = scaled(events, {"jet_scale": 1.0})
    >>> bool(np.allclose(visible(moved)[:, 2:], 1.03 * visible(events)[:, 2:]))
    True
    """
    factor = scales(nuisances)
    momenta = events.momenta.copy()
    momenta[:, _LEPTONS] *= factor.leptons
    momenta[:, _JETS] *= factor.jets
    return dataclasses.replace(events, momenta=momenta)


def theory_exponent(seen: FloatArray, jet_scale: float = 0.0) -> FloatArray:
    """Compute the logarithm of the theory weight for α = 1, shape (n,).

    Parameters
    ----------
    seen
        Visible momenta, as from :func:`visible`.
    jet_scale
        Value of ``jet_scale`` with which the jets have been scaled.

    Examples
    --------
    >>> seen = visible(vbf_hww.generate(100, seed=1))
    >>> jets = seen[:, 2] + seen[:, 3]
    >>> m_jj = np.sqrt(jets[:, 0]**2 - np.sum(jets[:, 1:]**2, axis=1))
    >>> bool(np.allclose(theory_exponent(seen), 0.1 * (np.log(m_jj) - 6)))
    True
    """
    first, second = seen[:, 2], seen[:, 3]
    square = 2 * (first[:, 0] * second[:, 0] - np.sum(first[:, 1:] * second[:, 1:], axis=1))
    log_mass = 0.5 * np.log(square) - np.log(1 + JET_STEP * jet_scale)
    exponent: FloatArray = THEORY_STEP * (log_mass - _THEORY_CENTRE)
    return exponent


def theory_weights(events: GeneratedEvents, nuisances: Point) -> FloatArray:
    """Compute the theory weight of each event, shape (n,).

    Parameters
    ----------
    events
        Events whose jets have been scaled by ``jet_scale`` of `nuisances`.
    nuisances
        Values of ``theory`` and ``jet_scale``.

    Examples
    --------
    >>> events = vbf_hww.generate(1000, seed=1)
    >>> moved = scaled(events, {"jet_scale": 2.0})
    >>> bool(np.allclose(theory_weights(events, {"theory": 1.0}),
    ...                  theory_weights(moved, {"theory": 1.0, "jet_scale": 2.0})))
    True
    """
    values = nuisance_values(nuisances)
    exponent = theory_exponent(visible(events), values["jet_scale"])
    weights: FloatArray = np.exp(values["theory"] * exponent)
    return weights


def generate(
    n_events: int,
    point: Point | None = None,
    nuisances: Point | None = None,
    *,
    seed: int,
    workers: int = 1,
) -> GeneratedEvents:
    """Generate unweighted events after the selection, at values of c_HW and nuisance parameters.

    Events are accepted or rejected according to their theory weights.  To get weighted events,
    generate events at ``theory`` = 0 and use :func:`theory_weights`.

    Parameters
    ----------
    n_events
        Number of selected events.
    point
        As for :func:`milinfer.datasets.vbf_hww.generate`.
    nuisances
        Values of nuisance parameters (:data:`NUISANCES`) within ±4.  Those that are not given are
        0.
    seed
        Random seed; the same seed gives the same events for any `workers`.
    workers
        Number of processes.

    Returns
    -------
    GeneratedEvents
        Events with scaled visible momenta.  Their cross-section is after the selection and includes
        the theory weight.  Its error includes the errors of the generated cross-section and of the
        selected fraction.

    Raises
    ------
    ParameterError
        If the point or the nuisance parameters are not possible.
    SampleError
        If `n_events` is less than one.

    Examples
    --------
    >>> events = generate(100, {"c_HW": 0.5}, {"jet_scale": 1.0, "theory": -1.0}, seed=1)
    >>> len(events), bool(selected(visible(events)).all())
    (100, True)
    """
    values = nuisance_values(nuisances)
    theory = values["theory"]
    mass = phase_space.SQRT_S if theory > 0 else _LEAST_MASS
    largest = theory * THEORY_STEP * (np.log(mass) - _THEORY_CENTRE)
    kept, weights, cross_sections = [], [], []
    n_kept = 0
    for part, rng in _rounds(n_events, point, seed, workers):
        moved = scaled(part, values)
        seen = visible(moved)
        log_weights = theory * theory_exponent(seen, values["jet_scale"])
        chosen = selected(seen)
        accepted = chosen & (rng.random(len(moved)) < np.exp(log_weights - largest))
        kept.append(moved.take(np.flatnonzero(accepted)))
        weights.append(chosen * np.exp(log_weights))
        cross_sections.append((part.cross_section, part.cross_section_error))
        n_kept += len(kept[-1])
        if n_kept >= n_events:
            break
    cross_section, error = _after_selection(cross_sections, np.concatenate(weights))
    return dataclasses.replace(
        GeneratedEvents.concatenate(kept).take(slice(0, n_events)),
        cross_section=cross_section,
        cross_section_error=error,
        seed=seed,
    )


def variations(
    n_events: int,
    values: Sequence[float],
    shifts: Sequence[Point],
    *,
    seed: int,
    features: str | FeatureSet = "vbf_2l2j_invariant",
    workers: int = 1,
) -> ProcessVariations:
    """Make nominal samples at several values of c_HW, and variations of the same events.

    Every sample has the weights at :data:`milinfer.datasets.vbf_hww.DEFAULT_WEIGHTS`.  It also has
    the weights ``theory_up`` (``theory`` larger by 1) and ``theory_down`` (smaller by 1).

    Parameters
    ----------
    n_events
        Number of selected events of each nominal sample.
    values
        Values of c_HW.
    shifts
        Values of nuisance parameters of each variation, ``[{"jet_scale": 1.0}, …]``.  If only
        ``theory`` is shifted, only the weights change.  If an energy scale is shifted, features and
        selection are computed again for the variation, and its weights include the theory weight.
    seed
        Random seed; the same seed gives the same samples for any `workers`.
    features
        Feature set or its name, as for :func:`milinfer.feature_set`.
    workers
        Number of processes.

    Raises
    ------
    ParameterError
        If a point or a shift is not possible.
    SampleError
        If `n_events` is less than one, or if there are no shifts.

    Examples
    --------
    >>> process = variations(50, [0.0, 0.5], [{"jet_scale": 1.0}, {"theory": -1.0}], seed=1)
    >>> process
    ProcessVariations(vbf_hww: 4 variations by jet_scale, theory, 2 nominal samples)
    >>> process.variations[1]
    Variation(theory=-1, weights of 50 events, vbf_hww at c_HW=0)
    """
    seeds = np.random.SeedSequence(seed).generate_state(len(values))
    nominal, varied = [], []
    for value, part_seed in zip(values, seeds, strict=True):
        source = _source(n_events, {vbf_hww.PARAMETER: float(value)}, int(part_seed), workers)
        nominal.append(_sample(source, {}, features)[0])
        for shift in shifts:
            if nuisance_values(shift) == nuisance_values({"theory": shift.get("theory", 0.0)}):
                weights = theory_weights(source.events.take(source.nominal), shift)
                varied.append(Variation.of_weights(nominal[-1], shift, weights))
                continue
            sample, index = _sample(source, shift, features)
            partners = np.full(len(source.events), -1, dtype=np.int64)
            partners[source.nominal] = np.arange(len(source.nominal))
            varied.append(Variation(shift, sample, partners[index]))
    return ProcessVariations(SampleSet(tuple(nominal)), tuple(varied))


class _Source(NamedTuple):
    """Generated events before the selection, and the mask of the nominal selection."""

    events: GeneratedEvents
    nominal: IntArray


def _source(n_events: int, point: Point, seed: int, workers: int) -> _Source:
    """Generate events until `n_events` of them are selected."""
    parts, cross_sections = [], []
    n_kept = 0
    for part, _ in _rounds(n_events, point, seed, workers):
        parts.append(part)
        cross_sections.append((part.cross_section, part.cross_section_error))
        n_kept += int(selected(visible(part)).sum())
        if n_kept >= n_events:
            break
    events = GeneratedEvents.concatenate(parts)
    index = np.flatnonzero(selected(visible(events)))[:n_events]
    cross_section, error = np.mean(cross_sections, axis=0)
    events = dataclasses.replace(
        events.take(slice(0, int(index[-1]) + 1)),
        cross_section=float(cross_section),
        cross_section_error=float(error),
        seed=seed,
    )
    return _Source(events, index)


def _sample(
    source: _Source, nuisances: Point, features: str | FeatureSet
) -> tuple[Sample, IntArray]:
    """Selected events at shifted values as a sample, and their numbers among all events."""
    values = nuisance_values(nuisances)
    moved = scaled(source.events, values)
    index = np.flatnonzero(selected(visible(moved)))
    chosen = moved.take(index)
    weights = theory_weights(chosen, values)
    exponent = theory_exponent(visible(chosen), values["jet_scale"])
    everything = np.zeros(len(source.events))
    everything[index] = weights
    cross_section, error = _after_selection(
        [(moved.cross_section, moved.cross_section_error)], everything
    )
    sample = chosen.to_sample(features, vbf_hww.DEFAULT_WEIGHTS)
    return dataclasses.replace(
        sample,
        weights=weights,
        reweights={k: v * weights for k, v in sample.reweights.items()}
        | {"theory_up": weights * np.exp(exponent), "theory_down": weights * np.exp(-exponent)},
        cross_section=cross_section,
        cross_section_error=error,
        provenance={
            "generator": "milinfer.datasets.vbf_hww_systematics",
            "seed": source.events.seed,
            "nuisances": values,
        },
    ), index


def _rounds(
    n_events: int, point: Point | None, seed: int, workers: int
) -> Iterator[tuple[GeneratedEvents, np.random.Generator]]:
    """Yield generated events in endless rounds, with random numbers for the next steps."""
    if n_events < 1:
        msg = f"cannot generate {n_events} events; ask for at least one"
        raise SampleError(msg)
    at = check_point(point, (vbf_hww.PARAMETER,))
    size = min(2 * n_events + 100, _ROUND)
    root = np.random.SeedSequence(seed)
    while True:
        of_events, of_choices = root.spawn(2)
        events = vbf_hww.generate(
            size, at, seed=int(of_events.generate_state(1)[0]), workers=workers
        )
        yield events, np.random.default_rng(of_choices)


def _after_selection(
    cross_sections: Sequence[tuple[float, float]], weights: FloatArray
) -> tuple[float, float]:
    """Cross-section after the selection and its error.

    Parameters
    ----------
    cross_sections
        Cross-sections of the generator and their errors, for rounds of the same size.
    weights
        Weights of all events; zero for events that are not selected.
    """
    # Most of the error is common to all rounds (the integral of the matrix element): no √n.
    cross_section, error = np.mean(cross_sections, axis=0)
    share = float(weights.mean())
    relative = np.hypot(error / cross_section, weights.std() / np.sqrt(len(weights)) / share)
    return float(cross_section * share), float(cross_section * share * relative)
