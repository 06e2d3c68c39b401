"""What the page on bag sizes concludes from the full size, and the numbers of its prose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from studies.bags_of_events.bag_size_page import PAPER, extrapolation, roughness, scaled
from studies.bags_of_events.bag_size_settings import CL, OURS
from studies.common.frame import require


def conclusions(results: Mapping[str, Any]) -> None:
    """What the full size says, bullet by bullet."""
    families = dict.fromkeys(r["family"] for r in results["rows"])
    rows = {f: {r["bag_size"]: r for r in results["rows"] if r["family"] == f} for f in families}
    bound = results["bound"]
    for family in ("multi-class", "parametrised"):
        _curvature(family, rows[family])
        _information(family, rows[family], results)
    multi = rows["multi-class"]
    trend = results["trends"]["multi-class"]
    slope, error = scaled(trend["info_eff"])
    require(slope < 2 * error, f"I_eff of multi-class networks rises with the bag: {slope:.3f}")
    slope, error = scaled(results["trends"]["parametrised"]["info_eff"])
    require(slope < -3 * error, "I_eff of parametrised networks does not fall with the bag")
    require(
        multi[10]["info_mle"] > bound["info_eff"] > multi[10]["info_eff"],
        "I_MLE at bags of ten is below the exact bound, or I_eff above",
    )
    require(
        multi[10]["info_mle"] > 1.3 * multi[1]["info_mle"]
        and multi[10]["response"] < 0.95 < multi[1]["response"],
        "I_MLE does not rise from single events to bags of ten while the response falls",
    )
    short = results["ladders"]["125"]["half_width"] / results["ladders"]["1"]["half_width"]
    require(0.85 < short < 1, f"intervals at 125 have {short:.2f} times the width of those at 1")
    require(
        multi[125]["of_bound"] < multi[1]["of_bound"] + 2 * multi[1]["of_bound_error"],
        "shorter intervals have more information",
    )
    for n, theirs, alone, ours, own_alone in roughness(list(multi.values()), results["size"]):
        ratio = theirs / alone
        require(0.65 < ratio < 2.1, f"N_B = {n}: the paper's MSE is {ratio:.2f} of its constants'")
        ratio = ours / own_alone
        if 20 <= n <= 200:
            require(2 / 3 < ratio < 1.5, f"N_B = {n}: our MSE is {ratio:.2f} of its constants'")
        else:
            require(ratio < 1, f"N_B = {n}: our MSE is {ratio:.2f} of its constants'")
    whole = np.mean([r["of_bound"] for r in multi.values()])
    alone_ = np.array([[s["of_bound"] for s in r["singles"]] for r in multi.values()])
    require(whole > alone_.mean(), "ensembles have no more information than their members")
    require(whole < alone_.max(axis=1).mean(), "ensembles have more than the best of their members")
    hard, joint = (rows[f][1] for f in ("polynomial", "polynomial, joint"))
    require(hard["of_bound"] > multi[1]["of_bound"] + 0.05, "a polynomial head does not help")
    require(joint["of_bound"] > 0.95, "joint labels do not reach the bound")
    for name in ("response", "bartlett_ratio"):
        off = abs(joint[name] - 1)
        require(off < 0.02 + 3 * joint[f"{name}_error"], f"{name} of joint labels is off by {off}")
    for family in ("multi-class", "polynomial", "polynomial, joint"):
        for n, row in rows[family + OURS].items():
            gain = row["of_bound"] - rows[family][n]["of_bound"]
            error = np.hypot(row["of_bound_error"], rows[family][n]["of_bound_error"])
            require(gain < 2 * error, f"invariant features help {family}, N_B = {n}: {gain:.3f}")


def _curvature(family: str, rows: Mapping[int, Any]) -> None:
    """Curvature falls, c_cicc rises, and constants found at θ = 0 fail elsewhere."""
    first, last = rows[min(rows)], rows[max(rows)]
    c, error = (
        (last["paper"]["c"] - first["paper"]["c"]),
        np.hypot(last["paper"]["c_error"], first["paper"]["c_error"]),
    )
    require(c > 3 * error, f"{family}: c_cicc does not rise with the bag")
    require(
        last["paper"]["info_before"] < 0.5 * first["paper"]["info_before"],
        f"{family}: the curvature does not fall with the bag",
    )
    require(
        last["bartlett_ratio"] < 0.6 < first["bartlett_ratio"],
        f"{family}: the Bartlett ratio does not fall with the bag",
    )
    elsewhere = [r["paper"]["elsewhere"] for r in rows.values()]
    worst = min(e[t][0] for e in elsewhere for t in ("-0.2", "+0.2"))
    require(worst < 0.62, f"{family}: constants of θ = 0 cover {worst:.1%} or more at ±0.2")
    ratios = [r["paper"]["info_after"] / r["info_mle"] for r in rows.values()]
    require(
        min(ratios) > 0.9 and max(ratios) < 1.25,
        f"{family}: c_cicc times curvature is {min(ratios):.2f} to {max(ratios):.2f} of I_MLE",
    )


def _information(family: str, rows: Mapping[int, Any], results: Mapping[str, Any]) -> None:
    """I_MLE scatters with the response, and eq. 15 extrapolates to less than there is."""
    trend = results["trends"][family]
    for key in ("info_mle", "info_eff"):
        own = [rows[n][key] for n in trend["sizes"]]
        require(
            bool(np.allclose(own, trend[key]["values"], rtol=1e-6)),
            f"{family}: the trend of {key} is not that of the rows",
        )
        _, _, sigmas = extrapolation(trend[key]["fit"], results["bound"])
        require(sigmas < -2, f"{family}: eq. 15 extrapolates {key} to the exact information")
    together = _with_response(trend)
    require(together < -0.9, f"{family}: I_MLE has little to do with the response: {together:.2f}")
    spreads = [trend[key]["training_spread"] for key in ("info_mle", "info_eff")]
    require(spreads[0] > 2 * spreads[1], f"{family}: I_eff scatters as I_MLE does")


def quotes(results: Mapping[str, Any]) -> list[str]:
    rows = {
        f: {r["bag_size"]: r for r in results["rows"] if r["family"] == f}
        for f in results["size"]["bags"]
    }
    multi, other = (list(rows[f].values()) for f in ("multi-class", "parametrised"))
    c = [[r["paper"]["c"] for r in of] for of in (multi, other)]
    theirs = [[v[0] for v in PAPER[f].values()] for f in ("multi-class", "parametrised")]
    elsewhere = [r["paper"]["elsewhere"][t][0] for r in results["rows"] for t in ("-0.2", "+0.2")]
    free = [
        r["calibrated"]["coverage"][t][0] - CL
        for f in ("multi-class", f"multi-class{OURS}")
        for r in rows[f].values()
        for t in ("-0.2", "+0.2")
    ]
    trends_ = [results["trends"][f] for f in ("multi-class", "parametrised")]
    spreads = [t["info_mle"]["training_spread"] for t in trends_]
    off = [
        -extrapolation(trends_[0][k]["fit"], results["bound"])[2] for k in ("info_mle", "info_eff")
    ]
    response = [rows["multi-class"][n]["response"] for n in (1, 10, 250)]
    short = results["ladders"]["125"]["half_width"] / results["ladders"]["1"]["half_width"]
    whole = np.mean([r["of_bound"] for r in multi])
    alone = np.array([[s["of_bound"] for s in r["singles"]] for r in multi])
    low, high = (PAPER["multi-class"][n][3] for n in (1, 125))
    of_bound = {n: r["of_bound"] for n, r in rows["multi-class"].items()}
    hard, joint = (rows[f][1]["of_bound"] for f in ("polynomial", "polynomial, joint"))
    return [
        (
            f"from {c[0][0]:.1f} to {c[0][-1]:.1f} for multi-class networks (the paper: "
            f"{theirs[0][0]:.1f} to {theirs[0][-1]:.1f}), and from {c[1][0]:.1f} to "
            f"{c[1][-1]:.0f} for parametrised networks (the paper: {theirs[1][0]:.1f} to "
            f"{theirs[1][-1]:.0f})"
        ),
        f"down to {100 * min(elsewhere):.0f} %",
        f"between {-100 * min(free):.0f} % too low and {100 * max(free):.0f} % too high",
        "from {:.2f} to {:.2f} and back to {:.2f}".format(*response),
        "scatters by {:.0f} % (parametrised networks: {:.0f} %)".format(
            *(100 * s for s in spreads)
        ),
        "(correlation −{:.2f} and −{:.2f})".format(*(-_with_response(t) for t in trends_)),
        "by {:.1f} and {:.1f} standard deviations".format(*off),
        (
            f"a rise from {low:.0f} to {high:.0f} can come from a response that falls from 1 to "
            f"{(low / high) ** 0.5:.2f}"
        ),
        f"and ours are {100 * (1 - short):.0f} % shorter",
        f"{of_bound[125]:.2f} and {of_bound[1]:.2f} of the bound",
        f"({whole:.3f} instead of {alone.mean():.3f} of the bound, on average over the bag sizes)",
        f"the best single network ({alone.max(axis=1).mean():.3f})",
        f"reaches {hard:.2f} of the bound with single events, and with joint labels {joint:.2f}",
    ]


def _with_response(trend: Mapping[str, Any]) -> float:
    """Correlation of ln I_MLE with ln R over all single trainings."""
    mle, eff = (np.log(trend[key]["singles"]).ravel() for key in ("info_mle", "info_eff"))
    # ln I_eff − ln I_MLE is twice the logarithm of the response.
    return float(np.corrcoef(mle, (eff - mle) / 2)[0, 1])
