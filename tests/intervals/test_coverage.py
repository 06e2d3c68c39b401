"""Coverage against closed forms, with its errors and refusals."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, chi2, norm

from milinfer.exceptions import CalibrationError, MilinferWarning
from milinfer.intervals.coverage import Asymptotic, Coverage, CoverageScan, coverage, coverage_scan
from milinfer.intervals.neyman import neyman
from milinfer.samples.sample_set import SampleSet
from milinfer.toys.toys import Toys
from models import GaussianMean, gaussian_samples

N_EVENTS, N_TOYS = 100, 2000
TRUTHS = [-0.2, 0.0, 0.2]
POOL = gaussian_samples(TRUTHS, 200_000, 2)


def throw(model, n_toys=N_TOYS, pool=POOL):
    return Toys(pool, N_EVENTS, seed=3).scan([model], TRUTHS, n_toys)["gaussian"]


class Fixed:
    """A method that contains the truth in a known share of the toys."""

    def __init__(self, share, pool_ids=()):
        self.share, self.pool_ids = share, pool_ids

    def contains_truth(self, ensemble, cl):
        del cl
        return np.arange(ensemble.n_toys) < self.share * ensemble.n_toys


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_miscoverage_is_the_known_one(scale):
    scan = coverage_scan(throw(GaussianMean(scale)), {"asymptotic": None})
    for row in scan:
        expected = chi2.cdf(chi2.ppf(row.cl, 1) / scale, 1)
        error = np.sqrt(expected * (1 - expected) / N_TOYS)
        assert abs(row.coverage - expected) < 4 * error
        assert row.error == pytest.approx(np.sqrt(row.coverage * (1 - row.coverage) / N_TOYS))


def test_a_shift_gives_the_known_loss():
    scan = coverage_scan(throw(GaussianMean(shift=0.1)), {"x": None}, (0.6827,))
    expected = norm.cdf(2) - norm.cdf(0)
    for row in scan:
        assert abs(row.coverage - expected) < 4 * np.sqrt(expected * (1 - expected) / N_TOYS)


def test_errors_are_those_of_clopper_and_pearson():
    row = coverage(throw(GaussianMean(), 200)[0], Fixed(0.9), name="fixed")
    assert (row.coverage, row.n_toys, row.method) == (0.9, 200, "fixed")
    tail = (1 - 0.6827) / 2
    assert row.low == pytest.approx(beta.ppf(tail, 180, 21))
    assert row.high == pytest.approx(beta.ppf(1 - tail, 181, 20))
    assert row.pull == pytest.approx((0.9 - 0.6827) / np.sqrt(0.6827 * 0.3173 / 200))
    assert coverage(throw(GaussianMean(), 200)[0]).method == "as it is"


def test_the_p_values_of_a_right_method_are_uniform():
    """The χ² over truths, for pools large enough: not too good either."""
    p_values = []
    pool = SampleSet(tuple(s.take(slice(0, 50_000)) for s in POOL))
    for seed in range(30):
        toys = Toys(pool, N_EVENTS, seed=seed).scan([GaussianMean()], TRUTHS, 400)["gaussian"]
        scan = coverage_scan(toys, {"x": None}, (0.6827,))
        p_values.append(scan.chi2("x", 0.6827)[2])
    assert 0.2 < np.mean(p_values) < 0.8
    assert min(p_values) > 1e-4


def test_the_p_value_knows_the_pool():
    """Regression: a pool that shifts a coverage by 2 % made 3σ of a right method with 5000 toys."""
    toys, pool = np.sqrt(0.6827 * 0.3173 / 5000), 0.02
    for error, expected in ((pool, np.hypot(toys, pool)), (0.0, toys), (np.nan, toys)):
        row = Coverage("m", "x", {"mu": 0.0}, 0.6827, 0.6627, 0.0067, 0.656, 0.669, 5000, error)
        scan = CoverageScan((row, row._replace(point={"mu": 0.3})))
        assert row.pull == pytest.approx(-0.02 / toys)
        assert row.total_pull == pytest.approx(-0.02 / expected)
        assert scan.chi2("x", 0.6827)[0] == pytest.approx(2 * row.total_pull**2)
        assert len(scan.outside("x", 0.6827)) == (0 if error == pool else 2)


def test_toys_of_tuning_events_are_refused():
    toys = throw(GaussianMean(), 100)
    # The same events, all of them or a part, in another order.
    part = POOL[0].take(np.random.default_rng(1).permutation(200_000)[:60_000])
    from milinfer.samples.fingerprints import sketch

    for pool_id in (toys[0].pool_id, sketch(part)):
        with pytest.raises(CalibrationError, match="used for the calibration"):
            coverage(toys[0], Fixed(0.7, (pool_id,)))
    other = gaussian_samples([0.0], 100_000, 77)[0]
    assert coverage(toys[0], Fixed(0.7, (sketch(other),))).coverage == 0.7


def test_a_small_pool_is_warned_of():
    small = gaussian_samples(TRUTHS, 1000, 5)
    toys = throw(GaussianMean(), 2000, small)
    with pytest.warns(MilinferWarning, match="use a larger pool"):
        row = coverage(toys[0])
    assert row.pool_error > row.error
    # Wherever the coverage is written, the larger error stands beside it.
    pool = f" ± {row.pool_error:.2%} (event pool)"
    assert f"{row.coverage:.2%} ± {row.error:.2%}{pool} (claimed 68.27%, 2000 toys)" in str(row)
    assert row.with_errors(2).endswith(pool)
    (cells,) = CoverageScan((row,)).table_rows()
    total = np.hypot(row.error, row.pool_error)
    assert cells[3] == cells[4] == f"{100 * row.coverage:.1f}±{total:.1%}"
    unknown = row._replace(pool_error=np.nan)
    assert "event pool" not in str(unknown)
    assert CoverageScan((unknown,)).table_rows()[0][3].endswith(f"±{row.error:.1%}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coverage(throw(GaussianMean(), 400)[0])


@pytest.mark.parametrize(("shift", "n_pool"), [(0.0, 1000), (0.1, 10_000)])
def test_the_pool_error_is_the_spread_between_pools(shift, n_pool):
    """Toys enough that the pool is what is left: of second order without a bias, of first with."""
    model, measured, quoted = GaussianMean(shift=shift), [], []
    for seed in range(40):
        pool = gaussian_samples([0.0], n_pool, 500 + seed)
        toys = Toys(pool, N_EVENTS, seed=seed).run([model], 0.0, 4000)["gaussian"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MilinferWarning)
            row = coverage(toys)
        measured.append(row.coverage)
        quoted.append(row.pool_error)
    expected = norm.cdf(1 + 10 * shift) - norm.cdf(-1 + 10 * shift)
    total = np.hypot(np.mean(quoted), np.sqrt(expected * (1 - expected) / 4000))
    root = np.sqrt(np.mean((np.array(measured) - expected) ** 2))
    # Forty pools: an error of 11 %.
    assert root == pytest.approx(total, rel=0.45)
    if shift:
        assert np.mean(quoted) > 0.015


def test_a_truth_at_the_end_of_a_belt_has_a_pool_error():
    """Regression: the slope of the coverage was asked for beyond the end."""
    tuning = gaussian_samples(TRUTHS, 200_000, 8)
    belt = neyman(Toys(tuning, N_EVENTS, seed=4).scan([GaussianMean()], TRUTHS, 500)["gaussian"])
    rows = [coverage(e, belt) for e in throw(GaussianMean(), 500)]
    assert all(0 < r.pool_error < 0.02 for r in rows)


def test_a_scan_says_which_rows_are_off():
    toys = throw(GaussianMean(), 1000)
    scan = coverage_scan(toys, {"good": Fixed(0.683), "bad": Fixed(0.75)}, (0.6827,))
    assert scan.methods == ("good", "bad")
    assert scan.outside("good", 0.6827) == ()
    assert [r.theta for r in scan.outside("bad", 0.6827)] == TRUTHS
    value, n, p = scan.chi2("bad", 0.6827)
    assert n == 3
    assert value > 50
    assert p < 1e-9
    assert len((scan + scan).rows) == 12
    assert scan.to_rich().row_count == 2
    assert scan.to_dict()[0]["point"] == {"mu": -0.2}
    with pytest.raises(KeyError, match="no coverage of 'worse'"):
        scan.of("worse", 0.6827)
    assert isinstance(scan, CoverageScan)
    assert Asymptotic().pool_ids == ()


@pytest.mark.parametrize("cl", [68.27, 1.0, 0.0, -0.5])
def test_a_level_is_a_probability(cl):
    """Regression: 68.27 was a coverage of 0 with an error of NaN."""
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        coverage(throw(GaussianMean(), 10)[0], cl=cl)


def test_a_scan_of_bags_is_json():
    """Regression: the error of the pool is not known for models of bags, and NaN is not JSON."""
    toys = [replace(e, pool_variance_error=np.nan) for e in throw(GaussianMean(), 20)]
    scan = coverage_scan(toys, {"x": None}, (0.6827,))
    assert np.isnan(scan.rows[0].pool_error)
    assert json.loads(json.dumps(scan.to_dict(), allow_nan=False))[0]["pool_error"] is None
