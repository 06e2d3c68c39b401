"""Kinematic distributions of the standard model and of c_HW ≠ 0, and what they do not show.

python -m studies.bags_of_events.distributions [--size quick|full] [--seed 0] [--out DIR]

Figure 24 of [AS] with ratio panels, and for every feature what its best function alone tells
of c_HW, beside the exact likelihood ratio of all that is visible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import milinfer as mil
from milinfer.diagnostics.roc import weighted_auc
from milinfer.diagnostics.separation import area_of_bags, largest_distance, relative_distance
from milinfer.diagnostics.two_sample import feature_closure
from milinfer.plotting.results import PALETTE, styled
from milinfer.typing import FloatArray
from studies.common.frame import Study, markdown, pair, require, run
from studies.common.vbf_events import Truth, generated, sample, truth

POINTS = (0.1, 0.5, 1.0)
IN_TABLE = (0.1, 1.0)
SHOWN = {
    "m_ll": r"$m_{\ell\ell}$ [GeV]",
    "d_phi_ll": r"$\Delta\phi_{\ell\ell}$ [rad]",
    "pt_ll": r"$p_{T,\ell\ell}$ [GeV]",
    "m_qq": r"$m_{qq}$ [GeV]",
    "d_phi_qq": r"$\Delta\phi_{qq}$ [rad]",
    "q0_pt": r"$p_{T}$ of $q_0$ [GeV]",
    "met_et": r"$E_T^{miss}$ [GeV]",
    "l0_pt": r"$p_{T}$ of $\ell_0$ [GeV]",
    "q0_eta": r"$\eta$ of $q_0$",
}
EVENTS = {"quick": 2_000, "full": 100_000}  # a point
N_BINS = 24
FINE = 40  # quantiles of a feature, between which its best function is constant


def study(size: str, seed: int) -> dict[str, Any]:
    n, workers = EVENTS[size], 1 if size == "quick" else 2
    seeds = np.random.SeedSequence([seed, 24]).generate_state(1 + len(POINTS)).tolist()
    events = {c: generated(n, c, k, workers) for c, k in zip((0.0, *POINTS), seeds, strict=True)}
    samples = {c: sample(e, "vbf_2l2j") for c, e in events.items()}
    known = {c: truth(events[c], 1.0, workers) for c in (0.0, *IN_TABLE)}
    out: dict[str, Any] = {"events": n, "histograms": histograms(samples, known[0.0])}
    out["points"] = {f"{c:g}": at_point(c, samples, known, seed) for c in IN_TABLE}
    return out


def histograms(samples: Mapping[float, mil.Sample], exact: Truth) -> dict[str, Any]:
    """Shares of weight in bins, their errors, and those of the reweighted standard model."""
    reference = samples[0.0]
    found: dict[str, Any] = {}
    for name in SHOWN:
        x0 = reference.column(name)
        low, high = np.quantile(x0, [0.002, 0.99])
        edges = np.linspace(float(low), float(high), N_BINS + 1)
        lines: dict[str, Any] = {"edges": np.round(edges, 4).tolist()}
        for c, s in samples.items():
            values, errors = _shares(s.column(name), s.weights, edges)
            lines[f"{c:g}"] = {"share": values, "error": errors}
            if c:
                weights = np.exp(exact.llr(c, exact.coefficients.mean(axis=0)))
                reweighted, _ = _shares(x0, weights, edges)
                lines[f"{c:g}"]["reweighted"] = reweighted
        found[name] = lines
    return found


def _shares(x: FloatArray, w: FloatArray, edges: FloatArray) -> tuple[list[float], list[float]]:
    total = w.sum()
    share = np.histogram(x, edges, weights=w)[0] / total
    squares = np.histogram(x, edges, weights=w * w)[0] / total**2
    error = np.sqrt(squares * (1 - np.minimum(share, 1)))
    return np.round(share, 6).tolist(), np.round(error, 7).tolist()


def at_point(
    c: float, samples: Mapping[float, mil.Sample], known: Mapping[float, Truth], seed: int
) -> dict[str, Any]:
    """What each feature tells of c, and all of them together."""
    total = known[0.0].coefficients.mean(axis=0)
    llr = np.concatenate([known[v].llr(c, total) for v in (0.0, c)])
    of_c = np.repeat([False, True], [len(samples[0.0]), len(samples[c])])
    # The function is learned from one half of the events, and looked at in the other.
    half = np.random.default_rng([seed, 3]).permutation(len(llr)) % 2 == 0
    both = np.concatenate([samples[v].features for v in (0.0, c)])
    names = samples[0.0].feature_names
    ones = np.ones(len(samples[0.0]))
    closures = {f.feature: f.agreement for f in feature_closure(c, samples[c], samples[0.0], ones)}
    reweighted = np.exp(known[0.0].llr(c, total))
    closed = {
        f.feature: f.agreement.p_value
        for f in feature_closure(c, samples[c], samples[0.0], reweighted)
    }
    features = {}
    for k, name in enumerate(names):
        if name not in closures:
            continue
        score = best_function(both[:, k], llr, half)
        rest = ~half
        area = weighted_auc(
            score[rest & of_c],
            np.ones(np.sum(rest & of_c)),
            score[rest & ~of_c],
            np.ones(np.sum(rest & ~of_c)),
        )
        share = relative_distance(score[rest], llr[rest])
        features[name] = {
            "share": [share.value, share.error],
            "auc": list(area),
            "chi2": closures[name].chi2,
            "dof": closures[name].dof,
            "p_value": closures[name].p_value,
            "p_value_reweighted": closed[name],
        }
    squared = largest_distance(llr)
    one = np.ones(len(samples[0.0]))
    return {
        "features": features,
        "squared_distance": list(squared),
        "auc": list(weighted_auc(llr[of_c], one, llr[~of_c], one)),
        "auc_of_100": float(area_of_bags(squared.value, 100)),
    }


def best_function(x: FloatArray, llr: FloatArray, half: FloatArray) -> FloatArray:
    """Mean of 2 tanh(λ/2) in quantiles of x: no function of x separates sums better."""
    edges = np.unique(np.quantile(x, np.arange(1, FINE) / FINE))
    index = np.searchsorted(edges, x, side="right")
    g = 2 * np.tanh(llr / 2)
    counts = np.bincount(index[half], minlength=len(edges) + 1)
    sums = np.bincount(index[half], g[half], minlength=len(edges) + 1)
    return (sums / np.maximum(counts, 1))[index]


def check(results: Mapping[str, Any]) -> None:
    n = results["events"]
    weak, strong = (results["points"][f"{c:g}"] for c in IN_TABLE)
    require(
        weak["auc"][0] < 0.53 and weak["squared_distance"][0] < 0.004,
        "at c_HW = 0.1 single events are all but the same",
    )
    require(
        strong["auc"][0] - weak["auc"][0] > 5 * np.hypot(strong["auc"][1], weak["auc"][1]),
        "at c_HW = 1 they are not",
    )
    for point in (weak, strong):
        for name, f in point["features"].items():
            require(
                f["share"][0] < 1 + 5 * f["share"][1], f"{name} tells no more than all that is seen"
            )
        least = min(f["p_value_reweighted"] for f in point["features"].values())
        require(
            least > 1e-3 / len(point["features"]),
            "events at c_HW have the distributions of reweighted events at 0",
        )
        blind = [point["features"][k]["share"] for k in point["features"] if k.endswith("_phi")]
        require(all(v < 0.05 + 5 * e + 200 / n for v, e in blind), "azimuths alone tell nothing")
    tells = max(strong["features"], key=lambda k: strong["features"][k]["share"][0])
    value, error = strong["features"][tells]["share"]
    require(value < 0.9 and value > 5 * error, "no feature by itself is enough, some tell much")


def conclusions(results: Mapping[str, Any]) -> None:
    weak, strong = (results["points"][f"{c:g}"]["features"] for c in IN_TABLE)
    differ = sum(f["p_value"] < 0.0027 for f in weak.values())
    require(differ <= 2, f"the eye sees c_HW = 0.1 in {differ} histograms")

    def tells(features: Mapping[str, Any], name: str) -> tuple[float, float]:
        return tuple(features[name]["share"])

    for features in (weak, strong):
        best = max(features, key=lambda k: features[k]["share"][0])
        require(best == "d_phi_qq", f"{best} tells most")
        require(tells(features, best)[0] > 0.25, "the angle of the jets tells little")
    for lepton in ("m_ll", "d_phi_ll"):
        for jet in ("q0_pt", "q1_pt"):
            (low, a), (high, b) = tells(weak, lepton), tells(weak, jet)
            require(high - low > 5 * np.hypot(a, b), f"{lepton} tells as much as {jet}")
    # The order at 0.1 is not that at 1.
    for first, second in (("q1_pt", "pt_qq"), ("q0_pt", "met_et")):
        gaps = []
        for features in (weak, strong):
            (x, a), (y, b) = tells(features, first), tells(features, second)
            gaps.append((x - y) / np.hypot(a, b))
        require(gaps[0] > 5 and gaps[1] < -5, f"{first} and {second} have the same order at 0.1, 1")


def tables(results: Mapping[str, Any]) -> str:
    weak, strong = (results["points"][f"{c:g}"] for c in IN_TABLE)
    order = sorted(weak["features"], key=lambda k: -weak["features"][k]["share"][0])
    shown = [k for k in order if max(p["features"][k]["share"][0] for p in (weak, strong)) > 0.005]
    lines = []
    for name in shown:
        cells = [f"`{name}`"]
        for point in (weak, strong):
            f = point["features"][name]
            mark = " *" if f["p_value"] < 0.0027 else ""
            cells += [_percent(*f["share"]), pair(*f["auc"]), f"{f['chi2']:.0f}/{f['dof']}{mark}"]
        lines.append(cells)
    exact = "all that is visible, exact"
    lines.append([exact, "100 %", pair(*weak["auc"]), "", "100 %", pair(*strong["auc"]), ""])
    titles = ["feature"]
    for c in IN_TABLE:
        titles += [f"c_HW = {c:g}: information", "AUC, one event", "χ²/dof"]
    seen = sum(f["p_value"] < 0.0027 for f in weak["features"].values())
    best = order[0]
    words = (
        f"There are {results['events']} events at each point.  *Information* is the part of the "
        "exact information that the best function of this feature alone keeps.  *AUC* is the area "
        "under the ROC curve of this function for single events.  *χ²* compares the histograms at "
        "c_HW and at 0 in ten quantiles; * means p < 0.0027.  The "
        f"{len(order) - len(shown)} features that are not listed have less than 0.5 % of the "
        "information at either point.\n\n"
        f"At c_HW = 0.1, {seen} of {len(order)} histograms differ significantly from the "
        f"standard model's with {results['events']} events at each point.  The best single feature "
        f"is `{best}` with {_percent(*weak['features'][best]['share'])} of the information.  A "
        f"single event has an AUC of {pair(*weak['auc'])} with the exact likelihood ratio of all "
        f"that is visible, and a bag of 100 events has an AUC of {weak['auc_of_100']:.3f} (c_HW = "
        f"1: {strong['auc_of_100']:.4f})."
    )
    return markdown(titles, lines) + "\n\n" + words


def _percent(value: float, error: float) -> str:
    return f"{100 * value:.1f} ± {100 * error:.1f} %"


def figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Densities, and their ratio to the standard model, which is 1 but for fluctuations at 0.1."""
    with styled():
        figure = Figure(figsize=(10.0, 10.5), layout="constrained")
        cells = figure.subfigures(3, 3)
        for cell, (name, label) in zip(cells.flat, SHOWN.items(), strict=True):
            top, bottom = cell.subplots(2, 1, sharex=True, height_ratios=(2, 1.3))
            lines = results["histograms"][name]
            edges = np.array(lines["edges"])
            centre, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
            base = np.array(lines["0"]["share"])
            base_error = np.array(lines["0"]["error"])
            top.stairs(base / width, edges, color="black", label="SM")
            good = base > 0
            band = np.where(good, base_error / np.where(good, base, 1), 0)
            bottom.stairs(1 + band, edges, baseline=1 - band, fill=True, color="0.85", lw=0)
            for c, colour in zip(POINTS, PALETTE, strict=False):
                own = lines[f"{c:g}"]
                share, error = np.array(own["share"]), np.array(own["error"])
                top.stairs(share / width, edges, color=colour, lw=0.9, label=rf"$c_{{HW}}={c:g}$")
                ratio, size = np.ones_like(base), np.zeros_like(base)
                ratio[good], size[good] = share[good] / base[good], error[good] / base[good]
                # Error bars of a panel as one path with gaps: a tenth of the file.
                ends = np.stack([ratio - size, ratio + size, np.full_like(ratio, np.nan)])
                gaps = ends[:, good].T.ravel()
                bottom.plot(np.repeat(centre[good], 3), gaps, color=colour, lw=0.9)
                exact = np.array(own["reweighted"])
                bottom.stairs(
                    np.where(good, exact / np.where(good, base, 1), 1),
                    edges,
                    color=colour,
                    lw=0.8,
                    baseline=None,
                )
            for axes in (top, bottom):
                axes.minorticks_off()  # two thirds of the file
            bottom.set_ylim(0.4, 1.9)
            bottom.set_xlabel(label)
            bottom.set_ylabel("ratio to SM")
            top.set_ylabel("density")
            top.set_ylim(bottom=0)
        cells.flat[0].axes[0].legend(fontsize=7)
    return {"kinematics": figure}


def made_with(size: str) -> dict[str, Any]:
    return {
        "events": EVENTS[size],
        "points": POINTS,
        "in the table": IN_TABLE,
        "features": list(SHOWN),
        "bins": N_BINS,
        "quantiles": FINE,
    }


STUDY = Study(
    name="distributions",
    study=study,
    check=check,
    conclusions=conclusions,
    settings=made_with,
    tables=tables,
    figures=figures,
)

if __name__ == "__main__":
    run(STUDY)
