import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milinfer.io.event_record.cards import (
    CardSetting,
    parse_settings,
    plain_name,
    read_parameter_card,
    read_reweight_card,
)

# The parameter card of a MadGraph 3.5 file with SMEFTsim: a block that stands there twice, first
# with the placeholders of a restriction, and particles' numbers that are not parameters of it.
CARD = """\
<mgversion>
3.5.6
</mgversion>
<slha>
###################################
## INFORMATION FOR SMEFT
###################################
BLOCK SMEFT #
      4 5.000000e-01 # chbox
      7 8.000000e-01 # chw
BLOCK SMEFTCUTOFF #
      1 1.000000e+03 # lambdasmeft
BLOCK SMINPUTS #
      3 1.300000e-01 # as (note that parameter not used if you use a pdf set)
DECAY   6   1.5D+00 # wt
#  BR             NDA  ID1    ID2   ...
      1.000000e+00   2    5  24 # 1.5
BLOCK NMIX #
      1 2 -0.25 # rnn1x2
BLOCK QNUMBERS 9000008 #  h1
      1 0 # 3 times electric charge
BLOCK SMEFT #
      4 0.000000e+00 # chbox
      7 1.000000D-01 # chw
</slha>
<MGGenerationInfo>
#  Number of Events        :       10000
</MGGenerationInfo>
"""


def test_the_scale_of_a_block_keeps_its_block():
    """Regression: it was taken for a parameter called scale."""
    assert parse_settings("set param_card mb scale 100") == parse_settings("set MB scale 100")
    (setting, other) = parse_settings("set param_card mb scale 91.2\nset param_card smeft 7 0.5")
    assert (setting.block, setting.code, setting.name, setting.value) == ("MB", (), "scale", 91.2)
    assert (other.block, other.code) == ("SMEFT", (7,))


def test_parameter_card_of_madgraph():
    card = read_parameter_card(CARD)
    # the last of two blocks counts, as for MadGraph, whose weights say "orig: 0.0"
    assert card.entries["SMEFT", (7,)].value == pytest.approx(0.1)
    assert card.entries["SMEFT", (4,)].value == 0.0
    assert card.entries["NMIX", (1, 2)].value == -0.25
    assert card.entries["SMEFTCUTOFF", (1,)].name == "lambdasmeft"
    assert [e.place for e in card.by_name("c_HW")] == ["SMEFT 7"]
    assert not any(block == "DECAY" for block, _ in card.entries)
    assert [e.code for e in card.block("smeft")] == [(4,), (7,)]


@pytest.mark.parametrize("header", ["", "some text\n 7 0.5 # chw\n", "<slha>\n</slha>\n"])
def test_header_without_a_card(header):
    assert read_parameter_card(header).entries == {}


def test_description_of_several_lines():
    settings = parse_settings(
        "set param_card smeft 5 0.1 # orig: 0.0\nset param_card smeftcpv 8 -1d-1 # orig: 0.2\n"
    )
    assert settings == (
        CardSetting("SMEFT", (5,), "", 0.1, 0.0),
        CardSetting("SMEFTCPV", (8,), "", -0.1, 0.2),
    )
    # all in one line, as some programs copy them
    one_line = "set param_card smeft 5 0.1 # orig: 0.0 set param_card smeftcpv 8 -1d-1 # orig: 0.2"
    assert parse_settings(one_line) == settings


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("set sminputs 1 100.0 # orig: 132.507", ("SMINPUTS", (1,), "", 100.0)),
        ("set smeft 7 0.5", ("SMEFT", (7,), "", 0.5)),
        ("set cHW = 0.5", ("", (), "cHW", 0.5)),
        ("set param_card cHW 0.5", ("", (), "cHW", 0.5)),
        ("set dminputs gVXd  0.1", ("", (), "gVXd", 0.1)),
        ("set param_card nmix 1 2 0.3", ("NMIX", (1, 2), "", 0.3)),
    ],
)
def test_forms_of_set(text, setting):
    (parsed,) = parse_settings(text)
    assert (parsed.block, parsed.code, parsed.name, parsed.value) == setting


def test_settings_in_comments_are_none():
    """The card that MadGraph hands out ends with such comments; they were taken for settings."""
    text = "set cHB 1\n# set cHW 0.5\n#*     set aewm1 137\n#     set cHDD 1 # orig: 0.0\n"
    (setting,) = parse_settings(text)
    assert (setting.name, setting.value) == ("cHB", 1.0)
    (setting,) = parse_settings("set cHB 1 # instead of set cHW 0.5")
    assert (setting.name, setting.value) == ("cHB", 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "muR=2.0 muF=0.5",
        "set decay 35 Auto",
        "set run_card lhaid 247000",
        " change process  p p > h j NP=2 QED=1\nset dim6 8 0.005",
        "change model SMEFTsim",
        "PDF set = 247000",
    ],
)
def test_other_descriptions_are_no_settings(text):
    assert parse_settings(text) is None


def test_reweight_card():
    card = """\
change mode NLO
change rwgt_dir ./rwgt
launch --rwgt_name=cHW_m0p5
 set cHW -0.5
 set param_card smeft 8 0
# launch
launch
set SMEFT 7 1
launch --rewgt_name=typing_error
set decay 35 Auto
"""
    launches = read_reweight_card(card)
    assert [launch.id for launch in launches] == ["cHW_m0p5", "rwgt_1", "rwgt_2"]
    assert [len(launch.settings or ()) for launch in launches] == [2, 1, 0]
    assert launches[2].settings is None


@pytest.mark.parametrize("end", ["done", "0", " done  # next"])
def test_a_weight_may_be_ended(end):
    """Regression: the answer that ends a weight was taken for something that it changes."""
    launches = read_reweight_card(f"launch\nset cHW 0.5\n{end}\nlaunch\nset cHW 1\n{end}")
    assert [[s.value for s in launch.settings] for launch in launches] == [[0.5], [1.0]]


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 10**6))
def test_values_are_read_back(value, number):
    (setting,) = parse_settings(f"set param_card dim6 {number} {value!r} # orig: {value!r}")
    assert (setting.value, setting.original, setting.code) == (value, value, (number,))


@given(st.text(max_size=200))
def test_any_text_is_read_or_is_no_setting(text):
    settings = parse_settings(text)
    assert settings is None or all(not math.isnan(s.value) for s in settings)
    read_parameter_card(text)
    read_reweight_card(text)


def test_names_are_compared_without_case_and_underscores():
    assert plain_name("c_HW") == plain_name("cHW") == plain_name("chw")


@pytest.mark.parametrize("line", ["change model SMEFTsim", " change process p p > z"])
def test_a_change_of_the_model_is_of_the_weights_after_it(line):
    """Regression: it took the point of the weight before, or none at the top of the card."""
    launches = read_reweight_card(f"launch\nset cHW 0.5\n{line}\nlaunch --rwgt_name=b\nset cHW 1")
    assert [launch.settings is None for launch in launches] == [False, True]
    (launch,) = read_reweight_card(f"{line}\nlaunch\nset cHW 0.5")
    assert launch.settings is None
