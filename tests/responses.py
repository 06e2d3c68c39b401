"""A process with two nuisance parameters whose response is known, shared by the tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from milinfer.likelihood.expected_response import ExpectedResponse, expected_response
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.responses import Response
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variations import ProcessVariations, Variation
from milinfer.typing import Float32Array, FloatArray

SHIFT = 0.3
TILT = 0.25
ALONE = ((-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
TOGETHER = ((1.0, 1.0), (-1.0, 1.0))


@dataclass(frozen=True, eq=False)
class ShiftAndTilt(Response):
    """Exact response of x ~ N(mu, 1), y ~ N(0, 1) to a shift of x and a weight in y.

    x moves by SHIFT · shift; events get the weight exp((TILT + interaction · shift) · tilt · y).
    `scale` multiplies all coefficients, which makes the response wrong.
    """

    terms: ResponseTerms
    nominal: SampleSet
    scale: float = 1.0
    tilt: float = TILT
    interaction: float = 0.0
    process: str = "signal"
    feature_names: tuple[str, ...] = ("x", "y")
    digest: str = ""
    trained_on: tuple[str, ...] = ()
    expected: ExpectedResponse = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "expected", expected_response(self.table, self.nominal))

    def event_columns(self, sample: Sample) -> Float32Array:
        x, y = (sample.column(n).astype(np.float64) for n in ("x", "y"))
        half = SHIFT**2 / 2 * np.ones(len(x))
        by_name = {
            "shift": SHIFT * x,
            "shift^2": -half,
            "tilt": self.tilt * y,
            "tilt^2": 0 * y,
            "shift*tilt": self.interaction * y,
            "shift up": SHIFT * x - half,
            "shift down": -SHIFT * x - half,
            "tilt up": self.tilt * y,
            "tilt down": -self.tilt * y,
        }
        columns = [by_name[name] for name in self.terms.names]
        if self.terms.parameters:
            moved = -SHIFT * self.terms.half[0]
            columns += [np.full(len(x), moved * (name == "shift")) for name in self.terms.names]
        return (self.scale * np.stack(columns, axis=1)).astype(np.float32)


def nominal_events(n: int, seed: int, mu: float = 0.0, carried: tuple[float, ...] = ()) -> Sample:
    """Events at one mu, with their weights at other values."""
    xy = np.random.default_rng(seed).normal((mu, 0.0), 1.0, (n, 2))
    x = xy[:, 0]
    return Sample(
        xy,
        ("x", "y"),
        point={"mu": mu},
        cross_section=2.0,
        cross_section_error=0.0,
        reweights={f"mu={m}": np.exp((m - mu) * x - (m**2 - mu**2) / 2) for m in carried},
        reweight_points={f"mu={m}": {"mu": m} for m in carried},
    )


def varied(
    nominal: Sample, shift: float, tilt: float, strength: float = TILT, interaction: float = 0.0
) -> Variation:
    """The same events, shifted and weighted."""
    moved = nominal.features + np.array([SHIFT * shift, 0.0])
    weights = tilted_weights(nominal, shift, tilt, strength, interaction)
    nuisances = {"shift": shift, "tilt": tilt}
    if not shift:
        return Variation.of_weights(nominal, {"tilt": tilt}, weights)
    of_weights = Variation.of_weights(nominal, nuisances, weights).sample
    return Variation.of_features(of_weights, nuisances, moved)


def tilted_weights(
    nominal: Sample, shift: float, tilt: float, strength: float = TILT, interaction: float = 0.0
) -> FloatArray:
    """Weights of varied events."""
    y = nominal.column("y").astype(np.float64)
    return nominal.weights * np.exp((strength + interaction * shift) * tilt * y)


def variations(
    n: int,
    seed: int,
    shifts: tuple[tuple[float, float], ...] = ALONE,
    points: tuple[float, ...] = (0.0,),
    carried: tuple[float, ...] = (),
    strength: float = TILT,
    interaction: float = 0.0,
) -> ProcessVariations:
    """Nominal and varied events at each of several values of mu."""
    nominal = tuple(nominal_events(n, seed + k, mu, carried) for k, mu in enumerate(points))
    return ProcessVariations(
        SampleSet(nominal),
        tuple(varied(s, a, b, strength, interaction) for s in nominal for a, b in shifts),
    )


def two_terms(**options: object) -> ResponseTerms:
    """Terms of shift and tilt."""
    return ResponseTerms.of(["shift", "tilt"], **options)  # type: ignore[arg-type]
