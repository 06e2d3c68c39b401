"""Imports point one way: docs/architecture.md shows which."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(find_spec("milinfer").origin).parent
DOCS = Path(__file__).parents[2] / "docs"


def imported(path: Path) -> set[str]:
    """Modules of the package that are imported when this one is, lazy and typing-only left out."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("milinfer"):
            parts = [node.module] + [f"{node.module}.{a.name}" for a in node.names]
            found |= {p for p in parts if p in MODULES}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name in MODULES}
    return found - {"milinfer"}


def name(path: Path) -> str:
    parts = ("milinfer", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name(p): p for p in PACKAGE.rglob("*.py")}


def test_imports_have_no_circles():
    # A package imports its own modules to offer their names: that is no dependency of theirs on it.
    graph = {m: {i for i in imported(p) if not m.startswith(f"{i}.")} for m, p in MODULES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(MODULES) - 1


def test_pictures_and_commands_are_imported_by_nothing_else():
    last = {"plotting", "figure_style", "report", "analysis_report", "cli"}
    last |= {m.split(".")[1] for m in MODULES if m.endswith("_figures")}
    for module, path in MODULES.items():
        own = module.split(".")[1] if "." in module else module
        if own in last | {"__main__"}:
            continue
        wanted = {i.split(".")[1] for i in imported(path) if "." in i}
        assert not wanted & last, module


def test_every_module_is_described():
    text = DOCS.joinpath("architecture.md").read_text(encoding="utf-8")
    top = {m.split(".")[1] for m in MODULES if m.count(".") >= 1} - {"__main__"}
    missing = sorted(m for m in top if f"`{m}`" not in text)
    assert not missing


def test_no_function_of_the_package_has_the_name_of_a_module():
    """Regression: importing ``milinfer.compare`` put the module in the place of the function."""
    import milinfer

    modules = {m.split(".")[1] for m in MODULES if m.count(".") == 1}
    assert not modules & set(milinfer.__all__)


def test_every_public_name_is_in_the_reference():
    import milinfer

    text = DOCS.joinpath("api", "index.md").read_text(encoding="utf-8")
    listed = {line.strip() for line in text.splitlines() if line.startswith("   ")}
    assert not {n for n in milinfer.__all__ if n != "__version__"} - listed


def test_type_checkers_see_every_public_name():
    """Names are imported when first used; the same list stands once more for type checkers."""
    import milinfer

    tree = ast.parse(PACKAGE.joinpath("__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname for node in block.body for alias in node.names}
    assert seen | {"__version__"} == set(milinfer.__all__)
