"""Settings of the tests of whole analyses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from milinfer.plotting.results import plot_training
from milinfer.workflow import report


@pytest.fixture(scope="module")
def one_picture() -> Iterator[None]:
    """Draw the training alone: twenty pictures take longer than the rest of a small run.

    They are looked at in test_html_report.py, test_one_sample.py, test_systematics.py and
    test_report_pictures.py.
    """

    def draw_figures(result):
        return {"training": (plot_training(result.analysis.model.fitted.history), "Loss.")}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "draw_figures", draw_figures)
        yield
