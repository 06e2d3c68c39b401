"""Figures of expected intervals and of upper limits show the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from iminuit.cost import NormalConstraint

from milinfer.exceptions import ParameterError
from milinfer.intervals.expected import ExpectedInterval
from milinfer.intervals.upper_limits import upper_limit
from milinfer.plotting import plot_expected, plot_upper_limit

BANDS = 0.1 * np.arange(-2.0, 3.0)


@pytest.fixture
def interval():
    return ExpectedInterval(
        parameter="c_HW",
        truth=0.0,
        cl=0.6827,
        estimate=0.01,
        low=-0.12,
        high=0.13,
        estimates=BANDS,
        lows=BANDS - 0.1,
        highs=BANDS + 0.1,
        widths=np.full(5, 0.2),
        n_toys=500,
    )


def test_bands_and_the_interval_are_drawn(interval):
    (axis,) = plot_expected({"a": interval, "b": interval}, {"b": (-0.2, 0.1)}).axes
    ends = [tuple(np.sort(c.get_paths()[0].get_extents().intervalx)) for c in axis.collections]
    assert ends[0] == pytest.approx((interval.lows[0], interval.lows[4]))
    assert ends[1] == pytest.approx((interval.lows[1], interval.lows[3]))
    lines = [tuple(line.get_xdata()) for line in axis.lines]
    assert (-0.12, 0.13) in lines
    assert (-0.2, 0.1) in lines
    with pytest.raises(ParameterError, match="an interval of c, but expected has none"):
        plot_expected({"a": interval}, {"c": (0, 1)})
    with pytest.raises(ParameterError, match="no expected intervals to draw"):
        plot_expected({})


def test_the_curve_crosses_at_the_limit():
    limit = upper_limit(NormalConstraint("mu", 0.3, 0.5), NormalConstraint("mu", 0.0, 0.5), "mu")
    (axis,) = plot_upper_limit(limit).axes
    observed = next(line for line in axis.lines if str(line.get_label()).startswith("observed"))
    x, y = observed.get_data()
    assert np.interp(-0.05, -np.asarray(y), x) == pytest.approx(limit.observed, rel=0.02)
    only = upper_limit(None, NormalConstraint("mu", 0.0, 0.5), "mu")
    assert len(plot_upper_limit(only).axes[0].lines) == len(axis.lines) - 2
