"""Broken ``analysis.toml`` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bad_input.harness import Case
from milinfer.exceptions import ConfigurationError
from milinfer.workflow.configuration import AnalysisConfig
from milinfer.workflow.run import plan_analysis

LEAST = '[[samples.train]]\npath = "a.root"\n[data]\npath = "d.root"\n'
REMEDY = "missing|known|is not|valid|give|at least|correct|should|cannot|less|allowed|line|change"


def read(path: Path, out: Path) -> object:
    return AnalysisConfig.from_file(path)


def plan(path: Path, out: Path) -> object:
    return plan_analysis(path)


def dry_run(path: Path, out: Path) -> list[object]:
    return ["run", path, "--dry-run", "--json", out / "plan.json"]


def case(name: str, data: str | bytes, place: str, call: Any = read, files: str = "") -> Case:
    def build(folder: Path) -> Path:
        path = folder / "broken.toml"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        for file in files.split():
            (folder / file).touch()
        return path

    return Case(f"toml: {name}", build, call, ConfigurationError, place, REMEDY, dry_run)


def absent(folder: Path) -> Path:
    return folder / "absent.toml"


def folder_instead(folder: Path) -> Path:
    (folder / "folder.toml").mkdir()
    return folder / "folder.toml"


TEXTS: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "samples: missing"),
    "only comments": ("# nothing\n", "data: missing"),
    "a text that is not closed": (LEAST + '[analysis]\ntitle = "x\n', "line 6"),
    "a section that is not closed": (LEAST + "[analysis\n", "line 5"),
    "a key without a value": (LEAST + "[analysis]\ntitle =\n", "line 6"),
    "a value without a key": (LEAST + "[analysis]\n= 3\n", "line 6"),
    "a word without quotes": (LEAST + "[analysis]\ntitle = x\n", "line 6"),
    "a key twice": (LEAST + "[analysis]\nseed = 1\nseed = 2\n", "line 7"),
    "a section twice": (LEAST + "[data]\n", "line 5"),
    "JSON": ('{"samples": {}}', "line 1"),
    "YAML": ("samples:\n  train: a.root\n", "line 1"),
    "UTF-16": (LEAST.encode("utf-16"), "cannot read"),
    "Latin-1": ((LEAST + '[analysis]\ntitle = "é"\n').encode("latin-1"), "cannot read"),
    "two megabytes": (LEAST + "#" * 2_000_000, "more than 1048576 characters"),
    "zeros": (bytes(100), "line 1"),
    "a control character": (LEAST + "# \x00\n", "line 5"),
    "lists too deep": (LEAST + "x = " + "[" * 100_000, "deep|nest"),
    "keys too deep": (LEAST + ".".join("a" * 100_000) + " = 1\n", "deep|nest"),
    "a number of ten thousand digits": (LEAST + "[analysis]\nseed = " + "9" * 10_000, "digits"),
    "a number of ten thousand hexadecimal digits": (
        LEAST + "[analysis]\nseed = 0x" + "f" * 10_000,
        "digits|seed",
    ),
    "a date that does not exist": (LEAST + "[analysis]\nseed = 2025-13-01\n", "line 6"),
    "an unknown section": (LEAST + "[analyses]\n", "analyses: unknown key; did you mean 'ana"),
    "an unknown key": (LEAST + "[toys]\nnumbers = 100\n", "toys.numbers: unknown .*'number'"),
    # Regression: these are also names that pydantic has for types.
    "an unknown key called int": ("int = 1\n" + LEAST, "int: unknown key; .*known: analysis"),
    "an unknown key called str": ("str = 'x'\n" + LEAST, "str: unknown key"),
    "an unknown key called float": (LEAST + "[float]\nx = 1\n", "float: unknown key"),
    "an unknown key with a bracket": ('"a[b" = 1\n' + LEAST, r'"a\[b": unknown key'),
    "an unknown key called list[str]": ('"list[str]" = 1\n' + LEAST, r'"list\[str\]": unknown key'),
    "an unknown key without a letter": ('"" = 1\n' + LEAST, '"": unknown key'),
    "an unknown key called int in a section": (
        LEAST + "[toys]\nint = 1\n",
        "toys.int: unknown key",
    ),
    "a point in a parameter called int": (
        LEAST.replace('path = "a.root"', 'path = "a"\npoint = { int = "big" }'),
        r"samples.train\[1\].point.int: ",
    ),
    "a path that is a table": (LEAST.replace('"d.root"', "{ str = 1 }"), "data.path: "),
    "a name of 201 letters": (LEAST + f"[[model]]\nname = '{'a' * 201}'\n", "at most 200"),
    "an unknown key of a file": (
        LEAST.replace("path", "point = { c = 1 }\npaths", 1),
        r"samples.train\[1\].paths: unknown",
    ),
    "a section that is a number": ("toys = 3\n" + LEAST, "toys: "),
    "a section that is a list": ("data = [1]\n" + LEAST.split("[data]", maxsplit=1)[0], "data: "),
    "one file in the place of a list": (
        '[samples.train]\npath = "a"\n[data]\npath = "d"\n',
        "samples.train: ",
    ),
    "no files to train on": ('samples = { train = [] }\n[data]\npath = "d"\n', "samples.train: "),
    "a path that is a number": (LEAST.replace('"a.root"', "3"), r"samples.train\[1\].path: "),
    "a list of paths that is empty": (LEAST.replace('"d.root"', "[]"), "data.path: "),
    "a point of words": (
        LEAST.replace('path = "a.root"', 'path = "a"\npoint = { c = "big" }'),
        r"samples.train\[1\].point.c: ",
    ),
    "a point of NaN": (
        LEAST.replace('path = "a.root"', 'path = "a"\npoint = { c = nan }'),
        r"samples.train\[1\].point.c: ",
    ),
    "a seed below zero": (LEAST + "[analysis]\nseed = -1\n", "analysis.seed: "),
    "a seed of one half": (LEAST + "[analysis]\nseed = 0.5\n", "analysis.seed: "),
    "a seed in quotes": (LEAST + "[analysis]\nseed = '1'\n", "analysis.seed: "),
    "a seed that is true": (LEAST + "[analysis]\nseed = true\n", "analysis.seed: "),
    "no workers": (LEAST + "[analysis]\nworkers = 0\n", "analysis.workers: "),
    "an unknown head": (LEAST + "[[model]]\nhead = 'x'\n", r"model\[1\].head: 'x' is not"),
    "an order of three": (LEAST + "[[model]]\norder = 3\n", r"model\[1\].order: "),
    "a name that leaves its folder": (LEAST + "[[model]]\nname = '../../x'\n", "model.1..name: "),
    "a name with a slash": (LEAST + "[[model]]\nname = 'a/b'\n", r"model\[1\].name: "),
    "two networks of one name": (LEAST + "[[model]]\n[[model]]\n", "two models are called"),
    "names that differ by case only": (
        LEAST + "[[model]]\nname = 'A'\n[[model]]\nname = 'a'\n",
        "two models are called",
    ),
    "too few toys": (LEAST + "[toys]\nnumber = 99\n", "toys.number: "),
    "an infinite truth": (LEAST + "[toys]\ntruth = -inf\n", "toys.truth: "),
    "a list with a word": (LEAST + "[toys]\ncover_at = [0.0, 'x']\n", r"toys.cover_at\[2\]: "),
    "an oracle without weights": (LEAST + "[toys]\noracle = true\n", "toys: oracle"),
    "one bin": (LEAST + "[templates]\nbins = 1\n", "templates.bins: "),
    "three numbers of bins": (LEAST + "[templates]\nbins_2d = [2, 2, 2]\n", "templates.bins_2d"),
    "fractions of all": ("[samples]\nfractions = [0.6, 0.4]\n" + LEAST, "samples: fractions"),
    "fractions below zero": ("[samples]\nfractions = [-0.1, 0.4]\n" + LEAST, "samples.fractions"),
    "no events to train on": ("[samples]\nheld_out = 1.0\n" + LEAST, "samples.held_out: "),
    "files to tune and none to evaluate": (
        '[[samples.tune]]\npath = "t"\n' + LEAST,
        "samples: has no files in 'evaluate'",
    ),
    "a folder of its own": ("folder = '/tmp'\n" + LEAST, "folder: unknown key"),
    "a source of its own": ("source = '/tmp'\n" + LEAST, "source: unknown key"),
    "a title with a zero byte": (LEAST + '[analysis]\nout = "a\\u0000b"\n', "analysis.out: "),
}
FILES: dict[str, tuple[str, str]] = {
    "a file that is not there": (LEAST, "no file 'a.root'"),
    "a pattern that finds nothing": (LEAST.replace("a.root", "*.lhe"), r"no file '\*\.lhe'"),
    "a path of two stars too many": (LEAST.replace("a.root", "***"), r"\*\*\*"),
    "a path of two stars beside a name": (LEAST.replace("a.root", "b/**.root"), r"b/\*\*\.root"),
    "a path with a zero byte": (LEAST.replace("a.root", "a\\u0000"), "path"),
    "an unknown feature set": (
        '[samples]\nfeatures = "vbf"\n' + LEAST.replace("a.root", "d.root"),
        "samples.features: .*'vbf'",
    ),
    "an observable that is not a feature": (
        LEAST.replace("a.root", "d.root") + '[templates]\nobservable = "d_fi"\n',
        "templates.observable: .*'d_fi'",
    ),
    "a second observable that is not a feature": (
        LEAST.replace("a.root", "d.root") + '[templates]\nsecond_observable = "pt"\n',
        "templates.second_observable: .*'pt'",
    ),
}
CASES = [
    *(case(k, t, p) for k, (t, p) in TEXTS.items()),
    *(case(k, t, p, plan, "d.root") for k, (t, p) in FILES.items()),
    Case("toml: no file", absent, read, ConfigurationError, "cannot read", "No such", dry_run),
    Case("toml: a folder", folder_instead, read, ConfigurationError, "cannot read", "[Ii]s a direct"),  # noqa: E501
]  # fmt: skip
