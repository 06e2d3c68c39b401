"""What goes wrong in parametrised networks, and what mends it: [AS]'s figures 3b and 18 to 20.

python -m studies.bags_of_events.parametrised [--size quick|full] [--seed 0]

Networks with θ beside the features are trained on three sets of pairs of a bag and a value of θ,
which differ in what stands beside θ = 0.  Their answers for bags that trained nothing are compared
with the exact likelihood ratio of the same bags, and with other heads.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.special import expit, logsumexp

import milinfer as mil
from milinfer.datasets import vbf_hww
from milinfer.datasets.observable import observable_coefficients
from milinfer.diagnostics.two_sample import weighted_auc
from milinfer.learning.networks.configs import NetworkConfig, TrainingConfig
from milinfer.likelihood.surface import Interpolation
from milinfer.plotting.results import PALETTE, figure_of, styled
from studies.common.frame import Study, markdown, pair, require, run

SYMMETRIC, NO_REFERENCE, POSITIVE = "symmetric", "no pairs at θ = 0", "only positives at θ = 0"
EXACT = "exact"
SHARES = np.array([0.3, 0.3, 0.2, 0.2])  # of neighbours among the negatives at θ = 0, §C.5
DATASET = 50  # events, for slopes
CURVES = 20


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    features: str
    reach: float
    points: int
    train: int
    test: int
    bags: tuple[int, ...]
    repeats: int
    epochs: int
    batch_events: int
    integration: tuple[int, int]
    workers: int

    @property
    def step(self) -> float:
        """Distance of neighbouring values of θ."""
        return round(2 * self.reach / (self.points - 1), 6)

    @property
    def near(self) -> tuple[float, ...]:
        """Neighbours of θ = 0, in the order of SHARES."""
        return (-self.step, self.step, -2 * self.step, 2 * self.step)

    @property
    def thetas(self) -> np.ndarray:
        return np.round(np.linspace(-self.reach, self.reach, self.points), 6) + 0.0


SIZES = {
    "quick": Size(
        features="vbf_2l2j_invariant",
        reach=0.8,
        points=9,
        train=1_000,
        test=800,
        bags=(1, 10),
        repeats=1,
        epochs=6,
        batch_events=1_000,
        integration=(32, 4),
        workers=1,
    ),
    "full": Size(
        features="vbf_2l2j",
        reach=1.0,
        points=21,
        train=20_000,
        test=60_000,
        bags=(1, 10, 125, 250),
        repeats=2,
        epochs=40,
        batch_events=10_000,
        integration=(128, 8),
        workers=2,
    ),
}

HIDDEN = {"quick": (16,), "full": (64, 64, 64)}  # layers of all networks


@dataclass(frozen=True)
class Test:
    """Events that trained nothing, and the coefficients of their exact likelihood ratio."""

    samples: dict[float, mil.Sample]
    coefficients: dict[float, np.ndarray]

    def exact(self, truth: float, thetas: Sequence[float] | np.ndarray) -> np.ndarray:
        """Λ of the events at a truth, shape (n_events, m)."""
        powers = np.vander(np.asarray(thetas, dtype=np.float64), 5, increasing=True).T
        total = self.coefficients[0.0].mean(axis=0)
        found: np.ndarray = np.log(self.coefficients[truth] @ powers) - np.log(total @ powers)
        return found


def in_bags(values: np.ndarray, n: int) -> np.ndarray:
    """Sums over bags of n events, shape (n_bags, m)."""
    whole = len(values) // n * n
    sums: np.ndarray = values[:whole].reshape(-1, n, values.shape[1]).sum(axis=1)
    return sums


def slope(predicted: np.ndarray, exact: np.ndarray) -> list[float]:
    """Slope of the predicted Λ against the exact one, its error, and their correlation."""
    x, y = exact - exact.mean(), predicted - predicted.mean()
    found = float(x @ y / (x @ x))
    residual = y - found * x
    error = float(np.sqrt(residual @ residual / (len(x) - 2) / (x @ x)))
    return [found, error, float(np.corrcoef(x, y)[0, 1])]


def area(signal: np.ndarray, background: np.ndarray, weights: np.ndarray | None = None) -> list:
    """Area under the ROC curve with its error."""
    other = np.ones(len(background)) if weights is None else weights
    return list(weighted_auc(signal, np.ones(len(signal)), background, other))


def answers(logit: Mapping[float, np.ndarray], n: int, size: Size) -> dict[str, Any]:
    """What is said of bags of n events: logits (n_bags, m) at all θ for each truth.

    Columns are those of `size.thetas`.
    """
    thetas = size.thetas
    zero = int(np.argmin(np.abs(thetas)))
    standard = logit[0.0]
    p = expit(standard)
    others = np.delete(p, zero, axis=1)
    between = standard.mean(axis=0)
    near = [logit[t][:, zero] for t in size.near]
    weights = np.concatenate(
        [np.full(len(v), s / len(v)) for v, s in zip(near, SHARES, strict=True)]
    )
    ends = [0, len(thetas) - 1]
    return {
        "bag_size": n,
        "quantiles": np.quantile(p, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0).T.round(4).tolist(),
        "curves": p[:CURVES].round(4).tolist(),
        "mean_beside": [float(others.mean()), spread_of_mean(others.mean(axis=1))],
        "mean_at_zero": [float(p[:, zero].mean()), spread_of_mean(p[:, zero])],
        "neighbours_at_zero": [
            float(np.average(expit(np.concatenate(near)), weights=weights)),
            spread_of_mean(expit(np.concatenate(near))),
        ],
        "matched": [float(np.mean([expit(logit[thetas[k]][:, k]).mean() for k in ends])), 0.0],
        "share_of_theta": float(between.var() / standard.var()),
        "auc_far": area(
            np.concatenate([logit[thetas[k]][:, k] for k in ends]),
            np.concatenate([standard[:, k] for k in ends]),
        ),
        "auc_at_zero": area(standard[:, zero], np.concatenate(near), weights),
    }


def spread_of_mean(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def exact_logits(test: Test, n: int, size: Size) -> dict[float, np.ndarray]:
    """Logits of the perfect network for the symmetric pairs, shape (n_bags, m) for each truth."""
    zero = int(np.argmin(np.abs(size.thetas)))
    out = {}
    for truth in test.samples:
        found = in_bags(test.exact(truth, size.thetas), n)
        near = in_bags(test.exact(truth, size.near), n)
        # At θ = 0 the alternative is a mixture of the neighbours.
        found[:, zero] = -logsumexp(near, axis=1, b=SHARES)
        out[truth] = found
    return out


def slopes(table: np.ndarray, test: Test, size: Size) -> dict[str, list[float]]:
    """Of Λ of datasets at θ = 0, at a near and at a far θ; `table` is for these two."""
    exact = in_bags(test.exact(0.0, compared(size)), DATASET)
    predicted = in_bags(table, DATASET)
    return {name: slope(predicted[:, k], exact[:, k]) for k, name in enumerate(("near", "far"))}


def compared(size: Size) -> list[float]:
    """A near θ and a far one."""
    return [2 * size.step, size.reach]


def study(size: str, seed: int) -> dict[str, Any]:
    """Train, and ask for bags that trained nothing."""
    # Keras not before here: processes that generate events import this module.
    from studies.bags_of_events.parametrised_pairs import train_pairs

    chosen = SIZES[size]
    training = TrainingConfig(epochs=chosen.epochs, batch_events=chosen.batch_events)
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(3)]
    train = vbf_hww.samples(
        chosen.train,
        chosen.thetas.tolist(),
        seed=seeds[0],
        features=chosen.features,
        workers=chosen.workers,
    )
    test = make_test(chosen, seeds[1])
    say("events")
    results: dict[str, Any] = {
        "size": dataclasses.asdict(chosen),
        "thetas": chosen.thetas.tolist(),
        "exact": [answers(exact_logits(test, n, chosen), n, chosen) for n in chosen.bags],
        "pairs": [],
        "heads": [],
    }
    for kind in (SYMMETRIC, NO_REFERENCE, POSITIVE):
        for n in chosen.bags:
            for repeat in range(chosen.repeats):
                began = time.perf_counter()
                logits = train_pairs(
                    kind, n, train, chosen.thetas, training, HIDDEN[size], seeds[2] + repeat
                )
                found = {t: asked(logits, s, n, t, chosen) for t, s in test.samples.items()}
                table = logits(test.samples[0.0], [*compared(chosen), 0.0]) / n
                results["pairs"].append(
                    {
                        "kind": kind,
                        "repeat": repeat,
                        **answers(found, n, chosen),
                        "raw": slopes(table[:, :2], test, chosen),
                        "relative": slopes(table[:, :2] - table[:, 2:], test, chosen),
                    }
                )
                say(f"{kind}, N_B = {n}: {time.perf_counter() - began:.0f} s")
    for name, estimator in heads(chosen, seeds[2]).items():
        network = dataclasses.replace(estimator.default_network, hidden=HIDDEN[size])
        model = dataclasses.replace(estimator, network=network).fit(train)
        interpolation = model.interpolation
        assert isinstance(interpolation, Interpolation)
        events = model.event_llr(test.samples[0.0])
        table = interpolation.values_at(events, compared(chosen))
        results["heads"].append({"head": name, "relative": slopes(table, test, chosen)})
        say(name)
    return results


def make_test(size: Size, seed: int) -> Test:
    """Events at 0, at its neighbours and at the ends of the range."""
    truths = [0.0, *size.near, -size.reach, size.reach]
    rapidity, angles = size.integration
    samples, coefficients = {}, {}
    for truth, own in zip(truths, np.random.SeedSequence(seed).generate_state(7), strict=True):
        events = vbf_hww.generate(size.test, {"c_HW": truth}, seed=int(own), workers=size.workers)
        samples[truth] = events.to_sample(size.features)
        coefficients[truth] = observable_coefficients(
            events, n_rapidity=rapidity, n_angles=angles, seed=seed, workers=size.workers
        ).coefficients
    return Test(samples, coefficients)


def asked(logits: Any, sample: mil.Sample, n: int, truth: float, size: Size) -> np.ndarray:
    """Logits of bags at all θ, or where a truth is asked for alone; elsewhere NaN."""
    wanted = [
        k
        for k, theta in enumerate(size.thetas)
        if truth == 0 or theta == 0 or abs(theta - truth) < 1e-9
    ]
    out = np.full((len(sample) // n, len(size.thetas)), np.nan)
    out[:, wanted] = in_bags(logits(sample, size.thetas[wanted].tolist()) / n, n)
    return out


def heads(size: Size, seed: int) -> dict[str, mil.BagLikelihood]:
    """What learns Λ without a θ among its inputs."""
    base = mil.BagLikelihood(head="polynomial", normalise=False, seed=seed % 1_000_000)
    joint = dataclasses.replace(base, labels="joint")
    if size.batch_events < joint.default_training.batch_events:
        short = dataclasses.replace(
            joint.default_training, epochs=size.epochs, batch_events=size.batch_events
        )
        return {"polynomial, joint labels": dataclasses.replace(joint, training=short)}
    return {
        "multi-class, N_B = 1": dataclasses.replace(base, head="multiclass", bag_size=1),
        "multi-class, N_B = 50": dataclasses.replace(base, head="multiclass", bag_size=50),
        "polynomial": base,
        "polynomial, joint labels": joint,
    }


def say(text: str) -> None:
    print(f"{time.process_time():7.0f} s of work  {text}", file=sys.stderr, flush=True)


def of_kind(results: Mapping[str, Any], kind: str, n: int) -> list[Mapping[str, Any]]:
    """Trainings of one kind at one bag size."""
    return [r for r in results["pairs"] if r["kind"] == kind and r["bag_size"] == n]


def check(results: Mapping[str, Any]) -> None:
    """What holds of every size of the study."""
    sizes = results["size"]["bags"]
    exact = {r["bag_size"]: r for r in results["exact"]}
    for row in results["pairs"]:
        for key in ("auc_far", "auc_at_zero"):
            (mine, error), (best, other) = row[key], exact[row["bag_size"]][key]
            # The same bags: their fluctuation is in both, and the errors are too large rather.
            pull = (mine - best) / np.hypot(error, other)
            title = f"{row['kind']}, N_B = {row['bag_size']}, {key}"
            require(pull < 4, f"{title}: above the exact likelihood ratio by {pull:.1f} sigma")
    first, last = exact[sizes[0]]["mean_beside"], exact[sizes[-1]]["mean_beside"]
    require(
        first[0] - last[0] > 4 * np.hypot(first[1], last[1]),
        "the exact probability of standard-model bags beside θ ≠ 0 falls with the bag size",
    )
    joint = next(h for h in results["heads"] if "joint" in h["head"])["relative"]
    for row in results["pairs"]:
        title = f"{row['kind']}, N_B = {row['bag_size']}"
        rho, other = joint["far"][2], row["relative"]["far"][2]
        require(rho > other - 0.05, f"joint labels correlate with the truth less than {title}")


def conclusions(results: Mapping[str, Any]) -> None:
    sizes = results["size"]["bags"]
    last = sizes[-1]
    exact = {r["bag_size"]: r for r in results["exact"]}

    def mean(kind: str, n: int, key: str) -> tuple[float, float]:
        return _value(of_kind(results, kind, n), key)

    for kind in (SYMMETRIC, NO_REFERENCE, POSITIVE):
        (p, error), (best, other) = mean(kind, last, "mean_beside"), exact[last]["mean_beside"]
        require(p - best > 3 * np.hypot(error, other), f"{kind} falls as far as the exact answer")
        require(p < mean(kind, 1, "mean_beside")[0] - 2 * error, f"{kind} does not fall")
    area, error = exact[last]["auc_at_zero"]
    require(area > 0.5 + 3 * error, "the perfect network separates nothing at θ = 0")
    areas = [exact[n]["auc_at_zero"][0] for n in sizes]
    require(areas == sorted(areas), "the larger the bags, the less the perfect network separates")
    for kind in (SYMMETRIC, NO_REFERENCE, POSITIVE):
        for n in sizes:
            value, error = mean(kind, n, "auc_at_zero")
            require(abs(value - 0.5) < 3 * error + 1e-3, f"{kind}, {n}: separates at θ = 0")
        value, error = mean(kind, last, "auc_at_zero")
        both = np.hypot(error, exact[last]["auc_at_zero"][1])
        require(area - value > 3 * both, f"{kind} is as good as the exact ratio at θ = 0")
    own, other = (mean(POSITIVE, last, k) for k in ("mean_at_zero", "neighbours_at_zero"))
    require(own[0] - 0.5 > 3 * own[1], "θ = 0 does not tell the label")
    require(
        abs(own[0] - other[0]) < 2 * np.hypot(own[1], other[1]),
        "bags of the standard model and of neighbours are told apart",
    )
    for kind in (SYMMETRIC, NO_REFERENCE):
        p, error = mean(kind, last, "mean_at_zero")
        require(
            abs(p - 0.5) < 3 * error,
            f"{kind}: standard-model bags at θ = 0 have the probability {p:.2f} ± {error:.2f}; it "
            "should be within three errors of one half, because θ does not determine the label",
        )
        require(
            own[0] - p > 2 * np.hypot(own[1], error),
            f"{kind}: θ = 0 determines the label as it does if its pairs are {POSITIVE}",
        )
    for where in ("near", "far"):
        best = max(row["relative"][where][0] for row in results["pairs"])
        slopes_of = {h["head"]: h["relative"][where] for h in results["heads"]}
        joint, hard = slopes_of["polynomial, joint labels"][0], slopes_of["polynomial"][0]
        classes = max(v[0] for k, v in slopes_of.items() if k.startswith("multi-class"))
        require(abs(joint - 1) < 0.05, f"{where}: the slope of joint labels is {joint:.2f}")
        require(joint > hard + 0.05, f"{where}: joint labels are no better than hard ones")
        require(
            hard > classes > best, f"{where}: heads that know the shape of Λ have no steeper slope"
        )
        for kind in (SYMMETRIC, NO_REFERENCE, POSITIVE):
            first, after = (
                np.mean([r["relative"][where][0] for r in of_kind(results, kind, n)])
                for n in (sizes[0], last)
            )
            require(
                after < first / 2, f"{where}, {kind}: the slope does not fall with the bag size"
            )


def tables(results: Mapping[str, Any]) -> str:
    """What networks say of bags, and how their Λ compares with the exact one."""
    size = results["size"]
    events = (
        f"Training: {size['train']} events at each of {size['points']} values of c_HW. Test: "
        f"{size['test']} events at each of seven values. Each network was trained "
        f"{size['repeats']} times."
    )
    step = 2 * size["reach"] / (size["points"] - 1)
    slope_title = (
        f"Slope of the predicted Λ of {DATASET} events against the exact one, and their "
        f"correlation (near: c_HW = {2 * step:.1f}, far: {size['reach']}):"
    )
    text = [
        events,
        "",
        (
            "Mean probabilities p that a network gives to bags of the standard model (SM) and of "
            "its neighbours, and areas under ROC curves (AUC):"
        ),
        "",
        markdown(
            (
                "pairs",
                "N_B",
                "p, SM bags, θ ≠ 0",
                "p, SM bags, θ = 0",
                "p, bags of neighbours, θ = 0",
                "part of the variance of the logit that θ alone explains",
                "AUC at the ends of the range",
                "AUC at θ = 0",
            ),
            [_answer(EXACT, r) for r in results["exact"]]
            + [
                _answer(kind, *of_kind(results, kind, n))
                for kind in (SYMMETRIC, NO_REFERENCE, POSITIVE)
                for n in size["bags"]
            ],
        ),
        "",
        slope_title,
        "",
        markdown(
            ("estimator", "N_B", "near: slope", "correlation", "far: slope", "correlation"),
            [
                _slopes(
                    f"parametrised, {kind}", n, [r["relative"] for r in of_kind(results, kind, n)]
                )
                for kind in (SYMMETRIC, NO_REFERENCE, POSITIVE)
                for n in size["bags"]
            ]
            + [_slopes(h["head"], "", [h["relative"]]) for h in results["heads"]],
        ),
        "",
        _sentence(results),
    ]
    return "\n".join(text)


def _value(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[float, float]:
    """Mean over trainings; the error is that of the bags and of the spread of the trainings."""
    values = np.array([r[key] for r in rows])
    spread = values[:, 0].std(ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else 0.0
    return float(values[:, 0].mean()), float(np.hypot(values[:, 1].mean(), spread))


def _mean(rows: Sequence[Mapping[str, Any]], key: str, digits: int = 3) -> str:
    return pair(*_value(rows, key), digits)


def _answer(kind: str, *rows: Mapping[str, Any]) -> list[str]:
    share = np.mean([r["share_of_theta"] for r in rows])
    keys = ("mean_beside", "mean_at_zero", "neighbours_at_zero")
    return [
        kind,
        str(rows[0]["bag_size"]),
        *(_mean(rows, k) for k in keys),
        f"{share:.0%}",
        *(_mean(rows, k) for k in ("auc_far", "auc_at_zero")),
    ]


def _slopes(name: str, n: int | str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [name, str(n)]
    for key in ("near", "far"):
        cells += [_mean(rows, key), f"{np.mean([r[key][2] for r in rows]):.3f}"]
    return cells


def _sentence(results: Mapping[str, Any]) -> str:
    """Whether the network is wrong at the reference, in words."""
    n = results["size"]["bags"][-1]
    mean, error = _value(of_kind(results, SYMMETRIC, n), "auc_at_zero")
    best = next(r for r in results["exact"] if r["bag_size"] == n)["auc_at_zero"]
    side = "below" if mean < 0.5 else "above"
    return (
        f"With symmetric pairs and bags of {n} the area at θ = 0 is {pair(mean, error)}, "
        f"{abs(mean - 0.5) / error:.1f}σ {side} one half, where the exact ratio has "
        f"{pair(*best)}."
    )


def figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Figures 3b and 19, 18, and 20 of the paper."""
    return {
        "single bags": _curves(results),
        "probabilities": _quantiles(results),
        "areas": _areas(results),
    }


def _panels(results: Mapping[str, Any]) -> list[tuple[str, int, Mapping[str, Any]]]:
    sizes = results["size"]["bags"]
    exact = {r["bag_size"]: r for r in results["exact"]}
    out = [(EXACT, n, exact[n]) for n in (sizes[0], sizes[-1])]
    for kind in (SYMMETRIC, NO_REFERENCE, POSITIVE):
        out += [(kind, n, of_kind(results, kind, n)[0]) for n in (sizes[0], sizes[-1])]
    return out


def _grid(results: Mapping[str, Any]) -> tuple[Figure, Any]:
    figure, axes = figure_of(10.0, 5.2, nrows=2, ncols=4, sharex=True, sharey=True)
    for k, (kind, n, _) in enumerate(_panels(results)):
        axis = axes[k % 2, k // 2]
        axis.set_title(f"{kind}, $N_B = {n}$", fontsize=9)
        axis.axvline(0, color="gray", lw=0.6, ls=":")
        axis.axhline(0.5, color="gray", lw=0.6, ls=":")
        axis.minorticks_off()
    for axis in axes[1]:
        axis.set_xlabel(r"$\theta$ beside the bag ($c_{HW}$)")
    for axis in axes[:, 0]:
        axis.set_ylabel(r"$p(B|\theta)$ of SM bags")
    axes[0, 0].set_ylim(0, 1)
    return figure, axes


def _curves(results: Mapping[str, Any]) -> Figure:
    """p(B|θ) of twenty bags."""
    with styled():
        figure, axes = _grid(results)
        for k, (_, _, row) in enumerate(_panels(results)):
            axis = axes[k % 2, k // 2]
            axis.plot(
                results["thetas"],
                np.array(row["curves"]).T,
                color=PALETTE[0],
                lw=0.7,
                alpha=0.6,
                # As vectors they would fill a file of their own.
                rasterized=True,
            )
    return figure


def _quantiles(results: Mapping[str, Any]) -> Figure:
    """Median, quartiles and 5 % to 95 % of p(B|θ)."""
    with styled():
        figure, axes = _grid(results)
        for k, (_, _, row) in enumerate(_panels(results)):
            axis = axes[k % 2, k // 2]
            q = np.array(row["quantiles"]).T
            axis.fill_between(results["thetas"], q[0], q[4], color=PALETTE[0], alpha=0.15, lw=0)
            axis.fill_between(results["thetas"], q[1], q[3], color=PALETTE[0], alpha=0.35, lw=0)
            axis.plot(results["thetas"], q[2], color=PALETTE[0])
    return figure


def _areas(results: Mapping[str, Any]) -> Figure:
    """Areas under ROC curves at the ends of the range and at θ = 0."""
    sizes = np.array(results["size"]["bags"])
    exact = {r["bag_size"]: r for r in results["exact"]}
    with styled():
        figure, axes = figure_of(8.0, 3.6, ncols=2, sharex=True, sharey=True)
        for axis, key, title in zip(
            axes,
            ("auc_far", "auc_at_zero"),
            ("ends of the range against SM", "SM against its neighbours, at θ = 0"),
            strict=True,
        ):
            best = np.array([exact[n][key] for n in sizes])
            axis.errorbar(sizes, best[:, 0], best[:, 1], color="black", fmt="s-", ms=4, label=EXACT)
            for i, kind in enumerate((SYMMETRIC, NO_REFERENCE, POSITIVE)):
                rows = [of_kind(results, kind, n) for n in sizes]
                mean = [np.mean([r[key][0] for r in group]) for group in rows]
                error = [
                    np.hypot(
                        np.mean([r[key][1] for r in group]),
                        np.std([r[key][0] for r in group]),
                    )
                    for group in rows
                ]
                axis.errorbar(
                    sizes * 1.06 ** (i + 1),
                    mean,
                    error,
                    color=PALETTE[i],
                    fmt="o-",
                    ms=4,
                    label=kind,
                )
            axis.axhline(0.5, color="gray", lw=0.8, ls=":")
            axis.set_title(title, fontsize=10)
            axis.set_xlabel("events in a bag")
        axes[0].set_xscale("log")
        axes[0].set_xlim(sizes[0] / 1.4, sizes[-1] * 1.8)
        axes[0].set_ylabel("area under the ROC curve")
        axes[0].legend(fontsize=8)
    return figure


def made_with(size: str) -> dict[str, Any]:
    chosen = SIZES[size]
    return {
        "size": chosen,
        "shares of neighbours": SHARES,
        "events in a dataset": DATASET,
        "training": TrainingConfig(epochs=chosen.epochs, batch_events=chosen.batch_events),
        "network": NetworkConfig(HIDDEN[size]),
        "heads": {
            name: {"network": model.default_network, "training": model.default_training}
            for name, model in heads(chosen, 0).items()
        },
    }


def quotes(results: Mapping[str, Any]) -> list[str]:
    n = results["size"]["bags"][-1]
    rows = of_kind(results, POSITIVE, n)
    same = {f"{_value(rows, k)[0]:.2f}" for k in ("mean_at_zero", "neighbours_at_zero")}
    network = f"With bags of {n}, this network gives {' or '.join(sorted(same))} to bags of the "
    return [network + "standard model and also to bags of the neighbours"]


STUDY = Study(
    name="parametrised",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    quotes=quotes,
    tables=tables,
    figures=figures,
    version=2,  # 1: moving averages of batch normalisation over a hundred batches
)

if __name__ == "__main__":
    run(STUDY)
