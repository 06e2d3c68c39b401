"""Samples of coffea accumulators: nothing is lost, whoever has run the processor."""

import sys
from concurrent.futures import ThreadPoolExecutor

import awkward as ak
import cloudpickle
import numpy as np
import pytest
from coffea import processor
from coffea.util import load, save

import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.exceptions import ParameterError, SampleError
from milinfer.features.feature_set import FeatureTable
from milinfer.features.processor import EventSchema
from milinfer.io import events as event_files
from milinfer.samples.run_features import run_features
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.utils.points import point_id

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests

POINTS = {"sm": {"c_HW": 0.0}, "bsm": {"c_HW": 0.5}}
REWEIGHTS = {point_id(p): p for p in vbf_hww.DEFAULT_WEIGHTS}


def even(events):
    return {"even": events.event % 2 == 0, "high": events.LHEPart.pt[:, -1] > 30}


class MyProcessor(processor.ProcessorABC):
    """A user's own, with a selection, a histogram's worth of other output and weight variations."""

    def process(self, events):
        chosen = events[even(events)["even"] & even(events)["high"]]
        table = mil.feature_set("vbf_2l2j").from_lhe(chosen)
        up = {name: chosen.LHEWeight[name] for name in chosen.LHEWeight.fields}
        features = table.accumulate(chosen.genWeight, reweights=up)
        dataset = events.metadata["dataset"]
        total = float(ak.sum(events.genWeight))
        return {dataset: {"features": features, "sum_of_weights": total}}

    def postprocess(self, accumulator):
        return accumulator


@pytest.fixture(scope="module")
def fileset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    files = {}
    for seed, (name, point) in enumerate(POINTS.items()):
        record = vbf_hww.generate(400, point, seed=seed).to_events(vbf_hww.DEFAULT_WEIGHTS)
        event_files.write(folder / f"{name}.root", *record)
        files[name] = [str(folder / f"{name}.root")]
    return files


def run(fileset, instance, executor=None, chunksize=90):
    runner = processor.Runner(
        executor=executor or processor.IterativeExecutor(status=False),
        schema=EventSchema,
        chunksize=chunksize,
    )
    return runner(fileset, instance, treename="Events")


@pytest.fixture(scope="module")
def expected(fileset):
    return run_features(fileset, selection=even, chunksize=90)


def check(sample, expected):
    assert sample.feature_names == expected.feature_names
    np.testing.assert_array_equal(sample.features, expected.features)
    np.testing.assert_array_equal(sample.weights, expected.weights)
    assert sample.point == expected.point
    assert sorted(map(str, sample.reweight_points.values())) == sorted(
        map(str, expected.reweight_points.values())
    )
    assert len(sample.reweights) == len(expected.reweights) == 5
    for (name, ours), theirs in zip(
        sample.reweights.items(), expected.reweights.values(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


@pytest.mark.parametrize("kind", ["iterative", "futures"])
def test_output_of_a_plain_runner(fileset, expected, kind, tmp_path):
    instance = mil.FeatureProcessor(selection=even)
    if kind == "futures":  # test_processor.py has processes, which take seconds to start
        with ThreadPoolExecutor(2) as pool:
            output = run(fileset, instance, processor.FuturesExecutor(pool=pool, status=False))
    else:
        output = run(fileset, instance)
    save(output, tmp_path / "output.coffea")
    totals = {name: sample.cross_section for name, sample in run_features(fileset).items()}
    for accumulators in (output, load(tmp_path / "output.coffea")):
        samples = SampleSet.from_accumulator(
            accumulators,
            points=POINTS,
            reweight_points=REWEIGHTS,
            process="vbf_hww",
            cross_section=totals,
        )
        assert [s.point for s in samples] == list(POINTS.values())
        for name, sample in zip(POINTS, samples, strict=True):
            check(sample, expected[name])
            assert sample.process == expected[name].process
            assert sample.provenance["cutflow"] == expected[name].provenance["cutflow"]
            assert sample.provenance["rejected"] == expected[name].provenance["rejected"]
            assert sample.cross_section == pytest.approx(expected[name].cross_section)
            assert 0 < sample.cross_section < totals[name]
    one = Sample.from_accumulator(output["sm"], ["m_ll", "d_phi_qq"], point={}, process="ww")
    assert (one.feature_names, one.point, one.process) == (("m_ll", "d_phi_qq"), {}, "ww")
    np.testing.assert_array_equal(one.column("m_ll"), expected["sm"].column("m_ll"))
    assert one.reweight_points == {}


def test_a_processor_of_ones_own(fileset, expected):
    output = run(fileset, MyProcessor())
    samples = SampleSet.from_accumulator(
        {name: result["features"] for name, result in output.items()},
        points=POINTS,  # and the names of the weights say theirs
        cross_section={"sm": 2.0, "bsm": 3.0, "not used": 4.0},
        sum_of_weights={name: result["sum_of_weights"] for name, result in output.items()},
    )
    for name, sample, total in zip(POINTS, samples, (2.0, 3.0), strict=True):
        check(sample, expected[name])
        flow = expected[name].provenance["cutflow"]
        fraction = flow["features"]["sum_of_weights"] / flow["all"]["sum_of_weights"]
        assert sample.cross_section == pytest.approx(total * fraction)
    # Their weights say what each event is worth anywhere between the points.
    assert mil.EventPool(samples, degree=4).at({"c_HW": 0.25}).n_effective > 100


def test_points_in_the_names_of_weights():
    table = rows(3)
    output = table.accumulate(reweights={"mu=1": [1.0, 2.0, 3.0], "scale up": [1.0, 1.0, 1.0]})
    sample = Sample.from_accumulator(output, point={"mu": 0.0})
    assert sample.reweight_points == {"mu=1": {"mu": 1.0}}
    assert list(sample.reweights) == ["mu=1", "scale up"]
    assert list(sample.provenance["weights without a point"].values()) == [["scale up"]]
    given = Sample.from_accumulator(
        output, point={"mu": 0.0}, reweight_points=[{"mu": 2.0}, {"mu": 3.0}]
    )
    assert list(given.reweight_points.values()) == [{"mu": 2.0}, {"mu": 3.0}]
    with pytest.raises(ParameterError, match="reweight_points names 'down'"):
        Sample.from_accumulator(output, point={"mu": 0.0}, reweight_points={"down": {"mu": 1.0}})


def rows(n, **change):
    columns = {"x": np.arange(n, dtype=np.float32), "y": np.ones(n, np.float32), **change}
    return FeatureTable(columns, kept=np.ones(n, bool))


def test_rejected_events_are_counted():
    kept = np.array([True, False, True])
    table = FeatureTable({"x": np.ones(2, np.float32)}, kept=kept, rejected={"few jets": 1})
    output = table.accumulate([1.0, 5.0, 3.0], reweights={"up": [2.0, 5.0, 4.0]})
    output = processor.accumulate([output, output])
    sample = Sample.from_accumulator(output, point={})
    assert sample.weights.tolist() == [1.0, 3.0, 1.0, 3.0]
    assert sample.reweights["up"].tolist() == [2.0, 4.0, 2.0, 4.0]
    assert mil.samples.sample.check_sample_counts(sample, "a") == (
        "6 events in, 4 out, 2 rejected (few jets: 2)"
    )


def test_columns_in_another_order_are_those_of_the_first_dataset():
    """Some versions of coffea add up the columns of chunks in any order."""
    a, b = rows(3).accumulate(), rows(2).accumulate()
    b["columns"] = dict(reversed(b["columns"].items()))
    samples = SampleSet.from_accumulator(
        {"a": a, "b": b}, points={"b": {"mu": 1.0}, "a": {"mu": 0.0}}
    )
    assert samples.feature_names == ("y", "x")
    assert [s.column("x").tolist() for s in samples] == [[0.0, 1.0], [0.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {"x": np.array([0, np.nan, 2])}}, "column 'x' is nan in row 1"),
        ({"columns": {"x": np.ones((3, 2))}}, r"column 'x' has shape \(3, 2\)"),
        ({"columns": {"x": np.ones(2)}}, "column 'x' has 2 rows, but weights has 3"),
        ({"columns": {}}, "no column is left"),
        ({"weight": processor.column_accumulator(np.array([1, np.inf, 1]))}, "weights is inf in"),
        ({"reweights": {"up": np.ones(2)}}, "reweights 'up' has 2 rows"),
        ({"n_events": 4}, "the accumulator counts 4 events, but its columns have 3"),
    ],
)
def test_bad_accumulators_are_named(change, message):
    output = {"tt": {**rows(3).accumulate(), **change}}
    with pytest.raises(SampleError, match=f"^dataset 'tt': .*{message}"):
        SampleSet.from_accumulator(output, points={"tt": {"mu": 0.0}})
    with pytest.raises(SampleError, match=f"^(?!dataset).*{message}"):
        Sample.from_accumulator(output["tt"], point={"mu": 0.0})


def test_what_is_no_accumulator_is_explained():
    table = rows(3).accumulate()
    for output, message in (
        ({"tt": table}, r"it has 'tt'; give output\['tt'\]"),
        (({"tt": table}, {}), "savemetrics"),
        ({"chunks": {}}, "run FeatureProcessor.postprocess"),
        ([1.0], "it is a list"),
        ({}, "it has nothing"),
    ):
        with pytest.raises(SampleError, match=message):
            Sample.from_accumulator(output, point={})
    with pytest.raises(SampleError, match="the output has no dataset 'ww'; it has 'tt'"):
        SampleSet.from_accumulator({"tt": table}, points={"ww": {"mu": 0.0}})
    with pytest.raises(SampleError, match=r"dataset 'b' has columns .* lacks \(z\)"):
        SampleSet.from_accumulator(
            {"a": table, "b": rows(3, z=np.ones(3, np.float32)).accumulate()},
            points={"a": {"mu": 0.0}, "b": {"mu": 1.0}},
        )
    with pytest.raises(SampleError, match="dataset 'b': there is no column 'z' for features"):
        SampleSet.from_accumulator(
            {"a": rows(3, z=np.ones(3, np.float32)).accumulate(), "b": table},
            points={"a": {"mu": 0.0}, "b": {"mu": 1.0}},
        )


def test_cross_sections_need_all_events():
    table = rows(3).accumulate([1.0, 2.0, 3.0])
    with pytest.raises(SampleError, match=r"no cut flow, .* give sum_of_weights="):
        Sample.from_accumulator(table, point={}, cross_section=2.0)
    known = {"point": {}, "cross_section": 2.0, "cross_section_error": 0.0}
    half = Sample.from_accumulator(table, **known, sum_of_weights=12.0)
    assert half.cross_section == pytest.approx(1.0)
    # As for 6 of 12 events whose weights are those of the rows: binomial, with their spread.
    assert half.cross_section_error == pytest.approx(2 * np.sqrt((14 + 14) / 4) / 12)
    # All events are in the table: nothing is cut, and nothing fluctuates.
    whole = Sample.from_accumulator(table, **known, sum_of_weights=6.0)
    assert (whole.cross_section, whole.cross_section_error) == (2.0, 0.0)
    with pytest.raises(SampleError, match="sum_of_weights is 0"):
        Sample.from_accumulator(table, point={}, cross_section=2.0, sum_of_weights=0.0)
    with pytest.raises(SampleError, match=r"cross_section is 2\.0; give one number for each"):
        SampleSet.from_accumulator({"a": table}, points={"a": {"mu": 0.0}}, cross_section=2.0)
