"""The room of figures offers all of its functions, and loads matplotlib only to draw."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from milinfer import plotting

FILES = [p for p in Path(plotting.__file__).parent.glob("*.py") if p.name != "__init__.py"]


def figure_functions():
    """Name and definition of every public function that draws."""
    definitions = {}
    for path in FILES:
        if path.name != "style.py":
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    definitions[node.name] = node
    return definitions


def test_every_figure_function_is_offered_by_the_room():
    names = figure_functions()
    assert len(names) > 20
    assert set(names) <= set(plotting.__all__)
    for name in plotting.__all__:
        assert getattr(plotting, name) is not None
    assert dir(plotting) == sorted(plotting.__all__)


def test_every_figure_function_returns_its_figures():
    results = {name: ast.unparse(node.returns) for name, node in figure_functions().items()}
    for several in ("diagnostic_figures", "response_figures"):
        assert results.pop(several) == "dict[str, tuple[Figure, str]]"
    assert set(results.values()) == {"Figure"}


def test_no_name_is_that_of_a_file():
    """Importing the file would put the module in the place of the function."""
    assert not {p.stem for p in FILES} & set(plotting.__all__)


def test_matplotlib_is_loaded_only_to_draw():
    code = (
        "import sys, milinfer.plotting; assert 'matplotlib' not in sys.modules; "
        "from milinfer.plotting import plot_scans; assert 'matplotlib' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
