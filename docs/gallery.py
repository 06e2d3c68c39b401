"""The gallery: every figure function of the package once, drawn from one small seeded job.

``python docs/gallery.py`` writes ``docs/figures/gallery/*.svg`` and ``docs/gallery.md``.  What the
page shows as the call is what is evaluated here, so that it cannot be wrong.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from iminuit.cost import NormalConstraint
from matplotlib.figure import Figure

import milinfer as mil
from milinfer import impacts
from milinfer.datasets import gaussian, gaussian_systematics, quadratic, vbf_hww
from milinfer.diagnostics.bag_size_scan import BagSizeScan
from milinfer.exceptions import MilinferWarning
from milinfer.intervals.conditional_coverage import conditional_coverage
from milinfer.intervals.coverage import CoverageScan
from milinfer.intervals.ranking import nuisance_impacts
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.learning.bag_likelihood import classifier_output
from milinfer.learning.networks.configs import TrainingConfig
from milinfer.likelihood.expected_response import expected_response
from milinfer.likelihood.fits import contour
from milinfer.likelihood.models import dataset_surface, model_tag
from milinfer.likelihood.posterior import Posterior
from milinfer.likelihood.response_terms import ResponseTerms
from milinfer.likelihood.responses import Response
from milinfer.likelihood.surface_box import ChebyshevBox
from milinfer.samples.sample_set import SampleSet
from milinfer.samples.variations import ProcessVariations, Variation
from milinfer.workflow.analysis import analyse
from milinfer.workflow.analysis_settings import Analysis
from milinfer.workflow.html_report import svg_text

HERE = Path(__file__).parent
FIGURES = HERE / "figures" / "gallery"
SMALL = mil.NetworkConfig((16,), "gelu", batch_norm=False, dropout=0.0, l2=0.0)
LIMIT = 150_000
"""Bytes of a figure, at most."""


class Picture(NamedTuple):
    """One figure: what one reads off it, the call, and where its function is."""

    name: str
    caption: str
    call: str
    module: str = "milinfer.plotting"

    @property
    def function(self) -> str:
        """Name of the function that draws it."""
        return self.call.split("(")[0].split(".")[-1]


class Section(NamedTuple):
    """Pictures under one heading."""

    title: str
    pictures: tuple[Picture, ...]


SECTIONS = (
    Section(
        "Samples and training",
        (
            Picture(
                "features",
                "Distributions of three features at three values of the parameter, with "
                "statistical errors. They show which features depend on the parameter.",
                'plot_features(ends, ["d_phi_qq", "q0_pt", "m_ll"])',
            ),
            Picture(
                "training",
                "Training and validation loss by epoch. If the validation loss rises while the "
                "training loss falls, the network overfits.",
                "plot_training(model.fitted.history)",
            ),
            Picture(
                "roc",
                "ROC curves of the learned likelihood ratio and of one feature, for the "
                "separation of events at two values of the parameter. The legend gives the "
                "areas under the curves with their errors.",
                "plot_roc(scores)",
            ),
        ),
    ),
    Section(
        "Diagnostics",
        (
            Picture(
                "normalisation",
                "Mean of the learned ratio over events at the reference point, for several values "
                "of the parameter, with bands of one and two errors. For an exact ratio this mean "
                "is 1.",
                "plot_normalisation(diagnosis)",
            ),
            Picture(
                "closure",
                "Two samples, one generated at the reference point and one at another (target) "
                "point: the ratio of their distributions, before and after the reference sample "
                "is weighted with the learned ratio. The figure shows the features that agree "
                "worst.",
                "plot_closure(diagnosis)",
            ),
            Picture(
                "separation",
                "Area under the ROC curve of a classifier that tries to separate a sample at the "
                "reference point from a sample at another (target) point, before and after the "
                "reference sample is weighted with the learned ratio. The area is 0.5 if the "
                "samples agree.",
                "plot_separation(diagnosis)",
            ),
            Picture(
                "calibration_curves",
                "Reliability diagram of the classifier: the fraction of events that really belong "
                "to a class, as a function of the predicted probability of this class.",
                "plot_calibration_curves(diagnosis)",
            ),
            Picture(
                "response_yields",
                "Expected number of events as a function of each nuisance parameter (lines), and "
                "the yields of varied samples (points). The lower panels show the difference "
                "between lines and points, and a band within which this difference is harmless.",
                "plot_response_yields(response_diagnosis)",
            ),
            Picture(
                "fit_tests",
                "Goodness-of-fit tests: ratio of the data to the simulation at the best fit, "
                "for the observables that agree worst.",
                "plot_fit_tests(result.fit_tests)",
            ),
            Picture(
                "response_closure",
                "Effect of nuisance parameters on the features that agree worst: varied events "
                "(points) are compared with nominal events that are weighted with the learned "
                "response to the nuisance parameter (lines).",
                "plot_response_closure(response_diagnosis)",
            ),
        ),
    ),
    Section(
        "Likelihoods and intervals",
        (
            Picture(
                "scans",
                "−2 ln L of one dataset as a function of c_HW, for every method. The dotted lines "
                "mark the thresholds of the 68.27 % and 95.45 % intervals.",
                'plot_scans(scans, "c_HW", (-0.6, 0.6), truth=0.0)',
            ),
            Picture(
                "intervals",
                "Estimates of c_HW and their intervals for one dataset, for every method: 68.27 % "
                "(thick) and 95.45 % (thin).",
                "plot_intervals(intervals, truth=0.0)",
            ),
            Picture(
                "datasets",
                "The interval of the data and the intervals of twenty simulated datasets. About "
                "one in three 68.27 % intervals does not contain the true value.",
                'plot_datasets(intervals["polynomial-joint"][0], after)',
            ),
            Picture(
                "simulation_error",
                "Learned −2 ln L relative to its minimum, with the error from the finite number "
                "of simulated events (band). The dashed curve is the wider −2 ln L that includes "
                "this error.",
                "plot_simulation_error(simulation)",
            ),
            Picture(
                "contour",
                "Profile-likelihood contours of two parameters.",
                'plot_contour({"exact ratio": plane_fit}, "c1", "c2", truth=(0.0, 0.0))',
            ),
            Picture(
                "contour_lines",
                "Contours of two parameters, drawn from saved points of the contours (such as "
                "those in `summary.json`), and the estimates.",
                'plot_contour_lines({"exact ratio": outlines}, estimates, "c1", "c2")',
            ),
            Picture(
                "impacts",
                "Impact of each nuisance parameter on the result, before the fit (frames) and "
                "after it (bars), and its pull: the fitted minus the measured value, in units of "
                "the error of the auxiliary measurement.",
                'plot_impacts(nuisance_impacts(shaped, "mu"), "mu")',
            ),
            Picture(
                "pulls",
                "Fitted values and errors of nuisance parameters, in units of the errors of "
                "their auxiliary measurements.",
                'plot_pulls({"fit": impacts(uncertain, "mu")})',
            ),
            Picture(
                "expected_intervals",
                "Expected intervals of an analysis: the interval of the Asimov data, with a band "
                "for its lower end and a band for its upper end, from the intervals of toys "
                "(pseudo-experiments).",
                'plot_expected(expectations, {"backgrounds profiled": observed})',
            ),
            Picture(
                "upper_limit",
                "CLs against the parameter, observed and expected without a signal. Values with "
                "CLs below 5 % are excluded at 95 % confidence level.",
                "plot_upper_limit(limit)",
            ),
            Picture(
                "posterior",
                "Posteriors of the same data with two priors, with medians and intervals. The "
                "difference shows how much the prior matters.",
                'plot_posterior(posteriors, "c_HW", truth=0.0)',
            ),
        ),
    ),
    Section(
        "Calibration",
        (
            Picture(
                "calibrated",
                "Likelihood curve and interval of one dataset, before and after the calibration.",
                "plot_calibrated(cost, calibration, truth=0.0)",
            ),
            Picture(
                "scale",
                "Factor on Λ that gives the claimed coverage: its values from toys "
                "(pseudo-experiments) at each true value, and functions fitted to these values. "
                "If the factor is below 1, the learned Λ is too steep; if it is above 1, too "
                "flat.",
                "plot_scale(calibration)",
            ),
            Picture(
                "response",
                "Bias of the estimate as a function of the true value. If the bias changes with "
                "the true value, the response (the slope of the mean estimate) differs from 1.",
                "plot_response(calibration_toys, calibration)",
            ),
            Picture(
                "ladder",
                "Intervals of fifty toys (pseudo-experiments) before and after the calibration. "
                "Diamonds mark the intervals that do not contain the true value.",
                'plot_ladder(before, after, parameter="c_HW")',
            ),
        ),
    ),
    Section(
        "Coverage",
        (
            Picture(
                "coverage",
                "Measured coverage of every method, compared with the claimed coverage (dashed).",
                "plot_coverage(coverages)",
            ),
            Picture(
                "coverage_scan",
                "Coverage as a function of the true value. The bands show one and two binomial "
                "errors around the claimed coverage.",
                "plot_coverage_scan(result.coverage)",
            ),
            Picture(
                "point_coverage",
                "Coverage of regions, or of intervals of one parameter, at points in the plane "
                "of two parameters.",
                'plot_point_coverage({"region": corner_coverage}, 0.6827)',
            ),
            Picture(
                "conditional",
                "Coverage as a function of a property of the dataset, here the curvature of its "
                "−2 ln L. A small p-value means that the coverage depends on this property.",
                "plot_conditional(conditional)",
            ),
            Picture(
                "estimates",
                "Distributions of the estimates of all methods on the same toys "
                "(pseudo-experiments). They show the spread and the bias of each method.",
                "plot_estimates(result.evaluation_toys)",
            ),
        ),
    ),
    Section(
        "Neyman belts",
        (
            Picture(
                "belt",
                "Neyman belt: the interval contains the values of the parameter at which the "
                "test statistic of the data is below its critical value from toys "
                "(pseudo-experiments).",
                "plot_belt(belt, observed=cost)",
            ),
            Picture(
                "region",
                "Accepted region of two parameters from a Neyman belt. The bars are the "
                "projections of the region on the axes.",
                "plot_region(region, wide_region)",
            ),
        ),
    ),
    Section(
        "Information and comparison",
        (
            Picture(
                "bag_sizes",
                "Effective information of the estimate as a function of the bag size, the "
                "number of events that the network evaluates together. The numbers come from "
                "the [study of bag sizes](studies/bag_size.md).",
                'plot_bag_sizes(bag_scan, [bag_scan.fit("sqrt")])',
            ),
            Picture(
                "relative_widths",
                "Widths of intervals with correct coverage: the width for each method, divided by "
                "the width for the best histogram.",
                "plot_relative_widths(result.widths)",
            ),
            Picture(
                "templates",
                "Histogram of the data, and the templates at the true value and at the best fit, "
                "with the errors of the templates from finite simulation. All bins are drawn with "
                "the same width.",
                'plot_templates(edges, expected, counts, "classifier_output", errors)',
            ),
        ),
    ),
    Section(
        "With cabinetry",
        (
            Picture(
                "cabinetry_pulls",
                "Fitted values of the nuisance parameters of an unbinned fit, in units of the "
                "errors of their auxiliary measurements, drawn by [cabinetry](workspaces.md).",
                'pulls(pulled, exclude="mu", save_figure=False)',
                "cabinetry.visualize",
            ),
            Picture(
                "cabinetry_correlations",
                "Correlation matrix of the parameters of an unbinned fit, drawn by cabinetry.",
                "correlation_matrix(fit, save_figure=False)",
                "cabinetry.visualize",
            ),
        ),
    ),
)


@dataclass(frozen=True)
class ExactPlane:
    """The exact ratio of the quadratic problem in two parameters, as a model."""

    name: str = "exact"
    parameters: tuple[str, str] = ("c1", "c2")

    @property
    def interpolation(self) -> Any:
        """Polynomials of degree 8 on the square [−0.8, 0.8]²."""
        return ChebyshevBox(np.array([-0.8, -0.8]), np.array([0.8, 0.8]), 8)

    def event_llr(self, sample: Any) -> Any:
        """Λ of each event, shape (n_events, 81)."""
        return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid)


@dataclass(frozen=True)
class ExactResponse(Response):
    """Response to a shift of x by 0.3 and to a weight exp(0.25 y), for normal x and y."""

    terms: ResponseTerms
    expected: Any = None
    process: str = "signal"
    feature_names: tuple[str, ...] = ("x", "y")
    trained_on: tuple[str, ...] = ()

    def event_columns(self, sample: Any) -> Any:
        """Coefficients of shift, shift², tilt and tilt²."""
        x, y = sample.column("x"), sample.column("y")
        zero = np.zeros(len(x))
        return np.stack([0.3 * x, zero - 0.045, 0.25 * y, zero], axis=1)


def job(seed: int = 1, quick: bool = False) -> dict[str, Any]:
    """All results that are drawn, by the names in the calls; the quick ones of fewer events."""

    def events(n: int, value: float, number: int) -> Any:
        generated = vbf_hww.generate(n, {"c_HW": value}, seed=seed + number)
        return generated.to_sample("vbf_2l2j", vbf_hww.DEFAULT_WEIGHTS)

    def several(n: int, values: Any, number: int) -> Any:
        return mil.SampleSet(tuple(events(n, v, number + i) for i, v in enumerate(values)))

    simulated = several(2500, (-1.0, -0.5, 0.0, 0.5, 1.0), 9)
    train, held_out = simulated.split([0.8, 0.2], seed=seed)
    settings = TrainingConfig(epochs=10, batch_events=1000)
    model = mil.BagLikelihood(
        head="polynomial", labels="joint", seed=seed, training=settings,
        network=SMALL if quick else None,
    )  # fmt: skip
    model = model.fit(train)
    n_pool = 2000 if quick else 6000
    pool = several(n_pool, (-0.3, 0.0, 0.3), 19)
    result = analyse(
        Analysis(
            models=(model,),
            data=events(1000, 0.0, 39).as_data(),
            templates=train,
            classifier_templates=held_out,
            calibration=pool,
            evaluation=several(n_pool, (-0.3, 0.0, 0.3), 29),
            truth=0.0,
            simulated=True,
            weight_degree=4,
            calibrate_at=(-0.2, 0.0, 0.2),
            cover_at=(-0.2, 0.0, 0.2),
            belt_at=(-0.3, -0.15, 0.0, 0.15, 0.3),
            oracle_pool=pool.at(c_HW=0.0),
            n_toys=100 if quick else 300,
            bins=8,
            seed=seed,
        )
    )
    found = _one_parameter(result, classifier_output(model), held_out)
    found |= _two_parameters(seed, quick) | _mixture(seed) | _expectations(seed, quick)
    found |= _response(seed, quick)
    found["simulation"] = _simulation(seed, quick)
    return found | {"bag_scan": _bag_sizes()}


def _simulation(seed: int, quick: bool) -> mil.learning.SimulationError:
    """Error of the quadratic problem from a simulation of 500 events a point."""
    samples = quadratic.samples(500, [{"c1": v} for v in (-0.8, -0.4, 0.0, 0.4, 0.8)], seed=seed)
    model = mil.BagLikelihood(
        head="polynomial", labels="joint", order=1, ensemble=4 if quick else 8, bootstrap=True,
        seed=seed,
        network=SMALL if quick else replace(SMALL, hidden=(32, 32)),
        training=TrainingConfig(5 if quick else 20, 500, 3e-3, 3e-5, schedule="cosine"),
    )  # fmt: skip
    data = quadratic.generate(1000, {"c1": 0.1}, seed=seed + 1)
    return mil.simulation_error(model.fit(samples), data)


def _one_parameter(result: Any, output: Any, held_out: Any) -> dict[str, Any]:

    analysis, comparison = result.analysis, result.comparison
    model, data = analysis.model, analysis.data
    learned, toys = comparison[model.name], result.evaluation_toys[model.name]
    calibration, cost = learned.calibration, result.costs[model.name]
    signal, background = held_out.at(c_HW=1.0), held_out.at(c_HW=0.0)
    templates = result.templates["pyhf_classifier"]
    best = {"c_HW": comparison["pyhf_classifier"].intervals[0].estimate}
    surface = dataset_surface(model, data)
    return {
        "result": result,
        "model": model,
        "diagnosis": result.diagnoses[model.name],
        "calibration": calibration,
        "cost": cost,
        "belt": result.belts[model.name],
        "ends": SampleSet((analysis.templates[0], analysis.templates[2], analysis.templates[4])),
        "scores": {
            "learned ratio": (output(signal), output(background)),
            "leading quark's pT": (signal.column("q0_pt"), background.column("q0_pt")),
        },
        "scans": {f"{model.name}, as trained": cost, model.name: calibration(cost)}
        | {name: c for name, c in result.costs.items() if name != model.name},
        "intervals": {m.name: m.intervals for m in comparison},
        "posteriors": {
            "flat prior": Posterior.from_surface(surface),
            "Gaussian prior of width 0.1": Posterior.from_surface(
                surface, lambda t: np.exp(-0.5 * (t / 0.1) ** 2)
            ),
        },
        "calibration_toys": result.calibration_toys[model.name],
        "before": toy_intervals(toys),
        "after": toy_intervals(toys, calibration),
        "coverages": {f"{model.name}, as trained": learned.coverages_raw}
        | {m.name: m.coverages for m in comparison},
        "conditional": [
            conditional_coverage([toys], method, name=name)
            for name, method in (("as trained", None), ("calibrated", calibration))
        ],
        "edges": templates.axes[0].edges,
        "expected": {
            f"{name}: c_HW={point['c_HW']:.2f}": len(data) * templates.fractions(point)
            for name, point in (("truth", {"c_HW": 0.0}), ("best fit", best))
        },
        "counts": templates.counts(data),
        "errors": templates.relative_errors({"c_HW": 0.0}),
    }


def _two_parameters(seed: int, quick: bool) -> dict[str, Any]:
    """Fit and Neyman regions of the quadratic problem with its exact ratio."""
    model, n = ExactPlane(), 2000
    points = [{"c1": a, "c2": b} for a in (-0.4, 0.4) for b in (-0.4, 0.4)]
    pool = quadratic.samples(20_000 if quick else 100_000, points, seed=seed)
    toys = mil.Toys(pool, n, seed=seed)
    ensembles = [toys.run([model], p, 100 if quick else 200)["exact"] for p in points]
    belt = mil.neyman(ensembles, smooth=0)
    data = quadratic.generate(n, {"c1": 0.0, "c2": 0.0}, seed=seed + 1)
    surface = dataset_surface(model, data)
    cost = mil.LikelihoodCost(surface, model.parameters, n_events=n, tag=model_tag(model))
    fit = mil.minuit(cost).migrad()
    levels = (0.6827, 0.9545)
    return {
        "plane_fit": fit,
        "outlines": {cl: contour(fit, "c1", "c2", cl) for cl in levels},
        "estimates": {"exact ratio": (fit.values["c1"], fit.values["c2"])},
        "corner_coverage": CoverageScan(
            tuple(mil.coverage(e, None, levels[0], name="exact ratio") for e in ensembles)
        ),
        "region": belt.region(cost, 0.6827, n_grid=61),
        "wide_region": belt.region(cost, 0.9545, n_grid=61),
    }


def _ratio(mean: float) -> Any:
    """Ln of the density of N(mean, 1) over that of N(0, 1)."""
    return lambda sample: gaussian.log_likelihood_ratio(sample.column("x0"), mean)


def _mixture(seed: int) -> dict[str, Any]:
    """A signal over two backgrounds of uncertain normalisation."""
    parts = [(800, 0.1), (300, 1.5), (100, -1.0)]
    features = [gaussian.generate(n, mu, seed=seed + k).features for k, (n, mu) in enumerate(parts)]
    cost = mil.mixture_cost(
        gaussian.MeanModel(),
        mil.Sample(np.concatenate(features), ("x0",)),
        rate=800.0,
        reference=0.0,
        backgrounds={"top": (_ratio(1.5), 300.0), "diboson": (_ratio(-1.0), 100.0)},
    )
    constraints = {"top_norm": 0.1, "diboson_norm": 0.3}
    for name, width in constraints.items():
        cost = cost + NormalConstraint(name, 1.0, width)
    m = mil.minuit(cost)
    m.migrad()
    m.hesse()
    fit = mil.likelihood.fit_results(m)
    # cabinetry counts from 0 in units of the constraint.
    widths = np.array([constraints.get(name, 1.0) for name in fit.labels])
    centres = np.array([float(name in constraints) for name in fit.labels])
    pulled = fit._replace(
        bestfit=(fit.bestfit - centres) / widths, uncertainty=fit.uncertainty / widths
    )
    # Backgrounds and selections that are not known exactly, and 4 % more events than expected.
    uncertain = mil.systematic_cost(
        gaussian.MeanModel(),
        gaussian.generate(520, 0.1, seed=seed).as_data(),
        rate=500.0,
        responses={},
        reference=0.0,
        uncertainties=[
            mil.NormalisationUncertainty(name, {"signal": (1 - size, 1 + size)})
            for name, size in (("trigger", 0.02), ("efficiency", 0.05), ("cross_section", 0.08))
        ],
    )
    return {"mixture": cost, "fit": fit, "pulled": pulled, "uncertain": uncertain}


def _expectations(seed: int, quick: bool) -> dict[str, Any]:
    """A shape with nuisance parameters, and what the mixture expects before data are looked at."""
    shaped = gaussian_systematics.GaussianCost(
        gaussian_systematics.dataset(0.1, {"shift": 0.4}, signal=1000, background=250, seed=seed),
        signal=1000,
        background=250,
        constrained=False,
    )
    names = ["background_norm", *gaussian_systematics.NUISANCES]
    n_events, n_toys = (5000, 100) if quick else (40_000, 300)
    pool = {
        name: mil.Sample(
            gaussian.generate(n_events, mu, seed=seed + k).features, ("x0",), process=name
        )
        for k, (name, mu) in enumerate((("signal", 0.0), ("top", 1.5), ("diboson", -1.0)))
    }
    expectations, costs = {}, {}
    for name, widths in (
        ("backgrounds profiled", {"top": 0.1, "diboson": 0.3}),
        ("backgrounds known", {"top": 1e-3, "diboson": 1e-3}),
    ):
        terms = mil.systematic_terms(
            gaussian.MeanModel(),
            rate=800.0,
            responses={},
            reference=0.0,
            backgrounds={"top": (_ratio(1.5), 300.0), "diboson": (_ratio(-1.0), 100.0)},
            norm_constraints=widths,
        )
        background = tuple(
            mil.Background(pool[n], e) for n, e in (("top", 300.0), ("diboson", 100.0))
        )
        signal = mil.SampleSet((gaussian.generate(n_events, 0.0, seed=seed),))
        toys = mil.Toys(signal, 800, seed=seed, poisson=True, background=background)
        ensemble = toys.run([mil.ProfiledSystematics(terms)], 0.0, n_toys)["profiled"]
        costs[name] = mil.likelihood.asimov_cost(terms, pool)
        expectations[name] = mil.intervals.expected_interval(ensemble, costs[name])
    asimov = costs["backgrounds profiled"]
    features = [
        gaussian.generate(n, mu, seed=seed + 10 + k).features
        for k, (n, mu) in enumerate([(805, 0.04), (310, 1.5), (95, -1.0)])
    ]
    data = mil.Sample(np.concatenate(features), ("x0",), process="data")
    cost = asimov.terms.cost(data)
    interval = mil.profile_interval(cost, "mu")
    return {
        "shaped": shaped + NormalConstraint(names, [1, 0, 0, 0], [0.1, 1, 1, 1]),
        "expectations": expectations,
        "observed": (interval.low, interval.high),
        "limit": mil.intervals.upper_limit(cost, asimov, "mu"),
    }


def _response(seed: int, quick: bool) -> dict[str, Any]:
    """Diagnosis of a response to two nuisance parameters."""
    rng = np.random.default_rng(seed)
    n = 4000 if quick else 40_000
    training, nominal = (mil.Sample(rng.normal(size=(n, 2)), ("x", "y")) for _ in range(2))
    y = nominal.column("y").astype(np.float64)
    variations = [
        v
        for s in (-1.0, 1.0)
        for v in (
            Variation.of_features(
                nominal, {"shift": s}, nominal.features + np.array([0.3 * s, 0.0])
            ),
            Variation.of_weights(nominal, {"tilt": s}, np.exp(0.25 * s * y)),
        )
    ]
    terms = ResponseTerms.of(["shift", "tilt"])
    kappa = expected_response(ExactResponse(terms).table, mil.SampleSet((training,)))
    held_out = ProcessVariations(mil.SampleSet((nominal,)), tuple(variations))
    return {"response_diagnosis": mil.diagnose_response(ExactResponse(terms, kappa), held_out)}


def _bag_sizes() -> Any:
    """What the study of bag sizes has measured with the multi-class head."""
    path = HERE.parent / "studies" / "results" / "bag_size-full.json"
    study = json.loads(path.read_text(encoding="utf-8"))["results"]
    rows = [r for r in study["rows"] if r["family"] == "multi-class"]

    def column(key: str) -> Any:
        return np.array([r[key] for r in rows])

    bound = study["bound"]["info_eff"], study["bound"]["info_eff_error"]
    return BagSizeScan(
        column("bag_size"),
        (),
        column("info_eff"),
        column("info_mle"),
        column("info_mle_error"),
        np.diag(column("info_eff_error") ** 2),
        float("nan"),
        bound,
    )


def pictures() -> list[Picture]:
    """All of them, in order."""
    return [p for section in SECTIONS for p in section.pictures]


def figures(seed: int = 1, *, quick: bool = False) -> Iterator[tuple[Picture, Figure]]:
    """Run the job and make all figures."""
    with warnings.catch_warnings():
        # The pools of so small a job are small, which it is warned of.
        warnings.simplefilter("ignore", MilinferWarning)
        names = job(seed, quick) | {"impacts": impacts, "nuisance_impacts": nuisance_impacts}
        for picture in pictures():
            function = getattr(import_module(picture.module), picture.function)
            with mpl.rc_context():
                figure = eval(picture.call, names | {picture.function: function})
            yield picture, figure


def draw(folder: Path) -> None:
    """Draw everything into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture, figure in figures():
        text = svg_text(figure)
        if len(text) > LIMIT:
            msg = f"{picture.name}.svg has {len(text)} bytes, more than {LIMIT}"
            raise ValueError(msg)
        (folder / f"{picture.name}.svg").write_text(text, encoding="utf-8")


def page() -> str:
    """The page of the documentation."""
    lines = [
        "# Gallery",
        "",
        "This page shows every figure that milinfer can draw. All figures come from one small job",
        "on generated events (1000 events, 300 toys), so their errors are large. The call that",
        "drew a figure is printed below it. Names in the calls, such as `model` and `diagnosis`,",
        "are results of the script `docs/gallery.py`; run it to draw all figures again. Λ(θ) is",
        "the log-likelihood ratio; the [glossary](glossary.md) explains the other terms.",
        "",
        "All functions return a `matplotlib.figure.Figure` and do not use pyplot. Save vector",
        'graphics with `figure.savefig("scan.pdf")` or `"scan.svg"`.',
        "`milinfer.workflow.html_report.svg_text(figure)` returns the figure as SVG text, which is",
        "the same in every run, byte for byte.",
        "Colour-blind readers can distinguish the colours. Every method has its own marker and",
        "line style, for print in grey. Labels of features have units; c_HW is dimensionless",
        "(for a scale of new physics of 1 TeV).",
        "",
    ]
    for section in SECTIONS:
        lines += [f"**{section.title}**", "", "::::{grid} 2 3 4 4", ":gutter: 2", ""]
        for p in section.pictures:
            lines += [
                f":::{{grid-item-card}} {p.function.removeprefix('plot_').replace('_', ' ')}",
                f":img-top: figures/gallery/{p.name}.svg",
                f":img-alt: {p.function}",
                f":link: gallery-{p.name}",
                ":link-type: ref",
                ":class-body: sd-p-1 sd-fs-6",
                ":text-align: center",
                ":::",
                "",
            ]
        lines += ["::::", ""]
    for section in SECTIONS:
        lines += [f"## {section.title}", ""]
        for p in section.pictures:
            lines += [
                f"(gallery-{p.name})=",
                "",
                f"### {p.function}",
                "",
                p.caption,
                "",
                f"![{p.function}](figures/gallery/{p.name}.svg)",
                "",
                "```{code-block} python",
                f"from {p.module} import {p.function}",
                "",
                p.call,
                "```",
                "",
            ]
    lines += [
        "`milinfer.plotting.diagnostic_figures(diagnosis)` draws the four figures of a diagnosis,",
        "and `milinfer.workflow.report.figures(result)` draws all figures of a report.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    draw(FIGURES)
    (HERE / "gallery.md").write_text(page(), encoding="utf-8")
