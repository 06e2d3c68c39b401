from pathlib import Path

import pytest

from milinfer.exceptions import ParameterError
from milinfer.io.event_record.info import LHEInfo, LHEWeight
from milinfer.samples.file_points import file_points, id_value, moved_parameters

CARD = "<slha>\nBLOCK SMEFT #\n 5 0.0 # chdd\n 7 {} # chw\n 8 0.0 # chb\n</slha>\n"
HW, HB = "set param_card smeft 7 {} # orig: {}\n", "set param_card smeft 8 {} # orig: 0.0\n"


def info_of(weights, header=None, group="mg_reweighting"):
    header = CARD.format("0.0") if header is None else header
    return LHEInfo((), header=header, weights=tuple(LHEWeight(i, d, group) for i, d in weights))


def points_of(info, **options):
    return file_points(info, [w.id for w in info.weights], **options)


TWO = [
    ("SM", ""),
    ("cHW_m1", HW.format(-1.0, 0.0)),
    ("rwgt_2", HW.format(0.5, 0.0) + HB.format(1.0)),
    ("rwgt_3", "set param_card smeft 5 1 # orig: 0.0"),
]


def test_points_from_descriptions_and_card():
    points = points_of(info_of(TWO), parameters={"c_HW": "SMEFT 7", "c_HB": "smeft 8"})
    assert points.point == {"c_HW": 0.0, "c_HB": 0.0}
    assert points.reweight_points == {
        "SM": {"c_HW": 0.0, "c_HB": 0.0},
        "cHW_m1": {"c_HW": -1.0, "c_HB": 0.0},
        "rwgt_2": {"c_HW": 0.5, "c_HB": 1.0},
    }
    assert points.without_point == {"rwgt_3": "it also changes SMEFT 5 (chdd)"}


def test_a_weight_that_changes_another_operator_is_not_at_a_point_of_this_one():
    points = points_of(info_of(TWO), parameters=["c_HW"])
    assert set(points.reweight_points) == {"SM", "cHW_m1"}
    assert points.without_point["rwgt_2"] == "it also changes SMEFT 8 (chb)"


def test_absent_operators_stand_at_the_value_of_the_card():
    """The sample was made at c_HW = 0.3, so that the weight of cHB = 1 is there too."""
    info = info_of([("rwgt_1", HB.format(1.0)), ("rwgt_2", "")], CARD.format("3.0e-1"))
    points = points_of(info, parameters=["c_HW", "c_HB"])
    assert points.point == {"c_HW": 0.3, "c_HB": 0.0}
    assert points.reweight_points == {
        "rwgt_1": {"c_HW": 0.3, "c_HB": 1.0},
        "rwgt_2": {"c_HW": 0.3, "c_HB": 0.0},
    }


def test_point_of_the_sample_without_a_card_from_the_original_values():
    info = info_of([("rwgt_1", HW.format(1.0, 0.25))], header="")
    assert points_of(info, parameters={"c_HW": "SMEFT 7"}).point == {"c_HW": 0.25}


@pytest.mark.parametrize(
    ("identity", "point"),
    [
        ("cHW_m0p5", {"cHW": -0.5, "cHB": 0.0}),
        ("cHB_0p1_cHW_0p2", {"cHW": 0.2, "cHB": 0.1}),
        ("EFTrwgt12_cHW_1.0_cHB_-2.0", {"cHW": 1.0, "cHB": -2.0}),
        ("EFT__cHW_2__cHB_m0p25", {"cHW": 2.0, "cHB": -0.25}),
        ("scan_cHW_1p0", {"cHW": 1.0, "cHB": 0.0}),
        ("cHW_0p_cHB_1p", {"cHW": 0.0, "cHB": 1.0}),
        ("cHW=0.5,cHB=-1", {"cHW": 0.5, "cHB": -1.0}),
        ("chw_3", {"cHW": 3.0, "cHB": 0.0}),
        ("SM", {"cHW": 0.0, "cHB": 0.0}),
        ("EFT__SM", {"cHW": 0.0, "cHB": 0.0}),
        ("cHW_1_cHDD_0", {"cHW": 1.0, "cHB": 0.0}),
    ],
)
def test_forms_of_ids(identity, point):
    info = LHEInfo((), weights=(LHEWeight(identity),))
    points = points_of(info, point={"cHW": 0.0, "cHB": 0.0})
    assert points.reweight_points == {identity: point}


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ("rwgt_7", "neither its description nor its id"),
        ("1001", "neither"),
        ("cHW", "neither"),  # +1 for some, but nobody says so
        ("Zggh3am4em4h4am5em7", "neither"),
        ("MUR0.5_MUF2.0_PDF11000", "neither"),
        ("cHW_1_cHDD_0p5", "it also changes cHDD"),
        ("cHW_1_cHW_2", "neither"),
        ("ft1_m0p02", "it also changes ft1"),
    ],
)
def test_ids_that_give_no_point(identity, reason):
    points = points_of(LHEInfo((), weights=(LHEWeight(identity),)), point={"cHW": 0.0})
    assert points.reweight_points == {}
    assert points.without_point[identity].startswith(reason)


# Descriptions in files of MadGraph 2.6 and 3.3 to 3.5, MadGraph5_aMC@NLO and POWHEG-BOX V2.
OF_SCALES = [
    "lhapdf=260000",
    "lhapdf=306000 renscfact=1d0 facscfact=1d0",
    "renscfact=2.0 facscfact=0.5",
    "MUR=0.5 MUF=0.5",
    "MUR=0.5 MUF=0.5 dyn_scale_choice=sum pt",
    "MUF=2.0 dyn_scale_choice=HT/2",
    "PDF=325300 MemberID=12",
    "MUR=1.0 MUF=1.0 PDF=325500",
    "tag=              0 dyn=  -1 muR=0.10000E+01 muF=0.10000E+01",
    "muR=0.5",
    "alpsfact=0.5",
]


@pytest.mark.parametrize("description", OF_SCALES)
def test_weights_of_scales_and_densities_are_called_so(description):
    """Regression: `it also changes lhapdf`, as if it were an operator."""
    points = points_of(
        info_of([("1001", description), ("rwgt_1", HW.format(0.5, 0.0))]), parameters=["chw"]
    )
    assert points.without_point == {"1001": "a weight of scales or parton densities"}
    assert points.reweight_points == {"rwgt_1": {"chw": 0.5}}


def test_a_parameter_of_the_user_may_be_called_scale():
    points = points_of(info_of([("a", "scale=0.5")]), point={"scale": 0.0})
    assert points.reweight_points == {"a": {"scale": 0.5}}
    points = points_of(info_of([("a", "muR=0.5, cHW=1")]), parameters=["cHW"])
    assert points.without_point == {"a": "it also changes muR"}


def test_the_scale_of_a_block_is_no_point():
    points = points_of(info_of([("a", "set param_card mb scale 100")]), parameters=["chw"])
    assert points.without_point == {"a": "it also changes MB scale"}


def test_names_of_parameters_with_digits_and_underscores():
    info = LHEInfo((), weights=(LHEWeight("c_1_0p5"), LHEWeight("cqq11_1"), LHEWeight("cqq1_1")))
    names = {"c_1": 0.0, "cqq1": 0.0, "cqq11": 0.0}
    points = points_of(info, point=names).reweight_points
    assert points["c_1_0p5"] == names | {"c_1": 0.5}
    assert points["cqq11_1"] == names | {"cqq11": 1.0}
    assert points["cqq1_1"] == names | {"cqq1": 1.0}


def test_a_description_counts_more_than_an_id():
    """Ids round (cb_m87 is -87.5), and count (cHW_1, cHW_2); MadGraph's own text does not."""
    info = info_of([("cHW_m87", HW.format(-87.5, 0.0)), ("cHW_2", HW.format(0.5, 0.0))])
    points = points_of(info, point={"cHW": 0.0}).reweight_points
    assert points == {"cHW_m87": {"cHW": -87.5}, "cHW_2": {"cHW": 0.5}}


def test_an_id_that_an_empty_description_contradicts_gives_no_point():
    """MadGraph ignores `set cHB 0.1` if the model has no cHB: the weight is that of the card."""
    info = info_of([("cHW_1", HW.format(1.0, 0.0)), ("cHB_0p1", ""), ("SM", "")], header="")
    points = points_of(info, point={"cHW": 0.0, "cHB": 0.0})
    assert "by its description no parameter differs" in points.without_point["cHB_0p1"]
    assert points.reweight_points["SM"] == {"cHW": 0.0, "cHB": 0.0}


def test_the_place_of_a_name_from_weights_that_agree():
    info = info_of([("cHW_m1p0", HW.format(-1.0, 0.0)), ("rwgt_5", HW.format(2.0, 0.0))], header="")
    points = points_of(info, parameters=["cHW"])
    assert points.point == {"cHW": 0.0}
    assert points.reweight_points["rwgt_5"] == {"cHW": 2.0}
    # and so the wrong point of a user is found out
    with pytest.raises(ParameterError, match="is at cHW=0, but point= is cHW=1"):
        points_of(info, point={"cHW": 1.0})


def test_points_of_the_user():
    ids = ["a", "b", "c"]
    info = LHEInfo((), weights=tuple(LHEWeight(i, "", "scan") for i in ids))
    options = {"point": {"c_HW": 0.0}}
    by_id = {"a": {"c_HW": 1.0}, "c": "cHW=-1"}
    assert points_of(info, reweight_points=by_id, **options).reweight_points == {
        "a": {"c_HW": 1.0},
        "c": {"c_HW": -1.0},
    }
    listed = [{"c_HW": v} for v in (1.0, 2.0, 3.0)]
    in_order = dict(zip(ids, listed, strict=True))
    assert points_of(info, reweight_points=listed, **options).reweight_points == in_order
    group = {"scan": listed}
    assert points_of(info, reweight_points=group, **options).reweight_points == in_order


def test_blanks_around_an_id_do_not_matter():
    info = LHEInfo((), weights=(LHEWeight("  a "),))
    points = points_of(info, point={"c_HW": 0.0}, reweight_points={"a": {"c_HW": 1.0}})
    assert points.reweight_points == {"  a ": {"c_HW": 1.0}}


@pytest.mark.parametrize(
    ("reweight_points", "message"),
    [
        ({"x": {"c_HW": 1.0}}, "reweight_points names 'x', but its weights are 'a', 'b'"),
        ([{"c_HW": 1.0}], "lists 1 points, but the file has 2 weights"),
        ({"a": {"c_HB": 1.0}}, "weight 'a' at c_HB=1, but the parameters are c_HW"),
        ({"group": [{"c_HW": 1.0}]}, "lists 1 points, but the group 'group' has 0 weights"),
    ],
)
def test_wrong_points_of_the_user(reweight_points, message):
    info = LHEInfo((), weights=(LHEWeight("a"), LHEWeight("b")))
    with pytest.raises(ParameterError, match=message):
        points_of(info, point={"c_HW": 0.0}, reweight_points=reweight_points)


def test_a_reweight_card_in_a_file(tmp_path: Path):
    """MadGraph does not copy the card into the header, and NanoAOD has no ids."""
    card = tmp_path / "reweight_card.dat"
    card.write_text("launch --rwgt_name=up\n set cHW 0.5\nlaunch --rwgt_name=down\n set cHW -0.5\n")
    named = LHEInfo((), weights=(LHEWeight("down"), LHEWeight("up"), LHEWeight("1001")))
    points = points_of(named, point={"c_HW": 0.0}, reweight_points=card)
    assert points.reweight_points == {"up": {"c_HW": 0.5}, "down": {"c_HW": -0.5}}
    nano = LHEInfo((), weights=tuple(LHEWeight(f"R[{k}]", "", "R") for k in range(2)))
    points = points_of(nano, point={"c_HW": 0.0}, reweight_points=card)
    assert points.reweight_points == {"R[0]": {"c_HW": 0.5}, "R[1]": {"c_HW": -0.5}}
    three = LHEInfo((), weights=tuple(LHEWeight(f"R[{k}]", "", "R") for k in range(3)))
    with pytest.raises(ParameterError, match=r"has 2 weights \(up, down\), but the file has 3"):
        points_of(three, point={"c_HW": 0.0}, reweight_points=card)
    with pytest.raises(ParameterError, match="cannot read the reweight card"):
        points_of(named, point={"c_HW": 0.0}, reweight_points=tmp_path / "nothing.dat")


def test_wrong_parameters():
    with pytest.raises(ParameterError, match=r"c_HW is 'SMEFT 9', .* the block has SMEFT 5 \(chdd"):
        points_of(info_of(TWO), parameters={"c_HW": "SMEFT 9"})
    with pytest.raises(ParameterError, match="its blocks are SMEFT"):
        points_of(info_of(TWO), parameters={"c_HW": "DIM6 9"})
    twice = info_of([], "<slha>\nBlock A\n 1 0 # cHW\nBlock B\n 2 0 # chw\n</slha>")
    with pytest.raises(ParameterError, match=r"has cHW at A 1, B 2; choose one"):
        points_of(twice, parameters=["cHW"])
    with pytest.raises(ParameterError, match="must be names, or the place"):
        points_of(info_of(TWO), parameters={"c_HW": 7})
    with pytest.raises(ParameterError, match="give the same parameters in both"):
        points_of(info_of(TWO), parameters=["c_HW"], point={"c_HB": 0.0})
    with pytest.raises(ParameterError, match="is at c_HW=0, but point= is c_HW=1"):
        points_of(info_of(TWO), point={"c_HW": 1.0})
    with pytest.raises(ParameterError, match="the parameters are not known"):
        points_of(info_of(TWO), reweight_points={"SM": {"c_HW": 0.0}})


def test_a_name_that_is_nowhere():
    with pytest.raises(ParameterError, match=r"weights have c_HWW; did you mean chw\? Give"):
        points_of(info_of(TWO), parameters=["c_HWW"])


def test_a_process_without_parameters_has_no_points():
    points = points_of(info_of(TWO), point={})
    assert points == ({}, {}, {})


def test_points_of_milinfer_are_kept():
    info = LHEInfo((), weights=(LHEWeight("a", "c_HW=-1"),), process="vbf", point={"c_HW": 0.5})
    assert points_of(info) == ({"c_HW": 0.5}, {"a": {"c_HW": -1.0}}, {})


def test_what_the_weights_change():
    assert list(moved_parameters(info_of(TWO))) == ["SMEFT 7", "SMEFT 8", "SMEFT 5"]


@pytest.mark.parametrize(("text", "value"), [("m1em3", -1e-3), ("minus2", -2.0), ("1.5e+2", 150.0)])
def test_values_in_ids(text, value):
    assert id_value(text) == pytest.approx(value)


NANO = [(f"LHEReweightingWeight[{i}]", "LHEReweightingWeight") for i in range(3)]
PDF = [(f"LHEPdfWeight[{i}]", "LHEPdfWeight") for i in range(2)]


def nano_info(weights):
    return LHEInfo((), weights=tuple(LHEWeight(i, "", branch) for i, branch in weights))


def test_weights_of_parton_densities_get_no_points_of_a_list():
    """Regression: two of five points were given to them where two weights of a file lacked."""
    info, five = nano_info(NANO + PDF), [f"c_HW={k}" for k in range(5)]
    with pytest.raises(ParameterError, match=r"lists 5 points, but the file has 3 weights"):
        points_of(info, parameters=["c_HW"], reweight_points=five)
    points = points_of(info, parameters=["c_HW"], reweight_points=five[:3]).reweight_points
    assert points == {name: {"c_HW": float(k)} for k, (name, _) in enumerate(NANO)}
    scales = info_of([("a", ""), ("b", "muR=2.0 muF=1.0")], group="")
    with pytest.raises(ParameterError, match=r"lists 2 points, but the file has 1 weights \(a\)"):
        points_of(scales, parameters=["c_HW"], reweight_points=["c_HW=1", "c_HW=2"])


def card_of(tmp_path, text):
    path = tmp_path / "reweight_card.dat"
    path.write_text(text, encoding="utf-8")
    return path


def test_weights_of_parton_densities_get_no_points_of_a_card(tmp_path):
    card = card_of(tmp_path, "launch\nset chw 0.5\nlaunch\nset chw 1\n")
    with pytest.raises(ParameterError, match=r"has 2 weights .* the file has 2 .*this sample"):
        points_of(nano_info(PDF), parameters={"c_HW": "chw"}, reweight_points=card)


def test_a_name_twice_in_a_card_is_refused(tmp_path):
    """Regression: the weight was at the point of the last one."""
    card = card_of(tmp_path, "launch --rwgt_name=a\nset chw 0.5\nlaunch --rwgt_name=a\nset chw 1\n")
    with pytest.raises(ParameterError, match=r"reweight_card\.dat has two weights 'a'; give each"):
        points_of(info_of([("a", "")]), parameters=["c_HW"], reweight_points=card)


def test_a_card_that_begins_with_a_byte_order_mark(tmp_path):
    """Regression: it had no weights."""
    card = card_of(tmp_path, "\ufefflaunch --rwgt_name=a\nset chw 0.5\n")
    points = points_of(info_of([("a", "")]), parameters={"c_HW": "chw"}, reweight_points=card)
    assert points.reweight_points == {"a": {"c_HW": 0.5}}


@pytest.mark.parametrize("line", ["set run_card ebeam1 7000", "change process p p > t t~"])
def test_a_weight_that_changes_more_than_parameters_is_named_with_its_line(line, tmp_path):
    """Regression: the reason was that neither the description nor the id gives a point."""
    named = info_of([("rwgt_1", f"{HW.format(0.5, 0.0)}{line}"), ("rwgt_2", HW.format(1.0, 0.0))])
    reason = f"its line {line!r} sets no parameter"
    assert points_of(named, parameters=["chw"]).without_point == {"rwgt_1": reason}
    # A change of the process stands before the weights for which it is made.
    weight = (
        f"{line}\nlaunch --rwgt_name=b" if "process" in line else f"launch --rwgt_name=b\n{line}"
    )
    card = f"launch --rwgt_name=a\n set SMEFT 7 0.5\n{weight}\n"
    header = f"{CARD.format('0.0')}<mgreweightcard>\n{card}\n</mgreweightcard>"
    in_file = points_of(info_of([("a", ""), ("b", "")], header), parameters=["chw"])
    beside = points_of(
        info_of([("a", ""), ("b", "")]),
        parameters=["chw"],
        reweight_points=card_of(tmp_path, card),
    )
    for points in (in_file, beside):
        assert points.reweight_points["a"] == {"chw": 0.5}
        assert points.without_point == {"b": reason}


def test_a_card_beside_the_file_changes_no_weight_that_it_does_not_have(tmp_path):
    """Regression: with such a card, that in the header counted more than the descriptions."""
    in_header = "launch --rwgt_name=a\nset SMEFT 7 0.5"
    header = f"{CARD.format('0.0')}<mgreweightcard>\n{in_header}\n</mgreweightcard>"
    points = points_of(
        info_of([("a", HW.format(0.7, 0.0)), ("b", "")], header),
        parameters=["chw"],
        reweight_points=card_of(tmp_path, "launch --rwgt_name=b\nset SMEFT 7 1\n"),
    )
    assert points.reweight_points == {"a": {"chw": 0.7}, "b": {"chw": 1.0}}
