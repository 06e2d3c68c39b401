"""Settings of an estimator that exclude each other, and what follows from the training points."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from milinfer.exceptions import ConfigurationError, MilinferWarning, ModelError
from milinfer.learning.training_points import ModelPoints, training_points
from milinfer.samples.samples import SampleSet
from milinfer.samples.streaming import StreamedSamples
from milinfer.typing import FloatArray

if TYPE_CHECKING:
    from milinfer.learning.bag_likelihood import BagLikelihood

__all__ = ["logit_degree", "require_consistent", "warn_of_free_coefficients"]

_CHOICES = {
    "head": ("multiclass", "polynomial", "binary", "parametrised"),
    "labels": ("hard", "joint"),
    "average": ("log-ratio", "ratio", "probability"),
}


def require_consistent(model: BagLikelihood) -> None:
    """Refuse settings that are unknown or exclude each other."""
    from milinfer.learning.networks.losses import loss

    for option, known in _CHOICES.items():
        value = getattr(model, option)
        if value not in known:
            msg = f"{option}={value!r} is not one of {', '.join(map(repr, known))}"
            raise ConfigurationError(msg)
    two = model.head in ("binary", "parametrised")
    by_score = model.loss == "score"
    classes = (
        None if by_score else loss(model.loss or ("bce" if two else "cross-entropy")).n_classes
    )
    problems = {
        f"loss={model.loss!r} does not fit head={model.head!r}": (classes == 2) is not two,
        "a polynomial head is a sum over events and takes no pooling=": model.head == "polynomial"
        and model.pooling != "mean",
        f"head={model.head!r} knows pooling='mean' and 'sum' only": two
        and model.pooling not in ("mean", "sum"),
        f"labels='joint' needs head='multiclass' or 'polynomial', not {model.head!r}": two
        and model.labels == "joint",
        "loss='score' and score_weight= need head='polynomial'": (
            by_score or model.score_weight != 0
        )
        and model.head != "polynomial",
        "points= needs labels='joint'": model.points is not None and model.labels != "joint",
        "points= needs bag_size=1: bags are simulated at the samples' points": model.points
        is not None
        and model.events_in_bag != 1,
        "loss='mlc-linear' makes Λ no sum over events; use bag_size=1": model.loss == "mlc-linear"
        and model.events_in_bag != 1,
        "ensemble= and bag_size= must be at least 1": min(model.ensemble, model.events_in_bag) < 1,
        f"order={model.order} must be at least 1": model.order < 1,
        f"score_weight={model.score_weight:g} must not be negative": not model.score_weight >= 0,
        f"validation_fraction={model.validation_fraction:g} must be between 0 and 1": not (
            0 < model.validation_fraction < 1
        ),
        "bag_hidden= of the network needs head='multiclass'": model.head != "multiclass"
        and bool((model.network or model.default_network).bag_hidden),
    }
    for problem, found in problems.items():
        if found:
            raise ConfigurationError(problem)


def warn_of_free_coefficients(model: BagLikelihood, where: ModelPoints) -> None:
    """Say that hard labels at few points leave a polynomial head free between them.

    Warns
    -----
    MilinferWarning
        If the points do not fix |amplitude|² of the order of the head.
    """
    if model.head != "polynomial" or model.labels == "joint":
        return
    fixed, number = _fixed(where.parameters, where.points, 2 * model.order)
    if fixed < number:
        msg = (
            f"samples at {len(where.points)} points fix {fixed} of the {number} coefficients "
            f"of a squared amplitude of order={model.order} in {', '.join(where.parameters)}: "
            "between the points Λ is what the network makes of it. Add points, use order=1, or "
            "labels='joint' where events have weights at other points"
        )
        warnings.warn(msg, MilinferWarning, stacklevel=4)


def _fixed(names: tuple[str, ...], points: FloatArray, degree: int) -> tuple[int, int]:
    """Coefficients of a polynomial of some degree that points fix, and how many it has."""
    from milinfer.utils.polynomials import PolynomialBasis

    basis = PolynomialBasis(names, degree)
    scaled = (points - points.mean(axis=0)) / np.ptp(points, axis=0)
    return int(np.linalg.matrix_rank(basis.design(scaled))), len(basis)


def logit_degree(model: BagLikelihood, samples: SampleSet | StreamedSamples) -> int | None:
    """Degree of the logits; ``"auto"``: two points for each coefficient, or degree 2."""
    from milinfer.utils.polynomials import PolynomialBasis

    if model.head != "multiclass" or model.degree is None:
        return None if model.degree == "auto" else model.degree
    names, points = samples.parameters, training_points(model, samples)

    def determined(degree: int) -> bool:
        fixed, number = _fixed(names, points, degree)
        return fixed == number

    degree = model.degree
    if degree == "auto":
        fits = [
            d
            for d in (4, 3, 2)
            if len(PolynomialBasis(names, d)) - 1 <= (len(points) - 1) // 2 and determined(d)
        ]
        # Without a square Λ has no maximum; two points are two hypotheses, which need none.
        lowest = 1 if len(names) == 1 and len(points) == 2 else 2
        degree = fits[0] if fits else lowest
    if degree < 1 or not determined(degree):
        # Points along the axes, say, leave the coefficient of a cross term to chance.
        msg = (
            f"logits of degree {degree} in {', '.join(names)} do not fit {len(points)} points that "
            f"lie as they do: they need {len(PolynomialBasis(names, max(degree, 1)))} or more that "
            "fix every coefficient; lower degree= or add points"
        )
        raise ModelError(msg)
    return degree
