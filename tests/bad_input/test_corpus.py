"""Every broken input, through Python and through the command line."""

from __future__ import annotations

from collections import Counter

import pytest

from bad_input import (
    columns_cases,
    configuration_cases,
    lhe_cases,
    sample_cases,
    saved_cases,
    workspace_cases,
)
from bad_input.harness import Case, check_call, check_command, check_debug

# and how many there have to be
TABLES = {
    "lhe": (lhe_cases.CASES, 70),
    "root": (columns_cases.ROOT, 15),
    "parquet": (columns_cases.PARQUET, 15),
    "toml": (configuration_cases.CASES, 25),
    "saved": (saved_cases.CASES, 20),
    "workspaces": (workspace_cases.CASES, 15),
    "samples": (sample_cases.CASES, 15),
}
CASES = [case for cases, _ in TABLES.values() for case in cases]
COMMANDS = [case for case in CASES if case.command is not None]


def name(case: Case) -> str:
    return case.name


def test_the_corpus_is_large_and_no_case_comes_twice():
    assert len(CASES) >= 150
    assert {k: len(cases) >= least for k, (cases, least) in TABLES.items()} == dict.fromkeys(
        TABLES, True
    )
    assert max(Counter(case.name for case in CASES).values()) == 1


@pytest.mark.parametrize("case", CASES, ids=name)
def test_python(case, tmp_path):
    check_call(case, tmp_path)


@pytest.mark.parametrize("case", COMMANDS, ids=name)
def test_command_line(case, tmp_path):
    check_command(case, tmp_path)


@pytest.mark.parametrize("table", sorted(TABLES.keys() - {"samples"}))
def test_debug_shows_the_error_itself(table, tmp_path):
    check_debug(next(case for case in TABLES[table][0] if case.command is not None), tmp_path)
