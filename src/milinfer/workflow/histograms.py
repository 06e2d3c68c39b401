"""Histograms of features and of the network's output, to compare the network with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from milinfer.binned.chosen_templates import (
    chosen_templates,
    filled_templates,
    score_templates,
)
from milinfer.binned.templates import Templates
from milinfer.binned.weighted_templates import (
    EventYields,
    carry_weights,
    event_yields,
)
from milinfer.exceptions import TemplateError
from milinfer.learning.bag_likelihood import classifier_output
from milinfer.likelihood.models import require_unseen
from milinfer.likelihood.observables import Observable, score_observable
from milinfer.samples.fingerprints import any_shared, sketch_each
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import Point
from milinfer.workflow.analysis_settings import Analysis, reference_point
from milinfer.workflow.comparison import (
    Attempts,
)

__all__ = ["histograms"]


def histograms(analysis: Analysis, attempts: Attempts) -> dict[str, Templates]:
    """Fill templates of one feature, of two features, and of the network's output.

    If the network has one parameter, there are two histograms of its output: one of the log-ratio
    and one of the score.  If it has two parameters, there is one histogram of its two scores.  If
    it has more parameters, there is no histogram of its output.

    The bins for one feature, and those for the network's output, are chosen so that they keep the
    most information at the reference.  The events with which they are chosen do not fill them.  For
    a feature these are the events that were held out from the training, for the network's output
    the training events.  The bins for two features are quantiles.  If events have weights, they
    contribute at all values of the parameters.  If they have none, a polynomial is fitted through
    the samples.
    """
    model = analysis.model
    at = reference_point(model)
    templates: dict[str, Templates] = {}
    # What the weights of events add is the same for all observables.
    known: dict[SampleSet, SampleSet | EventYields] = {}

    def through_weights(samples: SampleSet) -> SampleSet | EventYields:
        if samples not in known:
            degree = analysis.weight_degree
            if degree is not None and carry_weights(samples, degree):
                known[samples] = event_yields(samples, degree)
            else:
                known[samples] = samples
        return known[samples]

    parts: dict[tuple[SampleSet, SampleSet | None], tuple[SampleSet, SampleSet]] = {}

    def add(
        name: str,
        filling: SampleSet,
        others: SampleSet | None,
        observable: Callable[[], Observable],
    ) -> None:
        with attempts(name, "templates"):
            if (filling, others) not in parts:
                parts[filling, others] = _edges_and_contents(filling, others, analysis.seed)
            choosing, rest = parts[filling, others]
            templates[name] = chosen_templates(
                through_weights(choosing),
                through_weights(rest),
                observable(),
                analysis.bins,
                at,
                n_events=len(analysis.data),
                degree=analysis.degree,
            )

    held_out = analysis.classifier_templates
    add("pyhf", analysis.templates, held_out, lambda: analysis.observable)
    if analysis.second_observable is not None:
        with attempts("pyhf_2d", "templates"):
            templates["pyhf_2d"] = filled_templates(
                through_weights(analysis.templates),
                (analysis.observable, analysis.second_observable),
                analysis.bins_2d,
                degree=analysis.degree,
            )
    if held_out is not None:
        require_unseen(model, held_out, "a histogram of its output")
        others = analysis.templates if analysis.training is None else analysis.training
        if len(at) == 1:
            add("pyhf_classifier", held_out, others, lambda: classifier_output(model))
            score = partial(score_observable, model, at[model.parameter])
            add("pyhf_score", held_out, others, score)
        elif len(at) == 2:
            with attempts("pyhf_scores", "templates"):
                templates["pyhf_scores"] = _of_scores(analysis, others, held_out, at)
    return templates


def _of_scores(analysis: Analysis, choosing: SampleSet, filling: SampleSet, at: Point) -> Templates:
    """Histogram of two scores, with as many bins as the events allow, 12 × 12 at most."""
    weighted = carry_weights(filling, analysis.weight_degree)
    # An even share of forty simulated events, so that every bin has half of it or more.
    simulated = filling.n_events if weighted else min(len(s) for s in filling)
    bins = int(np.clip(np.sqrt(min(len(analysis.data) / 7, simulated / 40)), 2, 12))
    while True:
        try:
            return score_templates(
                analysis.model,
                choosing,
                filling,
                at=at,
                n_events=len(analysis.data),
                bins=(bins, bins),
                degree=analysis.degree,
                weight_degree=analysis.weight_degree if weighted else None,
            )
        except TemplateError:
            # Few simulated events fill few bins.
            bins -= 1
            if bins < 2:
                raise


def _edges_and_contents(
    filling: SampleSet, others: SampleSet | None, seed: int
) -> tuple[SampleSet, SampleSet]:
    """Samples to choose edges on and samples to fill bins with, of different events."""
    if others is not None and not any_shared(sketch_each(others), sketch_each(filling)):
        return others, filling
    choosing, rest = filling.split([_CHOOSE_EDGES, 1 - _CHOOSE_EDGES], seed)
    return choosing, rest


# Part of the events that choose edges where no others do.
_CHOOSE_EDGES = 0.2
