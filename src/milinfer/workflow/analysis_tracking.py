"""An analysis and its tracker: which one the configuration asks for, and what it is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from milinfer.learning.tracking import GuardedTracker, Tracker, flat_numbers, flat_settings

if TYPE_CHECKING:
    from milinfer.learning.trackers import MLflowTracker, TensorBoardTracker, WandbTracker
    from milinfer.workflow.configuration import AnalysisConfig, TrackingSection

__all__ = ["log_results", "open_tracker"]


def open_tracker(
    config: AnalysisConfig, section: TrackingSection
) -> AbstractContextManager[TensorBoardTracker | MLflowTracker | WandbTracker]:
    """Begin a run of the tracker that ``[tracking]`` names.

    Parameters
    ----------
    config
        The analysis, whose folders relative ones belong to.
    section
        Its section.

    Raises
    ------
    ConfigurationError
        If what it needs is not installed; names the extra.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from milinfer.workflow.configuration import AnalysisConfig, DataSection, FilesSection
    >>> from milinfer.workflow.configuration import SamplesSection, TrackingSection
    >>> section = TrackingSection(to="tensorboard", run="first")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     config = AnalysisConfig(
    ...         samples=SamplesSection(train=[FilesSection(path="mc/*.root")]),
    ...         data=DataSection(path="data.root"), folder=pathlib.Path(folder))
    ...     with open_tracker(config, section) as tracker:
    ...         print(tracker.folder.relative_to(folder).as_posix())
    results/tensorboard/milinfer/first
    """
    from milinfer.learning.trackers import MLflowTracker, TensorBoardTracker, WandbTracker

    if section.to == "mlflow":
        return MLflowTracker(section.experiment, section.run, section.store)
    default = config.out / "tensorboard" if section.to == "tensorboard" else config.out
    folder = default if section.store is None else config.folder / section.store
    if section.to == "tensorboard":
        # Every run in a folder of its own, or TensorBoard draws them as one.
        run = section.run or time.strftime("%Y%m%d-%H%M%S")
        return TensorBoardTracker(folder / section.experiment / run)
    folder.mkdir(parents=True, exist_ok=True)
    return WandbTracker(section.experiment, section.run, folder, offline=section.offline)


def log_results(tracker: Tracker, config: AnalysisConfig, summary: Mapping[str, Any]) -> None:
    """Log the configuration, every number of the summary, the figures, summary and report.

    Parameters
    ----------
    tracker
        The tracker.
    config
        Of an analysis that has been run.
    summary
        Content of its ``summary.json``.

    Raises
    ------
    TrackingError
        If the tracker fails.
    """
    guarded = GuardedTracker(tracker)
    guarded.log_parameters(flat_settings(config.model_dump(exclude={"tracking"}), "analysis"))
    numbers = {k: v for k, v in summary.items() if k not in ("provenance", "coverage_scan")}
    guarded.log_metrics(flat_numbers(numbers, "summary"), 0)
    for figure in sorted((config.out / "plots").glob("*.png")):
        guarded.log_figure(figure.stem, figure)
    for name in ("summary.json", "report.html"):
        guarded.log_artifact(config.out / name)
