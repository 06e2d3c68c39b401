"""Methods that fail, beside those that do not."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from milinfer.analysis import analyse, summary_table
from milinfer.analysis_report import build_report
from milinfer.exceptions import CalibrationError, MilinferWarning
from reports import Trained, small_analysis

# Its estimates are beyond the range of its training points, as those of a bad training are.
ASTRAY = Trained(shift=3.0, name="<astray>")


@pytest.fixture(scope="module")
def analysis():
    return small_analysis()


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


def test_a_method_that_fails_does_not_end_the_others(analysis, crippled):
    result, messages = crippled
    assert set(result.unavailable) == {"<astray>", "pyhf_2d"}
    edge, bins = result.unavailable["<astray>"], result.unavailable["pyhf_2d"]
    assert (edge.stage, bins.stage) == ("calibration", "templates")
    assert re.match(r".*% of the toys at mu=-0.3 have their maximum at", edge.reason)
    assert re.match(r"bin \d+ .* is empty at .*; use fewer or wider bins", bins.reason)
    assert len(messages) == 2
    for message, found, setting in zip(
        messages, (bins, edge), ("bins_2d", "calibrate_at"), strict=True
    ):
        assert message.startswith(f"{found.name} is not available: {found.reason} (settings")
        assert setting in message
    alone = analyse(analysis)
    assert [m.name for m in result.comparison] == [m.name for m in alone.comparison]
    assert result.comparison.to_table().drop_columns("fit_seconds") == (
        alone.comparison.to_table().drop_columns("fit_seconds")
    )
    assert result.information == alone.information
    assert set(result.belts) == {"exact"}


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
    table = page[: page.index("Surfaces</h2>")]
    for words in ("is not available: 100.0% of the toys", "is not available: bin "):
        assert words in table
        assert words in result._repr_html_()
    names, _, cells = (list(c.cells) for c in summary_table(summary).columns[:3])
    assert names == ["exact", "pyhf", "pyhf_2d", "<astray>"]
    assert cells[2:] == ["not available"] * 2


def test_the_method_that_the_report_is_about_must_work(analysis):
    with pytest.raises(CalibrationError, match="maximum at the edge") as caught:
        analyse(replace(analysis, models=(ASTRAY, *analysis.models)))
    (note,) = caught.value.__notes__
    assert note.startswith("settings that bear on the calibration: calibrate_at, ")


def test_an_analysis_without_histograms_has_a_report(analysis):
    with pytest.warns(MilinferWarning, match="pyhf is not available: .*use fewer bins"):
        result = analyse(replace(analysis, bins=7000, belt_at=()))
    assert [m.name for m in result.comparison] == ["exact"]
    assert not result.widths
    assert not result.information
    assert "intervals" in result.figures()
    assert "exact" in build_report(result, {}).to_html()
    assert np.isfinite(result.summary()["exact"]["info_eff"])
