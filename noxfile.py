#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.10.14"]
# ///
"""Sessions for development: ``nox -s tests``, ``nox -s minimums``, ``nox -s canary``, …"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv|virtualenv"


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the tests with the newest releases."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session(default=False, python="3.11")
def slow(session: nox.Session) -> None:
    """Run the tests that are too long for every change."""
    session.install(".[test]")
    session.run("pytest", "-n", "auto", "--dist", "worksteal", "-m", "slow", *session.posargs)


@nox.session(default=False, python="3.11", venv_backend="uv")
def minimums(session: nox.Session) -> None:
    """Run the tests with exactly the lower bounds of pyproject.toml."""
    session.install("--resolution=lowest-direct", ".[test]")
    # Old releases warn about the new ones of their own dependencies; that is not ours to mend.
    quiet = [f"-Wignore::{kind}Warning" for kind in ("Deprecation", "PendingDeprecation", "Future")]
    session.run("pytest", *quiet, *session.posargs)


@nox.session(python="3.11")
def lint(session: nox.Session) -> None:
    """Style and types."""
    session.install(".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(default=False, python="3.11")
def docs(session: nox.Session) -> None:
    """Build the documentation; tutorials run, and a warning is an error."""
    session.install(".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "docs", "site")
    session.run("python", "tests/whole/check_site.py", "site")


# Those whose changes reach users of milinfer first, and the tests that would notice.
CANARIES = {
    "cabinetry": (
        "binned/test_polynomial_workspace",
        "binned/test_workspaces",
        "intervals/test_ranking",
        "intervals/test_upper_limits",
        "likelihood/test_fits",
    ),
    "coffea": (
        "features/test_processor",
        "learning/test_model_columns",
        "io/test_events",
        "features/test_feature_set",
    ),
    "iminuit": ("likelihood/test_cost", "likelihood/test_fits", "likelihood/test_mixture"),
    "pyhf": (
        "binned/test_pyhf_cost",
        "binned/test_templates",
        "binned/test_template_cost",
        "binned/test_workspaces",
    ),
}
# Those that are rarely released, and where their development version is.
DEVELOPED = {"cabinetry": "git+https://github.com/scikit-hep/cabinetry"}


@nox.session(default=False, python="3.11", venv_backend="uv")
@nox.parametrize("end", ["oldest", "newest", "development"])
def canary(session: nox.Session, end: str) -> None:
    """Run what uses cabinetry, coffea, iminuit and pyhf with their oldest and newest releases.

    The end "development" is the development version of cabinetry.
    """
    session.install(".[test]")
    chosen = DEVELOPED if end == "development" else CANARIES
    if end == "development":
        session.install("--upgrade", *(f"{name} @ {where}" for name, where in DEVELOPED.items()))
    elif end == "newest":
        session.install("--upgrade", "--prerelease=allow", *CANARIES)
    else:
        project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
        given = (*project["dependencies"], *project["optional-dependencies"]["test"])
        bounds = [b for b in given if b.split(">=")[0] in CANARIES]
        session.install(*(bound.replace(">=", "==") for bound in bounds))
    names = dict.fromkeys(name for package in chosen for name in CANARIES[package])
    session.run("pytest", *(str(Path("tests", f"{name}.py")) for name in names), *session.posargs)


@nox.session(default=False, python="3.11")
def trend(session: nox.Session) -> None:
    """Print what became slower or less precise since the last release."""
    session.install("packaging", "rich")
    session.run("python", "benchmarks/trend.py", *session.posargs)


@nox.session(default=False, python="3.11")
def build(session: nox.Session) -> None:
    """Build sdist and, from it, the wheel; install that and use it."""
    session.install("build")
    folder = Path(session.create_tmp(), "dist")
    session.run("python", "-m", "build", "--outdir", str(folder))
    session.install(*map(str, folder.glob("*.whl")))
    session.run("milinfer", "init", str(folder / "analysis.toml"))
    session.run("python", "-m", "pip", "check")


@nox.session(default=False, python="3.11")
def audit(session: nox.Session) -> None:
    """Look for known weaknesses in what an installation brings along."""
    session.install("-e", ".", "pip-audit")
    # Strict: what the database does not know is no reason to call everything clean.
    session.run("pip-audit", "--local", "--skip-editable", "--strict", *session.posargs)


@nox.session(default=False, python="3.11")
def fuzz(session: nox.Session) -> None:
    """Damage files of every kind at random for an hour."""
    session.install(".[test]")
    session.run("python", "benchmarks/fuzz.py", *(session.posargs or ["--minutes", "60"]))


@nox.session(default=False, python="3.11")
@nox.parametrize("reader", ["lhe", "toml", "workspace", "saved", "model", "points"])
def guided_fuzz(session: nox.Session, reader: str) -> None:
    """Let atheris look for damage that reaches new lines, five minutes for each kind of file."""
    session.install(".[test,fuzz]")
    options = ["--engine", "atheris", "--reader", reader]
    session.run("python", "benchmarks/fuzz.py", *options, *(session.posargs or ["--minutes", "5"]))


@nox.session(default=False, python="3.11")
def peers(session: nox.Session) -> None:
    """Compare milinfer with other packages, each in an environment of its own.

    ``nox -s peers -- --peer milinfer madminer`` compares some of them.
    """
    session.install(".[test]")
    requirements = Path("benchmarks", "peers", "requirements")
    pythons = []
    for file in sorted(requirements.glob("*.txt")):
        folder = Path(session.create_tmp(), file.stem)
        python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        session.run("python", "-m", "venv", str(folder))
        # A package that cannot be installed is one that the result names as not measured.
        session.run(
            *(str(python), "-m", "pip", "install", "-r", str(file)),
            external=True,
            success_codes=[0, 1],
        )
        if file.stem == "mikit":
            # It only reads MNIST, and a build with GPUs does not load beside a torch without them.
            remove = (str(python), "-m", "pip", "uninstall", "--yes", "torchvision")
            session.run(*remove, external=True)
        pythons.append(f"{file.stem}={python}")
    session.run("python", "benchmarks/compare_peers.py", *session.posargs, "--python", *pythons)


if __name__ == "__main__":
    nox.main()
