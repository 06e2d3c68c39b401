"""Whatever is done to a valid file, it is read rightly or refused by an error of milinfer's own.

The same for as long as wanted: ``python benchmarks/fuzz.py --minutes 60``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bad_input.json_mutations import (
    MODEL_SEEDS,
    SAVED_SEEDS,
    WORKSPACE_SEEDS,
    check_model,
    check_saved,
    check_workspace,
    random_model,
    random_saved,
    random_workspace,
)
from bad_input.mutations import (
    LHE_SEEDS,
    check_configuration,
    check_lhe,
    random_configuration,
    random_lhe,
)
from bad_input.point_mutations import POINT_SEEDS, check_points, random_points

quick = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_the_files_before_the_damage_are_right(tmp_path):
    for i, data in enumerate(LHE_SEEDS):
        file = tmp_path / f"{i}.lhe"
        file.write_bytes(data)
        assert check_lhe(file)


@quick
@given(random=st.randoms(use_true_random=False))
def test_damaged_lhe_files(tmp_path, random):
    file = Path(tmp_path, "fuzzed.lhe")
    file.write_bytes(random_lhe(random))
    check_lhe(file)


@quick
@given(random=st.randoms(use_true_random=False))
def test_damaged_configurations(tmp_path, random):
    file = Path(tmp_path, "fuzzed.toml")
    file.write_bytes(random_configuration(random))
    check_configuration(file)


JSON = {
    "workspaces": (random_workspace, check_workspace, WORKSPACE_SEEDS),
    "saved files": (random_saved, check_saved, SAVED_SEEDS),
    "models": (random_model, check_model, MODEL_SEEDS),
}
# pyhf 0.7.6 and what it needs; see pyproject.toml.
old = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@old
@pytest.mark.parametrize("kind", JSON)
def test_json_before_the_damage_is_right(kind, tmp_path):
    _, check, seeds = JSON[kind]
    for data in seeds:
        file = tmp_path / "fuzzed.json"
        file.write_bytes(data)
        assert check(file)


@old
@pytest.mark.parametrize("kind", JSON)
@settings(quick, max_examples=60)
@given(random=st.randoms(use_true_random=False))
def test_damaged_json(kind, tmp_path, random):
    """Workspaces, calibrations, belts, histograms and models."""
    damage, check, _ = JSON[kind]
    file = Path(tmp_path, "fuzzed.json")
    file.write_bytes(damage(random))
    check(file)


@quick
@given(random=st.randoms(use_true_random=False))
def test_damaged_points(tmp_path, random):
    """Texts of points, cards, and ids and descriptions of weights."""
    file = Path(tmp_path, "fuzzed.txt")
    file.write_bytes(random_points(random))
    check_points(file)


def test_points_before_the_damage_are_right(tmp_path):
    read = []
    for data in POINT_SEEDS:
        file = tmp_path / "fuzzed.txt"
        file.write_bytes(data)
        read.append(check_points(file))
    assert read == [True, False, False, False]


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_gives_the_same_damage(seed):
    from random import Random

    assert random_lhe(Random(seed)) == random_lhe(Random(seed))
