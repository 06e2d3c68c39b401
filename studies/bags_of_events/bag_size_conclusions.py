"""What the page on bag sizes concludes from the full size, and the numbers of its prose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studies.bags_of_events.bag_size_page import (
    PAPER,
    extrapolation,
    mse_of_llr,
    roughness,
    scaled,
)
from studies.bags_of_events.bag_size_settings import CL, OURS
from studies.common.frame import require

# Derivative of the coverage 2Φ(√c) − 1 with respect to ln c, at c = 1.
OF_SCALE = float(np.exp(-0.5) / np.sqrt(2 * np.pi))
ABOVE_ONE = (10, 20, 25)  # bag sizes at which the Bartlett ratio of multi-class networks is above 1


def conclusions(results: Mapping[str, Any]) -> None:
    """What the full size says, bullet by bullet."""
    families = dict.fromkeys(r["family"] for r in results["rows"])
    rows = {f: {r["bag_size"]: r for r in results["rows"] if r["family"] == f} for f in families}
    bound = results["bound"]
    for family in ("multi-class", "parametrised"):
        _curvature(family, rows[family])
        _information(family, rows[family], results)
    _coverage(results["rows"])
    multi = rows["multi-class"]
    _bartlett(multi)
    slope, error = scaled(results["trends"]["multi-class"]["info_eff"])
    require(
        abs(slope) < 2 * error,
        f"ln I_eff of multi-class networks changes by {slope:.3f} ± {error:.3f} with each doubling "
        "of the bag size: it should not change by two errors",
    )
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
    require(
        multi[10]["info_mle"] > 1.3 * multi[250]["info_mle"] and multi[250]["response"] > 0.95,
        "I_MLE does not fall from bags of ten to bags of 250 while the response rises",
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
    _averaging(multi)
    for n, row in rows["multi-class, polynomial logits"].items():
        # A polynomial in θ lies on its curve at every θ, and its result has no such distance.
        rough = mse_of_llr(row["paper"].get("mse_before", 0.0))
        require(
            rough < 0.01 * mse_of_llr(multi[n]["paper"]["mse_before"]),
            f"N_B = {n}: Λ of polynomial logits is {rough:.3f} (mean square) from a smooth curve",
        )
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
    both = [
        [r["paper"]["info_after"] for r in rows.values()],
        [r["info_mle"] for r in rows.values()],
    ]
    together = float(np.corrcoef(np.log(both))[0, 1])
    require(
        together > 0.8,
        f"{family}: c_cicc times curvature does not rise and fall as I_MLE does; their logarithms "
        f"have a correlation of {together:.2f} over the bag sizes",
    )


def _coverage(rows: Sequence[Mapping[str, Any]]) -> None:
    """At θ = 0 coverage is nearly as claimed; elsewhere only smooth Λ can be calibrated."""
    at_zero, of_free = [], []
    for row in rows:
        title = f"{row['family']}, N_B = {row['bag_size']}"
        paper, (value, error, pool) = row["paper"], row["paper"]["elsewhere"]["+0.0"]
        # The coverage changes by OF_SCALE times a relative change of c_cicc, which has an error.
        error = float(np.linalg.norm([OF_SCALE * paper["c_error"] / paper["c"], error, pool]))
        require(
            abs(value - CL) < 3 * error,
            f"{title}: on other events the coverage at θ = 0 is {value:.3f} ± {error:.3f}; it "
            f"should be within three errors of {CL}",
        )
        if row["family"] in PAPER:
            at_zero.append(value)
        free = row["family"].removesuffix(OURS) == "multi-class"
        for truth, (value, error, pool) in row["calibrated"]["coverage"].items():
            pull = (value - CL) / np.sqrt(2 * (error**2 + pool**2))
            if free:
                of_free.append(abs(pull))
            else:
                require(
                    abs(pull) < 3,
                    f"{title}: with functions of θ the coverage at {truth} is {value:.3f}, "
                    f"{pull:+.1f} errors from {CL}",
                )
    mean = np.mean(at_zero)
    require(
        CL - 0.05 < mean < CL,
        f"on other events the coverage at θ = 0 is {mean:.3f} on average over the bag sizes; it "
        f"should be below {CL}, by less than 0.05",
    )
    require(
        max(of_free) > 3,
        "with functions of θ, networks with free logits have the claimed coverage too",
    )


def _bartlett(multi: Mapping[int, Any]) -> None:
    """I_curv is below I_MLE everywhere, but above I_eff where the response is small."""
    for n, row in multi.items():
        require(
            row["info_curv"] < row["info_mle"],
            f"N_B = {n}: I_curv = {row['info_curv']:.1f} is not below I_MLE = "
            f"{row['info_mle']:.1f}",
        )
    for n in ABOVE_ONE:
        value, error = multi[n]["bartlett_ratio"], multi[n]["bartlett_ratio_error"]
        require(
            value > 1 + 2 * error,
            f"N_B = {n}: the Bartlett ratio {value:.3f} ± {error:.3f} of multi-class networks is "
            "not above one by two errors",
        )
        require(multi[n]["response"] < 0.95, f"N_B = {n}: the response is not below one")


def _of_members(multi: Mapping[int, Any]) -> list[float]:
    """Mean square of the roughness of each ensemble over that of its networks on average."""
    return [float(r["mse"] / np.mean([s["mse"] for s in r["singles"]])) for r in multi.values()]


def _averaging(multi: Mapping[int, Any]) -> None:
    """Ensembles of three are smoother than their networks, but not by the factor of three."""
    ratios = _of_members(multi)
    mean, error = np.mean(ratios), np.std(ratios, ddof=1) / np.sqrt(len(ratios))
    found = (
        f"ensembles have {mean:.2f} ± {error:.2f} of the mean square of the roughness of their "
        "networks"
    )
    require(mean < 1 - 3 * error, f"{found}: they reduce no noise")
    require(mean > 1 / 3 + 3 * error, f"{found}: all of it is noise of the training")


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
    scale = np.mean([r["paper"]["c_error"] / r["paper"]["c"] for r in (*multi, *other)])
    bartlett, small = (
        [rows["multi-class"][n][k] for n in ABOVE_ONE] for k in ("bartlett_ratio", "response")
    )
    of_members = _of_members(rows["multi-class"])
    return [
        (
            f"from {c[0][0]:.1f} to {c[0][-1]:.1f} for multi-class networks (the paper: "
            f"{theirs[0][0]:.1f} to {theirs[0][-1]:.1f}), and from {c[1][0]:.1f} to "
            f"{c[1][-1]:.0f} for parametrised networks (the paper: {theirs[1][0]:.1f} to "
            f"{theirs[1][-1]:.0f})"
        ),
        f"determine c_cicc only to {100 * scale:.0f} %",
        f"({min(bartlett):.2f} to {max(bartlett):.2f})",
        f"a response of {min(small):.2f} to {max(small):.2f}",
        f"{min(of_members):.2f} to {max(of_members):.2f} times that of single networks",
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
