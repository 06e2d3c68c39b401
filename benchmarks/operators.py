"""How much do events of VBF H → WW* know of c_HW, the CP-odd c_HWtil and c_Hbox?

The Fisher matrix of the shape at the standard model is the covariance of the score of events, for
1000 events after the cuts: of the partons (``parton_level``) and of what a detector sees
(``observables``).  Where an amplitude vanishes its score has no bound, and the mean of its square
over events of the standard model converges slowly.  Events of five points are therefore mixed and
weighted, so that the largest values have small weights.  Errors are those of batches.

By parity the elements between c_HWtil and the others are zero, and c_Hbox changes no shape.

python benchmarks/operators.py [--quick]

The last line on standard output is one line of JSON: for each of both the matrix and its errors;
the relative slope of the cross-section in each operator, whose outer product, times 1000, is what
the number of events adds; and for the observables ``retained``, the share of the information of the
partons on c_HW and c_HWtil that is left, on the same events.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from quick_size import parse

from milinfer.datasets import vbf_hww
from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.observable import observable_coefficients
from milinfer.samples.reweighting import bennett
from milinfer.utils.polynomials import PolynomialBasis

OPERATORS = vbf_hww.OPERATORS
BASIS = PolynomialBasis(OPERATORS, 4)
# The standard model, and either operator so large that its square makes a good part of the events.
POINTS = np.array([[0, 0, 0], [1.5, 0, 0], [-1.5, 0, 0], [0, 1.5, 0], [0, -1.5, 0]], dtype=float)
N_EXPECTED = 1000
N_BATCHES = 50

Array = NDArray[np.float64]


class Scores(NamedTuple):
    """Scores of events of the mixture, weighted to the standard model.

    Parameters
    ----------
    scores
        Of the shape, shape (n_events, n_operators).
    weights
        Mean one, shape (n_events,).
    slopes
        d ln σ/dθ, shape (n_operators,).
    """

    scores: Array
    weights: Array
    slopes: Array

    def batches(self) -> Array:
        """Information of `N_EXPECTED` events from batches of events, (n_batches, n, n)."""
        products = self.scores[:, :, None] * self.scores[:, None, :] * self.weights[:, None, None]
        return N_EXPECTED * np.array([products[k::N_BATCHES].mean(0) for k in range(N_BATCHES)])

    def slope_batches(self) -> Array:
        """The slopes from batches of events, (n_batches, n_operators)."""
        # To first order, as those of the ratio of two means.
        terms = self.weights[:, None] * self.scores
        return self.slopes + np.array([terms[k::N_BATCHES].mean(0) for k in range(N_BATCHES)])


def generated(n_events: int) -> Iterator[GeneratedEvents]:
    """Events at each point in turn, with their polynomial in all operators."""
    for k, point in enumerate(POINTS):
        yield vbf_hww.generate(n_events, dict(zip(OPERATORS, point, strict=True)), seed=700 + k)


def scores(coefficients: Sequence[Array]) -> Scores:
    """Scores at the standard model from polynomials of events of all points."""
    everything = np.concatenate(coefficients)
    design = BASIS.design(POINTS)
    ratios = everything @ design.T
    share = np.array([len(c) / len(everything) for c in coefficients])
    total = bennett(ratios, np.full(len(ratios), 1 / len(ratios)), everything, share)
    weights = 1 / (ratios / (design @ total) @ share)
    linear = [BASIS.exponents.tolist().index(row) for row in np.eye(len(OPERATORS)).tolist()]
    slopes = total[linear]
    return Scores(everything[:, linear] - slopes, weights / weights.mean(), slopes)


def with_errors(batches: Array) -> dict[str, Any]:
    """Mean over batches, and its standard error."""
    error = batches.std(axis=0, ddof=1) / np.sqrt(len(batches))
    return {"value": batches.mean(axis=0).tolist(), "error": error.tolist()}


def figures(found: Scores) -> dict[str, Any]:
    """Information and slopes of the cross-section."""
    return {
        "operators": list(OPERATORS),
        "information": with_errors(found.batches()),
        "slopes": with_errors(found.slope_batches()),
    }


def parton_level(quick: bool) -> dict[str, Any]:
    """Information of everything that was generated, neutrinos and protons' partons included."""
    n_events = 1_000 if quick else 200_000
    found = scores([events.coefficients for events in generated(n_events)])
    return {"events": n_events * len(POINTS), **figures(found)}


def observables(quick: bool) -> dict[str, Any]:
    """Information of the leptons, the jets and the missing transverse momentum."""
    n_events = 200 if quick else 40_000
    events = list(generated(n_events))
    start = time.perf_counter()
    ratios = [observable_coefficients(e, n_rapidity=64 if quick else 128) for e in events]
    seconds = time.perf_counter() - start
    seen = scores([ratio.coefficients for ratio in ratios])
    partons = scores([e.coefficients for e in events])
    left, all_of_it = (np.einsum("bkk->bk", s.batches())[:, :2] for s in (seen, partons))
    # To first order, as the ratio of means: batches are too small for their own ratios.
    ratio = left.mean(0) / all_of_it.mean(0)
    spread = (left - ratio * all_of_it) / all_of_it.mean(0)
    return {
        "events": n_events * len(POINTS),
        "events_per_s": n_events * len(POINTS) / seconds,
        **figures(seen),
        "retained": with_errors(ratio + spread),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options = parse(parser, {}, arguments)
    result = {
        "parton_level": parton_level(options.quick),
        "observables": observables(options.quick),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
