"""Commands that run toys: ``calibrate``, ``neyman``, ``coverage``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import numpy as np
from click.core import ParameterSource

from milinfer.cli.options import (
    FILES_HELP,
    at_option,
    calibration_option,
    combine_option,
    feature_set_option,
    figure_option,
    json_option,
    model_option,
    n_events_option,
    n_toys_option,
    output_option,
    points_options,
    points_spec,
    read_samples,
    require_point,
    scheduler_option,
    seed_option,
    tree_option,
    values_spec,
    workers_option,
    write_json,
)
from milinfer.cli.printing import echo, show_table
from milinfer.exceptions import ParameterError
from milinfer.utils.files import atomic_path

if TYPE_CHECKING:
    from milinfer.intervals.belt import Belt
    from milinfer.intervals.coverage import Coverage
    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.samples.sample_set import SampleSet
    from milinfer.toys.ensemble import ToyEnsemble

__all__ = ["calibrate", "coverage", "neyman"]


@dataclass(frozen=True)
class ToyOptions:
    """Options of all commands that generate toys from files."""

    files: tuple[str, ...]
    model_path: Path
    events_per_toy: int
    n_toys: int
    truths: str | None
    at: tuple[str, ...]
    degree: int | None
    feature_set: str | None
    tree: str | None
    combine: Literal["sum", "mean"] | None
    points: dict[str, Any]
    seed: int
    workers: int
    scheduler: str | None

    def throw(
        self, one_each: int | None = None, *, default: Literal["lattice", "cross"] = "lattice"
    ) -> tuple[BagLikelihood, list[ToyEnsemble]]:
        """Model and its toys at all true points, or one toy at each of `one_each` others.

        In several parameters the points are by default a lattice or a cross, if the weights of the
        events bring them there.
        """
        from milinfer.learning.bag_likelihood import BagLikelihood
        from milinfer.toys.pool import EventPool
        from milinfer.toys.toys import Toys
        from milinfer.utils.progress import progress
        from milinfer.utils.scheduler import connected

        model = BagLikelihood.load(self.model_path)
        names = model.parameters
        samples = read_samples(
            self.files,
            features=self.feature_set,
            parameter=names[0],
            points=self.points,
            tree=self.tree,
            combine=self.combine,
        )
        points = self._points(model, samples, default)
        n_toys = self.n_toys
        if one_each is not None:
            box = np.array([list(p.values()) for p in points])
            low, high = box.min(axis=0), box.max(axis=0)
            if np.any(low == high):
                msg = (
                    "--regression draws true values from a range; give two or more --truths, or "
                    "samples at two points"
                )
                raise click.UsageError(msg)
            # The toys use a stream of random numbers with the same seed, so this needs another.
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(1,)))
            drawn = rng.uniform(low, high, (one_each, len(names)))
            points = [dict(zip(names, row, strict=True)) for row in drawn.tolist()]
            n_toys = 1
        toys = Toys(EventPool(samples, self.degree), self.events_per_toy, self.seed)
        workers = self.workers if self.scheduler is None else 1
        with (
            connected(self.scheduler) as client,
            progress("toys", n_toys * len(points)) as advance,
        ):
            thrown = toys.scan(
                [model], points, n_toys, workers=workers, client=client, on_toys=advance
            )
        return model, thrown[model.name]

    def require_one_parameter(self, option: str, python: str) -> None:
        """Refuse an option that has no meaning for a model of several parameters.

        Raises
        ------
        ParameterError
            The message names the option, and what does the same in Python.
        """
        from milinfer.learning.bag_likelihood import BagLikelihood

        names = BagLikelihood.load(self.model_path).parameters
        if len(names) > 1:
            msg = (
                f"{option} applies to models of one parameter, but {self.model_path} has "
                f"{', '.join(names)}; omit it, or set it in Python: {python}"
            )
            raise ParameterError(msg)

    @property
    def facts(self) -> dict[str, Any]:
        """Settings of the toys, for JSON."""
        return {"n_events": self.events_per_toy, "seed": self.seed}

    def _points(
        self, model: BagLikelihood, samples: SampleSet, default: Literal["lattice", "cross"]
    ) -> list[dict[str, float]]:
        """True points of the toys, as given or the default ones."""
        names = model.parameters
        if self.at and self.truths:
            msg = "--at and --truths both set the true points; give only one of them"
            raise click.UsageError(msg)
        if self.at:
            return [require_point(p, names) for p in points_spec(self.at)]
        if len(names) == 1:
            values = sorted(samples.values(names[0]).tolist())
            if self.truths:
                values = values_spec(self.truths)
            return [{names[0]: v} for v in values]
        if self.truths:
            msg = (
                f"--truths gives values of one parameter, but {self.model_path} has "
                f"{', '.join(names)}; give points: --at {names[0]}=0.5,{names[1]}=0, or a grid of "
                f"them: --at {names[0]}=-0.5:0.5:3,{names[1]}=-0.5:0.5:3"
            )
            raise ParameterError(msg)
        if self.degree is None:
            return [require_point(s.point, names) for s in samples]
        from milinfer.workflow.true_points import cross, lattice

        chosen = {"lattice": lattice, "cross": cross}[default](model.interpolation.limits)
        return [dict(zip(names, values, strict=True)) for values in chosen]


def toy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that generate toys; the function gets a :class:`ToyOptions`."""

    @wraps(function)
    def command(**arguments: Any) -> None:
        options = {f.name: arguments.pop(f.name) for f in fields(ToyOptions)}
        function(options=ToyOptions(**options), **arguments)

    # Options from other decorators of the function are kept.
    decorated: Callable[..., Any] = points_options(command)
    for option in (
        scheduler_option("whose workers generate the toys; --workers is then not used."),
        workers_option,
        seed_option,
        tree_option,
        combine_option,
        feature_set_option,
        click.option(
            "--weight-degree",
            "degree",
            type=click.IntRange(1),
            default=None,
            help="Degree of the event weights as polynomials in the parameter. All events are "
            "then reweighted to every true value.",
        ),
        click.option(
            "--truths",
            type=str,
            default=None,
            help="True values of the toys: -0.3,0,0.3 or first:last:number. Default: the values "
            "of the samples. Other values need --weight-degree.",
        ),
        at_option(
            "--at",
            "at",
            "True point of the toys, such as c_HW=0.5,c_HB=0, or a grid of points, such as "
            "c_HW=-1:1:3,c_HB=-1:1:3; repeatable. Default with --weight-degree for several "
            "parameters: 3 × 3 points (for coverage a cross) in the inner half of the range.",
        ),
        n_toys_option,
        n_events_option,
        model_option,
        click.argument("files", nargs=-1, required=True),
    ):
        decorated = option(decorated)
    return decorated


@click.command(epilog=FILES_HELP)
@toy_options
@click.option(
    "--by",
    "kind",
    type=click.Choice(["coverage", "bartlett"]),
    default="coverage",
    show_default=True,
    help="How c_cicc is determined: so that intervals of the toys cover (coverage), or from the "
    "ratio of information and curvature (bartlett).",
)
@output_option(
    "JSON file for the calibration; or the directory of the model, which then contains it."
)
@json_option
def calibrate(
    options: ToyOptions,
    kind: str,
    out: Path,
    json_path: Path | None,
) -> None:
    """Calibrate the intervals of a model with toys at several true values.

    The calibration contains the bias of the estimate and the factor c_cicc. Intervals cover if the
    log-likelihood ratio is multiplied by c_cicc.

    \b
    milinfer calibrate calib/*.parquet --model model --events-per-toy 1000 \\
        --truths -0.5:0.5:11 --weight-degree 4 --out calibration.json
    """
    from milinfer.intervals.calibration_fit import calibrate as make_calibration

    model, ensembles = options.throw()
    calibration = make_calibration(ensembles, kind=kind, seed=options.seed)  # type: ignore[arg-type]
    calibration.save(out)
    if len(model.parameters) > 1:
        from milinfer.cli.several_parameters import calibration_figures

        echo(f"{out}: {calibration!r}")
        figures = calibration_figures(calibration, kind)
        write_json(json_path, {**figures, "reuse": [e.reuse for e in ensembles], **options.facts})
        return
    echo(
        f"{out}: c_cicc = {calibration.scale:.3f} ± {calibration.scale_error:.3f} (by {kind}), "
        "bias " + ", ".join(f"{calibration.bias(t)[0]:+.4f} at {t:g}" for t in calibration.thetas)
    )
    write_json(
        json_path,
        {
            "poi": model.parameter,
            "c_cicc": calibration.scale,
            "c_cicc_error": calibration.scale_error,
            "theta": calibration.thetas,
            "c_bartlett": calibration.c_bartlett,
            "c_bartlett_error": calibration.c_bartlett_error,
            "cl": calibration.cls,
            "c_coverage": calibration.c_coverage,
            "c_coverage_error": calibration.c_coverage_error,
            "bias": [calibration.bias(t)[0] for t in calibration.thetas],
            "bias_error": [calibration.bias(t)[1] for t in calibration.thetas],
            "reuse": [e.reuse for e in ensembles],
            "n_toys": calibration.n_toys,
            "n_events": options.events_per_toy,
            "seed": options.seed,
        },
    )


@click.command(epilog=FILES_HELP)
@toy_options
@click.option(
    "--ordering",
    type=click.Choice(["likelihood-ratio", "central", "upper", "lower"]),
    default="likelihood-ratio",
    show_default=True,
    help="Ordering of the toys; likelihood-ratio is the method of Feldman and Cousins.",
)
@click.option(
    "--bounds", type=float, nargs=2, default=None, help="Physical range of the parameter, LOW HIGH."
)
@click.option(
    "--regression",
    type=click.IntRange(100),
    default=None,
    metavar="N",
    help="Instead of --toys at each value: generate one toy at each of N true values, drawn "
    "uniformly between the outermost --truths, and fit the acceptance as a function of the true "
    "value. Needs --weight-degree.",
)
@calibration_option
@output_option("JSON file for the belt.")
@json_option
def neyman(
    options: ToyOptions,
    ordering: str,
    bounds: tuple[float, float] | None,
    regression: int | None,
    calibration_path: Path | None,
    out: Path,
    json_path: Path | None,
) -> None:
    """Build a Neyman belt from toys, for intervals with milinfer fit --belt.

    A belt has, for each true value of the parameter, the accepted values of a statistic. The
    interval is the set of true values for which the data are accepted.

    \b
    milinfer neyman calib/*.parquet --model model --events-per-toy 1000 \\
        --truths -0.6:0.6:41 --weight-degree 4 --toys 10000 --out belt.json
    milinfer neyman calib/*.parquet --model model --events-per-toy 1000 \\
        --truths -0.6,0.6 --weight-degree 4 --regression 5000 --out belt.json
    """
    from milinfer.intervals.calibration import Calibration
    from milinfer.intervals.neyman import neyman as make_belt
    from milinfer.intervals.neyman import regression_belt

    if regression is not None and options.degree is None:
        msg = "--regression generates toys between the samples; give --weight-degree"
        raise click.UsageError(msg)
    source = click.get_current_context().get_parameter_source("n_toys")
    if regression is not None and source is not ParameterSource.DEFAULT:
        msg = (
            "--toys and --regression exclude each other: give --toys for many toys at each of the "
            "truths, or --regression for one toy at each of many values"
        )
        raise click.UsageError(msg)
    if bounds is not None:
        options.require_one_parameter("--bounds", "mil.neyman(toys, bounds=[…])")
    model, ensembles = options.throw(regression)
    calibration = None if calibration_path is None else Calibration.load(calibration_path)
    make: Callable[..., Belt] = make_belt if regression is None else regression_belt
    belt = make(ensembles, ordering=ordering, bounds=bounds, calibration=calibration)
    belt.save(out)
    if len(model.parameters) > 1:
        from milinfer.cli.several_parameters import belt_figures

        echo(f"{out}: {belt!r}, {sum(belt.n_toys)} toys")
        figures = belt_figures(belt)
        write_json(json_path, {**figures, "regression": regression, **options.facts})
        return
    thrown = (
        f"{len(belt.points)} values of {model.parameter}, {options.n_toys} toys at each,"
        if regression is None
        else f"{regression} toys, each at its own value of {model.parameter},"
    )
    low, high = belt.limits[0]
    echo(f"{out}: {thrown} between {low:g} and {high:g}, {ordering} ordering")
    write_json(
        json_path,
        {
            "poi": model.parameter,
            "theta": belt.points[:, 0],
            "cl": belt.cl,
            "lower": belt.lower,
            "lower_error": belt.lower_error,
            "upper": belt.upper,
            "upper_error": belt.upper_error,
            "ordering": ordering,
            "n_toys": options.n_toys if regression is None else 1,
            "regression": regression,
            "n_events": options.events_per_toy,
            "seed": options.seed,
        },
    )


@click.command(epilog=FILES_HELP)
@toy_options
@calibration_option
@click.option(
    "--belt",
    "belt_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="Neyman belt whose coverage is measured, too.",
)
@figure_option("Figure")
@json_option
def coverage(
    options: ToyOptions,
    calibration_path: Path | None,
    belt_path: Path | None,
    out: Path | None,
    json_path: Path | None,
) -> None:
    """Measure coverage with toys of events that neither the calibration nor the belt has used.

    \b
    milinfer coverage eval/*.parquet --model model --calibration calibration.json \\
        --events-per-toy 1000 --truths -0.4:0.4:9 --weight-degree 4
    """
    from milinfer.intervals.belt import Belt
    from milinfer.intervals.calibration import Calibration
    from milinfer.intervals.coverage import IntervalMethod, coverage_scan
    from milinfer.plotting.coverage import plot_coverage_scan
    from milinfer.utils.confidence_levels import CL68, CL95

    methods: dict[str, IntervalMethod | None] = {"as trained": None}
    if calibration_path is not None:
        methods["calibrated"] = Calibration.load(calibration_path)
    if belt_path is not None:
        methods["Neyman belt"] = Belt.load(belt_path)
    model, ensembles = options.throw(default="cross")
    if len(model.parameters) > 1:
        from milinfer.cli.several_parameters import coverage_several

        figures = coverage_several(ensembles, methods, out)
        reuse = [e.reuse for e in ensembles]
        calibrated = calibration_path is not None
        write_json(
            json_path, {**figures, "calibrated": calibrated, "reuse": reuse, **options.facts}
        )
        return
    scan = coverage_scan(ensembles, methods)
    # The first method with a calibration or belt gives coverage68 in the JSON.
    chosen = list(methods)[1] if len(methods) > 1 else "as trained"
    pairs = list(zip(scan.of(chosen, CL68), scan.of(chosen, CL95), strict=True))
    for inner, outer in pairs:
        echo(
            f"{model.parameter} = {inner.theta:g}: "
            + ", ".join(_claim(c) for c in (inner, outer))
            + f" ({chosen}, {options.n_toys} toys)"
        )
    show_table(scan.to_rich())
    if out is not None:
        with atomic_path(out) as temporary:
            plot_coverage_scan(scan).savefig(temporary)
    write_json(
        json_path,
        {
            "poi": model.parameter,
            "rows": [
                {
                    "theta": inner.theta,
                    "coverage68": inner.coverage,
                    "coverage68_error": inner.error,
                    "coverage95": outer.coverage,
                    "coverage95_error": outer.error,
                    "n_toys": options.n_toys,
                }
                for inner, outer in pairs
            ],
            "scan": scan.to_dict(),
            "calibrated": calibration_path is not None,
            "reuse": [e.reuse for e in ensembles],
            "seed": options.seed,
        },
    )


def _claim(result: Coverage) -> str:
    """Coverage with its errors from the toys and from their pool, and the claimed level."""
    return f"{result.with_errors(2, both=True)} for {result.cl:.2%} claimed"
