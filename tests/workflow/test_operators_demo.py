"""The demo with two operators, at a size that takes a minute."""

from __future__ import annotations

import pytest

from milinfer.exceptions import ConfigurationError
from milinfer.workflow.operators_demo import OperatorsDemoConfig, run_operators_demo


@pytest.mark.slow
@pytest.mark.usefixtures("few_pictures")
# Pools of few events, which make a test short; that they are small is tested elsewhere.
@pytest.mark.filterwarnings("ignore::milinfer.exceptions.MilinferWarning")
@pytest.mark.filterwarnings("ignore::milinfer.exceptions.ConvergenceWarning")
def test_the_demo_learns_two_operators(tmp_path):
    config = OperatorsDemoConfig(
        events=800,
        pool_events=2000,
        data_events=500,
        n_toys=100,
        workers=1,
    )
    lines = []
    summary = run_operators_demo(tmp_path, config, echo=lines.append)
    assert summary["poi"] == ["c_HW", "c_HWtil"]
    learned = summary["polynomial-joint"]
    for name in summary["poi"]:
        low, high = learned[name]["interval68"]
        assert low < learned[name]["estimate"] < high
        assert high - low < 0.8
    assert 0.3 < learned["region"]["coverage68"] <= 1
    assert learned["information"]["relative"] > 0.4
    assert summary["oracle"]["information"]["relative"] == pytest.approx(1.0)
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "model").is_dir()
    assert lines[-1].startswith("total")


def test_a_truth_near_the_end_is_refused():
    with pytest.raises(ConfigurationError, match=r"between -0\.3 and 0\.3"):
        run_operators_demo("nowhere", OperatorsDemoConfig(truth=0.4))
