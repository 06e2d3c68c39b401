"""Does the information rise with the bag size? [AS]'s tables 2 and 3, figures 2, 3a, 5 and 16.

python -m studies.bags_of_events.bag_size [--size quick|full] [--seed 0]

Multi-class networks with free logits and parametrised networks are trained on bags of many sizes,
as in the paper; Λ of datasets of 1000 events at c_HW = 0 goes through the paper's windowed parabola
and its calibration, and through ours.  All methods see the same toys, and so does the exact
likelihood ratio.
"""

from __future__ import annotations

import dataclasses
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.datasets.generated import GeneratedEvents
from milinfer.datasets.observable import observable_coefficients
from milinfer.diagnostics.bag_size import bag_size_slope, fit_bag_sizes
from milinfer.diagnostics.bag_size_scan import information_covariance
from milinfer.exceptions import CalibrationError, MilinferWarning
from milinfer.intervals.calibration import Calibration
from milinfer.intervals.toy_intervals import toy_intervals
from milinfer.learning.bag_likelihood import single_models
from milinfer.learning.settings import settings_by_name
from milinfer.likelihood.surface import Interpolation, parabola_error
from milinfer.likelihood.tabulated_model import Tabulated
from milinfer.toys.ensemble import ToyEnsemble
from milinfer.toys.toys import Toys
from studies.bags_of_events.bag_size_conclusions import conclusions, quotes
from studies.bags_of_events.bag_size_page import CURVE, bag_size_figures, bag_size_tables
from studies.bags_of_events.bag_size_settings import (
    CL,
    HIDDEN,
    INVARIANT,
    N_EVENTS,
    OURS,
    SIZES,
    Size,
    settings,
)
from studies.common.frame import Study, require, run

AT_EDGE = 0.01
AT, BESIDE = 0.0, (-0.2, 0.2)
CALIBRATE_AT = (-0.3, -0.15, 0.0, 0.15, 0.3)
POOL_AT = (-0.4, 0.0, 0.4)
FINE = Interpolation(np.linspace(-1, 1, 81), "spline")
BOUND, PARTON = "exact, what a detector sees", "exact, parton level"


@dataclass(frozen=True)
class Pools:
    """Events that trained nothing, and the exact answer for each of them."""

    tuning: mil.EventPool
    evaluation: mil.EventPool
    twins: tuple[mil.Sample, ...]
    exact: dict[str, Tabulated]

    @property
    def samples(self) -> tuple[mil.Sample, ...]:
        return (*self.tuning.samples, *self.evaluation.samples)

    def table(self, model: mil.BagLikelihood, name: str) -> Tabulated:
        """What a model says of all events, by the features that it was trained on."""
        own = model.feature_names == self.samples[0].feature_names
        table = Tabulated.of(model, self.samples if own else self.twins, name)
        return dataclasses.replace(table, samples=self.samples)


def both_features(events: GeneratedEvents, size: Size) -> tuple[mil.Sample, mil.Sample]:
    """The same events by the columns of this size, and by those without the beam's symmetries."""
    first = events.to_sample(size.features, vbf_hww.DEFAULT_WEIGHTS)
    if size.features == INVARIANT:
        return first, first
    return first, events.to_sample(INVARIANT, vbf_hww.DEFAULT_WEIGHTS)


def make_training(size: Size, seed: int) -> tuple[mil.SampleSet, mil.SampleSet]:
    """Events to train on, by both sets of features."""
    values = np.round(np.linspace(-size.reach, size.reach, size.points), 2) + 0.0
    made = []
    for value, own in zip(
        values, np.random.SeedSequence(seed).generate_state(len(values)), strict=True
    ):
        point = {"c_HW": float(value)}
        made.append(
            both_features(
                vbf_hww.generate(size.train, point, seed=int(own), workers=size.workers), size
            )
        )
    first, second = (mil.SampleSet(tuple(s)) for s in zip(*made, strict=True))
    return first, second


def make_pools(size: Size, seed: int) -> Pools:
    """Two pools, and Λ of the evaluation events by the exact likelihood ratios."""
    seeds = np.random.SeedSequence(seed).generate_state(2 * len(POOL_AT))
    made, visible = [], []
    for i, (value, n) in enumerate(2 * [*zip(POOL_AT, size.pool, strict=True)]):
        point = {"c_HW": value}
        events = vbf_hww.generate(n, point, seed=int(seeds[i]), workers=size.workers)
        made.append(both_features(events, size))
        if i >= len(POOL_AT):
            rapidity, angles = size.integration
            found = observable_coefficients(
                events, n_rapidity=rapidity, n_angles=angles, seed=seed, workers=size.workers
            )
            visible.append(found.coefficients)
        say(f"pool at {value:+.1f}")
    tuning, evaluation = (
        mil.SampleSet(tuple(first for first, _ in made[k : k + 3])) for k in (0, 3)
    )
    oracle = mil.Oracle.from_sample(evaluation.at(c_HW=0.0), "c_HW", FINE.grid)
    powers = np.vander(FINE.grid, 5, increasing=True).T
    total = visible[POOL_AT.index(0.0)].mean(axis=0)
    tables = tuple(np.log(c @ powers) - np.log(total @ powers) for c in visible)
    seen = Tabulated(BOUND, ("c_HW",), FINE, evaluation.samples, tables)
    return Pools(
        mil.EventPool(tuning, 4),
        mil.EventPool(evaluation, 4),
        tuple(second for _, second in made),
        {PARTON: Tabulated.of(oracle, evaluation, PARTON), BOUND: seen},
    )


@dataclass(frozen=True)
class Thrown:
    """Toys of one model: evaluation at 0 and beside it, tuning at several truths, chunks at 0."""

    evaluation: list[ToyEnsemble]
    tuning: list[ToyEnsemble]
    chunks: ToyEnsemble | None


def throw(
    models: Sequence[Tabulated], pools: Pools, size: Size, seed: int, tuned: Sequence[str]
) -> dict[str, Thrown]:
    """Toys of several models, the same for all models of one seed."""
    a, b, c = (int(s) for s in np.random.SeedSequence(seed).generate_state(3))
    evaluation = Toys(pools.evaluation, N_EVENTS, seed=a)
    found = evaluation.scan(models, (AT, *BESIDE), size.toys, workers=size.workers)
    chosen = [m for m in models if m.name in tuned]
    if not chosen:
        return {name: Thrown(e, [], None) for name, e in found.items()}
    tuning = Toys(pools.tuning, N_EVENTS, seed=b).scan(
        chosen, CALIBRATE_AT, size.tuning_toys, workers=size.workers
    )
    # As the paper: every chunk of 1000 standard-model events once.
    standard = mil.SampleSet((pools.tuning.samples.at(c_HW=AT),))
    chunks = Toys(standard, N_EVENTS, seed=c, disjoint=True).run(
        chosen, AT, len(standard[0]) // N_EVENTS
    )
    return {
        name: Thrown(e, tuning[name], chunks[name]) if name in tuning else Thrown(e, [], None)
        for name, e in found.items()
    }


def numbers(e: Sequence[ToyEnsemble], exact: Mapping[str, Thrown]) -> dict[str, Any]:
    """Information, response and Bartlett ratio, and what share of the bound this is."""
    at_edge = float(e[0].extremum.at_edge.mean())
    if at_edge > AT_EDGE:
        # A maximum at the edge of the range is no estimate, and its variance no information.
        return {"at_edge": at_edge}
    info = mil.information(e[0], e)
    row = {"at_edge": at_edge, **{k: getattr(info, k) for k in INFORMATION}}
    for name, key in ((BOUND, "of_bound"), (PARTON, "of_parton")):
        relative = mil.intervals.relative_information(e, exact[name].evaluation)
        row |= {key: relative.ratio, f"{key}_error": relative.ratio_error}
    row["mean"], row["mean_error"] = float(e[0].theta_hat.mean()), e[0].mean_error
    interpolation = e[0].interpolation
    if isinstance(interpolation, Interpolation) and interpolation.kind == "parabola":
        row["mse"] = float(parabola_error(interpolation, e[0].values).mean())
    return row


INFORMATION = tuple(
    f"{name}{end}"
    for name in ("info_mle", "response", "info_eff", "bartlett_ratio", "info_curv")
    for end in ("", "_error")
)


def as_the_paper(thrown: Thrown) -> tuple[dict[str, Any], Calibration | None]:
    """Columns of tables 2 and 3: one constant and one shift, tuned on chunks at c_HW = 0."""
    chunks = thrown.chunks
    assert chunks is not None
    try:
        shift = mil.calibrate([chunks], cl=CL, correct="bias")
        both = mil.calibrate([chunks], cl=CL)
        # A shift that takes a truth out of the range of the surface is no correction either.
        elsewhere = {f"{e.truth:+.1f}": cover(e, both) for e in thrown.evaluation}
    except CalibrationError as error:
        return {"refused": str(error)}, None
    c, c_error = both.scale_at(AT)
    info = float(chunks.extremum.curvature.mean())
    row: dict[str, Any] = {
        "chunks": chunks.n_toys,
        "c": c,
        "c_error": c_error,
        "before": share(shift.contains_truth(chunks, CL)),
        "after": share(both.contains_truth(chunks, CL)),
        "info_before": info,
        "info_after": c * info,
        "bias": float(chunks.theta_hat.mean()),
        "bias_error": chunks.mean_error,
        "elsewhere": elsewhere,
    }
    interpolation = chunks.interpolation
    assert isinstance(interpolation, Interpolation)
    if interpolation.kind == "parabola":
        mse = float(parabola_error(interpolation, chunks.values).mean())
        row |= {"mse_before": mse, "mse_after": c**2 * mse}
    return row, both


def calibrated(thrown: Thrown) -> dict[str, Any]:
    """Coverage, on other events, of intervals calibrated as functions of θ."""
    found = sorted(thrown.evaluation, key=lambda e: e.truth)
    try:
        calibration = mil.calibrate(thrown.tuning, cl=CL)
        coverage = {f"{e.truth:+.1f}": cover(e, calibration) for e in found}
    except CalibrationError as error:
        return {"refused": str(error)}
    return {"coverage": coverage}


def share(inside: np.ndarray) -> list[float]:
    """A share with its binomial error."""
    p = float(np.mean(inside))
    return [p, float(np.sqrt(p * (1 - p) / len(inside)))]


def cover(e: ToyEnsemble, calibration: Calibration) -> list[float]:
    """Coverage on events that tuned nothing: value, binomial error, error from the pool."""
    found = mil.coverage(e, calibration, CL, warn_of_pool=False)
    return [found.coverage, found.error, found.pool_error]


def trends(ensembles: Mapping[int, Thrown], singles: Mapping[int, Sequence[Thrown]]) -> dict:
    """Slopes of ln I against log₂ N_B, and eq. 15, with the spread between trainings."""

    def inside(thrown: Thrown) -> bool:
        return bool(thrown.evaluation[0].extremum.at_edge.mean() <= AT_EDGE)

    good = [n for n, t in ensembles.items() if inside(t) and all(map(inside, singles[n]))]
    if len(good) < 2:
        return {"refused": f"estimates inside the range at bag sizes {good} alone"}
    left_out = sorted(set(ensembles) - set(good))
    ensembles, singles = ({n: group[n] for n in good} for group in (ensembles, singles))
    sizes = np.array(list(ensembles))
    members = len(next(iter(singles.values())))
    out: dict[str, Any] = {"sizes": sizes.tolist(), "left_out": left_out, "members": members}
    for key, near in (("info_mle", False), ("info_eff", True)):

        def info(t: Thrown, key: str = key) -> tuple[float, float]:
            found = mil.information(t.evaluation[0], t.evaluation, n_bootstrap=2)
            return getattr(found, key), getattr(found, f"{key}_error")

        whole = np.array([info(t) for t in ensembles.values()])
        alone = np.array([[info(t) for t in group] for group in singles.values()])
        toys = information_covariance(
            {
                t.evaluation[0].model: t.evaluation if near else t.evaluation[:1]
                for t in ensembles.values()
            },
            whole[:, 1].tolist(),
        )
        spread = float("nan")
        if members > 1:
            # A few trainings at each size say little of their spread; all sizes together more.
            spread = float(np.sqrt(np.mean(np.var(np.log(alone[..., 0]), axis=1, ddof=1))))
            toys = toys + np.diag((spread * whole[:, 0]) ** 2 / members)
        trend = bag_size_slope(sizes, whole[:, 0], covariance=toys)
        fit = fit_bag_sizes(sizes, whole[:, 0], covariance=toys, ansatz="sqrt")
        out[key] = {
            "values": whole[:, 0].tolist(),
            "errors": np.sqrt(np.diag(toys)).tolist(),
            "singles": alone[..., 0].tolist(),
            "training_spread": None if np.isnan(spread) else spread,
            "slope": trend.slope,
            "slope_error": trend.slope_error,
            "chi2": trend.chi2,
            "ndf": trend.ndf,
            "fit": fit.to_dict(),
            "curve": fit.info(CURVE).tolist(),
            "band": fit.info_error(CURVE).tolist(),
        }
    return out


def study(size: str, seed: int) -> dict[str, Any]:
    """Train everything, and throw the same toys for all."""
    chosen = SIZES[size]
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(4)]
    train, train_invariant = make_training(chosen, seeds[0])
    say("training events")
    pools = make_pools(chosen, seeds[1])
    exact = throw(list(pools.exact.values()), pools, chosen, seeds[2], ())
    results: dict[str, Any] = {
        "size": dataclasses.asdict(chosen),
        "bound": numbers(exact[BOUND].evaluation, exact),
        "parton": numbers(exact[PARTON].evaluation, exact),
        "rows": [],
        "trends": {},
        "profiles": {},
        "ladders": {},
    }
    for family, sizes in chosen.bags.items():
        whole: dict[int, Thrown] = {}
        alone: dict[int, list[Thrown]] = {}
        for n in sizes:
            began = time.perf_counter()
            events = train_invariant if family.endswith(OURS) else train
            model = settings(family, n, chosen, HIDDEN[size], seeds[3] % 1_000_000).fit(events)
            seconds = time.perf_counter() - began
            title = f"{family}, N_B = {n}"
            members = [
                pools.table(m, f"{title}, training {k + 1}")
                for k, m in enumerate(single_models(model))
            ]
            everyone = [Tabulated.mean(members, title), *members]
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always", MilinferWarning)
                thrown = throw(everyone, pools, chosen, seeds[2], (title,))
                whole[n], *alone[n] = thrown.values()
                row, calibration = as_the_paper(whole[n])
                results["rows"].append(
                    {
                        "family": family,
                        "bag_size": n,
                        "seconds": round(seconds, 1),
                        "epochs": [len(h["loss"]) for h in model.fitted.history],
                        **numbers(whole[n].evaluation, exact),
                        "paper": row,
                        "calibrated": calibrated(whole[n]),
                        "singles": [numbers(t.evaluation, exact) for t in alone[n]],
                        "notes": sorted({str(w.message) for w in heard}),
                    }
                )
            say(f"{title}: {seconds:.0f} s, {results['rows'][-1]['epochs']} epochs")
            if family == "multi-class":  # figures 5 and 16
                results["profiles"][str(n)] = profiles(whole[n], alone[n][0])
                if calibration is not None and n in (sizes[0], 125, sizes[-1]):
                    results["ladders"][str(n)] = ladder(whole[n].evaluation[0], calibration)
        # Without the spread between trainings a slope has no error worth the name.
        if len(sizes) > 1 and chosen.members.get(family, 1) > 1:
            with warnings.catch_warnings():
                # The same responses as in the rows, whose notes have the warnings.
                warnings.simplefilter("ignore", MilinferWarning)
                results["trends"][family] = trends(whole, alone)
    return results


def profiles(whole: Thrown, alone: Thrown) -> dict[str, Any]:
    """−2Λ of the first toy by the ensemble and by one of its members, with their parabolas."""
    out = {}
    for name, thrown in (("ensemble", whole), ("single", alone)):
        e = thrown.evaluation[0]
        interpolation = e.interpolation
        assert isinstance(interpolation, Interpolation)
        found = interpolation.extrema(e.values[:1])
        out[name] = {
            "theta": interpolation.grid.tolist(),
            "values": (-2 * e.values[0]).tolist(),
            "window": interpolation.window,
            "theta_hat": float(found.theta_hat[0]),
            "minimum": -2 * float(found.maximum[0]),
            "curvature": float(found.curvature[0]),
            "mse": float(parabola_error(interpolation, e.values[:1])[0]),
        }
    return out


def ladder(e: ToyEnsemble, calibration: Calibration, n: int = 50) -> dict[str, Any]:
    """Intervals of the first toys, and the coverage of all."""
    intervals = toy_intervals(
        dataclasses.replace(e, values=e.values[:n], counts=e.counts[:n], pieces=()), calibration, CL
    )
    widths = (intervals.high - intervals.low) / 2
    return {
        "estimate": intervals.estimate.tolist(),
        "low": intervals.low.tolist(),
        "high": intervals.high.tolist(),
        "covers": intervals.covers.tolist(),
        "coverage": cover(e, calibration),
        "half_width": float(widths.mean()),
    }


def say(text: str) -> None:
    print(f"{time.process_time():7.0f} s of work  {text}", file=sys.stderr, flush=True)


def check(results: Mapping[str, Any]) -> None:
    """What holds of every size of the study."""
    bound, parton = results["bound"], results["parton"]
    loss = parton["of_bound"] - 1
    require(
        loss > -4 * parton["of_bound_error"],
        f"the neutrinos bring information: parton level {parton['of_bound']:.3f} of the bound",
    )
    for name, row in (("bound", bound), ("parton", parton)):
        pull = (row["bartlett_ratio"] - 1) / row["bartlett_ratio_error"]
        # 1000 events are not infinitely many: the exact ratio is not quite a parabola.
        require(
            abs(row["bartlett_ratio"] - 1) < 0.12 + 4 * row["bartlett_ratio_error"],
            f"{name}: Bartlett ratio off by {pull:.1f} sigma",
        )
    for row in results["rows"]:
        title = f"{row['family']}, N_B = {row['bag_size']}"
        if row["at_edge"] > AT_EDGE:
            continue  # no estimate, no information
        excess = (row["of_bound"] - 1) / row["of_bound_error"]
        require(excess < 4, f"{title}: above the exact bound by {excess:.1f} sigma")
        smooth = row["family"].removesuffix(OURS) != "multi-class"
        for truth, (value, error, pool) in row["calibrated"].get("coverage", {}).items():
            # Constants come from as many toys as the test, of a pool as large.
            pull = (value - CL) / np.sqrt(2 * (error**2 + pool**2))
            # Windows that jump from point to point are no smooth function of θ; see the page.
            require(
                pull > -5 and (pull < 5 if smooth else value - CL < 0.1),
                f"{title} at {truth}: coverage {value:.3f}, {pull:+.1f} sigma",
            )
    best = {}
    for row in results["rows"]:
        if row.get("of_bound", 0) > best.get(row["family"], {"of_bound": 0})["of_bound"]:
            best[row["family"]] = row
    ours = "polynomial, joint" + (OURS if f"polynomial, joint{OURS}" in best else "")
    require(ours in best, "joint labels give no estimate inside the range")
    for family in ("multi-class", "parametrised"):
        row = best.get(family)
        if row is not None:
            error = np.hypot(best[ours]["of_bound_error"], row["of_bound_error"])
            require(
                best[ours]["of_bound"] > row["of_bound"] - 3 * error,
                f"joint labels reach less than the best {family} network",
            )


def made_with(size: str) -> dict[str, Any]:
    chosen = SIZES[size]
    return {
        "size": chosen,
        "events in a dataset": N_EVENTS,
        "truths": (AT, *BESIDE),
        "calibrated at": CALIBRATE_AT,
        "pools at": POOL_AT,
        "confidence level": CL,
        "models": {
            f"{family}, N_B = {n}": settings_by_name(settings(family, n, chosen, HIDDEN[size], 0))
            for family, sizes in chosen.bags.items()
            for n in sizes
        },
    }


STUDY = Study(
    name="bag_size",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    quotes=quotes,
    tables=bag_size_tables,
    figures=bag_size_figures,
)

if __name__ == "__main__":
    run(STUDY)
