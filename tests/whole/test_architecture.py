"""The rooms of the source tree lie in one order, and every import points down: lazy ones, too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from sources import tree_of

PACKAGE = Path(find_spec("milinfer").origin).parent
DOCS = Path(__file__).parents[2] / "docs"
# A file imports from its own room and from rooms in rows above it; rooms of one row know
# nothing of each other.
ROOMS = (
    ("exceptions", "typing", "version"),
    ("utils",),
    ("io",),
    ("features",),
    ("samples",),
    ("likelihood",),
    ("learning", "toys", "binned", "datasets"),
    ("intervals",),
    ("diagnostics",),
    ("plotting",),
    ("workflow",),
    ("cli",),
    ("__main__",),
)
# The facade of a package offers names of its files; nothing inside the package imports from it.
FACADE = "__init__"
_DOTTED = re.compile(r"milinfer(\.\w+)+")


def modules(package: Path) -> dict[str, Path]:
    """Files of a package by dotted name; that of a sub-package is the name of its folder."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == FACADE else parts)] = path
    return found


def imported(path: Path, names: Mapping[str, Path]) -> set[str]:
    """Every module of the package that a file mentions: lazily, for types, or as a string."""
    targets = set()
    tree = tree_of(path)
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write imports in full"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                targets.add(inner if inner in names else node.module)
        elif isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # Names given as strings, as to `import_module`; docstrings and messages are prose.
            named = names.get(node.value) if _DOTTED.fullmatch(node.value) else None
            # A folder named by a string is where a resource lies.
            if id(node) not in texts and named and named.stem != FACADE:
                targets.add(node.value)
    return {t for t in targets if t in names}


def graph(package: Path) -> dict[str, set[str]]:
    """For each file, those that it imports; the facades of the packages stand apart."""
    names = modules(package)
    return {
        name: imported(path, names) - {name}
        for name, path in names.items()
        if path.stem != FACADE or _own_code(path)
    }


def _own_code(path: Path) -> bool:
    """Whether a package's ``__init__`` defines anything, rather than offering names."""
    tree = tree_of(path)
    return any(isinstance(node, ast.ClassDef | ast.FunctionDef) for node in tree.body)


def room(name: str) -> str:
    return name.split(".")[1]


def rank(name: str) -> int:
    ranks = [i for i, row in enumerate(ROOMS) if room(name) in row]
    assert len(ranks) == 1, f"{name} lies in no room of the list"
    return ranks[0]


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other (Tarjan), each in alphabetical order."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            cut = stack.index(node)
            groups.append(sorted(stack[cut:]))
            del stack[cut:]

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return [group for group in groups if len(group) > 1]


def folders(edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The same imports between the folders in which the files lie."""

    def folder(name: str) -> str:
        above = name.rpartition(".")[0]
        return above if "." in above else name  # files beside the rooms stand for themselves

    between: dict[str, set[str]] = {}
    for source, targets in edges.items():
        between.setdefault(folder(source), set()).update(map(folder, targets))
    return {source: targets - {source} for source, targets in between.items()}


def wrong_ways(edges: Mapping[str, set[str]]) -> Iterator[str]:
    """Imports from a room of the same row or of a later one."""
    for source, targets in edges.items():
        for target in targets:
            if target.count(".") == 0:
                yield f"{source} imports from the facade"
            elif room(source) != room(target) and rank(target) >= max(rank(source), 1):
                yield f"{source} imports {target}"


def inner(package: Path) -> dict[str, set[str]]:
    edges = graph(package)
    return {name: targets for name, targets in edges.items() if name.count(".")}


@cache
def package_edges() -> dict[str, set[str]]:
    """Imports of the package; not read before a test asks, since every run collects this file."""
    return inner(PACKAGE)


def test_every_import_points_to_an_earlier_room():
    assert sorted(wrong_ways(package_edges())) == []


def test_no_circle_between_files():
    assert circles(package_edges()) == []


def test_no_circle_between_folders():
    assert circles(folders(package_edges())) == []


def test_nothing_is_imported_from_a_facade():
    """`from milinfer.intervals import Belt` hides where Belt is, and whom it brings along."""
    names = modules(PACKAGE)
    facades = {n for n, p in names.items() if p.stem == FACADE and not _own_code(p)}
    assert facades
    assert {s: t & facades for s, t in package_edges().items() if t & facades} == {}


def test_every_folder_says_what_it_holds():
    for path in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(tree_of(path)), path


def test_no_function_of_a_package_has_the_name_of_one_of_its_files():
    """Regression: importing ``milinfer.compare`` put the module in the place of the function."""
    for stub in PACKAGE.rglob("__init__.pyi"):
        files = {p.stem for p in stub.parent.iterdir() if p.suffix == ".py" or p.is_dir()}
        for node in ast.parse(stub.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                assert not files & {a.name for a in node.names}, stub


def test_the_page_on_architecture_has_every_room_and_its_files():
    text = DOCS.joinpath("architecture.md").read_text(encoding="utf-8")
    rooms = {name for row in ROOMS for name in row} - {"__main__"}
    assert sorted(n for n in rooms if f"`{n}" not in text) == []
    # What the page points at exists.
    named = re.findall(r"`((?:\w+/)+\w+\.py)`", text)
    assert named
    places = (PACKAGE, DOCS.parent)
    assert [n for n in named if not any(p.joinpath(n).is_file() for p in places)] == []


@pytest.fixture
def package(tmp_path):
    def make(**files):
        root = tmp_path / "milinfer"
        for name, text in files.items():
            path = root.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.with_name("__init__.py").write_text('"""Here."""\n', encoding="utf-8")
        return inner(root)

    return make


CIRCULAR = {
    "lazy": "def f():\n    from milinfer.utils.b import x\n    return x",
    "for types": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from milinfer.utils.b import x"
    ),
    "by name": "from importlib import import_module\nimport_module('milinfer.utils.b')",
    "as module": "def f():\n    from milinfer.utils import b\n    return b",
}


@pytest.mark.parametrize("kind", CIRCULAR)
def test_circles_of_every_kind_are_found(package, kind):
    edges = package(utils__a=CIRCULAR[kind], utils__b="from milinfer.utils.a import f")
    assert circles(edges) == [["milinfer.utils.a", "milinfer.utils.b"]]


def test_imports_from_later_rooms_and_from_the_same_row_are_found(package):
    edges = package(
        utils__a="def f():\n    import milinfer.io.b",
        io__b="from milinfer.utils.a import f",
        toys__c="from milinfer.binned.d import x",
        binned__d="x = 1",
    )
    assert sorted(wrong_ways(edges)) == [
        "milinfer.toys.c imports milinfer.binned.d",
        "milinfer.utils.a imports milinfer.io.b",
    ]


def test_circles_between_folders_are_found(package):
    edges = package(
        io__a="from milinfer.io.lhe.c import x",
        io__b="y = 1",
        io__lhe__c="x = 1",
        io__lhe__d="from milinfer.io.b import y",
    )
    assert circles(edges) == []
    assert circles(folders(edges)) == [["milinfer.io", "milinfer.io.lhe"]]
