"""What is said of an analysis before hours of training."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from lhe_text import PARTICLES, document, event
from madgraph import madgraph_file
from milinfer.datasets import gaussian, quadratic
from milinfer.exceptions import ConfigurationError, FeatureError, MilinferWarning, SampleError
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.workflow.configuration import (
    AnalysisConfig,
    DataSection,
    FilesSection,
    SamplesSection,
)
from milinfer.workflow.inputs import (
    AnalysisInputs,
    require_files,
    require_other_files,
    require_parameters,
    require_points,
    require_pools,
    warn_of_bins,
)

SAMPLES = gaussian.samples(1000, [-0.5, 0.5], seed=1)


def config(folder, **templates):
    return AnalysisConfig(
        samples=SamplesSection(
            train=[FilesSection(path="a.parquet"), FilesSection(path=["b/*.root", "c.root"])]
        ),
        data=DataSection(path="d.root"),
        templates=templates,
        folder=folder,
    )


def test_every_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError) as error:
        require_files(config(tmp_path))
    lines = str(error.value).splitlines()
    assert [line.split("'")[1] for line in lines] == ["a.parquet", "b/*.root", "d.root"]
    for name in ("a.parquet", "c.root", "d.root"):
        (tmp_path / name).write_text("")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.root").write_text("")
    require_files(config(tmp_path))


def test_truths_beyond_the_training_are_refused_before_it(tmp_path):
    """Regression: an analysis trained first, and failed then."""
    points = [FilesSection(path="a", point={"mu": m}) for m in (-1.0, 0.0, 1.0)]
    given = {"samples": SamplesSection(train=points), "data": DataSection(path="d")}
    fine = AnalysisConfig(**given, templates={"degree": 2}, toys={"calibrate_at": [-1.0, 0.5]})
    require_points(fine)
    wrong = AnalysisConfig(
        **given,
        toys={"truth": 3.0, "calibrate_at": [0.0, -1.5]},
        templates={"degree": 3},
        source=tmp_path / "analysis.toml",
    )
    with pytest.raises(ConfigurationError) as error:
        require_points(wrong)
    assert str(error.value).splitlines() == [
        f"{tmp_path / 'analysis.toml'}:",
        "  toys.truth: 3 is outside the range of the training points, -1 to 1",
        "  toys.calibrate_at: -1.5 is outside the range of the training points, -1 to 1",
        "  templates.degree = 3 needs samples at 4 points, but there are 3",
    ]
    # Points that only the files say are looked at when these are read.
    silent = [FilesSection(path="a")]
    require_points(AnalysisConfig(samples=SamplesSection(train=silent), data=DataSection(path="d")))


def test_a_file_has_one_role(tmp_path):
    one, same, other = ((tmp_path / n, h, None) for n, h in (("a", "1"), ("b", "1"), ("c", "2")))
    require_other_files(config(tmp_path), {"train": [one, same], "tune": [other]})
    with pytest.raises(ConfigurationError, match=r"samples\.train and samples\.tune have the same"):
        require_other_files(config(tmp_path), {"train": [one], "tune": [same], "evaluate": [other]})


def test_events_without_parameters_are_refused():
    none = SampleSet(tuple(replace(s, point={}) for s in SAMPLES[:1]))
    require_parameters(SAMPLES)
    with pytest.raises(ConfigurationError, match=r"the events have no parameters, .* a point"):
        require_parameters(none)


def test_too_many_bins_are_warned_of(tmp_path):
    train, held_out = SAMPLES.split([0.8, 0.2], seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_bins(config(tmp_path, bins=20), train, held_out)  # ten events in each
    with pytest.warns(MilinferWarning) as warned:
        warn_of_bins(config(tmp_path, bins=21), train, held_out)
    (message,) = (str(w.message) for w in warned)
    assert message.startswith("templates.bins = 21: gaussian at mu=-0.5 has 200 effective events")
    assert "histograms of the output of the network" in message
    assert "21 bins need 210 or more" in message
    with pytest.warns(MilinferWarning) as warned:
        warn_of_bins(config(tmp_path, bins=81), train, held_out)
    assert len(warned) == 2


@pytest.mark.parametrize("held_out", [False, True])
def test_events_held_out_fill_histograms_of_features_if_asked_to(tmp_path, held_out):
    for k, sample in enumerate(SAMPLES):
        sample.to_file(tmp_path / f"{k}.parquet")
    analysis = AnalysisConfig(
        samples=SamplesSection(
            features=["x0"], train=[FilesSection(path="?.parquet")], fractions=(0.1, 0.2)
        ),
        data=DataSection(path="0.parquet"),
        templates={"observable": "x0", "degree": 1, "held_out": held_out},
        folder=tmp_path,
    )
    inputs = AnalysisInputs(analysis, lambda _: None)
    for file in inputs.unique():
        inputs.make_features(file)
    parts = inputs.split()
    assert parts.train.n_events + parts.held_out.n_events == 1400
    assert parts.templates.n_events == (1400 if held_out else parts.train.n_events)
    assert (parts.tune.n_events, parts.evaluate.n_events) == (200, 400)


LIMITS = (-1.0, 1.0)


def toys(folder, **given):
    plain = config(folder).model_dump(exclude={"toys", "source", "folder", "templates"})
    return AnalysisConfig(**plain, toys=given)


def test_true_values_without_events_are_refused_before_the_training(tmp_path):
    """Regression: an analysis trained first, and found no sample to draw toys from then."""
    tune, evaluate = SAMPLES, gaussian.samples(1000, [0.0, 0.5], seed=2)
    require_pools(toys(tmp_path, calibrate_at=[-0.5]), tune, evaluate, LIMITS)
    wrong = toys(tmp_path, truth=0.5, cover_at=[0.0, 0.2], belt_at=[0.0])
    with pytest.raises(ConfigurationError) as error:
        require_pools(wrong, tune, evaluate, LIMITS)
    assert [line.strip().partition(";")[0] for line in str(error.value).splitlines()] == [
        "toys.belt_at, toys at 0: no sample at mu=0",
        "toys.cover_at, toys at 0.2: no sample at mu=0.2",
    ]
    # Truths of coverage are those of the events for coverage: regression, a false refusal.
    require_pools(
        toys(tmp_path, calibrate_at=[-1.0, 1.0]),
        gaussian.samples(100, [-1.0, 1.0], seed=3),
        evaluate,
        LIMITS,
    )
    # What is not given is looked at, too.
    far = gaussian.samples(100, [-1.0, 1.0], seed=3)
    with pytest.raises(ConfigurationError, match=r"^toys\.calibrate_at: no sample is in the inner"):
        require_pools(toys(tmp_path), far, evaluate, LIMITS)


def test_weights_that_cannot_be_used_are_refused_before_the_training(tmp_path):
    """Regression: an analysis trained first, and could not reweight its toys then."""
    known = quadratic.samples(300, [{"c1": c} for c in (-1.0, 0.0, 1.0)], seed=3)
    require_pools(toys(tmp_path, weight_degree=2), known, known, LIMITS)
    for degree, message in ((1, "not a polynomial of degree 1"), (9, "needs 10")):
        with pytest.raises(ConfigurationError, match=message) as error:
            require_pools(toys(tmp_path, weight_degree=degree), known, known, LIMITS)
        first = str(error.value).splitlines()[0]
        assert first.startswith(f"toys.weight_degree = {degree}, events to tune with: ")
    exact = {"weight_degree": 2, "oracle": True}
    require_pools(toys(tmp_path, oracle_at=0.0, **exact), known, known, LIMITS)
    with pytest.raises(ConfigurationError, match=r"^toys\.oracle_at, .*no sample at c1=0\.3"):
        require_pools(toys(tmp_path, oracle_at=0.3, **exact), known, known, LIMITS)
    # 1 − 1.2 c is not a density at c = 0.9.
    linear = Sample(
        np.zeros((50, 1)),
        ("x",),
        point={"c": 0.0},
        reweights={"a": np.full(50, 1.0), "b": np.full(50, 0.4)},
        reweight_points={"a": {"c": 0.0}, "b": {"c": 0.5}},
    )
    below = toys(tmp_path, weight_degree=1, calibrate_at=[0.1, 0.9])
    with pytest.raises(ConfigurationError, match=r"^toys\.calibrate_at, toys at 0\.9: .* weight"):
        require_pools(below, SampleSet((linear,)), SampleSet((linear,)), (-0.5, 0.5))


@pytest.mark.skipif(sys.platform != "linux", reason="others have names of Unicode only")
def test_names_of_files_that_are_long_or_not_utf8(tmp_path):
    """Regression: JSON and pyarrow have no such names, and longer ones were too long at the end."""
    folder = tmp_path / os.fsdecode(b"f\xff")
    folder.mkdir()
    names = [os.fsdecode(b"a\xfeb.root"), "é" * 120 + ".root", "data.root"]
    for name in names:
        (folder / name).touch()
    (folder / "analysis.toml").write_text(
        '[samples]\nfeatures = ["x"]\n[[samples.train]]\npath = ["a*.root", "é*.root"]\n'
        '[data]\npath = "data.root"\n[templates]\nobservable = "x"\n',
        encoding="utf-8",
    )
    config = AnalysisConfig.from_file(folder / "analysis.toml")
    assert config.out == folder / "results"
    inputs = AnalysisInputs(config, lambda _: None)
    stems = [name.rpartition("-")[0] for name in inputs.names("train")]
    assert stems == ["ab", "é" * 100]


def test_points_of_madgraph_files_come_from_the_files(tmp_path):
    """One line of the configuration says where all files and weights are."""
    madgraph_file(tmp_path / "mg.lhe", 40, seed=1)
    (tmp_path / "card.dat").write_text("launch\nset smeft 7 0\nlaunch\nset smeft 7 1\n")
    text = """
[samples]
features = "vbf_2l2j"
parameters = { c_HW = "SMEFT 7" }
%s
[[samples.train]]
path = "mg.lhe"
[data]
path = "mg.lhe"
"""

    def read(line):
        (tmp_path / "analysis.toml").write_text(text % line)
        config = AnalysisConfig.from_file(tmp_path / "analysis.toml")
        return AnalysisInputs(config, lambda _: None)

    for line, n_points in (("", 3), ('reweight_points = { rwgt_4 = "c_HW=2" }', 4)):
        (tmp_path / "analysis.toml").write_text(text % line)
        inputs = AnalysisInputs(
            AnalysisConfig.from_file(tmp_path / "analysis.toml"), lambda _: None
        )
        for file in inputs.unique():
            inputs.make_features(file)
        (sample,) = inputs._set("train")
        assert sample.point == {"c_HW": 0.0}
        assert len(sample.reweight_points) == n_points
        assert inputs.data().point == {}
    before = read('reweight_points = "card.dat"')
    (tmp_path / "card.dat").write_text("launch\nset smeft 7 0\nlaunch\nset smeft 7 2\n")
    after = read('reweight_points = "card.dat"')
    assert before.names("train") != after.names("train")  # the features are made again
    assert before.names("data") == after.names("data")


# ------------------------------------------------------------------ slices, and events of files


def write_slices(folder):
    """Two slices of a sample at −0.5, and one whole sample at 0.5."""
    for name, sample, sigma in (
        ("low", SAMPLES[0].take(slice(0, 600)), 3.0),
        ("high", SAMPLES[0].take(slice(600, 1000)), 1.0),
        ("other", SAMPLES[1], 4.0),
    ):
        named = replace(sample, cross_section=sigma, cross_section_error=0.001, provenance={})
        replace(named, provenance={"files": [f"{name}.parquet"]}).to_file(
            folder / f"{name}.parquet"
        )


def inputs(folder, train, data="other.parquet", **samples):
    """Inputs of an analysis, with their features."""
    return made(
        AnalysisConfig(
            samples=SamplesSection(features=["x0"], train=train, **samples),
            data=DataSection(path=data) if isinstance(data, str) else data,
            templates={"observable": "x0"},
            folder=folder,
        )
    )


def made(configuration):
    found = AnalysisInputs(configuration, lambda _: None)
    for source in found.unique():
        found.make_features(source)
    return found


BLOCKS = [FilesSection(path="low.parquet"), FilesSection(path="high.parquet")]
OTHER = FilesSection(path="other.parquet")


@pytest.mark.parametrize(
    "order", [["low.parquet", "high.parquet"], ["high.parquet", "low.parquet"]]
)
def test_slices_of_a_point_add_up_as_the_file_says(tmp_path, order):
    """Regression: an analysis had the cross-section of the first file of a point."""
    write_slices(tmp_path)
    with pytest.raises(SampleError, match=r"samples\.train: .*high\.parquet: 1 ± 0\.001 pb; low"):
        inputs(tmp_path, [FilesSection(path=order), OTHER]).training()
    for blocks, options in (
        ([FilesSection(path=order, combine="sum"), OTHER], {}),
        ([*(FilesSection(path=p) for p in order), OTHER], {"combine": "sum"}),
    ):
        samples = inputs(tmp_path, blocks, **options)._set("train")
        assert [s.cross_section for s in samples] == pytest.approx([4.0, 4.0])
        sums = samples[0].weights.sum()
        parts = 600 if order[0] == "low.parquet" else 400
        share = samples[0].weights[:parts].sum() / sums
        assert share == pytest.approx(0.75 if parts == 600 else 0.25)


def test_runs_in_a_block_and_slices_in_blocks(tmp_path):
    write_slices(tmp_path)
    again = replace(SAMPLES[0].take(slice(0, 600)), cross_section=3.3, cross_section_error=0.001)
    replace(again, provenance={"files": ["again.parquet"]}).to_file(tmp_path / "again.parquet")
    blocks = [
        FilesSection(path=["low.parquet", "again.parquet"], combine="mean"),
        FilesSection(path="high.parquet"),
        OTHER,
    ]
    samples = inputs(tmp_path, blocks, combine="sum")._set("train")
    assert samples[0].cross_section == pytest.approx(3.15 + 1.0)


def test_how_files_are_joined_is_a_setting_of_the_steps(tmp_path):
    write_slices(tmp_path)
    one = inputs(tmp_path, [*BLOCKS, OTHER], combine="sum")
    two = inputs(tmp_path, [*BLOCKS, OTHER], combine="mean")
    assert one.names("train") == two.names("train")  # their features are the same
    assert one.combine() != two.combine()


def test_data_count_events_whatever_their_cross_sections(tmp_path):
    write_slices(tmp_path)
    data = DataSection(path=["low.parquet", "high.parquet"])
    assert inputs(tmp_path, [OTHER], data)._read("data")[0].cross_section == 3.0
    assert len(inputs(tmp_path, [OTHER], data).data()) == 1000


def test_events_of_files_in_the_configuration(tmp_path):
    write_slices(tmp_path)
    block = FilesSection(path=["low.parquet", "high.parquet"], events=100, combine="sum")
    data = DataSection(path="other.parquet", slice=(900, 1000))
    found = inputs(tmp_path, [block, FilesSection(path="other.parquet", slice=(0, 900))], data)
    train = found._set("train")
    assert [len(s) for s in train] == [200, 900]
    assert train[0].cross_section == pytest.approx(4.0)
    np.testing.assert_array_equal(found.data().features, SAMPLES[1].features[900:])
    assert len(set(found.names("train") + found.names("data"))) == 4
    with pytest.raises(SampleError, match=r"low\.parquet has 600 events, .* up to 601"):
        inputs(tmp_path, [FilesSection(path="low.parquet", events=601)])


def test_slices_of_one_file_in_two_roles(tmp_path):
    """The first 600 events to train on, others to tune and to evaluate with."""
    write_slices(tmp_path)

    def roles(tune):
        return inputs(
            tmp_path,
            [FilesSection(path="other.parquet", events=600)],
            tune=[FilesSection(path="other.parquet", slice=tune)],
            evaluate=[FilesSection(path="other.parquet", slice=(800, 1000))],
        )

    parts = roles((600, 800)).split()
    np.testing.assert_array_equal(parts.tune[0].features, SAMPLES[1].features[600:800])
    with pytest.raises(ConfigurationError) as error:
        roles((599, 800))
    assert "samples.train and samples.tune have the same events" in str(error.value)
    assert "events 0:600" in str(error.value)
    assert "events 599:800" in str(error.value)
    with pytest.raises(ConfigurationError, match=r"samples\.train has the same events twice"):
        inputs(tmp_path, [FilesSection(path="low.parquet", events=5), BLOCKS[0]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"events": 5, "slice": (0, 5)}, "give only one of them"),
        ({"slice": (5, 5)}, "selects no events"),
        ({"events": 0}, "greater than or equal to 1"),
        ({"slice": (-1, 5)}, "greater than or equal to 0"),
        ({"combine": "add"}, "'sum' or 'mean'"),
    ],
)
def test_wrong_events_of_a_file(options, words):
    with pytest.raises(ValueError, match=words):
        FilesSection(path="a", **options)


def test_invisible_particles_in_the_configuration(tmp_path):
    unknown = (*PARTICLES, "9000005 1 1 2 0 0 30 40 0 50 0 0 9")
    (tmp_path / "a.lhe").write_text(document(event(particles=unknown), event(particles=unknown)))

    def features(**named):
        return made(
            AnalysisConfig(
                samples=SamplesSection(
                    features=["m_ll"],
                    on_missing="reject",
                    train=[FilesSection(path="a.lhe", point={"mu": m}) for m in (0.0, 1.0)],
                    **named,
                ),
                data=DataSection(path="a.lhe"),
                templates={"observable": "m_ll", "degree": 1},
                folder=tmp_path,
            )
        )

    with pytest.raises(FeatureError, match=r"event 0 of .*a\.lhe .* invisible=\{9000005\}"):
        features()
    hidden, seen = features(invisible=[9000005]), features(visible=[9000005])
    assert not set(hidden.names("train") + hidden.names("data")) & set(seen.names("train"))
