"""Parameter points as text."""

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milinfer.exceptions import ParameterError
from milinfer.utils.points import format_point, parse_point, point_id

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name)
)
values = st.floats(-1e6, 1e6).map(lambda x: float(f"{x:.12g}"))


@given(st.dictionaries(names, values, min_size=1, max_size=4))
def test_text_and_back(point):
    assert parse_point(format_point(point)) == point
    assert list(parse_point(format_point(point))) == list(point)


@pytest.mark.parametrize(
    "text", ["", "c_HW", "c_HW=", "=1", "1c=2", "c=a", "c=nan", "c=inf", "a=1,", "a=1;b=2", "a=1=2"]
)
def test_what_is_no_point(text):
    with pytest.raises(ParameterError, match="is not a parameter point"):
        parse_point(text)


def test_a_parameter_twice():
    with pytest.raises(ParameterError, match="gives 'a' twice"):
        parse_point("a=1,a=2")


@given(st.dictionaries(names, values, min_size=1, max_size=3))
def test_ids_are_plain(point):
    assert point_id(point).replace("_", "a").isalnum()


def test_ids():
    assert point_id({"c_HW": -0.5, "c_W": 1}) == "c_HW_m0p5_c_W_1"
    assert point_id({"c": 1e-7}) == "c_1em07"
    assert point_id({"c": 1e20}) == "c_1e20"
