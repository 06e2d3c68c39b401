"""Which heavy packages commands import, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys

# Each of these takes from a tenth of a second to several seconds of processor time.
HEAVY = (
    *("tensorflow", "keras", "sklearn", "dask", "coffea", "uproot", "awkward", "vector"),
    *("pandas", "pyarrow.dataset", "scipy.stats", "scipy.optimize", "scipy.interpolate"),
    *("matplotlib", "pyhf", "pydantic", "jinja2", "asyncio"),
)

_RUN = """
import json, sys
from milinfer.cli import cli

heavy, commands = json.loads(sys.argv[1])
imported = []
for arguments in commands:
    cli(arguments, standalone_mode=False)
    imported.append([name for name in heavy if name in sys.modules])
print(json.dumps(imported))
"""


def heavy_imports(*commands: tuple[object, ...], then: str = "") -> list[list[str]]:
    """Heavy packages that are imported after each of some commands, which follow each other.

    Parameters
    ----------
    commands
        Arguments of the command line.
    then
        Code to run at the end.
    """
    texts = [[str(argument) for argument in arguments] for arguments in commands]
    run = subprocess.run(
        [sys.executable, "-c", _RUN + then, json.dumps([HEAVY, texts])],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    imported: list[list[str]] = json.loads(run.stdout.splitlines()[-1])
    return imported
