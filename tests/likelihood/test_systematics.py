"""The cost with nuisance parameters, against closed forms and numerical derivatives."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from iminuit.cost import NormalConstraint
from scipy.optimize import approx_fprime

import milinfer as mil
from milinfer.datasets import gaussian
from milinfer.exceptions import ConfigurationError, MilinferWarning, ModelError, ParameterError
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.responses import MeanAndYield
from milinfer.likelihood.systematics import (
    MixtureEvents,
    NormalisationUncertainty,
    SystematicCost,
    systematic_cost,
    systematic_terms,
)
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.typing import Float32Array
from shifted_gaussian import SHIFT, Shift, exact_shift, quantiles


def far(sample: Sample) -> np.ndarray:
    """ln of N(2, 1) over N(0, 1)."""
    return gaussian.log_likelihood_ratio(sample.column("x0"), 2.0)


def mixed(*, seed: int = 3) -> Sample:
    signal, other = (
        gaussian.generate(n, m, seed=seed + k) for k, (n, m) in enumerate(((300, 0.2), (60, 2.0)))
    )
    return Sample(np.concatenate([signal.features, other.features]), ("x0",))


def everything(**options: object) -> SystematicCost:
    """A cost with all kinds of parameters."""
    at_zero = SampleSet((gaussian.generate(5000, 2.0, seed=9),))
    both = ResponseTerms.of(["shift", "other"], cross_terms=True)

    class Two(Shift):
        def event_columns(self, sample: Sample) -> Float32Array:
            x = sample.column("x0").astype(np.float64)
            ones = np.ones(len(x))
            return np.stack(
                [0.1 * x, -0.02 * ones, 0.05 * x**2, 0.01 * x, 0.03 * x], axis=1
            ).astype(np.float32)

    given = {
        "rate": 300.0,
        "backgrounds": {"far": (far, 60.0)},
        "responses": {"signal": exact_shift(), "far": Two(both, at_zero, "far")},
        "uncertainties": [
            NormalisationUncertainty("other", {"signal": (0.97, 1.04)}),
            NormalisationUncertainty("efficiency", {"signal": (0.98, 1.02), "far": (0.9, 1.2)}),
        ],
        "luminosity_uncertainty": 0.02,
        "norm_constraints": {"far": 0.2},
        "reference": 0.0,
    }
    return systematic_cost(gaussian.MeanModel(), mixed(), **(given | options))


def test_a_shift_of_the_mean_is_exact_at_every_theta() -> None:
    data = gaussian.generate(400, 0.1, seed=5).as_data()
    cost = systematic_cost(
        gaussian.MeanModel(), data, rate=400.0, responses={"signal": exact_shift()}, reference=0.0
    )
    x = data.column("x0").astype(np.float64)

    def exact(mu: float, shift: float) -> float:
        return float(np.sum((x - mu - SHIFT * shift) ** 2 - x**2)) + shift**2

    for mu, shift in ((0.0, 1.0), (0.3, -1.5), (-0.8, 2.5)):
        # The expected yield has a Monte-Carlo error, which counts 400 times.
        kappa = exact_shift().expected
        error = 800 * kappa.error(np.array([shift]), np.array([mu]))
        assert cost(mu, shift) == pytest.approx(exact(mu, shift), abs=4 * error + 1e-3)
        assert error < 5


def test_profiled_width_is_that_of_both_measurements() -> None:
    # With 20 000 random events the noise of the expected yield, 400 times, would be in the width.
    shift = Shift(ResponseTerms.of(["shift"], parameters={"mu": (-1.0, 1.0)}), quantiles())
    data = gaussian.generate(400, 0.1, seed=5).as_data()
    cost = systematic_cost(
        gaussian.MeanModel(),
        data,
        rate=400.0,
        responses={"signal": shift},
        reference=0.0,
        extended=False,
    )
    m = mil.minuit(cost).migrad()
    m.hesse()
    assert m.valid
    # x̄ measures mu + 0.3 α to 1/20, and α is measured to 1.
    assert m.errors["mu"] == pytest.approx(np.hypot(1 / 20, SHIFT), rel=0.02)
    assert m.errors["shift"] == pytest.approx(1.0, rel=0.02)
    interval = mil.profile_interval(cost, "mu")
    assert interval.high - interval.low == pytest.approx(2 * np.hypot(1 / 20, SHIFT), rel=0.03)


@pytest.mark.parametrize("seed", [3, 4])
def test_an_interval_beside_a_nuisance_parameter_that_is_not_correlated(seed: int) -> None:
    """Where it has no slope anywhere, MINOS of Minuit asked for the cost at nan."""
    cost = systematic_cost(
        gaussian.MeanModel(shift=0.03),
        gaussian.generate(200, 0.0, seed=seed).as_data(),
        rate=200.0,
        responses={},
        reference=0.0,
        uncertainties=[NormalisationUncertainty("trigger", {"signal": (0.95, 1.05)})],
    )
    best: dict[str, float] | None = None
    for _ in range(2):
        interval = mil.profile_interval(cost, "mu", 0.9545, start=best)
        assert interval.high - interval.low == pytest.approx(4 * 200**-0.5, rel=0.02)
        best = interval.minuit.values.to_dict()


def test_a_response_that_is_wrong_at_other_values_is_said() -> None:
    at_zero = SampleSet((gaussian.generate(5000, 0.0, seed=9),))

    class Wrong(Shift):
        rows: tuple[MeanAndYield, ...] = ()

        @property
        def at_ends(self) -> tuple[MeanAndYield, ...]:
            return self.rows

    right = MeanAndYield({"mu": -0.5}, {"shift": 1.0}, 1.0, 1.004, 0.001)
    wrong = MeanAndYield({"mu": 0.5}, {"shift": -1.0}, 1.0, 1.16, 0.01)
    small = MeanAndYield({"mu": 0.5}, {"shift": 1.0}, 1.0, 1.0009, 1e-6)
    outside = wrong._replace(point={"mu": 7.0})

    def cost(*rows: MeanAndYield) -> SystematicCost:
        response = Wrong(ResponseTerms.of(["shift"]), at_zero)
        object.__setattr__(response, "rows", rows)
        return systematic_cost(
            gaussian.MeanModel(),
            gaussian.generate(50, 0.0, seed=5).as_data(),
            rate=50.0,
            responses={"signal": response},
            reference=0.0,
        )

    with pytest.warns(MilinferWarning, match="theta_dependent=True") as caught:
        cost(right, wrong)
    text = str(caught[0].message)
    assert "the response of signal does not depend on mu" in text
    assert "at mu=0.5 and shift=-1 its mean is 1, but the ratio of the yields 1.16 ± 0.01" in text
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cost(right, small, outside)


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize(
    "point",
    [
        (0.2, 1.1, 0.4, -0.7, 0.3, 1.01),
        (-0.4, 0.6, -2.0, 1.7, -1.5, 0.97),
        (0.1, 0.0, 0.5, 0.2, 0.1, 1.0),
    ],
)
def test_gradient_is_the_derivative(point: tuple[float, ...], *, extended: bool) -> None:
    cost = everything(extended=extended)
    at = np.array(point)
    gradient = cost.grad(*at)
    step = 1e-6
    for k, name in enumerate(cost.terms.names):
        up, down = at.copy(), at.copy()
        up[k] += step
        down[k] -= step if down[k] > 0 or name != "far_norm" else 0.0
        numerical = (cost(*up) - cost(*down)) / (up[k] - down[k])
        tolerance = 1e-3 if down[k] == at[k] else 2e-5
        assert gradient[k] == pytest.approx(numerical, rel=tolerance, abs=tolerance * 50), name


def test_code4_is_pyhf_s_interpolation_in_the_cost() -> None:
    terms = ResponseTerms.of(["shift"], interpolation="code4")
    response = Shift(terms, SampleSet((gaussian.generate(20_000, 0.0, seed=1),)))
    data = gaussian.generate(50, 0.0, seed=2).as_data()
    cost = systematic_cost(
        gaussian.MeanModel(), data, rate=50.0, responses={"signal": response}, reference=0.0
    )
    numerical = approx_fprime(np.array([0.1, 0.4]), lambda p: cost(*p), 1e-6)
    assert cost.grad(0.1, 0.4) == pytest.approx(numerical, rel=1e-4, abs=1e-3)


def test_the_cost_is_zero_at_the_start_and_its_minimum_is_valid() -> None:
    cost = everything()
    assert cost(**cost.start) == pytest.approx(0.0, abs=1e-9)
    m = mil.minuit(cost).migrad()
    assert m.valid
    assert cost.terms.names == ("mu", "far_norm", "shift", "other", "efficiency", "lumi")
    assert cost.constrained == ("far_norm", "shift", "other", "efficiency", "lumi")


def test_constraints_leave_and_return() -> None:
    cost = everything()
    point = {
        "mu": 0.1,
        "far_norm": 1.1,
        "shift": 0.5,
        "other": 1.0,
        "efficiency": 0.0,
        "lumi": 1.02,
    }
    bare = cost.without_constraints(["shift", "far_norm", "lumi"])
    assert cost(**point) - bare(**point) == pytest.approx(0.5**2 + 0.5**2 + 1.0, abs=1e-9)
    again = bare + NormalConstraint("shift", 0, 1) + NormalConstraint("far_norm", 1, 0.2)
    again += NormalConstraint("lumi", 1, 0.02)
    names = again._parameters
    assert again(*(point[n] for n in names)) == pytest.approx(cost(**point), abs=1e-9)
    moved = cost.measuring(shift=-1.0, lumi=1.01)
    expected = 1.5**2 - 0.5**2 + 0.5**2 - 1.0
    assert moved(**point) - cost(**point) == pytest.approx(expected, abs=1e-9)


def test_expected_events_follow_the_parameters() -> None:
    cost = everything()
    at_start = cost.expected_events()
    assert at_start == pytest.approx({"signal": 300.0, "far": 60.0})
    moved = cost.expected_events(efficiency=1.0, lumi=1.1, far_norm=2.0)
    assert moved == pytest.approx({"signal": 300 * 1.02 * 1.1, "far": 60 * 1.2 * 2 * 1.1})


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"responses": {"fra": exact_shift()}}, ConfigurationError, "no process 'fra'.*far"),
        (
            {"responses": {"far": exact_shift()}},
            ModelError,
            "'far' has the response of another process",
        ),
        (
            {"uncertainties": [NormalisationUncertainty("e", {"signal": (0.0, 1.1)})]},
            ConfigurationError,
            "uncertainty e of signal.*positive",
        ),
        (
            {"uncertainties": [NormalisationUncertainty("mu", {"signal": (0.9, 1.1)})]},
            ParameterError,
            "mu is the name of two parameters",
        ),
        ({"unconstrained": ["shfit"]}, ParameterError, "shfit has no constraint.*shift"),
        ({"norm_constraints": {"tt": 0.1}}, ConfigurationError, "norm_constraints= names 'tt'"),
        ({"luminosity_uncertainty": -0.1}, ConfigurationError, "luminosity_uncertainty must be"),
        # Regression: all of these were errors of Python, or names that are none.
        ({"luminosity_uncertainty": "x"}, ConfigurationError, "luminosity_uncertainty must be"),
        ({"luminosity_uncertainty": 10**400}, ConfigurationError, "luminosity_uncertainty must be"),
        ({"rate": None}, ConfigurationError, "expected signal must be positive, not None"),
        ({"rate": "many"}, ConfigurationError, "expected signal must be positive, not 'many'"),
        ({"reference": [0.0, 1.0]}, ParameterError, "not a value of each of mu"),
        ({"reference": "sm"}, ParameterError, "reference='sm' is not"),
        ({"responses": None}, ConfigurationError, "responses= is a NoneType; give {process"),
        ({"responses": {"signal": 1}}, ModelError, "'signal' has a int; give a trained"),
        ({"responses": {1: exact_shift()}}, ConfigurationError, "no process 1; there are signal"),
        ({"backgrounds": "tt"}, ConfigurationError, "backgrounds= is a str"),
        ({"backgrounds": {"far": 60.0}}, ConfigurationError, "'far' must be a pair .ratio"),
        ({"backgrounds": {"far": (1.0, 60.0)}}, ConfigurationError, "ratio of background 'far' is"),
        ({"norm_constraints": ["far"]}, ConfigurationError, "norm_constraints= is a list"),
        ({"unconstrained": [1]}, ParameterError, "1 has no constraint"),
        (
            {"uncertainties": NormalisationUncertainty("e", {"signal": (0.9, 1.1)})},
            ConfigurationError,
            "uncertainties= is a Norm",
        ),
        ({"uncertainties": {"e": (0.9, 1.1)}}, ConfigurationError, "uncertainties= is a dict"),
        ({"uncertainties": [("e", {"signal": (0.9, 1.1)})]}, ConfigurationError, "has a tuple"),
        *(
            ({"uncertainties": [NormalisationUncertainty("e", factors)]}, ConfigurationError, words)
            for factors, words in (
                (None, "it has no factors"),
                ({"signal": 0.9}, "positive"),
                ({"signal": ("a", "b")}, "positive"),
                ({"signal": (10**400, 1)}, "positive"),
            )
        ),
        *(
            (
                {"uncertainties": [NormalisationUncertainty(name, {"signal": (0.9, 1.1)})]},
                ConfigurationError,
                "an uncertainty has the name",
            )
            for name in ("", None, 1)
        ),
    ],
)
def test_wrong_parts_are_named(
    options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        everything(**options)


def test_a_nuisance_outside_its_limits_is_named() -> None:
    cost = everything()
    with pytest.raises(ParameterError, match="shift = 7 is outside"):
        cost(**{**cost.start, "shift": 7.0})


def test_events_are_evaluated_once_and_shared() -> None:
    terms = systematic_terms(
        gaussian.MeanModel(), rate=50.0, responses={"signal": exact_shift()}, reference=0.0
    )
    events = MixtureEvents.of(terms, gaussian.generate(50, 0.0, seed=1))
    cost = SystematicCost(terms, events)
    assert cost.without_constraints(["shift"]).events is events
    assert events.tables["signal"].columns.dtype == np.float32


def test_two_channels_share_a_nuisance_and_its_constraint_counts_once() -> None:
    shift = Shift(ResponseTerms.of(["shift"], parameters={"mu": (-1.0, 1.0)}), quantiles())
    options = {"rate": 200.0, "responses": {"signal": shift}, "reference": 0.0}
    first, second = (
        systematic_cost(
            gaussian.MeanModel(), gaussian.generate(200, 0.1, seed=k).as_data(), **options
        )
        for k in (21, 22)
    )
    with pytest.raises(ParameterError, match="shift"):
        mil.minuit(first + second)
    both = first + second.without_constraints(["shift"])
    m = mil.minuit(both).migrad().hesse()
    assert m.valid
    assert set(m.parameters) == {"mu", "shift"}
    assert m.fval <= first(*m.values) + second(*m.values) - m.values["shift"] ** 2 + 1e-9
    # Both shift alike, so that two channels know α no better than one.
    alone = mil.minuit(first).migrad().hesse()
    assert m.errors["shift"] == pytest.approx(alone.errors["shift"], rel=0.05)


def test_contours_of_a_nuisance_parameter() -> None:
    data = gaussian.generate(400, 0.1, seed=5).as_data()
    cost = systematic_cost(
        gaussian.MeanModel(), data, rate=400.0, responses={"signal": exact_shift()}, reference=0.0
    )
    m = mil.minuit(cost).migrad()
    m.minos("shift")
    assert m.merrors["shift"].is_valid
    contour = m.mncontour("mu", "shift", cl=0.39, size=12)
    correlation = np.corrcoef(contour[:, 0], contour[:, 1])[0, 1]
    assert correlation < -0.8  # mu + 0.3 α is what the data fix
