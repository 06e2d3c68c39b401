"""Sessions for development: ``nox -s tests``, ``nox -s minimums``, ``nox -s lint``."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "tests"]


@nox.session(python=["3.11", "3.12"])
def tests(session: nox.Session) -> None:
    """Run the tests with the newest releases."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python="3.11", venv_backend="uv")
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


@nox.session(python="3.11")
def docs(session: nox.Session) -> None:
    """Build the documentation; tutorials run, and a warning is an error."""
    session.install(".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "docs", "site")


@nox.session(python="3.11")
def build(session: nox.Session) -> None:
    """Build wheel and sdist, and install the wheel."""
    session.install("build")
    session.run("python", "-m", "build", "--outdir", session.create_tmp())
