r"""Make samples, systematic variations and pseudo-experiments of the HiggsML challenge.

Six nuisance parameters change the events:

=================  ==========================================  =================================
name               meaning                                     auxiliary measurement
=================  ==========================================  =================================
``tes``            factor on the momentum of the hadronic τ    Gaussian, 1 ± 0.01
``jes``            factor on the momenta of jets               Gaussian, 1 ± 0.01
``soft_met``       additional missing momentum, in GeV         log-normal, median 1, σ of ln: 1
``ttbar_scale``    factor on top quark pairs                   Gaussian, 1 ± 0.02
``diboson_scale``  factor on dibosons                          Gaussian, 1 ± 0.25
``bkg_scale``      factor on all backgrounds                   Gaussian, 1 ± 0.001
=================  ==========================================  =================================

These are the values of the scoring program of the competition.  The package HiggsML 0.1.5 draws
``tes`` and ``jes`` with an error of 0.001 (:data:`PACKAGE_SCALE_ERROR`).

In a fit, the first three parameters are replaced by α in units of their auxiliary errors:
tes = 1 + 0.01 α, jes = 1 + 0.01 α and soft_met = exp(α) GeV.  Nominal events (α = 0) therefore have
soft_met = 1 GeV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from milinfer.datasets.higgsml.events import COLUMNS, LUMINOSITY, PROCESSES, HiggsEvents, shifted
from milinfer.datasets.higgsml.features import FEATURES, feature_matrix
from milinfer.exceptions import ParameterError
from milinfer.samples.sample import Sample
from milinfer.samples.variation import Variation
from milinfer.samples.variation_arrays import partners_of
from milinfer.samples.variations import ProcessVariations
from milinfer.typing import Point, Seed
from milinfer.utils.keywords import did_you_mean

__all__ = [
    "NORMALISATION_ERRORS",
    "NUISANCES",
    "PACKAGE_SCALE_ERROR",
    "SCALE_ERROR",
    "SHAPES",
    "data_sample",
    "draw_nuisances",
    "process_variations",
    "pseudo_experiment",
    "shape_values",
]

SHAPES = ("tes", "jes", "soft_met")
"""Nuisance parameters that change momenta."""

NORMALISATION_ERRORS = {"ttbar_scale": 0.02, "diboson_scale": 0.25, "bkg_scale": 0.001}
"""Nuisance parameters that change yields, and the errors of their auxiliary measurements."""

NUISANCES = (*SHAPES, *NORMALISATION_ERRORS)

SCALE_ERROR = 0.01
"""Error of ``tes`` and of ``jes`` in the competition."""

PACKAGE_SCALE_ERROR = 0.001
"""Error of ``tes`` and of ``jes`` in the package HiggsML 0.1.5."""

# Ranges of drawn nuisance parameters in the competition: energy scales to ten errors, and others.
_RANGES = {
    "soft_met": (0.0, 5.0),
    "ttbar_scale": (0.8, 1.2),
    "diboson_scale": (0.0, 2.0),
    "bkg_scale": (0.99, 1.01),
}
_SCALED = {"ttbar_scale": ("ttbar",), "diboson_scale": ("diboson",), "bkg_scale": PROCESSES[1:]}


def shape_values(alpha: Point, *, scale_error: float = SCALE_ERROR) -> dict[str, float]:
    """Compute tes, jes and soft_met from nuisance parameters in units of their errors.

    Parameters
    ----------
    alpha
        Nuisance parameters in units of their errors, ``{"tes": 1.0}``.  Those that are not given
        are 0.
    scale_error
        Error of the energy scales.

    Raises
    ------
    ParameterError
        If a name is not one of :data:`SHAPES`.

    Examples
    --------
    >>> shape_values({"jes": -1.0})
    {'tes': 1.0, 'jes': 0.99, 'soft_met': 1.0}
    """
    _require_names(alpha, SHAPES)
    tes, jes = (1 + scale_error * float(alpha.get(name, 0.0)) for name in ("tes", "jes"))
    return {"tes": tes, "jes": jes, "soft_met": float(np.exp(alpha.get("soft_met", 0.0)))}


def process_variations(
    events: HiggsEvents,
    *,
    seed: Seed,
    shifts: Sequence[Point] | None = None,
    scale_error: float = SCALE_ERROR,
    features: Sequence[str] = FEATURES,
) -> dict[str, ProcessVariations]:
    """Make a nominal sample of each process, with variations of energy scales and soft momentum.

    The selection is applied to each variation separately.  The weight of an event is its expected
    number at 10/fb.

    Parameters
    ----------
    events
        Events without shift, as :func:`~milinfer.datasets.higgsml.reading.read_events` returns
        them.
    seed
        Random seed of the additional soft momentum.  All variations use the same random numbers.
    shifts
        For each variation, the values of its nuisance parameters in units of their errors; default:
        each parameter at +1 and at −1.
    scale_error
        Error of the energy scales.
    features
        Some of :data:`~milinfer.datasets.higgsml.features.FEATURES`.

    Returns
    -------
    dict
        Mapping from the name of a process to its variations.  The signal is the first process.

    Raises
    ------
    SampleError
        If there are no events of a process.
    ParameterError
        If `shifts` contains an unknown nuisance parameter.

    Examples
    --------
    >>> from milinfer.datasets.higgsml.generator import generate
    >>> of = process_variations(generate(200, seed=1), seed=2)
    >>> list(of), of["ttbar"].nuisances
    (['htautau', 'ztautau', 'ttbar', 'diboson'], ('tes', 'jes', 'soft_met'))
    """
    if shifts is None:
        shifts = [{name: side} for name in SHAPES for side in (-1.0, 1.0)]
    noise = np.random.default_rng(seed).standard_normal((2, len(events)))
    found = {}
    for k, process in enumerate(PROCESSES):
        own = events.of(process)
        of_process = noise[:, events.processes == k]
        at_zero = shifted(own, **shape_values({}, scale_error=scale_error), noise=of_process)
        nominal, variations = _sample(at_zero, process, features), []
        for alpha in shifts:
            values = shape_values(alpha, scale_error=scale_error)
            there = shifted(own, **values, noise=of_process)
            partners = partners_of(there.rows, at_zero.rows)
            variations.append(Variation(alpha, _sample(there, process, features), partners))
        found[process] = ProcessVariations(nominal, tuple(variations))  # type: ignore[arg-type]
    return found


def draw_nuisances(
    rng: np.random.Generator, *, scale_error: float = SCALE_ERROR
) -> dict[str, float]:
    """Draw values of the six nuisance parameters, as for a pseudo-experiment of the challenge.

    Values outside the range of the challenge are replaced by the end of the range.

    Examples
    --------
    >>> values = draw_nuisances(np.random.default_rng(1))
    >>> list(values), 0.9 <= values["tes"] <= 1.1
    (['tes', 'jes', 'soft_met', 'ttbar_scale', 'diboson_scale', 'bkg_scale'], True)
    """
    of_scale = (1 - 10 * scale_error, 1 + 10 * scale_error)
    values = {}
    for name in NUISANCES:
        number = float(rng.standard_normal())
        if name == "soft_met":
            value = float(np.exp(number))
        else:
            value = 1 + NORMALISATION_ERRORS.get(name, scale_error) * number
        values[name] = float(np.clip(value, *_RANGES.get(name, of_scale)))
    return values


def pseudo_experiment(
    events: HiggsEvents,
    mu: float,
    nuisances: Mapping[str, float] | None = None,
    *,
    rng: np.random.Generator,
    features: Sequence[str] = FEATURES,
) -> Sample:
    """Draw a dataset at a signal strength and values of the nuisance parameters.

    Each event is used a Poisson distributed number of times.  The mean of this number is the weight
    of the event, times the factors on its process.  Copies of an event get different soft momenta.

    Parameters
    ----------
    events
        Events without shift, as :func:`~milinfer.datasets.higgsml.reading.read_events` returns
        them.  They must not have been used for the training.
    mu
        Factor on the signal.
    nuisances
        Values of nuisance parameters, for example from :func:`draw_nuisances`.  A parameter that is
        not given is 1 if it is a factor, and 0 for ``soft_met``.
    rng
        Random generator.
    features
        Some of :data:`~milinfer.datasets.higgsml.features.FEATURES`.

    Raises
    ------
    ParameterError
        If a name is not one of :data:`NUISANCES`, or if a factor on a yield is negative.

    Examples
    --------
    >>> from milinfer.datasets.higgsml.generator import generate
    >>> events = generate(500, seed=1)
    >>> data = pseudo_experiment(events, 1.0, {"tes": 1.02}, rng=np.random.default_rng(1))
    >>> data.process, data.feature_names == FEATURES
    ('data', True)
    """
    values = {} if nuisances is None else dict(nuisances)
    _require_names(values, NUISANCES)
    factors = dict.fromkeys(PROCESSES, 1.0) | {"htautau": float(mu)}
    for name, processes in _SCALED.items():
        for process in processes:
            factors[process] *= values.get(name, 1.0)
    negative = [process for process, factor in factors.items() if not factor >= 0]
    if negative:
        msg = f"the factor on {negative[0]} is {factors[negative[0]]:g}, but must not be negative"
        raise ParameterError(msg)
    means = events.weights * np.array([factors[p] for p in PROCESSES])[events.processes]
    drawn = events[np.repeat(np.arange(len(events)), rng.poisson(means))]
    shapes = {name: values[name] for name in SHAPES if name in values}
    there = shifted(drawn, **shapes, noise=rng.standard_normal((2, len(drawn))))
    return data_sample(there.columns, features)


def data_sample(columns: Mapping[str, ArrayLike], features: Sequence[str] = FEATURES) -> Sample:
    """Make a dataset from events that have already been shifted and selected.

    For example, the programs of the organisers write files of such events.

    Parameters
    ----------
    columns
        Data frame or mapping with the columns :data:`~milinfer.datasets.higgsml.events.COLUMNS`,
        each of shape (n_events,).  Further columns are ignored: derived features are always
        computed from :data:`~milinfer.datasets.higgsml.events.COLUMNS`.
    features
        Some of :data:`~milinfer.datasets.higgsml.features.FEATURES`.

    Raises
    ------
    SampleError
        If a column is missing.

    Examples
    --------
    >>> from milinfer.datasets.higgsml.generator import generate
    >>> events = shifted(generate(50, seed=1))
    >>> data_sample(events.columns, ["DER_mass_vis"])
    Sample(172 events, 1 feature, data)
    """
    given = {n: np.asarray(columns[n], dtype=np.float32) for n in COLUMNS if n in columns}
    n_events = max((len(values) for values in given.values()), default=0)
    events = HiggsEvents(
        columns=given,
        processes=np.full(n_events, -1),
        weights=np.ones(n_events),
        rows=np.arange(n_events),
    )
    return Sample(feature_matrix(events, features), tuple(features), process="data")


def _sample(events: HiggsEvents, process: str, features: Sequence[str]) -> Sample:
    total = float(events.weights.sum())
    return Sample(
        feature_matrix(events, features),
        tuple(features),
        weights=events.weights,
        process=process,
        cross_section=total / (1000 * LUMINOSITY),
        cross_section_error=float(np.sqrt(np.sum(events.weights**2))) / (1000 * LUMINOSITY),
        provenance={"data": "FAIR Universe HiggsML"},
    )


def _require_names(values: Mapping[str, float], known: Sequence[str]) -> None:
    for name in values:
        if name not in known:
            msg = f"{name!r} is not one of the nuisance parameters {', '.join(known)}"
            raise ParameterError(msg + did_you_mean(name, known))
