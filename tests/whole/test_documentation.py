"""The code of README and documentation runs, page by page, on what the page presumes.

Tutorials run when the site is built, commands of the cluster in ``examples/on_a_cluster.py``.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyhf
import pytest
from iminuit import Minuit
from iminuit.cost import NormalConstraint

import milinfer as mil
from madgraph import madgraph_file
from milinfer.datasets import gaussian, higgsml, quadratic, vbf_hww
from milinfer.exceptions import MilinferWarning
from milinfer.io import events as event_files
from milinfer.io import lhe
from milinfer.likelihood.cost import dataset_cost
from milinfer.likelihood.surface_box import ChebyshevBox
from sources import tree_of

ROOT = Path(__file__).parents[2]
POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)


def code_of(page: str) -> list[str]:
    """Blocks of Python, without those that the tutorials run."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
    if "```python\n" in path.read_text(encoding="utf-8")
)


@cache
def generated(c_hw: float, n: int = 3000):
    return vbf_hww.generate(n, {"c_HW": c_hw}, seed=round(10 * (c_hw + 2)))


def silent(info: lhe.LHEInfo) -> lhe.LHEInfo:
    """Of a file that says nothing of its process and point, as most do."""
    return replace(info, process=None, point=None)


def files(folder: Path) -> None:
    """LHE, ROOT and Parquet files of the pages, with weights at other points."""
    for name, c_hw in (("cHW_m1", -1.0), ("sm", 0.0), ("cHW_p1", 1.0)):
        record, info = generated(c_hw).to_events(vbf_hww.DEFAULT_WEIGHTS)
        if name == "sm":
            event_files.write(folder / "sm.root", record, info)
        else:
            lhe.write(folder / f"{name}.lhe.gz", record, info)
        table = mil.feature_set("vbf_2l2j").from_lhe(record)
        sample = mil.Sample.from_table(table, point={"c_HW": c_hw})
        sample.to_file(folder / f"{name}.parquet")
    record, info = generated(0.25, 2000).to_events(vbf_hww.DEFAULT_WEIGHTS)
    lhe.write(folder / "data.lhe.gz", record, silent(info))


def one_file(folder: Path) -> None:
    """The only file of an analysis, whose events carry weights."""
    record, info = generated(0.0).to_events(vbf_hww.DEFAULT_WEIGHTS)
    lhe.write(folder / "sm.lhe.gz", record, info)


@cache
def vbf() -> mil.SampleSet:
    return vbf_hww.samples(500, POINTS, seed=1)


@cache
def other_vbf() -> mil.SampleSet:
    return vbf_hww.samples(500, POINTS, seed=2)


def of_vbf(_folder: Path) -> dict[str, object]:
    data = vbf().at(c_HW=0.0).take(slice(0, 300)).as_data()
    return {"samples": vbf(), "train": vbf(), "held_out": other_vbf(), "data": data}


def intervals(_folder: Path) -> dict[str, object]:
    samples, other = (vbf_hww.samples(3000, POINTS, seed=s) for s in (2, 3))
    oracle = mil.Oracle.from_sample(samples.at(c_HW=0.0), "c_HW", np.linspace(-1, 1, 9))
    truths = [0.1, 0.2, 0.3]
    evaluation = mil.Toys(mil.EventPool(other, degree=4), n_events=1000, seed=4)
    data = samples.at(c_HW=0.0).take(slice(0, 1000)).as_data()
    return {
        "samples": samples,
        "model": oracle,
        "truths": truths,
        "grid": [0.0, 0.1, 0.2, 0.3, 0.4],
        "cost": oracle.cost(data),
        "evaluation_ensembles": evaluation.scan([oracle], truths, 500)[oracle.name],
    }


def background(_folder: Path) -> dict[str, object]:
    signal, pool = (
        mil.SampleSet(
            tuple(
                replace(s, cross_section=0.06 * (1 + s.point["mu"] ** 2))
                for s in gaussian.samples(1500, [-1.0, -0.3, 0.0, 0.3, 1.0], seed=seed)
            )
        )
        for seed in (1, 3)
    )
    other = gaussian.generate(2000, 1.5, seed=2)
    model = mil.BagLikelihood(head="polynomial", order=1, bag_size=1, seed=1).fit(signal)
    events = [signal.at(mu=0.0).take(slice(0, 60)).features, other.features[:40]]
    return {
        "signal": signal.at(mu=0.0),
        "background": other,
        "model": model,
        "rate": mil.Rate.from_samples(signal, luminosity=1.0, degree=2),
        "data": mil.Sample(np.concatenate(events), other.feature_names),
        "pool": pool,
        "other_background": gaussian.generate(2000, 1.5, seed=4),
    }


def higgsml_file(folder: Path) -> None:
    """Events in the format of the challenge, for the file that is not ours to bring along."""
    higgsml.write_events(
        folder / "FAIR_Universe_HiggsML_data.parquet", higgsml.generate(3500, seed=1)
    )


def own_columns(folder: Path) -> dict[str, object]:
    import uproot

    rng = np.random.default_rng(1)
    for k in range(3):
        columns = {"m_ll": rng.normal(k, 1, 100), "d_phi": rng.normal(size=100)}
        with uproot.recreate(folder / f"m{k}.root") as file:
            file["events"] = columns | {"w": np.ones(100)}
    return {}


def variations(folder: Path) -> dict[str, object]:
    """Events with weights of a scale, NanoAOD, and data frames."""
    import awkward as ak
    import pandas as pd

    from nanoaod_files import write_nano

    for name, c_hw in (("sm", 0.0), ("cHW_p1", 1.0)):
        record, info = generated(c_hw).to_events(vbf_hww.DEFAULT_WEIGHTS)
        pt = ak.to_numpy(record.LHEPart.pt[:, -1])
        for k, weight in enumerate(("muR_up", "muR_down")):
            record["LHEWeight", weight] = record.genWeight * (1 + (1 - 2 * k) * pt / 2000)
        scales = tuple(lhe.LHEWeight(f"muR_{side}", "scale", "scales") for side in ("up", "down"))
        info = replace(info, weights=info.weights + scales)
        lhe.write(folder / f"{name}.lhe.gz", record, info)
    rng = np.random.default_rng(1)
    n = 400

    def collection(per_event: int, **more: list[int]) -> ak.Array:
        shape = (n, per_event)
        fields = {"pt": rng.exponential(30, shape) + 15, "eta": rng.normal(size=shape)}
        fields |= {"phi": rng.uniform(-3, 3, shape), "mass": np.ones(shape)}
        columns = {k: v.astype(np.float32) for k, v in fields.items()}
        columns |= {k: rng.choice(v, shape).astype(np.int32) for k, v in more.items()}
        return ak.zip({k: ak.from_regular(v) for k, v in columns.items()})

    branches = {
        "Muon": collection(2, pdgId=[13, -13], charge=[1, -1]),
        "Jet": collection(3),
        "MET_pt": rng.uniform(0, 100, n).astype(np.float32),
        "MET_phi": rng.uniform(-3, 3, n).astype(np.float32),
        "genWeight": np.ones(n, np.float32),
        "LHEScaleWeight": ak.from_regular(rng.normal(1, 0.1, (n, 9)).astype(np.float32)),
        **{name: np.ones(n, np.uint32) for name in ("run", "luminosityBlock")},
        "event": np.arange(n).astype(np.uint64),
    }
    write_nano(folder / "nano.root", branches, titles={})
    frame = pd.DataFrame({"event": np.arange(100), "m_ll": rng.normal(91, 3, 100)})
    frame = frame.assign(weight=1.0, weight_muR_up=1.1, weight_muR_down=0.9)
    shifted = [frame.assign(m_ll=frame.m_ll * s) for s in (1.0, 1.01, 0.99)]
    nominal, up, down = (f[f.m_ll > 85] for f in shifted)
    return {"nominal": nominal, "up": up, "down": down}


def labelled_bags(_folder: Path) -> dict[str, object]:
    rng = np.random.default_rng(1)
    bags = [rng.normal(size=(rng.integers(2, 6), 3)) for _ in range(120)]
    labels = np.arange(120) % 2
    for bag, label in zip(bags, labels, strict=True):
        bag[0, 0] += 4 * label
    sizes = [len(bag) for bag in bags]
    jets = pd.DataFrame(np.concatenate(bags), columns=["pt", "eta", "phi"])
    jets = jets.assign(event=np.repeat(np.arange(120), sizes), signal=np.repeat(labels, sizes))
    return {"bags": bags, "labels": labels, "new_bags": bags[:5], "jets": jets}


def saved(folder: Path) -> dict[str, object]:
    sample = gaussian.generate(5, 0.2, seed=2)
    columns = {name: sample.column(name) for name in sample.feature_names}
    samples = gaussian.samples(1000, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=1)
    return {"samples": samples, "columns": columns, "weights": np.ones(5)}


def workspaces(folder: Path) -> dict[str, object]:
    points = [-0.6, -0.3, 0.0, 0.3, 0.6]
    made = [gaussian.samples(20_000, points, seed=s) for s in (1, 2, 3)]
    edges = [-4.0, -1.0, -0.3, 0.3, 1.0, 4.0]
    own = [mil.Templates.from_samples(s, "x0", bins=edges, degree=2, luminosity=0.1) for s in made]
    counts = np.array([12.0, 21.0, 30.0, 25.0, 20.0])
    signal = {
        "name": "signal",
        "data": [5.0, 10.0],
        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
    }
    other = {"name": "bkg", "data": [50.0, 60.0], "modifiers": []}
    search = {
        "channels": [{"name": "SR", "samples": [signal, other]}],
        "observations": [{"name": "SR", "data": [53.0, 65.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
    (folder / "search.json").write_text(json.dumps(search))
    return {
        "templates": own[0],
        "templates_down": own[1],
        "templates_up": own[2],
        "counts": counts,
        "yields": np.full(5, 6.0),
        "errors": np.full(5, 0.5),
        "unbinned": NormalConstraint("c_HW", 0.1, 0.2),
        "binned": NormalConstraint(("c_HW", "lumi"), (0.0, 1.0), (0.3, 0.02)),
        "constraint": NormalConstraint("lumi", 1.0, 0.02),
        **combination(),
    }


def combination() -> dict[str, object]:
    """A model of events in c_HW, their pool, and a counting channel."""

    class Mean(gaussian.MeanModel):
        parameters = ("c_HW",)

    samples = gaussian.samples(5000, [-0.3, 0.0, 0.3], seed=5)
    pool = mil.SampleSet(tuple(replace(s, point={"c_HW": s.point["mu"]}) for s in samples))
    count = {
        "name": "signal",
        "data": [200.0],
        "modifiers": [{"name": "w", "type": "normfactor", "data": None}],
    }
    model = pyhf.Model({"channels": [{"name": "A", "samples": [count]}]}, poi_name=None)
    channel = mil.PyhfCost.tied(
        model,
        [190.0],
        parameters=("c_HW",),
        weights=lambda c: {"w": 1 + 0.5 * float(c[0])},
        limits={"c_HW": (-1.0, 1.0)},
        start={"c_HW": 0.0},
    )
    data = gaussian.generate(100, 0.1, seed=6).as_data()
    cost = dataset_cost(Mean(), data, reference=0.0)
    return {"model": Mean(), "pool": pool, "binned_channel": channel, "model_cost": cost}


def histograms(folder: Path) -> dict[str, object]:
    import hist

    made = quadratic.samples(4000, [{"c1": 0.0}], seed=1)[0]
    sample = replace(
        made,
        feature_names=("d_phi_qq", *made.feature_names[1:]),
        point={"c_HW": 0.0},
        reweight_points={n: {"c_HW": p["c1"]} for n, p in made.reweight_points.items()},
    )
    samples = mil.SampleSet((sample,))
    templates = mil.Templates.from_samples(samples, "d_phi_qq", bins=8, weight_degree=2)
    axis = hist.axis.Variable(templates.edges, name="axis_0", label="d_phi_qq", flow=False)
    tt = hist.Hist(axis, storage="Weight")
    tt.view()["value"], tt.view()["variance"] = 30.0, 3.0
    phi = np.random.default_rng(2).normal(size=(5000, quadratic.N_FEATURES))
    tt_sample = mil.Sample(
        phi,
        sample.feature_names,
        process="tt",
        cross_section=3e-4,
        reweights={"muR_2": np.full(5000, 0.9), "muR_05": 1.1 + 0.05 * np.tanh(phi[:, 0])},
    )
    ht = hist.axis.Regular(3, 0, 300, name="ht")
    entry = {"channel": "SR", "process": "ttH", "parameters": ["cSM[1]", "ctG[0,-1,1]"]}
    (folder / "scaling.json").write_text(json.dumps([entry | {"scaling": [[1.0, 0.1, 0.2]] * 3}]))
    return {
        "samples": samples,
        "other": templates.to_histogram(),
        "tt": tt,
        "tt_sample": tt_sample,
        "unbinned": NormalConstraint(("c_HW", "scale"), (0.1, 0.0), (0.2, 1.0)),
        "counts": 1e5 * templates.cross_sections({"c_HW": 0.1}) + 30.0,
        "hist_eft": hist.Hist(ht, hist.axis.Integer(0, 6, name="quadratic_term")),
        "nominal": hist.Hist(ht, storage="Weight").fill([50.0, 150.0, 250.0]),
    }


def several(folder: Path) -> dict[str, object]:
    points = [(a, b) for a in (-0.5, 0.0, 0.5) for b in (-0.5, 0.0, 0.5)]
    for i, (a, b) in enumerate(points):
        record, info = vbf_hww.generate(800, {"c_HW": a + b}, seed=i).to_events()
        lhe.write(folder / f"{i}.lhe.gz", record, silent(info))
    data = mil.Sample.from_file(folder / "4.lhe.gz", point={}).take(slice(0, 300)).as_data()
    return {"points": points, "data": data}


class ExactQuadratic:
    """Exact likelihood ratio of the quadratic problem in two parameters."""

    name, parameters = "exact", ("c1", "c2")
    interpolation = ChebyshevBox(np.full(2, -0.6), np.full(2, 0.6), 6)

    def event_llr(self, sample):
        return quadratic.log_likelihood_ratio(sample.features, self.interpolation.grid)


def two_scores(_folder: Path) -> dict[str, object]:
    points = [{"c1": 0.0, "c2": 0.0}, {"c1": 0.5, "c2": -0.5}]
    train, others, evaluate = (quadratic.samples(4000, points, seed=s) for s in (1, 2, 3))
    data = quadratic.generate(500, points[0], seed=4).as_data()
    return {
        "model": ExactQuadratic(),
        "train": train,
        "others": others,
        "evaluate": evaluate,
        "data": data,
    }


def slices(folder: Path) -> dict[str, object]:
    for seed, name in enumerate(("ht_low", "ht_high", "events", "dark")):
        made = vbf_hww.generate(2000, {"c_HW": 0.5}, seed=seed).to_events(())
        lhe.write(folder / f"{name}.lhe.gz", *made)
    return {}


def results(_folder: Path) -> dict[str, object]:
    import pyarrow.parquet

    shown = intervals(_folder)
    ensembles = shown["evaluation_ensembles"]
    calibration = mil.calibrate(ensembles)
    samples = gaussian.samples(300, [-1.0, -0.5, 0.0, 0.5, 1.0], seed=1)
    return {
        "samples": samples,
        "comparison": shown["cost"],
        "calibration": calibration,
        "model": shown["model"],
        "pyarrow": pyarrow,
        "scan": calibration,
        "toys": ensembles,
    }


def of_madgraph(folder: Path) -> None:
    madgraph_file(folder / "events.lhe.gz", 50, seed=1)


def inputs_of_a_combination(folder: Path) -> None:
    """The file of the page, a published likelihood, and a workspace of one bin."""
    page = (ROOT / "docs/howto/combine.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```toml\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    (folder / "combination.toml").write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "tests/data/published1/systematic_polynomials", folder / "published")
    trigger = {"name": "alpha_trigger", "type": "normsys", "data": {"lo": 0.95, "hi": 1.05}}
    strength = {"name": "mu", "type": "normfactor", "data": None}
    samples = [
        {"name": "signal", "data": [20.0], "modifiers": [strength, trigger]},
        {"name": "background", "data": [30.0], "modifiers": []},
    ]
    model = pyhf.Model({"channels": [{"name": "SR", "samples": samples}]}, poi_name="mu")
    workspace = pyhf.Workspace.build(model, [38.0])
    (folder / "bins.json").write_text(json.dumps(workspace), encoding="utf-8")


def of_hepdata(folder: Path) -> None:
    pytest.importorskip("hepdata_lib")
    shutil.copytree(ROOT / "tests/data/published1/systematic_polynomials", folder / "published")


PREPARE: dict[str, Callable[[Path], dict[str, object] | None]] = {
    "README.md": files,
    "docs/start.md": files,
    "docs/training.md": lambda folder: files(folder) or of_vbf(folder),
    "docs/heads.md": of_vbf,
    "docs/intervals.md": intervals,
    "docs/background.md": background,
    "docs/bag_estimators.md": labelled_bags,
    "docs/howto/combine.md": inputs_of_a_combination,
    "docs/howto/madgraph_weights.md": of_madgraph,
    "docs/howto/notebooks_and_tracking.md": results,
    "docs/many_events.md": lambda _folder: None,
    "docs/models.md": saved,
    "docs/workspaces.md": workspaces,
    "docs/howto/histograms.md": histograms,
    "docs/howto/cross_sections.md": slices,
    "docs/howto/own_columns.md": own_columns,
    "docs/howto/several_parameters.md": several,
    "docs/howto/two_scores.md": two_scores,
    "docs/howto/expected_and_impacts.md": lambda _folder: None,
    "docs/howto/goodness_of_fit.md": lambda _folder: None,
    "docs/howto/profiled_belts.md": lambda _folder: None,
    "docs/howto/hepdata.md": of_hepdata,
    "docs/howto/higgsml.md": higgsml_file,
    "docs/howto/hs3.md": lambda _folder: None,
    "docs/howto/publish_constraint.md": lambda _folder: None,
    "docs/howto/publish_likelihood.md": lambda _folder: None,
    "docs/howto/roofit.md": saved,
    "docs/howto/responses.md": lambda _folder: None,
    "docs/howto/simulation_error.md": lambda _folder: None,
    "docs/howto/variations.md": variations,
    "docs/howto/weights.md": one_file,
}
# Numbers of events, toys and networks that only a measurement needs.
SMALLER = {"50_000": "3_000", "20_000": "5_000", "4000": "1000", "10_000": "2_000", "2000": "500"}
SMALLER |= {"1_000_000": "4_000", "3_000_000": "14_000"}
SMALLER |= {"ensemble=4)": "ensemble=2)", "ensemble=16": "ensemble=4"}
# The page that runs as it is, since it shows what it prints.
FIRST = "docs/index.md"
# What runs these; the test looks that it is there.
ELSEWHERE = {
    "docs/cluster.md": "examples/on_a_cluster.py",
    "docs/configuration.md": "tests/workflow/test_run.py",
}


@pytest.mark.early
@pytest.mark.parametrize("page", sorted(PREPARE))
@pytest.mark.usefixtures("small_defaults")
def test_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    names = {"mil": mil, "np": np, "Minuit": Minuit, "NormalConstraint": NormalConstraint}
    with warnings.catch_warnings():
        # Of few events and rough fits, which are what makes a test short.
        warnings.simplefilter("ignore", MilinferWarning)
        names |= PREPARE[page](tmp_path) or {}
        for block in code_of(page):
            for number, smaller in SMALLER.items():
                block = block.replace(number, smaller)  # noqa: PLW2901
            exec(compile(block, page, "exec"), names)


@pytest.mark.early
def test_the_first_page_shows_what_its_code_prints(capsys):
    """To a fifth of the error: trainings differ in the last digits between processors."""
    (block,) = code_of(FIRST)
    page = (ROOT / FIRST).read_text(encoding="utf-8")
    shown = re.search(r"```text\n(c_HW = .*)\n```", page)
    assert shown
    exec(compile(block, FIRST, "exec"), {})
    printed = capsys.readouterr().out.strip()
    number = re.compile(r"[-+]?\d+\.\d+")
    assert number.sub("", printed) == number.sub("", shown[1])
    values = [[float(n) for n in number.findall(text)] for text in (printed, shown[1])]
    np.testing.assert_allclose(*values, atol=0.02)


@pytest.mark.parametrize("page", PAGES)
def test_names_of_a_page_exist(page):
    for block in code_of(page):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "mil":
                    assert hasattr(mil, node.attr), f"{page}: mil.{node.attr}"
            elif isinstance(node, ast.ImportFrom) and node.module.startswith("milinfer"):
                module = import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{page}: {alias.name}"


def test_every_page_runs_or_is_shown_by_an_example():
    assert set(PAGES) == set(PREPARE) | {FIRST} | set(ELSEWHERE)
    for place in ELSEWHERE.values():
        assert (ROOT / place).is_file()


def test_messages_that_pages_quote_are_in_the_source():
    """Of the page on calibrations that fail: what it explains is what is said."""
    said = set()
    for path in (ROOT / "src" / "milinfer").rglob("*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                said.add("".join(map(str, parts)))
    page = (ROOT / "docs/howto/calibration_failed.md").read_text(encoding="utf-8")
    quoted = re.findall(r"\*([^*\n]*…[^*]*)\*", page)
    assert len(quoted) > 4
    for text in quoted:
        pieces = [re.escape(p.strip()) for p in text.split("…") if p.strip()]
        assert any(re.search(".*".join(pieces), s) for s in said), text
