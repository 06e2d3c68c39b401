"""Write a page of the reference for each room, from the lists of public names in the stubs.

The names stand once, in ``src/milinfer/__init__.pyi`` and in the ``__init__.pyi`` of each room.
Type checkers, lazy loading and the reference read the same files.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

__all__ = ["ROOMS", "public_names", "write_pages"]

# In the order of their imports, which is that in which a reader meets them.
ROOMS = (
    "io",
    "features",
    "samples",
    "likelihood",
    "learning",
    "toys",
    "binned",
    "intervals",
    "diagnostics",
    "plotting",
    "workflow",
)


def _package() -> Path:
    spec = find_spec("milinfer")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def public_names(stub: Path) -> dict[str, str]:
    """Public names of a stub, each with the room or file that it comes from."""
    names: dict[str, str] = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "version":
            names |= {alias.name: node.module for alias in node.names}
    return names


def _table(module: str, names: Iterable[str]) -> list[str]:
    lines = [f".. currentmodule:: {module}", "", ".. autosummary::", "   :toctree: ../generated"]
    return [*lines, "   :nosignatures:", "", *(f"   {name}" for name in names), ""]


def _heading(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def _page(room: str, package: Path, at_top: dict[str, str]) -> str:
    text = import_module(f"milinfer.{room}").__doc__ or ""
    lines = [*_heading(room, "="), text.partition("\n")[0], ""]
    top = [name for name, file in at_top.items() if file.split(".")[0] == room]
    if top:
        lines += [*_heading("In ``milinfer`` itself", "-"), *_table("milinfer", top)]
    own = [n for n in public_names(package / room / "__init__.pyi") if n not in top]
    if own:
        lines += _heading(f"In ``milinfer.{room}``", "-")
        lines += _table(f"milinfer.{room}", own)
    if room == "io":
        names = import_module("milinfer.io.lhe").__all__
        lines += [*_heading("In ``milinfer.io.lhe``", "-"), *_table("milinfer.io.lhe", names)]
    return "\n".join(lines)


def _datasets() -> dict[str, str]:
    """Page of the datasets, and one for each of them with all that its module contains."""
    module = import_module("milinfer.datasets")
    summary, _, described = (module.__doc__ or "").partition("\n\n")
    pages, lines = {}, [*_heading("datasets", "="), summary, ""]
    for name in module.__all__:
        path = f"milinfer.datasets.{name}"
        names = import_module(path).__all__
        members = ", ".join(name for name in names if not name.isupper())
        constants = ", ".join(name for name in names if name.isupper())
        described = described.replace(f"`{name}`\n", f":doc:`{name} <datasets_{name}>`\n")
        text = [*_heading(name, "="), f".. automodule:: {path}", f"   :members: {members}"]
        text += [f"   :exclude-members: {constants}", ""] if constants else [""]
        pages[f"datasets_{name}"] = "\n".join(text)
    lines += [described.strip(), "", ".. toctree::", "   :hidden:", ""]
    pages["datasets"] = "\n".join([*lines, *(f"   {page}" for page in sorted(pages)), ""])
    return pages


def write_pages(folder: Path) -> None:
    """Write ``ROOM.rst`` for each room, and those of exceptions and of datasets.

    A page that is there already with this text is left as it is.
    """
    package = _package()
    at_top = public_names(package / "__init__.pyi")
    pages = {room: _page(room, package, at_top) for room in ROOMS} | _datasets()
    errors = import_module("milinfer.exceptions")
    lines = [*_heading("exceptions", "="), (errors.__doc__ or "").partition("\n")[0], ""]
    pages["exceptions"] = "\n".join([*lines, *_table("milinfer.exceptions", errors.__all__)])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        file = folder / f"{name}.rst"
        # A page that has not changed keeps its time, so that Sphinx does not build it again.
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
