"""Source files of the package as trees, parsed once for all tests that look through them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import milinfer

PACKAGE = Path(milinfer.__file__).parent


@cache
def tree_of(path: Path) -> ast.Module:
    """Tree of a file, which nobody changes."""
    return ast.parse(path.read_text(encoding="utf-8"))
