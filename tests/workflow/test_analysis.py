"""Methods that fail, beside those that do not."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text

from milinfer.binned import binning, chosen_templates
from milinfer.binned.weighted_templates import event_yields
from milinfer.datasets import quadratic
from milinfer.exceptions import CalibrationError, MilinferWarning
from milinfer.likelihood.surface import Interpolation
from milinfer.samples.sample_set import SampleSet
from milinfer.workflow import histograms as histograms_module
from milinfer.workflow.analysis import analyse
from milinfer.workflow.analysis_result import summary_table
from milinfer.workflow.analysis_settings import Analysis
from milinfer.workflow.comparison import Attempts
from milinfer.workflow.report import build_report, draw_figures, write_report
from reports import Trained, small_analysis, without_links

# Its estimates are beyond the range of its training points, as those of a bad training are.
ASTRAY = Trained(shift=3.0, name="<astray>")


@pytest.fixture(scope="module")
def analysis():
    """With few toys: most tests are about what fails, and not about numbers."""
    return replace(small_analysis(), n_toys=100)


@pytest.fixture(scope="module")
def whole(analysis):
    """Result without anything that fails."""
    return analyse(analysis)


@pytest.fixture(scope="module")
def crippled(analysis):
    """A network that cannot be calibrated, and a histogram with empty bins."""
    bad = replace(
        analysis,
        models=(*analysis.models, ASTRAY),
        second_observable="m_ll",
        bins_2d=(300, 300),
    )
    with pytest.warns(MilinferWarning) as warned:
        result = analyse(bad)
    # pyhf's use of jsonschema gives a warning of its own.
    own = [w for w in warned if issubclass(w.category, MilinferWarning)]
    return result, [str(w.message) for w in own]


def test_a_method_that_fails_does_not_end_the_others(whole, crippled):
    result, messages = crippled
    assert set(result.unavailable) == {"<astray>", "pyhf_2d"}
    edge, bins = result.unavailable["<astray>"], result.unavailable["pyhf_2d"]
    assert (edge.stage, bins.stage) == ("toys", "templates")
    assert re.match(r"most estimates at 0 are equal \(mean 1\), and", edge.reason)
    assert re.match(r"bin \d+ .* is empty at .*; use fewer or wider bins", bins.reason)
    assert len(messages) == 2
    for message, found, setting in zip(
        messages, (bins, edge), ("bins_2d", "cover_at"), strict=True
    ):
        assert message.startswith(f"{found.name} is not available: {found.reason} (settings")
        assert setting in message
    assert [m.name for m in result.comparison] == [m.name for m in whole.comparison]
    assert result.comparison.to_table().drop_columns("fit_seconds") == (
        whole.comparison.to_table().drop_columns("fit_seconds")
    )
    assert result.information == whole.information
    assert set(result.belts) == {"exact"}


def test_only_simulated_data_have_a_truth(whole):
    """Regression: the line of the toys was the "truth" of real data in figures and notebooks."""

    def labels(result):
        texts = {
            name: [t.get_text() for t in figure.findobj(Text)]
            for name, (figure, _) in draw_figures(result).items()
        }
        return {name for name, found in texts.items() if any("truth" in t for t in found)}

    simulated = replace(whole, analysis=replace(whole.analysis, simulated=True))
    assert whole.known_truth is None
    assert labels(whole) == set()
    assert labels(simulated) == {"scans", "surface", "templates_pyhf"}
    assert "<p>mu, compared at 0</p>" in whole._repr_html_()
    assert "<p>mu, truth 0</p>" in simulated._repr_html_()


def test_what_failed_is_shown(crippled):
    result, _ = crippled
    summary = json.loads(json.dumps(result.summary()))
    assert summary["not_available"] == {
        name: {"stage": found.stage, "reason": found.reason}
        for name, found in result.unavailable.items()
    }
    assert "<astray>" not in summary
    page = build_report(result, {}).to_html()
    assert "<astray>" not in page
    table = page[: page.index("Likelihood of the data</h2>")]
    for words in ("is not available: most estimates at 0 are equal", "is not available: bin "):
        assert words in table
        assert words in result._repr_html_()
    names, _, cells = ([str(cell) for cell in c.cells] for c in summary_table(summary).columns[:3])
    assert names == ["exact", "pyhf", "pyhf_2d", "<astray>"]
    assert cells[2:] == ["not available"] * 2


def test_the_method_that_the_report_is_about_must_have_toys(analysis):
    with pytest.raises(CalibrationError, match="estimates at 0 are equal") as caught:
        analyse(replace(analysis, models=(ASTRAY, *analysis.models)))
    (note,) = caught.value.__notes__
    assert note.startswith("settings that affect the toys: truth, ")


def test_a_first_model_that_cannot_be_calibrated_stays_as_trained(analysis):
    # A quarter of its toys at 0.3 ends at 1, where the training points do.
    off = Trained(scale=0.8, shift=0.65, name="<off>")
    # With truths further out than 0.3 the belt would not end there.
    with pytest.warns(MilinferWarning, match="^<off>: not calibrated: .*calibrate_at") as warned:
        result = analyse(replace(analysis, models=(off,), n_toys=300))
    assert len([w for w in warned if "<off>" in str(w.message)]) == 1
    learned = result.comparison["<off>"]
    assert learned.calibration is learned.applied is None
    assert not learned.calibrated
    problem, cut_off = learned.problems
    assert "the edge of the belt" in cut_off
    assert re.match(r"not calibrated: \d+\.\d% of the toys at mu=0.3 have their max", problem)
    assert learned.intervals[0].estimate == pytest.approx(0.75, abs=0.25)
    assert learned.coverages == learned.coverages_raw
    assert learned.coverages[0].coverage < 0.1
    assert learned.information.info_eff == pytest.approx(200, rel=0.3)
    assert result.belts["<off>"].calibration is None
    assert not result.unavailable
    summary = json.loads(json.dumps(result.summary()))
    assert summary["<off>"]["problems"] == [problem, cut_off]
    assert summary["<off>"]["c_cicc"] is summary["<off>"]["bias"] is None
    assert "problems" not in summary["pyhf"]
    table = summary_table(summary)
    assert problem in table.caption
    assert [str(next(iter(c.cells))) for c in table.columns][5] == "—"
    figures = draw_figures(result)
    assert {"scans", "intervals", "coverage", "estimates", "belt", "training"} <= set(figures)
    assert not {"scale", "bias", "ladder", "surface"} & set(figures)
    # Without what takes longest, to make SVG of them.
    drawn = {name: ("<svg></svg>", caption) for name, (_, caption) in figures.items()}
    page = without_links(build_report(result, drawn).to_html())
    contain = f"such intervals contain the true value in {learned.coverages[0].with_errors()} of"
    assert f"as trained (not calibrated); {contain}" in page
    assert page.count(f"&lt;off&gt;: {problem} (settings that affect") == 1
    assert "There is no calibration; the reason is below the first table" in page
    assert result.comparison.to_table()["c_cicc"].to_pylist()[0] is None


@pytest.mark.usefixtures("few_pictures")
def test_names_with_slashes_end_in_a_whole_report(tmp_path):
    """Regression: pyhf splits some names at a slash, and the analysis ended with a KeyError."""
    plain = small_analysis(parameter="c/L2", label="a/b")

    def with_slash(samples):
        return SampleSet(
            tuple(
                replace(
                    s, features=s.features[:, [0, 1, 0]], feature_names=(*s.feature_names, "x/1")
                )
                for s in samples
            )
        )

    sets = {n: with_slash(getattr(plain, n)) for n in ("templates", "calibration", "evaluation")}
    (data,) = with_slash([plain.data])
    result = analyse(
        replace(plain, **sets, data=data, observable="x/1", drawn_features=("x/1",), n_toys=100)
    )
    assert not result.unavailable
    write_report(result, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"plots", "report.html", "summary.json"}
    assert json.loads((tmp_path / "summary.json").read_text("utf-8"))["poi"] == "c/L2"


def test_data_without_an_interval_do_not_end_an_analysis(analysis):
    # Its estimate of the data is near 0.9, and the range ends at 1.
    off = Trained(scale=0.8, shift=0.8, name="off")
    with pytest.warns(MilinferWarning, match="off: ") as warned:
        result = analyse(replace(analysis, models=(off,), belt_at=()))
    messages = [str(w.message) for w in warned if issubclass(w.category, MilinferWarning)]
    assert [m.partition(": ")[2].partition(":")[0] for m in messages] == [
        "not calibrated",
        "no interval of the data",
    ]
    learned = result.comparison["off"]
    assert learned.intervals is None
    assert learned.problems[-1].startswith("no interval of the data: MINOS found no")
    assert "\n" not in learned.problems[-1]
    assert "estimate" not in result.summary()["off"]
    assert "No interval of mu from the learned likelihood" in build_report(result, {}).to_html()
    assert {"scans", "intervals"} <= set(draw_figures(result))


def test_an_analysis_without_histograms_has_a_report(analysis):
    with pytest.warns(MilinferWarning, match="pyhf is not available: .*use fewer bins"):
        result = analyse(replace(analysis, bins=7000, belt_at=()))
    assert [m.name for m in result.comparison] == ["exact"]
    assert not result.widths
    assert not result.information
    assert "intervals" in draw_figures(result)
    assert "exact" in build_report(result, {}).to_html()
    assert np.isfinite(result.summary()["exact"]["info_eff"])


def shifted(sample, mean):
    """The same events at another mean; x is the first feature."""
    features = sample.features.copy()
    features[:, 0] += mean - sample.point["mu"]
    return replace(sample, features=features, point={"mu": mean})


def test_a_belt_narrower_than_the_truths_of_coverage_says_so(analysis):
    """Regression: the analysis ended, after training and toys."""
    samples = analysis.calibration
    near = [shifted(samples.at(mu=0.0), v) for v in (-0.1, 0.1)]
    tuning = SampleSet((*samples, *near))
    with pytest.warns(MilinferWarning, match="exact: no coverage of exact, Neyman at -0.3, 0.3"):
        result = analyse(replace(analysis, calibration=tuning, belt_at=(-0.1, 0.0, 0.1)))
    at = {r.theta for r in result.coverage if r.method == "exact, Neyman"}
    assert at == {0.0}
    assert {r.theta for r in result.coverage if r.method == "exact"} == {-0.3, 0.0, 0.3}


def test_a_truth_beyond_the_calibration_leaves_the_method_as_trained(analysis):
    """Regression: the analysis ended, after training and toys."""
    # The estimate of a truth of 0.4 is at 1, where the surface ends.
    off = Trained(scale=0.8, shift=0.6, name="off")
    tuning = SampleSet((analysis.calibration.at(mu=-0.3), analysis.calibration.at(mu=0.0)))
    evaluation = SampleSet((shifted(analysis.evaluation.at(mu=0.3), 0.45),))
    beyond = {"calibration": tuning, "evaluation": evaluation, "truth": 0.45, "belt_at": ()}
    with pytest.warns(MilinferWarning, match="off: not calibrated") as warned:
        result = analyse(replace(analysis, models=(off,), n_toys=300, **beyond))
    assert len([w for w in warned if issubclass(w.category, MilinferWarning)]) == 1
    assert result.comparison["off"].calibration is None


class ExactQuadratic:
    """Exact likelihood ratio of the quadratic problem in one parameter."""

    name, parameter, parameters, reference = "exact", "c1", ("c1",), 0.0
    interpolation = Interpolation(np.linspace(-1, 1, 21), "spline")

    def event_llr(self, sample):
        return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid[:, None])


def test_weights_of_events_are_added_up_once_for_all_histograms(monkeypatch):
    """Regression: each histogram computed the polynomials of all of its events anew."""
    training, held_out, data = (quadratic.samples(2000, [{"c1": 0.0}], seed=s) for s in (1, 2, 3))
    computed = []

    def counted(samples, degree):
        computed.append(samples)
        return event_yields(samples, degree)

    for room in (histograms_module, chosen_templates, binning):
        if hasattr(room, "event_yields"):
            monkeypatch.setattr(room, "event_yields", counted)
    settings = Analysis(
        models=(ExactQuadratic(),),
        data=data[0].as_data(),
        templates=training,
        classifier_templates=held_out,
        calibration=data,
        evaluation=data,
        observable="x0",
        second_observable="x1",
        bins=6,
        bins_2d=(3, 3),
        weight_degree=2,
    )
    histograms = histograms_module.histograms(settings, Attempts([]))
    assert set(histograms) == {"pyhf", "pyhf_2d", "pyhf_classifier", "pyhf_score"}
    assert all(t.weight_degree == 2 for t in histograms.values())
    assert computed == [held_out, training]


def test_a_belt_that_cuts_the_set_off_is_said_everywhere(analysis, whole):
    """Regression: the end of the belt was in summary.json as if it were that of an interval."""
    rng = np.random.default_rng(7)
    x = rng.normal(0, 1, 200)
    features = np.column_stack([x - x.mean(), rng.exponential(40, 200)])
    data = replace(analysis.data, features=features.astype(np.float32))
    narrow = replace(analysis, data=data, belt_at=(-0.3, 0.0))
    with pytest.warns(MilinferWarning, match="^exact: no coverage of exact, Neyman at 0.3"):
        result = analyse(narrow)
    summary = json.loads(json.dumps(result.summary()))
    ((low, high),) = summary["exact"]["neyman68"]
    assert -0.3 < low < high == 0.0
    assert summary["exact"]["neyman68_at_bound"] == [[False, True]]
    assert any("ends at 0, the edge" in problem for problem in summary["exact"]["problems"])
    assert "ends at 0, the edge" in summary_table(summary).caption
    assert "The confidence set ends at the edge of" in build_report(result, {}).to_html()
    assert whole.summary()["exact"]["neyman68_at_bound"] == [[False, False]]
    assert "ends at the edge of" not in build_report(whole, {}).to_html()
