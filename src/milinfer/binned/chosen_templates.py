"""Histograms with the most informative bins, which are chosen with other events than fill them.

:func:`chosen_templates` makes histograms of any one or two observables.  :func:`score_templates`
makes histograms of the scores of a model: of one score if the model has one parameter, and a
two-dimensional histogram if it has two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from milinfer.binned.binning import fisher_bins
from milinfer.binned.grid_bins import events_at, fisher_grid
from milinfer.binned.templates import Templates
from milinfer.binned.weighted_templates import EventYields, event_yields
from milinfer.exceptions import TemplateError
from milinfer.likelihood.models import LLRModel, require_unseen
from milinfer.likelihood.observables import Observable, independent_scores, score_observable
from milinfer.samples.fingerprints import any_shared, sketch_each
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.weights import effective_number
from milinfer.typing import FloatArray, Point
from milinfer.utils.polynomials import point_array

__all__ = ["chosen_templates", "filled_templates", "score_templates"]

# Effective simulated events of a bin: that choose its edges, and that are expected to fill it; with
# fluctuations these have to be more than the ten it needs.
_CHOOSING, _FILLING = 10.0, 20.0
# Numbers of bins in one dimension and in two.
_BINS: dict[int, int | tuple[int, int]] = {1: 20, 2: (8, 8)}
# Events of the data that a bin expects at least: bins may be nearly empty, not empty.
_NEARLY_EMPTY = 0.01


def chosen_templates(
    choosing: SampleSet | EventYields,
    filling: SampleSet | EventYields,
    observable: Observable | tuple[Observable, Observable],
    bins: int | tuple[int, int],
    at: Point,
    *,
    n_events: float,
    min_expected: float = _NEARLY_EMPTY,
    degree: int | None = None,
    luminosity: float | None = None,
    background: Sample | None = None,
) -> Templates:
    """Choose bins that keep the most information at a point, and fill them with other events.

    Every bin has at least ten effective events of `choosing` and is expected to have at least
    twenty of `filling`; with few events, half of the mean number per bin is enough instead.  The
    number of data events expected in a bin may be small, because scores with long tails carry much
    of their information in the tails.  The likelihood is close to a parabola if the information of
    all bins together comes from many events (:meth:`milinfer.Templates.information_events`), even
    if single bins have few.

    Parameters
    ----------
    choosing, filling
        Events with which the bins are chosen, and different events which fill them.  Give samples
        with cross-sections, and each sample contributes at its own point.  Or give the result of
        :func:`milinfer.binned.weighted_templates.event_yields`, and all events contribute at every
        θ through their weights.
    observable
        Feature, or function of a sample; or a pair of these, for bins in two dimensions.
    bins
        Number of bins; for two observables a pair of numbers.
    at
        Parameter point at which the information is taken.
    n_events
        Number of events of the data.
    min_expected
        Smallest number of data events that must be expected in a bin.
    degree
        Degree of the polynomial in the parameters that is fitted to each bin if samples are given;
        default: 4.
    luminosity, background
        As for :meth:`milinfer.Templates.from_samples`.

    Raises
    ------
    TemplateError
        If `choosing` and `filling` have events in common, or every choice of edges leaves a bin
        with too few events.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> first, second = (gaussian.samples(2000, [-0.3, 0.0, 0.3], seed=s) for s in (1, 2))
    >>> chosen_templates(first, second, "x0", 6, {"mu": 0.0}, n_events=500, degree=2)
    Templates(x0, 6 bins, degree 2 in mu, 3 samples)
    """
    choose, fill = _samples(choosing), _samples(filling)
    if any_shared(sketch_each(choose), sketch_each(fill)):
        msg = (
            f"the events of {choose!r} would be used both to choose the bins and to fill them, "
            "which makes their slope too steep; choose the bins on other events"
        )
        raise TemplateError(msg)
    n_bins = int(np.prod(bins))
    if not 0 <= min_expected < n_events / n_bins:
        msg = (
            f"{n_bins} bins cannot all expect min_expected={min_expected:g} of "
            f"{n_events:g} events; give a smaller min_expected or fewer bins"
        )
        raise TemplateError(msg)
    options: dict[str, Any] = {
        **_weights_or_degree(choosing, degree),
        "min_effective": _events_in_a_bin(choosing, filling, n_bins),
        "min_share": min_expected / n_events,
    }
    edges: Any
    if isinstance(observable, tuple):
        pair = (bins, bins) if isinstance(bins, int) else bins
        edges = fisher_grid(choose, observable, pair, at, **options)
    elif isinstance(bins, int):
        edges = fisher_bins(choose, observable, bins, at, **options)
    else:
        msg = f"bins = {bins} is for two observables, but there is only one; give one number"
        raise TemplateError(msg)
    return filled_templates(
        filling, observable, edges, degree=degree, luminosity=luminosity, background=background
    )


def filled_templates(
    filling: SampleSet | EventYields,
    observable: Observable | tuple[Observable, Observable],
    bins: Any,
    *,
    degree: int | None = None,
    luminosity: float | None = None,
    background: Sample | None = None,
) -> Templates:
    """Make templates from samples, or from events that contribute at every θ through their weights.

    Parameters
    ----------
    filling
        Samples, each of which contributes at its own point.  Or the result of
        :func:`milinfer.binned.weighted_templates.event_yields`, with which all events contribute at
        every θ.
    observable, bins, degree, luminosity, background
        As for :meth:`milinfer.Templates.from_samples`; `degree` is used only for samples.

    Examples
    --------
    >>> from milinfer.datasets import quadratic
    >>> yields = event_yields(quadratic.samples(1000, [{"c1": 0.0}], seed=1), 2)
    >>> filled_templates(yields, "x0", 4), filled_templates(yields, "x1", 6)
    (Templates(x0, 4 bins, degree 2 in c1, all events at 3 points),
     Templates(x1, 6 bins, degree 2 in c1, all events at 3 points))
    """
    return Templates.from_samples(
        _samples(filling),
        observable,
        bins=bins,
        **_weights_or_degree(filling, degree),
        luminosity=luminosity,
        background=background,
    )


def score_templates(
    model: LLRModel,
    choosing: SampleSet,
    filling: SampleSet,
    *,
    at: Point,
    n_events: float,
    bins: int | tuple[int, int] | None = None,
    min_expected: float = _NEARLY_EMPTY,
    degree: int | None = None,
    weight_degree: int | None = None,
    luminosity: float | None = None,
    background: Sample | None = None,
) -> Templates:
    """Make a histogram of the scores of a model.

    It is the best histogram to compare the model with.  For one parameter it is the histogram of
    one score.  For two parameters it is two-dimensional: one axis is the score of the first
    parameter, the other axis is the part of the second score that is not correlated with the first
    (:func:`milinfer.likelihood.observables.independent_scores`).

    Parameters
    ----------
    model
        Model of single events with one or two parameters.
    choosing
        Events with which the bins are chosen; use the events on which the model was trained.
    filling
        Events which fill the bins; the model must not have been trained on them.
    at
        Parameter point at which the scores are taken.
    n_events
        Number of events of the data.
    bins
        Number of bins, or a pair for two parameters.  Default: 20, or 8 × 8.
    min_expected
        As for :func:`chosen_templates`.
    degree, weight_degree
        Degree of the polynomial in the parameters that describes each bin, and degree of the event
        weights; see :meth:`milinfer.Templates.from_samples`.
    luminosity, background
        As for :meth:`milinfer.Templates.from_samples`.

    Raises
    ------
    TemplateError
        If the model has more than two parameters, `choosing` and `filling` have events in common,
        or every choice of edges leaves a bin with too few events.
    ParameterError
        If `at` is outside the range of the model, or has other parameters.
    SampleError
        If the model was trained on the events that fill the bins, or weights or cross-sections are
        missing.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> first, second = (gaussian.samples(2000, [-0.3, 0.0, 0.3], seed=s) for s in (1, 2))
    >>> score_templates(
    ...     gaussian.MeanModel(), first, second, at={"mu": 0.0}, n_events=500, bins=6, degree=2)
    Templates(score_mu, 6 bins, degree 2 in mu, 3 samples)
    """
    names = model.parameters
    if len(names) not in _BINS:
        msg = (
            f"{model.name} has the parameters {', '.join(names)}, but a histogram can have only "
            "one or two scores; use a model with fewer parameters"
        )
        raise TemplateError(msg)
    require_unseen(model, filling, "a histogram of its scores")
    theta = point_array(names, at)
    choose, fill = (
        s if weight_degree is None else event_yields(s, weight_degree) for s in (choosing, filling)
    )
    weights = events_at(choosing, at, degree, choose if isinstance(choose, EventYields) else None)
    scores = independent_scores(model, theta, _covariance(model, theta, choosing, weights[0]))
    return chosen_templates(
        choose,
        fill,
        scores[0] if len(scores) == 1 else (scores[0], scores[1]),
        _BINS[len(names)] if bins is None else bins,
        at,
        n_events=n_events,
        min_expected=min_expected,
        degree=degree,
        luminosity=luminosity,
        background=background,
    )


def _covariance(
    model: LLRModel, theta: FloatArray, samples: SampleSet, weights: FloatArray
) -> FloatArray:
    """Covariance of the scores of events that count with weights of any sign."""
    each = [score_observable(model, theta, parameter=name) for name in model.parameters]
    scores = np.stack([np.concatenate([score(s) for s in samples]) for score in each])
    share = weights / weights.sum()
    centred = scores - (scores @ share)[:, None]
    covariance: FloatArray = (centred * share) @ centred.T
    return covariance


def _samples(events: SampleSet | EventYields) -> SampleSet:
    return events.samples if isinstance(events, EventYields) else events


def _weights_or_degree(events: SampleSet | EventYields, degree: int | None) -> dict[str, Any]:
    """Options that determine how events fill bins."""
    if isinstance(events, EventYields):
        return {"weight_degree": events.basis.degree, "yields": events}
    return {"degree": degree}


def _events_in_a_bin(
    choosing: SampleSet | EventYields, filling: SampleSet | EventYields, bins: int
) -> float:
    """Least effective events in a bin for choosing edges; at most half of the mean per bin."""
    weighted = isinstance(choosing, EventYields)

    def enough(samples: SampleSet, number: float) -> float:
        sizes = [effective_number(s.weights) for s in samples]
        return min(number, 0.5 * (sum(sizes) if weighted else min(sizes)) / bins)

    choose, fill = _samples(choosing), _samples(filling)
    ratio = choose.n_events / fill.n_events
    return max(enough(choose, _CHOOSING), enough(fill, _FILLING) * ratio)
