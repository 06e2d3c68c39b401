"""LHE files made by the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from lhe_text import Maker


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)
