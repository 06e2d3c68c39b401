"""An analysis with nuisance parameters, from its configuration to summary and report."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest
from click.testing import CliRunner
from iminuit.cost import NormalConstraint
from matplotlib.text import Text

import milinfer as mil
from milinfer.cli import cli
from milinfer.datasets import gaussian, gaussian_systematics, vbf_hww_systematics
from milinfer.exceptions import ConfigurationError, MilinferWarning, ParameterError
from milinfer.likelihood.expected_response import ExpectedResponse, expected_response
from milinfer.likelihood.fits import Impact, impacts
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.responses import Response
from milinfer.likelihood.systematics import NormalisationUncertainty
from milinfer.plotting.likelihood import plot_pulls
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations
from milinfer.workflow.html_report import Report
from milinfer.workflow.provenance import ExactLikelihood, Preparation, Provenance
from milinfer.workflow.systematics import (
    NuisanceInputs,
    fit_with_nuisances,
    signal_rate,
    systematics_table,
)
from milinfer.workflow.systematics_demo import SystematicsDemoConfig, run_systematics_demo
from milinfer.workflow.systematics_report import add_nuisances, nuisance_figures
from reports import without_links
from shifted_gaussian import Shift

# Pools of few events, which make a test short; that they are small is tested elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore:the toys of .* from a pool:UserWarning")

N, SHIFT = 300, 0.1
CONFIGURATION = """
[analysis]
title = "A mean with a shift"
seed = 0
[samples]
features = ["x0"]
[[samples.train]]
path = "train/nominal_*.parquet"
[[samples.tune]]
path = "tune.parquet"
[[samples.evaluate]]
path = "evaluate/nominal_*.parquet"
[data]
path = "data.parquet"
luminosity = 0.3
luminosity_uncertainty = 0.02
[[model]]
head = "multiclass"
bag_size = 1
epochs = 12
batch_events = 512
[[systematics]]
name = "shift"
kind = "saved"
[[systematics]]
name = "trigger"
kind = "normalisation"
factors = { signal = [0.95, 1.05] }
[response]
theta_dependent = true
epochs = 6
batch_events = 512
[toys]
number = 480
calibrate_at = [0.0]
[templates]
observable = "x0"
bins = 4
degree = 2
"""


def variations(n, values, seed):
    nominal, varied = [], []
    for k, mu in enumerate(values):
        nominal.append(gaussian_systematics.generate(n, mu=mu, seed=seed + k))
        for side in (-1.0, 1.0):
            shift = {"shift": side}
            # 0.3 is the step of the data set: this is SHIFT.
            small = {"shift": side * SHIFT / 0.3}
            moved = gaussian_systematics.generate(n, mu=mu, nuisances=small, seed=seed + k)
            varied.append(Variation(shift, moved, np.arange(n)))
    return ProcessVariations(SampleSet(tuple(nominal)), tuple(varied))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    variations(20_000, (-0.5, 0.0, 0.5), 1).save(folder / "train")
    variations(20_000, (0.0,), 11).save(folder / "evaluate")
    gaussian_systematics.generate(10_000, seed=21).to_file(folder / "tune.parquet")
    gaussian_systematics.generate(N, seed=31).to_file(folder / "data.parquet")
    return folder


def write(folder, text=CONFIGURATION):
    file = folder / "analysis.toml"
    file.write_text(text, encoding="utf-8")
    return file


NUISANCE_PICTURES = (
    *("nuisance_profile", "nuisance_datasets", "nuisance_pulls", "nuisance_impacts"),
    "nuisance_expected",
)
RESPONSE_PICTURES = ("response_yields", "response_closure")


@pytest.fixture(scope="module")
def finished(inputs, write_pictures):
    file = write(inputs)
    with write_pictures(*NUISANCE_PICTURES, *RESPONSE_PICTURES):
        done = CliRunner().invoke(cli, ["run", str(file)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    summary = json.loads((inputs / "results" / "summary.json").read_text(encoding="utf-8"))
    return summary["systematics"], done.output


def test_widths_are_those_of_the_closed_form(finished):
    section, _ = finished
    assert section["problems"] == []
    assert section["nuisances"] == ["shift", "trigger", "lumi"]
    assert set(section["yield_noise"]) == {"mu", *section["nuisances"]}
    # Nothing but the constraint and the yield tell shift and mean apart.
    assert 0.1 < section["yield_noise"]["shift"] < 0.5
    assert section["yield_noise"]["trigger"] < 0.05
    learned, ignoring = section["fits"]["learned"], section["fits"]["ignoring"]

    def half(fit, key="interval68"):
        return (fit[key][1] - fit[key][0]) / 2

    # The shift moves the mean, and is measured by nothing but its constraint.
    statistical = N**-0.5
    assert half(learned) == pytest.approx(np.hypot(statistical, SHIFT), rel=0.1)
    assert half(learned, "statistical68") == pytest.approx(statistical, rel=0.1)
    assert half(ignoring) == pytest.approx(statistical, rel=0.1)
    assert abs(learned["impacts"]["shift"]["up"]) == pytest.approx(SHIFT, rel=0.1)
    assert abs(learned["impacts"]["trigger"]["up"]) < 0.01
    pull = learned["pulls"]["shift"]
    assert abs(pull["value"]) < 0.5
    assert pull["error_up"] == pytest.approx(1.0, rel=0.1)
    assert half(section["fits"]["histogram"]) == pytest.approx(half(learned), rel=0.15)


def test_the_error_has_parts_and_is_expected(finished):
    section, _ = finished
    parts = section["error_parts"]
    assert parts["statistical"] == pytest.approx(N**-0.5, rel=0.1)
    # Three trainings of this length had 0.089, 0.097 and 0.106; the seed is that of the second.
    assert parts["shift"] == pytest.approx(SHIFT, rel=0.1)
    assert np.hypot(parts["statistical"], parts["systematic"]) == pytest.approx(
        parts["total"], rel=0.01
    )
    low, high = section["expected"]["68"]["interval"]
    assert (high - low) / 2 == pytest.approx(np.hypot(N**-0.5, SHIFT), rel=0.1)
    bands = section["expected"]["95"]
    assert bands["n_toys"] == 480
    assert section["error_parts_of"] == "data"
    tests = section["goodness_of_fit"]
    assert 0 < tests["p_value"] <= 1
    assert set(tests["point"]) == {"mu", "shift", "trigger", "lumi"}
    assert bands["low_bands"] == sorted(bands["low_bands"])


def test_coverage_is_lost_where_a_shift_is_ignored(finished, inputs):
    section, output = finished
    rows = {
        (row["method"], *row["nuisances"].items()): row["coverage68"] for row in section["coverage"]
    }
    # The bias of the small network is the same in both.
    for side in (-1.0, 1.0):
        assert rows["learned", ("shift", side)] > rows["ignoring", ("shift", side)] + 0.1
    assert len(rows) == 15
    # 300 events in each toy: the pool of 20 000 shifts all estimates by 0.12 of their error.
    for row in section["coverage"]:
        assert row["coverage95_pool_error"] > 0
        if not row["nuisances"]:
            error = np.hypot(480**-0.5, 0.1225)
            assert row["bias_in_sigmas_error"] == pytest.approx(error, rel=0.01)
    shifted = min(section["coverage"], key=lambda row: row["coverage68"])
    assert shifted["method"] == "ignoring"
    assert shifted["coverage68_pool_error"] > shifted["coverage68_error"]
    total = np.hypot(shifted["coverage68_error"], shifted["coverage68_pool_error"])
    assert f"{100 * shifted['coverage68']:.1f}±{total:.1%}" in output
    assert "the event pool dominates, so use more events" in " ".join(output.split())
    page = without_links((inputs / "results" / "report.html").read_text(encoding="utf-8"))
    quoted = [shifted[f"coverage68{name}"] for name in ("", "_error", "_pool_error")]
    assert "{:.1%} ± {:.1%} ± {:.1%} (event pool)".format(*quoted) in page


def test_the_fit_is_calibrated_on_toys_of_its_own(finished, inputs):
    section, output = finished
    calibration, fits = section["calibration"], section["fits"]
    assert calibration["calibrated_at"] == [0.0]
    assert calibration["n_toys"] == 480
    # 480 toys and their pool give c to 12 %, and the network is nearly exact.
    assert abs(calibration["c_cicc"] - 1) < 4 * calibration["c_cicc_error"] < 0.5
    learned, calibrated = fits["learned"], fits["calibrated"]
    # The response is the same at all estimates: the bias alone moves them.
    shift = learned["estimate"] - calibrated["estimate"]
    assert shift == pytest.approx(calibration["bias"], abs=1e-3)
    widths = [fit["interval68"][1] - fit["interval68"][0] for fit in (learned, calibrated)]
    assert widths[0] / widths[1] == pytest.approx(calibration["c_cicc"] ** 0.5, rel=0.03)
    row = next(r for r in section["coverage"] if r["method"] == "calibrated")
    # Errors of 480 toys in both, and of the two pools that they are drawn from.
    assert abs(row["coverage68"] - 0.6827) < 0.1
    assert "calibrated" in output
    page = without_links((inputs / "results" / "report.html").read_text(encoding="utf-8"))
    assert "learned, with nuisance parameters, calibrated" in page
    assert "has its own calibration (c_cicc and bias)" in page


def test_a_terminal_shows_the_fits(finished):
    _, output = finished
    assert "mu with shift, trigger, lumi (with rate)" in output
    assert "learned" in output


def test_the_report_has_tables_and_figures(finished, inputs):
    page = (inputs / "results" / "report.html").read_text(encoding="utf-8")
    assert '<h2 id="nuisance-parameters">' in page
    assert "learned, nuisance parameters ignored" in page
    beside = "The interval of the data (learned, with nuisance parameters, calibrated), above the "
    assert f"{beside}intervals of twenty simulated datasets" in without_links(page)
    for name in NUISANCE_PICTURES:
        assert (inputs / "results" / "plots" / f"{name}.svg").is_file()


def test_the_response_is_checked_on_events_that_it_has_not_seen(finished, inputs):
    section, output = finished
    diagnosis = section["diagnosis"]
    assert {c["name"]: c["outcome"] for c in diagnosis["checks"]} | {"factorisation": ""} == {
        "yields": "passed",
        "expected yield": "passed",
        "closure": "undecided",
        "classifier": "undecided",
        "factorisation": "",
        "dependence on parameters": "passed",
        "positivity and extrapolation": "passed",
    }
    assert diagnosis["n_events"] == N
    assert f"response: {diagnosis['verdict']}" in " ".join(output.split())
    page = (inputs / "results" / "report.html").read_text(encoding="utf-8")
    assert "The response of signal to shift, 300 events: " in page
    for name in RESPONSE_PICTURES:
        assert (inputs / "results" / "plots" / f"{name}.svg").is_file()


def test_the_response_is_learned_from_folders_in_pieces(finished, inputs, tmp_path, monkeypatch):
    """The files of samples.train have no variations; those of the response are streamed.

    The classifier is that of the run above, and an exact likelihood is fitted beside it.
    """
    monkeypatch.setattr("milinfer.workflow.report.draw_figures", lambda _: {})
    for k in range(3):
        variations(3000, (-0.5, 0.0, 0.5), 100 + 10 * k).save(tmp_path / f"mc_{k}")
    (tmp_path / "train").mkdir()
    for path in (inputs / "train").glob("nominal_*.parquet"):
        shutil.copy(path, tmp_path / "train")
    for name in ("evaluate", "results"):
        shutil.copytree(inputs / name, tmp_path / name)
    for name in ("tune.parquet", "data.parquet"):
        shutil.copy(inputs / name, tmp_path)
    text = CONFIGURATION.replace("number = 480", "number = 100")
    text = text.replace(
        "[response]\n", '[response]\nfolders = "mc_*"\nevents_in_memory = 120_000\n'
    )
    file = write(tmp_path, text)
    steps = [s.step.name for s in mil.plan_analysis(file).planned() if s.state.kind != "done"]
    assert steps == ["response", "inference"]
    x = mil.Sample.from_file(tmp_path / "data.parquet").column("x0").astype(float)
    # n (mean of x − mu − SHIFT shift)² + shift²
    matrix = np.linalg.inv([[N, N * SHIFT], [N * SHIFT, N * SHIFT**2 + 1]])
    cost = NormalConstraint(("mu", "shift"), [x.mean(), 0.0], matrix)
    exact = ExactLikelihood(lambda: cost, {"version": 1})
    lines = []
    summary = mil.run_analysis(
        file, echo=lines.append, preparation=Preparation(Provenance("made"), exact=exact)
    )
    assert any("18000 events, 6 variations" in line for line in lines)
    section = summary["systematics"]
    assert section["problems"] == []
    low, high = section["fits"]["learned"]["interval68"]
    assert (high - low) / 2 == pytest.approx(np.hypot(N**-0.5, SHIFT), rel=0.1)
    low, high = section["fits"]["exact"]["interval68"]
    assert (high - low) / 2 == pytest.approx(np.hypot(N**-0.5, SHIFT), rel=1e-3)
    assert section["fits"]["exact"]["pulls"]["shift"]["error_up"] == pytest.approx(1.0, rel=1e-3)
    assert section["diagnosis"]["checks"]
    assert {tuple(c["nuisances"].items()) for c in section["coverage"]} >= {(("shift", 1.0),)}
    response = mil.SystematicResponse.load(tmp_path / "results/response")
    # The last folder is held out.
    assert sum(response.fitted.n_events.values()) == 2 * 9 * 3000
    variations(3000, (-0.5, 0.0, 0.5), 200).save(tmp_path / "mc_1")
    plan = CliRunner().invoke(cli, ["run", str(file), "--dry-run"], catch_exceptions=False)
    again = [line for line in plan.output.splitlines() if "again" in line]
    assert [line.split()[0] for line in again] == ["response", "inference"]


@dataclass(frozen=True, eq=False)
class ShiftAtZero(Response):
    """Response to a shift that is exact at mu = 0, and taken for the same everywhere."""

    nominal: SampleSet
    process: str = "signal"
    feature_names: tuple[str, ...] = ("x0",)
    digest: str = ""
    trained_on: tuple[str, ...] = ()
    terms: ResponseTerms = field(default_factory=lambda: ResponseTerms.of(["shift"]))
    expected: ExpectedResponse = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "expected", expected_response(self.table, self.nominal))

    def event_columns(self, sample):
        return np.c_[SHIFT * sample.features, np.full(len(sample), -(SHIFT**2) / 2)]


def test_a_response_that_is_wrong_at_other_values_is_said():
    held_out = variations(20_000, (-0.5, 0.0, 0.5), 51)
    response = ShiftAtZero(gaussian.samples(20_000, [0.0], seed=6))
    result = fit_with_nuisances(gaussian_inputs(response=response, held_out=held_out))
    check = result.diagnosis["dependence on parameters"]
    assert check.outcome == "failed"
    # E[S] at mu is exp(SHIFT mu) of the right one.
    assert abs(np.log(check.value)) == pytest.approx(SHIFT * 0.5, rel=0.1)
    section = json.loads(json.dumps(result.to_dict()))
    caption = str(systematics_table(section).caption)
    assert "dependence on parameters" in section["diagnosis"]["verdict"]
    assert section["diagnosis"]["verdict"] in caption
    assert "theta_dependent=True" in caption
    report = Report("mu")
    add_nuisances(report, result, {})
    assert "theta_dependent=True" in report.to_html()


def test_yields_of_few_events_are_a_problem():
    terms = ResponseTerms.of(["shift"], parameters={"mu": (-1.0, 1.0)})
    few = gaussian.samples(4000, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=4)
    inputs = NuisanceInputs(
        model=gaussian.MeanModel(),
        data=gaussian.generate(N, 0.0, seed=2).as_data(),
        truth=0.0,
        reference=0.0,
        response=Shift(terms, few),
        rate=signal_rate(gaussian.samples(1000, [0.0], seed=1), luminosity=0.3, degree=0),
    )
    result = fit_with_nuisances(inputs)
    (problem,) = [p for p in result.problems if "simulated events" in p]
    assert "shifts shift by" in problem
    assert result.to_dict()["yield_noise"] == dict(result.yield_noise)
    assert max(result.yield_noise.values()) > 0.5


def test_a_diagnosis_that_fails_is_a_problem():
    held_out = variations(500, (0.0,), 51).nominal
    other = Variation.of_features(held_out[0], {"another": 1.0}, held_out[0].features)
    inputs = gaussian_inputs(
        response=ShiftAtZero(gaussian.samples(1000, [0.0], seed=6)),
        held_out=ProcessVariations(held_out, (other,)),
    )
    with pytest.warns(MilinferWarning, match="diagnosis of the response"):
        result = fit_with_nuisances(inputs)
    assert result.diagnosis is None
    assert "no nuisance parameter 'another'" in " ".join(result.problems)
    assert "diagnosis" not in result.to_dict()


def test_the_demo_makes_an_analysis_and_its_exact_likelihood(tmp_path, monkeypatch):
    """All but its run, which is a run like the one above."""
    given = {}
    monkeypatch.setattr(
        "milinfer.workflow.systematics_demo.run_analysis",
        lambda analysis, *, echo, preparation: (
            [echo(f"{name} done") for name in ("features-data", "variations-train", "inference")],
            given.update(analysis=analysis, preparation=preparation),
        ),
    )
    config = SystematicsDemoConfig(
        events=60, pool_events=200, data_events=150, cross_section_events=1000, workers=1
    )
    lines = []
    run_systematics_demo(tmp_path, config, echo=lines.append)
    assert [line.split()[0] for line in lines] == ["generate", "inference", "total"]
    plan = mil.plan_analysis(given["analysis"])
    steps = {s.step.name for s in plan.planned()}
    assert steps >= {"train-polynomial-joint", "response", "inference"}
    assert [s.name for s in plan.config.systematics] == list(vbf_hww_systematics.NUISANCES)
    assert plan.config.toys.weight_degree == 4
    process = ProcessVariations.load(tmp_path / "evaluate")
    at = {tuple(v.nuisances.items()) for v in process.variations}
    assert at == {((name, side),) for name in vbf_hww_systematics.NUISANCES for side in (-1, 1)}
    tuned = mil.Sample.from_file(tmp_path / "tune.parquet")
    assert len(tuned) == len(process.nominal[0]) == 200
    # All files have cross-sections of one simulation, and the data as many events as they expect.
    trained = ProcessVariations.load(tmp_path / "train").nominal
    (nominal,) = process.nominal
    assert trained.at(c_HW=0.0).cross_section == nominal.cross_section
    expected = 1000 * plan.config.data.luminosity * nominal.cross_section
    assert expected == pytest.approx(150, rel=1e-6)
    assert abs(len(mil.Sample.from_file(tmp_path / "data.parquet")) - 150) < 5 * 150**0.5
    preparation = given["preparation"]
    assert preparation.provenance.command.startswith("milinfer demo --systematics ")
    assert len(preparation.provenance.inputs) == 5 * 7 + 7 + 2
    cost = preparation.exact.make()
    exact = mil.profile_interval(cost, "c_HW")
    best = exact.minuit.values.to_dict()
    fixed = mil.profile_interval(cost, "c_HW", start=best, fixed=vbf_hww_systematics.NUISANCES)
    assert exact.low < fixed.low < exact.estimate < fixed.high < exact.high
    found = {impact.name: impact for impact in impacts(cost, "c_HW", start=best)}
    assert set(found) == set(vbf_hww_systematics.NUISANCES)
    assert found["jet_scale"].upper < 1
    with pytest.raises(ConfigurationError, match="too close to the ends"):
        run_systematics_demo(tmp_path / "b", SystematicsDemoConfig(truth=0.6))


@pytest.mark.slow
@pytest.mark.usefixtures("few_pictures")
@pytest.mark.filterwarnings("ignore::milinfer.exceptions.MilinferWarning")
@pytest.mark.filterwarnings("ignore::milinfer.exceptions.ConvergenceWarning")
def test_the_demo_fits_the_exact_likelihood_beside_it(tmp_path):
    """The test above has the parts of the demo without its run."""
    config = SystematicsDemoConfig(
        # With less training, toys reach the ends of the range, and no calibration takes them.
        events=800,
        pool_events=1000,
        data_events=150,
        n_toys=100,
        cross_section_events=2000,
        epochs=8,
        batch_events=256,
        workers=1,
    )
    lines = []
    section = run_systematics_demo(tmp_path, config, echo=lines.append)["systematics"]
    assert section["nuisances"] == list(vbf_hww_systematics.NUISANCES)
    assert section["problems"] == []
    fits = section["fits"]
    assert list(fits) == ["learned", "calibrated", "ignoring", "histogram", "exact"]
    exact = fits["exact"]
    assert exact["interval68"][0] < exact["statistical68"][0] < exact["estimate"]
    assert exact["pulls"]["jet_scale"]["error_up"] < 1
    methods = {"learned", "calibrated", "ignoring"}
    assert {row["method"] for row in section["coverage"]} == methods
    assert len(section["coverage"]) == 21
    assert [line.split()[0] for line in lines] == [
        "generate",
        "train-polynomial-joint",
        "response",
        "inference",
        "total",
    ]


def test_only_the_response_depends_on_its_settings(finished, inputs):
    file = write(inputs)
    states = {s.step.name: s.state for s in mil.plan_analysis(file).planned()}
    assert {state.kind for state in states.values()} == {"done"}
    assert "response" in states
    file = write(inputs, CONFIGURATION.replace("epochs = 6", "epochs = 7"))
    states = {s.step.name: s.state for s in mil.plan_analysis(file).planned()}
    again = {name: state.why for name, state in states.items() if state.kind != "done"}
    assert again == {"response": "response.epochs", "inference": "response"}
    file = write(inputs, CONFIGURATION.replace("0.95, 1.05", "0.9, 1.05"))
    states = {s.step.name: s.state for s in mil.plan_analysis(file).planned()}
    again = {name: state.why for name, state in states.items() if state.kind != "done"}
    assert again == {"inference": "systematics"}


TRIGGER = NormalisationUncertainty("trigger", {"signal": (0.95, 1.05)})


def gaussian_inputs(**options):
    return NuisanceInputs(
        data=gaussian.generate(200, 0.0, seed=2).as_data(),
        truth=0.0,
        reference=0.0,
        uncertainties=(TRIGGER,),
        **{"model": gaussian.MeanModel(), "response": None, **options},
    )


def test_without_a_rate_the_shape_says_nothing_about_a_normalisation():
    result = fit_with_nuisances(gaussian_inputs())
    assert not result.extended
    assert result.problems == ("coverage: toys need the expected yield; give data.luminosity",)
    (pull,) = result.fits["learned"].nuisances
    assert (pull.lower, pull.upper) == (pytest.approx(-1, rel=1e-3), pytest.approx(1, rel=1e-3))
    assert pull.size < 1e-6


def test_impacts_of_a_blind_analysis_do_not_depend_on_the_data():
    parts = []
    for seed in (2, 3):
        inputs = dataclasses.replace(
            gaussian_inputs(evaluation=gaussian.samples(20_000, [0.0], seed=4), blind=True),
            data=gaussian.generate(300, 0.0, seed=seed).as_data(),
            n_toys=50,
        )
        found = fit_with_nuisances(inputs)
        parts.append(found.to_dict()["error_parts"])
        assert found.to_dict()["error_parts_of"] == "Asimov data"
    assert parts[0] == parts[1]


def test_an_exact_model_covers_at_all_values():
    samples = gaussian.samples(20_000, [0.0], seed=5)
    rate = signal_rate(samples, luminosity=0.2, degree=0)
    result = fit_with_nuisances(gaussian_inputs(rate=rate, evaluation=samples, n_toys=400))
    assert result.problems == ()
    rows = [c for c in result.coverage if c.method == "learned"]
    assert [c.nuisances for c in rows] == [{}, {"trigger": -1.0}, {"trigger": 1.0}]
    for row in rows:
        # Three errors of 400 toys, and the fluctuation of the pool.
        assert abs(row.inner.coverage - 0.6827) < 0.08
        assert abs(row.outer.coverage - 0.9545) < 0.04
        assert abs(row.bias) < 0.35
    # The intervals of toys that stand beside that of the data cover as often.
    datasets = result.datasets["learned"]
    assert datasets.covers.mean() == rows[0].inner.coverage
    assert set(result.datasets) == {"learned"}
    figure, caption = nuisance_figures(result, None)["nuisance_datasets"]
    assert "twenty simulated datasets of this size at mu = 0 and nominal nuisance" in caption
    (axis,) = figure.axes
    drawn = sum(len(c.get_segments()) for c in axis.collections)
    assert drawn == 20
    # Real data have no truth, and simulated data have one.
    for truth, line in ((None, 0), (0.0, 1)):
        figure, _ = nuisance_figures(result, truth)["nuisance_profile"]
        assert sum("truth" in t.get_text() for t in figure.findobj(Text)) == line


def test_a_wrong_width_and_a_bias_are_calibrated():
    values = (-0.3, 0.0, 0.3)
    tuned, others = (gaussian.samples(40_000, values, seed=s) for s in (7, 17))
    rate = signal_rate(others, luminosity=0.2, degree=0)
    model = gaussian.MeanModel(scale=2.0, shift=0.03)
    given = {"model": model, "rate": rate, "calibration": tuned, "evaluation": others}
    result = fit_with_nuisances(gaussian_inputs(**given, n_toys=1000, calibrate_at=values))
    assert result.problems == ()
    found = result.to_dict()["calibration"]
    assert found["c_cicc"] == pytest.approx(0.5, abs=4 * found["c_cicc_error"])
    assert found["c_cicc_error"] < 0.05
    assert found["bias"] == pytest.approx(0.03, abs=4 * found["bias_error"] + 0.02)
    at_nominal = {c.method: c for c in result.coverage if not c.nuisances}
    # The interval is √2 too short, and 0.4 errors off.
    assert at_nominal["learned"].inner.coverage < 0.55
    # Three errors of 1000 toys, and the fluctuation of both pools.
    assert abs(at_nominal["calibrated"].inner.coverage - 0.6827) < 0.05
    assert at_nominal["learned"].bias == pytest.approx(0.4, abs=0.2)
    assert abs(at_nominal["calibrated"].bias) < 0.2
    few = gaussian.samples(4000, values, seed=7)
    given |= {"calibration": few, "evaluation": few}
    with pytest.warns(MilinferWarning, match="drawn from the same events"):
        shared = fit_with_nuisances(gaussian_inputs(**given, n_toys=100))
    assert "drawn from the same events" in " ".join(shared.problems)
    assert "calibrated" not in {c.method for c in shared.coverage}


def test_a_fit_that_fails_does_not_end_the_others():
    other = NormalConstraint("another", 0.0, 1.0)
    with pytest.warns(MilinferWarning, match="fit of exact"):
        result = fit_with_nuisances(gaussian_inputs(others={"exact": other}))
    assert list(result.fits) == ["learned", "ignoring"]
    assert any(problem.startswith("fit of exact: ") for problem in result.problems)


def test_toys_that_are_all_alike_do_not_end_the_fits():
    """Regression: a run ended with a division by zero, after all its work."""
    (sample,) = gaussian.samples(500, [0.0], seed=5)
    far = dataclasses.replace(sample, features=np.full_like(sample.features, 5.0))
    rate = signal_rate(SampleSet((sample,)), luminosity=0.2, degree=0)
    with (
        pytest.warns(MilinferWarning, match="coverage of"),
        pytest.warns(MilinferWarning, match="expected interval"),
        pytest.warns(MilinferWarning, match="goodness of fit.*all features are constant"),
    ):
        result = fit_with_nuisances(
            gaussian_inputs(rate=rate, evaluation=SampleSet((far,)), n_toys=100)
        )
    assert list(result.fits) == ["learned", "ignoring"]
    assert result.coverage == ()
    assert result.problems[1] == (
        "coverage of learned at nominal values: all 100 toys have the same estimate, 1: the model "
        "is not sensitive to the parameter; train on more events, or extend its range"
    )


def test_networks_of_bags_alone_are_refused_before_anything_runs(inputs):
    file = write(inputs, CONFIGURATION.replace("bag_size = 1\n", 'pooling = "attention"\n'))
    with pytest.raises(ConfigurationError, match="need the ratio of each event"):
        mil.plan_analysis(file)


def test_the_table_says_why_there_is_no_fit():
    table = systematics_table({"problems": ["the cross-sections are not known"]})
    assert [str(c) for c in table.columns[1].cells] == ["the cross-sections are not known"]


def test_a_figure_has_a_row_for_each_nuisance_parameter():
    of_one = [Impact("jes", 0.5, -0.8, 0.9, 0.1, -0.1), Impact("lumi", 1, -0.02, 0.02, 0, 0)]
    figure = plot_pulls({"learned": of_one, "exact": [Impact("les", 0, -1, 1, 0, 0)]})
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["jes", "les"]
    points = [c.lines[0].get_xdata() for c in axis.containers]
    assert [list(p) for p in points] == [[0.5], [0]]
    with pytest.raises(ParameterError, match="no nuisance parameters"):
        plot_pulls({"learned": of_one[1:]})
