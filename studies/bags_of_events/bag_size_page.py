"""Tables and figures of the study of bag sizes, and what [AS] says in tables 2 and 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from milinfer.plotting.results import PALETTE, figure_of, styled
from studies.common.frame import markdown, pair

# [AS], tables 2 and 3: c_cicc, coverage in % and mean Fisher information before calibration,
# mean Fisher information after, bias, MSE before.
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
        text = []
        for key, name in NAMES.items():
            slope, error = scaled(found[key])
            growth = found[key]["fit"]["growth"]
            fitted = "its fit ends at C = 0" if found[key]["fit"]["plateau"] else f"{growth:.1f}σ"
            change = (
                f"{name} changes by {100 * slope:+.1f} ± {100 * error:.1f} % with each doubling"
            )
            if found["members"] == 1:
                text.append(change)
                continue
            text.append(
                f"{change} of the bag: it {verdict(slope, error)}; eq. 15 against a constant: "
                f"{fitted}"
            )
        sizes = found["sizes"]
        out.append(
            f"**{family}**, N_B = {sizes[0]} to {sizes[-1]}"
            + (f" without {found['left_out']}" if found["left_out"] else "")
            + (
                f", {found['members']} trainings each: {'; '.join(text)}." + _scatter(found)
                if found["members"] > 1
                else f", one training each: {'; '.join(text)}, without the spread of trainings, so "
                "that nothing follows."
            )
        )
    return out


def _scatter(found: Mapping[str, Any]) -> str:
    """How far one training is from the next, and what the response has to do with it."""
    if found["members"] < 2:
        return ""
    spreads = [found[key]["training_spread"] for key in NAMES]
    mle, eff = (np.log(found[key]["singles"]).ravel() for key in NAMES)
    # ln I_eff − ln I_MLE is twice the logarithm of the response.
    together = np.corrcoef(mle, (eff - mle) / 2)[0, 1]
    return (
        f" From one training to the next I_MLE scatters by {spreads[0]:.1%}, I_eff by "
        f"{spreads[1]:.1%}; over all single trainings ln I_MLE and ln R have a correlation of "
        f"{together:+.2f}."
    )


def bag_size_tables(results: Mapping[str, Any]) -> str:
    """The tables of the paper, our columns, and the answers."""
    size = results["size"]
    bound, parton = results["bound"], results["parton"]
    sizes = (
        f"{size['train']} events at each of {size['points']} values of c_HW to train on, "
        f"{size['toys']} toys of 1000 events at each truth, pools of {sum(size['pool'])} events."
    )
    exact = (
        "Information of the exact likelihood ratio at c_HW = 0: "
        f"{pair(bound['info_eff'], bound['info_eff_error'], 1)} for what a detector sees (the "
        f"bound), {pair(parton['of_bound'], parton['of_bound_error'])} times that at parton level."
    )
    text = [sizes, "", exact, "", *[f"- {s}" for s in sentences(results)], ""]
    for family in dict.fromkeys(r["family"] for r in results["rows"]):
        rows = [r for r in results["rows"] if r["family"] == family]
        text += [f"### {family}", ""]
        if family in PAPER:
            text += [
                "The paper's columns (its own values in brackets):",
                "",
                _paper(family, rows, size),
            ]
            text += ["", "Ours:", ""]
        text += [_ours(rows), ""]
    return "\n".join(text)


def _roughness(row: Mapping[str, Any], size: Mapping[str, Any]) -> float:
    """Mean squared distance from the parabola if constants of logits had all of their errors.

    A class has a constant that its bags of training fix to √(N_B/n); three degrees of freedom of
    the points in the window are those of the parabola.
    """
    window = 0.7 if row["bag_size"] == 1 else size.get("window", 0.4)
    points = 2 * int(window * (size["points"] - 1) / (2 * size["reach"]) + 1e-9) + 1
    trained = 0.8 * size["train"]
    return 4 * 1000**2 / (row["bag_size"] * trained) * (1 - 3 / points)


def _paper(family: str, rows: Sequence[Mapping[str, Any]], size: Mapping[str, Any]) -> str:
    titles = (
        "N_B",
        "c_cicc",
        "coverage before",
        "after, same toys",
        "after, other events",
        "mean Fisher info before",
        "after",
        "bias",
        "MSE before",
        "of constants alone",
        "after",
    )
    cells = []
    for row in rows:
        p, theirs = row["paper"], PAPER[family][row["bag_size"]]
        if "refused" in p:
            cells.append((row["bag_size"], f"refused: {p['refused']}", *[""] * 9))
            continue
        cells.append(
            (
                row["bag_size"],
                f"{pair(p['c'], p['c_error'], 2)} ({theirs[0]:.2f})",
                f"{percent(p['before'])} ({theirs[1]:.1f} %)",
                percent(p["after"]),
                percent(p["elsewhere"]["+0.0"]),
                f"{p['info_before']:.1f} ({theirs[2]:.1f})",
                f"{p['info_after']:.1f} ({theirs[3]:.1f})",
                f"{pair(p['bias'], p['bias_error'])} ({theirs[4]:.3f})",
                f"{p['mse_before']:.3f} ({theirs[5]:.3f})",
                f"{_roughness(row, size):.1f}" if family == "multi-class" else "—",
                f"{p['mse_after']:.3f}",
            )
        )
    return markdown(titles, cells)


def _ours(rows: Sequence[Mapping[str, Any]]) -> str:
    titles = (
        "N_B",
        "I_MLE",
        "response",
        "I_eff",
        "I_eff of the bound",
        "members alone",
        "Bartlett ratio",
        "paper's constants: coverage at −0.2, 0.2",
        "calibrated: coverage at −0.2, 0, 0.2",
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
    """I_MLE with the paper's values and eq. 15, and I_eff, against the bag size."""
    found, bound = results["trends"][family], results["bound"]
    sizes = np.array(found["sizes"])
    with styled():
        figure, axes = figure_of(9.0, 4.4, ncols=2, sharex=True, sharey=True)
        top = 1.15 * bound["info_eff"]
        for axis, (key, symbol) in zip(
            axes,
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
        if family in PAPER:
            theirs = {n: row[3] for n, row in PAPER[family].items()}
            axes[0].plot(
                list(theirs),
                list(theirs.values()),
                "x",
                color=PALETTE[7],
                label="[AS] (other events)",
            )
            top = max(top, 1.1 * max(theirs.values()))
        axes[0].set_xscale("log")
        axes[0].set_xlim(0.7, 1000)
        axes[0].set_ylim(0, top)
        axes[0].set_ylabel("information in 1000 events")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=5, fontsize=8)
    return figure


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
