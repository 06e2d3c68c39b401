"""Diagnosis of responses: exact ones pass, every planted mistake fails the check made for it."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import chi2

import milinfer as mil
from milinfer.diagnostics.checks import Tolerances
from milinfer.diagnostics.held_out_response import hold_out_response
from milinfer.exceptions import ConfigurationError, ParameterError, SampleError
from milinfer.likelihood.expected_response import expected_response
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.responses import Response
from milinfer.samples.fingerprints import sketch_each
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variations import ProcessVariations, Variation
from responses import ALONE, SHIFT, TOGETHER, ShiftAndTilt, nominal_events, two_terms, variations

CROSS = 0.15


def outcomes(diagnosis):
    return {c.name: c.outcome for c in diagnosis.checks}


def failed(diagnosis):
    return {c.name for c in diagnosis.failures}


def training(seed: int = 100) -> SampleSet:
    return SampleSet((nominal_events(40_000, seed),))


@pytest.fixture(scope="module")
def exact():
    held_out = variations(
        40_000, 1, shifts=ALONE + TOGETHER, points=(-0.5, 0.0, 0.5), interaction=CROSS
    )
    terms = two_terms(cross_terms=True, parameters={"mu": (-1.0, 1.0)})
    at_points = SampleSet(
        tuple(nominal_events(40_000, 50 + k, m) for k, m in enumerate((-1, 0, 1)))
    )
    return mil.diagnose_response(ShiftAndTilt(terms, at_points, interaction=CROSS), held_out)


def test_an_exact_response_passes_every_check(exact):
    assert outcomes(exact) == {
        "yields": "passed",
        "expected yield": "passed",
        "closure": "passed",
        "classifier": "passed",
        "factorisation": "passed",
        "dependence on parameters": "passed",
        "positivity and extrapolation": "passed",
    }
    assert exact.passed
    assert exact.verdict == "nothing wrong found"
    assert exact.n_events == 80
    # Most variations everywhere: the point nearest to zero.
    assert exact.reference == {"mu": 0.0}
    # At each point: four alone, two together.
    assert len(exact.yields) == 18
    assert len(exact.separations) == 12
    assert {c.histogram.feature for c in exact.closures} == {"x", "y"}
    # At its limit of 3 a tilt of 0.25 leaves exp(−(0.75)²) of the events, and the shift exp(−0.9²).
    fraction = exact["positivity and extrapolation"].value
    assert fraction == pytest.approx(np.exp(-((3 * SHIFT) ** 2)), rel=0.05)


def test_curves_and_yields_are_the_exact_ones(exact):
    shift, tilt = exact.curves
    assert (shift.nuisance, tilt.nuisance) == ("shift", "tilt")
    exact_tilt = np.exp((0.25 * tilt.alpha) ** 2 / 2)
    inside = np.abs(tilt.alpha) > 0.2
    pulls = (tilt.mean - exact_tilt)[inside] / tilt.error[inside]
    assert np.abs(pulls).max() < 4
    assert np.abs(shift.mean - 1).max() < 4 * shift.error.max()
    both = next(y for y in exact.yields if y.nuisances == {"shift": 1.0, "tilt": 1.0})
    assert both.value == pytest.approx(np.exp((0.25 + CROSS) ** 2 / 2), abs=4 * both.error)
    # Event by event the weights of nominal and varied events agree better than their means.
    alone = next(y for y in exact.yields if y.nuisances == {"tilt": 1.0})
    assert alone.difference_error < 1e-4 < alone.error


def test_exact_responses_fail_as_rarely_as_promised():
    response = ShiftAndTilt(two_terms(), training())
    seen = [
        mil.diagnose_response(response, variations(8000, 1000 * k), n_events=40) for k in range(25)
    ]
    # Each of 125 checks fails with a probability of 0.27 % or less.
    assert sum(len(d.failures) for d in seen) <= 2
    assert sum(d["yields"].outcome == "passed" for d in seen) >= 23


def pulls_of_yields(make):
    response = ShiftAndTilt(two_terms(), SampleSet((nominal_events(1000, 7),)))
    pulls = []
    for seed in range(60):
        held_out = hold_out_response(response, make(seed), 100, 0, 3.0, Tolerances())
        found = held_out.here[0].yields()
        pulls.append((found.predicted - found.value) / found.difference_error)
    return np.array(pulls)


def selected(seed):
    """Events above a cut, which the shift moves over it in both directions."""
    everything = nominal_events(4000, seed)
    moved = everything.features + np.array([-SHIFT, 0.0])
    kept, kept_moved = (f[:, 0] > -0.5 for f in (everything.features, moved))
    numbers = np.where(kept, np.cumsum(kept) - 1, -1)
    nominal = everything.take(np.flatnonzero(kept))
    entered = everything.take(np.flatnonzero(kept_moved))
    sample = dataclasses.replace(entered, features=moved[kept_moved])
    down = Variation({"shift": -1.0}, sample, numbers[kept_moved])
    # The other way events enter that the nominal selection rejects.
    raised = everything.features + np.array([SHIFT, 0.0])
    above = raised[:, 0] > -0.5
    other = dataclasses.replace(everything.take(np.flatnonzero(above)), features=raised[above])
    up = Variation({"shift": 1.0}, other, numbers[above])
    return ProcessVariations(SampleSet((nominal,)), (up, down))


def another_simulation(seed):
    """Varied events of their own, whose number fluctuates."""
    count = np.random.default_rng(seed + 5000).poisson([4000, 4000])
    nominal = dataclasses.replace(
        nominal_events(int(count[0]), seed),
        cross_section=float(count[0]),
        cross_section_error=float(np.sqrt(count[0])),
    )
    varied = dataclasses.replace(
        nominal_events(int(count[1]), seed + 10_000),
        cross_section=float(count[1]),
        cross_section_error=float(np.sqrt(count[1])),
    )
    varied = dataclasses.replace(varied, features=varied.features + np.array([SHIFT, 0.0]))
    return ProcessVariations(SampleSet((nominal,)), (Variation({"shift": 1.0}, varied),))


@pytest.mark.parametrize("make", [selected, another_simulation])
def test_errors_of_yields_are_those_of_repeated_simulations(make):
    assert 0.001 < chi2.cdf(np.sum(pulls_of_yields(make) ** 2), 60) < 0.999


def test_wrong_size_of_the_effects():
    diagnosis = mil.diagnose_response(
        ShiftAndTilt(two_terms(), training(), scale=1.3), variations(40_000, 1), n_events=2000
    )
    assert {"yields", "closure", "classifier"} <= failed(diagnosis)
    assert not diagnosis.passed
    assert "do not trust" in diagnosis.verdict
    # ln S of the tilt is 1.3 times too large: E[S] = exp(1.3² 0.25²/2), not exp(0.25²/2).
    check = diagnosis["yields"]
    assert check.quantity.startswith("E[S] at ")
    # 30 % too much is 30 % of the difference.
    assert diagnosis["closure"].value == pytest.approx(0.3, abs=0.08)


def test_a_missing_cross_term_fails_the_factorisation_alone():
    held_out = variations(40_000, 1, shifts=ALONE + TOGETHER, interaction=CROSS)
    without = mil.diagnose_response(ShiftAndTilt(two_terms(), training()), held_out)
    assert failed(without) == {"factorisation"}
    assert "cross_terms=True" in without["factorisation"].meaning
    terms = two_terms(cross_terms=True)
    response = ShiftAndTilt(terms, training(), interaction=CROSS)
    assert mil.diagnose_response(response, held_out)["factorisation"].outcome == "passed"


def test_factorisation_without_variations_together_is_skipped():
    diagnosis = mil.diagnose_response(ShiftAndTilt(two_terms(), training()), variations(8000, 1))
    assert diagnosis["factorisation"].outcome == "skipped"
    assert "'shift': 1, 'tilt': 1" in diagnosis["factorisation"].meaning
    assert diagnosis["dependence on parameters"].outcome == "skipped"


@pytest.mark.parametrize(
    "where", [{"points": (0.0, 0.5)}, {"carried": (0.0, 0.5)}], ids=["samples", "weights"]
)
def test_a_dependence_on_parameters_is_found(where):
    held_out = variations(40_000, 1, **where)
    response = ShiftAndTilt(two_terms(), training())
    diagnosis = mil.diagnose_response(response, held_out, n_events=200)
    # Its mean over events at another mu is not that at the first, which fits would use.
    assert failed(diagnosis) == {"dependence on parameters", "expected yield"}
    check = diagnosis["dependence on parameters"]
    assert "theta_dependent=True" in check.meaning
    assert "mu=0.5" in check.quantity
    # E[S] at mu: the exact response has 0.3 (x − mu), this one 0.3 x.
    assert abs(np.log(check.value)) == pytest.approx(SHIFT * 0.5, rel=0.05)
    assert check.expected == pytest.approx(1, abs=0.01)
    exact = ShiftAndTilt(two_terms(parameters={"mu": (-1.0, 1.0)}), training())
    assert mil.diagnose_response(exact, held_out).failures == ()
    assert mil.diagnose_response(exact, held_out)[check.name].outcome == "passed"


def test_points_that_are_not_checked_are_named():
    held_out = variations(20_000, 1, carried=(-0.5, -0.4, -0.3, -0.2, 0.1, 0.2, 0.3, 0.4, 0.5, 6.0))
    check = mil.diagnose_response(ShiftAndTilt(two_terms(), training()), held_out)[
        "dependence on parameters"
    ]
    assert "6 farthest of 9 points" in check.meaning
    assert "too few events at mu=6" in check.meaning


def test_expected_yields_of_other_events_are_found():
    elsewhere = SampleSet((dataclasses.replace(nominal_events(40_000, 9, 0.3), point={}),))
    diagnosis = mil.diagnose_response(ShiftAndTilt(two_terms(), elsewhere), variations(40_000, 1))
    assert failed(diagnosis) == {"expected yield"}


class Three(Response):
    """Weights exp(0.5 Σ α_k z) with z = 1 for a tenth of the events."""

    process, feature_names, digest, trained_on = "signal", ("z",), "", ()
    terms = ResponseTerms.of(["a", "b", "c"], degree=1)

    def __init__(self, nominal):
        self.expected = expected_response(self.table, SampleSet((nominal,)))

    def event_columns(self, sample):
        return np.repeat(0.5 * sample.features, 3, axis=1)


def test_products_of_three_nuisance_parameters_matter_for_many_events():
    z = (np.random.default_rng(1).random(100_000) < 0.1).astype(float)[:, None]
    nominal = Sample(z, ("z",))
    held_out = ProcessVariations(
        SampleSet((nominal,)),
        tuple(
            Variation.of_weights(nominal, {n: s}, np.exp(0.5 * s * z[:, 0]))
            for n in "abc"
            for s in (-1, 1)
        ),
    )
    many = mil.diagnose_response(Three(nominal), held_out, n_events=2000)
    assert many["expected yield"].outcome == "failed"
    assert many["yields"].outcome == "passed"
    assert "product of three" in many["expected yield"].meaning
    few = mil.diagnose_response(Three(nominal), held_out, n_events=20)
    assert few["expected yield"].outcome == "passed"


def test_effects_too_small_for_a_test_of_shapes_are_named():
    held_out = variations(40_000, 1, strength=0.02)
    diagnosis = mil.diagnose_response(ShiftAndTilt(two_terms(), training(), tilt=0.02), held_out)
    for name in ("closure", "classifier"):
        assert diagnosis[name].outcome == "passed"
        text = diagnosis[name].meaning
        assert "Too few events to decide for" in text
        assert "tilt=-1 at mu=0, tilt=1 at mu=0." in text


def test_a_nuisance_parameter_without_variations_is_not_passed_over():
    held_out = variations(40_000, 1).restricted(["shift"])
    check = mil.diagnose_response(ShiftAndTilt(two_terms(), training()), held_out)["yields"]
    assert check.outcome == "undecided"
    assert "tilt" in check.meaning


def test_too_large_responses_at_the_limits():
    held_out = variations(40_000, 1, strength=0.6)
    diagnosis = mil.diagnose_response(ShiftAndTilt(two_terms(), training(), tilt=0.6), held_out)
    check = diagnosis["positivity and extrapolation"]
    assert check.outcome == "failed"
    # exp(−1.8²) of the events, with the noise of its tail.
    assert check.value < 0.1
    assert "tilt=" in check.quantity
    assert "lower limit=" in check.meaning
    lower = ShiftAndTilt(two_terms(limit=1.5), training(), tilt=0.6)
    assert (
        mil.diagnose_response(lower, held_out)["positivity and extrapolation"].outcome == "passed"
    )


def test_negative_interpolations_are_found_and_named():
    code4 = two_terms(interpolation="code4")
    held_out = variations(20_000, 1)
    fine = mil.diagnose_response(ShiftAndTilt(code4, training()), held_out)
    assert not fine.failures

    class Extreme(ShiftAndTilt):
        def event_columns(self, sample):
            columns = super().event_columns(sample)
            if len(sample) == 20_000:
                columns[17, [0, 2]] = 4.0, -4.0
            return columns

    check = mil.diagnose_response(Extreme(code4, training()), held_out)[
        "positivity and extrapolation"
    ]
    assert check.outcome == "failed"
    assert "event 17 of signal at mu=0" in check.meaning
    assert "shift=" in check.meaning


# Wrong arguments.


def test_events_that_it_was_trained_on_are_refused():
    held_out = variations(8000, 1)
    response = ShiftAndTilt(two_terms(), training(), trained_on=sketch_each(held_out.nominal))
    with pytest.raises(SampleError, match="was trained on these events"):
        mil.diagnose_response(response, held_out)
    seen = sketch_each([v.sample for v in held_out.variations[:1]])
    response = ShiftAndTilt(two_terms(), training(), trained_on=seen)
    with pytest.raises(SampleError, match=r"variation shift=-1.*was trained on these events"):
        mil.diagnose_response(response, held_out)


def test_what_does_not_belong_together_is_refused():
    response = ShiftAndTilt(two_terms(), training())
    held_out = variations(1000, 1)
    other = ShiftAndTilt(two_terms(), training(), process="top")
    with pytest.raises(SampleError, match="cannot be checked with variations of signal"):
        mil.diagnose_response(other, held_out)
    features = ShiftAndTilt(two_terms(), training(), feature_names=("x", "z"))
    with pytest.raises(SampleError, match="feature 'z'"):
        mil.diagnose_response(features, held_out)
    alone = ShiftAndTilt(ResponseTerms.of(["shift"]), training())
    with pytest.raises(ParameterError, match="has no nuisance parameter 'tilt'"):
        mil.diagnose_response(alone, held_out)
    narrow = ShiftAndTilt(two_terms(limit=0.5), training())
    with pytest.raises(ParameterError, match=r"outside \[-0.5, 0.5\]"):
        mil.diagnose_response(narrow, held_out)
    depends = ShiftAndTilt(two_terms(parameters={"c": (-1.0, 1.0)}), training_in("c"))
    with pytest.raises(ParameterError, match="depends on c; give signal at mu=0"):
        mil.diagnose_response(depends, held_out)
    with pytest.raises(ConfigurationError, match="n_events = 0"):
        mil.diagnose_response(response, held_out, n_events=0)


def training_in(name: str) -> SampleSet:
    return SampleSet((dataclasses.replace(nominal_events(1000, 4), point={name: 0.0}),))


# Tables.


def test_tables_and_json(exact):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(exact)
    text = console.export_text()
    for check in exact.checks:
        assert check.name in text
    assert "<td" in exact._repr_html_()
    assert exact.to_table().num_rows == 7
    assert repr(exact) == (
        "ResponseDiagnosis(response of signal to shift, tilt, 80 events: nothing wrong found)"
    )
    found = json.loads(json.dumps(exact.to_dict(), allow_nan=False))
    assert found["passed"] is True
    assert len(found["yields"]) == 18
    assert [c["name"] for c in found["checks"]] == [c.name for c in exact.checks]
