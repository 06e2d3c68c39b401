"""Settings of all tests."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import groupby, islice
from typing import Any

import pytest
from hypothesis import settings

# The first example may compile a loop, and on busy cores any example takes longer than 0.2 s.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")

# Tests run side by side: threads that wait for each other take processors from the other tests, and
# small networks run faster without.  Read when numpy and TensorFlow are imported, here and in the
# processes that tests start.
for name in (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
):
    os.environ.setdefault(name, "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage once after collection, and never again in what is there until the end.

    Modules and tests are a million objects, and every search went through all of them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every worker begin with its share of the modules that have long tests.

    Workers get equal parts of the list, and whoever is done takes from the end of another's: what
    is left for the end is then quick, and no worker waits long for the others.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1:
        return
    modules = [list(group) for _, group in groupby(items, key=lambda item: item.path)]
    early, quick = [], []
    for module in modules:
        is_early = any(item.get_closest_marker("early") for item in module)
        (early if is_early else quick).append(module)
    rest = iter([item for module in quick for item in module])
    ordered: list[pytest.Item] = []
    for k in range(workers):
        ordered += [item for module in early[k::workers] for item in module]
        ordered += islice(rest, max(len(items) * (k + 1) // workers - len(ordered), 0))
    items[:] = [*ordered, *rest]


@pytest.fixture(autouse=True)
def _settings_of_matplotlib() -> Iterator[None]:
    """Reset what a test has changed in matplotlib: pictures of other tests depend on it."""
    yield
    if "matplotlib" in sys.modules:
        sys.modules["matplotlib"].rcdefaults()


@contextmanager
def _draws(**functions: Callable[[Any, Any], Any]) -> Iterator[None]:
    """Let other functions draw the figures of reports; each is given the usual one as well."""
    from milinfer.workflow import report

    with pytest.MonkeyPatch.context() as patch:
        for name, function in functions.items():
            patch.setattr(report, name, partial(function, getattr(report, name)))
        yield


@pytest.fixture(scope="module")
def one_picture() -> Iterator[None]:
    """Draw the training alone: twenty pictures take longer than the rest of a small run.

    They are looked at in test_html_report.py, test_report_pictures.py, and in the demo.
    """
    from milinfer.plotting.results import plot_training

    def training(_, result):
        return {"training": (plot_training(result.analysis.model.fitted.history), "Loss.")}

    with _draws(draw_figures=training):
        yield


WRITTEN = (
    *("training", "simulation", "templates_pyhf", "nuisance_profile"),
    *("contours_c1_c2", "datasets_c1"),
)
"""Pictures that :func:`few_pictures` leaves."""


@pytest.fixture(scope="module")
def few_pictures_of_a_module() -> Iterator[None]:
    """The same as :func:`few_pictures`, for all tests of a module."""
    with _few():
        yield


@pytest.fixture
def few_pictures() -> Iterator[None]:
    """Draw all figures, and write few of them: what takes longest is to make files of them."""
    with _few():
        yield


@pytest.fixture(scope="session")
def write_pictures() -> Callable[..., AbstractContextManager[None]]:
    """Draw all figures, and write those of the given names."""
    return _few


def _few(*names: str) -> AbstractContextManager[None]:
    def written(usual, result):
        return {name: drawn for name, drawn in usual(result).items() if name in (names or WRITTEN)}

    return _draws(draw_figures=written, draw_several=written)
