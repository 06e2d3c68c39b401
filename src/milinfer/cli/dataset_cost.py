"""The cost of a dataset by a trained model: options and work that ``fit`` and ``publish`` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import click

from milinfer.cli.options import (
    calibration_option,
    combine_option,
    events_option,
    feature_set_option,
    model_option,
    points_options,
    read_samples,
    split_spec,
    tree_option,
)

if TYPE_CHECKING:
    from milinfer.intervals.calibration import Calibration
    from milinfer.io.event_range import EventRange
    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.learning.finite_simulation import SimulationError
    from milinfer.likelihood.cost import LikelihoodCost
    from milinfer.likelihood.rate import Rate
    from milinfer.samples.cross_sections import Combine
    from milinfer.samples.sample import Sample

__all__ = ["DatasetCost", "cost_options", "read_cost", "read_dataset"]

F = TypeVar("F", bound=Callable[..., Any])

Terms = Literal["all", "linear"]


class DatasetCost(NamedTuple):
    """Cost of a dataset, and the objects from which a command built it.

    Parameters
    ----------
    model, data, rate
        Model, dataset, and expected yield.  The yield is None if there are no samples for it.
    as_trained
        Cost without calibration and without the error due to the finite simulation.
    cost
        Cost without calibration.  It includes the error due to the finite simulation if the user
        asks for this error and there is no calibration.
    calibration
        Calibration to apply, or None.  If the user asks for the error due to the finite simulation,
        the calibrated intervals include the error of the calibration, which comes from the finite
        number of calibration events.
    error
        Error due to the finite number of training events, if `cost` includes it.
    """

    model: BagLikelihood
    data: Sample
    rate: Rate | None
    as_trained: LikelihoodCost
    cost: LikelihoodCost
    calibration: Calibration | None
    error: SimulationError | None


def cost_options(function: F) -> F:
    """Add to a command the options that :func:`read_cost` needs."""
    for option in reversed(
        [
            model_option,
            calibration_option,
            click.option(
                "--rate",
                "rate_files",
                multiple=True,
                help="Also fit the number of events: sample with a cross-section, from which the "
                "expected number ν(θ) follows. Repeat for each parameter point.",
            ),
            click.option(
                "--luminosity",
                type=float,
                default=None,
                help="Integrated luminosity in 1/fb, for --rate.",
            ),
            click.option(
                "--terms",
                type=click.Choice(["all", "linear"]),
                default="all",
                show_default=True,
                help="linear: only the interference terms, without squared coefficients.",
            ),
            click.option(
                "--simulation-error",
                "with_simulation",
                is_flag=True,
                help="Include the error from the finite simulation in the intervals: with "
                "--calibration the error from the calibration events, otherwise the error from "
                "the training events (for a model trained with --bootstrap).",
            ),
            feature_set_option,
            tree_option,
            events_option,
            combine_option,
            points_options,
        ]
    ):
        function = option(function)
    return function


def read_cost(
    data: str,
    *,
    model_path: Path,
    calibration_path: Path | None,
    rate_files: tuple[str, ...],
    luminosity: float | None,
    terms: Terms,
    with_simulation: bool,
    feature_set: str | None,
    tree: str | None,
    events: EventRange | None,
    combine: Combine | None,
    points: dict[str, Any],
) -> DatasetCost:
    """Build the cost of a dataset from the options of a command.

    Raises
    ------
    ConfigurationError, click.UsageError
        If an option is given without another one that it needs.
    """
    from milinfer.exceptions import ConfigurationError
    from milinfer.learning.bag_likelihood import BagLikelihood

    model = BagLikelihood.load(model_path)
    sample = read_dataset(data, feature_set, tree, events)
    if bool(rate_files) != (luminosity is not None):
        msg = "give --rate (samples for ν(θ)) and --luminosity (in 1/fb) together, or neither"
        raise ConfigurationError(msg)
    if combine is not None and not rate_files:
        msg = "--combine joins the files of --rate, but there are no such files; omit --combine"
        raise click.UsageError(msg)
    rate = None
    if rate_files and luminosity is not None:
        from milinfer.likelihood.rate import Rate

        rate = Rate.from_samples(
            read_samples(
                rate_files, features=feature_set, points=points, tree=tree, combine=combine
            ),
            luminosity=luminosity,
        )
    as_trained = cost = model.cost(sample, rate=rate, terms=terms)
    calibration: Calibration | None = None
    error: SimulationError | None = None
    if calibration_path is not None:
        from milinfer.intervals.calibration import Calibration

        calibration = Calibration.load(calibration_path)
        calibration = calibration.widened() if with_simulation else calibration
    elif with_simulation:
        from milinfer.intervals.simulation_widening import add_simulation_error
        from milinfer.learning.finite_simulation import simulation_error

        error = simulation_error(model, sample)
        cost = add_simulation_error(cost, error)
    return DatasetCost(
        model=model,
        data=sample,
        rate=rate,
        as_trained=as_trained,
        cost=cost,
        calibration=calibration,
        error=error,
    )


def read_dataset(
    spec: str, feature_set: str | None, tree: str | None, events: EventRange | None = None
) -> Any:
    """Read a dataset given on the command line; its file needs no parameter point."""
    from milinfer.samples.sample import read_data

    point, path = split_spec(spec)
    options: dict[str, Any] = {"features": feature_set, "tree": tree, "events": events}
    return read_data(path, point=point, **options).as_data()
