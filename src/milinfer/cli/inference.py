"""Commands of learning and inference: ``train``, ``fit``, ``compare``, ``report``."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milinfer.cli.dataset_cost import cost_options, read_cost, read_dataset
from milinfer.cli.options import (
    FILES_HELP,
    at_option,
    combine_option,
    ensemble_option,
    events_option,
    feature_set_option,
    figure_option,
    json_option,
    n_toys_option,
    output_option,
    points_options,
    points_spec,
    read_samples,
    require_point,
    scheduler_option,
    seed_option,
    split_spec,
    streamed_samples,
    tree_option,
    truth_spec,
    values_spec,
    weights_notice,
    write_json,
)
from milinfer.cli.printing import echo, show_table
from milinfer.utils.files import atomic_path, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from milinfer.io.event_range import EventRange
    from milinfer.samples.cross_sections import Combine
    from milinfer.samples.sample import Sample
    from milinfer.samples.sample_set import SampleSet
    from milinfer.samples.streaming import StreamedSamples
    from milinfer.workflow.analysis_result import AnalysisResult
    from milinfer.workflow.several_parameters import SeveralResult

__all__ = ["compare", "fit", "report", "train"]


@click.command(epilog=FILES_HELP)
@click.argument("files", nargs=-1, required=True)
@output_option("Directory for the model.")
@click.option(
    "--head",
    type=click.Choice(["multiclass", "polynomial", "parametrised"]),
    default="multiclass",
    show_default=True,
    help="Form of the network's output as a function of the parameter.",
)
@click.option(
    "--labels",
    type=click.Choice(["hard", "joint"]),
    default="hard",
    show_default=True,
    help="What the network learns: the sample to which an event belongs (hard), or the joint "
    "likelihood ratio of the event, computed from its weights (joint).",
)
@click.option(
    "--points",
    "points_spec",
    default=None,
    help="With --labels joint: parameter values between which the ratio is learned, such as "
    "-0.5,0,0.5 "
    "or first:last:number; default: the values of the samples; with a single sample also the "
    "values of its weights.",
)
@click.option(
    "--order",
    type=click.IntRange(1, 2),
    default=2,
    show_default=True,
    help="Degree of the amplitude in the parameters: 1, or 2 if the operators act in production "
    "and decay.",
)
@click.option(
    "--pooling",
    default="mean",
    show_default=True,
    help="How the network combines the events of a bag.",
)
@click.option(
    "--bag-size",
    type=click.IntRange(1),
    help="Number of events that the network classifies together in the training (a bag); default: "
    "1 for a polynomial head, otherwise 10.",
)
@click.option(
    "--normalise/--no-normalise",
    default=True,
    show_default=True,
    help="After the training, scale the ratios so that their mean over events at θ0 is one.  This "
    "is always done for a polynomial head, and never for poolings that score whole bags.",
)
@ensemble_option
@click.option(
    "--bootstrap",
    is_flag=True,
    help="Train the networks of the ensemble on bootstrap samples of the events, so that "
    "milinfer fit --simulation-error can compute the error from the finite simulation; needs "
    "--ensemble 4 or more, better 16.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Maximum number of epochs; the default depends on the head.",
)
@click.option(
    "--batch-events",
    type=click.IntRange(1),
    help="Events in a batch; default: fixed for a polynomial head, otherwise chosen such that an "
    "epoch has 20 steps.",
)
@click.option(
    "--reference",
    type=float,
    default=0.0,
    show_default=True,
    help="Reference value θ0, at which the log-likelihood ratio is zero.",
)
@feature_set_option
@tree_option
@events_option
@combine_option
@points_options
@click.option(
    "--events-in-memory",
    type=click.IntRange(1),
    help="Read Parquet files of features in pieces, with at most this many events in memory.",
)
@seed_option
@scheduler_option("whose workers train the networks of the ensemble.")
@json_option
def train(
    files: tuple[str, ...],
    out: Path,
    head: Any,
    labels: Any,
    points_spec: str | None,
    order: int,
    pooling: str,
    bag_size: int | None,
    normalise: bool,
    ensemble: int,
    bootstrap: bool,
    epochs: int | None,
    batch_events: int | None,
    reference: float,
    feature_set: str | None,
    events: EventRange | None,
    combine: Combine | None,
    points: dict[str, Any],
    tree: str | None,
    events_in_memory: int | None,
    seed: int,
    scheduler: str | None,
    json_path: Path | None,
) -> None:
    """Train a network that learns the likelihood ratio from samples at several parameter points.

    \b
    milinfer train points/*.parquet --out model
    milinfer train one.lhe.gz --head polynomial --labels joint --out model

    One sample is enough if its events carry weights at other points. With --labels joint the
    network learns the likelihood ratio between these points, in all parameters.
    """
    from milinfer.exceptions import ConfigurationError
    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.utils.progress import progress
    from milinfer.utils.scheduler import connected

    samples: SampleSet | StreamedSamples
    if events_in_memory is None:
        samples = read_samples(
            files, features=feature_set, points=points, tree=tree, events=events, combine=combine
        )
        # The files of one production say the same: one notice is enough.
        notices = [line for sample in samples for line in weights_notice(sample)]
        for line in dict.fromkeys(notices):
            echo(line)
    elif tree is not None:
        msg = (
            "--tree applies to ROOT files, but --events-in-memory reads Parquet files; omit one of "
            "them"
        )
        raise click.UsageError(msg)
    elif events is not None or combine is not None:
        msg = (
            "--events-in-memory reads whole files, one for each point; omit --events and "
            "--combine, or omit --events-in-memory"
        )
        raise click.UsageError(msg)
    else:
        if points:
            msg = (
                "--events-in-memory reads files of features, in which the weights already have "
                "their points; give --parameter, --reweight-point and --reweight-card to `milinfer "
                "features`"
            )
            raise ConfigurationError(msg)
        samples = streamed_samples(files, events_in_memory)
    echo(f"{samples!r}")
    model = BagLikelihood(
        head=head,
        labels=labels,
        points=None if points_spec is None else [[v] for v in values_spec(points_spec)],
        order=order,
        pooling=pooling,
        bag_size=bag_size,
        normalise=normalise,
        ensemble=ensemble,
        bootstrap=bootstrap,
        reference=reference,
        seed=seed,
    )
    options: dict[str, Any] = {"epochs": epochs, "batch_events": batch_events}
    training = replace(
        model.default_training, **{k: v for k, v in options.items() if v is not None}
    )
    model = replace(model, training=training)
    start = time.perf_counter()
    with (
        connected(scheduler) as client,
        progress("training", ensemble * training.epochs) as advance,
    ):
        model = model.fit(samples, on_epoch=lambda _: advance(1), client=client)
    seconds = time.perf_counter() - start
    model.save(out)
    history = model.fitted.history
    echo(
        f"{out}: {model!r}, "
        + ", ".join(f"loss {min(h['val_loss']):.4f} in {len(h['loss'])} epochs" for h in history)
        + f", {seconds:.0f} s"
    )
    write_json(
        json_path,
        {
            "model": out,
            "parameters": model.parameters,
            "points": model.fitted.points,
            "n_events": samples.n_events,
            "effective_events": model.fitted.effective_events,
            "head": head,
            "labels": labels,
            "bag_size": model.events_in_bag,
            "ensemble": ensemble,
            "bootstrap": bootstrap,
            "epochs": [len(h["loss"]) for h in history],
            "val_loss": [min(h["val_loss"]) for h in history],
            "train_seconds": seconds,
            "seed": seed,
        },
    )


@click.command(epilog=FILES_HELP)
@click.argument("data")
@cost_options
@click.option(
    "--belt",
    "belt_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="Neyman belt for additional intervals, besides those from MINOS.",
)
@figure_option("Figure of the scan, or of the contours of several parameters")
@json_option
def fit(
    data: str, belt_path: Path | None, out: Path | None, json_path: Path | None, **options: Any
) -> None:
    """Fit a dataset: estimate with 68.27 % and 95.45 % intervals (MIGRAD, HESSE, MINOS).

    \b
    milinfer fit data.lhe.gz --model model --calibration calibration.json

    For a model of several parameters the command prints estimates, profile intervals, correlations
    and the combinations that the data do not constrain, and draws contours at 68.27 % and 95.45 %.
    """
    from milinfer.likelihood.fits import profile_interval
    from milinfer.utils.confidence_levels import CL68, CL95

    model, sample, rate, plain_cost, cost, calibration, error = read_cost(data, **options)
    terms = options["terms"]
    simulated = None if error is None else error.to_dict()
    if len(model.parameters) > 1:
        from milinfer.cli.several_parameters import fit_several, regions_several

        words = f"{len(sample)} events, {'shape and rate' if rate else 'shape'}"
        words += ", linear terms only" if terms == "linear" else ""
        figures = fit_several(model.name, cost, words, out, calibration)
        if error is not None:
            echo(f"{error}; it is included in the intervals")
            figures[model.name]["simulation_error"] = simulated
        if belt_path is not None:
            from milinfer.intervals.belt import Belt

            figures[model.name]["region"] = regions_several(Belt.load(belt_path), plain_cost)
        write_json(json_path, {**figures, "n_events": len(sample), "terms": terms})
        return
    costs = [cost if calibration is None else calibration(cost, cl) for cl in (CL68, CL95)]
    inner, outer = (
        profile_interval(c, model.parameter, cl) for c, cl in zip(costs, (CL68, CL95), strict=True)
    )
    echo(
        f"{model.parameter} = {inner.estimate:+.4f}, 68.27 % [{inner.low:+.4f}, {inner.high:+.4f}],"
        f" 95.45 % [{outer.low:+.4f}, {outer.high:+.4f}]  ({len(sample)} events, "
        f"{'shape and rate' if rate else 'shape'}, "
        f"{'linear terms only, ' if terms == 'linear' else ''}"
        f"{'calibrated' if calibration else 'NOT calibrated: do not trust the width'})"
    )
    if error is not None:
        echo(f"{error}; it is included in the interval")
    belt_figures: dict[str, Any] = {}
    if belt_path is not None:
        from milinfer.intervals.belt import Belt

        belt = Belt.load(belt_path)
        for key, cl in (("neyman68", CL68), ("neyman95", CL95)):
            interval = belt.interval(plain_cost, cl)
            echo(f"Neyman, {cl:.2%}: {interval}")
            if any(any(ends) for ends in interval.at_bound):
                echo("  the interval reaches the edge of the belt; build a belt over a wider range")
            belt_figures[key] = interval.intervals
            belt_figures[f"{key}_error"] = interval.errors
            belt_figures[f"{key}_at_bound"] = interval.at_bound
    if out is not None:
        from milinfer.plotting.results import plot_scans

        reach = 1.3 * max(outer.high - inner.estimate, inner.estimate - outer.low)
        low, high = costs[0].limits
        window = (max(low, inner.estimate - reach), min(high, inner.estimate + reach))
        with atomic_path(out) as temporary:
            plot_scans({model.name: costs[0]}, model.parameter, window).savefig(temporary)
    write_json(
        json_path,
        {
            "poi": model.parameter,
            model.name: {
                "estimate": inner.estimate,
                **inner.entries("interval68"),
                **outer.entries("interval95"),
                "calibrated": calibration is not None,
                "widened": calibration is not None and calibration.widen,
                "simulation_error": simulated,
                "c_cicc": None if calibration is None else calibration.scale,
                "c_cicc_error": None if calibration is None else calibration.scale_error,
                **belt_figures,
            },
            "n_events": len(sample),
            "terms": terms,
        },
    )


@click.command(epilog=FILES_HELP)
@click.argument("data")
@click.option(
    "--model",
    "model_paths",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    multiple=True,
    help="Directory of a trained model; repeatable, give the main model first.",
)
@click.option(
    "--templates",
    "template_files",
    multiple=True,
    required=True,
    help="Samples that fill the histograms; repeatable. If the network was not trained on them, "
    "there is also a histogram of its output.",
)
@click.option(
    "--calibrate-on",
    "calibration_files",
    multiple=True,
    required=True,
    help="Samples for the calibration; repeatable.",
)
@click.option(
    "--evaluate-on",
    "evaluation_files",
    multiple=True,
    required=True,
    help="Samples of other events, for measuring the coverage; repeatable.",
)
@click.option(
    "--truth",
    default=None,
    metavar="VALUE|POINT",
    help="True value at which the methods are compared, 0.1 or c_HW=0.1,c_HB=0; default: the "
    "point of the --evaluate-on sample, if there is only one.",
)
@click.option(
    "--weight-degree",
    type=click.IntRange(1),
    default=None,
    help="Degree of the event weights as polynomials in the parameter. All events are then "
    "reweighted to every true value, for toys and histograms, so that one sample is enough.",
)
@click.option(
    "--truths",
    type=str,
    default=None,
    help="True values for the calibration and the coverage: -0.3,0,0.3 or first:last:number; "
    "default: the values of the samples. Other values need --weight-degree.",
)
@click.option(
    "--belt-truths",
    type=str,
    default=None,
    help="True values for the toys of a Neyman belt, written as for --truths.",
)
@at_option(
    "--at",
    "points_at",
    "For several parameters: point at which to calibrate and to measure coverage, or a grid of "
    "points, such as c_HW=-0.5:0.5:3,c_HB=-0.5:0.5:3; repeatable.",
)
@at_option(
    "--belt-at",
    "belt_points",
    "For two parameters: points for the toys of a Neyman belt, written as for --at; repeatable.",
)
@click.option(
    "--observable", default="d_phi_qq", show_default=True, help="Feature to fill into histograms."
)
@click.option(
    "--bins", type=click.IntRange(2), default=20, show_default=True, help="Number of bins."
)
@click.option(
    "--degree",
    type=click.IntRange(1),
    help="Degree of the polynomial in each bin; default: --weight-degree, otherwise 4.",
)
@click.option(
    "--simulation-error",
    "with_simulation",
    is_flag=True,
    help="Include the error of the calibration, which comes from its finite number of events, in "
    "the calibrated intervals.",
)
@n_toys_option
@feature_set_option
@tree_option
@combine_option
@points_options
@output_option("Directory for figures and report.html.")
@seed_option
@json_option
def compare(
    data: str,
    model_paths: tuple[Path, ...],
    template_files: tuple[str, ...],
    calibration_files: tuple[str, ...],
    evaluation_files: tuple[str, ...],
    truth: str | None,
    weight_degree: int | None,
    truths: str | None,
    belt_truths: str | None,
    points_at: tuple[str, ...],
    belt_points: tuple[str, ...],
    observable: str,
    bins: int,
    degree: int | None,
    with_simulation: bool,
    n_toys: int,
    feature_set: str | None,
    combine: Combine | None,
    points: dict[str, Any],
    tree: str | None,
    out: Path,
    seed: int,
    json_path: Path | None,
) -> None:
    """Fit data with the network and with pyhf on histograms; test both methods on the same toys.

    \b
    milinfer compare data.parquet --model model --templates a.parquet --templates b.parquet … \\
        --calibrate-on calib.parquet --evaluate-on eval.parquet --out comparison
    """
    from milinfer.learning.bag_likelihood import BagLikelihood
    from milinfer.likelihood.models import has_seen
    from milinfer.samples.fingerprints import sketch
    from milinfer.workflow.analysis import analyse
    from milinfer.workflow.analysis_result import summary_table
    from milinfer.workflow.analysis_settings import Analysis
    from milinfer.workflow.provenance import InputFile, Provenance, input_file
    from milinfer.workflow.report import write_report
    from milinfer.workflow.several_inputs import comparison_points
    from milinfer.workflow.several_parameters import analyse_several

    models = tuple(BagLikelihood.load(path) for path in model_paths)
    names = models[0].parameters
    inputs: list[InputFile] = []

    def note(role: str) -> Callable[[Path | str, Sample], None]:
        return lambda path, sample: inputs.append(input_file(role, path, sample))

    read = partial(read_samples, features=feature_set, points=points, tree=tree, combine=combine)
    evaluation = read(evaluation_files, parameter=names[0], on_file=note("evaluation"))
    fitted = read_dataset(data, feature_set, tree)
    note("data")(split_spec(data)[1], fitted)
    at = tuple(values_spec(truths)) if truths else ()
    templates = read(template_files, on_file=note("templates"))
    unseen = not any(has_seen(models[0], sketch(sample)) for sample in templates)
    if not unseen:
        echo(
            f"{models[0].name} was trained on events of --templates, so there is no histogram of "
            "its output; give other events in --templates to get one"
        )
    calibration = read(calibration_files, on_file=note("calibration"))
    assumed = truth_spec(truth, names)
    analysis = Analysis(
        models=models,
        data=fitted,
        templates=templates,
        classifier_templates=templates if unseen else None,
        calibration=calibration,
        evaluation=evaluation,
        weight_degree=weight_degree,
        observable=observable,
        bins=bins,
        degree=degree,
        n_toys=n_toys,
        seed=seed,
        simulation_error=with_simulation,
    )
    result: AnalysisResult | SeveralResult
    if len(names) > 1:
        if truths or belt_truths:
            msg = (
                "--truths and --belt-truths apply to models of one parameter, but the model has "
                f"{', '.join(names)}; give points with --at and --belt-at"
            )
            raise click.UsageError(msg)
        given = [require_point(p, names) for p in points_spec(points_at)]
        toys_at = comparison_points(
            analysis, assumed, given, [require_point(p, names) for p in points_spec(belt_points)]
        )
        result = analyse_several(analysis, toys_at)
    else:
        if points_at or belt_points:
            msg = (
                "--at and --belt-at apply to models of several parameters; use --truths and "
                "--belt-truths"
            )
            raise click.UsageError(msg)
        result = analyse(
            replace(
                analysis,
                truth=None if assumed is None else assumed[names[0]],
                calibrate_at=at,
                cover_at=at,
                belt_at=tuple(values_spec(belt_truths)) if belt_truths else (),
            )
        )
    settings = dict(click.get_current_context().params)
    result = replace(
        result,
        provenance=Provenance(
            "milinfer compare",
            {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
            | {"model_paths": [str(p) for p in model_paths]},
            tuple(inputs),
        ),
    )
    write_report(result, out)
    summary = result.summary()
    show_table(summary_table(summary))
    echo(f"{out / 'report.html'}")
    write_json(json_path, summary)


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
def report(directory: Path, json_path: Path | None) -> None:
    """Print the results of a finished run and the path of its report.

    \b
    milinfer report demo
    """
    from milinfer.exceptions import ConfigurationError
    from milinfer.workflow.analysis_result import summary_table

    path = directory / "summary.json"
    if not path.exists():
        msg = (
            f"{directory} has no summary.json; give the folder of a finished run, such as --out of "
            "`milinfer demo` or `milinfer compare`"
        )
        raise ConfigurationError(msg)
    try:
        summary: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
        table = summary_table(summary)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{path} is not a complete summary of an analysis ({error!r}); run the analysis again"
        raise ConfigurationError(msg) from error
    show_table(table)
    echo(f"{directory / 'report.html'}")
    write_json(json_path, summary)
