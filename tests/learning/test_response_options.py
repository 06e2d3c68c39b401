"""Options, files, exports and errors of learned responses."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest

import milinfer as mil
from milinfer.exceptions import ConfigurationError, MilinferWarning, ModelError, SampleError
from milinfer.learning.networks.configs import TrainingConfig
from milinfer.learning.systematic_response import SystematicResponse
from milinfer.samples.sample import Sample
from milinfer.samples.variation import Variation
from milinfer.samples.variations import ProcessVariations
from varied_gaussian import NUISANCES, SMALL, relative_error, variations


@pytest.fixture(scope="module")
def response() -> SystematicResponse:
    """Trained on few events, for what does not depend on how good it is."""
    return SystematicResponse(**SMALL).fit(variations(4000, 1))


def test_nothing_happens_at_zero(response):
    sample = Sample(np.linspace(-3, 3, 7)[:, None], ("x",))
    table = response.table(sample)
    assert not table.log_response(np.zeros(3)).any()
    assert table.columns.shape == (7, 6)
    assert table.columns.dtype == np.float32
    assert response.nuisances == NUISANCES
    assert response.fitted.n_events["background"] == 4000


def test_settings_and_self_do_not_change(response):
    untrained = SystematicResponse(**SMALL)
    assert untrained.fit(variations(4000, 1)).digest == response.digest
    assert untrained._fitted is None
    with pytest.raises(ModelError, match=r"not trained; call \.fit\(variations\)"):
        _ = untrained.terms


def test_files_give_the_same_response(response, tmp_path):
    response.save(tmp_path / "response")
    loaded = SystematicResponse.load(tmp_path / "response")
    copied = pickle.loads(pickle.dumps(response))
    sample = Sample(np.linspace(-3, 3, 7)[:, None], ("x",))
    for other in (loaded, copied):
        assert other.digest == response.digest
        assert np.array_equal(other.event_columns(sample), response.event_columns(sample))
        assert other.trained_on == response.trained_on
        assert other.terms.names == response.terms.names
        at = response.terms.array({"shift": 1.5})
        assert other.expected.log_yield(at).value == response.expected.log_yield(at).value
    assert repr(loaded) == repr(response)
    assert loaded.network == SMALL["network"]


def test_files_that_were_changed_are_refused(response, tmp_path):
    path = tmp_path / "response"
    response.save(path)
    content = json.loads((path / "model.json").read_text())
    for change, message in (
        ({"digest": "0"}, "was changed after it was saved"),
        ({"network": content["network"] | {"hidden": [10**9]}}, "do not belong to a network of"),
        ({"limits": None}, "not a complete model"),
        ({"format": "response-0"}, "has model format response-0"),
    ):
        (path / "model.json").write_text(json.dumps(content | change))
        with pytest.raises(ModelError, match=message):
            SystematicResponse.load(path)
    (path / "arrays.npz").write_bytes(b"")
    (path / "model.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"arrays\.npz differs"):
        SystematicResponse.load(path)


def test_onnx_gives_the_same_columns(response, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    response.export_onnx(tmp_path / "response.onnx")
    session = runtime.InferenceSession(tmp_path / "response.onnx")
    x = np.linspace(-3, 3, 7, dtype=np.float32)[:, None]
    (columns,) = session.run(None, {"features": x})
    assert columns == pytest.approx(response.event_columns(Sample(x, ("x",))), abs=1e-5)


def test_a_network_for_each_nuisance_and_one_for_those_with_cross_terms():
    process = variations(6000, 4, together=True)
    options = SMALL | {"joint": False, "cross_terms": [("shift", "width")], "ensemble": 2}
    reports: list[mil.learning.EpochReport] = []
    response = SystematicResponse(**options).fit(process, on_epoch=reports.append)
    assert response.terms.names[-1] == "shift*width"
    members = response.fitted.members
    assert [[len(part.places) for part in member] for member in members] == [[5, 2], [5, 2]]
    assert len(response.fitted.history) == 4
    assert {(r.member, r.n_members) for r in reports} == {(k, 4) for k in range(4)}
    assert relative_error(response, theory=1.0) < 0.2
    assert relative_error(response, shift=1.0) < 0.3
    apart = dataclasses.replace(SystematicResponse(**SMALL), joint=False)
    with pytest.raises(SampleError, match="shifts nuisance parameters of two networks"):
        apart.fit(process)


def test_boosted_trees(tmp_path):
    pytest.importorskip("xgboost")
    process = variations(20_000, 6).restricted(["shift", "theory"])
    response = SystematicResponse(classifier="trees", seed=1).fit(process)
    assert relative_error(response, shift=1.0) < 0.3
    assert relative_error(response, theory=1.0) < 0.5
    response.save(tmp_path / "trees")
    loaded = SystematicResponse.load(tmp_path / "trees")
    sample = Sample(np.linspace(-3, 3, 7)[:, None], ("x",))
    assert loaded.digest == response.digest
    assert np.array_equal(loaded.event_columns(sample), response.event_columns(sample))
    with pytest.raises(ModelError, match="boosted trees cannot be exported"):
        response.export_onnx(tmp_path / "trees.onnx")


def test_validation_events_are_of_the_same_variations(response):
    process, other = variations(3200, 1), variations(2000, 2)
    validated = SystematicResponse(**SMALL).fit(process, other)
    assert len(validated.trained_on) == 2 * len(response.trained_on)
    with pytest.raises(SampleError, match=r"in one of them only: shift=-1; shift=1"):
        SystematicResponse(**SMALL).fit(process, other.restricted(["width", "theory"]))
    with pytest.raises(SampleError, match=r"takes ProcessVariations as variations, not a Sample"):
        SystematicResponse().fit(process.nominal[0])


def test_other_features_are_refused(response):
    with pytest.raises(SampleError, match="has no features x, which the model was trained on"):
        response.table(Sample(np.zeros((2, 1)), ("y",)))


def test_a_wrong_mean_is_a_warning():
    """A network of two events in a batch and no epochs to learn in: the means are off."""
    z = np.random.default_rng(1).normal(size=(20_000, 1))
    nominal = Sample(z, ("x",))
    x = nominal.column("x").astype(np.float64)
    process = ProcessVariations(
        nominal,
        tuple(
            Variation.of_weights(nominal, {"theory": s}, np.exp(np.abs(s) * np.sin(4 * x)))
            for s in (-1.0, 1.0)
        ),
    )
    options = SMALL | {"training": TrainingConfig(1, 8000, 1e-5, 1e-6, schedule="cosine")}
    # |s| sin 4x is even in s: a polynomial of degree one in s cannot describe it.
    with pytest.warns(MilinferWarning, match=r"signal at theory=-?1: the mean of the response is"):
        SystematicResponse(degree=1, **options).fit(process)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"classifier": "tree"},
            "classifier='tree' is not one of 'network', 'trees'; did you mean",
        ),
        ({"interpolation": "code5"}, "interpolation='code5' is not one of"),
        ({"ensemble": 0}, "ensemble must be at least 1, but it is 0"),
        ({"validation_fraction": 1.0}, "validation_fraction=1 must be between 0 and 1"),
        ({"limit": 0.0}, "limit=0 must be positive"),
        ({"classifier": "trees", "training": TrainingConfig()}, "takes no network= and training="),
        ({"trees": mil.learning.BoostedSettings()}, "needs classifier='trees'"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        SystematicResponse(**options)


def test_names_of_other_nuisance_parameters_are_refused():
    process = variations(100, 1)
    with pytest.raises(ConfigurationError, match="degree= names 'shfit', but no variation of"):
        SystematicResponse(degree={"shfit": 1}).fit(process)
    with pytest.raises(ConfigurationError, match="cross_terms= names 'jes', but no variation"):
        SystematicResponse(cross_terms=[("shift", "jes")]).fit(process)
