"""Folders of variations that are read in parts: every event once, and what folders must share."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

import milinfer as mil
from milinfer.exceptions import ConfigurationError, MissingFileError, SampleError
from milinfer.samples.fingerprints import sketch_each
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streamed_variations import StreamedVariations
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations

N = 60


def process(first: int, n: int = N, **options):
    """Events whose only feature is a number; a variation loses some and gains others."""
    cross_section = options.pop("cross_section", float("nan"))
    points = options.pop("points", ({},))
    fields = {"process": "top", "cross_section": cross_section, "cross_section_error": 0.0}
    nominal, varied = [], []
    for k, point in enumerate(points):
        number = np.arange(first + 1000 * k, first + 1000 * k + n, dtype=np.float32)
        weights = 1 + number % 3
        reweights = {"bsm": 2 * weights} if point else {}
        sample = Sample(
            number[:, None],
            ("i",),
            weights,
            point=point,
            reweights=reweights,
            reweight_points={"bsm": {"c": 9.0}} if point else {},
            **(fields | options),
        )
        nominal.append(sample)
        # Every fourth event is lost, and two others are gained.
        kept = np.flatnonzero(number % 4 > 0)
        moved = np.concatenate([number[kept] + 0.25, [first - 0.5, first - 0.75]])
        own = np.concatenate([weights[kept], [1.0, 1.0]])
        up = dataclasses.replace(
            sample,
            features=moved[:, None],
            weights=own,
            reweights=dict.fromkeys(reweights, 2 * own),
            cross_section=np.nan,
        )
        partners = np.concatenate([kept, [-1, -1]])
        other = dataclasses.replace(
            sample.take(slice(0, n // 2)),
            features=sample.features[: n // 2] + 0.125,
            cross_section=1.1 * cross_section,
        )
        varied += [
            Variation({"jes": 1.0}, up, partners),
            Variation({"shower": 1.0}, other),
            Variation.of_weights(sample, {"muR": 1.0}, weights * (1 + 0.1 * (number % 2))),
        ]
    return ProcessVariations(SampleSet(tuple(nominal)), tuple(varied))


@pytest.fixture
def folders(tmp_path):
    def save(parts):
        paths = [tmp_path / f"part_{k}" for k in range(len(parts))]
        for part, path in zip(parts, paths, strict=True):
            part.save(path)
        return paths

    return save


def rows(processes):
    """Every event with its weights, and every varied one with the feature of its partner."""
    out = []
    for p in processes:
        for sample in p.nominal:
            table = [sample.features[:, 0], sample.weights, *sample.reweights.values()]
            out += [("nominal", *row) for row in np.transpose(table).tolist()]
        for v in p.variations:
            nominal, s = p.nominal_of(v), v.sample
            partner = np.full(len(s), -1.0)
            if v.partners is not None:
                there = v.partners >= 0
                partner[there] = nominal.features[v.partners[there], 0]
            table = [s.features[:, 0], s.weights, *s.reweights.values(), partner]
            out += [(str(v.nuisances), *row) for row in np.transpose(table).tolist()]
    return sorted(out)


@pytest.mark.parametrize("points", [({},), ({"c": 0.0}, {"c": 1.0})])
@pytest.mark.parametrize("combine", [None, "sum", "mean"])
def test_parts_have_every_event_once(folders, points, combine):
    """Together they are what joining all folders in memory gives, whatever the normalisations."""
    sections = (3.0, 3.0, 3.0, 3.0) if combine is None else (3.0, 1.0, 2.0, 2.5)
    parts = [
        process(100 * k, N - 4 * k, points=points, cross_section=xs)
        for k, xs in enumerate(sections)
    ]
    whole = ProcessVariations.concatenate(parts, combine)
    streamed = StreamedVariations.from_folders(
        folders(parts), combine=combine, events_in_memory=4 * len(points) * 280
    )
    read = list(streamed.parts())
    assert 1 < len(read) < 4
    expected = rows([whole])
    together = rows(read)
    assert [row[:2] for row in together] == [row[:2] for row in expected]
    for mine, other in zip(together, expected, strict=True):
        assert mine[1:] == pytest.approx(other[1:], rel=1e-12)
    for part in read:
        assert [v.label for v in part.variations] == [v.label for v in parts[0].variations]
        for sample, other in zip(part.nominal, whole.nominal, strict=True):
            assert sample.cross_section == pytest.approx(other.cross_section)
        ratios = [p.yield_ratio(p.variations[1]).value for p in (part, whole)]
        assert ratios[0] == pytest.approx(ratios[1])
    of_weights = [v.sample for v in whole.variations if v.weights_only]
    assert streamed.n_events == len(expected) - sum(map(len, of_weights))
    numbers = streamed.survey.n_events
    assert numbers == {s.label: len(s) for s in whole.nominal} | {
        v.label: len(v.sample) for v in whole.variations
    }
    varied = [v.sample for v in whole.variations if not v.weights_only]
    assert streamed.sketches == sketch_each([*whole.nominal, *varied])


def test_the_order_of_variations_may_differ(folders):
    other = process(500)
    other = ProcessVariations(other.nominal, other.variations[::-1])
    streamed = StreamedVariations.from_folders(folders([process(0), other]), combine="mean")
    (part,) = streamed.parts()
    assert [v.label for v in part.variations] == [v.label for v in process(0).variations]
    assert rows([part]) == rows([process(0), other])


def test_what_it_says(folders):
    streamed = StreamedVariations.from_folders(folders([process(0), process(500)]))
    assert (streamed.process, streamed.feature_names) == ("top", ("i",))
    assert streamed.nuisances == ("jes", "shower", "muR")
    assert "274 events in 2 folders" in repr(streamed)
    assert "part_1" in streamed._repr_html_()
    assert len(pickle.loads(pickle.dumps(streamed))) == 2
    assert mil.StreamedVariations is StreamedVariations
    with pytest.raises(ConfigurationError, match="'nominal' of streamed variations is not in mem"):
        _ = streamed.nominal
    with pytest.raises(AttributeError, match="no attribute 'nominol'"):
        _ = streamed.nominol


def changed(**options):
    other = process(500)
    return ProcessVariations(
        SampleSet(tuple(dataclasses.replace(s, **options) for s in other.nominal)),
        tuple(
            dataclasses.replace(v, sample=dataclasses.replace(v.sample, **options))
            for v in other.variations
        ),
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: changed(process="ww"), r"part_1 is of ww, but .*part_0 is of top"),
        (lambda: changed(feature_names=("j",)), r"different features \(i, j\)"),
        (
            lambda: process(500, points=({"c": 1.0},)),
            r"part_1 has no nominal sample top, which .*part_0 has",
        ),
        (
            lambda: ProcessVariations(process(500).nominal, process(500).variations[1:]),
            r"part_1 has no variation jes=1 of top, which .*part_0 has",
        ),
        (
            lambda: ProcessVariations(
                process(500).nominal,
                (
                    *process(500).variations,
                    Variation.of_weights(process(500).nominal[0], {"muF": 1.0}, np.ones(N)),
                ),
            ),
            r"part_0 has no variation muF=1 of top, which .*part_1 has",
        ),
        (
            lambda: ProcessVariations(
                process(500).nominal,
                (
                    dataclasses.replace(process(500).variations[0], partners=None),
                    *process(500).variations[1:],
                ),
            ),
            r"jes=1 of top is of features of the same events in .*part_0 and of other events in",
        ),
    ],
    ids=["process", "features", "point", "lacks", "has", "kind"],
)
def test_folders_of_other_kinds_are_refused(folders, other, message):
    with pytest.raises(SampleError, match=message):
        StreamedVariations.from_folders(folders([process(0), other()]))


def test_other_weights_are_refused(folders):
    point = ({"c": 0.0},)
    other = process(500, points=point)
    samples = tuple(
        dataclasses.replace(s, reweights={"sm": s.weights}, reweight_points={"sm": {"c": 1.0}})
        for s in other.nominal
    )
    other = ProcessVariations(SampleSet(samples), other.variations)
    with pytest.raises(SampleError, match=r"has other weights in .*part_1 .*\(bsm, sm\)"):
        StreamedVariations.from_folders(folders([process(0, points=point), other]))


def test_bad_folders_are_named(folders, tmp_path):
    paths = folders([process(0), process(500)])
    with pytest.raises(MissingFileError, match=r"absent has no variations\.json"):
        StreamedVariations.from_folders([*paths, tmp_path / "absent"])
    with pytest.raises(SampleError, match="give at least one"):
        StreamedVariations.from_folders([])
    with pytest.raises(SampleError, match=r"part_0 and .*part_0 have the same events"):
        StreamedVariations.from_folders([*paths, paths[0]])
    with pytest.raises(ConfigurationError, match=r"part_0 has 137 nominal .* give 548 or more"):
        StreamedVariations.from_folders(paths, events_in_memory=547)
    StreamedVariations.from_folders(paths, events_in_memory=548)
    with pytest.raises(ConfigurationError, match="combine is 'add'"):
        StreamedVariations.from_folders(paths, combine="add")
    (paths[1] / "variation_0.parquet").write_bytes(b"PAR1")
    with pytest.raises(SampleError, match=r"variation_0\.parquet"):
        StreamedVariations.from_folders(paths)
    (paths[1] / "variation_0.parquet").unlink()
    with pytest.raises(SampleError, match=r"part_1: variation_0\.parquet is missing"):
        StreamedVariations.from_folders(paths)


def test_folders_that_cannot_be_joined(folders):
    """Slices have to say what they are, as where they are joined in memory."""
    parts = [process(0, cross_section=1.0), process(500, cross_section=2.0)]
    streamed = StreamedVariations.from_folders(folders(parts))
    with pytest.raises(SampleError, match=r"cannot join the folders of top: .*combine='sum'"):
        list(streamed.parts())


@pytest.mark.parametrize("damage", ["file", "folder"])
def test_folders_that_change_are_refused(folders, damage):
    paths = folders([process(0), process(500)])
    streamed = StreamedVariations.from_folders(paths)
    list(streamed.parts())
    if damage == "file":
        process(600).nominal[0].to_file(paths[1] / "nominal_0.parquet")
        message = r"nominal_0\.parquet has changed since it was written"
    else:
        process(600).save(paths[1])
        message = "part_1 has changed since it was opened; start again"
    with pytest.raises(SampleError, match=message):
        list(streamed.parts())
