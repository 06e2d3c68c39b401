"""Colours that colour-blind readers tell apart, lines and markers that need no colour, units."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from milinfer.features.feature_set import feature_set
from milinfer.plotting.style import (
    LINES,
    MARKERS,
    PALETTE,
    method_styles,
    method_title,
    observable_label,
    observable_unit,
    parameter_label,
)

# Machado, Oliveira and Fernandes, IEEE Trans. Vis. Comput. Graph. 15, 1291 (2009), severity 1.0.
SIGHT = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
# CIELAB 1976; a difference of 2 is just seen side by side, thin lines need several times that.
BOUND = 15.0


def lab(colour, sight):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(SIGHT[sight] @ linear, 0, 1) / WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def closest(palette, sight):
    return min(
        float(np.linalg.norm(lab(a, sight) - lab(b, sight))) for a, b in combinations(palette, 2)
    )


def test_the_distance_is_that_of_cielab():
    np.testing.assert_allclose(lab("#FFFFFF", "normal"), [100, 0, 0], atol=0.01)
    np.testing.assert_allclose(lab("#FF0000", "normal"), [53.24, 80.09, 67.20], atol=0.02)


@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_colours_are_told_apart(sight):
    assert closest(PALETTE, sight) > BOUND
    # And no line is lost on white paper.
    assert max(lab(colour, sight)[0] for colour in PALETTE) < 80


def test_the_bound_refuses_a_grey_that_deuteranopes_take_for_purple():
    """Regression: the grey of the oracle was 8.5 from the purple of the histograms."""
    before = (*PALETTE[:-1], "#8C8C8C")
    assert closest(before, "normal") > BOUND > closest(before, "deuteranopia")


def test_methods_differ_without_colour():
    assert len(set(MARKERS)) == len(set(map(str, LINES))) == len(set(PALETTE)) == 8
    known = ("polynomial, joint", "polynomial", "pyhf, feature", "pyhf, score", "oracle")
    for column in zip(*method_styles(known).values(), strict=True):
        assert len(set(map(str, column))) == len(known)
    variants = [f"oracle{v}" for v in ("", ", as trained", ", Neyman")]
    one, raw, belt = method_styles(variants).values()
    assert one.color == raw.color == belt.color
    assert len({one.marker, raw.marker, belt.marker}) == 3
    assert len({str(s.ls) for s in (one, raw, belt)}) == 3


def test_a_method_looks_the_same_in_every_figure():
    """Regression: in some figures colours followed the order of the rows."""
    names = ["polynomial-joint", "pyhf", "pyhf_score", "oracle"]
    together = method_styles(names)
    assert together == {n: method_styles([n])[n] for n in names}
    assert together == {n: method_styles([method_title(n)])[method_title(n)] for n in names}
    # Others do not take their colours, as long as there are some left.
    more = method_styles([*names, "mine", "mine, as trained", "yours"])
    assert len({s.color for s in more.values()}) == 6
    assert len(method_styles([f"m{k}" for k in range(20)])) == 20


def test_every_feature_has_the_unit_of_its_kind():
    for name in feature_set("vbf_2l2j").names:
        angle = "phi" in name
        number = "eta" in name or "_id_" in name
        assert observable_unit(name) == ("rad" if angle else "" if number else "GeV"), name
        if observable_unit(name):
            assert observable_label(name).endswith(f"[{observable_unit(name)}]")


def test_names_of_users_stand_as_they_are():
    assert observable_label("my $mva") == r"my \$mva"
    assert parameter_label("a$b_c") == r"a\$b c"
