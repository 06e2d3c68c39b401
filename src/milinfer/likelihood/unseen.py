"""Events that a model has learned from must not be those that judge it.

A network knows the fluctuations of its training events: its estimates follow the truth of such toys
better, and spread less, than those of data.  So a trained model remembers its events by sketches
(:mod:`milinfer.samples.fingerprints`), and what measures it asks for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from milinfer.exceptions import CalibrationError, SampleError
from milinfer.samples.fingerprints import share_events, sketch
from milinfer.samples.samples import SampleSet
from milinfer.utils.points import format_point

if TYPE_CHECKING:
    from milinfer.toys.ensemble import ToyEnsemble

__all__ = ["has_seen", "require_unseen", "require_unseen_toys", "trained_on"]


def trained_on(model: object) -> tuple[str, ...]:
    """Sketches of the events that a model has learned from; empty where it does not learn.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> trained_on(gaussian.MeanModel())
    ()
    """
    return tuple(getattr(model, "trained_on", ()))


def has_seen(model: object, events: str) -> bool:
    """Whether a model has learned from a set of events, known by its sketch.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> has_seen(gaussian.MeanModel(), sketch(gaussian.generate(100, 0.0, seed=1)))
    False
    """
    return any(share_events(events, known) for known in trained_on(model))


def require_unseen(model: object, samples: SampleSet, purpose: str) -> None:
    """Raise if a model has learned from the events of a sample.

    Raises
    ------
    SampleError
        Names the sample.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> require_unseen(gaussian.MeanModel(), gaussian.samples(100, [0.0], seed=1), "a diagnosis")
    """
    for sample in samples if trained_on(model) else ():
        if has_seen(model, sketch(sample)):
            msg = (
                f"{sample.label}: {getattr(model, 'name', model)} was trained on these events; "
                f"{purpose} needs others"
            )
            raise SampleError(msg)


def require_unseen_toys(ensembles: Sequence[ToyEnsemble]) -> None:
    """Raise if toys are of events that their model was trained on.

    Raises
    ------
    CalibrationError
        Names the model and the truth.

    Examples
    --------
    >>> from milinfer.datasets import gaussian
    >>> from milinfer.toys.toys import Toys
    >>> toys = Toys(gaussian.samples(1000, [0.0], seed=1), n_events=10, seed=2)
    >>> require_unseen_toys([toys.run([gaussian.MeanModel()], 0.0, 10)["mean"]])
    """
    for e in ensembles:
        if e.seen:
            msg = (
                f"the toys of {e.model} at {format_point(e.point)} are of events that it was "
                "trained on, and say nothing of data: throw them from other events"
            )
            raise CalibrationError(msg)
