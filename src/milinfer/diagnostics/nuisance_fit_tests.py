"""Goodness of fit for a fit with several processes and nuisance parameters.

The tests are those of :mod:`milinfer.diagnostics.fit_tests`.  The simulated events of every process
are weighted to the fitted parameters: to θ with their event weights or the learned ratio, to the
nuisance parameters α with the responses.  In toys, the number of events and the auxiliary
measurements fluctuate, too, and all parameters are fitted again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from milinfer.diagnostics.fit_tests import GoodnessOfFit, examine_fit
from milinfer.diagnostics.fitted_simulation import (
    FittedSimulation,
    by_ratio,
    by_weights,
    fewer_events,
    steps_of,
    valid_fit,
)
from milinfer.exceptions import SampleError
from milinfer.likelihood.fits import minuit
from milinfer.likelihood.systematics import (
    SIGNAL,
    MixtureEvents,
    SystematicCost,
    SystematicTerms,
)
from milinfer.samples.argument_checks import require_sample
from milinfer.samples.fingerprints import any_shared, sketch, sketch_each
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.pool import EventPool
from milinfer.typing import FloatArray, Point

__all__ = ["goodness_of_systematic_fit"]


def goodness_of_systematic_fit(
    cost: SystematicCost,
    data: Sample,
    simulation: Mapping[str, SampleSet | Sample],
    *,
    degree: int | None = None,
    n_bins: int = 10,
    n_toys: int = 2000,
    seed: int = 0,
) -> GoodnessOfFit:
    """Test whether data are compatible with a likelihood with nuisance parameters.

    Parameters
    ----------
    cost
        Cost of the data, from :func:`milinfer.likelihood.systematics.systematic_cost`.  It is
        fitted to the data, and the fit is tested.
    data
        The dataset.
    simulation
        For each process (``"signal"`` and the name of each background), its nominal simulated
        events.  They must not have been used to train a model.
    degree
        How the signal events are weighted to the fitted parameters of interest.  A number: with
        their event weights, which are polynomials of this degree in the parameters.  None: with the
        learned ratio.
    n_bins, n_toys, seed
        As for :func:`milinfer.diagnostics.goodness_of_fit`.

    Raises
    ------
    SampleError
        If a process has no events, or has events in common with the data.
    ModelError
        If the fit to the data is not valid, for example because it is at the end of a range.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.likelihood.systematics import NormalisationUncertainty, systematic_cost
    >>> data = gaussian.generate(300, 0.1, seed=1).as_data()
    >>> cost = systematic_cost(gaussian.MeanModel(), data, rate=300.0, responses={}, reference=0.0,
    ...     uncertainties=[NormalisationUncertainty("trigger", {"signal": (0.9, 1.1)})])
    >>> simulation = {"signal": gaussian.samples(10_000, [0.0], seed=2)}
    >>> goodness_of_systematic_fit(cost, data, simulation, n_toys=300).p_value > 0.01
    True
    """
    require_sample(data, "goodness_of_systematic_fit()")
    data.require_data()
    terms = cost.terms
    processes = {
        name: SampleSet((s,)) if isinstance(s, Sample) else s for name, s in simulation.items()
    }
    if set(processes) != set(terms.processes):
        msg = (
            f"simulation= has events of {', '.join(processes) or 'no process'}, but the fit has "
            f"{', '.join(terms.processes)}; give nominal events of each process"
        )
        raise SampleError(msg)
    for name, samples in processes.items():
        if any_shared(sketch_each(samples), (sketch(data),)):
            msg = f"data and simulation of {name} share events; test the data against other events"
            raise SampleError(msg)
    fit = valid_fit(minuit(cost), terms.mixture.model.name)
    point = fit.values.to_dict()
    pools = _pools(terms, processes, degree, point)
    together = Sample(np.concatenate([pool.features for pool, _ in pools]), data.feature_names)
    together, weights_at, numbers = fewer_events(
        together,
        lambda at: np.concatenate([weights(at) for _, weights in pools]),
        seed,
        np.repeat(np.arange(len(pools)), [len(pool) for pool, _ in pools]),
    )
    simulated = SystematicCost(terms, MixtureEvents.of(terms, together), extended=cost.extended)
    errors = {c.name: c.error for c in terms.constraints}
    names = terms.names
    constraints = np.array([errors.get(name, np.inf) for name in names])

    def expected(at: Point) -> float:
        return float(sum(cost.expected_events(**at).values()))

    fitted = FittedSimulation(
        sample=together,
        data=data,
        point=point,
        covariance=np.array(fit.covariance, dtype=np.float64).reshape(len(names), len(names)),
        steps=steps_of(fit),
        weights_at=weights_at,
        log_density=lambda at: _of_one(simulated, at, cost.extended),
        data_log_density=lambda at: _of_one(cost, at, cost.extended),
        interest=tuple(terms.parameters),
        expected_at=expected if cost.extended else None,
        constraints=constraints,
        processes=numbers,
    )
    name = terms.mixture.model.name
    return examine_fit(fitted, name=name, n_bins=n_bins, n_toys=n_toys, seed=seed)


def _of_one(cost: SystematicCost, at: Point, extended: bool) -> FloatArray:
    """Ln of the density of each event; for a fit of the shape the density is normalised."""
    density = cost.log_densities(**at)
    if extended:
        return density
    total: FloatArray = density - np.log(sum(cost.expected_events(**at).values()))
    return total


def _pools(
    terms: SystematicTerms, processes: Mapping[str, SampleSet], degree: int | None, point: Point
) -> list[tuple[Sample, Callable[[Point], FloatArray]]]:
    """Events of each process, and their weights at a point: expected numbers of events."""
    pools = []
    for position, process in enumerate(terms.processes):
        samples = processes[process]
        if process == SIGNAL:
            events, shape_at = _signal(terms, samples, degree, point)
        else:
            if len(samples) != 1:
                msg = f"{process}: a background does not depend on parameters; give one sample"
                raise SampleError(msg)
            events, own = samples[0], samples[0].weights / samples[0].weights.sum()
            shape_at = _constant(own)
        pools.append((events, _scaled(terms, process, position, events, shape_at)))
    return pools


def _constant(weights: FloatArray) -> Callable[[Point], FloatArray]:
    return lambda _: weights


def _scaled(
    terms: SystematicTerms,
    process: str,
    position: int,
    events: Sample,
    shape_at: Callable[[Point], FloatArray],
) -> Callable[[Point], FloatArray]:
    """Weights at a point: nominal weights with a sum of one, times yield, norm and response."""
    table = terms.responses[process].table(events) if process in terms.responses else None

    def weights(at: Point) -> FloatArray:
        theta = np.array([at[n] for n in terms.parameters])
        norms = np.array([at[n] for n in terms.mixture.norms])
        alpha = np.array([at[n] for n in terms.nuisances])
        scale = terms.factors(theta, norms)[position] * terms.base[position]
        out = shape_at(at) * (scale * np.exp(terms.log_norms(alpha)[position]))
        if table is not None:
            response = table.log_response(
                alpha[terms.places[process]], terms.own_theta(process, theta)
            )
            out = out * np.exp(response)
        return np.asarray(out, dtype=np.float64)

    return weights


def _signal(
    terms: SystematicTerms, samples: SampleSet, degree: int | None, point: Point
) -> tuple[Sample, Callable[[Point], FloatArray]]:
    """Events of the signal, and weights that sum to one at each point of the parameters."""
    of_interest = {n: point[n] for n in terms.parameters}
    if degree is None:
        events, weights_at = by_ratio(terms.mixture.model, samples)
    else:
        events, weights_at = by_weights(EventPool(samples, degree), of_interest)

    def normalised(at: Point) -> FloatArray:
        weights = weights_at({n: at[n] for n in terms.parameters})
        return np.asarray(weights / weights.sum(), dtype=np.float64)

    return events, normalised
