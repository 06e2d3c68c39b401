"""hepstats with zfit: intervals for a mean from the asymptotic formula, and how fast toys are."""

from __future__ import annotations

from typing import Any

import numpy as np
from plain import Interval, main


def _loss(x: np.ndarray, mu: Any, sigma: Any) -> Any:
    import zfit

    space = zfit.Space("x", limits=(-12, 12))
    pdf = zfit.pdf.Gauss(obs=space, mu=mu, sigma=sigma)
    return zfit.loss.UnbinnedNLL(model=pdf, data=zfit.Data.from_numpy(obs=space, array=x))


def asymptotic(facts: dict, seed: int, quick: bool) -> Interval:  # noqa: ARG001
    """AsymptoticCalculator and ConfidenceInterval at 15 values within 2.5 errors of the mean."""
    import zfit
    from hepstats.hypotests import ConfidenceInterval
    from hepstats.hypotests.calculators import AsymptoticCalculator
    from hepstats.hypotests.parameters import POIarray

    mu = zfit.Parameter("mu", 0.0, *facts["range"])
    error = 1 / np.sqrt(facts["n_events"])

    def interval(x: np.ndarray) -> tuple[float, float]:
        mu.set_value(0.0)
        values = POIarray(mu, x.mean() + error * np.linspace(-2.5, 2.5, 15))
        calculator = AsymptoticCalculator(_loss(x, mu, 1.0), zfit.minimize.Minuit())
        found = ConfidenceInterval(calculator, values).interval(alpha=1 - facts["cl"], printlevel=0)
        return float(found["lower"]), float(found["upper"])

    return interval


if __name__ == "__main__":
    main(["hepstats", "zfit", "numpy"], {}, {}, {"asymptotic": asymptotic})
