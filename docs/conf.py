"""Sphinx: ``sphinx-build -W docs docs/_build``; tutorials run at build."""

from __future__ import annotations

import re
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from sphinx.addnodes import toctree

sys.path.insert(0, str(Path(__file__).parent))
from formulas import FONT
from reference import write_pages

write_pages(Path(__file__).parent / "api" / "rooms")

project = "milinfer"
author = project_copyright = "The milinfer developers"
package = metadata("milinfer")
release = version = package["Version"]
addresses = dict(line.split(", ", 1) for line in package.get_all("Project-URL") or ())
facts = [f"Version {release}", "BSD 3-Clause licence", "[changes](changelog.md)"]
if "Repository" in addresses:
    facts.append(f"[repository]({addresses['Repository']})")

extensions = [
    "formulas",
    "myst_nb",
    "quoted",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_click",
    "sphinx_design",
]
exclude_patterns = ["_build"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist", "substitution"]
myst_substitutions = {"version_line": " · ".join(facts)}
myst_heading_anchors = 3
# Tutorials say that they are notebooks; all other pages are text.
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
# Widgets, such as progress bars of coffea, would load their scripts from a network.
nb_ipywidgets_js: dict[str, Any] = {}

templates_path = ["_templates"]  # of the pages of the reference
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# What a class has from a base class of this package is described with it; what it has from those of
# scikit-learn and pydantic is in their documentation, which these docstrings refer to.
autodoc_default_options = {
    "members": True,
    "inherited-members": "BaseEstimator, BaseModel, tuple, dict, Exception, object",
    "exclude-members": "fit_transform, get_metadata_routing, model_config, score, set_output, "
    "set_fit_request, set_score_request",
}
# An underscore at the end of a name is a part of it, and not the mark of a link.
strip_signature_backslash = True
napoleon_google_docstring = False
napoleon_use_rtype = False
# A dataclass documents its fields as parameters; its attributes would say the same once more.
napoleon_use_ivar = True

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "milinfer"
html_static_path = ["_static", str(FONT)]
html_css_files = ["milinfer.css"]


def options_as_code(_app: Any, _context: Any, lines: list[str]) -> None:
    """Show examples of commands as code, and options in text too.

    Outside of code the two hyphens that begin an option would become a dash.
    """
    shown, in_example = [], False
    for line in lines:
        if line.startswith("| milinfer ") and not in_example:
            in_example = True
            shown += [".. code-block:: shell", ""]
        in_example = in_example and line.startswith("| ")
        if in_example:
            shown.append("    " + line[2:])
        elif line.startswith(".. option::"):
            shown.append(line)
        else:
            shown.append(re.sub(r"(?<![`\w-])--[a-z][\w-]*", r"``\g<0>``", line))
    lines[:] = shown


def only_rooms_in_the_sidebar(_app: Any, environment: Any) -> None:
    """End the reference at its rooms in the sidebar.

    With the names of all rooms the tree was most of every page, and took three quarters of the time
    to build the site.
    """
    for page, contents in environment.tocs.items():
        if page.startswith("api/rooms/"):
            for node in list(contents.findall(toctree)):
                node.parent.remove(node)


def sidebar_of_a_name(app: Any, page: str, _template: str, context: Any, _doctree: Any) -> None:
    """Let the sidebar of a page of the reference be open at its room.

    It is the same for all names of a room, and for all pages of source code in a folder.
    """
    if not page.startswith(("api/generated/", "_modules/")):
        return
    rooms = sorted(r for r in app.env.files_to_rebuild.get(page, ()) if r.startswith("api/rooms/"))
    tree, pathto = context["toctree"], context["pathto"]

    def opened(**options: Any) -> str:
        key = (page.rpartition("/")[0], *rooms, *sorted(options.items()))
        if key not in SIDEBARS:
            text = str(tree(**options))
            marks = (("api/index", "current"), (rooms[0], "current current-page")) if rooms else ()
            for target, classes in marks:
                link = re.escape(f'href="{pathto(target)}"')
                item = re.compile(rf'<li class="(toctree-l\d)">(<a class="[^"]*" {link})')
                text, found = item.subn(rf'<li class="\1 {classes}">\2', text)
                assert found == 1, (page, target)
            SIDEBARS[key] = text
        return SIDEBARS[key]

    context["toctree"] = opened


SIDEBARS: dict[tuple[object, ...], str] = {}


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("env-updated", only_rooms_in_the_sidebar)
    app.connect("html-page-context", sidebar_of_a_name, priority=100)  # before the theme reads it
    for part in ("description", "options"):
        app.connect(f"sphinx-click-process-{part}", options_as_code)
