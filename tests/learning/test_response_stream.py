"""Responses from streamed variations: what is read, stacked and learned."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from milinfer.datasets import gaussian_systematics
from milinfer.diagnostics.response_diagnosis import diagnose_response
from milinfer.exceptions import ConfigurationError, MilinferError, SampleError
from milinfer.learning.networks.configs import TrainingConfig
from milinfer.learning.networks.training_bags import PairedEvents
from milinfer.learning.response_events import EventTotals, ResponseEvents, base_points
from milinfer.learning.response_stream import StackedFiles, StreamedEvents, read_streamed
from milinfer.learning.systematic_response import SystematicResponse
from milinfer.learning.training_data import moments
from milinfer.likelihood.expected_response import expected_response, expected_response_of_parts
from milinfer.likelihood.response_terms import ResponseTable, ResponseTerms
from milinfer.samples import streamed_variations
from milinfer.samples.sample import Sample
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.streamed_variations import StreamedVariations
from milinfer.samples.variation import Variation
from milinfer.samples.variation_joining import joined_variations
from milinfer.samples.variations import ProcessVariations
from varied_gaussian import SMALL, variations

# So short that its responses are not good, and say so.
pytestmark = pytest.mark.filterwarnings("ignore::milinfer.exceptions.MilinferWarning")
QUICK = {**SMALL, "training": TrainingConfig(2, 512, 2e-2, 1e-4, schedule="cosine")}


def gaussians(n, seed, **options):
    """Signal events of the Gaussian problem, with features and weights varied."""
    nominal = gaussian_systematics.generate(n, seed=seed)
    nominal = dataclasses.replace(nominal, point={}, **options)
    varied = []
    for side in (-1.0, 1.0):
        for name in ("shift", "width"):
            moved = gaussian_systematics.generate(n, nuisances={name: side}, seed=seed)
            varied.append(Variation.of_features(nominal, {name: side}, moved.features))
        factor = gaussian_systematics.yield_factor("signal", {"rate": side})
        varied.append(Variation.of_weights(nominal, {"rate": side}, nominal.weights * factor))
    return ProcessVariations(nominal, tuple(varied))


def migrating(n, seed, *, points=(0.0,)):
    """Weights of both signs at several points, events that migrate, and another simulation."""
    rng = np.random.default_rng(seed)
    nominal, varied = [], []
    for c in points:
        z = rng.normal(0.2 * c, 1.0, n)
        weights = rng.choice([1.0, 2.0, -0.3], n)
        at = {"low": -1.0, "high": 1.0}

        def sample(x, weights, keep, *, c=c, at=at, **options):
            return Sample(
                x[keep, None],
                ("x",),
                weights[keep],
                point={"c": c},
                reweights={name: weights[keep] * (1 + 0.1 * v * x[keep]) for name, v in at.items()},
                reweight_points={name: {"c": v + c} for name, v in at.items()},
                **options,
            )

        inside = np.abs(z) < 2.0
        number = np.cumsum(inside) - 1
        number[~inside] = -1
        first = sample(z, weights, inside, cross_section=2.0, cross_section_error=0.01)
        nominal.append(first)
        for side in (-1.0, 1.0):
            moved = z + 0.2 * side
            kept = np.abs(moved) < 2.0
            there = sample(moved, weights, kept)
            varied.append(Variation({"jes": side}, there, number[kept]))
        other = rng.normal(0.2 * c + 0.1, 1.0, n)
        shower = sample(
            other, weights, np.abs(other) < 2.0, cross_section=2.2, cross_section_error=0.01
        )
        varied.append(Variation({"shower": 1.0}, shower))
        x = first.column("x").astype(np.float64)
        varied.append(Variation.of_weights(first, {"theory": 1.0}, first.weights * np.exp(0.1 * x)))
    return ProcessVariations(SampleSet(tuple(nominal)), tuple(varied))


@pytest.fixture
def to_disk(tmp_path):
    """Variations in several folders."""

    def write(parts, share=1.0, **options):
        """`share` of the largest folder that a quarter of the memory has room for."""
        folders = []
        for k, part in enumerate(parts):
            folders.append(tmp_path / f"part_{k}")
            part.save(folders[-1])
        largest = max(f.n_events for f in StreamedVariations.from_folders(folders).folders)
        bound = int(np.ceil(4 * share * largest))
        return StreamedVariations.from_folders(folders, events_in_memory=bound, **options)

    return write


def together(parts):
    return ProcessVariations(
        *joined_variations([(p.nominal, p.variations) for p in parts], scaled=True)
    )


TERMS = {
    "gaussian": (gaussians, ResponseTerms.of(["shift", "width", "rate"])),
    "migrating": (
        migrating,
        ResponseTerms.of(["jes", "shower", "theory"], degree={"shower": 1, "theory": 1}),
    ),
    "theta": (
        lambda n, seed: migrating(n, seed, points=(0.0, 1.0)),
        ResponseTerms.of(
            ["jes", "shower", "theory"],
            degree={"shower": 1, "theory": 1},
            parameters={"c": (-1.0, 2.0)},
        ),
    ),
}


@pytest.mark.parametrize("kind", TERMS)
def test_pieces_are_the_stacked_events(to_disk, kind):
    """Every event once, with the weights that it has in memory, and its copies beside it."""
    make, terms = TERMS[kind]
    streamed = to_disk([make(400 + 30 * k, k) for k in range(5)], combine="mean")
    events = StreamedEvents(streamed, 0.1, 7)
    base = base_points(events.outline, terms)
    found = read_streamed(events, [(terms.nuisances, base)])
    events = dataclasses.replace(events, totals=found.totals[0])
    splits = list(events.splits())
    train, stop, check = (together(parts) for parts in zip(*splits, strict=True))
    for mine, own in ((found.stop, stop), (found.check, check)):
        assert [len(v.sample) for v in mine.variations] == [len(v.sample) for v in own.variations]
        np.testing.assert_array_equal(mine.nominal[0].features, own.nominal[0].features)
    whole = together(list(streamed.parts()))
    for mine, own in zip((found.mean, found.variance), moments(whole.nominal), strict=True):
        np.testing.assert_allclose(mine, own, rtol=1e-6)
    totals = EventTotals.of(train, base.points)
    np.testing.assert_allclose(found.totals[0].own, totals.own, rtol=1e-12)
    for mine, own in zip(found.totals[0].ratios, totals.ratios, strict=True):
        assert mine.value == pytest.approx(own.value, rel=1e-12)
        # Parts differ in their yields by chance, which the error of the whole contains.
        assert mine.error == pytest.approx(own.error, rel=0.2, abs=1e-12)

    files = events.stacked(base, terms.nuisances)
    assert files.n_pieces > 2
    assert len(files.n_rows) > 2 * files.n_pieces
    assert np.ptp(files.n_rows) <= 20
    in_memory = ResponseEvents.of(train, base, terms.nuisances)
    assert files.n_rows.sum() == len(in_memory) == found.n_train
    orders = []
    for seed in (1, 2):
        pieces = list(files.in_pieces(np.random.default_rng(seed)))
        orders.append(pieces[0].features[:50].tobytes())
        tables = [table(piece) for piece in pieces]
        np.testing.assert_allclose(
            ordered(np.concatenate(tables)), ordered(table(in_memory)), rtol=2e-5, atol=1e-6
        )
    assert orders[0] != orders[1]
    assert len(pieces[0]) == pytest.approx(len(in_memory) / files.n_pieces, rel=0.05)


def table(events):
    """Feature, feature of the nominal partner, and the weights of each event."""
    nominal, varied = events.dense(slice(None))
    partner = np.full(len(events), -99.0)
    paired = events.groups < events.n_nominal
    partner[paired] = events.features[events.groups[paired], 0]
    assert np.array_equal(events.groups[: events.n_nominal], np.arange(events.n_nominal))
    return np.column_stack([events.features[:, 0], partner, nominal, varied])


def ordered(rows):
    return rows[np.lexsort(rows.T[::-1])]


def test_an_epoch_draws_all_events_but_a_few(to_disk):
    make, terms = TERMS["migrating"]
    events = StreamedEvents(to_disk([make(400, k) for k in range(5)]), 0.1, 7)
    base = base_points(events.outline, terms)
    found = read_streamed(events, [(terms.nuisances, base)])
    files = dataclasses.replace(events, totals=found.totals[0]).stacked(base, terms.nuisances)
    bags = files.bags()
    left_out, sizes = [], set()
    for seed in (1, 2):
        drawn, n = [], 0
        for piece in bags.pieces(np.random.default_rng(seed)):
            assert isinstance(piece, PairedEvents)
            index = piece.draw(np.random.default_rng(seed)).index[:, 0]
            sizes.add(len(index))
            features = np.asarray(piece.data["features"])[:, 0]
            drawn.append(features[index])
            n += len(features)
        assert n == found.n_train
        assert bags.n_bags > 0.97 * n
        assert len(np.concatenate(drawn)) == bags.n_bags
        every = np.concatenate([p.features[:, 0] for p in files.in_pieces()])
        left_out.append(set(every.tolist()) - set(np.concatenate(drawn).tolist()))
    assert len(sizes) == 1
    assert left_out[0] != left_out[1]


def test_files_go_with_the_training(to_disk):
    make, terms = TERMS["gaussian"]
    events = StreamedEvents(to_disk([make(400, k) for k in range(2)]), 0.1, 7)
    base = base_points(events.outline, terms)
    found = read_streamed(events, [(terms.nuisances, base)])
    files = dataclasses.replace(events, totals=found.totals[0]).stacked(base, terms.nuisances)
    folder = files._folder
    assert any(folder.iterdir())
    del files
    assert not folder.exists()


def test_a_full_disk_is_named(to_disk, monkeypatch):
    streamed = to_disk([gaussians(400, k) for k in range(2)])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StackedFiles, "_write", full)
    with pytest.raises(ConfigurationError, match=r"No space left .* set TMPDIR"):
        SystematicResponse(**QUICK).fit(streamed)


@pytest.mark.parametrize("kind", TERMS)
def test_expected_yields_are_those_of_all_events(kind):
    make, terms = TERMS[kind]
    parts = [make(500, k) for k in range(3)]
    whole = together(parts)

    def columns(sample):
        x = sample.column("x0" if kind == "gaussian" else "x").astype(np.float64)
        values = np.outer(x, np.linspace(0.02, 0.1, terms.n_columns))
        return ResponseTable(terms, values.astype(np.float32))

    from milinfer.likelihood.expected_response import weight_sums_at_points

    in_memory = expected_response(columns, whole.nominal)
    sums = weight_sums_at_points(whole.nominal)
    in_parts = expected_response_of_parts(columns, (p.nominal for p in parts), sums)
    theta = np.array([0.3]) if in_memory.parameters else None
    for alpha in np.random.default_rng(1).uniform(-2, 2, (5, len(terms.nuisances))):
        mine, own = (k.log_yield(alpha, theta).value for k in (in_parts, in_memory))
        assert mine == pytest.approx(own, rel=1e-9)
        mine, own = (k.error(alpha, theta) for k in (in_parts, in_memory))
        assert mine == pytest.approx(own, rel=0.6)  # of 20 blocks, which are other ones


def exact_error(response, **alpha):
    """RMS error of ln S over the nominal density, in units of its spread, or absolute."""
    x = np.random.default_rng(5).normal(size=20_000)
    exact = gaussian_systematics.log_response(x, alpha)
    table = response.table(Sample(x[:, None], ("x0",)))
    error = table.log_response(response.terms.array(alpha)) - exact
    return float(np.sqrt(np.mean(error**2)) / max(exact.std(), 0.05))


@pytest.mark.slow
@pytest.mark.filterwarnings("error::milinfer.exceptions.MilinferWarning")
def test_streamed_training_is_as_good(to_disk):
    """On the Gaussian problem, whose answer is exact; means of three seeds."""
    # So large batches that there are less than 300 steps, which XLA does not compile.
    settings = {**SMALL, "training": TrainingConfig(6, 3072, 2e-2, 1e-4, schedule="cosine")}
    parts = [gaussians(8000, k) for k in range(4)]
    streamed, whole = to_disk(parts), together(parts)
    assert streamed.n_events == 160_000
    points = [{name: side} for name in ("shift", "width", "rate") for side in (-1.0, 1.0)]
    errors = {}
    for kind, data in (("streamed", streamed), ("memory", whole)):
        each = []
        for seed in (1, 2, 3):
            response = SystematicResponse(**{**settings, "seed": seed}).fit(data)
            each.append([exact_error(response, **point) for point in points])
            closure = response.fitted.closure
            assert np.all(np.abs(closure.pulls) < 5)
            for point in points:
                exact = np.log(gaussian_systematics.yield_factor("signal", point))
                value = response.expected.log_yield(response.terms.array(point)).value
                assert value == pytest.approx(exact, abs=0.01)
        errors[kind] = np.mean(each, axis=0)
        assert response.fitted.n_events["signal"] == 32_000
        assert len(response.fitted.history[0]["loss"]) == 6
    assert np.all(errors["streamed"] < 0.2)
    assert errors["streamed"].mean() < 1.2 * errors["memory"].mean()
    assert np.all(errors["streamed"] < 2 * errors["memory"] + 0.02)


def test_the_same_seed_gives_the_same_response(to_disk, tmp_path):
    streamed = to_disk([gaussians(1000, k) for k in range(4)])
    responses = [SystematicResponse(**{**QUICK, "seed": s}).fit(streamed) for s in (3, 3, 4)]
    digests = [r.digest for r in responses]
    assert digests[0] == digests[1] != digests[2]
    first, again, _ = responses
    at = first.terms.array({"shift": 1.0})
    assert first.expected.log_yield(at).value == again.expected.log_yield(at).value
    np.testing.assert_array_equal(first.fitted.closure.means, again.fitted.closure.means)
    first.save(tmp_path / "response")
    loaded = SystematicResponse.load(tmp_path / "response")
    assert (loaded.digest, loaded.trained_on) == (first.digest, first.trained_on)
    assert loaded.fitted.n_events == first.fitted.n_events


def test_events_of_the_training_are_recognised(to_disk):
    """As those in memory are: by the fingerprints of all nominal and varied events."""
    parts = [gaussians(1000, k) for k in range(4)]
    response = SystematicResponse(**QUICK).fit(to_disk(parts))
    in_memory = SystematicResponse(**QUICK).fit(together(parts))
    assert response.trained_on == in_memory.trained_on
    assert response.fitted.n_events == in_memory.fitted.n_events
    for used in (parts[2], together(parts)):
        with pytest.raises(SampleError, match="was trained on these events"):
            diagnose_response(response, used)
    diagnose_response(response, gaussians(1000, 9))


def test_validation_events_are_used(to_disk):
    streamed = to_disk([gaussians(1000, k) for k in range(2)])
    response = SystematicResponse(**QUICK).fit(streamed, gaussians(1000, 9))
    assert len(response.trained_on) == 12  # two times five samples and their union
    with pytest.raises(SampleError, match="validation= has the process background"):
        SystematicResponse(**QUICK).fit(streamed, variations(100, 9))
    with pytest.raises(ConfigurationError, match="validation= must be in memory"):
        SystematicResponse(**QUICK).fit(streamed, streamed)
    with pytest.raises(ConfigurationError, match="validation= must be in memory"):
        SystematicResponse(**QUICK).fit(gaussians(1000, 9), streamed)


@pytest.mark.parametrize(
    "options",
    [
        {"joint": False},
        {"theta_dependent": True, "degree": {"shower": 1, "theory": 1}},
        {"interpolation": "code4"},
    ],
    ids=lambda o: next(iter(o)),
)
def test_options(to_disk, options):
    if "theta_dependent" in options:
        parts = [TERMS["theta"][0](1000, k) for k in range(3)]
    else:
        parts = [gaussians(1000, k) for k in range(3)]
    streamed = to_disk(parts)
    one, other = (
        SystematicResponse(**QUICK, **options).fit(d) for d in (streamed, together(parts))
    )
    assert one.terms.names == other.terms.names
    assert len(one.fitted.history) == len(other.fitted.history)
    shapes = [
        [a.shape for p in r.fitted.members[0] for a in p.predictor.arrays] for r in (one, other)
    ]
    assert shapes[0] == shapes[1]
    for response in (one, other):
        assert np.all(np.abs(response.fitted.closure.pulls) < 5)


def test_held_out_events_never_exceed_their_share_of_the_memory(to_disk):
    streamed = to_disk([gaussians(1000, k) for k in range(8)])
    assert streamed.piece_events == 5000
    response = SystematicResponse(**QUICK, validation_fraction=0.9)
    events = []
    make = ResponseEvents.of

    def counting(*arguments):
        events.append(make(*arguments))
        return events[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResponseEvents, "of", counting)
        response.fit(streamed)
    # One half stops the training and gives the scale, the other checks it.
    assert events
    assert [len(e) for e in events] == pytest.approx([2500] * len(events), rel=0.02)


def test_what_cannot_be_done_with_streams_is_refused(to_disk):
    streamed = to_disk([gaussians(400, k) for k in range(2)])
    with pytest.raises(ConfigurationError, match="classifier='trees' needs its variations in mem"):
        SystematicResponse(classifier="trees").fit(streamed)
    with pytest.raises(SampleError, match="takes ProcessVariations as variations, not a list"):
        SystematicResponse().fit([streamed])
    with pytest.raises(SampleError, match="also needs shift at 2"):
        SystematicResponse(**QUICK, degree=3).fit(streamed)
    with pytest.raises(ConfigurationError, match="names 'shfit'"):
        SystematicResponse(**QUICK, degree={"shfit": 1}).fit(streamed)


def test_a_missing_side_is_named(to_disk):
    part = gaussians(400, 1)
    part = ProcessVariations(part.nominal, part.variations[:-3])
    with pytest.raises(SampleError, match="has variations at -1 but also needs shift at 1"):
        SystematicResponse(**QUICK).fit(to_disk([part]))


@pytest.mark.parametrize("damage", ["truncated", "absent", "written again"])
def test_files_that_change_are_refused(to_disk, damage, monkeypatch):
    streamed = to_disk([gaussians(400, k) for k in range(3)])
    path = streamed.folders[1].path
    stacked = StreamedEvents.stacked

    def spoil_and_stack(*args):
        # After the events were read once, and before the second time, which is the last.
        file = path / "variation_0.parquet"
        if damage == "truncated":
            file.write_bytes(file.read_bytes()[:500])
        elif damage == "absent":
            file.unlink(missing_ok=True)
        else:
            gaussians(400, 8).save(path)
        return stacked(*args)

    monkeypatch.setattr(StreamedEvents, "stacked", spoil_and_stack)
    with pytest.raises(MilinferError, match="part_1"):
        SystematicResponse(**QUICK).fit(streamed)


def test_folders_are_read_twice(to_disk, monkeypatch):
    """Regression: a training read and hashed all of them four times."""
    streamed = to_disk([gaussians(400, k) for k in range(3)])
    read: list[str] = []
    original = streamed_variations.read_folder

    def counted(path, fingerprint=None):
        read.append(path.name)
        return original(path, fingerprint)

    monkeypatch.setattr(streamed_variations, "read_folder", counted)
    response = SystematicResponse(**{**QUICK, "ensemble": 2}).fit(streamed)
    assert sorted(read) == ["part_0", "part_0", "part_1", "part_1", "part_2", "part_2"]
    nominal = SampleSet((together(list(streamed.parts())).nominal[0],))
    in_memory = expected_response(response.table, nominal)
    at = response.terms.array({"shift": 1.0, "rate": -1.0})
    assert response.expected.log_yield(at).value == pytest.approx(in_memory.log_yield(at).value)


PEAK = """
import sys
from pathlib import Path
import milinfer as mil
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
folders, bound = sorted(Path(sys.argv[1]).iterdir()), int(sys.argv[2])
network = NetworkConfig((8,), "silu", batch_norm=False, dropout=0.0, l2=0.0)
response = mil.SystematicResponse(
    degree=1, network=network, training=TrainingConfig(1, 4096, 1e-3, schedule="cosine"))
def peak():  # that of getrusage includes the parent's
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
few = mil.ProcessVariations.load(folders[0]).split([0.05, 0.95], seed=1)[0]
# TensorFlow and Keras are in memory now; no training here has the 300 steps that XLA compiles.
mil.SystematicResponse(
    degree=1, network=network, training=TrainingConfig(1, 100, 1e-3, schedule="cosine")).fit(few)
del few
before = peak()
if bound:
    response.fit(mil.StreamedVariations.from_folders(folders, events_in_memory=bound))
else:
    whole = mil.ProcessVariations.concatenate([mil.ProcessVariations.load(f) for f in folders])
    response.fit(whole)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_memory_is_bounded(tmp_path):
    """300 000 nominal and varied events of 100 features (120 MB), 40 000 of them (16 MB) in memory.

    In memory the same training takes several times the data.
    """
    rng = np.random.default_rng(1)
    names = tuple(f"x{i}" for i in range(100))
    n, n_folders = 5000, 30
    for k in range(n_folders):
        nominal = Sample(rng.standard_normal((n, 100), dtype=np.float32), names, process="top")
        moved = Variation.of_features(nominal, {"scale": 1.0}, nominal.features + np.float32(0.1))
        ProcessVariations(nominal, (moved,)).save(tmp_path / f"{k:02d}")
    data = 2 * n * n_folders * 100 * 4
    command = [sys.executable, "-c", PEAK, str(tmp_path), "40000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown = int(done.stdout.split()[-1]) * 1024
    print(f"{grown / 1e6:.0f} MB more for {data / 1e6:.0f} MB of events")
    assert grown < 0.75 * data
