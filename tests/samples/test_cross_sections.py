"""Cross-sections of files by IDWTUP, and of slices and runs joined."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

import milinfer as mil
from lhe_text import document, event
from milinfer.binned.template_histograms import TemplateAxis, fill_histogram
from milinfer.exceptions import ConfigurationError, LHEError, SampleError
from milinfer.features.objects import Collection
from milinfer.io import events as event_files
from milinfer.io.lhe import LHEInfo, LHEProcess
from milinfer.samples.cross_sections import (
    Part,
    cross_section_of_events,
    join_cross_sections,
    mean_cross_section,
    warn_of_mean_weight,
)
from milinfer.samples.run_features import run_features
from milinfer.samples.sample import Sample
from milinfer.samples.weights import WeightSums
from milinfer.workflow.inspection import inspect_file

LEPTON = mil.FeatureSet(
    "lepton", {"pt": lambda o: o.l0.pt}, (Collection("leptons", "l", 1, frozenset({11})),)
)


def init(strategy, *processes):
    """An ``<init>`` block; a process is XSECUP, XERRUP, XMAXUP, LPRUP."""
    lines = "".join(" ".join(map(str, p)) + "\n" for p in processes)
    return f"<init>\n2212 2212 6500 6500 0 0 0 0 {strategy} {len(processes)}\n{lines}</init>\n"


def text(weights, block, processes=None):
    """An LHE file of events with these weights, of process 1 or of `processes`."""
    numbers = [1] * len(weights) if processes is None else processes
    events = [
        event(weight=f"{w!r}").replace(" 4 1 ", f" 4 {number} ", 1)
        for w, number in zip(weights, numbers, strict=True)
    ]
    return document(*events, init=block)


def read(folder, weights, block, processes=None, **options):
    path = folder / "a.lhe"
    path.write_text(text(weights, block, processes))
    return Sample.from_file(path, features=LEPTON, point={}, **options)


def sample(x, weights, sigma, error=0.0, name="a.lhe", **more):
    return Sample(
        np.asarray(x, np.float32)[:, None],
        ("x",),
        np.asarray(weights, np.float64),
        cross_section=sigma,
        cross_section_error=error,
        provenance={"files": [name], "n_events": len(weights)},
        **more,
    )


# ------------------------------------------------------------------------------- IDWTUP of one file


@pytest.mark.parametrize("strategy", [1, -1, 2, -2, 3, -3, 4, -4])
def test_a_given_cross_section_holds_for_every_idwtup(tmp_path, strategy):
    one = read(tmp_path, [1.0, 1.0, 3.0], init(strategy, (2.5, 0.1, 3.0, 1)))
    assert (one.cross_section, one.cross_section_error) == (2.5, 0.1)


@pytest.mark.parametrize("given", [0.0, -1.0])
@pytest.mark.parametrize(
    ("strategy", "weights", "sigma"),
    [
        (1, [1.0, 1.0, 4.0], 2.0),  # pb, not unweighted yet: the mean is σ
        (-1, [2.0, 2.0, -1.0], 1.0),
        (2, [1.0, 1.0, 4.0], math.nan),  # a scale of their own
        (-2, [2.0, 2.0, -1.0], math.nan),
        (3, [1.0, 1.0, 1.0], math.nan),  # unit weights say nothing
        (-3, [1.0, 1.0, -1.0], math.nan),
        (4, [1.0, 1.0, 4.0], 2.0),  # weighted events in pb
        (-4, [2.0, 2.0, -1.0], 1.0),  # POWHEG, MadGraph: of both signs
    ],
)
def test_a_cross_section_that_is_not_given(tmp_path, strategy, weights, sigma, given):
    """Regression: 0 and −1 were believed."""
    one = read(tmp_path, weights, init(strategy, (given, 0.0, 1.0, 1)))
    error = math.sqrt(sum(w * w for w in weights)) / len(weights)
    expected = (sigma, math.nan if math.isnan(sigma) else error)
    assert (one.cross_section, one.cross_section_error) == pytest.approx(expected, nan_ok=True)
    fact = inspect_file(tmp_path / "a.lhe")["cross_section_pb"]
    if math.isnan(sigma):
        assert f"not given (XSECUP is {given:g}, and with IDWTUP {strategy}" in fact
        with pytest.raises(mil.exceptions.MilinferError, match="give cross_section= in pb"):
            fill_histogram([TemplateAxis("pt", "pt", np.array([0.0, 1e3]))], one)
    else:
        assert fact.startswith(f"{sigma:.5g} ± {error:.2g} (mean of the weights, IDWTUP {strategy}")
        assert "mean of the weights" in one.provenance["cross_section"]


def test_a_user_gives_what_the_file_does_not_say(tmp_path):
    one = read(
        tmp_path,
        [1.0, 1.0],
        init(3, (-1.0, 0.0, 1.0, 1)),
        cross_section=2.0,
        cross_section_error=0.1,
    )
    assert (one.cross_section, one.cross_section_error) == (2.0, 0.1)


def test_negative_cross_sections_of_interference():
    """With IDWTUP −4 a process may be negative; the total may not, and is that of the weights."""
    processes = (LHEProcess(3.0, 0.1, 1.0, 1), LHEProcess(-0.5, 0.1, 1.0, 2))
    assert LHEInfo(processes, weighting_strategy=-4).cross_section == 2.5
    assert math.isnan(LHEInfo(processes, weighting_strategy=4).cross_section)
    alone = LHEInfo(processes[1:], weighting_strategy=-4)
    assert cross_section_of_events(alone, 4, -2.0, 1.0)[0] == -0.5
    flag = LHEInfo((processes[0], LHEProcess(-1.0, 0.0, 1.0, 2)), weighting_strategy=-4)
    assert math.isnan(flag.cross_section)


def test_an_error_that_is_not_given_is_unknown():
    """Regression: an error of −1 became one of 1 pb."""
    info = LHEInfo((LHEProcess(2.0, -1.0, 1.0, 1),))
    assert (info.cross_section, math.isnan(info.cross_section_error)) == (2.0, True)


@pytest.mark.parametrize("suffix", ["lhe", "root", "parquet"])
@pytest.mark.parametrize(("strategy", "given"), [(1, True), (1, False), (-1, False), (2, True)])
def test_processes_that_a_shower_would_mix(tmp_path, strategy, given, suffix):
    """For IDWTUP ±1 and ±2 the weights of each process count for its cross-section alone."""
    sigmas = (1.0, 3.0)
    block = init(
        strategy, *((s if given else 0.0, 0.1, 1.0, k) for k, s in enumerate(sigmas, start=1))
    )
    weights = [0.5, 1.5, 1.0, 2.0, 4.0]  # means of 1 and 3 pb
    path = tmp_path / "a.lhe"
    path.write_text(text(weights, block, [1, 1, 1, 2, 2]))
    if suffix != "lhe":
        event_files.write(tmp_path / f"a.{suffix}", *event_files.read(path))
    one = Sample.from_file(tmp_path / f"a.{suffix}", features=LEPTON, point={})
    shares = one.weights[:3].sum(), one.weights[3:].sum()
    assert shares[1] / shares[0] == pytest.approx(3.0)
    assert one.weights[1] / one.weights[0] == pytest.approx(3.0)
    assert one.weights.mean() == pytest.approx(4.0)
    assert one.cross_section == pytest.approx(4.0)
    assert inspect_file(path)["cross_section_pb"].startswith("4 ± ")


def test_processes_that_cannot_be_mixed_are_named(tmp_path):
    two = ((0.0, 0.0, 1.0, 1), (0.0, 0.0, 1.0, 2))
    with pytest.raises(LHEError, match=r"a\.lhe: XSECUP of the process 1 is 0, but IDWTUP 2"):
        read(tmp_path, [1.0, 1.0], init(2, *two), [1, 2])
    with pytest.raises(LHEError, match=r"events of the process 7, which <init> does not list"):
        read(tmp_path, [1.0, 1.0], init(1, *two), [1, 7])
    with pytest.raises(LHEError, match="add up to -1, but its cross-section is 2 pb"):
        read(tmp_path, [-1.0, 1.0], init(-2, (2.0, 0.1, 1, 1), (2.0, 0.1, 1, 2)), [1, 2])


# ------------------------------------------------------------------------------------------- slices


def slices(seed, n=(4000, 3000), scales=(1.0, 7.0), negative=0.0):
    """Exponential x, cut at 1 into slices with events and normalisations of their own."""
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=50_000)
    parts = []
    for k, chosen in enumerate((x[x < 1], x[x >= 1])):
        sigma = 2.0 * (1 - np.exp(-1) if k == 0 else np.exp(-1))
        sign = np.where(rng.random(n[k]) < negative, -1.0, 1.0)
        parts.append(
            sample(
                chosen[: n[k]],
                scales[k] * sign,
                sigma,
                0.001,
                name=f"{k}.lhe",
                reweights={"double": 2 * scales[k] * sign},
            )
        )
    return parts


@pytest.mark.parametrize("negative", [0.0, 0.2])
def test_slices_add_up_to_the_whole(negative):
    parts = slices(1, negative=negative)
    whole = Sample.concatenate(parts, combine="sum")
    assert whole.cross_section == pytest.approx(2.0)
    assert whole.cross_section_error == pytest.approx(0.001 * math.sqrt(2))
    # The mean of exp(−x) is 1, in units of 1: wrong by 40 % with the weights as they are.
    low, high = (p.features[:, 0] for p in parts)
    expected = ((1 - np.exp(-1)) * low.mean(), np.exp(-1) * high.mean())
    if not negative:
        mean = np.average(whole.features[:, 0].astype(np.float64), weights=whole.weights)
        assert mean == pytest.approx(sum(expected), rel=1e-6)
        assert mean == pytest.approx(1.0, abs=0.03)
    sums = [whole.weights[: len(parts[0])].sum(), whole.weights[len(parts[0]) :].sum()]
    assert sums[0] / sums[1] == pytest.approx(parts[0].cross_section / parts[1].cross_section)
    np.testing.assert_allclose(whole.reweights["double"], 2 * whole.weights)
    other = Sample.concatenate(parts[::-1], combine="sum")
    assert other.cross_section == whole.cross_section
    np.testing.assert_array_equal(np.sort(other.weights), np.sort(whole.weights))
    assert whole.provenance["files"] == ["0.lhe", "1.lhe"]


def test_weights_in_proportion_already_stay_to_the_bit():
    one, two = (sample(np.zeros(n), np.full(n, 0.1), n * 0.1, name=str(n)) for n in (3, 5))
    whole = Sample.concatenate([one, two], combine="sum")
    np.testing.assert_array_equal(whole.weights, np.full(8, 0.1))


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
def test_different_cross_sections_are_no_matter_of_order(order):
    """Regression: the sum kept the cross-section of the first sample."""
    parts = [slices(2)[k] for k in order]
    with pytest.raises(SampleError) as error:
        _ = parts[0] + parts[1]
    text = str(error.value)
    assert "0.lhe: 1.26424 ± 0.001 pb; 1.lhe: 0.735759 ± 0.001 pb" in text
    assert "combine='sum'" in text
    assert "combine='mean'" in text


def test_slices_that_cannot_be_scaled_are_named():
    good = sample([0.0], [1.0], 1.0)
    for bad, words in (
        (sample([0.0, 1.0], [1.0, -1.0], 1.0, name="b"), "b: its 2 weights add up to 0"),
        (sample([0.0], [1.0], math.nan, name="b"), "b: unknown"),
        (sample([], [], 1.0, name="b"), "b: its 0 weights add up to 0"),
        (sample([0.0], [1.0], 0.0, name="b"), "its cross-section of 0 pb"),
    ):
        with pytest.raises(SampleError, match=words):
            Sample.concatenate([good, bad], combine="sum")
    empty = sample([], [], 0.0, name="b")
    assert Sample.concatenate([good, empty], combine="sum").cross_section == 1.0
    with pytest.raises(ConfigurationError, match="combine is 'add'"):
        Sample.concatenate([good, good], combine="add")


# --------------------------------------------------------------------------------------------- runs


def test_runs_that_agree_are_averaged():
    one = sample([0.0, 1.0], [1.0, 1.0], 1.0, 0.1, name="a")
    two = sample([2.0], [1.0], 1.2, 0.2, name="b")
    joined = one + two
    # By the numbers of events, as the mean weight of all events with weights of σ is.
    assert joined.cross_section == pytest.approx((2 * 1.0 + 1.2) / 3)
    assert joined.cross_section_error == pytest.approx(math.hypot(2 * 0.1, 0.2) / 3)
    np.testing.assert_array_equal(joined.weights, np.ones(3))
    assert (two + one).cross_section == joined.cross_section


def test_runs_of_different_normalisation_count_by_their_events():
    """Weights of 1, of σ and of σ/n: each event of a run of unweighted events is worth the same."""
    parts = [
        sample(np.zeros(n), np.full(n, w), 2.0, 0.01, name=f"{n}", reweights={"r": np.full(n, w)})
        for n, w in ((10, 1.0), (30, 2.0), (60, 2.0 / 60))
    ]
    joined = Sample.concatenate(parts)
    assert np.ptp(joined.weights) < 1e-12
    assert joined.weights.sum() == pytest.approx(sum(p.weights.sum() for p in parts))
    np.testing.assert_allclose(joined.reweights["r"], joined.weights)
    assert joined.cross_section == 2.0


def test_weights_that_differ_by_the_error_of_the_cross_section_stay():
    """MadGraph's weights (IDWTUP −4) are the cross-section, with its error."""
    parts = [sample(np.zeros(5), np.full(5, s), s, 0.01, name=str(s)) for s in (2.0, 2.02)]
    np.testing.assert_array_equal((parts[0] + parts[1]).weights[5:], np.full(5, 2.02))


def test_weighted_runs_keep_their_weights():
    rng = np.random.default_rng(1)
    parts = [
        sample(np.zeros(500), rng.exponential(size=500), 1.0, 0.1, name=str(k)) for k in range(2)
    ]
    joined = Sample.concatenate(parts)
    np.testing.assert_array_equal(joined.weights, np.concatenate([p.weights for p in parts]))


def test_runs_of_one_grid_share_its_error():
    """POWHEG in parallel: all files have the cross-section of one integration."""
    parts = [sample([0.0], [1.0], 2.0, 0.1, name=str(k)) for k in range(4)]
    joined = Sample.concatenate(parts)
    assert (joined.cross_section, joined.cross_section_error) == (2.0, 0.1)


def test_runs_that_differ_are_averaged_on_demand_with_the_error_of_their_scatter():
    value, error = mean_cross_section(np.array([[1.0, 0.01], [2.0, 0.01]]))
    assert (value, error) == pytest.approx((1.5, 0.5))


def test_unknown_cross_sections():
    unknown = [sample([0.0], [w], math.nan, name=str(w)) for w in (1.0, 2.0)]
    joined = Sample.concatenate(unknown)
    assert math.isnan(joined.cross_section)
    np.testing.assert_array_equal(joined.weights, [1.0, 2.0])
    known = sample([0.0], [1.0], 2.0, 0.1, name="k")
    with pytest.raises(SampleError, match=r"1\.0: unknown; k: 2 ± 0\.1 pb\); give cross_section="):
        _ = known + unknown[0]
    mean = Sample.concatenate([unknown[0], known], combine="mean")
    assert (mean.cross_section, mean.cross_section_error) == (2.0, 0.1)


def test_parts_of_a_sample_are_not_scaled():
    """Events sorted by weight: the mean weights of the parts differ, and are right."""
    whole = sample(np.arange(10.0), np.arange(1.0, 11.0), 2.0, 0.1)
    joined = whole.take(slice(0, 5)) + whole.take(slice(5, 10))
    np.testing.assert_array_equal(joined.weights, whole.weights)
    assert joined.cross_section_error == 0.1


def test_the_factors_do_not_depend_on_the_order():
    rng = np.random.default_rng(3)
    parts = [
        Part(str(k), s, 0.1, 10, WeightSums.over(rng.exponential(size=10) * 10**k))
        for k, s in enumerate(rng.exponential(size=5))
    ]
    for combine in ("sum", "mean"):
        results = set()
        for order in itertools.permutations(range(5)):
            joined = join_cross_sections([parts[k] for k in order], combine)
            factors = dict(zip(order, joined.factors, strict=True))
            results.add((joined.cross_section, joined.error, *sorted(factors.items())))
        assert len(results) == 1


# ------------------------------------------------------------------------------------ run_features


def write_runs(folder, sigmas, weights, strategy=3):
    """ROOT files of ten events each."""
    paths = []
    for k, (sigma, weight) in enumerate(zip(sigmas, weights, strict=True)):
        path = folder / f"{k}.lhe"
        path.write_text(text([weight] * 10, init(strategy, (sigma, 0.001, 1.0, 1))))
        event_files.write(path.with_suffix(".root"), *event_files.read(path))
        paths.append(path.with_suffix(".root"))
    return paths


def test_run_features_joins_files_as_samples_are_joined(tmp_path):
    paths = write_runs(tmp_path, (1.0, 0.1), (1.0, 1.0))
    metadata = {"point": {}, "process": "p"}

    def run(**more):
        fileset = {"p": {"files": paths, "metadata": metadata | more}}
        return run_features(fileset, features=LEPTON)["p"]

    with pytest.raises(SampleError, match=r"different cross-sections \(.*combine='sum'"):
        run()
    whole = run(combine="sum")
    direct = Sample.concatenate(
        [Sample.from_file(p, features=LEPTON, point={}, process="p") for p in paths],
        combine="sum",
    )
    np.testing.assert_array_equal(whole.weights, direct.weights)
    assert whole.cross_section == direct.cross_section == pytest.approx(1.1)
    assert whole.provenance["cutflow"]["all"]["n_events"] == 20
    assert whole.provenance["cutflow"]["all"]["sum_of_weights"] == pytest.approx(20)
    assert run(combine="mean").cross_section == pytest.approx(0.55)
    with pytest.raises(ConfigurationError, match="and also cross_section; give only one"):
        run(combine="sum", cross_section=1.0)
    assert run(cross_section=3.0).cross_section == 3.0


def test_run_features_takes_cross_sections_from_weights(tmp_path):
    paths = write_runs(tmp_path, (0.0, 0.0), (1.0, 3.0), strategy=-4)
    one = run_features({"p": {"files": paths, "metadata": {"point": {}}}}, features=LEPTON)["p"]
    assert one.cross_section == pytest.approx(2.0)
    assert one.cross_section_error == pytest.approx(math.sqrt(10 * (1 + 9)) / 20)


@pytest.mark.parametrize(
    ("weights", "sigma", "error", "warns"),
    [
        ([81.1] * 50, 762.1, 0.3, True),  # a file of POWHEG: whose cross-section was meant?
        ([81.1] * 50, 81.15, 0.02, False),
        ([3.0, -1.0] * 50, 1.1, 0.01, False),  # 1.0 ± 0.2
        ([3.0, -1.0] * 5000, 1.2, 0.01, True),  # 1.00 ± 0.02
    ],
)
def test_mean_weights_that_contradict_the_cross_section(weights, sigma, error, warns, recwarn):
    info = LHEInfo((LHEProcess(sigma, error, 1.0, 1),), weighting_strategy=-4)
    w = np.array(weights)
    warn_of_mean_weight(info, len(w), float(w.sum()), float((w * w).sum()), "a.lhe")
    assert [str(r.message)[:5] for r in recwarn] == ["a.lhe"] * warns
    other = replace(info, weighting_strategy=3)  # the weights have a scale of their own
    warn_of_mean_weight(other, len(w), float(w.sum()), float((w * w).sum()), "b.lhe")
    assert len(recwarn) == warns
