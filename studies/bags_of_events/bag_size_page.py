"""Tables and figures of the study of bag sizes, and what [AS] says in tables 2 and 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from milinfer.plotting.results import PALETTE, figure_of, styled
from studies.bags_of_events.bag_size_settings import (
    AUTHORS,
    HIDDEN,
    N_EVENTS,
    SIZES,
    TRAINED,
    TRAINED_BY_AUTHORS,
    WINDOW_OF_SINGLES,
    settings,
)
from studies.common.frame import markdown, pair

# [AS], tables 2 and 3: c_cicc, coverage in % and mean Fisher information before calibration,
# mean Fisher information after, bias, MSE before.  Fisher information is the mean curvature of Λ,
# and after calibration c_cicc times that.  The MSE is that of Λ, by the header of the tables and by
# the authors' code; §C.4 says −2Λ.
PAPER: dict[str, dict[int, tuple[float, ...]]] = {
    "multi-class": {
        1: (1.329, 75.5, 164.6, 218.8, 0.098, 1.939),
        10: (1.316, 75.0, 209.0, 275.0, 0.007, 0.073),
        20: (1.363, 74.5, 200.2, 272.7, 0.009, 0.063),
        25: (1.360, 76.0, 200.8, 273.2, 0.014, 0.085),
        50: (1.531, 77.5, 190.4, 291.5, 0.021, 0.029),
        100: (1.956, 81.0, 151.1, 295.5, 0.025, 0.014),
        125: (2.214, 82.0, 137.7, 304.9, 0.020, 0.010),
        200: (2.988, 89.0, 101.8, 304.1, 0.029, 0.006),
        250: (3.577, 91.5, 80.4, 287.7, 0.024, 0.004),
    },
    "parametrised": {
        1: (1.325, 76.5, 175.9, 233.2, 0.031, 0.386),
        10: (1.283, 75.0, 174.2, 223.4, 0.034, 0.018),
        20: (1.331, 77.0, 170.5, 226.9, 0.028, 0.015),
        25: (1.336, 77.5, 165.2, 220.8, 0.028, 0.013),
        50: (1.614, 83.0, 126.9, 204.9, 0.027, 0.008),
        100: (2.015, 89.5, 94.0, 189.4, 0.039, 0.006),
        125: (2.480, 92.0, 74.7, 185.1, 0.040, 0.003),
        200: (7.504, 100.0, 33.9, 254.4, 0.054, 0.000),
        250: (11.982, 100.0, 23.1, 276.9, 0.069, 0.000),
    },
}
CURVE = np.geomspace(1, 1000, 61)
NAMES = {"info_mle": "I_MLE", "info_eff": "I_eff"}


def mse_of_llr(found: float) -> float:
    """Mean squared distance of Λ from its parabola, as [AS]; `found` is that of −2Λ."""
    return found / 4


def percent(found: Sequence[float]) -> str:
    """A coverage with its error, that of the pool included where it is known."""
    return f"{found[0]:.1%} ± {np.linalg.norm(found[1:]):.1%}"


def scaled(trend: Mapping[str, Any]) -> tuple[float, float]:
    """Slope and error, the latter larger where points scatter more about the line than they may."""
    scale = np.sqrt(max(1.0, trend["chi2"] / trend["ndf"])) if trend["ndf"] else 1.0
    return trend["slope"], trend["slope_error"] * float(scale)


def verdict(slope: float, error: float) -> str:
    """What a slope says, in words."""
    sigmas = slope / error
    if abs(sigmas) < 2:
        return f"neither rises nor falls by two standard deviations ({sigmas:+.1f}σ)"
    return f"{'rises' if slope > 0 else 'falls'} ({sigmas:+.1f}σ)"


def sentences(results: Mapping[str, Any]) -> list[str]:
    """The answers, computed."""
    out = []
    for family, found in results["trends"].items():
        if "refused" in found:
            out.append(f"**{family}**: no trend: {found['refused']}.")
            continue
        if found["members"] < 2:
            continue  # without the spread between trainings a slope has no error
        text: list[str] = []
        extrapolated: list[str] = []
        for key, name in NAMES.items():
            slope, error = scaled(found[key])
            growth = found[key]["fit"]["growth"]
            fitted = (
                "the fit of eq. 15 ends at C = 0"
                if found[key]["fit"]["plateau"]
                else f"eq. 15 is better than a constant by {growth:.1f}σ"
            )
            change = (
                f"{name} changes by {100 * slope:+.1f} ± {100 * error:.1f} % with each doubling"
            )
            if found["members"] == 1:
                text.append(change)
                continue
            extrapolated.append(_extrapolation(name, found[key]["fit"], results["bound"]))
            text.append(f"{change} of the bag size, so that it {verdict(slope, error)}; {fitted}.")
        sizes = found["sizes"]
        out.append(
            f"**{family}**, N_B = {sizes[0]} to {sizes[-1]}"
            + (f" without {found['left_out']}" if found["left_out"] else "")
            + (
                f", {found['members']} trainings each: {' '.join(text)}"
                + _scatter(found)
                + f" Eq. 15 extrapolates to an I_true of {' and '.join(extrapolated)}; the exact "
                "information is "
                f"{pair(results['bound']['info_eff'], results['bound']['info_eff_error'], 0)} (in "
                "brackets: the difference to it)."
                if found["members"] > 1
                else f", one training each: {'; '.join(text)}. Without the spread between "
                "trainings nothing follows from this."
            )
        )
    return out


def extrapolation(fit: Mapping[str, Any], bound: Mapping[str, Any]) -> tuple[float, float, float]:
    """I_true by eq. 15, its error, and how many standard deviations it is above the exact one.

    The toys are the same, which the significance does not know: it is too small rather.
    """
    low, high = fit["errors"]["info_true"]
    value, error = fit["values"]["info_true"], (low + high) / 2
    return (
        value,
        error,
        (value - bound["info_eff"]) / float(np.hypot(error, bound["info_eff_error"])),
    )


def _extrapolation(name: str, fit: Mapping[str, Any], bound: Mapping[str, Any]) -> str:
    value, error, sigmas = extrapolation(fit, bound)
    return f"{pair(value, error, 0)} from {name} ({sigmas:+.1f}σ)"


def _scatter(found: Mapping[str, Any]) -> str:
    """How far one training is from the next, and what the response has to do with it."""
    if found["members"] < 2:
        return ""
    spreads = [found[key]["training_spread"] for key in NAMES]
    mle, eff = (np.log(found[key]["singles"]).ravel() for key in NAMES)
    # ln I_eff − ln I_MLE is twice the logarithm of the response.
    together = np.corrcoef(mle, (eff - mle) / 2)[0, 1]
    return (
        f" From one training to the next I_MLE scatters by {spreads[0]:.1%} and I_eff by "
        f"{spreads[1]:.1%}. Over all single trainings ln I_MLE and ln R have a correlation of "
        f"{together:+.2f}."
    )


def bag_size_tables(results: Mapping[str, Any]) -> str:
    """The tables of the paper, our columns, and the answers."""
    size = results["size"]
    bound, parton = results["bound"], results["parton"]
    sizes = (
        f"Training: {size['train']} events at each of {size['points']} values of c_HW. "
        f"Measurement: {size['toys']} toys of {N_EVENTS} events at each true value, drawn from "
        f"pools of {sum(size['pool'])} events."
    )
    exact = (
        "The information of the exact likelihood ratio at c_HW = 0 is "
        f"{pair(bound['info_eff'], bound['info_eff_error'], 1)} for what a detector sees (the "
        f"bound), and {pair(parton['of_bound'], parton['of_bound_error'])} times the bound at "
        "parton level."
    )
    text = [sizes, "", exact, "", *[f"- {s}" for s in sentences(results)], ""]
    if any(r["family"] in PAPER for r in results["rows"]):
        text += ["### Settings", "", _settings(results), ""]
    for family in dict.fromkeys(r["family"] for r in results["rows"]):
        rows = [r for r in results["rows"] if r["family"] == family]
        text += [f"### {family}", ""]
        if family in PAPER:
            text += [
                "The columns of the paper (in brackets: the values of the paper):",
                "",
                _paper(family, rows),
            ]
            text += ["", definitions(rows)]
            if family == "multi-class":
                text += ["", roughness_table(rows, size)]
            text += ["", "Our columns:", ""]
        text += [_ours(rows), ""]
    return "\n".join(text)


def _settings(results: Mapping[str, Any]) -> str:
    """Settings that differ from those of the authors' code, as the code has them."""
    size = results["size"]
    name = "full" if size["points"] == SIZES["full"].points else "quick"
    families = [f for f in PAPER if any(r["family"] == f for r in results["rows"])]
    models = {f: settings(f, 10, SIZES[name], HIDDEN[name], 0) for f in families}
    members = size["members"]
    rows = []
    for what in AUTHORS[families[0]]:
        row = [what]
        for f in families:
            training, network = models[f].training, models[f].network
            ours = {
                "training events of a class": f"{_trained(size):g}",
                "events in a batch": str(training.batch_for(10**6, 1)),
                "optimiser": "Adam",
                "learning rate": f"{training.learning_rate:g}; halved after {training.patience} "
                "epochs without a better validation loss, "
                f"{training.min_learning_rate:g} at least",
                "epochs": _epochs(results, f, training),
                "L2": f"{network.l2:g}",
                "ensemble": f"{members.get(f, 1)}, mean of ln r",
                "window of the parabola": f"±{models[f].window:g}"
                + (f", ±{WINDOW_OF_SINGLES:g} at bags of one" if f == "multi-class" else ""),
            }
            row += [AUTHORS[f][what], ours[what]]
        rows.append(row)
    titles = ["setting", *(f"{f}, {who}" for f in families for who in ("code of [AS]", "here"))]
    return markdown(titles, rows)


def _trained(size: Mapping[str, Any]) -> float:
    """Events of a class that weights are trained on: the others are for the validation loss."""
    return TRAINED * float(size["train"])


def _epochs(results: Mapping[str, Any], family: str, training: Any) -> str:
    """How many trainings came near the limit of their epochs."""
    epochs = [e for r in results["rows"] if r["family"] == family for e in r["epochs"]]
    near = sum(e >= 0.95 * training.epochs for e in epochs)
    return (
        f"until {2 * training.patience} epochs without a better validation loss, {training.epochs} "
        f"at most; {near} of {len(epochs)} trainings took {0.95 * training.epochs:.0f} or more"
    )


def definitions(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the paper's information and 1/Var of the same networks have to do with each other."""
    both = [r for r in rows if "info_mle" in r and "refused" not in r["paper"]]
    if not both:
        return ""
    ratios = {r["bag_size"]: r["paper"]["info_after"] / r["info_mle"] for r in both}
    least, most = min(ratios.values()), max(ratios.values())
    return (
        "*Mean Fisher info* of the paper is the mean curvature of Λ; after calibration it is "
        "c_cicc times the mean curvature. It is not 1/Var(θ̂) (next column): for the same networks, "
        "the mean Fisher info after calibration divided by 1/Var(θ̂) is "
        f"{least:.2f} to {most:.2f}."
    )


def constants_alone(n_train: float, bag_size: int, points: int) -> float:
    """Mean squared distance of Λ from its parabola if constants of logits had all of their errors.

    A class has a constant that its bags of training fix to √(N_B/n); N/N_B of them add up in a
    dataset.  Three degrees of freedom of the points in the window are those of the parabola.
    """
    return N_EVENTS**2 / (bag_size * n_train) * (1 - 3 / points)


def roughness(
    rows: Sequence[Mapping[str, Any]], size: Mapping[str, Any]
) -> list[tuple[int, float, float, float, float]]:
    """Bag size; found MSE of Λ and that of constants alone: of the paper, and of ours."""
    out = []
    for row in rows:
        n = row["bag_size"]
        if "refused" in row["paper"]:
            continue
        out.append(
            (
                n,
                PAPER["multi-class"][n][5],
                constants_alone(TRAINED_BY_AUTHORS, n, _points(n, GRID_OF_AUTHORS)),
                mse_of_llr(row["paper"]["mse_before"]),
                constants_alone(_trained(size), n, _points(n, size)),
            )
        )
    return out


GRID_OF_AUTHORS = {"reach": 1.0, "points": 21, "window": 0.4}


def _points(n: int, size: Mapping[str, Any]) -> int:
    """Points in the window of the parabola around a maximum in the middle of the grid."""
    step = 2 * size["reach"] / (size["points"] - 1)
    half = WINDOW_OF_SINGLES if n == 1 else size["window"]
    return 2 * int(half / step + 1e-9) + 1


def roughness_table(rows: Sequence[Mapping[str, Any]], size: Mapping[str, Any]) -> str:
    """The paper's MSE and ours beside what the constants of free logits alone give."""
    found = roughness(rows, size)
    if not found:
        return ""
    cells = [
        (
            n,
            f"{theirs:.3f}",
            f"{alone:.4f}",
            f"{theirs / alone:.2f}",
            f"{ours:.3f}",
            f"{own_alone:.3f}",
            f"{ours / own_alone:.2f}",
        )
        for n, theirs, alone, ours, own_alone in found
    ]
    titles = (
        "N_B",
        "[AS]: MSE of Λ",
        "from constants alone",
        "ratio",
        "here: MSE of Λ",
        "from constants alone",
        "ratio",
    )
    ratios = [theirs / alone for _, theirs, alone, *_ in found]
    values = [theirs for _, theirs, *_ in found]
    return (
        "The next table shows the roughness of Λ before calibration (MSE, the mean squared "
        "distance from the parabola). Each free logit has an additive constant, which the training "
        "determines with an error. From these errors alone the MSE is N²/(N_B n)·(1 − 3/K), "
        "without a free parameter, for N events in a dataset, n training events of a class and K "
        f"points in the window:\n\n{markdown(titles, cells)}\n\nThe MSE "
        f"of the paper falls from {max(values):.3f} to {min(values):.3f}, and is always "
        f"{min(ratios):.2f} to {max(ratios):.2f} times the MSE from constants alone."
    )


def _paper(family: str, rows: Sequence[Mapping[str, Any]]) -> str:
    titles = (
        "N_B",
        "c_cicc",
        "coverage before",
        "coverage after, same toys",
        "coverage after, other events",
        "mean Fisher info before",
        "mean Fisher info after",
        "1/Var(θ̂), other events",
        "bias",
        "MSE of Λ before",
        "MSE of Λ after",
    )
    cells = []
    for row in rows:
        p, theirs = row["paper"], PAPER[family][row["bag_size"]]
        if "refused" in p:
            cells.append((row["bag_size"], f"refused: {p['refused']}", *[""] * 9))
            continue
        variance = f"{row['info_mle']:.1f}" if "info_mle" in row else "—"
        cells.append(
            (
                row["bag_size"],
                f"{pair(p['c'], p['c_error'], 2)} ({theirs[0]:.2f})",
                f"{percent(p['before'])} ({theirs[1]:.1f} %)",
                percent(p["after"]),
                percent(p["elsewhere"]["+0.0"]),
                f"{p['info_before']:.1f} ({theirs[2]:.1f})",
                f"{p['info_after']:.1f} ({theirs[3]:.1f})",
                variance,
                f"{pair(p['bias'], p['bias_error'])} ({theirs[4]:.3f})",
                f"{mse_of_llr(p['mse_before']):.4f} ({theirs[5]:.3f})",
                f"{mse_of_llr(p['mse_after']):.4f}",
            )
        )
    return markdown(titles, cells)


def _ours(rows: Sequence[Mapping[str, Any]]) -> str:
    titles = (
        "N_B",
        "I_MLE",
        "response",
        "I_eff",
        "I_eff / bound",
        "single networks",
        "Bartlett ratio",
        "coverage with the constants of the paper, at −0.2, 0.2",
        "coverage with functions of θ, at −0.2, 0, 0.2",
    )
    cells = []
    for row in rows:
        if "info_mle" not in row:
            edge = f"no estimate: {row['at_edge']:.0%} of the maxima at the edge of the range"
            cells.append((row["bag_size"], edge, *[""] * 7))
            continue
        elsewhere, own = row["paper"].get("elsewhere"), row["calibrated"]
        alone = [f"{s['of_bound']:.2f}" if "of_bound" in s else "—" for s in row["singles"]]
        cells.append(
            (
                row["bag_size"],
                pair(row["info_mle"], row["info_mle_error"], 1),
                pair(row["response"], row["response_error"]),
                pair(row["info_eff"], row["info_eff_error"], 1),
                pair(row["of_bound"], row["of_bound_error"]),
                " ".join(alone),
                pair(row["bartlett_ratio"], row["bartlett_ratio_error"]),
                f"{elsewhere['-0.2'][0]:.1%}, {elsewhere['+0.2'][0]:.1%}" if elsewhere else "—",
                ", ".join(percent(v) for v in own["coverage"].values())
                if "coverage" in own
                else f"refused: {own['refused']}",
            )
        )
    return markdown(titles, cells)


def bag_size_figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Figures 2, 3a, 5 and 16 of the paper."""
    out = {
        family.replace("-", "").replace(",", ""): _information(results, family)
        for family, found in results["trends"].items()
        if found.get("members", 0) > 1
    }
    out["profiles"] = _profiles(results)
    if results["ladders"]:
        out["intervals"] = _intervals(results)
    return out


def _information(results: Mapping[str, Any], family: str) -> Figure:
    """The paper's information, I_MLE with eq. 15, and I_eff, against the bag size."""
    found, bound = results["trends"][family], results["bound"]
    sizes = np.array(found["sizes"])
    with styled():
        figure, axes = figure_of(11.0, 4.4, ncols=3, sharex=True, sharey=True)
        top = max(1.15 * bound["info_eff"], _by_curvature(axes[0], results, family))
        for axis, (key, symbol) in zip(
            axes[1:],
            (
                ("info_mle", r"1/\mathrm{Var}(\hat\theta)"),
                ("info_eff", r"R^2/\mathrm{Var}(\hat\theta)"),
            ),
            strict=True,
        ):
            points = found[key]
            curve, band = np.array(points["curve"]), np.array(points["band"])
            axis.axhline(bound["info_eff"], color="black", lw=1, ls="--", label="exact bound")
            axis.fill_between(CURVE, curve - band, curve + band, color=PALETTE[0], alpha=0.18, lw=0)
            axis.plot(
                CURVE, curve, color=PALETTE[0], label=r"eq. 15, $\sigma^2_\epsilon=C\sqrt{N_B}$"
            )
            singles = np.array(points["singles"])
            for k in range(singles.shape[1]):
                axis.plot(
                    sizes,
                    singles[:, k],
                    ".",
                    color=PALETTE[1],
                    ms=4,
                    label="single trainings" if k == 0 else None,
                )
            axis.errorbar(
                sizes,
                points["values"],
                yerr=points["errors"],
                fmt="o",
                color=PALETTE[0],
                ms=5,
                label="ensemble",
            )
            top = max(top, 1.1 * float(np.max(points["values"])))
            axis.set_xlabel("events in a bag")
            axis.set_title(f"$I_\\mathrm{{{'MLE' if key == 'info_mle' else 'eff'}}} = {symbol}$")
        axes[0].set_xscale("log")
        axes[0].set_xlim(0.7, 1000)
        axes[0].set_ylim(0, top)
        axes[0].set_ylabel("information in 1000 events")
        by_label = {
            label: handle
            for axis in axes[:2]
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(by_label.values(), by_label, loc="outside upper center", ncols=7, fontsize=8)
    return figure


def _by_curvature(axis: Axes, results: Mapping[str, Any], family: str) -> float:
    """c_cicc × mean curvature, as the paper has it, of the paper and of ours; the largest."""
    own = {
        row["bag_size"]: row["paper"]["info_after"]
        for row in results["rows"]
        if row["family"] == family and "refused" not in row["paper"]
    }
    theirs = {n: row[3] for n, row in PAPER.get(family, {}).items()}
    axis.axhline(results["bound"]["info_eff"], color="black", lw=1, ls="--")
    axis.plot(list(own), list(own.values()), "s", color=PALETTE[2], ms=5, label="here")
    axis.plot(
        list(theirs), list(theirs.values()), "x", color=PALETTE[7], label="[AS] (other events)"
    )
    axis.set_xlabel("events in a bag")
    axis.set_title(r"$c_\mathrm{cicc}\,\langle$curvature of $\Lambda\rangle$, [AS]")
    return 1.1 * max([*own.values(), *theirs.values()])


def _profiles(results: Mapping[str, Any]) -> Figure:
    """Λ of one dataset by a single model and by the ensemble."""
    sizes = [n for n in ("1", "10", "50", "250") if n in results["profiles"]]
    with styled():
        figure, axes = figure_of(2.6 * len(sizes) + 0.6, 3.4, ncols=len(sizes), squeeze=False)
        for axis, n in zip(axes[0], sizes, strict=True):
            for i, (name, found) in enumerate(results["profiles"][n].items()):
                theta = np.array(found["theta"])
                low = found["minimum"]
                colour = PALETTE[i]
                axis.plot(theta, np.array(found["values"]) - low, "o", ms=3, color=colour)
                fine = np.linspace(-found["window"], found["window"], 61) + found["theta_hat"]
                fine = fine[np.abs(fine) <= 1]
                axis.plot(
                    fine,
                    found["curvature"] * (fine - found["theta_hat"]) ** 2,
                    color=colour,
                    lw=1.2,
                    label=name,
                )
            axis.set_xlim(-1, 1)
            axis.set_ylim(-6, 60)
            axis.set_title(f"$N_B = {n}$")
            axis.set_xlabel("$c_{HW}$")
        axes[0, 0].set_ylabel(r"$-2\Lambda$ above its minimum")
        axes[0, 0].legend(fontsize=8)
    return figure


def _intervals(results: Mapping[str, Any]) -> Figure:
    """Intervals of fifty toys, calibrated as the paper does."""
    found = results["ladders"]
    sizes = sorted(found, key=int)
    sizes = list(dict.fromkeys((sizes[0], "125" if "125" in sizes else sizes[-1])))
    with styled():
        figure, axes = figure_of(
            7.0, 5.0, ncols=len(sizes), sharex=True, sharey=True, squeeze=False
        )
        for axis, n in zip(axes[0], sizes, strict=True):
            rung = found[n]
            covers = np.array(rung["covers"])
            for mask, colour, text in (
                (covers, PALETTE[0], "covers"),
                (~covers, PALETTE[1], "misses"),
            ):
                rows = np.flatnonzero(mask)
                low, high, estimate = (np.array(rung[k])[mask] for k in ("low", "high", "estimate"))
                axis.hlines(rows, low, high, color=colour, lw=1.5, label=text)
                axis.plot(estimate, rows, ".", color=colour, ms=4)
            axis.axvline(0, color="black", lw=0.8)
            axis.set_title(
                f"$N_B = {n}$: {percent(rung['coverage'])}, half width {rung['half_width']:.3f}",
                fontsize=9,
            )
            axis.set_xlabel("68.27 % interval of $c_{HW}$")
        axes[0, 0].set_ylabel("pseudo-experiment")
        axes[0, 0].set_ylim(-1, len(covers) + 6)
        axes[0, 0].legend(loc="upper left", fontsize=8, ncols=2)
    return figure
