"""Variations of events: what changes, what stays, and what is refused."""

import awkward as ak
import numpy as np
import pytest

import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.exceptions import FeatureError, SampleError
from milinfer.features.feature_set import feature_set
from milinfer.features.variations import require_one_meaning, varied_table, varied_weights
from milinfer.io.event_record.record import EventColumns, flatten_events

RECORD, _ = vbf_hww.generate(40, {"c_HW": 0.0}, seed=1).to_events(vbf_hww.DEFAULT_WEIGHTS)
COLUMNS = EventColumns(*flatten_events(RECORD))
FEATURES = feature_set("vbf_2l2j")


def table(variation, features=FEATURES, first_event=0):
    return varied_table(
        variation, COLUMNS, features, on_missing="raise", source="a.lhe", first_event=first_event
    )[0]


def test_scaled_jets_and_missing_momentum():
    nominal = FEATURES.from_lhe(RECORD).columns
    up = table(mil.ScaleVariation({"jes": 1.0}, 1.1, objects="jets")).columns
    for name in ("q0_pt", "q1_pt", "q0_e", "m_qq", "pt_qq"):
        np.testing.assert_allclose(up[name], 1.1 * nominal[name], rtol=1e-5, err_msg=name)
    for name in ("l0_pt", "m_ll", "q0_eta", "d_phi_qq", "l0_id_e-"):
        np.testing.assert_array_equal(up[name], nominal[name], err_msg=name)

    def vectors(columns, key, pt):
        phi = columns[f"{key}_phi"]
        return np.stack([columns[pt] * np.cos(phi), columns[pt] * np.sin(phi)])

    # What the jets gain, the missing momentum loses.
    jets = sum(vectors(nominal, key, f"{key}_pt") for key in ("q0", "q1"))
    expected = vectors(nominal, "met", "met_et") - 0.1 * jets
    np.testing.assert_allclose(vectors(up, "met", "met_et"), expected, rtol=1e-4, atol=1e-3)
    # The decay products of the W are scaled, the W, which is not a final state, is not.
    chosen = mil.ScaleVariation({"s": 1.0}, 2.0, objects=[24])
    assert chosen.columns(COLUMNS, FEATURES)[1] == 0
    leptons = table(mil.ScaleVariation({"les": 1.0}, 1.005, objects="leptons")).columns
    np.testing.assert_allclose(leptons["m_ll"], 1.005 * nominal["m_ll"], rtol=1e-5)


def test_a_function_is_any_change():
    def scaled(events):
        parts = events.LHEPart
        jets = (parts.status == 1) & (abs(parts.pdgId) <= 5)
        for name in ("px", "py", "pz", "energy", "mass"):
            parts = ak.with_field(parts, ak.where(jets, 1.1 * parts[name], parts[name]), name)
        return ak.with_field(events, parts, "LHEPart")

    by_hand = table(mil.FunctionVariation({"jes": 1.0}, scaled)).array
    scale = table(mil.ScaleVariation({"jes": 1.0}, 1.1)).array
    np.testing.assert_allclose(by_hand, scale, rtol=1e-6)
    numbers = []
    table(mil.FunctionVariation({"jer": 1.0}, lambda e: numbers.append(e.event) or e), FEATURES, 50)
    assert numbers[0].tolist() == list(range(50, 90))


def test_weights_by_name_position_and_function():
    names = list(COLUMNS.weights)

    def weights(weight):
        return varied_weights(mil.WeightVariation({"t": 1.0}, weight), COLUMNS, "a.lhe", 0)

    np.testing.assert_array_equal(weights(names[2]), COLUMNS.weights[names[2]])
    np.testing.assert_array_equal(weights(2), COLUMNS.weights[names[2]])
    factor = weights(lambda events: 1 + events.LHEPart.pt[:, -1] / 1000)
    pt = ak.to_numpy(RECORD.LHEPart.pt[:, -1])
    np.testing.assert_allclose(factor, COLUMNS.event["genWeight"] * (1 + pt / 1000))
    for wrong, message in (
        ("c_HW_p", "there is no weight 'c_HW_p'; there are .*did you mean"),
        (99, "there is no weight 99, counted from 0"),
        (lambda events: events.genWeight[:-1], "returns 39 factors for 40 events"),
        (lambda events: np.where(events.event == 3, np.nan, 1.0), r"event 3 .* is nan"),
    ):
        with pytest.raises(SampleError, match=f"variation t=1 of a.lhe: .*{message}"):
            weights(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[:-1], "returns 39 of 40 events"),
        (lambda e: e[::-1], "changes event of event 0"),
        (lambda e: ak.with_field(e, 2 * e.genWeight, "genWeight"), "with WeightVariation"),
        (lambda e: e[["LHEPart", "event"]], "returns events without genWeight"),
        (lambda _: None, "returns a NoneType"),
    ],
)
def test_other_events_are_refused(change, message):
    with pytest.raises(SampleError, match=f"variation jer=1 of a.lhe: .*{message}"):
        table(mil.FunctionVariation({"jer": 1.0}, change))


def test_a_lost_feature_names_file_event_and_variation():
    up = mil.ScaleVariation({"jes": 1.0}, 1.1)
    pt = table(up).columns["q0_pt"]
    limit = 0.9999 * pt.max()
    broken = FEATURES.with_columns(bad=lambda o: np.where(o.get("q0", "pt") > limit, np.nan, 1.0))
    event = 7 + int(np.argmax(pt))
    message = rf"variation jes=1 of a.lhe: the feature 'bad' is nan in event {event} \(counted"
    with pytest.raises(FeatureError, match=message):
        table(up, broken, 7)


def test_bad_variations():
    for make, message in (
        (lambda: mil.ScaleVariation({}, 1.1), "no nuisance parameter is shifted"),
        (lambda: mil.ScaleVariation({"jes": 0.0}, 1.1), "no nuisance parameter is shifted"),
        (lambda: mil.ScaleVariation({"jes": np.inf}, 1.1), "give a finite shift"),
        (lambda: mil.ScaleVariation({"j-s": 1.0}, 1.1), "cannot name a nuisance parameter"),
        (lambda: mil.ScaleVariation("jes", 1.1), "are not shifts"),
        (lambda: mil.ScaleVariation({"jes": 1.0}, 1.0), "must be positive"),
        (lambda: mil.ScaleVariation({"jes": 1.0}, -1.0), "must be positive"),
        (lambda: mil.up_and_down(mil.ScaleVariation, "jes", 1.1, None), "down variation is None"),
        (lambda: mil.up_and_down(mil.ScaleVariation, "jes", 1.1, 1.1), "both 1.1"),
        (
            lambda: mil.ScaleVariation({"jes": 1.0}, 1.1, "jet").pdg_ids(FEATURES),
            "no objects 'jet' to scale; .*did you mean jets",
        ),
        (
            lambda: require_one_meaning(
                [mil.ScaleVariation({"t": 1.0}, 1.1), mil.WeightVariation({"t": -1.0}, "a")]
            ),
            "t is a scale of jets and a weight",
        ),
    ):
        with pytest.raises(SampleError, match=message):
            make()


@pytest.mark.parametrize("factor", ["1.03", None, [1.03], True, 10**400, float("nan"), 0, 1])
def test_factors_that_scale_nothing(factor):
    with pytest.raises(SampleError, match=r"jes=1: the factor .* must be positive"):
        mil.ScaleVariation({"jes": 1.0}, factor)


@pytest.mark.parametrize("objects", [None, 5, ["jets"], [1.5], ("a",)])
def test_objects_that_are_none(objects):
    """Regression: 1.5 was the particle 1, and the others were errors of Python."""
    with pytest.raises(SampleError, match=r"jes=1: objects=.* is neither a name such as 'jets'"):
        mil.ScaleVariation({"jes": 1.0}, 1.03, objects=objects)


@pytest.mark.parametrize("function", [None, "x", 3])
def test_functions_that_are_none(function):
    with pytest.raises(SampleError, match=r"jer=1: .* is not a function"):
        mil.FunctionVariation({"jer": 1.0}, function)


def test_true_is_no_number_of_a_weight():
    with pytest.raises(SampleError, match="there is no weight True"):
        mil.WeightVariation({"muR": 1.0}, True).named(["a", "b"])


@pytest.mark.parametrize(
    ("variations", "message"),
    [
        (None, r"has a NoneType, .*\[variation, \.\.\.\]"),
        ([1], "has a int, which is not a variation"),
        ("x", "has a str, which is not a variation"),
        ([mil.up_and_down(mil.ScaleVariation, "jes", 1.03, 0.97)], r"has a tuple, .*\[\*up_and"),
    ],
)
def test_what_is_no_variation(variations, message):
    with pytest.raises(SampleError, match=message):
        mil.ProcessVariations.from_file("a.lhe", variations=variations)
